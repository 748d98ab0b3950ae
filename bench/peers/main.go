package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/klauspost/cpuid/v2"

	"mien/bench"
	"mien/simd"
)

// chunk is how many probes a peer is handed at a time.
const chunk = 1000

// gallery is what all peers search.
type gallery struct {
	dim, rows int
	vectors   []float32 // rows × dim
	probes    []float32
	exact     []bench.Best
}

func (g *gallery) row(i int) []float32 { return g.vectors[i*g.dim : (i+1)*g.dim] }

func (g *gallery) count() int { return len(g.probes) / g.dim }

// family is a peer; it is built once for all its settings.
type family struct {
	name    string
	maxRows int // it is left out above; 0: never
	build   func(g *gallery) (*built, error)
}

// built is a peer that holds the gallery.
type built struct {
	bytes    int64
	settings []setting
	close    func()
}

// setting is one way to search. search fills best with the label of the best row of each probe.
type setting struct {
	name   string
	extra  int64 // bytes held for this setting alone
	search func(best []uint32, probes []float32, threads int) error
}

// result is a line of the table.
type result struct {
	Name       string  `json:"name"`
	Setting    string  `json:"setting"`
	Rows       int     `json:"rows"`
	BuildS     float64 `json:"build_seconds"`
	PerSecond1 float64 `json:"probes_per_second_1_thread"`
	PerSecond2 float64 `json:"probes_per_second_2_threads"`
	Found      float64 `json:"found"` // share of probes
	RowBytes   float64 `json:"bytes_per_row"`
}

// report is the whole run.
type report struct {
	CPU     string   `json:"cpu"`
	Cores   int      `json:"cores"`
	Level   string   `json:"level"`
	Go      string   `json:"go"`
	Commit  string   `json:"commit,omitempty"`
	Variant string   `json:"variant"`
	Dim     int      `json:"dim"`
	Seed    uint64   `json:"seed"`
	Probes  int      `json:"probes"`
	Seconds float64  `json:"seconds"`
	Results []result `json:"results"`
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("peers: ")
	runtime.LockOSThread() // OpenMP keeps its threads for the one that calls
	var r report
	rows := flag.String("rows", "20000,50000", "sizes of the gallery, each a run of its own")
	out := flag.String("out", filepath.Join("build", "bench"), "folder for peers.json and peers.md")
	only := flag.String("only", "", "only peers whose name has this in it")
	flag.StringVar(&r.Variant, "variant", bench.Space, "gallery: "+strings.Join(bench.Variants(), ", "))
	flag.IntVar(&r.Dim, "dim", bench.SpaceDim, "numbers in a template")
	flag.Uint64Var(&r.Seed, "seed", 1, "seed of the gallery")
	flag.IntVar(&r.Probes, "probes", 1000, "mated probes")
	flag.Float64Var(&r.Seconds, "seconds", 1, "least time of each of three measurements")
	flag.StringVar(&r.Commit, "commit", "", "what is measured, for the report")
	flag.Parse()
	r.CPU, r.Cores, r.Level, r.Go = strings.TrimSpace(cpuid.CPU.BrandName), runtime.NumCPU(), simd.Level(), runtime.Version()
	for field := range strings.SplitSeq(*rows, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 || r.Probes < 1 {
			log.Fatalf("-rows %q, -probes %d: not numbers of rows and probes", *rows, r.Probes)
		}
		if err := r.run(n, *only); err != nil {
			log.Fatal(err)
		}
	}
	if err := r.write(os.Stdout, *out); err != nil {
		log.Fatal(err)
	}
}

