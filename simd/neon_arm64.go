//go:build !purego

package simd

// dotRowsNEON sets dst[i] to the product of q and row i, rows being stride floats apart, over chunks × 16 floats. n ≥ 0,
// chunks ≥ 1.
//
//go:noescape
func dotRowsNEON(dst, q, rows *float32, n, stride, chunks int)

// addRowsNEON sets n vectors of dst to those of src plus count rows, row j of vector k times coefs[k×coefStride+j].
// Vectors and rows are stride floats long and apart. n ≥ 0, count ≥ 1. dst may be src.
//
//go:noescape
func addRowsNEON(dst, src, coefs, rows *float32, n, count, coefStride, stride int)

// dotInt8NEON does as dotRowsNEON for int8, over chunks × 64 elements; stride is in elements.
//
//go:noescape
func dotInt8NEON(dst *int32, q, rows *int8, n, stride, chunks int)

// gatherInt8NEON does so for the first n rows of list; listed ≥ n is its length, whose rows beyond are prefetched. n ≥ 1.
//
//go:noescape
func gatherInt8NEON(dst *int32, q, rows *int8, list *uint32, n, listed, stride, chunks int)

// dotInt8AtNEON sets dst[i] to the product of q and the row at rows[i], over chunks × 64 elements, for i < n. n ≥ 1,
// chunks ≥ 1.
//
//go:noescape
func dotInt8AtNEON(dst *int32, q *int8, rows **int8, n, chunks int)

// sketchNEON scans up to n blocks with count probes and returns after how many it stopped for want of room.
// bounds[p] is −(bound+1); row is the number of the first lane. n ≥ 1, and each out has room for a block.
//
//go:noescape
func sketchNEON(blocks *uint64, n, count, words, planes int, probes, bounds *uint64, row uint64, out *uint64) (done int)

// nibblesNEON scans up to n blocks of lines × 64 bytes with count probes and returns after how many it stopped for want of
// room. row is the number of the first lane. n ≥ 1, and each out has room for a block.
//
//go:noescape
func nibblesNEON(blocks *byte, n, count, lines int, tables, bounds *byte, row uint64, out *uint64) (done int)

// hadamardNEON sets dst to the transform of src × signs; n is a power of two, at least 16. dst may be src.
//
//go:noescape
func hadamardNEON(dst, src, signs *float32, n int)
