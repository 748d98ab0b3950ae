package mpc

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// PartyConfig configures a party. Index, Cluster, Dir, Root, Identity, Pins, Listener, Next and Policies are needed.
type PartyConfig struct {
	Index   int    // 0 to 2
	Cluster string // names the installation, the same at all parties and gateways
	Dir     string // of the store
	FS      vfs.FS // nil is the disk
	Root    RootKey

	Identity Identity // of the role PartyRole(Index)
	Pins     Pins     // of the other parties, and of the gateways
	Listener net.Listener
	Next     string // address, host:port, of party Index+1, which is dialled

	Policies *Policies
	// ShareKey opens the envelopes of clients (Envelope). Without one they are refused.
	ShareKey hpke.PrivateKey

	Timeout time.Duration // of a round, and of a link that is silent; RoundTimeout by default
	// DoubtAfter is how long an enrolment waits for its end before the other parties are asked whether it was committed; 60 s by
	// default.
	DoubtAfter time.Duration
	// Alarm is how many attempts of a record in the longest window are logged; 150 by default.
	Alarm uint64

	Logger *slog.Logger
	Now    func() time.Time // for attempts and receipts; nil is the clock

	hook func(step string) // of tests
}

func (c PartyConfig) withDefaults() PartyConfig {
	c.Timeout = cmp.Or(c.Timeout, RoundTimeout)
	c.DoubtAfter = cmp.Or(c.DoubtAfter, time.Minute)
	c.Alarm = cmp.Or(c.Alarm, 150)
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.hook == nil {
		c.hook = func(string) {}
	}
	return c
}

// Errors: ErrConfig.
func (c PartyConfig) validate() error {
	switch {
	case c.Index < 0 || c.Index >= Parties:
		return fmt.Errorf("%w: no party has the index %d", ErrConfig, c.Index)
	case c.Cluster == "" || c.Dir == "" || c.Root == nil || c.Listener == nil || c.Next == "":
		return fmt.Errorf("%w: a party needs a cluster, a folder, a root key, an address to listen at and that of the next party", ErrConfig)
	case c.Identity.Role != PartyRole(c.Index):
		return fmt.Errorf("%w: the certificate is that of %q, want %q", ErrConfig, c.Identity.Role, PartyRole(c.Index))
	}
	return c.Policies.validate()
}

const (
	// maxRequests bounds what a party does at once for all gateways; more is refused with ErrBusy.
	maxRequests = 512
	// maxRequestBytes bounds one request of a gateway: 256 probes of MaxDim.
	maxRequestBytes = 16 << 20
	// controlSID is the session that two parties keep open on each link, for what no gateway began. No gateway has its index.
	controlSID = 0xffff<<counterBits | 1
)

// Party holds one of three shares of every template (doc.go). Safe for concurrent use.
type Party struct {
	cfg       PartyConfig
	store     *partyStore
	galleries galleries
	policies  *Policies
	settings  settings
	used      Window
	instance  ID // of this life of the party: envelopes are for one
	nonces    nonces
	tallies   tallies
	slots     chan struct{}
	shredding chan struct{} // holds one token when something was erased

	wg sync.WaitGroup
	mu struct {
		sync.Mutex
		prev, next *Link
		gateways   map[*Link]*gatewayLink
		closed     bool
		twice      time.Time // when it was said last that a peer is there twice
	}
}

// gatewayLink is a gateway that is connected.
type gatewayLink struct {
	index   uint16
	warned  atomic.Bool // that it is configured otherwise
	drained atomic.Bool // it has sent what it owed: erasures come before verifications
}

// RunParty opens a party's store and serves until ctx ends; then it returns nil. Errors: OpenParty's, ErrStorage.
func RunParty(ctx context.Context, c PartyConfig) error {
	p, err := OpenParty(c)
	if err != nil {
		return err
	}
	return p.Serve(ctx)
}

// OpenParty opens or makes the store; Serve must be called then. Errors: ErrConfig, ErrRootKey, ErrOther, ErrKeyFile, ErrFormat,
// ErrCorrupt, the disk's.
func OpenParty(c PartyConfig) (*Party, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	store, err := openPartyStore(c.FS, c.Dir, c.Cluster, c.Index, c.Root, c.Logger)
	if err != nil {
		return nil, err
	}
	policies := &Policies{c.Policies.Policies, c.Policies.counted()}
	p := &Party{cfg: c, store: store, policies: policies, settings: newSettings(c.Cluster, c.Timeout, policies), instance: newID(), slots: make(chan struct{}, maxRequests), shredding: make(chan struct{}, 1)}
	p.galleries.store, store.hook = store, c.hook
	p.mu.gateways = make(map[*Link]*gatewayLink)
	return p, nil
}

