package engine

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// keyring is the versions of a tenant's key: the newest seals, all open. Safe for concurrent use.
type keyring struct {
	versions atomic.Pointer[[]*sealer] // ascending, at least one; replaced, never changed
	least    atomic.Uint32             // versions below it are destroyed, and kept for a while for reads that have begun (K9)
	created  atomic.Int64              // of the newest, ms since 1970
}

func newKeyring(versions []*sealer, created int64) *keyring {
	r := new(keyring)
	r.versions.Store(&versions)
	r.least.Store(versions[0].version)
	r.created.Store(created)
	return r
}

// current is the newest version.
func (r *keyring) current() *sealer {
	all := *r.versions.Load()
	return all[len(all)-1]
}

// first is the oldest version that opens.
func (r *keyring) first() uint32 { return (*r.versions.Load())[0].version }

// createdAt is when the newest version was made.
func (r *keyring) createdAt() time.Time { return fromMillis(r.created.Load()) }

// living are the versions that are not destroyed.
func (r *keyring) living() (versions []uint32) {
	for _, s := range *r.versions.Load() {
		if s.version >= r.least.Load() {
			versions = append(versions, s.version)
		}
	}
	return versions
}

// add makes s the newest version. REQUIRES: the turn, so that what a later batch seals is sealed with it (K4).
func (r *keyring) add(s *sealer, created int64) {
	all := append(slices.Clone(*r.versions.Load()), s)
	r.versions.Store(&all)
	r.created.Store(created)
}

// drop forgets the versions before one. REQUIRES: one goroutine drops.
func (r *keyring) drop(before uint32) {
	for {
		old := r.versions.Load()
		all := slices.DeleteFunc(slices.Clone(*old), func(s *sealer) bool { return s.version < before })
		if r.versions.CompareAndSwap(old, &all) {
			return
		}
	}
}

// open is sealer.open with the version that the value names. Errors: ErrCorrupt, also for a version that was destroyed.
func (r *keyring) open(dst []byte, p place, sealed []byte) ([]byte, error) {
	version, err := keyVersionOf(p, sealed)
	if err != nil {
		return nil, err
	}
	for _, s := range *r.versions.Load() {
		if s.version == version {
			return s.open(dst, p, sealed)
		}
	}
	return nil, fmt.Errorf("%w: %s is sealed with version %d of a key, which is destroyed or was never made", ErrCorrupt, p.kind, version)
}

// rewrapped returns a key that the ring has sealed sealed by the newest version, nil if it is. Errors: ErrCorrupt. REQUIRES: the turn.
func (r *keyring) rewrapped(p place, sealed []byte) ([]byte, error) {
	newest := r.current()
	if version, err := keyVersionOf(p, sealed); err != nil || version == newest.version {
		return nil, err
	}
	key, err := r.open(nil, p, sealed)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return newest.seal(p, key), nil
}

// tenantKeys are what a tenant's values are sealed with: the embedded sealer's key is the tenant's data key, under which is
// what is no single person's, and everything of people who were last written before format 5; ring wraps the keys of all
// others, and the data key (doc.go, "Keys").
type tenantKeys struct {
	*sealer
	ring *keyring
}

func dataKeyPlace(tenant string) place { return place{kind: kindDataKey, tenant: tenant} }
