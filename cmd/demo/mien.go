package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// server is a running mien.
type server struct {
	url   string
	admin string // an administrator's key
	done  chan error
}

// startMien serves the data folder, until ctx ends: then mien is asked to finish what it does. The folder and its keys are made where there are none.
func startMien(ctx context.Context, program, data, listen string) (*server, error) {
	if err := os.MkdirAll(filepath.Dir(data), 0o755); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, "--json", "serve", "--data", data, "--listen", listen)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var hello struct {
		URL          string `json:"url"`
		AdminKeyFile string `json:"admin_key_file"`
	}
	if err := json.NewDecoder(stdout).Decode(&hello); err != nil {
		return nil, fmt.Errorf("%s did not start: %w", program, errors.Join(err, cmd.Wait()))
	}
	token, err := os.ReadFile(hello.AdminKeyFile)
	if err != nil {
		return nil, err
	}
	s := &server{url: hello.URL, admin: strings.TrimSpace(string(token)), done: make(chan error, 1)}
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		s.done <- cmd.Wait()
	}()
	return s, nil
}

// gallery is where the bank's customers are.
const gallery = "demo-bank"

// prepare makes what a relying party needs: a gallery, its name and origin for the capture page, and a key for the Auth Face API alone, which is good
// for a day.
func (s *server) prepare(ctx context.Context, name, origin string) (key string, err error) {
	if err := s.call(ctx, "PUT", "/v1/galleries/"+gallery, nil, nil); err != nil {
		return "", err
	}
	settings := map[string]any{"name": name, "origins": []string{origin}}
	if err := s.call(ctx, "PUT", "/v1/galleries/"+gallery+"/capture", settings, nil); err != nil {
		return "", err
	}
	var made struct{ Token string }
	err = s.call(ctx, "POST", "/v1/keys", map[string]any{
		"role": "client", "dialect": "authface", "galleries": []string{gallery}, "label": "demo", "expires": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339),
	}, &made)
	return made.Token, err
}

// call is one of mien's native API, with JSON of in, if any, and an answer for out.
func (s *server) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.admin)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, data)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(data, out)
}
