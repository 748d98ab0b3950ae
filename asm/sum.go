package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// sum writes the plainest reading of memory there is: what scans are held against.
func sum() {
	const unroll = 8
	for _, s := range []isa{avx512, avx2} {
		function("sum"+s.suffix, "func(words *uint64, n int) uint64",
			fmt.Sprintf("sum%s adds n words, a multiple of 64 and at least that.", s.suffix))
		words, n := Load(Param("words"), GP64()), Load(Param("n"), GP64())
		acc := s.v[:unroll]
		for _, a := range acc {
			VPXOR(a.AsX(), a.AsX(), a.AsX())
		}
		Label("loop")
		for i, a := range acc {
			VPADDQ(Mem{Base: words, Disp: i * s.bytes}, a, a)
		}
		ADDQ(U32(uint64(unroll*s.bytes)), words)
		SUBQ(U32(uint64(unroll*s.bytes/8)), n)
		JNZ(LabelRef("loop"))
		for d := unroll / 2; d > 0; d /= 2 {
			for i := range d {
				VPADDQ(acc[i+d], acc[i], acc[i])
			}
		}
		if s.bytes == 64 {
			VEXTRACTI64X4(Imm(1), acc[0], acc[1].AsY())
			VPADDQ(acc[1], acc[0], acc[0])
		}
		x := acc[0].AsX()
		VEXTRACTI128(Imm(1), acc[0].AsY(), acc[1].AsX())
		VPADDQ(acc[1].AsX(), x, x)
		VPSRLDQ(Imm(8), x, acc[1].AsX())
		VPADDQ(acc[1].AsX(), x, x)
		total := GP64()
		VMOVQ(x, total)
		Store(total, ReturnIndex(0))
		VZEROUPPER()
		RET()
	}
}
