package engine

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

const (
	// MaxOnceName bounds OnceRequest.Name.
	MaxOnceName = 255

	// onceLife is how long it is remembered that a request was done.
	onceLife = 24 * time.Hour
	// onceLeast is how long that is so in a tenant that makes more of them than maxOnce. A client that got no answer asks again within
	// seconds, or minutes.
	onceLeast = 10 * time.Minute
	// maxOnce is how many a tenant may have: some 100 MB of disk where answers are large, and nothing in memory. With onceLeast it is
	// 166 writes a second without end.
	maxOnce = 100_000
	// maxOnceSweep is how many one write forgets.
	maxOnceSweep = 256
)

// OnceRequest is a request that a client may make again, because it does not know whether it was done.
type OnceRequest struct {
	Tenant  string            // of the API key
	Key     string            // id of the API key: others' requests of the name are others
	Name    string            // the client's for the request, its idempotency key; 1..MaxOnceName bytes
	Content [sha256.Size]byte // hash of all that the request says
}

// Once is a request that is being done (doc.go, "Requests that come again"). It is for one call of the engine. Used by one goroutine.
type Once struct {
	engine  *Engine
	tenant  string
	id      onceID
	keys    *tenantKeys
	request [sha256.Size]byte // fingerprint of OnceRequest.Content
	secret  string            // what the answer's key is made of besides a random one
	answer  func(result any, created bool) ([]byte, error)
}

// onceID is what a request's record is under: HMAC-SHA-256, under a key of the tenant, of the API key and the name.
type onceID [sha256.Size]byte

// onceRecord is the JSON of a request that was done.
type onceRecord struct {
	Made    int64  `json:"made"`    // ms
	Request []byte `json:"request"` // fingerprint
	// Of a write of a person: the answer is in a row of its own, which goes with the person.
	Gallery string `json:"gallery,omitempty"`
	Number  uint64 `json:"number,omitempty"` // the gallery's
	Person  string `json:"person,omitempty"`
	Answer  []byte `json:"answer,omitempty"` // sealed; of all other writes
}

// onceTable is what memory knows of requests that were done, and of those that are being done. Safe for concurrent use.
type onceTable struct {
	most int // of a tenant
	mu   struct {
		sync.Mutex
		running map[onceID]struct{}
		of      map[string]onceCount // by tenant; as of the last write handed over
	}
}

// onceCount is how many records a tenant has, and ms that no record is older than.
type onceCount struct {
	n      int
	oldest int64
}

func newOnceTable(most int) *onceTable {
	o := &onceTable{most: most}
	o.mu.running, o.mu.of = make(map[onceID]struct{}), make(map[string]onceCount)
	return o
}

func (o *onceTable) begin(id onceID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, running := o.mu.running[id]
	o.mu.running[id] = struct{}{}
	return !running
}

func (o *onceTable) end(id onceID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.mu.running, id)
}

func (o *onceTable) count(tenant string) onceCount {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.of[tenant]
}

// add counts records that came, made then, or went.
func (o *onceTable) add(tenant string, n int, made int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	c := o.mu.of[tenant]
	if c.n == 0 || n > 0 && made < c.oldest {
		c.oldest = made
	}
	if c.n += n; c.n == 0 {
		delete(o.mu.of, tenant)
		return
	}
	o.mu.of[tenant] = c
}

// setOldest notes that no record of a tenant is older.
func (o *onceTable) setOldest(tenant string, made int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c, ok := o.mu.of[tenant]; ok {
		c.oldest = made
		o.mu.of[tenant] = c
	}
}

func (o *onceTable) drop(tenant string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.mu.of, tenant)
}

// due are the tenants who have records of before a time.
func (o *onceTable) due(before int64) (tenants []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for tenant, c := range o.mu.of {
		if c.oldest <= before {
			tenants = append(tenants, tenant)
		}
	}
	return tenants
}

// BeginOnce begins a request, or returns what it was answered by when it was done before. The caller makes one call of the engine with
// Once.Context, then calls End. Errors: ErrOnceRunning, ErrOnceMismatch, ErrOnceGone, ErrTenantNotFound, ErrStorageFailed, ErrCorrupt,
// ErrClosed, ctx's.
func (e *Engine) BeginOnce(ctx context.Context, r OnceRequest) (o *Once, answer []byte, err error) {
	if err := e.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer e.leave()
	if len(r.Name) < 1 || len(r.Name) > MaxOnceName {
		return nil, nil, fmt.Errorf("engine: the name of a request has %d bytes", len(r.Name))
	}
	keys, err := e.tenantKeys(r.Tenant)
	if err != nil {
		return nil, nil, err
	}
	o = newOnce(e, keys, r)
	if !e.store.once.begin(o.id) {
		return nil, nil, errOnceRunning
	}
	if answer, err = o.told(ctx); err != nil || answer != nil {
		o.End()
		return nil, answer, err
	}
	return o, nil, nil
}

