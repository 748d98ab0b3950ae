package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// extractTest makes one vector of an image, a box and a space; of an image that begins with x, none.
func extractTest(_ context.Context, space string, image []byte, box [4]float32) ([]float32, error) {
	if image[0] == 'x' {
		return nil, &Error{errors.New("no face"), "no_face"}
	}
	h := fnv.New64()
	h.Write(image)
	fmt.Fprint(h, space, box)
	s := spaceA
	if space == spaceB.ID {
		s = spaceB
	}
	return randomUnit(rand.New(rand.NewPCG(h.Sum64(), 1)), s).Vector, nil
}

var testBox = [4]float32{1, 2, 3.5, 4}

// photoTemplate is of space A, made of a photo; "" is none.
func photoTemplate(image string) Template {
	if image == "" {
		return template(1, 2, 3, 4)
	}
	v, err := extractTest(context.Background(), spaceA.ID, []byte("a "+image), testBox)
	if err != nil {
		panic(err)
	}
	return Template{Space: spaceA.ID, Vector: v, Source: "image", Photo: &Photo{Image: []byte(image), Box: testBox}}
}

func putPhotos(t testing.TB, e *Engine, tenant, name, id string, images ...string) Person {
	t.Helper()
	p, err := putPhotosOf(e, tenant, name, id, images...)
	mustMove(t, err)
	return p
}

func putPhotosOf(e *Engine, tenant, name, id string, images ...string) (Person, error) {
	var spec PersonSpec
	for _, image := range images {
		spec.Templates = append(spec.Templates, photoTemplate(image))
	}
	p, _, err := e.PutPerson(context.Background(), tenant, name, id, spec)
	return p, err
}

// keepingGallery is gallery "g" of space A, which keeps photos.
func keepingGallery(t testing.TB, e *Engine) {
	t.Helper()
	_, _, err := e.CreateGallery(t.Context(), "t", "g", GallerySpec{KeepPhotos: true})
	mustMove(t, err)
}

func beginMove(t testing.TB, e *Engine) {
	t.Helper()
	_, err := e.StartMove(t.Context(), "t", "g", MoveSpec{Space: spaceB.ID})
	mustMove(t, err)
}

// fataler is what *testing.T and *rapid.T have in common here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// waitPhotos waits until nobody of a gallery waits for their stored photos, and returns the move.
func waitPhotos(t fataler, e *Engine, tenant, name string) *Move {
	t.Helper()
	return waitMove(t, e, tenant, name, func(m *Move) bool { return m.Waiting == 0 })
}

func waitMove(t fataler, e *Engine, tenant, name string, until func(*Move) bool) *Move {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(50 * time.Microsecond) {
		g, err := e.Gallery(context.Background(), tenant, name)
		if err != nil || g.Move == nil {
			t.Fatalf("gallery %q: %+v, %v", name, g, err)
		}
		if until(g.Move) {
			return g.Move
		}
	}
	t.Fatalf("the stored photos of gallery %q are never done", name)
	return nil
}

// waitAllPhotos is waitPhotos for every gallery that is being moved.
func waitAllPhotos(t testing.TB, e *Engine) {
	t.Helper()
	for _, g := range e.allGalleries() {
		if g.successor.Load() != nil {
			waitPhotos(t, e, g.tenant, g.name)
		}
	}
}

// storedPhoto is the photo of a template, nil if none is stored.
func storedPhoto(t testing.TB, e *Engine, tenant, name, id, template string) *Photo {
	t.Helper()
	g, err := e.gallery(tenant, name)
	mustMove(t, err)
	number, err := strconv.Atoi(template)
	mustMove(t, err)
	if _, found, err := e.store.get(nil, photoKey(g.record.Number, id, uint32(number))); err != nil || !found {
		return nil
	}
	photo, err := g.photo(e.store, id, recordOf(t, e, g, id).key, uint32(number))
	mustMove(t, err)
	return photo
}

// photoKeys are the keys of photos in the store.
func photoKeys(t testing.TB, e *Engine) (keys []string) {
	t.Helper()
	mustMove(t, e.store.each([]byte{prefixPhoto}, []byte{prefixPhoto + 1}, func(k, _ []byte) (bool, error) {
		keys = append(keys, string(k))
		return true, nil
	}))
	return keys
}

