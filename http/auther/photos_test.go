package auther_test

import (
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mien/extract"
	"mien/extract/extracttest"
)

// golden is a picture of testdata/golden.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// landmarks are those of the one face of a photo (iBUG, 68 points).
func landmarks(t testing.TB, photo []byte) [68]extract.Point {
	t.Helper()
	faces, err := extracttest.Default(t).Extract(t.Context(), photo, extract.Options{Want: extract.WantQuality})
	if err != nil {
		t.Fatal(err)
	}
	return faces[0].Landmarks
}

func xy(p extract.Point) (x, y float64) { return float64(p.X), float64(p.Y) }

// mouthOpened moves what is below the lips down and fills the gap with dark.
func mouthOpened(t testing.TB, photo []byte, gap float64) []byte {
	l := landmarks(t, photo)
	left, _ := xy(l[48])
	right, _ := xy(l[54])
	_, upper := xy(l[62])
	_, lower := xy(l[66])
	_, chin := xy(l[8])
	_, eyes := xy(l[27])
	mid, half, lip := (left+right)/2, (right-left)/2, (upper+lower)/2
	gap *= chin - eyes
	return extracttest.Spoilt(t, photo, func(img image.Image, x, y int) color.Color {
		u := (float64(x) - mid) / half
		from := float64(y) - gap*max(1-u*u, 0)
		switch {
		case float64(y) <= lip:
			return img.At(x, y)
		case from < lip:
			return color.RGBA{40, 15, 15, 255}
		}
		return img.At(x, int(from))
	})
}

// bent is the photo of a face bent down by so many degrees: it is a photo on an ellipsoid with a nose, seen from far.
func bent(t testing.TB, photo []byte, degrees float64) []byte {
	l := landmarks(t, photo)
	x0, y0 := xy(l[27])
	cx, chin := xy(l[8])
	_, nose := xy(l[30])
	unit, axisX, axisY := chin-y0, (x0+cx)/2, y0+.4*(chin-y0)
	noseV := (nose - axisY) / unit
	sin, cos := math.Sincos(-degrees * math.Pi / 180)
	depth := func(v, u float64) float64 {
		dv, du := (v-noseV)/.22, u/.14
		if dv < 0 {
			dv /= 2
		}
		return .75*math.Sqrt(max(1-(u/.85)*(u/.85)-(v/1.2)*(v/1.2), 0)) + .3*math.Exp(-dv*dv-du*du)
	}
	return extracttest.Spoilt(t, photo, func(img image.Image, x, y int) color.Color {
		u, v := (float64(x)-axisX)/unit, (float64(y)-axisY)/unit
		r := math.Hypot(u/.85, v/1.2)
		if r >= 1.3 {
			return img.At(x, y)
		}
		from := v
		for range 12 {
			from += .5 * ((v+(depth(from, u)-.4)*sin)/cos - from)
		}
		by := (from - v) * unit * min(max((1.3-r)/.3, 0), 1)
		return img.At(x, min(max(int(float64(y)+by+.5), 0), img.Bounds().Max.Y-1))
	})
}
