package http

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mien/engine"
	"mien/extract"
)

// gate is an extractor that waits to be opened: a request with a photo stays in flight for as long as a test
// needs it to.
type gate struct {
	entered chan struct{}
	open    chan struct{}
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 100), open: make(chan struct{})} }

func (g *gate) Extract(ctx context.Context, _ []byte, _ extract.Options) ([]extract.Face, error) {
	g.entered <- struct{}{}
	select {
	case <-g.open:
		return []extract.Face{{Score: 1, Template: vector(1, 16)}}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// wire is a bare connection to the server.
type wire struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func (h *harness) dial() *wire {
	h.t.Helper()
	c := dialTo(h.t, h.addr, h.tls)
	return &wire{h.t, c, bufio.NewReader(c)}
}

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) answer() answer {
	w.t.Helper()
	resp, err := nethttp.ReadResponse(w.r, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	a := answer{resp.StatusCode, resp.Header, body}
	if resp.StatusCode >= 400 {
		if err := document().checkStray(a); err != nil {
			w.t.Errorf("no problem: %v: %s", err, body)
		}
	}
	if resp.Close {
		a.header.Set("Connection", "close")
	}
	return a
}

// refused reads a problem of the code.
func (w *wire) refused(want code) answer {
	w.t.Helper()
	a := w.answer()
	if p := a.problem(w.t); p.Code != want {
		w.t.Fatalf("got %d %s, want %s", a.status, a.body, want)
	}
	return a
}

// closed demands that the server closes the connection without another byte.
func (w *wire) closed() {
	w.t.Helper()
	if b, err := w.r.ReadByte(); err == nil {
		rest, _ := w.r.Peek(w.r.Buffered())
		w.t.Fatalf("the connection goes on: %q", append([]byte{b}, rest...))
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		w.t.Fatal("the connection is left open")
	}
}

func (h *harness) head(method, path string, more ...string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n", method, path,
		h.token(engine.RoleAdmin), strings.Join(append(more, ""), "\r\n"))
}

func (h *harness) idle() {
	h.t.Helper()
	for range 500 {
		if h.server.budget.used.Load() == 0 && h.server.slots.inUse() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.t.Errorf("%d bytes and %d slots were not given back", h.server.budget.used.Load(), h.server.slots.inUse())
}

const jsonType = "Content-Type: application/json"

func TestOverload(t *testing.T) {
	g := newGate()
	h := newHarness(t, func(c *Config) { c.Extractor, c.MaxRequests = g, 2 })
	h.staff()
	body := []byte(`{"image":"AAAA"}`)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			h.want(200, call{method: "POST", path: "/v1/galleries/staff/identify", body: body})
		})
		<-g.entered
	}
	a := h.want(503, call{method: "POST", path: "/v1/galleries/staff/identify", body: body})
	if a.problem(t).Code != codeOverloaded || a.header.Get("Retry-After") != "1" {
		t.Errorf("%v %s", a.header, a.body)
	}
	h.want(200, call{method: "GET", path: "/healthz", token: "none"})
	close(g.open)
	wg.Wait()
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/identify", body: body})
	h.idle()
}

func TestExtractorBusy(t *testing.T) {
	h := newHarness(t, func(c *Config) {
		c.Extractor = extractorFunc(func(context.Context, []byte, extract.Options) ([]extract.Face, error) { return nil, extract.ErrBusy })
	})
	a := h.want(503, call{method: "POST", path: "/v1/extract", body: []byte(`{"image":"AAAA"}`)})
	if a.header.Get("Retry-After") != "1" || a.problem(t).Code != codeOverloaded {
		t.Errorf("%v %s", a.header, a.body)
	}
}

func TestDeadline(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.Extractor, c.RequestTimeout = newGate(), 100*time.Millisecond })
	start := time.Now()
	a := h.want(503, call{method: "POST", path: "/v1/extract", body: []byte(`{"image":"AAAA"}`)})
	if a.problem(t).Code != codeTimeout || a.header.Get("Retry-After") != "1" {
		t.Errorf("%v %s", a.header, a.body)
	}
	if d := time.Since(start); d < 100*time.Millisecond || d > 5*time.Second {
		t.Errorf("after %v", d)
	}
}

