package engine

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"mien/index"
)

// Proof says, check by check, that nothing of this store still answers for a person who was erased. What it can't look at is in
// Outside. JWS is all of that, signed as a Receipt is.
type Proof struct {
	Kind     string      `json:"kind"` // ProofPerson
	Tenant   string      `json:"tenant"`
	Gallery  string      `json:"gallery"`
	Person   string      `json:"person"`
	Sequence uint64      `json:"sequence"` // of the erasure
	Keys     []ErasedKey `json:"keys"`
	Time     time.Time   `json:"time"`
	Passed   bool        `json:"passed"` // all checks did
	Files    int         `json:"files"`  // that were read
	Bytes    int64       `json:"bytes"`
	Checks   []Check     `json:"checks"`
	Outside  []Remainder `json:"outside"`

	JWS string `json:"jws,omitempty"`
}

// ProofPerson is Proof.Kind.
const ProofPerson = "mien-erasure-proof-1"

// Check is one of a Proof's.
type Check struct {
	Name   string   `json:"name"` // CheckRows and its like
	What   string   `json:"what"`
	Looked int64    `json:"looked"` // how many things were looked at
	Found  int      `json:"found"`  // how many of them are the person's; of CheckControl somebody else's
	OK     bool     `json:"ok"`
	Where  []string `json:"where,omitempty"` // files, or kinds of rows; the first of them
	Note   string   `json:"note,omitempty"`
}

// Names of checks.
const (
	CheckRows    = "rows"    // reads of the store
	CheckAnswers = "answers" // what calls would be told
	CheckIndex   = "index"   // files of search indexes
	CheckKeys    = "keys"    // the person's keys, in all files
	CheckSealed  = "sealed"  // sealed values of the person, in all files
	CheckControl = "control" // that the search of files finds what is there
)

// Bounds of a proof.
const (
	cleanWait    = 10 * time.Second       // for Pebble to delete what it has no more use for
	cleanLook    = 20 * time.Millisecond  // how often to look
	huntTries    = 3                      // searches of the files, while they find something
	huntPause    = 100 * time.Millisecond // between them
	wipeTries    = 100                    // looks whether searches have let go of rows
	wipePause    = 10 * time.Millisecond
	proofResults = 10 // of a search by the person's own templates
)

// traces are what an erasure remembers of a person, in memory, for the proof that follows.
type traces struct {
	sealed  [][]byte               // beginnings of the person's rows
	vectors map[uint64][][]float32 // templates, by gallery number
}

// take reads the traces of a person who is about to be erased. REQUIRES: p.old is not nil. Errors: the store's, ErrCorrupt.
func (t *traces) take(p *personTx) error {
	if t == nil {
		return nil
	}
	number := p.g.record.Number
	row, found, err := p.get(personKey(number, p.id))
	if err != nil || !found {
		return err
	}
	_, sealed, err := splitPerson(row)
	if err != nil {
		return err
	}
	t.keep(sealed)
	for _, r := range p.old.templates {
		if row, found, err = p.get(templateKey(number, p.id, r.number)); err != nil || !found {
			return err
		}
		t.keep(row)
		v := make([]float32, p.g.record.Dim)
		plain, err := p.g.openRow(nil, p.old.key, p.g.templatePlace(p.id, r.number), row)
		if err == nil {
			err = vectorInto(v, plain)
			clear(plain)
		}
		if err != nil {
			return err
		}
		t.vectors[number] = append(t.vectors[number], v)
		if row, found, err = p.get(photoKey(number, p.id, r.number)); err != nil {
			return err
		}
		if found {
			t.keep(row)
		}
	}
	return nil
}

// takeDocuments reads the traces of what is kept about the person.
func (t *traces) takeDocuments(p *personTx) error {
	if t == nil {
		return nil
	}
	within := subjectsPrefix(p.g.tenant, p.g.name, p.id)
	return p.store.each(within, prefixEnd(within), func(key, _ []byte) (bool, error) {
		kind, id, _ := strings.Cut(string(key[len(within):]), "\x00")
		value, found, err := p.get(documentKey(p.g.tenant, kind, id))
		if err == nil && found && len(value) > 8 {
			t.keep(value[8:]) // behind its end
		}
		return err == nil, err
	})
}

func (t *traces) keep(sealed []byte) {
	t.sealed = append(t.sealed, slices.Clone(sealed[:min(markBytes, len(sealed))]))
}

// reset begins anew; t may be nil.
func (t *traces) reset() {
	if t != nil {
		t.clear()
		*t = traces{vectors: make(map[uint64][][]float32)}
	}
}

