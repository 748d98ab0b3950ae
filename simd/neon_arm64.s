//go:build !purego

#include "textflag.h"

// What Go's assembler has no name for; d, n and m are register numbers.
#define FADD4S(m, n, d) WORD $(0x4e20d400 | (m)<<16 | (n)<<5 | (d)) // FADD Vd.4S, Vn.4S, Vm.4S
#define FSUB4S(m, n, d) WORD $(0x4ea0d400 | (m)<<16 | (n)<<5 | (d)) // FSUB Vd.4S, Vn.4S, Vm.4S
#define FMUL4S(m, n, d) WORD $(0x6e20dc00 | (m)<<16 | (n)<<5 | (d)) // FMUL Vd.4S, Vn.4S, Vm.4S
#define FADDP4S(m, n, d) WORD $(0x6e20d400 | (m)<<16 | (n)<<5 | (d)) // FADDP Vd.4S, Vn.4S, Vm.4S
#define SMULL8H(m, n, d) WORD $(0x0e20c000 | (m)<<16 | (n)<<5 | (d)) // SMULL Vd.8H, Vn.8B, Vm.8B
#define SMULL28H(m, n, d) WORD $(0x4e20c000 | (m)<<16 | (n)<<5 | (d)) // SMULL2 Vd.8H, Vn.16B, Vm.16B
#define SADALP4S(n, d) WORD $(0x4e606800 | (n)<<5 | (d)) // SADALP Vd.4S, Vn.8H
#define UADDLP8H(n, d) WORD $(0x6e202800 | (n)<<5 | (d)) // UADDLP Vd.8H, Vn.16B
#define UADDLP4S(n, d) WORD $(0x6e602800 | (n)<<5 | (d)) // UADDLP Vd.4S, Vn.8H
#define UADALP2D(n, d) WORD $(0x6ea06800 | (n)<<5 | (d)) // UADALP Vd.2D, Vn.4S
#define UQADD16B(m, n, d) WORD $(0x6e200c00 | (m)<<16 | (n)<<5 | (d)) // UQADD Vd.16B, Vn.16B, Vm.16B
#define CMHS16B(m, n, d) WORD $(0x6e203c00 | (m)<<16 | (n)<<5 | (d)) // CMHS Vd.16B, Vn.16B, Vm.16B: Vn ≥ Vm
#define SHRN8B4(n, d) WORD $(0x0f0c8400 | (n)<<5 | (d)) // SHRN Vd.8B, Vn.8H, #4

#define CLEAR8(a, b, c, d, e, f, g, h) \
	VEOR a.B16, a.B16, a.B16 \
	VEOR b.B16, b.B16, b.B16 \
	VEOR c.B16, c.B16, c.B16 \
	VEOR d.B16, d.B16, d.B16 \
	VEOR e.B16, e.B16, e.B16 \
	VEOR f.B16, f.B16, f.B16 \
	VEOR g.B16, g.B16, g.B16 \
	VEOR h.B16, h.B16, h.B16

// ROW16 adds the products of 16 floats of the row at r, and of the query in V0-V3, to the two sums a and b.
#define ROW16(r, a, b) \
	VLD1.P 64(r), [V4.S4, V5.S4, V6.S4, V7.S4] \
	VFMLA V4.S4, V0.S4, a.S4 \
	VFMLA V5.S4, V1.S4, b.S4 \
	VFMLA V6.S4, V2.S4, a.S4 \
	VFMLA V7.S4, V3.S4, b.S4

// func dotRowsNEON(dst, q, rows *float32, n, stride, chunks int)
TEXT ·dotRowsNEON(SB), NOSPLIT, $0-48
	MOVD dst+0(FP), R0
	MOVD q+8(FP), R1
	MOVD rows+16(FP), R2
	MOVD n+24(FP), R3
	MOVD stride+32(FP), R4
	MOVD chunks+40(FP), R5
	LSL  $2, R4, R4

