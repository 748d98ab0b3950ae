package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// checkDocuments verifies that documents open, that memory's counts are the store's, and that the index of whom they are about has
// exactly those that say so, of people who are there.
func checkDocuments(e *Engine) error {
	count, about, indexed := map[string]int{}, map[string]bool{}, map[string]bool{}
	for tenant, keys := range e.mu.sealers {
		prefix := documentsPrefix(tenant)
		err := e.store.each(prefix, prefixEnd(prefix), func(key, value []byte) (bool, error) {
			rest := string(key[len(prefix):])
			if rest[0] == documentSubject {
				indexed[tenant+"\x00"+rest[1:]] = true
				return true, nil
			}
			count[tenant]++
			kind, id, _ := strings.Cut(rest[1:], "\x00")
			d, err := keys.openDocument(tenant, kind, id, value)
			if err != nil || d.Person == "" {
				return err == nil, err
			}
			about[strings.Join([]string{tenant, d.Gallery, d.Person, kind, id}, "\x00")] = true
			_, err = e.Person(context.Background(), tenant, d.Gallery, d.Person)
			return err == nil, err
		})
		if err != nil {
			return fmt.Errorf("documents of %q: %w", tenant, err)
		}
	}
	if !maps.Equal(about, indexed) || !maps.Equal(count, e.store.documents.mu.count) {
		return fmt.Errorf("documents are about %v, indexed %v; %v of them, %v in memory", about, indexed, count, e.store.documents.mu.count)
	}
	return nil
}

// putDocument makes a document or replaces it.
func putDocument(e *Engine, tenant string, d Document) error {
	_, err := e.ChangeDocument(context.Background(), tenant, d.Kind, d.ID, DocumentOptions{}, func(*Document) (*Document, error) { return &d, nil })
	return err
}

func mustPerson(t testing.TB, e *Engine, gallery, id string) {
	t.Helper()
	if _, _, err := e.PutPerson(t.Context(), "t", gallery, id, PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}); err != nil {
		t.Fatal(err)
	}
}

func mustDocument(t testing.TB, e *Engine, tenant string, d Document) {
	t.Helper()
	if err := putDocument(e, tenant, d); err != nil {
		t.Fatal(err)
	}
}

func dumpDocuments(t *testing.T, line func(string, any, error), e *Engine, tenant string) {
	t.Helper()
	for _, kind := range []string{"test.session", "test.log"} {
		list, err := e.Documents(t.Context(), tenant, kind, 0, "")
		if err != nil && !errors.Is(err, ErrTenantNotFound) {
			t.Fatal(err)
		}
		for _, d := range list {
			line("document", d, nil)
		}
	}
}

// writeDocuments is writeGolden, and leaves documents about people and about nobody, and clients' keys.
func writeDocuments(t *testing.T, e *Engine, tenant string) (tokens []string) {
	t.Helper()
	tokens = writeGolden(t, e, tenant)
	for i, d := range []Document{
		{Kind: "test.session", ID: "one", Value: []byte("about ann"), Gallery: "plain", Person: "ann"},
		{Kind: "test.session", ID: "日本 / two", Value: []byte{0, 1, 2}, Gallery: "plain", Person: "日本 / bob", Expires: time.Date(2300, 1, 2, 3, 4, 5, 6e6, time.UTC)},
		{Kind: "test.session", ID: "three"},
		{Kind: "test.log", ID: "one", Value: bytes.Repeat([]byte("x"), 100)},
	} {
		mustDocument(t, e, tenant, d)
		d.Value = append(d.Value, byte('0'+i))
		mustDocument(t, e, tenant, d)
	}
	_, token, err := e.CreateKey(t.Context(), tenant, KeySpec{Role: RoleClient, Dialect: "youverse", Galleries: []string{"plain"}})
	mustMove(t, err)
	return append(tokens, token)
}

