package mpc

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// What frames of gateways and parties carry; little endian. Shares are packed (SplitPacked).
//
//	VERIFY         policy u16 · model u16 · tenant · count u16 · count × (rid · generation u32) · count × share
//	IDENTIFY       policy u16 · model u16 · tenant · share
//	PREPARE        policy u16 · model u16 · time ms u64 · sid u64 · batch · count × (share · [share])
//	COMMIT, ABORT  batch
//	DELETE         tenant · rid · transaction · generation u32
//	DELETE_TENANT  tenant · transaction
//	HOLDS          tenant · rid
//	REFRESH        transaction
//	REFRESH_COMMIT u8 1 to commit, 0 to abort · transaction
//	REPAIR         party u8 that is repaired
//	HELLO          u8 1 if the gateway has sent all that it owed · settings
//	…_SEALED       VERIFY of one, IDENTIFY or PREPARE, with the party's envelope in the place of the shares: they are in it
//
//	RESULT of      VERIFY, IDENTIFY: attempts u32 · bits · (IDENTIFY: SHA-256 of the rows [32]); PREPARE: bits · [bits]; DELETE,
//	               DELETE_TENANT: generation u32 · records u32 · time ms u64 · template · transaction · public key [32] · signature [64];
//	               HELLO: hello; HOLDS: generation u32 of a record, 0 for none · template; others: nothing
//	batch          tenant · transaction · count u16 · count × (rid · generation u32 · template; of COMMIT its secret), in the order of
//	               rids, which differ
//	bits           count u32 · own u64[⌈count/64⌉] · next u64[⌈count/64⌉]
//	hello          store[16] · state u8 · u8 1 if it has votes · mark u64 · public key [32] · version · staged transaction, zero for none · instance[16] ·
//	               size u16, 0 for none · share key [size] · count u16 · count × (tenant · rid · transaction · generation u32) · settings
//	ERROR          code u8 · retry ms u64, or of an enrolment's generation that of the party's record
//
// tenant, rid, template and transaction are 16 bytes each.

// reader takes a message apart; the first thing that is missing sets its error, and what is read then is zero.
type reader struct {
	b         []byte
	bad       bool
	malformed error // what end returns of a bad one; nil: ErrMessage
}

func (r *reader) bytes(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b, r.bad = nil, true
		return make([]byte, max(n, 0))
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8() byte    { return r.bytes(1)[0] }
func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.bytes(2)) }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.bytes(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.bytes(8)) }
func (r *reader) id() ID      { return ID(r.bytes(16)) }

// rid reads a person's. Zero is nobody's: a receipt with it is of a whole tenant.
func (r *reader) rid() ID {
	id := r.id()
	r.bad = r.bad || id == ID{}
	return id
}

func (r *reader) subject() Subject { return Subject{r.id(), r.id()} }

func (r *reader) share(dim int) (s Share) {
	var err error
	if s, r.b, err = UnpackShare(r.b, dim); err != nil {
		r.bad = true
	}
	return s
}

// shareInto is share into the memory of s.
func (r *reader) shareInto(s Share) Share {
	var err error
	if r.b, err = s.unpack(r.b); err != nil {
		r.bad = true
	}
	return s
}

// end returns ErrMessage, or what malformed says, if anything was missing, or is left over.
func (r *reader) end() error {
	if r.bad || len(r.b) > 0 {
		return cmp.Or(r.malformed, ErrMessage)
	}
	return nil
}

// whole does what a message asks for if that is all of it. Errors: end's, f's.
func (r *reader) whole(f func() error) error {
	if err := r.end(); err != nil {
		return err
	}
	return f()
}

func appendSubject(dst []byte, s Subject) []byte {
	return append(append(dst, s.Tenant[:]...), s.RID[:]...)
}

func appendBits(dst []byte, b Bits) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(b.N))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(b.Probes))
	for _, words := range [][]uint64{b.Own, b.Next} {
		for _, w := range words {
			dst = binary.LittleEndian.AppendUint64(dst, w)
		}
	}
	return dst
}

func (r *reader) bits() (b Bits) {
	b = Bits{N: int(r.u32()), Probes: int(r.u16())}
	words := b.words()
	if b.N > MaxRows || 16*words > len(r.b) {
		r.bad = true
		return Bits{}
	}
	for _, to := range []*[]uint64{&b.Own, &b.Next} {
		*to = make([]uint64, words)
		for i := range *to {
			(*to)[i] = r.u64()
		}
	}
	return b
}

