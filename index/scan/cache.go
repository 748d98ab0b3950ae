package scan

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"mien/index"
	"mien/simd"
)

const (
	cacheFile  = "cache"
	newSuffix  = ".new" // of a file that is not whole yet
	cacheMagic = "mienscan"
	// cacheVersion history: 1 the first.
	cacheVersion = 1

	pieceBytes     = 1 << 20
	maxHeaderBytes = 1 << 26
	maxOwnerBytes  = 1 << 34
)

// cacheHeader says what follows it; all sizes follow from it.
type cacheHeader struct {
	Dim      int
	Sequence uint64
	Next     uint32 // rows ever given out
	Owner    int    // bytes of the owner's data
	Fitted   bool   // there is a fit
	Segments []cacheSegment
	Measured measured // of the fit
	File     []byte   // random: ties the pieces to this header
	Vectors  [8]byte  // the id that the rows in the vectors file are sealed with
	Extra    []int    `json:",omitempty"` // bytes of each part that SaveWith had besides
}

// cacheSegment is what a segment's codes are besides what follows from their size.
type cacheSegment struct {
	Fitted              bool
	MostScale, MostTail uint32
}

// Save writes everything but the vectors file, which is synced, to the cache file, for Open. sequence and owner come
// back from there: the state of its own that the caller saves with it. The file is sealed like the rows, and replaces
// the one before whole or not at all. REQUIRES: nothing is added or removed meanwhile. Errors: ErrConfig without a
// folder, ErrClosed, those of the file system.
func (x *Index) Save(sequence uint64, owner []byte) error { return x.SaveWith(sequence, owner, nil) }

// SaveWith is Save with parts besides, which are in the file after all else, for Config.Extra.
func (x *Index) SaveWith(sequence uint64, owner []byte, extra [][]byte) error {
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	if x.dir == "" {
		return fmt.Errorf("%w: an index without a folder can't be saved", index.ErrConfig)
	}
	x.background.Wait()
	for x.reclaimSome() > 0 { // what is dead is not saved, unless a search still sees it
	}
	if err := x.vectors.sync(); err != nil {
		return err
	}
	if err := os.MkdirAll(x.dir, 0o700); err != nil {
		return err
	}
	h := x.header(sequence, len(owner))
	for _, part := range extra {
		h.Extra = append(h.Extra, len(part))
	}
	return replaceFile(filepath.Join(x.dir, cacheFile), func(f *os.File) error { return x.writeCache(f, h, owner, extra) })
}

// Sync makes the vectors file durable. Nobody relies on that without a cache file; it is for those who measure.
func (x *Index) Sync() error {
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	return x.vectors.sync()
}

func (x *Index) header(sequence uint64, owner int) cacheHeader {
	h := cacheHeader{Dim: x.dim, Sequence: sequence, Next: x.next.Load(), Owner: owner, File: randomBytes(16), Vectors: x.vectors.id}
	if f := x.fit.Load(); f != nil {
		h.Fitted, h.Measured = true, f.measured
	}
	for _, g := range *x.segments.Load() {
		s := cacheSegment{}
		if c := g.codes.Load(); c != nil {
			s = cacheSegment{c.fit != nil, c.mostScale.Load(), c.mostTail.Load()}
		}
		h.Segments = append(h.Segments, s)
	}
	return h
}

