package simd

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

// Blocks as photos have them, as damage makes them, and with numbers that overflow: all levels give the same pixels.
func TestInverseDCT(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(8, 1))
		for _, stride := range []int{8, 9, 16, 640} {
			dst, want := guarded[uint8](t, 7*stride+8), make([]uint8, 7*stride+8)
			for n := range 3000 {
				var b, same [64]int32
				rows := n % 9
				for i := range b[:8*rows] {
					if rng.IntN(3) > 0 {
						b[i] = rng.Int32N([]int32{20, 300, 5000, math.MaxInt32}[n/9%4]) * (1 - 2*rng.Int32N(2))
					}
				}
				same = b
				rng.Uint64()
				for i := range dst {
					dst[i] = uint8(i)
				}
				copy(want, dst)
				inverseDCTGeneric(want, stride, &same, rows)
				if InverseDCT(dst, stride, &b, rows); !bytes.Equal(dst, want) {
					t.Fatalf("stride %d, %d rows: %v, want %v", stride, rows, dst, want)
				}
			}
		}
	})
}

// Against the transform by its definition (T.81, A.3.3), to two levels: fixed point rounds twice.
func TestInverseDCTIsThat(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 2))
	for range 200 {
		var b, in [64]int32
		for i := range b {
			b[i] = rng.Int32N(120) - 60
		}
		in = b
		dst := make([]uint8, 64)
		InverseDCT(dst, 8, &b, 8)
		for i, got := range dst {
			if want := exactPixel(&in, i%8, i/8); math.Abs(float64(got)-want) > 2 {
				t.Fatalf("pixel %d is %d, want %v", i, got, want)
			}
		}
	}
}

func exactPixel(b *[64]int32, x, y int) float64 {
	var sum float64
	for i, c := range b {
		u, v := i%8, i/8
		w := float64(c) / 4
		if u == 0 {
			w /= math.Sqrt2
		}
		if v == 0 {
			w /= math.Sqrt2
		}
		sum += w * math.Cos(float64((2*x+1)*u)*math.Pi/16) * math.Cos(float64((2*y+1)*v)*math.Pi/16)
	}
	return min(max(sum+128, 0), 255)
}
