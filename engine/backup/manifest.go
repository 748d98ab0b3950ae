package backup

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	manifestFormat = 1
	maxManifest    = 256 << 20 // a million files
)

// Info is what is told of a backup without its files.
type Info struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`     // when it began
	Sequence uint64    `json:"sequence"` // of the last write that is in it
	Store    uint32    `json:"store_format"`
	Program  string    `json:"program,omitempty"` // that made it
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"`
	NewFiles int       `json:"new_files"` // that the folder had not before
	NewBytes int64     `json:"new_bytes"`
	// WithoutKeys says that what opens the store is not in it, and is kept elsewhere.
	WithoutKeys bool `json:"without_keys,omitempty"`
}

// File is a file of a backup.
type File struct {
	Path   string `json:"path"` // from the data folder, with slashes
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Name   string `json:"name"` // in the folder files

	// What says that a table is the one of before (doc.go): time of modification in ns since 1970, SHA-256 of its end.
	Modified int64  `json:"modified,omitempty"`
	Tail     string `json:"tail,omitempty"`
}

// manifest is what a backup says of itself; JSON, sealed.
type manifest struct {
	Format int `json:"format"`
	Info
	List []File `json:"list"`
}

var (
	idForm   = regexp.MustCompile(`^[0-9]{6}-[0-9]{8}T[0-9]{6}Z$`)
	nameForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// numberOf is the number that an id begins with.
func numberOf(id string) int {
	n, err := strconv.Atoi(id[:6])
	if err != nil {
		panic("BUG: an id without a number")
	}
	return n
}

// check refuses what this program can't have written, or would write outside of a folder.
func (m *manifest) check(id string) error {
	if m.Format > manifestFormat {
		return fmt.Errorf("%w (format %d, this program knows %d)", ErrFormat, m.Format, manifestFormat)
	}
	if m.Format < 1 || m.ID != id || m.Files != len(m.List) {
		return fmt.Errorf("%w: it does not add up", ErrDamaged)
	}
	seen, total := make(map[string]bool, len(m.List)), int64(0)
	for _, f := range m.List {
		sum, err := hex.DecodeString(f.SHA256)
		ok := err == nil && len(sum) == 32 && f.Size >= 0 && nameForm.MatchString(f.Name) && isInside(f.Path) && !seen[f.Path]
		if !ok {
			return fmt.Errorf("%w: it names a file that can't be: %q", ErrDamaged, f.Path)
		}
		seen[f.Path], total = true, total+f.Size
	}
	if total != m.Bytes {
		return fmt.Errorf("%w: it does not add up", ErrDamaged)
	}
	return nil
}

// isInside says whether a path of a manifest is one that stays in the folder that it is restored to.
func isInside(p string) bool {
	return filepath.IsLocal(p) && path.Clean(p) == p && p != "." && !strings.ContainsAny(p, "\\\x00")
}

// readManifest reads a backup's manifest. Errors: ErrNoBackup, ErrDamaged, ErrKey, ErrFormat.
func (f *Folder) readManifest(id string) (*manifest, error) {
	if !idForm.MatchString(id) {
		return nil, fmt.Errorf("%w: %q is no id", ErrNoBackup, id)
	}
	m := new(manifest)
	err := f.reading(f.manifestPath(id), kindManifest, id, func(o *opener) error {
		if o.size > maxManifest {
			return fmt.Errorf("%w: a manifest of %d bytes", ErrDamaged, o.size)
		}
		data, err := io.ReadAll(o.reader())
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, m); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return m.check(id)
	})
	if err != nil {
		if isMissing(err) {
			err = fmt.Errorf("%w: %s", ErrNoBackup, id)
		}
		return nil, fmt.Errorf("backups/%s: %w", id, err)
	}
	return m, nil
}

// reading opens a sealed file and calls read with it.
func (f *Folder) reading(file, kind, name string, read func(*opener) error) (err error) {
	h, err := f.fs.Open(file)
	if err != nil {
		return err
	}
	defer h.Close() // nothing was written
	o, err := f.openerOf(h, kind, name)
	if err != nil {
		return err
	}
	if err := read(o); err != nil {
		return err
	}
	return o.check()
}

func (f *Folder) openerOf(h vfs.File, kind, name string) (*opener, error) {
	info, err := h.Stat()
	if err != nil {
		return nil, err
	}
	return f.keys.newOpener(h, info.Size(), kind, name)
}
