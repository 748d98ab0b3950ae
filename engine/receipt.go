package engine

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Receipt says what an erasure destroyed, where what remains is, and until when. JWS is the proof that this store's engine said
// so; it names the person by the id that the client chose, and holds nothing biometric.
type Receipt struct {
	Kind     string    `json:"kind"` // ReceiptPerson or ReceiptTenant
	Tenant   string    `json:"tenant"`
	Gallery  string    `json:"gallery,omitempty"`
	Person   string    `json:"person,omitempty"`
	Time     time.Time `json:"time"`
	Sequence uint64    `json:"sequence"` // of the write
	// Keys are those that were destroyed: of a person one for each space of a gallery that is being moved; none of somebody
	// who was last written before format 5, whom the tenant's data key sealed.
	Keys      []ErasedKey `json:"keys"`
	People    int         `json:"people,omitempty"` // of a tenant
	Templates int         `json:"templates"`
	Photos    int         `json:"photos"`
	Remains   []Remainder `json:"remains"`

	JWS string `json:"jws,omitempty"` // all of the above, signed: RFC 7515, compact, EdDSA; ReceiptKey verifies it
}

// Kinds of Receipt.
const (
	ReceiptPerson = "mien-erasure-person-1"
	ReceiptTenant = "mien-erasure-tenant-1"
)

// ErasedKey is a key that was destroyed.
type ErasedKey struct {
	Space   string `json:"space,omitempty"`
	Gallery uint64 `json:"gallery_number,omitempty"` // of the gallery's rows in the store
	// ID is the SHA-256 of "mien subject key v1" and the key, in hex: it tells nothing of the key, and who still has the key can
	// be shown to have it.
	ID         string `json:"id,omitempty"`
	SealedWith uint32 `json:"sealed_with"` // the version of the tenant's key without which the key doesn't open
}

// Remainder is a place where something of what was erased is, and what ends that.
type Remainder struct {
	Where string    `json:"where"`
	What  string    `json:"what"`
	Until string    `json:"until"`
	Time  time.Time `json:"time,omitzero"` // at the latest, where that is known
}

// keyID names a person's key without telling it. Errors: ErrCorrupt.
func (g *gallery) keyID(id string, wrapped []byte) (string, error) {
	var room [subjectKeyBytes]byte
	key, err := g.seal.ring.open(room[:0], subjectPlace(g, id), wrapped)
	if err != nil {
		return "", err
	}
	defer clear(key)
	return idOfKey(key), nil
}

func idOfKey(key []byte) string {
	h := sha256.New()
	h.Write([]byte("mien subject key v1"))
	h.Write(key)
	return hex.EncodeToString(h.Sum(nil))
}

// ErasePerson is DeletePerson with a receipt. Errors: DeletePerson's.
func (e *Engine) ErasePerson(ctx context.Context, tenant, name, id string, o WriteOptions) (Receipt, error) {
	return e.erasePerson(ctx, tenant, name, id, o, nil)
}

// erasePerson takes traces of the person unless t is nil.
func (e *Engine) erasePerson(ctx context.Context, tenant, name, id string, o WriteOptions, t *traces) (Receipt, error) {
	r := Receipt{Kind: ReceiptPerson, Tenant: tenant, Gallery: name, Person: id}
	err := e.deletePerson(ctx, AuditPersonErase, tenant, name, id, o, func(p *personTx) (err error) {
		r.Time, r.Sequence = fromMillis(p.now), p.seq
		r.Templates, r.Photos, r.Keys = 0, 0, []ErasedKey{}
		t.reset()
		for _, p := range []*personTx{p, p.next} {
			if err == nil && p != nil && p.old != nil {
				err = cmp.Or(r.count(p), t.take(p))
			}
		}
		err = cmp.Or(err, t.takeDocuments(p))
		r.Remains = e.remains(p)
		if err == nil && p.once != nil {
			p.done(e.signed(r), false)
		}
		return err
	})
	if err != nil {
		return Receipt{}, err
	}
	return e.signed(r), nil
}

// count adds what a person has in a gallery. REQUIRES: p.old is not nil.
func (r *Receipt) count(p *personTx) error {
	for _, t := range p.old.templates {
		r.Templates++
		if t.photo {
			r.Photos++
		}
	}
	if p.old.key == nil {
		return nil
	}
	at := subjectPlace(p.g, p.id)
	version, err := keyVersionOf(at, p.old.key.wrapped)
	if err != nil {
		return err
	}
	id, err := p.g.keyID(p.id, p.old.key.wrapped)
	r.Keys = append(r.Keys, ErasedKey{Space: p.g.record.Space, Gallery: p.g.record.Number, ID: id, SealedWith: version})
	return err
}

// liveFiles is a Remainder.Where, what a proof of erasure ends.
const liveFiles = "files of the live store"

