package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	nethttp "net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program is what is under test, built once: these tests start it as its users do.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	nethttp.DefaultTransport.(*nethttp.Transport).MaxIdleConnsPerHost = 16 // else most requests of many clients open a connection
	dir, err := os.MkdirTemp("", "mien-test-*")
	if err != nil {
		log.Fatal(err)
	}
	program = filepath.Join(dir, "mien")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		log.Fatalf("build: %v\n%s", err, out)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// setUp is where make leaves library and models; the binary under test lies elsewhere.
func setUp(t testing.TB) []string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", "..", "build"))
	if err != nil {
		t.Fatal(err)
	}
	library, _ := modelFlags{}.paths()
	lib := filepath.Join(root, "lib", filepath.Base(filepath.Dir(library)), filepath.Base(library))
	if _, err := os.Stat(lib); err != nil {
		t.Fatalf("%v (make setup fetches library and models)", err)
	}
	return []string{"MIEN_LIBRARY=" + lib, "MIEN_MODELS=" + filepath.Join(root, "models", "default"), "MIEN_BATCHING=all=single"}
}

// testServer is a running mien serve.
type testServer struct {
	t     testing.TB
	cmd   *exec.Cmd
	data  string
	url   string
	token string
	log   *bytes.Buffer
}

// start serves the data folder on a free port and waits until it says where.
func start(t testing.TB, data string, args ...string) *testServer {
	t.Helper()
	return startWith(t, nil, data, args...)
}

// startWith is start with settings of the environment.
func startWith(t testing.TB, env []string, data string, args ...string) *testServer {
	t.Helper()
	s := &testServer{t: t, data: data, log: new(bytes.Buffer)}
	s.cmd = exec.Command(program, append([]string{"--json", "serve", "--data", data, "--listen", "127.0.0.1:0"}, args...)...)
	s.cmd.Env = append(append(os.Environ(), setUp(t)...), env...)
	s.cmd.Stderr = s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	var hello struct {
		URL          string `json:"url"`
		AdminKeyFile string `json:"admin_key_file"`
	}
	if err := json.NewDecoder(bufio.NewReader(stdout)).Decode(&hello); err != nil {
		s.cmd.Wait()
		t.Fatalf("no greeting: %v\n%s", err, s.log)
	}
	token, err := os.ReadFile(hello.AdminKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	s.url, s.token = hello.URL, strings.TrimSpace(string(token))
	return s
}

// stop ends the server with a signal and returns its exit error.
func (s *testServer) stop(sig os.Signal) error {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(40 * time.Second):
		s.t.Fatalf("the server does not stop\n%s", s.log)
		return nil
	}
}

// answer is a response read to its end.
type answer struct {
	status int
	body   []byte
	code   string // of a problem
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// try sends one request with the token and a body of the content type; err is a connection's.
func (s *testServer) try(method, path, contentType string, body []byte) (answer, error) {
	req, err := nethttp.NewRequest(method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := nethttp.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	var p problem
	_ = json.Unmarshal(data, &p)
	return answer{resp.StatusCode, data, p.Code}, err
}

func (s *testServer) send(method, path, contentType string, body []byte) answer {
	s.t.Helper()
	a, err := s.try(method, path, contentType, body)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", method, path, err, s.log)
	}
	return a
}

// post sends v as JSON, expects the status and decodes into out.
func (s *testServer) want(status int, method, path string, v, out any) {
	s.t.Helper()
	var body []byte
	if v != nil {
		var err error
		if body, err = json.Marshal(v); err != nil {
			s.t.Fatal(err)
		}
	}
	a := s.send(method, path, "application/json", body)
	if a.status != status {
		s.t.Fatalf("%s %s: %v, want %d", method, path, a, status)
	}
	if out != nil {
		if err := json.Unmarshal(a.body, out); err != nil {
			s.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
}

// run runs a client command against the server and returns stdout, stderr and the exit code.
func (s *testServer) run(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	return mien(s.t, append(setUp(s.t), "MIEN_SERVER="+s.url, "MIEN_KEY="+s.token), args...)
}

func mien(t testing.TB, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

func photo(name string) string { return filepath.Join("..", "..", "testdata", "faces", name) }

func photoBytes(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(photo(name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
