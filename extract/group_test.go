package extract

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/extract/pack"
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
		t.Skip("TestSmallCrowd is the short test")
	}
	heights := someHeights(300, 30, 100)
	heights[0] = 500
	findCrowd(t, 4000, 3000, heights)
}

// A crowd without a face that the whole photo or the level after it could show for certain: hints lead to it.
func TestTinyCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("TestSmallCrowd is the short test")
	}
	findCrowd(t, 4000, 3000, someHeights(300, 30, 60))
}

// Faces of 2 canvas pixels and of 4 on the level after it, where only hints of them are seen.
func TestSmallCrowd(t *testing.T) { findCrowd(t, 1200, 1100, someHeights(25, 25, 28)) }

// someHeights are n heights from lo to hi.
func someHeights(n, lo, hi int) []int {
	random := rand.New(rand.NewPCG(1, 2))
	heights := make([]int, n)
	for i := range heights {
		heights[i] = lo + random.IntN(hi-lo+1)
	}
	return heights
}

// findCrowd makes a crowd and expects each face once, but for two in a hundred.
func findCrowd(t *testing.T, w, h int, heights []int) {
	t.Helper()
	photo, where := crowd(t, w, h, heights)
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

// fakeDetector sees in every picture one square of side canvas pixels in the middle, with a score, and counts.
type fakeDetector struct {
	score, side float32
	runs        atomic.Int32
}

func (f *fakeDetector) run(r *run, n int) error {
	f.runs.Add(int32(n))
	for i := range n {
		r.outs[i][0][1] = f.score
		copy(r.outs[i][1], []float32{.5 - f.side/640, .5 - f.side/480, .5 + f.side/640, .5 + f.side/480})
	}
	return nil
}

// fakeStages has the default pack's detector steps around f, and two cores, of which the caller holds one.
func fakeStages(t testing.TB, f runner) *stages {
	t.Helper()
	s := &stages{steps: newSteps(pack.Default().Manifest.Steps(), 512), cores: NewCores(2)}
	ultra := s.steps.detector.heads.(ultraFace)
	var err error
	s.detector, err = newStage(stageConfig{
		role: pack.Detector, cores: s.cores, batching: Batching{Single, 1}, runners: []runner{f}, onCPU: true,
		newRun: func(int) (*run, error) {
			outs := [][]float32{make([]float32, 2*ultra.anchors()), make([]float32, 4*ultra.anchors())}
			return &run{in: [][]float32{make([]float32, 3*ultra.w*ultra.h)}, outs: [][][]float32{outs}}, nil
		},
		free: func() error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.cores.take()
	return s
}

// What a group photo costs in runs of the detector. Levels of 4000×3000 have 9, 42, 168 and more tiles than are looked at.
func TestGroupCost(t *testing.T) {
	for _, c := range []struct {
		what        string
		w, h        int
		score, side float32
		runs        int32
		faces       bool
	}{
		{"nothing", 4000, 3000, .4, 20, 1 + 9, false},
		{"a large face", 4000, 3000, .9, 60, 1, true},
		{"large hints", 4000, 3000, .7, 60, 1 + 9, false},
		{"small hints everywhere", 4000, 3000, .7, 20, 1 + 9 + 42 + 168, false},
		{"small faces everywhere", 4000, 3000, .9, 20, 1 + 9 + 42 + 168, true},
		{"nothing in a small photo", 600, 400, .4, 20, 1, false},
		{"nothing in a long photo", 4_000_000, 1, .4, 20, 1 + 3, false},
	} {
		f := &fakeDetector{score: c.score, side: c.side}
		s := fakeStages(t, f)
		found, err := s.detectGroup(t.Context(), newPicture(newImage(c.w, c.h)), MaxFaces)
		if err != nil || f.runs.Load() != c.runs || len(found) > 0 != c.faces {
			t.Errorf("%s: %d runs, %d faces, %v; want %d runs", c.what, f.runs.Load(), len(found), err, c.runs)
		}
	}
}

// A photo that would need more tiles than maxTiles at the last level does without that level.
func TestMaxTiles(t *testing.T) {
	f := &fakeDetector{score: .7, side: 20}
	s := fakeStages(t, f)
	if _, err := s.detectGroup(t.Context(), newPicture(newImage(1_000_000, 1)), MaxFaces); err != nil {
		t.Fatal(err)
	}
	if n := f.runs.Load(); n > 1+maxTiles || n < maxTiles/4 {
		t.Errorf("%d tiles", n)
	}
}

// tileKeeper is a detector that finds nothing and keeps what it was shown.
type tileKeeper struct {
	mu    sync.Mutex
	shown [][]float32
}

func (k *tileKeeper) run(r *run, _ int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.shown = append(k.shown, slices.Clone(r.in[0]))
	return nil
}

// Whatever the rows of tiles are, they have the pixels of the level drawn at once, to a rounding.
func TestTilesShowLevel(t *testing.T) {
	photo, _ := crowd(t, 1300, 1000, []int{400, 300, 200})
	for _, shrink := range []float64{1, .1} { // the overview in full, and reduced so that parts are decoded
		p, err := open(t.Context(), photo, limits{1_300_000, 1_300_000}, func(int, int) float64 { return shrink })
		if err != nil {
			t.Fatal(err)
		}
		defer p.close()
		k := new(tileKeeper)
		z := newZoom(fakeStages(t, k), p, .7)
		if _, err := z.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		whole, in := newImage(z.w, z.h), make([]float32, len(k.shown[0]))
		z.draw(whole, 0, 0)
		for _, y := range starts(z.h, z.tileH) {
			for _, x := range starts(z.w, z.tileW) {
				d := z.steps.detector
				d.paint(in, whole.part(rect{x, y, x + z.tileW, y + z.tileH}), d.fit(z.tileW, z.tileH))
				if !slices.ContainsFunc(k.shown, func(shown []float32) bool { return like(shown, in) }) {
					t.Errorf("reduced %v: no tile shows what is at (%d, %d)", p.large != nil, x, y)
				}
			}
		}
		if len(k.shown) != z.tiles() {
			t.Errorf("%d tiles shown of %d", len(k.shown), z.tiles())
		}
	}
}

// like says that two inputs of the detector differ by one of 255 nowhere and by none nearly everywhere.
func like(a, b []float32) bool {
	differ := 0
	for i := range a {
		if !(math.Abs(float64(a[i]-b[i])) < 1.5/128) {
			return false
		}
		if a[i] != b[i] {
			differ++
		}
	}
	return differ <= len(a)/1000
}

// maxFaces: what has models of its own for each face has a lower bound.
func TestMaxFaces(t *testing.T) {
	for want, n := range map[Want]int{0: MaxFaces, WantTemplate: MaxFaces, WantTemplate | WantQuality: MaxJudgedFaces, WantLiveness: MaxJudgedFaces} {
		if got := want.maxFaces(); got != n {
			t.Errorf("want %b: %d faces at most, want %d", want, got, n)
		}
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

// Whoever asks for one face sees what SelectAll sees: a face too small for the whole photo is looked for more closely. Figures:
// of five people, how many are found where they are so high in a photo of 2000×1500.
func TestSmallFaceAlone(t *testing.T) {
	heights, people := []int{150, 110, 90, 75, 66, 60, 52, 45}, 5
	if testing.Short() {
		heights, people = []int{66}, 1
	}
	for _, height := range heights {
		found := 0
		for who := range people {
			photo, where := crowdOf(t, who, 2000, 1500, height)
			faces, err := testExtractor(t).Extract(t.Context(), photo, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, which := range []Select{SelectOne, SelectLargest, SelectCentral} {
				one, err := testExtractor(t).Extract(t.Context(), photo, Options{Select: which})
				if errors.Is(err, ErrFaceTooSmall) && faces[0].Box.Y2-faces[0].Box.Y1 < 40 {
					continue
				}
				if (err == nil) != (len(faces) == 1) || err != nil && len(faces) == 0 && !errors.Is(err, ErrNoFace) {
					t.Errorf("%d pixels, select %d: %v, where all faces are %d", height, which, err, len(faces))
				}
				if err == nil && which == SelectOne && near(one[0].Box, where) {
					found++
				}
			}
		}
		t.Logf("%d pixels, %.1f %% of the height: found %d of %d", height, float64(height)/15, found, people)
		if height >= 66 && found < people {
			t.Errorf("%d of %d faces of %d pixels in 1500 are found", found, people, height)
		}
	}
}

// crowdOf is a crowd of one, by number.
func crowdOf(t testing.TB, who, w, h, height int) ([]byte, Box) {
	t.Helper()
	name := []string{"a_1", "b_1", "c_1", "a_2", "b_2"}[who]
	m := mustDecode(t, "faces/"+name+".jpg")
	b := mustExtract(t, "faces/"+name+".jpg", Options{Select: SelectOne})[0].Box
	k := float32(height) / (b.Y2 - b.Y1)
	small := resize(m, int(float32(m.W)*k), int(float32(m.H)*k))
	all := newImage(w, h)
	for i := range all.Pix {
		all.Pix[i] = 120
	}
	x, y := w/2, h/3
	paste(all, small, x, y)
	at := func(v float32, by int) float32 { return v*k + float32(by) }
	return encodeJPEG(t, all, 92), Box{at(b.X1, x), at(b.Y1, y), at(b.X2, x), at(b.Y2, y)}
}

// A photo without a face is read once more and looked at in tiles, but only if it is large; and while crowds have all places
// that they may, it waits or is refused as they are, without a place of its own.
func TestNoFaceAtOnceWaitsWithGroups(t *testing.T) {
	c := testConfig()
	c.Workers, c.Photos, c.Queue = 1, 2, 2
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	blank := func(w, h int) []byte { return encodeJPEG(t, newImage(w, h), 80) }
	ask := func(data []byte) error {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := x.Extract(ctx, data, Options{Select: SelectOne})
		return err
	}
	if err := x.groups.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ask(blank(600, 400)); !errors.Is(err, ErrNoFace) {
		t.Errorf("a small photo: %v, want ErrNoFace", err)
	}
	if err := ask(blank(2000, 1500)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a large photo while crowds are at work: %v, want it to wait", err)
	}
	if n := x.photos.load.Load(); n != 0 {
		t.Errorf("%d places are taken by who waits", n)
	}
	x.groups.leave()
	if _, err := x.Extract(t.Context(), blank(2000, 1500), Options{Select: SelectOne}); !errors.Is(err, ErrNoFace) {
		t.Errorf("a large photo: %v, want ErrNoFace", err)
	}
	if a, b := x.groups.load.Load(), x.photos.load.Load(); a != 0 || b != 0 {
		t.Errorf("places are left taken: %d, %d", a, b)
	}
}

// What a photo without a face costs where one is asked for, by what is looked at.
func BenchmarkNoFace(b *testing.B) {
	for _, size := range [][2]int{{640, 480}, {4000, 3000}} {
		m := newImage(size[0], size[1])
		r := rand.New(rand.NewPCG(1, 3))
		for i := range m.Pix {
			m.Pix[i] = uint8(100 + 40*math.Sin(float64(i%(3*m.W))/900) + 4*r.NormFloat64())
		}
		photo := encodeJPEG(b, m, 90)
		x := testExtractor(b)
		for name, do := range map[string]func() ([]Face, error){
			"whole":   func() ([]Face, error) { return x.atOnce(b.Context(), photo, Options{Select: SelectOne}) },
			"closely": func() ([]Face, error) { return x.Extract(b.Context(), photo, Options{Select: SelectOne}) },
		} {
			b.Run(fmt.Sprintf("%dx%d/%s", size[0], size[1], name), func(b *testing.B) {
				for b.Loop() {
					if _, err := do(); !errors.Is(err, ErrNoFace) && !errors.Is(err, errNotAtOnce) {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
