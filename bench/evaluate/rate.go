package evaluate

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/gonum/mathext"
)

// Rate is an error rate with the counts it comes from.
type Rate struct {
	Count int64   `json:"count"`
	Of    int64   `json:"of"`
	Rate  float64 `json:"rate"` // Count/Of; 0 of 0 is 0

	// Low and High bound the rate at 95 %, both sides together (Clopper and Pearson, Biometrika 26, 1934), as if every
	// trial were independent of every other. Comparisons of the same people aren't: see People.
	Low  float64 `json:"low_95"`
	High float64 `json:"high_95"`

	// People bounds the rate at 95 % by a bootstrap over people in place of comparisons, where there is one.
	People *Interval `json:"people_95,omitempty"`
}

// Interval holds the bounds of a rate.
type Interval struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// newRate has the bounds of count of n. REQUIRES: 0 ≤ count ≤ n.
func newRate(count, n int64) Rate {
	r := Rate{Count: count, Of: n, High: 1}
	if n == 0 {
		return r
	}
	k, rest := float64(count), float64(n-count)
	r.Rate = k / float64(n)
	if count > 0 {
		r.Low = mathext.InvRegIncBeta(k, rest+1, 0.025)
	}
	if count < n {
		r.High = mathext.InvRegIncBeta(k+1, rest, 0.975)
	}
	return r
}

// String gives the rate and its counts.
func (r Rate) String() string {
	if r.Of == 0 {
		return "none of 0"
	}
	return fmt.Sprintf("%s (%d of %d)", percent(r.Rate), r.Count, r.Of)
}

// percent writes a rate with two or three digits: in percent, or as a power of ten where it is small.
func percent(x float64) string {
	switch {
	case x == 0:
		return "0"
	case math.Abs(x) < 9.95e-4:
		return scientific(x)
	case math.Abs(x) < 0.09995:
		return fmt.Sprintf("%.2f %%", 100*x)
	}
	return fmt.Sprintf("%.1f %%", 100*x)
}

// scientific is 9.8e-5, without the zero of 9.8e-05.
func scientific(x float64) string { return strings.Replace(fmt.Sprintf("%.1e", x), "e-0", "e-", 1) }
