package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tile is how many floats the first pass takes through their first six stages in registers.
const tile = 64

// hadamard writes the signed Walsh-Hadamard transform. Stages run in the order of the generic loop and each butterfly
// is one addition and one subtraction, so every level gives the same bits.
func hadamard() {
	for _, s := range []isa{avx512, avx2} {
		function("hadamard"+s.suffix, "func(dst, src, signs *float32, n int)",
			fmt.Sprintf("hadamard%s sets dst to the transform of src × signs; n is a power of two, at least 64. dst may be src.", s.suffix))
		h := hadamardKernel{isa: s}
		h.dst, h.size = Load(Param("dst"), GP64()), Load(Param("n"), GP64())
		SHLQ(Imm(2), h.size)
		h.tiles()
		h.stages()
		VZEROUPPER()
		RET()
	}
}

type hadamardKernel struct {
	isa
	dst, size reg.Register // size in bytes
}

// tiles multiplies by the signs and runs the stages h = 1 … 32.
func (h *hadamardKernel) tiles() {
	src, signs, dst, left := Load(Param("src"), GP64()), Load(Param("signs"), GP64()), GP64(), GP64()
	MOVQ(h.dst, dst)
	MOVQ(h.size, left)
	x := h.v[:tile*4/h.bytes]
	tmp := h.v[len(x)]
	inside := h.insideStages()
	for i, s := range inside {
		VMOVUPS(h.plusMinus(s.h), h.v[len(x)+1+i])
	}
	Label("tile")
	for i, v := range x {
		VMOVUPS(Mem{Base: src, Disp: i * h.bytes}, v)
		VMULPS(Mem{Base: signs, Disp: i * h.bytes}, v, v)
		for j, s := range inside {
			s.swap(v, tmp)
			VFMADD213PS(tmp, h.v[len(x)+1+j], v) // swapped ± itself: one rounding, as in the plain sum
		}
	}
	h.butterflies(x, tmp)
	for i, v := range x {
		VMOVUPS(v, Mem{Base: dst, Disp: i * h.bytes})
	}
	for _, r := range []reg.Register{src, signs, dst} {
		ADDQ(U32(tile*4), r)
	}
	SUBQ(U32(tile*4), left)
	JNZ(LabelRef("tile"))
}

type insideStage struct {
	h    int
	swap func(v, to reg.VecPhysical)
}

// insideStages are the stages between lanes of one vector.
func (h *hadamardKernel) insideStages() []insideStage {
	permute := func(order uint64) func(v, to reg.VecPhysical) {
		return func(v, to reg.VecPhysical) { VPERMILPS(Imm(order), v, to) }
	}
	stages := []insideStage{{1, permute(0xb1)}, {2, permute(0x4e)}}
	if h.bytes == 32 {
		return append(stages, insideStage{4, func(v, to reg.VecPhysical) { VPERM2F128(Imm(1), v, v, to) }})
	}
	quarters := func(order uint64) func(v, to reg.VecPhysical) {
		return func(v, to reg.VecPhysical) { VSHUFF32X4(Imm(order), v, v, to) }
	}
	return append(stages, insideStage{4, quarters(0xb1)}, insideStage{8, quarters(0x4e)})
}

// plusMinus is 1 where a lane is the first of its pair, −1 where it is the second.
func (h *hadamardKernel) plusMinus(stage int) Mem {
	words := make([]uint64, 8)
	for lane := range 16 {
		one := uint64(0x3f800000)
		if lane&stage != 0 {
			one |= 0x80000000
		}
		words[lane/2] |= one << (lane % 2 * 32)
	}
	return table(fmt.Sprintf("plusMinus%d", stage), words...)
}

// butterflies runs the stages between whole registers.
func (h *hadamardKernel) butterflies(x []reg.VecPhysical, tmp reg.VecPhysical) {
	for d := 1; d < len(x); d *= 2 {
		for i := range x {
			if i&d == 0 {
				VADDPS(x[i+d], x[i], tmp)
				VSUBPS(x[i+d], x[i], x[i+d])
				VMOVAPS(tmp, x[i])
			}
		}
	}
}

// stages runs h = 64 … n/2 in memory, two at a time while there are two.
func (h *hadamardKernel) stages() {
	step := GP64() // bytes between the members of a butterfly
	MOVQ(U32(tile*4), step)
	Label("stage")
	twice := GP64()
	LEAQ(Mem{Base: step, Index: step, Scale: 1}, twice)
	CMPQ(twice, h.size)
	JL(LabelRef("two"))
	CMPQ(step, h.size)
	JGE(LabelRef("done"))
	h.pass("one", step, 2)
	JMP(LabelRef("done"))
	Label("two")
	h.pass("four", step, 4)
	SHLQ(Imm(2), step)
	JMP(LabelRef("stage"))
	Label("done")
}

// pass combines vectors that are step apart, members of them at once.
func (h *hadamardKernel) pass(label string, step reg.Register, members int) {
	x, tmp := h.v[:members], h.v[members]
	at, end, next, step3 := GP64(), GP64(), GP64(), GP64()
	MOVQ(h.dst, at)
	MOVQ(h.dst, end)
	ADDQ(h.size, end)
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, step3)
	mem := []Mem{{Base: at}, {Base: at, Index: step, Scale: 1}, {Base: at, Index: step, Scale: 2}, {Base: at, Index: step3, Scale: 1}}
	Label(label + "_run")
	LEAQ(Mem{Base: at, Index: step, Scale: 1}, next)
	Label(label)
	for i, v := range x {
		VMOVUPS(mem[i], v)
	}
	h.butterflies(x, tmp)
	for i, v := range x {
		VMOVUPS(v, mem[i])
	}
	ADDQ(U32(uint64(h.bytes)), at)
	CMPQ(at, next)
	JL(LabelRef(label))
	if members == 4 {
		ADDQ(step3, at)
	} else {
		ADDQ(step, at)
	}
	CMPQ(at, end)
	JL(LabelRef(label + "_run"))
}
