package engine

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestReceipts(t *testing.T) {
	c := testConfig(vfs.NewMem())
	e := open(t, c)
	twoOfEach(t, e)
	beginMove(t, e)
	waitPhotos(t, e, "t", "g")
	moving := len(galleryOf(t, e, "t", "g").successor.Load().mu.people)
	r, err := e.ErasePerson(t.Context(), "t", "g", "a", WriteOptions{})
	must(err)
	if r.Kind != ReceiptPerson || r.Tenant != "t" || r.Gallery != "g" || r.Person != "a" || r.Sequence != e.store.seq || r.Templates < 2 || r.Photos < 2 {
		t.Errorf("%+v", r)
	}
	if want := 1 + min(moving, 1); len(r.Keys) != want || len(r.Keys[0].ID) != 64 || r.Keys[0].SealedWith != 1 || len(r.Remains) != 2 {
		t.Errorf("%+v, %d keys expected", r, want)
	}
	_, err = e.Person(t.Context(), "t", "g", "a")
	wantErr(t, err, ErrPersonNotFound)
	_, err = e.ErasePerson(t.Context(), "t", "g", "a", WriteOptions{})
	wantErr(t, err, ErrPersonNotFound)
	mustCheck(t, e)

	// The public key alone verifies it, as any JWS.
	jwk := e.ReceiptKey()
	x, err := base64.RawURLEncoding.DecodeString(jwk.X)
	must(err)
	text, signature, _ := cutLast(r.JWS, ".")
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !ed25519.Verify(x, []byte(text), raw) {
		t.Errorf("the signature is not the key's: %v", err)
	}
	var header receiptHeader
	b, err := base64.RawURLEncoding.DecodeString(r.JWS[:strings.Index(r.JWS, ".")])
	must(err)
	must(json.Unmarshal(b, &header))
	if header.Algorithm != "EdDSA" || header.KeyID != jwk.ID {
		t.Errorf("%+v", header)
	}

	e = reopen(t, e, c)
	if e.ReceiptKey() != jwk {
		t.Error("the key is another after a restart")
	}
	got, err := e.VerifyReceipt(r.JWS)
	if err != nil || got.Person != "a" || got.Sequence != r.Sequence {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range r.JWS {
		changed := []byte(r.JWS)
		if changed[i] = 'A'; r.JWS[i] == 'A' {
			changed[i] = 'B'
		}
		if _, err := e.VerifyReceipt(string(changed)); err == nil {
			t.Errorf("it is taken with character %d changed", i)
		}
	}
	_, err = e.VerifyReceipt(strings.Repeat("a.", maxReceipt))
	wantErr(t, err, ErrReceipt)
	other := openMem(t)
	_, err = other.VerifyReceipt(r.JWS)
	wantErr(t, err, ErrReceipt)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	return s[:i], s[i+len(sep):], true
}

func TestEraseTenant(t *testing.T) {
	c := testConfig(vfs.NewMem())
	e := open(t, c)
	twoOfEach(t, e)
	beginMove(t, e)
	_, token, err := e.CreateKey(t.Context(), "t", KeySpec{Role: RoleMatcher})
	must(err)
	_, kept, err := e.CreateKey(t.Context(), "u", KeySpec{Role: RoleMatcher})
	must(err)
	old := e.mu.sealers["t"].ring.current()
	r, err := e.EraseTenant(t.Context(), "t")
	must(err)
	if r.Kind != ReceiptTenant || r.People != 4 || r.Templates != 8 || len(r.Keys) != 1 || r.Keys[0].SealedWith != old.version {
		t.Errorf("%+v", r)
	}
	if _, err := e.VerifyReceipt(r.JWS); err != nil {
		t.Error(err)
	}
	gone := func() {
		t.Helper()
		_, err := e.Authenticate(token)
		wantErr(t, err, ErrKeyUnknown)
		_, err = e.Gallery(t.Context(), "t", "g")
		wantErr(t, err, ErrGalleryNotFound)
		_, err = e.EraseTenant(t.Context(), "t")
		wantErr(t, err, ErrTenantNotFound)
		if _, err := e.Authenticate(kept); err != nil {
			t.Error(err)
		}
		mustCheck(t, e)
	}
	gone()
	e = reopen(t, e, c)
	gone()
	mustGallery(t, e, "t", "g") // a new tenant of the name
	_, _, err = e.PutPerson(t.Context(), "t", "g", "a", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}})
	must(err)
	if n := opensBy(t, e, "t", old); n != 0 {
		t.Errorf("the erased tenant's key opens %d values of the new one's", n)
	}
	mustCheck(t, reopen(t, e, c))
}

// TestEraseTenantCrash: whenever a crash comes, the tenant is there whole, or gone, and no other one is touched.
func TestEraseTenantCrash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := &stepFS{FS: mem, mem: mem}
	e := open(t, testConfig(fs))
	twoOfEach(t, e)
	images := fs.during(func() {
		_, err := e.EraseTenant(t.Context(), "t")
		must(err)
	})
	there, gone := 0, 0
	for i, image := range images {
		e, err := Open(testConfig(image))
		if err != nil {
			t.Fatalf("step %d of %d: %v", i, len(images), err)
		}
		mustCheck(t, e)
		for _, tenant := range []string{"t", "u"} {
			people := 0
			all, err := e.Galleries(t.Context(), tenant)
			must(err)
			for _, g := range all {
				people += g.People
			}
			switch {
			case people == 4 && len(all) == 2:
				there++
			case people == 0 && len(all) == 0 && tenant == "t":
				gone++
			default:
				t.Errorf("step %d: tenant %s has %d galleries and %d people", i, tenant, len(all), people)
			}
		}
		must(e.Close())
	}
	if gone == 0 || there <= len(images) {
		t.Errorf("%d there, %d gone of %d steps", there, gone, len(images))
	}
}
