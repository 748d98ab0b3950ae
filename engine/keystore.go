package engine

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// RootKey wraps the keys of the key store, as a key management service does: at most 32 bytes at a time, a few times for
// each tenant and start. context goes with a key and must be the same to unwrap it. Both may block; they are called by Open, by
// a tenant's first write, while other writes wait, and by rotations. What Unwrap returns is cleared after use. Safe for concurrent use.
type RootKey interface {
	Wrap(key, context []byte) (wrapped []byte, err error)
	Unwrap(wrapped, context []byte) (key []byte, err error)
}

// masterRoot is the root key that is at hand.
type masterRoot struct{ *sealer }

// NewRootKey makes a RootKey of a master key of MasterKeyBytes, which is not retained. It is what Config.MasterKey becomes.
func NewRootKey(master []byte) (RootKey, error) {
	if len(master) != MasterKeyBytes {
		return nil, fmt.Errorf("%w: the master key has %d bytes, want %d", ErrConfig, len(master), MasterKeyBytes)
	}
	s, err := newSealer(master)
	return masterRoot{s}, err
}

func rootPlace(context []byte) place { return place{kind: kindRoot, person: string(context)} }

// Wrap implements RootKey.
func (r masterRoot) Wrap(key, context []byte) ([]byte, error) {
	return r.seal(rootPlace(context), key), nil
}

// Unwrap implements RootKey.
func (r masterRoot) Unwrap(wrapped, context []byte) ([]byte, error) {
	return r.open(nil, rootPlace(context), wrapped)
}

// Kinds of stored keys. Never reused.
const (
	keyOfTenant  = 1 // a version of a tenant's key
	keyOfStore   = 2 // seals the records that are no tenant's: API keys, galleries
	keyOfReceipt = 3 // seed of the Ed25519 key that signs receipts
)

// storedKey is a key in a key file.
type storedKey struct {
	kind    byte
	version uint32
	created int64 // ms since 1970
	wrapped []byte
	next    []byte // by the root key that is to come; nil but while that is changed (K12)
}

// A key file holds the keys of one owner, a tenant or the store itself (""), little endian:
//
//	"mienkeys" · format u32 · count u32 · count × (kind u8 · version u32 · created ms i64 · size u32 · wrapped[size]) · CRC-32C u32 of all before
//
// In format 2 each key has size u32 · next[size] behind it, and one at least has a next. A file without keys is what is left of a tenant
// whose keys were destroyed. Format history: 1 the first; 2 while the root key is changed.
const (
	keyFileMagic   = "mienkeys"
	keyFileFormat  = 1
	keyFileTwice   = 2
	maxWrapped     = 64 << 10
	maxKeyFileSize = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendKeyFile(dst []byte, keys []storedKey) []byte {
	begin, format := len(dst), uint32(keyFileFormat)
	if slices.ContainsFunc(keys, func(k storedKey) bool { return k.next != nil }) {
		format = keyFileTwice
	}
	dst = append(dst, keyFileMagic...)
	dst = binary.LittleEndian.AppendUint32(dst, format)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(keys)))
	for _, k := range keys {
		dst = binary.LittleEndian.AppendUint32(append(dst, k.kind), k.version)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(k.created))
		dst = appendSized(dst, k.wrapped)
		if format == keyFileTwice {
			dst = appendSized(dst, k.next)
		}
	}
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[begin:], castagnoli))
}

func appendSized(dst, b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(b))), b...)
}

