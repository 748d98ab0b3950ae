package http

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// How long and how much is read of what a client still sends after its last answer. Closing a socket with
// unread bytes resets it, and the reset may overtake the answer: a client that writes all of a refused body
// before it reads would see "connection reset" instead of the problem.
const (
	lingerTimeout = time.Second
	lingerBytes   = 32 << 20
)

// maxRejecting bounds the connections over the limit that are being told so; more are closed without a word.
const maxRejecting = 64

// drainGrace is how long after Shutdown a request may still come on a connection that is open: its client may
// have sent it before it could know. Without, the busiest keep-alive clients would each see one broken request.
const drainGrace = 250 * time.Millisecond

// listener wraps a net.Listener: it bounds the open connections, survives a lack of file descriptors
// (fasthttp takes any error of Accept for the end) and hands out *conn. Safe for concurrent use.
//
// With TLS a connection counts from its first packet on, and its handshake is part of its first read, under the
// deadline of that: a client that never finishes one holds no more, and no longer, than one that sends no header.
//
// It also ends connections at Shutdown, which fasthttp's own does not do safely: it closes a connection that it
// counts as idle from outside, and when the next request was read a moment before, that request is carried
// out and its answer lost (TestShutdownAmongClients found it). Here a connection is only ever closed by the
// goroutine that serves it; drainAll merely ends its waiting for a next request.
type listener struct {
	net.Listener
	listenerConfig
	rejecting chan struct{}
	wg        sync.WaitGroup // the goroutines that reject
	done      chan struct{}  // closed when nothing calls Accept any more
	closeOnce func() error

	mu    sync.Mutex
	conns map[*conn]struct{} // protected by mu
	until time.Time          // end of the grace, zero before drainAll; protected by mu
}

// listenerConfig is what a listener is told once.
type listenerConfig struct {
	max          int
	tls          func() *tls.Config // nil: none
	writeTimeout time.Duration      // of what TLS writes while it is read
	rejection    func() []byte      // a whole HTTP answer, over the limit
	plain        func() []byte      // one to HTTP without TLS where TLS is spoken
}

func newListener(ln net.Listener, c listenerConfig) *listener {
	return &listener{
		Listener:       ln,
		listenerConfig: c,
		rejecting:      make(chan struct{}, maxRejecting),
		done:           make(chan struct{}),
		closeOnce:      sync.OnceValue(ln.Close),
		conns:          map[*conn]struct{}{},
	}
}

// Accept returns the next connection below the limit, or io.EOF once the listener is closed.
func (l *listener) Accept() (net.Conn, error) {
	var wait time.Duration
	for {
		nc, err := l.Listener.Accept()
		switch {
		case err == nil:
			if c := l.admit(nc); c != nil {
				return c, nil
			}
			wait = 0
		case errors.Is(err, net.ErrClosed):
			return nil, io.EOF
		case isTemporary(err):
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			time.Sleep(wait)
		default:
			return nil, err
		}
	}
}

// Close stops accepting; it is idempotent and leaves the open connections alone.
func (l *listener) Close() error { return l.closeOnce() }

// isTemporary reports whether accepting may work again in a while, as net/http has it.
func isTemporary(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.ECONNRESET, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// secure puts TLS on a connection; nothing is read or written yet.
func (l *listener) secure(nc net.Conn) net.Conn {
	if l.tls == nil {
		return nc
	}
	return tls.Server(nc, l.tls())
}

func (l *listener) admit(nc net.Conn) *conn {
	c := &conn{Conn: l.secure(nc), raw: nc, socket: socketOf(nc), listener: l}
	l.mu.Lock()
	full := len(l.conns) >= l.max
	if !full {
		c.mu.until = l.until
		l.conns[c] = struct{}{}
	}
	l.mu.Unlock()
	if full {
		l.reject(nc)
		return nil
	}
	if !c.mu.until.IsZero() {
		c.lingerOnClose()
	}
	return c
}

// reject tells a connection over the limit so, without making Accept wait. A handshake must fit into the same time.
func (l *listener) reject(nc net.Conn) {
	select {
	case l.rejecting <- struct{}{}:
	default:
		_ = nc.Close()
		return
	}
	l.wg.Go(func() {
		defer func() { <-l.rejecting }()
		_ = nc.SetDeadline(time.Now().Add(lingerTimeout))
		c := l.secure(nc)
		if _, err := c.Write(l.rejection()); err == nil {
			drain(c)
		}
		_ = nc.Close()
	})
}

func (l *listener) remove(c *conn) {
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

// drainAll lets each connection finish the request it is at and wait at most drainGrace for another.
func (l *listener) drainAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.until.IsZero() {
		return
	}
	l.until = time.Now().Add(drainGrace)
	for c := range l.conns {
		c.drain(l.until)
	}
}

// settle waits until nothing is accepted, every connection is closed and every rejection told.
// REQUIRES: Close was called.
func (l *listener) settle(ctx context.Context) error {
	select {
	case <-l.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	for l.open() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	l.wg.Wait() // at most twice lingerTimeout
	return nil
}

func (l *listener) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

// closeAll closes every connection at once, whatever it is doing.
func (l *listener) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.raw.Close() // TLS would first say farewell, and wait up to 5 s for a client that does not read
	}
}

