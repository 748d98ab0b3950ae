package engine

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// PutPerson makes a person exactly what spec says: enrols who is new (created), replaces who is there. The
// vectors are normalised into copies. While the gallery is being moved, the templates may be of both spaces: those of
// each replace what the person has of it (M3). Errors: ErrID, ErrGalleryNotFound, ErrSpaceUnknown, ErrSpaceMismatch,
// ErrTemplateCount, ErrTemplateLength, ErrTemplateNotFinite, ErrTemplateZeroNorm, ErrMetadata, ErrGate, ErrQuality and
// ErrUnjudged (of the gallery's gate for enrolment and each Template.Photo), ErrPhotoSize (of a gallery that keeps photos),
// ErrVersion, ErrRetention, and those of every write (see CreateGallery).
func (e *Engine) PutPerson(ctx context.Context, tenant, name, id string, spec PersonSpec) (Person, bool, error) {
	created := false
	p, err := e.changePerson(ctx, AuditPersonPut, tenant, name, id, spec.WriteOptions, false, func(g enrolment, c *enrolChecks) (personChange, error) {
		own, next, err := g.units(spec.Templates, MaxTemplates)
		if err != nil {
			return nil, err
		}
		metadata, err := compactMetadata(spec.Metadata)
		if err != nil {
			return nil, err
		}
		expires, err := millisOf("expires", spec.Expires)
		if err != nil {
			return nil, err
		}
		consent, err := spec.Consent.record()
		if err != nil {
			return nil, err
		}
		if err := c.begin(ctx, e, g, spec.EnrolOptions, own, next); err != nil {
			return nil, err
		}
		return func(p *personTx) error {
			if created = !p.there(); created && p.old != nil { // due, and not erased yet: that, and somebody new
				p.auditErasure()
				p.record.created = p.now
				if err := p.forget(); err != nil {
					return err
				}
			}
			if created && len(own) == 0 {
				return refuse(ErrSpaceMismatch, "the gallery is of embedding space %q until its move to %q is finished, and this person is new: "+
					"send templates of both", g.record.Space, g.next.record.Space)
			}
			if len(own) > 0 {
				p.replaceTemplates(own)
			}
			if p.next != nil {
				p.next.replaceTemplates(next)
			}
			p.record.metadata = metadata
			return p.retain(expires, consent)
		}, nil
	})
	return p, created && err == nil, err
}

// AddTemplate adds one template to a person who is there; while the gallery is being moved, one of either space or one of
// each. Errors: as PutPerson, ErrPersonNotFound, ErrTemplatesFull.
func (e *Engine) AddTemplate(ctx context.Context, tenant, name, id string, spec TemplateSpec) (Person, error) {
	return e.changePerson(ctx, AuditTemplateAdd, tenant, name, id, spec.WriteOptions, true, func(g enrolment, c *enrolChecks) (personChange, error) {
		own, next, err := g.units(spec.Templates, 1)
		if err != nil {
			return nil, err
		}
		if err := c.begin(ctx, e, g, spec.EnrolOptions, own, next); err != nil {
			return nil, err
		}
		return func(p *personTx) error {
			if err := p.addTemplate(own); err != nil || p.next == nil {
				return err
			}
			return p.next.addTemplate(next)
		}, nil
	})
}

// PatchPerson changes what patch names of a person, and counts up the version if that is nothing. Errors: ErrID,
// ErrGalleryNotFound, ErrPersonNotFound, ErrMetadata, ErrRetention, ErrStatus, ErrVersion, and those of every write.
func (e *Engine) PatchPerson(ctx context.Context, tenant, name, id string, patch PersonPatch) (Person, error) {
	return e.changePerson(ctx, AuditPersonUpdate, tenant, name, id, patch.WriteOptions, true, func(enrolment, *enrolChecks) (personChange, error) {
		retain, err := patch.retention()
		if err := cmp.Or(err, patch.Status.validate()); err != nil {
			return nil, err
		}
		var metadata json.RawMessage
		if patch.Metadata != nil {
			metadata, err = compactMetadata(*patch.Metadata)
		}
		return func(p *personTx) error {
			if patch.Metadata != nil {
				p.record.metadata = metadata
			}
			if patch.Status != "" {
				p.record.suspended = patch.Status == StatusSuspended
			}
			return retain(p)
		}, err
	})
}

