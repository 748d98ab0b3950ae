package token

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// A second implementation, written from the layout in doc.go with AES-GCM and HMAC alone. It seals whatever it is
// told to, with a given nonce, and shares no code with the package.

// vector is a token with everything that it is made of. Bytes are base64 in JSON.
type vector struct {
	Name     string
	Key      []byte
	Kid      uint32
	Version  byte
	Type     byte
	Flags    byte
	Reserved byte
	Issued   uint32
	Expires  uint32
	Mark     uint16
	Salt     []byte
	Tenant   string
	Purpose  string
	Audience string
	Space    string
	Subject  string
	Payload  []byte
	Nonce    []byte

	// What comes of it.
	EncryptionKey []byte
	Commitment    []byte
	Token         string
}

func (v vector) header() []byte {
	h := make([]byte, 36)
	copy(h, []byte{0x46, 0x54, v.Version, v.Type, v.Flags, v.Reserved})
	binary.BigEndian.PutUint32(h[6:10], v.Kid)
	binary.BigEndian.PutUint32(h[10:14], v.Issued)
	binary.BigEndian.PutUint32(h[14:18], v.Expires)
	binary.BigEndian.PutUint16(h[18:20], v.Mark)
	copy(h[20:36], v.Salt)
	return h
}

func withLength(size int, s string) []byte {
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(s)))
	return append(n[8-size:], s...)
}

func (v vector) additional(header []byte) []byte {
	return bytes.Join([][]byte{[]byte("face/token/v1"), {0}, header,
		withLength(4, v.Tenant), withLength(4, v.Purpose), withLength(4, v.Audience)}, nil)
}

func mac(key []byte, parts ...[]byte) []byte {
	m := hmac.New(sha256.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// keys is HKDF-SHA-256 (RFC 5869) to 64 bytes: extract, then two blocks of expand.
func (v vector) keys(header []byte) (encryption, commitment []byte) {
	info := v.additional(header)
	pseudo := mac(v.Salt, v.Key)
	encryption = mac(pseudo, info, []byte{1})
	return encryption, mac(pseudo, encryption, info, []byte{2})
}

// gcm is AES-256-GCM with nonces of one's own, which FIPS 140 leaves to test vectors.
func gcm(key []byte, use func(cipher.AEAD)) {
	fips140.WithoutEnforcement(func() {
		block, err := aes.NewCipher(key)
		if err != nil {
			panic(err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			panic(err)
		}
		use(aead)
	})
}

func (v vector) plain() []byte {
	return bytes.Join([][]byte{withLength(2, v.Space), withLength(2, v.Subject), v.Payload}, nil)
}

// sealed fills in what comes of the vector; plain is its frame.
func (v vector) sealed(plain []byte) vector {
	header := v.header()
	v.EncryptionKey, v.Commitment = v.keys(header)
	out := bytes.Join([][]byte{header, v.Commitment, v.Nonce}, nil)
	gcm(v.EncryptionKey, func(a cipher.AEAD) { out = a.Seal(out, v.Nonce, plain, v.additional(header)) })
	v.Token = base64.StdEncoding.EncodeToString(out)
	return v
}

// decoded reads v.Token with v's key and context; what the token itself says replaces what v says.
func (v vector) decoded() (vector, error) {
	b, err := base64.StdEncoding.DecodeString(v.Token)
	if err != nil || len(b) < 100 || b[0] != 'F' || b[1] != 'T' || b[2] != 1 {
		return v, fmt.Errorf("no token: %w", err)
	}
	v.Version, v.Type, v.Flags, v.Reserved = b[2], b[3], b[4], b[5]
	v.Kid = binary.BigEndian.Uint32(b[6:10])
	v.Issued = binary.BigEndian.Uint32(b[10:14])
	v.Expires = binary.BigEndian.Uint32(b[14:18])
	v.Mark = binary.BigEndian.Uint16(b[18:20])
	v.Salt, v.Nonce = b[20:36], b[68:80]
	if v.EncryptionKey, v.Commitment = v.keys(b[:36]); !bytes.Equal(v.Commitment, b[36:68]) {
		return v, errors.New("another commitment")
	}
	var plain []byte
	gcm(v.EncryptionKey, func(a cipher.AEAD) { plain, err = a.Open(nil, v.Nonce, b[80:], v.additional(b[:36])) })
	if err != nil {
		return v, err
	}
	n := binary.BigEndian.Uint16(plain)
	v.Space, plain = string(plain[2:2+n]), plain[2+n:]
	n = binary.BigEndian.Uint16(plain)
	v.Subject, v.Payload = string(plain[2:2+n]), plain[2+n:]
	return v, nil
}

// nonceOfOnesOwn tries what gcm does where it is enforced.
func nonceOfOnesOwn() error {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return err
	}
	_, err = cipher.NewGCM(block)
	return err
}
