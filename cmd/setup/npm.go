package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
)

// npmPack downloads the package spec (name@version) into the empty folder dir and returns the tarball's path. Where
// from, through which proxy and with which credentials is the business of the user's npm configuration.
func (s *setup) npmPack(ctx context.Context, dir, spec string) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("npm is needed to download %s and is not on PATH: install Node.js with npm (Debian: apt-get install npm)", spec)
	}
	done := s.progress("downloading " + spec)
	stderr, err := npmRun(ctx, npm, dir, spec)
	done()
	if ctx.Err() != nil {
		return "", fmt.Errorf("download of %s stopped: %w", spec, context.Cause(ctx))
	}
	if err != nil {
		return "", fmt.Errorf("download of %s failed: npm says: %s", spec, npmSays(stderr, err))
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if len(files) != 1 {
		return "", fmt.Errorf("download of %s failed: npm left %d tarballs, want 1", spec, len(files))
	}
	return files[0], nil
}

// npmRun gives npm a project of its own in dir: without one it looks for a package.json in every folder above, and
// would obey the .npmrc of whoever can write to one of them.
func npmRun(ctx context.Context, npm, dir, spec string) (stderr []byte, err error) {
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"private":true}`), 0o600); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	cmd := exec.CommandContext(ctx, npm, "pack", spec, "--ignore-scripts", "--loglevel=error")
	cmd.Dir = dir
	cmd.Stderr = &buf
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	return buf.Bytes(), err
}

// npmSays picks the line that says what went wrong: npm prints a code first, then the matter, then advice, stack traces
// and where its log is.
func npmSays(stderr []byte, err error) string {
	var last string
	for line := range strings.Lines(string(stderr)) {
		line = strings.TrimSpace(line)
		text, isError := strings.CutPrefix(line, "npm error ")
		if !isError {
			text, isError = strings.CutPrefix(line, "npm ERR! ") // npm 9 and before
		}
		text = strings.TrimSpace(text)
		if isError && !npmNoise(text) {
			return text
		}
		if line != "" && !npmNoise(text) {
			last = line
		}
	}
	if last == "" {
		last = err.Error()
	}
	return last
}

func npmNoise(text string) bool {
	for _, prefix := range []string{"code ", "errno ", "syscall ", "A complete log"} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}

// progress says what is being done, on a terminal with a spinner until the returned function is called: npm does not
// tell how far it is.
func (s *setup) progress(what string) (done func()) {
	if !s.terminal {
		s.say("%s", what)
		return func() {}
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(s.out), progressbar.OptionSetDescription("setup: "+what),
		progressbar.OptionSpinnerType(14), progressbar.OptionSetElapsedTime(true), progressbar.OptionClearOnFinish())
	_ = bar.RenderBlank() // starts the clock; what it cannot draw is not worth failing for
	return func() { _ = bar.Finish() }
}
