package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// addrows writes vectors plus rows times coefficients: a product of matrices whose sums stay in registers while the rows
// pass, so that none goes across lanes. A sum adds the rows one by one whatever the block it is in.
//
// A block of AVX-512 is 8 vectors and 32 columns: the rows come from the second-level cache, since lines a power of two
// apart share few sets of the first, and 4 × 64 reads twice as much for as many sums. That took 3 to 7 % longer; 6 × 64
// and 8 × 48, with half as many sums again, within 2 % of this.
func addrows() {
	for _, s := range []struct {
		isa
		blocks []addBlock
	}{
		{avx512, []addBlock{{8, []int{2, 1}}, {4, []int{4, 1}}, {1, []int{8, 1}}}},
		{avx2, []addBlock{{6, []int{2}}, {2, []int{4, 2}}, {1, []int{8, 2}}}},
	} {
		function("addRows"+s.suffix, "func(dst, src, coefs, rows *float32, n, count, coefStride, stride int)",
			fmt.Sprintf("addRows%s sets n vectors of dst to those of src plus count rows, row j of vector k times", s.suffix),
			"coefs[k×coefStride+j]. Vectors and rows are stride floats long and apart. n ≥ 1, count ≥ 1. dst may be src.")
		k := addRows{isa: s.isa}
		k.load()
		for _, b := range s.blocks {
			k.loop(b)
		}
		VZEROUPPER()
		RET()
	}
}

// addBlock is how many vectors are taken at once, and how many registers of columns: the first while there are so
// many.
type addBlock struct {
	vectors int
	columns []int
}

type addRows struct {
	isa
	dst, src, coef, n, coefStride, coefStride3, stride reg.Register // strides in bytes; dst, src at the block's columns
	row, left                                          reg.Register // at the block's columns; bytes of them left
	cp, cp4, rp, j                                     reg.Register // cursors of one block; cp4 at its fifth vector
}

func (s *addRows) load() {
	s.dst, s.src, s.coef = Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("coefs"), GP64())
	s.n, s.coefStride, s.stride = Load(Param("n"), GP64()), Load(Param("coefStride"), GP64()), Load(Param("stride"), GP64())
	SHLQ(Imm(2), s.coefStride)
	SHLQ(Imm(2), s.stride)
	s.coefStride3 = GP64()
	LEAQ(Mem{Base: s.coefStride, Index: s.coefStride, Scale: 2}, s.coefStride3)
	s.row, s.left, s.cp, s.cp4, s.rp, s.j = GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
}

// loop takes a block's vectors at a time while there are so many.
func (s *addRows) loop(b addBlock) {
	label := fmt.Sprintf("vectors%d", b.vectors)
	Label(label)
	CMPQ(s.n, Imm(uint64(b.vectors)))
	JL(LabelRef(label + "_done"))
	Load(Param("rows"), s.row)
	MOVQ(s.stride, s.left)
	for _, columns := range b.columns {
		s.columns(fmt.Sprintf("%s_columns%d", label, columns), b.vectors, columns)
	}
	for range b.vectors - 1 { // the columns were a stride
		ADDQ(s.stride, s.dst)
		ADDQ(s.stride, s.src)
	}
	for range b.vectors {
		ADDQ(s.coefStride, s.coef)
	}
	SUBQ(Imm(uint64(b.vectors)), s.n)
	JMP(LabelRef(label))
	Label(label + "_done")
}

// columns takes so many registers of columns at a time while there are so many.
func (s *addRows) columns(label string, vectors, columns int) {
	bytes := columns * s.bytes
	Label(label)
	CMPQ(s.left, U32(uint64(bytes)))
	JL(LabelRef(label + "_done"))
	s.each(s.src, vectors, columns, func(m Mem, v reg.VecPhysical) { VMOVUPS(m, v) })
	MOVQ(s.coef, s.cp)
	if vectors > 4 {
		LEAQ(Mem{Base: s.cp, Index: s.coefStride, Scale: 4}, s.cp4)
	}
	MOVQ(s.row, s.rp)
	Load(Param("count"), s.j)
	Label(label + "_row")
	s.step(vectors, columns)
	ADDQ(s.stride, s.rp)
	ADDQ(Imm(4), s.cp)
	if vectors > 4 {
		ADDQ(Imm(4), s.cp4)
	}
	DECQ(s.j)
	JNZ(LabelRef(label + "_row"))
	s.each(s.dst, vectors, columns, func(m Mem, v reg.VecPhysical) { VMOVUPS(v, m) })
	for _, p := range []reg.Register{s.dst, s.src, s.row} {
		ADDQ(U32(uint64(bytes)), p)
	}
	SUBQ(U32(uint64(bytes)), s.left)
	JMP(LabelRef(label))
	Label(label + "_done")
}

// ahead is how many rows ahead a block asks for its columns: 1 to 4 % less time from the second-level cache.
const ahead = 4

// step adds one row to every vector of the block.
func (s *addRows) step(vectors, columns int) {
	for i := 0; i < columns*s.bytes; i += chunkBytes {
		PREFETCHT0(Mem{Base: s.rp, Index: s.stride, Scale: ahead, Disp: i})
	}
	rows, free := make([]Op, columns), s.v[vectors*columns:]
	for i := range rows {
		rows[i] = Mem{Base: s.rp, Disp: i * s.bytes}
		if vectors > 1 { // one load for all
			VMOVUPS(rows[i], free[i])
			rows[i] = free[i]
		}
	}
	if vectors > 1 {
		free = free[columns:]
	}
	for k := range vectors {
		VBROADCASTSS(s.coefficient(k), free[0]) // renaming makes one register as good as several
		for i, r := range rows {
			VFMADD231PS(r, free[0], s.v[k*columns+i])
		}
	}
}

// each addresses the columns of every vector, and their register.
func (s *addRows) each(base reg.Register, vectors, columns int, f func(Mem, reg.VecPhysical)) {
	MOVQ(base, s.rp)
	for k := range vectors {
		for i := range columns {
			f(Mem{Base: s.rp, Disp: i * s.bytes}, s.v[k*columns+i])
		}
		if k+1 < vectors {
			ADDQ(s.stride, s.rp)
		}
	}
}

// coefficient addresses that of the k-th of up to eight vectors.
func (s *addRows) coefficient(k int) Mem {
	m := Mem{Base: s.cp}
	if k >= 4 {
		m.Base = s.cp4
	}
	switch k % 4 {
	case 1, 2:
		m.Index, m.Scale = s.coefStride, uint8(k%4)
	case 3:
		m.Index, m.Scale = s.coefStride3, 1
	}
	return m
}
