package main

import (
	"cmp"
	"flag"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mien/engine"
	"mien/extract"
	"mien/simd"
)

var (
	fusionFaces = flag.String("fusion-faces", "", "folder of person/photo files: run TestFusionRealFaces on it (make fusion-faces)")
	fusionSeed  = flag.Uint64("fusion-seed", 1, "seed of TestFusionRealFaces' draws of photos and people")
)

// fusions are the ways to compare a probe with the n templates of a person.
var fusions = [...]string{"one photo", "best score", "mean of scores", "centroid", "weighted centroid"}

const (
	onePhoto, bestScore, meanScore, plainCentroid, weightedCentroid = 0, 1, 2, 3, 4

	numFusions  = len(fusions)
	fusionDraws = 10   // draws of who is enrolled by which photos
	fusionBoots = 1000 // redraws of people for an interval
	fusionKept  = 3e-3 // share of the non-mated comparisons that is kept, the highest: a redraw of people moves the 1e-3 within it
)

var fusionTargets = [...]float64{1e-3, 1e-4}

// portrait is a photo's template and the weight that its unified score gives it.
type portrait struct {
	template []float32 // unit norm
	weight   float64
}

// fusedScore is a comparison of a probe of person b with the templates of person a.
type fusedScore struct {
	score float32
	a, b  int32
}

// fusionRun is what one way of comparing scored in all draws.
type fusionRun struct {
	mated  []fusedScore // rising
	others []fusedScore // the highest non-mated ones, falling
	floor  float32      // a lower one is not kept
	atPack [len(fusionTargets)]atThreshold
}

// fusionResult is an experiment: n photos enrolled of everyone who has more.
type fusionResult struct {
	n        int
	people   int // enrolled
	nonMated int64
	probes   []float64 // of everybody, in all draws
	gallery  []bool    // who is enrolled
	runs     [numFusions]fusionRun
	single   [len(fusionTargets)]int64       // non-mated comparisons of single templates at or above the pack's threshold, of all n
	verified [len(fusionTargets)]atThreshold // by the best score at the threshold of the engine's Verify, the pack's of an n-th of the rate
}

// atThreshold counts non-mated comparisons at or above a threshold and mated ones below it.
type atThreshold struct{ matches, misses int64 }

func (a *atThreshold) count(mated, above bool) {
	if mated && !above {
		a.misses++
	} else if !mated && above {
		a.matches++
	}
}

// packThresholds are where the pack's calibration has the target rates, and where it has an n-th of them.
type packThresholds struct{ one, best [len(fusionTargets)]float64 }

func thresholdsOf(c engine.Calibration, n int) (p packThresholds) {
	for i, target := range fusionTargets {
		p.one[i], p.best[i] = c.CosineAt(target), c.CosineAt(target/float64(n))
	}
	return p
}

// TestFusionRealFaces measures what several templates a person are worth, and which way to use them: n of a person's photos are
// enrolled, all other photos of all people are probes of everyone enrolled. Each way is judged at its own threshold, where the
// share of non-mated comparisons that it lets pass is the target, for its scores are distributed in its own way; and at the
// pack's, for that is where the engine would use it.
func TestFusionRealFaces(t *testing.T) {
	if *fusionFaces == "" {
		t.Skip("skipped: no folder of real photos (make fusion-faces FACES=DIR)")
	}
	people, calibration := portraits(t, *fusionFaces)
	for _, n := range []int{2, 3, 5} {
		r := fuse(people, n, fusionDraws, *fusionSeed, thresholdsOf(calibration, n))
		if r.people == 0 {
			t.Logf("n = %d: nobody has so many photos and one more", n)
			continue
		}
		r.check(t, people)
		r.report(t, *fusionSeed)
		for k, target := range fusionTargets { // what Verify states must be so, as far as the pack's own rates are
			one, all := r.runs[onePhoto].atPack[k].matches, r.verified[k].matches
			if float64(all) > max(target*float64(r.nonMated), float64(one))+5*math.Sqrt(target*float64(r.nonMated)) {
				t.Errorf("n = %d: verification at FMR %v passes %d of %d strangers, against one photo %d", n, target, all, r.nonMated, one)
			}
		}
	}
	pack := thresholdsOf(calibration, 2)
	if a, b := fuse(people, 2, 1, 5, pack), fuse(people, 2, 1, 5, pack); !reflect.DeepEqual(a, b) {
		t.Error("the same seed gives another result")
	}
}

