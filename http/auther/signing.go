package auther

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// window is by how much the Timestamp of a signed request may differ from our clock.
const window = 5 * time.Minute

// Kind of the documents of signing, and the ids of a tenant's: one with the server's key, one for each API key that was ever asked to
// sign.
const (
	signingKind  = "auther.signing"
	serverID     = "server"
	keyIDPrefix  = "key."
	maxRotations = 64
)

// Inputs of the signature.
const (
	inputRaw       = "raw"       // the line
	inputHexDigest = "hexdigest" // its SHA-256 in lower-case hex
)

// signing is what a document says of an API key. Without keys requests need no signature.
type signing struct {
	Keys  []string `json:"public_keys"` // PEM
	Input string   `json:"sig_input"`
}

// signer checks the requests of an API key, and signs the answers to them.
type signer struct {
	key    engine.Key
	keys   []*rsa.PublicKey
	input  string
	server *rsa.PrivateKey
}

// signerOf is the signer of an API key, nil of one that need not sign. A key that was made in the place of another signs as that one
// had to. Errors: the engine's.
func signerOf(c *dialect.Call, key engine.Key) (*signer, error) {
	s, err := signingOf(c.Ctx, c.Engine(), key)
	if err != nil || len(s.Keys) == 0 {
		return nil, err
	}
	server, err := c.Engine().Document(c.Ctx, key.Tenant, signingKind, serverID)
	if err != nil {
		return nil, fmt.Errorf("auther: the server's key: %w", err)
	}
	r := &signer{key: key, input: s.Input}
	if r.server, err = serverKey(server.Value); err != nil {
		return nil, err
	}
	for _, text := range s.Keys {
		public, err := publicKey(text)
		if err != nil {
			return nil, fmt.Errorf("auther: a stored key: %w", err)
		}
		r.keys = append(r.keys, public)
	}
	return r, nil
}

// signingOf is what the document of a key says, or that of the one in whose place it was made; that is noted then, for old keys are
// forgotten at last. Errors: the engine's.
func signingOf(ctx context.Context, e *engine.Engine, key engine.Key) (s signing, err error) {
	id := key.ID
	for range maxRotations {
		d, err := e.Document(ctx, key.Tenant, signingKind, keyIDPrefix+id)
		if err == nil {
			if err := json.Unmarshal(d.Value, &s); err != nil {
				return s, fmt.Errorf("auther: a document of signing: %w", err)
			}
			if id != key.ID {
				err = inherit(ctx, e, key, d.Value)
			}
			return s, err
		}
		if !errors.Is(err, engine.ErrDocumentNotFound) {
			return s, err
		}
		from := key.RotatedFrom
		if id != key.ID {
			before, err := e.Key(ctx, key.Tenant, id)
			if errors.Is(err, engine.ErrKeyNotFound) {
				return s, needNot(ctx, e, key)
			}
			if err != nil {
				return s, err
			}
			from = before.RotatedFrom
		}
		if id = from; id == "" {
			return s, nil
		}
	}
	return s, needNot(ctx, e, key)
}

// needNot refuses a key of which it is not known any more whether it must sign, unless none of its tenant ever had to. Errors: the engine's.
func needNot(ctx context.Context, e *engine.Engine, key engine.Key) error {
	_, err := e.Document(ctx, key.Tenant, signingKind, serverID)
	if errors.Is(err, engine.ErrDocumentNotFound) {
		return nil
	}
	return cmp.Or(err, fmt.Errorf("auther: key %s was made in the place of one that is forgotten: say for it whether it must sign", key.ID))
}

// inherit writes the document of a key that has none.
func inherit(ctx context.Context, e *engine.Engine, key engine.Key, value []byte) error {
	_, err := e.ChangeDocument(ctx, key.Tenant, signingKind, keyIDPrefix+key.ID, engine.DocumentOptions{}, func(old *engine.Document) (*engine.Document, error) {
		if old != nil {
			return old, nil
		}
		return &engine.Document{Value: value}, nil
	})
	return err
}

// badSignature refuses a request; why is for our log alone, clients are told one thing for all.
func badSignature(why string) error { return &dialect.Refusal{Code: "bad_signature", Detail: why} }

