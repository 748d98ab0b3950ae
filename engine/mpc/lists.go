package mpc

import "sync"

// tenantList is who of a tenant can be found under which user id. Order: mu, database.turn, Gateway.mu.
type tenantList struct {
	mu      sync.Mutex
	now     *listing[string]
	changed map[Subject]bool // since; protected by Gateway.mu
}

// noteLists says that a decision is durable that changes who can be found.
func (g *Gateway) noteLists(d *decision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch l := g.mu.lists[d.of.Tenant]; {
	case l == nil || d.kind == decideRefreshCommit:
	case d.kind == decideEraseTenant:
		delete(g.mu.lists, d.of.Tenant)
	default:
		for _, of := range d.subjects() {
			l.changed[of] = true
		}
	}
}

// list returns the people of a tenant who can be found, in the order of the parties' rows. It reads those who changed since it was asked
// last. Errors: ErrCorrupt, the disk's.
func (g *Gateway) list(tenant ID) (*listing[string], error) {
	g.mu.Lock()
	l := g.mu.lists[tenant]
	if l == nil {
		l = &tenantList{changed: make(map[Subject]bool)}
		g.mu.lists[tenant] = l
	}
	g.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	err := g.dir.view(func() (err error) { // what is written later is noted later
		g.mu.Lock()
		changed := l.changed
		l.changed = make(map[Subject]bool)
		g.mu.Unlock()
		switch {
		case l.now == nil:
			l.now, err = g.dir.listing(tenant)
		case len(changed) > 0:
			l.now, err = g.dir.relisted(l.now, changed)
		}
		return err
	})
	if err != nil {
		l.now = nil
	}
	return l.now, err
}

// listing reads who of a tenant can be found.
func (d *directory) listing(tenant ID) (*listing[string], error) {
	l := &listing[string]{}
	err := d.each(append([]byte{prefixEntry}, tenant[:]...), func(key, value []byte) error {
		of := subjectOf(key)
		e, err := d.openEntry(of, value)
		if err == nil && e.found() {
			l.rids, l.gens, l.of = append(l.rids, of.RID), append(l.gens, e.Gen), append(l.of, e.User)
		}
		return err
	})
	l.hash = rowsHash(l.rids, l.gens)
	return l, err
}

// relisted is a listing after changes of some people.
func (d *directory) relisted(l *listing[string], changed map[Subject]bool) (*listing[string], error) {
	changes := make([]change[string], 0, len(changed))
	for of := range changed {
		e, _, err := d.entry(of)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change[string]{of.RID, e.found(), e.Gen, e.User})
	}
	return l.with(changes), nil
}

// found says whether searches find who it is of.
func (e entry) found() bool { return e.State == stateActive && e.Gallery }
