package simd

import "math"

// leastQuantised is the largest element below which a vector counts as zero: the inverse of its scale must be finite.
const leastQuantised = 0x1p-119

// Normalize scales v to length 1 and returns the length it had, computed in float64. It leaves alone a v that is all
// zero, which gives 0, and one with a NaN or an infinity, which gives that. Each element is within 2⁻²³ of its exact
// value, relatively, unless that is below the normal range. Allocates nothing.
func Normalize(v []float32) (norm float64) {
	norm = math.Sqrt(sumSquares(v))
	if norm != 0 && !math.IsNaN(norm) && !math.IsInf(norm, 0) {
		scale(v, 1/norm)
	}
	return norm
}

func sumSquaresGeneric(v []float32) (sum float64) {
	for _, x := range v {
		sum += float64(float64(x) * float64(x))
	}
	return sum
}

func scaleGeneric(v []float32, factor float64) {
	for i, x := range v {
		v[i] = float32(float64(x) * factor)
	}
}

// QuantizeInt8 sets dst to src/scale, rounded to the nearest integer, ties to even, in [-127, 127], and returns scale,
// max|src|/127: src[i] is within scale × 0.50001 of dst[i] × scale. Every level gives the same.
//
// A src whose largest element is below 2⁻¹¹⁹, zero included, gives zeros and scale 0; one with a NaN or an infinity
// gives zeros and scale NaN. It panics if dst and src differ in length. Allocates nothing.
func QuantizeInt8(dst []int8, src []float32) (scale float32) {
	if len(dst) != len(src) {
		panic("BUG: simd: QuantizeInt8: dst and src differ in length")
	}
	largest := largest(src)
	if !(largest >= leastQuantised) {
		clear(dst)
		return largest * 0 // 0 or NaN
	}
	quantize(dst, src, 127/largest)
	return largest / 127
}

// largest is max|v|, 0 if that is below leastQuantised, NaN if it is not finite.
func largest(v []float32) float32 {
	top := math.Float32frombits(maxAbs(v))
	switch {
	case top < leastQuantised:
		return 0
	case !(top <= math.MaxFloat32):
		return float32(math.NaN())
	}
	return top
}

// maxAbsGeneric returns bits: without the sign they have the order of the values, NaN last.
func maxAbsGeneric(v []float32) (top uint32) {
	for _, x := range v {
		top = max(top, math.Float32bits(x)&^(1<<31))
	}
	return top
}

func quantizeGeneric(dst []int8, src []float32, inverse float32) {
	for i, x := range src {
		dst[i] = int8(math.RoundToEven(float64(x * inverse)))
	}
}

// SignBits sets bit i%64 of dst[i/64] if v[i] has its sign bit clear, and clears what is left of the last word. It
// panics if dst is not of ⌈len(v)/64⌉ words. Allocates nothing.
func SignBits(dst []uint64, v []float32) {
	if len(dst) != (len(v)+63)/64 {
		panic("BUG: simd: SignBits: dst and v don't fit")
	}
	signBits(dst, v)
}

func signBitsGeneric(dst []uint64, v []float32) {
	for w := range dst {
		word := uint64(0)
		for i, x := range v[w*64 : min(len(v), w*64+64)] {
			word |= uint64(^math.Float32bits(x)>>31) << i
		}
		dst[w] = word
	}
}

// QuantizeProbe4 writes v as four bit planes, plane 0 first, each ⌈len(v)/64⌉ words: u[i] = Σ_j 2^j × bit i of plane j,
// in [0, 15], with v[i] within scale × 0.50001 of offset + scale × u[i]. offset is −7.5 × scale, so that a sum over the
// signs of a code is an affine image of what ScanSketch computes (doc.go). Bits past len(v) are clear.
//
// A v whose largest element is below 2⁻¹¹⁹ gives 8 everywhere, offset and scale 0; one with a NaN or an infinity gives
// zeros and NaN. It panics if planes is not of 4 × ⌈len(v)/64⌉ words. Allocates nothing.
func QuantizeProbe4(planes []uint64, v []float32) (offset, scale float32) {
	words := (len(v) + 63) / 64
	if len(planes) != 4*words {
		panic("BUG: simd: QuantizeProbe4: planes and v don't fit")
	}
	top, inverse := largest(v), float32(0)
	if top != top {
		clear(planes)
		return top, top
	}
	if top > 0 {
		inverse, scale = 7.5/top, top/7.5
	}
	planes4(planes, v, words, inverse)
	return -7.5 * scale, scale
}

// planes4Generic needs no clamp: |x × inverse| is 7.5 at most, and a rounding.
func planes4Generic(planes []uint64, v []float32, words int, inverse float32) {
	for at := 0; at < len(v); at += 64 {
		var bits [4]uint64
		for i, x := range v[at:min(len(v), at+64)] {
			u := uint64(float32(x*inverse) + 8) // rounds: 7.5 and a half
			for j := range bits {
				bits[j] |= u >> j & 1 << i
			}
		}
		for j, b := range bits {
			planes[j*words+at/64] = b
		}
	}
}
