package authface

import (
	"sync"
	"time"

	xrate "golang.org/x/time/rate"

	"mien/http/dialect"
)

// How often one session may be asked about: a person takes a minute before the camera, and its client need not know within the second.
const (
	pollRate  = 1 // requests a second
	pollBurst = 10
)

// polls has a token bucket for each session that was asked about of late. Full buckets are as new ones and swept away, so there are no more
// than twice those that were in use at the last sweep; and as buckets are of sessions that are there, as many as those at most. Safe for
// concurrent use.
type polls struct {
	mu struct {
		sync.Mutex
		buckets map[session]*xrate.Limiter
		sweepAt int // length of buckets at which they are swept
	}
}

// session is one of a tenant.
type session struct{ tenant, id string }

// firstSweep is how many buckets are kept without a look at which are full.
const firstSweep = 1024

func newPolls() *polls {
	p := new(polls)
	p.mu.buckets, p.mu.sweepAt = make(map[session]*xrate.Limiter), firstSweep
	return p
}

var errPolled = &dialect.Refusal{Code: "rate_limited", Detail: "this session is asked about too often: wait as long as Retry-After says"}

// take takes a request about a session from its bucket. Errors: errPolled.
func (p *polls) take(tenant, id string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := session{tenant, id}
	b := p.mu.buckets[at]
	if b == nil {
		if len(p.mu.buckets) >= p.mu.sweepAt {
			p.sweepLocked(now)
		}
		b = xrate.NewLimiter(pollRate, pollBurst)
		p.mu.buckets[at] = b
	}
	if !b.AllowN(now, 1) {
		return errPolled
	}
	return nil
}

func (p *polls) sweepLocked(now time.Time) {
	for at, b := range p.mu.buckets {
		if b.TokensAt(now) >= pollBurst {
			delete(p.mu.buckets, at)
		}
	}
	p.mu.sweepAt = max(2*len(p.mu.buckets), firstSweep)
}
