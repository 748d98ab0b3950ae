package extract

import (
	"math"
	"testing"
	"time"

	"mien/simd"
)

// step is one of those that lead from a photo to a template.
type step struct {
	name  string
	model bool // nothing but a model's run
	do    func() error
	least time.Duration
}

// BenchmarkShare is a photo of 640×480 with noise on its way to a template, step by step and with each of simd's levels: the
// least time of each, in microseconds, and the share of the models' bare runs in their sum. Steps take turns, so that what else the machine does harms
// all alike, and the least of many runs is what it takes undisturbed. The last is all of them in one, as Extract does it; its
// share is that of the same models in it.
func BenchmarkShare(b *testing.B) {
	x, done := atWork(b)
	defer done()
	data := noisyVGA(b)
	for _, level := range simd.Levels() {
		b.Run(level, func(b *testing.B) {
			if err := simd.Use(level); err != nil {
				b.Fatal(err)
			}
			defer func() { _ = simd.Use("") }()
			share(b, templateSteps(b, &x.stages, data))
		})
	}
}

// share runs the steps in turns and reports.
func share(b *testing.B, steps []step) {
	b.Helper()
	for i := range steps {
		steps[i].least = math.MaxInt64
	}
	for b.Loop() {
		for i := range steps {
			s, start := &steps[i], time.Now()
			if err := s.do(); err != nil {
				b.Fatal(err)
			}
			s.least = min(s.least, time.Since(start))
		}
	}
	var models, all time.Duration
	last := len(steps) - 1
	for i, s := range steps {
		b.ReportMetric(float64(s.least)/1e3, s.name+"-µs")
		if i < last {
			all += s.least
		}
		if s.model {
			models += s.least
		}
	}
	b.ReportMetric(float64(models)/float64(all), "share")
	b.ReportMetric(float64(models)/float64(steps[last].least), "share-of-whole")
}

// noisyVGA is a photo of 640×480 with one face and a camera's noise, as JPEG.
func noisyVGA(b *testing.B) []byte {
	b.Helper()
	smooth, err := decode(b.Context(), pasted(b, mustDecode(b, "faces/a_1.jpg"), 640, 480, 160, 80, 1, 1), 1<<20)
	if err != nil {
		b.Fatal(err)
	}
	return encodeJPEG(b, noisy(smooth, nil, 4), 90)
}

// templateSteps are what Extract does for a template, models apart from what is done for them.
func templateSteps(b *testing.B, s *stages, data []byte) []step {
	b.Helper()
	load := func() (*picture, error) { return open(b.Context(), data, limits{1, 1 << 20}, s.steps.detector.scale) }
	p, err := load()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.close)
	face, q, crop := oneFace(b, s, p)
	canvas := make([]float32, 3*s.steps.detector.w*s.steps.detector.h)
	square := make([]float32, 3*alignSize*alignSize)
	bare := func(s *stage) func() error {
		return func() error { return s.do(b.Context(), 1, func(int, []float32) {}, func(int, [][]float32) {}) }
	}
	return []step{
		{name: "open", do: func() error {
			p, err := load()
			if err == nil {
				p.close()
			}
			return err
		}},
		{name: "canvas", do: func() error { s.steps.detector.paint(canvas, p.view, s.steps.detector.fit(p.W, p.H)); return nil }},
		{name: "detector", model: true, do: bare(s.detector)},
		{name: "landmark-crop", do: func() error {
			s.steps.landmarks.crop(square[:alignSize*alignSize], p, s.steps.landmarks.first(face))
			return nil
		}},
		{name: "landmarks", model: true, do: bare(s.landmarker)},
		{name: "align", do: func() error { _, err := s.steps.align.cut(p, q); return err }},
		{name: "embedder-input", do: func() error { s.steps.embedder.draw(square, crop, 0, 0); return nil }},
		{name: "embedder", model: true, do: bare(s.embedder)},
		{name: "whole", do: func() error {
			p, err := load()
			if err != nil {
				return err
			}
			defer p.close()
			found, err := s.detect(b.Context(), p)
			if err != nil {
				return err
			}
			_, err = s.face(b.Context(), p, found[0], WantTemplate)
			return err
		}},
	}
}
