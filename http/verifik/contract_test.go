package verifik_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"mien/engine"
	"mien/extract"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/dialect"
	"mien/http/dialect/dialecttest"
	"mien/http/verifik"
)

const (
	opValidate = "validateBiometrics"
	opKeySet   = "verifikKeySet"
	path       = "/v2/biometric-validations/validate"
)

var coverage = dialecttest.NewCoverage(verifik.New(verifik.Config{}), func(op string, a dialecttest.Answer) dialect.Outcome {
	var e struct{ Code string }
	_ = json.Unmarshal(a.Body, &e)
	return dialect.Outcome{Op: op, Status: a.Status, Code: e.Code}
})

// TestMain fails when a row of the table was reached by no test, if all were run.
func TestMain(m *testing.M) { os.Exit(coverage.Main(m)) }

// world is a server with people, and an administrator's key.
type world struct {
	*dialecttest.Server
	admin string
	clock *clock
}

// clock is the engine's.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func newWorld(t *testing.T, change func(*http.Config, *engine.Config)) *world {
	w := &world{clock: new(clock)}
	w.Server = dialecttest.New(t, func(h *http.Config, e *engine.Config) {
		e.Now, h.MaxBodyBytes, h.WebhookHTTP, h.WebhookPrivate = w.clock.now, 1<<20, true, true
		if change != nil {
			change(h, e)
		}
	})
	w.admin = w.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin, Rate: 1e4})
	return w
}

// native asks the native API and decodes the answer.
func (w *world) native(t testing.TB, status int, method, path, key, body string, v any) {
	t.Helper()
	var b []byte
	if body != "" {
		b = []byte(body)
	}
	a := w.Do(method, path, b, "Authorization", "Bearer "+key)
	if a.Status != status {
		t.Fatalf("%s %s: %d, want %d: %s", method, path, a.Status, status, a.Body)
	}
	if v != nil {
		if err := json.Unmarshal(a.Body, v); err != nil {
			t.Fatal(err)
		}
	}
}

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func imageBody(data []byte) []byte { return fmt.Appendf(nil, `{"image":%q}`, b64(data)) }

// enrol enrols somebody natively, by the API.
func (w *world) enrol(t testing.TB, key, gallery, person, photo, metadata string) {
	t.Helper()
	w.native(t, 201, "PUT", "/v1/galleries/"+gallery+"/people/"+person, key, fmt.Sprintf(`{"images":[%q],"metadata":%s}`, b64(extracttest.Photo(t, photo)), metadata), nil)
}

type project struct {
	ID, Flow, Issuer string
	JWKS             string `json:"jwks_uri"`
	Webhook          struct{ URL, Secret, Disabled string }
}

func (w *world) project(t testing.TB, body string) (p project) {
	t.Helper()
	w.native(t, 201, "POST", "/v1/verifik/projects", w.admin, body, &p)
	return p
}

type session struct {
	ID, Token, Status, Validation, Person string
	Attempts                              int
}

func (w *world) session(t testing.TB, p project) (x session) {
	t.Helper()
	w.native(t, 201, "POST", "/v1/verifik/projects/"+p.ID+"/sessions", w.admin, `{"identifier":"user@example.com"}`, &x)
	return x
}

// look is the session as it is now.
func (w *world) look(t testing.TB, p project, x session) (now session) {
	t.Helper()
	w.native(t, 200, "GET", "/v1/verifik/projects/"+p.ID+"/sessions/"+x.ID, w.admin, "", &now)
	return now
}

// validate sends a body with a session's token and notes what came.
func (w *world) validate(t testing.TB, token string, body []byte, header ...string) dialecttest.Answer {
	t.Helper()
	a := w.Do("POST", path, body, append([]string{"Authorization", "Bearer " + token}, header...)...)
	coverage.Saw(t, opValidate, a)
	checkRefusal(t, a)
	return a
}

var refusalForm = regexp.MustCompile(`^\{"code":"[A-Za-z_0-9]+","message":"[^"\\]*(\\"image\\")?[^"\\]*"\}\n$`)

// checkRefusal holds an answer against what no refusal may tell.
func checkRefusal(t testing.TB, a dialecttest.Answer) {
	t.Helper()
	if a.Status == 200 {
		return
	}
	if !refusalForm.Match(a.Body) || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a refusal that is not in the vendor's form: %s %q", a.Header.Get("Content-Type"), a.Body)
	}
	for _, secret := range []string{"goroutine", "/work", ".go", "default", "ada", "people", "mien"} {
		if bytes.Contains(a.Body, []byte(secret)) {
			t.Errorf("a refusal tells of %q: %s", secret, a.Body)
		}
	}
}

// refused wants a refusal.
func refused(t testing.TB, a dialecttest.Answer, status int, code, message string) {
	t.Helper()
	var e struct{ Code, Message string }
	_ = json.Unmarshal(a.Body, &e)
	if message = cmp.Or(message, fmt.Sprint(status, ":", code)); a.Status != status || e.Code != code || e.Message != message {
		t.Errorf("%d %s, want %d %s %q", a.Status, a.Body, status, code, message)
	}
}

type validation struct {
	Data      json.RawMessage
	Signature string
	ID        string
}

