package bench

import (
	"context"
	"fmt"
	"os"
	"slices"

	"mien/index"
	"mien/index/scan"
)

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
	Kind  string       // its name in reports
	Bytes func() int64 // memory held for rows
	Sync  func()       // waits until what was written is on disk
	Close func() error
}

// Kinds names the indexes that OpenIndex knows, the default first: scan, scan-sketch, which is scan without the
// short stage, and scan-memory, which is scan with its float32 rows in memory and not in a file.
func Kinds() []string { return []string{"scan", "scan-sketch", "scan-memory"} }

// OpenIndex makes an empty index of a kind. Files are made in a folder below dir, which Close removes; "" is the
// system's for temporary files. This is the one place to connect another.
func OpenIndex(kind string, dim int, dir string) (*Searcher, error) {
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
	x, err := scan.New(c)
	if err != nil {
		return nil, err
	}
	remove := func() error {
		err := x.Close()
		if c.Dir != "" && err == nil {
			err = os.RemoveAll(c.Dir)
		}
		return err
	}
	return &Searcher{x, kind, x.MemoryBytes, func() { _ = x.Sync() }, remove}, nil
}
