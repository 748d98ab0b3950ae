package mpc

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
)

// transcript is what one party sent, by round; answers are round 0.
type transcript struct {
	mu     sync.Mutex
	rounds [maxRound + 1][]byte
}

type recorded struct {
	Peer
	to *transcript
}

func (r recorded) Send(round byte, p []byte) error {
	r.to.mu.Lock()
	r.to.rounds[round] = append([]byte{}, p...)
	r.to.mu.Unlock()
	return r.Peer.Send(round, p)
}

// record runs a session of given keys and sid, and returns what each party sent.
func record(t *testing.T, keys [Parties][32]byte, sid uint64, p Params, run func(s *Session, i int) (Bits, error)) (sent [Parties]*transcript) {
	t.Helper()
	s := trio(p, CheckFull)
	for i := range s {
		sent[i] = new(transcript)
		s[i].SID, s[i].Next.Key, s[(i+1)%Parties].Prev.Key = sid, keys[i], keys[i]
		s[i].Next.Epoch, s[(i+1)%Parties].Prev.Epoch = [8]byte{byte(i)}, [8]byte{byte(i)}
		s[i].Prev.Peer = recorded{s[i].Prev.Peer, sent[i]}
	}
	for _, err := range together(func(i int) error {
		bits, err := run(s[i], i)
		for _, c := range [][]uint64{bits.Own, bits.Next} {
			var b []byte
			for _, w := range c {
				b = binary.LittleEndian.AppendUint64(b, w)
			}
			sent[i].rounds[0] = append(append(sent[i].rounds[0], b[:bits.N/8]...), b[8*wordsOf(bits.N):]...) // without what is always 0
		}
		return err
	}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	return sent
}

func freshKeys() (keys [Parties][32]byte) {
	for i := range keys {
		rand.Read(keys[i][:])
	}
	return keys
}

// runs are the sessions whose messages are looked at, with their inputs fixed: whole bytes of answers.
func runs(t *testing.T) map[string]struct {
	p      Params
	rounds int
	run    func(s *Session, i int) (Bits, error)
} {
	rng := seeded(t)
	long, short := defaults(t, 16, VerifyLogScale), defaults(t, 16, IdentifyLogScale)
	pool, rows := vectors(t, rng, long, 8), vectors(t, rng, short, 64)
	items := itemsOf(pool, append(pool[1:], pool[0]), make([]int32, 8))
	g, probes := galleryOf(rows), probesOf(rows[0], 3000)
	type entry = struct {
		p      Params
		rounds int
		run    func(s *Session, i int) (Bits, error)
	}
	return map[string]entry{
		"verify":   {long, 9, func(s *Session, i int) (Bits, error) { return s.Verify(t.Context(), items[i]) }},
		"identify": {short, 10, func(s *Session, i int) (Bits, error) { return s.Identify(t.Context(), g[i], probes[i]) }},
	}
}

// TestTranscriptHidesInputs looks for four neighbouring components of any template or probe, or of any party's shares of
// them, in all that is sent; and in each round for four numbers of what would be sent if nothing were hidden.
func TestTranscriptHidesInputs(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 64, VerifyLogScale)
	pool := vectors(t, rng, p, 8)
	items := itemsOf(pool, pool, make([]int32, 8))
	var secrets [][]byte
	for k, q := range pool {
		secrets = append(secrets, appendComponent(nil, q), appendShorts(nil, short(q)))
		for i := range items {
			for _, c := range [][]uint32{items[i][k].Template.Own, items[i][k].Probe.Own} {
				secrets = append(secrets, appendComponent(nil, c))
			}
		}
	}
	send := func(keys [Parties][32]byte, sid uint64) [Parties]*transcript {
		return record(t, keys, sid, p, func(s *Session, i int) (Bits, error) { return s.Verify(t.Context(), items[i]) })
	}
	var one [Parties][32]byte // where all links have one key, F(kᵢ) ⊕ F(kᵢ₊₁) and F(kᵢ) − F(kᵢ₊₁) are 0
	sent, bare, again := send(freshKeys(), 9), send(one, 10), send(one, 11)
	for i, tr := range sent {
		for round, message := range tr.rounds {
			if at := leak(message, secrets); at >= 0 {
				t.Errorf("party %d, round %d: a plaintext at byte %d", i, round, at)
			}
			if round == 0 || len(message) == 0 {
				continue
			}
			if at := leak(message, [][]byte{bare[i].rounds[round]}); at >= 0 {
				t.Errorf("party %d, round %d: what is at byte %d is not hidden", i, round, at)
			}
			if round < 9 && leak(again[i].rounds[round], [][]byte{bare[i].rounds[round]}) < 0 { // then sums over sets that each session draws
				t.Errorf("party %d, round %d: where nothing is hidden, nothing is found", i, round)
			}
		}
	}
	if leak(append([]byte("before"), secrets[3][40:60]...), secrets) != 6 {
		t.Error("what looks for leaks finds none where there is one")
	}
}