func (t *traces) clear() {
	for _, all := range t.vectors {
		for _, v := range all {
			clear(v)
		}
	}
}

// ErasePersonProved is ErasePerson and ProveErasure, which then looks for more: what the person's rows began with, and whom the person's
// own templates find; they are in memory until it returns. The receipt is there also if the proof is not. Errors: both's.
func (e *Engine) ErasePersonProved(ctx context.Context, tenant, name, id string, o WriteOptions) (Receipt, Proof, error) {
	t := new(traces)
	defer t.clear()
	r, err := e.erasePerson(ctx, tenant, name, id, o, t)
	if err != nil {
		return r, Proof{}, err
	}
	// What the proof writes is not the request's write, which is done (O1).
	p, err := e.proveErasure(context.WithValue(ctx, onceContextKey{}, (*Once)(nil)), r, t)
	return r, p, err
}

// ProveErasure rewrites the parts of the store's files where a person was who was erased, has the gallery's index wiped and saved, and
// then looks for the person everywhere: in the store, in what calls answer, and in the bytes of all files of the data folder and the key
// store (doc.go, "Proofs of erasure"). It reads all of these files. jws is ErasePerson's receipt. Whether it found something is in the proof.
// Errors: ErrReceipt, ErrTenantNotFound, ErrProving, ErrStorageFull, ErrStorageFailed, ErrCorrupt, ErrClosed, ctx's.
func (e *Engine) ProveErasure(ctx context.Context, jws string) (Proof, error) {
	r, err := e.VerifyReceipt(jws)
	if err != nil {
		return Proof{}, err
	}
	return e.proveErasure(ctx, r, new(traces))
}

func (e *Engine) proveErasure(ctx context.Context, r Receipt, t *traces) (Proof, error) {
	if err := e.enter(ctx); err != nil {
		return Proof{}, err
	}
	defer e.leave()
	if r.Kind != ReceiptPerson {
		return Proof{}, refuse(ErrReceipt, "a proof is of a person, and this receipt is of a tenant: all that was its own lost its keys at once")
	}
	keys, err := e.tenantKeys(r.Tenant)
	if err != nil {
		return Proof{}, err
	}
	if !e.proving.CompareAndSwap(false, true) {
		return Proof{}, errProving
	}
	defer e.proving.Store(false)
	p := &proving{e: e, r: r, t: t, keys: keys, where: make(map[uint64]*gallery)}
	p.findGalleries()
	if err := p.prepare(ctx); err != nil {
		return Proof{}, err
	}
	if err := p.check(ctx); err != nil {
		return Proof{}, err
	}
	proof := p.proof()
	return proof, e.recordProof(ctx, proof)
}

// recordProof has the proof in the tenant's audit log.
func (e *Engine) recordProof(ctx context.Context, p Proof) error {
	note := "passed"
	if !p.Passed {
		note = "failed:"
		for _, c := range p.Checks {
			if !c.OK {
				note += " " + c.Name
			}
		}
	}
	return e.auditAlone(ctx, auditEntry{tenant: p.Tenant, op: AuditPersonProve, gallery: p.Gallery, person: p.Person, note: note})
}

// proving is a proof that is being made.
type proving struct {
	e     *Engine
	r     Receipt
	t     *traces
	keys  *tenantKeys
	where map[uint64]*gallery // by the number that the person's rows were under; nil: a gallery that is no more

	again  *personRecord // of who was enrolled under the id since, nil if nobody was
	checks []Check
	hunt   *hunt
}

// findGalleries says where the person was: the receipt does, or, an old one, the gallery of its name.
func (p *proving) findGalleries() {
	for _, k := range p.r.Keys {
		if k.Gallery != 0 {
			p.where[k.Gallery] = nil
		}
	}
	named := len(p.where) == 0
	for _, g := range p.e.allGalleries() {
		if _, known := p.where[g.record.Number]; g.tenant == p.r.Tenant && (known || named && g.name == p.r.Gallery) {
			p.where[g.record.Number] = g
		}
	}
}

// numbers are those of p.where, in order.
func (p *proving) numbers() []uint64 { return slices.Sorted(maps.Keys(p.where)) }

