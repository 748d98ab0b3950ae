//go:build peers

package main

/*
#cgo CXXFLAGS: -std=c++17 -O3 -march=native -fopenmp
#cgo LDFLAGS: -fopenmp -lfaiss -lopenblas
#include <stdint.h>
#include <stdlib.h>

void *hnswlib_build(const float *rows, long n, int dim, int m, int ef_construction, int threads);
void hnswlib_search(void *index, const float *probes, long n, int dim, int ef, int threads, uint32_t *best);
long hnswlib_bytes(void *index);
void hnswlib_free(void *index);

void *flat_build(const float *rows, long n, int dim);
void flat_search(void *index, const float *probes, long n, int threads, uint32_t *best);
void flat_free(void *index);

void *binary_build(const uint8_t *codes, long n, int bits);
void binary_search(void *index, const uint8_t *probes, long n, int k, int threads, int64_t *labels);
void binary_free(void *index);
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"unsafe"

	"mien/simd"
)

func nativeFamilies() []family {
	var fs []family
	for _, m := range []int{16, 32} {
		fs = append(fs, family{fmt.Sprintf("hnswlib M%d efC200", m), 0, func(g *gallery) (*built, error) { return buildHnswlib(g, m) }})
	}
	return append(fs, family{"faiss IndexFlatIP", 0, buildFlat}, family{"faiss IndexBinaryFlat", 0, buildBinary})
}

func floats(v []float32) *C.float   { return (*C.float)(unsafe.SliceData(v)) }
func labels(v []uint32) *C.uint32_t { return (*C.uint32_t)(unsafe.SliceData(v)) }
func codes(v []uint64) *C.uint8_t   { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(v))) }

// errNative is what an exception in a library comes to.
var errNative = errors.New("the library could not build its index")

func buildHnswlib(g *gallery, m int) (*built, error) {
	x := C.hnswlib_build(floats(g.vectors), C.long(g.rows), C.int(g.dim), C.int(m), 200, C.int(runtime.GOMAXPROCS(0)))
	if x == nil {
		return nil, errNative
	}
	b := &built{int64(C.hnswlib_bytes(x)), nil, func() { C.hnswlib_free(x) }}
	for _, ef := range []int{64, 256, 1024} {
		b.settings = append(b.settings, setting{fmt.Sprintf("ef %d", ef), 0, func(best []uint32, probes []float32, threads int) error {
			C.hnswlib_search(x, floats(probes), C.long(len(best)), C.int(g.dim), C.int(ef), C.int(threads), labels(best))
			return nil
		}})
	}
	return b, nil
}

func buildFlat(g *gallery) (*built, error) {
	x := C.flat_build(floats(g.vectors), C.long(g.rows), C.int(g.dim))
	if x == nil {
		return nil, errNative
	}
	search := func(best []uint32, probes []float32, threads int) error {
		C.flat_search(x, floats(probes), C.long(len(best)), C.int(threads), labels(best))
		return nil
	}
	return &built{int64(4 * len(g.vectors)), []setting{{name: fmt.Sprintf("batches of %d", chunk), search: search}}, func() { C.flat_free(x) }}, nil
}

// buildBinary holds sign bits of rotated vectors; with rescoring it needs the float32 rows as well.
func buildBinary(g *gallery) (*built, error) {
	r, err := simd.NewRotation(g.dim, 1)
	if err != nil {
		return nil, err
	}
	words := r.Padded() / 64
	if r.Padded()%64 != 0 {
		return nil, fmt.Errorf("codes of %d bits", r.Padded())
	}
	sketches := sketch(r, g.vectors, runtime.GOMAXPROCS(0))
	x := C.binary_build(codes(sketches), C.long(g.rows), C.int(64*words))
	if x == nil {
		return nil, errNative
	}
	b := &built{int64(8 * len(sketches)), nil, func() { C.binary_free(x) }}
	for _, k := range []int{1, 256, 1024} {
		if k > g.rows {
			break
		}
		name, extra := fmt.Sprintf("%d bits", 64*words), int64(0)
		if k > 1 {
			name, extra = fmt.Sprintf("%s, best %d again by float32", name, k), int64(4*len(g.vectors))
		}
		b.settings = append(b.settings, setting{name, extra, func(best []uint32, probes []float32, threads int) error {
			found, sketches := make([]int64, k*len(best)), sketch(r, probes, threads)
			C.binary_search(x, codes(sketches), C.long(len(best)), C.int(k), C.int(threads), (*C.int64_t)(unsafe.SliceData(found)))
			return split(len(best), threads, func(from, to int) error {
				for i := from; i < to; i++ {
					best[i] = rescore(g, probes[i*g.dim:(i+1)*g.dim], found[i*k:(i+1)*k])
				}
				return nil
			})
		}})
	}
	return b, nil
}

// sketch is the sign bits of each vector after rotation.
func sketch(r *simd.Rotation, vectors []float32, threads int) []uint64 {
	n, words := len(vectors)/r.Dim(), r.Padded()/64
	all := make([]uint64, n*words)
	_ = split(n, threads, func(from, to int) error {
		rotated := make([]float32, r.Padded())
		for i := from; i < to; i++ {
			simd.Rotate(rotated, vectors[i*r.Dim():(i+1)*r.Dim()], r)
			simd.SignBits(all[i*words:(i+1)*words], rotated)
		}
		return nil
	})
	return all
}

func rescore(g *gallery, q []float32, candidates []int64) uint32 {
	if len(candidates) == 1 {
		return uint32(candidates[0])
	}
	var score [1]float32
	best, label := float32(math.Inf(-1)), uint32(math.MaxUint32)
	stride := 1 << bits.Len(uint(g.dim-1))
	for _, c := range candidates {
		if c < 0 {
			continue
		}
		if simd.DotRows(score[:], q, padded(g.row(int(c)), stride), stride); score[0] > best {
			best, label = score[0], uint32(c)
		}
	}
	return label
}

// padded is v itself where it is a stride already, as at 512.
func padded(v []float32, stride int) []float32 {
	if len(v) == stride {
		return v
	}
	return append(make([]float32, 0, stride), v...)[:stride]
}
