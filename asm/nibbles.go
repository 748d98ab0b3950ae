package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unrolledLines is the length of the codes that have kernels of their own, 16 bytes. Unrolled, 32 nibbles in the
// second-level cache take, with 1, 2, 4 and 8 probes, 0.213, 0.170, 0.150 and 0.143 ns a comparison; as a loop 0.231,
// 0.190, 0.163 and 0.147.
const unrolledLines = 16

// nibbles writes the scans over blocks of 4-bit codes, for 1, 2, 4 and 8 probes.
//
// A line of a block is 64 lanes of two nibbles. Their extraction is shared by the probes, each of which looks both up in
// tables of 16 bytes, and adds. The tables come from memory, in the order of their use: a broadcast of 16 bytes costs a
// load and no port of arithmetic.
//
// Lines are prefetched into the second-level cache. One probe over 640 MiB, as a part of SumWords' bandwidth, the median
// of 4 or 5 runs beside other load: into the first level 1, 2, 3 and 8 KiB ahead 0.84, 0.84, 0.85 and 0.77; PREFETCHNTA
// 0.46; into the second 4, 8 and 16 KiB ahead 1.03, 1.04 and 0.97. What is in the second level already then costs one
// probe 0.230 ns a comparison instead of 0.223.
//
// VPSHUFB gives zero for an index whose top bit is set, so both nibbles have to be masked. VPERMB, of AVX512_VBMI, takes
// an index of 6 bits and leaves the others aside: of 4 copies of a table it looks up the nibble of an unmasked byte. For
// one probe that is 5 operations a line instead of 7, and 0.213 ns a comparison instead of 0.268; for eight 0.143, 0.153.
func nibbles() {
	for _, s := range []isa{avx512, avx2} {
		for _, probes := range []int{1, 2, 4, 8} {
			k := nibbleKernel{isa: s, probes: probes, groups: lanes / s.bytes}
			k.low, k.high, k.spare = s.v[8:10], s.v[10:12], s.v[12]
			if probes*k.groups > 8 {
				k.groups = 1
			}
			k.write()
			if s.bytes == 64 {
				k.lines = unrolledLines
				k.write()
			}
		}
	}
}

type nibbleKernel struct {
	isa
	probes, groups int // groups: vectors of lanes that are compared at once, with sums in the registers 0 to 7
	lines          int // of a block where that is unrolled, with VPERMB; otherwise 0
	low, high      []reg.VecPhysical
	spare          reg.VecPhysical // and the next

	block, code, out, row, tables reg.GPVirtual
	full                          reg.GPVirtual // negative once a list has no room for a further block
	offset                        reg.GPVirtual // of the group, where it is half a block
	values, bounds                Mem           // on the stack
}

func (k *nibbleKernel) write() {
	name, what := fmt.Sprintf("nibbles%d%s", k.probes, k.suffix), "lines lines a block"
	if k.lines > 0 {
		name, what = fmt.Sprintf("%sx%d", name, k.lines), fmt.Sprintf("%d lines a block", k.lines)
	}
	function(name, "func(blocks *byte, n, lines int, tables, bounds *byte, row uint64, out *uint64) (done int)",
		fmt.Sprintf("%s scans up to n blocks with %d probes and returns after how many it stopped for want of room.", name, k.probes),
		fmt.Sprintf("A block has %s; row is the number of the first lane. n ≥ 1, and each out has room for a block.", what))
	k.values = AllocLocal(lanes)
	if k.bytes == 32 {
		k.bounds = AllocLocal(k.probes * k.bytes)
	}
	k.block, k.code, k.out, k.row, k.tables, k.full, k.offset = GP64(), GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	n := Load(Param("n"), GP64())
	Load(Param("blocks"), k.block)
	Load(Param("out"), k.out)
	Load(Param("row"), k.row)
	XORL(k.full.As32(), k.full.As32())
	k.constants()

	Label("block")
	if k.halves() {
		XORL(k.offset.As32(), k.offset.As32())
		Label("group")
	}
	if k.lines > 0 {
		k.unrolled()
	} else {
		k.loop()
	}
	k.survivors()
	if k.halves() {
		ADDQ(Imm(uint64(k.bytes)), k.offset)
		CMPQ(k.offset, Imm(lanes))
		JL(LabelRef("group"))
		SUBQ(Imm(uint64(lanes-k.bytes)), k.code) // where it stood before the last group
	}
	if k.lines > 0 {
		ADDQ(U32(uint64(k.lines*lanes)), k.block)
	} else {
		MOVQ(k.code, k.block)
	}
	ADDQ(Imm(lanes), k.row)
	DECQ(n)
	JZ(LabelRef("done"))
	TESTQ(k.full, k.full)
	JNS(LabelRef("block"))

	Label("done")
	VZEROUPPER()
	done := Load(Param("n"), GP64())
	SUBQ(n, done)
	Store(done, ReturnIndex(0))
	RET()
}

