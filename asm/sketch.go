package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	lanes     = 64 // codes of a block, one uint64 of each word
	lineBytes = 8 * lanes
	// prefetchBytes is how far ahead a pass asks for lines. The hardware follows one stream but not the several passes
	// over a block that many probes take. On a Xeon with 480 MiB of third-level cache (family 6, model 167), 640 MiB of
	// codes of 8 words, GB/s without, 2 KiB, 4 KiB and 8 KiB ahead: one probe 12.3, 11.1, 13.3, 13.6; eight 6.4, 8.7,
	// 10.4, 10.3. asm/nibbles.go has numbers of its own.
	prefetchBytes = 8192

	outBytes  = 32 // of a list
	outRows   = 0
	outValues = 8
	outN      = 16
	outRoom   = 24
)

// sketch writes the scans over blocks of 1-bit codes, for 1, 2, 4 and 8 probes.
//
// The lanes of a block are walked in groups whose distances to every probe fit the registers. For each bit plane of
// the probes, the most significant first, all words are compared and counted, and what the planes before it gave is
// doubled: value = Σ 2^j popcount(plane_j XOR code). At the end the bound plus one is subtracted, so that survivors
// are the negative lanes: one OR over all probes and one branch decide that a group has none, which is the rule.
func sketch() {
	for _, probes := range []int{1, 2, 4, 8} {
		s := sketchKernel{isa: avx512, probes: probes, groups: min(8, 16/probes)}
		s.write(s.wordsAVX512, s.survivorsAVX512)
	}
	for _, probes := range []int{1, 2, 4, 8} {
		s := sketchKernel{isa: avx2, probes: probes, groups: 8 / probes}
		s.write(s.wordsAVX2, s.survivorsAVX2)
	}
}

type sketchKernel struct {
	isa
	probes, groups int // groups: vectors of lanes that are compared at once

	block, out, row reg.Register // what is used once a group or less is loaded from the arguments there
	pr, offset      reg.Register // cursor over the probes' words; byte offset of the group
	stack           Mem
}

func (s *sketchKernel) write(compare, survivors func()) {
	function(fmt.Sprintf("sketch%d%s", s.probes, s.suffix),
		"func(blocks *uint64, n, words, planes int, probes, bounds *uint64, row uint64, out *uint64) (done int)",
		fmt.Sprintf("sketch%d%s scans up to n blocks with %d probes and returns after how many it stopped for want of room.", s.probes, s.suffix, s.probes),
		"bounds[p] is −(bound+1); row is the number of the first lane. n ≥ 1, and each out has room for a block.")
	if s.bytes == 32 { // sums of the planes before, 64 bits a lane
		s.stack = AllocLocal(s.groups * s.probes * s.bytes)
	}
	s.block, s.out, s.row = Load(Param("blocks"), GP64()), Load(Param("out"), GP64()), Load(Param("row"), GP64())
	s.pr, s.offset = GP64(), GP64()
	n, found := Load(Param("n"), GP64()), GP64()
	s.constants()

	Label("block")
	XORL(found.As32(), found.As32())
	XORL(s.offset.(reg.GPVirtual).As32(), s.offset.(reg.GPVirtual).As32())
	Label("group")
	compare()
	JZ(LabelRef("none"))
	survivors()
	MOVL(U32(1), found.As32())
	Label("none")
	if s.groups*s.bytes < lineBytes {
		ADDQ(U32(uint64(s.groups*s.bytes)), s.offset)
		CMPQ(s.offset, U32(lineBytes))
		JL(LabelRef("group"))
	}
	size := Load(Param("words"), GP64())
	SHLQ(Imm(9), size)
	ADDQ(size, s.block)
	ADDQ(Imm(lanes), s.row)
	DECQ(n)
	JZ(LabelRef("done"))
	TESTL(found.As32(), found.As32())
	JZ(LabelRef("block"))
	for p := range s.probes {
		used := GP64()
		MOVQ(s.outField(p, outN), used)
		CMPQ(used, s.outField(p, outRoom))
		JG(LabelRef("done"))
	}
	JMP(LabelRef("block"))

	Label("done")
	VZEROUPPER()
	done := Load(Param("n"), GP64())
	SUBQ(n, done)
	Store(done, ReturnIndex(0))
	RET()
}

func (s *sketchKernel) outField(p, field int) Mem { return Mem{Base: s.out, Disp: p*outBytes + field} }

// acc is the sum of probe p and the g-th vector of lanes.
func (s *sketchKernel) acc(p, g int) reg.VecPhysical { return s.v[p*s.groups+g] }

func (s *sketchKernel) accs() []reg.VecPhysical { return s.v[:s.probes*s.groups] }

// prefetch asks for the lines of the group prefetchBytes on.
func (s *sketchKernel) prefetch(code reg.Register) {
	for at := 0; at < s.groups*s.bytes; at += 64 {
		PREFETCHT0(Mem{Base: code, Disp: prefetchBytes + at})
	}
}

