// Package dialecttest runs a dialect as it is served: the whole server on a real engine, with the real models, on a port of its own. It is
// for tests only. Coverage holds what was asked and answered against the dialect's table of outcomes.
package dialecttest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	nethttp "net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
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

// Main runs a package's tests, for TestMain, and returns its exit status. Where all have run and an outcome of the table was reached by none, that is a
// failure; then, and with -v, it prints the table.
func (c *Coverage) Main(m *testing.M) int {
	flag.Parse()
	code := m.Run()
	extracttest.Close()
	var table strings.Builder
	complete := c.Report(&table)
	for _, part := range []string{"run", "skip", "fuzz", "list"} {
		if flag.Lookup("test."+part).Value.String() != "" {
			return code
		}
	}
	if code == 0 && !complete {
		fmt.Println("FAIL: outcomes that no test has reached")
		code = 1
	}
	if !complete || testing.Verbose() {
		fmt.Println(table.String())
	}
	return code
}

// Documented demands that the doc.go of the package under test has the table of outcomes between two texts; update writes it there.
func Documented(t testing.TB, d *dialect.Dialect, begins, ends string, update bool) {
	t.Helper()
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 1, 2, ' ', 0)
	for _, o := range d.Outcomes {
		fmt.Fprintf(w, "%s\t%s\t%s\n", cmp.Or(strings.TrimPrefix(o.Op, d.Name+"."), "-"), o, o.Cause)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := begins + "//\t" + strings.ReplaceAll(strings.TrimSpace(table.String()), "\n", "\n//\t") + ends
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	if update {
		before, rest, _ := strings.Cut(string(doc), begins)
		_, after, _ := strings.Cut(rest, ends)
		doc = []byte(before + want + after)
		if err := os.WriteFile("doc.go", doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(string(doc), want) {
		t.Errorf("doc.go has not this table (-update writes it):\n%s", want)
	}
}
