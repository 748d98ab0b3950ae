//go:build !purego

package simd

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"
)

// Each family is gated by exactly what the head of its generated file requires.
var (
	hasAVX2     = cpuid.CPU.Supports(cpuid.AVX, cpuid.AVX2, cpuid.FMA3)
	hasAVX512   = hasAVX2 && cpuid.CPU.Supports(cpuid.AVX512F)
	hasVNNI     = hasAVX512 && cpuid.CPU.Supports(cpuid.AVX512VNNI)
	hasPopcount = hasAVX512 && cpuid.CPU.Supports(cpuid.AVX512VPOPCNTDQ, cpuid.POPCNT)
	hasBytes    = hasAVX512 && cpuid.CPU.Supports(cpuid.AVX512BW, cpuid.BMI1)
	hasPermute  = hasBytes && cpuid.CPU.Supports(cpuid.AVX512VBMI)
)

func supported() []level {
	switch {
	case hasAVX512:
		return []level{avx512, avx2, generic}
	case hasAVX2:
		return []level{avx2, generic}
	}
	return []level{generic}
}

func kernelsOf(l level) kernels {
	k := kernels{level: l, f32: l, int8: l, int16: min(l, avx2), sketch: l, nibbles: l, hadamard: l, prepare: min(l, avx2), pixels: l}
	if l == avx512 && !hasVNNI {
		k.int8 = avx2
	}
	if l == avx512 && !hasPopcount {
		k.sketch = avx2
	}
	if l == avx512 && !hasBytes {
		k.nibbles = avx2
	}
	if l == avx512 && !hasPermute {
		k.pixels = avx2
	}
	return k
}

// dotRows compares count queries, 1, 2 or 4, with n rows over chunks × 16 floats.
func dotRows(count int, dst, q, rows []float32, n, dstStride, stride, chunks int) {
	d, a, b := unsafe.SliceData(dst), unsafe.SliceData(q), unsafe.SliceData(rows)
	switch {
	case active.f32 == avx512 && count == 1:
		dotRows1AVX512(d, a, b, n, dstStride, stride, chunks)
	case active.f32 == avx512 && count == 2:
		dotRows2AVX512(d, a, b, n, dstStride, stride, chunks)
	case active.f32 == avx512:
		dotRows4AVX512(d, a, b, n, dstStride, stride, chunks)
	case active.f32 == avx2 && count == 1:
		dotRows1AVX2(d, a, b, n, dstStride, stride, chunks)
	case active.f32 == avx2 && count == 2:
		dotRows2AVX2(d, a, b, n, dstStride, stride, chunks)
	case active.f32 == avx2:
		dotRows4AVX2(d, a, b, n, dstStride, stride, chunks)
	default:
		dotRowsGeneric(count, dst, q, rows, n, dstStride, stride, chunks)
	}
}

// addRows subtracts count rows from each of n vectors.
func addRows(dst, src, coefs, rows []float32, n, count, coefStride, stride int) {
	switch active.f32 {
	case avx512:
		addRowsAVX512(unsafe.SliceData(dst), unsafe.SliceData(src), unsafe.SliceData(coefs), unsafe.SliceData(rows), n, count, coefStride, stride)
	case avx2:
		addRowsAVX2(unsafe.SliceData(dst), unsafe.SliceData(src), unsafe.SliceData(coefs), unsafe.SliceData(rows), n, count, coefStride, stride)
	default:
		addRowsGeneric(dst, src, coefs, rows, n, count, coefStride, stride)
	}
}

// dotInt8 compares a query with n rows over chunks × 64 elements.
func dotInt8(dst []int32, q, rows []int8, n, stride, chunks int) {
	switch active.int8 {
	case avx512:
		dotInt8VNNI(unsafe.SliceData(dst), unsafe.SliceData(q), unsafe.SliceData(rows), n, stride, chunks)
	case avx2:
		dotInt8AVX2(unsafe.SliceData(dst), unsafe.SliceData(q), unsafe.SliceData(rows), n, stride, chunks)
	default:
		dotInt8Generic(dst, q, rows, n, stride, chunks)
	}
}

