package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mien/engine"
	"mien/http"
)

// remote says which server to talk to and as whom.
type remote struct {
	Server  string `help:"Address of the server." env:"MIEN_SERVER" default:"http://127.0.0.1:8080"`
	Key     string `help:"API key." env:"MIEN_KEY" placeholder:"KEY"`
	KeyFile string `help:"File that holds the API key (default: build/data/admin.key if it is there and the server is on this machine)." env:"MIEN_KEY_FILE" type:"path" placeholder:"FILE"`

	CA         string `name:"ca" help:"PEM file of the authorities that may vouch for an https server, instead of the system's." env:"MIEN_CA" type:"path" placeholder:"FILE"`
	ClientCert string `help:"PEM file of a certificate for servers that demand one." env:"MIEN_CLIENT_CERT" type:"path" placeholder:"FILE"`
	ClientKey  string `help:"PEM file of that certificate's key." env:"MIEN_CLIENT_KEY" type:"path" placeholder:"FILE"`
}

// defaultKeyFile is where `make run` leaves the first key.
var defaultKeyFile = filepath.Join("build", "data", "admin.key")

// token is the API key. The key that make run leaves is used for this machine alone: it must not go to whatever
// address MIEN_SERVER names.
func (r *remote) token(server *url.URL) (string, error) {
	if r.Key != "" {
		return r.Key, nil
	}
	file := r.KeyFile
	if file == "" && isLoopback(server.Hostname()) {
		file = defaultKeyFile
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) && r.KeyFile == "" {
		return "", errors.New("no API key: give --key, --key-file or MIEN_KEY")
	}
	if err != nil {
		return "", fmt.Errorf("read the API key: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// client is a connection to a server's public API. Safe for concurrent use.
type client struct {
	base, token string
	http        *nethttp.Client
}

func (r *remote) client() (*client, error) {
	u, err := url.Parse(r.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("--server %q is not an address such as http://127.0.0.1:8080", r.Server)
	}
	token, err := r.token(u)
	if err != nil {
		return nil, err
	}
	transport, err := r.transport()
	if err != nil {
		return nil, err
	}
	return &client{strings.TrimRight(r.Server, "/"), token, &nethttp.Client{Timeout: time.Minute, Transport: transport}}, nil
}

// transport is the default one unless there is something of TLS to tell it.
func (r *remote) transport() (nethttp.RoundTripper, error) {
	if r.CA == "" && r.ClientCert == "" && r.ClientKey == "" {
		return nethttp.DefaultTransport, nil
	}
	c := new(tls.Config)
	if r.CA != "" {
		data, err := os.ReadFile(r.CA)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("--ca: %s holds no certificate", r.CA)
		}
	}
	if r.ClientCert != "" || r.ClientKey != "" {
		pair, err := tls.LoadX509KeyPair(r.ClientCert, r.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("--client-cert and --client-key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	t := nethttp.DefaultTransport.(*nethttp.Transport).Clone()
	t.TLSClientConfig = c
	return t, nil
}

// call is one request of a client made for it; see do.
func (r *remote) call(ctx context.Context, method, path string, body, out any) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	return c.do(ctx, method, path, body, out)
}

// problem is the server's refusal.
type problem struct {
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Code    string `json:"code"`
	Pointer string `json:"pointer"` // which part of the body, as a JSON pointer

	Reasons    []engine.Reason    `json:"reasons"`    // of quality_failed
	Duplicates []engine.Candidate `json:"duplicates"` // of duplicate
}

func (p *problem) Error() string { return fmt.Sprintf("%s (%s)", p.Detail, p.Code) }

// maxAnswer bounds what is read of an answer; the largest, a page of people, ends soon after 8 MiB.
const maxAnswer = 64 << 20

// attempts and their pauses when the server says that it is busy.
const attempts = 6

// do sends body as JSON (nil: none) and decodes the answer into out (nil: dropped). A refusal is a *problem. A
// busy server is asked again.
func (c *client) do(ctx context.Context, method, path string, body, out any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	return c.send(ctx, method, path, "application/json", data, out)
}

// send is do for a body of any type. A write that may be sent again, under its name, is so when its answer is lost.
func (c *client) send(ctx context.Context, method, path, contentType string, data []byte, out any) error {
	name, pause := requestName(method, path), 250*time.Millisecond
	for try := 1; ; try++ {
		err := c.once(ctx, method, path, contentType, name, data, out)
		if !isTransient(err, name) || try == attempts {
			return err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// requestName is a new Idempotency-Key, "" where none is taken.
func requestName(method, path string) string {
	if !http.TakesIdempotencyKey(method, path) {
		return ""
	}
	return rand.Text()
}

// isTransient reports whether a request is to be made again: the server was busy, or it may have been done, and has a name.
func isTransient(err error, name string) bool {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p.Code == "overloaded" || p.Code == "idempotency_in_progress"
	}
	if e := (*lostError)(nil); !errors.As(err, &e) || name == "" {
		return false
	}
	dial := (*net.OpError)(nil)
	return !errors.As(err, &dial) || dial.Op != "dial" // else there is no server
}

// lostError says that no answer came.
type lostError struct {
	base string
	err  error
}

func (e *lostError) Error() string { return fmt.Sprintf("no answer from %s: %v", e.base, e.err) }

func (e *lostError) Unwrap() error { return e.err }

func (c *client) once(ctx context.Context, method, path, contentType, name string, data []byte, out any) error {
	resp, err := c.request(ctx, method, path, contentType, name, data)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return c.unreachable(ctx, err)
	}
	return c.decode(resp.StatusCode, answer, out)
}

// stream asks a server for path and has take read the answer, which may take as long as it likes.
func (r *remote) stream(ctx context.Context, path string, take func(io.Reader) error) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	c = c.patient()
	resp, err := c.request(ctx, "GET", path, "", "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return c.unreachable(ctx, err)
		}
		return c.decode(resp.StatusCode, answer, nil)
	}
	return take(resp.Body)
}

// request sends a request, with a name unless that is "", and returns the answer's head; the caller closes its body.
func (c *client) request(ctx context.Context, method, path, contentType, name string, data []byte) (*nethttp.Response, error) {
	req, err := nethttp.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if data != nil {
		req.Header.Set("Content-Type", contentType)
	}
	if name != "" {
		req.Header.Set("Idempotency-Key", name)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	return resp, nil
}

// patient is the client for files: it waits for an answer as long as ctx lasts.
func (c *client) patient() *client {
	return &client{c.base, c.token, &nethttp.Client{Transport: c.http.Transport}}
}

// unreachable drops two things that err may wrap: the path, which may hold a person's id, and the cause of a
// cancelled context, which is another call's failure and would pass for this one's.
func (c *client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e := (*url.Error)(nil); errors.As(err, &e) {
		err = e.Err
	}
	if e := (*tls.CertificateVerificationError)(nil); errors.As(err, &e) {
		return fmt.Errorf("%s is not trusted: %w (--ca names the authority of its certificate)", c.base, err)
	}
	return &lostError{c.base, err}
}

func (c *client) decode(status int, answer []byte, out any) error {
	if status >= 400 {
		p := new(problem)
		if json.Unmarshal(answer, p) != nil || p.Code == "" {
			return fmt.Errorf("%s answered with status %d and no reason: is it a mien server?", c.base, status)
		}
		return p
	}
	if out == nil || len(answer) == 0 {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s sent an answer that can't be read: %w", c.base, err)
	}
	return nil
}

func galleryPath(gallery string) string { return "/v1/galleries/" + url.PathEscape(gallery) }

func personPath(gallery, person string) string {
	return galleryPath(gallery) + "/people/" + url.PathEscape(person)
}
