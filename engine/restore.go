package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/engine/backup"
)

// RestoreSpec says what is restored, and where to.
type RestoreSpec struct {
	From string // a backup folder
	ID   string // of its backup; "" is the newest
	Key  []byte // the folder's: BackupKey, or its own
	Dir  string // the data folder, to be made or empty but for a master key; of a backup without keys, also a key store
	// KeyDir is the key store that goes with a backup without keys, as it was when the backup was made or, until the tenants' keys were
	// rotated, later; default Dir/keys. It stays where it is.
	KeyDir string
	FS     vfs.FS // nil is the disk
	// Progress is called with the bytes that are done and all, if it is not nil.
	Progress func(done, all int64)
}

// Restore makes a data folder of a backup: the store as it was, without search indexes, which Open makes again. The folder is
// there whole or not at all: until then its files are in Dir/restore.tmp, which Open refuses, and a call after a crash
// begins anew. After an error the folder is as it was. Errors: ErrNotEmpty, ErrNoKeys, ErrConfig, those of package backup, ctx's, the disk's.
func Restore(ctx context.Context, s RestoreSpec) (made Backup, err error) {
	disk := s.FS
	if disk == nil {
		disk = vfs.Default
	}
	folder, err := backup.Open(disk, s.From, s.Key)
	if err != nil {
		return made, err
	}
	b, err := folder.Backup(s.ID)
	if err != nil {
		return made, err
	}
	if b.Store > formatVersion {
		return made, fmt.Errorf("%w (format %d, this program knows %d)", ErrFormat, b.Store, formatVersion)
	}
	if b.WithoutKeys {
		if s.KeyDir == "" {
			s.KeyDir = disk.PathJoin(s.Dir, "keys")
		}
		if _, err := disk.Stat(disk.PathJoin(s.KeyDir, storeKeysName)); err != nil {
			return made, fmt.Errorf("%w: %s has no %s", ErrNoKeys, s.KeyDir, storeKeysName)
		}
	}
	if err := disk.MkdirAll(s.Dir, 0o700); err != nil {
		return made, err
	}
	lock, err := disk.Lock(disk.PathJoin(s.Dir, restoreLock))
	if err != nil {
		return made, fmt.Errorf("%w (%w)", backup.ErrInUse, err)
	}
	defer func() {
		err = errors.Join(err, lock.Close(), disk.RemoveAll(disk.PathJoin(s.Dir, restoreLock)))
	}()
	if err := clearForRestore(disk, s.Dir, b.WithoutKeys); err != nil {
		return made, err
	}
	return b.Info, restoreTo(ctx, disk, s, b)
}

// restoreLock is held by who restores, and gone afterwards.
const restoreLock = "restore.lock"

// restoredRoots are what a backup holds of a data folder, the last of which makes it one.
var restoredRoots = []string{"keys", "store"}

// clearForRestore refuses a folder that holds anything but a master key, and removes what a restore left that did not end: what
// is beside restore.tmp came from there. keysStay says that a key store is no part of the backup, and is left alone.
func clearForRestore(disk vfs.FS, dir string, keysStay bool) error {
	names, err := disk.List(dir)
	if err != nil {
		return err
	}
	half := isHalfRestored(disk, dir)
	for _, name := range names {
		path := disk.PathJoin(dir, name)
		switch {
		case name == "master.key" || name == "lost+found" || name == restoreLock || name == "keys" && keysStay:
		case name == restoringName && half, slices.Contains(restoredRoots, name) && (half || isEmpty(disk, path)):
			if err := disk.RemoveAll(path); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: it holds %q", ErrNotEmpty, name)
		}
	}
	return nil
}

func isEmpty(disk vfs.FS, dir string) bool {
	names, err := disk.List(dir)
	return err == nil && len(names) == 0
}

// isHalfRestored says whether a restore to a folder did not end. One that ended but for its traces has a store.
func isHalfRestored(disk vfs.FS, dir string) bool {
	if _, err := disk.Stat(disk.PathJoin(dir, restoringName)); err != nil {
		return false
	}
	names, err := disk.List(disk.PathJoin(dir, "store"))
	return err != nil || len(names) == 0
}

// HalfRestored says whether a restore to a data folder did not end: nothing may be made there before it has been repeated.
func HalfRestored(dir string) bool { return isHalfRestored(vfs.Default, dir) }

// restoreTo writes the backup's files aside and moves them to their places when all of them are right and durable, the store last.
func restoreTo(ctx context.Context, disk vfs.FS, s RestoreSpec, b *backup.Backup) error {
	aside := disk.PathJoin(s.Dir, restoringName)
	err := disk.MkdirAll(aside, 0o700)
	if err == nil {
		err = b.Extract(ctx, disk, aside, s.Progress)
	}
	if err == nil {
		err = syncDir(disk, s.Dir) // what stands beside the folder from now on is told from somebody's data by it
	}
	if err != nil {
		return errors.Join(err, disk.RemoveAll(aside))
	}
	for _, root := range restoredRoots {
		if _, err := disk.Stat(disk.PathJoin(aside, root)); err != nil {
			continue // this backup has none
		}
		if err := disk.Rename(disk.PathJoin(aside, root), disk.PathJoin(s.Dir, root)); err != nil {
			return err
		}
		if err := syncDir(disk, s.Dir); err != nil {
			return err
		}
	}
	return errors.Join(disk.RemoveAll(aside), syncDir(disk, s.Dir))
}

func syncDir(disk vfs.FS, dir string) error {
	d, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkRestored refuses a folder whose restore did not end: a new store would be made there in its place.
func checkRestored(disk vfs.FS, dir string) error {
	if isHalfRestored(disk, dir) {
		return ErrHalfRestored
	}
	return nil
}