// dotInt16 compares a query with n rows over chunks × 32 elements.
func dotInt16(dst []int32, q, rows []int16, n, stride, chunks int) {
	if active.int16 < avx2 {
		dotInt16Generic(dst, q, rows, n, stride, chunks)
		return
	}
	dotInt16AVX2(unsafe.SliceData(dst), unsafe.SliceData(q), unsafe.SliceData(rows), n, stride, chunks)
}

// gatherInt8 compares a query with the first len(dst) rows of list over chunks × 64 elements.
func gatherInt8(dst []int32, q, rows []int8, list []uint32, stride, chunks int) {
	d, a, b, l, n, listed := unsafe.SliceData(dst), unsafe.SliceData(q), unsafe.SliceData(rows), unsafe.SliceData(list), len(dst), len(list)
	switch {
	case active.int8 == avx512 && chunks == 8:
		gatherInt8VNNIx8(d, a, b, l, n, listed, stride, chunks)
	case active.int8 == avx512:
		gatherInt8VNNI(d, a, b, l, n, listed, stride, chunks)
	case active.int8 == avx2:
		gatherInt8AVX2(d, a, b, l, n, listed, stride, chunks)
	default:
		gatherInt8Generic(dst, q, rows, list, stride, chunks)
	}
}

// dotInt8At compares a query with at least one row.
func dotInt8At(dst []int32, q []int8, rows []*int8) {
	d, a, r, n, chunks := unsafe.SliceData(dst), unsafe.SliceData(q), unsafe.SliceData(rows), len(rows), len(q)/ByteLine
	switch {
	case active.int8 == avx512 && chunks == 3:
		dotInt8AtVNNIx3(d, a, r, n, askFrom(n, chunks), chunks)
	case active.int8 == avx512 && chunks == 8:
		dotInt8AtVNNIx8(d, a, r, n, askFrom(n, chunks), chunks)
	case active.int8 == avx512:
		dotInt8AtVNNI(d, a, r, n, askFrom(n, chunks), chunks)
	case active.int8 == avx2:
		dotInt8AtAVX2(d, a, r, n, 0, chunks)
	default:
		dotInt8AtGeneric(dst, q, rows)
	}
}

// askFrom is the first of n rows that a kernel of VNNI should ask for ahead. The loads of those before it run meanwhile, and
// what is both asked for and loaded at once is slower than either; the figures are in asm/gather.go.
func askFrom(n, chunks int) int {
	switch {
	case n < 12:
		return 4
	case n*chunks < 128:
		return 8
	}
	return 0
}

// scan scans n blocks for count probes, 1, 2, 4 or 8.
func (s *sketchPass) scan(blocks []uint64, n int, row uint64) int {
	b, p, c, o := unsafe.SliceData(blocks), unsafe.SliceData(s.probes), &s.bounds[0], (*uint64)(unsafe.Pointer(&s.outs))
	w, j := s.words, s.planes
	switch {
	case active.sketch == avx512 && s.count == 1:
		return sketch1AVX512(b, n, w, j, p, c, row, o)
	case active.sketch == avx512 && s.count == 2:
		return sketch2AVX512(b, n, w, j, p, c, row, o)
	case active.sketch == avx512 && s.count == 4:
		return sketch4AVX512(b, n, w, j, p, c, row, o)
	case active.sketch == avx512:
		return sketch8AVX512(b, n, w, j, p, c, row, o)
	case active.sketch == avx2 && s.count == 1:
		return sketch1AVX2(b, n, w, j, p, c, row, o)
	case active.sketch == avx2 && s.count == 2:
		return sketch2AVX2(b, n, w, j, p, c, row, o)
	case active.sketch == avx2 && s.count == 4:
		return sketch4AVX2(b, n, w, j, p, c, row, o)
	case active.sketch == avx2:
		return sketch8AVX2(b, n, w, j, p, c, row, o)
	}
	return s.scanGeneric(blocks, n, row)
}

