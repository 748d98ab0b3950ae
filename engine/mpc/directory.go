package mpc

import (
	"bytes"
	"cmp"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// The gateway's store has no shares:
//
//	key                        value
//	0x01 'f'                   format u32
//	0x01 'i'                   SHA-256 of the cluster and the gateway's index [32], sealed: tells another gateway's folder, and another key
//	0x01 'w'                   when the shares were made anew last, or the store was made, in ms u64; 0: they must be
//	0x12 tenant[16] rid[16]    entry: sealed JSON; who is enrolled, or was
//	0x13 sequence u64          decision that not all parties have carried out yet
//	0x14 tenant[16] rid[16]    rejects in a row: count u8 · locks u8 · locked until ms u64
//	0x15 party u8              id of the party's store [16]
//	0x16 transaction[16]       enrolments that were begun: batch.appendTo
//	0x17 tenant[16] rid[16]    request that decided last of a person, and whose caller was not told what came of it: HMAC of it [16]
const (
	prefixEntry    = 0x12
	prefixDecision = 0x13
	prefixRejects  = 0x14
	prefixStore    = 0x15
	prefixBegun    = 0x16
	prefixOwed     = 0x17
)

// DirectoryKeyBytes is the length of GatewayConfig.Key.
const DirectoryKeyBytes = 32

// directory is who is enrolled under which pseudonym. Safe for concurrent use.
type directory struct {
	*database
	names []byte // key of pseudonyms
	aead  cipher.AEAD
	known known
}

// openDirectory opens or makes a gateway's store. Errors: ErrConfig, ErrRootKey, ErrFormat, the disk's.
func openDirectory(disk vfs.FS, dir, cluster string, index uint16, key []byte, log *slog.Logger) (*directory, error) {
	if len(key) != DirectoryKeyBytes {
		return nil, fmt.Errorf("%w: a directory key of %d bytes, want %d", ErrConfig, len(key), DirectoryKeyBytes)
	}
	db, err := openDatabase(disk, dir, log)
	if err != nil {
		return nil, err
	}
	d := &directory{database: db, names: derive(key, "mien/mpc/names/v1")}
	if d.aead, err = newAEAD(derive(key, "mien/mpc/directory/v1")); err == nil {
		err = d.checkIdentity(sha256.Sum256(fmt.Appendf(nil, "%s\x00gateway %d", cluster, index)))
	}
	if err != nil {
		return nil, errors.Join(err, db.close())
	}
	return d, nil
}

func derive(key []byte, info string) []byte {
	out, err := hkdf.Expand(sha256.New, key, info, 32)
	must(err) // fails only for thousands of bytes
	return out
}

func (d *directory) checkIdentity(want [32]byte) error {
	sealed, err := d.get(metaKey(metaIdentity))
	if err != nil {
		return err
	}
	if sealed == nil {
		return d.update(func(b *pebble.Batch) error {
			set(b, metaKey(metaIdentity), d.aead.Seal(nil, nil, want[:], []byte("identity")))
			return nil
		})
	}
	have, err := d.aead.Open(nil, nil, sealed, []byte("identity"))
	if err != nil {
		return ErrRootKey
	}
	if !bytes.Equal(have, want[:]) {
		return ErrOther
	}
	return nil
}

// tenant is a tenant's pseudonym.
func (d *directory) tenant(name string) ID {
	return d.pseudonyms(name).tenant
}

// subject is a person's pseudonym: an HMAC under a key of the tenant, so that the same user id of two tenants tells nobody.
func (d *directory) subject(tenant, user string) Subject { return d.pseudonyms(tenant).subject(user) }

// pseudonyms make a tenant's. They may be kept.
func (d *directory) pseudonyms(tenant string) (p pseudonyms) {
	copy(p.tenant[:], d.mac("tenant", tenant))
	p.key = d.mac("tenant key", tenant)
	return p
}

// pseudonyms are a tenant's own and the key of its people's.
type pseudonyms struct {
	tenant ID
	key    []byte
}

func (p pseudonyms) subject(user string) Subject {
	s := Subject{Tenant: p.tenant}
	m := hmac.New(sha256.New, p.key)
	m.Write([]byte(user))
	copy(s.RID[:], m.Sum(nil))
	return s
}

func (d *directory) mac(use, name string) []byte {
	m := hmac.New(sha256.New, d.names)
	fmt.Fprintf(m, "%s\x00%s", use, name)
	return m.Sum(nil)
}

// entry is what the gateway knows of a person: no template, no share.
type entry struct {
	State    byte      `json:"state"`
	Gen      uint32    `json:"generation"`
	Template ID        `json:"template"`
	Policy   uint16    `json:"policy"`
	Gallery  bool      `json:"gallery,omitempty"`
	User     string    `json:"user,omitempty"` // while they are enrolled
	Time     time.Time `json:"time"`           // of the enrolment or the erasure
	Tx       ID        `json:"transaction"`
	Receipts []Receipt `json:"receipts,omitempty"`
	Asked    []asked   `json:"asked,omitempty"` // enrolments of names, in order
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) error {
	if n, err := hex.Decode(id[:], b); err != nil || n != len(id) {
		return fmt.Errorf("%w: an id of %d digits", ErrMessage, len(b))
	}
	return nil
}

func entryPlace(of Subject) []byte { return appendSubject([]byte("mien/mpc/entry/v1"), of) }

// entry returns who is, or was, enrolled; found is false for nobody ever. Errors: ErrCorrupt, the disk's.
func (d *directory) entry(of Subject) (e entry, found bool, err error) {
	sealed, err := d.get(subjectKey(prefixEntry, of))
	if err != nil || sealed == nil {
		return e, false, err
	}
	e, err = d.openEntry(of, sealed)
	return e, err == nil, err
}

func (d *directory) openEntry(of Subject, sealed []byte) (e entry, err error) {
	plain, err := d.aead.Open(nil, nil, sealed, entryPlace(of))
	if err == nil {
		err = json.Unmarshal(plain, &e)
	}
	if err != nil {
		return e, fmt.Errorf("%w: an entry of the directory does not open in its place", ErrCorrupt)
	}
	return e, nil
}

func (d *directory) setEntry(b *pebble.Batch, of Subject, e entry) {
	d.known.drop(of)
	plain, err := json.Marshal(e)
	must(err)
	set(b, subjectKey(prefixEntry, of), d.aead.Seal(nil, nil, plain, entryPlace(of)))
}

// active returns an entry of somebody who is enrolled. Errors: ErrUnknown.
func (d *directory) active(of Subject) (entry, error) {
	e, found, err := d.entry(of)
	if err == nil && (!found || e.State != stateActive) {
		err = ErrUnknown
	}
	return e, err
}

// Kinds of decisions. Never reused.
const (
	decideCommit        = 1
	decideErase         = 2
	decideEraseTenant   = 3
	decideRefreshCommit = 4
)

// decision is what the gateway has decided, durably, and the parties carry out: each in the order of sequence numbers, again and again
// until it says that it has.
type decision struct {
	seq      uint64
	kind     byte
	of       Subject // RID zero for a tenant, and for enrolments; both zero for a refresh
	tx       ID
	gen      uint32
	template ID
	people   []member // of enrolments

	// Protected by Gateway.mu.
	acked    [Parties]bool
	receipts [Parties]*Receipt
	done     chan struct{} // closed when all have
	enough   chan struct{} // closed when two have
}

func decisionKey(seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixDecision}, seq)
}

