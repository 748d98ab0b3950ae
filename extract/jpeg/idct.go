package jpeg

import (
	"encoding/binary"
	"math"

	"mien/simd"
)

// natural is the place in a block, row by row, of each index of the zig-zag (T.81, figure A.6).
var natural = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// rowsOf is how many rows the coefficients up to each index of the zig-zag reach.
var rowsOf = func() (rows [64]int) {
	most := 0
	for k, at := range natural {
		most = max(most, int(at)/8+1)
		rows[k] = most
	}
	return rows
}()

// block is 8×8 dequantised coefficients, row by row.
type block [64]int32

// lastOf is the last index of the zig-zag that a reduction reads.
func lastOf(shrink int) int {
	switch shrink {
	case 1:
		return 63
	case 2:
		return 24
	case 4:
		return 4
	}
	return 0
}

// reducedBits are the fractional bits of a reduced inverse transform's input.
const reducedBits = 10

// scaled returns the factors by which the coefficients of one quantisation table, in zig-zag order, are
// multiplied before the inverse transform of a reduction. At 1 it is the table. Otherwise each is weighted as if
// shrink×shrink pixels were averaged: the mean of two neighbours damps frequency u by cos(uπ/16), that of four by
// cos(2uπ/16) more. The frequencies that would only alias are not read at all.
func scaled(q *[64]int32, shrink int) (f [64]int32) {
	if shrink == 1 {
		return *q
	}
	for k := range lastOf(shrink) + 1 {
		f[k] = int32(math.Round(float64(q[k]) * damping(int(natural[k])%8, shrink) * damping(int(natural[k])/8, shrink) * (1 << reducedBits)))
	}
	return f
}

func damping(u, shrink int) float64 {
	w := 1.0
	for step := 1; step < shrink; step *= 2 {
		w *= math.Cos(float64(u*step) * math.Pi / 16)
	}
	return w
}

// inverse writes the pixels of b, of which the coefficients behind last are 0: 8/shrink rows of as many pixels,
// level shifted and clipped. Where last > 0, b may be left with anything in it.
func inverse(dst []uint8, stride int, b *block, last, shrink int) {
	switch {
	case shrink == 1 && last == 0:
		flat(dst, stride, b[0])
	case shrink == 1:
		simd.InverseDCT(dst, stride, (*[64]int32)(b), rowsOf[last&63])
	case shrink == 2 && last == 0:
		v := 0x01010101 * uint32(pixel((b[0]+4<<reducedBits)>>(reducedBits+3)))
		for y := range 4 {
			binary.LittleEndian.PutUint32(dst[y*stride:], v)
		}
	case shrink == 2:
		inverse4(dst, stride, b)
	case shrink == 4:
		inverse2(dst, stride, b)
	default:
		dst[0] = pixel((b[0] + 4<<reducedBits) >> (reducedBits + 3))
	}
}

// pixel shifts from around 0 to 0..255.
func pixel(v int32) uint8 {
	v += 128
	if uint32(v) > 255 {
		v = ^(v >> 31)
	}
	return uint8(v)
}

// The full transform is the standard library's, for its pixels are the ones that embeddings were made of.

// flat is the full transform of a block that has nothing but its mean.
func flat(dst []uint8, stride int, dc int32) {
	v := 0x0101010101010101 * uint64(pixel((dc<<17+1<<19)>>20))
	for y := range 8 {
		binary.LittleEndian.PutUint64(dst[y*stride:], v)
	}
}

// The reduced transforms are those of 4 and 2 points over the lowest coefficients. In one dimension, for an input
// that is √8 times the orthonormal: y = F0 + √2 Σ Fu cos((2m+1)uπ/8), and F0 ± F1.
const sqrt2Cos1x12, sqrt2Cos3x12 = 5352, 2217 // √2 cos(π/8), √2 cos(3π/8)

func inverse4(dst []uint8, stride int, b *block) {
	for i := range 4 {
		b[i], b[8+i], b[16+i], b[24+i] = points4(b[i], b[8+i], b[16+i], b[24+i])
	}
	for y := range 4 {
		row := (*[8]int32)(b[8*y:])
		x0, x1, x2, x3 := points4(row[0]+4<<reducedBits, row[1], row[2], row[3])
		out := (*[4]uint8)(dst[y*stride:])
		out[0], out[1] = pixel(x0>>(reducedBits+3)), pixel(x1>>(reducedBits+3))
		out[2], out[3] = pixel(x2>>(reducedBits+3)), pixel(x3>>(reducedBits+3))
	}
}

func points4(f0, f1, f2, f3 int32) (_, _, _, _ int32) {
	even, odd := f0+f2, f0-f2
	a := int32((int64(f1)*sqrt2Cos1x12 + int64(f3)*sqrt2Cos3x12) >> 12)
	c := int32((int64(f1)*sqrt2Cos3x12 - int64(f3)*sqrt2Cos1x12) >> 12)
	return even + a, odd + c, odd - c, even - a
}

func inverse2(dst []uint8, stride int, b *block) {
	mean := b[0] + 4<<reducedBits
	top, bottom := mean+b[8], mean-b[8]
	left, right := b[1]+b[9], b[1]-b[9]
	second := dst[stride:]
	dst[0], dst[1] = pixel((top+left)>>(reducedBits+3)), pixel((top-left)>>(reducedBits+3))
	second[0], second[1] = pixel((bottom+right)>>(reducedBits+3)), pixel((bottom-right)>>(reducedBits+3))
}
