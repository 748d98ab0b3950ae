package mpc

import (
	"net"
	"testing"
)

// cluster is three parties' links over loopback, with mutual TLS: links[i][0] to the party before, links[i][1] to the one
// after.
type cluster struct {
	ids   [Parties]Identity
	pins  Pins
	links [Parties][2]*Link
}

func newCluster(t testing.TB, cfg LinkConfig) *cluster {
	t.Helper()
	c := &cluster{pins: Pins{}}
	for i := range c.ids {
		c.ids[i] = identity(t, PartyRole(i))
		c.pins[PartyRole(i)] = c.ids[i].Pin()
	}
	for i := range c.ids {
		next := (i + 1) % Parties
		a, b, err := connect(t, c.ids[i], c.ids[next], c.pins, c.pins)
		if err != nil {
			t.Fatal(err)
		}
		c.links[i][1], c.links[next][0] = newLink(t, a, cfg), newLink(t, b, cfg)
	}
	return c
}

func newLink(t testing.TB, c *Conn, cfg LinkConfig) *Link {
	t.Helper()
	l, err := NewLink(c, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func identity(t testing.TB, role Role) Identity {
	t.Helper()
	id, err := NewIdentity(role)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// connect has from dial to, and returns both ends, or the first error.
func connect(t testing.TB, from, to Identity, fromPins, toPins Pins) (dialled, accepted *Conn, err error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type result struct {
		c   *Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		nc, err := l.Accept()
		if err != nil {
			done <- result{nil, err}
			return
		}
		c, err := Accept(t.Context(), nc, to, toPins)
		done <- result{c, err}
	}()
	dialled, err = Dial(t.Context(), l.Addr().String(), from, to.Role, fromPins)
	r := <-done
	if err == nil {
		err = r.err
	}
	return dialled, r.c, err
}

// sessions opens a session of the cluster.
func (c *cluster) sessions(t testing.TB, sid uint64, p Params, check Check, timeouts ...func(*Session)) (s [Parties]*Session) {
	t.Helper()
	for i := range s {
		s[i] = &Session{Index: i, SID: sid, Params: p, Check: check, Timeout: ample}
		var err error
		if s[i].Prev, err = c.links[i][0].Neighbour(sid); err != nil {
			t.Fatal(err)
		}
		if s[i].Next, err = c.links[i][1].Neighbour(sid); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
