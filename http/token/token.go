package token

import (
	"cmp"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// Type says what a token's payload is. The numbers are on the wire and never reused.
type Type uint8

// The types of version 1.
const (
	TypeTemplate  Type = 1 + iota // a template, as AppendTemplate encodes it
	TypeBestImage                 // a photo's file
	TypeSession                   // what a capture or liveness session found
	TypeProbe                     // a probe's template, as AppendTemplate encodes it
	lastType      = TypeProbe
)

// Purpose says for which operation a token is. Any text of 1 to [MaxFieldBytes] bytes is one; these are the usual.
type Purpose string

// The purposes that dialects share.
const (
	PurposeEnrol        Purpose = "enroll"
	PurposeAuthenticate Purpose = "authenticate"
	PurposeSearch       Purpose = "search"
	PurposeImage        Purpose = "image"
)

const (
	// MaxFieldBytes bounds a tenant, purpose, audience, space and subject each.
	MaxFieldBytes = 1024
	// DefaultTTL is how long a token opens if its claims don't say.
	DefaultTTL = 10 * time.Minute
	// Forever is the TTL of a token that opens as long as its key is held.
	Forever time.Duration = -1

	defaultMaxPayload = 4 << 20
	defaultSkew       = 30 * time.Second
	defaultSpent      = 1 << 16
)

// Errors of this package, to be read by [errors.Is].
var (
	// ErrDoesNotOpen is the one answer for every token that is not authentic in its place: bytes that are no
	// token, too long, changed, of an unknown key, of another tenant, purpose or audience. It says nothing more.
	ErrDoesNotOpen = errors.New("token: does not open")

	// The following are said of authentic tokens only.

	// ErrType is for a token of another type than is wanted.
	ErrType = errors.New("token: of another type")
	// ErrExpired is for a token whose time is over, the skew included.
	ErrExpired = errors.New("token: expired")
	// ErrEarly is for a token issued in the future, by more than the skew.
	ErrEarly = errors.New("token: issued in the future")
	// ErrSpace is for a token of another embedding space.
	ErrSpace = errors.New("token: of another embedding space")
	// ErrSubject is for a token of another person.
	ErrSubject = errors.New("token: of another subject")
	// ErrReplayed is for a single-use token that was used, or of which that isn't known any more.
	ErrReplayed = errors.New("token: used before")
	// ErrFull is for a single-use token that could not be marked as used: there is no room until others expire.
	ErrFull = errors.New("token: too many used tokens to remember")

	// ErrInvalid is for a Config, keys, claims or a template that no token can be made of.
	ErrInvalid = errors.New("token: invalid")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// ID is a token's random identity, its salt.
type ID [saltSize]byte

// Config is what a Sealer works by. Tenant and Keys are required.
type Config struct {
	Tenant string // whose tokens; 1 to MaxFieldBytes bytes
	Keys   []Key  // as for [Sealer.SetKeys]

	// MaxPayloadBytes bounds the payloads that are sealed and opened, 4 MiB if 0. An opener allocates up to this,
	// though for authentic headers only.
	MaxPayloadBytes int

	// Skew is by how much the clocks of issuer and opener may differ: 30 s if 0, none if negative. Tokens open for
	// so long after their expiry.
	Skew time.Duration

	Spent Spent            // a NewMemory of 65,536 tokens if nil
	Now   func() time.Time // time.Now if nil
}

func (c Config) withDefaults() Config {
	c.MaxPayloadBytes = cmp.Or(c.MaxPayloadBytes, defaultMaxPayload)
	c.Skew = max(cmp.Or(c.Skew, defaultSkew), 0)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Spent == nil {
		c.Spent = NewMemory(defaultSpent, c.Now)
	}
	return c
}

// A Sealer seals and opens the tokens of one tenant. Safe for concurrent use.
type Sealer struct {
	config Config
	keys   atomic.Pointer[ring]
}

// New returns a Sealer. Nothing of the Config is retained but Spent and Now. Errors: ErrInvalid.
func New(c Config) (*Sealer, error) {
	c = c.withDefaults()
	if err := checkField("tenant", c.Tenant, 1); err != nil {
		return nil, err
	}
	if c.MaxPayloadBytes < 0 || c.MaxPayloadBytes > 1<<30 {
		return nil, invalid("a payload of at most %d bytes", c.MaxPayloadBytes)
	}
	s := &Sealer{config: c}
	s.config.Keys = nil
	return s, s.SetKeys(c.Keys...)
}

func checkField(what, s string, least int) error {
	if len(s) < least || len(s) > MaxFieldBytes {
		return invalid("the %s has %d bytes: from %d to %d are possible", what, len(s), least, MaxFieldBytes)
	}
	return nil
}
