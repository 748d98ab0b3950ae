package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// spaceCoded has codes: searches of it go through the whole cascade.
var spaceCoded = Space{ID: "c-128", Dim: 128, Calibration: testCurve}

func dedupeConfig(fs vfs.FS) Config {
	c := testConfig(fs)
	c.Spaces = append(slices.Clone(c.Spaces), spaceCoded)
	c.dedupeBatch, c.jobCheckpoint = 16, time.Nanosecond
	return c
}

// nearUnit is a direction at a cosine to another.
func nearUnit(rng *rand.Rand, v []float32, cosine float64) []float32 {
	a, b := unit64(v), unit64(randomUnit(rng, Space{Dim: len(v)}).Vector)
	d := 0.0
	for i := range a {
		d += a[i] * b[i]
	}
	rest := 0.0
	for i := range b {
		b[i] -= d * a[i]
		rest += b[i] * b[i]
	}
	out := make([]float32, len(v))
	for i := range out {
		out[i] = float32(cosine*a[i] + math.Sqrt(1-cosine*cosine)*b[i]/math.Sqrt(rest))
	}
	return out
}

// twins is the people of a gallery as a test knows them.
type twins map[string][][]float32

// enrolTwins puts people with one to three templates, of whom every tenth is a twin of somebody before at a cosine of 0.3 to 1.
func enrolTwins(t testing.TB, e *Engine, name string, space Space, rng *rand.Rand, people int) twins {
	t.Helper()
	all, ids := twins{}, []string{}
	for i := range people {
		id := fmt.Sprintf("p%04d", rng.IntN(10*people))
		if all[id] != nil {
			continue
		}
		base := randomUnit(rng, space).Vector
		if i%10 == 9 {
			other := all[ids[rng.IntN(len(ids))]]
			base = nearUnit(rng, other[rng.IntN(len(other))], 0.3+0.7*rng.Float64())
		}
		vectors := [][]float32{base}
		for range rng.IntN(3) {
			vectors = append(vectors, nearUnit(rng, base, 0.8))
		}
		all.put(t, e, name, space, id, vectors)
		ids = append(ids, id)
	}
	return all
}

func (c twins) put(t testing.TB, e *Engine, name string, space Space, id string, vectors [][]float32) {
	t.Helper()
	spec := PersonSpec{}
	for _, v := range vectors {
		spec.Templates = append(spec.Templates, Template{Space: space.ID, Vector: v})
	}
	if _, _, err := e.PutPerson(context.Background(), "t", name, id, spec); err != nil {
		t.Fatal(err)
	}
	c[id] = vectors
}

// pairs are all pairs by a plain loop over float64: those that must be found, and with those at the threshold that may.
func (c twins) pairs(threshold float64) (must, may map[[2]string]float64) {
	must, may = map[[2]string]float64{}, map[[2]string]float64{}
	units := map[string][][]float64{}
	for id, vectors := range c {
		for _, v := range vectors {
			units[id] = append(units[id], unit64(v))
		}
	}
	for a := range units {
		for b := range units {
			if a >= b {
				continue
			}
			best := -1.0
			for _, v := range units[a] {
				for _, w := range units[b] {
					sum := 0.0
					for i := range v {
						sum += v[i] * w[i]
					}
					best = max(best, sum)
				}
			}
			if best >= threshold-1e-5 {
				may[[2]string{a, b}] = best
			}
			if best >= threshold+1e-5 {
				must[[2]string{a, b}] = best
			}
		}
	}
	return must, may
}

func mustDedupe(t testing.TB, e *Engine, name string, spec DedupeSpec) Job {
	t.Helper()
	j, _, err := e.StartDedupe(context.Background(), "t", name, spec)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func waitJob(t testing.TB, e *Engine, id string) Job {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(time.Millisecond) {
		j, err := e.Job(context.Background(), "t", id)
		if err != nil {
			t.Fatal(err)
		}
		if j.State.ended() {
			return j
		}
		if time.Now().After(deadline) {
			t.Fatalf("the job has not ended: %+v", j)
		}
	}
}

// allPairs lists a job's pairs page by page and checks their order.
func allPairs(t testing.TB, e *Engine, id string) (all []Pair) {
	t.Helper()
	for cursor := ""; ; {
		page, next, err := e.JobPairs(context.Background(), "t", id, 7, cursor)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if cursor = next; next == "" {
			break
		}
	}
	if !slices.IsSortedFunc(all, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(b.Cosine, a.Cosine), cmp.Compare(a.Person, b.Person), cmp.Compare(a.Other, b.Other))
	}) {
		t.Error("pairs out of order")
	}
	return all
}

