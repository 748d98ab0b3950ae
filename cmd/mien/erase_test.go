package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"mien/engine"
)

// TestEraseAndRotate erases people on a server and on its stopped folder, rotates keys, and checks receipts.
func TestEraseAndRotate(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := start(t, data)
	must := func(say string, out, stderr string, code int) string {
		t.Helper()
		if code != 0 || !strings.Contains(out, say) {
			t.Fatalf("exit code %d, %q %q; want %q", code, out, stderr, say)
		}
		return out
	}
	run := func(say string, args ...string) string {
		t.Helper()
		out, stderr, code := s.run(args...)
		return must(say, out, stderr, code)
	}
	run("g\t", "galleries", "create", "g")
	var g engine.Gallery
	s.want(200, "GET", "/v1/galleries/g", nil, &g)
	for i, id := range []string{"ada", "bob", "cy", "dan", "eva"} {
		s.want(201, "PUT", "/v1/galleries/g/people/"+id, map[string]any{"templates": []any{template(g.Space, uint64(i))}}, nil)
	}
	if runtime.GOOS == "linux" {
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.cmd.Process.Pid))
		if err == nil && !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size 0 0") {
			t.Errorf("core dumps are not forbidden:\n%s", limits)
		}
	}
	receipt := run(`"kind":"mien-erasure-person-1"`, "--json", "erase", "-g", "g", "ada")
	file := filepath.Join(t.TempDir(), "receipt.json")
	if err := os.WriteFile(file, []byte(receipt), 0o600); err != nil {
		t.Fatal(err)
	}
	run("erased person ada of gallery g", "erase", "--check", file)
	out := run("nothing is left", "erase", "-g", "g", "cy", "--prove")
	for _, line := range []string{"rows\tok", "answers\tok", "index\tok", "keys\tok\tlooked at ", "sealed\tok", "control\tok", "not looked at: the audit log"} {
		if !strings.Contains(out, line) {
			t.Errorf("the proof has no %q:\n%s", line, out)
		}
	}
	run(`"passed":true`, "--json", "erase", "--prove", "--check", file)
	if _, stderr, code := s.run("erase", "-g", "g", "ada"); code != 1 || !strings.Contains(stderr, "person_not_found") {
		t.Errorf("%d %q", code, stderr)
	}
	run("version 2 of ", "encryption", "rotate", "--wait")
	run("old versions are destroyed", "encryption", "rotate", "--status")
	run("mien_", "keys", "create", "--tenant", "acme", "--role", "matcher")
	run("erased tenant acme with 0 people", "erase", "--tenant", "acme")
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatalf("%v\n%s", err, s.log)
	}
	local := func(say string, args ...string) {
		t.Helper()
		out, stderr, code := mien(t, nil, args...)
		must(say, out, stderr, code)
	}
	local("version 3 of ", "encryption", "rotate", "--data", data)
	local("erased person bob of gallery g", "erase", "--data", data, "-g", "g", "bob")
	local("erased person ada", "erase", "--data", data, "--check", file)
	local("nothing is left", "erase", "--data", data, "--prove", "--check", file)
	// A file that somebody copied beside the store before is found.
	copyTable(t, filepath.Join(data, "store"), filepath.Join(data, "copy"))
	out, stderr, code := mien(t, nil, "erase", "--data", data, "-g", "g", "dan", "--prove")
	if code != 2 || !strings.Contains(out, "SOMETHING IS LEFT") || !strings.Contains(out, "keys\tFAILED") || !strings.Contains(out, "in copy/") {
		t.Errorf("exit code %d, %s %s", code, out, stderr)
	}
	local("erased tenant default", "erase", "--data", data, "--tenant", "default")
	var r engine.Receipt
	if json.Unmarshal([]byte(receipt), &r) != nil || len(r.Keys) != 1 {
		t.Errorf("%+v", r)
	}
}

