package mpc

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
)

// masks is the randomness that a party shares with each neighbour in one session: AES-256-CTR under the key of their
// link, with an IV of the session's id (M4). Both ends of a link draw the same bytes for the same messages, and nobody
// has the keys of all three links.
type masks struct {
	prev, next cipher.Stream
	a, b       []byte
}

func newMasks(s *Session) *masks {
	return &masks{prev: stream(&s.Prev.Key, s.SID), next: stream(&s.Next.Key, s.SID)}
}

func stream(key *[32]byte, sid uint64) cipher.Stream {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("BUG: mpc: " + err.Error())
	}
	var iv [aes.BlockSize]byte
	binary.BigEndian.PutUint64(iv[:], sid)
	return cipher.NewCTR(block, iv[:])
}

// hide turns what a party computed of bits into its component of a fresh sharing: it adds (XOR) a share of zero, F(kᵢ) ⊕
// F(kᵢ₊₁).
func (m *masks) hide(b []byte) {
	m.prev.XORKeyStream(b, b)
	m.next.XORKeyStream(b, b)
}

// hideWords does so for sums modulo 2^32: it adds F(kᵢ) − F(kᵢ₊₁).
func (m *masks) hideWords(c []uint32) {
	a, b := m.draw(4 * len(c))
	for i := range c {
		c[i] += binary.LittleEndian.Uint32(a[4*i:]) - binary.LittleEndian.Uint32(b[4*i:])
	}
}

// hideShorts does so modulo 2^16.
func (m *masks) hideShorts(c []uint16) {
	a, b := m.draw(2 * len(c))
	for i := range c {
		c[i] += binary.LittleEndian.Uint16(a[2*i:]) - binary.LittleEndian.Uint16(b[2*i:])
	}
}

func (m *masks) draw(n int) (a, b []byte) {
	m.a, m.b = append(m.a[:0], make([]byte, n)...), append(m.b[:0], make([]byte, n)...)
	m.prev.XORKeyStream(m.a, m.a)
	m.next.XORKeyStream(m.b, m.b)
	return m.a, m.b
}
