package pack

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxTarballBytes bounds what a tarball may unpack to: 4 GiB, ten times the largest we read.
const maxTarballBytes = 4 << 30

// Members returns the contents of the named members of an npm tarball (package/…) that are in it; a name that is not
// there is not in the map. It reads until it has them all, and holds them all in memory: at most 1 GiB each. Errors:
// ErrCorrupt for what is not a whole gzipped tar, or that of the file system.
func Members(tarball string, names ...string) (map[string][]byte, error) {
	f, err := os.Open(tarball)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, err := members(f, names)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, tarball, err)
	}
	return found, nil
}

func members(r io.Reader, names []string) (map[string][]byte, error) {
	wanted := make(map[string]bool, len(names))
	for _, n := range names {
		wanted[n] = true
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	found := make(map[string][]byte, len(wanted))
	archive := tar.NewReader(io.LimitReader(z, maxTarballBytes))
	for len(found) < len(wanted) {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if !wanted[h.Name] || h.Typeflag != tar.TypeReg {
			continue
		}
		if found[h.Name], err = member(archive, h); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func member(r io.Reader, h *tar.Header) ([]byte, error) {
	if h.Size > maxModelBytes {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", h.Name, h.Size, maxModelBytes)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxModelBytes))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h.Name, err)
	}
	return b, nil
}
