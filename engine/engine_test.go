package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/index/scan"
)

func TestMasterKey(t *testing.T) {
	c := testConfig(vfs.NewMem())
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wrong := c
	wrong.MasterKey = bytes.Repeat([]byte{8}, MasterKeyBytes)
	_, err := Open(wrong)
	wantErr(t, err, ErrMasterKey)
	for _, n := range []int{0, 16, 31, 33} {
		wrong.MasterKey = make([]byte, n)
		_, err := Open(wrong)
		wantErr(t, err, ErrConfig)
	}
	mustCheck(t, open(t, c)) // a refused key does no harm, and leaves no lock
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]Config{"memory": testConfig(vfs.NewMem()), "disk": {Dir: dir, MasterKey: testKey}} {
		e := open(t, c)
		_, err := Open(c)
		if wantErr(t, err, ErrInUse); err == nil {
			t.Fatal(name)
		}
		reopen(t, e, c)
	}
}

func TestNewerFormat(t *testing.T) {
	c := testConfig(vfs.NewMem())
	e := open(t, c)
	newer := binary.BigEndian.AppendUint32(nil, formatVersion+1)
	if err := errors.Join(e.store.db.Set(keyFormat, newer, pebble.Sync), e.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := Open(c)
	wantErr(t, err, ErrFormat)
}

// TestNewerPebble holds the text that checkPebbleFormat matches.
func TestNewerPebble(t *testing.T) {
	mem := vfs.NewMem()
	c := testConfig(mem)
	reopen(t, open(t, c), c).Close()
	names, err := mem.List("data/store")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, "marker.format-version.") {
			if err := mem.Rename("data/store/"+n, "data/store/marker.format-version.999999.999"); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err = Open(c)
	wantErr(t, err, ErrFormat)
}

func TestConfigRefuses(t *testing.T) {
	good := testConfig(vfs.NewMem())
	for name, change := range map[string]func(*Config){
		"no dir": func(c *Config) { c.Dir = "" }, "twice": func(c *Config) { c.Spaces = []Space{spaceA, spaceA} },
		"no dim": func(c *Config) { c.Spaces = []Space{{ID: "x", Calibration: testCurve}} }, "too many dims": func(c *Config) { c.Spaces = []Space{{ID: "x", Dim: scan.MaxDim + 1, Calibration: testCurve}} },
		"no curve": func(c *Config) { c.Spaces = []Space{{ID: "x", Dim: 3}} },
	} {
		c := good
		change(&c)
		if _, err := Open(c); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e := open(t, good)
	mustGallery(t, e, "t", "g")
	e.Close()
	good.Spaces = []Space{{ID: spaceA.ID, Dim: spaceA.Dim + 1, Calibration: testCurve}}
	_, err := Open(good)
	wantErr(t, err, ErrConfig)
}

func TestGalleriesFull(t *testing.T) {
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	e.mu.Lock()
	for i := range MaxGalleries - 1 {
		e.mu.galleries[galleryName{"t", fmt.Sprint(i)}] = &gallery{}
	}
	e.mu.Unlock()
	_, _, err := e.CreateGallery(t.Context(), "t", "another", GallerySpec{})
	if wantErr(t, err, ErrGalleriesFull); Detail(err) == "" {
		t.Error("the client is told nothing")
	}
	mustGallery(t, e, "t", "g") // is there
}

// TestUnknownSpace: a store opens without the models of its galleries; people can be seen and deleted, not
// compared.
func TestUnknownSpace(t *testing.T) {
	c, ctx := testConfig(vfs.NewMem()), t.Context()
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	spec := PersonSpec{Templates: []Template{template(1, 0, 0, 0), template(0, 1, 0, 0)}}
	for _, id := range []string{"a", "b"} {
		if _, _, err := e.PutPerson(ctx, "t", "g", id, spec); err != nil {
			t.Fatal(err)
		}
	}
	without := c
	without.Spaces = nil
	e = reopen(t, e, without)
	if g, err := e.Gallery(ctx, "t", "g"); err != nil || g.People != 2 || g.Templates != 4 || g.Space != spaceA.ID {
		t.Errorf("%+v, %v", g, err)
	}
	_, err := e.Identify(ctx, "t", "g", template(1, 0, 0, 0), IdentifyOptions{})
	wantErr(t, err, ErrSpaceUnknown)
	_, err = e.Verify(ctx, "t", "g", "a", template(1, 0, 0, 0), Policy{})
	wantErr(t, err, ErrSpaceUnknown)
	_, _, err = e.PutPerson(ctx, "t", "g", "a", spec)
	wantErr(t, err, ErrSpaceUnknown)
	_, err = e.AddTemplate(ctx, "t", "g", "a", TemplateSpec{Templates: []Template{spec.Templates[0]}})
	wantErr(t, err, ErrSpaceUnknown)
	_, _, err = e.CreateGallery(ctx, "t", "h", GallerySpec{})
	wantErr(t, err, ErrSpaceUnknown)
	if p, err := e.PatchPerson(ctx, "t", "g", "a", PersonPatch{Metadata: new(json.RawMessage(`{"x":1}`))}); err != nil || len(p.Templates) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	if err := e.DeletePerson(ctx, "t", "g", "b", WriteOptions{}); err != nil {
		t.Error(err)
	}
	mustCheck(t, e)
	e = reopen(t, e, c)
	mustCheck(t, e)
	if d, err := e.Verify(ctx, "t", "g", "a", template(1, 0, 0, 0), Policy{}); err != nil || !d.Match {
		t.Errorf("%+v, %v", d, err)
	}
}

// TestMovedRows: a row copied to another person, or another tenant, is found when the store is opened, which then is refused, or its gallery.
func TestMovedRows(t *testing.T) {
	for name, move := range map[string]func(e *Engine, g *gallery) error{
		"template": func(e *Engine, g *gallery) error {
			v, _, err := e.store.get(nil, templateKey(g.record.Number, "a", 1))
			return errors.Join(err, e.store.db.Set(templateKey(g.record.Number, "b", 1), v, pebble.Sync))
		},
		"person": func(e *Engine, g *gallery) error {
			v, _, err := e.store.get(nil, personKey(g.record.Number, "a"))
			return errors.Join(err, e.store.db.Set(personKey(g.record.Number, "b"), v, pebble.Sync))
		},
		"data key": func(e *Engine, g *gallery) error {
			v, _, err := e.store.get(nil, tenantKey("t"))
			return errors.Join(err, e.store.db.Set(tenantKey("u"), v, pebble.Sync))
		},
		"orphan": func(e *Engine, g *gallery) error {
			return e.store.db.Delete(personKey(g.record.Number, "a"), pebble.Sync)
		},
		"missing": func(e *Engine, g *gallery) error {
			return e.store.db.Delete(templateKey(g.record.Number, "a", 1), pebble.Sync)
		},
		"cut": func(e *Engine, g *gallery) error {
			return e.store.db.Set(templateKey(g.record.Number, "a", 1), []byte{1, 2}, pebble.Sync)
		},
		"copied gallery": func(e *Engine, g *gallery) error {
			v, _, err := e.store.get(nil, galleryKey("t", "g"))
			return errors.Join(err, e.store.db.Set(galleryKey("t", "h"), v, pebble.Sync))
		},
		"forged gallery": func(e *Engine, g *gallery) error {
			forged := g.record
			forged.Policy = recordOfPolicy(Policy{Cosine: new(-1.0)})
			return e.store.db.Set(galleryKey("t", "g"), appendJSONRecord(forged), pebble.Sync)
		},
		"forged key": func(e *Engine, g *gallery) error {
			forged := &keyRecord{ID: "0011223344556677", Tenant: "t", Role: string(RoleAdmin), Operator: true, Hash: make([]byte, 32)}
			return e.store.db.Set(apiKeyKey(forged.ID), appendJSONRecord(forged), pebble.Sync)
		},
		"gallery": func(e *Engine, g *gallery) error {
			return e.store.db.Set(galleryKey("t", "g"), []byte("{}"), pebble.Sync)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(vfs.NewMem())
			e := open(t, c)
			mustGallery(t, e, "t", "g")
			for i, id := range []string{"a", "b"} {
				v := make([]float32, 4)
				v[i] = 1
				if _, _, err := e.PutPerson(t.Context(), "t", "g", id, PersonSpec{Templates: []Template{template(v...)}}); err != nil {
					t.Fatal(err)
				}
			}
			g, err := e.gallery("t", "g")
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(move(e, g), e.Close()); err != nil {
				t.Fatal(err)
			}
			want := ErrCorrupt
			if name == "data key" {
				want = ErrKeyStore // that of a tenant of whom there is no key
			}
			if e, err = Open(c); err == nil { // the gallery alone is damaged
				defer e.Close()
				_, err = e.Verify(t.Context(), "t", "g", "b", template(0, 1, 0, 0), Policy{})
				wantErr(t, e.Ready(), ErrCorrupt)
			}
			wantErr(t, err, want)
		})
	}
}

// TestNothingInTheClear looks for templates and metadata in every byte on disk, before and after a flush.
func TestNothingInTheClear(t *testing.T) {
	dir := t.TempDir()
	c := Config{Dir: dir, MasterKey: testKey, Spaces: []Space{spaceB}, MinFreeBytes: -1}
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	rng := newRand(t)
	v := randomUnit(rng, spaceB)
	secret := []byte("grandmother's maiden name")
	spec := PersonSpec{Templates: []Template{v}, Metadata: fmt.Appendf(nil, `{"s":%q}`, secret)}
	if _, _, err := e.PutPerson(t.Context(), "t", "g", "visible-id", spec); err != nil {
		t.Fatal(err)
	}
	unit, err := unitVector(spaceB, v.Vector)
	if err != nil {
		t.Fatal(err)
	}
	needles := [][]byte{appendVector(nil, unit)[:8], appendVector(nil, unit)[40:48], appendVector(nil, v.Vector)[:8], secret[:12], testKey[:16]}
	for _, step := range []func() error{func() error { return nil }, e.store.db.Flush, e.Close} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if n := countOnDisk(t, dir, needles...); n != 0 {
			t.Fatalf("%d secrets on disk", n)
		}
		if countOnDisk(t, dir, []byte("visible-id")) == 0 { // or the search looks in the wrong place
			t.Fatal("the person's id is not found on disk")
		}
	}
}

