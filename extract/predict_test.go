package extract

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// matchAt is the cosine of a false match rate of 1e-4 with the default pack, as its calibration states.
const matchAt = .419

// asTaken is the kind of a photo that nothing was done to.
const asTaken = "as taken"

// sample is a photo of someone, as it was taken or made worse.
type sample struct {
	person, kind  string
	photo         int       // the same for a photo and what was made of it
	template      []float32 // nil: no face found
	quality       Quality
	norm          float64 // of the template, by the typical one
	mates, missed int     // comparisons with other photos of the person as taken, and those below matchAt
}

// pair is a comparison of a sample with another photo of the same person as taken.
type pair struct {
	a, b   *sample
	missed bool
}

// worsen makes a photo worse in a random way, up to a third beyond the steps of its ladder.
func worsen(m *Image, l *points, r *rand.Rand) (*Image, string) {
	harmful := slices.DeleteFunc(slices.Clone(degradations), func(d degradation) bool { return d.is(frame | extra) })
	d := harmful[r.IntN(len(harmful))]
	first, last := d.steps[0], d.steps[len(d.steps)-1]
	amount := first + (last-first)*1.3*r.Float64()
	if d.name == "jpeg" { // qualities are no linear scale
		amount = 3 + 40*r.Float64()*r.Float64()
	}
	return d.apply(m, l, max(amount, .02)), d.name
}

// samples are a photo as taken and made worse in two ways; none if there is no face in it.
func samples(t testing.TB, path string, photo int) (out []*sample) {
	m := readImage(t, path)
	h := fnv.New64()
	h.Write([]byte(filepath.Base(path)))
	r := rand.New(rand.NewPCG(h.Sum64(), 1))
	_, l, ok := look(t, m, WantQuality)
	for i := 0; i < 3 && ok; i++ {
		s := &sample{person: filepath.Base(filepath.Dir(path)), kind: asTaken, photo: photo}
		worse := m
		if i > 0 {
			worse, s.kind = worsen(m, l, r)
		}
		if f, _, found := look(t, worse, WantQuality); found {
			s.quality = f.Quality
			s.embed(t, f.Crop)
		}
		out = append(out, s)
	}
	return out
}

func (s *sample) embed(t testing.TB, crop *Image) {
	x := testExtractor(t)
	if err := x.acquire(t.Context()); err != nil {
		t.Error(err)
		return
	}
	defer x.giveBack()
	stages := &x.stages
	template, norm, err := stages.embed(t.Context(), crop)
	if err != nil {
		t.Error(err)
	}
	s.template, s.norm = template, stages.relativeNorm(norm)
	s.quality.unify(s.norm)
}

// gather makes samples of everyone in dir who has two photos or more.
func gather(t testing.TB, dir string) []*sample {
	var files []string
	for _, person := range glob(t, filepath.Join(dir, "*")) {
		if photos, _ := filepath.Glob(filepath.Join(person, "*.jpg")); len(photos) > 1 {
			files = append(files, photos...)
		}
	}
	found := make([][]*sample, len(files))
	each(len(files), func(i int) { found[i] = samples(t, files[i], i) })
	return slices.Concat(found...)
}

// compare makes the mated pairs and counts them in the samples. REQUIRES: a person's samples lie together.
func compare(all []*sample) (pairs []pair) {
	for i, a := range all {
		for j := i; j < len(all) && all[j].person == a.person; j++ {
			for _, p := range [2]pair{{a: a, b: all[j]}, {a: all[j], b: a}} {
				if p.a.photo == p.b.photo || p.b.kind != asTaken || p.a.kind == asTaken && p.a != a || p.a.template == nil || p.b.template == nil {
					continue
				}
				p.missed = dot(p.a.template, p.b.template) < matchAt
				pairs = append(pairs, p)
			}
		}
	}
	for _, p := range pairs {
		p.a.count(p.missed)
		if p.a.kind == asTaken {
			p.b.count(p.missed)
		}
	}
	return pairs
}

func (s *sample) count(missed bool) {
	s.mates++
	if missed {
		s.missed++
	}
}

