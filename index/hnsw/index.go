package hnsw

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mien/index"
	"mien/index/scan"
)

const (
	// DefaultM, DefaultEfConstruction and DefaultEF are what Config's zeros mean.
	DefaultM, DefaultEfConstruction, DefaultEF = 16, 200, 128

	// maxWaiting is how many rows that are not linked yet a search compares one by one; while there are more, the scan
	// answers.
	maxWaiting = 1024
	// fewest is the share of rows that a filter must pass for the graph to be gone through: below, most of what
	// it comes by does not count, and the scan skips most.
	fewest = 0.25
	// radiusRows bounds what a search for all of a threshold or more finds in the graph; with more the scan is faster.
	radiusRows = 4096
	// radiusMargin is how much below a threshold such a search goes on: estimates are of the codes' heads.
	radiusMargin = 0.05

	// A sweep begins when so many rows have died, and this share of the linked ones, or after sweepAfter.
	sweepRows, sweepShare = 64, 1.0 / 1024
	sweepAfter            = time.Second
	sweepRetry            = 2 * time.Millisecond // while searches still see all dead rows
)

// Config is what an index is made with. Zero values work but for those of scan.Config.
type Config struct {
	scan.Config
	// M is how many links a row begins with, 4 to 64: twice as many at most at level 0. EfConstruction is how many
	// candidates they are chosen among, M to 4,096. (Malkov and Yashunin, arXiv:1603.09320, M and efConstruction.)
	M, EfConstruction int
	// EF is Options.EF of searches that have none.
	EF int
	// Auto lets the index find out whether the graph serves its rows better than the scan, and have one only if so
	// (doc.go, "Auto"): once it holds AutoAt rows, 0 for 500,000, and at each doubling.
	Auto   bool
	AutoAt int
}

func (c Config) withDefaults() Config {
	c.M, c.EfConstruction, c.EF = cmp.Or(c.M, DefaultM), cmp.Or(c.EfConstruction, DefaultEfConstruction), cmp.Or(c.EF, DefaultEF)
	c.AutoAt = cmp.Or(c.AutoAt, DefaultAutoAt)
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	return c
}

func (c Config) validate() error {
	if c.M < 4 || c.M > 64 || c.EfConstruction < c.M || c.EfConstruction > 4096 || c.EF < 1 || c.EF > index.MaxEF {
		return fmt.Errorf("%w: M %d, efConstruction %d, ef %d", index.ErrConfig, c.M, c.EfConstruction, c.EF)
	}
	return nil
}

// Index is a scan with a graph over its rows. What is not redefined here is the scan's. Safe for concurrent use, but for
// Close, which waits for the calls in progress.
type Index struct {
	*scan.Index
	config Config
	graph  atomic.Pointer[graph]
	using  sync.RWMutex // held for reading while a search goes over the graph; it is freed under the lock
	auto   auto
	// Of Open: what was wrong with the saved graph, and of how many rows it was.
	damage    error
	savedRows uint32

	mu       sync.Mutex // of what follows
	queue    []uint32   // rows to be linked, from head on
	head     int
	flying   []uint32 // rows that are being linked
	missed   []uint32 // rows that died before they were linked: a search from before that still compares them
	dead     []corpse // rows that have died and are not swept, oldest first
	linkers  int
	bulks    int // calls of Bulk that have not ended: nothing is linked
	sweeping bool
	stopped  bool          // nothing is begun for now,
	closing  bool          // nor ever again
	quiet    chan struct{} // closed when nothing is left to do; nil if nobody waits for that
	failed   error         // no memory for the graph

	waiting    atomic.Int64 // rows in queue, flying and missed
	linked     atomic.Int64 // linked rows, dead ones included
	rescued    atomic.Int64
	searching  atomic.Int64
	broken     atomic.Bool     // failed is set: the scan answers for good
	hurry      chan struct{}   // a sweep is wanted now
	linking    sync.RWMutex    // held for reading while a row is linked
	background sync.WaitGroup  // linkers and sweeps
	trials     sync.WaitGroup  // of Config.Auto
	ctx        context.Context // ends with Close, for trials
	cancel     context.CancelFunc
	pausing    sync.Mutex // held from stop to begin
	walkers    sync.Pool  // *walker
	spare      sync.Pool  // *linker
	byGraph    atomic.Int64
	byScan     atomic.Int64
}

