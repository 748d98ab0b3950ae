package engine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/index"
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

// spaceC has a dim for which the index makes codes.
var spaceC = Space{ID: "c-64", Dim: 64, Calibration: testCurve}

// in64 is v, of few numbers, as a unit vector of spaceC.
func in64(v ...float32) []float32 {
	u, err := unitVector(spaceC, append(v, make([]float32, spaceC.Dim-len(v))...))
	must(err)
	return u
}

// noise is a random unit vector of spaceC that is orthogonal to what in64 makes of three numbers.
func noise(rng *rand.Rand) []float32 {
	v := make([]float32, spaceC.Dim)
	for i := 3; i < len(v); i++ {
		v[i] = float32(rng.NormFloat64())
	}
	return in64(v...)
}

func probeC(v ...float32) Template { return Template{Space: spaceC.ID, Vector: in64(v...)} }

// crowd is a gallery of spaceC in memory with people whom no probe of three numbers finds.
func crowd(t *testing.T, people, templates int) (*Engine, *gallery, *rand.Rand) {
	c := testConfig(vfs.NewMem())
	c.Spaces = []Space{spaceC}
	e := open(t, c)
	g, rng := mustMemory(t, e), newRand(t)
	for i := range people {
		rows := make([][]float32, templates)
		for j := range rows {
			rows[j] = noise(rng)
		}
		g.put(fmt.Sprint("crowd", i), 1, traits{}, templates, rows)
	}
	return e, g, rng
}

// TestIdentifyDuringSwaps: a person whose two templates, at the two ends of the rows, swap places for ever has both of
// them throughout, and is found by one of them every time.
func TestIdentifyDuringSwaps(t *testing.T) {
	for name, pause := range map[string]time.Duration{"steady": 100 * time.Microsecond, "flood": 0} {
		t.Run(name, func(t *testing.T) {
			e, g, _ := crowd(t, 1000, MaxTemplates)
			a, b := in64(1), in64(0, 1)
			g.put("swaps", 1, traits{}, 2, [][]float32{a, b})
			stop := background(func(i int) {
				g.put("swaps", uint64(i), traits{}, 2, [][]float32{b, a})
				time.Sleep(pause)
				g.put("swaps", uint64(i), traits{}, 2, [][]float32{a, b})
				time.Sleep(pause)
			})
			defer stop()
			for i := range scaled(100) {
				r, err := e.Identify(t.Context(), "t", "g", probeC(1), IdentifyOptions{Policy: Policy{Cosine: new(0.9)}, Exact: i%2 == 0})
				if err != nil || len(r.Candidates) != 1 || r.Candidates[0].Person != "swaps" || r.Candidates[0].Cosine != 1 {
					t.Errorf("search %d: %+v, %v", i, r, err)
					break
				}
			}
		})
	}
}

// background calls f with 0, 1, … until the function it returns is called, which waits for the end.
func background(f func(i int)) (stop func()) {
	var done atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; !done.Load(); i++ {
			f(i)
		}
	})
	return func() {
		done.Store(true)
		wg.Wait()
	}
}

// TestOneMoment: a window slides over an endless row of people: the next is enrolled, then the first deleted. At every
// moment those who are there are neighbours, and as many as the window is wide or one more; so are those whom a
// search finds, however many changes it spans, and whoever was there from before it until after it is among them.
// They stand in the gallery among thousands of others.
func TestOneMoment(t *testing.T) {
	const width, topK = 5, 20
	for name, c := range map[string]struct {
		people int
		pause  time.Duration
	}{"few, steady": {10, 200 * time.Microsecond}, "many, steady": {6000, 200 * time.Microsecond}, "many, flood": {6000, 0}} {
		t.Run(name, func(t *testing.T) {
			e, g, _ := crowd(t, c.people, 1)
			var added, removing atomic.Int64 // people below are there already; people below may be gone
			enrol := func(n int) {
				g.put(fmt.Sprint(n), 1, traits{}, 1, [][]float32{in64(1, 0, float32(n%50)/100)})
				added.Store(int64(n + 1))
			}
			for n := range width {
				enrol(n)
			}
			stop := background(func(i int) {
				enrol(width + i)
				time.Sleep(c.pause)
				removing.Store(int64(i + 1))
				g.remove(fmt.Sprint(i))
				time.Sleep(c.pause)
			})
			defer stop()
			for i := range scaled(400) {
				there := added.Load()
				r, err := e.Identify(t.Context(), "t", "g", probeC(1), IdentifyOptions{TopK: topK, Policy: Policy{Cosine: new(0.5)}, Exact: i%4 == 0})
				if err != nil {
					t.Fatal(err)
				}
				if err := isWindow(r.Candidates, width, int(removing.Load()), int(there)); err != nil {
					t.Fatalf("%v: %+v", err, r.Candidates)
				}
			}
		})
	}
}