// run adds the results of all families over one gallery.
func (r *report) run(rows int, only string) error {
	g, err := newGallery(r.Variant, r.Dim, r.Seed, rows, r.Probes)
	if err != nil {
		return err
	}
	for _, f := range append(families(), nativeFamilies()...) {
		if !strings.Contains(f.name, only) || f.maxRows != 0 && rows > f.maxRows {
			continue
		}
		log.Printf("%d rows: %s", rows, f.name)
		if err := r.family(g, f); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return nil
}

// newGallery enrols photo 0 of identities 0, …, rows−1; probes are photo 1 of some, spread evenly.
func newGallery(variant string, dim int, seed uint64, rows, probes int) (*gallery, error) {
	made, err := bench.NewGallery(variant, dim, seed)
	if err != nil {
		return nil, err
	}
	g := &gallery{dim: dim, rows: rows, vectors: made.Append(nil, 0, 0, rows)}
	for i := range probes {
		g.probes = made.Append(g.probes, uint64(i*rows/probes), 1, 1)
	}
	e := bench.NewExact(dim, g.probes)
	e.Add(0, g.vectors)
	g.exact = e.Best()
	return g, nil
}

func (r *report) family(g *gallery, f family) error {
	start := time.Now()
	b, err := f.build(g)
	if err != nil {
		return err
	}
	defer b.close()
	seconds := time.Since(start).Seconds()
	runtime.GC()
	for _, s := range b.settings {
		line := result{Name: f.name, Setting: s.name, Rows: g.rows, BuildS: seconds, RowBytes: float64(b.bytes+s.extra) / float64(g.rows)}
		best, err := r.rates(g, s, &line)
		if err != nil {
			return err
		}
		for i, exact := range g.exact {
			if uint64(best[i]) == exact.Row {
				line.Found += 1 / float64(len(g.exact))
			}
		}
		r.Results = append(r.Results, line)
	}
	return nil
}

// turns is how often each number of threads is measured, one after the other; the best counts, since what else runs on the
// machine only slows.
const turns = 3

// rates measures on two threads and on one, and returns the answers.
func (r *report) rates(g *gallery, s setting, line *result) (best []uint32, err error) {
	for turn := range turns {
		answers, two, err := r.measure(g, s, 2, turn == 0)
		if err != nil {
			return nil, err
		}
		if turn == 0 {
			best = answers
		}
		_, one, err := r.measure(g, s, 1, false)
		if err != nil {
			return nil, err
		}
		line.PerSecond1, line.PerSecond2 = max(line.PerSecond1, one), max(line.PerSecond2, two)
	}
	return best, nil
}

// measure searches for at least r.Seconds and, if all, for every probe, and returns the answers and the rate.
func (r *report) measure(g *gallery, s setting, threads int, all bool) ([]uint32, float64, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
	best := make([]uint32, g.count())
	start, done, first := time.Now(), 0, 0
	for all && done < g.count() || time.Since(start).Seconds() < r.Seconds {
		n := min(chunk, g.count()-first)
		if err := s.search(best[first:first+n], g.probes[first*g.dim:(first+n)*g.dim], threads); err != nil {
			return nil, 0, err
		}
		done += n
		first = (first + n) % g.count()
	}
	return best, float64(done) / time.Since(start).Seconds(), nil
}

// write prints the table and leaves it as JSON and Markdown in the folder.
func (r *report) write(w io.Writer, folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "peers.json"), append(data, '\n'), 0o666); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "peers.md"), []byte(r.markdown()), 0o666); err != nil {
		return err
	}
	return r.table(w)
}

var header = []string{"name", "setting", "rows", "build s", "q/s 1", "q/s 2", "found", "B/row"}

func (l result) cells() []string {
	return []string{l.Name, l.Setting, strconv.Itoa(l.Rows), fmt.Sprintf("%.2f", l.BuildS), fmt.Sprintf("%.0f", l.PerSecond1),
		fmt.Sprintf("%.0f", l.PerSecond2), fmt.Sprintf("%.3f", l.Found), fmt.Sprintf("%.0f", l.RowBytes)}
}

func (r *report) head() string {
	return fmt.Sprintf("%s, %d cores, mien's kernels %s, %s; gallery %s, dim %d, seed %d; %d mated probes", r.CPU, r.Cores, r.Level, r.Go,
		r.Variant, r.Dim, r.Seed, r.Probes)
}

func (r *report) table(w io.Writer) error {
	fmt.Fprintln(w, r.head())
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, l := range r.Results {
		fmt.Fprintln(t, strings.Join(l.cells(), "\t"))
	}
	return t.Flush()
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n| %s |\n|%s\n", r.head(), strings.Join(header, " | "), strings.Repeat("---|", len(header)))
	for _, l := range r.Results {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(l.cells(), " | "))
	}
	return b.String()
}
