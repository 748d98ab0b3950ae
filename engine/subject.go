package engine

import (
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"slices"
)

// A person's row is 0x02 ‖ wrapped key[subjectWrapped] ‖ nonce[12] ‖ ciphertext ‖ tag[16], and a template's or photo's 0x02 ‖
// nonce[12] ‖ ciphertext ‖ tag[16]; rows that begin with sealVersion are of before format 5, under the tenant's data key.
const (
	subjectVersion  = 2
	subjectLabel    = "mien/rec/v2"
	subjectKeyBytes = 32
	subjectWrapped  = subjectKeyBytes + sealOverhead
	subjectOverhead = 1 + 12 + 16
)

// subjectKey seals the rows of one person in one gallery, from when the person is put to when they are put again or
// deleted (K1). Safe for concurrent use.
type subjectKey struct {
	aead    cipher.AEAD // nil after forget
	wrapped []byte      // the key, sealed by a version of the tenant's
}

func subjectPlace(g *gallery, id string) place {
	return place{kind: kindSubjectKey, tenant: g.tenant, gallery: g.record.Number, person: id}
}

// newSubjectKey makes a key for a person. REQUIRES: the turn (K4).
func (g *gallery) newSubjectKey(id string) *subjectKey {
	var room [subjectKeyBytes]byte
	key := room[:]
	rand.Read(key) // never fails (crypto/rand)
	defer clear(key)
	aead, err := newAEAD(key)
	must(err) // the length is right
	return &subjectKey{aead, g.seal.ring.current().seal(subjectPlace(g, id), key)}
}

// unwrap opens a person's key; wrapped is retained, and nil is the tenant's data key. Errors: ErrCorrupt.
func (g *gallery) unwrap(id string, wrapped []byte) (*subjectKey, error) {
	if wrapped == nil {
		return nil, nil
	}
	var room [subjectKeyBytes]byte
	key, err := g.seal.ring.open(room[:0], subjectPlace(g, id), wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	aead, err := newAEAD(key)
	if err != nil {
		return nil, fmt.Errorf("%w: a person's key: %w", ErrCorrupt, err)
	}
	return &subjectKey{aead, wrapped}, nil
}

// forget drops what opens rows, and keeps what it can be had from.
func (k *subjectKey) forget() {
	if k != nil {
		k.aead = nil
	}
}

// sealed is what unwrap takes.
func (k *subjectKey) sealed() []byte {
	if k == nil {
		return nil
	}
	return k.wrapped
}

func (k *subjectKey) seal(p place, plain []byte) []byte {
	return k.appendSeal(make([]byte, 0, subjectOverhead+len(plain)), p, plain)
}

// appendSeal appends what seal returns.
func (k *subjectKey) appendSeal(dst []byte, p place, plain []byte) []byte {
	return k.appendSealed(append(dst, subjectVersion), p, plain)
}

func (k *subjectKey) appendSealed(dst []byte, p place, plain []byte) []byte {
	room := aadRooms.Get().(*aadRoom)
	defer aadRooms.Put(room)
	return k.aead.Seal(dst, nil, plain, p.appendAAD(room[:0], subjectLabel, subjectVersion))
}

// open appends the plain text of what seal returned to dst. Errors: ErrCorrupt, also for a value out of its place.
func (k *subjectKey) open(dst []byte, p place, sealed []byte) ([]byte, error) {
	if len(sealed) < subjectOverhead || sealed[0] != subjectVersion {
		return nil, fmt.Errorf("%w: sealed %s has a bad header", ErrCorrupt, p.kind)
	}
	return k.openSealed(dst, p, sealed[1:])
}

func (k *subjectKey) openSealed(dst []byte, p place, sealed []byte) ([]byte, error) {
	room := aadRooms.Get().(*aadRoom)
	defer aadRooms.Put(room)
	plain, err := k.aead.Open(dst, nil, sealed, p.appendAAD(room[:0], subjectLabel, subjectVersion))
	if err != nil {
		return nil, fmt.Errorf("%w: sealed %s does not open in its place", ErrCorrupt, p.kind)
	}
	return plain, nil
}

// sealPerson makes a person's row.
func (k *subjectKey) sealPerson(p place, plain []byte) []byte {
	out := append(make([]byte, 0, subjectWrapped+subjectOverhead+len(plain)), subjectVersion)
	return k.appendSealed(append(out, k.wrapped...), p, plain)
}

// splitPerson cuts a person's row; wrapped is nil for one of before format 5, and sealed then all of it. Both alias row. Errors:
// ErrCorrupt.
func splitPerson(row []byte) (wrapped, sealed []byte, err error) {
	switch {
	case len(row) > 0 && row[0] == sealVersion:
		return nil, row, nil
	case len(row) < subjectWrapped+subjectOverhead || row[0] != subjectVersion:
		return nil, nil, fmt.Errorf("%w: sealed %s has a bad header", ErrCorrupt, kindPerson)
	}
	return row[1 : 1+subjectWrapped], row[1+subjectWrapped:], nil
}

// openRow opens a template or photo under its person's key, nil where that is the tenant's data key. Errors: ErrCorrupt.
func (g *gallery) openRow(dst []byte, k *subjectKey, p place, sealed []byte) ([]byte, error) {
	if k == nil {
		return g.seal.open(dst, p, sealed)
	}
	return k.open(dst, p, sealed)
}

// sealRow is the inverse of openRow.
func (g *gallery) sealRow(k *subjectKey, p place, plain []byte) []byte {
	if k == nil {
		return g.seal.seal(p, plain)
	}
	return k.seal(p, plain)
}

// openPerson opens a person's row; the record has the key that its templates and photos are sealed with, and nothing of
// it aliases row. Errors: ErrCorrupt.
func (g *gallery) openPerson(id string, row []byte) (*personRecord, error) {
	wrapped, sealed, err := splitPerson(row)
	if err != nil {
		return nil, err
	}
	var k *subjectKey
	var plain []byte
	if k, err = g.unwrap(id, slices.Clone(wrapped)); err != nil {
		return nil, err
	}
	if k == nil {
		plain, err = g.seal.open(nil, g.personPlace(id), sealed)
	} else {
		plain, err = k.openSealed(nil, g.personPlace(id), sealed)
	}
	if err != nil {
		return nil, err
	}
	r, err := parsePersonRecord(plain)
	if err != nil {
		return nil, err
	}
	r.key = k
	return r, nil
}
