package mpc

import (
	"bytes"
	"context"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// testRoot is a root key of a party.
type testRoot struct{ k *kek }

func newTestRoot(t testing.TB, name string) testRoot {
	t.Helper()
	key := sha256.Sum256([]byte(name))
	aead, err := newAEAD(key[:])
	if err != nil {
		t.Fatal(err)
	}
	return testRoot{&kek{aead}}
}

func (r testRoot) Wrap(key, context []byte) ([]byte, error) { return r.k.wrap(key, context), nil }

func (r testRoot) Unwrap(wrapped, context []byte) ([]byte, error) {
	return r.k.aead.Open(nil, nil, wrapped, context)
}

// port is an address that outlives the party behind it: while there is none, who connects is sent away.
type port struct {
	l      net.Listener
	frozen frost
	mu     struct {
		sync.Mutex
		at *portListener
	}
}

func newPort(t testing.TB) *port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &port{l: l}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			at := p.mu.at
			p.mu.Unlock()
			if at == nil || !at.give(&frostConn{Conn: c, f: &p.frozen, closed: make(chan struct{})}) {
				c.Close()
			}
		}
	}()
	return p
}

// open is a listener for one life of a party.
func (p *port) open() net.Listener {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.at = &portListener{port: p, conns: make(chan net.Conn), closed: make(chan struct{})}
	return p.mu.at
}

type portListener struct {
	port   *port
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *portListener) give(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.closed:
		return false
	}
}

func (l *portListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *portListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *portListener) Addr() net.Addr { return l.port.l.Addr() }

// testDim is such that vectors at random have a cosine of 0.4 once in 10^10 pairs.
const testDim = 256

// testPolicies has policy 1 for verification, and 2 for identification, and budgets that are not used up.
func testPolicies(t testing.TB) *Policies {
	t.Helper()
	p, err := ParsePolicies(fmt.Appendf(nil, `{"policies": {"1": {"model": 1, "dim": %d, "log2_scale": 12, "cosine": 0.4, "gallery": 2},
		"2": {"model": 1, "dim": %d, "log2_scale": 7, "cosine": 0.55}}, "budgets": {"record": [{"attempts": 3000, "window": "1h"}]}}`, testDim, testDim))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// world is three parties and a gateway, each with a disk in memory that can crash.
type world struct {
	t          testing.TB
	ids        [Parties]Identity
	shareKeys  [Parties]hpke.PrivateKey
	gid, gid2  Identity
	pins       Pins
	ports      [Parties]*port
	disks      [Parties]*vfs.MemFS
	gatewayFS  *vfs.MemFS
	secondFS   *vfs.MemFS
	parties    [Parties]*running
	gateway    *Gateway
	second     *Gateway // nil until startSecond
	policies   [Parties]*Policies
	now        func() time.Time
	doubtAfter time.Duration
	timeout    time.Duration
	folders    [Parties + 1]string // in place of memory, the gateway's last
	files      [Parties + 1]vfs.FS

	mu struct {
		sync.Mutex
		at   crashPoint
		hit  chan struct{}
		dead []*running // lives that were cut off
		gone []*Gateway
	}
}

// crashPoint is a step of a process; the gateway is process Parties.
type crashPoint struct {
	process int
	step    string
	rng     *mathrand.Rand
	panics  bool // it goes on, and what it does at the step panics
}

// crashAt has the life of a process end when it comes to a step the next time; the channel is closed then. What it has synced, and perhaps
// some of what it has not, is on its disk afterwards.
func (c *world) crashAt(p crashPoint) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.at, c.mu.hit = p, make(chan struct{})
	return c.mu.hit
}

func (c *world) step(process int, step string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.hit == nil || c.mu.at.process != process || c.mu.at.step != step {
		return
	}
	if c.mu.at.panics {
		close(c.mu.hit)
		c.mu.hit = nil
		panic("of a test")
	}
	how := vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * c.mu.at.rng.IntN(3), RNG: c.mu.at.rng}
	if process == Parties {
		c.gateway.kill()
		c.mu.gone = append(c.mu.gone, c.gateway)
		c.gatewayFS = c.gatewayFS.CrashClone(how)
	} else {
		c.parties[process].kill()
		c.mu.dead = append(c.mu.dead, c.parties[process])
		c.disks[process] = c.disks[process].CrashClone(how)
	}
	close(c.mu.hit)
	c.mu.hit = nil
}

