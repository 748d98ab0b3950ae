package load

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// RampConfig says how Ramp raises the rate.
type RampConfig struct {
	Config               // Rate is the first, Duration each step's
	Factor float64       // from one rate to the next; 1.25
	P99    time.Duration // bound on the latency of 99 % of the answered; 50 ms
	Steps  int           // at most; 40

	// Progress, if not nil, is told of each step when it is over.
	Progress func(Report)
}

// Curve is what a server does at rising rates. It marshals to one JSON object.
type Curve struct {
	P99Ms float64  `json:"p99_bound_ms"`
	Steps []Report `json:"steps"`
	Kept  float64  `json:"kept_rate"` // the greatest that passed, 0: none
	Why   string   `json:"why"`       // it ended
}

func (c RampConfig) withDefaults() RampConfig {
	c.Factor, c.P99, c.Steps = cmp.Or(c.Factor, 1.25), cmp.Or(c.P99, 50*time.Millisecond), cmp.Or(c.Steps, 40)
	return c
}

// Ramp runs at Rate, Rate × Factor, Rate × Factor², … until the p99 passes its bound or a request is refused or fails.
// It returns the steps that were begun, the last of which is the one that did not pass. Errors: those of Run.
func Ramp(ctx context.Context, c RampConfig) (Curve, error) {
	c = c.withDefaults()
	curve := Curve{P99Ms: float64(c.P99.Microseconds()) / 1000, Steps: []Report{}}
	if !(c.Rate > 0) || !(c.Factor > 1) || c.P99 < 0 || c.Steps < 1 {
		return curve, fmt.Errorf("%w: a ramp from rate %v by %v, %d steps, p99 %v", ErrConfig, c.Rate, c.Factor, c.Steps, c.P99)
	}
	curve.Why = fmt.Sprintf("%d steps were made", c.Steps)
	for range c.Steps {
		r, err := Run(ctx, c.Config)
		if err != nil {
			return curve, err
		}
		curve.Steps = append(curve.Steps, r)
		if c.Progress != nil {
			c.Progress(r)
		}
		if why := r.fails(curve.P99Ms); why != "" {
			curve.Why = why
			break
		}
		curve.Kept = c.Rate
		c.Rate *= c.Factor
	}
	return curve, nil
}

// fails says why a step did not pass, or "".
func (r Report) fails(p99Ms float64) string {
	switch a := r.All; {
	case a.Refused+a.Failed > 0:
		return fmt.Sprintf("%d requests were refused and %d failed", a.Refused, a.Failed)
	case !(a.Latency.P99 <= p99Ms):
		return fmt.Sprintf("p99 is %.3g ms, more than %.3g", a.Latency.P99, p99Ms)
	}
	return ""
}
