package jpeg

import (
	"bytes"
	"encoding/binary"
)

// slack is how many bytes may be read behind a segment before the check that ends every block finds it out: 64 codes of
// 16 bits with 16 bits behind each are 256 bytes, and a refill loads 8.
const slack = 512

// reader reads the bits of one entropy-coded segment whose stuffed zeros have been taken out. Reading
// past the end yields zeros or bytes of what follows; drained tells.
type reader struct {
	acc    uint64 // the next bits, first one highest
	n      int    // how many bits of acc count
	pos    int    // next byte of buf
	end    int    // of the segment in buf; slack bytes more may be read
	buf    []byte
	eobRun int // blocks without further coefficients (ITU-T T.81, G.1.2.2)
}

// seek goes on at a bit of buf.
func (r *reader) seek(bit int) {
	r.acc, r.n, r.pos = 0, 0, bit>>3
	r.acc, r.n, r.pos = refill(r.acc, r.n, r.pos, r.buf)
	r.acc <<= uint(bit & 7)
	r.n -= bit & 7
}

// at is the bit of buf that comes next.
func (r *reader) at() int { return r.pos*8 - r.n }

// drained says that bits behind the segment's end were used.
func (r *reader) drained() bool { return r.at() > r.end*8 }

// refill brings n to at least 56. Bits of acc below n may be set already: they are the ones that the next refill puts there.
func refill(acc uint64, n, pos int, buf []byte) (uint64, int, int) {
	acc |= binary.BigEndian.Uint64(buf[pos:]) >> (uint(n) & 63)
	return acc, n | 56, pos + (63-n)>>3
}

// symbol reads one code; ok is false where the bits are no code of t.
func (r *reader) symbol(t *table) (s uint8, ok bool) {
	if r.n < 32 {
		r.acc, r.n, r.pos = refill(r.acc, r.n, r.pos, r.buf)
	}
	e := t.codes[r.acc>>(64-fastBits)]
	if e == 0 {
		if e = t.long(r.acc); e == 0 {
			return 0, false
		}
	}
	r.acc <<= e & 63
	r.n -= int(e & 63)
	return uint8(e >> 8), true
}

// take reads n ≤ 16 bits.
func (r *reader) take(n int) int {
	if r.n < 32 {
		r.acc, r.n, r.pos = refill(r.acc, r.n, r.pos, r.buf)
	}
	v := int(r.acc >> 1 >> (63 - uint(n)))
	r.acc <<= uint(n)
	r.n -= n
	return v
}

// extended reads n ≤ 16 bits as a signed value (T.81, F.2.2.1).
func (r *reader) extended(n int) int {
	v := r.take(n)
	if n > 0 && v>>(n-1) == 0 {
		v += 1 - 1<<n
	}
	return v
}

// unstuff appends the segment that begins at data[p] without the zeros behind 0xff, and returns where the marker
// that ends it lies; that is len(data) where there is none.
func unstuff(dst, data []byte, p int) ([]byte, int) {
	for {
		i := bytes.IndexByte(data[p:], 0xff)
		if i < 0 || p+i+1 == len(data) {
			return append(dst, data[p:]...), len(data)
		}
		dst = append(dst, data[p:p+i]...)
		p += i
		if data[p+1] != 0 {
			return dst, p
		}
		dst = append(dst, 0xff)
		p += 2
	}
}
