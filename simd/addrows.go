package simd

// vectorsPerCall bounds the vectors of one call of AddRows: with as many rows as make 2 × callBytes, 1.5 Mi products,
// 18 µs with AVX-512 and 28 with AVX2. It is whole blocks of every kernel.
const vectorsPerCall = 24

// AddRows sets vector k of dst to vector k of src plus Σ_j coefs[k×count+j] × row j, for k < n = len(src)/stride and
// j < count, where vector k is [k×stride : (k+1)×stride] and row j is rows[j×stride : (j+1)×stride].
//
// It is the product of matrices that needs no sums across lanes: for a batch of x, Yᵀx is AddRows to zeros with x as
// coefs and Y as it is, a row for each dimension of x: less time than DotQueries with the columns of Y as rows.
//
// dst holds at least n × stride, and is src or does not overlap it; coefs holds n × count; rows at least count × stride;
// stride is a multiple of FloatLine, and padding is added as the rest is. The error bound is in doc.go; at one level a
// vector's result has the same bits whatever vectors are beside it. NaN and infinities propagate as in the plain sum.
// Nothing is retained and nothing is allocated. It panics if the lengths don't fit. Safe for concurrent use.
func AddRows(dst, src, coefs, rows []float32, count, stride int) {
	if stride <= 0 || stride%FloatLine != 0 || len(src)%stride != 0 || len(dst) < len(src) {
		panic("BUG: simd: AddRows: dst, src and stride don't fit")
	}
	n := len(src) / stride
	if count < 0 || len(rows)/stride < count || len(coefs) != n*count {
		panic("BUG: simd: AddRows: coefs and rows don't fit")
	}
	if n == 0 || count == 0 {
		copy(dst, src)
		return
	}
	step := 2 * rowsPerCall(4*stride)
	for j := 0; j < count; j += step {
		for k := 0; k < n; k += vectorsPerCall {
			addRows(dst[k*stride:], src[k*stride:], coefs[k*count+j:], rows[j*stride:], min(vectorsPerCall, n-k), min(step, count-j), count, stride)
		}
		src = dst // the sums go on from where the rows so far have left them
	}
}

func addRowsGeneric(dst, src, coefs, rows []float32, n, count, coefStride, stride int) {
	for k := range n {
		d := dst[k*stride:][:stride]
		copy(d, src[k*stride:][:stride])
		for j, c := range coefs[k*coefStride:][:count] {
			for i, x := range rows[j*stride:][:stride] {
				d[i] += float32(c * x)
			}
		}
	}
}