// portraits are the templates of everybody in the folder, and the calibration of the pack that made them.
func portraits(t *testing.T, folder string) (people [][]portrait, c engine.Calibration) {
	settings := setUp(t)
	flags := modelFlags{Library: strings.TrimPrefix(settings[0], "MIEN_LIBRARY="), Models: []string{strings.TrimPrefix(settings[1], "MIEN_MODELS=")}}
	set, files, err := selectPhotos(folder, "")
	if err != nil {
		t.Fatal(err)
	}
	templates, lost := make([]portrait, len(files)), 0
	m, err := flags.everyFace(t.Context(), providerFlags{}, files, extract.Options{Select: extract.SelectCentral, Want: extract.WantTemplate | extract.WantQuality},
		func(i int, f *extract.Face, code string) {
			if f == nil {
				lost++
				return
			}
			templates[i] = portrait{f.Template, max(float64(f.Quality[extract.UnifiedScore]), 1)}
		})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Calibration {
		c.Points = append(c.Points, engine.CalibrationPoint(p))
	}
	for i, p := range set.Photos {
		if i == 0 || p.Person != set.Photos[i-1].Person {
			people = append(people, nil)
		}
		if templates[i].template != nil {
			last := len(people) - 1
			people[last] = append(people[last], templates[i])
		}
	}
	t.Logf("pack %s: %d people, %d photos, %d without a template", m.Name, len(people), len(files), lost)
	return people, c
}

// fuse enrols n photos of everyone who has more, anew in each draw, and compares all others with them by each way.
func fuse(people [][]portrait, n, draws int, seed uint64, pack packThresholds) *fusionResult {
	r := &fusionResult{n: n, probes: make([]float64, len(people)), gallery: make([]bool, len(people))}
	for i, p := range people {
		r.probes[i] = float64(draws * len(p))
		if r.gallery[i] = len(p) > n; r.gallery[i] {
			r.people++
			r.probes[i] -= float64(draws * n)
		}
	}
	if r.people == 0 {
		return r
	}
	r.nonMated = int64(r.weigh(slices.Repeat([]float64{1}, len(people))))
	for d := range draws {
		r.draw(people, rand.New(rand.NewPCG(seed, uint64(d))), pack)
	}
	for i := range r.runs {
		run := &r.runs[i]
		slices.SortFunc(run.mated, func(a, b fusedScore) int { return compareFused(b, a) })
		run.trim(r.keep())
	}
	return r
}

// keep is how many non-mated comparisons are kept.
func (r *fusionResult) keep() int { return int(math.Ceil(float64(r.nonMated) * fusionKept)) }

// weigh is how many non-mated comparisons there are if person i counts weights[i] times.
func (r *fusionResult) weigh(weights []float64) (sum float64) {
	var enrolled, probes, own float64
	for i, w := range weights {
		probes += w * r.probes[i]
		if r.gallery[i] {
			enrolled, own = enrolled+w, own+w*w*r.probes[i]
		}
	}
	return enrolled*probes - own
}