// bytes is how it is stored: kind u8 · batch of enrolments, or else what DELETE carries · template.
func (d *decision) bytes() []byte {
	if d.kind == decideCommit {
		return d.batch().appendTo([]byte{d.kind})
	}
	return append(erasure{d.of, d.tx, d.gen}.appendTo([]byte{d.kind}), d.template[:]...)
}

func (d *decision) batch() batch { return batch{d.of.Tenant, d.tx, d.people} }

// subjects are whom it is about.
func (d *decision) subjects() []Subject {
	if d.kind != decideCommit {
		return []Subject{d.of}
	}
	return d.batch().subjects()
}

// begin has the decision waited for.
func (d *decision) begin(seq uint64) {
	d.seq, d.done, d.enough = seq, make(chan struct{}), make(chan struct{})
}

// decisions are those that are not carried out everywhere, in order. Errors: ErrCorrupt.
func (d *directory) decisions() (all []*decision, err error) {
	err = d.each([]byte{prefixDecision}, func(key, value []byte) error {
		r, c := &reader{b: value}, &decision{}
		if c.kind = r.u8(); c.kind == decideCommit {
			b := r.batch()
			c.of.Tenant, c.tx, c.people = b.tenant, b.tx, b.people
		} else {
			e := r.erasure()
			c.of, c.tx, c.gen, c.template = e.of, e.tx, e.gen, r.id()
		}
		if err := r.end(); err != nil || len(key) != 9 {
			return fmt.Errorf("%w: decision", ErrCorrupt)
		}
		c.begin(binary.BigEndian.Uint64(key[1:]))
		all = append(all, c)
		return nil
	})
	return all, err
}

