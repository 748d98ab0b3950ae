package evaluate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mien/engine"

	"pgregory.net/rapid"
)

// TestDiscard: of twenty mated pairs, four fail at FMR 1e-1.
func TestDiscard(t *testing.T) {
	var mated []float64
	for i := range 20 {
		mated = append(mated, .9-.001*float64(i))
		if i%5 == 0 {
			mated[i] = .05
		}
	}
	s := pairsOf(mated, stepsOf(100, .005))
	s.Measures = []string{"perfect", "reversed", "constant", "coarse", "missing"}
	for i := range s.Photos {
		failing := i < 40 && (i/2)%5 == 0
		q := []float32{50, 50, 7, 1, float32(math.NaN())}
		if failing {
			q[0], q[1] = float32(i%2*100), float32(100-i%2) // the lower of both photos counts: 0, and 99
		}
		s.Photos[i].Quality = q
	}
	s.Photos[0].Quality = s.Photos[0].Quality[:4] // shorter lists lack the rest
	s.Photos[38].Quality[3], s.Photos[2].Quality[3] = 0, 0
	r, err := Recognise(t.Context(), s, Config{Targets: []float64{.1}, DiscardFMR: .1})
	if err != nil {
		t.Fatal(err)
	}
	d := r.Discard
	if d == nil || d.Stated || len(d.Curves) != 3 || fmt.Sprint(d.Constant) != "[constant]" {
		t.Fatalf("%+v", d)
	}
	for i, want := range []struct {
		name             string
		none, ten, fifty float64
	}{{"perfect", .2, 2. / 18, 0}, {"coarse", .2, 4. / 18, 4. / 18}, {"reversed", .2, 4. / 18, .4}} {
		c := d.Curves[i]
		if c.Measure != want.name || c.Pairs != 20 || c.Without != 0 || len(c.FNMR) != 101 {
			t.Fatalf("curve %d: %+v", i, c)
		}
		near(t, c.Measure+", none", c.FNMR[0], want.none, 1e-12)
		near(t, c.Measure+", 10 %", c.FNMR[20], want.ten, 1e-12)
		if want.name != "coarse" {
			near(t, c.Measure+", 50 %", c.FNMR[100], want.fifty, 1e-12)
		}
	}
	near(t, "gain of perfect", d.Curves[0].Gain, 1, 1e-9)
	if g := d.Curves[2].Gain; g > -.4 {
		t.Errorf("gain of reversed: %v", g)
	}
}

// TestDiscardByStated: where an FMR can't be measured, the pack's word for it is taken.
func TestDiscardByStated(t *testing.T) {
	s := pairsOf([]float64{.9, .3}, []float64{.1})
	s.Measures = []string{"m"}
	for i := range s.Photos {
		s.Photos[i].Quality = []float32{float32(i)}
	}
	r, err := Recognise(t.Context(), s, Config{Stated: []CalibrationPoint{{.2, 1e-3, false}, {.4, 1e-5, false}, {.5, 1e-6, false}}})
	if err != nil || r.Discard == nil || !r.Discard.Stated || r.Discard.Threshold != .4 || r.Discard.FMR != 1e-5 || r.Discard.Curves[0].FNMR[0] != .5 {
		t.Errorf("%v, %+v", err, r.Discard)
	}
	if r, err = Recognise(t.Context(), s, Config{}); err != nil || r.Discard != nil {
		t.Errorf("%v, %+v without a threshold", err, r.Discard)
	}
}

// TestDiscardIsBounded: whatever the qualities, FNMR stays a rate and the best area the best.
func TestDiscardIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var steps []step
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			n := rapid.IntRange(1, 9).Draw(t, "pairs")
			steps = append(steps, step{float64(n), float64(rapid.IntRange(0, n).Draw(t, "misses"))})
		}
		var d Discard
		d.curve(steps)
		for i, f := range d.FNMR {
			if !(f >= 0 && f <= 1+1e-9) {
				t.Fatalf("FNMR %v at %d of %v", f, i, steps)
			}
		}
		if d.Best > d.Area+1e-9 || d.Gain > 1+1e-9 {
			t.Fatalf("%+v of %v", d, steps)
		}
	})
}

// openSetOf has everybody's enrolled photo on an axis of its own; a photo is named by its cosines to the axes.
func openSetOf(photos map[string][]map[int]float64, order []string) *Set {
	s := &Set{}
	free := 20
	for _, person := range order {
		for i, at := range photos[person] {
			p := Photo{Person: person, File: fmt.Sprint(person, i), Failure: "no_face"}
			if at != nil {
				p.Failure, p.Template = "", make([]float32, 48)
				rest := 1.0
				for axis, c := range at {
					p.Template[axis] = float32(c)
					rest -= c * c
				}
				p.Template[free] = float32(math.Sqrt(max(rest, 0)))
				free++
			}
			s.Photos = append(s.Photos, p)
		}
	}
	return s
}

