package index

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/viterin/vek/vek32"
	"pgregory.net/rapid"

	"mien/simd"
)

// failer is what testing.TB and *rapid.T share.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newScan(t testing.TB, dim int) *Scan {
	t.Helper()
	s, err := NewScan(dim)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func unit(rng *rand.Rand, dim int) []float32 {
	v, sum := make([]float32, dim), 0.0
	for i := range v {
		v[i] = float32(rng.NormFloat64())
		sum += float64(v[i]) * float64(v[i])
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / math.Sqrt(sum))
	}
	return v
}

func dot64(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// dotError bounds |float32 dot − exact| for unit vectors: each product and each of at most dim+lanes sums
// rounds by at most 2⁻²⁴ of a partial sum, and Σ|aᵢbᵢ| ≤ 1 by Cauchy and Schwarz.
func dotError(dim int) float64 { return float64(dim+16) * 0x1p-24 }

// oracle is the plain loop over float64 that Scan must agree with.
type oracle map[uint32]struct {
	label uint32
	v     []float32
}

// scores is each label's best row.
func (o oracle) scores(q []float32) map[uint32]float64 {
	best := map[uint32]float64{}
	for _, r := range o {
		s := dot64(r.v, q)
		if have, ok := best[r.label]; !ok || s > have {
			best[r.label] = s
		}
	}
	return best
}

// agree checks a search's answer against the oracle, to the rounding of float32.
func agree(t failer, o oracle, q []float32, k int, threshold float32, hits []Hit) {
	t.Helper()
	eps, want := dotError(len(q)), o.scores(q)
	seen := map[uint32]bool{}
	for i, h := range hits {
		exact, ok := want[h.Label]
		if !ok || seen[h.Label] || math.Abs(float64(h.Score)-exact) > eps || h.Score < threshold {
			t.Fatalf("hit %d %+v: exact %v, known %v, seen before %v, threshold %v", i, h, exact, ok, seen[h.Label], threshold)
		}
		if i > 0 && compareHits(hits[i-1], h) >= 0 {
			t.Fatalf("hits %d and %d out of order: %+v", i-1, i, hits)
		}
		seen[h.Label] = true
	}
	for label, exact := range want {
		missed := !seen[label] && exact > float64(threshold)+eps
		if missed && (len(hits) < k || exact > float64(hits[len(hits)-1].Score)+eps) {
			t.Fatalf("label %d with score %v is missing from %d hits of k=%d", label, exact, len(hits), k)
		}
	}
}

// check verifies the invariants of a quiet index against the oracle.
func check(t failer, s *Scan, o oracle) {
	t.Helper()
	if s.Rows() != len(o) {
		t.Fatalf("Rows() = %d, want %d", s.Rows(), len(o))
	}
	for i, g := range *s.segments.Load() {
		for j, live := range g.live {
			row := uint32(i*segmentRows + j)
			r, ok := o[row]
			if live != ok {
				t.Fatalf("row %d live %v, want %v", row, live, ok)
			}
			want := make([]float32, s.stride) // I3: zero if dead, zero padding if live
			copy(want, r.v)
			if !slices.Equal(g.row(j, s.stride), want) || g.labels[j] != r.label {
				t.Fatalf("row %d differs", row)
			}
		}
	}
}

func TestScanModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dim := rapid.SampledFrom([]int{1, 3, 15, 16, 17, 100}).Draw(t, "dim")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		s, err := NewScan(dim)
		if err != nil {
			t.Fatal(err)
		}
		o := oracle{}
		label := rapid.Uint32Range(0, 6)
		row := func(t *rapid.T) uint32 {
			rows := []uint32{0, 99999}
			for r := range o {
				rows = append(rows, r)
			}
			slices.Sort(rows)
			return rapid.SampledFrom(rows).Draw(t, "row")
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				l, v := label.Draw(t, "label"), unit(rng, dim)
				r, err := s.Add(l, v)
				if _, taken := o[r]; err != nil || taken {
					t.Fatalf("Add: row %d, taken %v, %v", r, taken, err)
				}
				o[r] = struct {
					label uint32
					v     []float32
				}{l, v}
			},
			"set": func(t *rapid.T) {
				r, l, v := row(t), label.Draw(t, "label"), unit(rng, dim)
				have, ok := o[r]
				if err := s.Set(r, l, v); ok != (err == nil) || !ok && err != ErrRow {
					t.Fatalf("Set(%d) of a live %v row: %v", r, ok, err)
				}
				if have.label, have.v = l, v; ok {
					o[r] = have
				}
			},
			"remove": func(t *rapid.T) {
				r := row(t)
				_, ok := o[r]
				if err := s.Remove(r); ok != (err == nil) || !ok && err != ErrRow {
					t.Fatalf("Remove(%d) of a live %v row: %v", r, ok, err)
				}
				delete(o, r)
			},
			"dot": func(t *rapid.T) {
				r, q := row(t), unit(rng, dim)
				got, err := s.Dot(r, q)
				if have, ok := o[r]; ok && (err != nil || math.Abs(float64(got)-dot64(have.v, q)) > dotError(dim)) || !ok && err != ErrRow {
					t.Fatalf("Dot(%d) = %v, %v", r, got, err)
				}
			},
			"search": func(t *rapid.T) {
				q, k := unit(rng, dim), rapid.IntRange(1, 9).Draw(t, "k")
				threshold := rapid.Float32Range(-1, 1).Draw(t, "threshold")
				hits, err := s.SearchInto(context.Background(), nil, q, k, threshold)
				if err != nil || len(hits) > k {
					t.Fatalf("%d hits, %v", len(hits), err)
				}
				agree(t, o, q, k, threshold, hits)
			},
			"": func(t *rapid.T) { check(t, s, o) },
		})
	})
}

