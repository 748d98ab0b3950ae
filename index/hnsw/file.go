package hnsw

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"mien/index"
	"mien/index/scan"
)

// savedGraph is the first part of what is saved of a graph; then come, for each block, links, parents, uppers and twins of the
// rows that were ever given out, then the chunks of the lists above level 0.
type savedGraph struct {
	Format int // 1
	M      int
	Rows   uint32
	Entry  uint64
	Units  uint32 // lists above level 0 ever given out
	Free   [maxLevel + 1][]uint32
	Why    string // it serves: Status.Why
}

const graphFormat = 1

// Save is scan.Index.Save with the graph in the same file, so that there is no graph beside rows of another time. Linking
// stops meanwhile; rows that wait are saved as such.
func (x *Index) Save(sequence uint64, owner []byte) error {
	x.pausing.Lock()
	defer x.pausing.Unlock()
	x.stop()
	defer x.begin()
	l := x.spare.Get().(*linker)
	defer x.spare.Put(l)
	for x.sweepOnce(l) {
	}
	if !x.auto.serves() || x.broken.Load() || !x.Coded() {
		return x.Index.Save(sequence, owner) // without the graph, which is linked anew
	}
	x.using.RLock() // it is not dropped meanwhile
	defer x.using.RUnlock()
	g := x.graph.Load()
	s := savedGraph{Format: graphFormat, M: g.m, Rows: x.Next(), Entry: g.entry.Load(), Units: g.upper.next, Free: g.upper.free, Why: x.verdict()}
	head, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return x.SaveWith(sequence, owner, append([][]byte{head}, g.spans(s.Rows)...))
}

// begin lets the background go on after stop.
func (x *Index) begin() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopped = x.closing
	x.startLocked()
	x.startSweepLocked()
	x.tellLocked()
}

// spans is the memory that is saved, for rows below next.
func (g *graph) spans(next uint32) (spans [][]byte) {
	for i, b := range *g.blocks.Load() {
		if n := min(blockRows, int(next)-i*blockRows); n > 0 {
			spans = append(spans, bytesOf(b.links[:n*2*g.m]), bytesOf(b.parents[:n]), bytesOf(b.uppers[:n]), b.twinBytes())
		}
	}
	for _, c := range *g.upper.chunks.Load() {
		spans = append(spans, bytesOf(c))
	}
	return spans
}

func (b *block) twinBytes() []byte { return b.region.Bytes[len(b.region.Bytes)-blockRows/8:] }

func bytesOf(s []atomic.Uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
}

// Open is scan.Open with the graph that was saved. One that is damaged, of another M, or missing is linked anew in the
// background, while the scan answers.
func Open(c Config) (x *Index, sequence uint64, owner []byte, err error) {
	x, err = newIndex(c)
	if err != nil {
		return nil, 0, nil, err
	}
	var damage error
	opened := x.config.Config
	opened.Extra = func(sizes []int, read func([][]byte) error) { damage = x.load(sizes, read) }
	if x.Index, sequence, owner, err = scan.Open(opened); err != nil {
		x.dropGraph()
		return nil, 0, nil, err
	}
	if g := x.graph.Load(); damage == nil && g.entry.Load() != 0 && x.savedRows != x.Next() {
		damage = fmt.Errorf("%w: the graph is of %d rows, the index of %d", index.ErrCorrupt, x.savedRows, x.Next())
	}
	if damage != nil {
		x.dropGraph()
	}
	x.damage = damage
	return x, sequence, owner, x.resume()
}

// load reads the graph, which is not in use yet. Errors: ErrCorrupt.
func (x *Index) load(sizes []int, read func([][]byte) error) error {
	if len(sizes) == 0 {
		return nil // the index was saved without one
	}
	head, s := make([]byte, sizes[0]), savedGraph{}
	if err := read([][]byte{head}); err != nil {
		return err
	}
	if err := json.Unmarshal(head, &s); err != nil {
		return fmt.Errorf("%w: the graph's header: %w", index.ErrCorrupt, err)
	}
	if s.Format != graphFormat {
		return fmt.Errorf("%w: the graph has format %d, this program reads %d", index.ErrCorrupt, s.Format, graphFormat)
	}
	if s.M != x.config.M {
		return fmt.Errorf("%w: the graph was made with M %d, not %d", index.ErrCorrupt, s.M, x.config.M)
	}
	g := x.graph.Load()
	chunks := make([][]atomic.Uint32, (s.Units+unitsPerChunk-1)/unitsPerChunk)
	for i := range chunks {
		chunks[i] = make([]atomic.Uint32, unitsPerChunk*g.m)
	}
	g.upper.chunks.Store(&chunks)
	g.upper.next, g.upper.free = s.Units, s.Free
	if err := g.reserve(s.Rows); err != nil {
		return err
	}
	spans := g.spans(s.Rows)
	if !slices.EqualFunc(spans, sizes[1:], func(span []byte, size int) bool { return len(span) == size }) {
		return fmt.Errorf("%w: the graph's parts are not of their sizes", index.ErrCorrupt)
	}
	if err := read(spans); err != nil {
		return err
	}
	g.entry.Store(s.Entry)
	if err := g.verify(s.Rows); err != nil {
		return err
	}
	x.savedRows, x.auto.why = s.Rows, s.Why
	return nil
}