// retention is what the patch changes of a person's retention. Errors: ErrRetention.
func (patch PersonPatch) retention() (personChange, error) {
	if patch.Expires == nil && patch.Consent == nil {
		return func(*personTx) error { return nil }, nil
	}
	expires, consent := int64(0), (*consentRecord)(nil)
	var err, err2 error
	if patch.Expires != nil {
		expires, err = millisOf("expires", *patch.Expires)
	}
	if patch.Consent != nil {
		consent, err2 = (*patch.Consent).record()
	}
	return func(p *personTx) error {
		if patch.Consent == nil {
			consent = p.record.consent
		}
		if patch.Expires == nil {
			p.record.consent = consent
			return p.notDue()
		}
		return p.retain(expires, consent)
	}, cmp.Or(err, err2)
}

// DeletePerson deletes a person with all templates. It is let through on a nearly full disk. Errors: ErrID,
// ErrGalleryNotFound, ErrPersonNotFound, ErrVersion, and those of every write.
func (e *Engine) DeletePerson(ctx context.Context, tenant, name, id string, o WriteOptions) error {
	return e.deletePerson(ctx, AuditPersonDelete, tenant, name, id, o, func(p *personTx) error {
		p.done(nil, false)
		return nil
	})
}

// deletePerson calls look with who is about to be deleted, and has it recorded as op.
func (e *Engine) deletePerson(ctx context.Context, op, tenant, name, id string, o WriteOptions, look func(*personTx) error) error {
	if err := e.enterPerson(ctx, tenant, name, id); err != nil {
		return err
	}
	defer e.leave()
	return e.enrolling(tenant, name, func(g enrolment) error {
		return e.store.update(ctx, true, func(t *tx) error {
			p, err := g.personTx(t, id)
			if err != nil {
				return err
			}
			if err := p.check(o, true); err != nil {
				return err
			}
			p.auditPerson(op)
			if err := look(p); err != nil {
				return err
			}
			return p.erase()
		})
	})
}

// Person returns a person as of the last acknowledged write, without biometrics. A record that is visible but
// not yet durable is waited for. Errors: ErrID, ErrGalleryNotFound, ErrPersonNotFound, ErrStorageFailed (for
// who was being written when the disk failed), ErrCorrupt, ErrClosed, ctx's.
func (e *Engine) Person(ctx context.Context, tenant, name, id string) (Person, error) {
	if err := e.enterPerson(ctx, tenant, name, id); err != nil {
		return Person{}, err
	}
	defer e.leave()
	return inGallery(e, tenant, name, func(g *gallery) (Person, error) { return e.person(ctx, g, id) })
}

func (e *Engine) person(ctx context.Context, g *gallery, id string) (Person, error) {
	sealed, found, err := e.store.get(nil, personKey(g.record.Number, id))
	if err != nil {
		return Person{}, err
	}
	var r *personRecord
	version := uint64(0)
	if found {
		if r, err = g.openPerson(id, sealed); err != nil {
			return Person{}, err
		}
		version = r.version
	}
	if g.unsynced.Load() != 0 && version != g.version(id) {
		if err := e.store.settle(ctx, e.store.last.Load()); err != nil {
			return Person{}, err
		}
	}
	if !found || g.isDue(r.due()) {
		return Person{}, errPersonNotFound
	}
	p := r.person(id)
	p.Moved = g.hasMoved(id)
	return p, nil
}

// maxPageBytes ends a page of people early: a thousand with full metadata would be 16 MB.
const maxPageBytes = 8 << 20

