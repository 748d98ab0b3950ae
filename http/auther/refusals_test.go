package auther_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"mien/engine"
	"mien/extract"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/auther"
	"mien/http/dialect/dialecttest"
)

// each asks every operation about a person, with a good body where there is one.
func (c *client) each(t testing.TB, id string, see func(op string, a dialecttest.Answer)) {
	t.Helper()
	photo := extracttest.Photo(t, "c_1.jpg")
	for _, o := range operations {
		path := o.path
		if strings.HasSuffix(path, "/") {
			path += id
		}
		var body []byte
		switch {
		case o.op == "autherCompareFace":
			body = faces(photo, photo, "")
		case o.method != "GET" && o.method != "DELETE":
			body = face(photo)
		}
		see(o.op, c.ask(t, o.method, path, body))
	}
}

// eachIs is each, of which all must answer the same.
func (c *client) eachIs(t testing.TB, id string, status int, code string) {
	t.Helper()
	c.each(t, id, func(op string, a dialecttest.Answer) {
		if o := outcomeOf(op, a); o.Status != status || o.Code != code {
			t.Errorf("%s: %d %s, want %d %s", op, a.Status, a.Body, status, code)
		}
	})
}

// TestKeys: which keys are let in.
func TestKeys(t *testing.T) {
	s := newServer(t, nil)
	good := newClient(s)
	good.enrol(t, "ada", "a_1.jpg")
	spec := engine.KeySpec{Role: engine.RoleClient, Dialect: auther.Name, Galleries: []string{"people"}}
	revoked, token, err := s.Engine.CreateKey(t.Context(), "default", spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Engine.RevokeKey(t.Context(), "default", revoked.ID); err != nil {
		t.Fatal(err)
	}
	(&client{s, token}).eachIs(t, "ada", 401, "M_401")
	for _, key := range []string{"", "nonsense", good.key + "x"} {
		(&client{s, key}).want(t, 401, "M_401", "GET", "/person/face/ada", nil)
	}
	if a := s.Do("GET", "/person/face/ada", nil, "Authorization", "Bearer "+good.key); a.Status != 401 { // not where the document has it
		t.Errorf("%d %s", a.Status, a.Body)
	}
	(&client{s, s.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin})}).eachIs(t, "ada", 403, "M_403")
	for _, other := range []string{"youverse", "facephi", "verifik"} {
		(&client{s, s.Key(other, "people")}).want(t, 403, "M_403", "GET", "/person/face/ada", nil)
	}
	(&client{s, s.Key(auther.Name, "nowhere")}).eachIs(t, "ada", 403, "M_403")
	if a := s.Do("GET", "/v1/galleries/people/people/ada", nil, "Authorization", "Bearer "+good.key); a.Status != 403 {
		t.Errorf("the native API lets in a client's key: %d %s", a.Status, a.Body)
	}

	spec.Rate, spec.Burst = 1e-3, 1
	limited := &client{s, s.KeyOf("default", spec)}
	limited.want(t, 200, "", "GET", "/person/face/ada", nil)
	limited.eachIs(t, "ada", 400, "CP_005")
	if a := limited.ask(t, "GET", "/person/face/ada", nil); a.Header.Get("Retry-After") == "" {
		t.Error("CP_005 has no Retry-After")
	}
}

