package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	nethttp "net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mien/http/certs/testca"
)

// TestFIPS: with the Go module of FIPS 140-3 the whole program serves over TLS, enrols, verifies, identifies, erases with a proof, and
// opens its store again: in the mode that prefers what is approved, and in that which allows nothing else.
func TestFIPS(t *testing.T) {
	for _, mode := range []string{"on", "only"} {
		t.Run(mode, func(t *testing.T) { testFIPS(t, []string{"GODEBUG=fips140=" + mode}) })
	}
}

func testFIPS(t *testing.T, env []string) {
	ca, dir := testca.New(t), t.TempDir()
	cert, key, _ := ca.Write(dir, "mien.test", time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0))
	data := filepath.Join(dir, "data")
	s := startWith(t, env, data, "--tls-cert", cert, "--tls-key", key, "--batching", "all=single")
	client := &nethttp.Client{Transport: &nethttp.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), ServerName: "mien.test"}}}
	defer client.CloseIdleConnections()
	do := func(status int, method, path string, body, into any) {
		t.Helper()
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r, err := nethttp.NewRequest(method, s.url+path, bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.token)
		r.Header.Set("Content-Type", "application/json")
		a, err := client.Do(r)
		if err != nil {
			t.Fatalf("%v\n%s", err, s.log)
		}
		defer a.Body.Close()
		text, err := io.ReadAll(a.Body)
		if err == nil && into != nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil || a.StatusCode != status {
			t.Fatalf("%s %s: %d %s, %v\n%s", method, path, a.StatusCode, text, err, s.log)
		}
	}
	var g struct{ Space string }
	do(201, "PUT", "/v1/galleries/g", map[string]any{}, &g)
	for i, id := range []string{"ada", "bob"} {
		do(201, "PUT", "/v1/galleries/g/people/"+id, map[string]any{"templates": []any{template(g.Space, uint64(i))}}, nil)
	}
	var d struct{ Match bool }
	if do(200, "POST", "/v1/galleries/g/people/ada/verify", map[string]any{"template": template(g.Space, 0)}, &d); !d.Match {
		t.Error("ada is not who was enrolled")
	}
	var found struct{ Candidates []struct{ Person string } }
	if do(200, "POST", "/v1/galleries/g/identify", map[string]any{"template": template(g.Space, 1)}, &found); len(found.Candidates) != 1 || found.Candidates[0].Person != "bob" {
		t.Errorf("%+v", found)
	}
	do(202, "POST", "/v1/encryption/rotate", map[string]any{}, nil)
	var r struct {
		JWS   string
		Proof struct{ Passed bool }
	}
	if do(200, "POST", "/v1/galleries/g/people/ada/erase", map[string]any{"prove": true}, &r); !r.Proof.Passed {
		t.Errorf("%+v", r)
	}
	if err := s.stop(syscall.SIGTERM); err != nil || !strings.Contains(s.log.String(), `"fips140":true`) {
		t.Fatalf("%v\n%s", err, s.log)
	}
	for _, args := range [][]string{{"keys", "create", "--role", "matcher", "--data", data}, {"encryption", "rotate", "--root", "--data", data}, {"backup", "--data", data, "--to", filepath.Join(dir, "backups")}} {
		if out, stderr, code := mien(t, env, args...); code != 0 {
			t.Errorf("%v: exit code %d, %s%s", args, code, out, stderr)
		}
	}
}
