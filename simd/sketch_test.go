package simd

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// scanCase is a random scan and the distances it must find, computed here from the definition.
type scanCase struct {
	words, planes, n int
	blocks           []uint64
	probes           [][]uint64
	packed           []uint64
	bounds           []uint32
	first            uint32
}

func newScanCase(t testing.TB, rng *rand.Rand, words, planes, probes, n int) *scanCase {
	c := &scanCase{words: words, planes: planes, n: n, first: rng.Uint32N(1 << 20)}
	c.blocks = guarded[uint64](t, n*words*SketchLanes)
	for row := range n * SketchLanes {
		PutCode(c.blocks, row, randomWords(rng, words))
	}
	for range probes {
		c.probes = append(c.probes, randomWords(rng, planes*words))
	}
	c.packed = guarded[uint64](t, probes*planes*words)
	PackProbes(c.packed, c.probes, planes)
	for p := range probes { // from none to all, most near the median, all kinds in one pass
		q := []float64{0.01, 0.5, 1, 0, 0.1, 0.001, 0.9, 0.02}[(p+rng.IntN(8))%8]
		var all []uint32
		for row := range n * SketchLanes {
			all = append(all, c.distance(p, row))
		}
		slices.Sort(all)
		if n > 0 {
			c.bounds = append(c.bounds, all[int(q*float64(len(all)-1))])
		} else {
			c.bounds = append(c.bounds, 0)
		}
	}
	if rng.IntN(4) == 0 {
		c.bounds[0] = math.MaxUint32
	}
	return c
}

// randomWords has bytes of all ones and all zeros among the random ones: the most a byte can count.
func randomWords(rng *rand.Rand, n int) []uint64 {
	v := make([]uint64, n)
	for i := range v {
		v[i] = []uint64{rng.Uint64(), rng.Uint64(), 0, math.MaxUint64}[rng.IntN(4)]
	}
	return v
}

func (c *scanCase) distance(p, row int) (d uint32) {
	for w := range c.words {
		code := c.blocks[(row/SketchLanes*c.words+w)*SketchLanes+row%SketchLanes]
		for j := range c.planes {
			d += uint32(bits.OnesCount64(code^c.probes[p][j*c.words+w])) << j
		}
	}
	return d
}

// check runs the scan with lists of room entries, emptied whenever it stops.
func (c *scanCase) check(t *testing.T, room int) {
	t.Helper()
	lists := newTestLists(t, len(c.probes), room)
	lists.run(c.n, func(at int) int {
		return ScanSketch(c.blocks[at*c.words*SketchLanes:], c.words, c.planes, c.first+uint32(at*SketchLanes), c.packed, c.bounds, lists.out)
	})
	for p, got := range lists.got {
		var want Survivors
		for row := range c.n * SketchLanes {
			if d := c.distance(p, row); d <= c.bounds[p] {
				want.Rows, want.Values = append(want.Rows, c.first+uint32(row)), append(want.Values, d)
			}
		}
		if !slices.Equal(got.Rows, want.Rows) || !slices.Equal(got.Values, want.Values) {
			t.Fatalf("%d words, %d planes, probe %d of %d, bound %d: %d survivors, want %d", c.words, c.planes, p, len(c.probes), c.bounds[p], len(got.Rows), len(want.Rows))
		}
	}
}

func TestScanSketch(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 1))
		for _, words := range []int{1, 2, 3, 4, 7, 8, 16, 30, 31, 32, 33, 62, 63, 64} {
			for _, planes := range []int{1, 2, 4, 8} {
				for _, probes := range []int{1, 2, 4, 8} {
					c := newScanCase(t, rng, words, planes, probes, 1+rng.IntN(3))
					c.check(t, 1+c.n*SketchLanes+SketchLanes)
					c.check(t, 65) // a list takes one block at a time
				}
			}
		}
		for _, n := range []int{0, 5, 300} {
			c := newScanCase(t, rng, 2, 1, 8, n)
			c.check(t, 1+n*SketchLanes+SketchLanes)
			c.check(t, 200)
		}
	})
}

