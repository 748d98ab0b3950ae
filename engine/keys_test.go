package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// twoOfEach makes people a and b, with two templates of photos each, in galleries g and h of tenants t and u.
func twoOfEach(t testing.TB, e *Engine) {
	t.Helper()
	for _, tenant := range []string{"t", "u"} {
		for _, name := range []string{"g", "h"} {
			if _, _, err := e.CreateGallery(t.Context(), tenant, name, GallerySpec{KeepPhotos: true}); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{"a", "b"} {
				putPhotos(t, e, tenant, name, id, "one", "two")
			}
		}
	}
}

// galleryOf is a gallery that is there.
func galleryOf(t testing.TB, e *Engine, tenant, name string) *gallery {
	t.Helper()
	g, err := e.gallery(tenant, name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// rowsOf are a person's rows by key, as they are on the disk.
func rowsOf(t testing.TB, e *Engine, g *gallery, id string) map[string][]byte {
	t.Helper()
	rows := map[string][]byte{}
	number := g.record.Number
	keys := [][]byte{personKey(number, id)}
	for n := range uint32(20) {
		keys = append(keys, templateKey(number, id, n), photoKey(number, id, n))
	}
	for _, key := range keys {
		row, found, err := e.store.get(nil, key)
		if err != nil {
			t.Fatal(err)
		}
		if found {
			rows[string(key)] = row
		}
	}
	return rows
}

// TestRowsOpenOnlyInTheirPlace: a row that is copied to another tenant, gallery, person or number does not open, nor one of an
// earlier incarnation of the person.
func TestRowsOpenOnlyInTheirPlace(t *testing.T) {
	e := openMem(t)
	twoOfEach(t, e)
	home := galleryOf(t, e, "t", "g")
	mine := recordOf(t, e, home, "a")
	get := func(key []byte) []byte {
		row, found, err := e.store.get(nil, key)
		if err != nil || !found {
			t.Fatal(found, err)
		}
		return row
	}
	personRow, templateRow, photoRow := get(personKey(home.record.Number, "a")), get(templateKey(home.record.Number, "a", 1)), get(photoKey(home.record.Number, "a", 1))
	opens := func(g *gallery, id string, key *subjectKey, number uint32) (n int) {
		if _, err := g.openPerson(id, personRow); err == nil {
			n++
		} else if !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
		for p, row := range map[place][]byte{g.templatePlace(id, number): templateRow, g.photoPlace(id, number): photoRow} {
			if _, err := g.openRow(nil, key, p, row); err == nil {
				n++
			} else if !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
		}
		return n
	}
	if n := opens(home, "a", mine.key, 1); n != 3 {
		t.Fatalf("%d of 3 rows open at home", n)
	}
	for where, n := range map[string]int{
		"another tenant's":  opens(galleryOf(t, e, "u", "g"), "a", mine.key, 1),
		"another gallery's": opens(galleryOf(t, e, "t", "h"), "a", mine.key, 1),
		"another person's":  opens(home, "b", mine.key, 1),
		"another number's":  opens(home, "a", mine.key, 2) - 1, // the person's row has none
		"under b's key":     opens(home, "a", recordOf(t, e, home, "b").key, 1) - 1,
		"as of before":      opens(home, "a", nil, 1) - 1,
	} {
		if n != 0 {
			t.Errorf("%d rows open in %s place", n, where)
		}
	}
	for what, again := range map[string]func() error{
		"replaced": func() error {
			_, _, err := e.PutPerson(t.Context(), "t", "g", "a", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}})
			return err
		},
		"enrolled again": func() error {
			if err := e.DeletePerson(t.Context(), "t", "g", "a", WriteOptions{}); err != nil {
				return err
			}
			_, _, err := e.PutPerson(t.Context(), "t", "g", "a", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}})
			return err
		},
	} {
		if err := again(); err != nil {
			t.Fatal(err)
		}
		if n := opens(home, "a", recordOf(t, e, home, "a").key, 1) - 1; n != 0 { // the old row has its own key in it
			t.Errorf("%d rows of before open after a was %s", n, what)
		}
	}
}