block: // four rows: each vector of the query is loaded once for all
	CMP  $4, R3
	BLT  row
	CLEAR8(V16, V17, V18, V19, V20, V21, V22, V23)
	MOVD R1, R6
	MOVD R5, R7
	MOVD R2, R8
	ADD  R4, R8, R9
	ADD  R4, R9, R10
	ADD  R4, R10, R11
	ADD  R4, R11, R2

blockChunk:
	VLD1.P 64(R6), [V0.S4, V1.S4, V2.S4, V3.S4]
	ROW16(R8, V16, V17)
	ROW16(R9, V18, V19)
	ROW16(R10, V20, V21)
	ROW16(R11, V22, V23)
	SUBS   $1, R7, R7
	BNE    blockChunk
	FADD4S(17, 16, 16)
	FADD4S(19, 18, 18)
	FADD4S(21, 20, 20)
	FADD4S(23, 22, 22)
	FADDP4S(18, 16, 16)
	FADDP4S(22, 20, 20)
	FADDP4S(20, 16, 16)
	VST1.P [V16.S4], 16(R0)
	SUB    $4, R3, R3
	B      block

row:
	CBZ  R3, rowDone
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16
	MOVD R1, R6
	MOVD R5, R7
	MOVD R2, R8
	ADD  R4, R2, R2

rowChunk:
	VLD1.P  64(R6), [V0.S4, V1.S4, V2.S4, V3.S4]
	ROW16(R8, V16, V17)
	SUBS    $1, R7, R7
	BNE     rowChunk
	FADD4S(17, 16, 16)
	FADDP4S(16, 16, 16)
	FADDP4S(16, 16, 16)
	FMOVS.P F16, 4(R0)
	SUB     $1, R3, R3
	B       row

rowDone:
	RET

// ADD16 adds 16 floats of a row, in V0-V3, times the coefficient c to the sums a, b, d and e.
#define ADD16(c, a, b, d, e) \
	VFMLA V0.S4, c.S4, a.S4 \
	VFMLA V1.S4, c.S4, b.S4 \
	VFMLA V2.S4, c.S4, d.S4 \
	VFMLA V3.S4, c.S4, e.S4

// func addRowsNEON(dst, src, coefs, rows *float32, n, count, coefStride, stride int)
//
// R8 is the rows, R0 dst and R1 src at the block's 16 columns, of which R9 bytes are left.
TEXT ·addRowsNEON(SB), NOSPLIT, $0-64
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD coefs+16(FP), R2
	MOVD rows+24(FP), R3
	MOVD n+32(FP), R4
	MOVD count+40(FP), R5
	MOVD coefStride+48(FP), R6
	MOVD stride+56(FP), R7
	LSL  $2, R6, R6
	LSL  $2, R7, R7

block: // four vectors
	CMP  $4, R4
	BLT  vector
	MOVD R3, R8
	MOVD R7, R9

blockColumns:
	MOVD R1, R10
	VLD1 (R10), [V16.S4, V17.S4, V18.S4, V19.S4]
	ADD  R7, R10, R10
	VLD1 (R10), [V20.S4, V21.S4, V22.S4, V23.S4]
	ADD  R7, R10, R10
	VLD1 (R10), [V24.S4, V25.S4, V26.S4, V27.S4]
	ADD  R7, R10, R10
	VLD1 (R10), [V28.S4, V29.S4, V30.S4, V31.S4]
	MOVD R2, R11
	ADD  R6, R11, R12
	ADD  R6, R12, R13
	ADD  R6, R13, R14
	MOVD R8, R15
	MOVD R5, R16

