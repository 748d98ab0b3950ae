package engine

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/index"
	"mien/index/scan"
)

const manyTemplates = 2500 // more than an index keeps on the heap

func diskConfig(t testing.TB) Config {
	return Config{Dir: t.TempDir(), MasterKey: testKey, Spaces: []Space{spaceC}, MinFreeBytes: -1, RecallSample: -1}
}

// enrolMany enrols people 0, 1, … with a template each, and returns the templates.
func enrolMany(t testing.TB, e *Engine, gallery string, n int) []Template {
	t.Helper()
	rng, all := newRand(t), make([]Template, n)
	for i := range all {
		all[i] = randomUnit(rng, spaceC)
	}
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := w; i < n; i += 32 {
				if _, _, err := e.PutPerson(context.Background(), "t", gallery, fmt.Sprint(i), PersonSpec{Templates: all[i : i+1]}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return all
}

func openMany(t testing.TB, c Config) (*Engine, []Template) {
	t.Helper()
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	return e, enrolMany(t, e, "g", manyTemplates)
}

// findAll identifies and verifies some of the people.
func findAll(t testing.TB, e *Engine, all []Template) {
	t.Helper()
	for i := 0; i < len(all); i += 97 {
		if err := find(e, all, i, i%2 == 0); err != nil {
			t.Fatal(err)
		}
		d, err := e.Verify(context.Background(), "t", "g", fmt.Sprint(i), all[i], Policy{})
		if err != nil || d.Cosine != 1 {
			t.Fatalf("verify %d: %+v, %v", i, d, err)
		}
	}
}

func find(e *Engine, all []Template, i int, exact bool) error {
	r, err := e.Identify(context.Background(), "t", "g", all[i], IdentifyOptions{Policy: Policy{Cosine: new(0.9)}, Exact: exact})
	if err != nil || len(r.Candidates) != 1 || r.Candidates[0].Person != fmt.Sprint(i) || r.Candidates[0].Cosine != 1 {
		return fmt.Errorf("%d: %+v, %w", i, r.Candidates, err)
	}
	return nil
}

// indexFile is a file of a gallery's index, which must be there.
func indexFile(t testing.TB, c Config, gallery int, name string) string {
	t.Helper()
	path := filepath.Join(c.Dir, "index", strconv.Itoa(gallery), name)
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func vectorsFile(t testing.TB, c Config, gallery int) string {
	t.Helper()
	return indexFile(t, c, gallery, "vectors")
}

// flip changes a byte in every 64 of a file.
func flip(t testing.TB, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || len(b) < 64*(manyTemplates-1024) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	for i := 40; i < len(b); i += 64 {
		b[i] ^= 1
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedIndex: whatever happens to the index's file, searches and verifications give the right answer, from an
// index made anew from the store, in which changes are found as ever.
func TestDamagedIndex(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path string){
		"flipped": func(t *testing.T, path string) { flip(t, path) },
		"cut": func(t *testing.T, path string) {
			if err := os.Truncate(path, 10); err != nil {
				t.Fatal(err)
			}
		},
		"removed": func(t *testing.T, path string) {
			if err := os.RemoveAll(filepath.Dir(path)); err != nil { // still open: no harm, and none later
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := diskConfig(t)
			e, all := openMany(t, c)
			findAll(t, e, all)
			damage(t, vectorsFile(t, c, 1))
			findAll(t, e, all)
			mustCheck(t, e)
			all[7], all[2000] = all[2000], all[7]
			for _, i := range []int{7, 2000} {
				if _, _, err := e.PutPerson(t.Context(), "t", "g", fmt.Sprint(i), PersonSpec{Templates: all[i : i+1]}); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(find(e, all, 7, false), find(e, all, 2000, false)); err != nil {
				t.Error(err)
			}
			findAll(t, e, all)
			mustCheck(t, e)
			e = reopen(t, e, c)
			findAll(t, e, all)
			mustCheck(t, e)
		})
	}
}

// TestDamageUnderLoad: searches and writes run while the file is damaged again and again; all of them succeed.
func TestDamageUnderLoad(t *testing.T) {
	c := diskConfig(t)
	e, all := openMany(t, c)
	var wg sync.WaitGroup
	var stop atomic.Bool
	var rounds [3]atomic.Int64
	for w := range rounds {
		wg.Go(func() {
			for i := w; !stop.Load(); i = (i + 101) % len(all) {
				if err := find(e, all, i, w == 0); err != nil {
					t.Error(err)
				}
				rounds[w].Add(1)
			}
		})
	}
	searched := func() { // twice by everyone: no search that began before goes on, and the exact one has read it all
		for w := range rounds {
			for from := rounds[w].Load(); rounds[w].Load() < from+2; {
				time.Sleep(time.Millisecond)
			}
		}
	}
	wg.Go(func() {
		for i := 0; !stop.Load(); i = (i + 13) % len(all) {
			if _, _, err := e.PutPerson(context.Background(), "t", "g", fmt.Sprint(i), PersonSpec{Templates: all[i : i+1]}); err != nil {
				t.Error(err)
			}
		}
	})
	for range scaled(3) {
		flip(t, vectorsFile(t, c, 1))
		searched()
	}
	stop.Store(true)
	wg.Wait()
	findAll(t, e, all)
	mustCheck(t, e)
}

// stubborn is an index that fails as told; its zero value does not.
type stubborn struct {
	searcher
	search, replace error
	block           chan struct{} // closed to let searches go on
	searching       chan struct{} // receives when one waits
}

func (s *stubborn) SearchInto(ctx context.Context, dst []index.Hit, q []float32, o index.Options) ([]index.Hit, error) {
	if s.block != nil {
		s.searching <- struct{}{}
		<-s.block
	}
	if s.search != nil {
		return dst, s.search
	}
	return s.searcher.SearchInto(ctx, dst, q, o)
}

func (s *stubborn) Replace(old []uint32, label uint32, vectors [][]float32) ([]uint32, error) {
	if s.replace != nil {
		return nil, s.replace
	}
	return s.searcher.Replace(old, label, vectors)
}

// inMemory opens an engine in memory whose indexes are wrapped by turn: the first that is made, the second, …
func inMemory(t *testing.T, wrap func(made int, x searcher) searcher) *Engine {
	t.Helper()
	c, made := testConfig(vfs.NewMem()), 0
	c.makeIndex = func(kind string, s scan.Config) (searcher, error) {
		x, err := makeIndex(kind, s)
		made++
		return wrap(made, x), err
	}
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	return e
}

func mustPut(t *testing.T, e *Engine, id string, v ...float32) {
	t.Helper()
	if _, _, err := e.PutPerson(t.Context(), "t", "g", id, PersonSpec{Templates: []Template{template(v...)}}); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedTwice: an index that is damaged again after it was rebuilt is rebuilt once a call, and the client is told.
func TestDamagedTwice(t *testing.T) {
	made := 0
	e := inMemory(t, func(n int, x searcher) searcher {
		made = n
		return &stubborn{searcher: x, search: fmt.Errorf("%w: row 7", index.ErrCorrupt)}
	})
	mustPut(t, e, "a", 1, 0, 0, 0)
	for calls := range 3 {
		_, err := e.Identify(t.Context(), "t", "g", template(1, 0, 0, 0), IdentifyOptions{})
		if wantErr(t, err, ErrStorageFailed); Detail(err) == "" || made != calls+2 {
			t.Errorf("%q, %d indexes were made", Detail(err), made)
		}
	}
	if d, err := e.Verify(t.Context(), "t", "g", "a", template(1, 0, 0, 0), Policy{}); err != nil || !d.Match {
		t.Errorf("%+v, %v", d, err)
	}
	mustCheck(t, e)
}

// TestIndexRefusesChange: what is acknowledged is found, though the index could not take it.
func TestIndexRefusesChange(t *testing.T) {
	var first *stubborn
	e := inMemory(t, func(n int, x searcher) searcher {
		s := &stubborn{searcher: x}
		if n == 1 {
			first = s
		}
		return s
	})
	for _, id := range []string{"a", "b", "c"} {
		mustPut(t, e, id, 1, 0, 0, 0)
	}
	first.replace = errors.New("no memory")
	mustPut(t, e, "a", 0, 1, 0, 0)
	mustPut(t, e, "d", 0, 1, 0, 0)
	if err := e.DeletePerson(t.Context(), "t", "g", "b", WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	d, err := e.Verify(t.Context(), "t", "g", "a", template(0, 1, 0, 0), Policy{})
	if err != nil || d.Cosine != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	r, err := e.Identify(t.Context(), "t", "g", template(0, 1, 0, 0), IdentifyOptions{})
	if err != nil || len(r.Candidates) != 2 || r.Candidates[0].Person != "a" || r.Candidates[1].Person != "d" {
		t.Errorf("%+v, %v", r, err)
	}
	mustCheck(t, e)
}

// TestRepairNeedsStore: with writes stopped by a disk that failed, a damaged index stays so, and the call says it.
func TestRepairNeedsStore(t *testing.T) {
	e := inMemory(t, func(n int, x searcher) searcher { return &stubborn{searcher: x, search: index.ErrCorrupt} })
	e.store.fs.halt(errors.New("test"))
	_, err := e.Identify(t.Context(), "t", "g", template(1, 0, 0, 0), IdentifyOptions{})
	if wantErr(t, err, ErrStorageFailed); Detail(err) != errIndexDamaged.Detail {
		t.Errorf("%q", Detail(err))
	}
}

// TestRepairOutlivesCaller: a repair that takes longer than its caller has serves the next.
func TestRepairOutlivesCaller(t *testing.T) {
	made := atomic.Int64{}
	hold := make(chan struct{})
	e := inMemory(t, func(n int, x searcher) searcher {
		if made.Store(int64(n)); n == 2 {
			<-hold
		}
		if n == 1 {
			return &stubborn{searcher: x, search: index.ErrCorrupt}
		}
		return x
	})
	mustPut(t, e, "a", 1, 0, 0, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := e.Identify(ctx, "t", "g", template(1, 0, 0, 0), IdentifyOptions{})
	wantErr(t, err, context.DeadlineExceeded)
	close(hold)
	r, err := e.Identify(t.Context(), "t", "g", template(1, 0, 0, 0), IdentifyOptions{})
	if err != nil || len(r.Candidates) != 1 || made.Load() != 2 {
		t.Errorf("%+v, %v; %d made", r, err, made.Load())
	}
}

// slow is an index whose batches wait until the engine is being closed.
type slow struct {
	searcher
	e       *Engine
	batches atomic.Int64
	begun   chan struct{} // closed by the first
}

func (s *slow) Append(labels []uint32, vectors []float32, rows []uint32) error {
	if s.batches.Add(1) == 1 {
		close(s.begun)
	}
	<-s.e.stopped.Done()
	return s.searcher.Append(labels, vectors, rows)
}

// TestCloseDuringRepair: Close does not wait for a repair that nobody waits for.
func TestCloseDuringRepair(t *testing.T) {
	var e *Engine
	var second *slow
	begun := make(chan struct{})
	c := testConfig(vfs.NewMem())
	c.Spaces = []Space{spaceC}
	c.makeIndex = func(kind string, s scan.Config) (searcher, error) {
		x, err := makeIndex(kind, s)
		if e.mu.galleries[galleryName{"t", "g"}] == nil {
			return &stubborn{searcher: x, search: index.ErrCorrupt}, err
		}
		second = &slow{searcher: x, e: e, begun: begun}
		return second, err
	}
	e = open(t, c)
	mustGallery(t, e, "t", "g")
	all := enrolMany(t, e, "g", 12*loadBatch)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := e.Identify(ctx, "t", "g", all[0], IdentifyOptions{})
	wantErr(t, err, context.DeadlineExceeded)
	<-begun
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if n := second.batches.Load(); n == 0 || n > int64(runtime.GOMAXPROCS(0)) {
		t.Errorf("%d batches were appended", n)
	}
}

// TestDeleteDuringSearch: a gallery is deleted, and others are written, while one of its searches hangs; the search ends
// well, and the next does not find the gallery.
func TestDeleteDuringSearch(t *testing.T) {
	s := &stubborn{block: make(chan struct{}), searching: make(chan struct{})}
	e := inMemory(t, func(n int, x searcher) searcher {
		if n > 1 {
			return x
		}
		s.searcher = x
		return s
	})
	mustPut(t, e, "a", 1, 0, 0, 0)
	done := make(chan error)
	go func() {
		r, err := e.Identify(context.Background(), "t", "g", template(1, 0, 0, 0), IdentifyOptions{})
		if err == nil && len(r.Candidates) != 1 {
			err = fmt.Errorf("%+v", r)
		}
		done <- err
	}()
	<-s.searching
	if err := e.DeleteGallery(t.Context(), "t", "g"); err != nil {
		t.Fatal(err)
	}
	mustGallery(t, e, "t", "g")
	mustPut(t, e, "b", 1, 0, 0, 0)
	close(s.block)
	if err := <-done; err != nil && !errors.Is(err, ErrGalleryNotFound) {
		t.Error(err)
	}
	if r, err := e.Identify(t.Context(), "t", "g", template(1, 0, 0, 0), IdentifyOptions{}); err != nil || len(r.Candidates) != 1 || r.Candidates[0].Person != "b" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestIndexFolders: small galleries have no folder, large ones have theirs, and it goes with the gallery, at the latest
// when the store is opened next; what is not ours stays.
func TestIndexFolders(t *testing.T) {
	c := diskConfig(t)
	e, all := openMany(t, c)
	mustGallery(t, e, "t", "small")
	enrolMany(t, e, "small", 3)
	mustGallery(t, e, "t", "large")
	enrolMany(t, e, "large", manyTemplates)
	folder := func(n string) string { return filepath.Join(c.Dir, "index", n) }
	wantFolders := func(want ...string) {
		t.Helper()
		got := []string{}
		entries, err := os.ReadDir(filepath.Join(c.Dir, "index"))
		for _, x := range entries {
			got = append(got, x.Name())
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("folders %q, want %q, %v", got, want, err)
		}
	}
	wantFolders("1", "3")
	if err := e.DeleteGallery(t.Context(), "t", "large"); err != nil {
		t.Fatal(err)
	}
	e.retiring.Wait()
	wantFolders("1")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(folder("99/deep"), 0o700), os.MkdirAll(folder("notes"), 0o700)); err != nil {
		t.Fatal(err)
	}
	e = open(t, c)
	wantFolders("1", "notes")
	findAll(t, e, all)
}

// TestIndexIsSealed: nothing of a template is in the index's file, and its key is of this gallery and tenant alone.
func TestIndexIsSealed(t *testing.T) {
	c := diskConfig(t)
	_, all := openMany(t, c)
	b, err := os.ReadFile(vectorsFile(t, c, 1))
	if err != nil || len(b) < 256*(manyTemplates-1024) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	for i := range all {
		unit, err := unitVector(spaceC, all[i].Vector)
		must(err)
		if bytes.Contains(b, appendVector(nil, unit)[100:108]) {
			t.Fatalf("template %d is in the clear", i)
		}
	}

	var keys [][]byte
	c = Config{Dir: t.TempDir(), MasterKey: testKey, Spaces: []Space{spaceA}, MinFreeBytes: -1}
	c.makeIndex = func(kind string, s scan.Config) (searcher, error) {
		keys = append(keys, bytes.Clone(s.Key))
		return makeIndex(kind, s)
	}
	e := open(t, c)
	for _, tenant := range []string{"t", "u"} {
		mustGallery(t, e, tenant, "g")
		mustGallery(t, e, tenant, "h")
	}
	sealed, _, err := e.store.get(nil, tenantKey("u"))
	must(err)
	key, err := e.mu.sealers["u"].ring.open(nil, dataKeyPlace("u"), sealed)
	must(err)
	want, err := hkdf.Key(sha256.New, key, nil, "mien index v1\x00\x00\x00\x00\x00\x00\x00\x04", 32)
	if err != nil || !bytes.Equal(keys[3], want) {
		t.Errorf("key %x, want %x, %v", keys[3], want, err)
	}
	for i := range keys {
		for j := range i {
			if bytes.Equal(keys[i], keys[j]) {
				t.Errorf("galleries %d and %d have one key", i+1, j+1)
			}
		}
	}
}
