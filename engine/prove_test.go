package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// failing are the names of a proof's checks that did not pass.
func (p Proof) failing() (names []string) {
	for _, c := range p.Checks {
		if !c.OK {
			names = append(names, c.Name)
		}
	}
	return names
}

func (p Proof) named(name string) Check {
	return p.Checks[slices.IndexFunc(p.Checks, func(c Check) bool { return c.Name == name })]
}

func wantProof(t testing.TB, p Proof, err error, failing ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if got := p.failing(); !slices.Equal(got, failing) || p.Passed != (len(failing) == 0) {
		t.Errorf("passed %v, failing %q, want %q:\n%+v", p.Passed, got, failing, p.Checks)
	}
}

// findsBefore counts what the search of files finds of a person who is there.
func findsBefore(t testing.TB, e *Engine, id string) *hunt {
	t.Helper()
	g := galleryOf(t, e, "t", "g")
	p := &proving{e: e, r: Receipt{Tenant: "t", Gallery: "g", Person: id}, t: &traces{}, keys: e.mu.sealers["t"], where: map[uint64]*gallery{g.record.Number: g}}
	if err := p.huntOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p.hunt
}

// filesWith are the endings of the files in which something was found.
func (h *hunt) filesWith(what string) (endings []string) {
	if s := h.found[what]; s != nil {
		for _, f := range s.files {
			endings = append(endings, filepath.Ext(f))
		}
	}
	slices.Sort(endings)
	return slices.Compact(endings)
}

func TestProveErasure(t *testing.T) {
	c := testConfig(vfs.NewMem())
	e := open(t, c)
	twoOfEach(t, e)
	must(e.store.flush(t.Context()))
	putPhotos(t, e, "t", "g", "a", "three") // with a key of its own; the one before is in a table
	mustRotate(t, e, "t")
	waitRotated(t, e, "t")
	putPhotos(t, e, "t", "g", "a", "four")
	if before := findsBefore(t, e, "a"); !slices.Contains(before.filesWith(foundKey), ".log") || before.found[foundControl] == nil {
		t.Errorf("before: %v in %v, control %v", before.found[foundKey], before.filesWith(foundKey), before.found[foundControl])
	}
	must(e.store.rewrite(t.Context(), nil))
	if before := findsBefore(t, e, "a"); !slices.Equal(before.filesWith(foundKey), []string{".sst"}) {
		t.Errorf("in tables: %v in %v; %+v %v", before.found[foundKey], before.filesWith(foundKey), before.found[foundControl], before)
	}
	_, err := e.PatchPerson(t.Context(), "t", "g", "a", PersonPatch{Status: StatusSuspended})
	must(err)
	must(putDocument(e, "t", Document{Kind: "note", ID: "1", Value: []byte(`{"said":"much"}`), Gallery: "g", Person: "a"}))
	r, p, err := e.ErasePersonProved(t.Context(), "t", "g", "a", WriteOptions{})
	wantProof(t, p, err)
	if p.Sequence != r.Sequence || p.Files == 0 || p.Bytes == 0 || p.named(CheckControl).Found == 0 || p.named(CheckSealed).Looked == 0 ||
		p.named(CheckAnswers).Looked != 3 || len(p.Checks) != 6 || len(p.Outside) != 5 {
		t.Errorf("%+v", p)
	}
	_, err = e.VerifyReceipt(p.JWS)
	wantErr(t, err, ErrReceipt) // a proof is none
	mustCheck(t, e)
	log := auditLog(t, e, "t")
	for i, want := range []string{`"op":"person.erase","gallery":"g","person":"a","outcome":"done"}`, `"op":"person.prove","gallery":"g","person":"a","outcome":"done","note":"passed"}`} {
		if line := string(log[len(log)-2+i].Record); !strings.HasSuffix(line, want) {
			t.Errorf("audit: %s, want %s", line, want)
		}
	}
	e = reopen(t, e, c)
	p, err = e.ProveErasure(t.Context(), r.JWS)
	wantProof(t, p, err)
	if p.named(CheckSealed).Note == "" || p.named(CheckAnswers).Note == "" {
		t.Errorf("it does not say what it could not look for: %+v", p.Checks)
	}
	_, err = e.ProveErasure(t.Context(), r.JWS+"x")
	wantErr(t, err, ErrReceipt)
	e.proving.Store(true)
	_, err = e.ProveErasure(t.Context(), r.JWS)
	wantErr(t, err, ErrProving)
	e.proving.Store(false)
	r, err = e.EraseTenant(t.Context(), "u")
	must(err)
	_, err = e.ProveErasure(t.Context(), r.JWS)
	wantErr(t, err, ErrReceipt)
}

