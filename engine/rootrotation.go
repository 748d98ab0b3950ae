package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// RootRotation says which key store gets another root key.
type RootRotation struct {
	Dir      string // the data folder, of which no process is the user
	KeyDir   string // its key store; default Dir/keys
	FS       vfs.FS // nil is the disk
	Old, New RootKey
	// Switch is called when the new root key opens all keys, as the old one still does, and before it does no more: what the next start
	// takes its root key from is the new one when it returns, durably. nil: whoever calls sees to that, afterwards.
	Switch func() error
}

// RotateRootKey has all keys of a key store wrapped by another root key, and returns how many key files that were. No key that it
// wraps changes, nor anything that they seal. Whatever ends it in the middle, the old root key opens the store until Switch is called, the
// new one from then on; doing it again, or from Switch on the next Open, ends it (doc.go, K12). Errors: ErrConfig, if there is no key
// store of format 5, or both keys are one; ErrMasterKey, if the old one does not open it; ErrInUse, ErrHalfRestored, ErrCorrupt, ErrFormat,
// Switch's, the root keys', ctx's before anything has changed, the disk's.
func RotateRootKey(ctx context.Context, r RootRotation) (files int, err error) {
	disk := r.FS
	if disk == nil {
		disk = vfs.Default
	}
	if r.KeyDir == "" {
		r.KeyDir = disk.PathJoin(r.Dir, "keys")
	}
	if err := checkRestored(disk, r.Dir); err != nil {
		return 0, err
	}
	if names, err := disk.List(disk.PathJoin(r.Dir, "store")); err != nil || len(names) == 0 {
		return 0, fmt.Errorf("%w: %s has no store", ErrConfig, r.Dir)
	}
	lock, err := disk.Lock(disk.PathJoin(r.Dir, "store", "LOCK")) // Pebble's
	if err != nil {
		return 0, fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	k := &keyStore{fs: disk, dir: r.KeyDir}
	owners, err := k.tenants()
	if err != nil {
		return 0, err
	}
	if _, found, err := k.read(""); err != nil || !found {
		return 0, errors.Join(err, fmt.Errorf("%w: %s is no key store: a store of before format %d gets one when it is opened", ErrConfig, r.KeyDir, keysFormat))
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	owners = append([]string{""}, owners...)
	return len(owners), k.rotateRoot(owners, r)
}

func (k *keyStore) rotateRoot(owners []string, r RootRotation) error {
	for _, owner := range owners {
		if err := k.wrapTwice(owner, r.Old, r.New); err != nil {
			return err
		}
	}
	for _, owner := range owners { // what is on the disk now
		if err := k.opensAll(owner, r.New); err != nil {
			return err
		}
	}
	if r.Switch != nil {
		if err := r.Switch(); err != nil {
			return err
		}
	}
	return k.wrapOnce(owners, r.New)
}

// wrapTwice has an owner's keys wrapped by the next root key as well.
func (k *keyStore) wrapTwice(owner string, from, to RootKey) error {
	keys, _, err := k.read(owner)
	if err != nil {
		return err
	}
	changed := false
	for i := range keys {
		c, err := keys[i].addWrap(owner, from, to)
		if err != nil {
			return fmt.Errorf("engine: key file %s: %w", keyFileName(owner), err)
		}
		changed = changed || c
	}
	if !changed {
		return nil
	}
	return k.write(owner, keys)
}

// addWrap wraps a key by the next root key as well, unless it is, or is wrapped by that alone.
func (s *storedKey) addWrap(owner string, from, to RootKey) (changed bool, err error) {
	at := s.context(owner)
	key, err := from.Unwrap(s.wrapped, at)
	if err != nil && s.next != nil { // of a rotation that did not end
		if key, err = from.Unwrap(s.next, at); err == nil {
			s.wrapped, s.next, changed = s.next, nil, true
		}
	}
	if err != nil {
		have, bad := to.Unwrap(s.wrapped, at)
		clear(have)
		if bad != nil {
			return false, fmt.Errorf("%w (%w)", ErrMasterKey, err)
		}
		return false, nil // is done
	}
	defer clear(key)
	if same, err := to.Unwrap(s.wrapped, at); err == nil {
		clear(same)
		return false, fmt.Errorf("%w: the new root key is the one that is in use", ErrConfig)
	}
	if s.next != nil {
		have, err := to.Unwrap(s.next, at)
		defer clear(have)
		if err == nil && bytes.Equal(have, key) {
			return changed, nil
		}
	}
	if s.next, err = to.Wrap(key, at); err == nil && (len(s.next) == 0 || len(s.next) > maxWrapped) {
		err = fmt.Errorf("a wrapped key of %d bytes", len(s.next))
	}
	if err != nil {
		return false, fmt.Errorf("wrap a key: %w", err)
	}
	return true, nil
}

// opensAll verifies that a root key opens all that an owner's file has. Errors: ErrMasterKey.
func (k *keyStore) opensAll(owner string, root RootKey) error {
	keys, _, err := k.read(owner)
	if err != nil {
		return err
	}
	as := &keyStore{root: root}
	for _, s := range keys {
		key, err := as.unwrap(owner, s)
		if err != nil {
			return fmt.Errorf("engine: key file %s: %w", keyFileName(owner), err)
		}
		clear(key)
	}
	return nil
}

// wrapOnce leaves of each key what the root key opens. REQUIRES: it opens all of them.
func (k *keyStore) wrapOnce(owners []string, root RootKey) error {
	for _, owner := range owners {
		keys, _, err := k.read(owner)
		if err != nil {
			return err
		}
		changed := false
		for i, s := range keys {
			if s.next == nil {
				continue
			}
			changed = true
			key, err := root.Unwrap(s.next, s.context(owner))
			clear(key)
			if err == nil {
				keys[i].wrapped = s.next
			} else if key, bad := root.Unwrap(s.wrapped, s.context(owner)); bad != nil { // neither: its service may not answer
				return fmt.Errorf("engine: key file %s: %w", keyFileName(owner), err)
			} else {
				clear(key)
			}
			keys[i].next = nil
		}
		if changed {
			if err := k.write(owner, keys); err != nil {
				return err
			}
		}
	}
	return nil
}

// endRotation ends what RotateRootKey has begun, if the root key is the new one by now: what the old one opens goes. It does nothing
// as long as the old one is in use. REQUIRES: root has opened all keys. Errors: the disk's.
func (k *keyStore) endRotation() error {
	if !k.rotating {
		return nil
	}
	owners, err := k.tenants()
	if err != nil {
		return err
	}
	owners = append([]string{""}, owners...)
	for _, owner := range owners {
		keys, _, err := k.read(owner)
		if err != nil {
			return err
		}
		for _, s := range keys {
			if s.next == nil {
				continue
			}
			if key, err := k.root.Unwrap(s.wrapped, s.context(owner)); err == nil {
				clear(key)
				return nil
			}
		}
	}
	return k.wrapOnce(owners, k.root)
}

// RecordRootRotation has it recorded, in the logs of the operators' tenants, that the store has another root key. Errors: those of every
// write.
func (e *Engine) RecordRootRotation(ctx context.Context) error {
	if err := e.enter(ctx); err != nil {
		return err
	}
	defer e.leave()
	var entries []auditEntry
	for _, tenant := range e.operatorTenants() {
		entries = append(entries, auditEntry{tenant: tenant, op: AuditRootRotate})
	}
	return e.auditAlone(ctx, entries...)
}
