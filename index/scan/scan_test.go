package scan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"mien/index"
)

// failer is what testing.TB and *rapid.T share.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

func mustNew(t testing.TB, c Config) *Index {
	t.Helper()
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

var testKey = []byte("0123456789abcdef0123456789abcdef")

func unit(rng *rand.Rand, dim int) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return normalised(v)
}

func normalised(v []float32) []float32 {
	sum := math.Sqrt(dot64(v, v))
	for i := range v {
		v[i] = float32(float64(v[i]) / sum)
	}
	return v
}

// near is a unit vector with cosine c to v.
func near(rng *rand.Rand, v []float32, c float64) []float32 {
	u := unit(rng, len(v))
	d := dot64(u, v)
	for i := range u {
		u[i] -= float32(d) * v[i]
	}
	normalised(u)
	for i := range u {
		u[i] = float32(c*float64(v[i]) + math.Sqrt(1-c*c)*float64(u[i]))
	}
	return normalised(u)
}

// dotError bounds |float32 dot − exact| for unit vectors (package simd).
func dotError(dim int) float64 { return float64(dim+16) * 0x1p-24 }

type oracleRow struct {
	label uint32
	v     []float32
}

// oracle is the plain loop over float64 that an index must agree with.
type oracle map[uint32]oracleRow

// agree checks an answer against the oracle, to the rounding of float32.
func agree(t failer, o oracle, q []float32, opt index.Options, hits []index.Hit) {
	t.Helper()
	eps, want := dotError(len(q)), map[uint32]float64{}
	for row, r := range o {
		if opt.Filter != nil && !opt.Filter.Has(row) {
			continue
		}
		s := dot64(r.v, q)
		if have, ok := want[r.label]; !ok || s > have {
			want[r.label] = s
		}
	}
	if opt.K > 0 && len(hits) > opt.K {
		t.Fatalf("%d hits for k=%d", len(hits), opt.K)
	}
	seen := map[uint32]bool{}
	for i, h := range hits {
		exact, ok := want[h.Label]
		if !ok || seen[h.Label] || math.Abs(float64(h.Score)-exact) > eps || h.Score < opt.Threshold {
			t.Fatalf("hit %d %+v: exact %v, known %v, seen before %v, threshold %v", i, h, exact, ok, seen[h.Label], opt.Threshold)
		}
		if i > 0 && index.CompareHits(hits[i-1], h) >= 0 {
			t.Fatalf("hits %d and %d out of order: %+v", i-1, i, hits)
		}
		seen[h.Label] = true
	}
	for label, exact := range want {
		missed := !seen[label] && exact > float64(opt.Threshold)+eps
		if missed && (opt.K == 0 || len(hits) < opt.K || exact > float64(hits[len(hits)-1].Score)+eps) {
			t.Fatalf("label %d with score %v is missing from %d hits of k=%d", label, exact, len(hits), opt.K)
		}
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dim := rapid.SampledFrom([]int{1, 3, 17, 64, 100, 257}).Draw(t, "dim")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		x, err := New(Config{Dim: dim})
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		o, people := oracle{}, map[uint32][]uint32{}
		label := rapid.Uint32Range(0, 6)
		if rapid.Bool().Draw(t, "large") { // with codes
			fill(t, x, o, people, rng, SmallRows+rapid.IntRange(-3, 100).Draw(t, "more"))
		}
		t.Repeat(map[string]func(*rapid.T){
			"replace": func(t *rapid.T) {
				l := label.Draw(t, "label")
				vectors := make([][]float32, rapid.IntRange(0, 3).Draw(t, "n"))
				for i := range vectors {
					vectors[i] = unit(rng, dim)
				}
				replace(t, x, o, people, l, vectors)
			},
			"search": func(t *rapid.T) {
				q := unit(rng, dim)
				opt := index.Options{K: rapid.IntRange(0, 12).Draw(t, "k"), Threshold: rapid.SampledFrom([]float32{-1, 0, 0.3}).Draw(t, "threshold"), Exact: rapid.Bool().Draw(t, "exact")}
				if opt.K == 0 {
					opt.Threshold = 0.2
				}
				if rapid.Bool().Draw(t, "filter") {
					opt.Filter = new(index.Bitmap)
					for row := range o {
						if row%7 < 3 {
							opt.Filter.Set(row)
						}
					}
				}
				hits, err := x.SearchInto(t.Context(), nil, q, opt)
				if err != nil {
					t.Fatal(err)
				}
				agree(t, o, q, opt, hits)
			},
			"": func(t *rapid.T) { checkRows(t, x, o) },
		})
	})
}

