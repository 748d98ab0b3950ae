package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"net"
	nethttp "net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mien/engine/mpc"
)

// sharedServer is a server with parties, and a gallery.
type sharedServer struct {
	*testServer
	space string
	rng   *rand.Rand
}

// startShared starts a server and waits for its parties.
func startShared(t *testing.T, data, parties string, args ...string) *sharedServer {
	t.Helper()
	s := &sharedServer{testServer: start(t, data, append([]string{"--parties", parties}, args...)...), rng: rand.New(rand.NewPCG(1, 2))}
	s.ready()
	var g struct{ Space string }
	s.send("PUT", "/v1/galleries/people", "application/json", []byte("{}"))
	s.want(200, "GET", "/v1/galleries/people", nil, &g)
	s.space = g.Space
	return s
}

// states are the parties' as /readyz has them.
func (s *sharedServer) states() (states []mpc.PartyState) {
	s.t.Helper()
	var ready struct{ Parties []mpc.PartyState }
	if err := json.Unmarshal(s.send("GET", "/readyz", "", nil).body, &ready); err != nil {
		s.t.Fatal(err)
	}
	return ready.Parties
}

func (s *sharedServer) await(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("a minute has passed, and not: %s", what)
		}
	}
}

// ready waits until all parties serve.
func (s *sharedServer) ready() {
	s.t.Helper()
	s.await("all parties are ready", func() bool {
		states := s.states()
		return len(states) == mpc.Parties && !slices.ContainsFunc(states, func(p mpc.PartyState) bool { return p != mpc.PartyReady })
	})
}

// face is a made-up template of norm 1.
func (s *sharedServer) face() []float32 { return unit(s.rng, 512) }

func floatBytes(v []float32) (b []byte) {
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

const sharedPath = "/v1/galleries/people/decentralised/"

func (s *sharedServer) ask(method, path string, v []float32) answer {
	s.t.Helper()
	var body []byte
	if v != nil {
		body = fmt.Appendf(nil, `{"template":{"space":%q,"f32":%q}}`, s.space, base64.StdEncoding.EncodeToString(floatBytes(v)))
	}
	return s.send(method, sharedPath+path, "application/json", body)
}

// until asks until the parties answer with a status; 503 alone may come before.
func (s *sharedServer) until(status int, method, path string, v []float32) (a answer) {
	s.t.Helper()
	s.await(fmt.Sprintf("%s %s is answered with %d", method, path, status), func() bool {
		if a = s.ask(method, path, v); a.status != 503 && a.status != status {
			s.t.Fatalf("%s %s: %v, want %d", method, path, a, status)
		}
		return a.status == status
	})
	return a
}

// seal has mien party seal make the body of a request about a person, "" for a search.
func (s *sharedServer) seal(op, person string, v []float32, args ...string) (body []byte, stderr string, code int) {
	s.t.Helper()
	path, dir := sharedPath+"sealing", s.t.TempDir()
	if person != "" {
		path = sharedPath + "people/" + person + "/sealing"
	}
	with, template := filepath.Join(dir, "with"), filepath.Join(dir, "template")
	s.ready()
	a := s.send("GET", path, "", nil)
	if a.status != 200 {
		s.t.Fatalf("GET %s: %v", path, a)
	}
	write(s.t, with, json.RawMessage(a.body))
	write(s.t, template, map[string]any{"space": s.space, "f32": floatBytes(v)})
	stdout, stderr, code := mien(s.t, nil, append([]string{"party", "seal", "--op", op, with, template}, args...)...)
	return []byte(stdout), stderr, code
}

// sealed asks with a template that the server does not see, each time with envelopes of its own, until a party is not away.
func (s *sharedServer) sealed(method, path, op, person string, v []float32, args ...string) (a answer) {
	s.t.Helper()
	s.await("the parties answer what is sealed", func() bool {
		body, stderr, code := s.seal(op, person, v, args...)
		if code != 0 {
			s.t.Fatalf("seal: %d %s", code, stderr)
		}
		a = s.send(method, sharedPath+path, "application/json", body)
		return a.status != 503
	})
	return a
}

func (s *sharedServer) matches(person string, v []float32, want bool) {
	s.t.Helper()
	if a := s.until(200, "POST", "people/"+person+"/verify", v); string(bytes.TrimSpace(a.body)) != fmt.Sprintf(`{"match":%v}`, want) {
		s.t.Errorf("%s: %s, want %v", person, a.body, want)
	}
}

// children are the processes of the parties, by number.
func (s *sharedServer) children() (pids [mpc.Parties]int) {
	s.t.Helper()
	all, err := os.ReadDir("/proc")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range all {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		stat, _ := os.ReadFile(filepath.Join("/proc", d.Name(), "stat"))
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		f := bytes.Fields(rest)
		if len(f) < 2 || string(f[1]) != strconv.Itoa(s.cmd.Process.Pid) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join("/proc", d.Name(), "cmdline"))
		for i := range pids {
			if bytes.Contains(line, []byte("/party"+strconv.Itoa(i)+"\x00")) {
				pids[i] = pid
			}
		}
	}
	return pids
}

