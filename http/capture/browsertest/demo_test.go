package browsertest

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The demo's bank opens an account and signs its owner in, with a mien that it starts itself.
func TestDemo(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newCamera(t, person(t, "arun")))
	s := demo(t)
	s.call(200, "PUT", "/v1/galleries/demo-bank/capture", map[string]any{"name": "Example Bank", "origins": []string{s.party}, "challenges": turnsOnly["challenges"]}, nil)

	v := b.arrives(s, s.party, "desktop-demo", options{Viewport: desktop})
	v.picture("home")
	v.page("fill", "form:nth-of-type(2) input[name=user]", "arun")
	v.page("click", "form:nth-of-type(2) button")
	v.begins()
	v.follows(nil)
	v.greets("Welcome!")
	v.picture("welcome")
	v.page("click", "header button") // sign out
	v.page("fill", "form:nth-of-type(1) input[name=user]", "arun")
	v.page("click", "form:nth-of-type(1) button")
	v.begins()
	v.follows(nil)
	v.greets("You are signed in")
	v.page("reload") // of the address with client_state: a visit counts once
	v.greets("We don’t know this visit")
	v.clean(refused + "400")
}

// greets waits for a heading of the bank.
func (v *visit) greets(title string) {
	v.t.Helper()
	v.stages(title, func(s stage) bool { return s.Title == title })
}

// demo starts the program; the relying party is its bank.
func demo(t *testing.T) *site {
	t.Helper()
	mien, err := buildMien()
	if err != nil {
		t.Fatal(err)
	}
	program, data := filepath.Join(t.TempDir(), "demo"), filepath.Join(t.TempDir(), "data")
	if out, err := exec.Command("go", "build", "-o", program, "mien/cmd/demo").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.Command(program, "--mien", mien, "--data", data, "--listen", "127.0.0.1:0", "--mien-listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), models(t)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo ends with %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	urls := regexp.MustCompile(`http://[0-9.:]+`).FindAllString(line, -1)
	if len(urls) != 2 || !strings.HasPrefix(line, "Example Bank is open") {
		t.Fatalf("it says %q", line)
	}
	key, err := os.ReadFile(filepath.Join(data, "admin.key"))
	if err != nil {
		t.Fatal(err)
	}
	return &site{t: t, url: urls[1], party: urls[0], admin: strings.TrimSpace(string(key)), log: new(bytes.Buffer)}
}
