package mpc

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Enrolment is what somebody is enrolled with.
type Enrolment struct {
	Policy   uint16
	Template []float32  // float32[dim], ‖template‖ = 1 ± 1e-3; not retained
	Sealed   *Envelopes // in the place of Template: shares that a client has sealed to enrol the user (Sealing), once; nil: Template
	Replace  bool       // who is enrolled already gets this template in the place of theirs; else ErrExists
	Request  Request    // when it comes again it is not done again (EnrolledBy)
}

// Enrolled is who was enrolled. Template names the template for receipts; it is random.
type Enrolled struct {
	Generation uint32
	Template   ID
	Time       time.Time
	Told       bool // the caller asks again, and was told before
}

// MaxUserID bounds a user id, in bytes.
const MaxUserID = 256

// Person is one of those who are enrolled together.
type Person struct {
	User string
	Enrolment
}

// Outcome is what came of one person's enrolment; Err is nil, or one of Enrol's.
type Outcome struct {
	Enrolled
	Err error
}

// Enrol splits a template among the parties, all of which make it durable or none: two-phase commit, presumed abort. Before they vote, the
// parties check that what they hold is shares of one vector within the policy's bounds, which matches itself; none of them sees it.
//
//	BEGIN, durable ─▶ PREPARE: check, durable, vote ─▶ COMMIT, durable: the decision ─▶ carried out by all ─▶ return
//	                        └─▶ a no, or no answer: abort
//
// ErrUnfinished says that it is decided, and that a party has not carried it out yet: it will, without another call; a request that comes again then
// (Enrolment.Request) is told that it was done. Errors: EnrolledBy's, ErrExists, ErrPolicy, ErrVector, ErrPending, ErrRefused, ErrPartyDown, ErrProbe, ErrStorage, ctx's.
func (g *Gateway) Enrol(ctx context.Context, tenant, user string, e Enrolment) (Enrolled, error) {
	out := g.EnrolAll(ctx, tenant, []Person{{user, e}})[0]
	return out.Enrolled, out.Err
}

// EnrolAll is Enrol of up to MaxItems people of a tenant, under one policy, for the price of a few: they share the sessions that check
// them, and the writes of the gateway and of each party. What came of people[i] is outcomes[i]. Whoever can't be enrolled is told so, and the
// others are enrolled without, in another transaction: without whom a check fails, and where the parties don't say who it is, in halves. Who
// is in people twice is enrolled once, and the other gets ErrPending.
func (g *Gateway) EnrolAll(ctx context.Context, tenant string, people []Person) (outcomes []Outcome) {
	return g.enrolAll(ctx, tenant, people, func(user string) error {
		if strings.HasPrefix(user, canaryPrefix) {
			return fmt.Errorf("%w: a user id can't begin so", ErrMessage)
		}
		return nil
	})
}

func (g *Gateway) enrolAll(ctx context.Context, tenant string, people []Person, may func(user string) error) []Outcome {
	out := make([]Outcome, len(people))
	e := &enrolments{g: g, tenant: g.dir.tenant(tenant)}
	err := g.ready()
	if len(people) > MaxItems {
		err = fmt.Errorf("%w: %d people at once, not up to %d", ErrMessage, len(people), MaxItems)
	}
	for i, p := range people {
		var again bool
		if out[i].Enrolled, again, out[i].Err = g.EnrolledBy(ctx, tenant, p.User, p.Request); again || out[i].Err != nil {
			continue
		}
		if out[i].Err = cmp.Or(err, may(p.User)); out[i].Err != nil {
			continue
		}
		if p.Sealed == nil {
			out[i].Err = e.add(tenant, p, &out[i])
			continue
		}
		alone := &enrolments{g: g, tenant: e.tenant, sealed: p.Sealed} // an envelope is opened once, so nobody else's fault may cost it
		out[i].Err = alone.add(tenant, p, &out[i])
		alone.run(ctx)
	}
	slices.SortFunc(e.people, func(a, b *enrolment) int { return bytes.Compare(a.of.RID[:], b.of.RID[:]) })
	e.run(ctx)
	for i, p := range people {
		if errors.Is(out[i].Err, errAgain) { // a request like it came first
			out[i].Enrolled, _, out[i].Err = g.EnrolledBy(ctx, tenant, p.User, p.Request)
		}
	}
	return out
}

