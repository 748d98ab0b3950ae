package simd

import (
	"errors"
	"math"
	"math/bits"
)

const (
	// MaxRotationDim bounds the dimension of a rotation.
	MaxRotationDim = 4096

	rotationRounds = 3
)

// ErrRotationDim says that a rotation's dimension is not in [1, MaxRotationDim].
var ErrRotationDim = errors.New("simd: dimension of a rotation is out of range")

// Rotation is a seeded random rotation: three rounds of random signs and a Walsh-Hadamard transform. It is orthonormal
// and stands in for a uniformly random one at n log n operations and 12 n bytes (doc.go). Safe for concurrent use.
type Rotation struct {
	dim, n int
	signs  []float32 // rounds × n, ±1; the last round's carry the scale n^(−3/2)
}

// NewRotation makes the rotation of vectors float32[dim] that belongs to seed: the same on every machine and level, and
// in every version, since codes on disk depend on it. Errors: ErrRotationDim.
func NewRotation(dim int, seed uint64) (*Rotation, error) {
	if dim < 1 || dim > MaxRotationDim {
		return nil, ErrRotationDim
	}
	r := &Rotation{dim: dim, n: 1 << bits.Len(uint(dim-1))}
	r.signs = make([]float32, rotationRounds*r.n)
	last := (rotationRounds - 1) * r.n
	for i := range r.signs {
		r.signs[i] = 1
		if i >= last {
			r.signs[i] = float32(math.Pow(float64(r.n), -rotationRounds/2.0))
		}
		if splitMix(seed+uint64(i/64+1)*0x9e3779b97f4a7c15)>>(i%64)&1 != 0 {
			r.signs[i] = -r.signs[i]
		}
	}
	return r, nil
}

// splitMix is the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func splitMix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Dim is the dimension of what is rotated.
func (r *Rotation) Dim() int { return r.dim }

// Padded is the dimension of the result: Dim, rounded up to a power of two.
func (r *Rotation) Padded() int { return r.n }

// Rotate sets dst, float32[r.Padded()], to the rotation of src, float32[r.Dim()], which is padded with zeros. The length
// of src is kept to within 2⁻²⁴ × (3 log₂ n + 8), relatively, if it is between 2⁻⁶⁰ and 2⁶⁰. Every level gives the same
// bits. dst and src may start at the same place, else they must not overlap. Allocates nothing; panics if the lengths
// don't fit.
func Rotate(dst, src []float32, r *Rotation) {
	if len(dst) != r.n || len(src) != r.dim {
		panic("BUG: simd: Rotate: dst, src and the rotation don't fit")
	}
	clear(dst[copy(dst, src):])
	for i := range rotationRounds {
		hadamard(dst, dst, r.signs[i*r.n:(i+1)*r.n])
	}
}

func hadamardGeneric(dst, src, signs []float32) {
	for i, x := range src {
		dst[i] = x * signs[i]
	}
	for h := 1; h < len(dst); h *= 2 {
		for i := 0; i < len(dst); i += 2 * h {
			for j := i; j < i+h; j++ {
				a, b := dst[j], dst[j+h]
				dst[j], dst[j+h] = a+b, a-b
			}
		}
	}
}