// isWindow checks that the candidates are neighbours, and hold from ≤ n < to.
func isWindow(found []Candidate, width, from, to int) error {
	var numbers []int
	for _, c := range found {
		n, err := strconv.Atoi(c.Person)
		if err != nil {
			return err
		}
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for i, n := range numbers {
		if n != numbers[0]+i {
			return fmt.Errorf("there is a gap in %v", numbers)
		}
	}
	if from < to && (len(numbers) == 0 || numbers[0] > from || numbers[len(numbers)-1] < to-1) {
		return fmt.Errorf("%v lacks some of %d..%d, who were there throughout", numbers, from, to-1)
	}
	if len(numbers) > width+1 {
		return fmt.Errorf("%v were never there together", numbers)
	}
	return nil
}

// TestReplacedWhole: somebody is replaced by versions with more and fewer templates, each of which holds the probe's,
// at another place: every search and verification finds it.
func TestReplacedWhole(t *testing.T) {
	e, g, rng := crowd(t, 4000, 1)
	good, fair, bad := in64(1), in64(1, 1), noise(rng)
	versions := [][][]float32{{good, bad}, {bad, good}, {fair, bad, good}, {good}, {bad, bad, bad, fair, good}}
	g.put("p", 1, traits{}, 2, versions[0])
	stop := background(func(i int) {
		v := versions[i%len(versions)]
		g.put("p", uint64(i), traits{}, len(v), v)
	})
	defer stop()
	for i := range scaled(300) {
		r, err := e.Identify(t.Context(), "t", "g", probeC(1), IdentifyOptions{TopK: 1, Policy: Policy{Cosine: new(0.2)}})
		d, verr := e.Verify(t.Context(), "t", "g", "p", probeC(1), Policy{})
		if err != nil || verr != nil || len(r.Candidates) != 1 || r.Candidates[0].Cosine != 1 || d.Cosine != 1 {
			t.Fatalf("search %d: %+v, %v; verified %+v, %v", i, r.Candidates, err, d, verr)
		}
	}
}

// meddler is an index during whose searches something happens: after it has looked, so that what it found is of
// before.
type meddler struct {
	searcher
	searches int
	meddle   func(search int) // from 1
}

func (m *meddler) SearchInto(ctx context.Context, dst []index.Hit, q []float32, o index.Options) ([]index.Hit, error) {
	hits, err := m.searcher.SearchInto(ctx, dst, q, o)
	m.searches++
	m.meddle(m.searches)
	return hits, err
}

// changes counts the changes of an index.
type changes struct {
	searcher
	n int
}

func (c *changes) Replace(old []uint32, label uint32, vectors [][]float32) ([]uint32, error) {
	c.n++
	return c.searcher.Replace(old, label, vectors)
}

// TestOneChange: every change of a person's templates is one change of the index, whose searches are of one moment:
// the tests above would seldom hit the instant between two.
func TestOneChange(t *testing.T) {
	e := openMem(t)
	g := mustMemory(t, e)
	c := &changes{searcher: g.mu.index}
	g.mu.index = c
	for i, change := range []func(){
		func() { g.put("p", 1, traits{}, 2, [][]float32{near(1), near(2)}) },
		func() { g.put("p", 2, traits{}, 3, [][]float32{near(3), near(4), near(5)}) },
		func() { g.addTemplate("p", 3, traits{}, near(6)) },
		func() { g.put("p", 4, traits{}, 1, [][]float32{near(7)}) },
		func() { g.remove("p") },
	} {
		if change(); c.n != i+1 {
			t.Errorf("after %d changes of a person, the index has seen %d", i+1, c.n)
		}
	}
	if c.Rows() != 0 {
		t.Errorf("%d rows are left", c.Rows())
	}
}

// near is a unit vector whose cosine with (1, 0, 0, 0) falls with rank.
func near(rank int) []float32 {
	v, _ := unitVector(spaceA, []float32{100, float32(rank), 0, 0})
	return v
}

// TestChangesAfterMoment: what changes after the index looked does not change the answer, unless somebody who was
// found is deleted.
func TestChangesAfterMoment(t *testing.T) {
	const topK = 3
	deleteFrom := func(from, n int) func(*gallery) {
		return func(g *gallery) {
			for i := range n {
				g.remove(fmt.Sprint(from + i))
			}
		}
	}
	for name, c := range map[string]struct {
		meddle   []func(g *gallery) // after the first search, the second, …
		want     []string
		searches int
	}{
		"nothing":                         {nil, []string{"0", "1", "2"}, 1},
		"one is deleted":                  {[]func(*gallery){deleteFrom(1, 1)}, []string{"0", "2", "3"}, 2},
		"all who were found are":          {[]func(*gallery){deleteFrom(0, 5)}, []string{"5", "6", "7"}, 2},
		"nobody who was found is deleted": {[]func(*gallery){deleteFrom(50, 1)}, []string{"0", "1", "2"}, 1},
		"the best moves away": {[]func(*gallery){func(g *gallery) {
			g.put("0", 2, traits{}, 1, [][]float32{near(500)})
		}}, []string{"0", "1", "2"}, 1},
		"somebody comes": {[]func(*gallery){func(g *gallery) {
			g.put("new", 2, traits{}, 1, [][]float32{near(0)})
		}}, []string{"0", "1", "2"}, 1},
		"a template is added": {[]func(*gallery){func(g *gallery) {
			g.addTemplate("50", 2, traits{}, near(0))
		}}, []string{"0", "1", "2"}, 1},
		"one leaves and comes back": {[]func(*gallery){func(g *gallery) {
			g.remove("0")
			g.put("0", 2, traits{}, 1, [][]float32{near(2)})
		}}, []string{"1", "0", "2"}, 2},
		// The fourth is not made again for that: who was found and is deleted is left out. It is for the last place, as
		// ever when the last hit has it.
		"every search deletes the best": {[]func(*gallery){deleteFrom(0, 1), deleteFrom(1, 1), deleteFrom(2, 1), deleteFrom(3, 1)},
			[]string{"4", "5", "6"}, 5},
		// Nor does its list stay short: more are asked for.
		"every search deletes all": {[]func(*gallery){deleteFrom(0, 4), deleteFrom(4, 4), deleteFrom(8, 4), deleteFrom(12, 4)},
			[]string{"16", "17", "18"}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			e := openMem(t)
			g := mustMemory(t, e)
			for i := range 100 {
				g.put(fmt.Sprint(i), 1, traits{}, 1, [][]float32{near(i)})
			}
			m := &meddler{searcher: g.mu.index}
			m.meddle = func(search int) {
				if search <= len(c.meddle) {
					c.meddle[search-1](g)
				}
			}
			g.mu.index = m
			r, err := e.Identify(t.Context(), "t", "g", template(1, 0, 0, 0), IdentifyOptions{TopK: topK, Policy: Policy{Cosine: new(0.1)}})
			got := []string{}
			for _, x := range r.Candidates {
				got = append(got, x.Person)
			}
			if err != nil || !slices.Equal(got, c.want) || m.searches != c.searches || r.Searched < 80 {
				t.Errorf("%q after %d searches of %d, %v; want %q after %d", got, m.searches, r.Searched, err, c.want, c.searches)
			}
		})
	}
}

