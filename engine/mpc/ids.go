package mpc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
)

// ID names a tenant, a person, a template or a transaction: 16 bytes that tell nothing of whom they name. A person's ID, the rid,
// is an HMAC of the user id under a key that only the gateway has.
type ID [16]byte

// String returns 32 hex digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Subject is a person of a tenant, as parties know them.
type Subject struct{ Tenant, RID ID }

func newID() (id ID) {
	rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

// templateOf names the template that somebody is enrolled with: a hash of a secret that the gateway draws, and tells when it has decided. So
// who knows the secret knows the decision, and a template's name is of one person.
func templateOf(of Subject, secret ID) ID {
	sum := sha256.Sum256(append(appendSubject([]byte("mien/mpc/template/v1\x00"), of), secret[:]...))
	return ID(sum[:len(ID{})])
}

// newTx names a transaction of a gateway: its first two bytes say whose, so that a party in doubt tells who began it and nobody else.
func newTx(gateway uint16) ID {
	id := newID()
	id[0], id[1] = byte(gateway>>8), byte(gateway)
	return id
}

func gatewayOf(tx ID) uint16 { return uint16(tx[0])<<8 | uint16(tx[1]) }