func newOnce(e *Engine, keys *tenantKeys, r OnceRequest) *Once {
	o := &Once{engine: e, tenant: r.Tenant, keys: keys, secret: string(r.Content[:]) + r.Name}
	under := hmac.New(sha256.New, keys.derive("mien request v1"))
	fmt.Fprintf(under, "id %d %s %s", len(r.Key), r.Key, r.Name)
	under.Sum(o.id[:0])
	under.Reset()
	fmt.Fprintf(under, "content %s", r.Content[:])
	under.Sum(o.request[:0])
	return o
}

// End says that the request is answered, whatever came of it.
func (o *Once) End() { o.engine.store.once.end(o.id) }

// Context returns that of the call which does the request. answer is called with what the call is about to return, where that is one
// value beside created and the error, else with nil; what it makes of that is kept, in the same write, for when the request comes again. It
// is called while all writers wait; if it returns nil, which a refusal does, nothing is kept.
func (o *Once) Context(ctx context.Context, answer func(result any, created bool) ([]byte, error)) context.Context {
	o.answer = answer
	return context.WithValue(ctx, onceContextKey{}, o)
}

type onceContextKey struct{}

func onceOf(ctx context.Context) *Once {
	o, _ := ctx.Value(onceContextKey{}).(*Once)
	return o
}

// told is what the request was answered by, nil if it was not done. Errors: see BeginOnce.
func (o *Once) told(ctx context.Context) ([]byte, error) {
	s := o.engine.store
	r, err := s.onceRecord(o.tenant, o.keys, o.id)
	if err != nil || r == nil || r.expired(s.now().UnixMilli()) {
		return nil, err
	}
	if err := s.settle(ctx, s.last.Load()); err != nil { // W4
		return nil, err
	}
	if !hmac.Equal(r.Request, o.request[:]) {
		return nil, errOnceMismatch
	}
	sealed := r.Answer
	if r.Number != 0 {
		if sealed, err = o.ofPerson(r); err != nil {
			return nil, err
		}
	}
	return o.open(sealed)
}

// ofPerson reads the answer to a write of a person. Who is not there any more is in no answer. Errors: ErrOnceGone, the store's.
func (o *Once) ofPerson(r *onceRecord) ([]byte, error) {
	g, err := o.engine.gallery(o.tenant, r.Gallery)
	if err != nil || !g.has(r.Number, r.Person) {
		return nil, errOnceGone
	}
	sealed, found, err := o.engine.store.get(nil, onceAnswerKey(r.Number, r.Person, o.id))
	if err == nil && !found {
		err = errOnceGone
	}
	return sealed, err
}