// TestDeletionsDoNotHide: people nearer than the one who stays come and go while searches run: a list with room
// left must hold who stays.
func TestDeletionsDoNotHide(t *testing.T) {
	const topK, comers = 3, 12
	e, g, rng := crowd(t, 8000, 1)
	at := func(rank int) []float32 { return in64(100, float32(rank)) }
	g.put("stays", 1, traits{}, 1, [][]float32{at(20)})
	own := rand.New(rand.NewPCG(rng.Uint64(), 1))
	stop := background(func(int) {
		for i := range comers {
			g.put(fmt.Sprint(i), 1, traits{}, 1, [][]float32{at(i)})
		}
		time.Sleep(time.Duration(own.IntN(200)) * time.Microsecond)
		for i := range comers {
			g.remove(fmt.Sprint(i))
		}
	})
	defer stop()
	for range scaled(300) {
		r, err := e.Identify(t.Context(), "t", "g", probeC(1), IdentifyOptions{TopK: topK, Policy: Policy{Cosine: new(0.5)}})
		stays := slices.ContainsFunc(r.Candidates, func(c Candidate) bool { return c.Person == "stays" })
		if err != nil || !stays && len(r.Candidates) < topK {
			t.Fatalf("%+v, %v", r, err)
		}
	}
}

// TestTemplatesOfAnyLength: the index takes vectors of unit length only; clients may send any, as templates and probes.
func TestTemplatesOfAnyLength(t *testing.T) {
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	for i, scale := range []float32{1e-45, 1e-20, 0.9, 1, 7, 1e19, 3e38} {
		id := fmt.Sprint(i)
		if _, _, err := e.PutPerson(t.Context(), "t", "g", id, PersonSpec{Templates: []Template{template(scale, 0, scale, 0)}}); err != nil {
			t.Fatal(err)
		}
		probe := template(scale, 0, scale, 0)
		d, err := e.Verify(t.Context(), "t", "g", id, probe, Policy{})
		if err != nil || d.Cosine != 1 {
			t.Errorf("scale %v: %+v, %v", scale, d, err)
		}
		r, err := e.Identify(t.Context(), "t", "g", probe, IdentifyOptions{})
		if err != nil || len(r.Candidates) != i+1 {
			t.Errorf("scale %v: %+v, %v", scale, r, err)
		}
	}
}

