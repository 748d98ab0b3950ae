package token

import (
	"crypto/rand"
	"encoding/base64"
	"math"
	"time"
)

// Claims is what a token is made of. The tenant is the Sealer's.
type Claims struct {
	Type      Type
	Purpose   Purpose // required; not in the token, whoever opens it must know
	Audience  string  // a device or session, as the purpose; "" is one of its own, not any
	Space     string  // embedding space of a template, "" for what has none
	Subject   string  // the person's id, "" for none
	SingleUse bool    // opens once; needs an expiry

	// TTL is how long it opens, rounded up to seconds: DefaultTTL if 0, or Forever.
	TTL time.Duration

	Payload []byte // at most Config.MaxPayloadBytes; not retained
}

// AppendSealed appends a token in standard base64 to dst and returns the extended slice: 4/3 of the payload's bytes
// and of some 100 more. Beside dst it allocates the binary token and about 3 KB. Errors: ErrInvalid for claims
// that can't be sealed.
func (s *Sealer) AppendSealed(dst []byte, c Claims) ([]byte, error) {
	h, err := s.header(c)
	if err != nil {
		return nil, err
	}
	keys := s.keys.Load()
	h.key = keys.ids[0]
	rand.Read(h.id[:]) // never fails (crypto/rand)

	out := make([]byte, 0, leastToken+len(c.Space)+len(c.Subject)+len(c.Payload))
	out = h.append(out)
	var room [256]byte
	context := appendContext(room[:0], out, s.config.Tenant, c.Purpose, c.Audience)
	aead, commitment, err := derive(&keys.secrets[0], h.id[:], context)
	if err != nil {
		return nil, err
	}
	out = append(out, commitment...)
	plain := appendFrame(out, c.Space, c.Subject, c.Payload)[nonceAt:]
	out = aead.Seal(out, nil, plain, context) // over plain
	return base64.StdEncoding.AppendEncode(dst, out), nil
}

// header checks the claims and fills in what they say.
func (s *Sealer) header(c Claims) (header, error) {
	if err := s.checkClaims(c); err != nil {
		return header{}, err
	}
	issued := s.config.Now().Unix()
	expires := issued + int64((c.ttl()+time.Second-1)/time.Second)
	if issued < 0 || expires > math.MaxUint32 {
		return header{}, invalid("a token has seconds since 1970 in 32 bits: %d to %d are not", issued, expires)
	}
	if c.TTL == Forever {
		expires = 0
	}
	return header{
		kind: c.Type, singleUse: c.SingleUse, issued: uint32(issued), expires: uint32(expires), space: spaceMark(c.Space),
	}, nil
}

func (s *Sealer) checkClaims(c Claims) error {
	for _, f := range []struct {
		what, text string
		least      int
	}{{"purpose", string(c.Purpose), 1}, {"audience", c.Audience, 0}, {"space", c.Space, 0}, {"subject", c.Subject, 0}} {
		if err := checkField(f.what, f.text, f.least); err != nil {
			return err
		}
	}
	switch {
	case c.Type < 1 || c.Type > lastType:
		return invalid("type %d", c.Type)
	case c.TTL < 0 && c.TTL != Forever || c.TTL > math.MaxUint32*time.Second:
		return invalid("a time to live of %v", c.TTL)
	case c.SingleUse && c.TTL == Forever:
		return invalid("a single-use token needs an expiry: its use could not be remembered for ever")
	case len(c.Payload) > s.config.MaxPayloadBytes:
		return invalid("a payload of %d bytes: the most is %d", len(c.Payload), s.config.MaxPayloadBytes)
	}
	return nil
}

// ttl is how long the token opens; 0 for one that does for ever.
func (c Claims) ttl() time.Duration {
	switch c.TTL {
	case 0:
		return DefaultTTL
	case Forever:
		return 0
	}
	return c.TTL
}
