package capture

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
	"sync"
	"time"

	"mien/extract"
	"mien/http/dialect"
)

// Limits of the tries of a session.
const (
	maxStarts       = 10 // tries that are begun: to begin anew shows other challenges
	maxAgain        = 3  // challenges of a try that were not shown and are asked for again
	maxAlternatives = 2  // challenges of a session that are replaced
)

// DefaultTryBytes is the memory that all tries may have together: some 300 at a time.
const DefaultTryBytes = 256 << 20

// What memory of tries is counted as, beside frames.
const (
	visitorBytes = 8 << 10  // a session that has begun a try
	faceBytes    = 8 << 10  // a face with its template
	cropBytes    = 40 << 10 // its crop, which is kept for colours only
)

// tries is what memory has of the sessions that are under way: a try each, and the sums of all frames that came. A restart loses it: the page begins a new
// try. All is bounded by one number of bytes, of which one tenant
// has three quarters at the most; what is too much is refused at once. Frames and faces are overwritten when their try ends: by a decision,
// a failure, a new start, the session's end, or after its time by sweep (doc.go, T1 to T6). Safe for concurrent use.
type tries struct {
	max int64
	mu  struct {
		sync.Mutex
		of     map[place]*visitor
		used   int64
		tenant map[string]int64 // of used
	}
}

func newTries(max int64) *tries {
	t := &tries{max: max}
	t.mu.of, t.mu.tenant = make(map[place]*visitor), make(map[string]int64)
	return t
}

// visitor is what is known of a session. Protected by tries.mu.
type visitor struct {
	tenant   string
	ends     time.Time
	sums     map[[32]byte]bool   // SHA-256 of its frames, of all tries
	avoid    []extract.Challenge // what the person has asked an alternative to
	looking  bool                // a picture is being looked at
	try      *try                // nil: none is under way
	answered reply               // the last step that was judged
	bytes    int64               // that it was counted as, its try's too
}

// reply is what was answered to the step of a tag.
type reply struct {
	tag   string
	value any
}

// try is one presentation. Protected by tries.mu, but for what the turn of a step holds.
type try struct {
	id      string // for the page, of no meaning
	plan    []extract.Challenge
	task    task
	chain   chain
	skew    skew
	began   time.Time
	virtual bool // its camera says that it is a program
	slower  bool
	again   int  // challenges that had to be asked for again
	busy    bool // a step is being judged, or the session decided
	steps   []extract.Step
	base    extract.Face // of the first, that the others are compared with
	photos  [][][]byte   // of steps of Centre their frames, nil of others
	prints  []print
	touched time.Time
}

// wipe overwrites what shows somebody.
func (t *try) wipe() {
	for _, frames := range t.photos {
		for _, f := range frames {
			clear(f)
		}
	}
	for _, s := range t.steps {
		wipeShots(s.Shots)
	}
	t.base, t.photos, t.steps, t.prints = extract.Face{}, nil, nil, nil
}

func wipeShots(shots []extract.Shot) {
	wipeCrops(shots)
	for i := range shots {
		clear(shots[i].Face.Template)
		shots[i].Face = extract.Face{}
	}
}

func wipeCrops(shots []extract.Shot) {
	for i := range shots {
		if f := &shots[i].Face; f.Crop != nil {
			clear(f.Crop.Pix)
			f.Crop = nil
		}
	}
}

// Refusals of tries.
var (
	errNoTry    = &pageError{409, problem{Code: "try_missing", Detail: "no try is under way: begin one by /capture/api/start"}}
	errStepBusy = &pageError{409, problem{Code: "step_taken", Detail: "the step is being judged: wait for the answer to the request that sent it"}}
	errNoRoom   = &dialect.Refusal{Code: "overloaded", Detail: "too many people are before their cameras; try again in a moment"}
	errNoOther  = &pageError{409, problem{Code: "no_alternative", Detail: "there is no other challenge, or two were replaced already: ask for more time, or cancel"}}
)

// begin starts a session's try, and ends the one under way: a step of it that is being judged finds itself without a try. Errors: errNoRoom.
func (s *tries) begin(at place, x *Session, virtual bool, now time.Time) (*try, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.admitLocked(at, x.Ends)
	if err != nil {
		return nil, err
	}
	s.endLocked(v)
	t := &try{id: newID(), plan: newPlan(x, v.avoid), began: now, virtual: virtual, slower: x.Slower, touched: now}
	_, _ = rand.Read(t.chain.key[:]) // never fails
	t.task = newTask(t.plan[0], 0, t.slower, now)
	v.try = t
	return t, nil
}

