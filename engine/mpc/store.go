package mpc

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A party's store, and the gateway's, is one Pebble store in Dir/store; each change is one batch that is synced before it is
// acknowledged. Integers in keys are big-endian.
//
//	key                                      value of a party's
//	0x01 'f'                                 format u32
//	0x01 'i'                                 identity (storeIdentity)
//	0x01 'e'                                 share epoch u32 that lives
//	0x01 'v'                                 version of the shares: the last refresh [16]; the same at all parties
//	0x01 'r'                                 refresh that is staged and voted for: transaction[16] · epoch u32
//	0x01 's'                                 seed of the Ed25519 key of receipts, wrapped by the root key
//	0x02 tenant[16] rid[16]                  head of a record, or tombstone
//	0x03 epoch u32 tenant[16] rid[16]        the record's key, sealed by the epoch's KEK
//	0x04 epoch u32 tenant[16] rid[16]        the record's shares, sealed by its key
//	0x05 epoch u32 tenant[16] rid[16]        enrolment that is prepared
//	0x06 tenant[16] rid[16]                  attempts set aside u32 little-endian · attempts of a record (budget.appendTo)
//	0x07 tenant[16] kind u8                  the same of the tenant: 't' of all its records together, 'i' its identifications
const (
	prefixMeta     = 0x01
	prefixHead     = 0x02
	prefixKey      = 0x03
	prefixShares   = 0x04
	prefixPrepared = 0x05
	prefixBudget   = 0x06

	prefixTenantBudget = 0x07
)

const (
	metaFormat   = 'f'
	metaIdentity = 'i'
	metaEpoch    = 'e'
	metaVersion  = 'v'
	metaRefresh  = 'r'
	metaReceipt  = 's'
	metaFresh    = 'w'
)

// storeFormat is the newest format that this program writes and reads. History: 1 the first.
const storeFormat = 1

const pebbleFormat = pebble.FormatWALSyncChunks

// database is Pebble with one writer at a time. What a disk that fails would have Pebble end the process for stops all writing instead:
// failed is closed, and its owner ends. Safe for concurrent use.
type database struct {
	db     *pebble.DB
	failed chan struct{}
	fail   func() // closes failed, once

	turn sync.RWMutex // held to write while a batch is validated and applied; read holders see a moment between two
}

const (
	// memTableBytes is such that most of what is prepared is committed, and so gone, before it is written to a table: enrolling 20,000 people
	// takes a third less time than with 8 MiB. A store has two at most.
	memTableBytes = 32 << 20
	cacheBytes    = 32 << 20 // the filters of tables with 10 million people, who are looked for when somebody is enrolled
)

