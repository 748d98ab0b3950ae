package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
)

// StartMove begins to move a gallery to another space, where it goes when FinishMove is called: until then searches and
// verifications go on in the space it has, and writes take templates of both (doc.go, M1 to M5). A gallery that is in the
// space already, or on its way there by the same spec, is left as it is. Errors: ErrID, ErrGalleryNotFound, ErrGallerySpec
// (no space is named), ErrSpaceUnknown, ErrPolicy, ErrMoving (to another space, or with another policy), and those of every
// write (see CreateGallery).
func (e *Engine) StartMove(ctx context.Context, tenant, name string, spec MoveSpec) (Gallery, error) {
	return e.changeMove(ctx, tenant, name, false, func(t *tx, have galleryRecord) error {
		if spec.Space == "" {
			return refuse(ErrGallerySpec, "name the embedding space that the gallery is to be moved to")
		}
		space, err := e.Space(spec.Space)
		if err != nil {
			return err
		}
		if err := spec.Policy.Validate(); err != nil {
			return err
		}
		return e.stageMove(t, tenant, name, have, space, spec.Policy)
	})
}

func (e *Engine) stageMove(t *tx, tenant, name string, have galleryRecord, space Space, policy Policy) (err error) {
	if have.Move == nil && have.Space == space.ID {
		return nil
	}
	move := &moveRecord{Space: space.ID, Dim: space.Dim}
	if !policy.IsZero() {
		move.Policy = new(recordOfPolicy(policy))
	}
	if have.Move != nil {
		return have.Move.same(move)
	}
	if move.Number, err = t.nextGalleryNumber(); err != nil {
		return err
	}
	have.Move = move
	if err := have.checkMovedPolicy(); err != nil {
		return err
	}
	seal, err := e.tenantSealer(t, tenant)
	if err != nil {
		return err
	}
	next, err := e.newSuccessor(tenant, name, have.moved(), seal)
	if err != nil {
		return err
	}
	if next.mu.index, err = e.newIndex(next); err != nil {
		return err
	}
	t.setGallery(tenant, name, have)
	t.audit(auditEntry{tenant: tenant, op: AuditMoveStart, gallery: name, target: space.ID, policy: auditPolicyOf(policy)})
	if err := t.raiseFormat(moveFormat); err != nil {
		return err
	}
	t.remember = func() {
		e.withGallery(tenant, name, func(g *gallery) { g.successor.Store(next) })
		next.photos.signal()
	}
	return nil
}

// newSuccessor makes the gallery that a move ends in, without an index.
func (e *Engine) newSuccessor(tenant, name string, r galleryRecord, seal *tenantKeys) (*gallery, error) {
	next, err := e.newGallery(tenant, name, r, seal)
	if err == nil && r.KeepPhotos && next.space != nil && e.extract != nil {
		next.photos = &photoQueue{work: e.photoWork}
	}
	return next, err
}

// same refuses a move that is not the one under way.
func (m *moveRecord) same(want *moveRecord) error {
	policy := func(m *moveRecord) Policy {
		if m.Policy == nil {
			return Policy{}
		}
		return m.Policy.policy()
	}
	if m.Space == want.Space && policy(m).equal(policy(want)) {
		return nil
	}
	return refuse(ErrMoving, "the gallery is being moved to embedding space %q already, perhaps with another policy: finish that, or cancel it", m.Space)
}

// checkMovedPolicy refuses to take a policy to another space where it would mean something else.
func (r galleryRecord) checkMovedPolicy() error {
	if m := r.moved(); r.Move.Policy == nil && m.Policy.Cosine != nil {
		return refuse(ErrPolicy, "the gallery's policy is a cosine, which means something else in another embedding space: state the policy for %q", m.Space)
	}
	return nil
}

// FinishMove puts the gallery in the space that it is being moved to: every call that begins after FinishMove has
// returned finds the people by their templates of that space, and those of the old one are gone (M4). Who has none of the new
// space makes it refuse, unless drop is true: then they are deleted. A gallery that is in the space already is left as it
// is, so a call may be repeated. Errors: ErrID, ErrGalleryNotFound, ErrNotMoving, ErrMoving (to another space),
// ErrMoveIncomplete, ErrSpaceUnknown, ErrPolicy (see StartMove), and those of every write. It is let through on a nearly
// full disk.
func (e *Engine) FinishMove(ctx context.Context, tenant, name, space string, drop bool) (Gallery, error) {
	return e.changeMove(ctx, tenant, name, true, func(t *tx, have galleryRecord) error {
		switch {
		case have.Move == nil && have.Space == space:
			return nil
		case have.Move == nil:
			return errNotMoving
		case have.Move.Space != space:
			return refuse(ErrMoving, "the gallery is being moved to embedding space %q and not to %q", have.Move.Space, space)
		}
		if err := have.checkMovedPolicy(); err != nil {
			return err
		}
		// Who writes waits for this one, so memory is what the store is (W2): it counts the people.
		if err := t.store.settle(ctx, t.store.last.Load()); err != nil {
			return err
		}
		g, err := e.gallery(tenant, name)
		if err != nil {
			return err
		}
		next := g.successor.Load()
		if err := next.spaceKnown(); err != nil {
			return err
		}
		if left := g.people() - next.people(); left > 0 && !drop {
			waiting, _ := next.photos.counts(left)
			return refuse(ErrMoveIncomplete, "%d of %d people have no templates of embedding space %q%s: enrol them again, or say that they are to be dropped",
				left, g.people(), space, stillWaiting(waiting))
		}
		t.setGallery(tenant, name, have.moved())
		t.audit(auditEntry{tenant: tenant, op: AuditMoveFinish, gallery: name, target: space, note: droppedNote(g.people() - next.people())})
		t.deletePeople(have.Number)
		e.dropJobs(t, have.Number)
		e.markUnsynced(t, tenant, name, have.Number)
		t.remember = func() { e.switchGallery(g, next) }
		return t.eraseDocuments(tenant, name, "", func(person string) bool { return next.version(person) == 0 })
	})
}

