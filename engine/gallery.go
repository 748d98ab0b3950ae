package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Kinds of index a gallery may ask for.
const (
	indexAuto = "auto"
	indexScan = "scan"
	indexHNSW = "hnsw"
)

// gallery is a gallery in memory: what is durable, in commit order (W3).
type gallery struct {
	tenant, name string
	record       galleryRecord
	space        *Space // nil where the space is not configured; then there is no index
	seal         *tenantKeys
	rules        atomic.Pointer[rules] // what record says of them is of when the gallery was made or loaded

	// successor is what the gallery is being moved to, nil if it is not: another space's, under a number of its own, with
	// those of the people who have templates of it. No search finds it until the switch puts it in the gallery's place.
	successor atomic.Pointer[gallery]

	jobs *jobs // the engine's

	photos *photoQueue // of a successor whose people's stored photos can be read; else nil

	recent recentWrites
	now    func() time.Time
	damage error // why it could not be loaded; then nobody is in memory, and it can only be listed and deleted. Set by Open

	unsynced atomic.Int64 // writes that may be visible in Pebble and not durable
	recall   recallCounts

	mu struct {
		sync.RWMutex
		people     map[string]*member
		ids        []string // by label; "" is a person who was deleted: labels are not used again, see memberLocked
		spare      []uint32 // labels that nobody had when the index was saved that Open used, nor since
		templates  int
		nextDue    int64 // ms; before that nobody is due, 0: nobody is at all, see eraseDue
		suspended  int   // people
		columns    *columns
		index      searcher
		behind     error     // why the index lacks a change; then nothing is read from it until it is made anew
		repair     *repair   // that is under way, or nil
		unsaved    bool      // something changed since the index was saved
		savedLinks int       // rows that were linked in the graph that was saved
		changed    int       // rows that came and went since it was saved, or tried to be
		changedAt  time.Time // the last of them
	}
}

// rules are what may be changed of a gallery; they are replaced, never changed in place.
type rules struct {
	policy          Policy
	gate            Gates
	duplicates      DuplicateCheck // "" is off
	duplicatePolicy Policy
	retentionDays   int
	history         int
}

func (r galleryRecord) rules() *rules {
	return &rules{r.Policy.policy(), r.Gate.gates(), DuplicateCheck(r.Duplicates), r.DuplicatePolicy.policy(), r.RetentionDays, r.History}
}

// member is a person in memory.
type member struct {
	label   uint32
	version uint64
	due     int64 // ms; 0: never
	traits
	templates int
	rows      []uint32 // of index, in any order; empty where the space is not configured
}

// CreateGallery makes a gallery. One that is there with an equal specification is returned with created
// false, so a call may be repeated. Errors: ErrID, ErrGallerySpec, ErrPolicy, ErrGate, ErrDuplicateCheck, ErrSpaceUnknown,
// ErrGalleryExists, ErrGalleriesFull, and those of every write: ErrStorageFull, ErrStorageFailed, ErrOutcomeUnknown, ErrClosed,
// ctx's.
func (e *Engine) CreateGallery(ctx context.Context, tenant, name string, spec GallerySpec) (made Gallery, created bool, err error) {
	if err := e.enter(ctx); err != nil {
		return Gallery{}, false, err
	}
	defer e.leave()
	want, err := e.galleryRecord(tenant, name, spec)
	if err != nil {
		return Gallery{}, false, err
	}
	var g *gallery
	err = e.store.update(ctx, false, func(t *tx) (err error) {
		if created, g, err = e.stageGallery(t, tenant, name, want); err != nil {
			return err
		}
		if !created { // memory may not know it yet
			g, err = e.settled(ctx, t, tenant, name)
		}
		if err == nil {
			made = g.info()
			t.done(made, created)
		}
		return err
	})
	if err != nil {
		return Gallery{}, false, err
	}
	return made, created, nil
}

// settled finds a gallery that the store has, when memory is what the store is (W2). REQUIRES: the turn.
func (e *Engine) settled(ctx context.Context, t *tx, tenant, name string) (*gallery, error) {
	if err := t.store.settle(ctx, t.store.last.Load()); err != nil {
		return nil, err
	}
	return e.gallery(tenant, name)
}

