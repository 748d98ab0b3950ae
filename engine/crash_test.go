package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ledger is what one client, alone in writing its people, knows of them: the outcome of every acknowledged
// write, and of the one under way. A crash may keep the latter or not.
type ledger struct {
	mu      sync.Mutex
	acked   map[string]uint64 // person to version; absent is deleted or never there
	pending string            // person of the write under way, ""
	begun   map[string]int    // writes of each person, this one included

	rules, tried int // changes of the gallery that were acknowledged, and begun

	// The client's own: where its gallery is, and where it is being moved to, if it is.
	space Space
	next  *Space
}

func (l *ledger) begin(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = id
	if l.begun == nil {
		l.begun = make(map[string]int)
	}
	l.begun[id]++
}

func (l *ledger) end(id string, version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = ""
	if version == 0 {
		delete(l.acked, id)
	} else {
		l.acked[id] = version
	}
}

func (l *ledger) snapshot() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &ledger{acked: maps.Clone(l.acked), pending: l.pending, begun: maps.Clone(l.begun), rules: l.rules, tried: l.tried}
}

// ruled is the n-th change of a gallery: policy and gate say n, to see that they come together.
func ruled(n int) GalleryChange {
	x := float64(n) / 1e6
	return GalleryChange{Policy: &Policy{Similarity: &x}, Gate: &Gates{Enrol: Gate{"sharpness": x}}}
}

func (l *ledger) changeRules(ctx context.Context, e *Engine, gallery string) error {
	l.mu.Lock()
	l.tried++
	n := l.tried
	l.mu.Unlock()
	_, err := e.UpdateGallery(ctx, "t", gallery, ruled(n))
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.rules = n
	}
	return err
}

// verifyRules finds the last acknowledged change, or one that was under way.
func (l *ledger) verifyRules(t *testing.T, g *gallery, newer *ledger) {
	t.Helper()
	for n := l.rules; n <= newer.tried; n++ {
		if n == 0 && g.rules.Load().equal(&rules{}) {
			return
		}
		if c := ruled(n); n > 0 && g.rules.Load().equal(&rules{policy: *c.Policy, gate: *c.Gate}) {
			return
		}
	}
	t.Errorf("the rules %+v are of none of the changes %d to %d", g.rules.Load(), l.rules, newer.tried)
}

// client writes its own people at random until stopped or refused.
func (l *ledger) run(e *Engine, gallery string, rng *rand.Rand, stop *atomic.Bool) error {
	ctx := context.Background()
	for !stop.Load() {
		if rng.IntN(8) == 0 {
			if err := l.changeRules(ctx, e, gallery); err != nil {
				return err
			}
		}
		if rng.IntN(12) == 0 {
			if err := l.move(ctx, e, gallery, rng); err != nil {
				return err
			}
		}
		id := fmt.Sprintf("%s-%d", gallery, rng.IntN(12))
		l.begin(id)
		version, err := l.write(ctx, e, gallery, id, rng)
		if err != nil {
			return err
		}
		l.end(id, version)
	}
	return nil
}

func (l *ledger) write(ctx context.Context, e *Engine, gallery, id string, rng *rand.Rand) (uint64, error) {
	known := l.acked[id] != 0 // only this goroutine changes it
	switch op := rng.IntN(10); {
	case known && op < 2:
		return 0, e.DeletePerson(ctx, "t", gallery, id, WriteOptions{})
	case known && op < 4:
		p, err := e.PatchPerson(ctx, "t", gallery, id, PersonPatch{Metadata: new(json.RawMessage(fmt.Appendf(nil, `{"n":%d}`, rng.IntN(100))))})
		return p.Version, err
	default:
		spec := PersonSpec{}
		for range 1 + rng.IntN(3) {
			spec.Templates = append(spec.Templates, randomUnit(rng, l.space))
		}
		if l.next != nil && rng.IntN(4) != 0 {
			spec.Templates = append(spec.Templates, randomUnit(rng, *l.next))
		}
		p, _, err := e.PutPerson(ctx, "t", gallery, id, spec)
		return p.Version, err
	}
}

