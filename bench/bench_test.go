package bench

import (
	"fmt"
	"testing"
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
	const rows = 4096
	g, _ := NewGallery(Space, SpaceDim, 1)
	gallery := g.Append(nil, 0, 0, rows)
	for _, probes := range []int{64, 1024} {
		b.Run(fmt.Sprintf("probes=%d", probes), func(b *testing.B) {
			e := NewExact(SpaceDim, g.Append(nil, 0, 1, probes))
			for b.Loop() {
				e.Add(0, gallery)
			}
			b.ReportMetric(rows*float64(probes)*float64(b.N)/b.Elapsed().Seconds(), "comparisons/s")
		})
	}
}
