package http

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/http/certs"
	"mien/http/certs/testca"
)

// What bounds, refuses and shuts down must do so over TLS as well.
func TestOverTLS(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"Overload": TestOverload, "SlowClients": TestSlowClients, "BodyTooLarge": TestBodyTooLarge, "Expect": TestExpect,
		"ClientGone": TestClientGone, "ClientWaits": TestClientWaits,
		"Pipelining": TestPipelining, "MaxConns": TestMaxConns, "ConcurrentClients": TestConcurrentClients,
		"ShutdownFinishes": TestShutdownFinishes, "ShutdownGivesUp": TestShutdownGivesUp, "ShutdownAmongClients": TestShutdownAmongClients,
	} {
		t.Run(name, test)
	}
	t.Run("Protocols", testProtocols)
	t.Run("SlowHandshakes", testSlowHandshakes)
	t.Run("HandshakeFailures", testHandshakeFailures)
	t.Run("PlainRequest", testPlainRequest)
	t.Run("RejectSilent", testRejectSilent)
	t.Run("DeadlineOfWrites", testDeadlineOfWrites)
}

// TLS 1.3 if the client can, 1.2 if it must, nothing below; HTTP/1.1 by ALPN, and nobody who speaks HTTP/2 alone.
func testProtocols(t *testing.T) {
	h := newHarness(t, nil)
	for name, c := range map[string]struct {
		change func(*tls.Config)
		want   uint16 // 0: no handshake
		alpn   string
	}{
		"default":  {func(c *tls.Config) { c.NextProtos = []string{"h2", "http/1.1"} }, tls.VersionTLS13, "http/1.1"},
		"1.2":      {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, tls.VersionTLS12, ""},
		"1.1":      {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, 0, ""},
		"h2 alone": {func(c *tls.Config) { c.NextProtos = []string{"h2"} }, 0, ""},
		"stranger": {func(c *tls.Config) { c.ServerName = "other.test" }, 0, ""},
	} {
		config := h.tls.Clone()
		c.change(config)
		nc := dialTo(t, h.addr, config).(*tls.Conn)
		err := nc.Handshake()
		if s := nc.ConnectionState(); (err == nil) != (c.want != 0) || err == nil && (s.Version != c.want || s.NegotiatedProtocol != c.alpn) {
			t.Errorf("%s: %v, version %x, protocol %q", name, err, s.Version, s.NegotiatedProtocol)
		}
	}
}

// A client that never finishes its handshake counts in MaxConns, is cut after HeaderTimeout however it drips, and makes
// room then.
func testSlowHandshakes(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxConns, c.HeaderTimeout = 2, 500*time.Millisecond })
	start := time.Now()
	silent := dialTo(t, h.addr, nil)
	drip := dialTo(t, h.addr, nil)
	go func() {
		for _, b := range append([]byte{22, 3, 1, 1, 0, 1, 0, 0, 252}, make([]byte, 200)...) { // the head of a ClientHello
			if _, err := drip.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	for h.conns() < 2 {
		time.Sleep(time.Millisecond)
	}
	over := h.dial()
	over.send("%s", h.head("GET", "/healthz"))
	over.refused(codeOverloaded)
	for name, c := range map[string]net.Conn{"silent": silent, "drip": drip} {
		if _, err := io.ReadAll(c); isTimeout(err) {
			t.Errorf("%s: the connection is left open", name)
		}
	}
	if d := time.Since(start); d < 400*time.Millisecond || d > 5*time.Second {
		t.Errorf("cut after %v", d)
	}
	for h.conns() > 0 {
		time.Sleep(time.Millisecond)
	}
	h.want(200, call{method: "GET", path: "/healthz"})
}

// conns is the number of connections that count.
func (h *harness) conns() int {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	if h.server.mu.listener == nil {
		return 0
	}
	return h.server.mu.listener.open()
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// Whoever scans the port must not fill the log.
func testHandshakeFailures(t *testing.T) {
	h := newHarness(t, nil)
	for _, bytes := range []string{"", "\x16\x03\x01\x00\x05xxxxx", "\x00\x00\x00\x00\x00\x00", strings.Repeat("\xff", 5000), "SSH-2.0-x\r\n"} {
		c := dialTo(t, h.addr, nil)
		if _, err := io.WriteString(c, bytes); err != nil {
			t.Fatal(err)
		}
		_ = c.(*net.TCPConn).CloseWrite()
		if data, err := io.ReadAll(c); isTimeout(err) || strings.Contains(string(data), "HTTP") {
			t.Errorf("%q: %q, %v", bytes, data, err)
		}
	}
	for h.conns() > 0 {
		time.Sleep(time.Millisecond)
	}
	if text := h.log.String(); text != "" {
		t.Errorf("the log has\n%s", text)
	}
}

// Who forgot the s of https is told, without TLS.
func testPlainRequest(t *testing.T) {
	h := newHarness(t, nil)
	for _, method := range []string{"GET", "DELETE"} {
		c := dialTo(t, h.addr, nil)
		w := &wire{t, c, bufio.NewReader(c)}
		w.send("%s", h.head(method, "/v1/galleries"))
		if a := w.refused(codeBadRequest); a.status != 400 || !strings.Contains(string(a.body), "https") || a.header.Get("Retry-After") != "" {
			t.Errorf("%d %v %s", a.status, a.header, a.body)
		}
		w.closed()
	}
}

// A connection over the limit that does not shake hands is dropped soon, and a shutdown does not wait for it for long.
func testRejectSilent(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.MaxConns = 1 })
	first := h.dial()
	first.send("%s", h.head("GET", "/healthz"))
	first.answer()
	start := time.Now()
	over := dialTo(t, h.addr, nil)
	if _, err := io.ReadAll(over); isTimeout(err) {
		t.Error("the connection is left open")
	}
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("dropped after %v", d)
	}
}

