package scan

import (
	"context"
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"

	"mien/index"
	"mien/simd"
)

const (
	listRows   = 4096 // survivors that a pass collects for a probe before they are looked at
	seedRows   = 512  // rows that are compared first where no threshold narrows the search
	groupWidth = simd.MaxSketchProbes

	// roundingZ is how many deviations the rounding errors of int8 codes are given: 3e-10, and slack what float32
	// arithmetic in the bases may add (doc.go, "int8").
	roundingZ = 6.2
	slack     = 1e-4
)

// candidate is a row that may be in the answer: its score is within err of estimate.
type candidate struct {
	row, label    uint32
	estimate, err float32
}

// probe is one search.
type probe struct {
	x     *Index
	o     index.Options
	z     float64 // deviations of the miss probability
	q     []float32
	epoch uint64 // what the search sees
	small *small
	segs  []*segment

	sketch sketch
	forms  struct {
		sync.Mutex
		of [2]form // for rows without a fit, and with
		prepareScratch
	}

	// Of the carousel; protected by its mutex but for pending and done.
	first, chunks int
	pending       atomic.Int32
	done          chan struct{}

	bound atomic.Uint32 // float32 bits: what an estimate plus its error must reach
	found struct {
		sync.Mutex
		least      index.Top // of estimates less their errors: its bound is what the answer reaches at least
		candidates []candidate
		err        error
	}

	exact  index.Top
	vector []float32
	sealed []byte
	score  [1]float32
}

func (x *Index) newProbe() *probe {
	p := &probe{x: x, q: make([]float32, x.stride), done: make(chan struct{}, 1), vector: make([]float32, x.stride)}
	p.sealed = make([]byte, x.vectors.scratchBytes())
	p.forms.prepareScratch = newPrepareScratch(x.dim)
	for i := range p.forms.of {
		p.forms.of[i].codes = make([]int8, int8Stride(x.dim))
	}
	if x.rotation != nil {
		p.sketch.rotated, p.sketch.planes = make([]float32, x.rotation.Padded()), make([]uint64, 4*x.words())
	}
	return p
}

// SearchInto appends to dst the labels whose best row has the largest dot product with q, best first, as o asks,
// and returns the extended slice.
//
// q is float32[dim] of unit length; it is not retained. Scores are exact float32 dot products; ties go to the smaller
// label. The search sees the index as it is at one moment after it began: every change that returned before, and of
// each later one everything or nothing. A row that belongs into the answer is lost with a probability of at most
// o.Miss; none is with o.Exact, or among the first 1,024 rows of an index that never held more. It allocates only if
// cap(dst)−len(dst) is too small, or lists must grow beyond those of earlier searches. When ctx ends it stops at the
// next chunk with ctx's error. Errors: ErrDim, ErrNotFinite, ErrNorm, ErrK, ErrOptions, ErrClosed, ErrCorrupt of the
// vectors file, ctx's. Safe for concurrent use.
func (x *Index) SearchInto(ctx context.Context, dst []index.Hit, q []float32, o index.Options) ([]index.Hit, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	r, err := x.Read(q, o)
	if err != nil {
		return dst, err
	}
	defer r.Close()
	return r.Scan(ctx, dst, o.Exact)
}

// Check is a search that is made twice at one moment, the second time with Options.Exact: what the first one misses is
// the index's doing and no change's. It costs what the second does. Errors: as SearchInto's.
func (x *Index) Check(ctx context.Context, q []float32, o index.Options) (found, exact []index.Hit, err error) {
	return x.CheckBy(ctx, q, o, func(r *Reader) ([]index.Hit, error) { return r.Scan(ctx, nil, o.Exact) })
}

// CheckBy is Check of another search.
func (x *Index) CheckBy(ctx context.Context, q []float32, o index.Options, search func(*Reader) ([]index.Hit, error)) (found, exact []index.Hit, err error) {
	r, err := x.Read(q, o)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	if found, err = search(r); err == nil {
		exact, err = r.Scan(ctx, nil, true)
	}
	return found, exact, err
}

