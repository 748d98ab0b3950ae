package http

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"time"

	"mien/engine"
	"mien/extract"
)

// Extractor turns a photo into faces; *extract.Extractor is the one that runs.
//
// It may hold data until Extract has returned and no longer, must obey ctx as far as it can, and bounds its
// own work: a request with eight photos calls it eight times at once. Safe for concurrent use.
type Extractor interface {
	Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error)
}

// One that has the method Measures() []string as well, the names of engine.Measures that it can judge, may be asked for
// more than templates (judge.go).

// Defaults of Config.
const (
	DefaultMaxBodyBytes         = 16 << 20
	DefaultMaxBodyBytesInFlight = 512 << 20
	DefaultMaxHeaderBytes       = 16 << 10
	DefaultMaxConns             = 1024
	DefaultMaxRequests          = 256
	DefaultHeaderTimeout        = 5 * time.Second
	DefaultIdleTimeout          = 60 * time.Second
	DefaultWriteTimeout         = 30 * time.Second
	DefaultRequestTimeout       = 10 * time.Second
	DefaultAuthFailures         = 60
)

// Config of a Server. Only Engine is required; a zero field takes its default.
type Config struct {
	// Engine answers every request. The server does not close it.
	Engine *engine.Engine
	// Extractor makes templates of photos, in the space Engine.DefaultSpace. Without one the server is not
	// ready and refuses photos by extractor_missing, but serves templates. The server does not close it.
	Extractor Extractor
	// Extractors make templates of photos in the engine's further spaces, by the space's id. A photo for a gallery goes
	// to the extractor of that gallery's space; a space without one takes templates only. The server does not close them.
	Extractors map[string]Extractor
	// Logger takes one record per request and each internal error. Default: none is written.
	Logger *slog.Logger

	// Decentralised matches people whose templates are shares with three parties; nil: there are none.
	Decentralised *Decentralised

	// TLS is asked for the configuration of each connection; nil means plain HTTP. NextProtos should be "http/1.1", the
	// one protocol spoken here. A session is resumed only within one configuration: return the same pointer until
	// something changes (package certs does). Safe for concurrent use.
	TLS func() *tls.Config

	// PublicURL is scheme and host by which clients reach the server, where a proxy is between, as in https://faces.example: what other
	// vendors' APIs sign and link has it. "" is what each request names.
	PublicURL string

	// WebhookHTTP lets webhooks go to http: URLs, and WebhookPrivate to addresses that are not public: of this machine, its networks,
	// its cloud's metadata. Whoever administers a tenant names the URLs.
	WebhookHTTP, WebhookPrivate bool

	// MaxBodyBytes of one request. Default 16 MiB. A request costs about twice its body while it is answered
	// (JSON 1.75 times: base64 and its bytes; multipart up to 3), and the pixels that the extractor bounds.
	MaxBodyBytes int
	// MaxBodyBytesInFlight of all requests together; a request that would pass it is answered 503. At least
	// MaxBodyBytes. Default 512 MiB: what a flood of uploads may take of memory, times two.
	MaxBodyBytesInFlight int
	// MaxHeaderBytes of the request line and the header fields, allocated for each connection. Default 16 KiB.
	MaxHeaderBytes int
	// MaxConns open at once, TLS handshakes included; one more is answered 503 and closed. Default 1024; each costs
	// about 30 KiB.
	MaxConns int
	// MaxRequests with a key in flight at once, from their header to their answer; one more is answered 503. Where there
	// are several tenants none gets all of them: at most eight of nine, and fewer the more tenants ask (slots.go). Requests that need no key (health, the document) are
	// not counted. Default 256.
	MaxRequests int

	// KeyRate is how many requests a second a key may make that states no rate of its own, on average, and KeyBurst how many at
	// once; what is more is answered 429. Default 0: as many as it likes; KeyBurst's default is a second's.
	KeyRate  float64
	KeyBurst int
	// AuthFailures is how many keys that are no good a client's address may send a minute; what is more is answered 429 and not
	// 401. Good keys pass from any address. Default 60; negative: no limit.
	AuthFailures int

	// HeaderTimeout for the header of a request, from its first byte; and for the TLS handshake of a connection with the
	// first byte after it. Default 5 s.
	HeaderTimeout time.Duration
	// IdleTimeout of a connection between requests. Default 60 s.
	IdleTimeout time.Duration
	// WriteTimeout for taking an answer. Default 30 s.
	WriteTimeout time.Duration
	// RequestTimeout for a whole request, from its header to its answer: the body must have come by then
	// (408), and the extractor and the engine get it as the deadline of their context (503). Default 10 s.
	RequestTimeout time.Duration
	// DrainDelay is how long Shutdown lets /readyz say 503 before it stops accepting, for the sake of load
	// balancers that ask it. Default 0.
	DrainDelay time.Duration
}

