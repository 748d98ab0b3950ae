package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
)

// Sizes and places of the layout in doc.go, in bytes.
const (
	version        = 1
	flagSingleUse  = 1
	saltSize       = 16
	saltAt         = 20
	headerSize     = saltAt + saltSize
	commitmentSize = 32
	nonceAt        = headerSize + commitmentSize
	nonceSize      = 12
	tagSize        = 16
	leastFrame     = 2 + 2
	leastToken     = nonceAt + nonceSize + leastFrame + tagSize

	// peekSize is what an opener decodes before it allocates: header, commitment and, as base64 goes by three
	// bytes, four of the nonce.
	peekSize  = nonceAt + 4
	peekChars = peekSize / 3 * 4
)

// header is the clear part of a token.
type header struct {
	kind      Type
	singleUse bool
	key       uint32
	issued    uint32 // Unix seconds
	expires   uint32 // Unix seconds; 0 is never
	space     uint16 // spaceMark
	id        ID
}

func (h header) append(dst []byte) []byte {
	var flags byte
	if h.singleUse {
		flags = flagSingleUse
	}
	dst = append(dst, 'F', 'T', version, byte(h.kind), flags, 0)
	dst = binary.BigEndian.AppendUint32(dst, h.key)
	dst = binary.BigEndian.AppendUint32(dst, h.issued)
	dst = binary.BigEndian.AppendUint32(dst, h.expires)
	dst = binary.BigEndian.AppendUint16(dst, h.space)
	return append(dst, h.id[:]...)
}

// parseHeader is the inverse of append; what append can't have written is not ok. b has at least headerSize bytes.
func parseHeader(b []byte) (h header, ok bool) {
	h = header{
		kind:      Type(b[3]),
		singleUse: b[4] == flagSingleUse,
		key:       binary.BigEndian.Uint32(b[6:]),
		issued:    binary.BigEndian.Uint32(b[10:]),
		expires:   binary.BigEndian.Uint32(b[14:]),
		space:     binary.BigEndian.Uint16(b[18:]),
		id:        ID(b[saltAt:headerSize]),
	}
	ok = b[0] == 'F' && b[1] == 'T' && b[2] == version && h.kind >= 1 && h.kind <= lastType &&
		b[4]&^flagSingleUse == 0 && b[5] == 0 && (h.expires != 0 || !h.singleUse)
	return h, ok
}

// appendContext encodes A of the layout: what the key is derived from and the ciphertext is bound to. No two contexts
// have the same bytes, as every text carries its length.
func appendContext(dst, header []byte, tenant string, purpose Purpose, audience string) []byte {
	dst = append(dst, "face/token/v1\x00"...)
	dst = append(dst, header...)
	for _, s := range [...]string{tenant, string(purpose), audience} {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// appendFrame encodes the plain text.
func appendFrame(dst []byte, space, subject string, payload []byte) []byte {
	for _, s := range [...]string{space, subject} {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
		dst = append(dst, s...)
	}
	return append(dst, payload...)
}

// parseFrame is the inverse of appendFrame. The payload aliases b.
func parseFrame(b []byte) (space, subject string, payload []byte, ok bool) {
	if space, b, ok = cutText(b); !ok {
		return "", "", nil, false
	}
	subject, b, ok = cutText(b)
	return space, subject, b, ok
}

func cutText(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > MaxFieldBytes || n > len(b)-2 {
		return "", nil, false
	}
	return string(b[2 : 2+n]), b[2+n:], true
}

// spaceMark is the header's short form of a space, by which an operator can tell tokens of one space from those of
// another without a key. The whole name is sealed.
func spaceMark(space string) uint16 {
	if space == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(space))
	return binary.BigEndian.Uint16(sum[:])
}

// Strict: the bits that padding leaves over are zero, so that a token has one spelling in each alphabet.
var (
	standard = base64.StdEncoding.Strict()
	forURL   = base64.URLEncoding.Strict()
	forURLno = base64.RawURLEncoding.Strict()
)

// spelling returns the encoding that a token seems to be in: standard with padding, or URL-safe with or without. It
// is nil for line breaks, which encoding/base64 would skip.
func spelling(token []byte) *base64.Encoding {
	switch has := func(c byte) bool { return bytes.IndexByte(token, c) >= 0 }; {
	case has('\r') || has('\n'):
		return nil
	case len(token)%4 != 0:
		return forURLno
	case has('-') || has('_'):
		return forURL
	}
	return standard
}
