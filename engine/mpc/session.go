package mpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// Peer is one session's side of a link to one other party. *Stream is one.
type Peer interface {
	// Send sends the message of a round, 1 to 15. p is not retained.
	Send(round byte, p []byte) error
	// Recv waits for the message of a round, for at most timeout, and no longer than other is open. The message is the
	// caller's. ErrFrame: another round's came; ErrTimeout: none came; ErrAborted: the peer gave up, or other was closed;
	// ErrPeerDown: the link has ended.
	Recv(round byte, timeout time.Duration, other <-chan struct{}) ([]byte, error)
	// Ended is closed when the session can't go on on this side: the peer gave up, or the link ended. Err says why.
	Ended() <-chan struct{}
	Err() error
	// Abort tells the peer that this side gives the session up, because of a check or, where reason is nil, for another
	// reason, and ends it: Recv returns, and nothing is sent any more. It may be called at any time, by any goroutine, and
	// again.
	Abort(reason *ProbeError)
	// Close ends the session on this side when it is done.
	Close()
}

// Neighbour is a session's side to the party before or after it, and what the two share by their link.
type Neighbour struct {
	Peer
	// Key is of the two parties alone, fresh with each connection (Conn.Keys).
	Key [32]byte
	// Epoch names the connection.
	Epoch [8]byte
}

// Session is one party's part in one run of the protocol, of which it has one. It is for one goroutine.
type Session struct {
	// Index is the party, SID the run: the same for all three, and used once with the keys of the neighbours (M4).
	Index int
	SID   uint64
	// Prev is party Index−1, to which messages go; Next is party Index+1, from which they come.
	Prev, Next Neighbour
	// Params and Check are the policy's.
	Params Params
	Check  Check
	// Timeout is how long a round waits; RoundTimeout by default.
	Timeout time.Duration

	ran   bool
	round byte
	masks *masks
}

// run runs a protocol once, and ends the session on all sides, well or not.
func (s *Session) run(ctx context.Context, protocol func() (Bits, error)) (Bits, error) {
	stop := context.AfterFunc(ctx, func() { s.abort(nil) })
	b, err := s.once(protocol)
	if !stop() && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", ErrAborted, ctx.Err())
	}
	if err != nil {
		reason, _ := errors.AsType[*ProbeError](err)
		s.abort(reason)
		return Bits{}, err
	}
	s.Prev.Close()
	s.Next.Close()
	return b, nil
}

func (s *Session) once(protocol func() (Bits, error)) (Bits, error) {
	if s.ran {
		return Bits{}, ErrSID
	}
	s.ran = true
	if s.Index < 0 || s.Index >= Parties {
		return Bits{}, fmt.Errorf("%w: party %d", ErrParams, s.Index)
	}
	if s.Check > CheckNorm {
		return Bits{}, fmt.Errorf("%w: check %d", ErrParams, s.Check)
	}
	if err := s.Params.Validate(); err != nil {
		return Bits{}, err
	}
	s.masks = newMasks(s)
	return protocol()
}

func (s *Session) abort(reason *ProbeError) {
	s.Prev.Abort(reason)
	s.Next.Abort(reason)
}

// exchange sends the message of the next round to the party before, and returns that of the party after, as long.
func (s *Session) exchange(out []byte) ([]byte, error) {
	s.round++
	if err := s.Prev.Send(s.round, out); err != nil {
		return nil, err
	}
	in, err := s.Next.Recv(s.round, cmp.Or(s.Timeout, RoundTimeout), s.Prev.Ended())
	select {
	case <-s.Prev.Ended(): // it knows better than the next, which may only have heard of it
		return nil, s.Prev.Err()
	default:
	}
	if err == nil && len(in) != len(out) {
		err = fmt.Errorf("%w: %d bytes in round %d, not %d", ErrFrame, len(in), s.round, len(out))
	}
	return in, err
}

// add runs adders side by side; a round's message has their messages one after the other.
func (s *Session) add(adders ...*adder) error {
	var out []byte
	for round := 0; ; round++ {
		n := 0
		for _, a := range adders {
			n += a.size(round)
		}
		if n == 0 {
			return nil
		}
		out = append(out[:0], make([]byte, n)...)
		at := 0
		for _, a := range adders {
			a.fill(round, out[at:])
			at += a.size(round)
		}
		s.masks.hide(out)
		in, err := s.exchange(out)
		if err != nil {
			return err
		}
		at = 0
		for _, a := range adders {
			n := a.size(round)
			a.absorb(round, out[at:at+n], in[at:at+n])
			at += n
		}
	}
}

// plus adds a number to shared ones: it goes to component 0, which party 0 and party 2 have.
func (s *Session) plus(c Share, k uint32) {
	switch s.Index {
	case 0:
		for i := range c.Own {
			c.Own[i] += k
		}
	case 2:
		for i := range c.Next {
			c.Next[i] += k
		}
	}
}

func (s *Session) plusShort(c ShortShare, k uint16) {
	switch s.Index {
	case 0:
		for i := range c.Own {
			c.Own[i] += k
		}
	case 2:
		for i := range c.Next {
			c.Next[i] += k
		}
	}
}