func (k *nibbleKernel) halves() bool { return k.groups*k.bytes < lanes }

func (k *nibbleKernel) acc(p, g int) reg.VecPhysical { return k.v[p*k.groups+g] }

func (k *nibbleKernel) mask() reg.VecPhysical { return k.v[len(k.v)-1] }

// bound of AVX-512, in a register.
func (k *nibbleKernel) bound(p int) reg.VecPhysical { return k.v[16+p] }

func (k *nibbleKernel) constants() {
	if k.lines == 0 {
		VPBROADCASTQ(table("nibbleMask", 0x0f0f0f0f0f0f0f0f), k.mask())
	}
	bounds := Load(Param("bounds"), GP64())
	for p := range k.probes {
		if k.bytes == 64 {
			VPBROADCASTB(Mem{Base: bounds, Disp: p}, k.bound(p))
		} else {
			VPBROADCASTB(Mem{Base: bounds, Disp: p}, k.spare)
			VMOVDQU(k.spare, k.bounds.Offset(p*k.bytes))
		}
	}
}

// loop leaves the distances of the group in the sums, and code behind the block.
func (k *nibbleKernel) loop() {
	lines := Load(Param("lines"), GP64())
	Load(Param("tables"), k.tables)
	MOVQ(k.block, k.code)
	if k.halves() {
		ADDQ(k.offset, k.code)
	}
	for i := range k.probes * k.groups {
		VPXOR(k.v[i].AsX(), k.v[i].AsX(), k.v[i].AsX())
	}
	Label("line")
	PREFETCHT1(Mem{Base: k.code, Disp: prefetchBytes})
	k.extract()
	for p := range k.probes {
		for h, codes := range [][]reg.VecPhysical{k.low, k.high} {
			m := Mem{Base: k.tables, Disp: (2*p + h) * 16}
			if k.bytes == 64 {
				VBROADCASTI32X4(m, k.spare)
			} else {
				VBROADCASTI128(m, k.spare)
			}
			for g := range k.groups {
				found := k.v[13]
				VPSHUFB(codes[g], k.spare, found)
				VPADDUSB(found, k.acc(p, g), k.acc(p, g))
			}
		}
	}
	ADDQ(Imm(lanes), k.code)
	ADDQ(U32(uint64(32*k.probes)), k.tables)
	DECQ(lines)
	JNZ(LabelRef("line"))
}

func (k *nibbleKernel) extract() {
	for g := range k.groups {
		m := Mem{Base: k.code, Disp: g * k.bytes}
		if k.bytes == 64 {
			VPANDQ(m, k.mask(), k.low[g])
			VPSRLW(Imm(4), m, k.high[g])
			VPANDQ(k.high[g], k.mask(), k.high[g])
			continue
		}
		VMOVDQU(m, k.low[g])
		VPSRLW(Imm(4), k.low[g], k.high[g])
		VPAND(k.low[g], k.mask(), k.low[g])
		VPAND(k.high[g], k.mask(), k.high[g])
	}
}

