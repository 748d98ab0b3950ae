package engine

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// tenantSealer returns the tenant's keys. For a tenant that has none it makes the first version of its key, in the key store and
// durable when it returns (K3), and stages a data key.
func (e *Engine) tenantSealer(t *tx, tenant string) (*tenantKeys, error) {
	e.mu.RLock()
	s := e.mu.sealers[tenant]
	e.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	if s = t.newSealers[tenant]; s != nil {
		return s, nil
	}
	ring, err := e.keys.makeRing(tenant, t.now)
	if err != nil {
		return nil, err
	}
	key := randomBytes(32)
	defer clear(key)
	data, err := newSealer(key)
	if err != nil {
		return nil, err
	}
	s = &tenantKeys{data, ring}
	t.set(tenantKey(tenant), ring.current().seal(dataKeyPlace(tenant), key))
	// Before the write is durable, so that the next writer does not make another key; should it fail, there is
	// no next writer.
	t.onHandOver = append(t.onHandOver, func() { e.keepSealer(tenant, s) })
	if t.newSealers == nil {
		t.newSealers = make(map[string]*tenantKeys)
	}
	t.newSealers[tenant] = s
	return s, nil
}

func (e *Engine) keepSealer(tenant string, s *tenantKeys) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.sealers[tenant] = s
}

func (e *Engine) dropSealer(tenant string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.mu.sealers, tenant)
}

// openTenantKeys opens a tenant's data key. Errors: ErrCorrupt.
func openTenantKeys(ring *keyring, tenant string, sealed []byte) (*tenantKeys, error) {
	key, err := ring.open(nil, dataKeyPlace(tenant), sealed)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	data, err := newSealer(key)
	return &tenantKeys{data, ring}, err
}

// adoptStore gives a store of before format 5 a key store (K7). master sealed it. What a crash left of an earlier attempt is used:
// the batch is what makes it so. Errors: ErrMasterKey, ErrConfig, ErrCorrupt, the disk's.
func (e *Engine) adoptStore(master *sealer) error {
	if master == nil {
		return fmt.Errorf("%w: the store is of before format %d: open it once with its MasterKey, not with a RootKey alone", ErrConfig, keysFormat)
	}
	if err := e.checkMaster(master, ErrMasterKey); err != nil {
		return err
	}
	own, err := e.keys.makeStore()
	if err != nil {
		return err
	}
	e.store.master, e.receipts = own.master, own.receipt
	e.log.Info("the store gets a key store", "folder", e.keys.dir)
	return e.store.update(context.Background(), true, func(t *tx) error {
		for _, stage := range []func(*tx, *sealer) error{e.adoptTenants, e.adoptRecords} {
			if err := stage(t, master); err != nil {
				return err
			}
		}
		t.keyed(own.master)
		return t.raiseFormat(keysFormat)
	})
}

// adoptTenants has the data keys sealed by keys of their tenants.
func (e *Engine) adoptTenants(t *tx, master *sealer) error {
	return t.eachOf(prefixTenant, func(k, v []byte) error {
		tenant := string(k[1:])
		key, err := master.open(nil, dataKeyPlace(tenant), v)
		if err != nil {
			return err
		}
		defer clear(key)
		ring, err := e.keys.makeRing(tenant, t.now)
		if err != nil {
			return err
		}
		t.set(slices.Clone(k), ring.current().seal(dataKeyPlace(tenant), key))
		return nil
	})
}

// adoptRecords has API keys and galleries sealed by the store's own key.
func (e *Engine) adoptRecords(t *tx, master *sealer) error {
	for prefix, placeOf := range map[byte]func(rest string) place{
		prefixAPIKey: func(id string) place { return keyPlace(hex.EncodeToString([]byte(id))) },
		prefixGallery: func(name string) place {
			tenant, name, _ := strings.Cut(name, "\x00")
			return galleryPlace(tenant, name)
		},
	} {
		err := t.eachOf(prefix, func(k, v []byte) error {
			p := placeOf(string(k[1:]))
			plain, err := master.open(nil, p, v)
			if err == nil {
				t.set(slices.Clone(k), t.store.master.seal(p, plain))
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachOf calls visit with all keys of a prefix, and their values, which die when it returns.
func (t *tx) eachOf(prefix byte, visit func(key, value []byte) error) error {
	return t.store.each([]byte{prefix}, []byte{prefix + 1}, func(k, v []byte) (bool, error) {
		err := visit(k, v)
		return err == nil, err
	})
}