func (c Config) withDefaults() Config {
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, DefaultMaxBodyBytes)
	c.MaxBodyBytesInFlight = cmp.Or(c.MaxBodyBytesInFlight, max(DefaultMaxBodyBytesInFlight, c.MaxBodyBytes))
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, DefaultMaxHeaderBytes)
	c.MaxConns = cmp.Or(c.MaxConns, DefaultMaxConns)
	c.MaxRequests = cmp.Or(c.MaxRequests, DefaultMaxRequests)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, DefaultHeaderTimeout)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, DefaultIdleTimeout)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, DefaultWriteTimeout)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, DefaultRequestTimeout)
	c.AuthFailures = cmp.Or(c.AuthFailures, DefaultAuthFailures)
	if c.KeyRate > 0 {
		c.KeyBurst = cmp.Or(c.KeyBurst, max(int(math.Ceil(c.KeyRate)), 1))
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	if c.Engine == nil {
		return errors.New("http: Config.Engine is nil")
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"MaxBodyBytes", int64(c.MaxBodyBytes)},
		{"MaxBodyBytesInFlight", int64(c.MaxBodyBytesInFlight)},
		{"MaxHeaderBytes", int64(c.MaxHeaderBytes)},
		{"MaxConns", int64(c.MaxConns)},
		{"MaxRequests", int64(c.MaxRequests)},
		{"HeaderTimeout", int64(c.HeaderTimeout)},
		{"IdleTimeout", int64(c.IdleTimeout)},
		{"WriteTimeout", int64(c.WriteTimeout)},
		{"RequestTimeout", int64(c.RequestTimeout)},
	} {
		if f.value < 0 {
			return fmt.Errorf("http: Config.%s is negative", f.name)
		}
	}
	for id := range c.Extractors {
		if _, err := c.Engine.Space(cmp.Or(id, "?")); err != nil || id == c.Engine.DefaultSpace().ID {
			return fmt.Errorf("http: Config.Extractors has %q, which is no further space of the engine", id)
		}
	}
	if !(c.KeyRate >= 0 && c.KeyRate <= engine.MaxKeyRate) || c.KeyBurst < 0 || c.KeyBurst > 0 && c.KeyRate == 0 {
		return errors.New("http: Config.KeyRate or KeyBurst is negative or too large, or the burst without a rate")
	}
	if u, err := url.Parse(c.PublicURL); c.PublicURL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Scheme+"://"+u.Host != c.PublicURL) {
		return fmt.Errorf("http: Config.PublicURL is %q: give scheme and host alone, as in https://faces.example", c.PublicURL)
	}
	if c.DrainDelay < 0 {
		return errors.New("http: Config.DrainDelay is negative")
	}
	if c.MaxBodyBytesInFlight < c.MaxBodyBytes {
		return fmt.Errorf("http: Config.MaxBodyBytesInFlight (%d) is below MaxBodyBytes (%d)",
			c.MaxBodyBytesInFlight, c.MaxBodyBytes)
	}
	return nil
}
