package jpeg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/build"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const testMaxPixels = 16 << 20

// decoded is all of data by this package, at a reduction.
func decoded(t testing.TB, data []byte, shrink int) (w, h int, pix []uint8, err error) {
	t.Helper()
	p, err := Open(t.Context(), data, Options{MaxPixels: testMaxPixels, Shrink: func(int, int) int { return shrink }})
	if err != nil {
		return 0, 0, nil, err
	}
	defer p.Close()
	w, h = p.Size()
	w, h = Reduced(w, shrink), Reduced(h, shrink)
	pix = make([]uint8, 3*w*h)
	return w, h, pix, p.Region(t.Context(), pix, image.Rect(0, 0, w, h), shrink)
}

// reference is the standard library's picture in RGB, with colours interpolated as libjpeg does it.
func reference(t testing.TB, m image.Image) []uint8 {
	t.Helper()
	b := m.Bounds()
	out := make([]uint8, 0, 3*b.Dx()*b.Dy())
	for y := range b.Dy() {
		for x := range b.Dx() {
			var r, g, bl uint8
			switch m := m.(type) {
			case *image.YCbCr:
				r, g, bl = color.YCbCrToRGB(m.Y[m.YOffset(x, y)], upsampled(m, m.Cb, x, y), upsampled(m, m.Cr, x, y))
			default:
				c := color.RGBA64Model.Convert(m.At(x, y)).(color.RGBA64)
				to8 := func(v uint16) uint8 { return uint8((uint32(v)*255 + 0x7fff) / 0xffff) }
				r, g, bl = to8(c.R), to8(c.G), to8(c.B)
			}
			out = append(out, r, g, bl)
		}
	}
	return out
}

// upsampled is one chroma sample at pixel (x, y), straight from the filter's definition.
func upsampled(m *image.YCbCr, plane []uint8, x, y int) uint8 {
	rx, ry := 1, 1
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		rx = 2
	case image.YCbCrSubsampleRatio420:
		rx, ry = 2, 2
	case image.YCbCrSubsampleRatio440:
		ry = 2
	case image.YCbCrSubsampleRatio411:
		rx = 4
	case image.YCbCrSubsampleRatio410:
		rx, ry = 4, 2
	}
	w, h := (m.Rect.Dx()+rx-1)/rx, (m.Rect.Dy()+ry-1)/ry
	column := func(cx int) int {
		cx = min(max(cx, 0), w-1)
		near, far := y/ry, y/ry
		if ry == 2 {
			far = min(max(near+2*(y&1)-1, 0), h-1)
		}
		return 3*int(plane[near*m.CStride+cx]) + int(plane[far*m.CStride+cx])
	}
	switch {
	case rx != 2:
		return uint8((column(x/rx) + 2) / 4)
	case x&1 == 0:
		return uint8((3*column(x/2) + column(x/2-1) + 8) / 16)
	}
	return uint8((3*column(x/2) + column(x/2+1) + 7) / 16)
}

// sameAsStandard checks data against image/jpeg: what that accepts must have the same pixels here.
func sameAsStandard(t testing.TB, name string, data []byte) {
	t.Helper()
	m, stdErr := jpeg.Decode(bytes.NewReader(data))
	w, h, pix, err := decoded(t, data, 1)
	switch {
	case stdErr != nil:
		return
	case err != nil:
		t.Errorf("%s: %v, but the standard library reads it", name, err)
	case m.Bounds() != image.Rect(0, 0, w, h):
		t.Errorf("%s: %d×%d, want %v", name, w, h, m.Bounds())
	default:
		if want := reference(t, m); !bytes.Equal(pix, want) {
			for i := range pix {
				if pix[i] != want[i] {
					t.Errorf("%s: pixel (%d, %d) channel %d is %d, want %d", name, i/3%w, i/3/w, i%3, pix[i], want[i])
					break
				}
			}
		}
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// standardFiles are the standard library's own test pictures: every subsampling, sequential and progressive,
// restart markers, several scans, RGB, CMYK.
func standardFiles() []string {
	files, _ := filepath.Glob(filepath.Join(build.Default.GOROOT, "src", "image", "testdata", "*.jpeg"))
	return files
}

func testFiles(t testing.TB) []string {
	t.Helper()
	var files []string
	for _, pattern := range []string{"formats/*.jpg", "faces/*.jpg"} {
		f, err := filepath.Glob(filepath.Join("..", "..", "testdata", pattern))
		if err != nil || len(f) == 0 {
			t.Fatalf("no %s: %v", pattern, err)
		}
		files = append(files, f...)
	}
	return append(files, standardFiles()...)
}

func TestSameAsStandardFiles(t *testing.T) {
	if len(standardFiles()) == 0 {
		t.Log("the standard library's sources aren't installed: their pictures are left out")
	}
	for _, name := range testFiles(t) {
		sameAsStandard(t, name, readFile(t, name))
	}
}

func TestSameAsStandardPhotos(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "faces", "lfw", "*", "*_0001.jpg"))
	if err != nil || len(files) == 0 {
		t.Skip("no photos of LFW beside the checkout")
	}
	step := 5
	if testing.Short() {
		step = 100
	}
	for i := 0; i < len(files); i += step {
		sameAsStandard(t, files[i], readFile(t, files[i]))
	}
}

