package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"
)

// Export is the people of a gallery, as of one moment, with their templates. It keeps the engine open, and on the disk what it
// may yet read, erased people included, until Close. Not for concurrent use.
type Export struct {
	Gallery Gallery // as of about that moment; People and Templates are what is exported

	e        *Engine
	g        *gallery
	snapshot *pebble.Snapshot
}

// Export begins to export a gallery. The caller must Close it. While the gallery is being moved, the templates are those of the
// space it has. Photos are not exported. The audit log says so
// before anything leaves. Errors: ErrID, ErrGalleryNotFound, ErrStorageFailed, ErrStorageFull, ErrClosed, ctx's.
func (e *Engine) Export(ctx context.Context, tenant, name string) (*Export, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	x, err := inGallery(e, tenant, name, func(g *gallery) (*Export, error) {
		x := &Export{e: e, g: g}
		err := e.store.whileQuiet(ctx, func() error {
			if !e.holds(g) {
				return errMoved // or deleted
			}
			x.Gallery, x.snapshot = g.info(), e.store.db.NewSnapshot()
			return nil
		})
		return x, err
	})
	if err != nil {
		e.leave()
		return nil, err
	}
	if err := x.audit(ctx); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// audit records the export before anything of it leaves.
func (x *Export) audit(ctx context.Context) error {
	return x.e.store.updateAudit(ctx, func(t *tx) error {
		t.now, t.actor = t.store.now().UnixMilli(), actorOf(ctx)
		t.audit(auditEntry{tenant: x.g.tenant, op: AuditPeopleExport, gallery: x.g.name, note: fmt.Sprintf("%d people with %d templates", x.Gallery.People, x.Gallery.Templates)})
		return nil
	})
}

// Close ends the export. Errors: the store's.
func (x *Export) Close() error {
	if x.snapshot == nil {
		return nil
	}
	err := x.snapshot.Close()
	x.snapshot = nil
	x.e.leave()
	return err
}

// People yields everybody by id, bytewise. The vectors die with the next. It may be called once. Errors: ErrCorrupt, ErrClosed
// (Close has begun to wait for this), ctx's.
func (x *Export) People(ctx context.Context) iter.Seq2[PortablePerson, error] {
	return func(yield func(PortablePerson, error) bool) {
		if err := x.walk(ctx, func(p PortablePerson) bool { return yield(p, nil) }); err != nil {
			yield(PortablePerson{}, err)
		}
	}
}

// walk reads people and templates side by side: both are in the order of ids.
func (x *Export) walk(ctx context.Context, visit func(PortablePerson) bool) (err error) {
	people, err := x.iterate(prefixPerson)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, people.Close()) }()
	templates, err := x.iterate(prefixTemplate)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, templates.Close()) }()
	r := exportReader{g: x.g, templates: templates, plain: make([]byte, 0, 4*x.g.record.Dim)}
	defer func() { clear(r.plain[:cap(r.plain)]); clear(r.vectors) }()
	templates.First()
	now := x.g.now().UnixMilli()
	for ok := people.First(); ok; ok = people.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := r.person(people)
		if err != nil {
			return err
		}
		if !isDue(r.due, now) && !visit(p) {
			return nil
		}
	}
	return errors.Join(people.Error(), templates.Error())
}

func (x *Export) iterate(prefix byte) (*pebble.Iterator, error) {
	lower := galleryPrefix(prefix, x.g.record.Number)
	iter, err := x.snapshot.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: prefixEnd(lower)})
	if err != nil {
		return nil, fmt.Errorf("engine: read: %w", err)
	}
	return iter, nil
}

// exportReader opens what the iterators are at.
type exportReader struct {
	g         *gallery
	templates *pebble.Iterator
	plain     []byte
	vectors   []float32
	of        []PortableTemplate
	due       int64 // of the person
}

// person opens the record that people is at and the templates that it names. Errors: ErrCorrupt, the store's.
func (r *exportReader) person(people *pebble.Iterator) (PortablePerson, error) {
	value, err := people.ValueAndErr()
	if err != nil {
		return PortablePerson{}, fmt.Errorf("engine: read: %w", err)
	}
	id := string(people.Key()[len(galleryPrefix(0, 0)):])
	record, err := r.g.openPerson(id, value)
	if err != nil {
		return PortablePerson{}, err
	}
	r.due = record.due()
	p := PortablePerson{ID: id, Metadata: record.metadata, Status: cmp.Or(statusOf(record.suspended), StatusActive),
		Created: fromMillis(record.created), Updated: fromMillis(record.updated), Retention: record.retention()}
	dim := r.g.record.Dim
	if n := dim * len(record.templates); cap(r.vectors) < n {
		r.vectors = make([]float32, n)
	}
	r.of = r.of[:0]
	for i, t := range record.templates {
		v := r.vectors[:cap(r.vectors)][i*dim : (i+1)*dim]
		if err := r.template(record.key, id, t.number, v); err != nil {
			return PortablePerson{}, err
		}
		r.of = append(r.of, t.portable())
		r.of[i].Vector = v
	}
	p.Templates = r.of
	for _, t := range record.history {
		p.History = append(p.History, t.portable())
	}
	return p, nil
}

// template opens the template that the iterator is at, which must be this one, and goes to the next.
func (r *exportReader) template(key *subjectKey, id string, number uint32, v []float32) error {
	if !r.templates.Valid() {
		if err := r.templates.Error(); err != nil {
			return fmt.Errorf("engine: read: %w", err)
		}
		return fmt.Errorf("%w: a person without a template", ErrCorrupt)
	}
	if haveID, have, ok := splitTemplateKey(r.templates.Key()); !ok || haveID != id || have != number {
		return fmt.Errorf("%w: the templates are not those that the people name", ErrCorrupt)
	}
	value, err := r.templates.ValueAndErr()
	if err != nil {
		return fmt.Errorf("engine: read: %w", err)
	}
	plain, err := r.g.openRow(r.plain, key, r.g.templatePlace(id, number), value)
	if err != nil {
		return err
	}
	r.templates.Next()
	return vectorInto(v, plain)
}
