//go:build peers

package main

/*
#cgo CXXFLAGS: -std=c++17 -O3 -march=native -fopenmp
#cgo LDFLAGS: -fopenmp -lfaiss -lopenblas
#include <stdint.h>
#include <stdlib.h>

void hnswlib_search(void *index, const float *probes, long n, int dim, int k, int ef, int threads, uint32_t *labels);
long hnswlib_bytes(void *index);
void hnswlib_free(void *index);

void *flat_build(const float *rows, long n, int dim);
void flat_search(void *index, const float *probes, long n, int k, int threads, int64_t *labels);
void flat_free(void *index);

void *binary_build(const uint8_t *codes, long n, int bits);
void binary_search(void *index, const uint8_t *probes, long n, int k, int threads, int64_t *labels);
void binary_free(void *index);
*/
import "C"

import (
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"unsafe"

	"mien/index"
	"mien/simd"
)

func nativeFamilies(o options) []family {
	return []family{
		{fmt.Sprintf("hnswlib M%d efC%d", o.m, o.efConstruction), 0, func(g *gallery) (*built, error) { return buildHnswlib(g, o) }},
		{"faiss IndexFlatIP", 0, buildFlat},
		{"faiss IndexBinaryFlat", 0, buildBinary},
	}
}

func floats(v []float32) *C.float { return (*C.float)(unsafe.SliceData(v)) }
func codes(v []uint64) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(v))) }
func longs(v []int64) *C.int64_t  { return (*C.int64_t)(unsafe.SliceData(v)) }

// errNative is what an exception in a library comes to.
var errNative = errors.New("the library could not build its index")

// hnswlib is a graph of the library's.
type hnswlib struct {
	x   unsafe.Pointer
	dim int
}

func buildHnswlib(g *gallery, o options) (*built, error) {
	h, note, err := keptHnswlib(g, o)
	if err != nil {
		return nil, err
	}
	b := &built{bytes: int64(C.hnswlib_bytes(h.x)), note: note, close: func() { C.hnswlib_free(h.x) }}
	for _, ef := range o.efs {
		b.settings = append(b.settings, setting{ef: ef, search: func(found []uint32, probes []float32, threads int) error {
			C.hnswlib_search(h.x, floats(probes), C.long(len(probes)/h.dim), C.int(h.dim), topK, C.int(ef), C.int(threads), (*C.uint32_t)(unsafe.SliceData(found)))
			return nil
		}})
	}
	return b, nil
}

func flatSearch(x unsafe.Pointer, dim int) func([]uint32, []float32, int) error {
	return func(found []uint32, probes []float32, threads int) error {
		labels := make([]int64, len(found))
		C.flat_search(x, floats(probes), C.long(len(probes)/dim), topK, C.int(threads), longs(labels))
		for i, l := range labels {
			found[i] = uint32(l) // −1 is none
		}
		return nil
	}
}

func buildFlat(g *gallery) (*built, error) {
	x := C.flat_build(floats(g.vectors), C.long(g.rows), C.int(g.dim))
	if x == nil {
		return nil, errNative
	}
	all := setting{name: fmt.Sprintf("batches of %d", chunk), search: flatSearch(x, g.dim)}
	return &built{bytes: int64(4 * len(g.vectors)), settings: []setting{all}, close: func() { C.flat_free(x) }}, nil
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
	b := &built{bytes: int64(8 * len(sketches)), close: func() { C.binary_free(x) }}
	for _, k := range []int{topK, 256, 1024} {
		if k > g.rows {
			break
		}
		s := setting{name: fmt.Sprintf("%d bits", 64*words)}
		if k > topK {
			s = setting{name: fmt.Sprintf("%s, best %d rescored", s.name, k), extra: int64(4 * len(g.vectors))}
		}
		s.search = func(found []uint32, probes []float32, threads int) error {
			n := len(probes) / g.dim
			candidates, sketches := make([]int64, k*n), sketch(r, probes, threads)
			C.binary_search(x, codes(sketches), C.long(n), C.int(k), C.int(threads), longs(candidates))
			return split(n, threads, func(from, to int) error {
				for i := from; i < to; i++ {
					rescore(g, found[i*topK:(i+1)*topK], probes[i*g.dim:(i+1)*g.dim], candidates[i*k:(i+1)*k])
				}
				return nil
			})
		}
		b.settings = append(b.settings, s)
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

// rescore sets found to the best candidates by float32, and to the candidates themselves if they are no more.
func rescore(g *gallery, found []uint32, q []float32, candidates []int64) {
	var top index.Top
	var score [1]float32
	top.Reset(topK, -2)
	stride := 1 << bits.Len(uint(g.dim-1))
	for i, c := range candidates {
		switch {
		case c < 0:
			continue
		case len(candidates) == topK:
			score[0] = -float32(i) / topK
		default:
			simd.DotRows(score[:], q, padded(g.row(int(c)), stride), stride)
		}
		top.Offer(uint32(c), score[0])
	}
	fill(found, top.Hits())
}

// padded is v itself where it is a stride already, as at 512.
func padded(v []float32, stride int) []float32 {
	if len(v) == stride {
		return v
	}
	return append(make([]float32, 0, stride), v...)[:stride]
}