// verifyMessage is VERIFY; the shares follow when the policy is known.
type verifyMessage struct {
	policy, model uint16
	tenant        ID
	rids          []ID
	gens          []uint32
}

// Bytes of a verifyMessage: of its head, and of each person.
const (
	verifyHead = 2 + 2 + 16 + 2
	verifyEach = 16 + 4
)

func (m *verifyMessage) appendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, m.policy)
	dst = binary.LittleEndian.AppendUint16(dst, m.model)
	dst = append(dst, m.tenant[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(m.rids)))
	for i, rid := range m.rids {
		dst = binary.LittleEndian.AppendUint32(append(dst, rid[:]...), m.gens[i])
	}
	return dst
}

func (r *reader) verify() (m verifyMessage) {
	m.policy, m.model, m.tenant = r.u16(), r.u16(), r.id()
	n := int(r.u16())
	if n < 1 || n > MaxItems {
		r.bad = true
		return m
	}
	for range n {
		m.rids, m.gens = append(m.rids, r.rid()), append(m.gens, r.u32())
	}
	return m
}

// member is one of the people of a transaction.
type member struct {
	rid      ID
	gen      uint32
	template ID // its name; of what is decided, the secret (templateOf)
}

// batch is enrolments of one transaction, of 1 to MaxItems people of a tenant, in the order of rids.
type batch struct {
	tenant, tx ID
	people     []member
}

func (b batch) appendTo(dst []byte) []byte {
	dst = append(append(dst, b.tenant[:]...), b.tx[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(b.people)))
	for _, p := range b.people {
		dst = binary.LittleEndian.AppendUint32(append(dst, p.rid[:]...), p.gen)
		dst = append(dst, p.template[:]...)
	}
	return dst
}

func (r *reader) batch() (b batch) {
	b.tenant, b.tx = r.id(), r.id()
	n := int(r.u16())
	if n < 1 || n > MaxItems {
		r.bad = true
		return b
	}
	for i := range n {
		p := member{r.rid(), r.u32(), r.id()}
		if i > 0 && bytes.Compare(p.rid[:], b.people[i-1].rid[:]) <= 0 { // nobody twice
			r.bad = true
		}
		b.people = append(b.people, p)
	}
	return b
}

func (b batch) subjects() []Subject {
	of := make([]Subject, len(b.people))
	for i, p := range b.people {
		of[i] = Subject{b.tenant, p.rid}
	}
	return of
}

// prepareMessage is PREPARE but for its shares.
type prepareMessage struct {
	policy, model uint16
	batch         batch
	time          int64
	sid           uint64 // of the session that checks the shares for identification
}

func (m *prepareMessage) appendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, m.policy)
	dst = binary.LittleEndian.AppendUint16(dst, m.model)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(m.time))
	return m.batch.appendTo(binary.LittleEndian.AppendUint64(dst, m.sid))
}

func (r *reader) prepare() (m prepareMessage) {
	m.policy, m.model, m.time, m.sid = r.u16(), r.u16(), int64(r.u64()), r.u64()
	m.batch = r.batch()
	return m
}

// batch is a doubt as a transaction of one; secret is that of an enrolment that was decided.
func (d doubt) batch(secret ID) batch {
	return batch{d.of.Tenant, d.tx, []member{{d.of.RID, d.gen, secret}}}
}

func (d doubt) appendTo(dst []byte) []byte {
	dst = append(appendSubject(dst, d.of), d.tx[:]...)
	return binary.LittleEndian.AppendUint32(dst, d.gen)
}

func (r *reader) doubt() doubt { return doubt{r.subject(), r.id(), r.u32()} }

func (e erasure) appendTo(dst []byte) []byte { return doubt(e).appendTo(dst) }

func (r *reader) erasure() erasure { return erasure(r.doubt()) }

func (r *Receipt) appendTo(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, r.Generation)
	dst = binary.LittleEndian.AppendUint32(dst, r.Records)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Time.UnixMilli()))
	dst = append(append(dst, r.Template[:]...), r.Tx[:]...)
	return append(append(dst, r.Key...), r.Signature...)
}

func (r *reader) receipt(party int, of Subject) Receipt {
	v := Receipt{Party: party, Tenant: of.Tenant, RID: of.RID, Generation: r.u32(), Records: r.u32(), Time: time.UnixMilli(int64(r.u64())).UTC(), Template: r.id(), Tx: r.id()}
	v.Key, v.Signature = r.bytes(32), r.bytes(64)
	return v
}