func TestSlowClients(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.HeaderTimeout, c.RequestTimeout = 300*time.Millisecond, 300*time.Millisecond })
	post := h.head("POST", "/v1/compare", jsonType, "Content-Length: 100")
	for name, c := range map[string]struct {
		bytes string
		code  code
	}{
		"header":        {post[:20], codeRequestTimeout},
		"no body":       {post, codeRequestTimeout},
		"part of body":  {post + `{"source"`, codeRequestTimeout},
		"chunk":         {h.head("POST", "/v1/compare", jsonType, "Transfer-Encoding: chunked") + "5\r\n{\"a", codeRequestTimeout},
		"between chunk": {h.head("POST", "/v1/compare", jsonType, "Transfer-Encoding: chunked") + "2\r\n{}\r\n", codeRequestTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := h.dial()
			w.t = t
			w.send("%s", c.bytes)
			w.refused(c.code)
			w.closed()
		})
	}
	t.Run("drip", func(t *testing.T) {
		t.Parallel()
		w := h.dial()
		w.t = t
		w.send("%s", post)
		go func() {
			for range 100 { // each byte is in time for the one before
				if _, err := w.Write([]byte(" ")); err != nil {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
		}()
		start := time.Now()
		w.refused(codeRequestTimeout)
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("after %v", d)
		}
	})
	t.Run("silent", func(t *testing.T) {
		t.Parallel()
		w := h.dial()
		w.t = t
		w.closed()
	})
	t.Run("gone", func(t *testing.T) {
		t.Parallel()
		w := h.dial()
		w.t = t
		w.send("%s{", post)
		_ = w.Conn.(interface{ CloseWrite() error }).CloseWrite()
		w.refused(codeBadRequest)
		w.closed()
	})
}

// A refused body is not read into memory, and a client that sends all of it before it reads still gets the
// answer.
func TestBodyTooLarge(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxBodyBytes = 64 << 10 })
	big := bytes.Repeat([]byte(" "), 8<<20)
	for _, chunked := range []bool{false, true} {
		p := h.refused(codeBodyTooLarge, call{method: "POST", path: "/v1/compare", body: big, chunked: chunked})
		if !strings.Contains(p.Detail, "65536") {
			t.Errorf("detail %q", p.Detail)
		}
	}
	h.refused(codeBadJSON, call{method: "POST", path: "/v1/compare", body: big[:64<<10]})
	h.refused(codeBadJSON, call{method: "POST", path: "/v1/compare", body: big[:64<<10], chunked: true})
	h.refused(codeBodyTooLarge, call{method: "POST", path: "/v1/compare", body: big[:64<<10+1], chunked: true})

	for name, head := range map[string]string{
		"known":   h.head("POST", "/v1/compare", jsonType, fmt.Sprintf("Content-Length: %d", len(big))),
		"chunked": h.head("POST", "/v1/compare", jsonType, "Transfer-Encoding: chunked") + fmt.Sprintf("%x\r\n", len(big)),
		"nobody":  strings.Replace(h.head("POST", "/v1/compare", fmt.Sprintf("Content-Length: %d", len(big))), "Bearer", "Beer", 1),
	} {
		t.Run(name, func(t *testing.T) {
			w := h.dial()
			w.t = t
			w.send("%s", head)
			if _, err := w.Write(big); err != nil {
				t.Fatalf("the server broke off before it answered: %v", err)
			}
			if a := w.answer(); (a.status != 413 && name != "nobody") || (a.status != 401 && name == "nobody") {
				t.Errorf("%d %s", a.status, a.body)
			}
			w.closed()
		})
	}
	h.idle()
}

func TestBodyBudget(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxBodyBytes, c.MaxBodyBytesInFlight = 40<<10, 60<<10 })
	h.staff()
	slow := h.dial()
	body := append(probeJSON(near(1, 16), ""), bytes.Repeat([]byte(" "), 38<<10)...)
	slow.send("%s%s", h.head("POST", "/v1/galleries/staff/identify", jsonType, fmt.Sprintf("Content-Length: %d", len(body))), body[:100])
	for h.server.budget.used.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	for _, chunked := range []bool{false, true} {
		a := h.want(503, call{method: "POST", path: "/v1/galleries/staff/identify", body: body, chunked: chunked})
		if a.problem(t).Code != codeOverloaded || !strings.Contains(a.problem(t).Detail, "bytes") {
			t.Errorf("%s", a.body)
		}
	}
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(near(1, 16), "")})
	slow.send("%s", body[100:])
	if a := slow.answer(); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	h.idle()
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/identify", body: body})
}