// admit makes room for a session that ends then, if it has none yet. Errors: errNoRoom.
func (s *tries) admit(at place, ends time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.admitLocked(at, ends)
	return err
}

func (s *tries) admitLocked(at place, ends time.Time) (*visitor, error) {
	if v := s.mu.of[at]; v != nil {
		return v, nil
	}
	v := &visitor{tenant: at.tenant, ends: ends, sums: make(map[[32]byte]bool)}
	if !s.takeLocked(v, visitorBytes) {
		return nil, errNoRoom
	}
	s.mu.of[at] = v
	return v, nil
}

// newPlan is what a try asks for.
func newPlan(x *Session, avoid []extract.Challenge) []extract.Challenge {
	kinds := slices.DeleteFunc(kindsOf(x), func(k extract.Challenge) bool { return slices.Contains(avoid, k) })
	if len(kinds) == 0 { // nothing is left of them: they are asked for all the same
		kinds = kindsOf(x)
	}
	return append([]extract.Challenge{extract.Centre}, drawKinds(kinds, x.Steps)...)
}

// kindsOf are the session's challenges to choose from.
func kindsOf(x *Session) []extract.Challenge {
	kinds := make([]extract.Challenge, len(x.Challenges))
	for i, name := range x.Challenges {
		kinds[i] = extract.Challenge(name)
	}
	return kinds
}

func (s *tries) takeLocked(v *visitor, n int64) bool {
	if s.mu.used+n > s.max || s.mu.tenant[v.tenant]+n > s.max-s.max/4 {
		return false
	}
	s.mu.used += n
	s.mu.tenant[v.tenant] += n
	v.bytes += n
	return true
}

func (s *tries) giveLocked(v *visitor, n int64) {
	s.mu.used -= n
	if s.mu.tenant[v.tenant] -= n; s.mu.tenant[v.tenant] == 0 {
		delete(s.mu.tenant, v.tenant)
	}
	if v.bytes -= n; v.bytes < 0 || s.mu.used < 0 {
		panic("BUG: capture: bytes of tries given back twice")
	}
}

// endLocked ends a visitor's try. Who judges a step of it meanwhile wipes it.
func (s *tries) endLocked(v *visitor) {
	if v.try == nil {
		return
	}
	if !v.try.busy {
		v.try.wipe()
	}
	v.try = nil
	s.giveLocked(v, v.bytes-visitorBytes-int64(len(v.sums))*sha256.Size)
}

// forget ends what memory has of a session. A step that is being judged finds itself ended.
func (s *tries) forget(at place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.mu.of[at]; v != nil {
		s.forgetLocked(at, v)
	}
}

func (s *tries) forgetLocked(at place, v *visitor) {
	s.endLocked(v)
	s.giveLocked(v, v.bytes)
	delete(s.mu.of, at)
}

// idle is how long after its step's time nobody comes any more.
const idle = time.Minute

// sweep ends tries that were left, and sessions whose time is over.
func (s *tries) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, v := range s.mu.of {
		switch {
		case v.try != nil && v.try.busy:
		case !now.Before(v.ends):
			s.forgetLocked(at, v)
		case v.try != nil && !now.Before(v.try.touched.Add(v.try.task.window+idle)):
			s.endLocked(v)
		}
	}
}

// turn is a step that is being judged: its try takes no other meanwhile.
type turn struct {
	at      place
	v       *visitor
	t       *try
	sent    *sent
	task    task
	chain   chain // behind the step's frames
	skew    skew
	arrived time.Time
	failed  error // the frames are not as they must be: errTooSlow, errTooFast, errDamaged
	bytes   int64
}

// Why a try fails whose frames are not looked at.
var (
	errTooSlow = errors.New("too_slow")
	errTooFast = errors.New("too_fast")
)