func TestScanSketchAllOrNothing(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		blocks := make([]uint64, 3*64*SketchLanes)
		for i := range blocks {
			blocks[i] = math.MaxUint64
		}
		probe, packed := make([]uint64, 8*64), make([]uint64, 8*64)
		PackProbes(packed, [][]uint64{probe}, 8)
		most := uint32(255 * 4096)
		for bound, want := range map[uint32]int{most - 1: 0, most: 3 * SketchLanes, 0: 0} {
			out := []Survivors{{make([]uint32, 0, 256), make([]uint32, 0, 256)}}
			if done := ScanSketch(blocks, 64, 8, math.MaxUint32-191, packed, []uint32{bound}, out); done != 3 || len(out[0].Rows) != want {
				t.Errorf("bound %d: %d blocks, %d survivors", bound, done, len(out[0].Rows))
			} else if want > 0 && (out[0].Values[5] != most || out[0].Rows[191] != math.MaxUint32) {
				t.Errorf("bound %d: %v, %v", bound, out[0].Values[5], out[0].Rows[191])
			}
		}
		none := []Survivors{{make([]uint32, 0, 63), make([]uint32, 0, 64)}}
		if done := ScanSketch(blocks, 64, 8, 0, packed, []uint32{0}, none); done != 0 {
			t.Errorf("%d blocks were done without room", done)
		}
	})
}

func TestScanSketchRefuses(t *testing.T) {
	u, o := func(n int) []uint64 { return make([]uint64, n) }, func(n int) []Survivors { return make([]Survivors, n) }
	uneven := []Survivors{{Rows: make([]uint32, 1), Values: nil}}
	for name, call := range map[string]func(){
		"probes":  func() { ScanSketch(u(64), 1, 1, 0, u(3), make([]uint32, 3), o(3)) },
		"lists":   func() { ScanSketch(u(64), 1, 1, 0, u(2), make([]uint32, 2), o(1)) },
		"words":   func() { ScanSketch(u(64), 0, 1, 0, u(0), make([]uint32, 1), o(1)) },
		"wide":    func() { ScanSketch(u(64), 65, 1, 0, u(65), make([]uint32, 1), o(1)) },
		"planes":  func() { ScanSketch(u(64), 1, 9, 0, u(9), make([]uint32, 1), o(1)) },
		"packed":  func() { ScanSketch(u(64), 1, 4, 0, u(3), make([]uint32, 1), o(1)) },
		"blocks":  func() { ScanSketch(u(96), 1, 1, 0, u(1), make([]uint32, 1), o(1)) },
		"uneven":  func() { ScanSketch(u(64), 1, 1, 0, u(1), make([]uint32, 1), uneven) },
		"pack":    func() { PackProbes(u(3), [][]uint64{u(4)}, 4) },
		"pack of": func() { PackProbes(u(5), [][]uint64{u(5)}, 4) },
	} {
		if m := panics(call); !strings.HasPrefix(m, "BUG: simd: ") {
			t.Errorf("%s: %q", name, m)
		}
	}
}

// The identity that doc.go gives: Σ v̂ᵢ sᵢ = scale × (7.5 dim − distance), s the signs of a code.
func TestPlane4IsAffine(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 2))
	for _, dim := range []int{1, 63, 64, 65, 128, 500, 512} {
		words := (dim + 63) / 64
		v, w := make([]float32, dim), make([]float32, dim)
		fill(v, rng, fills["normal"])
		fill(w, rng, fills["normal"])
		planes, code := make([]uint64, 4*words), make([]uint64, words)
		offset, scale := QuantizeProbe4(planes, v)
		SignBits(code, w)
		distance, want := 0, 0.0
		for j := range 4 {
			for i := range code {
				distance += bits.OnesCount64(planes[j*words+i]^code[i]) << j
			}
		}
		for i := range v {
			u := 0
			for j := range 4 {
				u |= int(planes[j*words+i/64]>>(i%64)&1) << j
			}
			quantised := float64(offset) + float64(scale)*float64(u)
			if !(math.Abs(float64(v[i])-quantised) <= 0.500001*float64(scale)) {
				t.Fatalf("dim %d: %v became %v, scale %v", dim, v[i], quantised, scale)
			}
			want += quantised * math.Copysign(1, float64(w[i]))
		}
		if got := float64(scale) * (7.5*float64(dim) - float64(distance)); !(math.Abs(got-want) <= 1e-6*float64(scale)*7.5*float64(dim)) {
			t.Errorf("dim %d: %v, want %v", dim, got, want)
		}
	}
}

func FuzzScanSketch(f *testing.F) {
	f.Add(uint64(1), uint8(2), uint8(1), uint8(3), uint8(3), uint16(100))
	f.Add(uint64(2), uint8(63), uint8(3), uint8(0), uint8(1), uint16(65))
	f.Fuzz(func(t *testing.T, seed uint64, words, planes, probes, n uint8, room uint16) {
		rng := rand.New(rand.NewPCG(seed, 3))
		c := newScanCase(t, rng, 1+int(words)%MaxSketchWords, 1+int(planes)%MaxSketchPlanes, 1<<(probes%4), int(n%9))
		for _, name := range Levels() {
			t.Run(fmt.Sprint(name), func(t *testing.T) {
				useLevel(t, name)
				c.check(t, 65+int(room)%600)
			})
		}
	})
}
