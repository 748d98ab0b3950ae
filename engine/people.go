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
// vectors are normalised into copies. Errors: ErrID, ErrGalleryNotFound, ErrSpaceUnknown, ErrSpaceMismatch,
// ErrTemplateCount, ErrTemplateLength, ErrTemplateNotFinite, ErrTemplateZeroNorm, ErrMetadata, ErrGate, ErrQuality and
// ErrUnjudged (of the gallery's gate for enrolment and each Template.Photo), and those of every write (see
// CreateGallery).
func (e *Engine) PutPerson(ctx context.Context, tenant, name, id string, spec PersonSpec) (Person, bool, error) {
	created := false
	p, err := e.changePerson(ctx, tenant, name, id, func(g *gallery) (personChange, error) {
		if g.space == nil {
			_, err := e.searchable(tenant, name)
			return nil, err
		}
		if n := len(spec.Templates); n < 1 || n > MaxTemplates {
			return nil, refuse(ErrTemplateCount, "the person has %d templates: send 1 to %d", n, MaxTemplates)
		}
		metadata, err := compactMetadata(spec.Metadata)
		if err != nil {
			return nil, err
		}
		vectors, err := g.unitVectors(spec.Templates)
		if err != nil {
			return nil, err
		}
		return func(t *personTx) error {
			created = t.old == nil
			t.replaceTemplates(spec.Templates, vectors)
			t.record.metadata = metadata
			t.remember = func() { g.put(id, t.seq, len(vectors), vectors) }
			return nil
		}, nil
	})
	return p, created && err == nil, err
}

// AddTemplate adds one template to a person who is there. Errors: as PutPerson, ErrPersonNotFound,
// ErrTemplatesFull.
func (e *Engine) AddTemplate(ctx context.Context, tenant, name, id string, template Template) (Person, error) {
	return e.changePerson(ctx, tenant, name, id, func(g *gallery) (personChange, error) {
		if g.space == nil {
			_, err := e.searchable(tenant, name)
			return nil, err
		}
		vectors, err := g.unitVectors([]Template{template})
		if err != nil {
			return nil, err
		}
		return func(t *personTx) error {
			if t.old == nil {
				return errPersonNotFound
			}
			if len(t.record.templates) >= MaxTemplates {
				return refuse(ErrTemplatesFull, "the person has %d templates, the most there may be: replace the person to drop old ones", MaxTemplates)
			}
			t.addTemplate(template, vectors[0])
			t.remember = func() { g.addTemplate(id, t.seq, vectors[0]) }
			return nil
		}, nil
	})
}

// PatchPerson replaces a person's metadata, whole; nil or JSON null removes it. Errors: ErrID,
// ErrGalleryNotFound, ErrPersonNotFound, ErrMetadata, and those of every write.
func (e *Engine) PatchPerson(ctx context.Context, tenant, name, id string, metadata json.RawMessage) (Person, error) {
	return e.changePerson(ctx, tenant, name, id, func(g *gallery) (personChange, error) {
		compact, err := compactMetadata(metadata)
		if err != nil {
			return nil, err
		}
		return func(t *personTx) error {
			if t.old == nil {
				return errPersonNotFound
			}
			t.record.metadata = compact
			t.remember = func() { g.touch(id, t.seq) }
			return nil
		}, nil
	})
}

// DeletePerson deletes a person with all templates. It is let through on a nearly full disk. Errors: ErrID,
// ErrGalleryNotFound, ErrPersonNotFound, and those of every write.
func (e *Engine) DeletePerson(ctx context.Context, tenant, gallery, id string) error {
	g, err := e.enterPerson(ctx, tenant, gallery, id)
	if err != nil {
		return err
	}
	defer e.leave()
	return e.store.update(ctx, true, func(t *tx) error {
		p, err := g.personTx(t, id)
		if err != nil {
			return err
		}
		if p.old == nil {
			return errPersonNotFound
		}
		p.dropTemplates()
		p.delete(personKey(g.record.Number, id))
		p.finish(func() { g.remove(id) })
		return nil
	})
}

