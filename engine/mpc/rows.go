package mpc

import (
	"errors"
	"fmt"
	"sync"
)

// rowsOf says which records' shares can be compared with one probe.
type rowsOf struct {
	model, dim uint16
	logScale   byte // at another, the threshold would mean another cosine
}

// rows are of records that can be compared under a policy.
func (p Policy) rows() rowsOf {
	return rowsOf{p.Model, uint16(p.Params.Dim), byte(p.Params.LogScale)}
}

// rows are a tenant's shares for identification, of one model and scale, as they are at a moment. They are valid until release; meanwhile nobody changes
// what is in memory.
type rows struct {
	*listing[int32] // slots
	kind            rowsOf
	version         ID
	in              *slabs
	release         func() // may be called again
}

func (r *rows) len() int { return len(r.rids) }

func (r *rows) fits(dim int) bool { return r.in.dim == dim }

// products is as Gallery's, and ends the use of the rows.
func (r *rows) products(dst []uint16, y Share) {
	r.in.products(dst, r.of, y)
	r.release()
}

// galleries keep the rows of tenants that are searched, in memory: 4 bytes × dim each (2 KiB at 512). They are made of the store when a
// tenant is searched first, or after a refresh; a change is put in by the next search, which reads the records that changed and copies who
// is in which slot, not the rows. Safe for concurrent use.
type galleries struct {
	store *partyStore
	mu    struct {
		sync.Mutex
		of map[ID]*tenantRows
	}
}

// tenantRows are a tenant's. Order: mu, use, galleries.mu.
type tenantRows struct {
	mu      sync.Mutex   // held while rows are made
	use     sync.RWMutex // held to write while what is in memory changes
	now     *rows
	changed map[ID]bool // since; protected by galleries.mu
}

// note says that records were written. It is called when the write is durable.
func (g *galleries) note(of ...Subject) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, of := range of {
		if t := g.mu.of[of.Tenant]; t != nil {
			t.changed[of.RID] = true
		}
	}
}

// settle puts changes into a tenant's rows that are in memory, so that no row of somebody who was erased stays there. It waits for those who
// use them.
func (g *galleries) settle(tenant ID) {
	g.mu.Lock()
	t := g.mu.of[tenant]
	g.mu.Unlock()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now == nil {
		return
	}
	var err error
	if t.now, err = g.change(t, tenant, g.changes(t)); err != nil {
		t.now = nil // the next search reads all
	}
}

// changes takes what was noted.
func (g *galleries) changes(t *tenantRows) map[ID]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	changed := t.changed
	t.changed = make(map[ID]bool)
	return changed
}

// forget drops a tenant's rows.
func (g *galleries) forget(tenant ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.mu.of, tenant)
}

func (g *galleries) forgetAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.mu.of)
}

func (g *galleries) tenant(tenant ID) *tenantRows {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.of == nil {
		g.mu.of = make(map[ID]*tenantRows)
	}
	t := g.mu.of[tenant]
	if t == nil {
		t = &tenantRows{changed: make(map[ID]bool)}
		g.mu.of[tenant] = t
	}
	return t
}

// rows returns a tenant's rows of a kind as they are; release must be called when they are no more used. Who has them waits for nothing and
// nobody meanwhile: changes wait for all who have them, and others for the changes. Errors: ErrCorrupt, the disk's.
func (g *galleries) rows(tenant ID, kind rowsOf) (r *rows, err error) {
	t := g.tenant(tenant)
	t.mu.Lock()
	defer t.mu.Unlock()
	changed := g.changes(t)
	now, version := t.now, g.store.versionNow()
	switch {
	case now == nil || now.kind != kind || now.version != version || now.in.spread():
		t.now, err = g.readAll(tenant, kind)
	case len(changed) > 0:
		t.now, err = g.change(t, tenant, changed)
	}
	if err != nil {
		t.now = nil
		return nil, err
	}
	t.use.RLock()
	r = new(rows)
	*r = *t.now
	r.release = sync.OnceFunc(t.use.RUnlock)
	return r, nil
}

// change reads records that changed and puts them in the place of what was there.
func (g *galleries) change(t *tenantRows, tenant ID, changed map[ID]bool) (*rows, error) {
	now := t.now
	changes, shares := make([]change[int32], 0, len(changed)), make(map[ID]ShortShare)
	for rid := range changed {
		h, v, is, err := g.store.record(Subject{tenant, rid})
		if err == nil && is != now.version {
			err = fmt.Errorf("%w: a refresh came between", ErrContext)
		}
		if err != nil && !errors.Is(err, ErrUnknown) {
			return nil, err
		}
		in := err == nil && now.has(h)
		if in {
			shares[rid] = v.gallery
		}
		changes = append(changes, change[int32]{rid: rid, in: in, gen: h.gen})
	}
	t.use.Lock()
	defer t.use.Unlock()
	for i, c := range changes {
		if slot, found := now.find(c.rid); found {
			now.in.wipe(slot)
		}
		if c.in {
			changes[i].of = now.in.put(shares[c.rid])
		}
	}
	next := *now
	next.listing = now.with(changes)
	return &next, nil
}

// has says whether a record is one of the rows.
func (r *rows) has(h head) bool {
	return rowsOf{h.model, h.dim, h.gallery} == r.kind
}

// readAll reads a tenant's rows as of one moment.
func (g *galleries) readAll(tenant ID, kind rowsOf) (*rows, error) {
	made := &rows{listing: &listing[int32]{}, kind: kind, in: &slabs{dim: int(kind.dim)}}
	var epoch uint32
	var k *kek
	s := g.store
	snapshot, err := s.snapshot(func() (err error) {
		_, epoch, _ = s.current()
		made.version = s.versionNow()
		k, err = s.kek(epoch)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer func() { must(snapshot.Close()) }()
	err = eachOf(snapshot, append([]byte{prefixHead}, tenant[:]...), func(key, value []byte) error {
		h, err := parseHead(value)
		if err != nil || h.state != stateActive || !made.has(h) {
			return err
		}
		of := subjectOf(key)
		r, err := s.sealed(snapshot, epoch, of)
		if err != nil {
			return err
		}
		v, err := k.open(epoch, of, r)
		if err == nil {
			made.rids, made.gens, made.of = append(made.rids, of.RID), append(made.gens, h.gen), append(made.of, made.in.put(v.gallery))
		}
		return err
	})
	made.hash = rowsHash(made.rids, made.gens)
	return made, err
}
