package extract

import (
	"slices"
	"testing"
)

// still is a face at x with a score and a template along axis.
func still(x, score float32, axis int) Face {
	f := Face{Box: Box{Y2: 100}, Template: make([]float32, 4), Liveness: verdictOf(score)}
	f.Template[axis] = 1
	for i := range f.Landmarks {
		f.Landmarks[i] = Point{x + float32(i), 5}
	}
	return f
}

func pointers(faces ...Face) (all []*Face) {
	for i := range faces {
		all = append(all, &faces[i])
	}
	return all
}

func TestFuseLivenessRules(t *testing.T) {
	good := float32(.99)
	for name, c := range map[string]struct {
		frames []Face
		want   Verdict
		score  float32
	}{
		"none":               {nil, Uncertain, 0},
		"one":                {[]Face{still(0, good, 0)}, Uncertain, good},
		"a person":           {[]Face{still(0, good, 0), still(1, good, 0), still(2, good, 0)}, Live, good},
		"one bad frame":      {[]Face{still(0, good, 0), still(1, 0, 0), still(2, good, 0)}, Live, good},
		"mostly bad":         {[]Face{still(0, .01, 0), still(1, .02, 0), still(2, good, 0)}, Spoof, .02},
		"even number":        {[]Face{still(0, .01, 0), still(1, good, 0)}, Spoof, .01},
		"two people":         {[]Face{still(0, good, 0), still(1, good, 0), still(2, good, 1)}, Uncertain, good},
		"the same twice":     {[]Face{still(0, good, 0), still(1, good, 0), still(1, good, 0)}, Uncertain, good},
		"the same later":     {[]Face{still(0, good, 0), still(1, good, 0), still(0, good, 0)}, Uncertain, good},
		"a spoof of two":     {[]Face{still(0, .01, 0), still(1, .01, 1)}, Spoof, .01},
		"no template in one": {[]Face{still(0, good, 0), {Box: Box{Y2: 100}, Liveness: verdictOf(good)}}, Uncertain, good},
	} {
		if got := FuseLiveness(pointers(c.frames...), PresentationPolicy{}); got.Verdict != c.want || got.Score != c.score {
			t.Errorf("%s: %+v, want %v at %v", name, got, c.want, c.score)
		}
	}
}

// Two pictures of a person are a sequence; a picture and itself is not, nor one and the same saved again.
func TestFuseLiveness(t *testing.T) {
	extract := func(data []byte) Face {
		faces, err := testExtractor(t).Extract(t.Context(), data, Options{Select: SelectOne, Want: WantTemplate | WantLiveness})
		if err != nil {
			t.Fatal(err)
		}
		return faces[0]
	}
	a, b := extract(testFile(t, "faces/a_1.jpg")), extract(testFile(t, "faces/a_2.jpg"))
	if got := FuseLiveness(pointers(a, b), PresentationPolicy{}); got.Verdict != Live {
		t.Errorf("two pictures: %+v of %v and %v", got, a.Liveness, b.Liveness)
	}
	if got := FuseLiveness(pointers(a, b, b), PresentationPolicy{}); got.Verdict != Uncertain || got.Motion != 0 {
		t.Errorf("the same twice: %+v", got)
	}
	if got := FuseLiveness(pointers(a, extract(testFile(t, "faces/b_1.jpg"))), PresentationPolicy{}); got.Verdict == Live {
		t.Errorf("two people: %+v", got)
	}
	m := mustDecode(t, "faces/a_1.jpg")
	var moved []float32
	for quality := 75; quality <= 95; quality += 5 {
		moved = append(moved, FuseLiveness(pointers(a, extract(encodeJPEG(t, m, quality))), PresentationPolicy{}).Motion)
	}
	t.Logf("saved again: moved by %.5f of the box's height", moved)
	if slices.Max(moved) >= stillBelow {
		t.Errorf("a photo saved again moved by %v, want below %v", moved, stillBelow)
	}
}
