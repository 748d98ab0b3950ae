package hnsw

import (
	"strings"
	"testing"
	"time"

	"mien/index"
	"mien/simd"
)

// trial waits for the end of a trial.
func (w *world) trial() Status {
	w.t.Helper()
	for range 6000 {
		w.x.mu.Lock()
		trying := w.x.auto.trying
		w.x.mu.Unlock()
		if !trying {
			return w.x.Status()
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatal("the trial does not end")
	return Status{}
}

// TestAuto: a gallery that a graph can follow gets one if it is faster, others don't, and the status says why.
func TestAuto(t *testing.T) {
	rng := newRand(t)
	c := config(t, 128)
	c.Auto, c.AutoAt = true, 2500
	centre := unit(rng, 128)
	plane := [][]float32{centre, unit(rng, 128), unit(rng, 128), unit(rng, 128), unit(rng, 128), unit(rng, 128)}
	flat := func() []float32 {
		v := make([]float32, 128)
		for _, b := range plane {
			g := float32(rng.NormFloat64())
			for i := range v {
				v[i] += g * b[i]
			}
		}
		simd.Normalize(v)
		return v
	}
	for name, test := range map[string]struct {
		draw          func() []float32
		share         float64
		serving, says string
	}{
		"structure":          {flat, 1e9, "hnsw", "missed the best one of 0"},
		"structure but slow": {flat, 0, "scan", "missed the best one of 0"},
		"none":               {func() []float32 { return unit(rng, 128) }, 1e9, "scan", "the next trial is at"},
	} {
		t.Run(name, func(t *testing.T) {
			c.Dir = t.TempDir()
			c.EF = 20
			if name != "none" {
				c.EF = 0
			}
			w := newWorld(t, rng, c, 0)
			defer func() { w.close() }()
			w.x.auto.share = test.share
			for range 2499 {
				w.add(test.draw())
			}
			if s := w.x.Status(); s.Serving != "scan" || !strings.Contains(s.Why, "fewer than 2500") {
				t.Errorf("%+v", s)
			}
			for range 100 {
				w.remove(w.some())
				w.add(test.draw()) // while the trial goes on
			}
			w.add(test.draw())
			w.remove(w.some())
			w.add(test.draw())
			if s := w.trial(); s.Serving != test.serving || !strings.Contains(s.Why, test.says) {
				t.Errorf("%+v", s)
			}
			w.finds(w.some())
			if test.serving == "hnsw" {
				w.check()
			} else if s := w.x.Status(); s.Linked != 0 || s.Dead != 0 || s.Waiting != 0 || s.ByGraph != 0 {
				t.Errorf("%+v", s)
			}
			w.restart()
			w.finds(w.some())
			if s := w.x.Status(); s.Serving != test.serving {
				t.Errorf("after a restart: %+v", s)
			}
			before := w.x.Status().ByGraph
			w.search(test.draw(), index.Options{K: 3, Threshold: -1})
			if by := w.x.Status().ByGraph > before; by != (test.serving == "hnsw") {
				t.Errorf("answered by the graph: %v", by)
			}
		})
	}
}
