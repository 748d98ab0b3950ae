package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"mien/index/hnsw"
)

// crowdOnDisk is a gallery with files, whose people the test changes, as it should be.
type crowdOnDisk struct {
	t      testing.TB
	kind   string // of its index
	rng    *rand.Rand
	config Config
	e      *Engine
	people map[string][]Template
	gone   []Template // that somebody had

	asked, missed int // searches by a graph, which may miss
}

// eachKind runs a test with an index of each kind whose saved form differs; with -short of one: linking takes its time,
// and TestGraphIsSaved does that too.
func eachKind(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range []string{indexScan, indexHNSW} {
		if kind == indexScan || !testing.Short() {
			t.Run(kind, func(t *testing.T) { test(t, kind) })
		}
	}
}

// newCrowd is newCrowdOf the default kind.
func newCrowd(t testing.TB) *crowdOnDisk {
	t.Helper()
	return newCrowdOf(t, indexAuto)
}

// newCrowdOf has manyTemplates people on the disk, with a saved index that was just opened. They are enrolled once for each kind, and
// their files copied for each test: to enrol them takes longer than most tests.
func newCrowdOf(t testing.TB, kind string) *crowdOnDisk {
	t.Helper()
	crowds.Lock()
	defer crowds.Unlock()
	made := crowds.of[kind]
	if made == nil {
		made = makeCrowd(t, kind)
		crowds.of[kind] = made
	}
	c := &crowdOnDisk{t: t, kind: kind, rng: newRand(t), config: diskConfig(t), people: maps.Clone(made.people)}
	must(os.CopyFS(c.config.Dir, made.files))
	c.reopen(0)
	return c
}

// crowds are those that newCrowdOf copies, by kind.
var crowds = struct {
	sync.Mutex
	of map[string]*madeCrowd
}{of: map[string]*madeCrowd{}}

type madeCrowd struct {
	files  fstest.MapFS
	people map[string][]Template
}

func makeCrowd(t testing.TB, kind string) *madeCrowd {
	t.Helper()
	c := enrolCrowd(t, kind, diskConfig(t))
	if err := c.e.Close(); err != nil {
		t.Fatal(err)
	}
	m := &madeCrowd{fstest.MapFS{}, c.people}
	from := os.DirFS(c.config.Dir)
	must(fs.WalkDir(from, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(from, path)
		m.files[path] = &fstest.MapFile{Data: data}
		return err
	}))
	return m
}

// enrolCrowd enrols manyTemplates people.
func enrolCrowd(t testing.TB, kind string, config Config) *crowdOnDisk {
	t.Helper()
	c := &crowdOnDisk{t: t, kind: kind, rng: newRand(t), config: config, people: map[string][]Template{}}
	e := open(t, c.config)
	if _, _, err := e.CreateGallery(context.Background(), "t", "g", GallerySpec{Index: kind}); err != nil {
		t.Fatal(err)
	}
	all := enrolMany(t, e, "g", manyTemplates)
	for i := range all {
		c.people[fmt.Sprint(i)] = all[i : i+1 : i+1]
	}
	c.e = e
	return c
}

// restart closes and opens; read is how many templates must be read for that, or -1.
func (c *crowdOnDisk) restart(read int) {
	c.t.Helper()
	if err := c.e.Close(); err != nil {
		c.t.Fatal(err)
	}
	c.reopen(read)
}

func (c *crowdOnDisk) reopen(read int) {
	c.t.Helper()
	c.e = open(c.t, c.config)
	if read >= 0 && (c.e.opened.read != read || c.e.opened.saved != 1) {
		c.t.Errorf("%d templates were read, want %d; %d saved indexes were used", c.e.opened.read, read, c.e.opened.saved)
	}
}

// crash goes on with the folder as it is, as if the process had ended now. The index is copied before the store: what
// the index's files hold is in the store before (W3), and so it is in the copy. Changed between the copies, nothing is.
func (c *crowdOnDisk) crash(read int) {
	c.t.Helper()
	from := c.config.Dir
	c.config.Dir = c.t.TempDir()
	copyFolder(c.t, filepath.Join(c.config.Dir, "index"), filepath.Join(from, "index"))
	copyFolder(c.t, filepath.Join(c.config.Dir, "store"), filepath.Join(from, "store"))
	copyFolder(c.t, filepath.Join(c.config.Dir, "keys"), filepath.Join(from, "keys"))
	c.e.started = false // nothing is saved
	if err := c.e.Close(); err != nil {
		c.t.Fatal(err)
	}
	c.reopen(read)
}

