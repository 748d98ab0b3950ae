package authface_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"mien/engine"
	"mien/http"
	"mien/http/authface"
	"mien/http/capture"
	"mien/http/dialect"
	"mien/http/dialect/dialecttest"
)

// coverage is of all tests of this package.
var coverage = dialecttest.NewCoverage(authface.New(capture.New(capture.Config{})), outcomeOf)

func TestMain(m *testing.M) { os.Exit(coverage.Main(m)) }

// The document's operations.
const (
	pathEnroll   = "/biometry/v1/enroll"
	pathVerify   = "/biometry/v1/verify"
	pathIdentify = "/biometry/v1/identify"
	pathUpdate   = "/biometry/v1/update_embedding"
	pathResult   = "/biometry/v1/result"
	pathList     = "/biometry/v1/list-users"
	pathGet      = "/biometry/v1/get-user"
	pathDelete   = "/biometry/v1/delete-user"
)

var allPaths = []string{pathEnroll, pathVerify, pathIdentify, pathUpdate, pathResult, pathList, pathGet, pathDelete}

const (
	someState = "550e8400-e29b-41d4-a716-446655440000"
	callback  = "https://client.example.com/callback"
)

// goodBody is one that every operation takes, if the user is there.
func goodBody(state, user string) string {
	return fmt.Sprintf(`{"client_state":%q,"redirect_url":%q,"external_user_id":%q}`, state, callback, user)
}

