package extract

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const testMaxPixels = 1 << 20

func testFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// decode reads a photo of any format in full.
func decode(ctx context.Context, data []byte, maxPixels int) (*Image, error) {
	p, err := open(ctx, data, limits{maxPixels, maxPixels}, func(int, int) float64 { return 1 })
	if err != nil {
		return nil, err
	}
	m, _ := p.overview() // which lives on, for p is not closed
	return m, nil
}

func mustDecode(t testing.TB, name string) *Image {
	t.Helper()
	m, err := decode(t.Context(), testFile(t, name), testMaxPixels)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m
}

// meanDiff is the mean absolute difference of two images of one size, in grey levels.
func meanDiff(t testing.TB, a, b *Image) float64 {
	t.Helper()
	if a.W != b.W || a.H != b.H {
		t.Fatalf("sizes differ: %d×%d and %d×%d", a.W, a.H, b.W, b.H)
	}
	var sum float64
	for i := range a.Pix {
		sum += math.Abs(float64(a.Pix[i]) - float64(b.Pix[i]))
	}
	return sum / float64(len(a.Pix))
}

// Every format must show the same picture; the bounds are what the format's own loss allows (measured with
// other decoders: 422.jpg differs from rgb.png by 1.4 there too).
func TestDecodeFormats(t *testing.T) {
	want := mustDecode(t, "formats/rgb.png")
	grey := newImage(want.W, want.H)
	for i := range want.W * want.H {
		v := grey.Pix[3*i : 3*i+3]
		v[0] = uint8(.299*float64(want.Pix[3*i]) + .587*float64(want.Pix[3*i+1]) + .114*float64(want.Pix[3*i+2]) + .5)
		v[1], v[2] = v[0], v[0]
	}
	alpha := mustDecode(t, "formats/alpha.png")
	for _, c := range []struct {
		file string
		like *Image
		max  float64
	}{
		{"rgba.png", want, 0}, {"rgb16.png", want, 0}, {"rgb24.bmp", want, 0}, {"lossless.webp", want, 0},
		{"palette.png", want, 4}, {"grey16.png", grey, 1},
		{"444.jpg", want, 2}, {"422.jpg", want, 2}, {"420.jpg", want, 2}, {"440.jpg", want, 2},
		{"progressive.jpg", want, 2}, {"grey.jpg", grey, 2}, {"cmyk.jpg", want, 2}, {"lossy.webp", want, 2}, {"alpha.webp", alpha, 2}, {"alpha_lossless.webp", alpha, 0},
		{"exif6.png", want, 0}, {"exif6.webp", want, 2},
	} {
		if d := meanDiff(t, mustDecode(t, "formats/"+c.file), c.like); d > c.max {
			t.Errorf("%s differs by %.2f grey levels in the mean, want at most %.2f", c.file, d, c.max)
		} else {
			t.Logf("%s: %.2f", c.file, d)
		}
	}
}

func TestDecodeOrientations(t *testing.T) {
	want := mustDecode(t, "formats/exif1.jpg")
	for o := 2; o <= 8; o++ {
		name := "formats/exif" + string(rune('0'+o)) + ".jpg"
		if d := meanDiff(t, mustDecode(t, name), want); d > 2 {
			t.Errorf("%s is shown wrong: differs by %.1f grey levels", name, d)
		}
	}
}

// Transparency shows white, whatever colour hides behind it.
func TestDecodeTransparency(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 3, 1))
	m.SetNRGBA(0, 0, color.NRGBA{200, 10, 10, 0})
	m.SetNRGBA(1, 0, color.NRGBA{0, 0, 0, 128})
	m.SetNRGBA(2, 0, color.NRGBA{1, 2, 3, 255})
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	got, err := decode(t.Context(), b.Bytes(), testMaxPixels)
	if err != nil {
		t.Fatal(err)
	}
	if want := []uint8{255, 255, 255, 127, 127, 127, 1, 2, 3}; !bytes.Equal(got.Pix, want) {
		t.Errorf("got %v, want %v", got.Pix, want)
	}
}

func TestDecodeNotImage(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("hello, world"), "GIF": []byte("GIF89a\x01\x00\x01\x00\x00\x00\x00;"),
		"zeros":         make([]byte, 1000),
		"JPEG of noise": append([]byte("\xff\xd8\xff\xe0\x00\x04ab"), bytes.Repeat([]byte{0xff, 0xc0, 0, 4}, 99)...),
		"PNG of noise":  append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat([]byte{0}, 99)...),
		"BMP of noise":  append([]byte("BM"), bytes.Repeat([]byte{9}, 99)...),
		"WebP of noise": append([]byte("RIFF\x40\x00\x00\x00WEBPVP8 \x40\x00\x00\x00"), bytes.Repeat([]byte{1}, 0x40)...),
	} {
		if _, err := decode(t.Context(), data, testMaxPixels); !errors.Is(err, ErrNotImage) {
			t.Errorf("%s: %v, want ErrNotImage", name, err)
		}
	}
}

