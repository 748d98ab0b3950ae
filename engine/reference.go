package engine

import (
	"cmp"
	"context"
	"fmt"
)

// PersonTemplate returns the newest template of a person, suspended or not: float32[dim] of norm 1, of the space that the gallery has,
// without its photo. That is somebody's biometrics, which no other call but Export lets out: the audit log says so, durably, before it
// returns. As it is read in a turn of the store, what it returns is durable too. Errors: ErrID, ErrGalleryNotFound,
// ErrPersonNotFound, ErrCorrupt, and those of every write (see CreateGallery).
func (e *Engine) PersonTemplate(ctx context.Context, tenant, name, id string) (Template, error) {
	if err := e.enterPerson(ctx, tenant, name, id); err != nil {
		return Template{}, err
	}
	defer e.leave()
	var found Template
	err := e.enrolling(tenant, name, func(g enrolment) error {
		return e.store.updateAudit(ctx, func(t *tx) (err error) {
			if err := g.check(t); err != nil {
				return err
			}
			t.now, t.actor = t.store.now().UnixMilli(), actorOf(ctx)
			if found, err = g.newestTemplate(t, id); err == nil {
				t.audit(auditEntry{tenant: tenant, op: AuditTemplateRead, gallery: name, person: id})
			}
			return err
		})
	})
	if err != nil {
		clear(found.Vector)
		return Template{}, err
	}
	return found, nil
}

// newestTemplate reads the last of a person's templates. Errors: ErrPersonNotFound, ErrCorrupt, the store's.
func (g *gallery) newestTemplate(t *tx, id string) (Template, error) {
	p, err := g.personTx(t, id)
	if err != nil || p.old == nil || g.isDue(p.old.due()) {
		return Template{}, cmp.Or(err, error(errPersonNotFound))
	}
	if len(p.old.templates) == 0 {
		return Template{}, fmt.Errorf("%w: a person without a template", ErrCorrupt)
	}
	last := p.old.templates[len(p.old.templates)-1]
	sealed, found, err := t.get(templateKey(g.record.Number, id, last.number))
	if err != nil || !found {
		return Template{}, cmp.Or(err, fmt.Errorf("%w: a person without a template", ErrCorrupt))
	}
	plain, err := g.openRow(nil, p.old.key, g.templatePlace(id, last.number), sealed)
	if err != nil {
		return Template{}, err
	}
	defer clear(plain)
	read := Template{Space: g.record.Space, Source: last.source, Vector: make([]float32, g.record.Dim)}
	return read, vectorInto(read.Vector, plain)
}