// kill has nothing that the gateway says get out from when it returns.
func (g *Gateway) kill() {
	g.stop()
	for _, r := range g.remotes {
		r.mu.Lock()
		l := r.mu.link
		r.mu.Unlock()
		if l != nil {
			_ = l.Close()
		}
	}
}

// running is one life of a party.
type running struct {
	*Party
	stop context.CancelFunc
	done chan struct{}
	err  error
}

func newWorld(t testing.TB) *world {
	t.Helper()
	c := &world{t: t, pins: make(Pins), now: time.Now, doubtAfter: time.Minute, timeout: testTimeout}
	for i := range c.ids {
		c.ids[i], c.shareKeys[i] = mustIdentity(t, PartyRole(i)), mustShareKey(t)
		c.pins[PartyRole(i)] = c.ids[i].Pin()
		c.ports[i], c.disks[i], c.policies[i] = newPort(t), vfs.NewCrashableMem(), testPolicies(t)
	}
	c.gid = mustIdentity(t, GatewayRole(7))
	c.pins[GatewayRole(7)] = c.gid.Pin()
	c.gid2 = mustIdentity(t, GatewayRole(8))
	c.pins[GatewayRole(8)] = c.gid2.Pin()
	c.gatewayFS, c.secondFS = vfs.NewCrashableMem(), vfs.NewCrashableMem()
	t.Cleanup(c.close)
	return c
}

