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
	"time"
	"unicode"
	"unicode/utf8"
)

// KeySpec is what a new API key may do. Operator keys may make keys for every tenant; they must be admins.
type KeySpec struct {
	Role     Role
	Label    string // for people; up to MaxLabelBytes
	Operator bool
}

// A token is tokenPrefix, 16 hex digits of id, "_", and 43 base64url characters of secret.
const (
	tokenPrefix = "mien_"
	keyIDBytes  = 8
	secretBytes = 32
)

// CreateKey makes an API key and returns its token, which is stored nowhere. The tenant comes into being with
// its first key or gallery. Errors: ErrID, ErrKeySpec, and those of every write (see CreateGallery).
func (e *Engine) CreateKey(ctx context.Context, tenant string, spec KeySpec) (Key, string, error) {
	if err := e.enter(ctx); err != nil {
		return Key{}, "", err
	}
	defer e.leave()
	if err := cmp.Or(checkName("tenant", tenant), spec.validate()); err != nil {
		return Key{}, "", err
	}
	secret := base64.RawURLEncoding.EncodeToString(randomBytes(secretBytes))
	hash := sha256.Sum256([]byte(secret))
	r := &keyRecord{ID: hex.EncodeToString(randomBytes(keyIDBytes)), Tenant: tenant, Role: string(spec.Role),
		Operator: spec.Operator, Label: spec.Label, Hash: hash[:]}
	err := e.store.update(ctx, false, func(t *tx) error {
		if _, err := e.tenantSealer(t, tenant); err != nil {
			return err
		}
		r.Created = fromMillis(t.now)
		e.stageKey(t, r)
		t.audit(auditEntry{tenant: tenant, op: AuditKeyCreate, target: r.ID, note: "role " + r.Role})
		return nil
	})
	if err != nil {
		return Key{}, "", err
	}
	return r.key(), tokenPrefix + r.ID + "_" + secret, nil
}

func (s KeySpec) validate() error {
	if !slices.Contains([]Role{RoleAdmin, RoleEnroller, RoleMatcher, RoleAuditor}, s.Role) {
		return refuse(ErrKeySpec, "role %q is unknown: use admin, enroller, matcher or auditor", s.Role)
	}
	if s.Operator && s.Role != RoleAdmin {
		return refuse(ErrKeySpec, "an operator's key must have the role admin")
	}
	if len(s.Label) > MaxLabelBytes || !utf8.ValidString(s.Label) || strings.ContainsFunc(s.Label, unicode.IsControl) {
		return refuse(ErrKeySpec, "the label is not acceptable: use up to %d bytes of UTF-8 without control characters", MaxLabelBytes)
	}
	return nil
}

func (e *Engine) stageKey(t *tx, r *keyRecord) {
	t.set(apiKeyKey(r.ID), t.store.sealRecord(keyPlace(r.ID), r))
	t.remember = func() { e.keepKey(r) }
}

func (e *Engine) keepKey(r *keyRecord) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.keys[r.ID] = r
}

// Keys returns a tenant's keys, revoked ones too, oldest first. Errors: ErrID, ErrClosed, ctx's.
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
			keys = append(keys, r.key())
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID)) })
	return keys, nil
}

// RevokeKey makes a tenant's key useless for good; revoking it again does nothing. It is let through on a nearly
// full disk. Errors: ErrKeyNotFound, and those of every write.
func (e *Engine) RevokeKey(ctx context.Context, tenant, id string) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	return e.store.update(ctx, true, func(t *tx) error {
		r, err := t.key(id)
		if err != nil {
			return err
		}
		if r.Tenant != tenant {
			return errKeyNotFound
		}
		if r.Revoked.IsZero() {
			r.Revoked = fromMillis(t.now)
			e.stageKey(t, r)
			t.audit(auditEntry{tenant: tenant, op: AuditKeyRevoke, target: r.ID})
		}
		return nil
	})
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

// Authenticate returns the key of a token. The secret is compared in constant time, by its hash. It reads
// memory only. Errors: ErrKeyMissing, ErrKeyUnknown, ErrKeyRevoked, ErrClosed.
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
	return r.key(), nil
}

// keyOf finds the record of a token with the right secret; nil for every other token.
func (e *Engine) keyOf(token string) *keyRecord {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	const idLen = 2 * keyIDBytes
	if !ok || len(rest) != idLen+1+base64.RawURLEncoding.EncodedLen(secretBytes) || rest[idLen] != '_' {
		return nil
	}
	e.mu.RLock()
	r := e.mu.keys[rest[:idLen]]
	e.mu.RUnlock()
	hash := sha256.Sum256([]byte(rest[idLen+1:]))
	if r == nil || subtle.ConstantTimeCompare(hash[:], r.Hash) != 1 {
		return nil
	}
	return r
}
