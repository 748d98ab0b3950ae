package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/term"

	"mien/bench/load"
	"mien/simd"
)

type benchHTTPCmd struct {
	simdFlags
	modelFlags
	providerFlags
	limitFlags
	remote

	Op          map[string]float64 `help:"Operations and their weights: ${bench_ops}." default:"verify=1" mapsep:"," placeholder:"NAME=WEIGHT,..."`
	Rate        float64            `help:"Requests a second, sent by a schedule whatever the server does; 0: --concurrency senders, each of whom asks again when it was answered." default:"500"`
	Poisson     bool               `help:"Requests come independently of each other, not equally spaced."`
	Duration    time.Duration      `help:"Of the schedule; of each step of --ramp; of all rounds of --empty." default:"10s"`
	Concurrency int                `help:"Requests in flight at most; who finds none free waits, which counts." default:"64"`
	Timeout     time.Duration      `help:"Time for a request to be sent, and again to be answered." default:"10s"`
	Ramp        bool               `help:"Raise the rate from --rate, by --factor a step, until the p99 passes --p99 or a request is refused or fails." xor:"how"`
	Factor      float64            `help:"From one rate of --ramp to the next." default:"1.25"`
	P99         time.Duration      `name:"p99" help:"Bound on the p99 for --ramp." default:"50ms"`
	Empty       bool               `help:"Compare with a handler that reads the same requests and does nothing: requests a second of both, by turns, as many as each answers." xor:"how"`

	People int      `help:"People enrolled, with one made-up template each." default:"10000"`
	Dim    int      `help:"Numbers in a template." default:"512"`
	Seed   uint64   `help:"Seed of people and schedule." default:"1"`
	Photos []string `help:"Photos, or folders of them, for the operations by photo." type:"path" placeholder:"PATH,..."`

	Running bool   `help:"Ask the server of --server, in a gallery that is deleted after; the key must be an administrator's (default: a server of its own in this process, on a free port, with a store that is deleted after)."`
	Space   string `help:"Embedding space of the gallery on the server of --running (default: the server's)."`
}