func allFindings(t testing.TB, e *Engine, id string) (all []Finding) {
	t.Helper()
	for cursor := ""; ; {
		page, next, err := e.JobFindings(context.Background(), "t", id, 3, cursor)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if cursor = next; next == "" {
			return all
		}
	}
}

// wantPairs compares a job's pairs with the plain loop's.
func wantPairs(t testing.TB, got []Pair, must, may map[[2]string]float64) {
	t.Helper()
	seen := map[[2]string]bool{}
	for _, p := range got {
		key := [2]string{p.Person, p.Other}
		want, ok := may[key]
		if !ok || seen[key] || math.Abs(want-p.Cosine) > 1e-4 {
			t.Errorf("pair %+v: want cosine %v, may be there: %v, seen before: %v", p, want, ok, seen[key])
		}
		seen[key] = true
	}
	for key, cosine := range must {
		if !seen[key] {
			t.Errorf("pair %v at %v is missing", key, cosine)
		}
	}
}

// TestDedupe agrees with a plain loop over all pairs: over every kind of index, small galleries and those with codes.
func TestDedupe(t *testing.T) {
	for _, c := range []struct {
		kind   string
		space  Space
		people int
	}{{indexScan, spaceCoded, 1200}, {indexHNSW, spaceCoded, 900}, {indexAuto, spaceB, 150}, {indexScan, spaceCoded, 2}, {indexScan, spaceCoded, 0}} {
		t.Run(fmt.Sprintf("%s/%s/%d", c.kind, c.space.ID, c.people), func(t *testing.T) {
			rng := newRand(t)
			e := open(t, dedupeConfig(vfs.NewMem()))
			if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: c.space.ID, Index: c.kind}); err != nil {
				t.Fatal(err)
			}
			all := enrolTwins(t, e, "g", c.space, rng, c.people)
			threshold := 0.42
			if c.space.Dim < 64 {
				threshold = 0.75 // strangers are nearer
			}
			j := waitJob(t, e, mustDedupe(t, e, "g", DedupeSpec{Policy: Policy{Cosine: &threshold}}).ID)
			must, may := all.pairs(threshold)
			got := allPairs(t, e, j.ID)
			wantPairs(t, got, must, may)
			if j.State != JobDone || j.Done != len(all) || j.People != len(all) || j.Truncated || j.Pairs != len(got) || j.Hygiene.People != len(all) ||
				j.Threshold != threshold || j.Covered.IsZero() || c.people > 500 && len(must) < 30 {
				t.Errorf("%+v with %d people, %d pairs", j, len(all), len(must))
			}
			mustCheck(t, e)
		})
	}
}

