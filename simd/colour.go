package simd

// MixSamples sets dst to 3 × near + far: four times what lies at a quarter of the way between two rows of samples. It panics
// if lengths differ. Allocates nothing.
func MixSamples(dst []uint16, near, far []uint8) {
	if len(near) != len(dst) || len(far) != len(dst) {
		panic("BUG: simd: MixSamples: dst, near and far differ in length")
	}
	n := mixSamples(dst, near, far)
	mixSamplesGeneric(dst[n:], near[n:], far[n:])
}

func mixSamplesGeneric(dst []uint16, near, far []uint8) {
	near, far = near[:len(dst)], far[:len(dst)]
	for x := range dst {
		dst[x] = 3*uint16(near[x]) + uint16(far[x])
	}
}

// DoubleSamples makes two samples of each of mix, four times as large and with a neighbour more on each side: one at a quarter
// of the way to the left neighbour, one to the right. libjpeg rounds 8 up at the left sample and 7 at the right one, so
// that halves do not drift. It panics if len(dst) is not 2·(len(mix)−2). Allocates nothing.
//
// REQUIRES: mix[i] ≤ 1020.
func DoubleSamples(dst []uint8, mix []uint16) {
	if len(dst) != 2*(len(mix)-2) {
		panic("BUG: simd: DoubleSamples: dst and mix don't fit")
	}
	n := doubleSamples(dst, mix)
	doubleSamplesGeneric(dst[2*n:], mix[n:])
}

func doubleSamplesGeneric(dst []uint8, mix []uint16) {
	left, v := mix[0], mix[1]
	for _, right := range mix[2:] {
		if len(dst) < 2 {
			return // never: the compiler wants to see it
		}
		dst[0] = uint8((3*v + left + 8) >> 4)
		dst[1] = uint8((3*v + right + 7) >> 4)
		left, v, dst = v, right, dst[2:]
	}
}

// YCbCrToRGB is color.YCbCrToRGB for pixels, to uint8[len(luma)][3]. It panics if the lengths don't fit. Allocates nothing.
func YCbCrToRGB(dst, luma, cb, cr []uint8) {
	if len(cb) != len(luma) || len(cr) != len(luma) || len(dst) != 3*len(luma) {
		panic("BUG: simd: YCbCrToRGB: planes and dst don't fit")
	}
	n := yccToRGB(dst, luma, cb, cr)
	yccToRGBGeneric(dst[3*n:], luma[n:], cb[n:], cr[n:])
}

// yccToRGBGeneric looks at once whether any of a pixel's three values is to be clipped.
func yccToRGBGeneric(dst, luma, cb, cr []uint8) {
	cb, cr = cb[:len(luma)], cr[:len(luma)]
	i := 0
	for x, y := range luma {
		if i+2 >= len(dst) {
			return // never: the compiler wants to see it
		}
		l, u, v := int32(y)*0x10101, int32(cb[x])-128, int32(cr[x])-128
		r, g, b := l+91881*v, l-22554*u-46802*v, l+116130*u
		if uint32(r|g|b)>>24 == 0 {
			dst[i], dst[i+1], dst[i+2] = uint8(r>>16), uint8(g>>16), uint8(b>>16)
		} else {
			dst[i], dst[i+1], dst[i+2] = clip(r), clip(g), clip(b)
		}
		i += 3
	}
}

// clip is v / 2¹⁶ in 0..255.
func clip(v int32) uint8 {
	if uint32(v)>>24 != 0 {
		v = ^(v >> 31)
		return uint8(v)
	}
	return uint8(v >> 16)
}
