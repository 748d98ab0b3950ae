package http

import (
	"container/list"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"mien/engine"
)

// failures counts failed authentications by the client's address, an IPv6 one by its /64, which is what one client has. Safe for
// concurrent use.
//
// What it is for: nobody can guess a secret of 256 bits, but a client that tries fills the log, and one whose key has ended should
// notice. A good key is let through from any address: behind a proxy or a NAT others' failures must not shut it out, and to refuse
// it would keep no guess from being tried. Addresses are few and the one that failed last is kept; who has many can make one
// forgotten and gains as many answers of 401 in place of 429.
type failures struct {
	most int // a minute and address; negative: no limit
	mu   struct {
		sync.Mutex
		of    map[netip.Addr]*list.Element // of *failing
		order *list.List                   // last first
	}
}

// failing is an address that failures came from.
type failing struct {
	addr  netip.Addr
	since time.Time // the minute's begin
	n     int
}

const (
	maxFailing    = 4096 // addresses that are remembered, some 200 bytes each
	failureWindow = time.Minute
)

func newFailures(most int) *failures {
	f := &failures{most: most}
	f.mu.of, f.mu.order = make(map[netip.Addr]*list.Element), list.New()
	return f
}

// count counts a failure and returns how many there were this minute, and when the minute ends.
func (f *failures) count(addr netip.Addr, now time.Time) (n int, end time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.mu.of[addr]
	if e == nil {
		if f.mu.order.Len() >= maxFailing {
			delete(f.mu.of, f.mu.order.Remove(f.mu.order.Back()).(*failing).addr)
		}
		e = f.mu.order.PushFront(&failing{addr: addr, since: now})
		f.mu.of[addr] = e
	}
	f.mu.order.MoveToFront(e)
	a := e.Value.(*failing)
	if now.Sub(a.since) >= failureWindow {
		a.since, a.n = now, 0
	}
	a.n++
	return a.n, a.since.Add(failureWindow)
}

// clientNet is the address that failures are counted by.
func clientNet(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	if a = a.Unmap(); a.Is6() {
		p, _ := a.Prefix(64) // never fails
		return p.Addr()
	}
	return a
}

// failed counts a request whose key was refused, and refuses more than the address may have. Errors: err, the problem auth_limited.
func (s *Server) failed(r *request, err error) error {
	if s.failures.most < 0 || !errors.Is(err, engine.ErrKeyUnknown) && !errors.Is(err, engine.ErrKeyRevoked) && !errors.Is(err, engine.ErrKeyExpired) {
		return err
	}
	addr := clientNet(r.fc.RemoteIP())
	n, end := s.failures.count(addr, r.start)
	if n <= s.failures.most {
		return err
	}
	if n == s.failures.most+1 {
		s.log.LogAttrs(r.context(), slog.LevelWarn, "keys from this address keep failing", slog.String("client", addr.String()), slog.String("request_id", r.id))
	}
	p := fail(codeAuthLimited, "%d keys that are no good came from this address within a minute: check the key, and wait as long as Retry-After says", s.failures.most)
	p.retry = max(end.Sub(r.start), 1)
	return p
}