// TestSealedBitsAreBound: every bit of a person's row and template matters.
func TestSealedBitsAreBound(t *testing.T) {
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	if _, _, err := e.PutPerson(t.Context(), "t", "g", "a", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}); err != nil {
		t.Fatal(err)
	}
	g := galleryOf(t, e, "t", "g")
	for key, row := range rowsOf(t, e, g, "a") {
		for i := range row {
			bad := bytes.Clone(row)
			bad[i] ^= 1
			var err error
			if key[0] == prefixPerson {
				_, err = g.openPerson("a", bad)
			} else {
				_, err = g.openRow(nil, recordOf(t, e, g, "a").key, g.templatePlace("a", 1), bad)
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("prefix %d opens with byte %d changed: %v", key[0], i, err)
			}
			if key[0] == prefixPerson {
				_, err = g.openPerson("a", row[:i])
				wantErr(t, err, ErrCorrupt)
			}
		}
	}
}

func isModern(row []byte) bool { return row[0] == subjectVersion }

// TestModernised: a store of before format 5 opens; each write of a person gives all that stays of them a key of their own.
func TestModernised(t *testing.T) {
	mem := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, mem, goldenDir(photoFormat), "data"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	e := open(t, testConfig(mem))
	g := galleryOf(t, e, "flushed", "kept")
	for key, row := range rowsOf(t, e, g, "gil") {
		if isModern(row) {
			t.Fatalf("prefix %d is modern before a write", key[0])
		}
	}
	if _, err := e.PatchPerson(t.Context(), "flushed", "kept", "gil", PersonPatch{Metadata: new(json.RawMessage(`{"n":1}`))}); err != nil {
		t.Fatal(err)
	}
	rows := rowsOf(t, e, g, "gil")
	for key, row := range rows {
		if !isModern(row) {
			t.Errorf("prefix %d is not modern", key[0])
		}
	}
	if len(rows) != 1+3+2 {
		t.Errorf("%d rows", len(rows))
	}
	moving := galleryOf(t, e, "flushed", "plain")
	if _, err := e.AddTemplate(t.Context(), "flushed", "plain", "dan", TemplateSpec{Templates: []Template{template(0, 0, 0, 1)}}); err != nil {
		t.Fatal(err)
	}
	for _, g := range []*gallery{moving, moving.successor.Load()} {
		for key, row := range rowsOf(t, e, g, "dan") {
			if !isModern(row) {
				t.Errorf("prefix %d of gallery %d is not modern", key[0], g.record.Number)
			}
		}
	}
	mustCheck(t, e)
	e = reopen(t, e, testConfig(mem))
	mustCheck(t, e)
}

// stepFS takes an image of what a crash would leave before every operation that changes the disk.
type stepFS struct {
	vfs.FS
	mem *vfs.MemFS

	mu     sync.Mutex
	on     bool
	images []*vfs.MemFS
}

func (s *stepFS) step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.on {
		s.images = append(s.images, s.mem.CrashClone(vfs.CrashCloneCfg{}))
	}
}

// during returns what crashes at each step of f would have left, and after it.
func (s *stepFS) during(f func()) []*vfs.MemFS {
	s.mu.Lock()
	s.on = true
	s.mu.Unlock()
	f()
	s.step()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = false
	return s.images
}

func (s *stepFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	s.step()
	return s.file(s.FS.Create(name, c))
}

func (s *stepFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return s.file(s.FS.OpenReadWrite(name, c, o...))
}

func (s *stepFS) OpenDir(name string) (vfs.File, error) { return s.file(s.FS.OpenDir(name)) }

func (s *stepFS) Rename(from, to string) error { s.step(); return s.FS.Rename(from, to) }

func (s *stepFS) Remove(name string) error { s.step(); return s.FS.Remove(name) }

func (s *stepFS) MkdirAll(dir string, perm os.FileMode) error {
	s.step()
	return s.FS.MkdirAll(dir, perm)
}

func (s *stepFS) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &stepFile{f, s}, nil
}

type stepFile struct {
	vfs.File
	fs *stepFS
}

func (f *stepFile) Write(b []byte) (int, error) { f.fs.step(); return f.File.Write(b) }

func (f *stepFile) WriteAt(b []byte, at int64) (int, error) {
	f.fs.step()
	return f.File.WriteAt(b, at)
}

func (f *stepFile) Sync() error { f.fs.step(); return f.File.Sync() }

func (f *stepFile) SyncData() error { f.fs.step(); return f.File.SyncData() }

