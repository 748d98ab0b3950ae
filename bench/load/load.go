package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// Answer is what became of a request.
type Answer struct {
	Status int    // of HTTP; 0: there was no answer
	Code   string // why there was none, or the server's reason for a refusal; may be empty
}

// Codes of requests without an answer.
const (
	NotSent    = "not_sent"   // no sender was free within Timeout
	TimedOut   = "timeout"    // no answer within Timeout from sending it
	Connection = "connection" // the connection could not be opened, or broke
)

// Operation is one kind of request.
type Operation struct {
	Name   string
	Weight float64 // its share of the arrivals, relative to the others'; more than 0
	// Do sends request number n, counted over all operations, and waits for the answer, until ctx ends. It is called from Concurrency goroutines at once.
	Do func(ctx context.Context, n int) Answer
}

// Config says what Run sends.
type Config struct {
	Operations  []Operation
	Rate        float64       // arrivals a second; 0: a closed loop, whose every sender asks again when it was answered
	Poisson     bool          // arrivals are independent of each other; false: equally spaced
	Duration    time.Duration // of the schedule; 10 s
	Concurrency int           // requests in flight at most, each a goroutine; 64
	Timeout     time.Duration // of a request: to be sent, and again to be answered; 10 s
	Seed        uint64        // of the order of the operations and of Poisson's arrivals; 1

	pause func() (pauser, error) // default newPauser; tests wait on another clock
}

// ErrConfig says that a Config's numbers are out of range.
var ErrConfig = errors.New("load: configuration")

// maxConcurrency is what a machine's ports and open files bear.
const maxConcurrency = 1 << 14

func (c Config) withDefaults() Config {
	c.Duration, c.Timeout = cmp.Or(c.Duration, 10*time.Second), cmp.Or(c.Timeout, 10*time.Second)
	c.Concurrency, c.Seed = cmp.Or(c.Concurrency, 64), cmp.Or(c.Seed, 1)
	if c.pause == nil {
		c.pause = newPauser
	}
	return c
}

func (c Config) validate() error {
	for _, o := range c.Operations {
		if !(o.Weight > 0 && o.Weight <= math.MaxFloat32) || o.Do == nil {
			return fmt.Errorf("%w: operation %q of weight %v", ErrConfig, o.Name, o.Weight)
		}
	}
	switch {
	case len(c.Operations) == 0:
		return fmt.Errorf("%w: no operations", ErrConfig)
	case !(c.Rate >= 0 && c.Rate <= 1e7) || c.Rate == 0 && c.Poisson:
		return fmt.Errorf("%w: rate %v, Poisson %v", ErrConfig, c.Rate, c.Poisson)
	case c.Duration < 0 || c.Timeout < 0 || c.Concurrency < 1 || c.Concurrency > maxConcurrency:
		return fmt.Errorf("%w: duration %v, timeout %v, concurrency %d", ErrConfig, c.Duration, c.Timeout, c.Concurrency)
	}
	return nil
}

// pauser waits for a moment. Used by one goroutine.
type pauser interface {
	// until returns at t, at once if it is past, or when ctx ends.
	until(ctx context.Context, t time.Time)
	Close() error
}

// run is one call of Run.
type run struct {
	Config
	schedule *schedule
	start    time.Time

	mu      sync.Mutex // guards tallies: an addition takes less than a thousandth of a request
	tallies []tally    // by operation
}

// Run sends what the schedule says and reports what came of it, after the last answer. When ctx ends it reports what was
// answered until then, with ctx's error. Errors: ErrConfig, ctx's, those of the machine's timers.
func Run(ctx context.Context, c Config) (Report, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return Report{}, err
	}
	r := &run{Config: c, schedule: newSchedule(c), start: time.Now(), tallies: make([]tally, len(c.Operations))}
	errs := make([]error, c.Concurrency)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = r.send(ctx) })
	}
	wg.Wait()
	return r.report(time.Since(r.start)), cmp.Or(ctx.Err(), errors.Join(errs...))
}

// send is one sender: it takes what is due next, waits for the moment, asks and counts.
func (r *run) send(ctx context.Context) (err error) {
	p, err := r.pause()
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	for {
		a, ok := r.schedule.take(time.Since(r.start))
		if !ok {
			return nil
		}
		due := r.start.Add(a.at)
		p.until(ctx, due)
		wait := time.Since(due)
		answer := r.ask(ctx, a, wait)
		if ctx.Err() != nil {
			return nil // nobody's answer
		}
		r.count(a, answer, wait, time.Since(due))
	}
}

func (r *run) ask(ctx context.Context, a arrival, wait time.Duration) Answer {
	if wait >= r.Timeout {
		return Answer{Code: NotSent}
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return r.Operations[a.op].Do(ctx, a.n)
}

func (r *run) count(a arrival, answer Answer, wait, latency time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tallies[a.op].add(answer, wait, latency)
}
