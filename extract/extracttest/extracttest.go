// Package extracttest has what tests of other packages need of photos: those of testdata, ways to spoil them, and the extractor with the
// models that make setup makes. It is for tests only.
package extracttest

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"mien/extract"
)

// root is the module's folder: the first with a go.mod from the working folder up.
var root = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("extracttest: no go.mod above the working folder")
		}
	}
	return "", err
})

// Photo is a file of testdata/faces.
func Photo(t testing.TB, name string) []byte {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "testdata", "faces", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var (
	used   atomic.Bool
	shared = sync.OnceValues(func() (*extract.Extractor, error) {
		dir, err := root()
		if err != nil {
			return nil, err
		}
		name := "libonnxruntime.so"
		if runtime.GOOS == "darwin" {
			name = "libonnxruntime.dylib"
		}
		lib := filepath.Join(dir, "build", "lib", runtime.GOOS+"-"+runtime.GOARCH, name)
		return extract.New(extract.Config{Library: lib, Pack: filepath.Join(dir, "build", "models", "default")})
	})
)

// Default is the extractor of the default pack, one for the process. A package that uses it calls Close when its tests are done.
func Default(t testing.TB) *extract.Extractor {
	t.Helper()
	used.Store(true)
	x, err := shared()
	if err != nil {
		t.Fatalf("%v (make setup fetches library and models)", err)
	}
	return x
}

// Close closes what Default has made.
func Close() {
	if used.Load() {
		if x, err := shared(); err == nil {
			_ = x.Close()
		}
	}
}

// Spoilt is a JPEG with each pixel made of the photo's.
func Spoilt(t testing.TB, photo []byte, pixel func(img image.Image, x, y int) color.Color) []byte {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(photo))
	if err != nil {
		t.Fatal(err)
	}
	b := img.Bounds()
	out := image.NewRGBA(b)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			out.Set(x, y, pixel(img, x, y))
		}
	}
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, out, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Dimmed is a share of a colour's light.
func Dimmed(c color.Color, share float64) color.Color {
	r, g, b, _ := c.RGBA()
	of := func(v uint32) uint8 { return uint8(share * float64(v>>8)) }
	return color.RGBA{of(r), of(g), of(b), 255}
}

// Blurred is the mean of the pixels at most 5 away.
func Blurred(img image.Image, x, y int) color.Color {
	var sum [3]uint32
	n := uint32(0)
	for v := max(y-5, 0); v < min(y+6, img.Bounds().Max.Y); v++ {
		for u := max(x-5, 0); u < min(x+6, img.Bounds().Max.X); u++ {
			r, g, b, _ := img.At(u, v).RGBA()
			sum[0], sum[1], sum[2], n = sum[0]+r>>8, sum[1]+g>>8, sum[2]+b>>8, n+1
		}
	}
	return color.RGBA{uint8(sum[0] / n), uint8(sum[1] / n), uint8(sum[2] / n), 255}
}

// Dark, Blurry and Shadowed are photos that the default pack's measures find fault with: too little light, no edges, one side in
// the dark. middle is where the face's is, in pixels.
func Dark(t testing.TB, photo []byte) []byte {
	return Spoilt(t, photo, func(img image.Image, x, y int) color.Color { return Dimmed(img.At(x, y), 0.1) })
}

// Blurry: see Dark.
func Blurry(t testing.TB, photo []byte) []byte { return Spoilt(t, photo, Blurred) }

// Shadowed: see Dark.
func Shadowed(t testing.TB, photo []byte, middle int) []byte {
	return Spoilt(t, photo, func(img image.Image, x, y int) color.Color {
		if x < middle {
			return Dimmed(img.At(x, y), 0.2)
		}
		return img.At(x, y)
	})
}

// WashedOut is a photo without its blacks and with a blue cast, as of a poor print: the default pack's liveness is uncertain about it.
func WashedOut(t testing.TB, photo []byte) []byte { return Spoilt(t, photo, washedOut) }

func washedOut(img image.Image, x, y int) color.Color {
	r, g, b, _ := img.At(x, y).RGBA()
	of := func(v uint32, share float64) uint8 { return uint8(min(60+share*float64(v>>8), 255)) }
	return color.RGBA{of(r, .5), of(g, .55), of(b, .7), 255}
}

// Replayed is a photo as of a screen in the dark that shows it: the default pack's liveness takes it for a spoof.
func Replayed(t testing.TB, photo []byte) []byte {
	return Spoilt(t, photo, func(img image.Image, x, y int) color.Color {
		const share, rim = .6, .04 // of the picture, and of the device's edge about it
		w, h := float64(img.Bounds().Dx()), float64(img.Bounds().Dy())
		u, v := (float64(x)/w-.5)/share+.5, (float64(y)/h-.5)/share+.5
		switch out := max(-u, -v, u-1, v-1); {
		case out > rim:
			return color.RGBA{20, 20, 20, 255}
		case out >= 0:
			return color.RGBA{10, 10, 10, 255}
		}
		return washedOut(img, int(u*w), int(v*h))
	})
}