// TestProofOfMove: a person of a gallery that is being moved is gone from both spaces, and after the switch, which changes the
// gallery's number.
func TestProofOfMove(t *testing.T) {
	e := openMem(t)
	twoOfEach(t, e)
	beginMove(t, e)
	waitPhotos(t, e, "t", "g")
	r, p, err := e.ErasePersonProved(t.Context(), "t", "g", "a", WriteOptions{})
	wantProof(t, p, err)
	if len(r.Keys) != 2 || r.Keys[0].Gallery == r.Keys[1].Gallery || p.named(CheckAnswers).Looked != 2+2*int64(r.Templates) {
		t.Errorf("%+v\n%+v", r, p)
	}
	_, err = e.FinishMove(t.Context(), "t", "g", spaceB.ID, true)
	must(err)
	p, err = e.ProveErasure(t.Context(), r.JWS)
	wantProof(t, p, err)
	must(e.DeleteGallery(t.Context(), "t", "g"))
	p, err = e.ProveErasure(t.Context(), r.JWS)
	wantProof(t, p, err)
}

// TestProofAfterEnrolment: who is enrolled under the id since does not count.
func TestProofAfterEnrolment(t *testing.T) {
	e := openMem(t)
	twoOfEach(t, e)
	r, err := e.ErasePerson(t.Context(), "t", "g", "a", WriteOptions{})
	must(err)
	putPhotos(t, e, "t", "g", "a", "five")
	putPhotos(t, e, "t", "g", "a", "six")
	p, err := e.ProveErasure(t.Context(), r.JWS)
	wantProof(t, p, err)
	if !strings.Contains(p.named(CheckKeys).Note, "enrolled") {
		t.Errorf("%+v", p.Checks)
	}
	mustCheck(t, e)
}