func TestExpect(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	body := probeJSON(near(1, 16), "")
	w := h.dial()
	for range 2 { // and the connection goes on
		w.send("%s", h.head("POST", "/v1/galleries/staff/identify", jsonType, "Expect: 100-continue", fmt.Sprintf("Content-Length: %d", len(body))))
		if a := w.answer(); a.status != 100 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		w.send("%s", body)
		if a := w.answer(); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
}

// A request that waits for leave to send its body and will be refused is refused at once, with the problem.
func TestExpectRefused(t *testing.T) {
	h := newHarness(t, nil)
	for name, c := range map[string]struct {
		code code
		head string
	}{
		"too large": {codeBodyTooLarge, h.head("POST", "/v1/compare", "Expect: 100-continue", jsonType, "Content-Length: 999999999")},
		"no route":  {codeRouteNotFound, h.head("POST", "/v1/x", "Expect: 100-continue", jsonType, "Content-Length: 10")},
		"no key":    {codeKeyMissing, "POST /v1/compare HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := h.dial()
			w.t = t
			w.send("%s", c.head)
			a := w.refused(c.code)
			if a.header.Get("X-Request-Id") == "" || a.header.Get("Connection") != "close" {
				t.Errorf("%v", a.header)
			}
			w.closed()
		})
	}
}

func TestPipelining(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	body := probeJSON(near(1, 16), "")
	post := h.head("POST", "/v1/galleries/staff/identify", jsonType, fmt.Sprintf("Content-Length: %d", len(body))) + string(body)
	chunked := h.head("POST", "/v1/galleries/staff/identify", jsonType, "Transfer-Encoding: chunked") +
		fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	w := h.dial()
	w.send("%s", post+h.head("GET", "/v1/galleries/staff")+chunked+h.head("GET", "/v1/galleries/none")+post)
	for i, want := range []int{200, 200, 200, 404, 200} {
		if a := w.answer(); a.status != want {
			t.Fatalf("answer %d: %d %s", i, a.status, a.body)
		}
	}
}

// A body that the server leaves unread is never taken for the next request.
func TestNoSmuggling(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	inner := h.head("DELETE", "/v1/galleries/staff")
	for name, head := range map[string]string{
		"get with a body":    h.head("GET", "/v1/galleries/staff", fmt.Sprintf("Content-Length: %d", len(inner))),
		"delete with a body": h.head("DELETE", "/v1/galleries/none", fmt.Sprintf("Content-Length: %d", len(inner))),
		"health with a body": h.head("GET", "/healthz", fmt.Sprintf("Content-Length: %d", len(inner))),
		"options":            h.head("OPTIONS", "/v1/compare", fmt.Sprintf("Content-Length: %d", len(inner))),
		"refused":            h.head("POST", "/v1/none", fmt.Sprintf("Content-Length: %d", len(inner))),
		"not json":           h.head("POST", "/v1/none", "Content-Type: text/plain", fmt.Sprintf("Content-Length: %d", len(inner))),
	} {
		t.Run(name, func(t *testing.T) {
			w := h.dial()
			w.t = t
			w.send("%s", head+inner)
			if a := w.answer(); a.header.Get("Connection") != "close" {
				t.Errorf("%d %v", a.status, a.header)
			}
			w.closed()
			h.want(200, call{method: "GET", path: "/v1/galleries/staff"})
		})
	}
}

func TestBrokenRequests(t *testing.T) {
	h := newHarness(t, nil)
	chunked := h.head("POST", "/v1/compare", jsonType, "Transfer-Encoding: chunked")
	for name, c := range map[string]struct {
		bytes string
		code  code
	}{
		"garbage":       {"hello\r\n\r\n", codeBadRequest},
		"no host":       {"GET /healthz HTTP/1.1\r\n\r\n", codeBadRequest},
		"two lengths":   {h.head("POST", "/v1/compare", "Content-Length: 1", "Content-Length: 2") + "xx", codeBadRequest},
		"both framings": {h.head("POST", "/v1/compare", jsonType, "Content-Length: 3", "Transfer-Encoding: chunked") + "2\r\n{}\r\n0\r\n\r\n", codeBadRequest},
		"coding":        {h.head("POST", "/v1/compare", "Transfer-Encoding: gzip"), codeBadRequest},
		"large header":  {h.head("GET", "/healthz", "X: "+strings.Repeat("x", 20<<10)), codeHeaderTooLarge},
		"chunk size":    {chunked + "zz\r\n", codeBadRequest},
		"chunk end":     {chunked + "2\r\n{}xx", codeBadRequest},
		"long chunk":    {chunked + "ffffffffffffffffffff\r\n{", codeBadRequest},
		"wrong percent": {h.head("GET", "/v1/galleries/%zz"), codeBadID},
		"method":        {h.head("FROBNICATE", "/v1/galleries/x"), codeMethodNotAllowed},
		"absolute":      {h.head("GET", "http://x/v1/galleries/none"), codeGalleryNotFound},
		"asterisk":      {h.head("OPTIONS", "*"), codeRouteNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			w := h.dial()
			w.t = t
			w.send("%s", c.bytes)
			w.refused(c.code)
		})
	}
}