// openDatabase opens or makes the store. Errors: ErrInUse, ErrFormat, the disk's.
func openDatabase(disk vfs.FS, dir string, log *slog.Logger) (*database, error) {
	d := &database{failed: make(chan struct{})}
	d.fail = sync.OnceFunc(func() { close(d.failed) })
	o := &pebble.Options{
		FS: disk, Logger: &databaseLogger{log: log, fail: d.fail}, FormatMajorVersion: pebbleFormat, MemTableSize: memTableBytes, CacheSize: cacheBytes,
		L0StopWritesThreshold: 24, MaxOpenFiles: 256, BytesPerSync: 512 << 10, WALBytesPerSync: 512 << 10, Cleaner: logsAreDeleted{},
	}
	o.Experimental.ReadSamplingMultiplier = -1
	for i := range o.Levels { // shares are noise: they don't compress
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // who is enrolled anew is looked for in vain
	}
	if err := makeFolder(disk, dir); err != nil {
		return nil, fmt.Errorf("mpc: open store: %w", err)
	}
	db, err := pebble.Open(disk.PathJoin(dir, "store"), o)
	if err != nil {
		return nil, fmt.Errorf("mpc: open store: %w", inUse(err))
	}
	d.db = db
	if err := d.checkFormat(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

// makeFolder makes a folder and those above it, durably.
func makeFolder(disk vfs.FS, dir string) error {
	if _, err := disk.Stat(dir); err == nil {
		return nil
	}
	parent := disk.PathDir(dir)
	if parent != dir {
		if err := makeFolder(disk, parent); err != nil {
			return err
		}
	}
	if err := disk.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncFolder(disk, parent)
}

// logsAreDeleted deletes logs that Pebble has no more use for, and has it write none over old ones: such a log would keep, behind what is new,
// keys of what was erased. Package engine says why it is made so.
type logsAreDeleted struct {
	pebble.DeleteCleaner
	notReused
}

type notReused struct{ pebble.ArchiveCleaner }

func (d *database) checkFormat() error {
	v, err := d.get(metaKey(metaFormat))
	if err != nil {
		return err
	}
	if v == nil {
		return d.update(func(b *pebble.Batch) error {
			set(b, metaKey(metaFormat), binary.BigEndian.AppendUint32(nil, storeFormat))
			return nil
		})
	}
	if n := uint32Of(v); n != storeFormat {
		return fmt.Errorf("%w (format %d, this program knows %d)", ErrFormat, n, storeFormat)
	}
	return nil
}

// update runs one write: stage validates against the store as it is after every earlier write, and fills the batch. It returns when what it
// wrote, and all that stage saw, is durable. Errors: stage's, ErrStorage.
func (d *database) update(stage func(*pebble.Batch) error) error {
	wait, err := d.begin(stage)
	if err != nil {
		return err
	}
	return wait()
}

// begin is update without the wait: the write is visible, and wait returns when it is durable; it must be called once.
func (d *database) begin(stage func(*pebble.Batch) error) (wait func() error, err error) {
	b := d.db.NewBatch()
	d.turn.Lock()
	defer d.turn.Unlock()
	if d.hasFailed() {
		return nil, errors.Join(ErrStorage, b.Close())
	}
	if err := stage(b); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	if b.Empty() { // a record of the log of its own, behind what stage saw
		must(b.LogData([]byte{0}, nil))
	}
	if err := d.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		d.fail()
		return nil, fmt.Errorf("%w: %w", ErrStorage, err)
	}
	return func() error { return d.settle(b) }, nil
}

func (d *database) settle(b *pebble.Batch) error {
	done := make(chan error, 1)
	go func() { // ends with the fsync, or parks with a disk that failed
		done <- errors.Join(b.SyncWait(), b.Close())
	}()
	select {
	case err := <-done:
		if err != nil {
			d.fail()
			return fmt.Errorf("%w: %w", ErrStorage, err)
		}
		return nil
	case <-d.failed:
		return ErrStorage
	}
}

// outlasts runs wait, and reports false if the disk has failed: then goroutines may be parked, and wait need not return.
func (d *database) outlasts(wait func()) bool {
	done := make(chan struct{})
	go func() { // ends with those who are waited for, or is parked with them until the process ends
		wait()
		close(done)
	}()
	select {
	case <-done:
		return !d.hasFailed()
	case <-d.failed:
		return false
	}
}

func (d *database) hasFailed() bool {
	select {
	case <-d.failed:
		return true
	default:
		return false
	}
}

// view runs read while no write is between validation and visibility.
func (d *database) view(read func() error) error {
	d.turn.RLock()
	defer d.turn.RUnlock()
	return read()
}

// snapshot is the store as it was when also ran.
func (d *database) snapshot(also func() error) (*pebble.Snapshot, error) {
	d.turn.RLock()
	defer d.turn.RUnlock()
	if err := also(); err != nil {
		return nil, err
	}
	return d.db.NewSnapshot(), nil
}

// get returns a copy of a value, nil if there is none.
func (d *database) get(key []byte) ([]byte, error) {
	v, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, readFailed(err)
	}
	out := append(make([]byte, 0, len(v)), v...)
	return out, closer.Close()
}

func readFailed(err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return fmt.Errorf("mpc: read: %w", err)
}

// each calls visit with every key and value of a prefix, which die when it returns.
func (d *database) each(prefix []byte, visit func(key, value []byte) error) error {
	return eachOf(d.db, prefix, visit)
}

func eachOf(r pebble.Reader, prefix []byte, visit func(key, value []byte) error) (err error) {
	iter, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: prefixEnd(prefix)})
	if err != nil {
		return readFailed(err)
	}
	defer func() {
		if closed := iter.Close(); err == nil {
			err = readFailed(closed)
		}
	}()
	for ok := iter.First(); ok; ok = iter.Next() {
		value, err := iter.ValueAndErr()
		if err != nil {
			return readFailed(err)
		}
		if err := visit(iter.Key(), value); err != nil {
			return err
		}
	}
	return readFailed(iter.Error())
}

// shred has what was deleted under some prefixes leave the files of the store.
func (d *database) shred(ctx context.Context, prefixes ...byte) error {
	if err := d.db.Flush(); err != nil {
		return readFailed(err)
	}
	for _, p := range prefixes {
		if err := d.db.Compact(ctx, []byte{p}, []byte{p + 1}, false); err != nil {
			return readFailed(err)
		}
	}
	return nil
}

