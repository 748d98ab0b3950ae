package mpc

import (
	"math"
	mathrand "math/rand/v2"
	"testing"
)

// TestVerifyNearThreshold compares with plain integers where answers are decided by the last bits: two thirds of the
// thresholds are within 3 of the product, exactly at it and one either side among them.
func TestVerifyNearThreshold(t *testing.T) {
	trials := 100_000
	if testing.Short() {
		trials = 5000
	}
	rng := seeded(t)
	p := defaults(t, 24, VerifyLogScale)
	pool := vectors(t, rng, p, 60)
	done, matches := 0, 0
	for done < trials {
		templates, probes, thresholds, want := pairs(rng, pool, MaxItems)
		got, err := verifyAll(t, trio(p, CheckNorm), itemsOf(templates, probes, thresholds))
		if err != nil {
			t.Fatal(err)
		}
		for k, m := range got {
			if m != want[k] {
				t.Fatalf("product %d, threshold %d: match %v", plain(templates[k], probes[k]), thresholds[k], m)
			}
			if m {
				matches++
			}
		}
		done += len(got)
	}
	if matches < trials/3 || matches > 2*trials/3 {
		t.Errorf("%d of %d match: the trials are not what they should be", matches, done)
	}
}

func vectors(t *testing.T, rng *mathrand.Rand, p Params, n int) (pool [][]uint32) {
	x := unit(rng, p.Dim)
	for range n {
		pool = append(pool, encode(t, p, near(rng, x, 2*rng.Float64()-1)))
	}
	return pool
}

// pairs draws pairs and thresholds, most of them close to the product.
func pairs(rng *mathrand.Rand, pool [][]uint32, n int) (templates, probes [][]uint32, thresholds []int32, want []bool) {
	for k := range n {
		x, y := pool[rng.IntN(len(pool))], pool[rng.IntN(len(pool))]
		d := plain(x, y)
		t := d + int64(rng.IntN(7)) - 3
		if k%3 == 0 {
			t = d + int64((rng.Float64()*0.02-0.01)*(1<<24))
		}
		templates, probes = append(templates, x), append(probes, y)
		thresholds, want = append(thresholds, int32(t)), append(want, d >= t)
	}
	return templates, probes, thresholds, want
}

// TestVerifyEdges has, with all checks, the real dimension: the product itself as the threshold, and one beside it.
func TestVerifyEdges(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 512, VerifyLogScale)
	pool := vectors(t, rng, p, 20)
	for range 20 {
		x, y := pool[rng.IntN(len(pool))], pool[rng.IntN(len(pool))]
		d := int32(plain(x, y))
		got, err := verifyAll(t, trio(p, CheckFull), itemsOf([][]uint32{x, x, x}, [][]uint32{y, y, y}, []int32{d - 1, d, d + 1}))
		if err != nil || !got[0] || !got[1] || got[2] {
			t.Fatalf("product %d: %v, %v", d, got, err)
		}
	}
}

// TestVerifyWholeRange reaches the ends of what thresholds and products can be: opposite and equal vectors.
func TestVerifyWholeRange(t *testing.T) {
	rng := seeded(t)
	for _, logScale := range []int{4, IdentifyLogScale, VerifyLogScale} {
		p := defaults(t, 128, logScale)
		for _, cos := range []float64{-1, -0.9, 0, 0.9, 1} {
			threshold, err := p.Threshold(cos)
			if err != nil {
				continue // at scales of identification, beyond ±0.96
			}
			x := unit(rng, 128)
			for _, err := p.Encode(x); err != nil; _, err = p.Encode(x) { // at 2^4 rounding changes the length of some too much
				x = unit(rng, 128)
			}
			y := make([]float32, len(x))
			for j := range x {
				y[j] = -x[j]
			}
			same, opposite := encode(t, p, x), encode(t, p, y)
			got, err := verifyAll(t, trio(p, CheckFull), itemsOf([][]uint32{same, same}, [][]uint32{same, opposite}, []int32{threshold, threshold}))
			want := [2]bool{plain(same, same) >= int64(threshold), plain(same, opposite) >= int64(threshold)}
			if err != nil || [2]bool(got) != want {
				t.Errorf("2^%d, threshold %v: %v, want %v, %v", logScale, cos, got, want, err)
			}
		}
	}
}