// painted is a picture with edges, slopes and noise; seed 0 is flat.
func painted(w, h int, seed uint64) *image.RGBA {
	r := rand.New(rand.NewPCG(seed, 1))
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := color.RGBA{uint8(3 * x), uint8(5 * y), uint8(x*y/4 + 9), 255}
			if seed > 0 && (x/5+y/7)%3 == 0 {
				v.R, v.G, v.B = uint8(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32())
			}
			m.SetRGBA(x, y, v)
		}
	}
	return m
}

func encoded(t testing.TB, m image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var oddSizes = [][2]int{{1, 1}, {7, 9}, {8, 8}, {16, 17}, {17, 16}, {33, 1}, {1, 40}, {31, 65}, {130, 47}}

func TestSameAsStandardSizes(t *testing.T) {
	for _, size := range oddSizes {
		for _, quality := range []int{1, 30, 75, 90, 100} {
			m := painted(size[0], size[1], 3)
			name := fmt.Sprintf("%d×%d at quality %d", size[0], size[1], quality)
			sameAsStandard(t, name, encoded(t, m, quality))
			g := image.NewGray(m.Rect)
			for i := range g.Pix {
				g.Pix[i] = m.Pix[4*i]
			}
			sameAsStandard(t, "grey "+name, encoded(t, g, quality))
		}
	}
}

func TestRegions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, name := range testFiles(t) {
		data := readFile(t, name)
		for _, shrink := range []int{1, 2, 4, 8} {
			w, h, whole, err := decoded(t, data, shrink)
			if err != nil {
				continue // TestSameAsStandardFiles tells
			}
			p, err := Open(t.Context(), data, Options{MaxPixels: testMaxPixels, Shrink: func(int, int) int { return 16 / shrink % 15 }})
			if err != nil {
				t.Fatal(err)
			}
			for range 12 {
				x, y := r.IntN(w), r.IntN(h)
				sameRegion(t, fmt.Sprintf("%s at 1/%d", name, shrink), p, whole, w, image.Rect(x, y, x+1+r.IntN(w-x), y+1+r.IntN(h-y)), shrink)
			}
			p.Close()
		}
	}
}

func sameRegion(t testing.TB, name string, p *Photo, whole []uint8, w int, r image.Rectangle, shrink int) {
	t.Helper()
	got := make([]uint8, 3*r.Dx()*r.Dy())
	if err := p.Region(t.Context(), got, r, shrink); err != nil {
		t.Fatal(err)
	}
	for y := range r.Dy() {
		at := 3 * (w*(r.Min.Y+y) + r.Min.X)
		if !bytes.Equal(got[3*r.Dx()*y:][:3*r.Dx()], whole[at:at+3*r.Dx()]) {
			t.Errorf("%s: row %d of region %v differs from the whole", name, y, r)
			return
		}
	}
}