func (d *database) close() error {
	if d.hasFailed() {
		return ErrStorage // it can't be closed: the process ends
	}
	return d.db.Close()
}

// set and its like stage a change; batch methods fail only for a batch that is applied already.
func set(b *pebble.Batch, key, value []byte) { must(b.Set(key, value, nil)) }

func remove(b *pebble.Batch, key []byte) { must(b.Delete(key, nil)) }

func removeAll(b *pebble.Batch, prefix []byte) { must(b.DeleteRange(prefix, prefixEnd(prefix), nil)) }

func must(err error) {
	if err != nil {
		panic("BUG: mpc: " + err.Error())
	}
}

// prefixEnd is the first key behind all that begin with a prefix.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

func metaKey(name byte) []byte { return []byte{prefixMeta, name} }

func subjectKey(prefix byte, s Subject) []byte {
	return append(append([]byte{prefix}, s.Tenant[:]...), s.RID[:]...)
}

func epochKey(prefix byte, epoch uint32, s Subject) []byte {
	k := binary.BigEndian.AppendUint32([]byte{prefix}, epoch)
	return append(append(k, s.Tenant[:]...), s.RID[:]...)
}

func epochPrefix(prefix byte, epoch uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefix}, epoch)
}

// subjectOf reads what a key ends with. REQUIRES: subjectKey's or epochKey's.
func subjectOf(key []byte) (s Subject) {
	copy(s.Tenant[:], key[len(key)-32:])
	copy(s.RID[:], key[len(key)-16:])
	return s
}