// TestProofFails: each check fails where something of the person remains, and names it.
func TestProofFails(t *testing.T) {
	for name, test := range map[string]struct {
		plant   func(t *testing.T, e *Engine, rows map[string][]byte) (unplant func())
		after   bool // the erasure
		failing []string
		where   string
	}{
		"a copy of a table": {func(t *testing.T, e *Engine, _ map[string][]byte) func() {
			must(e.store.flush(t.Context()))
			for again := true; again; { // a compaction may take a table meanwhile, and write another
				names, err := e.store.fs.FS.List("data/store")
				must(err)
				again = false
				for _, n := range names {
					if !strings.HasSuffix(n, ".sst") || strings.HasPrefix(n, "copy-") {
						continue
					}
					err := vfs.Copy(e.store.fs.FS, "data/store/"+n, "data/store/copy-"+n)
					if again = again || errors.Is(err, fs.ErrNotExist); !again {
						must(err)
					}
				}
			}
			return nil
		}, false, []string{CheckKeys, CheckSealed}, "store/copy-"},
		"a key beside other bytes": {func(_ *testing.T, e *Engine, rows map[string][]byte) func() {
			writeTo(e, "data/keys/note", bytes.Repeat([]byte{sealVersion, 0, 0}, 777777), wrappedIn(rows))
			return nil
		}, false, []string{CheckKeys}, "keys/note"},
		"a key over two blocks of a log": {func(_ *testing.T, e *Engine, rows map[string][]byte) func() {
			k := wrappedIn(rows)
			writeTo(e, "data/old.log", make([]byte, huntBytes-20), k[:20], make([]byte, 19), k[20:])
			return nil
		}, false, []string{CheckKeys}, "old.log"},
		"a sealed template": {func(_ *testing.T, e *Engine, rows map[string][]byte) func() {
			for key, row := range rows {
				if key[0] == prefixTemplate {
					writeTo(e, "data/tables/1", row)
				}
			}
			return nil
		}, false, []string{CheckSealed}, "tables/1"},
		"an export that runs": {func(t *testing.T, e *Engine, _ map[string][]byte) func() {
			x, err := e.Export(t.Context(), "t", "g")
			must(err)
			return func() { must(x.Close()) }
		}, false, []string{CheckKeys, CheckSealed}, ".sst"},
		"a person in memory": {func(t *testing.T, e *Engine, _ map[string][]byte) func() {
			g := galleryOf(t, e, "t", "g")
			g.mu.people["a"] = &member{version: 1}
			return func() { delete(g.mu.people, "a") }
		}, true, []string{CheckAnswers}, "a read of the person"},
		"rows": {func(t *testing.T, e *Engine, rows map[string][]byte) func() {
			for key, row := range rows {
				must(e.store.db.Set([]byte(key), row, nil))
			}
			must(e.store.db.Set(dueKey(galleryOf(t, e, "t", "g").record.Number, 77, "a"), nil, nil))
			return nil
		}, true, []string{CheckRows, CheckAnswers, CheckKeys, CheckSealed}, "a row of kind"},
	} {
		t.Run(name, func(t *testing.T) {
			e := openMem(t)
			twoOfEach(t, e)
			g := galleryOf(t, e, "t", "g")
			rows, tr := rowsOf(t, e, g, "a"), new(traces)
			var unplant func()
			if !test.after {
				unplant = test.plant(t, e, rows)
			}
			r, err := e.erasePerson(t.Context(), "t", "g", "a", WriteOptions{}, tr)
			must(err)
			if test.after {
				unplant = test.plant(t, e, rows)
			}
			p, err := e.proveErasure(t.Context(), r, tr)
			wantProof(t, p, err, test.failing...)
			if where := p.named(test.failing[0]).Where; len(where) == 0 || !strings.Contains(where[0], test.where) {
				t.Errorf("it is found in %q, want %q", where, test.where)
			}
			if unplant != nil {
				unplant()
				p, err = e.proveErasure(t.Context(), r, tr)
				wantProof(t, p, err)
			}
		})
	}
}

// wrappedIn is the person's key in their rows, as it is on the disk.
func wrappedIn(rows map[string][]byte) []byte {
	for key, row := range rows {
		if key[0] == prefixPerson {
			return row[1 : 1+subjectWrapped]
		}
	}
	panic("no person")
}

func writeTo(e *Engine, name string, parts ...[]byte) {
	disk := e.store.fs.FS
	must(disk.MkdirAll(disk.PathDir(name), 0o700))
	f, err := disk.Create(name, vfs.WriteCategoryUnspecified)
	must(err)
	_, err = f.Write(slices.Concat(parts...))
	must(err)
	must(f.Close())
}