// TestPhotosAreKept: photos are stored where the gallery says so, and only there; and refused where they are too large.
func TestPhotosAreKept(t *testing.T) {
	e, ctx := openMem(t), t.Context()
	wantStoredFormat(t, e, keysFormat)
	mustGallery(t, e, "t", "plain")
	putPhotos(t, e, "t", "plain", "a", "one")
	wantFormat(t, e, firstFormat)
	keepingGallery(t, e)
	wantFormat(t, e, photoFormat)
	for _, keep := range []bool{true, false} {
		g, created, err := e.CreateGallery(ctx, "t", "g", GallerySpec{KeepPhotos: keep})
		if keep != (err == nil) || created || g.KeepPhotos != keep {
			t.Errorf("%v: %+v %v", keep, g, err)
		}
	}
	p := putPhotos(t, e, "t", "g", "a", "one", "", "two")
	if !p.Templates[0].Photo || p.Templates[1].Photo || !p.Templates[2].Photo || len(photoKeys(t, e)) != 2 {
		t.Errorf("%+v, %q", p, photoKeys(t, e))
	}
	if photo := storedPhoto(t, e, "t", "g", "a", "3"); photo == nil || string(photo.Image) != "two" || photo.Box != testBox {
		t.Errorf("%+v", photo)
	}
	mustCheck(t, e)
	large := photoTemplate("one")
	large.Photo.Image = make([]byte, MaxPhotoBytes+1)
	_, err := e.AddTemplate(ctx, "t", "g", "a", TemplateSpec{Templates: []Template{large}})
	if wantErr(t, err, ErrPhotoSize); !strings.Contains(Detail(err), strconv.Itoa(MaxPhotoBytes)) {
		t.Errorf("%q", Detail(err))
	}
	if _, err := e.AddTemplate(ctx, "t", "plain", "a", TemplateSpec{Templates: []Template{large}}); err != nil {
		t.Errorf("a gallery that keeps no photos: %v", err)
	}
	mustGallery(t, e, "t", "later")
	_, err = e.StartMove(ctx, "t", "later", MoveSpec{Space: spaceB.ID})
	mustMove(t, err)
	wantFormat(t, e, photoFormat) // and not back to that of moves
}

// TestLargePhotos: a person with photos as large as they may be is one write.
func TestLargePhotos(t *testing.T) {
	mem := vfs.NewMem()
	e := open(t, testConfig(mem))
	keepingGallery(t, e)
	beginMove(t, e)
	images := make([]string, 3) // more than Pebble's memtable holds
	for i := range images {
		images[i] = fmt.Sprint(i) + strings.Repeat("p", MaxPhotoBytes-1)
	}
	putPhotos(t, e, "t", "g", "a", images...)
	if m := waitPhotos(t, e, "t", "g"); m.Done != 1 {
		t.Errorf("%+v", m)
	}
	e = reopen(t, e, testConfig(mem))
	if photo := storedPhoto(t, e, "t", "g", "a", "3"); photo == nil || string(photo.Image) != images[2] {
		t.Error("the last photo is not what it was")
	}
	mustCheck(t, e)
}

