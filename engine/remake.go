package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// What is not done yet of a gallery that keeps photos, and is being moved, is made in the background of the stored photos
// (doc.go, P1 to P4), by one goroutine for the whole engine, one photo at a time.

const (
	// remakeRound is how many people of one gallery are taken before it is another's turn.
	remakeRound = 64
	// busyPause is the first wait for an extractor that has no time; each further one is twice as long, up to busyPauseMax.
	busyPause    = 20 * time.Millisecond
	busyPauseMax = 2 * time.Second
	// remakePause is how long the work rests while the disk is nearly full, and after an error that is nobody's photo's.
	remakePause = time.Second
)

// photoQueue is the people of a gallery that is being moved whose stored photos are to be looked at, and those of whom none
// could be used. The successor has it. Safe for concurrent use; nil is one that nobody is put into.
type photoQueue struct {
	work chan<- struct{} // wakes moveFromPhotos

	mu struct {
		sync.Mutex
		ended   bool
		filled  bool               // with those who were there when the move began, or the store was opened
		order   []string           // the last is next
		waiting map[string]bool    // those in order
		now     string             // who is in hand; "": nobody
		cancel  context.CancelFunc // ends the work on who is in hand
		failed  map[string]string  // why, by person
	}
}

// signal has the queue looked at.
func (q *photoQueue) signal() {
	if q == nil {
		return
	}
	select {
	case q.work <- struct{}{}:
	default: // it will be
	}
}

// changed notes a durable change of a person in commit order: what was found out before is void.
func (q *photoQueue) changed(id string, waits bool) {
	if q == nil {
		return
	}
	q.mu.Lock()
	delete(q.mu.failed, id)
	if waits {
		q.addLocked(id)
	}
	q.mu.Unlock()
	if waits {
		q.signal()
	}
}

func (q *photoQueue) addLocked(id string) {
	if q.mu.ended || q.mu.waiting[id] {
		return
	}
	if q.mu.waiting == nil {
		q.mu.waiting = make(map[string]bool)
	}
	q.mu.waiting[id] = true
	q.mu.order = append(q.mu.order, id)
}

// fill puts in who of g is not in next, once. Who changes later is put in by changed.
func (q *photoQueue) fill(g, next *gallery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.filled {
		return
	}
	q.mu.filled = true
	g.mu.RLock()
	defer g.mu.RUnlock()
	for id := range g.mu.people {
		if next.version(id) == 0 {
			q.addLocked(id)
		}
	}
}

// take returns the next person, and the context of the work on them, which ends with the move; the caller calls done. ok is
// false when nobody waits.
func (q *photoQueue) take(parent context.Context) (ctx context.Context, id string, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := len(q.mu.order)
	if q.mu.ended || n == 0 || parent.Err() != nil {
		return nil, "", false
	}
	id = q.mu.order[n-1]
	q.mu.order = q.mu.order[:n-1]
	delete(q.mu.waiting, id)
	q.mu.now = id
	ctx, q.mu.cancel = context.WithCancel(parent)
	return ctx, id, true
}

// done ends the work on who was taken; again puts them back.
func (q *photoQueue) done(again bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.cancel()
	if again {
		q.addLocked(q.mu.now)
	}
	q.mu.now = ""
}

// fail notes why none of a person's photos can be used, if the person is in g still what they were.
func (q *photoQueue) fail(g *gallery, id string, version uint64, why string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mu.ended || g.version(id) != version { // a change of g is followed by changed
		return
	}
	if q.mu.failed == nil {
		q.mu.failed = make(map[string]string)
	}
	q.mu.failed[id] = why
}

