package main

import (
	"encoding/binary"
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// colour writes what a JPEG's samples go through after the inverse transform.
func colour() {
	mixSamples()
	doubleSamples()
	yccToRGB()
}

func mixSamples() {
	function("mixSamplesAVX2", "func(dst *uint16, near, far *uint8, n int)",
		"mixSamplesAVX2 sets dst to 3 × near + far for n samples, a multiple of 16.")
	dst, near, far, n := Load(Param("dst"), GP64()), Load(Param("near"), GP64()), Load(Param("far"), GP64()), Load(Param("n"), GP64())
	x, y, z := avx2.v[0], avx2.v[1], avx2.v[2]
	over(n, 16, func() {
		VPMOVZXBW(Mem{Base: near}, x)
		VPMOVZXBW(Mem{Base: far}, y)
		VPADDW(x, x, z)
		VPADDW(x, y, y)
		VPADDW(z, y, y)
		VMOVDQU(y, Mem{Base: dst})
	}, cursor{dst, 32}, cursor{near, 16}, cursor{far, 16})
	VZEROUPPER()
	RET()
}

func doubleSamples() {
	function("doubleSamplesAVX2", "func(dst *uint8, mix *uint16, n int)",
		"doubleSamplesAVX2 sets dst[2i] to (3 × mix[i+1] + mix[i] + 8) / 16 and dst[2i+1] to (3 × mix[i+1] + mix[i+2] + 7) / 16 for n",
		"samples, a multiple of 16.")
	dst, mix, n := Load(Param("dst"), GP64()), Load(Param("mix"), GP64()), Load(Param("n"), GP64())
	v, left, right, seven, eight := avx2.v[0], avx2.v[1], avx2.v[2], avx2.v[3], avx2.v[4]
	VPBROADCASTW(table("words7", 0x0007000700070007), seven)
	VPBROADCASTW(table("words8", 0x0008000800080008), eight)
	over(n, 16, func() {
		VMOVDQU(Mem{Base: mix, Disp: 2}, v)
		VPADDW(v, v, left)
		VPADDW(left, v, v)
		VPADDW(v, eight, left)
		VPADDW(v, seven, right)
		VPADDW(Mem{Base: mix}, left, left)
		VPADDW(Mem{Base: mix, Disp: 4}, right, right)
		VPSRLW(Imm(4), left, left)
		VPSRLW(Imm(4), right, right)
		VPSLLW(Imm(8), right, right)
		VPOR(left, right, right)
		VMOVDQU(right, Mem{Base: dst})
	}, cursor{dst, 32}, cursor{mix, 32})
	VZEROUPPER()
	RET()
}

// yccToRGB takes 2¹⁶ out of each factor, so that what is left fits 16 bits and VPMADDWD: with l = 0x10101 y, u and v around 0,
//
//	r = l + 91881 v           = (y + v) 2¹⁶ + 257 y + 26345 v
//	g = l − 22554 u − 46802 v = (y − v) 2¹⁶ + 257 y + 18734 v − 22554 u
//	b = l + 116130 u          = (y + 2u) 2¹⁶ + 257 y − 14942 u
//
// and the shift by 16 and the clipping to bytes are of the sum of both parts.
func yccToRGB() {
	function("yccToRGBAVX2", "func(dst, luma, cb, cr *uint8, n int)",
		"yccToRGBAVX2 converts n pixels, a multiple of 32, to interleaved RGB.")
	dst, luma, cb, cr, n := Load(Param("dst"), GP64()), Load(Param("luma"), GP64()), Load(Param("cb"), GP64()), Load(Param("cr"), GP64()), Load(Param("n"), GP64())
	in, zero, rgb := avx2.v[:3], avx2.v[3], avx2.v[4:7]
	VPXOR(zero, zero, zero)
	over(n, 32, func() {
		for i, p := range []reg.Register{luma, cb, cr} {
			VMOVDQU(Mem{Base: p}, in[i])
		}
		for half := range 2 {
			yccHalf(in, zero, rgb, half)
		}
		interleave(dst, rgb)
	}, cursor{dst, 96}, cursor{luma, 32}, cursor{cb, 32}, cursor{cr, 32})
	VZEROUPPER()
	RET()
}

// yccHalf converts the low or the high eight pixels of each lane: to words in rgb, and then to all its bytes.
func yccHalf(in []reg.VecPhysical, zero reg.VecPhysical, rgb []reg.VecPhysical, half int) {
	y, u, v, yv, yu, t := avx2.v[7], avx2.v[8], avx2.v[9], avx2.v[10:12], avx2.v[12:14], avx2.v[14:16]
	for i, w := range []reg.VecPhysical{y, u, v} {
		[]func(...Op){VPUNPCKLBW, VPUNPCKHBW}[half](zero, in[i], w)
		if i > 0 {
			VPSUBW(words("words128", 128, 128), w, w)
		}
	}
	for i, unpack := range []func(...Op){VPUNPCKLWD, VPUNPCKHWD} {
		unpack(v, y, yv[i])
		unpack(u, y, yu[i])
	}
	for c, w := range rgb {
		for i := range t {
			switch c {
			case 0:
				VPMADDWD(words("red", 257, 26345), yv[i], t[i])
			case 1:
				VPMADDWD(words("greenByCr", 257, 18734), yv[i], t[i])
				VPMADDWD(words("greenByCb", 0, -22554), yu[i], yv[i])
				VPADDD(yv[i], t[i], t[i])
			case 2:
				VPMADDWD(words("blue", 257, -14942), yu[i], t[i])
			}
			VPSRAD(Imm(16), t[i], t[i])
		}
		VPACKSSDW(t[1], t[0], t[0])
		VPADDW(y, t[0], t[0])
		switch c {
		case 0:
			VPADDW(v, t[0], t[0])
		case 1:
			VPSUBW(v, t[0], t[0])
		case 2:
			VPADDW(u, t[0], t[0])
			VPADDW(u, t[0], t[0])
		}
		if half == 0 {
			VMOVDQA(t[0], w)
		} else {
			VPACKUSWB(t[0], w, w)
		}
	}
}

// words is a vector of two words in turns.
func words(name string, a, b int16) Mem {
	w := uint64(uint16(a)) | uint64(uint16(b))<<16
	w |= w << 32
	return table(name, w, w, w, w)
}

// interleave stores 32 pixels of three planes: 48 bytes of each lane.
func interleave(dst reg.Register, rgb []reg.VecPhysical) {
	out, t := avx2.v[7:10], avx2.v[10]
	for j, o := range out {
		for c, plane := range rgb {
			if c == 0 {
				VPSHUFB(place(j, c), plane, o)
				continue
			}
			VPSHUFB(place(j, c), plane, t)
			VPOR(t, o, o)
		}
		VMOVDQU(o.AsX(), Mem{Base: dst, Disp: 16 * j})
		VEXTRACTI128(Imm(1), o, Mem{Base: dst, Disp: 48 + 16*j})
	}
}

// place says which samples of channel c go where in the j-th 16 of 48 bytes.
func place(j, c int) Mem {
	var pick [16]byte
	for k := range pick {
		if pick[k] = 0x80; (16*j+k)%3 == c {
			pick[k] = byte((16*j + k) / 3)
		}
	}
	lo, hi := binary.LittleEndian.Uint64(pick[:]), binary.LittleEndian.Uint64(pick[8:])
	return table(fmt.Sprintf("place%d%d", j, c), lo, hi, lo, hi)
}
