package youverse_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/dialect"
	"mien/http/dialect/dialecttest"
	"mien/http/youverse"
)

// coverage is of all tests of this package.
var coverage = dialecttest.NewCoverage(youverse.New(), outcomeOf)

func TestMain(m *testing.M) { os.Exit(coverage.Main(m)) }

const (
	pathVerify   = "/user_verification"
	pathTemplate = "/user_verification/verify_template"
	pathData     = "/user_verification/user_data"
	pathMPC      = "/user_verification/decentralized"
)

// tags are the document's.
var tags = []string{"face_not_found", "multiple_faces", "brightness_failed", "light_uniformity_failed", "quality_failed"}

// operations are those of the document, each with a body that it takes.
var operations = []struct{ method, path, body string }{
	{"POST", pathVerify, `{"user_id":"nobody","user_photo":"QUJD","create_if_new":false}`},
	{"DELETE", pathVerify, `{"user_id":"nobody"}`},
	{"POST", pathTemplate, `{"user_id":"nobody","template":"AAAAAA==","template_version":"1"}`},
	{"POST", pathData, `{"user_id":"nobody"}`},
	{"POST", pathMPC, `{"user_id":"nobody","user_photo":"QUJD","create_if_new":false}`},
	{"DELETE", pathMPC, `{"user_id":"nobody"}`},
}

// opOf is the operation of a route; "" of none.
func opOf(method, path string) string {
	for _, r := range youverse.New().Routes {
		if r.Method == method && r.Pattern == path {
			return r.Op
		}
	}
	return ""
}

func outcomeOf(op string, a dialecttest.Answer) dialect.Outcome {
	var body struct{ Status, Message string }
	_ = json.Unmarshal(a.Body, &body)
	code := body.Status
	if slices.Contains(tags, body.Message) {
		code = body.Message
	}
	return dialect.Outcome{Op: op, Status: a.Status, Code: code}
}

// client speaks the dialect with a key.
type client struct {
	*dialecttest.Server
	t   testing.TB
	key string // "" sends none
}

// newClient starts a server with a key for the gallery "people".
func newClient(t testing.TB, change func(*http.Config, *engine.Config)) client {
	t.Helper()
	s := dialecttest.New(t, change)
	return client{s, t, s.Key(youverse.Name, "people")}
}

// call sends a request, holds the answer against the document's schemas and the table, and returns it.
func (c client) call(method, path, body string, header ...string) dialecttest.Answer {
	c.t.Helper()
	if c.key != "" {
		header = append([]string{"x-api-key", c.key}, header...)
	}
	var b []byte
	if body != "" {
		b = []byte(body)
	}
	a := c.Do(method, path, b, header...)
	coverage.Saw(c.t, opOf(method, path), a)
	c.shape(a)
	return a
}

// shape holds an answer against the document's schemas.
func (c client) shape(a dialecttest.Answer) {
	c.t.Helper()
	for name := range a.Header {
		if strings.HasPrefix(name, "Access-Control") {
			c.t.Errorf("%s: there is no CORS", name)
		}
	}
	for _, inside := range []string{"default", "people", "rival", os.TempDir(), "goroutine", ".go"} {
		if strings.Contains(string(a.Body), inside) {
			c.t.Errorf("the answer says %q: %s", inside, a.Body)
		}
	}
	if a.Header.Get("X-Request-Id") == "" {
		c.t.Error("no X-Request-Id")
	}
	if a.Status == 204 {
		if len(a.Body) > 0 || a.Header.Get("Content-Type") != "" {
			c.t.Errorf("204 with a body: %q", a.Body)
		}
		return
	}
	if ct := a.Header.Get("Content-Type"); ct != "application/json" {
		c.t.Errorf("%d with Content-Type %q", a.Status, ct)
	}
	var fields map[string]any
	if err := json.Unmarshal(a.Body, &fields); err != nil {
		c.t.Fatalf("%d %q: %v", a.Status, a.Body, err)
	}
	switch {
	case a.Status == 200 && len(fields) == 1:
		if _, ok := fields["status"].(string); !ok {
			c.t.Errorf("no Verify user response: %s", a.Body)
		}
	case a.Status == 200:
		_, ok := fields["template"].(string)
		if _, ok2 := fields["template_version"].(string); !ok || !ok2 || len(fields) != 2 {
			c.t.Errorf("no User data response: %s", a.Body)
		}
	case a.Status == 403:
		if m, ok := fields["message"].(string); !ok || len(fields) != 1 || m != "Missing Authentication Token" && m != "Forbidden" {
			c.t.Errorf("no Forbidden response: %s", a.Body)
		}
	default:
		m, _ := fields["message"].(string)
		if len(fields) != 3 || fields["status_code"] != float64(a.Status) || fields["phrase"] != nethttp.StatusText(a.Status) || m == "" {
			c.t.Errorf("no Error response: %d %s", a.Status, a.Body)
		}
	}
}

