package auther

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"mien/engine"
	"mien/http/dialect"
)

// The native routes by which an API key gets the RSA keys that its requests are signed with.

const (
	maxPublicKeys = 4 // so that one can follow another
	serverBits    = 2048
	minBits       = 2048
	maxBits       = 4096
)

// signingBody is the answer of the native routes.
type signingBody struct {
	Key    string   `json:"key"`
	Keys   []string `json:"public_keys"`
	Input  string   `json:"sig_input,omitempty"`
	Base   string   `json:"base_url,omitempty"`
	Server string   `json:"server_public_key,omitempty"` // PEM
}

// client is the API key that the path names. Errors: ErrKeyNotFound, *dialect.Refusal.
func client(c *dialect.Call) (engine.Key, error) {
	if strings.Contains(c.Target, "?") {
		return engine.Key{}, &dialect.Refusal{Code: "bad_request", Detail: "nothing is asked for in the query here: leave it out"}
	}
	k, err := c.Engine().Key(c.Ctx, c.Key.Tenant, c.Params[0])
	if err == nil && !c.Key.MaySee(k) {
		err = engine.ErrKeyNotFound
	}
	if err == nil && k.Dialect != Name {
		err = &dialect.Refusal{Code: "bad_request", Detail: "the key is not for the dialect auther: only such keys have requests to sign"}
	}
	return k, err
}

