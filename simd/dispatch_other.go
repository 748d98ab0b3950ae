//go:build purego || (!amd64 && !arm64)

package simd

func supported() []level { return []level{generic} }

func kernelsOf(level) kernels { return kernels{} }

func dotRows(count int, dst, q, rows []float32, n, dstStride, stride, chunks int) {
	dotRowsGeneric(count, dst, q, rows, n, dstStride, stride, chunks)
}

func addRows(dst, src, coefs, rows []float32, n, count, coefStride, stride int) {
	addRowsGeneric(dst, src, coefs, rows, n, count, coefStride, stride)
}

func dotInt8(dst []int32, q, rows []int8, n, stride, chunks int) {
	dotInt8Generic(dst, q, rows, n, stride, chunks)
}

func gatherInt8(dst []int32, q, rows []int8, list []uint32, stride, chunks int) {
	gatherInt8Generic(dst, q, rows, list, stride, chunks)
}

func dotInt8At(dst []int32, q []int8, rows []*int8) { dotInt8AtGeneric(dst, q, rows) }

func (s *sketchPass) scan(blocks []uint64, n int, row uint64) int {
	return s.scanGeneric(blocks, n, row)
}

func (s *nibblePass) scan(blocks []byte, n int, row uint64) int {
	return s.scanGeneric(blocks, n, row)
}

func hadamard(dst, src, signs []float32) { hadamardGeneric(dst, src, signs) }
