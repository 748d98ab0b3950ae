package mpc

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskWorld is startWorld with folders on the disk, and vectors of 512.
func diskWorld(b *testing.B) *world {
	b.Helper()
	dir := b.TempDir() // goes after the world
	w := newWorld(b)
	for i := range w.policies {
		p, err := ParsePolicies(fmt.Appendf(nil, `{"policies": {"1": {"model": 1, "dim": 512, "log2_scale": 12, "cosine": 0.4},
			"2": {"model": 1, "dim": 512, "log2_scale": 12, "cosine": 0.4, "gallery": 3}, "3": {"model": 1, "dim": 512, "log2_scale": 7, "cosine": 0.55}},
			"budgets": {"record": [{"attempts": 1000000000, "window": "1h"}], "tenant": [{"attempts": 1000000000, "window": "1h"}],
			"identify": [{"attempts": 500000000, "window": "1h"}]}}`))
		if err != nil {
			b.Fatal(err)
		}
		w.policies[i] = p
		w.folders[i] = fmt.Sprintf("%s/party%d", dir, i)
		w.files[i] = vfs.Default
	}
	w.folders[Parties], w.files[Parties] = dir+"/gateway", vfs.Default
	for i := range w.parties {
		w.start(i)
	}
	w.startGateway()
	w.ready()
	return w
}

// BenchmarkGatewayVerify is a fully checked verification through gateway and parties, in one process with mutual TLS; each party makes each
// attempt durable.
func BenchmarkGatewayVerify(b *testing.B) {
	for _, inFlight := range []int{1, 16} {
		b.Run(fmt.Sprint(inFlight), func(b *testing.B) {
			rng, w := seeded(b), diskWorld(b)
			x := unit(rng, 512)
			for i := range inFlight {
				w.enrol(fmt.Sprint(i), x)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			times := make([][]time.Duration, inFlight)
			b.ResetTimer()
			var wg sync.WaitGroup
			for i := range inFlight {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						begin := time.Now()
						if match, err := w.gateway.Verify(b.Context(), "t", fmt.Sprint(i), 1, x); err != nil || !match {
							b.Error(match, err)
							return
						}
						times[i] = append(times[i], time.Since(begin))
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Concat(times...)
			slices.Sort(all)
			b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verifications/s")
		})
	}
}

// BenchmarkGatewayEnrol enrols people for verification and identification, some of them together.
func BenchmarkGatewayEnrol(b *testing.B) {
	for _, n := range []int{1, 16, MaxItems} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rng, w := seeded(b), diskWorld(b)
			templates := make([][]float32, 64)
			for i := range templates {
				templates[i] = unit(rng, 512)
			}
			people, enrolled := make([]Person, n), 0
			cpu := processorTime()
			for b.Loop() {
				for i := range people {
					people[i] = Person{fmt.Sprint(enrolled), Enrolment{Policy: 2, Template: templates[enrolled%len(templates)]}}
					enrolled++
				}
				for _, out := range w.gateway.EnrolAll(b.Context(), "t", people) {
					if out.Err != nil {
						b.Fatal(out.Err)
					}
				}
			}
			reportCPU(b, cpu, enrolled)
			b.ReportMetric(float64(enrolled)/b.Elapsed().Seconds(), "people/s")
		})
	}
}
