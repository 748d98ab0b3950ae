package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/klauspost/cpuid/v2"

	"mien/engine"
	"mien/engine/mpc"
	"mien/simd"
)

type benchPartiesCmd struct {
	simdFlags
	Rows     []int         `help:"People of each identification; they are enrolled first, which is measured too and takes minutes for 100000." default:"10000,100000"`
	Duration time.Duration `help:"Of each measurement." default:"5s"`
	Dir      string        `help:"Folder for the parties' folders, which are deleted after (default: the system's for temporary files)." type:"path" placeholder:"DIR"`
}

// partiesReport is what was measured: three parties, each a process with a folder, and the gateway in this one, with mutual TLS.
type partiesReport struct {
	Rows  []partiesRow `json:"measured"`
	CPU   string       `json:"cpu"`
	Level string       `json:"level"`
	Cores int          `json:"cores"`
	Go    string       `json:"go"`
}

// partiesRow is one measurement. Milliseconds are of a call, whatever it asks.
type partiesRow struct {
	What      string  `json:"what"`
	InFlight  int     `json:"in_flight"`
	Calls     int     `json:"calls"`
	PerSecond float64 `json:"per_second"` // of what is asked: a batch of 64 is 64
	P50Ms     float64 `json:"p50_ms"`
	P99Ms     float64 `json:"p99_ms"`
}

// Policies of the parties that are measured. Their budgets are as good as none: each question is about the same few people.
const benchPolicies = `{"policies": {"1": {"model": 1, "dim": 512, "log2_scale": 12, "cosine": 0.4, "gallery": 3},
	"2": {"model": 1, "dim": 512, "log2_scale": 12, "cosine": 0.4, "check": "norm"},
	"3": {"model": 1, "dim": 512, "log2_scale": 7, "cosine": 0.55}},
	"budgets": {"record": [{"attempts": 4000000000, "window": "1h"}], "tenant": [{"attempts": 4000000000, "window": "1h"}], "identify": [{"attempts": 2000000000, "window": "1h"}]}}`

