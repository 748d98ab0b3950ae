package mpc

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Bits are a party's shares of the answers of a session, N bits, bit i%64 of word i/64: 1 is a match. Bits behind N are 0.
// The shares are fresh: of all that fit the answers, each is as likely.
type Bits struct {
	N         int
	Own, Next []uint64
}

// answers are the first n signs, turned round: what is not negative matches.
func (s *Session) answers(n int, signs planes) Bits {
	b := Bits{n, slices.Clone(signs.own[:wordsOf(n)]), slices.Clone(signs.next[:wordsOf(n)])}
	for i := range b.Own {
		used := ^uint64(0)
		if i == n/64 {
			used = 1<<(n%64) - 1
		}
		switch s.Index {
		case 0:
			b.Own[i] = ^b.Own[i]
		case 2:
			b.Next[i] = ^b.Next[i]
		}
		b.Own[i] &= used
		b.Next[i] &= used
	}
	return b
}

// AppendBits appends the components of b, Own and Next, as u64 little-endian: 16 bytes for up to 64 answers.
func AppendBits(dst []byte, b Bits) []byte {
	for _, c := range [][]uint64{b.Own, b.Next} {
		for _, v := range c {
			dst = binary.LittleEndian.AppendUint64(dst, v)
		}
	}
	return dst
}

// ParseBits reads what AppendBits wrote of n answers. It does not retain p. ErrResult: another length, or bits behind n.
func ParseBits(p []byte, n int) (Bits, error) {
	w := wordsOf(n)
	if n < 1 || n > MaxRows || len(p) != 16*w {
		return Bits{}, fmt.Errorf("%w: %d bytes for %d answers", ErrResult, len(p), n)
	}
	b := Bits{n, make([]uint64, w), make([]uint64, w)}
	for i := range w {
		b.Own[i], b.Next[i] = binary.LittleEndian.Uint64(p[8*i:]), binary.LittleEndian.Uint64(p[8*(w+i):])
	}
	if n%64 != 0 && (b.Own[w-1]|b.Next[w-1])>>(n%64) != 0 {
		return Bits{}, fmt.Errorf("%w: bits behind the %d answers", ErrResult, n)
	}
	return b, nil
}

// OpenBits puts the parties' shares together: bit i tells whether item or row i matches. Each component comes twice;
// ErrResult says that the copies differ: a party, or what carried its answer, is at fault, and there is no answer.
func OpenBits(of [Parties]Bits) ([]bool, error) {
	n := of[0].N
	for i, b := range of {
		if b.N != n || len(b.Own) != wordsOf(n) || !slices.Equal(b.Next, of[(i+1)%Parties].Own) {
			return nil, fmt.Errorf("%w: those of parties %d and %d", ErrResult, i, (i+1)%Parties)
		}
	}
	open := make([]bool, n)
	for i := range open {
		open[i] = (of[0].Own[i/64]^of[1].Own[i/64]^of[2].Own[i/64])>>(i%64)&1 != 0
	}
	return open, nil
}