// People returns up to limit people by id (bytewise), after the cursor's place, and the cursor of the next
// page, "" at the end; limit 0 is DefaultListLimit. Who is there from the first page to the last is listed once,
// whatever changes meanwhile; who comes or goes meanwhile may be. Errors: ErrID, ErrLimit, ErrCursor,
// ErrGalleryNotFound, ErrStorageFailed (if a write to this gallery was under way when the disk failed),
// ErrCorrupt, ErrClosed, ctx's.
func (e *Engine) People(ctx context.Context, tenant, name string, limit int, cursor string) (people []Person, next string, err error) {
	if err := e.enter(ctx); err != nil {
		return nil, "", err
	}
	defer e.leave()
	if _, err := e.gallery(tenant, name); err != nil {
		return nil, "", err
	}
	limit = cmp.Or(limit, DefaultListLimit)
	if limit < 1 || limit > MaxListLimit {
		return nil, "", refuse(ErrLimit, "limit is %d: it must be from 1 to %d", limit, MaxListLimit)
	}
	after, err := parseCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	more := false
	people, err = inGallery(e, tenant, name, func(g *gallery) (people []Person, err error) {
		people, more, err = e.page(ctx, g, after, 0, limit)
		return people, err
	})
	if err != nil {
		return nil, "", err
	}
	if more {
		next = formatCursor(people[len(people)-1].ID)
	}
	return people, next, nil
}

// MaxListOffset is how many people PeopleAt passes over at most.
const MaxListOffset = 1_000_000

// PeopleAt is People by place: the people behind the first offset, by id (bytewise), as many as there are up to limit, and how many the
// gallery has in all, with those who are due and not erased yet. It is for APIs that count: who comes or goes meanwhile moves the
// places of all behind, so that a list of several pages may have people twice, or not. To pass over somebody takes about a microsecond, and opens
// no record. Errors: as People, without ErrCursor.
func (e *Engine) PeopleAt(ctx context.Context, tenant, name string, offset, limit int) (people []Person, total int, err error) {
	if err := e.enter(ctx); err != nil {
		return nil, 0, err
	}
	defer e.leave()
	if _, err := e.gallery(tenant, name); err != nil {
		return nil, 0, err
	}
	if limit = cmp.Or(limit, DefaultListLimit); limit < 1 || limit > MaxListLimit {
		return nil, 0, refuse(ErrLimit, "limit is %d: it must be from 1 to %d", limit, MaxListLimit)
	}
	if offset < 0 || offset > MaxListOffset {
		return nil, 0, refuse(ErrLimit, "offset is %d: it must be from 0 to %d", offset, MaxListOffset)
	}
	people, err = inGallery(e, tenant, name, func(g *gallery) ([]Person, error) {
		total, _ = g.counts()
		people, more, err := e.page(ctx, g, "", offset, limit)
		for more && err == nil && len(people) < limit { // a page of large records ends early
			var rest []Person
			rest, more, err = e.page(ctx, g, people[len(people)-1].ID, 0, limit-len(people))
			people = append(people, rest...)
		}
		return people, err
	})
	if err != nil {
		return nil, 0, err
	}
	return people, total, nil
}

// page reads up to limit people after an id, behind the first skip of those, and says whether there are more. Errors: the store's, errMoved.
func (e *Engine) page(ctx context.Context, g *gallery, after string, skip, limit int) (people []Person, more bool, err error) {
	prefix := galleryPrefix(prefixPerson, g.record.Number)
	lower := prefix
	if after != "" {
		lower = append(personKey(g.record.Number, after), 0) // the first key after it
	}
	people = []Person{}
	size := 0
	err = e.store.each(lower, prefixEnd(prefix), func(key, value []byte) (bool, error) {
		if more = len(people) == limit || size > maxPageBytes; more {
			return false, nil
		}
		id := key[len(prefix):]
		if skip > 0 && g.isThere(id) {
			skip--
			return true, ctx.Err()
		}
		r, err := g.openPerson(string(id), value)
		if err != nil {
			return false, err
		}
		switch {
		case g.isDue(r.due()):
		case skip > 0: // not in memory yet
			skip--
		default:
			people, size = append(people, r.person(string(id))), size+len(value)
		}
		return true, ctx.Err()
	})
	if err == nil && g.unsynced.Load() != 0 {
		if err = e.store.settle(ctx, e.store.last.Load()); err == nil && !e.holds(g) {
			err = errMoved // or deleted: nobody was there to read
		}
	}
	for i, p := range people {
		people[i].Moved = g.hasMoved(p.ID)
	}
	return people, more, err
}

