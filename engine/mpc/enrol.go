package mpc

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// tx is a write of one record being validated. REQUIRES: database.turn.
type tx struct {
	store    *partyStore
	batch    *pebble.Batch
	of       Subject
	head     head // of the record or tombstone, if found
	found    bool
	prepared *sealedRecord // nil for none
}

// change runs one write of records, different ones, unless a refresh is being staged or waits for its end: stage is called for each, and an
// error undoes all. Errors: ErrPending, stage's, ErrStorage.
func (s *partyStore) change(of []Subject, stage func(i int, t *tx) error) error {
	return s.update(func(b *pebble.Batch) error { return s.eachTx(b, of, stage) })
}

func (s *partyStore) eachTx(b *pebble.Batch, of []Subject, stage func(i int, t *tx) error) error {
	for i, of := range of {
		t, err := s.begins(b, of)
		if err != nil {
			return err
		}
		if err := stage(i, t); err != nil {
			return err
		}
	}
	return nil
}

func (s *partyStore) begins(b *pebble.Batch, of Subject) (t *tx, err error) {
	if err := s.mayChange(); err != nil {
		return nil, err
	}
	t = &tx{store: s, batch: b, of: of}
	if t.head, t.found, err = s.head(of); err != nil {
		return nil, err
	}
	_, epoch, _ := s.current()
	v, err := s.get(epochKey(prefixPrepared, epoch, of))
	if err != nil || v == nil {
		return t, err
	}
	r, err := parsePrepared(v)
	t.prepared = &r
	return t, err
}

func (s *partyStore) mayChange() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.staging || s.mu.staged != nil {
		return fmt.Errorf("%w: a refresh", ErrPending)
	}
	if s.mu.identity.state == storeRepair {
		return ErrNotReady
	}
	return nil
}

// mayPrepare says why an enrolment can't be prepared. done says that it was committed already. Errors: GenerationError, ErrPending.
func (t *tx) mayPrepare(h head) (done bool, err error) {
	switch {
	case t.found && t.head.state == stateActive && t.head.tx == h.tx:
		return true, nil
	case h.gen <= t.head.gen: // a tombstone's generation counts: a PREPARE from before the erasure comes too late
		return false, &GenerationError{t.head.gen}
	case t.prepared != nil: // of this transaction too: a vote is for the shares that were checked, not for others under its name
		return false, ErrPending
	}
	return false, nil
}

// mayPrepare is asked before shares are checked, and again when they are stored.
func (s *partyStore) mayPrepare(of []Subject, h []head) error {
	return s.view(func() error {
		return s.eachTx(nil, of, func(i int, t *tx) error {
			_, err := t.mayPrepare(h[i])
			return err
		})
	})
}

// prepare makes enrolments durable that were checked, all or none: the party's vote for them. Until it hears commit or abort it keeps them.
// It votes once. version is that of the shares when the check began: votes of all parties are from before a refresh, which moves them, or from after
// it. Errors: ErrGeneration, ErrPending, ErrNotReady, ErrStorage.
func (s *partyStore) prepare(of []Subject, h []head, v []shares, version ID) error {
	_, epoch, _ := s.current()
	k, err := s.kek(epoch)
	if err != nil {
		return err
	}
	rows := make([]sealedRecord, len(of))
	for i := range of {
		if rows[i], err = k.seal(epoch, of[i], h[i], &v[i]); err != nil {
			return err
		}
	}
	return s.change(of, func(i int, t *tx) error {
		if done, err := t.mayPrepare(h[i]); err != nil || done {
			return err
		}
		if _, now, _ := s.current(); now != epoch || s.versionNow() != version {
			return fmt.Errorf("%w: a refresh", ErrPending)
		}
		set(t.batch, epochKey(prefixPrepared, epoch, of[i]), rows[i].appendTo(nil))
		return nil
	})
}

