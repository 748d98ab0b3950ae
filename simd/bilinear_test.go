package simd

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

// ramp goes from one coordinate to another in n steps.
func ramp(from, to float64, n int) *Ramp {
	r := &Ramp{A: make([]float64, n), B: 11.25, T: from - 7, O: 4.25}
	for i := range r.A {
		r.A[i] = (to - from) * float64(i) / float64(max(n-1, 1))
	}
	return r
}

// Lines through a picture in all directions, also where they touch its edges, behind which the test may not read.
func TestBilinear(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(10, 1))
		for _, size := range [][2]int{{2, 2}, {2, 3}, {3, 3}, {5, 4}, {40, 30}, {333, 7}} {
			w, h := size[0], size[1]
			pix := randomBytes(t, rng, 3*w*h)
			for i := range 400 {
				n := i % 131
				most := [2]float64{float64(w-1) - 1e-6, float64(h-1) - 1e-6}
				ends := [2][2]float64{}
				for c := range ends {
					for j := range ends[c] {
						ends[c][j] = []float64{float64(j) * 1e-9, most[c], rng.Float64() * most[c], math.Floor(rng.Float64()*most[c]) + float64(j)*1e-9}[rng.IntN(4)]
					}
				}
				x, y := ramp(ends[0][0], ends[0][1], n), ramp(ends[1][0], ends[1][1], n)
				got, want := guarded[uint8](t, 3*n), make([]uint8, 3*n)
				Bilinear(got, pix, w, x, y)
				bilinearGeneric(want, pix, 3*w, x, y)
				if !bytes.Equal(got, want) {
					t.Fatalf("%v, %d pixels, x %v, y %v: %v, want %v", size, n, ends[0], ends[1], got, want)
				}
				checkBilinear(t, got, pix, w, x, y)
			}
		}
	})
}

// checkBilinear compares with float64, to half a level and what float32 rounds.
func checkBilinear(t *testing.T, got, pix []uint8, w int, x, y *Ramp) {
	t.Helper()
	for i := range x.A {
		x0, y0 := math.Floor(x.at(i)), math.Floor(y.at(i))
		fx, fy := x.at(i)-x0, y.at(i)-y0
		p := pix[3*(int(y0)*w+int(x0)):]
		for c := range 3 {
			top := float64(p[c])*(1-fx) + float64(p[c+3])*fx
			bottom := float64(p[3*w+c])*(1-fx) + float64(p[3*w+c+3])*fx
			if want := top*(1-fy) + bottom*fy; math.Abs(want-float64(got[3*i+c])) > .5001 {
				t.Fatalf("channel %d of pixel %d is %d, want %v", c, i, got[3*i+c], want)
			}
		}
	}
}

func TestBilinearRefuses(t *testing.T) {
	pix, out := make([]uint8, 3*4*3), make([]uint8, 6)
	for _, c := range [][4]float64{{-.1, 1, 0, 1}, {0, 3, 0, 1}, {3, 0, 0, 1}, {0, 1, 0, 2}, {0, 1, 2, 0}, {math.NaN(), 1, 0, 1}, {0, math.Inf(1), 0, 1}} {
		if panics(func() { Bilinear(out, pix, 4, ramp(c[0], c[1], 2), ramp(c[2], c[3], 2)) }) == "<nil>" {
			t.Errorf("%v passed", c)
		}
	}
	if panics(func() { Bilinear(out, pix, 4, ramp(0, 1, 2), ramp(0, 1, 3)) }) == "<nil>" {
		t.Error("lengths that differ passed")
	}
}
