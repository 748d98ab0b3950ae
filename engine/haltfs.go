package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// haltFS stands between Pebble and the disk. Once the store's lock is held, the first write-side operation that
// fails halts it: that operation and every later one that would change the disk park their goroutines for good,
// so Pebble never sees the error that it would end the process for, or, while it opens, try again for ever
// (doc.go, "A disk that fails"). Reads go through.
//
// Parked goroutines are what it costs, until the process ends: a handful of Pebble's, the one that opens among
// them, and none of ours waits for them. Alternatives that were tried on paper and lost: returning the error
// (Logger.Fatalf returns into code that does not expect it: a flush retried on a MANIFEST whose tail is in doubt
// may delete tables that the durable MANIFEST names); panicking and recovering (rotateWAL's caller then unlocks
// an unlocked mutex, which no recover catches); runtime.Goexit (the same deferred unlock).
type haltFS struct {
	vfs.FS
	admit  func() error  // called once the lock is held; an error gives it up again
	armed  atomic.Bool   // the lock is held: failures halt
	opened atomic.Bool   // Pebble's Open has returned
	halted chan struct{} // closed by the first failure
	notify func(error)   // called once, by the goroutine that failed, if opened
	aside  string        // a folder that the store does not need: what fails below it is an error and halts nothing

	mu struct {
		sync.Mutex
		cause error
		locks []io.Closer
	}
}

func newHaltFS(fs vfs.FS, aside string, admit func() error, notify func(error)) *haltFS {
	return &haltFS{FS: fs, aside: aside, admit: admit, halted: make(chan struct{}), notify: notify}
}

// isAside says whether the store can do without a file, or a folder.
func (f *haltFS) isAside(name string) bool {
	rest, ok := strings.CutPrefix(name, f.aside)
	return ok && f.aside != "" && (rest == "" || os.IsPathSeparator(rest[0]))
}

// Unwrap returns the file system beneath.
func (f *haltFS) Unwrap() vfs.FS { return f.FS }

// halt stops all writing. It returns at once; the first cause is kept.
func (f *haltFS) halt(cause error) {
	f.mu.Lock()
	first := f.mu.cause == nil
	if first {
		f.mu.cause = cause
		close(f.halted)
	}
	f.mu.Unlock()
	if first && f.opened.Load() { // before, openPebble returns it
		f.notify(cause)
	}
}

// cause is what halted f, nil if nothing did.
func (f *haltFS) cause() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.cause
}

func (f *haltFS) isHalted() bool {
	select {
	case <-f.halted:
		return true
	default:
		return false
	}
}

// change runs one operation that changes what is at name. What is being written when another operation fails still
// lands or not, as in a crash; nothing begins afterwards.
func (f *haltFS) change(what, name string, op func() error) error {
	if f.isAside(name) {
		return op()
	}
	if f.isHalted() {
		park()
	}
	err := op()
	if err == nil || !f.armed.Load() {
		return err
	}
	f.halt(fmt.Errorf("%s: %w", what, err))
	park()
	return nil
}

// park never returns.
func park() { select {} }

// releaseLocks gives up the store's lock without Pebble, for a halted store that cannot be closed.
func (f *haltFS) releaseLocks() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first error
	for _, l := range f.mu.locks {
		if err := l.Close(); err != nil && first == nil {
			first = err
		}
	}
	f.mu.locks = nil
	return first
}

// errLock marks the error of a lock that is held.
var errLock = fmt.Errorf("the store's lock cannot be taken")

// Lock implements vfs.FS. Closing the returned lock twice does no harm.
func (f *haltFS) Lock(name string) (io.Closer, error) {
	l, err := f.FS.Lock(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLock, err)
	}
	if err := f.admit(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	f.armed.Store(true)
	once := &onceCloser{close: sync.OnceValue(l.Close)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.locks = append(f.mu.locks, once)
	return once, nil
}

type onceCloser struct{ close func() error }

func (c *onceCloser) Close() error { return c.close() }

// open runs an operation that makes a file for writing and wraps the file.
func (f *haltFS) open(what, name string, op func() (vfs.File, error)) (vfs.File, error) {
	var file vfs.File
	err := f.change(what, name, func() (err error) {
		file, err = op()
		return err
	})
	if err != nil {
		return nil, err
	}
	return &haltFile{File: file, fs: f, name: name}, nil
}

// Create implements vfs.FS.
func (f *haltFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open("create", name, func() (vfs.File, error) { return f.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (f *haltFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return f.open("open", name, func() (vfs.File, error) { return f.FS.OpenReadWrite(name, c, opts...) })
}

// ReuseForWrite implements vfs.FS.
func (f *haltFS) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return f.open("reuse", to, func() (vfs.File, error) { return f.FS.ReuseForWrite(from, to, c) })
}

// OpenDir implements vfs.FS; directories are opened to be synced.
func (f *haltFS) OpenDir(name string) (vfs.File, error) {
	return f.open("open folder", name, func() (vfs.File, error) { return f.FS.OpenDir(name) })
}

// Link implements vfs.FS.
func (f *haltFS) Link(from, to string) error {
	return f.change("link", to, func() error { return f.FS.Link(from, to) })
}

// Rename implements vfs.FS.
func (f *haltFS) Rename(from, to string) error {
	return f.change("rename", to, func() error { return f.FS.Rename(from, to) })
}

// MkdirAll implements vfs.FS.
func (f *haltFS) MkdirAll(dir string, perm os.FileMode) error {
	return f.change("make folder", dir, func() error { return f.FS.MkdirAll(dir, perm) })
}

// Remove implements vfs.FS. Its failures do not halt: nothing is lost with a file that stays.
func (f *haltFS) Remove(name string) error {
	if f.isHalted() && !f.isAside(name) {
		park()
	}
	return f.FS.Remove(name)
}

// RemoveAll implements vfs.FS, as Remove.
func (f *haltFS) RemoveAll(name string) error {
	if f.isHalted() && !f.isAside(name) {
		park()
	}
	return f.FS.RemoveAll(name)
}

// GetDiskUsage implements vfs.FS. A file system that cannot tell is no failure of the store's.
func (f *haltFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	usage, err := f.FS.GetDiskUsage(path)
	if err != nil {
		return usage, vfs.ErrUnsupported // the one error that Pebble does not report as its own
	}
	return usage, nil
}

// haltFile is a file opened for writing, or a folder. Preallocate and Prefetch are advice: their errors pass.
type haltFile struct {
	vfs.File
	fs   *haltFS
	name string
}

// Write implements vfs.File.
func (h *haltFile) Write(p []byte) (n int, err error) {
	err = h.fs.change("write", h.name, func() (err error) {
		n, err = h.File.Write(p)
		return err
	})
	return n, err
}

// WriteAt implements vfs.File.
func (h *haltFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = h.fs.change("write", h.name, func() (err error) {
		n, err = h.File.WriteAt(p, off)
		return err
	})
	return n, err
}

// Sync implements vfs.File.
func (h *haltFile) Sync() error { return h.fs.change("sync", h.name, h.File.Sync) }

// SyncData implements vfs.File.
func (h *haltFile) SyncData() error { return h.fs.change("sync", h.name, h.File.SyncData) }

// SyncTo implements vfs.File.
func (h *haltFile) SyncTo(length int64) (full bool, err error) {
	err = h.fs.change("sync", h.name, func() (err error) {
		full, err = h.File.SyncTo(length)
		return err
	})
	return full, err
}

// Close implements vfs.File.
func (h *haltFile) Close() error { return h.fs.change("close", h.name, h.File.Close) }
