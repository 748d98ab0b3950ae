package http

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// lazyContext is a context with a deadline that has neither a timer nor a channel until somebody asks for the channel, or cancels it:
// most requests are answered before anybody waits for anything. From then on it is what context.WithDeadline and
// context.WithCancelCause make. Safe for concurrent use.
type lazyContext struct {
	context.Context // the parent
	deadline        time.Time
	armed           atomic.Pointer[armedContext] // nil until then
	mu              sync.Mutex                   // held while it is being armed
}

type armedContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

func (c *lazyContext) arm() *armedContext {
	if a := c.armed.Load(); a != nil {
		return a
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.armed.Load(); a != nil {
		return a
	}
	timed, stop := context.WithDeadline(c.Context, c.deadline)
	ctx, cancel := context.WithCancelCause(timed)
	a := &armedContext{ctx, func(cause error) { cancel(cause); stop() }}
	c.armed.Store(a)
	return a
}

// cancel ends the context with a cause, nil for context.Canceled.
func (c *lazyContext) cancel(cause error) { c.arm().cancel(cause) }

// ended is what those are armed with that ended before anybody asked.
var ended = func() *armedContext {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(nil)
	return &armedContext{ctx, cancel}
}()

// end is cancel(nil), which makes nothing where nobody asked for the channel.
func (c *lazyContext) end() {
	if c.armed.Load() == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.armed.CompareAndSwap(nil, ended) {
			return
		}
	}
	c.armed.Load().cancel(nil)
}

// Deadline implements context.Context.
func (c *lazyContext) Deadline() (time.Time, bool) {
	if d, ok := c.Context.Deadline(); ok && d.Before(c.deadline) {
		return d, true
	}
	return c.deadline, true
}

// Done implements context.Context.
func (c *lazyContext) Done() <-chan struct{} { return c.arm().Done() }

// Err implements context.Context.
func (c *lazyContext) Err() error {
	if a := c.armed.Load(); a != nil {
		return a.Err()
	}
	if c.Context.Err() == nil && time.Now().Before(c.deadline) {
		return nil
	}
	return c.arm().Err()
}

// Value implements context.Context. An armed one answers package context's own questions, such as that for the cause.
func (c *lazyContext) Value(key any) any {
	a := c.armed.Load()
	if a == nil {
		return c.Context.Value(key)
	}
	if v := a.Value(key); v != nil || a != ended {
		return v
	}
	return c.Context.Value(key) // ended knows its own cause, and nothing of the parent
}