// parseKeyFile is the inverse of appendKeyFile; the keys alias b. Errors: ErrFormat, ErrCorrupt.
func parseKeyFile(b []byte) (keys []storedKey, err error) {
	const head, tail, entry = len(keyFileMagic) + 8, 4, 1 + 4 + 8
	if len(b) < head+tail || string(b[:len(keyFileMagic)]) != keyFileMagic {
		return nil, fmt.Errorf("%w: it is no key file", ErrCorrupt)
	}
	format := binary.LittleEndian.Uint32(b[8:])
	if format > keyFileTwice {
		return nil, fmt.Errorf("%w (key file of format %d, this program knows %d)", ErrFormat, format, keyFileTwice)
	}
	body := b[:len(b)-tail]
	if binary.LittleEndian.Uint32(b[len(body):]) != crc32.Checksum(body, castagnoli) {
		return nil, fmt.Errorf("%w: key file: checksum", ErrCorrupt)
	}
	count, rest, twice := binary.LittleEndian.Uint32(b[12:]), body[head:], false
	for range count {
		if len(rest) < entry {
			return nil, errKeyFileCut
		}
		k := storedKey{kind: rest[0], version: binary.LittleEndian.Uint32(rest[1:]), created: int64(binary.LittleEndian.Uint64(rest[5:]))}
		if k.wrapped, rest, err = cutSized(rest[entry:]); err == nil && format == keyFileTwice {
			k.next, rest, err = cutSized(rest)
		}
		if err != nil {
			return nil, err
		}
		if len(k.next) == 0 {
			k.next = nil
		}
		twice = twice || k.next != nil
		keys = append(keys, k)
	}
	if len(rest) > 0 || twice != (format == keyFileTwice) || format == 0 {
		return nil, fmt.Errorf("%w: key file: bytes behind its keys, or another format than it says", ErrCorrupt)
	}
	return keys, nil
}

var errKeyFileCut = fmt.Errorf("%w: key file: cut", ErrCorrupt)

// cutSized is the inverse of appendSized; b aliases from. Errors: ErrCorrupt.
func cutSized(from []byte) (b, rest []byte, err error) {
	if len(from) < 4 {
		return nil, nil, errKeyFileCut
	}
	size := binary.LittleEndian.Uint32(from)
	if from = from[4:]; size > maxWrapped || int(size) > len(from) {
		return nil, nil, errKeyFileCut
	}
	return from[:size:size], from[size:], nil
}

// keyStore is the folder of key files. It goes past haltFS: a file of it is replaced whole or not at all, and who can't is
// told, while Pebble could not live with that. REQUIRES: one goroutine at a time, which Open is, and who has the store's turn.
type keyStore struct {
	fs   vfs.FS
	dir  string
	root RootKey

	rotating bool // a file has been read whose keys are wrapped twice
}

const (
	keyFileSuffix = ".keys"
	storeKeysName = "store" + keyFileSuffix
	tenantPrefix  = "tenant-"
	keysNew       = ".new" // behind a file's name: not in its place yet
)

// keyFileName is that of an owner. Hex, as file systems may fold case.
func keyFileName(owner string) string {
	if owner == "" {
		return storeKeysName
	}
	return tenantPrefix + hex.EncodeToString([]byte(owner)) + keyFileSuffix
}

func (k *keyStore) path(name string) string { return k.fs.PathJoin(k.dir, name) }

// tenants are the owners of key files, the store left out; none if there is no folder.
func (k *keyStore) tenants() (names []string, err error) {
	files, err := k.list()
	for _, name := range files {
		digits, tenant := strings.CutPrefix(strings.TrimSuffix(name, keyFileSuffix), tenantPrefix)
		if raw, err := hex.DecodeString(digits); tenant && err == nil && strings.HasSuffix(name, keyFileSuffix) {
			names = append(names, string(raw))
		}
	}
	return names, err
}

func (k *keyStore) list() ([]string, error) {
	if _, err := k.fs.Stat(k.dir); err != nil {
		return nil, nil
	}
	files, err := k.fs.List(k.dir)
	if err != nil {
		return nil, fmt.Errorf("engine: key store: %w", err)
	}
	slices.Sort(files)
	return files, nil
}

// read returns an owner's keys; found is false where there is no file. Errors: ErrCorrupt, ErrFormat, the disk's.
func (k *keyStore) read(owner string) (keys []storedKey, found bool, err error) {
	name := k.path(keyFileName(owner))
	if _, err := k.fs.Stat(name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("engine: key store: %w", err)
	}
	b, err := readFile(k.fs, name)
	if err != nil {
		return nil, false, fmt.Errorf("engine: key store: %w", err)
	}
	if keys, err = parseKeyFile(b); err != nil {
		return nil, false, fmt.Errorf("engine: key file %s: %w", keyFileName(owner), err)
	}
	k.rotating = k.rotating || slices.ContainsFunc(keys, func(s storedKey) bool { return s.next != nil })
	return keys, true, nil
}