// accepted wants a 200 and returns it and the id in the place of the person's.
func accepted(t testing.TB, a dialecttest.Answer) (v validation, person, token string) {
	t.Helper()
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	a.Into(t, &v)
	var d struct{ Person, Token string }
	if err := json.Unmarshal(v.Data, &d); err != nil {
		t.Fatal(err)
	}
	return v, d.Person, d.Token
}

// receiver is a webhook's other end.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	got    []received
}

type received struct {
	header nethttp.Header
	body   []byte
}

func newReceiver(t testing.TB) *receiver {
	r := &receiver{status: 204}
	r.Server = httptest.NewServer(nethttp.HandlerFunc(func(rw nethttp.ResponseWriter, req *nethttp.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, received{req.Header.Clone(), body})
		rw.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

// types waits for n events and returns their types and statuses, in order.
func (r *receiver) types(t testing.TB, n int) (list []string) {
	t.Helper()
	for range 200 {
		r.mu.Lock()
		got := r.got
		r.mu.Unlock()
		if len(got) >= n {
			for _, g := range got {
				var e struct {
					Type   string
					Object struct{ Status string }
				}
				if err := json.Unmarshal(g.body, &e); err != nil {
					t.Fatal(err)
				}
				list = append(list, e.Type+" "+e.Object.Status)
			}
			return list
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("no %d events came", n)
	return nil
}

// TestContract is everything that one server answers.
func TestContract(t *testing.T) {
	w := newWorld(t, func(h *http.Config, _ *engine.Config) { h.KeyRate, h.KeyBurst = 1e-6, 20 })
	w.enrol(t, w.admin, "people", "ada", "a_1.jpg", `{"name":"John Doe"}`)
	w.enrol(t, w.admin, "people", "00112233445566aabbccddee", "b_1.jpg", `{"name":7}`)
	for name, f := range map[string]func(*testing.T, *world){
		"example": testExample, "once": testOnce, "attempts": testAttempts, "photos": testPhotos, "bodies": testBodies, "tokens": testTokens,
		"keys": testKeys, "ends": testEnds, "others": testOthers, "paths": testPaths, "published": testPublished, "events": testEvents,
		"erasure": testErasure, "native": testNative, "rates": testRates, "golden": testGolden, "shared": testShared,
	} {
		t.Run(name, func(t *testing.T) { f(t, w) })
	}
}

// masks are what differs from one answer to the next.
var masks = []struct {
	form *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`"eyJ[^"]*"`), `"JWT"`},
	{regexp.MustCompile(`"signature":"[^"]+"`), `"signature":"SIGNATURE"`},
	{regexp.MustCompile(`"(xyz789|[0-9a-f]{24})"`), `"ID"`},
	{regexp.MustCompile(`"expiresAt":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z"`), `"expiresAt":"SECOND"`},
	{regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`), `"TIME"`},
}

func masked(body []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, body); err != nil {
		return string(body)
	}
	s := b.String()
	for _, m := range masks {
		s = m.form.ReplaceAllString(s, m.name)
	}
	return s
}

// testExample: the document's example, with a real photo in the place of "...", is answered with the document's answer: the same names in
// the same order, ids, times and statuses of the same form.
func testExample(t *testing.T, w *world) {
	want, err := os.ReadFile("testdata/response.json") // the document's
	if err != nil {
		t.Fatal(err)
	}
	request, err := os.ReadFile("testdata/request.json") // the document's
	if err != nil {
		t.Fatal(err)
	}
	p := w.project(t, `{"gallery":"people"}`)
	x := w.session(t, p)
	body := bytes.Replace(request, []byte(`"..."`), fmt.Appendf(nil, "%q", b64(extracttest.Photo(t, "a_2.jpg"))), 1)
	a := w.validate(t, x.Token, body)
	v, person, _ := accepted(t, a)
	if got := masked(a.Body); got != masked(want) {
		t.Errorf("answered\n%s\nthe document has\n%s", got, masked(want))
	}
	if now := w.look(t, p, x); now.Status != "completed" || now.Validation != "validated" || now.Person != "ada" || person == "ada" || v.ID == "" {
		t.Errorf("%+v %s", now, person)
	}
	x = w.session(t, p) // a person's id is not told for the person, also where it has the vendor's form; it is where the metadata has no name
	a = w.validate(t, x.Token, imageBody(extracttest.Photo(t, "b_2.jpg")))
	if _, person, _ := accepted(t, a); person == "00112233445566aabbccddee" || !bytes.Contains(a.Body, []byte(`"name":"00112233445566aabbccddee"`)) {
		t.Errorf("%s", a.Body)
	}
}

// testOnce: of requests at one time one completes the session.
func testOnce(t *testing.T, w *world) {
	p := w.project(t, `{"gallery":"people","attempts":10}`)
	x := w.session(t, p)
	body := imageBody(extracttest.Photo(t, "a_2.jpg"))
	answers := make([]dialecttest.Answer, 6)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = w.Do("POST", path, body, "Authorization", "Bearer "+x.Token) })
	}
	wg.Wait()
	good := 0
	for _, a := range answers {
		coverage.Saw(t, opValidate, a)
		if a.Status == 200 {
			good++
			continue
		}
		refused(t, a, 409, "liveness_session_completed", "")
	}
	if good != 1 {
		t.Errorf("%d of 6 requests were let in", good)
	}
	refused(t, w.validate(t, x.Token, body), 409, "liveness_session_completed", "")
	w.native(t, 409, "DELETE", "/v1/verifik/projects/"+p.ID+"/sessions/"+x.ID, w.admin, "", nil)
}

// testAttempts: photos that fail use up the session, those without a face don't, and no race makes more of them.
func testAttempts(t *testing.T, w *world) {
	p := w.project(t, `{"gallery":"people","attempts":2}`)
	x := w.session(t, p)
	for range 3 {
		refused(t, w.validate(t, x.Token, imageBody(extracttest.Photo(t, "noface.jpg"))), 409, "face_not_detected", "")
	}
	a := w.validate(t, x.Token, imageBody(extracttest.Dark(t, extracttest.Photo(t, "a_1.jpg"))))
	if score := regexp.MustCompile(`409:liveness_failed@(0\.\d\d)"`).FindSubmatch(a.Body); score == nil || string(score[1]) >= "0.55" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if now := w.look(t, p, x); now.Status != "active" || now.Attempts != 1 || now.Validation != "new" {
		t.Errorf("%+v", now)
	}
	stranger := imageBody(extracttest.Photo(t, "c_1.jpg"))
	refused(t, w.validate(t, x.Token, stranger), 404, "person_not_found", "")
	refused(t, w.validate(t, x.Token, imageBody(extracttest.Photo(t, "a_2.jpg"))), 409, "liveness_session_cancelled", "")
	if now := w.look(t, p, x); now.Status != "cancelled" || now.Attempts != 2 || now.Validation != "failed" {
		t.Errorf("%+v", now)
	}
	x = w.session(t, p)
	var found atomic.Int64
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if a := w.Do("POST", path, stranger, "Authorization", "Bearer "+x.Token); a.Status == 404 {
				found.Add(1)
			}
		})
	}
	wg.Wait()
	if found.Load() != 2 {
		t.Errorf("%d photos were decided at one time, of 2", found.Load())
	}
}

