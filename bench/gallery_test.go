package bench

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"mien/simd"
)

// TestPins holds the seeding to what doc.go states: galleries are named by their seed in what is published.
func TestPins(t *testing.T) {
	for _, pin := range []struct {
		variant       string
		dim           int
		seed          uint64
		identity      uint64
		photo         uint32
		first, second float32
	}{
		{Space, 512, 1, 0, 0, -0.040325556, -0.005338132},
		{Space, 512, 1, 12345678, 1, -0.009623594, 0.07157357},
		{Space, 512, 42, 7, 3, 0.02641628, 0.04111861},
		{Isotropic, 512, 1, 0, 0, -0.09177168, 0.014786745},
		{Isotropic, 128, 1, 99, 1, 0.03378634, 0.15526627},
		{Clustered, 512, 1, 0, 0, 0.026247956, -0.020784494},
		{Clustered, 256, 9, 1099511627776, 2, 0.009240258, -0.081343554},
		{Latent24, 512, 1, 0, 0, -0.013080677, -0.007156985},
		{Latent64, 512, 1, 250000, 4, 0.01078372, 0.045235313},
		{Latent64, 100, 5, 7, 1, -0.06711651, 0.037515447},
		{Latent512, 512, 1, 12345678, 4, 0.030655451, -0.048162565},
	} {
		g, err := NewGallery(pin.variant, pin.dim, pin.seed)
		if err != nil {
			t.Fatal(err)
		}
		v := g.Append(nil, pin.identity, pin.photo, 1)
		if !near(v[0], pin.first, 1e-6) || !near(v[1], pin.second, 1e-6) {
			t.Errorf("%+v: %v, %v", pin, v[0], v[1])
		}
	}
}

func near(a, b float32, eps float64) bool { return math.Abs(float64(a)-float64(b)) <= eps }

// spread is the mean and standard deviation of some numbers.
func spread(xs []float64) (mean, sd float64) {
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	for _, x := range xs {
		sd += (x - mean) * (x - mean) / float64(len(xs)-1)
	}
	return mean, math.Sqrt(sd)
}

// cosines of photos of one identity, and of neighbours in number, who are strangers.
func cosines(g *Gallery, n int) (mated, impostor []float64) {
	a, b := g.Append(nil, 0, 0, n), g.Append(nil, 0, 1, n)
	row := func(v []float32, i int) []float32 { return v[i*g.dim : (i+1)*g.dim] }
	for i := range n {
		mated = append(mated, cosine(row(a, i), row(b, i)))
		impostor = append(impostor, cosine(row(a, i), row(b, (i+1)%n)))
	}
	return mated, impostor
}

// TestStatistics: the figures of doc.go, within five standard errors of 4,000 pairs (and one in the last digit stated).
func TestStatistics(t *testing.T) {
	const n = 4000
	for _, want := range []struct {
		variant                              string
		mated, matedSD, impostor, impostorSD float64
	}{
		{Space, 0.689, 0.079, 0.006, 0.096},
		{Isotropic, 0.690, 0.018, 0, 0.044},
		{Clustered, 0.690, 0.018, 0, 0.046},
		{Latent24, 0.640, 0.022, 0, 0.135},
		{Latent64, 0.640, 0.022, 0, 0.087},
		{Latent512, 0.640, 0.022, 0, 0.044},
	} {
		g, _ := NewGallery(want.variant, SpaceDim, 7)
		mated, impostor := cosines(g, n)
		for what, x := range map[string]struct {
			of       []float64
			mean, sd float64
		}{"mated": {mated, want.mated, want.matedSD}, "impostor": {impostor, want.impostor, want.impostorSD}} {
			mean, sd := spread(x.of)
			if se := x.sd / math.Sqrt(n); math.Abs(mean-x.mean) > 5*se+5e-4 || math.Abs(sd-x.sd) > 5*se+1e-3 {
				t.Errorf("%s %s: %.4f ± %.4f, not %.3f ± %.3f", want.variant, what, mean, sd, x.mean, x.sd)
			}
		}
	}
}

// TestClusters: impostors of one cluster lie at 0.48 ± 0.04, and one pair in a thousand is such a pair.
func TestClusters(t *testing.T) {
	const n = 2000
	g, _ := NewGallery(Clustered, SpaceDim, 7)
	v := g.Append(nil, 0, 0, n)
	var close []float64
	scores := make([]float32, n)
	for i := range n {
		simd.DotRows(scores[:i], v[i*SpaceDim:(i+1)*SpaceDim], v, SpaceDim)
		for _, c := range scores[:i] {
			if c > 0.3 {
				close = append(close, float64(c))
			}
		}
	}
	pairs := n * (n - 1) / 2
	if share := float64(len(close)) * 1000 / float64(pairs); math.Abs(share-1) > 0.15 {
		t.Errorf("%d of %d pairs are close", len(close), pairs)
	}
	if mean, sd := spread(close); math.Abs(mean-0.483) > 0.01 || math.Abs(sd-0.034) > 0.01 {
		t.Errorf("they lie at %.3f ± %.3f", mean, sd)
	}
}

