package capture

import (
	"errors"
	"slices"
	"strings"
	"time"

	"mien/extract"
	"mien/http/dialect"
)

// Operations of tries.
const (
	opStart       = "captureStart"
	opLook        = "captureLook"
	opStep        = "captureStep"
	opAlternative = "captureAlternative"
	opSlower      = "captureSlower"
)

// Why a try fails, as the page is told it. Beside the words of errTooSlow, errTooFast and errDamaged.
const (
	trySeveral     = "several_people"
	tryFaceLost    = "face_lost"
	tryNoChallenge = "no_challenge"
)

// startBody is a try as the page is told it.
type startBody struct {
	Session string    `json:"session"` // of the try, for the page's own use
	Key     []byte    `json:"key"`     // of its chain; base64
	Step    *taskBody `json:"step"`
}

// start begins a try.
func (s *Service) start(c *dialect.Call, x *Session) (dialect.Answer, error) {
	var spec struct {
		Camera *cameraSpec `json:"camera"`
	}
	if err := c.DecodeNative(&spec); err != nil {
		return dialect.Answer{}, err
	}
	unlock, err := s.lockRunning(c, x.ID) // what is being decided is waited for
	if err != nil {
		return dialect.Answer{}, err
	}
	defer unlock()
	at := place{c.Key.Tenant, x.ID}
	if err := s.tries.admit(at, x.Ends); err != nil { // before it counts
		return dialect.Answer{}, err
	}
	now, err := s.countStart(c, x.ID)
	if err != nil {
		return dialect.Answer{}, err
	}
	t, err := s.tries.begin(at, &now, spec.Camera.isVirtual(), s.engine.Now())
	if err != nil {
		return dialect.Answer{}, err
	}
	return dialect.JSON(200, startBody{t.id, t.chain.key[:], t.task.body(len(t.plan))}), nil
}

// countStart counts a try that is begun; one too many ends the session. REQUIRES: the session's lock. Errors: errOver, the engine's.
func (s *Service) countStart(c *dialect.Call, id string) (Session, error) {
	x, err := s.record(c.Ctx, c.Key.Tenant, id)
	if err != nil {
		return Session{}, err
	}
	if x.Starts >= maxStarts {
		now, err := s.settle(c, id, ending{status: StatusFail, reason: ReasonCaptureFailed, audit: "capture.session.try", note: "starts"})
		if err == nil {
			err = errOver(&now)
		}
		return Session{}, err
	}
	return s.change(c.Ctx, c.Key.Tenant, id, "", "", func(x *Session, _ time.Time) error {
		x.Starts++
		return nil
	})
}

// cameraSpec is what the browser says of its camera. Whoever makes the request chooses it, so it decides nothing: a label that gives a program away is recorded.
type cameraSpec struct {
	Label  *string  `json:"label"`
	Width  *float64 `json:"width"`
	Height *float64 `json:"height"`
	Rate   *float64 `json:"frame_rate"`
}

// virtualCameras are in the labels of programs that are cameras: what they show comes from anywhere.
var virtualCameras = []string{"virtual", "obs", "manycam", "xsplit", "snap camera", "v4l2loopback", "splitcam", "youcam", "mmhmm", "avatarify", "deep"}

// isVirtual reports whether the label is that of a program.
func (c *cameraSpec) isVirtual() bool {
	if c == nil || c.Label == nil {
		return false
	}
	label := strings.ToLower(*c.Label)
	return slices.ContainsFunc(virtualCameras, func(name string) bool { return strings.Contains(label, name) })
}

// stepAnswer is what the page is told of a step: one of its fields.
type stepAnswer struct {
	Step   *taskBody   `json:"step,omitempty"`
	Again  *taskBody   `json:"again,omitempty"`
	Hints  []string    `json:"hints,omitempty"` // with Again
	Failed *failedBody `json:"failed,omitempty"`
}

// failedBody is a try that failed, in a session that goes on.
type failedBody struct {
	Reason    string   `json:"reason"`
	TriesLeft int      `json:"tries_left"`
	Hints     []string `json:"hints"`
}

// step judges the frames of the step that is on.
func (s *Service) step(c *dialect.Call, x *Session) (dialect.Answer, error) {
	arrived := s.engine.Now() // before the body has come: that takes as long as the line is slow
	body, err := c.Body()
	if err != nil {
		return dialect.Answer{}, err
	}
	sent, err := parseStep(c.Header("Content-Type"), body)
	clear(body)
	if err != nil {
		return dialect.Answer{}, err
	}
	u, answered, err := s.tries.take(place{c.Key.Tenant, x.ID}, sent, arrived)
	if u == nil {
		sent.wipe()
		return dialect.JSON(200, answered), err
	}
	value, err := s.judge(c, x, u)
	if err != nil {
		s.tries.leave(u)
		return dialect.Answer{}, err
	}
	s.tries.answer(u, value)
	return dialect.JSON(200, value), nil
}

