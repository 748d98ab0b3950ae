package engine

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
)

// Document is what an API above the engine keeps for a tenant: a session, a setting, the log of what was delivered. The engine knows
// nothing of its contents but who they are about.
type Document struct {
	Kind  string // whose and what, a name as of galleries, such as "verifik.session"
	ID    string // within its kind, as of people; in the clear in the store
	Value []byte // up to MaxDocumentBytes, sealed by the tenant's data key; the caller's own copy

	// Gallery and Person, both or neither, are who the document is about. It is deleted with the person, in the same write. A
	// change may set them: who a session is about may become known by it.
	Gallery, Person string
	// Expires is from when on the document is there for nobody, to the millisecond; zero: never.
	Expires time.Time

	Created, Updated time.Time // set by the engine
}

// Limits of documents.
const (
	MaxDocumentBytes = 64 << 10
	MaxDocuments     = 100_000 // of a tenant, those that have expired and are not deleted yet included
)

// DocumentOptions say what is recorded of a write of a document.
type DocumentOptions struct {
	// Audit is the operation that the write is recorded as in the tenant's log, with the document's Gallery and Person; "" records none.
	Audit string
	Note  string // of the record; nothing personal
	// Also returns documents that the same write makes or replaces, each by its Kind and ID; nil: none. It is called after change
	// has changed something, and must be as quick.
	Also func() []Document
	// Reserve is how many of MaxDocuments a new document must leave free, for others that what is under way can't do without.
	Reserve int
}

// documents counts what the store has of them, and says when the next expires.
type documents struct {
	mu struct {
		sync.Mutex
		count    map[string]int // by tenant
		next     int64          // ms; 0: none expires
		unsynced int
	}
}

func newDocuments() *documents {
	d := new(documents)
	d.mu.count = make(map[string]int)
	return d
}

func (d *documents) count(tenant string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.count[tenant]
}

// change notes n documents more, or fewer, and one's end; 0 is none.
func (d *documents) change(tenant string, n int, expires int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.count[tenant] += n; d.mu.count[tenant] == 0 {
		delete(d.mu.count, tenant)
	}
	d.lookAtLocked(expires)
}

// lookAt has the sweep look when a document expires; 0 is never.
func (d *documents) lookAt(expires int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lookAtLocked(expires)
}

func (d *documents) lookAtLocked(expires int64) {
	if expires != 0 && (d.mu.next == 0 || expires < d.mu.next) {
		d.mu.next = expires
	}
}

func (d *documents) forget(tenant string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.mu.count, tenant)
}

func (d *documents) mark(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.unsynced += n
}

func (d *documents) areUnsynced() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.unsynced > 0
}

// takeExpired reports whether some document may have expired, and has the sweep find out when the next does.
func (d *documents) takeExpired(now int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !isDue(d.mu.next, now) {
		return false
	}
	d.mu.next = 0
	return true
}

// documentRecord is the JSON of a document. In the store it is behind its end, ms u64, which must be the record's.
type documentRecord struct {
	Value   []byte `json:"value"`
	Gallery string `json:"gallery,omitempty"`
	Person  string `json:"person,omitempty"`
	Expires int64  `json:"expires,omitempty"` // ms, 0: never
	Created int64  `json:"created"`
	Updated int64  `json:"updated"`
}

// Keys of documents: what they are behind the tenant's name.
const (
	documentItself  = 0x01
	documentSubject = 0x02
)

func documentsPrefix(tenant string) []byte {
	return append(append([]byte{prefixDocument}, tenant...), 0)
}

func documentKindPrefix(tenant, kind string) []byte {
	return append(append(append(documentsPrefix(tenant), documentItself), kind...), 0)
}

func documentKey(tenant, kind, id string) []byte {
	return append(documentKindPrefix(tenant, kind), id...)
}

// subjectsPrefix begins the keys of the documents that are about people of a gallery, or about one of them.
func subjectsPrefix(tenant, gallery, person string) []byte {
	k := append(append(append(documentsPrefix(tenant), documentSubject), gallery...), 0)
	if person != "" {
		k = append(append(k, person...), 0)
	}
	return k
}

func documentPlace(tenant, kind, id string) place {
	return place{kind: kindDocument, tenant: tenant, person: kind + "\x00" + id}
}

