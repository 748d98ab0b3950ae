package mpc

import (
	"bytes"
	"errors"
	"testing"
)

// TestEnvelopes: a share opens for the party and purpose that it was sealed for, and for no other.
func TestEnvelopes(t *testing.T) {
	key, err := NewEnvelopeKey()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if key, err = ParseEnvelopeKey(stored); err != nil {
		t.Fatal(err)
	}
	public, err := ParseEnvelopePublicKey(key.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	share := SplitPacked(make([]uint32, 512))[1]
	e := Envelope{Cluster: "c", Tenant: [16]byte{1}, RID: [16]byte{2}, Op: "verify", Nonce: []byte{3}, Party: 1}
	sealed, err := e.Seal(public, share)
	if err != nil || len(sealed) != len(share)+1136 || bytes.Contains(sealed, share[:16]) {
		t.Fatal(len(sealed), err)
	}
	if got, err := e.Open(key, sealed); err != nil || !bytes.Equal(got, share) {
		t.Fatal(err)
	}
	for name, change := range map[string]func(e *Envelope){
		"cluster": func(e *Envelope) { e.Cluster = "d" },
		"tenant":  func(e *Envelope) { e.Tenant[0]++ },
		"rid":     func(e *Envelope) { e.RID[15]++ },
		"op":      func(e *Envelope) { e.Op = "enrol" },
		"nonce":   func(e *Envelope) { e.Nonce = []byte{4} },
		"party":   func(e *Envelope) { e.Party = 2 },
		"split":   func(e *Envelope) { e.Op, e.Nonce = "verif", []byte{'y', 3} },
	} {
		other := e
		change(&other)
		if _, err := other.Open(key, sealed); !errors.Is(err, ErrEnvelope) {
			t.Errorf("another %s: %v", name, err)
		}
	}
	stranger, err := NewEnvelopeKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Open(stranger, sealed); !errors.Is(err, ErrEnvelope) {
		t.Errorf("another key: %v", err)
	}
	sealed[len(sealed)-1] ^= 1
	for _, b := range [][]byte{sealed, sealed[:100], nil} {
		if _, err := e.Open(key, b); !errors.Is(err, ErrEnvelope) {
			t.Errorf("%d bytes, damaged: %v", len(b), err)
		}
	}
}