// counts are those of Move. left is how many people are not done.
func (q *photoQueue) counts(left int) (waiting, failed int) {
	if q == nil {
		return 0, 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.mu.filled {
		return left, 0
	}
	waiting = len(q.mu.waiting)
	if q.mu.now != "" && !q.mu.waiting[q.mu.now] {
		waiting++
	}
	return waiting, len(q.mu.failed)
}

// failures are those of Move.
func (q *photoQueue) failures() (first []MoveFailure) {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	ids := slices.Sorted(maps.Keys(q.mu.failed))
	for _, id := range ids[:min(len(ids), MaxMoveFailures)] {
		first = append(first, MoveFailure{id, q.mu.failed[id]})
	}
	return first
}

// end ends the work: the move is finished or cancelled, or the gallery gone.
func (q *photoQueue) end() {
	if q == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mu.ended = true
	if q.mu.cancel != nil {
		q.mu.cancel()
	}
	q.mu.order, q.mu.waiting, q.mu.failed = nil, nil, nil
}

// queuePhotos has a person's photos looked at, if they wait for it, once this write is in memory. REQUIRES: there is a successor.
func (p *personTx) queuePhotos(wait bool) {
	q, id := p.next.g.photos, p.id
	p.also(func() { q.changed(id, wait) })
}

// moveFromPhotos runs until Close.
func (e *Engine) moveFromPhotos() {
	for {
		for e.remakeSome() {
		}
		select {
		case <-e.photoWork:
		case <-e.stopped.Done():
			return
		}
	}
}

// remakeSome takes some people of every gallery that is being moved, and reports whether there were any.
func (e *Engine) remakeSome() (worked bool) {
	for _, g := range e.allGalleries() {
		next := g.successor.Load()
		if next == nil || next.photos == nil {
			continue
		}
		next.photos.fill(g, next)
		for range remakeRound {
			if !e.remakeOne(g, next) {
				break
			}
			worked = true
		}
	}
	return worked
}

// remakeOne takes a person from the queue, and reports whether there was one.
func (e *Engine) remakeOne(g, next *gallery) bool {
	ctx, id, ok := next.photos.take(e.stopped)
	if !ok {
		return false
	}
	err := e.remake(ctx, g, next, id)
	again := err != nil && !errors.Is(err, errMoved) && !errors.Is(err, ErrGalleryNotFound) && ctx.Err() == nil
	if again {
		e.log.Warn("a stored photo could not be used; it is tried again", "gallery", g.record.Number, "error", err)
		pause(ctx, remakePause)
	}
	next.photos.done(again)
	return true
}

// remake makes a person's templates of the new space of their stored photos, unless there are some, or there are no photos. Who
// is changed meanwhile is left as they are then: whoever did it has put them into the queue again. Errors: errMoved,
// ErrGalleryNotFound, ctx's, the store's.
func (e *Engine) remake(ctx context.Context, g, next *gallery, id string) error {
	sealed, found, err := e.store.get(nil, personKey(g.record.Number, id))
	if err != nil || !found || next.version(id) != 0 {
		return err
	}
	r, err := g.openPerson(id, sealed)
	if err != nil {
		next.photos.fail(g, id, g.version(id), reasonOf(err))
		return nil
	}
	made, err := e.remadeTemplates(ctx, g, next, id, r)
	if err != nil || len(made) == 0 {
		return err
	}
	return e.store.update(ctx, false, func(t *tx) error {
		p, err := enrolment{g, next}.personTx(t, id)
		if err != nil || p.old == nil || p.old.version != r.version || p.next.old != nil {
			return err
		}
		p.next.remake(*p.old, made)
		return nil
	})
}

// remade is a template that was made of a stored photo.
type remade struct {
	templateRecord // the old one's
	Template
}

// remadeTemplates makes those of a person's photos that can be used. If there are photos and none can be used it notes why.
// Errors: ctx's, the disk's.
func (e *Engine) remadeTemplates(ctx context.Context, g, next *gallery, id string, r *personRecord) (made []remade, err error) {
	why := ""
	for _, old := range r.templates {
		if !old.photo {
			continue
		}
		if err := e.awaitRoom(ctx); err != nil {
			return nil, err
		}
		t, err := e.remadeTemplate(ctx, g, next, id, r.key, old.number)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			if why = reasonOf(err); why == reasonInternal {
				e.log.Warn("a stored photo can't be used", "gallery", g.record.Number, "error", err)
			}
		default:
			made = append(made, remade{old, t})
		}
	}
	if len(made) == 0 && why != "" {
		next.photos.fail(g, id, r.version, why)
	}
	return made, nil
}

// awaitRoom waits while the disk is nearly full, or has failed: what can't be written need not be made. Errors: ctx's.
func (e *Engine) awaitRoom(ctx context.Context) error {
	for ctx.Err() == nil && (e.store.fs.isHalted() || e.store.disk.check(false) != nil) {
		pause(ctx, remakePause)
	}
	return ctx.Err()
}

// remadeTemplate makes the template of the new space of one stored photo, as soon as the extractor has time.
func (e *Engine) remadeTemplate(ctx context.Context, g, next *gallery, id string, key *subjectKey, number uint32) (Template, error) {
	photo, err := g.photo(e.store, id, key, number)
	if err != nil {
		return Template{}, err
	}
	t := Template{Space: next.record.Space, Photo: photo}
	for wait := busyPause; ; wait = min(2*wait, busyPauseMax) {
		t.Vector, err = e.extractStored(ctx, t.Space, photo)
		if !errors.Is(err, ErrBusy) || ctx.Err() != nil {
			break
		}
		pause(ctx, wait)
	}
	if err == nil {
		t.Vector, err = next.unitVector(t)
	}
	return t, err
}

// extractStored is Config.Extract; a panic in it is an error: there is no request that it would end, but the process, and again
// after every start.
func (e *Engine) extractStored(ctx context.Context, space string, p *Photo) (v []float32, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("engine: panic in the extractor: %v\n%s", r, debug.Stack())
		}
	}()
	return e.extract(ctx, space, p.Image, p.Box)
}

// reasonInternal is why a photo can't be used where the cause is only logged.
const reasonInternal = "internal"

func reasonOf(err error) string { return cmp.Or(Detail(err), reasonInternal) }

// remake stages the person of the successor: the one of the old space but for the templates. Their numbers, times and sources are those
// of the templates whose photos they were made of, and the record's version is the old one's (P3).
func (p *personTx) remake(old personRecord, made []remade) {
	p.record = old
	p.record.templates, p.record.history = nil, nil
	vectors := make([][]float32, len(made))
	for i, m := range made {
		p.storeTemplate(m.templateRecord, m.Template)
		vectors[i] = m.Vector
	}
	p.recent.clears, p.recent.vectors = true, vectors
	p.inMemory = func() { p.g.put(p.id, old.version, p.traits, len(vectors), vectors) }
	p.stage()
}