func TestMaxConns(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxConns = 2 })
	first, second := h.dial(), h.dial()
	for _, w := range []*wire{first, second} {
		w.send("%s", h.head("GET", "/healthz"))
		w.answer()
	}
	over := h.dial()
	over.send("%s", h.head("GET", "/healthz"))
	if a := over.refused(codeOverloaded); a.header.Get("Retry-After") != "1" {
		t.Errorf("%v", a.header)
	}
	over.closed()
	_ = first.Close()
	for range 200 {
		if h.server.mu.listener.open() < 2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.want(200, call{method: "GET", path: "/healthz"})
}

// stingyListener has no file descriptors left for a while.
type stingyListener struct {
	net.Listener
	left int
}

func (l *stingyListener) Accept() (net.Conn, error) {
	if l.left > 0 {
		l.left--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestAcceptSurvives(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Engine: openEngine(t, engineConfig(t.TempDir(), testSpace))})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(&stingyListener{inner, 3}) }()
	resp, err := nethttp.Get("http://" + inner.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A shutdown loses nothing of what was begun: the request in flight is answered and its write is there, the
// readiness says no meanwhile, and nobody else gets in.
func TestShutdownFinishes(t *testing.T) {
	g := newGate()
	e := openEngine(t, engineConfig(t.TempDir(), testSpace))
	h := newHarnessOn(t, e, func(c *Config) { c.Extractor, c.DrainDelay = g, 300*time.Millisecond })
	h.staff()
	h.want(200, call{method: "GET", path: "/readyz"})
	done := make(chan answer)
	go func() {
		done <- h.do(call{method: "PUT", path: "/v1/galleries/staff/people/eve", body: []byte(`{"images":["AAAA"]}`)})
	}()
	<-g.entered
	stopped := make(chan struct{})
	go func() { h.stop(); close(stopped) }()
	for !h.server.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	a := h.want(503, call{method: "GET", path: "/readyz"}) // within DrainDelay
	if !strings.Contains(string(a.body), "shutting down") {
		t.Errorf("%s", a.body)
	}
	time.Sleep(500 * time.Millisecond)
	if c, err := net.Dial("tcp", h.addr); err == nil {
		_ = c.Close()
		t.Error("the server still accepts")
	}
	select {
	case <-stopped:
		t.Error("Shutdown did not wait")
	default:
	}
	close(g.open)
	if a := <-done; a.status != 201 || a.header.Get("Connection") != "" && a.header.Get("Connection") != "close" {
		t.Errorf("%d %s", a.status, a.body)
	}
	<-stopped
	if _, err := e.Person(t.Context(), "default", "staff", "eve"); err != nil {
		t.Error(err)
	}
}

// A shutdown that runs out of time ends the work that is in flight and says so.
func TestShutdownGivesUp(t *testing.T) {
	g := newGate()
	cfg := Config{Engine: openEngine(t, engineConfig(t.TempDir(), testSpace)), Extractor: g}
	client := secure(t, &cfg)
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, token, err := s.engine.CreateKey(t.Context(), "default", engine.KeySpec{Role: engine.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	c := dialTo(t, ln.Addr().String(), client)
	fmt.Fprintf(c, "POST /v1/extract HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\nContent-Length: 16\r\n\r\n{\"image\":\"AAAA\"}", token, jsonType)
	<-g.entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown: %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := s.Serve(ln); err == nil {
		t.Error("Serve may be called once")
	}
	for s.slots.inUse() > 0 { // the work ends, for its context did
		time.Sleep(time.Millisecond)
	}
}

func TestShutdownBeforeServe(t *testing.T) {
	s, err := New(Config{Engine: openEngine(t, engineConfig(t.TempDir(), testSpace))})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(ln); err != nil {
		t.Error(err)
	}
}

// Many clients that enrol, search and delete at once.
func TestConcurrentClients(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 15 {
				path := fmt.Sprintf("/v1/galleries/staff/people/p%d-%d", i, j)
				v := vector(uint64(100*i+j+10), 16)
				for _, c := range []call{
					{method: "PUT", path: path, body: personJSON(v), chunked: j%2 == 0},
					{method: "POST", path: path + "/verify", body: probeJSON(v, "")},
					{method: "POST", path: "/v1/galleries/staff/identify", body: probeJSON(v, "")},
					{method: "DELETE", path: path},
				} {
					if a := h.do(c); a.status >= 300 {
						t.Errorf("%s %s: %d %s", c.method, c.path, a.status, a.body)
					}
				}
			}
		})
	}
	wg.Wait()
	h.idle()
}