// openDocument opens a document's value. Errors: ErrCorrupt.
func (k *tenantKeys) openDocument(tenant, kind, id string, value []byte) (*Document, error) {
	if len(value) < 8 {
		return nil, fmt.Errorf("%w: document", ErrCorrupt)
	}
	plain, err := k.open(nil, documentPlace(tenant, kind, id), value[8:])
	if err != nil {
		return nil, err
	}
	var r documentRecord
	if err := parseJSONRecord(plain, &r); err != nil {
		return nil, err
	}
	if uint64(r.Expires) != binary.BigEndian.Uint64(value) {
		return nil, fmt.Errorf("%w: end of a document", ErrCorrupt)
	}
	d := &Document{Kind: kind, ID: id, Value: r.Value, Gallery: r.Gallery, Person: r.Person, Created: fromMillis(r.Created), Updated: fromMillis(r.Updated)}
	if r.Expires != 0 {
		d.Expires = fromMillis(r.Expires)
	}
	return d, nil
}

// sealDocument is the inverse of openDocument.
func (k *tenantKeys) sealDocument(tenant string, d *Document) []byte {
	r := documentRecord{Value: d.Value, Gallery: d.Gallery, Person: d.Person, Expires: d.end(), Created: d.Created.UnixMilli(), Updated: d.Updated.UnixMilli()}
	value := binary.BigEndian.AppendUint64(nil, uint64(r.Expires))
	return append(value, k.seal(documentPlace(tenant, d.Kind, d.ID), appendJSONRecord(r))...)
}

// end is when the document expires, in ms; 0 is never.
func (d *Document) end() int64 {
	if d == nil || d.Expires.IsZero() {
		return 0
	}
	return max(d.Expires.UnixMilli(), 1)
}

// checkDocument checks the names of a document. Errors: ErrID, ErrTenantNotFound.
func (e *Engine) checkDocument(tenant, kind, id string) (*tenantKeys, error) {
	if err := cmp.Or(checkName("document", kind), checkPersonID(id)); err != nil {
		return nil, err
	}
	return e.tenantKeys(tenant)
}

// Document returns a tenant's document as of the last acknowledged write. Errors: ErrID, ErrTenantNotFound, ErrDocumentNotFound,
// ErrCorrupt, ErrStorageFailed, ErrClosed, ctx's.
func (e *Engine) Document(ctx context.Context, tenant, kind, id string) (Document, error) {
	if err := e.enter(ctx); err != nil {
		return Document{}, err
	}
	defer e.leave()
	keys, err := e.checkDocument(tenant, kind, id)
	if err != nil {
		return Document{}, err
	}
	value, found, err := e.store.get(nil, documentKey(tenant, kind, id))
	if err == nil {
		err = e.settleDocuments(ctx)
	}
	if err != nil || !found {
		return Document{}, cmp.Or(err, error(errDocumentNotFound))
	}
	d, err := keys.openDocument(tenant, kind, id, value)
	if err != nil {
		return Document{}, err
	}
	if isDue(d.end(), e.store.now().UnixMilli()) {
		return Document{}, errDocumentNotFound
	}
	return *d, nil
}

// settleDocuments waits until what was read of documents is durable.
func (e *Engine) settleDocuments(ctx context.Context) error {
	if !e.store.documents.areUnsynced() {
		return nil
	}
	return e.store.settle(ctx, e.store.last.Load())
}

// Documents returns up to limit documents of a kind in the order of their ids (bytewise) behind one, "" from the first; limit 0 is
// DefaultListLimit. A page may end earlier where documents are large: fewer than one is the end. Errors: as Document, without
// ErrDocumentNotFound, ErrLimit.
func (e *Engine) Documents(ctx context.Context, tenant, kind string, limit int, after string) ([]Document, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	keys, err := e.checkDocument(tenant, kind, cmp.Or(after, "-"))
	if err != nil {
		return nil, err
	}
	if limit = cmp.Or(limit, DefaultListLimit); limit < 1 || limit > MaxListLimit {
		return nil, refuse(ErrLimit, "limit is %d: it must be from 1 to %d", limit, MaxListLimit)
	}
	prefix := documentKindPrefix(tenant, kind)
	from := prefix
	if after != "" {
		from = append(documentKey(tenant, kind, after), 0)
	}
	var list []Document
	size, now := 0, e.store.now().UnixMilli()
	err = e.store.each(from, prefixEnd(prefix), func(key, value []byte) (bool, error) {
		d, err := keys.openDocument(tenant, kind, string(key[len(prefix):]), value)
		if err == nil && !isDue(d.end(), now) {
			list, size = append(list, *d), size+len(value)
		}
		return err == nil && len(list) < limit && size < maxPageBytes, cmp.Or(err, ctx.Err())
	})
	return list, cmp.Or(err, e.settleDocuments(ctx))
}

