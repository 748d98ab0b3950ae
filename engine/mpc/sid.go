package mpc

import "sync"

const (
	windowWords = 16 // 1,024 ids
	counterBits = 48
)

// MakeSID is a session id: the gateway's index, which the party compares with the certificate it came with, and a counter
// that only grows, below 2^48.
func MakeSID(gateway uint16, counter uint64) uint64 {
	return uint64(gateway)<<counterBits | counter&(1<<counterBits-1)
}

// SIDGateway is the gateway that a session id is of.
func SIDGateway(sid uint64) uint16 { return uint16(sid >> counterBits) }

// Window tells which session ids were used, for each gateway: the highest, and of the 1,023 below it each (the
// anti-replay window of IPsec, RFC 4303, section 3.4.3). What is further below counts as used. The zero value is empty.
// It is safe for concurrent use.
type Window struct {
	mu       sync.Mutex
	gateways map[uint16]*window // at most 65,536 of 136 bytes
}

type window struct {
	high uint64
	seen [windowWords]uint64 // ring of bits by counter modulo 1,024
}

// Use marks sid, and tells whether it was new.
func (w *Window) Use(sid uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gateways == nil {
		w.gateways = make(map[uint16]*window)
	}
	g := w.gateways[SIDGateway(sid)]
	if g == nil {
		g = &window{high: sid}
		w.gateways[SIDGateway(sid)] = g
	}
	if g.used(sid) {
		return false
	}
	g.advance(sid)
	g.seen[sid/64%windowWords] |= 1 << (sid % 64)
	return true
}

// Used tells whether sid was used or is too old to tell.
func (w *Window) Used(sid uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := w.gateways[SIDGateway(sid)]
	return g != nil && g.used(sid)
}

// High is the highest id of a gateway that was used, 0 for none.
func (w *Window) High(gateway uint16) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g := w.gateways[gateway]; g != nil {
		return g.high
	}
	return 0
}

func (g *window) used(sid uint64) bool {
	if sid > g.high {
		return false
	}
	return g.high-sid >= 64*windowWords || g.seen[sid/64%windowWords]>>(sid%64)&1 != 0
}

// advance moves the window up to sid and forgets what leaves it.
func (g *window) advance(sid uint64) {
	if sid <= g.high {
		return
	}
	if sid-g.high >= 64*windowWords {
		g.seen = [windowWords]uint64{}
	} else {
		for c := g.high + 1; c <= sid; c++ {
			g.seen[c/64%windowWords] &^= 1 << (c % 64)
		}
	}
	g.high = sid
}
