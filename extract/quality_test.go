package extract

import (
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

var onlyFlag = flag.String("only", "", "the degradations, with commas between, that TestMeasuresFall is about; empty: all")

var facesFlag = flag.String("faces", "", "folder of person/photo files to measure quality on; empty: testdata alone")

// look extracts the largest face of an image; ok is false if there is none.
func look(t testing.TB, m *Image, want Want) (f Face, l *points, ok bool) {
	t.Helper()
	x := testExtractor(t)
	if err := x.acquire(t.Context()); err != nil {
		t.Error(err)
		return f, nil, false
	}
	defer x.giveBack()
	s, p := &x.stages, newPicture(m)
	found, err := s.detect(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		return f, nil, false
	}
	largest := found[0]
	for _, d := range found {
		if d.area() > largest.area() {
			largest = d
		}
	}
	if l, err = s.findPoints(t.Context(), p, largest); err != nil {
		return f, nil, false
	}
	if f, err = s.face(t.Context(), p, largest, want); err != nil {
		return f, nil, false
	}
	f.Quality[SingleFace] = largest.alone(found)
	return f, l, true
}

// each calls f for every i below n, on as many goroutines as there are cores.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			f(i)
			<-slots
		})
	}
	wg.Wait()
}

func readImage(t testing.TB, path string) *Image {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := decode(t.Context(), data, testMaxPixels)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return m
}

// glob lists the files that match any of the patterns.
func glob(t testing.TB, patterns ...string) (files []string) {
	t.Helper()
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil || len(found) == 0 {
			t.Fatalf("no files like %s: %v", p, err)
		}
		files = append(files, found...)
	}
	return files
}

// falls says whether values go down in order, from their peak if they may have one in the first half. Two points up are
// noise; three down in all are the least.
func falls(v []float32, peaked bool) bool {
	from := 0
	for i := range v[:(len(v)+1)/2] {
		if peaked && v[i] > v[from] {
			from = i
		}
	}
	for i := from + 1; i < len(v); i++ {
		if !(v[i] <= v[i-1]+2) {
			return false
		}
	}
	return v[len(v)-1] < v[from]-3
}

// keeps says that after the degradation the points are those of the same face, not of another in the background.
func (d *degradation) keeps(from, to *points) bool {
	if d.is(frame) {
		k := to.five.apparent() / from.five.apparent()
		return k > .8 && k < 1.25
	}
	if d.name == "reduced" {
		return true
	}
	most := .6
	if d.is(turned) {
		most = 1.2
	}
	return distance(from.five.eyesMiddle(), to.five.eyesMiddle()) < most*from.five.apparent()
}

// ladder is what the measures of a degradation say at its steps, as far as the face is found.
func (d *degradation) ladder(t testing.TB, m *Image, l *points) [][]float32 {
	values, want := make([][]float32, len(d.measures)), WantQuality
	if slices.Contains(d.measures, UnifiedScore) {
		want |= WantTemplate
	}
	for _, amount := range d.steps {
		f, found, ok := look(t, d.apply(m, l, amount), want)
		if !ok || !d.keeps(l, found) {
			break
		}
		for i, k := range d.measures {
			values[i] = append(values[i], f.Quality[k])
		}
	}
	return values
}

// fewFaces of a folder given by hand are too few to hold bounds on shares against: its figures are only printed.
const fewFaces = 100