// TestDedupeThreshold: the default expects one pair of strangers, and every other way to say it is what it says.
func TestDedupeThreshold(t *testing.T) {
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	for i := range 5 {
		if _, _, err := e.PutPerson(t.Context(), "t", "g", fmt.Sprint(i), PersonSpec{Templates: []Template{template(float32(i), 1, 0, 0), template(0, 0, 1, 0)}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		spec DedupeSpec
		fmr  float64
	}{
		{DedupeSpec{}, 1.0 / 45}, {DedupeSpec{ExpectedFalsePairs: 0.01}, 0.01 / 45}, {DedupeSpec{ExpectedFalsePairs: 1e6}, 1},
		{DedupeSpec{Policy: Policy{FMR: new(1e-5)}}, 1e-5}, {DedupeSpec{Policy: Policy{FPIR: new(1e-3)}}, fmrForFPIR(1e-3, 10)},
	} {
		j := mustDedupe(t, e, "g", c.spec)
		waitJob(t, e, j.ID)
		if math.Abs(j.FMR/c.fmr-1) > 1e-9 || math.Abs(j.ExpectedFalsePairs/(c.fmr*45)-1) > 1e-9 {
			t.Errorf("%+v: FMR %v, want %v; %v false pairs", c.spec, j.FMR, c.fmr, j.ExpectedFalsePairs)
		}
	}
}

// TestDedupeWhileWriting: of who changes meanwhile, everything listed is true, and nothing is lacking that did not change after the job's last
// look.
func TestDedupeWhileWriting(t *testing.T) {
	rng := newRand(t)
	e := open(t, dedupeConfig(vfs.NewMem()))
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: spaceCoded.ID}); err != nil {
		t.Fatal(err)
	}
	all := enrolTwins(t, e, "g", spaceCoded, rng, 600)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // the only one who changes all
		ids := []string{}
		for id := range all {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		rng := rand.New(rand.NewPCG(rng.Uint64(), 1))
		for {
			select {
			case <-stop:
				return
			default:
			}
			id, twin := ids[rng.IntN(len(ids))], ids[rng.IntN(len(ids))]
			switch {
			case all[id] == nil || all[twin] == nil || rng.IntN(2) == 0:
				all.put(t, e, "g", spaceCoded, id, [][]float32{randomUnit(rng, spaceCoded).Vector})
			case id != twin && rng.IntN(3) > 0:
				all.put(t, e, "g", spaceCoded, id, [][]float32{nearUnit(rng, all[twin][0], 0.5+rng.Float64()/2)})
			case rng.IntN(2) == 0:
				if _, err := e.PatchPerson(context.Background(), "t", "g", id, PersonPatch{Metadata: new(json.RawMessage(`{"seen":true}`))}); err != nil {
					t.Error(err)
				}
			default:
				if err := e.DeletePerson(context.Background(), "t", "g", id, WriteOptions{}); err != nil {
					t.Error(err)
				}
				delete(all, id)
			}
		}
	})
	var jobs []Job
	for range 3 {
		jobs = append(jobs, waitJob(t, e, mustDedupe(t, e, "g", DedupeSpec{Policy: Policy{Cosine: new(0.45)}}).ID))
	}
	close(stop)
	wg.Wait()
	must, may := all.pairs(0.45)
	g, err := e.gallery("t", "g")
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		x := e.jobs.mu.byID[j.ID]
		unchanged := map[[2]string]float64{}
		for key, cosine := range must {
			if g.version(key[0]) <= x.mu.record.Watermark && g.version(key[1]) <= x.mu.record.Watermark {
				unchanged[key] = cosine
			}
		}
		wantPairs(t, allPairs(t, e, j.ID), unchanged, may)
	}
	mustCheck(t, e)
}

// TestDedupeCrash: from crash images at random moments of a job it goes on and ends with all pairs; also after it was closed in the middle.
func TestDedupeCrash(t *testing.T) {
	rng := newRand(t)
	mem := vfs.NewCrashableMem()
	c := dedupeConfig(mem)
	e := open(t, c)
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: spaceCoded.ID}); err != nil {
		t.Fatal(err)
	}
	all := enrolTwins(t, e, "g", spaceCoded, rng, shorter(800, 400))
	must, may := all.pairs(0.42)
	id := mustDedupe(t, e, "g", DedupeSpec{Policy: Policy{Cosine: new(0.42)}}).ID
	resumed := 0
	for range scaled(6) {
		time.Sleep(time.Duration(rng.IntN(15)) * time.Millisecond)
		image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
		again, err := Open(dedupeConfig(image))
		if err != nil {
			t.Fatal(err)
		}
		if r := again.jobs.mu.byID[id].snapshot(); r.Done > 0 && r.State == string(JobRunning) {
			resumed++
		}
		j := waitJob(t, again, id)
		if j.State != JobDone || j.Hygiene.People != len(all) {
			t.Errorf("resumed: %+v", j)
		}
		wantPairs(t, allPairs(t, again, id), must, may)
		mustCheck(t, again)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e = reopen(t, e, c)
	waitJob(t, e, id)
	wantPairs(t, allPairs(t, e, id), must, may)
	t.Logf("%d images were of a job under way", resumed)
}