// enrolments are people who are enrolled by one transaction, in the order of their rids: all under one policy.
type enrolments struct {
	g      *Gateway
	tenant ID
	id     uint16 // of the policy
	policy Policy
	tx     ID
	time   time.Time
	sealed *Envelopes // of one; nil: the gateway makes the shares
	people []*enrolment
}

// enrolment is one person's, on its way.
type enrolment struct {
	of       Subject
	user     string
	replace  bool
	full     []uint32
	gallery  []uint32 // nil for none
	template ID       // templateOf the secret
	secret   ID       // told when it is decided
	gen      uint32
	above    uint32 // generation that a party has, if the directory has an earlier one
	out      *Outcome

	content, name ID      // of the request
	asked         []asked // that the person's entry knows
}

// add takes a person. Errors: ErrMessage, ErrPolicy, ErrVector.
func (e *enrolments) add(tenant string, p Person, out *Outcome) (err error) {
	if p.User == "" || len(p.User) > MaxUserID || tenant == "" || len(tenant) > MaxUserID {
		return fmt.Errorf("%w: a user id has 1 to %d bytes", ErrMessage, MaxUserID)
	}
	policies := e.g.cfg.Policies.Policies
	policy, known := policies[p.Policy]
	if !known || len(e.people) > 0 && p.Policy != e.id {
		return ErrPolicy
	}
	t := &enrolment{of: e.g.dir.subject(tenant, p.User), user: p.User, replace: p.Replace, secret: newID(), out: out}
	t.template = templateOf(t.of, t.secret)
	t.content, t.name = e.g.dir.hashed(p.Request)
	if e.sealed != nil {
		err = e.sealed.fit(policy)
	} else if t.full, err = policy.Params.Encode(p.Template); err == nil && policy.Gallery != 0 {
		t.gallery, err = policies[policy.Gallery].Params.Encode(p.Template)
	}
	if err == nil {
		e.id, e.policy, e.people = p.Policy, policy, append(e.people, t)
	}
	return err
}

// run enrols the people, and tells each what came of it.
func (e *enrolments) run(ctx context.Context) {
	err := e.once(ctx)
	if errors.Is(err, ErrPending) { // a doubt of before
		e.g.settle(ctx)
		if e.sealed == nil { // what was opened opens once
			err = e.once(ctx)
		}
	}
	if err != nil && e.sealed == nil && mayRetry(err) && ctx.Err() == nil {
		e.g.awaitReady(ctx, e.g.cfg.Timeout)
		err = e.once(ctx)
	}
	for tries := 0; tries < Parties && e.behind(err) && ctx.Err() == nil; tries++ {
		err = e.once(ctx)
	}
	if failed, ok := errors.AsType[*ProbeError](err); ok && failed.Item < len(e.people) {
		one := e.people[failed.Item]
		e.drop(func(t *enrolment) error {
			if t == one {
				return e.sealed.failed(err)
			}
			return nil
		})
		e.run(ctx)
		return
	}
	if n := len(e.people); n > 1 && ofOne(err) {
		for _, half := range [][]*enrolment{e.people[:n/2], e.people[n/2:]} {
			part := *e
			part.people = slices.Clone(half)
			part.run(ctx)
		}
		return
	}
	if err != nil {
		e.drop(func(*enrolment) error { return e.sealed.failed(down(err)) })
	}
}

// maxBehind bounds how far one party's word moves a generation, of which there are 2^32.
const maxBehind = 1 << 10

// behind says whether a party has a later generation of the one person than the directory, as after its folder was put back from a backup;
// then the person is enrolled above it.
func (e *enrolments) behind(err error) bool {
	party, ok := errors.AsType[*GenerationError](err)
	if !ok || len(e.people) != 1 || party.Has < e.people[0].gen {
		return false
	}
	t := e.people[0]
	t.above = uint32(min(uint64(party.Has), uint64(t.gen)+maxBehind))
	return true
}

// ofOne says whether what the parties refused may be one person's fault.
func ofOne(err error) bool {
	return errors.Is(err, ErrProbe) || errors.Is(err, ErrContext) || errors.Is(err, ErrGeneration) || errors.Is(err, ErrPending)
}

