package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// Client sends requests that were written beforehand and reads the answers: it spends little of the processor that the
// server may run on. It opens a connection when none is free and keeps what it opened. Safe for concurrent use.
type Client struct {
	address, host string
	tls           *tls.Config // nil: none

	mu   sync.Mutex // guards free
	free []*conn    // the last used last
}

// conn is a connection between two requests.
type conn struct {
	net.Conn
	reader *bufio.Reader
	answer fasthttp.Response
	used   time.Time
}

// idle is how long a free connection is trusted; servers close them after a minute or so.
const idle = 20 * time.Second

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// NewClient makes a client of the server at an address such as http://127.0.0.1:8080. secure is for https, nil for its
// defaults; it is not retained. It opens no connection.
func NewClient(base string, secure *tls.Config) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("load: %q is no address such as http://127.0.0.1:8080", base)
	}
	c := &Client{address: u.Host, host: u.Host}
	if u.Scheme == "https" {
		if c.tls = secure.Clone(); c.tls == nil {
			c.tls = new(tls.Config)
		}
		c.tls.ServerName, c.tls.NextProtos = u.Hostname(), nil // HTTP/1.1
	}
	if u.Port() == "" {
		c.address = net.JoinHostPort(u.Hostname(), u.Scheme)
	}
	return c, nil
}

// Request is a POST as it goes over the wire, for Do. path is escaped already; no token is sent where it is "".
func (c *Client) Request(path, token, contentType string, body []byte) []byte {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n", path, c.host, contentType, len(body))
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	return append([]byte(head+"\r\n"), body...)
}

// Do sends a request and reads the whole answer, until ctx ends. It does not try again.
func (c *Client) Do(ctx context.Context, request []byte) Answer {
	n, err := c.take(ctx)
	if err != nil {
		return noAnswer(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = n.SetDeadline(time.Unix(1, 0)) })
	a, err := n.exchange(request)
	// A connection that ctx has got hold of has a deadline in the past.
	if !stop() || err != nil || n.answer.ConnectionClose() {
		_ = n.Close()
	} else {
		c.put(n)
	}
	if err != nil {
		return noAnswer(ctx, err)
	}
	return a
}

func noAnswer(ctx context.Context, err error) Answer {
	if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return Answer{Code: TimedOut}
	}
	return Answer{Code: Connection}
}

func (n *conn) exchange(request []byte) (a Answer, err error) {
	if _, err = n.Write(request); err != nil {
		return a, err
	}
	if err = n.answer.ReadLimitBody(n.reader, maxAnswer); err != nil {
		return a, err
	}
	if a.Status = n.answer.StatusCode(); a.Status >= 400 {
		var problem struct{ Code string }
		_ = json.Unmarshal(n.answer.Body(), &problem) // of another server
		a.Code = problem.Code
	}
	return a, nil
}

// take is a free connection, or a new one.
func (c *Client) take(ctx context.Context) (*conn, error) {
	c.mu.Lock()
	for len(c.free) > 0 {
		n := c.free[len(c.free)-1]
		c.free = c.free[:len(c.free)-1]
		if time.Since(n.used) < idle {
			c.mu.Unlock()
			return n, nil
		}
		_ = n.Close()
	}
	c.mu.Unlock()
	return c.dial(ctx)
}

func (c *Client) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	n, err := d.DialContext(ctx, "tcp", c.address)
	if err != nil {
		return nil, err
	}
	if c.tls != nil {
		n = tls.Client(n, c.tls)
	}
	return &conn{Conn: n, reader: bufio.NewReader(n)}, nil
}

func (c *Client) put(n *conn) {
	n.used = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.free = append(c.free, n)
}

// Close closes the connections that are free. REQUIRES: no Do is running.
func (c *Client) Close() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.free {
		err = errors.Join(err, n.Close())
	}
	c.free = nil
	return err
}
