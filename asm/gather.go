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
	for _, chunks := range []int{0, 3, 8} {
		scatter(avx512, chunks)
	}
	scatter(avx2, 0)
}

// gather writes a kernel for rows of so many chunks of 64 elements, or of any number if it is 0.
func gather(s isa, chunks int) {
	name, what := kernel("gatherInt8", s, chunks)
	function(name, "func(dst *int32, q, rows *int8, list *uint32, n, listed, stride, chunks int)",
		fmt.Sprintf("%s sets dst[i] to the product of q and row list[i] over %s; rows are stride apart.", name, what),
		"listed ≥ n is the length of the list, whose rows beyond the n-th are prefetched. n ≥ 1, chunks ≥ 1.")
	g := newGather(s, chunks)
	g.dst, g.q, g.row = Load(Param("dst"), GP64()), Load(Param("q"), GP64()), Load(Param("rows"), GP64())
	g.n, g.stride, g.list = Load(Param("n"), GP64()), Load(Param("stride"), GP64()), Load(Param("list"), GP64())
	g.query()
	g.last = Load(Param("listed"), GP64())
	LEAQ(Mem{Base: g.list, Index: g.last, Scale: 4, Disp: -4 * (gatherAhead + 4)}, g.last)
	g.rows("block", 4)
	g.rows("row", 1)
	VZEROUPPER()
	RET()
}

// scatter writes a kernel for rows at addresses, which asks for rows before it multiplies any: no list is long enough to
// ask on the way. Up to the first that it asks for, its loads are what asks.
//
// Which one that is, the caller says (askFrom in simd). Random rows of 4 GiB, lists that each wait for the result of the one
// before (Xeon, family 6, model 167), ns a row of 192 and of 512 bytes in lists of 8, 12, 16 and 32:
//
//	VNNI, asked for none    89 78 68 61   126 123 119 112
//	VNNI, all               91 83 69 51   119 106 101  97
//	VNNI, from number 4     69 66 55 53    99 111 110  99
//	VNNI, from number 8     86 57 52 53   128  97 110  98
//	AVX2, asked for none   102 99 91 86   182 185 188 196
//	AVX2, all               88 74 66 55   127 120 116 110
//	AVX2, from number 4     86 82 68 60   153 138 133 116
//
// Where the list is written just before the call, VNNI has for lists of 8, 12 and 16 without 84 82 75 and 133 122 119, and
// with the best of the above 77 60 61 and 109 107 110.
//
// In huge pages all is 0.7 to 0.9 of that, in the same order. In the second-level cache, where asking is in vain, VNNI has
// 4.0 3.3 2.8 2.2 and 6.0 5.2 4.7 4.3 without, and 4.3 3.4 3.0 2.7 and 6.8 5.7 6.8 6.3 with what is best above.
//
// Lost, lists of 16 and 32 rows of 512 bytes, of which the best are 101 and 97: PREFETCHT0, which waits for the same few
// buffers as loads, 117 and 109; PREFETCHNTA 122 and 115; asked for on the way, 8 ahead 115 and 108, 16 ahead with
// PREFETCHT1 106 and 97. Row by row, not the first lines of all and then the others, 109 and 93; but where the loop over
// the chunks isn't unrolled row by row won, 110 and 95 instead of 114 and 104. In smaller areas: only the first line of
// each row, 87 and 83 instead of 75 and 66; every other line, 93 and 88; eight rows at a time, the same within 5 %.
// Against the kernel for any number of chunks those of 3 and 8 take 0.77 to 0.99 and 0.86 to 1.07 of the time (1.07 for 64
// rows of 512 bytes), in the second-level cache 0.9 to 1.
func scatter(s isa, chunks int) {
	name, what := kernel("dotInt8At", s, chunks)
	function(name, "func(dst *int32, q *int8, rows **int8, n, from, chunks int)",
		fmt.Sprintf("%s sets dst[i] to the product of q and the row at rows[i] over %s, for i < n.", name, what),
		"Rows are prefetched from number from on. n ≥ 1, from ≥ 0, chunks ≥ 1.")
	g := newGather(s, chunks)
	g.at = true
	g.dst, g.q, g.list = Load(Param("dst"), GP64()), Load(Param("q"), GP64()), Load(Param("rows"), GP64())
	g.n = Load(Param("n"), GP64())
	g.query()
	g.askAll()
	g.rows("block", 4)
	g.rows("row", 1)
	VZEROUPPER()
	RET()
}

// kernel is a kernel's name, and over how much of a row it goes.
func kernel(base string, s isa, chunks int) (name, what string) {
	name = base + map[int]string{64: "VNNI", 32: "AVX2"}[s.bytes]
	if chunks > 0 {
		return fmt.Sprintf("%sx%d", name, chunks), fmt.Sprintf("%d × 64 elements", chunks)
	}
	return name, "chunks × 64 elements"
}

func newGather(s isa, chunks int) gatherInt8 {
	return gatherInt8{dotInt8: dotInt8{isa: s}, fixed: chunks, size: GP64(), offset: GP64(), found: []reg.GPVirtual{GP64(), GP64(), GP64(), GP64()}}
}

type gatherInt8 struct {
	dotInt8
	fixed        int          // chunks, if not 0
	at           bool         // the list is of addresses, not of numbers
	list, last   reg.Register // the next entries; the last from which there are some to ask for
	size, offset reg.GPVirtual
	found        []reg.GPVirtual // rows
}

// query loads what is needed of the query, and the size of a row.
func (g *gatherInt8) query() {
	g.chunks = Load(Param("chunks"), g.size)
	if g.bytes == 64 {
		g.c, g.qp = g.offset, g.found[0]
		g.correction()
	}
	SHLQ(Imm(6), g.size)
	for i := range g.fixed {
		VMOVDQU64(Mem{Base: g.q, Disp: 64 * i}, g.v[16+i])
	}
}

// askAll asks for the rows of the list from number from on; if they are of fixed size, for all first lines first.
func (g *gatherInt8) askAll() {
	from, end := GP64(), GP64()
	Load(Param("from"), from)
	LEAQ(Mem{Base: g.list, Index: from, Scale: 8}, from)
	LEAQ(Mem{Base: g.list, Index: g.n, Scale: 8}, end)
	each := func(label string, ask func(row reg.Register)) {
		next := GP64()
		MOVQ(from, next)
		Label(label)
		CMPQ(next, end)
		JAE(LabelRef(label + "_done"))
		MOVQ(Mem{Base: next}, g.found[0])
		ask(g.found[0])
		ADDQ(Imm(8), next)
		JMP(LabelRef(label))
		Label(label + "_done")
	}
	if g.fixed == 0 {
		each("ask", func(row reg.Register) {
			g.each("ask_chunk", func(offset int, index reg.Register) { PREFETCHT1(at(row, offset, index)) })
		})
		return
	}
	each("ask_first", func(row reg.Register) { PREFETCHT1(Mem{Base: row}) })
	each("ask", func(row reg.Register) {
		for i := 1; i < g.fixed; i++ {
			PREFETCHT1(Mem{Base: row, Disp: 64 * i})
		}
	})
}

// find sets the first n of found to the rows at so many entries on.
func (g *gatherInt8) find(n, ahead int) {
	for r := range n {
		if g.at {
			MOVQ(Mem{Base: g.list, Disp: 8 * (ahead + r)}, g.found[r])
			continue
		}
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
	if n == 4 && !g.at {
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
	entry := 4
	if g.at {
		entry = 8
	}
	ADDQ(Imm(uint64(entry*n)), g.list)
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
