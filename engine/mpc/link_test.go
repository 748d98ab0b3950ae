package mpc

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// TestVerifyOverTLS has many sessions at once on the same links, and malformed probes among them.
func TestVerifyOverTLS(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 128, VerifyLogScale)
	pool := vectors(t, rng, p, 4)
	c := newCluster(t, LinkConfig{Timeout: ample})
	var wg sync.WaitGroup
	for n := range 24 {
		s, shared := c.sessions(t, MakeSID(1, uint64(n)), p, CheckFull), append([][]uint32{}, pool...)
		if n%4 == 3 {
			shared[2] = append([]uint32{}, pool[2]...)
			shared[2][0] += 1 << 31
		}
		items := itemsOf(pool, shared, make([]int32, 4))
		wg.Go(func() {
			if n%4 == 3 {
				refused(t, 2, FailedVector, func(i int) (Bits, error) { return s[i].Verify(t.Context(), items[i]) })
				return
			}
			got, err := verifyAll(t, s, items)
			if err != nil || len(got) != 4 || !got[0] {
				t.Error(got, err)
			}
		})
	}
	wg.Wait()
	for i := range c.links {
		for _, l := range c.links[i] {
			if l.mu.Lock(); len(l.mu.streams) > 0 || l.mu.err != nil {
				t.Errorf("party %d: %d sessions left, %v", i, len(l.mu.streams), l.mu.err)
			}
			l.mu.Unlock()
		}
	}
}

func TestIdentifyOverTLS(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 64, IdentifyLogScale)
	rows := vectors(t, rng, p, 1000)
	g := galleryOf(rows)
	got, err := identifyAll(t, newCluster(t, LinkConfig{Timeout: ample}).sessions(t, 5, p, CheckFull), g, probesOf(rows[77], 9000))
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range got {
		if m != (plain(rows[i], rows[77]) >= 9000) {
			t.Fatalf("row %d: %v", i, m)
		}
	}
}

