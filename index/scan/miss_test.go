package scan

import (
	"math"
	"math/rand/v2"
	"testing"

	"mien/index"
)

// With the threshold at the score of a pair, the share of rows that is lost is the miss probability that was asked
// for: not more, and of the derived bound not much less either, or it would cost time for nothing. A hundred
// thousand pairs at the default probability are `mien bench misses`.
func TestMisses(t *testing.T) {
	stages := []string{"sketch", "short"}
	if testing.Short() {
		stages = stages[:1] // the other fits directions, which TestLive does too
	}
	for _, stage := range stages {
		t.Run(stage, func(t *testing.T) {
			const dim, rows, miss = 512, 4096, 0.01
			trials := 20000
			if testing.Short() {
				trials = 2000 // under the race detector, or an emulator
			}
			rng := rand.New(rand.NewPCG(11, 12))
			l := newLowRank(rng, dim)
			x, vectors, _ := l.fitted(t, rng, rows, Config{FitAt: map[string]int{"sketch": -1}[stage]})
			lost, q := 0, make([]float32, dim)
			for range trials {
				label, other := uint32(rng.IntN(rows)), l.draw(rng)
				v := vectors[int(label)*dim : int(label+1)*dim]
				between(q, v, other, dot64(v, other), 0.45+0.3*rng.Float64())
				threshold := float32(dot64(v, q)) - 1e-5
				hits, err := x.SearchInto(t.Context(), nil, q, index.Options{Threshold: threshold, Miss: miss})
				if err != nil {
					t.Fatal(err)
				}
				if !holds(hits, label) {
					lost++
				}
			}
			expected := miss * float64(trials)
			spread := 4 * math.Sqrt(expected)
			if float64(lost) > expected+spread || float64(lost) < expected/2-spread {
				t.Errorf("%d of %d lost, %v were to be expected", lost, trials, expected)
			}
			t.Logf("%d of %d lost, %v at most to be expected", lost, trials, expected)
		})
	}
}

func holds(hits []index.Hit, label uint32) bool {
	for _, h := range hits {
		if h.Label == label {
			return true
		}
	}
	return false
}

// Vectors with many equal elements are no exception: their rounding errors are not independent until they are rotated.
func TestEqualElements(t *testing.T) {
	for _, dim := range []int{64, 65, 383, 512} {
		rng := rand.New(rand.NewPCG(13, uint64(dim)))
		x, o, people := mustNew(t, Config{Dim: dim}), oracle{}, map[uint32][]uint32{}
		fill(t, x, o, people, rng, SmallRows+5)
		for i, small := range []float32{3.49, 5.49, 0.5, 1.5} {
			v := make([]float32, dim)
			for j := range v {
				v[j] = small
			}
			v[i] = 127
			normalised(v)
			replace(t, x, o, people, uint32(i), [][]float32{v})
			for _, threshold := range []float32{0.5, 0.95, 0.99} {
				hits, err := x.SearchInto(t.Context(), nil, v, index.Options{Threshold: threshold})
				if err != nil || !holds(hits, uint32(i)) {
					t.Errorf("dim %d, elements of %v, threshold %v: %v, %v", dim, small, threshold, hits, err)
				}
			}
		}
	}
}