func fill(t failer, x *Index, o oracle, people map[uint32][]uint32, rng *rand.Rand, n int) {
	labels, rows, vectors := make([]uint32, n), make([]uint32, n), make([]float32, 0, n*x.Dim())
	for i := range labels {
		labels[i] = 100 + uint32(i)
		vectors = append(vectors, unit(rng, x.Dim())...)
	}
	if err := x.Append(labels, vectors, rows); err != nil {
		t.Fatalf("Append: %v", err)
	}
	for i, row := range rows {
		o[row] = oracleRow{labels[i], vectors[i*x.Dim() : (i+1)*x.Dim()]}
		people[labels[i]] = []uint32{row}
	}
}

func replace(t failer, x *Index, o oracle, people map[uint32][]uint32, label uint32, vectors [][]float32) {
	rows, err := x.Replace(people[label], label, vectors)
	if err != nil || len(rows) != len(vectors) {
		t.Fatalf("Replace: %d rows, %v", len(rows), err)
	}
	for _, row := range people[label] {
		delete(o, row)
	}
	for i, row := range rows {
		if _, taken := o[row]; taken {
			t.Fatalf("row %d is taken", row)
		}
		o[row] = oracleRow{label, vectors[i]}
	}
	people[label] = rows
}

// checkRows verifies the invariants of a quiet index.
func checkRows(t failer, x *Index, o oracle) {
	t.Helper()
	settle(t, x)
	if x.Rows() != len(o) {
		t.Fatalf("Rows() = %d, want %d", x.Rows(), len(o))
	}
	for row := range x.next.Load() {
		r, ok := o[row]
		if live := x.isLive(row); live != ok {
			t.Fatalf("row %d live %v, want %v", row, live, ok)
		}
		v, err := x.vector(row, x.small.Load(), make([]float32, x.stride), make([]byte, x.vectors.scratchBytes()))
		want := make([]float32, x.stride) // zero if dead, zero padding if live
		if copy(want, r.v); ok && err != nil || err == nil && !slices.Equal(v, want) {
			t.Fatalf("row %d differs: %v", row, err)
		}
	}
}

func TestLarge(t *testing.T) {
	configs, searchers := []Config{{Dim: 128, Dir: t.TempDir(), Key: testKey}, {Dim: 20}, {Dim: 128}}, 8
	if testing.Short() { // the oracle is slow under the race detector and an emulator
		configs, searchers = configs[:2], 3
	}
	for _, c := range configs {
		t.Run(fmt.Sprintf("dim=%d,dir=%v", c.Dim, c.Dir != ""), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(c.Dim)))
			x, o, people := mustNew(t, c), oracle{}, map[uint32][]uint32{}
			fill(t, x, o, people, rng, 3*chunkRows+1000)
			for i := range 2000 { // holes, and rows that are used again
				replace(t, x, o, people, 100+uint32(7*i), nil)
			}
			for i := range uint32(500) {
				replace(t, x, o, people, 5000+i, [][]float32{unit(rng, c.Dim), unit(rng, c.Dim)})
			}
			checkRows(t, x, o)
			var wg sync.WaitGroup
			for range searchers {
				seed := rng.Uint64()
				wg.Go(func() {
					rng := rand.New(rand.NewPCG(seed, 1))
					for i := range 12 {
						q := near(rng, o[SmallRows*30+uint32(rng.IntN(100))].v, 0.7)
						opt := index.Options{K: 1 + i, Threshold: []float32{-1, 0.35}[i%2], Exact: i == 11}
						hits, err := x.SearchInto(t.Context(), nil, q, opt)
						if err != nil {
							t.Error(err)
							return
						}
						agree(t, o, q, opt, hits)
					}
				})
			}
			wg.Wait()
		})
	}
}