// TestPhotosAreErased: with the template, the person or the gallery its photos go, in both spaces of a move.
func TestPhotosAreErased(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		erase func(*Engine) error
		left  int // of 3 of a and 1 of b, and while moving as many again
		moved int
	}{
		"replace":         {func(e *Engine) error { _, err := putPhotosOf(e, "t", "g", "a", "four"); return err }, 2, 4},
		"replace without": {func(e *Engine) error { _, err := putPhotosOf(e, "t", "g", "a", ""); return err }, 1, 2},
		"person":          {func(e *Engine) error { return e.DeletePerson(ctx, "t", "g", "a", WriteOptions{}) }, 1, 2},
		"gallery":         {func(e *Engine) error { return e.DeleteGallery(ctx, "t", "g") }, 0, 0},
		"cancel":          {func(e *Engine) error { return e.CancelMove(ctx, "t", "g") }, 4, 4},
		"finish":          {func(e *Engine) error { _, err := e.FinishMove(ctx, "t", "g", spaceB.ID, false); return err }, 4, 4},
	} {
		for _, moving := range []bool{false, true} {
			t.Run(fmt.Sprint(name, moving), func(t *testing.T) {
				e := openMem(t)
				keepingGallery(t, e)
				putPhotos(t, e, "t", "g", "a", "one", "two", "three")
				putPhotos(t, e, "t", "g", "b", "five")
				want := c.left
				if moving {
					beginMove(t, e)
					waitPhotos(t, e, "t", "g")
					if n := len(photoKeys(t, e)); n != 8 {
						t.Fatalf("%d photos", n)
					}
					want = c.moved
				} else if name == "cancel" || name == "finish" {
					return
				}
				mustMove(t, c.erase(e))
				waitAllPhotos(t, e)
				if keys := photoKeys(t, e); len(keys) != want {
					t.Errorf("%d photos are left, want %d: %q", len(keys), want, keys)
				}
				mustCheck(t, e)
			})
		}
	}
}

// TestPhotosAreSealed: a photo's bytes are nowhere on the disk, before and after a flush, in neither space.
func TestPhotosAreSealed(t *testing.T) {
	c := testConfig(nil)
	c.Dir = t.TempDir()
	e := open(t, c)
	keepingGallery(t, e)
	planted := strings.Repeat("a photo of somebody ", 100)
	putPhotos(t, e, "t", "g", "a", planted)
	beginMove(t, e)
	waitPhotos(t, e, "t", "g")
	for _, step := range []func() error{func() error { return nil }, e.store.db.Flush} {
		mustMove(t, step())
		if n := countOnDisk(t, c.Dir, []byte(planted[:20])); n != 0 {
			t.Errorf("it is in the clear %d times", n)
		}
	}
	g, err := e.gallery("t", "g")
	mustMove(t, err)
	sealed, _, err := e.store.get(nil, photoKey(g.record.Number, "a", 1))
	mustMove(t, err)
	key := recordOf(t, e, g, "a").key
	for name, p := range map[string]place{"another's": g.photoPlace("b", 1), "another number": g.photoPlace("a", 2),
		"the successor's": g.successor.Load().photoPlace("a", 1), "a template's": g.templatePlace("a", 1)} {
		if _, err := key.open(nil, p, sealed); !errors.Is(err, ErrCorrupt) {
			t.Errorf("it opens in %s place: %v", name, err)
		}
	}
	if _, err := key.open(nil, g.photoPlace("a", 1), sealed); err != nil {
		t.Error(err)
	}
}