func TestDecodeTruncated(t *testing.T) {
	for _, name := range []string{"420.jpg", "progressive.jpg", "rgb.png", "rgb24.bmp", "lossy.webp", "lossless.webp"} {
		data := testFile(t, "formats/"+name)
		for _, n := range []int{len(data) / 2, len(data) * 9 / 10} {
			if _, err := decode(t.Context(), data[:n], testMaxPixels); !errors.Is(err, ErrTruncated) {
				t.Errorf("%s cut to %d of %d bytes: %v, want ErrTruncated", name, n, len(data), err)
			}
		}
	}
}

// pngHeader is a PNG that states w×h and holds no pixels.
func pngHeader(w, h uint32) []byte {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	ihdr = append(binary.BigEndian.AppendUint32(ihdr, h), 8, 2, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	out = append(out, ihdr...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(ihdr))
}

// jpegHeader is a JPEG that states w×h and ends there.
func jpegHeader(w, h uint16) []byte {
	return []byte{0xff, 0xd8, 0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0xff, 0xc0, 0, 17, 8, byte(h >> 8), byte(h), byte(w >> 8), byte(w), 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0}
}

func bmpHeader(w, h uint32) []byte {
	b := append([]byte("BM"), make([]byte, 8)...)
	b = append(b, 54, 0, 0, 0, 40, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, w)
	b = binary.LittleEndian.AppendUint32(b, h)
	return append(append(b, 1, 0, 24, 0), make([]byte, 24)...)
}

// webpHeader states a canvas of 1×1 and a frame of 16383×16383 behind it.
func webpHeader() []byte {
	vp8x := append([]byte("VP8X\x0a\x00\x00\x00"), make([]byte, 10)...)
	frame := append([]byte("VP8 \x0a\x00\x00\x00"), 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0xff, 0x3f, 0xff, 0x3f)
	body := append(append([]byte("WEBP"), vp8x...), frame...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

// A header bomb must be refused for its size alone, without memory for it.
func TestDecodeBombs(t *testing.T) {
	for name, data := range map[string][]byte{
		"PNG 10000×10000": pngHeader(10000, 10000), "PNG 2³¹−1 squared": pngHeader(1<<31-1, 1<<31-1),
		"JPEG 65500×65500": jpegHeader(65500, 65500), "BMP 10000×10000": bmpHeader(10000, 10000), "WebP frame behind a small canvas": webpHeader(),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decode(t.Context(), data, 50_000_000)
		runtime.ReadMemStats(&after)
		used := after.TotalAlloc - before.TotalAlloc
		if !errors.Is(err, ErrTooManyPixels) && name != "PNG 2³¹−1 squared" {
			t.Errorf("%s: %v, want ErrTooManyPixels", name, err)
		}
		if err == nil {
			t.Errorf("%s: decoded", name)
		}
		if used > 1<<20 {
			t.Errorf("%s: %d bytes allocated", name, used)
		}
	}
	var p *PixelsError
	if _, err := decode(t.Context(), jpegHeader(4000, 3000), 10_000_000); !errors.As(err, &p) || p.Width != 4000 || p.Height != 3000 {
		t.Errorf("got %v, want the stated size", err)
	}
}

// A scan of a progressive JPEG takes a few bytes and a walk over the whole picture: thousands must be refused.
func TestDecodeScanBomb(t *testing.T) {
	data := testFile(t, "formats/progressive.jpg")
	at := bytes.Index(data, []byte{0xff, 0xda})
	next := at + 2 + bytes.Index(data[at+2:], []byte{0xff, 0xda})
	bomb := append(bytes.Clone(data[:at]), bytes.Repeat(data[at:next], 101)...)
	if _, err := decode(t.Context(), append(bomb, 0xff, 0xd9), testMaxPixels); !errors.Is(err, ErrNotImage) || !strings.Contains(err.Error(), "scans") {
		t.Errorf("got %v, want a refusal for its scans", err)
	}
}

// FuzzDecode looks for panics, for sizes that disagree with the pixels, and for images over the limit.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"exif5.jpg", "exif8.jpg", "cmyk.jpg", "progressive.jpg", "palette.png", "grey16.png", "exif6.webp", "lossless.webp", "rgb24.bmp"} {
		f.Add(testFile(f, "formats/"+name))
	}
	for _, data := range [][]byte{pngHeader(9, 9), jpegHeader(9, 9), bmpHeader(9, 9), webpHeader(), {0xff, 0xd8, 0xff, 0xe1, 0, 0}} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(t.Context(), data, testMaxPixels)
		if err != nil {
			if m != nil {
				t.Fatal("an image and an error")
			}
			if !errors.Is(err, ErrNotImage) && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrTooManyPixels) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if m.W*m.H > testMaxPixels || len(m.Pix) != 3*m.W*m.H {
			t.Fatalf("%d×%d with %d bytes", m.W, m.H, len(m.Pix))
		}
	})
}
