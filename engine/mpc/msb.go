package mpc

import (
	"encoding/binary"
	"slices"
	"sync"
)

// planes are a party's shares of bits, replicated, XOR: planes of a number of words each, one after the other. Word w of
// plane j has bit j of lanes 64w to 64w+63.
type planes struct{ own, next []uint64 }

// cut is words from to to.
func (p planes) cut(from, to int) planes { return planes{p.own[from:to], p.next[from:to]} }

func (p planes) clone() planes { return planes{slices.Clone(p.own), slices.Clone(p.next)} }

func (p planes) xor(q planes) {
	for i := range p.own {
		p.own[i] ^= q.own[i]
		p.next[i] ^= q.next[i]
	}
}

// and writes this party's part of x AND y, without its share of zero, and returns what is left of dst.
func and(dst []byte, x, y planes) []byte {
	n := len(x.own)
	xn, yo, yn := x.next[:n], y.own[:n], y.next[:n]
	for i, xo := range x.own {
		binary.LittleEndian.PutUint64(dst[8*i:], xo&(yo[i]^yn[i])^xn[i]&yo[i])
	}
	return dst[8*n:]
}

// load reads bits that were made by and, hidden: own is what this party sent, next what came from the next.
func (p planes) load(own, next []byte) {
	for i := range p.own {
		p.own[i] = binary.LittleEndian.Uint64(own[8*i:])
		p.next[i] = binary.LittleEndian.Uint64(next[8*i:])
	}
}

// adder finds the signs of lanes of numbers of which a party has two of three additive components, in the ring Z_2^bits.
//
// The components are, bit by bit, themselves replicated shares (wᵢ, 0, 0), so that the first carry-save addition costs
// one AND, their majority, of which each party's part is wᵢ ∧ wᵢ₊₁; the sum of sum and carry costs one AND a position and
// a tree of carries (Kogge and Stone 1973; here without what the top bit does not need). A round:
//
//	0    majority of positions 0 … bits−2                  bits−1 words a word of lanes
//	1    generate: sum ∧ carry, positions 1 … bits−2       bits−2
//	2 …  groups of carries, two into one                   29, 13, 7, 3, 1 for 32 bits; 13, 5, 3, 1 … for 16
//
// It is driven by a session: size, fill, then absorb, for each round; sign is its result.
type adder struct {
	bits, words int
	sum, carry  planes // of all positions; carry of position 0 is 0
	g, p        planes // generate and propagate of groups, lowest first
	groups      int
}

// newAdder is for words × 64 lanes; the caller sets its sum, bits planes of them, to the components. Planes of a small one
// come from those that were given back.
func newAdder(bits, words int) *adder {
	a, ok := adders.Get().(*adder)
	if !ok {
		a = new(adder)
	}
	a.bits, a.words, a.groups = bits, words, 0
	a.sum.reset(bits * words)
	a.carry.reset(bits * words)
	a.g.reset((bits - 2) * words)
	return a
}

const keptWords = 1 << 15 // of an adder that is given back: some 1.5 MB

var adders sync.Pool

// release gives a back. Nothing of it may be used any more.
func (a *adder) release() {
	if cap(a.sum.own) <= keptWords {
		adders.Put(a)
	}
}

// reset makes p n words, 0.
func (p *planes) reset(n int) {
	p.own = append(p.own[:0], make([]uint64, n)...)
	p.next = append(p.next[:0], make([]uint64, n)...)
}

// rounds is how many messages the adder sends.
func (a *adder) rounds() int {
	n := 2
	for groups := a.bits - 2; groups > 1; groups = (groups + 1) / 2 {
		n++
	}
	return n
}

// size is the bytes of the message of a round, 0 after the last.
func (a *adder) size(round int) int {
	switch {
	case round >= a.rounds():
		return 0
	case round == 0:
		return 8 * a.words * (a.bits - 1)
	case round == 1:
		return 8 * a.words * (a.bits - 2)
	}
	return 8 * a.words * (2*(a.groups/2) - 1)
}

