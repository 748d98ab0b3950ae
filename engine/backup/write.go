package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Source is a file to be backed up.
type Source struct {
	Path string // in the backup, from the data folder, with slashes
	From string // where it is
}

// Spec says what a backup is of. Time is cut to seconds in the ID.
type Spec struct {
	Time     time.Time
	Sequence uint64
	Store    uint32
	Program  string

	WithoutKeys bool // for Info

	Sources []Source // on FS, where nobody changes them meanwhile
	FS      vfs.FS

	// Reserve is how many bytes the folder's disk must have left, at any moment; ≤ 0 does not ask.
	Reserve int64
	// Progress is called after each file and MiB, if it is not nil, with the bytes that are done and all. It must not block.
	Progress func(done, all int64)
}

// tailBytes is how much of a table's end says that it is the one of before.
const tailBytes = 64 << 10

// writing is a backup being written.
type writing struct {
	*Folder
	Spec
	ctx    context.Context
	before map[string]File // of the newest backup that can be read, by path
	m      manifest

	done, all int64
	sinceRoom int64
}

// roomEvery is how much is written between two looks at the room that is left.
const roomEvery = 16 << 20

// Write adds a backup and returns when it is durable. Errors: ErrFull, ctx's, the disks'; then there is no such backup, and
// what was written of it is used by the next, or goes with Prune. REQUIRES: a folder from Create.
func (f *Folder) Write(ctx context.Context, s Spec) (Info, error) {
	w := &writing{Folder: f, Spec: s, ctx: ctx}
	err := w.write()
	if isFull(err) {
		err = fmt.Errorf("%w (%w)", ErrFull, err)
	}
	return w.m.Info, err
}

func (w *writing) write() error {
	id, err := w.begin()
	if err != nil {
		return err
	}
	w.m = manifest{Format: manifestFormat, Info: Info{ID: id, Time: w.Time.UTC(), Sequence: w.Sequence, Store: w.Store, Program: w.Program, WithoutKeys: w.WithoutKeys}}
	for _, s := range w.Sources {
		if err := w.add(s); err != nil {
			return fmt.Errorf("backup: %s: %w", s.Path, err)
		}
	}
	if err := w.syncDir(w.path(filesDir)); err != nil { // also what an earlier backup wrote that did not end
		return err
	}
	return w.writeManifest()
}

// begin chooses an id, counts what is to be done, and looks whether there is room for it.
func (w *writing) begin() (id string, err error) {
	ids, err := w.ids()
	if err != nil {
		return "", err
	}
	number := 1
	if len(ids) > 0 {
		number = numberOf(ids[len(ids)-1]) + 1
	}
	if number > maxBackups {
		return "", errors.New("backup: the folder has had all the backups it can have: begin another")
	}
	for i := len(ids) - 1; i >= 0 && w.before == nil; i-- {
		w.before = w.filesOf(ids[i])
	}
	for _, s := range w.Sources {
		info, err := w.FS.Stat(s.From)
		if err != nil {
			return "", err
		}
		w.all += info.Size()
	}
	return fmt.Sprintf("%06d-%s", number, w.Time.UTC().Format("20060102T150405Z")), w.room(0)
}

// filesOf are the files of a backup by path, nil if its manifest can't be read: Verify is who says so.
func (w *writing) filesOf(id string) map[string]File {
	m, err := w.readManifest(id)
	if err != nil {
		return nil
	}
	files := make(map[string]File, len(m.List))
	for _, f := range m.List {
		files[f.Path] = f
	}
	return files
}

// room refuses to write n bytes more than leave the reserve.
func (w *writing) room(n int64) error {
	if w.Reserve <= 0 {
		return nil
	}
	usage, err := w.Folder.fs.GetDiskUsage(w.dir)
	if err == nil && usage.AvailBytes < uint64(w.Reserve)+uint64(n) {
		return fmt.Errorf("%w: %d bytes are free, %d more and a reserve of %d are needed", ErrFull, usage.AvailBytes, n, w.Reserve)
	}
	return nil
}

