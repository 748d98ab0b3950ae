package jpeg

import (
	"encoding/binary"
	"fmt"
)

// maxScans bounds the passes over the picture. Encoders make about ten; a few bytes suffice for another, and each
// may cost a walk over every block.
const maxScans = 100

const (
	markerSOF0, markerSOF1, markerSOF2 = 0xc0, 0xc1, 0xc2
	markerDHT, markerDQT, markerDRI    = 0xc4, 0xdb, 0xdd
	markerRST0, markerRST7             = 0xd0, 0xd7
	markerSOI, markerEOI, markerSOS    = 0xd8, 0xd9, 0xda
	markerAPP0, markerAPP14            = 0xe0, 0xee
	markerAPP15, markerCOM             = 0xef, 0xfe
)

// component is one colour plane.
type component struct {
	id      uint8
	h, v    int // sampling factors
	tq      uint8
	q       [64]int32 // its quantisation table, in zig-zag order; 0 before its first scan
	scanned bool
	coef    [][64]int16 // of every block, row by row and padded to whole MCUs; only where they are stored
	busy    []uint64    // of progressive frames: bit k is set in a block that has coefficient k of the zig-zag, k ≥ 1
}

// frame is what SOF states.
type frame struct {
	width, height int
	mcusX, mcusY  int
	baseline      bool
	progressive   bool
	comp          []component
	all           [4]component // holds comp
}

func (f *frame) blocksX(c *component) int { return f.mcusX * c.h }
func (f *frame) blocksY(c *component) int { return f.mcusY * c.v }

// segment returns the body of the segment whose length lies at p, and where it ends.
func segment(data []byte, p int) ([]byte, int, error) {
	if p+2 > len(data) {
		return nil, 0, ErrTruncated
	}
	n := int(binary.BigEndian.Uint16(data[p:]))
	if n < 2 {
		return nil, 0, fmt.Errorf("%w: a segment of length %d", ErrFormat, n)
	}
	if p+n > len(data) {
		return nil, 0, ErrTruncated
	}
	return data[p+2 : p+n], p + n, nil
}

// nextMarker returns the first marker at or behind p and where its segment begins. What lies between segments
// is ignored, as libjpeg and the standard library do.
func nextMarker(data []byte, p int) (marker uint8, next int, err error) {
	for ; p+1 < len(data); p++ {
		if data[p] != 0xff {
			continue
		}
		if data[p+1] == 0 {
			p++
			continue
		}
		for p++; p < len(data) && data[p] == 0xff; p++ { // fill bytes
		}
		if p < len(data) {
			return data[p], p + 1, nil
		}
	}
	return 0, 0, ErrTruncated
}

// parseSOF reads a frame header (T.81, B.2.2). What is refused and how is the standard library's choice.
func (f *frame) parseSOF(body []byte, marker uint8) error {
	if len(f.comp) != 0 {
		return fmt.Errorf("%w: several frames", ErrFormat)
	}
	n := (len(body) - 6) / 3
	if len(body) < 6 || len(body) != 6+3*n || n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%w: number of components", ErrUnsupported)
	}
	if body[0] != 8 {
		return fmt.Errorf("%w: %d bits a sample", ErrUnsupported, body[0])
	}
	if int(body[5]) != n {
		return fmt.Errorf("%w: frame header of wrong length", ErrFormat)
	}
	f.baseline, f.progressive = marker == markerSOF0, marker == markerSOF2
	f.height, f.width = int(binary.BigEndian.Uint16(body[1:])), int(binary.BigEndian.Uint16(body[3:]))
	f.comp = f.all[:n]
	for i := range f.comp {
		if err := f.parseComponent(i, body[6+3*i:]); err != nil {
			return err
		}
	}
	f.mcusX = (f.width + 8*f.comp[0].h - 1) / (8 * f.comp[0].h)
	f.mcusY = (f.height + 8*f.comp[0].v - 1) / (8 * f.comp[0].v)
	return nil
}

func (f *frame) parseComponent(i int, b []byte) error {
	c := component{id: b[0], h: int(b[1] >> 4), v: int(b[1] & 15), tq: b[2]}
	for _, other := range f.comp[:i] {
		if other.id == c.id {
			return fmt.Errorf("%w: a component twice", ErrFormat)
		}
	}
	if c.tq > 3 {
		return fmt.Errorf("%w: quantisation table %d", ErrFormat, c.tq)
	}
	if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
		return fmt.Errorf("%w: sampling factors", ErrFormat)
	}
	if len(f.comp) == 1 {
		c.h, c.v = 1, 1 // one component is not interleaved, whatever its factors (A.2.2)
	}
	f.comp[i] = c
	if !f.sampled(i) {
		return fmt.Errorf("%w: sampling factors", ErrUnsupported)
	}
	return nil
}

// sampled says that component i has factors which are read: luma in whole multiples of both chromas, up to 4 by
// 2; the last of four like the first, and those by 2 both ways if at all.
func (f *frame) sampled(i int) bool {
	c, first := &f.comp[i], &f.comp[0]
	if c.h == 3 || c.v == 3 {
		return false
	}
	if len(f.comp) == 4 {
		switch i {
		case 0:
			return c.h == c.v && c.h <= 2
		case 3:
			return c.h == first.h && c.v == first.v
		}
		return c.h == 1 && c.v == 1
	}
	switch i {
	case 0:
		return c.v <= 2 || len(f.comp) == 1
	case 1:
		return first.h%c.h == 0 && first.v%c.v == 0
	}
	return c.h == f.comp[1].h && c.v == f.comp[1].v
}