func (x *Index) writeCache(f *os.File, h cacheHeader, owner []byte, extra [][]byte) error {
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	sealed := x.vectors.aead.Seal(nil, nil, head, []byte(cacheMagic))
	start := append([]byte(cacheMagic), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(start[8:], cacheVersion)
	binary.LittleEndian.PutUint32(start[12:], uint32(len(sealed)))
	start = append(start, sealed...)
	if _, err := f.WriteAt(start, 0); err != nil {
		return err
	}
	live, labels := x.rowTable()
	var fit *fit
	if h.Fitted {
		fit = x.fit.Load()
	}
	spans := append(x.spans(h, fit, live, labels, owner), extra...)
	return eachPiece(pieces(spans, 0, int64(len(start))), func(p piece, buf, ad []byte) error {
		buf = x.vectors.aead.Seal(buf[:0], nil, p.bytes, pieceAD(ad, h, p))
		_, err := f.WriteAt(buf, p.offset)
		return err
	})
}

// rowTable is which rows are live, as bits, and their labels.
func (x *Index) rowTable() (live []uint64, labels []uint32) {
	n := x.next.Load()
	live, labels = make([]uint64, (n+63)/64), make([]uint32, n)
	x.each(func(row, label uint32) {
		live[row/64] |= 1 << (row % 64)
		labels[row] = label
	})
	return live, labels
}

// Each calls f for every live row. REQUIRES: nothing is added or removed meanwhile.
func (x *Index) Each(f func(row, label uint32)) error {
	if err := x.enter(); err != nil {
		return err
	}
	defer x.leave()
	x.each(f)
	return nil
}

func (x *Index) each(f func(row, label uint32)) {
	for row := range x.next.Load() {
		if x.isLive(row) {
			f(row, x.labelOf(row).Load())
		}
	}
}

// spans is the memory that the file holds, in order.
func (x *Index) spans(h cacheHeader, f *fit, live []uint64, labels []uint32, owner []byte) [][]byte {
	spans := [][]byte{owner, bytesOf(live), bytesOf(labels), bytesOf(x.small.Load().vectors)}
	if f != nil {
		spans = append(spans, bytesOf(f.y), bytesOf(f.w))
	}
	words, stride := x.words(), int8Stride(x.dim)
	for i, g := range *x.segments.Load() {
		c := g.codes.Load()
		rows := min(segmentRows, int(h.Next)-i*segmentRows)
		spans = append(spans, g.tagBytes()[:8*rows])
		if c == nil {
			continue
		}
		lanes := (rows + simd.SketchLanes - 1) / simd.SketchLanes * simd.SketchLanes
		spans = append(spans, bytesOf(g.sketches[:lanes*words]), bytesOf(c.int8[:rows*stride]), c.scaleBytes()[:rows*4])
		if c.fit != nil {
			spans = append(spans, c.short[:lanes*headBytes], c.oddBytes())
		}
	}
	return spans
}

// piece is a part of a span, sealed by itself.
type piece struct {
	bytes  []byte
	number uint64
	offset int64 // of the sealed bytes in the file
}

// pieces divides spans, which begin with a number and at an offset.
func pieces(spans [][]byte, number uint64, offset int64) (all []piece) {
	for _, s := range spans {
		for len(s) > 0 {
			n := min(len(s), pieceBytes)
			all = append(all, piece{s[:n:n], number, offset})
			number++
			offset += int64(n + sealBytes)
			s = s[n:]
		}
	}
	return all
}

// eachPiece calls f for the pieces, on all cores, with a buffer that holds a sealed one.
func eachPiece(pieces []piece, f func(p piece, buf, ad []byte) error) error {
	var g errgroup.Group
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			buf, ad := make([]byte, pieceBytes+sealBytes), make([]byte, 64)
			for {
				i := int(next.Add(1)) - 1
				if i >= len(pieces) {
					return nil
				}
				if err := f(pieces[i], buf, ad); err != nil {
					next.Store(int64(len(pieces)))
					return err
				}
			}
		})
	}
	return g.Wait()
}

// pieceAD is what a piece is sealed with: nothing fits into another place or another file.
func pieceAD(ad []byte, h cacheHeader, p piece) []byte {
	return binary.LittleEndian.AppendUint64(append(ad[:0], h.File...), p.number)
}

