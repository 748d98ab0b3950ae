package token

import (
	"bytes"
	"encoding/base64"
	"math"
	"strings"
	"testing"
)

// FuzzOpen opens nothing but the vectors, in whatever place and spelling.
func FuzzOpen(f *testing.F) {
	vectors := readVectors(f)
	sealed := map[string]vector{}
	for _, v := range vectors {
		raw, err := base64.StdEncoding.DecodeString(v.Token)
		if err != nil {
			f.Fatal(err)
		}
		sealed[string(raw)] = v
		f.Add([]byte(v.Token), v.Tenant, v.Purpose, v.Audience, v.Type)
		f.Add([]byte(base64.RawURLEncoding.EncodeToString(raw)), v.Tenant, v.Purpose, v.Audience, v.Type)
		f.Add([]byte(base64.StdEncoding.EncodeToString(raw[:len(raw)-1])), v.Tenant, v.Purpose, v.Audience, v.Type)
	}
	f.Add(bytes.Repeat([]byte("="), 200), "tenant-a", "enroll", "", byte(1))
	f.Add(bytes.Repeat([]byte("A"), 133), "tenant-a", "enroll", "", byte(1))
	f.Fuzz(func(t *testing.T, token []byte, tenant, purpose, audience string, kind byte) {
		if len(tenant) == 0 || len(tenant) > MaxFieldBytes {
			return
		}
		keys := []Key{{7, vectors[0].Key}, {math.MaxUint32, vectors[0].Key}}
		s, err := New(Config{Tenant: tenant, Keys: keys, Now: at(testIssued)})
		if err != nil {
			t.Fatal(err)
		}
		before := bytes.Clone(token)
		o, err := s.Open(token, Want{Type: Type(kind), Purpose: Purpose(purpose), Audience: audience})
		if !bytes.Equal(token, before) {
			t.Error("the token was written to")
		}
		if err != nil {
			return
		}
		v, known := sealed[rawOf(token)]
		if !known || v.Tenant != tenant || v.Purpose != purpose || v.Audience != audience || v.Type != kind ||
			!bytes.Equal(v.Payload, o.Payload) {
			t.Errorf("%q opens for %q %q %q as %+v", token, tenant, purpose, audience, o)
		}
	})
}

// rawOf decodes base64 in any spelling.
func rawOf(token []byte) string {
	text := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(string(token))
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return ""
	}
	return string(raw)
}

// FuzzParseTemplate writes what it reads.
func FuzzParseTemplate(f *testing.F) {
	f.Add([]byte{1, 0, 3, 15, 99, 0x40, 0, 0xe0, 0, 0, 0})
	f.Add([]byte{1, 0, 1, 126, 0, 0x40, 0})
	f.Add([]byte{1, 255, 255, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseTemplate(b)
		if err != nil {
			return
		}
		if again, err := AppendTemplate(nil, got); err != nil || !bytes.Equal(again, b) {
			t.Errorf("% x is read, % x is written: %v", b, again, err)
		}
	})
}