func countOnDisk(t *testing.T, dir string, needles ...[]byte) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, needle := range needles {
			n += bytes.Count(b, needle)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTenantsDoNotMeet(t *testing.T) {
	e, ctx := openMem(t), t.Context()
	for _, tenant := range []string{"t", "u"} {
		mustGallery(t, e, tenant, "g")
	}
	if _, _, err := e.PutPerson(ctx, "t", "g", "a", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}); err != nil {
		t.Fatal(err)
	}
	_, err := e.Person(ctx, "u", "g", "a")
	wantErr(t, err, ErrPersonNotFound)
	if c, err := e.Identify(ctx, "u", "g", template(1, 0, 0, 0), IdentifyOptions{}); err != nil || len(c.Candidates) != 0 || c.Searched != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if err := e.DeleteGallery(ctx, "u", "g"); err != nil {
		t.Error(err)
	}
	if _, err := e.Person(ctx, "t", "g", "a"); err != nil {
		t.Error(err)
	}
	mustCheck(t, e)
}

func TestIDs(t *testing.T) {
	e, ctx := openMem(t), t.Context()
	mustGallery(t, e, "t", "g")
	spec := PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}
	for _, id := range []string{"", " a", "a ", "a\x00b", "a\nb", "\x7f", "\xff", "a\u0085", ".", "..", "a\u202eb", strings.Repeat("x", MaxIDBytes+1)} {
		_, _, err := e.PutPerson(ctx, "t", "g", id, spec)
		wantErr(t, err, ErrID)
		_, err = e.Person(ctx, "t", "g", id)
		wantErr(t, err, ErrID)
	}
	for _, id := range []string{"a", "a b", "日本", "a/b", "a..", "...", "%00", strings.Repeat("x", MaxIDBytes)} {
		if _, _, err := e.PutPerson(ctx, "t", "g", id, spec); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, name := range []string{"", "-a", ".a", "_a", "a b", "a/b", "é", "a\x00", strings.Repeat("x", MaxNameBytes+1)} {
		_, _, err := e.CreateGallery(ctx, "t", name, GallerySpec{})
		wantErr(t, err, ErrID)
		_, _, err = e.CreateGallery(ctx, name, "g", GallerySpec{})
		wantErr(t, err, ErrID)
	}
}

