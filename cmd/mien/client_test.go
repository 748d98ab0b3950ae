package main

import (
	"encoding/json"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// folder makes person/photo files out of the test pictures.
func folder(t *testing.T, people map[string][]string) string {
	t.Helper()
	dir := t.TempDir()
	for person, photos := range people {
		if err := os.Mkdir(filepath.Join(dir, person), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, p := range photos {
			data := []byte("no image at all")
			if p != "text.jpg" {
				data = photoBytes(t, p)
			}
			if err := os.WriteFile(filepath.Join(dir, person, p), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// The commands as a newcomer uses them: enrol a folder with bad photos in it, search, verify, compare.
func TestCommands(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	people := folder(t, map[string][]string{
		"Ada": {"a_1.jpg", "text.jpg", "a_2.jpg"}, "Bob": {"b_1.jpg"}, "nobody": {"noface.jpg", "group.jpg"}, "empty": {},
	})
	out, stderr, code := s.run("enroll", "--create", "-g", "demo", people)
	if code != exitNegative {
		t.Fatalf("enroll: exit code %d, want %d for refused photos\n%s%s", code, exitNegative, out, stderr)
	}
	for _, say := range []string{
		`Ada/text.jpg`, `"not_an_image"`, `nobody/noface.jpg`, `"no_face"`, `nobody/group.jpg`, `"several_faces"`,
		`{"people":2,"templates":3,"photos_refused":3,"people_refused":1}`,
	} {
		if !strings.Contains(out, say) {
			t.Errorf("enroll says nothing of %s:\n%s", say, out)
		}
	}
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"identify", "-g", "demo", photo("a_3.jpg")}, 0, "Ada\t"},
		{[]string{"identify", "-g", "demo", "--exact", photo("a_3.jpg")}, 0, "Ada\t"},
		{[]string{"identify", "-g", "demo", "--ef", "64", photo("a_3.jpg")}, 0, "Ada\t"},
		{[]string{"identify", "-g", "demo", "--ef", "0", photo("a_3.jpg")}, 1, "from 1 to 16384"},
		{[]string{"identify", "-g", "demo", photo("c_1.jpg")}, exitNegative, "0 people listed"},
		{[]string{"identify", "-g", "none", photo("c_1.jpg")}, 1, "gallery_not_found"},
		{[]string{"verify", "-g", "demo", "Bob", photo("b_2.jpg")}, 0, "match\t"},
		{[]string{"verify", "-g", "demo", "Bob", photo("a_1.jpg")}, exitNegative, "no match\t"},
		{[]string{"verify", "-g", "demo", "Eve", photo("a_1.jpg")}, 1, "person_not_found"},
		{[]string{"verify", "-g", "demo", "--cosine", "1", "Bob", photo("b_2.jpg")}, exitNegative, "threshold 1.000"},
		{[]string{"compare", photo("c_1.jpg"), photo("c_2.jpg")}, 0, "match\t"},
		{[]string{"compare", photo("c_1.jpg"), photo("a_2.jpg")}, exitNegative, "no match\t"},
		{[]string{"compare", photo("c_1.jpg"), photo("group.jpg")}, 1, "several_faces"},
		{[]string{"compare", "--select", "largest", photo("a_1.jpg"), photo("group.jpg")}, 0, "match\t"},
		{[]string{"galleries", "show", "demo"}, 0, "2 people\t3 templates"},
		{[]string{"galleries", "show", "demo"}, 0, "\nindex scan: "},
		{[]string{"galleries", "create", "--index", "hnsw", "graph"}, 0, "graph\t0 people"},
		{[]string{"galleries", "show", "graph"}, 0, "\ngraph: 0 templates linked"},
		{[]string{"galleries", "create", "--index", "ivf", "other"}, 80, `"auto","scan","hnsw"`},
		{[]string{"galleries", "delete", "graph"}, 0, "deleted graph"},
		{[]string{"identify", "-g", "demo", "--select", "all", photo("group.jpg")}, 0, "2 faces\nface 1\t"},
		{[]string{"identify", "-g", "demo", "--select", "all", photo("noface.jpg")}, exitNegative, "0 faces"},
		{[]string{"extract", photo("a_1.jpg")}, 0, "1 faces\nface 1\t"},
		{[]string{"extract", photo("noface.jpg")}, exitNegative, "0 faces"},
		{[]string{"galleries", "delete", "demo"}, 0, "deleted demo"},
		{[]string{"galleries", "show", "demo"}, 1, "gallery_not_found"},
		{[]string{"galleries", "list"}, 0, "no galleries"},
		{[]string{"keys", "list"}, 0, "admin (operator)"},
		{[]string{"version"}, 0, "mien "},
		{[]string{"enroll", "-g", "demo", t.TempDir()}, 1, "no person/photo files"},
	} {
		out, stderr, code := s.run(c.args...)
		if code != c.code || !strings.Contains(out+stderr, c.say) {
			t.Errorf("mien %s: exit code %d, %q; want %d and %q", strings.Join(c.args, " "), code, out+stderr, c.code, c.say)
		}
	}
}

// The liveness of these photos by the default pack, in hundredths: a_1 100.00, b_1 99.9, c_2 99.4.
func TestGateCommands(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	people := folder(t, map[string][]string{"Ada": {"a_1.jpg"}, "Cleo": {"c_2.jpg"}})
	out, stderr, code := s.run("enroll", "--create", "--gate", "liveness=99.8", "-g", "demo", people)
	if code != exitNegative || !strings.Contains(out, `"reasons":[{"code":"liveness_failed","measure":"liveness","value":99.`) ||
		!strings.Contains(out, `{"people":1,"templates":1,"photos_refused":1,"people_refused":1}`) {
		t.Errorf("enroll: %d %s%s", code, out, stderr)
	}
	settings := filepath.Join(t.TempDir(), "mien.json")
	if err := os.WriteFile(settings, []byte(`{"gate": {"liveness": 99.8}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"--config", settings, "verify", "-g", "demo", "Ada", photo("c_2.jpg")}, 1, "at least 99.8"},
		{[]string{"galleries", "show", "demo"}, 0, "\ngate for enrolment: liveness=99.8\n"},
		{[]string{"enroll", "--create", "-g", "demo", people}, 1, "gallery_exists"},
		{[]string{"identify", "-g", "demo", "--gate", "liveness=99.8", photo("c_2.jpg")}, 1, ", at least 99.8 is asked for"},
		{[]string{"identify", "-g", "demo", "--select", "all", "--gate", "liveness=99.8", photo("c_2.jpg")}, exitNegative, "\n  liveness_failed: "},
		{[]string{"verify", "-g", "demo", "--gate", "liveness=99.8", "Ada", photo("c_2.jpg")}, 1, "quality_failed"},
		{[]string{"verify", "-g", "demo", "--gate", "liveness=50", "Ada", photo("a_1.jpg")}, 0, "match"},
		{[]string{"verify", "-g", "demo", "--gate", "beauty=50", "Ada", photo("a_1.jpg")}, 1, "the measures are: unified_score,"},
		{[]string{"verify", "-g", "demo", "--gate", "liveness", "Ada", photo("a_1.jpg")}, 80, "--gate"},
		{[]string{"compare", "--gate", "liveness=99.8", photo("a_1.jpg"), photo("c_2.jpg")}, 1, "target: the photo is not good enough"},
		{[]string{"extract", "--gate", "liveness=99.8", photo("c_2.jpg")}, exitNegative, "\n  liveness_failed: "},
		{[]string{"extract", "--gate", "liveness=99.8", photo("a_1.jpg")}, 0, "\n  passes the gate"},
		{[]string{"--json", "extract", "--template", photo("a_1.jpg")}, 0, `"template":{"space":"`},
		{[]string{"galleries", "update", "demo"}, 1, "nothing to change"},
		{[]string{"galleries", "update", "--fmr", "1e-5", "--probe-gate", "liveness=50", "demo"}, 0, "\npolicy: fmr 1e-05\ngate for enrolment: liveness=99.8\ngate for probes: liveness=50"},
		{[]string{"galleries", "update", "--no-policy", "--no-gates", "--enrol-gate", "liveness=1", "demo"}, 0, "\ngate for enrolment: liveness=1\n"},
		{[]string{"galleries", "update", "--no-gates", "none"}, 1, "gallery_not_found"},
		{[]string{"galleries", "create", "--enrol-gate", "liveness=101", "g"}, 1, "bad_gate"},
		{[]string{"galleries", "create", "--probe-gate", "liveness=10", "--cosine", "0.5", "g"}, 0, "\npolicy: cosine 0.5\ngate for probes: liveness=10\n"},
		{[]string{"enroll", "-g", "demo", people}, 0, `{"people":2,"templates":2,"photos_refused":0,"people_refused":0}`},
	} {
		out, stderr, code := s.run(c.args...)
		if code != c.code || !strings.Contains(out+stderr, c.say) {
			t.Errorf("mien %s: exit code %d, %q; want %d and %q", strings.Join(c.args, " "), code, out+stderr, c.code, c.say)
		}
	}
}

// Only a bad photo or id may be passed over; what would fail for everybody ends the work at once, with exit code 1.
func TestEnrollFatal(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	people := folder(t, map[string][]string{"a": {"a_1.jpg"}, "b": {"b_1.jpg"}})
	if out, stderr, code := s.run("enroll", "-g", "missing", people); code != 1 || !strings.Contains(stderr, "gallery_not_found") || strings.Contains(out, "refused\":1") {
		t.Errorf("a missing gallery: %d %s%s", code, out, stderr)
	}
	good := s.token
	s.token = "mien_0000000000000000_" + strings.Repeat("x", 43)
	if out, stderr, code := s.run("enroll", "-g", "demo", people); code != 1 || !strings.Contains(stderr, "key_unknown") {
		t.Errorf("an unknown key: %d %s%s", code, out, stderr)
	}
	s.token = good
	odd := folder(t, map[string][]string{"a": {"a_1.jpg", "a_2.jpg"}, "trailing space ": {"b_1.jpg", "b_2.jpg"}, "Zoë O'Neill": {"c_1.jpg"}})
	out, stderr, code := s.run("enroll", "--create", "-g", "demo", odd)
	if code != exitNegative || !strings.Contains(out, `"bad_id"`) && !strings.Contains(out, "(bad_id)") || !strings.Contains(out, `{"people":2,"templates":3,"photos_refused":0,"people_refused":1}`) {
		t.Errorf("a bad id among good ones: %d %s%s", code, out, stderr)
	}
}

// Enrolling again must not lose what else is known of a person.
func TestEnrollKeepsMetadata(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	s.want(201, "PUT", "/v1/galleries/g", nil, nil)
	s.want(201, "PUT", "/v1/galleries/g/people/a", map[string]any{"images": [][]byte{photoBytes(t, "a_1.jpg")}, "metadata": map[string]any{"desk": "4.12"}}, nil)
	if out, stderr, code := s.run("enroll", "-g", "g", folder(t, map[string][]string{"a": {"a_2.jpg", "a_3.jpg"}})); code != 0 {
		t.Fatalf("%d %s%s", code, out, stderr)
	}
	var p struct {
		Metadata  struct{ Desk string }
		Templates []struct{ ID string }
	}
	if s.want(200, "GET", "/v1/galleries/g/people/a", nil, &p); p.Metadata.Desk != "4.12" || len(p.Templates) != 2 {
		t.Errorf("after enrolling again: %+v", p)
	}
}

func TestClientWithoutServerOrKey(t *testing.T) {
	for _, c := range []struct {
		env []string
		say string
	}{
		{nil, "no API key"},
		{[]string{"MIEN_SERVER=http://192.0.2.1:8080"}, "no API key"}, // never the local administrator's
		{[]string{"MIEN_KEY=x", "MIEN_SERVER=http://127.0.0.1:1"}, "no answer from http://127.0.0.1:1"},
		{[]string{"MIEN_KEY=x", "MIEN_SERVER=nonsense"}, "is not an address"},
	} {
		if _, stderr, code := mien(t, c.env, "galleries", "list"); code != 1 || !strings.Contains(stderr, c.say) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: exit code %d, %q; want one line with %q", c.env, code, stderr, c.say)
		}
	}
}

// Flags win over the environment, the environment over the file.
func TestSettingsPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mien.json")
	if err := os.WriteFile(file, []byte(`{"server": "http://127.0.0.1:1", "key": "file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		env, args []string
		say       string
	}{
		{nil, nil, "127.0.0.1:1:"},
		{[]string{"MIEN_SERVER=http://127.0.0.1:2"}, nil, "127.0.0.1:2:"},
		{[]string{"MIEN_SERVER=http://127.0.0.1:2"}, []string{"--server", "http://127.0.0.1:3"}, "127.0.0.1:3:"},
	} {
		args := append([]string{"--config", file, "galleries", "list"}, c.args...)
		if _, stderr, code := mien(t, c.env, args...); code != 1 || !strings.Contains(stderr, c.say) {
			t.Errorf("%v %v: %d %q, want %q", c.env, c.args, code, stderr, c.say)
		}
	}
}

func mustUnmarshal(t testing.TB, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Errorf("%v: %s", err, data)
	}
}

// A file's keys are flag names with - or _; what no command knows is refused.
func TestSettingsFile(t *testing.T) {
	for text, say := range map[string]string{
		`{"master-key": "/nowhere/a"}`: "/nowhere/a", `{"master_key": "/nowhere/b"}`: "/nowhere/b",
		`{"frob": 1}`: `no setting "frob"`, `[]`: "not a JSON object", `{"max-body": "x"}`: "max-body",
	} {
		file := filepath.Join(t.TempDir(), "mien.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		data := filepath.Join(t.TempDir(), "data")
		_, stderr, code := mien(t, setUp(t), "--config", file, "serve", "--data", data, "--listen", "127.0.0.1:0")
		if code == 0 || !strings.Contains(stderr, say) {
			t.Errorf("%s: exit code %d, %q; want a word of %q", text, code, stderr, say)
		}
	}
}

// TestDuplicateCommands: a gallery that refuses faces it has, and enrolments that ask for less or more.
func TestDuplicateCommands(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	ada, other := folder(t, map[string][]string{"Ada": {"a_1.jpg"}}), folder(t, map[string][]string{"Eve": {"a_2.jpg"}, "Bob": {"b_1.jpg"}})
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"galleries", "create", "--duplicates", "reject", "demo"}, 0, "\nduplicates: reject"},
		{[]string{"enroll", "-g", "demo", ada}, 0, `{"people":1,"templates":1`},
		{[]string{"enroll", "-g", "demo", other}, exitNegative, `"duplicates":[{"person":"Ada"`},
		{[]string{"enroll", "-g", "demo", other}, exitNegative, `{"people":1,"templates":1,"photos_refused":0,"people_refused":1}`},
		{[]string{"enroll", "-g", "demo", "--duplicates", "warn", other}, 0, `{"duplicates":[{"person":"Ada"`},
		{[]string{"enroll", "-g", "demo", "--duplicates", "maybe", other}, 80, "reject"},
		{[]string{"galleries", "update", "--duplicates", "off", "--duplicate-fpir", "0.01", "demo"}, 0, "\npolicy for duplicates: fpir 0.01"},
		{[]string{"galleries", "update", "--duplicates", "maybe", "demo"}, 80, "reject"},
		{[]string{"enroll", "-g", "demo", ada}, 0, `{"people":1,"templates":1`},
	} {
		out, stderr, code := s.run(c.args...)
		if code != c.code || !strings.Contains(out+stderr, c.say) {
			t.Errorf("mien %s: exit code %d, %q; want %d and %q", strings.Join(c.args, " "), code, out+stderr, c.code, c.say)
		}
	}
}

// TestPeopleCommands: people by status and metadata.
func TestPeopleCommands(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	people := folder(t, map[string][]string{"Ada": {"a_1.jpg"}})
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"galleries", "create", "--filterable", "site,floor", "--history", "1", "demo"}, 0, "\nhistory: 1 replaced templates of each person\nfilterable: site,floor"},
		{[]string{"enroll", "-g", "demo", people}, 0, `{"people":1,"templates":1`},
		{[]string{"people", "update", "-g", "demo", "--metadata", `{"site":"a","floor":4}`, "Ada"}, 0, "metadata: {\"site\":\"a\""},
		{[]string{"identify", "-g", "demo", "--where", "site=a,floor=4", photo("a_2.jpg")}, 0, "Ada\t"},
		{[]string{"identify", "-g", "demo", "--where", "site=b", photo("a_2.jpg")}, exitNegative, "0 people listed"},
		{[]string{"identify", "-g", "demo", "--where", "desk=b", photo("a_2.jpg")}, 1, "bad_filter"},
		{[]string{"people", "update", "-g", "demo", "--status", "suspended", "Ada"}, 0, "Ada\tsuspended"},
		{[]string{"identify", "-g", "demo", photo("a_2.jpg")}, exitNegative, "0 people listed"},
		{[]string{"identify", "-g", "demo", "--status", "any", photo("a_2.jpg")}, 0, "Ada\t"},
		{[]string{"verify", "-g", "demo", "Ada", photo("a_2.jpg")}, 1, "person_suspended"},
		{[]string{"enroll", "-g", "demo", people}, 0, `{"people":1,"templates":1`},
		{[]string{"people", "show", "-g", "demo", "Ada"}, 0, "\treplaced 2"},
		{[]string{"people", "update", "-g", "demo", "Ada"}, 1, "nothing to change"},
		{[]string{"people", "show", "-g", "demo", "Eve"}, 1, "person_not_found"},
	} {
		out, stderr, code := s.run(c.args...)
		if code != c.code || !strings.Contains(out+stderr, c.say) {
			t.Errorf("mien %s: exit code %d, %q; want %d and %q", strings.Join(c.args, " "), code, out+stderr, c.code, c.say)
		}
	}
}

// TestLostAnswers: a write whose answer is lost is sent again under the name that it had, and no other request is.
func TestLostAnswers(t *testing.T) {
	var mu sync.Mutex
	var got []string
	asked := func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(got) }
	server := httptest.NewServer(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		mu.Lock()
		got = append(got, r.Header.Get("Idempotency-Key"))
		n := len(got)
		mu.Unlock()
		switch n {
		case 1:
			panic(nethttp.ErrAbortHandler) // the connection ends
		case 2:
			w.WriteHeader(409)
			io.WriteString(w, `{"status":409,"code":"idempotency_in_progress","detail":"wait"}`)
		default:
			io.WriteString(w, `{}`)
		}
	}))
	defer server.Close()
	c := &client{server.URL, "key", server.Client()}
	if err := c.do(t.Context(), "PUT", "/v1/galleries/g/people/ann", map[string]int{}, nil); err != nil {
		t.Fatal(err)
	}
	names := asked()
	if len(names) != 3 || names[0] == "" || names[1] != names[0] || names[2] != names[0] {
		t.Errorf("the names of the tries are %q", names)
	}
	err := c.do(t.Context(), "PUT", "/v1/galleries/g/people/ann", map[string]int{}, nil)
	if names = asked(); err != nil || names[3] == names[0] {
		t.Errorf("the next request has the name %q, that before %q: %v", names[3], names[0], err)
	}
	for _, path := range []string{"/v1/galleries/g/identify", "/v1/galleries/g/move"} {
		mu.Lock()
		got = nil // the connection of the first ends
		mu.Unlock()
		err := c.do(t.Context(), "POST", path, map[string]int{}, nil)
		if names := asked(); err == nil || len(names) != 1 || names[0] != "" {
			t.Errorf("%s was sent %d times, with %q: %v", path, len(names), names, err)
		}
	}
	server.Close()
	begin := time.Now()
	if err := c.do(t.Context(), "PUT", "/v1/galleries/g", nil, nil); err == nil || time.Since(begin) > 5*time.Second {
		t.Errorf("without a server: %v after %v", err, time.Since(begin))
	}
}
