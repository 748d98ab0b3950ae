package load

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// config is a schedule on the bubble's clock.
func config(rate float64, do func(ctx context.Context, n int) Answer) Config {
	return Config{
		Operations: []Operation{{"op", 1, do}}, Rate: rate, Duration: 10 * time.Second, Concurrency: 100,
		pause: func() (pauser, error) { return sleeper{}, nil },
	}
}

// after answers a request after d, unless its time is over before.
func after(ctx context.Context, d time.Duration, status int) Answer {
	sleeper{}.until(ctx, time.Now().Add(d))
	if ctx.Err() != nil {
		return Answer{Code: TimedOut}
	}
	return Answer{Status: status}
}

func mustRun(t *testing.T, c Config) Report {
	t.Helper()
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// near holds a figure of a histogram, which is never below the true one, against that one.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(got >= want*(1-1e-9) && got <= want*(1+1.0/128)+1e-9) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// Of 1,000 requests 889 take 1 ms, 100 take 20, 10 take 80 and one takes 300.
func TestPercentiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := mustRun(t, config(100, func(ctx context.Context, n int) Answer {
			switch {
			case n == 500:
				return after(ctx, 300*time.Millisecond, 200)
			case n%100 == 7:
				return after(ctx, 80*time.Millisecond, 200)
			case n%10 == 3:
				return after(ctx, 20*time.Millisecond, 200)
			}
			return after(ctx, time.Millisecond, 200)
		}))
		l := r.All.Latency
		if l.N != 1000 || r.All.Answered != 1000 || r.All.Refused+r.All.Failed != 0 {
			t.Fatalf("%+v", r.All)
		}
		near(t, "p50", l.P50, 1)
		near(t, "p90", l.P90, 20)
		near(t, "p99", l.P99, 80)
		near(t, "p99.9", l.P999, 80)
		near(t, "max", l.Max, 300)
		near(t, "max of waits", r.All.Waits.Max, 0)
		near(t, "rate", r.All.PerSecond, 100)
	})
}

// The server stands still from second 5 on for 100 ms. Every request that is due in that time waits for the rest of it,
// whether there are senders for all of them or one.
func TestStallShowsInWhatWasDueMeanwhile(t *testing.T) {
	for _, concurrency := range []int{1, 100} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			c := config(1000, func(ctx context.Context, _ int) Answer {
				if since := time.Since(start) - 5*time.Second; since >= 0 && since < 100*time.Millisecond {
					return after(ctx, 100*time.Millisecond-since, 200)
				}
				return Answer{Status: 200}
			})
			c.Concurrency = concurrency
			r := mustRun(t, c)
			near(t, "max", r.All.Latency.Max, 100)
			near(t, "p99.9", r.All.Latency.P999, 90) // of 10,000, 10 are above: 100, 99, …, 91
			near(t, "p99", r.All.Latency.P99, 0)     // 100 are above: 100, …, 1
			if r.All.Latency.P50 != 0 {
				t.Errorf("p50 %v: nothing else stands still", r.All.Latency.P50)
			}
			if waited := r.All.Waits.Max; waited > 99*(1+1.0/128) || (concurrency == 1) != (waited > 1) {
				t.Errorf("%d senders: the longest wait for one is %v ms", concurrency, waited)
			}
		})
	}
}

func TestRates(t *testing.T) {
	for _, poisson := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var at []float64
			start := time.Now()
			c := config(500, func(context.Context, int) Answer {
				at = append(at, time.Since(start).Seconds())
				return Answer{Status: 200}
			})
			c.Poisson, c.Concurrency = poisson, 1
			r := mustRun(t, c)
			if n := float64(len(at)); n != float64(r.All.Answered) || math.Abs(n-5000) > 5*math.Sqrt(5000) || !poisson && n != 5000 {
				t.Errorf("%v arrivals, %d answered", n, r.All.Answered)
			}
			if !slices.IsSorted(at) || at[len(at)-1] >= 10 {
				t.Errorf("arrivals are out of order, or after the end")
			}
			// Gaps of a Poisson process are exponential: their deviation is their mean. Equal ones have none.
			var sum, squares float64
			for i := range at[1:] {
				gap := at[i+1] - at[i]
				sum, squares = sum+gap, squares+gap*gap
			}
			mean := sum / float64(len(at)-1)
			variation := math.Sqrt(max(squares/float64(len(at)-1)-mean*mean, 0)) / mean
			if want := map[bool]float64{false: 0, true: 1}[poisson]; math.Abs(variation-want) > 0.1 {
				t.Errorf("Poisson %v: the gaps' coefficient of variation is %v", poisson, variation)
			}
		})
	}
}