func uint32Of(b []byte) uint32 {
	if len(b) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// databaseLogger adapts slog to Pebble's logger.
type databaseLogger struct {
	log  *slog.Logger
	fail func()
}

// Infof implements pebble.Logger.
func (l *databaseLogger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l *databaseLogger) Errorf(format string, args ...any) {
	l.log.Error("store: " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger: what Pebble would end the process for ends all writing, and the goroutine.
func (l *databaseLogger) Fatalf(format string, args ...any) {
	l.log.Error("store: a disk write failed; the process must end", "error", fmt.Sprintf(format, args...))
	l.fail()
	select {}
}

// States of a party's store.
const (
	storeNew    = 1 // has never had a record: of a new cluster, or put in the place of one that was lost
	storeRepair = 2 // is being filled from its peers, or was when the process ended
	storeReady  = 3
	storeFilled = 4 // as ready, by a repair: it is in the place of another
)

// storeIdentity says whose a party's store is: id[16] · party u8 · state u8 · SHA-256 of the cluster's name [32].
type storeIdentity struct {
	id      ID
	party   int
	state   byte
	cluster [32]byte
}

func (i storeIdentity) bytes() []byte {
	return append(append(append([]byte{}, i.id[:]...), byte(i.party), i.state), i.cluster[:]...)
}

// Errors: ErrCorrupt.
func parseIdentity(b []byte) (i storeIdentity, err error) {
	if len(b) != 16+2+32 {
		return i, fmt.Errorf("%w: identity", ErrCorrupt)
	}
	copy(i.id[:], b)
	i.party, i.state = int(b[16]), b[17]
	copy(i.cluster[:], b[18:])
	return i, nil
}

// partyStore is what a party keeps. Safe for concurrent use.
type partyStore struct {
	*database
	party   int
	receipt ed25519.PrivateKey
	hook    func(step string) // of tests

	epochs sync.Mutex // held by who changes epochs; before database.turn
	meters meters
	opened openRecords
	waits  sync.WaitGroup // for writes that nobody may be waiting for

	mu struct { // changed under database.turn as well, so who has either may read
		sync.Mutex
		keys     *keyFile
		identity storeIdentity
		epoch    uint32       // of the shares that live
		version  ID           // the last refresh that was committed, the same at all parties; zero for none
		staged   *stagedEpoch // nil for none
		staging  bool         // a refresh is being staged
	}
}

// stagedEpoch is a refresh that this party has voted for.
type stagedEpoch struct {
	tx    ID
	epoch uint32
}

// openPartyStore opens or makes the store of a party. Errors: ErrRootKey, ErrOther, ErrKeyFile, ErrFormat, ErrCorrupt, the disk's.
func openPartyStore(disk vfs.FS, dir, cluster string, party int, root RootKey, log *slog.Logger) (_ *partyStore, err error) {
	d, err := openDatabase(disk, dir, log)
	if err != nil {
		return nil, err
	}
	s := &partyStore{database: d, party: party, hook: func(string) {}}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	s.meters.store = s
	found, err := s.findIdentity(sha256.Sum256([]byte(cluster))) // before keys, which would not open for another reason
	if err != nil {
		return nil, err
	}
	where := fmt.Sprintf("%s\x00%d", cluster, party)
	if s.mu.keys, err = openKeyFile(disk, disk.PathJoin(dir, "kek"), root, where); err != nil {
		return nil, err
	}
	if err := s.findEpochs(); err != nil {
		return nil, err
	}
	if err := s.openKeys(found); err != nil {
		return nil, err
	}
	if err := s.openReceipt(root, where); err != nil {
		return nil, err
	}
	return s, s.dropEpochs() // of a refresh that nobody voted for, or that was committed
}

// end closes the store when what was counted is written. REQUIRES: nobody uses it.
func (s *partyStore) end() error {
	if s.hasFailed() {
		return ErrStorage
	}
	s.opened.dropAll()
	err := s.meters.flush()
	s.waits.Wait()
	return errors.Join(err, s.close())
}

// findIdentity reads whose the store is, or draws what openKeys saves of a new one. Errors: ErrOther, ErrCorrupt, the disk's.
func (s *partyStore) findIdentity(cluster [32]byte) (found bool, err error) {
	v, err := s.get(metaKey(metaIdentity))
	if err != nil {
		return false, err
	}
	if v == nil {
		s.mu.identity = storeIdentity{newID(), s.party, storeNew, cluster}
		return false, nil
	}
	if s.mu.identity, err = parseIdentity(v); err != nil {
		return true, err
	}
	if of := s.mu.identity; of.party != s.party || of.cluster != cluster {
		return true, fmt.Errorf("%w: it was made for party %d, and for a cluster of %s name", ErrOther, of.party, sameOrOther(of.cluster == cluster))
	}
	return true, nil
}

func sameOrOther(same bool) string {
	if same {
		return "this"
	}
	return "another"
}

// openKeys makes the key of a new store's first epoch, and makes sure that a store's own are there: a file that is lost, or put back
// from before a refresh, must not be replaced by new keys, under which nobody's shares open (N7). A new store's key is durable before its
// identity is. Errors: ErrKeyFile, the root key's, the disk's.
func (s *partyStore) openKeys(found bool) error {
	for _, epoch := range s.living() {
		if found && s.mu.keys.keys[epoch] == nil {
			return fmt.Errorf("%w: it lacks that of epoch %d: put kek back from your copy; or remove kek and store, and have the party filled by serve --repair-party %d", ErrKeyFile, epoch, s.party)
		}
	}
	if found {
		return nil
	}
	for epoch := range s.mu.keys.stored {
		if epoch != s.mu.epoch {
			return fmt.Errorf("%w: it has one of epoch %d, and the store is not there: put store back; or remove kek, and have the party filled by serve --repair-party %d", ErrKeyFile, epoch, s.party)
		}
	}
	if err := s.mu.keys.add(s.mu.epoch); err != nil {
		return err
	}
	return s.saveIdentity()
}

func (s *partyStore) saveIdentity() error {
	return s.update(func(b *pebble.Batch) error {
		set(b, metaKey(metaIdentity), s.mu.identity.bytes())
		return nil
	})
}

// openReceipt reads or makes the key that signs receipts.
func (s *partyStore) openReceipt(root RootKey, where string) error {
	context := append([]byte("mien/mpc/receipt/v1\x00"), where...)
	wrapped, err := s.get(metaKey(metaReceipt))
	if err != nil {
		return err
	}
	if wrapped == nil {
		seed := randomKey()
		defer clear(seed)
		if wrapped, err = root.Wrap(seed, context); err != nil {
			return fmt.Errorf("mpc: wrap a key: %w", err)
		}
		if err := s.update(func(b *pebble.Batch) error { set(b, metaKey(metaReceipt), wrapped); return nil }); err != nil {
			return err
		}
	}
	seed, err := root.Unwrap(wrapped, context)
	if err != nil || len(seed) != ed25519.SeedSize {
		return fmt.Errorf("%w (%w)", ErrRootKey, err)
	}
	defer clear(seed)
	s.receipt = ed25519.NewKeyFromSeed(seed)
	return nil
}

// findEpochs reads which epoch lives, and which is staged.
func (s *partyStore) findEpochs() error {
	v, err := s.get(metaKey(metaEpoch))
	if err != nil {
		return err
	}
	if s.mu.epoch = uint32Of(v); s.mu.epoch == 0 {
		s.mu.epoch = 1
	}
	if v, err = s.get(metaKey(metaVersion)); err != nil {
		return err
	}
	copy(s.mu.version[:], v)
	if v, err = s.get(metaKey(metaRefresh)); err != nil {
		return err
	}
	if len(v) == 20 {
		s.mu.staged = &stagedEpoch{ID(v[:16]), binary.BigEndian.Uint32(v[16:])}
	}
	return nil
}

// living are the epochs whose rows and keys are of use.
func (s *partyStore) living() []uint32 {
	if s.mu.staged != nil {
		return []uint32{s.mu.epoch, s.mu.staged.epoch}
	}
	return []uint32{s.mu.epoch}
}

// dropEpochs removes rows and KEKs of epochs that are past, or were staged by nobody's vote. Doing it again changes nothing.
func (s *partyStore) dropEpochs() error {
	err := s.update(func(b *pebble.Batch) error {
		for _, prefix := range []byte{prefixKey, prefixShares, prefixPrepared} {
			from := []byte{prefix}
			for _, epoch := range s.living() { // in order
				must(b.DeleteRange(from, epochPrefix(prefix, epoch), nil))
				from = epochPrefix(prefix, epoch+1)
			}
			must(b.DeleteRange(from, []byte{prefix + 1}, nil))
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.keys.keepOnly(s.living()...)
}

// kek is an epoch's. REQUIRES: it lives or is staged.
func (s *partyStore) kek(epoch uint32) (*kek, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.mu.keys.keys[epoch]; k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("%w: no key of epoch %d", ErrCorrupt, epoch)
}

func (s *partyStore) current() (storeIdentity, uint32, *stagedEpoch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.identity, s.mu.epoch, s.mu.staged
}

// head returns a record's head or tombstone; found is false where there never was one. Errors: ErrCorrupt, the disk's.
func (s *partyStore) head(of Subject) (h head, found bool, err error) {
	v, err := s.get(subjectKey(prefixHead, of))
	if err != nil || v == nil {
		return h, false, err
	}
	h, err = parseHead(v)
	return h, err == nil, err
}

// anybody says whether anybody of a tenant is enrolled, or was.
func (s *partyStore) anybody(tenant ID) (is bool, err error) {
	found := errors.New("found")
	err = s.each(append([]byte{prefixHead}, tenant[:]...), func(_, _ []byte) error { return found })
	if is = err == found; is {
		err = nil
	}
	return is, err
}

// record returns an active record, what it holds, and the version of the shares, as of one moment. Errors: ErrUnknown, ErrCorrupt, the
// disk's.
func (s *partyStore) record(of Subject) (h head, v shares, version ID, err error) {
	err = s.view(func() error {
		h, v, version, err = s.recordNow(of)
		return err
	})
	return h, v, version, err
}

// recordNow is record. REQUIRES: view; the epoch's key goes after the epoch.
func (s *partyStore) recordNow(of Subject) (h head, v shares, version ID, err error) {
	_, epoch, _ := s.current()
	version = s.versionNow()
	r, err := s.sealed(s.db, epoch, of)
	if err != nil {
		return h, v, version, err
	}
	k, err := s.kek(epoch)
	if err != nil {
		return h, v, version, err
	}
	v, err = k.open(epoch, of, r)
	return r.head, v, version, err
}

// sealed reads the three rows of an active record. REQUIRES: no write meanwhile.
func (s *partyStore) sealed(from pebble.Reader, epoch uint32, of Subject) (r sealedRecord, err error) {
	var rows [3][]byte
	for i, key := range [][]byte{subjectKey(prefixHead, of), epochKey(prefixKey, epoch, of), epochKey(prefixShares, epoch, of)} {
		v, closer, err := from.Get(key)
		if errors.Is(err, pebble.ErrNotFound) && i == 0 {
			return r, ErrUnknown
		}
		if err != nil && i > 0 {
			return r, fmt.Errorf("%w: a record lacks its shares: %w", ErrCorrupt, err)
		}
		if err != nil {
			return r, readFailed(err)
		}
		rows[i] = bytes.Clone(v)
		must(closer.Close())
		if i > 0 {
			continue
		}
		if r.head, err = parseHead(rows[0]); err != nil {
			return r, err
		}
		if r.head.state != stateActive {
			return r, ErrUnknown
		}
	}
	r.key, r.shares = rows[1], rows[2]
	return r, nil
}