// corpse is a row that no search of the epoch or later sees.
type corpse struct {
	row   uint32
	epoch uint64
}

// walker is what a search needs.
type walker struct {
	walk
	rows []uint32
}

// New makes an empty index; see scan.New.
func New(c Config) (*Index, error) {
	x, err := newIndex(c)
	if err != nil {
		return nil, err
	}
	x.Index, err = scan.New(x.config.Config)
	return x, err
}

func newIndex(c Config) (*Index, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	x := &Index{hurry: make(chan struct{}, 1)}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	x.graph.Store(newGraph(c.M))
	x.auto.init(c)
	c.Graph = x
	x.config = c
	x.walkers.New = func() any { return new(walker) }
	x.spare.New = func() any { return newLinker(c.EfConstruction) }
	return x, nil
}

// Close frees all memory after the calls in progress have ended. Later calls return ErrClosed.
func (x *Index) Close() error {
	x.mu.Lock()
	x.closing, x.stopped = true, true
	x.mu.Unlock()
	x.cancel()
	x.trials.Wait()
	x.pausing.Lock()
	defer x.pausing.Unlock()
	x.stop()
	err := x.Index.Close()
	x.dropGraph()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.tellLocked()
	return err
}

// dropGraph puts an empty graph in the place of the one there is.
func (x *Index) dropGraph() {
	x.using.Lock()
	defer x.using.Unlock()
	x.graph.Swap(newGraph(x.config.M)).free()
}

// stop ends the background's work.
func (x *Index) stop() {
	x.mu.Lock()
	x.stopped = true
	x.mu.Unlock()
	x.sweepNow()
	x.background.Wait()
}

// Born implements scan.Graph: the rows wait to be linked, from before they appear.
func (x *Index) Born(rows []uint32) {
	if len(rows) == 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.auto.wants() {
		x.tryLocked(x.Rows() + len(rows))
		return
	}
	x.enqueueLocked(rows...)
	x.startLocked()
}

func (x *Index) enqueueLocked(rows ...uint32) {
	g := x.graph.Load()
	if err := g.reserve(slices.Max(rows) + 1); err != nil {
		x.failLocked(err)
		return
	}
	for _, row := range rows {
		if g.know(row) {
			x.queue = append(x.queue, row)
			x.waiting.Add(1)
		}
	}
}

// Died implements scan.Graph.
func (x *Index) Died(rows []uint32) (kept bool) {
	if len(rows) == 0 {
		return false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.auto.wants() || x.failed != nil {
		return false
	}
	g, epoch := x.graph.Load(), x.Epoch()
	if err := g.reserve(slices.Max(rows) + 1); err != nil {
		x.failLocked(err)
		return false
	}
	for _, row := range rows {
		g.bury(row)
		x.dead = append(x.dead, corpse{row, epoch})
	}
	x.startSweepLocked()
	if x.mustSweepLocked() {
		x.sweepNow()
	}
	return true
}

func (x *Index) startSweepLocked() {
	if len(x.dead) > 0 && !x.sweeping && !x.stopped {
		x.sweeping = true
		x.background.Go(x.sweepAll)
	}
}

func (x *Index) mustSweepLocked() bool {
	return len(x.dead) >= max(sweepRows, int(sweepShare*float64(x.linked.Load())))
}

func (x *Index) sweepNow() {
	select {
	case x.hurry <- struct{}{}:
	default: // one is asked for
	}
}

// failLocked gives the graph up: there is no memory for it.
func (x *Index) failLocked(err error) {
	x.failed = cmp.Or(x.failed, err)
	x.broken.Store(true)
	x.tellLocked()
}

// startLocked starts linkers for what waits: one for each worker, but only one while there are searches.
func (x *Index) startLocked() {
	for x.Coded() && !x.stopped && x.bulks == 0 && x.failed == nil && x.linkers < min(x.config.Workers, len(x.queue)-x.head) &&
		(x.linkers == 0 || x.searching.Load() == 0) {
		x.linkers++
		x.background.Go(x.linkAll)
	}
}

// Bulk begins a time in which many rows are added: they wait to be linked until end is called, once, so that the cores do what must be
// done before a row is found, and linking, many times that, is not in its way. Searches are answered meanwhile as while rows wait.
// Wait waits for the end.
func (x *Index) Bulk() (end func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.bulks++
	return func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.bulks--; x.bulks == 0 {
			x.startLocked()
		}
	}
}

