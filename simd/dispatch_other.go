//go:build purego || (!amd64 && !arm64)

package simd

func supported() []level { return []level{generic} }

func kernelsOf(level) kernels { return kernels{} }

func dotRows(count int, dst, q, rows []float32, n, dstStride, stride, chunks int) {
	dotRowsGeneric(count, dst, q, rows, n, dstStride, stride, chunks)
}

func dotInt8(dst []int32, q, rows []int8, n, stride, chunks int) {
	dotInt8Generic(dst, q, rows, n, stride, chunks)
}

func (s *sketchPass) scan(blocks []uint64, n int, row uint64) int {
	return s.scanGeneric(blocks, n, row)
}

func hadamard(dst, src, signs []float32) { hadamardGeneric(dst, src, signs) }

func sumWords(words []uint64) uint64 { return sumGeneric(words) }

func maxAbs(v []float32) uint32 { return maxAbsGeneric(v) }

func quantize(dst []int8, src []float32, inverse float32) { quantizeGeneric(dst, src, inverse) }

func signBits(dst []uint64, v []float32) { signBitsGeneric(dst, v) }

func sumSquares(v []float32) float64 { return sumSquaresGeneric(v) }

func scale(v []float32, factor float64) { scaleGeneric(v, factor) }

func planes4(planes []uint64, v []float32, words int, inverse float32) {
	planes4Generic(planes, v, words, inverse)
}
