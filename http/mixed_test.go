package http

import (
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/engine"
)

var mixedFor = flag.Duration("mixed", 3*time.Second, "how long TestMixedLoad goes on (make soak)")

const (
	mixedDim     = 64   // the least that a graph is made for
	mixedPeople  = 1100 // more than are kept without a graph
	mixedClients = 8
	mixedSlots   = 2 // of the server, so that clients meet refusals often
)

// TestMixedLoad enrols, verifies, identifies, replaces and erases from several clients at once, in a gallery with a graph and
// in one with a scan, on a server that takes fewer requests than there are clients. Every answer that is given must be right; a
// refusal must say that the server is busy. How many refusals there are is up to the machine: TestOverload brings them about. In
// the end the galleries hold who they held, and goroutines, files and memory are what they were after a first third of the time.
func TestMixedLoad(t *testing.T) {
	space := testSpace
	space.ID, space.Dim = "mixed", mixedDim
	h := newHarnessOn(t, openEngine(t, engineConfig(t.TempDir(), space)), func(c *Config) { c.MaxRequests = mixedSlots })
	m := &mixed{h: h, space: space.ID}
	for _, kind := range []string{"scan", "hnsw"} {
		h.want(201, call{method: "PUT", path: "/v1/galleries/" + kind, body: fmt.Appendf(nil, `{"index":%q}`, kind)})
		m.populate(kind)
	}
	m.run(*mixedFor / 3)
	before := m.resources()
	m.run(*mixedFor * 2 / 3)
	after := m.resources()
	t.Logf("%d cycles, %d requests, %d of them refused as too many; before %+v, after %+v", m.cycles.Load(), m.requests.Load(), m.busy.Load(), before, after)
	if after.goroutines > before.goroutines+8 || after.files > before.files+32 || after.heap > before.heap*5/4+(16<<20) {
		t.Errorf("something grows: before %+v, after %+v", before, after)
	}
	for _, kind := range []string{"scan", "hnsw"} {
		var g engine.Gallery
		if h.want(200, call{method: "GET", path: "/v1/galleries/" + kind}).into(t, &g); g.People != mixedPeople || g.Templates != mixedPeople {
			t.Errorf("%s: %d people with %d templates are left of %d", kind, g.People, g.Templates, mixedPeople)
		}
	}
}

type mixed struct {
	h     *harness
	space string
	seed  atomic.Uint64 // of faces, each used once

	cycles, requests, busy atomic.Int64
}

// populate enrols the people who stay, many at a time, which share syncs of the disk: person n has the face of seed n.
func (m *mixed) populate(gallery string) {
	const atOnce = 64
	var wg sync.WaitGroup
	for c := range atOnce {
		wg.Go(func() {
			for n := c; n < mixedPeople; n += atOnce {
				spec := engine.PersonSpec{Templates: []engine.Template{{Space: m.space, Vector: vector(uint64(n), mixedDim), Source: "template"}}}
				if _, _, err := m.h.engine.PutPerson(m.h.t.Context(), "default", gallery, fmt.Sprint(n), spec); err != nil {
					m.h.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	m.seed.Store(1 << 32)
}

func (m *mixed) run(d time.Duration) {
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for range mixedClients {
		wg.Go(func() {
			for i := 0; i == 0 || time.Now().Before(end) && !m.h.t.Failed(); i++ {
				m.cycle([]string{"scan", "hnsw"}[i%2])
			}
		})
	}
	wg.Wait()
}

// cycle is the life of a person, with questions to somebody who stays in between.
func (m *mixed) cycle(gallery string) {
	seed := m.seed.Add(2)
	id, stays := fmt.Sprintf("p%d", seed), seed/2%mixedPeople
	person, staying := m.person(gallery, id), m.person(gallery, fmt.Sprint(stays))
	m.ask("PUT", person, m.face(seed), 201)
	m.verified(person, seed, true)
	m.verified(staying, seed, false)
	m.identified(gallery, seed, id)
	m.verified(staying, stays, true)
	m.identified(gallery, stays, fmt.Sprint(stays))
	m.ask("PUT", person, m.face(seed+1), 200)
	m.verified(person, seed, false)
	m.verified(person, seed+1, true)
	m.identified(gallery, seed, "")
	m.ask("DELETE", person, nil, 204)
	m.ask("POST", person+"/verify", m.face(seed+1), 404)
	m.identified(gallery, seed+1, "")
	m.cycles.Add(1)
}

func (m *mixed) person(gallery, id string) string {
	return "/v1/galleries/" + gallery + "/people/" + id
}

func (m *mixed) face(seed uint64) []byte { return frame(m.space, vector(seed, mixedDim)) }

func (m *mixed) verified(person string, seed uint64, want bool) {
	var d engine.Decision
	m.ask("POST", person+"/verify?cosine=0.9", m.face(seed), 200).into(m.h.t, &d)
	if d.Match != want || want != (math.Abs(d.Cosine-1) < 1e-3) {
		m.h.t.Errorf("%s, face %d: %+v, want match %v", person, seed, d, want)
	}
}

// identified demands that the face is this person's alone; "" is nobody's.
func (m *mixed) identified(gallery string, seed uint64, want string) {
	var found engine.Candidates
	m.ask("POST", "/v1/galleries/"+gallery+"/identify?cosine=0.9&ef=1000", m.face(seed), 200).into(m.h.t, &found)
	if got := found.Candidates; want == "" && len(got) != 0 || want != "" && (len(got) != 1 || got[0].Person != want) {
		m.h.t.Errorf("%s, face %d: %+v, want %q", gallery, seed, got, want)
	}
}

// ask repeats a request until the server has the time for it.
func (m *mixed) ask(method, path string, body []byte, want int) answer {
	for {
		m.requests.Add(1)
		a, err := m.h.try(call{method: method, path: path, contentType: frameType, body: body})
		if err != nil {
			m.h.t.Errorf("%s %s: %v", method, path, err)
			return answer{body: []byte("{}")}
		}
		if a.status == 503 && a.header.Get("Retry-After") != "" {
			m.busy.Add(1)
			time.Sleep(time.Millisecond)
			continue
		}
		if a.status != want {
			m.h.t.Errorf("%s %s: %d %s, want %d", method, path, a.status, a.body, want)
		}
		return a
	}
}

type resources struct {
	goroutines, files int
	heap              uint64
}

// resources is what is held when nobody asks.
func (m *mixed) resources() (r resources) {
	m.h.client.CloseIdleConnections()
	m.h.idle()
	time.Sleep(300 * time.Millisecond) // for connections to be closed on the other side
	var s runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools held is gone with the second
	runtime.ReadMemStats(&s)
	r.goroutines, r.heap = runtime.NumGoroutine(), s.HeapAlloc
	if open, err := os.ReadDir("/proc/self/fd"); err == nil { // not on every system
		r.files = len(open)
	}
	return r
}
