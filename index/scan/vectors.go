package scan

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"mien/index"
)

const (
	extentRows  = 8192
	vectorsFile = "vectors"
	sealBytes   = 12 + 16 // nonce and tag of AES-GCM
	adBytes     = 12      // a row's number and the index's id
)

// vectors holds the float32 rows from SmallRows on, which are read for the last few candidates only: in a file
// sealed row by row, or in memory outside the heap if there is no folder.
//
//	file: slot of row r at (r − SmallRows) × slotBytes: nonce[12] ‖ AES-256-GCM of float32[dim] ‖ tag[16],
//	      additional data the row number, little-endian u32, and the id of the index
//
// The last eight bytes of each tag are kept in memory as well, so that no slot of another time opens: not what was
// there before, nor what was written after the state that a cache file holds.
//
// A row that the disk refuses, or for which there can be no file, stays in memory (stray): what was acknowledged
// elsewhere must be found.
type vectors struct {
	dim, stride int
	dir         string // "" for memory only
	aead        cipher.AEAD
	id          [8]byte // random, of what New made; a cache file knows it
	tagOf       func(row uint32) *atomic.Uint64
	file        atomic.Pointer[os.File] // nil until the first row comes that belongs there

	extents atomic.Pointer[[]index.Region] // without a file; replaced by a longer copy

	stray struct {
		sync.RWMutex
		rows  map[uint32][]float32
		count atomic.Int64
	}
}

func newVectors(c Config) (*vectors, error) {
	v := &vectors{dim: c.Dim, stride: strideOf(c.Dim), dir: c.Dir}
	v.extents.Store(new([]index.Region))
	v.stray.rows = make(map[uint32][]float32)
	if c.Dir == "" {
		return v, nil
	}
	block, err := aes.NewCipher(c.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: key: %w", index.ErrConfig, err)
	}
	v.aead, err = cipher.NewGCMWithRandomNonce(block)
	return v, err
}

func (v *vectors) openFile(flags int) error {
	if err := os.MkdirAll(v.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(v.dir, vectorsFile), os.O_RDWR|flags, 0o600)
	if err == nil {
		v.file.Store(f)
	}
	return err
}

// reopen opens the file as it is, but for slots from row next on, which were written after the state that is opened.
func (v *vectors) reopen(next uint32) error {
	if err := v.openFile(0); err != nil {
		return err
	}
	f := v.file.Load()
	info, err := f.Stat()
	if end := v.slot(next); err == nil && info.Size() > end {
		err = f.Truncate(end)
	}
	return err
}

func (v *vectors) slotBytes() int { return 4*v.dim + sealBytes }

func (v *vectors) slot(row uint32) int64 { return int64(row-SmallRows) * int64(v.slotBytes()) }

// reserve makes room for a row. REQUIRES: callers take turns.
func (v *vectors) reserve(row uint32) error {
	if v.dir != "" {
		if v.file.Load() == nil {
			_ = v.openFile(os.O_CREATE | os.O_TRUNC) // without a file rows are stray
		}
		return nil
	}
	have := *v.extents.Load()
	if int(row-SmallRows)/extentRows < len(have) {
		return nil
	}
	r, err := index.NewRegion(4*v.stride*extentRows, true)
	if err != nil {
		return err
	}
	longer := append(slices.Clip(slices.Clone(have)), r)
	v.extents.Store(&longer)
	return nil
}

// inMemory is the padded row, aliased. REQUIRES: no file.
func (v *vectors) inMemory(row uint32) []float32 {
	return v.blockInMemory(row, 1)
}

// blockInMemory is n consecutive padded rows of one extent, aliased. REQUIRES: no file; they don't cross an extent.
func (v *vectors) blockInMemory(first uint32, n int) []float32 {
	e := (*v.extents.Load())[int(first-SmallRows)/extentRows]
	at := int(first-SmallRows) % extentRows * v.stride
	return index.SliceOf[float32](e.Bytes)[at : at+n*v.stride : at+n*v.stride]
}

// getBlock reads those of n consecutive rows that are in wanted, bit by bit, into dst, float32[n × stride]; scratch is
// n slots and adBytes. Errors: ErrCorrupt.
func (v *vectors) getBlock(dst []float32, first uint32, n int, wanted uint64, scratch []byte) error {
	f := v.file.Load()
	if f == nil || v.stray.count.Load() > 0 {
		for ; wanted != 0; wanted &= wanted - 1 {
			i := bits.TrailingZeros64(wanted)
			if err := v.get(dst[i*v.stride:(i+1)*v.stride], first+uint32(i), scratch[:v.scratchBytes()]); err != nil {
				return err
			}
		}
		return nil
	}
	slot := v.slotBytes()
	slots, ad := scratch[:n*slot], scratch[len(scratch)-adBytes:]
	if got, err := f.ReadAt(slots, v.slot(first)); got < (bits.Len64(wanted))*slot {
		return fmt.Errorf("%w: rows from %d: %w", index.ErrCorrupt, first, err)
	}
	for ; wanted != 0; wanted &= wanted - 1 {
		i := bits.TrailingZeros64(wanted)
		if err := v.open(dst[i*v.stride:(i+1)*v.stride], first+uint32(i), slots[i*slot:(i+1)*slot], ad); err != nil {
			return err
		}
	}
	return nil
}

