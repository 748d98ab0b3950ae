package token

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/vectors.json anew, by the reference implementation")

const vectorFile = "testdata/vectors.json"

const (
	testIssued  = 0x67400000
	testExpires = testIssued + 600
)

func sequence(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func markOf(space string) uint16 {
	sum := sha256.Sum256([]byte(space))
	return binary.BigEndian.Uint16(sum[:2])
}

// spaceMarked3 is a space whose mark is 3, that of the published vector.
func spaceMarked3() string {
	for i := 0; ; i++ {
		if s := fmt.Sprintf("space-%d", i); markOf(s) == 3 {
			return s
		}
	}
}

// baseVector is the published one (its key, header, context and what they derive), with a payload.
func baseVector() vector {
	return vector{
		Name: "template", Key: bytes.Repeat([]byte{0x0b}, 32), Kid: 7, Version: 1, Type: 1,
		Issued: testIssued, Expires: testExpires, Mark: 3, Salt: sequence(0, 16),
		Tenant: "tenant-a", Purpose: "authenticate", Audience: "dev-1", Space: spaceMarked3(), Subject: "ada",
		Payload: []byte{1, 0, 2, 15, 80, 0x40, 0, 0xc0, 0}, Nonce: sequence(0xa0, 12),
	}
}

func with(name string, change func(*vector)) vector {
	v := baseVector()
	v.Name = name
	change(&v)
	return v
}

func makeVectors() []vector {
	all := []vector{
		baseVector(),
		with("best image, used once", func(v *vector) {
			v.Type, v.Flags, v.Mark, v.Space, v.Subject, v.Audience = 2, 1, 0, "", "", ""
			v.Payload = bytes.Repeat([]byte("jpeg"), 75)
		}),
		with("session without a payload", func(v *vector) { v.Type, v.Mark, v.Space, v.Subject, v.Payload = 3, 0, "", "", nil }),
		with("probe to search with", func(v *vector) { v.Type, v.Purpose, v.Subject = 4, "search", "" }),
		with("for ever", func(v *vector) { v.Expires, v.Purpose = 0, "enroll" }),
		with("largest numbers", func(v *vector) {
			v.Kid, v.Expires, v.Salt = math.MaxUint32, math.MaxUint32, bytes.Repeat([]byte{255}, 16)
		}),
		with("longest texts", func(v *vector) {
			long := string(bytes.Repeat([]byte("é"), MaxFieldBytes/2))
			v.Tenant, v.Purpose, v.Audience, v.Space, v.Subject, v.Mark = long, long, long, long, long, markOf(long)
		}),
	}
	for i := range all {
		all[i] = all[i].sealed(all[i].plain())
	}
	return all
}

func readVectors(t testing.TB) (all []vector) {
	t.Helper()
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 7 {
		t.Fatalf("only %d vectors", len(all))
	}
	return all
}

// sealer returns who opens the vector, a second before it expires.
func (v vector) sealer(t testing.TB) *Sealer {
	t.Helper()
	s, err := New(Config{
		Tenant: v.Tenant, Keys: []Key{{v.Kid, v.Key}}, Now: at(testIssued + 599), Spent: NewMemory(8, at(testIssued)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (v vector) want() Want {
	return Want{Type(v.Type), Purpose(v.Purpose), v.Audience, v.Space, v.Subject}
}

func at(second int64) func() time.Time { return func() time.Time { return time.Unix(second, 0) } }

// The package, the second implementation and the committed bytes agree.
func TestVectors(t *testing.T) {
	if *rewrite {
		b, err := json.MarshalIndent(makeVectors(), "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			got, err := v.decoded()
			if err != nil {
				t.Fatal(err)
			}
			if len(v.Payload) == 0 {
				got.Payload, v.Payload = nil, nil
			}
			if !reflect.DeepEqual(got, v) {
				t.Errorf("the reference reads\n%+v\nfrom\n%+v", got, v)
			}
			if again := v.sealed(v.plain()).Token; again != v.Token {
				t.Errorf("the reference writes %s", again)
			}
			checkOpens(t, v)
		})
	}
}

func checkOpens(t *testing.T, v vector) {
	t.Helper()
	o, err := v.sealer(t).Open([]byte(v.Token), v.want())
	if err != nil {
		t.Fatal(err)
	}
	if o.ID != ID(v.Salt) || byte(o.Type) != v.Type || o.SingleUse != (v.Flags == 1) || o.Space != v.Space || o.Subject != v.Subject ||
		!bytes.Equal(o.Payload, v.Payload) || o.Issued.Unix() != int64(v.Issued) ||
		o.Expires.IsZero() != (v.Expires == 0) || v.Expires != 0 && o.Expires.Unix() != int64(v.Expires) {
		t.Errorf("opened %+v from %+v", o, v)
	}
}

// The figures that were published with the format, made by a third implementation.
func TestPublishedDerivation(t *testing.T) {
	v := baseVector()
	s := v.sealer(t)
	context := appendContext(nil, v.header(), v.Tenant, Purpose(v.Purpose), v.Audience)
	_, commitment, err := derive(s.keys.Load().secret(v.Kid), v.Salt, context)
	if err != nil {
		t.Fatal(err)
	}
	encryption, byHand := v.keys(v.header())
	const published = "5c02dcf600542d6d25011cbde1e31dfb7111b2bf8240ba9a6afb754b70753cac"
	if hex.EncodeToString(commitment) != published || hex.EncodeToString(byHand) != published {
		t.Errorf("commitments %x, %x", commitment, byHand)
	}
	if hex.EncodeToString(encryption) != "558fb7934f9dfd1b2c55dc414a088b3a5cff8b2c8450af7406c8486abfb50074" {
		t.Errorf("encryption key %x", encryption)
	}
}

// What the reference opens of what the package seals is what was sealed.
func TestReferenceOpensOurs(t *testing.T) {
	for _, v := range readVectors(t) {
		s, err := New(Config{Tenant: v.Tenant, Keys: []Key{{v.Kid, v.Key}}, Now: at(testIssued)})
		if err != nil {
			t.Fatal(err)
		}
		ttl := time.Duration(int64(v.Expires)-int64(v.Issued)) * time.Second
		if v.Expires == 0 {
			ttl = Forever
		}
		token := mustSeal(t, s, Claims{Type(v.Type), Purpose(v.Purpose), v.Audience, v.Space, v.Subject, v.Flags == 1, ttl, v.Payload})
		ours := vector{Name: v.Name, Key: v.Key, Tenant: v.Tenant, Purpose: v.Purpose, Audience: v.Audience, Token: string(token)}
		got, err := ours.decoded()
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		if bytes.Equal(got.Salt, v.Salt) || bytes.Equal(got.Nonce, v.Nonce) {
			t.Errorf("%s: salt %x and nonce %x are not random", v.Name, got.Salt, got.Nonce)
		}
		got.Salt, got.Nonce, v.Salt, v.Nonce = nil, nil, nil, nil
		if !bytes.Equal(got.header(), v.header()) || !bytes.Equal(got.plain(), v.plain()) {
			t.Errorf("%s: sealed %+v for %+v", v.Name, got, v)
		}
	}
}

// Tokens under the right key that version 1 doesn't have don't open, and say no more than any other.
func TestAuthenticButNotVersion1(t *testing.T) {
	frames := map[string][]byte{
		"no frame": nil, "half a length": {0}, "no subject": {0, 0}, "a space past the end": {0, 9, 1, 2, 3, 4},
		"a subject past the end": {0, 0, 0, 3, 1, 2}}
	for name, plain := range frames {
		v := with(name, func(v *vector) { v.Space, v.Mark = "", 0 })
		refuse(t, v.sealed(plain))
	}
	long := with("a long space", func(v *vector) {
		v.Space = strings.Repeat("s", MaxFieldBytes+1)
		v.Mark = markOf(v.Space)
	})
	refuse(t, long.sealed(long.plain()))
	for _, v := range []vector{
		with("version 2", func(v *vector) { v.Version = 2 }),
		with("version 0", func(v *vector) { v.Version = 0 }),
		with("type 0", func(v *vector) { v.Type = 0 }),
		with("type 5", func(v *vector) { v.Type = 5 }),
		with("a flag that compression might have", func(v *vector) { v.Flags = 2 }),
		with("the last flag", func(v *vector) { v.Flags = 128 }),
		with("a reserved byte", func(v *vector) { v.Reserved = 1 }),
		with("used once, for ever", func(v *vector) { v.Flags, v.Expires = 1, 0 }),
		with("another space's mark", func(v *vector) { v.Mark++ }),
		with("another key's id", func(v *vector) { v.Kid = 8 }),
	} {
		v = v.sealed(v.plain())
		if v.Kid == 8 {
			v.Kid = 7
		}
		refuse(t, v)
	}
}

func refuse(t *testing.T, v vector) {
	t.Helper()
	if _, err := v.sealer(t).Open([]byte(v.Token), v.want()); err != ErrDoesNotOpen {
		t.Errorf("%s: %v", v.Name, err)
	}
}

func TestSpellings(t *testing.T) {
	v := baseVector()
	for pad := range 3 {
		v.Payload = bytes.Repeat([]byte{0xff}, 12+pad)
		v = v.sealed(v.plain())
		raw, err := base64.StdEncoding.DecodeString(v.Token)
		if err != nil {
			t.Fatal(err)
		}
		for _, good := range []string{v.Token, base64.URLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw)} {
			v.Token = good
			checkOpens(t, v)
		}
		std, url := base64.StdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw)
		nonceCut := base64.StdEncoding.EncodeToString(raw[:nonceAt+2]) + strings.Repeat("=", 100)
		bad := []string{nonceCut, url + "\n", url + "\r", url[:120] + "\n" + url[120:], std + "=", std + "\n", std[:40] + "\r\n" + std[40:], std + "AAAA", " " + std, std + std, "data:;base64," + std, ""}
		if pad = len(raw) % 3; pad != 0 {
			last := len(std) - (3 - pad) - 1
			bad = append(bad, std[:last]+string(std[last]+1)+std[last+1:]) // bits that strict decoding asks to be zero
		}
		for _, b := range bad {
			v.Token = b
			refuse(t, v)
		}
	}
	v = v.sealed(v.plain())
	if mixed := []byte(v.Token); bytes.IndexByte(mixed, '/') >= 0 && bytes.Count(mixed, []byte("/")) > 1 {
		mixed[bytes.IndexByte(mixed, '/')] = '_'
		v.Token = string(mixed)
		refuse(t, v)
	} else {
		t.Error("the token has nothing to mix")
	}
}

func mustSeal(t testing.TB, s *Sealer, c Claims) []byte {
	t.Helper()
	token, err := s.AppendSealed(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}
