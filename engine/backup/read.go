package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Listed is a backup in a list; Err says why nothing is known of it but its ID.
type Listed struct {
	Info
	Err error
}

// List returns all backups, oldest first. Errors: ErrKey if the newest has another key, the disk's.
func (f *Folder) List() ([]Listed, error) {
	ids, err := f.ids()
	if err != nil {
		return nil, err
	}
	all := make([]Listed, len(ids))
	for i, id := range ids {
		m, err := f.readManifest(id)
		if err != nil {
			if i == len(ids)-1 && errors.Is(err, ErrKey) {
				return nil, err
			}
			all[i] = Listed{Info{ID: id}, err}
			continue
		}
		all[i] = Listed{Info: m.Info}
	}
	return all, nil
}

// Backup is one backup of a folder.
type Backup struct {
	Info
	List   []File
	folder *Folder
}

// Backup reads one backup's manifest; "" is the newest. Errors: ErrNoBackup, ErrDamaged, ErrKey, ErrFormat, the disk's.
func (f *Folder) Backup(id string) (*Backup, error) {
	if id == "" {
		ids, err := f.ids()
		if err != nil {
			return nil, err
		}
		if len(ids) == 0 {
			return nil, fmt.Errorf("%w: the folder has none", ErrNoBackup)
		}
		id = ids[len(ids)-1]
	}
	m, err := f.readManifest(id)
	if err != nil {
		return nil, err
	}
	return &Backup{m.Info, m.List, f}, nil
}

// copyFile writes the content of a file to w and holds it against what the manifest says of it.
func (b *Backup) copyFile(ctx context.Context, file File, w io.Writer) error {
	err := b.folder.reading(b.folder.filePath(file.Name), kindFile, "", func(o *opener) error {
		if o.size != file.Size {
			return fmt.Errorf("%w: it holds %d bytes, the backup says %d", ErrDamaged, o.size, file.Size)
		}
		hash := sha256.New()
		// w last: Pebble's file in memory, in a program that looks for races, changes what it was given to write.
		_, err := io.CopyBuffer(io.MultiWriter(hash, ctxWriter{ctx}, w), onlyReader{o.reader()}, make([]byte, 256<<10))
		if err == nil && hex.EncodeToString(hash.Sum(nil)) != file.SHA256 {
			err = fmt.Errorf("%w: it is another file than the backup says", ErrDamaged)
		}
		return err
	})
	if isMissing(err) {
		err = fmt.Errorf("%w: it is not there", ErrDamaged)
	}
	if err != nil {
		return fmt.Errorf("files/%s (%s): %w", file.Name, file.Path, err)
	}
	return nil
}

// ctxWriter ends a copy with a context.
type ctxWriter struct{ ctx context.Context }

func (w ctxWriter) Write(p []byte) (int, error) { return len(p), w.ctx.Err() }

// Verify reads every file of the backup and calls damaged with the error of each that is not what was written, which it
// also returns, joined. seen has the names of files that were found good, may be nil, and spares those; it is added to.
// Errors: ErrDamaged, ErrKey, ErrFormat, ctx's.
func (b *Backup) Verify(ctx context.Context, seen map[string]bool, progress func(done, all int64)) error {
	var all error
	done := int64(0)
	for _, file := range b.List {
		key := file.Name + file.SHA256
		if !seen[key] {
			err := b.copyFile(ctx, file, io.Discard)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				all = errors.Join(all, err)
			} else if seen != nil {
				seen[key] = true
			}
		}
		if done += file.Size; progress != nil {
			progress(done, b.Bytes)
		}
	}
	return all
}

// Extract writes every file of the backup below dir, durably, but for the folder dir itself, which the caller syncs. What is
// damaged is found before it is believed: the first such error ends the work, and then dir is not to be used. Errors: ErrDamaged, ErrKey, ErrFormat, ErrFull,
// ctx's, the disks'.
func (b *Backup) Extract(ctx context.Context, disk vfs.FS, dir string, progress func(done, all int64)) error {
	done, dirs := int64(0), map[string]bool{dir: true}
	for _, file := range b.List {
		to := disk.PathJoin(dir, file.Path)
		if err := b.extract(ctx, disk, file, to); err != nil {
			if isFull(err) {
				err = fmt.Errorf("%w (%w)", ErrFull, err)
			}
			return err
		}
		for d := disk.PathDir(to); !dirs[d]; d = disk.PathDir(d) {
			dirs[d] = true
		}
		if done += file.Size; progress != nil {
			progress(done, b.Bytes)
		}
	}
	for d := range dirs {
		if err := syncDir(disk, d); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backup) extract(ctx context.Context, disk vfs.FS, file File, to string) error {
	if err := disk.MkdirAll(disk.PathDir(to), folderPerms); err != nil {
		return err
	}
	h, err := disk.Create(to, writeCat)
	if err != nil {
		return err
	}
	err = b.copyFile(ctx, file, h)
	if err == nil {
		err = h.Sync()
	}
	return errors.Join(err, h.Close())
}
