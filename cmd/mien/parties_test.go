package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

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
