package facephi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http/dialect"
	"mien/http/dialect/dialecttest"
	"mien/http/facephi"
)

const (
	path           = "/services/authenticateUser/v2"
	opAuthenticate = "authenticateUser"
)

// answer has the fields of the document's "Response fields".
type answer struct {
	Reference      string  `json:"merchantReferenceId"`
	Code           int     `json:"serviceResultCode"`
	Log            string  `json:"serviceResultLog"`
	Similarity     float64 `json:"serviceFacialSimilarityResult"`
	FacialLog      string  `json:"serviceFacialAuthenticationLog"`
	FacialResult   int     `json:"serviceFacialAuthenticationResult"`
	LivenessLog    string  `json:"serviceLivenessLog"`
	LivenessResult int     `json:"serviceLivenessResult"`
	Timestamp      string  `json:"timestamp"`
	TransactionID  string  `json:"transactionId"`
	Registered     string  `json:"registeredTemplateRaw"`
}

// madeTokens is what the native endpoint answers.
type madeTokens struct {
	Registered string               `json:"registeredTemplateRaw"`
	BestImage  string               `json:"bestImageToken"`
	Template   string               `json:"template"`
	Expires    map[string]time.Time `json:"expires"`
}

var coverage = dialecttest.NewCoverage(facephi.New(), outcomeOf)

// outcomeOf is the row of the table that an answer is.
func outcomeOf(op string, a dialecttest.Answer) dialect.Outcome {
	var b answer
	if err := json.Unmarshal(a.Body, &b); err != nil {
		return dialect.Outcome{Op: op, Status: a.Status, Code: "no JSON"}
	}
	return dialect.Outcome{Op: op, Status: a.Status, Code: fmt.Sprint(b.Code, b.FacialResult, b.LivenessResult)}
}

func TestMain(m *testing.M) { os.Exit(coverage.Main(m)) }

// harness is a server with a client's key for its gallery.
type harness struct {
	*dialecttest.Server
	key, gallery string
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	s := dialecttest.New(t, nil)
	return &harness{s, s.Key(facephi.Name, "people"), "people"}
}

var (
	timestampForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
	uuid4         = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
)

// saw checks what every answer of the dialect has, and notes it as of an operation, "" for none.
func (h *harness) saw(t testing.TB, op string, a dialecttest.Answer) answer {
	t.Helper()
	coverage.Saw(t, op, a)
	var b answer
	a.Into(t, &b)
	if !timestampForm.MatchString(b.Timestamp) || !uuid4.MatchString(b.TransactionID) {
		t.Errorf("timestamp %q, transactionId %q", b.Timestamp, b.TransactionID)
	}
	if got := a.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	for name := range a.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("an answer has %s", name)
		}
	}
	if (b.Code == 0) != (b.Registered != "") || (a.Status == 200) != (b.Code > -400) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if text := string(a.Body); strings.Contains(text, "goroutine") || strings.Contains(text, ".go:") || strings.Contains(text, os.TempDir()) {
		t.Errorf("an answer tells of the inside: %s", text)
	}
	return b
}

// send authenticates with a key and a body.
func (h *harness) send(t testing.TB, key string, body []byte, header ...string) (answer, dialecttest.Answer) {
	t.Helper()
	a := h.Do("POST", path, body, append([]string{"x-api-key", key}, header...)...)
	return h.saw(t, opAuthenticate, a), a
}

type fields map[string]any

// ask authenticates with fields beside merchantReferenceId.
func (h *harness) ask(t testing.TB, f fields) answer {
	t.Helper()
	if _, ok := f["merchantReferenceId"]; !ok {
		f["merchantReferenceId"] = "authenticate-001"
	}
	body, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := h.send(t, h.key, body)
	return b
}

// tokens has the native endpoint make tokens of a photo.
func (h *harness) tokens(t testing.TB, photo []byte, user string, names ...string) madeTokens {
	t.Helper()
	f := fields{"image": base64.StdEncoding.EncodeToString(photo), "userId": user}
	if names != nil {
		f["tokens"] = names
	}
	body, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	a := h.Do("POST", "/v1/galleries/"+h.gallery+"/facephi/tokens", body, "Authorization", "Bearer "+h.key)
	if a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	var made madeTokens
	a.Into(t, &made)
	return made
}

func (h *harness) registered(t testing.TB, photo, user string) string {
	t.Helper()
	return h.tokens(t, photoOf(t, photo), user, "registeredTemplateRaw").Registered
}

func (h *harness) bestImage(t testing.TB, photo, user string) string {
	t.Helper()
	return h.tokens(t, photoOf(t, photo), user, "bestImageToken").BestImage
}

func (h *harness) template(t testing.TB, photo, user string) string {
	t.Helper()
	return h.tokens(t, photoOf(t, photo), user, "template").Template
}

