package token

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

func randomUnit(r *rand.Rand, dim int) []float32 {
	v, sum := make([]float32, dim), 0.0
	for i := range v {
		x := r.NormFloat64()
		v[i], sum = float32(x), sum+x*x
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(sum))
	}
	return v
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// Numbers come back within half a step, cosines within what the comment says.
func TestTemplateRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	worst := 0.0
	for _, dim := range []int{1, 2, 3, 64, 128, 512, 4096, math.MaxUint16} {
		v := randomUnit(r, dim)
		b, err := AppendTemplate([]byte("x"), Template{80, v})
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != 1+5+2*dim {
			t.Errorf("%d numbers in %d bytes", dim, len(b))
		}
		got, err := ParseTemplate(b[1:])
		if err != nil || got.Quality != 80 || len(got.Vector) != dim {
			t.Fatalf("%d of %d numbers, quality %d: %v", len(got.Vector), dim, got.Quality, err)
		}
		var most, off float64
		for i, x := range v {
			most = max(most, math.Abs(float64(x)))
			off = max(off, math.Abs(float64(x)-float64(got.Vector[i])))
		}
		if !(off <= most/(1<<15)) {
			t.Errorf("dim %d: off by %g where the largest is %g", dim, off, most)
		}
	}
	for range 2000 {
		v, w := randomUnit(r, 512), randomUnit(r, 512)
		b, err := AppendTemplate(nil, Template{0, v})
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseTemplate(b)
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, math.Abs(dot(v, w)-dot(got.Vector, w)))
	}
	t.Logf("cosines of 512 numbers are off by at most %.2g", worst)
	if !(worst < 1e-5) {
		t.Errorf("a cosine is off by %g", worst)
	}
}

// The bytes of the published layout, by hand: 1, dim, scale, quality, numbers × 2^scale.
func TestTemplateBytes(t *testing.T) {
	b, err := AppendTemplate(nil, Template{99, []float32{0.5, -0.25, 0}})
	if want := []byte{1, 0, 3, 15, 99, 0x40, 0, 0xe0, 0, 0, 0}; err != nil || !bytes.Equal(b, want) {
		t.Errorf("% x, %v", b, err)
	}
	// The largest rounds up to 32,768, which 16 bits don't hold: one bit less for all.
	b, err = AppendTemplate(nil, Template{0, []float32{0.99999}})
	if want := []byte{1, 0, 1, 14, 0, 0x40, 0}; err != nil || !bytes.Equal(b, want) {
		t.Errorf("% x, %v", b, err)
	}
}

func TestRefusedTemplates(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, v := range [][]float32{nil, {0, 0}, {1, nan}, {nan}, {inf}, {32768}, {1e-45}, make([]float32, 65536)} {
		_, err := AppendTemplate(nil, Template{0, v})
		wantErr(t, "append", err, ErrInvalid)
	}
	for _, b := range [][]byte{
		nil, {1, 0, 1, 15}, {1, 0, 0, 15, 0}, {2, 0, 1, 15, 0, 0x40, 0}, {1, 0, 1, 15, 0, 0x40}, {1, 0, 1, 15, 0, 0x40, 0, 0},
		{1, 0, 1, 127, 0, 0x40, 0}, {1, 0, 1, 15, 0, 0, 0}, {1, 0, 1, 15, 0, 0x10, 0}, {1, 0, 1, 15, 0, 0x80, 0}, {1, 255, 255, 15, 0, 0x40, 0},
	} {
		_, err := ParseTemplate(b)
		wantErr(t, "parse", err, ErrInvalid)
	}
}
