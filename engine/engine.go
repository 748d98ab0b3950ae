package engine

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mien/index/scan"
)

// Engine is an open store with its indexes. Safe for concurrent use; Close waits for calls that run.
//
// Lock order: life, the store's turn, mu, photoQueue.mu, gallery.mu, its successor's mu, index; recentWrites' is
// alone.
type Engine struct {
	log       *slog.Logger
	spaces    []Space
	keys      *keyStore
	receipts  ed25519.PrivateKey // signs them
	rotator   *rotator
	store     *store
	dir       string // Config.Dir
	indexDir  string // the folder of the galleries' indexes; "" keeps them in memory
	makeIndex func(kind string, c scan.Config) (searcher, error)

	extract   func(ctx context.Context, space string, image []byte, box [4]float32) ([]float32, error) // nil: none
	photoWork chan struct{}                                                                            // to moveFromPhotos: look again

	auditing  *auditQueue
	backupDir string // "" is none
	backupKey []byte
	keysApart bool // Config.BackupWithoutKeys
	program   string
	backups   backups
	proving   atomic.Bool // an erasure is being proved

	sweepEvery, eraseHold, auditKeep time.Duration // see Config

	attempts      *attempts // of verifications that failed
	jobs          *jobs
	answering     atomic.Int64  // searches and verifications; jobs let them go first
	dedupeBatch   int           // templates
	jobCheckpoint time.Duration // how long a job keeps what it found to itself

	recallSample float64
	samples      chan sample // to checkSamples; nothing waits in it

	started bool // Open has done its work
	opened  struct {
		read, saved int // templates read from the store, and saved indexes used, by Open
	}

	stopped  context.Context // ends when Close begins
	stop     context.CancelFunc
	checking sync.WaitGroup // checkSamples, saveIdle, moveFromPhotos, keepRetention, runBackup, runJobs
	idleSave time.Duration

	rotateEvery, keyGrace, keyTick time.Duration

	repairs  sync.WaitGroup // begun by calls, and by checkSamples
	retiring sync.WaitGroup // begun while mu.closed is false, or by repairs

	life struct {
		sync.RWMutex // held for reading by every call
		closed       bool
	}
	mu struct {
		sync.RWMutex
		galleries map[galleryName]*gallery
		keys      map[string]*keyRecord  // by id; a record is replaced, never changed
		sealers   map[string]*tenantKeys // by tenant
		closed    bool                   // the indexes are
	}
}

type galleryName struct{ tenant, name string }