// TestScanLarge covers many segments and helpers: the answer must not depend on how the work was shared.
func TestScanLarge(t *testing.T) {
	const dim, rows = 32, 13 * segmentRows
	rng := rand.New(rand.NewPCG(1, 2))
	s, o := newScan(t, dim), oracle{}
	for i := range rows + 77 {
		v := unit(rng, dim)
		label := uint32(i / 3)
		r, err := s.Add(label, v)
		if err != nil {
			t.Fatal(err)
		}
		o[r] = struct {
			label uint32
			v     []float32
		}{label, v}
	}
	for r := uint32(0); r < rows; r += 7 {
		if err := s.Remove(r); err != nil {
			t.Fatal(err)
		}
		delete(o, r)
	}
	check(t, s, o)
	for _, k := range []int{1, 10, 100, 1 << 30} {
		for _, threshold := range []float32{-1, 0.4, 0.6, 0.99} {
			q := unit(rng, dim)
			hits, err := s.SearchInto(t.Context(), nil, q, k, threshold)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, o, q, k, threshold, hits)
		}
	}
}

func TestScanTiesGoToSmallerLabel(t *testing.T) {
	s := newScan(t, 4)
	v := []float32{1, 0, 0, 0}
	for _, label := range []uint32{9, 2, 7, 2, 5, 9} {
		if _, err := s.Add(label, v); err != nil {
			t.Fatal(err)
		}
	}
	hits, err := s.SearchInto(t.Context(), []Hit{{Label: 77}}, v, 3, 1)
	if want := []Hit{{Label: 77}, {2, 1}, {5, 1}, {7, 1}}; err != nil || !slices.Equal(hits, want) {
		t.Fatalf("%v, %v; want %v", hits, err, want)
	}
}

