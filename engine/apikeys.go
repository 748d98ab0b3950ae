package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A token is tokenPrefix, 16 hex digits of id, "_", and 43 base64url characters of secret.
const (
	tokenPrefix = "mien_"
	keyIDBytes  = 8
	secretBytes = 32
	secretChars = (8*secretBytes + 5) / 6
)

// CreateKey makes an API key and returns its token, which is stored nowhere. The tenant comes into being with
// its first key or gallery. A tenant that has MaxKeys loses the one that ended first. Errors: ErrID, ErrKeySpec, ErrKeysFull, and
// those of every write (see CreateGallery).
func (e *Engine) CreateKey(ctx context.Context, tenant string, spec KeySpec) (Key, string, error) {
	if err := e.enter(ctx); err != nil {
		return Key{}, "", err
	}
	defer e.leave()
	if err := cmp.Or(checkName("tenant", tenant), spec.validate()); err != nil {
		return Key{}, "", err
	}
	r, token := newKeyRecord(tenant, spec)
	err := e.store.update(ctx, false, func(t *tx) error {
		if _, err := e.tenantSealer(t, tenant); err != nil {
			return err
		}
		t.audit(auditEntry{tenant: tenant, op: AuditKeyCreate, target: r.ID, note: "role " + r.Role})
		return e.stageNewKey(t, r, token)
	})
	if err != nil {
		return Key{}, "", err
	}
	return r.key(), token, nil
}

// newKeyRecord makes a key's record with a secret of its own, and the token that has it.
func newKeyRecord(tenant string, s KeySpec) (*keyRecord, string) {
	secret := base64.RawURLEncoding.EncodeToString(randomBytes(secretBytes))
	hash := sha256.Sum256([]byte(secret))
	r := &keyRecord{ID: hex.EncodeToString(randomBytes(keyIDBytes)), Tenant: tenant, Role: string(s.Role),
		Operator: s.Operator, Label: s.Label, Hash: hash[:], Galleries: sortedSet(s.Galleries), Rate: s.Rate, Burst: s.burst(), Dialect: s.Dialect, used: new(atomic.Int64)}
	if !s.Expires.IsZero() {
		r.Expires = s.Expires.UTC().Truncate(time.Second)
	}
	if s.Scores != ScoresExact {
		r.Scores = string(s.Scores)
	}
	return r, tokenPrefix + r.ID + "_" + secret
}

// NewKey is a key that was made, with its token: what CreateKey and RotateKey return, for Once.Context.
type NewKey struct {
	Key   Key
	Token string
}

// stageNewKey stages a key, in the place of the one that ended first if its tenant has MaxKeys.
func (e *Engine) stageNewKey(t *tx, r *keyRecord, token string) error {
	r.Created = fromMillis(t.now)
	if !r.Expires.IsZero() && !r.Expires.After(r.Created) {
		return refuse(ErrKeySpec, "the key would have expired at %s: name a time that is to come", r.Expires.Format(time.RFC3339))
	}
	gone, err := e.fullOfKeys(r.Tenant, r.Created)
	if err != nil {
		return err
	}
	if gone != "" {
		t.delete(apiKeyKey(gone))
		t.also(func() { e.dropKey(gone) })
	}
	t.done(NewKey{r.key(), token}, true)
	return e.stageKey(t, r)
}

// fullOfKeys returns the id of the key that must go for another, "" if there is room. Errors: ErrKeysFull.
func (e *Engine) fullOfKeys(tenant string, now time.Time) (string, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	n, first := 0, (*keyRecord)(nil)
	for _, r := range e.mu.keys {
		if r.Tenant != tenant {
			continue
		}
		n++
		if end := r.ended(now); !end.IsZero() && (first == nil || end.Before(first.ended(now))) {
			first = r
		}
	}
	switch {
	case n < MaxKeys:
		return "", nil
	case first == nil:
		return "", refuse(ErrKeysFull, "the tenant has %d keys that are in use, the most there may be: revoke some", MaxKeys)
	}
	return first.ID, nil
}

// ended is when the key became useless, zero if it has not.
func (r *keyRecord) ended(now time.Time) time.Time {
	expired := !r.Expires.IsZero() && !now.Before(r.Expires)
	switch {
	case !r.Revoked.IsZero() && !(expired && r.Expires.Before(r.Revoked)):
		return r.Revoked
	case expired:
		return r.Expires
	}
	return time.Time{}
}