func putSigning(c *dialect.Call) (dialect.Answer, error) {
	s, err := decodeSigning(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	k, err := client(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	if baseURL(c) == "" {
		return dialect.Answer{}, &dialect.Refusal{Code: "public_url_unset", Detail: "signatures begin with the server's public URL, and it has none: its operator sets one with --public-url"}
	}
	if err := ownKeys(c, k, s); err != nil {
		return dialect.Answer{}, err
	}
	if err := makeServerKey(c, k.Tenant); err != nil {
		return dialect.Answer{}, err
	}
	if err := store(c, k, s); err != nil {
		return dialect.Answer{}, err
	}
	return signingAnswer(c, k)
}

// ownKeys refuses public keys that an API key of another gallery has: what is signed for the one would be good for the other (S3). Errors:
// *dialect.Refusal, the engine's.
func ownKeys(c *dialect.Call, k engine.Key, s signing) error {
	for after := ""; ; {
		list, err := c.Engine().Documents(c.Ctx, k.Tenant, signingKind, engine.MaxListLimit, after)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, d := range list {
			after = d.ID
			id, isKey := strings.CutPrefix(d.ID, keyIDPrefix)
			var have signing
			if !isKey || id == k.ID || json.Unmarshal(d.Value, &have) != nil || !slices.ContainsFunc(have.Keys, func(text string) bool { return slices.Contains(s.Keys, text) }) {
				continue
			}
			if other, err := c.Engine().Key(c.Ctx, k.Tenant, id); err == nil && !slices.Equal(other.Galleries, k.Galleries) {
				return &dialect.Refusal{Code: "bad_request", Detail: "an API key of another gallery has one of the public keys: make a key pair for each gallery"}
			}
		}
	}
}

func getSigning(c *dialect.Call) (dialect.Answer, error) {
	k, err := client(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	return signingAnswer(c, k)
}

// deleteSigning lets the key's requests come unsigned. That is noted, lest a key in whose place it was made says otherwise.
func deleteSigning(c *dialect.Call) (dialect.Answer, error) {
	k, err := client(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	return dialect.Answer{Status: 204}, store(c, k, signing{Keys: []string{}})
}

// decodeSigning reads the body of putSigning, strictly, as all of the native API. Errors: dialect.ErrContentType, *dialect.Refusal, the server's.
func decodeSigning(c *dialect.Call) (s signing, err error) {
	var loose struct{}
	if err := c.DecodeJSON(&loose); err != nil {
		return s, err
	}
	body, err := c.Body()
	if err != nil {
		return s, err
	}
	return parseSigning(body)
}

// parseSigning is the inverse of what is stored, with everything checked. Errors: *dialect.Refusal.
func parseSigning(body []byte) (s signing, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, &dialect.Refusal{Code: "bad_json", Detail: `the body must be {"public_keys": ["-----BEGIN PUBLIC KEY-----…"], "sig_input": "raw" or "hexdigest"}, without other fields`}
	}
	if _, err := d.Token(); err != io.EOF {
		return s, &dialect.Refusal{Code: "bad_json", Detail: "there is something behind the object"}
	}
	if s.Input == "" {
		s.Input = inputRaw
	}
	if s.Input != inputRaw && s.Input != inputHexDigest {
		return s, &dialect.Refusal{Code: "bad_request", Detail: `"sig_input" must be raw, the line itself, or hexdigest, its SHA-256 in hex`}
	}
	if len(s.Keys) < 1 || len(s.Keys) > maxPublicKeys {
		return s, &dialect.Refusal{Code: "bad_request", Detail: fmt.Sprintf(`"public_keys" has %d keys: give 1 to %d; DELETE lets requests come unsigned`, len(s.Keys), maxPublicKeys)}
	}
	for _, text := range s.Keys {
		if _, err := publicKey(text); err != nil {
			return s, &dialect.Refusal{Code: "bad_request", Detail: `"public_keys" must hold RSA keys of 2,048 to 4,096 bits with the exponent 65537, in PEM, as openssl pkey -pubout writes them`}
		}
	}
	return s, nil
}

var errPublicKey = errors.New("auther: no public key of RSA as is wanted")

// publicKey reads PEM of a SubjectPublicKeyInfo. Errors: errPublicKey.
func publicKey(text string) (*rsa.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errPublicKey
	}
	any, err := x509.ParsePKIXPublicKey(block.Bytes)
	k, ok := any.(*rsa.PublicKey)
	if err != nil || !ok || k.N.BitLen() < minBits || k.N.BitLen() > maxBits || k.E != 65537 || k.N.Bit(0) == 0 {
		return nil, errPublicKey
	}
	return k, nil
}

// store writes what a key's document says.
func store(c *dialect.Call, k engine.Key, s signing) error {
	value, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("auther: %w", err)
	}
	_, err = c.Engine().ChangeDocument(c.Ctx, k.Tenant, signingKind, keyIDPrefix+k.ID,
		engine.DocumentOptions{Audit: "key.signing", Note: fmt.Sprintf("public keys: %d", len(s.Keys))},
		func(*engine.Document) (*engine.Document, error) { return &engine.Document{Value: value}, nil })
	return err
}

// makeServerKey makes the key that answers to a tenant's signed requests are signed with, unless there is one.
func makeServerKey(c *dialect.Call, tenant string) error {
	_, err := c.Engine().Document(c.Ctx, tenant, signingKind, serverID)
	if !errors.Is(err, engine.ErrDocumentNotFound) {
		return err
	}
	k, err := rsa.GenerateKey(rand.Reader, serverBits)
	if err != nil {
		return fmt.Errorf("auther: make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return fmt.Errorf("auther: make a key: %w", err)
	}
	_, err = c.Engine().ChangeDocument(c.Ctx, tenant, signingKind, serverID, engine.DocumentOptions{}, func(old *engine.Document) (*engine.Document, error) {
		if old != nil { // another request's
			return old, nil
		}
		return &engine.Document{Value: der}, nil
	})
	return err
}

// serverKey reads what makeServerKey stored.
func serverKey(der []byte) (*rsa.PrivateKey, error) {
	any, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("auther: the server's key: %w", err)
	}
	k, ok := any.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("auther: the server's key is none of RSA")
	}
	return k, nil
}

// signingAnswer says what holds of a key's requests.
func signingAnswer(c *dialect.Call, k engine.Key) (dialect.Answer, error) {
	s, err := signingOf(c.Ctx, c.Engine(), k)
	if err != nil {
		return dialect.Answer{}, err
	}
	b := signingBody{Key: k.ID, Keys: s.Keys, Input: s.Input, Base: baseURL(c)}
	if b.Keys == nil {
		b.Keys = []string{}
	}
	d, err := c.Engine().Document(c.Ctx, k.Tenant, signingKind, serverID)
	if errors.Is(err, engine.ErrDocumentNotFound) {
		return dialect.JSON(200, b), nil
	}
	if err != nil {
		return dialect.Answer{}, err
	}
	private, err := serverKey(d.Value)
	if err != nil {
		return dialect.Answer{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		return dialect.Answer{}, fmt.Errorf("auther: the server's key: %w", err)
	}
	b.Server = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return dialect.JSON(200, b), nil
}
