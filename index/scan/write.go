package scan

import (
	"math"
	"slices"
	"sync/atomic"

	"mien/index"
	"mien/simd"
)

// batchRows is how many rows are encoded at a time: their vectors, 512 KiB at dim 512, stay in the second-level
// cache while the bases pass over them.
const batchRows = 64

// writeScratch is what encoding a batch needs.
type writeScratch struct {
	rows         []uint32
	labels       [batchRows]uint32
	local        []uint32
	padded, turn []float32 // [batchRows × stride]
	t            []float32
	rotated      []float32
	code         []uint64
	sealed       []byte
}

func newWriteScratch(dim int, r *simd.Rotation) *writeScratch {
	stride := strideOf(dim)
	w := &writeScratch{local: make([]uint32, 0, batchRows), padded: make([]float32, batchRows*stride),
		turn: make([]float32, batchRows*stride), t: make([]float32, batchRows*headDim)}
	if r != nil {
		w.rotated, w.code = make([]float32, r.Padded()), make([]uint64, (r.Padded()+63)/64)
	}
	return w
}

// Replace removes the rows old and stores vectors, float32[dim] each, unit length, under label, all at one moment: a
// search sees either those or these. It returns the new rows. Replace(nil, …) adds, Replace(old, label, nil) removes;
// on an error nothing changes. It does not keep vectors. REQUIRES: old are live, and no other call replaces them
// meanwhile; ErrRow if they are seen not to be. The codes of removed rows are wiped, and their vectors overwritten,
// once no search that began before can see them. Errors: ErrDim, ErrNotFinite, ErrNorm, ErrRow, ErrFull, ErrClosed.
func (x *Index) Replace(old []uint32, label uint32, vectors [][]float32) ([]uint32, error) {
	if err := x.enter(); err != nil {
		return nil, err
	}
	defer x.leave()
	for _, v := range vectors {
		if err := check(v, x.dim); err != nil {
			return nil, err
		}
	}
	x.writing.RLock()
	defer x.startReclaim()
	defer x.fitIfDue(false)
	defer x.writing.RUnlock()
	w := x.scratch.Get().(*writeScratch)
	defer x.scratch.Put(w)
	rows, err := x.reserve(nil, len(vectors), old)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(vectors); i += batchRows {
		part := vectors[i:min(i+batchRows, len(vectors))]
		for j, v := range part {
			copy(w.padded[j*x.stride:(j+1)*x.stride], v)
			w.labels[j] = label
		}
		x.encode(w, rows[i:i+len(part)])
	}
	x.publish(rows, old)
	return rows, nil
}

// Append adds many rows: vectors is float32[len(labels) × dim], and rows, of len(labels), is filled with their
// numbers. They appear in batches, in order. It does not keep the arguments. May be called from several goroutines,
// which share the work of encoding. Errors: as Replace; what was appended before an error stays, and the rest of rows is
// untouched.
func (x *Index) Append(labels []uint32, vectors []float32, rows []uint32) error {
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	if len(vectors) != len(labels)*x.dim || len(rows) != len(labels) {
		return index.ErrDim
	}
	w := x.scratch.Get().(*writeScratch)
	defer x.scratch.Put(w)
	for len(labels) > 0 {
		n := min(batchRows, len(labels))
		if err := x.appendBatch(w, labels[:n], vectors[:n*x.dim], rows[:n]); err != nil {
			return err
		}
		labels, vectors, rows = labels[n:], vectors[n*x.dim:], rows[n:]
		x.fitIfDue(true)
	}
	return nil
}

func (x *Index) appendBatch(w *writeScratch, labels []uint32, vectors []float32, rows []uint32) (err error) {
	for i := range labels {
		v := vectors[i*x.dim : (i+1)*x.dim]
		if err := check(v, x.dim); err != nil {
			return err
		}
		copy(w.padded[i*x.stride:(i+1)*x.stride], v)
	}
	x.writing.RLock()
	defer x.writing.RUnlock()
	if w.rows, err = x.reserve(w.rows[:0], len(labels), nil); err != nil {
		return err
	}
	copy(w.labels[:], labels)
	x.encode(w, w.rows)
	x.publish(w.rows, nil)
	copy(rows, w.rows)
	return nil
}