// leak is where 16 bytes of message are also in one of secrets, aligned there; −1 for nowhere.
func leak(message []byte, secrets [][]byte) int {
	windows := make(map[[16]byte]bool)
	for _, s := range secrets {
		for at := 0; at+16 <= len(s); at += 4 {
			windows[[16]byte(s[at:])] = true
		}
	}
	for at := 0; at+16 <= len(message); at++ {
		if windows[[16]byte(message[at:])] {
			return at
		}
	}
	return -1
}

// TestTranscriptIsUniform has the same inputs, shares and keys, in session after session: what each party sends in each
// round, and its answer, must look like noise, in the distribution of bytes and in each single bit. Chance fails the test
// less than once in 10^9 times. The same session id again and again must be told from that.
func TestTranscriptIsUniform(t *testing.T) {
	sessions := 200
	if testing.Short() {
		sessions = 100
	}
	for name, c := range runs(t) {
		keys := freshKeys()
		var seen [2][Parties][maxRound + 1]noise // with a fresh session id, and with one
		for n := range sessions {
			for k, sid := range []uint64{MakeSID(3, uint64(n)), MakeSID(4, 1)} {
				if k == 1 && n >= 100 {
					continue // of 81 on, a bit that never changes is told
				}
				for i, tr := range record(t, keys, sid, c.p, c.run) {
					for round, message := range tr.rounds {
						seen[k][i][round].add(message)
					}
				}
			}
		}
		for i := range Parties {
			for round := range maxRound + 1 {
				f, a := &seen[0][i][round], &seen[1][i][round]
				if (f.messages == 0) != (round > c.rounds) {
					t.Fatalf("%s: party %d sent %d messages in round %d", name, i, f.messages, round)
				}
				if f.messages == 0 {
					continue
				}
				if err := f.test(); err != nil {
					t.Errorf("%s: party %d, round %d: %v", name, i, round, err)
				}
				if a.test() == nil {
					t.Errorf("%s: party %d, round %d: the same session again and again looks like noise", name, i, round)
				}
			}
		}
	}
}

// cheat is party 0, which adds errors to the products that it sends, and goes on with them as they are.
type cheat struct{ Peer }

func (c cheat) Send(round byte, p []byte) error {
	if round > 1 {
		for i := range p {
			p[i] ^= byte(37*i) | 1
		}
	}
	return c.Peer.Send(round, p)
}

// TestCheatSeesNoise fixes all that a party which cheats knows: its shares, the keys of its links, the session. Then the only key that it has
// not makes what it has of all signs, and what it is sent after, one random vector: as many vectors as there are bits, and some, span the space.
// So no sum of what it has tells anything, of no check either. Were the checks' signs opened among the parties, each would be such a sum.
func TestCheatSeesNoise(t *testing.T) {
	t.Run("verify", func(t *testing.T) {
		p := defaults(t, 4, VerifyLogScale)
		x := vectors(t, seeded(t), p, 1)
		items := itemsOf(x, x, []int32{0})
		cheatSeesNoise(t, p, []int{2}, func(s *Session, i int) (matches, failed planes, err error) {
			return s.verifySigns(newChecks(s, "verify", 1), items[i])
		}, func(s *Session, i int) (Bits, error) { return s.verify(items[i]) })
	})
	t.Run("identify", func(t *testing.T) {
		p := defaults(t, 4, IdentifyLogScale)
		rows := vectors(t, seeded(t), p, 64)
		g, probes := galleryOf(rows), probesOf(rows[0], 0)
		cheatSeesNoise(t, p, []int{2, 1}, func(s *Session, i int) (matches, failed planes, err error) {
			return s.searchSigns(newChecks(s, "identify", 1), g[i], probes[i])
		}, func(s *Session, i int) (Bits, error) { return s.identify(g[i], probes[i]) })
	})
}