// Serve answers gateways until ctx ends, and closes the store. Errors: ErrStorage.
func (p *Party) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.wg.Go(func() { p.accept(ctx) })
	p.wg.Go(func() { p.dialNext(ctx) })
	p.wg.Go(func() { p.shredLoop(ctx) })
	select {
	case <-ctx.Done():
	case <-p.store.failed:
	}
	cancel()
	p.closeLinks()
	if !p.store.outlasts(p.wg.Wait) {
		return ErrStorage
	}
	return p.store.end()
}

func (p *Party) closeLinks() {
	_ = p.cfg.Listener.Close()
	p.mu.Lock()
	p.mu.closed = true
	links := []*Link{p.mu.prev, p.mu.next}
	for l := range p.mu.gateways {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		if l != nil {
			_ = l.Close()
		}
	}
}

func (p *Party) accept(ctx context.Context) {
	var strangers handshakes
	for {
		nc, err := p.cfg.Listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			p.cfg.Logger.Warn("party: accept", "error", err)
			sleep(ctx, 100*time.Millisecond)
			continue
		}
		strangers.begin(nc)
		p.wg.Go(func() { p.welcome(ctx, nc, &strangers) })
	}
}

// welcome takes a connection of the party before, or of a gateway; the party after is dialled, and nobody else has anything to say.
func (p *Party) welcome(ctx context.Context, nc net.Conn, strangers *handshakes) {
	pins := make(Pins)
	for role, pin := range p.cfg.Pins {
		_, gateway := role.Gateway()
		if gateway || role == PartyRole((p.cfg.Index+Parties-1)%Parties) {
			pins[role] = pin
		}
	}
	c, err := Accept(ctx, nc, p.cfg.Identity, pins)
	strangers.end(nc)
	if err != nil {
		p.cfg.Logger.Warn("party: a connection was refused", "from", nc.RemoteAddr().String(), "error", err)
		return
	}
	if index, ok := c.Peer().Gateway(); ok {
		p.welcomeGateway(ctx, c, index)
		return
	}
	p.mu.Lock()
	old := p.mu.prev
	p.mu.Unlock()
	p.afterYoung(ctx, old)
	p.keep(ctx, c, &p.mu.prev)
}

func (p *Party) dialNext(ctx context.Context) {
	next := (p.cfg.Index + 1) % Parties
	out := complaint{log: p.cfg.Logger, text: "party: the next one can't be reached"}
	retry(ctx, func() (worked bool) {
		c, err := Dial(ctx, p.cfg.Next, p.cfg.Identity, PartyRole(next), p.cfg.Pins)
		if err != nil {
			if ctx.Err() == nil {
				out.about(err)
			}
			return false
		}
		out.over()
		l := p.keep(ctx, c, &p.mu.next)
		if l == nil {
			return false
		}
		select {
		case <-l.Done():
		case <-ctx.Done():
		}
		_ = l.Close()
		return true
	})
}

