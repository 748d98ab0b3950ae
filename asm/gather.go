package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gatherAhead is for how many rows ahead a gather asks. One row in a hundred of 640 MiB in ascending order (Xeon, family 6,
// model 167), ns a row of 128 and of 512 bytes, asking for none, 4, 8, 16, 32 and 64 ahead: VNNI 28, 24, 25, 24, 24, 25
// and 74, 73, 68, 65, 68, 74; AVX2 53, 31, 29, 26, 26, 27 and 141, 93, 94, 94, 98, 99. Row by row: 120 and 155. Asked for
// with PREFETCHT1 21 and 77, with PREFETCHNTA 23 and 102.
const gatherAhead = 16

// gathers writes one query × listed rows of int8, four rows at a time, with the arithmetic of int8s. Rows of 512 bytes have
// a kernel of their own, with the query in registers: 65 ns instead of 70. Those of 128 gained nothing by one.
func gathers() {
	gather(avx512, 0)
	gather(avx512, 8)
	gather(avx2, 0)
}

// gather writes a kernel for rows of so many chunks of 64 elements, or of any number if it is 0.
func gather(s isa, chunks int) {
	name, what := map[int]string{64: "gatherInt8VNNI", 32: "gatherInt8AVX2"}[s.bytes], "chunks × 64 elements"
	if chunks > 0 {
		name, what = fmt.Sprintf("%sx%d", name, chunks), fmt.Sprintf("%d × 64 elements", chunks)
	}
	function(name, "func(dst *int32, q, rows *int8, list *uint32, n, listed, stride, chunks int)",
		fmt.Sprintf("%s sets dst[i] to the product of q and row list[i] over %s; rows are stride apart.", name, what),
		"listed ≥ n is the length of the list, whose rows beyond the n-th are prefetched. n ≥ 1, chunks ≥ 1.")
	g := gatherInt8{dotInt8: dotInt8{isa: s}, fixed: chunks, size: GP64(), offset: GP64(), found: []reg.GPVirtual{GP64(), GP64(), GP64(), GP64()}}
	g.dst, g.q, g.row = Load(Param("dst"), GP64()), Load(Param("q"), GP64()), Load(Param("rows"), GP64())
	g.n, g.stride, g.list = Load(Param("n"), GP64()), Load(Param("stride"), GP64()), Load(Param("list"), GP64())
	g.chunks = Load(Param("chunks"), g.size)
	if s.bytes == 64 {
		g.c, g.qp = g.offset, g.found[0]
		g.correction()
	}
	g.last = Load(Param("listed"), GP64())
	LEAQ(Mem{Base: g.list, Index: g.last, Scale: 4, Disp: -4 * (gatherAhead + 4)}, g.last)
	SHLQ(Imm(6), g.size)
	for i := range chunks {
		VMOVDQU64(Mem{Base: g.q, Disp: 64 * i}, g.v[16+i])
	}
	g.rows("block", 4)
	g.rows("row", 1)
	VZEROUPPER()
	RET()
}

type gatherInt8 struct {
	dotInt8
	fixed        int          // chunks, if not 0
	list, last   reg.Register // the next entries; the last from which there are some to ask for
	size, offset reg.GPVirtual
	found        []reg.GPVirtual // rows
}

// find sets the first n of found to the rows at so many entries on.
func (g *gatherInt8) find(n, ahead int) {
	for r := range n {
		MOVL(Mem{Base: g.list, Disp: 4 * (ahead + r)}, g.found[r].As32())
		IMULQ(g.stride, g.found[r])
		ADDQ(g.row, g.found[r])
	}
}

// each does a step for each chunk.
func (g *gatherInt8) each(label string, step func(offset int, index reg.Register)) {
	if g.fixed > 0 {
		for i := range g.fixed {
			step(64*i, nil)
		}
		return
	}
	XORL(g.offset.As32(), g.offset.As32())
	Label(label)
	step(0, g.offset)
	ADDQ(Imm(64), g.offset)
	CMPQ(g.offset, g.size)
	JB(LabelRef(label))
}

func at(base reg.Register, offset int, index reg.Register) Mem {
	m := Mem{Base: base, Disp: offset}
	if index != nil {
		m.Index, m.Scale = index, 1
	}
	return m
}

func (g *gatherInt8) rows(label string, n int) {
	Label(label)
	CMPQ(g.n, Imm(uint64(n)))
	JL(LabelRef(label + "_done"))
	if n == 4 {
		CMPQ(g.list, g.last)
		JA(LabelRef(label + "_near"))
		g.find(n, gatherAhead)
		g.each(label+"_prefetch", func(offset int, index reg.Register) {
			for r := range n {
				PREFETCHT0(at(g.found[r], offset, index))
			}
		})
		Label(label + "_near")
	}
	g.find(n, 0)
	for r := range n {
		if g.bytes == 64 {
			VMOVDQA64(g.v[8], g.v[r])
		} else {
			VPXOR(g.v[r], g.v[r], g.v[r])
		}
	}
	g.each(label+"_chunk", func(offset int, index reg.Register) { g.multiply(n, offset, index) })
	g.reduce(n)
	ADDQ(Imm(uint64(4*n)), g.list)
	ADDQ(Imm(uint64(4*n)), g.dst)
	SUBQ(Imm(uint64(n)), g.n)
	JMP(LabelRef(label))
	Label(label + "_done")
}

// multiply adds the products of a chunk of n rows.
func (g *gatherInt8) multiply(n, offset int, index reg.Register) {
	if g.bytes == 32 {
		q, tmp := g.v[8], g.v[9]
		for i := range 4 {
			VPMOVSXBW(at(g.q, offset+16*i, index), q)
			for r := range n {
				VPMOVSXBW(at(g.found[r], offset+16*i, index), tmp)
				VPMADDWD(tmp, q, tmp)
				VPADDD(tmp, g.v[r], g.v[r])
			}
		}
		return
	}
	q, signs := g.v[10], g.v[9]
	if g.fixed > 0 {
		q = g.v[16+offset/64]
	} else {
		VMOVDQU64(at(g.q, offset, index), q)
	}
	for r := range n {
		tmp := g.v[11+r]
		VPXORD(at(g.found[r], offset, index), signs, tmp)
		VPDPBUSD(q, tmp, g.v[r])
	}
}