// galleryRecord checks a specification and fills in its defaults.
func (e *Engine) galleryRecord(tenant, name string, spec GallerySpec) (galleryRecord, error) {
	if err := checkNames(tenant, name); err != nil {
		return galleryRecord{}, err
	}
	space, err := e.Space(spec.Space)
	if err != nil {
		return galleryRecord{}, err
	}
	kind := cmp.Or(spec.Index, indexAuto)
	if kind != indexAuto && kind != indexScan && kind != indexHNSW {
		return galleryRecord{}, refuse(ErrGallerySpec, "index %q is unknown: use %q, %q or %q", spec.Index, indexAuto, indexScan, indexHNSW)
	}
	if err := cmp.Or(spec.Policy.Validate(), spec.Gate.Validate(), spec.Duplicates.Validate(), checkDuplicatePolicy(spec.DuplicatePolicy),
		checkRetentionDays(spec.RetentionDays)); err != nil {
		return galleryRecord{}, err
	}
	if err := cmp.Or(checkHistory(spec.History), checkFilterable(spec.Filterable)); err != nil {
		return galleryRecord{}, err
	}
	r := galleryRecord{Space: space.ID, Dim: space.Dim, Index: kind, Policy: recordOfPolicy(spec.Policy), Gate: recordOfGates(spec.Gate),
		KeepPhotos: spec.KeepPhotos, DuplicatePolicy: recordOfPolicy(spec.DuplicatePolicy), RetentionDays: spec.RetentionDays,
		History: spec.History, Filterable: slices.Clone(spec.Filterable)}
	r.setDuplicates(spec.Duplicates)
	return r, nil
}

func (r *galleryRecord) setDuplicates(d DuplicateCheck) {
	if r.Duplicates = string(d); d == DuplicatesOff {
		r.Duplicates = ""
	}
}

// format is that of a store which the record is in.
func (r galleryRecord) format() uint32 {
	switch {
	case len(r.Filterable) > 0 || r.Duplicates != "" || r.DuplicatePolicy != policyRecord{} || r.History > 0:
		return identityFormat
	case r.RetentionDays != 0:
		return auditFormat
	case r.KeepPhotos:
		return photoFormat
	}
	return firstFormat
}

func checkHistory(n int) error {
	if n < 0 || n > MaxHistory {
		return refuse(ErrGallerySpec, "history is %d: it must be from 0 to %d", n, MaxHistory)
	}
	return nil
}

func checkFilterable(names []string) error {
	if len(names) > MaxFilterable {
		return refuse(ErrGallerySpec, "filterable names %d fields: the most is %d", len(names), MaxFilterable)
	}
	for i, n := range names {
		if n == "" || len(n) > MaxFieldBytes || !utf8.ValidString(n) || strings.ContainsFunc(n, isUnseen) || slices.Contains(names[:i], n) {
			return refuse(ErrGallerySpec, "field %d of filterable is not acceptable: use each name once, of 1 to %d bytes without control characters", i, MaxFieldBytes)
		}
	}
	return nil
}

func checkDuplicatePolicy(p Policy) error {
	if p.Cosine != nil {
		return refuse(ErrPolicy, "the policy for duplicates can't be a cosine, which means something else in every embedding space: state fpir, fmr or similarity")
	}
	return p.Validate()
}

// stageGallery returns the gallery that it makes; where there is one, created is false.
func (e *Engine) stageGallery(t *tx, tenant, name string, want galleryRecord) (created bool, g *gallery, err error) {
	have, found, err := t.gallery(tenant, name)
	if err != nil {
		return false, nil, err
	}
	if found {
		return false, nil, sameSpec(name, have, want)
	}
	if e.galleryCount() >= MaxGalleries {
		return false, nil, refuse(ErrGalleriesFull, "the store holds %d galleries, the most there may be: delete one first", MaxGalleries)
	}
	seal, err := e.tenantSealer(t, tenant)
	if err != nil {
		return false, nil, err
	}
	if want.Number, err = t.nextGalleryNumber(); err != nil {
		return false, nil, err
	}
	want.Created = fromMillis(t.now)
	t.setGallery(tenant, name, want)
	t.audit(auditEntry{tenant: tenant, op: AuditGalleryCreate, gallery: name, policy: auditPolicyOf(want.Policy.policy())})
	if err := t.raiseFormat(want.format()); err != nil {
		return false, nil, err
	}
	if g, err = e.newGallery(tenant, name, want, seal); err != nil {
		return false, nil, err
	}
	if g.mu.index, err = e.newIndex(g); err != nil {
		return false, nil, err
	}
	t.remember = func() { e.keepGallery(g) }
	return true, g, nil
}

