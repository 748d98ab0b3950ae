package engine

import (
	"fmt"
	"sync/atomic"
)

// keyring is the versions of a tenant's key that are not destroyed: the newest seals, all open. Safe for concurrent use.
type keyring struct {
	versions atomic.Pointer[[]*sealer] // ascending, at least one; replaced, never changed
}

func newKeyring(versions []*sealer) *keyring {
	r := new(keyring)
	r.versions.Store(&versions)
	return r
}

// current is the newest version.
func (r *keyring) current() *sealer {
	all := *r.versions.Load()
	return all[len(all)-1]
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

// tenantKeys are what a tenant's values are sealed with: the embedded sealer's key is the tenant's data key, under which is
// what is no single person's, and everything of people who were last written before format 5; ring wraps the keys of all
// others, and the data key (doc.go, "Keys").
type tenantKeys struct {
	*sealer
	ring *keyring
}

func dataKeyPlace(tenant string) place { return place{kind: kindDataKey, tenant: tenant} }
