package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var crashRounds = flag.Int("rounds", 0, "rounds of TestKill9; 0: a dozen, or 3 with -short")

const (
	crashClients = 8
	crashPeople  = 100 // of each client in the gallery that all share: more templates in all than an index keeps on the heap
	crashGuests  = 4   // of each client in a gallery of its own, which it deletes at times
)

// TestKill9 ends the running program with kill -9 under load, again and again. After each start every acknowledged enrolment, replacement,
// added template, erasure and deletion of a gallery is there, what was under way happened whole or not at all, and exact searches find
// what the store holds and nothing else. `make crash` runs hundreds of rounds.
func TestKill9(t *testing.T) {
	rounds := *crashRounds
	if rounds == 0 {
		rounds = 12
		if testing.Short() {
			rounds = 3
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	c := &crash{t: t, data: filepath.Join(t.TempDir(), "data")}
	for i := range crashClients {
		c.clients = append(c.clients, newCrashClient(i, rng.Uint64()))
	}
	s := c.start()
	c.prepare(s)
	for round := range rounds {
		c.load(s, time.Duration(50+rng.IntN(500))*time.Millisecond)
		s = c.start()
		c.check(s)
		if t.Failed() {
			t.Fatalf("round %d failed; the server's log:\n%.4000s", round+1, s.log)
		}
	}
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Errorf("stop: %v\n%s", err, s.log)
	}
	c.report(rounds)
}

// crash is the test's state over all rounds.
type crash struct {
	t        *testing.T
	data     string
	space    string
	clients  []*crashClient
	restarts []time.Duration

	acked, happened, lost atomic.Int64 // writes: acknowledged, and what came of those that were cut off
	looked                atomic.Int64 // people compared after restarts
}

func (c *crash) start() *testServer {
	c.t.Helper()
	begin := time.Now()
	s := start(c.t, c.data)
	c.restarts = append(c.restarts, time.Since(begin))
	return s
}

// prepare makes the galleries and enrols everybody once.
func (c *crash) prepare(s *testServer) {
	var g struct{ Space string }
	s.want(201, "PUT", "/v1/galleries/shared", map[string]any{}, &g)
	c.space = g.Space
	c.each(func(k *crashClient) {
		s.want(201, "PUT", "/v1/galleries/"+k.own, map[string]any{}, nil)
		k.hasOwn = true
		for _, p := range k.people {
			if p.gallery == "shared" && !k.write(c, s, p, k.put(p)) {
				c.t.Error("the server ended")
			}
		}
	})
	c.restarts = nil // the first start made the folder
}

// each runs f for every client at once.
func (c *crash) each(f func(*crashClient)) {
	var wg sync.WaitGroup
	for _, k := range c.clients {
		wg.Go(func() { f(k) })
	}
	wg.Wait()
}

// load has all clients write until the server is killed.
func (c *crash) load(s *testServer, d time.Duration) {
	timer := time.AfterFunc(d, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	c.each(func(k *crashClient) { k.run(c, s) })
	if err := s.cmd.Wait(); err == nil {
		c.t.Error("killed with exit code 0")
	}
}

// check compares a restarted server with what its clients know.
func (c *crash) check(s *testServer) {
	c.each(func(k *crashClient) { k.check(c, s) })
	people, templates := 0, 0
	for _, k := range c.clients {
		n, m := k.count("shared")
		people, templates = people+n, templates+m
	}
	c.countIs(s, "shared", people, templates)
}

// countIs holds the counts of a gallery, which are its index's, against the ledger's.
func (c *crash) countIs(s *testServer, gallery string, people, templates int) {
	var g struct{ People, Templates int }
	s.want(200, "GET", "/v1/galleries/"+gallery, nil, &g)
	if g.People != people || g.Templates != templates {
		c.t.Errorf("%s has %d people with %d templates, acknowledged were %d with %d", gallery, g.People, g.Templates, people, templates)
	}
}

func (c *crash) report(rounds int) {
	slices.Sort(c.restarts)
	n := len(c.restarts)
	c.t.Logf("%d rounds: %d writes acknowledged, none lost; of %d that were cut off %d happened; %d people compared; restart min %v, median %v, max %v",
		rounds, c.acked.Load(), c.happened.Load()+c.lost.Load(), c.happened.Load(), c.looked.Load(),
		c.restarts[0].Round(time.Millisecond), c.restarts[n/2].Round(time.Millisecond), c.restarts[n-1].Round(time.Millisecond))
	if c.acked.Load() < int64(20*rounds) {
		c.t.Errorf("only %d writes were acknowledged: the test tested nothing", c.acked.Load())
	}
}

// crashPerson is what is known of a person: the seeds of the templates. nil is nobody.
type crashPerson struct {
	gallery, id string
	seeds       []uint64   // acknowledged
	maybe       [][]uint64 // what a write that was cut off may have made of it: one state or none
}

// crashClient is alone in writing its people and its own gallery. One request at a time.
type crashClient struct {
	own    string
	hasOwn bool
	cut    bool // the making or deletion of own was cut off
	people []*crashPerson
	gone   []uint64 // seeds that the shared gallery must not have any more, the latest
	rng    *rand.Rand
	next   uint64
}

func newCrashClient(i int, seed uint64) *crashClient {
	k := &crashClient{own: fmt.Sprintf("own-%d", i), rng: rand.New(rand.NewPCG(seed, uint64(i))), next: uint64(i+1) << 40}
	for n := range crashPeople {
		k.people = append(k.people, &crashPerson{gallery: "shared", id: fmt.Sprintf("c%d-%d", i, n)})
	}
	for n := range crashGuests {
		k.people = append(k.people, &crashPerson{gallery: k.own, id: fmt.Sprint("guest-", n)})
	}
	return k
}

// crashWrite is one request and what it makes of a person.
type crashWrite struct {
	method, path string
	after        []uint64
}

func (k *crashClient) seed() uint64 { k.next++; return k.next }

// put enrols a person, or replaces it, with one to three templates.
func (k *crashClient) put(p *crashPerson) crashWrite {
	w := crashWrite{method: "PUT", path: "/v1/galleries/" + p.gallery + "/people/" + p.id}
	for range 1 + k.rng.IntN(3) {
		w.after = append(w.after, k.seed())
	}
	return w
}

func (k *crashClient) choose(p *crashPerson) crashWrite {
	path := "/v1/galleries/" + p.gallery + "/people/" + p.id
	switch op := k.rng.IntN(10); {
	case p.seeds != nil && op < 3:
		return crashWrite{method: "DELETE", path: path}
	case p.seeds != nil && op < 5 && len(p.seeds) < 8:
		return crashWrite{method: "POST", path: path + "/templates", after: append(slices.Clone(p.seeds), k.seed())}
	}
	return k.put(p)
}

// write sends a request and notes what came of it; false says that the server has ended.
func (k *crashClient) write(c *crash, s *testServer, p *crashPerson, w crashWrite) bool {
	var body []byte
	switch w.method {
	case "PUT":
		all := []any{}
		for _, seed := range w.after {
			all = append(all, template(c.space, seed))
		}
		body, _ = json.Marshal(map[string]any{"templates": all})
	case "POST":
		body, _ = json.Marshal(map[string]any{"template": template(c.space, w.after[len(w.after)-1])})
	}
	p.maybe = [][]uint64{w.after}
	a, err := s.try(w.method, w.path, "application/json", body)
	if err != nil {
		return false
	}
	if a.status/100 != 2 {
		c.t.Errorf("%s: %v", w.method, a)
		return false
	}
	c.acked.Add(1)
	k.become(p, w.after)
	return true
}

// become notes a person's state and which templates went.
func (k *crashClient) become(p *crashPerson, seeds []uint64) {
	for _, old := range append(slices.Clone(p.seeds), slices.Concat(p.maybe...)...) {
		if p.gallery == "shared" && !slices.Contains(seeds, old) {
			k.gone = append(k.gone, old)
		}
	}
	k.gone = k.gone[max(0, len(k.gone)-10):]
	p.seeds, p.maybe = seeds, nil
}

// run writes at random until the server ends.
func (k *crashClient) run(c *crash, s *testServer) {
	for {
		if k.rng.IntN(25) == 0 {
			if !k.turnOwn(c, s) {
				return
			}
			continue
		}
		p := k.people[k.rng.IntN(len(k.people))]
		if k.rng.IntN(4) == 0 {
			p = k.people[crashPeople+k.rng.IntN(crashGuests)]
		}
		if p.gallery == k.own && !k.hasOwn {
			continue
		}
		if !k.write(c, s, p, k.choose(p)) {
			return
		}
	}
}

// turnOwn deletes the client's gallery, or makes it again.
func (k *crashClient) turnOwn(c *crash, s *testServer) bool {
	method := "PUT"
	if k.hasOwn {
		method = "DELETE"
	}
	k.cut = true
	a, err := s.try(method, "/v1/galleries/"+k.own, "application/json", []byte("{}"))
	if err != nil {
		return false
	}
	if a.status/100 != 2 {
		c.t.Errorf("%s %s: %v", method, k.own, a)
		return false
	}
	c.acked.Add(1)
	k.cut = false
	if k.hasOwn = !k.hasOwn; !k.hasOwn {
		k.nobodyInOwn()
	}
	return true
}

func (k *crashClient) nobodyInOwn() {
	for _, p := range k.people[crashPeople:] {
		p.seeds, p.maybe = nil, nil
	}
}

// check compares all that the client knows with the restarted server, and takes over what came of its last write.
func (k *crashClient) check(c *crash, s *testServer) {
	k.checkOwn(c, s)
	for _, p := range k.people {
		if p.gallery == "shared" || k.hasOwn {
			k.checkPerson(c, s, p)
		}
	}
	if k.hasOwn {
		people, templates := k.count(k.own)
		c.countIs(s, k.own, people, templates)
	}
	for _, seed := range k.gone {
		if person, cosine := c.search(s, "shared", seed); cosine > .99 {
			c.t.Errorf("a template that is gone is found: of %s", person)
		}
	}
}

// checkOwn: the gallery is there, or gone with everybody, as was acknowledged.
func (k *crashClient) checkOwn(c *crash, s *testServer) {
	a := s.send("GET", "/v1/galleries/"+k.own, "", nil)
	there := a.status == 200
	switch {
	case there == k.hasOwn:
		if k.cut {
			c.lost.Add(1)
		}
	case k.cut:
		c.happened.Add(1)
		if k.hasOwn = there; !there {
			k.nobodyInOwn()
		}
	default:
		c.t.Errorf("%s: there is %v, acknowledged was %v: %v", k.own, there, k.hasOwn, a)
	}
	k.cut = false
}

// checkPerson: the person is as acknowledged, or as the write that was cut off would have it, whole.
func (k *crashClient) checkPerson(c *crash, s *testServer, p *crashPerson) {
	c.looked.Add(1)
	a := s.send("GET", "/v1/galleries/"+p.gallery+"/people/"+p.id, "", nil)
	var got struct{ Templates []struct{ ID string } }
	if a.status != 404 {
		if err := json.Unmarshal(a.body, &got); err != nil || a.status != 200 {
			c.t.Errorf("%s: %v", p.id, a)
			return
		}
	}
	for i, state := range append([][]uint64{p.seeds}, p.maybe...) {
		if !c.is(s, p, state, len(got.Templates), len(p.maybe) > 0 || k.rng.IntN(4) == 0) {
			continue
		}
		if len(p.maybe) > 0 {
			[]*atomic.Int64{&c.lost, &c.happened}[i].Add(1)
		}
		k.become(p, state)
		return
	}
	c.t.Errorf("%s has %d templates, which are not the %d that were acknowledged, nor those of a write that was cut off (%v)",
		p.id, len(got.Templates), len(p.seeds), len(p.maybe) > 0)
}

// is says whether a person with so many templates has exactly those of some seeds, and whether a search finds the person if it is to.
func (c *crash) is(s *testServer, p *crashPerson, seeds []uint64, templates int, search bool) bool {
	if len(seeds) != templates {
		return false
	}
	for _, seed := range seeds {
		var d struct{ Cosine float64 }
		s.want(200, "POST", "/v1/galleries/"+p.gallery+"/people/"+p.id+"/verify", map[string]any{"template": template(c.space, seed)}, &d)
		if !(d.Cosine > .9999) {
			return false
		}
	}
	if search && templates > 0 {
		if person, cosine := c.search(s, p.gallery, seeds[0]); person != p.id || !(cosine > .9999) {
			c.t.Errorf("an exact search for %s finds %q at %v", p.id, person, cosine)
		}
	}
	return true
}

// search is who is nearest to a template, searched exactly.
func (c *crash) search(s *testServer, gallery string, seed uint64) (person string, cosine float64) {
	var found struct {
		Candidates []struct {
			Person string
			Cosine float64
		}
	}
	s.want(200, "POST", "/v1/galleries/"+gallery+"/identify", map[string]any{"template": template(c.space, seed), "top_k": 1, "exact": true}, &found)
	if len(found.Candidates) == 0 {
		return "", 0
	}
	return found.Candidates[0].Person, found.Candidates[0].Cosine
}

// count is how many people a client has in a gallery, and their templates.
func (k *crashClient) count(gallery string) (people, templates int) {
	for _, p := range k.people {
		if p.gallery == gallery && len(p.seeds) > 0 {
			people, templates = people+1, templates+len(p.seeds)
		}
	}
	return people, templates
}