// add takes a file into the backup, and into the folder if it is not there.
func (w *writing) add(s Source) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	h, err := w.FS.Open(s.From)
	if err != nil {
		return err
	}
	defer h.Close() // nothing was written
	f, err := w.describe(s.Path, h)
	if err != nil {
		return err
	}
	if known, ok := w.before[s.Path]; ok && known.same(f) && w.has(known) {
		f = known
		w.progress(f.Size)
	} else if f, err = w.store(f, h); err != nil {
		return err
	}
	w.m.List = append(w.m.List, f)
	w.m.Files++
	w.m.Bytes += f.Size
	return nil
}

// describe says what is known of a file without reading it all.
func (w *writing) describe(path string, h vfs.File) (File, error) {
	info, err := h.Stat()
	if err != nil {
		return File{}, err
	}
	f := File{Path: path, Size: info.Size()}
	if !strings.HasSuffix(path, ".sst") {
		return f, nil
	}
	tail := make([]byte, min(f.Size, tailBytes))
	if _, err := h.ReadAt(tail, f.Size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return File{}, err
	}
	sum := sha256.Sum256(tail)
	f.Modified, f.Tail = info.ModTime().UnixNano(), hex.EncodeToString(sum[:])
	return f, nil
}

// same says whether a table is the one that was described before (doc.go).
func (f File) same(now File) bool {
	return f.Tail != "" && f.Path == now.Path && f.Size == now.Size && f.Modified == now.Modified && f.Tail == now.Tail
}

// has says whether the folder has a file, by its size (B8).
func (w *writing) has(f File) bool {
	info, err := w.Folder.fs.Stat(w.filePath(f.Name))
	return err == nil && info.Size() == sealedSize(f.Size)
}

// store seals a file into the folder, unless content like it is there, and completes what is known of it.
func (w *writing) store(f File, h vfs.File) (File, error) {
	if w.Reserve > 0 {
		if err := w.room(f.Size); err != nil {
			return f, err
		}
	}
	temporary := w.filePath("new" + tmpSuffix)
	err := w.writeFileAs(func() string { return w.filePath(f.Name) }, temporary, func(out io.Writer) error {
		sum, err := w.seal(out, h, f.Size)
		if err != nil {
			return err
		}
		f.SHA256, f.Name = hex.EncodeToString(sum[:]), w.keys.name(sum)
		if w.has(f) {
			return errHave
		}
		return nil
	})
	if errors.Is(err, errHave) {
		return f, nil
	}
	if err == nil {
		w.m.NewFiles++
		w.m.NewBytes += f.Size
	}
	return f, err
}

// errHave ends the writing of a file that the folder has.
var errHave = errors.New("backup: the folder has it")

// seal copies a file of a known size into a stream and returns its SHA-256.
func (w *writing) seal(out io.Writer, h io.Reader, size int64) (sum [32]byte, err error) {
	s, err := w.keys.newSealer(out, kindFile, "")
	if err != nil {
		return sum, err
	}
	hash := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(s, hash, (*ticker)(w)), onlyReader{h}, make([]byte, 256<<10))
	if err == nil && n != size {
		err = fmt.Errorf("it changed while it was read: %d bytes, then %d", size, n)
	}
	if err != nil {
		return sum, err
	}
	return [32]byte(hash.Sum(nil)), s.Close()
}

type onlyReader struct{ io.Reader }

// ticker counts what was read, and ends the copying when the call's time, or the room, has ended.
type ticker writing

func (t *ticker) Write(p []byte) (int, error) {
	w := (*writing)(t)
	w.progress(int64(len(p)))
	if w.sinceRoom += int64(len(p)); w.sinceRoom >= roomEvery {
		w.sinceRoom = 0
		if err := w.room(0); err != nil {
			return 0, err
		}
	}
	return len(p), w.ctx.Err()
}

func (w *writing) progress(n int64) {
	w.done += n
	if w.Progress != nil {
		w.Progress(w.done, w.all)
	}
}

func (w *writing) writeManifest() error {
	data, err := json.Marshal(w.m)
	if err != nil {
		return err
	}
	err = w.writeFile(w.manifestPath(w.m.ID), func(out io.Writer) error {
		s, err := w.keys.newSealer(out, kindManifest, w.m.ID)
		if err != nil {
			return err
		}
		if _, err := s.Write(data); err != nil {
			return err
		}
		return s.Close()
	})
	if err != nil {
		return err
	}
	return w.syncDir(w.path(backupsDir))
}
