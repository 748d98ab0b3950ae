package hnsw

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"mien/index"
)

const (
	blockRows = 1 << 16
	// nobody is no row. Links and parents are stored as row + 1, so that memory that was never touched holds none.
	nobody   = math.MaxUint32
	maxLevel = 15
	// unitsPerChunk is how many lists above level 0 are allocated together.
	unitsPerChunk = 4096
)

// graph is links between rows, and a tree among them. Lists are read without a lock, and written with that of their row:
// a reader may see one half new and half old. Every entry is a row that was linked when it was written.
type graph struct {
	m      int // links that a row begins with, and has at most above level 0; 2m at level 0
	blocks atomic.Pointer[[]*block]
	upper  arena
	locks  [512]sync.Mutex
	// housing is odd while a sweep finds parents for rows: then there may be no way to some.
	housing atomic.Uint64

	growing sync.Mutex    // of what follows, and blocks
	entry   atomic.Uint64 // 0, or entryOf
}

// block is what 65,536 rows have in the graph, outside the heap.
type block struct {
	region  index.Region
	links   []atomic.Uint32 // [blockRows × 2m] at level 0, up to a 0
	parents []atomic.Uint32 // in the tree; the root's is itself, 0 of a row that is not linked
	uppers  []atomic.Uint32 // where the lists above level 0 are: level in the high 4 bits, a unit of upper; 0 has none
	dead    []atomic.Uint64 // bits of rows that have died and are still linked
	known   []atomic.Uint64 // bits of rows that wait or are linked
	leaving []atomic.Uint64 // bits of dead rows that a sweep is taking out
	twins   []atomic.Uint64 // bits of rows that had almost their like in the graph when they were linked
}

func newGraph(m int) *graph {
	g := &graph{m: m}
	g.blocks.Store(new([]*block))
	g.upper.m = m
	g.upper.chunks.Store(new([][]atomic.Uint32))
	return g
}

// bytesPerRow is a block's share.
func bytesPerRow(m int) int { return 4*(2*m+2) + 1 } // 4 bits

func newBlock(m int, huge bool) (*block, error) {
	bits, words := blockRows/8, blockRows*4
	r, err := index.NewRegion(words*2*m+2*words+4*bits, huge)
	if err != nil {
		return nil, err
	}
	at := 0
	take := func(n int) []byte { at += n; return r.Bytes[at-n : at] }
	return &block{region: r,
		links:   index.SliceOf[atomic.Uint32](take(words * 2 * m)),
		parents: index.SliceOf[atomic.Uint32](take(words)),
		uppers:  index.SliceOf[atomic.Uint32](take(words)),
		dead:    index.SliceOf[atomic.Uint64](take(bits)),
		known:   index.SliceOf[atomic.Uint64](take(bits)),
		leaving: index.SliceOf[atomic.Uint64](take(bits)),
		twins:   index.SliceOf[atomic.Uint64](take(bits)),
	}, nil
}

// reserve makes room for rows below next.
func (g *graph) reserve(next uint32) error {
	want := (int(next) + blockRows - 1) / blockRows
	if len(*g.blocks.Load()) >= want {
		return nil
	}
	g.growing.Lock()
	defer g.growing.Unlock()
	have := slices.Clone(*g.blocks.Load())
	for len(have) < want {
		b, err := newBlock(g.m, len(have) > 0)
		if err != nil {
			return err
		}
		have = append(have, b)
	}
	g.blocks.Store(&have)
	return nil
}

func (g *graph) free() {
	for _, b := range *g.blocks.Load() {
		b.region.Free()
	}
}

func (g *graph) memoryBytes(rows uint32) int64 {
	rows = min(rows, uint32(len(*g.blocks.Load())*blockRows))
	return int64(rows)*int64(bytesPerRow(g.m)) + int64(len(*g.upper.chunks.Load())*unitsPerChunk*g.m*4)
}

// block is the row's, nil if there is none.
func (g *graph) block(row uint32) *block {
	if blocks := *g.blocks.Load(); int(row/blockRows) < len(blocks) {
		return blocks[row/blockRows]
	}
	return nil
}

// parent is nobody for a row that is not linked.
func (g *graph) parent(row uint32) uint32 { return g.block(row).parents[row%blockRows].Load() - 1 }

func (g *graph) setParent(row, p uint32) { g.block(row).parents[row%blockRows].Store(p + 1) }

func (g *graph) isLinked(row uint32) bool { return g.parent(row) != nobody }

func has(bits []atomic.Uint64, row uint32) bool {
	return bits[row%blockRows/64].Load()>>(row%64)&1 != 0
}

func set(bits []atomic.Uint64, row uint32, to bool) {
	if word, bit := &bits[row%blockRows/64], uint64(1)<<(row%64); to {
		word.Or(bit)
	} else {
		word.And(^bit)
	}
}

func (g *graph) isDead(row uint32) bool { return has(g.block(row).dead, row) }

func (g *graph) isLeaving(row uint32) bool { return has(g.block(row).leaving, row) }

// isGivenUp reports whether a row leaves, and others may have its place in the lists of its parent and children.
func (g *graph) isGivenUp(row uint32) bool { return g.housing.Load()&1 != 0 && g.isLeaving(row) }

