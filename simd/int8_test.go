package simd

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestDotInt8Rows(t *testing.T) {
	fills := map[string]func(rng *rand.Rand) int8{
		"random":  func(rng *rand.Rand) int8 { return int8(rng.Uint32()) },
		"extreme": func(rng *rand.Rand) int8 { return []int8{-128, 127, -127}[rng.IntN(3)] },
		"least":   func(rng *rand.Rand) int8 { return -128 },
		"most":    func(rng *rand.Rand) int8 { return 127 },
	}
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 1))
		var dims []int
		for i := range 4*ByteLine + 2 {
			dims = append(dims, i)
		}
		for _, dim := range append(dims, 500, 512, 1024, 4095, 4096, MaxInt8Dim) {
			for name, f := range fills {
				n, stride := 1+rng.IntN(9), roundUp(dim, ByteLine)+ByteLine*rng.IntN(2)
				q, rows, dst := guarded[int8](t, dim), guarded[int8](t, n*stride), guarded[int32](t, n)
				for i := range rows {
					rows[i] = f(rng)
				}
				for i := range q {
					q[i] = f(rng)
				}
				DotInt8Rows(dst, q, rows, stride)
				for i, got := range dst {
					want := int64(0)
					for j, x := range q {
						want += int64(x) * int64(rows[i*stride+j])
					}
					if int64(got) != want {
						t.Fatalf("%s dim %d row %d of %d: %d, want %d", name, dim, i, n, got, want)
					}
				}
			}
		}
	})
}

func TestDotInt8Gather(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 3))
		for _, dim := range []int{0, 1, 63, 64, 65, 127, 128, 129, 192, 256, 320, 500, 512, 575, 576, 1024, 4095, 4096} {
			for _, listed := range []int{0, 1, 3, 4, 5, 7, 15, 16, 17, 19, 20, 21, 24, 35, 36, 64, 100, 1000} {
				n, stride := 1+rng.IntN(40), roundUp(max(dim, 1), ByteLine)+ByteLine*rng.IntN(2)
				q, rows := guarded[int8](t, dim), guarded[int8](t, n*stride)
				list, dst := guarded[uint32](t, listed), guarded[int32](t, listed)
				for i := range rows {
					rows[i] = int8(rng.Uint32())
				}
				copy(q, rows[rng.IntN(n)*stride:])
				for i := range list {
					list[i] = uint32(rng.IntN(n)) // again and again, in any order
				}
				DotInt8Gather(dst, q, rows, stride, list)
				for i, got := range dst {
					want := int32(0)
					for j, x := range q {
						want += int32(x) * int32(rows[int(list[i])*stride+j])
					}
					if got != want {
						t.Fatalf("dim %d row %d, %d of %d: %d, want %d", dim, list[i], i, listed, got, want)
					}
				}
			}
		}
	})
}

func TestDotInt8GatherRefuses(t *testing.T) {
	i8, i32, u := func(n int) []int8 { return make([]int8, n) }, func(n int) []int32 { return make([]int32, n) }, func(v ...uint32) []uint32 { return v }
	for name, call := range map[string]func(){
		"stride": func() { DotInt8Gather(i32(1), i8(32), i8(96), 96, u(0)) },
		"none":   func() { DotInt8Gather(i32(1), nil, i8(64), 0, u(0)) },
		"minus":  func() { DotInt8Gather(i32(1), nil, i8(64), -64, u(0)) },
		"query":  func() { DotInt8Gather(i32(1), i8(65), i8(128), 64, u(0)) },
		"dst":    func() { DotInt8Gather(i32(2), i8(64), i8(128), 64, u(0)) },
		"row":    func() { DotInt8Gather(i32(3), i8(64), i8(128), 64, u(0, 2, 1)) },
		"last":   func() { DotInt8Gather(i32(1), i8(1), i8(127), 64, u(1)) },
		"most":   func() { DotInt8Gather(i32(1), i8(1), i8(127), 64, u(math.MaxUint32)) },
	} {
		if m := panics(call); !strings.HasPrefix(m, "BUG: simd: ") {
			t.Errorf("%s: %q", name, m)
		}
	}
	DotInt8Gather(nil, i8(64), nil, 64, nil)
}

