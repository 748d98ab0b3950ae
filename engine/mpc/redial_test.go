package mpc

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestTwice: a party's folder that runs twice is told of by the party after it and by nobody else; with the copy gone all is well.
func TestTwice(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	var said lines
	for i := range c.parties {
		config := c.partyConfig(i)
		if i == 1 {
			config.Logger = said.logger()
		}
		c.startAs(config)
	}
	c.startGateway()
	c.ready()
	if said.has("in use twice") {
		t.Error("nobody is there twice")
	}
	at, own := newPort(t), c.ports[0]
	c.ports[0] = at
	copied := c.partyConfig(0)
	c.ports[0] = own
	copied.FS, copied.Dir = vfs.NewCrashableMem(), "copy"
	p, err := OpenParty(copied)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(ctx) }()
	c.eventually("it is told", func() bool { return said.has("WARN", "in use twice", "peer=party0") })
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	c.stopParty(0)
	c.start(0)
	c.ready()
	x := unit(rng, testDim)
	c.enrol("a", x)
	c.verify("a", x, true)
}

// TestTwoGateways: two processes with one gateway's key are told of by the parties.
func TestTwoGateways(t *testing.T) {
	c := newWorld(t)
	var said lines
	config := c.partyConfig(0)
	config.Timeout, config.Logger = testTimeout/100, said.logger() // told after two
	p, err := OpenParty(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.store.end(); err != nil {
			t.Error(err)
		}
	}()
	var links [2]*Link
	for i := range links {
		a, b, err := connect(t, c.gid, c.ids[0], c.pins, c.pins)
		if err != nil {
			t.Fatal(err)
		}
		newLink(t, a, LinkConfig{Timeout: testTimeout})
		links[i] = newLink(t, b, LinkConfig{Timeout: testTimeout})
		p.mu.gateways[links[i]] = &gatewayLink{index: 7}
		if i == 0 {
			if p.watchTwice(links[i], p.mu.gateways[links[i]]); said.has("twice") {
				t.Error("one is not two")
			}
		}
	}
	if p.watchTwice(links[1], p.mu.gateways[links[1]]); !said.has("WARN", "in use twice", "peer=gateway-7") {
		t.Error("two are not told of")
	}
}

// TestWrongPin: who dials, and is refused for its key, or finds another key than it has the pin of, says so once, where an operator sees it.
func TestWrongPin(t *testing.T) {
	c := newWorld(t)
	var said lines
	config := c.gatewayConfig()
	config.Logger, config.Pins = said.logger(), Pins{}
	for role, pin := range c.pins {
		config.Pins[role] = pin
	}
	config.Pins[PartyRole(1)] = c.gid.Pin()
	for i := range c.parties {
		c.start(i)
	}
	g, err := OpenGateway(config)
	if err != nil {
		t.Fatal(err)
	}
	c.gateway = g
	c.eventually("it is tried again", func() bool { return said.has("DEBUG", "not the one pinned for party1", "party=1") })
	if n := said.count("WARN", "a party can't be reached", "not the one pinned for party1", "party=1"); n != 1 {
		t.Errorf("it is said %d times, want once", n)
	}
}