// hello is what a party says of itself.
type hello struct {
	store   ID
	state   byte
	voted   bool   // an enrolment is prepared, of any gateway
	mark    uint64 // the gateway's highest session id that was used
	key     []byte // of receipts
	version ID
	staged  ID
	doubts  []doubt

	instance ID     // drawn at its start
	shareKey []byte // public, for envelopes
	settings settings
}

func (h *hello) appendTo(dst []byte) []byte {
	dst = append(append(dst, h.store[:]...), h.state, boolByte(h.voted))
	dst = binary.LittleEndian.AppendUint64(dst, h.mark)
	dst = append(append(append(append(dst, h.key...), h.version[:]...), h.staged[:]...), h.instance[:]...)
	dst = append(binary.LittleEndian.AppendUint16(dst, uint16(len(h.shareKey))), h.shareKey...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(h.doubts)))
	for _, d := range h.doubts {
		dst = d.appendTo(dst)
	}
	return h.settings.appendTo(dst)
}

func boolByte(is bool) byte {
	if is {
		return 1
	}
	return 0
}

func (r *reader) hello() (h hello) {
	h.store, h.state, h.voted, h.mark, h.key, h.version, h.staged = r.id(), r.u8(), r.u8() == 1, r.u64(), r.bytes(32), r.id(), r.id()
	h.instance, h.shareKey = r.id(), r.bytes(int(r.u16()))
	for range min(r.u16(), maxDoubts) {
		h.doubts = append(h.doubts, r.doubt())
	}
	h.settings = r.settings()
	return h
}

// errorPayload is an ERROR frame's.
func errorPayload(err error) []byte {
	var retry int64
	if b, ok := errors.AsType[*BudgetError](err); ok {
		retry = b.Retry.Milliseconds()
	}
	if g, ok := errors.AsType[*GenerationError](err); ok {
		retry = int64(g.Has)
	}
	return binary.LittleEndian.AppendUint64([]byte{codeOf(err)}, uint64(retry))
}

// errorOf is the inverse of errorPayload.
func errorOf(party int, payload []byte) error {
	r := reader{b: payload}
	code, more := r.u8(), r.u64()
	if r.end() != nil || codes[code] == nil {
		return fmt.Errorf("party %d: %w", party, ErrMessage)
	}
	if code == codeBudget {
		return &BudgetError{time.Duration(more) * time.Millisecond}
	}
	if code == codeGeneration && more != 0 {
		return fmt.Errorf("party %d: %w", party, &GenerationError{uint32(more)})
	}
	return fmt.Errorf("party %d: %w", party, codes[code])
}

// Codes of an ERROR frame. Never reused.
const (
	codeUnknown    = 1
	codeGeneration = 2
	codeBudget     = 3
	codePeer       = 4
	codeProbe      = 5
	codeReplay     = 6
	codePolicy     = 7
	codeContext    = 8
	codePending    = 9
	codeNotReady   = 10
	codeMessage    = 11
	codeBusy       = 12
	codeAborted    = 13
	codeInternal   = 14
	codeEnvelope   = 15
	codeUsed       = 16
	codeShareKey   = 17
	codeExists     = 18
)

var codes = map[byte]error{codeUnknown: ErrUnknown, codeGeneration: ErrGeneration, codeBudget: ErrBudget, codePeer: ErrPeerDown, codeProbe: ErrProbe, codeReplay: ErrSID,
	codePolicy: ErrPolicy, codeContext: ErrContext, codePending: ErrPending, codeNotReady: ErrNotReady, codeMessage: ErrMessage, codeBusy: ErrBusy, codeAborted: ErrAborted, codeInternal: ErrInternal,
	codeEnvelope: ErrEnvelope, codeUsed: ErrEnvelopeUsed, codeShareKey: ErrShareKey, codeExists: ErrExists}

// codeOf is what a party tells the gateway of an error.
func codeOf(err error) byte {
	if p, ok := errors.AsType[*ProbeError](err); ok && p.Failure == FailedContext {
		return codeContext
	}
	switch {
	case errors.Is(err, ErrTimeout) || errors.Is(err, ErrFrame):
		return codePeer
	case errors.Is(err, ErrShare):
		return codeMessage
	}
	for code := byte(1); codes[code] != nil; code++ {
		if errors.Is(err, codes[code]) {
			return code
		}
	}
	return codeInternal
}
