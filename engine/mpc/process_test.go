package mpc

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const partyEnv = "MIEN_MPC_TEST_PARTY"

// partyConfig is what a party's process is told in its environment.
type partyConfig struct {
	Index     int
	Cert, Key []byte
	Pins      map[Role][]byte
	Rows      int // of its gallery
}

// TestPartyProcess is no test but a party of BenchmarkProcesses: it prints where it listens, reads where the next party
// does, and serves until its input ends. Its only person and its gallery come from a known seed.
func TestPartyProcess(t *testing.T) {
	if os.Getenv(partyEnv) == "" {
		t.Skip("the other tests' process")
	}
	var cfg partyConfig
	if err := json.Unmarshal([]byte(os.Getenv(partyEnv)), &cfg); err != nil {
		t.Fatal(err)
	}
	p := &partyProcess{cfg: cfg, ready: make(chan struct{}), verify: defaults(t, 512, VerifyLogScale), identify: defaults(t, 512, IdentifyLogScale)}
	if cfg.Rows > 0 {
		g, _, _ := benchGallery(t, p.identify, cfg.Rows)
		p.gallery = g[cfg.Index]
	}
	p.serve(t)
}

type partyProcess struct {
	cfg              partyConfig
	verify, identify Params
	gallery          Gallery
	prev, next       *Link
	ready            chan struct{} // they are there
	mu               sync.Mutex
	template         Share
}