// testPhotos: what is wrong with a photo.
func testPhotos(t *testing.T, w *world) {
	w.Gallery("gated", engine.GallerySpec{Gate: engine.Gates{Probe: engine.Gate{"sharpness": 60}}})
	p, gated := w.project(t, `{"gallery":"people"}`), w.project(t, `{"gallery":"gated"}`)
	x := w.session(t, p)
	refused(t, w.validate(t, x.Token, imageBody(extracttest.Photo(t, "group.jpg"))), 409, "multiple_faces_detected", "")
	refused(t, w.validate(t, x.Token, imageBody(extracttest.Photo(t, "small.jpg"))), 409, "image_quality_failed", "")
	refused(t, w.validate(t, w.session(t, gated).Token, imageBody(extracttest.Blurry(t, extracttest.Photo(t, "a_1.jpg")))), 409, "image_quality_failed", "")
	photo := extracttest.Photo(t, "a_2.jpg")
	for _, bad := range [][]byte{photo[:len(photo)/2], []byte("GIF89a"), {0}} {
		refused(t, w.validate(t, x.Token, imageBody(bad)), 412, "only_images_in_base64", "")
	}
	if now := w.look(t, p, x); now.Attempts != 0 {
		t.Errorf("%+v", now)
	}
	text := b64(photo)
	for name, image := range map[string]string{
		"data": "data:image/jpeg;base64," + text, "lines": text[:76] + "\\r\\n" + text[76:], "bare": strings.TrimRight(text, "="),
		"url-safe": strings.NewReplacer("+", "-", "/", "_").Replace(text),
	} {
		if a := w.validate(t, w.session(t, p).Token, []byte(`{"image":"`+image+`","os":"ios"}`)); a.Status != 200 {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
}

// testBodies: what is no request of the document's.
func testBodies(t *testing.T, w *world) {
	p := w.project(t, `{"gallery":"people"}`)
	x := w.session(t, p)
	for _, c := range []struct {
		body, contentType string
		status            int
		code, message     string
	}{
		{`{}`, "", 409, "MissingParameter", "missing image"},
		{`{"image":null}`, "", 409, "MissingParameter", "missing image"},
		{`{"image":""}`, "", 409, "MissingParameter", "missing image"},
		{`{"image":7}`, "", 409, "MissingParameter", `"image" must be a string`},
		{`{"image":"...`, "", 400, "bad_request", ""},
		{`[]`, "", 400, "bad_request", ""},
		{"{\"image\":\"\xff\"}", "", 400, "bad_request", ""},
		{`{"image":"..."}`, "", 412, "only_images_in_base64", ""},
		{`{"image":"data:image/jpeg,abc"}`, "", 412, "only_images_in_base64", ""},
		{`{}`, "application/json; charset=utf-8", 409, "MissingParameter", "missing image"},
		{`{}`, "text/plain", 415, "unsupported_media_type", ""},
		{`{}`, "multipart/form-data; boundary=x", 415, "unsupported_media_type", ""},
		{`{"image":"` + strings.Repeat("A", 1<<20) + `"}`, "", 413, "payload_too_large", ""},
	} {
		var header []string
		if c.contentType != "" {
			header = []string{"Content-Type", c.contentType}
		}
		refused(t, w.validate(t, x.Token, []byte(c.body), header...), c.status, c.code, c.message)
	}
	refused(t, w.validate(t, x.Token, []byte(`{}`), "Content-Encoding", "gzip"), 415, "unsupported_media_type", "")
}

// testTokens: no token but a session's of ours opens anything, whatever algorithm it names.
func testTokens(t *testing.T, w *world) {
	p := w.project(t, `{"gallery":"people"}`)
	x := w.session(t, p)
	_, _, login := accepted(t, w.validate(t, w.session(t, p).Token, imageBody(extracttest.Photo(t, "a_2.jpg"))))
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(w.Do("GET", strings.TrimPrefix(p.JWKS, w.URL), nil).Body, &set); err != nil {
		t.Fatal(err)
	}
	public := set.Keys[0].Key.(ed25519.PublicKey)
	parts := strings.Split(x.Token, ".")
	sign := func(alg jose.SignatureAlgorithm, key any, claims string) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]any
		if err := json.Unmarshal([]byte(claims), &all); err != nil {
			t.Fatal(err)
		}
		signed, err := jwt.Signed(signer).Claims(all).Serialize()
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	claims := string(raw)
	_, private, _ := ed25519.GenerateKey(nil)
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	for name, token := range map[string]string{
		"nothing like a token": "YOUR_ACCESS_TOKEN",
		"the document's":       "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",
		"no algorithm":         none + "." + parts[1] + ".",
		"no signature":         parts[0] + "." + parts[1] + ".",
		"other claims":         parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(claims, x.ID, "00112233445566aabbccddee", 1))) + "." + parts[2],
		"a public key":         sign(jose.HS256, []byte(public), claims),
		"a guess":              sign(jose.HS256, make([]byte, 32), claims),
		"another algorithm":    sign(jose.HS512, make([]byte, 64), claims),
		"a key of its own":     sign(jose.EdDSA, private, claims),
		"no such tenant":       sign(jose.HS256, make([]byte, 32), strings.Replace(claims, `"default"`, `"nobody"`, 1)),
		"a tenant's bad name":  sign(jose.HS256, make([]byte, 32), strings.Replace(claims, `"default"`, `"../etc"`, 1)),
		"a login's":            login,
		"too long":             x.Token + strings.Repeat("A", 4096),
		"an unknown API key":   "mien_00112233445566aa_" + strings.Repeat("A", 43),
	} {
		t.Run(name, func(t *testing.T) { refused(t, w.validate(t, token, []byte(`{}`)), 403, "token_not_right", "") })
	}
	a := w.Do("POST", path, []byte(`{}`))
	coverage.Saw(t, opValidate, a)
	refused(t, a, 403, "liveness_session_token_missing", "liveness_session_token_missing")
	refused(t, w.Do("POST", path, []byte(`{}`), "Authorization", "Basic "+x.Token), 403, "liveness_session_token_missing", "liveness_session_token_missing")
	refused(t, w.Do("POST", path, []byte(`{}`), "Authorization", "bearer  "+x.Token), 409, "MissingParameter", "missing image")
	// A session's token is no key of the native API.
	if a := w.Do("GET", "/v1/galleries", nil, "Authorization", "Bearer "+x.Token); a.Status != 401 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// testKeys: API keys open no session, and a session ends with the API key that made it.
