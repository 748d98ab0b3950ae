package mpc

import (
	"context"
	"errors"
	"fmt"
	"math"
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
}

// Enrolled is who was enrolled. Template names the template for receipts; it is random.
type Enrolled struct {
	Generation uint32
	Template   ID
	Time       time.Time
}

// MaxUserID bounds a user id, in bytes.
const MaxUserID = 256

// Enrol splits a template among the parties, all of which make it durable or none: two-phase commit, presumed abort. Before they vote, the
// parties check that what they hold is shares of one vector within the policy's bounds, which matches itself; none of them sees it.
//
//	BEGIN, durable ─▶ PREPARE: check, durable, vote ─▶ COMMIT, durable: the decision ─▶ carried out by all ─▶ return
//	                        └─▶ a no, or no answer: abort
//
// ErrUnfinished says that it is decided, and that a party has not carried it out yet: it will, without another call. Errors:
// ErrExists, ErrPolicy, ErrVector, ErrPending, ErrRefused, ErrPartyDown, ErrProbe, ErrStorage, ctx's.
func (g *Gateway) Enrol(ctx context.Context, tenant, user string, e Enrolment) (Enrolled, error) {
	if strings.HasPrefix(user, canaryPrefix) {
		return Enrolled{}, fmt.Errorf("%w: a user id can't begin so", ErrMessage)
	}
	return g.enrol(ctx, tenant, user, e)
}

func (g *Gateway) enrol(ctx context.Context, tenant, user string, e Enrolment) (Enrolled, error) {
	if err := g.ready(); err != nil {
		return Enrolled{}, err
	}
	done, err := g.enrolOnce(ctx, tenant, user, e)
	if err != nil && e.Sealed == nil && mayRetry(err) && ctx.Err() == nil {
		g.awaitReady(ctx, g.cfg.Timeout)
		done, err = g.enrolOnce(ctx, tenant, user, e)
	}
	return done, e.Sealed.failed(down(err))
}

func (g *Gateway) enrolOnce(ctx context.Context, tenant, user string, e Enrolment) (Enrolled, error) {
	t, err := g.newEnrolment(tenant, user, e)
	if err != nil {
		return Enrolled{}, err
	}
	leave, err := g.enter(ctx, t.of, t.tx)
	if err != nil {
		return Enrolled{}, err
	}
	defer leave()
	if err := t.begin(e.Replace); err != nil {
		return Enrolled{}, err
	}
	g.cfg.hook("begun")
	err = t.vote(ctx)
	if errors.Is(err, ErrPending) { // a doubt of before
		g.settle(ctx)
		if t.sealed == nil { // what was opened opens once
			err = t.vote(ctx)
		}
	}
	if err != nil {
		t.abort()
		return Enrolled{}, err
	}
	g.cfg.hook("voted")
	d, err := t.decide()
	if err != nil {
		return Enrolled{}, err
	}
	g.cfg.hook("decided")
	return Enrolled{t.gen, t.template, t.time}, g.await(ctx, d.done)
}

// enrolment is one on its way.
type enrolment struct {
	g        *Gateway
	of       Subject
	user     string
	id       uint16 // of the policy
	policy   Policy
	full     []uint32
	gallery  []uint32   // nil for none
	sealed   *Envelopes // in the place of both
	tx       ID
	template ID
	gen      uint32
	time     time.Time
}

func (g *Gateway) newEnrolment(tenant, user string, e Enrolment) (t *enrolment, err error) {
	if user == "" || len(user) > MaxUserID || tenant == "" || len(tenant) > MaxUserID {
		return nil, fmt.Errorf("%w: a user id has 1 to %d bytes", ErrMessage, MaxUserID)
	}
	policy, known := g.cfg.Policies.Policies[e.Policy]
	if !known {
		return nil, ErrPolicy
	}
	t = &enrolment{g: g, of: g.dir.subject(tenant, user), user: user, id: e.Policy, policy: policy, tx: newTx(g.cfg.Index), template: newID(), time: g.cfg.Now().Truncate(time.Millisecond).UTC()}
	if e.Sealed != nil {
		t.sealed = e.Sealed
		return t, t.sealed.fit(policy)
	}
	if t.full, err = policy.Params.Encode(e.Template); err == nil && policy.Gallery != 0 {
		t.gallery, err = g.cfg.Policies.Policies[policy.Gallery].Params.Encode(e.Template)
	}
	return t, err
}