func TestMetadataBounds(t *testing.T) {
	e, ctx := openMem(t), t.Context()
	mustGallery(t, e, "t", "g")
	if _, _, err := e.PutPerson(ctx, "t", "g", "a", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}); err != nil {
		t.Fatal(err)
	}
	largest := `{"x":"` + strings.Repeat("y", MaxMetadataBytes-8) + `"}`
	if _, err := e.PatchPerson(ctx, "t", "g", "a", PersonPatch{Metadata: new(json.RawMessage(largest))}); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{largest[:len(largest)-2] + `y"}`, `{`, `{}{}`, `"x"`, `1`, `{"a":}`, "{\"\xff\":1}", strings.Repeat("[", 5000)} {
		_, err := e.PatchPerson(ctx, "t", "g", "a", PersonPatch{Metadata: new(json.RawMessage(bad))})
		wantErr(t, err, ErrMetadata)
	}
	if p, err := e.Person(ctx, "t", "g", "a"); err != nil || string(p.Metadata) != largest {
		t.Errorf("%d bytes, %v", len(p.Metadata), err)
	}
}

func TestKeys(t *testing.T) {
	c, ctx := testConfig(vfs.NewMem()), t.Context()
	e := open(t, c)
	admin, token, err := e.CreateKey(ctx, "default", KeySpec{Role: RoleAdmin, Operator: true, Label: "first"})
	if err != nil {
		t.Fatal(err)
	}
	matcher, other, err := e.CreateKey(ctx, "t", KeySpec{Role: RoleMatcher})
	if err != nil {
		t.Fatal(err)
	}
	if len(token) != 5+16+1+43 || !strings.HasPrefix(token, "mien_"+admin.ID+"_") || token[22:] == other[22:] {
		t.Errorf("token %q of key %q", token, admin.ID)
	}
	for range 2 { // before and after a restart
		if got, err := e.Authenticate(token); err != nil || !reflect.DeepEqual(got, admin) {
			t.Errorf("%+v, %v", got, err)
		}
		if keys, err := e.Keys(ctx, "t"); err != nil || len(keys) != 1 || keys[0].ID != matcher.ID {
			t.Errorf("%+v, %v", keys, err)
		}
		e = reopen(t, e, c)
	}
	swapped := "mien_" + admin.ID + "_" + other[22:]
	for _, bad := range []string{"x", "mien_", token[1:], token + "x", token[:len(token)-1], swapped, strings.ToUpper(token), "mien_" + strings.Repeat("_", 60)} {
		_, err := e.Authenticate(bad)
		wantErr(t, err, ErrKeyUnknown)
	}
	_, err = e.Authenticate("")
	wantErr(t, err, ErrKeyMissing)

	wantErr(t, e.RevokeKey(ctx, "t", admin.ID), ErrKeyNotFound) // of another tenant
	for _, id := range []string{"", "zz", admin.ID + "00", strings.Repeat("0", 16), strings.ToUpper("abcdefabcdefabcd")} {
		wantErr(t, e.RevokeKey(ctx, "default", id), ErrKeyNotFound)
	}
	for range 2 { // again does nothing
		if err := e.RevokeKey(ctx, "default", admin.ID); err != nil {
			t.Error(err)
		}
		_, err = e.Authenticate(token)
		wantErr(t, err, ErrKeyRevoked)
		_, err = e.Authenticate(swapped)
		wantErr(t, err, ErrKeyUnknown)
		e = reopen(t, e, c)
	}
	mustCheck(t, e)
	for _, bad := range []KeySpec{{}, {Role: "king"}, {Role: RoleMatcher, Operator: true}, {Role: RoleAdmin, Label: "a\nb"}, {Role: RoleAdmin, Label: strings.Repeat("x", MaxLabelBytes+1)}} {
		_, _, err := e.CreateKey(ctx, "t", bad)
		wantErr(t, err, ErrKeySpec)
	}
	_, _, err = e.CreateKey(ctx, "no good", KeySpec{Role: RoleAdmin})
	wantErr(t, err, ErrID)
}

