package evaluate

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
)

// replicates of a bootstrap: the 2.5 % quantile is then the 25th of them.
const replicates = 1000

// bootstrap gives the points' rates bounds that know that comparisons of the same people go together: it draws as many
// people as there are, with replacement, again and again, and takes quantiles of the rates. A comparison of two people
// counts as often as both were drawn together (Bolle, Ratha and Pankanti, CVIU 93, 2004, draw people; products of both
// weights err on the wide side). A rate without a single error gets none: people drawn again show none either.
func (c *scores) bootstrap(points []Point, seed uint64) {
	if len(points) == 0 {
		return
	}
	b := newResampling(c, points)
	fmr, fnmr := make([][]float64, len(points)), make([][]float64, len(points))
	for i := range points {
		fmr[i], fnmr[i] = make([]float64, replicates), make([]float64, replicates)
	}
	var wg sync.WaitGroup
	cores := runtime.GOMAXPROCS(0)
	for first := range cores {
		wg.Go(func() {
			weights := make([]float64, c.g.people())
			for k := first; k < replicates; k += cores {
				redraw(weights, rand.New(rand.NewPCG(seed, uint64(k))))
				b.rates(weights, func(point int, fm, fnm float64) { fmr[point][k], fnmr[point][k] = fm, fnm })
			}
		})
	}
	wg.Wait()
	for i := range points {
		if p := &points[i]; p.FNMR.Count > 0 {
			p.FNMR.People = interval(fnmr[i])
		}
		if p := &points[i]; p.FMR.Count > 0 && p.FMR.Count <= int64(len(c.highest)) {
			p.FMR.People = interval(fmr[i])
		}
	}
}

// redraw sets weights[i] to how often person i is drawn.
func redraw(weights []float64, r *rand.Rand) {
	clear(weights)
	for range weights {
		weights[r.IntN(len(weights))]++
	}
}

func interval(rates []float64) *Interval {
	slices.Sort(rates)
	n := len(rates)
	return &Interval{rates[n*25/1000], rates[n-1-n*25/1000]}
}

// resampling is what the rates of a draw of people are made of.
type resampling struct {
	c      *scores
	points []Point
	from   []int       // bins of the points' thresholds
	own    []float64   // mated comparisons of a person
	misses [][]float64 // of a point, of a person
}

func newResampling(c *scores, points []Point) *resampling {
	b := &resampling{c: c, points: points, own: make([]float64, c.g.people())}
	for _, p := range points {
		b.from = append(b.from, binOf(p.Threshold))
		b.misses = append(b.misses, make([]float64, c.g.people()))
	}
	c.eachMated(func(a, _ int, score float32) {
		person, at := c.g.person[a], bin(score)
		b.own[person]++
		for i, from := range b.from {
			if at < from {
				b.misses[i][person]++
			}
		}
	})
	return b
}

// binOf is the bin whose edge is the threshold.
func binOf(threshold float64) int { return min(max(int((threshold+1)*binsPerUnit+0.5), 0), bins) }

// rates gives what each point's rates are if each person counts so often.
func (b *resampling) rates(weights []float64, yield func(point int, fmr, fnmr float64)) {
	mated, nonMate := dot64(weights, b.own), b.c.weightOfNonMated(weights)
	for i, p := range b.points {
		var fmr, fnmr, matches float64
		if p.FMR.Count <= int64(len(b.c.highest)) && nonMate > 0 {
			for _, s := range b.c.highest[:p.FMR.Count] {
				matches += weights[b.c.g.person[s.a]] * weights[b.c.g.person[s.b]]
			}
			fmr = matches / nonMate
		}
		if mated > 0 {
			fnmr = dot64(weights, b.misses[i]) / mated
		}
		yield(i, fmr, fnmr)
	}
}

func dot64(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// weightOfNonMated is how many non-mated comparisons a draw of people makes.
func (c *scores) weightOfNonMated(weights []float64) (sum float64) {
	if c.pairs != nil {
		for _, p := range c.pairs {
			if !p.Same {
				sum += weights[c.g.person[p.A]] * weights[c.g.person[p.B]]
			}
		}
		return sum
	}
	var photos, squares float64
	for p, w := range weights {
		n := w * float64(int(c.g.end[p])-c.g.first(p))
		photos, squares = photos+n, squares+n*n
	}
	return (photos*photos - squares) / 2
}
