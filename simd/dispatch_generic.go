//go:build purego || !amd64

package simd

// Where there is no AVX2, products of int16 and what prepares templates and probes are the generic code.

func dotInt16(dst []int32, q, rows []int16, n, stride, chunks int) {
	dotInt16Generic(dst, q, rows, n, stride, chunks)
}

func sumWords(words []uint64) uint64 { return sumGeneric(words) }

func maxAbs(v []float32) uint32 { return maxAbsGeneric(v) }

func quantize(dst []int8, src []float32, inverse float32) { quantizeGeneric(dst, src, inverse) }

func signBits(dst []uint64, v []float32) { signBitsGeneric(dst, v) }

func sumSquares(v []float32) float64 { return sumSquaresGeneric(v) }

func scale(v []float32, factor float64) { scaleGeneric(v, factor) }

func planes4(planes []uint64, v []float32, words int, inverse float32) {
	planes4Generic(planes, v, words, inverse)
}

func scalerLanes() lanes { return narrowLanes }

func (s *RowScaler) scaled([]float32, []uint8) int { return 0 }

func mixLines([]uint8, *[4][]float32, []float32) int { return 0 }

func addScaled(_, _ []float32, _ float32) int { return 0 }

func roundBytes([]uint8, []float32) int { return 0 }

func (n *Normaliser) planes(_, _, _ []float32, _ []uint8) int { return 0 }

func mixSamples(_ []uint16, _, _ []uint8) int { return 0 }

func doubleSamples([]uint8, []uint16) int { return 0 }

func yccToRGB(_, _, _, _ []uint8) int { return 0 }

func inverseDCT(dst []uint8, stride int, b *[64]int32, rows int) {
	inverseDCTGeneric(dst, stride, b, rows)
}

func replaceSamples([]uint32, []uint8, []uint8) int { return 0 }

func boxMeans([]uint8, []uint32, int) bool { return false }

func bilinear(_, _ []uint8, _ int, _, _ *Ramp) int { return 0 }
