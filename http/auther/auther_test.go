package auther_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/auther"
	"mien/http/dialect"
	"mien/http/dialect/dialecttest"
)

var update = flag.Bool("update", false, "write testdata/golden.txt")

// coverage is of all tests of the package.
var coverage = dialecttest.NewCoverage(auther.New(), outcomeOf)

func TestMain(m *testing.M) { os.Exit(coverage.Main(m)) }

func outcomeOf(op string, a dialecttest.Answer) dialect.Outcome {
	var b struct{ Code string }
	if a.Status != 200 {
		_ = json.Unmarshal(a.Body, &b)
	}
	return dialect.Outcome{Op: op, Status: a.Status, Code: b.Code}
}

// newServer starts a server that says it is https://faces.example.
func newServer(t testing.TB, change func(*http.Config, *engine.Config)) *dialecttest.Server {
	return dialecttest.New(t, func(c *http.Config, e *engine.Config) {
		c.PublicURL = publicURL
		if change != nil {
			change(c, e)
		}
	})
}

const publicURL = "https://Faces.example" // signatures have it in lower case

// client asks with one key.
type client struct {
	*dialecttest.Server
	key string
}

func newClient(s *dialecttest.Server) *client { return &client{s, s.Key(auther.Name, "people")} }

// operations are requests of each operation as far as their paths.
var operations = []struct{ op, method, path string }{
	{"autherCreatePerson", "POST", "/person/face/"},
	{"autherUpdatePerson", "PUT", "/person/face/"},
	{"autherRemovePerson", "DELETE", "/person/face/"},
	{"autherGetPerson", "GET", "/person/face/"},
	{"autherRecognizeFace", "POST", "/person/recognize-face"},
	{"autherVerifyFace", "POST", "/person/verify-face/"},
	{"autherCompareFace", "POST", "/person/compare-face"},
}

// opOf is the operation of a request, "" if there is none.
func opOf(method, path string) string {
	for _, o := range operations {
		rest, ok := strings.CutPrefix(path, o.path)
		if method == o.method && ok && (rest != "" && !strings.Contains(rest, "/")) == strings.HasSuffix(o.path, "/") {
			return o.op
		}
	}
	return ""
}

var errorText = regexp.MustCompile(`^\{"code":"[A-Z]+_\d{3}","message":"[^"]+"\}\n$`)

// ask asks with the client's key and holds the answer against what all answers are like.
func (c *client) ask(t testing.TB, method, path string, body []byte, header ...string) dialecttest.Answer {
	t.Helper()
	a := c.Do(method, path, body, append([]string{"Api-Key", c.key}, header...)...)
	coverage.Saw(t, opOf(method, path), a)
	if a.Header.Get("Request-Id") == "" || a.Header.Get("Request-Id") != a.Header.Get("X-Request-Id") {
		t.Errorf("%s %s: Request-Id %q", method, path, a.Header.Get("Request-Id"))
	}
	if a.Status != 200 && !errorText.Match(a.Body) && method != "HEAD" {
		t.Errorf("%s %s: %d %q is no error of the document", method, path, a.Status, a.Body)
	}
	if len(a.Body) > 0 && a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: Content-Type %q", method, path, a.Header.Get("Content-Type"))
	}
	return a
}

// want asks and demands a status and code.
func (c *client) want(t testing.TB, status int, code, method, path string, body []byte, header ...string) dialecttest.Answer {
	t.Helper()
	a := c.ask(t, method, path, body, header...)
	if o := outcomeOf("", a); o.Status != status || o.Code != code {
		t.Errorf("%s %s %.60s: %d %.200s, want %d %s", method, path, body, a.Status, a.Body, status, code)
	}
	return a
}

func (c *client) enrol(t testing.TB, id, photo string) {
	t.Helper()
	c.want(t, 200, "", "POST", "/person/face/"+id, face(extracttest.Photo(t, photo)))
}

func text(photo []byte) string { return base64.StdEncoding.EncodeToString(photo) }

// face is the body of most operations.
func face(photo []byte) []byte { return fmt.Appendf(nil, `{"faceImage": %q}`, text(photo)) }

func faces(target, source []byte, more string) []byte {
	return fmt.Appendf(nil, `{"targetImage": %q, "sourceImage": %q%s}`, text(target), text(source), more)
}

// personText is a person as the document prints one.
var personText = regexp.MustCompile(`^\{"personId":"([^"]+)","created":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)","updated":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"\}\n$`)

// person reads an answer that must be one.
func person(t testing.TB, a dialecttest.Answer) (id, created, updated string) {
	t.Helper()
	m := personText.FindSubmatch(a.Body)
	if a.Status != 200 || m == nil {
		t.Fatalf("%d %q is no person", a.Status, a.Body)
	}
	return string(m[1]), string(m[2]), string(m[3])
}

