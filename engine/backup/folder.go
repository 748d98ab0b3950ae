package backup

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	markerName  = "mien-backup"
	markerText  = "mien backup folder, format 1\n"
	tmpSuffix   = ".tmp"
	filesDir    = "files"
	backupsDir  = "backups"
	lockName    = "LOCK"
	writeCat    = vfs.DiskWriteCategory("mien-backup")
	maxBackups  = 999_999
	folderPerms = 0o700
)

// Folder is a backup folder. One from Open can be read, by many goroutines at once; one from Create can also be
// written to, by one, and must be closed.
type Folder struct {
	fs   vfs.FS
	dir  string
	keys keyring
	lock io.Closer // nil: reading only
}

// Open opens a folder for reading. key has KeyBytes and is not retained. Errors: ErrNoFolder, ErrFormat, the disk's.
func Open(disk vfs.FS, dir string, key []byte) (*Folder, error) {
	keys, err := newKeyring(key)
	if err != nil {
		return nil, err
	}
	f := &Folder{fs: disk, dir: dir, keys: keys}
	return f, f.checkMarker()
}

// Create opens a folder for writing, and makes it if there is none or an empty one. Errors: ErrNotEmpty, ErrFormat, ErrInUse,
// ErrKey if its newest backup has another, the disk's.
func Create(disk vfs.FS, dir string, key []byte) (*Folder, error) {
	keys, err := newKeyring(key)
	if err != nil {
		return nil, err
	}
	f := &Folder{fs: disk, dir: dir, keys: keys}
	if err := f.makeFolder(); err != nil {
		return nil, err
	}
	if f.lock, err = disk.Lock(f.path(lockName)); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	if err := f.prepare(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close gives up the lock of a folder from Create.
func (f *Folder) Close() error {
	if f.lock == nil {
		return nil
	}
	lock := f.lock
	f.lock = nil
	return lock.Close()
}

// makeFolder makes what is not there. The marker comes first: a crash later leaves a backup folder.
func (f *Folder) makeFolder() error {
	err := f.checkMarker()
	if !errors.Is(err, ErrNoFolder) {
		return err
	}
	if err := f.fs.MkdirAll(f.dir, folderPerms); err != nil {
		return err
	}
	names, err := f.fs.List(f.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != markerName+tmpSuffix && name != "lost+found" { // a crash of ours, and what a new disk has
			return ErrNotEmpty
		}
	}
	if err := f.writeFile(f.path(markerName), func(w io.Writer) error {
		_, err := io.WriteString(w, markerText)
		return err
	}); err != nil {
		return err
	}
	return errors.Join(f.syncDir(f.dir), f.syncDir(f.fs.PathDir(f.dir)))
}

// prepare makes the inner folders, removes what a crash left half-written, and checks the key.
func (f *Folder) prepare() error {
	for _, dir := range []string{filesDir, backupsDir} {
		if err := f.fs.MkdirAll(f.path(dir), folderPerms); err != nil {
			return err
		}
		if err := f.removeTemporary(f.path(dir)); err != nil {
			return err
		}
	}
	if err := f.syncDir(f.dir); err != nil {
		return err
	}
	ids, err := f.ids()
	if err != nil || len(ids) == 0 {
		return err
	}
	if _, err := f.readManifest(ids[len(ids)-1]); errors.Is(err, ErrKey) {
		return err
	}
	return nil
}

func (f *Folder) removeTemporary(dir string) error {
	names, err := f.fs.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, tmpSuffix) {
			if err := f.fs.Remove(f.fs.PathJoin(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *Folder) checkMarker() error {
	h, err := f.fs.Open(f.path(markerName))
	if isMissing(err) {
		return fmt.Errorf("%w: %s has no file %s", ErrNoFolder, f.dir, markerName)
	}
	if err != nil {
		return err
	}
	defer h.Close()
	text, err := io.ReadAll(io.LimitReader(h, int64(len(markerText))+64))
	if err != nil {
		return err
	}
	const head = "mien backup folder, format "
	switch {
	case string(text) == markerText:
		return nil
	case strings.HasPrefix(string(text), head):
		return fmt.Errorf("%w (%s)", ErrFormat, strings.TrimSpace(string(text)))
	}
	return fmt.Errorf("%w: %s: want the line %q", ErrDamaged, markerName, strings.TrimSpace(markerText))
}

// ids are those of all backups, oldest first.
func (f *Folder) ids() ([]string, error) {
	names, err := f.fs.List(f.path(backupsDir))
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !idForm.MatchString(name) })
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(numberOf(a), numberOf(b)), cmp.Compare(a, b)) })
	return names, nil
}

func (f *Folder) path(name string) string       { return f.fs.PathJoin(f.dir, name) }
func (f *Folder) filePath(name string) string   { return f.fs.PathJoin(f.dir, filesDir, name) }
func (f *Folder) manifestPath(id string) string { return f.fs.PathJoin(f.dir, backupsDir, id) }
func isMissing(err error) bool                  { return errors.Is(err, fs.ErrNotExist) }
func isFull(err error) bool                     { return vfs.IsNoSpaceError(err) || errors.Is(err, syscall.EDQUOT) }
func (f *Folder) syncDir(dir string) error      { return syncDir(f.fs, dir) }

// syncDir makes what was renamed in a folder durable.
func syncDir(disk vfs.FS, dir string) error {
	d, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeFile writes a file that is there whole or not at all, and durably once its folder is synced (B6). What has failed
// leaves nothing behind.
func (f *Folder) writeFile(path string, write func(io.Writer) error) error {
	return f.writeFileAs(func() string { return path }, path+tmpSuffix, write)
}

// writeFileAs is writeFile for a file whose name is known once it is written.
func (f *Folder) writeFileAs(path func() string, temporary string, write func(io.Writer) error) error {
	h, err := f.fs.Create(temporary, writeCat)
	if err != nil {
		return err
	}
	err = write(h)
	if err == nil {
		err = h.Sync()
	}
	if err = errors.Join(err, h.Close()); err == nil {
		err = f.fs.Rename(temporary, path())
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(f.fs.Remove(temporary)))
	}
	return nil
}

func ignoreMissing(err error) error {
	if isMissing(err) {
		return nil
	}
	return err
}
