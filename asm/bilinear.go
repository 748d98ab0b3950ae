package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bilinear writes what draws a picture turned and scaled: places of four pixels at once, colours of two. Pixels are loaded one
// by one: a gather is no faster where it is fast, and several times slower where processors had to be mended.
func bilinear() {
	function("bilinearAVX2", "func(out, pix *uint8, stride int, ax, ay *float64, n int, bx, tx, ox, by, ty, oy float64)",
		"bilinearAVX2 draws n pixels, a multiple of 4, at (ax[i] + bx + tx − ox, ay[i] + by + ty − oy). It reads a byte more than the",
		"four pixels around each have.")
	k := bilinearKernel{
		top: Load(Param("pix"), GP64()), bottom: GP64(), fx: avx2.v[3], fy: avx2.v[5], at: []reg.GPVirtual{GP64(), GP64(), GP64(), GP64()},
	}
	out, stride, n := Load(Param("out"), GP64()), Load(Param("stride"), GP64()), Load(Param("n"), GP64())
	ax, ay := Load(Param("ax"), GP64()), Load(Param("ay"), GP64())
	LEAQ(Mem{Base: k.top, Index: stride, Scale: 1}, k.bottom)
	strides := avx2.v[9].AsX()
	VMOVQ(stride, strides)
	VPBROADCASTD(strides, strides)
	terms := avx2.v[10:16]
	for i, name := range []string{"bx", "tx", "ox", "by", "ty", "oy"} {
		p, err := Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		VBROADCASTSD(p.Addr, terms[i])
	}
	over(n, 4, func() {
		k.place(ax, terms[:3], avx2.v[2], k.fx)
		k.place(ay, terms[3:], avx2.v[4], k.fy)
		k.addresses(avx2.v[2].AsX(), avx2.v[4].AsX(), strides)
		k.pair(0)
		VMOVDQA(avx2.v[0], avx2.v[4])
		k.pair(1)
		k.store(out, avx2.v[4], avx2.v[0])
	}, cursor{out, 12}, cursor{ax, 32}, cursor{ay, 32})
	VZEROUPPER()
	RET()
}

type bilinearKernel struct {
	top, bottom reg.Register
	fx, fy      reg.VecPhysical // of four pixels
	at          []reg.GPVirtual // where each begins
}

// place leaves the whole part of four coordinates, which are not negative, in whole, and the rest as floats in part.
func (k *bilinearKernel) place(from reg.Register, terms []reg.VecPhysical, whole, part reg.VecPhysical) {
	x, t := avx2.v[0], avx2.v[1]
	VADDPD(Mem{Base: from}, terms[0], x)
	VADDPD(terms[1], x, x)
	VSUBPD(terms[2], x, x)
	VADDPD(table("ones", 0x3ff0000000000000, 0x3ff0000000000000, 0x3ff0000000000000, 0x3ff0000000000000), x, t)
	VCVTTPD2DQY(t, whole.AsX())
	VPADDD(constant("minus1", -1), whole.AsX(), whole.AsX())
	VCVTDQ2PD(whole.AsX(), t)
	VSUBPD(t, x, t)
	VCVTPD2PSY(t, part.AsX())
}

func (k *bilinearKernel) addresses(x, y, strides reg.Register) {
	VPMULLD(strides, y, y)
	t := avx2.v[0].AsX()
	VPADDD(x, x, t)
	VPADDD(t, x, x)
	VPADDD(x, y, y)
	VMOVQ(y, k.at[1])
	VPEXTRQ(Imm(1), y, k.at[3])
	for i := 0; i < 4; i += 2 {
		MOVL(k.at[i+1].As32(), k.at[i].As32())
		SHRQ(Imm(32), k.at[i+1])
	}
}

// pair leaves the colours of two pixels, as integers, in the first register.
func (k *bilinearKernel) pair(i int) {
	a, right, b, t, fx, fy := avx2.v[0], avx2.v[1], avx2.v[2], avx2.v[8], avx2.v[6], avx2.v[7]
	which := []Mem{table("first2", 0, 0, 1<<32|1, 1<<32|1), table("last2", 2<<32|2, 2<<32|2, 3<<32|3, 3<<32|3)}[i]
	VMOVDQU(which, t)
	VPERMPS(k.fx, t, fx)
	VPERMPS(k.fy, t, fy)
	load := func(row reg.Register, off int, v reg.VecPhysical) {
		VMOVD(Mem{Base: row, Index: k.at[2*i], Scale: 1, Disp: off}, v.AsX())
		VPINSRD(Imm(1), Mem{Base: row, Index: k.at[2*i+1], Scale: 1, Disp: off}, v.AsX(), v.AsX())
		VPMOVZXBD(v.AsX(), v)
		VCVTDQ2PS(v, v)
	}
	between := func(from, to, part reg.VecPhysical) { // from, changed
		VSUBPS(from, to, to)
		VMULPS(part, to, to)
		VADDPS(to, from, from)
	}
	load(k.top, 0, a)
	load(k.top, 3, right)
	between(a, right, fx)
	load(k.bottom, 0, b)
	load(k.bottom, 3, t)
	between(b, t, fx)
	between(a, b, fy)
	VADDPS(constant("halves", 0x3f000000), a, a)
	VCVTTPS2DQ(a, a)
}

// store packs two pairs of pixels, four numbers each, to 12 bytes.
func (k *bilinearKernel) store(out reg.Register, first, second reg.VecPhysical) {
	VPACKSSDW(second, first, first)
	VPACKUSWB(first, first, first)
	VMOVDQU(packOrder(), second)
	VPERMD(first, second, first)
	VPSHUFB(table("drop4th", 0x0908060504020100, 0x808080800e0d0c0a), first.AsX(), first.AsX())
	VMOVQ(first.AsX(), Mem{Base: out})
	VPEXTRD(Imm(2), first.AsX(), Mem{Base: out, Disp: 8})
}
