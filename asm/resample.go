package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// resample writes what makes pixels into others and into a model's numbers. AVX2 takes a tenth of what models take then;
// there are no wider ones.
func resample() {
	scaleRow()
	mixLines()
	addScaled()
	roundBytes()
	planes()
}

// broadcast loads a parameter of 32 bits into all lanes.
func broadcast(name string, v reg.VecPhysical) {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(p.Addr, v)
}

// scaleRow writes the two kernels of RowScaler. VPERMB picks from 64 bytes what VPSHUFB does from 16, so twice as many floats
// need one load instead of two.
func scaleRow() {
	for _, s := range []isa{avx512, avx2} {
		function("scaleRow"+s.suffix, "func(dst *float32, row *uint8, starts *int32, picks *uint8, table *float32, groups, taps int)",
			"scaleRow"+s.suffix+" makes groups of floats as RowScaler describes them. groups ≥ 1, taps ≥ 1.")
		dst, row, starts, picks := Load(Param("dst"), GP64()), Load(Param("row"), GP64()), Load(Param("starts"), GP64()), Load(Param("picks"), GP64())
		weights, groups, taps := Load(Param("table"), GP64()), Load(Param("groups"), GP64()), Load(Param("taps"), GP64())
		acc, pick, x, k := s.v[0], s.v[1], s.v[2], GP64()
		at := []reg.GPVirtual{GP64()}
		bytes := func() { VPERMB_Z(Mem{Base: at[0]}, pick, reg.K1, x) }
		if s.bytes == 64 {
			MOVQ(U64(0x1111111111111111), k) // the lowest byte of each integer
			KMOVQ(k, reg.K1)
		} else {
			at = append(at, GP64())
			bytes = func() {
				VMOVDQU(Mem{Base: at[0]}, x.AsX())
				VINSERTI128(Imm(1), Mem{Base: at[1]}, x, x)
				VPSHUFB(pick, x, x)
			}
		}
		sample := func() {
			bytes()
			VCVTDQ2PS(x, x)
			VMULPS(Mem{Base: weights}, x, x)
			ADDQ(Imm(uint64(s.bytes)), weights)
		}
		Label("group")
		for i, p := range at {
			MOVLQSX(Mem{Base: starts, Disp: 4 * i}, p)
			ADDQ(row, p)
		}
		VMOVUPS(Mem{Base: picks}, pick)
		sample()
		VMOVAPS(x, acc)
		MOVQ(taps, k)
		DECQ(k)
		JZ(LabelRef("done"))
		Label("tap")
		for _, p := range at {
			ADDQ(Imm(3), p)
		}
		sample()
		VADDPS(x, acc, acc)
		DECQ(k)
		JNZ(LabelRef("tap"))
		Label("done")
		VMOVUPS(acc, Mem{Base: dst})
		ADDQ(Imm(uint64(4*len(at))), starts)
		ADDQ(Imm(uint64(s.bytes)), picks)
		ADDQ(Imm(uint64(s.bytes)), dst)
		DECQ(groups)
		JNZ(LabelRef("group"))
		VZEROUPPER()
		RET()
	}
}

func mixLines() {
	function("mixLinesAVX2", "func(dst *uint8, a, b, c, d *float32, n int, weights *float32)",
		"mixLinesAVX2 sets dst to the integer parts of four lines times their weights + ½ for n floats, a multiple of 32.")
	dst, n, weights, at := Load(Param("dst"), GP64()), Load(Param("n"), GP64()), Load(Param("weights"), GP64()), GP64()
	x, w, term, half, order := avx2.v[:4], avx2.v[4:8], avx2.v[8], avx2.v[9], avx2.v[10]
	var lines []reg.Register
	for i, name := range []string{"a", "b", "c", "d"} {
		lines = append(lines, Load(Param(name), GP64()))
		VBROADCASTSS(Mem{Base: weights, Disp: 4 * i}, w[i])
	}
	VBROADCASTSS(oneHalf(), half)
	VMOVDQU(packOrder(), order)
	XORQ(at, at)
	over(n, 32, func() {
		for i, y := range x {
			VMULPS(Mem{Base: lines[0], Index: at, Scale: 4, Disp: 32 * i}, w[0], y)
			for j, line := range lines[1:] {
				VMULPS(Mem{Base: line, Index: at, Scale: 4, Disp: 32 * i}, w[1+j], term)
				VADDPS(term, y, y)
			}
			VADDPS(half, y, y)
			VCVTTPS2DQ(y, y)
		}
		packBytes(x, order)
		VMOVDQU(x[0], Mem{Base: dst})
	}, cursor{dst, 32}, cursor{at, 32})
	VZEROUPPER()
	RET()
}

