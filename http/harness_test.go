package http

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"mime/multipart"
	"net"
	nethttp "net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"mien/engine"
	"mien/engine/transfer"
	"mien/extract"
	"mien/extract/extracttest"
	"mien/http/certs/testca"
)

// testSpace is a small embedding space: most tests send templates.
var testSpace = engine.Space{ID: "test-16", Dim: 16, Calibration: engine.Calibration{Points: []engine.CalibrationPoint{
	{Cosine: 0.2, FMR: 1e-2}, {Cosine: 0.4, FMR: 1e-4}, {Cosine: 0.6, FMR: 1e-7, Extrapolated: true},
}}}

// harness is a server on a real engine in a temporary folder, and a client that checks every request and
// answer against the document.
type harness struct {
	t       testing.TB
	engine  *engine.Engine
	server  *Server
	addr    string
	tls     *tls.Config // of clients; nil: plain
	client  *nethttp.Client
	tokens  map[engine.Role]string
	log     *syncBuffer
	stopped sync.Once
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func engineConfig(dir string, spaces ...engine.Space) engine.Config {
	return engine.Config{Dir: dir, MasterKey: bytes.Repeat([]byte{7}, engine.MasterKeyBytes), Spaces: spaces}
}

func openEngine(t testing.TB, c engine.Config) *engine.Engine {
	t.Helper()
	e, err := engine.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// newHarness serves templates of testSpace; change may edit the configuration.
func newHarness(t testing.TB, change func(*Config)) *harness {
	t.Helper()
	return newHarnessOn(t, openEngine(t, engineConfig(t.TempDir(), testSpace)), change)
}

func newHarnessOn(t testing.TB, e *engine.Engine, change func(*Config)) *harness {
	t.Helper()
	h := &harness{t: t, engine: e, tokens: map[engine.Role]string{}, log: &syncBuffer{}}
	cfg := Config{Engine: e, Logger: slog.New(slog.NewJSONHandler(h.log, nil))}
	h.tls = secure(t, &cfg)
	if change != nil {
		change(&cfg)
	}
	var err error
	if h.server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(ln) }()
	transport := &nethttp.Transport{MaxIdleConnsPerHost: 64, TLSClientConfig: h.tls}
	h.client = &nethttp.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		h.stop()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return h
}

// overTLS is the test whose subtests run over TLS.
const overTLS = "TestOverTLS/"

// secure gives a server TLS below overTLS and returns the configuration of its clients, nil elsewhere.
func secure(t testing.TB, c *Config) *tls.Config {
	if !strings.HasPrefix(t.Name(), overTLS) {
		return nil
	}
	ca := testca.New(t)
	server := &tls.Config{NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{ca.Pair("mien.test")}}
	c.TLS = func() *tls.Config { return server }
	return &tls.Config{RootCAs: ca.Pool(), ServerName: "mien.test"}
}

// dialTo opens a bare connection, with TLS if client is not nil.
func dialTo(t testing.TB, addr string, client *tls.Config) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	if client == nil {
		return c
	}
	return tls.Client(c, client)
}

func (h *harness) stop() {
	h.stopped.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := h.server.Shutdown(ctx); err != nil {
			h.t.Errorf("Shutdown: %v", err)
		}
	})
}

// token returns a key of the role in tenant "default"; the admin's is an operator's.
func (h *harness) token(role engine.Role) string {
	h.t.Helper()
	if h.tokens[role] == "" {
		_, token, err := h.engine.CreateKey(context.Background(), "default",
			engine.KeySpec{Role: role, Operator: role == engine.RoleAdmin})
		if err != nil {
			h.t.Fatal(err)
		}
		h.tokens[role] = token
	}
	return h.tokens[role]
}

// answer is a response, read.
type answer struct {
	status int
	header nethttp.Header
	body   []byte
}

func (a answer) problem(t testing.TB) problemBody {
	t.Helper()
	var p problemBody
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != problemType {
		t.Fatalf("status %d: no problem: %s %q", a.status, a.header.Get("Content-Type"), a.body)
	}
	return p
}

func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v in %q", err, a.body)
	}
}

// call is a request in short; header is pairs of name and value.
type call struct {
	method, path string
	token        string
	contentType  string
	body         []byte
	chunked      bool
	header       []string
}

