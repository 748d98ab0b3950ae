package engine

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// tableFolder is where tables lie until the store has taken them, beside the store: Config.Dir/tables. What is left there
// by a crash is removed by the next Open.
const tableFolder = "tables"

// tableCategory is what their bytes are counted as.
const tableCategory vfs.DiskWriteCategory = "mien-tables"

// tableWriter makes sorted tables that Pebble takes as they are, in place of a batch (doc.go, B1). Safe for concurrent use.
type tableWriter struct {
	fs      vfs.FS // as the store has it: a failed write parks the goroutine
	disk    vfs.FS // beneath it
	folder  string
	options sstable.WriterOptions
	last    atomic.Uint64 // number of a table
}

// clean removes what an import that did not end has left.
func (w *tableWriter) clean() error { return w.fs.RemoveAll(w.folder) }

// change is one key of a batch.
type change struct {
	key, value []byte
	deletion   bool
}

func (c change) size() int64 { return int64(len(c.key) + len(c.value)) }

// changesOf appends to dst what a batch changes, in its order. REQUIRES: it has sets and deletions only.
func changesOf(dst []change, b *pebble.Batch) []change {
	for r := b.Reader(); ; {
		kind, key, value, ok, err := r.Next()
		must(err)
		if !ok {
			return dst
		}
		if kind != pebble.InternalKeyKindSet && kind != pebble.InternalKeyKindDelete {
			panic(fmt.Sprintf("BUG: a change of kind %v can't be in a table", kind))
		}
		dst = append(dst, change{key, value, kind == pebble.InternalKeyKindDelete})
	}
}

// sortChanges sorts by key and keeps the last change of each.
func sortChanges(all []change) []change {
	byKey := func(a, b change) int { return bytes.Compare(a.key, b.key) }
	if !slices.IsSortedFunc(all, byKey) {
		slices.SortStableFunc(all, byKey)
	}
	n := 0
	for i := range all {
		if i+1 == len(all) || !bytes.Equal(all[i].key, all[i+1].key) {
			all[n] = all[i]
			n++
		}
	}
	return all[:n]
}

// write makes synced tables of changes that are sorted: one for each first byte of the keys, so that no table spans the keys of
// another write's, and adds their paths to paths. Errors: the disk's, if the file system does not park.
func (w *tableWriter) write(paths []string, all []change) ([]string, error) {
	if err := w.fs.MkdirAll(w.folder, 0o700); err != nil {
		return paths, fmt.Errorf("engine: folder of tables: %w", err)
	}
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].key[0] == all[0].key[0] {
			n++
		}
		path := w.fs.PathJoin(w.folder, strconv.FormatUint(w.last.Add(1), 10))
		if err := w.writeOne(path, all[:n]); err != nil {
			return paths, fmt.Errorf("engine: write table: %w", err)
		}
		paths, all = append(paths, path), all[n:]
	}
	return paths, nil
}

func (w *tableWriter) writeOne(path string, all []change) error {
	f, err := w.fs.Create(path, tableCategory)
	if err != nil {
		return err
	}
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{BytesPerSync: 512 << 10})
	t := sstable.NewWriter(&tableFile{f, bufio.NewWriterSize(f, tableBuffer)}, w.options)
	for _, c := range all {
		if c.deletion {
			err = t.Delete(c.key)
		} else {
			err = t.Set(c.key, c.value)
		}
		if err != nil {
			break
		}
	}
	return cmp.Or(err, t.Close()) // which syncs
}

// tableBuffer is how much of a table is written at a time: Pebble's own 4 KiB, two templates, are a system call for each two.
const tableBuffer = 256 << 10

// tableFile is a table being written. It implements objstorage.Writable.
type tableFile struct {
	file vfs.File
	out  *bufio.Writer
}

// Write implements objstorage.Writable.
func (t *tableFile) Write(p []byte) error {
	_, err := t.out.Write(p)
	return err
}

// Finish implements objstorage.Writable.
func (t *tableFile) Finish() error {
	err := t.out.Flush()
	if err == nil {
		err = t.file.Sync()
	}
	return cmp.Or(err, t.file.Close())
}

// Abort implements objstorage.Writable.
func (t *tableFile) Abort() { _ = t.file.Close() }

// remove removes tables that are not wanted any more, on a halted store too, where it must not park. What stays is removed by
// the next Open.
func (w *tableWriter) remove(paths []string) {
	for _, path := range paths {
		_ = w.disk.Remove(path)
	}
}

// applyTables makes a write visible and durable whose changes are in tables, with the rows beside them and those of its batch.
func (s *store) applyTables(c *commit) error {
	paths, err := s.tables.write(slices.Clip(c.tables), sortChanges(changesOf(c.tableRows, c.batch)))
	if err != nil {
		return err
	}
	if err := s.db.LogData([]byte("tables"), pebble.Sync); err != nil { // what is in the log is durable first (B1)
		return err
	}
	return s.db.Ingest(context.Background(), paths)
}

// Bounds of what waits for compactions in the store's first level, in tables over one another there. Pebble holds up batches
// at its own bound (L0StopWritesThreshold, 24) but takes tables without one, and every read looks into each.
const (
	maxTableDepth  = 12
	tableDepthWait = 20 * time.Millisecond
)

// roomForTables waits while compactions are behind. Errors: ErrStorageFailed, ctx's.
func (s *store) roomForTables(ctx context.Context) error {
	for {
		depth := make(chan int32, 1)
		go func() { depth <- s.db.Metrics().Levels[0].Sublevels }() // ends, or waits for a lock that a parked goroutine has
		select {
		case n := <-depth:
			if n < maxTableDepth {
				return nil
			}
		case <-s.fs.halted:
			return errStorageFailed
		}
		select {
		case <-time.After(tableDepthWait):
		case <-s.fs.halted:
			return errStorageFailed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
