package hnsw

import (
	"math"
	"math/rand/v2"
	"slices"

	"mien/index"
	"mien/index/scan"
)

// twinScore is from where on two rows are taken for one photo: other photos of a person hardly get there.
const twinScore = 0.98

// linker is what one goroutine needs to link rows. It is the terrain of the row that it is at.
type linker struct {
	walk
	g       *graph
	r       *scan.Reader
	rng     *rand.Rand
	row     uint32
	efc     int
	cands   []near
	start   []uint32
	kept    []uint32
	pruned  []uint32
	pairs   []float32
	levels  [maxLevel + 1][]uint32 // chosen links
	links   []uint32
	reserve []uint32
	around  []uint32
	orphans []uint32
	root    uint32 // of the tree, in a sweep
}

func newLinker(efc int) *linker {
	return &linker{rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), efc: efc}
}

func (l *linker) Estimate(scores []float32, rows []uint32) { l.r.Pairs(scores, l.row, rows) }

func (l *linker) Answers(row uint32) bool { return row != l.row && l.g.lives(row) }

// link makes row a part of the graph (Malkov and Yashunin, Algorithm 1); done is false if there is none but dead rows to link it
// to.
func (l *linker) link(row uint32) (done bool) {
	g := l.g
	l.row = row
	level := g.randomLevel(l.rng)
	at, top, ok := l.descend(g, l, level)
	if !ok {
		return g.plant(row, g.setLevel(row, level)) || l.abandon(row)
	}
	l.start = append(l.start[:0], at)
	for lv := min(level, top); lv >= 0; lv-- {
		l.run(g, l, lv, l.start, l.efc, noRadius, math.MaxInt)
		l.cands = slices.DeleteFunc(append(l.cands[:0], l.pool...), func(n near) bool {
			return !n.answers || g.level(n.row) < lv // born again lower down
		})
		l.levels[lv] = append(l.levels[lv][:0], l.choose(l.cands, g.m, nil)...)
		if len(l.cands) > 0 {
			l.start = append(l.start[:0], l.cands[0].row)
		}
	}
	if len(l.cands) == 0 {
		return false
	}
	g.setTwin(row, slices.ContainsFunc(l.cands, func(n near) bool { return n.score >= twinScore && !g.isTwin(n.row) }))
	return l.publish(row, level, min(level, top))
}

// abandon undoes what link did for a row that nobody knows yet.
func (l *linker) abandon(row uint32) bool {
	l.g.setLevel(row, 0)
	return false
}

// publish makes the row's own lists, then lets others link to it: first its parent, so that from then on it can be
// reached. It fails as link does.
func (l *linker) publish(row uint32, level, top int) bool {
	g := l.g
	level = g.setLevel(row, level)
	top = min(top, level)
	for lv := 1; lv <= top; lv++ {
		g.setList(row, lv, l.levels[lv])
	}
	if !l.adopt(row, l.levels[0]) {
		return l.abandon(row)
	}
	for lv := range top + 1 {
		for _, n := range l.levels[lv] {
			l.addLink(n, row, lv)
		}
	}
	g.raise(row, level)
	return true
}

// adopt finds a parent for row, whose links at level 0 will be these and the parent: the nearest with room, or a
// descendant of one of them: a tree has leaves. There is none if all have died meanwhile.
func (l *linker) adopt(row uint32, links []uint32) bool {
	l.reserve = append(l.reserve[:0], links...)
	return l.firstOf(&l.reserve, func(p uint32) bool { return l.attach(row, p, links) })
}

// firstOf calls f for rows, then for their children, and so on, each once, until it is true for one.
func (l *linker) firstOf(rows *[]uint32, f func(row uint32) bool) bool {
	l.seen.reset()
	for i := 0; i < len(*rows); i++ {
		row := (*rows)[i]
		if !l.seen.add(row) {
			continue // dead rows may go round in a circle
		}
		if f(row) {
			return true
		}
		*rows = l.kids(*rows, row)
	}
	return false
}

// kids appends the children of p.
func (l *linker) kids(dst []uint32, p uint32) []uint32 {
	mu := l.g.lock(p) // a list that is being written can seem to lack one
	defer mu.Unlock()
	return l.kidsLocked(dst, p)
}

// kidsLocked is kids with p's lock held. While parents are being found, it leaves out those that leave: their places are free.
func (l *linker) kidsLocked(dst []uint32, p uint32) []uint32 {
	l.links = l.g.neighbours(l.links[:0], p, 0)
	for _, k := range l.links {
		if l.g.parent(k) == p && k != p && !l.g.isGivenUp(k) {
			dst = append(dst, k)
		}
	}
	return dst
}

