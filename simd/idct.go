package simd

// Constants are named by their value and their fractional bits.
const (
	cos1x12, sin1x12         = 4017, 799
	cos3x12, sin3x12         = 3406, 2276
	halfCos6x18, halfSin6x18 = 70936, 171254 // cos(6π/16)/√2, sin(6π/16)/√2
	halfCos6x12, halfSin6x12 = 1108, 2676
	half2x8, half2x14        = 181, 11585 // 1/√2
)

// rotate turns (x0, x1) by three multiplications.
func rotate(x0, x1, kcos, ksin int32) (int32, int32) {
	sum := kcos * (x0 + x1)
	return sum + (ksin-kcos)*x1, sum - (kcos+ksin)*x0
}

// InverseDCT writes the pixels of a block of dequantised coefficients b, row by row, of which only the first rows rows are not
// 0: level shifted, clipped, 8 rows of 8, stride apart. b may be left with anything in it. It panics if dst is too short.
// Allocates nothing.
//
// The integers are those of the standard library (image/jpeg, since Go 1.26), operation for operation: Loeffler,
// Ligtenberg and Moschytz, ICASSP 1989, in 32-bit fixed point, rows before columns.
func InverseDCT(dst []uint8, stride int, b *[64]int32, rows int) {
	if stride < 8 || len(dst) < 7*stride+8 || uint(rows) > 8 {
		panic("BUG: simd: InverseDCT: dst, stride and rows don't fit")
	}
	inverseDCT(dst, stride, b, rows)
}

func inverseDCTGeneric(dst []uint8, stride int, b *[64]int32, rows int) {
	for y := range rows {
		inverseRow((*[8]int32)(b[8*y:]))
	}
	r0, r1 := (*[8]uint8)(dst), (*[8]uint8)(dst[stride:])
	r2, r3 := (*[8]uint8)(dst[2*stride:]), (*[8]uint8)(dst[3*stride:])
	r4, r5 := (*[8]uint8)(dst[4*stride:]), (*[8]uint8)(dst[5*stride:])
	r6, r7 := (*[8]uint8)(dst[6*stride:]), (*[8]uint8)(dst[7*stride:])
	if rows <= 4 {
		for i := range 8 {
			x0, x1, x2, x3, x4, x5, x6, x7 := inverseTop(b[i], b[8+i], b[16+i], b[24+i])
			r0[i], r1[i], r2[i], r3[i] = pixel(x0), pixel(x1), pixel(x2), pixel(x3)
			r4[i], r5[i], r6[i], r7[i] = pixel(x4), pixel(x5), pixel(x6), pixel(x7)
		}
		return
	}
	for i := range 8 {
		x0, x1, x2, x3, x4, x5, x6, x7 := inverseColumn(b, i)
		r0[i], r1[i], r2[i], r3[i] = pixel(x0), pixel(x1), pixel(x2), pixel(x3)
		r4[i], r5[i], r6[i], r7[i] = pixel(x4), pixel(x5), pixel(x6), pixel(x7)
	}
}

// pixel shifts from around 0 to 0..255.
func pixel(v int32) uint8 { return uint8(min(max(v+128, 0), 255)) }

func inverseRow(x *[8]int32) {
	x0, x7, x2, x5, x1, x6, x3, x4 := x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
	if x7|x2|x5|x1|x6|x3|x4 == 0 {
		x0 <<= 17
		*x = [8]int32{x0, x0, x0, x0, x0, x0, x0, x0}
		return
	}
	x0 <<= 17
	x1 <<= 17
	x0, x1 = x0+x1, x0-x1
	x2, x3 = rotate(x2, x3, halfCos6x18, -halfSin6x18)
	x1, x2 = x1+x2, x1-x2
	x0, x3 = x0+x3, x0-x3

	x4 <<= 7
	x7 <<= 7
	x7, x4 = x7+x4, x7-x4
	x6 *= half2x8
	x5 *= half2x8
	x7, x5 = x7+x5, x7-x5
	x4, x6 = x4+x6, x4-x6
	x4, x7 = rotate(x4>>2, x7>>2, cos3x12, -sin3x12)
	x5, x6 = rotate(x5>>2, x6>>2, cos1x12, -sin1x12)

	x[0], x[7] = x0+x7, x0-x7
	x[1], x[6] = x1+x6, x1-x6
	x[2], x[5] = x2+x5, x2-x5
	x[3], x[4] = x3+x4, x3-x4
}

// inverseColumn returns the pixels of column i, less 128 and not clipped.
func inverseColumn(b *[64]int32, i int) (_, _, _, _, _, _, _, _ int32) {
	x0, x7, x2, x5, x1, x6, x3, x4 := b[i&7], b[8+i&15], b[16+i&31], b[24+i&31], b[32+i&63], b[40+i&63], b[48+i&63], b[56+i&63]
	x0 += 1 << 19
	x0, x1 = (x0+x1)>>2, (x0-x1)>>2
	x2, x3 = rotate(x2>>13, x3>>13, halfCos6x12, -halfSin6x12)
	x1, x2 = x1+x2, x1-x2
	x0, x3 = x0+x3, x0-x3

	x7, x4 = x7+x4, x7-x4
	x5 = (x5 >> 13) * half2x14
	x6 = (x6 >> 13) * half2x14
	x7, x5 = x7+x5, x7-x5
	x4, x6 = x4+x6, x4-x6
	x4, x7 = rotate(x4>>14, x7>>14, cos3x12, -sin3x12)
	x5, x6 = rotate(x5>>14, x6>>14, cos1x12, -sin1x12)
	return (x0 + x7) >> 18, (x1 + x6) >> 18, (x2 + x5) >> 18, (x3 + x4) >> 18,
		(x3 - x4) >> 18, (x2 - x5) >> 18, (x1 - x6) >> 18, (x0 - x7) >> 18
}

// inverseTop is inverseColumn where the lower four coefficients are 0.
func inverseTop(x0, x7, x2, x5 int32) (_, _, _, _, _, _, _, _ int32) {
	x0 = (x0 + 1<<19) >> 2
	x1 := x0
	x2 >>= 13
	x2, x3 := halfCos6x12*x2, halfSin6x12*x2
	x1, x2 = x1+x2, x1-x2
	x0, x3 = x0+x3, x0-x3

	x4 := x7
	x5 = (x5 >> 13) * half2x14
	x7, x5 = x7+x5, x7-x5
	x6 := x4
	x4, x7 = rotate(x4>>14, x7>>14, cos3x12, -sin3x12)
	x5, x6 = rotate(x5>>14, x6>>14, cos1x12, -sin1x12)
	return (x0 + x7) >> 18, (x1 + x6) >> 18, (x2 + x5) >> 18, (x3 + x4) >> 18,
		(x3 - x4) >> 18, (x2 - x5) >> 18, (x1 - x6) >> 18, (x0 - x7) >> 18
}
