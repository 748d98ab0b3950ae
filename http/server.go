package http

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"mien/engine"
	"mien/http/dialect"
)

// Server answers the native API on one listener. Safe for concurrent use.
type Server struct {
	cfg    Config
	engine *engine.Engine
	log    *slog.Logger
	router *router
	fast   *fasthttp.Server
	budget byteBudget

	dialects []*dialect.Dialect
	quiet    func() // ends what dialects do beside requests

	slots   *slots        // Config.MaxRequests of them
	bulk    chan struct{} // one of maxBulk each
	watch   watch         // of requests that hold one
	exports chan struct{} // one of maxExports each

	rates    *rates    // of keys
	failures *failures // of clients to authenticate

	enrolments enrolments // with the parties
	canaries   struct{ checked, failed atomic.Uint64 }

	draining atomic.Bool
	base     context.Context // of every request
	giveUp   context.CancelFunc

	mu struct {
		sync.Mutex
		listener *listener
		closed   bool
	}
}

// New checks the configuration and returns a server that does nothing yet. Its Engine and Extractors must
// outlive Shutdown.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg:     cfg,
		engine:  cfg.Engine,
		log:     cfg.Logger,
		budget:  byteBudget{max: int64(cfg.MaxBodyBytesInFlight)},
		slots:   newSlots(cfg.MaxRequests),
		exports: make(chan struct{}, maxExports),
		bulk:    make(chan struct{}, maxBulk),

		rates:    newRates(cfg),
		failures: newFailures(cfg.AuthFailures),
	}
	s.dialects = newDialects(cfg)
	s.router = newRouter(allRoutes(s.dialects))
	s.quiet = sync.OnceFunc(runDialects(s.dialects))
	s.base, s.giveUp = context.WithCancel(context.Background())
	s.fast = s.newFast()
	return s, nil
}

// newFast configures fasthttp. What is not obvious:
//
//   - StreamRequestBody with MaxRequestBodySize 1 calls the handler as soon as the header and one byte of the
//     body are there; the handler then decides whether to read the rest, and bounds it. (By default the body
//     is read first, and with streaming 8 KiB of it.)
//   - A handler that leaves a body unread must close the connection: fasthttp would take the rest of the body
//     for the next request. See request.unread.
//   - ReduceMemoryUsage closes a new connection that says nothing without an answer, which its client might take
//     for that of a later request, and flushes an answer before it looks for a pipelined request.
//   - fasthttp's own shutdown is not used (listener.go says why), so its Concurrency, ConnState and idle times
//     have no part in ours.
//   - Concurrency is above MaxConns because the listener is what refuses, with a problem; a worker that has
//     closed its connection is still counted for a moment.
func (s *Server) newFast() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:                      s.handle,
		ExpectHandler:                s.expect,
		ErrorHandler:                 s.broken,
		Logger:                       fastLogger{s.log},
		Concurrency:                  2*s.cfg.MaxConns + maxRejecting,
		ReadBufferSize:               s.cfg.MaxHeaderBytes,
		ReadTimeout:                  s.cfg.HeaderTimeout,
		IdleTimeout:                  s.cfg.IdleTimeout,
		WriteTimeout:                 s.cfg.WriteTimeout,
		MaxRequestBodySize:           1,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		ReduceMemoryUsage:            true,
		NoDefaultServerHeader:        true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
	}
}

// Serve answers the connections of ln until Shutdown, then returns nil; otherwise it returns why accepting
// failed. It closes ln. It may be called once.
func (s *Server) Serve(ln net.Listener) error {
	l := newListener(ln, s.listenerConfig())
	s.mu.Lock()
	again, closed := s.mu.listener != nil, s.mu.closed
	if !again {
		s.mu.listener = l
	}
	s.mu.Unlock()
	if again {
		return errors.New("http: Serve was called before")
	}
	if closed {
		close(l.done)
		return ignoreClosed(l.Close())
	}
	defer close(l.done)
	err := s.fast.Serve(l)
	return errors.Join(err, ignoreClosed(l.Close()))
}

