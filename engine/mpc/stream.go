package mpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// Stream is one session's side of a link. One goroutine receives; sending is safe for concurrent use.
type Stream struct {
	link  *Link
	sid   uint64
	in    chan Frame
	dead  chan struct{}
	once  sync.Once
	err   error // set before dead is closed
	timer *time.Timer
}

// take gives the stream a frame. It never waits: more than a peer that follows the protocol can send fails the stream.
func (s *Stream) take(f Frame) {
	if f.Type == frameSessionAborted {
		s.fail(abortOf(f.Payload))
		return
	}
	n := int64(len(f.Payload))
	if s.link.unread.Add(n) <= maxUnread {
		select {
		case s.in <- f:
			return
		default:
		}
	}
	s.link.unread.Add(-n)
	s.fail(fmt.Errorf("%w: more than are due", ErrFrame))
}

// taken is a frame that was received, or that nobody will.
func (s *Stream) taken(f Frame) Frame {
	s.link.unread.Add(-int64(len(f.Payload)))
	return f
}

func abortOf(payload []byte) error {
	if len(payload) != abortBytes || payload[0] == 0 {
		return ErrAborted
	}
	return fmt.Errorf("%w: %w", ErrAborted, &ProbeError{int(binary.LittleEndian.Uint32(payload[1:])), Failure(payload[0])})
}

const abortBytes = 5

func appendAbort(reason *ProbeError) []byte {
	if reason == nil {
		return nil
	}
	return binary.LittleEndian.AppendUint32([]byte{byte(reason.Failure)}, uint32(reason.Item))
}

func (s *Stream) fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.dead)
	})
}

// Send sends the message of a round. p is not retained. It fails if the session has.
func (s *Stream) Send(round byte, p []byte) error {
	return s.SendFrame(Frame{Type: frameRound + FrameType(round), Payload: p})
}

// SendFrame sends a frame of this session; the stream sets its SID.
func (s *Stream) SendFrame(f Frame) error {
	select {
	case <-s.dead:
		return s.err
	default:
	}
	f.SID = s.sid
	return s.link.Send(f)
}

// Recv waits for the message of a round. See Peer.
func (s *Stream) Recv(round byte, timeout time.Duration, other <-chan struct{}) ([]byte, error) {
	f, err := s.next(timeout, other)
	if err != nil {
		return nil, err
	}
	if f.Type != frameRound+FrameType(round) {
		err := fmt.Errorf("%w: type %d in round %d", ErrFrame, f.Type, round)
		s.fail(err)
		return nil, err
	}
	return f.Payload, nil
}

// Ended is closed when the session has ended on this side. See Peer.
func (s *Stream) Ended() <-chan struct{} { return s.dead }

// Err is why, valid when Ended is closed.
func (s *Stream) Err() error { return s.err }

func (s *Stream) next(timeout time.Duration, other <-chan struct{}) (Frame, error) {
	select {
	case <-s.dead:
		return Frame{}, s.err
	default:
	}
	if s.timer == nil {
		s.timer = time.NewTimer(timeout)
	} else {
		s.timer.Reset(timeout)
	}
	defer s.timer.Stop()
	select {
	case f := <-s.in:
		return s.taken(f), nil
	case <-s.dead:
		return Frame{}, s.err
	case <-other:
		return Frame{}, ErrAborted
	case <-s.timer.C:
		return Frame{}, ErrTimeout
	}
}

// RecvFrame waits for the session's next frame, whatever its type: for answers to a gateway.
func (s *Stream) RecvFrame(ctx context.Context) (Frame, error) {
	select {
	case f := <-s.in:
		return s.taken(f), nil
	case <-s.dead:
		return Frame{}, s.err
	case <-ctx.Done():
		return Frame{}, ctx.Err()
	}
}

// Abort tells the peer that this side gives the session up, and ends it. It does nothing the second time.
func (s *Stream) Abort(reason *ProbeError) {
	gone := false
	s.once.Do(func() {
		s.err, gone = ErrAborted, true
		close(s.dead)
	})
	if gone {
		_ = s.link.Send(Frame{SID: s.sid, Type: frameSessionAborted, Payload: appendAbort(reason)}) // else the link is down
	}
	s.Close()
}

// Close forgets the session on this side; what still comes for it is dropped.
func (s *Stream) Close() {
	s.fail(ErrAborted)
	s.link.mu.Lock()
	delete(s.link.mu.streams, s.sid) // nothing more is taken
	s.link.mu.Unlock()
	for {
		select {
		case f := <-s.in:
			s.taken(f)
		default:
			return
		}
	}
}
