package engine

import (
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// calibrations draws valid curves of 1 to 12 points.
func calibrations() *rapid.Generator[Calibration] {
	return rapid.Custom(func(t *rapid.T) Calibration {
		cosine, exponent := -1.0, 0.0
		var c Calibration
		for range rapid.IntRange(1, 12).Draw(t, "points") {
			cosine += rapid.Float64Range(0.01, (1-cosine)/2).Draw(t, "step")
			exponent += rapid.Float64Range(0.05, 3).Draw(t, "fall")
			if cosine > 0.95 {
				break
			}
			c.Points = append(c.Points, CalibrationPoint{Cosine: cosine, FMR: math.Pow(10, -exponent)})
		}
		if c.Validate() != nil {
			t.Skip("not steep enough")
		}
		return c
	})
}

func TestCalibrationMonotoneAndInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := calibrations().Draw(t, "calibration")
		a := rapid.Float64Range(-1, 1).Draw(t, "a")
		b := rapid.Float64Range(-1, 1).Draw(t, "b")
		if a > b {
			a, b = b, a
		}
		if b-a > 1e-9 && (!(c.FMR(a) > c.FMR(b)) || !(c.Similarity(a) < c.Similarity(b))) {
			t.Fatalf("not monotone: FMR %v %v, similarity %v %v", c.FMR(a), c.FMR(b), c.Similarity(a), c.Similarity(b))
		}
		if got := c.CosineAt(c.FMR(a)); !(math.Abs(got-a) <= 1e-9) {
			t.Fatalf("CosineAt(FMR(%v)) = %v", a, got)
		}
		if got := c.CosineAtSimilarity(c.Similarity(a)); !(math.Abs(got-a) <= 1e-9) {
			t.Fatalf("CosineAtSimilarity(Similarity(%v)) = %v", a, got)
		}
		s := rapid.Float64Range(0, 1).Draw(t, "similarity")
		if got := c.Similarity(c.CosineAtSimilarity(s)); !(math.Abs(got-s) <= 1e-9) {
			t.Fatalf("Similarity(CosineAtSimilarity(%v)) = %v", s, got)
		}
	})
}

func TestCalibrationMeaning(t *testing.T) {
	for _, k := range []struct{ fmr, similarity float64 }{{1, 0}, {1e-3, 0.80}, {1e-4, 0.85}, {1e-6, 0.98}, {math.Pow(10, -1.5), 0.40}, {1e-5, 0.915}} {
		cosine := testCurve.CosineAt(k.fmr)
		if got := testCurve.Similarity(cosine); !(math.Abs(got-k.similarity) <= 1e-12) {
			t.Errorf("similarity at FMR %g is %v, want %v", k.fmr, got, k.similarity)
		}
		if got := testCurve.FMR(cosine); !(math.Abs(got/k.fmr-1) <= 1e-12) {
			t.Errorf("FMR at the cosine of %g is %v", k.fmr, got)
		}
	}
	for _, k := range []struct{ cosine, fmr, similarity float64 }{
		{-1, 1, 0}, {-7, 1, 0}, {1, 1e-16, 1}, {3, 1e-16, 1}, // the last slope is 20 a unit: 1e-6 at 0.5, 1e-16 at 1
		{0.25, math.Pow(10, -2.5), 2.5 / 3 * 0.8}, {0.75, 1e-11, 0.99},
	} {
		if got := testCurve.FMR(k.cosine); !(math.Abs(got/k.fmr-1) <= 1e-9) {
			t.Errorf("FMR(%v) = %v, want %v", k.cosine, got, k.fmr)
		}
		if got := testCurve.Similarity(k.cosine); !(math.Abs(got-k.similarity) <= 1e-9) {
			t.Errorf("Similarity(%v) = %v, want %v", k.cosine, got, k.similarity)
		}
	}
	if got := testCurve.CosineAt(1e-40); got != 1 {
		t.Errorf("a rate beyond the curve is at cosine %v, want 1", got)
	}
}