// TestVerifyCounts has numbers of items around those of whole words.
func TestVerifyCounts(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 32, VerifyLogScale)
	pool := vectors(t, rng, p, 20)
	for _, check := range []Check{CheckFull, CheckNorm} {
		for _, n := range []int{1, 2, 63, 64, 65, 128, 129} {
			templates, probes, thresholds, want := pairs(rng, pool, n)
			got, err := verifyAll(t, trio(p, check), itemsOf(templates, probes, thresholds))
			if err != nil || len(got) != n {
				t.Fatalf("%d items: %v, %v", n, got, err)
			}
			for k := range got {
				if got[k] != want[k] {
					t.Fatalf("item %d of %d: %v", k, n, got[k])
				}
			}
		}
	}
}

func TestIdentifyNearThreshold(t *testing.T) {
	rows := 20_001
	if testing.Short() {
		rows = 2001
	}
	rng := seeded(t)
	for _, dim := range []int{40, 512} {
		p := defaults(t, dim, IdentifyLogScale)
		pool := vectors(t, rng, p, 60)
		n := rows * 40 / dim
		list := make([][]uint32, n)
		for i := range list {
			list[i] = pool[rng.IntN(len(pool))]
		}
		g := galleryOf(list)
		for range 3 {
			y := pool[rng.IntN(len(pool))]
			threshold := int32(plain(list[rng.IntN(n)], y)) + int32(rng.IntN(3)) - 1
			if p.checkThreshold(threshold) != nil {
				threshold = 5000
			}
			got, err := identifyAll(t, trio(p, CheckFull), g, probesOf(y, threshold))
			if err != nil || len(got) != n {
				t.Fatal(len(got), err)
			}
			for i, m := range got {
				if d := plain(list[i], y); m != (d >= int64(threshold)) {
					t.Fatalf("row %d: product %d, threshold %d: %v", i, d, threshold, m)
				}
			}
		}
	}
}

// TestIdentifyWholeRange: at the largest thresholds opposite vectors don't wrap round to a match.
func TestIdentifyWholeRange(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 512, IdentifyLogScale)
	x := unit(rng, 512)
	y := make([]float32, len(x))
	for j := range x {
		y[j] = -x[j]
	}
	g := galleryOf([][]uint32{encode(t, p, x), encode(t, p, y)})
	for _, cos := range []float64{0.96, -0.96} {
		threshold, err := p.Threshold(cos)
		if err != nil {
			t.Fatal(err)
		}
		got, err := identifyAll(t, trio(p, CheckFull), g, probesOf(encode(t, p, x), threshold))
		if err != nil || !got[0] || got[1] {
			t.Errorf("threshold %v: %v, %v", cos, got, err)
		}
	}
	if _, err := p.Threshold(0.99); err == nil {
		t.Error("a threshold that can wrap was taken")
	}
}

// TestEncodingError bounds what encoding does to cosines, against float64: by Cauchy and Schwarz, with errors of at most
// half a unit a component, |error| ≤ √dim/S.
func TestEncodingError(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 512, VerifyLogScale)
	sum := 0.0
	const trials = 500
	for range trials {
		x := unit(rng, 512)
		y := near(rng, x, 0.4)
		cos := 0.0
		for j := range x {
			cos += float64(x[j]) * float64(y[j])
		}
		e := float64(plain(encode(t, p, x), encode(t, p, y)))/(1<<24) - cos
		if math.Abs(e) > math.Sqrt(512)/4096 {
			t.Fatalf("cosine %v: error %v", cos, e)
		}
		sum += e * e
	}
	if std := math.Sqrt(sum / trials); std > 1.3e-4 {
		t.Errorf("standard deviation %v, not 1.0e-4", std)
	}
}