// 1,000 a second that take 100 ms each need 100 at once. With 10, a hundred a second are answered as long as there are any
// who have waited for less than 2 s, until second 7; the others aren't sent.
func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		c := config(1000, func(ctx context.Context, _ int) Answer {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			return after(ctx, 100*time.Millisecond, 200)
		})
		c.Concurrency, c.Timeout, c.Duration = 10, 2*time.Second, 5*time.Second
		start := time.Now()
		r := mustRun(t, c)
		if most.Load() != 10 {
			t.Errorf("%d were in flight at most, want 10", most.Load())
		}
		if d := time.Since(start); d > c.Duration+2*c.Timeout {
			t.Errorf("it took %v: the backlog outlasts the schedule by more than two timeouts", d)
		}
		if a := r.All; a.Answered+a.Failed != 5000 || a.Codes[NotSent] == 0 || a.Codes[NotSent] != int(a.Failed) || a.Answered < 690 || a.Answered > 710 {
			t.Errorf("%+v", a)
		}
		if l := r.All.Latency; l.Max > 2100 || l.P90 < 1900 {
			t.Errorf("latencies of what was answered: %+v", l)
		}
	})
}

func TestErrorsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []Answer{{200, ""}, {201, ""}, {429, "slow_down"}, {503, "overloaded"}, {422, "no_face"}, {500, ""}, {0, Connection}, {503, "overloaded"}}
		c := config(80, func(_ context.Context, n int) Answer { return answers[n%len(answers)] })
		c.Timeout = time.Second // 40 hang at once
		c.Operations = append(c.Operations, Operation{"slow", 1, func(ctx context.Context, _ int) Answer { return after(ctx, time.Hour, 200) }})
		r := mustRun(t, c)
		op, slow := r.Operations[0], r.Operations[1]
		if slow.Failed != uint64(slow.Codes[TimedOut]) || slow.Failed < 300 || slow.Latency.N != 0 {
			t.Errorf("slow: %+v", slow)
		}
		total := op.Answered + op.Refused + op.Failed
		if total+slow.Failed != 800 || op.Latency.N != op.Answered || op.Refusal.N != op.Refused {
			t.Errorf("%+v", r)
		}
		sum := 0
		for code, n := range op.Codes {
			if !slices.Contains([]string{"429 slow_down", "503 overloaded", "422 no_face", "500", Connection}, code) {
				t.Errorf("code %q", code)
			}
			sum += n
		}
		if uint64(sum) != op.Refused+op.Failed || op.Codes["429 slow_down"]+op.Codes["503 overloaded"] != int(op.Refused) {
			t.Errorf("%+v", op)
		}
		if a := r.All; a.Answered != op.Answered || a.Failed != op.Failed+slow.Failed || a.Codes["500"] != op.Codes["500"] {
			t.Errorf("%+v", a)
		}
	})
}

func TestWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(1000, func(context.Context, int) Answer { return Answer{Status: 200} })
		c.Operations = append(c.Operations, Operation{"more", 4, c.Operations[0].Do})
		r := mustRun(t, c)
		if n := r.Operations[1].Answered; n < 7800 || n > 8200 {
			t.Errorf("%d of 10,000 are of the operation that four of five should be of", n)
		}
	})
}

// A closed loop asks again when it was answered: a slow answer delays the next and makes it no later.
func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := config(0, func(ctx context.Context, _ int) Answer { return after(ctx, 10*time.Millisecond, 200) })
		c.Concurrency = 4
		r := mustRun(t, c)
		near(t, "p50", r.All.Latency.P50, 10)
		near(t, "max", r.All.Latency.Max, 10)
		near(t, "rate", r.All.PerSecond, 400)
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		start := time.Now()
		r, err := Run(ctx, config(10, func(ctx context.Context, n int) Answer {
			if n == 3 {
				<-ctx.Done()
				return Answer{Code: TimedOut}
			}
			return Answer{Status: 200}
		}))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 1500*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if a := r.All; a.Answered != 14 && a.Answered != 15 || a.Failed != 0 { // of 0, 0.1, …, 1.5 s without the third
			t.Errorf("%+v", a)
		}
	})
}