// retry calls f until ctx ends, and waits in between: 20 ms after it worked, up to a second when it did not.
func retry(ctx context.Context, f func() (worked bool)) {
	const shortest, longest = 20 * time.Millisecond, time.Second
	for wait := shortest; ctx.Err() == nil; wait = min(2*wait, longest) {
		if f() {
			wait = shortest
		}
		sleep(ctx, wait)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// keep makes a link of a connection with a neighbour, in the place of the one before.
func (p *Party) keep(ctx context.Context, c *Conn, at **Link) *Link {
	l, err := NewLink(c, LinkConfig{Cluster: p.cfg.Cluster, Timeout: p.cfg.Timeout})
	if err != nil {
		p.cfg.Logger.Warn("party: link", "peer", c.Peer(), "error", err)
		return nil
	}
	p.mu.Lock()
	old, closed := *at, p.mu.closed
	if !closed {
		*at = l
	}
	p.mu.Unlock()
	if closed {
		_ = l.Close()
		return nil
	}
	if old != nil {
		_ = old.Close()
	}
	p.cfg.Logger.Info("party: linked", "peer", l.Peer())
	p.wg.Go(func() { p.control(ctx, l) })
	return l
}

// neighbours are the links to both neighbours. After a start, or while a peer starts, they are waited for, half a round's time at most.
// Errors: ErrPeerDown.
func (p *Party) neighbours(ctx context.Context) (prev, next *Link, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout/2)
	defer cancel()
	for {
		p.mu.Lock()
		prev, next = p.mu.prev, p.mu.next
		p.mu.Unlock()
		if prev != nil && next != nil && prev.Err() == nil && next.Err() == nil {
			return prev, next, nil
		}
		if ctx.Err() != nil {
			return nil, nil, ErrPeerDown
		}
		sleep(ctx, 5*time.Millisecond)
	}
}

// session opens a session to both neighbours. Errors: ErrPeerDown, ErrSID, ErrBusy.
func (p *Party) session(ctx context.Context, sid uint64) (prev, next Neighbour, err error) {
	l, m, err := p.neighbours(ctx)
	if err != nil {
		return prev, next, err
	}
	if prev, err = l.Neighbour(sid); err != nil {
		return prev, next, err
	}
	if next, err = m.Neighbour(sid); err != nil {
		prev.Abort(nil)
	}
	return prev, next, err
}

// inSession runs f in a session, which it aborts at the peers if f, or ctx, ends it early.
func (p *Party) inSession(ctx context.Context, sid uint64, f func(prev, next Neighbour) error) error {
	prev, next, err := p.session(ctx, sid)
	if err != nil {
		return err
	}
	end := func() { prev.Abort(nil); next.Abort(nil) }
	stop := context.AfterFunc(ctx, end)
	defer stop()
	if err := f(prev, next); err != nil {
		end()
		return err
	}
	prev.Close()
	next.Close()
	return nil
}

// abandon tells the peers of a session that this party will not take part, so that they don't wait.
// Errors: ErrPeerDown, where there is a link that is not up now; it is not waited for.
func (p *Party) abandon(sid uint64) error {
	over, cancel := context.WithCancel(context.Background())
	cancel()
	return p.abandonWithin(over, sid)
}

// abandonSoon is abandon for when links are up, which may be in a moment: after a start peers would wait a round's time for who refuses at once.
func (p *Party) abandonSoon(ctx context.Context, sid uint64) {
	select {
	case p.slots <- struct{}{}: // as much as is asked of a party at once is told at once
		p.wg.Go(func() {
			defer func() { <-p.slots }()
			_ = p.abandonWithin(ctx, sid)
		})
	default:
	}
}

func (p *Party) abandonWithin(ctx context.Context, sid uint64) error {
	prev, next, err := p.session(ctx, sid)
	if err == nil {
		prev.Abort(nil)
		next.Abort(nil)
	}
	return err
}

// welcomeGateway answers a gateway until its link ends. A gateway has one: a newer takes the place of the one before.
func (p *Party) welcomeGateway(ctx context.Context, c *Conn, index uint16) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what the gateway has asked ends with its link
	for _, old := range p.linksOf(index) {
		p.afterYoung(ctx, old)
	}
	g := &gatewayLink{index: index}
	l, err := NewLink(c, LinkConfig{Cluster: p.cfg.Cluster, Timeout: p.cfg.Timeout, Handle: func(l *Link, f Frame) { p.handle(ctx, g, l, f) }})
	if err != nil {
		p.cfg.Logger.Warn("party: link", "peer", c.Peer(), "error", err)
		return
	}
	var before []*Link
	p.mu.Lock()
	closed := p.mu.closed
	if !closed {
		for old, o := range p.mu.gateways {
			if o.index == index {
				before = append(before, old)
			}
		}
		p.mu.gateways[l] = g
	}
	p.mu.Unlock()
	for _, old := range before {
		_ = old.Close()
	}
	if !closed {
		<-l.Done() // closeLinks ends it
	}
	_ = l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.mu.gateways, l)
}

// handle starts the answer to a gateway's frame, or refuses it. It never waits: it runs in the reader of the link.
func (p *Party) handle(ctx context.Context, g *gatewayLink, l *Link, f Frame) {
	if len(f.Payload) > maxRequestBytes {
		p.reply(l, f.SID, nil, ErrMessage)
		return
	}
	select {
	case p.slots <- struct{}{}:
	default:
		p.tallies.note(f.Type, ErrBusy, 0)
		p.reply(l, f.SID, nil, ErrBusy)
		return
	}
	p.wg.Go(func() {
		defer func() { <-p.slots }()
		begin := time.Now()
		answer, err := p.survive(f, func() ([]byte, error) { return p.answer(ctx, g, f) })
		p.tallies.note(f.Type, err, time.Since(begin))
		p.reply(l, f.SID, answer, err)
	})
}

