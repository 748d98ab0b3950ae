package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// both is one template in each space, of the same direction.
func both(seed uint64) []Template {
	return []Template{randomUnit(rand.New(rand.NewPCG(seed, 7)), spaceA), randomUnit(rand.New(rand.NewPCG(seed, 8)), spaceB)}
}

// in is the template of a space among them.
func in(space string, templates []Template) Template {
	return templates[slices.IndexFunc(templates, func(t Template) bool { return t.Space == space })]
}

func mustMove(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// movingGallery is gallery "g" of space A with n people, on its way to B, all of whom have templates of both.
func movingGallery(t testing.TB, e *Engine, n int) {
	t.Helper()
	mustGallery(t, e, "t", "g")
	wantFormat(t, e, firstFormat)
	_, err := e.StartMove(t.Context(), "t", "g", MoveSpec{Space: spaceB.ID})
	mustMove(t, err)
	wantFormat(t, e, moveFormat)
	for i := range n {
		_, _, err := e.PutPerson(t.Context(), "t", "g", strconv.Itoa(i), PersonSpec{Templates: both(uint64(i))})
		mustMove(t, err)
	}
}

// TestCrashWhileSwitching: whatever the moment, the gallery is in the one space with everyone, or in the other.
func TestCrashWhileSwitching(t *testing.T) {
	rng, ctx := newRand(t), t.Context()
	seen := map[string]int{}
	for range scaled(20) {
		mem := vfs.NewCrashableMem()
		e := open(t, testConfig(mem))
		movingGallery(t, e, 5)
		done := make(chan error, 1)
		go func() {
			_, err := e.FinishMove(context.Background(), "t", "g", spaceB.ID, false)
			done <- err
		}()
		time.Sleep(time.Duration(rng.IntN(100)) * time.Microsecond)
		image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
		mustMove(t, <-done)
		again := open(t, testConfig(image))
		mustCheck(t, again)
		g, err := again.Gallery(ctx, "t", "g")
		if err != nil || g.People != 5 || g.Templates != 5 || (g.Space == spaceA.ID) != (g.Move != nil && g.Move.Done == 5) {
			t.Fatalf("%+v, move %+v: %v", g, g.Move, err)
		}
		seen[g.Space]++
		if c, err := again.Identify(ctx, "t", "g", in(g.Space, both(3)), IdentifyOptions{}); err != nil || len(c.Candidates) == 0 || c.Candidates[0].Person != "3" {
			t.Fatalf("%+v, %v", c, err)
		}
		mustMove(t, errors.Join(again.Close(), e.Close()))
	}
	t.Logf("opened in %v", seen)
}

// TestSwitchVisibleButNotSynced: while the switch is on its way to the disk nobody is told of it, nor that people are gone;
// searches go on in the old space; and afterwards everybody is in the new one, who waited too.
func TestSwitchVisibleButNotSynced(t *testing.T) {
	fs := newSlowSync(vfs.NewCrashableMem())
	e := open(t, testConfig(fs))
	movingGallery(t, e, 3)
	old, err := e.gallery("t", "g")
	mustMove(t, err)
	fs.hold()
	acked := make(chan error, 1)
	go func() {
		_, err := e.FinishMove(context.Background(), "t", "g", spaceB.ID, false)
		acked <- err
	}()
	for visible := true; visible; time.Sleep(time.Millisecond) {
		_, visible, err = e.store.get(nil, personKey(old.record.Number, "0"))
		mustMove(t, err)
	}
	if c, err := e.Identify(t.Context(), "t", "g", in(spaceA.ID, both(1)), IdentifyOptions{}); err != nil || c.Candidates[0].Person != "1" {
		t.Errorf("a search in the old space: %+v, %v", c, err)
	}
	_, err = e.Identify(t.Context(), "t", "g", in(spaceB.ID, both(1)), IdentifyOptions{})
	wantErr(t, err, ErrSpaceMismatch)
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = e.Person(brief, "t", "g", "0")
	wantErr(t, err, context.DeadlineExceeded)
	_, _, err = e.People(brief, "t", "g", 0, "")
	wantErr(t, err, context.DeadlineExceeded)

	waiting := make(chan error, 4)
	go func() {
		_, err := e.Person(context.Background(), "t", "g", "0")
		waiting <- err
	}()
	go func() {
		people, _, err := e.People(context.Background(), "t", "g", 0, "")
		if err == nil && len(people) < 2 { // one is being deleted
			err = fmt.Errorf("%d people are listed", len(people))
		}
		waiting <- err
	}()
	go func() {
		_, err := e.PatchPerson(context.Background(), "t", "g", "0", PersonPatch{Metadata: new(json.RawMessage(`{"n":1}`))})
		waiting <- err
	}()
	go func() { waiting <- e.DeletePerson(context.Background(), "t", "g", "2", WriteOptions{}) }()
	time.Sleep(20 * time.Millisecond)
	fs.release()
	for range cap(waiting) {
		mustMove(t, <-waiting)
	}
	mustMove(t, <-acked)
	if c, err := e.Identify(t.Context(), "t", "g", in(spaceB.ID, both(1)), IdentifyOptions{}); err != nil || c.Candidates[0].Person != "1" {
		t.Errorf("a search in the new space: %+v, %v", c, err)
	}
	if p, err := e.Person(t.Context(), "t", "g", "0"); err != nil || string(p.Metadata) != `{"n":1}` {
		t.Errorf("%+v, %v", p, err)
	}
	mustCheck(t, e)
}

// TestMoveMeetsWrites: a write that was on its way when a move began or ended, or the other way round, is as if it had come
// before or after. The one that comes first is held up in its fsync, so that the other sees it in the store and not in memory.
func TestMoveMeetsWrites(t *testing.T) {
	ctx := context.Background()
	put := func(id string, templates ...Template) func(*Engine) error {
		return func(e *Engine) error {
			_, _, err := e.PutPerson(ctx, "t", "g", id, PersonSpec{Templates: templates})
			return err
		}
	}
	finish := func(e *Engine) error {
		_, err := e.FinishMove(ctx, "t", "g", spaceB.ID, false)
		return err
	}
	cancel := func(e *Engine) error { return e.CancelMove(ctx, "t", "g") }
	begin := func(e *Engine) error {
		_, err := e.StartMove(ctx, "t", "g", MoveSpec{Space: spaceB.ID})
		return err
	}
	other := both(7)
	for name, c := range map[string]struct {
		still         bool // no move is under way
		first, second func(*Engine) error
		want          error // of second
		people, done  int   // afterwards
	}{
		"begin, put old":       {still: true, first: begin, second: put("new", other[0]), people: 1},
		"finish, put both":     {first: finish, second: put("new", other...), want: ErrSpaceMismatch, people: 2},
		"finish, put old":      {first: finish, second: put("new", other[0]), want: ErrSpaceMismatch, people: 2},
		"finish, put new":      {first: finish, second: put("new", other[1]), people: 3},
		"finish, replace":      {first: finish, second: put("0", other[1]), people: 2},
		"cancel, put both":     {first: cancel, second: put("new", other...), want: ErrSpaceMismatch, people: 2},
		"cancel, put old":      {first: cancel, second: put("new", other[0]), people: 3},
		"put old, finish":      {first: put("new", other[0]), second: finish, want: ErrMoveIncomplete, people: 3, done: 2},
		"put old over, finish": {first: put("0", other[0]), second: finish, want: ErrMoveIncomplete, people: 2, done: 1},
		"put both, finish":     {first: put("new", other...), second: finish, people: 3},
		"put both, cancel":     {first: put("new", other...), second: cancel, people: 3},
		"finish, finish":       {first: finish, second: finish, people: 2},
		"cancel, finish":       {first: cancel, second: finish, want: ErrNotMoving, people: 2},
	} {
		t.Run(name, func(t *testing.T) {
			fs := newSlowSync(vfs.NewCrashableMem())
			e := open(t, testConfig(fs))
			if c.still {
				mustGallery(t, e, "t", "g")
			} else {
				movingGallery(t, e, 2)
			}
			fs.hold()
			seq, acked := e.store.last.Load(), [2]chan error{make(chan error, 1), make(chan error, 1)}
			go func() { acked[0] <- c.first(e) }()
			for e.store.last.Load() == seq {
				time.Sleep(time.Millisecond)
			}
			go func() { acked[1] <- c.second(e) }()
			time.Sleep(5 * time.Millisecond)
			fs.release()
			mustMove(t, <-acked[0])
			if err := <-acked[1]; !errors.Is(err, c.want) {
				t.Errorf("the second: %v, want %v", err, c.want)
			}
			mustCheck(t, e)
			g, err := e.Gallery(ctx, "t", "g")
			done := 0
			if g.Move != nil {
				done = g.Move.Done
			}
			if err != nil || g.People != c.people || done != c.done {
				t.Errorf("%d people, %d done, want %d and %d: %v", g.People, done, c.people, c.done, err)
			}
		})
	}
}

// moveRace is clients of gallery "g" while it is moved to and fro. People 0 to stay−1 are there all the time, and by both(i)
// in whatever space the gallery is.
type moveRace struct {
	*testing.T
	e        *Engine
	stop     atomic.Bool
	answered [2]atomic.Int64 // by space
	written  [2]atomic.Int64
}

const stay = 8

var raceSpaces = [2]Space{spaceA, spaceB}

// may notes what came of a call: success, or one of the refusals that it may meet.
func (m *moveRace) may(n *atomic.Int64, err error, refusals ...error) {
	if err == nil {
		n.Add(1)
	} else if !slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) }) {
		m.Error(err)
	}
}

