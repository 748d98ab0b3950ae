package token

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a clock that tests set. Safe for concurrent use.
type clock struct{ unixNano atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.unixNano.Store(testIssued * int64(time.Second))
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.unixNano.Load()) }
func (c *clock) advance(d time.Duration) { c.unixNano.Add(int64(d)) }

func testKey(id uint32, fill byte) Key { return Key{id, bytes.Repeat([]byte{fill}, keySize)} }

// newTestSealer gives tenant-a a Sealer with key 7 and a clock, if the config doesn't say otherwise.
func newTestSealer(t testing.TB, c Config) *Sealer {
	t.Helper()
	if c.Tenant == "" {
		c.Tenant = "tenant-a"
	}
	if c.Keys == nil {
		c.Keys = []Key{testKey(7, 0x0b)}
	}
	if c.Now == nil {
		c.Now = newClock().now
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func testClaims() Claims {
	return Claims{Type: TypeTemplate, Purpose: PurposeAuthenticate, Audience: "dev-1", Space: "s1", Subject: "ada", Payload: []byte("payload")}
}

func testWant() Want {
	return Want{Type: TypeTemplate, Purpose: PurposeAuthenticate, Audience: "dev-1", Space: "s1", Subject: "ada"}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (want == nil) != (err == nil) {
		t.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// Promise 1: no bit can be changed, nothing cut off and nothing added.
func TestEveryBitCounts(t *testing.T) {
	s := newTestSealer(t, Config{Keys: []Key{testKey(7, 1), testKey(6, 2), testKey(5, 3), testKey(0, 4)}})
	raw, err := base64.StdEncoding.DecodeString(string(mustSeal(t, s, testClaims())))
	if err != nil {
		t.Fatal(err)
	}
	open := func(b []byte) error {
		_, err := s.Open([]byte(base64.StdEncoding.EncodeToString(b)), testWant())
		return err
	}
	if err := open(raw); err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(raw) {
		raw[bit/8] ^= 1 << (bit % 8)
		if open(raw) != ErrDoesNotOpen {
			t.Errorf("bit %d of byte %d may be changed: %v", bit%8, bit/8, open(raw))
		}
		raw[bit/8] ^= 1 << (bit % 8)
	}
	for n := range raw {
		if open(raw[:n]) != ErrDoesNotOpen || open(append(raw[:len(raw):len(raw)], raw[:n+1]...)) != ErrDoesNotOpen {
			t.Errorf("%d bytes cut off or added open", n)
		}
	}
}

// Promise 2: a token opens in its own place only, even where texts of two places run together alike.
func TestPlacesNeverMeet(t *testing.T) {
	texts := []string{"a", "ab", "b", "abc", "bc", "c", "a\x00", "\x00\x00\x00\x01a"}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pick := func() string { return texts[random.IntN(len(texts))] }
	type place struct{ tenant, purpose, audience string }
	opened := 0
	for range 4000 {
		a := place{pick(), pick(), pick()}
		b := a
		switch random.IntN(4) {
		case 0:
			b = place{pick(), pick(), pick()}
		case 1:
			b.tenant, b.purpose = a.purpose, a.tenant
		case 2:
			b.purpose, b.audience = pick(), pick()
		}
		kinds := [2]Type{1 + Type(random.IntN(4)), 1 + Type(random.IntN(4))}
		sealed := mustSeal(t, newTestSealer(t, Config{Tenant: a.tenant}), Claims{Type: kinds[0], Purpose: Purpose(a.purpose), Audience: a.audience})
		_, err := newTestSealer(t, Config{Tenant: b.tenant}).Open(sealed, Want{Type: kinds[1], Purpose: Purpose(b.purpose), Audience: b.audience})
		switch {
		case a != b:
			if err != ErrDoesNotOpen {
				t.Fatalf("of %q opens as %q: %v", a, b, err)
			}
		case kinds[0] != kinds[1]:
			wantErr(t, fmt.Sprint(kinds), err, ErrType)
		default:
			wantErr(t, "its own place", err, nil)
			opened++
		}
	}
	if opened < 100 {
		t.Errorf("only %d opened in their own place", opened)
	}
}

// Promise 3: what is wrong with a token is told if it is authentic, and only then.
func TestToldApartOnlyIfAuthentic(t *testing.T) {
	c := newClock()
	s := newTestSealer(t, Config{Now: c.now})
	sealed := mustSeal(t, s, testClaims())
	for name, test := range map[string]struct {
		want    func(*Want)
		advance time.Duration
		err     error
	}{
		"as sealed":       {func(*Want) {}, 0, nil},
		"any space":       {func(w *Want) { w.Space = "" }, 0, nil},
		"any subject":     {func(w *Want) { w.Subject = "" }, 0, nil},
		"another type":    {func(w *Want) { w.Type = TypeProbe }, 0, ErrType},
		"no type":         {func(w *Want) { w.Type = 0 }, 0, ErrType},
		"another space":   {func(w *Want) { w.Space = "s2" }, 0, ErrSpace},
		"another subject": {func(w *Want) { w.Subject = "bob" }, 0, ErrSubject},
		"too late":        {func(*Want) {}, time.Hour, ErrExpired},
		"too early":       {func(*Want) {}, -time.Hour, ErrEarly},
		"another purpose": {func(w *Want) { w.Purpose = PurposeEnrol }, 0, ErrDoesNotOpen},
		"any audience":    {func(w *Want) { w.Audience = "" }, 0, ErrDoesNotOpen},
	} {
		w := testWant()
		test.want(&w)
		c.advance(test.advance)
		o, err := s.Open(sealed, w)
		wantErr(t, name, err, test.err)
		if err != nil && o.Payload != nil {
			t.Errorf("%s: a payload comes with an error", name)
		}
		forged := bytes.Clone(sealed)
		forged[len(forged)-6] ^= 1
		if _, err := s.Open(forged, w); err != ErrDoesNotOpen {
			t.Errorf("%s, forged: %v", name, err)
		}
		c.advance(-test.advance)
	}
}

func TestExpiryAndSkew(t *testing.T) {
	const nano = time.Nanosecond
	for _, skew := range []time.Duration{-1, time.Nanosecond, 30 * time.Second, 90 * time.Second} {
		allowed := max(skew, 0)
		for _, test := range []struct {
			at  time.Duration // after issue
			err error
		}{
			{0, nil}, {2 * time.Second, nil}, {2*time.Second + allowed, nil}, {2*time.Second + allowed + nano, ErrExpired},
			{-allowed, nil}, {-allowed - nano, ErrEarly}, {24 * time.Hour, ErrExpired},
		} {
			c := newClock()
			s := newTestSealer(t, Config{Now: c.now, Skew: skew})
			claims := testClaims()
			claims.TTL = 1001 * time.Millisecond // 2 s
			sealed := mustSeal(t, s, claims)
			c.advance(test.at)
			_, err := s.Open(sealed, testWant())
			wantErr(t, fmt.Sprintf("skew %v, %v after issue", skew, test.at), err, test.err)
		}
	}
}

func TestLifetimes(t *testing.T) {
	c := newClock()
	s := newTestSealer(t, Config{Now: c.now})
	claims := testClaims()
	usual := mustSeal(t, s, claims)
	claims.TTL = Forever
	lasting := mustSeal(t, s, claims)
	o, err := s.Open(usual, testWant())
	wantErr(t, "usual", err, nil)
	if got := o.Expires.Sub(o.Issued); got != 10*time.Minute {
		t.Errorf("a token lives %v", got)
	}
	c.advance(80 * 365 * 24 * time.Hour)
	o, err = s.Open(lasting, testWant())
	wantErr(t, "for ever", err, nil)
	if !o.Expires.IsZero() {
		t.Errorf("expires %v", o.Expires)
	}
}

func TestRotation(t *testing.T) {
	s := newTestSealer(t, Config{})
	old := mustSeal(t, s, testClaims())
	open := func(token []byte, want error) {
		t.Helper()
		_, err := s.Open(token, testWant())
		wantErr(t, "open", err, want)
	}
	set := func(keys ...Key) {
		t.Helper()
		wantErr(t, "set keys", s.SetKeys(keys...), nil)
	}
	set(testKey(8, 2), testKey(7, 0x0b))
	fresh := mustSeal(t, s, testClaims())
	if id := keyIDOf(t, fresh); id != 8 {
		t.Errorf("sealed by key %d", id)
	}
	open(old, nil)
	open(fresh, nil)
	set(testKey(8, 2))
	open(old, ErrDoesNotOpen)
	open(fresh, nil)
	set(testKey(8, 3), testKey(7, 2)) // the ids remain, the secrets don't
	open(fresh, ErrDoesNotOpen)
	open(old, ErrDoesNotOpen)
	for name, keys := range map[string][]Key{
		"none": nil, "twice": {testKey(1, 1), testKey(1, 2)}, "short": {{1, make([]byte, 31)}}, "zero": {{1, make([]byte, 32)}},
		"long": {{1, bytes.Repeat([]byte{1}, 33)}}, "many": make([]Key, 65),
	} {
		wantErr(t, name, s.SetKeys(keys...), ErrInvalid)
	}
	if id := keyIDOf(t, mustSeal(t, s, testClaims())); id != 8 {
		t.Errorf("refused keys seal: %d", id)
	}
}

func keyIDOf(t *testing.T, token []byte) uint32 {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(string(token))
	if err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint32(raw[6:])
}

// The caller's key may be wiped after SetKeys.
func TestKeysAreCopied(t *testing.T) {
	k := testKey(7, 9)
	s := newTestSealer(t, Config{Keys: []Key{k}})
	clear(k.Secret)
	_, err := newTestSealer(t, Config{Keys: []Key{testKey(7, 9)}}).Open(mustSeal(t, s, testClaims()), testWant())
	wantErr(t, "open", err, nil)
}

func TestRefusedClaims(t *testing.T) {
	s := newTestSealer(t, Config{MaxPayloadBytes: 100})
	long := strings.Repeat("x", MaxFieldBytes+1)
	for name, change := range map[string]func(*Claims){
		"no type": func(c *Claims) { c.Type = 0 }, "unknown type": func(c *Claims) { c.Type = 5 },
		"no purpose": func(c *Claims) { c.Purpose = "" }, "long purpose": func(c *Claims) { c.Purpose = Purpose(long) },
		"long audience": func(c *Claims) { c.Audience = long }, "long space": func(c *Claims) { c.Space = long },
		"long subject": func(c *Claims) { c.Subject = long }, "past": func(c *Claims) { c.TTL = -time.Second },
		"too long": func(c *Claims) { c.TTL = 1 << 62 }, "beyond 2106": func(c *Claims) { c.TTL = 90 * 365 * 24 * time.Hour },
		"once for ever": func(c *Claims) { c.SingleUse, c.TTL = true, Forever },
		"large":         func(c *Claims) { c.Payload = make([]byte, 101) },
	} {
		c := testClaims()
		change(&c)
		_, err := s.AppendSealed(nil, c)
		wantErr(t, name, err, ErrInvalid)
	}
	for _, second := range []int64{-1, 1 << 32} {
		_, err := newTestSealer(t, Config{Now: at(second)}).AppendSealed(nil, testClaims())
		wantErr(t, fmt.Sprint("second ", second), err, ErrInvalid)
	}
	for _, c := range []Config{{}, {Tenant: long}, {Tenant: "a", MaxPayloadBytes: -1}, {Tenant: "a", MaxPayloadBytes: 1<<30 + 1}, {Tenant: "a"}} {
		_, err := New(c)
		wantErr(t, "config", err, ErrInvalid)
	}
}

// Sizes are those of the payload's limit, to the byte, whatever the texts beside it take.
func TestPayloadLimit(t *testing.T) {
	large, small := newTestSealer(t, Config{MaxPayloadBytes: 1 << 16}), newTestSealer(t, Config{MaxPayloadBytes: 1000})
	for _, n := range []int{0, 1, 999, 1000, 1001, 1002, 3000, 3049, 4000, 1 << 16} {
		c := testClaims()
		c.Payload = bytes.Repeat([]byte{7}, n)
		sealed := mustSeal(t, large, c)
		o, err := large.Open(sealed, testWant())
		if wantErr(t, fmt.Sprint(n, " bytes"), err, nil); !bytes.Equal(o.Payload, c.Payload) {
			t.Errorf("%d bytes come back as %d", n, len(o.Payload))
		}
		if _, err := small.Open(sealed, testWant()); (err == nil) != (n <= 1000) || err != nil && err != ErrDoesNotOpen {
			t.Errorf("%d bytes where 1,000 are the most: %v", n, err)
		}
	}
}

func TestAppendsToDst(t *testing.T) {
	s := newTestSealer(t, Config{})
	dst := append(make([]byte, 0, 4096), `{"token":"`...)
	out, err := s.AppendSealed(dst, testClaims())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(out, dst) || &out[0] != &dst[0] {
		t.Error("dst is not extended")
	}
	_, err = s.Open(out[len(dst):], testWant())
	wantErr(t, "open", err, nil)
}
