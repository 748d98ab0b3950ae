// Package dialecttest runs a dialect as it is served: the whole server on a real engine, with the real models, on a port of its own. It is
// for tests only. Coverage holds what was asked and answered against the dialect's table of outcomes.
package dialecttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/dialect"
)

// Server is a running server with the gallery "people" of the tenant "default".
type Server struct {
	T      testing.TB
	Engine *engine.Engine
	URL    string // scheme and host
	Log    *Log
	client *nethttp.Client
}

// Log is what the server has logged. Safe for concurrent use.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all of it.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// New starts a server; change may edit its configuration, and that of the engine.
func New(t testing.TB, change func(*http.Config, *engine.Config)) *Server {
	t.Helper()
	x := extracttest.Default(t)
	m := x.Manifest()
	space := engine.Space{ID: m.Space, Dim: m.Dim}
	for _, p := range m.Calibration {
		space.Calibration.Points = append(space.Calibration.Points, engine.CalibrationPoint(p))
	}
	s := &Server{T: t, Log: new(Log)}
	ec := engine.Config{Dir: t.TempDir(), MasterKey: bytes.Repeat([]byte{7}, engine.MasterKeyBytes), Spaces: []engine.Space{space}}
	hc := http.Config{Extractor: x, Logger: slog.New(slog.NewJSONHandler(s.Log, nil)), RequestTimeout: time.Minute}
	if change != nil {
		change(&hc, &ec)
	}
	s.openEngine(ec)
	hc.Engine = s.Engine
	s.serve(hc)
	s.Gallery("people", engine.GallerySpec{})
	return s
}

func (s *Server) openEngine(c engine.Config) {
	s.T.Helper()
	var err error
	if s.Engine, err = engine.Open(c); err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() {
		if err := s.Engine.Close(); err != nil && !errors.Is(err, engine.ErrStorageFailed) { // which a test may have meant
			s.T.Error(err)
		}
	})
}

func (s *Server) serve(c http.Config) {
	s.T.Helper()
	server, err := http.New(c)
	if err != nil {
		s.T.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.T.Fatal(err)
	}
	s.URL = "http://" + ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	transport := &nethttp.Transport{}
	s.client = &nethttp.Client{Transport: transport, Timeout: time.Minute}
	s.T.Cleanup(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			s.T.Error(err)
		}
		if err := <-served; err != nil {
			s.T.Error(err)
		}
	})
}

// Gallery makes a gallery of the tenant "default".
func (s *Server) Gallery(name string, spec engine.GallerySpec) {
	s.T.Helper()
	if _, _, err := s.Engine.CreateGallery(s.T.Context(), "default", name, spec); err != nil {
		s.T.Fatal(err)
	}
}

// Key makes a client's key for a gallery of the tenant "default".
func (s *Server) Key(dialect, gallery string) string {
	s.T.Helper()
	return s.KeyOf("default", engine.KeySpec{Role: engine.RoleClient, Dialect: dialect, Galleries: []string{gallery}})
}

// KeyOf makes any key.
func (s *Server) KeyOf(tenant string, spec engine.KeySpec) string {
	s.T.Helper()
	_, token, err := s.Engine.CreateKey(s.T.Context(), tenant, spec)
	if err != nil {
		s.T.Fatal(err)
	}
	return token
}

// Answer is a response, read.
type Answer struct {
	Status int
	Header nethttp.Header
	Body   []byte
}

// Into decodes the body, which must have no field that v has not.
func (a Answer) Into(t testing.TB, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%v in %q", err, a.Body)
	}
}

// Do sends a request; header is pairs of name and value. A body without a Content-Type among them is JSON.
func (s *Server) Do(method, path string, body []byte, header ...string) Answer {
	s.T.Helper()
	req, err := nethttp.NewRequestWithContext(s.T.Context(), method, s.URL+path, bytes.NewReader(body))
	if err != nil {
		s.T.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.T.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		s.T.Fatal(err)
	}
	return Answer{resp.StatusCode, resp.Header, read}
}

// Coverage is which outcomes of a dialect's table were reached by requests of which tests.
type Coverage struct {
	d   *dialect.Dialect
	of  func(op string, a Answer) dialect.Outcome
	mu  sync.Mutex
	got map[dialect.Outcome]string
}

// NewCoverage is that of a dialect; of tells an answer's outcome.
func NewCoverage(d *dialect.Dialect, of func(op string, a Answer) dialect.Outcome) *Coverage {
	return &Coverage{d: d, of: of, got: map[dialect.Outcome]string{}}
}

// Saw notes an answer of an operation. One that is not in the table is an error.
func (c *Coverage) Saw(t testing.TB, op string, a Answer) {
	t.Helper()
	o := c.of(op, a)
	o.Cause = ""
	if !slices.ContainsFunc(c.d.Outcomes, func(x dialect.Outcome) bool { x.Cause = ""; return x == o }) {
		t.Errorf("%s answers %d %s, which is not in the table of outcomes: %.300s", op, o.Status, o.Code, a.Body)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.got[o] == "" {
		c.got[o] = t.Name()
	}
}

// Report prints the table, one row an outcome with a test that reached it, and fails for each that none did. It is to be called when
// all other tests of a package have run: from TestMain, or by the last test.
func (c *Coverage) Report(w io.Writer) (complete bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	complete = true
	for _, o := range c.d.Outcomes {
		o.Cause = ""
		test := c.got[o]
		if test == "" {
			test, complete = "NO TEST", false
		}
		_, _ = io.WriteString(w, strings.Join([]string{o.Op, o.String(), test}, "\t")+"\n")
	}
	return complete
}