// survive makes an error of a panic: a fault that a gateway finds ends its request and not the party.
func (p *Party) survive(f Frame, do func() ([]byte, error)) (answer []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.cfg.Logger.Error("party: BUG: a request panicked", "type", f.Type, "panic", v, "stack", string(debug.Stack()))
			_ = p.abandon(f.SID)
			answer, err = nil, ErrInternal
		}
	}()
	return do()
}

func (p *Party) reply(l *Link, sid uint64, answer []byte, err error) {
	f := Frame{SID: sid, Type: FrameResult, Payload: answer}
	if err != nil {
		f.Type, f.Payload = FrameError, errorPayload(err)
		if f.Payload[0] == codeInternal {
			p.cfg.Logger.Error("party: a request failed", "error", err)
		}
	}
	_ = l.Send(f) // else the link is down, and the gateway knows
}

// answer does what a gateway asks. Sessions that it gives up are aborted at the peers.
func (p *Party) answer(ctx context.Context, g *gatewayLink, f Frame) ([]byte, error) {
	// HELLO runs no session, and a gateway that was started anew learns by it which ids were used.
	if SIDGateway(f.SID) != g.index || f.Type != FrameHello && !p.used.Use(f.SID) {
		return nil, ErrSID
	}
	r := &reader{b: f.Payload}
	switch f.Type {
	case FrameVerify, FrameVerifySealed:
		return p.orAbandon(ctx, f.SID, func() ([]byte, error) { return p.verify(ctx, g, f, r) })
	case FrameIdentify, FrameIdentifySealed:
		return p.orAbandon(ctx, f.SID, func() ([]byte, error) { return p.identify(ctx, g, f, r) })
	case FramePrepare, FramePrepareSealed:
		return p.orAbandon(ctx, f.SID, func() ([]byte, error) { return p.prepare(ctx, g, f, r) })
	case FrameCommit:
		b := r.batch()
		return nil, r.whole(func() error { return p.commit(b) })
	case FrameAbort:
		b := r.batch()
		p.cfg.hook("abort")
		return nil, r.whole(func() error {
			forgot, err := p.store.abort(b)
			if forgot {
				p.shredSoon()
			}
			return err
		})
	case FrameDelete:
		return p.erase(r)
	case FrameDeleteTenant:
		return p.eraseTenant(r)
	case FrameHolds:
		return p.holds(r)
	case FrameRefresh:
		return p.orAbandon(ctx, f.SID, func() ([]byte, error) { return nil, p.refresh(ctx, f.SID, r) })
	case FrameRefreshCommit:
		commit, tx := r.u8() == 1, r.id()
		return nil, r.whole(func() error { return p.endRefresh(tx, commit) })
	case FrameRepair:
		return p.orAbandon(ctx, f.SID, func() ([]byte, error) { return nil, p.repair(ctx, f.SID, r) })
	case FrameHello:
		return p.hello(g, r)
	}
	return nil, ErrMessage
}

func (p *Party) orAbandon(ctx context.Context, sid uint64, f func() ([]byte, error)) ([]byte, error) {
	answer, err := f()
	if err == nil {
		return answer, nil
	}
	if down := p.abandon(sid); errors.Is(down, ErrPeerDown) && !errors.Is(err, ErrPeerDown) {
		p.abandonSoon(ctx, sid)
	}
	return nil, err
}

// mayServe says why verifications are refused.
func (p *Party) mayServe(g *gatewayLink) error {
	if identity, _, _ := p.store.current(); identity.state == storeRepair || !g.drained.Load() {
		return ErrNotReady
	}
	return nil
}

func (p *Party) nowMs() int64 { return p.cfg.Now().UnixMilli() }

// context is what parties must agree on of an item: all that this party was told, and what it holds. version is that of the shares: of
// different ones the parties would compute noise.
func (p *Party) context(op string, policy uint16, v Policy, of Subject, h head, version ID) [32]byte {
	return contextOf(about(op, policy, v), of, h, version)
}

// about is what contexts of all items of a request begin with.
func about(op string, policy uint16, v Policy) []byte {
	return append(v.appendTo(fmt.Appendf(nil, "mien/mpc/%s/v1\x00%d\x00", op, policy)), 0)
}

func contextOf(about []byte, of Subject, h head, version ID) [32]byte {
	var room [256]byte
	h.party = 0
	b := h.appendTo(appendSubject(append(room[:0], about...), of))
	return sha256.Sum256(append(b, version[:]...))
}

