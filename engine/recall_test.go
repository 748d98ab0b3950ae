package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/index"
	"mien/index/hnsw"
	"mien/index/scan"
)

func TestMissesOf(t *testing.T) {
	hits := func(scores ...float32) (all []index.Hit) { // labels are in the order of scores
		for i, s := range scores {
			all = append(all, index.Hit{Label: uint32(i), Score: s})
		}
		return all
	}
	without := func(all []index.Hit, labels ...uint32) []index.Hit {
		return slices.DeleteFunc(slices.Clone(all), func(h index.Hit) bool { return slices.Contains(labels, h.Label) })
	}
	exact := hits(0.9, 0.8, 0.7, 0.7, 0.7, 0.2)
	for name, c := range map[string]struct {
		found     []index.Hit
		topK      int
		threshold float64
		want      Recall
	}{
		"all":                   {exact, 6, 0, Recall{Checked: 1, Due: 6}},
		"nothing due":           {nil, 6, 0.95, Recall{Checked: 1}},
		"none found":            {nil, 6, 0.75, Recall{Checked: 1, Due: 2, Missed: 2, BestMissed: 1}},
		"best missed":           {without(exact, 0), 6, 0, Recall{Checked: 1, Due: 6, Missed: 1, BestMissed: 1}},
		"last missed":           {without(exact, 5), 6, 0, Recall{Checked: 1, Due: 6, Missed: 1}},
		"below threshold":       {without(exact, 5), 6, 0.5, Recall{Checked: 1, Due: 5}},
		"tie at the last place": {without(exact, 2), 3, 0, Recall{Checked: 1, Due: 3}},
		"two of a tie missed":   {without(exact, 2, 3), 4, 0, Recall{Checked: 1, Due: 4, Missed: 2}},
		"beyond top_k":          {without(exact, 3), 2, 0, Recall{Checked: 1, Due: 2}},
		"second takes its room": {without(exact, 1), 2, 0, Recall{Checked: 1, Due: 2, Missed: 1}},
		"rounding":              {hits(0.9, 0.8, 0.7-1e-7), 3, 0, Recall{Checked: 1, Due: 3}},
		"another equal is best": {[]index.Hit{{Label: 9, Score: 0.9}}, 1, 0, Recall{Checked: 1, Due: 1}},
	} {
		if got := missesOf(c.found, exact, c.topK, c.threshold); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// checked is an index whose Check is the test's.
type checked struct {
	searcher
	check func(x searcher, q []float32, o index.Options) (found, exact []index.Hit, err error)
}

func (c *checked) Check(_ context.Context, q []float32, o index.Options) (found, exact []index.Hit, err error) {
	return c.check(c.searcher, q, o)
}

// checking opens an engine in memory with a gallery of three people, every search of which is checked by check.
func checking(t *testing.T, change func(*Config), check func(x searcher, q []float32, o index.Options) (found, exact []index.Hit, err error)) *Engine {
	t.Helper()
	c := testConfig(vfs.NewMem())
	c.RecallSample = 1
	c.makeIndex = func(kind string, s scan.Config) (searcher, error) {
		x, err := makeIndex(kind, s)
		return &checked{x, check}, err
	}
	if change != nil {
		change(&c)
	}
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	mustPut(t, e, "a", 1, 0, 0, 0)
	mustPut(t, e, "b", 0.9, 0.1, 0, 0)
	mustPut(t, e, "c", 0, 1, 0, 0)
	return e
}

func askC(t testing.TB, e *Engine, o IdentifyOptions) {
	t.Helper()
	o.Policy = Policy{Cosine: new(0.5)}
	if _, err := e.Identify(context.Background(), "t", "g", template(1, 0, 0, 0), o); err != nil {
		t.Fatal(err)
	}
}

func recallOf(t testing.TB, e *Engine, serving string) Recall {
	t.Helper()
	g, err := e.Gallery(context.Background(), "t", "g")
	if err != nil {
		t.Fatal(err)
	}
	return g.IndexStatus.Recall[serving]
}

// askUntil searches until so many searches are checked.
func askUntil(t testing.TB, e *Engine, n int64) Recall {
	t.Helper()
	for range 5000 {
		if r := recallOf(t, e, indexScan); r.Checked >= n {
			return r
		}
		askC(t, e, IdentifyOptions{})
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%+v: hardly any search is checked", recallOf(t, e, indexScan))
	return Recall{}
}

// TestRecall: an index that misses the best of every answer is found out.
func TestRecall(t *testing.T) {
	e := checking(t, nil, func(x searcher, q []float32, o index.Options) (found, exact []index.Hit, err error) {
		if o.K != DefaultTopK+1 || o.Exact || o.EF != 0 || !(o.Threshold > 0.49 && o.Threshold <= 0.5) {
			t.Errorf("%+v", o)
		}
		found, exact, err = x.Check(context.Background(), q, o)
		return found[1:], exact, err
	})
	if g, err := e.Gallery(t.Context(), "t", "g"); err != nil || g.IndexStatus.Serving != indexScan || g.IndexStatus.Why == "" || len(g.IndexStatus.Recall) != 0 {
		t.Errorf("%+v, %v", g.IndexStatus, err)
	}
	r := askUntil(t, e, 5)
	if want := (Recall{r.Checked, 2 * r.Checked, r.Checked, r.Checked, index.UpperBound(int(r.Checked), 2*int(r.Checked))}); r != want {
		t.Errorf("%+v, want %+v", r, want)
	}
	if all, err := e.Galleries(t.Context(), "t"); err != nil || all[0].IndexStatus != nil {
		t.Errorf("a list has the status: %+v, %v", all, err)
	}
}

// TestRecallSleeps: a check that took long is followed by a long pause, in which nothing is checked and no probe is
// kept, and Close does not wait for its end (L1, L2).
func TestRecallSleeps(t *testing.T) {
	var checks atomic.Int64
	var probes [][]float32
	e := checking(t, nil, func(_ searcher, q []float32, _ index.Options) (found, exact []index.Hit, err error) {
		if q[0] == 0 {
			t.Errorf("probe %v", q)
		}
		probes = append(probes, q)
		checks.Add(1)
		time.Sleep(200 * time.Millisecond)
		return nil, nil, nil
	})
	for checks.Load() == 0 {
		askC(t, e, IdentifyOptions{})
	}
	for range 100 {
		askC(t, e, IdentifyOptions{})
		time.Sleep(4 * time.Millisecond)
	}
	begin := time.Now()
	must(e.Close())
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("Close took %v", d)
	}
	if n := checks.Load(); n != 1 {
		t.Errorf("%d checks", n)
	}
	for _, q := range probes {
		if slices.Max(q) != 0 || slices.Min(q) != 0 {
			t.Errorf("a probe is left in memory: %v", q)
		}
	}
}

// TestRecallOff: exact searches are not checked, nor is any where that is not wanted.
func TestRecallOff(t *testing.T) {
	never := func(searcher, []float32, index.Options) (found, exact []index.Hit, err error) {
		t.Error("checked")
		return nil, nil, nil
	}
	on := checking(t, nil, never)
	off := checking(t, func(c *Config) { c.RecallSample = -1 }, never)
	for range 100 {
		askC(t, on, IdentifyOptions{Exact: true})
		askC(t, off, IdentifyOptions{})
	}
	time.Sleep(10 * time.Millisecond)
	must(errors.Join(on.Close(), off.Close()))
	c := testConfig(vfs.NewMem())
	c.RecallSample = 1.5
	_, err := Open(c)
	wantErr(t, err, ErrConfig)
}

// TestCheckFindsDamage: an index that a check finds damaged is made anew.
func TestCheckFindsDamage(t *testing.T) {
	var damaged atomic.Bool
	damaged.Store(true)
	e := checking(t, nil, func(x searcher, q []float32, o index.Options) (found, exact []index.Hit, err error) {
		if damaged.Swap(false) {
			return nil, nil, fmt.Errorf("%w: row 7", index.ErrCorrupt)
		}
		return x.Check(context.Background(), q, o)
	})
	before := mustFind(t, e).currentIndex()
	if r := askUntil(t, e, 2); r.Due != 2*r.Checked || r.Missed != 0 {
		t.Errorf("%+v", r)
	}
	if mustFind(t, e).currentIndex() == before {
		t.Error("the index is the damaged one")
	}
	mustCheck(t, e)
}

func mustFind(t testing.TB, e *Engine) *gallery {
	t.Helper()
	g, err := e.gallery("t", "g")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// openGraph opens an engine in memory with a gallery that has a graph of some people.
func openGraph(t *testing.T, people int) (*Engine, *gallery, *rand.Rand) {
	t.Helper()
	c := testConfig(vfs.NewMem())
	c.Spaces, c.RecallSample = []Space{spaceC}, 1
	e := open(t, c)
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Index: indexHNSW}); err != nil {
		t.Fatal(err)
	}
	g, rng := mustFind(t, e), newRand(t)
	for i := range people {
		g.put(fmt.Sprint(i), 1, traits{}, 1, [][]float32{noise(rng)})
	}
	if err := g.currentIndex().(*hnsw.Index).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e, g, rng
}

// TestGraphUnderChange: who is enrolled is found by the next search, linked or not, and who is deleted by none.
func TestGraphUnderChange(t *testing.T) {
	e, _, rng := openGraph(t, largeGallery+200)
	missed, rounds := 0, scaled(shorter(400, 100))
	ask := func(v Template) []Candidate {
		r, err := e.Identify(t.Context(), "t", "g", v, IdentifyOptions{TopK: 3, Policy: Policy{Cosine: new(0.9)}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Candidates
	}
	for i := range rounds {
		id, old, now := fmt.Sprint("p", i%7), randomUnit(rng, spaceC), randomUnit(rng, spaceC)
		for _, v := range []Template{old, now} {
			if _, _, err := e.PutPerson(t.Context(), "t", "g", id, PersonSpec{Templates: []Template{v}}); err != nil {
				t.Fatal(err)
			}
			found := ask(v)
			if len(found) == 0 {
				missed++
			} else if len(found) > 1 || found[0].Person != id || found[0].Cosine != 1 {
				t.Fatalf("%+v, want %s", found, id)
			}
		}
		if found := ask(old); len(found) > 0 {
			t.Fatalf("a template that was replaced finds %+v", found)
		}
		if i%2 == 0 {
			if err := e.DeletePerson(t.Context(), "t", "g", id, WriteOptions{}); err != nil {
				t.Fatal(err)
			}
			if found := ask(now); len(found) > 0 {
				t.Fatalf("who was deleted is found: %+v", found)
			}
		}
	}
	if missed > 1+rounds/100 {
		t.Errorf("%d of %d were not found", missed, 2*rounds)
	}
}

// TestRecallOfGraph: a graph that is asked to look at next to nothing misses, and the gallery's status says so.
func TestRecallOfGraph(t *testing.T) {
	const people = largeGallery + 200
	e, g, rng := openGraph(t, people)
	var r Recall
	for i := 0; r.Missed == 0; i++ {
		if i == 5000 {
			t.Fatalf("%+v", g.status())
		}
		probe := Template{Space: spaceC.ID, Vector: noise(rng)}
		if _, err := e.Identify(t.Context(), "t", "g", probe, IdentifyOptions{TopK: 1, EF: 1, Policy: Policy{Cosine: new(-1.0)}}); err != nil {
			t.Fatal(err)
		}
		r = recallOf(t, e, indexHNSW)
		time.Sleep(time.Millisecond)
	}
	if r.BestMissed != r.Missed || r.Due != r.Checked || r.MissRateUpper95 <= float64(r.Missed)/float64(r.Due) && r.Missed < r.Due {
		t.Errorf("%+v", r)
	}
	s := g.status()
	if s.Serving != indexHNSW || s.Graph == nil || s.Graph.Linked != people || s.Graph.Waiting != 0 || s.Graph.ByGraph == 0 {
		t.Errorf("%+v %+v", s, s.Graph)
	}
}
