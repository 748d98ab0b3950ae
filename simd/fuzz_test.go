package simd

import (
	"math"
	"math/rand/v2"
	"testing"
)

func FuzzDotRows(f *testing.F) {
	f.Add(uint64(1), uint16(17), uint8(3), uint8(1))
	f.Add(uint64(2), uint16(512), uint8(5), uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, dim uint16, n, pad uint8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		d, rows := int(dim)%1030, int(n)%13+1
		fs := []func(*rand.Rand) float32{fills["normal"], fills["spread"], fills["denormal"], fills["mixed"]}
		for _, level := range Levels() {
			useLevel(t, level)
			testDotRows(t, rng, level, d, rows, roundUp(d, FloatLine)+FloatLine*int(pad%3), fs[seed%4])
		}
	})
}

func FuzzInt8(f *testing.F) {
	f.Add(uint64(1), []byte{0x80, 0x7f, 0, 1}, uint8(3))
	f.Add(uint64(2), make([]byte, 512), uint8(200))
	f.Fuzz(func(t *testing.T, seed uint64, bytes []byte, n uint8) {
		rng := rand.New(rand.NewPCG(seed, 2))
		rows, dim := int(n)%9+1, min(len(bytes), 4096)
		stride := roundUp(dim, ByteLine)
		q, m := guarded[int8](t, dim), guarded[int8](t, rows*stride)
		for i := range q {
			q[i] = int8(bytes[i])
		}
		for i := range m {
			m[i] = int8(rng.Uint32())
		}
		want := make([]int64, rows)
		for i := range want {
			for j, x := range q {
				want[i] += int64(x) * int64(m[i*stride+j])
			}
		}
		for _, level := range Levels() {
			useLevel(t, level)
			dst := guarded[int32](t, rows)
			DotInt8Rows(dst, q, m, stride)
			for i := range dst {
				if int64(dst[i]) != want[i] {
					t.Fatalf("%s row %d: %d, want %d", level, i, dst[i], want[i])
				}
			}
			list, gathered := guarded[uint32](t, int(n)), guarded[int32](t, int(n))
			for i := range list {
				list[i] = rng.Uint32N(uint32(rows))
			}
			DotInt8Gather(gathered, q, m, stride, list)
			for i, r := range list {
				if gathered[i] != dst[r] {
					t.Fatalf("%s row %d gathered: %d, want %d", level, r, gathered[i], dst[r])
				}
			}
			lines, at := q[:dim&^(ByteLine-1)], guarded[*int8](t, int(n))
			if len(lines) == 0 {
				continue
			}
			for i, r := range list {
				at[i] = &m[int(r)*stride]
			}
			DotInt8Rows(dst, lines, m, stride)
			DotInt8At(gathered, lines, at)
			for i, r := range list {
				if gathered[i] != dst[r] {
					t.Fatalf("%s row %d at its address: %d, want %d", level, r, gathered[i], dst[r])
				}
			}
		}
	})
}

// FuzzPrepare: any bits at all, the same from every level.
func FuzzPrepare(f *testing.F) {
	f.Add(uint64(1), uint16(100), uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, dim uint16, mask uint8) {
		rng := rand.New(rand.NewPCG(seed, 3))
		v := make([]float32, int(dim)%600)
		for i := range v {
			v[i] = math.Float32frombits(rng.Uint32() &^ (uint32(mask) << 23))
		}
		type result struct {
			codes  []int8
			words  []uint64
			scales [3]uint32
		}
		var first *result
		for _, level := range Levels() {
			useLevel(t, level)
			words := (len(v) + 63) / 64
			r := &result{make([]int8, len(v)), make([]uint64, 5*words), [3]uint32{}}
			r.scales[0] = math.Float32bits(QuantizeInt8(r.codes, v))
			offset, scale := QuantizeProbe4(r.words[words:], v)
			r.scales[1], r.scales[2] = math.Float32bits(offset), math.Float32bits(scale)
			SignBits(r.words[:words], v)
			if first == nil {
				first = r
			}
			for i := range r.codes {
				if r.codes[i] != first.codes[i] {
					t.Fatalf("%s: code %d", level, i)
				}
			}
			for i := range r.words {
				if r.words[i] != first.words[i] {
					t.Fatalf("%s: word %d", level, i)
				}
			}
			if scale == scale && r.scales != first.scales {
				t.Fatalf("%s: scales", level)
			}
		}
	})
}
