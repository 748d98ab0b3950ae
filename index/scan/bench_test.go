package scan_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"mien/bench"
	"mien/index"
	"mien/index/scan"
	"mien/simd"
)

// enrolled is an index of the space gallery, and mated probes.
func enrolled(b *testing.B, rows, probes int, c scan.Config) (*scan.Index, []float32) {
	b.Helper()
	g, err := bench.NewGallery(bench.Space, bench.SpaceDim, 1)
	if err != nil {
		b.Fatal(err)
	}
	c.Dim = bench.SpaceDim
	x, err := scan.New(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = x.Close() })
	const batch = 1 << 14
	var buf []float32
	for first := 0; first < rows; first += batch {
		n := min(batch, rows-first)
		buf = g.Append(buf[:0], uint64(first), 0, n)
		labels := make([]uint32, n)
		for i := range labels {
			labels[i] = uint32(first + i)
		}
		if err := x.Append(labels, buf, make([]uint32, n)); err != nil {
			b.Fatal(err)
		}
	}
	var q []float32
	for i := range probes {
		q = g.Append(q, uint64(i*(rows/probes)), 1, 1)
	}
	return x, q
}

// BenchmarkSearch times one search at a time and sixteen at once, best ten of all and best ten from 0.5 on.
func BenchmarkSearch(b *testing.B) {
	for _, rows := range []int{1_000, 10_000, 100_000, 1_000_000} {
		if rows > 100_000 && testing.Short() {
			continue
		}
		x, q := enrolled(b, rows, 256, scan.Config{})
		for _, threshold := range []float32{-1, 0.5} {
			for _, atOnce := range []int{1, 16} {
				b.Run(fmt.Sprintf("rows=%d/threshold=%g/at-once=%d", rows, threshold, atOnce), func(b *testing.B) {
					b.ReportAllocs()
					searchAll(b, x, q, atOnce, index.Options{K: 10, Threshold: threshold})
				})
			}
		}
	}
}

func searchAll(b *testing.B, x *scan.Index, q []float32, atOnce int, o index.Options) {
	todo := make(chan int, atOnce)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			hits := make([]index.Hit, 0, o.K)
			for i := range todo {
				at := i % (len(q) / x.Dim()) * x.Dim()
				var err error
				if hits, err = x.SearchInto(b.Context(), hits[:0], q[at:at+x.Dim()], o); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := 0; b.Loop(); i++ {
		todo <- i
	}
	close(todo)
	wg.Wait()
}

// BenchmarkSearchOverPass compares a whole search for the best ten of a million rows with a pass of one probe, which
// nothing survives, over as many sketches on two cores, in turns, and reports the ratio of the best times.
func BenchmarkSearchOverPass(b *testing.B) {
	const rows, words = 1_000_000, 8
	x, q := enrolled(b, rows, 64, scan.Config{})
	blocks := make([]uint64, rows/64*64*words)
	for i := range blocks {
		blocks[i] = rand.Uint64()
	}
	pass := func() {
		var wg sync.WaitGroup
		for part := range 2 {
			wg.Go(func() { barePass(b, blocks[part*len(blocks)/2/512*512:(part+1)*len(blocks)/2/512*512], words) })
		}
		wg.Wait()
	}
	for _, threshold := range []float32{-1, 0.5} {
		b.Run(fmt.Sprintf("threshold=%g", threshold), func(b *testing.B) {
			best, i := [2]time.Duration{1 << 62, 1 << 62}, 0
			hits := make([]index.Hit, 0, 10)
			var total time.Duration
			for b.Loop() {
				start := time.Now()
				pass()
				best[0] = min(best[0], time.Since(start))
				start = time.Now()
				for range 8 {
					at := i % 64 * x.Dim()
					var err error
					if hits, err = x.SearchInto(b.Context(), hits[:0], q[at:at+x.Dim()], index.Options{K: 10, Threshold: threshold}); err != nil {
						b.Fatal(err)
					}
					i++
				}
				total = time.Since(start)
				best[1] = min(best[1], total/8)
			}
			b.ReportMetric(best[0].Seconds()*1e3, "pass-ms")
			b.ReportMetric(best[1].Seconds()*1e3, "search-ms")
			b.ReportMetric(best[1].Seconds()/best[0].Seconds(), "of-pass")
		})
	}
}

func barePass(b *testing.B, blocks []uint64, words int) {
	planes, packed := make([]uint64, 4*words), make([]uint64, 4*words)
	for i := range planes {
		planes[i] = rand.Uint64()
	}
	simd.PackProbes(packed, [][]uint64{planes}, 4)
	out := []simd.Survivors{{Rows: make([]uint32, 0, 64), Values: make([]uint32, 0, 64)}}
	if done := simd.ScanSketch(blocks, words, 4, 0, packed, []uint32{0}, out); done != len(blocks)/words/64 {
		b.Error("the pass ended early")
	}
}

// BenchmarkAppend encodes rows on one core, into memory and into a sealed file, without the fit.
func BenchmarkAppend(b *testing.B) {
	const batch = 1 << 12
	g, err := bench.NewGallery(bench.Space, bench.SpaceDim, 1)
	if err != nil {
		b.Fatal(err)
	}
	vectors, labels, rows := g.Append(nil, 1<<40, 0, batch), make([]uint32, batch), make([]uint32, batch)
	for _, c := range []scan.Config{{}, {Dir: b.TempDir(), Key: make([]byte, 32)}} {
		b.Run(fmt.Sprintf("file=%v", c.Dir != ""), func(b *testing.B) {
			x, _ := enrolled(b, 1<<15+100, 1, c)
			if !x.Fitted() {
				b.Fatal("no fit")
			}
			b.SetBytes(batch * int64(4*x.Dim()))
			for b.Loop() {
				if err := x.Append(labels, vectors, rows); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(batch*b.N)/b.Elapsed().Seconds(), "templates/s")
		})
	}
}

// BenchmarkSearchEach times searches for duplicates that one goroutine makes together, and says how many comparisons it
// makes a second. b.N counts searches.
func BenchmarkSearchEach(b *testing.B) {
	for _, rows := range []int{100_000, 1_000_000} {
		if rows > 100_000 && testing.Short() {
			continue
		}
		x, q := enrolled(b, rows, 256, scan.Config{})
		for _, together := range []int{1, 8, 64, 256} {
			b.Run(fmt.Sprintf("rows=%d/together=%d", rows, together), func(b *testing.B) {
				queries := make([]index.Query, together)
				for i := range queries {
					queries[i] = index.Query{Vector: q[i*x.Dim() : (i+1)*x.Dim()], Options: index.Options{K: 100, Threshold: 0.6}}
				}
				begin := time.Now()
				n := 0
				for ; n < b.N; n += together {
					if err := x.SearchEach(b.Context(), queries, func() {}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n)*float64(rows)/time.Since(begin).Seconds(), "comparisons/s")
			})
		}
	}
}
