package facephi

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"mien/engine"
	"mien/http/dialect"
	"mien/http/token"
)

const (
	// captureTTL is how long what a capture gives is good for: a best image and a probe, each once.
	captureTTL = 10 * time.Minute
	// handOverTTL is how long a template that is nobody's yet may become somebody's.
	handOverTTL = 24 * time.Hour
	// maxImage bounds a photo in a token, so that a request with one fits into a body of the usual 16 MiB.
	maxImage = 8 << 20
	// maxVersions is what a Sealer holds.
	maxVersions = 64
)

// versions are those of the tenant's key that tokens are sealed with: the newest seals, the others from the oldest on open.
type versions struct {
	Newest uint32 `json:"newest"`
	Oldest uint32 `json:"oldest"`
}

const keysKind, keysID = "facephi.keys", "versions"

// versionsOf reads them. Errors: the engine's.
func versionsOf(ctx context.Context, e *engine.Engine, tenant string) (versions, error) {
	d, err := e.Document(ctx, tenant, keysKind, keysID)
	switch {
	case errors.Is(err, engine.ErrDocumentNotFound):
		return versions{1, 1}, nil
	case err != nil:
		return versions{}, err
	}
	return parseVersions(d.Value)
}

// change makes a new version, and takes those before oldest away; 0 takes none. Errors: errVersions.
func (v *versions) change(another bool, oldest uint32) error {
	n := *v
	if another {
		n.Newest++
	}
	if oldest != 0 {
		n.Oldest = oldest
	}
	if n.Oldest < v.Oldest || n.Oldest > n.Newest || n.Newest-n.Oldest >= maxVersions {
		return errVersions
	}
	*v = n
	return nil
}

func (v versions) marshal() []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: facephi: versions don't marshal: " + err.Error())
	}
	return b
}

func parseVersions(b []byte) (v versions, err error) {
	if err = json.Unmarshal(b, &v); err == nil && (v.Oldest < 1 || v.Oldest > v.Newest || v.Newest-v.Oldest >= maxVersions) {
		err = errors.New("no range")
	}
	if err != nil {
		return v, fmt.Errorf("%w: facephi: versions of keys: %w", engine.ErrCorrupt, err)
	}
	return v, nil
}

// sealerOf makes what seals and opens the tenant's tokens, of some µs: it holds nothing that could be out of date. Errors: the engine's.
func sealerOf(c *dialect.Call) (*token.Sealer, error) {
	e, tenant := c.Engine(), c.Key.Tenant
	v, err := versionsOf(c.Ctx, e, tenant)
	if err != nil {
		return nil, err
	}
	var keys []token.Key
	for id := v.Newest; id >= v.Oldest; id-- {
		secret, err := e.TenantSecret(c.Ctx, tenant, "facephi.token/"+strconv.FormatUint(uint64(id), 10))
		if err != nil {
			return nil, err
		}
		keys = append(keys, token.Key{ID: id, Secret: secret})
	}
	return token.New(token.Config{Tenant: tenant, Keys: keys, MaxPayloadBytes: maxImage, Spent: spent{c}, Now: e.Now})
}

// audience binds the tokens of a dialect's clients to their gallery.
func audience(gallery string) string { return Name + "/" + gallery }

// sealRegistered seals a template for a user to keep, or for the first call if it is nobody's yet.
func sealRegistered(s *token.Sealer, gallery, space, user string, payload []byte) (string, error) {
	ttl := token.Forever
	if user == "" {
		ttl = handOverTTL
	}
	return seal(s, token.Claims{Type: token.TypeTemplate, Purpose: token.PurposeAuthenticate, Audience: audience(gallery), Space: space,
		Subject: user, TTL: ttl, Payload: payload})
}

func seal(s *token.Sealer, c token.Claims) (string, error) {
	b, err := s.AppendSealed(nil, c)
	return string(b), err
}

// A probe's payload: what its photo's liveness was, in 1/10,000 and big endian, or unjudged, and a template's.
const unjudged = math.MaxUint16

// probe is a face to compare.
type probe struct {
	template engine.Template
	liveness float64 // score × 100; NaN if it was not judged
}

// appendProbe encodes a probe.
func appendProbe(dst []byte, p probe, quality uint8) ([]byte, error) {
	live := uint16(unjudged)
	if p.liveness >= 0 && p.liveness <= 100 {
		live = uint16(math.Round(100 * p.liveness))
	}
	return token.AppendTemplate(binary.BigEndian.AppendUint16(dst, live), token.Template{Quality: quality, Vector: p.template.Vector})
}

// parseProbe is the inverse of appendProbe. Errors: token.ErrInvalid.
func parseProbe(b []byte, space string) (p probe, err error) {
	if len(b) < 2 {
		return p, token.ErrInvalid
	}
	if p.liveness = math.NaN(); binary.BigEndian.Uint16(b) <= 10_000 {
		p.liveness = float64(binary.BigEndian.Uint16(b)) / 100
	}
	p.template, err = parseTemplate(b[2:], space)
	return p, err
}

func parseTemplate(b []byte, space string) (engine.Template, error) {
	t, err := token.ParseTemplate(b)
	return engine.Template{Space: space, Vector: t.Vector, Source: "template"}, err
}