// TestOpenSet: three people on axes 0, 1 and 2, four strangers. Mated searches: a scores .9 and .6, b is taken for a,
// c has .5 and a photo without a face. Best scores of strangers: .7, .4, .3, and no face.
func TestOpenSet(t *testing.T) {
	s := openSetOf(map[string][]map[int]float64{
		"a": {{0: 1}, {0: .9}, {0: .6}}, "b": {{1: 1}, {1: .3, 0: .35}}, "c": {{2: 1}, nil, {2: .5}},
		"x": {{0: .7}}, "y": {{1: .4}}, "z": {{2: .3}}, "w": {nil},
	}, []string{"a", "b", "c", "x", "y", "z", "w"})
	r, err := Recognise(t.Context(), s, Config{Galleries: []int{1, 2, 5}, FPIR: []float64{.5, .25, .01}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.OpenSet) != 3 || r.OpenSet[0].Galleries != 3 || r.OpenSet[1].Galleries != 1 || r.OpenSet[2].Gallery != 3 {
		t.Fatalf("%+v", r.OpenSet)
	}
	for i, want := range []struct {
		threshold float64
		fp, fn    int64
	}{{.3, 2, 2}, {.4, 1, 2}, {.7, 0, 4}} {
		p := r.OpenSet[2].Points[i]
		near(t, "threshold", p.Threshold, want.threshold, 1e-6)
		if p.FPIR.Count != want.fp || p.FPIR.Of != 4 || p.FNIR.Count != want.fn || p.FNIR.Of != 5 || !p.Few {
			t.Errorf("%+v, not %+v", p, want)
		}
	}
	if one := r.OpenSet[0].Points[0]; one.FPIR.Of != 3*4+2*3 || one.FNIR.Of != 5 {
		t.Errorf("galleries of one: %+v; each has the strangers and the two others", one)
	}
}

// TestOpenSetKeepsStrangers: where everybody has several photos, a third is not enrolled.
func TestOpenSetKeepsStrangers(t *testing.T) {
	s := &Set{}
	for p := range 9 {
		base := unit(random(t), 32, nil, 1)
		for i := range 2 {
			s.Photos = append(s.Photos, Photo{Person: fmt.Sprint(p), File: fmt.Sprint(p, i), Template: base})
		}
	}
	r, err := Recognise(t.Context(), s, Config{})
	if err != nil || len(r.OpenSet) != 1 || r.OpenSet[0].Gallery != 6 || r.OpenSet[0].Points[0].FPIR.Of != 3 || r.OpenSet[0].Points[0].FNIR.Of != 6 {
		t.Errorf("%v, %+v", err, r.OpenSet)
	}
}

// TestAttacks: ten bona fide photos at .55, .60, … 1, and two species.
func TestAttacks(t *testing.T) {
	shown := []Presentation{{File: "lost.jpg", Failure: "no_face"}}
	verdict := func(score float32) string {
		return map[bool]string{true: "live", false: "uncertain"}[score > .5]
	}
	for i := range 10 {
		score := .55 + .05*float32(i)
		shown = append(shown, Presentation{Score: score, Verdict: verdict(score)})
	}
	for _, score := range []float32{.1, .2, .58, .9} {
		shown = append(shown, Presentation{Species: "print", Score: score, Verdict: verdict(score)})
	}
	shown = append(shown, Presentation{Species: "screen", Score: .7, Verdict: "live"}, Presentation{Species: "screen", File: "s.jpg", Failure: "no_face"})
	r, err := Attacks(shown, [][]string{{"live"}, {"live", "uncertain"}}, []float64{.01, .25})
	if err != nil {
		t.Fatal(err)
	}
	if r.BonaFide != 11 || r.Attacks != 6 || r.BPNRR.Count != 1 || r.BPNRR.Of != 11 || len(r.Failed) != 2 {
		t.Fatalf("%+v", r)
	}
	for i, want := range []struct {
		threshold     float64
		rejected      int64
		print, screen int64
		worst         string
	}{{0, 0, 2, 1, "screen"}, {0, 0, 4, 1, "print"}, {.55, 0, 2, 1, "screen"}, {.65, 2, 1, 1, "screen"}} {
		p := r.Points[i]
		near(t, "threshold", p.Threshold, want.threshold, 1e-6)
		if p.BPCER.Count != want.rejected || p.BPCER.Of != 10 || p.Worst != want.worst || p.worst().Species != want.worst {
			t.Errorf("%+v, not %+v", p, want)
		}
		if a, b := p.Species[0], p.Species[1]; a.Species != "print" || a.APCER.Count != want.print || a.APCER.Of != 4 || a.APNRR.Count != 0 ||
			b.APCER.Count != want.screen || b.APCER.Of != 1 || b.APNRR.Count != 1 || b.APNRR.Of != 2 {
			t.Errorf("%+v, not %+v", p.Species, want)
		}
	}
	for text, shown := range map[string][]Presentation{
		"0 bona fide photos, of which 0 were judged, and 1 attacks": {{Species: "print"}},
		"1 bona fide photos, of which 1 were judged, and 0 attacks": {{}},
		"1 bona fide photos, of which 0 were judged, and 1 attacks": {{Failure: "no_face"}, {Species: "print"}},
	} {
		if _, err := Attacks(shown, nil, nil); !errors.Is(err, ErrNoAttacks) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v, not %q", err, text)
		}
	}
}

