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
	c.eventually("somebody is enrolled", func() bool {
		_, err := c.gateway.Enrol(t.Context(), "t", "a", Enrolment{Policy: 1, Template: x, Replace: true})
		return err == nil
	})
	c.verify("a", x, true)
}

// TestTwoGateways: two processes with one gateway's key are told of by the parties, and with one of them gone all is well.
func TestTwoGateways(t *testing.T) {
	rng, c := seeded(t), newWorld(t)
	var said lines
	for i := range c.parties {
		config := c.partyConfig(i)
		if i == 0 {
			config.Logger = said.logger()
		}
		c.startAs(config)
	}
	c.startGateway()
	c.ready()
	config := c.gatewayConfig()
	config.FS, config.Dir = vfs.NewCrashableMem(), "copy"
	g, err := OpenGateway(config)
	if err != nil {
		t.Fatal(err)
	}
	c.eventually("it is told", func() bool { return said.has("WARN", "in use twice", "peer=gateway-7") })
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	c.ready()
	x := unit(rng, testDim)
	c.eventually("somebody is enrolled", func() bool {
		_, err := c.gateway.Enrol(t.Context(), "t", "a", Enrolment{Policy: 1, Template: x, Replace: true})
		return err == nil
	})
	c.verify("a", x, true)
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