// TestMoveFromPhotos: whoever has photos is done without being enrolled again, and is told nothing else than before; who has none is
// not; and what can't be used is named.
func TestMoveFromPhotos(t *testing.T) {
	mem, ctx := vfs.NewMem(), t.Context()
	e := open(t, testConfig(mem))
	keepingGallery(t, e)
	before := map[string]Person{
		"a": putPhotos(t, e, "t", "g", "a", "x one", "two", "", "three"),
		"b": putPhotos(t, e, "t", "g", "b", ""), "c": putPhotos(t, e, "t", "g", "c", "x", "x2"),
	}
	for i := range 2 * MaxMoveFailures {
		putPhotos(t, e, "t", "g", fmt.Sprintf("d%02d", i), "x")
	}
	beginMove(t, e)
	for range 2 {
		m := waitPhotos(t, e, "t", "g")
		if m.Done != 1 || m.Failed != 2*MaxMoveFailures+1 || len(m.Failures) != MaxMoveFailures || m.Failures[0] != (MoveFailure{"c", "no_face"}) {
			t.Errorf("%+v", m)
		}
		e = reopen(t, e, testConfig(mem)) // where it is found out again
	}
	waitPhotos(t, e, "t", "g")
	for id, p := range before {
		got, err := e.Person(ctx, "t", "g", id)
		if got.Moved != (id == "a") || got.Version != p.Version || !got.Updated.Equal(p.Updated) || !slices.Equal(got.Templates, p.Templates) || err != nil {
			t.Errorf("%+v was %+v: %v", got, p, err)
		}
	}
	mustCheck(t, e)
	putPhotos(t, e, "t", "g", "c", "x", "four")
	mustMove(t, e.DeletePerson(ctx, "t", "g", "d00", WriteOptions{}))
	if m := waitPhotos(t, e, "t", "g"); m.Done != 2 || m.Failed != 2*MaxMoveFailures-1 || m.Failures[0].Person != "d01" {
		t.Errorf("%+v", m)
	}
	_, err := e.FinishMove(ctx, "t", "g", spaceB.ID, false)
	wantErr(t, err, ErrMoveIncomplete)
	g, err := e.FinishMove(ctx, "t", "g", spaceB.ID, true)
	if err != nil || g.People != 2 || g.Templates != 3 || !g.KeepPhotos {
		t.Errorf("%+v, %v", g, err)
	}
	p, err := e.Person(ctx, "t", "g", "a")
	if want := before["a"].Templates; err != nil || !slices.Equal(p.Templates, []TemplateInfo{want[1], want[3]}) {
		t.Errorf("%+v, %v", p, err)
	}
	probe, _ := extractTest(ctx, spaceB.ID, []byte("three"), testBox)
	if c, err := e.Identify(ctx, "t", "g", Template{Space: spaceB.ID, Vector: probe}, IdentifyOptions{}); err != nil || len(c.Candidates) == 0 || c.Candidates[0].Person != "a" {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = e.StartMove(ctx, "t", "g", MoveSpec{Space: spaceA.ID}) // and back, from the copies
	mustMove(t, err)
	if m := waitPhotos(t, e, "t", "g"); m.Done != 2 {
		t.Errorf("%+v", m)
	}
	mustCheck(t, e)
}

// heldExtractor holds the extractions of some images up until they are let go, and counts all.
type heldExtractor struct {
	held    string // what their images begin with
	begun   chan string
	letGo   chan error // nil: go on as extractTest
	calls   atomic.Int64
	working atomic.Int64
}

func newHeldExtractor(held string) *heldExtractor {
	return &heldExtractor{held: held, begun: make(chan string, 100), letGo: make(chan error)}
}

func (h *heldExtractor) extract(ctx context.Context, space string, image []byte, box [4]float32) ([]float32, error) {
	h.calls.Add(1)
	h.working.Add(1)
	defer h.working.Add(-1)
	if strings.HasPrefix(string(image), h.held) {
		h.begun <- string(image)
		select {
		case err := <-h.letGo:
			if err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return extractTest(ctx, space, image, box)
}

// TestPhotosMeetChanges: a person who is changed, deleted or enrolled again while their photo is read is as that left them; and what
// ends the move, or the engine, ends the work.
func TestPhotosMeetChanges(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		meanwhile func(*Engine) error
		stops     bool   // the extraction is not let go: it ends by its context
		want      string // the image that a's template of the new space is made of; "": there is none
	}{
		"nothing": {func(*Engine) error { return nil }, false, "held"},
		"patch": {func(e *Engine) error {
			_, err := e.PatchPerson(ctx, "t", "g", "a", PersonPatch{Metadata: new(json.RawMessage(`{"n":1}`))})
			return err
		}, false, "held"},
		"replace":  {func(e *Engine) error { _, err := putPhotosOf(e, "t", "g", "a", "other"); return err }, false, "other"},
		"without":  {func(e *Engine) error { _, err := putPhotosOf(e, "t", "g", "a", ""); return err }, false, ""},
		"unusable": {func(e *Engine) error { _, err := putPhotosOf(e, "t", "g", "a", "x"); return err }, false, ""},
		"delete":   {func(e *Engine) error { return e.DeletePerson(ctx, "t", "g", "a", WriteOptions{}) }, false, ""},
		"delete and put": {func(e *Engine) error {
			err := e.DeletePerson(ctx, "t", "g", "a", WriteOptions{})
			if err == nil {
				_, err = putPhotosOf(e, "t", "g", "a", "other")
			}
			return err
		}, false, "other"},
		"enrol again": {func(e *Engine) error {
			v, _ := extractTest(ctx, spaceB.ID, []byte("again"), testBox)
			_, err := e.AddTemplate(ctx, "t", "g", "a", TemplateSpec{Templates: []Template{Template{Space: spaceB.ID, Vector: v}}})
			return err
		}, false, "again"},
		"cancel":  {func(e *Engine) error { return e.CancelMove(ctx, "t", "g") }, true, ""},
		"finish":  {func(e *Engine) error { _, err := e.FinishMove(ctx, "t", "g", spaceB.ID, true); return err }, true, ""},
		"gallery": {func(e *Engine) error { return e.DeleteGallery(ctx, "t", "g") }, true, ""},
		"close":   {(*Engine).Close, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			conf, held := testConfig(vfs.NewMem()), newHeldExtractor("held")
			conf.Extract = held.extract
			e := open(t, conf)
			keepingGallery(t, e)
			putPhotos(t, e, "t", "g", "a", "held")
			putPhotos(t, e, "t", "g", "b", "fine")
			beginMove(t, e)
			<-held.begun
			mustMove(t, c.meanwhile(e))
			if c.stops {
				for begin := time.Now(); held.working.Load() > 0; time.Sleep(time.Millisecond) {
					if time.Since(begin) > 10*time.Second {
						t.Fatal("the extraction goes on")
					}
				}
				if name != "close" {
					mustCheck(t, e)
				}
				return
			}
			close(held.letGo)
			m := waitPhotos(t, e, "t", "g")
			done := 1 // b
			if c.want != "" {
				done++
			}
			if m.Done != done || (m.Failed > 0) != (name == "unusable") {
				t.Errorf("%+v, want %d done", m, done)
			}
			g, err := e.gallery("t", "g")
			mustMove(t, err)
			next := g.successor.Load()
			if c.want != "" {
				v, _ := extractTest(ctx, spaceB.ID, []byte(c.want), testBox)
				unit, err := next.unitVector(Template{Space: spaceB.ID, Vector: v})
				mustMove(t, err)
				if dot, err := next.mu.index.Dot(next.mu.people["a"].rows[0], unit); err != nil || dot < 0.999 {
					t.Errorf("the template is of another photo: %v %v", dot, err)
				}
			}
			mustCheck(t, e)
		})
	}
}

// TestMoveFromPhotosIsPatient: an extractor that has no time is asked again; one that panics, or answers what is no template, is
// the photo's failure; without one nobody waits.
func TestMoveFromPhotosIsPatient(t *testing.T) {
	var busy atomic.Int64
	c := testConfig(vfs.NewMem())
	c.Extract = func(ctx context.Context, space string, image []byte, box [4]float32) ([]float32, error) {
		switch {
		case string(image) == "panic":
			panic("oops")
		case string(image) == "short":
			return []float32{1}, nil
		case string(image) == "broken":
			return nil, errors.New("the device is on fire")
		case busy.Add(1) <= 3:
			return nil, fmt.Errorf("%w: wait", ErrBusy)
		}
		return extractTest(ctx, space, image, box)
	}
	e := open(t, c)
	keepingGallery(t, e)
	for _, image := range []string{"fine", "panic", "short", "broken"} {
		putPhotos(t, e, "t", "g", image, image)
	}
	beginMove(t, e)
	m := waitPhotos(t, e, "t", "g")
	if m.Done != 1 || m.Failed != 3 || busy.Load() != 4 {
		t.Errorf("%+v after %d calls", m, busy.Load())
	}
	for _, f := range m.Failures {
		if f.Reason != reasonInternal && f.Person != "short" {
			t.Errorf("%+v tells what happened inside", f)
		}
	}
	c.Extract = nil
	e = reopen(t, e, c)
	if m := waitPhotos(t, e, "t", "g"); m.Done != 1 || m.Failed != 0 {
		t.Errorf("%+v", m)
	}
	mustCheck(t, e)
}

// TestFailureOfWhoIsGone: who was deleted while their photo was read is not named when it turns out that it can't be used.
func TestFailureOfWhoIsGone(t *testing.T) {
	conf, held := testConfig(vfs.NewMem()), newHeldExtractor("x held")
	conf.Extract = held.extract
	e := open(t, conf)
	keepingGallery(t, e)
	putPhotos(t, e, "t", "g", "a", "x held")
	beginMove(t, e)
	<-held.begun
	mustMove(t, e.DeletePerson(t.Context(), "t", "g", "a", WriteOptions{}))
	close(held.letGo)
	if m := waitPhotos(t, e, "t", "g"); m.Failed != 0 {
		t.Errorf("%+v", m)
	}
}

// TestMoveFromPhotosOnFullDisk: nothing is made while nothing can be written, and it goes on when there is room.
func TestMoveFromPhotosOnFullDisk(t *testing.T) {
	fs := &sizedFS{FS: vfs.NewMem()}
	fs.free.Store(1 << 40)
	c, held := testConfig(fs), newHeldExtractor("never")
	c.MinFreeBytes, c.diskCheckEvery = 1<<30, time.Nanosecond
	c.Extract = nil
	e := open(t, c)
	keepingGallery(t, e)
	putPhotos(t, e, "t", "g", "a", "one")
	beginMove(t, e)
	fs.free.Store(1 << 29) // too little for writes, enough to open
	c.Extract = held.extract
	e = reopen(t, e, c)
	time.Sleep(50 * time.Millisecond)
	if n := held.calls.Load(); n != 0 {
		t.Errorf("%d photos are read though nothing can be written", n)
	}
	fs.free.Store(1 << 40)
	if m := waitPhotos(t, e, "t", "g"); m.Done != 1 || held.calls.Load() != 1 {
		t.Errorf("%+v", m)
	}
	mustCheck(t, e)
}

// TestLargeWritesCountBeforeTheDiskIsLookedAt: between two looks at the disk, what was written is taken off what was free.
func TestLargeWritesCountBeforeTheDiskIsLookedAt(t *testing.T) {
	fs := &sizedFS{FS: vfs.NewMem()}
	fs.free.Store(1<<30 + 9<<20)
	c := testConfig(fs)
	c.MinFreeBytes, c.diskCheckEvery = 1<<30, time.Hour
	e := open(t, c)
	keepingGallery(t, e)
	large := strings.Repeat("p", 3<<20)
	putPhotos(t, e, "t", "g", "a", large)
	putPhotos(t, e, "t", "g", "b", large)
	_, err := putPhotosOf(e, "t", "g", "c", large)
	wantErr(t, err, ErrStorageFull)
}

// TestCrashOfMoveFromPhotos: whatever the moment, every person is wholly done, with the photos, or not at all, and what was acknowledged
// is there; the next start goes on to the end.
func TestCrashOfMoveFromPhotos(t *testing.T) {
	rng, n := newRand(t), 12
	done := map[int]int{}
	for round := range scaled(20) {
		mem := vfs.NewCrashableMem()
		e := open(t, testConfig(mem))
		keepingGallery(t, e)
		for i := range n {
			putPhotos(t, e, "t", "g", strconv.Itoa(i), fmt.Sprint("one", i), "", fmt.Sprint("two", i))
		}
		beginMove(t, e)
		stop, stopped := new(atomic.Bool), make(chan error, 1)
		go func() { // somebody who is put again and again
			for !stop.Load() {
				if _, err := putPhotosOf(e, "t", "g", "busy", "three"); err != nil {
					stopped <- err
					return
				}
			}
			stopped <- e.DeletePerson(context.Background(), "t", "g", "busy", WriteOptions{})
		}()
		time.Sleep(time.Duration(rng.IntN(1500)) * time.Microsecond)
		image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: round % 3 * 50, RNG: rng})
		stop.Store(true)
		if err := <-stopped; err != nil && !errors.Is(err, ErrPersonNotFound) {
			t.Fatal(err)
		}
		paused := testConfig(image)
		paused.Extract = nil
		again := open(t, paused)
		mustCheck(t, again)
		g, err := again.Gallery(t.Context(), "t", "g")
		if err != nil || g.Move == nil || g.People < n {
			t.Fatalf("%+v, %v", g, err)
		}
		done[g.Move.Done]++
		again = reopen(t, again, testConfig(image))
		if m := waitPhotos(t, again, "t", "g"); m.Done != m.People || m.Failed != 0 {
			t.Fatalf("%+v", m)
		}
		mustCheck(t, again)
		_, err = again.FinishMove(t.Context(), "t", "g", spaceB.ID, false)
		mustMove(t, err)
		mustCheck(t, again)
		mustMove(t, errors.Join(again.Close(), e.Close()))
	}
	t.Logf("people done when it crashed: %v", done)
}

