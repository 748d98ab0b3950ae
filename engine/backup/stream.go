package backup

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

const (
	// SealedMagic is what every sealed stream begins with.
	SealedMagic = "mienseal"

	streamFormat  = 1
	saltBytes     = 32
	headerBytes   = 8 + 4 + saltBytes + 32 + 4
	chunkBytes    = 1 << 20
	chunkOverhead = 12 + 16

	// KeyBytes is the length of a folder's key.
	KeyBytes = 32
)

// Kinds of streams, part of what chunks are bound to.
const (
	kindFile     = "file"
	kindManifest = "manifest"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// keyring makes all keys of a folder from its one key. Safe for concurrent use.
type keyring struct{ key, names []byte }

func newKeyring(key []byte) (keyring, error) {
	if len(key) != KeyBytes {
		return keyring{}, fmt.Errorf("backup: a key has %d bytes, want %d", len(key), KeyBytes)
	}
	own := append([]byte(nil), key...)
	names, err := hkdf.Key(sha256.New, own, nil, "mien backup v1 names", 32)
	return keyring{own, names}, err
}

// name is the name of a file of a content (B4).
func (k keyring) name(sum [32]byte) string {
	m := hmac.New(sha256.New, k.names)
	m.Write(sum[:])
	return hex.EncodeToString(m.Sum(nil))
}

// stream makes a stream's cipher and its commitment.
func (k keyring) stream(salt []byte) (cipher.AEAD, []byte, error) {
	both, err := hkdf.Key(sha256.New, k.key, salt, "mien backup v1 stream", 64)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(both[:32])
	clear(both[:32])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return aead, both[32:], err
}

// chunkPlace is the additional data of a chunk (B1).
func chunkPlace(kind, name string, number int64, last bool) []byte {
	b := []byte("mien/backup/v1")
	for _, s := range []string{kind, name} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	b = binary.LittleEndian.AppendUint64(b, uint64(number))
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

// sealedSize is how many bytes a stream of size bytes takes.
func sealedSize(size int64) int64 { return headerBytes + size + chunksOf(size)*chunkOverhead }

// chunksOf is how many chunks a stream of size bytes has: one at least.
func chunksOf(size int64) int64 { return max(1, (size+chunkBytes-1)/chunkBytes) }

// plainSize is the inverse of sealedSize; ok is false for what no stream has.
func plainSize(sealed int64) (size int64, ok bool) {
	body := sealed - headerBytes
	chunks := (body + chunkBytes + chunkOverhead - 1) / (chunkBytes + chunkOverhead)
	size = body - chunks*chunkOverhead
	return size, body >= chunkOverhead && size >= 0 && sealedSize(size) == sealed
}

// Seal returns a writer of one stream by itself, of a kind that the caller names, that belongs to no folder: a file to be handed on. Its Close ends
// the stream, without which it does not open. The key, of KeyBytes bytes, is copied. Errors: w's.
func Seal(w io.Writer, key []byte, kind string) (io.WriteCloser, error) {
	k, err := newKeyring(key)
	if err != nil {
		return nil, err
	}
	s, err := k.newSealer(w, kind, "")
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Sealed is the plain content of a stream by itself. Safe for concurrent use.
type Sealed struct{ o *opener }

// OpenSealed opens what Seal has written: size bytes of r. Errors: ErrDamaged, ErrFormat, ErrKey, r's.
func OpenSealed(r io.ReaderAt, size int64, key []byte, kind string) (*Sealed, error) {
	k, err := newKeyring(key)
	if err != nil {
		return nil, err
	}
	o, err := k.newOpener(r, size, kind, "")
	if err != nil {
		return nil, err
	}
	return &Sealed{o}, o.check()
}

// Size is the length of the plain content.
func (s *Sealed) Size() int64 { return s.o.size }

// ReadAt implements io.ReaderAt. Errors: ErrDamaged, io.EOF.
func (s *Sealed) ReadAt(p []byte, off int64) (int, error) { return s.o.ReadAt(p, off) }

// sealer writes a stream. Close ends it, without which nothing opens; it does not close the writer beneath.
type sealer struct {
	w          io.Writer
	aead       cipher.AEAD
	kind, name string
	number     int64
	plain      []byte // less than a chunk and one byte
	sealed     []byte
}

func (k keyring) newSealer(w io.Writer, kind, name string) (*sealer, error) {
	head := binary.LittleEndian.AppendUint32([]byte(SealedMagic), streamFormat)
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails (crypto/rand)
	aead, commitment, err := k.stream(salt)
	if err != nil {
		return nil, err
	}
	head = append(append(head, salt...), commitment...)
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
	if _, err := w.Write(head); err != nil {
		return nil, err
	}
	return &sealer{w: w, aead: aead, kind: kind, name: name, plain: make([]byte, 0, chunkBytes)}, nil
}

// Write implements io.Writer. A full chunk waits for what follows: it may be the last.
func (s *sealer) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if len(s.plain) == chunkBytes {
			if err := s.flush(false); err != nil {
				return n, err
			}
		}
		m := min(len(p), chunkBytes-len(s.plain))
		s.plain, p, n = append(s.plain, p[:m]...), p[m:], n+m
	}
	return n, nil
}

// Close writes the last chunk.
func (s *sealer) Close() error { return s.flush(true) }

func (s *sealer) flush(last bool) error {
	s.sealed = s.aead.Seal(s.sealed[:0], nil, s.plain, chunkPlace(s.kind, s.name, s.number, last))
	clear(s.plain)
	s.plain, s.number = s.plain[:0], s.number+1
	_, err := s.w.Write(s.sealed)
	return err
}

// opener reads a stream, at any place. Safe for concurrent use.
type opener struct {
	r          io.ReaderAt
	aead       cipher.AEAD
	kind, name string
	size       int64 // of the plain text

	mu struct {
		sync.Mutex
		number int64 // of the chunk that is in plain; -1: none
		plain  []byte
		sealed []byte
	}
}

// newOpener reads the header of a stream of so many bytes. Errors: ErrDamaged, ErrFormat, ErrKey, r's.
func (k keyring) newOpener(r io.ReaderAt, sealed int64, kind, name string) (*opener, error) {
	size, ok := plainSize(sealed)
	if !ok {
		return nil, fmt.Errorf("%w: %d bytes long, which no sealed file is", ErrDamaged, sealed)
	}
	var head [headerBytes]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("%w: read: %w", ErrDamaged, err)
	}
	rest := head[:headerBytes-4]
	if crc32.Checksum(rest, castagnoli) != binary.LittleEndian.Uint32(head[headerBytes-4:]) || string(rest[:8]) != SealedMagic {
		return nil, fmt.Errorf("%w: the header is not what was written", ErrDamaged)
	}
	if v := binary.LittleEndian.Uint32(rest[8:]); v != streamFormat {
		return nil, fmt.Errorf("%w (format %d, this program knows %d)", ErrFormat, v, streamFormat)
	}
	salt, commitment := rest[12:12+saltBytes], rest[12+saltBytes:]
	aead, want, err := k.stream(salt)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(commitment, want) != 1 {
		return nil, ErrKey
	}
	o := &opener{r: r, aead: aead, kind: kind, name: name, size: size}
	o.mu.number = -1
	return o, nil
}

