package extract

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"testing"
)

// pasted draws face, enlarged by scale, with its corner at (x, y) on a w×h photo of a soft slope, and encodes it. What is
// stored is turned so that orientation o shows it upright.
func pasted(t testing.TB, face *Image, w, h, x, y int, scale float64, o int) []byte {
	t.Helper()
	upright := newImage(w, h)
	for i := range w * h {
		v := uint8(90 + 40*(i%w)/w + 40*(i/w)/h)
		upright.Pix[3*i], upright.Pix[3*i+1], upright.Pix[3*i+2] = v, v, uint8(int(v)+20)
	}
	big := newImage(int(float64(face.W)*scale), int(float64(face.H)*scale))
	warp(big, face, affine{scale, 0, .5*scale - .5, 0, scale, .5*scale - .5})
	for j := range big.H {
		copy(upright.row(y + j)[3*x:], big.row(j))
	}
	back := inverseOrientation(o)
	sw, sh := orientedSize(back, w, h)
	return withOrientation(encodeJPEG(t, orient(newImage(sw, sh), upright, back), 90), o)
}

func encodeJPEG(t testing.TB, m *Image, quality int) []byte {
	t.Helper()
	out := image.NewRGBA(image.Rect(0, 0, m.W, m.H))
	for i := range m.W * m.H {
		out.SetRGBA(i%m.W, i/m.W, color.RGBA{m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2], 255})
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, out, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// withOrientation puts EXIF behind the first marker of a JPEG.
func withOrientation(data []byte, o int) []byte {
	tiff := []byte("Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00")
	tiff[len(tiff)-3] = byte(o)
	app1 := append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(tiff)+2)), tiff...)
	return append(append(bytes.Clone(data[:2]), app1...), data[2:]...)
}

// findOne returns the one face of p.
func findOne(t *testing.T, name string, x *Extractor, p *picture) Face {
	t.Helper()
	found, err := x.stages.detect(t.Context(), p)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if len(found) != 1 {
		t.Fatalf("%s: %d faces", name, len(found))
	}
	f, err := x.stages.face(t.Context(), p, found[0], WantTemplate)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

// Decoding by parts must give the faces of the whole photo: templates at cosine 0.999, boxes within 1.5 pixels of the
// detector's canvas. A box jumps by as much where two of the detector's anchors see a face alike, whatever the cause.
func TestLargePhotos(t *testing.T) {
	x := testExtractor(t)
	worst := 1.0
	for i, c := range []struct {
		file       string
		w, h, x, y int
		scale      float64
	}{
		{"faces/a_1.jpg", 4000, 3000, 200, 100, 6}, {"faces/a_1.jpg", 4001, 2999, 1713, 711, 2.3}, {"faces/b_1.jpg", 4003, 3001, 1501, 1000, 3},
		{"faces/c_1.jpg", 3000, 4000, 900, 1777, 4.1}, {"golden/g0.png", 4000, 3000, 1200, 333, 3.7}, {"golden/g3.png", 3999, 3003, 71, 900, 2},
		{"golden/g0_rot30.png", 4005, 3000, 1333, 555, 5}, {"faces/b_2.jpg", 1601, 1203, 411, 300, 1.5},
	} {
		if testing.Short() && i%4 != 1 {
			continue
		}
		face := mustDecode(t, c.file)
		o := i + 1
		name := fmt.Sprintf("%s × %g at (%d, %d), orientation %d", c.file, c.scale, c.x, c.y, o)
		data := pasted(t, face, c.w, c.h, c.x, c.y, c.scale, o)
		p, err := open(t.Context(), data, limits{1, 16 << 20}, x.stages.steps.detector.scale)
		if err != nil {
			t.Fatal(err)
		}
		if p.W != c.w || p.H != c.h || p.view.W > c.w*3/5 {
			t.Errorf("%s: %d×%d with an overview of %d×%d", name, p.W, p.H, p.view.W, p.view.H)
		}
		whole, err := decode(t.Context(), data, 16<<20)
		if err != nil {
			t.Fatal(err)
		}
		got, want := findOne(t, name, x, p), findOne(t, name, x, newPicture(whole))
		shrink := p.large.photo.Overview()
		p.close()
		cos := dot(got.Template, want.Template)
		worst = min(worst, cos)
		off := boxDistance(got.Box, want.Box)
		t.Logf("%s: cosine %.6f, box off by %.2f pixels at 1/%d", name, cos, off, shrink)
		if !(cos >= .999) {
			t.Errorf("%s: cosine %.6f to the whole photo's template", name, cos)
		}
		if !(off <= 1.5/x.stages.steps.detector.scale(c.w, c.h)) {
			t.Errorf("%s: box off by %.2f pixels", name, off)
		}
	}
	t.Logf("worst cosine %.6f", worst)
}

func boxDistance(a, b Box) float64 {
	return float64(max(abs(a.X1-b.X1), abs(a.Y1-b.Y1), abs(a.X2-b.X2), abs(a.Y2-b.Y2)))
}

func abs(v float32) float32 { return max(v, -v) }

// A crop of a large photo is that of the whole photo where it needs full pixels, and close to it elsewhere.
func TestLargeWarp(t *testing.T) {
	face := mustDecode(t, "faces/a_1.jpg")
	for o := 1; o <= 8; o++ {
		data := pasted(t, face, 1605, 1203, 411, 300, 2.5, o)
		p, err := open(t.Context(), data, limits{1, 16 << 20}, func(int, int) float64 { return .1 })
		if err != nil {
			t.Fatal(err)
		}
		whole, err := decode(t.Context(), data, 16<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name string
			m    affine
			max  float64
		}{
			{"full size", affine{.8, .3, -500, -.3, .8, -300}, 0}, {"small", affine{.4, 0, -200, 0, .4, -100}, 0},
			{"at 1/2", affine{.23, 0, -130, 0, .23, -100}, .6}, {"at 1/2, turned", affine{.2, .1, -130, -.1, .2, -30}, .6},
			{"at 1/8, with the edges", affine{.06, 0, -3, 0, .06, 5}, 1},
			{"beside the photo", affine{1, 0, 5000, 0, 1, 0}, 0},
		} {
			got, want := newImage(150, 140), newImage(150, 140)
			p.warp(got, c.m)
			warp(want, whole, c.m)
			if d := meanDiff(t, got, want); d > c.max {
				t.Errorf("orientation %d, %s: off by %.3f grey levels in the mean", o, c.name, d)
			} else {
				t.Logf("orientation %d, %s: %.3f", o, c.name, d)
			}
		}
		p.close()
		black := newImage(9, 9)
		p.warp(black, affine{a: 1, d: 1})
		if meanDiff(t, black, newImage(9, 9)) != 0 {
			t.Error("a closed photo was drawn")
		}
	}
}

// A crop of so much of a photo that it is drawn in bands.
func TestLargeWarpBands(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: 12 megapixels three times over")
	}
	data := pasted(t, mustDecode(t, "faces/a_1.jpg"), 4000, 3000, 1000, 700, 5, 6)
	p, err := open(t.Context(), data, limits{1, 16 << 20}, func(int, int) float64 { return .1 })
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	whole, err := decode(t.Context(), data, 16<<20)
	if err != nil {
		t.Fatal(err)
	}
	m := affine{.8, 0, .4 - .5, 0, .8, .4 - .5}
	got, want := newImage(3200, 2400), newImage(3200, 2400)
	p.warp(got, m)
	warp(want, whole, m)
	if d := meanDiff(t, got, want); d > 1e-6 {
		t.Errorf("off by %g grey levels in the mean", d)
	}
}