func testKeys(t *testing.T, w *world) {
	for _, spec := range []engine.KeySpec{{Role: engine.RoleAdmin}, {Role: engine.RoleMatcher}, {Role: engine.RoleClient, Dialect: verifik.Name, Galleries: []string{"people"}},
		{Role: engine.RoleClient, Dialect: "other", Galleries: []string{"people"}}} {
		refused(t, w.validate(t, w.KeyOf("default", spec), []byte(`{}`)), 403, "liveness_session_token_missing", "liveness_session_token_missing")
	}
	p := w.project(t, `{"gallery":"people"}`)
	key := w.KeyOf("default", engine.KeySpec{Role: engine.RoleMatcher})
	var x session
	w.native(t, 201, "POST", "/v1/verifik/projects/"+p.ID+"/sessions", key, `{}`, &x)
	refused(t, w.validate(t, x.Token, []byte(`{}`)), 409, "MissingParameter", "missing image")
	if err := w.Engine.RevokeKey(t.Context(), "default", strings.Split(key, "_")[1]); err != nil {
		t.Fatal(err)
	}
	refused(t, w.validate(t, x.Token, []byte(`{}`)), 403, "liveness_session_revoked", "")
	refused(t, w.validate(t, key, []byte(`{}`)), 403, "liveness_session_revoked", "")
	if records := audit(t, w, "refused"); !strings.Contains(records, "forbidden") {
		t.Errorf("refusals of good keys are not in the audit log: %s", records)
	}
}

