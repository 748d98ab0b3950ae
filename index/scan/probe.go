package scan

import (
	"math"

	"mien/simd"
)

const (
	nibbles    = headDim / 4
	tableBytes = nibbles * 16
	// tableTop is the distance of a row whose score is 0; below lies what the stage can tell apart, 255 is the rest.
	tableTop = 250
)

// table holds the distances that the codes of four signs add: the sum over the signs that differ from the
// probe's of |v|, in units of step. distance = (Σ|v| − ⟨v, s⟩)/2.
type table struct {
	bytes [tableBytes]byte
	sum   float64 // Σ|v|
	step  float64
}

func newTable() *table { return new(table) }

// set makes the table of a head v, float32[headDim].
func (t *table) set(v []float32) {
	t.sum = 0
	for _, x := range v {
		t.sum += math.Abs(float64(x))
	}
	t.step = t.sum / 2 / tableTop
	if t.step == 0 {
		clear(t.bytes[:])
		return
	}
	inverse := float32(1 / t.step)
	for i := range nibbles {
		low, high := pairCosts(v[4*i]*inverse, v[4*i+1]*inverse), pairCosts(v[4*i+2]*inverse, v[4*i+3]*inverse)
		for c := range 16 {
			t.bytes[16*i+c] = byte(min(low[c&3]+high[c>>2]+0.5, 255))
		}
	}
}

// pairCosts is what two signs add, by the signs: bit 0 is a's, set if it is positive.
func pairCosts(a, b float32) (cost [4]float32) {
	for c := range cost {
		if c&1 == 1 != (a >= 0) {
			cost[c] += abs(a)
		}
		if c&2 == 2 != (b >= 0) {
			cost[c] += abs(b)
		}
	}
	return cost
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

// score is what the kernel would find for a code, as ⟨v, s⟩/√headDim.
func (t *table) score(code []uint64) float64 {
	distance := 0
	for i := range nibbles {
		distance += int(t.bytes[16*i+int(code[i/16]>>(4*(i%16))&15)])
	}
	return (t.sum - 2*t.step*float64(distance)) / math.Sqrt(headDim)
}

// bound is the largest distance of a row that reaches a score; ok is false if that is beyond what the table tells
// apart.
func (t *table) bound(score float64) (b uint8, ok bool) {
	if t.step == 0 {
		return 0, false
	}
	d := (t.sum - score*math.Sqrt(headDim)) / 2 / t.step
	return uint8(max(0, min(d, 254))), d <= 254
}

// form is a probe made ready for rows of one kind of codes: fitted, or not.
type form struct {
	fit   *fit
	codes []int8  // [int8Stride], the probe ≈ scale × codes
	scale float32 // 0 in a form that was never filled
	tail  float32 // length beyond stepDim
	plain float32 // what the sum of the scales is multiplied with for a bound of rounding; 0 if errors are independent
	table table
}

// prepare fills the form for f. REQUIRES: the sketch of p is prepared.
func (m *form) prepare(f *fit, p *probe, w *prepareScratch) {
	m.fit, m.plain = f, 0
	in := p.q
	switch {
	case f == nil && p.x.turnsInt8():
		in = p.sketch.rotated
	case f == nil:
		m.plain = float32(math.Sqrt(float64(p.x.dim)) / 2 * 1.001)
	default:
		in = w.turned
		f.transform(in, p.q, w.t)
		m.table.set(in[:headDim])
		m.tail = float32(tailOf(in))
	}
	dim := w.dim
	m.scale = simd.QuantizeInt8(m.codes[:dim], in[:dim])
}

type prepareScratch struct {
	dim       int
	turned, t []float32
}

func newPrepareScratch(dim int) prepareScratch {
	return prepareScratch{dim, make([]float32, strideOf(dim)), make([]float32, headDim)}
}

// sketch is a probe as bit planes.
type sketch struct {
	ready     bool // for the search's probe
	planes    []uint64
	rotated   []float32
	scale     float64
	norm, err float64 // of the quantised probe, and of what the quantiser took
}

func (s *sketch) prepare(x []float32, r *simd.Rotation) {
	s.ready = true
	simd.Rotate(s.rotated, x, r)
	offset, scale := simd.QuantizeProbe4(s.planes, s.rotated)
	s.scale = float64(scale)
	words := len(s.planes) / 4
	norm, err := 0.0, 0.0
	for i, v := range s.rotated {
		u := 0
		for j := range 4 {
			u |= int(s.planes[j*words+i/64]>>(i%64)&1) << j
		}
		q := float64(offset) + float64(scale)*float64(u)
		norm += q * q
		err += (float64(v) - q) * (float64(v) - q)
	}
	s.norm, s.err = math.Sqrt(norm), math.Sqrt(err)
}

// least is the score that a row with cosine t reaches, but for a probability of z deviations.
func (s *sketch) least(t, z float64) float64 { return sketchLeast(t, z, s.norm, s.err, len(s.rotated)) }

// bound is the largest distance, of simd.ScanSketch, of a row that reaches the score ⟨v̂, s⟩/√n.
func (s *sketch) bound(score float64) uint32 {
	n := float64(len(s.rotated))
	x := 7.5*n - score*math.Sqrt(n)/s.scale
	return uint32(max(0, min(x, 15*n)))
}