func (p *probe) begin(q []float32, o index.Options) {
	copy(p.q, q)
	if o.K > 0 {
		o.K = min(o.K, max(1, int(p.x.next.Load()))) // there are no more labels than rows
	}
	p.o, p.z = o, deviations(o.Miss)
	p.x.passes.register(p, p.x.epoch.Load)
	p.segs, p.small = *p.x.segments.Load(), p.x.small.Load()
	p.reset()
	p.forms.of[0].scale, p.forms.of[1].scale = 0, 0
	p.sketch.ready = false
}

// answer appends the labels found to dst, best first.
func (p *probe) answer(dst []index.Hit) []index.Hit {
	hits := p.exact.Hits()
	if p.o.K == 0 {
		slices.SortFunc(hits, index.CompareHits)
	}
	return append(dst, hits...)
}

func (p *probe) run(ctx context.Context) error {
	x := p.x
	if len(p.segs) == 0 {
		p.compareSmall()
		return nil
	}
	if p.o.Exact || x.rotation == nil {
		return p.pass(ctx)
	}
	p.sketch.prepare(p.q[:x.dim], x.rotation)
	if done, err := p.tryGuesses(ctx); done || err != nil {
		return err
	}
	if p.o.Filter == nil && p.o.Threshold < 0.2 {
		p.seed(min(int(x.next.Load()), seedRows))
	}
	return p.pass(ctx)
}

// tryGuesses is done if one of them was right.
func (p *probe) tryGuesses(ctx context.Context) (done bool, err error) {
	bounds, by, n := p.x.guesses(p.o)
	for i := range n {
		p.raise(bounds[i])
		if err := p.pass(ctx); err != nil {
			return false, err
		}
		if by[i].was(p.exact.Bound() >= bounds[i]) {
			return true, nil
		}
		p.reset()
	}
	return false, nil
}

// pass compares every chunk, and the candidates by float32.
func (p *probe) pass(ctx context.Context) error {
	if err := p.ride(ctx); err != nil {
		return err
	}
	if p.found.err != nil {
		return p.found.err
	}
	return p.rescore(ctx)
}

// reset begins with nothing found.
func (p *probe) reset() {
	p.found.candidates, p.found.err = p.found.candidates[:0], nil
	p.exact.Reset(p.o.K, p.o.Threshold)
	p.raise(p.o.Threshold)
}

// raise begins with a bound.
func (p *probe) raise(bound float32) {
	p.found.least.Reset(p.o.K, bound)
	p.bound.Store(math.Float32bits(bound))
}

// compareSmall is the whole search of an index without codes.
func (p *probe) compareSmall() {
	s := p.small
	for i := uint32(0); int(i) < min(int(p.x.next.Load()), len(s.life)); i++ {
		if s.life[i].at(p.epoch) && p.passes(i) {
			simd.DotRows(p.score[:], p.q, s.row(i, p.x.stride), p.x.stride)
			p.exact.Offer(s.labels[i].Load(), p.score[0])
		}
	}
}

func (p *probe) passes(row uint32) bool { return p.o.Filter == nil || p.o.Filter.Has(row) }

// ride takes part in the carousel until every chunk has been compared.
func (p *probe) ride(ctx context.Context) error {
	c := &p.x.passes
	work, start := c.board(p, p.x.chunks, p.x.workers)
	p.x.helping.Add(start)
	for range start {
		go p.x.help()
	}
	if work {
		p.x.work(ctx, p)
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		c.leave(p)
		<-p.done
		return ctx.Err()
	}
}

// chunks is how many chunks hold all rows that were ever given out.
func (x *Index) chunks() int { return (int(x.next.Load()) + chunkRows - 1) / chunkRows }

// work compares chunks until none is wanted, or until own is done, which may be nil.
func (x *Index) work(ctx context.Context, own *probe) {
	w := x.workPool.Get().(*worker)
	defer x.workPool.Put(w)
	for {
		chunk, ok := x.passes.take(w)
		if !ok {
			return
		}
		w.compare(x, chunk)
		for i, p := range w.batch {
			w.batch[i] = nil
			p.landed()
		}
		if own != nil && (len(own.done) > 0 || ctx.Err() != nil) {
			if x.passes.quit() {
				x.helping.Add(1)
				go x.help()
			}
			return
		}
	}
}

