package engine

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// KeyStatus says which versions of a tenant's key there are, and how far a rotation is.
type KeyStatus struct {
	Version  uint32    `json:"version"`  // the newest: what is written is sealed by it
	Created  time.Time `json:"created"`  // of the newest
	Versions []uint32  `json:"versions"` // that are not destroyed, oldest first; more than one until a rotation is done
	Running  bool      `json:"running"`
	People   int       `json:"people"`      // whose keys are to be sealed by the newest version, as counted when the rotation began
	Done     int       `json:"people_done"` // who were looked at
	// Next is when the key is rotated next, if it is by itself (Config.RotateEvery).
	Next time.Time `json:"next,omitzero"`
}

const (
	// rewrapPeople and rewrapBytes bound what one batch of a rotation looks at, and holds: others write in between.
	rewrapPeople = 512
	rewrapBytes  = 1 << 20
	// keyGrace is how long a destroyed version of a key stays in memory, for reads that began before it was destroyed (K9).
	keyGrace = time.Hour
	keyTick  = time.Minute
)

// rotator is the rotations that wait or run.
type rotator struct {
	wake chan struct{}
	mu   struct {
		sync.Mutex
		waiting []string             // tenants, in order, each once
		running map[string]*rotation // one at most
		retired []retiredKeys
	}
}

// rotation is one that runs.
type rotation struct {
	cancel       context.CancelFunc
	people, done int
}

// retiredKeys are versions of a key that are destroyed, and still in memory.
type retiredKeys struct {
	ring   *keyring
	before uint32
	at     time.Time
}

func newRotator() *rotator {
	r := &rotator{wake: make(chan struct{}, 1)}
	r.mu.running = make(map[string]*rotation)
	return r
}

func (r *rotator) queue(tenant string) {
	r.mu.Lock()
	if r.mu.running[tenant] == nil && !slices.Contains(r.mu.waiting, tenant) {
		r.mu.waiting = append(r.mu.waiting, tenant)
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it will look
	}
}

// take begins the next rotation; the caller calls done.
func (r *rotator) take(parent context.Context) (ctx context.Context, tenant string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.mu.waiting) == 0 || parent.Err() != nil {
		return nil, "", false
	}
	tenant, r.mu.waiting = r.mu.waiting[0], r.mu.waiting[1:]
	ctx, cancel := context.WithCancel(parent)
	r.mu.running[tenant] = &rotation{cancel: cancel}
	return ctx, tenant, true
}

func (r *rotator) done(tenant string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.running[tenant].cancel()
	delete(r.mu.running, tenant)
}

// progress notes how far a rotation is.
func (r *rotator) progress(tenant string, people, done int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if run := r.mu.running[tenant]; run != nil {
		run.people, run.done = run.people+people, run.done+done
	}
}

// cancel ends a rotation that waits or runs, and reports whether there was one.
func (r *rotator) cancel(tenant string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.mu.waiting, tenant); i >= 0 {
		r.mu.waiting = slices.Delete(r.mu.waiting, i, i+1)
		return true
	}
	run := r.mu.running[tenant]
	if run != nil {
		run.cancel()
	}
	return run != nil
}