// reserve appends to dst n rows that no search sees and nobody else has. Errors: ErrFull, ErrRow if one of old is
// not live.
func (x *Index) reserve(dst []uint32, n int, old []uint32) ([]uint32, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, row := range old {
		if !x.isLive(row) {
			return dst, index.ErrRow
		}
	}
	if twice(old) {
		return dst, index.ErrRow
	}
	x.reclaimLocked(reclaimRows)
	for range n {
		row, err := x.takeLocked()
		if err != nil {
			x.mu.free = append(x.mu.free, dst...)
			return nil, err
		}
		dst = append(dst, row)
	}
	return dst, nil
}

func (x *Index) takeLocked() (uint32, error) {
	if n := len(x.mu.free); n > 0 {
		row := x.mu.free[n-1]
		x.mu.free = x.mu.free[:n-1]
		return row, nil
	}
	row := x.next.Load()
	if row >= MaxRows {
		return 0, index.ErrFull
	}
	if err := x.makeRoomLocked(row); err != nil {
		return 0, err
	}
	x.lifeOf(row).born.Store(never)
	x.lifeOf(row).died.Store(never)
	x.next.Store(row + 1)
	return row, nil
}

// makeRoomLocked makes sure that a row which was never given out has its place.
func (x *Index) makeRoomLocked(row uint32) error {
	if s := x.small.Load(); row < SmallRows {
		if int(row) == len(s.life) {
			x.small.Store(s.grown(2*len(s.life), x.stride))
		}
		return nil
	}
	if err := x.vectors.reserve(row); err != nil {
		return err
	}
	have := *x.segments.Load()
	if int(row/segmentRows) < len(have) {
		return nil
	}
	g, err := x.newSegment(row >= segmentRows)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		x.promoteLocked(g)
	}
	longer := append(slices.Clip(slices.Clone(have)), g)
	x.segments.Store(&longer)
	return nil
}

// promoteLocked gives the small rows codes in the first segment.
func (x *Index) promoteLocked(g *segment) {
	s, w := x.small.Load(), x.scratch.Get().(*writeScratch)
	defer x.scratch.Put(w)
	s.copyTable(g.life, g.labels)
	local := make([]uint32, 0, batchRows)
	for i := uint32(0); int(i) < len(s.life); i += batchRows {
		local = local[:0]
		for j := i; int(j) < min(int(i)+batchRows, len(s.life)); j++ {
			local = append(local, j)
		}
		copy(w.padded, s.vectors[int(i)*x.stride:int(local[len(local)-1]+1)*x.stride])
		x.encodeSegment(w, g, local, w.padded)
	}
}

// encode stores the batch in w.padded, with w.labels, as rows.
func (x *Index) encode(w *writeScratch, rows []uint32) {
	x.putSmall(w, rows)
	x.putVectors(w, rows) // before the codes: see refit
	segs := *x.segments.Load()
	for i := 0; len(segs) > 0 && i < len(rows); {
		g, n := segs[rows[i]/segmentRows], 1
		for i+n < len(rows) && rows[i+n]/segmentRows == rows[i]/segmentRows {
			n++
		}
		g.encoding.RLock()
		part := w.padded[i*x.stride : (i+n)*x.stride]
		local := w.local[:0]
		for j, row := range rows[i : i+n] {
			local = append(local, row%segmentRows)
			g.labels[row%segmentRows].Store(w.labels[i+j])
		}
		x.encodeSegment(w, g, local, part)
		g.encoding.RUnlock()
		i += n
	}
}