blockRow:
	VLD1    (R15), [V0.S4, V1.S4, V2.S4, V3.S4]
	ADD     R7, R15, R15
	VLD1R.P 4(R11), [V4.S4]
	VLD1R.P 4(R12), [V5.S4]
	VLD1R.P 4(R13), [V6.S4]
	VLD1R.P 4(R14), [V7.S4]
	ADD16(V4, V16, V17, V18, V19)
	ADD16(V5, V20, V21, V22, V23)
	ADD16(V6, V24, V25, V26, V27)
	ADD16(V7, V28, V29, V30, V31)
	SUBS    $1, R16, R16
	BNE     blockRow
	MOVD R0, R10
	VST1 [V16.S4, V17.S4, V18.S4, V19.S4], (R10)
	ADD  R7, R10, R10
	VST1 [V20.S4, V21.S4, V22.S4, V23.S4], (R10)
	ADD  R7, R10, R10
	VST1 [V24.S4, V25.S4, V26.S4, V27.S4], (R10)
	ADD  R7, R10, R10
	VST1 [V28.S4, V29.S4, V30.S4, V31.S4], (R10)
	ADD  $64, R0, R0
	ADD  $64, R1, R1
	ADD  $64, R8, R8
	SUBS $64, R9, R9
	BNE  blockColumns
	ADD  R7<<1, R7, R9 // the columns were a stride
	ADD  R9, R0, R0
	ADD  R9, R1, R1
	ADD  R6<<2, R2, R2
	SUB  $4, R4, R4
	B    block

vector:
	CBZ  R4, vectorDone
	MOVD R3, R8
	MOVD R7, R9

vectorColumns:
	VLD1 (R1), [V16.S4, V17.S4, V18.S4, V19.S4]
	MOVD R2, R11
	MOVD R8, R15
	MOVD R5, R16

vectorRow:
	VLD1    (R15), [V0.S4, V1.S4, V2.S4, V3.S4]
	ADD     R7, R15, R15
	VLD1R.P 4(R11), [V4.S4]
	ADD16(V4, V16, V17, V18, V19)
	SUBS    $1, R16, R16
	BNE     vectorRow
	VST1.P [V16.S4, V17.S4, V18.S4, V19.S4], 64(R0)
	ADD    $64, R1, R1
	ADD    $64, R8, R8
	SUBS   $64, R9, R9
	BNE    vectorColumns
	ADD    R6, R2, R2
	SUB    $1, R4, R4
	B      vector

vectorDone:
	RET

// BYTES16 adds the products of 16 bytes of x and y to the sums a: each product fits 16 bits, two of them 32.
#define BYTES16(x, y, a) \
	SMULL8H(x, y, 24) \
	SMULL28H(x, y, 25) \
	SADALP4S(24, a) \
	SADALP4S(25, a)

// ROW64 does so for 64 bytes of the row at r and the query in V0-V3.
#define ROW64(r, a) \
	VLD1.P 64(r), [V4.B16, V5.B16, V6.B16, V7.B16] \
	BYTES16(4, 0, a) \
	BYTES16(5, 1, a) \
	BYTES16(6, 2, a) \
	BYTES16(7, 3, a)

// func dotInt8NEON(dst *int32, q, rows *int8, n, stride, chunks int)
TEXT ·dotInt8NEON(SB), NOSPLIT, $0-48
	MOVD dst+0(FP), R0
	MOVD q+8(FP), R1
	MOVD rows+16(FP), R2
	MOVD n+24(FP), R3
	MOVD stride+32(FP), R4
	MOVD chunks+40(FP), R5

block:
	CMP  $4, R3
	BLT  row
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16
	VEOR V18.B16, V18.B16, V18.B16
	VEOR V19.B16, V19.B16, V19.B16
	MOVD R1, R6
	MOVD R5, R7
	MOVD R2, R8
	ADD  R4, R8, R9
	ADD  R4, R9, R10
	ADD  R4, R10, R11
	ADD  R4, R11, R2

blockChunk:
	VLD1.P 64(R6), [V0.B16, V1.B16, V2.B16, V3.B16]
	ROW64(R8, 16)
	ROW64(R9, 17)
	ROW64(R10, 18)
	ROW64(R11, 19)
	SUBS   $1, R7, R7
	BNE    blockChunk
	VADDP  V17.S4, V16.S4, V16.S4
	VADDP  V19.S4, V18.S4, V18.S4
	VADDP  V18.S4, V16.S4, V16.S4
	VST1.P [V16.S4], 16(R0)
	SUB    $4, R3, R3
	B      block

