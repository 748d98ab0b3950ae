package engine

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// Calibration turns a cosine into the rate at which two different people reach it, and that into a
// similarity, for one embedding space. Points go up in cosine and strictly down in FMR.
//
// log10 FMR is linear in cosine between points, and also between (−1, FMR 1) and the first point; beyond
// the last it goes on with the last slope. Every method is strictly monotone over [−1, 1].
type Calibration struct {
	Points []CalibrationPoint `json:"points"`
}

// CalibrationPoint is one measured or extrapolated false match rate.
type CalibrationPoint struct {
	Cosine       float64 `json:"cosine"`       // (−1, 1)
	FMR          float64 `json:"fmr"`          // [1e-300, 1)
	Extrapolated bool    `json:"extrapolated"` // beyond what the measured set can show
}

const (
	minFMR      = 1e-300 // below this float64 loses precision
	maxExponent = 300

	maxCalibrationPoints = 10_000
)

// similarityKnots are the fixed meanings of similarity: (−log10 FMR, similarity). Above the last, similarity
// is linear in cosine up to 1 at cosine 1, for there is no rate to anchor it.
var similarityKnots = []knot{{0, 0}, {3, 0.80}, {4, 0.85}, {6, 0.98}}

// exponentKnots are the inverse.
var exponentKnots = func() []knot {
	var inverse []knot
	for _, k := range similarityKnots {
		inverse = append(inverse, k.flipped())
	}
	return inverse
}()

// knot is a corner of a piecewise linear rising curve.
type knot struct{ x, y float64 }

// Validate reports whether the points are a finite falling curve that passes FMR 1e-6 before cosine 1, as
// the meaning of similarity needs. Errors: ErrCalibration.
func (c Calibration) Validate() error {
	if len(c.Points) == 0 || len(c.Points) > maxCalibrationPoints {
		return fmt.Errorf("%w: %d points, want 1..%d", ErrCalibration, len(c.Points), maxCalibrationPoints)
	}
	before := CalibrationPoint{Cosine: -1, FMR: 1}
	for i, p := range c.Points {
		if !(p.Cosine > before.Cosine && p.Cosine < 1 && p.FMR < before.FMR && p.FMR >= minFMR) {
			return fmt.Errorf("%w: point %d (cosine %v, fmr %v) must lie in (-1, 1) and [1e-300, 1), above the cosine and below the fmr before it", ErrCalibration, i, p.Cosine, p.FMR)
		}
		before = p
	}
	if last := c.exponent(1); !(last > similarityKnots[len(similarityKnots)-1].x && last <= maxExponent) {
		return fmt.Errorf("%w: the false match rate at cosine 1 is 1e-%.2f, must be between 1e-%d and 1e-6", ErrCalibration, last, maxExponent)
	}
	return nil
}

// FMR is the rate at which templates of two people reach this cosine, in (0, 1]. Cosines out of [−1, 1] are
// taken as the nearer end. REQUIRES: a valid calibration.
func (c Calibration) FMR(cosine float64) float64 {
	return math.Pow(10, -c.exponent(clampCosine(cosine)))
}

// Extrapolated reports whether FMR and Similarity of this cosine rest on no measurement: it is beyond the last
// point that is not marked extrapolated, or between two that are marked.
func (c Calibration) Extrapolated(cosine float64) bool {
	i := sort.Search(len(c.Points), func(i int) bool { return c.Points[i].Cosine >= cosine })
	if !slices.ContainsFunc(c.Points[i:], func(p CalibrationPoint) bool { return !p.Extrapolated }) {
		return true
	}
	p := c.Points[i]
	return p.Extrapolated && (cosine == p.Cosine || i == 0 || c.Points[i-1].Extrapolated)
}

// CosineAt is the inverse of FMR: the cosine that two people reach at this rate, in [−1, 1]; a rate rarer than
// FMR(1) gives 1.
func (c Calibration) CosineAt(fmr float64) float64 { return c.cosineAtExponent(-math.Log10(fmr)) }