// worker is the scratch of a goroutine that compares.
type worker struct {
	batch  []*probe
	groups [2][]*probe // those of the batch that take the short stage, and the sketch
	lists  [groupWidth]simd.Survivors
	tables [][]byte
	planes [][]uint64
	packed struct {
		tables []byte
		planes []uint64
	}
	short    [groupWidth]uint8
	long     [groupWidth]uint32
	products []int32
	kept     []uint32
	picked   []candidate
	vectors  []float32
	scores   [simd.SketchLanes]float32
	sealed   []byte
}

func (x *Index) newWorker() *worker {
	w := &worker{products: make([]int32, listRows+simd.SketchLanes), kept: make([]uint32, 0, listRows+simd.SketchLanes)}
	for i := range w.lists {
		w.lists[i] = simd.Survivors{Rows: make([]uint32, 0, listRows+simd.SketchLanes), Values: make([]uint32, 0, listRows+simd.SketchLanes)}
	}
	w.tables, w.planes = make([][]byte, 0, groupWidth), make([][]uint64, 0, groupWidth)
	w.packed.tables, w.packed.planes = make([]byte, groupWidth*tableBytes), make([]uint64, groupWidth*4*x.words())
	return w
}

// compare is the cascade over one chunk for every probe of the batch.
func (w *worker) compare(x *Index, chunk int) {
	at := place{index: x, base: uint32(chunk * chunkRows)}
	at.segment = (*x.segments.Load())[at.base/segmentRows]
	at.from = int(at.base % segmentRows)
	at.rows = min(chunkRows, int(x.next.Load()-at.base))
	at.codes = at.segment.codes.Load()
	w.groups[0], w.groups[1] = w.groups[0][:0], w.groups[1][:0]
	for _, p := range w.batch {
		switch {
		case p.o.Exact || x.rotation == nil:
			w.compareExact(p, at)
		case p.o.Filter != nil && p.sparse(at):
			w.compareFew(p, at)
		case at.codes.fit != nil && at.codes.odds.Load() < segmentRows/64 && p.shortPays(at.codes.fit):
			w.groups[0] = append(w.groups[0], p)
		default:
			w.groups[1] = append(w.groups[1], p)
		}
	}
	inGroups(w.groups[0], func(g []*probe) { w.scanShort(g, at) })
	inGroups(w.groups[1], func(g []*probe) { w.scanSketch(g, at) })
}

// place is a chunk.
type place struct {
	index   *Index
	segment *segment
	codes   *codes
	base    uint32 // row number of the first row
	from    int    // the same, in the segment
	rows    int
}

func (a place) blocks() int { return (a.rows + simd.SketchLanes - 1) / simd.SketchLanes }

// inGroups calls f with 8, 4, 2 or 1 probes at a time.
func inGroups(probes []*probe, f func([]*probe)) {
	for len(probes) > 0 {
		n := 1 << (bits.Len(uint(min(len(probes), groupWidth))) - 1)
		f(probes[:n])
		probes = probes[n:]
	}
}

func (p *probe) least() float64 { return float64(math.Float32frombits(p.bound.Load())) }

// shortPays reports whether a pass over the short codes, and what survives it, costs less than the sketches do. A
// probe with more of its length beyond stepDim than any row that the fit was measured on is outside of what was
// measured.
func (p *probe) shortPays(f *fit) bool {
	t, m := p.least(), p.form(f)
	if t < knots[0] || m.tail > float32(f.Tail) {
		return false
	}
	if _, ok := m.table.bound(f.least(t, p.z)); !ok {
		return false // the table can't tell apart what it would have to
	}
	return f.costShort(t, p.z) < f.costSketch(p.sketch.least(t, p.z), len(p.sketch.rotated))
}

