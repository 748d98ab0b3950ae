package jpeg

import (
	"context"
	"fmt"
)

// block reads one block of a sequential scan (T.81, F.2.2). The coefficients up to index limit of the zig-zag are
// written to b, each times its factor; those behind are passed over or, at no cost, written too. It returns the last
// index that was written, or -1 where the bits are no code. What a wrong run leads to is the standard library's choice.
//
// It is one long function because its state lives in registers.
//
// REQUIRES: b is 0 in what will be read of it.
func (r *reader) block(c *coder, b *block, factors *[64]int32, limit int) int {
	acc, n, pos, buf := r.acc, r.n, r.pos, r.buf
	ac, k, last := c.ac, 1, 0
	if n < 32 {
		acc, n, pos = refill(acc, n, pos, buf)
	}
	e := c.dc.fast[acc>>(64-fastBits)]
	if e == 0 {
		e = c.dc.long(acc)
	}
	acc <<= e & 63
	n -= int(e & 63)
	v := int32(e) >> 16
	if size := e >> 8 & 255; v == 0 && size != 0 {
		if size > 16 {
			e = 0
		}
		v = extend(acc, size)
		acc <<= size
		n -= int(size)
	}
	if e == 0 {
		return r.bad(acc, n, pos)
	}
	c.predict += int16(v)
	b[0] = int32(c.predict) * factors[0]

	if r.eobRun > 0 {
		r.eobRun--
		k = 64
	}
	for k <= limit {
		if n < 32 {
			acc, n, pos = refill(acc, n, pos, buf)
		}
		e := ac.fast[acc>>(64-fastBits)]
		v := int32(e) >> 16
		if v != 0 {
			k += int(e >> 12 & 15)
			if k > 63 { // without its value
				acc <<= (e - e>>8&15) & 63
				n -= int((e - e>>8&15) & 63)
				break
			}
			acc <<= e & 63
			n -= int(e & 63)
			b[natural[k]&63] = v * factors[k]
			last = k
			k++
			continue
		}
		if e == 0 {
			if e = ac.long(acc); e == 0 {
				return r.bad(acc, n, pos)
			}
		}
		acc <<= e & 63
		n -= int(e & 63)
		size := e >> 8 & 15
		run := int(e >> 12 & 15)
		if size == 0 {
			if run == 15 {
				k += 16
				continue
			}
			k = 64
			if run > 0 {
				r.eobRun = 1<<run | int(acc>>(64-uint(run))) - 1
				acc <<= uint(run)
				n -= run
			}
			break
		}
		k += run
		if k > 63 {
			break
		}
		b[natural[k]&63] = extend(acc, size) * factors[k]
		last = k
		k++
		acc <<= size
		n -= int(size)
	}
	r.acc, r.n, r.pos = acc, n, pos
	if k <= 63 && !r.pass(ac, k) {
		return -1
	}
	return last
}

// bad leaves the reader where no code was found.
func (r *reader) bad(acc uint64, n, pos int) int {
	r.acc, r.n, r.pos = acc, n, pos
	return -1
}

// extend is the value of the size bits at the head of acc, 1 ≤ size ≤ 16 (F.2.2.1).
func extend(acc uint64, size uint32) int32 {
	v := int32(acc >> (64 - size&63))
	if int64(acc) >= 0 {
		v += 1 - 1<<(size&31)
	}
	return v
}

// pass reads the AC coefficients from index k on without their values.
func (r *reader) pass(ac *table, k int) bool {
	acc, n, pos, buf := r.acc, r.n, r.pos, r.buf
	for k <= 63 {
		if n < 32 {
			acc, n, pos = refill(acc, n, pos, buf)
		}
		s := ac.skip[acc>>(64-skipBits)]
		if next := k + int(s>>4&127); s != 0 && next <= 63 {
			acc <<= s & 15
			n -= int(s & 15)
			k = next
			if s>>11 != 0 {
				break
			}
			continue
		}
		e := ac.codes[acc>>(64-fastBits)]
		if e == 0 {
			if e = ac.long(acc); e == 0 {
				return false
			}
		}
		size, run := int(e>>8&15), int(e>>12&15)
		acc <<= e & 63
		n -= int(e & 63)
		if size == 0 && run < 15 {
			if run > 0 {
				r.eobRun = 1<<run | int(acc>>(64-uint(run))) - 1
				acc <<= uint(run)
				n -= run
			}
			break
		}
		if k += run + 1; k > 64 {
			break
		}
		acc <<= uint(size)
		n -= size
	}
	r.acc, r.n, r.pos = acc, n, pos
	return true
}

// markEvery is how many MCUs lie between two marks.
const markEvery = 16

// makeSkips prepares tables for coefficients that are passed over: 4 % of the time to open a photo of 640×480.
func (s *scan) makeSkips() {
	for i := range s.coders {
		s.coders[i].ac.makeSkip()
	}
}

// mark is where an MCU begins in the coded data, and what decoding it depends on.
type mark struct {
	bit     int
	predict [4]int16
	eobRun  int32
}

func (s *scan) mark(r *reader) (m mark) {
	m.bit, m.eobRun = r.at(), int32(r.eobRun)
	for i := range s.coders {
		m.predict[i] = s.coders[i].predict
	}
	return m
}

func (s *scan) resume(r *reader, m mark) {
	r.seek(m.bit)
	r.eobRun = int(m.eobRun)
	for i := range s.coders {
		s.coders[i].predict = m.predict[i]
	}
}

