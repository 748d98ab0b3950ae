package mpc

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A refresh gives all records of the three parties new shares of the same templates (2.9), so that a share that was stolen before is of
// no use with one that is stolen after. The parties draw a common secret, and from that for each record three vectors that add up to
// zero, one for each component; nothing of a template travels. The new rows are staged in an epoch of their own, under a key of their
// own; each two parties compare hashes of the components that both have; then the gateway decides, as for an enrolment. The commit is one
// small batch, whatever the number of records: it names the epoch that lives.

// Rounds of a refresh's session.
const (
	roundSecret = 1
	roundHash   = 2
)

// refreshPatience is how long a party waits for another to stage its rows.
const refreshPatience = 15 * time.Minute

// stageBatch bounds the records of a batch of staged rows.
const stageBatch = 128

// refresh takes part in a refresh up to this party's vote, which is durable when it returns. Doing it again is refused while it is staged.
// Errors: ErrPending, ErrContext, where the parties hold different records; a peer's, ErrStorage.
func (s *partyStore) refresh(txid ID, prev, next Peer, timeout time.Duration) error {
	if !s.epochs.TryLock() {
		return fmt.Errorf("%w: a refresh", ErrPending)
	}
	defer s.epochs.Unlock()
	if err := s.beginStaging(); err != nil {
		return err
	}
	defer s.endStaging()
	secret, err := commonSecret(s.party, txid, prev, next, timeout)
	if err != nil {
		return err
	}
	defer clear(secret)
	own, following, err := s.stage(secret)
	if err == nil {
		err = compareHashes(own, following, prev, next)
	}
	if err != nil {
		return err
	}
	return s.voteRefresh(txid)
}

func (s *partyStore) beginStaging() error {
	return s.update(func(*pebble.Batch) error { // in the turn: no enrolment is between its check and its row
		if err := s.mayChange(); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mu.staging = true
		return nil
	})
}