func TestCalibrationRefuses(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for name, points := range map[string][]CalibrationPoint{
		"none": nil, "nan cosine": {{Cosine: nan, FMR: 1e-7}}, "nan rate": {{Cosine: 0.3, FMR: nan}},
		"infinite": {{Cosine: inf, FMR: 1e-7}}, "zero rate": {{Cosine: 0.3, FMR: 0}}, "rate one": {{Cosine: 0.3, FMR: 1}},
		"flat": {{Cosine: 0.1, FMR: 1e-3}, {Cosine: 0.2, FMR: 1e-3}}, "rising": {{Cosine: 0.1, FMR: 1e-4}, {Cosine: 0.2, FMR: 1e-3}},
		"same cosine": {{Cosine: 0.1, FMR: 1e-3}, {Cosine: 0.1, FMR: 1e-4}}, "at the ends": {{Cosine: -1, FMR: 0.5}, {Cosine: 1, FMR: 1e-9}},
		"never rare": {{Cosine: 0.9, FMR: 1e-1}}, "too steep": {{Cosine: 0.1, FMR: 0.5}, {Cosine: 0.101, FMR: 1e-3}},
	} {
		if err := (Calibration{points}).Validate(); !errors.Is(err, ErrCalibration) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExtrapolated(t *testing.T) {
	measured, marked := func(c float64) CalibrationPoint { return CalibrationPoint{Cosine: c} }, func(c float64) CalibrationPoint {
		return CalibrationPoint{Cosine: c, Extrapolated: true}
	}
	for name, c := range map[string]struct {
		points  []CalibrationPoint
		yes, no []float64
	}{
		"all measured":  {[]CalibrationPoint{measured(0.1), measured(0.4)}, []float64{0.41, 1}, []float64{-1, 0.1, 0.2, 0.4}},
		"a marked tail": {[]CalibrationPoint{measured(0.1), measured(0.4), marked(0.5), marked(0.6)}, []float64{0.41, 0.5, 0.55, 0.6, 0.7, 1}, []float64{-1, 0.1, 0.2, 0.4}},
		"marked within": {[]CalibrationPoint{measured(0.1), marked(0.2), marked(0.3), measured(0.4)}, []float64{0.2, 0.25, 0.3, 0.5}, []float64{-1, 0.1, 0.15, 0.35, 0.4}},
		"all marked":    {[]CalibrationPoint{marked(0.1), marked(0.2)}, []float64{-1, 0.1, 0.15, 0.2, 1}, nil},
	} {
		curve := Calibration{c.points}
		for _, x := range c.yes {
			if !curve.Extrapolated(x) {
				t.Errorf("%s: %v is extrapolated", name, x)
			}
		}
		for _, x := range c.no {
			if curve.Extrapolated(x) {
				t.Errorf("%s: %v is measured", name, x)
			}
		}
	}
}

func TestFPIR(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fpir := math.Pow(10, -rapid.Float64Range(0.01, 12).Draw(t, "exponent"))
		n := rapid.IntRange(1, 100_000_000).Draw(t, "n")
		if got := fpirOf(fmrForFPIR(fpir, n), n); !(math.Abs(got/fpir-1) <= 1e-9) {
			t.Fatalf("fpir %v at n=%d comes back as %v", fpir, n, got)
		}
	})
	if got := fpirOf(1e-12, 1_000_000); !(math.Abs(got/1e-6-1) <= 1e-5) { // naive arithmetic is off by 1e-5 … 1e-4 here
		t.Errorf("fpir of a small rate is %v", got)
	}
	if fmrForFPIR(1, 10) != 1 || fpirOf(1, 3) != 1 || fpirOf(0.5, 0) != 0 || fpirOf(1, 0) != 0 {
		t.Error("the ends are wrong")
	}
}

func TestPolicyValidate(t *testing.T) {
	f := func(v float64) *float64 { return &v }
	for _, p := range []Policy{{}, {FMR: f(1)}, {FMR: f(1e-9)}, {FPIR: f(1)}, {Similarity: f(0)}, {Similarity: f(1)}, {Cosine: f(-1)}, {Cosine: f(1)}} {
		if err := p.Validate(); err != nil {
			t.Error(err)
		}
	}
	nan := math.NaN()
	for _, p := range []Policy{{FMR: f(0)}, {FMR: f(1.1)}, {FMR: f(nan)}, {FPIR: f(0)}, {FPIR: f(-1)}, {FPIR: f(nan)}, {Similarity: f(-0.1)},
		{Similarity: f(1.1)}, {Similarity: f(nan)}, {Cosine: f(-1.1)}, {Cosine: f(nan)}, {Cosine: f(math.Inf(1))}, {FMR: f(0.1), Cosine: f(0.1)}} {
		err := p.Validate()
		if !errors.Is(err, ErrPolicy) || Detail(err) == "" {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