// drop takes those out for whom why has an error, and tells them.
func (e *enrolments) drop(why func(*enrolment) error) (dropped []*enrolment) {
	e.people = slices.DeleteFunc(e.people, func(t *enrolment) bool {
		err := why(t)
		if err != nil {
			t.out.Err, dropped = err, append(dropped, t)
		}
		return err != nil
	})
	return dropped
}

// once is one transaction. An error concerns all who are left.
func (e *enrolments) once(ctx context.Context) error {
	if len(e.people) == 0 {
		return nil
	}
	g := e.g
	e.tx, e.time = newTx(g.cfg.Index), g.cfg.Now().Truncate(time.Millisecond).UTC()
	leave, err := e.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := e.begin(); err != nil || len(e.people) == 0 {
		return err
	}
	g.cfg.hook("begun")
	err = e.vote(ctx)
	if err != nil || len(e.people) == 0 {
		e.forget()
		e.abort(e.people)
		return err
	}
	g.cfg.hook("voted")
	d, err := e.decide()
	if err != nil {
		return err
	}
	g.cfg.hook("decided")
	err = g.await(ctx, d.done)
	for _, t := range e.people {
		*t.out = Outcome{Enrolled{Generation: t.gen, Template: t.template, Time: e.time}, err}
		if err == nil {
			t.out.Err = g.dir.told(t.of, t.content)
		}
	}
	return nil
}

// enter is Gateway.enter for all of them; those whom another write is about are dropped.
func (e *enrolments) enter(ctx context.Context) (leave func(), err error) {
	of := make([]Subject, len(e.people))
	for i, t := range e.people {
		of[i] = t.of
	}
	free, leave, err := e.g.enterBy(ctx, 1, e.tx, of...)
	if err == nil {
		e.drop(func(t *enrolment) error {
			if i := slices.Index(free, t.of); i >= 0 {
				free = slices.Delete(free, i, i+1) // who is there twice is free once
				return nil
			}
			return ErrPending
		})
	}
	return leave, err
}

// begin finds out the generations, drops who can't be enrolled, and notes, durably, what is begun.
func (e *enrolments) begin() error {
	if err := e.g.readyFor(e.id, e.policy.Gallery); err != nil {
		return err
	}
	erased := e.g.erases(e.tenant)
	return e.g.dir.update(func(b *pebble.Batch) (failed error) {
		e.drop(func(t *enrolment) error {
			if erased {
				return ErrPending
			}
			is, _, err := e.g.dir.entry(t.of)
			again, named := false, error(nil)
			if err == nil {
				_, again, named = e.g.dir.enrolledBy(t.of, is, t.content, t.name, e.time)
			}
			gen := max(is.Gen, t.above)
			switch {
			case err != nil:
				failed = err
			case named != nil:
				return named
			case again:
				return errAgain
			case is.State == stateActive && !t.replace:
				return ErrExists
			case gen == math.MaxUint32:
				return ErrGeneration
			}
			t.gen, t.asked = gen+1, is.Asked
			return nil
		})
		if len(e.people) > 0 {
			set(b, begunKey(e.tx), e.batch(e.people).appendTo(nil))
		}
		return failed
	})
}

// erases reports whether a tenant's erasure is decided and some party has not carried it out: it comes to that party again, after a restart to all, and
// would take whoever is enrolled meanwhile.
func (g *Gateway) erases(tenant ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.mu.decided {
		if d.kind == decideEraseTenant && d.of.Tenant == tenant {
			return true
		}
	}
	return false
}

// batch is what parties are told of some of the people.
func (e *enrolments) batch(people []*enrolment) batch {
	b := batch{e.tenant, e.tx, make([]member, len(people))}
	for i, t := range people {
		b.people[i] = member{t.of.RID, t.gen, t.template}
	}
	return b
}

// vote has the parties check and prepare, and opens which templates match themselves; who has one that does not is dropped.
func (e *enrolments) vote(ctx context.Context) error {
	m := prepareMessage{e.id, e.policy.Model, e.batch(e.people), e.time.UnixMilli(), e.g.sid()}
	var payloads [Parties][]byte
	for i := range payloads {
		payloads[i] = m.appendTo(nil)
	}
	var pack packer
	for _, t := range e.people {
		for _, q := range [][]uint32{t.full, t.gallery} {
			if q != nil {
				pack.append(&payloads, q)
			}
		}
	}
	kind := FramePrepare
	if e.sealed != nil {
		kind = FramePrepareSealed
		for i, b := range e.sealed {
			payloads[i] = append(payloads[i], b...)
		}
	}
	answers, err := e.g.askAll(ctx, kind, e.g.sid(), func(i int) []byte { return payloads[i] })
	if err != nil {
		return err
	}
	refused, err := e.open(answers)
	if err != nil {
		return err
	}
	i := -1
	e.abort(e.drop(func(*enrolment) error {
		i++
		return e.sealed.failed(refused[i])
	}))
	return nil
}

