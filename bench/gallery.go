package bench

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"mien/simd"
)

// The distributions that a Gallery draws from; doc.go has their formulas and figures.
const (
	Space     = "space"     // fitted to real embeddings of the default model, 512 numbers
	Isotropic = "isotropic" // identities uniform on the sphere
	Clustered = "clustered" // identities around 1,000 centres
	Latent24  = "latent24"  // identities uniform on the sphere of a subspace of 24 dimensions
	Latent64  = "latent64"  // of 64
	Latent512 = "latent512" // of 512
)

// latents are the dimensions of the subspaces.
var latents = map[string]int{Latent24: 24, Latent64: 64, Latent512: 512}

// Variants names them all.
func Variants() []string { return []string{Space, Isotropic, Clustered, Latent24, Latent64, Latent512} }

const (
	// SpaceDim is the only dimension that Space has.
	SpaceDim = 512

	factors     = 192 // of each basis: between people and within one
	gammaShape  = 6
	spaceFloats = (1 + 2*factors) * SpaceDim

	// noise is the expected square of what a photo adds to its identity's unit vector: mated cosines are about
	// 1/(1+noise) = 0.69.
	noise = 0.449
	// latentNoise is the same of the latent variants: a photo is at cosine 0.8 to its identity, two are at 0.64.
	latentNoise = 1/(0.8*0.8) - 1
	// clusters, and the share of an identity's square that is its cluster's centre: identities of one cluster lie at
	// cosine 0.7, their photos at 0.7/(1+noise) = 0.48.
	clusters     = 1000
	clusterShare = 0.7

	batch = 64 // templates at once: their coefficients and the basis stay in a second-level cache
)

// What a stream of random numbers is for; see stream. They are part of what a seed means.
const (
	ofIdentity = iota
	ofShared   // clusters' centres, a basis
	ofPhoto    // plus the photo's number
)

// ErrGallery says that there is no such variant, or not of this dimension.
var ErrGallery = errors.New("bench: no such gallery")

//go:embed space.f32
var spaceFile []byte

// Gallery makes templates of made-up people: a function of (variant, dim, seed, identity, photo) and of nothing else,
// so that a gallery of any size takes no memory and a probe needs no other template. The coefficients are the same on
// every machine and for ever (doc.go states the seeding); the templates differ by the rounding of float32 sums between
// levels of simd, below 1e-6 a number. Safe for concurrent use.
type Gallery struct {
	dim     int
	seed    uint64
	make    func(dst []float32, s *draws, identity uint64, photo uint32)
	noise   float64   // expected square of what a photo adds, but of space
	centres []float32 // of clusters, each dim floats of length 1
	latent  int       // dimensions of the subspace
	basis   []float32 // of the subspace, by dimension: dim rows of stride(latent) coefficients
	scratch sync.Pool // *draws
}

// draws is what one call of Append works with.
type draws struct {
	pcg   *rand.PCG
	rng   *rand.Rand
	coefs []float32 // batch × 2×factors, or × stride(latent)
}

// NewGallery makes the gallery that belongs to a seed. Errors: ErrGallery for an unknown variant, for Space at any
// dimension but SpaceDim, for a latent variant of more dimensions than dim, and for dim outside [2, 16384].
func NewGallery(variant string, dim int, seed uint64) (*Gallery, error) {
	if dim < 2 || dim > 1<<14 || variant == Space && dim != SpaceDim || dim < latents[variant] {
		return nil, fmt.Errorf("%w: %s of dimension %d", ErrGallery, variant, dim)
	}
	g := &Gallery{dim: dim, seed: seed, noise: noise, latent: latents[variant]}
	g.scratch.New = func() any { return newDraws(max(2*factors, stride(g.latent))) }
	switch variant {
	case Space:
		g.make = g.space
	case Isotropic:
		g.make = g.isotropic
	case Clustered:
		g.make, g.centres = g.clustered, g.drawCentres()
	case Latent24, Latent64, Latent512:
		g.make, g.noise, g.basis = g.inSubspace, latentNoise, g.drawBasis()
	default:
		return nil, fmt.Errorf("%w: %q", ErrGallery, variant)
	}
	return g, nil
}