// features are what the unified score is made of: the measures of the face as shares of 1, and half the norm.
var features = []Measure{Sharpness, LuminanceMean, LuminanceVariance, UnderExposure, OverExposure, IlluminationUniformity, DynamicRange,
	Compression, InterEyeDistance, PoseYaw, PosePitch, PoseRoll, EyesOpen, MouthClosed, EyesVisible}

func (s *sample) features() (x []float64) {
	x = append(x, 1)
	for _, m := range features {
		x = append(x, float64(s.quality[m])/100)
	}
	return append(x, min(s.norm, 2)/2)
}

// fitUnified is logistic regression of the share of mates that are matched, by coordinate descent with Newton's steps. The
// first weight is the bias; the others are kept at 0 or above.
func fitUnified(all []*sample) (w []float64) {
	w = make([]float64, len(features)+2)
	var xs [][]float64
	var ys []float64
	for _, s := range all {
		if s.mates > 0 {
			xs, ys = append(xs, s.features()), append(ys, 1-float64(s.missed)/float64(s.mates))
		}
	}
	z := make([]float64, len(xs))
	for range 300 {
		for i := range w {
			var slope, bend float64
			for n, x := range xs {
				p := 1 / (1 + math.Exp(-z[n]))
				slope += (ys[n] - p) * x[i]
				bend += p * (1 - p) * x[i] * x[i]
			}
			const ridge = 1 // against weights that grow without bound where a measure is always good
			step := (slope - ridge*w[i]) / (bend + ridge)
			if i > 0 {
				step = max(step, -w[i])
			}
			w[i] += step
			for n, x := range xs {
				z[n] += step * x[i]
			}
		}
	}
	return w
}

// discards are the shares of pairs left out in an error-versus-discard curve.
var discards = []float64{0, .02, .05, .1, .2, .3}

// curve is the share of pairs missed when those whose worse photo has the lowest value are left out. Equal values are in
// random order.
func curve(pairs []pair, value func(*sample) float64) (rates []float64) {
	order := rand.New(rand.NewPCG(1, 1)).Perm(len(pairs))
	worse := func(i int) float64 { return min(value(pairs[i].a), value(pairs[i].b)) }
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(worse(i), worse(j)) })
	for _, d := range discards {
		kept, missed := order[int(d*float64(len(order))):], 0
		for _, i := range kept {
			if pairs[i].missed {
				missed++
			}
		}
		rates = append(rates, float64(missed)/float64(len(kept)))
	}
	return rates
}

func percents(rates []float64) (s string) {
	for _, r := range rates {
		s += fmt.Sprintf("%8.2f", 100*r)
	}
	return s
}

// area is the mean of a curve beyond its first point.
func area(rates []float64) (a float64) {
	for _, r := range rates[1:] {
		a += r / float64(len(rates)-1)
	}
	return a
}

// The unified score must tell which mated comparisons will fail, on people that it was not fitted on: better than
// chance, and better than any measure alone.
func TestUnifiedScorePredicts(t *testing.T) {
	if *facesFlag == "" {
		t.Skip("it needs many real photos: make quality FACES=DIR, a folder of person/photo.jpg")
	}
	all := gather(t, *facesFlag)
	pairs := compare(all)
	var fitted, held []*sample
	for _, s := range all {
		if s.held() {
			held = append(held, s)
		} else {
			fitted = append(fitted, s)
		}
	}
	w := fitUnified(fitted)
	reportFit(t, fitted, w)
	reportKinds(t, held)
	reportScores(t, held)
	if n := people(held); n < fewFaces {
		t.Logf("%d people held out: no bounds are checked", n)
	}
	reportCurves(t, slices.DeleteFunc(pairs, func(p pair) bool { return !p.a.held() }), w, people(held) >= fewFaces)
}

// held says that the sample's person is of the half that nothing is fitted on.
func (s *sample) held() bool {
	h := fnv.New32()
	h.Write([]byte(s.person))
	return h.Sum32()%2 == 1
}