row:
	CBZ  R3, rowDone
	VEOR V16.B16, V16.B16, V16.B16
	MOVD R1, R6
	MOVD R5, R7
	MOVD R2, R8
	ADD  R4, R2, R2

rowChunk:
	VLD1.P  64(R6), [V0.B16, V1.B16, V2.B16, V3.B16]
	ROW64(R8, 16)
	SUBS    $1, R7, R7
	BNE     rowChunk
	VADDP   V16.S4, V16.S4, V16.S4
	VADDP   V16.S4, V16.S4, V16.S4
	FMOVS.P F16, 4(R0)
	SUB     $1, R3, R3
	B       row

rowDone:
	RET

// LISTED sets r to the row of the list's entry at so many bytes.
#define LISTED(at, r) \
	MOVWU at(R12), r \
	MUL   R4, r, r \
	ADD   R2, r, r

// func gatherInt8NEON(dst *int32, q, rows *int8, list *uint32, n, listed, stride, chunks int)
//
// It asks for rows 16 ahead, as asm/gather.go does; on arm64 nobody has measured it.
TEXT ·gatherInt8NEON(SB), NOSPLIT, $0-64
	MOVD dst+0(FP), R0
	MOVD q+8(FP), R1
	MOVD rows+16(FP), R2
	MOVD list+24(FP), R12
	MOVD n+32(FP), R3
	MOVD listed+40(FP), R13
	MOVD stride+48(FP), R4
	MOVD chunks+56(FP), R5
	ADD  R13<<2, R12, R13
	SUB  $80, R13, R13 // the last from which there are four to ask for

block:
	CMP $4, R3
	BLT row
	CMP R13, R12
	BHI near
	LISTED(64, R8)
	LISTED(68, R9)
	LISTED(72, R10)
	LISTED(76, R11)
	MOVD R5, R7

ask:
	PRFM (R8), PLDL1KEEP
	PRFM (R9), PLDL1KEEP
	PRFM (R10), PLDL1KEEP
	PRFM (R11), PLDL1KEEP
	ADD  $64, R8, R8
	ADD  $64, R9, R9
	ADD  $64, R10, R10
	ADD  $64, R11, R11
	SUBS $1, R7, R7
	BNE  ask

near:
	LISTED(0, R8)
	LISTED(4, R9)
	LISTED(8, R10)
	LISTED(12, R11)
	ADD  $16, R12, R12
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16
	VEOR V18.B16, V18.B16, V18.B16
	VEOR V19.B16, V19.B16, V19.B16
	MOVD R1, R6
	MOVD R5, R7

blockChunk:
	VLD1.P 64(R6), [V0.B16, V1.B16, V2.B16, V3.B16]
	ROW64(R8, 16)
	ROW64(R9, 17)
	ROW64(R10, 18)
	ROW64(R11, 19)
	SUBS   $1, R7, R7
	BNE    blockChunk
	VADDP  V17.S4, V16.S4, V16.S4
	VADDP  V19.S4, V18.S4, V18.S4
	VADDP  V18.S4, V16.S4, V16.S4
	VST1.P [V16.S4], 16(R0)
	SUB    $4, R3, R3
	B      block

row:
	CBZ  R3, rowDone
	LISTED(0, R8)
	ADD  $4, R12, R12
	VEOR V16.B16, V16.B16, V16.B16
	MOVD R1, R6
	MOVD R5, R7

rowChunk:
	VLD1.P  64(R6), [V0.B16, V1.B16, V2.B16, V3.B16]
	ROW64(R8, 16)
	SUBS    $1, R7, R7
	BNE     rowChunk
	VADDP   V16.S4, V16.S4, V16.S4
	VADDP   V16.S4, V16.S4, V16.S4
	FMOVS.P F16, 4(R0)
	SUB     $1, R3, R3
	B       row

