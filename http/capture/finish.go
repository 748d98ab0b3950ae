package capture

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"mien/engine"
	"mien/extract"
	"mien/http/dialect"
)

// Verdicts of a presentation.
const (
	verdictLive      = "live"
	verdictSpoof     = "spoof"
	verdictUncertain = "uncertain"
)

// presentation is what a try came to.
type presentation struct {
	verdict string   // verdictLive, verdictSpoof or verdictUncertain
	reasons []string // words without values, for the audit log
	best    []byte   // the photo that is matched, whole file; of a live one
}

// Reasons of a try that failed by what was presented.
const (
	tryNotLive   = "not_live"
	tryUncertain = "uncertain"
	tryQuality   = "quality"
)

// settleTimeout is how long an end may take to be written when the request that brought it is over.
const settleTimeout = 5 * time.Second

// finish ends a try: a live presentation is decided about, and its session ends; any other is a try that failed. Of several at the same time one is
// decided, and the others are refused as of a session that is over. tryFailed is why the try failed, "" if the session was decided. Errors: errExpired, errOver,
// those of the decision, after which the session goes on and the try counts for nothing.
func (s *Service) finish(c *dialect.Call, x *Session, p presentation) (now Session, tryFailed string, err error) {
	unlock, err := s.lockRunning(c, x.ID)
	if err != nil {
		return Session{}, "", err
	}
	defer unlock()
	switch p.verdict {
	case verdictLive:
	case verdictSpoof:
		now, err = s.countTry(c, x.ID, tryNotLive, p)
		return now, tryNotLive, err
	default:
		now, err = s.countTry(c, x.ID, tryUncertain, p)
		return now, tryUncertain, err
	}
	o, err := s.decide(c, *x, dialect.Photo{Data: p.best, Largest: true})
	if isQuality(err) {
		now, err = s.countTry(c, x.ID, tryQuality, p)
		return now, tryQuality, err
	}
	if err != nil {
		return Session{}, "", err
	}
	e := ending{status: StatusSuccess, outcome: o, liveness: verdictLive, audit: "capture.session.decide", note: note(p.reasons...), late: true}
	if !o.Result {
		e.status, e.reason = StatusFail, o.Reason
	}
	now, err = s.settle(c, x.ID, e)
	return now, "", err
}

// lockRunning locks a session that is in progress, and whose key has not been revoked meanwhile. Errors: errExpired, errOver, errNoSession, the engine's.
func (s *Service) lockRunning(c *dialect.Call, id string) (unlock func(), err error) {
	unlock, err = s.locks.lock(c.Ctx, c.Key.Tenant, id)
	if err != nil {
		return nil, err
	}
	x, err := s.record(c.Ctx, c.Key.Tenant, id)
	revoked := false
	if err == nil {
		revoked, err = s.isRevoked(c.Ctx, c.Key.Tenant, x.Key)
	}
	switch {
	case err != nil:
	case x.over():
		err = errOver(&x.Session)
	case revoked || x.statusAt(s.engine.Now()) == StatusExpired:
		err = errExpired
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// failTry counts a try that failed before it was judged; the last one ends the session. Errors: as finish.
func (s *Service) failTry(c *dialect.Call, x *Session, reason string, p presentation) (Session, error) {
	unlock, err := s.lockRunning(c, x.ID)
	if err != nil {
		return Session{}, err
	}
	defer unlock()
	return s.countTry(c, x.ID, reason, p)
}

// reasonOf is why a session fails whose last try failed so.
func reasonOf(try string) string {
	switch try {
	case tryNotLive:
		return ReasonLivenessSpoof
	case tryUncertain:
		return ReasonLivenessUncertain
	}
	return ReasonCaptureFailed
}

// countTry is failTry. REQUIRES: the session's lock.
func (s *Service) countTry(c *dialect.Call, id, reason string, p presentation) (Session, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Ctx), settleTimeout) // else who hangs up has tries without end
	defer cancel()
	now, err := s.change(ctx, c.Key.Tenant, id, "capture.session.try", note(append([]string{reason}, p.reasons...)...), func(x *Session, now time.Time) error {
		if x.over() {
			return errOver(x)
		}
		if x.Tries++; x.Tries >= x.MaxTries {
			x.Status, x.Reason, x.Liveness, x.Completed = StatusFail, reasonOf(reason), p.verdict, now
		}
		return nil
	})
	if err == nil && now.over() {
		s.over(ctx, c.Key.Tenant, now)
	}
	return now, err
}

// note is an audit record's, of words.
func note(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " ")
}

// isQuality reports whether a decision was refused because of the photo.
func isQuality(err error) bool {
	for _, bad := range []error{engine.ErrQuality, extract.ErrNoFace, extract.ErrSeveralFaces, extract.ErrFaceTooSmall, extract.ErrNotImage, extract.ErrTruncated, extract.ErrTooManyPixels} {
		if errors.Is(err, bad) {
			return true
		}
	}
	return false
}

