package scan

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"mien/index"
	"mien/simd"
)

const (
	// SmallRows is how many rows live as plain float32 on the heap, without codes: so few are compared exactly
	// in less time than a probe takes to prepare, and a machine may hold a hundred thousand such galleries.
	SmallRows = 1024
	// segmentRows is what memory grows by, chunkRows the unit of work: 320 KiB of short codes, some 20 µs.
	segmentRows = 1 << 16
	chunkRows   = 1 << 14
	// MaxRows bounds the rows of an index: row numbers are uint32.
	MaxRows = 1<<32 - segmentRows

	never = math.MaxUint64
)

// life is when a row was born and died, in epochs: a search at epoch e sees rows with born ≤ e < died.
type life struct {
	born, died atomic.Uint64
}

// at loads died first: a row that is given out again gets its died before its born, so a search of an epoch between
// its lives sees either the end of the one or the later begin of the other.
func (l *life) at(epoch uint64) bool { return epoch < l.died.Load() && l.born.Load() <= epoch }

// segment is 65,536 rows outside the heap. Blocks are as in package simd, a lane is a row:
//
//	base    life     [segmentRows] 16 B
//	        tags     [segmentRows] 8 B            of the slots in the vectors file
//	        labels   [segmentRows] 4 B
//	        sketches [blocks][words][64] 8 B      signs of the rotated vector
//	codes   short    [blocks][headBytes][64] B    signs of the rotated head; only if fitted
//	        odd      [segmentRows] bit                rows whose short code says little; only if fitted
//	        int8     [segmentRows][stride] B
//	        scales   [segmentRows] 4 B                float32 bits: vector ≈ scale × int8
//
// Codes are replaced whole when a fit is found; the old ones go when no search reads them (I4).
type segment struct {
	base     index.Region
	life     []life
	tags     []atomic.Uint64 // of the rows in the vectors file; the small rows' are 0
	labels   []atomic.Uint32
	sketches []uint64
	codes    atomic.Pointer[codes]

	encoding sync.RWMutex // held for reading while rows are written, for writing while a batch is encoded anew
	pending  *codes       // those that will replace codes, or nil; protected by encoding
}

type codes struct {
	region index.Region
	fit    *fit // nil: int8 of the vector as it is, and no short codes
	short  []byte
	int8   []int8
	odd    []atomic.Uint64 // bits of rows with more beyond stepDim than the fit was measured on: no short code is trusted
	odds   atomic.Int64    // how many were set
	scales []atomic.Uint32 // atomic, since a search reads them before it knows whether the row is alive

	// The largest scale, and length beyond stepDim, that any row had: what the head's products are bounded with, so
	// that no row's own numbers are fetched for it. float32 bits.
	mostScale, mostTail atomic.Uint32
}

// grow raises a maximum of numbers ≥ 0, kept as float32 bits, which have their order.
func grow(most *atomic.Uint32, x float32) {
	for bits := math.Float32bits(x); ; {
		have := most.Load()
		if bits <= have || most.CompareAndSwap(have, bits) {
			return
		}
	}
}

func load(x *atomic.Uint32) float32 { return math.Float32frombits(x.Load()) }

func (x *Index) newSegment(huge bool) (*segment, error) {
	words := x.words() // 0 if there are no codes
	lifeBytes, tagBytes, labelBytes := segmentRows*int(unsafe.Sizeof(life{})), segmentRows*8, segmentRows*4
	base, err := index.NewRegion(lifeBytes+tagBytes+labelBytes+segmentRows*words*8, huge)
	if err != nil {
		return nil, err
	}
	b := base.Bytes
	g := &segment{base: base,
		life:     index.SliceOf[life](b[:lifeBytes]),
		tags:     index.SliceOf[atomic.Uint64](b[lifeBytes:][:tagBytes]),
		labels:   index.SliceOf[atomic.Uint32](b[lifeBytes+tagBytes:][:labelBytes]),
		sketches: index.SliceOf[uint64](b[lifeBytes+tagBytes+labelBytes:]),
	}
	if x.rotation == nil {
		return g, nil
	}
	c, err := x.newCodes(x.fit.Load(), huge)
	if err != nil {
		base.Free()
		return nil, err
	}
	g.codes.Store(c)
	return g, nil
}

func (x *Index) newCodes(f *fit, huge bool) (*codes, error) {
	short, odd := 0, 0
	if f != nil {
		short, odd = segmentRows*headBytes, segmentRows/8
	}
	stride := int8Stride(x.dim)
	r, err := index.NewRegion(short+odd+segmentRows*(stride+4), huge)
	if err != nil {
		return nil, err
	}
	b := r.Bytes
	return &codes{region: r, fit: f, short: b[:short],
		odd:    index.SliceOf[atomic.Uint64](b[short:][:odd]),
		int8:   index.SliceOf[int8](b[short+odd:][:segmentRows*stride]),
		scales: index.SliceOf[atomic.Uint32](b[short+odd+segmentRows*stride:])}, nil
}

func (g *segment) tagBytes() []byte {
	return g.base.Bytes[segmentRows*int(unsafe.Sizeof(life{})):][:8*len(g.tags)]
}

func (c *codes) oddBytes() []byte { return c.region.Bytes[len(c.short):][:8*len(c.odd)] }

func (c *codes) scaleBytes() []byte { return c.region.Bytes[len(c.region.Bytes)-4*len(c.scales):] }

func strideOf(dim int) int   { return (dim + simd.FloatLine - 1) / simd.FloatLine * simd.FloatLine }
func int8Stride(dim int) int { return (dim + simd.ByteLine - 1) / simd.ByteLine * simd.ByteLine }

// small is the first rows, on the heap: replaced by a copy twice as large until SmallRows.
type small struct {
	life    []life
	labels  []atomic.Uint32
	vectors []float32 // [rows × stride]
}

func newSmall(rows, stride int) *small {
	return &small{make([]life, rows), make([]atomic.Uint32, rows), make([]float32, rows*stride)}
}

// grown copies s. REQUIRES: no writer is at work. A search goes on with the old arrays: what changes after it
// began it would not see anyway.
func (s *small) grown(rows, stride int) *small {
	n := newSmall(max(rows, 1), stride)
	copy(n.vectors, s.vectors)
	s.copyTable(n.life, n.labels)
	return n
}

// copyTable copies whose the rows are, and when they are alive.
func (s *small) copyTable(lives []life, labels []atomic.Uint32) {
	for i := range s.life {
		lives[i].born.Store(s.life[i].born.Load())
		lives[i].died.Store(s.life[i].died.Load())
		labels[i].Store(s.labels[i].Load())
	}
}

func (s *small) row(i uint32, stride int) []float32 {
	return s.vectors[int(i)*stride : (int(i)+1)*stride : (int(i)+1)*stride]
}