// resume has the rows that are not linked wait for it, and takes those out that were removed while the graph was saved.
func (x *Index) resume() error {
	g := x.graph.Load()
	if g.entry.Load() != 0 {
		x.auto.adopt()
	}
	if !x.auto.wants() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.tryLocked(x.Rows())
		return nil
	}
	defer x.begin()
	if err := x.queueUnlinked(g); err != nil {
		return err
	}
	var dead []uint32
	g.eachLinked(func(row uint32) {
		if x.linked.Add(1); !x.Live(row) {
			g.bury(row)
			dead = append(dead, row)
		}
	})
	if len(dead) == 0 {
		return nil
	}
	l := x.spare.Get().(*linker)
	defer x.spare.Put(l)
	return x.sweepGraph(l, dead)
}

func (x *Index) queueUnlinked(g *graph) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.Each(func(row, _ uint32) {
		if g.block(row) == nil || !g.isLinked(row) {
			x.enqueueLocked(row)
			return
		}
		g.know(row)
	})
}

// verify checks that the graph is what package hnsw promises (doc.go), for rows below next. REQUIRES: nothing changes
// meanwhile. Errors: ErrCorrupt.
func (g *graph) verify(next uint32) (err error) {
	bad := func(row uint32, format string, args ...any) {
		if err == nil {
			err = fmt.Errorf("%w: the graph's row %d %s", index.ErrCorrupt, row, fmt.Sprintf(format, args...))
		}
	}
	roots := 0
	var links []uint32
	for i, b := range *g.blocks.Load() {
		for j := range b.parents {
			row := uint32(i*blockRows + j)
			upper := b.uppers[j].Load()
			if level := upper >> 28; level > maxLevel || level > 0 && upper&(1<<28-1)+level > g.upper.next {
				bad(row, "has %d levels from %d", level, upper&(1<<28-1))
				return err
			}
			if b.parents[j].Load() == 0 {
				continue
			}
			if p := g.parent(row); p >= next || !g.isLinked(p) {
				bad(row, "has the parent %d, which is not linked", p)
			} else if p == row {
				roots++
			}
			for level := range int(upper>>28) + 1 {
				links = g.neighbours(links[:0], row, level)
				for k, n := range links {
					if n >= next || n == row || !g.isLinked(n) || g.level(n) < level || slices.Contains(links[:k], n) {
						bad(row, "has a link to %d at level %d", n, level)
						return err
					}
				}
			}
		}
	}
	if err != nil {
		return err
	}
	return g.verifyTree(next, roots)
}

// verifyTree checks that every linked row is the root's descendant, and that parents and children have links to each
// other: so from every row there is a way to every row.
func (g *graph) verifyTree(next uint32, roots int) error {
	row, level, ok := g.top()
	if ok && (row >= next || !g.isLinked(row) || g.level(row) != level) || roots > 1 || ok != (roots == 1) {
		return fmt.Errorf("%w: the graph has %d roots, and row %d of level %d for an entry", index.ErrCorrupt, roots, row, level)
	}
	const unknown, onTheWay, rooted = 0, 1, 2
	state := make([]uint8, len(*g.blocks.Load())*blockRows)
	var way, links []uint32
	var err error
	g.eachLinked(func(row uint32) {
		for way = way[:0]; state[row] == unknown; row = g.parent(row) {
			state[row], way = onTheWay, append(way, row)
		}
		if state[row] == onTheWay && g.parent(row) != row {
			err = fmt.Errorf("%w: the graph's row %d is its own ancestor", index.ErrCorrupt, row)
		}
		for _, row := range way {
			state[row] = rooted
			p := g.parent(row)
			links = g.neighbours(g.neighbours(links[:0], row, 0), p, 0)
			if p != row && (!slices.Contains(links, row) || !slices.Contains(links, p)) {
				err = fmt.Errorf("%w: the graph's row %d and its parent %d are not linked", index.ErrCorrupt, row, p)
			}
		}
	})
	return err
}
