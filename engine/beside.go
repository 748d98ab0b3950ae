package engine

import (
	"context"
	"slices"
)

// What the engine does for a matcher beside it, which keeps people of its own under the names of galleries: it says what may be asked
// and how templates must be, and records what was decided.

// Operations of decentralised matching, as audit records name them.
const (
	AuditDecentralisedVerify   = "decentralised.verify"
	AuditDecentralisedIdentify = "decentralised.identify"
	AuditDecentralisedPut      = "decentralised.put"
	AuditDecentralisedDelete   = "decentralised.delete"
	AuditDecentralisedUnlock   = "decentralised.unlock"
)

// Beside is what a matcher beside the engine did or decided.
type Beside struct {
	Op      string // AuditDecentralisedVerify and its like
	Gallery string // whose people it is about
	Person  string
	Outcome string   // AuditDone, AuditMatch or AuditNoMatch
	Search  bool     // Found is there
	Found   []string // nil where nobody was; not retained
}

// AuditBeside records b, when Config.Audit says; of AuditDone it is durable when it returns. Errors: ErrAudit, ErrClosed, ctx's.
func (e *Engine) AuditBeside(ctx context.Context, tenant string, b Beside) error {
	if err := e.enter(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	defer e.leave()
	done := b.Outcome == AuditDone
	if !done && e.auditing.mode == AuditWrites {
		return nil
	}
	a := &auditEntry{tenant: tenant, actor: actorOf(ctx), op: b.Op, outcome: b.Outcome, searched: b.Search, candidates: len(b.Found),
		found: slices.Clone(b.Found[:min(len(b.Found), maxAuditFound)])}
	a.nameIfFit(b.Gallery, b.Person)
	if done {
		return e.auditing.takeSynced(ctx, a)
	}
	return e.auditing.take(ctx, a)
}

// CheckPerson reports whether there is a gallery and a person of it may have an id, which says nothing of whether there is one. Errors: ErrID,
// ErrGalleryNotFound.
func (e *Engine) CheckPerson(ctx context.Context, tenant, name, id string) error {
	if err := e.enterPerson(ctx, tenant, name, id); err != nil {
		return err
	}
	e.leave()
	return nil
}

// Vector is a template for a gallery as a vector of norm 1, once its space is the gallery's and its photo has passed the gallery's gate: that for
// enrolment if enrols is set, else that for probes. Errors: ErrGalleryNotFound, ErrSpaceUnknown, ErrSpaceMismatch, ErrTemplateLength,
// ErrTemplateNotFinite, ErrTemplateZeroNorm, ErrGate, ErrQuality, ErrUnjudged.
func (e *Engine) Vector(ctx context.Context, tenant, name string, t Template, enrols bool) ([]float32, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	return inGallery(e, tenant, name, func(g *gallery) ([]float32, error) {
		v, err := g.unitVector(t)
		if err != nil {
			return nil, err
		}
		gates := g.rules.Load().gate
		if enrols {
			return v, gates.Enrol.admit(t)
		}
		return v, gates.Probe.admit(t)
	})
}
