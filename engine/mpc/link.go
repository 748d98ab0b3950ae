package mpc

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxSessions   = 4096            // open streams of a link, and ids whose frames are held
	maxHeldBytes  = 64 << 20        // of frames of sessions that are not open yet
	heldFor       = 5 * time.Second // then they are dropped
	maxUnread     = 256 << 20       // of frames of open sessions that nobody has received; a session that would have more ends
	maxQueuedSend = 64 << 20        // then senders wait
	keptBuffer    = 1 << 20         // of a writer between writes
	readBuffer    = 64 << 10

	// streamDepth is how many rounds a peer can be ahead: it is the next party, which waits for the one after it, and
	// that one for us. So it is at most two rounds before what we have read; a third frame may be its abort.
	streamDepth = 3
)

// LinkConfig configures a Link. The zero value works.
type LinkConfig struct {
	// Cluster names the installation; what keys are bound to.
	Cluster string
	// Timeout is how long the other end may be silent, or not take what is sent, before the link ends: RoundTimeout by
	// default. Each end speaks four times as often.
	Timeout time.Duration
	// Handle is called with frames of sessions that are not open on this side: a party has one for its gateways' frames.
	// It runs in the reader of the link, one call at a time, and must not wait for frames of this link. Without it such
	// frames are held for 5 s, for a session that is about to be opened (Open).
	Handle func(*Link, Frame)
}

// Link carries the frames of many sessions over one connection. It is safe for concurrent use.
//
// A session id is opened once in the life of a link, so that no key is used twice with it (M4). What a peer can make it
// hold is bounded: frames of 4,096 sessions and 64 MiB that are not open, and of those that are 3 frames each and 256 MiB.
type Link struct {
	conn   *Conn
	since  time.Time
	cfg    LinkConfig
	key    [32]byte
	epoch  [8]byte
	used   Window
	writer writer
	unread atomic.Int64 // bytes that streams hold
	wg     sync.WaitGroup
	done   chan struct{}
	mu     struct {
		sync.Mutex
		streams   map[uint64]*Stream
		held      map[uint64]*waiting
		order     []uint64 // keys of held, oldest first, and some that are gone
		heldBytes int
		err       error // why it ended
	}
}

// waiting is frames of a session that is not open yet.
type waiting struct {
	frames []Frame
	since  time.Time
}

func (w *waiting) expired(now time.Time) bool { return now.Sub(w.since) > heldFor }

// NewLink starts a link on c, which it owns from now on.
func NewLink(c *Conn, cfg LinkConfig) (*Link, error) {
	cfg.Timeout = cmp.Or(cfg.Timeout, RoundTimeout)
	l := &Link{conn: c, since: time.Now(), cfg: cfg, done: make(chan struct{})}
	var err error
	if l.key, l.epoch, err = c.Keys(cfg.Cluster); err != nil {
		c.Close()
		return nil, err
	}
	l.mu.streams, l.mu.held = make(map[uint64]*Stream), make(map[uint64]*waiting)
	l.writer.init(c, cfg.Timeout)
	l.wg.Go(l.read)
	l.wg.Go(l.pulse)
	return l, nil
}

// Peer is who is at the other end.
func (l *Link) Peer() Role { return l.conn.Peer() }

// Epoch names the connection; both ends have the same.
func (l *Link) Epoch() [8]byte { return l.epoch }

// Done is closed when the link has ended; Err says why.
func (l *Link) Done() <-chan struct{} { return l.done }

// Err is nil while the link is up, then an error that wraps ErrPeerDown.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.err
}

// Close ends the link and its sessions, and waits for its goroutines. It must not be called from Handle.
func (l *Link) Close() error {
	l.end(fmt.Errorf("%w: closed on this side", ErrPeerDown))
	l.wg.Wait()
	return nil
}

// Send sends a frame; it returns when the frame is written or another caller writes it. ErrPeerDown: the link has ended.
func (l *Link) Send(f Frame) error { return l.sent(l.writer.send(f)) }

func (l *Link) sent(err error) error {
	if err != nil {
		l.end(fmt.Errorf("%w: %w", ErrPeerDown, err))
		return l.Err()
	}
	return nil
}

// Open opens a session. ErrSID: it was open before in the life of the link; ErrBusy: 4,096 are; ErrPeerDown.
func (l *Link) Open(sid uint64) (*Stream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.mu.err != nil:
		return nil, l.mu.err
	case len(l.mu.streams) >= maxSessions:
		return nil, ErrBusy
	case !l.used.Use(sid):
		return nil, ErrSID
	}
	s := &Stream{link: l, sid: sid, in: make(chan Frame, streamDepth), dead: make(chan struct{})}
	l.mu.streams[sid] = s
	if w := l.mu.held[sid]; w != nil && !w.expired(time.Now()) {
		for _, f := range w.frames {
			s.take(f)
		}
	}
	l.dropLocked(sid)
	return s, nil
}

// Neighbour opens a session and is what a Session needs of this link.
func (l *Link) Neighbour(sid uint64) (Neighbour, error) {
	s, err := l.Open(sid)
	return Neighbour{Peer: s, Key: l.key, Epoch: l.epoch}, err
}