func (p *partyProcess) serve(t *testing.T) {
	id, err := ParseIdentity(p.cfg.Cert, p.cfg.Key)
	if err != nil {
		t.Fatal(err)
	}
	pins := Pins{}
	for role, pin := range p.cfg.Pins {
		pins[role] = Pin(pin)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fmt.Println("party at", l.Addr())
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	dialled := make(chan struct{}) // all parties dial at once: each must answer meanwhile
	go func() {
		defer close(dialled)
		c, err := Dial(t.Context(), in.Text(), id, PartyRole((p.cfg.Index+1)%Parties), pins)
		if err != nil {
			t.Error(err)
			return
		}
		p.next, err = NewLink(c, LinkConfig{Timeout: ample})
		if err != nil {
			t.Error(err)
		}
	}()
	for range 2 { // the party before and the gateway, in any order
		p.accept(t, l, id, pins)
	}
	<-dialled
	if p.next == nil {
		return
	}
	defer p.next.Close()
	close(p.ready)
	in.Scan() // until it ends
}

func (p *partyProcess) accept(t *testing.T, l net.Listener, id Identity, pins Pins) {
	nc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Accept(t.Context(), nc, id, pins)
	if err != nil {
		t.Fatal(err)
	}
	if _, party := c.Peer().Party(); party {
		p.prev = newLink(t, c, LinkConfig{Timeout: ample})
		return
	}
	newLink(t, c, LinkConfig{Timeout: ample, Handle: func(l *Link, f Frame) { go p.handle(t, l, f) }})
}

// handle answers a frame: flags are the checks, a payload is u32 items, then of each i32 threshold and a packed share.
func (p *partyProcess) handle(t *testing.T, l *Link, f Frame) {
	<-p.ready
	var out []byte
	switch f.Type {
	case FrameHello:
		out = binary.LittleEndian.AppendUint64(nil, uint64(processorTime()))
	case FramePrepare:
		s, _, err := UnpackShare(f.Payload, 512)
		if err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		p.template = s
		p.mu.Unlock()
	default:
		bits, err := p.session(t, f)
		if err != nil {
			_ = l.Send(Frame{SID: f.SID, Type: FrameError, Payload: []byte(err.Error())})
			return
		}
		out = appendBits(nil, bits)
	}
	_ = l.Send(Frame{SID: f.SID, Type: FrameResult, Payload: out}) // the gateway sees that it has ended
}

func (p *partyProcess) session(t *testing.T, f Frame) (Bits, error) {
	s := &Session{Index: p.cfg.Index, SID: f.SID, Params: p.verify, Check: Check(f.Flags), Timeout: ample}
	var err error
	if s.Prev, err = p.prev.Neighbour(f.SID); err != nil {
		return Bits{}, err
	}
	if s.Next, err = p.next.Neighbour(f.SID); err != nil {
		return Bits{}, err
	}
	p.mu.Lock()
	template := p.template
	p.mu.Unlock()
	items, b := make([]Item, binary.LittleEndian.Uint32(f.Payload)), f.Payload[4:]
	for k := range items {
		items[k].Template, items[k].Threshold = template, int32(binary.LittleEndian.Uint32(b))
		if items[k].Probe, b, err = UnpackShare(b[4:], 512); err != nil {
			return Bits{}, err
		}
	}
	if f.Type == FrameVerify {
		return s.Verify(t.Context(), items)
	}
	s.Params = p.identify
	return s.Identify(t.Context(), p.gallery, Probe{Share: items[0].Probe, Threshold: items[0].Threshold})
}

// gateway is three party processes and a link to each.
type gateway struct{ links [Parties]*Link }

func startProcesses(t testing.TB, rows int) *gateway {
	t.Helper()
	id := identity(t, GatewayRole(0))
	pins, raw := Pins{GatewayRole(0): id.Pin()}, make(map[Role][]byte)
	var ids [Parties]Identity
	for i := range ids {
		ids[i] = identity(t, PartyRole(i))
		pins[PartyRole(i)] = ids[i].Pin()
	}
	for role, pin := range pins {
		raw[role] = pin[:]
	}
	var addrs [Parties]string
	var inputs [Parties]*os.File
	for i := range ids {
		cert, key, err := ids[i].PEM()
		if err != nil {
			t.Fatal(err)
		}
		addrs[i], inputs[i] = startProcess(t, partyConfig{i, cert, key, raw, rows})
	}
	for i := range inputs {
		fmt.Fprintln(inputs[i], addrs[(i+1)%Parties])
	}
	g := new(gateway)
	for i := range g.links {
		c, err := Dial(t.Context(), addrs[i], id, PartyRole(i), pins)
		if err != nil {
			t.Fatal(err)
		}
		g.links[i] = newLink(t, c, LinkConfig{Timeout: ample})
	}
	return g
}

// startProcess starts a party and returns where it listens. It ends with its input.
func startProcess(t testing.TB, cfg partyConfig) (addr string, input *os.File) {
	t.Helper()
	b, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestPartyProcess$")
	cmd.Env, cmd.Stdin, cmd.Stderr = append(os.Environ(), partyEnv+"="+string(b)), r, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() {
		w.Close()
		_ = cmd.Wait() // it complains of links that end
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if addr, ok := strings.CutPrefix(lines.Text(), "party at "); ok {
			go func() {
				for lines.Scan() {
				}
			}()
			return addr, w
		}
	}
	t.Fatal("a party did not start")
	return "", nil
}

// ask sends each party its payload and returns their answers' payloads.
func (g *gateway) ask(t testing.TB, typ FrameType, check Check, payloads [Parties][]byte) (answers [Parties][]byte) {
	sid := MakeSID(0, nextSID.Add(1))
	var streams [Parties]*Stream
	for i, l := range g.links {
		s, err := l.Open(sid)
		if err == nil {
			err = s.SendFrame(Frame{Type: typ, Flags: byte(check), Payload: payloads[i]})
		}
		if err != nil {
			t.Error(err)
			return answers
		}
		streams[i] = s
	}
	for i, s := range streams {
		f, err := s.RecvFrame(t.Context())
		if err != nil || f.Type != FrameResult {
			t.Errorf("party %d: %v, %s", i, err, f.Payload)
		}
		answers[i] = f.Payload
		s.Close()
	}
	return answers
}

// match asks of n probes, shared afresh, and opens the answers.
func (g *gateway) match(t testing.TB, typ FrameType, check Check, probe []uint32, threshold int32, n, answers int) []bool {
	var payloads [Parties][]byte
	for i := range payloads {
		payloads[i] = binary.LittleEndian.AppendUint32(nil, uint32(n))
	}
	for range n {
		for i, b := range SplitPacked(probe) {
			payloads[i] = append(binary.LittleEndian.AppendUint32(payloads[i], uint32(threshold)), b...)
		}
	}
	var bits [Parties]Bits
	for i, b := range g.ask(t, typ, check, payloads) {
		r := &reader{b: b}
		if bits[i] = r.bits(); r.end() != nil || bits[i].N != answers {
			t.Errorf("party %d: %d bytes for %d answers", i, len(b), answers)
			return nil
		}
	}
	got, err := OpenBits(bits)
	if err != nil {
		t.Error(err)
	}
	return got
}

// processorTime is that of this process and the parties.
func (g *gateway) processorTime(t testing.TB) time.Duration {
	sum := processorTime()
	for _, b := range g.ask(t, FrameHello, 0, [Parties][]byte{}) {
		sum += time.Duration(binary.LittleEndian.Uint64(b))
	}
	return sum
}

// BenchmarkProcesses has each party in a process of its own, and the gateway in this one, with mutual TLS among all.
func BenchmarkProcesses(b *testing.B) {
	long, short := defaults(b, 512, VerifyLogScale), defaults(b, 512, IdentifyLogScale)
	items := benchItems(b, long, 1)
	template := SplitPacked(Join(items[0][0].Template, items[1][0].Template))
	probe, threshold := Join(items[0][0].Probe, items[1][0].Probe), items[0][0].Threshold
	start := func(b *testing.B, rows int) *gateway {
		g := startProcesses(b, rows)
		g.ask(b, FramePrepare, 0, template)
		return g
	}
	measure := func(b *testing.B, g *gateway, n int, one func() bool) {
		var times []time.Duration
		cpu := g.processorTime(b)
		for b.Loop() {
			start := time.Now()
			if !one() {
				b.FailNow()
			}
			times = append(times, time.Since(start))
		}
		b.ReportMetric(float64((g.processorTime(b)-cpu).Microseconds())/1000/float64(n*len(times)), "cpu-ms/op")
		report(b, times, n)
	}
	g := start(b, 0)
	for name, c := range map[string]struct {
		check Check
		n     int
	}{"full/1": {CheckFull, 1}, "norm/1": {CheckNorm, 1}, "full/16": {CheckFull, 16}, "norm/64": {CheckNorm, 64}} {
		b.Run(name, func(b *testing.B) {
			measure(b, g, c.n, func() bool { return all(g.match(b, FrameVerify, c.check, probe, threshold, c.n, c.n)) })
		})
	}
	for name, c := range map[string]struct {
		check Check
		n     int
	}{"full/1": {CheckFull, 1}, "norm/64": {CheckNorm, 64}} {
		b.Run("in-flight/"+name, func(b *testing.B) {
			b.SetParallelism(8) // × GOMAXPROCS
			cpu := g.processorTime(b)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if got := g.match(b, FrameVerify, c.check, probe, threshold, c.n, c.n); len(got) == 0 || !got[0] {
						b.Error("no match")
						return
					}
				}
			})
			b.StopTimer()
			b.ReportMetric(float64(b.N*c.n)/b.Elapsed().Seconds(), "verifications/s")
			b.ReportMetric(float64((g.processorTime(b)-cpu).Microseconds())/1000/float64(b.N*c.n), "cpu-ms/op")
		})
	}
	for _, rows := range []int{10_000, 100_000} {
		b.Run(fmt.Sprintf("identify/%d", rows), func(b *testing.B) {
			_, probes, hit := benchGallery(b, short, rows)
			y := Join(probes[0].Share, probes[1].Share)
			g := start(b, rows)
			measure(b, g, 1, func() bool { return g.match(b, FrameIdentify, CheckFull, y, probes[0].Threshold, 1, rows)[hit] })
		})
	}
}

func all(matches []bool) bool { return len(matches) > 0 && !slices.Contains(matches, false) }
