package capture

import (
	"bytes"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"testing"

	"golang.org/x/image/draw"

	"mien/extract/extracttest"
)

// scene is a picture as a camera takes it: a face of testdata before a wall.
type scene struct {
	photo      string
	width      int     // of the frame; 0: 640
	height     int     // 0: 480
	size       float64 // height of the photo by that of the frame; 0: 1
	dx, dy     float64 // of its middle from the frame's, in heights of the frame
	light      float64 // of everything; 0: 1
	noise      float64 // standard deviation of the camera's, of 255
	seed       uint64  // of the noise
	second     string  // another photo beside it
	secondSize float64
	secondAt   float64
	quality    int // of the JPEG; 0: 90
	change     func(img *image.RGBA)
}

func decodePhoto(t testing.TB, name string) image.Image {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(extracttest.Photo(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// jpeg is the scene's file.
func (s scene) jpeg(t testing.TB) []byte {
	t.Helper()
	w, h := or(s.width, 640), or(s.height, 480)
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h { // a wall with a window's light on it, and a shelf
		for x := range w {
			v := uint8(120 + 60*x/w - 20*y/h)
			if y > h/3 && y < h/3+h/20 {
				v /= 2
			}
			copy(img.Pix[img.PixOffset(x, y):], []uint8{v, v, v - 10, 255})
		}
	}
	if s.photo != "" {
		s.paste(img, decodePhoto(t, s.photo), or(s.size, 1), s.dx, s.dy)
	}
	if s.second != "" {
		s.paste(img, decodePhoto(t, s.second), s.secondSize, s.secondAt, 0)
	}
	if s.change != nil {
		s.change(img)
	}
	rng := rand.New(rand.NewPCG(s.seed, 7))
	var level [256]float64
	for v := range level {
		level[v] = float64(v)*or(s.light, 1) + .5
	}
	for i := 0; i < len(img.Pix); i += 4 {
		for c, bits := 0, rng.Uint64(); c < 3; c, bits = c+1, bits>>16 { // the sum of two numbers from 0 to 255 has a deviation of 104
			f := level[img.Pix[i+c]] + s.noise/104*(float64(bits&255)+float64(bits>>8&255)-255)
			img.Pix[i+c] = uint8(min(max(f, 0), 255))
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: or(s.quality, 90)}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (s scene) paste(onto *image.RGBA, photo image.Image, size, dx, dy float64) {
	b := onto.Bounds()
	side := size * float64(b.Dy())
	x, y := float64(b.Dx())/2+dx*float64(b.Dy()), float64(b.Dy())/2+dy*float64(b.Dy())
	at := image.Rect(int(x-side/2), int(y-side/2), int(x+side/2), int(y+side/2))
	draw.ApproxBiLinear.Scale(onto, at, photo, photo.Bounds(), draw.Over, nil)
}
