package mpc

import (
	"net"
	"slices"
	"sync"
)

// maxHandshakes bounds strangers who are shaking hands.
const maxHandshakes = 64

// handshakes are connections whose other end nobody knows yet, the oldest first. When there are too many the oldest of the address that has the
// most goes: so silence locks nobody out who shakes hands in less time than it takes to connect 64 times, and from one address nobody elsewhere. The
// zero value is empty. Safe for concurrent use.
type handshakes struct {
	mu sync.Mutex
	of []stranger
}

type stranger struct {
	net.Conn
	from string // address without the port
}

// begin counts a connection until end.
func (h *handshakes) begin(c net.Conn) {
	from := c.RemoteAddr().String()
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of = append(h.of, stranger{c, from})
	if len(h.of) <= maxHandshakes {
		return
	}
	n := make(map[string]int)
	most := 0
	for _, s := range h.of {
		n[s.from]++
		most = max(most, n[s.from])
	}
	i := slices.IndexFunc(h.of, func(s stranger) bool { return n[s.from] == most })
	_ = h.of[i].Close() // its handshake ends
	h.of = slices.Delete(h.of, i, i+1)
}

// end forgets a connection, if it is still counted.
func (h *handshakes) end(c net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of = slices.DeleteFunc(h.of, func(s stranger) bool { return s.Conn == c })
}