// open tells who is refused, and why: whose template fails a check, or does not match itself, for anything that they are enrolled for. The others go
// on in the same transaction: were it begun anew without them, a party that cheats could ask about all who are left again, and again.
// Errors: ErrMessage, ErrResult.
func (e *enrolments) open(answers [Parties][]byte) (refused []error, err error) {
	var bits [2][Parties]Bits
	uses := 1
	if e.policy.Gallery != 0 {
		uses = 2
	}
	for i, b := range answers {
		r := &reader{b: b}
		for use := range uses {
			bits[use][i] = r.bits()
		}
		if err := r.end(); err != nil {
			return nil, err
		}
	}
	refused = make([]error, len(e.people))
	for use := range uses {
		match, failed, err := openBits(bits[use])
		if err != nil {
			return nil, err
		}
		if len(match) != len(refused) || len(failed) != len(refused) {
			return nil, fmt.Errorf("%w: %d answers of %d people", ErrMessage, len(match), len(refused))
		}
		for i := range refused {
			switch {
			case failed[i]:
				refused[i] = fmt.Errorf("%w: %w", ErrRefused, &ProbeError{i, FailedVector})
			case !match[i] && refused[i] == nil:
				refused[i] = fmt.Errorf("%w: the template does not match itself", ErrRefused)
			}
		}
	}
	return refused, nil
}

// forget aborts the transaction: what was begun and is not decided.
func (e *enrolments) forget() { _ = e.g.dir.db.Delete(begunKey(e.tx), pebble.NoSync) }

// abort tells the parties to forget people, as far as they can be told: those that are not ask.
func (e *enrolments) abort(people []*enrolment) {
	if len(people) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), e.g.cfg.Timeout)
	defer cancel()
	_, _ = e.g.askEach(ctx, FrameAbort, e.batch(people).appendTo(nil))
}

// decide is the moment from which on the people are enrolled.
func (e *enrolments) decide() (*decision, error) {
	people := e.batch(e.people).people
	for i, t := range e.people {
		people[i].template = t.secret
	}
	return e.g.decide(&decision{kind: decideCommit, of: Subject{Tenant: e.tenant}, tx: e.tx, people: people}, func(b *pebble.Batch) error {
		remove(b, begunKey(e.tx))
		for _, t := range e.people {
			e.g.dir.setEntry(b, t.of, entry{State: stateActive, Gen: t.gen, Template: t.template, Policy: e.id, Gallery: e.policy.Gallery != 0, User: t.user, Time: e.time, Tx: e.tx,
				Asked: t.remember(e.time)})
			e.g.dir.owe(b, t.of, t.content)
		}
		return nil
	})
}

// enter begins a write of a person, of which there is one at a time, and waits while a refresh is under way. Errors: ErrPending,
// ErrClosed, ctx's.
func (g *Gateway) enter(ctx context.Context, of Subject, tx ID) (leave func(), err error) {
	return g.enterOne(ctx, 1, of, tx)
}

// enterAlone is enter for what no other write may run beside.
func (g *Gateway) enterAlone(ctx context.Context, of Subject, tx ID) (leave func(), err error) {
	return g.enterOne(ctx, everybody, of, tx)
}

func (g *Gateway) enterOne(ctx context.Context, n int64, of Subject, tx ID) (leave func(), err error) {
	free, leave, err := g.enterBy(ctx, n, tx, of)
	if err == nil && len(free) == 0 {
		leave()
		return nil, ErrPending
	}
	return leave, err
}

