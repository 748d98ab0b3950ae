package token

import (
	"bytes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"time"
)

// Want is what a token must be to open. The tenant is the Sealer's.
type Want struct {
	Type     Type
	Purpose  Purpose
	Audience string
	Space    string // "" is any
	Subject  string // "" is any
}

// Opened is an authentic token.
type Opened struct {
	ID        ID
	Type      Type
	Space     string
	Subject   string
	Issued    time.Time
	Expires   time.Time // zero if never
	SingleUse bool
	Payload   []byte // the caller's own
}

// Open opens a token in base64, standard or URL-safe, and marks a single-use one as used: last, so that a token which
// is refused for another reason isn't spent. What it was opened for may still fail; then a new one is needed.
//
// It decides by the header and its commitment before it allocates anything of the token's size. token is not retained.
//
// Errors: ErrDoesNotOpen; and for authentic tokens ErrType, ErrEarly, ErrExpired, ErrSpace, ErrSubject, ErrReplayed,
// ErrFull, in this order, or what Config.Spent fails with.
func (s *Sealer) Open(token []byte, w Want) (Opened, error) {
	o, ok := s.authenticate(token, w)
	if !ok {
		return Opened{}, ErrDoesNotOpen
	}
	if err := s.admit(o, w); err != nil {
		clear(o.Payload)
		return Opened{}, err
	}
	return o, nil
}

// authenticate returns what a token says, ok if it was sealed by one of our keys for this tenant, purpose and audience.
func (s *Sealer) authenticate(token []byte, w Want) (o Opened, ok bool) {
	spelled, n := s.measure(token)
	if spelled == nil {
		return o, false
	}
	var peek [peekSize]byte
	if _, err := spelled.Decode(peek[:], token[:peekChars]); err != nil {
		return o, false
	}
	var room [256]byte
	context := appendContext(room[:0], peek[:headerSize], s.config.Tenant, w.Purpose, w.Audience)
	h, aead := s.commit(peek[:nonceAt], context)
	if aead == nil {
		return o, false
	}
	body := make([]byte, n-nonceAt)
	copy(body, peek[nonceAt:])
	if _, err := spelled.Decode(body[peekSize-nonceAt:], token[peekChars:]); err != nil {
		return o, false
	}
	plain, err := aead.Open(body[:0], nil, body, context)
	if err != nil {
		return o, false
	}
	o, ok = h.opened(plain)
	return o, ok && len(o.Payload) <= s.config.MaxPayloadBytes
}

// measure returns a token's encoding and its size in bytes, or nil if it can't be a token by its length. It reads
// nothing of one that is too long.
func (s *Sealer) measure(token []byte) (*base64.Encoding, int) {
	most := leastToken + 2*MaxFieldBytes + s.config.MaxPayloadBytes
	if len(token) < standard.EncodedLen(leastToken)-2 || len(token) > standard.EncodedLen(most) {
		return nil, 0
	}
	spelled := spelling(token)
	if spelled == nil {
		return nil, 0
	}
	n := base64.RawStdEncoding.DecodedLen(len(bytes.TrimRight(token, "=")))
	if n < leastToken { // padding doesn't count
		return nil, 0
	}
	return spelled, n
}

// commit parses header and commitment and returns what opens the rest, or nil if the token isn't one of ours.
func (s *Sealer) commit(b, context []byte) (header, cipher.AEAD) {
	h, ok := parseHeader(b)
	if !ok {
		return h, nil
	}
	secret := s.keys.Load().secret(h.key)
	if secret == nil {
		return h, nil
	}
	aead, commitment, err := derive(secret, h.id[:], context)
	if err != nil || subtle.ConstantTimeCompare(commitment, b[headerSize:]) != 1 {
		return h, nil
	}
	return h, aead
}

// opened reads the plain text of a token. The payload aliases it.
func (h header) opened(plain []byte) (o Opened, ok bool) {
	o = Opened{ID: h.id, Type: h.kind, SingleUse: h.singleUse, Issued: time.Unix(int64(h.issued), 0).UTC()}
	if h.expires != 0 {
		o.Expires = time.Unix(int64(h.expires), 0).UTC()
	}
	o.Space, o.Subject, o.Payload, ok = parseFrame(plain)
	return o, ok && spaceMark(o.Space) == h.space
}

// admit says whether an authentic token is good for what is wanted, now.
func (s *Sealer) admit(o Opened, w Want) error {
	now, until := s.config.Now(), o.Expires.Add(s.config.Skew)
	switch {
	case o.Type != w.Type:
		return ErrType
	case o.Issued.After(now.Add(s.config.Skew)):
		return ErrEarly
	case !o.Expires.IsZero() && now.After(until):
		return ErrExpired
	case w.Space != "" && o.Space != w.Space:
		return ErrSpace
	case w.Subject != "" && o.Subject != w.Subject:
		return ErrSubject
	case o.SingleUse:
		return s.config.Spent.Spend(Use{o.ID, o.Issued, until})
	}
	return nil
}