func sameSpec(name string, have, want galleryRecord) error {
	if have.Space == want.Space && have.Index == want.Index && have.KeepPhotos == want.KeepPhotos && slices.Equal(have.Filterable, want.Filterable) && have.rules().equal(want.rules()) {
		return nil
	}
	return refuse(ErrGalleryExists, "gallery %q is there with another specification (space %q, index %q, keep_photos %v): "+
		"use it as it is, change what can be changed of it, or use another name", name, have.Space, have.Index, have.KeepPhotos)
}

func (r *rules) equal(o *rules) bool {
	return r.policy.equal(o.policy) && r.gate.equal(o.gate) && r.duplicates == o.duplicates && r.duplicatePolicy.equal(o.duplicatePolicy) &&
		r.retentionDays == o.retentionDays && r.history == o.history
}

func checkRetentionDays(days int) error {
	if days < 0 || days > MaxRetentionDays {
		return refuse(ErrGallerySpec, "retention_days is %d: it must be from 1 to %d, or 0 for no end", days, MaxRetentionDays)
	}
	return nil
}

// UpdateGallery changes a gallery's policies, gate, duplicate check, history and default of retention. Calls that begin after it has returned go by what it made; the
// people who are enrolled stay. Errors: ErrID, ErrGalleryNotFound, ErrPolicy, ErrGate, ErrDuplicateCheck, and those of every write (see
// CreateGallery).
func (e *Engine) UpdateGallery(ctx context.Context, tenant, name string, change GalleryChange) (Gallery, error) {
	if err := e.enter(ctx); err != nil {
		return Gallery{}, err
	}
	defer e.leave()
	if err := cmp.Or(checkNames(tenant, name), change.validate(), e.checkDamage(tenant, name)); err != nil {
		return Gallery{}, err
	}
	var after Gallery
	err := e.store.update(ctx, false, func(t *tx) error {
		record, err := e.stageRules(t, tenant, name, change)
		if err != nil {
			return err
		}
		g, err := e.settled(ctx, t, tenant, name)
		if err != nil {
			return err
		}
		next, nextRules := g.successor.Load(), (*rules)(nil)
		if next != nil {
			nextRules = record.moved().rules()
		}
		after = g.infoOf(record.rules(), next, nextRules)
		t.done(after, false)
		return nil
	})
	return after, err
}

func (c GalleryChange) validate() error {
	if c.Policy != nil {
		if err := c.Policy.Validate(); err != nil {
			return err
		}
	}
	if c.RetentionDays != nil {
		if err := checkRetentionDays(*c.RetentionDays); err != nil {
			return err
		}
	}
	if c.Gate != nil {
		if err := c.Gate.Validate(); err != nil {
			return err
		}
	}
	if c.Duplicates != nil {
		if err := c.Duplicates.Validate(); err != nil {
			return err
		}
	}
	if c.DuplicatePolicy != nil {
		if err := checkDuplicatePolicy(*c.DuplicatePolicy); err != nil {
			return err
		}
	}
	if c.History != nil {
		return checkHistory(*c.History)
	}
	return nil
}

// stageRules stages a change of a gallery's record, and nothing if it changes nothing, and returns the record.
func (e *Engine) stageRules(t *tx, tenant, name string, change GalleryChange) (galleryRecord, error) {
	record, found, err := t.gallery(tenant, name)
	if err != nil {
		return record, err
	}
	if !found {
		return record, errGalleryNotFound
	}
	before := record.rules()
	if change.Policy != nil {
		record.Policy = recordOfPolicy(*change.Policy)
	}
	if change.Gate != nil {
		record.Gate = recordOfGates(*change.Gate)
	}
	if change.Duplicates != nil {
		record.setDuplicates(*change.Duplicates)
	}
	if change.DuplicatePolicy != nil {
		record.DuplicatePolicy = recordOfPolicy(*change.DuplicatePolicy)
	}
	if change.RetentionDays != nil {
		record.RetentionDays = *change.RetentionDays
	}
	if change.History != nil {
		record.History = *change.History
	}
	if record.rules().equal(before) {
		return record, nil
	}
	t.setGallery(tenant, name, record)
	t.audit(auditEntry{tenant: tenant, op: AuditGalleryUpdate, gallery: name, policy: auditPolicyOf(record.Policy.policy())})
	t.remember = func() { e.withGallery(tenant, name, func(g *gallery) { g.keepRules(record) }) }
	return record, t.raiseFormat(record.format())
}