func newDraws(coefs int) *draws {
	pcg := rand.NewPCG(0, 0)
	return &draws{pcg, rand.New(pcg), make([]float32, batch*coefs)}
}

// stride is a number of coefficients, padded for simd.
func stride(n int) int { return (n + simd.FloatLine - 1) / simd.FloatLine * simd.FloatLine }

// Dim is the dimension of the templates.
func (g *Gallery) Dim() int { return g.dim }

// Append appends n templates, photo number photo of the identities identity, identity+1, …, identity+n−1, to dst and
// returns the extended slice. Each is float32[dim] of length 1 within 1e-6; they lie one after the other without
// padding. It allocates only if cap(dst)−len(dst) < n×dim. Safe for concurrent use.
func (g *Gallery) Append(dst []float32, identity uint64, photo uint32, n int) []float32 {
	first := len(dst)
	dst = slices.Grow(dst, n*g.dim)[:first+n*g.dim]
	s := g.scratch.Get().(*draws)
	defer g.scratch.Put(s)
	for i := 0; i < n; i += batch {
		end := min(i+batch, n)
		part := dst[first+i*g.dim : first+end*g.dim]
		g.make(part, s, identity+uint64(i), photo)
		for t := range end - i {
			simd.Normalize(part[t*g.dim : (t+1)*g.dim])
		}
	}
	return dst
}

// stream starts the random numbers of one purpose and identity (or cluster). Its form is what a seed means: never
// change it.
func (s *draws) stream(seed, purpose, identity uint64) *rand.Rand {
	s.pcg.Seed(splitMix(seed^splitMix(purpose)), splitMix(identity))
	return s.rng
}

// splitMix is the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) after one step from z.
func splitMix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// space draws coefficients and multiplies them with both bases at once.
func (g *Gallery) space(dst []float32, s *draws, identity uint64, photo uint32) {
	n := len(dst) / SpaceDim
	for t := range n {
		g.coefficients(s.coefs[t*2*factors:], s, identity+uint64(t), photo)
	}
	b := spaceBasis()
	simd.DotQueries(dst, s.coefs[:n*2*factors], b.transposed, 2*factors)
	for t := range n {
		v := dst[t*SpaceDim : (t+1)*SpaceDim]
		for i, m := range b.mean {
			v[i] += m
		}
	}
}

// coefficients sets dst to g of the identity, then √q h of the photo.
func (g *Gallery) coefficients(dst []float32, s *draws, identity uint64, photo uint32) {
	rng := s.stream(g.seed, ofIdentity, identity)
	for k := range dst[:factors] {
		dst[k] = float32(rng.NormFloat64())
	}
	rng = s.stream(g.seed, ofPhoto+uint64(photo), identity)
	q := 0.0
	for range gammaShape {
		q += rng.ExpFloat64() // a sum of exponentials is Gamma distributed
	}
	root := math.Sqrt(q / gammaShape)
	for k := range factors {
		dst[factors+k] = float32(root * rng.NormFloat64())
	}
}

// basis is space.f32 by dimension: a row of transposed holds what each coefficient adds to one number.
type basis struct{ mean, transposed []float32 }

var spaceBasis = sync.OnceValue(func() basis {
	if len(spaceFile) != 4*spaceFloats {
		panic("BUG: bench: space.f32 is not of 385 × 512 numbers")
	}
	b := basis{make([]float32, SpaceDim), make([]float32, SpaceDim*2*factors)}
	for i := range spaceFloats {
		x := math.Float32frombits(binary.LittleEndian.Uint32(spaceFile[4*i:]))
		row, col := i/SpaceDim, i%SpaceDim
		if row == 0 {
			b.mean[col] = x
		} else {
			b.transposed[col*2*factors+row-1] = x
		}
	}
	return b
})

