package load

import (
	"bufio"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func newClient(t *testing.T, ln net.Listener) *Client {
	t.Helper()
	c, err := NewClient("http://"+ln.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// serve answers by h until the test is over.
func serve(t *testing.T, h fasthttp.RequestHandler) *Client {
	t.Helper()
	ln := listen(t)
	s := &fasthttp.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	c := newClient(t, ln)
	t.Cleanup(func() { _ = c.Close(); _ = s.Shutdown(); <-done })
	return c
}

func TestClient(t *testing.T) {
	var first, last atomic.Int64 // connections of this process, which numbers them from 1
	c := serve(t, func(ctx *fasthttp.RequestCtx) {
		last.Store(int64(ctx.ConnID()))
		first.CompareAndSwap(0, last.Load())
		switch string(ctx.Path()) {
		case "/refuse":
			ctx.Error(`{"code":"overloaded"}`, 503)
		case "/close":
			ctx.SetConnectionClose()
		case "/hang":
			time.Sleep(50 * time.Millisecond)
		default:
			if string(ctx.Request.Header.Peek("Authorization")) != "Bearer key" || string(ctx.PostBody()) != "body" || string(ctx.Request.Header.ContentType()) != "text/plain" {
				ctx.Error("bad", 400)
			}
		}
	})
	for i, step := range []struct {
		path  string
		want  Answer
		conns int64 // opened so far
	}{
		{"/", Answer{Status: 200}, 1},
		{"/refuse", Answer{503, "overloaded"}, 1},
		{"/close", Answer{Status: 200}, 1},
		{"/", Answer{Status: 200}, 2},
		{"/hang", Answer{Code: TimedOut}, 2},
		{"/", Answer{Status: 200}, 3},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if step.path == "/hang" {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 5*time.Millisecond)
		}
		if a := c.Do(ctx, c.Request(step.path, "key", "text/plain", []byte("body"))); a != step.want || last.Load()-first.Load()+1 != step.conns {
			t.Errorf("%d %s: %+v on connection %d", i, step.path, a, last.Load()-first.Load()+1)
		}
		cancel()
	}
}

func TestClientWithoutServer(t *testing.T) {
	ln := listen(t)
	c := newClient(t, ln)
	go func() { // one that breaks off
		n, err := ln.Accept()
		if err == nil {
			_, _ = bufio.NewReader(n).ReadString('\n')
			_ = n.Close()
		}
		_ = ln.Close()
	}()
	for range 2 {
		if a := c.Do(t.Context(), c.Request("/", "", "text/plain", nil)); a != (Answer{Code: Connection}) {
			t.Errorf("%+v", a)
		}
	}
	for _, bad := range []string{"", "127.0.0.1:8080", "ftp://a", "http://", "http://a/b"} {
		if _, err := NewClient(bad, nil); err == nil || !strings.Contains(err.Error(), "no address") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The whole road on the machine's clock, for a short while: Poisson at a rate that any machine bears.
func TestRunAgainstEmpty(t *testing.T) {
	ln := listen(t)
	stop := ServeEmpty(ln)
	c := newClient(t, ln)
	request := c.Request("/", "", "text/plain", make([]byte, 2000))
	r, err := Run(t.Context(), Config{
		Operations: []Operation{{"empty", 1, func(ctx context.Context, _ int) Answer { return c.Do(ctx, request) }}},
		Rate:       200, Poisson: true, Duration: 300 * time.Millisecond, Concurrency: 8,
	})
	if err != nil || r.All.Failed+r.All.Refused != 0 || r.All.Answered < 20 || r.Elapsed < 0.3 || r.All.Latency.P50 <= 0 {
		t.Errorf("%v: %+v", err, r)
	}
	if a := c.Do(t.Context(), c.Request("/", "", "text/plain", nil)); a.Status != 400 {
		t.Errorf("a request without a body: %+v", a)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