// TestAdoptionCrash: whenever a crash ends the first start with a store of before format 5, the next one has all of it.
func TestAdoptionCrash(t *testing.T) {
	mem := vfs.NewCrashableMem()
	if ok, err := vfs.Clone(vfs.Default, mem, goldenDir(photoFormat), "data", vfs.CloneSync); err != nil || !ok {
		t.Fatal(ok, err)
	}
	for _, dir := range []string{"", "data", "data/store"} {
		d, err := mem.OpenDir(dir)
		must(err)
		must(errors.Join(d.Sync(), d.Close()))
	}
	tokens := goldenTokens(goldenDir(photoFormat) + "/want.txt")
	fs := &stepFS{FS: mem, mem: mem}
	images := fs.during(func() {
		c := testConfig(fs)
		c.Extract = nil // no writes but those of Open
		open(t, c)
	})
	want, err := os.ReadFile(goldenDir(photoFormat) + "/want.txt")
	if err != nil || len(images) < 20 {
		t.Fatal(len(images), err)
	}
	for i, image := range images {
		e, err := Open(testConfig(image))
		if err != nil {
			t.Fatalf("step %d of %d: %v", i, len(images), err)
		}
		waitAllPhotos(t, e)
		if got := dump(t, e, tokens); got != string(want) {
			t.Fatalf("step %d: the store holds\n%s", i, got)
		}
		mustCheck(t, e)
		must(e.Close())
	}
}

func TestKeyStoreIsNeeded(t *testing.T) {
	mem := vfs.NewMem()
	c := testConfig(mem)
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	must(e.Close())
	must(mem.Rename("data/keys", "data/elsewhere"))
	_, err := Open(c)
	wantErr(t, err, ErrKeyStore)
	c.KeyDir = "data/elsewhere"
	must(open(t, c).Close())
	t.Run("another master key", func(t *testing.T) {
		c := c
		c.MasterKey = bytes.Repeat([]byte{8}, MasterKeyBytes)
		_, err := Open(c)
		wantErr(t, err, ErrMasterKey)
	})
	t.Run("another store's", func(t *testing.T) {
		other := testConfig(mem)
		other.Dir = "other"
		must(open(t, other).Close())
		c := c
		c.KeyDir = "other/keys"
		_, err := Open(c)
		wantErr(t, err, ErrKeyStore)
	})
	t.Run("lost store", func(t *testing.T) {
		must(mem.Rename("data/store", "data/lost"))
		_, err := Open(c)
		wantErr(t, err, ErrKeyStore)
		must(mem.RemoveAll("data/store"))
		must(mem.Rename("data/lost", "data/store"))
		must(open(t, c).Close())
	})
	t.Run("damaged", func(t *testing.T) {
		f, err := mem.OpenReadWrite("data/elsewhere/"+storeKeysName, vfs.WriteCategoryUnspecified)
		must(err)
		_, err = f.WriteAt([]byte{0xff}, 30)
		must(errors.Join(err, f.Close()))
		_, err = Open(c)
		wantErr(t, err, ErrCorrupt)
	})
}

// reversing is a RootKey of somewhere else: it can't be had as bytes.
type reversing struct {
	t    *testing.T
	fail error
}

func (r *reversing) Wrap(key, context []byte) ([]byte, error) {
	out := append(bytes.Clone(context), key...)
	for i := range out {
		out[i] ^= 0x5a
	}
	return out, r.fail
}

func (r *reversing) Unwrap(wrapped, context []byte) ([]byte, error) {
	out := bytes.Clone(wrapped)
	for i := range out {
		out[i] ^= 0x5a
	}
	key, ok := bytes.CutPrefix(out, context)
	if !ok {
		return nil, errors.New("another key's context")
	}
	return key, r.fail
}

