package mpc

import (
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"sync"
	"testing"
	"time"
)

// pipe is a link of one session in memory; each of its two ends is a Peer.
type pipe struct {
	to, from chan Frame
	dead     *fuse
	sent     func(Frame) // sees what this end sends
}

type fuse struct {
	once sync.Once
	done chan struct{}
	err  error
}

func (f *fuse) blow(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.done)
	})
}

func newPipe() (a, b *pipe) {
	x, y := make(chan Frame, streamDepth), make(chan Frame, streamDepth)
	dead := &fuse{done: make(chan struct{})}
	return &pipe{to: x, from: y, dead: dead}, &pipe{to: y, from: x, dead: dead}
}

func (p *pipe) Send(round byte, b []byte) error {
	f := Frame{Type: frameRound + FrameType(round), Payload: append([]byte{}, b...)}
	if p.sent != nil {
		p.sent(f)
	}
	select {
	case <-p.dead.done:
		return p.dead.err
	default:
	}
	select {
	case p.to <- f:
		return nil
	case <-p.dead.done:
		return p.dead.err
	}
}

func (p *pipe) Ended() <-chan struct{} { return p.dead.done }

func (p *pipe) Err() error { return p.dead.err }

func (p *pipe) Recv(round byte, timeout time.Duration, other <-chan struct{}) ([]byte, error) {
	select {
	case f := <-p.from:
		if f.Type != frameRound+FrameType(round) {
			return nil, ErrFrame
		}
		return f.Payload, nil
	case <-p.dead.done:
		return nil, p.dead.err
	case <-other:
		return nil, ErrAborted
	case <-time.After(timeout):
		return nil, ErrTimeout
	}
}

func (p *pipe) Abort(reason *ProbeError) {
	if reason == nil {
		p.dead.blow(ErrAborted)
	} else {
		p.dead.blow(fmt.Errorf("%w: %w", ErrAborted, reason))
	}
}

func (p *pipe) Close() {}

// ample is a round's timeout where nothing is expected to be slow.
const ample = time.Minute

// trio are the three parties' sessions over pipes with fresh keys, as after a connection.
func trio(p Params, check Check) [Parties]*Session {
	var s [Parties]*Session
	for i := range s {
		s[i] = &Session{Index: i, SID: 1, Params: p, Check: check, Timeout: ample}
	}
	for i := range s {
		next := (i + 1) % Parties
		var key [32]byte
		var epoch [8]byte
		rand.Read(key[:])
		rand.Read(epoch[:])
		a, b := newPipe()
		s[i].Next, s[next].Prev = Neighbour{a, key, epoch}, Neighbour{b, key, epoch}
	}
	return s
}

// together runs f for each party at once, and returns their errors.
func together(f func(i int) error) (errs [Parties]error) {
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errs
}

// verifyAll runs a session; items are of each party. Either all parties end well or none.
func verifyAll(t testing.TB, s [Parties]*Session, items [Parties][]Item) ([]bool, error) {
	t.Helper()
	var bits [Parties]Bits
	errs := together(func(i int) (err error) {
		bits[i], err = s[i].Verify(t.Context(), items[i])
		return err
	})
	return opened(t, bits, errs)
}

func identifyAll(t testing.TB, s [Parties]*Session, g [Parties]Gallery, probes [Parties]Probe) ([]bool, error) {
	t.Helper()
	var bits [Parties]Bits
	errs := together(func(i int) (err error) {
		bits[i], err = s[i].Identify(t.Context(), g[i], probes[i])
		return err
	})
	return opened(t, bits, errs)
}

func opened(t testing.TB, bits [Parties]Bits, errs [Parties]error) ([]bool, error) {
	t.Helper()
	if err := errors.Join(errs[:]...); err != nil {
		for i, e := range errs {
			if e == nil {
				t.Fatalf("party %d has an answer %v although others failed: %v", i, bits[i], err)
			}
		}
		return nil, err
	}
	return OpenBits(bits)
}

func defaults(t testing.TB, dim, logScale int) Params {
	t.Helper()
	p, err := NewParams(dim, logScale)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// seeded is a source whose seed a failing test shows.
func seeded(t testing.TB) *mathrand.Rand {
	t.Helper()
	seed := mathrand.Uint64()
	t.Logf("seed %d", seed)
	return mathrand.New(mathrand.NewPCG(seed, 0))
}

// unit is a random direction.
func unit(rng *mathrand.Rand, dim int) []float32 {
	x := make([]float32, dim)
	for j := range x {
		x[j] = float32(rng.NormFloat64())
	}
	return normal(x)
}

func normal(x []float32) []float32 {
	square := 0.0
	for _, v := range x {
		square += float64(v) * float64(v)
	}
	for j := range x {
		x[j] = float32(float64(x[j]) / math.Sqrt(square))
	}
	return x
}

// near is a direction whose cosine with x is about cos.
func near(rng *mathrand.Rand, x []float32, cos float64) []float32 {
	y := unit(rng, len(x))
	dot := 0.0
	for j, v := range y {
		dot += float64(v) * float64(x[j])
	}
	for j := range y {
		y[j] -= float32(dot) * x[j]
	}
	normal(y)
	for j := range y {
		y[j] = float32(cos)*x[j] + float32(math.Sqrt(1-cos*cos))*y[j]
	}
	return normal(y)
}

func encode(t testing.TB, p Params, x []float32) []uint32 {
	t.Helper()
	q, err := p.Encode(x)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// plain is the product of two encoded vectors, of which nothing wraps.
func plain(x, y []uint32) (sum int64) {
	for j, v := range x {
		sum += int64(int32(v)) * int64(int32(y[j]))
	}
	return sum
}

// itemsOf shares templates and probes.
func itemsOf(templates, probes [][]uint32, thresholds []int32) (items [Parties][]Item) {
	for k, x := range templates {
		xs, ys := Split(x), Split(probes[k])
		for i := range items {
			items[i] = append(items[i], Item{Template: xs[i], Probe: ys[i], Threshold: thresholds[k], Context: [32]byte{byte(k)}})
		}
	}
	return items
}

// galleryOf shares rows over Z_2^16.
func galleryOf(rows [][]uint32) (g [Parties]Gallery) {
	for _, q := range rows {
		for i, s := range Split(q) {
			short := s.Short()
			g[i].Own, g[i].Next, g[i].Rows = append(g[i].Own, short.Own...), append(g[i].Next, short.Next...), g[i].Rows+1
		}
	}
	return g
}

func probesOf(q []uint32, threshold int32) (p [Parties]Probe) {
	for i, s := range Split(q) {
		p[i] = Probe{Share: s, Threshold: threshold}
	}
	return p
}
