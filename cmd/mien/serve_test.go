package main

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Every failure to start must be one line that says what to mend, exit code 1, and leave nothing behind.
func TestStartErrors(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		say  string
	}{
		{"busy port", []string{"--listen", busy.Addr().String()}, "in use by another program"},
		{"data folder is a file", []string{"--data", filepath.Join(file, "data")}, "can't be made: not a directory"},
		{"no library", []string{"--library", "/nowhere/lib.so"}, "/nowhere/lib.so"},
		{"no models", []string{"--models", t.TempDir()}, "go run ./cmd/setup"},
		{"no master key", []string{"--master-key", "/nowhere/key"}, "master key /nowhere/key can't be read"},
		{"bad master key", []string{"--master-key", file}, "is not 64 hex digits"},
		{"unknown kernels", []string{"--simd", "mmx"}, "no level \"mmx\" on this machine, which has "},
	} {
		t.Run(c.name, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			args := append([]string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, c.args...)
			stdout, stderr, code := mien(t, setUp(t), args...)
			var said []string
			for line := range strings.Lines(stderr) {
				if !strings.HasPrefix(line, "{") { // the log
					said = append(said, line)
				}
			}
			if code != 1 || stdout != "" || len(said) != 1 || !strings.Contains(said[0], c.say) {
				t.Errorf("exit code %d, stdout %q, stderr %q; want 1 and one line with %q", code, stdout, stderr, c.say)
			}
			if _, err := os.Stat(filepath.Join(data, "admin.key")); err == nil {
				t.Error("an admin key was made")
			}
		})
	}
}

// A flag that can't be is refused before anything is made.
func TestServeFlags(t *testing.T) {
	for _, c := range [][2]string{{"--recall-sample=2", "--recall-sample must be"}, {"--recall-sample=0", "--recall-sample must be"}, {"--queue=0", "--queue must be"}} {
		data := filepath.Join(t.TempDir(), "data")
		if _, stderr, code := mien(t, nil, "serve", "--data", data, c[0]); code == 0 || !strings.Contains(stderr, c[1]) {
			t.Errorf("%s: exit code %d, %q", c[0], code, stderr)
		}
		if _, err := os.Stat(data); err == nil {
			t.Errorf("%s: the data folder was made", c[0])
		}
	}
}

// A store that is gone must not be replaced by an empty one beside keys that outlived it.
func TestLostStore(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := start(t, data)
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(data, "store")); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := mien(t, setUp(t), "serve", "--data", data, "--listen", "127.0.0.1:0")
	token, err := os.ReadFile(filepath.Join(data, "admin.key"))
	if code != 1 || !strings.Contains(stderr, "has an admin.key and no store") || err != nil || strings.TrimSpace(string(token)) != s.token {
		t.Errorf("exit code %d, %q, key %v; want a refusal and the key as it was", code, stderr, err)
	}
}

// A library that was cut short would end the process with SIGBUS if it were loaded.
func TestDamagedLibrary(t *testing.T) {
	whole, err := os.ReadFile(strings.TrimPrefix(setUp(t)[0], "MIEN_LIBRARY="))
	if err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"cut": len(whole) / 2, "head": 1000, "empty": 0} {
		file := filepath.Join(t.TempDir(), "libonnxruntime.so")
		if err := os.WriteFile(file, whole[:size], 0o755); err != nil {
			t.Fatal(err)
		}
		out, stderr, code := mien(t, setUp(t), "doctor", "--library", file, "--data", t.TempDir())
		if code != 1 || strings.Contains(stderr, "goroutine") || !strings.Contains(out, "fail  inference") {
			t.Errorf("%s: exit code %d, %s%s", name, code, out, stderr)
		}
	}
}

