package jpeg

import "fmt"

const (
	fastBits = 10 // codes and coefficients up to this length take one look; 9 and 11 were slower
	skipBits = 12
)

// table decodes one Huffman code (T.81, annex C).
//
// An entry of fast and codes is length | symbol<<8 | value<<16; 0 means a code of more than fastBits bits. In codes the
// length is the code's and there is no value. In fast, where the value bits behind the code lie within fastBits too, the
// length covers both and value is the coefficient, which is never 0.
//
// An entry of skip is length | advance<<4 | end<<11 and stands for as many whole AC coefficients as fit: they advance
// the index by so much, and after them comes the end of the block or not. 0 means none fits.
type table struct {
	known   bool
	built   bool      // fast, codes, limit and offset were made
	skipped bool      // skip was made
	counts  [16]uint8 // of codes by length, from 1
	fast    [1 << fastBits]uint32
	codes   [1 << fastBits]uint32
	skip    [1 << skipBits]uint16
	limit   [17]uint32 // of codes of each length, aligned to 16 bits: below it they end
	offset  [17]int    // of each length's first code in values, less the code
	values  [256]uint8
}

// set defines the table from DHT's counts by length and its values. Codes that outgrow their length are an error. The
// lookup tables are left to build, for a file may define a hundred thousand tables that no scan uses.
func (t *table) set(counts *[16]uint8, values []uint8) error {
	t.known, t.built, t.skipped = true, false, false
	t.counts = *counts
	copy(t.values[:], values)
	code := 0
	for i, n := range counts {
		if code += int(n); code > 2<<i {
			return fmt.Errorf("%w: a Huffman table of more codes than its lengths allow", ErrFormat)
		}
		code <<= 1
	}
	return nil
}

// build makes the lookup tables, of class AC or DC, for the first scan behind a definition.
func (t *table) build(ac bool) {
	if t.built {
		return
	}
	t.built = true
	clear(t.codes[:])
	code, k := 0, 0
	for i, n := range t.counts {
		length := i + 1
		t.offset[length] = k - code
		for range n {
			t.fill(code, length, t.values[k])
			code, k = code+1, k+1
		}
		t.limit[length] = uint32(code) << (16 - length)
		code <<= 1
	}
	t.fast = t.codes
	for i, e := range t.codes {
		t.fast[i] = withValue(e, uint32(i), ac)
	}
}

// forget makes every code unknown.
func (t *table) forget() {
	if t.known {
		*t = table{}
	}
}

func (t *table) fill(code, length int, symbol uint8) {
	if length > fastBits {
		return
	}
	at, n := code<<(fastBits-length), 1<<(fastBits-length)
	for i := range t.codes[at : at+n] {
		t.codes[at+i] = uint32(length) | uint32(symbol)<<8
	}
}

// withValue adds to entry e the value that follows in bits, if it lies there whole.
func withValue(e, bits uint32, ac bool) uint32 {
	length, size := int(e&63), int(e>>8&255)
	if ac {
		size &= 15
	}
	if e == 0 || size == 0 || length+size > fastBits {
		return e
	}
	v := int(bits>>(fastBits-length-size)) & (1<<size - 1)
	if v>>(size-1) == 0 {
		v += 1 - 1<<size
	}
	return e + uint32(size) | uint32(v)<<16
}

// long finds the code at the head of acc where it is longer than fastBits; the result is an entry of codes, 0 if there is none.
func (t *table) long(acc uint64) uint32 {
	c := uint32(acc >> 48)
	for length := fastBits + 1; length <= 16; length++ {
		if c < t.limit[length] {
			return uint32(length) | uint32(t.values[t.offset[length]+int(c>>(16-length))])<<8
		}
	}
	return 0
}

// makeSkip fills skip.
func (t *table) makeSkip() {
	if t.skipped {
		return
	}
	t.skipped = true
	for i := range t.skip {
		t.skip[i] = t.skipEntry(uint64(i) << (64 - skipBits))
	}
}

func (t *table) skipEntry(acc uint64) uint16 {
	used, advance := 0, 0
	for {
		e := t.codes[acc>>(64-fastBits)]
		length, run, size := int(e&63), int(e>>12&15), int(e>>8&15)
		switch {
		case e == 0 || used+length+size > skipBits || size == 0 && run != 0 && run != 15 || advance+run > 62:
			return uint16(used | advance<<4)
		case size == 0 && run == 0:
			return uint16(used + length | advance<<4 | 1<<11)
		}
		used, advance, acc = used+length+size, advance+run+1, acc<<(length+size)
	}
}
