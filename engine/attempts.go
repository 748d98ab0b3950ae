package engine

import (
	"fmt"
	"sync"
	"time"
)

// Attempts bounds how often a verification of one person may fail: who may ask for ever finds a face that matches, or finds out the
// person's templates, question by question.
type Attempts struct {
	Failures int           // of one person in a window, by whichever keys; 0: no bound
	Window   time.Duration // from the first failure on
}

// Errors: ErrConfig.
func (a Attempts) validate() error {
	if a.Failures < 0 || a.Failures > 1e6 || a.Failures > 0 && (a.Window < time.Second || a.Window > MaxAttemptWindow) {
		return fmt.Errorf("%w: Attempts %+v: want failures from 0 to 1000000 in 1 s to %v", ErrConfig, a, MaxAttemptWindow)
	}
	return nil
}

// attempts counts failed verifications by person. Safe for concurrent use.
//
// It forgets nobody before the window is over, so nobody's count can be pushed out by failures of others; it has those people only
// who were enrolled when they failed, so it is bounded by the people of the store. A restart forgets all counts: that takes the
// server's operator, and a write for each failure would let who fails load the disk.
type attempts struct {
	limit Attempts
	now   func() time.Time
	mu    struct {
		sync.Mutex
		of      map[subject]failed
		sweepAt int // length of of at which counts that are over are swept
	}
}

// subject is a person, and stays one while the gallery is moved to another space.
type subject struct{ tenant, gallery, person string }

type failed struct {
	since time.Time
	n     int
}

const firstAttemptSweep = 1024

func newAttempts(limit Attempts, now func() time.Time) *attempts {
	a := &attempts{limit: limit, now: now}
	a.mu.of, a.mu.sweepAt = make(map[subject]failed), firstAttemptSweep
	return a
}

// settle decides whether a verification's answer may be told, when it is known and before it is told: of a person whose failures
// are used up none is, a match no more than a failure. It counts a failure. As both are one step, questions that are asked at once
// are counted as those that are asked in turns. A match takes no failure back: who has one photo that matches could ask between
// matches for ever. Errors: ErrAttempts.
func (a *attempts) settle(s subject, match bool) error {
	if a.limit.Failures == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	f, found := a.mu.of[s]
	if !found && match {
		return nil
	}
	now := a.now()
	if end := f.since.Add(a.limit.Window); found && !now.Before(end) {
		f, found = failed{}, false
		delete(a.mu.of, s)
	}
	if f.n >= a.limit.Failures {
		return &AttemptsError{Retry: f.since.Add(a.limit.Window).Sub(now)}
	}
	if match {
		return nil
	}
	if !found {
		a.sweepLocked(now)
		f.since = now
	}
	f.n++
	a.mu.of[s] = f
	return nil
}

func (a *attempts) sweepLocked(now time.Time) {
	if len(a.mu.of) < a.mu.sweepAt {
		return
	}
	for s, f := range a.mu.of {
		if now.Sub(f.since) >= a.limit.Window {
			delete(a.mu.of, s)
		}
	}
	a.mu.sweepAt = max(2*len(a.mu.of), firstAttemptSweep)
}

// AttemptsError is an ErrAttempts with the time until the person may be verified again.
type AttemptsError struct{ Retry time.Duration }

// Error says what to do.
func (e *AttemptsError) Error() string {
	return "too many verifications of this person have failed: the person can be verified again when Retry-After is over"
}

// Unwrap returns ErrAttempts.
func (e *AttemptsError) Unwrap() error { return ErrAttempts }
