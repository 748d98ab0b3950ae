// Package mpctest runs three parties and a gateway in one process, over TLS and real files, for tests of what is above them.
package mpctest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mien/engine/mpc"
)

// Cluster is three parties and a gateway.
type Cluster struct {
	Gateway *mpc.Gateway

	t         testing.TB
	policies  *mpc.Policies
	ids       [mpc.Parties]mpc.Identity
	shareKeys [mpc.Parties]hpke.PrivateKey
	pins      mpc.Pins
	addresses [mpc.Parties]string
	dir       string
	running   [mpc.Parties]*running

	mu struct {
		sync.Mutex
		step func(string)
	}
}

// OnStep has step called when the gateway is at a step of a write ("begun", "voted", "decided", "erasing", …), before it goes on; nil: no more.
func (c *Cluster) OnStep(step func(name string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.step = step
}

func (c *Cluster) at(step string) {
	c.mu.Lock()
	call := c.mu.step
	c.mu.Unlock()
	if call != nil {
		call(step)
	}
}

// Interrupt has party i stop when the next enrolment is voted for, and calls then when it is decided, and so not carried out everywhere.
func (c *Cluster) Interrupt(i int, then func()) {
	c.OnStep(func(step string) {
		switch step {
		case "voted":
			c.Stop(i)
		case "decided":
			c.OnStep(nil)
			then()
		}
	})
}

type running struct {
	stop context.CancelFunc
	done chan struct{}
}

// WideBudgets is for policies of tests that are not about budgets: an attempt that is made again because a machine is slow counts as well.
const WideBudgets = `, "budgets": {"record": [{"attempts": 100000, "window": "1h"}], "identify": [{"attempts": 30000, "window": "1h"}]}`

const cluster = "mpctest"

// timeout is long: a machine that runs other tests is slow, and a party that is stopped is seen at once by the end of its links.
const timeout = 20 * time.Second

// New starts a cluster with policies as mpc.ParsePolicies reads them, and ends it with the test.
func New(t testing.TB, policies string) *Cluster {
	t.Helper()
	c := &Cluster{t: t, pins: mpc.Pins{}, dir: t.TempDir()}
	var err error
	if c.policies, err = mpc.ParsePolicies([]byte(policies)); err != nil {
		t.Fatal(err)
	}
	var listeners [mpc.Parties]net.Listener
	for i := range c.ids {
		c.ids[i] = c.identity(mpc.PartyRole(i))
		if c.shareKeys[i], err = mpc.NewEnvelopeKey(); err != nil {
			t.Fatal(err)
		}
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		c.addresses[i] = listeners[i].Addr().String()
	}
	own := c.identity(mpc.GatewayRole(0))
	for i, l := range listeners {
		c.serve(i, l)
	}
	config := mpc.GatewayConfig{Cluster: cluster, Dir: filepath.Join(c.dir, "gateway"), Key: key("gateway"), Identity: own, Pins: c.pins,
		Parties: c.addresses, Policies: c.policies, Timeout: timeout, Logger: slog.New(slog.DiscardHandler)}
	config.OnStep(c.at)
	if c.Gateway, err = mpc.OpenGateway(config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Gateway.Close(); err != nil {
			t.Error(err)
		}
		for i := range c.running {
			c.Stop(i)
		}
	})
	c.Ready()
	return c
}

func (c *Cluster) identity(role mpc.Role) mpc.Identity {
	c.t.Helper()
	id, err := mpc.NewIdentity(role)
	if err != nil {
		c.t.Fatal(err)
	}
	c.pins[role] = id.Pin()
	return id
}

func key(name string) []byte {
	k := sha256.Sum256([]byte(name))
	return k[:]
}

// root wraps keys by a key.
type root struct{ cipher.AEAD }

func newRoot(name string) (mpc.RootKey, error) {
	block, err := aes.NewCipher(key(name))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return root{aead}, err
}

// Wrap implements mpc.RootKey.
func (r root) Wrap(key, context []byte) ([]byte, error) { return r.Seal(nil, nil, key, context), nil }

// Unwrap implements mpc.RootKey.
func (r root) Unwrap(wrapped, context []byte) ([]byte, error) {
	return r.Open(nil, nil, wrapped, context)
}

func (c *Cluster) serve(i int, l net.Listener) { c.serveBy(i, l, c.policies) }

func (c *Cluster) serveBy(i int, l net.Listener, policies *mpc.Policies) {
	c.t.Helper()
	key, err := newRoot(fmt.Sprint("party", i))
	if err != nil {
		c.t.Fatal(err)
	}
	p, err := mpc.OpenParty(mpc.PartyConfig{Index: i, Cluster: cluster, Dir: c.folder(i), Root: key, Identity: c.ids[i],
		Pins: c.pins, Listener: l, Next: c.addresses[(i+1)%mpc.Parties], Policies: policies, ShareKey: c.shareKeys[i], Timeout: timeout})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{stop, make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := p.Serve(ctx); err != nil {
			c.t.Error(err)
		}
	}()
	c.running[i] = r
}

// Stop ends a party, and returns when it has ended; one that has is left so.
func (c *Cluster) Stop(i int) {
	r := c.running[i]
	if r == nil {
		return
	}
	r.stop()
	<-r.done
	c.running[i] = nil
}

// Away is Stop, and waits until the gateway knows.
func (c *Cluster) Away(i int) {
	c.t.Helper()
	c.Stop(i)
	c.await(func() bool { return c.Gateway.Status()[i] == mpc.PartyAway })
}

// LoseShareKey starts a party anew without its key for envelopes.
func (c *Cluster) LoseShareKey(i int) {
	c.t.Helper()
	c.Away(i)
	c.shareKeys[i] = nil
	c.Start(i)
}

// Lose has a party start with an empty folder, and waits until the gateway knows.
func (c *Cluster) Lose(i int) {
	c.t.Helper()
	c.Stop(i)
	if err := os.RemoveAll(c.folder(i)); err != nil {
		c.t.Fatal(err)
	}
	c.serveBy(i, c.listen(i), c.policies)
	c.await(func() bool { return c.Gateway.Status()[i] == mpc.PartyLost })
}

func (c *Cluster) folder(i int) string { return filepath.Join(c.dir, fmt.Sprint("party", i)) }

func (c *Cluster) listen(i int) (l net.Listener) {
	c.t.Helper()
	c.await(func() (ok bool) { // a connection of before may hold the port for a moment
		var err error
		l, err = net.Listen("tcp", c.addresses[i])
		return err == nil
	})
	return l
}

// Start starts parties that were stopped, and waits until all serve.
func (c *Cluster) Start(these ...int) {
	c.t.Helper()
	for _, i := range these {
		c.serveBy(i, c.listen(i), c.policies)
	}
	c.Ready()
}

// StartWith is Start with policies of the party's own.
func (c *Cluster) StartWith(i int, policies string) {
	c.t.Helper()
	p, err := mpc.ParsePolicies([]byte(policies))
	if err != nil {
		c.t.Fatal(err)
	}
	c.serveBy(i, c.listen(i), p)
	c.Ready()
}

// Ready waits until all parties serve.
func (c *Cluster) Ready() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	if err := c.Gateway.AwaitReady(ctx); err != nil {
		c.t.Fatal(err)
	}
}

func (c *Cluster) await(ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatal("waited for a minute")
		}
	}
}
