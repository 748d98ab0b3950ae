//go:build !race

package simd

import "testing"

func TestNothingAllocates(t *testing.T) {
	const dim, words = 512, 8
	r, err := NewRotation(dim, 1)
	if err != nil {
		t.Fatal(err)
	}
	out := []Survivors{{make([]uint32, 0, SketchLanes), make([]uint32, 0, SketchLanes)}} // the lists belong on the heap
	var scaler RowScaler
	var spans []Span
	for i := range 64 {
		spans = append(spans, Span{From: i, N: 1})
	}
	norm := NewNormaliser([3]float32{}, [3]float32{1, 1, 1})
	eachLevel(t, func(t *testing.T) {
		scaler.Reset(64, spans, []float32{1})
		for name, f := range map[string]func(){
			"pixels": func() {
				var row, rgb [3 * 64]uint8
				var line, sum [3 * 64]float32
				var mix [34]uint16
				var sums [3 * 65]uint32
				var block [64]int32
				var along [16]float64
				scaler.Scale(line[:], row[:])
				lines := [4][]float32{line[:], sum[:]}
				weights := [2]float32{.5, .25}
				MixLines(rgb[:], &lines, weights[:])
				AddScaled(sum[:], line[:], .5)
				RoundBytes(rgb[:], sum[:])
				norm.Planes(line[:64], line[64:128], line[128:], rgb[:])
				MixSamples(mix[:], row[:34], row[34:68])
				DoubleSamples(row[:64], mix[:])
				YCbCrToRGB(rgb[:], row[:64], row[64:128], row[128:])
				InverseDCT(rgb[:], 8, &block, 8)
				ReplaceSamples(sums[:64], row[:64], row[64:128])
				BoxMeans(rgb[:], sums[:], 2)
				Bilinear(rgb[:48], row[:], 4, &Ramp{A: along[:], B: 1}, &Ramp{A: along[:], B: 1})
			},
			"DotRows": func() {
				var q, rows [dim]float32
				var dst [1]float32
				DotRows(dst[:], q[:], rows[:], dim)
			},
			"DotQueries": func() {
				var qs, rows [2 * dim]float32
				var dst [4]float32
				DotQueries(dst[:], qs[:], rows[:], dim)
			},
			"AddRows": func() {
				var src, rows [2 * dim]float32
				var coefs [4]float32
				AddRows(src[:], src[:], coefs[:], rows[:], 2, dim)
			},
			"int8": func() {
				var src [dim]float32
				var q, row [dim]int8
				var dst [1]int32
				QuantizeInt8(q[:], src[:])
				DotInt8Rows(dst[:], q[:], row[:], dim)
				var list [1]uint32
				DotInt8Gather(dst[:], q[:], row[:], dim, list[:])
				at := [1]*int8{&row[0]}
				DotInt8At(dst[:], q[:], at[:])
			},
			"sketch": func() {
				var blocks [words * SketchLanes]uint64
				var probe, packed [words]uint64
				bounds, probes := [1]uint32{7}, [1][]uint64{probe[:]}
				out[0].Rows, out[0].Values = out[0].Rows[:0], out[0].Values[:0]
				PutCode(blocks[:], 3, probe[:])
				PackProbes(packed[:], probes[:], 1)
				ScanSketch(blocks[:], words, 1, 0, packed[:], bounds[:], out)
			},
			"nibbles": func() {
				var blocks [16 * SketchLanes]byte
				var code [16]byte
				var table, packed [32 * 16]byte
				bounds, tables := [1]uint8{7}, [1][]byte{table[:]}
				out[0].Rows, out[0].Values = out[0].Rows[:0], out[0].Values[:0]
				PutNibbles(blocks[:], 3, code[:])
				PackTables(packed[:], tables[:])
				ScanNibbles(blocks[:], 32, 0, packed[:], bounds[:], out)
			},
			"rotate": func() {
				var v [dim]float32
				var code [words]uint64
				var planes [4 * words]uint64
				v[3] = 2
				Normalize(v[:])
				Rotate(v[:], v[:], r)
				SignBits(code[:], v[:])
				QuantizeProbe4(planes[:], v[:])
			},
			"sum": func() { sink += SumWords(make([]uint64, 999)) },
		} {
			if n := testing.AllocsPerRun(100, f); n != 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	})
}
