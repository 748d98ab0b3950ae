package hnsw

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
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
			c.EF, c.M, c.EfConstruction = 0, 0, 0
			if name == "none" {
				c.EF, c.M, c.EfConstruction = 1, 4, 4
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

// TestEnableAndDisable turns the graph on and off while people change.
func TestEnableAndDisable(t *testing.T) {
	rng := newRand(t)
	c := config(t, modelDim)
	c.Auto, c.M, c.EfConstruction = true, 8, 40
	w := newWorld(t, rng, c, 1500)
	defer w.close()
	var stop atomic.Bool
	var changing sync.WaitGroup
	probe := unit(rng, modelDim)
	changing.Go(func() {
		for !stop.Load() {
			w.put(uint32(w.rng.IntN(1000)+1), unit(w.rng, modelDim))
		}
	})
	for range scaled(40) {
		w.x.enable()
		for w.x.Status().Linked < 500 {
			time.Sleep(time.Millisecond)
		}
		w.x.auto.serving.Store(true)
		if _, err := w.x.SearchInto(context.Background(), nil, probe, index.Options{K: 3, Threshold: -1}); err != nil {
			t.Fatal(err)
		}
		w.x.auto.serving.Store(false)
		w.x.disable()
		if s := w.x.Status(); s.Linked != 0 || s.Waiting != 0 || s.Dead != 0 {
			t.Fatalf("%+v", s)
		}
	}
	w.x.enable()
	stop.Store(true)
	changing.Wait()
	w.x.auto.serving.Store(true)
	w.check()
	w.finds(w.some())
}

// TestCloseDuringEverything closes an index while it is saved, searched, changed and tried.
func TestCloseDuringEverything(t *testing.T) {
	for range scaled(40) {
		c := config(t, modelDim)
		c.Auto, c.AutoAt, c.M, c.EfConstruction = true, 1200, 4, 20
		w := newWorld(t, newRand(t), c, 1190)
		var all sync.WaitGroup
		for _, f := range []func() error{
			func() error { return w.x.Save(1, nil) },
			func() error { return w.x.Wait(context.Background()) },
			func() error {
				_, err := w.x.SearchInto(context.Background(), nil, unit(rand.New(rand.NewPCG(1, 1)), modelDim), index.Options{K: 3, Threshold: -1})
				return err
			},
			func() error {
				rng := rand.New(rand.NewPCG(2, 2))
				rows, err := w.x.Replace(nil, 5000, [][]float32{unit(rng, modelDim)})
				for i := 0; i < 1000 && err == nil; i++ {
					rows, err = w.x.Replace(rows, 5000, [][]float32{unit(rng, modelDim), unit(rng, modelDim)})
				}
				return err
			},
		} {
			all.Go(func() {
				var err error
				for err == nil {
					err = f()
					if w.x.isClosing() {
						return
					}
				}
				if !errors.Is(err, index.ErrClosed) {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Duration(w.rng.IntN(10)) * time.Millisecond)
		w.close()
		all.Wait()
	}
}

func (x *Index) isClosing() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.closing
}
