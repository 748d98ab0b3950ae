package scan

import (
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"

	"mien/simd"
)

const (
	// headDim is how many coordinates of a fitted basis the short code sees. Of 128, 160 and 192, for 12 million rows of
	// the default model's space and the best one, 160 came out best: 128 pass five times more of the rows, 192 take
	// longer to read alone.
	headDim   = 160
	headBytes = headDim / 8
	headWords = (headDim + 63) / 64
	// stepDim is how many the first step of the int8 stage sees: whole lines of the cache.
	stepDim = 192

	// fitRows is how many rows an index must hold before directions are fitted to it, of which fitSample are
	// read: two thirds to fit, the rest to measure on.
	fitRows   = 1 << 15
	fitSample = 9000

	// minSample is how many rows directions may be fitted to at least.
	minSample = 1000

	fitPartners = 4 // pairs a held-out row is measured in, at each cosine
)

// knots are the cosines at which a fit is measured; between them it is interpolated.
var knots = [...]float64{0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98}

// fit is an orthonormal basis whose first headDim coordinates span the principal directions of the gallery,
// rotated among themselves, and what was measured of the codes made in it.
//
// The basis is a block reflector: x ↦ x − W(Yᵀx) maps the orthonormal B, whose columns span the directions, to the
// first coordinates (Schreiber and Parlett, Block reflectors, SIAM J. Numer. Anal. 25, 1988). It costs 2·headDim·dim
// multiplications, a dense basis dim².
type fit struct {
	dim  int
	y, w []float32 // Y as [strideOf(dim) × headDim], −Wᵀ as [headDim × strideOf(dim)], rows flat
	mix  mixer

	measured
}

// measured is what a fit does to rows that it was not made from. A pair's score in the short stage is
// ⟨v, s⟩/√headDim for the rotated head v of the probe and the signs s of the row's.
type measured struct {
	Mean, Deviation     [len(knots)]float64 // of the score, by the cosine of the pair
	Impostor, ImpostorD float64             // mean and deviation of the scores of random pairs
	Cosine, CosineD     float64             // and of their cosines
	Tail                float64             // length beyond stepDim that one in a thousand held-out rows exceeds
}

// newFit fits to sample, n vectors float32[dim] of unit length, in random order. It returns nil where the short
// stage would not pay.
func newFit(sample []float32, dim int, seed uint64) (*fit, error) {
	n := len(sample) / dim
	part := n * 2 / 3
	f, err := reflector(principal(sample[:part*dim], dim), dim)
	if err != nil {
		return nil, err
	}
	if f.mix, err = newMixer(seed); err != nil {
		return nil, err
	}
	f.measure(sample[part*dim:], rand.New(rand.NewPCG(seed, 0)))
	if !f.pays() {
		return nil, nil
	}
	return f, nil
}

// principalRounds is how often principal multiplies. Of the energy of the exact directions of 6,000 made-up templates 4e-10 is left behind in
// the default model's space, 0.2 % in latent64, and 0.6 % in the isotropic one, where no directions pay (package bench has all three).
const principalRounds = 12

// principal returns an orthonormal dim × headDim basis of the directions with the most energy. They are not
// centred: what counts is the energy of the product q·x, and the mean of a face space is short (0.08 for the default
// model's, against 1).
//
// It is found by subspace iteration (Golub and Van Loan, Matrix Computations, 8.2.4) in float32, by the kernels of package simd: all that
// matters is the span, and of directions of nearly the same energy, which iteration tells apart slowly, any will do. Of all
// eigenvectors, as gonum makes them, 352 are not wanted, and they took 4.4 s where this took 0.15 (dim 512, AVX2, a busy machine).
func principal(sample []float32, dim int) *mat.Dense {
	stride := strideOf(dim)
	second := secondMoment(sample, dim)
	rng := rand.New(rand.NewPCG(rotationSeed, 1))
	basis, next := make([]float32, headDim*stride), make([]float32, headDim*stride)
	for i := range headDim {
		for j := range dim {
			basis[i*stride+j] = float32(rng.NormFloat64())
		}
	}
	orthonormalise(basis, stride)
	for range principalRounds {
		clear(next)
		simd.AddRows(next, next, basis, second, stride, stride)
		basis, next = next, basis
		orthonormalise(basis, stride)
	}
	b := mat.NewDense(dim, headDim, nil)
	for i := range headDim {
		for j := range dim {
			b.Set(j, i, float64(basis[i*stride+j]))
		}
	}
	return b
}

// secondMoment is the mean of x xᵀ over the sample, float32[strideOf(dim) × strideOf(dim)], padding zero.
func secondMoment(sample []float32, dim int) []float32 {
	const part = 64
	stride, n := strideOf(dim), len(sample)/dim
	sum, rows, columns := make([]float32, stride*stride), make([]float32, part*stride), make([]float32, stride*part)
	for i := 0; i < n; i += part {
		clear(columns)
		for k := range min(part, n-i) {
			x := sample[(i+k)*dim : (i+k+1)*dim]
			copy(rows[k*stride:], x)
			for j, v := range x {
				columns[j*part+k] = v / float32(n)
			}
		}
		simd.AddRows(sum, sum, columns, rows, part, stride)
	}
	return sum
}