// draw is one choice of whose photos are enrolled.
func (r *fusionResult) draw(people [][]portrait, random *rand.Rand, pack packThresholds) {
	var owners []int32
	var rows []float32
	probes := make([][]portrait, len(people))
	for i, p := range people {
		if probes[i] = p; !r.gallery[i] {
			continue
		}
		mixed := slices.Clone(p)
		random.Shuffle(len(mixed), func(a, b int) { mixed[a], mixed[b] = mixed[b], mixed[a] })
		enrolled := mixed[:r.n]
		probes[i], owners = mixed[r.n:], append(owners, int32(i))
		for _, e := range enrolled {
			rows = append(rows, e.template...)
		}
		rows = append(rows, centroid(enrolled, func(portrait) float64 { return 1 })...)
		rows = append(rows, centroid(enrolled, func(p portrait) float64 { return p.weight })...)
	}
	each := r.n + 2
	scores := make([]float32, len(owners)*each)
	for b, of := range probes {
		for _, probe := range of {
			simd.DotRows(scores, probe.template, rows, len(probe.template))
			for k, a := range owners {
				r.add(a, int32(b), scores[k*each:(k+1)*each], pack)
			}
		}
	}
}

// add counts a comparison with n templates and the two centroids.
func (r *fusionResult) add(a, b int32, s []float32, pack packThresholds) {
	singles := s[:r.n]
	fused := [numFusions]float32{onePhoto: s[0], bestScore: slices.Max(singles), meanScore: mean(singles), plainCentroid: s[r.n], weightedCentroid: s[r.n+1]}
	for i, score := range fused {
		run, f := &r.runs[i], fusedScore{score, a, b}
		if a == b {
			run.mated = append(run.mated, f)
		} else if score >= run.floor || len(run.others) < r.keep() {
			if run.others = append(run.others, f); len(run.others) > 2*r.keep()+1024 {
				run.trim(r.keep())
			}
		}
		for k, threshold := range pack.one {
			run.atPack[k].count(a == b, float64(score) >= threshold)
		}
	}
	for k, threshold := range pack.best {
		r.verified[k].count(a == b, float64(fused[bestScore]) >= threshold)
	}
	for k, threshold := range pack.one {
		for _, score := range singles {
			if a != b && float64(score) >= threshold {
				r.single[k]++
			}
		}
	}
}

// trim leaves the highest n non-mated comparisons.
func (f *fusionRun) trim(n int) {
	slices.SortFunc(f.others, compareFused)
	if f.others = f.others[:min(n, len(f.others))]; len(f.others) == n {
		f.floor = f.others[n-1].score
	}
}

// compareFused orders by falling score.
func compareFused(x, y fusedScore) int {
	return cmp.Or(cmp.Compare(y.score, x.score), cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b))
}

func mean(s []float32) float32 {
	var sum float32
	for _, x := range s {
		sum += x
	}
	return sum / float32(len(s))
}

// centroid is the weighted mean of templates, of unit norm.
func centroid(of []portrait, weight func(portrait) float64) []float32 {
	sums := make([]float64, len(of[0].template))
	for _, p := range of {
		for i, x := range p.template {
			sums[i] += weight(p) * float64(x)
		}
	}
	var square float64
	for _, x := range sums {
		square += x * x
	}
	c := make([]float32, len(sums))
	for i, x := range sums {
		c[i] = float32(x / math.Sqrt(square))
	}
	return c
}

// rates gives, if everybody counts weights[i] times, the least score above which at most target of the non-mated comparisons are,
// and the share of mated ones that are not above it.
func (r *fusionResult) rates(run *fusionRun, weights []float64, total, target float64) (threshold float32, fnmr float64) {
	var matches, misses, mated float64
	for _, o := range run.others {
		threshold = o.score
		if matches += weights[o.a] * weights[o.b]; matches > target*total {
			break
		}
	}
	for i, p := range r.probes {
		if r.gallery[i] {
			mated += weights[i] * p
		}
	}
	for _, m := range run.mated {
		if m.score > threshold {
			break
		}
		misses += weights[m.a]
	}
	if mated == 0 { // a redraw without anybody who is enrolled
		return threshold, 0
	}
	return threshold, misses / mated
}