// child waits for a party's process that is not the one before.
func (s *sharedServer) child(i, before int) (pid int) {
	s.t.Helper()
	s.await("a party runs", func() bool { pid = s.children()[i]; return pid != 0 && pid != before })
	return pid
}

// needles are what would be there if a template were: parts of it as floats, and as both fixed-point numbers are.
func needles(v []float32) (all [][]byte) {
	f := floatBytes(v)
	var long, short []byte
	for _, x := range v {
		long = binary.LittleEndian.AppendUint32(long, uint32(int32(math.Round(float64(x)*(1<<mpc.VerifyLogScale)))))
		short = binary.LittleEndian.AppendUint16(short, uint16(int16(math.Round(float64(x)*(1<<mpc.IdentifyLogScale)))))
	}
	for _, b := range [][]byte{f, long, short} {
		for at := 0; at+16 <= len(b); at += len(b) / 4 {
			all = append(all, b[at:at+16])
		}
	}
	return all
}

// inMemory reports whether a process has one of the needles in memory that it may write.
func inMemory(t *testing.T, pid string, needles [][]byte) bool {
	t.Helper()
	maps, err := os.ReadFile("/proc/" + pid + "/maps")
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open("/proc/" + pid + "/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	const chunk, overlap = 1 << 20, 15
	b := make([]byte, chunk+overlap)
	var read int64
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var perm string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &perm); n != 3 || !strings.HasPrefix(perm, "rw") {
			continue
		}
		for at := from; at < to; at += chunk {
			n, _ := mem.ReadAt(b[:min(chunk+overlap, to-at)], at) // what is not there has nothing in it
			read += int64(n)
			for _, needle := range needles {
				if bytes.Contains(b[:n], needle) {
					return true
				}
			}
		}
	}
	if read < 1<<20 {
		t.Fatalf("of process %s %d bytes could be read", pid, read)
	}
	return false
}

// inFiles reports whether a file below a folder has one of the needles.
func inFiles(t *testing.T, dir string, needles [][]byte) (found bool) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // a store removes files meanwhile
		}
		b, err := os.ReadFile(path)
		if err == nil {
			files++
		}
		found = found || slices.ContainsFunc(needles, func(n []byte) bool { return bytes.Contains(b, n) })
		return nil
	})
	if err != nil || files < 5 {
		t.Fatalf("%s: %d files, %v", dir, files, err)
	}
	return found
}

