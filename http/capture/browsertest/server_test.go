package browsertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildMien is the program, built once.
var buildMien = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mien-browsertest-*")
	if err != nil {
		return "", err
	}
	atEnd = append(atEnd, func() { os.RemoveAll(dir) })
	program := filepath.Join(dir, "mien")
	out, err := exec.Command("go", "build", "-o", program, "mien/cmd/mien").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return program, nil
})

// site is a running mien with one gallery, and the relying party that its sessions send browsers back to.
type site struct {
	t       *testing.T
	url     string
	admin   string // an administrator's key
	client  string // a key of the gallery for Auth Face
	gallery string
	party   string // the relying party's URL
	log     *bytes.Buffer
}

// newSite starts both; settings are the gallery's for sessions, beside its name and origin.
func newSite(t *testing.T, settings map[string]any) *site {
	t.Helper()
	program, err := buildMien()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, gallery: "customers", log: new(bytes.Buffer)}
	cmd := exec.Command(program, "--json", "serve", "--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), models(t)...)
	cmd.Stderr = s.log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("mien's log:\n%s", s.log)
		}
	})
	var hello struct {
		URL          string `json:"url"`
		AdminKeyFile string `json:"admin_key_file"`
	}
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&hello); err != nil {
		t.Fatalf("no greeting: %v", err)
	}
	key, err := os.ReadFile(hello.AdminKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	s.url, s.admin = hello.URL, strings.TrimSpace(string(key))
	party := httptest.NewServer(http.HandlerFunc(relyingParty))
	t.Cleanup(party.Close)
	s.party = party.URL
	s.prepare(settings)
	return s
}

// models is where make leaves library and models, for programs that lie elsewhere.
func models(t *testing.T) []string {
	t.Helper()
	dir, err := filepath.Abs(build)
	if err != nil {
		t.Fatal(err)
	}
	libraries, _ := filepath.Glob(filepath.Join(dir, "lib", runtime.GOOS+"-"+runtime.GOARCH, "libonnxruntime.*"))
	if len(libraries) == 0 {
		t.Fatal("no library (make setup fetches it)")
	}
	return []string{"MIEN_LIBRARY=" + libraries[0], "MIEN_MODELS=" + filepath.Join(dir, "models", "default"), "MIEN_BATCHING=all=single"}
}

// relyingParty has a page with the link that it is given, and one that browsers come back to.
func relyingParty(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	switch r.URL.Path {
	case "/":
		fmt.Fprintf(w, `<!DOCTYPE html><link rel="icon" href="data:,"><title>party</title><a href="%s">go</a>`, r.URL.Query().Get("to"))
	case "/back":
		fmt.Fprint(w, `<!DOCTYPE html><link rel="icon" href="data:,"><title>back</title>`)
	default:
		http.NotFound(w, r)
	}
}

func (s *site) prepare(settings map[string]any) {
	s.t.Helper()
	s.call(201, "PUT", "/v1/galleries/"+s.gallery, nil, nil)
	all := map[string]any{"name": "Example Bank", "origins": []string{s.party}}
	for k, v := range settings {
		all[k] = v
	}
	s.call(200, "PUT", "/v1/galleries/"+s.gallery+"/capture", all, nil)
	var made struct{ Token string }
	s.call(201, "POST", "/v1/keys", map[string]any{"role": "client", "dialect": "authface", "galleries": []string{s.gallery}}, &made)
	s.client = made.Token
}

// enrol enrols who is on a photo of testdata, without a page.
func (s *site) enrol(person, photo string) {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "testdata", "faces", photo))
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(201, s.admin, "PUT", "/v1/galleries/"+s.gallery+"/people/"+person, "image/jpeg", data, nil)
}

// call is one of the native API, with JSON of in, if any, and an answer for out.
func (s *site) call(status int, method, path string, in, out any) {
	s.t.Helper()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			s.t.Fatal(err)
		}
	}
	s.send(status, s.admin, method, path, "application/json", body, out)
}

// face is a call of Auth Face.
func (s *site) face(path string, in map[string]string, out any) {
	s.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(200, s.client, "POST", "/biometry/v1/"+path, "application/json", body, out)
}

func (s *site) send(status int, key, method, path, contentType string, body []byte, out any) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", method, path, err, s.log)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if resp.StatusCode != status {
		s.t.Fatalf("%s %s: %d %s, want %d", method, path, resp.StatusCode, data, status)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(data, out); err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// session is one of the native API.
type session struct {
	ID, URL, Status, Reason, Person, Liveness string
	Score                                     *float64
	Tries                                     int
}

// session makes one. spec is the request's body, beside gallery and redirect URL.
func (s *site) session(spec map[string]any) (x session) {
	s.t.Helper()
	all := map[string]any{"gallery": s.gallery, "redirect_url": s.party + "/back", "state": "s1"}
	for k, v := range spec {
		all[k] = v
	}
	s.call(201, "POST", "/v1/sessions", all, &x)
	return x
}

// ended is how a session stands.
func (s *site) ended(id string) (x session) {
	s.t.Helper()
	s.call(200, "GET", "/v1/sessions/"+id, nil, &x)
	return x
}

// lastTry is what the audit log has of the try that failed last.
func (s *site) lastTry() string {
	s.t.Helper()
	var list struct {
		Records []struct{ Record struct{ Op, Note string } }
	}
	s.call(200, "GET", "/v1/audit?limit=50", nil, &list)
	for _, r := range list.Records {
		if r.Record.Op == "capture.session.try" {
			return r.Record.Note
		}
	}
	return "nothing"
}

// result is Auth Face's.
type result struct {
	State, Flow, Status, Result string
	EventID                     string `json:"event_id"`
	Reason                      *string
	ExternalUserID              *string `json:"external_user_id"`
	Score                       *float64
	CompletedAt                 string `json:"completed_at"`
}

// begins begins a flow of Auth Face and returns the link.
func (s *site) begins(flow, state, user string) (link string) {
	s.t.Helper()
	in := map[string]string{"client_state": state, "redirect_url": s.party + "/back"}
	if user != "" {
		in["external_user_id"] = user
	}
	var started struct {
		BiometryURL string `json:"biometry_url"`
	}
	s.face(flow, in, &started)
	return started.BiometryURL
}

func (s *site) result(state string) (r result) {
	s.t.Helper()
	s.face("result", map[string]string{"client_state": state}, &r)
	return r
}

// result2 is result once more: Auth Face answers about a session once a second.
func (s *site) result2(state string) result {
	s.t.Helper()
	time.Sleep(1100 * time.Millisecond)
	return s.result(state)
}