// take begins the judgement of a step that arrived now. answered is what was answered before to the same frames; then there is no turn. A turn must be ended by accept, repeat,
// end or leave. Errors: errNoTry, errStepBusy, errNoRoom.
func (s *tries) take(at place, x *sent, now time.Time) (turned *turn, answered any, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.mu.of[at]
	tag := x.Frames[len(x.Frames)-1].Tag
	switch {
	case v != nil && v.answered.tag != "" && v.answered.tag == tag:
		return nil, v.answered.value, nil
	case v == nil || v.try == nil:
		return nil, nil, errNoTry
	case v.try.busy:
		return nil, nil, errStepBusy
	}
	u := &turn{at: at, v: v, t: v.try, sent: x, task: v.try.task, arrived: now}
	if h := v.try.task.held; h.tag != "" && h.tag == tag {
		u.arrived = h.arrived
	}
	u.failed = u.check()
	u.bytes = x.size() + int64(len(x.data))*(faceBytes+sha256.Size)
	if u.task.kind == extract.Flash {
		u.bytes += int64(len(x.data)) * cropBytes
	}
	if !s.takeLocked(v, u.bytes) {
		v.try.task.held = held{tag, u.arrived}
		return nil, nil, errNoRoom
	}
	v.try.busy, v.try.touched = true, now
	return u, nil, nil
}

// check holds the step's frames against the task, the clock, the chain and those that came before, and sets what they make of the chain. Errors: errTooSlow, errTooFast, errDamaged.
func (u *turn) check() (err error) {
	t, x, spent := u.t, u.sent, u.arrived.Sub(u.task.released)
	switch {
	case x.Step != u.task.n || !isNonce(x.Nonce, u.task.nonce):
		return errNonce
	case spent > u.task.window:
		return errTooSlow
	case spent < manners[u.task.kind].least:
		return errTooFast
	case len(x.data) < leastFrames || len(x.data) > mostOf(u.task.kind):
		return errOrder
	}
	if u.chain, err = t.chain.follow(u.task.nonce, x); err != nil {
		return err
	}
	if u.skew, err = t.skew.with(u.arrived.Sub(t.began), u.chain.t); err != nil {
		return err
	}
	return u.checkRepeats()
}

// checkRepeats refuses frames that came before in the session, and those of a flash that don't tell every colour, in the order in which they are shown: else
// frames that were taken under other colours could be called by those that they look like.
func (u *turn) checkRepeats() error {
	last, shown := -1, len(u.task.colours)
	for j, sum := range u.sent.sums {
		if u.v.sums[sum] || slices.Contains(u.sent.sums[:j], sum) {
			return errRepeated
		}
		if c := u.sent.Frames[j].Colour; c != nil && *c >= 0 && *c < shown {
			if *c != last && *c != last+1 {
				return errOrder
			}
			last = *c
		}
	}
	if last != shown-1 {
		return errOrder
	}
	return nil
}

// baseOf is the face of a step of Centre that challenges are compared with. REQUIRES: it has a shot.
func baseOf(step extract.Step) extract.Face {
	best := extract.Present([]extract.Step{step}, extract.PresentationPolicy{}).Best
	return step.Shots[max(best.Shot, 0)].Face
}

// current reports whether the turn's try is still the session's.
func (s *tries) currentLocked(u *turn) bool { return s.mu.of[u.at] == u.v && u.v.try == u.t }

// leave ends a turn as if it had not been: the same frames may come again.
func (s *tries) leave(u *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.sent.wipe()
	if !s.lostLocked(u) {
		u.t.busy = false
		u.t.task.held = held{u.tag(), u.arrived}
		s.giveLocked(u.v, u.bytes)
	}
}

// lostLocked reports whether the turn's try was forgotten meanwhile, and then wipes it.
func (s *tries) lostLocked(u *turn) bool {
	if s.currentLocked(u) {
		return false
	}
	u.t.wipe()
	return true
}

func (u *turn) tag() string { return u.sent.Frames[len(u.sent.Frames)-1].Tag }

// isLast reports whether no challenge follows.
func (u *turn) isLast() bool { return len(u.t.steps)+1 == len(u.t.plan) }

// accept ends a turn whose step is as it was asked for, and tells the next task. REQUIRES: it is not the last. Errors: errNoTry.
func (s *tries) accept(u *turn, step extract.Step, prints []print, now time.Time) (*taskBody, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lostLocked(u) {
		return nil, errNoTry
	}
	t := u.t
	t.steps, t.prints = append(t.steps, step), append(t.prints, prints...)
	if t.task.kind == extract.Centre {
		t.base, t.photos = baseOf(step), append(t.photos, u.sent.data)
	} else {
		t.photos = append(t.photos, nil)
		u.sent.wipe()
		s.giveLocked(u.v, u.sent.size())
		u.bytes -= u.sent.size()
	}
	return s.nextLocked(u, t.task.n+1, now), nil
}

