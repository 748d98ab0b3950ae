package backup

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS returns the files of a backup below dir as a file system, to open a store in the backup without restoring it: tables
// are opened where they are, chunk by chunk; everything else is copied to memory, where what is written goes too. Nothing
// is written to a disk. Errors: as Extract.
func (b *Backup) FS(ctx context.Context, dir string) (vfs.FS, error) {
	s := &sealedFS{FS: vfs.NewMem(), backup: b, tables: make(map[string]File)}
	small := &Backup{b.Info, nil, b.folder}
	for _, file := range b.List {
		if strings.HasSuffix(file.Path, ".sst") {
			s.tables[s.PathJoin(dir, file.Path)] = file
		} else {
			small.List = append(small.List, file)
		}
	}
	return s, small.Extract(ctx, s.FS, dir, nil)
}

// sealedFS is a file system in memory with the tables of a backup in it.
type sealedFS struct {
	vfs.FS
	backup *Backup
	tables map[string]File // by path
}

// Unwrap returns the file system in memory.
func (s *sealedFS) Unwrap() vfs.FS { return s.FS }

// List implements vfs.FS.
func (s *sealedFS) List(dir string) ([]string, error) {
	names, err := s.FS.List(dir)
	if err != nil {
		return nil, err
	}
	for path := range s.tables {
		if s.PathDir(path) == dir {
			names = append(names, s.PathBase(path))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Stat implements vfs.FS.
func (s *sealedFS) Stat(name string) (vfs.FileInfo, error) {
	file, ok := s.tables[name]
	if !ok {
		return s.FS.Stat(name)
	}
	return s.info(file)
}

// info is that of the sealed file but for the size.
func (s *sealedFS) info(file File) (vfs.FileInfo, error) {
	info, err := s.backup.folder.fs.Stat(s.backup.folder.filePath(file.Name))
	if err != nil {
		return nil, err
	}
	return tableInfo{info, file}, nil
}

type tableInfo struct {
	vfs.FileInfo
	file File
}

func (i tableInfo) Size() int64 { return i.file.Size }

// Open implements vfs.FS.
func (s *sealedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	file, ok := s.tables[name]
	if !ok {
		return s.FS.Open(name, opts...)
	}
	f := s.backup.folder
	h, err := f.fs.Open(f.filePath(file.Name))
	if err != nil {
		return nil, err
	}
	o, err := f.openerOf(h, kindFile, "")
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return &tableFile{File: h, SectionReader: io.NewSectionReader(o, 0, o.size), fs: s, file: file}, nil
}

// tableFile reads a sealed table. Writing to it is Pebble's BUG: tables are immutable.
type tableFile struct {
	vfs.File
	*io.SectionReader
	fs   *sealedFS
	file File
}

func (t *tableFile) Read(p []byte) (int, error)              { return t.SectionReader.Read(p) }
func (t *tableFile) ReadAt(p []byte, off int64) (int, error) { return t.SectionReader.ReadAt(p, off) }
func (t *tableFile) Stat() (vfs.FileInfo, error)             { return t.fs.info(t.file) }
func (t *tableFile) Write([]byte) (int, error)               { panic("BUG: a table of a backup is written to") }
func (t *tableFile) WriteAt([]byte, int64) (int, error) {
	panic("BUG: a table of a backup is written to")
}
func (t *tableFile) Prefetch(int64, int64) error { return nil }
func (t *tableFile) Fd() uintptr                 { return vfs.InvalidFd }
