// Command asm writes the amd64 kernels of package simd: one family of kernels a file, one run a family.
//
//	go run . -family sketch -out ../simd/sketch_amd64.s -stubs ../simd/sketch_stubs_amd64.go -pkg simd
//
// simd's go:generate lines run it. It is a module of its own so that avo stays out of mien's. Vector registers are
// chosen by hand, because a YMM of the upper sixteen would need AVX512VL, which no kernel here is gated on; general
// registers are avo's to allocate.
package main

import (
	"flag"
	"log"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	family := flag.String("family", "", "kernels to write: f32, addrows, int8, int16, gather, sketch, nibbles, hadamard, prepare, resample, colour, idct, blur, bilinear or sum")
	flag.Parse()
	write, ok := map[string]func(){"f32": f32, "addrows": addrows, "int8": int8s, "int16": int16s, "gather": gathers, "sketch": sketch, "nibbles": nibbles, "hadamard": hadamard, "prepare": prepare, "resample": resample, "colour": colour, "idct": idct, "blur": blur, "bilinear": bilinear, "sum": sum}[*family]
	if !ok {
		log.Fatalf("asm: no family %q", *family)
	}
	ConstraintExpr("!purego")
	write()
	Generate()
}

// isa is what differs between the two vector widths.
type isa struct {
	suffix string
	bytes  int               // of a vector
	v      []reg.VecPhysical // its registers
}

var (
	avx512 = isa{"AVX512", 64, []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}}
	avx2 = isa{"AVX2", 32, []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15}}
)

// function starts a kernel: a stub that keeps its slices on the stack.
func function(name, signature string, doc ...string) {
	TEXT(name, attr.NOSPLIT, signature)
	Pragma("noescape")
	Doc(doc...)
}