// TestAttempts: a person who was verified wrongly too often is verified no more for a while.
func TestAttempts(t *testing.T) {
	c := newClient(newServer(t, func(_ *http.Config, e *engine.Config) { e.Attempts.Failures, e.Attempts.Window = 1, time.Minute }))
	c.enrol(t, "ada", "a_1.jpg")
	b := face(extracttest.Photo(t, "b_1.jpg"))
	c.want(t, 410, "RF_001", "POST", "/person/verify-face/ada", b)
	if a := c.want(t, 400, "CP_005", "POST", "/person/verify-face/ada", b); a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

// TestRequests: what is wrong with a request itself, and what is right though it looks odd.
func TestRequests(t *testing.T) {
	s := newServer(t, func(c *http.Config, _ *engine.Config) { c.MaxBodyBytes = 200_000 })
	c := newClient(s)
	c.enrol(t, "ada", "a_1.jpg")
	photo := extracttest.Photo(t, "a_2.jpg")
	good, large := face(photo), face(bytes.Repeat(photo, 20))
	for _, path := range []string{"/person/face/new", "/person/recognize-face", "/person/verify-face/ada", "/person/compare-face"} {
		for _, body := range []string{"", "x", "[]", "null", `{"faceImage":`, `{} {}`, "{\"faceImage\":\"\xff\"}"} {
			c.want(t, 400, "R_002", "POST", path, []byte(body))
		}
		c.want(t, 400, "R_002", "POST", path, large)
		for _, kind := range []string{"text/plain", "image/jpeg", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense;"} {
			c.want(t, 400, "R_002", "POST", path, good, "Content-Type", kind)
		}
		for _, body := range []string{"{}", `{"faceImage": null, "targetImage": null}`, `{"faceImage": 1, "targetImage": 1}`, `{"faceImage": "", "targetImage": ""}`,
			`{"faceImage": "string", "targetImage": "string", "sourceImage": "string"}`, `{"faceImage": "*", "targetImage": "data:image/jpeg,x"}`} {
			c.want(t, 400, "R_003", "POST", path, []byte(body))
		}
	}
	for _, method := range []string{"PUT", "DELETE"} {
		c.want(t, 400, "R_002", method, "/person/face/ada", []byte("x"))
		c.want(t, 400, "R_002", method, "/person/face/ada", large)
	}
	c.want(t, 400, "R_002", "PUT", "/person/face/ada", good, "If-Match", `"1"`)
	c.want(t, 400, "R_003", "PUT", "/person/face/ada", []byte("{}"))
	c.want(t, 400, "R_002", "GET", "/person/face/ada", []byte("{}"))
	long := strings.Repeat("x", engine.MaxIDBytes+1)
	for _, id := range []string{long, "%00", "%FF"} {
		c.want(t, 400, "R_003", "GET", "/person/face/"+id, nil)
		c.want(t, 400, "R_003", "DELETE", "/person/face/"+id, nil)
		c.want(t, 400, "R_003", "POST", "/person/face/"+id, good)
		c.want(t, 400, "R_003", "PUT", "/person/face/"+id, good)
		c.want(t, 400, "R_003", "POST", "/person/verify-face/"+id, good)
	}

	var lines []string
	for rest := text(photo); rest != ""; rest = rest[min(76, len(rest)):] {
		lines = append(lines, rest[:min(76, len(rest))])
	}
	for _, image := range []string{"data:image/jpeg;base64," + text(photo), strings.Join(lines, `\r\n`), strings.TrimRight(text(photo), "="),
		strings.NewReplacer("+", "-", "/", "_").Replace(text(photo))} {
		for _, kind := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON"} {
			c.want(t, 200, "", "POST", "/person/verify-face/ada", fmt.Appendf(nil, `{"faceImage": "%s", "more": [1]}`, image), "Content-Type", kind)
		}
	}
	if a := s.Do("POST", "/person/verify-face/ada", good, "api-key", c.key, "Content-Type", ""); a.Status != 200 {
		t.Errorf("without a content type: %d %s", a.Status, a.Body)
	}
	c.want(t, 200, "", "DELETE", "/person/face/ada", []byte("{}"))
}