// prepare makes true what check looks at: what was the person's is overwritten or deleted, not only out of reach.
func (p *proving) prepare(ctx context.Context) error {
	if err := p.lookAgain(); err != nil {
		return err
	}
	if p.again == nil { // so that the compaction rewrites also what an earlier one left, when somebody still read it
		err := p.e.store.update(ctx, true, func(t *tx) error {
			for _, n := range p.numbers() {
				if _, found, err := t.get(personKey(n, p.r.Person)); err != nil || found {
					return err
				}
				for _, r := range personRanges(n, p.r.Person) {
					must(t.batch.DeleteRange(r.from, r.to, nil))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if err := p.e.store.rewrite(ctx, p.ranges()); err != nil {
		return err
	}
	for _, g := range p.where {
		if g != nil {
			if err := p.e.wipeIndex(ctx, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookAgain notes who is under the id now.
func (p *proving) lookAgain() error {
	for _, g := range p.where {
		if g == nil {
			continue
		}
		r, err := g.readPerson(p.e.store, p.r.Person)
		if err != nil {
			return err
		}
		if r != nil && r.version > p.r.Sequence {
			p.again = r
		}
	}
	return nil
}

// keyRange is of the store's keys, to exclusive.
type keyRange struct{ from, to []byte }

// personRanges are where the store has a person and nobody else.
func personRanges(number uint64, id string) []keyRange {
	all := []keyRange{{personKey(number, id), append(personKey(number, id), 0)}}
	for _, prefix := range []byte{prefixTemplate, prefixPhoto} {
		rows := append(append(galleryPrefix(prefix, number), id...), 0)
		all = append(all, keyRange{rows, prefixEnd(rows)})
	}
	return all
}

// answersRange is where the store has what writes of a person were answered.
func answersRange(number uint64, id string) keyRange {
	rows := append(append(onceAnswerPrefix(number), id...), 0)
	return keyRange{rows, prefixEnd(rows)}
}

// ranges are where the store had the person, also among others: who is due, results of jobs, documents.
func (p *proving) ranges() (all []keyRange) {
	for _, n := range p.numbers() {
		all = append(all, personRanges(n, p.r.Person)...)
		all = append(all, answersRange(n, p.r.Person))
		for _, prefix := range []byte{prefixDue, prefixJob} {
			all = append(all, keyRange{galleryPrefix(prefix, n), prefixEnd(galleryPrefix(prefix, n))})
		}
	}
	documents := documentsPrefix(p.r.Tenant)
	return append(all, keyRange{documents, prefixEnd(documents)})
}

// rewrite has the parts of tables that hold some keys written anew without what was deleted or replaced, and the tables and logs from
// before deleted, as far as nobody reads them. Errors: ErrStorageFailed, ctx's, the disk's.
func (s *store) rewrite(ctx context.Context, ranges []keyRange) error {
	done := make(chan error, 1)
	go func() { done <- s.rewriteHere(ctx, ranges) }() // ends, or parks on a disk that fails (haltFS)
	select {
	case err := <-done:
		return err
	case <-s.fs.halted:
		return errStorageFailed
	}
}

func (s *store) rewriteHere(ctx context.Context, ranges []keyRange) error {
	old, err := s.logs() // which a flush leaves without use
	if err == nil {
		err = s.flush(ctx)
	}
	if err != nil {
		return err
	}
	for _, r := range ranges {
		if err := s.db.Compact(ctx, r.from, r.to, false); err != nil {
			return cmp.Or(ctx.Err(), fmt.Errorf("engine: compact: %w", s.readFailed(err)))
		}
	}
	for deadline := time.Now().Add(cleanWait); time.Now().Before(deadline); {
		m := s.db.Metrics()
		logs, err := s.logs()
		if err != nil || m.Table.ObsoleteCount == 0 && m.Table.ZombieCount == 0 && !slices.ContainsFunc(logs, func(l string) bool { return slices.Contains(old, l) }) {
			return err
		}
		if pause(ctx, cleanLook); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil // the search says what is left
}

// logs are the files of Pebble's log.
func (s *store) logs() ([]string, error) {
	names, err := s.fs.FS.List(s.disk.dir)
	if err != nil {
		return nil, fmt.Errorf("engine: store: %w", plainCause(err))
	}
	return slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, logSuffix) }), nil
}

// wipeIndex has all that is dead wiped in the files of a gallery's index: rows, and what was saved of them. Writers wait meanwhile.
// Errors: ErrStorageFailed, ctx's, the disk's.
func (e *Engine) wipeIndex(ctx context.Context, g *gallery) error {
	folder := e.indexFolder(g)
	if folder == "" {
		return nil
	}
	return e.store.whileQuiet(ctx, func() error {
		if !e.holds(g) {
			return errGalleryNotFound
		}
		x := g.currentIndex()
		if x == nil { // of a space without a model here: it is made anew by who has one
			if err := os.RemoveAll(folder); err != nil {
				return fmt.Errorf("engine: search index: %w", plainCause(err))
			}
			return nil
		}
		r, err := x.Residue()
		if err == nil && r.Unwiped > 0 {
			e.saveIndex(g) // which sweeps a graph
			err = waitWiped(ctx, x)
			g.touchIndex()
		}
		if err != nil {
			return err
		}
		if _, templates := g.counts(); templates <= largeGallery { // what was saved when it was larger is never read
			return x.DropSaved()
		}
		e.saveIndex(g)
		return nil
	})
}

// waitWiped waits until no search sees dead rows, or a while. Errors: ctx's, the index's.
func waitWiped(ctx context.Context, x searcher) error {
	for range wipeTries {
		if r, err := x.Residue(); err != nil || r.Unwiped == 0 {
			return err
		}
		if pause(ctx, wipePause); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// touchIndex has the index saved by the next call that would if it had changed.
func (g *gallery) touchIndex() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.unsaved = true
}

// check looks everywhere. Errors: the store's, ctx's.
func (p *proving) check(ctx context.Context) error {
	for _, look := range []func(context.Context) error{p.checkRows, p.checkAnswers, p.checkIndex, p.checkFiles} {
		if err := look(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (p *proving) add(c Check) {
	c.OK = c.Found == 0
	if p.again != nil && c.Note == "" {
		c.Note = fmt.Sprintf("somebody was enrolled under the id since, by write %d: what is theirs does not count", p.again.version)
	}
	p.checks = append(p.checks, c)
}

// checkRows reads the store.
func (p *proving) checkRows(context.Context) error {
	c := Check{Name: CheckRows, What: "rows of the store: the person's record with history, consent and retention, templates, photos, the retention index, answers to writes of the person, results of jobs, documents about the person"}
	for _, n := range p.numbers() {
		for _, r := range personRanges(n, p.r.Person) {
			if err := p.countRows(&c, r, func(key, row []byte) bool { return !p.isAnothers(n, key, row) }); err != nil {
				return err
			}
		}
		err := p.countRows(&c, answersRange(n, p.r.Person), func([]byte, []byte) bool { return p.again == nil })
		if err != nil {
			return err
		}
		due := keyRange{galleryPrefix(prefixDue, n), prefixEnd(galleryPrefix(prefixDue, n))}
		err = p.countRows(&c, due, func(key, _ []byte) bool {
			return p.again == nil && string(key[min(len(due.from)+8, len(key)):]) == p.r.Person
		})
		if err != nil {
			return err
		}
		for _, x := range p.e.jobs.ofGallery(n) {
			if results := x.resultsOf(p.r.Person); p.again == nil && len(results) > 0 {
				c.Found, c.Where = c.Found+len(results), append(c.Where, "results of job "+x.id)
			}
			c.Looked++
		}
	}
	within := subjectsPrefix(p.r.Tenant, p.r.Gallery, p.r.Person)
	err := p.countRows(&c, keyRange{within, prefixEnd(within)}, func([]byte, []byte) bool { return p.again == nil })
	p.add(c)
	return err
}

// countRows counts the rows of a range that are the person's.
func (p *proving) countRows(c *Check, r keyRange, theirs func(key, row []byte) bool) error {
	return p.e.store.each(r.from, r.to, func(key, row []byte) (bool, error) {
		c.Looked++
		if theirs(key, row) {
			c.Found++
			c.Where = append(c.Where, fmt.Sprintf("a row of kind %#02x", key[0]))
		}
		return len(c.Where) < maxSightings, nil
	})
}

// isAnothers reports whether a row is of who was enrolled under the id since: it opens with a key that no erasure destroyed.
func (p *proving) isAnothers(number uint64, key, row []byte) bool {
	g := p.where[number]
	if p.again == nil || g == nil {
		return false
	}
	now, err := g.readPerson(p.e.store, p.r.Person)
	if err != nil || now == nil || now.version <= p.r.Sequence || p.isErased(g, now.key) {
		return false
	}
	if key[0] == prefixPerson {
		return true
	}
	at := g.templatePlace(p.r.Person, binary.BigEndian.Uint32(key[len(key)-4:]))
	if key[0] == prefixPhoto {
		at = g.photoPlace(p.r.Person, at.number)
	}
	plain, err := g.openRow(nil, now.key, at, row)
	clear(plain)
	return err == nil
}

// isErased reports whether a key is one that the receipt names.
func (p *proving) isErased(g *gallery, k *subjectKey) bool {
	if k == nil {
		return false
	}
	id, err := g.keyID(p.r.Person, k.wrapped)
	return err != nil || slices.ContainsFunc(p.r.Keys, func(e ErasedKey) bool { return e.ID == id })
}

// checkAnswers asks as clients do.
func (p *proving) checkAnswers(ctx context.Context) error {
	c := Check{Name: CheckAnswers, What: "reads of the person, and searches by the person's own templates, by the index and exactly"}
	for _, n := range p.numbers() {
		g := p.where[n]
		if g == nil || p.again != nil {
			continue
		}
		c.Looked++
		if _, err := p.e.person(ctx, g, p.r.Person); err == nil || g.version(p.r.Person) != 0 {
			c.Found, c.Where = c.Found+1, append(c.Where, "a read of the person")
		}
		for _, v := range p.t.vectors[n] {
			if g.space == nil {
				c.Note = "no model of the gallery's space is here, so nothing can be searched"
				break
			}
			for _, exact := range []bool{false, true} {
				found, err := p.searchFinds(ctx, g, v, exact)
				if err != nil {
					return err
				}
				if c.Looked++; found {
					c.Found, c.Where = c.Found+1, append(c.Where, "a search")
				}
			}
		}
	}
	if len(p.t.vectors) == 0 && c.Note == "" && p.again == nil {
		c.Note = "the templates are gone, so no search was made by them: erase and prove in one call for that"
	}
	p.add(c)
	return nil
}

// searchFinds reports whether a search of everybody lists the person.
func (p *proving) searchFinds(ctx context.Context, g *gallery, v []float32, exact bool) (found bool, err error) {
	err = p.e.reading(ctx, g, func() error {
		r, err := g.search(ctx, v, proofResults, index.Options{Exact: exact}, Policy{Cosine: new(-1.0)}, everybody)
		found = slices.ContainsFunc(r.found, func(c Candidate) bool { return c.Person == p.r.Person })
		return err
	})
	return found, err
}

// checkIndex looks at the files of search indexes.
func (p *proving) checkIndex(ctx context.Context) error {
	c := Check{Name: CheckIndex, What: "slots of the search index that are nobody's hold nothing, and what is saved of it is of after the erasure"}
	for _, n := range p.numbers() {
		if g := p.where[n]; g == nil {
			if p.e.indexDir != "" && exists(p.e.indexFolderOf(n)) {
				c.Found, c.Where = c.Found+1, append(c.Where, fmt.Sprintf("index/%d, whose gallery is no more", n))
			}
		} else if err := p.checkIndexOf(ctx, g, &c); err != nil {
			return err
		}
	}
	p.add(c)
	return nil
}

func (p *proving) checkIndexOf(ctx context.Context, g *gallery, c *Check) error {
	return p.e.store.whileQuiet(ctx, func() error {
		if !p.e.holds(g) {
			return errGalleryNotFound
		}
		x := g.currentIndex()
		if x == nil {
			if p.e.indexDir != "" && exists(p.e.indexFolder(g)) {
				c.Found, c.Where = c.Found+1, append(c.Where, fmt.Sprintf("index/%d", g.record.Number))
			}
			return nil
		}
		r, err := x.Residue()
		if err != nil {
			return err
		}
		c.Looked += int64(r.Slots)
		if r.Saved {
			c.Looked++
		}
		at := fmt.Sprintf("index/%d/", g.record.Number)
		if r.Unwiped > 0 {
			c.Found, c.Where = c.Found+r.Unwiped, append(c.Where, at+"vectors")
		}
		if r.Saved && r.Sequence < p.r.Sequence {
			c.Found, c.Where = c.Found+1, append(c.Where, at+"cache")
		}
		for _, name := range r.Strange {
			c.Found, c.Where = c.Found+1, append(c.Where, at+name)
		}
		return nil
	})
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// checkFiles searches the bytes of all files, again while it finds something that may be about to be deleted.
func (p *proving) checkFiles(ctx context.Context) error {
	for range huntTries {
		if err := p.huntOnce(ctx); err != nil {
			return err
		}
		if p.found(foundKey).count+p.found(foundRow).count == 0 && (p.hunt.control == "" || p.found(foundControl).count > 0) {
			break
		}
		if pause(ctx, huntPause); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	keys, rows, control := p.found(foundKey), p.found(foundRow), p.found(foundControl)
	looked, bad := int64(p.hunt.files), p.hunt.bad
	c := Check{Name: CheckKeys, What: "copies of the person's keys, sealed by a version of the tenant's key that is not destroyed, in the bytes of all files", Looked: looked, Found: keys.count, Where: keys.files}
	if c.Found > 0 {
		c.Note = fmt.Sprintf("of %d keys: a backup or an export that runs keeps files; end it, and prove again", len(p.hunt.keys))
	}
	if len(bad) > 0 {
		c.Found, c.Where, c.Note = c.Found+len(bad), append(c.Where, bad...), "files could not be read"
	}
	p.add(c)
	c = Check{Name: CheckSealed, What: "the person's sealed rows in the bytes of all files", Looked: looked, Found: rows.count, Where: rows.files}
	if len(p.t.sealed) == 0 {
		c.Looked, c.Note = 0, "the rows are gone, so it is not known what to look for; they open with no key, but for documents about the person, if there were any: erase and prove in one call to look for them"
	}
	p.add(c)
	c = Check{Name: CheckControl, What: "the same search finds the key of somebody who is there", Looked: looked, Found: control.count, Where: control.files, OK: control.count > 0}
	if p.hunt.control == "" {
		c.Looked, c.OK, c.Note = 0, true, "nobody else is in the tenant's galleries"
	}
	p.checks = append(p.checks, c)
	return nil
}

func (p *proving) found(what string) sighting {
	if s := p.hunt.found[what]; s != nil {
		return *s
	}
	return sighting{}
}

func (p *proving) huntOnce(ctx context.Context) error {
	var homes []place
	for _, n := range p.numbers() {
		homes = append(homes, place{kind: kindSubjectKey, tenant: p.r.Tenant, gallery: n, person: p.r.Person})
	}
	h := newHunt(p.keys.ring, homes)
	p.hunt = h
	if p.again != nil {
		h.only = make(map[string]bool)
		for _, k := range p.r.Keys {
			h.only[k.ID] = true
		}
	}
	for _, sealed := range p.t.sealed {
		h.mark(sealed, foundRow)
	}
	if err := p.pickControl(); err != nil {
		return err
	}
	e := p.e
	disk, skip := e.store.fs.FS, map[string]bool{}
	if e.backupDir != "" {
		skip[e.backupDir] = true
	}
	if err := h.tree(ctx, disk, e.dir, "", skip); err != nil {
		return err
	}
	if strings.HasPrefix(e.keys.dir, e.dir+"/") {
		return nil
	}
	return h.tree(ctx, disk, e.keys.dir, "key store", skip)
}

// pickControl takes somebody who is there and is not written just now.
func (p *proving) pickControl() error {
	for _, g := range p.e.allGalleries() {
		if g.tenant != p.r.Tenant || p.hunt.control != "" {
			continue
		}
		prefix := galleryPrefix(prefixPerson, g.record.Number)
		err := p.e.store.each(prefix, prefixEnd(prefix), func(key, row []byte) (bool, error) {
			id := string(key[len(prefix):])
			wrapped, _, err := splitPerson(row)
			if err != nil || id == p.r.Person || wrapped == nil {
				return err == nil, err
			}
			p.hunt.control = id
			p.hunt.mark(wrapped, foundControl)
			return false, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// proof is what was found.
func (p *proving) proof() Proof {
	r := Proof{Kind: ProofPerson, Tenant: p.r.Tenant, Gallery: p.r.Gallery, Person: p.r.Person, Sequence: p.r.Sequence, Keys: p.r.Keys,
		Time: fromMillis(p.e.store.now().UnixMilli()), Passed: true, Files: p.hunt.files, Bytes: p.hunt.bytes, Checks: p.checks}
	for _, c := range p.checks {
		r.Passed = r.Passed && c.OK
	}
	if r.Keys == nil {
		r.Keys = []ErasedKey{}
	}
	r.Outside = append([]Remainder{
		{Where: "the audit log", What: "the person's id, and no biometrics", Until: "the log's retention"},
		{Where: "the record of the request, where it had an Idempotency-Key", What: "the person's id", Until: "a day after the request"},
		{Where: "the disk beneath the file system", What: "blocks of deleted files: sealed rows, and the key, sealed", Until: "the disk writes over them; a version of the tenant's key that is destroyed ends that sooner"},
	}, slices.DeleteFunc(slices.Clone(p.r.Remains), func(m Remainder) bool { return m.Where == liveFiles })...)
	r.JWS = p.e.sign(r)
	return r
}
