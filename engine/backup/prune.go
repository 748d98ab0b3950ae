package backup

import (
	"errors"
	"fmt"
)

// Pruned is what Prune removed.
type Pruned struct {
	Backups []string `json:"backups"`
	Files   int      `json:"files"`
	Bytes   int64    `json:"bytes"` // of those files, sealed
}

// Prune removes all backups but the newest keep ≥ 1, and the files that no backup names then (B7). A crash in between leaves
// files that the next call removes. Errors: ErrDamaged, ErrKey and ErrFormat of a backup that stays, then nothing is
// removed; the disk's. REQUIRES: a folder from Create.
func (f *Folder) Prune(keep int) (p Pruned, err error) {
	if keep < 1 {
		return p, fmt.Errorf("backup: keep %d backups: want at least 1", keep)
	}
	ids, err := f.ids()
	if err != nil {
		return p, err
	}
	gone := max(len(ids)-keep, 0)
	named, err := f.namedBy(ids[gone:]) // before anything goes
	if err != nil {
		return p, err
	}
	for _, id := range ids[:gone] {
		if err := f.fs.Remove(f.manifestPath(id)); err != nil {
			return p, err
		}
		p.Backups = append(p.Backups, id)
	}
	if err := f.syncDir(f.path(backupsDir)); err != nil {
		return p, err
	}
	return p, f.removeUnnamed(named, &p)
}

// namedBy are the names of all files of some backups.
func (f *Folder) namedBy(ids []string) (map[string]bool, error) {
	named := make(map[string]bool)
	for _, id := range ids {
		m, err := f.readManifest(id)
		if err != nil {
			return nil, fmt.Errorf("nothing is removed, as what this backup needs is not known (remove it by hand if it is lost): %w", err)
		}
		for _, file := range m.List {
			named[file.Name] = true
		}
	}
	return named, nil
}

func (f *Folder) removeUnnamed(named map[string]bool, p *Pruned) error {
	names, err := f.fs.List(f.path(filesDir))
	if err != nil {
		return err
	}
	for _, name := range names {
		if named[name] || !nameForm.MatchString(name) {
			continue
		}
		info, err := f.fs.Stat(f.filePath(name))
		if err = errors.Join(err, f.fs.Remove(f.filePath(name))); err != nil {
			return err
		}
		p.Files++
		p.Bytes += info.Size()
	}
	return f.syncDir(f.path(filesDir))
}
