package browsertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// browser is a Chromium with a camera of ours, and one page at a time. Not safe for concurrent use.
type browser struct {
	t      *testing.T
	camera *camera // nil: there is none
	stdin  io.WriteCloser
	answer *json.Decoder
	log    strings.Builder
}

// command is one of driver.mjs.
type command struct {
	Do      string   `json:"do"`
	Camera  string   `json:"camera,omitempty"`
	Options *options `json:"options,omitempty"`
	Call    string   `json:"call,omitempty"`
	Args    []any    `json:"args,omitempty"`
}

// options are those of a context that the tests use.
type options struct {
	Viewport      viewport `json:"viewport"`
	Locale        string   `json:"locale,omitempty"`
	Permissions   []string `json:"permissions"` // "camera"
	ReducedMotion string   `json:"reducedMotion,omitempty"`
	ColorScheme   string   `json:"colorScheme,omitempty"`
	Mobile        bool     `json:"isMobile,omitempty"`
	Touch         bool     `json:"hasTouch,omitempty"`
}

type viewport struct {
	Width  int `json:"width"`
	Height int `json:"height"`
}

// The two kinds of screen that everything is looked at on.
var (
	phone   = viewport{390, 844}
	desktop = viewport{1280, 800}
)

// newBrowser starts Chromium with a camera, or without one. It ends with the test.
func newBrowser(t *testing.T, c *camera) *browser {
	t.Helper()
	chromium, node, driver := tools(t)
	b := &browser{t: t, camera: c}
	launch := command{Do: "launch"}
	if c != nil {
		launch.Camera = c.path
	}
	cmd := exec.Command(node, filepath.Join("testdata", "driver.mjs"), driver, chromium)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "LANG=en_US.UTF-8")
	cmd.Stderr = &b.log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if b.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.answer = json.NewDecoder(bufio.NewReader(stdout))
	t.Cleanup(func() {
		b.stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("driver: %v\n%s", err, &b.log)
		}
	})
	b.do(launch, nil)
	return b
}

// tools finds the browser, node and the driver, or skips; under CI=true that fails.
func tools(t *testing.T) (chromium, node, driver string) {
	t.Helper()
	driver, err := filepath.Abs(filepath.Join(build, "playwright-core"))
	if err != nil {
		t.Fatal(err)
	}
	var missing []string
	if chromium, err = exec.LookPath("chromium"); err != nil {
		missing = append(missing, "chromium (Debian: apt-get install chromium)")
	}
	if node, err = exec.LookPath("node"); err != nil {
		missing = append(missing, "node (Debian: apt-get install npm)")
	}
	if _, err = os.Stat(driver); err != nil {
		missing = append(missing, driver+" (make setup SETUP_FLAGS=--browser)")
	}
	if len(missing) == 0 {
		return chromium, node, driver
	}
	text := "no " + strings.Join(missing, ", no ")
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip("skipped: " + text)
	return
}

// do carries out a command and decodes what it gives into out, unless that is nil.
func (b *browser) do(c command, out any) {
	b.t.Helper()
	if err := b.try(c, out); err != nil {
		b.t.Fatalf("%s %s %v: %v\n%s", c.Do, c.Call, c.Args, err, &b.log)
	}
}

func (b *browser) try(c command, out any) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := b.stdin.Write(append(line, '\n')); err != nil {
		return err
	}
	var a struct {
		Value json.RawMessage
		Error string
	}
	if err := b.answer.Decode(&a); err != nil {
		return fmt.Errorf("the driver ended: %w", err)
	}
	if a.Error != "" {
		return fmt.Errorf("%s", a.Error)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(a.Value, out)
}

// page calls a method of the page.
func (b *browser) page(call string, args ...any) {
	b.t.Helper()
	b.do(command{Do: "page", Call: call, Args: args}, nil)
}

// eval gives what JavaScript gives in the page.
func (b *browser) eval(js string, out any) {
	b.t.Helper()
	b.do(command{Do: "page", Call: "evaluate", Args: []any{js}}, out)
}

// until waits for JavaScript to give something true in the page.
func (b *browser) until(js string) {
	b.t.Helper()
	b.page("waitForFunction", js)
}

// open begins a context; what was one before is gone with its cookies.
func (b *browser) open(o options) {
	b.t.Helper()
	if o.Permissions == nil {
		o.Permissions = []string{}
	}
	b.do(command{Do: "open", Options: &o}, nil)
}

// problems are what the driver noticed since the context was opened or this was last called.
type problems struct{ Console, Exceptions, Policy, Hosts []string }

func (b *browser) problems() (p problems) {
	b.t.Helper()
	b.do(command{Do: "problems"}, &p)
	return p
}
