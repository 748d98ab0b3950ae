package scan

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"mien/index"
	"mien/simd"
)

const (
	// MaxDim bounds the dimension of an index.
	MaxDim = simd.MaxRotationDim
	// MinCodedDim is the least dimension for which codes are made: below, rows are compared exactly.
	MinCodedDim = 64

	rotationSeed = 0x6d69656e // of the sketch; in the format of cache files
)

// Config is what an index is made with. Zero values but Dim work.
type Config struct {
	// Dim is the length of the vectors, 1 to MaxDim.
	Dim int
	// Dir is the folder for float32 rows and the cache file, which one index at a time may use. It is made when the
	// first row beyond 1,024 needs it. Without one, everything is in memory, 4 × Dim bytes a row more, and Save has
	// nowhere to write.
	Dir string
	// Key seals what is written to Dir, AES-256: 32 bytes. It belongs to this index alone.
	Key []byte
	// FitAt is how many rows there must be before directions are fitted for the short stage: 0 is 32,768, else at least
	// 1,000; negative is never, so that searches begin with the sketches, whose bound is derived and not measured.
	FitAt int
	// Workers is how many goroutines compare for all searches together; 0 is GOMAXPROCS.
	Workers int
	// Graph, if not nil, is told of all rows.
	Graph Graph
	// Extra, if not nil, is called by Open, once rows are as they were, with the sizes of what SaveWith had besides, none if
	// there was nothing, and with what reads the next of it into slices of these sizes. Damage there is no error of Open's.
	Extra func(sizes []int, read func(dst [][]byte) error)
}

// Graph is a structure over an index's rows that follows their changes. Both methods are called by those who change rows,
// from several goroutines, and must not call what changes rows.
type Graph interface {
	// Born tells of rows that have their codes and are about to appear.
	Born(rows []uint32)
	// Died tells of rows that have disappeared. If it keeps them, they are neither wiped nor given out again before Release.
	// It must call nothing of the index's that changes or searches.
	Died(rows []uint32) (kept bool)
}

func (c Config) validate() error {
	switch {
	case c.Dim < 1 || c.Dim > MaxDim:
		return index.ErrDim
	case c.Dir != "" && len(c.Key) != 32:
		return fmt.Errorf("%w: a key of 32 bytes is needed to write to %q, this has %d", index.ErrConfig, c.Dir, len(c.Key))
	case c.FitAt > 0 && c.FitAt < minSample:
		return fmt.Errorf("%w: directions can't be fitted to fewer than %d rows, FitAt is %d", index.ErrConfig, minSample, c.FitAt)
	case c.Workers < 0:
		return fmt.Errorf("%w: %d workers", index.ErrConfig, c.Workers)
	}
	return nil
}

// Index is an exhaustive index of unit vectors. Safe for concurrent use, but for Close, which waits for the
// calls in progress.
type Index struct {
	dim, stride int
	*shared
	dir     string
	vectors *vectors
	workers int
	fitAt   int // rows from which directions are fitted
	graph   Graph
	extra   func(sizes []int, read func(dst [][]byte) error)

	life     sync.RWMutex // held for reading by every call; taken before all else
	closed   bool         // protected by life
	stopping atomic.Bool  // Close has begun: a refit ends early

	epoch    atomic.Uint64 // of the last change
	live     atomic.Int64
	next     atomic.Uint32 // first row never given out
	small    atomic.Pointer[small]
	segments atomic.Pointer[[]*segment] // replaced by a longer copy; none until there are more than SmallRows
	fit      atomic.Pointer[fit]        // of new segments

	writing sync.RWMutex // held for reading from reserving rows to publishing them; taken after life, before mu

	mu struct { // serialises changes; taken after writing, before a segment's encoding and the carousel's
		sync.Mutex
		free    []uint32   // rows to be given out again, last first
		limbo   []corpse   // removed rows that a search may still see, oldest first
		retired []retiring // codes that a search may still read
		fitting bool       // a fit was begun; there is one in an index's life
	}
	limboed    atomic.Int64 // len(mu.limbo) + len(mu.retired), for those who don't hold mu
	reclaiming atomic.Bool  // reclaimAll is running
	reclaim    func()       // reclaimAll

	mate, best guesser // of where the best score lies, and the K-th best
	passes     carousel
	probes     sync.Pool      // *probe
	readers    sync.Pool      // *Reader
	workPool   sync.Pool      // *worker
	background sync.WaitGroup // a fit
	helping    sync.WaitGroup // workers that are no search's own
	help       func()         // made once, so that starting one allocates no closure
}

type corpse struct {
	row  uint32
	died uint64
}

type retiring struct {
	codes *codes
	at    uint64
}

// shared is what all indexes of one dim have in common: a machine may hold a hundred thousand small ones.
type shared struct {
	rotation *simd.Rotation // of the sketch; nil if no codes are made
	scratch  sync.Pool      // *writeScratch
}

var sharedByDim sync.Map // int → *shared