// end ends the link once.
func (l *Link) end(err error) {
	l.mu.Lock()
	first := l.mu.err == nil
	if first {
		l.mu.err = err
		clear(l.mu.held)
		for _, s := range l.mu.streams {
			s.fail(err)
		}
		l.writer.stop(err) // before anybody is told: who knows that the link has ended can't send
		close(l.done)
	}
	l.mu.Unlock()
	if first {
		l.conn.tls.NetConn().Close()
	}
}

// read gives each frame to its session.
func (l *Link) read() {
	r := bufio.NewReaderSize(&patientReader{conn: l.conn, timeout: l.cfg.Timeout}, readBuffer)
	for {
		f, err := ReadFrame(r)
		if err != nil {
			if err == io.EOF {
				err = fmt.Errorf("%w: closed by it", ErrPeerDown)
			} else {
				err = fmt.Errorf("%w: %w", ErrPeerDown, err)
			}
			l.end(err)
			return
		}
		if f.Type != framePing && !l.deliver(f) && l.cfg.Handle != nil {
			l.cfg.Handle(l, f)
		}
	}
}

// deliver gives f to its session, if it is open; it drops f if it was, and else holds it, unless there is a handler.
func (l *Link) deliver(f Frame) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.mu.streams[f.SID]
	switch {
	case s != nil:
		s.take(f)
	case l.cfg.Handle != nil:
		return false
	case !l.used.Used(f.SID):
		l.holdLocked(f)
	}
	return true
}

// holdLocked keeps f for a session that is not open yet.
func (l *Link) holdLocked(f Frame) {
	now := time.Now()
	for len(l.mu.order) > 0 {
		if w := l.mu.held[l.mu.order[0]]; w != nil && !w.expired(now) {
			break
		}
		l.dropLocked(l.mu.order[0])
		l.mu.order = l.mu.order[1:]
	}
	w := l.mu.held[f.SID]
	switch {
	case l.mu.heldBytes+len(f.Payload) > maxHeldBytes, w == nil && len(l.mu.order) >= maxSessions, w != nil && len(w.frames) >= streamDepth:
		return // the session, if it ever opens, times out
	case w == nil:
		w = &waiting{since: now}
		l.mu.held[f.SID], l.mu.order = w, append(l.mu.order, f.SID)
	}
	w.frames = append(w.frames, f)
	l.mu.heldBytes += len(f.Payload)
}

func (l *Link) dropLocked(sid uint64) {
	if w := l.mu.held[sid]; w != nil {
		for _, f := range w.frames {
			l.mu.heldBytes -= len(f.Payload)
		}
		delete(l.mu.held, sid)
	}
}

// pulse speaks when nobody else does.
func (l *Link) pulse() {
	t := time.NewTicker(l.cfg.Timeout / 4)
	defer t.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-t.C:
			if !l.writer.spoke.Swap(false) {
				_ = l.Send(Frame{Type: framePing}) // an error ends the link
			}
		}
	}
}

// patientReader reads with a deadline that each read moves on.
type patientReader struct {
	conn    *Conn
	timeout time.Duration
	until   time.Time
}

func (r *patientReader) Read(b []byte) (int, error) {
	if d := time.Now().Add(r.timeout); d.Sub(r.until) > r.timeout/8 { // setting it costs more than looking
		r.until = d
		if err := r.conn.tls.SetReadDeadline(d); err != nil {
			return 0, err
		}
	}
	return r.conn.tls.Read(b)
}

// writer sends frames in the order of its callers: who finds nobody writing writes, and also what others add meanwhile.
// So frames share system calls under load, and nothing waits for another goroutine when there is none.
type writer struct {
	conn    *Conn
	timeout time.Duration
	spoke   atomic.Bool
	mu      sync.Mutex
	room    sync.Cond
	queue   []byte
	spare   []byte
	until   time.Time
	writing bool
	err     error
}

func (w *writer) init(c *Conn, timeout time.Duration) {
	w.conn, w.timeout, w.room.L = c, timeout, &w.mu
}

func (w *writer) send(f Frame) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > maxQueuedSend && w.err == nil {
		w.room.Wait()
	}
	if w.err != nil {
		return w.err
	}
	w.queue = AppendFrame(w.queue, f)
	if w.writing {
		return nil
	}
	w.writing = true
	w.mu.Unlock()
	runtime.Gosched() // who is about to send as well adds to it: sessions that a read woke share a system call
	w.mu.Lock()
	for len(w.queue) > 0 && w.err == nil {
		w.flushLocked()
	}
	w.writing = false
	return w.err
}

// flushLocked writes what is queued, without the lock meanwhile.
func (w *writer) flushLocked() {
	b := w.queue
	w.queue, w.spare = w.spare[:0], nil
	w.mu.Unlock()
	w.spoke.Store(true)
	err := w.write(b)
	w.mu.Lock()
	if cap(b) <= keptBuffer {
		w.spare = b
	}
	if w.err == nil {
		w.err = err
	}
	w.room.Broadcast()
}

func (w *writer) write(b []byte) error {
	if d := time.Now().Add(w.timeout); d.Sub(w.until) > w.timeout/8 {
		w.until = d
		if err := w.conn.tls.SetWriteDeadline(d); err != nil {
			return err
		}
	}
	_, err := w.conn.tls.Write(b)
	return err
}

func (w *writer) stop(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.room.Broadcast()
}