// TestExactAndEverybody: with and without Exact, thousands of templates and a threshold that takes everybody, the best
// are the best.
func TestExactAndEverybody(t *testing.T) {
	e, g, rng := crowd(t, 3000, 1)
	for range scaled(20) {
		q := noise(rng)
		for _, threshold := range []float64{-1, 0, 0.4} {
			want, err := e.Identify(t.Context(), "t", "g", Template{Space: spaceC.ID, Vector: q}, IdentifyOptions{TopK: 7, Policy: Policy{Cosine: &threshold}, Exact: true})
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.Identify(t.Context(), "t", "g", Template{Space: spaceC.ID, Vector: q}, IdentifyOptions{TopK: 7, Policy: Policy{Cosine: &threshold}})
			if err != nil || !slices.Equal(got.Candidates, want.Candidates) {
				t.Fatalf("threshold %v: %+v, %v; exact %+v", threshold, got.Candidates, err, want.Candidates)
			}
			dots := []float32{}
			for _, m := range g.mu.people {
				dot, err := g.mu.index.Dot(m.rows[0], q)
				must(err)
				if float64(dot) >= threshold {
					dots = append(dots, dot)
				}
			}
			slices.Sort(dots)
			slices.Reverse(dots)
			for i := range min(len(dots), 7) {
				if len(want.Candidates) <= i || want.Candidates[i].Cosine != cosineOf(dots[i]) {
					t.Fatalf("threshold %v: %+v; dots %v", threshold, want.Candidates, dots[:i+1])
				}
			}
		}
	}
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
	g.put("p", 1, traits{}, 1, [][]float32{{1, 0, 0, 0}})
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
