//go:build peers

package main

/*
#include <stdint.h>
#include <stdlib.h>

void *hnswlib_new(long n, int dim, int m, int ef_construction);
int hnswlib_add(void *index, const float *rows, long first, long n, int dim, int threads);
int hnswlib_save(void *index, const char *path);
void *hnswlib_load(const char *path, int dim);
void hnswlib_free(void *index);
*/
import "C"

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"
)

// keptHnswlib loads the graph of a gallery from the folder o.keep, or builds it and leaves it there.
func keptHnswlib(g *gallery, o options) (hnswlib, *buildNote, error) {
	if o.keep == "" {
		h, err := newHnswlib(g, o)
		return h, nil, err
	}
	base := fmt.Sprintf("hnswlib-%s-%dx%d-seed%d-photos%d-m%d-efc%d", g.variant, g.rows, g.dim, g.seed, g.photos, o.m, o.efConstruction)
	base = filepath.Join(o.keep, base)
	note, err := readNote(base + ".json")
	if err == nil {
		h, err := loadHnswlib(base+".graph", g.dim)
		return h, note, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return hnswlib{}, nil, err
	}
	start := time.Now()
	h, err := newHnswlib(g, o)
	if err != nil {
		return hnswlib{}, nil, err
	}
	note = &buildNote{time.Since(start).Seconds(), runtime.GOMAXPROCS(0), niceness()}
	if err := h.save(base, note); err != nil {
		C.hnswlib_free(h.x)
		return hnswlib{}, nil, err
	}
	return h, note, nil
}

// newHnswlib tells how far it is: a million rows take the better part of an hour.
func newHnswlib(g *gallery, o options) (hnswlib, error) {
	h := hnswlib{C.hnswlib_new(C.long(g.rows), C.int(g.dim), C.int(o.m), C.int(o.efConstruction)), g.dim}
	if h.x == nil {
		return h, errNative
	}
	const step = 20_000
	start := time.Now()
	err := h.add(g, 0, 1, 1) // alone: it becomes the entry point
	for first := 1; err == nil && first < g.rows; first += step {
		n := min(step, g.rows-first)
		err = h.add(g, first, n, runtime.GOMAXPROCS(0))
		if first+n < g.rows {
			log.Printf("  %d of %d rows, %.0f s", first+n, g.rows, time.Since(start).Seconds())
		}
	}
	if err != nil {
		C.hnswlib_free(h.x)
	}
	return h, err
}

func (h hnswlib) add(g *gallery, first, n, threads int) error {
	if C.hnswlib_add(h.x, floats(g.vectors[first*g.dim:]), C.long(first), C.long(n), C.int(g.dim), C.int(threads)) != 0 {
		return errNative
	}
	return nil
}

// niceness is that of this process, 0 if it can't be told.
func niceness() int {
	raw, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		return 0
	}
	return 20 - raw // as the system call has it
}

func readNote(path string) (*buildNote, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var n buildNote
	if err := json.Unmarshal(data, &n); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &n, nil
}

func loadHnswlib(path string, dim int) (hnswlib, error) {
	p := C.CString(path)
	defer C.free(unsafe.Pointer(p))
	h := hnswlib{C.hnswlib_load(p, C.int(dim)), dim}
	if h.x == nil {
		return h, fmt.Errorf("%s: %w", path, errNative)
	}
	return h, nil
}

// save writes the graph, then the note: where there is a note the graph is whole.
func (h hnswlib) save(base string, note *buildNote) error {
	if err := os.MkdirAll(filepath.Dir(base), 0o777); err != nil {
		return err
	}
	p := C.CString(base + ".graph")
	defer C.free(unsafe.Pointer(p))
	if C.hnswlib_save(h.x, p) != 0 {
		return fmt.Errorf("%s.graph: %w", base, errNative)
	}
	data, err := json.Marshal(note)
	if err != nil {
		return err
	}
	return os.WriteFile(base+".json", append(data, '\n'), 0o666)
}
