//go:build !purego

package simd

import "unsafe"

// Every arm64 processor that Go runs on has NEON.
func supported() []level { return []level{neon, generic} }

func kernelsOf(l level) kernels {
	return kernels{level: l, f32: l, int8: l, sketch: l, nibbles: l, hadamard: l, prepare: generic}
}

func dotRows(count int, dst, q, rows []float32, n, dstStride, stride, chunks int) {
	if active.f32 == generic {
		dotRowsGeneric(count, dst, q, rows, n, dstStride, stride, chunks)
		return
	}
	for k := range count { // the rows are in the cache after the first
		dotRowsNEON(&dst[k*dstStride], &q[k*stride], unsafe.SliceData(rows), n, stride, chunks)
	}
}

func addRows(dst, src, coefs, rows []float32, n, count, coefStride, stride int) {
	if active.f32 == generic {
		addRowsGeneric(dst, src, coefs, rows, n, count, coefStride, stride)
		return
	}
	addRowsNEON(unsafe.SliceData(dst), unsafe.SliceData(src), unsafe.SliceData(coefs), unsafe.SliceData(rows), n, count, coefStride, stride)
}

func dotInt8(dst []int32, q, rows []int8, n, stride, chunks int) {
	if active.int8 == generic {
		dotInt8Generic(dst, q, rows, n, stride, chunks)
		return
	}
	dotInt8NEON(unsafe.SliceData(dst), unsafe.SliceData(q), unsafe.SliceData(rows), n, stride, chunks)
}

func gatherInt8(dst []int32, q, rows []int8, list []uint32, stride, chunks int) {
	if active.int8 == generic {
		gatherInt8Generic(dst, q, rows, list, stride, chunks)
		return
	}
	gatherInt8NEON(unsafe.SliceData(dst), unsafe.SliceData(q), unsafe.SliceData(rows), unsafe.SliceData(list), len(dst), len(list), stride, chunks)
}

func dotInt8At(dst []int32, q []int8, rows []*int8) {
	if active.int8 == generic {
		dotInt8AtGeneric(dst, q, rows)
		return
	}
	dotInt8AtNEON(unsafe.SliceData(dst), unsafe.SliceData(q), unsafe.SliceData(rows), len(rows), len(q)/ByteLine)
}

func (s *sketchPass) scan(blocks []uint64, n int, row uint64) int {
	if active.sketch == generic {
		return s.scanGeneric(blocks, n, row)
	}
	return sketchNEON(unsafe.SliceData(blocks), n, s.count, s.words, s.planes, unsafe.SliceData(s.probes), &s.bounds[0], row, (*uint64)(unsafe.Pointer(&s.outs)))
}

func (s *nibblePass) scan(blocks []byte, n int, row uint64) int {
	if active.nibbles == generic {
		return s.scanGeneric(blocks, n, row)
	}
	return nibblesNEON(unsafe.SliceData(blocks), n, s.count, s.lines, unsafe.SliceData(s.tables), &s.bounds[0], row, (*uint64)(unsafe.Pointer(&s.outs)))
}

func hadamard(dst, src, signs []float32) {
	if active.hadamard == generic || len(dst) < 16 {
		hadamardGeneric(dst, src, signs)
		return
	}
	hadamardNEON(&dst[0], &src[0], &signs[0], len(dst))
}
