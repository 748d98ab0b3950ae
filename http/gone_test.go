package http

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"mien/engine"
	"mien/extract"
)

// queue is an extractor with one place, which whoever has it keeps until a test opens it or its context ends.
type queue struct {
	place, open chan struct{}
	entered     chan struct{}
}

func newQueue() *queue {
	return &queue{make(chan struct{}, 1), make(chan struct{}), make(chan struct{}, 1000)}
}

func (q *queue) Extract(ctx context.Context, _ []byte, _ extract.Options) ([]extract.Face, error) {
	q.entered <- struct{}{}
	select {
	case q.place <- struct{}{}:
		defer func() { <-q.place }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case <-q.open:
		return []extract.Face{{Score: 1, Template: vector(1, 16)}}, nil
	case <-ctx.Done():
		return nil, ctx.Err() // as engine has it
	}
}

const photoBody = `{"image":"AAAA"}`

// photoRequest is a whole request that waits in a queue.
func (h *harness) photoRequest() string {
	return h.head("POST", "/v1/extract", jsonType, fmt.Sprintf("Content-Length: %d", len(photoBody))) + photoBody
}

func (h *harness) waitFor(what string, done func() bool) {
	h.t.Helper()
	for end := time.Now().Add(5 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("never %s", what)
		}
	}
}

// goneLines is how many requests the log calls gone.
func (h *harness) goneLines() int {
	return strings.Count(h.log.String(), `"status":499,"code":"client_gone"`)
}

// tcpOf is the socket of a client.
func tcpOf(w *wire) *net.TCPConn {
	if c, ok := w.Conn.(*tls.Conn); ok {
		return c.NetConn().(*net.TCPConn)
	}
	return w.Conn.(*net.TCPConn)
}

// linuxOnly is for what only Linux tells of a socket.
func linuxOnly(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("an end behind unread bytes is seen on Linux only")
	}
}

