package simd

// ReplaceSamples adds row to sums and takes old away. It panics if lengths differ. Allocates nothing.
func ReplaceSamples(sums []uint32, old, row []uint8) {
	if len(old) != len(sums) || len(row) != len(sums) {
		panic("BUG: simd: ReplaceSamples: sums, old and row differ in length")
	}
	n := replaceSamples(sums, old, row)
	replaceSamplesGeneric(sums[n:], old[n:], row[n:])
}

func replaceSamplesGeneric(sums []uint32, old, row []uint8) {
	old, row = old[:len(sums)], row[:len(sums)]
	for i := range sums {
		sums[i] += uint32(row[i]) - uint32(old[i])
	}
}

// BoxMeans sets dst, uint8[n][3], to the means of boxes q wide and high: pixel x is the sum of q pixels from x on of sums,
// uint32[n+q−1][3], divided by q² and rounded, halves up. It panics if the lengths don't fit. Allocates nothing.
//
// REQUIRES: sums are of q bytes each.
func BoxMeans(dst []uint8, sums []uint32, q int) {
	if q < 1 || len(dst)%3 != 0 || len(sums) != len(dst)+3*(q-1) {
		panic("BUG: simd: BoxMeans: dst, sums and q don't fit")
	}
	if !boxMeans(dst, sums, q) {
		boxMeansGeneric(dst, sums, q)
	}
}

func boxMeansGeneric(dst []uint8, sums []uint32, q int) {
	area := uint32(q * q)
	half, reciprocal := area/2, (1<<40+uint64(area)-1)/uint64(area) // exact for sums below 2⁴⁰ / area
	var r, g, b uint32
	for i := range q - 1 {
		p := sums[3*i:][:3]
		r, g, b = r+p[0], g+p[1], b+p[2]
	}
	old, new := sums[:len(dst)], sums[3*(q-1):][:len(dst)]
	for i := 0; i+2 < len(dst); i += 3 {
		r, g, b = r+new[i], g+new[i+1], b+new[i+2]
		dst[i] = uint8(uint64(r+half) * reciprocal >> 40)
		dst[i+1] = uint8(uint64(g+half) * reciprocal >> 40)
		dst[i+2] = uint8(uint64(b+half) * reciprocal >> 40)
		r, g, b = r-old[i], g-old[i+1], b-old[i+2]
	}
}