// orthonormalise makes vectors, float32[n × stride], orthonormal: Gram and Schmidt's way, twice, which is enough (Giraud, Langou and
// Rozložník, 2005). A vector that lies in the span of those before becomes zero.
func orthonormalise(vectors []float32, stride int) {
	coefs := make([]float32, len(vectors)/stride)
	for i := range coefs {
		v := vectors[i*stride : (i+1)*stride]
		for range 2 {
			simd.DotRows(coefs[:i], v, vectors[:i*stride], stride)
			for j := range coefs[:i] {
				coefs[j] = -coefs[j]
			}
			simd.AddRows(v, v, coefs[:i], vectors, i, stride)
			simd.Normalize(v)
		}
	}
}

// reflector makes Y and W from an orthonormal basis b, dim × headDim. With B' = B·R such that the top block of B' is
// symmetric (R from its polar decomposition), Y = B' − E and W = 2Y(YᵀY)⁻¹, x ↦ x − W(Yᵀx) maps B' to E.
func reflector(b *mat.Dense, dim int) (*fit, error) {
	var svd mat.SVD
	svd.Factorize(b.Slice(0, headDim, 0, headDim), mat.SVDFull)
	var u, v, r, turned, gram, w mat.Dense
	svd.UTo(&u)
	svd.VTo(&v)
	// b₁ = U S Vᵀ; R = −V Uᵀ makes b₁R = −U S Uᵀ symmetric and negative, so that Y is far from zero.
	r.Mul(&v, u.T())
	r.Scale(-1, &r)
	turned.Mul(b, &r)
	y := mat.DenseCopyOf(&turned)
	for i := range headDim {
		y.Set(i, i, y.At(i, i)-1)
	}
	gram.Mul(y.T(), y)
	if err := gram.Inverse(&gram); err != nil {
		if _, bad := err.(mat.Condition); !bad {
			return nil, err
		}
	}
	w.Mul(y, &gram)
	w.Scale(-2, &w)
	f := &fit{dim: dim, y: make([]float32, strideOf(dim)*headDim), w: flat(w.T(), strideOf(dim))}
	copy(f.y, flat(y, headDim))
	return f, nil
}

// flat is m row by row, padded with zeros to stride.
func flat(m mat.Matrix, stride int) []float32 {
	rows, cols := m.Dims()
	f := make([]float32, rows*stride)
	for i := range rows {
		for j := range cols {
			f[i*stride+j] = float32(m.At(i, j))
		}
	}
	return f
}

// transform sets dst to n vectors of src in the fitted basis; both float32[n × strideOf(dim)], padding zero. t is
// scratch, float32[n × headDim]. A vector's bits do not depend on the others.
func (f *fit) transform(dst, src, t []float32) {
	stride := strideOf(f.dim)
	n := len(src) / stride
	t = t[:n*headDim]
	clear(t)
	simd.AddRows(t, t, src, f.y, stride, headDim)
	simd.AddRows(dst[:n*stride], src, t, f.w, headDim, stride)
	for k := range n {
		f.mix.rotate(dst[k*stride:][:headDim])
	}
}

// mixer rotates a head, so that its length is spread evenly over its numbers. A Hadamard transform needs a power of
// two, and 160 is none: it goes over 128 and 32 numbers, then, with other signs, over 32 and 128.
type mixer struct{ rounds [4]*simd.Rotation }

func newMixer(seed uint64) (m mixer, err error) {
	for i, n := range []int{128, 32, 32, 128} {
		if m.rounds[i], err = simd.NewRotation(n, seed+uint64(i)); err != nil {
			return m, err
		}
	}
	return m, nil
}

func (m mixer) rotate(v []float32) {
	from := 0
	for i, r := range m.rounds {
		if i == 2 {
			from = 0
		}
		part := v[from : from+r.Dim()]
		simd.Rotate(part, part, r)
		from += r.Dim()
	}
}

// measure finds how the short score of a pair follows from its cosine, on rows that are not in the fit. The
// probe of a pair with cosine t is t·x + √(1−t²)·u, with u the direction of another held-out row, less x's part of it.
func (f *fit) measure(held []float32, rng *rand.Rand) {
	n, stride := len(held)/f.dim, strideOf(f.dim)
	rows := make([]float32, n*stride)
	for i := range n {
		copy(rows[i*stride:], held[i*f.dim:(i+1)*f.dim])
	}
	f.transform(rows, rows, make([]float32, n*headDim))
	var sums [len(knots)]moments
	var tails []float64
	var impostor, cosine moments
	var code [headWords]uint64
	table, q := newTable(), make([]float32, headDim)
	for i := range n {
		x := rows[i*stride : (i+1)*stride]
		tails = append(tails, tailOf(x))
		simd.SignBits(code[:], x[:headDim])
		for range fitPartners {
			j := (i + 1 + rng.IntN(n-1)) % n
			y := rows[j*stride : (j+1)*stride]
			c := dot64(x, y)
			cosine.add(c)
			table.set(y[:headDim])
			impostor.add(table.score(code[:]))
			for k, t := range knots {
				between(q, x, y, c, t)
				table.set(q)
				sums[k].add(table.score(code[:]))
			}
		}
	}
	for k := range knots {
		f.Mean[k], f.Deviation[k] = sums[k].result()
	}
	slices.Sort(tails)
	f.Tail = tails[len(tails)-1-len(tails)/1000]
	f.Impostor, f.ImpostorD = impostor.result()
	f.Cosine, f.CosineD = cosine.result()
}

