package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mien/engine/fields"
)

// Retention says how long a person may be kept and why. The person is due at the earlier of Expires and the consent's end, and is
// there for nobody from then on, erased or not yet (doc.go, R1).
type Retention struct {
	Expires time.Time `json:"expires,omitzero"` // ms; zero: never, but for the gallery's RetentionDays when the person is put
	Consent *Consent  `json:"consent,omitempty"`
}

// Consent is the record of what a person agreed to, or of what else permits keeping the person.
type Consent struct {
	Purpose   string    `json:"purpose"`             // what for; 1 to MaxConsentBytes
	Basis     string    `json:"basis"`               // what permits it: "consent", "contract", a law; 1 to MaxConsentBytes
	Given     time.Time `json:"given_at"`            // ms
	Reference string    `json:"reference,omitempty"` // where the paper is; up to MaxConsentBytes
	Expires   time.Time `json:"expires,omitzero"`    // ms; zero: it does not end
}

// MaxRetentionDays bounds GallerySpec.RetentionDays: a hundred years.
const MaxRetentionDays = 36_525

const (
	// sweepEvery is how often it is looked who is due.
	sweepEvery = 10 * time.Second
	// maxSweep is how many people one write erases.
	maxSweep = 64
	// maxClockJump is how far the clock may go beyond the monotonic one between two looks before it is not believed.
	maxClockJump = time.Minute
	// eraseHold is for how long nobody is erased then: time to mend a clock.
	eraseHold = time.Hour
	// pruneEvery is how often it is looked for audit records to prune.
	pruneEvery = time.Hour
)

// due is when the person is due, in ms; 0 is never.
func (r *personRecord) due() int64 {
	due := r.expires
	if c := r.consent; c != nil && c.expires != 0 && (due == 0 || c.expires < due) {
		due = c.expires
	}
	return due
}

// consentRecord is a Consent in a personRecord; times are ms.
type consentRecord struct {
	purpose, basis, reference string
	given, expires            int64
}

// retention is the record as clients see it.
func (r *personRecord) retention() (x Retention) {
	if r.expires != 0 {
		x.Expires = fromMillis(r.expires)
	}
	if c := r.consent; c != nil {
		x.Consent = &Consent{Purpose: c.purpose, Basis: c.basis, Given: fromMillis(c.given), Reference: c.reference}
		if c.expires != 0 {
			x.Consent.Expires = fromMillis(c.expires)
		}
	}
	return x
}

// appendRetention appends the payload of extRetention, integers as uvarint, strings with their length before them:
//
//	expires ms, 0: never · 0, or 1 · purpose · basis · reference · given ms · expires ms, 0: never
func (r *personRecord) appendRetention(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.expires))
	c := r.consent
	if c == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for _, s := range []string{c.purpose, c.basis, c.reference} {
		dst = fields.AppendString(dst, s)
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(c.given)), uint64(c.expires))
}

// parseRetention is the inverse of appendRetention.
func (r *personRecord) parseRetention(b []byte) (ok bool) {
	d := decoderOf(b)
	r.expires = int64(d.Uint(math.MaxInt64))
	if d.Uint(1) == 1 {
		r.consent = &consentRecord{purpose: d.String(MaxConsentBytes), basis: d.String(MaxConsentBytes), reference: d.String(MaxConsentBytes),
			given: int64(d.Uint(math.MaxInt64)), expires: int64(d.Uint(math.MaxInt64))}
	}
	return d.Whole() && (r.expires != 0 || r.consent != nil)
}

// millisOf is a time in a record: 0 for none. Errors: ErrRetention.
func millisOf(what string, t time.Time) (int64, error) {
	if t.IsZero() {
		return 0, nil
	}
	if ms := t.UnixMilli(); ms > 0 && t.Year() < 10_000 {
		return ms, nil
	}
	return 0, refuse(ErrRetention, "%s is %v: give a time after 1970 and before the year 10000", what, t)
}

// record checks a consent. Errors: ErrRetention.
func (c *Consent) record() (*consentRecord, error) {
	if c == nil {
		return nil, nil
	}
	for what, s := range map[string]string{"purpose": c.Purpose, "basis": c.Basis, "reference": c.Reference} {
		if s == "" && what != "reference" || len(s) > MaxConsentBytes || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return nil, refuse(ErrRetention, "the consent's %s is not acceptable: use up to %d bytes of UTF-8 without control characters; purpose and basis must be there", what, MaxConsentBytes)
		}
	}
	given, err := millisOf("the consent's given_at", c.Given)
	if err == nil && given == 0 {
		err = refuse(ErrRetention, "the consent's given_at is missing: say when it was given")
	}
	expires, err2 := millisOf("the consent's expires", c.Expires)
	return &consentRecord{c.Purpose, c.Basis, c.Reference, given, expires}, cmp.Or(err, err2)
}

