package mpc

import (
	"context"
	"crypto/ed25519"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// TestGateway goes through the life of a few people.
func TestGateway(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	ctx := t.Context()
	all := people(rng, 5)
	for user, x := range all {
		c.enrol(user, x)
	}
	for user, x := range all {
		c.verify(user, near(rng, x, 0.8), true)
		c.verify(user, near(rng, x, 0.1), false)
	}
	_, err := c.gateway.Verify(ctx, "t", "nobody", 1, unit(rng, testDim))
	wantErr(t, err, ErrUnknown)
	_, err = c.gateway.Verify(ctx, "another tenant", "user-1", 1, all["user-1"])
	wantErr(t, err, ErrUnknown)
	_, err = c.gateway.Enrol(ctx, "t", "user-1", Enrolment{Policy: 1, Template: all["user-1"]})
	wantErr(t, err, ErrExists)

	users, err := c.gateway.Identify(ctx, "t", 2, near(rng, all["user-3"], 0.9))
	if err != nil || !slices.Equal(users, []string{"user-3"}) {
		t.Fatalf("identified %v, %v", users, err)
	}

	replaced := unit(rng, testDim)
	if e := c.enrol("user-1", replaced); e.Generation != 2 {
		t.Errorf("generation %d", e.Generation)
	}
	c.verify("user-1", replaced, true)
	c.verify("user-1", all["user-1"], false)
	users, err = c.gateway.Identify(ctx, "t", 2, near(rng, replaced, 0.9))
	if err != nil || !slices.Equal(users, []string{"user-1"}) {
		t.Fatalf("identified %v, %v", users, err)
	}

	questions := []Question{{"user-0", all["user-0"]}, {"user-2", all["user-0"]}, {"user-3", near(rng, all["user-3"], 0.7)}}
	match, err := c.gateway.VerifyAll(ctx, "t", 1, questions)
	if err != nil || !slices.Equal(match, []bool{true, false, true}) {
		t.Fatalf("%v, %v", match, err)
	}

	gone, err := c.gateway.Delete(ctx, "t", "user-3")
	if err != nil || gone.Pending != 0 || len(gone.Receipts) != Parties {
		t.Fatalf("%+v, %v", gone, err)
	}
	for i, r := range gone.Receipts {
		key := c.parties[r.Party].store.receipt.Public().(ed25519.PublicKey)
		if !r.Verify("test", key) || r.Verify("another", key) {
			t.Errorf("receipt %d: %+v", i, r)
		}
		r.Generation++
		if r.Verify("test", key) {
			t.Error("a receipt that was changed verifies")
		}
	}
	_, err = c.gateway.Verify(ctx, "t", "user-3", 1, all["user-3"])
	wantErr(t, err, ErrUnknown)
	_, err = c.gateway.Delete(ctx, "t", "user-3")
	wantErr(t, err, ErrUnknown)
	users, err = c.gateway.Identify(ctx, "t", 2, near(rng, all["user-3"], 0.9))
	if err != nil || len(users) != 0 {
		t.Fatalf("identified %v, %v", users, err)
	}
	if e := c.enrol("user-3", all["user-3"]); e.Generation != 2 {
		t.Errorf("generation %d after an erasure", e.Generation)
	}
	c.verify("user-3", all["user-3"], true)
	c.consistent()

	erased, err := c.gateway.DeleteTenant(ctx, "t")
	if err != nil || erased.Pending != 0 || erased.Receipts[0].Records != 5 {
		t.Fatalf("%+v, %v", erased, err)
	}
	_, err = c.gateway.Verify(ctx, "t", "user-0", 1, all["user-0"])
	wantErr(t, err, ErrUnknown)
	c.consistent()
}

// TestCanaries: people whom nobody is answer as they must, are found by nobody, and show a party that answers wrongly.
func TestCanaries(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	c.enrol("a", x)
	for range 3 * rejectsToLock { // which would lock a person
		if err := c.gateway.CheckCanary(t.Context(), "t", 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.gateway.CheckCanary(t.Context(), "nobody", 1); err != nil {
		t.Fatal(err)
	}
	for tenant, want := range map[string]bool{"t": true, "nobody": false} {
		if people, err := c.gateway.HoldsPeople(tenant); people != want || err != nil {
			t.Errorf("%s: people %v, %v", tenant, people, err)
		}
		if any, err := c.gateway.Holds(tenant); !any || err != nil {
			t.Errorf("%s: %v, %v", tenant, any, err)
		}
	}
	if _, err := c.gateway.DeleteTenant(t.Context(), "nobody"); err != nil {
		t.Fatal(err)
	}
	if any, err := c.gateway.Holds("nobody"); any || err != nil {
		t.Errorf("erased with the tenant: %v, %v", any, err)
	}
	users, err := c.gateway.Identify(t.Context(), "t", 2, c.gateway.canary("t", 1, testDim))
	if err != nil || len(users) != 0 {
		t.Fatalf("%v, %v", users, err)
	}
	_, err = c.gateway.Enrol(t.Context(), "t", canaryUser(1), Enrolment{Policy: 1, Template: x, Replace: true})
	wantErr(t, err, ErrMessage)
	for i := range canaries { // every party's shares are exchanged for those of somebody else, as one that cheats could not do alone
		for _, p := range c.parties {
			from, to := c.gateway.dir.subject("t", "a"), c.gateway.dir.subject("t", canaryUser(i))
			_, v, _, err := p.store.record(from)
			if err != nil {
				t.Fatal(err)
			}
			h, _, err := p.store.head(to)
			if err != nil {
				t.Fatal(err)
			}
			k, _ := p.store.kek(1)
			r, err := k.seal(1, to, h, &v)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.store.update(func(b *pebble.Batch) error {
				p.store.opened.drop(to) // as every write does
				set(b, epochKey(prefixKey, 1, to), r.key)
				set(b, epochKey(prefixShares, 1, to), r.shares)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantErr(t, c.gateway.CheckCanary(t.Context(), "t", 1), ErrCanary)
}

// TestGatewayRestart: a gateway and parties that are started anew know everybody, and go on with unused session ids.
func TestGatewayRestart(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	c.enrol("a", x)
	for range 3 {
		c.stopGateway()
		c.startGateway()
		c.ready()
		c.verify("a", x, true)
	}
	for i := range c.parties {
		c.stopParty(i)
		c.start(i)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for { // the first may meet links that are being made
		match, err := c.gateway.Verify(ctx, "t", "a", 1, x)
		if err == nil && match {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// TestPartyDown: without one of three nobody is verified or enrolled, and whoever comes back is used again.
func TestPartyDown(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	c.enrol("a", x)
	for i := range c.parties {
		c.stopParty(i)
		for c.gateway.ready() == nil {
			time.Sleep(time.Millisecond)
		}
		_, err := c.gateway.Verify(t.Context(), "t", "a", 1, x)
		wantErr(t, err, ErrPartyDown)
		_, err = c.gateway.Enrol(t.Context(), "t", "b", Enrolment{Policy: 1, Template: x})
		wantErr(t, err, ErrPartyDown)
		c.start(i)
		c.ready()
		c.verify("a", x, true)
	}
	c.consistent()
}

// TestMarks: a gateway goes on above the ids that parties say were used, as it must where the clock stands still, and not if no clock explains them.
func TestMarks(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	var clock atomic.Int64
	clock.Store(1_800_000_000_000)
	c.now = func() time.Time { return time.UnixMilli(clock.Load()) }
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	x := unit(rng, testDim)
	c.enrol("ada", x)
	now := c.now()
	for _, mark := range []uint64{MakeSID(7, 1<<counterBits-2), MakeSID(7, sidsAt(now.Add(aheadMark))+1), MakeSID(8, 1), MakeSID(8, sidsAt(now)+1000)} {
		before := c.gateway.counter.Load()
		if c.gateway.raise(1, mark); c.gateway.counter.Load() != before {
			t.Errorf("%x is believed", mark)
		}
	}
	for range 2 {
		used := c.gateway.counter.Load()
		c.verify("ada", x, true)
		c.stopGateway()
		c.startGateway()
		c.ready()
		if at := c.gateway.counter.Load(); at <= used {
			t.Errorf("ids go on at %d, and %d was used", at, used)
		}
		c.verify("ada", x, true)
		c.gateway.raise(1, MakeSID(7, sidsAt(now.Add(aheadMark)))) // the most that one can say
		clock.Add(time.Second.Milliseconds())
	}
	if far := sidsAt(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)); far >= 1<<counterBits || sidsAt(time.Unix(1<<32-2, 0)) >= far || sidsAt(time.Time{}) != 0 {
		t.Errorf("%x", far)
	}
}