// TestDedupeBest: of too many pairs the best are kept, and it is said.
func TestDedupeBest(t *testing.T) {
	rng := newRand(t)
	e := open(t, dedupeConfig(vfs.NewMem()))
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: spaceCoded.ID}); err != nil {
		t.Fatal(err)
	}
	all := enrolTwins(t, e, "g", spaceCoded, rng, 400)
	_, may := all.pairs(0.2)
	best := []float64{}
	for _, cosine := range may {
		best = append(best, cosine)
	}
	slices.Sort(best)
	slices.Reverse(best)
	j := waitJob(t, e, mustDedupe(t, e, "g", DedupeSpec{Policy: Policy{Cosine: new(0.2)}, MaxPairs: 50}).ID)
	got := allPairs(t, e, j.ID)
	if !j.Truncated || j.Pairs != 50 || len(got) != 50 || len(best) < 100 {
		t.Fatalf("%+v with %d pairs of %d", j, len(got), len(best))
	}
	for i, p := range got {
		if math.Abs(p.Cosine-best[i]) > 1e-5 {
			t.Errorf("pair %d is at %v, want %v", i, p.Cosine, best[i])
		}
	}
	mustCheck(t, e)
}

// TestHygieneQuality: a template of a photo that was judged too bad is a finding, once, unless something worse is wrong with it.
func TestHygieneQuality(t *testing.T) {
	rng := newRand(t)
	e := open(t, dedupeConfig(vfs.NewMem()))
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: spaceCoded.ID}); err != nil {
		t.Fatal(err)
	}
	put := func(id string, scores ...float64) {
		t.Helper()
		face := randomUnit(rng, spaceCoded).Vector
		var spec PersonSpec
		for _, score := range scores {
			p := Template{Space: spaceCoded.ID, Vector: nearUnit(rng, face, 0.9), Source: "image", Photo: &Photo{Judged: map[string]float64{"unified_score": score}}}
			if score < 0 {
				p.Photo = nil
			}
			spec.Templates = append(spec.Templates, p)
		}
		if _, _, err := e.PutPerson(t.Context(), "t", "g", id, spec); err != nil {
			t.Fatal(err)
		}
	}
	put("bad", 19.99)
	put("edge", 20, 90)
	put("mixed", 80, 3, -1)
	put("unknown", -1)
	for min, want := range map[float64]string{0: "", 20: "bad 1 19.99, mixed 2 3", 100: "bad 1 19.99, edge 1 20, edge 2 90, mixed 1 80, mixed 2 3"} {
		j := waitJob(t, e, mustDedupe(t, e, "g", DedupeSpec{MinQuality: &min}).ID)
		var got []string
		for _, f := range allFindings(t, e, j.ID) {
			if f.Kind != FindingLowQuality || (f.Own == nil) != (f.Person == "bad") {
				t.Errorf("%+v", f)
			}
			got = append(got, fmt.Sprint(f.Person, " ", f.Template, " ", *f.Quality))
		}
		if strings.Join(got, ", ") != want || j.Hygiene.LowQuality != len(got) || j.Hygiene.Unjudged != 2 || j.MinQuality != min {
			t.Errorf("min_quality %v: %q, want %q; %+v", min, got, want, j)
		}
		if err := e.DeleteJob(t.Context(), "t", j.ID); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := e.StartDedupe(t.Context(), "t", "g", DedupeSpec{MinQuality: new(100.1)})
	wantErr(t, err, ErrLimit)
}