// httpReport is what was asked of which server, and what came of it: one of Load, Ramp and Empty.
type httpReport struct {
	Server string       `json:"server"` // address; "in process"
	People int          `json:"people"`
	Photos int          `json:"photos"`
	Load   *load.Report `json:"load,omitempty"`
	Ramp   *load.Curve  `json:"ramp,omitempty"`
	Empty  *emptyReport `json:"empty,omitempty"`

	CPU    string `json:"cpu"` // of this machine, as the next three
	Level  string `json:"level"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
	Commit string `json:"commit,omitempty"`
}

// Run makes a gallery on a server, asks by the schedule and prints one object. What was made is deleted, also after
// an interruption.
func (c *benchHTTPCmd) Run(ctx context.Context, out *output) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	photos, err := readPhotos(c.Photos)
	if err != nil {
		return err
	}
	s, err := c.server(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.undo.close()) }()
	w, err := c.workload(ctx, s, photos)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(ctx)) }()
	r := &httpReport{Server: s.name, People: c.People, Photos: len(photos),
		CPU: strings.TrimSpace(cpuid.CPU.BrandName), Level: simd.Level(), Cores: runtime.GOMAXPROCS(0), Go: runtime.Version(),
	}
	if version != "development" {
		r.Commit = version
	}
	if err := c.measure(ctx, w, r); err != nil {
		return err
	}
	return out.print(r, r.text())
}

// check refuses what could not be measured, before anything is made.
func (c *benchHTTPCmd) check() error {
	if err := c.use(); err != nil {
		return err
	}
	for name := range c.Op {
		if _, ok := operations[name]; !ok {
			return fmt.Errorf("--op: there is no %q: %s", name, strings.Join(operationNames(), ", "))
		}
		if byPhoto(name) && len(c.Photos) == 0 {
			return fmt.Errorf("--op %s needs --photos", name)
		}
	}
	switch {
	case c.People < 1:
		return errors.New("--people must be more than 0")
	case c.Empty && c.Running:
		return errors.New("--empty compares within this process: a server elsewhere, or with another network between, can't be held against it")
	}
	return nil
}

func (c *benchHTTPCmd) config(ops []load.Operation) load.Config {
	return load.Config{
		Operations: ops, Rate: c.Rate, Poisson: c.Poisson, Duration: c.Duration, Concurrency: c.Concurrency, Timeout: c.Timeout, Seed: c.Seed,
	}
}

// measure warms up, which opens connections and fills pools, and then measures.
func (c *benchHTTPCmd) measure(ctx context.Context, w *workload, r *httpReport) error {
	client, err := load.NewClient(w.api.base, w.tls)
	if err != nil {
		return err
	}
	defer client.Close()
	senders := w.senders(c.Op, client)
	config := c.config(to(client, senders))
	warm := config
	warm.Duration = min(c.Duration/5, time.Second)
	if _, err := load.Run(ctx, warm); err != nil {
		return err
	}
	switch {
	case c.Empty:
		r.Empty, err = againstEmpty(ctx, config, senders)
	case c.Ramp:
		r.Ramp = new(load.Curve)
		*r.Ramp, err = load.Ramp(ctx, load.RampConfig{Config: config, Factor: c.Factor, P99: c.P99, Progress: stepLine()})
	default:
		r.Load = new(load.Report)
		*r.Load, err = load.Run(ctx, config)
	}
	return err
}

// stepLine shows each step of a ramp on a terminal as it ends.
func stepLine() func(load.Report) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil
	}
	return func(r load.Report) { fmt.Fprintf(os.Stderr, "%.0f a second: p99 %.2f ms\n", r.Rate, r.All.Latency.P99) }
}

func (r *httpReport) text() string {
	var b strings.Builder
	switch {
	case r.Empty != nil:
		b.WriteString(r.Empty.text())
	case r.Ramp != nil:
		b.WriteString(curveText(r.Ramp))
	default:
		b.WriteString(loadText(r.Load))
	}
	fmt.Fprintf(&b, "server %s, %d people, %d photos; %s, %s, %d cores, %s", r.Server, r.People, r.Photos, r.CPU, r.Level, r.Cores, r.Go)
	return b.String()
}

const latencyHead = "p50 ms\tp90\tp99\tp99.9\tmax\tanswered/s\trefused\tfailed\t\n"

// latencyCells are a row under latencyHead.
func latencyCells(r load.Result) string {
	l := r.Latency
	return fmt.Sprintf("%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%d\t%d\t\n", l.P50, l.P90, l.P99, l.P999, l.Max, r.PerSecond, r.Refused, r.Failed)
}

// table aligns rows of cells that end in tabs.
func table(write func(*tabwriter.Writer)) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	write(w)
	_ = w.Flush()
	return b.String()
}

func loadText(r *load.Report) string {
	return table(func(w *tabwriter.Writer) {
		fmt.Fprint(w, "operation\t"+latencyHead)
		rows := r.Operations
		if len(rows) > 1 {
			rows = append(slices.Clone(rows), r.All)
		}
		for _, o := range rows {
			fmt.Fprint(w, o.Operation+"\t"+latencyCells(o))
		}
	}) + asked(r) + refusals(r.All)
}

// asked says what the schedule was and how it was kept.
func asked(r *load.Report) string {
	how := fmt.Sprintf("%g a second, equally spaced", r.Rate)
	switch {
	case r.Rate == 0:
		how = "a closed loop"
	case r.Poisson:
		how = fmt.Sprintf("%g a second, independent arrivals", r.Rate)
	}
	w := r.All.Waits
	return fmt.Sprintf("%s for %g s, %d at once at most; sent after their time by p50 %.2f, p99 %.2f, max %.2f ms\n",
		how, r.Scheduled, r.Concurrency, w.P50, w.P99, w.Max)
}

// refusals counts by code what was not answered; "" where all was.
func refusals(r load.Result) string {
	var b strings.Builder
	if r.Refused > 0 {
		fmt.Fprintf(&b, "refused within p50 %.2f, p99 %.2f, max %.2f ms\n", r.Refusal.P50, r.Refusal.P99, r.Refusal.Max)
	}
	for _, code := range slices.Sorted(maps.Keys(r.Codes)) {
		fmt.Fprintf(&b, "%s: %d\n", code, r.Codes[code])
	}
	return b.String()
}

func curveText(c *load.Curve) string {
	text := table(func(w *tabwriter.Writer) {
		fmt.Fprint(w, "rate\t"+latencyHead)
		for _, s := range c.Steps {
			fmt.Fprintf(w, "%.1f\t%s", s.Rate, latencyCells(s.All))
		}
	})
	if n := len(c.Steps); n > 0 {
		text += refusals(c.Steps[n-1].All)
	}
	return text + fmt.Sprintf("kept %.1f a second with p99 ≤ %g ms and nothing refused; ended because %s\n", c.Kept, c.P99Ms, c.Why)
}
