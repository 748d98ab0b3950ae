package engine

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
)

const (
	sealVersion    = 1
	firstKey       = 1 // key version; rotation counts up from here
	sealHeaderSize = 1 + 4
	sealOverhead   = sealHeaderSize + 12 + 16
)

// Kinds of sealed values, part of their additional data.
const (
	kindMasterCheck = "master-check"
	kindDataKey     = "data-key"
	kindPerson      = "person"
	kindTemplate    = "template"
	kindPhoto       = "photo"
	kindAPIKey      = "api-key"
	kindGallery     = "gallery"
	kindAudit       = "audit"
	kindSubjectKey  = "subject-key"
	kindRoot        = "root"
	kindJob         = "job"
	kindJobResult   = "job-result"
	kindDocument    = "document"
	kindOnce        = "request"
	kindOnceKey     = "request-key"
	kindOnceAnswer  = "request-answer"
)

// place says where a sealed value belongs; a value opens only in its place.
type place struct {
	kind    string
	tenant  string
	gallery uint64
	person  string
	number  uint32
	space   string
}

// appendAAD encodes the place, behind a label, so that no two places have the same bytes: strings carry their length.
func (p place) appendAAD(dst []byte, label string, keyVersion uint32) []byte {
	dst = append(dst, label...)
	for _, s := range []string{p.kind, p.tenant, p.person, p.space} {
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(s)))
		dst = append(dst, s...)
	}
	dst = binary.BigEndian.AppendUint64(dst, p.gallery)
	dst = binary.BigEndian.AppendUint32(dst, p.number)
	return binary.BigEndian.AppendUint32(dst, keyVersion)
}

// aadRoom is where additional data is put together, which would be an allocation for each value: a call by an interface lets it escape.
type aadRoom [256]byte

var aadRooms = sync.Pool{New: func() any { return new(aadRoom) }}

// sealLabel begins the additional data of what a sealer seals.
const sealLabel = "mien/rec/v1"

// sealer seals and opens values under one key. Safe for concurrent use.
type sealer struct {
	aead    cipher.AEAD
	pseudo  []byte // HKDF's pseudorandom key, from which others are derived
	version uint32 // of the key
}

// newAEAD is AES-256-GCM with random nonces under a 32-byte key, which is not retained.
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return aead, nil
}

// newSealer takes the first version of a 32-byte key, which is not retained.
func newSealer(key []byte) (*sealer, error) { return newSealerOf(firstKey, key) }

func newSealerOf(version uint32, key []byte) (*sealer, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	pseudo, err := hkdf.Extract(sha256.New, key, nil)
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	return &sealer{aead, pseudo, version}, nil
}

// derive returns 32 bytes for another purpose of the same key: HKDF-SHA-256 (RFC 5869) without salt, as the key is
// random.
func (s *sealer) derive(info string) []byte {
	key, err := hkdf.Expand(sha256.New, s.pseudo, info, 32)
	must(err) // fails only for thousands of bytes
	return key
}

func (s *sealer) seal(p place, plain []byte) []byte {
	out := make([]byte, sealHeaderSize, len(plain)+sealOverhead)
	out[0] = sealVersion
	binary.BigEndian.PutUint32(out[1:], s.version)
	room := aadRooms.Get().(*aadRoom)
	defer aadRooms.Put(room)
	return s.aead.Seal(out, nil, plain, p.appendAAD(room[:0], sealLabel, s.version))
}

// open appends the plain text of a sealed value to dst. Errors: ErrCorrupt, also for a value out of its place.
func (s *sealer) open(dst []byte, p place, sealed []byte) ([]byte, error) {
	version, err := keyVersionOf(p, sealed)
	if err != nil {
		return nil, err
	}
	if version != s.version {
		return nil, fmt.Errorf("%w: sealed %s has key version %d", ErrCorrupt, p.kind, version)
	}
	room := aadRooms.Get().(*aadRoom)
	defer aadRooms.Put(room)
	plain, err := s.aead.Open(dst, nil, sealed[sealHeaderSize:], p.appendAAD(room[:0], sealLabel, version))
	if err != nil {
		return nil, fmt.Errorf("%w: sealed %s does not open in its place", ErrCorrupt, p.kind)
	}
	return plain, nil
}

// keyVersionOf is the version of the key that a value is sealed with. Errors: ErrCorrupt.
func keyVersionOf(p place, sealed []byte) (uint32, error) {
	if len(sealed) < sealOverhead || sealed[0] != sealVersion {
		return 0, fmt.Errorf("%w: sealed %s has a bad header", ErrCorrupt, p.kind)
	}
	return binary.BigEndian.Uint32(sealed[1:]), nil
}

func keyPlace(id string) place { return place{kind: kindAPIKey, person: id} }

func galleryPlace(tenant, name string) place {
	return place{kind: kindGallery, tenant: tenant, person: name}
}

// sealRecord seals what says who may do what, not to hide it but so that nobody without the master key can add a
// key, or turn a gallery's policy or number.
func (s *store) sealRecord(p place, v any) []byte { return s.master.seal(p, appendJSONRecord(v)) }

// openRecord is the inverse of sealRecord. Errors: ErrCorrupt.
func (s *store) openRecord(p place, value []byte, v any) error {
	plain, err := s.master.open(nil, p, value)
	if err != nil {
		return err
	}
	return parseJSONRecord(plain, v)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	return b
}
