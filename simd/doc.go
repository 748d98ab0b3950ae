// Package simd holds the kernels that searches are made of: dot products of float32, int8 and int16 vectors,
// distances of 1-bit and 4-bit codes, and what turns a vector into them; and those that turn photos into what models read.
//
// It promises:
//
//	S1  Every level gives the same integers: int8 and int16 products, distances, survivors and their order, quantised values, sign
//	    bits, and the same bits for a Rotation and for pixels. Float sums differ between levels within the bounds below;
//	    at one level a row's product does not depend on the rows beside it, and what AddRows makes of a vector not on
//	    the vectors.
//	S2  Nothing is retained and nothing allocated, but by NewRotation, NewNormaliser and RowScaler's Reset. Only
//	    ScanSketch and ScanNibbles make their lists escape to the heap.
//	S3  Lengths are checked by the Go wrappers, which panic with "BUG: simd: …": they come from our own code. The assembly
//	    trusts them, never reads or writes past them (tests end every slice at an unreadable page) and prefetches only.
//	S4  A call into assembly, which is not preempted, takes some tens of µs: the wrappers split what is longer.
//	S5  All functions but Use are safe for concurrent use.
//
// It refuses to know of rows that are dead, galleries, thresholds as scores, or files.
//
// # Layouts
//
// Rows are flat with a stride, in elements, that is a multiple of a cache line (FloatLine, ByteLine) and zero padded.
// Codes lie in blocks of 64, word by word, so that a lane is a template and no distance needs a sum across lanes:
//
//	            lane 0    lane 1    …    lane 63
//	block 0   ┌─────────┬─────────┬───┬─────────┐
//	  word 0  │ w×64+0  │ w×64+1  │ … │ w×64+63 │   512 bytes: 8 registers of AVX-512, 16 of AVX2, 32 of NEON
//	  word 1  │         │         │   │         │
//	  …       │         │         │   │         │   16 B codes: 2 words, blocks of 1 KiB
//	  word W-1│         │         │   │         │   64 B codes: 8 words, blocks of 4 KiB
//	block 1   ├─────────┼─────────┼───┼─────────┤
//	            row 64    row 65         row 127     counted from firstRow
//
// Codes of nibbles lie in blocks of 64 as well, byte by byte, two positions a byte:
//
//	            lane 0    lane 1    …    lane 63
//	block 0   ┌─────────┬─────────┬───┬─────────┐
//	  byte 0  │  1 │  0 │  1 │  0 │ … │  1 │  0 │   64 bytes: one register of AVX-512, 2 of AVX2, 4 of NEON; the low
//	  byte 1  │  3 │  2 │  3 │  2 │ … │  3 │  2 │   nibble, on the right, has the even position
//	  …       │         │         │   │         │   32 nibbles: 16 B codes, blocks of 1 KiB
//	block 1   ├─────────┼─────────┼───┼─────────┤
//	            row 64    row 65         row 127     counted from firstRow
//
// # Distances and inner products
//
// Let s be the signs ±1 of a code of dim bits (the rest of its last word clear, in probes as well).
//
//   - One plane, the signs t of a probe: ScanSketch gives Hamming's distance H, and ⟨t, s⟩ = dim − 2H.
//   - Four planes from QuantizeProbe4, u in [0, 15], the probe v ≈ v̂ = scale × (u − 7.5): the distance is
//     X = Σ_j 2^j popcount(plane_j XOR code) = Σu + 15·ones − 2·Σ{u : bit set}, and ⟨v̂, s⟩ = scale × (7.5·dim − X).
//
// So ⟨v̂, s⟩ ≥ t if and only if X ≤ 7.5·dim − t/scale: one bound a probe decides in the kernel. The form of RaBitQ
// (arXiv:2405.12497, section 3.3) has AND for XOR and a quantiser from minimum to maximum, from which the inner product
// follows only with the ones of each code, a row's own number, so no single bound could decide. A rotated probe is
// symmetric around zero; the symmetric quantiser costs it little. The rounding is to the nearest, not random.
//
// ScanNibbles adds what a probe's tables say of each position: a number from 0 to 255 for each of 16 codes there. The sum
// saturates, so 255 says "255 or more" and no bound may be 255. Where the tables are quantised products with the
// centroids of a product quantiser (arXiv:1704.07355), scale them so that the distances of interest stay below.
//
// # Error bounds
//
// Dot products, n = len(q), any level, no overflow: |result − exact| ≤ γ(n+8) Σ|aᵢbᵢ| + (n+8)·2⁻¹⁵⁰, where γ(k) =
// k·2⁻²⁴/(1 − k·2⁻²⁴). Each term passes through one rounding of its product, or none where that is fused, and at most
// n+7 of sums, whatever their order (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); the second
// term is what rounding costs below the normal range. For unit vectors Σ|aᵢbᵢ| ≤ 1: 3.1e-5 at n = 512.
//
// AddRows, of count rows: |result − exact| ≤ γ(count+1) (|src| + Σ|cⱼxⱼ|) + count·2⁻¹⁴⁹. The rows are added in their order
// with one rounding each where the product is fused with the sum, two where it is not; the second term is what count
// products below the normal range lose, at most doubled by the roundings after.
//
// Rotate: three rounds of log₂n additions, each relatively within 2⁻²⁴, and a scale; see its comment. One rotation is
// not uniformly random: three rounds are what is usual, and the tests check that no direction keeps more than 8/√n.
//
// # Levels
//
//	level    amd64 needs                        families
//	avx512   AVX512F, AVX2, FMA3                f32, hadamard, sum; int8 with AVX512VNNI; sketch with AVX512VPOPCNTDQ, POPCNT;
//	                                            nibbles with AVX512BW, BMI1, those of 16 bytes better with AVX512VBMI;
//	                                            pixels' RowScaler with all of these, their others as avx2
//	avx2     AVX2, FMA3                         all; the only level of int16, of what is done once a vector (prepare.go)
//	                                            and of pixels (resample.go, blur.go, bilinear.go, colour.go,
//	                                            idct.go)
//	neon     –, always there on arm64           f32, int8, sketch, nibbles, hadamard; the rest generic
//	generic  –                                  all; the only one with the tag purego
//
// A family whose own feature is missing runs one level lower. Every generated file says what it requires, and no kernel
// here needs AVX512DQ or VL. The generic code is the specification and is what tests compare with.
//
// # What was tried and lost
//
//   - No prefetch (asm/sketch.go has the numbers): eight probes a pass ran at 0.6 of what they do.
//   - Carry-save adders (Harley-Seal) before VPOPCNTQ: on paper 32 operations instead of 23 for 8 words on a machine that
//     has VPOPCNTQ, and no fewer for 4 planes: not built. For AVX2 63 against 64: not built either.
//   - A compare for each probe and group of lanes: starting the test from −(bound+1) and OR-ing the signs of all takes
//     one compare and branch for up to 16 registers.
//   - ScanSketch unrolled for 2 and for 8 words, ns a comparison in the second-level cache with 1, 2, 4 and 8 probes: one
//     plane 0.161, 0.136, 0.134, 0.132 instead of 0.158, 0.137, 0.137, 0.135 and 0.527, 0.462, 0.432, 0.432 instead of
//     0.549, 0.454, 0.449, 0.435; with four planes 1 to 7 % less. A median of 2 % for 5 400 further lines of assembly.
//   - DotRows unrolled for 128, 256 and 512 floats, of which up to 256 stayed in registers: 0.96, 0.97 and 1.04 of the time
//     of the loop in the second-level cache, which reads 150 GB/s there; four queries 1.05, 1.02 and 1.00.
//   - DotQueries of 64 queries and 192 rows of 512 floats without prefetch, and so with only 8 rows a call, which stay in
//     the first-level cache: 0.95 and 0.92 of the time. AddRows over the same numbers transposed: 0.81 to 0.85.
//   - A gather without prefetch, with other distances and hints, or with a kernel for rows of 128 bytes: asm/gather.go,
//     which has as well when DotInt8At had better not ask for a row.
//   - VPCOMPRESSD for the survivors of ScanNibbles, several of them a turn of the loop, loops in place of the unrolled
//     kernels, VPSHUFB where there is VPERMB: asm/nibbles.go has the numbers.
//   - VPCOMPRESS to memory, slow on some machines: registers are compressed, and stores overlap.
//   - Func variables for dispatch: slices of the caller escape.
package simd
