package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// nibbleCase is a random scan and the distances it must find, computed here from the definition.
type nibbleCase struct {
	nibbles, n int
	blocks     []byte
	codes      [][]byte
	tables     [][]byte
	packed     []byte
	bounds     []uint8
	first      uint32
}

// newNibbleCase has tables whose sums lie around most, up to the saturated.
func newNibbleCase(t testing.TB, rng *rand.Rand, nibbles, probes, n, most int) *nibbleCase {
	c := &nibbleCase{nibbles: nibbles, n: n, first: rng.Uint32N(1 << 20)}
	c.blocks = guarded[byte](t, n*nibbles/2*SketchLanes)
	for row := range n * SketchLanes {
		code := make([]byte, nibbles/2)
		for j := range code {
			code[j] = byte(rng.Uint32())
		}
		c.codes = append(c.codes, code)
		PutNibbles(c.blocks, row, code)
	}
	for range probes {
		table := make([]byte, nibbles*16)
		for i := range table {
			table[i] = byte(min(255, rng.IntN(2*most/nibbles+2)))
		}
		c.tables = append(c.tables, table)
	}
	c.packed = guarded[byte](t, probes*nibbles*16)
	PackTables(c.packed, c.tables)
	for p := range probes { // from none to all, all kinds in one pass
		q := []float64{0.01, 0.5, 1, 0, 0.1, 0.001, 0.9, 0.02}[(p+rng.IntN(8))%8]
		var all []uint32
		for row := range n * SketchLanes {
			all = append(all, c.distance(p, row))
		}
		slices.Sort(all)
		c.bounds = append(c.bounds, 0)
		if n > 0 {
			c.bounds[p] = uint8(min(MaxNibbleBound, all[int(q*float64(len(all)-1))]))
		}
	}
	switch rng.IntN(6) {
	case 0:
		c.bounds[0] = MaxNibbleBound
	case 1:
		c.bounds[0] = 0
	}
	return c
}

func (c *nibbleCase) distance(p, row int) (d uint32) {
	for j, x := range c.codes[row] {
		d += uint32(c.tables[p][2*j*16+int(x&15)]) + uint32(c.tables[p][(2*j+1)*16+int(x>>4)])
	}
	return min(d, 255)
}

// check runs the scan with lists of room entries, emptied whenever it stops.
func (c *nibbleCase) check(t *testing.T, room int) {
	t.Helper()
	lists := newTestLists(t, len(c.tables), room)
	lists.run(c.n, func(at int) int {
		return ScanNibbles(c.blocks[at*c.nibbles/2*SketchLanes:], c.nibbles, c.first+uint32(at*SketchLanes), c.packed, c.bounds, lists.out)
	})
	for p, got := range lists.got {
		var want Survivors
		for row := range c.codes {
			if d := c.distance(p, row); d <= uint32(c.bounds[p]) {
				want.Rows, want.Values = append(want.Rows, c.first+uint32(row)), append(want.Values, d)
			}
		}
		if !slices.Equal(got.Rows, want.Rows) || !slices.Equal(got.Values, want.Values) {
			t.Fatalf("%d nibbles, probe %d of %d, bound %d: %d survivors, want %d", c.nibbles, p, len(c.tables), c.bounds[p], len(got.Rows), len(want.Rows))
		}
	}
}

func TestScanNibbles(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(4, 1))
		for nibbles := 2; nibbles <= MaxNibbles; nibbles += 2 {
			for _, probes := range []int{1, 2, 4, 8} {
				for _, most := range []int{5, 120, 250, 2000} {
					c := newNibbleCase(t, rng, nibbles, probes, 1+rng.IntN(3), most)
					c.check(t, 1+c.n*SketchLanes+SketchLanes)
					c.check(t, 65) // a list takes one block at a time
				}
			}
		}
		for _, n := range []int{0, 5, 300} {
			c := newNibbleCase(t, rng, 32, 8, n, 200)
			c.check(t, 1+n*SketchLanes+SketchLanes)
			c.check(t, 200)
		}
	})
}

