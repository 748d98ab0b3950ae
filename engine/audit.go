package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Operations that audit records name. Those of package http's refusals are these too, and operationIds for calls that
// leave no record when they go well.
const (
	AuditGalleryCreate = "gallery.create"
	AuditGalleryUpdate = "gallery.update"
	AuditGalleryDelete = "gallery.delete"
	AuditMoveStart     = "move.start"
	AuditMoveFinish    = "move.finish"
	AuditMoveCancel    = "move.cancel"
	AuditPersonPut     = "person.put"
	AuditPersonUpdate  = "person.update"
	AuditPersonDelete  = "person.delete"
	AuditPersonErase   = "person.erase" // with a receipt
	AuditPersonProve   = "person.prove" // the proof of an erasure; what came of it is in the note
	AuditTemplateAdd   = "template.add"
	AuditTemplateRead  = "template.read" // by PersonTemplate
	AuditPeopleImport  = "people.import" // a block of people; how many is in the note
	AuditPeopleExport  = "people.export" // of everybody, with templates
	AuditKeyCreate     = "key.create"
	AuditKeyRevoke     = "key.revoke"
	AuditKeyRotate     = "key.rotate"
	AuditTenantRotate  = "tenant.rotate" // its key
	AuditTenantErase   = "tenant.erase"  // in the logs of other tenants, see auditTenantErasure
	AuditRootRotate    = "root.rotate"   // of the store's root key, in the operators' logs
	AuditVerify        = "verify"
	AuditIdentify      = "identify"
	AuditDuplicates    = "duplicates"
	AuditCompare       = "compare"
	AuditJobStart      = "job.start"
	AuditJobCancel     = "job.cancel"
	AuditJobDelete     = "job.delete"
	AuditJobEnd        = "job.end" // done or failed, by the server itself

	auditLost  = "audit.lost"
	auditPrune = "audit.prune"
)

// Outcomes of audit records.
const (
	AuditDone    = "done"     // a write happened
	AuditMatch   = "match"    // a decision: at or above the threshold, or at least one candidate
	AuditNoMatch = "no_match" // a decision
	AuditRefused = "refused"  // the record's code says why
)

// AuditRecord is one line of a tenant's audit log: who did what when, and what was decided, never by which score or face.
// Its JSON, as the engine wrote it once, is what is hashed and exported.
type AuditRecord struct {
	Seq     uint64    `json:"seq"`               // 1, 2, … within the tenant
	Time    time.Time `json:"time"`              // UTC, ms
	Op      string    `json:"op"`                // AuditVerify and its like
	Key     string    `json:"key,omitempty"`     // who: Actor
	Role    Role      `json:"role,omitempty"`    //
	Request string    `json:"request,omitempty"` //
	Program string    `json:"program,omitempty"` //
	Gallery string    `json:"gallery,omitempty"`
	Person  string    `json:"person,omitempty"`
	Target  string    `json:"target,omitempty"` // the API key, or whatever else it was done to
	Outcome string    `json:"outcome"`          // AuditDone, AuditMatch, AuditNoMatch or AuditRefused
	Code    string    `json:"code,omitempty"`   // of a refusal
	// Band is the decade of the false match rate at the score of a decision's best: "fmr<1e-5". No record is finer than that.
	Band       string   `json:"band,omitempty"`
	Policy     string   `json:"policy,omitempty"` // that decided, or that a gallery has from now on: "fmr=0.0001"
	Threshold  *float64 `json:"threshold,omitempty"`
	Candidates *int     `json:"candidates,omitempty"` // of a search
	Found      []string `json:"found,omitempty"`      // the first of them, best first, at most maxAuditFound
	Note       string   `json:"note,omitempty"`
}

// maxAuditFound bounds the people that the record of a search names.
const maxAuditFound = 10

// AuditHash is the hash of a record, over all before it.
type AuditHash [sha256.Size]byte

