package evaluate

import (
	"cmp"
	"math"
	"slices"
)

const (
	discardMost  = 0.5
	discardSteps = 100
)

// Discard says whether a quality measure predicts false non-matches: the error-versus-discard characteristic (Grother
// and Tabassi, PAMI 29, 2007). Mated comparisons are ordered by the lower quality of their two photos, and the worst
// are left out, up to half of them.
type Discard struct {
	Measure string `json:"measure"`
	Pairs   int64  `json:"pairs"`   // mated comparisons with the measure in both photos
	Without int64  `json:"without"` // others, left out

	// FNMR at the threshold of DiscardReport with i/100 of half of the pairs discarded, for i = 0…100. Pairs of one quality go
	// in proportion.
	FNMR []float64 `json:"fnmr"`

	// Area is the mean of FNMR over the discarded shares 0…0.5; Best what it would be if every false non-match were
	// discarded before any other, and Gain 0 for a measure that says nothing, 1 for the best, below 0 for one that
	// discards the wrong pairs.
	Area float64 `json:"area"`
	Best float64 `json:"area_best"`
	Gain float64 `json:"gain"`
}

// DiscardReport holds a curve for each measure.
type DiscardReport struct {
	FMR       float64   `json:"fmr"` // that the threshold stands for
	Threshold float64   `json:"threshold"`
	Stated    bool      `json:"stated"` // by the pack, as there are too few comparisons here to find the threshold
	Curves    []Discard `json:"curves"`
	Constant  []string  `json:"constant"` // measures that don't tell photos apart
}

// discards makes the curves of all measures at the threshold of an FMR: the one measured, or where that takes more
// comparisons, the first that the pack states to be as low. Nil without measures, threshold or errors.
func (c *scores) discards(measures []string, r *rates, fmr float64, stated []CalibrationPoint) *DiscardReport {
	d := &DiscardReport{FMR: fmr, Threshold: edge(r.binAt(fmr))}
	if fmr*float64(r.nonMate[0]) < fewCounts {
		i := slices.IndexFunc(stated, func(p CalibrationPoint) bool { return p.FMR <= fmr })
		if i < 0 {
			return nil
		}
		d.FMR, d.Threshold, d.Stated = stated[i].FMR, stated[i].Cosine, true
	}
	if len(measures) == 0 || r.fnmr(binOf(d.Threshold)) == 0 {
		return nil
	}
	d.curves(c, measures)
	return d
}

func (r *DiscardReport) curves(c *scores, measures []string) {
	r.Curves, r.Constant = []Discard{}, []string{}
	for m, name := range measures {
		switch d, qualities := c.discard(m, binOf(r.Threshold)); {
		case qualities == 1:
			r.Constant = append(r.Constant, name)
		case qualities > 1:
			d.Measure = name
			r.Curves = append(r.Curves, d)
		}
	}
	slices.SortStableFunc(r.Curves, func(a, b Discard) int { return cmp.Compare(b.Gain, a.Gain) })
}

// step is how many pairs of one quality there are, and how many of them don't match.
type step struct{ pairs, misses float64 }

// discard makes one curve, and says how many values the measure has.
func (c *scores) discard(measure, from int) (Discard, int) {
	var d Discard
	at := map[float32]step{}
	c.eachMated(func(a, b int, score float32) {
		q := min(c.g.photos[a].quality(measure), c.g.photos[b].quality(measure)) // NaN if one is
		if math.IsNaN(float64(q)) {
			d.Without++
			return
		}
		s := at[q]
		s.pairs++
		if bin(score) < from {
			s.misses++
		}
		at[q] = s
		d.Pairs++
	})
	qualities := make([]float32, 0, len(at))
	for q := range at {
		qualities = append(qualities, q)
	}
	slices.Sort(qualities)
	steps := make([]step, len(qualities))
	for i, q := range qualities {
		steps[i] = at[q]
	}
	d.curve(steps)
	return d, len(steps)
}

func (p *Photo) quality(measure int) float32 {
	if measure >= len(p.Quality) {
		return float32(math.NaN())
	}
	return p.Quality[measure]
}

// curve fills in the FNMR and the areas from steps of rising quality.
func (d *Discard) curve(steps []step) {
	var all step
	for _, s := range steps {
		all.pairs, all.misses = all.pairs+s.pairs, all.misses+s.misses
	}
	gone, next := step{}, 0
	for i := range discardSteps + 1 {
		share := discardMost * float64(i) / discardSteps
		want := share * all.pairs
		for next < len(steps) && gone.pairs+steps[next].pairs <= want {
			gone.pairs, gone.misses = gone.pairs+steps[next].pairs, gone.misses+steps[next].misses
			next++
		}
		misses := gone.misses
		if next < len(steps) {
			misses += steps[next].misses * (want - gone.pairs) / steps[next].pairs
		}
		d.FNMR = append(d.FNMR, max(all.misses-misses, 0)/max(all.pairs-want, 1))
		d.Best += trapezoid(i) * max(all.misses-want, 0) / max(all.pairs-want, 1)
		d.Area += trapezoid(i) * d.FNMR[i]
	}
	if flat := all.misses / max(all.pairs, 1); flat > d.Best {
		d.Gain = (flat - d.Area) / (flat - d.Best)
	}
}

// trapezoid is the weight of step i in a mean over the steps.
func trapezoid(i int) float64 {
	if i == 0 || i == discardSteps {
		return 0.5 / discardSteps
	}
	return 1.0 / discardSteps
}
