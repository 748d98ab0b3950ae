package mpc

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A party whose disk is lost gets its shares back from the other two (2.10): component i from the party before it, whose next one it is, and
// component i+1 from the party after it. Each sends what the repaired party is entitled to, and nothing else. All records go, tombstones too, as
// of one moment at each source; the two must agree on every head. Attempts are not sent: the budgets of the other two hold meanwhile.
//
//	ROUND 1, of a source   count u16 · count × (tenant · rid · head · component u32[dim] · for identification u16[dim]); count 0, as the first and
//	                       the last: version[16]
//	ROUND 2, its answer    nothing: the next may come
//
// A store that has records is filled so as well if its shares are of another version than those of both sources, as one is that was put back from a
// backup of before a refresh: what it has fits nothing. What it is does not rest on the gateway's word.

const (
	roundRecords = 1
	roundTaken   = 2
)

// repairBatch bounds the records of a message, and of a batch.
const repairBatch = 64

// repairPatience is how long one end waits for the other to read or write a batch.
const repairPatience = 30 * time.Second

// sendRepair sends all records' components to a party: ours are its next ones if it comes before us, and our next ones its own.
func (s *partyStore) sendRepair(to Peer, nextOnes bool) error {
	if !s.epochs.TryLock() {
		return fmt.Errorf("%w: a refresh", ErrPending)
	}
	defer s.epochs.Unlock()
	identity, epoch, staged := s.current()
	if identity.state == storeRepair || staged != nil {
		return ErrPending
	}
	snapshot := s.db.NewSnapshot()
	defer func() { must(snapshot.Close()) }()
	var b []byte
	n := 0
	send := func() error {
		message := append(binary.LittleEndian.AppendUint16(nil, uint16(n)), b...)
		b, n = b[:0], 0
		if err := to.Send(roundRecords, message); err != nil {
			return err
		}
		_, err := to.Recv(roundTaken, repairPatience, nil)
		return err
	}
	sendVersion := func() error {
		b, n = append(b[:0], s.versionNow().bytes()...), 0
		return send()
	}
	if err := sendVersion(); err != nil {
		return err
	}
	err := s.eachRecord(snapshot, epoch, func(of Subject, h head, v shares) error {
		b = h.appendTo(appendSubject(b, of))
		if nextOnes {
			b = append(b, componentBytes(v.share.Next, v.gallery.Next)...)
		} else {
			b = append(b, componentBytes(v.share.Own, v.gallery.Own)...)
		}
		if n++; n == repairBatch {
			return send()
		}
		return nil
	})
	if err == nil && n > 0 {
		err = send()
	}
	if err == nil {
		err = sendVersion()
	}
	return err
}

func (id ID) bytes() []byte { return id[:] }

func (s *partyStore) versionNow() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.version
}

// eachRecord is eachActive with tombstones, which have no shares.
func (s *partyStore) eachRecord(from pebble.Reader, epoch uint32, visit func(Subject, head, shares) error) error {
	k, err := s.kek(epoch)
	if err != nil {
		return err
	}
	return eachOf(from, []byte{prefixHead}, func(key, value []byte) error {
		of := subjectOf(key)
		h, err := parseHead(value)
		if err != nil {
			return err
		}
		if h.state == stateDeleted {
			return visit(of, h, shares{})
		}
		r, err := s.sealed(from, epoch, of)
		if err != nil {
			return err
		}
		v, err := k.open(epoch, of, r)
		if err != nil {
			return err
		}
		return visit(of, h, v)
	})
}

// repaired is what a source sent of a record.
type repaired struct {
	of      Subject
	head    head
	full    []uint32
	gallery []uint16
}

func (r *reader) repaired() (v repaired) {
	v.of = r.subject()
	h, err := parseHead(r.bytes(recordHead))
	if err != nil {
		r.bad = true
		return v
	}
	v.head = h
	if h.state == stateActive {
		v.full = words(r.bytes(4 * int(h.dim)))
		if h.gallery != 0 {
			v.gallery = shorts(r.bytes(2 * int(h.dim)))
		}
	}
	return v
}

