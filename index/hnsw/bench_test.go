package hnsw_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
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

// built is an index of -rows, made once for all benchmarks, which change it.
var built struct {
	config hnsw.Config
	x      *hnsw.Index
	next   int // person that was not added yet
}

// TestMain removes what the benchmarks made.
func TestMain(m *testing.M) {
	code := m.Run()
	if built.x != nil {
		if err := errors.Join(built.x.Close(), os.RemoveAll(built.config.Dir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func build(b *testing.B) *hnsw.Index {
	b.Helper()
	if built.x != nil {
		return built.x
	}
	dir, err := os.MkdirTemp("", "mien-hnsw-")
	if err != nil {
		b.Fatal(err)
	}
	built.config = hnsw.Config{Config: scan.Config{Dim: dim, Dir: dir, Key: make([]byte, 32)}}
	if built.x, err = hnsw.New(built.config); err != nil {
		b.Fatal(err)
	}
	add(b, *benchRows)
	if err := built.x.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	return built.x
}

// add appends photo 0 of n people.
func add(b *testing.B, n int) {
	b.Helper()
	for end := built.next + n; built.next < end; {
		from := built.next
		k := min(4096, end-from)
		built.next += k
		labels := make([]uint32, k)
		for i := range labels {
			labels[i] = uint32(from + i)
		}
		if err := built.x.Append(labels, gallery().Append(nil, uint64(from), 0, k), make([]uint32, k)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	x := build(b)
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
	x := build(b)
	add(b, b.N)
	if err := x.Wait(context.Background()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkRemove removes rows until they are out of the graph; ns/op is a row's.
func BenchmarkRemove(b *testing.B) {
	x := build(b)
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
	x := build(b)
	linked, start := x.Status().Linked, time.Now()
	if err := x.Save(1, nil); err != nil {
		b.Fatal(err)
	}
	saved := time.Since(start)
	for b.Loop() {
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
		var err error
		if x, _, _, err = hnsw.Open(built.config); err != nil {
			b.Fatal(err)
		}
		if s := x.Status(); s.Linked != linked {
			b.Fatalf("%+v", s)
		}
		built.x = x
	}
	b.ReportMetric(saved.Seconds(), "s/save")
	b.ReportMetric(float64(linked), "rows")
}

// BenchmarkSearchWhileInserting has eight clients search, at rest and while another adds rows as fast as they are linked; it
// reports the 99th percentiles of the searches' times.
func BenchmarkSearchWhileInserting(b *testing.B) {
	const clients = 8
	x := build(b)
	probes := gallery().Append(nil, 0, 1, 1000)
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
			add(b, 64)
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
		before := built.next
		busy, m := run(5*time.Second, true)
		b.ReportMetric(rest.Seconds()*1e3, "ms-p99-rest")
		b.ReportMetric(busy.Seconds()*1e3, "ms-p99-inserting")
		b.ReportMetric(float64(busy)/float64(rest), "p99-ratio")
		b.ReportMetric(float64(built.next-before)/5, "inserts/s")
		b.ReportMetric(float64(n)/5, "searches/s-rest")
		b.ReportMetric(float64(m)/5, "searches/s-inserting")
	}
}
