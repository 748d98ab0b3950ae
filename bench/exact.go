package bench

import (
	"math"
	"runtime"
	"sync"

	"mien/simd"
)

const (
	// A tile's rows stay in a first-level cache, its probes and a chunk's rows in a second-level one.
	tileBytes  = 32 << 10
	tileProbes = 64
	chunkBytes = 1 << 20
)

// Exact finds the best rows of each of many probes while a gallery passes by in batches: the truth that searches are
// held against. It keeps the probes and K row numbers and scores for each, nothing of the gallery. Not safe for
// concurrent use; Add itself runs on GOMAXPROCS goroutines, which end before it returns.
type Exact struct {
	dim, stride, k int
	probes         []float32 // each padded to stride
	best           []Best    // k for each probe, best first
	padded         []float32 // a batch, where dim is not a stride
}

// Best is one row of the answer for a probe: its number and its dot product. Ties go to the smaller row number. Where
// there were fewer rows it is {0, −Inf}.
type Best struct {
	Row   uint64
	Score float32
}

// NewExact is for the k best rows, at least 1, of each probe. It copies the probes, float32[dim] one after the other.
func NewExact(dim, k int, probes []float32) *Exact {
	e := &Exact{dim: dim, stride: stride(dim), k: k}
	e.probes = e.pad(nil, probes)
	e.best = make([]Best, len(probes)/dim*k)
	for i := range e.best {
		e.best[i].Score = float32(math.Inf(-1))
	}
	return e
}

// Add compares every probe with the rows first, first+1, …, float32[dim] one after the other. Nothing is retained.
// Batches may come in any order, each once; some thousand rows a call pay for the goroutines.
func (e *Exact) Add(first uint64, rows []float32) {
	if e.stride != e.dim {
		e.padded = e.pad(e.padded[:0], rows)
		rows = e.padded
	}
	n := len(e.probes) / e.stride
	workers := min(runtime.GOMAXPROCS(0), n)
	var wg sync.WaitGroup
	for w := range workers {
		from, to := w*n/workers, (w+1)*n/workers
		wg.Go(func() { e.compare(from, to, first, rows) })
	}
	wg.Wait()
}

// Best is the answer so far for a probe, k rows, best first; valid until the next Add.
func (e *Exact) Best(probe int) []Best { return e.best[probe*e.k : (probe+1)*e.k] }

// compare takes the probes from, …, to−1 over all rows. A worker owns its probes: nothing is shared. Memory is read once
// for each chunk of rows and, per chunk, once for the probes: an eighth (at dim 512) of taking all rows a tile of probes.
func (e *Exact) compare(from, to int, first uint64, rows []float32) {
	n, chunk := len(rows)/e.stride, max(chunkBytes/4/e.stride, 1)
	scores := make([]float32, tileProbes*e.tileRows())
	for r := 0; r < n; r += chunk {
		part := rows[r*e.stride : min(r+chunk, n)*e.stride]
		for p := from; p < to; p += tileProbes {
			e.compareTile(p, min(p+tileProbes, to), first+uint64(r), part, scores)
		}
	}
}

func (e *Exact) tileRows() int { return max(tileBytes/4/e.stride&^3, 4) }

// compareTile takes a tile's probes over a chunk of rows.
func (e *Exact) compareTile(from, to int, first uint64, rows, scores []float32) {
	qs, n, step := e.probes[from*e.stride:to*e.stride], len(rows)/e.stride, e.tileRows()
	for r := 0; r < n; r += step {
		m := min(step, n-r)
		simd.DotQueries(scores[:(to-from)*m], qs, rows[r*e.stride:], e.stride)
		for k := range to - from {
			improve(e.Best(from+k), first+uint64(r), scores[k*m:(k+1)*m])
		}
	}
}

// improve inserts into a sorted array: after the first rows few scores pass the last of it.
func improve(best []Best, first uint64, scores []float32) {
	last := len(best) - 1
	for i, s := range scores {
		if b := (Best{first + uint64(i), s}); b.before(best[last]) {
			at := last
			for ; at > 0 && b.before(best[at-1]); at-- {
				best[at] = best[at-1]
			}
			best[at] = b
		}
	}
}

func (b Best) before(o Best) bool { return b.Score > o.Score || b.Score == o.Score && b.Row < o.Row }

func (e *Exact) pad(dst, vectors []float32) []float32 {
	for i := 0; i+e.dim <= len(vectors); i += e.dim {
		dst = append(dst, vectors[i:i+e.dim]...)
		dst = append(dst, make([]float32, e.stride-e.dim)...)
	}
	return dst
}