// TestRotateMasterKey puts a new master key in the place of the old one, and one that is named, and finds what an attempt before left.
func TestRotateMasterKey(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(data, "master.key")
	write := func(name, key string) string {
		t.Helper()
		if err := os.WriteFile(name, []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	first, third := strings.Repeat("5a", engine.MasterKeyBytes), strings.Repeat("3c", engine.MasterKeyBytes)
	write(file, first)
	run := func(code int, say string, args ...string) {
		t.Helper()
		out, stderr, got := mien(t, nil, args...)
		if got != code || !strings.Contains(out+stderr, say) || strings.Contains(out+stderr, first) {
			t.Fatalf("%v: exit code %d, %q %q; want %d and %q", args, got, out, stderr, code, say)
		}
	}
	run(0, "mien_", "keys", "create", "--operator", "--data", data)
	run(0, "mien_", "keys", "create", "--tenant", "acme", "--role", "matcher", "--data", data)
	run(1, "stop the server", "encryption", "rotate", "--root")
	run(1, "goes with --root", "encryption", "rotate", "--data", data, "--new-master-key", file)
	run(1, "in no file", "encryption", "rotate", "--root", "--data", data, "--master-key-command", "echo "+first)
	old, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	write(file+".new", strings.Repeat("00", 2)) // of an attempt that a full disk ended, as if
	run(1, "is not 64 hex digits", "encryption", "rotate", "--root", "--data", data)
	if err := os.Remove(file + ".new"); err != nil {
		t.Fatal(err)
	}
	run(0, "3 key files", "encryption", "rotate", "--root", "--data", data)
	now, err := os.ReadFile(file)
	if err != nil || string(now) == first+"\n" || len(now) != len(first)+1 {
		t.Errorf("master.key is %d bytes, %v", len(now), err)
	}
	if b := make([]byte, 8); true {
		if _, err := old.ReadAt(b, 0); err != nil || string(b) != strings.Repeat("\x00", 8) {
			t.Errorf("the old key's file still has %q, %v", b, err)
		}
	}
	if _, err := os.Stat(file + ".new"); err == nil {
		t.Error("master.key.new is there")
	}
	run(0, "acme", "keys", "list", "--tenant", "acme", "--data", data)
	run(1, "does not open", "keys", "list", "--data", data, "--master-key-command", "echo "+first)
	named := write(filepath.Join(t.TempDir(), "third.key"), third)
	run(0, `"key_files":3`, "--json", "encryption", "rotate", "--root", "--data", data, "--new-master-key", named)
	run(1, "does not open", "keys", "list", "--data", data)
	run(0, "acme", "keys", "list", "--tenant", "acme", "--data", data, "--master-key", named)
	run(1, "is in use", "encryption", "rotate", "--root", "--data", data, "--master-key", named, "--new-master-key", named)
}

// TestMasterKeyCommand takes the master key from a command.
func TestMasterKeyCommand(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(data, 0o700); err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("5a", engine.MasterKeyBytes)
	for _, c := range []struct {
		command string
		code    int
		say     string
	}{
		{"printf %s " + key, 0, "mien_"},
		{"echo " + strings.Repeat("ab", engine.MasterKeyBytes), 1, "master key does not open"},
		{"exit 3", 1, "exit status 3"},
		{"echo short", 1, "is not 64 hex digits"},
		{"echo " + key, 0, "mien_"},
	} {
		out, stderr, code := mien(t, nil, "keys", "create", "--role", "admin", "--data", data, "--master-key-command", c.command)
		if code != c.code || !strings.Contains(out+stderr, c.say) || strings.Contains(stderr, key) {
			t.Errorf("%s: exit code %d, %q %q; want %d and %q", c.command, code, out, stderr, c.code, c.say)
		}
	}
	if _, err := os.Stat(filepath.Join(data, "master.key")); err == nil {
		t.Error("a master key was written beside the store")
	}
}

// copyTable copies the files of a store.
func copyTable(t *testing.T, store, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
}
