package engine

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/engine/backup"
	"mien/index"
	"mien/index/scan"
)

// Bounds on what a client may store or ask for.
const (
	MaxTemplates     = 8        // of one person
	MaxHistory       = 8        // replaced templates of one person
	MaxByBytes       = 64       // id of an API key, in the provenance of a template; this program's have 16
	MaxFilterable    = 8        // fields of metadata that a gallery can be filtered by
	MaxFieldBytes    = 64       // of such a field's name
	MaxFilterValues  = 64       // of one field in a filter
	MaxMetadataBytes = 16 << 10 // of one person, as JSON
	MaxTopK          = 100      // candidates of one search
	DefaultTopK      = 10       // where IdentifyOptions.TopK is 0
	MaxEF            = index.MaxEF
	MaxListLimit     = 1000                // people in one page
	DefaultListLimit = 100                 // where a list's limit is 0
	MaxIDBytes       = 256                 // of a person id
	MaxNameBytes     = 64                  // of a gallery or tenant name
	MaxLabelBytes    = 256                 // of a key's label
	MaxSourceBytes   = 64                  // of a template's source
	MaxConsentBytes  = 256                 // of a text of a consent
	MaxPhotoBytes    = 8 << 20             // of a photo that is stored
	MaxMoveFailures  = 20                  // that are named of a move
	MaxGalleries     = 100_000             // of one store
	MaxKeys          = 1000                // of one tenant, those that have ended included
	MaxKeyGalleries  = 32                  // that a key is bound to
	MaxKeyRate       = 1e6                 // requests a second, and at once, of a key
	MaxKeyOverlap    = 30 * 24 * time.Hour // that a rotated key lives on beside its successor
	DefaultOverlap   = 24 * time.Hour      // where that is not stated
	MaxAttemptWindow = 30 * 24 * time.Hour // of Attempts
	MasterKeyBytes   = 32
)

// Config says where the store is and how to use it. Dir, and MasterKey or RootKey, are required.
type Config struct {
	// Dir is the data folder; the store is Dir/store, made if absent, and files of search indexes, which can be made
	// again from the store, are in Dir/index. Where another store is put, Dir/index must go or be of the same moment.
	Dir string
	// MasterKey is MasterKeyBytes long and wraps the keys of the key store. It is not retained.
	MasterKey []byte
	// RootKey wraps the keys of the key store in MasterKey's place, which then may be nil. A store of before format 5 must be opened
	// with MasterKey once.
	RootKey RootKey
	// KeyDir is the key store: a file of wrapped keys for each tenant, and one of the store's own. Default Dir/keys. Without it
	// nothing of the store opens. What was erased ends in backups when they have no keys any more, so its own backups should be
	// separate, and short-lived (doc.go, "Keys").
	KeyDir string
	// Spaces are the embedding spaces this process has models for; the first is the default. It may be empty
	// where only keys are managed: galleries of spaces not listed answer ErrSpaceUnknown. A dim is at most
	// scan.MaxDim, 4,096: a space of more is refused with ErrConfig, whether the store has galleries of it or not.
	Spaces []Space
	// MinFreeBytes is the free disk space below which writes are refused. Default 256 MiB; negative: never.
	MinFreeBytes int64
	// CacheBytes is the size of Pebble's block cache. Default 32 MiB: vectors are served from memory, so only
	// gets and lists of people profit from more.
	CacheBytes int64
	// BackupDir is the folder that backups of the store go to, made if absent; "" is none. On another disk than Dir it is worth
	// more. It may hold backups of before, by the same key.
	BackupDir string
	// BackupKey is the MasterKeyBytes long key of that folder; nil makes one of the master key (BackupKey). It is not retained.
	BackupKey []byte
	// BackupWithoutKeys leaves the key store out of backups, so that they open only with a copy of it that is kept apart: keys that are
	// destroyed there reach the backups (doc.go, V6).
	BackupWithoutKeys bool
	// Program is what backups name as who made them.
	Program string
	// RecallSample is the share of searches that are answered again, exactly, in the background, to count what the index
	// misses: 0 < RecallSample ≤ 1, of which no more are taken than 1 % of the time allows. Default 1/1000; negative: none.
	RecallSample float64
	// Extract makes a template's vector, in another space, of a photo that was stored: of its face that is at box
	// (Photo.Box), and of no other. The engine calls it while a gallery that keeps photos is being moved, for one photo at a
	// time. It must obey ctx as far as it can, may hold image until it has returned and no longer, and applies no gate: the
	// photo passed its gallery's when it was enrolled. An error that is ErrBusy is tried again; any other is the photo's, and
	// its Detail is what clients are told. nil: photos are kept and not used.
	Extract func(ctx context.Context, space string, image []byte, box [4]float32) ([]float32, error)
	// Audit says when a decision (verify, identify, duplicates, compare) is answered and a refusal told. AuditAsync, the default: when
	// its record is in a queue that is written every few milliseconds; a crash may lose the records of the last ones. AuditSync:
	// when it is durable, which costs an fsync, some milliseconds, and decisions on a disk that fails. AuditWrites: decisions
	// are not recorded. The record of a write is always in the write's batch.
	Audit string
	// AuditKeep is for how long audit records are kept; the oldest whole blocks go then, once an hour. 0: for ever.
	AuditKeep time.Duration
	// RotateEvery is how old a version of a tenant's key gets before the engine makes the next, and destroys the old one
	// once the keys of all people are sealed by the new (RotateTenantKey). Backups of the store hold who was erased for at most so long,
	// and the life of the key store's own backups besides. Each rotation writes every person's record again. Default 0: never by itself.
	RotateEvery time.Duration
	// Attempts bounds the failed verifications of each person. Default: no bound.
	Attempts Attempts
	// FS is the file system of the store; nil is the disk. With another, search indexes are in memory only.
	FS vfs.FS
	// Logger receives the store's messages; nil discards them. Ids of people are never logged.
	Logger *slog.Logger
	// Now is the clock of the records; nil is time.Now.
	Now func() time.Time

	diskCheckEvery time.Duration    // default 1 s; shorter in tests
	decisionNow    func() time.Time // of decisions' records; default Now
	inspect        bool             // the store is in memory, is read once and thrown away: it is not tidied
	idleSave       time.Duration
	sweepEvery     time.Duration // default sweepEvery; shorter in tests
	maxOnce        int           // default maxOnce; fewer in tests
	eraseHold      time.Duration // default eraseHold
	keyGrace       time.Duration
	keyTick        time.Duration
	attemptClock   func() time.Time                                   // default time.Now
	dedupeBatch    int                                                // default 64
	jobCheckpoint  time.Duration                                      // default 2 s
	makeIndex      func(kind string, c scan.Config) (searcher, error) // default makeIndex; tests put something between
}

