package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/viterin/vek/vek32"
)

// dotBound is the error of a float32 dot product of n products in any order (doc.go): γ of n+8 times Σ|aᵢbᵢ|, and half
// of the smallest float for each operation, which is what rounding costs below the normal range.
func dotBound(a, b []float32) (exact, bound float64) {
	abs := 0.0
	for i := range a {
		p := float64(a[i]) * float64(b[i])
		exact += p
		abs += math.Abs(p)
	}
	k := float64(len(a) + 8)
	u := k * 0x1p-24
	return exact, u/(1-u)*abs + k*0x1p-150
}

// fills are the values that rows and queries are made of.
var fills = map[string]func(rng *rand.Rand) float32{
	"normal":   func(rng *rand.Rand) float32 { return float32(rng.NormFloat64()) },
	"spread":   func(rng *rand.Rand) float32 { return float32(rng.NormFloat64() * math.Exp2(float64(rng.IntN(80)-40))) },
	"denormal": func(rng *rand.Rand) float32 { return math.Float32frombits(rng.Uint32() & 0x807fffff) },
	"zeros":    func(rng *rand.Rand) float32 { return math.Float32frombits(rng.Uint32() & 0x80000000) },
	"mixed": func(rng *rand.Rand) float32 {
		return []float32{0, float32(math.Copysign(0, -1)), 1, -1, math.SmallestNonzeroFloat32, 1e-20, 3e16}[rng.IntN(7)]
	},
}

func fill(v []float32, rng *rand.Rand, f func(*rand.Rand) float32) {
	for i := range v {
		v[i] = f(rng)
	}
}

func roundUp(n, to int) int { return max((n+to-1)/to*to, to) }

func TestDotRows(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 1))
		for _, dim := range lengths() {
			for name, f := range fills {
				n := 1 + rng.IntN(11)
				testDotRows(t, rng, name, dim, n, roundUp(dim, FloatLine)+FloatLine*rng.IntN(2), f)
			}
		}
		testDotRows(t, rng, "split", 512, 2*callBytes/2048+5, 512, fills["normal"]) // more than a call takes
		DotRows(nil, nil, nil, 0)
	})
}

func testDotRows(t *testing.T, rng *rand.Rand, name string, dim, n, stride int, f func(*rand.Rand) float32) {
	t.Helper()
	rows, q, dst := make([]float32, n*stride+1)[1:], make([]float32, dim+3)[3:], make([]float32, n+2)
	if dim < 200 {
		rows, q = guarded[float32](t, n*stride), guarded[float32](t, dim)
	}
	fill(rows, rng, func(*rand.Rand) float32 { return float32(math.NaN()) }) // what is past dim must not matter
	for i := range n {
		fill(rows[i*stride:][:dim], rng, f)
	}
	fill(q, rng, f)
	dst[n], dst[n+1] = 77, 78
	DotRows(dst[:n], q, rows, stride)
	for i, got := range dst[:n] {
		row := rows[i*stride:][:dim]
		if exact, bound := dotBound(q, row); !(math.Abs(float64(got)-exact) <= bound) {
			t.Errorf("%s dim %d row %d of %d: %v, exact %v ± %v", name, dim, i, n, got, exact, bound)
		}
		if exact, bound := dotBound(q, row); dim > 0 && !(math.Abs(float64(vek32.Dot(q, row))-exact) <= bound) {
			t.Errorf("%s dim %d: the bound does not hold for vek either", name, dim)
		}
	}
	if dst[n] != 77 || dst[n+1] != 78 {
		t.Errorf("%s dim %d: wrote past dst", name, dim)
	}
}

func TestDotQueries(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		for _, stride := range []int{16, 32, 48, 64, 128, 512, 4096} {
			for queries := range 10 {
				for _, n := range []int{0, 1, 2, 3, 4, 5, 9, 67} {
					rows, qs := guarded[float32](t, n*stride), guarded[float32](t, queries*stride)
					dst := guarded[float32](t, queries*n)
					fill(rows, rng, fills["normal"])
					fill(qs, rng, fills["normal"])
					DotQueries(dst, qs, rows, stride)
					for i, got := range dst {
						exact, bound := dotBound(qs[i/n*stride:][:stride], rows[i%n*stride:][:stride])
						if !(math.Abs(float64(got)-exact) <= bound) {
							t.Fatalf("stride %d, %d queries, %d rows: [%d] is %v, exact %v ± %v", stride, queries, n, i, got, exact, bound)
						}
					}
				}
			}
		}
	})
}

