package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"mien/index"
	"mien/index/hnsw"
	"mien/index/scan"
)

// Graph is what an index of a kind with a graph is built and searched with; a zero is the index's default.
type Graph struct {
	M              int // links of a row
	EfConstruction int // candidates for them
	EF             int // candidates of a search
}

// searcher is what an index is measured by. Both methods are called from many goroutines at once, but Append never
// while searches run.
type searcher interface {
	// Append adds a copy of vectors, float32[dim] one after the other, under their labels, and fills rows.
	Append(labels []uint32, vectors []float32, rows []uint32) error
	// SearchInto appends the best labels for q, best first, to dst.
	SearchInto(ctx context.Context, dst []index.Hit, q []float32, o index.Options) ([]index.Hit, error)
}

// Searcher is an index under measurement. Safe for concurrent use, as searcher says.
type Searcher struct {
	searcher
	Kind  string                      // its name in reports
	Graph Graph                       // without zeros if it has a graph, of zeros if not
	Bytes func() int64                // memory held for rows
	Wait  func(context.Context) error // until all rows are linked
	Sync  func()                      // waits until what was written is on disk
	Close func() error
}

// Kinds names the indexes that OpenIndex knows, the default first: scan, scan-sketch, which is scan without the
// short stage, scan-memory, which is scan with its float32 rows in memory and not in a file, and hnsw, a graph over scan.
func Kinds() []string { return []string{"scan", "scan-sketch", "scan-memory", "hnsw"} }

// OpenIndex makes an empty index of a kind; one without a graph takes no notice of g. Files are made in a folder below
// dir, which Close removes; "" is the system's for temporary files. This is the one place to connect another.
func OpenIndex(kind string, dim int, dir string, g Graph) (*Searcher, error) {
	if !slices.Contains(Kinds(), kind) {
		return nil, fmt.Errorf("bench: no index of kind %q", kind)
	}
	c := scan.Config{Dim: dim, Key: make([]byte, 32)}
	if kind == "scan-sketch" {
		c.FitAt = -1
	}
	var err error
	if kind != "scan-memory" {
		if c.Dir, err = os.MkdirTemp(dir, "mien-bench-"); err != nil {
			return nil, err
		}
	}
	x := &Searcher{Kind: kind, Wait: func(context.Context) error { return nil }}
	if kind == "hnsw" {
		err = x.openGraph(c, g)
	} else {
		err = x.openScan(c)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.Dir))
	}
	closeIndex := x.Close
	x.Close = func() error {
		if err := closeIndex(); err != nil {
			return err
		}
		return os.RemoveAll(c.Dir)
	}
	return x, nil
}

func (x *Searcher) openScan(c scan.Config) error {
	s, err := scan.New(c)
	if err != nil {
		return err
	}
	x.searcher, x.Bytes, x.Close = s, s.MemoryBytes, s.Close
	x.Sync = func() { _ = s.Sync() }
	return nil
}

func (x *Searcher) openGraph(c scan.Config, g Graph) error {
	x.Graph = Graph{cmp.Or(g.M, hnsw.DefaultM), cmp.Or(g.EfConstruction, hnsw.DefaultEfConstruction), cmp.Or(g.EF, hnsw.DefaultEF)}
	h, err := hnsw.New(hnsw.Config{Config: c, M: x.Graph.M, EfConstruction: x.Graph.EfConstruction, EF: x.Graph.EF})
	if err != nil {
		return err
	}
	x.searcher, x.Bytes, x.Wait, x.Close = h, h.MemoryBytes, h.Wait, h.Close
	x.Sync = func() { _ = h.Sync() }
	return nil
}
