package mpc

import (
	"slices"
	"time"
)

// state is what a party or the directory has of everybody.
type recordState struct {
	state    byte
	gen      uint32
	template ID
}

// consistent waits until nothing is owed or prepared, and then checks that the three parties and the gateways' directories have the same of
// everybody, and that the parties' shares are of one vector of norm 1.
func (c *world) consistent() {
	c.t.Helper()
	c.ready()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			c.t.Fatal("the parties never came to rest")
		}
		if c.atRest() {
			break
		}
		for _, g := range c.gateways() {
			for _, r := range g.remotes {
				_ = r.catchUp(c.t.Context())
			}
		}
	}
	want := make(map[Subject]recordState)
	for _, g := range c.gateways() {
		if err := g.dir.each([]byte{prefixEntry}, func(key, value []byte) error {
			e, err := g.dir.openEntry(subjectOf(key), value)
			want[subjectOf(key)] = recordState{e.State, e.Gen, e.Template}
			return err
		}); err != nil {
			c.t.Fatal(err)
		}
	}
	for i, p := range c.parties {
		n := 0
		if err := p.store.each([]byte{prefixHead}, func(key, value []byte) error {
			h, err := parseHead(value)
			n++
			if got := (recordState{h.state, h.gen, h.template}); err == nil && got != want[subjectOf(key)] {
				c.t.Errorf("party %d has %+v, the directory %+v", i, got, want[subjectOf(key)])
			}
			return err
		}); err != nil {
			c.t.Fatal(err)
		}
		if n != len(want) {
			c.t.Errorf("party %d has %d records, the directory %d", i, n, len(want))
		}
	}
	for of, s := range want {
		if s.state == stateActive {
			c.checkShares(of)
		}
	}
	if c.t.Failed() {
		c.t.FailNow()
	}
}

func (c *world) atRest() bool {
	owed := 0
	for _, g := range c.gateways() {
		g.mu.Lock()
		owed += len(g.mu.decided)
		g.mu.Unlock()
	}
	for _, p := range c.parties {
		voted, err := p.store.voted()
		_, _, staged := p.store.current()
		if err != nil {
			c.t.Fatal(err)
		}
		if voted || staged != nil {
			owed++
		}
	}
	return owed == 0
}

// joined is the vector that the parties' shares are of.
func (c *world) joined(of Subject) (full []uint32, gallery []uint16) {
	c.t.Helper()
	var v [Parties]shares
	for i, p := range c.parties {
		var err error
		if _, v[i], _, err = p.store.record(of); err != nil {
			c.t.Fatalf("party %d: %v", i, err)
		}
	}
	for i := range v {
		next := (i + 1) % Parties
		if !slices.Equal(v[i].share.Next, v[next].share.Own) || !slices.Equal(v[i].gallery.Next, v[next].gallery.Own) {
			c.t.Fatalf("parties %d and %d have different copies of a component", i, next)
		}
	}
	full, gallery = make([]uint32, len(v[0].share.Own)), make([]uint16, len(v[0].gallery.Own))
	for i := range v {
		for j, w := range v[i].share.Own {
			full[j] += w
		}
		for j, w := range v[i].gallery.Own {
			gallery[j] += w
		}
	}
	return full, gallery
}

func (c *world) checkShares(of Subject) {
	c.t.Helper()
	full, gallery := c.joined(of)
	lo, hi := testPolicies(c.t).Policies[1].Params.norms()
	if n := plain(full, full); n < int64(lo) || n > int64(hi) {
		c.t.Fatalf("the shares of %v are of no unit vector: %d", of.RID, n)
	}
	n := int64(0)
	for _, w := range gallery {
		n += int64(int16(w)) * int64(int16(w))
	}
	lo, hi = testPolicies(c.t).Policies[2].Params.norms()
	if n < int64(lo) || n > int64(hi) {
		c.t.Fatalf("the gallery's shares of %v are of no unit vector: %d", of.RID, n)
	}
}
