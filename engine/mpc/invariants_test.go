package mpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
)

// TestNormTolerance: what is taken for a unit vector moves a threshold by no more than M6 says.
func TestNormTolerance(t *testing.T) {
	for scale, most := range map[int]float64{VerifyLogScale: 0.011, IdentifyLogScale: 0.02} {
		s := float64(uint32(1) << scale)
		lo, hi := defaults(t, testDim, scale).norms()
		if up, down := math.Sqrt(float64(hi))/s-1, s/math.Sqrt(float64(lo))-1; up <= 0 || up > most || down <= 0 || down > most {
			t.Errorf("scale 2^%d: thresholds move by %v and %v, want %v at most", scale, up, down, most)
		}
	}
}

// TestMalformedEnrolment: parties that are sent something else than shares of one face for an enrolment say so, by each of its two shares (N6).
func TestMalformedEnrolment(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	of := c.gateway.dir.subject("t", "a")
	policies := c.policies[0].Policies
	x := unit(rng, testDim)
	good := func(id uint16) [Parties][]byte { return SplitPacked(encode(t, policies[id].Params, x)) }
	long, short := good(1), good(2)
	bad := func(id uint16, change func(q []uint32)) [Parties][]byte {
		q := encode(t, policies[id].Params, x)
		change(q)
		return SplitPacked(q)
	}
	scaled := func(q []uint32) {
		for j := range q {
			q[j] *= 2
		}
	}
	beyond := func(q []uint32) { q[0] += 1 << 31 }
	mixed := slices.Clone(long[:])
	mixed[1] = good(1)[1] // of another split
	for name, try := range map[string]struct {
		long, short [Parties][]byte
		want        error
	}{
		"good":         {long, short, nil},
		"norm":         {bad(1, scaled), short, ErrProbe},
		"norm, short":  {long, bad(2, scaled), ErrProbe},
		"bound":        {bad(1, beyond), short, ErrProbe},
		"bound, short": {long, bad(2, beyond), ErrProbe},
		"mixed":        {[Parties][]byte(mixed), short, ErrContext},
	} {
		if err := c.prepares(of, try.long, try.short); !errors.Is(err, try.want) {
			t.Errorf("%s: %v, want %v", name, err, try.want)
		}
	}
	c.consistent()
}

// prepares has the parties vote for an enrolment, opens what came of the checks, and aborts.
func (c *world) prepares(of Subject, long, short [Parties][]byte) error {
	c.t.Helper()
	g := c.gateway
	b := batch{of.Tenant, newTx(7), []member{{rid: of.RID, gen: 1, template: newID()}}}
	m := prepareMessage{policy: 1, model: 1, batch: b, time: g.nowMs(), sid: g.sid()}
	defer func() {
		if _, err := g.askEach(context.Background(), FrameAbort, b.appendTo(nil)); err != nil {
			c.t.Error(err)
		}
	}()
	answers, err := g.askAll(c.t.Context(), FramePrepare, g.sid(), func(i int) []byte { return slices.Concat(m.appendTo(nil), long[i], short[i]) })
	if err != nil {
		return err
	}
	var bits [2][Parties]Bits
	for i, a := range answers {
		r := &reader{b: a}
		bits[0][i], bits[1][i] = r.bits(), r.bits()
		if err := r.end(); err != nil {
			return err
		}
	}
	_, err = OpenBits(bits[0])
	_, also := OpenBits(bits[1])
	return errors.Join(err, also)
}

// TestErasedLeavesFiles: what was erased leaves the files of a party's store by itself (N7).
func TestErasedLeavesFiles(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	c.enrol("a", unit(rng, testDim))
	of := c.gateway.dir.subject("t", "a")
	c.consistent()
	var keys [Parties][]byte
	for i, p := range c.parties {
		var err error
		if keys[i], err = p.store.get(epochKey(prefixKey, 1, of)); err != nil || len(keys[i]) != wrappedBytes {
			t.Fatalf("no key: %v", err)
		}
		if err := p.store.db.Flush(); err != nil {
			t.Fatal(err)
		}
		if !contains(t, c.disks[i], keys[i]) {
			t.Error("the search does not find what is there: it proves nothing")
		}
	}
	if _, err := c.gateway.Delete(t.Context(), "t", "a"); err != nil {
		t.Fatal(err)
	}
	for i := range c.parties {
		c.eventually("the key has left the files", func() bool { return !contains(t, c.disks[i], bytes.Clone(keys[i])) })
	}
}

// TestBusyParty: a party does 512 requests at once, and says of what is more that it is busy.
func TestBusyParty(t *testing.T) {
	c := startWorld(t)
	p := c.parties[1].Party
	if cap(p.slots) != 512 {
		t.Errorf("%d at once, doc.go says 512", cap(p.slots))
	}
	a, b, err := connect(t, c.gid, c.ids[1], c.pins, c.pins)
	if err != nil {
		t.Fatal(err)
	}
	gateway, party := newLink(t, a, LinkConfig{Timeout: testTimeout}), newLink(t, b, LinkConfig{Timeout: testTimeout})
	g, payload := &gatewayLink{index: 7}, p.settings.appendTo([]byte{0})
	asked := func(n uint64) Frame {
		t.Helper()
		s, err := gateway.Open(MakeSID(7, 1000+n))
		if err != nil {
			t.Fatal(err)
		}
		p.handle(t.Context(), g, party, Frame{SID: MakeSID(7, 1000+n), Type: FrameHello, Payload: payload})
		f, err := s.RecvFrame(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for range cap(p.slots) {
		p.slots <- struct{}{}
	}
	if f := asked(1); f.Type != FrameError || !errors.Is(errorOf(1, f.Payload), ErrBusy) {
		t.Errorf("type %d, %v", f.Type, errorOf(1, f.Payload))
	}
	for range cap(p.slots) {
		<-p.slots
	}
	if f := asked(2); f.Type != FrameResult {
		t.Errorf("type %d, %v", f.Type, errorOf(1, f.Payload))
	}
}

// TestGateways: two gateways serve one cluster at once, each with tenants of its own.
func TestGateways(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	second := mustIdentity(t, GatewayRole(8))
	c.pins[second.Role] = second.Pin()
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	config := c.gatewayConfig()
	config.Index, config.Identity, config.Dir, config.Key = 8, second, "second", bytes.Repeat([]byte{4}, DirectoryKeyBytes)
	other, err := OpenGateway(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}()
	c.ready()
	if err := other.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i, g := range []*Gateway{c.gateway, other} {
		for user, x := range people(rng, 4) {
			wg.Go(func() {
				tenant := fmt.Sprint("tenant ", i)
				if _, err := g.Enrol(t.Context(), tenant, user, Enrolment{Policy: 1, Template: x}); err != nil {
					t.Error(err)
					return
				}
				if match, err := g.Verify(t.Context(), tenant, user, 1, x); !match || err != nil {
					t.Error(tenant, user, match, err)
				}
				if _, err := g.Delete(t.Context(), tenant, user); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}
