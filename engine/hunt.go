package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// hunt searches files, as the bytes they are, for what only a person's sealed values have (doc.go, Q3). Used by one goroutine.
type hunt struct {
	ring     *keyring
	versions []uint32                   // of the tenant's key, that live
	homes    []place                    // of keys of the person: one for each gallery number
	marks    map[[markBytes]byte]string // the beginnings of sealed values, and what is found with them
	first    *[1 << 16]bool             // the first two bytes of all of that, little endian

	only    map[string]bool // ids of the keys that count; nil: all of the person's
	control string          // whose key the control is, "" if nobody's

	found map[string]*sighting
	seen  map[string]bool // paths of files that were read
	files int
	bytes int64
	keys  map[string]bool // ids of the keys that were found
	bad   []string        // files that could not be read
}

// sighting is how often something was found, and in which files, maxSightings at most.
type sighting struct {
	count int
	files []string
}

const (
	markBytes    = 16 // of which 88 bits at least are of a random nonce
	maxSightings = 8
	huntBytes    = 1 << 20 // that are looked at together
	huntOverlap  = subjectWrapped - 1
	huntMore     = huntOverlap + 19 // what is read of the next part, a log's header among it
	maxHuntDepth = 16               // of folders
	huntPasses   = 20

	// What is found.
	foundKey     = "key"     // a key of the person, sealed by a living version of the tenant's
	foundRow     = "row"     // a value that was the person's
	foundControl = "control" // the key of somebody who is there
)

func newHunt(ring *keyring, homes []place) *hunt {
	h := &hunt{ring: ring, versions: ring.living(), homes: homes, marks: make(map[[markBytes]byte]string), first: new([1 << 16]bool), found: make(map[string]*sighting), keys: make(map[string]bool), seen: make(map[string]bool)}
	for _, version := range h.versions {
		h.first[uint16(sealVersion)|uint16(version>>24)<<8] = true
	}
	return h
}

// mark has the beginning of a sealed value looked for.
func (h *hunt) mark(sealed []byte, as string) {
	if len(sealed) >= markBytes {
		h.marks[[markBytes]byte(sealed)] = as
		h.first[uint16(sealed[0])|uint16(sealed[1])<<8] = true
	}
}

// look looks for what begins in the first n bytes of b and ends behind past.
func (h *hunt) look(b []byte, n, past int, file string) {
	for i := 0; i < n && i+markBytes <= len(b); i++ {
		if !h.first[uint16(b[i])|uint16(b[i+1])<<8] {
			continue
		}
		if as, ok := h.marks[[markBytes]byte(b[i:])]; ok && i+markBytes > past {
			h.saw(as, file)
		}
		if len(b)-i >= subjectWrapped && i+subjectWrapped > past {
			h.tryKey(b[i:i+subjectWrapped], file)
		}
	}
}

// tryKey looks whether some bytes are a key of the person: nothing else opens in its place.
func (h *hunt) tryKey(b []byte, file string) {
	if b[0] != sealVersion || !slices.Contains(h.versions, binary.BigEndian.Uint32(b[1:])) {
		return
	}
	var room [subjectKeyBytes]byte
	for _, p := range h.homes {
		key, err := h.ring.open(room[:0], p, b)
		if err != nil {
			continue
		}
		id := idOfKey(key)
		clear(key)
		if h.only == nil || h.only[id] {
			h.keys[id] = true
			h.saw(foundKey, file)
		}
	}
}

func (h *hunt) saw(what, file string) {
	s := h.found[what]
	if s == nil {
		s = new(sighting)
		h.found[what] = s
	}
	s.count++
	if len(s.files) < maxSightings && !slices.Contains(s.files, file) {
		s.files = append(s.files, file)
	}
}

// tree goes through a folder until no file comes up that it has not read: a compaction meanwhile puts new files in the place of
// old ones that may have gone before they were read. Errors: ctx's.
func (h *hunt) tree(ctx context.Context, disk vfs.FS, dir, name string, skip map[string]bool) error {
	for range huntPasses {
		before := h.files
		if err := h.folder(ctx, disk, dir, name, skip, 0); err != nil || h.files == before {
			return err
		}
	}
	h.failed(name, errors.New("its files change faster than they can be read"))
	return nil
}

// folder goes through a folder and those in it, but for skip. What vanishes meanwhile is not there. Errors: ctx's.
func (h *hunt) folder(ctx context.Context, disk vfs.FS, dir, name string, skip map[string]bool, depth int) error {
	names, err := disk.List(dir)
	if err != nil {
		h.failed(name, err)
		return ctx.Err()
	}
	for _, n := range names {
		path, at := disk.PathJoin(dir, n), strings.TrimPrefix(name+"/"+n, "/")
		info, err := disk.Stat(path)
		switch {
		case n == "lost+found", skip[path], h.seen[path]:
		case err != nil:
			h.failed(at, err)
		case info.IsDir() && depth < maxHuntDepth:
			_ = h.folder(ctx, disk, path, at, skip, depth+1) // ctx's
		case info.Mode().IsRegular():
			_ = h.file(ctx, disk, path, at) // ctx's
		default:
			h.failed(at, errors.New("it is no file"))
		}
		if ended := ctx.Err(); ended != nil {
			return ended
		}
	}
	return ctx.Err()
}

func (h *hunt) failed(name string, err error) {
	if !errors.Is(err, fs.ErrNotExist) && len(h.bad) < maxSightings {
		h.bad = append(h.bad, fmt.Sprintf("%s: %v", name, plainCause(err)))
	}
}

// plainCause drops the path of this machine from a file's error.
func plainCause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func (h *hunt) file(ctx context.Context, disk vfs.FS, path, name string) error {
	f, err := disk.Open(path)
	if err != nil {
		h.failed(name, err)
		return ctx.Err()
	}
	defer f.Close()
	h.files++
	h.seen[path] = true
	look := h.look
	if strings.HasSuffix(name, logSuffix) {
		look = h.lookInLog
	}
	buf, have := make([]byte, huntBytes+huntMore), 0
	for ctx.Err() == nil {
		n, err := io.ReadFull(f, buf[have:])
		h.bytes += int64(n)
		have += n
		if err != nil {
			look(buf[:have], have, 0, name)
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				h.failed(name, err)
			}
			break
		}
		look(buf, huntBytes, 0, name)
		have = copy(buf, buf[huntBytes:])
	}
	return ctx.Err()
}

// The log is blocks, and a record that does not fit into the rest of one goes on in the next behind a header, of one of these sizes
// (pebble/record).
const logBlock = 32 << 10

const logSuffix = ".log"

var logHeaders = []int{7, 11, 19}

// lookInLog is look in a part of a log that begins with a block: it also finds what goes on in the next block.
func (h *hunt) lookInLog(b []byte, n, past int, name string) {
	h.look(b, n, past, name)
	for at := logBlock; at <= n && at < len(b); at += logBlock {
		for _, header := range logHeaders {
			before, after := b[at-huntOverlap:at], b[min(at+header, len(b)):min(at+header+huntOverlap, len(b))]
			h.look(slices.Concat(before, after), huntOverlap, huntOverlap, name)
		}
	}
}
