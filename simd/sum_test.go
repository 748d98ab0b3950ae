package simd

import (
	"math/rand/v2"
	"testing"
)

func TestSumWords(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(5, 1))
		for _, n := range append(lengths(), callBytes/8+777) {
			words := guarded[uint64](t, n)
			for i := range words {
				words[i] = rng.Uint64()
			}
			if got, want := SumWords(words), sumGeneric(words); got != want {
				t.Fatalf("%d words: %d, want %d", n, got, want)
			}
		}
	})
}
