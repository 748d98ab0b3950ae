package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/viterin/vek/vek32"
)

// sizes are where the rows lie: bytes of them.
var sizes = []struct {
	name  string
	bytes int
}{{"L2", 512 << 10}, {"DRAM", 640 << 20}} // this machine's third-level cache holds 480 MiB, shared with other guests

var sink uint64

// big is memory that every benchmark reads, filled once with random bits and once with floats of one magnitude: a
// product of random exponents is denormal, and slow, too often.
var (
	big       []uint64
	bigFloats bool
)

func bigWords(bytes int, floats bool) []uint64 {
	if big == nil || bigFloats != floats {
		if big == nil {
			big = make([]uint64, sizes[len(sizes)-1].bytes/8)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range big {
			big[i] = rng.Uint64()
			if bigFloats = floats; floats {
				big[i] = big[i]&0x80ffffff80ffffff | 0x3f0000003f000000
			}
		}
	}
	return big[:bytes/8]
}

func bigAs[T float32 | int8](bytes int) []T {
	words := bigWords(bytes, true)
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(&words[0])), bytes/int(unsafe.Sizeof(zero)))
}

func eachLevelB(b *testing.B, f func(b *testing.B)) {
	for _, name := range Levels() {
		b.Run(name, func(b *testing.B) {
			useLevel(b, name)
			f(b)
		})
	}
}

// BenchmarkSum is the bandwidth to hold the others against: 64-byte loads and one addition each.
func BenchmarkSum(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			words := bigWords(size.bytes, false)
			b.SetBytes(int64(size.bytes))
			for b.Loop() {
				sink += SumWords(words)
			}
		})
	}
}

func BenchmarkDotRows(b *testing.B) {
	for _, dim := range []int{128, 512} {
		for _, size := range sizes {
			rows := bigAs[float32](size.bytes)
			dst, q := make([]float32, len(rows)/dim), rows[:dim]
			name := fmt.Sprintf("dim=%d/%s", dim, size.name)
			b.Run(name+"/vek", func(b *testing.B) {
				b.SetBytes(int64(size.bytes))
				for b.Loop() {
					for i := range dst {
						dst[i] = vek32.Dot(q, rows[i*dim:(i+1)*dim])
					}
				}
			})
			for _, level := range Levels() {
				for _, queries := range []int{1, 2, 4} {
					if level == "generic" && (queries > 1 || size.name != "L2") {
						continue
					}
					b.Run(fmt.Sprintf("%s/%s/queries=%d", name, level, queries), func(b *testing.B) {
						useLevel(b, level)
						dst, qs := make([]float32, queries*len(dst)), rows[:queries*dim]
						b.SetBytes(int64(size.bytes))
						for b.Loop() {
							DotQueries(dst, qs, rows, dim)
						}
					})
				}
			}
		}
	}
}

// BenchmarkTransform is x + W(Yᵀx) for a batch, Y and W of 192 columns: its halves t = Yᵀx and x + Wt, each by DotQueries
// and by AddRows, and both.
func BenchmarkTransform(b *testing.B) {
	const n, dim, count = 64, 512, 192
	floats := bigAs[float32](2 << 20)
	cut := func(n int) []float32 {
		head := floats[:n]
		floats = floats[n:]
		return head
	}
	x, y, w, t, out := cut(n*dim), cut(count*dim), cut(count*dim), cut(n*count), cut(n*dim)
	add := func() {
		clear(t)
		AddRows(t, t, x, y, dim, count)
	}
	for _, c := range []struct {
		name string
		f    func()
	}{
		{"first/dot", func() { DotQueries(t, x, y, dim) }},
		{"first/add", add},
		{"second/dot", func() { DotQueries(out, t, w, count) }},
		{"second/add", func() { AddRows(out, x, t, w, count, dim) }},
		{"both/dot", func() { DotQueries(t, x, y, dim); DotQueries(out, t, w, count) }},
		{"both/add", func() { add(); AddRows(out, x, t, w, count, dim) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			eachLevelB(b, func(b *testing.B) {
				for b.Loop() {
					c.f()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*b.N), "ns/vector")
			})
		})
	}
}