// form is the probe made ready for codes with this fit, or without.
func (p *probe) form(f *fit) *form {
	m := &p.forms.of[0]
	if f != nil {
		m = &p.forms.of[1]
	}
	p.forms.Lock()
	defer p.forms.Unlock()
	if m.scale == 0 || m.fit != f {
		m.prepare(f, p, &p.forms.prepareScratch)
	}
	return m
}

func (w *worker) scanShort(group []*probe, at place) {
	f := at.codes.fit
	w.tables = w.tables[:0]
	for _, p := range group {
		w.tables = append(w.tables, p.form(f).table.bytes[:])
	}
	packed := w.packed.tables[:len(group)*tableBytes]
	simd.PackTables(packed, w.tables)
	blocks := at.codes.short[at.from*headBytes:][:at.blocks()*headBytes*simd.SketchLanes]
	if at.codes.odds.Load() > 0 {
		w.considerOdd(group, at)
	}
	w.passes(group, at, func(done int) int {
		for i, p := range group {
			w.short[i], _ = p.form(f).table.bound(f.least(p.least(), p.z))
		}
		return simd.ScanNibbles(blocks[done*headBytes*simd.SketchLanes:], nibbles, uint32(at.from+done*simd.SketchLanes), packed, w.short[:len(group)], w.lists[:len(group)])
	})
}

// considerOdd takes the rows whose short codes are not trusted past the short stage.
func (w *worker) considerOdd(group []*probe, at place) {
	list := w.lists[0].Rows[:0]
	for b := range at.blocks() {
		word := at.from/64 + b
		for set := at.codes.odd[word].Load(); set != 0 && len(list) < cap(list); set &= set - 1 {
			list = append(list, uint32(word*64+bits.TrailingZeros64(set)))
		}
	}
	for _, p := range group {
		w.consider(p, at, list)
	}
}

func (w *worker) scanSketch(group []*probe, at place) {
	w.planes = w.planes[:0]
	for _, p := range group {
		w.planes = append(w.planes, p.sketch.planes)
	}
	words := at.index.words()
	packed := w.packed.planes[:len(group)*4*words]
	simd.PackProbes(packed, w.planes, 4)
	blocks := at.segment.sketches[at.from*words:][:at.blocks()*words*simd.SketchLanes]
	w.passes(group, at, func(done int) int {
		for i, p := range group {
			w.long[i] = p.sketch.bound(p.sketch.least(p.least(), p.z))
		}
		return simd.ScanSketch(blocks[done*words*simd.SketchLanes:], words, 4, uint32(at.from+done*simd.SketchLanes), packed, w.long[:len(group)], w.lists[:len(group)])
	})
}

// passes calls scan until all blocks are done, and looks at the survivors whenever lists are full.
func (w *worker) passes(group []*probe, at place, scan func(done int) int) {
	for done := 0; done < at.blocks(); {
		for i := range group {
			w.lists[i].Rows, w.lists[i].Values = w.lists[i].Rows[:0], w.lists[i].Values[:0]
		}
		done += scan(done)
		for i, p := range group {
			w.consider(p, at, w.lists[i].Rows)
		}
	}
}

// compareFew is for filters that leave few rows of a chunk: it goes to them without a pass.
func (w *worker) compareFew(p *probe, at place) {
	list := w.lists[0].Rows[:0]
	for b := range at.blocks() {
		for set := p.o.Filter.Word(int(at.base)/64 + b); set != 0; set &= set - 1 {
			if i := b*64 + bits.TrailingZeros64(set); i < at.rows {
				list = append(list, uint32(at.from+i))
			}
		}
		if len(list) >= listRows {
			w.consider(p, at, list)
			list = list[:0]
		}
	}
	w.consider(p, at, list)
}

// sparse reports whether fewer of a chunk's rows pass the filter than would survive a first stage, or so.
func (p *probe) sparse(at place) bool {
	passing := 0
	for b := range at.blocks() {
		passing += bits.OnesCount64(p.o.Filter.Word(int(at.base)/64 + b))
	}
	return passing < at.rows/16
}

