package evaluate

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var seedFlag = flag.Uint64("seed", 0, "seed of random tests; 0 draws one")

// random is a generator whose seed is logged.
func random(t *testing.T) *rand.Rand {
	seed := cmp.Or(*seedFlag, rand.Uint64())
	t.Logf("-seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// pairsOf is a set in which each comparison is of two photos of its own, with these cosines: mated ones of person m0, m1, …,
// the others of two strangers each.
func pairsOf(mated, nonMated []float64) *Set {
	s := &Set{Pairs: []Pair{}}
	add := func(person, other string, cosine float64) {
		n := len(s.Photos)
		s.Photos = append(s.Photos,
			Photo{Person: person, File: person + "/1.jpg", Template: []float32{1, 0}},
			Photo{Person: other, File: other + "/2.jpg", Template: []float32{float32(cosine), float32(math.Sqrt(1 - cosine*cosine))}})
		s.Pairs = append(s.Pairs, Pair{A: n, B: n + 1, Same: person == other})
	}
	for i, c := range mated {
		add(fmt.Sprint("m", i), fmt.Sprint("m", i), c)
	}
	for i, c := range nonMated {
		add(fmt.Sprint("a", i), fmt.Sprint("b", i), c)
	}
	return s
}

// steps are n numbers from 0 on.
func stepsOf(n int, step float64) (list []float64) {
	for i := range n {
		list = append(list, float64(i)*step)
	}
	return list
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if !(math.Abs(got-want) <= within) {
		t.Errorf("%s: %v, not %v", what, got, want)
	}
}

// TestByHand: 100 strangers at 0, 0.005, …, 0.495.
func TestByHand(t *testing.T) {
	s := pairsOf([]float64{.9, .8, .7, .6, .55, .5, .49, .45, .2, .1}, stepsOf(100, .005))
	r, err := Recognise(t.Context(), s, Config{Targets: []float64{1e-1, 1e-2, 1e-3}})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Points) != 2 {
		t.Fatalf("%d points: 1e-3 of 100 comparisons is none", len(r.Points))
	}
	for i, want := range []struct {
		threshold   float64
		fmr, misses int64
	}{{.445, 10, 2}, {.49, 1, 4}} {
		p := r.Points[i]
		near(t, "threshold", p.Threshold, want.threshold, 2e-5)
		if p.FMR.Count != want.fmr || p.FMR.Of != 100 || p.FNMR.Count != want.misses || p.FNMR.Of != 10 {
			t.Errorf("at %v: FMR %v, FNMR %v, not %d and %d", p.Target, p.FMR, p.FNMR, want.fmr, want.misses)
		}
		near(t, "mean over people", p.FNMRByPerson, p.FNMR.Rate, 1e-12)
	}
	if r.Points[0].Few || !r.Points[1].Few {
		t.Errorf("few: %v of ten false matches, %v of one", r.Points[0].Few, r.Points[1].Few)
	}
	// Both rates are 0.2 just above 0.395, where 20 of 100 and 2 of 10 err.
	near(t, "EER", r.EER.Rate, .2, 1e-9)
	if p := r.EER.Threshold; p < .394 || p > .401 {
		t.Errorf("EER at %v", p)
	}
	if r.Mated.N != 10 || r.NonMated.N != 100 || r.People != 210 || r.OpenSet != nil || r.Calibration != nil || r.Discard != nil {
		t.Errorf("%d mated, %d not, %d people, %v, %v, %v", r.Mated.N, r.NonMated.N, r.People, r.OpenSet, r.Calibration, r.Discard)
	}
	if l := r.HighestNonMated[0]; l.A != "a99/1.jpg" || math.Abs(l.Cosine-.495) > 1e-6 {
		t.Errorf("highest of two people: %v", l)
	}
	if l := r.LowestMated[0]; l.B != "m9/2.jpg" || math.Abs(l.Cosine-.1) > 1e-6 {
		t.Errorf("lowest of one: %v", l)
	}
}

// TestClopperPearson: bounds from the tables of the beta distribution, and 1 − 0.025^(1/n) for none of n.
func TestClopperPearson(t *testing.T) {
	for _, c := range []struct {
		k, n      int64
		low, high float64
	}{{0, 10, 0, .30850}, {4, 10, .12155, .73762}, {10, 10, .69150, 1}, {0, 87_307_271, 0, 4.2253e-8}, {873, 87_307_271, 9.3471e-6, 1.0686e-5}, {0, 0, 0, 1}} {
		r := newRate(c.k, c.n)
		near(t, fmt.Sprint("low of ", c), r.Low, c.low, 1e-4*c.low)
		near(t, fmt.Sprint("high of ", c), r.High, c.high, 1e-4*c.high)
	}
}

// TestRatesFall: on any scores FMR falls and FNMR rises from 1 and 0, and a threshold is the least that keeps its target.
func TestRatesFall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		score := rapid.Float64Range(-1, 1)
		c, err := compare(t.Context(), pairsOf(rapid.SliceOfN(score, 1, 30).Draw(t, "mated"), rapid.SliceOfN(score, 1, 60).Draw(t, "others")), nil)
		if err != nil {
			t.Fatal(err)
		}
		r := newRates(c)
		det := r.det()
		if first, last := det[0], det[len(det)-1]; first.FMR != 1 || first.FNMR != 0 || first.FNMRByPerson != 0 || last.FMR != 0 {
			t.Fatalf("ends: %+v, %+v", first, last)
		}
		for i, d := range det[1:] {
			if before := det[i]; d.Threshold <= before.Threshold || d.FMR >= before.FMR || d.FNMR < before.FNMR || d.FNMR > 1 || d.FNMRByPerson > 1+1e-9 {
				t.Fatalf("%+v after %+v", d, before)
			}
		}
		target := rapid.Float64Range(1e-3, .999).Draw(t, "target")
		i := r.binAt(target)
		if !(r.fmr(i) <= target+1e-9) || i > 0 && r.fmr(i-1) <= target {
			t.Fatalf("target %v: %v, and %v at the threshold before", target, r.fmr(i), r.fmr(max(i-1, 0)))
		}
	})
}