// lives reports whether a row is linked and will be when the linker that asks is done. In this order: a row that a sweep
// takes out is marked dead until it is no longer linked, and was before the linker began.
func (g *graph) lives(row uint32) bool { return !g.isDead(row) && g.isLinked(row) }

func (g *graph) isTwin(row uint32) bool { return has(g.block(row).twins, row) }

func (g *graph) setTwin(row uint32, twin bool) { set(g.block(row).twins, row, twin) }

func (g *graph) level(row uint32) int { return int(g.block(row).uppers[row%blockRows].Load() >> 28) }

// setLevel gives a row lists above level 0, without links, in the place of those it has; it returns the level it got, 0 if there
// are no more. REQUIRES: as setList.
func (g *graph) setLevel(row uint32, level int) (got int) {
	upper := g.upper.take(level)
	g.upper.give(g.block(row).uppers[row%blockRows].Swap(upper))
	return int(upper >> 28)
}

// list is the slots of a row's links at a level; none above the row's own, which may have been unlinked.
func (g *graph) list(row uint32, level int) []atomic.Uint32 {
	b, i := g.block(row), int(row%blockRows)
	if level == 0 {
		return b.links[i*2*g.m : (i+1)*2*g.m]
	}
	upper := b.uppers[i].Load()
	if level > int(upper>>28) {
		return nil
	}
	return g.upper.unit(upper&(1<<28-1) + uint32(level-1))
}

// neighbours appends a row's links at a level to dst.
func (g *graph) neighbours(dst []uint32, row uint32, level int) []uint32 {
	slots := g.list(row, level)
	for i := range slots {
		n := slots[i].Load() - 1
		if n == nobody {
			break
		}
		dst = append(dst, n)
	}
	return dst
}

// setList replaces a row's links. REQUIRES: the row's lock is held, or nobody else knows the row.
func (g *graph) setList(row uint32, level int, links []uint32) {
	slots := g.list(row, level)
	for i := range slots {
		if i >= len(links) {
			slots[i].Store(0)
			continue
		}
		slots[i].Store(links[i] + 1)
	}
}

func (g *graph) lock(row uint32) *sync.Mutex {
	mu := &g.locks[row*0x9e3779b1>>23]
	mu.Lock()
	return mu
}

func entryOf(row uint32, level int) uint64 { return 1<<48 | uint64(level)<<32 | uint64(row) }

func (g *graph) top() (row uint32, level int, ok bool) {
	e := g.entry.Load()
	return uint32(e), int(e >> 32 & 0xffff), e != 0
}

// raise makes row the entry if it is above the one there is.
func (g *graph) raise(row uint32, level int) {
	g.growing.Lock()
	defer g.growing.Unlock()
	if _, top, ok := g.top(); !ok || level > top {
		g.entry.Store(entryOf(row, level))
	}
}

// plant makes row the root if the graph is empty.
func (g *graph) plant(row uint32, level int) bool {
	g.growing.Lock()
	defer g.growing.Unlock()
	if g.entry.Load() != 0 {
		return false
	}
	g.setList(row, 0, nil) // of an earlier life
	g.setTwin(row, false)
	g.setParent(row, row)
	g.entry.Store(entryOf(row, level))
	return true
}

// randomLevel is geometric: each level has 1/m of the rows below (Malkov and Yashunin, 4.1: mL = 1/ln M).
func (g *graph) randomLevel(rng *rand.Rand) int {
	return min(int(rng.ExpFloat64()/math.Log(float64(g.m))), maxLevel)
}

// arena holds the lists above level 0, of m links each: a row has as many of them, one after the other, as its level.
type arena struct {
	m      int
	chunks atomic.Pointer[[][]atomic.Uint32]

	mu   sync.Mutex // of what follows
	next uint32     // first unit never given out
	free [maxLevel + 1][]uint32
}

func (a *arena) unit(n uint32) []atomic.Uint32 {
	at := int(n%unitsPerChunk) * a.m
	return (*a.chunks.Load())[n/unitsPerChunk][at : at+a.m]
}

// take gives out n units, without links, and returns what block.uppers holds; 0 for none, and when there are no more.
func (a *arena) take(n int) uint32 {
	if n == 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	var first uint32
	if free := a.free[n]; len(free) > 0 {
		first, a.free[n] = free[len(free)-1], free[:len(free)-1]
	} else if a.next >= 1<<28-2*unitsPerChunk {
		return 0
	} else {
		if room := unitsPerChunk - a.next%unitsPerChunk; room < uint32(n) {
			a.next += room
		}
		first = a.next
		a.next += uint32(n)
		if chunks := *a.chunks.Load(); len(chunks) <= int(a.next-1)/unitsPerChunk {
			longer := append(slices.Clip(chunks), make([]atomic.Uint32, unitsPerChunk*a.m))
			a.chunks.Store(&longer)
		}
	}
	for i := range n {
		u := a.unit(first + uint32(i))
		for j := range u {
			u[j].Store(0)
		}
	}
	return uint32(n)<<28 | first
}

// give takes units back.
func (a *arena) give(upper uint32) {
	if upper == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	n := upper >> 28
	a.free[n] = append(a.free[n], upper&(1<<28-1))
}