// Clients that went away free their places and the extractor's queue, long before their time is up, however they went.
func TestClientGone(t *testing.T) {
	reset := func(w *wire) {
		_ = tcpOf(w).SetLinger(0)
		_ = tcpOf(w).Close()
	}
	leave := func(w *wire) { _ = w.Close() }
	for name, c := range map[string]struct {
		more string // after the request
		away func(*wire)
	}{
		"closed":           {"", leave},
		"reset":            {"", reset},
		"pipelined, reset": {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", reset},
		"pipelined":        {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", leave},
		"next cut short":   {"GET /hea", leave},
	} {
		t.Run(name, func(t *testing.T) {
			if c.more != "" || strings.HasPrefix(t.Name(), overTLS) { // which says farewell
				linuxOnly(t)
			}
			q := newQueue()
			h := newHarness(t, func(c *Config) { c.Extractor, c.RequestTimeout, c.MaxRequests = q, time.Minute, 20 })
			h.want(200, call{method: "GET", path: "/healthz"})
			before := runtime.NumGoroutine()
			const clients = 20 // all the places that there are
			var wires []*wire
			for range clients {
				w := h.dial()
				w.send("%s", h.photoRequest())
				<-q.entered
				w.send("%s", c.more) // stays in the socket
				wires = append(wires, w)
			}
			h.refused(codeOverloaded, call{method: "POST", path: "/v1/extract", body: []byte(photoBody)})
			if n := runtime.NumGoroutine() - before; n > clients+5 {
				t.Errorf("%d goroutines for %d requests: one each is fasthttp's", n, clients)
			}
			start := time.Now()
			for _, w := range wires {
				c.away(w)
			}
			h.waitFor("free", func() bool { return h.server.slots.inUse() == 0 })
			t.Logf("free after %v", time.Since(start))
			close(q.open)
			h.want(200, call{method: "POST", path: "/v1/extract", body: []byte(photoBody)})
			h.idle()
			h.waitFor("logged", func() bool { return h.goneLines() == clients })
			h.waitFor("quiet", func() bool {
				w := &h.server.watch
				w.mu.Lock()
				defer w.mu.Unlock()
				return !w.mu.armed && w.mu.first == nil
			})
		})
	}
}

// Who waits keeps its place: with nothing more to say, with the next request in the pipe, and after earlier answers.
func TestClientWaits(t *testing.T) {
	q := newQueue()
	h := newHarness(t, func(c *Config) { c.Extractor, c.RequestTimeout = q, time.Minute })
	health := h.head("GET", "/healthz")
	silent, piped, kept := h.dial(), h.dial(), h.dial()
	silent.send("%s", h.photoRequest())
	piped.send("%s%s", h.photoRequest(), health)
	for range 3 {
		kept.send("%s", h.head("GET", "/v1/galleries"))
		kept.answer()
	}
	kept.send("%s", h.photoRequest())
	for range 3 {
		<-q.entered
	}
	piped.send("%s", h.photoRequest()) // stays in the socket
	time.Sleep(4 * lookEvery)
	if n := h.server.slots.inUse(); n != 3 {
		t.Errorf("%d requests wait, not 3", n)
	}
	close(q.open)
	for i, w := range []*wire{silent, piped, piped, piped, kept} {
		if a := w.answer(); a.status != 200 {
			t.Errorf("answer %d: %d %s", i, a.status, a.body)
		}
	}
	for _, w := range []*wire{silent, piped, kept} {
		w.send("%s", health)
		if a := w.answer(); a.status != 200 {
			t.Errorf("the connection does not go on: %d", a.status)
		}
	}
	if n := h.goneLines(); n != 0 {
		t.Errorf("%d clients are called gone", n)
	}
}

// A client that half-closes its connection can still read why it gets no answer.
func TestClientHalfCloses(t *testing.T) {
	q := newQueue()
	h := newHarness(t, func(c *Config) { c.Extractor, c.RequestTimeout = q, time.Minute })
	w := h.dial()
	w.send("%s", h.photoRequest())
	<-q.entered
	if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if a := w.refused(codeClientGone); a.status != 400 || a.header.Get("Connection") != "close" {
		t.Errorf("%d %v", a.status, a.header)
	}
	w.closed()
	h.idle()
}

// A connection that is no socket is served and not watched.
func TestWatchWithoutSocket(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	_ = b.Close()
	var w watch
	x := watched{socket: socketOf(a)}
	if w.begin(&x); w.mu.armed || w.mu.first != nil {
		t.Error("a pipe is watched")
	}
	w.end(&x)
}

func TestBlameClient(t *testing.T) {
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errClientGone)
	other := errors.New("disk on fire")
	unknown := fmt.Errorf("%w: %w", engine.ErrOutcomeUnknown, context.Canceled)
	for _, c := range []struct {
		ctx  context.Context
		err  error
		code code
	}{
		{gone, context.Canceled, codeClientGone},
		{gone, errClientGone, codeClientGone},
		{gone, unknown, codeClientGone},
		{gone, other, codeInternal},
		{gone, extract.ErrNoFace, codeNoFace},
		{t.Context(), context.Canceled, codeShuttingDown},
		{t.Context(), unknown, codeTimeout},
	} {
		if p := new(Server).problemOf(blameClient(c.ctx, c.err)); p.code != c.code {
			t.Errorf("%v: %s, want %s", c.err, p.code, c.code)
		}
	}
	if err := blameClient(gone, nil); err != nil {
		t.Errorf("an answer that was made became %v", err)
	}
}

// A write that may have happened is not to be repeated by whoever obeys Retry-After.
func TestRetryAfter(t *testing.T) {
	for err, want := range map[error]string{
		context.DeadlineExceeded: "1", extract.ErrBusy: "1", engine.ErrClosed: "1",
		engine.ErrOutcomeUnknown: "", engine.ErrStorageFailed: "",
	} {
		var resp fasthttp.Response
		new(Server).problemOf(&partError{"/images/1", err}).write(&resp, "x")
		if got := string(resp.Header.Peek("Retry-After")); resp.StatusCode() != 503 || got != want {
			t.Errorf("%v: status %d, Retry-After %q, want %q", err, resp.StatusCode(), got, want)
		}
	}
}

func BenchmarkLook(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	socket := socketOf(c)
	for b.Loop() {
		if closedByClient(socket) {
			b.Fatal("it is open")
		}
	}
}
