package scan

import (
	"context"
	"slices"

	"mien/index"
	"mien/simd"
)

// Reader is a search, or a look at rows, that is told which rows to look at: what a graph over the rows needs. It sees the
// index as it is at one moment, that of Read or Look. While it is open, nothing that it may be told of is given out
// again, but for rows that were released before, which it reads as something else. Not safe for concurrent use.
type Reader struct {
	x *Index
	p *probe

	at        []*int8 // codes of the rows of a run
	steps     []float32
	products  []int32
	estimates []float32
	picked    []candidate
	a, b      []float32 // two rows whose codes are of different bases
}

// Read begins a search. The caller closes it. Errors: as SearchInto's before it compares.
func (x *Index) Read(q []float32, o index.Options) (*Reader, error) {
	if err := x.enter(); err != nil {
		return nil, err
	}
	o, err := o.Validate()
	if err == nil {
		err = check(q, x.dim)
	}
	if err != nil {
		x.leave()
		return nil, err
	}
	r := x.readers.Get().(*Reader)
	r.p.begin(q, o)
	return r, nil
}

// Look begins to look at rows without a probe: for Pairs. The caller closes it. Errors: ErrClosed.
func (x *Index) Look() (*Reader, error) {
	if err := x.enter(); err != nil {
		return nil, err
	}
	r := x.readers.Get().(*Reader)
	x.passes.register(r.p, x.epoch.Load)
	r.p.small = x.small.Load()
	return r, nil
}

// Close ends it.
func (r *Reader) Close() {
	x := r.x
	x.passes.unregister(r.p)
	x.startReclaim()
	x.readers.Put(r)
	x.leave()
}

// Coded reports whether rows have int8 codes, without which there is nothing to estimate by: not below dim 64, nor while
// the index has never held more than SmallRows.
func (x *Index) Coded() bool { return x.rotation != nil && len(*x.segments.Load()) > 0 }

// Next is a row number beyond all that were given out.
func (x *Index) Next() uint32 { return x.next.Load() }

// Live reports whether the row is there now.
func (x *Index) Live(row uint32) bool { return x.isLive(row) }

// Epoch is the number of changes so far.
func (x *Index) Epoch() uint64 { return x.epoch.Load() }

// Oldest is the epoch of the oldest search in progress, or the largest number: rows that died no later are seen by none.
func (x *Index) Oldest() uint64 { return x.passes.oldest() }

// Options are those of the search, with defaults.
func (r *Reader) Options() index.Options { return r.p.o }

// Answers reports whether the row may be in the search's answer: it is there at the reader's moment, and the filter passes
// it.
func (r *Reader) Answers(row uint32) bool { return r.p.passes(row) && r.x.lifeOf(row).at(r.p.epoch) }

// Estimate sets dst[i] to about the score of rows[i], by the int8 codes' head where the basis is fitted to the gallery, and else
// by all of them. REQUIRES: Coded, and that the rows were given out.
func (r *Reader) Estimate(dst []float32, rows []uint32) {
	r.inRuns(rows, func(f *fit, from, to int) {
		m := r.form(f)
		q := m.codes
		if f != nil {
			q = q[:stepDim]
		}
		r.multiply(dst[from:to], q, m.scale)
	})
}

// Take looks at rows as the last stages of a search do: by whole int8 codes, and notes those that may be in the answer.
func (r *Reader) Take(rows []uint32) {
	dst := slices.Grow(r.estimates[:0], len(rows))[:len(rows)]
	r.estimates = dst
	r.inRuns(rows, func(f *fit, from, to int) {
		m := r.form(f)
		bound := float32(r.p.least())
		r.multiply(dst[from:to], m.codes, m.scale)
		r.picked = r.picked[:0]
		for i, row := range rows[from:to] {
			e := candidate{row: row, estimate: dst[from+i], err: m.rounding(r.steps[i])}
			if e.estimate+e.err >= bound && r.Answers(row) {
				e.label = r.x.labelOf(row).Load()
				r.picked = append(r.picked, e)
			}
		}
		if len(r.picked) > 0 {
			r.p.take(r.picked)
		}
	})
}