func BenchmarkDotInt8Rows(b *testing.B) {
	for _, dim := range []int{128, 512} {
		for _, size := range sizes {
			rows := bigAs[int8](size.bytes)
			dst, q := make([]int32, len(rows)/dim), rows[:dim]
			for _, level := range Levels() {
				if level == "generic" && size.name != "L2" {
					continue
				}
				b.Run(fmt.Sprintf("dim=%d/%s/%s", dim, size.name, level), func(b *testing.B) {
					useLevel(b, level)
					b.SetBytes(int64(size.bytes))
					for b.Loop() {
						DotInt8Rows(dst, q, rows, dim)
					}
				})
			}
		}
	}
}

// BenchmarkDotInt8Gather takes one row in a hundred of 640 MiB, in ascending order, each time others. rows is DotInt8Rows
// row by row.
func BenchmarkDotInt8Gather(b *testing.B) {
	const every = 100
	for _, dim := range []int{128, 512} {
		rows := bigAs[int8](sizes[len(sizes)-1].bytes)
		list := make([]uint32, len(rows)/dim/every)
		dst, q, shifts, turn := make([]int32, len(list)), rows[:dim], make([]uint32, len(list)), uint32(0)
		rng := rand.New(rand.NewPCG(1, 4))
		for i := range shifts {
			shifts[i] = rng.Uint32N(every)
		}
		run := func(b *testing.B, f func()) {
			b.SetBytes(int64(len(list) * dim))
			for b.Loop() {
				b.StopTimer()
				for i := range list {
					list[i] = uint32(i*every) + (shifts[i]+turn)%every
				}
				turn += 37
				b.StartTimer()
				f()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/row")
		}
		for _, level := range Levels() {
			b.Run(fmt.Sprintf("dim=%d/%s", dim, level), func(b *testing.B) {
				useLevel(b, level)
				run(b, func() { DotInt8Gather(dst, q, rows, dim, list) })
			})
			b.Run(fmt.Sprintf("dim=%d/%s/rows", dim, level), func(b *testing.B) {
				useLevel(b, level)
				run(b, func() {
					for i, r := range list {
						DotInt8Rows(dst[i:i+1], q, rows[int(r)*dim:][:dim], dim)
					}
				})
			})
		}
	}
}

// BenchmarkDotInt8At takes lists of random rows, as a search of a graph does: each list waits for the result of the one
// before. of-rows is its time in that of DotInt8Rows row by row, in turns.
func BenchmarkDotInt8At(b *testing.B) {
	const rowsATurn = 1 << 16
	for _, dim := range []int{192, 512} {
		for _, size := range sizes {
			area := bigAs[int8](size.bytes)
			at := make([]*int8, min(64*rowsATurn, 4*size.bytes/dim)&^(rowsATurn-1)+rowsATurn)
			rng := rand.New(rand.NewPCG(1, 5))
			for i := range at {
				at[i] = &area[rng.IntN(len(area)/dim)*dim]
			}
			for _, n := range []int{8, 16, 32} {
				dst, q, next := make([]int32, n), area[:dim], 0
				turn := func(f func(rows []*int8)) func() {
					return func() {
						for range rowsATurn / n {
							f(at[next+int(dst[n-1])&nothing:][:n])
							next += n
						}
						next %= len(at)
					}
				}
				for _, level := range Levels() {
					b.Run(fmt.Sprintf("dim=%d/%s/list=%d/%s", dim, size.name, n, level), func(b *testing.B) {
						useLevel(b, level)
						best := inTurns(b, turn(func(rows []*int8) { DotInt8At(dst, q, rows) }), turn(func(rows []*int8) {
							for i, row := range rows {
								DotInt8Rows(dst[i:i+1], q, unsafe.Slice(row, dim), dim)
							}
						}))
						b.ReportMetric(best[0]*1e9/rowsATurn, "ns/row")
						b.ReportMetric(best[0]/best[1], "of-rows")
					})
				}
			}
		}
	}
}

// nothing is 0, and the compiler doesn't know.
var nothing int

// BenchmarkScanSketch scans random codes with bounds that pass about one in a thousand. SetBytes counts the codes, not
// probes × codes; ns/cmp is per comparison of a probe with a code.
func BenchmarkScanSketch(b *testing.B) {
	for _, words := range []int{2, 8} {
		for _, size := range sizes {
			blocks := bigWords(size.bytes, false)
			for _, planes := range []int{1, 4} {
				for _, level := range Levels() {
					for _, probes := range []int{1, 2, 4, 8} {
						if level == "generic" && (probes > 1 || size.name != "L2") {
							continue
						}
						b.Run(fmt.Sprintf("words=%d/%s/planes=%d/%s/probes=%d", words, size.name, planes, level, probes), func(b *testing.B) {
							useLevel(b, level)
							benchmarkScan(b, blocks, words, planes, probes)
						})
					}
				}
			}
		}
	}
}

// BenchmarkInTurns times what is to be compared in turns, over 640 MiB, 10 million codes of 64 bytes, and reports ratios
// of the best: on a shared machine the speed of memory changes by the minute. of-sum is the bandwidth of a pass of one
// probe in that of SumWords; x8 is how many more comparisons a second eight probes make than one; of-vek is DotRows in a
// loop over vek32.Dot. With two cores, each has a goroutine and half of the memory.
func BenchmarkInTurns(b *testing.B) {
	bytes := sizes[len(sizes)-1].bytes
	for _, level := range Levels() {
		if level == "generic" {
			continue
		}
		for cores := 1; cores <= min(2, runtime.GOMAXPROCS(0)); cores++ {
			suffix := fmt.Sprintf("/cores=%d", cores)
			for _, words := range []int{2, 8} {
				for _, planes := range []int{1, 4} {
					b.Run(fmt.Sprintf("%s/words=%d/planes=%d%s", level, words, planes, suffix), func(b *testing.B) {
						useLevel(b, level)
						inTurnsScan(b, cores, func(probes int) func(blocks []uint64) {
							s := newScanBench(bytes/8/cores, words, planes, probes)
							return func(blocks []uint64) { s.run(b, blocks) }
						})
					})
				}
			}
			b.Run(level+"/nibbles=32"+suffix, func(b *testing.B) {
				useLevel(b, level)
				inTurnsScan(b, cores, func(probes int) func(blocks []uint64) {
					s := newNibbleBench(bytes/cores, 32, probes, 1)
					return func(blocks []uint64) { s.run(b, asBytes(blocks)) }
				})
			})
		}
		b.Run(level+"/dot=512", func(b *testing.B) {
			rows := bigAs[float32](bytes)
			useLevel(b, level)
			dst := make([]float32, len(rows)/512)
			best := inTurns(b, func() { sink += SumWords(big) }, func() {
				for i := range dst {
					dst[i] = vek32.Dot(rows[:512], rows[i*512:(i+1)*512])
				}
			}, func() { DotRows(dst, rows[:512], rows, 512) })
			b.ReportMetric(float64(bytes)/best[2]*1e-9, "GB/s")
			b.ReportMetric(best[0]/best[2], "of-sum")
			b.ReportMetric(best[1]/best[2], "of-vek")
		})
	}
}

// inTurnsScan compares scans of one and of eight probes, made by newScan for each core, with SumWords on as many cores.
func inTurnsScan(b *testing.B, cores int, newScan func(probes int) func(blocks []uint64)) {
	blocks := bigWords(sizes[len(sizes)-1].bytes, false)
	part := len(blocks) / cores
	each := func(fs []func(blocks []uint64)) func() {
		return func() {
			var wg sync.WaitGroup
			for i, f := range fs {
				wg.Go(func() { f(blocks[i*part:][:part]) })
			}
			wg.Wait()
		}
	}
	totals := make([]struct { // of a core, and its cache line
		sum uint64
		_   [56]byte
	}, cores)
	var sums, one, eight []func(blocks []uint64)
	for i := range cores {
		sums = append(sums, func(blocks []uint64) { totals[i].sum += SumWords(blocks) })
		one, eight = append(one, newScan(1)), append(eight, newScan(8))
	}
	best := inTurns(b, each(sums), each(one), each(eight))
	b.ReportMetric(float64(8*len(blocks))/best[0]*1e-9, "sum-GB/s")
	b.ReportMetric(float64(8*len(blocks))/best[1]*1e-9, "GB/s")
	b.ReportMetric(best[0]/best[1], "of-sum")
	b.ReportMetric(8*best[1]/best[2], "x8")
	sink += totals[0].sum
}

// inTurns returns the best time of each in seconds.
func inTurns(b *testing.B, fs ...func()) []float64 {
	best := make([]float64, len(fs))
	for b.Loop() {
		for i, f := range fs {
			start := time.Now()
			f()
			if s := time.Since(start).Seconds(); best[i] == 0 || s < best[i] {
				best[i] = s
			}
		}
	}
	return best
}

func benchmarkScan(b *testing.B, blocks []uint64, words, planes, probes int) {
	s := newScanBench(len(blocks), words, planes, probes)
	b.SetBytes(int64(8 * len(blocks)))
	for b.Loop() {
		s.run(b, blocks)
	}
	codes := float64(len(blocks) / words)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/codes/float64(probes), "ns/cmp")
	b.ReportMetric(float64(len(s.out[0].Rows))/codes*1000, "‰found")
}