// TestHygiene plants references that are wrong.
func TestHygiene(t *testing.T) {
	rng := newRand(t)
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := dedupeConfig(vfs.NewMem())
	c.Now = func() time.Time { return now }
	e := open(t, c)
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: spaceCoded.ID}); err != nil {
		t.Fatal(err)
	}
	all := twins{}
	face := func() []float32 { return randomUnit(rng, spaceCoded).Vector }
	ann, ben := face(), face()
	photo := func(of []float32) []float32 { return nearUnit(rng, of, 0.8) }
	now = now.AddDate(-12, 0, 0)
	all.put(t, e, "g", spaceCoded, "ann", [][]float32{photo(ann), photo(ann), photo(ben)}) // the last is ben's
	now = now.AddDate(5, 0, 0)
	all.put(t, e, "g", spaceCoded, "ben", [][]float32{photo(ben), photo(ben)})
	now = now.AddDate(4, 0, 0)
	all.put(t, e, "g", spaceCoded, "cy", [][]float32{face(), face()}) // two people, neither enrolled
	now = now.AddDate(3, 0, 0)
	all.put(t, e, "g", spaceCoded, "dee", [][]float32{face()})
	for i := range 50 {
		all.put(t, e, "g", spaceCoded, fmt.Sprint("other", i), [][]float32{face()})
	}
	j := waitJob(t, e, mustDedupe(t, e, "g", DedupeSpec{Policy: Policy{Cosine: new(0.5)}}).ID)
	kinds := []string{}
	for _, f := range allFindings(t, e, j.ID) {
		kinds = append(kinds, strings.TrimSpace(fmt.Sprintln(f.Kind, f.Person, f.Template, f.Other)))
	}
	want := []string{"mislabelled ann 3 ben", "inconsistent cy 1", "inconsistent cy 2"}
	if !slices.Equal(kinds, want) {
		t.Errorf("findings %q, want %q", kinds, want)
	}
	if h := (Hygiene{People: 54, Templates: 58, OneTemplate: 51, Under1Year: 51, Over1Year: 2, Over5Years: 2, Over10Years: 3, Unjudged: 58, Mislabelled: 1, Inconsistent: 2}); j.Hygiene != h {
		t.Errorf("%+v, want %+v", j.Hygiene, h)
	}
	// The photo under the wrong id is a conflict of the two as well.
	if p := allPairs(t, e, j.ID); len(p) != 1 || p[0].Person != "ann" || p[0].Other != "ben" {
		t.Errorf("%+v", p)
	}
	// Metadata changes nothing; other templates make results hold no more.
	if _, err := e.PatchPerson(t.Context(), "t", "g", "ann", PersonPatch{Metadata: new(json.RawMessage(`{"seen":true}`))}); err != nil || len(allFindings(t, e, j.ID)) != 3 {
		t.Errorf("findings %+v after a change of metadata: %v", allFindings(t, e, j.ID), err)
	}
	all.put(t, e, "g", spaceCoded, "ann", [][]float32{photo(ann)})
	if f, p := allFindings(t, e, j.ID), allPairs(t, e, j.ID); len(f) != 2 || len(p) != 0 {
		t.Errorf("findings %+v and pairs %+v of who has other templates", f, p)
	}
}

// TestDeletedLeaveResults: who is deleted is named by no key of the store and no job in memory.
func TestDeletedLeaveResults(t *testing.T) {
	rng := newRand(t)
	c := dedupeConfig(vfs.NewMem())
	e := open(t, c)
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: spaceCoded.ID}); err != nil {
		t.Fatal(err)
	}
	all, face := twins{}, randomUnit(rng, spaceCoded).Vector
	for _, id := range []string{"a", "b", "c"} {
		all.put(t, e, "g", spaceCoded, id, [][]float32{nearUnit(rng, face, 0.95)})
	}
	all.put(t, e, "g", spaceCoded, "d", [][]float32{randomUnit(rng, spaceCoded).Vector, nearUnit(rng, face, 0.95)})
	ids := []string{}
	for range 2 {
		ids = append(ids, mustDedupe(t, e, "g", DedupeSpec{Policy: Policy{Cosine: new(0.5)}}).ID)
		waitJob(t, e, ids[len(ids)-1])
	}
	if n := len(allPairs(t, e, ids[0])); n != 6 {
		t.Fatalf("%d pairs, want 6", n)
	}
	if err := e.DeletePerson(t.Context(), "t", "g", "b", WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, again := range []bool{false, true} {
		if again {
			e = reopen(t, e, c)
		}
		for _, id := range ids {
			x := e.jobs.mu.byID[id]
			if n := len(allPairs(t, e, id)); n != 3 || x.mu.pairs != 3 || x.mu.names["b"] != 0 || x.mu.record.After != "" {
				t.Errorf("%d pairs are left, want 3; %+v", n, x.mu.results)
			}
		}
		mustCheck(t, e) // J3 of what is stored
	}
	// The same id again is another person.
	all.put(t, e, "g", spaceCoded, "b", [][]float32{randomUnit(rng, spaceCoded).Vector})
	if n := len(allPairs(t, e, ids[0])); n != 3 {
		t.Errorf("%d pairs, want 3", n)
	}
}