// people counts whom the samples are of.
func people(all []*sample) int {
	seen := map[string]bool{}
	for _, s := range all {
		seen[s.person] = true
	}
	return len(seen)
}

func reportFit(t *testing.T, fitted []*sample, w []float64) {
	t.Helper()
	t.Logf("fitted on %d samples of %d people: bias %.2f, norm %.2f", len(fitted), people(fitted), w[0], w[len(w)-1])
	for i, m := range features {
		t.Logf("    %-26s %5.2f", m, w[i+1])
	}
}

// reportKinds says how much each degradation harms.
func reportKinds(t *testing.T, held []*sample) {
	t.Helper()
	kinds := []string{asTaken}
	for _, d := range degradations {
		if !d.is(frame | extra) {
			kinds = append(kinds, d.name)
		}
	}
	t.Logf("%-15s %8s %12s %8s %8s", "held out", "samples", "without face", "pairs", "missed %")
	for _, k := range kinds {
		var n, none, mates, missed int
		for _, s := range held {
			if s.kind == k {
				n, mates, missed = n+1, mates+s.mates, missed+s.missed
				if s.template == nil {
					none++
				}
			}
		}
		t.Logf("%-15s %8d %12d %8d %8.2f", k, n, none, mates, 100*float64(missed)/float64(max(mates, 1)))
	}
}

// reportScores says how the measures lie for photos as taken and for the others.
func reportScores(t *testing.T, held []*sample) {
	t.Helper()
	t.Logf("%-26s quantiles .01 .05 .25 .5 .75 of photos as taken, and of those made worse", "")
	for i := range NumMeasures {
		var taken, worse []float32
		for _, s := range held {
			switch {
			case s.template == nil:
			case s.kind == asTaken:
				taken = append(taken, s.quality[i])
			default:
				worse = append(worse, s.quality[i])
			}
		}
		var line strings.Builder
		for _, v := range [2][]float32{taken, worse} {
			if len(v) == 0 {
				v = []float32{unmeasured}
			}
			slices.Sort(v)
			for _, q := range []float64{.01, .05, .25, .5, .75} {
				line.WriteString(fmt.Sprintf("%6.1f", v[int(q*float64(len(v)))]))
			}
			line.WriteString("   ")
		}
		t.Logf("%-26s %s", Measure(i), line.String())
	}
}

// reportCurves prints the error-versus-discard curves, and checks them if bounds.
func reportCurves(t *testing.T, everything []pair, w []float64, bounds bool) {
	t.Helper()
	taken := slices.DeleteFunc(slices.Clone(everything), func(p pair) bool { return p.a.kind != asTaken })
	for name, pairs := range map[string][]pair{"as taken and made worse": everything, asTaken: taken} {
		t.Logf("%s: %d mated pairs, missed %% at cosine %v when so many %% are discarded", name, len(pairs), matchAt)
		t.Logf("%-26s%s", "", percents(discards))
		show := func(label string, value func(*sample) float64) float64 {
			c := curve(pairs, value)
			t.Logf("%-26s%s", label, percents(c))
			return area(c)
		}
		random := show("chance", func(*sample) float64 { return 0 })
		show("fitted now", func(s *sample) float64 {
			z := 0.
			for i, x := range s.features() {
				z += w[i] * x
			}
			return z
		})
		ours := show(UnifiedScore.String(), func(s *sample) float64 { return float64(s.quality[UnifiedScore]) })
		show("without the norm", func(s *sample) float64 {
			q := s.quality
			q.unify(1)
			return float64(q[UnifiedScore])
		})
		show("the norm alone", func(s *sample) float64 { return s.norm })
		best := math.Inf(1)
		for i := 1; i < NumMeasures; i++ {
			best = min(best, show(Measure(i).String(), func(s *sample) float64 { return float64(s.quality[i]) }))
		}
		t.Logf("on average missed %.2f %% with the unified score, %.2f %% by chance, %.2f %% with the best measure alone", 100*ours, 100*random, 100*best)
		if bounds && (!(ours < .85*random) || !(ours < best)) {
			t.Errorf("%s: the unified score does not tell enough", name)
		}
	}
}
