package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// int16s writes one query × rows of int16; chunks are 32 elements. VPMADDWD adds the products of two neighbours, and sums
// wrap.
//
// Rows are read one after the other, and four are reduced at a time. Four rows side by side, as dotInt8 has them, read
// the query a quarter as often, but memory in four places. Over 102 MB of rows of 512, on an EPYC of the fourth
// generation, ms of processor time: four side by side 14.1; as it is 8.2, in huge pages 3.9, where reading alone takes
// 6.6 without; asking for memory 1, 4 or 8 KiB ahead 9.9, 8.6 and 7.2, in huge pages 5.5, 5.0 and 5.0.
func int16s() {
	name := "dotInt16AVX2"
	function(name, "func(dst *int32, q, rows *int16, n, stride, chunks int)",
		name+" sets dst[i] to the product of q and row i over chunks × 32 elements, modulo 2^32; rows are stride apart.",
		"n ≥ 1, chunks ≥ 1.")
	d := dotInt8{isa: avx2}
	d.load()
	SHLQ(Imm(1), d.stride) // to bytes
	for _, rows := range []int{4, 1} {
		label := map[int]string{4: "block", 1: "row"}[rows]
		Label(label)
		CMPQ(d.n, Imm(uint64(rows)))
		JL(LabelRef(label + "_done"))
		d.rowsInt16(label, rows)
		d.reduce(rows)
		ADDQ(Imm(uint64(4*rows)), d.dst)
		SUBQ(Imm(uint64(rows)), d.n)
		JMP(LabelRef(label))
		Label(label + "_done")
	}
	VZEROUPPER()
	RET()
}

// rowsInt16 leaves the sums of rows in as many registers, and the first row behind them in row.
func (d *dotInt8) rowsInt16(label string, rows int) {
	q, tmp, second := d.v[8:10], d.v[10:12], d.v[12]
	for r := range rows {
		VPXOR(d.v[r], d.v[r], d.v[r])
		VPXOR(second, second, second)
		MOVQ(d.q, d.qp)
		MOVQ(d.row, d.rp)
		MOVQ(d.chunks, d.c)
		inner := label + "_" + string(rune('a'+r))
		Label(inner)
		for i := range q {
			VMOVDQU(Mem{Base: d.qp, Disp: 32 * i}, q[i])
			VPMADDWD(Mem{Base: d.rp, Disp: 32 * i}, q[i], tmp[i])
		}
		VPADDD(tmp[0], d.v[r], d.v[r])
		VPADDD(tmp[1], second, second)
		ADDQ(Imm(64), d.qp)
		ADDQ(Imm(64), d.rp)
		DECQ(d.c)
		JNZ(LabelRef(inner))
		VPADDD(second, d.v[r], d.v[r])
		ADDQ(d.stride, d.row)
	}
}
