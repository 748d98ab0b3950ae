package index

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"mien/simd"
)

// search is the pooled state of one search: the padded probe, and a worker with its list for each goroutine
// that may share it. Its arrays are reused, so a search allocates nothing once warm.
type search struct {
	scan  *Scan
	probe []float32  // stride long, padding zero
	score [1]float32 // Dot's result: the pool's, so that it need not be allocated

	ctx      context.Context // of the running search only; nil between
	segments []*segment
	next     atomic.Int64 // the next segment to compare
	stopped  atomic.Bool  // ctx ended before the last segment was taken
	wg       sync.WaitGroup
	workers  []*worker // workers[0] is the caller
	used     int       // workers of this search
}

// worker compares segments until none is left and keeps the best labels it saw.
type worker struct {
	top    top
	scores [segmentRows]float32 // of the segment at hand
	help   func()               // made once, so that the go statement allocates no closure
}

func newSearch(s *Scan) *search {
	sc := &search{scan: s, probe: make([]float32, s.stride)}
	for range runtime.GOMAXPROCS(0) {
		w := new(worker)
		w.help = func() {
			sc.compare(w)
			<-s.helpers
			sc.wg.Done()
		}
		sc.workers = append(sc.workers, w)
	}
	return sc
}

func (sc *search) begin(ctx context.Context, segs []*segment, q []float32, k int, threshold float32) {
	copy(sc.probe, q)
	sc.ctx, sc.segments = ctx, segs
	sc.next.Store(0)
	sc.stopped.Store(false)
	for _, w := range sc.workers {
		w.top.reset(k, threshold)
	}
}

// run compares every segment, with helpers when that pays and slots are free: when many searches run at
// once the cores are busy without.
func (sc *search) run() {
	sc.used = 1
	if n := len(sc.segments); n >= parallelSegments {
		want := min(len(sc.workers), n/segmentsPerHelper)
		for sc.used < want && sc.tryHelp(sc.workers[sc.used]) {
			sc.used++
		}
	}
	sc.compare(sc.workers[0])
	sc.wg.Wait()
	sc.ctx, sc.segments = nil, nil
}

func (sc *search) tryHelp(w *worker) bool {
	select {
	case sc.scan.helpers <- struct{}{}:
		sc.wg.Add(1)
		go w.help()
		return true
	default:
		return false
	}
}

func (sc *search) compare(w *worker) {
	for {
		i := int(sc.next.Add(1)) - 1
		if i >= len(sc.segments) {
			return
		}
		if sc.ctx.Err() != nil {
			sc.stopped.Store(true)
			return
		}
		sc.segments[i].compare(sc.probe, w)
	}
}

func (g *segment) compare(probe []float32, w *worker) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	t, scores := &w.top, w.scores[:len(g.live)]
	simd.DotRows(scores, probe, g.vectors, len(probe)) // dead rows too: they are zero, and few
	for i, score := range scores {
		// !(score >= bound) also drops the NaN that an overflow of huge vectors may make.
		if score >= t.bound && g.live[i] {
			t.offer(Hit{g.labels[i], score})
		}
	}
}

// merged folds the helpers' lists into the caller's; valid until the search is pooled again.
func (sc *search) merged() []Hit {
	t := &sc.workers[0].top
	for _, w := range sc.workers[1:sc.used] {
		for _, h := range w.top.hits {
			t.offer(h)
		}
	}
	return t.hits
}

// top keeps the k best labels, each once, sorted best first. Insertion into a sorted array beats a heap
// here: k is small, and after the first rows few scores pass the bound.
type top struct {
	k     int
	bound float32 // what a score must reach to matter: the threshold, then the k-th best
	hits  []Hit
}

func (t *top) reset(k int, threshold float32) {
	t.k, t.bound, t.hits = k, threshold, t.hits[:0]
}

// offer takes h if it is among the k best. A label that is there already keeps its better score.
func (t *top) offer(h Hit) {
	if !(h.Score >= t.bound) {
		return
	}
	for i, have := range t.hits {
		if have.Label != h.Label {
			continue
		}
		if have.Score >= h.Score {
			return
		}
		t.hits = slices.Delete(t.hits, i, i+1)
		break
	}
	at, _ := slices.BinarySearchFunc(t.hits, h, compareHits)
	if at == t.k {
		return
	}
	t.hits = t.hits[:min(len(t.hits), t.k-1)]
	t.hits = slices.Insert(t.hits, at, h)
	if len(t.hits) == t.k {
		t.bound = t.hits[t.k-1].Score
	}
}

// compareHits orders by score, best first, then by label.
func compareHits(a, b Hit) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.Label, b.Label))
}