// TestPaths: what is no operation of the document is refused in its words.
func TestPaths(t *testing.T) {
	c := newClient(newServer(t, nil))
	for _, path := range []string{"/person", "/person/", "/person/face", "/person/face/", "/person/face/a/b", "/person/recognize-face/a", "/person/verify-face", "/Person/face/a"} {
		if a := c.Do("POST", path, []byte("{}"), "Api-Key", c.key); a.Status != 404 || strings.HasPrefix(path, "/person") != (outcomeOf("", a).Code == "M_404") {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	c.want(t, 404, "M_404", "POST", "/person/nothing", []byte("{}"))
	for path, allow := range map[string]string{"/person/face/a": "DELETE, GET, HEAD, OPTIONS, POST, PUT", "/person/recognize-face": "OPTIONS, POST",
		"/person/verify-face/a": "OPTIONS, POST", "/person/compare-face": "OPTIONS, POST"} {
		if a := c.want(t, 405, "M_405", "PATCH", path, []byte("{}")); a.Header.Get("Allow") != allow {
			t.Errorf("%s: Allow %q", path, a.Header.Get("Allow"))
		}
		a := c.Do("OPTIONS", path, nil, "Origin", "https://page.example")
		if a.Status != 204 || a.Header.Get("Allow") != allow || a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Request-Id") == "" {
			t.Errorf("OPTIONS %s: %d %v", path, a.Status, a.Header)
		}
	}
	c.enrol(t, "a", "a_1.jpg")
	if a := c.Do("HEAD", "/person/face/a", nil, "Api-Key", c.key); a.Status != 200 || len(a.Body) != 0 {
		t.Errorf("HEAD: %d %q", a.Status, a.Body)
	}
	if a := c.Do("GET", "/person/face/a", nil, "Api-Key", c.key, "X-Request-Id", "mine-1"); a.Header.Get("Request-Id") != "mine-1" {
		t.Errorf("Request-Id %q", a.Header.Get("Request-Id"))
	}
}

// oddExtractor is one that fails, or does something first.
type oddExtractor struct {
	*extract.Extractor
	fail   error
	before func()
}

func (x oddExtractor) Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error) {
	if x.before != nil {
		x.before()
	}
	if x.fail != nil {
		return nil, x.fail
	}
	return x.Extractor.Extract(ctx, data, o)
}

// TestOurFault: what the document has 500 for says nothing of the cause.
func TestOurFault(t *testing.T) {
	x := oddExtractor{Extractor: extracttest.Default(t), fail: errors.New("a secret path /srv/models")}
	s := newServer(t, func(c *http.Config, _ *engine.Config) { c.Extractor = x })
	c := newClient(s)
	vector := make([]float32, s.Engine.DefaultSpace().Dim)
	vector[0] = 1
	_, _, err := s.Engine.PutPerson(t.Context(), "default", "people", "ada", engine.PersonSpec{Templates: []engine.Template{{Space: s.Engine.DefaultSpace().ID, Vector: vector}}})
	if err != nil {
		t.Fatal(err)
	}
	photo := extracttest.Photo(t, "c_1.jpg")
	for _, path := range []string{"/person/face/new", "/person/recognize-face", "/person/verify-face/ada"} {
		c.want(t, 500, "M_500", "POST", path, face(photo))
	}
	c.want(t, 500, "M_500", "PUT", "/person/face/ada", face(photo))
	if a := c.want(t, 500, "M_500", "POST", "/person/compare-face", faces(photo, photo, "")); strings.Contains(string(a.Body), "secret") {
		t.Errorf("%s", a.Body)
	}
	if !strings.Contains(s.Log.String(), "a secret path /srv/models") {
		t.Error("the log does not name the cause")
	}
}

// failedClose is a test whose engine can't be closed well.
type failedClose struct{ testing.TB }

func (t failedClose) Error(args ...any) { t.Log(args...) }