// Distances of 0, 254, 255 and far more, at the bounds that tell them apart.
func TestScanNibblesSaturates(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, nibbles := range []int{2, 32, MaxNibbles} {
			for _, sum := range []int{0, 1, 253, 254, 255, 256, 510, 255 * nibbles} {
				if sum > 255*nibbles {
					continue
				}
				table, packed := make([]byte, nibbles*16), make([]byte, nibbles*16)
				for i, left := 0, sum; i < nibbles; i++ { // the code is all ones
					add := min(left, 255, max(sum/nibbles, 127))
					if i == nibbles-1 || sum == 255*nibbles {
						add = min(left, 255)
					}
					table[i*16+15] = byte(add)
					left -= add
				}
				PackTables(packed, [][]byte{table})
				blocks := slices.Repeat([]byte{0xff}, 3*nibbles/2*SketchLanes)
				for _, bound := range []uint8{0, 1, 253, MaxNibbleBound} {
					out := []Survivors{{make([]uint32, 0, 256), make([]uint32, 0, 256)}}
					want := 0
					if sum <= int(bound) {
						want = 3 * SketchLanes
					}
					done := ScanNibbles(blocks, nibbles, math.MaxUint32-191, packed, []uint8{bound}, out)
					if done != 3 || len(out[0].Rows) != want {
						t.Errorf("%d nibbles, sum %d, bound %d: %d blocks, %d survivors", nibbles, sum, bound, done, len(out[0].Rows))
					} else if want > 0 && (int(out[0].Values[5]) != sum || out[0].Rows[191] != math.MaxUint32) {
						t.Errorf("%d nibbles, sum %d, bound %d: %d, %d", nibbles, sum, bound, out[0].Values[5], out[0].Rows[191])
					}
				}
				none := []Survivors{{make([]uint32, 0, 63), make([]uint32, 0, 64)}}
				if done := ScanNibbles(blocks, nibbles, 0, packed, []uint8{0}, none); done != 0 {
					t.Errorf("%d blocks were done without room", done)
				}
			}
		}
	})
}

func TestScanNibblesRefuses(t *testing.T) {
	u, o := func(n int) []byte { return make([]byte, n) }, func(n int) []Survivors { return make([]Survivors, n) }
	uneven := []Survivors{{Rows: make([]uint32, 1), Values: nil}}
	for name, call := range map[string]func(){
		"probes":  func() { ScanNibbles(u(64), 2, 0, u(96), u(3), o(3)) },
		"lists":   func() { ScanNibbles(u(64), 2, 0, u(64), u(2), o(1)) },
		"nibbles": func() { ScanNibbles(u(64), 0, 0, u(0), u(1), o(1)) },
		"odd":     func() { ScanNibbles(u(64), 3, 0, u(48), u(1), o(1)) },
		"wide":    func() { ScanNibbles(u(33*64), 66, 0, u(66*16), u(1), o(1)) },
		"packed":  func() { ScanNibbles(u(64), 2, 0, u(31), u(1), o(1)) },
		"blocks":  func() { ScanNibbles(u(96), 2, 0, u(32), u(1), o(1)) },
		"bound":   func() { ScanNibbles(u(64), 2, 0, u(32), []uint8{255}, o(1)) },
		"uneven":  func() { ScanNibbles(u(64), 2, 0, u(32), u(1), uneven) },
		"pack":    func() { PackTables(u(48), [][]byte{u(48)}) },
		"pack of": func() { PackTables(u(63), [][]byte{u(64)}) },
		"put":     func() { PutNibbles(u(64), 64, u(1)) },
	} {
		if m := panics(call); !strings.Contains(m, "BUG: simd: ") && !strings.Contains(m, "out of range") {
			t.Errorf("%s: %q", name, m)
		}
	}
}

func FuzzScanNibbles(f *testing.F) {
	f.Add(uint64(1), uint8(15), uint8(3), uint8(3), uint16(100), uint16(200))
	f.Add(uint64(2), uint8(31), uint8(0), uint8(1), uint16(65), uint16(9000))
	f.Fuzz(func(t *testing.T, seed uint64, pairs, probes, n uint8, room, most uint16) {
		rng := rand.New(rand.NewPCG(seed, 4))
		c := newNibbleCase(t, rng, 2+2*(int(pairs)%(MaxNibbles/2)), 1<<(probes%4), int(n%9), int(most))
		for _, name := range Levels() {
			t.Run(fmt.Sprint(name), func(t *testing.T) {
				useLevel(t, name)
				c.check(t, 65+int(room)%600)
			})
		}
	})
}