// remains says what an erased person leaves behind.
func (e *Engine) remains(p *personTx) []Remainder {
	ring := p.g.seal.ring
	files := Remainder{Where: liveFiles, What: "sealed rows, and the destroyed key, sealed",
		Until: "the store's next compactions of these rows, or at once by a proof of erasure"}
	copies := Remainder{Where: "backups of the store made before", What: "sealed rows, and the key, sealed by the version of the tenant's key that is named",
		Until: "that version is destroyed by the next rotation of the tenant's key, and no backup of the key store has it"}
	if p.old.key == nil {
		copies.What, copies.Until = "rows sealed by the tenant's data key: the person was last written before format 5", "the backup is deleted, or the tenant erased"
	} else if e.rotateEvery > 0 {
		copies.Time = ring.createdAt().Add(e.rotateEvery)
		copies.Until = "by then the version is destroyed in the key store, and what backups of the key store have it still open the backups of the store"
	}
	left := []Remainder{files, copies}
	if e.store.documents.count(p.g.tenant) > 0 {
		left = append(left, Remainder{Where: "files of the live store, and backups of the store made before", What: "documents about the person, as of sessions, if there were any, sealed by the tenant's data key",
			Until: "the store's next compactions of these rows, or at once by a proof of erasure; backups until they are deleted, or the tenant is erased"})
	}
	return left
}

// receiptHeader is that of every receipt's JWS.
type receiptHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
}

// ReceiptKey is a public key that verifies receipts, as a JWK (RFC 8037).
type ReceiptKey struct {
	Type      string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
}

// ReceiptKey returns the key that verifies this store's receipts; it stays the same as long as the store and its key store do.
func (e *Engine) ReceiptKey() ReceiptKey {
	public := e.receipts.Public().(ed25519.PublicKey)
	return ReceiptKey{Type: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(public), ID: receiptKeyID(public), Algorithm: "EdDSA", Use: "sig"}
}

func receiptKeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

func (e *Engine) signed(r Receipt) Receipt {
	r.JWS = ""
	r.JWS = e.sign(r)
	return r
}

// sign is the JWS of a Receipt or Proof.
func (e *Engine) sign(v any) string {
	text := segment(receiptHeader{"EdDSA", e.ReceiptKey().ID}) + "." + segment(v)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(e.receipts, []byte(text)))
}

func segment(v any) string {
	b, err := json.Marshal(v)
	must(err) // structs of our own
	return base64.RawURLEncoding.EncodeToString(b)
}

// VerifyReceipt returns the receipt that a JWS of ErasePerson or EraseTenant says. Errors: ErrReceipt.
func (e *Engine) VerifyReceipt(jws string) (Receipt, error) {
	return verifyReceipt(e.receipts.Public().(ed25519.PublicKey), jws)
}

// maxReceipt bounds a JWS.
const maxReceipt = 64 << 10

func verifyReceipt(public ed25519.PublicKey, jws string) (r Receipt, err error) {
	bad := refuse(ErrReceipt, "this is no erasure receipt of this server's store, or it was changed: send the \"jws\" of a receipt whole")
	parts := strings.Split(jws, ".")
	if len(jws) > maxReceipt || len(parts) != 3 {
		return Receipt{}, bad
	}
	signature, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil || !ed25519.Verify(public, []byte(parts[0]+"."+parts[1]), signature) {
		return Receipt{}, bad
	}
	header, err1 := base64.RawURLEncoding.DecodeString(parts[0])
	payload, err2 := base64.RawURLEncoding.DecodeString(parts[1])
	if errors.Join(err1, err2) != nil || !bytes.Contains(header, []byte(`"EdDSA"`)) || json.Unmarshal(payload, &r) != nil ||
		r.Kind != ReceiptPerson && r.Kind != ReceiptTenant { // a Proof is signed with the same key
		return Receipt{}, bad
	}
	r.JWS = jws
	return r, nil
}