// putSmall stores those of the batch that are small rows. It holds mu, so that the arrays can neither be replaced
// nor be encoded for the first segment in between: either that sees the vector, or encode sees the segment.
func (x *Index) putSmall(w *writeScratch, rows []uint32) {
	if !slices.ContainsFunc(rows, func(row uint32) bool { return row < SmallRows }) {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.small.Load()
	for i, row := range rows {
		if row < SmallRows {
			copy(s.row(row, x.stride), w.padded[i*x.stride:(i+1)*x.stride])
			s.labels[row].Store(w.labels[i])
		}
	}
}

// putVectors stores the others' float32 rows, in runs.
func (x *Index) putVectors(w *writeScratch, rows []uint32) {
	for i := 0; i < len(rows); {
		n := 1
		for i+n < len(rows) && rows[i+n] == rows[i]+uint32(n) && rows[i] >= SmallRows {
			n++
		}
		if rows[i] >= SmallRows {
			w.sealed = x.vectors.put(rows[i], w.padded[i*x.stride:(i+n)*x.stride], w.sealed)
		}
		i += n
	}
}

// encodeSegment makes the codes of vectors, float32[len(local) × stride], for the rows local of g. REQUIRES:
// g.encoding is held.
func (x *Index) encodeSegment(w *writeScratch, g *segment, local []uint32, vectors []float32) {
	if x.rotation == nil {
		return
	}
	for i, row := range local {
		simd.Rotate(w.rotated, vectors[i*x.stride:i*x.stride+x.dim], x.rotation)
		simd.SignBits(w.code, w.rotated)
		simd.PutCode(g.sketches, int(row), w.code)
	}
	x.encodeCodes(w, g.codes.Load(), local, vectors)
	if g.pending != nil {
		x.encodeCodes(w, g.pending, local, vectors)
	}
}

func (x *Index) encodeCodes(w *writeScratch, c *codes, local []uint32, vectors []float32) {
	if c.fit != nil {
		c.fit.transform(w.turn, vectors, w.t)
		vectors = w.turn
	} else if x.turnsInt8() {
		for i := range local {
			clear(w.turn[i*x.stride : (i+1)*x.stride])
			simd.Rotate(w.turn[i*x.stride:i*x.stride+x.dim], vectors[i*x.stride:i*x.stride+x.dim], x.rotation)
		}
		vectors = w.turn
	}
	stride := int8Stride(x.dim)
	for i, row := range local {
		v := vectors[i*x.stride : (i+1)*x.stride]
		if c.fit != nil {
			var head [headWords]uint64
			simd.SignBits(head[:], v[:headDim])
			simd.PutNibbles(c.short, int(row), bytesOf(head[:])[:headBytes])
			tail := tailOf(v[:x.dim])
			grow(&c.mostTail, float32(tail))
			c.setOdd(row, tail > c.fit.Tail)
		}
		scale := simd.QuantizeInt8(c.int8[int(row)*stride:int(row)*stride+x.dim], v[:x.dim])
		c.scales[row].Store(math.Float32bits(scale))
		grow(&c.mostScale, scale)
	}
}

// publish makes rows appear and old disappear, at once.
func (x *Index) publish(rows, old []uint32) {
	if x.graph != nil {
		x.graph.Born(rows)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	epoch := x.epoch.Load() + 1
	for _, row := range rows {
		l := x.lifeOf(row)
		l.died.Store(never)
		l.born.Store(epoch)
	}
	for _, row := range old {
		x.lifeOf(row).died.Store(epoch)
	}
	x.live.Add(int64(len(rows) - len(old)))
	x.epoch.Store(epoch)
	if x.graph == nil || !x.graph.Died(old) {
		x.buryLocked(old, epoch)
	}
}

// buryLocked has removed rows wiped and given out again once no search of before epoch is left.
func (x *Index) buryLocked(rows []uint32, epoch uint64) {
	for _, row := range rows {
		x.mu.limbo = append(x.mu.limbo, corpse{row, epoch})
	}
	x.limboed.Add(int64(len(rows)))
}

// Fence waits for the changes in progress: rows that Config.Graph was told of as born have appeared, or will not.
func (x *Index) Fence() {
	x.writing.Lock()
	defer x.writing.Unlock()
}

// Release lets go of rows that Config.Graph has kept. Each is released once. Errors: ErrClosed.
func (x *Index) Release(rows []uint32) error {
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	defer x.startReclaim()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.buryLocked(rows, x.epoch.Load())
	return nil
}

func (x *Index) lifeOf(row uint32) *life {
	if segs := *x.segments.Load(); len(segs) > 0 {
		return &segs[row/segmentRows].life[row%segmentRows]
	}
	return &x.small.Load().life[row]
}

func (x *Index) labelOf(row uint32) *atomic.Uint32 {
	if segs := *x.segments.Load(); len(segs) > 0 {
		return &segs[row/segmentRows].labels[row%segmentRows]
	}
	return &x.small.Load().labels[row]
}

func (x *Index) isLive(row uint32) bool {
	return row < x.next.Load() && x.lifeOf(row).at(x.epoch.Load())
}

// reclaimRows bounds what is wiped in one hold of mu.
const reclaimRows = 64

// reclaimLocked wipes up to most removed rows that no search can see any more and gives them out again, and frees
// codes that were replaced. It returns how many.
func (x *Index) reclaimLocked(most int) (n int) {
	if len(x.mu.limbo)+len(x.mu.retired) == 0 {
		return 0
	}
	oldest := x.passes.oldest()
	w := x.scratch.Get().(*writeScratch)
	defer x.scratch.Put(w)
	for ; n < min(most, len(x.mu.limbo)) && x.mu.limbo[n].died <= oldest; n++ {
		row := x.mu.limbo[n].row
		x.wipe(w, row)
		x.mu.free = append(x.mu.free, row)
	}
	x.mu.limbo = x.mu.limbo[n:]
	if len(x.mu.limbo) == 0 {
		x.mu.limbo = nil
	}
	x.limboed.Add(int64(-n))
	for len(x.mu.retired) > 0 && x.mu.retired[0].at <= oldest {
		x.mu.retired[0].codes.region.Free()
		x.mu.retired = slices.Delete(x.mu.retired, 0, 1)
		x.limboed.Add(-1)
		n++
	}
	return n
}

// startReclaim has what is dead wiped in the background, if there is any: at the end of changes and of searches, which
// don't wait for it.
func (x *Index) startReclaim() {
	if x.limboed.Load() > 0 && x.reclaiming.CompareAndSwap(false, true) {
		x.helping.Add(1)
		go x.reclaim()
	}
}

// reclaimAll wipes until nothing is left that can be. A search that ends after it looked for the last time finds
// reclaiming false, or is seen by the look after that is stored.
func (x *Index) reclaimAll() {
	defer x.helping.Done()
	for more := true; more; {
		for x.reclaimSome() > 0 {
		}
		x.reclaiming.Store(false)
		more = x.canReclaim() && x.reclaiming.CompareAndSwap(false, true)
	}
}

func (x *Index) reclaimSome() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.reclaimLocked(reclaimRows)
}

func (x *Index) canReclaim() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	oldest := x.passes.oldest()
	return len(x.mu.limbo) > 0 && x.mu.limbo[0].died <= oldest || len(x.mu.retired) > 0 && x.mu.retired[0].at <= oldest
}