// Open opens the store in c.Dir, making it if there is none, and the search indexes of its galleries, which takes the
// time to open every person's record, and every template that no saved index has (doc.go says what memory). Errors:
// ErrConfig, ErrMasterKey, ErrInUse, ErrFormat, ErrCorrupt, ErrHalfRestored, ErrStorageFull (no room to replay the log), ErrStorageFailed
// (a write failed meanwhile; a few parked goroutines remain until the process ends), the disk's.
func Open(c Config) (*Engine, error) {
	onDisk := c.FS == nil
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	var master *sealer
	var err error
	if c.MasterKey != nil {
		if master, err = newSealer(c.MasterKey); err != nil {
			return nil, err
		}
	}
	e := &Engine{log: c.Logger, spaces: slices.Clone(c.Spaces), makeIndex: c.makeIndex,
		recallSample: c.RecallSample, idleSave: c.idleSave, samples: make(chan sample), extract: c.Extract, photoWork: make(chan struct{}, 1),
		rotator: newRotator(), rotateEvery: c.RotateEvery, keyGrace: c.keyGrace, keyTick: c.keyTick}
	e.auditing = &auditQueue{mode: c.Audit, entries: make(chan auditEntry, maxAuditQueued), now: c.decisionNow,
		done: make(chan struct{}), unsaid: make(map[string]int)}
	e.sweepEvery, e.eraseHold, e.auditKeep = c.sweepEvery, c.eraseHold, c.AuditKeep
	e.auditing.mu.lost = make(map[string]int64)
	if onDisk {
		e.indexDir = filepath.Join(c.Dir, "index")
	}
	e.attempts = newAttempts(c.Attempts, c.attemptClock)
	e.dir, e.backupDir, e.keysApart, e.program = c.Dir, c.BackupDir, c.BackupWithoutKeys, c.Program
	if e.backupKey = slices.Clone(c.BackupKey); e.backupKey == nil && master != nil {
		e.backupKey = master.derive(backupKeyInfo)
	}
	e.jobs, e.dedupeBatch, e.jobCheckpoint = newJobs(), c.dedupeBatch, c.jobCheckpoint
	e.stopped, e.stop = context.WithCancel(context.Background())
	e.mu.galleries = make(map[galleryName]*gallery)
	e.mu.keys = make(map[string]*keyRecord)
	e.mu.sealers = make(map[string]*tenantKeys)
	if err := checkRestored(c.FS, c.Dir); err != nil {
		return nil, err
	}
	if e.store, err = openStore(c); err != nil {
		return nil, err
	}
	e.dropTraces(stagingName, restoringName) // of a process that ended in the middle of a backup or, its end, a restore
	e.store.stageAudit = e.stageAudit
	e.keys = &keyStore{fs: c.FS, dir: c.KeyDir, root: c.RootKey}
	if e.keys.root == nil {
		e.keys.root = masterRoot{master}
	}
	if err := e.start(master); err != nil {
		return nil, errors.Join(err, e.shut())
	}
	return e, nil
}

// start loads the store. master is Config.MasterKey, nil if there is none.
func (e *Engine) start(master *sealer) error {
	if err := e.checkMeta(master); err != nil {
		return err
	}
	if err := e.load(); err != nil {
		return err
	}
	if err := e.keys.endRotation(); err != nil {
		return err
	}
	e.started = true
	go e.writeDecisions() // until closeAudit
	e.checking.Go(e.keepRetention)
	if e.recallSample > 0 {
		e.checking.Go(e.checkSamples)
	}
	for tenant, keys := range e.mu.sealers {
		if len(keys.ring.living()) > 1 { // the process ended in the middle
			e.rotator.queue(tenant)
		}
	}
	e.checking.Go(e.rotateKeys)
	if e.indexDir != "" {
		e.checking.Go(e.saveIdle)
	}
	e.checking.Go(e.runJobs)
	if e.extract != nil {
		e.checking.Go(e.moveFromPhotos)
	}
	return nil
}

// Close waits for running calls and writes, then closes the store and the indexes. Indexes of large galleries that changed
// are saved: 122 MB for 200,000 templates of dim 512, and the time to write that; killed instead, the next Open reads what
// changed since the last time. Later calls answer ErrClosed; closing again does nothing. After a failed disk write it
// returns ErrStorageFailed, and a few parked goroutines remain until the process ends.
func (e *Engine) Close() error {
	e.life.Lock()
	defer e.life.Unlock()
	if e.life.closed {
		return nil
	}
	e.life.closed = true
	return e.shut()
}

// Ready reports whether all reads and writes work. Errors: ErrClosed, ErrStorageFailed; ErrStorageFull and ErrCorrupt, with which most
// reads work.
func (e *Engine) Ready() error {
	if err := e.enter(context.Background()); err != nil {
		return err
	}
	defer e.leave()
	if e.store.fs.isHalted() {
		return errStorageFailed
	}
	return cmp.Or(e.store.disk.check(false), e.damage())
}