// move takes its gallery a step on the way to the other space and back. Nobody is dropped, so a switch changes no version:
// what was acknowledged before it must be there after it.
func (l *ledger) move(ctx context.Context, e *Engine, gallery string, rng *rand.Rand) error {
	other := spaceA
	if l.space.ID == spaceA.ID {
		other = spaceB
	}
	if l.next == nil {
		_, err := e.StartMove(ctx, "t", gallery, MoveSpec{Space: other.ID})
		l.next = &other
		return err
	}
	if rng.IntN(4) == 0 {
		l.next = nil
		return e.CancelMove(ctx, "t", gallery)
	}
	for id := range maps.Clone(l.acked) { // only this goroutine changes it
		if rng.IntN(8) == 0 {
			continue
		}
		l.begin(id)
		p, err := e.AddTemplate(ctx, "t", gallery, id, TemplateSpec{Templates: []Template{randomUnit(rng, other)}})
		if errors.Is(err, ErrTemplatesFull) {
			p, err = e.PatchPerson(ctx, "t", gallery, id, PersonPatch{Metadata: new(json.RawMessage(nil))})
		}
		if err != nil {
			return err
		}
		l.end(id, p.Version)
	}
	_, err := e.FinishMove(ctx, "t", gallery, other.ID, false)
	if errors.Is(err, ErrMoveIncomplete) {
		return nil
	}
	l.space, l.next = other, nil
	return err
}