// stageKey stages a key's record.
func (e *Engine) stageKey(t *tx, r *keyRecord) error {
	t.set(apiKeyKey(r.ID), t.store.sealRecord(keyPlace(r.ID), r))
	t.also(func() { e.keepKey(r) })
	if r.Dialect != "" {
		return t.raiseFormat(documentFormat)
	}
	if r.narrowed() {
		return t.raiseFormat(accessFormat)
	}
	return nil
}

// keepKey puts a record in the place of the key's former one.
func (e *Engine) keepKey(r *keyRecord) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.keys[r.ID] = r
}

func (e *Engine) dropKey(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.mu.keys, id)
}

// Keys returns a tenant's keys, those that have ended too, oldest first. Errors: ErrID, ErrClosed, ctx's.
func (e *Engine) Keys(ctx context.Context, tenant string) ([]Key, error) {
	if err := e.enter(ctx); err != nil {
		return nil, err
	}
	defer e.leave()
	if err := checkName("tenant", tenant); err != nil {
		return nil, err
	}
	keys := []Key{}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, r := range e.mu.keys {
		if r.Tenant == tenant {
			keys = append(keys, r.listed())
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return keys, nil
}

// Key returns one key of a tenant. Errors: ErrKeyNotFound, ErrClosed, ctx's.
func (e *Engine) Key(ctx context.Context, tenant, id string) (Key, error) {
	if err := e.enter(ctx); err != nil {
		return Key{}, err
	}
	defer e.leave()
	e.mu.RLock()
	defer e.mu.RUnlock()
	if r := e.mu.keys[id]; r != nil && r.Tenant == tenant {
		return r.listed(), nil
	}
	return Key{}, errKeyNotFound
}

// RevokeKey makes a tenant's key useless for good; revoking it again does nothing. It is let through on a nearly
// full disk. Errors: ErrKeyNotFound, and those of every write.
func (e *Engine) RevokeKey(ctx context.Context, tenant, id string) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	return e.store.update(ctx, true, func(t *tx) error {
		r, err := e.ownKey(t, tenant, id)
		if err != nil {
			return err
		}
		if t.done(nil, false); !r.Revoked.IsZero() {
			return nil
		}
		r.Revoked = fromMillis(t.now)
		t.audit(auditEntry{tenant: tenant, op: AuditKeyRevoke, target: r.ID})
		return e.stageKey(t, r)
	})
}

// Rotation is how a key is replaced.
type Rotation struct {
	Overlap time.Duration // that the old key lives on, up to MaxKeyOverlap; 0 is DefaultOverlap, less than 0 none
	// Latest is the last time that the new key may expire at, zero if it need not. A key that expires is followed by one that
	// lives as long from now on, or until Latest.
	Latest time.Time
}

// RotateKey makes a key with the rights of a tenant's key, in its place: the old one expires after the overlap, or when it would
// have, whichever is sooner. Both are one write. Errors: ErrKeyNotFound, ErrKeyEnded, ErrKeySpec, ErrKeysFull, and those of every
// write.
func (e *Engine) RotateKey(ctx context.Context, tenant, id string, o Rotation) (Key, string, error) {
	if err := e.enter(ctx); err != nil {
		return Key{}, "", err
	}
	defer e.leave()
	overlap := max(cmp.Or(o.Overlap, DefaultOverlap), 0)
	if overlap > MaxKeyOverlap {
		return Key{}, "", refuse(ErrKeySpec, "the overlap is %v: it may be %v at most", overlap, MaxKeyOverlap)
	}
	var next *keyRecord
	var token string
	err := e.store.update(ctx, false, func(t *tx) error {
		old, err := e.ownKey(t, tenant, id)
		if err != nil {
			return err
		}
		now := fromMillis(t.now)
		if !old.ended(now).IsZero() || old.RotatedTo != "" {
			return refuse(ErrKeyEnded, "the key was revoked, has expired or was rotated before: rotate the one that is in use, or create another")
		}
		next, token = newKeyRecord(tenant, old.spec())
		next.Expires = old.expiryAgain(now, o.Latest)
		next.RotatedFrom, old.RotatedTo = old.ID, next.ID
		if end := now.Add(overlap); old.Expires.IsZero() || end.Before(old.Expires) {
			old.Expires = end
		}
		t.audit(auditEntry{tenant: tenant, op: AuditKeyRotate, target: old.ID, note: "to " + next.ID})
		if err := e.stageKey(t, old); err != nil {
			return err
		}
		return e.stageNewKey(t, next, token)
	})
	if err != nil {
		return Key{}, "", err
	}
	return next.key(), token, nil
}

// expiryAgain is when the successor of a key expires that is made now.
func (r *keyRecord) expiryAgain(now, latest time.Time) (at time.Time) {
	if !r.Expires.IsZero() {
		at = now.Add(r.Expires.Sub(r.Created)).Truncate(time.Second)
	}
	if !latest.IsZero() && (at.IsZero() || at.After(latest)) {
		return latest
	}
	return at
}

// ownKey reads the record of a tenant's key as the store will have it. Errors: ErrKeyNotFound, ErrCorrupt.
func (e *Engine) ownKey(t *tx, tenant, id string) (*keyRecord, error) {
	r, err := t.key(id)
	if err != nil {
		return nil, err
	}
	if r.Tenant != tenant {
		return nil, errKeyNotFound
	}
	r.used = e.useOf(id)
	return r, nil
}

// useOf is what remembers the last use of a key.
func (e *Engine) useOf(id string) *atomic.Int64 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if r := e.mu.keys[id]; r != nil {
		return r.used
	}
	return new(atomic.Int64)
}