// ChangeDocument is every write of a document, in one turn of the store: change is called with a copy of what is there, nil if
// nothing is, and returns what is to be there: nil deletes it, its argument as it was given leaves it alone and records nothing.
// change must be quick and must not call the engine. Kind, ID and Created of what it returns are ignored; what it returns is not
// retained. It returns what is there afterwards, nil if nothing is. Errors: change's, as they are; ErrID, ErrTenantNotFound,
// ErrDocument, ErrDocumentsFull; ErrGalleryNotFound and ErrPersonNotFound where the document is about somebody who is not there; and those of every write.
func (e *Engine) ChangeDocument(ctx context.Context, tenant, kind, id string, o DocumentOptions, change func(old *Document) (*Document, error)) (*Document, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	if _, err := e.checkDocument(tenant, kind, id); err != nil {
		return nil, err
	}
	var now *Document
	err := e.store.update(ctx, false, func(t *tx) error {
		keys, err := e.tenantKeys(tenant) // anew: the tenant may have been erased meanwhile
		if err != nil {
			return err
		}
		w := documentWrite{e: e, tx: t, keys: keys, tenant: tenant, kind: kind, id: id}
		if err := w.read(); err != nil {
			return err
		}
		asked := w.old.clone()
		if now, err = change(asked); err != nil || now == asked {
			return err
		}
		if now, err = w.stage(now.clone(), o); err != nil || o.Also == nil {
			return err
		}
		return w.stageAlso(o.Also())
	})
	if err != nil {
		return nil, err
	}
	return now, nil
}

// stageAlso stages further documents of a write, which are not recorded. Errors: as ChangeDocument.
func (w *documentWrite) stageAlso(list []Document) error {
	for _, d := range list {
		if _, err := w.e.checkDocument(w.tenant, d.Kind, d.ID); err != nil {
			return err
		}
		also := documentWrite{e: w.e, tx: w.tx, keys: w.keys, tenant: w.tenant, kind: d.Kind, id: d.ID, others: w.others}
		if err := also.read(); err != nil {
			return err
		}
		if _, err := also.stage(d.clone(), DocumentOptions{}); err != nil {
			return err
		}
		w.others = also.others
	}
	return nil
}

func (d *Document) clone() *Document {
	if d == nil {
		return nil
	}
	c := *d
	c.Value = bytes.Clone(d.Value)
	return &c
}

// documentWrite is one write of a document.
type documentWrite struct {
	e                *Engine
	tx               *tx
	keys             *tenantKeys
	tenant, kind, id string
	stored           *Document // in the store
	old              *Document // that is there: stored, unless it has expired
	others           int       // how many more documents there are by this and what the same write staged before
}

func (w *documentWrite) read() error {
	value, found, err := w.tx.get(documentKey(w.tenant, w.kind, w.id))
	if err != nil || !found {
		return err
	}
	if w.stored, err = w.keys.openDocument(w.tenant, w.kind, w.id, value); err == nil && !isDue(w.stored.end(), w.tx.now) {
		w.old = w.stored
	}
	return err
}

// stage stages what is to be there, nil for nothing, and returns it as it will be. Errors: as ChangeDocument.
func (w *documentWrite) stage(d *Document, o DocumentOptions) (*Document, error) {
	if d == nil && w.stored == nil {
		return nil, nil
	}
	about := cmp.Or(d, w.stored)
	if d != nil {
		if err := w.complete(d, o.Reserve); err != nil {
			return nil, err
		}
	}
	if o.Audit != "" {
		w.tx.audit(auditEntry{tenant: w.tenant, op: o.Audit, gallery: about.Gallery, person: about.Person, target: w.id, note: o.Note})
	}
	w.set(d)
	return d, w.tx.raiseFormat(documentFormat)
}

