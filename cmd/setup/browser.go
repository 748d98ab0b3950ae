package main

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mien/extract/pack"
)

// treePackage is an npm package that is installed whole, as a folder.
type treePackage struct {
	download
	name string // of the folder
	tree string // see treeSum
}

// playwright drives the browser of the capture page's tests. It has no dependencies and brings no browser. Of later
// versions none runs on Node.js 18, which is Debian 12's.
var playwright = treePackage{
	download: download{
		spec:   "playwright-core@1.61.1",
		sha256: "3740bba3a3e93b4c7bd7c0f6e3c0e5f8cdce498bef13511e4d534cc99a8ce198",
	},
	name: "playwright-core",
	tree: "e45f762344b758590b40e8815db687414dc05f015b4e5b391f8111d02c8f67f8",
}

// maxTreeBytes bounds what such a package may unpack to.
const maxTreeBytes = 256 << 20

func (s *setup) treeDir(p treePackage) string { return filepath.Join(s.build, p.name) }

// checkTree says what is amiss with an installed package: fs.ErrNotExist, errSum, or that of the file system.
func checkTree(dir, want string) error {
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	got, err := treeSum(os.DirFS(dir))
	if err != nil {
		return err
	}
	if got != want {
		return wrongSum(dir, want, got)
	}
	return nil
}

// treeSum is the sha256 of a folder's files: what `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs sha256sum | sha256sum`
// prints.
func treeSum(dir fs.FS) (string, error) {
	sums := make(map[string]string)
	err := fs.WalkDir(dir, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := fs.ReadFile(dir, name)
		sums[name] = sumBytes(b)
		return err
	})
	if err != nil {
		return "", err
	}
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(all, "%s  %s\n", sums[name], name)
	}
	return hex.EncodeToString(all.Sum(nil)), nil
}

// makeTree installs a package as a folder, which replaces what is there.
func (s *setup) makeTree(ctx context.Context, p treePackage) error {
	tarball, err := s.fetch(ctx, p.download)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp(s.build, pack.TempPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := unpack(tarball, temp); err != nil {
		return fmt.Errorf("%s: %w", p.spec, err)
	}
	if err := checkTree(temp, p.tree); err != nil {
		if e, ok := errors.AsType[*sumError](err); ok {
			err = wrongSum("the files of "+p.spec, e.want, e.got)
		}
		return err
	}
	return errors.Join(os.Chmod(temp, 0o755), os.RemoveAll(s.treeDir(p)), os.Rename(temp, s.treeDir(p)))
}

// unpack writes the files of an npm tarball (package/…) under dir.
func unpack(tarball, dir string) error {
	f, err := os.Open(tarball)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	archive := tar.NewReader(io.LimitReader(z, maxTreeBytes))
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(h.Name, "package/")
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(archive)
		if err := cmp.Or(err, root.MkdirAll(path.Dir(name), 0o755)); err != nil {
			return err
		}
		if err := root.WriteFile(name, b, 0o644); err != nil {
			return err
		}
	}
}
