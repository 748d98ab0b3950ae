package mpc

import (
	"crypto/rand"
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

// newTx names a transaction of a gateway: its first two bytes say whose, so that a party in doubt tells who began it and nobody else.
func newTx(gateway uint16) ID {
	id := newID()
	id[0], id[1] = byte(gateway>>8), byte(gateway)
	return id
}

func gatewayOf(tx ID) uint16 { return uint16(tx[0])<<8 | uint16(tx[1]) }
