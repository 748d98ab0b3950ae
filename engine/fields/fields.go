// Package fields reads and writes what records in the store and files of people are made of: unsigned integers as uvarint (LEB128, at
// most ten bytes, as encoding/binary has it), and strings with their length in bytes before them, as uvarint. It promises that no
// input makes it panic or allocate more than the caller's bounds; what a record's fields mean is its readers' business.
package fields

import "encoding/binary"

// AppendString appends a string and its length before it.
func AppendString[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// Decoder reads fields from Rest and remembers that one was bad: then Rest is nil, and what it returns is zero from there on. So a
// record is read to its end, and Bad looked at once. The zero value is at the end of nothing.
type Decoder struct {
	Rest []byte // what is not read yet
	Bad  bool   // a field was missing, or beyond its bound; its readers set it for what they don't like, too
}

// Of begins with b.
func Of(b []byte) Decoder { return Decoder{Rest: b} }

// Whole reports whether everything was read, and nothing of it bad.
func (d *Decoder) Whole() bool { return !d.Bad && len(d.Rest) == 0 }

func (d *Decoder) fail() { d.Bad, d.Rest = true, nil }

// Uint reads an integer of at most limit.
func (d *Decoder) Uint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.Rest)
	if n <= 0 || v > limit {
		d.fail()
		return 0
	}
	d.Rest = d.Rest[n:]
	return v
}

// Raw reads n bytes, which alias what is decoded; nil if there are fewer.
func (d *Decoder) Raw(n int) []byte {
	if n > len(d.Rest) {
		d.fail()
		return nil
	}
	b := d.Rest[:n:n]
	d.Rest = d.Rest[n:]
	return b
}

// Bytes reads a string of at most limit bytes, which alias what is decoded; nil if it is empty.
func (d *Decoder) Bytes(limit int) []byte {
	if b := d.Raw(int(d.Uint(uint64(limit)))); len(b) > 0 {
		return b
	}
	return nil
}

// String reads a string of at most limit bytes.
func (d *Decoder) String(limit int) string { return string(d.Bytes(limit)) }
