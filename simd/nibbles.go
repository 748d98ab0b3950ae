package simd

const (
	// MaxNibbles bounds the positions of a code of nibbles.
	MaxNibbles = 64
	// MaxNibbleBound bounds the bounds of ScanNibbles, because a distance of 255 says "255 or more".
	MaxNibbleBound = 254

	nibbleTable = 16 // entries, of a byte each, of the table of a position
)

// ScanNibbles compares 1, 2, 4 or 8 probes with blocks of codes of 4-bit nibbles in one pass and appends to out[p] each
// code whose distance to probe p is at most bounds[p] ≤ MaxNibbleBound, in the order of rows. It returns how many blocks
// it did: fewer than all if some list has no room for a whole block, 64 entries, which is when the caller empties it and
// goes on from there.
//
// blocks is uint8[n][nibbles/2][64]: byte j of the code of lane l is at j×64+l, position 2j its low nibble, position
// 2j+1 its high one (a diagram is in doc.go); nibbles is even, 2 ≤ nibbles ≤ MaxNibbles; the first lane has row number
// firstRow. A probe is uint8[nibbles][16], made ready by PackTables. The distance is
//
//	min(255, Σ_i table[i][nibble i of the code])
//
// This is the fast scan of product quantisers with 16 centroids a position (André et al., arXiv:1704.07355): the tables
// stay in registers' width, and a shuffle looks up as many lanes as it has bytes.
//
// len(bounds) = len(out) is the number of probes. It allocates nothing and panics if the lengths don't fit. Safe for
// concurrent use with different out.
func ScanNibbles(blocks []byte, nibbles int, firstRow uint32, packed []byte, bounds []uint8, out []Survivors) (done int) {
	count := len(bounds)
	switch {
	case count != 1 && count != 2 && count != 4 && count != 8 || len(out) != count:
		panic("BUG: simd: ScanNibbles: not 1, 2, 4 or 8 bounds and lists")
	case nibbles < 2 || nibbles > MaxNibbles || nibbles%2 != 0 || len(packed) != count*nibbles*nibbleTable:
		panic("BUG: simd: ScanNibbles: nibbles and probes don't fit")
	case len(blocks)%(nibbles/2*SketchLanes) != 0:
		panic("BUG: simd: ScanNibbles: not whole blocks")
	}
	s := nibblePass{count: count, lines: nibbles / 2, tables: packed}
	for p := range out {
		if bounds[p] > MaxNibbleBound {
			panic("BUG: simd: ScanNibbles: a bound of 255")
		}
		s.bounds[p] = bounds[p]
		s.outs[p] = newList(&out[p])
	}
	size := s.lines * SketchLanes
	n, step := len(blocks)/size, s.blocksPerCall()
	for done < n && hasRoom(s.outs[:count]) {
		do := min(step, n-done)
		did := s.scan(blocks[done*size:], do, uint64(firstRow)+uint64(done)*SketchLanes)
		done += did
	}
	for p := range out {
		out[p].extend(s.outs[p].n)
	}
	return done
}

// PackTables sets dst to the order in which a pass over blocks reads its tables, of 1, 2, 4 or 8 probes: byte by byte of a
// code, in it probe by probe, in that the low nibble's table and the high one's. tables[p] is uint8[nibbles][16]. It
// panics if dst isn't of that size.
func PackTables(dst []byte, tables [][]byte) {
	const pair = 2 * nibbleTable
	for p, t := range tables {
		if len(t)%pair != 0 || len(dst) != len(tables)*len(t) {
			panic("BUG: simd: PackTables: dst and tables don't fit")
		}
		for j := range len(t) / pair {
			copy(dst[(j*len(tables)+p)*pair:], t[j*pair:][:pair])
		}
	}
}

// PutNibbles writes a code into the lane of a row, counted from the first of blocks. len(code) is half the nibbles.
func PutNibbles(blocks []byte, row int, code []byte) {
	block := blocks[row/SketchLanes*len(code)*SketchLanes:][:len(code)*SketchLanes]
	for j, x := range code {
		block[j*SketchLanes+row%SketchLanes] = x
	}
}

// nibblePass is what the kernels read and write besides the blocks.
type nibblePass struct {
	count, lines int // lines, of 64 lanes, of a block
	tables       []byte
	bounds       [MaxSketchProbes]uint8
	outs         [MaxSketchProbes]list
}

// blocksPerCall keeps a call at some tens of µs, also where every lane survives.
func (s *nibblePass) blocksPerCall() int {
	return max(1, callBytes/(s.lines*SketchLanes*max(1, s.count/2)))
}

func (s *nibblePass) scanGeneric(blocks []byte, n int, row uint64) int {
	size := s.lines * SketchLanes
	for b := range n {
		if !hasRoom(s.outs[:s.count]) {
			return b
		}
		block := blocks[b*size:][:size]
		for lane := range SketchLanes {
			for p := range s.count {
				if v := s.distanceGeneric(block, lane, p); v <= uint32(s.bounds[p]) {
					s.outs[p].put(uint32(row)+uint32(b*SketchLanes+lane), v)
				}
			}
		}
	}
	return n
}

func (s *nibblePass) distanceGeneric(block []byte, lane, p int) (value uint32) {
	for j := range s.lines {
		code, tables := block[j*SketchLanes+lane], s.tables[(j*s.count+p)*2*nibbleTable:]
		value += uint32(tables[code&15]) + uint32(tables[nibbleTable+code>>4])
	}
	return min(value, 255)
}
