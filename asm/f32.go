package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// chunkBytes is 16 floats: strides are whole chunks, so no loop here has a tail.
const chunkBytes = 64

// f32 writes queries × rows dot products. A block of rows is compared at once: each vector of a query is loaded once
// for all of them and the sums are independent, which hides the latency of the FMA. AVX2 has half the registers,
// hence the smaller block for four queries.
func f32() {
	for _, s := range []struct {
		isa
		queries, rows, sums int // sums: partial sums of one dot product
	}{{avx512, 1, 4, 2}, {avx512, 2, 4, 1}, {avx512, 4, 4, 1}, {avx2, 1, 4, 2}, {avx2, 2, 4, 1}, {avx2, 4, 2, 1}} {
		d := dotRows{isa: s.isa, queries: s.queries, sums: s.sums}
		function(fmt.Sprintf("dotRows%d%s", s.queries, s.suffix),
			"func(dst, q, rows *float32, n, dstStride, stride, chunks int)",
			fmt.Sprintf("dotRows%d%s sets dst[k×dstStride+i] to the product of query k and row i: %d queries, n rows, both", s.queries, s.suffix, s.queries),
			"stride floats apart, of which the first chunks × 16 are compared. n ≥ 1, chunks ≥ 1.")
		d.load()
		d.loop("block", s.rows)
		d.loop("row", 1)
		VZEROUPPER()
		RET()
	}
}

type dotRows struct {
	isa
	queries, sums int
	rows          int // of the block being written

	dst, q, row, n, dstStride, stride, stride3, chunks reg.Register // strides in bytes
	qp, rp, c                                          reg.Register // cursors of one block
}

func (d *dotRows) load() {
	d.dst, d.q, d.row = Load(Param("dst"), GP64()), Load(Param("q"), GP64()), Load(Param("rows"), GP64())
	d.n, d.chunks = Load(Param("n"), GP64()), Load(Param("chunks"), GP64())
	d.dstStride, d.stride = Load(Param("dstStride"), GP64()), Load(Param("stride"), GP64())
	SHLQ(Imm(2), d.dstStride)
	SHLQ(Imm(2), d.stride)
	d.stride3 = GP64()
	LEAQ(Mem{Base: d.stride, Index: d.stride, Scale: 2}, d.stride3)
	d.qp, d.rp, d.c = GP64(), GP64(), GP64()
}

// loop compares rows rows at a time while there are so many.
func (d *dotRows) loop(label string, rows int) {
	d.rows = rows
	Label(label)
	CMPQ(d.n, Imm(uint64(rows)))
	JL(LabelRef(label + "_done"))
	for i := range d.queries * rows * d.sums {
		VXORPS(d.v[i].AsX(), d.v[i].AsX(), d.v[i].AsX()) // clears the whole register
	}
	MOVQ(d.q, d.qp)
	MOVQ(d.row, d.rp)
	MOVQ(d.chunks, d.c)
	d.products(label)
	d.reduce()
	for range rows {
		ADDQ(d.stride, d.row)
	}
	ADDQ(Imm(uint64(4*rows)), d.dst)
	SUBQ(Imm(uint64(rows)), d.n)
	JMP(LabelRef(label))
	Label(label + "_done")
}

// products runs over the chunks; with two partial sums and vectors of a whole chunk, over pairs of chunks.
func (d *dotRows) products(label string) {
	vectors := chunkBytes / d.bytes
	if vectors < d.sums {
		Label(label + "_pair")
		CMPQ(d.c, Imm(2))
		JL(LabelRef(label + "_odd"))
		d.step(0, 0)
		d.step(chunkBytes, 1)
		d.advance(2)
		JMP(LabelRef(label + "_pair"))
		Label(label + "_odd")
		TESTQ(d.c, d.c)
		JZ(LabelRef(label + "_reduce"))
		d.step(0, 0)
		Label(label + "_reduce")
		return
	}
	Label(label + "_chunk")
	for i := range vectors {
		d.step(i*d.bytes, i%d.sums)
	}
	d.advance(1)
	JNZ(LabelRef(label + "_chunk"))
}

func (d *dotRows) advance(chunks int) {
	ADDQ(Imm(uint64(chunks*chunkBytes)), d.qp)
	ADDQ(Imm(uint64(chunks*chunkBytes)), d.rp)
	SUBQ(Imm(uint64(chunks)), d.c)
}

// step multiplies one vector of every query with that of every row.
func (d *dotRows) step(offset, sum int) {
	free := d.v[d.queries*d.rows*d.sums:]
	for k := range d.queries {
		VMOVUPS(d.at(d.qp, k, offset), free[k])
	}
	for r := range d.rows {
		if offset%chunkBytes == 0 { // as for sketches; here it does no harm in L2 and won 5 to 20 % from memory
			m := d.at(d.rp, r, offset)
			m.Disp += prefetchBytes
			PREFETCHT0(m)
		}
		if d.queries == 1 {
			VFMADD231PS(d.at(d.rp, r, offset), free[0], d.acc(0, r, sum))
			continue
		}
		row := free[d.queries]
		VMOVUPS(d.at(d.rp, r, offset), row)
		for k := range d.queries {
			VFMADD231PS(row, free[k], d.acc(k, r, sum))
		}
	}
}

func (d *dotRows) acc(k, r, sum int) reg.VecPhysical {
	return d.v[(sum*d.queries+k)*d.rows+r]
}

// at addresses the i-th of up to four lines that are a stride apart.
func (d *dotRows) at(base reg.Register, i, offset int) Mem {
	m := Mem{Base: base, Disp: offset}
	switch i {
	case 1, 2:
		m.Index, m.Scale = d.stride, uint8(i)
	case 3:
		m.Index, m.Scale = d.stride3, 1
	}
	return m
}

// reduce sums the lanes of each accumulator and stores the block's results.
func (d *dotRows) reduce() {
	out := GP64()
	MOVQ(d.dst, out)
	for k := range d.queries {
		var y []reg.VecPhysical
		for r := range d.rows {
			a := d.acc(k, r, 0)
			for s := 1; s < d.sums; s++ {
				VADDPS(d.acc(k, r, s), a, a)
			}
			if d.bytes == 64 {
				VEXTRACTF64X4(Imm(1), a, d.v[31].AsY())
				VADDPS(d.v[31], a, a) // as ZMM: the upper halves are of no interest
			}
			y = append(y, a.AsY().(reg.VecPhysical))
		}
		d.storeSums(y, out)
		if k+1 < d.queries {
			ADDQ(d.dstStride, out)
		}
	}
}

// storeSums sums the lanes of one, two or four YMM and stores the sums side by side.
func (d *dotRows) storeSums(y []reg.VecPhysical, out reg.Register) {
	a, spare := y[0], reg.Y15
	if len(y) > 1 {
		spare = y[1]
	}
	VHADDPS(y[1%len(y)], a, a)
	if len(y) == 4 {
		VHADDPS(y[3], y[2], y[2])
		VHADDPS(y[2], a, a)
	} else {
		VHADDPS(a, a, a)
	}
	VEXTRACTF128(Imm(1), a, spare.AsX())
	VADDPS(spare.AsX(), a.AsX(), a.AsX())
	switch to := (Mem{Base: out}); len(y) {
	case 4:
		VMOVUPS(a.AsX(), to)
	case 2:
		VMOVSD(a.AsX(), to)
	case 1:
		VMOVSS(a.AsX(), to)
	}
}
