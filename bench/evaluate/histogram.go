package evaluate

import "math"

const (
	// binsPerUnit makes a bin 1e-5 wide: finer than the rounding of a template's numbers shows in a cosine.
	binsPerUnit = 100_000
	bins        = 2 * binsPerUnit
)

// histogram counts scores in [-1, 1]. A threshold is the lower edge of a bin, and a score matches if its bin is at or
// above it.
type histogram struct {
	count    [bins]int64
	n        int64
	sum, sq  float64 // of scores, and of their squares
	min, max float32
}

func newHistogram() *histogram { return &histogram{min: 2, max: -2} }

// bin of a score; those outside [-1, 1] by rounding are of the nearest.
func bin(score float32) int {
	return min(max(int((float64(score)+1)*binsPerUnit), 0), bins-1)
}

// edge is the threshold at bin i.
func edge(i int) float64 { return float64(i-binsPerUnit) / binsPerUnit }

// add counts scores, none NaN.
func (h *histogram) add(scores []float32) {
	low, high := h.min, h.max
	var sum, sq float64
	for _, s := range scores {
		h.count[bin(s)]++
		x := float64(s)
		sum, sq = sum+x, sq+x*x
		low, high = min(low, s), max(high, s)
	}
	h.n, h.sum, h.sq, h.min, h.max = h.n+int64(len(scores)), h.sum+sum, h.sq+sq, low, high
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.count {
		h.count[i] += c
	}
	h.n, h.sum, h.sq, h.min, h.max = h.n+o.n, h.sum+o.sum, h.sq+o.sq, min(h.min, o.min), max(h.max, o.max)
}

func (h *histogram) mean() float64 { return h.sum / float64(max(h.n, 1)) }

// sd is the sample's standard deviation.
func (h *histogram) sd() float64 {
	n := float64(h.n)
	return math.Sqrt(max(0, (h.sq-h.sum*h.sum/n)/max(n-1, 1)))
}

// tail is how many scores lie at or above each bin; of length bins+1, the last 0.
func (h *histogram) tail() []int64 {
	t := make([]int64, bins+1)
	for i := bins - 1; i >= 0; i-- {
		t[i] = t[i+1] + h.count[i]
	}
	return t
}

// quantile is the lower edge of the bin that holds the score of rank ⌈q·n⌉ from below.
func (h *histogram) quantile(q float64) float64 {
	rank, seen := max(int64(math.Ceil(q*float64(h.n))), 1), int64(0)
	for i, c := range h.count {
		if seen += c; seen >= rank {
			return edge(i)
		}
	}
	return 1
}

// Distribution describes the scores of mated or of non-mated comparisons.
type Distribution struct {
	N         int64      `json:"n"`
	Mean      float64    `json:"mean"`
	SD        float64    `json:"sd"`
	Min       float64    `json:"min"`
	Max       float64    `json:"max"`
	Quantiles []Quantile `json:"quantiles"`
	Histogram []Bar      `json:"histogram"` // bars with something in them, 0.01 wide
}

// Quantile says that a share Q of the scores are below Score (or in the same bin of 1e-5).
type Quantile struct {
	Q     float64 `json:"q"`
	Score float64 `json:"score"`
}

// Bar counts the scores in [From, From+0.01).
type Bar struct {
	From  float64 `json:"from"`
	Count int64   `json:"count"`
}

var quantiles = []float64{0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999}

func (h *histogram) distribution() Distribution {
	d := Distribution{N: h.n, Quantiles: []Quantile{}, Histogram: []Bar{}}
	if h.n == 0 {
		return d
	}
	d.Mean, d.SD, d.Min, d.Max = h.mean(), h.sd(), float64(h.min), float64(h.max)
	for _, q := range quantiles {
		d.Quantiles = append(d.Quantiles, Quantile{q, h.quantile(q)})
	}
	const wide = binsPerUnit / 100
	for i := 0; i < bins; i += wide {
		b := Bar{From: edge(i)}
		for _, c := range h.count[i : i+wide] {
			b.Count += c
		}
		if b.Count > 0 {
			d.Histogram = append(d.Histogram, b)
		}
	}
	return d
}