// MarshalText writes 64 hex digits.
func (h AuditHash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText is the inverse of MarshalText.
func (h *AuditHash) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(h)) {
		return fmt.Errorf("engine: an audit hash is %d hex digits", hex.EncodedLen(len(h)))
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// String is MarshalText's.
func (h AuditHash) String() string { return hex.EncodeToString(h[:]) }

// AuditHead names a record: noted down elsewhere, it shows later whether the log still holds what it held.
type AuditHead struct {
	Seq  uint64    `json:"seq"` // 0: before the first
	Hash AuditHash `json:"hash"`
}

// follow returns the head after a line: SHA-256 of label, tenant, the hash before and the line. The label and the tenant, which
// hold no 0x00, each end in one.
func (h AuditHead) follow(tenant string, line []byte) AuditHead {
	var room [1024]byte
	b := append(append(append(room[:0], "mien audit v1\x00"...), tenant...), 0)
	return AuditHead{h.Seq + 1, sha256.Sum256(append(append(b, h.Hash[:]...), line...))}
}

// auditEntry is a record before it has a number. It holds nothing that a caller may change.
type auditEntry struct {
	tenant     string
	time       int64 // ms since 1970
	actor      Actor
	op         string
	gallery    string
	person     string
	target     string
	outcome    string // "" is AuditDone
	code       string
	note       string
	decided    bool    // what follows is there
	searched   bool    // and candidates and found are
	fmr        float64 // of the best; ≥ 1 also where there is none
	policy     auditPolicy
	threshold  float64
	candidates int
	found      []string

	written chan<- error // told when it is durable, or lost; nil: nobody waits. Buffered
}

// auditPolicy is a Policy by value.
type auditPolicy struct {
	kind string
	rate float64
}

func auditPolicyOf(p Policy) auditPolicy {
	switch {
	case p.FMR != nil:
		return auditPolicy{"fmr", *p.FMR}
	case p.FPIR != nil:
		return auditPolicy{"fpir", *p.FPIR}
	case p.Similarity != nil:
		return auditPolicy{"similarity", *p.Similarity}
	case p.Cosine != nil:
		return auditPolicy{"cosine", *p.Cosine}
	}
	return auditPolicy{}
}

// bands are the decades of a false match rate, from AuditRecord.Band's least to the finest that is told.
var bands = func() (all [10]string) {
	all[0] = "fmr>=1e-1"
	for i := 1; i < len(all); i++ {
		all[i] = fmt.Sprintf("fmr<1e-%d", i)
	}
	return all
}()

func bandOf(fmr float64) string {
	n := 0
	for limit := 0.1; n < len(bands)-1 && fmr < limit; limit /= 10 {
		n++
	}
	return bands[n]
}

// appendLine appends the JSON of AuditRecord, without a line end.
func (a *auditEntry) appendLine(dst []byte, seq uint64) []byte {
	dst = strconv.AppendUint(append(dst, `{"seq":`...), seq, 10)
	dst = fromMillis(a.time).AppendFormat(append(dst, `,"time":"`...), "2006-01-02T15:04:05.000Z")
	dst = append(dst, '"')
	outcome := a.outcome
	if outcome == "" {
		outcome = AuditDone
	}
	for _, m := range [...]struct{ name, value string }{{`,"op":`, a.op}, {`,"key":`, a.actor.Key}, {`,"role":`, string(a.actor.Role)},
		{`,"request":`, a.actor.Request}, {`,"program":`, a.actor.Program}, {`,"gallery":`, a.gallery}, {`,"person":`, a.person},
		{`,"target":`, a.target}, {`,"outcome":`, outcome}, {`,"code":`, a.code}} {
		if m.value != "" {
			dst = appendJSONString(append(dst, m.name...), m.value)
		}
	}
	if a.decided {
		dst = appendJSONString(append(dst, `,"band":`...), bandOf(a.fmr))
	}
	if a.policy.kind != "" {
		dst = append(append(append(dst, `,"policy":"`...), a.policy.kind...), '=')
		dst = append(strconv.AppendFloat(dst, a.policy.rate, 'g', -1, 64), '"')
	}
	if a.decided {
		dst = appendJSONFloat(append(dst, `,"threshold":`...), a.threshold)
	}
	if a.searched {
		dst = a.appendFound(dst)
	}
	if a.note != "" {
		dst = appendJSONString(append(dst, `,"note":`...), a.note)
	}
	return append(dst, '}')
}

func (a *auditEntry) appendFound(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `,"candidates":`...), int64(a.candidates), 10)
	for i, id := range a.found {
		dst = append(dst, [...]string{`,"found":[`, `,`}[min(i, 1)]...)
		dst = appendJSONString(dst, id)
	}
	if len(a.found) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

// appendJSONString quotes valid UTF-8.
func appendJSONString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, err := json.Marshal(s)
			must(err)
			return append(dst, b...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// appendJSONFloat writes a threshold, which a policy that nobody can reach makes +Inf: JSON has none, so it is 2, above every
// cosine.
func appendJSONFloat(dst []byte, x float64) []byte {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		x = math.Copysign(2, x)
	}
	return strconv.AppendFloat(dst, x, 'g', -1, 64)
}

// auditChain is where each tenant's log has got to.
type auditChain struct {
	heads map[string]AuditHead // of the last record handed over; owned by who has the turn

	mu struct {
		sync.RWMutex
		heads map[string]AuditHead // of the last that is durable
	}
}

func newAuditChain() *auditChain {
	c := &auditChain{heads: make(map[string]AuditHead)}
	c.mu.heads = make(map[string]AuditHead)
	return c
}