// Open reads the index that Save wrote to c.Dir, with what was saved beside it. The vectors file may have been
// changed since by calls of Replace and Append: rows that were live then and have not been replaced or removed since
// are as they were, which the caller must know; it removes or replaces the others before it searches. Errors:
// os.ErrNotExist if nothing was saved; ErrCorrupt if a file is damaged, of another version, key or dim: then there is New.
func Open(c Config) (x *Index, sequence uint64, owner []byte, err error) {
	if c.Dir == "" {
		return nil, 0, nil, fmt.Errorf("%w: there is no folder to open", index.ErrConfig)
	}
	if x, err = newIndex(c); err != nil {
		return nil, 0, nil, err
	}
	f, err := os.Open(filepath.Join(c.Dir, cacheFile))
	if err != nil {
		return nil, 0, nil, errors.Join(err, x.Close())
	}
	defer f.Close()
	h, offset, err := x.readHeader(f)
	if err == nil {
		owner, err = x.readCache(f, h, offset)
	}
	if err != nil {
		return nil, 0, nil, errors.Join(err, x.Close())
	}
	return x, h.Sequence, owner, nil
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", index.ErrCorrupt, fmt.Errorf(format, args...))
}

func (x *Index) readHeader(f *os.File) (h cacheHeader, offset int64, err error) {
	var start [16]byte
	if _, err := f.ReadAt(start[:], 0); err != nil || !bytes.HasPrefix(start[:], []byte(cacheMagic)) {
		return h, 0, corrupt("the cache file has no header")
	}
	if v := binary.LittleEndian.Uint32(start[8:]); v != cacheVersion {
		return h, 0, corrupt("the cache file has format %d, this program reads %d", v, cacheVersion)
	}
	n := binary.LittleEndian.Uint32(start[12:])
	if info, err := f.Stat(); err != nil || n > maxHeaderBytes || int64(n) > info.Size() {
		return h, 0, corrupt("the cache file's header has %d bytes", n)
	}
	sealed := make([]byte, n)
	if _, err := f.ReadAt(sealed, 16); err != nil {
		return h, 0, corrupt("the cache file ends in its header")
	}
	head, err := x.vectors.aead.Open(nil, nil, sealed, []byte(cacheMagic))
	if err != nil {
		return h, 0, corrupt("the cache file's header does not open: it was changed, or the key is another")
	}
	if err := json.Unmarshal(head, &h); err != nil {
		return h, 0, corrupt("the cache file's header: %w", err)
	}
	return h, 16 + int64(n), x.checkHeader(h, f, 16+int64(n))
}

// checkHeader makes sure that what will be allocated is what the file holds.
func (x *Index) checkHeader(h cacheHeader, f *os.File, offset int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	segments := 0
	if h.Next > SmallRows {
		segments = int((int64(h.Next) + segmentRows - 1) / segmentRows)
	}
	room := info.Size() - offset
	perRow := int64(4)
	if x.rotation != nil && segments > 0 {
		perRow += int64(x.words()*8 + int8Stride(x.dim))
	}
	switch {
	case h.Dim != x.dim:
		return corrupt("the cache file is of vectors of length %d, not %d", h.Dim, x.dim)
	case len(h.Segments) != segments || h.Owner < 0 || h.Owner > maxOwnerBytes || int64(h.Owner)+perRow*int64(h.Next) > room:
		return corrupt("the cache file is shorter than its header says")
	}
	return nil
}

func (x *Index) readCache(f *os.File, h cacheHeader, offset int64) (owner []byte, err error) {
	if h.Fitted {
		if err := x.loadFit(h); err != nil {
			return nil, err
		}
	}
	if err := x.allocate(h); err != nil {
		return nil, err
	}
	owner = make([]byte, h.Owner)
	live, labels := make([]uint64, (h.Next+63)/64), make([]uint32, h.Next)
	spans := x.spans(h, x.fit.Load(), live, labels, owner)
	rest, err := x.readSpans(f, h, spans, 0, offset)
	if err != nil {
		return nil, err
	}
	for i, g := range *x.segments.Load() {
		if c := g.codes.Load(); c != nil {
			c.mostScale.Store(h.Segments[i].MostScale)
			c.mostTail.Store(h.Segments[i].MostTail)
			for w := range c.odd {
				c.odds.Add(int64(bits.OnesCount64(c.odd[w].Load())))
			}
		}
	}
	if err := x.revive(h, live, labels); err != nil || x.extra == nil {
		return owner, err
	}
	x.extra(h.Extra, func(dst [][]byte) (err error) {
		rest, err = x.readSpans(f, h, dst, rest.number, rest.offset)
		return err
	})
	return owner, nil
}