// want is call for an answer of a status, and a status or message in it.
func (c client) want(status int, says, method, path, body string, header ...string) dialecttest.Answer {
	c.t.Helper()
	a := c.call(method, path, body, header...)
	var b struct{ Status, Message string }
	_ = json.Unmarshal(a.Body, &b)
	if a.Status != status || says != "" && b.Status != says && b.Message != says {
		c.t.Fatalf("%s %s %.80s: %d %s, want %d %s", method, path, body, a.Status, a.Body, status, says)
	}
	return a
}

func verifyBody(user string, photo []byte, create bool) string {
	return fmt.Sprintf(`{"user_id":%q,"user_photo":%q,"create_if_new":%v}`, user, base64.StdEncoding.EncodeToString(photo), create)
}

// verify is POST /user_verification.
func (c client) verify(status int, says, user string, photo []byte, create bool) dialecttest.Answer {
	c.t.Helper()
	return c.want(status, says, "POST", pathVerify, verifyBody(user, photo, create))
}

// TestGolden replays requests, the document's own examples among them, and compares the answers, status, headers and body. In bodies
// <NAME.jpg> is a photo of testdata/faces, <template> the one that user_data answered last, <space> its version.
func TestGolden(t *testing.T) {
	c := newClient(t, nil)
	c.golden(t, "testdata/golden.txt")
}

// golden replays a file.
func (c client) golden(t *testing.T, file string) {
	keys := map[string]string{"ours": c.key, "none": "", "bad": "mien_0011223344556677_wrong",
		"facephi": c.Key("facephi", "people"), "native": c.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin})}
	template, space := "", ""
	photo := regexp.MustCompile(`<[a-z0-9_]+\.jpg>`)
	datadriven.RunTest(t, file, func(t *testing.T, d *datadriven.TestData) string {
		c := client{c.Server, t, keys["ours"]}
		if d.HasArg("key") {
			var name string
			d.ScanArgs(t, "key", &name)
			c.key = keys[name]
		}
		body := strings.NewReplacer("<template>", template, "<space>", space).Replace(d.Input)
		body = photo.ReplaceAllStringFunc(body, func(name string) string {
			return base64.StdEncoding.EncodeToString(extracttest.Photo(t, strings.Trim(name, "<>")))
		})
		a := c.call(d.Cmd, d.CmdArgs[0].Key, body)
		var data struct {
			Template string `json:"template"`
			Version  string `json:"template_version"`
		}
		if a.Status == 200 && json.Unmarshal(a.Body, &data) == nil && data.Template != "" {
			template, space = data.Template, data.Version
		}
		return transcript(a, template, space)
	})
}

// transcript is an answer as the golden file has it.
func transcript(a dialecttest.Answer, template, space string) string {
	var b strings.Builder
	fmt.Fprintln(&b, a.Status)
	for _, name := range []string{"Content-Type", "Allow", "Retry-After", "Www-Authenticate"} {
		if v, ok := a.Header[name]; ok {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(v, ", "))
		}
	}
	body := string(a.Body)
	if template != "" {
		body = strings.NewReplacer(template, "<template>", space, "<space>").Replace(body)
	}
	return b.String() + strings.TrimSpace(body) + "\n"
}
