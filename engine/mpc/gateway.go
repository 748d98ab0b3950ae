package mpc

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/semaphore"
)

// GatewayConfig configures a gateway. Cluster, Dir, Key, Identity, Pins, Parties and Policies are needed.
type GatewayConfig struct {
	Index   uint16 // of this gateway; below 0xffff
	Cluster string
	Dir     string // of the directory and of what is decided; it is needed as much as a party's is
	FS      vfs.FS // nil is the disk
	Key     []byte // DirectoryKeyBytes: makes the pseudonyms of people and seals the directory. Not retained

	Identity Identity // of the role GatewayRole(Index)
	Pins     Pins     // of the parties
	Parties  [Parties]string
	// ShareKeys are the pins of the parties' public keys for envelopes (PinOfShareKey). One that is zero is not checked: who the party says has it, has it.
	ShareKeys [Parties]Pin

	Policies *Policies // as the parties have them; thresholds and budgets that count are theirs

	Timeout time.Duration // of a round; RoundTimeout by default, and what the parties have
	Alarm   uint32        // attempts of a person in a party's longest window that are logged; 150 by default

	Logger *slog.Logger
	Now    func() time.Time

	hook func(step string) // of tests
}

// OnStep has step called at each step of a write, before what follows; it is for tests (mpctest).
func (c *GatewayConfig) OnStep(step func(name string)) { c.hook = step }

