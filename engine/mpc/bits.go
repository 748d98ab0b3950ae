package mpc

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// Bits are a party's shares of what came of a session, in words: N answers, bit i%64 of word i/64, 1 for a match, bits behind
// N 0; then a verdict of each of Probes probes, 0 where it passed its checks. Otherwise the verdict is random, but for a
// probability of 2^-64 not 0, and so are the answers to the probe, which tell nothing. The shares are fresh: of all that fit,
// each is as likely.
type Bits struct {
	N, Probes int
	Own, Next []uint64
}

// words is how many words each component has.
func (b Bits) words() int { return wordsOf(b.N) + b.Probes }

// matches are the first n signs, turned round: what is not negative matches.
func (s *Session) matches(n int, signs planes) planes {
	m := signs.cut(0, wordsOf(n)).clone()
	for i := range m.own {
		switch s.Index {
		case 0:
			m.own[i] = ^m.own[i]
		case 2:
			m.next[i] = ^m.next[i]
		}
	}
	return m
}

// reshare makes of a party's parts of bits, which XOR to them, two components again, fresh.
func (s *Session) reshare(parts []uint64) (planes, error) {
	out := make([]byte, 0, 8*len(parts))
	for _, v := range parts {
		out = binary.LittleEndian.AppendUint64(out, v)
	}
	s.masks.hide(out)
	in, err := s.exchange(out)
	if err != nil {
		return planes{}, err
	}
	p := planes{parts, make([]uint64, len(parts))}
	p.load(out, in)
	return p, nil
}

// outcome is of n answers and then the verdicts.
func outcome(n int, answers, verdicts planes) Bits {
	b := Bits{n, len(verdicts.own), append(answers.own, verdicts.own...), append(answers.next, verdicts.next...)}
	if n%64 != 0 {
		used := uint64(1)<<(n%64) - 1
		b.Own[n/64] &= used
		b.Next[n/64] &= used
	}
	return b
}

// combinations are this party's parts of n sums (XOR) of bits of f, each over a random set of them. The sets are shared as f
// is, by the keys of the links, so that no party and no gateway knows any: a sum tells whether all bits are 0, with a
// probability of a half, and nothing else.
func (m *masks) combinations(n int, f planes) []uint64 {
	sums, words := make([]uint64, wordsOf(n)), len(f.own)
	for from := 0; from < n; {
		k := min(n-from, 1+4096/words) // some 64 KiB of random numbers at a time
		a, b := m.draw(8 * words * k)
		for c := range k {
			sum := uint64(0)
			for w, own := range f.own {
				at := 8 * (c*words + w)
				sum ^= binary.LittleEndian.Uint64(a[at:])&(own^f.next[w]) ^ binary.LittleEndian.Uint64(b[at:])&own
			}
			sums[(from+c)/64] |= uint64(bits.OnesCount64(sum)&1) << ((from + c) % 64)
		}
		from += k
	}
	return sums
}

// OpenBits puts the parties' shares together: bit i tells whether item or row i matches. Errors: ErrProbe, with the first
// probe that failed a check; ErrResult: a component, of which each comes twice, comes otherwise the second time, as a party, or
// what carried its answer, is at fault. Then there is no answer.
func OpenBits(of [Parties]Bits) ([]bool, error) {
	match, failed, err := openBits(of)
	if err == nil {
		err = firstFailed(failed)
	}
	if err != nil {
		return nil, err
	}
	return match, nil
}

// openBits tells of each probe whether it failed a check; then what is said to match is noise. Errors: ErrResult.
func openBits(of [Parties]Bits) (match, failed []bool, err error) {
	n, words := of[0].N, of[0].words()
	for i, b := range of {
		if b.N != n || b.Probes != of[0].Probes || len(b.Own) != words || !slices.Equal(b.Next, of[(i+1)%Parties].Own) {
			return nil, nil, fmt.Errorf("%w: those of parties %d and %d", ErrResult, i, (i+1)%Parties)
		}
	}
	open := make([]uint64, words)
	for i := range open {
		open[i] = of[0].Own[i] ^ of[1].Own[i] ^ of[2].Own[i]
	}
	match, failed = make([]bool, n), make([]bool, of[0].Probes)
	for i := range match {
		match[i] = open[i/64]>>(i%64)&1 != 0
	}
	for i, verdict := range open[wordsOf(n):] {
		failed[i] = verdict != 0
	}
	return match, failed, nil
}

func firstFailed(failed []bool) error {
	if i := slices.Index(failed, true); i >= 0 {
		return &ProbeError{i, FailedVector}
	}
	return nil
}
