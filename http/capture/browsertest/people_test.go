package browsertest

import (
	"bytes"
	"image"
	"image/draw"
	"image/jpeg"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"mien/extract"
	"mien/extract/extracttest"
)

// build is where make leaves library, models and the browser's driver.
var build = filepath.Join("..", "..", "..", "build")

// face is the face in the middle of a photo, with all there is to know of it.
func face(t testing.TB, photo []byte) extract.Face {
	t.Helper()
	faces, err := extracttest.Default(t).Extract(t.Context(), photo, extract.Options{
		Select: extract.SelectCentral, Want: extract.WantTemplate | extract.WantQuality | extract.WantLiveness,
	})
	if err != nil {
		t.Fatal(err)
	}
	return faces[0]
}

// portraits are the synthetic people of testdata/faces, each by the photo that looks most into the camera.
var portraits = map[string]string{"ana": "b_2.jpg", "arun": "a_1.jpg", "carl": "c_2.jpg"}

var loaded struct {
	sync.Mutex
	heads map[string]*head
}

// person is one of portraits, who can turn.
func person(t testing.TB, name string) *head {
	t.Helper()
	h := photograph(t, filepath.Join("..", "..", "..", "testdata", "faces", portraits[name]))
	h.rehearse()
	return h
}

// photograph is the person of a photo.
func photograph(t testing.TB, path string) *head {
	t.Helper()
	loaded.Lock()
	defer loaded.Unlock()
	if h := loaded.heads[path]; h != nil {
		return h
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	photo := image.NewRGBA(image.Rect(0, 0, m.Bounds().Dx(), m.Bounds().Dy()))
	draw.Draw(photo, photo.Rect, m, m.Bounds().Min, draw.Src)
	if loaded.heads == nil {
		loaded.heads = make(map[string]*head)
	}
	h := newHead(photo, face(t, data))
	loaded.heads[path] = h
	return h
}

// jpegOf is a picture of a film as the page would send it.
func (p *picture) jpegOf(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, p.rgb(), &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
