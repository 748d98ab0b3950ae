package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAuditCommands: the log of a server and of its stopped folder is listed, exported and verified, and tampering is found.
func TestAuditCommands(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := start(t, data)
	run := func(args ...string) string {
		t.Helper()
		stdout, stderr, code := s.run(args...)
		if code != 0 {
			t.Fatalf("%v: %d %s%s", args, code, stdout, stderr)
		}
		return strings.TrimSpace(stdout)
	}
	s.want(201, "PUT", "/v1/galleries/g", map[string]any{}, nil)
	head := run("audit", "head")
	if a := s.send("DELETE", "/v1/galleries/none", "", nil); a.status != 404 {
		t.Fatal(a)
	}
	list := run("audit", "list", "--limit", "2")
	if lines := strings.Split(list, "\n"); len(lines) != 2 || !strings.Contains(lines[0], `"code":"gallery_not_found"`) || !strings.Contains(lines[1], `"op":"gallery.create"`) {
		t.Errorf("listed\n%s", list)
	}
	file := filepath.Join(t.TempDir(), "audit.ndjson")
	run("audit", "export", "-o", file)
	if out := run("audit", "verify", file, "--head", head); !strings.HasPrefix(out, "verifies: ") {
		t.Error(out)
	}
	if _, stderr, code := s.run("audit", "export", "-o", file); code != 1 {
		t.Errorf("an export over a file that is there: %d %s", code, stderr)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"changed": bytes.Replace(whole, []byte("gallery.create"), []byte("gallery.delete"), 1),
		"cut":     whole[:len(whole)-10],
	} {
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		out, _, code := s.run("--json", "audit", "verify", file)
		if code != exitNegative || !strings.Contains(out, `"ok":false`) || !strings.Contains(out, `"line"`) {
			t.Errorf("%s: %d %s", name, code, out)
		}
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := mien(t, nil, "audit", "export", "--data", data)
	if err := os.WriteFile(file, []byte(stdout), 0o600); err != nil || code != 0 {
		t.Fatal(code, stderr, err)
	}
	if out, stderr, code := mien(t, nil, "audit", "verify", file, "--head", head); code != 0 {
		t.Errorf("the stopped folder's log against the noted head: %d %s%s", code, out, stderr)
	}
	for _, args := range [][]string{{"audit", "verify", file, "--head", "3"}, {"audit", "list", "--limit", "0"}, {"audit", "verify", file + ".none"}} {
		if _, _, code := mien(t, nil, args...); code != 1 {
			t.Errorf("%v: exit code %d, want 1", args, code)
		}
	}
}
