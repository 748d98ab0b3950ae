package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"mien/engine/backup"
)

// damagedPeople are enough for their records to be in several blocks of a table: damage to one gallery's must not be the other's.
const damagedPeople = 150

// damagedStore is a closed store of the galleries whole and harmed, all of it in tables, with photos. flip flips a byte of a record in its table.
func damagedStore(t *testing.T) (mem *vfs.MemFS, flip func(key func(g *gallery) []byte)) {
	t.Helper()
	mem = vfs.NewMem()
	e := open(t, backupConfig(mem))
	for _, name := range []string{"whole", "harmed"} {
		if _, _, err := e.CreateGallery(t.Context(), "t", name, GallerySpec{KeepPhotos: true}); err != nil {
			t.Fatal(err)
		}
		for i := range damagedPeople {
			spec := template(1, float32(i), 0, 0)
			spec.Photo = &Photo{Image: bytes.Repeat([]byte{byte(i)}, 300)}
			if _, _, err := e.PutPerson(t.Context(), "t", name, fmt.Sprint("p", i), PersonSpec{Templates: []Template{spec}, Metadata: fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("y", 300))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustBackUp(t, e)
	if err := e.store.db.Flush(); err != nil {
		t.Fatal(err)
	}
	g, err := e.gallery("t", "harmed")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string][]byte{}
	for i := range damagedPeople {
		for _, k := range [][]byte{personKey(g.record.Number, fmt.Sprint("p", i)), templateKey(g.record.Number, fmt.Sprint("p", i), 1), photoKey(g.record.Number, fmt.Sprint("p", i), 1)} {
			if values[string(k)], _, err = e.store.get(nil, k); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return mem, func(key func(g *gallery) []byte) {
		t.Helper()
		value := values[string(key(g))]
		names, err := mem.List("data/store")
		if err != nil {
			t.Fatal(err)
		}
		flipped := 0
		for _, name := range names {
			if !strings.HasSuffix(name, ".sst") {
				continue
			}
			h, err := mem.Open("data/store/" + name)
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(h)
			if err = errors.Join(err, h.Close()); err != nil {
				t.Fatal(err)
			}
			if at := bytes.Index(data, value); at >= 0 {
				flipByte(t, mem, "data/store/"+name, int64(at+len(value)/2))
				flipped++
			}
		}
		if flipped == 0 {
			t.Fatal("the record is in no table")
		}
	}
}

// TestDamagedTable flips a byte of a table where it is met when the store is opened. The other gallery works, writes too; the damaged one is named, listed,
// refused by everything and not changed; a backup brings it back.
func TestDamagedTable(t *testing.T) {
	for name, key := range map[string]func(g *gallery) []byte{
		"person":   func(g *gallery) []byte { return personKey(g.record.Number, "p75") },
		"template": func(g *gallery) []byte { return templateKey(g.record.Number, "p75", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			mem, flip := damagedStore(t)
			flip(key)
			var log bytes.Buffer
			c := testConfig(mem)
			c.Logger = slog.New(slog.NewTextHandler(&log, nil))
			e, ctx, probe := open(t, c), t.Context(), template(1, 3, 0, 0)
			if text := log.String(); !strings.Contains(text, ".sst") && !strings.Contains(text, "0000") || strings.Contains(text, "p75") {
				t.Errorf("the log names no file, or a person: %s", text)
			}
			err := e.Ready()
			if wantErr(t, err, ErrCorrupt); Detail(err) == "" {
				t.Error("the operator is told nothing")
			}
			all, err := e.Galleries(ctx, "t")
			if err != nil || len(all) != 2 || !all[0].Damaged || all[1].Damaged || all[1].People != damagedPeople {
				t.Errorf("%+v, %v", all, err)
			}
			if g, err := e.Gallery(ctx, "t", "harmed"); err != nil || !g.Damaged {
				t.Errorf("%+v, %v", g, err)
			}
			if d, err := e.Verify(ctx, "t", "whole", "p3", probe, Policy{}); err != nil || !d.Match {
				t.Errorf("the whole gallery: %+v, %v", d, err)
			}
			if _, _, err := e.PutPerson(ctx, "t", "whole", "new", PersonSpec{Templates: []Template{probe}}); err != nil {
				t.Errorf("the whole gallery: %v", err)
			}
			seq := e.store.seq
			_, err = e.Verify(ctx, "t", "harmed", "p3", probe, Policy{})
			wantErr(t, err, ErrCorrupt)
			_, err = e.Identify(ctx, "t", "harmed", probe, IdentifyOptions{})
			wantErr(t, err, ErrCorrupt)
			_, err = e.Person(ctx, "t", "harmed", "p3")
			wantErr(t, err, ErrCorrupt)
			_, _, err = e.People(ctx, "t", "harmed", 0, "")
			wantErr(t, err, ErrCorrupt)
			_, _, err = e.PutPerson(ctx, "t", "harmed", "p3", PersonSpec{Templates: []Template{probe}})
			wantErr(t, err, ErrCorrupt)
			_, err = e.UpdateGallery(ctx, "t", "harmed", ruled(1))
			wantErr(t, err, ErrCorrupt)
			_, err = e.StartMove(ctx, "t", "harmed", MoveSpec{Space: spaceB.ID})
			wantErr(t, err, ErrCorrupt)
			if e.store.seq != seq {
				t.Error("the damaged gallery was changed")
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			r := restored(t, mem, "", "restored")
			if d, err := r.Verify(ctx, "t", "harmed", "p75", template(1, 75, 0, 0), Policy{}); err != nil || !d.Match {
				t.Errorf("restored: %+v, %v", d, err)
			}
			if err := r.Ready(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDamagedGalleryDeleted: a damaged gallery can be deleted, and made anew.
func TestDamagedGalleryDeleted(t *testing.T) {
	mem, flip := damagedStore(t)
	flip(func(g *gallery) []byte { return templateKey(g.record.Number, "p75", 1) })
	e := open(t, testConfig(mem))
	if err := e.DeleteGallery(t.Context(), "t", "harmed"); err != nil {
		t.Fatal(err)
	}
	mustGallery(t, e, "t", "harmed")
	if _, _, err := e.PutPerson(t.Context(), "t", "harmed", "p", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, e)
}

// TestDamageMetLater: damage that Open did not meet is told by the call that does, and by Ready from then on; a backup of such a store is made,
// as its files are, and Verify says that its records don't open.
func TestDamageMetLater(t *testing.T) {
	mem, flip := damagedStore(t)
	flip(func(g *gallery) []byte { return photoKey(g.record.Number, "p75", 1) })
	c := backupConfig(mem)
	c.CacheBytes = 1
	e := open(t, c)
	if err := e.Ready(); err != nil {
		t.Fatalf("Open read a photo: %v", err)
	}
	g, err := e.gallery("t", "harmed")
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.photo(e.store, "p75", recordOf(t, e, g, "p75").key, 1)
	if wantErr(t, err, ErrCorrupt); Detail(err) == "" || strings.Contains(Detail(err), "p75") {
		t.Errorf("the client is told %q", Detail(err))
	}
	wantErr(t, e.Ready(), ErrCorrupt)
	if d, err := e.Verify(t.Context(), "t", "harmed", "p75", template(1, 75, 0, 0), Policy{}); err != nil || !d.Match {
		t.Errorf("what is in memory: %+v, %v", d, err)
	}
	b := mustBackUp(t, e)
	all, err := testFolder(t, mem).Verify(t.Context(), b.ID, testKey, nil)
	if err != nil || !errors.Is(all[0].Err, ErrCorrupt) {
		t.Errorf("%+v, %v", all, err)
	}
	all, err = testFolder(t, mem).Verify(t.Context(), b.ID, nil, nil)
	if err != nil || all[0].Err != nil || errors.Is(all[0].Err, backup.ErrDamaged) {
		t.Errorf("%+v, %v: the files are those that were backed up", all, err)
	}
}

// readOnly refuses every change with EROFS, once its countdown has ended.
type readOnly struct{ failAfter }

func (r *readOnly) MaybeError(op errorfs.Op) error {
	if r.failAfter.MaybeError(op) != nil {
		return syscall.EROFS
	}
	return nil
}

// TestReadOnlyDisk: a store on a disk that takes no writes is not opened, and one whose disk becomes so while it is open answers reads
// and refuses writes; nothing is lost.
func TestReadOnlyDisk(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	mustGallery(t, e, "t", "g0")
	if _, _, err := e.PutPerson(t.Context(), "t", "g0", "kept", PersonSpec{Templates: []Template{template(1, 2, 3, 4)}}); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	fail := &readOnly{}
	fail.countdown.Store(1 << 40)
	fail.match = func(errorfs.Op) bool { return true }
	e = open(t, testConfig(errorfs.Wrap(mem, fail)))
	fail.countdown.Store(0)
	_, _, err := e.PutPerson(t.Context(), "t", "g0", "new", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}})
	wantErr(t, err, ErrStorageFailed)
	readsGoOn(t, e)
	wantErr(t, e.Close(), ErrStorageFailed)
	_, err = Open(testConfig(errorfs.Wrap(mem, fail)))
	if err == nil || errors.Is(err, ErrInUse) || errors.Is(err, ErrStorageFull) {
		t.Errorf("opened on a read-only disk: %v", err)
	}
	e = open(t, testConfig(mem))
	mustCheck(t, e)
	if _, err := e.Person(t.Context(), "t", "g0", "kept"); err != nil {
		t.Error(err)
	}
}