// keepRules replaces the rules of a gallery and of the one that it is being moved to.
func (g *gallery) keepRules(r galleryRecord) {
	g.rules.Store(r.rules())
	if next := g.successor.Load(); next != nil {
		next.rules.Store(r.moved().rules())
	}
}

// DeleteGallery deletes a gallery with everyone in it. It is let through on a nearly full disk. Errors: ErrID,
// ErrGalleryNotFound, and those of every write.
func (e *Engine) DeleteGallery(ctx context.Context, tenant, name string) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	if err := checkNames(tenant, name); err != nil {
		return err
	}
	return e.store.update(ctx, true, func(t *tx) error {
		have, found, err := t.gallery(tenant, name)
		if err != nil {
			return err
		}
		if !found {
			return errGalleryNotFound
		}
		t.audit(auditEntry{tenant: tenant, op: AuditGalleryDelete, gallery: name})
		t.delete(galleryKey(tenant, name))
		t.deletePeople(have.Number)
		e.dropJobs(t, have.Number)
		if have.Move != nil {
			t.deletePeople(have.Move.Number)
		}
		e.markUnsynced(t, tenant, name, have.Number)
		t.remember = func() { e.dropGallery(galleryName{tenant, name}) }
		t.done(nil, false)
		return t.eraseDocuments(tenant, name, "", anybody)
	})
}

// markUnsynced makes lists of a gallery in memory, if it is there already, wait for this write. A gallery that is
// deleted stays so marked.
func (e *Engine) markUnsynced(t *tx, tenant, name string, number uint64) {
	if g, err := e.gallery(tenant, name); err == nil && g.record.Number == number {
		t.onHandOver = append(t.onHandOver, func() { g.unsynced.Add(1) })
	}
}

// Gallery returns one gallery, with IndexStatus. Errors: ErrID, ErrGalleryNotFound, ErrClosed, ctx's.
func (e *Engine) Gallery(ctx context.Context, tenant, name string) (Gallery, error) {
	if err := e.enter(ctx); err != nil {
		return Gallery{}, err
	}
	defer e.leave()
	g, err := e.anyGallery(tenant, name)
	if err != nil {
		return Gallery{}, err
	}
	info := g.info()
	info.IndexStatus = g.status()
	if next := g.successor.Load(); info.Move != nil && next != nil {
		info.Move.Failures = next.photos.failures()
	}
	return info, nil
}

