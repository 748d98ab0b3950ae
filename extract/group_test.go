package extract

import (
	"bytes"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"
)

// crowd pastes n shrunk photos of one face each, of given heights, onto a grey photo of w×h in rows, and returns where the
// faces are.
func crowd(t testing.TB, w, h int, heights []int) (photo []byte, where []Box) {
	t.Helper()
	type sitter struct {
		m   *Image
		box Box
	}
	var sitters []sitter
	for _, name := range []string{"a_1", "b_1", "c_1", "a_2", "b_2"} {
		m, err := decode(t.Context(), testFile(t, "faces/"+name+".jpg"), testMaxPixels)
		if err != nil {
			t.Fatal(err)
		}
		sitters = append(sitters, sitter{m, mustExtract(t, "faces/"+name+".jpg", Options{Select: SelectOne})[0].Box})
	}
	all := newImage(w, h)
	for i := range all.Pix {
		all.Pix[i] = 120
	}
	x, y, line := 10, 10, 0
	for i, height := range heights {
		s := sitters[i%len(sitters)]
		k := float32(height) / (s.box.Y2 - s.box.Y1)
		small := resize(s.m, int(float32(s.m.W)*k), int(float32(s.m.H)*k))
		if x+small.W >= w {
			x, y, line = 10, y+line+5, 0
		}
		if y+small.H >= h {
			t.Fatal("the crowd does not fit")
		}
		for r := range small.H {
			copy(all.row(y + r)[3*x:], small.row(r))
		}
		at := func(v float32, by int) float32 { return v*k + float32(by) }
		where = append(where, Box{at(s.box.X1, x), at(s.box.Y1, y), at(s.box.X2, x), at(s.box.Y2, y)})
		x, line = x+small.W+5, max(line, small.H)
	}
	rgba := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		copy(rgba.Pix[4*i:], all.Pix[3*i:3*i+3])
		rgba.Pix[4*i+3] = 255
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, rgba, &jpeg.Options{Quality: 92}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), where
}

// Three hundred faces of 30 to 100 pixels in a photo of 12 megapixels: on the canvas of the whole photo they have 2 to 7.
func TestCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: 12 megapixels, looked at in hundreds of tiles")
	}
	random := rand.New(rand.NewPCG(1, 2))
	heights := make([]int, 300)
	for i := range heights {
		heights[i] = 30 + random.IntN(71)
	}
	heights[0] = 500
	photo, where := crowd(t, 4000, 3000, heights)
	faces, err := testExtractor(t).Extract(t.Context(), photo, Options{})
	if err != nil {
		t.Fatal(err)
	}
	found, right := make([]int, len(where)), 0
	for _, f := range faces {
		for i, b := range where {
			if near(f.Box, b) {
				found[i]++
			}
		}
	}
	for i, n := range found {
		if n == 1 {
			right++
		}
		if n > 1 {
			t.Errorf("face %d of %d pixels is found %d times", i, heights[i], n)
		}
	}
	t.Logf("%d faces found, %d of %d where they are", len(faces), right, len(where))
	if right < len(where)*98/100 || len(faces) > right+len(where)/100 {
		t.Errorf("%d faces found, %d of %d where they are", len(faces), right, len(where))
	}
}

// near says that the centres of two boxes are within a third of a height, and the heights alike.
func near(a, b Box) bool {
	h := float64(b.Y2 - b.Y1)
	return math.Abs(float64(a.X1+a.X2-b.X1-b.X2)) < h*2/3 && math.Abs(float64(a.Y1+a.Y2-b.Y1-b.Y2)) < h*2/3 &&
		math.Abs(float64(a.Y2-a.Y1)/h-1) < .4
}

func TestStarts(t *testing.T) {
	for _, c := range []struct{ total, size int }{{100, 288}, {288, 288}, {289, 288}, {480, 288}, {481, 288}, {4000, 288}, {3000, 216}} {
		at := starts(c.total, c.size)
		if last := at[len(at)-1]; at[0] != 0 || last != max(c.total-c.size, 0) {
			t.Errorf("%v: from %d to %d", c, at[0], last)
		}
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] > c.size-tileShare || at[i] <= at[i-1] {
				t.Errorf("%v: a step from %d to %d", c, at[i-1], at[i])
			}
		}
	}
}