// consider takes the rows of list, counted from the segment, through the int8 stage: with a fit, first the head,
// whose products bound the whole by Cauchy and Schwarz, then all of it.
func (w *worker) consider(p *probe, at place, list []uint32) {
	if len(list) == 0 {
		return
	}
	c, m, stride := at.codes, p.form(at.codes.fit), int8Stride(at.index.dim)
	bound := float32(p.least())
	if c.fit != nil {
		list = w.considerHeads(c, m, stride, list, bound)
	}
	products := w.products[:len(list)]
	simd.DotInt8Gather(products, m.codes, c.int8, stride, list)
	w.picked = w.picked[:0]
	for i, row := range list {
		scale := load(&c.scales[row])
		e := candidate{row: at.base - uint32(at.from) + row, estimate: m.scale * scale * float32(products[i]), err: m.rounding(scale)}
		if e.estimate+e.err >= bound && at.segment.life[row].at(p.epoch) && p.passes(e.row) {
			e.label = at.segment.labels[row].Load()
			w.picked = append(w.picked, e)
		}
	}
	if len(w.picked) > 0 {
		p.take(w.picked)
	}
}

// considerHeads keeps the rows whose score may reach bound by the product of the heads. It reads three lines of the
// cache a row, and the row's scale only where the largest scale of any row leaves the question open.
func (w *worker) considerHeads(c *codes, m *form, stride int, list []uint32, bound float32) []uint32 {
	products, kept := w.products[:len(list)], w.kept[:0]
	simd.DotInt8Gather(products, m.codes[:stepDim], c.int8, stride, list)
	scale := load(&c.mostScale)
	least := bound - m.tail*load(&c.mostTail) - m.rounding(scale)
	if least <= 0 {
		return list
	}
	product := int32(least / (m.scale * scale))
	for i, row := range list {
		if products[i] >= product && m.scale*load(&c.scales[row])*float32(products[i]) >= least {
			kept = append(kept, row)
		}
	}
	return kept
}

// rounding is how far int8 codes may be off: the errors of both sides are uniform within half a step and
// independent of the other side, so their products' sum has a deviation of step/√12; or, where they need not be
// independent, at most their length, half a step × √dim (doc.go, "int8").
func (m *form) rounding(scale float32) float32 {
	if m.plain > 0 {
		return m.plain*(m.scale+scale) + slack
	}
	return roundingZ*float32(math.Sqrt(float64(m.scale*m.scale+scale*scale)/12)) + slack
}

// take notes candidates and raises the bound.
func (p *probe) take(picked []candidate) {
	f := &p.found
	f.Lock()
	defer f.Unlock()
	for _, c := range picked {
		if c.estimate+c.err < f.least.Bound() {
			continue
		}
		f.candidates = append(f.candidates, c)
		if p.o.K > 0 {
			f.least.Offer(c.label, c.estimate-c.err)
		}
	}
	p.bound.Store(math.Float32bits(f.least.Bound()))
	if p.o.K > 0 && len(f.candidates) > 1024+8*p.o.K {
		p.pruneLocked()
	}
}

func (p *probe) pruneLocked() {
	f := &p.found
	f.candidates = slices.DeleteFunc(f.candidates, func(c candidate) bool { return c.estimate+c.err < f.least.Bound() })
}

// seed compares the first rows, so that the passes begin with a bound.
func (p *probe) seed(rows int) {
	w := p.x.workPool.Get().(*worker)
	defer p.x.workPool.Put(w)
	list := w.lists[0].Rows[:0]
	for i := range rows {
		list = append(list, uint32(i))
	}
	w.consider(p, place{index: p.x, segment: p.segs[0], codes: p.segs[0].codes.Load(), rows: rows}, list)
	// They come round again with the chunk.
	p.found.candidates = p.found.candidates[:0]
}

// rescore reads the float32 rows of the candidates, best first, until no other can be in the answer.
func (p *probe) rescore(ctx context.Context) error {
	c := p.found.candidates
	slices.SortFunc(c, compareCandidates)
	for i, e := range c {
		if i%64 == 63 && ctx.Err() != nil {
			return ctx.Err()
		}
		if e.estimate+e.err < p.exact.Bound() {
			continue // not the last: errors differ by row
		}
		v, err := p.x.vector(e.row, p.small, p.vector, p.sealed)
		if err != nil {
			return err
		}
		simd.DotRows(p.score[:], p.q, v, p.x.stride)
		p.exact.Offer(e.label, p.score[0])
	}
	return nil
}