// audit are the records with an outcome.
func audit(t *testing.T, w *world, outcome string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(string(w.Do("GET", "/v1/audit/export", nil, "Authorization", "Bearer "+w.admin).Body)) {
		if strings.Contains(line, `"outcome":"`+outcome+`"`) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// testEnds: sessions end by themselves, when they are cancelled, and with their project and gallery.
func testEnds(t *testing.T, w *world) {
	w.Gallery("short", engine.GallerySpec{})
	p := w.project(t, `{"gallery":"short","session_seconds":60}`)
	old, cancelled, lost := w.session(t, p), w.session(t, p), w.session(t, p)
	w.clock.advance(61 * time.Second)
	refused(t, w.validate(t, old.Token, []byte(`{}`)), 403, "liveness_session_expired", "")
	if now := w.look(t, p, old); now.Status != "expired" {
		t.Errorf("%+v", now)
	}
	cancelled, lost = w.session(t, p), w.session(t, p)
	w.native(t, 200, "DELETE", "/v1/verifik/projects/"+p.ID+"/sessions/"+cancelled.ID, w.admin, "", nil)
	refused(t, w.validate(t, cancelled.Token, []byte(`{}`)), 409, "liveness_session_cancelled", "")
	if now := w.look(t, p, cancelled); now.Status != "cancelled" || now.Validation != "new" {
		t.Errorf("%+v", now)
	}
	w.native(t, 204, "DELETE", "/v1/galleries/short", w.admin, "", nil)
	refused(t, w.validate(t, lost.Token, imageBody(extracttest.Photo(t, "a_2.jpg"))), 409, "collection_not_configured", "")
	w.native(t, 204, "DELETE", "/v1/verifik/projects/"+p.ID, w.admin, "", nil)
	refused(t, w.validate(t, lost.Token, []byte(`{}`)), 404, "biometric_validation_not_found", "")
	w.native(t, 404, "GET", "/v1/verifik/projects/"+p.ID+"/sessions/"+lost.ID, w.admin, "", nil)
	if list, err := w.Engine.Documents(t.Context(), "default", "verifik.session", 0, p.ID+"."); err != nil || len(list) > 0 && strings.HasPrefix(list[0].ID, p.ID) {
		t.Errorf("a deleted project's sessions are left: %v %v", list, err)
	}
}

// testOthers: who is enrolled natively is found by projects of that gallery, and by none of another gallery or tenant.
func testOthers(t *testing.T, w *world) {
	w.Gallery("other", engine.GallerySpec{})
	photo := imageBody(extracttest.Photo(t, "a_2.jpg"))
	refused(t, w.validate(t, w.session(t, w.project(t, `{"gallery":"other"}`)).Token, photo), 404, "person_not_found", "")
	theirs := &world{Server: w.Server, admin: w.KeyOf("theirs", engine.KeySpec{Role: engine.RoleAdmin, Rate: 1e4}), clock: w.clock}
	theirs.native(t, 201, "PUT", "/v1/galleries/people", theirs.admin, `{}`, nil)
	p := theirs.project(t, `{"gallery":"people"}`)
	x := theirs.session(t, p)
	refused(t, w.validate(t, x.Token, photo), 404, "person_not_found", "")
	theirs.enrol(t, theirs.admin, "people", "eve", "a_3.jpg", `{}`)
	if _, person, _ := accepted(t, w.validate(t, x.Token, photo)); person == "" {
		t.Error("nobody")
	}
	if now := theirs.look(t, p, x); now.Person != "eve" {
		t.Errorf("%+v", now)
	}
	for _, at := range []string{"/v1/verifik/projects/" + p.ID, "/v1/verifik/projects/" + p.ID + "/sessions/" + x.ID, "/v1/verifik/projects/" + p.ID + "/deliveries"} {
		w.native(t, 404, "GET", at, w.admin, "", nil)
	}
	// Suspended people are nobody.
	theirs.native(t, 200, "PATCH", "/v1/galleries/people/people/eve", theirs.admin, `{"status":"suspended"}`, nil)
	refused(t, w.validate(t, theirs.session(t, p).Token, photo), 404, "person_not_found", "")
}

// testShared: who is enrolled by another vendor's API into a gallery is found by projects of that gallery, and only by those.
func testShared(t *testing.T, w *world) {
	w.Gallery("shared", engine.GallerySpec{})
	w.Gallery("apart", engine.GallerySpec{})
	body := fmt.Appendf(nil, `{"user_id":"yo","user_photo":%q,"create_if_new":true}`, b64(extracttest.Photo(t, "a_1.jpg")))
	if a := w.Do("POST", "/user_verification", body, "x-api-key", w.Key("youverse", "shared")); a.Status != 200 || !bytes.Contains(a.Body, []byte("NEW_USER")) {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	photo := imageBody(extracttest.Photo(t, "a_2.jpg"))
	p := w.project(t, `{"gallery":"shared"}`)
	x := w.session(t, p)
	accepted(t, w.validate(t, x.Token, photo))
	if now := w.look(t, p, x); now.Person != "yo" {
		t.Errorf("%+v", now)
	}
	refused(t, w.validate(t, w.session(t, w.project(t, `{"gallery":"apart"}`)).Token, photo), 404, "person_not_found", "")
}

// testPaths: paths and methods that are not there.
func testPaths(t *testing.T, w *world) {
	for _, at := range []string{"/v2/biometric-validations", "/v2/biometric-validations/validate/", "/v2/biometric-validations/app-login", "/v2/clients/x"} {
		a := w.Do("POST", at, []byte(`{}`))
		coverage.Saw(t, "", a)
		checkRefusal(t, a)
		refused(t, a, 404, "not_found", "")
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH"} {
		a := w.Do(method, path, nil)
		coverage.Saw(t, "", a)
		checkRefusal(t, a)
		refused(t, a, 405, "method_not_allowed", "")
		if a.Header.Get("Allow") != "OPTIONS, POST" {
			t.Errorf("Allow: %q", a.Header.Get("Allow"))
		}
	}
	if a := w.Do("OPTIONS", path, nil, "Origin", "https://example.org"); a.Status != 204 || a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
}

// keySet are the keys that are published.
func (w *world) keySet(t testing.TB, p project) (set jose.JSONWebKeySet) {
	t.Helper()
	a := w.Do("GET", strings.TrimPrefix(p.JWKS, w.URL), nil)
	coverage.Saw(t, opKeySet, a)
	if a.Status != 200 || json.Unmarshal(a.Body, &set) != nil {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if bytes.Contains(a.Body, []byte(`"d":`)) {
		t.Fatal("a private key is published")
	}
	return set
}

// verified are the claims of a login's token, by one who knows the set of keys alone.
func verified(t testing.TB, set jose.JSONWebKeySet, token string, p project, now time.Time) map[string]any {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var standard jwt.Claims
	claims := map[string]any{}
	if err := parsed.Claims(set, &standard, &claims); err != nil {
		t.Fatal(err)
	}
	if err := standard.ValidateWithLeeway(jwt.Expected{Issuer: p.Issuer, AnyAudience: jwt.Audience{p.ID}, Time: now}, time.Second); err != nil {
		t.Fatal(err)
	}
	return claims
}

// testPublished: others can verify token and signature by the published keys, also after a rotation, until the tokens have ended.
func testPublished(t *testing.T, w *world) {
	p := w.project(t, `{"gallery":"people","token_seconds":60}`)
	photo := imageBody(extracttest.Photo(t, "a_2.jpg"))
	v, person, token := accepted(t, w.validate(t, w.session(t, p).Token, photo))
	set := w.keySet(t, p)
	claims := verified(t, set, token, p, w.clock.now())
	if claims["sub"] != "ada" || claims["person"] != person || claims["jti"] != v.ID || claims["project"] != p.ID || claims["exp"].(float64)-claims["iat"].(float64) != 60 {
		t.Errorf("%v", claims)
	}
	signed, err := jose.ParseDetached(v.Signature, v.Data, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	key := set.Key(signed.Signatures[0].Header.KeyID)
	if len(key) != 1 || signed.DetachedVerify(v.Data, key[0]) != nil {
		t.Errorf("the signature of the data does not verify: %v", key)
	}
	if signed.DetachedVerify(bytes.Replace(v.Data, []byte("John"), []byte("Jane"), 1), key[0]) == nil {
		t.Error("the signature is of other data too")
	}
	var again bytes.Buffer // as jq -c has it
	if err := json.Compact(&again, v.Data); err != nil || again.String() != string(v.Data) {
		t.Errorf("the data has spaces: %s", v.Data)
	}
	var rotated struct{ Kid string }
	w.native(t, 200, "POST", "/v1/verifik/keys/rotate", w.admin, "", &rotated)
	_, _, next := accepted(t, w.validate(t, w.session(t, p).Token, photo))
	both := w.keySet(t, p)
	if len(both.Keys) != 2 || both.Keys[0].KeyID != rotated.Kid || len(set.Key(rotated.Kid)) != 0 {
		t.Errorf("%+v", both)
	}
	verified(t, both, token, p, w.clock.now())
	verified(t, both, next, p, w.clock.now())
	if parsed, err := jwt.ParseSigned(next, []jose.SignatureAlgorithm{jose.EdDSA}); err != nil || parsed.Claims(set, &jwt.Claims{}) == nil {
		t.Error("the key from before verifies what the new one has signed")
	}
	w.clock.advance(26 * time.Hour)
	if now := w.keySet(t, p); len(now.Keys) != 1 {
		t.Errorf("%d keys are published after a day", len(now.Keys))
	}
	for _, at := range []string{"/v2/clients/default/00112233445566aabbccddee/jwks.json", "/v2/clients/nobody/00112233445566aabbccddee/jwks.json", "/v2/clients/..%2f/x/jwks.json"} {
		a := w.Do("GET", at, nil)
		coverage.Saw(t, opKeySet, a)
		checkRefusal(t, a)
		refused(t, a, 404, "not_found", "")
	}
}

// testEvents: what happens to sessions is told, signed, in order, with nothing biometric; and the log says so.
func testEvents(t *testing.T, w *world) {
	r := newReceiver(t)
	p := w.project(t, fmt.Sprintf(`{"gallery":"people","attempts":2,"webhook":{"url":%q}}`, r.URL))
	if !strings.HasPrefix(p.Webhook.Secret, "whsec_") {
		t.Fatalf("%+v", p)
	}
	x := w.session(t, p)
	w.validate(t, x.Token, imageBody(extracttest.Dark(t, extracttest.Photo(t, "a_1.jpg"))))
	w.validate(t, x.Token, imageBody(extracttest.Photo(t, "c_1.jpg")))
	y := w.session(t, p)
	w.validate(t, y.Token, imageBody(extracttest.Photo(t, "noface.jpg"))) // nothing to tell
	w.validate(t, y.Token, imageBody(extracttest.Photo(t, "a_2.jpg")))
	want := []string{"biometric_validation_new new", "biometrics_liveness_score_not_acceptable new", "biometric_validation_person_not_found failed", "biometric_validation_failed failed",
		"biometric_validation_new new", "biometric_validation_validated validated"}
	if got := r.types(t, len(want)); strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("%q, want %q", got, want)
	}
	for _, e := range r.got {
		for _, not := range []string{"score\":", "template", "image", `"ada"`, "John"} {
			if bytes.Contains(e.body, []byte(not)) {
				t.Errorf("an event has %q: %s", not, e.body)
			}
		}
	}
	var log struct {
		Deliveries []struct {
			ID, Session, Type, Status string
			Attempts                  []struct{ Status int }
		}
		Next string
	}
	at := "/v1/verifik/projects/" + p.ID + "/deliveries"
	for range 100 { // the last is noted after it was answered
		if w.native(t, 200, "GET", at, w.admin, "", &log); len(log.Deliveries) == len(want) && log.Deliveries[len(want)-1].Status != "pending" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for i, d := range log.Deliveries {
		if d.Type+" " != want[i][:strings.Index(want[i], " ")+1] || d.Status != "delivered" || len(d.Attempts) != 1 || d.Attempts[0].Status != 204 || d.ID != r.got[i].header.Get("Webhook-Id") {
			t.Errorf("%d: %+v", i, d)
		}
	}
	w.native(t, 200, "GET", at+"?limit=4", w.admin, "", &log)
	if len(log.Deliveries) != 4 || log.Next == "" {
		t.Errorf("%+v", log)
	}
	next := log.Next
	log.Next = ""
	if w.native(t, 200, "GET", at+"?cursor="+next, w.admin, "", &log); len(log.Deliveries) != 2 || log.Next != "" {
		t.Errorf("%+v", log)
	}
	w.native(t, 400, "GET", at+"?limit=0", w.admin, "", nil)
	w.native(t, 400, "GET", at+"?cursor=x", w.admin, "", nil)
}

// testErasure: a session, and what was sent of it, go with the person.
func testErasure(t *testing.T, w *world) {
	w.enrol(t, w.admin, "people", "cy", "c_1.jpg", `{}`)
	r := newReceiver(t)
	p := w.project(t, fmt.Sprintf(`{"gallery":"people","webhook":{"url":%q}}`, r.URL))
	x := w.session(t, p)
	accepted(t, w.validate(t, x.Token, imageBody(extracttest.Photo(t, "c_2.jpg"))))
	r.types(t, 2)
	w.native(t, 204, "DELETE", "/v1/galleries/people/people/cy", w.admin, "", nil)
	refused(t, w.validate(t, x.Token, []byte(`{}`)), 404, "biometric_validation_not_found", "")
	w.native(t, 404, "GET", "/v1/verifik/projects/"+p.ID+"/sessions/"+x.ID, w.admin, "", nil)
	list, err := w.Engine.Documents(t.Context(), "default", "verifik.delivery", 0, p.ID+".")
	if err != nil || len(list) != 1 || bytes.Contains(list[0].Value, []byte(`"cy"`)) {
		t.Errorf("%d deliveries are left: %v", len(list), err)
	}
}

// testNative: projects are made, changed and listed by those who may, and refused with what is wrong.
func testNative(t *testing.T, w *world) {
	matcher := w.KeyOf("default", engine.KeySpec{Role: engine.RoleMatcher, Rate: 1e4})
	bound := w.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin, Galleries: []string{"people"}})
	w.native(t, 403, "POST", "/v1/verifik/projects", matcher, `{"gallery":"people"}`, nil)
	w.native(t, 403, "POST", "/v1/verifik/projects", bound, `{"gallery":"people"}`, nil)
	for body, code := range map[string]string{
		`{}`: "bad_request", `{"gallery":"nobody"}`: "gallery_not_found", `{"gallery":"people","min_liveness":0}`: "bad_request",
		`{"gallery":"people","min_liveness":1.1}`: "bad_request", `{"gallery":"people","policy":{"similarity":2}}`: "bad_policy",
		`{"gallery":"people","policy":{"cosine":0.5}}`: "bad_json", `{"gallery":"people","policy":{"fmr":0.1,"fpir":0.1}}`: "bad_policy",
		`{"gallery":"people","attempts":11}`: "bad_request", `{"gallery":"people","session_seconds":0}`: "bad_request",
		`{"gallery":"people","token_seconds":90000}`: "bad_request", `{"gallery":"people","name":"\u0007"}`: "bad_request",
		`{"gallery":"people","colour":"red"}`: "bad_json", `[]`: "bad_json", `{"gallery":7}`: "bad_json",
		`{"gallery":"people","webhook":{}}`: "bad_request", `{"gallery":"people","webhook":{"url":"ftp://x"}}`: "bad_request",
		`{"gallery":"people","webhook":{"url":"https://u:p@example.org"}}`: "bad_request", `{"gallery":"people","webhook":{"url":"https://example.org","secret":"whsec_AAAA"}}`: "bad_request",
	} {
		var problem struct{ Code string }
		a := w.Do("POST", "/v1/verifik/projects", []byte(body), "Authorization", "Bearer "+w.admin)
		if _ = json.Unmarshal(a.Body, &problem); problem.Code != code {
			t.Errorf("%s: %d %s, want %s", body, a.Status, a.Body, code)
		}
	}
	var got struct {
		ID      string
		Policy  struct{ FPIR, Similarity float64 }
		Webhook *struct{ URL, Secret string }
		Name    string
	}
	at := "/v1/verifik/projects/" + w.project(t, `{"gallery":"people","webhook":{"url":"https://example.org/a","secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}`).ID
	if w.native(t, 200, "GET", at, matcher, "", &got); got.Policy.Similarity != 0.85 || got.Webhook.Secret != "" || got.Webhook.URL != "https://example.org/a" {
		t.Errorf("%+v", got)
	}
	if w.native(t, 200, "PATCH", at, w.admin, `{"name":"door","policy":{"fpir":0.001},"webhook":{"rotate_secret":true}}`, &got); got.Policy.FPIR != 0.001 || got.Name != "door" || !strings.HasPrefix(got.Webhook.Secret, "whsec_") {
		t.Errorf("%+v", got)
	}
	got.Webhook = nil
	if w.native(t, 200, "PATCH", at, w.admin, `{"webhook":{"url":""}}`, &got); got.Webhook != nil {
		t.Errorf("%+v", got)
	}
	w.native(t, 404, "PATCH", "/v1/verifik/projects/00112233445566aabbccddee", w.admin, `{}`, nil)
	w.native(t, 404, "PATCH", "/v1/verifik/projects/x", w.admin, `{}`, nil)
	w.native(t, 404, "DELETE", "/v1/verifik/projects/00112233445566aabbccddee", w.admin, "", nil)
	w.native(t, 404, "POST", "/v1/verifik/projects/00112233445566aabbccddee/sessions", w.admin, `{}`, nil)
	w.native(t, 400, "POST", at+"/sessions", w.admin, `{"seconds":601}`, nil)
	w.native(t, 400, "POST", at+"/sessions", w.admin, `{"identifier":"\u0000"}`, nil)
	w.native(t, 404, "DELETE", at+"/sessions/00112233445566aabbccddee", w.admin, "", nil)
	for range 5 {
		w.project(t, `{"gallery":"people"}`)
	}
	n := 0
	for cursor := ""; ; {
		var list struct {
			Projects []struct{ ID string }
			Next     string
		}
		w.native(t, 200, "GET", "/v1/verifik/projects?limit=3"+cursor, w.admin, "", &list)
		n += len(list.Projects)
		if cursor = "&cursor=" + list.Next; list.Next == "" {
			break
		}
	}
	all, err := w.Engine.Documents(t.Context(), "default", "verifik.project", 1000, "")
	if err != nil || n != len(all) || n < 5 {
		t.Errorf("%d projects listed, %d there: %v", n, len(all), err)
	}
}

// testRates: a session has a rate of its own.
func testRates(t *testing.T, w *world) {
	p := w.project(t, `{"gallery":"people"}`)
	x := w.session(t, p)
	for range 20 {
		refused(t, w.validate(t, x.Token, []byte(`{}`)), 409, "MissingParameter", "missing image")
	}
	a := w.validate(t, x.Token, []byte(`{}`))
	refused(t, a, 429, "too_many_requests", "")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	refused(t, w.validate(t, w.session(t, p).Token, []byte(`{}`)), 409, "MissingParameter", "missing image")
}

// failing is an extractor that fails as a test says.
type failing struct {
	http.Extractor
	err atomic.Pointer[error]
}

func (x *failing) Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error) {
	if err := x.err.Load(); err != nil {
		return nil, *err
	}
	return x.Extractor.Extract(ctx, data, o)
}

func (x *failing) Measures() []string {
	return x.Extractor.(interface{ Measures() []string }).Measures()
}

// TestFailures: what is wrong with the server is told without saying what, and costs no attempt; sessions outlive a restart.
func TestFailures(t *testing.T) {
	x := &failing{}
	w := newWorld(t, func(h *http.Config, _ *engine.Config) {
		x.Extractor, h.Extractor, h.RequestTimeout = h.Extractor, x, 2*time.Second
	})
	w.enrol(t, w.admin, "people", "ada", "a_1.jpg", `{}`)
	p := w.project(t, `{"gallery":"people","attempts":1}`)
	s := w.session(t, p)
	photo := imageBody(extracttest.Photo(t, "a_2.jpg"))
	for err, want := range map[error]string{errors.New("/work/secret.go: no"): "500 internal_error", extract.ErrBusy: "503 service_unavailable", extract.ErrClosed: "503 service_unavailable"} {
		x.err.Store(&err)
		a := w.validate(t, s.Token, photo)
		status, code, _ := strings.Cut(want, " ")
		refused(t, a, map[string]int{"500": 500, "503": 503}[status], code, "")
	}
	x.err.Store(nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", path, s.Token)
	raw, err := io.ReadAll(conn)
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	if err != nil || !bytes.HasPrefix(head, []byte("HTTP/1.1 408 ")) {
		t.Fatalf("%s %v", raw, err)
	}
	late := dialecttest.Answer{Status: 408, Body: body}
	coverage.Saw(t, opValidate, late)
	refused(t, late, 408, "request_timeout", "")
	accepted(t, w.validate(t, s.Token, photo))
	if err := w.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	refused(t, w.validate(t, s.Token, photo), 503, "service_unavailable", "")
	a := w.Do("GET", strings.TrimPrefix(p.JWKS, w.URL), nil)
	coverage.Saw(t, opKeySet, a)
	refused(t, a, 503, "service_unavailable", "")
	if strings.Contains(w.Log.String(), s.Token) || strings.Contains(w.Log.String(), b64(extracttest.Photo(t, "a_2.jpg"))[:200]) {
		t.Error("the log has a token or a photo")
	}
}
