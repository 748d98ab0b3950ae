package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"mien/extract/pack"
)

// download is a pinned npm tarball.
type download struct {
	spec   string // name@version
	sha256 string
}

// cache keeps files by their sha256: dir/sha256/<hex>. An entry is trusted only after it was hashed again.
type cache struct {
	dir string // "" if the machine has none
}

func (c cache) path(sum string) string { return filepath.Join(c.dir, "sha256", sum) }

// check says what is amiss with an entry: fs.ErrNotExist, errSum, errNoCache, or that of the file system.
func (c cache) check(sum string) error {
	if c.dir == "" {
		return errNoCache
	}
	return checkFile(c.path(sum), sum)
}

var errNoCache = errors.New("this machine names none")

func (c cache) unusable(err error) error {
	return fmt.Errorf("cannot use cache folder %q: %w; set MIEN_CACHE to a folder that can be written", c.dir, reason(err))
}

// fetch returns the path of the tarball in the cache, downloading it if it is not there whole.
func (s *setup) fetch(ctx context.Context, d download) (string, error) {
	err := s.cache.check(d.sha256)
	if err == nil {
		return s.cache.path(d.sha256), nil
	}
	if errors.Is(err, errSum) {
		s.say("%v; fetching it again", err)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", s.cache.unusable(err)
	}
	temp, err := s.cache.temp()
	if err != nil {
		return "", s.cache.unusable(err)
	}
	defer os.RemoveAll(temp)
	file, err := s.npmPack(ctx, temp, d.spec)
	if err != nil {
		return "", err
	}
	return s.cache.put(file, d)
}

// temp makes a folder to download into, on the cache's file system, and deletes those that killed set-ups left a day
// ago or more.
func (c cache) temp() (string, error) {
	if err := os.MkdirAll(filepath.Join(c.dir, "sha256"), 0o755); err != nil {
		return "", err
	}
	old, _ := filepath.Glob(filepath.Join(c.dir, pack.TempPrefix+"*"))
	for _, path := range old {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			os.RemoveAll(path)
		}
	}
	return os.MkdirTemp(c.dir, pack.TempPrefix)
}

// put moves a downloaded file into the cache if it is what was wanted.
func (c cache) put(file string, d download) (string, error) {
	if err := checkFile(file, d.sha256); err != nil {
		if e, ok := errors.AsType[*sumError](err); ok {
			err = wrongSum(d.spec, e.want, e.got)
		}
		return "", err
	}
	return c.path(d.sha256), syncRename(file, c.path(d.sha256))
}

// syncRename moves a file so that a crash leaves it whole in one of the two places. What the rename itself needs to
// survive a crash is not done: a lost cache entry is fetched again.
func syncRename(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// errSum says that a file is not what was pinned.
var errSum = errors.New("wrong sha256")

type sumError struct{ name, want, got string }

func (e *sumError) Error() string {
	return fmt.Sprintf("wrong sha256 for %s: want %s, got %s", e.name, e.want, e.got)
}

func (e *sumError) Is(target error) bool { return target == errSum }

func wrongSum(name, want, got string) error { return &sumError{name, want, got} }

func checkFile(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return wrongSum(path, want, got)
	}
	return nil
}

func sumBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
