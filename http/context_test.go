package http

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

type testKey struct{}

// mustEnd holds a context that has ended against what it should say.
func mustEnd(t *testing.T, ctx context.Context, err, cause error) {
	t.Helper()
	if got := ctx.Err(); got != err {
		t.Errorf("Err is %v, want %v", got, err)
	}
	select {
	case <-ctx.Done():
	default:
		t.Error("Done is not closed")
	}
	if got := context.Cause(ctx); got != cause {
		t.Errorf("the cause is %v, want %v", got, cause)
	}
}

// TestLazyContext holds it against what context.WithDeadline and WithCancelCause promise, whether somebody asked for the channel
// before or not.
func TestLazyContext(t *testing.T) {
	why := errors.New("why")
	for name, asked := range map[string]bool{"asked": true, "not asked": false} {
		run := func(of string, f func(t *testing.T, parent context.CancelCauseFunc, c *lazyContext)) {
			t.Run(of+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), testKey{}, "value"))
					c := &lazyContext{Context: parent, deadline: time.Now().Add(time.Minute)}
					if asked {
						c.Done()
					}
					if d, ok := c.Deadline(); !ok || !d.Equal(c.deadline) || c.Err() != nil || context.Cause(c) != nil {
						t.Errorf("at first: %v %v %v %v", d, ok, c.Err(), context.Cause(c))
					}
					f(t, cancel, c)
					if c.Value(testKey{}) != "value" {
						t.Error("the parent's value is gone")
					}
					c.end()
					cancel(nil)
				})
			})
		}
		run("deadline", func(t *testing.T, _ context.CancelCauseFunc, c *lazyContext) {
			time.Sleep(time.Minute)
			synctest.Wait()
			mustEnd(t, c, context.DeadlineExceeded, context.DeadlineExceeded)
		})
		run("parent", func(t *testing.T, cancel context.CancelCauseFunc, c *lazyContext) {
			cancel(why)
			synctest.Wait()
			mustEnd(t, c, context.Canceled, why)
		})
		run("cancel", func(t *testing.T, _ context.CancelCauseFunc, c *lazyContext) {
			c.cancel(why)
			c.end() // changes nothing
			mustEnd(t, c, context.Canceled, why)
		})
		run("end", func(t *testing.T, _ context.CancelCauseFunc, c *lazyContext) {
			c.end()
			c.end()
			c.cancel(why) // too late
			mustEnd(t, c, context.Canceled, context.Canceled)
		})
		run("child", func(t *testing.T, _ context.CancelCauseFunc, c *lazyContext) {
			before := runtime.NumGoroutine()
			child, stop := context.WithCancel(c)
			defer stop()
			if n := runtime.NumGoroutine(); n != before {
				t.Errorf("a child costs %d goroutines", n-before)
			}
			c.cancel(why)
			mustEnd(t, child, context.Canceled, why)
		})
	}
}

// TestLazyContextStartsNothing: it costs nothing while nobody asks for the channel.
func TestLazyContextStartsNothing(t *testing.T) {
	c := &lazyContext{Context: t.Context(), deadline: time.Now().Add(time.Minute)}
	if n := testing.AllocsPerRun(100, func() { _ = c.Err(); _, _ = c.Deadline(); _ = c.Value(testKey{}) }); n != 0 || c.armed.Load() != nil {
		t.Errorf("%v allocations", n)
	}
}
