package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// store is Pebble with the write path of doc.go (W1 to W5). Safe for concurrent use.
type store struct {
	master *sealer // of records that are not a tenant's
	db     *pebble.DB
	fs     *haltFS
	now    func() time.Time

	// turn holds one token: who has it may validate and hand over a write, and it goes with the write to
	// applyLoop. A channel, so that waiting for it ends with the caller's context or with a halt, in which case
	// the token is never given back.
	turn chan struct{}
	seq  uint64                 // of the last write handed over; owned by who has the turn
	last atomic.Pointer[commit] // the last write handed over

	toApply chan *commit
	toSync  chan *commit
	wg      sync.WaitGroup

	disk   diskGuard
	tables tableWriter

	damaged atomic.Bool // a file was found damaged (X1)

	once       *onceTable
	documents  *documents
	audit      *auditChain
	stageAudit func(*tx) error // the records of tx.entries
}

// commit is a write on its way.
type commit struct {
	batch     *pebble.Batch
	tables    []string      // what else is written, if it goes to the store as tables (tables.go); else nil
	tableRows []change      // what goes into a table yet
	remember  func()        // changes memory; nil if there is nothing to change
	done      chan struct{} // closed when it is durable and in memory
}

// maxUnsynced bounds the writes between apply and fsync; Pebble itself stalls at 511.
const maxUnsynced = 256

// pebbleFormat pins the store's format: WAL chunks that tell a torn tail from a damaged middle. Raising it is
// one way.
const pebbleFormat = pebble.FormatWALSyncChunks

func pebbleOptions(c Config, disk vfs.FS, l *storeLogger) *pebble.Options {
	o := &pebble.Options{
		FS:                          disk,
		Logger:                      l,
		FormatMajorVersion:          pebbleFormat,
		CacheSize:                   c.CacheBytes,
		MemTableSize:                16 << 20, // some 6,000 templates of dim 512
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       24,
		MaxOpenFiles:                512,
		BytesPerSync:                512 << 10,
		WALBytesPerSync:             512 << 10,
		FlushDelayDeleteRange:       10 * time.Second, // a deleted gallery leaves the disk soon
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		DisableAutomaticCompactions: c.inspect,
		Cleaner:                     logsAreDeleted{},
	}
	// Iterators would take Pebble's central lock to queue compactions by reads; then a halted store's
	// background work could hold up a reader. Point reads and lists are rare here.
	o.Experimental.ReadSamplingMultiplier = -1
	o.Experimental.SpanPolicyFunc = apartByPrefix
	o.EventListener = &pebble.EventListener{
		BackgroundError: l.backgroundError,
		DataCorruption:  func(i pebble.DataCorruptionInfo) { l.damaged(i.Path, i.Details) },
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) { l.log.Warn("store: writes stall", "reason", i.Reason) },
		DiskSlow:        func(i pebble.DiskSlowInfo) { l.log.Warn("store: disk slow", "info", i.String()) },
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		// Sealed values do not compress.
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	return o
}

// apartByPrefix ends the tables that compactions write where the first byte of the keys changes. A table with the last records of
// people and the first templates spans all people to come: what is imported could not be put beside it, and would be written twice.
func apartByPrefix(from []byte) (pebble.SpanPolicy, []byte, error) {
	if len(from) == 0 || from[0] == math.MaxUint8 {
		return pebble.SpanPolicy{}, nil, nil
	}
	return pebble.SpanPolicy{}, []byte{from[0] + 1}, nil
}

// logsAreDeleted deletes what Pebble has no more use for, and has it not write new logs over old ones: such a log holds, behind what is
// new, what was erased, and so do those that wait to be written over (doc.go, Q6).
//
// Pebble has no option for that; it does so where a cleaner is an ArchiveCleaner, for which the embedded one passes. Clean is
// DeleteCleaner's, which lies less deep. TestLogsAreDeleted holds it.
type logsAreDeleted struct {
	pebble.DeleteCleaner
	notReused
}

type notReused struct{ pebble.ArchiveCleaner }

