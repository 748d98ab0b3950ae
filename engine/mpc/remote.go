package mpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// remote is a party, as the gateway sees it: one link at a time, and what is decided and it has not carried out.
//
//	dial ─▶ HELLO: its store? its doubts? ─▶ settle them ─▶ send what it is owed, in order ─▶ HELLO: drained ─▶ ready
//	  ▲                                                                                                          │
//	  └──────────────────────────────── the link ends, or something could not be sent ◀──────────────────────────┘
type remote struct {
	g     *Gateway
	index int
	wake  chan struct{} // holds one token: there is something to send

	mu struct {
		sync.Mutex
		link    *Link
		hello   hello
		state   PartyState
		differs difference // as of the last HELLO
		queue   []*decision
	}
}

// PartyState is what a gateway knows of a party.
type PartyState string

// States of a party.
const (
	PartyAway  PartyState = "away"  // no link
	PartyOwed  PartyState = "owed"  // it has not carried out all that was decided
	PartyLost  PartyState = "lost"  // its store is not the one that it had, or is from before a refresh: it must be repaired
	PartyReady PartyState = "ready" // it serves

	// PartyDiffers: its cluster, its round timeout or a policy is not as the gateway's. The log says which. Of another cluster nothing is asked of it, and of
	// another policy nothing that is decided by it.
	PartyDiffers PartyState = "differs"
)

const (
	// doubtPoll is how often a party that is ready is asked for doubts.
	doubtPoll = 30 * time.Second
	// lostPoll is how often one that is lost is asked whether it was repaired: another gateway may have done it.
	lostPoll = time.Second
)

func (r *remote) run(ctx context.Context) {
	defer r.setState(PartyAway)
	out := complaint{log: r.g.cfg.Logger, text: "gateway: a party can't be reached"}
	retry(ctx, func() bool {
		c, err := Dial(ctx, r.g.cfg.Parties[r.index], r.g.cfg.Identity, PartyRole(r.index), r.g.cfg.Pins)
		if err != nil {
			if ctx.Err() == nil {
				out.about(err, "party", r.index)
			}
			return false
		}
		out.over()
		l, err := NewLink(c, LinkConfig{Cluster: r.g.cfg.Cluster, Timeout: r.g.cfg.Timeout})
		if err != nil {
			return false
		}
		defer l.Close()
		r.mu.Lock()
		r.mu.link = l
		r.mu.Unlock()
		defer r.setState(PartyAway)
		err = r.serve(ctx, l)
		if ctx.Err() == nil {
			r.g.cfg.Logger.Warn("gateway: a party is away", "party", r.index, "error", errors.Join(err, l.Err()))
		}
		return err == nil
	})
}

func (r *remote) setState(s PartyState) {
	r.mu.Lock()
	before := r.mu.state
	if r.mu.state = s; s == PartyAway {
		r.mu.link = nil
	}
	r.mu.Unlock()
	if before == s {
		return
	}
	if r.g.cfg.Logger.Info("gateway: party", "party", r.index, "state", string(s)); s == PartyLost {
		r.g.cfg.Logger.Warn(fmt.Sprintf("gateway: the store of party %d is new, or is not the one that it had: nothing is decided until it is filled: serve --repair-party %d", r.index, r.index), "party", r.index)
	}
	for _, o := range r.neighbours() { // that a store is the right one may be told by the others alone
		if s == PartyReady && o.state() == PartyLost {
			o.nudge()
		}
	}
}

func (r *remote) state() PartyState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.state
}

// serve brings a party up to date, and keeps it there while the link is up.
func (r *remote) serve(ctx context.Context, l *Link) error {
	poll := time.NewTimer(doubtPoll)
	defer poll.Stop()
	for {
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		poll.Reset(doubtPoll)
		if r.state() == PartyLost {
			poll.Reset(lostPoll)
		}
		for caughtUp := true; caughtUp; {
			select {
			case <-ctx.Done():
				return nil
			case <-l.Done():
				return nil
			case <-r.wake:
				caughtUp = r.state() == PartyReady && r.drain(ctx) == nil
			case <-poll.C:
				caughtUp = false
			}
		}
	}
}

// catchUp settles a party's doubts, sends what it is owed, and has it serve. A party that is lost stays so.
func (r *remote) catchUp(ctx context.Context) error {
	for {
		if ok, err := r.greet(ctx, false); err != nil || !ok {
			return err
		}
		if err := r.settleDoubts(ctx); err != nil {
			return err
		}
		if err := r.drain(ctx); err != nil {
			r.setState(PartyOwed)
			if errors.Is(err, ErrPending) || errors.Is(err, ErrBusy) { // of another gateway's, or a refresh that ends
				sleep(ctx, 100*time.Millisecond)
				if ctx.Err() == nil {
					continue
				}
			}
			return err
		}
		if ok, err := r.greet(ctx, true); err != nil || !ok {
			return err
		}
		if r.owed() == 0 {
			r.setState(PartyReady)
			return nil
		}
	}
}

