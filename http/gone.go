package http

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"mien/engine"
)

// lookEvery is how often the connections of requests in flight are looked at: what a client that went away may hold
// a place for longer than it is there. A look costs about 1 µs a request.
const lookEvery = 100 * time.Millisecond

// errClientGone is the cause of the end of a request's context when its client has closed the connection.
var errClientGone = errors.New("http: the client closed the connection before its answer")

// statusClientGone is what the log says of such a request, as nginx does; it is never sent.
const statusClientGone = 499

// watch ends the contexts of requests whose clients close their connections. fasthttp does not notice them: it leaves
// a connection alone while a handler runs. One timer serves all requests; it runs while there are any in flight and
// fires once more, so that Shutdown has nothing to stop. The zero value is ready. Safe for concurrent use.
//
// What counts is the end of the client's stream. A client that only half-closes, to read its answer yet, can't be told
// from one that is gone, and is treated as that: as by Go's net/http (golang/go#18527), nginx and hyper. Browsers,
// curl and HTTP libraries do not half-close. Bytes that wait to be read, of a pipelined request, are no end.
type watch struct {
	mu struct {
		sync.Mutex
		inFlight map[*watched]struct{}
		timer    *time.Timer
		armed    bool
	}
}

// watched is a request in flight: the socket that it came from and how to end it.
type watched struct {
	socket syscall.RawConn
	cancel context.CancelCauseFunc
}

// begin returns a context that ends with the cause errClientGone if the client closes nc before end is called.
// end must be called, and ends it as well. A connection that is no socket is not watched.
func (w *watch) begin(ctx context.Context, nc net.Conn) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	x := &watched{socketOf(nc), cancel}
	if x.socket != nil {
		w.add(x)
	}
	return ctx, func() {
		w.remove(x)
		cancel(nil)
	}
}

func (w *watch) add(x *watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.inFlight == nil {
		w.mu.inFlight = map[*watched]struct{}{}
	}
	w.mu.inFlight[x] = struct{}{}
	if !w.mu.armed {
		w.armLocked()
	}
}

func (w *watch) armLocked() {
	w.mu.armed = true
	if w.mu.timer == nil {
		w.mu.timer = time.AfterFunc(lookEvery, w.look)
		return
	}
	w.mu.timer.Reset(lookEvery)
}

func (w *watch) remove(x *watched) {
	w.mu.Lock()
	delete(w.mu.inFlight, x)
	w.mu.Unlock()
}

// look is never run twice at once: it is what arms the timer again.
func (w *watch) look() {
	for _, x := range w.all() {
		if closedByClient(x.socket) {
			x.cancel(errClientGone)
			w.remove(x)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.armed = len(w.mu.inFlight) > 0; w.mu.armed {
		w.armLocked()
	}
}

func (w *watch) all() []*watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.mu.inFlight))
}

// socketOf is the socket under a connection, below TLS; nil if there is none.
func socketOf(nc net.Conn) syscall.RawConn {
	if c, ok := nc.(*conn); ok {
		nc = c.raw
	}
	if c, ok := nc.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// blameClient returns err as errClientGone if it says no more than that ctx has ended, and the client was why.
func blameClient(ctx context.Context, err error) error {
	if context.Cause(ctx) == errClientGone && (errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrOutcomeUnknown)) {
		return fmt.Errorf("%w: %w", errClientGone, err)
	}
	return err
}
