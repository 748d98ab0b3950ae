package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// load fills memory from the store and refuses a store that does not add up. REQUIRES: nobody else uses e.
func (e *Engine) load() error {
	begin := time.Now()
	for _, step := range []func() error{e.finishErasures, e.loadTenants, e.loadOnce, e.loadAudit, e.loadKeys, e.loadGalleries, e.removeStrayIndexes, e.loadPeople, e.loadJobs, e.loadDocuments} {
		if err := step(); err != nil {
			return err
		}
	}
	people, templates := 0, 0
	for _, g := range e.mu.galleries {
		people, templates = people+len(g.mu.people), templates+g.mu.templates
	}
	e.log.Info("store loaded", "galleries", len(e.mu.galleries), "people", people, "templates", templates, "read", e.opened.read,
		"saved_indexes", e.opened.saved, "ms", time.Since(begin).Milliseconds())
	return nil
}

func (e *Engine) loadTenants() error {
	prefix := []byte{prefixTenant}
	return e.store.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		tenant := string(k[1:])
		ring, err := e.keys.ring(tenant)
		if err == nil && ring == nil {
			err = fmt.Errorf("%w: %s has no key of tenant %q", ErrKeyStore, e.keys.dir, tenant)
		}
		if err == nil {
			e.mu.sealers[tenant], err = openTenantKeys(ring, tenant, v)
			if version, bad := keyVersionOf(dataKeyPlace(tenant), v); err != nil && bad == nil && !slices.Contains(ring.living(), version) {
				err = fmt.Errorf("%w (version %d of the key of tenant %q is destroyed: the store is of before a rotation, and the key store of after it)", ErrKeyStore, version, tenant)
			}
		}
		return err == nil, err
	})
}

func (e *Engine) loadKeys() error {
	prefix := []byte{prefixAPIKey}
	return e.store.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		r := &keyRecord{used: new(atomic.Int64)}
		id := fmt.Sprintf("%x", k[1:])
		if err := e.store.openRecord(keyPlace(id), v, r); err != nil {
			return false, err
		}
		if id != r.ID {
			return false, fmt.Errorf("%w: API key record under another id", ErrCorrupt)
		}
		e.mu.keys[r.ID] = r
		return true, nil
	})
}

func (e *Engine) loadGalleries() error {
	prefix := []byte{prefixGallery}
	return e.store.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		var r galleryRecord
		tenant, name, ok := strings.Cut(string(k[1:]), "\x00")
		if err := e.store.openRecord(galleryPlace(tenant, name), v, &r); err != nil {
			return false, err
		}
		seal := e.mu.sealers[tenant]
		if !ok || seal == nil || checkNames(tenant, name) != nil {
			return false, fmt.Errorf("%w: gallery record without its tenant", ErrCorrupt)
		}
		g, err := e.loadedGallery(tenant, name, r, seal)
		if err != nil {
			return false, err
		}
		e.mu.galleries[galleryName{tenant, name}] = g
		return true, nil
	})
}

// loadedGallery makes a gallery, and the one that it is being moved to, without people.
func (e *Engine) loadedGallery(tenant, name string, r galleryRecord, seal *tenantKeys) (*gallery, error) {
	var next *gallery
	if r.Move != nil {
		var err error
		if next, err = e.newSuccessor(tenant, name, r.moved(), seal); err != nil {
			return nil, err
		}
		r.Move = nil // of when it was loaded: in memory, successor says it
	}
	g, err := e.newGallery(tenant, name, r, seal)
	if err != nil {
		return nil, err
	}
	g.successor.Store(next)
	return g, nil
}

func (e *Engine) loadPeople() error {
	for name, g := range e.mu.galleries {
		err := e.loadGallery(g)
		if next := g.successor.Load(); err == nil && next != nil {
			if err = e.loadGallery(next); err == nil && !g.hasAllOf(next) {
				err = fmt.Errorf("%w: a person of the new space only", ErrCorrupt)
			}
		}
		if err != nil {
			err = fmt.Errorf("engine: load gallery %q of tenant %q: %w", name.name, name.tenant, err)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		if err != nil {
			e.setDamaged(g, err)
		}
	}
	return nil
}

// setDamaged keeps a gallery that can't be loaded out of everything but lists and its deletion (X2).
func (e *Engine) setDamaged(g *gallery, err error) {
	e.log.Error("a gallery is damaged and not served: restore the store from a backup", "gallery", g.record.Number, "error", err)
	for _, half := range []*gallery{g, g.successor.Swap(nil)} {
		if half == nil {
			continue
		}
		if x := half.currentIndex(); x != nil {
			_ = x.Close() // a cache, made anew
		}
		half.mu.index, half.mu.people, half.mu.ids, half.mu.templates = nil, make(map[string]*member), nil, 0
	}
	g.damage = err
}

// loadGallery reads the people of a gallery, then those templates that its saved index lacks, or all, which must be
// those the people name. An index most of which it had to make is saved: nobody writes yet, and it is there if the
// process ends without Close.
func (e *Engine) loadGallery(g *gallery) error {
	saved := e.openSaved(g)
	records, err := e.readPeople(g, func(id string, r *personRecord) {
		g.put(id, r.version, g.traitsOf(r), len(r.templates), nil)
		g.setDue(id, r.due())
	})
	if err != nil {
		return errors.Join(err, saved.close())
	}
	g.dropAbsent()
	read, used := 0, false
	if saved != nil {
		if read, used = e.useSaved(g, saved, records); used {
			e.opened.saved++
		}
	}
	if !used {
		x, rows, err := e.buildIndex(e.stopped, g, records)
		if err != nil {
			return err
		}
		g.useIndex(x, rows)
		read = g.mu.templates
	}
	e.opened.read += read
	if 8*read > g.mu.templates {
		e.saveIndex(g)
	}
	return nil
}

// readPeople calls visit with every person of a gallery, and returns their records without metadata.
func (e *Engine) readPeople(g *gallery, visit func(id string, r *personRecord)) (map[string]*personRecord, error) {
	records := make(map[string]*personRecord)
	prefix := galleryPrefix(prefixPerson, g.record.Number)
	err := e.store.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		id := string(k[len(prefix):])
		r, err := g.openPerson(id, v)
		if err != nil {
			return false, err
		}
		visit(id, r)
		r.metadata = nil // visit is told, the records don't keep it
		r.key.forget()   // a key in use has 1 KB
		records[id] = r
		return true, nil
	})
	return records, err
}

// buildIndex makes a gallery's index from the store, nil where the space is not configured, and says which rows each
// label has. Errors: ErrCorrupt, also if the templates are not those that the people name; the index's; ctx's.
// REQUIRES: records are those of memory, and nobody changes the gallery's people meanwhile.
func (e *Engine) buildIndex(ctx context.Context, g *gallery, records map[string]*personRecord) (x searcher, rows [][]uint32, err error) {
	if g.space != nil {
		if x, err = e.newIndex(g); err != nil {
			return nil, nil, err
		}
	}
	rows, err = newLoader(ctx, g, x, records).run(e.store)
	if err != nil && x != nil {
		err = errors.Join(err, x.Close())
	}
	return x, rows, err
}

func (r *personRecord) has(number uint32) bool {
	if r == nil {
		return false
	}
	for _, t := range r.templates {
		if t.number == number {
			return true
		}
	}
	return false
}