// check holds what must be so, whatever the photos.
func (r *fusionResult) check(t *testing.T, people [][]portrait) {
	t.Helper()
	enrolled, mated, probes := 0, 0, 0
	for _, p := range people {
		if probes += len(p); len(p) > r.n {
			enrolled, mated, probes = enrolled+1, mated+len(p)-r.n, probes-r.n
		}
	}
	if want := int64(fusionDraws) * int64(enrolled*probes-mated); enrolled != r.people || want != r.nonMated {
		t.Errorf("n = %d: %d people, %d non-mated comparisons, not %d and %d", r.n, r.people, r.nonMated, enrolled, want)
	}
	for i, run := range r.runs {
		if len(run.mated) != fusionDraws*mated || len(run.others) != r.keep() {
			t.Errorf("n = %d, %s: %d mated comparisons, %d kept, not %d and %d", r.n, fusions[i], len(run.mated), len(run.others), fusionDraws*mated, r.keep())
		}
	}
	for k, at := range r.runs[bestScore].atPack {
		if v := r.verified[k]; v.matches > at.matches || v.misses < at.misses {
			t.Errorf("n = %d: a stricter threshold lets more pass: %+v, %+v", r.n, v, at)
		}
	}
	one, best, average, center := r.runs[onePhoto], r.runs[bestScore], r.runs[meanScore], r.runs[plainCentroid]
	for k, target := range fusionTargets {
		// The best of n is at or above each of them, and above a threshold no oftener than all n together; a centroid is shorter than 1
		// before it is made a unit, so its score is above a positive threshold where the mean is.
		if b, o, m := best.atPack[k], one.atPack[k], average.atPack[k]; b.matches < o.matches || b.matches < m.matches || b.matches > r.single[k] || b.misses > o.misses || b.misses > m.misses {
			t.Errorf("n = %d at the pack's %v: best %+v, one %+v, mean %+v, singles %d", r.n, target, b, o, m, r.single[k])
		}
		if c, m := center.atPack[k], average.atPack[k]; c.matches < m.matches || c.misses > m.misses {
			t.Errorf("n = %d at the pack's %v: centroid %+v, mean %+v", r.n, target, c, m)
		}
	}
}

// report prints each way's rates, and how its FNMR differs from the best score's with bounds over people: they are drawn again, with
// replacement, for all ways alike, and each way's threshold is found anew.
func (r *fusionResult) report(t *testing.T, seed uint64) {
	t.Helper()
	equal := slices.Repeat([]float64{1}, len(r.probes))
	mated := float64(len(r.runs[0].mated))
	t.Logf("n = %d: %d people enrolled, %d draws, %.0f mated and %d non-mated comparisons", r.n, r.people, fusionDraws, mated, r.nonMated)
	boots := r.redraw(seed)
	for k, target := range fusionTargets {
		t.Logf("  FMR %.0e      %30s | %s", target, "at the pack's threshold", "at its own threshold")
		t.Logf("  %-18s %13s %16s | %9s %22s %34s", "", "FMR", "FNMR %", "cosine", "FNMR %", "less the best score's, in points")
		for i, run := range r.runs {
			p := run.atPack[k]
			threshold, fnmr := r.rates(&r.runs[i], equal, float64(r.nonMated), target)
			_, base := r.rates(&r.runs[bestScore], equal, float64(r.nonMated), target)
			diffs := make([]float64, len(boots))
			for b := range boots {
				diffs[b] = boots[b][i][k] - boots[b][bestScore][k]
			}
			slices.Sort(diffs)
			low, high := diffs[len(diffs)*25/1000], diffs[len(diffs)-1-len(diffs)*25/1000]
			t.Logf("  %-18s %9.2e (%d) %7.2f (%d) | %9.3f %8.2f (%.0f of %.0f) %+8.2f (95 %%: %+.2f to %+.2f)", fusions[i], float64(p.matches)/float64(r.nonMated), p.matches,
				100*float64(p.misses)/mated, p.misses, threshold, 100*fnmr, fnmr*mated, mated, 100*(fnmr-base), 100*low, 100*high)
		}
		v := r.verified[k]
		t.Logf("  %-18s %9.2e (%d) %7.2f (%d)", "verify (FMR/n)", float64(v.matches)/float64(r.nonMated), v.matches, 100*float64(v.misses)/mated, v.misses)
	}
}