// judge ends a turn and returns what it is answered; after an error it is still to be ended.
func (s *Service) judge(c *dialect.Call, x *Session, u *turn) (any, error) {
	if u.failed != nil {
		return s.fail(c, x, u, failureOf(u.failed, u.task.kind))
	}
	looks, err := s.lookAll(c, x, u.sent.data, extract.WantTemplate|extract.WantQuality|extract.WantLiveness)
	if errors.Is(err, errDamaged) {
		return s.fail(c, x, u, failureOf(errNoJPEG, u.task.kind))
	}
	if err != nil {
		return nil, err
	}
	step, why, hints := u.assemble(looks)
	if why == "" {
		why, hints = u.lacks(step)
	}
	if why != "" {
		wipeShots(step.Shots)
		return s.repeat(c, x, u, failure{reason: why, hints: hints, words: append([]string{string(u.task.kind)}, hints...)})
	}
	if u.task.kind != extract.Flash { // whose colours are judged again with the whole
		wipeCrops(step.Shots)
	}
	return s.accept(c, x, u, step, looks)
}

// lacks says why a step is not what was asked for: tryQuality of the first, tryNoChallenge of others, and a hint at least; "" where it is.
func (u *turn) lacks(step extract.Step) (why string, hints []string) {
	base, why := u.t.base, tryNoChallenge
	if u.task.n == 0 {
		base, why = baseOf(step), tryQuality
	}
	ok, hints := extract.PresentationPolicy{}.Satisfied(base, step)
	switch {
	case ok:
		return "", nil
	case len(hints) == 0:
		return why, []string{hintHoldStill}
	}
	return why, hints[:min(len(hints), maxHints)]
}

const wordDamaged = "frames_damaged"

// failureOf is an error of a turn as the page is told it, and as it is recorded.
func failureOf(err error, kind extract.Challenge) failure {
	word, what, _ := strings.Cut(err.Error(), ": ")
	f := failure{reason: word, words: []string{string(kind)}}
	if what != "" {
		f.words = append(f.words, what)
	}
	return f
}

// assemble makes a step of what was found on its frames. Where one shows no face, or somebody else too, there is none: why is tryFaceLost or trySeveral, and hints are those of the
// first such frame.
func (u *turn) assemble(looks []look) (step extract.Step, why string, hints []string) {
	step.Challenge = u.task.kind
	for i, l := range looks {
		switch {
		case l.face == nil:
			return step, tryFaceLost, l.hints(u.task.kind, nil)
		case l.several():
			return step, trySeveral, l.hints(u.task.kind, nil)
		}
		shot := extract.Shot{Face: *l.face, At: milliseconds(u.sent.Frames[i].T)}
		if u.task.kind == extract.Flash {
			c := u.colourOf(i)
			if c == nil { // it is of before the colours
				continue
			}
			shot.Colour = [3]float32{float32(c[0]), float32(c[1]), float32(c[2])}
			shot.Around = l.picture.around(l.face.Box)
		}
		step.Shots = append(step.Shots, shot)
	}
	return step, "", nil
}

// colourOf is what the screen showed on a frame; nil: nothing of the task's.
func (u *turn) colourOf(frame int) *colour {
	if c := u.sent.Frames[frame].Colour; c != nil && *c >= 0 && *c < len(u.task.colours) {
		return &u.task.colours[*c]
	}
	return nil
}

// repeat asks for a challenge again, or ends the try as f says if that was too often.
func (s *Service) repeat(c *dialect.Call, x *Session, u *turn, f failure) (any, error) {
	task, err := s.tries.repeat(u, s.engine.Now())
	if err != nil || task != nil {
		return stepAnswer{Again: task, Hints: f.hints}, err
	}
	return s.fail(c, x, u, f)
}

// accept goes on to the next challenge, or judges the try.
func (s *Service) accept(c *dialect.Call, x *Session, u *turn, step extract.Step, looks []look) (any, error) {
	pictures := make([]*picture, len(looks))
	for i := range looks {
		pictures[i] = looks[i].picture
	}
	prints, err := s.seen.prints(c.Ctx, c.Key.Tenant, pictures)
	if err != nil {
		return nil, err
	}
	if u.isLast() {
		return s.present(c, x, u, append(slices.Clone(u.t.steps), step), append(slices.Clone(u.t.prints), prints...))
	}
	task, err := s.tries.accept(u, step, prints, s.engine.Now())
	return stepAnswer{Step: task}, err
}