rowDone:
	RET

// func dotInt8AtNEON(dst *int32, q *int8, rows **int8, n, chunks int)
//
// It asks for all rows but the first four before it multiplies, much as asm/gather.go does; on arm64 nobody has measured
// it.
TEXT ·dotInt8AtNEON(SB), NOSPLIT, $0-40
	MOVD dst+0(FP), R0
	MOVD q+8(FP), R1
	MOVD rows+16(FP), R12
	MOVD n+24(FP), R3
	MOVD chunks+32(FP), R5
	ADD  $32, R12, R13
	ADD  R3<<3, R12, R14

askRow:
	CMP    R14, R13
	BHS    block
	MOVD.P 8(R13), R8
	MOVD   R5, R7

ask:
	PRFM (R8), PLDL2KEEP
	ADD  $64, R8, R8
	SUBS $1, R7, R7
	BNE  ask
	B    askRow

block:
	CMP    $4, R3
	BLT    row
	MOVD.P 8(R12), R8
	MOVD.P 8(R12), R9
	MOVD.P 8(R12), R10
	MOVD.P 8(R12), R11
	VEOR   V16.B16, V16.B16, V16.B16
	VEOR   V17.B16, V17.B16, V17.B16
	VEOR   V18.B16, V18.B16, V18.B16
	VEOR   V19.B16, V19.B16, V19.B16
	MOVD   R1, R6
	MOVD   R5, R7

blockChunk:
	VLD1.P 64(R6), [V0.B16, V1.B16, V2.B16, V3.B16]
	ROW64(R8, 16)
	ROW64(R9, 17)
	ROW64(R10, 18)
	ROW64(R11, 19)
	SUBS   $1, R7, R7
	BNE    blockChunk
	VADDP  V17.S4, V16.S4, V16.S4
	VADDP  V19.S4, V18.S4, V18.S4
	VADDP  V18.S4, V16.S4, V16.S4
	VST1.P [V16.S4], 16(R0)
	SUB    $4, R3, R3
	B      block

row:
	CBZ    R3, rowDone
	MOVD.P 8(R12), R8
	VEOR   V16.B16, V16.B16, V16.B16
	MOVD   R1, R6
	MOVD   R5, R7

rowChunk:
	VLD1.P  64(R6), [V0.B16, V1.B16, V2.B16, V3.B16]
	ROW64(R8, 16)
	SUBS    $1, R7, R7
	BNE     rowChunk
	VADDP   V16.S4, V16.S4, V16.S4
	VADDP   V16.S4, V16.S4, V16.S4
	FMOVS.P F16, 4(R0)
	SUB     $1, R3, R3
	B       row

rowDone:
	RET

// COUNT adds the ones of code XOR probe (V24) to the bytes of a.
#define COUNT(code, a) \
	VEOR V24.B16, code.B16, code.B16 \
	VCNT code.B16, code.B16 \
	VADD code.B16, a.B16, a.B16

// FLUSH adds the bytes of each half of a to that half of s.
#define FLUSH(a, s) \
	UADDLP8H(a, a) \
	UADDLP4S(a, a) \
	UADALP2D(a, s)

// func sketchNEON(blocks *uint64, n, count, words, planes int, probes, bounds *uint64, row uint64, out *uint64) (done int)
//
// R0 block, R1 blocks left, R2 probes, R3 words, R4 first row, R5 lists, R6 bytes between a probe's words; R7 the probe,
// R8 the byte offset of 16 lanes, whose distances come to V16-V23. As in asm/sketch.go, but probe by probe: the block is
// in the first-level cache after the first.
TEXT ·sketchNEON(SB), NOSPLIT, $128-80
	MOVD blocks+0(FP), R0
	MOVD n+8(FP), R1
	MOVD count+16(FP), R2
	MOVD words+24(FP), R3
	MOVD row+56(FP), R4
	MOVD out+64(FP), R5
	LSL  $3, R2, R6

block:
	MOVD $0, R7

