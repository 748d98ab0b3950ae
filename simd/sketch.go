package simd

import "math/bits"

const (
	// SketchLanes is how many codes a block holds.
	SketchLanes = 64
	// MaxSketchWords bounds the words, of 64 bits, of a code.
	MaxSketchWords = 64
	// MaxSketchPlanes bounds the bit planes of a probe.
	MaxSketchPlanes = 8
	// MaxSketchProbes is how many probes share a pass at most.
	MaxSketchProbes = 8
)

// ScanSketch compares 1, 2, 4 or 8 probes with blocks of 1-bit codes in one pass and appends to out[p] each code whose
// distance to probe p is at most bounds[p], in the order of rows. It returns how many blocks it did: fewer than all if
// some list has no room for a whole block, 64 entries, which is when the caller empties it and goes on from there.
//
// blocks is uint64[n][words][64]: word w of the code of lane l is at w×64+l (a diagram is in doc.go); the first lane
// has row number firstRow. A probe is planes × words, planes ≥ 1, made ready by PackProbes. The distance is
//
//	Σ_j 2^j popcount(plane_j XOR code)
//
// With one plane that is Hamming's. With the four of QuantizeProbe4 it is an affine image of the inner product of the
// quantised probe and the code's signs (doc.go), which is what RaBitQ estimates from (arXiv:2405.12497, section 3.3; it
// has AND for XOR, and so needs the number of ones of each code as well).
//
// len(bounds) = len(out) is the number of probes. It allocates nothing and panics if the lengths don't fit. Safe for
// concurrent use with different out.
func ScanSketch(blocks []uint64, words, planes int, firstRow uint32, packed []uint64, bounds []uint32, out []Survivors) (done int) {
	count := len(bounds)
	switch {
	case count != 1 && count != 2 && count != 4 && count != 8 || len(out) != count:
		panic("BUG: simd: ScanSketch: not 1, 2, 4 or 8 bounds and lists")
	case words < 1 || words > MaxSketchWords || planes < 1 || planes > MaxSketchPlanes || len(packed) != count*planes*words:
		panic("BUG: simd: ScanSketch: words, planes and probes don't fit")
	case len(blocks)%(words*SketchLanes) != 0:
		panic("BUG: simd: ScanSketch: not whole blocks")
	}
	s := sketchPass{count: count, words: words, planes: planes, probes: packed}
	for p := range out {
		s.bounds[p] = -(uint64(bounds[p]) + 1)
		s.outs[p] = newList(&out[p])
	}
	size := words * SketchLanes
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

// PackProbes sets dst to the order in which a pass over blocks reads its probes, 1, 2, 4 or 8 of them: the highest plane
// first, in it word by word, in that probe by probe. probes[p] is plane 0, plane 1, …, each words long. It panics if
// dst isn't of that size.
func PackProbes(dst []uint64, probes [][]uint64, planes int) {
	count := len(probes)
	for p, probe := range probes {
		words := len(probe) / planes
		if words*planes != len(probe) || len(dst) != count*len(probe) {
			panic("BUG: simd: PackProbes: dst and probes don't fit")
		}
		for j := range planes {
			for w := range words {
				dst[((planes-1-j)*words+w)*count+p] = probe[j*words+w]
			}
		}
	}
}

// PutCode writes a code into the lane of a row, counted from the first of blocks. words is len(code).
func PutCode(blocks []uint64, row int, code []uint64) {
	block := blocks[row/SketchLanes*len(code)*SketchLanes:][:len(code)*SketchLanes]
	for w, x := range code {
		block[w*SketchLanes+row%SketchLanes] = x
	}
}

// sketchPass is what the kernels read and write besides the blocks.
type sketchPass struct {
	count, words, planes int
	probes               []uint64
	bounds               [MaxSketchProbes]uint64 // −(bound+1): added to a survivor's distance it is negative
	outs                 [MaxSketchProbes]list
}

// blocksPerCall keeps a call at some tens of µs, also where counting is dearer than reading.
func (s *sketchPass) blocksPerCall() int {
	return max(1, callBytes/(s.words*8*SketchLanes*max(1, s.count*s.planes/8)))
}

func (s *sketchPass) scanGeneric(blocks []uint64, n int, row uint64) int {
	size := s.words * SketchLanes
	for b := range n {
		if !hasRoom(s.outs[:s.count]) {
			return b
		}
		block := blocks[b*size:][:size]
		for lane := range SketchLanes {
			for p := range s.count {
				if v := s.distanceGeneric(block, lane, p); int64(v+s.bounds[p]) < 0 {
					s.outs[p].put(uint32(row)+uint32(b*SketchLanes+lane), uint32(v))
				}
			}
		}
	}
	return n
}

func (s *sketchPass) distanceGeneric(block []uint64, lane, p int) (value uint64) {
	probes := s.probes[p:]
	for j := range s.planes {
		value *= 2
		for w := range s.words {
			value += uint64(bits.OnesCount64(block[w*SketchLanes+lane] ^ probes[(j*s.words+w)*s.count]))
		}
	}
	return value
}