// TestDocuments: a document is what was written last, in its kind and tenant alone, listed in order, across a restart.
func TestDocuments(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	for _, tenant := range []string{"t", "t2"} {
		mustGallery(t, e, tenant, "g")
	}
	for i := range 25 {
		mustDocument(t, e, "t", Document{Kind: "a.b", ID: fmt.Sprintf("%02d", i), Value: []byte{byte(i)}})
	}
	mustDocument(t, e, "t", Document{Kind: "a", ID: "b\u00e9", Value: []byte("other kind")})
	mustDocument(t, e, "t2", Document{Kind: "a.b", ID: "03", Value: []byte("other tenant")})
	mustDocument(t, e, "t", Document{Kind: "a.b", ID: "03", Value: []byte("again")})
	for range 2 {
		d, err := e.Document(t.Context(), "t", "a.b", "03")
		if err != nil || string(d.Value) != "again" || d.Kind != "a.b" || d.ID != "03" {
			t.Errorf("%+v %v", d, err)
		}
		var ids []string
		for after := ""; ; {
			list, err := e.Documents(t.Context(), "t", "a.b", 7, after)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			for _, d := range list {
				ids = append(ids, d.ID)
			}
			after = ids[len(ids)-1]
		}
		if len(ids) != 25 || ids[0] != "00" || ids[24] != "24" {
			t.Errorf("listed %q", ids)
		}
		mustCheck(t, e)
		e = reopen(t, e, testConfig(mem))
	}
	_, err := e.ChangeDocument(t.Context(), "t", "a.b", "03", DocumentOptions{}, func(*Document) (*Document, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Document(t.Context(), "t", "a.b", "03")
	wantErr(t, err, ErrDocumentNotFound)
	if d, err := e.Document(t.Context(), "t2", "a.b", "03"); err != nil || string(d.Value) != "other tenant" {
		t.Errorf("%+v %v", d, err)
	}
	mustCheck(t, e)
}

// TestDocumentChanges: changes of one document by many lose none; one that refuses, or gives back what it got, changes nothing.
func TestDocumentChanges(t *testing.T) {
	e := open(t, testConfig(vfs.NewMem()))
	mustGallery(t, e, "t", "g")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				_, err := e.ChangeDocument(t.Context(), "t", "count", "n", DocumentOptions{}, func(old *Document) (*Document, error) {
					if old == nil {
						return &Document{Value: []byte{1}}, nil
					}
					old.Value[0]++
					next := *old
					return &next, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	before, err := e.Document(t.Context(), "t", "count", "n")
	if err != nil || before.Value[0] != 200 {
		t.Errorf("%v %v, want 200", before.Value, err)
	}
	refused := errors.New("no")
	for _, change := range []func(*Document) (*Document, error){
		func(old *Document) (*Document, error) { old.Value[0] = 9; return old, nil },
		func(old *Document) (*Document, error) { return nil, refused },
	} {
		_, err := e.ChangeDocument(t.Context(), "t", "count", "n", DocumentOptions{Audit: "count"}, change)
		if err != nil && err != refused {
			t.Error(err)
		}
		if d, err := e.Document(t.Context(), "t", "count", "n"); err != nil || d.Value[0] != 200 || !d.Updated.Equal(before.Updated) {
			t.Errorf("%+v %v", d, err)
		}
	}
	mustCheck(t, e)
}

// TestDocumentsTogether: what a change says besides is in the same write, or nothing of it is; and a change may say whom a document
// is about.
func TestDocumentsTogether(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	mustGallery(t, e, "t", "g")
	mustPerson(t, e, "g", "ann")
	session := Document{Kind: "a.session", ID: "one", Value: []byte("active")}
	mustDocument(t, e, "t", session)
	complete := func(person string, also ...Document) error {
		_, err := e.ChangeDocument(t.Context(), "t", "a.session", "one", DocumentOptions{Also: func() []Document { return also }}, func(old *Document) (*Document, error) {
			return &Document{Value: []byte("completed"), Gallery: "g", Person: person}, nil
		})
		return err
	}
	event := Document{Kind: "a.event", ID: "1", Value: []byte("done"), Gallery: "g", Person: "ann"}
	wantErr(t, complete("ann", event, Document{Kind: "a.event", ID: "2", Value: make([]byte, MaxDocumentBytes+1)}), ErrDocument)
	wantErr(t, complete("ann", event, Document{Kind: "a.event", ID: "2", Gallery: "g", Person: "bob"}), ErrPersonNotFound)
	wantErr(t, complete("ann", event, Document{Kind: "no/kind", ID: "2"}), ErrID)
	if d, err := e.Document(t.Context(), "t", "a.session", "one"); err != nil || string(d.Value) != "active" {
		t.Errorf("a refused change left %+v %v", d, err)
	}
	mustMove(t, complete("ann", event, Document{Kind: "a.event", ID: "2", Value: []byte("nobody's")}))
	for range 2 {
		list, err := e.Documents(t.Context(), "t", "a.event", 0, "")
		if err != nil || len(list) != 2 || string(list[0].Value) != "done" || list[0].Person != "ann" {
			t.Errorf("%+v %v", list, err)
		}
		if got := e.DocumentTenants(); len(got) != 1 || got[0] != "t" {
			t.Errorf("tenants with documents: %q", got)
		}
		mustCheck(t, e)
		e = reopen(t, e, testConfig(mem))
	}
	mustMove(t, e.DeletePerson(t.Context(), "t", "g", "ann", WriteOptions{}))
	_, err := e.Document(t.Context(), "t", "a.session", "one")
	wantErr(t, err, ErrDocumentNotFound)
	if list, err := e.Documents(t.Context(), "t", "a.event", 0, ""); err != nil || len(list) != 1 || list[0].ID != "2" {
		t.Errorf("%+v %v", list, err)
	}
	mustCheck(t, e)
}

// TestDocumentsRefused: what can't be stored is refused, and changes nothing.
func TestDocumentsRefused(t *testing.T) {
	e, now := clockedEngine(t)
	mustGallery(t, e, "t", "g")
	mustPerson(t, e, "g", "p")
	for _, x := range []struct {
		tenant string
		d      Document
		want   error
	}{
		{"nobody", Document{Kind: "k", ID: "i"}, ErrTenantNotFound},
		{"t", Document{Kind: "k/", ID: "i"}, ErrID},
		{"t", Document{Kind: "k", ID: "i\x00"}, ErrID},
		{"t", Document{Kind: "k", ID: ""}, ErrID},
		{"t", Document{Kind: "k", ID: "i", Value: make([]byte, MaxDocumentBytes+1)}, ErrDocument},
		{"t", Document{Kind: "k", ID: "i", Expires: *now}, ErrDocument},
		{"t", Document{Kind: "k", ID: "i", Gallery: "g"}, ErrDocument},
		{"t", Document{Kind: "k", ID: "i", Person: "p"}, ErrDocument},
		{"t", Document{Kind: "k", ID: "i", Gallery: "g", Person: "q"}, ErrPersonNotFound},
		{"t", Document{Kind: "k", ID: "i", Gallery: "h", Person: "p"}, ErrGalleryNotFound},
	} {
		wantErr(t, putDocument(e, x.tenant, x.d), x.want)
	}
	e.store.documents.change("t", MaxDocuments, 0)
	wantErr(t, putDocument(e, "t", Document{Kind: "k", ID: "i"}), ErrDocumentsFull)
	e.store.documents.change("t", -MaxDocuments, 0)
	mustCheck(t, e)
}

// TestDocumentsEnd: a document that has expired is there for nobody at once, and in the store for no longer than the sweep takes.
func TestDocumentsEnd(t *testing.T) {
	c := testConfig(vfs.NewMem())
	var mu sync.Mutex
	now := time.Unix(1e9, 0)
	c.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	c.sweepEvery = time.Hour // by hand
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	for i := range 3 * maxSweep {
		mustDocument(t, e, "t", Document{Kind: "k", ID: fmt.Sprint(i), Expires: now.Add(time.Duration(1+i%3) * time.Second)})
	}
	mustDocument(t, e, "t", Document{Kind: "k", ID: "stays"})
	mu.Lock()
	now = now.Add(time.Second)
	mu.Unlock()
	_, err := e.Document(t.Context(), "t", "k", "0")
	wantErr(t, err, ErrDocumentNotFound)
	if err := e.sweepDocuments(now.UnixMilli()); err != nil || e.store.documents.count("t") != 2*maxSweep+1 {
		t.Errorf("%d left, want %d: %v", e.store.documents.count("t"), 2*maxSweep+1, err)
	}
	// One that has expired and is not swept yet is replaced as if it were not there.
	mu.Lock()
	now = now.Add(time.Second)
	mu.Unlock()
	_, err = e.ChangeDocument(t.Context(), "t", "k", "1", DocumentOptions{}, func(old *Document) (*Document, error) {
		if old != nil {
			t.Errorf("an expired document is there: %+v", old)
		}
		return &Document{Value: []byte("new")}, nil
	})
	if err != nil {
		t.Error(err)
	}
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	if err := e.sweepDocuments(now.UnixMilli()); err != nil || e.store.documents.count("t") != 2 {
		t.Errorf("%d left, want 2: %v", e.store.documents.count("t"), err)
	}
	mustCheck(t, e)
}

// TestDocumentsGoWithPeople: whatever deletes a person deletes what is kept about them and nobody else.
func TestDocumentsGoWithPeople(t *testing.T) {
	for name, remove := range map[string]func(*Engine) error{
		"person": func(e *Engine) error { return e.DeletePerson(context.Background(), "t", "g", "p", WriteOptions{}) },
		"erasure": func(e *Engine) error {
			_, err := e.ErasePerson(context.Background(), "t", "g", "p", WriteOptions{})
			return err
		},
		"gallery": func(e *Engine) error { return e.DeleteGallery(context.Background(), "t", "g") },
		"move": func(e *Engine) error {
			if _, err := e.StartMove(context.Background(), "t", "g", MoveSpec{Space: spaceB.ID}); err != nil {
				return err
			}
			_, err := e.FinishMove(context.Background(), "t", "g", spaceB.ID, true)
			return err
		},
		"tenant": func(e *Engine) error { _, err := e.EraseTenant(context.Background(), "t"); return err },
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			e := open(t, testConfig(mem))
			left := 0
			for _, gallery := range []string{"g", "g2"} {
				mustGallery(t, e, "t", gallery)
				for _, p := range []string{"p", "p2"} {
					mustPerson(t, e, gallery, p)
					for _, kind := range []string{"k", "k2"} {
						mustDocument(t, e, "t", Document{Kind: kind, ID: gallery + " " + p, Gallery: gallery, Person: p})
						left++
					}
				}
			}
			mustDocument(t, e, "t", Document{Kind: "k", ID: "nobody"})
			left++
			if err := remove(e); err != nil {
				t.Fatal(err)
			}
			switch name {
			case "person", "erasure":
				left -= 2
			case "tenant":
				left = 0
			default:
				left -= 4
			}
			for range 2 {
				if n := e.store.documents.count("t"); n != left {
					t.Errorf("%d documents are left, want %d", n, left)
				}
				mustCheck(t, e)
				e = reopen(t, e, testConfig(mem))
			}
		})
	}
}

// TestDocumentsOfWhoIsDue: who is enrolled under the id of somebody who is due, and not erased yet, has nothing that was kept about them.
func TestDocumentsOfWhoIsDue(t *testing.T) {
	for name, enrol := range map[string]func(*Engine) error{
		"put": func(e *Engine) error {
			_, _, err := e.PutPerson(context.Background(), "t", "g", "ann", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}})
			return err
		},
		"import": func(e *Engine) error {
			people := func(yield func(PortablePerson, error) bool) {
				yield(PortablePerson{ID: "ann", Created: e.Now(), Updated: e.Now(), Templates: []PortableTemplate{{Number: 1, Created: e.Now(), Source: "image", Vector: []float32{1, 0, 0, 0}}}}, nil)
			}
			return e.Import(context.Background(), "t", "g", ImportOptions{Space: spaceA.ID}, people, func(all []ImportResult) error { return all[0].Err })
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(vfs.NewMem())
			var ahead atomic.Int64
			c.Now = func() time.Time { return time.Unix(1e9, 0).Add(time.Duration(ahead.Load())) }
			c.sweepEvery = time.Hour
			e := open(t, c)
			mustGallery(t, e, "t", "g")
			spec := PersonSpec{Templates: []Template{template(1, 0, 0, 0)}, Retention: Retention{Expires: e.Now().Add(time.Second)}}
			if _, _, err := e.PutPerson(t.Context(), "t", "g", "ann", spec); err != nil {
				t.Fatal(err)
			}
			mustDocument(t, e, "t", Document{Kind: "k", ID: "s", Value: []byte("of the first ann"), Gallery: "g", Person: "ann"})
			ahead.Store(int64(2 * time.Second))
			if err := enrol(e); err != nil {
				t.Fatal(err)
			}
			d, err := e.Document(t.Context(), "t", "k", "s")
			if wantErr(t, err, ErrDocumentNotFound); err == nil {
				t.Errorf("the second ann has %s", d.Value)
			}
			mustCheck(t, e)
		})
	}
}