// nextLocked tells the try's next task, and notes what the turn's frames made of the chain.
func (s *tries) nextLocked(u *turn, n int, now time.Time) *taskBody {
	t := u.t
	t.task = newTask(t.plan[n], n, t.slower, now)
	t.chain, t.skew, t.busy, t.touched = u.chain, u.skew, false, now
	s.noteSumsLocked(u)
	return t.task.body(len(t.plan))
}

// noteSumsLocked remembers the frames that came.
func (s *tries) noteSumsLocked(u *turn) {
	for _, sum := range u.sent.sums {
		u.v.sums[sum] = true
	}
}

// repeat ends a turn whose step is not as it was asked for, and tells the challenge again; nil if that was too often: then end follows. Errors: errNoTry.
func (s *tries) repeat(u *turn, now time.Time) (*taskBody, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lostLocked(u) {
		return nil, errNoTry
	}
	if u.t.again++; u.t.again > maxAgain {
		return nil, nil
	}
	u.sent.wipe()
	s.giveLocked(u.v, u.bytes-int64(len(u.sent.sums))*sha256.Size)
	return s.nextLocked(u, u.t.task.n, now), nil
}

// end ends a turn's try.
func (s *tries) end(u *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.sent.wipe()
	if !s.lostLocked(u) {
		s.noteSumsLocked(u)
		u.t.busy = false
		s.endLocked(u.v)
	}
}

// answer notes what a turn was answered, for who asks again.
func (s *tries) answer(u *turn, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u.v.answered = reply{u.tag(), value}
}

// change changes the task of a try that is under way. Errors: errNoTry, errStepBusy, f's.
func (s *tries) change(at place, now time.Time, f func(v *visitor, t *try) error) (*taskBody, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.mu.of[at]
	switch {
	case v == nil || v.try == nil:
		return nil, errNoTry
	case v.try.busy:
		return nil, errStepBusy
	}
	if err := f(v, v.try); err != nil {
		return nil, err
	}
	v.try.touched = now
	return v.try.task.body(len(v.try.plan)), nil
}

// alternative tells another challenge instead of the one that is on, and which that was. Errors: errNoTry, errStepBusy, errNoOther.
func (s *tries) alternative(at place, x *Session, now time.Time) (told *taskBody, cannot extract.Challenge, err error) {
	told, err = s.change(at, now, func(v *visitor, t *try) error {
		cannot = t.task.kind
		if cannot == extract.Centre || max(x.Alternatives, len(v.avoid)) >= maxAlternatives {
			return errNoOther
		}
		kinds := kindsOf(x)
		kinds = slices.DeleteFunc(kinds, func(k extract.Challenge) bool { return slices.Contains(v.avoid, k) })
		plan, ok := replace(t.plan, t.task.n, instead(t.plan, cannot, kinds))
		if !ok {
			return errNoOther
		}
		v.avoid = append(v.avoid, t.task.kind)
		t.plan, t.task = plan, newTask(plan[t.task.n], t.task.n, t.slower, now)
		return nil
	})
	return told, cannot, err
}

// slow gives the task that is on, and those that follow, more time, from now on. Errors: errNoTry, errStepBusy.
func (s *tries) slow(at place, now time.Time) (*taskBody, error) {
	return s.change(at, now, func(_ *visitor, t *try) error {
		if !t.slower {
			t.slower, t.task.released, t.task.window = true, now, slowly*t.task.window
		}
		return nil
	})
}

// watch is what a picture is looked at for; false if nothing is on, its time is over, or another picture is being looked at. REQUIRES: unwatch follows if ok.
func (s *tries) watch(at place, n int, now time.Time) (kind extract.Challenge, base *extract.Face, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.mu.of[at]
	if v == nil || v.try == nil || v.try.busy || v.looking || v.try.task.n != n || now.Sub(v.try.task.released) > v.try.task.window {
		return "", nil, false
	}
	v.looking, v.try.touched = true, now
	if b := &v.try.base; len(v.try.steps) > 0 {
		base = &extract.Face{Box: b.Box, Pose: b.Pose, Five: b.Five, Landmarks: b.Landmarks, EyesOpen: b.EyesOpen} // nothing that is wiped meanwhile
	}
	return v.try.task.kind, base, true
}

func (s *tries) unwatch(at place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.mu.of[at]; v != nil {
		v.looking = false
	}
}