// stateOf is the nth client_state of a test.
func stateOf(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012x", n) }

// opOf is the operation of a path; "" of none.
func opOf(path string) string {
	for _, r := range authface.New(capture.New(capture.Config{})).Routes {
		if r.Pattern == path {
			return r.Op
		}
	}
	return ""
}

// shared are the codes of refusals that are of any operation.
var shared = []string{"invalid_request", "unauthorized", "forbidden", "not_found", "method_not_allowed", "rate_limited", "internal_error", "service_unavailable"}

func outcomeOf(op string, a dialecttest.Answer) dialect.Outcome {
	var body struct{ Status, Error string }
	_ = json.Unmarshal(a.Body, &body)
	o := dialect.Outcome{Op: op, Status: a.Status, Code: body.Error}
	if op == "authface.result" && a.Status == 200 {
		o.Code = body.Status
	}
	if slices.Contains(shared, o.Code) {
		o.Op = ""
	}
	return o
}

// client speaks the dialect with a key.
type client struct {
	*dialecttest.Server
	t   testing.TB
	key string // "" sends none
}

// newClient starts a server with a key for the gallery "people", whose users go back to client.example.com.
func newClient(t testing.TB, change func(*http.Config, *engine.Config)) client {
	t.Helper()
	s := dialecttest.New(t, change)
	register(s, "default", "people")
	return client{s, t, s.Key(authface.Name, "people")}
}

// register registers the origin of callback for a gallery of a tenant.
func register(s *dialecttest.Server, tenant, gallery string) {
	s.T.Helper()
	admin := s.KeyOf(tenant, engine.KeySpec{Role: engine.RoleAdmin})
	a := s.Do("PUT", "/v1/galleries/"+gallery+"/capture", []byte(`{"name":"Example Bank","origins":["https://client.example.com"]}`), "Authorization", "Bearer "+admin)
	if a.Status != 200 {
		s.T.Fatalf("%d %s", a.Status, a.Body)
	}
}

// call sends a request, holds the answer against the table and what no answer may have, and returns it.
func (c client) call(method, path, body string, header ...string) dialecttest.Answer {
	c.t.Helper()
	if c.key != "" {
		header = append([]string{"Authorization", "Bearer " + c.key}, header...)
	}
	var b []byte
	if body != "" {
		b = []byte(body)
	}
	a := c.Do(method, path, b, header...)
	coverage.Saw(c.t, opOf(path), a)
	c.shape(a)
	return a
}

// shape holds an answer against what all have.
func (c client) shape(a dialecttest.Answer) {
	c.t.Helper()
	for name := range a.Header {
		if strings.HasPrefix(name, "Access-Control") {
			c.t.Errorf("%s: there is no CORS", name)
		}
	}
	for _, inside := range []string{"default", "people", "rival", "authface.", "capture.", os.TempDir(), "goroutine", ".go:"} {
		if strings.Contains(string(a.Body), inside) {
			c.t.Errorf("the answer says %q: %s", inside, a.Body)
		}
	}
	if a.Header.Get("X-Request-Id") == "" || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "no-store" {
		c.t.Errorf("header %v", a.Header)
	}
	var fields map[string]any
	if err := json.Unmarshal(a.Body, &fields); err != nil {
		c.t.Fatalf("%d %q: %v", a.Status, a.Body, err)
	}
	if fields["success"] != (a.Status == 200) {
		c.t.Errorf("%d with success %v", a.Status, fields["success"])
	}
	if a.Status == 200 {
		return
	}
	code, _ := fields["error"].(string)
	message, _ := fields["message"].(string)
	if len(fields) != 3 || code == "" || message == "" {
		c.t.Errorf("no error: %d %s", a.Status, a.Body)
	}
	if (a.Header.Get("Www-Authenticate") != "") != (a.Status == 401) || a.Status == 429 && a.Header.Get("Retry-After") == "" {
		c.t.Errorf("%d: header %v", a.Status, a.Header)
	}
}

// want is call of a POST for an answer of a status, and an error in it.
func (c client) want(status int, code, path, body string, header ...string) dialecttest.Answer {
	c.t.Helper()
	a := c.call("POST", path, body, header...)
	var b struct{ Error string }
	_ = json.Unmarshal(a.Body, &b)
	if a.Status != status || b.Error != code {
		c.t.Fatalf("%s %.200s: %d %s, want %d %s", path, body, a.Status, a.Body, status, code)
	}
	return a
}

// begin begins a session and returns its link.
func (c client) begin(path, state, user string) string {
	c.t.Helper()
	var b struct {
		Success bool   `json:"success"`
		State   string `json:"client_state"`
		URL     string `json:"biometry_url"`
	}
	c.want(200, "", path, goodBody(state, user)).Into(c.t, &b)
	if b.State != state || !linkForm.MatchString(strings.TrimPrefix(b.URL, c.URL)) {
		c.t.Errorf("%+v", b)
	}
	return b.URL
}

var linkForm = regexp.MustCompile(`^/capture/\?t=[A-Za-z0-9_-]{43}$`)

// open opens a link, as a browser does.
func (c client) open(link string) {
	c.t.Helper()
	_, token, _ := strings.Cut(link, "?t=")
	if a := c.Do("POST", "/capture/api/open", []byte(`{}`), "Authorization", "Bearer "+token); a.Status != 200 {
		c.t.Fatalf("%d %s", a.Status, a.Body)
	}
}

// result is what is told of a session.
func (c client) result(state string) (fields map[string]any) {
	c.t.Helper()
	a := c.want(200, "", pathResult, fmt.Sprintf(`{"client_state":%q}`, state))
	if err := json.Unmarshal(a.Body, &fields); err != nil {
		c.t.Fatal(err)
	}
	return fields
}

// decided has the store say what became of a session, in the place of the capture page, whose own tests decide sessions: fields are those
// of capture.Session. Who was identified, or enrolled, the session is about from then on.
func (c client) decided(gallery, state string, fields map[string]any) {
	c.t.Helper()
	id := "authface." + gallery + "." + strings.ToLower(state)
	_, err := c.Engine.ChangeDocument(c.t.Context(), "default", "capture.session", id, engine.DocumentOptions{}, func(d *engine.Document) (*engine.Document, error) {
		if d == nil {
			return nil, fmt.Errorf("there is no session %s", id)
		}
		var all map[string]any
		if err := json.Unmarshal(d.Value, &all); err != nil {
			return nil, err
		}
		maps.Copy(all, fields)
		var err error
		d = &engine.Document{Value: nil, Gallery: d.Gallery, Person: d.Person, Expires: d.Expires}
		d.Value, err = json.Marshal(all)
		return d, err
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// enrol enrols somebody by a photo through Youverse's API, of a key of the same gallery.
func (c client) enrol(user, photo string) {
	c.t.Helper()
	enrolIn(c.Server, c.Key("youverse", "people"), user, photo)
}

// TestGolden replays requests, the document's own examples among them, and compares the answers, status, headers and body. A line
// "decided STATE {…}" says what became of a session, "enrolled USER" that somebody is. In answers <token> is the link's, <now> the time.
func TestGolden(t *testing.T) {
	c := newClient(t, nil)
	links := map[string]string{} // by client_state
	keys := map[string]string{"ours": c.key, "none": "", "bad": "mien_0011223344556677_wrong", "youverse": c.Key("youverse", "people"), "native": c.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin})}
	datadriven.RunTest(t, "testdata/golden.txt", func(t *testing.T, d *datadriven.TestData) string {
		c := client{c.Server, t, keys["ours"]}
		switch d.Cmd {
		case "enrolled":
			c.enrol(d.CmdArgs[0].Key, d.CmdArgs[1].Key)
			return ""
		case "opened":
			c.open(links[d.CmdArgs[0].Key])
			return ""
		case "decided":
			var fields map[string]any
			if err := json.Unmarshal([]byte(d.Input), &fields); err != nil {
				t.Fatal(err)
			}
			c.decided("people", d.CmdArgs[0].Key, fields)
			return ""
		}
		if d.HasArg("key") {
			var name string
			d.ScanArgs(t, "key", &name)
			c.key = keys[name]
		}
		a := c.call(d.Cmd, d.CmdArgs[0].Key, d.Input)
		if m := linkPrinted.FindSubmatch(a.Body); m != nil {
			links[string(m[1])] = string(m[2])
		}
		return transcript(c, a)
	})
}

var (
	linkPrinted = regexp.MustCompile(`"client_state":"([^"]*)","biometry_url":"([^"]*)"`)
	timePrinted = regexp.MustCompile(`"(created_at|updated_at)":"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"`)
	tokenInLink = regexp.MustCompile(`\?t=[A-Za-z0-9_-]{43}"`)
)

// transcript is an answer as the golden file has it.
func transcript(c client, a dialecttest.Answer) string {
	var b strings.Builder
	fmt.Fprintln(&b, a.Status)
	for _, name := range []string{"Content-Type", "Allow", "Retry-After", "Www-Authenticate"} {
		if v, ok := a.Header[name]; ok {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(v, ", "))
		}
	}
	body := bytes.ReplaceAll(a.Body, []byte(c.URL), []byte("<server>"))
	body = tokenInLink.ReplaceAll(body, []byte(`?t=<token>"`))
	body = timePrinted.ReplaceAll(body, []byte(`"$1":"<now>"`))
	return b.String() + strings.TrimSpace(string(body)) + "\n"
}