// photoOf is a photo of testdata/faces, perhaps spoilt: "replayed:c_1.jpg".
func photoOf(t testing.TB, name string) []byte {
	t.Helper()
	how, file, ok := strings.Cut(name, ":")
	if !ok {
		return extracttest.Photo(t, name)
	}
	photo := extracttest.Photo(t, file)
	switch how {
	case "replayed":
		return extracttest.Replayed(t, photo)
	case "washedout":
		return extracttest.WashedOut(t, photo)
	case "blurry":
		return extracttest.Blurry(t, photo)
	case "cut":
		return photo[:len(photo)/2]
	case "text":
		return []byte("this is no photo")
	}
	t.Fatalf("no photo %q", name)
	return nil
}

var placeholder = regexp.MustCompile(`\{\{(\w+) (\S+?)(?: (\S+?))?\}\}`)

// fill puts real photos and tokens of them into a request: {{registered a_1.jpg 001}}.
func (h *harness) fill(t testing.TB, text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		what, photo, user := m[1], m[2], m[3]
		plain := func() string { return base64.StdEncoding.EncodeToString(photoOf(t, photo)) }
		switch what {
		case "image":
			return plain()
		case "dataurl":
			return "data:image/jpeg;base64," + plain()
		case "lines":
			s := plain()
			return s[:76] + `\r\n` + s[76:152] + `\n` + s[152:]
		case "urlsafe":
			return base64.RawURLEncoding.EncodeToString(photoOf(t, photo))
		case "registered":
			return h.registered(t, photo, user)
		case "best":
			return h.bestImage(t, photo, user)
		case "template":
			return h.template(t, photo, user)
		}
		t.Fatalf("no placeholder %s", p)
		return ""
	})
}

// masks are what differs from run to run, and by processor.
var masks = []struct {
	form *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`), "2024-10-29T20:29:24.000Z"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "2024-10-29T20:29:24Z"},
	{regexp.MustCompile(`"transactionId":"[0-9a-f-]{36}"`), `"transactionId":"531ecbb1-de3d-4907-a737-0db236674e9a"`},
	{regexp.MustCompile(`"RlQB[A-Za-z0-9+/=]+"`), `"RlQB…"`},
	{regexp.MustCompile(`("serviceFacialSimilarityResult":0\.\d)\d*`), "$1…"},
	{regexp.MustCompile(`"request_id":"[^"]*"`), `"request_id":"…"`},
	{regexp.MustCompile(`is \d+\.\d, at`), "is …, at"},
	{regexp.MustCompile(`"value":[\d.]+`), `"value":…`},
}

func masked(s string) string {
	for _, m := range masks {
		s = m.form.ReplaceAllString(s, m.with)
	}
	return s
}

// TestGolden replays the document's examples and what is around them: testdata/golden. -rewrite writes the answers anew.
func TestGolden(t *testing.T) {
	h := newHarness(t)
	h.Gallery("strict", engine.GallerySpec{Gate: engine.Gates{
		Enrol: engine.Gate{"sharpness": 50}, Probe: engine.Gate{"sharpness": 50, "liveness": 99.99}}})
	asked := map[string]*harness{"client": h, "strict": {h.Server, h.Key(facephi.Name, "strict"), "strict"}, "none": {h.Server, "", "people"}}
	datadriven.RunTest(t, "testdata/golden", func(t *testing.T, d *datadriven.TestData) string {
		key, method, at := "client", "POST", path
		d.MaybeScanArgs(t, "key", &key)
		d.MaybeScanArgs(t, "method", &method)
		d.MaybeScanArgs(t, "path", &at)
		var header []string
		if d.HasArg("content-type") {
			var v string
			d.ScanArgs(t, "content-type", &v)
			header = []string{"Content-Type", v}
		}
		h := asked[key]
		body := []byte(h.fill(t, d.Input))
		if len(body) == 0 {
			body = nil
		}
		var a dialecttest.Answer
		switch d.Cmd {
		case "authenticate":
			a = h.Do(method, at, body, append(header, "x-api-key", h.key)...)
			op := opAuthenticate
			if method != "POST" || at != path {
				op = ""
			}
			if a.Status != 204 {
				h.saw(t, op, a)
			}
		case "tokens":
			a = h.Do("POST", "/v1/galleries/"+h.gallery+"/facephi/tokens", body, append(header, "Authorization", "Bearer "+h.key)...)
		default:
			t.Fatalf("no command %s", d.Cmd)
		}
		out := fmt.Sprintln(a.Status)
		if allow := a.Header.Get("Allow"); allow != "" {
			out += "Allow: " + allow + "\n"
		}
		return out + masked(string(a.Body))
	})
}