// scan scans n blocks for count probes, 1, 2, 4 or 8.
func (s *nibblePass) scan(blocks []byte, n int, row uint64) int {
	b, l, t, c, o := unsafe.SliceData(blocks), s.lines, unsafe.SliceData(s.tables), &s.bounds[0], (*uint64)(unsafe.Pointer(&s.outs))
	wide := active.nibbles == avx512
	x16 := wide && l == 16 && hasPermute
	switch {
	case x16 && s.count == 1:
		return nibbles1AVX512x16(b, n, l, t, c, row, o)
	case wide && s.count == 1:
		return nibbles1AVX512(b, n, l, t, c, row, o)
	case x16 && s.count == 2:
		return nibbles2AVX512x16(b, n, l, t, c, row, o)
	case wide && s.count == 2:
		return nibbles2AVX512(b, n, l, t, c, row, o)
	case x16 && s.count == 4:
		return nibbles4AVX512x16(b, n, l, t, c, row, o)
	case wide && s.count == 4:
		return nibbles4AVX512(b, n, l, t, c, row, o)
	case x16:
		return nibbles8AVX512x16(b, n, l, t, c, row, o)
	case wide:
		return nibbles8AVX512(b, n, l, t, c, row, o)
	case active.nibbles == avx2 && s.count == 1:
		return nibbles1AVX2(b, n, l, t, c, row, o)
	case active.nibbles == avx2 && s.count == 2:
		return nibbles2AVX2(b, n, l, t, c, row, o)
	case active.nibbles == avx2 && s.count == 4:
		return nibbles4AVX2(b, n, l, t, c, row, o)
	case active.nibbles == avx2:
		return nibbles8AVX2(b, n, l, t, c, row, o)
	}
	return s.scanGeneric(blocks, n, row)
}

// hadamard sets dst to the transform of src × signs, all of one length, a power of two.
func hadamard(dst, src, signs []float32) {
	d, s, g, n := unsafe.SliceData(dst), unsafe.SliceData(src), unsafe.SliceData(signs), len(dst)
	switch {
	case active.hadamard == avx512 && n >= 64:
		hadamardAVX512(d, s, g, n)
	case active.hadamard == avx2 && n >= 64:
		hadamardAVX2(d, s, g, n)
	default:
		hadamardGeneric(dst, src, signs)
	}
}

// sumWords adds words, a multiple of 64 of them.
func sumWords(words []uint64) uint64 {
	switch active.level {
	case avx512:
		return sumAVX512(unsafe.SliceData(words), len(words))
	case avx2:
		return sumAVX2(unsafe.SliceData(words), len(words))
	}
	return sumGeneric(words)
}

// The kernels below take whole vectors; the generic loop takes the rest.

func maxAbs(v []float32) (top uint32) {
	n := whole(v, 32)
	if n > 0 {
		top = maxAbsAVX2(&v[0], n)
	}
	return max(top, maxAbsGeneric(v[n:]))
}

func quantize(dst []int8, src []float32, inverse float32) {
	n := whole(src, 32)
	if n > 0 {
		quantizeAVX2(&dst[0], &src[0], n, inverse)
	}
	quantizeGeneric(dst[n:], src[n:], inverse)
}

func signBits(dst []uint64, v []float32) {
	n := whole(v, 64)
	if n > 0 {
		signBitsAVX2(&dst[0], &v[0], n)
	}
	signBitsGeneric(dst[n/64:], v[n:])
}

func sumSquares(v []float32) (sum float64) {
	n := whole(v, 16)
	if n > 0 {
		sum = sumSquaresAVX2(&v[0], n)
	}
	return sum + sumSquaresGeneric(v[n:])
}

func scale(v []float32, factor float64) {
	n := whole(v, 16)
	if n > 0 {
		scaleAVX2(&v[0], n, factor)
	}
	scaleGeneric(v[n:], factor)
}

func planes4(planes []uint64, v []float32, words int, inverse float32) {
	n := whole(v, 64)
	if n > 0 {
		planes4AVX2(&planes[0], &v[0], n, words, inverse)
	}
	planes4Generic(planes[n/64:], v[n:], words, inverse)
}

// whole is how much of v, in units, the AVX2 kernels may take; at most callBytes, which no vector of ours exceeds.
func whole(v []float32, unit int) int {
	if active.prepare != avx2 {
		return 0
	}
	return min(len(v), callBytes/4) &^ (unit - 1)
}

// Those of pixels take whole vectors, say how many elements they took, and leave the rest to the generic code.

func scalerLanes() lanes {
	if active.pixels == avx512 {
		return wideLanes
	}
	return narrowLanes
}