func (c Config) withDefaults() Config {
	c.MinFreeBytes = cmp.Or(c.MinFreeBytes, 256<<20)
	c.CacheBytes = cmp.Or(c.CacheBytes, 32<<20)
	c.RecallSample = cmp.Or(c.RecallSample, defaultRecallSample)
	c.idleSave = cmp.Or(c.idleSave, defaultIdleSave)
	c.keyGrace = cmp.Or(c.keyGrace, keyGrace)
	c.keyTick = cmp.Or(c.keyTick, keyTick)
	c.dedupeBatch = cmp.Or(c.dedupeBatch, dedupeBatch)
	c.jobCheckpoint = cmp.Or(c.jobCheckpoint, jobCheckpoint)
	c.diskCheckEvery = cmp.Or(c.diskCheckEvery, time.Second)
	if c.attemptClock == nil {
		c.attemptClock = time.Now
	}
	if c.makeIndex == nil {
		c.makeIndex = makeIndex
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.decisionNow == nil {
		c.decisionNow = c.Now
	}
	c.Audit = cmp.Or(c.Audit, AuditAsync)
	c.maxOnce = cmp.Or(c.maxOnce, maxOnce)
	c.sweepEvery, c.eraseHold = cmp.Or(c.sweepEvery, sweepEvery), cmp.Or(c.eraseHold, eraseHold)
	if c.KeyDir == "" && c.Dir != "" {
		c.KeyDir = c.FS.PathJoin(c.Dir, "keys")
	}
	return c
}

func (c Config) validate() error {
	if c.Dir == "" {
		return fmt.Errorf("%w: Dir is empty", ErrConfig)
	}
	if c.RootKey == nil && len(c.MasterKey) != MasterKeyBytes {
		return fmt.Errorf("%w: MasterKey has %d bytes, want %d", ErrConfig, len(c.MasterKey), MasterKeyBytes)
	}
	if c.BackupKey != nil && len(c.BackupKey) != backup.KeyBytes {
		return fmt.Errorf("%w: BackupKey has %d bytes, want %d", ErrConfig, len(c.BackupKey), backup.KeyBytes)
	}
	if c.BackupDir != "" && c.BackupKey == nil && c.MasterKey == nil {
		return fmt.Errorf("%w: without a MasterKey, backups need a BackupKey", ErrConfig)
	}
	if !(c.RecallSample <= 1) {
		return fmt.Errorf("%w: RecallSample is %v, want at most 1", ErrConfig, c.RecallSample)
	}
	if c.Audit != AuditAsync && c.Audit != AuditSync && c.Audit != AuditWrites {
		return fmt.Errorf("%w: Audit is %q, want %s, %s or %s", ErrConfig, c.Audit, AuditAsync, AuditSync, AuditWrites)
	}
	if c.AuditKeep < 0 {
		return fmt.Errorf("%w: AuditKeep is %v", ErrConfig, c.AuditKeep)
	}
	if c.RotateEvery < 0 {
		return fmt.Errorf("%w: RotateEvery is negative", ErrConfig)
	}
	if err := c.Attempts.validate(); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, s := range c.Spaces {
		if s.ID == "" || seen[s.ID] || s.Dim < 1 || s.Dim > maxDim {
			return fmt.Errorf("%w: space %q with dim %d: ids must differ and dim be in 1..%d", ErrConfig, s.ID, s.Dim, maxDim)
		}
		seen[s.ID] = true
		if err := s.Calibration.Validate(); err != nil {
			return fmt.Errorf("%w: space %q: %w", ErrConfig, s.ID, err)
		}
	}
	return nil
}
