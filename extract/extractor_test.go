package extract

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/extract/pack"
)

func TestSelect(t *testing.T) {
	x := testExtractor(t)
	for _, c := range []struct {
		file string
		s    Select
		want error
		n    int
	}{
		{"faces/a_1.jpg", SelectOne, nil, 1}, {"faces/group.jpg", SelectAll, nil, 2}, {"faces/group.jpg", SelectLargest, nil, 1},
		{"faces/group.jpg", SelectOne, ErrSeveralFaces, 0}, {"faces/noface.jpg", SelectAll, nil, 0},
		{"faces/noface.jpg", SelectOne, ErrNoFace, 0}, {"faces/noface.jpg", SelectLargest, ErrNoFace, 0},
		{"faces/small.jpg", SelectOne, ErrFaceTooSmall, 0}, {"faces/small.jpg", SelectAll, nil, 1},
	} {
		got, err := x.Extract(t.Context(), testFile(t, c.file), Options{Select: c.s})
		if !errors.Is(err, c.want) || len(got) != c.n {
			t.Errorf("%s, select %d: %d faces, %v; want %d, %v", c.file, c.s, len(got), err, c.n, c.want)
		}
	}
	var several *FacesError
	if _, err := x.Extract(t.Context(), testFile(t, "faces/group.jpg"), Options{Select: SelectOne}); !errors.As(err, &several) || several.Found != 2 {
		t.Errorf("got %v, want the number of faces", err)
	}
	var small *SizeError
	if _, err := x.Extract(t.Context(), testFile(t, "faces/small.jpg"), Options{Select: SelectOne}); !errors.As(err, &small) || !(small.Height < small.Min && small.Height > 8) {
		t.Errorf("got %v, want the height", err)
	}
}

// TestChoose: the largest and the most central of two faces in a photo of 400×300.
func TestChoose(t *testing.T) {
	x := &Extractor{config: Config{MinFaceHeight: 40}}
	found := []detection{{x1: 0, y1: 0, x2: 150, y2: 200}, {x1: 170, y1: 120, x2: 220, y2: 170}, {x1: 195, y1: 145, x2: 205, y2: 155}}
	for s, want := range map[Select]int{SelectLargest: 0, SelectCentral: 1} {
		if got, err := x.choose(found[:2], s, 400, 300); err != nil || got.x1 != found[want].x1 {
			t.Errorf("select %d: %v, %v", s, got, err)
		}
	}
	var small *SizeError
	if _, err := x.choose(found, SelectCentral, 400, 300); !errors.As(err, &small) {
		t.Errorf("a face of 10 pixels: %v", err)
	}
}

// The same person must score above every other: the plumbing test that a swapped channel or axis fails.
func TestIdentitiesSeparate(t *testing.T) {
	templates := map[string][]float32{}
	for _, name := range []string{"a_1", "a_2", "a_3", "b_1", "b_2", "c_1", "c_2"} {
		templates[name] = mustExtract(t, "faces/"+name+".jpg", Options{Select: SelectOne})[0].Template
	}
	for na, a := range templates {
		for nb, b := range templates {
			if cos := dot(a, b); na[0] == nb[0] && cos < .9 || na[0] != nb[0] && cos > .3 {
				t.Errorf("%s and %s: cosine %.3f", na, nb, cos)
			}
		}
	}
}

// A face's template must not depend on how the photo is stored, nor much on what else is in it.
func TestTemplateStable(t *testing.T) {
	want := mustExtract(t, "formats/rgb.png", Options{Select: SelectOne})[0].Template
	for _, name := range []string{"exif6.png", "exif6.webp", "420.jpg", "progressive.jpg", "cmyk.jpg", "rgb16.png", "lossless.webp", "lossy.webp", "rgb24.bmp"} {
		got := mustExtract(t, "formats/"+name, Options{Select: SelectOne})[0].Template
		if cos := dot(got, want); !(cos >= .99) {
			t.Errorf("%s: cosine %.4f to the PNG", name, cos)
		}
	}
}

