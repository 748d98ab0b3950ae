package capture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// TestEndsOnce: whatever comes at the same time, presentations, cancellations, ends of time, deletions of who it is about, a session ends once, its owner is told once and of
// what it says from then on, and it says that somebody was enrolled exactly where the engine has them.
func TestEndsOnce(t *testing.T) {
	w := newWorld(t)
	var mu sync.Mutex
	told := map[string][]Session{}
	w.s.Handle("", Owner{Ended: func(_ context.Context, _ string, x Session) {
		mu.Lock()
		defer mu.Unlock()
		told[x.ID] = append(told[x.ID], x)
	}})
	const sessions, workers, steps = 24, 6, 60
	made := make([]*Session, sessions)
	calls := make([]engine.Key, sessions)
	for i := range made {
		flow, person := FlowEnroll, fmt.Sprintf("p%d", i)
		if i%4 == 3 {
			flow, person = FlowVerify, fmt.Sprintf("q%d", i)
			w.enrol(person, person)
		}
		var c *dialect.Call
		made[i], c = w.make(flow, person)
		calls[i] = c.Key
	}
	deleted := make([]bool, sessions)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 5))
			for range steps {
				i := rng.IntN(sessions)
				x, c := made[i], w.call(calls[i])
				switch rng.IntN(12) {
				case 0, 1:
					_, _, _ = w.s.finish(c, x, live(x.Person)) // or it is over
				case 2:
					_, _, _ = w.s.finish(c, x, presentation{verdict: verdictSpoof})
				case 3:
					_, _ = w.s.failTry(c, x, "too_slow", presentation{})
				case 4:
					_, _ = w.s.Cancel(w.call(w.maker), x.ID)
				case 5:
					w.s.expire(t.Context())
				case 6:
					if rng.IntN(8) > 0 {
						continue
					}
					if w.engine.DeletePerson(t.Context(), "default", "g", x.Person, engine.WriteOptions{}) == nil {
						mu.Lock()
						deleted[i] = true
						mu.Unlock()
					}
				case 7:
					w.ahead.Add(int64(5 * time.Second))
				default:
					_, _ = w.s.Session(t.Context(), "default", x.ID)
				}
			}
		})
	}
	wg.Wait()
	w.ahead.Add(int64(MaxLifetime))
	w.s.expire(t.Context())
	for i, x := range made {
		ends := told[x.ID]
		if deleted[i] { // its session may have gone with them before it ended
			if len(ends) > 1 {
				t.Errorf("%s %s ended %d times", x.Flow, x.Person, len(ends))
			}
			continue
		}
		if len(ends) != 1 {
			t.Errorf("%s %s ended %d times", x.Flow, x.Person, len(ends))
			continue
		}
		now := w.look(x.ID)
		if now.Status != ends[0].Status || now.Reason != ends[0].Reason || now.Person != x.Person {
			t.Errorf("told %+v, and it is %+v", ends[0], now)
		}
		_, err := w.engine.Person(t.Context(), "default", "g", x.Person)
		if x.Flow == FlowEnroll && (err == nil) != (now.Status == StatusSuccess) {
			t.Errorf("%+v, and the engine says %v", now, err)
		}
	}
	if n := len(w.s.index.due(w.now())); n != 0 {
		t.Errorf("%d sessions are due for ever", n)
	}
	if n := len(w.s.locks.mu.of); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}