// linkAll links what waits, until nothing does, or searches want the core.
func (x *Index) linkAll() {
	l := x.spare.Get().(*linker)
	defer x.spare.Put(l)
	l.g = x.graph.Load()
	for x.linkNext(l) {
	}
}

// linkNext links a row. It takes it with linking held: what a sweep has seen dead is not linked afterwards.
func (x *Index) linkNext(l *linker) (more bool) {
	x.linking.RLock()
	defer x.linking.RUnlock()
	row, ok := x.take()
	if !ok {
		return false
	}
	if l.g.isDead(row) {
		x.landed(row, &x.missed)
		return true
	}
	var err error
	if l.r, err = x.Look(); err != nil {
		x.landed(row, &x.missed) // closed
		return true
	}
	defer l.r.Close()
	if !l.link(row) {
		x.landed(row, &x.queue)
		x.sweepNow() // there are dead rows only
		time.Sleep(sweepRetry)
		return true
	}
	x.linked.Add(1)
	x.landed(row, nil)
	return true
}

// take hands out a row to link; a linker that gets none is one no more.
func (x *Index) take() (row uint32, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.head == len(x.queue) || x.stopped || x.bulks > 0 || x.linkers > 1 && x.searching.Load() > 0 {
		x.linkers--
		return 0, false
	}
	x.startLocked()
	row = x.queue[x.head]
	if x.head++; x.head == len(x.queue) {
		x.queue, x.head = x.queue[:0], 0
	}
	x.flying = append(x.flying, row)
	return row, true
}

// landed notes that a row is linked, or where it goes.
func (x *Index) landed(row uint32, to *[]uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	i := slices.Index(x.flying, row)
	x.flying = slices.Delete(x.flying, i, i+1)
	if to != nil {
		*to = append(*to, row)
		return
	}
	x.waiting.Add(-1)
	x.tellLocked()
}

// tellLocked tells those who wait for it that nothing is left to do, or will be done.
func (x *Index) tellLocked() {
	if x.quiet != nil && (x.closing || x.quietLocked()) {
		close(x.quiet)
		x.quiet = nil
	}
}

// quietLocked reports whether there is nothing to do.
func (x *Index) quietLocked() bool {
	return !x.Coded() || x.failed != nil || !x.auto.wants() || x.waiting.Load() == 0 && len(x.dead) == 0 && !x.sweeping
}