func TestExtractBadBytes(t *testing.T) {
	x := testExtractor(t)
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ErrNotImage}, {"text", []byte("no image"), ErrNotImage}, {"cut", testFile(t, "faces/a_1.jpg")[:9000], ErrTruncated},
		{"bomb", pngHeader(10000, 10000), ErrTooManyPixels},
	} {
		if faces, err := x.Extract(t.Context(), c.data, Options{}); !errors.Is(err, c.want) || faces != nil {
			t.Errorf("%s: %v, %v; want %v", c.name, faces, err, c.want)
		}
	}
}

func TestTinyAndOddPhotos(t *testing.T) {
	x := testExtractor(t)
	for _, size := range [][2]int{{1, 1}, {1, 5000}, {5000, 1}, {2, 3}, {319, 7}} {
		data, err := newImage(size[0], size[1]).PNG()
		if err != nil {
			t.Fatal(err)
		}
		if faces, err := x.Extract(t.Context(), data, Options{}); err != nil || len(faces) != 0 {
			t.Errorf("%v: %d faces, %v", size, len(faces), err)
		}
	}
}

// One worker and a queue of one: the third call must be refused at once, a waiting one obey its context, and closing
// must let the first finish.
func TestBoundsAndClose(t *testing.T) {
	c := testConfig()
	c.Workers, c.Queue = 1, 1
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	photo := testFile(t, "faces/a_1.jpg")
	gone := errors.New("the client left")
	ctx, cancel := context.WithCancelCause(t.Context())
	var waiting sync.WaitGroup
	waiting.Go(func() {
		if _, err := x.Extract(ctx, photo, Options{}); !errors.Is(err, gone) {
			t.Errorf("a waiting call got %v, want its cause", err)
		}
	})
	waitFor(t, func() bool { return x.photos.load.Load() == 2 })
	if _, err := x.Extract(t.Context(), photo, Options{}); !errors.Is(err, ErrBusy) {
		t.Errorf("over the queue: %v, want ErrBusy", err)
	}
	cancel(gone)
	waiting.Wait()

	waiting.Go(func() {
		if _, err := x.Extract(t.Context(), photo, Options{}); !errors.Is(err, ErrClosed) {
			t.Errorf("a call that waits at Close got %v, want ErrClosed", err)
		}
	})
	waitFor(t, func() bool { return x.photos.load.Load() == 2 })
	var closed sync.WaitGroup
	closed.Go(func() {
		if err := x.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	waiting.Wait()
	m, err := decode(t.Context(), photo, testMaxPixels)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := x.stages.detect(t.Context(), newPicture(m)); err != nil || len(found) != 1 { // Close must not free what is in use
		t.Errorf("a call that runs at Close: %d faces, %v", len(found), err)
	}
	x.giveBack()
	closed.Wait()
	if _, err := x.Extract(t.Context(), photo, Options{}); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want ErrClosed", err)
	}
	if err := x.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

// Concurrent calls must give what one call gives: shared memory between workers would show here.
func TestConcurrentCallsAgree(t *testing.T) {
	x := testExtractor(t)
	files := []string{"faces/a_1.jpg", "faces/b_1.jpg", "faces/c_1.jpg", "golden/g5.png"}
	want := make([][]float32, len(files))
	for i, name := range files {
		want[i] = mustExtract(t, name, Options{Select: SelectOne})[0].Template
	}
	var wg sync.WaitGroup
	for n := range 24 {
		wg.Go(func() {
			i := n % len(files)
			faces, err := x.Extract(t.Context(), testFile(t, files[i]), Options{Select: SelectOne})
			if err != nil || !(dot(faces[0].Template, want[i]) > .99999) {
				t.Errorf("%s: another template under load (%v)", files[i], err)
			}
		})
	}
	wg.Wait()
}

func TestNewFailures(t *testing.T) {
	for name, c := range map[string]Config{
		"no pack":    {Library: testLibrary(), Pack: t.TempDir()},
		"bad config": {Library: testLibrary(), Pack: *packFlag, Workers: -1},
	} {
		if x, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
			x.Close()
		}
	}
	testExtractor(t)
	if _, err := New(Config{Library: "/nowhere/lib.so", Pack: *packFlag}); err == nil || !strings.Contains(err.Error(), "already loaded") {
		t.Errorf("a second library: %v", err)
	}
}

// warp must hit the pixel grid exactly, see only zeros outside, and blur what it minifies.
func TestWarp(t *testing.T) {
	src := newImage(40, 30)
	for i := range src.Pix {
		src.Pix[i] = uint8(i * 7)
	}
	same := newImage(40, 30)
	warp(same, src, affine{1, 0, 0, 0, 1, 0})
	if d := meanDiff(t, same, src); d != 0 {
		t.Errorf("the identity changes the image by %v", d)
	}
	moved := newImage(40, 30)
	warp(moved, src, affine{1, 0, 5, 0, 1, -3})
	for y := range 30 {
		for x := range 40 {
			want := uint8(0)
			if sx, sy := x-5, y+3; sx >= 0 && sy < 30 {
				want = src.Pix[3*(sy*40+sx)]
			}
			if got := moved.Pix[3*(y*40+x)]; got != want {
				t.Fatalf("(%d, %d): %d, want %d", x, y, got, want)
			}
		}
	}
	flat := newImage(400, 400)
	for i := range flat.Pix {
		flat.Pix[i] = 255 * uint8(i/3%2) // columns of one pixel
	}
	small := newImage(20, 20)
	warp(small, flat, squareCrop(0, 0, 400, 20))
	for _, v := range small.Pix[3*21 : 3*39] {
		if v < 100 || v > 155 {
			t.Fatalf("minified stripes alias to %d, want grey", v)
		}
	}
}

// boxBlur on a part must equal a plain mean over reflected pixels.
func TestBoxBlur(t *testing.T) {
	src := newImage(13, 9)
	for i := range src.Pix {
		src.Pix[i] = uint8(i*i + 3*i)
	}
	for _, q := range []int{1, 2, 3, 4, 7} {
		r := rect{0, 2, 13, 9}
		got := newImage(r.x1-r.x0, r.y1-r.y0)
		boxBlurInto(got, src, r, q)
		for y := r.y0; y < r.y1; y++ {
			for x := r.x0; x < r.x1; x++ {
				sum := 0
				for dy := range q {
					for dx := range q {
						sum += int(src.Pix[3*(reflect101(y-q/2+dy, 9)*13+reflect101(x-q/2+dx, 13))])
					}
				}
				want := (float64(sum) / float64(q*q))
				if v := float64(got.Pix[3*((y-r.y0)*got.W+x-r.x0)]); math.Abs(v-want) > .5001 {
					t.Fatalf("q %d at (%d, %d): %v, want %v", q, x, y, v, want)
				}
			}
		}
	}
}

func resize(src *Image, w, h int) *Image {
	out := newImage(w, h)
	resizeInto(out, src)
	return out
}

func TestResize(t *testing.T) {
	flat := newImage(97, 53)
	for i := range flat.Pix {
		flat.Pix[i] = 201
	}
	for _, size := range [][2]int{{10, 6}, {97, 53}, {200, 110}, {96, 52}, {1, 1}} {
		for _, v := range resize(flat, size[0], size[1]).Pix {
			if v != 201 {
				t.Fatalf("%v: a flat image becomes %d", size, v)
			}
		}
	}
	two := &Image{W: 4, H: 1, Pix: []uint8{0, 0, 0, 100, 100, 100, 50, 50, 50, 150, 150, 150}}
	if got := resize(two, 2, 1).Pix; got[0] != 50 || got[3] != 100 {
		t.Errorf("halving by area: %v", got)
	}
}

// endsAfter is a context that ends at its nth question: wherever the pipeline asks, it must stop.
type endsAfter struct {
	context.Context
	left *atomic.Int64
}

func (c endsAfter) Err() error {
	if c.left.Add(-1) < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

func TestExtractObeysContext(t *testing.T) {
	x, photo := testExtractor(t), testFile(t, "faces/group.jpg")
	var asked atomic.Int64
	asked.Store(1 << 30)
	if _, err := x.Extract(endsAfter{context.Background(), &asked}, photo, Options{}); err != nil {
		t.Fatal(err)
	}
	questions := 1<<30 - asked.Load()
	if questions < 4 { // while decoding, before detection, before each of two faces
		t.Errorf("the context is asked %d times", questions)
	}
	for n := range questions {
		var left atomic.Int64
		left.Store(n)
		if faces, err := x.Extract(endsAfter{context.Background(), &left}, photo, Options{}); !errors.Is(err, context.DeadlineExceeded) || faces != nil {
			t.Errorf("ended at question %d of %d: %d faces, %v", n, questions, len(faces), err)
		}
	}
}

// A pack for other steps or another size is another embedding space: it must not load.
func TestNewRefusesOtherPacks(t *testing.T) {
	for _, edit := range []struct{ old, new, says string }{
		{`"preprocessing": 1`, `"preprocessing": 2`, "preprocessing version 2"}, {`"dim": 512`, `"dim": 256`, "256"},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(*packFlag)); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, pack.ManifestName)
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), edit.old, edit.new)
		text = strings.ReplaceAll(text, "fr_feature-512-p1-", map[string]string{"2": "fr_feature-512-p2-", "6": "fr_feature-256-p1-"}[text[strings.Index(text, edit.new)+len(edit.new)-1:][:1]])
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if x, err := New(Config{Library: testLibrary(), Pack: dir}); err == nil || !strings.Contains(err.Error(), edit.says) {
			t.Errorf("%s: %v, want a refusal", edit.new, err)
			if err == nil {
				x.Close()
			}
		}
	}
}

