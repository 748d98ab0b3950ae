package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/index"
	"pgregory.net/rapid"
)

func mustMemory(t testing.TB, e *Engine) *gallery {
	t.Helper()
	mustGallery(t, e, "t", "g")
	g, err := e.gallery("t", "g")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestIdentifyDuringSwaps: a person whose two templates, at the two ends of 32,000 rows, swap places for ever has
// both of them throughout, and is found by one of them every time.
func TestIdentifyDuringSwaps(t *testing.T) {
	const people = 4000
	for name, pause := range map[string]time.Duration{"steady": 100 * time.Microsecond, "flood": 0} {
		t.Run(name, func(t *testing.T) {
			e := openMem(t)
			g, rng := mustMemory(t, e), newRand(t)
			a, b := []float32{1, 0, 0, 0}, []float32{0, 1, 0, 0}
			g.put("swaps", 1, 1, [][]float32{a})
			for i := range people {
				rows := make([][]float32, MaxTemplates)
				for j := range rows {
					x := rng.Float32()
					rows[j] = []float32{0, 0, x, 1 - x}
				}
				g.put(fmt.Sprint(i), 1, len(rows), rows)
			}
			g.addTemplate("swaps", 2, b)
			var stop atomic.Bool
			var wg sync.WaitGroup
			wg.Go(func() {
				for version := uint64(3); !stop.Load(); version += 2 {
					g.put("swaps", version, 2, [][]float32{b, a})
					time.Sleep(pause)
					g.put("swaps", version+1, 2, [][]float32{a, b})
					time.Sleep(pause)
				}
			})
			for i := range scaled(100) {
				r, err := e.Identify(t.Context(), "t", "g", template(a...), IdentifyOptions{Policy: Policy{Cosine: new(0.9)}})
				if err != nil || len(r.Candidates) != 1 || r.Candidates[0].Person != "swaps" || r.Candidates[0].Cosine != 1 {
					t.Errorf("search %d: %+v, %v", i, r, err)
					break
				}
			}
			stop.Store(true)
			wg.Wait()
		})
	}
}

// meddler is an index during whose searches something happens: after it has looked, so that what it found is of
// before.
type meddler struct {
	searcher
	searches int
	meddle   func(search int) // from 1
}

func (m *meddler) SearchInto(ctx context.Context, dst []index.Hit, q []float32, k int, threshold float32) ([]index.Hit, error) {
	hits, err := m.searcher.SearchInto(ctx, dst, q, k, threshold)
	m.searches++
	m.meddle(m.searches)
	return hits, err
}

// near is a unit vector whose cosine with (1, 0, 0, 0) falls with rank.
func near(rank int) []float32 {
	v, _ := unitVector(spaceA, []float32{100, float32(rank), 0, 0})
	return v
}

// TestChangesDuringSearch: what a search finds is the gallery as it is when the search ends.
func TestChangesDuringSearch(t *testing.T) {
	const topK = 3
	for name, c := range map[string]struct {
		meddle   func(g *gallery, search int)
		want     []string
		searches int
	}{
		"nothing": {func(*gallery, int) {}, []string{"0", "1", "2"}, 1},
		"the best are deleted": {func(g *gallery, search int) {
			if search == 1 {
				for i := range 5 { // more than the search asked the index for
					g.remove(fmt.Sprint(i))
				}
			}
		}, []string{"5", "6", "7"}, 2},
		"one is deleted": {func(g *gallery, search int) {
			if search == 1 {
				g.remove("1")
			}
		}, []string{"0", "2", "3"}, 2},
		"every search deletes": {func(g *gallery, search int) {
			if search <= 3 {
				for i := range 7 {
					g.remove(fmt.Sprint(7*(search-1) + i))
				}
			}
		}, []string{"21", "22", "23"}, 3},
		"the last becomes the best": {func(g *gallery, search int) {
			if search == 1 {
				g.put("99", 2, 2, [][]float32{near(500), near(0)})
			}
		}, []string{"0", "99", "1"}, 1},
		"the best moves away": {func(g *gallery, search int) {
			if search == 1 {
				g.put("0", 2, 1, [][]float32{near(500)})
			}
		}, []string{"1", "2", "3"}, 2},
		"somebody comes": {func(g *gallery, search int) {
			if search == 1 {
				g.put("new", 2, 1, [][]float32{near(0)})
			}
		}, []string{"0", "new", "1"}, 1},
		"a template is added": {func(g *gallery, search int) {
			if search == 1 {
				g.addTemplate("50", 2, near(0))
			}
		}, []string{"0", "50", "1"}, 1},
		"more changes than are remembered": {func(g *gallery, search int) {
			if search <= maxSpoilt {
				for i := range maxRecent + 1 {
					g.put("0", 2, 1, [][]float32{near(500 * (i % 2))})
				}
			}
		}, []string{"0", "1", "2"}, maxSpoilt + 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := openMem(t)
			g := mustMemory(t, e)
			for i := range 100 {
				g.put(fmt.Sprint(i), 1, 1, [][]float32{near(i)})
			}
			m := &meddler{searcher: g.index}
			m.meddle = func(search int) {
				held := !g.mu.TryLock()
				if !held {
					g.mu.Unlock()
				}
				if held != (search > maxSpoilt) {
					t.Errorf("search %d holds the gallery's lock: %v", search, held)
				}
				c.meddle(g, search)
			}
			g.index = m
			r, err := e.Identify(t.Context(), "t", "g", template(1, 0, 0, 0), IdentifyOptions{TopK: topK, Policy: Policy{Cosine: new(0.1)}})
			got := []string{}
			for _, x := range r.Candidates {
				got = append(got, x.Person)
			}
			if err != nil || !slices.Equal(got, c.want) || m.searches != c.searches || r.Searched < 70 {
				t.Errorf("%q after %d searches of %d, %v; want %q after %d", got, m.searches, r.Searched, err, c.want, c.searches)
			}
		})
	}
}