probe:
	MOVD $0, R8

group:
	CLEAR8(V16, V17, V18, V19, V20, V21, V22, V23)
	MOVD planes+32(FP), R9
	MOVD probes+40(FP), R10
	ADD  R7<<3, R10, R10
	B    firstPlane

plane:
	VADD V16.D2, V16.D2, V16.D2
	VADD V17.D2, V17.D2, V17.D2
	VADD V18.D2, V18.D2, V18.D2
	VADD V19.D2, V19.D2, V19.D2
	VADD V20.D2, V20.D2, V20.D2
	VADD V21.D2, V21.D2, V21.D2
	VADD V22.D2, V22.D2, V22.D2
	VADD V23.D2, V23.D2, V23.D2

firstPlane:
	ADD  R0, R8, R11
	MOVD R3, R12

run: // of words whose counts, 8 a byte each at most, fit a byte
	MOVD $31, R13
	CMP  R12, R13
	CSEL LT, R13, R12, R13
	SUB  R13, R12, R12
	CLEAR8(V8, V9, V10, V11, V12, V13, V14, V15)

word:
	VLD1R (R10), [V24.D2]
	ADD   $64, R11, R14
	VLD1  (R11), [V0.B16, V1.B16, V2.B16, V3.B16]
	VLD1  (R14), [V4.B16, V5.B16, V6.B16, V7.B16]
	COUNT(V0, V8)
	COUNT(V1, V9)
	COUNT(V2, V10)
	COUNT(V3, V11)
	COUNT(V4, V12)
	COUNT(V5, V13)
	COUNT(V6, V14)
	COUNT(V7, V15)
	ADD   $512, R11, R11
	ADD   R6, R10, R10
	SUBS  $1, R13, R13
	BNE   word
	FLUSH(8, 16)
	FLUSH(9, 17)
	FLUSH(10, 18)
	FLUSH(11, 19)
	FLUSH(12, 20)
	FLUSH(13, 21)
	FLUSH(14, 22)
	FLUSH(15, 23)
	CBNZ  R12, run
	SUBS  $1, R9, R9
	BNE   plane

	// Survivors are negative once −(bound+1) is added.
	MOVD  bounds+48(FP), R11
	ADD   R7<<3, R11, R11
	VLD1R (R11), [V24.D2]
	VADD  V24.D2, V16.D2, V0.D2
	VADD  V24.D2, V17.D2, V1.D2
	VADD  V24.D2, V18.D2, V2.D2
	VADD  V24.D2, V19.D2, V3.D2
	VADD  V24.D2, V20.D2, V4.D2
	VADD  V24.D2, V21.D2, V5.D2
	VADD  V24.D2, V22.D2, V6.D2
	VADD  V24.D2, V23.D2, V7.D2
	VORR  V1.B16, V0.B16, V0.B16
	VORR  V3.B16, V2.B16, V2.B16
	VORR  V5.B16, V4.B16, V4.B16
	VORR  V7.B16, V6.B16, V6.B16
	VORR  V2.B16, V0.B16, V0.B16
	VORR  V6.B16, V4.B16, V4.B16
	VORR  V4.B16, V0.B16, V0.B16
	VMOV  V0.D[0], R12
	VMOV  V0.D[1], R13
	ORR   R12, R13, R13
	TBZ   $63, R13, none

	MOVD $values-128(SP), R14
	MOVD R14, R15
	VST1.P [V16.D2, V17.D2, V18.D2, V19.D2], 64(R15)
	VST1   [V20.D2, V21.D2, V22.D2, V23.D2], (R15)
	MOVD   (R11), R16               // −(bound+1)
	ADD    R7<<5, R5, R17           // this probe's list
	MOVD   0(R17), R19              // rows
	MOVD   8(R17), R20              // values
	MOVD   16(R17), R21             // n
	ADD    R8>>3, R4, R22           // row
	MOVD   $16, R23

