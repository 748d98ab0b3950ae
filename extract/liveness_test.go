package extract

import (
	"flag"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mien/extract/pack"
)

var spoofFlag = flag.String("spoof", filepath.Join("..", "..", "shared", "faces", "spoof", "images", "sample"),
	"folder with the three sample photos of minivision's Silent-Face-Anti-Spoofing")

// livenessAt is the model's score at each scale, for the best face of a file.
func livenessAt(t testing.TB, data []byte, scales ...float64) []float32 {
	t.Helper()
	x, done := atWork(t)
	defer done()
	s := &x.stages
	m, err := decode(t.Context(), data, testMaxPixels)
	if err != nil {
		t.Fatal(err)
	}
	p := newPicture(m)
	found, err := s.detect(t.Context(), p)
	if err != nil || len(found) == 0 {
		t.Fatalf("%d faces, %v", len(found), err)
	}
	scores, err := s.livenessAt(t.Context(), p, found[0], scales)
	if err != nil {
		t.Fatal(err)
	}
	return scores
}

// The tolerance is that of the pack's specification; the model is touchy close up.
func TestLivenessGolden(t *testing.T) {
	for name, faces := range golden(t) {
		want := faces[0].Liveness
		got := livenessAt(t, testFile(t, "golden/"+name+".png"), 1, 2.7)
		t.Logf("%s: %.3f and %.3f, reference %.3f and %.3f", name, got[0], got[1], want.Face, want.Context)
		if !(math.Abs(float64(got[0])-want.Face) <= .05) || !(math.Abs(float64(got[1])-want.Context) <= .05) {
			t.Errorf("%s: %.3f and %.3f, want %.3f and %.3f", name, got[0], got[1], want.Face, want.Context)
		}
	}
}

// What the mean of both scales is on one person before a camera and two replays, by the pack's reference pipeline.
func TestLivenessSamples(t *testing.T) {
	if _, err := os.Stat(*spoofFlag); err != nil {
		t.Skipf("skipped: no sample photos at %s (-spoof DIR)", *spoofFlag)
	}
	for name, want := range map[string]float64{"image_T1.jpg": .78, "image_F1.jpg": 0, "image_F2.jpg": .030} {
		data, err := os.ReadFile(filepath.Join(*spoofFlag, name))
		if err != nil {
			t.Fatal(err)
		}
		s := livenessAt(t, data, 1, 2.7)
		if got := float64(s[0]+s[1]) / 2; !(math.Abs(got-want) <= .05) {
			t.Errorf("%s: %.3f, want %.3f", name, got, want)
		} else {
			t.Logf("%s: %.3f and %.3f, mean %.3f, %+v", name, s[0], s[1], got, verdictOf(livenessScore(s)))
		}
		if v := verdictOf(livenessScore(s)).Verdict; (v == Live) != (want > .5) || (v == Spoof) != (want < .5) {
			t.Errorf("%s: %s", name, v)
		}
	}
}

func TestLivenessScore(t *testing.T) {
	for _, c := range []struct {
		p    []float32
		want float64
		v    Verdict
	}{
		{[]float32{.5, .5}, .5, Uncertain}, {[]float32{1, 1}, 1, Live}, {[]float32{0, 0}, 0, Spoof},
		{[]float32{0, 1}, .5, Uncertain}, // neither has the last word
		{[]float32{.99, .001}, .2393, Uncertain}, {[]float32{.9, .0001}, .0291, Spoof}, {[]float32{.999, .3}, .9539, Live},
	} {
		got := verdictOf(livenessScore(c.p))
		if !(math.Abs(float64(got.Score)-c.want) <= 1e-3) || got.Verdict != c.v {
			t.Errorf("%v: %+v, want %v and %s", c.p, got, c.want, c.v)
		}
	}
}

// Liveness comes only when it is asked for, alone or with the template.
func TestWantLiveness(t *testing.T) {
	for want, has := range map[Want][2]bool{0: {true, false}, WantTemplate: {true, false}, WantLiveness: {false, true}, WantTemplate | WantLiveness: {true, true}} {
		f := mustExtract(t, "golden/g4.png", Options{Want: want})[0]
		if got := [2]bool{f.Template != nil, f.Liveness.Verdict != ""}; got != has {
			t.Errorf("want %d: template and liveness are there: %v, want %v", want, got, has)
		}
	}
}

// A pack without the model still extracts; its faces are uncertain.
func TestPackWithoutLiveness(t *testing.T) {
	m := *testExtractor(t).manifest
	m.Files = maps.Clone(m.Files)
	delete(m.Files, pack.Liveness)
	x := &Extractor{config: testExtractor(t).config, manifest: &m}
	if err := x.start(); err != nil {
		t.Fatal(err)
	}
	defer x.stages.close()
	if err := x.SelfTest(t.Context()); err != nil {
		t.Error(err)
	}
	faces, err := x.Extract(t.Context(), testFile(t, "faces/a_1.jpg"), Options{Want: WantLiveness})
	if err != nil || len(faces) != 1 || faces[0].Liveness != (Liveness{Verdict: Uncertain}) {
		t.Errorf("%+v, %v", faces, err)
	}
}

// The square stays inside the photo, whatever the face: the corners of the crop map back to pixels of the photo.
func TestInsideCrop(t *testing.T) {
	for _, d := range []detection{
		{x1: 10, y1: 10, x2: 50, y2: 60}, {x1: -30, y1: -50, x2: 40, y2: 20}, {x1: 60, y1: 80, x2: 130, y2: 190}, {x1: -500, y1: -500, x2: 900, y2: 900},
	} {
		for _, k := range []float64{1, 2.7} {
			back := d.insideCrop(k, 101, 140).inverse()
			x0, y0 := back.apply(-.5, -.5)
			x1, y1 := back.apply(livenessSize-.5, livenessSize-.5)
			if x0 < -.5-1e-9 || y0 < -.5-1e-9 || x1 > 100.5+1e-9 || y1 > 139.5+1e-9 {
				t.Errorf("%+v at %v: (%.2f, %.2f) to (%.2f, %.2f)", d, k, x0, y0, x1, y1)
			}
			if side := min(k*d.height(), 100); math.Abs(x1-x0-side) > 1e-6 || math.Abs(y1-y0-side) > 1e-6 {
				t.Errorf("%+v at %v: %v × %v, want a square of %v", d, k, x1-x0, y1-y0, side)
			}
		}
	}
}