// isThere reports whether memory has the person, and not as one who is due.
func (g *gallery) isThere(id []byte) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	m := g.mu.people[string(id)]
	return m != nil && !g.isDue(m.due)
}

// cursorVersion leads a cursor's bytes; the id that was listed last follows.
const cursorVersion = 1

func formatCursor(id string) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{cursorVersion}, id...))
}

func parseCursor(cursor string) (after string, err error) {
	if cursor == "" {
		return "", nil
	}
	if len(cursor) <= base64.RawURLEncoding.EncodedLen(1+MaxIDBytes) {
		b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
		if err == nil && len(b) > 1 && b[0] == cursorVersion && checkPersonID(string(b[1:])) == nil && formatCursor(string(b[1:])) == cursor {
			return string(b[1:]), nil // compared because the decoder passes over line ends
		}
	}
	return "", errCursor
}

// enterPerson is enter for calls about one person; the caller must leave unless err is set.
func (e *Engine) enterPerson(ctx context.Context, tenant, name, id string) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	_, err := e.gallery(tenant, name)
	if err == nil {
		err = checkPersonID(id)
	}
	if err != nil {
		e.leave()
	}
	return err
}

// personChange stages a change of a person's record.
type personChange func(*personTx) error

// changePerson runs prepare outside the store's turn and what it returns inside, if o allows the write, and writes the
// record, and op in the audit log. there says that the person must be there. Whom the checks that prepare began find the
// enrolment to duplicate is in the answer.
func (e *Engine) changePerson(ctx context.Context, op, tenant, name, id string, o WriteOptions, there bool,
	prepare func(enrolment, *enrolChecks) (personChange, error)) (after Person, err error) {
	if err := e.enterPerson(ctx, tenant, name, id); err != nil {
		return Person{}, err
	}
	defer e.leave()
	err = e.enrolling(tenant, name, func(g enrolment) error {
		var checks enrolChecks
		defer checks.end()
		change, err := prepare(g, &checks)
		if err != nil {
			return err
		}
		return e.store.update(ctx, false, func(t *tx) error {
			p, err := g.personTx(t, id)
			if err != nil {
				return err
			}
			p.by = actorOf(ctx).Key
			if p.next != nil {
				p.next.by = p.by
			}
			if err := p.check(o, there); err != nil {
				return err
			}
			duplicates, err := checks.complete(id)
			if err != nil {
				return err
			}
			if err := cmp.Or(p.modernise(), p.next.modernise()); err != nil {
				return err
			}
			if err := change(p); err != nil {
				return err
			}
			after = p.write()
			p.auditPerson(op)
			after.Duplicates = duplicates
			p.doneOf(after, !p.there())
			return p.raiseFormat()
		})
	})
	if err != nil {
		return Person{}, err
	}
	return after, nil
}

// enrolment is where a write of a person goes: the gallery, and the one that it is being moved to, nil if it is not.
type enrolment struct {
	*gallery
	next *gallery
}

// units checks templates against the spaces of an enrolment and the gallery's gate, and returns copies of norm 1, by space: at least one, and at
// most limit of each. Errors: ErrTemplateCount and those of a template.
func (g enrolment) units(templates []Template, limit int) (own, next []Template, err error) {
	spaces := 1
	if g.next != nil {
		spaces = 2
	}
	if n := len(templates); n < 1 || n > spaces*limit {
		return nil, nil, refuse(ErrTemplateCount, "the person has %d templates: send 1 to %d", n, limit)
	}
	gate := g.rules.Load().gate.Enrol
	for i, t := range templates {
		if len(t.Source) > MaxSourceBytes { // said by the server, not by clients
			return nil, nil, fmt.Errorf("engine: source of template %d has %d bytes, at most %d", i, len(t.Source), MaxSourceBytes)
		}
		to, list := g.gallery, &own
		if g.next != nil && t.Space == g.next.record.Space {
			to, list = g.next, &next
		}
		if t.Vector, err = to.unitVector(t); err != nil {
			return nil, nil, err
		}
		if err := gate.admit(t); err != nil {
			return nil, nil, atTemplate(err, i)
		}
		if n := len(t.image()); g.record.KeepPhotos && n > MaxPhotoBytes {
			return nil, nil, &PhotoSizeError{i, n}
		}
		if *list = append(*list, t); len(*list) > limit {
			return nil, nil, refuse(ErrTemplateCount, "there are more templates of embedding space %q than %d, the most that are taken here", t.Space, limit)
		}
	}
	return own, next, nil
}