// Galleries returns a tenant's galleries by name. Errors: ErrID, ErrClosed, ctx's.
func (e *Engine) Galleries(ctx context.Context, tenant string) ([]Gallery, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	if err := checkName("tenant", tenant); err != nil {
		return nil, err
	}
	all := []Gallery{}
	for _, g := range e.galleriesOf(tenant) {
		all = append(all, g.info())
	}
	slices.SortFunc(all, func(a, b Gallery) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

func (e *Engine) galleriesOf(tenant string) (all []*gallery) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for name, g := range e.mu.galleries {
		if name.tenant == tenant {
			all = append(all, g)
		}
	}
	return all
}

// gallery finds a durable gallery that can be used. Errors: ErrID, ErrGalleryNotFound, ErrCorrupt.
func (e *Engine) gallery(tenant, name string) (*gallery, error) {
	g, err := e.anyGallery(tenant, name)
	if err == nil && g.damage != nil {
		return nil, errGalleryDamaged
	}
	return g, err
}

// checkDamage refuses what would change a gallery that could not be loaded: nobody is in memory to change. Errors: ErrCorrupt.
func (e *Engine) checkDamage(tenant, name string) error {
	if g, err := e.anyGallery(tenant, name); err == nil && g.damage != nil {
		return errGalleryDamaged
	}
	return nil
}

// anyGallery finds a durable gallery, damaged ones too. Errors: ErrID, ErrGalleryNotFound.
func (e *Engine) anyGallery(tenant, name string) (*gallery, error) {
	if err := checkNames(tenant, name); err != nil {
		return nil, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if g := e.mu.galleries[galleryName{tenant, name}]; g != nil {
		return g, nil
	}
	return nil, errGalleryNotFound
}

// spaceKnown refuses what compares templates where it can't be done. Errors: ErrSpaceUnknown.
func (g *gallery) spaceKnown() error {
	if g.space != nil {
		return nil
	}
	return refuse(ErrSpaceUnknown, "gallery %q is of embedding space %q, for which this server has no model", g.name, g.record.Space)
}

// newGallery makes a gallery without an index.
func (e *Engine) newGallery(tenant, name string, r galleryRecord, seal *tenantKeys) (*gallery, error) {
	g := &gallery{tenant: tenant, name: name, record: r, seal: seal, now: e.store.now, jobs: e.jobs}
	g.rules.Store(r.rules())
	g.mu.people = make(map[string]*member)
	space, err := e.Space(cmp.Or(r.Space, "?"))
	if err != nil {
		return g, nil // its people can be listed and deleted, not compared
	}
	if space.Dim != r.Dim {
		return nil, fmt.Errorf("%w: space %q has dim %d, gallery %q was made with %d", ErrConfig, r.Space, space.Dim, name, r.Dim)
	}
	g.space = &space
	return g, nil
}

func (e *Engine) keepGallery(g *gallery) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.galleries[galleryName{g.tenant, g.name}] = g
}

func (e *Engine) dropGallery(name galleryName) {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.mu.galleries[name]
	delete(e.mu.galleries, name)
	e.retireLocked(g)
	if next := g.successor.Load(); next != nil {
		next.photos.end()
		e.retireLocked(next)
	}
}

// retireLocked retires the index of a gallery that no new call finds.
func (e *Engine) retireLocked(g *gallery) {
	if x := g.currentIndex(); x != nil && !e.mu.closed {
		e.retire(x, e.indexFolder(g))
	}
}

func (e *Engine) galleryCount() int {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return len(e.mu.galleries)
}

func (g *gallery) info() Gallery {
	next := g.successor.Load()
	if next == nil {
		return g.infoOf(g.rules.Load(), nil, nil)
	}
	return g.infoOf(g.rules.Load(), next, next.rules.Load())
}

// infoOf is the gallery as clients see it, under some rules; next, which may be nil, under its own.
func (g *gallery) infoOf(r *rules, next *gallery, nextRules *rules) Gallery {
	g.mu.RLock()
	people, templates := len(g.mu.people), g.mu.templates
	g.mu.RUnlock()
	info := Gallery{Name: g.name, Space: g.record.Space, Dim: g.record.Dim, Index: g.record.Index,
		Policy: r.policy.clone(), Gate: r.gate.clone(), People: people, Templates: templates, Created: g.record.Created,
		KeepPhotos: g.record.KeepPhotos, Duplicates: r.duplicates, DuplicatePolicy: r.duplicatePolicy.clone(),
		RetentionDays: r.retentionDays, Damaged: g.damage != nil, History: r.history, Filterable: slices.Clone(g.record.Filterable)}
	if next != nil {
		// As of several moments: who waits first, so that when nobody does, Done is what came of it.
		waiting, failed := next.photos.counts(max(people-next.people(), 0))
		info.Move = &Move{Space: next.record.Space, Dim: next.record.Dim, Policy: nextRules.policy.clone(), People: people,
			Done: min(next.people(), people), Waiting: waiting, Failed: failed}
	}
	return info
}

// people is how many there are.
func (g *gallery) people() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.mu.people)
}

// counts are how many people and templates there are.
func (g *gallery) counts() (people, templates int) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.mu.people), g.mu.templates
}

// version is the durable version of a person, 0 if there is none.
func (g *gallery) version(id string) uint64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if m := g.mu.people[id]; m != nil {
		return m.version
	}
	return 0
}

// touch makes a person's version durable without a change of templates.
func (g *gallery) touch(id string, version uint64, t traits) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.mu.people[id]
	m.version = version
	g.describeLocked(m, t)
	g.mu.unsaved = true // else the next start reads the person's templates
}

func (g *gallery) currentIndex() searcher {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.mu.index
}

// useIndex makes x, with rows by label, the gallery's index and returns the one it had.
func (g *gallery) useIndex(x searcher, rows [][]uint32) (old searcher) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old, g.mu.index, g.mu.behind, g.mu.unsaved = g.mu.index, x, nil, true
	for _, m := range g.mu.people {
		m.rows = rows[m.label]
	}
	if g.mu.columns != nil {
		g.makeColumnsLocked()
	}
	return old
}