// readSpans fills spans, whose first piece has this number and offset, and returns those of what follows.
func (x *Index) readSpans(f *os.File, h cacheHeader, spans [][]byte, number uint64, offset int64) (rest piece, err error) {
	all := pieces(spans, number, offset)
	rest = piece{number: number, offset: offset}
	if len(all) > 0 {
		last := all[len(all)-1]
		rest = piece{number: last.number + 1, offset: last.offset + int64(len(last.bytes)+sealBytes)}
	}
	return rest, eachPiece(all, func(p piece, buf, ad []byte) error {
		sealed := buf[:len(p.bytes)+sealBytes]
		if _, err := f.ReadAt(sealed, p.offset); err != nil {
			return corrupt("the cache file ends early: %w", err)
		}
		if _, err := x.vectors.aead.Open(p.bytes[:0], nil, sealed, pieceAD(ad, h, p)); err != nil {
			return corrupt("piece %d of the cache file does not open", p.number)
		}
		return nil
	})
}

func (x *Index) loadFit(h cacheHeader) (err error) {
	f := &fit{dim: x.dim, y: make([]float32, headDim*x.stride), w: make([]float32, headDim*x.stride), measured: h.Measured}
	if f.mix, err = newMixer(rotationSeed); err != nil {
		return err
	}
	if x.rotation == nil || x.dim < 2*stepDim {
		return corrupt("the cache file has a fit for vectors of length %d", x.dim)
	}
	x.fit.Store(f)
	x.mu.fitting = true
	return nil
}

func (x *Index) allocate(h cacheHeader) error {
	small := len(x.small.Load().life)
	for small < int(min(h.Next, SmallRows)) {
		small = max(1, 2*small)
	}
	x.small.Store(newSmall(small, x.stride))
	fitted := x.fit.Load()
	for i, s := range h.Segments {
		x.fit.Store(nil)
		if s.Fitted {
			x.fit.Store(fitted)
		}
		g, err := x.newSegment(i > 0)
		if err != nil {
			return err
		}
		longer := append(*x.segments.Load(), g)
		x.segments.Store(&longer)
	}
	x.fit.Store(fitted)
	return nil
}

// revive makes the rows what the tables say, as of epoch 1.
func (x *Index) revive(h cacheHeader, live []uint64, labels []uint32) error {
	if h.Next > SmallRows {
		if err := x.vectors.reopen(h.Next); err != nil {
			return corrupt("the vectors file: %w", err)
		}
	}
	w := x.scratch.Get().(*writeScratch)
	defer x.scratch.Put(w)
	x.vectors.id = h.Vectors
	x.next.Store(h.Next)
	x.epoch.Store(1)
	for row := range h.Next {
		l := x.lifeOf(row)
		l.died.Store(never)
		if live[row/64]>>(row%64)&1 == 0 {
			l.born.Store(never)
			x.mu.free = append(x.mu.free, row)
			x.wipe(w, row) // somebody may have had it until the file was saved, or after
			continue
		}
		l.born.Store(1)
		x.live.Add(1)
		x.labelOf(row).Store(labels[row])
	}
	return nil
}

// replaceFile writes a file beside path and puts it in place when it is whole and on disk.
func replaceFile(path string, write func(*os.File) error) (err error) {
	tmp := path + newSuffix
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = write(f); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// removeCache keeps a new index from leaving another's cache file beside its vectors. Where it can't be removed, the
// new rows don't open as the other's: their ids differ.
func removeCache(dir string) {
	_ = os.Remove(filepath.Join(dir, cacheFile))
	_ = os.Remove(filepath.Join(dir, cacheFile+newSuffix))
}