func (g *Gallery) isotropic(dst []float32, s *draws, identity uint64, photo uint32) {
	for t := range len(dst) / g.dim {
		v := dst[t*g.dim : (t+1)*g.dim]
		unit(v, s.stream(g.seed, ofIdentity, identity+uint64(t)))
		g.addNoise(v, s, identity+uint64(t), photo)
	}
}

func (g *Gallery) clustered(dst []float32, s *draws, identity uint64, photo uint32) {
	own, shared := float32(math.Sqrt(1-clusterShare)), float32(math.Sqrt(clusterShare))
	for t := range len(dst) / g.dim {
		v := dst[t*g.dim : (t+1)*g.dim]
		rng := s.stream(g.seed, ofIdentity, identity+uint64(t))
		centre := g.centres[rng.Uint64N(clusters)*uint64(g.dim):]
		unit(v, rng)
		for i := range v {
			v[i] = float32(own*v[i]) + float32(shared*centre[i])
		}
		simd.Normalize(v)
		g.addNoise(v, s, identity+uint64(t), photo)
	}
}

// unit draws a direction, uniformly.
func unit(v []float32, rng *rand.Rand) {
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	simd.Normalize(v)
}

// addNoise adds what is the photo's own to an identity's unit vector.
func (g *Gallery) addNoise(v []float32, s *draws, identity uint64, photo uint32) {
	rng := s.stream(g.seed, ofPhoto+uint64(photo), identity)
	sigma := math.Sqrt(g.noise / float64(g.dim))
	for i := range v {
		v[i] += float32(sigma * rng.NormFloat64())
	}
}

func (g *Gallery) drawCentres() []float32 {
	centres := make([]float32, clusters*g.dim)
	s := newDraws(0)
	for c := range clusters {
		unit(centres[c*g.dim:(c+1)*g.dim], s.stream(g.seed, ofShared, uint64(c)))
	}
	return centres
}

// inSubspace draws coefficients and multiplies them with the basis.
func (g *Gallery) inSubspace(dst []float32, s *draws, identity uint64, photo uint32) {
	n, padded := len(dst)/g.dim, stride(g.latent)
	clear(s.coefs[:n*padded])
	for t := range n {
		rng := s.stream(g.seed, ofIdentity, identity+uint64(t))
		for k := range g.latent {
			s.coefs[t*padded+k] = float32(rng.NormFloat64())
		}
	}
	simd.DotQueries(dst, s.coefs[:n*padded], g.basis, padded)
	for t := range n {
		v := dst[t*g.dim : (t+1)*g.dim]
		simd.Normalize(v)
		g.addNoise(v, s, identity+uint64(t), photo)
	}
}

// drawBasis draws vectors and makes them orthonormal by Gram and Schmidt's method, in float64, so that machines differ
// by no more than the last bit of a float32.
func (g *Gallery) drawBasis() []float32 {
	vectors, s := make([][]float64, g.latent), newDraws(0)
	for k := range vectors {
		rng, v := s.stream(g.seed, ofShared, uint64(k)), make([]float64, g.dim)
		for i := range v {
			v[i] = rng.NormFloat64()
		}
		for _, w := range vectors[:k] {
			addScaled(v, -dot(v, w), w)
		}
		length := math.Sqrt(dot(v, v))
		for i := range v {
			v[i] /= length
		}
		vectors[k] = v
	}
	basis, padded := make([]float32, g.dim*stride(g.latent)), stride(g.latent)
	for k, v := range vectors {
		for i, x := range v {
			basis[i*padded+k] = float32(x)
		}
	}
	return basis
}

func dot(a, b []float64) (sum float64) {
	for i, x := range a {
		sum += x * b[i]
	}
	return sum
}

func addScaled(dst []float64, c float64, v []float64) {
	for i, x := range v {
		dst[i] += c * x
	}
}
