package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The README's calls must work as printed: each block between the marks runs in a shell, on a server of its own that has the mark's arguments, and
// what follows each "# → " must occur in the output, in order.
func TestReadmeCalls(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("skipped: the README's calls need curl")
	}
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for rest := string(readme); ; {
		_, block, ok := strings.Cut(rest, "<!-- calls")
		if !ok {
			break
		}
		args, block, ok := strings.Cut(block, " -->\n```sh\n")
		script, after, ends := strings.Cut(block, "```\n<!-- /calls -->")
		if !ok || !ends {
			t.Fatal("a block of calls in the README does not begin, or end, as it should")
		}
		compared += runCalls(t, script, strings.Fields(args)...)
		rest = after
	}
	if compared < 25 {
		t.Errorf("%d answers are compared, want 25", compared)
	}
}

// runCalls runs a block of calls and returns how many answers were compared.
func runCalls(t *testing.T, script string, args ...string) (n int) {
	t.Helper()
	s := start(t, filepath.Join(t.TempDir(), "data"), args...)
	script = strings.NewReplacer("build/data/admin.key", filepath.Join(s.data, "admin.key"), "http://127.0.0.1:8080", s.url, "build/mien", program).Replace(script)
	cmd := exec.Command("sh", "-eu", "-c", script)
	cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), "MIEN_SERVER="+s.url, "MIEN_KEY="+s.token)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	left := string(out)
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
	return n
}
