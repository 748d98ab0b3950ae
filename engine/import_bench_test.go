package engine

import (
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

var (
	importPeople = flag.Int("import-people", 100_000, "people that BenchmarkImport imports, with one template each")
	importRandom = flag.Bool("import-random", false, "BenchmarkImport's ids are in random order")
)

// BenchmarkImport imports people with a template of 512 numbers each from memory into an empty gallery on the disk (TMPDIR).
func BenchmarkImport(b *testing.B) {
	space := Space{ID: "bench-512", Dim: 512, Calibration: testCurve}
	for b.Loop() {
		b.StopTimer()
		c := Config{Dir: b.TempDir(), MasterKey: testKey, Spaces: []Space{space}, RecallSample: -1}
		e := open(b, c)
		if _, _, err := e.CreateGallery(b.Context(), "t", "g", GallerySpec{Index: indexScan}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		begin, cpu, n := time.Now(), processorTime(), 0
		err := e.Import(b.Context(), "t", "g", ImportOptions{Space: space.ID}, benchPeople(space, *importPeople), func(r []ImportResult) error {
			n += len(r)
			return nil
		})
		if err != nil || n != *importPeople {
			b.Fatal(n, err)
		}
		b.ReportMetric(float64(n)/time.Since(begin).Seconds(), "templates/s")
		b.ReportMetric(float64((processorTime()-cpu).Nanoseconds())/1e3/float64(n), "cpu-µs/template")
		b.StopTimer()
		e.Close()
		b.StartTimer()
	}
}

// benchPeople yields people whose templates are windows of one pool of random numbers.
func benchPeople(space Space, n int) iter.Seq2[PortablePerson, error] {
	rng := rand.New(rand.NewPCG(1, 1))
	pool := make([]float32, 1<<20)
	for i := range pool {
		pool[i] = float32(rng.NormFloat64())
	}
	now := time.Now()
	return func(yield func(PortablePerson, error) bool) {
		for i := range n {
			at := rng.IntN(len(pool) - space.Dim)
			id := i
			if *importRandom {
				id = rng.IntN(1 << 40)
			}
			p := PortablePerson{ID: fmt.Sprintf("person-%012d", id), Created: now, Updated: now,
				Templates: []PortableTemplate{{Number: 1, Created: now, Source: "image", Vector: pool[at : at+space.Dim]}}}
			if !yield(p, nil) {
				return
			}
		}
	}
}

// processorTime is what this process has used of all processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