// unit is a random template of dim numbers near base (nil: anywhere).
func unit(r *rand.Rand, dim int, base []float32, noise float64) []float32 {
	v := make([]float32, dim)
	for i := range v {
		if v[i] = float32(noise * r.NormFloat64()); base != nil {
			v[i] += base[i]
		}
	}
	n := float32(norm(v))
	for i := range v {
		v[i] /= n
	}
	return v
}

// people is a set of people with 1 to 4 photos each, in a random order.
func people(r *rand.Rand, count, dim int) *Set {
	s := &Set{}
	for p := range count {
		base := unit(r, dim, nil, 1)
		for i := range 1 + r.IntN(4) {
			name := fmt.Sprintf("p%04d", p)
			s.Photos = append(s.Photos, Photo{Person: name, File: fmt.Sprintf("%s/%d.jpg", name, i), Template: unit(r, dim, base, .1)})
		}
	}
	r.Shuffle(len(s.Photos), func(i, j int) { s.Photos[i], s.Photos[j] = s.Photos[j], s.Photos[i] })
	return s
}

// TestEveryTwo: every pair is compared once, as a loop does it.
func TestEveryTwo(t *testing.T) {
	s := people(random(t), 450, 20)
	s.Photos[3].Failure, s.Photos[3].Template = "no_face", nil
	calls := 0
	c, err := compare(t.Context(), s, func(done, total int) { calls++ })
	if err != nil {
		t.Fatal(err)
	}
	var mated, others []float64
	for i, a := range s.Photos {
		for _, b := range s.Photos[:i] {
			if a.Template == nil || b.Template == nil {
				continue
			}
			sum := 0.0
			for k := range a.Template {
				sum += float64(a.Template[k]) * float64(b.Template[k])
			}
			if a.Person == b.Person {
				mated = append(mated, sum)
			} else {
				others = append(others, sum)
			}
		}
	}
	if calls == 0 || len(c.g.photos) != len(s.Photos)-1 {
		t.Errorf("%d calls, %d of %d photos", calls, len(c.g.photos), len(s.Photos))
	}
	same(t, "mated", c.mated, mated)
	same(t, "non-mated", c.nonMate, others)
	slices.Sort(others)
	slices.Reverse(others)
	for i, l := range c.highest[:100] {
		near(t, "highest", float64(l.score), others[i], 1e-6)
		if c.g.photos[l.a].Person == c.g.photos[l.b].Person {
			t.Errorf("%v is of one person", l)
		}
	}
}

func same(t *testing.T, what string, h *histogram, scores []float64) {
	t.Helper()
	slices.Sort(scores)
	d, n, sum := h.distribution(), len(scores), 0.0
	for _, s := range scores {
		sum += s
	}
	sq := 0.0
	for _, s := range scores {
		sq += (s - sum/float64(n)) * (s - sum/float64(n))
	}
	if d.N != int64(n) {
		t.Fatalf("%s: %d comparisons, not %d", what, d.N, n)
	}
	near(t, what+" mean", d.Mean, sum/float64(n), 1e-6)
	near(t, what+" sd", d.SD, math.Sqrt(sq/float64(n-1)), 1e-5)
	near(t, what+" min", d.Min, scores[0], 1e-6)
	near(t, what+" max", d.Max, scores[n-1], 1e-6)
	for _, q := range d.Quantiles {
		near(t, fmt.Sprint(what, " quantile ", q.Q), q.Score, scores[max(int(math.Ceil(q.Q*float64(n))), 1)-1], 2e-5)
	}
	bars := int64(0)
	for _, b := range d.Histogram {
		bars += b.Count
	}
	if bars != d.N {
		t.Errorf("%s: %d in bars of %d", what, bars, d.N)
	}
}

func TestBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := best{keep: rapid.IntRange(1, 5).Draw(t, "keep"), order: higher}
		scores := rapid.SliceOfN(rapid.Float32Range(-1, 1), 0, 40).Draw(t, "scores")
		for i, s := range scores {
			b.add(scored{a: int32(i), score: s})
		}
		b.trim()
		slices.SortFunc(scores, func(x, y float32) int { return cmp.Compare(y, x) })
		for i, s := range scores[:min(len(scores), b.keep)] {
			if i >= len(b.list) || b.list[i].score != s {
				t.Fatalf("%v, not %v", b.list, scores)
			}
		}
		if len(b.list) > b.keep || b.full && b.worst != b.list[b.keep-1] {
			t.Fatalf("%d kept, worst %v", len(b.list), b.worst)
		}
	})
}

// TestPeopleBounds: twenty people of whom four always fail are no 3,800 trials.
func TestPeopleBounds(t *testing.T) {
	s := &Set{}
	r := random(t)
	for p := range 20 {
		base := unit(r, 64, nil, 1)
		for range 20 {
			v := unit(r, 64, base, .01)
			if p < 4 {
				v = unit(r, 64, nil, 1) // every photo is of somebody else, it seems
			}
			s.Photos = append(s.Photos, Photo{Person: fmt.Sprint(p), File: "x", Template: v})
		}
	}
	e, err := Recognise(t.Context(), s, Config{Targets: []float64{1e-2}})
	if err != nil {
		t.Fatal(err)
	}
	p := e.Points[0]
	if p.FNMR.People == nil || p.FMR.People == nil {
		t.Fatalf("no bounds: %+v", p)
	}
	if i := *p.FNMR.People; i.Low > .1 || i.High < .3 || p.FNMR.Low < .17 || p.FNMR.High > .23 {
		t.Errorf("FNMR %v: %v over people, %v to %v over comparisons", p.FNMR, i, p.FNMR.Low, p.FNMR.High)
	}
	if i := *p.FMR.People; i.Low > p.FMR.Low || i.High < p.FMR.High {
		t.Errorf("FMR %v: %v over people, %v to %v over comparisons", p.FMR, i, p.FMR.Low, p.FMR.High)
	}
	again, err := Recognise(t.Context(), s, Config{Targets: []float64{1e-2}})
	if err != nil || *again.Points[0].FMR.People != *p.FMR.People {
		t.Errorf("the same seed draws other people: %v, %v", err, again.Points[0].FMR.People)
	}
}

// TestByPerson: six misses of one person and one match of another are an FNMR of 6/7 by comparisons, 1/2 by people.
func TestByPerson(t *testing.T) {
	s := &Set{}
	axis := func(i int) []float32 {
		v := make([]float32, 8)
		v[i] = 1
		return v
	}
	for i := range 4 {
		s.Photos = append(s.Photos, Photo{Person: "a", Template: axis(i)})
	}
	s.Photos = append(s.Photos, Photo{Person: "b", Template: axis(5)}, Photo{Person: "b", Template: axis(5)})
	c, err := compare(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := newRates(c).at(binOf(.5))
	near(t, "by comparisons", p.FNMR.Rate, 6./7, 1e-12)
	near(t, "by people", p.FNMRByPerson, .5, 1e-12)
}

func TestRefusals(t *testing.T) {
	one := func(person string, v ...float32) Photo {
		return Photo{Person: person, File: person + ".jpg", Template: v}
	}
	for _, c := range []struct {
		photos []Photo
		err    error
		text   string
	}{
		{nil, ErrNoFaces, "0 photos"},
		{[]Photo{{Failure: "no_face"}, {Failure: "no_face"}, {Failure: "not_an_image"}}, ErrNoFaces, "3 photos, 2 no_face, 1 not_an_image"},
		{[]Photo{one("a", 1, 0), one("a", 0, 1)}, ErrNoPairs, "2 photos with a face, of 1 people, make 1 mated and 0 non-mated"},
		{[]Photo{one("a", 1, 0), one("b", 0, 1)}, ErrNoPairs, "make 0 mated and 1 non-mated"},
		{[]Photo{one("a", 1, 0), one("b", 0, 2)}, ErrTemplate, "b.jpg has 2 numbers of norm 2"},
		{[]Photo{one("a", 1, 0), one("b", 1)}, ErrTemplate, "b.jpg has 1 numbers"},
		{[]Photo{one("a", 1, 0), one("b", float32(math.NaN()), 1)}, ErrTemplate, "norm NaN"},
	} {
		_, err := Recognise(t.Context(), &Set{Photos: c.photos}, Config{})
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v, not %v with %q", err, c.err, c.text)
		}
	}
	if _, err := Recognise(t.Context(), &Set{Photos: []Photo{one("a", 1, 0)}, Pairs: []Pair{}}, Config{}); !errors.Is(err, ErrNoPairs) {
		t.Errorf("an empty list: %v", err)
	}
}