// A server of 4 places and 10 ms each bears 400 a second.
func TestRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		places := make(chan struct{}, 4)
		c := RampConfig{Config: config(100, func(ctx context.Context, _ int) Answer {
			places <- struct{}{}
			defer func() { <-places }()
			return after(ctx, 10*time.Millisecond, 200)
		}), Factor: 1.5, P99: 25 * time.Millisecond}
		told := 0
		c.Progress = func(Report) { told++ }
		curve, err := Ramp(t.Context(), c)
		if err != nil || len(curve.Steps) != 5 || curve.Kept != 337.5 || told != 5 || curve.Why[:3] != "p99" {
			t.Errorf("%v: %d steps, %v kept, %d told, %s", err, len(curve.Steps), curve.Kept, told, curve.Why)
		}
		c.Operations[0].Do = func(context.Context, int) Answer { return Answer{Status: 503} }
		if curve, err := Ramp(t.Context(), c); err != nil || curve.Kept != 0 || len(curve.Steps) != 1 || curve.Why != "1000 requests were refused and 0 failed" {
			t.Errorf("%v: %+v", err, curve)
		}
		c.Operations[0].Do = func(context.Context, int) Answer { return Answer{Status: 200} }
		c.Steps = 3
		if curve, err := Ramp(t.Context(), c); err != nil || curve.Kept != 225 || curve.Why != "3 steps were made" {
			t.Errorf("%v: %+v", err, curve)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	good := config(10, func(context.Context, int) Answer { return Answer{} })
	for name, spoil := range map[string]func(*RampConfig){
		"no operations":       func(c *RampConfig) { c.Operations = nil },
		"weight":              func(c *RampConfig) { c.Operations = []Operation{{"op", math.NaN(), good.Operations[0].Do}} },
		"rate":                func(c *RampConfig) { c.Rate = math.NaN() },
		"Poisson closed":      func(c *RampConfig) { c.Rate, c.Poisson = 0, true },
		"duration":            func(c *RampConfig) { c.Duration = -1 },
		"concurrency":         func(c *RampConfig) { c.Concurrency = maxConcurrency + 1 },
		"factor":              func(c *RampConfig) { c.Factor = 1 },
		"a ramp from nothing": func(c *RampConfig) { c.Rate = 0 },
	} {
		c := RampConfig{Config: good}
		spoil(&c)
		if _, err := Ramp(t.Context(), c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The machine's own clock: no moment is early, most are met to a quarter of what Go's timers are late by. Load from
// outside may delay any, not the best ones.
func TestPauser(t *testing.T) {
	p, err := newPauser()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	late := make([]time.Duration, 40)
	for i := range late {
		due := time.Now().Add(300 * time.Microsecond)
		p.until(t.Context(), due)
		if late[i] = time.Since(due); late[i] < 0 {
			t.Fatalf("%v early", -late[i])
		}
	}
	if slices.Sort(late); late[0] > time.Millisecond {
		t.Errorf("the best of %d pauses was %v late", len(late), late[0])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	start := time.Now()
	if p.until(ctx, start.Add(time.Hour)); time.Since(start) > 20*time.Second {
		t.Error("a pause outlasts its context")
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{0, 1, 255, 256, 257, 1e3, 1e6, 123456789, 1e10, math.MaxInt64} {
		b := bin(uint64(d))
		if top := upper(b); top < d || float64(top-d) > float64(d)/128 || b > 0 && upper(b-1) >= d {
			t.Errorf("%d is in bin %d, up to %d", d, b, top)
		}
	}
	if q := h.quantiles(); q != (Quantiles{}) {
		t.Errorf("of none: %+v", q)
	}
	for i := range 1000 {
		h.add(time.Duration(1000-i) * time.Millisecond)
	}
	for p, want := range map[float64]float64{0.001: 1, 0.5: 500, 0.999: 999, 1: 1000} {
		near(t, "quantile", h.quantile(p).Seconds()*1000, want)
	}
}