// Wait returns when every row is linked and every dead one is out of the graph, at once if there are no codes to
// link by. Errors: ctx's.
func (x *Index) Wait(ctx context.Context) error {
	x.mu.Lock()
	if x.closing || x.quietLocked() {
		x.mu.Unlock()
		return ctx.Err()
	}
	if x.quiet == nil {
		x.quiet = make(chan struct{})
	}
	quiet := x.quiet
	x.startLocked()
	x.mu.Unlock()
	x.sweepNow()
	select {
	case <-quiet:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sweepAll takes the dead out of the graph, as long as there are any.
func (x *Index) sweepAll() {
	l := x.spare.Get().(*linker)
	defer x.spare.Put(l)
	for x.moreDead() {
		if !x.sweepOnce(l) {
			time.Sleep(sweepRetry)
		}
	}
}

// moreDead waits until a sweep is due; false if there is nothing to sweep.
func (x *Index) moreDead() bool {
	x.mu.Lock()
	if len(x.dead) == 0 || x.stopped {
		defer x.mu.Unlock()
		x.sweeping = false
		x.startLocked()
		x.tellLocked()
		return false
	}
	due := x.mustSweepLocked() || x.quiet != nil
	x.mu.Unlock()
	if !due {
		select {
		case <-time.After(sweepAfter):
		case <-x.hurry:
		}
	}
	return true
}

// sweepOnce sweeps the dead rows that no search can see any more, and lets go of them; false if there is none.
func (x *Index) sweepOnce(l *linker) bool {
	dead := x.unseen()
	if len(dead) == 0 {
		return false
	}
	x.barrier(dead)
	return x.sweepGraph(l, dead) == nil && x.Release(dead) == nil
}

func (x *Index) sweepGraph(l *linker, dead []uint32) error {
	r, err := x.Look()
	if err != nil {
		return err // closed
	}
	defer r.Close()
	l.g, l.r = x.graph.Load(), r
	unlinked, rescued := l.sweep(dead)
	x.linked.Add(int64(-unlinked))
	x.rescued.Add(int64(rescued))
	return nil
}

// unseen takes those off the list of the dead.
func (x *Index) unseen() (rows []uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	oldest := x.Oldest() // of now: who searches later sees none of the list
	for len(x.dead) > 0 && x.dead[0].epoch <= oldest {
		rows = append(rows, x.dead[0].row)
		x.dead = x.dead[1:]
	}
	return rows
}

// barrier waits for linkers that began before, which may not have seen that a row is dead, and takes dead rows from those
// that wait.
func (x *Index) barrier(dead []uint32) {
	x.linking.Lock()
	defer x.linking.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.queue = slices.Delete(x.queue, 0, x.head)
	x.head = 0
	if len(x.missed) == 0 && !slices.ContainsFunc(x.queue, x.graph.Load().isDead) {
		return
	}
	gone := make(map[uint32]bool, len(dead))
	for _, row := range dead {
		gone[row] = true
	}
	isGone := func(row uint32) bool { return gone[row] }
	n := len(x.queue) + len(x.missed)
	x.queue, x.missed = slices.DeleteFunc(x.queue, isGone), slices.DeleteFunc(x.missed, isGone)
	x.waiting.Add(int64(len(x.queue) + len(x.missed) - n))
}

// SearchInto is scan.Index.SearchInto by the graph. A row that belongs into the answer may be missed more often than
// Options.Miss says: how often depends on the gallery and EF, and Check tells. The scan answers where the graph
// would not do as well: with Options.Exact, where a filter passes few rows, while more rows wait to be linked than can be compared
// one by one, where more rows than EF can hold reach a threshold or share their labels, and while a sweep cuts ways.
func (x *Index) SearchInto(ctx context.Context, dst []index.Hit, q []float32, o index.Options) ([]index.Hit, error) {
	if err := ctx.Err(); err != nil {
		return dst, err
	}
	r, err := x.Read(q, o)
	if err != nil {
		return dst, err
	}
	defer r.Close()
	return x.search(ctx, r, dst)
}

func (x *Index) search(ctx context.Context, r *scan.Reader, dst []index.Hit) ([]index.Hit, error) {
	x.searching.Add(1)
	defer x.searching.Add(-1)
	if !r.Options().Exact {
		if hits, ok, err := x.searchGraph(ctx, r, dst); ok || err != nil {
			x.byGraph.Add(1)
			return hits, err
		}
	}
	x.byScan.Add(1)
	return r.Scan(ctx, dst, r.Options().Exact)
}

// searchGraph is not ok where the scan must answer.
func (x *Index) searchGraph(ctx context.Context, r *scan.Reader, dst []index.Hit) (hits []index.Hit, ok bool, err error) {
	if !x.auto.serves() {
		return dst, false, nil
	}
	return x.walkGraph(ctx, r, dst)
}

func (x *Index) walkGraph(ctx context.Context, r *scan.Reader, dst []index.Hit) (hits []index.Hit, ok bool, err error) {
	w := x.walkers.Get().(*walker)
	defer x.walkers.Put(w)
	x.using.RLock()
	defer x.using.RUnlock()
	o, g := r.Options(), x.graph.Load()
	housing := g.housing.Load()
	if housing&1 != 0 || x.broken.Load() || !x.Coded() || !x.unlinked(w) || !x.passesMost(o.Filter) {
		return dst, false, nil
	}
	r.Take(w.rows) // before the graph is entered: what is linked meanwhile is in one or the other
	at, _, ok := w.descend(g, r, 0)
	if !ok {
		return dst, false, nil
	}
	w.from[0] = at
	radius, most := float32(noRadius), math.MaxInt
	if o.K == 0 {
		radius, most = o.Threshold-radiusMargin, radiusRows
	}
	for ef := max(cmp.Or(o.EF, x.config.EF), o.K); ef <= index.MaxEF; ef *= 2 {
		if !w.run(g, r, 0, w.from[:], ef, radius, most) || g.housing.Load() != housing || ctx.Err() != nil {
			return dst, false, ctx.Err()
		}
		w.rows = w.walk.rows(w.rows[:0])
		r.Take(w.rows)
		hits, err := r.Hits(ctx, dst)
		if err != nil || len(hits)-len(dst) >= o.K || w.counted < ef || w.pool[len(w.pool)-1].score < o.Threshold-radiusMargin {
			return hits, true, err
		}
		// What is in sight has fewer labels than are wanted.
	}
	return dst, false, nil
}

// unlinked puts the rows that are not linked into w.rows; false if they are too many, or there is no graph.
func (x *Index) unlinked(w *walker) bool {
	w.rows = w.rows[:0]
	if n := x.waiting.Load(); n == 0 || n > maxWaiting {
		return n == 0
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.waiting.Load() > maxWaiting {
		return false
	}
	w.rows = append(append(append(w.rows, x.missed...), x.flying...), x.queue[x.head:]...)
	return true
}

// passesMost reports whether a filter leaves enough rows for the graph.
func (x *Index) passesMost(f *index.Bitmap) bool {
	return f == nil || float64(f.Count()) >= fewest*float64(x.Rows())
}

// Check is scan.Index.Check: the first answer is SearchInto's.
func (x *Index) Check(ctx context.Context, q []float32, o index.Options) (found, exact []index.Hit, err error) {
	return x.CheckBy(ctx, q, o, func(r *scan.Reader) ([]index.Hit, error) { return x.search(ctx, r, nil) })
}

// MemoryBytes is scan.Index.MemoryBytes and the graph's.
func (x *Index) MemoryBytes() int64 {
	return x.Index.MemoryBytes() + x.graph.Load().memoryBytes(x.Next())
}

// Status is how the graph is doing.
type Status struct {
	Linked  int   // rows in the graph, with those that have died and are not taken out yet
	Waiting int   // rows that wait to be linked
	Dead    int   // rows that wait to be taken out
	Rescued int64 // rows to which no way was left when others were taken out, and was found by a search
	ByGraph int64 // searches that the graph answered, and
	ByScan  int64 // that the scan did
	Err     error // there was no memory for the graph: the scan answers
	Damage  error // why Open did not use a graph that was saved

	Serving string // "hnsw" or "scan": what answers, but for searches that the graph can't
	Why     string // a sentence on that
}

// Status may be called at any time.
func (x *Index) Status() Status {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := Status{Linked: int(x.linked.Load()), Waiting: int(x.waiting.Load()), Dead: len(x.dead), Rescued: x.rescued.Load(),
		ByGraph: x.byGraph.Load(), ByScan: x.byScan.Load(), Err: x.failed, Damage: x.damage}
	s.Serving, s.Why = x.servingLocked()
	return s
}