// deadlines is a connection that notes its deadlines.
type deadlines struct {
	net.Conn
	write time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.write = t
	return nil
}

func (d *deadlines) SetReadDeadline(time.Time) error { return nil }

// While TLS reads, what it writes has a deadline too.
func testDeadlineOfWrites(t *testing.T) {
	raw := &deadlines{}
	l := newListener(deaf{}, listenerConfig{max: 1, tls: func() *tls.Config { return new(tls.Config) }, writeTimeout: time.Minute})
	c := l.admit(raw)
	at := time.Now().Add(time.Second)
	if err := c.SetReadDeadline(at); err != nil || !raw.write.Equal(at.Add(time.Minute)) {
		t.Errorf("%v, %v", raw.write, err)
	}
}

// deaf is a listener that nobody accepts from.
type deaf struct{ net.Listener }

func (deaf) Close() error { return nil }

// Certificates change while clients work: nobody notices on an open connection, every new one gets the new certificate, and
// pairs that don't fit are passed over.
func TestReloadUnderLoad(t *testing.T) {
	ca := testca.New(t)
	from, to := time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	var f certs.Files
	f.Cert, f.Key, _ = ca.Write(t.TempDir(), "first.test", from, to)
	source, err := certs.Open(f, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, func(c *Config) { c.TLS = source.Config })
	h.tls = &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	h.client.Transport.(*nethttp.Transport).TLSClientConfig = h.tls
	old := h.dial()
	old.send("%s", h.head("GET", "/v1/galleries"))
	old.answer()
	var done atomic.Bool
	var served atomic.Int64
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			for !done.Load() {
				h.want(200, call{method: "GET", path: "/v1/galleries"})
				served.Add(1)
				if i%2 == 0 { // half of them shake hands for each request
					h.client.CloseIdleConnections()
				}
			}
		})
	}
	for i := range 30 {
		name := fmt.Sprintf("r%d.test", i)
		certPEM, keyPEM := ca.Issue(name, from, to)
		for file, data := range map[string][]byte{f.Cert: certPEM, f.Key: keyPEM} {
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			source.Reload() // the first time with a pair that does not fit
		}
		nc := dialTo(t, h.addr, h.tls).(*tls.Conn)
		if err := nc.Handshake(); err != nil || nc.ConnectionState().PeerCertificates[0].Subject.CommonName != name {
			t.Fatalf("%v, certificate of %v; want %s", err, nc.ConnectionState().PeerCertificates[0].Subject, name)
		}
		_ = nc.Close()
		old.send("%s", h.head("GET", "/v1/galleries"))
		if a := old.answer(); a.status != 200 {
			t.Fatalf("the old connection: %d %s", a.status, a.body)
		}
	}
	done.Store(true)
	clients.Wait()
	t.Logf("%d requests beside 30 certificates", served.Load())
	if served.Load() < 30 {
		t.Error("too little load to show anything")
	}
}