// conn is a connection that knows whether a request is on it, and whether its last answer left bytes of the
// client unread. Safe for concurrent use as a net.Conn is.
type conn struct {
	net.Conn                 // what is served: raw, or TLS over it
	raw      net.Conn        // as accepted
	socket   syscall.RawConn // of raw; nil: it is none
	client   string          // RemoteAddr without the port, once somebody asked; of who serves it
	listener *listener
	linger   atomic.Bool
	once     sync.Once
	mu       struct { // within listener.mu
		sync.Mutex
		busy  bool      // bytes of a request were read, or it is being answered
		until time.Time // after this no other request is waited for; zero: no end
	}
}

// setBusy says that a request is on the connection, or that its answer is made.
func (c *conn) setBusy(busy bool) {
	c.mu.Lock()
	c.mu.busy = busy
	c.mu.Unlock()
}

// drain ends the wait for another request at the time until. The connection is closed with lingering then, for
// pipelined requests that nobody reads would reset it before the client has read its answers.
func (c *conn) drain(until time.Time) {
	c.lingerOnClose()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.until = until
	if !c.mu.busy {
		_ = c.Conn.SetReadDeadline(until)
	}
}

// SetReadDeadline is that of net.Conn, but between requests no later than drain allows. To read TLS may mean to
// write, a handshake or the answer to a change of keys; a client that does not take that must not hold the connection.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.Conn != c.raw && !t.IsZero() {
		if err := c.Conn.SetWriteDeadline(t.Add(c.listener.writeTimeout)); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if u := c.mu.until; !u.IsZero() && !c.mu.busy && (t.IsZero() || t.After(u)) {
		t = u
	}
	return c.Conn.SetReadDeadline(t)
}

// Read never returns 0 bytes without an error, which fasthttp takes for a bug and ends the process (with
// ReduceMemoryUsage, server.go of v1.73.0). Sockets don't; a pipe that is sent an empty write does.
func (c *conn) Read(p []byte) (int, error) {
	for range 100 {
		n, err := c.Conn.Read(p)
		if n > 0 {
			c.setBusy(true)
		}
		if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
			c.tellPlain(e)
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// tellPlain answers a client that began with a request in clear: its user has forgotten the s of https.
func (c *conn) tellPlain(e tls.RecordHeaderError) {
	switch string(e.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO":
		if _, err := c.raw.Write(c.listener.plain()); err == nil {
			drain(c.raw)
		}
	}
}

// Close closes the connection. After lingerOnClose it first sends the end of the stream and reads what still
// comes, up to lingerTimeout and lingerBytes. Idempotent.
func (c *conn) Close() error {
	var err error
	c.once.Do(func() {
		if c.linger.Load() {
			drain(c.Conn)
		}
		err = c.Conn.Close()
		c.listener.remove(c)
	})
	return err
}

// lingerOnClose makes Close wait until the client has had its answer.
func (c *conn) lingerOnClose() { c.linger.Store(true) }

func drain(nc net.Conn) {
	if cw, ok := nc.(interface{ CloseWrite() error }); ok {
		if cw.CloseWrite() != nil {
			return
		}
	}
	if nc.SetReadDeadline(time.Now().Add(lingerTimeout)) == nil {
		_, _ = io.CopyN(io.Discard, nc, lingerBytes)
	}
}
