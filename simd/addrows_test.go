package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestAddRows(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 1))
		for _, stride := range []int{16, 32, 48, 64, 80, 112, 240} {
			for n := range 18 {
				for _, count := range []int{0, 1, 2, 3, 4, 5, 19} {
					for name, f := range fills {
						testAddRows(t, rng, name, n, count, stride, f)
					}
				}
			}
		}
		testAddRows(t, rng, "split", vectorsPerCall+3, 2*callBytes/4/512+3, 512, fills["normal"]) // more than a call takes
		testAddRows(t, rng, "long", 9, 11, 4096, fills["normal"])
		AddRows(nil, nil, nil, nil, 0, 16)
	})
}

func testAddRows(t *testing.T, rng *rand.Rand, name string, n, count, stride int, f func(*rand.Rand) float32) {
	t.Helper()
	src, coefs, rows := make([]float32, n*stride+1)[1:], make([]float32, n*count+3)[3:], make([]float32, count*stride+2)[2:]
	dst := make([]float32, n*stride+6)[5:]
	dst, last := dst[:n*stride], &dst[n*stride]
	*last = 77
	if name == "normal" && n*stride < 4096 {
		src, coefs, rows, dst = guarded[float32](t, n*stride), guarded[float32](t, n*count), guarded[float32](t, count*stride), guarded[float32](t, n*stride)
	}
	for _, v := range [][]float32{src, coefs, rows} {
		fill(v, rng, f)
	}
	fill(dst, rng, func(*rand.Rand) float32 { return float32(math.NaN()) }) // what was there must not matter
	AddRows(dst, src, coefs, rows, count, stride)
	u := float64(count+1) * 0x1p-24
	for i, got := range dst {
		exact := float64(src[i])
		abs := math.Abs(exact)
		for j, c := range coefs[i/stride*count:][:count] {
			p := float64(c) * float64(rows[j*stride+i%stride])
			exact += p
			abs += math.Abs(p)
		}
		if bound := u/(1-u)*abs + float64(count)*0x1p-149; !(math.Abs(float64(got)-exact) <= bound) {
			t.Fatalf("%s stride %d, %d rows, %d vectors: [%d] is %v, exact %v ± %v", name, stride, count, n, i, got, exact, bound)
		}
	}
	if *last != 77 {
		t.Errorf("%s stride %d, %d rows, %d vectors: wrote past dst", name, stride, count, n)
	}
	if AddRows(src, src, coefs, rows, count, stride); !slices.Equal(src, dst) {
		t.Errorf("%s stride %d, %d rows, %d vectors: in place it differs", name, stride, count, n)
	}
}

// A vector's result has the same bits whatever vectors are beside it, so that a batch need not be full.
func TestAddRowsDoesNotDependOnNeighbours(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 2))
		for _, stride := range []int{16, 48, 112, 192, 512} {
			const n, count = vectorsPerCall + 15, 2*callBytes/4/512 + 9
			src, coefs, rows := make([]float32, n*stride), make([]float32, n*count), make([]float32, count*stride)
			for _, v := range [][]float32{src, coefs, rows} {
				fill(v, rng, fills["normal"])
			}
			all, some := make([]float32, n*stride), make([]float32, n*stride)
			AddRows(all, src, coefs, rows, count, stride)
			for width := 1; width < 16; width++ {
				for k := 0; k+width <= n; k += width {
					from, to := k*stride, (k+width)*stride
					AddRows(some[from:to], src[from:to], coefs[k*count:(k+width)*count], rows, count, stride)
				}
				if whole := n / width * width * stride; !slices.Equal(some[:whole], all[:whole]) {
					t.Fatalf("stride %d: %d at a time differ from %d", stride, width, n)
				}
			}
		}
	})
}

// A NaN or an infinity in a row comes out of that column, one in a vector or its coefficients of that vector.
func TestAddRowsNotFinite(t *testing.T) {
	const n, count, stride = 15, 7, 80
	ones := func(n int) []float32 { return slices.Repeat([]float32{1}, n) }
	eachLevel(t, func(t *testing.T) {
		for _, x := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			for k := range n {
				at := k * 5
				src, coefs, rows, dst := ones(n*stride), ones(n*count), ones(count*stride), make([]float32, n*stride)
				src[(k+3)%n*stride+at] = x
				coefs[k*count+k%count] = x
				rows[k%count*stride+at] = x
				AddRows(dst, src, coefs, rows, count, stride)
				for i, got := range dst {
					want := float32(count + 1)
					if i/stride == k || i%stride == at {
						want = x
					}
					if i/stride == k && i%stride == at {
						want = x * x
					}
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Fatalf("%v with vector %d: [%d][%d] is %v, want %v", x, k, i/stride, i%stride, got, want)
					}
				}
			}
		}
	})
}