func (m *moveRace) search(rng *rand.Rand) {
	ctx, policy := context.Background(), Policy{Cosine: new(0.999)}
	for !m.stop.Load() {
		i, s := rng.IntN(stay), rng.IntN(2)
		id, probe := strconv.Itoa(i), in(raceSpaces[s].ID, both(uint64(i)))
		r, err := m.e.Identify(ctx, "t", "g", probe, IdentifyOptions{Policy: policy})
		if err == nil && (len(r.Candidates) == 0 || r.Candidates[0].Person != id) {
			err = fmt.Errorf("%q is not found: %+v", id, r)
		}
		m.may(&m.answered[s], err, ErrSpaceMismatch)
		d, err := m.e.Verify(ctx, "t", "g", id, probe, policy)
		if err == nil && !d.Match {
			err = fmt.Errorf("%q is not verified: %+v", id, d)
		}
		m.may(&m.answered[s], err, ErrSpaceMismatch)
		if _, err := m.e.Person(ctx, "t", "g", id); err != nil {
			m.Error(err)
		}
		if people, _, err := m.e.People(ctx, "t", "g", 0, ""); err != nil || len(people) < stay {
			m.Errorf("%d people are listed: %v", len(people), err)
		}
	}
}

// write changes the client's own person, and adds to those who stay.
func (m *moveRace) write(own string, rng *rand.Rand) {
	ctx, either := context.Background(), new(atomic.Int64)
	for n := uint64(100); !m.stop.Load(); n++ {
		templates, s, id := both(n), rng.IntN(2), strconv.Itoa(rng.IntN(stay))
		_, _, err := m.e.PutPerson(ctx, "t", "g", own, PersonSpec{Templates: templates})
		m.may(either, err, ErrSpaceMismatch) // where no move is under way
		_, _, err = m.e.PutPerson(ctx, "t", "g", own, PersonSpec{Templates: templates[s : s+1]})
		m.may(&m.written[s], err, ErrSpaceMismatch)
		_, err = m.e.AddTemplate(ctx, "t", "g", id, TemplateSpec{Templates: []Template{templates[s]}})
		m.may(either, err, ErrSpaceMismatch, ErrTemplatesFull)
		_, err = m.e.PatchPerson(ctx, "t", "g", id, PersonPatch{Metadata: new(json.RawMessage(nil))})
		m.may(either, err)
		m.may(either, m.e.DeletePerson(ctx, "t", "g", own, WriteOptions{}), ErrPersonNotFound) // who was dropped
	}
}

