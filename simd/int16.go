package simd

// shortChunk is how many int16 a kernel takes at once: a cache line.
const shortChunk = 32

// DotInt16Rows sets dst[i] to the dot product of q and row i, rows[i×stride : i×stride+len(q)], modulo 2^32, for each
// i < len(dst). Its low half is the product of the same bits as unsigned numbers, modulo 2^16: a ring that shares of
// vectors live in.
//
// len(q) ≤ stride, best a multiple of 32: what is beyond one is added by a plain loop. rows holds at least len(dst) ×
// stride. Nothing is retained and nothing is allocated. It panics if the lengths don't fit. Safe for concurrent use.
func DotInt16Rows(dst []int32, q, rows []int16, stride int) {
	if len(q) > stride || len(dst) > 0 && (stride <= 0 || len(rows)/stride < len(dst)) {
		panic("BUG: simd: DotInt16Rows: q, dst, rows and stride don't fit")
	}
	chunks := len(q) / shortChunk
	whole, tail := q[:chunks*shortChunk], q[chunks*shortChunk:]
	step := rowsPerCall(2 * stride)
	for i := 0; i < len(dst); i += step {
		d, r := dst[i:min(i+step, len(dst))], rows[i*stride:]
		if chunks > 0 {
			dotInt16(d, whole, r, len(d), stride, chunks)
		} else {
			clear(d)
		}
		if len(tail) == 0 {
			continue
		}
		for k := range d {
			d[k] += productInt16Generic(tail, r[k*stride+len(whole):])
		}
	}
}

func dotInt16Generic(dst []int32, q, rows []int16, n, stride, chunks int) {
	for i := range n {
		dst[i] = productInt16Generic(q[:chunks*shortChunk], rows[i*stride:])
	}
}

func productInt16Generic(q, row []int16) (sum int32) {
	for j, x := range row[:len(q)] {
		sum += int32(x) * int32(q[j])
	}
	return sum
}