func (p *Party) verify(ctx context.Context, g *gatewayLink, f Frame, r *reader) ([]byte, error) {
	m := r.verify()
	if r.bad {
		return nil, ErrMessage
	}
	policy, err := p.policies.of(m.policy, m.model)
	if err = cmp.Or(err, p.mayServe(g)); err != nil {
		return nil, err
	}
	var e *Envelope // nil: the gateway made the shares
	if f.Type == FrameVerifySealed {
		if len(m.rids) != 1 {
			return nil, ErrMessage
		}
		if e, err = p.unseal(SealVerify, m.policy, Subject{m.tenant, m.rids[0]}, r); err != nil {
			return nil, err
		}
		policy.Check = CheckFull // nobody but the client has seen what it sent
	}
	records, err := p.store.openAll(m.tenant, m.rids)
	if err != nil {
		return nil, err
	}
	defer p.store.opened.release(records)
	items, dim := make([]Item, len(m.rids)), policy.Params.Dim
	if r.bad = len(r.b) < len(items)*leastPacked(dim); r.bad {
		return nil, r.end()
	}
	probes, free := roomForShares(len(items), dim)
	defer free()
	about, threshold := about("verify", m.policy, policy), policy.threshold()
	for i, o := range records {
		if o.head.gen != m.gens[i] {
			return nil, ErrGeneration
		}
		if !policy.fits(o.head) {
			return nil, ErrPolicy
		}
		context := contextOf(about, Subject{m.tenant, m.rids[i]}, o.head, o.version)
		items[i] = Item{Template: o.share, Probe: r.shareInto(probes[i]), Threshold: threshold, Context: e.about(context)}
	}
	if err := p.take(e, r.end()); err != nil {
		return nil, err
	}
	durable, used, err := p.store.meters.charge(p.policies.Budgets, m.tenant, m.rids, p.nowMs())
	if err != nil {
		return nil, err
	}
	bits, err := p.compare(ctx, f.SID, policy, items) // while the attempt is written
	if err = cmp.Or(durable(), err); err != nil {
		return nil, err
	}
	if used == p.cfg.Alarm {
		p.cfg.Logger.Warn("party: many attempts at a record", "attempts", used, "tenant", m.tenant, "rid", m.rids[0])
	}
	return appendBits(binary.LittleEndian.AppendUint32(nil, uint32(used)), bits), nil
}

// compare runs one session of verifications.
func (p *Party) compare(ctx context.Context, sid uint64, policy Policy, items []Item) (bits Bits, err error) {
	err = p.inSession(ctx, sid, func(prev, next Neighbour) error {
		s := &Session{Index: p.cfg.Index, SID: sid, Prev: prev, Next: next, Params: policy.Params, Check: policy.Check, Timeout: p.cfg.Timeout}
		bits, err = s.Verify(ctx, items)
		return err
	})
	return bits, err
}

func (p *Party) identify(ctx context.Context, g *gatewayLink, f Frame, r *reader) ([]byte, error) {
	id, model, tenant := r.u16(), r.u16(), r.id()
	policy, err := p.policies.of(id, model)
	if err = cmp.Or(err, p.mayServe(g)); err != nil {
		return nil, err
	}
	if policy.Params.LogScale > IdentifyLogScale {
		return nil, ErrPolicy
	}
	var e *Envelope
	if f.Type == FrameIdentifySealed {
		if e, err = p.unseal(SealIdentify, id, Subject{Tenant: tenant}, r); err != nil {
			return nil, err
		}
		policy.Check = CheckFull
	}
	probe := r.share(policy.Params.Dim)
	if err := p.take(e, r.end()); err != nil {
		return nil, err
	}
	if is, err := p.store.anybody(tenant); err != nil || !is { // nothing is kept of tenants that a gateway makes up
		p.abandon(f.SID)
		hash := rowsHash(nil, nil)
		return append(appendBits(make([]byte, 4), Bits{}), hash[:]...), err
	}
	durable, err := p.store.meters.chargeIdentify(p.policies.Budgets, tenant, p.nowMs())
	if err != nil {
		return nil, err
	}
	bits, hash, err := p.search(ctx, f.SID, id, policy, tenant, probe, e)
	if err = cmp.Or(durable(), err); err != nil {
		return nil, err
	}
	return append(appendBits(make([]byte, 4), bits), hash[:]...), nil
}

