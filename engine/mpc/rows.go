package mpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// rows are a tenant's shares for identification, in the order of rids, which is the same at all parties and at the gateway. Immutable.
type rows struct {
	rids    []ID
	gens    []uint32
	policy  uint16
	dim     int
	version ID
	gallery Gallery
	hash    [32]byte
}

// rowsHash names rows in their order; parties and gateway compare it.
func rowsHash(rids []ID, gens []uint32) [32]byte {
	h := sha256.New()
	h.Write([]byte("mien/mpc/rows/v1"))
	for i, rid := range rids {
		h.Write(binary.LittleEndian.AppendUint32(rid[:len(rid):len(rid)], gens[i]))
	}
	return [32]byte(h.Sum(nil))
}

// galleries keep the rows of tenants that are searched, in memory: 4 bytes × dim each (2 KiB at 512). They are made of the store when a
// tenant is searched first, or after a refresh; a change is put in by the next search, which copies the tenant's rows once. Safe for
// concurrent use.
type galleries struct {
	store *partyStore
	mu    struct {
		sync.Mutex
		of map[ID]*tenantRows
	}
}

type tenantRows struct {
	mu      sync.Mutex // held while rows are made
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

// forget drops a tenant's rows.
func (g *galleries) forget(tenant ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.mu.of, tenant)
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

// rows returns a tenant's rows of a model as they are. Errors: ErrCorrupt, the disk's.
func (g *galleries) rows(tenant ID, model uint16, dim int) (*rows, error) {
	t := g.tenant(tenant)
	t.mu.Lock()
	defer t.mu.Unlock()
	g.mu.Lock()
	changed := t.changed
	t.changed = make(map[ID]bool)
	g.mu.Unlock()
	version := g.store.versionNow()
	if now := t.now; now != nil && now.policy == model && now.dim == dim && now.version == version && len(changed) == 0 {
		return now, nil
	}
	made, err := g.make(t.now, changed, tenant, model, dim, version)
	if err != nil {
		g.forget(tenant)
		return nil, err
	}
	t.now = made
	return made, nil
}

// row is one that is read, or nil for none.
type row struct {
	rid ID
	gen uint32
	s   ShortShare
}

func (g *galleries) make(old *rows, changed map[ID]bool, tenant ID, model uint16, dim int, version ID) (*rows, error) {
	made := &rows{policy: model, dim: dim, version: version}
	if old == nil || old.policy != model || old.dim != dim || old.version != version {
		return made, g.readAll(made, tenant)
	}
	var fresh []row
	for rid := range changed {
		h, v, is, err := g.store.record(Subject{tenant, rid})
		if err == nil && is != version {
			err = fmt.Errorf("%w: a refresh came between", ErrContext)
		}
		if err != nil && !errors.Is(err, ErrUnknown) {
			return nil, err
		}
		if err == nil && made.has(h) {
			fresh = append(fresh, row{rid, h.gen, v.gallery})
		}
	}
	slices.SortFunc(fresh, func(a, b row) int { return bytes.Compare(a.rid[:], b.rid[:]) })
	made.grow(len(old.rids) + len(fresh))
	for i, rid := range old.rids {
		for len(fresh) > 0 && bytes.Compare(fresh[0].rid[:], rid[:]) < 0 {
			made.append(fresh[0])
			fresh = fresh[1:]
		}
		if !changed[rid] {
			made.append(row{rid, old.gens[i], ShortShare{old.gallery.Own[i*dim : (i+1)*dim], old.gallery.Next[i*dim : (i+1)*dim]}})
		}
	}
	for _, r := range fresh {
		made.append(r)
	}
	made.hash = rowsHash(made.rids, made.gens)
	return made, nil
}

// has says whether a record is one of the rows.
func (r *rows) has(h head) bool {
	return h.flags&flagGallery != 0 && h.model == r.policy && int(h.dim) == r.dim
}

func (r *rows) grow(n int) {
	r.rids, r.gens = slices.Grow(r.rids, n), slices.Grow(r.gens, n)
	r.gallery.Own, r.gallery.Next = slices.Grow(r.gallery.Own, n*r.dim), slices.Grow(r.gallery.Next, n*r.dim)
}

func (r *rows) append(v row) {
	r.rids, r.gens = append(r.rids, v.rid), append(r.gens, v.gen)
	r.gallery.Own, r.gallery.Next = append(r.gallery.Own, v.s.Own...), append(r.gallery.Next, v.s.Next...)
	r.gallery.Rows++
}

// readAll reads a tenant's rows as of one moment.
func (g *galleries) readAll(made *rows, tenant ID) error {
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
		return err
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
			made.append(row{of.RID, h.gen, v.gallery})
		}
		return err
	})
	made.hash = rowsHash(made.rids, made.gens)
	return err
}
