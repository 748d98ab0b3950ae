package simd

const (
	// FloatLine is what a stride of float32 rows is a multiple of: a cache line.
	FloatLine = 16

	// callBytes bounds the rows of one call of a kernel, which is not preempted: some 10 µs from memory, and few
	// enough to stay in the second-level cache while further queries pass over them.
	callBytes = 128 << 10
)

// DotRows sets dst[i] to the dot product of q and row i, rows[i×stride : i×stride+len(q)], for each i < len(dst).
//
// q is float32[dim], dim ≤ stride, best a multiple of 16: what is beyond one is added by a plain loop. stride is a
// multiple of FloatLine, and rows holds at least len(dst) × stride; what lies between dim and stride is not read. The
// error bound is in doc.go; at one level a row's result has the same bits whatever rows are beside it. NaN and
// infinities propagate as in the plain sum. Nothing is retained and nothing is allocated. It panics if the lengths don't
// fit. Safe for concurrent use.
func DotRows(dst, q, rows []float32, stride int) {
	if stride%FloatLine != 0 || len(q) > stride || len(dst) > 0 && (stride <= 0 || len(rows)/stride < len(dst)) {
		panic("BUG: simd: DotRows: q, dst, rows and stride don't fit")
	}
	chunks := len(q) / FloatLine
	whole, tail := q[:chunks*FloatLine], q[chunks*FloatLine:]
	step := rowsPerCall(4 * stride)
	for i := 0; i < len(dst); i += step {
		d, r := dst[i:min(i+step, len(dst))], rows[i*stride:]
		if chunks > 0 {
			dotRows(1, d, whole, r, len(d), 0, stride, chunks)
		} else {
			clear(d)
		}
		for j := range tail {
			for k := range d {
				d[k] += float32(tail[j] * r[k*stride+len(whole)+j])
			}
		}
	}
}

// DotQueries sets dst[k×n+i] to the dot product of query k, qs[k×stride : (k+1)×stride], and row i,
// rows[i×stride : (i+1)×stride], where n is len(dst) over the number of queries, len(qs)/stride.
//
// Up to four queries share a pass over the rows: the last bits of a product may depend on how many do, though not
// on the rows beside it. Both are compared to the full stride, so both are padded with zeros. The rest as in DotRows.
func DotQueries(dst, qs, rows []float32, stride int) {
	if stride <= 0 || stride%FloatLine != 0 || len(qs)%stride != 0 {
		panic("BUG: simd: DotQueries: qs is not of whole strides")
	}
	queries := len(qs) / stride
	if queries == 0 {
		return
	}
	n := len(dst) / queries
	if n*queries != len(dst) || len(rows)/stride < n {
		panic("BUG: simd: DotQueries: dst and rows don't fit")
	}
	step := rowsPerCall(4 * stride)
	for i := 0; i < n; i += step {
		for k, count := 0, 0; k < queries; k += count {
			count = passWidth(queries-k, 4)
			dotRows(count, dst[k*n+i:], qs[k*stride:], rows[i*stride:], min(step, n-i), n, stride, stride/FloatLine)
		}
	}
}

// passWidth is the widest of the kernels, for 1, 2, 4, … most, that n fills.
func passWidth(n, most int) int {
	for most > n {
		most /= 2
	}
	return most
}

// rowsPerCall is a multiple of the four rows that a kernel takes at once.
func rowsPerCall(rowBytes int) int { return max(callBytes/max(rowBytes, 1), 4) &^ 3 }

func dotRowsGeneric(count int, dst, q, rows []float32, n, dstStride, stride, chunks int) {
	for k := range count {
		a := q[k*stride:][:chunks*FloatLine]
		for i := range n {
			dst[k*dstStride+i] = dotGeneric(a, rows[i*stride:][:len(a)])
		}
	}
}

// dotGeneric has four sums only because additions wait for each other.
func dotGeneric(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	for len(a) >= 4 && len(b) >= 4 {
		s0 += float32(a[0] * b[0])
		s1 += float32(a[1] * b[1])
		s2 += float32(a[2] * b[2])
		s3 += float32(a[3] * b[3])
		a, b = a[4:], b[4:]
	}
	return (s0 + s1) + (s2 + s3)
}
