package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// prepare writes what is done once to each template and probe. All of it is a microsecond or less at AVX2; there are no
// wider ones.
func prepare() {
	maxAbs()
	quantize()
	signBits()
	sumSquares()
	scale()
	planes4()
}

// cursor is a pointer and the bytes it moves in each turn of a loop.
type cursor struct {
	at   reg.Register
	step int
}

// over runs body for n floats, perLoop at a time.
func over(n reg.Register, perLoop int, body func(), cursors ...cursor) {
	Label("loop")
	body()
	for _, c := range cursors {
		ADDQ(U32(uint64(c.step)), c.at)
	}
	SUBQ(U32(uint64(perLoop)), n)
	JNZ(LabelRef("loop"))
}

func maxAbs() {
	function("maxAbsAVX2", "func(v *float32, n int) uint32",
		"maxAbsAVX2 returns the bits of the largest absolute value, NaN above all, of n floats, a multiple of 32.")
	v, n := Load(Param("v"), GP64()), Load(Param("n"), GP64())
	acc, mask, tmp := avx2.v[:4], avx2.v[4], avx2.v[5]
	for _, a := range acc {
		VPXOR(a, a, a)
	}
	VPBROADCASTD(table("absBits", 0x7fffffff7fffffff), mask)
	over(n, 32, func() {
		for i, a := range acc {
			VPAND(Mem{Base: v, Disp: 32 * i}, mask, tmp)
			VPMAXUD(tmp, a, a)
		}
	}, cursor{v, 128})
	VPMAXUD(acc[1], acc[0], acc[0])
	VPMAXUD(acc[3], acc[2], acc[2])
	VPMAXUD(acc[2], acc[0], acc[0])
	x, y := acc[0].AsX(), acc[1].AsX()
	VEXTRACTI128(Imm(1), acc[0], y)
	VPMAXUD(y, x, x)
	VPSHUFD(Imm(0x4e), x, y)
	VPMAXUD(y, x, x)
	VPSHUFD(Imm(0xb1), x, y)
	VPMAXUD(y, x, x)
	top := GP32()
	VMOVD(x, top)
	Store(top, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// packOrder puts the double words of packed pairs of vectors, which are packed by halves, in order.
func packOrder() Mem {
	return table("packOrder", 4<<32|0, 5<<32|1, 6<<32|2, 7<<32|3)
}

func quantize() {
	function("quantizeAVX2", "func(dst *int8, src *float32, n int, inverse float32)",
		"quantizeAVX2 sets dst to src × inverse, rounded to even, for n floats, a multiple of 32, whose products fit int8.")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	inverse, order, x := avx2.v[4], avx2.v[5], avx2.v[:4]
	p, err := Param("inverse").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(p.Addr, inverse)
	VMOVDQU(packOrder(), order)
	over(n, 32, func() {
		for i, v := range x {
			VMULPS(Mem{Base: src, Disp: 32 * i}, inverse, v)
			VCVTPS2DQ(v, v)
		}
		pack(x, order)
		VMOVDQU(x[0], Mem{Base: dst})
	}, cursor{src, 128}, cursor{dst, 32})
	VZEROUPPER()
	RET()
}

// pack narrows 4 × 8 integers of 32 bits to 32 of 8 in x[0].
func pack(x []reg.VecPhysical, order reg.VecPhysical) {
	VPACKSSDW(x[1], x[0], x[0])
	VPACKSSDW(x[3], x[2], x[2])
	VPACKSSWB(x[2], x[0], x[0])
	VPERMD(x[0], order, x[0])
}

func signBits() {
	function("signBitsAVX2", "func(dst *uint64, v *float32, n int)",
		"signBitsAVX2 sets the bits of dst where the sign bits of v are clear, for n floats, a multiple of 64.")
	dst, v, n := Load(Param("dst"), GP64()), Load(Param("v"), GP64()), Load(Param("n"), GP64())
	order, x, half := avx2.v[5], avx2.v[:4], GP32()
	VMOVDQU(packOrder(), order)
	over(n, 64, func() {
		for h := range 2 {
			for i, y := range x {
				VMOVDQU(Mem{Base: v, Disp: 128*h + 32*i}, y)
			}
			pack(x, order)
			VPMOVMSKB(x[0], half)
			NOTL(half)
			MOVL(half, Mem{Base: dst, Disp: 4 * h})
		}
	}, cursor{v, 256}, cursor{dst, 8})
	VZEROUPPER()
	RET()
}

func sumSquares() {
	function("sumSquaresAVX2", "func(v *float32, n int) float64",
		"sumSquaresAVX2 is the sum of the squares of n floats, a multiple of 16.")
	v, n := Load(Param("v"), GP64()), Load(Param("n"), GP64())
	acc, x := avx2.v[:4], avx2.v[4:8]
	for _, a := range acc {
		VXORPD(a, a, a)
	}
	over(n, 16, func() {
		for i, a := range acc {
			VCVTPS2PD(Mem{Base: v, Disp: 16 * i}, x[i])
			VFMADD231PD(x[i], x[i], a)
		}
	}, cursor{v, 64})
	VADDPD(acc[1], acc[0], acc[0])
	VADDPD(acc[3], acc[2], acc[2])
	VADDPD(acc[2], acc[0], acc[0])
	VHADDPD(acc[0], acc[0], acc[0])
	VEXTRACTF128(Imm(1), acc[0], acc[1].AsX())
	VADDPD(acc[1].AsX(), acc[0].AsX(), acc[0].AsX())
	VZEROUPPER() // before the store, which is not a VEX one
	Store(acc[0].AsX(), ReturnIndex(0))
	RET()
}

func scale() {
	function("scaleAVX2", "func(v *float32, n int, factor float64)",
		"scaleAVX2 multiplies n floats, a multiple of 16, in float64.")
	v, n := Load(Param("v"), GP64()), Load(Param("n"), GP64())
	factor, x := avx2.v[4], avx2.v[:4]
	p, err := Param("factor").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSD(p.Addr, factor)
	over(n, 16, func() {
		for i, y := range x {
			VCVTPS2PD(Mem{Base: v, Disp: 16 * i}, y)
			VMULPD(y, factor, y)
			VCVTPD2PSY(y, y.AsX())
			VMOVUPS(y.AsX(), Mem{Base: v, Disp: 16 * i})
		}
	}, cursor{v, 64})
	VZEROUPPER()
	RET()
}

func planes4() {
	function("planes4AVX2", "func(planes *uint64, v *float32, n, words int, inverse float32)",
		"planes4AVX2 sets bit i of plane j, which is at planes[j×words], to bit j of the integer part of v[i] × inverse + 8, for n",
		"floats, a multiple of 64.")
	dst, v, n, words := Load(Param("planes"), GP64()), Load(Param("v"), GP64()), Load(Param("n"), GP64()), Load(Param("words"), GP64())
	x, bit, order, inverse, eight, half, to := avx2.v[:4], avx2.v[4], avx2.v[5], avx2.v[6], avx2.v[7], GP32(), GP64()
	p, err := Param("inverse").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(p.Addr, inverse)
	VBROADCASTSS(table("eight", 0x41000000), eight)
	VMOVDQU(packOrder(), order)
	SHLQ(Imm(3), words)
	over(n, 64, func() {
		for h := range 2 {
			for i, y := range x {
				VMULPS(Mem{Base: v, Disp: 128*h + 32*i}, inverse, y)
				VADDPS(eight, y, y)
				VCVTTPS2DQ(y, y)
			}
			pack(x, order)
			MOVQ(dst, to)
			for j := range 4 {
				VPSLLW(Imm(uint64(7-j)), x[0], bit) // bit j of each byte to its top
				VPMOVMSKB(bit, half)
				MOVL(half, Mem{Base: to, Disp: 4 * h})
				ADDQ(words, to)
			}
		}
	}, cursor{v, 256}, cursor{dst, 8})
	VZEROUPPER()
	RET()
}