// TestDiskFails: writes on a disk that fails are 500, and nobody reads what was not written: 500 where the failed write was
// the profile's, 404 where something else was written first and the profile was never begun.
func TestDiskFails(t *testing.T) {
	toggle := new(errorfs.Toggle)
	toggle.Injector = errorfs.ErrInjected.If(errorfs.Writes)
	c := newClient(newServer(failedClose{t}, func(_ *http.Config, e *engine.Config) {
		e.Dir, e.FS = "data", errorfs.Wrap(vfs.NewMem(), toggle)
	}))
	c.enrol(t, "ada", "a_1.jpg")
	toggle.On()
	defer toggle.Off()
	c.want(t, 500, "M_500", "POST", "/person/face/bob", face(extracttest.Photo(t, "b_1.jpg")))
	if a := c.ask(t, "GET", "/person/face/bob", nil); a.Status != 500 && a.Status != 404 {
		t.Errorf("GET of what was not written: %d %s", a.Status, a.Body)
	}
	c.want(t, 500, "M_500", "DELETE", "/person/face/ada", nil)
}

// TestStopping: what can be tried again, elsewhere or later, is 503.
func TestStopping(t *testing.T) {
	s := newServer(t, nil)
	c := newClient(s)
	if err := s.Engine.Close(); err != nil {
		t.Fatal(err)
	}
	c.eachIs(t, "ada", 503, "M_503")
}

// TestOverwritten: an update is of the profile that was there when it began, and of no other that has its id by now.
func TestOverwritten(t *testing.T) {
	var c *client
	var meanwhile func()
	x := oddExtractor{Extractor: extracttest.Default(t), before: func() {
		if f := meanwhile; f != nil {
			meanwhile = nil
			f()
		}
	}}
	s := newServer(t, func(h *http.Config, _ *engine.Config) { h.Extractor = x })
	c = newClient(s)
	a2 := face(extracttest.Photo(t, "a_2.jpg"))
	c.enrol(t, "ada", "a_1.jpg")
	patch := func() {
		if _, err := s.Engine.PatchPerson(t.Context(), "default", "people", "ada", engine.PersonPatch{Status: engine.StatusActive}); err != nil {
			t.Error(err)
		}
	}
	drop := func() {
		if err := s.Engine.DeletePerson(t.Context(), "default", "people", "ada", engine.WriteOptions{}); err != nil {
			t.Error(err)
		}
	}
	meanwhile = patch
	c.want(t, 200, "", "PUT", "/person/face/ada", a2)
	meanwhile = func() { drop(); c.enrol(t, "ada", "b_1.jpg") }
	c.want(t, 400, "CP_002", "PUT", "/person/face/ada", a2)
	meanwhile = drop
	c.want(t, 404, "NF_001", "PUT", "/person/face/ada", a2)
	meanwhile = func() { c.enrol(t, "ada", "b_1.jpg") }
	c.want(t, 400, "CP_002", "POST", "/person/face/ada", a2)
}

// TestTogether: of many that enrol one face at once, one does.
func TestTogether(t *testing.T) {
	c := newClient(newServer(t, nil))
	body := face(extracttest.Photo(t, "a_1.jpg"))
	var mu sync.Mutex
	counts := map[string]int{}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			a := c.ask(t, "POST", fmt.Sprintf("/person/face/p%d", i%2), body)
			mu.Lock()
			defer mu.Unlock()
			counts[outcomeOf("", a).Code]++
		})
	}
	wg.Wait()
	if counts[""] != 1 || counts["CP_002"]+counts["F_012"] != 3 {
		t.Errorf("%v", counts)
	}
}

// TestBrokenOff: a body that ends early, and one that never comes, are R_002.
func TestBrokenOff(t *testing.T) {
	s := newServer(t, func(c *http.Config, _ *engine.Config) { c.RequestTimeout = 300 * time.Millisecond })
	c := newClient(s)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /person/recognize-face HTTP/1.1\r\nHost: x\r\nApi-Key: %s\r\nContent-Length: 100\r\n\r\n{", c.key); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) || !bytes.Contains(answer, []byte(`"code":"R_002"`)) {
		t.Errorf("%v %q", err, answer)
	}
}