// restart begins a segment: predictions are forgotten (F.2.1.3.1, G.1.2.2).
func (s *scan) restart(r *reader, start int) { s.resume(r, mark{bit: start * 8}) }

// stream decodes the one scan of a sequential photo into the overview and leaves marks from which regions are decoded
// again: a mark for each 16 MCUs takes a five-hundredth of the memory that their coefficients would.
func (p *Photo) stream(ctx context.Context, s *scan) error {
	p.prepare(&p.overview, &p.memory.overview, 0, 0, p.mcusX, p.mcusY, p.shrink)
	if p.shrink > 1 {
		s.makeSkips()
	}
	in := segments{data: p.data, next: p.at}
	if err := in.begin(&p.reader, &p.memory.clean); err != nil {
		return err
	}
	m := p.memory
	m.marks, m.starts = m.marks[:0], append(m.starts[:0], 0)
	for y := range p.mcusY {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for x := range p.mcusX {
			if mcu := y*p.mcusX + x; s.restarts(mcu) {
				start, err := in.restart(&p.reader)
				if err != nil {
					return err
				}
				m.starts = append(m.starts, start)
				s.restart(&p.reader, start)
			}
			if x%markEvery == 0 {
				m.marks = append(m.marks, s.mark(&p.reader))
			}
			if !p.mcu(s, &p.overview, x, y) {
				return in.fault(&p.reader)
			}
		}
	}
	p.at = in.next
	m.clean = p.reader.buf
	return nil
}

// again decodes the MCUs of t once more.
func (p *Photo) again(ctx context.Context, t *target) error {
	s, m := &p.once, p.memory
	s.makeSkips()
	perRow := (p.mcusX + markEvery - 1) / markEvery
	for y := t.y0; y < t.y1; y++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.resume(&p.reader, m.marks[y*perRow+t.x0/markEvery])
		for x := t.x0 / markEvery * markEvery; x < t.x1; x++ {
			if mcu := y*p.mcusX + x; s.restarts(mcu) {
				s.restart(&p.reader, m.starts[mcu/s.interval])
			}
			if !p.mcu(s, t, x, y) {
				panic("BUG: jpeg: what was decoded once can't be decoded again")
			}
		}
	}
	return nil
}

// mcu decodes one MCU and draws it where t has it. False means damage, or that the segment ended.
func (p *Photo) mcu(s *scan, t *target, mx, my int) bool {
	wanted, b := mx >= t.x0, &p.scratch
	for i := range s.coders {
		c := &s.coders[i]
		pl := &t.planes[c.comp]
		limit := pl.last
		if !wanted {
			limit = 0
		}
		x, y := 0, 0 // of the MCU's blocks; divisions took 4 % of all the time
		for range c.h * c.v {
			last := p.reader.block(c, b, &pl.factors, limit)
			if last < 0 || p.reader.drained() {
				return false
			}
			if wanted {
				bx, by := (mx-t.x0)*c.h+x, (my-t.y0)*c.v+y
				inverse(pl.pix[(by*pl.stride+bx)*pl.size:], pl.stride, b, last, pl.shrink)
			}
			if last > 0 {
				clear(b[:])
			}
			if x++; x == c.h {
				x, y = 0, y+1
			}
		}
	}
	return true
}

// segments are the entropy-coded segments of a scan: between restart markers, or one.
type segments struct {
	data     []byte
	next     int // of data, where the current segment ends
	expected uint8
}

// begin lets r read the first segment, with clean as memory.
func (s *segments) begin(r *reader, clean *[]byte) error {
	if need := len(s.data) - s.next + slack; cap(*clean) < need {
		*clean = make([]byte, 0, need)
	}
	r.buf = (*clean)[:0]
	s.expected = markerRST0
	s.load(r)
	r.seek(0)
	return nil
}

// load appends the segment at s.next to r's memory.
func (s *segments) load(r *reader) (start int) {
	start = len(r.buf)
	if start > 0 {
		start = r.end
	}
	r.buf, s.next = unstuff(r.buf[:start], s.data, s.next)
	r.end = len(r.buf)
	r.buf = r.buf[:r.end+slack]
	clear(r.buf[r.end:])
	return start
}

// restart goes on behind the expected restart marker and returns where in r's memory the segment begins. As in the standard
// library, data before it is passed over, any other marker is an error.
func (s *segments) restart(r *reader) (start int, err error) {
	for p := s.next; p+1 < len(s.data); {
		a, b := s.data[p], s.data[p+1]
		switch {
		case a != 0xff, b == 0xff:
			p++
		case b == 0:
			p += 2
		case b != s.expected:
			return 0, fmt.Errorf("%w: marker %#x where restart %#x was due", ErrFormat, b, s.expected)
		default:
			s.next = p + 2
			s.expected = markerRST0 + (s.expected-markerRST0+1)&7
			return s.load(r), nil
		}
	}
	return 0, ErrTruncated
}

// fault says why the segment could not be decoded.
func (s *segments) fault(r *reader) error {
	switch {
	case r.at() < (r.end-4)*8:
		return fmt.Errorf("%w: no such Huffman code", ErrFormat)
	case s.next == len(s.data):
		return ErrTruncated
	}
	return fmt.Errorf("%w: a scan ends too early", ErrFormat)
}