// A reduced picture is the mean of its pixels, but for what would alias.
func TestReduced(t *testing.T) {
	for _, name := range []string{"faces/a_1.jpg", "formats/444.jpg", "formats/422.jpg", "formats/progressive.jpg", "formats/cmyk.jpg", "formats/grey.jpg"} {
		data := readFile(t, filepath.Join("..", "..", "testdata", name))
		w, _, whole, err := decoded(t, data, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, shrink := range []int{2, 4, 8} {
			rw, rh, pix, err := decoded(t, data, shrink)
			if err != nil {
				t.Fatal(err)
			}
			var sum, bias float64
			n := 0
			for y := range rh - 1 {
				for x := range rw - 1 {
					for c := range 3 {
						d := float64(pix[3*(y*rw+x)+c]) - boxMean(whole, w, x*shrink, y*shrink, shrink, c)
						sum, bias, n = sum+d*d, bias+d, n+1
					}
				}
			}
			t.Logf("%s at 1/%d: mean square difference %.2f, bias %.3f", name, shrink, sum/float64(n), bias/float64(n))
			// 4:2:2 keeps half its columns of colour at any reduction
			if !(sum/float64(n) < 18) || name != "formats/422.jpg" && !(sum/float64(n) < 2) || !(max(bias, -bias)/float64(n) < .5) {
				t.Errorf("%s at 1/%d is not the mean of its pixels", name, shrink)
			}
		}
	}
}

func boxMean(pix []uint8, w, x, y, n, c int) (sum float64) {
	for j := range n {
		for i := range n {
			sum += float64(pix[3*((y+j)*w+x+i)+c])
		}
	}
	return sum / float64(n*n)
}

func knownError(err error) bool {
	var size *SizeError
	return errors.Is(err, ErrFormat) || errors.Is(err, ErrTruncated) || errors.Is(err, ErrUnsupported) || errors.As(err, &size)
}

func TestTruncated(t *testing.T) {
	for _, name := range []string{"420.jpg", "progressive.jpg", "grey.jpg"} {
		data := readFile(t, filepath.Join("..", "..", "testdata", "formats", name))
		for n := range len(data) - 1 {
			if n < 1000 && !testing.Short() || n%97 == 0 {
				if _, _, _, err := decoded(t, data[:n], 4); n > 2 && !errors.Is(err, ErrTruncated) || err == nil {
					t.Fatalf("%s cut to %d of %d bytes: %v", name, n, len(data), err)
				}
			}
		}
	}
}

func TestMutated(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	rounds := 60
	if testing.Short() {
		rounds = 5
	}
	for _, name := range testFiles(t) {
		data := readFile(t, name)
		if len(data) > 40_000 {
			continue
		}
		for range rounds {
			bad := bytes.Clone(data)
			for range 1 + r.IntN(3) {
				bad[r.IntN(len(bad))] = uint8(r.Uint32())
			}
			compareDamaged(t, name, bad)
		}
	}
}

// compareDamaged allows the refusals of doc.go where the standard library goes on.
func compareDamaged(t testing.TB, name string, data []byte) {
	t.Helper()
	c, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil || c.Width*c.Height > 1<<20 {
		return
	}
	_, _, _, err = decoded(t, data, 1)
	if err == nil {
		sameAsStandard(t, name, data)
		return
	}
	if !knownError(err) {
		t.Fatalf("%s: an error of no kind: %v", name, err)
	}
	if _, std := jpeg.Decode(bytes.NewReader(data)); std == nil && !deliberate(err) {
		t.Errorf("%s: %v, but the standard library reads it", name, err)
	}
}

// deliberate says that err is one of the refusals that doc.go names.
func deliberate(err error) bool {
	for _, s := range []string{"more codes than its lengths", "a coefficient of", "AC coefficients before DC", "scans", "0×", "×0"} {
		if bytes.Contains([]byte(err.Error()), []byte(s)) {
			return true
		}
	}
	return false
}

func FuzzDecode(f *testing.F) {
	for _, name := range testFiles(f) {
		if data := readFile(f, name); len(data) < 20_000 {
			f.Add(data)
		}
	}
	f.Add(encoded(f, painted(9, 17, 1), 50))
	for _, data := range lateIntervals(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Open(t.Context(), data, Options{MaxPixels: 1 << 20})
		var size *SizeError
		if errors.As(err, &size) {
			return
		}
		if err == nil {
			p.Close()
		}
		agrees(t, "input", data)
	})
}

func TestContext(t *testing.T) {
	data := readFile(t, filepath.Join("..", "..", "testdata", "faces", "group.jpg"))
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := Open(ctx, data, Options{MaxPixels: testMaxPixels}); err != cause {
		t.Errorf("%v, want the context's cause", err)
	}
}

// A photo of 50 megapixels in 98 kB, with as many scans as are read: bounded in memory by its pixels, in time by both.
func TestScanBomb(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: a hundred scans of fifty megapixels")
	}
	table := func(class, symbol uint8) []uint8 {
		return segmentOf(markerDHT, append([]uint8{class << 4, 1}, append(make([]uint8, 15), symbol)...)...)
	}
	const w, h = 8660, 5773
	data := []uint8{0xff, markerSOI}
	data = append(data, segmentOf(markerSOF2, 8, h>>8, h&255, w>>8, w&255, 1, 1, 0x11, 0)...)
	data = append(append(data, table(0, 0)...), table(1, 0xe0)...) // no difference; the end of 2¹⁴ blocks and more
	data = append(append(data, segmentOf(markerSOS, 1, 1, 0, 0, 0, 0)...), make([]uint8, (w+7)/8*((h+7)/8)/8+1)...)
	blocks := (w + 7) / 8 * ((h + 7) / 8)
	for i := range maxScans {
		high := uint8(0x10)
		if i == 0 {
			high = 0x01
		}
		data = append(append(data, segmentOf(markerSOS, 1, 1, 0, 1, 63, high)...), make([]uint8, 2*blocks>>14+3)...)
	}
	data = append(data, 0xff, markerEOI)
	begin := time.Now()
	_, err := Open(t.Context(), data, Options{MaxPixels: 50 << 20, Shrink: func(int, int) int { return 8 }})
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "scans") {
		t.Errorf("%v, want a refusal for its scans", err)
	}
	t.Logf("%d bytes, refused after %v", len(data), time.Since(begin))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin = time.Now()
	if _, err := Open(ctx, data, Options{MaxPixels: 50 << 20}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the context's cause", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("it went on for %v after its context", d)
	}
	if _, err := Open(t.Context(), data[:200], Options{MaxPixels: 50 << 20}); !errors.Is(err, ErrTruncated) {
		t.Errorf("%v, want ErrTruncated", err)
	}
}