// TestPartiesDev has the real program with three parties: people come and go while parties are killed, stopped for a while, and killed
// with the server; nobody's template is in what a party has on disk or in memory.
func TestPartiesDev(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	s := startShared(t, data, "dev", "--allow-core-dumps")
	ann, bob := s.face(), s.face()
	s.until(200, "PUT", "people/ann", ann)
	s.until(200, "PUT", "people/bob", bob)
	s.matches("ann", ann, true)
	s.matches("ann", bob, false)
	if a := s.until(200, "POST", "identify", bob); !strings.Contains(string(a.body), `{"people":["bob"]}`) {
		t.Errorf("identified %s", a.body)
	}
	own := needles(ann)
	pids := s.children()
	for i, pid := range pids {
		if inMemory(t, strconv.Itoa(pid), own) {
			t.Errorf("party %d has a template in memory", i)
		}
		if inFiles(t, filepath.Join(data, "parties", fmt.Sprint("party", i)), own) {
			t.Errorf("party %d has a template on disk", i)
		}
	}
	if inFiles(t, filepath.Join(data, "parties", "gateway"), own) {
		t.Error("the gateway has a template on disk")
	}
	if !inMemory(t, "self", own) {
		t.Error("this process has the template, and it is not found")
	}

	// Somebody whose template the server does not see, and the parties neither.
	cy := s.face()
	if a := s.sealed("PUT", "people/cy", "enrol", "cy", cy); a.status != 200 {
		t.Errorf("sealed enrolment: %v", a)
	}
	if a := s.sealed("POST", "people/cy/verify", "verify", "cy", cy); string(bytes.TrimSpace(a.body)) != `{"match":true}` {
		t.Errorf("sealed verification: %v %s", a, a.body)
	}
	if a := s.sealed("POST", "identify", "identify", "", cy); !strings.Contains(string(a.body), `{"people":["cy"]}`) {
		t.Errorf("sealed search: %v %s", a, a.body)
	}
	for _, pid := range append(pids[:], s.cmd.Process.Pid) {
		if inMemory(t, strconv.Itoa(pid), needles(cy)) {
			t.Errorf("process %d has a template in memory that a client sealed", pid)
		}
	}

	// Youverse's pair, with a photo.
	key := s.clientKey("youverse")
	photo := base64.StdEncoding.EncodeToString(photoBytes(t, "a_1.jpg"))
	for _, want := range []string{"NEW_USER", "SUCCESS"} {
		status, body, _ := s.youverse(key, "POST", fmt.Sprintf(`{"user_id":"eve","user_photo":%q,"create_if_new":true}`, photo))
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("%d %s, want %s", status, body, want)
		}
	}

	// A party that does not answer: 503 in a while, and it is well when it does again.
	if err := syscall.Kill(pids[1], syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	status, body, header := s.youverse(key, "POST", fmt.Sprintf(`{"user_id":"eve","user_photo":%q,"create_if_new":true}`, photo))
	if status != 503 || header.Get("Retry-After") == "" {
		t.Errorf("a party is stopped: %d %s %v", status, body, header)
	}
	if err := syscall.Kill(pids[1], syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.ready()
	if status, body, _ = s.youverse(key, "DELETE", `{"user_id":"eve"}`); status != 204 {
		t.Errorf("%d %s", status, body)
	}
	s.matches("bob", bob, true)

	for round := range 6 {
		s.killed(round)
	}
	s.matches("ann", ann, true)

	// The server goes, and its children with it, whatever they were doing.
	pids = s.children()
	v := s.face()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = s.try("PUT", sharedPath+"people/last", "application/json", fmt.Appendf(nil, `{"template":{"space":%q,"f32":%q}}`, s.space, base64.StdEncoding.EncodeToString(floatBytes(v))))
	})
	_ = s.cmd.Process.Kill()
	wg.Wait()
	_ = s.cmd.Wait()
	for _, pid := range pids {
		s.await("the children end", func() bool { return syscall.Kill(pid, 0) != nil })
	}
	s = startShared(t, data, "dev")
	s.matches("ann", ann, true)
	s.until(200, "PUT", "people/last", v)
	s.matches("last", v, true)
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v\n%s", err, s.log)
	}
	for _, pid := range s.children() {
		if pid != 0 {
			t.Errorf("process %d outlives the server", pid)
		}
	}
}

