package engine

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestSealOpensOnlyInItsPlace(t *testing.T) {
	s, err := newSealer(testKey)
	if err != nil {
		t.Fatal(err)
	}
	home := place{kind: kindTemplate, tenant: "t", gallery: 3, person: "p", number: 2, space: "s"}
	sealed := s.seal(home, []byte("secret"))
	if plain, err := s.open(nil, home, sealed); err != nil || string(plain) != "secret" {
		t.Fatalf("%q, %v", plain, err)
	}
	elsewhere := []place{home, home, home, home, home, home, home, home}
	elsewhere[0].kind = kindPerson
	elsewhere[1].tenant = "u"
	elsewhere[2].gallery = 4
	elsewhere[3].person = "q"
	elsewhere[4].number = 1
	elsewhere[5].space = "r"
	elsewhere[6].tenant, elsewhere[6].person = "tp", ""
	elsewhere[7].person, elsewhere[7].space = "ps", ""
	for _, p := range elsewhere {
		if _, err := s.open(nil, p, sealed); !errors.Is(err, ErrCorrupt) {
			t.Errorf("opens in %+v: %v", p, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := s.open(nil, home, bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("opens with byte %d changed: %v", i, err)
		}
		if _, err := s.open(nil, home, sealed[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("opens cut to %d bytes: %v", i, err)
		}
	}
	if bytes.Equal(sealed, s.seal(home, []byte("secret"))) {
		t.Error("the nonce does not change")
	}
}

func TestPersonRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &personRecord{version: rapid.Uint64().Draw(t, "version"), created: rapid.Int64Min(0).Draw(t, "created"),
			updated: rapid.Int64Min(0).Draw(t, "updated"), next: rapid.Uint32().Draw(t, "next")}
		if m := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "metadata"); len(m) > 0 {
			r.metadata = m
		}
		for range rapid.IntRange(1, MaxTemplates).Draw(t, "templates") {
			r.templates = append(r.templates, templateRecord{number: rapid.Uint32().Draw(t, "number"), created: rapid.Int64Min(0).Draw(t, "at"),
				source: rapid.StringN(0, 9, MaxSourceBytes).Draw(t, "source"), photo: rapid.Bool().Draw(t, "photo")})
		}
		if rapid.Bool().Draw(t, "extended") {
			drawExtended(t, r)
		}
		b := r.append(nil)
		got, err := parsePersonRecord(b)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Fatalf("%+v came back as %+v, %v", r, got, err)
		}
		if _, err := parsePersonRecord(b[:len(b)-1]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("a cut record: %v", err)
		}
		if _, err := parsePersonRecord(append(b, 0)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("a record with a tail: %v", err)
		}
	})
}

// drawExtended gives a record some of what format 6 brought.
func drawExtended(t *rapid.T, r *personRecord) {
	r.suspended = rapid.Bool().Draw(t, "suspended")
	for i := range r.templates {
		r.templates[i].quality, r.templates[i].by = rapid.Uint32Range(0, maxQuality).Draw(t, "quality"), rapid.StringN(0, 9, MaxByBytes).Draw(t, "by")
	}
	for range rapid.IntRange(0, MaxHistory).Draw(t, "history") {
		past := r.templates[0]
		past.number, past.photo, past.replaced = rapid.Uint32().Draw(t, "number"), false, rapid.Int64Min(1).Draw(t, "replaced")
		r.history = append(r.history, past)
	}
}

func FuzzPersonRecord(f *testing.F) {
	r := personRecord{version: 9, created: 1, updated: 2, next: 3, metadata: []byte("{}"), templates: []templateRecord{{number: 1, created: 2, source: "image"}}}
	f.Add(r.append(nil))
	r.templates = append(r.templates, templateRecord{number: 2, created: 2, source: "image", photo: true})
	f.Add(r.append(nil))
	r.suspended, r.templates[0].quality, r.templates[1].by = true, 5001, "0123456789abcdef"
	r.history = []templateRecord{{number: 9, created: 1, source: "image", replaced: 5}}
	f.Add(r.append(nil))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Add([]byte{1, 1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parsePersonRecord(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := parsePersonRecord(r.append(nil))
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("%+v came back as %+v, %v", r, again, err)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add(formatCursor("ann"))
	f.Add("AQ")
	f.Add("====")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := parseCursor(s)
		if err != nil {
			if !errors.Is(err, ErrCursor) {
				t.Fatal(err)
			}
			return
		}
		if s != "" && formatCursor(id) != s {
			t.Fatalf("%q is taken for the cursor of %q", s, id)
		}
	})
}

func TestTemplateKeys(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[a-z \x{e9}]{1,5}`).Draw(t, "id")
		other := rapid.StringMatching(`[a-z \x{e9}]{1,5}`).Draw(t, "other")
		n, m := rapid.Uint32().Draw(t, "n"), rapid.Uint32().Draw(t, "m")
		gotID, gotN, ok := splitTemplateKey(templateKey(5, id, n))
		if !ok || gotID != id || gotN != n {
			t.Fatalf("%q %d came back as %q %d %v", id, n, gotID, gotN, ok)
		}
		// Templates sort as their people do, whatever their numbers.
		a, b := templateKey(5, id, n), templateKey(5, other, m)
		if id < other && bytes.Compare(a, b) >= 0 {
			t.Fatalf("%q sorts after %q", a, b)
		}
	})
	for prefix, want := range map[string]string{"a": "b", "a\xff": "b", "\x05\x00\xff\xff": "\x05\x01"} {
		if got := prefixEnd([]byte(prefix)); string(got) != want {
			t.Errorf("prefixEnd(%q) = %q", prefix, got)
		}
	}
}