// TestPeople: what a person is made of, and becomes.
func TestPeople(t *testing.T) {
	s := newServer(t, nil)
	c := newClient(s)
	a1, a2, b1 := extracttest.Photo(t, "a_1.jpg"), extracttest.Photo(t, "a_2.jpg"), extracttest.Photo(t, "b_1.jpg")

	id, created, updated := person(t, c.want(t, 200, "", "POST", "/person/face/ada%2F1%20%C3%A9", face(a1)))
	if id != "ada/1 é" || created != updated {
		t.Errorf("%s %s %s", id, created, updated)
	}
	c.want(t, 400, "CP_002", "POST", "/person/face/ada%2F1%20%C3%A9", face(b1))
	if a := c.ask(t, "POST", "/person/face/ada%2F1%20%C3%A9", face(b1)); !strings.Contains(string(a.Body), `"Customer profile already exists with id ada/1 é"`) {
		t.Errorf("%s", a.Body)
	}
	c.want(t, 400, "F_012", "POST", "/person/face/bob", face(a2))
	c.enrol(t, "bob", "b_1.jpg")
	c.want(t, 400, "F_012", "PUT", "/person/face/bob", face(a2))
	c.want(t, 404, "NF_001", "PUT", "/person/face/cyd", face(a2))

	_, err := s.Engine.PatchPerson(t.Context(), "default", "people", "bob", engine.PersonPatch{Metadata: new(json.RawMessage(`{"desk":1}`))})
	if err != nil {
		t.Fatal(err)
	}
	_, made, _ := person(t, c.want(t, 200, "", "GET", "/person/face/bob", nil))
	_, created, updated = person(t, c.want(t, 200, "", "PUT", "/person/face/bob", face(extracttest.Photo(t, "b_2.jpg"))))
	if created != made || updated <= created {
		t.Errorf("made %s, after an update created %s, updated %s", made, created, updated)
	}
	if p, err := s.Engine.Person(t.Context(), "default", "people", "bob"); err != nil || string(p.Metadata) != `{"desk":1}` || len(p.Templates) != 1 {
		t.Errorf("%+v %v", p, err)
	}
	if id, _, again := person(t, c.want(t, 200, "", "GET", "/person/face/bob", nil)); id != "bob" || again != updated {
		t.Errorf("%s %s", id, again)
	}
	if a := c.ask(t, "DELETE", "/person/face/bob", nil); a.Status != 200 || len(a.Body) != 0 {
		t.Errorf("%d %q", a.Status, a.Body)
	}
	for _, method := range []string{"GET", "DELETE"} {
		c.want(t, 404, "NF_001", method, "/person/face/bob", nil)
	}
	c.enrol(t, "bob", "b_1.jpg")
}

