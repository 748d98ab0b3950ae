package evaluate

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"mien/simd"
)

const (
	// keepHighest is how many of the highest non-mated comparisons are kept: enough to bootstrap a rate of 1e-3 over
	// 260 million.
	keepHighest = 1 << 18
	// keepLowest is how many of the lowest mated comparisons are kept.
	keepLowest = 1 << 10

	queryBlock = 16   // rows that a worker takes on at a time
	rowBlock   = 1024 // rows that they are compared with in one call
)

// scored is a comparison of two rows.
type scored struct {
	a, b  int32
	score float32
}

// higher orders by falling, lower by rising score, and then both by rows. Scores differ, nearly always: half a million of
// them are sorted at a time, which took most of the time of a comparison when all three were always compared.
func higher(x, y scored) int {
	if x.score != y.score {
		return cmp.Compare(y.score, x.score)
	}
	return byRows(x, y)
}

func lower(x, y scored) int {
	if x.score != y.score {
		return cmp.Compare(x.score, y.score)
	}
	return byRows(x, y)
}

func byRows(x, y scored) int { return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b)) }

// best keeps the first of what is added, in an order.
type best struct {
	keep  int
	order func(x, y scored) int
	list  []scored
	full  bool // something was cut: what comes after worst is not wanted
	worst scored
}

func (t *best) add(s scored) {
	if t.list = append(t.list, s); len(t.list) >= 2*t.keep {
		t.trim()
	}
}

// trim sorts and cuts.
func (t *best) trim() {
	slices.SortFunc(t.list, t.order)
	if len(t.list) > t.keep {
		t.list = t.list[:t.keep]
		t.full, t.worst = true, t.list[t.keep-1]
	}
}

// scores are all comparisons of a set, as far as they are kept: distributions in full, the ends by name.
type scores struct {
	g              *gallery
	pairs          []Pair // as in Set, without those that lack a template
	mated, nonMate *histogram
	highest        []scored // non-mated, best first, at most keepHighest
	lowest         []scored // mated, worst first
}

// compare makes every comparison of the set on all cores. Memory: the templates, and for each core a histogram and the
// ends. Errors: ErrNoFaces, ErrNoPairs, ErrTemplate, ctx's.
func compare(ctx context.Context, s *Set, progress func(done, total int)) (*scores, error) {
	g, err := newGallery(s)
	if err != nil {
		return nil, err
	}
	c := &scores{g: g, mated: newHistogram(), nonMate: newHistogram()}
	if s.Pairs != nil {
		c.listed(s.Pairs)
	} else if err := c.everyTwo(ctx, progress); err != nil {
		return nil, err
	}
	lowest := best{keep: keepLowest, order: lower}
	c.eachMated(func(a, b int, score float32) {
		c.mated.add([]float32{score})
		lowest.add(scored{int32(a), int32(b), score})
	})
	lowest.trim()
	c.lowest = lowest.list
	if c.mated.n == 0 || c.nonMate.n == 0 {
		return nil, fmt.Errorf("%w: %d photos with a face, of %d people, make %d mated and %d non-mated comparisons; both are needed",
			ErrNoPairs, len(g.photos), g.people(), c.mated.n, c.nonMate.n)
	}
	return c, ctx.Err()
}

// listed compares what a list says.
func (c *scores) listed(pairs []Pair) {
	highest := best{keep: keepHighest, order: higher}
	c.pairs = make([]Pair, 0, len(pairs))
	for _, p := range pairs {
		a, b := c.g.row[p.A], c.g.row[p.B]
		if a < 0 || b < 0 {
			continue
		}
		c.pairs = append(c.pairs, Pair{A: int(a), B: int(b), Same: p.Same})
		if !p.Same {
			score := c.g.dot(int(a), int(b))
			c.nonMate.add([]float32{score})
			highest.add(scored{a, b, score})
		}
	}
	highest.trim()
	c.highest = highest.list
}

// everyTwo makes the non-mated comparisons of every two rows.
func (c *scores) everyTwo(ctx context.Context, progress func(done, total int)) error {
	n := len(c.g.photos)
	var next atomic.Int64
	var wg sync.WaitGroup
	var mu sync.Mutex // guards done, highest and c
	highest, done := best{keep: keepHighest, order: higher}, 0
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			w := pass{g: c.g, scores: make([]float32, queryBlock*rowBlock), histogram: newHistogram(), highest: best{keep: keepHighest, order: higher}}
			for ctx.Err() == nil {
				from := int(next.Add(queryBlock)) - queryBlock
				if from >= n {
					break
				}
				to := min(from+queryBlock, n)
				w.block(from, to)
				mu.Lock()
				done += to - from
				if progress != nil {
					progress(done, n)
				}
				mu.Unlock()
			}
			mu.Lock()
			defer mu.Unlock()
			c.nonMate.merge(w.histogram)
			for _, s := range w.highest.list {
				highest.add(s)
			}
		})
	}
	wg.Wait()
	highest.trim()
	c.highest = highest.list
	return ctx.Err()
}

// pass is what one core works with.
type pass struct {
	g         *gallery
	scores    []float32
	histogram *histogram
	highest   best
}

// block compares rows from..to with every later row of another person.
func (w *pass) block(from, to int) {
	g, n := w.g, len(w.g.photos)
	for begin := from; begin < n; begin += rowBlock {
		end := min(begin+rowBlock, n)
		width := end - begin
		dst := w.scores[:(to-from)*width]
		simd.DotQueries(dst, g.rows[from*g.stride:to*g.stride], g.rows[begin*g.stride:end*g.stride], g.stride)
		for q := from; q < to; q++ {
			strangers := max(begin, int(g.end[g.person[q]])) // mates are behind q, up to there
			if strangers < end {
				w.row(q, strangers, dst[(q-from)*width+strangers-begin:(q-from+1)*width])
			}
		}
	}
}

// row takes the scores of row q with rows first, first+1, …
func (w *pass) row(q, first int, scores []float32) {
	w.histogram.add(scores)
	least := float32(-2)
	if w.highest.full {
		least = w.highest.worst.score
	}
	for i, s := range scores {
		if s >= least {
			w.highest.add(scored{int32(q), int32(first + i), s})
		}
	}
}

// eachMated makes the mated comparisons, always in one order and with the same scores.
func (c *scores) eachMated(yield func(a, b int, score float32)) {
	for _, p := range c.pairs {
		if p.Same {
			yield(p.A, p.B, c.g.dot(p.A, p.B))
		}
	}
	if c.pairs != nil {
		return
	}
	scores := make([]float32, len(c.g.photos))
	for a, person := range c.g.person {
		end := int(c.g.end[person])
		dst := scores[:end-a-1]
		simd.DotRows(dst, c.g.vector(a), c.g.rows[(a+1)*c.g.stride:end*c.g.stride], c.g.stride)
		for i, s := range dst {
			yield(a, a+1+i, s)
		}
	}
}