// TestDeletionsDoNotHide: people nearer than the one who stays come and go while searches run: a list with room
// left must hold who stays.
func TestDeletionsDoNotHide(t *testing.T) {
	const topK, comers = 3, 12
	e := openMem(t)
	g, rng := mustMemory(t, e), newRand(t)
	for i := range 8000 {
		g.put(fmt.Sprint("far", i), 1, 1, [][]float32{{0, 0, 0, 1}})
	}
	g.put("stays", 1, 1, [][]float32{near(20)})
	var stop atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		own := rand.New(rand.NewPCG(rng.Uint64(), 1))
		for !stop.Load() {
			for i := range comers {
				g.put(fmt.Sprint(i), 1, 1, [][]float32{near(i)})
			}
			time.Sleep(time.Duration(own.IntN(200)) * time.Microsecond)
			for i := range comers {
				g.remove(fmt.Sprint(i))
			}
		}
	})
	for range scaled(300) {
		r, err := e.Identify(t.Context(), "t", "g", template(1, 0, 0, 0), IdentifyOptions{TopK: topK, Policy: Policy{Cosine: new(0.5)}})
		stays := slices.ContainsFunc(r.Candidates, func(c Candidate) bool { return c.Person == "stays" })
		if err != nil || !stays && len(r.Candidates) < topK {
			t.Errorf("%+v, %v", r, err)
			break
		}
	}
	stop.Store(true)
	wg.Wait()
}

// TestThresholdOfRounding: rounding may take a dot product of opposite unit vectors below −1, and one of equal
// vectors below 1; a policy of just that cosine finds both.
func TestThresholdOfRounding(t *testing.T) {
	for dot, threshold := range map[float32]float64{-1.0000001: -1, -1.0000005: -1, 0.9999995: 1, 0.3: 0.3, -0.3: -0.3} {
		if dot < floorFloat32(threshold) {
			t.Errorf("the index drops a dot of %v, whose cosine %v reaches %v", dot, cosineOf(dot), threshold)
		}
	}
}

// TestExtrapolatedIsSaid: answers say when their rates are beyond the measured.
func TestExtrapolatedIsSaid(t *testing.T) {
	e, ctx := openMem(t), t.Context()
	g := mustMemory(t, e)
	g.put("p", 1, 1, [][]float32{{1, 0, 0, 0}})
	for y, want := range map[float32]bool{0: true, 2: false} { // cosine 1 and 0.447; the last measured is 0.45
		probe, policy := template(1, y, 0, 0), Policy{Cosine: new(0.4)}
		d, err := e.Verify(ctx, "t", "g", "p", probe, policy)
		if err != nil || d.Extrapolated != want {
			t.Errorf("verify: %+v, %v", d, err)
		}
		r, err := e.Identify(ctx, "t", "g", probe, IdentifyOptions{Policy: policy})
		if err != nil || len(r.Candidates) != 1 || r.Candidates[0].Extrapolated != want {
			t.Errorf("identify: %+v, %v", r, err)
		}
		d, err = e.Compare(ctx, template(1, 0, 0, 0), probe, policy)
		if err != nil || d.Extrapolated != want {
			t.Errorf("compare: %+v, %v", d, err)
		}
	}
}

func TestChangeLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l changeLog
		var all []uint32
		label := rapid.Uint32Range(0, 50)
		for range rapid.IntRange(0, 4).Draw(t, "runs") {
			for range rapid.SampledFrom([]int{0, 1, 100, maxRecent - 1, maxRecent}).Draw(t, "length") {
				x := uint32(len(all)) % (label.Draw(t, "modulus") + 1)
				l.note(x)
				all = append(all, x)
			}
		}
		from := rapid.IntRange(0, len(all)).Draw(t, "from")
		got, known := l.since(uint64(from))
		want := slices.Clone(all[from:])
		slices.Sort(want)
		want = slices.Compact(want)
		if known != (len(all)-from <= maxRecent) || known && !slices.Equal(got, want) {
			t.Fatalf("since %d of %d: %v, %v; want %v", from, len(all), got, known, want)
		}
	})
}