func TestRootKey(t *testing.T) {
	mem := vfs.NewMem()
	c := testConfig(mem)
	root := &reversing{t: t}
	c.MasterKey, c.RootKey = nil, root
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	e = reopen(t, e, c)
	mustGallery(t, e, "u", "g")
	root.fail = errors.New("the service is away")
	_, _, err := e.CreateGallery(t.Context(), "v", "g", GallerySpec{})
	wantErr(t, err, root.fail)
	mustGallery(t, e, "t", "h") // a tenant whose keys are at hand needs no service
	root.fail = nil
	mustGallery(t, e, "v", "g")
	mustCheck(t, e)
	must(e.Close())
	root.fail = errors.New("the service is away")
	_, err = Open(c)
	wantErr(t, err, root.fail)
	// The files of tenants t and v, exchanged, do not open.
	root.fail = nil
	swap := func(a, b string) {
		must(mem.Rename("data/keys/"+keyFileName(a), "data/keys/x"))
		must(mem.Rename("data/keys/"+keyFileName(b), "data/keys/"+keyFileName(a)))
		must(mem.Rename("data/keys/x", "data/keys/"+keyFileName(b)))
	}
	swap("t", "v")
	_, err = Open(c)
	wantErr(t, err, ErrMasterKey)
	swap("t", "v")
	mustCheck(t, open(t, c))

	golden := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, golden, goldenDir(1), "data"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	c.FS = golden
	_, err = Open(c)
	wantErr(t, err, ErrConfig)
	c.MasterKey = testKey // once
	must(open(t, c).Close())
	c.MasterKey = nil
	must(open(t, c).Close())
}

// TestSealingInFIPSMode runs the paths that seal, open, derive and sign where Go refuses everything that FIPS 140-3 does not approve.
func TestSealingInFIPSMode(t *testing.T) {
	const inside = "MIEN_TEST_FIPS"
	if os.Getenv(inside) == "" {
		run := exec.Command(os.Args[0], "-test.run=^TestSealingInFIPSMode$", "-test.v")
		run.Env = append(os.Environ(), inside+"=1", "GODEBUG=fips140=only")
		if out, err := run.CombinedOutput(); err != nil || !strings.Contains(string(out), "sealed and opened in FIPS mode") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	c := testConfig(nil)
	c.Dir = t.TempDir()
	e := open(t, c)
	twoOfEach(t, e)
	e = reopen(t, e, c)
	mustCheck(t, e)
	if k, token, err := e.CreateKey(context.Background(), "t", KeySpec{Role: RoleAdmin}); err != nil {
		t.Fatal(err)
	} else if have, err := e.Authenticate(token); err != nil || have.ID != k.ID {
		t.Fatal(err)
	}
	fmt.Println("sealed and opened in FIPS mode")
}

func TestKeyFiles(t *testing.T) {
	keys := []storedKey{{keyOfTenant, 1, 5, []byte("abc"), nil}, {keyOfTenant, 7, -1, []byte{}, nil}}
	testKeyFile(t, keys)
	keys[0].next = []byte("to come")
	testKeyFile(t, keys)
}

func testKeyFile(t *testing.T, keys []storedKey) {
	t.Helper()
	b := appendKeyFile(nil, keys)
	got, err := parseKeyFile(b)
	if err != nil || !reflect.DeepEqual(got, keys) {
		t.Fatalf("%+v, %v", got, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := parseKeyFile(bad); err == nil {
			t.Errorf("it is read with byte %d changed", i)
		}
		if _, err := parseKeyFile(b[:i]); err == nil {
			t.Errorf("it is read cut to %d bytes", i)
		}
	}
}

func FuzzKeyFile(f *testing.F) {
	f.Add(appendKeyFile(nil, nil))
	f.Add(appendKeyFile(nil, []storedKey{{keyOfStore, 1, 2, []byte("x"), nil}}))
	f.Add(appendKeyFile(nil, []storedKey{{keyOfStore, 1, 2, []byte("x"), nil}, {keyOfTenant, 2, 3, []byte("y"), []byte("z")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := parseKeyFile(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(appendKeyFile(nil, keys), b) {
			t.Fatalf("%x is read as %+v", b, keys)
		}
	})
}

func FuzzPersonRow(f *testing.F) {
	e := openMem(f)
	mustGallery(f, e, "t", "g")
	if _, _, err := e.PutPerson(context.Background(), "t", "g", "a", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}); err != nil {
		f.Fatal(err)
	}
	g := galleryOf(f, e, "t", "g")
	home := rowsOf(f, e, g, "a")[string(personKey(g.record.Number, "a"))]
	f.Add(home)
	f.Add(home[:1+subjectWrapped])
	f.Add([]byte{sealVersion})
	f.Fuzz(func(t *testing.T, row []byte) {
		if _, err := g.openPerson("a", row); err != nil && !errors.Is(err, ErrCorrupt) || err == nil && !bytes.Equal(row, home) {
			t.Fatal(err)
		}
	})
}
