package index

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"mien/simd"
)

const (
	// MaxDim bounds the dimension of an index.
	MaxDim = 1 << 14
	// MaxRows bounds the rows of one index: row numbers are uint32.
	MaxRows = 1<<32 - segmentRows

	segmentRows = 1024
	laneFloats  = simd.FloatLine

	// parallelSegments is the least number of segments that a search shares among goroutines, and
	// segmentsPerHelper the work that pays for one of them: at dim 512 a segment takes some 30 to 60 µs,
	// starting a goroutine and merging its list a few.
	parallelSegments  = 8
	segmentsPerHelper = 4
)

// Scan is an exhaustive index: it compares a probe with every row. Memory is 4 bytes × dim (padded to 16) a
// row, in segments of 1,024 rows that are kept when rows are removed. Safe for concurrent use.
type Scan struct {
	dim    int
	stride int // in floats
	live   atomic.Int64

	segments atomic.Pointer[[]*segment] // replaced by a longer copy, never changed in place
	scratch  sync.Pool                  // *search
	helpers  chan struct{}              // slots for helper goroutines, shared by all searches

	mu struct {
		sync.Mutex          // serialises writers; taken before a segment's lock
		free       []uint32 // removed rows, given out again last first
		next       uint32   // first row never given out
	}
}

// segment is a run of rows; mu guards all of it.
type segment struct {
	mu      sync.RWMutex
	vectors []float32 // rows × stride
	labels  []uint32
	live    []bool
}

// NewScan makes an empty index of vectors float32[dim], 1 ≤ dim ≤ MaxDim. Errors: ErrDim.
func NewScan(dim int) (*Scan, error) {
	if dim < 1 || dim > MaxDim {
		return nil, ErrDim
	}
	s := &Scan{dim: dim, stride: (dim + laneFloats - 1) / laneFloats * laneFloats}
	s.helpers = make(chan struct{}, runtime.GOMAXPROCS(0))
	s.segments.Store(new([]*segment))
	s.scratch.New = func() any { return newSearch(s) }
	return s, nil
}

// Rows is the number of live rows. Safe for concurrent use.
func (s *Scan) Rows() int { return int(s.live.Load()) }

// Add stores a copy of v, float32[dim], finite and not all zero, under label and returns its row. Rows that
// were removed are given out again. The next search sees it. Errors: ErrDim, ErrNotFinite, ErrZero, ErrFull.
func (s *Scan) Add(label uint32, v []float32) (row uint32, err error) {
	if err := s.check(v); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row, err = s.takeRowLocked()
	if err != nil {
		return 0, err
	}
	s.segmentOf(row).put(int(row%segmentRows), s.stride, label, v)
	s.live.Add(1)
	return row, nil
}

// Set overwrites a live row in place: a concurrent search sees the old vector or the new one, never neither.
// v as in Add. Errors: ErrDim, ErrNotFinite, ErrZero, ErrRow.
func (s *Scan) Set(row, label uint32, v []float32) error {
	if err := s.check(v); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isLiveLocked(row) {
		return ErrRow
	}
	s.segmentOf(row).put(int(row%segmentRows), s.stride, label, v)
	return nil
}

// Remove frees a row and clears its vector from memory. The next search does not see it. Errors: ErrRow.
func (s *Scan) Remove(row uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isLiveLocked(row) {
		return ErrRow
	}
	s.segmentOf(row).drop(int(row%segmentRows), s.stride)
	s.mu.free = append(s.mu.free, row)
	s.live.Add(-1)
	return nil
}

// Dot is the dot product of q, float32[dim], and a live row, computed by the same kernel over the same
// padded lengths as a search, so that both give the same number. Errors: ErrDim, ErrNotFinite, ErrZero, ErrRow.
func (s *Scan) Dot(row uint32, q []float32) (float32, error) {
	if err := s.check(q); err != nil {
		return 0, err
	}
	segs := *s.segments.Load()
	if int(row/segmentRows) >= len(segs) {
		return 0, ErrRow
	}
	sc := s.scratch.Get().(*search)
	defer s.scratch.Put(sc)
	copy(sc.probe, q)
	g, i := segs[row/segmentRows], int(row%segmentRows)
	g.mu.RLock()
	defer g.mu.RUnlock()
	if i >= len(g.live) || !g.live[i] {
		return 0, ErrRow
	}
	simd.DotRows(sc.score[:], sc.probe, g.row(i, s.stride), s.stride)
	return sc.score[0], nil
}