// tenantKeys are those of a tenant that is there. Errors: ErrID, ErrTenantNotFound.
func (e *Engine) tenantKeys(tenant string) (*tenantKeys, error) {
	if err := checkName("tenant", tenant); err != nil {
		return nil, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if s := e.mu.sealers[tenant]; s != nil {
		return s, nil
	}
	return nil, errTenantNotFound
}

// KeyStatus returns that of a tenant's key. Errors: ErrID, ErrTenantNotFound, ErrClosed, ctx's.
func (e *Engine) KeyStatus(ctx context.Context, tenant string) (KeyStatus, error) {
	if err := e.enter(ctx); err != nil {
		return KeyStatus{}, err
	}
	defer e.leave()
	keys, err := e.tenantKeys(tenant)
	if err != nil {
		return KeyStatus{}, err
	}
	return e.keyStatus(tenant, keys), nil
}

func (e *Engine) keyStatus(tenant string, keys *tenantKeys) KeyStatus {
	s := KeyStatus{Version: keys.ring.current().version, Created: keys.ring.createdAt(), Versions: keys.ring.living()}
	if e.rotateEvery > 0 {
		s.Next = s.Created.Add(e.rotateEvery)
	}
	e.rotator.mu.Lock()
	defer e.rotator.mu.Unlock()
	if run := e.rotator.mu.running[tenant]; run != nil {
		s.Running, s.People, s.Done = true, run.people, run.done
	} else {
		s.Running = slices.Contains(e.rotator.mu.waiting, tenant)
	}
	return s
}

// RotateTenantKey makes a new version of a tenant's key, by which all is sealed from now on, and begins to seal the keys of the
// people by it, in the background: once that is done the old versions are destroyed (K8). Where a rotation was not finished,
// it is taken up again, and no further version made. Errors: ErrID, ErrTenantNotFound, the root key's, and those of every write.
func (e *Engine) RotateTenantKey(ctx context.Context, tenant string) (KeyStatus, error) {
	if err := e.enter(ctx); err != nil {
		return KeyStatus{}, err
	}
	defer e.leave()
	return e.rotateTenantKey(ctx, tenant)
}

func (e *Engine) rotateTenantKey(ctx context.Context, tenant string) (KeyStatus, error) {
	keys, err := e.tenantKeys(tenant)
	if err != nil {
		return KeyStatus{}, err
	}
	err = e.store.update(ctx, false, func(t *tx) error {
		if now, err := e.tenantKeys(tenant); err != nil || now != keys || len(keys.ring.living()) > 1 {
			return err // erased meanwhile, or to be taken up again
		}
		newest, created, err := e.keys.addVersion(tenant, t.now)
		if err != nil {
			return err
		}
		keys.ring.add(newest, created) // also if the write does not come to pass: nothing is sealed by it then
		t.audit(auditEntry{tenant: tenant, op: AuditTenantRotate})
		return t.rewrapDataKey(tenant, keys)
	})
	if err != nil {
		return KeyStatus{}, err
	}
	e.rotator.queue(tenant)
	return e.keyStatus(tenant, keys), nil
}

// CancelRotation ends the work of a rotation: old versions of the key stay until RotateTenantKey, or the next start, takes it up again.
// Errors: ErrID, ErrTenantNotFound, ErrNotRotating, ErrClosed, ctx's.
func (e *Engine) CancelRotation(ctx context.Context, tenant string) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	if _, err := e.tenantKeys(tenant); err != nil {
		return err
	}
	if !e.rotator.cancel(tenant) {
		return errNotRotating
	}
	return nil
}