// complete checks a document that is to be stored, and sets what the engine sets.
func (w *documentWrite) complete(d *Document, reserve int) error {
	d.Kind, d.ID, d.Created, d.Updated = w.kind, w.id, fromMillis(w.tx.now), fromMillis(w.tx.now)
	if w.old != nil {
		d.Created = w.old.Created
	}
	switch {
	case len(d.Value) > MaxDocumentBytes:
		return refuse(ErrDocument, "the document has %d bytes: the most is %d", len(d.Value), MaxDocumentBytes)
	case isDue(d.end(), w.tx.now) || d.end() == math.MaxInt64:
		return refuse(ErrDocument, "the document would have expired already: name a time that is to come")
	case (d.Gallery == "") != (d.Person == ""):
		return refuse(ErrDocument, "a document is about a person of a gallery, or about nobody: name both or neither")
	case w.stored == nil && w.tx.store.documents.count(w.tenant)+w.others >= MaxDocuments-reserve:
		return refuse(ErrDocumentsFull, "the tenant has %d documents, the most there may be: wait until some expire, or delete some", MaxDocuments-reserve)
	}
	if d.Person == "" {
		return nil
	}
	return w.subjectThere(d)
}

// subjectThere refuses a document about somebody whose deletion would not delete it (F2).
func (w *documentWrite) subjectThere(d *Document) error {
	g, err := w.e.gallery(w.tenant, d.Gallery)
	if err != nil {
		return err
	}
	p, err := g.personTx(w.tx, d.Person)
	if err == nil && !p.there() {
		err = errPersonNotFound
	}
	return err
}

// set stages the keys: those of d, which may be nil, in the place of those that are there.
func (w *documentWrite) set(d *Document) {
	key, n := documentKey(w.tenant, w.kind, w.id), 0
	if old := w.stored; old != nil {
		w.tx.delete(key)
		if old.Person != "" {
			w.tx.delete(w.subjectKey(old))
		}
		n--
	}
	if d != nil {
		w.tx.set(key, w.keys.sealDocument(w.tenant, d))
		if d.Person != "" {
			w.tx.set(w.subjectKey(d), nil)
		}
		n++
	}
	w.others += n
	w.tx.noteDocuments(w.tenant, n, d.end())
}

// subjectKey is the key under which a person's deletion finds the document.
func (w *documentWrite) subjectKey(d *Document) []byte {
	k := append(subjectsPrefix(w.tenant, d.Gallery, d.Person), w.kind...)
	return append(append(k, 0), w.id...)
}

// noteDocuments has memory follow a write.
func (t *tx) noteDocuments(tenant string, n int, expires int64) {
	t.onHandOver = append(t.onHandOver, func() {
		t.store.documents.change(tenant, n, expires)
		t.store.documents.mark(1)
	})
	t.also(func() { t.store.documents.mark(-1) })
}

// forget stages that what is kept about the person goes: answers to writes of them, and documents. Whoever ends a person calls it, by
// erase or alone where somebody new has the id at once. Errors: the store's, ErrCorrupt.
func (p *personTx) forget() error {
	return cmp.Or(p.dropAnswers(), p.eraseDocuments(p.g.tenant, p.g.name, p.id, anybody))
}

func anybody(string) bool { return true }

// eraseDocuments stages the deletion of what is kept about a person of a gallery, or with "" about all of them who are gone.
func (t *tx) eraseDocuments(tenant, gallery, person string, gone func(person string) bool) error {
	if t.store.documents.count(tenant) == 0 {
		return nil
	}
	prefix, n := subjectsPrefix(tenant, gallery, ""), 0
	within := subjectsPrefix(tenant, gallery, person)
	err := t.store.each(within, prefixEnd(within), func(key, _ []byte) (bool, error) {
		about, rest, ok := strings.Cut(string(key[len(prefix):]), "\x00")
		kind, id, ok2 := strings.Cut(rest, "\x00")
		if !ok || !ok2 {
			return false, fmt.Errorf("%w: key of a document", ErrCorrupt)
		}
		if gone(about) {
			t.delete(bytes.Clone(key))
			t.delete(documentKey(tenant, kind, id))
			n++
		}
		return true, nil
	})
	if err == nil && n > 0 {
		t.noteDocuments(tenant, -n, 0)
	}
	return err
}