func sharedOf(dim int) (*shared, error) {
	if s, ok := sharedByDim.Load(dim); ok {
		return s.(*shared), nil
	}
	s := new(shared)
	if dim >= MinCodedDim {
		var err error
		if s.rotation, err = simd.NewRotation(dim, rotationSeed); err != nil {
			return nil, err
		}
	}
	s.scratch.New = func() any { return newWriteScratch(dim, s.rotation) }
	have, _ := sharedByDim.LoadOrStore(dim, s)
	return have.(*shared), nil
}

// New makes an empty index. What a folder held before is overwritten; Open reads it. Errors: ErrDim, ErrConfig,
// those of the file system.
func New(c Config) (*Index, error) {
	x, err := newIndex(c)
	if err == nil && c.Dir != "" {
		copy(x.vectors.id[:], randomBytes(8))
		removeCache(c.Dir)
	}
	return x, err
}

func newIndex(c Config) (*Index, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	x := &Index{dim: c.Dim, stride: strideOf(c.Dim), dir: c.Dir, workers: c.Workers, graph: c.Graph, extra: c.Extra, fitAt: cmp.Or(c.FitAt, fitRows)}
	if c.FitAt < 0 || c.Dim < 2*stepDim {
		x.fitAt = math.MaxInt
	}
	if x.workers == 0 {
		x.workers = runtime.GOMAXPROCS(0)
	}
	var err error
	if x.shared, err = sharedOf(c.Dim); err != nil {
		return nil, err
	}
	if x.vectors, err = newVectors(c); err != nil {
		return nil, err
	}
	x.vectors.tagOf = func(row uint32) *atomic.Uint64 {
		return &(*x.segments.Load())[row/segmentRows].tags[row%segmentRows]
	}
	x.small.Store(newSmall(0, x.stride))
	x.segments.Store(new([]*segment))
	x.mate.enough, x.best.enough = mateEnough, bestEnough
	x.reclaim = x.reclaimAll
	x.help = func() {
		defer x.helping.Done()
		x.work(context.Background(), nil)
	}
	x.probes.New = func() any { return x.newProbe() }
	x.workPool.New = func() any { return x.newWorker() }
	x.readers.New = func() any { return &Reader{x: x, p: x.newProbe()} }
	return x, nil
}

// Close frees all memory after the calls in progress have ended. Later calls return ErrClosed.
func (x *Index) Close() error {
	x.stopping.Store(true)
	x.life.Lock()
	defer x.life.Unlock()
	if x.closed {
		return nil
	}
	x.closed = true
	x.background.Wait()
	x.helping.Wait()
	for _, g := range *x.segments.Load() {
		g.base.Free()
		if c := g.codes.Load(); c != nil {
			c.region.Free()
		}
	}
	for _, r := range x.mu.retired {
		r.codes.region.Free()
	}
	return x.vectors.close()
}

// Dim is the length of the vectors.
func (x *Index) Dim() int { return x.dim }

// Rows is the number of live rows.
func (x *Index) Rows() int { return int(x.live.Load()) }

// MemoryBytes is what rows take in memory; rows in the vectors file are not counted, and of a segment that is
// not full, the part that is used.
func (x *Index) MemoryBytes() int64 {
	x.life.RLock()
	defer x.life.RUnlock()
	s := x.small.Load()
	total := float64(len(s.life) * (4*x.stride + 20))
	if x.closed {
		return 0
	}
	rows := float64(x.next.Load())
	for i, g := range *x.segments.Load() {
		used := min(1, rows/segmentRows-float64(i))
		total += used * float64(len(g.base.Bytes)+g.codeBytes())
	}
	return int64(total) + int64(x.vectors.memoryBytes())
}

// Fitted reports whether principal directions have been fitted to the gallery, and so the short stage is in use.
func (x *Index) Fitted() bool { return x.fit.Load() != nil }

// turnsInt8 reports whether int8 codes without a fit are of the rotated vector: rounding errors of a vector as it came
// need not be independent. Where rotating would lengthen it, they are of the vector, with a bound that needs no
// independence.
func (x *Index) turnsInt8() bool { return x.rotation.Padded() == x.dim }

// words is the length of a sketch in uint64s, 0 if none is made.
func (x *Index) words() int {
	if x.rotation == nil {
		return 0
	}
	return (x.rotation.Padded() + 63) / 64
}

// codeBytes is the size of a segment's codes.
func (g *segment) codeBytes() int {
	if c := g.codes.Load(); c != nil {
		return len(c.region.Bytes)
	}
	return 0
}

// enter begins a call; leave ends it. Errors: ErrClosed.
func (x *Index) enter() error {
	x.life.RLock()
	if x.closed {
		x.life.RUnlock()
		return index.ErrClosed
	}
	return nil
}

func (x *Index) leave() { x.life.RUnlock() }

// check refuses what no row may hold and no probe may be.
func check(v []float32, dim int) error {
	if len(v) != dim {
		return index.ErrDim
	}
	if sum := dot64(v, v); math.IsNaN(sum) || math.IsInf(sum, 0) {
		return index.ErrNotFinite
	} else if !(math.Abs(sum-1) <= 2e-4) {
		return index.ErrNorm
	}
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}