// parseDQT reads quantisation tables (B.2.4.1).
func parseDQT(tables *[4][64]int32, body []byte) error {
	for len(body) > 0 {
		tq, wide := body[0]&15, body[0]>>4
		if tq > 3 || wide > 1 {
			return fmt.Errorf("%w: quantisation table %#x", ErrFormat, body[0])
		}
		size := 64 << wide
		if len(body) < 1+size {
			return fmt.Errorf("%w: quantisation table of wrong length", ErrFormat)
		}
		for i := range tables[tq] {
			if wide == 0 {
				tables[tq][i] = int32(body[1+i])
			} else {
				tables[tq][i] = int32(binary.BigEndian.Uint16(body[1+2*i:]))
			}
		}
		body = body[1+size:]
	}
	return nil
}

// huffman holds the tables by class (0 DC, 1 AC) and number.
type huffman [2][4]table

// parse reads Huffman tables (B.2.4.2).
func (h *huffman) parse(body []byte, baseline bool) error {
	for len(body) > 0 {
		if len(body) < 17 {
			return fmt.Errorf("%w: Huffman table of wrong length", ErrFormat)
		}
		class, number := body[0]>>4, body[0]&15
		if class > 1 || number > 3 || baseline && number > 1 {
			return fmt.Errorf("%w: Huffman table %#x", ErrFormat, body[0])
		}
		counts, n := (*[16]uint8)(body[1:17]), 0
		for _, c := range counts {
			n += int(c)
		}
		if n == 0 || n > 256 || len(body) < 17+n {
			return fmt.Errorf("%w: Huffman table of %d codes", ErrFormat, n)
		}
		if err := h[class][number].set(counts, body[17:17+n]); err != nil {
			return err
		}
		body = body[17+n:]
	}
	return nil
}

// scan is what SOS states (B.2.3), and what else decoding depends on: a region is decoded again when segments behind
// the scan have been read.
type scan struct {
	coders   []coder
	first    int // spectral selection, in zig-zag order
	last     int
	high     int // successive approximation: 0, or this scan refines
	low      int
	interval int // MCUs between restart markers; 0: there are none
}

// restarts says that a restart marker lies before an MCU.
func (s *scan) restarts(mcu int) bool { return s.interval > 0 && mcu > 0 && mcu%s.interval == 0 }

// coder is one component in a scan.
type coder struct {
	comp    int
	h, v    int
	dc, ac  *table
	predict int16 // the last DC; only its low 15 bits matter to the pixels, for the inverse transform shifts the rest out
}

func (f *frame) parseSOS(body []byte, h *huffman) (s scan, err error) {
	if len(f.comp) == 0 {
		return s, fmt.Errorf("%w: a scan before the frame", ErrFormat)
	}
	if len(body) < 6 || len(body) != 4+2*int(body[0]) || int(body[0]) > len(f.comp) {
		return s, fmt.Errorf("%w: scan header of wrong length", ErrFormat)
	}
	n, units := int(body[0]), 0
	s.coders = make([]coder, n)
	for i := range s.coders {
		if err := f.parseCoder(&s, i, body[1+2*i:], h); err != nil {
			return s, err
		}
		units += s.coders[i].h * s.coders[i].v
	}
	if len(f.comp) > 1 && units > 10 {
		return s, fmt.Errorf("%w: more than 10 blocks in an MCU", ErrFormat)
	}
	s.last = 63
	if f.progressive {
		tail := body[1+2*n:]
		s.first, s.last, s.high, s.low = int(tail[0]), int(tail[1]), int(tail[2]>>4), int(tail[2]&15)
	}
	return s, s.check(f.progressive)
}

func (f *frame) parseCoder(s *scan, i int, b []byte, h *huffman) error {
	for j := range f.comp {
		if c := &f.comp[j]; c.id == b[0] {
			s.coders[i] = coder{comp: j, h: c.h, v: c.v}
			for _, other := range s.coders[:i] {
				if other.comp == j {
					return fmt.Errorf("%w: a component twice in a scan", ErrFormat)
				}
			}
			td, ta := b[1]>>4, b[1]&15
			if max(td, ta) > 3 || f.baseline && max(td, ta) > 1 {
				return fmt.Errorf("%w: Huffman table %#x", ErrFormat, b[1])
			}
			s.coders[i].dc, s.coders[i].ac = &h[0][td], &h[1][ta]
			s.coders[i].dc.build(false)
			s.coders[i].ac.build(true)
			return nil
		}
	}
	return fmt.Errorf("%w: a scan of an unknown component", ErrFormat)
}

// check refuses progressions that no decoder can follow (G.1.1.1).
func (s *scan) check(progressive bool) error {
	switch {
	case s.first == 0 && s.last != 0 && progressive, s.first > s.last, s.last > 63:
		return fmt.Errorf("%w: spectral selection %d to %d", ErrFormat, s.first, s.last)
	case s.first != 0 && len(s.coders) != 1:
		return fmt.Errorf("%w: AC coefficients of several components in a scan", ErrFormat)
	case s.high != 0 && s.high != s.low+1:
		return fmt.Errorf("%w: successive approximation %d to %d", ErrFormat, s.high, s.low)
	}
	return nil
}
