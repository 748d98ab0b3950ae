package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
)

const (
	keySize = 32
	maxKeys = 64
)

// Key is a tenant's secret for tokens.
type Key struct {
	ID     uint32 // on the wire; a tenant's keys have different ones
	Secret []byte // 32 random bytes, or bytes derived from such, used for nothing else
}

// ring is an immutable set of keys; the first seals.
type ring struct {
	ids     []uint32
	secrets [][keySize]byte
}

// SetKeys replaces the keys at once, for what is sealed and opened from now on: the first seals, all open. A new key
// goes first, an old one stays until its tokens have expired, and what is left out revokes its tokens. Secrets are
// copied. Errors: ErrInvalid, which leaves the keys as they were, for none or more than 64 keys, a repeated ID, a
// secret of another size or of zeros.
func (s *Sealer) SetKeys(keys ...Key) error {
	if len(keys) == 0 || len(keys) > maxKeys {
		return invalid("%d keys: from 1 to %d are possible", len(keys), maxKeys)
	}
	r := &ring{secrets: make([][keySize]byte, len(keys))}
	for i, k := range keys {
		if len(k.Secret) != keySize {
			return invalid("key %d has %d bytes and needs %d", k.ID, len(k.Secret), keySize)
		}
		if copy(r.secrets[i][:], k.Secret); r.secrets[i] == [keySize]byte{} {
			return invalid("key %d is zero", k.ID)
		}
		if r.secret(k.ID) != nil {
			return invalid("key %d is there twice", k.ID)
		}
		r.ids = append(r.ids, k.ID)
	}
	s.keys.Store(r)
	return nil
}

// secret returns the secret of an ID, or nil.
func (r *ring) secret(id uint32) *[keySize]byte {
	for i, known := range r.ids {
		if known == id {
			return &r.secrets[i]
		}
	}
	return nil
}

// derive returns what a token is sealed with, from the context A of the layout: AES-256-GCM under the first half of
// HKDF-SHA-256 (RFC 5869), and the second half, the commitment.
func derive(secret *[keySize]byte, salt, context []byte) (cipher.AEAD, []byte, error) {
	k, err := hkdf.Key(sha256.New, secret[:], salt, string(context), keySize+commitmentSize)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(k[:keySize])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return aead, k[keySize:], err
}