// Hits appends the answer from the rows taken to dst, by their float32 vectors. Errors: as SearchInto's.
func (r *Reader) Hits(ctx context.Context, dst []index.Hit) ([]index.Hit, error) {
	if err := r.p.rescore(ctx); err != nil {
		return dst, err
	}
	return r.p.answer(dst), nil
}

// Scan is the whole search by comparing the probe with every row; exact is as in Options. What was taken is forgotten.
func (r *Reader) Scan(ctx context.Context, dst []index.Hit, exact bool) ([]index.Hit, error) {
	r.p.o.Exact = exact
	r.p.reset()
	if err := r.p.run(ctx); err != nil {
		return dst, err
	}
	return r.p.answer(dst), nil
}

// Pairs sets dst[i] to about the product of row and rows[i], by their int8 codes. REQUIRES: as Estimate.
func (r *Reader) Pairs(dst []float32, row uint32, rows []uint32) {
	c := (*r.x.segments.Load())[row/segmentRows].codes.Load()
	stride := int8Stride(r.x.dim)
	q := c.int8[int(row%segmentRows)*stride:][:stride]
	scale := load(&c.scales[row%segmentRows])
	r.inRuns(rows, func(f *fit, from, to int) {
		if f != c.fit {
			r.pairsOfVectors(dst[from:to], row, rows[from:to])
			return
		}
		r.multiply(dst[from:to], q, scale)
	})
}

// pairsOfVectors is Pairs while a fit is being made, which takes a second or so once in an index's life.
func (r *Reader) pairsOfVectors(dst []float32, row uint32, rows []uint32) {
	if r.a == nil {
		r.a, r.b = make([]float32, r.x.stride), make([]float32, r.x.stride)
	}
	a, err := r.x.vector(row, r.x.small.Load(), r.a, r.p.sealed)
	for i, other := range rows {
		dst[i] = 0
		if err != nil {
			continue
		}
		if b, err := r.x.vector(other, r.x.small.Load(), r.b, r.p.sealed); err == nil {
			simd.DotRows(dst[i:i+1], a, b, r.x.stride)
		}
	}
}

// inRuns calls f for parts of rows whose codes are of one basis, ready for multiply.
func (r *Reader) inRuns(rows []uint32, f func(of *fit, from, to int)) {
	segs, stride := *r.x.segments.Load(), int8Stride(r.x.dim)
	for from := 0; from < len(rows); {
		of, to := segs[rows[from]/segmentRows].codes.Load().fit, from
		r.at, r.steps = r.at[:0], r.steps[:0]
		for ; to < len(rows); to++ {
			c, i := segs[rows[to]/segmentRows].codes.Load(), int(rows[to]%segmentRows)
			if c.fit != of {
				break
			}
			r.at = append(r.at, &c.int8[i*stride])
			r.steps = append(r.steps, load(&c.scales[i]))
		}
		f(of, from, to)
		from = to
	}
}

// multiply sets dst to the products of q × step with the rows that inRuns has found.
func (r *Reader) multiply(dst []float32, q []int8, step float32) {
	r.products = slices.Grow(r.products[:0], len(dst))[:len(dst)]
	simd.DotInt8At(r.products, q, r.at)
	for i, product := range r.products {
		dst[i] = step * r.steps[i] * float32(product)
	}
}

// form is the probe made ready for rows of a fit, or without. It is made once, but for a fit that comes meanwhile.
func (r *Reader) form(f *fit) *form {
	if f == nil && !r.p.sketch.ready {
		r.p.sketch.prepare(r.p.q[:r.x.dim], r.x.rotation)
	}
	return r.p.form(f)
}