// put makes a person's templates exactly these, at one moment.
func (g *gallery) put(id string, version uint64, t traits, templates int, vectors [][]float32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.memberLocked(id)
	m.version = version
	g.mu.templates += templates - m.templates
	m.templates = templates
	m.rows = g.replaceLocked(m.rows, m.label, vectors)
	g.describeLocked(m, t)
}

// addTemplate adds one template to a person who is there.
func (g *gallery) addTemplate(id string, version uint64, t traits, vector []float32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.mu.people[id]
	m.version = version
	m.templates++
	g.mu.templates++
	m.rows = append(m.rows, g.replaceLocked(nil, m.label, [][]float32{vector})...)
	g.describeLocked(m, t)
}

func (g *gallery) remove(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.mu.people[id]
	g.replaceLocked(m.rows, m.label, nil)
	delete(g.mu.people, id)
	g.mu.ids[m.label] = ""
	g.mu.templates -= m.templates
	g.mu.suspended -= int(bit(m.suspended))
}

// memberLocked finds a person or adds one with a label that nobody has had since Open: a search that saw one person must
// not name another. That costs 16 bytes a deletion, and the process could make four thousand million people before it
// must restart.
func (g *gallery) memberLocked(id string) *member {
	if m := g.mu.people[id]; m != nil {
		return m
	}
	m := &member{label: uint32(len(g.mu.ids))}
	if n := len(g.mu.spare); n > 0 {
		m.label, g.mu.spare = g.mu.spare[n-1], g.mu.spare[:n-1]
	} else {
		g.mu.ids = append(g.mu.ids, "")
	}
	g.mu.ids[m.label] = id
	g.mu.people[id] = m
	return m
}

// replaceLocked puts vectors under label in the place of the rows old. The change is durable already: if the index
// can't take it, having no memory for one, who reads the index next has it made anew (repair.go).
func (g *gallery) replaceLocked(old []uint32, label uint32, vectors [][]float32) (rows []uint32) {
	g.freeLocked(old)
	g.mu.unsaved = true
	g.mu.changed += len(old) + len(vectors)
	g.mu.changedAt = time.Now()
	if g.mu.index == nil || g.mu.behind != nil || len(old)+len(vectors) == 0 {
		return nil
	}
	rows, err := g.mu.index.Replace(old, label, vectors)
	if err != nil {
		g.mu.behind = fmt.Errorf("%w: %w", errIndexBehind, err)
	}
	return rows
}

// appendLocked adds rows to the index, as replaceLocked does: vectors is float32[len(labels) × dim].
func (g *gallery) appendLocked(labels []uint32, vectors []float32) (rows []uint32) {
	g.mu.unsaved = true
	g.mu.changed += len(labels)
	g.mu.changedAt = time.Now()
	if g.mu.index == nil || g.mu.behind != nil || len(labels) == 0 {
		return nil
	}
	rows = make([]uint32, len(labels))
	if err := g.mu.index.Append(labels, vectors, rows); err != nil {
		g.mu.behind = fmt.Errorf("%w: %w", errIndexBehind, err)
		return nil
	}
	return rows
}

// gallery reads a gallery's record as the store will have it.
func (t *tx) gallery(tenant, name string) (r galleryRecord, found bool, err error) {
	value, found, err := t.get(galleryKey(tenant, name))
	if err != nil || !found {
		return r, false, err
	}
	return r, true, t.store.openRecord(galleryPlace(tenant, name), value, &r)
}

func (t *tx) setGallery(tenant, name string, r galleryRecord) {
	t.set(galleryKey(tenant, name), t.store.sealRecord(galleryPlace(tenant, name), r))
}

// raiseFormat makes the store one of a format, unless it is of a later one.
func (t *tx) raiseFormat(version uint32) error {
	have, found, err := t.get(keyFormat)
	if err == nil && found && max(t.format, binary.BigEndian.Uint32(have)) < version {
		t.set(keyFormat, formatBytes(version))
		t.format = version
	}
	return err
}

func (t *tx) nextGalleryNumber() (uint64, error) {
	value, found, err := t.get(keyLastGallery)
	if err != nil {
		return 0, err
	}
	n := uint64(1)
	if found {
		if len(value) != 8 {
			return 0, fmt.Errorf("%w: last gallery number", ErrCorrupt)
		}
		n = binary.BigEndian.Uint64(value) + 1
	}
	t.set(keyLastGallery, binary.BigEndian.AppendUint64(nil, n))
	return n, nil
}