func (k *nibbleKernel) unrolled() {
	low, high, table, found := k.low[0], k.high[0], k.spare, k.v[13]
	Load(Param("tables"), k.tables)
	for j := range k.lines {
		PREFETCHT1(Mem{Base: k.block, Disp: j*lanes + prefetchBytes})
		VMOVDQU64(Mem{Base: k.block, Disp: j * lanes}, low)
		VPSRLW(Imm(4), low, high)
		for p := range k.probes {
			for h, codes := range []reg.VecPhysical{low, high} {
				VBROADCASTI32X4(Mem{Base: k.tables, Disp: ((j*k.probes+p)*2 + h) * 16}, table)
				if j+h == 0 {
					VPERMB(table, codes, k.acc(p, 0))
					continue
				}
				VPERMB(table, codes, found)
				VPADDUSB(found, k.acc(p, 0), k.acc(p, 0))
			}
		}
	}
}

func (k *nibbleKernel) outField(p, field int) Mem { return Mem{Base: k.out, Disp: p*outBytes + field} }

// survivors appends the lanes within the bounds one by one. Registers compressed by VPCOMPRESSD, 16 lanes at a time, took
// 0.29, 0.28, 0.26 and 0.25 ns a comparison where one in ten survives, this 0.24, 0.23, 0.21 and 0.22; several a turn,
// to mispredict fewer, no less than this.
func (k *nibbleKernel) survivors() {
	within := []reg.OpmaskPhysical{reg.K1, reg.K2, reg.K3, reg.K4, reg.K5, reg.K6, reg.K7, reg.K0}
	for p := range k.probes {
		if k.bytes == 64 {
			VPCMPUB(Imm(2), k.bound(p), k.acc(p, 0), within[p])
		}
	}
	mask, lane, less, used, rows, values, value := GP64(), GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	for p := range k.probes {
		next, again := fmt.Sprintf("next_%d", p), fmt.Sprintf("again_%d", p)
		if k.bytes == 64 {
			KMOVQ(within[p], mask)
		} else {
			k.maskAVX2(p, mask, lane)
		}
		TESTQ(mask, mask)
		JZ(LabelRef(next))
		for g := range k.groups {
			if k.bytes == 64 {
				VMOVDQU64(k.acc(p, g), k.values)
			} else {
				VMOVDQU(k.acc(p, g), k.values.Offset(g*k.bytes))
			}
		}
		MOVQ(k.outField(p, outN), used)
		MOVQ(k.outField(p, outRows), rows)
		MOVQ(k.outField(p, outValues), values)
		Label(again)
		if k.bytes == 64 {
			TZCNTQ(mask, lane)
		} else {
			BSFQ(mask, lane)
		}
		at := k.values
		at.Index, at.Scale = lane, 1
		MOVBLZX(at, value.As32())
		MOVL(value.As32(), Mem{Base: values, Index: used, Scale: 4})
		if k.halves() {
			ADDQ(k.offset, lane)
		}
		ADDQ(k.row, lane)
		MOVL(lane.As32(), Mem{Base: rows, Index: used, Scale: 4})
		INCQ(used)
		if k.bytes == 64 {
			BLSRQ(mask, mask)
		} else {
			LEAQ(Mem{Base: mask, Disp: -1}, less)
			ANDQ(less, mask)
		}
		JNZ(LabelRef(again))
		MOVQ(used, k.outField(p, outN))
		MOVQ(k.outField(p, outRoom), lane)
		SUBQ(used, lane)
		ORQ(lane, k.full)
		Label(next)
	}
}

// maskAVX2: a distance is within the bound if it is the smaller of the two.
func (k *nibbleKernel) maskAVX2(p int, mask, high reg.GPVirtual) {
	for g := range k.groups {
		v, to := k.low[g], []reg.GPVirtual{mask, high}[g]
		VPMINUB(k.bounds.Offset(p*k.bytes), k.acc(p, g), v)
		VPCMPEQB(k.acc(p, g), v, v)
		VPMOVMSKB(v, to.As32())
	}
	if k.groups == 2 {
		SHLQ(Imm(32), high)
		ORQ(high, mask)
	}
}