// openStore opens or makes the store and starts its two goroutines. Errors: ErrInUse, ErrFormat,
// ErrStorageFull, ErrStorageFailed, the disk's.
func openStore(c Config) (*store, error) {
	s := &store{now: c.Now, audit: newAuditChain(), once: newOnceTable(c.maxOnce), documents: newDocuments(), turn: make(chan struct{}, 1), toApply: make(chan *commit), toSync: make(chan *commit, maxUnsynced)}
	dir := c.FS.PathJoin(c.Dir, "store")
	s.disk = diskGuard{fs: c.FS, dir: dir, minFree: c.MinFreeBytes, every: c.diskCheckEvery}
	s.fs = newHaltFS(c.FS, c.FS.PathJoin(c.Dir, stagingName), s.roomToOpen, func(err error) {
		c.Logger.Error("store: a disk write failed; writes stop until restart", "error", err)
	})
	if err := checkPebbleFormat(dir, c.FS); err != nil {
		return nil, err
	}
	o := pebbleOptions(c, s.fs, &storeLogger{c.Logger, s.fs, &s.damaged})
	db, err := s.openPebble(dir, o)
	if err != nil {
		return nil, err
	}
	s.db = db
	s.tables = tableWriter{fs: s.fs, disk: c.FS, folder: c.FS.PathJoin(c.Dir, tableFolder), options: o.MakeWriterOptions(0, db.TableFormat())}
	if err := s.tables.clean(); err != nil { // they would cost disk, no more
		c.Logger.Warn("store: tables of an import that did not end are left behind", "error", err)
	}
	s.wg.Go(s.applyLoop)
	s.wg.Go(s.syncLoop)
	return s, nil
}

// roomToOpen refuses a disk that has not the room to replay the log. It is asked once the lock is held, so that
// a store in use answers ErrInUse, and before the log is read.
func (s *store) roomToOpen() error {
	if s.disk.check(true) != nil {
		return errNoRoomToOpen
	}
	return nil
}

// openPebble opens Pebble in a goroutine of its own, which a disk that fails meanwhile parks (haltFS): Pebble
// would answer a flush that fails while it replays its log by trying again, at once and for ever.
func (s *store) openPebble(dir string, o *pebble.Options) (*pebble.DB, error) {
	type opened struct {
		db  *pebble.DB
		err error
	}
	done := make(chan opened, 1)
	go func() { // ends with Pebble's Open, or parks in it
		db, err := s.openPebbleHere(dir, o)
		done <- opened{db, err}
	}()
	var r opened
	select {
	case r = <-done:
		s.fs.opened.Store(true)
	case <-s.fs.halted:
	}
	if cause := s.fs.cause(); cause != nil {
		return nil, errors.Join(openFailed(cause), s.fs.releaseLocks())
	}
	return r.db, r.err
}

func openFailed(cause error) error {
	if isFull(cause) {
		return fmt.Errorf("%w (%w)", errNoRoomToOpen, cause)
	}
	return fmt.Errorf("%w (%w)", errFailedToOpen, cause)
}

func isFull(err error) bool { return vfs.IsNoSpaceError(err) || errors.Is(err, syscall.EDQUOT) }

func (s *store) openPebbleHere(dir string, o *pebble.Options) (db *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil { // Pebble panics on some disk errors while it opens
			err = errors.Join(fmt.Errorf("engine: open store: %v", r), s.fs.releaseLocks())
		}
	}()
	db, err = pebble.Open(dir, o)
	if _, noFile := errors.AsType[*fs.PathError](err); errors.Is(err, errLock) && !noFile {
		return nil, fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	if isFull(err) { // before the lock was held
		return nil, openFailed(err)
	}
	if err != nil {
		return nil, fmt.Errorf("engine: open store: %w", err)
	}
	return db, nil
}

// checkPebbleFormat recognises a store of a newer Pebble; everything else is left to pebble.Open. Pebble has
// no sentinel for it, so the text is matched, and a test holds it.
func checkPebbleFormat(dir string, disk vfs.FS) error {
	_, err := pebble.Peek(dir, disk)
	if err != nil && strings.Contains(err.Error(), "unknown format major version") {
		return fmt.Errorf("%w (%w)", ErrFormat, err)
	}
	return nil
}

