package scan

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// TestPrincipal: the directions are orthonormal and hold as much energy as the axes, along which the sample was drawn, and so as the exact
// ones, where these are set apart; a dimension that is no multiple of a line is padded.
func TestPrincipal(t *testing.T) {
	const n = 1000
	for _, dim := range []int{2 * stepDim, 2*stepDim + 5} {
		rng := rand.New(rand.NewPCG(1, uint64(dim)))
		sample, axes := make([]float32, n*dim), 0.0
		for i := range sample {
			j := i % dim
			x := rng.NormFloat64() * math.Exp(-float64(j)/60)
			sample[i] = float32(x)
			if j < headDim {
				axes += x * x
			}
		}
		b := principal(sample, dim)
		var gram, heads mat.Dense
		gram.Mul(b.T(), b)
		rows := make([]float64, len(sample))
		for i, x := range sample {
			rows[i] = float64(x)
		}
		heads.Mul(mat.NewDense(n, dim, rows), b)
		energy := mat.Norm(&heads, 2)
		if energy *= energy; energy < axes*(1-1e-3) {
			t.Errorf("dim %d: the directions hold %.4f of the axes' energy", dim, energy/axes)
		}
		for i := range headDim {
			for j := range headDim {
				want := 0.0
				if i == j {
					want = 1
				}
				if math.Abs(gram.At(i, j)-want) > 1e-5 {
					t.Fatalf("dim %d: directions %d and %d: %g", dim, i, j, gram.At(i, j))
				}
			}
		}
	}
}
