package mpc

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What a gateway, or a party, that does not follow the protocol comes to.

// enrolling is an enrolment of one person that has not begun, of whatever pseudonym the gateway likes.
func (c *world) enrolling(of Subject, x []float32, gen uint32) *enrolments {
	c.t.Helper()
	g, out := c.gateway, &Outcome{}
	e := &enrolments{g: g, tenant: of.Tenant, tx: newTx(g.cfg.Index), time: time.Now()}
	if err := e.add("t", Person{"somebody", Enrolment{Policy: 1, Template: x, Replace: true}}, out); err != nil {
		c.t.Fatal(err)
	}
	p := e.people[0]
	p.of, p.gen, p.template = of, gen, templateOf(of, p.secret)
	return e
}

// voted is an enrolment of a user that all parties have voted for and nobody has decided; it is over when leave is called.
func (c *world) voted(user string, x []float32) (e *enrolments, leave func()) {
	c.t.Helper()
	ctx := context.Background()
	e = c.enrolling(c.gateway.dir.subject("t", user), x, 0)
	e.people[0].user = user
	leave, err := e.enter(ctx)
	if err == nil {
		err = cmp.Or(e.begin(), e.vote(ctx))
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return e, leave
}

// TestPseudonyms: a gateway may use any pseudonym but zero, also those that HMACs never are: budgets of a tenant are counted apart. Zero in a receipt is
// the whole tenant.
func TestPseudonyms(t *testing.T) {
	c, ctx := startWorld(t), t.Context()
	x := unit(seeded(t), testDim)
	g, last := c.gateway, Subject{c.gateway.dir.tenant("t"), ID{}}
	for i := range last.RID {
		last.RID[i] = 0xff
	}
	e := c.enrolling(last, x, 1)
	if err := e.vote(ctx); err != nil {
		t.Fatal(err)
	}
	d, err := e.decide()
	if err != nil {
		t.Fatal(err)
	}
	<-d.done
	q := encode(t, e.policy.Params, x)
	for range 3 {
		a := &attempt{g: g, policy: 1, model: 1, tenant: last.Tenant, of: []Subject{last}, probes: [][]uint32{q}}
		if match, err := a.run(ctx); err != nil || !match[0] {
			t.Fatal(match, err)
		}
		if found, err := g.Identify(ctx, "t", 2, x); err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
	}
	nobody := Subject{Tenant: last.Tenant}
	wantErr(t, c.enrolling(nobody, x, 1).vote(ctx), ErrMessage)
	_, err = g.askEach(ctx, FrameDelete, erasure{nobody, newTx(7), 1}.appendTo(nil))
	wantErr(t, err, ErrMessage)
	_, err = (&attempt{g: g, policy: 1, model: 1, tenant: last.Tenant, of: []Subject{nobody}, probes: [][]uint32{q}}).once(ctx)
	wantErr(t, err, ErrUnknown) // the gateway's directory has none
	m := verifyMessage{1, 1, nobody.Tenant, []ID{nobody.RID}, []uint32{1}}
	_, err = g.askEach(ctx, FrameVerify, m.appendTo(nil))
	wantErr(t, err, ErrMessage)
}

// TestPanicIsSurvived: a fault that a request finds ends the request.
func TestPanicIsSurvived(t *testing.T) {
	c := startWorld(t)
	x := unit(seeded(t), testDim)
	hit := c.crashAt(crashPoint{process: 1, step: "checked", panics: true})
	_, err := c.gateway.Enrol(t.Context(), "t", "ada", Enrolment{Policy: 1, Template: x})
	if err == nil || !isClosed(hit) {
		t.Fatalf("error %v", err)
	}
	c.enrol("ada", x)
	c.verify("ada", x, true)
	c.consistent()
}

// TestReceiptsAreOfOwnRecords: parties sign what their own stores had. No receipt names a template that lives, whatever a gateway asks.
func TestReceiptsAreOfOwnRecords(t *testing.T) {
	c, ctx := startWorld(t), t.Context()
	x := unit(seeded(t), testDim)
	enrolled := c.enrol("ada", x)
	ada := c.gateway.dir.subject("t", "ada")
	ask := func(e erasure) (all []Receipt) {
		t.Helper()
		for i, r := range c.gateway.remotes {
			b, err := r.call(ctx, FrameDelete, c.gateway.sid(), e.appendTo(nil))
			if err != nil {
				t.Fatal(err)
			}
			d := &decision{kind: decideErase, of: e.of}
			v, err := r.receipt(d, b)
			if err != nil || v.Party != i {
				t.Fatal(v, err)
			}
			all = append(all, *v)
		}
		return all
	}
	for _, r := range ask(erasure{Subject{ada.Tenant, newID()}, newTx(7), enrolled.Generation}) {
		if r.Records != 0 || r.Template != (ID{}) {
			t.Errorf("a receipt of nothing: %+v", r)
		}
	}
	c.verify("ada", x, true)
	gone, err := c.gateway.Delete(ctx, "t", "ada")
	if err != nil || len(gone.Receipts) != Parties {
		t.Fatal(gone, err)
	}
	again := ask(erasure{ada, newTx(7), enrolled.Generation})
	for i, r := range gone.Receipts {
		if r.Records != 1 || r.Template != enrolled.Template || r.Generation != 1 {
			t.Errorf("%+v", r)
		}
		if again[r.Party].Tx != r.Tx || again[r.Party].Template != r.Template || !again[r.Party].Time.Equal(r.Time) {
			t.Errorf("another time: %+v, at first %+v", again[r.Party], gone.Receipts[i])
		}
	}
}

// TestLateErasure: an erasure that was carried out before, and comes again when the person was enrolled since, erases nothing, and no
// receipt says so.
func TestLateErasure(t *testing.T) {
	rng, c, ctx := seeded(t), startWorld(t), t.Context()
	x := unit(rng, testDim)
	of, g := c.gateway.dir.subject("t", "ada"), c.gateway
	for range 2 {
		c.enrol("ada", unit(rng, testDim)) // replaced without an erasure, and erased
	}
	if _, err := g.Delete(ctx, "t", "ada"); err != nil {
		t.Fatal(err)
	}
	gone, _, err := g.dir.entry(of)
	if err != nil {
		t.Fatal(err)
	}
	c.enrol("ada", x)
	for gen := range gone.Gen + 1 {
		answers, err := g.askEach(ctx, FrameDelete, erasure{of, gone.Tx, gen}.appendTo(nil))
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range answers {
			if r := (&reader{b: b}).receipt(i, of); r.Records != 0 || r.Generation != gone.Gen+1 {
				t.Errorf("erasure of %d: %+v", gen, r)
			}
		}
	}
	c.verify("ada", x, true)
	c.consistent()
}

// TestForgedCommit: nobody commits an enrolment that the gateway has not decided, whatever a peer says, asked or unasked; nor on its word for
// another generation is a vote forgotten.
func TestForgedCommit(t *testing.T) {
	rng, c, ctx := seeded(t), startWorld(t), t.Context()
	x := unit(rng, testDim)
	c.enrol("ada", x)
	e, leave := c.voted("ada", unit(rng, testDim))
	p := e.people[0]
	says := func(d doubt, secret ID) Frame {
		b := d.appendTo(binary.LittleEndian.AppendUint16([]byte{controlAnswer}, 1))
		return Frame{SID: controlSID, Type: FrameStatus, Payload: append(b, secret[:]...)}
	}
	honest := doubt{p.of, e.tx, p.gen}
	for _, i := range []int{0, 2} {
		party := c.parties[i]
		for _, d := range []doubt{honest, {p.of, e.tx, p.gen - 1}, {p.of, e.tx, p.gen + 1}} {
			for _, secret := range []ID{{}, newID(), p.template, e.tx} {
				party.controlled(nil, says(d, secret), []doubt{d})
			}
		}
		party.controlled(nil, says(honest, p.secret), nil) // it has not asked
		if all, err := party.store.doubts(7); err != nil || len(all) != 1 || all[0] != honest {
			t.Errorf("party %d is in doubt of %v, %v", i, all, err)
		}
	}
	_, err := c.gateway.askEach(ctx, FrameCommit, e.batch(e.people).appendTo(nil))
	wantErr(t, err, ErrMessage)
	e.forget()
	e.abort(e.people)
	leave()
	c.verify("ada", x, true)
	c.consistent()
	c.enrol("ada", x)
	c.verify("ada", x, true)
	c.consistent()
}

// TestIdentificationsCount: who has used up a person's verifications, or has them locked, gets no more answers about them by searches than
// the person's budget has.
func TestIdentificationsCount(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	now := time.Now()
	c.now = func() time.Time { return now }
	for i := range c.parties {
		c.policies[i].Budgets = Budgets{}
		c.start(i)
	}
	c.startGateway()
	c.ready()
	x := unit(rng, testDim)
	c.enrol("ada", x)
	answers := 0
	for _, ask := range []func() error{
		func() error {
			_, err := c.gateway.Verify(t.Context(), "t", "ada", 1, x)
			return err
		},
		func() error {
			_, err := c.gateway.Identify(t.Context(), "t", 2, near(rng, x, 0.57))
			return err
		},
	} {
		err := error(nil)
		for ; err == nil && answers <= 10; answers++ {
			err = ask()
		}
		answers-- // the last was refused
		wantErr(t, err, ErrBudget)
	}
	if answers != 10 { // in a minute, by default
		t.Errorf("%d answers", answers)
	}
}

// TestVoteIsForOneVector: a party votes once under a transaction's name: shares of another vector, which would have the same head, are refused.
func TestVoteIsForOneVector(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	e, leave := c.voted("ada", x)
	e.people[0].full = encode(t, e.policy.Params, unit(rng, testDim))
	wantErr(t, e.vote(t.Context()), ErrPending)
	d, err := e.decide()
	if err != nil {
		t.Fatal(err)
	}
	<-d.done
	leave()
	c.verify("ada", x, true)
	c.consistent()
}

// TestAbortedIsShredded: what was prepared and is aborted leaves the files of a party's store, as what was erased does.
func TestAbortedIsShredded(t *testing.T) {
	c := startWorld(t)
	e, leave := c.voted("ada", unit(seeded(t), testDim))
	var keys [Parties][]byte
	for i, p := range c.parties {
		v, err := p.store.get(epochKey(prefixPrepared, 1, e.people[0].of))
		if err != nil {
			t.Fatal(err)
		}
		r, err := parsePrepared(v)
		if err != nil {
			t.Fatal(err)
		}
		if keys[i] = r.key; !contains(t, c.disks[i], r.key) {
			t.Fatal("the search does not find what is there")
		}
	}
	e.forget()
	e.abort(e.people)
	leave()
	for i, key := range keys {
		c.eventually("the key of what was aborted is gone", func() bool { return !contains(t, c.disks[i], key) })
	}
}

// TestErasedRowIsWiped: when a receipt is signed, the row of who was erased is not in memory any more.
func TestErasedRowIsWiped(t *testing.T) {
	rng, c, ctx := seeded(t), startWorld(t), t.Context()
	x, y := unit(rng, testDim), unit(rng, testDim)
	c.enrol("ada", x)
	c.enrol("bob", y)
	if found, err := c.gateway.Identify(ctx, "t", 2, x); err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	of := c.gateway.dir.subject("t", "ada")
	row := func(p *Party, slot int32) (own, next []uint16) {
		rows := p.galleries.tenant(of.Tenant)
		rows.mu.Lock()
		defer rows.mu.Unlock()
		g, i := rows.now.in.at(slot)
		return slices.Clone(g.Own[i*testDim : (i+1)*testDim]), slices.Clone(g.Next[i*testDim : (i+1)*testDim])
	}
	var slots [Parties]int32
	for i, p := range c.parties {
		rows := p.galleries.tenant(of.Tenant)
		rows.mu.Lock()
		slots[i], _ = rows.now.find(of.RID)
		rows.mu.Unlock()
		if own, _ := row(p.Party, slots[i]); slices.Max(own) == 0 {
			t.Fatal("there was no row")
		}
	}
	if gone, err := c.gateway.Delete(ctx, "t", "ada"); err != nil || len(gone.Receipts) != Parties {
		t.Fatal(gone, err)
	}
	for i, p := range c.parties {
		if own, next := row(p.Party, slots[i]); slices.Max(own) != 0 || slices.Max(next) != 0 {
			t.Errorf("party %d has the row of who was erased", i)
		}
	}
	if found, err := c.gateway.Identify(ctx, "t", 2, y); err != nil || !slices.Equal(found, []string{"bob"}) {
		t.Fatal(found, err)
	}
}

// TestMadeUpTenants: nothing stays of tenants that a gateway makes up and searches.
func TestMadeUpTenants(t *testing.T) {
	c, x := startWorld(t), unit(seeded(t), testDim)
	c.enrol("ada", x)
	for i := range 20 {
		if found, err := c.gateway.Identify(t.Context(), fmt.Sprint("tenant", i), 2, x); err != nil || found != nil {
			t.Fatal(found, err)
		}
	}
	for i, p := range c.parties {
		p.galleries.mu.Lock()
		p.store.meters.mu.Lock()
		if len(p.galleries.mu.of) != 0 || len(p.store.meters.mu.of) != 0 {
			t.Errorf("party %d keeps rows of %d tenants and %d counts", i, len(p.galleries.mu.of), len(p.store.meters.mu.of))
		}
		p.store.meters.mu.Unlock()
		p.galleries.mu.Unlock()
	}
	if found, err := c.gateway.Identify(t.Context(), "t", 2, x); err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
}

// TestGalleryScale: rows are compared at the scale that they were shared at, whatever the policies say now: at half of it the same threshold would be
// half the cosine.
func TestGalleryScale(t *testing.T) {
	rng, c := seeded(t), startWorld(t)
	x := unit(rng, testDim)
	c.enrol("ada", x)
	coarse := testPolicies(t)
	p := coarse.Policies[2]
	p.Params = defaults(t, testDim, 6)
	p.Cosine = 0.8
	coarse.Policies[3] = p
	wantErr(t, coarse.validate(), ErrConfig) // two scales of one model
	delete(coarse.Policies, 3)
	coarse.Policies[2] = p
	c.stopGateway()
	for i := range c.parties {
		c.stopParty(i)
		c.policies[i] = coarse
		c.start(i)
	}
	c.startGateway()
	c.ready()
	_, err := c.gateway.Identify(t.Context(), "t", 2, near(rng, x, 0.5))
	wantErr(t, err, ErrContext)
	c.verify("ada", x, true)
	c.enrol("ada", x)
	for cos, want := range map[float64]int{0.5: 0, 0.9: 1} {
		if found, err := c.gateway.Identify(t.Context(), "t", 2, near(rng, x, cos)); err != nil || len(found) != want {
			t.Errorf("cosine %v: %v, %v", cos, found, err)
		}
	}
}

// TestRefreshTakesVotesAlong: an enrolment that nobody decides, of a gateway that is gone, keeps nobody from a refresh; and decided or aborted afterwards,
// it is as if there had been none.
func TestRefreshTakesVotesAlong(t *testing.T) {
	rng, c, ctx := seeded(t), startWorld(t), t.Context()
	x, y := unit(rng, testDim), unit(rng, testDim)
	c.enrol("ada", x)
	c.enrol("bob", x)
	g := c.gateway
	old := c.parties[0].store.versionNow()
	ada, leaveAda := c.voted("ada", y)
	bob, leaveBob := c.voted("bob", y)
	for range 2 {
		if err := g.refreshAlone(ctx, newTx(7)); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range c.parties {
		if all, err := p.store.doubts(7); err != nil || len(all) != 2 {
			t.Errorf("party %d is in doubt of %v, %v", i, all, err)
		}
		h := head{state: stateActive, party: byte(i), logScale: 12, dim: testDim, model: 1, gen: 1, tx: newTx(7)}
		v := []shares{{share: Split(make([]uint32, testDim))[i]}}
		wantErr(t, p.store.prepare([]Subject{{newID(), newID()}}, []head{h}, v, old), ErrPending) // checked before the refresh
	}
	d, err := ada.decide()
	if err != nil {
		t.Fatal(err)
	}
	<-d.done
	bob.forget()
	bob.abort(bob.people)
	leaveAda()
	leaveBob()
	c.consistent()
	c.verify("ada", y, true)
	c.verify("bob", x, true)
	if found, err := g.Identify(ctx, "t", 2, y); err != nil || !slices.Equal(found, []string{"ada"}) {
		t.Fatal(found, err)
	}
	if err := g.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	for i, p := range c.parties {
		if err := p.store.each([]byte{prefixPrepared}, func(_, _ []byte) error { return errStop }); err != nil {
			t.Errorf("party %d has a vote left", i)
		}
	}
	c.verify("ada", y, true)
	c.consistent()
}

// TestDirectoryFromBackup: a gateway whose folder was put back from a backup enrols and erases those whom it enrolled since.
func TestDirectoryFromBackup(t *testing.T) {
	rng, c, ctx := seeded(t), startWorld(t), t.Context()
	x := unit(rng, testDim)
	c.enrol("replaced", unit(rng, testDim))
	c.enrol("erased", unit(rng, testDim))
	c.stopGateway()
	backup := c.gatewayFS.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
	c.startGateway()
	c.ready()
	var since Enrolled
	for range 3 {
		for _, user := range []string{"replaced", "erased", "new"} {
			c.enrol(user, unit(rng, testDim))
		}
		since = c.enrol("unknown since", unit(rng, testDim))
	}
	c.stopGateway()
	c.gatewayFS = backup
	c.startGateway()
	c.ready()
	for _, user := range []string{"replaced", "new"} {
		e := c.enrol(user, x)
		c.verify(user, x, true)
		if e.Generation < 4 {
			t.Errorf("%s has generation %d", user, e.Generation)
		}
	}
	_, err := c.gateway.Delete(ctx, "t", "nobody")
	wantErr(t, err, ErrUnknown)
	gone, err := c.gateway.Delete(ctx, "t", "unknown since")
	if err != nil || len(gone.Receipts) != Parties {
		t.Fatal(gone, err)
	}
	for _, r := range gone.Receipts {
		if r.Records != 1 || r.Generation != 3 || r.Template != since.Template {
			t.Errorf("%+v", r)
		}
	}
	_, err = c.gateway.Delete(ctx, "t", "unknown since")
	wantErr(t, err, ErrUnknown)
	gone, err = c.gateway.Delete(ctx, "t", "erased")
	if err != nil || len(gone.Receipts) != Parties {
		t.Fatal(gone, err)
	}
	for _, r := range gone.Receipts {
		if r.Records != 1 || r.Generation != 4 {
			t.Errorf("%+v", r)
		}
	}
	for i, p := range c.parties {
		if h, _, err := p.store.head(c.gateway.dir.subject("t", "erased")); err != nil || h.state != stateDeleted {
			t.Errorf("party %d has %+v, %v", i, h, err)
		}
	}
	c.enrol("erased", x)
	c.verify("erased", x, true)
	c.consistent()
}

// TestNobodyJoinsAnErasure: while a tenant's erasure is owed to a party nobody is enrolled there: the erasure comes to that party again, and after a
// restart to all three, and would take them.
func TestNobodyJoinsAnErasure(t *testing.T) {
	c := startWorld(t)
	x := unit(seeded(t), testDim)
	c.enrol("ann", x)
	c.stopParty(2)
	erased, err := c.gateway.DeleteTenant(t.Context(), "t")
	if err != nil || erased.Pending != 1 || !c.gateway.erases(c.gateway.dir.tenant("t")) {
		t.Fatalf("%+v, %v", erased, err)
	}
	c.stopGateway()
	c.startGateway()
	if !c.gateway.erases(c.gateway.dir.tenant("t")) {
		t.Error("a restart forgets an erasure that is owed")
	}
	c.start(2)
	c.ready()
	c.eventually("the erasure is carried out", func() bool { return !c.gateway.erases(c.gateway.dir.tenant("t")) })
	c.enrol("ann", x)

	d := &decision{kind: decideEraseTenant, of: Subject{Tenant: c.gateway.dir.tenant("t")}, tx: newTx(0)}
	owed := func(is bool) {
		c.gateway.mu.Lock()
		defer c.gateway.mu.Unlock()
		if delete(c.gateway.mu.decided, d.tx); is {
			c.gateway.mu.decided[d.tx] = d
		}
	}
	owed(true)
	_, err = c.gateway.Enrol(t.Context(), "t", "bob", Enrolment{Policy: 1, Template: x})
	wantErr(t, err, ErrPending)
	_, err = c.gateway.Enrol(t.Context(), "another", "bob", Enrolment{Policy: 1, Template: x})
	wantErr(t, err, nil)
	owed(false)
	c.enrol("bob", x)
	c.verify("ann", x, true)
	c.consistent()
}