func (r *remote) owed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.mu.queue)
}

// greet sends HELLO; ok is false of a party whose store is lost.
func (r *remote) greet(ctx context.Context, drained bool) (ok bool, err error) {
	h, err := r.hello(ctx, drained)
	if err != nil {
		return false, err
	}
	if r.compare(h.settings); h.settings.cluster != r.g.settings.cluster {
		r.setState(PartyDiffers)
		return false, nil
	}
	if ok, err = r.whole(ctx, h); err == nil && !ok {
		r.setState(PartyLost)
	}
	return ok, err
}

// hello asks a party what it is.
func (r *remote) hello(ctx context.Context, drained bool) (h hello, err error) {
	payload := []byte{0}
	if drained {
		payload[0] = 1
	}
	b, err := r.call(ctx, FrameHello, r.g.sid(), r.g.settings.appendTo(payload))
	if err != nil {
		return h, err
	}
	in := &reader{b: b}
	h = in.hello()
	if err := in.end(); err != nil {
		return h, err
	}
	r.g.raise(r.index, h.mark)
	if pin := r.g.cfg.ShareKeys[r.index]; pin != (Pin{}) && pin != PinOfShareKey(h.shareKey) {
		r.g.cfg.Logger.Warn("gateway: a party's share key is not the one that is pinned: envelopes are refused", "party", r.index)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.hello = h
	return h, nil
}

// settleDoubts tells a party of transactions that this gateway began and has not decided that they are over. What was decided is in
// the queue.
func (r *remote) settleDoubts(ctx context.Context) error {
	r.mu.Lock()
	h := r.mu.hello
	r.mu.Unlock()
	for _, d := range h.doubts {
		if r.g.concerns(d.tx) {
			continue
		}
		if r.g.dir.hasFailed() { // a decision may be on the disk: whoever starts next knows
			return ErrStorage
		}
		if _, err := r.call(ctx, FrameAbort, r.g.sid(), d.batch(ID{}).appendTo(nil)); err != nil {
			return err
		}
	}
	if h.staged != (ID{}) && gatewayOf(h.staged) == r.g.cfg.Index && !r.g.concerns(h.staged) && !r.g.dir.hasFailed() {
		if _, err := r.call(ctx, FrameRefreshCommit, r.g.sid(), append([]byte{0}, h.staged[:]...)); err != nil {
			return err
		}
	}
	return nil
}

// drainWave bounds the decisions that are on their way to a party at once.
const drainWave = 64

// drain sends what a party is owed until it has carried out all of it.
func (r *remote) drain(ctx context.Context) error {
	for {
		wave := r.wave()
		if len(wave) == 0 {
			return nil
		}
		errs := make([]error, len(wave))
		var wg sync.WaitGroup
		for i, d := range wave {
			wg.Go(func() { errs[i] = r.send(ctx, d) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
}

// wave is what may be sent at once: decisions of different people. What concerns many goes alone.
func (r *remote) wave() (wave []*decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := make(map[Subject]bool)
	for _, d := range r.mu.queue {
		alone := d.kind == decideEraseTenant || d.kind == decideRefreshCommit
		of := d.subjects()
		if len(wave) == drainWave || alone && len(wave) > 0 || slices.ContainsFunc(of, func(s Subject) bool { return seen[s] }) {
			break
		}
		for _, s := range of {
			seen[s] = true
		}
		wave = append(wave, d)
		if alone {
			break
		}
	}
	return wave
}

func (r *remote) send(ctx context.Context, d *decision) error {
	var frame FrameType
	var payload []byte
	switch d.kind {
	case decideCommit:
		frame, payload = FrameCommit, d.batch().appendTo(nil)
	case decideErase:
		frame, payload = FrameDelete, erasure{d.of, d.tx, d.gen}.appendTo(nil)
	case decideEraseTenant:
		frame, payload = FrameDeleteTenant, append(d.of.Tenant.bytes(), d.tx[:]...)
	case decideRefreshCommit:
		frame, payload = FrameRefreshCommit, append([]byte{1}, d.tx[:]...)
	}
	b, err := r.call(ctx, frame, r.g.sid(), payload)
	if err != nil {
		return err
	}
	receipt, err := r.receipt(d, b)
	if err == nil && d.kind == decideErase && receipt.Records == 0 && receipt.Generation > d.gen {
		receipt, err = r.eraseLater(ctx, d, receipt)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.mu.queue = slices.DeleteFunc(r.mu.queue, func(q *decision) bool { return q == d })
	r.mu.Unlock()
	return r.g.acknowledge(d, r.index, receipt)
}

// eraseLater erases what a party has of a later generation than the directory knew, as after its folder was put back from a backup. What was
// enrolled since the decision stays: then the receipt stands.
func (r *remote) eraseLater(ctx context.Context, d *decision, stands *Receipt) (*Receipt, error) {
	e, _, err := r.g.dir.entry(d.of)
	if err != nil || e.Tx != d.tx {
		return stands, err
	}
	b, err := r.call(ctx, FrameDelete, r.g.sid(), erasure{d.of, d.tx, stands.Generation}.appendTo(nil))
	if err != nil {
		return nil, err
	}
	return r.receipt(d, b)
}

// receipt is what a party has signed, nil of what is no erasure. Errors: ErrMessage, also for a signature that is not its.
func (r *remote) receipt(d *decision, b []byte) (*Receipt, error) {
	in := &reader{b: b}
	if d.kind != decideErase && d.kind != decideEraseTenant {
		return nil, in.end()
	}
	v := in.receipt(r.index, d.of)
	r.mu.Lock()
	key := r.mu.hello.key
	r.mu.Unlock()
	if in.end() != nil || !v.Verify(r.g.cfg.Cluster, key) {
		return nil, fmt.Errorf("%w: party %d: receipt", ErrMessage, r.index)
	}
	if d.kind == decideErase && v.Template != d.template {
		r.g.cfg.Logger.Warn("gateway: a party had another template to erase than the directory has, or none", "party", r.index, "tenant", d.of.Tenant, "rid", d.of.RID,
			"generation", v.Generation, "want", d.gen)
	}
	return &v, nil
}

// enqueue owes a party a decision.
func (r *remote) enqueue(d *decision) {
	r.mu.Lock()
	r.mu.queue = append(r.mu.queue, d)
	r.mu.Unlock()
	r.nudge()
}

func (r *remote) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// call asks a party and waits for its answer, for a few rounds at most unless ctx ends earlier. Errors: ErrPartyDown, the party's, ctx's.
func (r *remote) call(ctx context.Context, t FrameType, sid uint64, payload []byte) ([]byte, error) {
	ctx, cancel := r.g.patient(ctx, t)
	defer cancel()
	s, err := r.ask(t, sid, payload)
	if err != nil {
		return nil, err
	}
	return r.answer(ctx, s)
}

// errNoAnswer is why a call ends whose patience does.
var errNoAnswer = fmt.Errorf("%w: no answer", ErrPartyDown)

// patient bounds how long an answer is waited for.
func (g *Gateway) patient(ctx context.Context, t FrameType) (context.Context, context.CancelFunc) {
	patience := callRounds * g.cfg.Timeout
	if t == FrameRefresh || t == FrameRepair || t == FrameDeleteTenant {
		patience = refreshPatience
	}
	return context.WithTimeoutCause(ctx, patience, errNoAnswer)
}

// ask is the first half of a call. Errors: ErrPartyDown.
func (r *remote) ask(t FrameType, sid uint64, payload []byte) (*Stream, error) {
	r.mu.Lock()
	l := r.mu.link
	r.mu.Unlock()
	if l == nil {
		return nil, &DownError{Parties: []int{r.index}}
	}
	s, err := l.Open(sid)
	if err != nil {
		return nil, r.down(err)
	}
	if err := s.SendFrame(Frame{Type: t, Payload: payload}); err != nil {
		s.Close()
		return nil, r.down(err)
	}
	return s, nil
}

// answer is the second half.
func (r *remote) answer(ctx context.Context, s *Stream) ([]byte, error) {
	defer s.Close()
	f, err := s.RecvFrame(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("party %d: %w", r.index, context.Cause(ctx))
	case err != nil:
		return nil, r.down(err)
	case f.Type == FrameResult:
		return f.Payload, nil
	case f.Type == FrameError:
		return nil, errorOf(r.index, f.Payload)
	}
	return nil, fmt.Errorf("%w: party %d: type %d", ErrMessage, r.index, f.Type)
}

// callRounds is how many rounds' timeouts the answer to a call may take.
const callRounds = 5

func (r *remote) down(err error) error {
	if errors.Is(err, ErrPeerDown) {
		return &DownError{Parties: []int{r.index}}
	}
	return err
}
