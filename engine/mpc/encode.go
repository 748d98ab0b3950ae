package mpc

import (
	"fmt"
	"math"
)

const (
	// MaxDim bounds the length of a vector.
	MaxDim = 4096
	// VerifyLogScale is the scale of templates and probes of a verification: 2^12, an error of a cosine of 1.0e-4
	// (standard deviation, measured on 20,000 pairs).
	VerifyLogScale = 12
	// IdentifyLogScale is the largest scale whose products fit 16 bits: 2^7, an error of a cosine of 3.2e-3, measured so
	// too.
	IdentifyLogScale = 7

	normTolerance = 1e-3 // of an embedding's length, before it is encoded
)

// Params are the fixed-point parameters of a policy: a unit vector x is encoded as round(x·S), S = 2^LogScale.
//
// Bound is a security parameter: Dim·Bound² < 2^32, so that the square of a vector within it can't wrap, and the test
// of its norm is exact (M5). NewParams gives the largest.
type Params struct {
	Dim      int
	LogScale int
	Bound    int32
}

// NewParams has the largest bound that dim allows: ⌊√((2^32−1)/dim)⌋, 2,896 for 512. The errors are Validate's.
func NewParams(dim, logScale int) (Params, error) {
	p := Params{Dim: dim, LogScale: logScale}
	if dim >= 1 && dim <= MaxDim {
		p.Bound = int32(min(math.Sqrt(float64(math.MaxUint32/uint32(dim))), math.MaxUint16))
	}
	return p, p.Validate()
}

// Validate says what is wrong with p, wrapping ErrParams: Dim is 1 to MaxDim, LogScale 4 to VerifyLogScale.
func (p Params) Validate() error {
	switch {
	case p.Dim < 1 || p.Dim > MaxDim:
		return fmt.Errorf("%w: a dimension of %d is not 1 to %d", ErrParams, p.Dim, MaxDim)
	case p.LogScale < 4 || p.LogScale > VerifyLogScale:
		return fmt.Errorf("%w: a scale of 2^%d is not 2^4 to 2^%d", ErrParams, p.LogScale, VerifyLogScale)
	case p.Bound < 1 || int64(p.Dim)*int64(p.Bound)*int64(p.Bound) > math.MaxUint32:
		return fmt.Errorf("%w: with a bound of %d the norm of %d components can wrap", ErrParams, p.Bound, p.Dim)
	}
	return nil
}

// short says that scores and thresholds must fit the ring Z_2^16.
func (p Params) short() bool { return p.LogScale <= IdentifyLogScale }

// norms are the least and the largest ‖q‖² that is taken for that of a unit vector: S² ± 2 %, and 2S for what rounding
// does at small scales, where it is 7 standard deviations of 2⟨x, e⟩·S, e the errors of rounding (M6).
func (p Params) norms() (lo, hi uint32) {
	square := uint32(1) << (2 * p.LogScale)
	slack := square/50 + uint32(2)<<p.LogScale
	return square - slack, square + slack
}

// Encode returns x as integers, round(xⱼ/‖x‖·S), negative ones modulo 2^32.
//
// x is float32[Dim] with ‖x‖ = 1 ± 1e-3; it is not retained. ErrVector says that it has another length or norm, is not
// finite, or has a component beyond Bound.
func (p Params) Encode(x []float32) ([]uint32, error) {
	if len(x) != p.Dim {
		return nil, fmt.Errorf("%w: %d components, not %d", ErrVector, len(x), p.Dim)
	}
	square := 0.0
	for _, v := range x {
		square += float64(v) * float64(v)
	}
	norm := math.Sqrt(square)
	if !(math.Abs(norm-1) <= normTolerance) {
		return nil, fmt.Errorf("%w: it is not a finite vector of length 1", ErrVector)
	}
	factor := math.Ldexp(1/norm, p.LogScale)
	q, sum := make([]uint32, len(x)), uint64(0)
	for j, v := range x {
		c := int64(math.RoundToEven(float64(v) * factor))
		if c > int64(p.Bound) || c < -int64(p.Bound) {
			return nil, fmt.Errorf("%w: component %d is beyond %d/%d", ErrVector, j, p.Bound, 1<<p.LogScale)
		}
		q[j] = uint32(c)
		sum += uint64(c * c)
	}
	if lo, hi := p.norms(); sum < uint64(lo) || sum > uint64(hi) {
		return nil, fmt.Errorf("%w: rounding to 1/%d changes its length too much", ErrVector, 1<<p.LogScale)
	}
	return q, nil
}

// Threshold returns a cosine as the integer that products of encoded vectors reach or not: round(cos·S²).
//
// ErrParams says that cos is not within ±1, or such that a product less it could wrap: at IdentifyLogScale, where
// products have 16 bits, beyond ±0.96.
func (p Params) Threshold(cos float64) (int32, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	if !(math.Abs(cos) <= 1) {
		return 0, fmt.Errorf("%w: a threshold of %v is no cosine", ErrParams, cos)
	}
	t := int32(math.RoundToEven(math.Ldexp(cos, 2*p.LogScale)))
	return t, p.checkThreshold(t)
}

// checkThreshold: a product of vectors that passed the test of norms is at most hi in size (Cauchy and Schwarz).
func (p Params) checkThreshold(t int32) error {
	_, hi := p.norms()
	limit := int64(math.MaxInt32)
	if p.short() {
		limit = math.MaxInt16
	}
	if max(int64(t), -int64(t))+int64(hi) > limit {
		return fmt.Errorf("%w: a product less a threshold of %d can wrap", ErrParams, t)
	}
	return nil
}
