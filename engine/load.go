package engine

import (
	"fmt"
	"strings"
	"time"
)

// load fills memory from the store and refuses a store that does not add up. REQUIRES: nobody else uses e.
func (e *Engine) load() error {
	begin := time.Now()
	for _, step := range []func() error{e.loadTenants, e.loadKeys, e.loadGalleries, e.loadPeople} {
		if err := step(); err != nil {
			return err
		}
	}
	people, templates := 0, 0
	for _, g := range e.mu.galleries {
		people, templates = people+len(g.mu.people), templates+g.mu.templates
	}
	e.log.Info("store loaded", "galleries", len(e.mu.galleries), "people", people, "templates", templates, "ms", time.Since(begin).Milliseconds())
	return nil
}

func (e *Engine) loadTenants() error {
	prefix := []byte{prefixTenant}
	return e.store.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		tenant := string(k[1:])
		key, err := e.master.open(nil, place{kind: kindDataKey, tenant: tenant}, v)
		if err != nil {
			return false, err
		}
		defer clear(key)
		e.mu.sealers[tenant], err = newSealer(key)
		return true, err
	})
}

func (e *Engine) loadKeys() error {
	prefix := []byte{prefixAPIKey}
	return e.store.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		r := new(keyRecord)
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
		g, err := e.newGallery(tenant, name, r, seal)
		if err != nil {
			return false, err
		}
		e.mu.galleries[galleryName{tenant, name}] = g
		return true, nil
	})
}

func (e *Engine) loadPeople() error {
	for name, g := range e.mu.galleries {
		if err := e.loadGallery(g); err != nil {
			return fmt.Errorf("engine: load gallery %q of tenant %q: %w", name.name, name.tenant, err)
		}
	}
	return nil
}

// loadGallery reads the people of a gallery, then its templates, which must be those the people name.
func (e *Engine) loadGallery(g *gallery) error {
	records := make(map[string]*personRecord)
	prefix := galleryPrefix(prefixPerson, g.record.Number)
	err := e.store.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		id := string(k[len(prefix):])
		r, err := g.openPerson(id, v)
		if err != nil {
			return false, err
		}
		g.put(id, r.version, 0, nil)
		r.metadata = nil
		records[id] = r
		return true, nil
	})
	if err != nil {
		return err
	}
	return e.loadTemplates(g, records)
}

func (e *Engine) loadTemplates(g *gallery, records map[string]*personRecord) error {
	prefix := galleryPrefix(prefixTemplate, g.record.Number)
	loaded, want := 0, 0
	plain, vector := make([]byte, 0, 4*g.record.Dim), make([]float32, g.record.Dim)
	err := e.store.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		id, number, ok := splitTemplateKey(k)
		if !ok || !records[id].has(number) {
			return false, fmt.Errorf("%w: a template without its person", ErrCorrupt)
		}
		loaded++
		return true, g.loadTemplate(id, number, v, plain, vector)
	})
	for _, r := range records {
		want += len(r.templates)
	}
	if err == nil && loaded != want {
		err = fmt.Errorf("%w: %d templates, the people name %d", ErrCorrupt, loaded, want)
	}
	clear(plain[:cap(plain)])
	return err
}

func (g *gallery) loadTemplate(id string, number uint32, sealed, plain []byte, vector []float32) error {
	m := g.mu.people[id]
	if g.space == nil {
		m.templates++
		g.mu.templates++
		return nil
	}
	plain, err := g.seal.open(plain[:0], g.templatePlace(id, number), sealed)
	if err != nil {
		return err
	}
	if err := vectorInto(vector, plain); err != nil {
		return err
	}
	row, err := g.index.Add(m.label, vector)
	if err != nil {
		return fmt.Errorf("%w: template: %w", ErrCorrupt, err)
	}
	m.rows = append(m.rows, row)
	m.templates++
	g.mu.templates++
	return nil
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
