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

	floatLine = simd.FloatLine
)

// Exact finds the best row of each of many probes while a gallery passes by in batches: the truth that searches are
// held against. It keeps the probes and a row number and score for each, nothing of the gallery. Not safe for
// concurrent use; Add itself runs on GOMAXPROCS goroutines, which end before it returns.
type Exact struct {
	dim, stride int
	probes      []float32 // each padded to stride
	best        []Best
	padded      []float32 // a batch, where dim is not a stride
}

// Best is the answer for one probe: the number of the row with the largest dot product, and that. Ties go to the
// smaller row number. Before any row it is {0, −Inf}.
type Best struct {
	Row   uint64
	Score float32
}

// NewExact copies the probes, float32[dim] one after the other.
func NewExact(dim int, probes []float32) *Exact {
	e := &Exact{dim: dim, stride: (dim + floatLine - 1) / floatLine * floatLine}
	e.probes = e.pad(nil, probes)
	e.best = make([]Best, len(probes)/dim)
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
	workers := min(runtime.GOMAXPROCS(0), len(e.best))
	var wg sync.WaitGroup
	for w := range workers {
		from, to := w*len(e.best)/workers, (w+1)*len(e.best)/workers
		wg.Go(func() { e.compare(from, to, first, rows) })
	}
	wg.Wait()
}

// Best is the answer so far for each probe, valid until the next Add.
func (e *Exact) Best() []Best { return e.best }

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
			e.best[from+k].improve(first+uint64(r), scores[k*m:(k+1)*m])
		}
	}
}

func (b *Best) improve(first uint64, scores []float32) {
	for i, s := range scores {
		if s > b.Score || s == b.Score && first+uint64(i) < b.Row {
			*b = Best{first + uint64(i), s}
		}
	}
}

func (e *Exact) pad(dst, vectors []float32) []float32 {
	for i := 0; i+e.dim <= len(vectors); i += e.dim {
		dst = append(dst, vectors[i:i+e.dim]...)
		dst = append(dst, make([]float32, e.stride-e.dim)...)
	}
	return dst
}
