package http

import (
	"context"
	"errors"
	"fmt"
	"net"
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
		first *watched // of those in flight; nil: none
		timer *time.Timer
		armed bool
	}
}

// watched is a request in flight: the socket that it came from and how to end it. A request has one, so that to watch it allocates
// nothing.
type watched struct {
	socket  syscall.RawConn
	context *lazyContext

	on         bool // the list; protected by watch.mu, as are its links
	prev, next *watched
}

// begin has x cancelled with the cause errClientGone if its client closes the socket before end. A connection that is no socket is
// not watched.
func (w *watch) begin(x *watched) {
	if x.socket == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.on, x.next = true, w.mu.first; x.next != nil {
		x.next.prev = x
	}
	w.mu.first = x
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

// end ends what begin began. Idempotent.
func (w *watch) end(x *watched) {
	if x.socket == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !x.on {
		return
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		w.mu.first = x.next
	}
	x.on, x.prev, x.next = false, nil, nil
}

// look is never run twice at once: it is what arms the timer again.
func (w *watch) look() {
	for _, x := range w.all() {
		if closedByClient(x.socket) {
			x.context.cancel(errClientGone)
			w.end(x)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mu.armed = w.mu.first != nil; w.mu.armed {
		w.armLocked()
	}
}

func (w *watch) all() (all []*watched) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for x := w.mu.first; x != nil; x = x.next {
		all = append(all, x)
	}
	return all
}

// socketOf is the socket of a connection without TLS; nil if there is none.
func socketOf(nc net.Conn) syscall.RawConn {
	if c, ok := nc.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// blameClient returns err as errClientGone if it says no more than that ctx has ended, and the client was why.
func blameClient(ctx context.Context, err error) error {
	if err != nil && context.Cause(ctx) == errClientGone && (errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrOutcomeUnknown)) {
		return fmt.Errorf("%w: %w", errClientGone, err)
	}
	return err
}
