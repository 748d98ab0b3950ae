package evaluate

import (
	"math"
	"sort"
)

// Point is an operating point: what a threshold lets through.
type Point struct {
	Target    float64 `json:"target_fmr,omitempty"` // that the threshold was chosen for; 0: the threshold was given
	Threshold float64 `json:"threshold"`            // least cosine that matches
	FMR       Rate    `json:"fmr"`
	FNMR      Rate    `json:"fnmr"`

	// FNMRByPerson is the mean of everybody's own FNMR: people with many photos count no more than others.
	FNMRByPerson float64 `json:"fnmr_by_person"`

	// Few says that fewer than 10 non-mated comparisons lie at or above the threshold: it is a guess.
	Few bool `json:"few,omitempty"`
	// Suspect says that there are more false matches than the fit of the calibration and chance explain: label errors set
	// the threshold.
	Suspect bool `json:"suspect,omitempty"`
}

// Doubt is a word on what the point rests on; "" if on enough.
func (p Point) Doubt() string {
	switch {
	case p.Few:
		return "few"
	case p.Suspect:
		return "labels"
	}
	return ""
}

// fewCounts is how many comparisons a measured rate needs, for bounds within a factor of two or so.
const fewCounts = 10

// rates are the shares of comparisons and people at every threshold.
type rates struct {
	nonMate, mated []int64   // at or above each bin
	byPerson       []float64 // mean over people of the share of their mated comparisons below each bin
	people         int       // with mated comparisons
}

func newRates(c *scores) *rates {
	r := &rates{nonMate: c.nonMate.tail(), mated: c.mated.tail(), byPerson: make([]float64, bins+1)}
	own := make([]float64, c.g.people()) // mated comparisons of a person
	c.eachMated(func(a, _ int, _ float32) { own[c.g.person[a]]++ })
	for _, n := range own {
		if n > 0 {
			r.people++
		}
	}
	c.eachMated(func(a, _ int, score float32) { r.byPerson[bin(score)+1] += 1 / own[c.g.person[a]] / float64(r.people) })
	for i := range bins {
		r.byPerson[i+1] += r.byPerson[i]
	}
	return r
}

func (r *rates) fmr(i int) float64  { return float64(r.nonMate[i]) / float64(r.nonMate[0]) }
func (r *rates) fnmr(i int) float64 { return 1 - float64(r.mated[i])/float64(r.mated[0]) }

// at is the operating point at bin i.
func (r *rates) at(i int) Point {
	return Point{
		Threshold: edge(i), FMR: newRate(r.nonMate[i], r.nonMate[0]), FNMR: newRate(r.mated[0]-r.mated[i], r.mated[0]),
		FNMRByPerson: r.byPerson[i], Few: r.nonMate[i] < fewCounts,
	}
}

// binAt is the first bin at which the FMR is at most target.
func (r *rates) binAt(target float64) int {
	most := int64(math.Floor(target*float64(r.nonMate[0]) + 1e-9))
	return sort.Search(bins, func(i int) bool { return r.nonMate[i] <= most })
}

// points are the operating points at FMR targets, as far as there are comparisons enough for one false match.
func (r *rates) points(targets []float64) []Point {
	points := []Point{}
	for _, target := range targets {
		if target*float64(r.nonMate[0]) < 1 {
			continue
		}
		p := r.at(r.binAt(target))
		p.Target = target
		points = append(points, p)
	}
	return points
}

// Equal is the threshold at which both rates are nearest to each other.
type Equal struct {
	Rate      float64 `json:"rate"` // mean of both
	Threshold float64 `json:"threshold"`
}

func (r *rates) equal() Equal {
	i := sort.Search(bins, func(i int) bool { return r.fmr(i) <= r.fnmr(i) })
	if i > 0 && r.fmr(i-1)-r.fnmr(i-1) < r.fnmr(i)-r.fmr(i) {
		i--
	}
	return Equal{Rate: (r.fmr(i) + r.fnmr(i)) / 2, Threshold: edge(i)}
}

// Trade is a point of the DET curve.
type Trade struct {
	Threshold    float64 `json:"threshold"`
	FMR          float64 `json:"fmr"`
	FNMR         float64 `json:"fnmr"`
	FNMRByPerson float64 `json:"fnmr_by_person"`
}

// det has twenty points a decade of FMR, from everything matches to nothing non-mated does.
func (r *rates) det() []Trade {
	var trades []Trade
	last := -1
	for target := 1.0; ; target *= math.Pow(10, -0.05) {
		i := r.binAt(target)
		if i != last {
			trades = append(trades, Trade{edge(i), r.fmr(i), r.fnmr(i), r.byPerson[i]})
		}
		if last = i; r.nonMate[i] == 0 {
			return trades
		}
	}
}