// Run measures and prints one object.
func (c *benchPartiesCmd) Run(ctx context.Context, out *output) (err error) {
	if err := c.use(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(c.Dir, "mien-parties-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := benchParties(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	r := &partiesReport{CPU: strings.TrimSpace(cpuid.CPU.BrandName), Level: simd.Level(), Cores: runtime.GOMAXPROCS(0), Go: runtime.Version()}
	b := partiesBench{ctx, p.serves.Gateway, c.Duration, rand.New(rand.NewPCG(1, 1)), r}
	if err := b.verify(); err != nil {
		return err
	}
	for _, rows := range c.Rows {
		if err := b.identify(rows); err != nil {
			return err
		}
	}
	return out.print(r, r.text())
}

// benchParties starts what is measured.
func benchParties(ctx context.Context, dir string) (*parties, error) {
	of := engine.Space{ID: "bench", Dim: 512, Calibration: engine.Calibration{Points: []engine.CalibrationPoint{{Cosine: 0.4, FMR: 1e-4}}}}
	log := slog.New(slog.DiscardHandler)
	for _, name := range []string{"party0", "party1", "party2", "gateway"} {
		folder := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(folder, 0o700), writeNew(filepath.Join(folder, policiesFile), benchPolicies)); err != nil {
			return nil, err
		}
	}
	k, err := newChildren(dir, of, logFlags{LogFormat: "text", LogLevel: "error"}, log)
	if err != nil {
		return nil, err
	}
	k.start(ctx)
	config := partiesConfig{Cluster: devCluster, Dir: filepath.Join(dir, "gateway"), Spaces: policiesOf([]engine.Space{of}), Parties: k.at}
	p, err := config.open([]engine.Space{of}, log)
	if err != nil {
		k.stop()
		return nil, err
	}
	p.children = k
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.serves.Gateway.AwaitReady(ready); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

type partiesBench struct {
	ctx     context.Context
	gateway *mpc.Gateway
	time    time.Duration
	rng     *rand.Rand
	report  *partiesReport
}

// unit is a made-up template.
func unit(rng *rand.Rand, dim int) []float32 {
	v, sum := make([]float32, dim), 0.0
	for i := range v {
		v[i] = float32(rng.NormFloat64())
		sum += float64(v[i]) * float64(v[i])
	}
	for i := range v {
		v[i] = float32(float64(v[i]) / math.Sqrt(sum))
	}
	return v
}

const benchBatch = 64

func (b *partiesBench) verify() error {
	var users []mpc.Question
	for i := range benchBatch {
		q := mpc.Question{User: fmt.Sprint(i), Probe: unit(b.rng, 512)}
		if _, err := b.gateway.Enrol(b.ctx, "verify", q.User, mpc.Enrolment{Policy: 1, Template: q.Probe}); err != nil {
			return err
		}
		users = append(users, q)
	}
	one := func(policy uint16) func(int) error {
		return func(i int) error {
			q := users[i%benchBatch]
			match, err := b.gateway.Verify(b.ctx, "verify", q.User, policy, q.Probe)
			return check(match, err)
		}
	}
	batch := func(int) error {
		match, err := b.gateway.VerifyAll(b.ctx, "verify", 2, users)
		return check(!slices.Contains(match, false), err)
	}
	return cmp.Or(b.measure("verify, fully checked", 1, 1, one(1)), b.measure("verify, fully checked", 16, 1, one(1)),
		b.measure("verify, norm checked, batches of 64", 4, benchBatch, batch))
}

// Enrolments while a gallery is filled: as many people at once as may be, and some such calls at a time.
const (
	enrolBatch   = mpc.MaxItems
	enrolFlights = 3
)

// identify fills a gallery, which is measured too, and asks for one of its people, who alone must be found.
func (b *partiesBench) identify(rows int) error {
	tenant, probe, right := fmt.Sprint("identify ", rows), unit(b.rng, 512), fmt.Sprint(rows/3)
	if err := b.fill(tenant, rows, right, probe); err != nil {
		return err
	}
	return b.measure(fmt.Sprintf("identify among %d", rows), 1, 1, func(int) error {
		found, err := b.gateway.Identify(b.ctx, tenant, 3, probe)
		return check(slices.Equal(found, []string{right}), err)
	})
}

// fill enrols strangers, and one with a template that is known.
func (b *partiesBench) fill(tenant string, rows int, user string, template []float32) error {
	var next atomic.Int64
	errs := make([]error, enrolFlights)
	times := make([][]time.Duration, enrolFlights)
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(rows), uint64(w)))
			for from := int(next.Add(enrolBatch)) - enrolBatch; from < rows && errs[w] == nil; from = int(next.Add(enrolBatch)) - enrolBatch {
				var people []mpc.Person
				for i := from; i < min(from+enrolBatch, rows); i++ {
					p := mpc.Person{User: fmt.Sprint(i), Enrolment: mpc.Enrolment{Policy: 1, Template: template}}
					if p.User != user {
						p.Template = unit(rng, 512)
					}
					people = append(people, p)
				}
				start := time.Now()
				for _, out := range b.gateway.EnrolAll(b.ctx, tenant, people) {
					errs[w] = cmp.Or(errs[w], out.Err)
				}
				times[w] = append(times[w], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.add(fmt.Sprintf("enrol %d, batches of %d", rows, enrolBatch), enrolFlights, rows, slices.Concat(times...), time.Since(begin))
	return errors.Join(errs...)
}

func check(ok bool, err error) error {
	if err == nil && !ok {
		err = errors.New("the parties' answer is wrong")
	}
	return err
}

// measure asks for as long as is measured, and a tenth of that before.
func (b *partiesBench) measure(what string, inFlight, each int, ask func(i int) error) error {
	if _, _, err := b.asked(inFlight, b.time/10, ask); err != nil {
		return err
	}
	times, took, err := b.asked(inFlight, b.time, ask)
	if err != nil {
		return err
	}
	b.add(what, inFlight, len(times)*each, times, took)
	return nil
}

// add reports n of what was asked, in calls that took times.
func (b *partiesBench) add(what string, inFlight, n int, times []time.Duration, took time.Duration) {
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return math.Round(float64(d.Microseconds())) / 1000 }
	b.report.Rows = append(b.report.Rows, partiesRow{What: what, InFlight: inFlight, Calls: len(times),
		PerSecond: math.Round(float64(n) / took.Seconds()), P50Ms: ms(times[len(times)/2]), P99Ms: ms(times[len(times)*99/100])})
}

func (b *partiesBench) asked(inFlight int, d time.Duration, ask func(i int) error) (all []time.Duration, took time.Duration, err error) {
	times, errs := make([][]time.Duration, inFlight), make([]error, inFlight)
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range inFlight {
		wg.Go(func() {
			for i := w; errs[w] == nil && (len(times[w]) == 0 || time.Since(begin) < d); i += inFlight {
				start := time.Now()
				errs[w] = ask(i)
				times[w] = append(times[w], time.Since(start))
			}
		})
	}
	wg.Wait()
	return slices.Concat(times...), time.Since(begin), errors.Join(errs...)
}

func (r *partiesReport) text() string {
	return table(func(w *tabwriter.Writer) {
		fmt.Fprint(w, "three processes, mutual TLS\tin flight\ta second\tp50 ms\tp99\t\n")
		for _, row := range r.Rows {
			fmt.Fprintf(w, "%s\t%d\t%.0f\t%.2f\t%.2f\t\n", row.What, row.InFlight, row.PerSecond, row.P50Ms, row.P99Ms)
		}
	}) + fmt.Sprintf("%s, %s, %d cores, %s", r.CPU, r.Level, r.Cores, r.Go)
}