// fill writes the message of a round, before it is hidden.
func (a *adder) fill(round int, out []byte) {
	switch {
	case round >= a.rounds():
	case round == 0:
		for i := range a.words * (a.bits - 1) {
			binary.LittleEndian.PutUint64(out[8*i:], a.sum.own[i]&a.sum.next[i])
		}
	case round == 1:
		and(out, a.inner(a.sum), a.inner(a.carry))
	default:
		for i := range a.groups / 2 {
			out = and(out, a.group(a.p, 2*i+1), a.group(a.g, 2*i))
		}
		for i := 1; i < a.groups/2; i++ {
			out = and(out, a.group(a.p, 2*i+1), a.group(a.p, 2*i))
		}
	}
}

// absorb takes the message of a round, as it was sent, and the one that came.
func (a *adder) absorb(round int, own, next []byte) {
	switch {
	case round >= a.rounds():
	case round == 0:
		a.carry.cut(a.words, a.bits*a.words).load(own, next)
	case round == 1:
		a.groups = a.bits - 2
		a.g.load(own, next)
		a.p = a.inner(a.sum) // no more needed as it is
		a.p.xor(a.inner(a.carry))
	default:
		a.merge(own, next)
	}
}

// merge makes groups 2i and 2i+1 group i; where they are odd, the last goes on alone. Groups are written over in place.
func (a *adder) merge(own, next []byte) {
	pairs, n := a.groups/2, 8*a.words
	p := n * pairs // where the products of propagates begin
	for i := range pairs {
		g := a.group(a.g, i)
		high := a.group(a.g, 2*i+1)
		for w := range g.own {
			g.own[w] = high.own[w] ^ binary.LittleEndian.Uint64(own[n*i+8*w:])
			g.next[w] = high.next[w] ^ binary.LittleEndian.Uint64(next[n*i+8*w:])
		}
		if i > 0 {
			a.group(a.p, i).load(own[p+n*(i-1):], next[p+n*(i-1):])
		}
	}
	if a.groups%2 == 1 {
		for _, x := range []planes{a.g, a.p} {
			to, from := a.group(x, pairs), a.group(x, a.groups-1)
			copy(to.own, from.own)
			copy(to.next, from.next)
		}
	}
	a.groups = (a.groups + 1) / 2
}

// sign is the top bit of each lane, 1 for negative.
func (a *adder) sign() planes {
	top := (a.bits - 1) * a.words
	s := a.sum.cut(top, top+a.words)
	s.xor(a.carry.cut(top, top+a.words))
	s.xor(a.group(a.g, 0))
	return s
}

// inner is positions 1 to bits−2.
func (a *adder) inner(x planes) planes { return x.cut(a.words, (a.bits-1)*a.words) }

func (a *adder) group(x planes, i int) planes { return x.cut(i*a.words, (i+1)*a.words) }

// slice32 writes at most 64 lanes into word w of planes of n words each: a transposition of bits, 32 × 32 of two halves
// at once (Warren, Hacker's Delight, section 7-3).
func slice32(dst []uint64, w, n int, lanes []uint32) {
	var a [32]uint64
	for i, v := range lanes {
		a[i%32] |= uint64(v) << (32 * (i / 32))
	}
	mask := uint64(0x0000ffff_0000ffff)
	for j := 16; j > 0; j >>= 1 {
		for k := 0; k < 32; k = (k + j + 1) &^ j {
			t := (a[k]>>j ^ a[k|j]) & mask
			a[k|j] ^= t
			a[k] ^= t << j
		}
		mask ^= mask << (j / 2)
	}
	for j, v := range a {
		dst[j*n+w] = v
	}
}

// slice16 does so for 16 bits: 16 × 16 of four quarters at once.
func slice16(dst []uint64, w, n int, lanes []uint16) {
	var a [16]uint64
	if len(lanes) == 64 {
		l := (*[64]uint16)(lanes)
		for i := range a {
			a[i] = uint64(l[i]) | uint64(l[i+16])<<16 | uint64(l[i+32])<<32 | uint64(l[i+48])<<48
		}
	} else {
		for i, v := range lanes {
			a[i%16] |= uint64(v) << (16 * (i / 16))
		}
	}
	mask := uint64(0x00ff00ff_00ff00ff)
	for j := 8; j > 0; j >>= 1 {
		for k := 0; k < 16; k = (k + j + 1) &^ j {
			t := (a[k]>>j ^ a[k|j]) & mask
			a[k|j] ^= t
			a[k] ^= t << j
		}
		mask ^= mask << (j / 2)
	}
	for j, v := range a {
		dst[j*n+w] = v
	}
}