// damage is what the store is known to have lost: an error that is ErrCorrupt, or nil.
func (e *Engine) damage() error {
	if e.store.damaged.Load() {
		return errStoreDamaged
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, g := range e.mu.galleries {
		if g.damage != nil {
			return errGalleryDamaged
		}
	}
	return nil
}

// DefaultSpace is Config.Spaces[0], or the zero Space where there is none.
func (e *Engine) DefaultSpace() Space {
	if len(e.spaces) == 0 {
		return Space{}
	}
	return e.spaces[0]
}

// Space returns a configured embedding space; "" is the default one. Errors: ErrSpaceUnknown.
func (e *Engine) Space(id string) (Space, error) {
	for _, s := range e.spaces {
		if s.ID == id || id == "" {
			return s, nil
		}
	}
	return Space{}, refuse(ErrSpaceUnknown, "this server has no model for embedding space %q", id)
}

// enter begins a call: it keeps the engine open until leave.
func (e *Engine) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.life.RLock()
	if e.life.closed {
		e.life.RUnlock()
		return errClosed
	}
	return nil
}

func (e *Engine) leave() { e.life.RUnlock() }

var masterCheckText = []byte("mien master key")

// checkMeta makes a new store's first records, or checks format and keys of an old one.
func (e *Engine) checkMeta(master *sealer) error {
	format, found, err := e.store.get(nil, keyFormat)
	if err != nil {
		return err
	}
	if !found {
		return e.initMeta()
	}
	if len(format) != 4 {
		return fmt.Errorf("%w: format version", ErrCorrupt)
	}
	if v := binary.BigEndian.Uint32(format); v > formatVersion {
		return fmt.Errorf("%w (format %d, this program knows %d)", ErrFormat, v, formatVersion)
	}
	seq, _, err := e.store.get(nil, keySequence)
	if err != nil || len(seq) != 8 {
		return errors.Join(fmt.Errorf("%w: sequence number", ErrCorrupt), err)
	}
	e.store.seq = binary.BigEndian.Uint64(seq)
	_, keyed, err := e.store.get(nil, keyKeyStore)
	if err != nil {
		return err
	}
	if !keyed {
		return e.adoptStore(master)
	}
	own, err := e.keys.openStore()
	if err != nil {
		return err
	}
	e.store.master, e.receipts = own.master, own.receipt
	return e.checkMaster(own.master, ErrKeyStore)
}

// checkMaster answers mismatch if s is not what the store's own records are sealed with.
func (e *Engine) checkMaster(s *sealer, mismatch error) error {
	sealed, _, err := e.store.get(nil, keyMasterCheck)
	if err != nil {
		return err
	}
	text, err := s.open(nil, place{kind: kindMasterCheck}, sealed)
	if err != nil || !bytes.Equal(text, masterCheckText) {
		return mismatch
	}
	return nil
}

func (e *Engine) initMeta() error {
	empty := true
	err := e.store.each([]byte{0}, []byte{0xff}, func(_, _ []byte) (bool, error) {
		empty = false
		return false, nil
	})
	if err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("%w: no format version", ErrCorrupt)
	}
	own, err := e.newStoreKeys()
	if err != nil {
		return err
	}
	return e.store.update(context.Background(), true, func(t *tx) error {
		t.set(keyFormat, formatBytes(keysFormat))
		t.keyed(own.master)
		return nil
	})
}

// keyed notes that the store's own records are sealed with a key of the key store.
func (t *tx) keyed(own *sealer) {
	t.set(keyKeyStore, []byte{1})
	t.set(keyMasterCheck, own.seal(place{kind: kindMasterCheck}, masterCheckText))
}

// newStoreKeys makes the keys of a store that has none. Keys of tenants are of another store, which is lost or not mounted: to
// begin anew there would hide it. Errors: ErrKeyStore, those of makeStore.
func (e *Engine) newStoreKeys() (storeKeys, error) {
	tenants, err := e.keys.tenants()
	if err != nil {
		return storeKeys{}, err
	}
	if len(tenants) > 0 {
		return storeKeys{}, fmt.Errorf("%w (the store is empty, and %s has keys of %d tenants: put the store back, or name another key store)", ErrKeyStore, e.keys.dir, len(tenants))
	}
	own, err := e.keys.makeStore()
	if err != nil {
		return storeKeys{}, err
	}
	e.store.master, e.receipts = own.master, own.receipt
	return own, nil
}
