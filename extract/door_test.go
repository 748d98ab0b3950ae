package extract

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Group photos leave a place to others, and have a queue of their own.
func TestGroupsLeaveAPlace(t *testing.T) {
	c := testConfig()
	c.Workers, c.Queue = 2, 2
	x, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := x.groups.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	photo := testFile(t, "faces/a_1.jpg")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	waited := make(chan error)
	go func() {
		_, err := x.Extract(ctx, photo, Options{Select: SelectAll})
		waited <- err
	}()
	waitFor(t, func() bool { return x.groups.load.Load() == 2 })
	if _, err := x.Extract(t.Context(), photo, Options{Select: SelectAll}); !errors.Is(err, ErrBusy) {
		t.Errorf("a group photo more than may wait: %v, want ErrBusy", err)
	}
	if _, err := x.Extract(t.Context(), photo, Options{Select: SelectOne}); err != nil {
		t.Errorf("a photo of one while group photos wait: %v", err)
	}
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("a waiting group photo: %v, want its context's end", err)
	}
	x.groups.leave()
	if faces, err := x.Extract(t.Context(), photo, Options{Select: SelectAll}); err != nil || len(faces) != 1 {
		t.Errorf("a group photo when there is a place: %d faces, %v", len(faces), err)
	}
}

// visit has comers of a door that holds each for work, one every gap, and returns how long those waited who were let in, and how many
// were turned away, each at once.
func visit(t *testing.T, d *door, comers int, gap, work time.Duration) (waits []time.Duration, away int) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range comers {
		wg.Go(func() {
			start := time.Now()
			err := d.enter(t.Context())
			waited := time.Since(start)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if away++; err != ErrBusy || waited != 0 {
					t.Errorf("%v after %v", err, waited)
				}
				return
			}
			waits = append(waits, waited)
			wg.Go(func() {
				time.Sleep(work)
				d.leave()
			})
		})
		time.Sleep(gap)
	}
	wg.Wait()
	slices.Sort(waits)
	return waits, away
}

// TestDoorUnderLoad: of twice as many as two places serve, 200 a second, those who are let in wait for little more than the delay, and
// no place is idle; a burst that fills the queue is served whole, also after an overload; and at half of it nobody waits.
func TestDoorUnderLoad(t *testing.T) {
	const delay, work = 200 * time.Millisecond, 10 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(2, 128, delay, nil)
		check := func(name string, comers int, gap time.Duration, least, most int, longest time.Duration) {
			t.Helper()
			waits, away := visit(t, d, comers, gap, work)
			if n := len(waits); n < least || n > most || n+away != comers || waits[n*99/100] > longest {
				t.Errorf("%s: %d of %d let in, p99 %v, %d turned away", name, n, comers, waits[n*99/100], away)
			}
			if d.load.Load() != 0 || !d.mu.since.IsZero() {
				t.Errorf("%s: %d are left, since %v", name, d.load.Load(), d.mu.since)
			}
		}
		check("half", 1000, 10*time.Millisecond, 1000, 1000, 0)
		check("burst", 130, 0, 130, 130, 64*work)
		check("twice", 4000, work/4, 2000, 2100, delay+3*work)
		check("burst after", 130, 0, 130, 130, 64*work)
	})
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(2, 128, 0, nil)
		if waits, _ := visit(t, d, 4000, work/4, work); waits[len(waits)-1] < 64*work {
			t.Errorf("without a delay the longest wait is %v: this test shows nothing", waits[len(waits)-1])
		}
	})
}
