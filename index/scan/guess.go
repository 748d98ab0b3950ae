package scan

import (
	"math"
	"sync/atomic"

	"mien/index"
)

// guesser says where the K-th best score will lie, so that a search for the best need not begin without a bound. If
// there are K scores from the guess on, they are the K best, and no row that reaches the guess was lost more often than
// promised; if there are not, the search is made again without. Scores of random pairs are taken to be normal, with
// the mean and deviation that the fit has measured; a gallery whose tail is thinner is noticed by wrong guesses.
type guesser struct {
	lower atomic.Int32 // how often the share of rows to be expected above the guess is doubled
	right atomic.Int32 // right guesses since that changed
}

const (
	maxLower   = 12
	enoughOnes = 256
)

// of is a guess for a search, or −1 if none can be made.
func (g *guesser) of(x *Index, o index.Options) float32 {
	f := x.fit.Load()
	if f == nil || o.K == 0 || o.Filter != nil {
		return -1
	}
	k := float64(o.K)
	expected := math.Ldexp(k+4*math.Sqrt(k)+4, int(g.lower.Load()))
	share := expected / float64(x.live.Load())
	if share > 0.01 {
		return -1
	}
	return float32(f.Cosine + f.CosineD*deviations(share))
}

// was notes whether a guess was right, and returns that. A wrong one makes the next lower; many right ones higher.
func (g *guesser) was(right bool) bool {
	switch {
	case !right:
		g.right.Store(0)
		if g.lower.Load() < maxLower {
			g.lower.Add(1)
		}
	case g.right.Add(1) >= enoughOnes && g.lower.Load() > 0:
		g.right.Store(0)
		g.lower.Add(-1)
	}
	return right
}