// EraseTenant erases a tenant: all versions of its key first, which nothing undoes, then its galleries, people and API keys. It is
// let through on a nearly full disk, and goes on if ctx ends meanwhile. Errors: ErrID, ErrTenantNotFound, and those of every
// write.
func (e *Engine) EraseTenant(ctx context.Context, tenant string) (Receipt, error) {
	if err := e.enter(ctx); err != nil {
		return Receipt{}, err
	}
	defer e.leave()
	keys, err := e.tenantKeys(tenant)
	if err != nil {
		return Receipt{}, err
	}
	r := Receipt{Kind: ReceiptTenant, Tenant: tenant, Remains: []Remainder{
		{Where: liveFiles, What: "sealed rows", Until: "the store's next compactions of these rows"},
		{Where: "backups of the store made before", What: "sealed rows", Until: "no backup of the key store has a version of the tenant's key that is named"}}}
	e.rotator.cancel(tenant)
	err = e.store.update(context.WithoutCancel(ctx), true, func(t *tx) error { // there is no way back once the keys are gone
		if now, err := e.tenantKeys(tenant); err != nil || now != keys {
			return cmp.Or(err, error(errTenantNotFound))
		}
		if err := t.store.settle(context.WithoutCancel(ctx), t.store.last.Load()); err != nil { // memory is what the store is
			return err
		}
		r.Time, r.Sequence = fromMillis(t.now), t.seq
		for _, version := range keys.ring.living() {
			r.Keys = append(r.Keys, ErasedKey{SealedWith: version})
		}
		if err := e.stageErasure(t, tenant, &r); err != nil {
			return err
		}
		return e.keys.destroy(tenant, 0) // last: what is staged happens, or the next start stages it again
	})
	if err != nil {
		return Receipt{}, err
	}
	return e.signed(r), nil
}

// stageErasure stages the end of a tenant whose keys are destroyed, and counts what memory knows of it.
func (e *Engine) stageErasure(t *tx, tenant string, r *Receipt) error {
	galleries := e.galleriesOf(tenant)
	for _, g := range galleries {
		people, templates := g.counts()
		r.People, r.Templates = r.People+people, r.Templates+templates
		t.onHandOver = append(t.onHandOver, func() { g.unsynced.Add(1) })
	}
	gone, err := e.stageTenant(t, tenant)
	if err != nil {
		return err
	}
	e.auditTenantErasure(t, tenant)
	t.onHandOver = append(t.onHandOver, func() {
		e.dropSealer(tenant)
		delete(e.store.audit.heads, tenant)
		e.store.documents.forget(tenant)
	})
	t.also(func() {
		for _, g := range galleries {
			e.dropGallery(galleryName{g.tenant, g.name})
		}
		e.store.audit.keepDurable(tenant, AuditHead{})
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, id := range gone {
			delete(e.mu.keys, id)
		}
	})
	return nil
}

// auditTenantErasure has the end of a tenant recorded where it can be, for the tenant's own log ends with it: in that of the tenant
// whose key did it; and where no key did, on a stopped data folder, in those of the operators, who may see all tenants. If the erased tenant
// was the last operator's, the receipt is what is left.
func (e *Engine) auditTenantErasure(t *tx, tenant string) {
	tenants := []string{e.tenantOf(t.actor)}
	if tenants[0] == "" {
		tenants = e.operatorTenants()
	}
	for _, by := range tenants {
		if by != tenant {
			t.audit(auditEntry{tenant: by, op: AuditTenantErase, target: tenant})
		}
	}
}

// tenantOf is that of the key that makes a call, "" for none.
func (e *Engine) tenantOf(a Actor) string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if r := e.mu.keys[a.Key]; r != nil {
		return r.Tenant
	}
	return ""
}

// stageTenant stages the deletion of all that the store has of a tenant, and returns the ids of its API keys.
func (e *Engine) stageTenant(t *tx, tenant string) (keys []string, err error) {
	t.delete(tenantKey(tenant))
	t.forgetOnces(tenant)
	t.deletePrefix(auditPrefix(tenant))
	t.deletePrefix(documentsPrefix(tenant))
	prefix := append(append([]byte{prefixGallery}, tenant...), 0)
	err = t.store.each(prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		var r galleryRecord
		if err := t.store.openRecord(galleryPlace(tenant, string(k[len(prefix):])), v, &r); err != nil {
			return false, err
		}
		t.delete(bytes.Clone(k))
		t.deletePeople(r.Number)
		if r.Move != nil {
			t.deletePeople(r.Move.Number)
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return keys, t.eachOf(prefixAPIKey, func(k, v []byte) error {
		r := new(keyRecord)
		id := hex.EncodeToString(k[1:])
		if err := t.store.openRecord(keyPlace(id), v, r); err != nil || r.Tenant != tenant {
			return err
		}
		t.delete(bytes.Clone(k))
		keys = append(keys, id)
		return nil
	})
}

// finishErasures deletes what is left of tenants whose keys are destroyed: a crash came between the two.
func (e *Engine) finishErasures() error {
	var erased []string
	err := e.store.each([]byte{prefixTenant}, []byte{prefixTenant + 1}, func(k, _ []byte) (bool, error) {
		keys, found, err := e.keys.read(string(k[1:]))
		if err == nil && found && len(keys) == 0 {
			erased = append(erased, string(k[1:]))
		}
		return err == nil, err
	})
	if err != nil || len(erased) == 0 {
		return err
	}
	return e.store.update(context.Background(), true, func(t *tx) error {
		for _, tenant := range erased {
			if _, err := e.stageTenant(t, tenant); err != nil {
				return err
			}
		}
		return nil
	})
}
