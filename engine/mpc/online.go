package mpc

import (
	"context"
	"fmt"
	"time"
)

// Check is which checks of a probe a policy asks for.
type Check uint8

const (
	// CheckFull tests the probe's norm, the bound of every component and that the parties hold one vector. It is for
	// probes that come from outside: of a client, or of a gateway that the parties don't trust with templates.
	CheckFull Check = iota
	// CheckNorm leaves out the bound of components. It holds only for probes that an honest extractor encoded, for a
	// vector whose square wraps passes it.
	CheckNorm
)

const (
	// MaxItems bounds the verifications of a session.
	MaxItems = 256
	// MaxRows bounds the rows of a gallery that is searched in a session.
	MaxRows = 1 << 22
	// RoundTimeout is how long a round waits for a peer, unless a session says otherwise.
	RoundTimeout = 2 * time.Second
)

// Item is one verification of a session.
type Item struct {
	Template, Probe Share
	// Threshold is the least product that matches (Params.Threshold).
	Threshold int32
	// Context is a hash of what the parties must agree on: operation, policy, tenant, person, generation and model. The
	// session adds its own: SID, epoch, parameters, check and threshold.
	Context [32]byte
}

// Probe is what a gallery is searched with.
type Probe struct {
	Share     Share
	Threshold int32
	// Context as in Item; it names the rows and their order as well.
	Context [32]byte
}

// Verify compares probes with templates, one with one, and returns this party's shares of which match: those whose
// product reaches the threshold. All three parties call it with their shares of the same items, in the same order.
//
// What comes of the checks the gateway alone learns (OpenBits). An error ends the session on all sides, without an answer to
// anyone (M7): ErrProbe, with the item (ProbeError), when the parties don't have one vector, or were told different things
// about it; ErrAborted when a peer gave up, ErrTimeout, ErrPeerDown, ErrFrame; ErrShare and
// ErrParams, before anything is sent, for what is malformed. When ctx ends, the session does. Nothing is retained.
func (s *Session) Verify(ctx context.Context, items []Item) (Bits, error) {
	return s.run(ctx, func() (Bits, error) {
		if err := s.checkItems(items); err != nil {
			return Bits{}, err
		}
		return s.verify(items)
	})
}

func (s *Session) verify(items []Item) (Bits, error) {
	c := newChecks(s, "verify", len(items))
	matches, failed, err := s.verifySigns(c, items)
	if err != nil {
		return Bits{}, err
	}
	n, parts := len(items), matches.own
	for i := range n {
		sums := s.masks.combinations(verdictBits+1, c.failed(failed, i))
		parts = append(parts, sums[0])
		parts[i/64] ^= sums[1] << (i % 64)
	}
	out, err := s.reshare(parts)
	if err != nil {
		return Bits{}, err
	}
	return outcome(n, out.cut(0, wordsOf(n)), out.cut(wordsOf(n), len(parts))), nil
}

// verifySigns are which items match, and the signs of their checks, shared, in rounds 1 to 8.
func (s *Session) verifySigns(c *checks, items []Item) (matches, failed planes, err error) {
	n := len(items)
	sums := make([]uint32, 2*n) // products, then norms
	for i, it := range items {
		sums[i], sums[n+i] = products(it.Template, it.Probe)
		c.add(it.Probe, it.Threshold, it.Context)
	}
	s.masks.hideWords(sums)
	in, err := s.exchange(append(appendComponent(nil, sums), c.tags...))
	if err != nil {
		return matches, failed, err
	}
	if err := c.compare(in[8*n:]); err != nil {
		return matches, failed, err
	}
	scores, norms := Share{sums[:n], words(in[:4*n])}, Share{sums[n:], words(in[4*n : 8*n])}
	for i, it := range items {
		s.plus(Share{scores.Own[i : i+1], scores.Next[i : i+1]}, -uint32(it.Threshold))
	}
	a := newAdder(32, wordsOf(n)+c.words())
	defer a.release()
	a.lanes(0, scores)
	c.lanes(a, wordsOf(n), norms)
	if err := s.add(a); err != nil {
		return matches, failed, err
	}
	signs := a.sign()
	return s.matches(n, signs), signs.cut(wordsOf(n), a.words).clone(), nil
}

// Identify compares a probe with all rows of a gallery and returns this party's shares of which match. The probe is
// shared over Z_2^32, where it is checked, and compared over Z_2^16; so Params are of IdentifyLogScale or less. The
// context says which rows those are, in which order. Errors are those of Verify.
func (s *Session) Identify(ctx context.Context, g Gallery, it Probe) (Bits, error) {
	return s.search(ctx, g, it)
}