// TestDotInt8At has each row at the end of a region of its own, or of the heap, in any order and some of them twice.
func TestDotInt8At(t *testing.T) {
	const most = 40
	fills := map[string]func(rng *rand.Rand) int8{
		"random": func(rng *rand.Rand) int8 { return int8(rng.Uint32()) },
		"least":  func(rng *rand.Rand) int8 { return -128 },
	}
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 4))
		for _, dim := range []int{0, 64, 128, 192, 256, 448, 512, 576, 1024, 4096, MaxInt8Dim} {
			regions := make([][]int8, 11)
			for i := range regions {
				if i == 0 {
					regions[i] = make([]int8, max(dim, 1))
				} else {
					regions[i] = guarded[int8](t, max(dim, 1)) // a byte for a row of none
				}
			}
			for name, f := range fills {
				for _, r := range regions {
					for j := range r {
						r[j] = f(rng)
					}
				}
				q := guarded[int8](t, dim)
				for j := range q {
					q[j] = f(rng)
				}
				lists := []int{64, 100, 2*callBytes/max(2*dim, 1024) + 7} // more than a call takes
				for n := range most {
					lists = append(lists, n)
				}
				if dim > 1024 {
					lists = lists[2:14]
				}
				for _, n := range lists {
					rows, dst, from := guarded[*int8](t, n), guarded[int32](t, n), make([]int, n)
					for i := range rows {
						from[i] = rng.IntN(len(regions))
						rows[i] = &regions[from[i]][0]
					}
					DotInt8At(dst, q, rows)
					for i, got := range dst {
						want := int64(0)
						for j, x := range q {
							want += int64(x) * int64(regions[from[i]][j])
						}
						if int64(got) != want {
							t.Fatalf("%s dim %d row %d of %d: %d, want %d", name, dim, i, n, got, want)
						}
					}
				}
			}
		}
	})
}

func TestDotInt8AtRefuses(t *testing.T) {
	row := new([2 * MaxInt8Dim]int8)
	i8, i32, at := func(n int) []int8 { return make([]int8, n) }, func(n int) []int32 { return make([]int32, n) }, []*int8{&row[0], &row[64]}
	for name, call := range map[string]func(){
		"part of a line": func() { DotInt8At(i32(2), i8(63), at) },
		"and a line":     func() { DotInt8At(i32(2), i8(65), at) },
		"query":          func() { DotInt8At(i32(2), i8(MaxInt8Dim+ByteLine), at) },
		"few dst":        func() { DotInt8At(i32(1), i8(64), at) },
		"many dst":       func() { DotInt8At(i32(3), i8(64), at) },
	} {
		if m := panics(call); !strings.HasPrefix(m, "BUG: simd: ") {
			t.Errorf("%s: %q", name, m)
		}
	}
	DotInt8At(nil, i8(64), nil)
	DotInt8At(nil, nil, nil)
}

func TestQuantizeInt8(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(2, 2))
		for _, dim := range lengths() {
			for name, f := range fills {
				src, dst, want := guarded[float32](t, dim), guarded[int8](t, dim), make([]int8, dim)
				fill(src, rng, f)
				scale := QuantizeInt8(dst, src)
				if scale > 0 {
					quantizeGeneric(want, src, 127/math.Float32frombits(maxAbsGeneric(src)))
				}
				if string(bytesOf(dst)) != string(bytesOf(want)) {
					t.Fatalf("%s dim %d: %v differs from generic", name, dim, scale)
				}
				for i, x := range src {
					if e := math.Abs(float64(x) - float64(dst[i])*float64(scale)); scale > 0 && !(e <= 0.50001*float64(scale)) {
						t.Fatalf("%s dim %d: [%d] %v is %d × %v", name, dim, i, x, dst[i], scale)
					}
				}
			}
			for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
				if dim == 0 {
					continue
				}
				src, dst := make([]float32, dim), make([]int8, dim)
				src[0], src[rng.IntN(dim)], dst[dim-1] = 1, bad, 5
				if scale := QuantizeInt8(dst, src); scale == scale || dst[0] != 0 || dst[dim-1] != 0 {
					t.Fatalf("dim %d, %v: %v, %v", dim, bad, scale, dst)
				}
			}
		}
	})
}

func bytesOf(v []int8) (b []byte) {
	for _, x := range v {
		b = append(b, byte(x))
	}
	return b
}