// personTx is a write of one person.
type personTx struct {
	*tx
	g        *gallery
	id       string
	by       string        // id of the key that writes
	old      *personRecord // nil: new
	record   personRecord
	key      *subjectKey
	inMemory func() // changes the person's templates in memory; nil if they stay
	recent   recentWrite
	traits   traits       // of the record that is staged
	next     *personTx    // of the same person in the gallery's successor; nil if there is none
	block    *importBlock // which changes memory for all its people; nil but for imports
}

// personTx begins with the records as the store will have them. Errors: ErrGalleryNotFound, if the gallery is
// being deleted; errMoved.
func (g enrolment) personTx(t *tx, id string) (*personTx, error) {
	if err := g.check(t); err != nil {
		return nil, err
	}
	p, err := g.gallery.personTx(t, id)
	if err != nil || g.next == nil {
		return p, err
	}
	if p.next, err = g.next.personTx(t, id); err != nil {
		return nil, err
	}
	p.next.record.next = p.record.next // it may be new: numbers go on
	return p, nil
}

// check refuses a write whose view of the gallery is not the store's. Errors: as personTx.
func (g enrolment) check(t *tx) error {
	have, found, err := t.gallery(g.tenant, g.name)
	switch {
	case err != nil:
		return err
	case !found:
		return errGalleryNotFound
	case have.Number != g.record.Number || have.successor() != g.next.number():
		return errMoved
	}
	return nil
}

// personTx begins with the record as the store will have it.
func (g *gallery) personTx(t *tx, id string) (*personTx, error) {
	p := g.newPersonTx(t, id)
	sealed, found, err := t.get(personKey(g.record.Number, id))
	if err != nil || !found {
		p.key = g.newSubjectKey(id)
		return p, err
	}
	if p.old, err = g.openPerson(id, sealed); err != nil {
		return nil, err
	}
	p.record, p.key = *p.old, p.old.key
	p.record.templates = slices.Clone(p.old.templates)
	p.record.history = slices.Clone(p.old.history)
	return p, nil
}

// newPersonTx begins with nobody there.
func (g *gallery) newPersonTx(t *tx, id string) *personTx {
	return &personTx{tx: t, g: g, id: id, record: personRecord{created: t.now, next: 1}}
}

// setTemplate stores a template under the next number, with its photo if the gallery keeps photos. REQUIRES: its vector is of
// norm 1.
func (p *personTx) setTemplate(t Template) {
	p.storeTemplate(templateRecord{number: p.record.next, created: p.now, source: cmp.Or(t.Source, "template"), quality: t.quality(), by: p.by}, t)
	p.record.next++
}

// storeTemplate stores a template as what r says, but for r.photo, which is set here. REQUIRES: its vector is of norm 1.
func (p *personTx) storeTemplate(r templateRecord, t Template) {
	plain := appendVector(make([]byte, 0, 4*len(t.Vector)), t.Vector)
	p.set(templateKey(p.g.record.Number, p.id, r.number), p.g.sealRow(p.key, p.g.templatePlace(p.id, r.number), plain))
	clear(plain)
	if r.photo = p.g.record.KeepPhotos && len(t.image()) > 0; r.photo {
		p.setPhoto(r.number, t.Photo)
	}
	p.record.templates = append(p.record.templates, r)
}