func copyFolder(t testing.TB, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func (c *crowdOnDisk) put(id string, n int) {
	c.t.Helper()
	templates := make([]Template, n)
	for i := range templates {
		templates[i] = randomUnit(c.rng, spaceC)
	}
	if _, _, err := c.e.PutPerson(context.Background(), "t", "g", id, PersonSpec{Templates: templates}); err != nil {
		c.t.Fatal(err)
	}
	c.gone = append(c.gone, c.people[id]...)
	c.people[id] = templates
}

func (c *crowdOnDisk) add(id string) {
	c.t.Helper()
	v := randomUnit(c.rng, spaceC)
	if _, err := c.e.AddTemplate(context.Background(), "t", "g", id, TemplateSpec{Templates: []Template{v}}); err != nil {
		c.t.Fatal(err)
	}
	c.people[id] = append(slices.Clip(c.people[id]), v)
}

func (c *crowdOnDisk) patch(id string) {
	c.t.Helper()
	if _, err := c.e.PatchPerson(context.Background(), "t", "g", id, PersonPatch{Metadata: new(json.RawMessage(fmt.Appendf(nil, `{"n":%d}`, c.rng.IntN(10))))}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crowdOnDisk) delete(id string) {
	c.t.Helper()
	if err := c.e.DeletePerson(context.Background(), "t", "g", id, WriteOptions{}); err != nil {
		c.t.Fatal(err)
	}
	c.gone = append(c.gone, c.people[id]...)
	delete(c.people, id)
}

// check compares answers with what they should be: everybody, or every nth (with -short one in ten of those), is found by
// each template and verified by it, and nobody by those that are gone; and memory and index with the store.
func (c *crowdOnDisk) check(nth int) {
	c.t.Helper()
	if testing.Short() {
		nth *= 10
	}
	probes, i := map[string][]Template{"": c.gone}, 0
	for _, id := range slices.Sorted(maps.Keys(c.people)) {
		if i++; i%nth == 0 {
			probes[id] = c.people[id]
		}
	}
	for id, templates := range probes {
		for i, v := range templates {
			if err := c.ask(id, v, i%2 == 0); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	if c.missed > 2+c.asked/100 {
		c.t.Errorf("the graph missed %d of %d", c.missed, c.asked)
	}
	mustCheck(c.t, c.e) // after the searches, which repair what is damaged
	if g, err := c.e.Gallery(context.Background(), "t", "g"); err != nil || g.People != len(c.people) {
		c.t.Fatalf("%+v, %v; want %d people", g, err, len(c.people))
	}
}

// ask identifies a template that only id has, or nobody if that is "".
func (c *crowdOnDisk) ask(id string, v Template, exact bool) error {
	ctx := context.Background()
	r, err := c.e.Identify(ctx, "t", "g", v, IdentifyOptions{Policy: Policy{Cosine: new(0.95)}, Exact: exact})
	if c.kind == indexHNSW && !exact {
		if c.asked++; err == nil && id != "" && len(r.Candidates) == 0 {
			c.missed++
			return nil
		}
	}
	if id == "" {
		if err != nil || len(r.Candidates) != 0 {
			return fmt.Errorf("a template that is gone finds %+v, %w", r.Candidates, err)
		}
		return nil
	}
	if err != nil || len(r.Candidates) != 1 || r.Candidates[0].Person != id || r.Candidates[0].Cosine != 1 {
		return fmt.Errorf("%q: found %+v, %w", id, r.Candidates, err)
	}
	d, err := c.e.Verify(ctx, "t", "g", id, v, Policy{})
	if err != nil || d.Cosine != 1 {
		return fmt.Errorf("%q: verified %+v, %w", id, d, err)
	}
	return nil
}

// change does everything that can happen to people, with rows that go from one to another; it returns how many
// templates the people have now who were written since.
func (c *crowdOnDisk) change() (templates int) {
	c.t.Helper()
	for i := range 20 {
		c.delete(fmt.Sprint(1500 + i)) // the rows are given to who comes
	}
	for i := range 30 {
		c.put(fmt.Sprint("new", i), 1+i%3)
		c.put(fmt.Sprint(2000+i), 1+i%4)
	}
	for i := range 10 {
		c.delete(fmt.Sprint(1100 + i))
		c.put(fmt.Sprint("between", i), 1)
		c.put(fmt.Sprint(1100+i), 1) // again, elsewhere
		c.add(fmt.Sprint(1200 + i))
		c.patch(fmt.Sprint(1300 + i))
		c.delete(fmt.Sprint("new", i))
	}
	for id, n := range map[string]int{"2400": MaxTemplates, "3": 2, "4": 1} {
		c.put(id, n)
	}
	g, err := c.e.gallery("t", "g")
	if err != nil {
		c.t.Fatal(err)
	}
	for id, v := range c.people {
		if g.version(id) > c.e.store.seq-uint64(20+60+10*6+3) {
			templates += len(v)
		}
	}
	return templates
}

// TestRestart: what was saved is used, nothing is read but what changed, and a restart without changes writes nothing.
func TestRestart(t *testing.T) { eachKind(t, testRestart) }

func testRestart(t *testing.T, kind string) {
	c := newCrowdOf(t, kind)
	c.linked()
	c.restart(0)
	c.check(17)
	path := indexFile(t, c.config, 1, "cache")
	before, err := os.ReadFile(path)
	must(err)
	c.restart(0)
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the index was saved again though nothing had changed, %v", err)
	}
	c.patch("7")
	c.restart(0)
	c.change()
	c.restart(0)
	c.check(1)
}

// TestCrashAfterSave: the process ends without Close after changes: who was written is read, the others are not, and all
// answers are right; and again, from the same file, after more changes.
func TestCrashAfterSave(t *testing.T) { eachKind(t, testCrashAfterSave) }

func testCrashAfterSave(t *testing.T, kind string) {
	c := newCrowdOf(t, kind)
	n := c.change()
	c.crash(n)
	c.check(1)
	c.put("after", 3)
	c.delete("between3")
	c.crash(n - 1 + 3)
	c.check(1)
	c.restart(0)
	c.check(1)
}

// linked waits for the graph, if there is one.
func (c *crowdOnDisk) linked() {
	c.t.Helper()
	if x, ok := mustFind(c.t, c.e).currentIndex().(*hnsw.Index); ok {
		if err := x.Wait(context.Background()); err != nil {
			c.t.Fatal(err)
		}
	}
}

// graph is the status of the graph, as it is now.
func (c *crowdOnDisk) graph() GraphStatus {
	c.t.Helper()
	g, err := c.e.Gallery(context.Background(), "t", "g")
	if err != nil || g.IndexStatus.Graph == nil {
		c.t.Fatalf("%+v, %v", g.IndexStatus, err)
	}
	return *g.IndexStatus.Graph
}

// TestGraphIsSaved: links that were made since the gallery last changed are saved, and used by the next start, which
// links what it reads, and nothing else.
func TestGraphIsSaved(t *testing.T) {
	c := newCrowdOf(t, indexHNSW)
	c.linked()
	if g := c.graph(); g.Linked != manyTemplates || g.Waiting != 0 {
		t.Fatalf("%+v", g)
	}
	c.restart(0)
	if g := c.graph(); g.Linked != manyTemplates || g.Waiting != 0 {
		t.Errorf("after a restart: %+v", g)
	}
	for i := range 10 {
		c.put(fmt.Sprint("new", i), 1)
	}
	c.crash(10)
	if g := c.graph(); g.Linked < manyTemplates || g.Linked+g.Waiting != manyTemplates+10 {
		t.Errorf("after a crash: %+v", g)
	}
	c.check(7)
}

// TestSavedGraphDamaged: of an index whose graph is damaged, which comes last in its file, all the rest is used, and the
// graph is made anew.
func TestSavedGraphDamaged(t *testing.T) {
	if testing.Short() {
		t.Skip("it is linked twice")
	}
	c := newCrowdOf(t, indexHNSW)
	c.linked()
	must(c.e.Close())
	path := indexFile(t, c.config, 1, "cache")
	b, err := os.ReadFile(path)
	must(err)
	b[len(b)-1000] ^= 1
	must(os.WriteFile(path, b, 0o600))
	c.reopen(0)
	c.check(17)
	c.linked()
	if g := c.graph(); g.Linked != manyTemplates || g.Waiting != 0 {
		t.Errorf("%+v", g)
	}
	c.check(7)
	c.restart(0)
	if g := c.graph(); g.Linked != manyTemplates || g.Waiting != 0 {
		t.Errorf("after a restart: %+v", g)
	}
}

// TestScanBecomesGraph: what a scan has saved serves a gallery with a graph, as of a store that an earlier program wrote
// with kind auto, and what one with a graph has saved serves a scan.
func TestScanBecomesGraph(t *testing.T) {
	c := newCrowdOf(t, indexScan)
	for _, kind := range []string{indexHNSW, indexScan, indexHNSW}[:shorter(3, 1)] {
		c.kind = kind
		setKind(t, c, kind)
		c.restart(0)
		c.linked()
		if s := mustFind(t, c.e).status(); s.Serving != kind {
			t.Errorf("%+v", s)
		}
		c.put("1", 2)
		c.check(7)
	}
}

// setKind changes what the gallery's record says, which no call can.
func setKind(t *testing.T, c *crowdOnDisk, kind string) {
	t.Helper()
	must(c.e.store.update(t.Context(), false, func(tx *tx) error {
		r, _, err := tx.gallery("t", "g")
		r.Index = kind
		tx.set(galleryKey("t", "g"), tx.store.sealRecord(galleryPlace("t", "g"), r))
		tx.remember = func() {}
		return err
	}))
}

// TestSavedAtRest: a gallery that has come to rest is saved without Close, and so is its graph once it is linked; a crash then costs
// nothing but what came after.
func TestSavedAtRest(t *testing.T) {
	config := diskConfig(t)
	config.idleSave = time.Second // longer than any pause of the enrolment: what is left after a save must not be too little for another
	c := enrolCrowd(t, indexHNSW, config)
	g, err := c.e.gallery("t", "g")
	must(err)
	saved := func() bool {
		g.mu.RLock()
		defer g.mu.RUnlock()
		return g.mu.savedLinks == manyTemplates
	}
	for begin := time.Now(); !saved(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatal("it is not saved")
		}
	}
	c.put("after", 3)
	c.delete("7")
	c.crash(3)
	if g, err = c.e.gallery("t", "g"); err != nil || linkedOf(g.currentIndex()) < manyTemplates-1 {
		t.Errorf("%v: %d are linked after the crash", err, linkedOf(g.currentIndex()))
	}
	c.check(17)
}

// TestRebuiltIsSaved: an index that Open had to make is there after a crash.
func TestRebuiltIsSaved(t *testing.T) {
	c := newCrowd(t)
	if err := os.RemoveAll(filepath.Join(c.config.Dir, "index")); err != nil {
		t.Fatal(err)
	}
	c.restart(-1)
	if c.e.opened.read != manyTemplates || c.e.opened.saved != 0 {
		t.Fatalf("%+v", c.e.opened)
	}
	c.crash(0)
	c.check(17)
}

// TestSavedIndexDamaged: whatever is in the place of the saved index, the store opens and answers are right.
func TestSavedIndexDamaged(t *testing.T) {
	cache := func(t *testing.T, c *crowdOnDisk) string { return indexFile(t, c.config, 1, "cache") }
	overwrite := func(t *testing.T, path string, change func(b []byte) []byte) {
		t.Helper()
		b, err := os.ReadFile(path)
		must(err)
		must(os.WriteFile(path, change(b), 0o600))
	}
	for name, damage := range map[string]func(t *testing.T, c *crowdOnDisk){
		"header": func(t *testing.T, c *crowdOnDisk) {
			overwrite(t, cache(t, c), func(b []byte) []byte { b[30] ^= 1; return b })
		},
		"body": func(t *testing.T, c *crowdOnDisk) {
			overwrite(t, cache(t, c), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		},
		"cut":   func(t *testing.T, c *crowdOnDisk) { must(os.Truncate(cache(t, c), 5000)) },
		"empty": func(t *testing.T, c *crowdOnDisk) { must(os.Truncate(cache(t, c), 0)) },
		"folder": func(t *testing.T, c *crowdOnDisk) {
			path := cache(t, c)
			must(errors.Join(os.Remove(path), os.Mkdir(path, 0o700)))
		},
		"no cache":    func(t *testing.T, c *crowdOnDisk) { must(os.Remove(cache(t, c))) },
		"no vectors":  func(t *testing.T, c *crowdOnDisk) { must(os.Remove(vectorsFile(t, c.config, 1))) },
		"cut vectors": func(t *testing.T, c *crowdOnDisk) { must(os.Truncate(vectorsFile(t, c.config, 1), 1000)) },
		"flipped vectors": func(t *testing.T, c *crowdOnDisk) {
			flip(t, vectorsFile(t, c.config, 1))
		},
		"another gallery's": func(t *testing.T, c *crowdOnDisk) {
			folder := filepath.Join(c.config.Dir, "index")
			must(os.RemoveAll(filepath.Join(folder, "1")))
			copyFolder(t, filepath.Join(folder, "1"), filepath.Join(folder, "2"))
		},
		"another gallery's cache file": func(t *testing.T, c *crowdOnDisk) {
			b, err := os.ReadFile(indexFile(t, c.config, 2, "cache"))
			must(err)
			must(os.WriteFile(cache(t, c), b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "body" && name != "cut vectors" && name != "another gallery's" {
				t.Skip("three of them do for an emulator")
			}
			c := newCrowd(t)
			mustGallery(t, c.e, "t", "h")
			enrolMany(t, c.e, "h", largeGallery+10)
			c.put("1", 2)
			if err := c.e.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, c)
			c.reopen(-1)
			c.check(7)
			c.change()
			c.check(7)
			if err := c.e.Close(); err != nil {
				t.Fatal(err)
			}
			c.reopen(-1)
			if c.e.opened.read != 0 || c.e.opened.saved != 2 {
				t.Errorf("after one start: %+v", c.e.opened)
			}
			c.check(1)
		})
	}
}

// TestOldCacheFile: a cache file from before many changes and restarts is put back beside the vectors of now.
func TestOldCacheFile(t *testing.T) { eachKind(t, testOldCacheFile) }

func testOldCacheFile(t *testing.T, kind string) {
	c := newCrowdOf(t, kind)
	old, err := os.ReadFile(indexFile(t, c.config, 1, "cache"))
	must(err)
	n := c.change()
	c.restart(0)
	c.put("5", 3)
	c.delete("6")
	if err := c.e.Close(); err != nil {
		t.Fatal(err)
	}
	must(os.WriteFile(indexFile(t, c.config, 1, "cache"), old, 0o600))
	c.reopen(n + 3)
	c.check(1)

	// The cache of a store that was made anew since does not open rows of that one's vectors.
	must(os.RemoveAll(vectorsFile(t, c.config, 1)))
	c.restart(-1)
	c.change2()
	if err := c.e.Close(); err != nil {
		t.Fatal(err)
	}
	must(os.WriteFile(indexFile(t, c.config, 1, "cache"), old, 0o600))
	c.reopen(-1)
	c.check(1)
}

// change2 changes others than change does.
func (c *crowdOnDisk) change2() {
	c.t.Helper()
	for i := range 50 {
		c.put(fmt.Sprint(1700+i), 1+i%5)
	}
}

// TestOldStore: a store that was put back from before the index was saved does not use it.
func TestOldStore(t *testing.T) {
	c := newCrowd(t)
	if err := c.e.Close(); err != nil {
		t.Fatal(err)
	}
	kept, store := t.TempDir(), filepath.Join(c.config.Dir, "store")
	copyFolder(t, filepath.Join(kept, "store"), store)
	people := maps.Clone(c.people)
	c.reopen(0)
	c.change()
	if err := c.e.Close(); err != nil {
		t.Fatal(err)
	}
	must(os.RemoveAll(store))
	copyFolder(t, store, filepath.Join(kept, "store"))
	c.people, c.gone = people, nil
	c.reopen(-1)
	if c.e.opened.read != manyTemplates || c.e.opened.saved != 0 {
		t.Errorf("%+v", c.e.opened)
	}
	c.check(1)
}

// TestRowsDoNotAddUp: a person who has not as many rows in a saved index as templates is read again.
func TestRowsDoNotAddUp(t *testing.T) {
	c := newCrowd(t)
	g, err := c.e.gallery("t", "g")
	must(err)
	if _, err := g.mu.index.Replace(g.mu.people["1700"].rows, 0, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := g.mu.index.Replace(nil, 1<<30, [][]float32{noise(c.rng)}); err != nil { // nobody's
		t.Fatal(err)
	}
	g.mu.unsaved = true
	c.restart(1)
	c.check(7)
}

// TestUnknownSpaceKeepsCache: a start without the space changes people and leaves the files; the next one that has it
// makes up for that.
func TestUnknownSpaceKeepsCache(t *testing.T) {
	c := newCrowd(t)
	spaces := c.config.Spaces
	c.config.Spaces = []Space{spaceA}
	c.restart(-1)
	c.delete("9")
	c.patch("10")
	c.config.Spaces = spaces
	c.restart(1)
	c.check(1)
}

// TestBecomesSmall: the files of a gallery that shrank go at the next start.
func TestBecomesSmall(t *testing.T) {
	c := newCrowd(t)
	for i := range manyTemplates - 1000 {
		c.delete(fmt.Sprint(i))
	}
	c.restart(-1)
	if _, err := os.Stat(filepath.Join(c.config.Dir, "index", "1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is there: %v", err)
	}
	c.check(7)
}

// TestLabelsAreUsedAgain: labels of the deleted do not add up over restarts, and are not used again before one.
func TestLabelsAreUsedAgain(t *testing.T) {
	c := newCrowd(t)
	labels := func() int { return len(c.e.mu.galleries[galleryName{"t", "g"}].mu.ids) }
	for round := range 6 {
		for i := range 100 {
			c.put(fmt.Sprint(round, "-", i), 1)
		}
		if round%2 == 1 {
			c.crash(100)
		}
		for i := range 100 {
			c.delete(fmt.Sprint(round, "-", i))
		}
		c.restart(0)
		if n := labels(); n != manyTemplates+100 {
			t.Errorf("%d labels", n)
		}
	}
	before := labels()
	for range 200 {
		c.put("comes and goes", 1)
		c.delete("comes and goes")
	}
	if n := labels(); n != before+100 {
		t.Errorf("%d labels, before %d", n, before)
	}
	c.check(7)
}

// TestNoRoomToSave: the cache is not worth a full disk.
func TestNoRoomToSave(t *testing.T) {
	c := newCrowd(t)
	before, err := os.ReadFile(indexFile(t, c.config, 1, "cache"))
	must(err)
	c.put("1", 2)
	c.e.store.disk.minFree = 1 << 60
	if err := c.e.Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(indexFile(t, c.config, 1, "cache")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the index was saved, %v", err)
	}
	c.reopen(2)
	c.check(7)
}

// TestRestartsAndCrashes: random changes, restarts, crashes, and cache files put back from before, in any order.
func TestRestartsAndCrashes(t *testing.T) { eachKind(t, testRestartsAndCrashes) }

func testRestartsAndCrashes(t *testing.T, kind string) {
	turns := 12
	if testing.Short() {
		turns = 4
	}
	for range scaled(2) {
		c := newCrowdOf(t, kind)
		path := func() string { return indexFile(t, c.config, 1, "cache") }
		var kept [][]byte
		for range turns {
			for range c.rng.IntN(60) {
				c.random()
			}
			switch c.rng.IntN(4) {
			case 0:
				c.restart(-1)
			case 1: // a file is put back; those that came after it are of a history that has not been
				if err := c.e.Close(); err != nil {
					t.Fatal(err)
				}
				if len(kept) > 0 {
					i := c.rng.IntN(len(kept))
					must(os.WriteFile(path(), kept[i], 0o600))
					kept = kept[:i+1]
				}
				c.reopen(-1)
			default:
				c.crash(-1)
			}
			if c.e.opened.saved != 1 {
				t.Fatalf("%+v", c.e.opened)
			}
			b, err := os.ReadFile(path())
			must(err)
			kept = append(kept, b)
			c.check(50)
		}
		c.restart(0)
		c.check(1)
	}
}

func (c *crowdOnDisk) random() {
	c.t.Helper()
	id := fmt.Sprint(1500 + c.rng.IntN(100))
	switch have := len(c.people[id]); {
	case have > 0 && c.rng.IntN(3) == 0:
		c.delete(id)
	case have > 0 && c.rng.IntN(5) == 0:
		c.patch(id)
	case have > 0 && have < MaxTemplates && c.rng.IntN(3) == 0:
		c.add(id)
	default:
		c.put(id, 1+c.rng.IntN(3))
	}
}

const victimDir = "MIEN_TEST_VICTIM_DIR"

// TestVictim is the process that TestKilled kills: it opens a folder and writes until its input ends, then closes.
func TestVictim(t *testing.T) {
	dir := os.Getenv(victimDir)
	if dir == "" {
		t.Skip("for TestKilled")
	}
	c := &crowdOnDisk{t: t, rng: newRand(t), people: map[string][]Template{},
		config: Config{Dir: dir, MasterKey: testKey, Spaces: []Space{spaceC}, MinFreeBytes: -1}}
	c.e = open(t, c.config)
	for id, m := range c.e.mu.galleries[galleryName{"t", "g"}].mu.people {
		c.people[id] = make([]Template, m.templates)
	}
	end := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(end)
	}()
	for {
		select {
		case <-end:
			must(c.e.Close())
			return
		default:
			c.random()
		}
	}
}

// TestKilled: a process that writes without pause is killed, or ends well, again and again: what the next finds is what
// the store holds, though it reads hardly a template.
func TestKilled(t *testing.T) {
	c := newCrowd(t)
	must(c.e.Close())
	for range scaled(shorter(8, 3)) {
		victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$")
		victim.Env = append(os.Environ(), victimDir+"="+c.config.Dir)
		in, err := victim.StdinPipe()
		must(err)
		if err := victim.Start(); errors.Is(err, syscall.ENOEXEC) {
			t.Skip("an emulated program can't start itself")
		} else {
			must(err)
		}
		time.Sleep(time.Duration(300+c.rng.IntN(500)) * time.Millisecond)
		if c.rng.IntN(3) == 0 {
			must(in.Close())
			must(victim.Wait())
		} else {
			must(victim.Process.Kill())
			if err := victim.Wait(); err == nil {
				t.Fatal("not killed")
			}
		}
		look := c.config // at a copy: the victim's folder stays as it was left
		look.Dir = t.TempDir()
		copyFolder(t, look.Dir, c.config.Dir)
		e := open(t, look)
		if e.opened.saved != 1 || e.opened.read > 400 {
			t.Errorf("%+v", e.opened)
		}
		mustCheck(t, e)
		t.Logf("after %d writes %d templates were read", e.store.seq, e.opened.read)
		must(e.Close())
	}
}

func FuzzOwners(f *testing.F) {
	f.Add(owners{[]string{"ann", "", "bob"}, []uint64{3, 0, 1 << 60}}.append(nil))
	f.Add([]byte{1, 0})
	f.Add([]byte{2, 0})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{1, 1, 9, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseOwners(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if len(o.ids) > len(b) || len(o.ids) != len(o.versions) {
			t.Fatalf("%d labels from %d bytes", len(o.ids), len(b))
		}
		for i, id := range o.ids {
			if (id == "") != (o.versions[i] == 0) {
				t.Fatalf("label %d: %q, version %d", i, id, o.versions[i])
			}
		}
		again, err := parseOwners(o.append(nil))
		if err != nil || !reflect.DeepEqual(o, again) {
			t.Fatalf("%+v came back as %+v, %v", o, again, err)
		}
	})
}

// BenchmarkOpen opens a store of one gallery, whose index was saved, or not.
func BenchmarkOpen(b *testing.B) {
	for _, n := range []int{20_000, 200_000} {
		c := diskConfig(b)
		c.Spaces = []Space{{ID: "d-512", Dim: 512, Calibration: testCurve}}
		e := open(b, c)
		mustGallery(b, e, "t", "g")
		rng := newRand(b)
		enrolDirectly(b, e, rng, c.Spaces[0], n)
		must(e.Close())
		for _, saved := range []bool{true, false} {
			b.Run(fmt.Sprintf("templates=%d/saved=%v", n, saved), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					if !saved {
						must(os.RemoveAll(filepath.Join(c.Dir, "index")))
					}
					b.StartTimer()
					e, err := Open(c)
					must(err)
					b.StopTimer()
					if want := map[bool]int{true: 0, false: n}[saved]; e.opened.read != want {
						b.Fatalf("%+v", e.opened)
					}
					must(e.Close())
					b.StartTimer()
				}
			})
		}
	}
}

// enrolDirectly enrols people by as many writers as share an fsync well.
func enrolDirectly(b *testing.B, e *Engine, rng *rand.Rand, s Space, n int) {
	b.Helper()
	const writers = 256
	done := make(chan error, writers)
	for w := range writers {
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		go func() {
			for i := w; i < n; i += writers {
				if _, _, err := e.PutPerson(context.Background(), "t", "g", fmt.Sprint("person-", i), PersonSpec{Templates: []Template{randomUnit(own, s)}}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range writers {
		must(<-done)
	}
}
