package hnsw_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/bench"
	"mien/index"
	"mien/index/hnsw"
	"mien/index/scan"
)

var (
	benchRows    = flag.Int("rows", 100_000, "rows of the benchmarks' galleries")
	benchVariant = flag.String("variant", "latent64", "the benchmarks' galleries")
)

const dim = bench.SpaceDim

// gallery is made once for all benchmarks.
var gallery = sync.OnceValue(func() *bench.Gallery {
	g, err := bench.NewGallery(*benchVariant, dim, 1)
	if err != nil {
		panic(err)
	}
	return g
})

func build(b *testing.B, c hnsw.Config, rows int) *hnsw.Index {
	b.Helper()
	x, err := hnsw.New(c)
	if err != nil {
		b.Fatal(err)
	}
	add(b, x, 0, rows)
	if err := x.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
	return x
}

// add appends photo 0 of people.
func add(b *testing.B, x *hnsw.Index, first, n int) {
	b.Helper()
	for from := first; from < first+n; from += 4096 {
		k := min(4096, first+n-from)
		labels := make([]uint32, k)
		for i := range labels {
			labels[i] = uint32(from + i)
		}
		if err := x.Append(labels, gallery().Append(nil, uint64(from), 0, k), make([]uint32, k)); err != nil {
			b.Fatal(err)
		}
	}
}

func config(b *testing.B) hnsw.Config {
	return hnsw.Config{Config: scan.Config{Dim: dim, Dir: b.TempDir(), Key: make([]byte, 32)}}
}

func BenchmarkSearch(b *testing.B) {
	x := build(b, config(b), *benchRows)
	defer x.Close()
	probes := gallery().Append(nil, 0, 1, min(1000, *benchRows))
	for _, ef := range []int{16, 64, 256, 1024} {
		b.Run(fmt.Sprintf("rows=%d/ef=%d", *benchRows, ef), func(b *testing.B) {
			var hits []index.Hit
			for i := 0; b.Loop(); i++ {
				q := probes[i%(len(probes)/dim)*dim:][:dim]
				var err error
				if hits, err = x.SearchInto(context.Background(), hits[:0], q, index.Options{K: 10, Threshold: -1, EF: ef}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkLink adds rows to a graph until they are linked; ns/op is a row's, of all cores.
func BenchmarkLink(b *testing.B) {
	x := build(b, config(b), *benchRows/2)
	defer x.Close()
	b.ResetTimer()
	add(b, x, *benchRows/2, b.N)
	if err := x.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkRemove removes rows until they are out of the graph; ns/op is a row's.
func BenchmarkRemove(b *testing.B) {
	c := config(b)
	x := build(b, c, *benchRows)
	defer x.Close()
	rows := make([]uint32, 0, *benchRows)
	if err := x.Each(func(row, _ uint32) { rows = append(rows, row) }); err != nil {
		b.Fatal(err)
	}
	n := min(b.N, len(rows)/2)
	b.ResetTimer()
	for _, row := range rows[:n] {
		if _, err := x.Replace([]uint32{row}, 0, nil); err != nil {
			b.Fatal(err)
		}
	}
	if err := x.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
}

// BenchmarkOpen reads an index and its graph from its file.
func BenchmarkOpen(b *testing.B) {
	c := config(b)
	x := build(b, c, *benchRows)
	start := time.Now()
	if err := x.Save(1, nil); err != nil {
		b.Fatal(err)
	}
	saved := time.Since(start)
	for b.Loop() {
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
		var err error
		if x, _, _, err = hnsw.Open(c); err != nil {
			b.Fatal(err)
		}
		if s := x.Status(); s.Linked != *benchRows {
			b.Fatalf("%+v", s)
		}
	}
	b.ReportMetric(saved.Seconds(), "s/save")
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSearchWhileInserting has eight clients search, at rest and while another adds rows as fast as they are linked; it
// reports the 99th percentiles of the searches' times.
func BenchmarkSearchWhileInserting(b *testing.B) {
	const clients = 8
	x := build(b, config(b), *benchRows)
	defer x.Close()
	probes := gallery().Append(nil, 0, 1, 1000)
	next := *benchRows
	run := func(d time.Duration, insert bool) (p99 time.Duration, searches int) {
		var stop atomic.Bool
		var all sync.WaitGroup
		times := make([][]time.Duration, clients)
		for c := range clients {
			all.Go(func() {
				var hits []index.Hit
				for i := c; !stop.Load(); i++ {
					start := time.Now()
					var err error
					hits, err = x.SearchInto(context.Background(), hits[:0], probes[i%1000*dim:][:dim], index.Options{K: 10, Threshold: -1})
					if err != nil {
						b.Error(err)
						return
					}
					times[c] = append(times[c], time.Since(start))
				}
			})
		}
		for end := time.Now().Add(d); time.Now().Before(end); {
			if !insert {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			add(b, x, next, 64)
			next += 64
			for x.Status().Waiting > 64 {
				time.Sleep(time.Millisecond)
			}
		}
		stop.Store(true)
		all.Wait()
		merged := slices.Concat(times...)
		slices.Sort(merged)
		return merged[len(merged)*99/100], len(merged)
	}
	for b.Loop() {
		run(time.Second, false)
		rest, n := run(5*time.Second, false)
		before := next
		busy, m := run(5*time.Second, true)
		b.ReportMetric(rest.Seconds()*1e3, "ms-p99-rest")
		b.ReportMetric(busy.Seconds()*1e3, "ms-p99-inserting")
		b.ReportMetric(float64(busy)/float64(rest), "p99-ratio")
		b.ReportMetric(float64(next-before)/5, "inserts/s")
		b.ReportMetric(float64(n)/5, "searches/s-rest")
		b.ReportMetric(float64(m)/5, "searches/s-inserting")
	}
}
