package verifik

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"mien/engine"
	"mien/http/dialect"
)

// Labels of the tenant's secrets.
const (
	secretIDs     = "verifik.ids/1"     // of ids that stand for names
	secretSession = "verifik.session/1" // HS256 of sessions' tokens
	secretToken   = "verifik.token/"    // and a number: Ed25519 of what is answered
)

// keyRing is the document of which signing keys are in use, by their numbers; the keys themselves are derived. A tenant that never
// rotated has none.
type keyRing struct {
	Current int       `json:"current"`
	Retired []retired `json:"retired,omitempty"`
}

// retired is a key that signs no more, and is published until its tokens have ended.
type retired struct {
	Number int       `json:"number"`
	Until  time.Time `json:"until"`
}

const (
	keyRingID  = "token"
	maxRetired = 16 // of more the oldest goes: whoever rotates so often wants that
	// retiredFor is longer than a token lives and a client may keep the set of keys.
	retiredFor = maxTokenLife + time.Hour
)

func decodeKeyRing(d *engine.Document) (keyRing, error) {
	r := keyRing{Current: 1}
	if d == nil {
		return r, nil
	}
	return r, json.Unmarshal(d.Value, &r)
}

// signingKey is one of a tenant's keys.
type signingKey struct {
	private ed25519.PrivateKey
	public  jose.JSONWebKey // with its KeyID, RFC 7638's thumbprint
}

func (s *service) signingKey(ctx context.Context, tenant string, number int) (*signingKey, error) {
	seed, err := s.engine.TenantSecret(ctx, tenant, fmt.Sprint(secretToken, number))
	if err != nil {
		return nil, err
	}
	private := ed25519.NewKeyFromSeed(seed)
	public := jose.JSONWebKey{Key: private.Public(), Algorithm: string(jose.EdDSA), Use: "sig"}
	thumb, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	public.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
	return &signingKey{private, public}, nil
}

// currentKey is the key that signs.
func (s *service) currentKey(ctx context.Context, tenant string) (*signingKey, error) {
	ring, err := s.keyRing(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return s.signingKey(ctx, tenant, ring.Current)
}

func (s *service) keyRing(ctx context.Context, tenant string) (keyRing, error) {
	d, err := s.engine.Document(ctx, tenant, kindKeys, keyRingID)
	if errors.Is(err, engine.ErrDocumentNotFound) {
		return decodeKeyRing(nil)
	}
	if err != nil {
		return keyRing{}, err
	}
	return decodeKeyRing(&d)
}

func (k *signingKey) signer(typ jose.ContentType) (jose.Signer, error) {
	key := jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: k.private, KeyID: k.public.KeyID}}
	return jose.NewSigner(key, (&jose.SignerOptions{}).WithType(typ))
}

// signClaims makes a JWT of claims.
func (k *signingKey) signClaims(claims any) (string, error) {
	signer, err := k.signer("JWT")
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}

// signDetached is a JWS of data without the data (RFC 7515, appendix F).
func (k *signingKey) signDetached(data []byte) (string, error) {
	signer, err := k.signer("JOSE")
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(data)
	if err != nil {
		return "", err
	}
	return signed.DetachedCompactSerialize()
}

// client is the id that stands for a tenant.
func (s *service) client(ctx context.Context, tenant string) (string, error) {
	secret, err := s.engine.TenantSecret(ctx, tenant, secretIDs)
	if err != nil {
		return "", err
	}
	return derivedID(secret, "client"), nil
}

// issuerOf is the issuer of a tenant's tokens: no place, for by which host the server is reached is the client's to say.
func issuerOf(client string) string { return "urn:mien:verifik:" + client }

// keySetPath is where a tenant's keys are published.
func keySetPath(tenant, client string) string {
	return "/v2/clients/" + tenant + "/" + client + "/jwks.json" // neither has anything to escape
}

// keySet publishes the keys by which what a tenant's projects answer is verified. Whoever knows of a token knows the path; the names
// of tenants can't be tried out, for the client's id is not theirs to guess.
func (s *service) keySet(c *dialect.Call) (dialect.Answer, error) {
	tenant := c.Params[0]
	client, err := s.client(c.Ctx, tenant)
	if errors.Is(err, engine.ErrTenantNotFound) || errors.Is(err, engine.ErrID) || err == nil && client != c.Params[1] {
		return dialect.Answer{}, &dialect.Refusal{Code: "route_not_found", Detail: "no keys are published here: the path is in the project's jwks_uri"}
	}
	if err != nil {
		return dialect.Answer{}, err
	}
	ring, err := s.keyRing(c.Ctx, tenant)
	if err != nil {
		return dialect.Answer{}, err
	}
	set, now := jose.JSONWebKeySet{}, s.engine.Now()
	for _, k := range append([]retired{{Number: ring.Current, Until: now.Add(time.Second)}}, ring.Retired...) {
		if !now.Before(k.Until) {
			continue
		}
		key, err := s.signingKey(c.Ctx, tenant, k.Number)
		if err != nil {
			return dialect.Answer{}, err
		}
		set.Keys = append(set.Keys, key.public)
	}
	return dialect.JSON(200, set), nil
}

// rotatedKey is the answer of a rotation.
type rotatedKey struct {
	KeyID   string    `json:"kid"`
	JWKS    string    `json:"jwks_uri"`
	Retired time.Time `json:"retired_until"` // till when the one before is published
}

// rotateKey has another key sign from now on.
func (s *service) rotateKey(c *dialect.Call) (dialect.Answer, error) {
	if body, err := c.Body(); err != nil {
		return dialect.Answer{}, err
	} else if len(body) > 0 {
		if err := c.DecodeNative(&struct{}{}); err != nil {
			return dialect.Answer{}, err
		}
	}
	tenant, now := c.Key.Tenant, s.engine.Now()
	until := now.Add(retiredFor).Truncate(time.Second)
	d, err := s.engine.ChangeDocument(c.Ctx, tenant, kindKeys, keyRingID, engine.DocumentOptions{Audit: "verifik.key.rotate"}, func(old *engine.Document) (*engine.Document, error) {
		ring, err := decodeKeyRing(old)
		if err != nil {
			return nil, err
		}
		kept := []retired{{ring.Current, until}}
		for _, k := range ring.Retired {
			if now.Before(k.Until) && len(kept) < maxRetired {
				kept = append(kept, k)
			}
		}
		return encode(&keyRing{ring.Current + 1, kept})
	})
	if err != nil {
		return dialect.Answer{}, err
	}
	ring, err := decodeKeyRing(d)
	if err != nil {
		return dialect.Answer{}, err
	}
	key, err := s.signingKey(c.Ctx, tenant, ring.Current)
	if err != nil {
		return dialect.Answer{}, err
	}
	client, err := s.client(c.Ctx, tenant)
	return dialect.JSON(200, rotatedKey{key.public.KeyID, c.BaseURL() + keySetPath(tenant, client), until}), err
}

// encode is a document with v as its value.
func encode(v any) (*engine.Document, error) {
	value, err := json.Marshal(v)
	return &engine.Document{Value: value}, err
}
