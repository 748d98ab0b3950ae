package mpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// checks are of a session's probes, before anyone gets an answer (M5, M6, M7).
//
//   - A tag of each probe for each component: the SHA-256 of what the session is about and of the component. Two parties
//     hold it, and must be of one mind. Who sends it holds what it is made of, and so does who gets it.
//   - The norm: n − lo and hi − n must not be negative.
//   - The bound: no yⱼ + B and B − yⱼ may be negative. In the ring that says |yⱼ| ≤ B, whatever the gateway made of
//     shares; and then n is below 2^32, so that the norm means what it says.
//
// Nobody sees the signs of the last two. Were they opened among the parties, one that adds errors to the ANDs could have
// each component compared with a number of its choice and read the answer: an honest probe passes all checks, but not all
// that a cheat makes of them. So the answers to a probe are made random by sums of its signs over random sets, and other
// such sums are the verdict, which goes to the gateway: 0, or a random number that says that a check failed and no more
// (combinations). Parties learn nothing of what they compute, whatever they do to it.
type checks struct {
	s      *Session
	op     string
	n      int // probes there will be
	rows   int // of a gallery
	probes []Share
	buf    []byte
	tags   []byte // what this party sends: of its own components
	expect []byte // what must come from the next
}

func newChecks(s *Session, op string, n int) *checks {
	size := n * sha256.Size
	return &checks{s: s, op: op, n: n, probes: make([]Share, 0, n), tags: make([]byte, 0, size), expect: make([]byte, 0, size)}
}

// add takes the next probe.
func (c *checks) add(probe Share, threshold int32, context [32]byte) {
	s := c.s
	own := c.tag(probe.Own, s.Index, s.Prev.Epoch, threshold, context)
	next := c.tag(probe.Next, (s.Index+1)%Parties, s.Next.Epoch, threshold, context)
	c.tags, c.expect = append(c.tags, own[:]...), append(c.expect, next[:]...)
	c.probes = append(c.probes, probe)
}

// tag is of component i, under the epoch of the two that hold it.
func (c *checks) tag(y []uint32, i int, epoch [8]byte, threshold int32, context [32]byte) [sha256.Size]byte {
	p := c.s.Params
	b := append(append(c.buf[:0], "mien mpc "...), c.op...)
	b = append(b, 0, byte(i), byte(c.s.Check), byte(p.LogScale))
	b = append(b, epoch[:]...)
	b = binary.LittleEndian.AppendUint64(b, c.s.SID)
	for _, v := range []uint32{uint32(p.Dim), uint32(p.Bound), uint32(c.rows), uint32(len(c.probes)), uint32(c.n), uint32(threshold)} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	c.buf = appendComponent(append(b, context[:]...), y)
	return sha256.Sum256(c.buf)
}

// compare compares the tags that came.
func (c *checks) compare(in []byte) error {
	for i := range c.probes {
		if at := i * sha256.Size; !bytes.Equal(in[at:at+sha256.Size], c.expect[at:at+sha256.Size]) {
			return &ProbeError{i, FailedContext}
		}
	}
	return nil
}

// words is how many words of lanes the checks take: the norms less lo, hi less the norms, and of each probe the
// components plus B and B less the components, each from a word of its own on.
func (c *checks) words() int { return 2*wordsOf(c.n) + c.n*c.wordsEach() }

// wordsEach is those of one probe's components.
func (c *checks) wordsEach() int {
	if c.s.Check == CheckNorm {
		return 0
	}
	return 2 * wordsOf(c.s.Params.Dim)
}

// lanes gives them to a, from word w on.
func (c *checks) lanes(a *adder, w int, norms Share) {
	lo, hi := c.s.Params.norms()
	w = c.both(a, w, norms, -lo, hi)
	if c.wordsEach() == 0 {
		return
	}
	for _, y := range c.probes {
		w = c.both(a, w, y, uint32(c.s.Params.Bound), uint32(c.s.Params.Bound))
	}
}

// both gives lanes of v + below and above − v, and returns the word behind them.
func (c *checks) both(a *adder, w int, v Share, below, above uint32) int {
	n := wordsOf(len(v.Own))
	for i := range n {
		from, to := 64*i, min(64*i+64, len(v.Own))
		var plus, minus [2][64]uint32
		for k, part := range [2][]uint32{v.Own[from:to], v.Next[from:to]} {
			for j, x := range part {
				plus[k][j], minus[k][j] = x, -x
			}
		}
		p := Share{plus[0][:to-from], plus[1][:to-from]}
		m := Share{minus[0][:to-from], minus[1][:to-from]}
		c.s.plus(p, below)
		c.s.plus(m, above)
		a.lanes(w+i, p)
		a.lanes(w+n+i, m)
	}
	return w + 2*n
}

// verdictBits is how many sums of a probe's checks the gateway is told: that many are all 0 for one that failed with a
// probability of 2^-64.
const verdictBits = 64

// failed are probe i's checks, of the signs of all: norm, then components.
func (c *checks) failed(signs planes, i int) planes {
	m, each := wordsOf(c.n), c.wordsEach()
	at := 2*m + i*each
	of := func(v []uint64) []uint64 {
		return append([]uint64{v[i/64]>>(i%64)&1 | v[m+i/64]>>(i%64)&1<<1}, v[at:at+each]...)
	}
	return planes{of(signs.own), of(signs.next)}
}

// lanes cuts shared numbers into a's sum, from word w on.
func (a *adder) lanes(w int, c Share) {
	for i := 0; i < len(c.Own); i += 64 {
		end := min(i+64, len(c.Own))
		slice32(a.sum.own, w+i/64, a.words, c.Own[i:end])
		slice32(a.sum.next, w+i/64, a.words, c.Next[i:end])
	}
}

func (a *adder) shortLanes(c ShortShare) {
	for i := 0; i < len(c.Own); i += 64 {
		end := min(i+64, len(c.Own))
		slice16(a.sum.own, i/64, a.words, c.Own[i:end])
		slice16(a.sum.next, i/64, a.words, c.Next[i:end])
	}
}

// wordsOf is how many words hold n bits.
func wordsOf(n int) int { return (n + 63) / 64 }