// endStaging drops what was staged without a vote.
func (s *partyStore) endStaging() {
	if _, _, staged := s.current(); staged == nil {
		_ = s.dropEpochs() // else the next start does
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.staging = false
}

// commonSecret is what the three parties draw together: unknown to whoever lacks one of the three links, uniform if one party is honest.
func commonSecret(party int, txid ID, prev, next Peer, timeout time.Duration) ([]byte, error) {
	var drawn [Parties][]byte
	drawn[party] = randomKey()
	for _, p := range []Peer{prev, next} {
		if err := p.Send(roundSecret, drawn[party]); err != nil {
			return nil, err
		}
	}
	for d, p := range map[int]Peer{Parties - 1: prev, 1: next} {
		b, err := p.Recv(roundSecret, timeout, nil)
		if err == nil && len(b) != keyBytes {
			err = ErrFrame
		}
		if err != nil {
			return nil, err
		}
		drawn[(party+d)%Parties] = b
	}
	all := append(append(append([]byte{}, drawn[0]...), drawn[1]...), drawn[2]...)
	defer clear(all)
	return hkdf.Key(sha256.New, all, txid[:], "mien/mpc/refresh/v1", keyBytes)
}

// zeroShares are three vectors that add up to zero, modulo 2^32, of a record and a use.
func zeroShares(secret []byte, use byte, of Subject, gen uint32, dim int) (c [Parties][]uint32, err error) {
	info := append(appendSubject([]byte{use}, of), byte(gen>>24), byte(gen>>16), byte(gen>>8), byte(gen))
	seeds, err := hkdf.Expand(sha256.New, secret, string(info), 2*seedBytes)
	if err != nil {
		return c, fmt.Errorf("mpc: %w", err)
	}
	defer clear(seeds)
	c[0], c[1] = draw((*[seedBytes]byte)(seeds), dim), draw((*[seedBytes]byte)(seeds[seedBytes:]), dim)
	c[2] = make([]uint32, dim)
	for j := range c[2] {
		c[2][j] = -c[0][j] - c[1][j]
	}
	return c, nil
}

// move adds zero shares to a record's.
func (v *shares) move(secret []byte, party int, of Subject, gen uint32) error {
	own, next := party, (party+1)%Parties
	c, err := zeroShares(secret, 0, of, gen, len(v.share.Own))
	if err != nil {
		return err
	}
	for j := range v.share.Own {
		v.share.Own[j] += c[own][j]
		v.share.Next[j] += c[next][j]
	}
	if len(v.gallery.Own) == 0 {
		return nil
	}
	if c, err = zeroShares(secret, 1, of, gen, len(v.gallery.Own)); err != nil {
		return err
	}
	for j := range v.gallery.Own {
		v.gallery.Own[j] += uint16(c[own][j])
		v.gallery.Next[j] += uint16(c[next][j])
	}
	return nil
}

// stage writes all active records into the next epoch, and returns hashes of their components: each record's place, what it is, and the
// component.
func (s *partyStore) stage(secret []byte) (own, following [32]byte, err error) {
	_, epoch, _ := s.current()
	s.mu.Lock()
	err = s.mu.keys.add(epoch + 1)
	s.mu.Unlock()
	if err != nil {
		return own, following, err
	}
	to, err := s.kek(epoch + 1)
	if err != nil {
		return own, following, err
	}
	hashes := [2]hash.Hash{sha256.New(), sha256.New()}
	snapshot := s.db.NewSnapshot()
	defer func() { must(snapshot.Close()) }()
	b, inBatch := s.db.NewBatch(), 0
	flush := func() error {
		err := s.db.Apply(b, pebble.Sync)
		b, inBatch = s.db.NewBatch(), 0
		return err
	}
	err = s.eachActive(snapshot, epoch, func(of Subject, h head, v shares) error {
		if err := v.move(secret, s.party, of, h.gen); err != nil {
			return err
		}
		hashRecord(hashes, of, h, v)
		r, err := to.seal(epoch+1, of, h, &v)
		if err != nil {
			return err
		}
		set(b, epochKey(prefixKey, epoch+1, of), r.key)
		set(b, epochKey(prefixShares, epoch+1, of), r.shares)
		if inBatch++; inBatch == stageBatch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = s.stagePrepared(snapshot, b, epoch, secret)
	}
	if err == nil {
		err = flush()
	}
	return [32]byte(hashes[0].Sum(nil)), [32]byte(hashes[1].Sum(nil)), err
}

// stagePrepared takes the votes along whose end nobody has heard: if they are decided, all parties have voted, before the refresh, and all take them
// along. Who is not decided may have the vote of some, so it is no part of what parties compare.
func (s *partyStore) stagePrepared(from pebble.Reader, b *pebble.Batch, epoch uint32, secret []byte) error {
	old, err := s.kek(epoch)
	if err != nil {
		return err
	}
	to, err := s.kek(epoch + 1)
	if err != nil {
		return err
	}
	return eachOf(from, epochPrefix(prefixPrepared, epoch), func(key, value []byte) error {
		of := subjectOf(key)
		r, err := parsePrepared(value)
		if err != nil {
			return err
		}
		v, err := old.open(epoch, of, r)
		if err != nil {
			return err
		}
		if err := v.move(secret, s.party, of, r.head.gen); err != nil {
			return err
		}
		moved, err := to.seal(epoch+1, of, r.head, &v)
		if err == nil {
			set(b, epochKey(prefixPrepared, epoch+1, of), moved.appendTo(nil))
		}
		return err
	})
}

// eachActive opens all active records of an epoch, in the order of tenants and rids, as a snapshot has them.
func (s *partyStore) eachActive(from pebble.Reader, epoch uint32, visit func(Subject, head, shares) error) error {
	return s.eachRecord(from, epoch, func(of Subject, h head, v shares) error {
		if h.state != stateActive {
			return nil
		}
		return visit(of, h, v)
	})
}

func hashRecord(to [2]hash.Hash, of Subject, h head, v shares) {
	h.party = 0 // what both parties of a component have
	about := h.appendTo(appendSubject(nil, of))
	for i, c := range [2]shares{{Share{Own: v.share.Own}, ShortShare{Own: v.gallery.Own}}, {Share{Own: v.share.Next}, ShortShare{Own: v.gallery.Next}}} {
		to[i].Write(about)
		to[i].Write(componentBytes(c.share.Own, c.gallery.Own))
	}
}

// componentBytes is one component of a record, both of its uses.
func componentBytes(c []uint32, g []uint16) []byte {
	return appendShorts(appendComponent(make([]byte, 0, 4*len(c)+2*len(g)), c), g)
}

// compareHashes tells each peer the hash of the component that it has too. Errors: ErrContext.
func compareHashes(own, following [32]byte, prev, next Peer) error {
	if err := prev.Send(roundHash, own[:]); err != nil {
		return err
	}
	if err := next.Send(roundHash, following[:]); err != nil {
		return err
	}
	for _, p := range []struct {
		Peer
		want [32]byte
	}{{prev, own}, {next, following}} {
		b, err := p.Recv(roundHash, refreshPatience, nil)
		if err != nil {
			return err
		}
		if string(b) != string(p.want[:]) {
			return fmt.Errorf("%w: a peer holds other records, or other shares", ErrContext)
		}
	}
	return nil
}

// voteRefresh makes durable that this party will commit the staged epoch if it is told to.
func (s *partyStore) voteRefresh(txid ID) error {
	return s.update(func(b *pebble.Batch) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		err := s.each(epochPrefix(prefixPrepared, s.mu.epoch+1), func(key, _ []byte) error { // but for votes that were aborted meanwhile
			v, err := s.get(epochKey(prefixPrepared, s.mu.epoch, subjectOf(key)))
			if err == nil && v == nil {
				remove(b, key)
			}
			return err
		})
		if err != nil {
			return err
		}
		s.mu.staged = &stagedEpoch{txid, s.mu.epoch + 1}
		set(b, metaKey(metaRefresh), binary.BigEndian.AppendUint32(append([]byte{}, txid[:]...), s.mu.epoch+1))
		return nil
	})
}

// endRefresh carries out the gateway's decision. Doing it again changes nothing. Errors: ErrUnknown, for a commit of what is not staged;
// ErrStorage.
func (s *partyStore) endRefresh(txid ID, commit bool) error {
	if !s.epochs.TryLock() {
		return fmt.Errorf("%w: a refresh", ErrPending)
	}
	defer s.epochs.Unlock()
	err := s.update(func(b *pebble.Batch) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		staged := s.mu.staged
		if staged == nil || staged.tx != txid {
			if commit && s.mu.version != txid {
				return fmt.Errorf("%w: no such refresh is staged", ErrUnknown)
			}
			return nil
		}
		remove(b, metaKey(metaRefresh))
		s.mu.staged = nil
		if commit {
			s.mu.epoch, s.mu.version = staged.epoch, txid
			s.opened.dropAll()
			set(b, metaKey(metaEpoch), binary.BigEndian.AppendUint32(nil, staged.epoch))
			set(b, metaKey(metaVersion), txid[:])
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.hook("switched")
	return s.dropEpochs()
}