type scanBench struct {
	words, planes int
	packed        []uint64
	bounds        []uint32
	out           []Survivors
}

func newScanBench(blockWords, words, planes, probes int) *scanBench {
	rng := rand.New(rand.NewPCG(1, 2))
	packed, bounds, out := make([]uint64, probes*planes*words), make([]uint32, probes), make([]Survivors, probes)
	ps := make([][]uint64, probes)
	weight := 1<<planes - 1
	for p := range ps {
		ps[p] = randomWords(rng, planes*words)
		for i := range ps[p] {
			ps[p][i] = rng.Uint64()
		}
		dim := float64(words * 64)
		bounds[p] = uint32(float64(weight)*dim/2 - 3.1*0.5*0.66*float64(weight)*math.Sqrt(dim))
		if planes == 1 {
			bounds[p] = uint32(dim/2 - 3.1*0.5*math.Sqrt(dim))
		}
		out[p] = Survivors{make([]uint32, 0, blockWords/words/50+64), make([]uint32, 0, blockWords/words/50+64)}
	}
	PackProbes(packed, ps, planes)
	return &scanBench{words, planes, packed, bounds, out}
}

func (s *scanBench) run(b *testing.B, blocks []uint64) {
	for p := range s.out {
		s.out[p].Rows, s.out[p].Values = s.out[p].Rows[:0], s.out[p].Values[:0]
	}
	if done := ScanSketch(blocks, s.words, s.planes, 0, s.packed, s.bounds, s.out); done != len(blocks)/s.words/SketchLanes {
		b.Fatal("no room")
	}
}

