package scan

import (
	"math"
	"sync/atomic"

	"mien/index"
)

// guesser says where the K-th best score will lie, so that a search for the best need not begin without a bound. If
// there are K scores from the guess on, they are the K best, and no row that reaches the guess was lost more often than
// promised; if there are not, the search is made again with a lower guess, and last without. So a guess changes the
// time that a search takes, not what it finds.
//
// Scores of random pairs are taken to be normal, with the mean and deviation that the fit has measured, and a guess is
// where some number of rows is to be expected. That number doubles when a guess was wrong and halves when many in a row
// were right: so it follows galleries with other tails.
type guesser struct {
	raised atomic.Int32 // how often the number of rows to be expected is doubled
	right  atomic.Int32 // right guesses since that changed
	enough int32        // of those, to halve the number again
}

const (
	maxRaised = 12
	// A search for the best one first guesses that there is a mate: that hardly any stranger is as near. It is right to
	// be wrong sometimes, as a wrong guess costs a tenth of the search that follows it.
	mateExpected, mateEnough = 0.01, 16
	bestEnough               = 256
)

// guesses are the bounds to try in turn, each with its guesser; n is how many.
func (x *Index) guesses(o index.Options) (bounds [2]float32, by [2]*guesser, n int) {
	f := x.fit.Load()
	if f == nil || o.K == 0 || o.Filter != nil {
		return bounds, by, 0
	}
	add := func(g *guesser, expected float64) {
		if g.raised.Load() == maxRaised {
			g.was(true) // not worth a pass, until it has rested
			return
		}
		share := math.Ldexp(expected, int(g.raised.Load())) / float64(x.live.Load())
		if bound := float32(f.Cosine + f.CosineD*deviations(share)); share < 0.01 && bound > o.Threshold {
			bounds[n], by[n] = bound, g
			n++
		}
	}
	k := float64(o.K)
	if o.K == 1 {
		add(&x.mate, mateExpected)
	}
	add(&x.best, k+4*math.Sqrt(k)+4)
	if n == 2 && bounds[0] <= bounds[1] {
		n = 1
	}
	return bounds, by, n
}

// was notes whether a guess was right, and returns that.
func (g *guesser) was(right bool) bool {
	switch {
	case !right:
		g.right.Store(0)
		if g.raised.Load() < maxRaised {
			g.raised.Add(1)
		}
	case g.right.Add(1) >= g.enough:
		g.right.Store(0)
		if g.raised.Load() > 0 {
			g.raised.Add(-1)
		}
	}
	return right
}
