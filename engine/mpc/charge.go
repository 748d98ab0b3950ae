package mpc

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// Kinds of rows of attempts. A tenant's are under a prefix of their own, as a gateway chooses rids.
const (
	meterRecord   = 0
	meterTenant   = 't'
	meterIdentify = 'i'
)

// meterRow is whose attempts are counted; of a tenant's own there is no RID.
type meterRow struct {
	of   Subject
	kind byte
}

func (r meterRow) key() []byte {
	if r.kind == meterRecord {
		return subjectKey(prefixBudget, r.of)
	}
	return append(append([]byte{prefixTenantBudget}, r.of.Tenant[:]...), r.kind)
}

const (
	// ahead is how many attempts are made durable at once, at most, of a record; a tenant's are some more.
	ahead       = 8
	aheadTenant = 4096
	// maxMeters bounds the meters in memory, of some 600 bytes each; one that is taken out is written.
	maxMeters = 1 << 16
)

// meters count attempts. What is durable is never behind what was answered: a row says how many were counted, and how many more, set
// aside, may have been since. Those need no write, and so most verifications wait for no disk. A party that ends in an orderly way writes
// what was counted; one that crashed counts what was set aside as attempts of the moment when the row is read next. So a crash takes
// attempts from people, a few, and gives none. Safe for concurrent use.
type meters struct {
	store *partyStore
	mu    struct {
		sync.Mutex
		of map[meterRow]*meter
	}
}

// meter is a row's: what was counted, and how many more may be without a write.
type meter struct {
	budget  budget
	limits  []Limit
	aside   uint32
	written *pending // the write that set them aside
}

// pending is a write that many wait for.
type pending struct {
	done chan struct{}
	err  error
}

func (p *pending) wait() error {
	if p == nil {
		return nil
	}
	<-p.done
	return p.err
}

// use is an attempt, or some, at one row.
type use struct {
	row    meterRow
	limits []Limit
	n      uint32
	ahead  uint32
}

// charge counts an attempt at each record, and as many of the tenant, or none at all if a budget has no room. Attempts that come together
// are counted one after the other. durable returns when they are durable, and is to be called once: nothing may be told of them before. used is
// how many the record with the most has in its longest window. Errors: BudgetError, ErrStorage.
func (m *meters) charge(b Budgets, tenant ID, rids []ID, now int64) (durable func() error, used uint64, err error) {
	uses := []use{{meterRow{Subject{Tenant: tenant}, meterTenant}, b.Tenant, uint32(len(rids)), aheadTenant}}
	sorted := slices.Clone(rids)
	slices.SortFunc(sorted, func(a, b ID) int { return slices.Compare(a[:], b[:]) })
	for _, rid := range sorted {
		if last := &uses[len(uses)-1]; len(uses) > 1 && last.row.of.RID == rid {
			last.n++
			continue
		}
		uses = append(uses, use{meterRow{Subject{tenant, rid}, meterRecord}, b.Record, 1, ahead})
	}
	return m.chargeAll(uses, now)
}

// chargeIdentify is charge for an identification.
func (m *meters) chargeIdentify(b Budgets, tenant ID, now int64) (durable func() error, err error) {
	durable, _, err = m.chargeAll([]use{{meterRow{Subject{Tenant: tenant}, meterIdentify}, b.Identify, 1, ahead}}, now)
	return durable, err
}

func (m *meters) chargeAll(uses []use, now int64) (durable func() error, used uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*meter, len(uses))
	for i, u := range uses {
		if all[i], err = m.meterLocked(u.row, u.limits, now); err != nil {
			return nil, 0, err
		}
		if err := all[i].budget.mayCharge(u.limits, u.n, now); err != nil {
			return nil, 0, err
		}
	}
	var waits []*pending
	var short []int // whose attempts are more than are set aside
	for i, u := range uses {
		all[i].budget.add(u.n)
		if u.row.kind == meterRecord {
			used = max(used, all[i].budget.used())
		}
		if all[i].aside < u.n {
			short = append(short, i)
			continue
		}
		all[i].aside -= u.n
		waits = append(waits, all[i].written)
	}
	if len(short) > 0 {
		p, err := m.writeLocked(short, all, uses)
		if err != nil {
			return nil, 0, err
		}
		waits = append(waits, p)
	}
	return func() error {
		for _, p := range waits {
			if err := p.wait(); err != nil {
				return err
			}
		}
		return nil
	}, used, nil
}

// meterLocked returns a row's meter, with what was set aside and may have been used by a process that crashed.
func (m *meters) meterLocked(row meterRow, limits []Limit, now int64) (*meter, error) {
	if t := m.mu.of[row]; t != nil {
		return t, nil
	}
	v, err := m.store.get(row.key())
	if err != nil {
		return nil, err
	}
	aside := uint32(0)
	if len(v) >= 4 {
		aside, v = binary.LittleEndian.Uint32(v), v[4:]
	}
	b, err := parseBudget(v)
	if err != nil {
		return nil, err
	}
	t := &meter{budget: b.fit(limits), limits: limits}
	t.budget.advance(now)
	t.budget.add(aside)
	if m.mu.of == nil {
		m.mu.of = make(map[meterRow]*meter)
	}
	m.mu.of[row] = t
	return t, nil
}

// set writes a meter's row.
func (t *meter) set(b *pebble.Batch, row meterRow) {
	set(b, row.key(), t.budget.appendTo(binary.LittleEndian.AppendUint32(nil, t.aside)))
}

// spare is how many attempts may be set aside: as many as every limit would allow, and no more than half of it at once.
func (t *meter) spare(most uint32) uint32 {
	for i, l := range t.limits {
		most = min(most, l.Attempts/2, uint32(max(int64(l.Attempts)-int64(t.budget[i].sum()), 0)))
	}
	return most
}

// writeLocked sets attempts aside, and makes room. It waits for no disk.
func (m *meters) writeLocked(short []int, all []*meter, uses []use) (*pending, error) {
	p := &pending{done: make(chan struct{})}
	durable, err := m.store.begin(func(b *pebble.Batch) error {
		for _, i := range short {
			all[i].aside = all[i].spare(uses[i].ahead)
			all[i].written = p
			all[i].set(b, uses[i].row)
		}
		m.evictLocked(b, all)
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.store.waits.Go(func() {
		p.err = durable()
		close(p.done)
	})
	return p, nil
}

// evictLocked takes meters out of memory, of whom no attempt is under way now.
func (m *meters) evictLocked(b *pebble.Batch, keep []*meter) {
	for row, t := range m.mu.of {
		if len(m.mu.of) <= maxMeters {
			return
		}
		if slices.Contains(keep, t) {
			continue
		}
		t.aside = 0
		t.set(b, row) // lost in a crash, what was set aside counts as used
		delete(m.mu.of, row)
	}
}

// flush writes what was counted, so that nothing that was set aside is lost. It is for an orderly end.
func (m *meters) flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store.update(func(b *pebble.Batch) error {
		for row, t := range m.mu.of {
			t.aside = 0
			t.set(b, row)
		}
		clear(m.mu.of)
		return nil
	})
}