// do sends the request as admin unless it says otherwise, and checks both directions against the document.
func (h *harness) do(c call) answer {
	h.t.Helper()
	a, err := h.try(c)
	if err != nil {
		h.t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	return a
}

func (h *harness) request(c call) *nethttp.Request {
	h.t.Helper()
	var body io.Reader
	if c.body != nil {
		body = bytes.NewReader(c.body)
	}
	if c.chunked {
		body = io.MultiReader(body) // hides the length
	}
	req, err := nethttp.NewRequest(c.method, "http://"+h.addr+c.path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	if h.tls != nil {
		req.URL.Scheme = "https"
	}
	switch c.token {
	case "":
		req.Header.Set("Authorization", "Bearer "+h.token(engine.RoleAdmin))
	case "none":
	default:
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.contentType == "" && c.body != nil {
		c.contentType = "application/json"
	}
	if c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	for i := 0; i < len(c.header); i += 2 {
		req.Header.Add(c.header[i], c.header[i+1])
	}
	return req
}

func (h *harness) try(c call) (answer, error) {
	h.t.Helper()
	req := h.request(c)
	resp, err := h.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{resp.StatusCode, resp.Header, body}
	checked := h.request(c)
	if err := document().check(checked, a); err != nil {
		h.t.Errorf("%s %s → %d is not as the document has it: %v\nbody: %.2000s", c.method, c.path, a.status, err, body)
	}
	return a, nil
}

// want does the request and demands the status.
func (h *harness) want(status int, c call) answer {
	h.t.Helper()
	a := h.do(c)
	if a.status != status {
		h.t.Fatalf("%s %s: status %d, want %d: %s", c.method, c.path, a.status, status, a.body)
	}
	return a
}

// refused does the request and demands a problem of the code.
func (h *harness) refused(want code, c call) problemBody {
	h.t.Helper()
	a := h.do(c)
	p := a.problem(h.t)
	if p.Code != want || a.status != codes[want].status {
		h.t.Fatalf("%s %.100s: status %d, %s; want %s", c.method, c.path, a.status, a.body, want)
	}
	return p
}

// contract is the document as kin-openapi has it.
type contract struct {
	doc    *openapi3.T
	router routers.Router
}

var document = sync.OnceValue(func() *contract {
	doc, err := openapi3.NewLoader().LoadFromData(openapi)
	if err != nil {
		panic(err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	for _, m := range []string{"image/jpeg", "image/png", ndjsonType, transfer.BinaryType, frameType} {
		openapi3filter.RegisterBodyDecoder(m, openapi3filter.FileBodyDecoder)
	}
	return &contract{doc, router}
})

// check holds an answer, and the request if the answer says that it was well formed, against the document.
func (d *contract) check(req *nethttp.Request, a answer) error {
	if req.Method == nethttp.MethodHead {
		return nil
	}
	route, params, err := d.router.FindRoute(req)
	if err != nil {
		return d.checkStray(a)
	}
	in := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			SkipSettingDefaults: true, IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	}
	if wellFormed(a.status) {
		if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
			return fmt.Errorf("request: %w", err)
		}
	}
	if a.status == 405 || a.status == 431 {
		return d.checkStray(a)
	}
	if a.status == 429 { // any request with a key may be answered so
		if a.header.Get("Retry-After") == "" {
			return fmt.Errorf("429 without Retry-After")
		}
		return d.checkStray(a)
	}
	return openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: a.status, Header: a.header,
		Body: io.NopCloser(bytes.NewReader(a.body)), Options: in.Options,
	})
}

// wellFormed reports whether a request that was answered so must be as the document says.
func wellFormed(status int) bool {
	switch status {
	case 400, 401, 403, 405, 408, 413, 415, 429, 431:
		return false
	}
	return true
}

// checkStray checks an answer that belongs to no operation: a problem, or the answer to OPTIONS.
func (d *contract) checkStray(a answer) error {
	if a.status == 204 {
		return nil
	}
	var v any
	if err := json.Unmarshal(a.body, &v); err != nil {
		return fmt.Errorf("no problem: %w", err)
	}
	return d.doc.Components.Schemas["Problem"].Value.VisitJSON(v, openapi3.EnableJSONSchema2020())
}

// Templates of testSpace.

func vector(seed uint64, dim int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// near returns a vector close to vector(seed).
func near(seed uint64, dim int) []float32 {
	v := vector(seed, dim)
	v[0] += 0.1
	return v
}

func b64(v []float32) string {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}

func templateJSON(v []float32) string {
	return fmt.Sprintf(`{"space":"%s","f32":"%s"}`, testSpace.ID, b64(v))
}

func probeJSON(v []float32, more string) []byte {
	return fmt.Appendf(nil, `{"template":%s%s}`, templateJSON(v), more)
}

func personJSON(v ...[]float32) []byte {
	var ts []string
	for _, x := range v {
		ts = append(ts, templateJSON(x))
	}
	return fmt.Appendf(nil, `{"templates":[%s]}`, strings.Join(ts, ","))
}

// staff makes the gallery "staff" with ada (1) and bob (2).
func (h *harness) staff() {
	h.t.Helper()
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/ada", body: personJSON(vector(1, 16))})
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/bob", body: personJSON(vector(2, 16))})
}

// part is a part of a multipart form; file is a file name, or "" for a text field.
type part struct {
	name, file, contentType string
	data                    []byte
}

func form(t testing.TB, parts ...part) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		header := map[string][]string{}
		disposition := fmt.Sprintf(`form-data; name="%s"`, p.name)
		if p.file != "" {
			disposition += fmt.Sprintf(`; filename="%s"`, p.file)
		}
		header["Content-Disposition"] = []string{disposition}
		if p.contentType != "" {
			header["Content-Type"] = []string{p.contentType}
		}
		pw, err := w.CreatePart(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pw.Write(p.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

// Photos and the real extractor.

func face(t testing.TB, name string) []byte { return extracttest.Photo(t, name) }

// newPhotoHarness serves photos with the models that make setup makes.
func newPhotoHarness(t testing.TB) *harness {
	t.Helper()
	x := extracttest.Default(t)
	m := x.Manifest()
	space := engine.Space{ID: m.Space, Dim: m.Dim}
	for _, p := range m.Calibration {
		space.Calibration.Points = append(space.Calibration.Points, engine.CalibrationPoint(p))
	}
	e := openEngine(t, engineConfig(t.TempDir(), space, testSpace))
	return newHarnessOn(t, e, func(c *Config) { c.Extractor = x })
}

// extractorFunc stands for the extractor where a test must decide when it returns.
type extractorFunc func(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error)

func (f extractorFunc) Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error) {
	return f(ctx, data, o)
}

func TestMain(m *testing.M) {
	status := m.Run()
	extracttest.Close()
	os.Exit(status)
}