lane:
	MOVD.P 8(R14), R12
	ADD    R16, R12, R13
	TBZ    $63, R13, next
	MOVW   R22, (R19)(R21<<2)
	MOVW   R12, (R20)(R21<<2)
	ADD    $1, R21, R21

next:
	ADD  $1, R22, R22
	SUBS $1, R23, R23
	BNE  lane
	MOVD R21, 16(R17)

none:
	ADD  $128, R8, R8
	CMP  $512, R8
	BLT  group
	ADD  $1, R7, R7
	CMP  R2, R7
	BLT  probe
	ADD  R3<<9, R0, R0
	ADD  $64, R4, R4
	SUBS $1, R1, R1
	BEQ  stop
	MOVD R5, R7
	MOVD R2, R8

room: // a list with n > room can't take a block
	MOVD 16(R7), R12
	MOVD 24(R7), R13
	CMP  R13, R12
	BGT  stop
	ADD  $32, R7, R7
	SUBS $1, R8, R8
	BNE  room
	B    block

stop:
	MOVD n+8(FP), R12
	SUB  R1, R12, R12
	MOVD R12, done+72(FP)
	RET

// LOOKUP16 adds what 16 bytes of code cost to the sums of number s: x has them, y is scratch, and both are given by name
// and number. The tables of the low and the high nibbles are V4 and V5.
#define LOOKUP16(x, xn, y, yn, s) \
	VUSHR $4, x.B16, y.B16 \
	VAND  V31.B16, x.B16, x.B16 \
	VTBL  x.B16, [V4.B16], x.B16 \
	VTBL  y.B16, [V5.B16], y.B16 \
	UQADD16B(xn, s, s) \
	UQADD16B(yn, s, s)

// func nibblesNEON(blocks *byte, n, count, lines int, tables, bounds *byte, row uint64, out *uint64) (done int)
//
// R0 block, R1 blocks left, R2 probes, R3 lines, R4 first row, R5 lists, R6 bytes between a probe's tables; R7 the probe,
// whose distances come to V16-V19. Probe by probe: the block is in the first-level cache after the first.
TEXT ·nibblesNEON(SB), NOSPLIT, $96-72
	MOVD  blocks+0(FP), R0
	MOVD  n+8(FP), R1
	MOVD  count+16(FP), R2
	MOVD  lines+24(FP), R3
	MOVD  row+48(FP), R4
	MOVD  out+56(FP), R5
	LSL   $5, R2, R6
	VMOVI $15, V31.B16

block:
	MOVD $0, R7

probe:
	MOVD R0, R8
	MOVD tables+32(FP), R9
	ADD  R7<<5, R9, R9
	MOVD R3, R10
	VEOR V16.B16, V16.B16, V16.B16
	VEOR V17.B16, V17.B16, V17.B16
	VEOR V18.B16, V18.B16, V18.B16
	VEOR V19.B16, V19.B16, V19.B16

line:
	VLD1.P 64(R8), [V0.B16, V1.B16, V2.B16, V3.B16]
	VLD1   (R9), [V4.B16, V5.B16]
	ADD    R6, R9, R9
	LOOKUP16(V0, 0, V8, 8, 16)
	LOOKUP16(V1, 1, V9, 9, 17)
	LOOKUP16(V2, 2, V10, 10, 18)
	LOOKUP16(V3, 3, V11, 11, 19)
	SUBS   $1, R10, R10
	BNE    line

	MOVD  bounds+40(FP), R11
	ADD   R7, R11, R11
	VLD1R (R11), [V24.B16]
	CMHS16B(16, 24, 0)
	CMHS16B(17, 24, 1)
	CMHS16B(18, 24, 2)
	CMHS16B(19, 24, 3)
	VORR  V1.B16, V0.B16, V4.B16
	VORR  V3.B16, V2.B16, V5.B16
	VORR  V5.B16, V4.B16, V4.B16
	VMOV  V4.D[0], R12
	VMOV  V4.D[1], R13
	ORR   R12, R13, R13
	CBZ   R13, none

	// Four bits a lane.
	SHRN8B4(0, 0)
	SHRN8B4(1, 1)
	SHRN8B4(2, 2)
	SHRN8B4(3, 3)
	MOVD $values-64(SP), R14
	MOVD $masks-96(SP), R15
	VST1 [V16.B16, V17.B16, V18.B16, V19.B16], (R14)
	VST1 [V0.B8, V1.B8, V2.B8, V3.B8], (R15)
	ADD  R7<<5, R5, R17 // this probe's list
	MOVD 0(R17), R19    // rows
	MOVD 8(R17), R20    // values
	MOVD 16(R17), R21   // n
	MOVD R4, R22        // row
	MOVD $4, R23

