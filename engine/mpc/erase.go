package mpc

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Receipt is a party's signed word that it has destroyed its shares of a record, or of all records of a tenant. It names nobody but by a
// pseudonym and holds nothing biometric.
type Receipt struct {
	Party      int       `json:"party"`
	Tenant     ID        `json:"tenant"`
	RID        ID        `json:"rid"`        // zero: the whole tenant
	Template   ID        `json:"template"`   // that the party had, as its own store says; zero for none, and for a tenant
	Tx         ID        `json:"tx"`         // of the erasure
	Generation uint32    `json:"generation"` // of the tombstone, or of the record if it is a later one; 0 for a tenant
	Records    uint32    `json:"records"`    // that were erased; 0 where there was nothing to erase
	Time       time.Time `json:"time"`       // in ms
	Key        []byte    `json:"key"`        // Ed25519 public key, 32 bytes
	Signature  []byte    `json:"signature"`  // Ed25519, 64 bytes
}

// MarshalText implements encoding.TextMarshaler: 32 hex digits.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// text is what a receipt signs: a label, the cluster's name with its length u32, party u8, and the fields in order, integers
// big-endian, the time in ms.
func (r *Receipt) text(cluster string) []byte {
	b := []byte("mien mpc erasure v1\x00")
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(cluster))), cluster...)
	b = append(b, byte(r.Party))
	for _, id := range []ID{r.Tenant, r.RID, r.Template, r.Tx} {
		b = append(b, id[:]...)
	}
	b = binary.BigEndian.AppendUint32(b, r.Generation)
	b = binary.BigEndian.AppendUint32(b, r.Records)
	return binary.BigEndian.AppendUint64(b, uint64(r.Time.UnixMilli()))
}

// Verify reports whether the party whose public key is key signed the receipt, in a cluster.
func (r *Receipt) Verify(cluster string, key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, r.text(cluster), r.Signature)
}

func (s *partyStore) sign(cluster string, r Receipt) Receipt {
	r.Party = s.party
	r.Key = s.receipt.Public().(ed25519.PublicKey)
	r.Signature = ed25519.Sign(s.receipt, r.text(cluster))
	return r
}

// erasure is a record that is to be erased, as the gateway knows it.
type erasure struct {
	of  Subject
	tx  ID
	gen uint32 // of the record; a tombstone of it beats every enrolment of it and of those before
}

// receipt is what a party may sign when it has carried the erasure out, and has head h: what its own store says, whatever it was told.
func (e erasure) receipt(h head, now int64) Receipt {
	r := Receipt{Tenant: e.of.Tenant, RID: e.of.RID, Tx: e.tx, Generation: h.gen, Time: time.UnixMilli(now).UTC()}
	if h.state != stateDeleted { // of a later enrolment, which stays
		return r
	}
	r.Template, r.Tx, r.Time = h.template, h.tx, time.UnixMilli(h.time).UTC()
	if h.template != (ID{}) {
		r.Records = 1
	}
	return r
}

// erase destroys a record's key and shares and leaves a tombstone, which it returns. Doing it again changes nothing and returns the tombstone
// of the first time, or the record that was enrolled since. A party that has no such record leaves a tombstone too, of no template: an
// enrolment that is late must not bring it. Errors: ErrPending, where an enrolment of a later generation is prepared; ErrStorage.
func (s *partyStore) erase(e erasure, now int64) (h head, err error) {
	err = s.change([]Subject{e.of}, func(_ int, t *tx) error {
		if h = t.head; h.gen > e.gen || h.state == stateDeleted && h.gen == e.gen {
			return nil
		}
		if t.prepared != nil && t.prepared.head.gen > e.gen {
			return ErrPending
		}
		h = t.tombstone(e, now)
		return s.becomeReady(t.batch)
	})
	return h, err
}

// tombstone stages the erasure.
func (t *tx) tombstone(e erasure, now int64) head {
	h := head{state: stateDeleted, party: byte(t.store.party), gen: e.gen, time: now, tx: e.tx}
	if t.head.state == stateActive {
		h.template = t.head.template
	}
	t.store.opened.drop(t.of)
	set(t.batch, subjectKey(prefixHead, t.of), h.appendTo(nil))
	for _, epoch := range t.store.livingNow() {
		remove(t.batch, epochKey(prefixKey, epoch, t.of))
		remove(t.batch, epochKey(prefixShares, epoch, t.of))
	}
	if t.prepared != nil {
		for _, epoch := range t.store.livingNow() {
			remove(t.batch, epochKey(prefixPrepared, epoch, t.of))
		}
	}
	return h
}

func (s *partyStore) livingNow() []uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.living()
}

// eraseChunk is how many records of a tenant are erased in a batch.
const eraseChunk = 256

// eraseTenant erases all records of a tenant, some in a batch, and returns how many tombstones of this transaction there are then. A crash
// leaves some to the next attempt. Errors: ErrPending, ErrStorage.
func (s *partyStore) eraseTenant(tenant, txid ID, now int64) (n uint32, err error) {
	for {
		erased := 0
		err := s.update(func(b *pebble.Batch) error {
			n = 0
			if err := s.mayChange(); err != nil {
				return err
			}
			return s.each(append([]byte{prefixHead}, tenant[:]...), func(key, value []byte) error {
				h, err := parseHead(value)
				if err != nil {
					return err
				}
				if h.state == stateDeleted && h.tx == txid {
					n++
				}
				if h.state == stateDeleted || erased == eraseChunk {
					return nil
				}
				erased, n = erased+1, n+1
				t, err := s.begins(b, subjectOf(key))
				if err == nil {
					t.tombstone(erasure{t.of, txid, h.gen}, now)
				}
				return err
			})
		})
		if err != nil || erased < eraseChunk {
			return n, errTenant(err)
		}
	}
}

func errTenant(err error) error {
	if err != nil {
		return fmt.Errorf("mpc: erase a tenant: %w", err)
	}
	return nil
}