// retain sets what a person's retention is from now on; an expires of 0 is by the gallery's default. Errors: ErrRetention, if the
// person would be due already.
func (p *personTx) retain(expires int64, consent *consentRecord) error {
	if days := p.g.rules.Load().retentionDays; expires == 0 && days > 0 {
		expires = p.now + int64(days)*24*time.Hour.Milliseconds()
	}
	p.record.expires, p.record.consent = expires, consent
	return p.notDue()
}

// notDue refuses to write somebody who would not be there. Errors: ErrRetention.
func (p *personTx) notDue() error {
	if due := p.record.due(); due != 0 && due <= p.now {
		return refuse(ErrRetention, "the person would be due at %v, which is past: give a later time, or none", fromMillis(due).Format(time.RFC3339))
	}
	return nil
}

// there reports whether the person is there, for clients: one who is due is not.
func (p *personTx) there() bool { return p.old != nil && !isDue(p.old.due(), p.now) }

func isDue(due, now int64) bool { return due != 0 && due <= now }

// isDue reports whether a person of memory is due. The clock is read only for who has an end.
func (g *gallery) isDue(due int64) bool { return due != 0 && due <= g.now().UnixMilli() }

func dueKey(gallery uint64, due int64, id string) []byte {
	return append(binary.BigEndian.AppendUint64(galleryPrefix(prefixDue, gallery), uint64(due)), id...)
}

// stageDue moves the person in the index of who is due when; after is 0 for who has no end, or goes.
func (p *personTx) stageDue(after int64) {
	before := int64(0)
	if p.old != nil {
		before = p.old.due()
	}
	if before == after {
		return
	}
	if before != 0 {
		p.delete(dueKey(p.g.record.Number, before, p.id))
	}
	if after != 0 {
		p.set(dueKey(p.g.record.Number, after, p.id), nil)
	}
}

// setDue makes it durable when a person is due.
func (g *gallery) setDue(id string, due int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.people[id].due = due
	g.lookAtLocked(due)
}

// lookAtLocked has the gallery looked at when it is due time.
func (g *gallery) lookAtLocked(due int64) {
	if due != 0 && (g.mu.nextDue == 0 || due < g.mu.nextDue) {
		g.mu.nextDue = due
	}
}

// takeDue reports whether somebody may be due, and has the index say when the next is.
func (g *gallery) takeDue(now int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !isDue(g.mu.nextDue, now) {
		return false
	}
	g.mu.nextDue = 0
	return true
}

// keepRetention erases who is due, forgets requests that were done long ago and prunes audit logs, until Close.
func (e *Engine) keepRetention() {
	var clock clockGuard
	var pruned time.Time
	for {
		pause(e.stopped, e.sweepEvery)
		if e.stopped.Err() != nil {
			return
		}
		now := e.store.now()
		if !clock.believed(now, time.Now(), e.eraseHold) {
			if clock.jumped {
				e.log.Error("retention: the clock jumped forward: nobody is erased for a while; mend it if it is wrong", "by", clock.by, "hold", e.eraseHold)
			}
			continue
		}
		for _, g := range e.allGalleries() {
			if err := e.eraseDue(g, now.UnixMilli()); err != nil && e.stopped.Err() == nil {
				e.log.Error("retention: people who are due could not be erased yet", "error", err)
			}
		}
		if err := e.sweepDocuments(now.UnixMilli()); err != nil && e.stopped.Err() == nil {
			e.log.Error("retention: documents that have expired could not be deleted yet", "error", err)
		}
		e.sweepOnce(now.UnixMilli())
		if e.auditKeep > 0 && time.Since(pruned) >= min(pruneEvery, e.auditKeep) {
			pruned = time.Now()
			e.pruneAudits(now.Add(-e.auditKeep))
		}
	}
}

// clockGuard tells a clock that goes from one that was set. What is erased is gone: a clock that is a year ahead for a minute must
// not have that minute.
type clockGuard struct {
	wall, mono time.Time
	until      time.Time // by mono: nobody is erased before
	jumped     bool      // just now
	by         time.Duration
}

func (c *clockGuard) believed(wall, mono time.Time, hold time.Duration) bool {
	wall = wall.Round(0) // else its difference would be the monotonic clock's
	c.jumped = false
	if !c.mono.IsZero() {
		c.by = wall.Sub(c.wall) - mono.Sub(c.mono)
		if c.jumped = c.by > maxClockJump; c.jumped {
			c.until = mono.Add(hold)
		}
	}
	c.wall, c.mono = wall, mono
	return !mono.Before(c.until)
}