// Every measure must fall, in order, when a photo gets worse in the way that it is about.
func TestMeasuresFall(t *testing.T) {
	files, least := glob(t, "../testdata/faces/[ab]_1.jpg", "../testdata/golden/g[03].png"), 1.
	if testing.Short() {
		files = files[:1]
	}
	if *facesFlag != "" {
		all := glob(t, filepath.Join(*facesFlag, "*", "*.jpg"))
		files, least = nil, .95
		n := min(200, len(all))
		for i := range n {
			files = append(files, all[i*len(all)/n])
		}
	}
	type count struct{ good, all int }
	counts := make([][]count, len(degradations))
	var mu sync.Mutex
	each(len(files), func(n int) {
		m := readImage(t, files[n])
		_, l, ok := look(t, m, WantQuality)
		if !ok {
			return
		}
		for i := range degradations {
			d := &degradations[i]
			if *onlyFlag != "" && !slices.Contains(strings.Split(*onlyFlag, ","), d.name) {
				continue
			}
			ladder := d.ladder(t, m, l)
			mu.Lock()
			if counts[i] == nil {
				counts[i] = make([]count, len(d.measures))
			}
			for j, v := range ladder {
				if len(v) < 3 || d.is(subject) && v[0] < 100 || d.is(seen) && !(v[0] >= 90) {
					continue
				}
				counts[i][j].all++
				if falls(v, d.is(peaked)) {
					counts[i][j].good++
				} else {
					t.Logf("%s: %s by %s: %.0f", filepath.Base(files[n]), d.measures[j], d.name, v)
				}
			}
			mu.Unlock()
		}
	})
	bounds := *facesFlag == "" || len(files) >= fewFaces
	if !bounds {
		t.Logf("%d photos: no bounds are checked", len(files))
	}
	for i, d := range degradations {
		for j, k := range d.measures {
			if counts[i] == nil && *onlyFlag != "" {
				continue
			}
			c := counts[i][j]
			t.Logf("%-15s %-26s falls in order for %3d of %3d photos", d.name, k, c.good, c.all)
			if bounds && !(*facesFlag != "" && d.is(crude)) && (float64(c.good) < least*float64(c.all) || 2*c.all < len(files)) {
				t.Errorf("%s: %s falls in order for %d of %d photos", d.name, k, c.good, c.all)
			}
		}
	}
}

// Real photos in the order of what their five points say of the head's turn, which the model has no part in: on average the further
// turned must score less, bin by bin of some degrees. Of 600 photos at most.
func TestPoseOrdersPhotos(t *testing.T) {
	if *facesFlag == "" {
		t.Skip("skipped: no folder of real photos (make quality FACES=DIR)")
	}
	all := glob(t, filepath.Join(*facesFlag, "*", "*.jpg"))
	n := min(600, len(all))
	type seenAt struct{ turn, score float64 }
	var mu sync.Mutex
	found := map[Measure][]seenAt{}
	each(n, func(i int) {
		f, l, ok := look(t, readImage(t, all[i*len(all)/n]), WantQuality)
		if !ok {
			return
		}
		p := l.five.pose()
		mu.Lock()
		defer mu.Unlock()
		for m, turn := range map[Measure]float32{PoseYaw: p.Yaw, PosePitch: p.Pitch} {
			found[m] = append(found[m], seenAt{math.Abs(float64(turn)), float64(f.Quality[m])})
		}
	})
	for m, photos := range found {
		last := math.Inf(1)
		for _, bin := range [][2]float64{{0, 6}, {6, 12}, {12, 20}, {20, 90}} {
			var sum float64
			in := 0
			for _, p := range photos {
				if p.turn >= bin[0] && p.turn < bin[1] {
					sum, in = sum+p.score, in+1
				}
			}
			if in < 10 {
				t.Logf("%-16s %2.0f° to %2.0f°: %d photos, too few", m, bin[0], bin[1], in)
				continue
			}
			mean := sum / float64(in)
			t.Logf("%-16s %2.0f° to %2.0f°: mean %.1f of %d photos", m, bin[0], bin[1], mean, in)
			if !(mean < last) {
				t.Errorf("%s does not fall from bin to bin", m)
			}
			last = mean
		}
	}
}

// A good photo must pass a gate of 60 for every measure.
func TestGoodPhotosScoreWell(t *testing.T) {
	for _, name := range []string{"faces/a_1.jpg", "faces/b_1.jpg", "faces/b_2.jpg", "faces/c_1.jpg", "golden/g0.png", "golden/g3.png"} {
		f := mustExtract(t, name, Options{Select: SelectOne, Want: WantTemplate | WantQuality})[0]
		for i, v := range f.Quality {
			if !(v >= 60 && v <= 100) {
				t.Errorf("%s: %s is %.1f", name, Measure(i), v)
			}
		}
	}
}

