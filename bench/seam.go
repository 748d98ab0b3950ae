package bench

import (
	"context"
	"fmt"

	"mien/index"
)

// searcher is what an index is measured by. Both methods are called from many goroutines at once, but Append never
// while searches run.
type searcher interface {
	// Append adds a copy of vectors, float32[dim] one after the other, under their labels, and fills rows.
	Append(labels []uint32, vectors []float32, rows []uint32) error
	// SearchInto appends the best labels for q, best first, to dst.
	SearchInto(ctx context.Context, dst []index.Hit, q []float32, o SearchOptions) ([]index.Hit, error)
}

// SearchOptions are those of one search.
type SearchOptions struct {
	K         int     // labels wanted at most
	Threshold float32 // least score
}

// Searcher is an index under measurement. Safe for concurrent use, as searcher says.
type Searcher struct {
	searcher
	Kind  string       // its name in reports
	Bytes func() int64 // memory held for rows
	Close func() error
}

// Kinds names the indexes that OpenIndex knows, the default first.
func Kinds() []string { return []string{"scan"} }

// OpenIndex makes an empty index of a kind. This is the one place to connect another.
func OpenIndex(kind string, dim int) (*Searcher, error) {
	switch kind {
	case "scan":
		s, err := index.NewScan(dim)
		if err != nil {
			return nil, err
		}
		stride := (dim + floatLine - 1) / floatLine * floatLine
		bytes := func() int64 { return int64(s.Rows()) * int64(4*stride+5) } // vector, label, live
		return &Searcher{scan{s, dim}, kind, bytes, func() error { return nil }}, nil
	}
	return nil, fmt.Errorf("bench: no index of kind %q", kind)
}

// scan is an index.Scan as a searcher.
type scan struct {
	*index.Scan
	dim int
}

func (s scan) Append(labels []uint32, vectors []float32, rows []uint32) (err error) {
	for i, label := range labels {
		if rows[i], err = s.Add(label, vectors[i*s.dim:(i+1)*s.dim]); err != nil {
			return err
		}
	}
	return nil
}

func (s scan) SearchInto(ctx context.Context, dst []index.Hit, q []float32, o SearchOptions) ([]index.Hit, error) {
	return s.Scan.SearchInto(ctx, dst, q, o.K, o.Threshold)
}