// has reports whether the gallery is of a number and the person is there.
func (g *gallery) has(number uint64, person string) bool {
	if g.record.Number != number {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	m := g.mu.people[person]
	return m != nil && !g.isDue(m.due)
}

func (r *onceRecord) expired(now int64) bool { return now-r.Made >= onceLife.Milliseconds() }

func (o *Once) place(kind string) place { return oncePlace(kind, o.tenant, o.id) }

func oncePlace(kind, tenant string, id onceID) place {
	return place{kind: kind, tenant: tenant, person: string(id[:])}
}

// seal seals an answer: sealed random key[subjectWrapped] ‖ nonce[12] ‖ ciphertext ‖ tag[16]. The random key is sealed by the newest version
// of the tenant's key, and the answer by a key made of it and of what only who makes the request again has. REQUIRES: the turn (K4).
func (o *Once) seal(answer []byte) []byte {
	random := randomBytes(subjectKeyBytes)
	defer clear(random)
	k := subjectKey{aead: o.aead(random)}
	return k.appendSealed(o.keys.ring.current().seal(o.place(kindOnceKey), random), o.place(kindOnceAnswer), answer)
}

// open is the inverse of seal. Errors: ErrOnceGone, if the version of the tenant's key was destroyed; ErrCorrupt.
func (o *Once) open(sealed []byte) ([]byte, error) {
	if len(sealed) < subjectWrapped {
		return nil, fmt.Errorf("%w: sealed %s is short", ErrCorrupt, kindOnceAnswer)
	}
	version, err := keyVersionOf(o.place(kindOnceKey), sealed)
	if err != nil {
		return nil, err
	}
	if version < o.keys.ring.first() {
		return nil, errOnceGone
	}
	random, err := o.keys.ring.open(nil, o.place(kindOnceKey), sealed[:subjectWrapped])
	if err != nil {
		return nil, err
	}
	defer clear(random)
	k := subjectKey{aead: o.aead(random)}
	return k.openSealed(nil, o.place(kindOnceAnswer), sealed[subjectWrapped:])
}

func (o *Once) aead(random []byte) cipher.AEAD {
	key, err := hkdf.Key(sha256.New, random, nil, "mien answer v1"+o.secret, subjectKeyBytes)
	must(err) // the length is right
	defer clear(key)
	aead, err := newAEAD(key)
	must(err)
	return aead
}

// done says what the call that this write is of is about to return, for when the request comes again.
func (t *tx) done(result any, created bool) {
	t.told, t.result, t.created = true, result, created
}

// doneOf is done for a write of a person, with whom the answer goes.
func (p *personTx) doneOf(after Person, created bool) {
	p.done(after, created)
	p.about = p
}

// checkOnce refuses a request that was done already, and makes room for its record. Errors: errOnceDone, ErrOnceFull, the store's.
// REQUIRES: the turn.
func (t *tx) checkOnce() error {
	o := t.once
	if keys, err := o.engine.tenantKeys(o.tenant); err != nil || keys != o.keys {
		return errTenantNotFound // erased meanwhile
	}
	r, err := t.store.onceRecord(o.tenant, o.keys, o.id)
	if err != nil {
		return err
	}
	if r != nil && !r.expired(t.now) {
		return errOnceDone
	}
	if r != nil {
		t.forgetOnce(o.tenant, o.id, r)
		return nil
	}
	return t.roomForOnce()
}

// roomForOnce has the tenant's oldest record go if there are too many. Errors: ErrOnceFull.
func (t *tx) roomForOnce() error {
	o := t.once
	if t.store.once.count(o.tenant).n < t.store.once.most {
		return nil
	}
	return t.store.eachOnce(o.tenant, func(made int64, id onceID) (bool, error) {
		if left := time.Duration(made+onceLeast.Milliseconds()-t.now) * time.Millisecond; left > 0 {
			return false, &OnceFullError{left}
		}
		r, err := t.store.onceRecord(o.tenant, o.keys, id)
		if err == nil && r != nil {
			t.forgetOnce(o.tenant, id, r)
		}
		return false, err
	})
}

// stageOnce stages the record of a request that the write does, with its answer. REQUIRES: done was called, checkOnce before.
func (t *tx) stageOnce() error {
	o := t.once
	if o == nil {
		return nil
	}
	answer, err := o.answer(t.result, t.created)
	if err != nil || answer == nil {
		return err
	}
	r := onceRecord{Made: t.now, Request: o.request[:]}
	if p := t.about; p != nil {
		r.Gallery, r.Number, r.Person = p.g.name, p.g.record.Number, p.id
		t.set(onceAnswerKey(r.Number, r.Person, o.id), o.seal(answer))
	} else {
		r.Answer = o.seal(answer)
	}
	t.set(onceKey(o.tenant, o.id), o.keys.seal(o.place(kindOnce), appendJSONRecord(r)))
	t.set(onceTimeKey(o.tenant, r.Made, o.id), nil)
	t.onHandOver = append(t.onHandOver, func() { t.store.once.add(o.tenant, 1, r.Made) })
	return t.raiseFormat(onceFormat)
}

func (t *tx) forgetOnce(tenant string, id onceID, r *onceRecord) {
	t.delete(onceKey(tenant, id))
	t.delete(onceTimeKey(tenant, r.Made, id))
	if r.Number != 0 {
		t.delete(onceAnswerKey(r.Number, r.Person, id))
	}
	t.onHandOver = append(t.onHandOver, func() { t.store.once.add(tenant, -1, 0) })
}

// dropAnswers stages that the answers to writes of a person go, as the person does; that the writes were done stays known.
func (p *personTx) dropAnswers() error {
	if p.store.once.count(p.g.tenant).n == 0 {
		return nil
	}
	rows := answersRange(p.g.record.Number, p.id)
	return p.store.each(rows.from, rows.to, func(key, _ []byte) (bool, error) {
		p.delete(bytes.Clone(key))
		return true, nil
	})
}

// forgetOnces stages that all that is known of a tenant's requests goes, but for answers in galleries.
func (t *tx) forgetOnces(tenant string) {
	t.deletePrefix(oncePrefix(onceItself, tenant))
	t.deletePrefix(oncePrefix(onceTime, tenant))
	t.onHandOver = append(t.onHandOver, func() { t.store.once.drop(tenant) })
}

// onceRecord reads a record, nil if there is none. Errors: the store's, ErrCorrupt.
func (s *store) onceRecord(tenant string, keys *tenantKeys, id onceID) (*onceRecord, error) {
	sealed, found, err := s.get(nil, onceKey(tenant, id))
	if err != nil || !found {
		return nil, err
	}
	plain, err := keys.open(nil, oncePlace(kindOnce, tenant, id), sealed)
	if err != nil {
		return nil, err
	}
	r := new(onceRecord)
	return r, parseJSONRecord(plain, r)
}

// eachOnce calls visit with a tenant's records, the oldest first, until it returns false or an error.
func (s *store) eachOnce(tenant string, visit func(made int64, id onceID) (bool, error)) error {
	prefix := oncePrefix(onceTime, tenant)
	return s.each(prefix, prefixEnd(prefix), func(key, _ []byte) (bool, error) {
		made, id, ok := splitOnceTime(key[len(prefix):])
		if !ok {
			return false, fmt.Errorf("%w: key of the index of requests", ErrCorrupt)
		}
		return visit(made, id)
	})
}

// loadOnce counts the records. REQUIRES: nobody else uses e.
func (e *Engine) loadOnce() error {
	for tenant := range e.mu.sealers {
		err := e.store.eachOnce(tenant, func(made int64, _ onceID) (bool, error) {
			e.store.once.add(tenant, 1, made)
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepOnce forgets requests that were done long ago.
func (e *Engine) sweepOnce(now int64) {
	before := now - onceLife.Milliseconds()
	for _, tenant := range e.store.once.due(before) {
		for more := true; more; {
			var err error
			if more, err = e.forgetSome(tenant, before); err != nil {
				if e.stopped.Err() == nil {
					e.log.Error("requests that were done long ago could not be forgotten yet", "tenant", tenant, "error", err)
				}
				break
			}
		}
	}
}

// forgetSome forgets up to maxOnceSweep records of a tenant, and reports whether there may be more.
func (e *Engine) forgetSome(tenant string, before int64) (more bool, err error) {
	keys, err := e.tenantKeys(tenant)
	if err != nil {
		return false, err
	}
	err = e.store.update(e.stopped, true, func(t *tx) error {
		n := 0
		return t.store.eachOnce(tenant, func(made int64, id onceID) (bool, error) {
			if more = n == maxOnceSweep; more || made > before {
				t.onHandOver = append(t.onHandOver, func() { t.store.once.setOldest(tenant, made) })
				return false, nil
			}
			n++
			r, err := t.store.onceRecord(tenant, keys, id)
			if err == nil && r != nil {
				t.forgetOnce(tenant, id, r)
			}
			return true, err
		})
	})
	return more, err
}

// OnceFullError is an ErrOnceFull with the time until there is room.
type OnceFullError struct{ Retry time.Duration }

// Error says what to do.
func (e *OnceFullError) Error() string {
	return fmt.Sprintf("%d requests with an idempotency key were made within minutes, the most that are remembered: wait as long as Retry-After says, or send requests that may be repeated as they are without one", maxOnce)
}

// Unwrap returns ErrOnceFull.
func (e *OnceFullError) Unwrap() error { return ErrOnceFull }

// What follows prefixOnce.
const (
	onceItself = 't' // tenant 0x00 id
	onceTime   = 'd' // tenant 0x00 ms u64 id
	onceAnswer = 'a' // gallery# u64 person 0x00 id
)

func oncePrefix(sort byte, tenant string) []byte {
	return append(append([]byte{prefixOnce, sort}, tenant...), 0)
}

func onceKey(tenant string, id onceID) []byte {
	return append(oncePrefix(onceItself, tenant), id[:]...)
}

func onceTimeKey(tenant string, made int64, id onceID) []byte {
	return append(binary.BigEndian.AppendUint64(oncePrefix(onceTime, tenant), uint64(made)), id[:]...)
}

// splitOnceTime is the inverse of onceTimeKey, for what follows the prefix.
func splitOnceTime(rest []byte) (made int64, id onceID, ok bool) {
	if len(rest) != 8+len(id) {
		return 0, id, false
	}
	return int64(binary.BigEndian.Uint64(rest)), onceID(rest[8:]), true
}

// onceAnswerPrefix begins the keys of all answers to writes of a gallery's people.
func onceAnswerPrefix(gallery uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixOnce, onceAnswer}, gallery)
}

func onceAnswerKey(gallery uint64, person string, id onceID) []byte {
	return append(append(append(onceAnswerPrefix(gallery), person...), 0), id[:]...)
}
