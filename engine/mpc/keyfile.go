package mpc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// RootKey wraps a party's keys, as a key management service does: at most 32 bytes at a time, a few times for each start and
// refresh. context goes with a key and must be the same to unwrap it. engine.NewRootKey makes one of a key file. Safe for
// concurrent use.
type RootKey interface {
	Wrap(key, context []byte) (wrapped []byte, err error)
	Unwrap(wrapped, context []byte) (key []byte, err error)
}

// A key file holds the key encryption keys (KEKs) of a party's store, one for each share epoch that lives or is staged, wrapped by the root
// key; little endian:
//
//	"mienkek1" · count u32 · count × (epoch u32 · size u16 · wrapped[size]) · CRC-32C u32 of all before
//
// It is replaced whole: written beside its place, synced, renamed, the folder synced. What was there is overwritten before.
type keyFile struct {
	fs     vfs.FS
	path   string
	root   RootKey
	place  string // goes into each key's context: cluster and party
	keys   map[uint32]*kek
	stored map[uint32][]byte // as in the file
}

const (
	keyFileMagic = "mienkek1"
	maxKeyFile   = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// kek wraps the keys of records. Safe for concurrent use.
type kek struct{ aead cipher.AEAD }

const keyBytes = 32

// wrappedBytes is the size of a record's key under a KEK: nonce, key, tag.
const wrappedBytes = 12 + keyBytes + 16

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("mpc: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func randomKey() []byte {
	key := make([]byte, keyBytes)
	rand.Read(key) // never fails (crypto/rand)
	return key
}

// openKeyFile reads the file, if there is one. Errors: ErrRootKey, ErrCorrupt, the disk's.
func openKeyFile(disk vfs.FS, path string, root RootKey, place string) (*keyFile, error) {
	k := &keyFile{fs: disk, path: path, root: root, place: place, keys: map[uint32]*kek{}, stored: map[uint32][]byte{}}
	b, err := readFile(disk, path, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("mpc: key file: %w", err)
	}
	if k.stored, err = parseKeyFile(b); err != nil {
		return nil, err
	}
	for epoch, wrapped := range k.stored {
		if k.keys[epoch], err = k.unwrap(epoch, wrapped); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func readFile(disk vfs.FS, path string, limit int64) (b []byte, err error) {
	if _, err := disk.Stat(path); err != nil {
		return nil, err
	}
	f, err := disk.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, limit))
}

// Errors: ErrCorrupt.
func parseKeyFile(b []byte) (map[uint32][]byte, error) {
	bad := fmt.Errorf("%w: key file", ErrCorrupt)
	const head = len(keyFileMagic) + 4
	if len(b) < head+4 || string(b[:len(keyFileMagic)]) != keyFileMagic {
		return nil, bad
	}
	body := b[:len(b)-4]
	if binary.LittleEndian.Uint32(b[len(body):]) != crc32.Checksum(body, castagnoli) {
		return nil, bad
	}
	keys, rest := make(map[uint32][]byte), body[head:]
	for range binary.LittleEndian.Uint32(body[len(keyFileMagic):]) {
		if len(rest) < 6 || len(rest) < 6+int(binary.LittleEndian.Uint16(rest[4:])) {
			return nil, bad
		}
		end := 6 + int(binary.LittleEndian.Uint16(rest[4:]))
		keys[binary.LittleEndian.Uint32(rest)] = rest[6:end:end]
		rest = rest[end:]
	}
	if len(rest) > 0 {
		return nil, bad
	}
	return keys, nil
}

func (k *keyFile) context(epoch uint32) []byte {
	return binary.LittleEndian.AppendUint32(append([]byte("mien/mpc/kek/v1\x00"), k.place...), epoch)
}

func (k *keyFile) unwrap(epoch uint32, wrapped []byte) (*kek, error) {
	key, err := k.root.Unwrap(wrapped, k.context(epoch))
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrRootKey, err)
	}
	defer clear(key)
	aead, err := newAEAD(key)
	return &kek{aead}, err
}

// add makes the KEK of an epoch durable, if it is not there. Errors: the root key's, the disk's.
func (k *keyFile) add(epoch uint32) error {
	if k.keys[epoch] != nil {
		return nil
	}
	key := randomKey()
	defer clear(key)
	wrapped, err := k.root.Wrap(key, k.context(epoch))
	if err != nil {
		return fmt.Errorf("mpc: wrap a key: %w", err)
	}
	made, err := k.unwrap(epoch, wrapped)
	if err != nil {
		return err
	}
	k.stored[epoch] = wrapped
	if err := k.write(); err != nil {
		delete(k.stored, epoch)
		return err
	}
	k.keys[epoch] = made
	return nil
}

// keepOnly destroys the KEKs of all epochs but those: what they wrapped is noise, in copies of the store too. Errors: the disk's.
func (k *keyFile) keepOnly(epochs ...uint32) error {
	n := len(k.stored)
	for epoch := range k.stored {
		if !slices.Contains(epochs, epoch) {
			delete(k.stored, epoch)
			delete(k.keys, epoch)
		}
	}
	if len(k.stored) == n {
		return nil
	}
	return k.write()
}

func (k *keyFile) write() error {
	b := binary.LittleEndian.AppendUint32([]byte(keyFileMagic), uint32(len(k.stored)))
	for epoch, wrapped := range k.stored {
		b = binary.LittleEndian.AppendUint32(b, epoch)
		b = binary.LittleEndian.AppendUint16(b, uint16(len(wrapped)))
		b = append(b, wrapped...)
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if err := replaceFile(k.fs, k.path, b); err != nil {
		return fmt.Errorf("mpc: key file: %w", err)
	}
	return nil
}

// replaceFile puts b durably in the place of a file, whole or not at all, and overwrites what was there, as far as the file system
// lets that reach the same blocks.
func replaceFile(disk vfs.FS, path string, b []byte) error {
	f, err := disk.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	old, err := disk.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		old = nil // there is none
	}
	if err = disk.Rename(path+".new", path); err == nil {
		err = syncFolder(disk, disk.PathDir(path))
	}
	if old == nil {
		return err
	}
	if info, bad := old.Stat(); err == nil && bad == nil { // before, a crash could still bring it back
		if _, bad := old.WriteAt(make([]byte, info.Size()), 0); bad == nil {
			_ = old.Sync()
		}
	}
	_ = old.Close()
	return err
}

func syncFolder(disk vfs.FS, dir string) error {
	d, err := disk.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// wrap seals a record's key for its place.
func (k *kek) wrap(key, place []byte) []byte { return k.aead.Seal(nil, nil, key, place) }

// unwrap opens a record's key. Errors: ErrCorrupt.
func (k *kek) unwrap(wrapped, place []byte) (cipher.AEAD, error) {
	var room [keyBytes]byte
	key, err := k.aead.Open(room[:0], nil, wrapped, place)
	if err != nil {
		return nil, fmt.Errorf("%w: a record's key does not open in its place", ErrCorrupt)
	}
	defer clear(key)
	return newAEAD(key)
}