// enterBy begins a write of all of some people who are free: of whom there is no other.
func (g *Gateway) enterBy(ctx context.Context, n int64, tx ID, of ...Subject) (free []Subject, leave func(), err error) {
	end, err := g.call()
	if err != nil {
		return nil, nil, err
	}
	if err := g.changes.Acquire(ctx, n); err != nil {
		end()
		return nil, nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, of := range of {
		if !g.mu.busy[of] {
			g.mu.busy[of], free = true, append(free, of)
		}
	}
	g.mu.active[tx] = true
	busy := slices.Clone(free)
	return free, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, of := range busy {
			delete(g.mu.busy, of)
		}
		delete(g.mu.active, tx)
		g.changes.Release(n)
		end()
	}, nil
}

// askEach asks each party in a session of its own.
func (g *Gateway) askEach(ctx context.Context, t FrameType, payload []byte) (answers [Parties][]byte, err error) {
	var errs [Parties]error
	var wg sync.WaitGroup
	for i, r := range g.remotes {
		wg.Go(func() { answers[i], errs[i] = r.call(ctx, t, g.sid(), payload) })
	}
	wg.Wait()
	return answers, worst(errs[:])
}

// decide makes a decision durable, with what it changes in the directory, and has the parties carry it out.
func (g *Gateway) decide(d *decision, stage func(*pebble.Batch) error) (*decision, error) {
	g.mu.Lock()
	g.mu.seq++
	d.begin(g.mu.seq)
	g.mu.Unlock()
	err := g.dir.update(func(b *pebble.Batch) error {
		set(b, decisionKey(d.seq), d.bytes())
		return stage(b)
	})
	if err != nil {
		return nil, err
	}
	g.noteLists(d)
	g.owe(d)
	return d, nil
}

// await waits until a decision is carried out, or as far as the caller can wait. Errors: ErrUnfinished.
func (g *Gateway) await(ctx context.Context, done <-chan struct{}) error {
	t := time.NewTimer(callRounds * g.cfg.Timeout)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-t.C:
	case <-ctx.Done():
	case <-g.closing:
	}
	if isClosed(done) {
		return nil
	}
	return ErrUnfinished
}

// settle has the parties' doubts of before settled.
func (g *Gateway) settle(ctx context.Context) {
	for _, r := range g.remotes {
		if ok, err := r.greet(ctx, false); err == nil && ok {
			_ = r.settleDoubts(ctx)
		}
	}
}

// Erased is what came of an erasure. Once two parties have destroyed their shares, what the third has is noise.
type Erased struct {
	Receipts []Receipt // of those that have
	Pending  int       // parties that have not yet
}

// Delete erases somebody. From when it is decided nobody is verified or found under the user id, whatever parties are away. It
// returns when all parties have destroyed their shares, or, after a while, two; then the third follows when it is back, before it serves
// anything else. ErrUnfinished says that fewer have: it is decided, and goes on. A call for somebody who was erased tells how far it is. Errors:
// ErrUnknown, ErrPending, ErrUnfinished, ErrStorage, ctx's.
func (g *Gateway) Delete(ctx context.Context, tenant, user string) (Erased, error) {
	return g.DeleteBy(ctx, tenant, user, Request{})
}

// DeleteBy is Delete by a request. One whose caller was told ErrUnfinished is told when it comes again that it was done, with the receipts.
func (g *Gateway) DeleteBy(ctx context.Context, tenant, user string, r Request) (Erased, error) {
	of := g.dir.subject(tenant, user)
	content, _ := g.dir.hashed(r)
	out, err := g.delete(ctx, of, content)
	if err == nil && out.Pending < 2 {
		err = g.dir.told(of, content)
	}
	return out, err
}

func (g *Gateway) delete(ctx context.Context, of Subject, content ID) (Erased, error) {
	tx := newTx(g.cfg.Index)
	leave, err := g.enter(ctx, of, tx)
	if err != nil {
		return Erased{}, err
	}
	defer leave()
	e, found, err := g.dir.entry(of)
	if err != nil {
		return Erased{}, err
	}
	if e.State != stateActive {
		gen, template := g.held(ctx, of, e)
		switch {
		case gen > e.Gen:
			e.Gen, e.Template = gen, template
		case !found:
			return Erased{}, ErrUnknown
		default:
			return g.erasedBefore(of, e, content)
		}
	}
	gone := entry{State: stateDeleted, Gen: e.Gen, Template: e.Template, Time: g.cfg.Now().UTC(), Tx: tx, Asked: withoutAnswers(e.Asked)}
	d, err := g.decide(&decision{kind: decideErase, of: of, tx: tx, gen: e.Gen, template: e.Template}, func(b *pebble.Batch) error {
		g.dir.setEntry(b, of, gone)
		g.dir.owe(b, of, content)
		return nil
	})
	if err != nil {
		return Erased{}, err
	}
	g.cfg.hook("erasing")
	return g.erased(ctx, d)
}

