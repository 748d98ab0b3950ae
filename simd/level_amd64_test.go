//go:build !purego

package simd

import (
	"math/rand/v2"
	"testing"
)

// A processor with AVX512F alone runs the narrower kernels where it must.
func TestFamiliesFallBack(t *testing.T) {
	if !hasAVX512 {
		t.Skip("no AVX512F here; TestLevelsAreThoseOfTheProcessor fails if the processor has it")
	}
	vnni, popcount, bytes, permute := hasVNNI, hasPopcount, hasBytes, hasPermute
	hasVNNI, hasPopcount, hasBytes, hasPermute = false, false, false, false
	t.Cleanup(func() {
		hasVNNI, hasPopcount, hasBytes, hasPermute = vnni, popcount, bytes, permute
		active = kernelsOf(best())
	})
	if k, want := kernelsOf(avx512), (kernels{level: avx512, f32: avx512, int8: avx2, sketch: avx2, nibbles: avx2, hadamard: avx512, prepare: avx2, pixels: avx2}); k != want {
		t.Errorf("%+v, want %+v", k, want)
	}
	if Levels()[0] != "avx512" {
		t.Errorf("levels %v", Levels())
	}
}

// Codes of 16 bytes also run where there is no VPERMB.
func TestScanNibblesWithoutPermute(t *testing.T) {
	if !hasPermute {
		t.Skip("TestScanNibbles runs it")
	}
	hasPermute = false
	t.Cleanup(func() { hasPermute = true })
	rng := rand.New(rand.NewPCG(4, 3))
	for _, probes := range []int{1, 2, 4, 8} {
		newNibbleCase(t, rng, 32, probes, 5, 200).check(t, 65)
	}
}
