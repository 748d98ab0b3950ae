package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// idct writes the inverse transform of a block: its eight rows at once, then its eight columns. What the generic code spares
// where rows are 0 would cost more here than it saves.
func idct() {
	function("inverseDCTAVX2", "func(dst *uint8, stride int, b *int32)",
		"inverseDCTAVX2 writes the pixels of a block to eight rows.")
	dst, stride, b := Load(Param("dst"), GP64()), Load(Param("stride"), GP64()), Load(Param("b"), GP64())
	k := transform{free: append([]reg.VecPhysical(nil), avx2.v...)}
	x := k.pass(k.columns(b), true)
	x = k.pass(k.transposed(x), false)
	k.store(dst, stride, x)
	VZEROUPPER()
	RET()
}

// transform hands out registers.
type transform struct{ free []reg.VecPhysical }

func (k *transform) take() reg.VecPhysical {
	v := k.free[0]
	k.free = k.free[1:]
	return v
}

func (k *transform) give(v ...reg.VecPhysical) { k.free = append(k.free, v...) }

// columns loads the columns of a block: register j has coefficient j of each row.
func (k *transform) columns(b reg.Register) (x [8]reg.VecPhysical) {
	for half := range 2 {
		var rows [4]reg.VecPhysical
		for i := range rows {
			rows[i] = k.take()
			VMOVDQU(Mem{Base: b, Disp: 32*i + 16*half}, rows[i].AsX())
			VINSERTI128(Imm(1), Mem{Base: b, Disp: 32*(i+4) + 16*half}, rows[i], rows[i])
		}
		copy(x[4*half:], k.lanes(rows))
	}
	return x
}

// lanes transposes the 4×4 numbers of each lane.
func (k *transform) lanes(x [4]reg.VecPhysical) []reg.VecPhysical {
	a, b, c, d := k.take(), k.take(), k.take(), k.take()
	VPUNPCKLDQ(x[1], x[0], a)
	VPUNPCKHDQ(x[1], x[0], b)
	VPUNPCKLDQ(x[3], x[2], c)
	VPUNPCKHDQ(x[3], x[2], d)
	VPUNPCKLQDQ(c, a, x[0])
	VPUNPCKHQDQ(c, a, x[1])
	VPUNPCKLQDQ(d, b, x[2])
	VPUNPCKHQDQ(d, b, x[3])
	k.give(a, b, c, d)
	return x[:]
}

// transposed exchanges registers and lanes.
func (k *transform) transposed(x [8]reg.VecPhysical) (y [8]reg.VecPhysical) {
	left, right := k.lanes([4]reg.VecPhysical(x[:4])), k.lanes([4]reg.VecPhysical(x[4:]))
	for i := range 4 {
		y[i], y[i+4] = left[i], right[i]
		t := k.take()
		VPERM2I128(Imm(0x20), right[i], left[i], t)
		VPERM2I128(Imm(0x31), right[i], left[i], y[i+4])
		k.give(y[i])
		y[i] = t
	}
	return y
}

// constant is a number in all lanes.
func constant(name string, v int32) Mem {
	w := uint64(uint32(v))<<32 | uint64(uint32(v))
	return table(name, w, w, w, w)
}

// turn makes a and b their sum and difference.
func (k *transform) turn(a, b *reg.VecPhysical) {
	t := k.take()
	VPADDD(*b, *a, t)
	VPSUBD(*b, *a, *b)
	k.give(*a)
	*a = t
}

// angle is what rotate of the generic code takes: cos, sin − cos and cos + sin.
type angle struct{ cos, sin, both Mem }

func newAngle(name string, cos, sin int32) angle {
	return angle{constant(name+"Cos", cos), constant(name+"SinLess", sin-cos), constant(name+"Sum", cos+sin)}
}

func (k *transform) rotate(a, b *reg.VecPhysical, by angle) {
	t := k.take()
	VPADDD(*b, *a, t)
	VPMULLD(by.cos, t, t)
	VPMULLD(by.sin, *b, *b)
	VPMULLD(by.both, *a, *a)
	VPADDD(*b, t, *b)
	VPSUBD(*a, t, *a)
	k.give(t)
	*a, *b = *b, *a
}

func shift(op func(...Op), bits uint64, v ...reg.VecPhysical) {
	for _, x := range v {
		op(Imm(bits), x, x)
	}
}

// pass transforms eight vectors in each lane, as the generic inverseRow and inverseColumn do.
func (k *transform) pass(c [8]reg.VecPhysical, rows bool) [8]reg.VecPhysical {
	x0, x7, x2, x5, x1, x6, x3, x4 := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
	if rows {
		shift(VPSLLD, 17, x0, x1)
		k.turn(&x0, &x1)
		k.rotate(&x2, &x3, newAngle("halfCos6x18", 70936, -171254))
	} else {
		VPADDD(constant("halfOf20", 1<<19), x0, x0)
		k.turn(&x0, &x1)
		shift(VPSRAD, 2, x0, x1)
		shift(VPSRAD, 13, x2, x3)
		k.rotate(&x2, &x3, newAngle("halfCos6x12", 1108, -2676))
	}
	k.turn(&x1, &x2)
	k.turn(&x0, &x3)
	root, down := constant("half2x14", 11585), uint64(14)
	if rows {
		root, down = constant("half2x8", 181), 2
		shift(VPSLLD, 7, x4, x7)
	} else {
		shift(VPSRAD, 13, x5, x6)
	}
	k.turn(&x7, &x4)
	VPMULLD(root, x6, x6)
	VPMULLD(root, x5, x5)
	k.turn(&x7, &x5)
	k.turn(&x4, &x6)
	shift(VPSRAD, down, x4, x7, x5, x6)
	k.rotate(&x4, &x7, newAngle("cos3x12", 3406, -2276))
	k.rotate(&x5, &x6, newAngle("cos1x12", 4017, -799))
	k.turn(&x0, &x7)
	k.turn(&x1, &x6)
	k.turn(&x2, &x5)
	k.turn(&x3, &x4)
	return [8]reg.VecPhysical{x0, x1, x2, x3, x4, x5, x6, x7}
}

// store shifts from around 0 to 0..255, clips, and writes rows of eight pixels.
func (k *transform) store(dst, stride reg.Register, x [8]reg.VecPhysical) {
	shift(VPSRAD, 18, x[:]...)
	order, middle := k.take(), k.take()
	VMOVDQU(packOrder(), order)
	VMOVDQU(words("words128", 128, 128), middle)
	for _, v := range [][]reg.VecPhysical{x[:4], x[4:]} {
		VPACKSSDW(v[1], v[0], v[0])
		VPACKSSDW(v[3], v[2], v[2])
		VPADDW(middle, v[0], v[0])
		VPADDW(middle, v[2], v[2])
		VPACKUSWB(v[2], v[0], v[0])
		VPERMD(v[0], order, v[0])
		VEXTRACTI128(Imm(1), v[0], v[1].AsX())
		for _, two := range []reg.VecPhysical{v[0], v[1]} {
			VMOVQ(two.AsX(), Mem{Base: dst})
			VMOVHPS(two.AsX(), Mem{Base: dst, Index: stride, Scale: 1})
			LEAQ(Mem{Base: dst, Index: stride, Scale: 2}, dst)
		}
	}
}
