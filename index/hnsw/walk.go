package hnsw

import (
	"math"
	"slices"
)

// near is a row that a walk has come by, with about its score.
type near struct {
	score    float32
	row      uint32
	answers  bool // it may be in the answer
	counts   bool // and it is one of the ef: no twin of another
	expanded bool // its neighbours have been looked at
}

// idleRows bounds what a walk goes through in vain: near thousands of copies of one photo, of rows that were just removed,
// or of rows that a filter takes out, the scan is faster.
const idleRows = 512

// terrain is what a walk goes over.
type terrain interface {
	Estimate(scores []float32, rows []uint32)
	Answers(row uint32) bool // whether it may be in the answer
}

// walk is a best-first search (Malkov and Yashunin, Algorithm 2), with one sorted list for both their candidates and
// results: it is short, and moving 12-byte entries takes less time than heaps do. Not safe for concurrent use.
type walk struct {
	pool    []near // best first
	counted int    // those of pool that count
	idle    int    // rows that came into the pool without counting
	seen    rowSet
	fresh   []uint32
	scores  []float32
	all     bool // every row counts: to come near, a dead one will do
	from    [1]uint32
}

// run goes over a level from the rows in from, keeping the ef best that count, and all of radius or more, in w.pool. Rows
// that don't answer are gone through like the others, and so are twins, which don't count: a thousand times the same photo
// would fill a list of ef, and nothing else be seen. It stops when no row in sight is as good as the ef-th best; or before, and then it is not whole, when
// more than most count, or more than idleRows and twice ef don't.
func (w *walk) run(g *graph, t terrain, level int, from []uint32, ef int, radius float32, most int) (whole bool) {
	w.pool, w.counted, w.idle = w.pool[:0], 0, 0
	w.seen.reset()
	w.fresh = w.fresh[:0]
	for _, row := range from {
		w.see(row)
	}
	next := w.take(g, t, ef, radius)
	for next < len(w.pool) {
		if w.counted > most || w.idle > idleRows+2*ef {
			return false
		}
		if w.pool[next].expanded {
			next++
			continue
		}
		w.pool[next].expanded = true
		w.fresh = w.fresh[:0]
		slots := g.list(w.pool[next].row, level)
		for i := range slots {
			row := slots[i].Load() - 1
			if row == nobody {
				break
			}
			w.see(row)
		}
		next = min(next, w.take(g, t, ef, radius))
	}
	return true
}

func (w *walk) see(row uint32) {
	if w.seen.add(row) {
		w.fresh = append(w.fresh, row)
	}
}

// take puts the fresh rows into the pool, and returns the first place that changed.
func (w *walk) take(g *graph, t terrain, ef int, radius float32) (first int) {
	first = len(w.pool)
	w.scores = slices.Grow(w.scores[:0], len(w.fresh))[:len(w.fresh)]
	t.Estimate(w.scores, w.fresh)
	for i, row := range w.fresh {
		n := near{score: w.scores[i], row: row}
		if w.counted >= ef && n.score <= w.pool[len(w.pool)-1].score && n.score < radius {
			continue
		}
		n.answers = w.all || t.Answers(row)
		if n.counts = w.all || n.answers && !g.isTwin(row); n.counts {
			w.counted++
		} else {
			w.idle++
		}
		first = min(first, w.insert(n))
		w.trim(ef, radius)
	}
	return first
}

func (w *walk) insert(n near) int {
	lo, hi := 0, len(w.pool)
	for lo < hi {
		if mid := (lo + hi) / 2; w.pool[mid].score >= n.score {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	w.pool = append(w.pool, near{})
	copy(w.pool[lo+1:], w.pool[lo:])
	w.pool[lo] = n
	return lo
}

// trim drops what is beyond the ef-th that counts.
func (w *walk) trim(ef int, radius float32) {
	for {
		last := len(w.pool) - 1
		if last < 0 || w.counted < ef || w.pool[last].score >= radius || w.counted == ef && w.pool[last].counts {
			return
		}
		if w.pool[last].counts {
			w.counted--
		}
		w.pool = w.pool[:last]
	}
}

// rows appends the rows that answer to dst, best first.
func (w *walk) rows(dst []uint32) []uint32 {
	for _, n := range w.pool {
		if n.answers {
			dst = append(dst, n.row)
		}
	}
	return dst
}

// descend goes down from the graph's entry to the level above to, greedily, and returns where it came to and the level of the
// entry; ok is false if the graph is empty.
func (w *walk) descend(g *graph, t terrain, to int) (row uint32, top int, ok bool) {
	row, top, ok = g.top()
	if !ok {
		return 0, 0, false
	}
	w.all = true
	defer func() { w.all = false }()
	for level := top; level > to; level-- {
		w.from[0] = row
		w.run(g, t, level, w.from[:], 1, noRadius, math.MaxInt)
		row = w.pool[0].row
	}
	return row, top, true
}

// noRadius is beyond every score.
const noRadius = 4

// rowSet is a set of rows that is emptied by counting up its epoch. It takes memory for the rows that a walk comes by,
// not for all there are, and so mostly stays in the first-level cache, where an array of marks by row would not.
type rowSet struct {
	table []uint64 // epoch << 32 | row
	epoch uint32
	used  int
	shift uint
}

func (s *rowSet) reset() {
	if s.epoch++; s.epoch == 0 || s.table == nil {
		s.epoch, s.table = 1, make([]uint64, 4096)
		s.shift = 64 - 12
	}
	s.used = 0
}

// add puts a row into the set, and reports whether it was not there.
func (s *rowSet) add(row uint32) bool {
	if 2*s.used >= len(s.table) {
		s.grow()
	}
	key := uint64(s.epoch)<<32 | uint64(row)
	for i := uint64(row) * 0x9e3779b97f4a7c15 >> s.shift; ; i = (i + 1) & uint64(len(s.table)-1) {
		switch have := s.table[i]; {
		case have == key:
			return false
		case uint32(have>>32) != s.epoch:
			s.table[i] = key
			s.used++
			return true
		}
	}
}

func (s *rowSet) grow() {
	old := s.table
	s.table = make([]uint64, 2*len(old))
	s.shift--
	s.used = 0
	for _, key := range old {
		if uint32(key>>32) == s.epoch {
			s.add(uint32(key))
		}
	}
}