func TestSIDsAreUsedOnce(t *testing.T) {
	l := newCluster(t, LinkConfig{Timeout: ample}).links[0][1]
	sid := MakeSID(7, 5000)
	s, err := l.Open(sid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Open(sid); !errors.Is(err, ErrSID) {
		t.Errorf("open twice: %v", err)
	}
	s.Close()
	for name, sid := range map[string]uint64{"closed": sid, "too old": MakeSID(7, 5000-1024)} {
		if _, err := l.Neighbour(sid); !errors.Is(err, ErrSID) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, sid := range []uint64{MakeSID(7, 5000-1023), MakeSID(8, 5000), MakeSID(7, 1<<40)} { // the last moves the window
		if _, err := l.Open(sid); err != nil {
			t.Errorf("%x: %v", sid, err)
		}
	}
}

// TestWindow compares with a set of all ids.
func TestWindow(t *testing.T) {
	rng := seeded(t)
	var w Window
	used, high := make(map[uint64]bool), uint64(0)
	at := uint64(rng.IntN(3000))
	for range 30_000 {
		switch rng.IntN(100) {
		case 0:
			at += uint64(rng.IntN(5000))
		default:
			at += uint64(rng.IntN(2))
		}
		sid := at - min(at, uint64(rng.IntN(1200)))
		old := used[sid] || high >= 1024 && sid <= high-1024
		if w.Used(sid) != old || w.Use(sid) == old {
			t.Fatalf("%d, the highest being %d: used %v", sid, high, !old)
		}
		used[sid], high = true, max(high, sid)
		if w.High(0) != high {
			t.Fatalf("the highest is %d, not %d", w.High(0), high)
		}
	}
	if !w.Use(MakeSID(1, 0)) || w.Use(MakeSID(1, 0)) || w.High(2) != 0 {
		t.Error("another gateway's ids")
	}
}

// TestWrongCertificates: nobody is let in, or spoken to, but who is pinned.
func TestWrongCertificates(t *testing.T) {
	a, b, stranger, gateway := identity(t, PartyRole(0)), identity(t, PartyRole(1)), identity(t, PartyRole(0)), identity(t, GatewayRole(4))
	pins := Pins{PartyRole(0): a.Pin(), PartyRole(1): b.Pin(), GatewayRole(4): gateway.Pin()}
	borrowed := gateway // its key under another role
	borrowed.Role = PartyRole(0)
	for name, c := range map[string]struct {
		from, to         Identity
		fromPins, toPins Pins
	}{
		"a stranger's key":            {stranger, b, pins, pins},
		"an imposter answers":         {a, identity(t, PartyRole(1)), pins, pins},
		"another role answers":        {a, Identity{PartyRole(1), gateway.Certificate}, pins, pins},
		"a role that is not pinned":   {a, b, pins, Pins{PartyRole(2): pins[PartyRole(0)]}},
		"nobody is pinned":            {a, b, Pins{}, pins},
		"a key pinned for other role": {a, b, pins, Pins{PartyRole(0): gateway.Pin()}},
	} {
		if _, _, err := connect(t, c.from, c.to, c.fromPins, c.toPins); !errors.Is(err, ErrPeer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	x, y, err := connect(t, gateway, b, pins, pins)
	if err != nil || x.Peer() != PartyRole(1) || y.Peer() != GatewayRole(4) {
		t.Fatalf("a gateway: %v", err)
	}
	x.Close()
	y.Close()
}

// TestSilentStranger: who connects and says nothing holds nothing up.
func TestSilentStranger(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := Accept(ctx, server, identity(t, PartyRole(0)), Pins{}); !errors.Is(err, ErrPeer) {
		t.Error(err)
	}
}

// TestOldTLS: no certificate, and TLS of before 1.3, are refused by who is dialled.
func TestOldTLS(t *testing.T) {
	a, b := identity(t, PartyRole(0)), identity(t, PartyRole(1))
	pins := Pins{PartyRole(0): a.Pin(), PartyRole(1): b.Pin()}
	for name, cfg := range map[string]*tls.Config{
		"no certificate": {InsecureSkipVerify: true},
		"TLS 1.2":        {InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, Certificates: []tls.Certificate{a.Certificate}},
	} {
		client, server := net.Pipe()
		go func() {
			c := tls.Client(client, cfg)
			if c.Handshake() == nil {
				_, _ = io.ReadAll(c)
			}
			c.Close()
		}()
		if _, err := Accept(t.Context(), server, b, pins); !errors.Is(err, ErrPeer) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRoles(t *testing.T) {
	for i := range Parties {
		if n, ok := PartyRole(i).Party(); !ok || n != i {
			t.Error(i, n, ok)
		}
	}
	if n, ok := GatewayRole(65535).Gateway(); !ok || n != 65535 {
		t.Error(n, ok)
	}
	for _, r := range []Role{"", "party3", "party", "party00", "gateway-", "gateway-65536", "gateway-01", "gateway--1", "gateway", "party0 "} {
		if r.Valid() {
			t.Errorf("%q is a role", r)
		}
		if _, err := NewIdentity(r); !errors.Is(err, ErrPeer) {
			t.Errorf("%q: %v", r, err)
		}
	}
}

func TestIdentityPEM(t *testing.T) {
	id := identity(t, GatewayRole(2))
	cert, key, err := id.PEM()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseIdentity(cert, key)
	if err != nil || back.Role != id.Role || back.Pin() != id.Pin() {
		t.Fatal(back.Role, err)
	}
	_, other, err := identity(t, GatewayRole(2)).PEM()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseIdentity(cert, other); err == nil {
		t.Error("a key that is not the certificate's")
	}
}

// TestKeysAreOfOneConnection: both ends have the same, no other connection of the same two has them, and no other
// cluster.
func TestKeysAreOfOneConnection(t *testing.T) {
	a, b := identity(t, PartyRole(0)), identity(t, PartyRole(1))
	pins := Pins{PartyRole(0): a.Pin(), PartyRole(1): b.Pin()}
	seen := make(map[any]bool)
	for range 3 {
		x, y, err := connect(t, a, b, pins, pins)
		if err != nil {
			t.Fatal(err)
		}
		for _, cluster := range []string{"one", "two", ""} {
			k, e, err := x.Keys(cluster)
			if err != nil {
				t.Fatal(err)
			}
			k2, e2, err := y.Keys(cluster)
			if err != nil || k != k2 || e != e2 {
				t.Fatalf("the ends differ: %v", err)
			}
			if seen[k] || seen[e] || bytes.Contains(k[:], e[:]) {
				t.Error("a key or an epoch again")
			}
			seen[k], seen[e] = true, true
		}
		x.Close()
		y.Close()
	}
}

// joined are the two ends of a link, of which the second is a bare connection.
func joined(t *testing.T, cfg LinkConfig) (*Link, *Conn) {
	t.Helper()
	a, b := identity(t, PartyRole(0)), identity(t, PartyRole(1))
	pins := Pins{PartyRole(0): a.Pin(), PartyRole(1): b.Pin()}
	x, y, err := connect(t, a, b, pins, pins)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { y.tls.NetConn().Close() })
	return newLink(t, x, cfg), y
}

// ended waits for a link to end.
func ended(t *testing.T, l *Link) {
	t.Helper()
	select {
	case <-l.Done():
		if err := l.Err(); !errors.Is(err, ErrPeerDown) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(ample):
		t.Fatal("the link is still up")
	}
}

// TestSlowPeers: one that says nothing, and one that takes nothing, end the link and what waits for them.
func TestSlowPeers(t *testing.T) {
	l, _ := joined(t, LinkConfig{Timeout: 50 * time.Millisecond})
	s, err := l.Open(1)
	if err == nil {
		_, err = s.Recv(1, ample, nil)
	} // else the link has ended already
	if !errors.Is(err, ErrPeerDown) {
		t.Errorf("silence: %v", err)
	}
	ended(t, l)
	if _, err := l.Open(2); !errors.Is(err, ErrPeerDown) {
		t.Errorf("open: %v", err)
	}
	if err := l.Send(Frame{}); !errors.Is(err, ErrPeerDown) {
		t.Errorf("send: %v", err)
	}

	l, conn := joined(t, LinkConfig{Timeout: 100 * time.Millisecond})
	stop := make(chan struct{})
	var talk sync.WaitGroup
	talk.Go(func() { // it speaks, and reads nothing
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				_, _ = conn.tls.Write(AppendFrame(nil, Frame{Type: framePing}))
			}
		}
	})
	for err = nil; err == nil; {
		err = l.Send(Frame{SID: 1, Payload: make([]byte, 1<<20)})
	}
	if !errors.Is(err, ErrPeerDown) {
		t.Errorf("a peer that takes nothing: %v", err)
	}
	ended(t, l)
	close(stop)
	talk.Wait()
}

// TestQuietLinksStayUp: links on which nothing happens are kept up by both ends.
func TestQuietLinksStayUp(t *testing.T) {
	l, conn := joined(t, LinkConfig{Timeout: 30 * time.Second})
	l.writer.spoke.Store(false)
	other := newLink(t, conn, LinkConfig{Timeout: time.Second}) // would end without a word of l
	if err := l.Send(Frame{Type: framePing}); err != nil || other.Err() != nil {
		t.Error(err, other.Err())
	}
	if f := (Frame{Type: framePing}); other.deliver(f) != true {
		t.Error("a word of nothing")
	}
}

// TestDyingPeer: a session in the middle of a round ends when the peer's process does.
func TestDyingPeer(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 64, VerifyLogScale)
	x := vectors(t, rng, p, 1)
	c := newCluster(t, LinkConfig{Timeout: ample})
	s, items := c.sessions(t, 1, p, CheckFull), itemsOf(x, x, []int32{0})
	errs := together(func(i int) error {
		if i == 2 { // has read nothing, and dies
			c.links[2][0].conn.tls.NetConn().Close()
			c.links[2][1].conn.tls.NetConn().Close()
			return nil
		}
		_, err := s[i].Verify(t.Context(), items[i])
		return err
	})
	for i, err := range errs[:2] {
		if !errors.Is(err, ErrPeerDown) && !errors.Is(err, ErrAborted) {
			t.Errorf("party %d: %v", i, err)
		}
	}
	ended(t, c.links[0][0])
	ended(t, c.links[1][1])
}

// TestMissingParty: a session that one party has not been told of times out at the others, and the links stay.
func TestMissingParty(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 64, VerifyLogScale)
	x := vectors(t, rng, p, 1)
	c := newCluster(t, LinkConfig{Timeout: ample})
	s, items := c.sessions(t, 1, p, CheckFull), itemsOf(x, x, []int32{0})
	errs := together(func(i int) error {
		if i == 2 {
			return nil
		}
		s[i].Timeout = 50 * time.Millisecond
		_, err := s[i].Verify(t.Context(), items[i])
		return err
	})
	for i, err := range errs[:2] {
		if !errors.Is(err, ErrTimeout) && !errors.Is(err, ErrAborted) {
			t.Errorf("party %d: %v", i, err)
		}
	}
	if got, err := verifyAll(t, c.sessions(t, 2, p, CheckFull), items); err != nil || !got[0] {
		t.Errorf("the next session: %v, %v", got, err)
	}
}

// TestContextEndsSessions: all parties are told.
func TestContextEndsSessions(t *testing.T) {
	rng := seeded(t)
	p := defaults(t, 64, VerifyLogScale)
	x := vectors(t, rng, p, 1)
	c := newCluster(t, LinkConfig{Timeout: ample})
	s, items := c.sessions(t, 1, p, CheckFull), itemsOf(x, x, []int32{0})
	ctx, cancel := context.WithCancel(t.Context())
	errs := together(func(i int) error {
		if i == 2 {
			cancel()
			return nil
		}
		of := t.Context()
		if i == 0 {
			of = ctx
		}
		_, err := s[i].Verify(of, items[i])
		return err
	})
	if !errors.Is(errs[0], context.Canceled) || !errors.Is(errs[1], ErrAborted) {
		t.Error(errs)
	}
}

// TestUnwantedFrames: a frame of another round, and more frames than are due, end the session and nothing else.
func TestUnwantedFrames(t *testing.T) {
	l, conn := joined(t, LinkConfig{Timeout: ample})
	for sid, frames := range map[uint64][]FrameType{1: {frameRound + 2}, 2: {frameRound + 1, frameRound + 2, frameRound + 3, frameRound + 4}, 3: {FrameVerify}} {
		s, err := l.Open(sid)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			if _, err := conn.tls.Write(AppendFrame(nil, Frame{SID: sid, Type: f})); err != nil {
				t.Fatal(err)
			}
		}
		if len(frames) > 1 {
			<-s.dead
		}
		if _, err := s.Recv(1, ample, nil); !errors.Is(err, ErrFrame) {
			t.Errorf("session %d: %v", sid, err)
		}
		if err := s.Send(1, nil); !errors.Is(err, ErrFrame) {
			t.Errorf("session %d sends: %v", sid, err)
		}
	}
	if err := l.Err(); err != nil {
		t.Error(err)
	}
}

