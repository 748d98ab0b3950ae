package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/engine/backup"
)

// Folders in Config.Dir that are there for a while only.
const (
	stagingName   = "backup.tmp"  // links to the files that are being backed up
	restoringName = "restore.tmp" // a store that is being restored
)

// checkpoint is the store's files as of one moment, in a folder beside it: links, and copies of the log and what is small.
type checkpoint struct {
	sequence uint64 // of the last write that is in it
	format   uint32
	sources  []backup.Source
}

// checkpoint makes one while no write is under way, so that it holds exactly the writes up to its sequence number (V1). Writers
// wait meanwhile: for some ten microseconds a table, and what is in the log since the flush before. The work is done by a
// goroutine that a disk that fails may park (haltFS). Errors: ErrStorageFailed, ctx's, the disk's.
func (e *Engine) checkpoint(ctx context.Context) (c checkpoint, err error) {
	done := make(chan error, 1)
	go func() { // ends with the checkpoint, or parks in it
		done <- e.makeCheckpoint(ctx, &c)
	}()
	select {
	case err := <-done:
		return c, err
	case <-e.store.fs.halted:
		return checkpoint{}, errStorageFailed
	}
}

func (e *Engine) makeCheckpoint(ctx context.Context, c *checkpoint) error {
	disk := e.store.fs
	dir := disk.PathJoin(e.dir, stagingName)
	if err := errors.Join(disk.RemoveAll(dir), disk.MkdirAll(dir, 0o700)); err != nil {
		return fmt.Errorf("engine: backup: %w", err)
	}
	if err := e.store.flush(ctx); err != nil { // so that there is little log to copy
		return err
	}
	err := e.store.whileQuiet(ctx, func() error {
		c.sequence = e.store.seq
		format, _, err := e.store.get(nil, keyFormat)
		if err != nil || len(format) != 4 {
			return errors.Join(fmt.Errorf("%w: format version", ErrCorrupt), err)
		}
		c.format = binary.BigEndian.Uint32(format)
		if err := e.store.db.Checkpoint(disk.PathJoin(dir, "store")); err != nil {
			return err
		}
		if e.keysApart {
			return nil
		}
		return e.stageKeys(dir)
	})
	if err == nil {
		c.sources, err = e.sourcesIn(dir)
	}
	if err != nil {
		return fmt.Errorf("engine: backup: %w", err)
	}
	return nil
}

// stageKeys copies the wrapped keys that are beside the store, if there are any: without those of its moment it does not open. They
// are small and change only under the store's turn.
func (e *Engine) stageKeys(dir string) error {
	disk := e.store.fs
	from, to := e.keys.dir, disk.PathJoin(dir, "keys")
	names, err := disk.List(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err = errors.Join(err, disk.MkdirAll(to, 0o700)); err != nil {
		return err
	}
	for _, name := range names {
		if err := vfs.Copy(disk, disk.PathJoin(from, name), disk.PathJoin(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// sourcesIn are the files of a checkpoint, in the order of their names.
func (e *Engine) sourcesIn(dir string) (all []backup.Source, err error) {
	for _, root := range restoredRoots {
		names, err := e.store.fs.List(e.store.fs.PathJoin(dir, root))
		if err != nil && (root == "store" || !errors.Is(err, fs.ErrNotExist)) {
			return nil, err
		}
		slices.Sort(names)
		for _, name := range names {
			all = append(all, backup.Source{Path: root + "/" + name, From: e.store.fs.PathJoin(dir, root, name)})
		}
	}
	return all, nil
}

// dropCheckpoint removes what a checkpoint left: it keeps files on the disk that the store has let go of.
func (e *Engine) dropCheckpoint() { e.dropTraces(stagingName) }

// dropTraces removes folders beside the store that nobody needs any more. The store can do without their removal, so failing halts
// nothing.
func (e *Engine) dropTraces(names ...string) {
	disk := e.store.fs.FS
	for _, name := range names {
		path := disk.PathJoin(e.dir, name)
		if _, err := disk.Stat(path); err != nil {
			continue
		}
		if err := disk.RemoveAll(path); err != nil {
			e.log.Warn("a folder that is not needed any more is left behind: remove it", "folder", name, "error", err)
		}
	}
}

// flush has what is in memory written to tables. Errors: the disk's, ctx's.
func (s *store) flush(ctx context.Context) error {
	flushed, err := s.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("engine: flush: %w", err)
	}
	select {
	case <-flushed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