func readFile(disk vfs.FS, name string) (b []byte, err error) {
	f, err := disk.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, maxKeyFileSize))
}

// write puts an owner's keys durably in the place of those before: whole, or not at all. Errors: ErrStorageFull, the disk's.
func (k *keyStore) write(owner string, keys []storedKey) error {
	err := k.makeFolder()
	if err == nil {
		err = k.writeNew(keyFileName(owner), keys)
	}
	if err == nil {
		err = k.replace(keyFileName(owner))
	}
	return keysFailed(err)
}

func keysFailed(err error) error {
	if isFull(err) {
		return fmt.Errorf("%w (%w)", errStorageFull, err)
	}
	if err != nil {
		return fmt.Errorf("engine: key store: %w", err)
	}
	return nil
}

func (k *keyStore) makeFolder() error {
	if _, err := k.fs.Stat(k.dir); err == nil {
		return nil
	}
	if err := k.fs.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	return k.syncFolder(k.fs.PathDir(k.dir))
}

func (k *keyStore) syncFolder(dir string) error {
	d, err := k.fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeNew writes a file beside its place, durably.
func (k *keyStore) writeNew(name string, keys []storedKey) error {
	f, err := k.fs.Create(k.path(name+keysNew), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(appendKeyFile(nil, keys))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// replace puts what writeNew wrote durably in its place, and then overwrites what was there, as far as the file system lets that
// reach the same blocks; whatever it leaves is wrapped.
func (k *keyStore) replace(name string) error {
	old, err := k.fs.OpenReadWrite(k.path(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		old = nil // there is none
	}
	if err = k.fs.Rename(k.path(name+keysNew), k.path(name)); err == nil {
		err = k.syncFolder(k.dir)
	}
	if old == nil {
		return err
	}
	if err == nil { // before, a crash could still bring it back
		overwrite(old)
	}
	_ = old.Close()
	return err
}

func overwrite(f vfs.File) {
	if info, err := f.Stat(); err == nil {
		if _, err := f.WriteAt(make([]byte, info.Size()), 0); err == nil {
			_ = f.Sync()
		}
	}
}

// context says whose key it is, so that a wrapped key opens in its place only.
func (s storedKey) context(owner string) []byte {
	c := append([]byte("mien/key/v1"), s.kind)
	c = binary.LittleEndian.AppendUint32(c, s.version)
	c = binary.LittleEndian.AppendUint64(c, uint64(s.created))
	return append(c, owner...)
}

// newKey makes a random key, of a moment in ms, and wraps it; the caller clears it. Errors: the root key's.
func (k *keyStore) newKey(owner string, kind byte, version uint32, now int64) (s storedKey, key []byte, err error) {
	s = storedKey{kind: kind, version: version, created: now}
	key = randomBytes(32)
	if s.wrapped, err = k.root.Wrap(key, s.context(owner)); err == nil && len(s.wrapped) > maxWrapped {
		err = fmt.Errorf("a wrapped key of %d bytes", len(s.wrapped))
	}
	if err != nil {
		clear(key)
		return s, nil, fmt.Errorf("engine: wrap a key: %w", err)
	}
	return s, key, nil
}

// unwrap opens a stored key; the caller clears it. Errors: ErrMasterKey.
func (k *keyStore) unwrap(owner string, s storedKey) ([]byte, error) {
	key, err := k.root.Unwrap(s.wrapped, s.context(owner))
	if err != nil && s.next != nil {
		key, err = k.root.Unwrap(s.next, s.context(owner))
	}
	if err == nil && len(key) != 32 {
		clear(key)
		err = fmt.Errorf("a key of %d bytes", len(key))
	}
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrMasterKey, err)
	}
	return key, nil
}

// sealer opens a stored key for use. Errors: ErrMasterKey.
func (k *keyStore) sealer(owner string, s storedKey) (*sealer, error) {
	key, err := k.unwrap(owner, s)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return newSealerOf(s.version, key)
}

// storeKeys are the keys of the store itself.
type storeKeys struct {
	master  *sealer
	receipt ed25519.PrivateKey
}

// openStore returns the store's own keys. Errors: ErrKeyStore, if there are none; ErrMasterKey, ErrCorrupt, the disk's.
func (k *keyStore) openStore() (own storeKeys, err error) {
	keys, found, err := k.read("")
	if err != nil {
		return own, err
	}
	if !found {
		return own, fmt.Errorf("%w: %s has no %s", ErrKeyStore, k.dir, storeKeysName)
	}
	for _, s := range keys {
		switch s.kind {
		case keyOfStore:
			own.master, err = k.sealer("", s)
		case keyOfReceipt:
			var seed []byte
			if seed, err = k.unwrap("", s); err == nil {
				own.receipt = ed25519.NewKeyFromSeed(seed)
				clear(seed)
			}
		}
		if err != nil {
			return own, err
		}
	}
	if own.master == nil || own.receipt == nil {
		return own, fmt.Errorf("%w: %s lacks a key", ErrCorrupt, storeKeysName)
	}
	return own, nil
}

// makeStore makes the store's own keys, unless a start that did not come to its end has.
func (k *keyStore) makeStore() (storeKeys, error) {
	if own, err := k.openStore(); !errors.Is(err, ErrKeyStore) {
		return own, err
	}
	var keys []storedKey
	for _, kind := range []byte{keyOfStore, keyOfReceipt} {
		s, key, err := k.newKey("", kind, firstKey, time.Now().UnixMilli())
		if err != nil {
			return storeKeys{}, err
		}
		clear(key)
		keys = append(keys, s)
	}
	if err := k.write("", keys); err != nil {
		return storeKeys{}, err
	}
	return k.openStore()
}

// ring returns the versions of a tenant's key; nil if they were destroyed, or none were made. Errors: ErrMasterKey, ErrCorrupt,
// the disk's.
func (k *keyStore) ring(tenant string) (*keyring, error) {
	keys, _, err := k.read(tenant)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	var versions []*sealer
	for _, s := range keys {
		v, err := k.sealer(tenant, s)
		if err != nil {
			return nil, err
		}
		if n := len(versions); s.kind != keyOfTenant || n > 0 && versions[n-1].version >= s.version {
			return nil, fmt.Errorf("%w: key file of tenant %q", ErrCorrupt, tenant)
		}
		versions = append(versions, v)
	}
	return newKeyring(versions, keys[len(keys)-1].created), nil
}

// makeRing returns the versions of a tenant's key, making the first durably if there is none.
func (k *keyStore) makeRing(tenant string, now int64) (*keyring, error) {
	if r, err := k.ring(tenant); err != nil || r != nil {
		return r, err
	}
	if _, _, err := k.addVersion(tenant, now); err != nil {
		return nil, err
	}
	return k.ring(tenant)
}

// addVersion makes another version of a tenant's key, durably, and returns it and when it was made.
func (k *keyStore) addVersion(tenant string, now int64) (s *sealer, created int64, err error) {
	keys, _, err := k.read(tenant)
	if err != nil {
		return nil, 0, err
	}
	version := uint32(firstKey)
	if n := len(keys); n > 0 {
		version = keys[n-1].version + 1
	}
	stored, key, err := k.newKey(tenant, keyOfTenant, version, now)
	if err != nil {
		return nil, 0, err
	}
	defer clear(key)
	if err := k.write(tenant, append(keys, stored)); err != nil {
		return nil, 0, err
	}
	s, err = newSealerOf(version, key)
	return s, now, err
}

// destroy removes the versions of a tenant's key before one, durably; before 0 all of them, and says so by a file without keys.
func (k *keyStore) destroy(tenant string, before uint32) error {
	keys, found, err := k.read(tenant)
	if err != nil || !found {
		return err
	}
	left := slices.DeleteFunc(keys, func(s storedKey) bool { return before == 0 || s.version < before })
	return k.write(tenant, left)
}