func (p *Party) search(ctx context.Context, sid uint64, id uint16, policy Policy, tenant ID, probe Share, e *Envelope) (bits Bits, hash [32]byte, err error) {
	err = p.inSession(ctx, sid, func(prev, next Neighbour) error { // open, so that peers who are ready earlier are not sent away
		rows, err := p.galleries.rows(tenant, policy.rows())
		if err != nil {
			return err
		}
		defer rows.release()
		if hash = rows.hash; rows.len() == 0 {
			return errNoRows // a peer that has some is not to wait for this party
		}
		about := p.context("identify", id, policy, Subject{Tenant: tenant}, head{}, rows.version)
		s := &Session{Index: p.cfg.Index, SID: sid, Prev: prev, Next: next, Params: policy.Params, Check: policy.Check, Timeout: 5 * p.cfg.Timeout}
		bits, err = s.search(ctx, rows, Probe{probe, policy.threshold(), e.about(sha256.Sum256(append(about[:], hash[:]...)))})
		return err
	})
	if errors.Is(err, errNoRows) {
		err = nil
	}
	return bits, hash, err
}

// errNoRows ends the session of a search that has nothing to look at.
var errNoRows = errors.New("mpc: no rows")

// prepare checks enrolments with the peers, makes them durable and so votes for them.
func (p *Party) prepare(ctx context.Context, g *gatewayLink, f Frame, r *reader) ([]byte, error) {
	m := r.prepare()
	policy, err := p.policies.of(m.policy, m.model)
	if err = cmp.Or(err, p.mayServe(g)); err != nil {
		return nil, err
	}
	if r.bad || gatewayOf(m.batch.tx) != g.index {
		return nil, ErrMessage
	}
	v := &votes{version: p.store.versionNow(), of: m.batch.subjects(), heads: make([]head, len(m.batch.people)), shares: make([]shares, len(m.batch.people))}
	if f.Type == FramePrepareSealed {
		if len(v.of) != 1 {
			return nil, ErrMessage
		}
		if v.envelope, err = p.unseal(SealEnrol, m.policy, v.of[0], r); err != nil {
			return nil, err
		}
	}
	for i, person := range m.batch.people {
		h := &v.heads[i]
		*h = head{state: stateActive, party: byte(p.cfg.Index), logScale: byte(policy.Params.LogScale), dim: uint16(policy.Params.Dim), model: policy.Model,
			gen: person.gen, time: m.time, template: person.template, tx: m.batch.tx}
		v.shares[i].share = r.share(policy.Params.Dim)
		if policy.Gallery != 0 {
			h.gallery = byte(p.policies.Policies[policy.Gallery].Params.LogScale)
			v.second = append(v.second, r.share(policy.Params.Dim))
			v.shares[i].gallery = v.second[i].Short()
		}
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	answer, err := p.checkEnrolments(ctx, g, f.SID, m, policy, v)
	if err != nil {
		return nil, err
	}
	p.cfg.hook("checked")
	if err := p.store.prepare(v.of, v.heads, v.shares, v.version); err != nil {
		return nil, err
	}
	p.cfg.hook("prepared")
	return answer, nil
}

// votes are enrolments that a party is asked to vote for.
type votes struct {
	version ID // of the shares that the store has meanwhile
	of      []Subject
	heads   []head
	shares  []shares
	second  []Share // for identification, as they came

	envelope *Envelope // that they came in; nil: the gateway made the shares
}

// checkEnrolments has the parties compare what is to be enrolled with itself: its shares are of one vector, of a norm and within bounds
// that the policy has, and it matches. Whether it does the gateway alone learns.
func (p *Party) checkEnrolments(ctx context.Context, g *gatewayLink, sid uint64, m prepareMessage, policy Policy, v *votes) ([]byte, error) {
	if err := p.take(v.envelope, p.store.mayPrepare(v.of, v.heads)); err != nil {
		return nil, err
	}
	compare := func(sid uint64, id uint16, policy Policy, share func(i int) Share) (Bits, error) {
		items := make([]Item, len(v.of))
		for i, of := range v.of {
			items[i] = Item{share(i), share(i), policy.threshold(), v.envelope.about(p.context("enrol", id, policy, of, v.heads[i], v.version))}
		}
		policy.Check = CheckFull // whatever probes are spared: what is enrolled stays
		return p.compare(ctx, sid, policy, items)
	}
	bits, err := compare(sid, m.policy, policy, func(i int) Share { return v.shares[i].share })
	if err != nil || policy.Gallery == 0 {
		return appendBits(nil, bits), err
	}
	if SIDGateway(m.sid) != g.index || !p.used.Use(m.sid) {
		return nil, ErrSID
	}
	also, err := compare(m.sid, policy.Gallery, p.policies.Policies[policy.Gallery], func(i int) Share { return v.second[i] })
	return appendBits(appendBits(nil, bits), also), err
}

func (p *Party) commit(b batch) error {
	p.cfg.hook("commit")
	replaced, err := p.store.commit(b)
	if err != nil {
		return err
	}
	p.cfg.hook("committed")
	p.galleries.note(b.subjects()...)
	if replaced {
		p.shredSoon()
	}
	return nil
}

func (p *Party) erase(r *reader) ([]byte, error) {
	e := r.erasure()
	if err := r.end(); err != nil || e.of.RID == (ID{}) {
		return nil, ErrMessage
	}
	p.cfg.hook("erase")
	now := p.nowMs()
	h, err := p.store.erase(e, now)
	if err != nil {
		return nil, err
	}
	p.cfg.hook("erased")
	p.galleries.note(e.of)
	p.galleries.settle(e.of.Tenant)
	p.shredSoon()
	receipt := p.store.sign(p.cfg.Cluster, e.receipt(h, now))
	return receipt.appendTo(nil), nil
}

func (p *Party) eraseTenant(r *reader) ([]byte, error) {
	tenant, tx := r.id(), r.id()
	if err := r.end(); err != nil {
		return nil, err
	}
	now := p.nowMs()
	n, err := p.store.eraseTenant(tenant, tx, now)
	if err != nil {
		return nil, err
	}
	p.galleries.forget(tenant)
	p.shredSoon()
	receipt := p.store.sign(p.cfg.Cluster, Receipt{Tenant: tenant, Tx: tx, Records: n, Time: time.UnixMilli(now).UTC()})
	return receipt.appendTo(nil), nil
}

// holds says which record of a person is here.
func (p *Party) holds(r *reader) ([]byte, error) {
	of := r.subject()
	if err := r.end(); err != nil {
		return nil, err
	}
	h, found, err := p.store.head(of)
	if err != nil || !found || h.state != stateActive {
		h.gen, h.template = 0, ID{}
	}
	return append(binary.LittleEndian.AppendUint32(nil, h.gen), h.template[:]...), err
}

func (p *Party) refresh(ctx context.Context, sid uint64, r *reader) error {
	tx := r.id()
	if err := r.end(); err != nil {
		return err
	}
	return p.inSession(ctx, sid, func(prev, next Neighbour) error {
		err := p.store.refresh(tx, prev, next, p.cfg.Timeout)
		if err == nil {
			p.cfg.hook("staged")
		}
		return err
	})
}

func (p *Party) endRefresh(tx ID, commit bool) error {
	p.cfg.hook("refresh")
	return p.store.endRefresh(tx, commit)
}

// repair sends this party's part to the one that is repaired, or is that one.
func (p *Party) repair(ctx context.Context, sid uint64, r *reader) error {
	target := int(r.u8())
	if err := r.end(); err != nil || target >= Parties {
		return ErrMessage
	}
	return p.inSession(ctx, sid, func(prev, next Neighbour) error {
		switch (target - p.cfg.Index + Parties) % Parties {
		case 0:
			defer p.galleries.forgetAll()
			return p.store.takeRepair(prev, next)
		case 1: // it comes after us: our next component is its own
			return p.store.sendRepair(next, true)
		default:
			return p.store.sendRepair(prev, false)
		}
	})
}

// hello tells a gateway what this party is, what it doubts, and which session ids of the gateway were used.
func (p *Party) hello(g *gatewayLink, r *reader) ([]byte, error) {
	drained, settings := r.u8() == 1, r.settings()
	if err := r.end(); err != nil {
		return nil, err
	}
	if d := p.settings.differ(settings); d.any() && !g.warned.Swap(true) {
		p.cfg.Logger.Warn("party: a gateway is configured otherwise than this party: what needs that is refused", "gateway", g.index, "differs", d.String())
	}
	doubts, err := p.store.doubts(g.index)
	if err != nil {
		return nil, err
	}
	voted, err := p.store.voted()
	if err != nil {
		return nil, err
	}
	identity, _, staged := p.store.current()
	h := hello{store: identity.id, state: identity.state, voted: voted, mark: p.used.High(g.index), key: p.store.receipt.Public().(ed25519.PublicKey), version: p.store.versionNow(), doubts: doubts,
		instance: p.instance, shareKey: p.shareKey(), settings: p.settings}
	if staged != nil {
		h.staged = staged.tx
	}
	if drained {
		g.drained.Store(true)
	}
	return h.appendTo(nil), nil
}

// control settles doubts with a peer: enrolments that wait for their end longer than DoubtAfter are asked after, and committed if the
// peer has. It ends with the link.
func (p *Party) control(ctx context.Context, l *Link) {
	s, err := l.Open(controlSID)
	if err != nil {
		return
	}
	defer s.Close()
	asking := time.NewTicker(max(p.cfg.DoubtAfter/4, 10*time.Millisecond))
	defer asking.Stop()
	frames := make(chan Frame)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.wg.Go(func() { // ends with the session or ctx
		for {
			f, err := s.RecvFrame(ctx)
			if err != nil {
				cancel()
				return
			}
			select {
			case frames <- f:
			case <-ctx.Done():
				return
			}
		}
	})
	var asked []doubt // that an answer is due of
	for {
		select {
		case <-ctx.Done():
			return
		case <-asking.C:
			if len(asked) == 0 {
				asked = p.askFates(s)
			}
		case f := <-frames:
			if !p.controlled(s, f, asked) {
				asked = nil
			}
		}
	}
}

// Kinds of control frames: u8 kind · count u16 · count × doubt, or in an answer count × (doubt · secret[16], zero if it is not known).
const (
	controlQuestion = 0
	controlAnswer   = 1
)

// maxAsked bounds the doubts of a question.
const maxAsked = 64

// askFates asks a peer, and returns what of: where there are more doubts than go into a question, of any, as there may be some that nobody can settle.
func (p *Party) askFates(s *Stream) (asked []doubt) {
	old := p.nowMs() - p.cfg.DoubtAfter.Milliseconds()
	var all []doubt
	n := 0
	_, epoch, _ := p.store.current()
	err := p.store.each(epochPrefix(prefixPrepared, epoch), func(key, value []byte) error {
		r, err := parsePrepared(value)
		if err != nil || r.head.time > old {
			return err
		}
		d := doubt{subjectOf(key), r.head.tx, r.head.gen}
		if n++; len(all) < maxAsked {
			all = append(all, d)
		} else if i := rand.IntN(n); i < maxAsked {
			all[i] = d
		}
		return nil
	})
	if err != nil || len(all) == 0 {
		return nil
	}
	b := binary.LittleEndian.AppendUint16([]byte{controlQuestion}, uint16(len(all)))
	for _, d := range all {
		b = d.appendTo(b)
	}
	if s.SendFrame(Frame{Type: FrameStatus, Payload: b}) != nil {
		return nil
	}
	return all
}

// controlled answers a question, or takes an answer to what was asked; it reports whether it was a question. A peer's word settles nothing
// without the secret, which it has of the gateway.
func (p *Party) controlled(s *Stream, f Frame, asked []doubt) (question bool) {
	r := &reader{b: f.Payload}
	kind, n := r.u8(), min(r.u16(), maxAsked)
	b := binary.LittleEndian.AppendUint16([]byte{controlAnswer}, n)
	for range n {
		d := r.doubt()
		if kind == controlQuestion {
			fate, err := p.store.fate(d)
			if err != nil {
				return true
			}
			b = append(d.appendTo(b), fate[:]...)
		} else if secret := r.id(); !r.bad && secret != (ID{}) && slices.Contains(asked, d) {
			if err := p.commit(d.batch(secret)); err == nil {
				p.cfg.Logger.Info("party: an enrolment was committed, as a peer has", "tx", d.tx)
			}
		}
	}
	if kind == controlQuestion && r.end() == nil {
		_ = s.SendFrame(Frame{Type: FrameStatus, Payload: b})
	}
	return kind == controlQuestion
}

func (p *Party) shredSoon() {
	select {
	case p.shredding <- struct{}{}:
	default:
	}
}

// shredEvery is how often what was erased leaves the files of the store.
const shredEvery = 2 * time.Second

// shredLoop compacts the keys of records, those of enrolments that were prepared too, after erasures. The shares that they sealed are noise from then on, wherever they are; a copy of
// the store from before needs the epoch's KEK, which the next refresh destroys.
func (p *Party) shredLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.shredding:
		}
		if err := p.store.shred(ctx, prefixKey, prefixPrepared); err != nil && ctx.Err() == nil {
			p.cfg.Logger.Warn("party: what was erased is still in files of the store", "error", err)
		}
		sleep(ctx, shredEvery)
	}
}
