package http

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"mien/engine"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// TestRates: a burst, then the rate, for each key alone; no key waits for another.
func TestRates(t *testing.T) {
	l := newRates(Config{KeyRate: 2, KeyBurst: 3})
	own, plain := engine.Key{ID: "own", Rate: 0.5, Burst: 1}, engine.Key{ID: "plain"}
	passed := func(k engine.Key, at time.Duration, asked int) (n int) {
		for range asked {
			if l.take(&k, noon.Add(at)) == nil {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		key         engine.Key
		at          time.Duration
		asked, want int
	}{
		{own, 0, 5, 1}, {plain, 0, 5, 3}, {own, time.Second, 5, 0}, {own, 2 * time.Second, 5, 1}, {plain, 2 * time.Second, 9, 3}, {plain, 2500 * time.Millisecond, 9, 1},
	} {
		if got := passed(c.key, c.at, c.asked); got != c.want {
			t.Errorf("%s after %v: %d of %d pass, want %d", c.key.ID, c.at, got, c.asked, c.want)
		}
	}
	none := newRates(Config{})
	for range 1000 {
		if err := none.take(&plain, noon); err != nil {
			t.Fatal(err)
		}
	}
	if len(none.mu.buckets) != 0 {
		t.Error("a key without a limit has a bucket")
	}
}

// TestRatesForget: full buckets go, and no others.
func TestRatesForget(t *testing.T) {
	l := newRates(Config{})
	for i := range 10 * firstSweep {
		k := engine.Key{ID: strconv.Itoa(i), Rate: 1, Burst: 1}
		if err := l.take(&k, noon.Add(time.Duration(i)*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n := len(l.mu.buckets); n > 2*firstSweep {
			t.Fatalf("%d buckets, of which 1,000 are not full", n)
		}
	}
	last := engine.Key{ID: strconv.Itoa(10*firstSweep - 1), Rate: 1, Burst: 1}
	if l.take(&last, noon.Add(10*firstSweep*time.Millisecond)) == nil {
		t.Error("an empty bucket was forgotten")
	}
}

func TestRateLimitedOverHTTP(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.KeyRate = 1000 })
	_, token := h.key("default", engine.KeySpec{Role: engine.RoleMatcher, Rate: 0.01, Burst: 2})
	for range 2 {
		h.want(200, call{method: "GET", path: "/v1/galleries", token: token})
	}
	for _, expect := range []bool{false, true} {
		c := call{method: "POST", path: "/v1/compare", token: token, body: []byte("{}")}
		if expect {
			c.header = []string{"Expect", "100-continue"}
		}
		a := h.want(429, c)
		if p := a.problem(t); p.Code != codeRateLimited || !strings.Contains(p.Detail, "0.01 requests a second, 2 at once") {
			t.Errorf("%s", a.body)
		}
		wait, err := strconv.Atoi(a.header.Get("Retry-After"))
		if err != nil || wait < 90 || wait > 100 || a.header.Get("RateLimit-Policy") != `"key";q=2;w=200` ||
			a.header.Get("RateLimit") != fmt.Sprintf(`"key";r=0;t=%d`, wait) {
			t.Errorf("%v", a.header)
		}
	}
	h.want(200, call{method: "GET", path: "/v1/galleries"}) // another key
}

// TestExpectTakesOneToken: a request that waits for 100 Continue is looked at twice and counted once.
func TestExpectTakesOneToken(t *testing.T) {
	h := newHarness(t, nil)
	_, token := h.key("default", engine.KeySpec{Role: engine.RoleMatcher, Rate: 0.01, Burst: 2})
	c := call{method: "POST", path: "/v1/compare", token: token, body: []byte("{}"), header: []string{"Expect", "100-continue"}}
	for _, want := range []int{400, 400, 429} {
		h.want(want, c)
	}
}

// TestFailedAuthentications: after so many a minute an address is told 429, good keys pass all the same, and a minute later it is
// told 401 again.
func TestFailedAuthentications(t *testing.T) {
	h := newHarness(t, func(c *Config) { c.AuthFailures = 5 })
	good := h.token(engine.RoleAdmin)
	wrong := good[:len(good)-1] + string(good[len(good)-1]^1)
	unknown := "mien_0000000000000000_" + strings.Repeat("A", 43)
	for i := range 12 {
		bad := call{method: "GET", path: "/v1/galleries", token: []string{wrong, unknown, "x"}[i%3]}
		if i < 5 {
			h.refused(codeKeyUnknown, bad)
		} else if p := h.refused(codeAuthLimited, bad); !strings.Contains(p.Detail, "5 keys") {
			t.Errorf("%+v", p)
		}
		h.want(200, call{method: "GET", path: "/v1/galleries"})
		h.refused(codeKeyMissing, call{method: "GET", path: "/v1/galleries", token: "none"})
	}
	if n := strings.Count(h.log.String(), "keep failing"); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
}

func TestFailuresByAddress(t *testing.T) {
	f := newFailures(5)
	addr := func(s string) net.IP { return net.ParseIP(s) }
	count := func(ip string, at time.Duration) int { n, _ := f.count(clientNet(addr(ip)), noon.Add(at)); return n }
	for _, c := range []struct {
		ip   string
		at   time.Duration
		want int
	}{
		{"10.0.0.1", 0, 1}, {"10.0.0.2", 0, 1}, {"::ffff:10.0.0.1", 59 * time.Second, 2}, {"10.0.0.1", time.Minute, 1},
		{"2001:db8:0:1::1", 0, 1}, {"2001:db8:0:1:ffff::2", 0, 2}, {"2001:db8:0:2::1", 0, 1},
	} {
		if got := count(c.ip, c.at); got != c.want {
			t.Errorf("%s at %v: failure %d, want %d", c.ip, c.at, got, c.want)
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 3 * maxFailing {
		ip := make(net.IP, 4)
		for i := range ip {
			ip[i] = byte(rng.Uint32())
		}
		f.count(clientNet(ip), noon)
		count("10.9.9.9", 0)
	}
	if n := len(f.mu.of); n > maxFailing || n != f.mu.order.Len() {
		t.Errorf("%d addresses are remembered, in a list of %d", n, f.mu.order.Len())
	}
	if n := count("10.9.9.9", 0); n != 3*maxFailing+1 {
		t.Errorf("who fails most was forgotten: failure %d", n)
	}
}

// TestSlots: a tenant alone gets eight of nine places, and whoever comes then finds one; in the end all are free again.
func TestSlots(t *testing.T) {
	s := newSlots(256)
	take := func(tenant string) (n int) {
		for s.take(tenant) {
			n++
		}
		return n
	}
	if n := take("a"); n != 256 {
		t.Errorf("the only tenant gets %d", n)
	}
	if s.take("b") {
		t.Error("a place that is not there was given")
	}
	for range 256 {
		s.give("a")
	}
	first := take("a")
	if first != 228 { // 227 < 8·29, 228 ≥ 8·28
		t.Errorf("a tenant alone gets %d", first)
	}
	held := map[string]int{"a": first}
	for i := range 20 {
		tenant := strconv.Itoa(i)
		if !s.take(tenant) {
			t.Errorf("tenant %d gets nothing", i)
			continue
		}
		held[tenant] = 1
	}
	for tenant, n := range held {
		for range n {
			s.give(tenant)
		}
	}
	if s.mu.taken != 0 || len(s.mu.by) != 0 {
		t.Errorf("%d taken by %v", s.mu.taken, s.mu.by)
	}
	// Two that ask in turns share evenly.
	n := map[string]int{}
	for {
		a, b := s.take("a"), s.take("b")
		if !a && !b {
			break
		}
		for tenant, got := range map[string]bool{"a": a, "b": b} {
			if got {
				n[tenant]++
			}
		}
	}
	if d := n["a"] - n["b"]; d < -1 || d > 1 || n["a"]+n["b"] < 238 {
		t.Errorf("shares %v", n)
	}
	for most := range 9 {
		if got := func() (n int) {
			s := newSlots(most)
			s.mu.several = true
			for s.take("a") {
				n++
			}
			return n
		}(); got != most {
			t.Errorf("of %d places one tenant gets %d", most, got)
		}
	}
}

// BenchmarkAdmission is what stands between a request and its handler: authentication, rate, place. Some 1 µs, no allocation.
func BenchmarkAdmission(b *testing.B) {
	e := openEngine(b, engineConfig(b.TempDir(), testSpace))
	_, token, err := e.CreateKey(b.Context(), "default", engine.KeySpec{Role: engine.RoleMatcher, Galleries: []string{"a*", "b"}, Rate: 1e6})
	if err != nil {
		b.Fatal(err)
	}
	l, s := newRates(Config{}), newSlots(256)
	b.ReportAllocs()
	for b.Loop() {
		k, err := e.Authenticate(token)
		if err != nil || !k.MayUse("b") {
			b.Fatal(err)
		}
		_ = l.take(&k, time.Now()) // a bench may be faster than the rate
		if s.take(k.Tenant) {
			s.give(k.Tenant)
		}
	}
}