// A NaN or an infinity anywhere in a row comes out of that row and of no other.
func TestDotRowsNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachLevel(t, func(t *testing.T) {
		for _, dim := range []int{1, 16, 17, 64, 100, 512} {
			stride := roundUp(dim, FloatLine)
			q, rows, dst := slices.Repeat([]float32{1}, dim), make([]float32, 6*stride), make([]float32, 6)
			for at := range dim {
				for _, c := range []struct{ x, want float32 }{{nan, nan}, {inf, inf}, {-inf, -inf}} {
					clear(rows)
					rows[4*stride+at] = c.x
					DotRows(dst, q, rows, stride)
					if want := []float32{0, 0, 0, 0, c.want, 0}; fmt.Sprint(dst) != fmt.Sprint(want) {
						t.Fatalf("dim %d, %v at %d: %v", dim, c.x, at, dst)
					}
				}
			}
		}
	})
}

func TestDotRefuses(t *testing.T) {
	f := func(n int) []float32 { return make([]float32, n) }
	for name, call := range map[string]func(){
		"stride":       func() { DotRows(f(1), f(8), f(64), 8) },
		"no stride":    func() { DotRows(f(1), f(0), f(64), 0) },
		"negative":     func() { DotRows(f(1), f(0), f(64), -16) },
		"dim":          func() { DotRows(f(1), f(17), f(64), 16) },
		"rows":         func() { DotRows(f(5), f(16), f(79), 16) },
		"int8 stride":  func() { DotInt8Rows(make([]int32, 1), nil, make([]int8, 64), 32) },
		"int8 dim":     func() { DotInt8Rows(make([]int32, 1), make([]int8, 65), make([]int8, 64), 64) },
		"int8 rows":    func() { DotInt8Rows(make([]int32, 2), nil, make([]int8, 127), 64) },
		"int8 long":    func() { DotInt8Rows(nil, make([]int8, MaxInt8Dim+1), nil, MaxInt8Dim+64) },
		"quantise":     func() { QuantizeInt8(make([]int8, 2), f(3)) },
		"queries":      func() { DotQueries(f(2), f(24), f(64), 16) },
		"queries dst":  func() { DotQueries(f(3), f(32), f(64), 16) },
		"queries rows": func() { DotQueries(f(10), f(32), f(64), 16) },
		"add stride":   func() { AddRows(f(24), f(24), f(3), f(24), 1, 8) },
		"add none":     func() { AddRows(nil, nil, nil, nil, 0, 0) },
		"add src":      func() { AddRows(f(32), f(24), f(1), f(16), 1, 16) },
		"add dst":      func() { AddRows(f(31), f(32), f(2), f(16), 1, 16) },
		"add coefs":    func() { AddRows(f(32), f(32), f(3), f(32), 2, 16) },
		"add rows":     func() { AddRows(f(32), f(32), f(4), f(31), 2, 16) },
		"add negative": func() { AddRows(f(0), f(0), f(0), f(16), -1, 16) },
		"planes":       func() { QuantizeProbe4(make([]uint64, 3), f(3)) },
		"signs":        func() { SignBits(nil, f(3)) },
	} {
		if m := panics(call); !strings.HasPrefix(m, "BUG: simd: ") {
			t.Errorf("%s: %q", name, m)
		}
	}
}

func TestNormalize(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 3))
		for _, dim := range lengths() {
			for name, f := range fills {
				v := guarded[float32](t, dim)
				fill(v, rng, f)
				want, sum := slices.Clone(v), 0.0
				for _, x := range v {
					sum += float64(x) * float64(x)
				}
				norm := Normalize(v)
				if !(math.Abs(norm-math.Sqrt(sum)) <= norm*0x1p-40) {
					t.Fatalf("%s dim %d: length %v, want %v", name, dim, norm, math.Sqrt(sum))
				}
				for i := range v {
					if exact := float64(want[i]); norm > 0 && !(math.Abs(float64(v[i])-exact/norm) <= math.Abs(exact/norm)*0x1p-23+0x1p-149) || norm == 0 && v[i] != 0 {
						t.Fatalf("%s dim %d: [%d] %v of %v", name, dim, i, v[i], want[i])
					}
				}
			}
		}
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1))} {
			v := []float32{1, bad, 3}
			if norm := Normalize(v); norm == norm && !math.IsInf(norm, 1) || v[0] != 1 || v[2] != 3 {
				t.Errorf("%v: %v, %v", bad, norm, v)
			}
		}
	})
}

// A row's product has the same bits whatever rows are compared with it: index.Dot must agree with its searches.
func TestDotRowsDoesNotDependOnNeighbours(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 4))
		for _, dim := range lengths() {
			const n = 11
			stride := roundUp(dim, FloatLine)
			q, rows, all, one := make([]float32, dim), make([]float32, n*stride), make([]float32, n), make([]float32, 1)
			fill(q, rng, fills["normal"])
			fill(rows, rng, fills["normal"])
			DotRows(all, q, rows, stride)
			for i := range all {
				if DotRows(one, q, rows[i*stride:], stride); one[0] != all[i] {
					t.Fatalf("dim %d row %d: %v alone, %v in a block", dim, i, one[0], all[i])
				}
			}
		}
	})
}