// Person returns a person as of the last acknowledged write, without biometrics. A record that is visible but
// not yet durable is waited for. Errors: ErrID, ErrGalleryNotFound, ErrPersonNotFound, ErrStorageFailed (for
// who was being written when the disk failed), ErrCorrupt, ErrClosed, ctx's.
func (e *Engine) Person(ctx context.Context, tenant, gallery, id string) (Person, error) {
	g, err := e.enterPerson(ctx, tenant, gallery, id)
	if err != nil {
		return Person{}, err
	}
	defer e.leave()
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
	if !found {
		return Person{}, errPersonNotFound
	}
	return r.person(id), nil
}

// maxPageBytes ends a page of people early: a thousand with full metadata would be 16 MB.
const maxPageBytes = 8 << 20

// People returns up to limit people by id (bytewise), after the cursor's place, and the cursor of the next
// page, "" at the end; limit 0 is DefaultListLimit. Who is there from the first page to the last is listed once,
// whatever changes meanwhile; who comes or goes meanwhile may be. Errors: ErrID, ErrLimit, ErrCursor,
// ErrGalleryNotFound, ErrStorageFailed (if a write to this gallery was under way when the disk failed),
// ErrCorrupt, ErrClosed, ctx's.
func (e *Engine) People(ctx context.Context, tenant, gallery string, limit int, cursor string) (people []Person, next string, err error) {
	if err := e.enter(ctx); err != nil {
		return nil, "", err
	}
	defer e.leave()
	g, err := e.gallery(tenant, gallery)
	if err != nil {
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
	people, more, err := e.page(ctx, g, after, limit)
	if err != nil {
		return nil, "", err
	}
	if more {
		next = formatCursor(people[len(people)-1].ID)
	}
	return people, next, nil
}

// page reads up to limit people after an id and says whether there are more.
func (e *Engine) page(ctx context.Context, g *gallery, after string, limit int) (people []Person, more bool, err error) {
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
		size += len(value)
		id := string(key[len(prefix):])
		r, err := g.openPerson(id, value)
		if err != nil {
			return false, err
		}
		people = append(people, r.person(id))
		return true, ctx.Err()
	})
	if err == nil && g.unsynced.Load() != 0 {
		err = e.store.settle(ctx, e.store.last.Load())
	}
	return people, more, err
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
	return "", refuse(ErrCursor, "the cursor is not one this server gave: pass \"next\" of the page before, unchanged, or none")
}

// enterPerson is enter for calls about one person; the caller must leave unless err is set.
func (e *Engine) enterPerson(ctx context.Context, tenant, gallery, id string) (*gallery, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	g, err := e.gallery(tenant, gallery)
	if err == nil {
		err = checkPersonID(id)
	}
	if err != nil {
		e.leave()
		return nil, err
	}
	return g, nil
}

// personChange stages a change of a person's record.
type personChange func(*personTx) error

// changePerson runs prepare outside the store's turn and what it returns inside, and writes the record.
func (e *Engine) changePerson(ctx context.Context, tenant, name, id string, prepare func(*gallery) (personChange, error)) (Person, error) {
	g, err := e.enterPerson(ctx, tenant, name, id)
	if err != nil {
		return Person{}, err
	}
	defer e.leave()
	change, err := prepare(g)
	if err != nil {
		return Person{}, err
	}
	var after Person
	err = e.store.update(ctx, false, func(t *tx) error {
		p, err := g.personTx(t, id)
		if err != nil {
			return err
		}
		if err := change(p); err != nil {
			return err
		}
		after = p.write()
		return nil
	})
	if err != nil {
		return Person{}, err
	}
	return after, nil
}

// personTx is a write of one person.
type personTx struct {
	*tx
	g      *gallery
	id     string
	old    *personRecord // nil: new
	record personRecord
}