// loadDocuments counts them. It opens none.
func (e *Engine) loadDocuments() error {
	return e.eachDocument(func(tenant string, _, _ []byte, expires int64) bool {
		e.store.documents.change(tenant, 1, expires)
		return true
	})
}

// eachDocument visits all documents' keys, tenants apart, and ends, until visit says no. Errors: ErrCorrupt, the store's.
func (e *Engine) eachDocument(visit func(tenant string, rest, key []byte, expires int64) bool) error {
	return e.store.each([]byte{prefixDocument}, []byte{prefixDocument + 1}, func(key, value []byte) (bool, error) {
		tenant, rest, ok := bytes.Cut(key[1:], []byte{0})
		if !ok || len(rest) == 0 {
			return false, fmt.Errorf("%w: key of a document", ErrCorrupt)
		}
		if rest[0] == documentSubject {
			return true, nil
		}
		if len(value) < 8 {
			return false, fmt.Errorf("%w: document", ErrCorrupt)
		}
		return visit(string(tenant), rest[1:], key, int64(binary.BigEndian.Uint64(value))), nil
	})
}

// sweepDocuments deletes those that have expired.
func (e *Engine) sweepDocuments(now int64) error {
	if !e.store.documents.takeExpired(now) {
		return nil
	}
	for {
		expired, more, err := e.expiredDocuments(now)
		for tenant, names := range expired {
			err = errors.Join(err, e.deleteExpired(tenant, names, now))
		}
		if err != nil {
			e.store.documents.lookAt(now) // again
		}
		if err != nil || !more {
			return err
		}
	}
}

// expiredDocuments returns up to maxSweep documents that have expired, kind 0x00 id by tenant, and notes the end of the next.
func (e *Engine) expiredDocuments(now int64) (expired map[string][]string, more bool, err error) {
	expired, n, next := make(map[string][]string), 0, int64(0)
	err = e.eachDocument(func(tenant string, rest, _ []byte, expires int64) bool {
		switch {
		case isDue(expires, now) && n == maxSweep:
			more = true
			return false
		case isDue(expires, now):
			expired[tenant] = append(expired[tenant], string(rest))
			n++
		case expires != 0 && (next == 0 || expires < next):
			next = expires
		}
		return true
	})
	e.store.documents.lookAt(next)
	return expired, more, err
}

func (e *Engine) deleteExpired(tenant string, names []string, now int64) error {
	return e.store.update(e.stopped, true, func(t *tx) error {
		keys, err := e.tenantKeys(tenant)
		if err != nil {
			return nil // erased meanwhile
		}
		for _, name := range names {
			kind, id, _ := strings.Cut(name, "\x00")
			w := documentWrite{e: e, tx: t, keys: keys, tenant: tenant, kind: kind, id: id}
			if err := w.read(); errors.Is(err, ErrCorrupt) { // its end is in the clear; whom it was about is not known
				e.log.Error("a document that has expired does not open: it is deleted", "error", err)
				t.delete(documentKey(tenant, kind, id))
				t.noteDocuments(tenant, -1, 0)
			} else if err != nil {
				return err
			} else if w.stored != nil && isDue(w.stored.end(), now) {
				w.set(nil)
			}
		}
		return nil
	})
}

// TenantSecret returns 32 bytes for a purpose, always the same for a tenant until it is erased, and of use to nobody without the
// tenant's data key (HKDF-SHA-256, RFC 5869). They are for keys of tokens and signatures; a label has the purpose and a
// version, as in "facephi.token/1". Errors: ErrID, ErrTenantNotFound, ErrClosed, ctx's.
func (e *Engine) TenantSecret(ctx context.Context, tenant, label string) ([]byte, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	keys, err := e.tenantKeys(tenant)
	if err != nil {
		return nil, err
	}
	return keys.derive("mien/tenant-secret/v1\x00" + tenant + "\x00" + label), nil
}

// DocumentTenants are the tenants that have documents, in order: for what works through those of all.
func (e *Engine) DocumentTenants() []string {
	e.store.documents.mu.Lock()
	defer e.store.documents.mu.Unlock()
	return slices.Sorted(maps.Keys(e.store.documents.mu.count))
}

// Now is the time by the engine's clock, by which documents expire.
func (e *Engine) Now() time.Time { return e.store.now() }