// put writes consecutive rows, float32[n × stride], of which dim count. buf is scratch, returned for the next call.
func (v *vectors) put(first uint32, rows []float32, buf []byte) []byte {
	n := len(rows) / v.stride
	if v.dir == "" {
		for i := range n {
			copy(v.inMemory(first+uint32(i)), rows[i*v.stride:(i+1)*v.stride])
		}
		return buf
	}
	f := v.file.Load()
	if f == nil {
		v.keep(first, rows)
		return buf
	}
	buf = slices.Grow(buf[:0], n*v.slotBytes()+adBytes)
	ad := buf[:cap(buf)][cap(buf)-adBytes:]
	for i := range n {
		v.putAD(ad, first+uint32(i))
		buf = v.aead.Seal(buf, nil, bytesOf(rows[i*v.stride:i*v.stride+v.dim]), ad)
		v.tagOf(first + uint32(i)).Store(endOf(buf))
	}
	if _, err := f.WriteAt(buf, v.slot(first)); err != nil {
		v.keep(first, rows)
	} else if v.stray.count.Load() > 0 {
		v.unkeep(first, n)
	}
	return buf
}

func (v *vectors) keep(first uint32, rows []float32) {
	v.stray.Lock()
	defer v.stray.Unlock()
	for i := range len(rows) / v.stride {
		v.stray.rows[first+uint32(i)] = slices.Clone(rows[i*v.stride : i*v.stride+v.dim])
	}
	v.stray.count.Store(int64(len(v.stray.rows)))
}

func (v *vectors) strays() map[uint32][]float32 {
	v.stray.RLock()
	defer v.stray.RUnlock()
	return maps.Clone(v.stray.rows)
}

func (v *vectors) unkeep(first uint32, n int) {
	v.stray.Lock()
	defer v.stray.Unlock()
	for i := range n {
		clear(v.stray.rows[first+uint32(i)])
		delete(v.stray.rows, first+uint32(i))
	}
	v.stray.count.Store(int64(len(v.stray.rows)))
}

// erase overwrites a row.
func (v *vectors) erase(row uint32, buf []byte) []byte {
	if v.dir == "" {
		clear(v.inMemory(row))
		return buf
	}
	if v.stray.count.Load() > 0 {
		v.unkeep(row, 1)
	}
	buf = slices.Grow(buf[:0], v.slotBytes())[:v.slotBytes()]
	clear(buf)
	if f := v.file.Load(); f != nil {
		_, _ = f.WriteAt(buf, v.slot(row)) // sealed, and its key goes with the gallery's
	}
	return buf
}

// scratchBytes is what get and open need: a slot, and the additional data that was sealed with it.
func (v *vectors) scratchBytes() int { return v.slotBytes() + adBytes }

// get reads a row into dst, float32[stride], padding zero, with scratch of scratchBytes. REQUIRES: a folder. Errors:
// ErrCorrupt.
func (v *vectors) get(dst []float32, row uint32, scratch []byte) error {
	if v.stray.count.Load() > 0 && v.getStray(dst, row) {
		return nil
	}
	n, f := v.slotBytes(), v.file.Load()
	if f == nil {
		return fmt.Errorf("%w: row %d has no file", index.ErrCorrupt, row)
	}
	if _, err := f.ReadAt(scratch[:n], v.slot(row)); err != nil {
		return fmt.Errorf("%w: row %d: %w", index.ErrCorrupt, row, err)
	}
	return v.open(dst, row, scratch[:n], scratch[n:])
}

// open unseals one slot into dst. ad is scratch: an array of this function's own would escape to the heap.
func (v *vectors) open(dst []float32, row uint32, sealed, ad []byte) error {
	v.putAD(ad, row)
	if endOf(sealed) != v.tagOf(row).Load() {
		return fmt.Errorf("%w: row %d is of another time", index.ErrCorrupt, row)
	}
	if _, err := v.aead.Open(bytesOf(dst)[:0], nil, sealed, ad[:adBytes]); err != nil {
		return fmt.Errorf("%w: row %d does not open", index.ErrCorrupt, row)
	}
	return nil
}

// endOf is the last eight bytes of a sealed slot.
func endOf(sealed []byte) uint64 { return binary.LittleEndian.Uint64(sealed[len(sealed)-8:]) }

func (v *vectors) putAD(ad []byte, row uint32) {
	binary.LittleEndian.PutUint32(ad, row)
	copy(ad[4:], v.id[:])
}

func (v *vectors) getStray(dst []float32, row uint32) bool {
	v.stray.RLock()
	defer v.stray.RUnlock()
	have, ok := v.stray.rows[row]
	copy(dst, have)
	return ok
}

// sync makes the file durable. It fails if a row is in memory only, and can't be written now either.
func (v *vectors) sync() error {
	for row, vector := range v.strays() {
		padded := make([]float32, v.stride)
		copy(padded, vector)
		v.put(row, padded, nil)
	}
	if n := v.stray.count.Load(); n > 0 {
		return fmt.Errorf("index: %d rows could not be written to %s", n, filepath.Join(v.dir, vectorsFile))
	}
	if f := v.file.Load(); f != nil {
		return f.Sync()
	}
	return nil
}

func (v *vectors) close() error {
	for _, r := range *v.extents.Load() {
		r.Free()
	}
	if f := v.file.Load(); f != nil {
		return f.Close()
	}
	return nil
}

func (v *vectors) memoryBytes() int { return len(*v.extents.Load()) * 4 * v.stride * extentRows }

// bytesOf is the memory of f. Files hold little-endian numbers: mien has no port to a big-endian machine.
func bytesOf[T float32 | uint64 | uint32 | int8](f []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(f))), len(f)*int(unsafe.Sizeof(f[0])))
}