// TestHeldFrames: frames that come before a session is opened wait for it, within bounds, and those of sessions that are
// over don't.
func TestHeldFrames(t *testing.T) {
	l, _ := joined(t, LinkConfig{Timeout: ample})
	l.deliver(Frame{SID: 10, Type: frameRound + 1, Payload: []byte("early")})
	s, err := l.Open(10)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := s.Recv(1, ample, nil); err != nil || string(b) != "early" {
		t.Errorf("%q, %v", b, err)
	}
	s.Close()
	l.deliver(Frame{SID: 10, Type: frameRound + 2})
	if len(l.mu.held) != 0 || l.mu.heldBytes != 0 {
		t.Error("a frame of a session that is over is held")
	}
	for sid := range uint64(2 * maxSessions) {
		for range 2 * streamDepth {
			l.deliver(Frame{SID: 100 + sid, Payload: make([]byte, 100)})
		}
	}
	if len(l.mu.held) != maxSessions || l.mu.heldBytes != maxSessions*streamDepth*100 {
		t.Errorf("%d sessions, %d bytes are held", len(l.mu.held), l.mu.heldBytes)
	}
	for _, w := range l.mu.held {
		w.since = w.since.Add(-2 * heldFor)
	}
	if s, err := l.Open(100); err != nil || len(s.in) != 0 {
		t.Errorf("%v, or frames of long ago", err)
	}
	l.deliver(Frame{SID: 1 << 30, Payload: make([]byte, maxHeldBytes)})
	l.deliver(Frame{SID: 1<<30 + 1, Payload: make([]byte, 1)})
	if len(l.mu.held) != 1 || l.mu.heldBytes != maxHeldBytes {
		t.Errorf("afterwards %d sessions, %d bytes are held", len(l.mu.held), l.mu.heldBytes)
	}
	if _, err := l.Open(1 << 30); err != nil || l.mu.heldBytes != 0 {
		t.Error(err, l.mu.heldBytes)
	}
}

