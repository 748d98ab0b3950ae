package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"mien/bench"
	"mien/extract"
)

type benchCmd struct {
	Index   benchIndexCmd   `cmd:"" help:"Build an index over a made-up gallery, time searches and count what they miss."`
	Import  benchImportCmd  `cmd:"" help:"Import a made-up file of people into an empty store, and compare with the disk's own speed."`
	HTTP    benchHTTPCmd    `cmd:"" name:"http" help:"Send requests to a server by a schedule and measure how long they take."`
	Parties benchPartiesCmd `cmd:"" help:"Measure decentralised matching: three parties, each in a process, and a gateway, with mutual TLS."`
	Misses  benchMissesCmd  `cmd:"" help:"Count how often a search loses a mate whose score is at the threshold."`
}

type benchIndexCmd struct {
	simdFlags
	Kind        string  `help:"Index: ${enum}." enum:"${bench_kinds}" default:"${bench_kind}"`
	Rows        int     `help:"Templates enrolled, one an identity." default:"100000"`
	Dim         int     `help:"Numbers in a template." default:"512"`
	Variant     string  `help:"Gallery: ${bench_variants} (default: space, which is fitted to real embeddings and has 512 numbers only, or isotropic where the dimension is another)." placeholder:"NAME"`
	Seed        uint64  `help:"Seed of the gallery." default:"1"`
	Probes      int     `help:"Mated probes: another photo of an enrolled identity each." default:"1000"`
	Concurrency int     `help:"Searches at once." default:"${cores}"`
	Top         int     `help:"Identities asked for." default:"1"`
	Threshold   float64 `help:"Least cosine of an answer." default:"0"`
	Miss        float64 `help:"Probability that a search may lose a row of its answer; 0 is the index's default." default:"0"`
	EF          int     `name:"ef" help:"Candidates that a search of a graph keeps; 0 is the index's default." default:"0"`
	M           int     `name:"m" help:"Links of a row of a graph; 0 is the index's default." default:"0"`
	EfConst     int     `name:"ef-construction" help:"Candidates for the links of a row of a graph; 0 is the index's default." default:"0"`
	Dir         string  `help:"Folder for the index's files (default: the system's for temporary files)." type:"path" placeholder:"DIR"`
	Seconds     float64 `help:"Search for at least so long, and for every probe once." default:"10"`
}

// Run measures and prints one object.
func (c *benchIndexCmd) Run(ctx context.Context, out *output) error {
	if err := c.use(); err != nil {
		return err
	}
	config := bench.IndexConfig{
		Kind: c.Kind, Rows: c.Rows, Dim: c.Dim, Variant: c.Variant, Seed: c.Seed, Probes: c.Probes, Concurrency: c.Concurrency,
		TopK: c.Top, Threshold: c.Threshold, Miss: c.Miss, Dir: c.Dir, Duration: time.Duration(c.Seconds * float64(time.Second)),
		Graph: bench.Graph{M: c.M, EfConstruction: c.EfConst, EF: c.EF},
	}
	if version != "development" {
		config.Commit = version
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		config.Progress = stages()
	}
	r, err := bench.Index(ctx, config)
	if err != nil {
		return err
	}
	return out.print(r, indexText(r))
}

type benchMissesCmd struct {
	simdFlags
	modelFlags
	Kind    string    `help:"Index: scan or scan-sketch." enum:"scan,scan-sketch" default:"scan"`
	Rows    int       `help:"Templates enrolled, one an identity." default:"100000"`
	Pairs   int       `help:"Pairs of a template and another photo of its identity." default:"100000"`
	Variant string    `help:"Gallery: ${bench_variants}." default:"space"`
	Seed    uint64    `help:"Seed of the gallery." default:"1"`
	Miss    []float64 `help:"Probabilities to ask for." default:"1e-6,1e-4,1e-3,1e-2"`
	Faces   string    `help:"Folder with a folder of photos for each person: real templates in place of a made-up gallery." type:"path" placeholder:"DIR"`
}

// Run measures and prints one object for each probability.
func (c *benchMissesCmd) Run(ctx context.Context, out *output) error {
	if err := c.use(); err != nil {
		return err
	}
	config := bench.MissConfig{Kind: c.Kind, Rows: c.Rows, Pairs: c.Pairs, Variant: c.Variant, Seed: c.Seed, Miss: c.Miss}
	var err error
	if c.Faces != "" {
		if config.Faces, err = c.embed(ctx); err != nil {
			return err
		}
	}
	reports, err := bench.Misses(ctx, config)
	for _, r := range reports {
		if err := out.print(r, missText(r)); err != nil {
			return err
		}
	}
	return err
}

func missText(r bench.MissReport) string {
	stage := "sketch"
	if r.Fitted {
		stage = "short codes"
	}
	return fmt.Sprintf("%s of %d templates (%s), %s: asked to lose at most %g, lost %d of %d pairs (95 %%: at most %.2g of them)",
		r.Source, r.Rows, r.Kind, stage, r.Miss, r.Lost, r.Pairs, r.Upper)
}

// embed makes templates of the photos; those without a face that can be enrolled are left out.
func (c *benchMissesCmd) embed(ctx context.Context) (*bench.FaceVector, error) {
	people, _, err := findPeople(c.Faces)
	if err != nil {
		return nil, err
	}
	var files, owners []string
	for _, p := range people {
		for _, file := range p.photos {
			files, owners = append(files, file), append(owners, p.id)
		}
	}
	templates := make([][]float32, len(files))
	m, err := c.everyFace(ctx, providerFlags{}, files, extract.Options{Select: extract.SelectLargest}, func(i int, f *extract.Face, _ string) {
		if f != nil {
			templates[i] = f.Template
		}
	})
	if err != nil {
		return nil, err
	}
	f := &bench.FaceVector{Dim: m.Dim}
	for i, t := range templates {
		if t != nil {
			f.People, f.Vectors = append(f.People, owners[i]), append(f.Vectors, t...)
		}
	}
	return f, nil
}

func indexText(r bench.IndexReport) string {
	kind := r.Kind
	if r.M > 0 {
		kind = fmt.Sprintf("%s (M %d, efConstruction %d, ef %d)", kind, r.M, r.EfConstruction, r.EF)
	}
	return fmt.Sprintf(`%s, %d rows of %d (%s), built in %.1f s, %.0f bytes a template
%d searches, %d at once, best %d ≥ %g: %.1f a second, p50 %.3f ms, p99 %.3f ms
%d mated probes: found %d, exactly %d; the index missed %d (95 %%: at most %.2g of them)
%s, %s, %d cores, %s`,
		kind, r.Rows, r.Dim, r.Variant, r.BuildSeconds, r.Bytes,
		r.Searches, r.Concurrency, r.TopK, r.Threshold, r.PerSecond, r.P50Ms, r.P99Ms,
		r.Mates, r.Found, r.ExactFound, r.IndexMisses, r.MissesUpper,
		r.CPU, r.Level, r.Cores, r.Go)
}

// stages shows one bar a stage on stderr. Called from one goroutine at a time.
func stages() func(stage string, done, total int) {
	var bar *progressbar.ProgressBar
	current := ""
	return func(stage string, done, total int) {
		if stage != current {
			if bar != nil {
				_ = bar.Clear()
			}
			current = stage
			bar = progressbar.NewOptions(total, progressbar.OptionSetDescription(stage), progressbar.OptionShowCount(),
				progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
		}
		_ = bar.Set(done)
	}
}