func oneHalf() Mem { return table("half", 0x3f0000003f000000) }

// packBytes narrows 4 × 8 integers of 32 bits to 32 of 8, without sign, in x[0].
func packBytes(x []reg.VecPhysical, order reg.VecPhysical) {
	VPACKSSDW(x[1], x[0], x[0])
	VPACKSSDW(x[3], x[2], x[2])
	VPACKUSWB(x[2], x[0], x[0])
	VPERMD(x[0], order, x[0])
}

func addScaled() {
	function("addScaledAVX2", "func(sum, line *float32, n int, weight float32)",
		"addScaledAVX2 adds weight × line to sum for n floats, a multiple of 16.")
	sum, line, n := Load(Param("sum"), GP64()), Load(Param("line"), GP64()), Load(Param("n"), GP64())
	weight, x := avx2.v[2], avx2.v[:2]
	broadcast("weight", weight)
	over(n, 16, func() {
		for i, y := range x {
			VMULPS(Mem{Base: line, Disp: 32 * i}, weight, y)
			VADDPS(Mem{Base: sum, Disp: 32 * i}, y, y)
			VMOVUPS(y, Mem{Base: sum, Disp: 32 * i})
		}
	}, cursor{sum, 64}, cursor{line, 64})
	VZEROUPPER()
	RET()
}

func roundBytes() {
	function("roundBytesAVX2", "func(dst *uint8, src *float32, n int)",
		"roundBytesAVX2 sets dst to the integer parts of src + ½ for n floats, a multiple of 32.")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	half, order, x := avx2.v[4], avx2.v[5], avx2.v[:4]
	VBROADCASTSS(oneHalf(), half)
	VMOVDQU(packOrder(), order)
	over(n, 32, func() {
		for i, y := range x {
			VADDPS(Mem{Base: src, Disp: 32 * i}, half, y)
			VCVTTPS2DQ(y, y)
		}
		packBytes(x, order)
		VMOVDQU(x[0], Mem{Base: dst})
	}, cursor{src, 128}, cursor{dst, 32})
	VZEROUPPER()
	RET()
}

func planes() {
	function("planesAVX2", "func(red, green, blue *float32, rgb *uint8, n int, mean, std *float32)",
		"planesAVX2 writes the channels of n pixels, a multiple of 8, less mean[c] and divided by std[c], to planes of their own. It",
		"reads four bytes more than those pixels have.")
	rgb, n, mean, std := Load(Param("rgb"), GP64()), Load(Param("n"), GP64()), Load(Param("mean"), GP64()), Load(Param("std"), GP64())
	cursors := []cursor{{rgb, 24}}
	for _, name := range []string{"red", "green", "blue"} {
		cursors = append(cursors, cursor{Load(Param(name), GP64()), 32})
	}
	means, stds, picks, bytes, x := avx2.v[0:3], avx2.v[3:6], avx2.v[6:9], avx2.v[9], avx2.v[10]
	channels := table("channels", 0x8080800380808000, 0x8080800980808006, 0x8080800480808001, 0x8080800a80808007, 0x8080800580808002, 0x8080800b80808008)
	for c := range 3 {
		VBROADCASTSS(Mem{Base: mean, Disp: 4 * c}, means[c])
		VBROADCASTSS(Mem{Base: std, Disp: 4 * c}, stds[c])
		VBROADCASTI128(channels.Offset(16*c), picks[c])
	}
	over(n, 8, func() {
		VMOVDQU(Mem{Base: rgb}, bytes.AsX())
		VINSERTI128(Imm(1), Mem{Base: rgb, Disp: 12}, bytes, bytes)
		for c := range 3 {
			VPSHUFB(picks[c], bytes, x)
			VCVTDQ2PS(x, x)
			VSUBPS(means[c], x, x)
			VDIVPS(stds[c], x, x)
			VMOVUPS(x, Mem{Base: cursors[1+c].at})
		}
	}, cursors...)
	VZEROUPPER()
	RET()
}