// heldJob starts a job that a search without end holds up in a gallery that is large enough for it to pause; release lets it go on.
func heldJob(t *testing.T, e *Engine) (id string, release func()) {
	t.Helper()
	rng := newRand(t)
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: spaceCoded.ID}); err != nil {
		t.Fatal(err)
	}
	enrolTwins(t, e, "g", spaceCoded, rng, 900)
	g, _ := e.gallery("t", "g")
	g.mu.Lock() // the job reads no people
	id = mustHeld(t, e)
	return id, sync.OnceFunc(g.mu.Unlock)
}

func mustHeld(t *testing.T, e *Engine) string {
	t.Helper()
	g, _ := e.gallery("t", "g")
	x := &job{id: "00000000000000aa", g: g}
	x.mu.results = newResults()
	err := e.store.update(t.Context(), false, func(tx *tx) error {
		r := jobRecord{Kind: jobKindDedupe, State: string(JobQueued), Threshold: 0.42, Suspect: 0.5, Own: 0.3, MaxPairs: 1000, Templates: 900, Created: fromMillis(tx.now)}
		x.set(tx, r)
		tx.onHandOver = append(tx.onHandOver, func() { e.jobs.keep(x) })
		tx.also(e.jobs.signal)
		return tx.raiseFormat(jobFormat)
	})
	if err != nil {
		t.Fatal(err)
	}
	for x.info().State != JobRunning {
		time.Sleep(time.Millisecond)
	}
	return x.id
}

// TestJobEnds: a job that runs is cancelled, deleted, or goes with its gallery, at once and for good.
func TestJobEnds(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *Engine, string){
		"cancel": func(t *testing.T, e *Engine, id string) {
			for range 2 {
				if j, err := e.CancelJob(t.Context(), "t", id); err != nil || j.State != JobCancelled || j.Ended.IsZero() {
					t.Errorf("%+v, %v", j, err)
				}
			}
		},
		"delete": func(t *testing.T, e *Engine, id string) {
			if err := e.DeleteJob(t.Context(), "t", id); err != nil {
				t.Error(err)
			}
			wantErr(t, e.DeleteJob(t.Context(), "t", id), ErrJobNotFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := dedupeConfig(vfs.NewMem())
			e := open(t, c)
			id, release := heldJob(t, e)
			end(t, e, id)
			release()
			mustCheck(t, e)
			e = reopen(t, e, c)
			mustCheck(t, e)
			j, err := e.Job(t.Context(), "t", id)
			if name == "cancel" && (err != nil || j.State != JobCancelled) || name == "delete" && !errors.Is(err, ErrJobNotFound) {
				t.Errorf("%+v, %v", j, err)
			}
		})
	}
}