// BenchmarkScanNibbles scans random codes of 16 bytes; rate is how many of a thousand the bounds pass.
func BenchmarkScanNibbles(b *testing.B) {
	const nibbles = 32
	for _, size := range sizes {
		for _, rate := range []int{1, 100} {
			for _, level := range Levels() {
				for _, probes := range []int{1, 2, 4, 8} {
					if level == "generic" && (probes > 1 || size.name != "L2") {
						continue
					}
					b.Run(fmt.Sprintf("%s/rate=%d/%s/probes=%d", size.name, rate, level, probes), func(b *testing.B) {
						useLevel(b, level)
						blocks := asBytes(bigWords(size.bytes, false))
						s := newNibbleBench(len(blocks), nibbles, probes, rate)
						b.SetBytes(int64(size.bytes))
						for b.Loop() {
							s.run(b, blocks)
						}
						codes := float64(len(blocks) / (nibbles / 2))
						b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/codes/float64(probes), "ns/cmp")
						b.ReportMetric(float64(len(s.out[0].Rows))/codes*1000, "‰found")
					})
				}
			}
		}
	}
}

func asBytes(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
}

type nibbleBench struct {
	nibbles int
	packed  []byte
	bounds  []uint8
	out     []Survivors
}

// newNibbleBench has tables of entries up to 13, and bounds from the normal distribution of their sums.
func newNibbleBench(blockBytes, nibbles, probes, rate int) *nibbleBench {
	rng := rand.New(rand.NewPCG(1, 3))
	s := &nibbleBench{nibbles, make([]byte, probes*nibbles*16), make([]uint8, probes), make([]Survivors, probes)}
	tables, sigmas := make([][]byte, probes), map[int]float64{1: 3.09, 100: 1.2816}[rate]
	for p := range tables {
		tables[p] = make([]byte, nibbles*16)
		mean, variance := 0.0, 0.0
		for i := range nibbles {
			sum, squares := 0.0, 0.0
			for c := range 16 {
				x := rng.IntN(14)
				tables[p][i*16+c] = byte(x)
				sum, squares = sum+float64(x)/16, squares+float64(x*x)/16
			}
			mean, variance = mean+sum, variance+squares-sum*sum
		}
		s.bounds[p] = uint8(mean - sigmas*math.Sqrt(variance))
		room := blockBytes/(nibbles/2)*rate*2/1000 + 64
		s.out[p] = Survivors{make([]uint32, 0, room), make([]uint32, 0, room)}
	}
	PackTables(s.packed, tables)
	return s
}

