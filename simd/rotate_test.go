package simd

import (
	"errors"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestRotate(t *testing.T) {
	for _, dim := range append(lengths()[1:], 2, 96, 1000, 2048) {
		r, err := NewRotation(dim, 42)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(4, uint64(dim)))
		src, want := make([]float32, dim), make([]float32, r.Padded())
		fill(src, rng, fills["normal"])
		useLevel(t, "generic")
		Rotate(want, src, r)
		a, b := math.Sqrt(dot64(src, src)), math.Sqrt(dot64(want, want))
		if !(math.Abs(a-b) <= a*0x1p-24*float64(3*bits.Len(uint(r.Padded()))+8)) {
			t.Errorf("dim %d: length %v became %v", dim, a, b)
		}
		eachLevel(t, func(t *testing.T) {
			dst := guarded[float32](t, r.Padded())
			Rotate(dst, src, r)
			if !slices.Equal(dst, want) {
				t.Errorf("dim %d differs from generic", dim)
			}
			copy(dst, src)
			if Rotate(dst, dst[:dim], r); !slices.Equal(dst, want) {
				t.Errorf("dim %d differs in place", dim)
			}
		})
	}
}

func dot64(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// Inner products are kept, and one direction is spread over all of them.
func TestRotateIsARotation(t *testing.T) {
	const dim = 512
	r, _ := NewRotation(dim, 7)
	images := make([][]float32, dim)
	for i := range images {
		e := make([]float32, dim)
		e[i] = 1
		images[i] = make([]float32, dim)
		Rotate(images[i], e, r)
		for j, x := range images[i] {
			if math.Abs(float64(x)) > 8/math.Sqrt(dim) {
				t.Errorf("direction %d has %v in %d", i, x, j)
			}
		}
		for j := range i {
			if d := dot64(images[i], images[j]); math.Abs(d) > 1e-5 {
				t.Errorf("images of %d and %d: product %v", i, j, d)
			}
		}
	}
}

// Codes on disk depend on these bits: they never change.
func TestRotationIsPinned(t *testing.T) {
	r, err := NewRotation(100, 12345)
	if err != nil {
		t.Fatal(err)
	}
	v, dst, code := make([]float32, 100), make([]float32, 128), make([]uint64, 2)
	for i := range v {
		v[i] = float32(i%7) - 3
	}
	Rotate(dst, v, r)
	SignBits(code, dst)
	if want := []uint64{0x43b62aafeca6eef9, 0xf30b6905cca4270f}; !slices.Equal(code, want) {
		t.Errorf("%#x, want %#x", code, want)
	}
	for _, dim := range []int{-1, 0, MaxRotationDim + 1} {
		if _, err := NewRotation(dim, 1); !errors.Is(err, ErrRotationDim) {
			t.Errorf("dim %d: %v", dim, err)
		}
	}
}

func TestSignBits(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 4))
		for _, n := range lengths() {
			for _, f := range fills {
				v, dst := guarded[float32](t, n), guarded[uint64](t, (n+63)/64)
				fill(v, rng, f)
				if n > 0 {
					v[rng.IntN(n)] = float32(math.Copysign(math.NaN(), -1))
				}
				SignBits(dst, v)
				for i := range len(dst) * 64 {
					if got, want := dst[i/64]>>(i%64)&1 == 1, i < n && !math.Signbit(float64(v[min(i, n-1)])); got != want {
						t.Fatalf("length %d: bit %d is %v", n, i, got)
					}
				}
			}
		}
	})
}

func TestQuantizeProbe4(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 5))
		for _, n := range lengths() {
			for name, f := range fills {
				words := (n + 63) / 64
				v, planes, want := guarded[float32](t, n), guarded[uint64](t, 4*words), make([]uint64, 4*words)
				fill(v, rng, f)
				offset, scale := QuantizeProbe4(planes, v)
				if largest(v) > 0 {
					planes4Generic(want, v, words, 7.5/largest(v))
				} else {
					planes4Generic(want, v, words, 0)
				}
				if !slices.Equal(planes, want) {
					t.Fatalf("%s length %d differs from generic", name, n)
				}
				for i, x := range v {
					u := 0
					for j := range 4 {
						u |= int(planes[j*words+i/64]>>(i%64)&1) << j
					}
					if back := float64(offset) + float64(scale)*float64(u); scale > 0 && !(math.Abs(float64(x)-back) <= 0.50001*float64(scale)) {
						t.Fatalf("%s length %d: %v became %v, scale %v", name, n, x, back, scale)
					}
				}
			}
		}
	})
}

func TestQuantizeProbe4Edges(t *testing.T) {
	for _, x := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		planes := []uint64{9, 9, 9, 9}
		if offset, scale := QuantizeProbe4(planes, []float32{1, x}); offset == offset || scale == scale || planes[0] != 0 {
			t.Errorf("%v: %v, %v", x, offset, scale)
		}
	}
	planes := make([]uint64, 4)
	if offset, scale := QuantizeProbe4(planes, []float32{0, 1e-40}); offset != 0 || scale != 0 || !slices.Equal(planes, []uint64{0, 0, 0, 3}) {
		t.Errorf("zeros: %v, %v, %v", offset, scale, planes)
	}
	if QuantizeProbe4(planes, []float32{-1, 1, 0.06, -0.06}); !slices.Equal(planes, []uint64{0b1010, 0b1010, 0b1010, 0b0110}) {
		t.Errorf("%b", planes)
	}
}
