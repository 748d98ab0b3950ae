package mpc

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// TestAgain: a request that comes again is not done again, also when the gateway ended between the decision and the answer.
func TestAgain(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	var later atomic.Int64
	c.now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) } // of the gateway that is started next
	x := unit(rng, testDim)
	ask := Enrolment{Policy: 1, Template: x, Request: Request{Content: [32]byte{1}}}
	hit := c.crashAt(crashPoint{process: Parties, step: "decided", rng: rng})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-hit; cancel() }()
	_, _ = c.gateway.Enrol(ctx, "t", "a", ask) // what a process that was killed says nobody hears
	c.startGateway()
	c.ready()
	if owes, err := c.gateway.Owes("t", "a", ask.Request); !owes || err != nil {
		t.Fatal(owes, err)
	}
	other := ask
	other.Request.Content[0]++
	_, err := c.gateway.Enrol(t.Context(), "t", "a", other)
	wantErr(t, err, ErrExists)
	e, err := c.gateway.Enrol(t.Context(), "t", "a", ask)
	if err != nil || e.Generation != 1 || e.Told {
		t.Fatalf("%+v, %v", e, err)
	}
	_, err = c.gateway.Enrol(t.Context(), "t", "a", ask) // whose caller was told
	wantErr(t, err, ErrExists)

	// Of names the last eight are known, for a day.
	named := func(n byte) Enrolment {
		return Enrolment{Policy: 1, Template: x, Replace: true, Request: Request{Content: [32]byte{n}, Name: [32]byte{n}}}
	}
	gens := map[byte]uint32{}
	for n := byte(1); n <= maxOnce+1; n++ {
		e, err := c.gateway.Enrol(t.Context(), "t", "a", named(n))
		if err != nil || e.Told {
			t.Fatalf("%+v, %v", e, err)
		}
		gens[n] = e.Generation
	}
	for n := byte(2); n <= maxOnce+1; n++ {
		if e, err := c.gateway.Enrol(t.Context(), "t", "a", named(n)); err != nil || e.Generation != gens[n] || !e.Told {
			t.Errorf("%d: %+v, %v", n, e, err)
		}
	}
	taken := named(2)
	taken.Request.Content[0]++
	_, err = c.gateway.Enrol(t.Context(), "t", "a", taken)
	wantErr(t, err, ErrNamed)
	if _, err := c.gateway.Delete(t.Context(), "t", "a"); err != nil {
		t.Fatal(err)
	}
	_, err = c.gateway.Enrol(t.Context(), "t", "a", named(2))
	wantErr(t, err, ErrGone)
	later.Store(int64(onceLife))
	if e, err := c.gateway.Enrol(t.Context(), "t", "a", named(2)); err != nil || e.Told || e.Generation != gens[maxOnce+1]+1 {
		t.Errorf("%+v, %v", e, err)
	}
	c.consistent()
}

// TestDeletedAgain: an erasure whose caller has no answer is told with its receipts when it comes again, once.
func TestDeletedAgain(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	c.enrol("a", unit(rng, testDim))
	by := Request{Content: [32]byte{1}}
	hit := c.crashAt(crashPoint{process: Parties, step: "erasing", rng: rng})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-hit; cancel() }()
	_, _ = c.gateway.DeleteBy(ctx, "t", "a", by)
	c.startGateway()
	c.ready()
	gone, err := c.gateway.DeleteBy(t.Context(), "t", "a", by)
	if err != nil || len(gone.Receipts) != Parties || gone.Pending != 0 {
		t.Fatalf("%+v, %v", gone, err)
	}
	_, err = c.gateway.DeleteBy(t.Context(), "t", "a", by)
	wantErr(t, err, ErrUnknown)
}