func (s *Server) listenerConfig() listenerConfig {
	busy := fail(codeOverloaded, "too many connections are open; try again in a second")
	plain := fail(codeBadRequest, "this address speaks https; a key that was sent to it in clear should be replaced")
	return listenerConfig{
		max: s.cfg.MaxConns, tls: s.cfg.TLS, writeTimeout: s.cfg.WriteTimeout,
		rejection: func() []byte { return busy.rawAnswer(newRequestID()) },
		plain:     func() []byte { return plain.rawAnswer(newRequestID()) },
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown makes /readyz answer 503, waits Config.DrainDelay, stops accepting and lets every request that was
// begun be answered; connections that bring no other within 250 ms are closed. When ctx ends first, the contexts of the requests are
// cancelled, their connections closed, and ctx's error returned. A second call skips the delay and waits too.
func (s *Server) Shutdown(ctx context.Context) error {
	if !s.draining.Swap(true) {
		wait(ctx, s.cfg.DrainDelay)
	}
	s.mu.Lock()
	s.mu.closed = true
	l := s.mu.listener
	s.mu.Unlock()
	defer s.quiet()
	if l == nil {
		return nil
	}
	err := ignoreClosed(l.Close())
	l.drainAll()
	if e := l.settle(ctx); e != nil {
		s.giveUp()
		l.closeAll()
		return e
	}
	return err
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// handle answers one request.
func (s *Server) handle(fc *fasthttp.RequestCtx) {
	r := s.newRequest(fc)
	r.setBusy(true) // a pipelined request was not read from the connection just now
	rep, err := s.serve(r)
	s.answer(r, rep, err)
}

// rescue answers a request whose answer panicked while it was made: outside serve fasthttp would let the process end.
func (s *Server) rescue(r *request) {
	v := recover()
	if v == nil {
		return
	}
	s.log.Error("panic in an answer", "request_id", r.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	r.fc.Response.Reset()
	r.fc.Response.SetStatusCode(fasthttp.StatusInternalServerError)
	r.fc.Response.SetConnectionClose()
	r.setBusy(false)
}

// expect decides on a request that waits for "100 Continue" with its body. fasthttp says that the response
// must not be modified here; what it means is that it must be clean if the request goes on. One that does not
// is written as it is, with the status returned (server.go of v1.73.0; TestExpectRefused would notice).
func (s *Server) expect(fc *fasthttp.RequestCtx) int {
	r := s.newRequest(fc)
	r.expected = true
	err := s.admit(r)
	if err == nil {
		return fasthttp.StatusContinue
	}
	s.answer(r, reply{}, err)
	return fc.Response.StatusCode()
}

// broken answers what could not be read as a request. fasthttp closes the connection after it.
func (s *Server) broken(fc *fasthttp.RequestCtx, err error) {
	r := &request{server: s, fc: fc, id: newRequestID(), start: time.Now(), length: -1}
	s.answer(r, reply{}, s.brokenProblem(err))
}

func (s *Server) brokenProblem(err error) *problem {
	if _, ok := errors.AsType[*fasthttp.ErrSmallBuffer](err); ok {
		return fail(codeHeaderTooLarge, "the request line and the header fields may have %d bytes at most", s.cfg.MaxHeaderBytes)
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return fail(codeRequestTimeout, "the header did not arrive within %v", s.cfg.HeaderTimeout)
	}
	return fail(codeBadRequest, "this is not a request of HTTP/1.1")
}

// serve runs the operation of a request.
func (s *Server) serve(r *request) (rep reply, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("http: panic in a handler: %v\n%s", v, debug.Stack())
		}
	}()
	if err := s.admit(r); err != nil {
		return allowOptions(r, err)
	}
	if r.route.roles != nil {
		if !s.slots.take(r.key.Tenant) {
			return reply{}, fail(codeOverloaded, "%d requests are in flight, or this tenant's share of so many; try again in a second", s.cfg.MaxRequests)
		}
		defer s.slots.give(r.key.Tenant)
	}
	defer func() { s.budget.release(r.reserved) }() // H2
	if r.route.isBulk() {
		r.deadline = r.start.Add(bulkTimeout)
	}
	s.begin(r)
	defer s.end(r)
	if r.name != "" && !atParties[r.route.op] {
		return s.runOnce(r)
	}
	return s.run(r)
}

// run does the operation. Errors: the operation's, errClientGone.
func (s *Server) run(r *request) (reply, error) {
	rep, err := r.route.handle(s, r)
	rep.value = scoresFor(&r.key, rep.value)
	return rep, blameClient(r.ctx, err)
}

// begin makes the context of a request.
func (s *Server) begin(r *request) {
	r.lazy.Context, r.lazy.deadline = s.base, r.deadline
	r.ctx = &r.lazy
	if r.route.roles == nil {
		return
	}
	r.ctx = engine.WithActor(r.ctx, r.actor())
	if c, ok := r.fc.Conn().(*conn); ok {
		r.watched.socket, r.watched.context = c.socket, &r.lazy
		s.watch.begin(&r.watched)
	}
}

// end ends the context of a request.
func (s *Server) end(r *request) {
	s.watch.end(&r.watched)
	r.lazy.end()
}

// allowOptions turns the 405 of an OPTIONS request into the 204 that lists the methods.
func allowOptions(r *request, err error) (reply, error) {
	p, ok := errors.AsType[*problem](err)
	if !ok || p.code != codeMethodNotAllowed || r.method != fasthttp.MethodOptions {
		return reply{}, err
	}
	r.fc.Response.Header.Set("Allow", p.allow)
	return reply{status: fasthttp.StatusNoContent}, nil
}

// Headers of every answer, as they are written.
var (
	headerRequestID        = []byte("X-Request-Id")
	headerOptions, nosniff = []byte("X-Content-Type-Options"), []byte("nosniff")
	headerCache, noStore   = []byte("Cache-Control"), []byte("no-store")
)

// answer writes the response and the log record of a request.
func (s *Server) answer(r *request, rep reply, err error) {
	defer s.rescue(r)
	var body []byte
	if err == nil {
		body, err = rep.marshal()
	}
	resp := &r.fc.Response
	spoken := r.spokenBy()
	if err == nil && spoken != nil {
		err = r.writeSpoken(spoken, &dialect.Answer{Status: rep.status, Raw: body, ContentType: rep.contentType, Header: rep.header})
	} else if err == nil && rep.status != fasthttp.StatusNoContent {
		resp.Header.SetContentType(cmp.Or(rep.contentType, "application/json"))
		if rep.stream != nil {
			err = r.setStream(resp, rep.stream)
		} else {
			err = s.setBody(resp, body)
		}
	}
	if err != nil {
		err = s.auditRefusal(r, err)
		p := s.problemOf(err)
		p.key = r.key
		if r.code = p.code; spoken != nil {
			r.refuse(spoken, p, err)
		} else {
			p.write(resp, r.id)
		}
		s.logFailure(r, err)
	} else if spoken == nil {
		resp.SetStatusCode(rep.status)
		if rep.etag != "" {
			resp.Header.Set("ETag", rep.etag)
		}
		if rep.replayed {
			resp.Header.Set("Idempotency-Replayed", "true")
		}
	}
	resp.Header.SetCanonical(headerRequestID, []byte(r.id))
	resp.Header.SetCanonical(headerOptions, nosniff)
	if spoken == nil || len(resp.Header.Peek("Cache-Control")) == 0 { // files of a page may be asked for again
		resp.Header.SetCanonical(headerCache, noStore)
	}
	if r.unread() || s.draining.Load() || r.code == codeClientGone {
		resp.SetConnectionClose()
		if c, ok := r.fc.Conn().(*conn); ok {
			c.lingerOnClose()
		}
	}
	r.setBusy(err == nil && rep.stream != nil && r.method != fasthttp.MethodHead) // till the stream is closed
	s.logRequest(r, resp)
}

func (rep reply) marshal() ([]byte, error) {
	if rep.raw != nil || rep.stream != nil || rep.value == nil || rep.status == fasthttp.StatusNoContent {
		return rep.raw, nil
	}
	if a, ok := rep.value.(jsonAppender); ok {
		if b, ok := a.appendJSON(make([]byte, 0, 256)); ok {
			return append(b, '\n'), nil
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // for pages; here it would make six bytes of one
	if err := e.Encode(rep.value); err != nil {
		return nil, fmt.Errorf("http: marshal %T: %w", rep.value, err)
	}
	return b.Bytes(), nil // with a newline at the end, for terminals
}

// setStream gives a response a body that is sent as it is read. For HEAD nothing is: fasthttp would end it as if it had been.
func (r *request) setStream(resp *fasthttp.Response, stream io.ReadCloser) error {
	if r.method != fasthttp.MethodHead {
		resp.SetBodyStream(stream, -1)
		return nil
	}
	resp.Header.SetContentLength(-2) // unknown
	return stream.Close()
}

// largeAnswer is the size from which an answer is charged to the byte budget until its client has taken it: clients
// that ask for lists and do not read them must not fill the memory.
const largeAnswer = 64 << 10

// heldAnswer is a large answer on its way.
type heldAnswer struct {
	*bytes.Reader
	release func()
}

// Close implements io.Closer; fasthttp calls it when the answer is written or its connection is gone.
func (h *heldAnswer) Close() error {
	h.release()
	return nil
}

// setBody gives body to the response. Errors: the problem overloaded.
func (s *Server) setBody(resp *fasthttp.Response, body []byte) error {
	size := int64(len(body))
	if size < largeAnswer {
		resp.SetBodyRaw(body)
		return nil
	}
	if !s.budget.reserve(size) {
		return fail(codeOverloaded, "too many bytes of answers are waiting for their clients; try again in a second, or ask for less")
	}
	resp.SetBodyStream(&heldAnswer{bytes.NewReader(body), sync.OnceFunc(func() { s.budget.release(size) })}, len(body))
	return nil
}
