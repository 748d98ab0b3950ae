package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// enrolTemplates enrols people p0, p1, … of the seeds from on, each with a template of its seed.
func enrolTemplates(s *testServer, space string, from, n int) {
	s.t.Helper()
	for i := from; i < from+n; i++ {
		s.want(201, "PUT", fmt.Sprintf("/v1/galleries/g/people/p%d", i), map[string]any{"templates": []any{template(space, uint64(i))}}, nil)
	}
}

// verifyTemplates verifies the same people.
func verifyTemplates(s *testServer, space string, n int) {
	s.t.Helper()
	for i := range n {
		var d struct{ Match bool }
		if s.want(200, "POST", fmt.Sprintf("/v1/galleries/g/people/p%d/verify", i), map[string]any{"template": template(space, uint64(i))}, &d); !d.Match {
			s.t.Errorf("p%d is not who was enrolled", i)
		}
	}
}

// TestBackupCommands: a backup by a running server, one of the stopped folder, verified, damaged, mended, pruned and restored; who was
// enrolled before the first is found in what is restored of it, and nobody else.
func TestBackupCommands(t *testing.T) {
	dir := t.TempDir()
	data, folder := filepath.Join(dir, "data"), filepath.Join(dir, "backups")
	s := start(t, data, "--backup-dir", folder)
	var g struct{ Space string }
	s.want(201, "PUT", "/v1/galleries/g", map[string]any{}, &g)
	enrolTemplates(s, g.Space, 0, 20)
	var first, second struct {
		ID       string
		Sequence uint64
		NewFiles int `json:"new_files"`
	}
	parse := func(text string, v any) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), v); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
	}
	ok := func(args ...string) string {
		t.Helper()
		stdout, stderr, code := s.run(args...)
		if code != 0 {
			t.Fatalf("%v: exit code %d, %s%s", args, code, stdout, stderr)
		}
		return stdout
	}
	parse(ok("--json", "backup"), &first)
	enrolTemplates(s, g.Space, 20, 5)
	if out, stderr, code := s.run("backup", "--data", data, "--to", folder); code != 1 || !strings.Contains(stderr, "in use") {
		t.Errorf("of a folder that is served: %d %s%s", code, out, stderr)
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	parse(ok("--json", "backup", "--data", data, "--to", folder), &second)
	if second.Sequence <= first.Sequence || second.ID <= first.ID {
		t.Errorf("%+v, then %+v", first, second)
	}
	verify := []string{"backup", "verify", folder, "--data", data}
	ok(append(verify, "--open")...)
	if out := ok("backup", "list", folder, "--data", data); strings.Count(out, "\n") != 2 || !strings.Contains(out, first.ID) {
		t.Errorf("list: %s", out)
	}

	// Damage is named, by verify and by restore, and nothing is restored.
	restoredTo := filepath.Join(dir, "restored")
	restore := []string{"restore", "--from", folder, "--master-key", filepath.Join(data, "master.key"), "--data", restoredTo}
	names, err := filepath.Glob(filepath.Join(folder, "files", "*"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		harmed := append([]byte(nil), whole...)
		harmed[len(harmed)/2] ^= 4
		if err := os.WriteFile(name, harmed, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, stderr, code := s.run(verify...); code != 1 || !strings.Contains(out, filepath.Base(name)) || !strings.Contains(stderr, "can't be restored") {
			t.Errorf("verify with a flipped byte: %d %s%s", code, out, stderr)
		}
		if _, stderr, code := s.run(append(restore, "--backup", damagedOf(t, s, verify, name))...); code != 1 || !strings.Contains(stderr, filepath.Base(name)) {
			t.Errorf("restore with a flipped byte: %d %s", code, stderr)
		}
		if left, _ := os.ReadDir(restoredTo); len(left) > 0 {
			t.Errorf("%v was left behind", left)
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	// Keys: none, another.
	if _, stderr, code := s.run("backup", "verify", folder); code != 1 || !strings.Contains(stderr, "say what opens the backups") {
		t.Errorf("no key: %d %s", code, stderr)
	}
	other := filepath.Join(dir, "other.key")
	if err := os.WriteFile(other, []byte(strings.Repeat("ab", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := s.run("backup", "verify", folder, "--backup-key", other); code != 1 || !strings.Contains(stderr, "the key does not open this") {
		t.Errorf("another key: %d %s", code, stderr)
	}

	// The first backup has the first people and nobody else.
	ok(append(restore, "--backup", first.ID)...)
	if _, stderr, code := s.run(restore...); code != 1 || !strings.Contains(stderr, "not empty") {
		t.Errorf("restored again: %d %s", code, stderr)
	}
	r := startRestored(t, s, restoredTo)
	verifyTemplates(r, g.Space, 20)
	var now struct{ People int }
	if r.want(200, "GET", "/v1/galleries/g", nil, &now); now.People != 20 {
		t.Errorf("%d people were restored, want 20", now.People)
	}

	ok("backup", "prune", folder, "--data", data, "--keep", "1")
	ok(verify...)
	if _, stderr, code := s.run("backup", "verify", folder, "--data", data, "--backup", first.ID); code != 1 || !strings.Contains(stderr, "no such backup") {
		t.Errorf("pruned: %d %s", code, stderr)
	}
}

// damagedOf is the id of a backup that needs a damaged file.
func damagedOf(t *testing.T, s *testServer, verify []string, name string) string {
	t.Helper()
	out, _, _ := s.run(append([]string{"--json"}, verify...)...)
	var all struct {
		Backups []struct {
			ID       string
			Problems []string
		}
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatal(err)
	}
	for _, b := range all.Backups {
		if strings.Contains(strings.Join(b.Problems, " "), filepath.Base(name)) {
			return b.ID
		}
	}
	t.Fatalf("no backup needs %s: %s", name, out)
	return ""
}

// startRestored serves what was restored of s's data folder, with the keys of there.
func startRestored(t *testing.T, s *testServer, dir string) *testServer {
	t.Helper()
	if err := writeSecret(filepath.Join(dir, "admin.key"), s.token); err != nil {
		t.Fatal(err)
	}
	return start(t, dir, "--master-key", filepath.Join(s.data, "master.key"))
}

// TestBackupCommandsWithoutKeys: a backup without the key store is restored and verified beside a copy of that, and not without.
func TestBackupCommandsWithoutKeys(t *testing.T) {
	dir := t.TempDir()
	data, folder, kept, to := filepath.Join(dir, "data"), filepath.Join(dir, "backups"), filepath.Join(dir, "kept"), filepath.Join(dir, "to")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	master := filepath.Join(dir, "master.key")
	if err := os.WriteFile(master, []byte(strings.Repeat("5a", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(code int, say string, args ...string) {
		t.Helper()
		if out, stderr, got := mien(t, nil, append(args, "--master-key", master)...); got != code || !strings.Contains(out+stderr, say) {
			t.Fatalf("%v: exit code %d, %s%s; want %d and %q", args, got, out, stderr, code, say)
		}
	}
	run(0, "mien_", "keys", "create", "--tenant", "acme", "--role", "matcher", "--data", data)
	run(1, "goes with --data", "backup", "--without-keys")
	run(0, "without keys", "backup", "--data", data, "--to", folder, "--without-keys")
	if err := os.CopyFS(kept, os.DirFS(filepath.Join(data, "keys"))); err != nil {
		t.Fatal(err)
	}
	run(0, "without keys", "backup", "list", folder)
	run(0, "", "backup", "verify", folder)
	run(1, "without the key store", "backup", "verify", folder, "--open")
	run(0, "", "backup", "verify", folder, "--open", "--key-dir", kept)
	run(0, "", "backup", "verify", folder, "--open", "--data", data)
	run(1, "without the key store", "restore", "--from", folder, "--data", to)
	run(0, "is as it was", "restore", "--from", folder, "--data", to, "--key-dir", kept)
	run(0, "acme", "keys", "list", "--tenant", "acme", "--data", to, "--key-dir", kept)
	run(1, "key store", "keys", "list", "--tenant", "acme", "--data", to)
}

// TestKilledBackups: kill -9 in the middle of backup, prune and restore, at random moments: what was there before stays whole, and
// the same command made again works.
func TestKilledBackups(t *testing.T) {
	dir := t.TempDir()
	data, folder, key := filepath.Join(dir, "data"), filepath.Join(dir, "backups"), filepath.Join(dir, "data", "master.key")
	s := start(t, data)
	var g struct{ Space string }
	s.want(201, "PUT", "/v1/galleries/g", map[string]any{}, &g)
	enrolTemplates(s, g.Space, 0, 300)
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	killed := 0
	killing := func(after time.Duration, args ...string) {
		t.Helper()
		cmd := exec.Command(program, args...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
		_ = cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
	}
	ok := func(args ...string) {
		t.Helper()
		if stdout, stderr, code := mien(t, nil, args...); code != 0 {
			t.Fatalf("%v: exit code %d, %s%s", args, code, stdout, stderr)
		}
	}
	ok("backup", "--data", data, "--to", folder)
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	for round := range rounds {
		after := time.Duration(10+round*37%120) * time.Millisecond
		killing(after, "backup", "--data", data, "--to", folder)
		ok("backup", "verify", folder, "--data", data)
		ok("backup", "--data", data, "--to", folder)
		killing(after/2, "backup", "prune", folder, "--data", data, "--keep", "1")
		ok("backup", "verify", folder, "--data", data)
		ok("backup", "prune", folder, "--data", data, "--keep", "1")
		to := filepath.Join(dir, fmt.Sprint("restored-", round))
		killing(after/2, "restore", "--from", folder, "--data", to, "--master-key", key)
		if !(dataDir{path: to}).hasStore() {
			ok("restore", "--from", folder, "--data", to, "--master-key", key)
		}
		if round == rounds-1 {
			r := startRestored(t, s, to)
			verifyTemplates(r, g.Space, 300)
		}
	}
	t.Logf("%d of %d commands were killed before their end", killed, 3*rounds)
	if killed < rounds {
		t.Errorf("only %d commands were killed", killed)
	}
}