// forgetBegun aborts, by forgetting them, enrolments that were begun when the process ended (presumed abort). Parties that doubt
// them ask.
func (d *directory) forgetBegun() error {
	return d.update(func(b *pebble.Batch) error {
		removeAll(b, []byte{prefixBegun})
		return nil
	})
}

func begunKey(tx ID) []byte { return append([]byte{prefixBegun}, tx[:]...) }

// knownStore is the id of the store that a party had when it was last seen whole; zero for none.
func (d *directory) knownStore(party int) (id ID, err error) {
	v, err := d.get([]byte{prefixStore, byte(party)})
	copy(id[:], v)
	return id, err
}

func (d *directory) setKnownStore(party int, id ID) error {
	return d.update(func(b *pebble.Batch) error {
		set(b, []byte{prefixStore, byte(party)}, id[:])
		return nil
	})
}

// Locks of a person after rejects in a row (2.12).
const (
	rejectsToLock = 5
	firstLock     = 15 * time.Minute
	maxLockSteps  = 12 // of doubling: 42 days
)

// rejects is how often a person was rejected since the last accept.
type rejects struct {
	n, locks byte
	until    int64 // ms; 0: not locked
}

func parseRejects(b []byte) (r rejects) {
	if len(b) == 10 {
		r = rejects{b[0], b[1], int64(binary.BigEndian.Uint64(b[2:]))}
	}
	return r
}

func (r rejects) bytes() []byte {
	return binary.BigEndian.AppendUint64([]byte{r.n, r.locks}, uint64(r.until))
}

func (r rejects) locked(now int64) error {
	if now < r.until {
		return &LockedError{time.Duration(r.until-now) * time.Millisecond}
	}
	return nil
}

// mayAttempt says why a person can't be verified now. Errors: ErrUnknown, LockedError.
func (d *directory) mayAttempt(of Subject, now int64) error {
	p, err := d.person(of)
	if err != nil || p.calm {
		return err
	}
	v, err := d.get(subjectKey(prefixRejects, of))
	if err != nil {
		return err
	}
	return parseRejects(v).locked(now)
}

// settleAnswers counts answers, durably, before they are told. Of a person who was locked meanwhile, by others of answers that came
// at once, none is told, a match neither; of one who was erased meanwhile neither. Errors: ErrUnknown, LockedError, ErrStorage.
func (d *directory) settleAnswers(of []Subject, match []bool, now int64) error {
	quiet := true
	for i, s := range of {
		p, err := d.person(s)
		if err != nil {
			return err
		}
		quiet = quiet && match[i] && p.calm
	}
	if quiet { // the common case costs no write
		return nil
	}
	var locked error // told when what was counted is durable: somebody who is in it twice is locked for good
	err := d.update(func(b *pebble.Batch) error {
		after := make(map[Subject]rejects)
		for i, s := range of {
			r, seen := after[s]
			if !seen {
				v, err := d.get(subjectKey(prefixRejects, s))
				if err != nil {
					return err
				}
				r = parseRejects(v)
			}
			if err := r.locked(now); err != nil {
				locked = err
				continue
			}
			after[s] = r.next(match[i], now)
		}
		for s, r := range after {
			d.known.drop(s)
			if r == (rejects{}) {
				remove(b, subjectKey(prefixRejects, s))
			} else {
				set(b, subjectKey(prefixRejects, s), r.bytes())
			}
		}
		return nil
	})
	return cmp.Or(err, locked)
}

func (r rejects) next(match bool, now int64) rejects {
	if match {
		return rejects{}
	}
	if r.n++; r.n < rejectsToLock {
		return r
	}
	steps := min(r.locks, maxLockSteps)
	return rejects{0, min(r.locks, math.MaxUint8-1) + 1, now + (firstLock << steps).Milliseconds()}
}
