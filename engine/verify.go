package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/engine/backup"
)

// BackupFolder is a backup folder that is looked at, or pruned, without an engine.
type BackupFolder struct {
	Dir string
	Key []byte // BackupKey's, or its own
	FS  vfs.FS // nil is the disk
	// KeyDir is the key store that opens backups without keys, where what is in them is verified.
	KeyDir string
}

// BackupCheck is what came of a backup's verification; Err is nil if all of it is what was written.
type BackupCheck struct {
	Backup
	Err error
}

func (f BackupFolder) disk() vfs.FS {
	if f.FS == nil {
		return vfs.Default
	}
	return f.FS
}

func (f BackupFolder) open() (*backup.Folder, error) { return backup.Open(f.disk(), f.Dir, f.Key) }

// List returns the folder's backups, oldest first; one whose manifest can't be read has an Err. Errors: those of package backup.
func (f BackupFolder) List() ([]BackupCheck, error) {
	folder, err := f.open()
	if err != nil {
		return nil, err
	}
	list, err := folder.List()
	all := make([]BackupCheck, len(list))
	for i, l := range list {
		all[i] = BackupCheck{l.Info, l.Err}
	}
	return all, err
}

// Prune removes all backups but the newest keep, and the files that no backup needs then. Errors: those of package backup.
func (f BackupFolder) Prune(keep int) (p backup.Pruned, err error) {
	if _, err := f.open(); err != nil { // Create would make a folder
		return p, err
	}
	folder, err := backup.Create(f.disk(), f.Dir, f.Key)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	return folder.Prune(keep)
}

// Verify reads a backup, or with the id "" all of them, each file once, and says of each whether it is what was written. With a master
// key it also opens the store in each backup, where it is, and every person, template and photo in it; without one,
// masterKey is nil, it does not. Errors: those of package backup that are not one backup's, ctx's.
func (f BackupFolder) Verify(ctx context.Context, id string, masterKey []byte, progress func(done, all int64)) ([]BackupCheck, error) {
	list, err := f.List()
	if err != nil {
		return nil, err
	}
	folder, err := f.open()
	if err != nil {
		return nil, err
	}
	var all []BackupCheck
	seen := make(map[string]bool)
	for _, l := range list {
		if id != "" && l.ID != id {
			continue
		}
		if l.Err == nil {
			l.Err = f.verify(ctx, folder, l.ID, masterKey, seen, progress)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		all = append(all, l)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %s", backup.ErrNoBackup, id)
	}
	return all, nil
}

func (f BackupFolder) verify(ctx context.Context, folder *backup.Folder, id string, masterKey []byte, seen map[string]bool, progress func(done, all int64)) error {
	b, err := folder.Backup(id)
	if err != nil {
		return err
	}
	if err := b.Verify(ctx, seen, progress); err != nil || masterKey == nil {
		return err
	}
	return f.openBackup(ctx, b, masterKey)
}

// addKeys puts a copy of the key store, in memory, beside a store that has none.
func (f BackupFolder) addKeys(to vfs.FS) error {
	if f.KeyDir == "" {
		return fmt.Errorf("%w", ErrNoKeys)
	}
	names, err := f.disk().List(f.KeyDir)
	if err == nil {
		err = to.MkdirAll(to.PathJoin("data", "keys"), 0o700)
	}
	for _, name := range names {
		if err == nil && strings.HasSuffix(name, keyFileSuffix) {
			err = copyFile(f.disk(), f.disk().PathJoin(f.KeyDir, name), to, to.PathJoin("data", "keys", name))
		}
	}
	return err
}

func copyFile(from vfs.FS, source string, to vfs.FS, target string) error {
	b, err := readFile(from, source)
	if err != nil {
		return err
	}
	out, err := to.Create(target, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return errors.Join(err, out.Close())
}

// openBackup opens the store in a backup without restoring it, and every record in it.
func (f BackupFolder) openBackup(ctx context.Context, b *backup.Backup, masterKey []byte) error {
	disk, err := b.FS(ctx, "data")
	if err == nil && b.WithoutKeys {
		err = f.addKeys(disk)
	}
	if err != nil {
		return err
	}
	e, err := Open(Config{Dir: "data", MasterKey: masterKey, FS: disk, MinFreeBytes: -1, RecallSample: -1, inspect: true})
	if err != nil {
		return err
	}
	err = cmp.Or(e.damage(), e.readAll(ctx))
	if err == nil && e.store.seq < b.Sequence { // a store of an older format is raised when it is opened, in memory
		err = fmt.Errorf("%w: its last write is %d, the backup says %d", ErrCorrupt, e.store.seq, b.Sequence)
	}
	return errors.Join(err, e.Close())
}

// readAll reads every key of the store and opens every template and photo; Open has opened the rest. Errors: ErrCorrupt, the
// store's, ctx's.
func (e *Engine) readAll(ctx context.Context) error {
	err := e.store.each([]byte{0}, []byte{0xff}, func(_, _ []byte) (bool, error) { return true, ctx.Err() })
	for _, g := range e.allGalleries() {
		if err == nil {
			err = e.readGallery(ctx, g)
		}
	}
	return err
}

func (e *Engine) readGallery(ctx context.Context, g *gallery) error {
	var photos error // read while the person's key is at hand
	records, err := e.readPeople(g, func(id string, r *personRecord) {
		photos = cmp.Or(photos, ctx.Err(), e.readPhotos(g, id, r))
	})
	if err = cmp.Or(err, photos); err != nil {
		return err
	}
	_, err = newLoader(ctx, g, discard{}, records).run(e.store)
	return err
}

func (e *Engine) readPhotos(g *gallery, id string, r *personRecord) error {
	for _, t := range r.templates {
		if !t.photo {
			continue
		}
		if _, err := g.photo(e.store, id, r.key, t.number); err != nil {
			return err
		}
	}
	return nil
}

// discard is an index that takes templates and keeps none.
type discard struct{ searcher }

func (discard) Append([]uint32, []float32, []uint32) error { return nil }