// TestProofWipesIndex: rows in the files of an index are wiped by a proof, whatever kind it is, and one that is not is found.
func TestProofWipesIndex(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		c := newCrowdOf(t, kind)
		folder := c.e.indexFolder(galleryOf(t, c.e, "t", "g"))
		before, err := os.ReadFile(filepath.Join(folder, "vectors"))
		must(err)
		r, p, err := c.e.ErasePersonProved(t.Context(), "t", "g", "2400", WriteOptions{})
		wantProof(t, p, err)
		if i := p.named(CheckIndex); i.Looked < 2 { // a slot, and what is saved
			t.Errorf("%+v", i)
		}
		after, err := os.ReadFile(filepath.Join(folder, "vectors"))
		must(err)
		slot, wiped := 4*spaceC.Dim+28, -1
		for at := 0; at < len(after); at += slot {
			if bytes.Equal(after[at:at+slot], make([]byte, slot)) && !bytes.Equal(before[at:at+slot], after[at:at+slot]) {
				wiped = at
			}
		}
		if wiped < 0 {
			t.Fatal("no slot was wiped")
		}
		f, err := os.OpenFile(filepath.Join(folder, "vectors"), os.O_WRONLY, 0)
		must(err)
		_, err = f.WriteAt(before[wiped:wiped+slot], int64(wiped))
		must(err)
		must(os.WriteFile(filepath.Join(folder, "cache.old"), nil, 0o600))
		p, err = c.e.ProveErasure(t.Context(), r.JWS)
		wantProof(t, p, err, CheckIndex)
		_, err = f.WriteAt(make([]byte, slot), int64(wiped))
		must(err)
		must(f.Close())
		must(os.Remove(filepath.Join(folder, "cache.old")))
		p, err = c.e.ProveErasure(t.Context(), r.JWS)
		wantProof(t, p, err)
		must(c.e.Close())
		look := c.config
		look.Spaces = nil // as a command on a stopped folder has none
		e := open(t, look)
		r, p, err = e.ErasePersonProved(t.Context(), "t", "g", "2401", WriteOptions{})
		wantProof(t, p, err)
		if _, err := os.Stat(folder); err == nil || p.named(CheckAnswers).Note == "" {
			t.Errorf("the index is there still, %v; %+v", err, p.Checks)
		}
		must(e.Close())
		delete(c.people, "2400")
		delete(c.people, "2401")
		c.e = open(t, c.config)
		p, err = c.e.ProveErasure(t.Context(), r.JWS)
		wantProof(t, p, err)
		mustCheck(t, c.e)
	})
}

// TestProofUnderWriters: a proof passes while others come and go, and is no obstacle to them.
func TestProofUnderWriters(t *testing.T) {
	e := openMem(t)
	twoOfEach(t, e)
	var stop atomic.Bool
	var writers sync.WaitGroup
	for w := range 2 {
		writers.Go(func() {
			for i := 0; !stop.Load(); i++ {
				id := fmt.Sprintf("w%d-%d", w, i%9)
				_, err := putPhotosOf(e, "t", "g", id, "one", "two")
				if err == nil && i%2 == 0 {
					_, err = e.ErasePerson(context.Background(), "t", "g", id, WriteOptions{})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 3 {
		id := fmt.Sprint("a", i)
		putPhotos(t, e, "t", "g", id, "one", "two")
		_, p, err := e.ErasePersonProved(t.Context(), "t", "g", id, WriteOptions{})
		wantProof(t, p, err)
	}
	stop.Store(true)
	writers.Wait()
	mustCheck(t, e)
}

// reuseCounter counts files that are written over.
type reuseCounter struct {
	vfs.FS
	reused atomic.Int64
}

func (r *reuseCounter) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	r.reused.Add(1)
	return r.FS.ReuseForWrite(from, to, c)
}

// TestLogsAreDeleted: no log is written over an old one, or kept for that.
func TestLogsAreDeleted(t *testing.T) {
	fs := &reuseCounter{FS: vfs.NewMem()}
	e := open(t, testConfig(fs))
	mustGallery(t, e, "t", "g")
	for i := range 12 {
		_, _, err := e.PutPerson(t.Context(), "t", "g", fmt.Sprint(i), PersonSpec{Templates: []Template{template(1, 0, 0, 0)}})
		must(err)
		must(e.store.flush(t.Context()))
	}
	must(e.store.rewrite(t.Context(), nil))
	names, err := fs.List("data/store")
	must(err)
	logs := slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".log") })
	if fs.reused.Load() != 0 || len(logs) != 1 { // Pebble keeps five otherwise
		t.Errorf("%d logs were written over, and there are %q", fs.reused.Load(), logs)
	}
}