// held is the generation and template of a record that a party says it has although the directory has none, as after the gateway's folder was put back from a
// backup; 0 for none. One party's word moves it by maxBehind at most.
func (g *Gateway) held(ctx context.Context, of Subject, e entry) (gen uint32, template ID) {
	if g.concerns(e.Tx) { // an erasure of it is on its way
		return 0, template
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	answers, _ := g.askEach(ctx, FrameHolds, appendSubject(nil, of)) // who is not there says nothing
	for _, b := range answers {
		r := &reader{b: b}
		if n, id := r.u32(), r.id(); r.end() == nil && n > gen {
			gen, template = n, id
		}
	}
	return uint32(min(uint64(gen), uint64(e.Gen)+maxBehind)), template
}

// erased waits for all parties, or after a round's time for two.
func (g *Gateway) erased(ctx context.Context, d *decision) (Erased, error) {
	t := time.NewTimer(g.cfg.Timeout)
	defer t.Stop()
	select {
	case <-d.done:
	case <-t.C:
	case <-ctx.Done():
	case <-g.closing:
	}
	err := g.await(ctx, d.enough)
	out := Erased{Receipts: g.receipts(d)}
	out.Pending = Parties - len(out.Receipts)
	return out, err
}

func (g *Gateway) erasedBefore(of Subject, e entry, content ID) (Erased, error) {
	g.mu.Lock()
	d := g.mu.decided[e.Tx]
	g.mu.Unlock()
	if d == nil {
		e, _, err := g.dir.entry(of) // again: it may have been carried out, with its receipts, since it was read
		if err != nil {
			return Erased{}, err
		}
		owed, err := g.dir.owes(of, content)
		if err == nil && !owed {
			err = ErrUnknown
		}
		return Erased{Receipts: e.Receipts}, err
	}
	out := Erased{Receipts: g.receipts(d)}
	out.Pending = Parties - len(out.Receipts)
	return out, nil
}

// DeleteTenant erases everybody of a tenant. Errors: Delete's, but for ErrUnknown.
func (g *Gateway) DeleteTenant(ctx context.Context, tenant string) (Erased, error) {
	id, tx := g.dir.tenant(tenant), newTx(g.cfg.Index)
	leave, err := g.enterAlone(ctx, Subject{Tenant: id}, tx) // no enrolment of the tenant is between its vote and its end
	if err != nil {
		return Erased{}, err
	}
	defer leave()
	d, err := g.decide(&decision{kind: decideEraseTenant, of: Subject{Tenant: id}, tx: tx}, func(b *pebble.Batch) error {
		removeAll(b, append([]byte{prefixOwed}, id[:]...))
		return g.dir.each(append([]byte{prefixEntry}, id[:]...), func(key, value []byte) error {
			of := subjectOf(key)
			e, err := g.dir.openEntry(of, value)
			if err == nil && e.State == stateActive {
				g.dir.setEntry(b, of, entry{State: stateDeleted, Gen: e.Gen, Template: e.Template, Time: g.cfg.Now().UTC(), Tx: tx, Asked: withoutAnswers(e.Asked)})
			}
			return err
		})
	})
	if err != nil {
		return Erased{}, err
	}
	return g.erased(ctx, d)
}

// Refresh gives all records new shares, so that those stolen before and those stolen after fit nothing. Enrolments and erasures wait
// meanwhile; verifications wait only while the parties change over. All parties change, or none. Errors: ErrPending, ErrContext, ErrPartyDown,
// ErrUnfinished, ErrStorage, ctx's.
func (g *Gateway) Refresh(ctx context.Context) error {
	tx := newTx(g.cfg.Index)
	leave, err := g.enterAlone(ctx, Subject{}, tx)
	if err != nil {
		return err
	}
	defer leave()
	return g.refreshAlone(ctx, tx)
}

// Refreshed is when this gateway had the shares made anew last, or when its store was made if it never has; 1970 after a repair until it has. Errors:
// ErrClosed, the disk's.
func (g *Gateway) Refreshed() (time.Time, error) {
	end, err := g.call()
	if err != nil {
		return time.Time{}, err
	}
	defer end()
	v, err := g.dir.get(metaKey(metaFresh))
	if err == nil && len(v) != 8 {
		err = fmt.Errorf("%w: time of a refresh", ErrCorrupt)
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(v))).UTC(), nil
}