// searched is what a probe is compared with. products is called once, when nothing was sent yet.
type searched interface {
	len() int
	fits(dim int) bool
	// products sets dst to this party's parts of the rows' products with y, as products does, modulo 2^16.
	products(dst []uint16, y Share)
}

func (s *Session) search(ctx context.Context, g searched, it Probe) (Bits, error) {
	return s.run(ctx, func() (Bits, error) {
		if err := s.checkSearch(g, it); err != nil {
			return Bits{}, err
		}
		return s.identify(g, it)
	})
}

func (s *Session) identify(g searched, it Probe) (Bits, error) {
	c := newChecks(s, "identify", 1)
	matches, failed, err := s.searchSigns(c, g, it)
	if err != nil {
		return Bits{}, err
	}
	sums, err := s.reshare(s.masks.combinations(2*verdictBits, c.failed(failed, 0)))
	if err != nil {
		return Bits{}, err
	}
	// The second sum stands for the checks, of which there are more: what hides a row's answer is made of it.
	parts := matches.own
	for i, v := range s.masks.combinations(g.len(), sums.cut(1, 2)) {
		parts[i] ^= v
	}
	out, err := s.reshare(parts)
	if err != nil {
		return Bits{}, err
	}
	return outcome(g.len(), out, sums.cut(0, 1)), nil
}

// searchSigns are which rows match, and the signs of the probe's checks, shared, in rounds 1 to 8.
func (s *Session) searchSigns(c *checks, g searched, it Probe) (matches, failed planes, err error) {
	n := g.len()
	c.rows = n
	c.add(it.Share, it.Threshold, it.Context)
	_, norm := products(it.Share, it.Share)
	norms, scores := []uint32{norm}, make([]uint16, n)
	g.products(scores, it.Share)
	s.masks.hideShorts(scores)
	s.masks.hideWords(norms)
	in, err := s.exchange(append(appendComponent(appendShorts(nil, scores), norms), c.tags...))
	if err != nil {
		return matches, failed, err
	}
	rest := in[2*n:]
	if err := c.compare(rest[4:]); err != nil {
		return matches, failed, err
	}
	next := shorts(in[:2*n])
	s.plusShort(ShortShare{scores, next}, -uint16(it.Threshold))
	short, long := newAdder(16, wordsOf(n)), newAdder(32, c.words())
	defer short.release()
	defer long.release()
	short.shortLanes(ShortShare{scores, next})
	c.lanes(long, 0, Share{norms, words(rest[:4])})
	if err := s.add(short, long); err != nil {
		return matches, failed, err
	}
	return s.matches(n, short.sign()), long.sign().clone(), nil
}

// products are this party's parts of ⟨x, y⟩ and ⟨y, y⟩: of xᵢyᵢ + xᵢyᵢ₊₁ + xᵢ₊₁yᵢ. The three parties' add up.
func products(x, y Share) (score, norm uint32) {
	n := len(x.Own)
	xn, yo, yn := x.Next[:n], y.Own[:n], y.Next[:n]
	for j, xo := range x.Own {
		both := yo[j] + yn[j]
		score += xo*both + xn[j]*yo[j]
		norm += yo[j]*both + yn[j]*yo[j]
	}
	return score, norm
}

func (s *Session) checkItems(items []Item) error {
	if len(items) < 1 || len(items) > MaxItems {
		return fmt.Errorf("%w: %d items in a session, not 1 to %d", ErrParams, len(items), MaxItems)
	}
	for i, it := range items {
		if !it.Template.fits(s.Params.Dim) || !it.Probe.fits(s.Params.Dim) {
			return fmt.Errorf("%w: of item %d, not of %d components", ErrShare, i, s.Params.Dim)
		}
		if err := s.Params.checkThreshold(it.Threshold); err != nil {
			return err
		}
	}
	return nil
}

func (s *Session) checkSearch(g searched, it Probe) error {
	switch n := g.len(); {
	case !s.Params.short():
		return fmt.Errorf("%w: products at 2^%d don't fit 16 bits", ErrParams, s.Params.LogScale)
	case n < 1 || n > MaxRows:
		return fmt.Errorf("%w: %d rows, not 1 to %d", ErrParams, n, MaxRows)
	case !g.fits(s.Params.Dim) || !it.Share.fits(s.Params.Dim):
		return fmt.Errorf("%w: rows or probe are not of %d components", ErrShare, s.Params.Dim)
	}
	return s.Params.checkThreshold(it.Threshold)
}