func TestSecretsAreNotStored(t *testing.T) {
	dir := t.TempDir()
	e := open(t, Config{Dir: dir, MasterKey: testKey, MinFreeBytes: -1})
	_, token, err := e.CreateKey(t.Context(), "t", KeySpec{Role: RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if n := countOnDisk(t, dir, []byte(token[22:])); n != 0 {
		t.Errorf("the secret is on disk %d times", n)
	}
}

func TestClosed(t *testing.T) {
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	_, err := e.Gallery(t.Context(), "t", "g")
	wantErr(t, err, ErrClosed)
	_, err = e.Authenticate("mien_x")
	wantErr(t, err, ErrClosed)
	wantErr(t, e.Ready(), ErrClosed)
	wantErr(t, e.DeleteGallery(t.Context(), "t", "g"), ErrClosed)
}

// TestCloseDuringCalls: what was acknowledged while the engine closed is there.
func TestCloseDuringCalls(t *testing.T) {
	c := testConfig(vfs.NewMem())
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	acked := make([]int, 4)
	var wg sync.WaitGroup
	for i := range acked {
		wg.Go(func() {
			for {
				id := fmt.Sprintf("%d-%d", i, acked[i])
				_, _, err := e.PutPerson(context.Background(), "t", "g", id, PersonSpec{Templates: []Template{template(1, 0, 0, 0)}})
				if err != nil {
					wantErr(t, err, ErrClosed)
					return
				}
				acked[i]++
			}
		})
	}
	for e.store.last.Load() == nil || mustPeople(t, e) < 50 {
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	e = open(t, c)
	mustCheck(t, e)
	if got, want := mustPeople(t, e), acked[0]+acked[1]+acked[2]+acked[3]; got != want {
		t.Errorf("%d people, %d acknowledged", got, want)
	}
}

func mustPeople(t *testing.T, e *Engine) int {
	g, err := e.Gallery(t.Context(), "t", "g")
	if err != nil {
		t.Fatal(err)
	}
	return g.People
}

// TestWritersShareFsyncs: with 16 writers on a disk that takes a millisecond, far fewer fsyncs of the log than
// writes. (On a disk that takes none, there is nobody to share with.)
func TestWritersShareFsyncs(t *testing.T) {
	fs := &syncCounter{FS: vfs.Default, delay: time.Millisecond}
	e := open(t, Config{Dir: t.TempDir(), MasterKey: testKey, Spaces: []Space{spaceA}, MinFreeBytes: -1, FS: fs})
	mustGallery(t, e, "t", "g")
	syncs := fs.syncs.Load()
	const writers, each = 16, 25
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				_, _, err := e.PutPerson(context.Background(), "t", "g", fmt.Sprintf("%d-%d", i, j), PersonSpec{Templates: []Template{template(1, 0, 0, 0)}})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := fs.syncs.Load() - syncs
	t.Logf("%d fsyncs for %d writes by %d writers", got, writers*each, writers)
	if got > writers*each/2 {
		t.Errorf("%d fsyncs for %d writes: writers do not share them", got, writers*each)
	}
}

// syncCounter counts the fsyncs of Pebble's log.
type syncCounter struct {
	vfs.FS
	delay time.Duration // of each
	syncs atomic.Int64
}

func (s *syncCounter) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	return s.count(f, c), err
}

func (s *syncCounter) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.ReuseForWrite(from, to, c)
	return s.count(f, c), err
}

func (s *syncCounter) count(f vfs.File, c vfs.DiskWriteCategory) vfs.File {
	if f == nil || c != walCategory {
		return f
	}
	return &countedFile{f, s}
}

type countedFile struct {
	vfs.File
	fs *syncCounter
}

func (f *countedFile) Sync() error {
	f.fs.syncs.Add(1)
	time.Sleep(f.fs.delay)
	return f.File.Sync()
}

func (f *countedFile) SyncData() error {
	f.fs.syncs.Add(1)
	time.Sleep(f.fs.delay)
	return f.File.SyncData()
}

// TestSearchDuringWrites: while people are replaced, whoever stays is found at every moment and nobody under
// another's name; who was added is found, who was deleted is not.
func TestSearchDuringWrites(t *testing.T) {
	e, ctx := openMem(t), t.Context()
	mustGallery(t, e, "t", "g")
	axis := func(i int) Template {
		v := make([]float32, spaceA.Dim)
		v[i] = 1
		return template(v...)
	}
	put := func(id string, n, i int) {
		spec := PersonSpec{Templates: slices.Repeat([]Template{axis(i)}, n)}
		if _, _, err := e.PutPerson(context.Background(), "t", "g", id, spec); err != nil {
			t.Error(err)
		}
	}
	found := func(i int) string {
		c, err := e.Identify(context.Background(), "t", "g", axis(i), IdentifyOptions{Policy: Policy{Cosine: new(0.9)}})
		if err != nil || len(c.Candidates) > 1 {
			t.Errorf("%+v, %v", c, err)
		}
		if err != nil || len(c.Candidates) == 0 {
			return ""
		}
		return c.Candidates[0].Person
	}
	put("stays", 1, 0)
	stop := new(atomic.Bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 1; !stop.Load(); n = n%MaxTemplates + 1 {
			put("stays", n, 0)
		}
	})
	for i := 1; i < spaceA.Dim; i++ {
		wg.Go(func() {
			for n := 0; !stop.Load(); n++ {
				id := fmt.Sprintf("%d-%d", i, n)
				put(id, 1+n%3, i)
				if got := found(i); got != id {
					t.Errorf("found %q, want %q", got, id)
				}
				if err := e.DeletePerson(context.Background(), "t", "g", id, WriteOptions{}); err != nil {
					t.Error(err)
				}
				if got := found(i); got != "" {
					t.Errorf("found %q, who was deleted", got)
				}
			}
		})
	}
	for range scaled(1500) {
		d, err := e.Verify(ctx, "t", "g", "stays", axis(0), Policy{})
		if got := found(0); got != "stays" || err != nil || d.Cosine != 1 {
			t.Fatalf("found %q, verified %+v, %v", got, d, err)
		}
	}
	stop.Store(true)
	wg.Wait()
	mustCheck(t, e)
}

func BenchmarkPutPerson(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			fs := &syncCounter{FS: vfs.Default}
			e := open(b, Config{Dir: b.TempDir(), MasterKey: testKey, Spaces: []Space{spaceB}, MinFreeBytes: -1, FS: fs})
			mustGallery(b, e, "t", "g")
			v := randomUnit(newRand(b), spaceB)
			var n sync.WaitGroup
			ids := make(chan int)
			for range writers {
				n.Go(func() {
					for i := range ids {
						if _, _, err := e.PutPerson(context.Background(), "t", "g", fmt.Sprint(i), PersonSpec{Templates: []Template{v}}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			before := fs.syncs.Load()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				ids <- i
				i++
			}
			close(ids)
			n.Wait()
			b.ReportMetric(float64(fs.syncs.Load()-before)/float64(i), "fsyncs/op")
		})
	}
}