func TestKeysOnStoppedFolder(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := start(t, data)
	if _, stderr, code := mien(t, nil, "keys", "list", "--data", data); code != 1 || !strings.Contains(stderr, "in use") {
		t.Errorf("on a running server: %d %q, want a word that it is in use", code, stderr)
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	token, stderr, code := mien(t, nil, "keys", "create", "--data", data, "--tenant", "acme", "--role", "matcher")
	if token = strings.TrimSpace(token); code != 0 || !strings.HasPrefix(token, "mien_") || strings.Contains(token, "\n") {
		t.Fatalf("%d %q %q, want a token alone", code, token, stderr)
	}
	s = start(t, data)
	admin := s.token
	s.token = token
	s.want(200, "GET", "/v1/galleries", nil, nil)
	if a := s.send("PUT", "/v1/galleries/g", "application/json", []byte("{}")); a.status != 403 || a.code != "forbidden" {
		t.Errorf("a matcher makes a gallery: %v", a)
	}
	s.token = admin
	id := strings.Split(token, "_")[1]
	if stdout, stderr, code := s.run("keys", "revoke", "--tenant", "acme", id); code != 0 {
		t.Errorf("revoke: %d %q %q", code, stdout, stderr)
	}
	s.token = token
	if a := s.send("GET", "/v1/galleries", "", nil); a.status != 401 || a.code != "key_revoked" {
		t.Errorf("a revoked key: %v", a)
	}
	for _, name := range []string{"admin.key", "master.key"} {
		if info, err := os.Stat(filepath.Join(data, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v; want 0600", name, info.Mode(), err)
		}
	}
}

// Keys that may do less than their role, made and rotated on a server and on a stopped folder.
func TestNarrowKeys(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := start(t, data)
	admin := s.token
	create := []string{"keys", "create", "--role", "matcher", "--gallery", "staff", "--gallery", "door-*", "--expires", "720h", "--rate", "100", "--scores", "decision"}
	token, stderr, code := s.run(create...)
	if token = strings.TrimSpace(token); code != 0 {
		t.Fatalf("%d %q", code, stderr)
	}
	id := strings.Split(token, "_")[1]
	if list, _, code := s.run("keys", "list"); code != 0 || !strings.Contains(list, id+"\tdefault\tmatcher\tuntil ") ||
		!strings.Contains(list, "\tdoor-* staff, 100/s (100 at once), scores decision\t") {
		t.Errorf("%d %q", code, list)
	}
	s.token = token
	if a := s.send("GET", "/v1/galleries/other", "", nil); a.status != 403 {
		t.Errorf("another gallery: %v", a)
	}
	if a := s.send("GET", "/v1/galleries/door-1", "", nil); a.status != 404 {
		t.Errorf("a gallery of its own that is not there: %v", a)
	}
	s.token = admin
	next, stderr, code := s.run("keys", "rotate", "--overlap", "1h", id)
	if next = strings.TrimSpace(next); code != 0 || !strings.HasPrefix(next, "mien_") {
		t.Fatalf("%d %q %q", code, next, stderr)
	}
	if list, _, _ := s.run("keys", "list"); !strings.Contains(list, "rotated to "+strings.Split(next, "_")[1]) {
		t.Errorf("%q", list)
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	last, stderr, code := mien(t, nil, "keys", "rotate", "--data", data, "--overlap", "0s", strings.Split(next, "_")[1])
	if last = strings.TrimSpace(last); code != 0 {
		t.Fatalf("%d %q", code, stderr)
	}
	if _, stderr, code := mien(t, nil, "keys", "create", "--data", data, "--role", "matcher", "--gallery", "*"); code != 1 || !strings.Contains(stderr, "door-*") {
		t.Errorf("a key for the gallery *: %d %q", code, stderr)
	}
	s = start(t, data)
	for token, want := range map[string]int{token: 200, next: 401, last: 200} {
		s.token = token
		if a := s.send("GET", "/v1/galleries", "", nil); a.status != want {
			t.Errorf("%v, want %d", a, want)
		}
	}
}

// template is a random unit vector in the API's form.
func template(space string, seed uint64) map[string]any {
	r := rand.New(rand.NewPCG(seed, 1))
	raw := make([]byte, 0, 4*512)
	for range 512 {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(r.NormFloat64())))
	}
	return map[string]any{"space": space, "f32": base64.StdEncoding.EncodeToString(raw)}
}

// SIGTERM must finish what was accepted: no request that was sent may be cut off.
func TestGracefulStop(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	s.want(201, "PUT", "/v1/galleries/g", map[string]any{}, nil)
	image := photoBytes(t, "a_1.jpg")
	var done, refused atomic.Int64
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for n := 0; ; n++ {
				a, err := s.try("PUT", fmt.Sprintf("/v1/galleries/g/people/p%d-%d", i, n), "image/jpeg", image)
				switch {
				case err == nil && a.status == 201:
					done.Add(1)
				case err == nil && a.code == "shutting_down", errors.Is(err, syscall.ECONNREFUSED):
					refused.Add(1)
					return
				default:
					if !errors.Is(err, syscall.ECONNRESET) || n == 0 { // a connection that the listener never handed over
						t.Errorf("cut off: %v %v", a, err)
					}
					return
				}
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v\n%s", err, s.log)
	}
	wg.Wait()
	t.Logf("%d answered, %d refused after the signal", done.Load(), refused.Load())
	s2 := start(t, s.data)
	var g struct{ People int }
	s2.want(200, "GET", "/v1/galleries/g", nil, &g)
	if int64(g.People) != done.Load() {
		t.Errorf("%d people are there, %d were acknowledged", g.People, done.Load())
	}
}

// The log must hold nothing biometric and no key.
func TestLogHoldsNoSecrets(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	s.want(201, "PUT", "/v1/galleries/g", map[string]any{}, nil)
	if a := s.send("PUT", "/v1/galleries/g/people/secret-person", "image/jpeg", photoBytes(t, "a_1.jpg")); a.status != 201 {
		t.Fatal(a)
	}
	var found struct {
		Faces []struct{ Template struct{ F32 string } }
	}
	s.want(200, "POST", "/v1/extract", map[string]any{"image": photoBytes(t, "a_1.jpg")}, &found)
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"the token": s.token, "a person's id": "secret-person", "a template": found.Faces[0].Template.F32[:40]} {
		if strings.Contains(s.log.String(), text) {
			t.Errorf("the log holds %s", what)
		}
	}
	if !strings.Contains(s.log.String(), "/v1/galleries/{gallery}/people/{person}") {
		t.Errorf("the log names no route:\n%s", s.log)
	}
}

