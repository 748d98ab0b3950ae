package engine

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// attemptEngine has person ann, of axis 0, and bob, of axis 1, in gallery g of tenant t, and a clock that tests set.
func attemptEngine(t testing.TB, limit Attempts) (*Engine, *atomic.Int64) {
	t.Helper()
	clock := new(atomic.Int64)
	c := testConfig(vfs.NewMem())
	c.Attempts, c.attemptClock = limit, func() time.Time { return time.Unix(1000+clock.Load(), 0) }
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	for id, v := range map[string]Template{"ann": template(1, 0, 0, 0), "bob": template(0, 1, 0, 0)} {
		if _, _, err := e.PutPerson(t.Context(), "t", "g", id, PersonSpec{Templates: []Template{v}}); err != nil {
			t.Fatal(err)
		}
	}
	return e, clock
}

// TestAttempts: so many failures and no more, by the gallery's policy, and then no answer, a match neither, until the window is over.
func TestAttempts(t *testing.T) {
	e, clock := attemptEngine(t, Attempts{Failures: 3, Window: time.Minute})
	ask := func(id string, v Template, p Policy) error {
		_, err := e.Verify(t.Context(), "t", "g", id, v, p)
		return err
	}
	mate, stranger, all := template(1, 0, 0, 0), template(0, 0, 1, 0), Policy{Cosine: new(-1.0)}
	wantErr(t, ask("ann", stranger, Policy{}), nil)
	clock.Store(30)
	wantErr(t, ask("ann", stranger, all), nil) // fails by the gallery's policy, though not by its own
	wantErr(t, ask("ann", mate, Policy{}), nil)
	wantErr(t, ask("ann", template(1, 0.2, 0, 0), Policy{Cosine: new(1.0)}), nil) // the other way round
	wantErr(t, ask("ann", stranger, Policy{}), nil)
	for _, v := range []Template{stranger, mate} {
		err := ask("ann", v, Policy{})
		wantErr(t, err, ErrAttempts)
		if a, ok := errors.AsType[*AttemptsError](err); !ok || a.Retry != 30*time.Second || Detail(err) == "" {
			t.Errorf("%#v", err)
		}
	}
	wantErr(t, ask("bob", stranger, Policy{}), nil)
	wantErr(t, ask("eve", stranger, Policy{}), ErrPersonNotFound)
	clock.Store(60)
	wantErr(t, ask("ann", mate, Policy{}), nil)
	for range 3 {
		wantErr(t, ask("ann", stranger, Policy{}), nil)
	}
	wantErr(t, ask("ann", mate, Policy{}), ErrAttempts)
}

// TestAttemptsAtOnce: questions that are asked at once are no more than those that are asked in turns.
func TestAttemptsAtOnce(t *testing.T) {
	e, _ := attemptEngine(t, Attempts{Failures: 10, Window: time.Minute})
	var told atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := e.Verify(t.Context(), "t", "g", "ann", template(0, 0, 1, 0), Policy{}); err == nil {
				told.Add(1)
			}
		})
	}
	wg.Wait()
	if told.Load() != 10 {
		t.Errorf("%d of 64 questions were answered, want 10", told.Load())
	}
}

// TestAttemptsForgetNobody: failures of others push no count out before its time, and what is over is swept.
func TestAttemptsForgetNobody(t *testing.T) {
	now := time.Unix(0, 0)
	a := newAttempts(Attempts{Failures: 1, Window: time.Minute}, func() time.Time { return now })
	victim := subject{"t", "g", "victim"}
	wantErr(t, a.settle(victim, false), nil)
	for i := range 5 * firstAttemptSweep {
		wantErr(t, a.settle(subject{"t", "g", fmt.Sprint(i)}, false), nil)
	}
	wantErr(t, a.settle(victim, true), ErrAttempts)
	now = now.Add(time.Minute)
	for i := range 10 * firstAttemptSweep {
		wantErr(t, a.settle(subject{"u", "g", fmt.Sprint(i)}, false), nil)
		now = now.Add(time.Second)
	}
	if n := len(a.mu.of); n > 2*firstAttemptSweep {
		t.Errorf("%d people are remembered, of whom 60 failed within the window", n)
	}
}

// TestTemplatesAreFoundOut measures what who may verify with made-up templates finds out of one that is stored (dim 20): with
// exact scores everything, in dim questions; and that the bound on failures stops that. The same holds for every dim: each exact
// score is one linear equation for the template.
func TestTemplatesAreFoundOut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	target := randomUnit(rng, spaceB)
	attack := func(limit Attempts) (cosine float64, questions int) {
		c := testConfig(vfs.NewMem())
		c.Attempts = limit
		e := open(t, c)
		if _, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{Space: spaceB.ID}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := e.PutPerson(t.Context(), "t", "g", "p", PersonSpec{Templates: []Template{target}}); err != nil {
			t.Fatal(err)
		}
		found := make([]float32, spaceB.Dim)
		for i := range found {
			axis := make([]float32, spaceB.Dim)
			axis[i] = 1
			d, err := e.Verify(t.Context(), "t", "g", "p", Template{Space: spaceB.ID, Vector: axis}, Policy{Cosine: new(-1.0)})
			if err != nil {
				wantErr(t, err, ErrAttempts)
				break
			}
			questions++
			found[i] = float32(d.Cosine)
		}
		return cosineBetween(found, target.Vector), questions
	}
	if cosine, n := attack(Attempts{}); cosine < 0.9999 || n != spaceB.Dim {
		t.Errorf("without a bound: cosine %.4f after %d questions: the attack that the documents describe does not work", cosine, n)
	}
	if cosine, n := attack(Attempts{Failures: 5, Window: time.Hour}); n > 6 || cosine > 0.9 {
		t.Errorf("with a bound of 5: cosine %.4f after %d questions", cosine, n)
	}
}

func cosineBetween(a, b []float32) float64 {
	var dot, aa, bb float64
	for i := range a {
		dot += float64(a[i]) * float64(b[i])
		aa += float64(a[i]) * float64(a[i])
		bb += float64(b[i]) * float64(b[i])
	}
	return dot / math.Sqrt(aa*bb)
}

func BenchmarkSettle(b *testing.B) {
	a := newAttempts(Attempts{Failures: 10, Window: time.Minute}, time.Now)
	_ = a.settle(subject{"t", "g", "p"}, false)
	b.ReportAllocs()
	for b.Loop() {
		_ = a.settle(subject{"t", "g", "p"}, true)
	}
}
