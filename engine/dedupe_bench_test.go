package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"mien/bench"
	"mien/engine"
)

// madeUp is a gallery "g" of made-up people with one template each, in memory, of whom every hundredth is there a second time, by
// another photo.
func madeUp(b *testing.B, people int) *engine.Engine {
	b.Helper()
	g, err := bench.NewGallery(bench.Space, bench.SpaceDim, 1)
	if err != nil {
		b.Fatal(err)
	}
	e, err := engine.Open(engine.Config{Dir: "data", MasterKey: bytes.Repeat([]byte{7}, engine.MasterKeyBytes), FS: vfs.NewMem(), MinFreeBytes: -1, RecallSample: -1,
		Spaces: []engine.Space{{ID: "s", Dim: bench.SpaceDim, Calibration: engine.Calibration{Points: []engine.CalibrationPoint{
			{Cosine: 0.335, FMR: 1e-3}, {Cosine: 0.412, FMR: 1e-4}, {Cosine: 0.484, FMR: 1e-5}, {Cosine: 0.62, FMR: 1e-7, Extrapolated: true}}}}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	if _, _, err := e.CreateGallery(b.Context(), "t", "g", engine.GallerySpec{Index: "scan"}); err != nil {
		b.Fatal(err)
	}
	put := func(id string, v []float32) {
		if _, _, err := e.PutPerson(context.Background(), "t", "g", id, engine.PersonSpec{Templates: []engine.Template{{Space: "s", Vector: v}}}); err != nil {
			b.Error(err)
		}
	}
	var wg sync.WaitGroup
	for part := range 8 {
		wg.Go(func() {
			var v []float32
			for i := part; i < people; i += 8 {
				v = g.Append(v[:0], uint64(i), 0, 1)
				put(fmt.Sprint(i), v)
				if i%100 == 0 {
					v = g.Append(v[:0], uint64(i), 1, 1)
					put(fmt.Sprint(i, " again"), v)
				}
			}
		})
	}
	wg.Wait()
	return e
}

// runDedupe runs a job to its end.
func runDedupe(b *testing.B, e *engine.Engine, spec engine.DedupeSpec) engine.Job {
	b.Helper()
	j, _, err := e.StartDedupe(b.Context(), "t", "g", spec)
	for err == nil && j.Ended.IsZero() {
		time.Sleep(5 * time.Millisecond)
		j, err = e.Job(b.Context(), "t", j.ID)
	}
	if err == nil && j.State == engine.JobDone {
		err = e.DeleteJob(b.Context(), "t", j.ID)
	}
	if err != nil {
		b.Fatal(j, err)
	}
	return j
}

// BenchmarkDedupe times a de-duplication: comparisons are the N(N−1)/2 pairs that it decides about.
func BenchmarkDedupe(b *testing.B) {
	for _, people := range []int{20_000, 100_000} {
		if people > 20_000 && testing.Short() {
			continue
		}
		e := madeUp(b, people)
		b.Run(fmt.Sprintf("people=%d", people), func(b *testing.B) {
			var j engine.Job
			begin := time.Now()
			for b.Loop() {
				j = runDedupe(b, e, engine.DedupeSpec{})
			}
			n := float64(j.Hygiene.Templates)
			b.ReportMetric(n*(n-1)/2*float64(b.N)/time.Since(begin).Seconds(), "comparisons/s")
			b.ReportMetric(n*float64(b.N)/time.Since(begin).Seconds(), "people/s")
			b.ReportMetric(float64(j.Pairs), "pairs")
		})
	}
}

// BenchmarkIdentifyBesideDedupe has one search every 5 ms, in turns of a second without a job and with one, and reports the 50th and 99th
// percentiles of both.
func BenchmarkIdentifyBesideDedupe(b *testing.B) {
	e := madeUp(b, 20_000)
	g, _ := bench.NewGallery(bench.Space, bench.SpaceDim, 1)
	took := map[bool][]time.Duration{}
	for b.Loop() {
		for turn := range 10 {
			busy, id := turn%2 == 1, ""
			if busy {
				j, _, err := e.StartDedupe(b.Context(), "t", "g", engine.DedupeSpec{})
				if err != nil {
					b.Fatal(err)
				}
				id = j.ID
			}
			begin := time.Now()
			for i := range 200 {
				time.Sleep(time.Until(begin.Add(time.Duration(i) * 5 * time.Millisecond)))
				v := g.Append(nil, uint64(i*17), 1, 1)
				at := time.Now()
				if _, err := e.Identify(b.Context(), "t", "g", engine.Template{Space: "s", Vector: v}, engine.IdentifyOptions{}); err != nil {
					b.Fatal(err)
				}
				took[busy] = append(took[busy], time.Since(at))
			}
			if busy {
				if err := e.DeleteJob(b.Context(), "t", id); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	for busy, name := range map[bool]string{false: "alone", true: "beside-a-job"} {
		slices.Sort(took[busy])
		for _, p := range []int{50, 99} {
			b.ReportMetric(float64(took[busy][len(took[busy])*p/100].Microseconds()), fmt.Sprintf("p%d-%s-µs", p, name))
		}
	}
}