// takeBatch receives a batch of a source; with no records it is the first or the last, and has the version of the shares.
func takeBatch(from Peer) (all []repaired, version []byte, err error) {
	b, err := from.Recv(roundRecords, repairPatience, nil)
	if err != nil {
		return nil, nil, err
	}
	r := &reader{b: b}
	n := r.u16()
	if n > repairBatch {
		return nil, nil, ErrMessage
	}
	for range n {
		all = append(all, r.repaired())
	}
	if n == 0 {
		version = r.bytes(len(ID{}))
	}
	if err := r.end(); err != nil {
		return nil, nil, err
	}
	return all, version, from.Send(roundTaken, nil)
}

// takeBatches receives a batch of each source. Errors: ErrContext, where they differ; a peer's.
func takeBatches(prev, next Peer) (own, following []repaired, version ID, err error) {
	own, version1, err := takeBatch(prev)
	if err != nil {
		return nil, nil, version, err
	}
	following, version2, err := takeBatch(next)
	if err == nil && (len(own) != len(following) || string(version1) != string(version2)) {
		err = fmt.Errorf("%w: the sources of a repair differ", ErrContext)
	}
	copy(version[:], version1)
	return own, following, version, err
}

// takeRepair fills a new store, or one that is behind. A repair that does not come to its end leaves a store that serves nothing, and that is to be
// repaired again. Errors: ErrExists, where it is neither; ErrContext, where the sources differ; a peer's, ErrStorage.
func (s *partyStore) takeRepair(prev, next Peer) error {
	if !s.epochs.TryLock() {
		return ErrPending
	}
	defer s.epochs.Unlock()
	none, _, version, err := takeBatches(prev, next)
	if err == nil && len(none) > 0 {
		err = ErrMessage
	}
	if err == nil {
		err = s.beginRepair(version)
	}
	if err != nil {
		return err
	}
	s.hook("repairing")
	for {
		own, following, version, err := takeBatches(prev, next)
		if err != nil {
			return err
		}
		if len(own) == 0 {
			err := s.endRepair(version)
			s.hook("repaired")
			return err
		}
		if err := s.storeRepaired(own, following); err != nil {
			return err
		}
	}
}

// beginRepair empties the store, durably, of what an earlier attempt left, or of shares that fit nothing. version is that of both sources.
func (s *partyStore) beginRepair(version ID) error {
	return s.update(func(b *pebble.Batch) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if state := s.mu.identity.state; (state == storeReady || state == storeFilled) && s.mu.version == version {
			return fmt.Errorf("%w: the store has records", ErrExists)
		}
		s.mu.identity.state, s.mu.staged = storeRepair, nil
		s.opened.dropAll()
		set(b, metaKey(metaIdentity), s.mu.identity.bytes())
		remove(b, metaKey(metaRefresh))
		for _, prefix := range []byte{prefixHead, prefixKey, prefixShares, prefixPrepared} {
			removeAll(b, []byte{prefix})
		}
		return nil
	})
}

func (s *partyStore) storeRepaired(own, following []repaired) error {
	_, epoch, _ := s.current()
	k, err := s.kek(epoch)
	if err != nil {
		return err
	}
	return s.update(func(b *pebble.Batch) error {
		for i, o := range own {
			f := following[i]
			if o.of != f.of || !o.head.same(f.head) {
				return fmt.Errorf("%w: the sources of a repair differ", ErrContext)
			}
			h := o.head
			h.party = byte(s.party)
			set(b, subjectKey(prefixHead, o.of), h.appendTo(nil))
			if h.state != stateActive {
				continue
			}
			r, err := k.seal(epoch, o.of, h, &shares{Share{o.full, f.full}, ShortShare{o.gallery, f.gallery}})
			if err != nil {
				return err
			}
			set(b, epochKey(prefixKey, epoch, o.of), r.key)
			set(b, epochKey(prefixShares, epoch, o.of), r.shares)
		}
		return nil
	})
}

func (s *partyStore) endRepair(version ID) error {
	return s.update(func(b *pebble.Batch) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.identity.state, s.mu.version = storeFilled, version
		set(b, metaKey(metaIdentity), s.mu.identity.bytes())
		set(b, metaKey(metaVersion), version[:])
		return nil
	})
}