// TestJobsGoWithGallery: deleted, or moved, in the middle of a job.
func TestJobsGoWithGallery(t *testing.T) {
	for name, end := range map[string]func(e *Engine) error{
		"delete": func(e *Engine) error { return e.DeleteGallery(context.Background(), "t", "g") },
		"move": func(e *Engine) error {
			_, err := e.StartMove(context.Background(), "t", "g", MoveSpec{Space: spaceB.ID})
			if err == nil {
				_, err = e.FinishMove(context.Background(), "t", "g", spaceB.ID, true)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			rng := newRand(t)
			c := dedupeConfig(vfs.NewMem())
			e := open(t, c)
			if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: spaceCoded.ID}); err != nil {
				t.Fatal(err)
			}
			enrolTwins(t, e, "g", spaceCoded, rng, 900)
			id := mustDedupe(t, e, "g", DedupeSpec{Policy: Policy{Cosine: new(0.42)}}).ID
			time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
			if err := end(e); err != nil {
				t.Fatal(err)
			}
			_, err := e.Job(t.Context(), "t", id)
			wantErr(t, err, ErrJobNotFound)
			mustCheck(t, e)
			e = reopen(t, e, c)
			if all, err := e.Jobs(t.Context(), "t"); err != nil || len(all) != 0 {
				t.Errorf("%+v, %v", all, err)
			}
			mustCheck(t, e)
		})
	}
}

// TestJobBounds: bad specs, too many jobs, other tenants, other cursors.
func TestJobBounds(t *testing.T) {
	e := openMem(t)
	for _, name := range []string{"g", "h"} {
		mustGallery(t, e, "t", name)
	}
	mustGallery(t, e, "u", "g")
	for _, c := range []struct {
		spec DedupeSpec
		want error
	}{
		{DedupeSpec{Policy: Policy{FMR: new(2.0)}}, ErrPolicy}, {DedupeSpec{ExpectedFalsePairs: -1}, ErrPolicy}, {DedupeSpec{ExpectedFalsePairs: math.NaN()}, ErrPolicy},
		{DedupeSpec{Policy: Policy{FMR: new(0.1)}, ExpectedFalsePairs: 1}, ErrPolicy}, {DedupeSpec{MaxPairs: -1}, ErrLimit}, {DedupeSpec{MaxPairs: MaxJobPairs + 1}, ErrLimit},
	} {
		_, _, err := e.StartDedupe(t.Context(), "t", "g", c.spec)
		wantErr(t, err, c.want)
	}
	_, _, err := e.StartDedupe(t.Context(), "t", "nobody", DedupeSpec{})
	wantErr(t, err, ErrGalleryNotFound)
	ids := []string{}
	for range MaxJobs {
		ids = append(ids, mustDedupe(t, e, "g", DedupeSpec{}).ID)
		waitJob(t, e, ids[len(ids)-1])
	}
	_, _, err = e.StartDedupe(t.Context(), "t", "h", DedupeSpec{})
	wantErr(t, err, ErrJobsFull)
	if _, _, err := e.StartDedupe(t.Context(), "u", "g", DedupeSpec{}); err != nil {
		t.Errorf("another tenant's jobs count: %v", err)
	}
	_, err = e.Job(t.Context(), "u", ids[0])
	wantErr(t, err, ErrJobNotFound)
	_, err = e.CancelJob(t.Context(), "u", ids[0])
	wantErr(t, err, ErrJobNotFound)
	wantErr(t, e.DeleteJob(t.Context(), "u", ids[0]), ErrJobNotFound)
	_, _, err = e.JobPairs(t.Context(), "u", ids[0], 0, "")
	wantErr(t, err, ErrJobNotFound)
	_, _, err = e.JobFindings(t.Context(), "u", ids[0], 0, "")
	wantErr(t, err, ErrJobNotFound)
	for _, cursor := range []string{"x", formatCursor("ann"), formatResultCursor(&result{resultRecord: resultRecord{Kind: FindingInconsistent, A: "a"}})} {
		_, _, err = e.JobPairs(t.Context(), "t", ids[0], 0, cursor)
		wantErr(t, err, ErrCursor)
	}
	_, _, err = e.JobFindings(t.Context(), "t", ids[0], 0, formatResultCursor(&result{resultRecord: resultRecord{Kind: kindPair, A: "a", B: "b"}}))
	wantErr(t, err, ErrCursor)
	_, _, err = e.JobPairs(t.Context(), "t", ids[0], MaxListLimit+1, "")
	wantErr(t, err, ErrLimit)
	all, err := e.Jobs(t.Context(), "t")
	oldest := func(j Job) bool { return j.ID == ids[0] && j.Created.Equal(all[0].Created) } // there may be more of its millisecond
	if err != nil || len(all) != MaxJobs || !slices.ContainsFunc(all, oldest) {
		t.Errorf("%d jobs: %v", len(all), err)
	}
	if err := e.DeleteJob(WithActor(t.Context(), Actor{Key: "0123456789abcdef"}), "t", ids[3]); err != nil {
		t.Error(err)
	}
	var last AuditRecord
	counts := map[string]int{}
	for _, line := range auditLog(t, e, "t") {
		last = AuditRecord{}
		if err := json.Unmarshal(line.Record, &last); err != nil {
			t.Fatal(err)
		}
		counts[last.Op+" "+last.Program]++
	}
	if last.Op != AuditJobDelete || last.Target != ids[3] || last.Key != "0123456789abcdef" || last.Gallery != "g" {
		t.Errorf("the deletion is in the audit log as %+v", last)
	}
	if counts[AuditJobStart+" "] != MaxJobs || counts[AuditJobEnd+" job"] != MaxJobs {
		t.Errorf("in the audit log: %v", counts)
	}
	mustDedupe(t, e, "h", DedupeSpec{})
}