// rotateKeys runs until Close.
func (e *Engine) rotateKeys() {
	for {
		e.rotateDue()
		for e.rotateOne() {
		}
		timer := time.NewTimer(e.keyTick)
		select {
		case <-e.rotator.wake:
		case <-timer.C:
		case <-e.stopped.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// rotateDue begins what is due by the clock, and forgets versions that were destroyed a while ago.
func (e *Engine) rotateDue() {
	e.rotator.retire(e.keyGrace)
	if e.rotateEvery <= 0 {
		return
	}
	now := e.store.now()
	for tenant, keys := range e.allTenants() {
		if now.Sub(keys.ring.createdAt()) < e.rotateEvery {
			continue
		}
		if _, err := e.rotateTenantKey(e.stopped, tenant); err != nil && e.stopped.Err() == nil {
			e.log.Error("a tenant's key could not be rotated; it is tried again", "tenant", tenant, "error", err)
		}
	}
}

// allTenants are the tenants who have keys.
// Tenants are those that have keys or galleries, in order.
func (e *Engine) Tenants() []string { return slices.Sorted(maps.Keys(e.allTenants())) }

func (e *Engine) allTenants() map[string]*tenantKeys {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return maps.Clone(e.mu.sealers)
}

func (r *rotator) retire(grace time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.retired = slices.DeleteFunc(r.mu.retired, func(k retiredKeys) bool {
		due := time.Since(k.at) >= grace
		if due {
			k.ring.drop(k.before)
		}
		return due
	})
}

// rotateOne does the next rotation, and reports whether there was one.
func (e *Engine) rotateOne() bool {
	ctx, tenant, ok := e.rotator.take(e.stopped)
	if !ok {
		return false
	}
	begin := time.Now()
	err := e.rewrapTenant(ctx, tenant)
	ended := ctx.Err() != nil
	e.rotator.done(tenant)
	switch {
	case err == nil:
		e.log.Info("a tenant's key was rotated", "tenant", tenant, "ms", time.Since(begin).Milliseconds())
	case ended || errors.Is(err, ErrTenantNotFound):
	default:
		e.log.Error("the rotation of a tenant's key is not finished: old versions stay; it is tried again", "tenant", tenant, "error", err)
		if pause(e.stopped, e.keyTick); e.stopped.Err() == nil {
			e.rotator.queue(tenant)
		}
	}
	return true
}

// rewrapTenant seals all that a tenant's key seals by its newest version, then destroys the others. Errors: ErrTenantNotFound, if
// the tenant is erased meanwhile; ctx's, ErrCorrupt, the store's.
func (e *Engine) rewrapTenant(ctx context.Context, tenant string) error {
	keys, err := e.tenantKeys(tenant)
	if err != nil {
		return err
	}
	newest := keys.ring.current().version // what is made from now on is sealed by it (K4)
	galleries := slices.DeleteFunc(e.allGalleries(), func(g *gallery) bool { return g.tenant != tenant })
	for _, g := range galleries {
		e.rotator.progress(tenant, g.people(), 0)
	}
	if err := e.rewrapDataKey(ctx, tenant, keys); err != nil {
		return err
	}
	for _, g := range galleries {
		if err := e.rewrapGallery(ctx, g); err != nil {
			return err
		}
	}
	return e.store.whileQuiet(ctx, func() error { // so that all of it is durable
		if now, err := e.tenantKeys(tenant); err != nil || now != keys {
			return cmp.Or(err, error(errTenantNotFound))
		}
		if err := e.keys.destroy(tenant, newest); err != nil {
			return err
		}
		e.rotator.mu.Lock()
		defer e.rotator.mu.Unlock()
		keys.ring.least.Store(newest)
		e.rotator.mu.retired = append(e.rotator.mu.retired, retiredKeys{keys.ring, newest, time.Now()})
		return nil
	})
}

func (e *Engine) rewrapDataKey(ctx context.Context, tenant string, keys *tenantKeys) error {
	return e.store.update(ctx, false, func(t *tx) error {
		if now, err := e.tenantKeys(tenant); err != nil || now != keys {
			return cmp.Or(err, error(errTenantNotFound))
		}
		return t.rewrapDataKey(tenant, keys)
	})
}

// rewrapDataKey stages a tenant's data key sealed by the newest version of the tenant's key.
func (t *tx) rewrapDataKey(tenant string, keys *tenantKeys) error {
	sealed, found, err := t.get(tenantKey(tenant))
	if err != nil || !found {
		return cmp.Or(err, error(errTenantNotFound))
	}
	again, err := keys.ring.rewrapped(dataKeyPlace(tenant), sealed)
	if err == nil && again != nil {
		t.set(tenantKey(tenant), again)
	}
	return err
}

// rewrapGallery goes through a gallery's people, some in a batch.
func (e *Engine) rewrapGallery(ctx context.Context, g *gallery) error {
	for after := galleryPrefix(prefixPerson, g.record.Number); after != nil; {
		looked := 0
		err := e.store.update(ctx, false, func(t *tx) (err error) {
			after, looked, err = g.rewrapSome(t, after)
			return err
		})
		if err != nil {
			return err
		}
		e.rotator.progress(g.tenant, 0, looked)
	}
	return nil
}

// rewrapSome stages the people from a key on, up to a bound, and returns the key to go on from, nil at the end.
func (g *gallery) rewrapSome(t *tx, from []byte) (next []byte, looked int, err error) {
	prefix := galleryPrefix(prefixPerson, g.record.Number)
	err = t.store.each(from, prefixEnd(prefix), func(key, row []byte) (bool, error) {
		if looked == rewrapPeople || t.batch.Len() > rewrapBytes {
			next = bytes.Clone(key)
			return false, nil
		}
		looked++
		return true, g.rewrapPerson(t, string(key[len(prefix):]), row)
	})
	return next, looked, err
}

// rewrapPerson stages the person's row with the same record, and the same key sealed by the newest version of the tenant's; of
// somebody of before format 5 all rows, sealed with a key of their own. It changes nothing that anybody is told.
func (g *gallery) rewrapPerson(t *tx, id string, row []byte) error {
	wrapped, sealed, err := splitPerson(row)
	if err != nil {
		return err
	}
	if wrapped == nil {
		p, err := g.personTx(t, id)
		if err == nil {
			err = p.modernise()
		}
		if err == nil {
			p.setRecord()
		}
		return err
	}
	again, err := g.seal.ring.rewrapped(subjectPlace(g, id), wrapped)
	if err != nil || again == nil {
		return err
	}
	t.set(personKey(g.record.Number, id), slices.Concat([]byte{subjectVersion}, again, sealed))
	return nil
}