// TestCorruptDocumentEnds: one that does not open is deleted when its end is past, and keeps no others.
func TestCorruptDocumentEnds(t *testing.T) {
	e, now := clockedEngine(t)
	mustGallery(t, e, "t", "g")
	for _, id := range []string{"a", "b"} {
		mustDocument(t, e, "t", Document{Kind: "k", ID: id, Expires: now.Add(time.Second)})
	}
	err := e.store.update(t.Context(), false, func(t *tx) error {
		value, _, err := t.get(documentKey("t", "k", "a"))
		value[len(value)-1] ^= 1
		t.set(documentKey("t", "k", "a"), value)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	*now = now.Add(time.Minute)
	if err := e.sweepDocuments(now.UnixMilli()); err != nil || e.store.documents.count("t") != 0 {
		t.Errorf("%d documents are left: %v", e.store.documents.count("t"), err)
	}
	mustCheck(t, e)
}

// TestDocumentsAudited: a write that says so is recorded, without the value.
func TestDocumentsAudited(t *testing.T) {
	e := open(t, testConfig(vfs.NewMem()))
	mustGallery(t, e, "t", "g")
	mustPerson(t, e, "g", "p")
	_, err := e.ChangeDocument(t.Context(), "t", "k", "i", DocumentOptions{Audit: "session.open", Note: "by test"}, func(*Document) (*Document, error) {
		return &Document{Value: []byte("PLANTED"), Gallery: "g", Person: "p"}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	log := auditLog(t, e, "t")
	last := string(log[len(log)-1].Record)
	if !strings.Contains(last, `"session.open"`) || !strings.Contains(last, `"p"`) || !strings.Contains(last, "by test") || strings.Contains(last, "PLANTED") {
		t.Errorf("the last record is %s", last)
	}
}

// TestTenantSecret: it is the same after a restart and a rotation, another for each label and tenant, and gone with the tenant.
func TestTenantSecret(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	mustGallery(t, e, "t", "g")
	mustGallery(t, e, "t2", "g")
	secret := func(tenant, label string) string {
		t.Helper()
		s, err := e.TenantSecret(t.Context(), tenant, label)
		if err != nil || len(s) != 32 {
			t.Fatal(s, err)
		}
		return string(s)
	}
	a := secret("t", "a/1")
	if a == secret("t", "a/2") || a == secret("t2", "a/1") {
		t.Error("a secret is another's")
	}
	if _, err := e.RotateTenantKey(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	e = reopen(t, e, testConfig(mem))
	if a != secret("t", "a/1") {
		t.Error("the secret has changed")
	}
	if _, err := e.EraseTenant(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	_, err := e.TenantSecret(t.Context(), "t", "a/1")
	wantErr(t, err, ErrTenantNotFound)
	mustGallery(t, e, "t", "g")
	if a == secret("t", "a/1") {
		t.Error("a new tenant of the name has the old one's secret")
	}
}

// TestClientKeys: a key of the role client names a dialect and one gallery; others name none.
func TestClientKeys(t *testing.T) {
	for _, x := range []struct {
		spec KeySpec
		ok   bool
	}{
		{KeySpec{Role: RoleClient, Dialect: "youverse", Galleries: []string{"g"}}, true},
		{KeySpec{Role: RoleClient, Galleries: []string{"g"}}, false},
		{KeySpec{Role: RoleMatcher, Dialect: "youverse", Galleries: []string{"g"}}, false},
		{KeySpec{Role: RoleClient, Dialect: "youverse"}, false},
		{KeySpec{Role: RoleClient, Dialect: "youverse", Galleries: []string{"g*"}}, false},
		{KeySpec{Role: RoleClient, Dialect: "youverse", Galleries: []string{"g", "h"}}, false},
		{KeySpec{Role: RoleClient, Dialect: "you verse", Galleries: []string{"g"}}, false},
	} {
		if err := x.spec.validate(); (err == nil) != x.ok || err != nil && !errors.Is(err, ErrKeySpec) {
			t.Errorf("%+v: %v", x.spec, err)
		}
	}
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	made, token := mustKey(t, e, KeySpec{Role: RoleClient, Dialect: "youverse", Galleries: []string{"g"}})
	wantFormat(t, e, documentFormat)
	e = reopen(t, e, testConfig(mem))
	k, err := e.Authenticate(token)
	if err != nil || k.Dialect != "youverse" || k.Role != RoleClient {
		t.Errorf("%+v %v", k, err)
	}
	next, _, err := e.RotateKey(t.Context(), made.Tenant, made.ID, Rotation{})
	if err != nil || next.Dialect != "youverse" {
		t.Errorf("%+v %v", next, err)
	}
}