// present judges a try of which all steps are there.
func (s *Service) present(c *dialect.Call, x *Session, u *turn, steps []extract.Step, prints []print) (any, error) {
	replayed, err := s.seen.note(c.Ctx, c.Key.Tenant, x.ID, prints)
	if err != nil {
		return nil, err
	}
	p := extract.Present(steps, extract.PresentationPolicy{})
	f := failure{reason: pageReason(p.Reasons), words: p.Reasons}
	if replayed >= leastReplayed {
		p.Verdict, f.reason, f.words = extract.Spoof, wordDamaged, append([]string{"replay"}, p.Reasons...)
	}
	shown := presentation{verdict: string(p.Verdict), reasons: append(f.words, u.circumstances(x)...)}
	if p.Verdict == extract.Live {
		shown.best = u.t.photos[p.Best.Step][p.Best.Shot]
	}
	now, failed, err := s.finish(c, x, shown)
	if err != nil {
		return nil, err
	}
	if p.Verdict == extract.Live {
		f.reason = failed
	}
	wipeShots(steps[len(steps)-1].Shots)
	return s.close(u, &now, f), nil
}

// pageReason is why a presentation is not live, as the page is told it.
func pageReason(reasons []string) string {
	for _, r := range []string{extract.ReasonNotLive, extract.ReasonSeveralPeople, extract.ReasonNoChallenge} {
		if slices.Contains(reasons, r) {
			return r
		}
	}
	if slices.Contains(reasons, extract.ReasonNoFrontal) {
		return tryQuality
	}
	return tryUncertain
}

// circumstances are for the record: what the person asked for to be able to do it, and a camera that says that it is none.
func (u *turn) circumstances(x *Session) (words []string) {
	if u.t.virtual {
		words = append(words, "virtual_camera")
	}
	if u.t.slower {
		words = append(words, "slower")
	}
	if x.Alternatives > 0 || u.sent.Alternative {
		words = append(words, "alternative")
	}
	return words
}

// failure is why a try failed.
type failure struct {
	reason string
	words  []string // beside it, for the record
	hints  []string
}

// fail counts a try that failed before its presentation was judged. What it had shown is remembered all the same.
func (s *Service) fail(c *dialect.Call, x *Session, u *turn, f failure) (any, error) {
	if len(u.t.prints) > 0 {
		if _, err := s.seen.note(c.Ctx, c.Key.Tenant, x.ID, u.t.prints); err != nil {
			return nil, err
		}
	}
	now, err := s.failTry(c, x, f.reason, presentation{reasons: f.words})
	if err != nil {
		return nil, err
	}
	return s.close(u, &now, f), nil
}

// close ends a turn whose try has ended, and says how the session goes on.
func (s *Service) close(u *turn, now *Session, f failure) any {
	s.tries.end(u)
	if now.over() {
		return doneBody{true, now.redirect()}
	}
	if f.hints == nil {
		f.hints = []string{}
	}
	return stepAnswer{Failed: &failedBody{f.reason, max(now.MaxTries-now.Tries, 0), f.hints}}
}

// alternative tells another challenge, which is recorded.
func (s *Service) alternative(c *dialect.Call, x *Session) (dialect.Answer, error) {
	if err := takesNothing(c); err != nil {
		return dialect.Answer{}, err
	}
	task, instead, err := s.tries.alternative(place{c.Key.Tenant, x.ID}, x, s.engine.Now())
	if err != nil {
		return dialect.Answer{}, err
	}
	_, err = s.change(c.Ctx, c.Key.Tenant, x.ID, "capture.session.try", note("alternative", string(instead)), func(x *Session, _ time.Time) error {
		if x.over() {
			return errOver(x)
		}
		x.Alternatives++
		return nil
	})
	return dialect.JSON(200, stepAnswer{Step: task}), err
}

// slower gives the person more time for the rest of the session, which is recorded.
func (s *Service) slower(c *dialect.Call, x *Session) (dialect.Answer, error) {
	if err := takesNothing(c); err != nil {
		return dialect.Answer{}, err
	}
	task, err := s.tries.slow(place{c.Key.Tenant, x.ID}, s.engine.Now())
	if err != nil || x.Slower {
		return dialect.JSON(200, stepAnswer{Step: task}), err
	}
	_, err = s.change(c.Ctx, c.Key.Tenant, x.ID, "capture.session.try", "slower", func(x *Session, _ time.Time) error {
		if x.over() {
			return errOver(x)
		}
		x.Slower = true
		return nil
	})
	return dialect.JSON(200, stepAnswer{Step: task}), err
}

// tryRoutes are the operations of tries.
func (s *Service) tryRoutes() []dialect.Route {
	return []dialect.Route{
		s.running("start", opStart, s.start), s.running("look", opLook, s.look), s.running("step", opStep, s.step),
		s.running("alternative", opAlternative, s.alternative), s.running("slower", opSlower, s.slower),
	}
}
