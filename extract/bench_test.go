package extract

import (
	"syscall"
	"testing"
	"time"
)

// processorTime is what this process has used of all cores: on a machine with other work it says more than the clock.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// reportProcessor adds the processor's time for an operation to what b reports.
func reportProcessor(b *testing.B, start time.Duration) {
	b.ReportMetric(float64(processorTime()-start)/float64(b.N), "cpu-ns/op")
}

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

// BenchmarkLarge is a photo of 12 megapixels with noise: decoding by parts and in full, and the whole pipeline.
func BenchmarkLarge(b *testing.B) {
	x, done := atWork(b)
	defer done()
	smooth, err := decode(b.Context(), pasted(b, mustDecode(b, "faces/a_1.jpg"), 4000, 3000, 1713, 711, 3, 1), 16<<20)
	if err != nil {
		b.Fatal(err)
	}
	data := encodeJPEG(b, noisy(smooth, nil, 4), 90)
	for name, scale := range map[string]func(w, h int) float64{
		"open": x.stages.steps.detector.scale, "open in full": func(int, int) float64 { return 1 },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p, err := open(b.Context(), data, limits{1, 16 << 20}, scale)
				if err != nil {
					b.Fatal(err)
				}
				p.close()
			}
		})
	}
	b.Run("extract", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p, err := open(b.Context(), data, limits{1, 16 << 20}, x.stages.steps.detector.scale)
			if err != nil {
				b.Fatal(err)
			}
			found, err := x.stages.detect(b.Context(), p)
			if err != nil || len(found) != 1 {
				b.Fatalf("%d faces, %v", len(found), err)
			}
			if _, err = x.stages.face(b.Context(), p, found[0], WantTemplate); err != nil {
				b.Fatal(err)
			}
			p.close()
		}
	})
}

// BenchmarkStages shows where the time of BenchmarkExtract goes.
func BenchmarkStages(b *testing.B) {
	x, done := atWork(b)
	defer done()
	data := testFile(b, "faces/a_1.jpg")
	m, err := decode(b.Context(), data, testMaxPixels)
	if err != nil {
		b.Fatal(err)
	}
	p, s := newPicture(m), &x.stages
	face, q, crop := oneFace(b, s, p)
	bare := func(s *stage) func() error {
		return func() error { return s.do(b.Context(), 1, func(int, []float32) {}, func(int, [][]float32) {}) }
	}
	for _, stage := range []struct {
		name string
		do   func() error
	}{
		{"decode", func() error { _, err := decode(b.Context(), data, testMaxPixels); return err }},
		{"detect", func() error { _, err := s.detect(b.Context(), p); return err }},
		{"detect model alone", bare(s.detector)},
		{"landmarks", func() error { _, err := s.landmark(b.Context(), p, face); return err }},
		{"landmarks model alone", bare(s.landmarker)},
		{"align", func() error { _, err := s.steps.align.cut(p, q); return err }},
		{"embed", func() error { _, _, err := s.embed(b.Context(), crop); return err }},
		{"embed model alone", bare(s.embedder)},
		{"pose", func() error { _, err := s.findPose(b.Context(), p, face, &q.five); return err }},
		{"pose model alone", bare(s.pose)},
		{"eyes", func() error { _, err := s.findEyesOpen(b.Context(), p, q.all); return err }},
		{"liveness", func() error { _, err := s.liveness(b.Context(), p, face); return err }},
		{"liveness model alone", bare(s.live)},
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

// oneFace returns the one face of p, its points and its aligned crop.
func oneFace(b *testing.B, s *stages, p *picture) (detection, *points, *Image) {
	b.Helper()
	found, err := s.detect(b.Context(), p)
	if err != nil || len(found) != 1 {
		b.Fatalf("%d faces, %v", len(found), err)
	}
	q, err := s.findPoints(b.Context(), p, found[0])
	if err != nil {
		b.Fatal(err)
	}
	crop, err := s.steps.align.cut(p, q)
	if err != nil {
		b.Fatal(err)
	}
	return found[0], q, crop
}
