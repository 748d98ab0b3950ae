package engine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// sphere is a space whose calibration is true: directions in three dimensions that have nothing to do with each other have a cosine
// that is uniform on [−1, 1] (Archimedes), so two strangers reach c at the rate (1 − c)/2. The points are so dense that between
// them the curve is right within a thousandth.
func sphere() Space {
	var c Calibration
	for fmr := 0.95; fmr > 1e-7; fmr /= 1.1 {
		c.Points = append(c.Points, CalibrationPoint{Cosine: 1 - 2*fmr, FMR: fmr})
	}
	return Space{ID: "sphere-3", Dim: 3, Calibration: c}
}

// TestVerifyKeepsItsRate counts strangers who pass verifications: as many as the policy says, or fewer, however many templates a person
// has and however alike they are, and the rate that is told of a score is as true as that.
func TestVerifyKeepsItsRate(t *testing.T) {
	const rate, people = 0.04, 500
	asks := shorter(40, 20) // of each person
	rng := newRand(t)
	c := testConfig(vfs.NewMem())
	c.Spaces, c.Audit = []Space{sphere()}, AuditWrites
	e := open(t, c)
	for _, alike := range []struct {
		name string
		near float64 // how far a person's templates are from the first; 0: they are it
		want func(n float64) float64
	}{
		{"independent", math.Inf(1), func(n float64) float64 { return 1 - math.Pow(1-rate/n, n) }},
		{"photos of one face", 0.1, nil},
		{"copies", 0, func(n float64) float64 { return rate / n }},
	} {
		for _, n := range []int{1, 2, 5, MaxTemplates} {
			t.Run(fmt.Sprintf("%s/%d", alike.name, n), func(t *testing.T) {
				gallery := fmt.Sprintf("%.3s-%d", alike.name, n)
				mustGallery(t, e, "t", gallery)
				var passed, fpir float64
				told := map[float64]float64{0.005: 0, 0.02: 0, rate: 0, 0.1: 0, 0.5: 0} // strangers whose score has this rate, or a lower one
				for i := range people {
					putAlike(t, e, gallery, fmt.Sprint(i), n, alike.near, rng)
					for range asks {
						probe := randomUnit(rng, sphere())
						d := mustDecide(t, e, gallery, fmt.Sprint(i), probe, Policy{FMR: new(rate)})
						if d.Match != (d.FMR <= rate) && !(math.Abs(d.FMR/rate-1) <= 1e-9) {
							t.Fatalf("at FMR %v: %+v", rate, d)
						}
						passed += float64(bit(d.Match))
						fpir += float64(bit(mustDecide(t, e, gallery, fmt.Sprint(i), probe, Policy{FPIR: new(rate)}).Match))
						for x := range told {
							told[x] += float64(bit(d.FMR <= x))
						}
					}
				}
				asked := float64(people * asks)
				t.Logf("%.0f of %.0f strangers passed at FMR %v, %.0f at FPIR", passed, asked, rate, fpir)
				// A person's strangers are no independent draws, for the caps of their templates may overlap; six deviations have room for that.
				if alike.want != nil {
					checkCount(t, passed, asked, alike.want(float64(n)))
				}
				told[rate], told[rate+1e-9] = passed, fpir
				for x, count := range told {
					if most := asked*x + 6*math.Sqrt(asked*x); count > most {
						t.Errorf("%.0f of %.0f strangers where the rate is %v", count, asked, x)
					}
				}
			})
		}
	}
}

// checkCount holds a count of asked events against their probability, at six deviations.
func checkCount(t *testing.T, count, asked, p float64) {
	t.Helper()
	if want, off := asked*p, 6*math.Sqrt(asked*p*(1-p)); !(math.Abs(count-want) <= off) {
		t.Errorf("%.0f of %.0f, want %.0f ± %.0f", count, asked, want, off)
	}
}

// putAlike enrols a person with n templates, random ones or so near to the first.
func putAlike(t *testing.T, e *Engine, gallery, id string, n int, near float64, rng *rand.Rand) {
	t.Helper()
	all := []Template{randomUnit(rng, sphere())}
	for len(all) < n {
		x := randomUnit(rng, sphere())
		if !math.IsInf(near, 1) {
			first, err := unitVector(Space{ID: x.Space, Dim: 3}, all[0].Vector)
			if err != nil {
				t.Fatal(err)
			}
			for i := range x.Vector {
				x.Vector[i] = first[i] + float32(near)*x.Vector[i]
			}
		}
		all = append(all, x)
	}
	if _, _, err := e.PutPerson(t.Context(), "t", gallery, id, PersonSpec{Templates: all}); err != nil {
		t.Fatal(err)
	}
}