// ending is how a session ends.
type ending struct {
	status   Status
	reason   string
	outcome  Outcome
	liveness string
	audit    string
	note     string
	late     bool // it was begun before the session's end, which may have come since
}

// errAsItWas says that a session has ended already. No client sees it.
var errAsItWas = errors.New("capture: the session has ended")

// end ends a session that has not ended, and answers it as it is then. Errors: errNoSession, the engine's.
func (s *Service) end(ctx context.Context, tenant, id string, e ending) (Session, error) {
	unlock, err := s.locks.lock(ctx, tenant, id)
	if err != nil {
		return Session{}, err
	}
	x, err := s.write(ctx, tenant, id, e)
	unlock()
	if err == errAsItWas {
		s.index.end(place{tenant, id}) // which may not have heard of it
		return s.Session(ctx, tenant, id)
	}
	return x, err
}

// settle writes what was decided, also when the request's time is over meanwhile. REQUIRES: the session's lock.
func (s *Service) settle(c *dialect.Call, id string, e ending) (Session, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Ctx), settleTimeout)
	defer cancel()
	return s.write(ctx, c.Key.Tenant, id, e)
}

// write writes a session's end, once: of a success whose person is gone, that nobody is enrolled. REQUIRES: the session's lock. Errors:
// errAsItWas, errNoSession, the engine's.
func (s *Service) write(ctx context.Context, tenant, id string, e ending) (Session, error) {
	x, err := s.changeAbout(ctx, tenant, id, e.options(), true, e.apply)
	if errors.Is(err, engine.ErrPersonNotFound) || errors.Is(err, engine.ErrGalleryNotFound) {
		if e.status == StatusSuccess {
			e.status, e.reason, e.outcome = StatusFail, ReasonNotEnrolled, Outcome{}
		}
		x, err = s.changeAbout(ctx, tenant, id, e.options(), false, e.apply)
	}
	if err != nil {
		return Session{}, err
	}
	s.over(ctx, tenant, x.Session)
	return x.Session, nil
}

func (e *ending) options() engine.DocumentOptions {
	return engine.DocumentOptions{Audit: e.audit, Note: note(string(e.status), e.reason, e.note)}
}

// apply ends a session that has not ended. Errors: errAsItWas.
func (e *ending) apply(x *record, now time.Time) error {
	if x.over() || x.Status == StatusExpired || !e.late && e.status != StatusExpired && x.statusAt(now) == StatusExpired {
		return errAsItWas
	}
	x.Status, x.Reason, x.Liveness, x.Score = e.status, e.reason, e.liveness, e.outcome.Score
	if x.Person == "" {
		x.Person = e.outcome.Person
	}
	if x.over() {
		x.Completed = now
	}
	return nil
}

// over notes that a session has ended, and tells its owner.
func (s *Service) over(ctx context.Context, tenant string, x Session) {
	s.index.end(place{tenant, x.ID})
	s.tries.forget(place{tenant, x.ID})
	s.ended(ctx, tenant, x)
}

// expiryPause is how often it is looked whose end has come. Nobody waits for it: a session that is past its end is expired for everyone.
const expiryPause = 10 * time.Second

// run notes the end of sessions until ctx ends.
func (s *Service) run(ctx context.Context) {
	t := time.NewTicker(expiryPause)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.expire(ctx)
			s.tries.sweep(s.engine.Now())
		case <-ctx.Done():
			return
		}
	}
}

// expire ends the sessions whose end has come: as expired, or as a success where the engine has done what they were for and a crash kept the session
// from saying so (C6).
func (s *Service) expire(ctx context.Context) {
	for _, at := range s.index.due(s.engine.Now()) {
		if ctx.Err() != nil {
			return
		}
		if s.locks.held(at.tenant, at.id) { // it is being decided
			continue
		}
		ctx := engine.WithActor(ctx, engine.Actor{Tenant: at.tenant, Program: Name})
		err := s.expireOne(ctx, at)
		switch {
		case errors.Is(err, errNoSession) || errors.Is(err, engine.ErrTenantNotFound):
			s.index.drop(at)
		case err != nil && ctx.Err() == nil && !errors.Is(err, engine.ErrClosed):
			s.log.Error("the end of a capture session can't be noted", "error", err)
		}
	}
}

func (s *Service) expireOne(ctx context.Context, at place) error {
	x, err := s.record(ctx, at.tenant, at.id)
	if err != nil {
		return err
	}
	e := ending{status: StatusExpired, audit: "capture.session.expire"}
	done, err := s.wasDone(ctx, at.tenant, &x.Session)
	if err != nil {
		return err
	}
	if done {
		e = ending{status: StatusSuccess, liveness: verdictLive, audit: "capture.session.decide", note: "after a restart", late: true}
	}
	_, err = s.end(ctx, at.tenant, at.id, e)
	return err
}