// enter begins a write of a person, of which there is one at a time, and waits while a refresh is under way. Errors: ErrPending,
// ErrClosed, ctx's.
func (g *Gateway) enter(ctx context.Context, of Subject, tx ID) (leave func(), err error) {
	return g.enterBy(ctx, 1, of, tx)
}

// enterAlone is enter for what no other write may run beside.
func (g *Gateway) enterAlone(ctx context.Context, of Subject, tx ID) (leave func(), err error) {
	return g.enterBy(ctx, everybody, of, tx)
}

func (g *Gateway) enterBy(ctx context.Context, n int64, of Subject, tx ID) (leave func(), err error) {
	end, err := g.call()
	if err != nil {
		return nil, err
	}
	if err := g.changes.Acquire(ctx, n); err != nil {
		end()
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.busy[of] {
		g.changes.Release(n)
		end()
		return nil, ErrPending
	}
	g.mu.busy[of], g.mu.active[tx] = true, true
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.mu.busy, of)
		delete(g.mu.active, tx)
		g.changes.Release(n)
		end()
	}, nil
}

// begin finds out the generation and notes, durably, what is begun.
func (t *enrolment) begin(replace bool) error {
	if err := t.g.ready(); err != nil {
		return err
	}
	return t.g.dir.update(func(b *pebble.Batch) error {
		e, _, err := t.g.dir.entry(t.of)
		if err != nil {
			return err
		}
		if e.State == stateActive && !replace {
			return ErrExists
		}
		if e.Gen == math.MaxUint32 {
			return ErrGeneration
		}
		t.gen = e.Gen + 1
		set(b, begunKey(t.tx), doubt{t.of, t.tx, t.gen}.appendTo(nil))
		return nil
	})
}

// vote has the parties check and prepare, and opens whether the template matches itself.
func (t *enrolment) vote(ctx context.Context) error {
	m := prepareMessage{t.id, t.policy.Model, t.of, t.gen, t.template, t.tx, t.time.UnixMilli(), t.g.sid()}
	kind, packed := t.packed()
	answers, err := t.g.askAll(ctx, kind, t.g.sid(), func(i int) []byte { return append(m.appendTo(nil), packed[i]...) })
	if err != nil {
		return err
	}
	var full, gallery [Parties]Bits
	for i, b := range answers {
		r := &reader{b: b}
		full[i] = r.bits()
		if t.policy.Gallery != 0 {
			gallery[i] = r.bits()
		}
		if err := r.end(); err != nil {
			return err
		}
	}
	for _, bits := range [][Parties]Bits{full, gallery} {
		if bits[0].N == 0 && t.policy.Gallery == 0 {
			continue
		}
		if match, err := OpenBits(bits); err != nil || len(match) != 1 || !match[0] {
			return fmt.Errorf("%w: it does not match itself (%w)", ErrRefused, err)
		}
	}
	return nil
}

// packed is what the parties get beside the head: their shares, or envelopes with them.
func (t *enrolment) packed() (kind FrameType, packed [Parties][]byte) {
	if t.sealed != nil {
		return FramePrepareSealed, *t.sealed
	}
	packed = SplitPacked(t.full)
	if t.gallery != nil {
		for i, also := range SplitPacked(t.gallery) {
			packed[i] = append(packed[i], also...)
		}
	}
	return FramePrepare, packed
}

