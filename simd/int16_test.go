package simd

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDotInt16Rows(t *testing.T) {
	fills := map[string]func(rng *rand.Rand) int16{
		"random":  func(rng *rand.Rand) int16 { return int16(rng.Uint32()) },
		"extreme": func(rng *rand.Rand) int16 { return []int16{math.MinInt16, math.MaxInt16, -1}[rng.IntN(3)] },
		"least":   func(*rand.Rand) int16 { return math.MinInt16 }, // two products of a chunk are 2^31
	}
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 1))
		var dims []int
		for i := range 4*shortChunk + 2 {
			dims = append(dims, i)
		}
		for _, dim := range append(dims, 500, 512, 1024, 4095, 4096) {
			for name, f := range fills {
				n, stride := 1+rng.IntN(9), dim+rng.IntN(40)+1
				q, rows, dst := guarded[int16](t, dim), guarded[int16](t, n*stride), guarded[int32](t, n)
				for i := range rows {
					rows[i] = f(rng)
				}
				for i := range q {
					q[i] = f(rng)
				}
				DotInt16Rows(dst, q, rows, stride)
				for i, got := range dst {
					want, unsigned := int64(0), uint16(0)
					for j, x := range q {
						want += int64(x) * int64(rows[i*stride+j])
						unsigned += uint16(x) * uint16(rows[i*stride+j])
					}
					if got != int32(want) || uint16(got) != unsigned {
						t.Fatalf("%s dim %d row %d of %d: %d, want %d modulo 2^32", name, dim, i, n, got, want)
					}
				}
			}
		}
	})
}

func TestDotInt16RowsSplitsCalls(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		const n, dim = 2*callBytes/(2*64) + 3, 64
		q, rows, dst := make([]int16, dim), make([]int16, n*dim), make([]int32, n)
		for i := range rows {
			rows[i] = int16(i / dim)
		}
		q[0], q[dim-1] = 1, 2
		DotInt16Rows(dst, q, rows, dim)
		for i, got := range dst {
			if got != 3*int32(int16(i)) {
				t.Fatalf("row %d: %d", i, got)
			}
		}
	})
}

func TestDotInt16RowsRefuses(t *testing.T) {
	i16, i32 := func(n int) []int16 { return make([]int16, n) }, func(n int) []int32 { return make([]int32, n) }
	for name, call := range map[string]func(){
		"query": func() { DotInt16Rows(i32(1), i16(33), i16(64), 32) },
		"rows":  func() { DotInt16Rows(i32(3), i16(32), i16(95), 32) },
		"none":  func() { DotInt16Rows(i32(1), nil, i16(64), 0) },
		"minus": func() { DotInt16Rows(i32(1), nil, i16(64), -32) },
	} {
		if m := panics(call); !strings.HasPrefix(m, "BUG: simd: ") {
			t.Errorf("%s: %q", name, m)
		}
	}
	DotInt16Rows(nil, i16(32), nil, 32)
}

func BenchmarkDotInt16Rows(b *testing.B) {
	const dim = 512
	for _, size := range sizes {
		words := bigWords(size.bytes, false)
		n := len(words) * 4 / dim
		rows, q, dst := make([]int16, n*dim), make([]int16, dim), make([]int32, n)
		for i := range rows {
			rows[i] = int16(words[i/4] >> (i % 4 * 16))
		}
		copy(q, rows)
		b.Run(size.name, func(b *testing.B) {
			eachLevelB(b, func(b *testing.B) {
				b.SetBytes(2 * int64(len(rows)))
				for b.Loop() {
					DotInt16Rows(dst, q, rows, dim)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/row")
			})
		})
	}
}
