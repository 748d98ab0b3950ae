package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"mien/index"
	"mien/index/scan"
)

// MissConfig says what Misses measures. The zero value of each field means its default.
type MissConfig struct {
	Kind    string      // of index: scan or scan-sketch; scan
	Variant string      // of the gallery; space
	Seed    uint64      // of the gallery; 1
	Rows    int         // identities enrolled; 100,000
	Pairs   int         // of a row and another photo of its identity; 100,000
	Miss    []float64   // probabilities asked for; 1e-6, 1e-4, 1e-3, 1e-2
	Faces   *FaceVector // real templates in place of Variant's; then Rows and Pairs are theirs
}

// FaceVector holds templates of photos, float32[dim] of unit length each, and whose they are.
type FaceVector struct {
	Dim     int
	People  []string
	Vectors []float32
}

// MissReport is what Misses found, for one probability.
type MissReport struct {
	Kind   string  `json:"kind"`
	Source string  `json:"source"`
	Fitted bool    `json:"fitted"` // whether the short stage was in use
	Rows   int     `json:"rows"`
	Miss   float64 `json:"miss"` // asked for
	Pairs  int     `json:"pairs"`
	Lost   int     `json:"lost"`
	Upper  float64 `json:"lost_upper_95"` // of the rate
}

// pair is a probe and the row that it should find.
type pair struct {
	probe []float32
	label uint32
	score float32
}

// Misses searches for each pair's row with the threshold at the pair's own score, less float rounding, and counts those
// that are lost: what Options.Miss bounds, at its worst. Real templates are enrolled in two parts, people of the first for
// the fit and of the second for the pairs, which are all ordered pairs of photos of one person. Errors: ErrConfig,
// ErrGallery, ctx's, the index's.
func Misses(ctx context.Context, c MissConfig) (reports []MissReport, err error) {
	c.Kind, c.Variant, c.Seed = cmp.Or(c.Kind, "scan"), cmp.Or(c.Variant, Space), cmp.Or(c.Seed, 1)
	c.Rows, c.Pairs = cmp.Or(c.Rows, 100_000), cmp.Or(c.Pairs, 100_000)
	if len(c.Miss) == 0 {
		c.Miss = []float64{1e-6, 1e-4, 1e-3, 1e-2}
	}
	if c.Rows < 1 || c.Pairs < 1 || c.Kind != "scan" && c.Kind != "scan-sketch" {
		return nil, fmt.Errorf("%w: kind %q, %d rows, %d pairs", ErrConfig, c.Kind, c.Rows, c.Pairs)
	}
	x, pairs, err := c.enrol()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	for _, miss := range c.Miss {
		lost, err := countLost(ctx, x, pairs, miss)
		if err != nil {
			return nil, err
		}
		r := MissReport{Kind: c.Kind, Source: c.Variant, Fitted: x.Fitted(), Rows: x.Rows(), Miss: miss, Pairs: len(pairs), Lost: lost, Upper: index.UpperBound(lost, len(pairs))}
		if c.Faces != nil {
			r.Source = "faces"
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func (c MissConfig) enrol() (*scan.Index, []pair, error) {
	if c.Faces != nil {
		return c.enrolFaces()
	}
	g, err := NewGallery(c.Variant, SpaceDim, c.Seed)
	if err != nil {
		return nil, nil, err
	}
	x, err := scan.New(scan.Config{Dim: SpaceDim, FitAt: c.fitAt(0)})
	if err != nil {
		return nil, nil, err
	}
	vectors := make([]float32, c.Rows*SpaceDim)
	_ = inParts(c.Rows, func(from, to int) error {
		g.Append(vectors[from*SpaceDim:from*SpaceDim:to*SpaceDim], uint64(from), 0, to-from)
		return nil
	})
	if err := appendFrom(x, SpaceDim, 0, vectors); err != nil {
		return nil, nil, errors.Join(err, x.Close())
	}
	pairs := make([]pair, c.Pairs)
	_ = inParts(c.Pairs, func(from, to int) error {
		for i := from; i < to; i++ {
			label := i % c.Rows
			pairs[i] = newPair(g.Append(nil, uint64(label), uint32(1+i/c.Rows), 1), vectors, label)
		}
		return nil
	})
	return x, pairs, nil
}

func (c MissConfig) fitAt(rows int) int {
	if c.Kind == "scan-sketch" {
		return -1
	}
	return rows
}

func newPair(probe, vectors []float32, label int) pair {
	dim := len(probe)
	return pair{probe, uint32(label), float32(cosine(probe, vectors[label*dim:(label+1)*dim]))}
}

func cosine(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func (c MissConfig) enrolFaces() (*scan.Index, []pair, error) {
	f := c.Faces
	n := len(f.People)
	split := n / 2
	for split > 0 && split < n && f.People[split] == f.People[split-1] {
		split++
	}
	if n == 0 || len(f.Vectors) != n*f.Dim {
		return nil, nil, fmt.Errorf("%w: %d templates of %d numbers in %d", ErrConfig, n, f.Dim, len(f.Vectors))
	}
	x, err := scan.New(scan.Config{Dim: f.Dim, FitAt: c.fitAt(split)})
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(appendFrom(x, f.Dim, 0, f.Vectors[:split*f.Dim]), appendFrom(x, f.Dim, split, f.Vectors[split*f.Dim:])); err != nil {
		return nil, nil, errors.Join(err, x.Close())
	}
	var pairs []pair
	for i := split; i < n; i++ {
		for j := split; j < n; j++ {
			if i != j && f.People[i] == f.People[j] {
				pairs = append(pairs, newPair(f.Vectors[i*f.Dim:(i+1)*f.Dim], f.Vectors, j))
			}
		}
	}
	return x, pairs, nil
}

// countLost leaves out pairs with a score that is not above 0, for which there is no search for all.
func countLost(ctx context.Context, x *scan.Index, pairs []pair, miss float64) (int, error) {
	var lost atomic.Int64
	rounding := float32(Rounding(x.Dim()))
	hits := make([][]index.Hit, runtime.GOMAXPROCS(0))
	err := concurrently(len(hits), func(i int) bool { return i < len(pairs) }, func(w, i int) (err error) {
		p := pairs[i]
		if p.score <= 2*rounding {
			return nil
		}
		hits[w], err = x.SearchInto(ctx, hits[w][:0], p.probe, index.Options{Threshold: p.score - rounding, Miss: miss})
		for _, h := range hits[w] {
			if h.Label == p.label {
				return err
			}
		}
		lost.Add(1)
		return err
	})
	return int(lost.Load()), err
}