// constants: AVX-512 keeps zero in 28 and the lane numbers in 29; AVX2 the nibble mask in 15 and the counts of the
// nibbles in 14.
func (s *sketchKernel) constants() {
	if s.bytes == 64 {
		VPXORQ(s.v[28], s.v[28], s.v[28])
		VMOVDQU64(table("laneNumbers", 0, 1, 2, 3, 4, 5, 6, 7), s.v[29])
		return
	}
	VPBROADCASTQ(table("nibbleMask", 0x0f0f0f0f0f0f0f0f), s.v[15])
	VBROADCASTI128(table("nibbleCounts", 0x0302020102010100, 0x0403030203020201), s.v[14])
}

// table is a constant of the file.
func table(name string, words ...uint64) Mem {
	if m, ok := tables[name]; ok {
		return m
	}
	m := GLOBL(name, attr.RODATA|attr.NOPTR)
	for i, w := range words {
		DATA(8*i, U64(w))
	}
	tables[name] = m
	return m
}

var tables = map[string]Mem{}

func (s *sketchKernel) wordsAVX512() {
	codes, probe, tmp := s.v[16:24], s.v[24], s.v[25]
	for _, a := range s.accs() {
		VPXORQ(a, a, a)
	}
	plane, code, words := GP64(), GP64(), GP64()
	Load(Param("probes"), s.pr)
	Load(Param("planes"), plane)
	Label("plane")
	LEAQ(Mem{Base: s.block, Index: s.offset, Scale: 1}, code)
	Load(Param("words"), words)
	Label("word")
	s.prefetch(code)
	if s.probes > 1 {
		for g := range s.groups {
			VMOVDQU64(Mem{Base: code, Disp: g * s.bytes}, codes[g])
		}
	}
	for p := range s.probes {
		VPBROADCASTQ(Mem{Base: s.pr, Disp: 8 * p}, probe)
		for g := range s.groups {
			if s.probes > 1 {
				VPXORQ(codes[g], probe, tmp)
			} else {
				VPXORQ(Mem{Base: code, Disp: g * s.bytes}, probe, tmp)
			}
			VPOPCNTQ(tmp, tmp)
			VPADDQ(tmp, s.acc(p, g), s.acc(p, g))
		}
	}
	ADDQ(U32(lineBytes), code)
	ADDQ(U32(uint64(8*s.probes)), s.pr)
	DECQ(words)
	JNZ(LabelRef("word"))
	DECQ(plane)
	JZ(LabelRef("test"))
	for _, a := range s.accs() {
		VPADDQ(a, a, a)
	}
	JMP(LabelRef("plane"))

	Label("test")
	bounds := Load(Param("bounds"), GP64())
	for p := range s.probes {
		VPBROADCASTQ(Mem{Base: bounds, Disp: 8 * p}, probe)
		for g := range s.groups {
			VPADDQ(probe, s.acc(p, g), s.acc(p, g))
		}
	}
	a := s.accs()
	VPORQ(a[0], a[1], tmp)
	for i := 2; i < len(a); i += 2 {
		VPTERNLOGQ(Imm(0xfe), a[i], a[i+1], tmp)
	}
	VPCMPQ(Imm(1), s.v[28], tmp, reg.K1)
	KORTESTW(reg.K1, reg.K1)
}

// survivorsAVX512 stores eight values and rows at once, of which those past the survivors are overwritten by the next:
// the room for a whole block that the caller saw to holds them.
func (s *sketchKernel) survivorsAVX512() {
	bound, tmp, first, rows := s.v[24], s.v[25], s.v[26], s.v[27]
	lane, mask, used, to := GP64(), GP64(), GP64(), GP64()
	MOVQ(s.offset, lane)
	SHRQ(Imm(3), lane)
	ADDQ(s.row, lane)
	VPBROADCASTQ(lane, first)
	VPADDQ(s.v[29], first, first)
	bounds := Load(Param("bounds"), GP64())
	for p := range s.probes {
		VPBROADCASTQ(Mem{Base: bounds, Disp: 8 * p}, bound)
		for g := range s.groups {
			next := fmt.Sprintf("next_%d_%d", p, g)
			VPCMPQ(Imm(1), s.v[28], s.acc(p, g), reg.K1)
			KMOVW(reg.K1, mask.As32())
			TESTL(mask.As32(), mask.As32())
			JZ(LabelRef(next))
			MOVQ(s.outField(p, outN), used)
			VPSUBQ(bound, s.acc(p, g), tmp)
			VPCOMPRESSQ_Z(tmp, reg.K1, tmp)
			MOVQ(s.outField(p, outValues), to)
			VPMOVQD(tmp, Mem{Base: to, Index: used, Scale: 4})
			if g > 0 {
				MOVQ(U32(8*uint64(g)), to)
				VPBROADCASTQ(to, rows)
				VPADDQ(first, rows, rows)
			} else {
				VMOVDQA64(first, rows)
			}
			VPCOMPRESSQ_Z(rows, reg.K1, rows)
			MOVQ(s.outField(p, outRows), to)
			VPMOVQD(rows, Mem{Base: to, Index: used, Scale: 4})
			POPCNTL(mask.As32(), mask.As32())
			ADDQ(mask, used)
			MOVQ(used, s.outField(p, outN))
			Label(next)
		}
	}
}