func (s *RowScaler) scaled(dst []float32, row []uint8) int {
	switch {
	case s.groups == 0 || active.pixels < avx2 || s.lanes != scalerLanes():
		return 0
	case s.lanes == wideLanes:
		scaleRowAVX512(&dst[0], &row[0], &s.starts[0], &s.picks[0], &s.table[0], s.groups, s.taps)
	default:
		scaleRowAVX2(&dst[0], &row[0], &s.starts[0], &s.picks[0], &s.table[0], s.groups, s.taps)
	}
	return s.group * s.groups
}

func mixLines(dst []uint8, lines *[4][]float32, weights []float32) int {
	n := wholePixels(len(dst), 32)
	if n == 0 {
		return 0
	}
	var w [4]float32
	l := [4]*float32{}
	for i := range l {
		l[i] = &lines[0][0] // times 0
	}
	for i := range copy(w[:], weights) {
		l[i] = &lines[i][0]
	}
	mixLinesAVX2(&dst[0], l[0], l[1], l[2], l[3], n, &w[0])
	return n
}

func addScaled(sum, line []float32, weight float32) int {
	n := wholePixels(len(sum), 16)
	if n > 0 {
		addScaledAVX2(&sum[0], &line[0], n, weight)
	}
	return n
}

func roundBytes(dst []uint8, src []float32) int {
	n := wholePixels(len(src), 32)
	if n > 0 {
		roundBytesAVX2(&dst[0], &src[0], n)
	}
	return n
}

func (n *Normaliser) planes(r, g, b []float32, rgb []uint8) int {
	whole := wholePixels((len(rgb)-4)/3, 8)
	if whole > 0 {
		planesAVX2(&r[0], &g[0], &b[0], &rgb[0], whole, &n.mean[0], &n.std[0])
	}
	return whole
}

func mixSamples(dst []uint16, near, far []uint8) int {
	n := wholePixels(len(dst), 16)
	if n > 0 {
		mixSamplesAVX2(&dst[0], &near[0], &far[0], n)
	}
	return n
}

func doubleSamples(dst []uint8, mix []uint16) int {
	n := wholePixels(len(mix)-2, 16)
	if n > 0 {
		doubleSamplesAVX2(&dst[0], &mix[0], n)
	}
	return n
}

func yccToRGB(dst, luma, cb, cr []uint8) int {
	n := wholePixels(len(luma), 32)
	if n > 0 {
		yccToRGBAVX2(&dst[0], &luma[0], &cb[0], &cr[0], n)
	}
	return n
}

func inverseDCT(dst []uint8, stride int, b *[64]int32, rows int) {
	if active.pixels < avx2 {
		inverseDCTGeneric(dst, stride, b, rows)
		return
	}
	inverseDCTAVX2(&dst[0], stride, &b[0])
}

func replaceSamples(sums []uint32, old, row []uint8) int {
	n := wholePixels(len(sums), 8)
	if n > 0 {
		replaceSamplesAVX2(&sums[0], &old[0], &row[0], n)
	}
	return n
}

// boxMeans makes the last 32 bytes at once, some of them twice. Beyond boxes of 32 the generic code, which slides, is faster.
func boxMeans(dst []uint8, sums []uint32, q int) bool {
	n := wholePixels(len(dst), 32)
	if n == 0 || q > 32 || len(dst)-n > 32 {
		return false
	}
	last := len(dst) - 32
	boxMeansAVX2(&dst[0], &sums[0], n, q)
	boxMeansAVX2(&dst[last], &sums[last], 32, q)
	return true
}

func bilinear(out, pix []uint8, stride int, x, y *Ramp) int {
	n := wholePixels(len(x.A), 4)
	if n > 0 {
		bilinearAVX2(&out[0], &pix[0], stride, &x.A[0], &y.A[0], n, x.B, x.T, x.O, y.B, y.T, y.O)
	}
	return n
}

// wholePixels is how many of n elements the AVX2 kernels may take, unit at a time; rows are no longer than a call may be.
func wholePixels(n, unit int) int {
	if active.pixels < avx2 || n < unit {
		return 0
	}
	return min(n, callBytes/4) &^ (unit - 1)
}