func (s *nibbleBench) run(b *testing.B, blocks []byte) {
	for p := range s.out {
		s.out[p].Rows, s.out[p].Values = s.out[p].Rows[:0], s.out[p].Values[:0]
	}
	if done := ScanNibbles(blocks, s.nibbles, 0, s.packed, s.bounds, s.out); done != len(blocks)/(s.nibbles/2)/SketchLanes {
		b.Fatal("no room")
	}
}

func BenchmarkRotate(b *testing.B) {
	for _, dim := range []int{128, 512, 4096} {
		b.Run(fmt.Sprint(dim), func(b *testing.B) {
			eachLevelB(b, func(b *testing.B) {
				r, _ := NewRotation(dim, 1)
				src, dst := bigAs[float32](4*dim), make([]float32, dim)
				b.SetBytes(int64(4 * dim))
				b.ReportAllocs()
				for b.Loop() {
					Rotate(dst, src, r)
				}
			})
		})
	}
}

// BenchmarkPrepare is what a template or probe costs besides its rotation.
func BenchmarkPrepare(b *testing.B) {
	const dim = 512
	v, codes, bits, planes := make([]float32, dim), make([]int8, dim), make([]uint64, dim/64), make([]uint64, dim/16)
	copy(v, bigAs[float32](4*dim))
	for name, f := range map[string]func(){
		"Normalize":      func() { Normalize(v) },
		"QuantizeInt8":   func() { QuantizeInt8(codes, v) },
		"SignBits":       func() { SignBits(bits, v) },
		"QuantizeProbe4": func() { QuantizeProbe4(planes, v) },
	} {
		b.Run(name, func(b *testing.B) {
			eachLevelB(b, func(b *testing.B) {
				b.SetBytes(4 * dim)
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
			})
		})
	}
}

// BenchmarkPixels is what a photo goes through, a row of it at a time.
func BenchmarkPixels(b *testing.B) {
	rng := rand.New(rand.NewPCG(6, 9))
	spans, weights := evenSpans(rng, 640, 304)
	row, bytes, rgb := randomBytes(b, rng, 3*640), make([]uint8, 3*304), make([]uint8, 3*640)
	line, sum := make([]float32, 3*304), make([]float32, 3*304)
	var scaler RowScaler
	samples, mix := make([]uint8, 640), make([]uint16, 322)
	sums := make([]uint32, 3*(640+3))
	picture, x, y := make([]uint8, 3*200*200), ramp(3, 190, 112), ramp(20, 50, 112)
	block := &[64]int32{100, 30, -20, 8: -25, 7, 16: 5, -3, 24: 1, 32: 2, 40: 3, 48: 1, 56: 1}
	norm := NewNormaliser([3]float32{127, 127, 127}, [3]float32{128, 128, 128})
	eachLevelB(b, func(b *testing.B) {
		scaler.Reset(640, spans, weights)
		for _, k := range []struct {
			name string
			do   func()
		}{
			{"scale 640 to 304", func() { scaler.Scale(line, row) }},
			{"mix 3 of 912", func() { MixLines(bytes, &[4][]float32{line, line, line}, []float32{.1, .3, .2}) }},
			{"add 912", func() { AddScaled(sum, line, 0x1p-30) }},
			{"round 912", func() { RoundBytes(bytes, line) }},
			{"mix samples 320", func() { MixSamples(mix[:320], row[:320], row[320:640]) }},
			{"double samples 320", func() { DoubleSamples(samples, mix) }},
			{"YCbCr 640", func() { YCbCrToRGB(rgb, row[:640], row[640:1280], row[1280:]) }},
			{"inverse DCT", func() { b := *block; InverseDCT(samples, 80, &b, 8) }},
			{"inverse DCT of 3 rows", func() { b := *block; InverseDCT(samples, 80, &b, 3) }},
			{"replace 1920", func() { ReplaceSamples(sums[:1920], row, row) }},
			{"means of 2 by 2, 640", func() { BoxMeans(rgb, sums[:3*641], 2) }},
			{"means of 4 by 4, 640", func() { BoxMeans(rgb, sums, 4) }},
			{"bilinear 112", func() { Bilinear(bytes[:3*112], picture, 200, x, y) }},
			{"planes 304", func() { norm.Planes(line[:304], line[304:608], line[608:], bytes) }},
		} {
			b.Run(k.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					k.do()
				}
			})
		}
	})
}