// doctor must find nothing on a good folder and name what is wrong on a bad one.
func TestDoctor(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := start(t, data)
	if out, stderr, code := mien(t, setUp(t), "doctor", "--data", data); code != 0 || !strings.Contains(out, "a running process has it open") {
		t.Errorf("beside a server: %d %s %s", code, out, stderr)
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if out, _, code := mien(t, setUp(t), "doctor", "--data", data); code != 0 || !strings.Contains(out, "opens with this master key") {
		t.Errorf("on a good folder: %d %s", code, out)
	}
	if out, _, code := mien(t, setUp(t), "doctor", "--data", data, "--simd", "generic"); code != 0 || !strings.Contains(out, "kernels     generic, of ") {
		t.Errorf("with the generic kernels: %d %s", code, out)
	}
	if err := os.WriteFile(filepath.Join(data, "master.key"), []byte(strings.Repeat("ab", 32)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(data, "master.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, _, code := mien(t, setUp(t), "doctor", "--data", data, "--models", t.TempDir(), "--simd", "mmx")
	for _, say := range []string{"chmod 600", "fail  kernels     --simd or MIEN_SIMD: simd: no level \"mmx\"", "master key does not open", "fail  models"} {
		if code != 1 || !strings.Contains(out, say) {
			t.Errorf("on a bad folder: %d, nothing of %q in\n%s", code, say, out)
		}
	}
}