// ReadAt implements io.ReaderAt on the plain text. Errors: ErrDamaged, io.EOF.
func (o *opener) ReadAt(p []byte, off int64) (n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for n < len(p) {
		if off >= o.size {
			return n, io.EOF
		}
		if err := o.chunkLocked(off / chunkBytes); err != nil {
			return n, err
		}
		m := copy(p[n:], o.mu.plain[off%chunkBytes:])
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

func (o *opener) chunkLocked(number int64) error {
	if o.mu.number == number {
		return nil
	}
	o.mu.number = -1
	all := chunksOf(o.size)
	length := min(chunkBytes, o.size-number*chunkBytes) + chunkOverhead
	if o.mu.sealed == nil {
		o.mu.sealed = make([]byte, min(o.size, chunkBytes)+chunkOverhead)
	}
	sealed := o.mu.sealed[:length]
	if _, err := o.r.ReadAt(sealed, headerBytes+number*(chunkBytes+chunkOverhead)); err != nil {
		return fmt.Errorf("%w: chunk %d of %d can't be read: %w", ErrDamaged, number+1, all, err)
	}
	plain, err := o.aead.Open(o.mu.plain[:0], nil, sealed, chunkPlace(o.kind, o.name, number, number == all-1))
	if err != nil {
		return fmt.Errorf("%w: chunk %d of %d does not open", ErrDamaged, number+1, all)
	}
	o.mu.plain, o.mu.number = plain, number
	return nil
}

// check opens every chunk of an empty stream too, which ReadAt has no reason to.
func (o *opener) check() error {
	if o.size > 0 {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.chunkLocked(0)
}

// reader reads the stream from its beginning.
func (o *opener) reader() io.Reader { return io.NewSectionReader(o, 0, o.size) }
