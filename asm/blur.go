package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// blur writes what a box blur is made of.
func blur() {
	replaceSamples()
	boxMeans()
}

func replaceSamples() {
	function("replaceSamplesAVX2", "func(sums *uint32, old, row *uint8, n int)",
		"replaceSamplesAVX2 adds row − old to n sums, a multiple of 8.")
	sums, old, row, n := Load(Param("sums"), GP64()), Load(Param("old"), GP64()), Load(Param("row"), GP64()), Load(Param("n"), GP64())
	x, y := avx2.v[0], avx2.v[1]
	over(n, 8, func() {
		VPMOVZXBD(Mem{Base: row}, x)
		VPMOVZXBD(Mem{Base: old}, y)
		VPSUBD(y, x, x)
		VPADDD(Mem{Base: sums}, x, x)
		VMOVDQU(x, Mem{Base: sums})
	}, cursor{sums, 32}, cursor{old, 8}, cursor{row, 8})
	VZEROUPPER()
	RET()
}

// boxMeans divides floats: of integers below 2²⁴ the quotient, rounded, never reaches the next integer.
func boxMeans() {
	function("boxMeansAVX2", "func(dst *uint8, sums *uint32, n, q int)",
		"boxMeansAVX2 sets n bytes, a multiple of 32, to the sums of q pixels and q²/2, divided by q². 1 ≤ q ≤ 256.")
	dst, sums, n, q := Load(Param("dst"), GP64()), Load(Param("sums"), GP64()), Load(Param("n"), GP64()), Load(Param("q"), GP64())
	x, half, area, order := avx2.v[:4], avx2.v[4], avx2.v[5], avx2.v[6]
	at, left, square := GP64(), GP64(), GP64()
	MOVQ(q, square)
	IMULQ(q, square)
	VMOVQ(square, area.AsX())
	VPBROADCASTD(area.AsX(), area)
	VPSRLD(Imm(1), area, half)
	VCVTDQ2PS(area, area)
	VMOVDQU(packOrder(), order)
	over(n, 32, func() {
		for _, v := range x {
			VMOVDQA(half, v)
		}
		MOVQ(sums, at)
		MOVQ(q, left)
		Label("column")
		for i, v := range x {
			VPADDD(Mem{Base: at, Disp: 32 * i}, v, v)
		}
		ADDQ(Imm(12), at)
		DECQ(left)
		JNZ(LabelRef("column"))
		for _, v := range x {
			VCVTDQ2PS(v, v)
			VDIVPS(area, v, v)
			VCVTTPS2DQ(v, v)
		}
		packBytes(x, order)
		VMOVDQU(x[0], Mem{Base: dst})
	}, cursor{dst, 32}, cursor{sums, 128})
	VZEROUPPER()
	RET()
}