// TestDedupeManyRows has several chunks of rows, so that pairs are compared once only, by the one of the lower row, unless rows were
// numbered anew in the middle: every planted twin is found, and nobody else.
func TestDedupeManyRows(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes with the race detector or an emulator")
	}
	rng := newRand(t)
	c := dedupeConfig(vfs.NewMem())
	c.dedupeBatch = 0
	e := open(t, c)
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: spaceCoded.ID, Index: indexScan}); err != nil {
		t.Fatal(err)
	}
	n, want := 40_000, map[[2]string]float64{}
	ids := make([]string, n)
	var wg sync.WaitGroup
	for part := range 8 { // writers share fsyncs
		rng := rand.New(rand.NewPCG(rng.Uint64(), 1))
		wg.Go(func() {
			for i := part; i < n; i += 8 {
				ids[i] = fmt.Sprintf("%d-%d", rng.IntN(1<<20), i) // the store's order is not the index's
				if _, _, err := e.PutPerson(context.Background(), "t", "g", ids[i], PersonSpec{Templates: []Template{randomUnit(rng, spaceCoded)}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	g, _ := e.gallery("t", "g")
	for order := rng.Perm(n)[:400]; len(order) > 0; order = order[2:] {
		a, b := ids[order[0]], ids[order[1]]
		v, err := g.storedTemplate(e.store, a, recordOf(t, e, g, a).key, 1)
		if err != nil {
			t.Fatal(err)
		}
		cosine := 0.7 + 0.29*rng.Float64()
		if _, err := e.AddTemplate(t.Context(), "t", "g", b, TemplateSpec{Templates: []Template{{Space: spaceCoded.ID, Vector: nearUnit(rng, v, cosine)}}}); err != nil {
			t.Fatal(err)
		}
		want[[2]string{min(a, b), max(a, b)}] = cosine
	}
	id := mustDedupe(t, e, "g", DedupeSpec{Policy: Policy{Cosine: new(0.65)}}).ID
	time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
	before := waitProgress(t, e, id)
	for _, again := range []bool{true, false} {
		if again {
			e = reopen(t, e, c) // in the middle: rows are in the order of ids from now on
		} else {
			id = mustDedupe(t, e, "g", DedupeSpec{Policy: Policy{Cosine: new(0.65)}}).ID
		}
		j := waitJob(t, e, id)
		wantPairs(t, allPairs(t, e, id), want, want)
		if again && j.Hygiene.People != n {
			t.Errorf("%+v", j)
		}
	}
	t.Logf("closed when %d of %d people were done", before, n)
}

// waitProgress waits until a job has begun, and says how far it is.
func waitProgress(t *testing.T, e *Engine, id string) int {
	t.Helper()
	for {
		if j, err := e.Job(t.Context(), "t", id); err != nil || j.Done > 0 {
			return j.Done
		}
		time.Sleep(time.Millisecond)
	}
}