func TestAcquisition(t *testing.T) {
	s := pairsOf([]float64{.9, .8}, []float64{.1})
	s.Photos = append(s.Photos, Photo{Person: "m0", File: "m0/3.jpg", Failure: "no_face"}, Photo{Person: "x", File: "x/1.jpg", Failure: "no_face"}, Photo{Person: "x", File: "x/2.jpg", Failure: "face_too_small"})
	s.Pairs = append(s.Pairs, Pair{A: 0, B: 6, Same: true})
	r, err := Recognise(t.Context(), s, Config{Targets: []float64{.5}})
	if err != nil {
		t.Fatal(err)
	}
	a := r.Acquisition
	if a.FTA.Count != 3 || a.FTA.Of != 9 || a.FTE.Count != 1 || a.FTE.Of != 5 || a.Codes["no_face"] != 2 || a.Codes["face_too_small"] != 1 {
		t.Errorf("%+v", a)
	}
	if want := (Failure{"x", "x/1.jpg", "no_face"}); len(a.Failed) != 3 || a.Failed[1] != want {
		t.Errorf("%v", a.Failed)
	}
	if r.Mated.N != 2 {
		t.Errorf("%d mated comparisons: one had a photo without a face", r.Mated.N)
	}
}

func TestAgreement(t *testing.T) {
	s := pairsOf([]float64{.9, .8, .7}, []float64{.1})
	for i, theirs := range []float64{.91, .8, .65, .1} {
		s.Pairs[i].Reference = &theirs
	}
	r, err := Recognise(t.Context(), s, Config{})
	if err != nil {
		t.Fatal(err)
	}
	a := r.Agreement
	if a == nil || a.Pairs != 4 || a.A != "m2/1.jpg" {
		t.Fatalf("%+v", a)
	}
	near(t, "largest", a.Largest, .05, 1e-6)
	near(t, "mean", a.Mean, .01, 1e-6)
	near(t, "correlation", a.Correlation, .99725, 1e-4)
}

func TestNamePeople(t *testing.T) {
	s := &Set{Photos: []Photo{{File: "a"}, {File: "b"}, {File: "c"}, {File: "d", Person: "known"}, {File: "e"}}}
	s.Pairs = []Pair{{A: 2, B: 1, Same: true}, {A: 0, B: 3}, {A: 2, B: 0, Same: true}, {A: 3, B: 4, Same: true}}
	s.NamePeople()
	for i, want := range []string{"a", "a", "a", "known", "known"} {
		if got := s.Photos[i].Person; got != want {
			t.Errorf("photo %d is of %q, not %q", i, got, want)
		}
	}
}

func TestReadPairs(t *testing.T) {
	pairs, err := ReadPairs(strings.NewReader("same,b,extra,a,cosine\n1,y,9,x,0.5\nfalse,w,,v,\n"))
	if err != nil || len(pairs) != 2 {
		t.Fatal(pairs, err)
	}
	if p := pairs[0]; p.A != "x" || p.B != "y" || !p.Same || *p.Reference != .5 {
		t.Errorf("%+v", p)
	}
	if p := pairs[1]; p.A != "v" || p.B != "w" || p.Same || p.Reference != nil {
		t.Errorf("%+v", p)
	}
	for text, want := range map[string]string{
		"":                              "EOF",
		"a,b\nx,y\n":                    `no column "same": a,b`,
		"a,b,same\nx,y,1\nx,y\n":        "wrong number of fields",
		"a,b,same\nx,y,1\nx,y,maybe\n":  `line 3: strconv.ParseBool: parsing "maybe"`,
		"a,b,same,cosine\nx,y,1,much\n": `line 2: strconv.ParseFloat: parsing "much"`,
	} {
		if _, err := ReadPairs(strings.NewReader(text)); !errors.Is(err, ErrPairs) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, not %q", text, err, want)
		}
	}
}

// BenchmarkEveryTwo: 4,000 photos of 512 numbers, 8 million comparisons.
func BenchmarkEveryTwo(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 0))
	s := &Set{}
	for i := range 4000 {
		s.Photos = append(s.Photos, Photo{Person: fmt.Sprint(i / 2), File: "x", Template: unit(r, 512, nil, 1)})
	}
	comparisons := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		c, err := compare(b.Context(), s, nil)
		if err != nil {
			b.Fatal(err)
		}
		comparisons += c.nonMate.n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(comparisons), "ns/cmp")
}
