package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/cpuid/v2"

	"mien/index"
	"mien/simd"
)

// IndexConfig says what Index measures. The zero value of each field means its default.
type IndexConfig struct {
	Kind        string        // of index, one of Kinds; the first
	Rows        int           // identities enrolled, one photo each; 100,000
	Dim         int           // of a template; 512
	Variant     string        // of the gallery; space, and isotropic where it has no such dimension
	Seed        uint64        // of the gallery; 1
	Probes      int           // mated ones, another photo of an enrolled identity each; 1,000
	Concurrency int           // searches at once; GOMAXPROCS
	TopK        int           // labels asked for; 1
	Threshold   float64       // least score of an answer; 0
	Duration    time.Duration // searches go on until it is over and every probe was searched for; 10 s
	Graph       Graph         // of a kind that has one; the index's default
	Miss        float64       // probability that a search loses a row of its answer; the index's default
	Dir         string        // for the index's files; the system's for temporary files
	Commit      string        // what was measured, if known

	// Progress, if not nil, is told how far a stage is, from one goroutine at a time.
	Progress func(stage string, done, total int)
}

// IndexReport is what Index found; doc.go defines its numbers. It marshals to one JSON object.
type IndexReport struct {
	Kind        string  `json:"kind"`
	Variant     string  `json:"variant"`
	Seed        uint64  `json:"seed"`
	Rows        int     `json:"rows"`
	Dim         int     `json:"dim"`
	Probes      int     `json:"probes"`
	Mates       int     `json:"mates"`
	Concurrency int     `json:"concurrency"`
	TopK        int     `json:"top_k"`
	Threshold   float64 `json:"threshold"`

	M              int `json:"m,omitempty"` // of graphs only, as the next two
	EfConstruction int `json:"ef_construction,omitempty"`
	EF             int `json:"ef,omitempty"`

	Found        int     `json:"found"`
	ExactFound   int     `json:"exact_found"`
	IndexMisses  int     `json:"index_misses"`
	MissesUpper  float64 `json:"index_misses_upper_95"` // of the rate
	Searches     int     `json:"searches"`
	P50Ms        float64 `json:"p50_ms"`
	P99Ms        float64 `json:"p99_ms"`
	PerSecond    float64 `json:"probes_per_second"`
	BuildSeconds float64 `json:"build_seconds"`
	Bytes        float64 `json:"bytes_per_template"`

	Level  string `json:"level"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
	Commit string `json:"commit,omitempty"`
}

// ErrConfig says that a measurement's numbers are out of range.
var ErrConfig = errors.New("bench: configuration")

const (
	buildBatch  = 1 << 15 // rows generated, appended and compared at a time: 64 MiB at dim 512
	appendBatch = 1 << 11 // rows of one call of Append

	maxRows   = 1<<32 - 1<<10
	maxProbes = 1 << 24
)

func (c IndexConfig) withDefaults() IndexConfig {
	c.Kind, c.Rows, c.Dim = cmp.Or(c.Kind, Kinds()[0]), cmp.Or(c.Rows, 100_000), cmp.Or(c.Dim, SpaceDim)
	if c.Variant == "" {
		c.Variant = Isotropic
		if c.Dim == SpaceDim {
			c.Variant = Space
		}
	}
	c.Seed, c.Probes, c.TopK = cmp.Or(c.Seed, 1), cmp.Or(c.Probes, 1000), cmp.Or(c.TopK, 1)
	c.Concurrency, c.Duration = cmp.Or(c.Concurrency, runtime.GOMAXPROCS(0)), cmp.Or(c.Duration, 10*time.Second)
	return c
}

func (c IndexConfig) validate() error {
	switch {
	case c.Rows < 1 || c.Rows > maxRows:
		return fmt.Errorf("%w: %d rows", ErrConfig, c.Rows)
	case c.Probes < 1 || c.Probes > maxProbes:
		return fmt.Errorf("%w: %d probes", ErrConfig, c.Probes)
	case math.IsNaN(c.Threshold):
		return fmt.Errorf("%w: threshold is not a number", ErrConfig)
	case c.Concurrency < 1 || c.Concurrency > 1<<12 || c.TopK < 1 || c.Duration < 0:
		return fmt.Errorf("%w: concurrency %d, top %d, duration %v", ErrConfig, c.Concurrency, c.TopK, c.Duration)
	}
	return nil
}

// measurement is one run of Index.
type measurement struct {
	IndexConfig
	gallery *Gallery
	index   *Searcher
	probes  []float32
	exact   *Exact
	report  IndexReport
	telling sync.Mutex // held while Progress runs
}

// Index builds an index of c.Rows templates, finds the exact answer of every probe meanwhile, then searches for the
// probes, and reports both. It holds the index, the probes and 64 MiB of rows (at dim 512). Errors: ErrConfig,
// ErrGallery, ctx's, the index's.
func Index(ctx context.Context, c IndexConfig) (IndexReport, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return IndexReport{}, err
	}
	m := measurement{IndexConfig: c}
	var err error
	if m.gallery, err = NewGallery(c.Variant, c.Dim, c.Seed); err != nil {
		return IndexReport{}, err
	}
	if m.index, err = OpenIndex(c.Kind, c.Dim, c.Dir, c.Graph); err != nil {
		return IndexReport{}, err
	}
	if err = m.run(ctx); err != nil {
		return IndexReport{}, errors.Join(err, m.index.Close())
	}
	return m.report, m.index.Close()
}

func (m *measurement) run(ctx context.Context) error {
	m.describe()
	m.drawProbes()
	if err := m.build(ctx); err != nil {
		return err
	}
	best, err := m.search(ctx)
	if err == nil {
		m.judge(best)
	}
	return err
}

func (m *measurement) describe() {
	m.report = IndexReport{
		Kind: m.Kind, Variant: m.Variant, Seed: m.Seed, Rows: m.Rows, Dim: m.Dim, Probes: m.Probes, Mates: m.Probes,
		Concurrency: m.Concurrency, TopK: m.TopK, Threshold: m.Threshold,
		M: m.index.Graph.M, EfConstruction: m.index.Graph.EfConstruction, EF: m.index.Graph.EF,
		Level: simd.Level(), CPU: strings.TrimSpace(cpuid.CPU.BrandName), Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(), Commit: m.Commit,
	}
}

// mate is the identity that a probe shows: they are spread evenly over the gallery.
func (m *measurement) mate(probe int) uint64 {
	return uint64(probe%m.Rows) * uint64(max(m.Rows/m.Probes, 1))
}

// drawProbes takes photo 1 of each mate, and a further photo once all rows have had one.
func (m *measurement) drawProbes() {
	for i := range m.Probes {
		m.probes = m.gallery.Append(m.probes, m.mate(i), uint32(1+i/m.Rows), 1)
	}
	m.exact = NewExact(m.Dim, 1, m.probes)
}

func (m *measurement) probe(i int) []float32 { return m.probes[i*m.Dim : (i+1)*m.Dim] }

// build streams the gallery by. Only the index's own work is timed.
func (m *measurement) build(ctx context.Context) error {
	vectors := make([]float32, min(buildBatch, m.Rows)*m.Dim)
	for first := 0; first < m.Rows; first += buildBatch {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.progress("enrolling", first, m.Rows)
		n := min(buildBatch, m.Rows-first)
		rows := vectors[:n*m.Dim]
		_ = inParts(n, func(from, to int) error {
			m.gallery.Append(rows[from*m.Dim:from*m.Dim:to*m.Dim], uint64(first+from), 0, to-from)
			return nil
		})
		start := time.Now()
		err := inParts(n, func(from, to int) error { return appendFrom(m.index, m.Dim, first+from, rows[from*m.Dim:to*m.Dim]) })
		if err == nil {
			err = m.index.Wait(ctx) // a graph is built behind Append's back, and here, not during the comparison
		}
		m.report.BuildSeconds += time.Since(start).Seconds()
		if err != nil {
			return err
		}
		m.exact.Add(uint64(first), rows)
	}
	m.report.Bytes = float64(m.index.Bytes()) / float64(m.Rows)
	runtime.GC()   // what building left behind is not the searches' to collect,
	m.index.Sync() // nor to write
	return nil
}

// appendFrom enrols vectors, float32[dim] each, under the labels first, first+1, ….
func appendFrom(x searcher, dim, first int, vectors []float32) error {
	labels := make([]uint32, len(vectors)/dim)
	for i := range labels {
		labels[i] = uint32(first + i)
	}
	return x.Append(labels, vectors, make([]uint32, len(labels)))
}

// inParts calls f for parts of n rows on all cores.
func inParts(n int, f func(from, to int) error) error {
	parts := (n + appendBatch - 1) / appendBatch
	more := func(i int) bool { return i < parts }
	return concurrently(min(runtime.GOMAXPROCS(0), parts), more, func(_, i int) error {
		return f(i*appendBatch, min((i+1)*appendBatch, n))
	})
}

// concurrently calls f with the worker's number and i = 0, 1, …, each once, while more(i), and returns the errors; a
// worker stops at its first.
func concurrently(workers int, more func(i int) bool, f func(worker, i int) error) error {
	var next atomic.Int64
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; errs[w] == nil && more(i); i = int(next.Add(1)) - 1 {
				errs[w] = f(w, i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// worker is what one of the searching goroutines keeps.
type worker struct {
	hits      []index.Hit
	latencies []time.Duration
}

// search returns each probe's best hit, and times searches until the time is over and each probe had its turn. The
// first searches, which fill pools and caches, are not counted.
func (m *measurement) search(ctx context.Context) ([]index.Hit, error) {
	best, workers := make([]index.Hit, m.Probes), make([]worker, m.Concurrency)
	warm := func(i int) bool { return i < 4*m.Concurrency }
	if err := concurrently(m.Concurrency, warm, func(w, i int) error {
		_, err := m.searchOne(ctx, &workers[w], i%m.Probes)
		return err
	}); err != nil {
		return nil, err
	}
	for w := range workers {
		workers[w].latencies = workers[w].latencies[:0]
	}
	start := time.Now()
	more := func(i int) bool { return i < m.Probes || time.Since(start) < m.Duration }
	err := concurrently(m.Concurrency, more, func(w, i int) error {
		hit, err := m.searchOne(ctx, &workers[w], i%m.Probes)
		if i < m.Probes {
			best[i] = hit
		}
		m.progress("searching", min(i, m.Probes), m.Probes)
		return err
	})
	m.time(workers, time.Since(start))
	return best, err
}

// searchOne returns the best answer, or a score of −Inf where there is none.
func (m *measurement) searchOne(ctx context.Context, w *worker, probe int) (best index.Hit, err error) {
	start := time.Now()
	w.hits, err = m.index.SearchInto(ctx, w.hits[:0], m.probe(probe), index.Options{K: m.TopK, Threshold: float32(m.Threshold), Miss: m.Miss})
	w.latencies = append(w.latencies, time.Since(start))
	if len(w.hits) == 0 {
		return index.Hit{Score: float32(math.Inf(-1))}, err
	}
	return w.hits[0], err
}

func (m *measurement) time(workers []worker, elapsed time.Duration) {
	var all []time.Duration
	for _, w := range workers {
		all = append(all, w.latencies...)
	}
	slices.Sort(all)
	m.report.Searches = len(all)
	m.report.P50Ms, m.report.P99Ms = quantileMs(all, 0.5), quantileMs(all, 0.99)
	m.report.PerSecond = float64(len(all)) / elapsed.Seconds()
}

// quantileMs is the least of sorted times that a share p of them does not exceed.
func quantileMs(sorted []time.Duration, p float64) float64 {
	i := max(int(math.Ceil(p*float64(len(sorted))))-1, 0)
	return float64(sorted[i].Nanoseconds()) / 1e6
}

// judge holds the index's answers against the exact ones.
func (m *measurement) judge(best []index.Hit) {
	rounding, due := Rounding(m.Dim), 0
	for i := range m.Probes {
		exact, mate := m.exact.Best(i)[0], m.mate(i)
		if exact.Row == mate && float64(exact.Score) >= m.Threshold {
			m.report.ExactFound++
		}
		if uint64(best[i].Label) == mate && !math.IsInf(float64(best[i].Score), -1) {
			m.report.Found++
		}
		least := float64(exact.Score) - rounding
		if least < m.Threshold {
			continue
		}
		due++
		if !(float64(best[i].Score) >= least) {
			m.report.IndexMisses++
		}
	}
	m.report.MissesUpper = index.UpperBound(m.report.IndexMisses, due)
}

// Rounding bounds what two float32 dot products of unit vectors may differ by: package simd's error bound, twice.
func Rounding(dim int) float64 {
	k := float64(dim+8) * 0x1p-24
	return 2 * (1 + 4e-6) * k / (1 - k) // and lengths within 2e-6 of 1
}

// progress tells nobody while another goroutine tells.
func (m *measurement) progress(stage string, done, total int) {
	if m.Progress != nil && m.telling.TryLock() {
		m.Progress(stage, done, total)
		m.telling.Unlock()
	}
}
