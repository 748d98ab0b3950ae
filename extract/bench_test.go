package extract

import (
	"testing"
)

// BenchmarkExtract is a whole photo, one at a time and on all workers.
func BenchmarkExtract(b *testing.B) {
	x := testExtractor(b)
	for _, name := range []string{"faces/a_1.jpg", "golden/g3.png"} {
		data := testFile(b, name)
		b.Run(name+"/single", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := x.Extract(b.Context(), data, Options{Select: SelectOne}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := x.Extract(b.Context(), data, Options{Select: SelectOne}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkStages shows where the time of BenchmarkExtract goes.
func BenchmarkStages(b *testing.B) {
	x := testExtractor(b)
	data := testFile(b, "faces/a_1.jpg")
	m, err := decode(b.Context(), data, testMaxPixels)
	if err != nil {
		b.Fatal(err)
	}
	w, err := x.acquire(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer x.giveBack(w)
	found, err := w.detect(m)
	if err != nil || len(found) != 1 {
		b.Fatalf("%d faces, %v", len(found), err)
	}
	l, err := w.landmark(m, found[0])
	if err != nil {
		b.Fatal(err)
	}
	crop, err := align(m, l)
	if err != nil {
		b.Fatal(err)
	}
	for _, stage := range []struct {
		name string
		do   func() error
	}{
		{"decode", func() error { _, err := decode(b.Context(), data, testMaxPixels); return err }},
		{"detect", func() error { _, err := w.detect(m); return err }},
		{"detect model alone", w.detector.do},
		{"landmarks", func() error { _, err := w.landmark(m, found[0]); return err }},
		{"landmarks model alone", w.landmarker.do},
		{"align", func() error { _, err := align(m, l); return err }},
		{"embed", func() error { _, err := w.embed(crop); return err }},
		{"embed model alone", w.embedder.do},
	} {
		b.Run(stage.name, func(b *testing.B) {
			for b.Loop() {
				if err := stage.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