func compareCandidates(a, b candidate) int {
	return index.CompareHits(index.Hit{Label: a.row, Score: a.estimate}, index.Hit{Label: b.row, Score: b.estimate})
}

// vector is the padded float32 row, read into buf where it is not in memory.
func (x *Index) vector(row uint32, s *small, buf []float32, scratch []byte) ([]float32, error) {
	if row < SmallRows {
		return s.row(row, x.stride), nil
	}
	if x.dir == "" {
		return x.vectors.inMemory(row), nil
	}
	return buf, x.vectors.get(buf, row, scratch)
}

// compareExact compares a chunk's float32 rows, a block at a time.
func (w *worker) compareExact(p *probe, at place) {
	x := at.index
	if w.vectors == nil {
		w.vectors = make([]float32, simd.SketchLanes*x.stride)
		w.sealed = make([]byte, simd.SketchLanes*x.vectors.slotBytes()+adBytes)
	}
	w.picked = w.picked[:0]
	for i := 0; i < at.rows; i += simd.SketchLanes {
		n := min(simd.SketchLanes, at.rows-i)
		visible := p.visible(at, i, n)
		if visible == 0 {
			continue
		}
		v, err := x.block(at.base+uint32(i), n, visible, p.small, w)
		if err != nil {
			p.fail(err)
			return
		}
		simd.DotRows(w.scores[:n], p.q, v, x.stride)
		for ; visible != 0; visible &= visible - 1 {
			j := bits.TrailingZeros64(visible)
			if s := w.scores[j]; s >= float32(p.least()) {
				w.picked = append(w.picked, candidate{row: at.base + uint32(i+j), label: at.segment.labels[at.from+i+j].Load(), estimate: s})
			}
		}
	}
	p.take(w.picked)
}

// visible is which of n ≤ 64 rows, from the i-th of the chunk, the search sees and the filter passes.
func (p *probe) visible(at place, i, n int) (rows uint64) {
	for j := range n {
		if at.segment.life[at.from+i+j].at(p.epoch) {
			rows |= 1 << j
		}
	}
	if p.o.Filter != nil {
		rows &= p.o.Filter.Word((int(at.base) + i) / 64)
	}
	return rows
}

// block is n ≤ 64 consecutive padded rows, of which those in wanted count; in w where they are not in memory.
func (x *Index) block(first uint32, n int, wanted uint64, s *small, w *worker) ([]float32, error) {
	if first < SmallRows { // 64 divides it
		return s.vectors[int(first)*x.stride : (int(first)+n)*x.stride], nil
	}
	if x.dir == "" {
		return x.vectors.blockInMemory(first, n), nil
	}
	return w.vectors[:n*x.stride], x.vectors.getBlock(w.vectors, first, n, wanted, w.sealed)
}

func (p *probe) fail(err error) {
	p.found.Lock()
	defer p.found.Unlock()
	p.found.err = err
}

// Dot is the dot product of q, float32[dim] of unit length, and a live row: the number that a search gives. Errors:
// ErrDim, ErrNotFinite, ErrNorm, ErrRow, ErrCorrupt, ErrClosed. REQUIRES: nobody replaces the row meanwhile.
func (x *Index) Dot(row uint32, q []float32) (float32, error) {
	if err := x.enter(); err != nil {
		return 0, err
	}
	defer x.leave()
	if err := check(q, x.dim); err != nil {
		return 0, err
	}
	if !x.isLive(row) {
		return 0, index.ErrRow
	}
	p := x.probes.Get().(*probe)
	defer x.probes.Put(p)
	copy(p.q, q)
	v, err := x.vector(row, x.small.Load(), p.vector, p.sealed)
	if err != nil {
		return 0, err
	}
	simd.DotRows(p.score[:], p.q, v, x.stride)
	return p.score[0], nil
}
