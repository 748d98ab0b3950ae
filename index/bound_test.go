package index

import (
	"math"
	"testing"
)

// TestUpperBound against tables of Clopper and Pearson's one-sided bounds.
func TestUpperBound(t *testing.T) {
	for _, x := range []struct {
		k, n int
		want float64
	}{{0, 10, 0.2589}, {0, 1000, 0.002991}, {1, 10, 0.3942}, {5, 10, 0.7776}, {10, 100, 0.1637}, {10, 10, 1}, {0, 0, 1}, {3, 20000, 3.8766e-4}} {
		if got := UpperBound(x.k, x.n); math.Abs(got-x.want) > 1e-3*x.want {
			t.Errorf("%d of %d: %v, not %v", x.k, x.n, got, x.want)
		}
	}
}