quarter:
	MOVD.P 8(R15), R12
	AND    $0x1111111111111111, R12, R12
	CBZ    R12, next

lane:
	RBIT  R12, R13
	CLZ   R13, R13
	LSR   $2, R13, R13
	SUB   $1, R12, R16
	AND   R16, R12, R12
	MOVBU (R14)(R13), R16
	MOVW  R16, (R20)(R21<<2)
	ADD   R22, R13, R16
	MOVW  R16, (R19)(R21<<2)
	ADD   $1, R21, R21
	CBNZ  R12, lane

next:
	ADD  $16, R14, R14
	ADD  $16, R22, R22
	SUBS $1, R23, R23
	BNE  quarter
	MOVD R21, 16(R17)

none:
	ADD  $1, R7, R7
	CMP  R2, R7
	BLT  probe
	ADD  R3<<6, R0, R0
	ADD  $64, R4, R4
	SUBS $1, R1, R1
	BEQ  stop
	MOVD R5, R7
	MOVD R2, R8

room: // a list with n > room can't take a block
	MOVD 16(R7), R12
	MOVD 24(R7), R13
	CMP  R13, R12
	BGT  stop
	ADD  $32, R7, R7
	SUBS $1, R8, R8
	BNE  room
	B    block

stop:
	MOVD n+8(FP), R12
	SUB  R1, R12, R12
	MOVD R12, done+64(FP)
	RET

// BUTTERFLY sets registers a and b to their sum and difference, through t; vb and vt are their names.
#define BUTTERFLY(a, b, t, vb, vt) \
	FSUB4S(b, a, t) \
	FADD4S(b, a, a) \
	VORR vt.B16, vt.B16, vb.B16

// func hadamardNEON(dst, src, signs *float32, n int)
TEXT ·hadamardNEON(SB), NOSPLIT, $0-32
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD signs+16(FP), R2
	MOVD n+24(FP), R3
	LSL  $2, R3, R3
	ADD  R0, R3, R4 // end
	MOVD R0, R5

tile: // every fourth float in one register: the stages 1 and 2 are between registers
	VLD4.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD4.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]
	FMUL4S(4, 0, 0)
	FMUL4S(5, 1, 1)
	FMUL4S(6, 2, 2)
	FMUL4S(7, 3, 3)
	BUTTERFLY(0, 1, 16, V1, V16)
	BUTTERFLY(2, 3, 17, V3, V17)
	BUTTERFLY(0, 2, 16, V2, V16)
	BUTTERFLY(1, 3, 17, V3, V17)
	VST4.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R5)
	CMP    R4, R5
	BLT    tile

	MOVD $16, R6 // bytes between the members of a butterfly

stage:
	CMP  R3, R6
	BGE  stop
	MOVD R0, R7

run:
	ADD R6, R7, R8
	MOVD R8, R9

pair:
	VLD1   (R7), [V0.S4]
	VLD1   (R8), [V1.S4]
	FADD4S(1, 0, 2)
	FSUB4S(1, 0, 3)
	VST1.P [V2.S4], 16(R7)
	VST1.P [V3.S4], 16(R8)
	CMP    R9, R7
	BLT    pair
	MOVD   R8, R7
	CMP    R4, R7
	BLT    run
	LSL    $1, R6, R6
	B      stage

stop:
	RET
