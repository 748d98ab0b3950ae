package mpc

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"unsafe"
)

// Parties is how many parties hold shares. Their indices are 0, 1 and 2, modulo Parties.
const Parties = 3

// Share is what party i holds of a vector over Z_2^32: components i and i+1 of three that add up to it. Alone it is
// uniform noise; those of two parties are the vector.
type Share struct{ Own, Next []uint32 }

// ShortShare is the same over Z_2^16.
type ShortShare struct{ Own, Next []uint16 }

// Split shares q, drawing from crypto/rand. q is not retained. Share 0's Own is share 2's Next, and so on, in memory as
// well.
func Split(q []uint32) [Parties]Share {
	var c [Parties][]uint32
	for i := range 2 {
		var seed [seedBytes]byte
		rand.Read(seed[:]) // never fails (crypto/rand)
		c[i] = draw(&seed, len(q))
	}
	c[2] = make([]uint32, len(q))
	for j, v := range q {
		c[2][j] = v - c[0][j] - c[1][j]
	}
	return [Parties]Share{{c[0], c[1]}, {c[1], c[2]}, {c[2], c[0]}}
}

// Packed bytes of a share: components that are drawn travel as the seeds they are drawn from.
const seedBytes = 32

// SplitPacked shares q in the form that travels: a component is 0x00 and a seed of 32 bytes, or 0x01 and u32[len(q)]
// little-endian. Component 0 and 1 are drawn, so that party 0 gets two seeds, and the others one and a vector.
func SplitPacked(q []uint32) (shares [Parties][]byte) {
	new(packer).append(&shares, q)
	return shares
}

// packedBytes is the most that a packed share of dim components takes, leastPacked the least.
func packedBytes(dim int) int { return 1 + seedBytes + 1 + 4*dim }
func leastPacked(dim int) int { return 2 * (1 + min(seedBytes, 4*dim)) }

// packer packs shares of one vector after another. What it draws goes into the same memory again.
type packer struct{ drawn [2][]uint32 }

// append appends q's shares, packed, to what each party gets.
func (p *packer) append(dst *[Parties][]byte, q []uint32) {
	var seeds [2][seedBytes]byte
	for i := range seeds {
		rand.Read(seeds[i][:]) // never fails (crypto/rand)
		p.drawn[i] = slices.Grow(p.drawn[i][:0], len(q))[:len(q)]
		drawInto(p.drawn[i], &seeds[i])
	}
	last := p.drawn[0] // in place
	for j, v := range q {
		last[j] = v - last[j] - p.drawn[1][j]
	}
	seed := func(to, i int) { dst[to] = append(append(dst[to], 0), seeds[i][:]...) }
	seed(0, 0)
	seed(0, 1)
	seed(1, 1)
	dst[1] = appendComponent(append(dst[1], 1), last)
	dst[2] = appendComponent(append(dst[2], 1), last)
	seed(2, 0)
}

// draw expands a seed to n components: AES-256-CTR, counter 0.
func draw(seed *[seedBytes]byte, n int) []uint32 {
	c := make([]uint32, n)
	drawInto(c, seed)
	return c
}

func drawInto(c []uint32, seed *[seedBytes]byte) {
	block, err := aes.NewCipher(seed[:])
	if err != nil {
		panic("BUG: mpc: " + err.Error())
	}
	clear(c)
	b := bytesOf(c)
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(b, b)
	if !littleEndian {
		for j := range c {
			c[j] = binary.LittleEndian.Uint32(b[4*j:])
		}
	}
}

// littleEndian says that numbers lie in memory as they are sent. It is a variable for tests.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// bytesOf is the memory of c.
func bytesOf(c []uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(c))), 4*len(c))
}

// UnpackShare reads a packed share of dim components, and returns what is behind it. It does not retain b. ErrShare says
// that it is malformed or cut short.
func UnpackShare(b []byte, dim int) (s Share, rest []byte, err error) {
	if dim < 1 || dim > MaxDim || len(b) < leastPacked(dim) {
		return Share{}, nil, fmt.Errorf("%w: %d bytes for %d components", ErrShare, len(b), dim)
	}
	s = Share{make([]uint32, dim), make([]uint32, dim)}
	if rest, err = s.unpack(b); err != nil {
		return Share{}, nil, err
	}
	return s, rest, nil
}

// unpack is UnpackShare into s, as long as that is.
func (s Share) unpack(b []byte) (rest []byte, err error) {
	for _, c := range [2][]uint32{s.Own, s.Next} {
		switch {
		case len(b) > seedBytes && b[0] == 0:
			drawInto(c, (*[seedBytes]byte)(b[1:]))
			b = b[1+seedBytes:]
		case len(b) > 4*len(c) && b[0] == 1:
			wordsInto(c, b[1:])
			b = b[1+4*len(c):]
		default:
			return nil, fmt.Errorf("%w: packed wrongly or cut short", ErrShare)
		}
	}
	return b, nil
}

// AppendShare appends the components of s, Own and Next, as u32 little-endian: 8 bytes a component of the vector.
func AppendShare(dst []byte, s Share) []byte {
	return appendComponent(appendComponent(dst, s.Own), s.Next)
}

// ParseShare reads what AppendShare wrote, of dim components. It does not retain b. ErrShare: another length.
func ParseShare(b []byte, dim int) (Share, error) {
	if dim < 1 || dim > MaxDim || len(b) != 8*dim {
		return Share{}, fmt.Errorf("%w: %d bytes for %d components", ErrShare, len(b), dim)
	}
	return Share{words(b[:4*dim]), words(b[4*dim:])}, nil
}

// Short is s modulo 2^16, a share of the same vector over Z_2^16.
func (s Share) Short() ShortShare { return ShortShare{short(s.Own), short(s.Next)} }

func (s Share) fits(dim int) bool { return len(s.Own) == dim && len(s.Next) == dim }

func short(c []uint32) []uint16 {
	d := make([]uint16, len(c))
	for j, v := range c {
		d[j] = uint16(v)
	}
	return d
}

func words(b []byte) []uint32 {
	c := make([]uint32, len(b)/4)
	wordsInto(c, b)
	return c
}

func wordsInto(c []uint32, b []byte) {
	if littleEndian {
		copy(bytesOf(c), b)
		return
	}
	for j := range c {
		c[j] = binary.LittleEndian.Uint32(b[4*j:])
	}
}

func shorts(b []byte) []uint16 {
	c := make([]uint16, len(b)/2)
	for j := range c {
		c[j] = binary.LittleEndian.Uint16(b[2*j:])
	}
	return c
}

func appendShorts(dst []byte, c []uint16) []byte {
	at := len(dst)
	dst = slices.Grow(dst, 2*len(c))[:at+2*len(c)]
	for j, v := range c {
		binary.LittleEndian.PutUint16(dst[at+2*j:], v)
	}
	return dst
}

func appendComponent(dst []byte, c []uint32) []byte {
	if littleEndian {
		return append(dst, bytesOf(c)...)
	}
	at := len(dst)
	dst = slices.Grow(dst, 4*len(c))[:at+4*len(c)]
	for j, v := range c {
		binary.LittleEndian.PutUint32(dst[at+4*j:], v)
	}
	return dst
}