// droppedNote is what the record of a switch says of the people whom it deleted.
func droppedNote(people int) string {
	if people == 0 {
		return ""
	}
	return fmt.Sprintf("%d people who had no templates of the space were deleted", people)
}

func stillWaiting(people int) string {
	if people == 0 {
		return ""
	}
	return fmt.Sprintf(", and of %d it was not looked yet whether photos are stored: wait for them", people)
}

// switchGallery puts next in the place of g. A search that has begun in g ends in it: what closes its index waits.
func (e *Engine) switchGallery(g, next *gallery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.galleries[galleryName{g.tenant, g.name}] = next
	next.photos.end()
	e.retireLocked(g)
}

// CancelMove ends a move: the gallery stays where it is, and the templates of the other space are deleted. It is let
// through on a nearly full disk. Errors: ErrID, ErrGalleryNotFound, ErrNotMoving, and those of every write.
func (e *Engine) CancelMove(ctx context.Context, tenant, name string) error {
	_, err := e.changeMove(ctx, tenant, name, true, func(t *tx, have galleryRecord) error {
		if have.Move == nil {
			return errNotMoving
		}
		t.audit(auditEntry{tenant: tenant, op: AuditMoveCancel, gallery: name, target: have.Move.Space})
		t.deletePeople(have.Move.Number)
		t.done(nil, false)
		have.Move = nil
		t.setGallery(tenant, name, have)
		t.remember = func() {
			e.withGallery(tenant, name, func(g *gallery) {
				next := g.successor.Swap(nil)
				next.photos.end()
				e.retireLocked(next)
			})
		}
		return nil
	})
	return err
}

// changeMove is a write about a gallery's move; stage gets the record as the store will have it.
func (e *Engine) changeMove(ctx context.Context, tenant, name string, removal bool, stage func(*tx, galleryRecord) error) (Gallery, error) {
	if err := e.enter(ctx); err != nil {
		return Gallery{}, err
	}
	defer e.leave()
	if err := cmp.Or(checkNames(tenant, name), e.checkDamage(tenant, name)); err != nil {
		return Gallery{}, err
	}
	err := e.store.update(ctx, removal, func(t *tx) error {
		have, found, err := t.gallery(tenant, name)
		if err != nil {
			return err
		}
		if !found {
			return errGalleryNotFound
		}
		return stage(t, have)
	})
	if err != nil {
		return Gallery{}, err
	}
	g, err := e.gallery(tenant, name)
	if err != nil {
		return Gallery{}, err // deleted meanwhile
	}
	return g.info(), nil
}

// withGallery calls f with a durable gallery while mu is held. REQUIRES: it is there, as it is for who changes memory in
// commit order.
func (e *Engine) withGallery(tenant, name string, f func(*gallery)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e.mu.galleries[galleryName{tenant, name}])
}

// errMoved says that a call began in a gallery that is another one by now. No client sees it.
var errMoved = errors.New("engine: the gallery was moved meanwhile")

// inGallery runs a call that reads a gallery, and again if it failed for the gallery was moved meanwhile (M5).
func inGallery[T any](e *Engine, tenant, name string, read func(*gallery) (T, error)) (T, error) {
	for {
		g, err := e.gallery(tenant, name)
		if err != nil {
			var none T
			return none, err
		}
		v, err := read(g)
		if err == nil {
			return v, nil
		}
		if now, _ := e.gallery(tenant, name); now == g {
			return v, err
		}
	}
}

// enrolling runs a write of a person, and again if the gallery's move began or ended meanwhile (M5), or if its duplicate check
// could not be completed (D3). The write has waited
// for what it saw (W4), so memory knows of it too.
func (e *Engine) enrolling(tenant, name string, write func(enrolment) error) error {
	for {
		g, err := e.gallery(tenant, name)
		if err != nil {
			return err
		}
		if err := write(enrolment{g, g.successor.Load()}); !errors.Is(err, errMoved) && !errors.Is(err, errStale) {
			return err
		}
	}
}

// holds reports whether a gallery, or the one that is being moved to it, is there still.
func (e *Engine) holds(g *gallery) bool {
	now, err := e.gallery(g.tenant, g.name)
	return err == nil && (now == g || now.successor.Load() == g)
}

// number is the gallery's, 0 for nil.
func (g *gallery) number() uint64 {
	if g == nil {
		return 0
	}
	return g.record.Number
}

// hasMoved reports whether a person has templates of the space that the gallery is being moved to.
func (g *gallery) hasMoved(id string) bool {
	next := g.successor.Load()
	return next != nil && next.version(id) != 0
}

// hasAllOf reports whether everybody of next is in g.
func (g *gallery) hasAllOf(next *gallery) bool {
	for id := range next.mu.people {
		if g.mu.people[id] == nil {
			return false
		}
	}
	return true
}