// What is wrong with a photo as it was taken must be seen.
func TestFaultsAreSeen(t *testing.T) {
	for _, c := range []struct {
		file    string
		measure Measure
		lo, hi  float32
	}{
		{"golden/g4.png", EyesOpen, 0, 40},
		{"golden/g0.png", EyesOpen, 90, 100},
		{"golden/g0_rot30.png", PoseRoll, 60, 85},
		{"golden/g5.png", PoseYaw, 50, 75},
		{"golden/g3.png", MouthClosed, 60, 95},
		{"faces/small.jpg", InterEyeDistance, 0, 10},
		{"faces/small.jpg", Sharpness, 0, 40},
		{"faces/group.jpg", SingleFace, 0, 30},
		{"faces/sunglasses.jpg", EyesVisible, 0, 20},
		{"faces/glasses.jpg", EyesVisible, 70, 100},
	} {
		got := mustExtract(t, c.file, Options{Want: WantQuality})[0].Quality[c.measure]
		if !(got >= c.lo && got <= c.hi) {
			t.Errorf("%s: %s is %.1f, want %v to %v", c.file, c.measure, got, c.lo, c.hi)
		}
	}
}

// A face must measure the same whatever the size of the photo, but for what size is about.
func TestQualityIgnoresSize(t *testing.T) {
	m := mustDecode(t, "golden/g3.png")
	want, _, _ := look(t, m, WantTemplate|WantQuality)
	for _, k := range []float64{.7, 1.5, 3} {
		got, _, ok := look(t, resize(m, int(k*float64(m.W)), int(k*float64(m.H))), WantTemplate|WantQuality)
		if !ok {
			t.Fatalf("no face at %v of the size", k)
		}
		for i, v := range got.Quality {
			if off := math.Abs(float64(v - want.Quality[i])); Measure(i) != InterEyeDistance && Measure(i) != Compression && !(off <= 8) {
				t.Errorf("at %v of the size %s is %.1f instead of %.1f", k, Measure(i), v, want.Quality[i])
			}
		}
	}
}

// Without a pose model, an eye model or 68 points the rest must stay as it is.
func TestQualityOfLesserPacks(t *testing.T) {
	x := testExtractor(t)
	m := mustDecode(t, "golden/g1.png")
	p := newPicture(m)
	full, l, _ := look(t, m, WantQuality)
	s := x.stages
	s.pose, s.eyes = nil, nil
	lesser, five := full, *l
	five.all = nil
	var err error
	if lesser.Pose, err = s.findPose(t.Context(), p, detection{}, &five.five); err != nil {
		t.Fatal(err)
	}
	s.judge(p, &five, &lesser, 0)
	for _, angle := range [][2]float32{{lesser.Pose.Yaw, full.Pose.Yaw}, {lesser.Pose.Pitch, full.Pose.Pitch}, {lesser.Pose.Roll, full.Pose.Roll}} {
		if !(math.Abs(float64(angle[0]-angle[1])) < 10) {
			t.Errorf("pose %+v by five points, %+v by the model", lesser.Pose, full.Pose)
		}
	}
	for i, v := range lesser.Quality {
		k := Measure(i)
		if k == EyesOpen || k == MouthClosed {
			if v == v {
				t.Errorf("%s is %v, it can't be known", k, v)
			}
		} else if k != UnifiedScore && !(math.Abs(float64(v-full.Quality[i])) < 15) {
			t.Errorf("%s is %.1f, with all models %.1f", k, v, full.Quality[i])
		}
	}
}

// Whatever the points and the photo, values stay in range: landmarks of a face at the edge lie outside, and those of a
// cartoon anywhere.
func TestMeasureOddFaces(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 7))
	for _, size := range [][2]int{{1, 1}, {1, 400}, {30, 20}, {300, 300}} {
		m := newImage(size[0], size[1])
		for range 60 {
			l, reach := new(landmarks), math.Exp(r.Float64()*10)
			for i := range l {
				l[i] = [2]float64{r.NormFloat64() * reach, r.NormFloat64() * reach}
			}
			f := Face{Box: Box{X2: float32(reach), Y2: float32(reach)}, Pose: Pose{Yaw: float32(r.NormFloat64() * 60)}}
			q := scene{photo: newPicture(m), points: &points{five: l.five(), all: l}, face: &f}.measure()
			q.unify(1)
			for i, v := range q {
				if v == v && !(v >= 0 && v <= 100) {
					t.Fatalf("%s is %v of a photo of %v", Measure(i), v, size)
				}
			}
		}
	}
	same := &points{five: five{{1, 1}, {1, 1}, {1, 1}, {1, 1}, {1, 1}}}
	if q := (scene{photo: newPicture(newImage(9, 9)), points: same, face: new(Face)}).measure(); q[Sharpness] == q[Sharpness] {
		t.Errorf("sharpness of no face is %v", q[Sharpness])
	}
}

