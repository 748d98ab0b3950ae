package mpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

// TestEnvelopes: shares open for the party and purpose that they were sealed for, and for no other.
func TestEnvelopes(t *testing.T) {
	key := mustShareKey(t)
	stored, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if key, err = ParseEnvelopeKey(stored); err != nil {
		t.Fatal(err)
	}
	public, err := ParseEnvelopePublicKey(key.PublicKey().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	share := SplitPacked(make([]uint32, 512))[1]
	e := Envelope{Cluster: "c", Tenant: ID{1}, RID: ID{2}, Op: SealVerify, Policy: 7, Party: 1, Instance: ID{3}, Nonce: ID{4}, Expires: time.UnixMilli(5)}
	sealed, err := e.Seal(public, share)
	if err != nil || len(sealed) != len(share)+envelopeBytes || bytes.Contains(sealed, share[:16]) {
		t.Fatal(len(sealed), err)
	}
	asked := func() Envelope { // what a party knows without the envelope
		other := e
		other.Nonce, other.Expires = ID{}, time.Time{}
		return other
	}
	opened := asked()
	if got, err := opened.Open(key, sealed); err != nil || !bytes.Equal(got, share) || opened != e {
		t.Fatalf("%+v, %v", opened, err)
	}
	for name, change := range map[string]func(e *Envelope){
		"cluster": func(e *Envelope) { e.Cluster = "d" },
		"tenant":  func(e *Envelope) { e.Tenant[0]++ },
		"rid":     func(e *Envelope) { e.RID[15]++ },
		"op":      func(e *Envelope) { e.Op = SealEnrol },
		"policy":  func(e *Envelope) { e.Policy++ },
		"party":   func(e *Envelope) { e.Party = 2 },
		"split":   func(e *Envelope) { e.Cluster, e.Op = "", "c"+e.Op },
	} {
		other := asked()
		change(&other)
		if _, err := other.Open(key, sealed); err == nil {
			t.Errorf("another %s: it opens", name)
		} else {
			wantErr(t, err, ErrEnvelope)
		}
	}
	opened = asked()
	opened.Instance[0]++
	_, err = opened.Open(key, sealed)
	wantErr(t, err, ErrEnvelopeUsed)
	_, err = opened.Open(mustShareKey(t), sealed)
	wantErr(t, err, ErrEnvelopeUsed)
	for at := range sealed { // no byte of it can be another
		if at > envelopeHead && at%97 != 0 {
			continue
		}
		changed := bytes.Clone(sealed)
		changed[at] ^= 1
		opened = asked()
		if _, err := opened.Open(key, changed); err == nil {
			t.Fatalf("byte %d is another, and it opens", at)
		}
	}
	for n := 0; n < len(sealed); n += 1 + n/4 {
		opened = asked()
		_, err := opened.Open(key, sealed[:n])
		wantErr(t, err, ErrEnvelope)
	}
	opened = asked()
	_, err = opened.Open(mustShareKey(t), sealed)
	wantErr(t, err, ErrEnvelope)
}

// TestNonces: a nonce is taken once while it is good, and never when it is not, wherever the clock goes.
func TestNonces(t *testing.T) {
	var n nonces
	life := maxEnvelopeLife.Milliseconds()
	now := 1000*life + life/2
	a, b := ID{1}, ID{2}
	for _, c := range []struct {
		what         string
		nonce        ID
		expires, now int64
		want         error
	}{
		{"good", a, now + 10, now, nil},
		{"again", a, now + 10, now, ErrEnvelopeUsed},
		{"again, later", a, now + 10, now + 9, ErrEnvelopeUsed},
		{"its last moment is over", b, now + 10, now + 10, ErrEnvelopeUsed},
		{"good for too long", b, now + life + 1, now, ErrEnvelopeUsed},
		{"as long as may be", b, now + life, now, nil},
		{"again, in the span after", b, now + life, now + life - 1, ErrEnvelopeUsed},
		{"far beyond all clocks", ID{3}, -1 << 63, now, ErrEnvelopeUsed},
		{"of a span that is forgotten", a, now + 10, now + life, ErrEnvelopeUsed},
		{"and the clock goes back", a, now + 10, now, ErrEnvelopeUsed},
		{"good, as the clock was", ID{4}, now + life + 5, now + life, nil},
	} {
		if err := n.take(c.nonce, c.expires, c.now); err != c.want && (c.want == nil || err == nil) {
			t.Errorf("%s: %v, want %v", c.what, err, c.want)
		}
	}
	if n.n != 2 || len(n.spans) != 1 {
		t.Errorf("%d nonces in %d spans are kept", n.n, len(n.spans))
	}
	n.n = maxNonces
	wantErr(t, n.take(ID{5}, now+life+5, now+life), ErrBusy)
}

// goldenEnvelope is what an envelope is, and which one testdata/envelope-1.hex was sealed as.
var goldenEnvelope = Envelope{Cluster: "mien", Tenant: ID{1, 2}, RID: ID{3, 4}, Op: SealVerify, Policy: 513, Party: 2, Instance: ID{5, 6}, Nonce: ID{7, 8},
	Expires: time.UnixMilli(1_800_000_000_123)}

// TestGoldenEnvelope: envelopes are made by clients that are not of this program, and of before. If it fails, their envelopes are refused.
func TestGoldenEnvelope(t *testing.T) {
	seed := sha256.Sum256([]byte("golden envelope"))
	key, err := ParseEnvelopeKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	if *updateEnvelope {
		b, err := goldenEnvelope.Seal(key.PublicKey(), []byte("two components"))
		if err == nil {
			err = os.WriteFile("testdata/envelope-1.hex", []byte(hex.EncodeToString(b)+"\n"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("testdata/envelope-1.hex")
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	e := goldenEnvelope
	e.Nonce, e.Expires = ID{}, time.Time{}
	if shares, err := e.Open(key, sealed); err != nil || string(shares) != "two components" || e != goldenEnvelope {
		t.Fatalf("%q %+v %v", shares, e, err)
	}
}

var updateEnvelope = flag.Bool("update-envelope", false, "seal testdata/envelope-1.hex anew: only where no envelope was ever sealed")

func BenchmarkEnvelope(b *testing.B) {
	key := mustShareKey(b)
	e, share := goldenEnvelope, SplitPacked(make([]uint32, 512))[1]
	sealed, err := e.Seal(key.PublicKey(), share)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Seal", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Seal(key.PublicKey(), share); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Open", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Open(key, sealed); err != nil {
				b.Fatal(err)
			}
		}
	})
}