func (c *auditChain) durable(tenant string) AuditHead {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.mu.heads[tenant]
}

func (c *auditChain) keepDurable(tenant string, h AuditHead) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.heads[tenant] = h
}

// tenants are those that have a log.
func (c *auditChain) tenants() (all []string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for tenant := range c.mu.heads {
		all = append(all, tenant)
	}
	return all
}

// audit has the write recorded in its tenant's log, in its batch; time and actor are the write's. A write that stages nothing
// else leaves no record.
func (t *tx) audit(a auditEntry) {
	a.time, a.actor = t.now, t.actor
	t.entries = append(t.entries, a)
}

// auditAlone records what is no write of anything else. Errors: those of every write.
func (e *Engine) auditAlone(ctx context.Context, entries ...auditEntry) error {
	return e.store.updateAudit(ctx, func(t *tx) error {
		t.now, t.actor = t.store.now().UnixMilli(), actorOf(ctx)
		for _, a := range entries {
			t.audit(a)
		}
		return nil
	})
}

// operatorTenants are those who have a key in use that is an operator's: in whose logs it is recorded what is of the whole store.
func (e *Engine) operatorTenants() (tenants []string) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	now := e.store.now()
	for _, k := range e.mu.keys {
		if k.Operator && k.ended(now).IsZero() && !slices.Contains(tenants, k.Tenant) {
			tenants = append(tenants, k.Tenant)
		}
	}
	slices.Sort(tenants)
	return tenants
}

// stageAudit stages the records of t.entries, a block for each tenant.
func (e *Engine) stageAudit(t *tx) error {
	blocks := make(map[string]*auditBlock, 1)
	for i := range t.entries {
		a := &t.entries[i]
		b := blocks[a.tenant]
		if b == nil {
			b = newAuditBlock(e.store.audit.heads[a.tenant], len(t.entries)-i)
			blocks[a.tenant] = b
		}
		b.add(a)
	}
	for tenant, b := range blocks {
		seal, err := e.tenantSealer(t, tenant)
		if err != nil {
			return err
		}
		if b.first == 1 {
			if err := t.raiseFormat(auditFormat); err != nil {
				return err
			}
		}
		t.set(auditKey(tenant, b.first), seal.seal(auditPlace(tenant, b.first), b.plain))
		t.onHandOver = append(t.onHandOver, func() { e.store.audit.heads[tenant] = b.head })
		t.also(func() { e.store.audit.keepDurable(tenant, b.head) })
	}
	return nil
}

// auditBlock is what one write adds to one tenant's log. Sealed under its key is
//
//	0x01 ‖ hash of the record before [32] ‖ records, each JSON and a line end
type auditBlock struct {
	first uint64 // sequence
	head  AuditHead
	plain []byte
}

const (
	auditBlockVersion = 1
	auditBlockHead    = 1 + sha256.Size
)

// newAuditBlock makes room for some records of the usual size.
func newAuditBlock(before AuditHead, records int) *auditBlock {
	plain := append(make([]byte, 0, auditBlockHead+384*records), auditBlockVersion)
	return &auditBlock{first: before.Seq + 1, head: before, plain: append(plain, before.Hash[:]...)}
}

func (b *auditBlock) add(a *auditEntry) {
	from := len(b.plain)
	b.plain = a.appendLine(b.plain, b.head.Seq+1)
	b.head = b.head.follow(a.tenant, b.plain[from:])
	b.plain = append(b.plain, '\n')
}

// lines calls visit with every record of a block and the head at it, and returns the head at the last. line dies with plain.
// Errors: ErrCorrupt, visit's.
func auditLines(tenant string, first uint64, plain []byte, visit func(at AuditHead, line []byte) error) (AuditHead, error) {
	if len(plain) <= auditBlockHead || plain[0] != auditBlockVersion || plain[len(plain)-1] != '\n' || first == 0 {
		return AuditHead{}, fmt.Errorf("%w: audit block", ErrCorrupt)
	}
	at := AuditHead{Seq: first - 1, Hash: AuditHash(plain[1:auditBlockHead])}
	for rest := plain[auditBlockHead:]; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte{'\n'})
		at, rest = at.follow(tenant, line), after
		if err := visit(at, line); err != nil {
			return at, err
		}
	}
	return at, nil
}

func auditPlace(tenant string, first uint64) place {
	return place{kind: kindAudit, tenant: tenant, gallery: first}
}

// auditPrefix begins the keys of a tenant's blocks.
func auditPrefix(tenant string) []byte {
	return append(append([]byte{prefixAudit}, tenant...), 0)
}

func auditKey(tenant string, first uint64) []byte {
	return binary.BigEndian.AppendUint64(auditPrefix(tenant), first)
}