// attach makes p the parent of row, whose other links are given, if p has room for a child.
func (l *linker) attach(row, p uint32, links []uint32) bool {
	g := l.g
	if p == row || !g.lives(p) {
		return false
	}
	g.setList(row, 0, withLink(l.links[:0], links, p, 2*g.m)) // nobody knows row yet
	return l.giveTo(row, p)
}

// giveTo makes p the parent of row, and links p to it, if p has room for a child.
func (l *linker) giveTo(row, p uint32) bool {
	mu := l.g.lock(p)
	defer mu.Unlock()
	if l.kept = l.kidsLocked(l.kept[:0], p); len(l.kept) >= l.g.m {
		return false
	}
	l.g.setParent(row, p)
	l.addLinkLocked(p, row, 0)
	return true
}

// withLink is links with p among them, at most so many.
func withLink(dst, links []uint32, p uint32, most int) []uint32 {
	dst = append(dst, p)
	for _, n := range links {
		if n != p && len(dst) < most {
			dst = append(dst, n)
		}
	}
	return dst
}

// addLink puts row among the links of n.
func (l *linker) addLink(n, row uint32, level int) {
	mu := l.g.lock(n)
	defer mu.Unlock()
	l.addLinkLocked(n, row, level)
}

func (l *linker) addLinkLocked(n, row uint32, level int) {
	slots := l.g.list(n, level)
	l.links = l.links[:0]
	for i := range slots {
		switch have := slots[i].Load() - 1; have {
		case row:
			return
		case nobody:
			slots[i].Store(row + 1)
			return
		default:
			l.links = append(l.links, have)
		}
	}
	l.links = append(l.links, row)
	l.setBest(n, level, l.links, len(slots))
}

// setBest gives n the best of links, at most so many. REQUIRES: n's lock is held.
func (l *linker) setBest(n uint32, level int, links []uint32, most int) {
	l.cands = l.rank(l.cands[:0], n, links)
	var tree func(uint32) bool
	if level == 0 {
		tree = func(k uint32) bool { return l.inTree(n, k) }
	}
	l.g.setList(n, level, l.choose(l.cands, most, tree))
}

// inTree reports whether a and its neighbour b are parent and child: such links stay, as long as b keeps its place.
func (l *linker) inTree(a, b uint32) bool {
	return (l.g.parent(a) == b || l.g.parent(b) == a) && !l.g.isGivenUp(b)
}

// rank appends rows with their scores to n, best first.
func (l *linker) rank(dst []near, n uint32, rows []uint32) []near {
	l.scores = slices.Grow(l.scores[:0], len(rows))[:len(rows)]
	l.r.Pairs(l.scores, n, rows)
	for i, row := range rows {
		dst = append(dst, near{score: l.scores[i], row: row})
	}
	slices.SortFunc(dst, func(a, b near) int {
		return index.CompareHits(index.Hit{Label: a.row, Score: a.score}, index.Hit{Label: b.row, Score: b.score})
	})
	return dst
}

// choose returns up to most of cands, which are sorted: those for which always holds, then those nearer to where the
// list is than to all chosen before (Algorithm 4), then the nearest of the others. Valid until the next call.
func (l *linker) choose(cands []near, most int, always func(row uint32) bool) []uint32 {
	l.kept, l.pruned = l.kept[:0], l.pruned[:0]
	if always != nil {
		for _, c := range cands {
			if always(c.row) {
				l.kept = append(l.kept, c.row)
			}
		}
	}
	fixed := len(l.kept)
	for _, c := range cands {
		switch {
		case fixed > 0 && slices.Contains(l.kept[:fixed], c.row):
		case len(l.kept) >= most:
			return l.kept
		case l.isDiverse(c):
			l.kept = append(l.kept, c.row)
		default:
			l.pruned = append(l.pruned, c.row)
		}
	}
	for _, row := range l.pruned {
		if len(l.kept) >= most {
			break
		}
		l.kept = append(l.kept, row)
	}
	return l.kept
}

// isDiverse reports whether c is nearer to where the list is than to any of kept. Those who come first are the ones who
// say no most often.
func (l *linker) isDiverse(c near) bool {
	const step = 8
	l.pairs = slices.Grow(l.pairs[:0], step)[:step]
	for i := 0; i < len(l.kept); i += step {
		part := l.kept[i:min(i+step, len(l.kept))]
		l.r.Pairs(l.pairs[:len(part)], c.row, part)
		for _, score := range l.pairs[:len(part)] {
			if score >= c.score {
				return false
			}
		}
	}
	return true
}