// between sets q to the head of the unit vector with cosine t to x that lies towards y, whose cosine to x is c.
func between(q, x, y []float32, c, t float64) {
	side := math.Sqrt((1 - t*t) / max(1-c*c, 1e-6))
	for i := range q {
		q[i] = float32(t*float64(x[i]) + side*(float64(y[i])-c*float64(x[i])))
	}
}

type moments struct{ n, sum, squares float64 }

func (m *moments) add(x float64) { m.n++; m.sum += x; m.squares += x * x }

func (m *moments) result() (mean, deviation float64) {
	mean = m.sum / m.n
	return mean, math.Sqrt(max(0, m.squares/m.n-mean*mean))
}

// dot64 has four sums because additions wait for each other.
func dot64(a, b []float32) float64 {
	var s0, s1, s2, s3 float64
	for len(a) >= 4 && len(b) >= 4 {
		s0 += float64(a[0]) * float64(b[0])
		s1 += float64(a[1]) * float64(b[1])
		s2 += float64(a[2]) * float64(b[2])
		s3 += float64(a[3]) * float64(b[3])
		a, b = a[4:], b[4:]
	}
	for i := range a {
		s0 += float64(a[i]) * float64(b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

// tailOf is the length of x beyond the first step, or a little more.
func tailOf(x []float32) float64 { return math.Sqrt(dot64(x[stepDim:], x[stepDim:])) + 1e-4 }

// margin widens the measured deviation for what measuring it on some thousands of rows may miss.
const margin = 1.05

// least is the short score that a row with cosine t has at least, but for a probability of z deviations.
func (m *measured) least(t, z float64) float64 {
	return along(m.Mean[:], t) - z*margin*along(m.Deviation[:], t)
}

// along interpolates values at the knots, and goes on with the first and the last piece.
func along(values []float64, t float64) float64 {
	i := min(max(slices.IndexFunc(knots[1:], func(k float64) bool { return t <= k }), 0), len(knots)-2)
	if t > knots[len(knots)-1] {
		i = len(knots) - 2
	}
	at := (t - knots[i]) / (knots[i+1] - knots[i])
	return values[i] + at*(values[i+1]-values[i])
}

// passed is the share of impostors that reach a short score.
func (m *measured) passed(score float64) float64 { return above((score - m.Impostor) / m.ImpostorD) }

// above is the probability that a standard normal variable is more than z.
func above(z float64) float64 { return 0.5 * math.Erfc(z/math.Sqrt2) }

// survivorCost is what a survivor of a first stage costs, in bytes streamed at the same time: its three lines of the
// cache, far from the last one's, take some 28 ns, and a core streams 16 B in 1 ns (measured).
const survivorCost = 450

// costShort is what a row costs in the short stage, for a row with cosine t to be lost at z deviations.
func (m *measured) costShort(t, z float64) float64 {
	return headBytes + survivorCost*m.passed(m.least(t, z))
}

// costSketch is that of sketches of n signs, of which those that reach a score survive.
func (m *measured) costSketch(score float64, n int) float64 {
	impostor := math.Hypot(m.CosineD*meanSign, math.Sqrt(varSign/float64(n)))
	return float64(n)/8 + survivorCost*above((score-m.Cosine*meanSign)/impostor)
}

// pays reports whether the short stage reads markedly less than the sketch would, at a typical threshold.
func (f *fit) pays() bool {
	const typical = 0.5
	z := deviations(1e-6)
	return f.costShort(typical, z) < 0.75*f.costSketch(sketchLeast(typical, z, 1, 0, f.dim), f.dim)
}

// deviations is the z that a standard normal variable exceeds with probability p.
func deviations(p float64) float64 { return math.Sqrt2 * math.Erfinv(1-2*p) }

const (
	varSign   = 1 - 2/math.Pi // what a sign leaves of a variance
	varSpread = 1 - 3/math.Pi // of n times the mean of |xᵢ| in a unit vector of n
)

var meanSign = math.Sqrt(2 / math.Pi)

// sketchLeast is the score ⟨v̂, s⟩/√n that the signs s of a rotated row have at least with a probe, v̂ of length
// norm and off by err, whose cosine to the row is t, but for a probability of z deviations (doc.go, "Sketch").
func sketchLeast(t, z, norm, err float64, n int) float64 {
	d := float64(n)
	variance := varSpread/d*t*t + varSign*max(0, norm*norm-t*t)/(d-1) + 2/math.Pi*err*err/d
	return meanSign*t - z*math.Sqrt(variance)
}
