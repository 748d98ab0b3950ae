package mpc

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// lose has a party come back with nothing on its disk.
func (c *world) lose(party int) {
	c.t.Helper()
	c.stopParty(party)
	c.disks[party] = vfs.NewCrashableMem()
	c.start(party)
	c.awaitState(party, PartyLost)
}

func (c *world) readySecond() {
	c.t.Helper()
	c.eventually("the second gateway is ready", func() bool { return c.second.ready() == nil })
}

// TestRepairCrash ends each process at each step of a repair: it can be gone on with, and a party that is repaired serves, whether its gateway has
// heard of it or not.
func TestRepairCrash(t *testing.T) {
	for _, p := range []crashPoint{{process: 1, step: "repairing"}, {process: 1, step: "repaired"}, {process: Parties, step: "repaired"}} {
		t.Run(fmt.Sprintf("%d/%s", p.process, p.step), func(t *testing.T) {
			t.Parallel()
			rng, c := seeded(t), startWorld(t)
			x := unit(rng, testDim)
			c.enrol("a", x)
			c.lose(1)
			p.rng = rng
			hit, ended := c.crashAt(p), make(chan error, 1)
			g := c.gateway
			go func() { ended <- g.Repair(context.Background(), 1) }()
			<-hit
			if p.process == Parties {
				go g.Close()
				c.startGateway()
			} else {
				c.start(1)
			}
			t.Log("told:", <-ended)
			if at, err := c.gateway.Refreshed(); err != nil || at.UnixMilli() != 0 {
				t.Errorf("shares were made anew at %v, %v: the repair was cut off before", at, err)
			}
			if p.step == "repaired" {
				c.ready()
				wantErr(t, c.gateway.Repair(t.Context(), 1), ErrExists)
			} else {
				c.awaitState(1, PartyLost)
				if err := c.gateway.Repair(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
			}
			c.consistent()
			c.verify("a", x, true)
		})
	}
}

// TestRepairOfAnother: a gateway goes on with a party that another one had repaired, and a third, which never knew the store that was lost, sees that
// it is.
func TestRepairOfAnother(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	c.startSecond()
	c.readySecond()
	x := unit(rng, testDim)
	c.enrol("ada", x)
	enrol := func(user string) {
		t.Helper()
		if _, err := c.second.Enrol(t.Context(), "u", user, Enrolment{Policy: 1, Template: x}); err != nil {
			t.Fatal(err)
		}
	}
	enrol("bob")
	c.lose(1)
	c.eventually("lost to the second", func() bool { return c.second.Status()[1] == PartyLost })
	c.stopSecond()
	c.secondFS = vfs.NewCrashableMem() // it knows no store, and nobody
	c.startSecond()
	c.eventually("lost to one that did not know it", func() bool {
		states := c.second.Status()
		return states == [Parties]PartyState{PartyReady, PartyLost, PartyReady}
	})
	if err := c.gateway.Repair(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	c.readySecond()
	enrol("eve")
	c.verify("ada", x, true)
	wantErr(t, c.second.Repair(t.Context(), 1), ErrExists)
}

// TestRollback: a party that was put back from a backup of before a refresh is lost, as its shares fit nothing, and is repaired when an operator says so.
func TestRollback(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	c.startSecond()
	c.readySecond()
	all := people(rng, 3)
	for user, x := range all {
		c.enrol(user, x)
	}
	c.stopParty(2)
	backup := c.disks[2].CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
	c.start(2)
	c.ready()
	if err := c.gateway.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.consistent()
	c.stopParty(2)
	c.disks[2] = backup
	c.start(2)
	for _, g := range c.gateways() {
		c.eventually("behind", func() bool { return g.Status() == [Parties]PartyState{PartyReady, PartyReady, PartyLost} })
	}
	if _, err := c.gateway.Verify(t.Context(), "t", "user-0", 1, all["user-0"]); !errors.Is(err, ErrPartyDown) {
		t.Fatalf("%v, want %v", err, ErrPartyDown)
	}
	if err := c.gateway.Repair(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	c.consistent()
	for user, x := range all {
		c.verify(user, x, true)
	}
	c.readySecond()
}

// TestLostIsToldFrom has the differences that there are while a refresh is carried out, in which nobody is lost.
func TestLostIsToldFrom(t *testing.T) {
	v, w, u := newID(), newID(), newID()
	old, staged, now := hello{state: storeReady, version: v}, hello{state: storeReady, version: v, staged: w}, hello{state: storeReady, version: w}
	other, next := hello{state: storeReady, version: u}, hello{state: storeReady, version: w, staged: u}
	fresh, voted, filled := hello{state: storeNew}, hello{state: storeNew, voted: true}, hello{state: storeFilled, version: v}
	first := hello{state: storeReady}
	for name, c := range map[string]struct {
		a, b, c hello
		lost    [Parties]bool
	}{
		"the same":                 {old, old, old, [Parties]bool{}},
		"one has changed":          {now, staged, staged, [Parties]bool{}},
		"one has not":              {now, now, staged, [Parties]bool{}},
		"one has, one stages next": {staged, next, now, [Parties]bool{}},
		"one is behind":            {old, now, now, [Parties]bool{true}},
		"one is elsewhere":         {now, now, other, [Parties]bool{2: true}},
		"all differ":               {old, now, other, [Parties]bool{true, true, true}},
		"all are new":              {fresh, fresh, fresh, [Parties]bool{}},
		"one has a record":         {first, voted, voted, [Parties]bool{}},
		"one has none yet":         {first, voted, first, [Parties]bool{}},
		"one is new":               {first, fresh, first, [Parties]bool{1: true}},
		"one is new, one was":      {old, fresh, filled, [Parties]bool{1: true}},
		"one was repaired":         {old, filled, old, [Parties]bool{}},
	} {
		got := [Parties]bool{c.a.lost([2]hello{c.b, c.c}), c.b.lost([2]hello{c.c, c.a}), c.c.lost([2]hello{c.a, c.b})}
		if got != c.lost {
			t.Errorf("%s: lost are %v, want %v", name, got, c.lost)
		}
	}
}
