package hnsw

import (
	"math"
	"slices"
)

// sweep takes dead rows out of the graph: no link leads to them afterwards. It finds parents for their children before it goes over the
// lists: until then the old ways are there, afterwards the tree's, and in between, while g.housing is odd, the scan answers. Rows that
// died since stay, with their links and those to them: a search may be going on that sees them. REQUIRES: the rows are marked dead, no search sees them, no linker is
// at work that began before that, and no other sweep is. It returns how many of them were linked, and how many others had no
// neighbour left to be reached from and were given one by a search.
func (l *linker) sweep(dead []uint32) (unlinked, rescued int) {
	g := l.g
	for _, row := range dead {
		set(g.block(row).leaving, row, true)
	}
	orphans := l.orphans[:0]
	g.eachLinked(func(row uint32) {
		if p := g.parent(row); !g.isLeaving(row) && (p == row || g.isLeaving(p)) {
			orphans = append(orphans, row)
		}
	})
	l.orphans = orphans
	g.moveEntry()
	g.housing.Add(1)
	rescued = l.house(orphans)
	g.housing.Add(1)
	g.eachLinked(func(row uint32) {
		if !g.isLeaving(row) {
			for level := range g.level(row) + 1 {
				l.mend(row, level)
			}
		}
	})
	for _, row := range dead {
		if g.isLinked(row) {
			g.unlink(row)
			unlinked++
		}
		g.forget(row)
	}
	return unlinked, rescued
}

// eachLinked calls f for the linked rows.
func (g *graph) eachLinked(f func(row uint32)) {
	for i, b := range *g.blocks.Load() {
		for j := range b.parents {
			if b.parents[j].Load() != 0 {
				f(uint32(i*blockRows + j))
			}
		}
	}
}

// mend takes dead rows out of a row's list. Their own neighbours compete for the places.
func (l *linker) mend(row uint32, level int) {
	g := l.g
	mu := g.lock(row)
	defer mu.Unlock()
	l.links = g.neighbours(l.links[:0], row, level)
	if !slices.ContainsFunc(l.links, g.isLeaving) {
		return
	}
	have := len(l.links)
	l.around = l.around[:0]
	for _, n := range l.links {
		if g.isLeaving(n) {
			l.around = g.neighbours(l.around, n, level)
		}
	}
	l.around = slices.DeleteFunc(l.around, func(n uint32) bool { return n == row || !g.lives(n) || g.level(n) < level })
	l.reserve = append(append(l.reserve[:0], slices.DeleteFunc(l.links, g.isLeaving)...), l.around...)
	slices.Sort(l.reserve)
	l.reserve = slices.Compact(l.reserve)
	l.setBest(row, level, l.reserve, have)
}

// moveEntry makes the highest row that stays the entry if that is leaving; none if nothing stays.
func (g *graph) moveEntry() {
	g.growing.Lock()
	defer g.growing.Unlock()
	row, _, ok := g.top()
	if !ok || !g.isLeaving(row) {
		return
	}
	best, highest := uint32(nobody), -1
	g.eachLinked(func(row uint32) {
		if level := g.level(row); level > highest && !g.isLeaving(row) {
			best, highest = row, level
		}
	})
	if best == nobody {
		g.entry.Store(0)
		return
	}
	g.entry.Store(entryOf(best, highest))
}

// house finds parents for rows that stay and whose parent leaves: among the neighbours, one whose ancestors don't lead back to
// the row. One of them is the root, the first if that leaves.
func (l *linker) house(orphans []uint32) (rescued int) {
	g := l.g
	root := max(0, slices.IndexFunc(orphans, func(row uint32) bool { return g.parent(row) == row }))
	if len(orphans) > 0 {
		l.root = orphans[root]
		g.setParent(l.root, l.root)
		orphans = slices.Delete(orphans, root, root+1)
	}
	for len(orphans) > 0 {
		left := slices.DeleteFunc(orphans, l.houseNear)
		if len(left) == len(orphans) {
			l.rescue(left[0])
			rescued++
			left = left[1:]
		}
		orphans = left
	}
	return rescued
}

// houseNear gives row a parent among its neighbours, or theirs.
func (l *linker) houseNear(row uint32) bool {
	l.around = l.g.neighbours(l.around[:0], row, 0)
	for _, p := range l.around {
		if l.g.ancestor(p) != row && l.attachOrphan(row, p) {
			return true
		}
	}
	return false
}

// rescue gives row, whose neighbours are all its descendants or full, a parent by a search, else any descendant of the root's:
// a tree has leaves.
func (l *linker) rescue(row uint32) {
	g := l.g
	l.row = row
	l.run(g, l, 0, []uint32{l.root}, l.efc, noRadius, math.MaxInt)
	l.around = append(l.walk.rows(l.around[:0]), l.root)
	if !l.firstOf(&l.around, func(p uint32) bool { return g.ancestor(p) != row && l.attachOrphan(row, p) }) {
		panic("BUG: hnsw: a tree has no leaf")
	}
}

// ancestor is the highest of row that can be reached without going over one that leaves.
func (g *graph) ancestor(row uint32) uint32 {
	for {
		p := g.parent(row)
		if p == row || p == nobody || g.isLeaving(p) {
			return row
		}
		row = p
	}
}

// attachOrphan makes p the parent of a row that is linked already. REQUIRES: p is no descendant of row.
func (l *linker) attachOrphan(row, p uint32) bool {
	g := l.g
	if g.isLeaving(p) || !g.isLinked(p) {
		return false
	}
	if !l.giveTo(row, p) {
		return false
	}
	l.addLink(row, p, 0)
	return true
}

// unlink takes a dead row out. Its own links stay until it is linked again: a search may be about to begin with it. REQUIRES:
// nothing leads to it.
func (g *graph) unlink(row uint32) {
	g.setParent(row, nobody)
	g.setLevel(row, 0)
}

// bury marks a row dead.
func (g *graph) bury(row uint32) { set(g.block(row).dead, row, true) }

// forget makes a row as if it had never been.
func (g *graph) forget(row uint32) {
	b := g.block(row)
	set(b.known, row, false)
	set(b.leaving, row, false)
	set(b.dead, row, false)
}

// know notes that a row waits to be linked, or is; false if that is known.
func (g *graph) know(row uint32) bool {
	bit := uint64(1) << (row % 64)
	return g.block(row).known[row%blockRows/64].Or(bit)&bit == 0
}