// key reads a key's record as the store will have it. Errors: ErrKeyNotFound, ErrCorrupt.
func (t *tx) key(id string) (*keyRecord, error) {
	if raw, err := hex.DecodeString(id); err != nil || len(raw) != keyIDBytes || hex.EncodeToString(raw) != id {
		return nil, errKeyNotFound
	}
	value, found, err := t.get(apiKeyKey(id))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errKeyNotFound
	}
	r := new(keyRecord)
	return r, t.store.openRecord(keyPlace(id), value, r)
}

// Authenticate returns the key of a token. The secret is compared in constant time, by its hash, and an id that nobody has costs
// what one with a wrong secret does. It reads memory only and allocates nothing for a good token. Errors: ErrKeyMissing,
// ErrKeyUnknown, ErrKeyRevoked, ErrKeyExpired, ErrClosed.
func (e *Engine) Authenticate(token string) (Key, error) {
	if err := e.enter(context.Background()); err != nil {
		return Key{}, err
	}
	defer e.leave()
	if token == "" {
		return Key{}, refuse(ErrKeyMissing, "no API key was sent: send \"Authorization: Bearer mien_…\"")
	}
	r := e.keyOf(token)
	if r == nil {
		return Key{}, refuse(ErrKeyUnknown, "the API key is unknown: check that it is whole and of this server")
	}
	if !r.Revoked.IsZero() {
		return Key{}, refuse(ErrKeyRevoked, "the API key was revoked at %s: use another", r.Revoked.Format(time.RFC3339))
	}
	if !r.Expires.IsZero() && !e.store.now().Before(r.Expires) {
		return Key{}, refuse(ErrKeyExpired, "the API key expired at %s: use the one that it was rotated to, or another", r.Expires.Format(time.RFC3339))
	}
	if minute := time.Now().Unix() / 60; r.used.Load() != minute {
		r.used.Store(minute)
	}
	return r.key(), nil
}

// noHash is of no secret: what a token with an unknown id is compared with.
var noHash [sha256.Size]byte

// keyOf finds the record of a token with the right secret; nil for every other token.
func (e *Engine) keyOf(token string) *keyRecord {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	const idLen = 2 * keyIDBytes
	if !ok || len(rest) != idLen+1+secretChars || rest[idLen] != '_' {
		return nil
	}
	e.mu.RLock()
	r := e.mu.keys[rest[:idLen]]
	e.mu.RUnlock()
	var secret [secretChars]byte // a []byte of so many would be allocated
	copy(secret[:], rest[idLen+1:])
	hash, want := sha256.Sum256(secret[:]), noHash[:]
	if r != nil {
		want = r.Hash
	}
	if subtle.ConstantTimeCompare(hash[:], want) != 1 {
		return nil
	}
	return r
}
