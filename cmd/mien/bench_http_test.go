package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// benchHTTP runs the command and decodes its object.
func benchHTTP(t *testing.T, env []string, args ...string) httpReport {
	t.Helper()
	stdout, stderr, code := mien(t, env, append([]string{"--json", "bench", "http"}, args...)...)
	var r httpReport
	if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil || stderr != "" {
		t.Fatalf("%v: exit %d, %v\n%s%s", args, code, err, stdout, stderr)
	}
	return r
}

// One that it starts itself, without models: every request of the schedule is answered, and counted for its operation.
func TestBenchHTTP(t *testing.T) {
	args := []string{"--people", "50", "--dim", "64", "--concurrency", "8", "--rate", "100", "--duration", "500ms"}
	r := benchHTTP(t, nil, append(args, "--op", "verify=2,identify=1,compare=1")...)
	l := r.Load
	if r.Server != "in process" || r.People != 50 || l == nil || r.Ramp != nil || r.Empty != nil {
		t.Fatalf("%+v", r)
	}
	if l.All.Answered != 50 || l.All.Failed+l.All.Refused != 0 || l.All.Latency.P50 <= 0 || l.All.Latency.Max < l.All.Latency.P50 {
		t.Errorf("%+v", l.All)
	}
	answered := uint64(0)
	var names []string
	for _, o := range l.Operations {
		answered += o.Answered
		names = append(names, o.Operation)
	}
	if answered != 50 || !slices.Equal(names, []string{"compare", "identify", "verify"}) {
		t.Errorf("%d answered by %v", answered, names)
	}
	if stdout, _, code := mien(t, nil, append([]string{"bench", "http", "--poisson"}, args...)...); code != 0 ||
		!strings.Contains(stdout, "100 a second, independent arrivals for 0.5 s, 8 at once at most") || !strings.Contains(stdout, "\n     verify  ") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

// What can't be reached in no time ends a ramp at its first step; what is refused is counted by its code.
func TestBenchHTTPRamp(t *testing.T) {
	args := []string{"--people", "1", "--dim", "64", "--rate", "50", "--duration", "200ms", "--ramp"}
	if c := benchHTTP(t, nil, append(args, "--p99", "1us")...).Ramp; c == nil || c.Kept != 0 || len(c.Steps) != 1 || !strings.HasPrefix(c.Why, "p99 is ") {
		t.Errorf("%+v", c)
	}
	c := benchHTTP(t, nil, append(args, "--p99", "10s", "--factor", "30", "--max-conns", "2", "--concurrency", "16")...).Ramp
	if c == nil || len(c.Steps) == 0 {
		t.Fatalf("%+v", c)
	}
	last := c.Steps[len(c.Steps)-1].All
	if last.Refused == 0 || last.Codes["503 overloaded"] != int(last.Refused) || !strings.Contains(c.Why, "were refused") {
		t.Errorf("16 senders on 2 connections: %+v, %s", last, c.Why)
	}
}

func TestBenchHTTPEmpty(t *testing.T) {
	e := benchHTTP(t, nil, "--people", "20", "--concurrency", "4", "--duration", "1s", "--empty").Empty
	if e == nil || len(e.Rounds) != emptyRounds || !(e.Ratio > 0 && e.Ratio >= e.RatioMin && e.Ratio <= e.RatioMax) || !(e.CPU > 0 && e.EmptyCPU > 0) {
		t.Fatalf("%+v", e)
	}
	for _, o := range e.Rounds {
		if o.ratio() < e.RatioMin || o.ratio() > e.RatioMax {
			t.Errorf("%+v", o)
		}
	}
}

// A server that runs, with models: by photo, and nothing is left on it.
func TestBenchHTTPRunning(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	stdout, stderr, code := s.run("--json", "bench", "http", "--running", "--people", "5", "--rate", "12", "--duration", "1s",
		"--photos", photo("a_1.jpg")+","+photo("b_1.jpg"), "--op", "verify-photo=1,identify-photo=1,compare-photo=1,verify=1")
	var r httpReport
	if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil || stderr != "" {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if l := r.Load.All; r.Server != s.url || r.Photos != 2 || len(r.Load.Operations) != 4 || l.Answered != 12 || l.Failed+l.Refused != 0 {
		t.Errorf("%+v", r.Load)
	}
	var left struct{ Galleries []any }
	if s.want(200, "GET", "/v1/galleries", nil, &left); len(left.Galleries) != 0 {
		t.Errorf("left behind: %v", left.Galleries)
	}
}

// Photos by a server of its own, which then has models.
func TestBenchHTTPPhotos(t *testing.T) {
	r := benchHTTP(t, setUp(t), "--people", "2", "--rate", "5", "--duration", "1s", "--photos", filepath.Dir(photo("")), "--op", "identify-photo=1")
	// One picture has no face.
	if l := r.Load.All; r.Photos < 8 || l.Answered+l.Failed != 5 || l.Answered < 2 || int(l.Failed) != l.Codes["422 no_face"] {
		t.Errorf("%d photos: %+v", r.Photos, l)
	}
}

func TestBenchHTTPRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		`there is no "enrol": compare, compare-photo,`: {"--op", "enrol=1"},
		"verify-photo needs --photos":                  {"--op", "verify-photo=1"},
		"--photos: there are none in ":                 {"--op", "verify-photo=1", "--photos", "bench.go"},
		"can't be held against it":                     {"--empty", "--running"},
		"--people must be more than 0":                 {"--people", "0"},
		"load: configuration: rate -1":                 {"--rate=-1", "--people", "1"},
		"no answer from http://127.0.0.1:1":            {"--running", "--server", "http://127.0.0.1:1", "--key", "x"},
		"can't be used together":                       {"--ramp", "--empty"},
	} {
		if _, stderr, code := mien(t, nil, append([]string{"bench", "http"}, args...)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}