// dropTemplates deletes the person's templates, and keeps what is known of the latest of them and of the history, as many as
// keep says.
func (p *personTx) dropTemplates(keep int) {
	for _, t := range p.record.templates {
		p.delete(templateKey(p.g.record.Number, p.id, t.number))
		if t.photo {
			p.delete(photoKey(p.g.record.Number, p.id, t.number))
		}
		t.photo, t.replaced = false, p.now
		p.record.history = append(p.record.history, t)
	}
	p.record.templates = nil
	if p.record.history = p.record.history[max(len(p.record.history)-keep, 0):]; len(p.record.history) == 0 {
		p.record.history = nil
	}
}

func (p *personTx) replaceTemplates(templates []Template) {
	p.dropTemplates(p.g.rules.Load().history)
	if p.old != nil { // what was sealed before opens in no row of after (K1)
		p.key = p.g.newSubjectKey(p.id)
	}
	vectors := make([][]float32, len(templates))
	for i, t := range templates {
		p.setTemplate(t)
		vectors[i] = t.Vector
	}
	p.recent.clears, p.recent.vectors = true, vectors
	p.inMemory = func() { p.g.put(p.id, p.seq, p.traits, len(vectors), vectors) }
}

// addTemplate adds what there is, one template or none. Errors: ErrTemplatesFull.
func (p *personTx) addTemplate(templates []Template) error {
	switch {
	case len(templates) == 0:
	case len(p.record.templates) >= MaxTemplates:
		return refuse(ErrTemplatesFull, "the person has %d templates, the most there may be: replace the person to drop old ones", MaxTemplates)
	case p.old == nil:
		p.replaceTemplates(templates)
	default:
		p.setTemplate(templates[0])
		p.recent.vectors = [][]float32{templates[0].Vector}
		p.inMemory = func() { p.g.addTemplate(p.id, p.seq, p.traits, templates[0].Vector) }
	}
	return nil
}

// write stages the records and returns the person as it will be.
func (p *personTx) write() Person {
	p.record.version, p.record.updated = p.seq, p.now
	if p.next != nil { // numbers are never used again in either space
		p.record.next = max(p.record.next, p.next.record.next)
	}
	p.stage()
	person := p.record.person(p.id)
	if p.next != nil {
		person.Moved = len(p.next.record.templates) > 0
		p.next.follow(p.record)
		p.queuePhotos(!person.Moved && p.record.hasPhotos())
	}
	return person
}

// follow stages the record of the person in the successor: there only if it has templates, and but for them the same (M2).
func (p *personTx) follow(r personRecord) {
	if len(p.record.templates) == 0 {
		if p.old != nil {
			p.eraseRows()
		}
		return
	}
	r.templates, r.history = p.record.templates, p.record.history
	p.record = r
	p.stage()
}

// auditPerson has the write recorded.
func (p *personTx) auditPerson(op string) {
	p.audit(auditEntry{tenant: p.g.tenant, op: op, gallery: p.g.name, person: p.id})
}

func (p *personTx) stage() {
	p.setRecord()
	due := p.record.due()
	p.stageDue(due)
	p.traits = p.g.traitsOf(&p.record)
	if p.block != nil {
		return
	}
	if p.inMemory == nil {
		p.inMemory = func() { p.g.touch(p.id, p.seq, p.traits) }
	}
	p.finish(func() {
		p.inMemory()
		p.g.setDue(p.id, due)
	})
}

// raiseFormat makes the store one that can hold the records, when they are staged.
func (p *personTx) raiseFormat() error {
	if p.record.extended() || p.next != nil && p.next.record.extended() {
		return p.tx.raiseFormat(identityFormat)
	}
	return nil
}

// setRecord seals the record as it is.
func (p *personTx) setRecord() {
	row, plain := personKey(p.g.record.Number, p.id), p.record.append(make([]byte, 0, 96+len(p.record.metadata)))
	if p.key == nil {
		p.set(row, p.g.seal.seal(p.g.personPlace(p.id), plain))
		return
	}
	p.set(row, p.key.sealPerson(p.g.personPlace(p.id), plain))
}