// twice reports whether a row is listed twice.
func twice(rows []uint32) bool {
	if len(rows) < 2 {
		return false
	}
	sorted := slices.Sorted(slices.Values(rows))
	return len(slices.Compact(sorted)) < len(rows)
}

func (x *Index) wipe(w *writeScratch, row uint32) {
	l := x.lifeOf(row)
	l.born.Store(never)
	if segs := *x.segments.Load(); len(segs) > 0 {
		x.wipeCodes(segs[row/segmentRows], int(row%segmentRows))
	}
	if row < SmallRows {
		s := x.small.Load()
		clear(s.row(row, x.stride))
		s.labels[row].Store(0)
		return
	}
	w.sealed = x.vectors.erase(row, w.sealed)
}

func (x *Index) wipeCodes(g *segment, row int) {
	g.labels[row].Store(0)
	if x.rotation == nil {
		return
	}
	g.encoding.RLock()
	defer g.encoding.RUnlock()
	zero := [simd.MaxSketchWords]uint64{}
	simd.PutCode(g.sketches, row, zero[:x.words()])
	g.codes.Load().wipe(row, int8Stride(x.dim))
	if g.pending != nil {
		g.pending.wipe(row, int8Stride(x.dim))
	}
}

// setOdd notes whether a row's short code is to be trusted.
func (c *codes) setOdd(row uint32, odd bool) {
	bit := uint64(1) << (row % 64)
	if odd && c.odd[row/64].Or(bit)&bit == 0 {
		c.odds.Add(1)
	} else if !odd && c.odd[row/64].And(^bit)&bit != 0 {
		c.odds.Add(-1)
	}
}

func (c *codes) wipe(row, stride int) {
	if c.fit != nil {
		var none [headBytes]byte
		simd.PutNibbles(c.short, row, none[:])
		c.setOdd(uint32(row), false)
	}
	clear(c.int8[row*stride : (row+1)*stride])
	c.scales[row].Store(0)
}