// TestMatching: who is found, and from which similarity on.
func TestMatching(t *testing.T) {
	s := newServer(t, nil)
	c := newClient(s)
	a2, c1 := extracttest.Photo(t, "a_2.jpg"), extracttest.Photo(t, "c_1.jpg")
	c.want(t, 410, "RF_001", "POST", "/person/recognize-face", face(a2)) // nobody is there
	c.enrol(t, "ada", "a_1.jpg")
	c.enrol(t, "bob", "b_1.jpg")
	for _, photo := range []string{"a_2.jpg", "a_3.jpg", "group.jpg"} { // of several faces the largest
		if id, _, _ := person(t, c.want(t, 200, "", "POST", "/person/recognize-face", face(extracttest.Photo(t, photo)))); id != "ada" {
			t.Errorf("%s is %s", photo, id)
		}
		if id, _, _ := person(t, c.want(t, 200, "", "POST", "/person/verify-face/ada", face(extracttest.Photo(t, photo)))); id != "ada" {
			t.Errorf("%s is %s", photo, id)
		}
	}
	c.want(t, 410, "RF_001", "POST", "/person/recognize-face", face(c1))
	c.want(t, 410, "RF_001", "POST", "/person/verify-face/bob", face(a2))
	c.want(t, 404, "NF_001", "POST", "/person/verify-face/nobody", face(a2))
	if _, err := s.Engine.PatchPerson(t.Context(), "default", "people", "ada", engine.PersonPatch{Status: engine.StatusSuspended}); err != nil {
		t.Fatal(err)
	}
	c.want(t, 410, "RF_001", "POST", "/person/recognize-face", face(a2))
	c.want(t, 410, "RF_001", "POST", "/person/verify-face/ada", face(a2))

	page, err := s.Engine.Audit(t.Context(), "default", engine.AuditQuery{Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	policies := map[string]string{}
	for _, line := range page.Records {
		var r engine.AuditRecord
		if err := json.Unmarshal(line.Record, &r); err != nil {
			t.Fatal(err)
		}
		if r.Op == engine.AuditIdentify || r.Op == engine.AuditVerify {
			policies[r.Op] = r.Policy
		}
	}
	if policies[engine.AuditIdentify] != "similarity=0.98" || policies[engine.AuditVerify] != "similarity=0.8" {
		t.Errorf("decisions were by %v", policies)
	}
}

// TestCompare: the similarity of the faces, 0 below the threshold.
func TestCompare(t *testing.T) {
	s := newServer(t, nil)
	c := newClient(s)
	a1, a2, b1, group := extracttest.Photo(t, "a_1.jpg"), extracttest.Photo(t, "a_2.jpg"), extracttest.Photo(t, "b_1.jpg"), extracttest.Photo(t, "group.jpg")
	matched := func(body []byte) float64 {
		t.Helper()
		var b struct{ FacesMatched *float64 }
		a := c.want(t, 200, "", "POST", "/person/compare-face", body)
		if a.Into(t, &b); b.FacesMatched == nil {
			t.Fatalf("%s", a.Body)
		}
		return *b.FacesMatched
	}
	for name, body := range map[string][]byte{
		"same":       faces(a2, a1, ""),
		"largest":    faces(group, a1, ""),
		"threshold":  faces(a2, a1, `, "similarityThreshold": 98`),
		"0":          faces(a2, a1, `, "similarityThreshold": 0`),
		"misspelt":   fmt.Appendf(nil, `{"targetImage": %q, "sourcetImage": %q}`, text(a2), text(a1)),
		"both alike": faces(a2, a1, fmt.Sprintf(`, "sourcetImage": %q`, text(a1))),
		"null":       faces(a2, a1, `, "similarityThreshold": null, "sourcetImage": null`),
	} {
		if m := matched(body); !(m > 98 && m <= 100) {
			t.Errorf("%s: %v", name, m)
		}
	}
	if m := matched(faces(b1, a1, "")); m != 0 {
		t.Errorf("others: %v", m)
	}
	if m := matched(faces(b1, a1, `, "similarityThreshold": 0`)); !(m > 0 && m < 80) {
		t.Errorf("others from 0 on: %v", m)
	}
	for name, more := range map[string]string{"share": "0.8", "1": "1", "above": "100.1", "below": "-1", "text": `"98"`} {
		a := c.want(t, 400, "R_003", "POST", "/person/compare-face", faces(a2, a1, `, "similarityThreshold": `+more))
		if a.Status == 200 {
			t.Errorf("%s", name)
		}
	}
	c.want(t, 400, "R_003", "POST", "/person/compare-face", faces(a2, group, "")) // the face, not the largest
	c.want(t, 400, "R_003", "POST", "/person/compare-face", faces(a2, a1, fmt.Sprintf(`, "sourcetImage": %q`, text(b1))))

	for scores, want := range map[engine.Scores]float64{engine.ScoresDecision: 100, engine.ScoresRounded: 100} {
		c.key = s.KeyOf("default", engine.KeySpec{Role: engine.RoleClient, Dialect: auther.Name, Galleries: []string{"people"}, Scores: scores})
		if m := matched(faces(a2, a1, "")); m != want && !(scores == engine.ScoresRounded && m == 99) {
			t.Errorf("%s: %v", scores, m)
		}
		c.want(t, 403, "M_403", "POST", "/person/compare-face", faces(a2, a1, `, "similarityThreshold": 98`))
	}
}

// TestGallery: dialects share people by the gallery that their keys name, and nothing else.
func TestGallery(t *testing.T) {
	s := newServer(t, nil)
	s.Gallery("others", engine.GallerySpec{})
	if _, _, err := s.Engine.CreateGallery(t.Context(), "rivals", "people", engine.GallerySpec{}); err != nil {
		t.Fatal(err)
	}
	admin := "Bearer " + s.KeyOf("default", engine.KeySpec{Role: engine.RoleAdmin})
	native := func(path string, body string) string {
		a := s.Do("POST", path, []byte(body), "Authorization", admin)
		return string(a.Body)
	}
	c := newClient(s)
	image := func(name string) string { return fmt.Sprintf(`{"image": %q}`, text(extracttest.Photo(t, name))) }
	a := s.Do("PUT", "/v1/galleries/people/people/ada", fmt.Appendf(nil, `{"images": [%q]}`, text(extracttest.Photo(t, "a_1.jpg"))), "Authorization", admin)
	if a.Status != 201 {
		t.Fatalf("%s", a.Body)
	}
	c.enrol(t, "bob", "b_1.jpg")
	if id, _, _ := person(t, c.want(t, 200, "", "POST", "/person/recognize-face", face(extracttest.Photo(t, "a_2.jpg")))); id != "ada" {
		t.Errorf("found %s", id)
	}
	c.want(t, 200, "", "GET", "/person/face/ada", nil)
	if body := native("/v1/galleries/people/identify", image("b_2.jpg")); !strings.Contains(body, `"person":"bob"`) {
		t.Errorf("%s", body)
	}
	for name, key := range map[string]string{
		"another gallery": s.Key(auther.Name, "others"),
		"another tenant":  s.KeyOf("rivals", engine.KeySpec{Role: engine.RoleClient, Dialect: auther.Name, Galleries: []string{"people"}}),
	} {
		x := &client{s, key}
		for _, method := range []string{"GET", "DELETE"} {
			x.want(t, 404, "NF_001", method, "/person/face/ada", nil)
		}
		x.want(t, 410, "RF_001", "POST", "/person/recognize-face", face(extracttest.Photo(t, "a_2.jpg")))
		x.want(t, 404, "NF_001", "POST", "/person/verify-face/ada", face(extracttest.Photo(t, "a_2.jpg")))
		x.enrol(t, "ada", "a_2.jpg") // no duplicate there
		if t.Failed() {
			t.Fatal(name)
		}
	}
	c.want(t, 200, "", "POST", "/person/verify-face/ada", face(extracttest.Photo(t, "a_2.jpg")))
}

// TestPhotos: each of the document's criteria is met by a photo, and told as each operation has it.
func TestPhotos(t *testing.T) {
	s := newServer(t, nil)
	c := newClient(s)
	c.enrol(t, "bob", "b_1.jpg")
	a1 := extracttest.Photo(t, "a_1.jpg")
	for _, x := range []struct {
		code, recognize string // "" is that the photo is taken
		photo           []byte
	}{
		{"F_001", "", extracttest.Photo(t, "group.jpg")},
		{"F_002", "R_003", extracttest.Photo(t, "noface.jpg")},
		{"F_003", "", golden(t, "g4.png")},
		{"F_004", "", mouthOpened(t, extracttest.Photo(t, "glasses.jpg"), .25)},
		{"F_005", "", extracttest.Photo(t, "sunglasses.jpg")},
		{"F_006", "", extracttest.Dark(t, a1)},
		{"F_007", "", extracttest.Blurry(t, a1)},
		{"F_008", "", golden(t, "g0_rot30.png")},
		{"F_009", "", bent(t, a1, 35)},
		{"F_010", "", golden(t, "g5.png")},
		{"F_011", "F_011", extracttest.Photo(t, "small.jpg")},
		{"R_003", "R_003", a1[:len(a1)/2]},
		{"R_003", "R_003", []byte("no photo")},
	} {
		c.want(t, 400, x.code, "POST", "/person/face/cyd", face(x.photo))
		c.want(t, 400, x.code, "PUT", "/person/face/bob", face(x.photo))
		recognized, verified := c.ask(t, "POST", "/person/recognize-face", face(x.photo)), c.ask(t, "POST", "/person/verify-face/bob", face(x.photo))
		if code := outcomeOf("", recognized).Code; code != x.recognize && !(x.recognize == "" && recognized.Status == 410) {
			t.Errorf("recognize-face of what is %s to enrol: %d %s", x.code, recognized.Status, recognized.Body)
		}
		if want := map[bool]int{true: 400, false: verified.Status}[x.recognize != ""]; verified.Status != want || want == 400 && outcomeOf("", verified).Code != "R_003" {
			t.Errorf("verify-face of what is %s to enrol: %d %s", x.code, verified.Status, verified.Body)
		}
	}
	c.want(t, 404, "NF_001", "GET", "/person/face/cyd", nil)
}

// TestGalleryGate: the gallery's own gate counts beside the document's criteria, and for probes alone.
func TestGalleryGate(t *testing.T) {
	s := newServer(t, nil)
	s.Gallery("strict", engine.GallerySpec{Gate: engine.Gates{Enrol: engine.Gate{"unified_score": 99.9}, Probe: engine.Gate{"head_size": 99.9}}})
	c := &client{s, s.Key(auther.Name, "strict")}
	c1 := face(extracttest.Photo(t, "c_1.jpg"))
	c.want(t, 400, "F_007", "POST", "/person/face/cyd", c1)
	c.want(t, 400, "F_011", "POST", "/person/recognize-face", c1)
	c.want(t, 200, "", "POST", "/person/compare-face", faces(extracttest.Photo(t, "c_1.jpg"), extracttest.Photo(t, "c_1.jpg"), "")) // is of no gallery
}
