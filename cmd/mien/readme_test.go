package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The README's calls must work as printed: the block between the marks runs in a shell, and what follows each
// "# → " must occur in the output, in order.
func TestReadmeCalls(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("skipped: the README's calls need curl")
	}
	root := filepath.Join("..", "..")
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(readme), "<!-- calls -->\n```sh\n")
	script, _, ok2 := strings.Cut(rest, "```\n<!-- /calls -->")
	if !ok || !ok2 {
		t.Fatal("the README has no block of calls")
	}
	s := start(t, filepath.Join(t.TempDir(), "data"))
	script = strings.NewReplacer("build/data/admin.key", filepath.Join(s.data, "admin.key"), "http://127.0.0.1:8080", s.url).Replace(script)
	cmd := exec.Command("sh", "-eu", "-c", script)
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	left, n := string(out), 0
	for line := range strings.Lines(script) {
		want, ok := strings.CutPrefix(strings.TrimSpace(line), "# → ")
		if !ok {
			continue
		}
		n++
		if _, left, ok = strings.Cut(left, want); !ok {
			t.Errorf("the README says %q, which is not in the output, or not in its place:\n%s", want, out)
			break
		}
	}
	if n < 9 {
		t.Errorf("%d answers are compared, want 9", n)
	}
}
