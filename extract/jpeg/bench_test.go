package jpeg

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"path/filepath"
	"testing"
)

// enlarged is a face at w×h by bilinear interpolation with noise of a camera's size, encoded at quality 90.
func enlarged(b *testing.B, w, h int) []byte {
	b.Helper()
	src, err := jpeg.Decode(bytes.NewReader(readFile(b, filepath.Join("..", "..", "testdata", "faces", "group.jpg"))))
	if err != nil {
		b.Fatal(err)
	}
	m, size := image.NewRGBA(image.Rect(0, 0, w, h)), src.Bounds()
	noise := uint32(1)
	for y := range h {
		for x := range w {
			noise = noise*1664525 + 1013904223
			fx, fy := x*(size.Dx()-1)*256/w, y*(size.Dy()-1)*256/h
			c := mixed(src, fx, fy)
			for i := range c {
				c[i] = uint8(min(max(int(c[i])+int(noise>>28)-8, 0), 255))
			}
			m.SetRGBA(x, y, color.RGBA{c[0], c[1], c[2], 255})
		}
	}
	return encoded(b, m, 90)
}

// mixed is the colour of m at (fx, fy)/256.
func mixed(m image.Image, fx, fy int) (out [3]uint8) {
	var sum [3]int
	for i := range 4 {
		x, y := i&1, i>>1
		r, g, b, _ := m.At(fx>>8+x, fy>>8+y).RGBA()
		weight := (x*(fx&255) + (1-x)*(256-fx&255)) * (y*(fy&255) + (1-y)*(256-fy&255))
		for c, v := range [3]uint32{r, g, b} {
			sum[c] += weight * int(v>>8)
		}
	}
	for c := range out {
		out[c] = uint8(sum[c] >> 16)
	}
	return out
}

func BenchmarkDecode(b *testing.B) {
	for name, size := range map[string][2]int{"640x480": {640, 480}, "12MPx": {4000, 3000}} {
		data := enlarged(b, size[0], size[1])
		b.Run(name+"/standard library", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := jpeg.Decode(bytes.NewReader(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/whole", func(b *testing.B) { benchmarkRegions(b, data, 1, 0) })
		b.Run(name+"/an eighth", func(b *testing.B) { benchmarkRegions(b, data, 8, 0) })
		b.Run(name+"/a quarter", func(b *testing.B) { benchmarkRegions(b, data, 4, 0) })
		b.Run(name+"/a quarter and a face", func(b *testing.B) { benchmarkRegions(b, data, 4, min(size[0], size[1])/3) })
	}
}

// benchmarkRegions decodes an overview, and of the photo's middle a square of face pixels at full size.
func benchmarkRegions(b *testing.B, data []byte, shrink, face int) {
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var pix []uint8
	for b.Loop() {
		p, err := Open(b.Context(), data, Options{MaxPixels: testMaxPixels, Shrink: func(int, int) int { return shrink }})
		if err != nil {
			b.Fatal(err)
		}
		w, h := p.Size()
		whole := image.Rect(0, 0, Reduced(w, shrink), Reduced(h, shrink))
		pix = grown(pix, 3*whole.Dx()*whole.Dy()+3*face*face)
		err = p.Region(b.Context(), pix, whole, shrink)
		if err == nil && face > 0 {
			err = p.Region(b.Context(), pix, image.Rect(w/2-face/2, h/2-face/2, w/2-face/2+face, h/2-face/2+face), 1)
		}
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
}