// maxByteWords is how many words' counts, up to 8 a byte each, fit a byte.
const maxByteWords = 31

// wordsAVX2 counts bits by nibbles, in bytes that are summed to 64 bits after each plane, or sooner if it is long.
func (s *sketchKernel) wordsAVX2() {
	mask, counts, probe, tmp, high := s.v[15], s.v[14], s.v[8], s.v[9], s.v[10]
	sum := func(i int) Mem { return s.stack.Offset(i * s.bytes) }
	plane, code, left, words := GP64(), GP64(), GP64(), GP64()
	Load(Param("probes"), s.pr)
	Load(Param("planes"), plane)
	VPXOR(tmp, tmp, tmp)
	for i := range s.accs() {
		VMOVDQU(tmp, sum(i))
	}
	Label("plane")
	LEAQ(Mem{Base: s.block, Index: s.offset, Scale: 1}, code)
	Load(Param("words"), left)
	Label("run")
	MOVQ(U32(maxByteWords), words)
	CMPQ(left, words)
	CMOVQLT(left, words)
	SUBQ(words, left)
	for _, a := range s.accs() {
		VPXOR(a, a, a)
	}
	Label("word")
	s.prefetch(code)
	for p := range s.probes {
		VPBROADCASTQ(Mem{Base: s.pr, Disp: 8 * p}, probe)
		for g := range s.groups {
			VPXOR(Mem{Base: code, Disp: g * s.bytes}, probe, tmp)
			VPSRLW(Imm(4), tmp, high)
			VPAND(mask, tmp, tmp)
			VPAND(mask, high, high)
			VPSHUFB(tmp, counts, tmp)
			VPSHUFB(high, counts, high)
			VPADDB(tmp, s.acc(p, g), s.acc(p, g))
			VPADDB(high, s.acc(p, g), s.acc(p, g))
		}
	}
	ADDQ(U32(lineBytes), code)
	ADDQ(U32(uint64(8*s.probes)), s.pr)
	DECQ(words)
	JNZ(LabelRef("word"))
	VPXOR(tmp, tmp, tmp)
	for i, a := range s.accs() {
		VPSADBW(tmp, a, a)
		VPADDQ(sum(i), a, a)
		VMOVDQU(a, sum(i))
	}
	TESTQ(left, left)
	JNZ(LabelRef("run"))
	DECQ(plane)
	JZ(LabelRef("test"))
	for i, a := range s.accs() {
		VPADDQ(a, a, a)
		VMOVDQU(a, sum(i))
	}
	JMP(LabelRef("plane"))

	Label("test")
	bounds := Load(Param("bounds"), GP64())
	for p := range s.probes {
		VPBROADCASTQ(Mem{Base: bounds, Disp: 8 * p}, probe)
		for g := range s.groups {
			a := s.acc(p, g)
			VPADDQ(probe, a, a)
			if p+g == 0 {
				VMOVDQA(a, tmp)
			} else {
				VPOR(a, tmp, tmp)
			}
		}
	}
	any := GP32()
	VMOVMSKPD(tmp, any)
	TESTL(any, any)
}

// survivorsAVX2 takes them one by one, from the sums on the stack.
func (s *sketchKernel) survivorsAVX2() {
	mask, lane, used, to, less, value, row := GP64(), GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	for p := range s.probes {
		for g := range s.groups {
			next, again := fmt.Sprintf("next_%d_%d", p, g), fmt.Sprintf("again_%d_%d", p, g)
			VMOVMSKPD(s.acc(p, g), mask.As32())
			TESTL(mask.As32(), mask.As32())
			JZ(LabelRef(next))
			MOVQ(s.outField(p, outN), used)
			Label(again)
			BSFL(mask.As32(), lane.As32())
			LEAL(Mem{Base: mask, Disp: -1}, less.As32())
			slot := s.stack.Offset((p*s.groups + g) * s.bytes)
			slot.Index, slot.Scale = lane, 8
			MOVL(slot, value.As32())
			MOVQ(s.outField(p, outValues), to)
			MOVL(value.As32(), Mem{Base: to, Index: used, Scale: 4})
			MOVQ(s.offset, row)
			SHRQ(Imm(3), row)
			ADDQ(s.row, row)
			LEAQ(Mem{Base: row, Index: lane, Scale: 1, Disp: 4 * g}, row)
			MOVQ(s.outField(p, outRows), to)
			MOVL(row.As32(), Mem{Base: to, Index: used, Scale: 4})
			INCQ(used)
			ANDL(less.As32(), mask.As32())
			JNZ(LabelRef(again))
			MOVQ(used, s.outField(p, outN))
			Label(next)
		}
	}
}
