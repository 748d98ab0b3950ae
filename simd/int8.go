package simd

const (
	// ByteLine is what a stride of int8 rows is a multiple of: a cache line.
	ByteLine = 64
	// MaxInt8Dim bounds the length of an int8 query, so that no sum overflows.
	MaxInt8Dim = 1 << 16
)

// DotInt8Rows sets dst[i] to the dot product of q and row i, rows[i×stride : i×stride+len(q)], for each i < len(dst),
// exactly.
//
// len(q) ≤ stride and MaxInt8Dim, best a multiple of 64: what is beyond one is added by a plain loop. stride is a
// multiple of ByteLine, and rows holds at least len(dst) × stride. Nothing is retained and nothing is allocated. It
// panics if the lengths don't fit. Safe for concurrent use.
func DotInt8Rows(dst []int32, q, rows []int8, stride int) {
	if stride%ByteLine != 0 || len(q) > min(stride, MaxInt8Dim) || len(dst) > 0 && (stride <= 0 || len(rows)/stride < len(dst)) {
		panic("BUG: simd: DotInt8Rows: q, dst, rows and stride don't fit")
	}
	chunks := len(q) / ByteLine
	whole, tail := q[:chunks*ByteLine], q[chunks*ByteLine:]
	step := rowsPerCall(stride)
	for i := 0; i < len(dst); i += step {
		d, r := dst[i:min(i+step, len(dst))], rows[i*stride:]
		if chunks > 0 {
			dotInt8(d, whole, r, len(d), stride, chunks)
		} else {
			clear(d)
		}
		for k := range d {
			for j, x := range tail {
				d[k] += int32(x) * int32(r[k*stride+len(whole)+j])
			}
		}
	}
}

func dotInt8Generic(dst []int32, q, rows []int8, n, stride, chunks int) {
	q = q[:chunks*ByteLine]
	for i := range n {
		sum := int32(0)
		for j, x := range rows[i*stride:][:len(q)] {
			sum += int32(x) * int32(q[j])
		}
		dst[i] = sum
	}
}