func TestScanRefuses(t *testing.T) {
	for _, dim := range []int{-1, 0, MaxDim + 1} {
		if _, err := NewScan(dim); err != ErrDim {
			t.Errorf("NewScan(%d): %v", dim, err)
		}
	}
	s := newScan(t, 3)
	row, err := s.Add(1, []float32{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		v    []float32
		want error
	}{
		{nil, ErrDim}, {[]float32{1, 2}, ErrDim}, {[]float32{1, 2, 3, 4}, ErrDim},
		{[]float32{1, nan, 3}, ErrNotFinite}, {[]float32{1, 2, inf}, ErrNotFinite}, {[]float32{-inf, 2, 3}, ErrNotFinite},
		{[]float32{0, 0, 0}, ErrZero}, {[]float32{0, float32(math.Copysign(0, -1)), 0}, ErrZero},
	} {
		_, addErr := s.Add(1, c.v)
		_, dotErr := s.Dot(row, c.v)
		_, searchErr := s.SearchInto(t.Context(), nil, c.v, 1, 0)
		for _, err := range []error{addErr, dotErr, searchErr, s.Set(row, 1, c.v)} {
			if err != c.want {
				t.Errorf("%v: %v, want %v", c.v, err, c.want)
			}
		}
	}
	if _, err := s.SearchInto(t.Context(), nil, []float32{1, 2, 3}, 0, 0); err != ErrK {
		t.Errorf("k=0: %v", err)
	}
	if s.Rows() != 1 {
		t.Errorf("%d rows after refusals", s.Rows())
	}
}

// countedContext calls hook with the number of the call, from 1, whenever it is asked whether it ended: a search
// asks once before it begins, and before each segment.
type countedContext struct {
	context.Context
	calls atomic.Int64
	hook  func(call int64) error
}

func (c *countedContext) Err() error { return c.hook(c.calls.Add(1)) }

func TestScanCancelled(t *testing.T) {
	const segments = 3 // too few for helpers: calls 2 to 4 are before segments 0 to 2
	s := newScan(t, 2)
	for range segments * segmentRows {
		if _, err := s.Add(1, []float32{1, 0}); err != nil {
			t.Fatal(err)
		}
	}
	for end := int64(1); end <= segments+2; end++ {
		ctx := &countedContext{Context: t.Context(), hook: func(call int64) error {
			if call >= end {
				return context.Canceled
			}
			return nil
		}}
		hits, err := s.SearchInto(ctx, nil, []float32{1, 0}, 1, 0)
		if end <= segments+1 && (!errors.Is(err, context.Canceled) || hits != nil) {
			t.Errorf("ended at call %d: %v, %v", end, hits, err)
		}
		if stop := ctx.calls.Load(); end <= segments+1 && stop > end+1 {
			t.Errorf("ended at call %d: it went on to call %d", end, stop)
		}
		if end > segments+1 && (err != nil || len(hits) != 1) {
			t.Errorf("ended after the last segment: %v, %v", hits, err)
		}
	}
	if hits, err := s.SearchInto(t.Context(), nil, []float32{1, 0}, 1, 0); err != nil || len(hits) != 1 {
		t.Errorf("the next search: %v, %v", hits, err)
	}
}

// TestScanGrowsMeanwhile: rows added while a search runs do not push out those that were live throughout, as long
// as k has room for all.
func TestScanGrowsMeanwhile(t *testing.T) {
	s := newScan(t, 2)
	add := func(label uint32, v ...float32) {
		if _, err := s.Add(label, v); err != nil {
			t.Error(err)
		}
	}
	add(1, 0.6, 0.8)
	ctx := &countedContext{Context: t.Context(), hook: func(call int64) error {
		if call == 2 { // the search has begun
			add(2, 1, 0)
			add(3, 0.8, 0.6)
		}
		return nil
	}}
	hits, err := s.SearchInto(ctx, nil, []float32{1, 0}, 10, 0)
	if err != nil || len(hits) == 0 || hits[len(hits)-1].Label != 1 {
		t.Fatalf("%v, %v", hits, err)
	}
}

// TestScanConcurrent: writers replace, add and remove while searches run. Labels below stable are only ever
// replaced, in place, by vectors near the same axis: a search that misses one breaks I2.
func TestScanConcurrent(t *testing.T) {
	const dim, stable, churners = 24, 8, 3
	s := newScan(t, dim)
	near := func(rng *rand.Rand, axis int) []float32 {
		v := make([]float32, dim)
		v[axis], v[(axis+1)%dim] = 1, rng.Float32()*0.01
		return v
	}
	seed := rand.New(rand.NewPCG(3, 4))
	rows := make([]uint32, stable)
	for i := range rows {
		rows[i], _ = s.Add(uint32(i), near(seed, i))
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(5, 6))
		for i := 0; !stop.Load(); i = (i + 1) % stable {
			if err := s.Set(rows[i], uint32(i), near(rng, i)); err != nil {
				t.Error(err)
			}
		}
	})
	for c := range churners {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(c)))
			axis := stable + c
			for !stop.Load() {
				row, err := s.Add(uint32(100+c), near(rng, axis))
				if err != nil {
					t.Error(err)
				}
				if hits, err := s.SearchInto(context.Background(), nil, near(rng, axis), 1, 0.9); err != nil || len(hits) != 1 || hits[0].Label != uint32(100+c) {
					t.Errorf("I1: an added row is not found: %v, %v", hits, err)
				}
				if err := s.Remove(row); err != nil {
					t.Error(err)
				}
				if hits, err := s.SearchInto(context.Background(), nil, near(rng, axis), 1, 0.9); err != nil || len(hits) != 0 {
					t.Errorf("I1: a removed row is found: %v, %v", hits, err)
				}
			}
		})
	}
	for i := range 2000 {
		hits, err := s.SearchInto(t.Context(), nil, near(seed, i%stable), 1, 0.9)
		if err != nil || len(hits) != 1 || hits[0].Label != uint32(i%stable) {
			t.Fatalf("I2: label %d: %v, %v", i%stable, hits, err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

func BenchmarkSearch(b *testing.B) {
	const dim = 512
	for _, rows := range []int{100, 1_000, 10_000, 100_000} {
		s := newScan(b, dim)
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range rows {
			if _, err := s.Add(uint32(i), unit(rng, dim)); err != nil {
				b.Fatal(err)
			}
		}
		q := unit(rng, dim)
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			b.SetBytes(int64(rows) * dim * 4)
			b.ReportAllocs()
			dst := make([]Hit, 0, 10)
			for b.Loop() {
				dst, _ = s.SearchInto(b.Context(), dst[:0], q, 10, 0.3)
			}
		})
		b.Run(fmt.Sprintf("rows=%d/vek", rows), func(b *testing.B) { // the bare products, nothing kept
			b.SetBytes(int64(rows) * dim * 4)
			for b.Loop() {
				for _, g := range *s.segments.Load() {
					for i := range g.live {
						vek32.Dot(q, g.row(i, s.stride))
					}
				}
			}
		})
		b.Run(fmt.Sprintf("rows=%d/parallel", rows), func(b *testing.B) {
			b.SetBytes(int64(rows) * dim * 4)
			b.RunParallel(func(pb *testing.PB) {
				dst := make([]Hit, 0, 10)
				for pb.Next() {
					dst, _ = s.SearchInto(context.Background(), dst[:0], q, 10, 0.3)
				}
			})
		})
	}
}

// TestScanDot: Dot gives the number that a search does, at every level, and vek's to rounding.
func TestScanDot(t *testing.T) {
	for _, level := range simd.Levels() {
		if err := simd.Use(level); err != nil {
			t.Fatal(err)
		}
		for _, dim := range []int{1, 16, 33, 128, 512} {
			rng := rand.New(rand.NewPCG(8, uint64(dim)))
			s := newScan(t, dim)
			for i := range 23 {
				if _, err := s.Add(uint32(i), unit(rng, dim)); err != nil {
					t.Fatal(err)
				}
			}
			q := unit(rng, dim)
			hits, err := s.SearchInto(t.Context(), nil, q, 23, -2)
			if err != nil || len(hits) != 23 {
				t.Fatalf("%d hits, %v", len(hits), err)
			}
			for _, h := range hits { // label and row are the same here
				score, err := s.Dot(h.Label, q)
				vek := float64(vek32.Dot(q, (*s.segments.Load())[0].row(int(h.Label), s.stride)[:dim]))
				if err != nil || score != h.Score || math.Abs(float64(score)-vek) > 2*dotError(dim) {
					t.Errorf("%s dim %d row %d: %v, the search had %v, vek %v, %v", level, dim, h.Label, score, h.Score, vek, err)
				}
			}
		}
	}
	if err := simd.Use(""); err != nil {
		t.Fatal(err)
	}
}