// modernise gives a person of before format 5 a key of their own: all that stays of them is sealed with it, in both spaces of a
// move. Errors: ErrCorrupt, the store's. REQUIRES: nothing is staged of the person yet, and the record will be.
func (p *personTx) modernise() error {
	if p == nil || p.old == nil || p.key != nil {
		return nil
	}
	p.key = p.g.newSubjectKey(p.id)
	for _, t := range p.old.templates {
		if err := p.reseal(templateKey(p.g.record.Number, p.id, t.number), p.g.templatePlace(p.id, t.number)); err != nil {
			return err
		}
		if !t.photo {
			continue
		}
		if err := p.reseal(photoKey(p.g.record.Number, p.id, t.number), p.g.photoPlace(p.id, t.number)); err != nil {
			return err
		}
	}
	return nil
}

// reseal stages a row that the tenant's data key has sealed, sealed with the person's.
func (p *personTx) reseal(row []byte, at place) error {
	sealed, found, err := p.get(row)
	if err != nil || !found {
		return cmp.Or(err, fmt.Errorf("%w: a person without a %s", ErrCorrupt, at.kind))
	}
	plain, err := p.g.seal.open(nil, at, sealed)
	if err == nil {
		p.set(row, p.key.seal(at, plain))
		clear(plain)
	}
	return err
}

// erase stages the deletion of the person, in the successor too, with what is kept about them. Errors: the store's.
// REQUIRES: p.old is not nil.
func (p *personTx) erase() error {
	p.eraseRows()
	return p.forget()
}

func (p *personTx) eraseRows() {
	p.dropTemplates(0)
	p.g.dropResults(p.tx, p.id)
	p.delete(personKey(p.g.record.Number, p.id))
	p.recent.clears = true
	p.stageDue(0)
	p.finish(func() { p.g.remove(p.id) })
	if p.next == nil {
		return
	}
	if p.next.old != nil {
		p.next.eraseRows()
	}
	p.queuePhotos(false)
}

// finish marks the gallery as having an unsynced write until remember, and what is to be remembered already, has run.
func (p *personTx) finish(remember func()) {
	g, w := p.g, p.recent
	w.person, w.seq = p.id, p.seq
	p.onHandOver = append(p.onHandOver, func() {
		g.unsynced.Add(1)
		g.recent.add(w)
	})
	p.also(func() {
		remember()
		g.unsynced.Add(-1)
		g.recent.remember(w.seq)
	})
}

// also adds to what is to be remembered.
func (t *tx) also(f func()) {
	before := t.remember
	t.remember = func() {
		if before != nil {
			before()
		}
		f()
	}
}

func (g *gallery) personPlace(id string) place {
	return place{kind: kindPerson, tenant: g.tenant, gallery: g.record.Number, person: id}
}

func (g *gallery) templatePlace(id string, number uint32) place {
	return place{kind: kindTemplate, tenant: g.tenant, gallery: g.record.Number, person: id, number: number, space: g.record.Space}
}

// atTemplate says in a refusal of a gate which template it is about.
func atTemplate(err error, i int) error {
	if e, ok := errors.AsType[*QualityError](err); ok {
		e.Template = i
	}
	return err
}

// appendProbe appends the unit vector of a template that the gallery is asked about to dst.
func (g *gallery) appendProbe(dst []float32, t Template) ([]float32, error) {
	v, err := g.appendUnit(dst, t)
	if err != nil {
		return nil, err
	}
	return v, g.rules.Load().gate.Probe.admit(t)
}

// unitVector is that of a template of the gallery's space.
func (g *gallery) unitVector(t Template) ([]float32, error) { return g.appendUnit(nil, t) }

func (g *gallery) appendUnit(dst []float32, t Template) ([]float32, error) {
	if err := g.spaceKnown(); err != nil {
		return nil, err
	}
	if t.Space != g.record.Space {
		return nil, &SpaceMismatchError{Want: g.record.Space, Got: t.Space, Against: "gallery"}
	}
	return appendUnit(dst, *g.space, t.Vector)
}