// TestUnreadFrames: what nobody receives is bounded, in all sessions of a link together; the session that would have more ends, and no other.
func TestUnreadFrames(t *testing.T) {
	l, _ := joined(t, LinkConfig{Timeout: ample})
	large := make([]byte, MaxFrame)
	var all []*Stream
	for sid := range uint64(maxUnread/MaxFrame + 1) {
		s, err := l.Open(sid)
		if err != nil {
			t.Fatal(err)
		}
		l.deliver(Frame{SID: sid, Type: frameRound + 1, Payload: large})
		all = append(all, s)
	}
	last := all[len(all)-1]
	if _, err := last.Recv(1, ample, nil); !errors.Is(err, ErrFrame) {
		t.Errorf("more than is held: %v", err)
	}
	last.Close()
	if got := l.unread.Load(); got != maxUnread {
		t.Errorf("%d bytes are held, want %d", got, maxUnread)
	}
	if b, err := all[0].Recv(1, ample, nil); err != nil || len(b) != MaxFrame {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	for _, s := range all[:len(all)-1] { // what is left goes with the session
		s.Close()
	}
	if got := l.unread.Load(); got != 0 || l.Err() != nil {
		t.Errorf("%d bytes are held, %v", got, l.Err())
	}
}

// TestHandle: a party gets its gateways' frames, and answers.
func TestHandle(t *testing.T) {
	a, b := identity(t, GatewayRole(1)), identity(t, PartyRole(1))
	pins := Pins{GatewayRole(1): a.Pin(), PartyRole(1): b.Pin()}
	x, y, err := connect(t, a, b, pins, pins)
	if err != nil {
		t.Fatal(err)
	}
	gateway := newLink(t, x, LinkConfig{Timeout: ample})
	newLink(t, y, LinkConfig{Timeout: ample, Handle: func(l *Link, f Frame) {
		_ = l.Send(Frame{SID: f.SID, Type: FrameResult, Payload: append([]byte("done "), f.Payload...)}) // the link may end once it has arrived
	}})
	s, err := gateway.Open(8)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SendFrame(Frame{Type: FrameVerify, Payload: []byte("this")}); err != nil {
		t.Fatal(err)
	}
	if f, err := s.RecvFrame(t.Context()); err != nil || f.Type != FrameResult || string(f.Payload) != "done this" {
		t.Errorf("%v, %v", f, err)
	}
}

func TestTooManySessions(t *testing.T) {
	l, _ := joined(t, LinkConfig{Timeout: ample})
	for sid := range uint64(maxSessions) {
		if _, err := l.Open(sid); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Open(maxSessions); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}

func TestFrames(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var b []byte
	var frames []Frame
	for _, n := range []int{0, 1, 100, readStep - 1, readStep, readStep + 1, 3*readStep + 7} {
		f := Frame{rng.Uint64(), FrameType(rng.Uint32()), uint8(rng.Uint32()), make([]byte, n)}
		for i := range f.Payload {
			f.Payload[i] = byte(rng.Uint32())
		}
		frames = append(frames, f)
		b = AppendFrame(b, f)
	}
	r := bytes.NewReader(b)
	for i, want := range frames {
		got, err := ReadFrame(r)
		if err != nil || got.SID != want.SID || got.Type != want.Type || got.Flags != want.Flags || !bytes.Equal(got.Payload, want.Payload) {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	if _, err := ReadFrame(r); err != io.EOF {
		t.Error(err)
	}
	for n := 1; n < 40; n++ {
		if _, err := ReadFrame(bytes.NewReader(AppendFrame(nil, frames[2])[:n])); err != io.ErrUnexpectedEOF {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, length := range []uint32{0, 9, MaxFrame + 11, 1<<32 - 1} {
		head := append(binary.LittleEndian.AppendUint32(nil, length), make([]byte, 20)...)
		if _, err := ReadFrame(bytes.NewReader(head)); !errors.Is(err, ErrFrame) {
			t.Errorf("a length of %d: %v", length, err)
		}
	}
}