// commit makes enrolments that are prepared the records, and what was there unreadable; replaced says whether there was anything. Doing it
// again, or after a later write of a record, changes nothing. Errors: ErrUnknown, where one is not prepared; ErrMessage, where a secret is not the one that
// the prepared template is named by; ErrPending, ErrStorage.
func (s *partyStore) commit(c batch) (replaced bool, err error) {
	err = s.change(c.subjects(), func(i int, t *tx) error {
		gen := c.people[i].gen
		_, epoch, _ := s.current()
		mine := t.prepared != nil && t.prepared.head.tx == c.tx
		if mine && t.prepared.head.template != templateOf(t.of, c.people[i].template) {
			return fmt.Errorf("%w: nobody has decided the enrolment who knows no more", ErrMessage)
		}
		if t.found && t.head.gen >= gen {
			if mine {
				remove(t.batch, epochKey(prefixPrepared, epoch, t.of))
			}
			return nil
		}
		if !mine || t.prepared.head.gen != gen {
			return fmt.Errorf("%w: no such enrolment is prepared", ErrUnknown)
		}
		replaced = replaced || t.found
		s.opened.drop(t.of)
		h := t.prepared.head
		h.secret = c.people[i].template
		set(t.batch, subjectKey(prefixHead, t.of), h.appendTo(nil))
		set(t.batch, epochKey(prefixKey, epoch, t.of), t.prepared.key)
		set(t.batch, epochKey(prefixShares, epoch, t.of), t.prepared.shares)
		remove(t.batch, epochKey(prefixPrepared, epoch, t.of))
		return s.becomeReady(t.batch)
	})
	return replaced, err
}

// becomeReady notes that a new store has records from now on: it is no store that may be filled by a repair.
func (s *partyStore) becomeReady(b *pebble.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.identity.state == storeNew {
		s.mu.identity.state = storeReady
		set(b, metaKey(metaIdentity), s.mu.identity.bytes())
	}
	return nil
}

// abort forgets enrolments that are prepared; forgot says whether there was any. Doing it again changes nothing. Errors: ErrStorage.
func (s *partyStore) abort(c batch) (forgot bool, err error) {
	err = s.update(func(b *pebble.Batch) error {
		_, epoch, _ := s.current()
		for _, of := range c.subjects() {
			v, err := s.get(epochKey(prefixPrepared, epoch, of))
			if err != nil {
				return err
			}
			if v == nil {
				continue
			}
			r, err := parsePrepared(v)
			if err != nil {
				return err
			}
			if r.head.tx == c.tx {
				remove(b, epochKey(prefixPrepared, epoch, of))
				remove(b, epochKey(prefixPrepared, epoch+1, of)) // that a refresh has staged
				forgot = true
			}
		}
		return nil
	})
	return forgot, err
}

// doubt is an enrolment that was voted for, and whose end is not known here.
type doubt struct {
	of  Subject
	tx  ID
	gen uint32
}

// maxDoubts bounds what a party lists at once; the rest follows when those are settled.
const maxDoubts = 1024

// doubts lists enrolments that a gateway began and whose end this party has not heard.
func (s *partyStore) doubts(gateway uint16) (all []doubt, err error) {
	_, epoch, _ := s.current()
	err = s.each(epochPrefix(prefixPrepared, epoch), func(key, value []byte) error {
		r, err := parsePrepared(value)
		if err == nil && gatewayOf(r.head.tx) == gateway && len(all) < maxDoubts {
			all = append(all, doubt{subjectOf(key), r.head.tx, r.head.gen})
		}
		return err
	})
	return all, err
}

// fate is what a party knows of an enrolment: the secret, if it was committed, or zero. That it was not committed here does not say that it
// was not decided: whoever is in doubt goes on waiting.
func (s *partyStore) fate(d doubt) (secret ID, err error) {
	h, found, err := s.head(d.of)
	if err == nil && found && h.tx == d.tx && h.state == stateActive {
		return h.secret, nil
	}
	return secret, err
}
