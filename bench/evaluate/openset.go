package evaluate

import (
	"cmp"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"

	"mien/simd"
)

// OpenSet is identification at one gallery size (ISO/IEC 19795-1, open-set): people are enrolled with their first photo, their
// other photos are mated probes, the first photo of everybody else is a non-mated probe.
type OpenSet struct {
	Gallery   int            `json:"gallery"`   // people enrolled at a time
	Galleries int            `json:"galleries"` // of different people each, whose searches are counted together
	Points    []OpenSetPoint `json:"points"`
	Curve     []OpenSetTrade `json:"curve"`
}

// OpenSetPoint holds the rates at one threshold.
type OpenSetPoint struct {
	Target    float64 `json:"target_fpir"`
	Threshold float64 `json:"threshold"`
	// FPIR: non-mated searches that return somebody. One stranger is searched for in every gallery.
	FPIR Rate `json:"fpir"`
	// FNIR: mated searches that don't return the right person first, at or above the threshold. A probe without a face is one
	// of them.
	FNIR Rate `json:"fnir"`
	Few  bool `json:"few,omitempty"` // fewer than 10 false positives
}

// OpenSetTrade is a point of the curve.
type OpenSetTrade struct {
	FPIR float64 `json:"fpir"`
	FNIR float64 `json:"fnir"`
}

// searched is what became of the searches at one gallery size.
type searched struct {
	mated   []float32 // score of the right person if first, else -2: sorted
	nonMate []float32 // best score, -2 for a probe without a face: sorted
}

// openSet makes the experiment at each size that can be had. Everybody with two photos or more may be enrolled, but a third of
// the people is kept for strangers if those with one photo are fewer.
func (c *scores) openSet(s *Set, sizes []int, targets []float64, seed uint64) (sets []OpenSet) {
	enrollable, lost := c.enrollable(s.Photos, seed)
	for _, size := range gallerySizes(sizes, len(enrollable)) {
		count := len(enrollable) / size
		var all searched
		for i := range count {
			c.search(enrollable[i*size:(i+1)*size], lost, &all)
		}
		slices.Sort(all.mated)
		slices.Sort(all.nonMate)
		if len(all.mated) > 0 && len(all.nonMate) > 0 {
			sets = append(sets, all.openSet(size, count, targets))
		}
	}
	return sets
}

// gallerySizes are those that fit, and all, rising.
func gallerySizes(sizes []int, all int) (fit []int) {
	for _, n := range append(slices.Clone(sizes), all) {
		if n > 0 && n <= all && !slices.Contains(fit, n) {
			fit = append(fit, n)
		}
	}
	slices.Sort(fit)
	return fit
}

// enrollable are people with two templates or more, in a random order, and how many photos of each person gave none.
func (c *scores) enrollable(photos []Photo, seed uint64) (people []int, lost map[string]int) {
	for p := range c.g.people() {
		if int(c.g.end[p])-c.g.first(p) > 1 {
			people = append(people, p)
		}
	}
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] })
	lost = map[string]int{}
	for _, p := range photos {
		if p.Failure != "" {
			lost[p.Person]++
		}
	}
	return people[:min(len(people), c.g.people()-c.g.people()/3)], lost
}

// search searches one gallery for everybody.
func (c *scores) search(enrolled []int, lost map[string]int, found *searched) {
	g := c.g
	label := make([]int32, 0, len(enrolled)) // row → person
	rows := make([]float32, 0, len(enrolled)*g.stride)
	in := make([]bool, g.people())
	for _, p := range enrolled {
		rows, label, in[p] = append(rows, g.vector(g.first(p))...), append(label, int32(p)), true
	}
	var probes []int
	for row, p := range g.person {
		if first := g.first(int(p)); in[p] == (row != first) { // others of the enrolled, the first of strangers
			probes = append(probes, row)
		}
	}
	for i, h := range g.bestOf(rows, probes) {
		p := g.person[probes[i]]
		switch {
		case !in[p]:
			found.nonMate = append(found.nonMate, h.score)
		case label[h.b] == p:
			found.mated = append(found.mated, h.score)
		default:
			found.mated = append(found.mated, -2)
		}
	}
	c.searchLost(in, lost, found)
}

// searchLost counts the probes without a face: of the enrolled people they are misses, and a stranger who has no other
// photo is not found.
func (c *scores) searchLost(in []bool, lost map[string]int, found *searched) {
	for p, enrolled := range in {
		if enrolled {
			found.mated = append(found.mated, slices.Repeat([]float32{-2}, lost[c.g.photos[c.g.first(p)].Person])...)
		}
	}
	strangers := len(lost)
	for p := range in {
		if lost[c.g.photos[c.g.first(p)].Person] > 0 {
			strangers--
		}
	}
	found.nonMate = append(found.nonMate, slices.Repeat([]float32{-2}, strangers)...)
}

// bestOf finds the best row for each probe: b is its number in rows.
func (g *gallery) bestOf(rows []float32, probes []int) []scored {
	hits := make([]scored, len(probes))
	var wg sync.WaitGroup
	cores := runtime.GOMAXPROCS(0)
	for first := range cores {
		wg.Go(func() {
			dst := make([]float32, len(rows)/g.stride)
			for i := first; i < len(probes); i += cores {
				simd.DotRows(dst, g.vector(probes[i]), rows, g.stride)
				b := slices.Index(dst, slices.Max(dst))
				hits[i] = scored{int32(probes[i]), int32(b), dst[b]}
			}
		})
	}
	wg.Wait()
	return hits
}

func (s *searched) openSet(size, count int, targets []float64) OpenSet {
	o := OpenSet{Gallery: size, Galleries: count}
	for _, target := range targets {
		p := s.at(s.threshold(target))
		p.Target = target
		o.Points = append(o.Points, p)
	}
	last := -1.0
	for target := 1.0; target >= 1/float64(len(s.nonMate)); target *= math.Pow(10, -0.05) {
		if p := s.at(s.threshold(target)); p.FPIR.Rate != last {
			last = p.FPIR.Rate
			o.Curve = append(o.Curve, OpenSetTrade{p.FPIR.Rate, p.FNIR.Rate})
		}
	}
	return o
}

// threshold is the least at which the share of non-mated searches that return somebody is at most target.
func (s *searched) threshold(target float64) float32 {
	n := len(s.nonMate)
	most := int(target*float64(n) + 1e-9)
	if most >= n {
		return -1
	}
	return math.Nextafter32(s.nonMate[n-1-most], 2) // just above the best that must not be returned
}

func (s *searched) at(threshold float32) OpenSetPoint {
	p := OpenSetPoint{Threshold: float64(threshold)}
	p.FPIR = newRate(atLeast(s.nonMate, threshold), int64(len(s.nonMate)))
	p.FNIR = newRate(int64(len(s.mated))-atLeast(s.mated, threshold), int64(len(s.mated)))
	p.Few = p.FPIR.Count < fewCounts
	return p
}

// atLeast counts the scores of a sorted list that reach the threshold.
func atLeast(sorted []float32, threshold float32) int64 {
	i, _ := slices.BinarySearchFunc(sorted, threshold, cmp.Compare[float32])
	return int64(len(sorted) - i)
}