// eraseDue erases who is due in a gallery, some at a time. Errors: the store's.
func (e *Engine) eraseDue(g *gallery, now int64) error {
	if !g.takeDue(now) {
		return nil
	}
	for {
		due, next, err := e.dueIn(g, now)
		theirs := true
		if err == nil && len(due) > 0 {
			theirs, err = e.eraseAll(g, due, now)
		}
		if err == nil && theirs && len(due) == maxSweep {
			continue
		}
		if err != nil || !theirs {
			next = now // look again
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.lookAtLocked(next)
		return err
	}
}

// dueIn returns up to maxSweep people who are due, and when the one after them is, 0 if there is none.
func (e *Engine) dueIn(g *gallery, now int64) (due []string, next int64, err error) {
	prefix := galleryPrefix(prefixDue, g.record.Number)
	err = e.store.each(prefix, prefixEnd(prefix), func(key, _ []byte) (bool, error) {
		if len(key) <= len(prefix)+8 {
			return false, fmt.Errorf("%w: key of the retention index", ErrCorrupt)
		}
		next = int64(binary.BigEndian.Uint64(key[len(prefix):]))
		if next > now || len(due) == maxSweep {
			return false, nil
		}
		due, next = append(due, string(key[len(prefix)+8:])), 0
		return true, nil
	})
	return due, next, err
}

// eraseAll erases those of some people who are due, in one write, as DeletePerson does. It does nothing in a gallery that is no
// tenant's, theirs is false then: who is due in a successor is due in its gallery, and erased with that (M2).
func (e *Engine) eraseAll(g *gallery, people []string, now int64) (theirs bool, err error) {
	ctx := WithActor(e.stopped, Actor{Program: "retention"})
	err = e.enrolling(g.tenant, g.name, func(in enrolment) error {
		if theirs = in.gallery == g; !theirs {
			return nil
		}
		return e.store.update(ctx, true, func(t *tx) error {
			for _, id := range people {
				p, err := in.personTx(t, id)
				if err != nil {
					return err
				}
				if p.old != nil && isDue(p.old.due(), now) {
					p.auditErasure()
					if err := p.erase(); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	return theirs, err
}

// auditErasure has it recorded that the person was due and is erased.
func (p *personTx) auditErasure() {
	p.audit(auditEntry{tenant: p.g.tenant, op: AuditPersonDelete, gallery: p.g.name, person: p.id,
		note: "due since " + fromMillis(p.old.due()).Format(time.RFC3339)})
}

// pruneAudits prunes the logs of all tenants.
func (e *Engine) pruneAudits(before time.Time) {
	for _, tenant := range e.store.audit.tenants() {
		if err := e.pruneAudit(e.stopped, tenant, before); err != nil && e.stopped.Err() == nil {
			e.log.Error("audit: old records could not be pruned", "tenant", tenant, "error", err)
		}
	}
}

// pruneAudit deletes the oldest blocks whose records are all older, but never the newest block, and records which, in the same batch:
// the record has the sequence and hash of the last that is gone, and the first that stays the same hash.
func (e *Engine) pruneAudit(ctx context.Context, tenant string, before time.Time) error {
	prefix, last := auditPrefix(tenant), AuditHead{}
	first, kept := uint64(0), []byte(nil) // of the first record, and the key of the first block that stays
	head := e.store.audit.durable(tenant)
	err := e.store.each(prefix, prefixEnd(prefix), func(key, sealed []byte) (bool, error) {
		from, plain, err := e.openAudit(tenant, key, sealed)
		if err != nil {
			return false, err
		}
		old := false
		end, err := auditLines(tenant, from, plain, func(_ AuditHead, line []byte) (err error) {
			old, err = isOlder(line, before)
			return err
		})
		if err != nil {
			return false, err
		}
		if first == 0 {
			first = from
		}
		if kept = append(kept[:0], key...); !old || end.Seq >= head.Seq {
			return false, ctx.Err()
		}
		last = end
		return true, ctx.Err()
	})
	if err != nil || last.Seq == 0 {
		return err
	}
	return e.store.updateAudit(ctx, func(t *tx) error {
		must(t.batch.DeleteRange(prefix, kept, nil))
		t.entries = []auditEntry{{tenant: tenant, time: e.store.now().UnixMilli(), actor: Actor{Program: "retention"}, op: auditPrune,
			note: fmt.Sprintf("%d records, %s", last.Seq-first+1, pruneNote(last))}}
		return nil
	})
}
