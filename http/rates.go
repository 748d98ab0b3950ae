package http

import (
	"fmt"
	"math"
	"sync"
	"time"

	xrate "golang.org/x/time/rate"

	"mien/engine"
)

// rates has a token bucket for each key that has a limit: of the key's own rate, or of the server's for all (Config.KeyRate). Safe
// for concurrent use. A key in use costs some 150 bytes; full buckets are as new ones and swept away, so there are no more than
// twice those that were in use at the last sweep, and as many as the store has keys at most.
type rates struct {
	rate  float64 // of keys that state none, requests a second; 0: no limit
	burst int
	mu    struct {
		sync.RWMutex
		buckets map[string]*xrate.Limiter // by the key's id
		sweepAt int                       // length of buckets at which they are swept
	}
}

// firstSweep is how many buckets are kept without a look at which are full.
const firstSweep = 1024

func newRates(c Config) *rates {
	l := &rates{rate: c.KeyRate, burst: c.KeyBurst}
	l.mu.buckets, l.mu.sweepAt = make(map[string]*xrate.Limiter), firstSweep
	return l
}

// take takes a request of the key from its bucket. It allocates nothing but for the first of a key. Errors: the problem
// rate_limited.
func (l *rates) take(k *engine.Key, now time.Time) error {
	perSecond, burst := k.Rate, k.Burst
	if perSecond == 0 {
		perSecond, burst = l.rate, l.burst
	}
	if perSecond == 0 {
		return nil
	}
	b := l.bucket(k.ID, xrate.Limit(perSecond), burst, now)
	if b.AllowN(now, 1) {
		return nil
	}
	wait := time.Duration((1 - b.TokensAt(now)) / perSecond * float64(time.Second))
	return tooFast(perSecond, burst, wait)
}

func tooFast(perSecond float64, burst int, wait time.Duration) *problem {
	p := fail(codeRateLimited, "this key may make %v requests a second, %d at once: wait as long as Retry-After says, or spread the requests", perSecond, burst)
	p.retry = max(wait, 1)
	p.policy = fmt.Sprintf("%d;w=%.0f", burst, math.Ceil(float64(burst)/perSecond))
	return p
}

func (l *rates) bucket(id string, perSecond xrate.Limit, burst int, now time.Time) *xrate.Limiter {
	l.mu.RLock()
	b := l.mu.buckets[id]
	l.mu.RUnlock()
	if b != nil {
		return b
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if b = l.mu.buckets[id]; b != nil {
		return b
	}
	if len(l.mu.buckets) >= l.mu.sweepAt {
		l.sweepLocked(now)
	}
	b = xrate.NewLimiter(perSecond, burst)
	l.mu.buckets[id] = b
	return b
}

func (l *rates) sweepLocked(now time.Time) {
	for id, b := range l.mu.buckets {
		if b.TokensAt(now) >= float64(b.Burst()) {
			delete(l.mu.buckets, id)
		}
	}
	l.mu.sweepAt = max(2*len(l.mu.buckets), firstSweep)
}
