package mpc

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

const killEnv = "MIEN_MPC_TEST_KILL"

// killConfig is what a process of TestKill9 is told in its environment.
type killConfig struct {
	Process   int // a party, or Parties for the gateway
	Dir       string
	Cert, Key []byte
	Pins      map[Role]string
	Addresses [Parties]string
	Die       string // step at which it kills itself; "" never
}

// killOrder is a line that the gateway's process reads, and killAnswer one that it writes.
type (
	killOrder struct {
		Op, User string // enrol, bulk, delete, verify
		Seed     uint64 // of the template or probe
	}
	killAnswer struct {
		Match   bool
		Unknown bool
		Error   string
	}
)

// TestKillProcess is no test but a party or the gateway of TestKill9, on real files.
func TestKillProcess(t *testing.T) {
	if os.Getenv(killEnv) == "" {
		t.Skip("the other tests' process")
	}
	var c killConfig
	if err := json.Unmarshal([]byte(os.Getenv(killEnv)), &c); err != nil {
		t.Fatal(err)
	}
	id, err := ParseIdentity(c.Cert, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	pins := Pins{}
	for role, text := range c.Pins {
		pin, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		pins[role] = Pin(pin)
	}
	hook := func(step string) {
		if step == c.Die {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if c.Process == Parties {
		c.gateway(t, id, pins, hook)
	} else {
		c.party(t, id, pins, hook)
	}
}

func (c killConfig) party(t *testing.T, id Identity, pins Pins, hook func(string)) {
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := OpenParty(PartyConfig{Index: c.Process, Cluster: "test", Dir: c.Dir, Root: newTestRoot(t, fmt.Sprint("party", c.Process)), Identity: id, Pins: pins,
		Listener: l, Next: c.Addresses[(c.Process+1)%Parties], Policies: testPolicies(t), Timeout: testTimeout, hook: hook})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	t.Error(p.Serve(t.Context()))
}

func (c killConfig) gateway(t *testing.T, id Identity, pins Pins, hook func(string)) {
	g, err := OpenGateway(GatewayConfig{Index: 7, Cluster: "test", Dir: c.Dir, Key: make([]byte, DirectoryKeyBytes), Identity: id, Pins: pins, Parties: c.Addresses,
		Policies: testPolicies(t), Timeout: testTimeout, hook: hook})
	if err != nil {
		t.Fatal(err)
	}
	orders, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o killOrder
		if orders.Decode(&o) != nil {
			os.Exit(0)
		}
		var a killAnswer
		err := g.AwaitReady(t.Context())
		x := killFace(o.Seed)
		switch {
		case err != nil:
		case o.Op == "enrol":
			_, err = g.Enrol(t.Context(), "t", o.User, Enrolment{Policy: 1, Template: x, Replace: true})
		case o.Op == "bulk":
			for _, out := range g.EnrolAll(t.Context(), "t", killBulk(o.User, o.Seed)) {
				err = errors.Join(err, out.Err)
			}
		case o.Op == "delete":
			_, err = g.Delete(t.Context(), "t", o.User)
		default:
			a.Match, err = g.Verify(t.Context(), "t", o.User, 1, x)
		}
		if a.Unknown = errors.Is(err, ErrUnknown); err != nil {
			a.Error = err.Error()
		}
		if answers.Encode(a) != nil {
			os.Exit(0)
		}
	}
}

// killFace is a face of a seed.
func killFace(seed uint64) []float32 { return unit(mathrand.New(mathrand.NewPCG(seed, 9)), testDim) }

// killBulk are a user and others, whose ids and faces follow from theirs.
func killBulk(user string, seed uint64) (people []Person) {
	for i := range uint64(3) {
		people = append(people, Person{user, Enrolment{Policy: 1, Template: killFace(seed + i), Replace: true}})
		user += "'"
	}
	return people
}

// killed is four processes, which are killed and started again.
type killed struct {
	t       *testing.T
	configs [Parties + 1]killConfig
	ports   [Parties]*os.File
	cmds    [Parties + 1]*exec.Cmd
	orders  io.WriteCloser
	answers *json.Decoder
}

func newKilled(t *testing.T) *killed {
	t.Helper()
	k, dir, pins := &killed{t: t}, t.TempDir(), map[Role]string{}
	var addresses [Parties]string
	for i := range k.configs {
		role := GatewayRole(7)
		if i < Parties {
			role = PartyRole(i)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if k.ports[i], err = l.(*net.TCPListener).File(); err != nil {
				t.Fatal(err)
			}
			addresses[i] = l.Addr().String()
			l.Close()
			t.Cleanup(func() { k.ports[i].Close() })
		}
		id, err := NewIdentity(role)
		if err != nil {
			t.Fatal(err)
		}
		pin := id.Pin()
		pins[role] = hex.EncodeToString(pin[:])
		k.configs[i] = killConfig{Process: i, Dir: filepath.Join(dir, string(role))}
		if k.configs[i].Cert, k.configs[i].Key, err = id.PEM(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range k.configs {
		k.configs[i].Pins, k.configs[i].Addresses = pins, addresses
		k.start(i, "")
	}
	t.Cleanup(func() {
		for i := range k.cmds {
			k.kill(i)
		}
	})
	return k
}

// start starts a process that kills itself at a step.
func (k *killed) start(i int, die string) {
	k.t.Helper()
	c := k.configs[i]
	c.Die = die
	b, err := json.Marshal(c)
	if err != nil {
		k.t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillProcess$")
	cmd.Env, cmd.Stderr = append(os.Environ(), killEnv+"="+string(b)), os.Stderr
	if i < Parties {
		cmd.ExtraFiles = []*os.File{k.ports[i]}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		k.t.Fatal(err)
	}
	if i == Parties {
		k.orders, k.answers = in, json.NewDecoder(bufio.NewReader(out))
	}
	k.cmds[i] = cmd
}

func (k *killed) kill(i int) {
	_ = k.cmds[i].Process.Kill()
	_ = k.cmds[i].Wait()
}

// ask orders something from the gateway's process; ok is false where it ended.
func (k *killed) ask(o killOrder) (a killAnswer, ok bool) {
	b, err := json.Marshal(o)
	if err != nil {
		k.t.Fatal(err)
	}
	_, _ = k.orders.Write(append(b, '\n'))
	return a, k.answers.Decode(&a) == nil
}

// until asks until it is done, the gateway's process ends, or another has ended meanwhile: one that was only just started may miss the first
// call. It reports whether it is done.
func (k *killed) until(dead <-chan struct{}, o killOrder) (done bool) {
	for !isClosed(dead) {
		a, ok := k.ask(o)
		if done = ok && a.Error == ""; done || !ok {
			return done
		}
	}
	return false
}

// again asks until it is done.
func (k *killed) again(o killOrder) (a killAnswer) {
	k.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		a, ok := k.ask(o)
		if ok && (a.Error == "" || a.Unknown) {
			return a
		}
		if !ok || time.Now().After(end) {
			said, _ := io.ReadAll(k.answers.Buffered())
			k.t.Fatalf("%+v: %+v %s", o, a, said)
		}
	}
}

// TestKill9 kills real processes, of parties and of the gateway, by SIGKILL at each step of an enrolment, a replacement, enrolments together and a deletion, and starts
// them again on their folders: it has happened or not, to all, and what was acknowledged has. With -short one party for each step; TestCrash has
// all, on disks that lose what was not synced.
func TestKill9(t *testing.T) {
	k := newKilled(t)
	if a := k.again(killOrder{"enrol", "other", 1}); a.Error != "" {
		t.Fatal(a)
	}
	n := 0
	for _, op := range []string{"enrol", "replace", "bulk", "delete"} {
		for at, step := range crashSteps[op].party {
			for i := range Parties {
				if !testing.Short() || at%Parties == i {
					n++
					k.round(op, i, step, n)
				}
			}
		}
		for _, step := range crashSteps[op].gateway {
			n++
			k.round(op, Parties, step, n)
		}
	}
	if a := k.again(killOrder{"verify", "other", 1}); !a.Match {
		t.Errorf("who was not concerned: %+v", a)
	}
}

func (k *killed) round(op string, process int, step string, n int) {
	k.t.Helper()
	before, after, user := uint64(10*n), uint64(10*n+1), fmt.Sprint("user ", n)
	order := killOrder{"enrol", user, after}
	switch op {
	case "bulk":
		order.Op = op
	case "delete":
		order = killOrder{"delete", user, 0}
	}
	if op != "enrol" {
		k.again(killOrder{"enrol", user, before})
	}
	k.kill(process)
	k.start(process, step)
	told, dead := make(chan bool, 1), make(chan struct{})
	go func() { told <- k.until(dead, order) }()
	if err := k.cmds[process].Wait(); err == nil {
		k.t.Fatalf("%s: process %d ends at %s by itself", op, process, step)
	}
	close(dead)
	if process < Parties { // the gateway's call waits for it, and goes on
		k.start(process, "")
	}
	acknowledged := <-told
	if process == Parties {
		k.start(process, "")
	}
	old, fresh := k.again(killOrder{"verify", user, before}), k.again(killOrder{"verify", user, after})
	happened := fresh.Match
	if op == "delete" {
		happened = old.Unknown
	}
	if op == "bulk" {
		if last := k.again(killOrder{"verify", user + "''", after + 2}); last.Match != fresh.Match {
			k.t.Errorf("process %d killed at %s: one of those who were enrolled together %+v, another %+v", process, step, fresh, last)
		}
	}
	if old.Match == fresh.Match && (op == "replace" || op == "bulk") || acknowledged && !happened {
		k.t.Errorf("%s, process %d killed at %s, acknowledged %v: before %+v, after %+v", op, process, step, acknowledged, old, fresh)
	}
	k.again(order)
	old, fresh = k.again(killOrder{"verify", user, before}), k.again(killOrder{"verify", user, after})
	if op == "delete" && !old.Unknown || op != "delete" && (old.Match || !fresh.Match) {
		k.t.Errorf("%s, process %d killed at %s, and done again: before %+v, after %+v", op, process, step, old, fresh)
	}
}