// With shared cores a call that has a place may have no core: it must go when its client goes, and when its extractor closes.
func TestWaitForCore(t *testing.T) {
	shared := NewCores(1)
	x, err := New(Config{Library: testLibrary(), Pack: *packFlag, Workers: 1, Photos: 2, Cores: shared, Batching: map[pack.Role]Batching{"": {Single, 1}}})
	if err != nil {
		t.Fatal(err)
	}
	photo := testFile(t, "faces/a_1.jpg")
	shared.take() // another extractor's call
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := x.Extract(ctx, photo, Options{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want the deadline's", err)
	}
	var waiting, closed sync.WaitGroup
	waiting.Go(func() {
		if _, err := x.Extract(t.Context(), photo, Options{}); !errors.Is(err, ErrClosed) {
			t.Errorf("%v, want ErrClosed", err)
		}
	})
	waitFor(t, func() bool { return shared.wanted.Load() == 1 })
	closed.Go(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	waiting.Wait()
	closed.Wait()
	shared.give()
	if x.photos.load.Load() != 0 || len(shared.free) != 1 {
		t.Errorf("%d calls and %d free cores are left", x.photos.load.Load(), len(shared.free))
	}
}

// The unified score must not depend on what else is wanted, and a template that is not wanted not come.
func TestQualityWithoutTemplate(t *testing.T) {
	for _, name := range []string{"a_1", "b_1", "sunglasses"} {
		alone := mustExtract(t, "faces/"+name+".jpg", Options{Select: SelectOne, Want: WantQuality})[0]
		both := mustExtract(t, "faces/"+name+".jpg", Options{Select: SelectOne, Want: WantQuality | WantTemplate})[0]
		if alone.Quality[UnifiedScore] != both.Quality[UnifiedScore] || alone.Template != nil || alone.Norm != 0 || both.Template == nil {
			t.Errorf("%s: %v without the template, %v with it; template %d, norm %v", name,
				alone.Quality[UnifiedScore], both.Quality[UnifiedScore], len(alone.Template), alone.Norm)
		}
	}
}
