package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/viterin/vek/vek32"
)

// sizes are where the rows lie: bytes of them.
var sizes = []struct {
	name  string
	bytes int
}{{"L2", 512 << 10}, {"DRAM", 640 << 20}} // this machine's third-level cache holds 480 MiB, shared with other guests

var sink uint64

// big is memory that every benchmark reads, filled once with random bits and once with floats of one magnitude: a product of random
// exponents is denormal, and slow, too often.
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

// BenchmarkScanSketch scans random codes with bounds that pass about one in a thousand. SetBytes counts the codes, not probes × codes; ns/cmp
// is per comparison of a probe with a code.
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

func benchmarkScan(b *testing.B, blocks []uint64, words, planes, probes int) {
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
		out[p] = Survivors{make([]uint32, 0, len(blocks)/words/50+64), make([]uint32, 0, len(blocks)/words/50+64)}
	}
	PackProbes(packed, ps, planes)
	b.SetBytes(int64(8 * len(blocks)))
	found := 0
	for b.Loop() {
		for p := range out {
			out[p].Rows, out[p].Values = out[p].Rows[:0], out[p].Values[:0]
		}
		if done := ScanSketch(blocks, words, planes, 0, packed, bounds, out); done != len(blocks)/words/SketchLanes {
			b.Fatal("no room")
		}
		found = len(out[0].Rows)
	}
	codes := float64(len(blocks) / words)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/codes/float64(probes), "ns/cmp")
	b.ReportMetric(float64(found)/codes*1000, "‰found")
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
