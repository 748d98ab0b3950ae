package mpc

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"
)

// sealing is what a client has of the gateway, through JSON as the API gives it.
func (c *world) sealing(tenant, user string) *Sealing {
	c.t.Helper()
	s, err := c.gateway.Sealing(tenant, user, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		c.t.Fatal(err)
	}
	var read Sealing
	if err := json.Unmarshal(b, &read); err != nil {
		c.t.Fatal(err)
	}
	return &read
}

func (c *world) seal(user string, op SealOp, x []float32) Envelopes {
	c.t.Helper()
	return mustSeal(c.t, c.sealing("t", user), op, x)
}

func mustSeal(t testing.TB, s *Sealing, op SealOp, x []float32) Envelopes {
	t.Helper()
	e, err := s.Seal(op, x)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// sealRaw seals what is given for each party, as a client of its own making could.
func (c *world) sealRaw(user string, op SealOp, shares [Parties][]byte) (e Envelopes) {
	c.t.Helper()
	s := c.sealing("t", user)
	about := Envelope{Cluster: s.Cluster, Tenant: s.Tenant, RID: s.Person, Op: op, Policy: 1, Nonce: newID(), Expires: s.Expires}
	if op == SealIdentify {
		about.Policy = s.Identify.ID
	}
	for i, p := range s.Parties {
		key, err := ParseEnvelopePublicKey(p.Key)
		if err != nil {
			c.t.Fatal(err)
		}
		about.Party, about.Instance = i, p.Instance
		if e[i], err = about.Seal(key, shares[i]); err != nil {
			c.t.Fatal(err)
		}
	}
	return e
}

func (c *world) enrolSealed(user string, e Envelopes) error {
	_, err := c.gateway.Enrol(c.t.Context(), "t", user, Enrolment{Policy: 1, Sealed: &e, Replace: true})
	return err
}

func (c *world) verifySealed(user string, e Envelopes) (bool, error) {
	return c.gateway.VerifySealed(c.t.Context(), "t", user, 1, e)
}

// TestSealed: people are enrolled, verified and found by shares that the gateway does not see, and it makes no difference to those that it does.
func TestSealed(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	ada, bob := unit(rng, testDim), unit(rng, testDim)
	if err := c.enrolSealed("ada", c.seal("ada", SealEnrol, ada)); err != nil {
		t.Fatal(err)
	}
	c.enrol("bob", bob)
	for user, x := range map[string][]float32{"ada": ada, "bob": bob} {
		for _, like := range []float64{0.8, 0.1} {
			probe := near(rng, x, like)
			c.verify(user, probe, like > 0.4)
			if match, err := c.verifySealed(user, c.seal(user, SealVerify, probe)); err != nil || match != (like > 0.4) {
				t.Errorf("%s at %v: %v %v", user, like, match, err)
			}
		}
		for range 2 {
			users, err := c.gateway.IdentifySealed(t.Context(), "t", 2, c.seal("", SealIdentify, near(rng, x, 0.9)))
			if err != nil || !slices.Equal(users, []string{user}) {
				t.Errorf("identified %v %v, want %s", users, err, user)
			}
		}
	}
	if err := c.enrolSealed("ada", c.seal("ada", SealEnrol, bob)); err != nil {
		t.Fatal(err)
	}
	c.verify("ada", bob, true)
	c.verify("ada", ada, false)
	c.consistent()
}

// nothing is what refusals must leave as it is: who is enrolled, and the attempts of each at each party.
func (c *world) nothing(users ...string) (all []any) {
	c.t.Helper()
	c.quiet()
	for _, user := range users {
		of := c.gateway.dir.subject("t", user)
		e, _, err := c.gateway.dir.entry(of)
		if err != nil {
			c.t.Fatal(err)
		}
		all = append(all, e.Gen, e.State, e.Tx)
		for _, p := range c.parties {
			h, _, err := p.store.head(of)
			if err != nil {
				c.t.Fatal(err)
			}
			all = append(all, h.gen, h.tx)
		}
	}
	return all
}

// quiet waits until no party has an enrolment without an end.
func (c *world) quiet() {
	c.t.Helper()
	c.eventually("no enrolment is open", func() bool {
		for _, p := range c.parties {
			if d, err := p.store.doubts(7); err != nil || len(d) > 0 {
				return false
			}
		}
		return true
	})
}

// attempts are those that the parties counted of somebody.
func (c *world) attempts(user string) (all [Parties]uint64) {
	of := c.gateway.dir.subject("t", user)
	for i, p := range c.parties {
		p.store.meters.mu.Lock()
		if m := p.store.meters.mu.of[meterRow{of, meterRecord}]; m != nil {
			all[i] = m.budget.used()
		}
		p.store.meters.mu.Unlock()
	}
	return all
}

// refusedEnvelopes are envelopes for ada that no party may take, by what is wrong with them; op is what they will be used for.
func (c *world) refusedEnvelopes(op SealOp, x []float32) map[string]Envelopes {
	c.t.Helper()
	user := "ada"
	if op == SealIdentify {
		user = ""
	}
	good := func() Envelopes { return c.seal(user, op, x) }
	with := func(change func(*Sealing)) Envelopes {
		s := c.sealing("t", user)
		change(s)
		return mustSeal(c.t, s, op, x)
	}
	cut := func(n int) Envelopes {
		e := good()
		e[1] = e[1][:n]
		return e
	}
	swapped, damaged, none, huge := good(), good(), Envelopes{}, good()
	swapped[0], swapped[2] = swapped[2], swapped[0]
	damaged[2][len(damaged[2])-1] ^= 1
	huge[0] = make([]byte, 1<<20)
	all := map[string]Envelopes{
		"swapped": swapped, "damaged": damaged, "none": none, "huge": huge, "cut in its head": cut(30), "cut in its key": cut(500), "cut at its end": cut(len(good()[1]) - 1),
		"of another tenant": mustSeal(c.t, c.sealing("u", user), op, x), "of another cluster": with(func(s *Sealing) { s.Cluster = "other" }),
		"of another policy": with(func(s *Sealing) { s.Verify.ID, s.Identify.ID = 9, 9 }),
		"to a key that the gateway made": with(func(s *Sealing) {
			s.Parties[1].Key = mustShareKey(c.t).PublicKey().Bytes()
		}),
		"with no share in it":         c.sealRaw(user, op, [Parties][]byte{{1}, {1}, {1}}),
		"with more in it than shares": c.sealRaw(user, op, c.packed(op, func([]uint32) {}, []byte("more"))),
	}
	for _, other := range []SealOp{SealVerify, SealEnrol, SealIdentify} {
		if other == op {
			continue
		}
		s := c.sealing("t", user)
		s.Person = ID{}
		if other != SealIdentify {
			s.Person = c.gateway.dir.subject("t", "ada").RID
		}
		all["to "+string(other)] = mustSeal(c.t, s, other, x)
	}
	if user != "" {
		all["of another person"] = c.seal("bob", op, x)
	}
	return all
}

// TestSealedRefused: envelopes that are not what they must be are refused, each time alike, and nothing has changed.
func TestSealedRefused(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	c.enrol("ada", x)
	c.enrol("bob", unit(rng, testDim))
	before := c.nothing("ada", "bob")
	use := map[SealOp]func(Envelopes) error{
		SealVerify: func(e Envelopes) error { _, err := c.verifySealed("ada", e); return err },
		SealEnrol:  func(e Envelopes) error { return c.enrolSealed("ada", e) },
		SealIdentify: func(e Envelopes) error {
			_, err := c.gateway.IdentifySealed(t.Context(), "t", 2, e)
			return err
		},
	}
	for op, use := range use {
		for what, e := range c.refusedEnvelopes(op, x) {
			if err := use(e); !errors.Is(err, ErrEnvelope) {
				t.Errorf("%s, %s: %v", op, what, err)
			}
		}
		// A probe that is none is found by the checks.
		for what, shares := range c.refusedShares(op) {
			user, want := "ada", ErrProbe
			if op == SealIdentify {
				user = ""
				if what == "not of one vector" { // the parties might be of two minds about the rows
					want = ErrContext
				}
			}
			if err := use(c.sealRaw(user, op, shares)); !errors.Is(err, want) {
				t.Errorf("%s, %s: %v", op, what, err)
			}
		}
	}
	if after := c.nothing("ada", "bob"); !slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
	c.verify("ada", x, true)
	c.consistent()
}

// packed are shares of a vector for an operation, changed before it is split; behind them is more.
func (c *world) packed(op SealOp, change func(q []uint32), more []byte) (all [Parties][]byte) {
	c.t.Helper()
	ids := map[SealOp][]uint16{SealVerify: {1}, SealEnrol: {1, 2}, SealIdentify: {2}}[op]
	x := unit(seeded(c.t), testDim)
	for _, id := range ids {
		q, err := c.policies[0].Policies[id].Params.Encode(x)
		if err != nil {
			c.t.Fatal(err)
		}
		change(q)
		for i, packed := range SplitPacked(q) {
			all[i] = append(all[i], packed...)
		}
	}
	for i := range all {
		all[i] = append(all[i], more...)
	}
	return all
}

// refusedShares are of no unit vector, or not of one.
func (c *world) refusedShares(op SealOp) map[string][Parties][]byte {
	c.t.Helper()
	all := func(change func([]uint32)) [Parties][]byte {
		return c.packed(op, change, nil)
	}
	one, two := all(func([]uint32) {}), all(func([]uint32) {})
	one[1] = two[1]
	return map[string][Parties][]byte{
		"not of one vector": one,
		"of another norm":   all(times(1.5)),
		"out of bounds":     all(func(q []uint32) { q[3] += 1 << 31 }),
	}
}

// TestSealedOnce: the parties take no envelope twice, whoever sends it again and for whatever, none whose time is over, and none from before one of
// them was started.
func TestSealedOnce(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	var shift time.Duration
	c.now = func() time.Time { return time.Unix(1_800_000_000, 0).Add(shift) }
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	x, y := unit(rng, testDim), unit(rng, testDim)
	used := c.seal("ada", SealEnrol, x)
	if err := c.enrolSealed("ada", used); err != nil {
		t.Fatal(err)
	}
	c.enrol("ada", y)
	wantErr(t, c.enrolSealed("ada", used), ErrEnvelopeUsed) // the face of before does not come back
	c.verify("ada", y, true)

	used = c.seal("ada", SealVerify, y)
	if match, err := c.verifySealed("ada", used); !match || err != nil {
		t.Fatal(match, err)
	}
	attempts := c.attempts("ada")
	for range 3 {
		_, err := c.verifySealed("ada", used)
		wantErr(t, err, ErrEnvelopeUsed)
	}
	if after := c.attempts("ada"); after != attempts {
		t.Errorf("attempts were %v, and are %v", attempts, after)
	}
	search := c.seal("", SealIdentify, y)
	for _, want := range []error{nil, ErrEnvelopeUsed} {
		if _, err := c.gateway.IdentifySealed(t.Context(), "t", 2, search); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}

	shares := c.packed(SealVerify, func([]uint32) {}, nil) // two requests with the same shares are two, and no third is made of them
	mixed, other := c.sealRaw("ada", SealVerify, shares), c.sealRaw("ada", SealVerify, shares)
	mixed[1] = other[1]
	_, err := c.verifySealed("ada", mixed)
	wantErr(t, err, ErrProbe)

	late, ahead := c.seal("ada", SealVerify, y), c.sealing("t", "ada")
	ahead.Expires = ahead.Expires.Add(maxEnvelopeLife)
	_, err = c.verifySealed("ada", mustSeal(t, ahead, SealVerify, y))
	wantErr(t, err, ErrEnvelopeUsed)
	shift = EnvelopeLife
	_, err = c.verifySealed("ada", late)
	wantErr(t, err, ErrEnvelopeUsed)

	before := c.seal("ada", SealVerify, y)
	c.stopParty(1)
	c.start(1)
	c.ready()
	_, err = c.verifySealed("ada", before)
	wantErr(t, err, ErrEnvelopeUsed)
	if match, err := c.verifySealed("ada", c.seal("ada", SealVerify, y)); !match || err != nil {
		t.Fatal(match, err)
	}
}

// TestSealedChecks: a policy that spares probes the bound does not spare those of clients.
func TestSealedChecks(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	for i := range c.policies {
		p := c.policies[i].Policies[1]
		p.Check = CheckNorm
		c.policies[i].Policies[1] = p
	}
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	x := unit(rng, testDim)
	c.enrol("ada", x)
	q := make([]uint32, testDim)
	for j := range q {
		q[j] = 4104 // 256 × 4104² = 2^32 + 1.001 × 2^24: of the right norm, in the ring
	}
	_, err := c.verifySealed("ada", c.sealRaw("ada", SealVerify, SplitPacked(q)))
	wantErr(t, err, ErrProbe)
	if match, err := c.verifySealed("ada", c.seal("ada", SealVerify, x)); !match || err != nil {
		t.Fatal(match, err)
	}
}

// TestSealingPinned: a client that has the keys from the parties' administrators sees that a gateway gives it others, and so does a gateway whose
// operator has pinned them.
func TestSealingPinned(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	stranger := mustShareKey(t)
	var pins [Parties]Pin
	for i, key := range c.shareKeys {
		pins[i] = PinOfShareKey(key.PublicKey().Bytes())
		c.start(i)
	}
	c.startGateway()
	c.ready()
	s := c.sealing("t", "ada")
	if err := s.Pinned(pins); err != nil {
		t.Fatal(err)
	}
	s.Parties[2].Key = stranger.PublicKey().Bytes()
	wantErr(t, s.Pinned(pins), ErrPeer)

	for _, key := range []struct {
		what string
		set  func()
	}{
		{"another", func() { c.shareKeys[1] = stranger }},
		{"none", func() { c.shareKeys[1] = nil }},
	} {
		c.stopGateway()
		c.stopParty(1)
		key.set()
		c.start(1)
		config := c.gatewayConfig()
		config.ShareKeys = pins
		g, err := OpenGateway(config)
		if err != nil {
			t.Fatal(err)
		}
		c.gateway = g
		c.ready()
		_, err = g.Sealing("t", "ada", 1)
		wantErr(t, err, ErrShareKey)
	}
	c.enrol("ada", unit(rng, testDim)) // all else goes on
	_, err := c.verifySealed("ada", mustSeal(t, s, SealVerify, unit(rng, testDim)))
	wantErr(t, err, ErrShareKey)
}

// TestSealRefuses: what a client can't seal.
func TestSealRefuses(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	for what, f := range map[string]struct {
		s    *Sealing
		op   SealOp
		x    []float32
		want error
	}{
		"a search of a person":   {c.sealing("t", "ada"), SealIdentify, x, ErrEnvelope},
		"nobody to verify":       {c.sealing("t", ""), SealVerify, x, ErrEnvelope},
		"an operation":           {c.sealing("t", "ada"), "erase", x, ErrEnvelope},
		"a vector of two":        {c.sealing("t", "ada"), SealVerify, x[:2], ErrVector},
		"a policy that can wrap": {func() *Sealing { s := c.sealing("t", "ada"); s.Verify.Bound = 1 << 20; return s }(), SealVerify, x, ErrParams},
		"no policy for searches": {func() *Sealing { s := c.sealing("t", ""); s.Identify = nil; return s }(), SealIdentify, x, ErrPolicy},
		"a key that is none":     {func() *Sealing { s := c.sealing("t", "ada"); s.Parties[0].Key = nil; return s }(), SealVerify, x, ErrEnvelope},
	} {
		if _, err := f.s.Seal(f.op, f.x); !errors.Is(err, f.want) {
			t.Errorf("%s: %v, want %v", what, err, f.want)
		}
	}
	_, err := c.gateway.Sealing("t", "ada", 9)
	wantErr(t, err, ErrPolicy)
	c.stopParty(0)
	c.awaitState(0, PartyAway)
	_, err = c.gateway.Sealing("t", "ada", 1)
	wantErr(t, err, ErrPartyDown)
	e := Envelopes{}
	_, err = c.verifySealed("ada", e)
	wantErr(t, err, ErrUnknown)
}