// personTx begins with the record as the store will have it. Errors: ErrGalleryNotFound, if the gallery is
// being deleted.
func (g *gallery) personTx(t *tx, id string) (*personTx, error) {
	have, found, err := t.gallery(g.tenant, g.name)
	if err != nil {
		return nil, err
	}
	if !found || have.Number != g.record.Number {
		return nil, errGalleryNotFound
	}
	p := &personTx{tx: t, g: g, id: id, record: personRecord{created: t.now, next: 1}}
	sealed, found, err := t.get(personKey(g.record.Number, id))
	if err != nil || !found {
		return p, err
	}
	if p.old, err = g.openPerson(id, sealed); err != nil {
		return nil, err
	}
	p.record = *p.old
	p.record.templates = slices.Clone(p.old.templates)
	return p, nil
}

func (p *personTx) addTemplate(t Template, vector []float32) {
	number := p.record.next
	p.record.next++
	p.record.templates = append(p.record.templates, templateRecord{number: number, created: p.now, source: cmp.Or(t.Source, "template")})
	plain := appendVector(make([]byte, 0, 4*len(vector)), vector)
	p.set(templateKey(p.g.record.Number, p.id, number), p.g.seal.seal(p.g.templatePlace(p.id, number), plain))
	clear(plain)
}

func (p *personTx) dropTemplates() {
	for _, t := range p.record.templates {
		p.delete(templateKey(p.g.record.Number, p.id, t.number))
	}
	p.record.templates = nil
}

func (p *personTx) replaceTemplates(templates []Template, vectors [][]float32) {
	p.dropTemplates()
	for i, t := range templates {
		p.addTemplate(t, vectors[i])
	}
}

// write stages the record and returns the person as it will be.
func (p *personTx) write() Person {
	p.record.version, p.record.updated = p.seq, p.now
	p.set(personKey(p.g.record.Number, p.id), p.g.seal.seal(p.g.personPlace(p.id), p.record.append(nil)))
	p.finish(p.remember)
	return p.record.person(p.id)
}

// finish marks the gallery as having an unsynced write until remember has run.
func (p *personTx) finish(remember func()) {
	g := p.g
	p.onHandOver = append(p.onHandOver, func() { g.unsynced.Add(1) })
	p.remember = func() {
		remember()
		g.unsynced.Add(-1)
	}
}

func (g *gallery) personPlace(id string) place {
	return place{kind: kindPerson, tenant: g.tenant, gallery: g.record.Number, person: id}
}

func (g *gallery) templatePlace(id string, number uint32) place {
	return place{kind: kindTemplate, tenant: g.tenant, gallery: g.record.Number, person: id, number: number, space: g.record.Space}
}

func (g *gallery) openPerson(id string, sealed []byte) (*personRecord, error) {
	plain, err := g.seal.open(nil, g.personPlace(id), sealed)
	if err != nil {
		return nil, err
	}
	return parsePersonRecord(plain)
}

// unitVectors checks templates of a person against the gallery's space and gate. REQUIRES: g.space is known.
func (g *gallery) unitVectors(templates []Template) ([][]float32, error) {
	vectors, gate := make([][]float32, len(templates)), g.rules.Load().gate.Enrol
	for i, t := range templates {
		if len(t.Source) > MaxSourceBytes { // said by the server, not by clients
			return nil, fmt.Errorf("engine: source of template %d has %d bytes, at most %d", i, len(t.Source), MaxSourceBytes)
		}
		v, err := g.unitVector(t)
		if err != nil {
			return nil, err
		}
		if err := gate.admit(t); err != nil {
			return nil, atTemplate(err, i)
		}
		vectors[i] = v
	}
	return vectors, nil
}

// atTemplate says in a refusal of a gate which template it is about.
func atTemplate(err error, i int) error {
	if e, ok := errors.AsType[*QualityError](err); ok {
		e.Template = i
	}
	return err
}

// probe is the unit vector of a template that the gallery is asked about.
func (g *gallery) probe(t Template) ([]float32, error) {
	v, err := g.unitVector(t)
	if err != nil {
		return nil, err
	}
	return v, g.rules.Load().gate.Probe.admit(t)
}

// unitVector is that of a template of the gallery's space.
func (g *gallery) unitVector(t Template) ([]float32, error) {
	if t.Space != g.record.Space {
		return nil, &SpaceMismatchError{Want: g.record.Space, Got: t.Space, Against: "gallery"}
	}
	return unitVector(*g.space, t.Vector)
}