// check refuses a request that is not signed as its key demands, or was made before. In the order of doc.go: format, window, body,
// signature, replay. Errors: *dialect.Refusal of bad_signature, those of Body.
func (a *auther) check(c *dialect.Call, s *signer) error {
	base := baseURL(c)
	sig, err := base64.StdEncoding.Strict().DecodeString(c.Header("Signature"))
	made, ok := timestamp(c.Header("Timestamp"))
	switch {
	case c.Method == "HEAD":
		return badSignature("HEAD is not for keys that must sign: its answer is that of an operation without a body")
	case base == "":
		return badSignature("the server has no public URL, which signatures begin with: start it with --public-url")
	case err != nil || len(sig) == 0:
		return badSignature("the Signature is missing or not base64")
	case !ok:
		return badSignature("the Timestamp is missing or not 13 digits")
	case !clean(c.Target):
		return badSignature("the request target has characters that must be percent-encoded")
	}
	now := a.now()
	if made.Before(now.Add(-window)) || made.After(now.Add(window)) {
		return badSignature("the Timestamp is more than five minutes from the server's clock")
	}
	body, err := bodyOf(c)
	if err != nil {
		return err
	}
	if len(body) > 0 && body[0] != '{' && body[0] != '[' {
		return badSignature("the body of a signed request must begin with { or [")
	}
	digest := sha256.Sum256(line(base, c.Target, body, c.Header("Timestamp")))
	by := s.verifies(digest, sig)
	if by == nil {
		return badSignature("the Signature is not that of the request by the key's public keys")
	}
	spki, err := x509.MarshalPKIXPublicKey(by)
	if err != nil {
		return fmt.Errorf("auther: a public key: %w", err)
	}
	return a.replays.take(s.key.Tenant, sha256.Sum256(append(spki, digest[:]...)), made, now)
}

// bodyOf is the body of a request that may have one. That of another is not looked at by anybody.
func bodyOf(c *dialect.Call) ([]byte, error) {
	if c.Method == "GET" || c.Method == "HEAD" {
		return nil, nil
	}
	return c.Body()
}

// baseURL is what lines begin with: as the operator has it, never what a request says. "" is none.
func baseURL(c *dialect.Call) string { return strings.ToLower(c.PublicURL()) }

// line is what is hashed.
func line(base, uri string, body []byte, timestamp string) []byte {
	m := make([]byte, 0, len(base)+len(uri)+len(body)+len(timestamp))
	m = append(append(m, base...), uri...)
	return append(append(m, body...), timestamp...)
}

// timestamp is the time in 13 digits, Unix milliseconds.
func timestamp(text string) (time.Time, bool) {
	if len(text) != 13 || strings.Trim(text, "0123456789") != "" {
		return time.Time{}, false
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(ms), err == nil
}

// clean reports whether a request target is a path and query as RFC 3986 spells them. A body, which begins with { or [, can then not be
// shifted into the target, nor the other way round.
func clean(target string) bool {
	const others = "-._~:/?@!$&'()*+,;=%"
	for _, b := range []byte(target) {
		if !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte(others, b) >= 0) {
			return false
		}
	}
	return strings.HasPrefix(target, "/")
}

// hashed is what RSASSA-PKCS1-v1_5 takes for the digest of a line.
func hashed(input string, digest [sha256.Size]byte) [sha256.Size]byte {
	if input == inputHexDigest {
		return sha256.Sum256(hex.AppendEncode(nil, digest[:]))
	}
	return digest
}

// verifies returns the public key that a signature is by, nil if it is by none.
func (s *signer) verifies(digest [sha256.Size]byte, sig []byte) *rsa.PublicKey {
	h := hashed(s.input, digest)
	for _, k := range s.keys {
		if rsa.VerifyPKCS1v15(k, crypto.SHA256, h[:], sig) == nil {
			return k
		}
	}
	return nil
}

// sign adds Timestamp and Signature to an answer. The Timestamp is the request's, so that the answer is bound to the question. REQUIRES:
// check has passed.
func (a *auther) sign(c *dialect.Call, s *signer, answer *dialect.Answer) error {
	at := c.Header("Timestamp")
	h := hashed(s.input, sha256.Sum256(line(baseURL(c), c.Target, answer.Raw, at)))
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.server, crypto.SHA256, h[:])
	if err != nil {
		return fmt.Errorf("auther: sign an answer: %w", err)
	}
	answer.Set("Timestamp", at)
	answer.Set("Signature", base64.StdEncoding.EncodeToString(sig))
	return nil
}
