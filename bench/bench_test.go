package bench

import (
	"fmt"
	"testing"

	"mien/index"
)

// BenchmarkGallery is what a template costs to make, on one core.
func BenchmarkGallery(b *testing.B) {
	for _, v := range Variants() {
		b.Run(v, func(b *testing.B) {
			const n = 1024
			g, _ := NewGallery(v, SpaceDim, 1)
			dst := make([]float32, 0, n*SpaceDim)
			b.ReportAllocs()
			for i := uint64(0); b.Loop(); i++ {
				g.Append(dst, i*n, 0, n)
			}
			b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "templates/s")
		})
	}
}

// BenchmarkExact is the oracle's speed.
func BenchmarkExact(b *testing.B) {
	const rows = buildBatch
	g, _ := NewGallery(Space, SpaceDim, 1)
	gallery := g.Append(nil, 0, 0, rows)
	for _, probes := range []int{64, 1024, 4096} {
		b.Run(fmt.Sprintf("probes=%d", probes), func(b *testing.B) {
			e := NewExact(SpaceDim, 1, g.Append(nil, 0, 1, probes))
			for b.Loop() {
				e.Add(0, gallery)
			}
			b.ReportMetric(rows*float64(probes)*float64(b.N)/b.Elapsed().Seconds(), "comparisons/s")
		})
	}
}

// BenchmarkSearch is one probe at a time over the space gallery, best ten from 0.3 on. With -short, and of graphs, which
// take long to build, up to 100,000 rows.
func BenchmarkSearch(b *testing.B) {
	for _, kind := range Kinds() {
		for _, rows := range []int{1_000, 10_000, 100_000, 1_000_000} {
			if rows > 100_000 && (testing.Short() || kind == "hnsw") {
				continue
			}
			m := measured(b, IndexConfig{Kind: kind, Rows: rows, Probes: 64})
			m.drawProbes()
			m.exact = NewExact(m.Dim, 1, nil)
			if err := m.build(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("kind=%s/rows=%d", kind, rows), func(b *testing.B) {
				hits, i := make([]index.Hit, 0, 10), 0
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if hits, err = m.index.SearchInto(b.Context(), hits[:0], m.probe(i%m.Probes), index.Options{K: 10, Threshold: 0.3}); err != nil {
						b.Fatal(err)
					}
					i++
				}
			})
			if err := m.index.Close(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