func (c GatewayConfig) withDefaults() GatewayConfig {
	c.Timeout = cmp.Or(c.Timeout, RoundTimeout)
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
func (c GatewayConfig) validate() error {
	switch {
	case c.Cluster == "" || c.Dir == "" || slices.Contains(c.Parties[:], ""):
		return fmt.Errorf("%w: a gateway needs a cluster, a folder, and the addresses of three parties", ErrConfig)
	case c.Identity.Role != GatewayRole(c.Index) || c.Index == controlSID>>counterBits:
		return fmt.Errorf("%w: the certificate is that of %q, want %q", ErrConfig, c.Identity.Role, GatewayRole(c.Index))
	}
	return c.Policies.validate()
}

// Gateway asks the three parties, opens their answers, and coordinates what they write. It knows who is enrolled, and no share. Safe for
// concurrent use.
type Gateway struct {
	cfg      GatewayConfig
	dir      *directory
	settings settings
	remotes  [Parties]*remote
	counter  atomic.Uint64 // of session ids

	// Order: changes, reads, mu. One of each is held by who writes a record, or compares; everybody's by a refresh or a repair, and while the
	// parties change from one set of shares to the next.
	changes, reads *semaphore.Weighted

	stop    context.CancelFunc
	closing chan struct{}
	wg      sync.WaitGroup // of the links
	calls   sync.WaitGroup
	mu      struct {
		sync.Mutex
		seq     uint64
		busy    map[Subject]bool      // of a write under way
		active  map[ID]bool           // transactions that are not decided
		decided map[ID]*decision      // and not carried out everywhere
		last    map[Subject]*decision // the newest of them of a person
		lists   map[ID]*tenantList    // of tenants that are searched
		closed  bool
	}
}

// OpenGateway opens or makes a gateway's store and begins to connect to the parties. What was decided before is carried out, what was not is
// aborted. Errors: ErrConfig, ErrRootKey, ErrOther, ErrFormat, ErrCorrupt, the disk's.
func OpenGateway(c GatewayConfig) (*Gateway, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	dir, err := openDirectory(c.FS, c.Dir, c.Cluster, c.Index, c.Key, c.Logger)
	if err != nil {
		return nil, err
	}
	c.Key = nil
	g := &Gateway{cfg: c, dir: dir, settings: newSettings(c.Cluster, c.Timeout, c.Policies), changes: semaphore.NewWeighted(everybody), reads: semaphore.NewWeighted(everybody), closing: make(chan struct{})}
	g.mu.busy, g.mu.active, g.mu.decided = make(map[Subject]bool), make(map[ID]bool), make(map[ID]*decision)
	g.mu.last, g.mu.lists = make(map[Subject]*decision), make(map[ID]*tenantList)
	for i := range g.remotes {
		g.remotes[i] = &remote{g: g, index: i, wake: make(chan struct{}, 1)}
		g.remotes[i].mu.state = PartyAway
	}
	g.counter.Store(sidsAt(c.Now()))
	if err := g.recover(); err != nil {
		return nil, errors.Join(err, dir.close())
	}
	ctx, stop := context.WithCancel(context.Background())
	g.stop = stop
	for _, r := range g.remotes {
		g.wg.Go(func() { r.run(ctx) })
	}
	return g, nil
}

// recover takes up what the log has.
func (g *Gateway) recover() error {
	if err := g.dir.forgetBegun(); err != nil {
		return err
	}
	if v, err := g.dir.get(metaKey(metaFresh)); err != nil || v == nil {
		if err = cmp.Or(err, g.dir.setFresh(g.cfg.Now())); err != nil {
			return err
		}
	}
	all, err := g.dir.decisions()
	for _, d := range all {
		g.owe(d)
	}
	return err
}

// owe has all parties carry out a decision that is durable.
func (g *Gateway) owe(d *decision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.seq = max(g.mu.seq, d.seq)
	g.mu.decided[d.tx] = d
	for _, of := range d.subjects() {
		g.mu.last[of] = d
	}
	for _, r := range g.remotes { // under mu: in the order of decisions
		r.enqueue(d)
	}
}

// Close ends the links and closes the store. What parties are owed is sent after the next start. Errors: ErrStorage.
func (g *Gateway) Close() error {
	g.mu.Lock()
	closed := g.mu.closed
	g.mu.closed = true
	g.mu.Unlock()
	if closed {
		return nil
	}
	close(g.closing)
	g.stop()
	if !g.dir.outlasts(func() { g.wg.Wait(); g.calls.Wait() }) {
		return ErrStorage
	}
	return g.dir.close()
}

// everybody is more than there are calls at once.
const everybody = 1 << 30

// call keeps the gateway open until end. Errors: ErrClosed.
func (g *Gateway) call() (end func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.closed {
		return nil, ErrClosed
	}
	g.calls.Add(1)
	return g.calls.Done, nil
}

// Failed is closed when a disk write failed: the process must end, and be started again.
func (g *Gateway) Failed() <-chan struct{} { return g.dir.failed }

// Status is the state of each party.
func (g *Gateway) Status() (states [Parties]PartyState) {
	for i, r := range g.remotes {
		states[i] = r.shown()
	}
	return states
}

// sid is a session id that was not used.
func (g *Gateway) sid() uint64 { return MakeSID(g.cfg.Index, g.counter.Add(1)) }

const (
	// sidsPerSecond are the session ids that there are for each second of the clock: enough to the year 2106.
	sidsPerSecond = 1 << 16
	// aheadMark is how far ahead of the clock the ids may be that a party says were used.
	aheadMark = 24 * time.Hour
)

// sidsAt is where session ids of a moment begin. A gateway that is opened counts from there, so it needs no note of those that it used.
func sidsAt(t time.Time) uint64 {
	ms := uint64(max(t.UnixMilli(), 0))
	return min(ms*sidsPerSecond/1000, 1<<counterBits-sidsPerSecond)
}

// raise has session ids go on above one that was used, by a party's word, as the clock may have been put back. One that is out of reach is not
// believed: a party that lies could use up the ids.
func (g *Gateway) raise(party int, mark uint64) {
	if mark == 0 {
		return
	}
	counter := mark & (1<<counterBits - 1)
	if SIDGateway(mark) != g.cfg.Index || counter > sidsAt(g.cfg.Now().Add(aheadMark)) {
		g.cfg.Logger.Warn("gateway: a party says that session ids were used which can't have been. If this clock was put back by more than a day, start the parties anew", "party", party)
		return
	}
	for {
		now := g.counter.Load()
		if now >= counter || g.counter.CompareAndSwap(now, counter) {
			return
		}
	}
}

func (g *Gateway) nowMs() int64 { return g.cfg.Now().UnixMilli() }

// concerns reports whether a transaction is under way, or decided and in the queues.
func (g *Gateway) concerns(tx ID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.active[tx] || g.mu.decided[tx] != nil
}

// acknowledge notes that a party has carried out a decision; when all have, it is forgotten, and of an erasure the receipts are kept.
func (g *Gateway) acknowledge(d *decision, party int, receipt *Receipt) error {
	g.mu.Lock()
	if !d.acked[party] {
		d.acked[party], d.receipts[party] = true, receipt
	}
	n := 0
	for _, acked := range d.acked {
		if acked {
			n++
		}
	}
	g.mu.Unlock()
	if n == Parties {
		if err := g.finish(d); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if n >= 2 && !isClosed(d.enough) {
		close(d.enough)
	}
	if n == Parties && !isClosed(d.done) {
		delete(g.mu.decided, d.tx)
		for _, of := range d.subjects() {
			if g.mu.last[of] == d {
				delete(g.mu.last, of)
			}
		}
		close(d.done)
	}
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// finish takes a decision off the log.
func (g *Gateway) finish(d *decision) error {
	if d.kind != decideErase {
		// Not synced: lost, the decision is carried out once more, which changes nothing.
		if err := g.dir.db.Delete(decisionKey(d.seq), pebble.NoSync); err != nil {
			return fmt.Errorf("%w: %w", ErrStorage, err)
		}
		return nil
	}
	return g.dir.update(func(b *pebble.Batch) error {
		remove(b, decisionKey(d.seq))
		e, found, err := g.dir.entry(d.of)
		if err != nil || !found || e.Tx != d.tx {
			return err
		}
		e.Receipts = g.receipts(d)
		g.dir.setEntry(b, d.of, e)
		return nil
	})
}

func (g *Gateway) receipts(d *decision) (all []Receipt) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range d.receipts {
		if r != nil {
			all = append(all, *r)
		}
	}
	return all
}

// ready returns DownError unless all parties serve, or DiffersError where one is of another cluster.
func (g *Gateway) ready() error {
	var down, lost, other []int
	for i, r := range g.remotes {
		switch r.state() {
		case PartyReady:
		case PartyDiffers:
			other = append(other, i)
		case PartyLost:
			down, lost = append(down, i), append(lost, i)
		default:
			down = append(down, i)
		}
	}
	if other != nil {
		return &DiffersError{other}
	}
	if down != nil {
		return &DownError{down, lost}
	}
	return nil
}

// askAll asks all parties in one session and waits for all of them. payload is called for each.
func (g *Gateway) askAll(ctx context.Context, t FrameType, sid uint64, payload func(party int) []byte) (answers [Parties][]byte, err error) {
	ctx, cancel := g.patient(ctx, t)
	defer cancel()
	var errs [Parties]error
	var streams [Parties]*Stream
	for i, r := range g.remotes {
		streams[i], errs[i] = r.ask(t, sid, payload(i))
	}
	for i, r := range g.remotes {
		if errs[i] == nil {
			answers[i], errs[i] = r.answer(ctx, streams[i])
		}
	}
	return answers, worst(errs[:])
}

// byCause are errors of parties, the one that explains the others first.
var byCause = []error{ErrBudget, ErrStorage, ErrExists, ErrUnknown, ErrPolicy, ErrShareKey, ErrEnvelope, ErrEnvelopeUsed, ErrGeneration, ErrContext, ErrPending, ErrProbe, ErrNotReady, ErrBusy, ErrMessage, ErrSID, ErrPartyDown, ErrPeerDown}

// worst is the error that says why: when one party gives up, its peers are told to.
func worst(errs []error) error {
	for _, cause := range byCause {
		for _, err := range errs {
			if errors.Is(err, cause) {
				return err
			}
		}
	}
	return cmp.Or(errs...)
}

// mayRetry says whether another session may go well: a link was lost, a party was started anew, or a commit is on its way.
func mayRetry(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	for _, e := range []error{ErrPartyDown, ErrPeerDown, ErrSID, ErrGeneration, ErrAborted, ErrContext, ErrNotReady} {
		if errors.Is(err, e) {
			return !errors.Is(err, ErrProbe)
		}
	}
	return false
}

// down makes of the links between parties what clients are told: that a party is away.
func down(err error) error {
	if errors.Is(err, ErrPartyDown) {
		return err
	}
	if errors.Is(err, ErrPeerDown) || errors.Is(err, ErrNotReady) || errors.Is(err, ErrAborted) && !errors.Is(err, ErrProbe) {
		return fmt.Errorf("%w: %w", ErrPartyDown, err)
	}
	return err
}

// Question is one person's probe.
type Question struct {
	User  string
	Probe []float32 // float32[dim], ‖probe‖ = 1 ± 1e-3; not retained
}

// Verify says whether a probe matches a person's template, under a policy. That is all that anybody learns: there is no score. A
// session that fails for want of a party is tried once more, with new shares. Errors: ErrUnknown, ErrPolicy, ErrVector, ErrLocked, ErrBudget,
// ErrPartyDown, ErrDiffers, ErrProbe, ErrStorage, ctx's.
func (g *Gateway) Verify(ctx context.Context, tenant, user string, policy uint16, probe []float32) (bool, error) {
	match, err := g.VerifyAll(ctx, tenant, policy, []Question{{user, probe}})
	if err != nil {
		return false, err
	}
	return match[0], nil
}

// VerifyAll is Verify of up to MaxItems questions in one session. One that can't be asked fails all.
func (g *Gateway) VerifyAll(ctx context.Context, tenant string, policy uint16, questions []Question) ([]bool, error) {
	a, err := g.attempt(tenant, policy, questions)
	if err != nil {
		return nil, err
	}
	return a.run(ctx)
}

// attempt encodes questions. Errors: ErrPolicy, ErrMessage, ErrVector.
func (g *Gateway) attempt(tenant string, policy uint16, questions []Question) (*attempt, error) {
	p, known := g.cfg.Policies.Policies[policy]
	if !known {
		return nil, ErrPolicy
	}
	if len(questions) < 1 || len(questions) > MaxItems {
		return nil, fmt.Errorf("%w: %d questions", ErrMessage, len(questions))
	}
	names := g.dir.pseudonyms(tenant)
	a := &attempt{g: g, policy: policy, model: p.Model, tenant: names.tenant}
	for _, q := range questions {
		encoded, err := p.Params.Encode(q.Probe)
		if err != nil {
			return nil, err
		}
		a.of, a.probes = append(a.of, names.subject(q.User)), append(a.probes, encoded)
	}
	return a, nil
}

// attempt is one call of VerifyAll.
type attempt struct {
	g             *Gateway
	policy, model uint16
	tenant        ID
	of            []Subject
	probes        [][]uint32
	sealed        *Envelopes // envelopes in the place of probes: then of is one
	canary        bool       // of canaries: their rejects are not counted
}

func (a *attempt) run(ctx context.Context) ([]bool, error) {
	end, err := a.g.call()
	if err != nil {
		return nil, err
	}
	defer end()
	now := a.g.nowMs()
	for _, of := range a.of {
		if err := a.g.dir.mayAttempt(of, now); err != nil && !a.canary {
			return nil, err
		}
	}
	if err := a.g.readyFor(a.policy); err != nil { // a party that is away is not waited for; one that goes meanwhile is
		return nil, err
	}
	match, err := a.once(ctx)
	if err != nil && a.sealed == nil && mayRetry(err) && ctx.Err() == nil {
		a.g.awaitReady(ctx, a.g.cfg.Timeout)
		match, err = a.once(ctx)
	}
	if err != nil {
		return nil, a.sealed.failed(down(err))
	}
	if a.canary {
		return match, nil
	}
	return match, a.g.dir.settleAnswers(a.of, match, a.g.nowMs())
}

// once asks the parties in a session of its own, of shares of its own.
func (a *attempt) once(ctx context.Context) ([]bool, error) {
	m := verifyMessage{policy: a.policy, model: a.model, tenant: a.tenant}
	for _, of := range a.of {
		if err := a.g.awaitCommit(ctx, of); err != nil {
			return nil, err
		}
	}
	if err := a.g.reads.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer a.g.reads.Release(1)
	if err := a.g.readyFor(a.policy); err != nil {
		return nil, err
	}
	for _, of := range a.of {
		p, err := a.g.dir.person(of)
		if err != nil {
			return nil, err
		}
		m.rids, m.gens = append(m.rids, of.RID), append(m.gens, p.gen)
	}
	payloads, free := roomForPayloads(a.bytes())
	defer free()
	for i := range payloads {
		payloads[i] = m.appendTo(payloads[i])
	}
	var pack packer
	for _, q := range a.probes {
		pack.append(payloads, q)
	}
	kind := FrameVerify
	if a.sealed != nil {
		kind = FrameVerifySealed
		for i, b := range a.sealed {
			payloads[i] = append(payloads[i], b...)
		}
	}
	answers, err := a.g.askAll(ctx, kind, a.g.sid(), func(i int) []byte { return payloads[i] })
	if errors.Is(err, ErrUnknown) { // the directory knows better
		return nil, fmt.Errorf("%w: a party lacks a record", ErrContext)
	}
	if err != nil {
		return nil, err
	}
	return a.open(answers)
}

// bytes is the most that a party is sent.
func (a *attempt) bytes() (n int) {
	for _, q := range a.probes {
		n += packedBytes(len(q))
	}
	return n + verifyHead + len(a.of)*verifyEach
}

func (a *attempt) open(answers [Parties][]byte) ([]bool, error) {
	var bits [Parties]Bits
	for i, b := range answers {
		r := &reader{b: b}
		used := r.u32()
		bits[i] = r.bits()
		if err := r.end(); err != nil || bits[i].N != len(a.of) || bits[i].Probes != len(a.of) {
			return nil, fmt.Errorf("%w: party %d: answer", ErrMessage, i)
		}
		if i == 0 && used == a.g.cfg.Alarm {
			a.g.cfg.Logger.Warn("gateway: many attempts at a person", "attempts", used, "tenant", a.tenant, "rid", a.of[0].RID)
		}
	}
	match, failed, err := openBits(bits)
	if err != nil {
		return nil, err
	}
	return match, a.refuse(match, failed)
}

// refuse is the error of the first probe that failed a check. The others' answers are not told then, and count all the same. Errors: ErrProbe.
func (a *attempt) refuse(match, failed []bool) error {
	err := firstFailed(failed)
	if err == nil || a.canary {
		return err
	}
	var of []Subject
	var told []bool
	for i, s := range a.of {
		if !failed[i] {
			of, told = append(of, s), append(told, match[i])
		}
	}
	return errors.Join(err, a.g.dir.settleAnswers(of, told, a.g.nowMs()))
}

// awaitCommit waits, for a round's time at most, until all parties have the record that was decided last.
func (g *Gateway) awaitCommit(ctx context.Context, of Subject) error {
	g.mu.Lock()
	d := g.mu.last[of]
	g.mu.Unlock()
	if d == nil {
		return nil
	}
	t := time.NewTimer(g.cfg.Timeout)
	defer t.Stop()
	select {
	case <-d.done:
	case <-t.C:
	case <-g.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// awaitReady waits until all parties serve, ctx ends or d has passed.
func (g *Gateway) awaitReady(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for ctx.Err() == nil && !isClosed(g.closing) && g.ready() != nil {
		sleep(ctx, 5*time.Millisecond)
	}
}

// AwaitReady waits until all parties serve. Errors: ErrPartyDown, when ctx ends; ErrClosed.
func (g *Gateway) AwaitReady(ctx context.Context) error {
	for {
		err := g.ready()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if isClosed(g.closing) {
			return ErrClosed
		}
		sleep(ctx, 5*time.Millisecond)
	}
}

// Identify returns the users of a tenant whose templates match a probe, under a policy of IdentifyLogScale; their order means nothing, as there
// is no score. Errors: ErrPolicy, ErrVector, ErrBudget, ErrPartyDown, ErrDiffers, ErrProbe, ErrContext, where enrolments go on too fast; ctx's.
func (g *Gateway) Identify(ctx context.Context, tenant string, policy uint16, probe []float32) ([]string, error) {
	p, err := g.searchPolicy(policy)
	if err != nil {
		return nil, err
	}
	q, err := p.Params.Encode(probe)
	if err != nil {
		return nil, err
	}
	return g.search(ctx, tenant, policy, p.Model, q, nil)
}

// searchPolicy is a policy by which people are searched for. Errors: ErrPolicy.
func (g *Gateway) searchPolicy(id uint16) (Policy, error) {
	p, known := g.cfg.Policies.Policies[id]
	if !known || p.Params.LogScale > IdentifyLogScale {
		return p, ErrPolicy
	}
	return p, nil
}

// search is by a probe, or by one that is sealed.
func (g *Gateway) search(ctx context.Context, tenant string, policy, model uint16, q []uint32, sealed *Envelopes) ([]string, error) {
	end, err := g.call()
	if err != nil {
		return nil, err
	}
	defer end()
	if err := g.readyFor(policy); err != nil {
		return nil, err
	}
	users, err := g.identifyOnce(ctx, tenant, policy, model, q, sealed)
	for tries := 0; sealed == nil && tries < 3 && err != nil && mayRetry(err) && ctx.Err() == nil; tries++ { // rows may change meanwhile
		g.awaitReady(ctx, g.cfg.Timeout)
		users, err = g.identifyOnce(ctx, tenant, policy, model, q, sealed)
	}
	if err != nil {
		return nil, sealed.searchFailed(down(err))
	}
	return users, nil
}

func (g *Gateway) identifyOnce(ctx context.Context, tenant string, policy, model uint16, q []uint32, sealed *Envelopes) ([]string, error) {
	if err := g.reads.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer g.reads.Release(1)
	if err := g.readyFor(policy); err != nil {
		return nil, err
	}
	id := g.dir.tenant(tenant)
	l, err := g.list(id)
	if err != nil {
		return nil, err
	}
	head := binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, policy), model)
	head = append(head, id[:]...)
	kind, packed := FrameIdentify, Envelopes{}
	if sealed != nil {
		kind, packed = FrameIdentifySealed, *sealed
	} else {
		packed = SplitPacked(q)
	}
	answers, err := g.askAll(ctx, kind, g.sid(), func(i int) []byte { return append(slices.Clip(head), packed[i]...) })
	if err != nil {
		return nil, err
	}
	var bits [Parties]Bits
	for i, b := range answers {
		r := &reader{b: b}
		_ = r.u32()
		bits[i] = r.bits()
		hash := [32]byte(r.bytes(32))
		if r.end() != nil {
			return nil, fmt.Errorf("%w: party %d: answer", ErrMessage, i)
		}
		if hash != l.hash || bits[i].N != len(l.rids) || bits[i].Probes != min(len(l.rids), 1) {
			return nil, fmt.Errorf("%w: party %d has other rows", ErrContext, i)
		}
	}
	if len(l.rids) == 0 {
		return nil, nil
	}
	match, err := OpenBits(bits)
	var users []string
	for i, is := range match {
		if is && !strings.HasPrefix(l.of[i], canaryPrefix) {
			users = append(users, l.of[i])
		}
	}
	return users, err
}