// gaussian makes the scores of n strangers, normal with mean 0 and standard deviation 0.1, and of label errors at 0.8. The
// seed is fixed: what is tested are bounds of a random quantity.
func gaussian(seed uint64, n, labelErrors int) *scores {
	r := rand.New(rand.NewPCG(seed, 0))
	c := &scores{g: &gallery{photos: make([]*Photo, 5), end: make([]int32, 3)}, nonMate: newHistogram(), mated: newHistogram()}
	for range n {
		c.nonMate.add([]float32{float32(.1 * r.NormFloat64())})
	}
	for range labelErrors {
		c.nonMate.add([]float32{.8})
	}
	c.mated.add([]float32{.7})
	return c
}

func tailsOf(c *scores) *rates { return &rates{nonMate: c.nonMate.tail(), mated: c.mated.tail()} }

// TestCalibrationOfKnownTail: the fit of 3,000,000 normal scores is right where they are too few to count, and a few label
// errors don't bend it much.
func TestCalibrationOfKnownTail(t *testing.T) {
	for seed := range uint64(6) {
		labelErrors := int(seed%2) * 30
		c := gaussian(seed, 3_000_000, labelErrors)
		k := calibrate(c, tailsOf(c))
		if k == nil {
			t.Fatal("no fit")
		}
		measured := len(k.Points)
		for i, p := range k.Points {
			truth := math.Erfc(p.Cosine*10/math.Sqrt2) / 2
			above, below := 1.2, 1.2
			switch {
			case p.Extrapolated: // label errors lift the curve; what must not be is a rate that is stated too low
				above, below = 20, 2.5
				measured = min(measured, i)
			case p.FMR < 1e-4: // few counts
				above, below = 3, 2
			}
			if ratio := p.FMR / truth; ratio > above || ratio < 1/below {
				t.Errorf("%d label errors: FMR %v at %v, where it is %v", labelErrors, p.FMR, p.Cosine, truth)
			}
			if p.Extrapolated != (i >= measured) {
				t.Errorf("%v is measured, but not %v", p, k.Points[measured])
			}
		}
		if last := k.last(); last.FMR > 1e-4 || k.Points[len(k.Points)-1].FMR > 2e-9 {
			t.Errorf("measured down to %v, extrapolated to %v", last, k.Points[len(k.Points)-1])
		}
		if math.Abs(k.Excess-float64(labelErrors)) > 25 {
			t.Errorf("%v more than expected, not %d", k.Excess, labelErrors)
		}
		decides(t, k)
	}
}

// decides holds the points to what the engine asks of a calibration.
func decides(t *testing.T, k *Calibration) {
	t.Helper()
	var c engine.Calibration
	for _, p := range k.Points {
		c.Points = append(c.Points, engine.CalibrationPoint(p))
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if last := k.last(); c.Extrapolated(last.Cosine) || !c.Extrapolated(last.Cosine+.01) {
		t.Errorf("the engine takes %v to be extrapolated, or what is beyond not", last)
	}
}

// TestCalibrationDoubts: an operating point that label errors set says so.
func TestCalibrationDoubts(t *testing.T) {
	c := gaussian(1, 1_000_000, 40)
	r := tailsOf(c)
	r.byPerson = make([]float64, bins+1)
	points := r.points([]float64{1e-2, 1e-3, 4.5e-5})
	calibrate(c, r).doubt(points)
	if points[0].Doubt() != "" || points[1].Suspect || points[2].Doubt() != "labels" {
		t.Errorf("%+v", points)
	}
}

func TestNoCalibration(t *testing.T) {
	if c := gaussian(1, 90_000, 0); calibrate(c, tailsOf(c)) != nil {
		t.Error("a fit of 90,000 comparisons")
	}
	constant := &scores{g: &gallery{}, nonMate: newHistogram(), mated: newHistogram()}
	for range 200_000 {
		constant.nonMate.add([]float32{.25})
	}
	if k := calibrate(constant, tailsOf(constant)); k != nil {
		t.Errorf("a fit of one score: %+v", k)
	}
}
