package simd

import (
	"image/color"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMixSamples(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 1))
		for _, n := range append(lengths(), callBytes/4+21) {
			near, far, dst, want := randomBytes(t, rng, n), randomBytes(t, rng, n), guarded[uint16](t, n), make([]uint16, n)
			mixSamplesGeneric(want, near, far)
			if MixSamples(dst, near, far); !slices.Equal(dst, want) {
				t.Fatalf("%d: %v, want %v", n, dst, want)
			}
		}
	})
}

func TestDoubleSamples(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 2))
		for _, n := range lengths() {
			mix, dst := guarded[uint16](t, n+2), guarded[uint8](t, 2*n)
			for i := range mix {
				mix[i] = uint16([]uint32{0, 1020, rng.Uint32N(1021)}[rng.IntN(3)])
			}
			DoubleSamples(dst, mix)
			for i, v := range mix[1 : 1+n] {
				left, right := uint8((3*v+mix[i]+8)/16), uint8((3*v+mix[i+2]+7)/16)
				if dst[2*i] != left || dst[2*i+1] != right {
					t.Fatalf("%d of %d: %d and %d, want %d and %d", i, n, dst[2*i], dst[2*i+1], left, right)
				}
			}
		}
	})
}

// All colours there are, in rows of every length.
func TestYCbCrToRGB(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(7, 3))
		for _, n := range lengths() {
			checkYCbCr(t, randomBytes(t, rng, n), randomBytes(t, rng, n), randomBytes(t, rng, n))
		}
		luma, cb, cr := guarded[uint8](t, 1<<14), guarded[uint8](t, 1<<14), guarded[uint8](t, 1<<14)
		for y := range 256 {
			for from := 0; from < 1<<16; from += len(luma) {
				for i := range luma {
					luma[i], cb[i], cr[i] = uint8(y), uint8((from+i)>>8), uint8(from+i)
				}
				if y%16 == 0 || y == 255 || !testing.Short() {
					checkYCbCr(t, luma, cb, cr)
				}
			}
		}
	})
}

func checkYCbCr(t *testing.T, luma, cb, cr []uint8) {
	t.Helper()
	dst := guarded[uint8](t, 3*len(luma))
	YCbCrToRGB(dst, luma, cb, cr)
	for i := range luma {
		r, g, b := color.YCbCrToRGB(luma[i], cb[i], cr[i])
		if dst[3*i] != r || dst[3*i+1] != g || dst[3*i+2] != b {
			t.Fatalf("%d of %d: (%d, %d, %d) is %v, want %d %d %d", i, len(luma), luma[i], cb[i], cr[i], dst[3*i:3*i+3], r, g, b)
		}
	}
}