// plainScene is a face as ArcFace's template has it, its eyes 35 pixels apart, x pixels further right than there, in a photo of one grey.
func plainScene(x float64) scene {
	m := newImage(alignSize, alignSize)
	for i := range m.Pix {
		m.Pix[i] = 180
	}
	p := &points{five: arcFace}
	for i := range p.five {
		p.five[i][0] += x
	}
	return scene{photo: newPicture(m), points: p, face: &Face{Box: Box{X2: alignSize, Y2: alignSize}}}
}

// Of the turns that the model and the nose tell the smaller counts.
func TestEyeDistance(t *testing.T) {
	s := plainScene(0)
	bare := s.points.five.apparent()
	s.face.Pose.Yaw = 60
	if got := s.eyeDistance(); !(got < 1.1*bare) {
		t.Errorf("%.1f pixels where the model alone sees a turn, apparent %.1f", got, bare)
	}
	s.points.five[2][0] -= .55 * bare
	if yaw := s.points.five.pose().Yaw; !(math.Abs(float64(yaw)) > 40) {
		t.Fatalf("the nose tells a yaw of %v", yaw)
	}
	if got := s.eyeDistance(); !(got > 1.3*bare && got < 2.01*bare) {
		t.Errorf("%.1f pixels where both see a turn, apparent %.1f", got, bare)
	}
	s.face.Pose.Yaw = 0
	if got := s.eyeDistance(); got != bare {
		t.Errorf("%.1f pixels where the nose alone sees a turn, apparent %.1f", got, bare)
	}
}

// What of the face lies outside the photo is black on the crop, and no shade on the face.
func TestMeasuresClipFace(t *testing.T) {
	want := plainScene(0).measure()
	for _, x := range []float64{-40, 40} {
		got := plainScene(x).measure()
		for _, k := range []Measure{LuminanceMean, LuminanceVariance, UnderExposure, DynamicRange} {
			if !(math.Abs(float64(got[k]-want[k])) < 1) {
				t.Errorf("%v pixels to the right %s is %.1f instead of %.1f", x, k, got[k], want[k])
			}
		}
	}
}

// An eye that is hidden counts three times one that is not.
func TestSkinAroundEyes(t *testing.T) {
	for _, c := range []struct {
		hidden []int // columns of eyes that are painted over
		want   float64
	}{{nil, 1}, {[]int{38}, .25}, {[]int{74}, .25}, {[]int{38, 74}, 0}} {
		crop := newImage(alignSize, alignSize)
		for i := range crop.Pix {
			crop.Pix[i] = [3]uint8{200, 150, 120}[i%3]
		}
		for _, x := range c.hidden {
			for y := 40; y < 66; y++ {
				clear(crop.row(y)[3*(x-16) : 3*(x+16)])
			}
		}
		if got := skinAroundEyes(crop); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("eyes hidden at %v: %v, want %v", c.hidden, got, c.want)
		}
	}
}

func measureScene(t testing.TB, name string) scene {
	t.Helper()
	m := mustDecode(t, name)
	f, l, ok := look(t, m, WantQuality)
	if !ok {
		t.Fatal("no face")
	}
	return scene{photo: newPicture(m), points: l, face: &f, crop: f.Crop, eyes: true}
}

func BenchmarkMeasure(b *testing.B) {
	for _, name := range []string{"faces/a_1.jpg", "golden/g3.png"} {
		s := measureScene(b, name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.measure()
			}
		})
	}
}