// killed kills a party while somebody is enrolled, in an even round, or deleted, and then looks what came of it: all or nothing, and
// what was answered holds.
func (s *sharedServer) killed(round int) {
	s.t.Helper()
	i, person, v := round%mpc.Parties, fmt.Sprint("p", round), s.face()
	method := "PUT"
	if round%2 == 1 {
		s.until(200, "PUT", "people/"+person, v)
		method = "DELETE"
	}
	pid := s.children()[i]
	timer := time.AfterFunc(time.Duration(s.rng.IntN(30_000))*time.Microsecond, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	defer timer.Stop()
	body := v
	if method == "DELETE" {
		body = nil
	}
	a := s.ask(method, "people/"+person, body)
	if a.status != 200 && a.status != 503 {
		s.t.Errorf("%s while party %d is killed: %v", method, i, a)
	}
	s.child(i, pid)
	s.ready()
	if method == "PUT" {
		if a.status != 200 {
			s.until(200, "PUT", "people/"+person, v)
		}
		s.matches(person, v, true)
		return
	}
	if a.status != 200 {
		s.await("the deletion is done", func() bool { return s.ask("DELETE", "people/"+person, nil).status == 404 })
	}
	s.until(404, "POST", "people/"+person+"/verify", v)
}

func (s *testServer) clientKey(dialect string) string {
	s.t.Helper()
	var k struct{ Token string }
	s.want(201, "POST", "/v1/keys", map[string]any{"role": "client", "dialect": dialect, "galleries": []string{"people"}}, &k)
	return k.Token
}

func (s *testServer) youverse(key, method, body string) (status int, answer string, header nethttp.Header) {
	s.t.Helper()
	req, err := nethttp.NewRequest(method, s.url+"/user_verification/decentralized", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := nethttp.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	return resp.StatusCode, b.String(), resp.Header
}

// partyProgram is a mien party on a port that outlives it.
type partyProgram struct {
	t      *testing.T
	port   *os.File
	config string
	cmd    *exec.Cmd
}

func (p *partyProgram) start(args ...string) {
	p.t.Helper()
	p.cmd = exec.Command(program, append([]string{"party", "--config", p.config, "--listen-fd", "3"}, args...)...)
	p.cmd.ExtraFiles = []*os.File{p.port}
	log, err := os.Create(p.config + ".log")
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// monitor is what a party, started with --status, answers its monitor.
func (p *partyProgram) monitor(s *sharedServer, path string) (status int, body string) {
	p.t.Helper()
	var line struct{ Status string }
	s.await("a party answers monitors", func() bool {
		log, err := os.ReadFile(p.config + ".log")
		if err != nil {
			p.t.Fatal(err)
		}
		for l := range bytes.Lines(log) {
			if _ = json.Unmarshal(l, &line); line.Status != "" {
				return true
			}
		}
		return false
	})
	resp, err := nethttp.Get("http://" + line.Status + path)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (p *partyProgram) stop(sig os.Signal) error {
	_ = p.cmd.Process.Signal(sig)
	return p.cmd.Wait()
}

// TestPartiesFile is the real thing: folders made by mien party init, three parties started by their files, a gateway that has their
// addresses and pins; and a party that has another key than it is known by.
func TestPartiesFile(t *testing.T) {
	dir, env := t.TempDir(), setUp(t)
	made := func(name, role string) (m partyMade) {
		t.Helper()
		stdout, stderr, code := mien(t, env, "--json", "party", "init", filepath.Join(dir, name), "--role", role)
		if err := json.Unmarshal([]byte(stdout), &m); err != nil || code != 0 || m.Role != role || len(m.Pin) != 64 {
			t.Fatalf("%d %s %s: %v", code, stdout, stderr, err)
		}
		return m
	}
	gateway := made("gateway", "gateway-0")
	pins := map[string]string{"gateway-0": gateway.Pin}
	var parties [mpc.Parties]*partyProgram
	var at []partyAt
	for i := range parties {
		role := string(mpc.PartyRole(i))
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		t.Cleanup(func() { port.Close() })
		m := made(role, role)
		if again := made(role, role); !reflect.DeepEqual(again, m) {
			t.Errorf("init made other keys: %+v, %+v", m, again)
		}
		pins[role] = m.Pin
		if len(m.SharePin) != 64 {
			t.Errorf("%+v", m)
		}
		at = append(at, partyAt{l.Addr().String(), m.Pin, m.SharePin})
		parties[i] = &partyProgram{t: t, port: port, config: filepath.Join(dir, role+".json")}
	}
	for i, p := range parties {
		write(t, p.config, map[string]any{"data": filepath.Join(dir, string(mpc.PartyRole(i))), "cluster": "test", "next": at[(i+1)%mpc.Parties].Address, "pin": pins, "status": "127.0.0.1:0"})
		p.start()
		t.Cleanup(func() { _ = p.stop(os.Kill) })
	}
	file := filepath.Join(dir, "parties.json")
	write(t, file, map[string]any{"cluster": "test", "dir": "gateway", "spaces": gateway.Spaces, "parties": at})
	s := startShared(t, filepath.Join(dir, "data"), file)
	ann := s.face()
	s.until(200, "PUT", "people/ann", ann)
	s.matches("ann", ann, true)

	// Each party's own administrator sees how it does, and nobody's name.
	for path, want := range map[string]struct {
		status int
		says   []string
	}{
		"/healthz": {200, []string{`"status":"ok"`}},
		"/readyz":  {200, []string{`{"status":"ok","party":2,"gateways":1}`}},
		"/metrics": {200, []string{`mien_party_repairs{party="2"} 0`, `mien_party_serves{party="2"} 1`, `mien_party_linked{party="2",peer="0"} 1`, `mien_party_linked{party="2",peer="1"} 1`, `mien_party_gateways{party="2"} 1`,
			`mien_party_requests_total{party="2",operation="enrol",outcome="ok"} 1`, `mien_party_requests_total{party="2",operation="verify",outcome="ok"} 1`,
			`mien_party_request_seconds_total{party="2",operation="verify",outcome="ok"} 0.`}},
		"/people": {404, []string{"/metrics"}},
	} {
		status, body := parties[2].monitor(s, path)
		for _, says := range want.says {
			if status != want.status || !strings.Contains(body, says) || strings.Contains(body, "ann") {
				t.Errorf("%s: %d %s, want %d %s", path, status, body, want.status, says)
			}
		}
	}

	// A client that has the share keys' pins seals, unless they are others.
	sharePins := func(last string) []string {
		return []string{"--pin", fmt.Sprintf("party0=%s;party1=%s;party2=%s", at[0].SharePin, at[1].SharePin, last)}
	}
	if a := s.sealed("POST", "people/ann/verify", "verify", "ann", ann, sharePins(at[2].SharePin)...); string(bytes.TrimSpace(a.body)) != `{"match":true}` {
		t.Errorf("sealed verification: %v %s", a, a.body)
	}
	for _, bad := range [][]string{sharePins(at[0].SharePin), sharePins("00"), {"--pin", "party0=" + at[0].SharePin}, {"--op", "identify"}} {
		if body, stderr, code := s.seal("verify", "ann", ann, bad...); code != 1 || stderr == "" || len(body) > 0 {
			t.Errorf("%v: %d %s %s", bad, code, stderr, body)
		}
	}

	// What a party has counted of a person its administrator forgets, once it is stopped, by pseudonyms of the gateway's key.
	var name partyName
	if stdout, stderr, code := mien(t, env, "--json", "party", "name", filepath.Join(dir, "gateway"), "-g", "people", "--person", "ann"); code != 0 || json.Unmarshal([]byte(stdout), &name) != nil || name.Person == nil {
		t.Fatalf("%d %s %s", code, stdout, stderr)
	}
	unlock := func(code int, says string, person string) (u partyUnlocked) {
		t.Helper()
		stdout, stderr, got := mien(t, env, "--json", "party", "unlock", filepath.Join(dir, "party1"), "--cluster", "test", "--tenant", name.Tenant.String(), "--person", person)
		if got != code || !strings.Contains(stdout+stderr, says) {
			t.Errorf("unlock %s: %d %s %s, want %d %q", person, got, stdout, stderr, code, says)
		}
		_ = json.Unmarshal([]byte(stdout), &u)
		return u
	}
	unlock(1, "stop it first", name.Person.String())
	if err := parties[1].stop(syscall.SIGTERM); err != nil {
		t.Errorf("party 1 ended with %v", err)
	}
	unlock(1, "nobody is enrolled", strings.Repeat("0", 32))
	unlock(1, "is no pseudonym", "ann")
	if u := unlock(0, "", name.Person.String()); u.Party != 1 || u.Attempts == 0 {
		t.Errorf("%+v", u)
	}
	if u := unlock(0, "", name.Person.String()); u.Attempts != 0 {
		t.Errorf("after it was unlocked: %+v", u)
	}
	parties[1].start()
	s.ready()
	s.matches("ann", ann, true)

	// Somebody with another key in the place of party 1 is let in by nobody.
	if err := parties[1].stop(syscall.SIGTERM); err != nil {
		t.Errorf("party 1 ended with %v", err)
	}
	if m := made("stranger", "party1"); m.SharePin == at[1].SharePin {
		t.Error("two folders have one share key")
	}
	parties[1].start("--data", filepath.Join(dir, "stranger"))
	s.await("party 1 is away", func() bool { return s.states()[1] == mpc.PartyAway })
	if a := s.ask("POST", "people/ann/verify", ann); a.status != 503 || a.code != "party_away" {
		t.Errorf("with a stranger: %v", a)
	}
	_ = parties[1].stop(syscall.SIGKILL)
	parties[1].start()
	s.ready()
	s.matches("ann", ann, true)

	// A party that has lost its disk serves nothing until it is repaired from the other two.
	if err := parties[2].stop(syscall.SIGTERM); err != nil {
		t.Errorf("party 2 ended with %v", err)
	}
	for _, name := range []string{"store", "kek"} {
		if err := os.RemoveAll(filepath.Join(dir, "party2", name)); err != nil {
			t.Fatal(err)
		}
	}
	parties[2].start()
	s.await("party 2 is lost", func() bool { return s.states()[2] == mpc.PartyLost })
	if status, body := parties[2].monitor(s, "/readyz"); status != 503 || !strings.Contains(body, "--repair-party 2") {
		t.Errorf("of a party that has lost its store: %d %s", status, body)
	}
	if a := s.ask("POST", "people/ann/verify", ann); a.status != 503 {
		t.Errorf("with a party that has lost its store: %v", a)
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v\n%s", err, s.log)
	}
	s = startShared(t, filepath.Join(dir, "data"), file, "--repair-party", "2")
	s.matches("ann", ann, true)

	for _, bad := range []struct {
		says string
		args []string
	}{
		{"not of a party", []string{"party", "--config", parties[0].config, "--data", filepath.Join(dir, "gateway")}},
		{"tls.crt", []string{"party", "--config", parties[0].config, "--data", filepath.Join(dir, "nothing")}},
		{"party0", []string{"party", "--config", parties[0].config, "--pin", "party0=00"}},
		{"--pin lacks party2, gateway-0", []string{"party", "--config", parties[0].config, "--pin", "party1=" + at[1].Pin}},
		{"in use by another mien", []string{"party", "--config", parties[0].config, "--listen", "127.0.0.1:0"}},
		{"", []string{"party", "init", filepath.Join(dir, "party0"), "--role", "party2"}},
		{"king", []string{"party", "init", filepath.Join(dir, "new"), "--role", "king"}},
		{"parties are 0, 1 and 2", []string{"serve", "--data", filepath.Join(dir, "other"), "--listen", "127.0.0.1:0", "--parties", file, "--repair-party", "7"}},
		{"README.md has its form", []string{"serve", "--data", filepath.Join(dir, "other"), "--listen", "127.0.0.1:0", "--parties", "none.json"}},
	} {
		if _, stderr, code := mien(t, env, bad.args...); code != 1 || stderr == "" || !strings.Contains(stderr, bad.says) {
			t.Errorf("%v: %d %s, want %q", bad.args, code, stderr, bad.says)
		}
	}
	for role, want := range map[string]bool{"party0": true, "gateway": false} { // budgets are each party's own
		b, err := os.ReadFile(filepath.Join(dir, role, policiesFile))
		if err != nil || bytes.Contains(b, []byte(`"window": "30d"`)) != want {
			t.Errorf("%s: %v %s", role, err, b)
		}
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v\n%s", err, s.log)
	}
}

func write(t testing.TB, path string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
