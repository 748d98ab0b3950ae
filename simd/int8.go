package simd

import (
	"slices"
	"unsafe"
)

const (
	// ByteLine is what a stride of int8 rows is a multiple of: a cache line.
	ByteLine = 64
	// MaxInt8Dim bounds the length of an int8 query, so that no sum overflows.
	MaxInt8Dim = 1 << 16
)

// DotInt8Rows sets dst[i] to the dot product of q and row i, rows[i×stride : i×stride+len(q)], for each i < len(dst),
// exactly.
//
// len(q) ≤ stride and MaxInt8Dim, best a multiple of 64: what is beyond one is added by a plain loop. stride is a
// multiple of ByteLine, and rows holds at least len(dst) × stride. Nothing is retained and nothing is allocated. It
// panics if the lengths don't fit. Safe for concurrent use.
func DotInt8Rows(dst []int32, q, rows []int8, stride int) {
	if stride%ByteLine != 0 || len(q) > min(stride, MaxInt8Dim) || len(dst) > 0 && (stride <= 0 || len(rows)/stride < len(dst)) {
		panic("BUG: simd: DotInt8Rows: q, dst, rows and stride don't fit")
	}
	chunks := len(q) / ByteLine
	whole, tail := q[:chunks*ByteLine], q[chunks*ByteLine:]
	step := rowsPerCall(stride)
	for i := 0; i < len(dst); i += step {
		d, r := dst[i:min(i+step, len(dst))], rows[i*stride:]
		if chunks > 0 {
			dotInt8(d, whole, r, len(d), stride, chunks)
		} else {
			clear(d)
		}
		for k := range d {
			for j, x := range tail {
				d[k] += int32(x) * int32(r[k*stride+len(whole)+j])
			}
		}
	}
}

// DotInt8Gather sets dst[i] to the dot product of q and row list[i], rows[list[i]×stride : list[i]×stride+len(q)], exactly,
// for each i < len(list) = len(dst).
//
// It is made for survivors of a scan, rows that are far apart in memory far larger than the caches: it asks for a row
// while it multiplies those before it. The order of list is any, and an ascending one best. The rest as in DotInt8Rows;
// rows holds at least (list[i]+1) × stride.
func DotInt8Gather(dst []int32, q, rows []int8, stride int, list []uint32) {
	if stride%ByteLine != 0 || len(q) > min(stride, MaxInt8Dim) || len(dst) != len(list) || len(list) > 0 && stride <= 0 {
		panic("BUG: simd: DotInt8Gather: q, dst, list and stride don't fit")
	}
	if len(list) > 0 && uint64(slices.Max(list)) >= uint64(len(rows)/stride) {
		panic("BUG: simd: DotInt8Gather: a row is not among rows")
	}
	chunks := len(q) / ByteLine
	whole, tail := q[:chunks*ByteLine], q[chunks*ByteLine:]
	step := rowsPerCall(2 * len(q))
	for i := 0; i < len(dst); i += step {
		d, l := dst[i:min(i+step, len(dst))], list[i:]
		if chunks > 0 {
			gatherInt8(d, whole, rows, l, stride, chunks)
		} else {
			clear(d)
		}
		for k := range d {
			for j, x := range tail {
				d[k] += int32(x) * int32(rows[int(l[k])*stride+len(whole)+j])
			}
		}
	}
}

// DotInt8At sets dst[i] to the dot product of q and the len(q) elements at rows[i], exactly, for each i < len(rows) =
// len(dst).
//
// It is made for a search of a graph: short lists of rows that are far apart, in several regions of memory and in none of
// the caches. It asks for most of them before it multiplies any. len(q) is a multiple of ByteLine, at most MaxInt8Dim;
// rows that start at a cache line are best.
// REQUIRES: each of rows points to len(q) elements, in the heap or outside, and none is nil.
// Nothing is retained and nothing is allocated. It panics if the lengths don't fit. Safe for concurrent use.
func DotInt8At(dst []int32, q []int8, rows []*int8) {
	if len(q)%ByteLine != 0 || len(q) > MaxInt8Dim || len(dst) != len(rows) {
		panic("BUG: simd: DotInt8At: q, dst and rows don't fit")
	}
	if len(q) == 0 {
		clear(dst)
		return
	}
	step := rowsPerCall(2 * len(q))
	for i := 0; i < len(dst); i += step {
		end := min(i+step, len(dst))
		dotInt8At(dst[i:end], q, rows[i:end])
	}
}

func dotInt8Generic(dst []int32, q, rows []int8, n, stride, chunks int) {
	for i := range n {
		dst[i] = productInt8Generic(q[:chunks*ByteLine], rows[i*stride:])
	}
}

func gatherInt8Generic(dst []int32, q, rows []int8, list []uint32, stride, chunks int) {
	for i := range dst {
		dst[i] = productInt8Generic(q[:chunks*ByteLine], rows[int(list[i])*stride:])
	}
}

func dotInt8AtGeneric(dst []int32, q []int8, rows []*int8) {
	for i, row := range rows {
		dst[i] = productInt8Generic(q, unsafe.Slice(row, len(q)))
	}
}

func productInt8Generic(q, row []int8) (sum int32) {
	for j, x := range row[:len(q)] {
		sum += int32(x) * int32(q[j])
	}
	return sum
}
