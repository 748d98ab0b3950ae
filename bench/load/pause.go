package load

import (
	"context"
	"time"
)

// sleeper pauses by Go's timers.
type sleeper struct{}

func (sleeper) until(ctx context.Context, t time.Time) {
	d := time.Until(t)
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Close does nothing.
func (sleeper) Close() error { return nil }