// TestMoveRace moves a gallery to and fro under searches and writes. Nobody is ever told that the gallery, or a person who
// stays, is not there; an answer is wholly of the probe's space; and what a client may be told instead of an answer is that
// the gallery is of the other space by now.
func TestMoveRace(t *testing.T) {
	c := testConfig(vfs.NewMem())
	c.RecallSample = 1
	m := &moveRace{T: t, e: open(t, c)}
	movingGallery(t, m.e, stay)
	var wg sync.WaitGroup
	for client := range uint64(4) {
		wg.Go(func() { m.search(rand.New(rand.NewPCG(client, 5))) })
		wg.Go(func() { m.write(fmt.Sprint("w", client), rand.New(rand.NewPCG(client, 6))) })
	}
	for n := range scaled(15) {
		to := raceSpaces[(n+1)%2]
		_, err := m.e.StartMove(t.Context(), "t", "g", MoveSpec{Space: to.ID})
		mustMove(t, err)
		for i := range stay {
			_, _, err := m.e.PutPerson(t.Context(), "t", "g", strconv.Itoa(i), PersonSpec{Templates: both(uint64(i))})
			mustMove(t, err)
		}
		_, err = m.e.FinishMove(t.Context(), "t", "g", to.ID, true)
		mustMove(t, err)
	}
	m.stop.Store(true)
	wg.Wait()
	mustCheck(t, m.e)
	for s, space := range raceSpaces {
		if m.answered[s].Load() == 0 || m.written[s].Load() == 0 {
			t.Errorf("space %s: %d answers, %d writes: there was no race", space.ID, m.answered[s].Load(), m.written[s].Load())
		}
	}
}