// verify compares a reopened store with the ledger as it was before the crash (older) and after (newer): each
// person is as acknowledged before, or as some write since left them.
func (l *ledger) verify(t *testing.T, e *Engine, gallery string, newer *ledger) {
	t.Helper()
	ids := slices.Collect(maps.Keys(l.acked))
	g, err := e.gallery("t", gallery)
	if err != nil {
		t.Fatal(err)
	}
	l.verifyRules(t, g, newer)
	for id := range g.mu.people {
		if l.acked[id] == 0 {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		got, want := g.version(id), l.acked[id]
		touched := id == l.pending || newer.begun[id] != l.begun[id]
		if got != want && !touched {
			t.Errorf("%q has version %d, acknowledged %d", id, got, want)
		}
		if got != 0 && got < want {
			t.Errorf("%q went back to version %d from %d", id, got, want)
		}
	}
}

// TestCrash takes crash images of a busy store at random moments, some with parts of what was not synced, and
// opens each: every acknowledged write is there, nothing is half-written.
func TestCrash(t *testing.T) {
	rng := newRand(t)
	for range scaled(2) {
		crashRound(t, rng)
	}
}

func crashRound(t *testing.T, rng *rand.Rand) {
	const clients = 4
	mem := vfs.NewCrashableMem()
	e := open(t, testConfig(mem))
	ledgers, stop := make([]*ledger, clients), new(atomic.Bool)
	var wg sync.WaitGroup
	for i := range ledgers {
		name := fmt.Sprintf("g%d", i)
		if _, _, err := e.CreateGallery(t.Context(), "t", name, GallerySpec{Index: []string{indexScan, indexHNSW, indexAuto}[i%3]}); err != nil {
			t.Fatal(err)
		}
		ledgers[i] = &ledger{acked: map[string]uint64{}, space: spaceA}
		own := rand.New(rand.NewPCG(rng.Uint64(), 1))
		wg.Go(func() {
			if err := ledgers[i].run(e, name, own, stop); err != nil {
				t.Error(err)
			}
		})
	}
	for range 6 {
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
		if rng.IntN(3) == 0 {
			if _, err := e.store.db.AsyncFlush(); err != nil {
				t.Fatal(err)
			}
		}
		before := snapshots(ledgers)
		image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
		after := snapshots(ledgers)
		openImage(t, image, before, after)
	}
	stop.Store(true)
	wg.Wait()
	mustCheck(t, e)
	final := snapshots(ledgers)
	openImage(t, mem.CrashClone(vfs.CrashCloneCfg{}), final, final)
}

func snapshots(ledgers []*ledger) (all []*ledger) {
	for _, l := range ledgers {
		all = append(all, l.snapshot())
	}
	return all
}

func openImage(t *testing.T, image *vfs.MemFS, before, after []*ledger) {
	t.Helper()
	e, err := Open(testConfig(image))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	mustCheck(t, e)
	for i := range before {
		before[i].verify(t, e, fmt.Sprintf("g%d", i), after[i])
	}
}

// TestCrashWhileDeletingGallery: a gallery is there with everyone or gone with everyone.
func TestCrashWhileDeletingGallery(t *testing.T) {
	rng, ctx := newRand(t), t.Context()
	for range scaled(10) {
		mem := vfs.NewCrashableMem()
		e := open(t, testConfig(mem))
		mustGallery(t, e, "t", "g")
		for i := range 5 {
			if _, _, err := e.PutPerson(ctx, "t", "g", fmt.Sprint(i), PersonSpec{Templates: []Template{randomUnit(rng, spaceA)}}); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan error, 1)
		go func() { done <- e.DeleteGallery(ctx, "t", "g") }()
		time.Sleep(time.Duration(rng.IntN(100)) * time.Microsecond)
		image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		again := open(t, testConfig(image))
		mustCheck(t, again)
		if g, err := again.Gallery(ctx, "t", "g"); err == nil && g.People != 5 {
			t.Fatalf("%d people are left", g.People)
		}
	}
}

// TestVisibleButNotSynced holds fsyncs up (W4): nobody gets an answer that rests on what could still be lost.
func TestVisibleButNotSynced(t *testing.T) {
	fs := newSlowSync(vfs.NewCrashableMem())
	e := open(t, testConfig(fs))
	mustGallery(t, e, "t", "g")
	put := func(id string, v ...float32) error {
		_, _, err := e.PutPerson(context.Background(), "t", "g", id, PersonSpec{Templates: []Template{template(v...)}})
		return err
	}
	if err := put("old", 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	fs.hold()
	acked := make(chan error, 2)
	go func() { acked <- put("new", 0, 1, 0, 0) }()
	waitVisible(t, e, "new")
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if c, err := e.Identify(t.Context(), "t", "g", template(0, 1, 0, 0), IdentifyOptions{}); err != nil || len(c.Candidates) != 0 {
		t.Errorf("identify sees what is not synced: %+v, %v", c, err)
	}
	if _, err := e.Person(t.Context(), "t", "g", "old"); err != nil {
		t.Errorf("a person who is durable must be answered at once: %v", err)
	}
	_, err := e.Person(brief, "t", "g", "new")
	wantErr(t, err, context.DeadlineExceeded)
	_, _, err = e.People(brief, "t", "g", 0, "")
	wantErr(t, err, context.DeadlineExceeded)
	err = e.DeletePerson(brief, "t", "g", "nobody", WriteOptions{})
	if wantErr(t, err, context.DeadlineExceeded); errors.Is(err, ErrOutcomeUnknown) {
		t.Error("nothing was handed over: the outcome is known")
	}
	select {
	case err := <-acked:
		t.Errorf("acknowledged before the fsync: %v", err)
	default:
	}
	fs.release()
	if err := <-acked; err != nil {
		t.Fatal(err)
	}
	if p, err := e.Person(t.Context(), "t", "g", "new"); err != nil || p.ID != "new" {
		t.Errorf("%+v, %v", p, err)
	}
	mustCheck(t, e)
}

// waitVisible waits until Pebble shows a person's record, synced or not.
func waitVisible(t *testing.T, e *Engine, id string) {
	t.Helper()
	g, err := e.gallery("t", "g")
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		if _, found, err := e.store.get(nil, personKey(g.record.Number, id)); err != nil || found {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatal("the write never became visible")
}

func TestDeadline(t *testing.T) {
	fs := newSlowSync(vfs.NewCrashableMem())
	e := open(t, testConfig(fs))
	mustGallery(t, e, "t", "g")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	spec := PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}
	seq := e.store.seq
	_, _, err := e.PutPerson(cancelled, "t", "g", "a", spec)
	wantErr(t, err, context.Canceled)
	_, err = e.Identify(cancelled, "t", "g", template(1, 0, 0, 0), IdentifyOptions{})
	wantErr(t, err, context.Canceled)
	if e.store.seq != seq {
		t.Error("a cancelled call wrote")
	}
	fs.hold()
	brief, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, _, err = e.PutPerson(brief, "t", "g", "a", spec)
	wantErr(t, err, ErrOutcomeUnknown)
	wantErr(t, err, context.DeadlineExceeded)
	fs.release()
	if _, _, err = e.PutPerson(t.Context(), "t", "g", "a", spec); err != nil { // the retry
		t.Fatal(err)
	}
	mustCheck(t, e)
}

// TestDeadlineOfManyWrites: while fsyncs hang, so that first the writes that await theirs are as many as there may
// be, or the log must be rotated, no call overstays its deadline.
func TestDeadlineOfManyWrites(t *testing.T) {
	for name, c := range map[string]struct {
		writes   int
		metadata []byte
	}{
		"queue": {writes: maxUnsynced + 10},
		"log":   {writes: 60, metadata: fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("y", MaxMetadataBytes-8))},
	} {
		t.Run(name, func(t *testing.T) {
			fs := newSlowSync(vfs.NewCrashableMem())
			e := open(t, testConfig(fs))
			mustGallery(t, e, "t", "g")
			fs.hold()
			var held atomic.Bool
			held.Store(true)
			free := func() {
				if held.Swap(false) {
					fs.release()
				}
			}
			defer free()
			watchdog := time.AfterFunc(10*time.Second, free)
			defer watchdog.Stop()
			for i := range c.writes {
				brief, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				spec := PersonSpec{Templates: []Template{template(1, 0, 0, 0)}, Metadata: c.metadata}
				_, _, err := e.PutPerson(brief, "t", "g", fmt.Sprint(i), spec)
				cancel()
				wantErr(t, err, context.DeadlineExceeded)
			}
			if !held.Load() {
				t.Fatal("a write waited for the disk beyond its deadline")
			}
			free()
			if _, _, err := e.CreateGallery(t.Context(), "t", "after", GallerySpec{}); err != nil {
				t.Fatal(err)
			}
			mustCheck(t, e)
		})
	}
}

// TestPanicGivesTheTurnBack: who recovers from a panic in a write, as a server may, can still write.
func TestPanicGivesTheTurnBack(t *testing.T) {
	e := openMem(t)
	func() {
		defer func() { _ = recover() }()
		_ = e.store.update(t.Context(), false, func(*tx) error { panic("oops") })
	}()
	brief, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, _, err := e.CreateGallery(brief, "t", "g", GallerySpec{}); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, e)
}

// slowSync holds the fsyncs of WAL files up between hold and release.
type slowSync struct {
	vfs.FS
	gate sync.RWMutex
}

// walCategory is what Pebble calls its log.
const walCategory vfs.DiskWriteCategory = "pebble-wal"

func newSlowSync(fs vfs.FS) *slowSync { return &slowSync{FS: fs} }

func (s *slowSync) hold() { s.gate.Lock() }

func (s *slowSync) release() { s.gate.Unlock() }

func (s *slowSync) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := s.FS.Create(name, c)
	if err != nil || c != walCategory {
		return f, err
	}
	return &slowFile{f, s}, nil
}

type slowFile struct {
	vfs.File
	fs *slowSync
}

func (f *slowFile) Sync() error {
	f.fs.gate.RLock()
	defer f.fs.gate.RUnlock()
	return f.File.Sync()
}

func (f *slowFile) SyncData() error {
	f.fs.gate.RLock()
	defer f.fs.gate.RUnlock()
	return f.File.SyncData()
}
