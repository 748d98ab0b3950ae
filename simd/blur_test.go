package simd

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestReplaceSamples(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 1))
		for _, n := range append(lengths(), callBytes/4+21) {
			old, row, sums := randomBytes(t, rng, n), randomBytes(t, rng, n), guarded[uint32](t, n)
			for i, v := range old {
				sums[i] = uint32(v) + rng.Uint32N(2)*1000
			}
			want := slices.Clone(sums)
			replaceSamplesGeneric(want, old, row)
			if ReplaceSamples(sums, old, row); !slices.Equal(sums, want) {
				t.Fatalf("%d: %v, want %v", n, sums, want)
			}
		}
	})
}

func TestBoxMeans(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 2))
		for _, n := range []int{0, 1, 2, 9, 10, 11, 12, 21, 22, 31, 32, 33, 43, 112, 200, callBytes/12 + 3} {
			for _, q := range []int{1, 2, 3, 4, 5, 7, 8, 13, 31, 32, 33, 64, 255, 256, 257} {
				sums, dst := guarded[uint32](t, 3*(n+q-1)), guarded[uint8](t, 3*n)
				for i := range sums {
					sums[i] = []uint32{0, 255 * uint32(q), rng.Uint32N(255*uint32(q) + 1)}[rng.IntN(3)]
				}
				BoxMeans(dst, sums, q)
				for i, got := range dst {
					sum := q * q / 2
					for k := range q {
						sum += int(sums[i+3*k])
					}
					if want := sum / (q * q); int(got) != want {
						t.Fatalf("%d pixels, boxes of %d: [%d] is %d, want %d", n, q, i, got, want)
					}
				}
				if again := make([]uint8, len(dst)); len(dst) > 0 {
					if boxMeansGeneric(again, sums, q); !bytes.Equal(again, dst) {
						t.Fatalf("%d pixels, boxes of %d: the generic code differs", n, q)
					}
				}
			}
		}
	})
}
