package simd

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// evenSpans cover a row of from pixels with to spans, as shrinking by area does, with random weights.
func evenSpans(rng *rand.Rand, from, to int) (spans []Span, weights []float32) {
	for i := range to {
		first := i * from / to
		n := min(max((i+1)*from/to-first, 1)+rng.IntN(2), from-first)
		spans = append(spans, Span{From: first, At: len(weights), N: n})
		for range n {
			weights = append(weights, rng.Float32())
		}
	}
	return spans, weights
}

func randomBytes(t testing.TB, rng *rand.Rand, n int) []uint8 {
	t.Helper()
	b := guarded[uint8](t, n)
	for i := range b {
		b[i] = uint8(rng.Uint32())
	}
	return b
}

func TestRowScaler(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(6, 1))
		var s RowScaler
		taken := 0
		for _, size := range [][2]int{{1, 1}, {1, 9}, {2, 5}, {5, 2}, {6, 6}, {7, 8}, {8, 7}, {9, 17}, {33, 12}, {40, 10}, {64, 9}, {100, 99}, {100, 301}, {640, 288}, {1000, 288}, {1100, 288}, {1500, 288}, {4000, 288}} {
			spans, weights := evenSpans(rng, size[0], size[1])
			row, dst := randomBytes(t, rng, 3*size[0]), guarded[float32](t, 3*size[1])
			s.Reset(size[0], spans, weights)
			s.Scale(dst, row)
			want := make([]float32, len(dst))
			s.scaleGeneric(want, row, 0)
			if !slices.Equal(dst, want) {
				t.Fatalf("%v: %v, want %v", size, dst, want)
			}
			taken += s.scaled(want, row)
		}
		if (Level() == "avx2" || Level() == "avx512") && taken < 3*4*288 {
			t.Errorf("the kernel made %d floats: it was left out where it should run", taken)
		}
	})
}

func TestRowScalerRefuses(t *testing.T) {
	var s RowScaler
	for _, spans := range [][]Span{
		{{}}, {{From: -1, N: 1}}, {{From: 3, N: 2}}, {{At: 2, N: 3}}, {{At: -1, N: 1}}, {{From: 1, N: 1}, {N: 1}},
	} {
		if panics(func() { s.Reset(4, spans, make([]float32, 4)) }) == "<nil>" {
			t.Errorf("%v passed", spans)
		}
	}
	s.Reset(4, []Span{{N: 1}}, make([]float32, 4))
	if panics(func() { s.Scale(make([]float32, 3), make([]uint8, 11)) }) == "<nil>" || panics(func() { s.Scale(make([]float32, 4), make([]uint8, 12)) }) == "<nil>" {
		t.Error("rows of wrong length passed")
	}
}

func TestMixLines(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(6, 5))
		for _, n := range lengths() {
			for count := 1; count <= 4; count++ {
				var lines [4][]float32
				weights := make([]float32, count)
				dst := guarded[uint8](t, n)
				for i := range weights {
					weights[i], lines[i] = rng.Float32()/float32(count), guarded[float32](t, n)
					for j := range lines[i] {
						lines[i][j] = rng.Float32() * 255
					}
				}
				MixLines(dst, &lines, weights)
				for j, got := range dst {
					sum := float32(0)
					for i, w := range weights {
						sum += float32(w * lines[i][j])
					}
					if want := uint8(sum + .5); got != want {
						t.Fatalf("%d lines of %d: [%d] is %d, want %d", count, n, j, got, want)
					}
				}
			}
		}
	})
}

func TestAddScaled(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(6, 2))
		for _, n := range append(lengths(), callBytes/4+21) {
			sum, line, want := guarded[float32](t, n), guarded[float32](t, n), make([]float32, n)
			fill(sum, rng, fills["normal"])
			fill(line, rng, fills["normal"])
			copy(want, sum)
			weight := rng.Float32()
			addScaledGeneric(want, line, weight)
			if AddScaled(sum, line, weight); !slices.Equal(sum, want) {
				t.Fatalf("%d floats: %v, want %v", n, sum, want)
			}
		}
	})
}

func TestRoundBytes(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(6, 3))
		for _, n := range lengths() {
			src, dst, want := guarded[float32](t, n), guarded[uint8](t, n), make([]uint8, n)
			for i := range src {
				src[i] = float32(rng.IntN(255)) + float32(rng.IntN(4))*.25
				if i%5 == 0 {
					src[i] = rng.Float32() * 255
				}
			}
			roundBytesGeneric(want, src)
			if RoundBytes(dst, src); !slices.Equal(dst, want) {
				t.Fatalf("%d floats: %v, want %v", n, dst, want)
			}
		}
	})
}

func TestPlanes(t *testing.T) {
	norm := NewNormaliser([3]float32{127, 104.00699, 127.5}, [3]float32{128, 1, 57.375})
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(6, 4))
		for _, n := range lengths() {
			rgb := randomBytes(t, rng, 3*n)
			var got [3][]float32
			for c := range got {
				got[c] = guarded[float32](t, n)
			}
			norm.Planes(got[0], got[1], got[2], rgb)
			for c := range got {
				for i, v := range got[c] {
					if want := (float32(rgb[3*i+c]) - norm.mean[c]) / norm.std[c]; v != want || norm.Value[c][rgb[3*i+c]] != want {
						t.Fatalf("%d pixels: channel %d of %d is %v, want %v", n, c, i, v, want)
					}
				}
			}
		}
	})
}