// Similarity is the calibrated score in [0, 1] of a cosine: 0.80 at FMR 1e-3, 0.85 at 1e-4, 0.98 at 1e-6.
func (c Calibration) Similarity(cosine float64) float64 {
	cosine = clampCosine(cosine)
	last := similarityKnots[len(similarityKnots)-1]
	e := c.exponent(cosine)
	if e <= last.x {
		return along(similarityKnots, e)
	}
	from := c.cosineAtExponent(last.x)
	return last.y + (1-last.y)*((cosine-from)/(1-from))
}

// CosineAtSimilarity is the inverse of Similarity; similarities out of [0, 1] are taken as the nearer end.
func (c Calibration) CosineAtSimilarity(similarity float64) float64 {
	similarity = min(max(similarity, 0), 1)
	last := similarityKnots[len(similarityKnots)-1]
	if similarity <= last.y {
		return c.cosineAtExponent(along(exponentKnots, similarity))
	}
	from := c.cosineAtExponent(last.x)
	return clampCosine(from + (1-from)*((similarity-last.y)/(1-last.y)))
}

// exponent is −log10 of the false match rate: 0 at cosine −1, rising.
func (c Calibration) exponent(cosine float64) float64 {
	segment := c.curve(cosine, byCosine)
	return along(segment[:], cosine)
}

func (c Calibration) cosineAtExponent(e float64) float64 {
	if !(e > 0) {
		return -1
	}
	segment := c.curve(e, byExponent)
	for i, k := range segment {
		segment[i] = k.flipped()
	}
	return clampCosine(along(segment[:], e))
}

func byCosine(p CalibrationPoint) float64   { return p.Cosine }
func byExponent(p CalibrationPoint) float64 { return -math.Log10(p.FMR) }

// curve is the segment of the calibration that holds x, as two knots (cosine, exponent).
func (c Calibration) curve(x float64, axis func(CalibrationPoint) float64) [2]knot {
	n := len(c.Points)
	i := sort.Search(n, func(i int) bool { return axis(c.Points[i]) >= x })
	i = min(i, n-1) // beyond the last point: the last segment goes on
	from := knot{-1, 0}
	if i > 0 {
		from = knot{byCosine(c.Points[i-1]), byExponent(c.Points[i-1])}
	}
	return [2]knot{from, {byCosine(c.Points[i]), byExponent(c.Points[i])}}
}

// along evaluates a piecewise linear curve at x, its last segment going on beyond the end.
func along(knots []knot, x float64) float64 {
	i := 1
	for i < len(knots)-1 && x > knots[i].x {
		i++
	}
	a, b := knots[i-1], knots[i]
	if x == b.x {
		return b.y // exactly: a + (b−a) may differ in the last bit
	}
	return a.y + (b.y-a.y)*((x-a.x)/(b.x-a.x))
}

func (k knot) flipped() knot { return knot{k.y, k.x} }

func clampCosine(c float64) float64 { return min(max(c, -1), 1) }

// fpirOf is the rate at which a search of n templates, none of them a mate, gives any candidate: 1 − (1 −
// fmr)^n, computed so that small rates keep their digits.
func fpirOf(fmr float64, n int) float64 {
	if n == 0 {
		return 0 // fmr may be 1, and 0 × log 0 is not a number
	}
	return -math.Expm1(float64(n) * math.Log1p(-fmr))
}

// fmrForFPIR is the inverse of fpirOf: what one comparison may cost so that n together cost fpir.
func fmrForFPIR(fpir float64, n int) float64 {
	return -math.Expm1(math.Log1p(-fpir) / float64(max(n, 1)))
}

// fmrOfBest bounds the rate at which the best of n comparisons with a stranger is as good as one with this rate: the sum of theirs,
// which holds however alike the n templates are.
func fmrOfBest(fmr float64, n int) float64 { return min(1, float64(n)*fmr) }
