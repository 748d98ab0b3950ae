package mpc

import "sync"

// openedBytes bounds the records that a party keeps open, 4.3 KB each at 512 components.
const openedBytes = 64 << 20

// openRecord is an active record that is open: what this party holds of a template for verification. It is read-only, and valid until
// release.
type openRecord struct {
	head    head
	version ID // of the shares
	share   Share

	// Protected by openRecords.mu.
	users int
	gone  bool // it is not kept any more, and wiped when nobody uses it
}

// openRecords are records that were used last, as reading and opening one costs more than comparing it. What they hold is what the store
// holds: who writes a record drops it, under database.turn, before the write can be seen, and its shares are overwritten as soon as no
// session uses them. The zero value is empty. Safe for concurrent use.
type openRecords struct {
	mu    sync.Mutex // after database.turn and partyStore.mu
	of    map[Subject]*openRecord
	bytes int
}

func (o *openRecord) bytes() int { return 8*len(o.share.Own) + 256 }

func (o *openRecord) wipe() {
	clear(o.share.Own)
	clear(o.share.Next)
}

// take returns a record that is kept, for one user more, or nil.
func (r *openRecords) take(of Subject) *openRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.of[of]
	if o != nil {
		o.users++
	}
	return o
}

// keep keeps a record for its first user, unless another did meanwhile, and returns the one that is kept. Others, whichever, make room.
// REQUIRES: o is what the store holds, and database.turn is held since it was read.
func (r *openRecords) keep(of Subject, o *openRecord) *openRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	if other := r.of[of]; other != nil {
		o.wipe()
		o = other
	} else {
		if r.of == nil {
			r.of = make(map[Subject]*openRecord)
		}
		r.bytes += o.bytes()
		for each := range r.of {
			if r.bytes <= openedBytes {
				break
			}
			r.dropLocked(each)
		}
		r.of[of] = o
	}
	o.users++
	return o
}

// release ends a use of each.
func (r *openRecords) release(all []*openRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range all {
		if o.users--; o.gone && o.users == 0 {
			o.wipe()
		}
	}
}

// drop forgets a record. REQUIRES: database.turn, to write.
func (r *openRecords) drop(of Subject) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dropLocked(of)
}

// dropAll forgets all. REQUIRES: database.turn, to write, or that nobody uses the store.
func (r *openRecords) dropAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for of := range r.of {
		r.dropLocked(of)
	}
}

func (r *openRecords) dropLocked(of Subject) {
	o := r.of[of]
	if o == nil {
		return
	}
	delete(r.of, of)
	r.bytes -= o.bytes()
	if o.gone = true; o.users == 0 {
		o.wipe()
	}
}

// open returns an active record as of one moment; it must be released. Errors: ErrUnknown, ErrCorrupt, the disk's.
func (s *partyStore) open(of Subject) (o *openRecord, err error) {
	if o = s.opened.take(of); o != nil {
		return o, nil
	}
	err = s.view(func() error {
		h, v, version, err := s.recordNow(of)
		if err == nil {
			o = s.opened.keep(of, &openRecord{head: h, version: version, share: v.share})
		}
		return err
	})
	return o, err
}

// openAll opens records of a tenant, all or none. Errors: open's.
func (s *partyStore) openAll(tenant ID, rids []ID) ([]*openRecord, error) {
	all := make([]*openRecord, 0, len(rids))
	for _, rid := range rids {
		o, err := s.open(Subject{tenant, rid})
		if err != nil {
			s.opened.release(all)
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}