// update runs one write. validate reads the store as it will be when every earlier write has happened, and
// stages the changes; if it stages none, its answer still waits until the writes it saw are durable (W4).
// removal marks writes that free space. Errors: validate's, ErrStorageFull, ErrStorageFailed,
// ErrOutcomeUnknown, ctx's.
func (s *store) update(ctx context.Context, removal bool, validate func(*tx) error) error {
	return s.write(ctx, removal, func() *tx { return s.newTx(ctx) }, validate)
}

// newTx begins a write. REQUIRES: the turn.
func (s *store) newTx(ctx context.Context) *tx {
	return &tx{store: s, actor: actorOf(ctx), once: onceOf(ctx), now: s.now().UnixMilli(), seq: s.seq + 1}
}

// updateAudit is update for a write of audit records alone. It has the sequence number of the write before it: no record of a
// person is made by it.
func (s *store) updateAudit(ctx context.Context, stage func(*tx) error) error {
	return s.write(ctx, true, func() *tx { return &tx{store: s, seq: s.seq} }, stage)
}

func (s *store) write(ctx context.Context, removal bool, begin func() *tx, validate func(*tx) error) error {
	if err := s.takeTurn(ctx, removal); err != nil {
		return err
	}
	c, handedOver, err := s.stage(ctx, begin(), validate)
	unsettled := s.settle(ctx, c)
	if handedOver && unsettled != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", errOutcomeUnknown, unsettled)
	}
	return cmp.Or(unsettled, err)
}

// stage runs validate and hands over what it staged. c is what the caller must wait for before it answers: its
// own write, or the last of those that validate saw. REQUIRES: the turn, which is given back: here, also if
// validate panics, or by applyLoop.
func (s *store) stage(ctx context.Context, t *tx, validate func(*tx) error) (c *commit, handedOver bool, err error) {
	t.batch = s.db.NewBatch()
	defer func() {
		if !handedOver {
			must(t.batch.Close())
			<-s.turn
		}
	}()
	if t.once != nil {
		err = t.checkOnce()
	}
	if err == nil {
		err = validate(t)
	}
	if ended := ctx.Err(); ended != nil {
		return nil, false, ended
	}
	if err == nil && len(t.entries) > 0 && (t.seq == s.seq || !t.isEmpty()) {
		err = s.stageAudit(t)
	}
	if err == nil && t.told {
		err = t.stageOnce()
	}
	if err != nil || t.isEmpty() {
		return s.last.Load(), false, err
	}
	c, handedOver = s.handOver(t), true
	return c, true, nil
}

// begin is update without the wait. handedOver says that there is a write: c, for settle to wait for. Errors: as update.
func (s *store) begin(ctx context.Context, validate func(*tx) error) (c *commit, handedOver bool, err error) {
	if err := s.takeTurn(ctx, false); err != nil {
		return nil, false, err
	}
	return s.stage(ctx, s.newTx(ctx), validate)
}

func (s *store) takeTurn(ctx context.Context, removal bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.fs.isHalted() {
		return errStorageFailed
	}
	if err := s.disk.check(removal); err != nil {
		return err
	}
	return s.waitTurn(ctx)
}

