package mpc

import (
	"crypto/rand"
	"fmt"
	"math"
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
		n := bits.N / 8
		b := AppendBits(nil, bits)
		sent[i].rounds[0] = append(b[:n:n], b[len(b)/2:len(b)/2+n]...) // without what is always 0
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
	p     Params
	run   func(s *Session, i int) (Bits, error)
	plain [][]uint32
} {
	rng := seeded(t)
	long, short := defaults(t, 16, VerifyLogScale), defaults(t, 16, IdentifyLogScale)
	pool, rows := vectors(t, rng, long, 8), vectors(t, rng, short, 64)
	items := itemsOf(pool, append(pool[1:], pool[0]), make([]int32, 8))
	g, probes := galleryOf(rows), probesOf(rows[0], 3000)
	type entry = struct {
		p     Params
		run   func(s *Session, i int) (Bits, error)
		plain [][]uint32
	}
	return map[string]entry{
		"verify":   {long, func(s *Session, i int) (Bits, error) { return s.Verify(t.Context(), items[i]) }, pool},
		"identify": {short, func(s *Session, i int) (Bits, error) { return s.Identify(t.Context(), g[i], probes[i]) }, rows},
	}
}

// TestTranscriptHidesInputs looks for four neighbouring components of any template or probe, or of any party's shares of
// them, in all that is sent.
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
	sent := record(t, freshKeys(), 9, p, func(s *Session, i int) (Bits, error) { return s.Verify(t.Context(), items[i]) })
	for i, tr := range sent {
		for round, message := range tr.rounds {
			if at := leak(message, secrets); at >= 0 {
				t.Errorf("party %d, round %d: a plaintext at byte %d", i, round, at)
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
				if (f.messages == 0) != (round > 9) {
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