// Whatever was written when a shutdown came among busy clients, its client was told so: no request is begun
// and then dropped. One client pipelines, the others wait for each answer.
func TestShutdownAmongClients(t *testing.T) {
	e := openEngine(t, engineConfig(t.TempDir(), testSpace))
	h := newHarnessOn(t, e, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	var told atomic.Int64
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for j := 0; ; j++ {
				path := fmt.Sprintf("/v1/galleries/staff/people/c%d-%d", i, j)
				a, err := h.try(call{method: "PUT", path: path, body: personJSON(vector(1, 16))})
				if err != nil {
					return // refused a connection, or an idle one was closed
				}
				if a.status == 201 {
					told.Add(1)
				}
			}
		})
	}
	clients.Go(func() { told.Add(h.pipeline(2000)) })
	for told.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	h.stop()
	clients.Wait()
	g, err := e.Gallery(t.Context(), "default", "staff")
	if err != nil {
		t.Fatal(err)
	}
	if int64(g.People) != told.Load() {
		t.Errorf("%d people are stored, of %d their clients were told", g.People, told.Load())
	}
	if g.People >= 2000 {
		t.Error("the shutdown came too late to show anything")
	}
}

// pipeline sends n enrolments without waiting and returns how many were answered by 201.
func (h *harness) pipeline(n int) (created int64) {
	w := h.dial()
	go func() {
		body := personJSON(vector(2, 16))
		for i := range n {
			if _, err := fmt.Fprintf(w, "%s%s", h.head("PUT", fmt.Sprintf("/v1/galleries/staff/people/p%d", i), jsonType,
				fmt.Sprintf("Content-Length: %d", len(body))), body); err != nil {
				return // the server closed
			}
		}
	}()
	for range n {
		resp, err := nethttp.ReadResponse(w.r, nil)
		if err != nil {
			return created
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return created
		}
		if resp.StatusCode == 201 {
			created++
		}
	}
	return created
}

// A large answer is charged to the byte budget until its client has taken it, and given back then, or when the client
// leaves.
func TestAnswerBudget(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxBodyBytes, c.MaxBodyBytesInFlight = 128<<10, 12<<20 })
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	for i := range 600 { // more than fit into one page
		h.want(201, call{method: "PUT", path: fmt.Sprintf("/v1/galleries/staff/people/p%d", i),
			body: fmt.Appendf(nil, `{"metadata":{"note":%q},"templates":[%s]}`, strings.Repeat("<", 16000), templateJSON(vector(1, 16)))})
	}
	const list = "/v1/galleries/staff/people?limit=1000"
	used := func(want func(int64) bool) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !want(h.server.budget.used.Load()); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d bytes are charged", h.server.budget.used.Load())
			}
		}
	}
	none := func(n int64) bool { return n == 0 }
	size := int64(len(h.want(200, call{method: "GET", path: list}).body))
	if size < 8<<20 || size > 9<<20 {
		t.Fatalf("a page of %d bytes", size)
	}
	used(none)
	w := h.dial() // asks and does not read: what the sockets' buffers do not take stays with the server
	if err := w.Conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	w.send("%s", h.head("GET", list))
	used(func(n int64) bool { return n == size })
	second := h.dial()
	second.send("%s", h.head("GET", list))
	second.refused(codeOverloaded)
	_ = w.Close()
	_ = second.Close()
	used(none)
}

// TestLengthAndChunks: a request with both is refused wherever Content-Length is among its fields.
func TestLengthAndChunks(t *testing.T) {
	h := newHarness(t, nil)
	body := `{"index":"scan"}`
	for _, fields := range []string{"Content-Length: 4\r\nHost: x\r\n", "Host: x\r\nContent-Length: 4\r\n"} {
		c := dialTo(t, h.addr, h.tls)
		_, err := fmt.Fprintf(c, "PUT /v1/galleries/staff HTTP/1.1\r\n%sAuthorization: Bearer %s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
			fields, h.token(engine.RoleAdmin), len(body), body)
		if err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, " 400 ") {
			t.Errorf("%q: %q %v", fields, line, err)
		}
	}
}