func (s *store) waitTurn(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-s.fs.halted:
		return errStorageFailed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// whileQuiet runs f, which writes nothing, while no write is under way: all that is visible is durable and in memory.
// Errors: f's, ErrStorageFailed, ctx's.
func (s *store) whileQuiet(ctx context.Context, f func() error) error {
	if s.fs.isHalted() {
		return errStorageFailed
	}
	if err := s.waitTurn(ctx); err != nil {
		return err
	}
	defer func() { <-s.turn }()
	if err := s.settle(ctx, s.last.Load()); err != nil {
		return err
	}
	return f()
}

// handOver passes a staged write, and the turn with it, to applyLoop. It does not wait: who has the turn finds
// applyLoop ready, or halted.
func (s *store) handOver(t *tx) *commit {
	if t.seq != s.seq { // see updateAudit
		t.set(keySequence, binary.BigEndian.AppendUint64(nil, t.seq))
		s.seq = t.seq
	}
	c := &commit{batch: t.batch, tables: t.tables, tableRows: t.tableRows, remember: t.remember, done: make(chan struct{})}
	s.disk.wrote(int64(t.batch.Len()) + t.tableBytes)
	s.last.Store(c) // before the batch is visible: whoever reads it finds what to wait for
	for _, f := range t.onHandOver {
		f()
	}
	select {
	case s.toApply <- c:
	case <-s.fs.halted: // the turn is kept: nobody writes again
	}
	return c
}

// settle waits until a write is durable and in memory; nil is no write. Errors: ErrStorageFailed, ctx's.
func (s *store) settle(ctx context.Context, c *commit) error {
	if c == nil {
		return nil
	}
	select {
	case <-c.done:
		return nil
	default:
	}
	select {
	case <-c.done:
		return nil
	case <-s.fs.halted:
		return errStorageFailed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// applyLoop makes writes visible, one at a time, in order, and gives each one's turn back, unless the store is
// halted: then nobody writes again. It is a goroutine of its own because a slow disk may hold it up, and a halt
// park it, in the middle of a WAL rotation, which is no reason for a caller to overstay its deadline.
func (s *store) applyLoop() {
	defer close(s.toSync)
	for c := range s.toApply {
		if err := s.apply(c); err != nil {
			s.fs.halt(fmt.Errorf("apply: %w", err))
			return
		}
		s.toSync <- c // waits while maxUnsynced writes wait for their fsync
		<-s.turn
	}
}

func (s *store) apply(c *commit) error {
	if c.tables != nil {
		return s.applyTables(c)
	}
	return s.db.ApplyNoSyncWait(c.batch, pebble.Sync)
}

// syncLoop waits for each write's fsync and changes memory, in commit order (W3). While it waits for one, Pebble
// syncs all that follow with it.
func (s *store) syncLoop() {
	for c := range s.toSync {
		if c.tables == nil { // tables are durable when they are visible
			if err := c.batch.SyncWait(); err != nil {
				s.fs.halt(fmt.Errorf("sync: %w", err))
				return
			}
		}
		if c.remember != nil {
			c.remember()
		}
		close(c.done)
		c.batch.Close() // nothing is pending in it: the error is always nil
	}
}

// close ends the goroutines after the writes in flight and closes Pebble. A halted store cannot be closed:
// its lock is released and its goroutines stay parked. REQUIRES: no update runs or begins.
func (s *store) close() error {
	closed := make(chan error, 1)
	close(s.toApply)
	go func() { // ends with the store, or parks with it
		s.wg.Wait()
		if s.fs.isHalted() {
			park()
		}
		closed <- s.db.Close()
	}()
	select {
	case err := <-closed:
		return err
	case <-s.fs.halted:
		return errors.Join(errStorageFailed, s.fs.releaseLocks())
	}
}

// get appends a key's value to dst; found is false when there is none.
func (s *store) get(dst, key []byte) (value []byte, found bool, err error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.readFailed(err)
	}
	dst = append(dst, v...)
	return dst, true, closer.Close()
}

// each calls visit with every key and value from lower to upper, which die when it returns. visit stops the
// walk by returning false or an error.
func (s *store) each(lower, upper []byte, visit func(key, value []byte) (bool, error)) (err error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("engine: read: %w", err)
	}
	defer func() {
		if closed := iter.Close(); err == nil { // Close repeats the iterator's error
			err = s.readFailed(closed)
		}
	}()
	for ok := iter.First(); ok; ok = iter.Next() {
		value, err := iter.ValueAndErr()
		if err != nil {
			return s.readFailed(err)
		}
		if more, err := visit(iter.Key(), value); err != nil || !more {
			return err
		}
	}
	return s.readFailed(iter.Error())
}

// readFailed says which errors of Pebble are damage: ErrCorrupt; nil stays nil.
func (s *store) readFailed(err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) {
		s.damaged.Store(true)
		return fmt.Errorf("%w: %w", errStoreDamaged, err)
	}
	return fmt.Errorf("engine: read: %w", err)
}

