package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mien/engine"
	"mien/engine/mpc"
)

// TestPoliciesText: what init writes is what a party reads, of each embedding space a policy and one for searches, and nobody is compared across spaces.
func TestPoliciesText(t *testing.T) {
	at := func(cosine float64) engine.Calibration {
		return engine.Calibration{Points: []engine.CalibrationPoint{{Cosine: cosine, FMR: 1e-4}, {Cosine: cosine + 0.1, FMR: 1e-6}}}
	}
	spaces := []engine.Space{{ID: "a", Dim: 128, Calibration: at(0.4)}, {ID: "b", Dim: 512, Calibration: at(0.3)}}
	for role, budgets := range map[mpc.Role]int{mpc.PartyRole(1): len(mpc.DefaultRecordBudget), mpc.GatewayRole(0): 0} {
		p, err := mpc.ParsePolicies([]byte(policiesText(spaces, role)))
		if err != nil || len(p.Policies) != 4 || len(p.Budgets.Record) != budgets {
			t.Fatalf("%s: %v %+v", role, err, p)
		}
		for id, s := range map[uint16]engine.Space{policiesOf(spaces)["a"]: spaces[0], policiesOf(spaces)["b"]: spaces[1]} {
			verify := p.Policies[id]
			search := p.Policies[verify.Gallery]
			if verify.Params.Dim != s.Dim || search.Params.Dim != s.Dim || search.Model != verify.Model ||
				verify.Cosine != s.Calibration.Points[0].Cosine || search.Cosine != s.Calibration.Points[1].Cosine {
				t.Errorf("%s, space %s: %+v, %+v", role, s.ID, verify, search)
			}
		}
		if p.Policies[1].Model == p.Policies[3].Model {
			t.Errorf("%s: two spaces are one model: %+v", role, p.Policies)
		}
	}
}

// refresher is a gateway whose next refreshes fail.
type refresher struct {
	start, last time.Time
	failures    int
	tries       []time.Duration // since the start
}

func (r *refresher) Refreshed() (time.Time, error) { return r.last, nil }

func (r *refresher) Refresh(context.Context) error {
	r.tries = append(r.tries, time.Since(r.start))
	if r.failures--; r.failures >= 0 {
		return errors.New("a party is away")
	}
	r.last = time.Now()
	return nil
}

// TestRefresh: shares are made anew when those of last time are old, whenever the server was started, and soon again when it came to nothing.
func TestRefresh(t *testing.T) {
	const every = 24 * time.Hour
	for name, c := range map[string]struct {
		age      time.Duration // of the shares at the start
		failures int
		want     []time.Duration
	}{
		"fresh":                  {0, 0, []time.Duration{every, 2 * every}},
		"started in between":     {23 * time.Hour, 0, []time.Duration{time.Hour, time.Hour + every, time.Hour + 2*every}},
		"due since long, failed": {1000 * time.Hour, 2, []time.Duration{0, time.Minute, 2 * time.Minute, 2*time.Minute + every, 2*time.Minute + 2*every}},
		"of a clock put back":    {-1000 * time.Hour, 0, []time.Duration{0, every, 2 * every}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &refresher{start: time.Now(), last: time.Now().Add(-c.age), failures: c.failures}
			ctx, cancel := context.WithTimeout(t.Context(), 2*every+2*time.Hour)
			defer cancel()
			refresh(ctx, r, every, slog.New(slog.DiscardHandler))
			if !slices.Equal(r.tries, c.want) {
				t.Errorf("%s: tried after %v, want %v", name, r.tries, c.want)
			}
		})
	}
}
