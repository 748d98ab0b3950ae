package scan

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Residue is what an index's folder has besides what is somebody's, for those who must show that somebody is gone.
type Residue struct {
	Slots    int      // that were looked at: those of no live row, in the vectors file and of the first rows
	Unwiped  int      // of those, that hold something still: a search sees the row, or it was not given back yet
	Saved    bool     // there is a cache file,
	Sequence uint64   // which is of this write
	Strange  []string // files that are not the index's
}

// Residue looks at the folder; it is zero without one. REQUIRES: nothing is added or removed meanwhile. Errors: ErrClosed, ErrCorrupt of
// a cache file that does not open, the file system's.
func (x *Index) Residue() (r Residue, err error) {
	if err := x.enter(); err != nil {
		return r, err
	}
	defer x.leave()
	if x.dir == "" {
		return r, nil
	}
	x.unwipedSmall(&r)
	if r.Strange, err = x.strangers(); err == nil {
		err = x.unwiped(&r)
	}
	if err == nil {
		err = x.savedAs(&r)
	}
	return r, err
}

// DropSaved removes what Save wrote, but for the rows themselves. Errors: ErrClosed, the file system's.
func (x *Index) DropSaved() error {
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	if x.dir == "" {
		return nil
	}
	for _, name := range []string{cacheFile, cacheFile + newSuffix} {
		if err := os.Remove(filepath.Join(x.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (x *Index) strangers() (names []string, err error) {
	entries, err := os.ReadDir(x.dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if e.Name() != vectorsFile && e.Name() != cacheFile {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// unwipedSmall counts the first rows that are dead and not wiped: their vectors are in memory and go into the cache file.
func (x *Index) unwipedSmall(r *Residue) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for row := range min(x.next.Load(), SmallRows) {
		if !x.isLive(row) {
			r.Slots++
			r.Unwiped += int(min(x.lifeOf(row).born.Load()^never, 1))
		}
	}
}

// unwiped counts the slots of rows that nobody has, those behind the last row included.
func (x *Index) unwiped(r *Residue) error {
	f := x.vectors.file.Load()
	if f == nil {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	buf := make([]byte, x.vectors.slotBytes())
	for row := uint32(SmallRows); x.vectors.slot(row) < info.Size(); row++ {
		if x.isLive(row) {
			continue
		}
		n, err := f.ReadAt(buf, x.vectors.slot(row))
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		r.Slots++
		if slices.ContainsFunc(buf[:n], func(b byte) bool { return b != 0 }) {
			r.Unwiped++
		}
	}
	return nil
}

func (x *Index) savedAs(r *Residue) error {
	f, err := os.Open(filepath.Join(x.dir, cacheFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h, _, err := x.readHeader(f)
	r.Saved, r.Sequence = err == nil, h.Sequence
	return err
}