// tx is one write being validated and staged.
type tx struct {
	store      *store
	batch      *pebble.Batch
	seq        uint64
	now        int64    // ms since 1970
	remember   func()   // for commit
	onHandOver []func() // called just before the batch may become visible
	actor      Actor
	entries    []auditEntry           // of the tenants' logs, see audit
	newSealers map[string]*tenantKeys // of tenants that come into being
	format     uint32                 // that the store is raised to, 0 if it is not
	changes    *[]change              // where set and delete put what they are given, which must stay as it is, in place of batch; nil: batch
	tables     []string               // for commit, as the next
	tableRows  []change
	tableBytes int64 // of both

	once    *Once // the request that this write does, nil if it has no name
	told    bool  // done was called, with the two below
	result  any
	created bool
	about   *personTx // of whom the answer is; nil of nobody
}

// isEmpty reports whether nothing is staged.
func (t *tx) isEmpty() bool { return t.batch.Empty() && t.tables == nil }

func (t *tx) get(key []byte) ([]byte, bool, error) { return t.store.get(nil, key) }

// set and its like stage a change. Batch methods fail only for a batch that is already applied.
func (t *tx) set(key, value []byte) {
	if t.changes != nil {
		*t.changes = append(*t.changes, change{key, value, false})
		return
	}
	must(t.batch.Set(key, value, nil))
}

func (t *tx) delete(key []byte) {
	if t.changes != nil {
		*t.changes = append(*t.changes, change{key, nil, true})
		return
	}
	must(t.batch.Delete(key, nil))
}

func (t *tx) deletePrefix(prefix []byte) {
	must(t.batch.DeleteRange(prefix, prefixEnd(prefix), nil))
}

// deletePeople deletes everybody who is under a gallery's number, its jobs, and what was answered to writes of its people.
func (t *tx) deletePeople(number uint64) {
	t.deletePrefix(galleryPrefix(prefixPerson, number))
	t.deletePrefix(galleryPrefix(prefixTemplate, number))
	t.deletePrefix(galleryPrefix(prefixPhoto, number))
	t.deletePrefix(galleryPrefix(prefixDue, number))
	t.deletePrefix(galleryPrefix(prefixJob, number))
	t.deletePrefix(onceAnswerPrefix(number))
}

func must(err error) {
	if err != nil {
		panic("BUG: " + err.Error())
	}
}

// storeLogger adapts slog to Pebble's logger. What Pebble would end the process for halts the store instead,
// and the goroutine never returns into code that counts on that.
type storeLogger struct {
	log  *slog.Logger
	fs   *haltFS
	harm *atomic.Bool // set when a file is found damaged
}

// damaged notes and names a file that is not what was written. Its keys are not logged: they hold ids of people.
func (l *storeLogger) damaged(file string, err error) {
	l.harm.Store(true)
	l.log.Error("store: a file is damaged: restore the store from a backup", "file", file, "error", err)
}

// Infof implements pebble.Logger.
func (l *storeLogger) Infof(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("store: " + fmt.Sprintf(format, args...))
	}
}

// Errorf implements pebble.Logger.
func (l *storeLogger) Errorf(format string, args ...any) {
	l.log.Error("store: " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger.
func (l *storeLogger) Fatalf(format string, args ...any) {
	l.fs.halt(fmt.Errorf(format, args...))
	park()
}

// backgroundError hears of a flush or compaction that failed, and will be tried again at once. An open store can
// live with that: failed writes halt before it is called. One that is being opened cannot, for Pebble waits for
// the flush of what it replayed.
func (l *storeLogger) backgroundError(err error) {
	if l.fs.opened.Load() {
		l.log.Error("store: background work failed", "error", err)
		return
	}
	l.fs.halt(fmt.Errorf("background work: %w", err))
	park()
}