func mustShareKey(t testing.TB) hpke.PrivateKey {
	t.Helper()
	key, err := NewEnvelopeKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func mustIdentity(t testing.TB, role Role) Identity {
	t.Helper()
	id, err := NewIdentity(role)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// startWorld is newWorld with everybody up.
func startWorld(t testing.TB) *world {
	t.Helper()
	c := newWorld(t)
	for i := range c.parties {
		c.start(i)
	}
	c.startGateway()
	c.ready()
	return c
}

// testTimeout is long where nothing is expected to be slow, as a machine that runs other tests is.
const testTimeout = 20 * time.Second

func testLog(t testing.TB) *slog.Logger {
	if os.Getenv("MPC_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// lines is what a process says.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// has reports whether there is a line with all of some texts.
func (l *lines) has(texts ...string) bool { return l.count(texts...) > 0 }

// count is how many lines have all of some texts.
func (l *lines) count(texts ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if !slices.ContainsFunc(texts, func(s string) bool { return !strings.Contains(line, s) }) {
			n++
		}
	}
	return n
}

// at is where a process keeps its store.
func (c *world) at(process int, dir string, mem *vfs.MemFS) (string, vfs.FS) {
	if c.files[process] != nil {
		return c.folders[process], c.files[process]
	}
	return dir, mem
}

func (c *world) partyConfig(i int) PartyConfig {
	dir, disk := c.at(i, "data", c.disks[i])
	return PartyConfig{Index: i, Cluster: "test", Dir: dir, FS: disk, Root: newTestRoot(c.t, fmt.Sprint("party", i)), Identity: c.ids[i], Pins: c.pins,
		Listener: c.ports[i].open(), Next: c.ports[(i+1)%Parties].l.Addr().String(), Policies: c.policies[i], ShareKey: c.shareKeys[i], Timeout: c.timeout, DoubtAfter: c.doubtAfter,
		Logger: testLog(c.t).With("party", i), Now: c.now, hook: func(step string) { c.step(i, step) }}
}

func (c *world) start(i int) {
	c.t.Helper()
	c.startAs(c.partyConfig(i))
}

func (c *world) startAs(config PartyConfig) {
	c.t.Helper()
	p, err := OpenParty(config)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{Party: p, stop: stop, done: make(chan struct{})}
	c.parties[config.Index] = r
	go func() {
		r.err = p.Serve(ctx)
		close(r.done)
	}()
}

// refuses makes sure that a party does not start.
func (c *world) refuses(config PartyConfig, want error) {
	c.t.Helper()
	_, err := OpenParty(config)
	_ = config.Listener.Close() // who connects meanwhile is sent away
	wantErr(c.t, err, want)
}

// kill ends a party's life: nothing it says gets out from when it returns. What it writes afterwards is on a disk that is given up.
func (r *running) kill() {
	r.stop()
	r.closeLinks()
}

// stopParty ends a party in an orderly way.
func (c *world) stopParty(i int) {
	c.t.Helper()
	r := c.parties[i]
	if r == nil {
		return
	}
	c.parties[i] = nil
	r.stop()
	<-r.done
	if r.err != nil {
		c.t.Error(r.err)
	}
}

func (c *world) gatewayConfig() GatewayConfig {
	dir, disk := c.at(Parties, "gateway", c.gatewayFS)
	g := GatewayConfig{Index: 7, Cluster: "test", Dir: dir, FS: disk, Key: bytes.Repeat([]byte{3}, DirectoryKeyBytes), Identity: c.gid, Pins: c.pins,
		Policies: c.policies[0], Timeout: c.timeout, Logger: testLog(c.t).With("gateway", 7), Now: c.now, hook: func(step string) { c.step(Parties, step) }}
	for i, p := range c.ports {
		g.Parties[i] = p.l.Addr().String()
	}
	return g
}

func (c *world) startGateway() {
	c.t.Helper()
	g, err := OpenGateway(c.gatewayConfig())
	if err != nil {
		c.t.Fatal(err)
	}
	c.gateway = g
}

// startSecond starts another gateway of the cluster, for tenants of its own.
func (c *world) startSecond() {
	c.t.Helper()
	cfg := c.gatewayConfig()
	cfg.Index, cfg.Dir, cfg.FS, cfg.Key, cfg.Identity = 8, "second", c.secondFS, bytes.Repeat([]byte{4}, DirectoryKeyBytes), c.gid2
	cfg.Logger, cfg.hook = testLog(c.t).With("gateway", 8), nil
	g, err := OpenGateway(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.second = g
}

func (c *world) stopSecond() {
	if c.second == nil {
		return
	}
	if err := c.second.Close(); err != nil {
		c.t.Error(err)
	}
	c.second = nil
}

// gateways are those that run.
func (c *world) gateways() []*Gateway {
	if c.second == nil {
		return []*Gateway{c.gateway}
	}
	return []*Gateway{c.gateway, c.second}
}

func (c *world) stopGateway() {
	c.t.Helper()
	if c.gateway == nil {
		return
	}
	if err := c.gateway.Close(); err != nil {
		c.t.Error(err)
	}
	c.gateway = nil
}

// ready waits until the gateway and the parties, those that live now, are linked with each other.
func (c *world) ready() {
	c.t.Helper()
	c.eventually("ready", func() bool {
		for _, p := range c.parties {
			if !p.linked() {
				return false
			}
		}
		return c.gateway.ready() == nil
	})
}

func (r *running) linked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	drained := false
	for l, g := range r.mu.gateways {
		drained = drained || l.Err() == nil && g.drained.Load()
	}
	return drained && r.mu.prev != nil && r.mu.prev.Err() == nil && r.mu.next != nil && r.mu.next.Err() == nil
}

// eventually waits for what needs no more than time.
func (c *world) eventually(what string, is func() bool) {
	c.t.Helper()
	for begin := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > 2*time.Minute {
			c.t.Fatalf("it never came: %s; parties are %v", what, c.gateway.Status())
		}
	}
}

func (c *world) close() {
	c.stopGateway()
	c.stopSecond()
	for _, g := range c.mu.gone {
		_ = g.Close()
	}
	for _, r := range c.mu.dead {
		<-r.done
	}
	for i := range c.parties {
		c.stopParty(i)
	}
}

func (c *world) enrol(user string, x []float32) Enrolled {
	c.t.Helper()
	e, err := c.gateway.Enrol(context.Background(), "t", user, Enrolment{Policy: 1, Template: x, Replace: true})
	if err != nil {
		c.t.Fatal(err)
	}
	return e
}

func (c *world) verify(user string, x []float32, want bool) {
	c.t.Helper()
	match, err := c.gateway.Verify(context.Background(), "t", user, 1, x)
	if err != nil || match != want {
		c.t.Fatalf("verify %q: %v, %v, want %v", user, match, err, want)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// people are users with their templates.
func people(rng *mathrand.Rand, n int) map[string][]float32 {
	all := make(map[string][]float32, n)
	for i := range n {
		all[fmt.Sprintf("user-%d", i)] = unit(rng, testDim)
	}
	return all
}
