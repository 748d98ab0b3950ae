//go:build !purego

package simd

import "testing"

// A processor with AVX512F alone runs the narrower kernels where it must.
func TestFamiliesFallBack(t *testing.T) {
	if !hasAVX512 {
		t.Skip("no AVX512F here; TestLevelsAreThoseOfTheProcessor fails if the processor has it")
	}
	vnni, popcount := hasVNNI, hasPopcount
	hasVNNI, hasPopcount = false, false
	t.Cleanup(func() {
		hasVNNI, hasPopcount = vnni, popcount
		active = kernelsOf(best())
	})
	if k, want := kernelsOf(avx512), (kernels{level: avx512, f32: avx512, int8: avx2, sketch: avx2, hadamard: avx512, prepare: avx2}); k != want {
		t.Errorf("%+v, want %+v", k, want)
	}
	if Levels()[0] != "avx512" {
		t.Errorf("levels %v", Levels())
	}
}
