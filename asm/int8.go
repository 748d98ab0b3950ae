package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// int8s writes one query × rows of int8, four rows at a time; chunks are 64 elements.
//
// VPDPBUSD multiplies unsigned by signed bytes: a row is made unsigned by flipping its sign bits, which adds 128 to
// each element, and the sums start at −128 Σq, computed once a call by the same instruction. It doesn't saturate.
// AVX2 widens both to 16 bits for VPMADDWD, whose sums of two products fit 32 bits: exact as well.
func int8s() {
	for _, s := range []isa{avx512, avx2} {
		name := map[int]string{64: "dotInt8VNNI", 32: "dotInt8AVX2"}[s.bytes]
		function(name, "func(dst *int32, q, rows *int8, n, stride, chunks int)",
			fmt.Sprintf("%s sets dst[i] to the product of q and row i over chunks × 64 elements; rows are stride apart.", name),
			"n ≥ 1, chunks ≥ 1.")
		d := dotInt8{isa: s}
		d.load()
		LEAQ(Mem{Base: d.stride, Index: d.stride, Scale: 2}, d.stride3)
		if s.bytes == 64 {
			d.correction()
		}
		d.loop("block", 4)
		d.loop("row", 1)
		VZEROUPPER()
		RET()
	}
}

type dotInt8 struct {
	isa
	dst, q, row, n, stride, stride3, chunks reg.Register
	qp, rp, c                               reg.Register
}

func (d *dotInt8) load() {
	d.dst, d.q, d.row = Load(Param("dst"), GP64()), Load(Param("q"), GP64()), Load(Param("rows"), GP64())
	d.n, d.stride, d.chunks = Load(Param("n"), GP64()), Load(Param("stride"), GP64()), Load(Param("chunks"), GP64())
	d.stride3, d.qp, d.rp, d.c = GP64(), GP64(), GP64(), GP64()
}

// correction leaves −128 Σq in register 8, spread over its lanes, and the sign bits in 9.
func (d *dotInt8) correction() {
	sum, signs := d.v[7], d.v[9]
	VPBROADCASTD(table("signBits", 0x8080808080808080, 0), signs)
	VPXORD(sum, sum, sum)
	MOVQ(d.q, d.qp)
	MOVQ(d.chunks, d.c)
	Label("correction")
	VPDPBUSD(Mem{Base: d.qp}, signs, sum)
	ADDQ(Imm(64), d.qp)
	DECQ(d.c)
	JNZ(LabelRef("correction"))
	VPXORD(d.v[8], d.v[8], d.v[8])
	VPSUBD(sum, d.v[8], d.v[8])
}

func (d *dotInt8) loop(label string, rows int) {
	Label(label)
	CMPQ(d.n, Imm(uint64(rows)))
	JL(LabelRef(label + "_done"))
	for r := range rows {
		if d.bytes == 64 {
			VMOVDQA64(d.v[8], d.v[r])
		} else {
			VPXOR(d.v[r], d.v[r], d.v[r])
		}
	}
	MOVQ(d.q, d.qp)
	MOVQ(d.row, d.rp)
	MOVQ(d.chunks, d.c)
	Label(label + "_chunk")
	if d.bytes == 64 {
		d.stepVNNI(rows)
	} else {
		d.stepAVX2(rows)
	}
	ADDQ(Imm(64), d.qp)
	ADDQ(Imm(64), d.rp)
	DECQ(d.c)
	JNZ(LabelRef(label + "_chunk"))
	d.reduce(rows)
	for range rows {
		ADDQ(d.stride, d.row)
	}
	ADDQ(Imm(uint64(4*rows)), d.dst)
	SUBQ(Imm(uint64(rows)), d.n)
	JMP(LabelRef(label))
	Label(label + "_done")
}

func (d *dotInt8) stepVNNI(rows int) {
	q, signs := d.v[10], d.v[9]
	VMOVDQU64(Mem{Base: d.qp}, q)
	for r := range rows {
		tmp := d.v[11+r]
		VPXORD(d.at(r, 0), signs, tmp)
		VPDPBUSD(q, tmp, d.v[r])
	}
}

func (d *dotInt8) stepAVX2(rows int) {
	q, tmp := d.v[8], d.v[9]
	for i := range 4 {
		VPMOVSXBW(Mem{Base: d.qp, Disp: 16 * i}, q)
		for r := range rows {
			VPMOVSXBW(d.at(r, 16*i), tmp)
			VPMADDWD(tmp, q, tmp)
			VPADDD(tmp, d.v[r], d.v[r])
		}
	}
}

func (d *dotInt8) at(i, offset int) Mem {
	m := Mem{Base: d.rp, Disp: offset}
	switch i {
	case 1, 2:
		m.Index, m.Scale = d.stride, uint8(i)
	case 3:
		m.Index, m.Scale = d.stride3, 1
	}
	return m
}

// reduce sums the lanes of each row's register and stores the block's results.
func (d *dotInt8) reduce(rows int) {
	y := avx2.v[:rows]
	if d.bytes == 64 {
		for r := range rows {
			VEXTRACTI64X4(Imm(1), d.v[r], d.v[31].AsY())
			VPADDD(d.v[31], d.v[r], d.v[r])
		}
	}
	spare := avx2.v[7]
	VPHADDD(y[1%rows], y[0], y[0])
	if rows == 4 {
		VPHADDD(y[3], y[2], y[2])
		VPHADDD(y[2], y[0], y[0])
	} else {
		VPHADDD(y[0], y[0], y[0])
	}
	VEXTRACTI128(Imm(1), y[0], spare.AsX())
	VPADDD(spare.AsX(), y[0].AsX(), y[0].AsX())
	if rows == 4 {
		VMOVDQU(y[0].AsX(), Mem{Base: d.dst})
	} else {
		VMOVD(y[0].AsX(), Mem{Base: d.dst})
	}
}