// SearchInto appends to dst the k labels whose best row has the largest dot product with q, best first, all
// ≥ threshold, and returns the extended slice.
//
// q is float32[dim], finite and not all zero; it is not retained. Ties go to the smaller label. The answer
// is exact for the rows that were live throughout; a row written meanwhile is seen before or after, never
// half. That is said of rows, not of labels: of a label whose rows change meanwhile, some may be seen before
// and others after. k may exceed the rows there are: lists grow as they fill. From 8 segments on the work is
// shared with up to GOMAXPROCS goroutines in all, which end before it returns. It allocates only if
// cap(dst)−len(dst) is too small, or a list must grow beyond those of earlier searches. When ctx ends it stops
// at the next segment with ctx's error. Errors: ErrDim, ErrNotFinite, ErrZero, ErrK, ctx's. Safe for concurrent use.
func (s *Scan) SearchInto(ctx context.Context, dst []Hit, q []float32, k int, threshold float32) ([]Hit, error) {
	if k < 1 {
		return dst, ErrK
	}
	if err := s.check(q); err != nil {
		return dst, err
	}
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	sc := s.scratch.Get().(*search)
	defer s.scratch.Put(sc)
	sc.begin(ctx, *s.segments.Load(), q, k, threshold)
	sc.run()
	if err := ctx.Err(); err != nil && sc.stopped.Load() {
		return dst, err
	}
	return append(dst, sc.merged()...), nil
}

// check refuses what no row may hold and no probe may be.
func (s *Scan) check(v []float32) error {
	if len(v) != s.dim {
		return ErrDim
	}
	zero := true
	for _, x := range v {
		if math.Float32bits(x)&0x7f800000 == 0x7f800000 {
			return ErrNotFinite
		}
		zero = zero && x == 0
	}
	if zero {
		return ErrZero
	}
	return nil
}

// takeRowLocked gives out a row number whose segment exists.
func (s *Scan) takeRowLocked() (uint32, error) {
	if n := len(s.mu.free); n > 0 {
		row := s.mu.free[n-1]
		s.mu.free = s.mu.free[:n-1]
		return row, nil
	}
	row := s.mu.next
	if row >= MaxRows {
		return 0, ErrFull
	}
	segs := *s.segments.Load()
	if int(row/segmentRows) == len(segs) {
		longer := append(slices.Clip(slices.Clone(segs)), new(segment))
		s.segments.Store(&longer)
	}
	s.mu.next++
	return row, nil
}

func (s *Scan) segmentOf(row uint32) *segment { return (*s.segments.Load())[row/segmentRows] }

func (s *Scan) isLiveLocked(row uint32) bool {
	return row < s.mu.next && s.segmentOf(row).live[row%segmentRows] // only writers change live: s.mu suffices
}

func (g *segment) row(i, stride int) []float32 {
	return g.vectors[i*stride : (i+1)*stride : (i+1)*stride]
}

func (g *segment) put(i, stride int, label uint32, v []float32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i == len(g.live) {
		g.grow(stride)
	}
	copy(g.row(i, stride), v)
	g.labels[i], g.live[i] = label, true
}

// grow adds one row; capacity doubles up to a full segment, so that a gallery of ten people does not cost
// what one of a thousand does.
func (g *segment) grow(stride int) {
	n := len(g.live) + 1
	if want := n * stride; want > cap(g.vectors) {
		rows := min(max(2*len(g.live), laneFloats), segmentRows)
		longer := make([]float32, len(g.vectors), rows*stride)
		copy(longer, g.vectors)
		clear(g.vectors)
		g.vectors = longer
	}
	g.vectors = g.vectors[:n*stride]
	g.labels, g.live = append(g.labels, 0), append(g.live, false)
}

func (g *segment) drop(i, stride int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.row(i, stride))
	g.labels[i], g.live[i] = 0, false
}