// cheatSeesNoise has party 0 cheat, which goes on after the signs with nothing of its own: words in each round that is left.
func cheatSeesNoise(t *testing.T, p Params, rest []int, signs func(s *Session, i int) (matches, failed planes, err error), honest func(s *Session, i int) (Bits, error)) {
	keys := freshKeys()
	var first []byte
	var basis span
	for n := 0; n < 8*len(first)+64 || first == nil; n++ {
		rand.Read(keys[1][:])
		s, sent := trio(p, CheckFull), new(transcript)
		for i := range s {
			s[i].SID, s[i].Next.Key, s[(i+1)%Parties].Prev.Key = 9, keys[i], keys[i]
		}
		s[0].Prev.Peer, s[1].Prev.Peer = cheat{s[0].Prev.Peer}, recorded{s[1].Prev.Peer, sent}
		var seen []byte
		errs := together(func(i int) error {
			_, err := s[i].run(t.Context(), func() (Bits, error) {
				if i != 0 {
					return honest(s[i], i)
				}
				matches, failed, err := signs(s[0], 0)
				for _, words := range [][]uint64{matches.own, matches.next, failed.own, failed.next} {
					for _, w := range words {
						seen = binary.LittleEndian.AppendUint64(seen, w)
					}
				}
				for _, words := range rest {
					if err == nil {
						_, err = s[0].reshare(make([]uint64, words))
					}
				}
				return Bits{}, err
			})
			return err
		})
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
		seen = slices.Concat(append([][]byte{seen}, sent.rounds[9:]...)...)
		if first == nil {
			first = seen
			continue
		}
		for i := range seen {
			seen[i] ^= first[i]
		}
		basis.add(seen)
	}
	if want := 8 * len(first); len(basis) != want {
		t.Errorf("%d of %d bits are open", want-len(basis), want)
	}
}

// span is a basis over GF(2): of each leading bit the vector that has it.
type span map[int][]byte

func (b *span) add(v []byte) {
	if *b == nil {
		*b = make(span)
	}
	for bit := range 8 * len(v) {
		if v[bit/8]>>(bit%8)&1 == 0 {
			continue
		}
		w := (*b)[bit]
		if w == nil {
			(*b)[bit] = v
			return
		}
		for i := range v {
			v[i] ^= w[i]
		}
	}
}

// noise counts bytes, and ones of each bit of a message.
type noise struct {
	messages int
	bytes    [256]int
	ones     []int
}

func (n *noise) add(message []byte) {
	if len(message) == 0 {
		return
	}
	if n.ones == nil {
		n.ones = make([]int, 8*len(message))
	}
	n.messages++
	for i, b := range message {
		n.bytes[b]++
		for j := range 8 {
			n.ones[8*i+j] += int(b >> j & 1)
		}
	}
}

// Two tests of some hundred thousand bits: 9 standard deviations of a bit are passed with a probability of 2e-19, and
// chi squared of 255 degrees of freedom passes 480 with one of 4e-16 (Wilson and Hilferty).
const (
	bitDeviations = 9
	byteChi       = 480
)

func (n *noise) test() error {
	half, std := float64(n.messages)/2, math.Sqrt(float64(n.messages))/2
	for i, ones := range n.ones {
		if math.Abs(float64(ones)-half) > bitDeviations*std {
			return fmt.Errorf("bit %d is 1 in %d of %d messages", i, ones, n.messages)
		}
	}
	total := float64(n.messages * len(n.ones) / 8)
	if total < 256*20 {
		return nil // too few for chi squared
	}
	chi := 0.0
	for _, c := range n.bytes {
		d := float64(c) - total/256
		chi += d * d / (total / 256)
	}
	if chi > byteChi {
		return fmt.Errorf("chi squared of bytes is %.0f", chi)
	}
	return nil
}

// TestTranscriptTellsNoMargin: whatever the score, far from the threshold or next to it on either side, each party sends the same number of bytes in the same rounds.
func TestTranscriptTellsNoMargin(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 64, VerifyLogScale)
	pool := vectors(t, rng, p, 2)
	score := int32(0)
	for j := range pool[0] {
		score += int32(pool[0][j]) * int32(pool[1][j])
	}
	var first [Parties][]int
	for n, threshold := range []int32{score - 1<<23, score - 1, score, score + 1, score + 1<<23} {
		items := itemsOf(pool[:1], pool[1:], []int32{threshold})
		sent := record(t, freshKeys(), uint64(n+1), p, func(s *Session, i int) (Bits, error) { return s.Verify(t.Context(), items[i]) })
		for i, tr := range sent {
			var sizes []int
			for _, message := range tr.rounds {
				sizes = append(sizes, len(message))
			}
			if n == 0 {
				first[i] = sizes
			} else if !slices.Equal(sizes, first[i]) {
				t.Errorf("party %d, threshold %d beside the score: sent %v, want %v", i, threshold-score, sizes, first[i])
			}
		}
	}
}