// redraw is the FNMR of each way at each target, in each redraw of people.
func (r *fusionResult) redraw(seed uint64) [][numFusions][len(fusionTargets)]float64 {
	boots := make([][numFusions][len(fusionTargets)]float64, fusionBoots)
	weights := make([]float64, len(r.probes))
	for b := range boots {
		clear(weights)
		random := rand.New(rand.NewPCG(seed, 1<<32+uint64(b)))
		for range weights {
			weights[random.IntN(len(weights))]++
		}
		total := r.weigh(weights)
		for i := range r.runs {
			for k, target := range fusionTargets {
				_, boots[b][i][k] = r.rates(&r.runs[i], weights, total, target)
			}
		}
	}
	return boots
}

// TestFuse holds the experiment against comparisons made one by one, on people made up of random templates.
func TestFuse(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	people := make([][]portrait, 40)
	for i := range people {
		base := gaussianTemplate(random, nil, 1)
		for range 1 + i%5 {
			people[i] = append(people[i], portrait{gaussianTemplate(random, base, 1), 1 + 99*random.Float64()})
		}
	}
	pack := packThresholds{one: [len(fusionTargets)]float64{.35, .45}, best: [len(fusionTargets)]float64{.4, .5}}
	for _, n := range []int{1, 2, 3} {
		r := fuse(people, n, fusionDraws, 7, pack)
		r.check(t, people)
		r.report(t, 7)
		if !reflect.DeepEqual(r, fuse(people, n, fusionDraws, 7, pack)) {
			t.Errorf("n = %d: the same seed gives another result", n)
		}
		if n > 1 && reflect.DeepEqual(r.runs, fuse(people, n, fusionDraws, 8, pack).runs) {
			t.Errorf("n = %d: another seed gives the same draws", n)
		}
		for i := range r.runs {
			run := &r.runs[i]
			threshold, fnmr := r.rates(run, slices.Repeat([]float64{1}, len(people)), float64(r.nonMated), 1e-3)
			above := slices.IndexFunc(run.others, func(o fusedScore) bool { return o.score <= threshold })
			below := slices.IndexFunc(run.mated, func(m fusedScore) bool { return m.score > threshold })
			if above > int(1e-3*float64(r.nonMated)) || float64(below) != math.Round(fnmr*float64(len(run.mated))) {
				t.Errorf("n = %d, %s: %d of %d non-mated above %v, FNMR %v, %d mated below", n, fusions[i], above, r.nonMated, threshold, fnmr, below)
			}
		}
		if best, one := r.runs[bestScore].mated, r.runs[onePhoto].mated; n == 1 && !reflect.DeepEqual(best, one) {
			t.Error("the best of one is not it")
		}
	}
	same := []portrait{{people[4][0].template, 3}, {people[4][1].template, 3}}
	if a, b := centroid(same, func(portrait) float64 { return 1 }), centroid(same, func(p portrait) float64 { return p.weight }); math.Abs(dotOf(a, b)-1) > 1e-6 {
		t.Error("equal weights give another centroid than none")
	}
	only := []portrait{{same[0].template, 0}, {same[1].template, 1}}
	if math.Abs(dotOf(centroid(only, func(p portrait) float64 { return p.weight }), only[1].template)-1) > 1e-6 {
		t.Error("all weight on one template is another centroid than it")
	}
}

// gaussianTemplate is a random direction near base, of 64 numbers.
func gaussianTemplate(r *rand.Rand, base []float32, noise float64) []float32 {
	p := portrait{template: make([]float32, 64)}
	for i := range p.template {
		p.template[i] = float32(noise * r.NormFloat64())
		if base != nil {
			p.template[i] += base[i] * 8
		}
	}
	return centroid([]portrait{p}, func(portrait) float64 { return 1 })
}

func dotOf(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
