package mpc

import (
	"net"
	"testing"
)

// TestSilentStrangers: connections that say nothing, however many, lock out nobody who shakes hands.
func TestSilentStrangers(t *testing.T) {
	c := startWorld(t)
	addr := c.ports[0].l.Addr().String()
	for range 3 * maxHandshakes {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	conn, err := Dial(t.Context(), addr, c.gid, PartyRole(0), c.pins)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// TestLinksOfOneGateway: a gateway has one link, whatever it opens, and takes no place from others.
func TestLinksOfOneGateway(t *testing.T) {
	c := startWorld(t)
	addr := c.ports[0].l.Addr().String()
	var all []*Link
	for range maxHandshakes + 1 {
		conn, err := Dial(t.Context(), addr, c.gid2, PartyRole(0), c.pins)
		if err != nil {
			t.Fatal(err)
		}
		l, err := NewLink(conn, LinkConfig{Cluster: "test", Timeout: testTimeout})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
		defer l.Close()
	}
	c.eventually("it has one link", func() bool {
		p, n := c.parties[0], 0
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, g := range p.mu.gateways {
			if g.index == 8 {
				n++
			}
		}
		return n == 1
	})
	n := 0
	c.eventually("the others have ended", func() bool {
		n = 0
		for _, l := range all {
			if l.Err() == nil {
				n++
			}
		}
		return n <= 1
	})
	conn, err := Dial(t.Context(), addr, c.ids[2], PartyRole(0), c.pins)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	c.ready()
}

// TestHandshakes: who goes when there are too many is the oldest of the address that has the most.
func TestHandshakes(t *testing.T) {
	var h handshakes
	at := func(host byte, port int) *addressed {
		a := &addressed{addr: net.TCPAddr{IP: net.IPv4(10, 0, 0, host), Port: port}}
		h.begin(a)
		return a
	}
	alone, some := at(1, 1), make([]*addressed, maxHandshakes)
	for i := range some {
		some[i] = at(2, i)
	}
	if alone.closed || !some[0].closed || some[1].closed || len(h.of) != maxHandshakes {
		t.Errorf("of one address is gone: %v; of another the first: %v, the second: %v; %d are left", alone.closed, some[0].closed, some[1].closed, len(h.of))
	}
	h.end(alone)
	h.end(alone)
	if len(h.of) != maxHandshakes-1 {
		t.Errorf("%d are left", len(h.of))
	}
}

type addressed struct {
	net.Conn
	addr   net.TCPAddr
	closed bool
}

func (a *addressed) RemoteAddr() net.Addr { return &a.addr }

func (a *addressed) Close() error {
	a.closed = true
	return nil
}