// TestDiskFailsInMoveFromPhotos: after a failed write the work rests until a restart, and Close ends it.
func TestDiskFailsInMoveFromPhotos(t *testing.T) {
	mem, fail := vfs.NewCrashableMem(), &failAfter{match: isWAL}
	fail.countdown.Store(1 << 40)
	c, held := testConfig(errorfs.Wrap(mem, fail)), newHeldExtractor("held")
	c.Extract = held.extract
	e := open(t, c)
	keepingGallery(t, e)
	putPhotos(t, e, "t", "g", "a", "held")
	beginMove(t, e)
	<-held.begun
	fail.countdown.Store(0)
	held.letGo <- nil
	<-e.store.fs.halted
	wantErr(t, e.Close(), ErrStorageFailed)
	again := open(t, testConfig(mem.CrashClone(vfs.CrashCloneCfg{})))
	if m := waitPhotos(t, again, "t", "g"); m.Done != 1 {
		t.Errorf("%+v", m)
	}
	mustCheck(t, again)
}

// TestMoveFromPhotosRace moves a gallery that keeps photos to and fro while clients change people: whoever stays is found in whatever
// space there is, without being enrolled again.
func TestMoveFromPhotosRace(t *testing.T) {
	c := testConfig(vfs.NewMem())
	e, ctx := open(t, c), context.Background()
	keepingGallery(t, e)
	for i := range stay {
		putPhotos(t, e, "t", "g", strconv.Itoa(i), fmt.Sprint("photo", i))
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	ignore := func(err error, refusals ...error) {
		if err != nil && !slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) }) {
			t.Error(err)
		}
	}
	for client := range 3 {
		wg.Go(func() {
			own := fmt.Sprint("w", client)
			for n := 0; !stop.Load(); n++ {
				_, err := putPhotosOf(e, "t", "g", own, fmt.Sprint(n), "x")
				ignore(err, ErrSpaceMismatch)
				_, err = e.PatchPerson(ctx, "t", "g", strconv.Itoa(n%stay), PersonPatch{Metadata: new(json.RawMessage(nil))})
				ignore(err)
				_, err = e.Gallery(ctx, "t", "g")
				ignore(err)
				ignore(e.DeletePerson(ctx, "t", "g", own, WriteOptions{}), ErrPersonNotFound)
			}
		})
	}
	for n := range scaled(10) {
		to := raceSpaces[(n+1)%2]
		_, err := e.StartMove(ctx, "t", "g", MoveSpec{Space: to.ID})
		mustMove(t, err)
		if n%3 == 1 {
			mustMove(t, e.CancelMove(ctx, "t", "g"))
			_, err := e.StartMove(ctx, "t", "g", MoveSpec{Space: to.ID})
			mustMove(t, err)
		}
		waitMove(t, e, "t", "g", func(m *Move) bool { return m.Done >= stay })
		for i := range stay { // who is done may be one of the clients' own
			if p, err := e.Person(ctx, "t", "g", strconv.Itoa(i)); err != nil || !p.Moved {
				waitMove(t, e, "t", "g", func(*Move) bool { p, _ := e.Person(ctx, "t", "g", strconv.Itoa(i)); return p.Moved })
			}
		}
		g, err := e.FinishMove(ctx, "t", "g", to.ID, true)
		mustMove(t, err)
		if g.People < stay {
			t.Fatalf("%+v", g)
		}
		for i := range stay {
			v, _ := extractTest(ctx, to.ID, fmt.Append(nil, "photo", i), testBox)
			c, err := e.Identify(ctx, "t", "g", Template{Space: to.ID, Vector: v}, IdentifyOptions{Policy: Policy{Cosine: new(0.999)}})
			if err != nil || len(c.Candidates) == 0 || c.Candidates[0].Person != strconv.Itoa(i) {
				t.Fatalf("%d in %s: %+v, %v", i, to.ID, c, err)
			}
		}
	}
	stop.Store(true)
	wg.Wait()
	mustCheck(t, e)
}