// abort forgets what was begun, and tells the parties as far as they can be told: those that are not ask.
func (t *enrolment) abort() {
	_ = t.g.dir.db.Delete(begunKey(t.tx), pebble.NoSync) // begun and not decided is aborted
	ctx, cancel := context.WithTimeout(context.Background(), t.g.cfg.Timeout)
	defer cancel()
	_, _ = t.g.askEach(ctx, FrameAbort, append(appendSubject(nil, t.of), t.tx[:]...))
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

// decide is the moment from which on the enrolment has happened.
func (t *enrolment) decide() (d *decision, err error) {
	e := entry{State: stateActive, Gen: t.gen, Template: t.template, Policy: t.id, Gallery: t.policy.Gallery != 0, User: t.user, Time: t.time, Tx: t.tx}
	return t.g.decide(decideCommit, erasure{t.of, t.tx, t.gen, t.template}, func(b *pebble.Batch) error {
		remove(b, begunKey(t.tx))
		t.g.dir.setEntry(b, t.of, e)
		return nil
	})
}

// decide makes a decision durable, with what it changes in the directory, and has the parties carry it out.
func (g *Gateway) decide(kind byte, e erasure, stage func(*pebble.Batch) error) (d *decision, err error) {
	g.mu.Lock()
	g.mu.seq++
	seq := g.mu.seq
	g.mu.Unlock()
	d = newDecision(seq, kind, e)
	err = g.dir.update(func(b *pebble.Batch) error {
		set(b, decisionKey(seq), d.bytes())
		return stage(b)
	})
	if err != nil {
		return nil, err
	}
	g.forgetList(e.of.Tenant)
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
	of, tx := g.dir.subject(tenant, user), newTx(g.cfg.Index)
	leave, err := g.enter(ctx, of, tx)
	if err != nil {
		return Erased{}, err
	}
	defer leave()
	e, found, err := g.dir.entry(of)
	if err != nil {
		return Erased{}, err
	}
	if !found {
		return Erased{}, ErrUnknown
	}
	if e.State == stateDeleted {
		return g.erasedBefore(of, e)
	}
	gone := entry{State: stateDeleted, Gen: e.Gen, Template: e.Template, Time: g.cfg.Now().UTC(), Tx: tx}
	d, err := g.decide(decideErase, erasure{of, tx, e.Gen, e.Template}, func(b *pebble.Batch) error {
		g.dir.setEntry(b, of, gone)
		remove(b, subjectKey(prefixRejects, of))
		return nil
	})
	if err != nil {
		return Erased{}, err
	}
	g.cfg.hook("erasing")
	return g.erased(ctx, d)
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

func (g *Gateway) erasedBefore(of Subject, e entry) (Erased, error) {
	g.mu.Lock()
	d := g.mu.decided[e.Tx]
	g.mu.Unlock()
	if d == nil {
		return Erased{Receipts: e.Receipts}, ErrUnknown
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
	d, err := g.decide(decideEraseTenant, erasure{of: Subject{Tenant: id}, tx: tx}, func(b *pebble.Batch) error {
		removeAll(b, append([]byte{prefixRejects}, id[:]...))
		return g.dir.each(append([]byte{prefixEntry}, id[:]...), func(key, value []byte) error {
			of := subjectOf(key)
			e, err := g.dir.openEntry(of, value)
			if err == nil && e.State == stateActive {
				g.dir.setEntry(b, of, entry{State: stateDeleted, Gen: e.Gen, Template: e.Template, Time: g.cfg.Now().UTC(), Tx: tx})
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
	d, err := g.decide(decideRefreshCommit, erasure{tx: tx}, func(*pebble.Batch) error { return nil })
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

// Repair fills the new store of a party that has lost its own from the other two, and refreshes all shares then. It is refused for a party that
// has its store. Errors: ErrExists, ErrPartyDown, ErrContext, ErrStorage, ctx's.
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
		return &DownError{[]int{party}}
	}
	for i, other := range g.remotes {
		if i != party && other.state() != PartyReady {
			return &DownError{[]int{i}}
		}
	}
	if _, err := g.askAll(ctx, FrameRepair, g.sid(), func(int) []byte { return []byte{byte(party)} }); err != nil {
		return down(err)
	}
	r.mu.Lock()
	store := r.mu.hello.store
	r.mu.Unlock()
	if err := g.dir.setKnownStore(party, store); err != nil {
		return err
	}
	r.nudge()
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
		remove(b, subjectKey(prefixRejects, g.dir.subject(tenant, user)))
		return nil
	})
}
