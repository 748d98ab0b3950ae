package mpc

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// benchCase is how the parties of a benchmark are joined.
type benchCase struct {
	name string
	open func(sid uint64, p Params, check Check) [Parties]*Session
}

func benchCases(b *testing.B) []benchCase {
	c := newCluster(b, LinkConfig{})
	return []benchCase{
		{"memory", func(_ uint64, p Params, check Check) [Parties]*Session { return trio(p, check) }},
		{"tls", func(sid uint64, p Params, check Check) [Parties]*Session { return c.sessions(b, sid, p, check) }},
	}
}

var nextSID atomic.Uint64

// benchItems are n items of dimension 512 and whether they match.
func benchItems(b *testing.B, p Params, n int) [Parties][]Item {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	var templates, probes [][]uint32
	var thresholds []int32
	threshold, err := p.Threshold(0.4)
	if err != nil {
		b.Fatal(err)
	}
	for range n {
		x := unit(rng, p.Dim)
		templates, probes = append(templates, encode(b, p, x)), append(probes, encode(b, p, near(rng, x, 0.6)))
		thresholds = append(thresholds, threshold)
	}
	return itemsOf(templates, probes, thresholds)
}

func BenchmarkVerify(b *testing.B) {
	p := defaults(b, 512, VerifyLogScale)
	for _, c := range benchCases(b) {
		for _, check := range []Check{CheckFull, CheckNorm} {
			for _, n := range []int{1, 16, 64} {
				items := benchItems(b, p, n)
				name := fmt.Sprintf("%s/%v/%d", c.name, map[Check]string{CheckFull: "full", CheckNorm: "norm"}[check], n)
				b.Run(name, func(b *testing.B) {
					var times []time.Duration
					cpu := processorTime()
					for b.Loop() {
						start := time.Now()
						got, err := verifyAll(b, c.open(nextSID.Add(1), p, check), items)
						if err != nil || !got[0] {
							b.Fatal(got, err)
						}
						times = append(times, time.Since(start))
					}
					reportCPU(b, cpu, n*len(times))
					report(b, times, n)
				})
			}
		}
	}
}

// BenchmarkVerifyInFlight has 16 sessions at once.
func BenchmarkVerifyInFlight(b *testing.B) {
	p := defaults(b, 512, VerifyLogScale)
	items := benchItems(b, p, 1)
	c := newCluster(b, LinkConfig{})
	b.SetParallelism(8) // × GOMAXPROCS
	cpu := processorTime()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := verifyAll(b, c.sessions(b, nextSID.Add(1), p, CheckFull), items); err != nil {
				b.Error(err)
			}
		}
	})
	reportCPU(b, cpu, b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verifications/s")
}

func report(b *testing.B, times []time.Duration, n int) {
	slices.SortFunc(times, cmp.Compare)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(n*len(times))/b.Elapsed().Seconds(), "verifications/s")
}

// reportCPU reports processor time, which other programs on the machine change less.
func reportCPU(b *testing.B, since time.Duration, n int) {
	b.ReportMetric(float64((processorTime()-since).Microseconds())/1000/float64(n), "cpu-ms/op")
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkIdentify(b *testing.B) {
	p := defaults(b, 512, IdentifyLogScale)
	cases := benchCases(b)
	for _, rows := range []int{10_000, 100_000} {
		g, probes, hit := benchGallery(b, p, rows)
		for _, c := range cases {
			b.Run(fmt.Sprintf("%s/%d", c.name, rows), func(b *testing.B) {
				var times []time.Duration
				cpu := processorTime()
				for b.Loop() {
					start := time.Now()
					got, err := identifyAll(b, c.open(nextSID.Add(1), p, CheckFull), g, probes)
					if err != nil || !got[hit] {
						b.Fatal(err)
					}
					times = append(times, time.Since(start))
				}
				reportCPU(b, cpu, len(times))
				report(b, times, 1)
			})
		}
	}
}

// benchGallery shares one row that matches among random ones, made so that 100,000 take no minute.
func benchGallery(b testing.TB, p Params, rows int) (g [Parties]Gallery, probes [Parties]Probe, hit int) {
	rng := rand.New(rand.NewPCG(2, uint64(rows)))
	var c [Parties][]uint16
	for i := range c {
		c[i] = NewComponents(rows * p.Dim)
	}
	hit = rows / 3
	x := unit(rng, p.Dim)
	var few [][]uint32
	for range 64 {
		few = append(few, encode(b, p, unit(rng, p.Dim)))
	}
	for i := range rows {
		row := few[i%len(few)]
		if i == hit {
			row = encode(b, p, x)
		}
		for j, v := range row {
			at, r := i*p.Dim+j, rng.Uint32()
			c[0][at], c[1][at] = uint16(r), uint16(r>>16)
			c[2][at] = uint16(v) - c[0][at] - c[1][at]
		}
	}
	for i := range g {
		g[i] = Gallery{Own: c[i], Next: c[(i+1)%Parties], Rows: rows}
	}
	threshold, err := p.Threshold(0.4)
	if err != nil {
		b.Fatal(err)
	}
	return g, probesOf(encode(b, p, near(rng, x, 0.6)), threshold), hit
}