func freshBytes(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(t.UnixMilli()))
}

func (d *directory) setFresh(t time.Time) error {
	return d.update(func(b *pebble.Batch) error {
		set(b, metaKey(metaFresh), freshBytes(t))
		return nil
	})
}

// REQUIRES: enterAlone.
func (g *Gateway) refreshAlone(ctx context.Context, tx ID) error {
	if err := g.quiet(ctx); err != nil {
		return err
	}
	if _, err := g.askAll(ctx, FrameRefresh, g.sid(), func(int) []byte { return tx[:] }); err != nil {
		abort, cancel := context.WithTimeout(context.Background(), callRounds*g.cfg.Timeout)
		defer cancel()
		_, _ = g.askEach(abort, FrameRefreshCommit, append([]byte{0}, tx[:]...)) // who does not hear it asks
		return down(err)
	}
	g.cfg.hook("staged")
	if err := g.reads.Acquire(ctx, everybody); err != nil {
		return err // staged and not decided: the parties' doubts are settled when they are asked next
	}
	defer g.reads.Release(everybody)
	d, err := g.decide(&decision{kind: decideRefreshCommit, tx: tx}, func(b *pebble.Batch) error {
		set(b, metaKey(metaFresh), freshBytes(g.cfg.Now()))
		return nil
	})
	if err != nil {
		return err
	}
	g.cfg.hook("refreshing")
	return g.await(ctx, d.done)
}

// quiet waits until the parties have carried out all that was decided. Errors: ErrPartyDown.
func (g *Gateway) quiet(ctx context.Context) error {
	if err := g.ready(); err != nil {
		return err
	}
	g.mu.Lock()
	var open []*decision
	for _, d := range g.mu.decided {
		open = append(open, d)
	}
	g.mu.Unlock()
	for _, d := range open {
		if err := g.await(ctx, d.done); err != nil {
			return err
		}
	}
	return g.ready()
}

// Repair fills the store of a party that has lost its own, or has it from before a refresh, from the other two, and refreshes all shares then. It is
// refused for a party that has its store. A gateway, or party, that ends meanwhile leaves nothing that another call can't go on with. Errors: ErrExists, ErrPartyDown, ErrContext, ErrStorage, ctx's.
func (g *Gateway) Repair(ctx context.Context, party int) error {
	if party < 0 || party >= Parties {
		return fmt.Errorf("%w: party %d", ErrConfig, party)
	}
	tx := newTx(g.cfg.Index)
	leave, err := g.enterAlone(ctx, Subject{}, tx)
	if err != nil {
		return err
	}
	defer leave()
	r := g.remotes[party]
	switch r.state() {
	case PartyReady:
		return fmt.Errorf("%w: party %d has its store", ErrExists, party)
	case PartyLost:
	default:
		return &DownError{Parties: []int{party}}
	}
	for i, other := range g.remotes {
		if i != party && other.state() != PartyReady {
			return &DownError{Parties: []int{i}}
		}
	}
	if err := g.dir.setFresh(time.UnixMilli(0)); err != nil { // the refresh is due, whatever ends meanwhile
		return err
	}
	if _, err := g.askAll(ctx, FrameRepair, g.sid(), func(int) []byte { return []byte{byte(party)} }); err != nil {
		return down(err)
	}
	g.cfg.hook("repaired")
	r.nudge() // it says what it is now
	g.awaitReady(ctx, callRounds*g.cfg.Timeout)
	return g.refreshAlone(ctx, tx)
}

// Unlock ends a person's lock here; the parties' budgets stay. Errors: ErrStorage.
func (g *Gateway) Unlock(tenant, user string) error {
	end, err := g.call()
	if err != nil {
		return err
	}
	defer end()
	return g.dir.update(func(b *pebble.Batch) error {
		of := g.dir.subject(tenant, user)
		g.dir.known.drop(of)
		remove(b, subjectKey(prefixRejects, of))
		return nil
	})
}