func mustDecide(t testing.TB, e *Engine, gallery, id string, probe Template, p Policy) Decision {
	t.Helper()
	d, err := e.Verify(t.Context(), "t", gallery, id, probe, p)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestVerifyPolicies: FMR and FPIR are of the person; a score that somebody states is of the best comparison; a rate of 1 lets everybody
// through; what identify, duplicates and compare say of one score does not depend on the other templates.
func TestVerifyPolicies(t *testing.T) {
	e := openMem(t)
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Policy: Policy{FMR: new(1e-4)}}); err != nil {
		t.Fatal(err)
	}
	put := func(id string, n int) {
		spec := PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}
		for len(spec.Templates) < n {
			spec.Templates = append(spec.Templates, template(0, 0, 1, 0))
		}
		if _, _, err := e.PutPerson(t.Context(), "t", "g", id, spec); err != nil {
			t.Fatal(err)
		}
	}
	put("one", 1)
	put("five", 5)
	// A score whose own rate is between FMR 1e-4/5 and 1e-4.
	cosine := testCurve.CosineAt(5e-5)
	probe := template(float32(cosine), float32(math.Sqrt(1-cosine*cosine)), 0, 0)
	own := testCurve.FMR(cosine)
	near := func(got, want float64) bool { return math.Abs(got/want-1) <= 1e-4 } // of a float32 cosine
	for _, c := range []struct {
		p                   Policy
		one, five           bool
		threshold, ofPerson float64
	}{
		{Policy{}, true, false, testCurve.CosineAt(1e-4), testCurve.CosineAt(2e-5)}, // the gallery's
		{Policy{FMR: new(1e-4)}, true, false, testCurve.CosineAt(1e-4), testCurve.CosineAt(2e-5)},
		{Policy{FMR: new(3e-4)}, true, true, testCurve.CosineAt(3e-4), testCurve.CosineAt(6e-5)},
		{Policy{FPIR: new(1e-4)}, true, false, testCurve.CosineAt(1e-4), testCurve.CosineAt(fmrForFPIR(1e-4, 5))},
		{Policy{Cosine: new(0.39)}, true, true, 0.39, 0.39},
		{Policy{Similarity: new(0.85)}, true, true, testCurve.CosineAtSimilarity(0.85), testCurve.CosineAtSimilarity(0.85)},
		{Policy{FMR: new(1.0)}, true, true, -1, -1},
		{Policy{FPIR: new(1.0)}, true, true, -1, -1},
	} {
		one, five := mustDecide(t, e, "g", "one", probe, c.p), mustDecide(t, e, "g", "five", probe, c.p)
		if one.Match != c.one || five.Match != c.five || one.Threshold != c.threshold || five.Threshold != c.ofPerson {
			t.Errorf("%+v: %+v and %+v, want thresholds %v and %v", auditPolicyOf(c.p), one, five, c.threshold, c.ofPerson)
		}
		if !near(one.FMR, own) || !near(five.FMR, 5*own) || one.Similarity != five.Similarity || one.Cosine != five.Cosine {
			t.Errorf("%+v: %+v and %+v, want rates %v and %v", auditPolicyOf(c.p), one, five, own, 5*own)
		}
	}
	if d := mustDecide(t, e, "g", "five", template(-1, 0, -1, 0), Policy{FMR: new(0.99)}); d.FMR != 1 || d.Match {
		t.Errorf("%+v: a rate is 1 at most", d)
	}
	found, err := e.Identify(t.Context(), "t", "g", probe, IdentifyOptions{Policy: Policy{FMR: new(1e-4)}})
	if err != nil || len(found.Candidates) != 2 || found.Searched != 6 || found.Threshold != testCurve.CosineAt(1e-4) {
		t.Fatalf("%+v, %v: FMR is of one template where many are searched", found, err)
	}
	for _, x := range found.Candidates {
		if !near(x.FMR, own) || !near(x.FPIR, fpirOf(own, 6)) {
			t.Errorf("%+v, want %v and %v", x, own, fpirOf(own, 6))
		}
	}
	d, err := e.Compare(t.Context(), template(1, 0, 0, 0), probe, Policy{})
	if err != nil || !d.Match || !near(d.FMR, own) {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestAttemptsOfSeveral: a score that is good enough for one template, and not for the best of five, is a failure (E1).
func TestAttemptsOfSeveral(t *testing.T) {
	e, _ := attemptEngine(t, Attempts{Failures: 2, Window: time.Minute})
	put := PersonSpec{Templates: []Template{template(1, 0, 0, 0), template(0, 0, 1, 0), template(0, 0, 1, 0), template(0, 0, 1, 0), template(0, 0, 1, 0)}}
	if _, _, err := e.PutPerson(t.Context(), "t", "g", "five", put); err != nil {
		t.Fatal(err)
	}
	cosine := testCurve.CosineAt(5e-5)
	probe := template(float32(cosine), float32(math.Sqrt(1-cosine*cosine)), 0, 0)
	for range 3 {
		mustDecide(t, e, "g", "ann", probe, Policy{})
	}
	for range 2 {
		mustDecide(t, e, "g", "five", probe, Policy{Similarity: new(0.0)})
	}
	_, err := e.Verify(t.Context(), "t", "g", "five", probe, Policy{})
	wantErr(t, err, ErrAttempts)
}
