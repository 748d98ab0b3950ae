package mpc

import "sync"

// maxKnown bounds the people that a gateway keeps in memory, of some 80 bytes each.
const maxKnown = 1 << 16

// person is what a verification asks the directory about somebody who is enrolled.
type person struct {
	gen  uint32
	calm bool // they have no rejects
}

// known are people who were verified last, so that their entries need not be opened again. It holds what the store holds: who writes
// somebody's entry or rejects drops them, under database.turn, before the write can be seen. The zero value is empty. Safe for concurrent use.
type known struct {
	mu sync.Mutex // after database.turn
	of map[Subject]person
}

func (k *known) get(of Subject) (p person, found bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, found = k.of[of]
	return p, found
}

// keep keeps somebody; others, whoever, make room. REQUIRES: p is what the store holds, and database.turn is held since it was read.
func (k *known) keep(of Subject, p person) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of == nil {
		k.of = make(map[Subject]person)
	}
	for each := range k.of {
		if len(k.of) < maxKnown {
			break
		}
		delete(k.of, each)
	}
	k.of[of] = p
}

// drop forgets somebody. REQUIRES: database.turn, to write.
func (k *known) drop(of Subject) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.of, of)
}

// person returns somebody who is enrolled as of one moment. Errors: ErrUnknown, ErrCorrupt, the disk's.
func (d *directory) person(of Subject) (p person, err error) {
	if p, found := d.known.get(of); found {
		return p, nil
	}
	err = d.view(func() error {
		e, err := d.active(of)
		if err != nil {
			return err
		}
		v, err := d.get(subjectKey(prefixRejects, of))
		if err == nil {
			p = person{e.Gen, v == nil}
			d.known.keep(of, p)
		}
		return err
	})
	return p, err
}