// TestLatent: the bases are orthonormal, the mean of many photos lies in the subspace, and a photo lies at cosine 0.8 to
// that, also where the dimension is no multiple of a cache line.
func TestLatent(t *testing.T) {
	for _, dim := range []int{512, 100} {
		g, _ := NewGallery(Latent24, dim, 5)
		padded := stride(g.latent)
		column := func(k int) []float32 {
			v := make([]float32, dim)
			for i := range v {
				v[i] = g.basis[i*padded+k]
			}
			return v
		}
		for k := range g.latent {
			for j := range k + 1 {
				if c := cosine(column(k), column(j)); k != j && math.Abs(c) > 1e-6 || k == j && math.Abs(c-1) > 1e-6 {
					t.Errorf("dim %d: vectors %d and %d of the basis have product %v", dim, k, j, c)
				}
			}
		}
		const photos = 2000
		mean, near := make([]float32, dim), 0.0
		for p := range photos {
			for i, x := range g.Append(nil, 3, uint32(p), 1) {
				mean[i] += x
			}
		}
		simd.Normalize(mean)
		for p := range photos {
			near += cosine(mean, g.Append(nil, 3, uint32(p), 1)) / photos
		}
		in := 0.0
		for k := range g.latent {
			in += math.Pow(cosine(mean, column(k)), 2)
		}
		if math.Abs(near-0.8) > 0.005 || in < 0.999 {
			t.Errorf("dim %d: photos at %.4f to the centre, of which %.4f is in the subspace", dim, near, in)
		}
	}
}

// TestAppend: a template is the same however it was asked for, of length 1, and other seeds, photos and identities
// give others.
func TestAppend(t *testing.T) {
	for _, v := range Variants() {
		g, _ := NewGallery(v, SpaceDim, 3)
		prefix := []float32{9}
		all := g.Append(prefix, 5, 2, 150)
		if all[0] != 9 || len(all) != 1+150*SpaceDim {
			t.Fatalf("%s: Append made %d numbers", v, len(all))
		}
		all = all[1:]
		other, _ := NewGallery(v, SpaceDim, 4)
		for _, i := range []int{0, 63, 64, 149} {
			row := all[i*SpaceDim : (i+1)*SpaceDim]
			if c := cosine(row, row); math.Abs(c-1) > 2e-6 {
				t.Errorf("%s: row %d has square %v", v, i, c)
			}
			if c := cosine(row, g.Append(nil, 5+uint64(i), 2, 1)); math.Abs(c-1) > 1e-5 {
				t.Errorf("%s: row %d alone has cosine %v with itself", v, i, c)
			}
			for _, x := range [][]float32{g.Append(nil, 5+uint64(i), 3, 1), g.Append(nil, 6+uint64(i), 2, 1), other.Append(nil, 5+uint64(i), 2, 1)} {
				if cosine(row, x) > 0.97 {
					t.Errorf("%s: row %d is there twice", v, i)
				}
			}
		}
	}
}

func TestAppendConcurrently(t *testing.T) {
	g, _ := NewGallery(Space, SpaceDim, 1)
	want := g.Append(nil, 0, 0, 100)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if !slices.Equal(g.Append(nil, 0, 0, 100), want) {
				t.Error("another gallery")
			}
		})
	}
	wg.Wait()
}

func TestNewGalleryRefuses(t *testing.T) {
	for _, x := range []struct {
		variant string
		dim     int
	}{{Space, 128}, {Isotropic, 1}, {Clustered, 1<<14 + 1}, {Latent24, 23}, {Latent512, 511}, {"", 512}, {"real", 512}} {
		if _, err := NewGallery(x.variant, x.dim, 1); !errors.Is(err, ErrGallery) {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

// TestExact against float64 and all rows sorted, at dimensions with and without padding, in batches out of order.
func TestExact(t *testing.T) {
	for _, dim := range []int{16, 100, 512} {
		t.Run(fmt.Sprint(dim), func(t *testing.T) {
			const rows, probes, k = 403, 67, 5
			g, _ := NewGallery(Isotropic, dim, 1)
			gallery, qs := g.Append(nil, 0, 0, rows), g.Append(nil, 350, 1, probes)
			e := NewExact(dim, k, qs)
			e.Add(200, gallery[200*dim:])
			e.Add(0, gallery[:200*dim])
			for p := range probes {
				cosines, seen := make([]float64, rows), map[uint64]bool{}
				for r := range cosines {
					cosines[r] = cosine(qs[p*dim:(p+1)*dim], gallery[r*dim:(r+1)*dim])
				}
				sorted := slices.Sorted(slices.Values(cosines))
				for i, b := range e.Best(p) {
					best := sorted[rows-1-i]
					if math.Abs(float64(b.Score)-best) > 1e-5 || best-cosines[b.Row] > 1e-5 || seen[b.Row] {
						t.Errorf("probe %d: place %d has row %d with %v, not %v", p, i, b.Row, b.Score, best)
					}
					seen[b.Row] = true
				}
			}
		})
	}
}

func TestExactTiesGoToTheSmallerRow(t *testing.T) {
	v := make([]float32, 16)
	v[0] = 1
	e := NewExact(16, 3, v)
	if b := e.Best(0)[2]; !math.IsInf(float64(b.Score), -1) {
		t.Errorf("before any row: %+v", b)
	}
	for _, first := range []uint64{7, 3, 9} {
		e.Add(first, append(slices.Clone(v), v...))
	}
	if b := e.Best(0); !slices.Equal(b, []Best{{3, 1}, {4, 1}, {7, 1}}) {
		t.Errorf("%+v", b)
	}
}