// TestMoveOnDisk: what a move makes is saved, used by the next start, and gone when it has ended (I2).
func TestMoveOnDisk(t *testing.T) {
	c := testConfig(nil)
	c.Dir = t.TempDir()
	e := open(t, c)
	const n = largeGallery + 50
	movingGallery(t, e, n)
	folder := func(number uint64) bool {
		_, err := os.Stat(filepath.Join(c.Dir, "index", strconv.FormatUint(number, 10)))
		return err == nil
	}
	e = reopen(t, e, c)
	mustCheck(t, e)
	if e.opened.saved != 2 || e.opened.read != 0 || !folder(1) || !folder(2) {
		t.Errorf("opened %+v", e.opened)
	}
	_, err := e.FinishMove(t.Context(), "t", "g", spaceB.ID, false)
	mustMove(t, err)
	e = reopen(t, e, c) // waits until the old index is closed
	mustCheck(t, e)
	if e.opened.saved != 1 || folder(1) || !folder(2) {
		t.Errorf("opened %+v, folders %v and %v", e.opened, folder(1), folder(2))
	}
	_, err = e.StartMove(t.Context(), "t", "g", MoveSpec{Space: spaceA.ID})
	mustMove(t, err)
	for i := range n {
		_, err := e.AddTemplate(t.Context(), "t", "g", strconv.Itoa(i), TemplateSpec{Templates: []Template{both(uint64(i))[0]}})
		mustMove(t, err)
	}
	e = reopen(t, e, c)
	if !folder(3) {
		t.Error("the new space's index is not saved")
	}
	mustMove(t, e.CancelMove(t.Context(), "t", "g"))
	e = reopen(t, e, c)
	mustCheck(t, e)
	if folder(3) || e.opened.saved != 1 {
		t.Errorf("opened %+v after the move was cancelled", e.opened)
	}
}

// TestMoveWithoutSpaces: a move whose spaces the process has no models for can be looked at and ended, not gone on with.
func TestMoveWithoutSpaces(t *testing.T) {
	mem, ctx := vfs.NewMem(), t.Context()
	e := open(t, testConfig(mem))
	movingGallery(t, e, 2)
	for name, spaces := range map[string][]Space{"old only": {spaceA}, "new only": {spaceB}, "none": nil} {
		t.Run(name, func(t *testing.T) {
			c := testConfig(mem)
			c.Spaces = spaces
			e = reopen(t, e, c)
			mustCheck(t, e)
			g, err := e.Gallery(ctx, "t", "g")
			if err != nil || g.Move == nil || g.Move.Done != 2 {
				t.Fatalf("%+v %v", g.Move, err)
			}
			_, _, err = e.PutPerson(ctx, "t", "g", "0", PersonSpec{Templates: both(0)})
			wantErr(t, err, ErrSpaceUnknown)
			if _, err := e.PatchPerson(ctx, "t", "g", "0", PersonPatch{Metadata: new(json.RawMessage(`{"n":2}`))}); err != nil {
				t.Error(err)
			}
			if len(spaces) == 0 || spaces[0].ID != spaceB.ID {
				_, err = e.FinishMove(ctx, "t", "g", spaceB.ID, false)
				wantErr(t, err, ErrSpaceUnknown)
			}
		})
	}
	e = reopen(t, e, testConfig(mem))
	mustMove(t, e.CancelMove(ctx, "t", "g"))
	mustCheck(t, e)
}

// TestMoveOfDamagedIndex: an index of the new space that could not take a change is made anew by the first call after the
// switch.
func TestMoveOfDamagedIndex(t *testing.T) {
	e := openMem(t)
	movingGallery(t, e, 3)
	g, err := e.gallery("t", "g")
	mustMove(t, err)
	g.successor.Load().mu.behind = errIndexBehind
	_, err = e.FinishMove(t.Context(), "t", "g", spaceB.ID, false)
	mustMove(t, err)
	if c, err := e.Identify(t.Context(), "t", "g", in(spaceB.ID, both(1)), IdentifyOptions{}); err != nil || c.Candidates[0].Person != "1" {
		t.Errorf("%+v, %v", c, err)
	}
	mustCheck(t, e)
}
