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
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/klauspost/cpuid/v2"

	"mien/bench"
	"mien/simd"
)

const (
	// chunk is how many probes a peer is handed at a time.
	chunk = 1000
	// topK is how many rows every search asks for.
	topK = 10
)

// gallery is what all peers search: every row under its own number.
type gallery struct {
	variant   string
	seed      uint64
	photos    int // of a person, enrolled: row r is photo r mod photos of person r / photos
	dim, rows int
	vectors   []float32 // rows × dim
	probes    []float32
	exact     *bench.Exact
}

func (g *gallery) row(i int) []float32 { return g.vectors[i*g.dim : (i+1)*g.dim] }

func (g *gallery) count() int { return len(g.probes) / g.dim }

// options are of all graphs.
type options struct {
	m, efConstruction int
	efs               []int
	keep              string // folder for hnswlib's graphs, "" for none
}

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
	note     *buildNote // of a graph that was or will be kept
	close    func()
}

// buildNote is how a kept graph was built; it is stored beside the graph.
type buildNote struct {
	Seconds float64 `json:"build_seconds"`
	Threads int     `json:"threads"`
	Nice    int     `json:"nice"` // above 0 the seconds mean little: others came first
}

// setting is one way to search. search fills found with the topK best rows of each probe, best first, and MaxUint32 where
// there are fewer.
type setting struct {
	name   string // where there is no ef
	ef     int    // of a graph's search
	extra  int64  // bytes held for this setting alone
	search func(found []uint32, probes []float32, threads int) error
}

// result is a line of the table.
type result struct {
	Variant    string  `json:"variant"`
	Rows       int     `json:"rows"`
	Name       string  `json:"name"`
	Setting    string  `json:"setting"`
	EF         int     `json:"ef,omitempty"`
	BuildS     float64 `json:"build_seconds"`
	BuildNice  int     `json:"build_nice,omitempty"` // what the graph was built at; above 0 the seconds mean little
	PerSecond1 float64 `json:"probes_per_second_1_thread"`
	PerSecond2 float64 `json:"probes_per_second_2_threads"`
	Recall1    float64 `json:"recall_1"`
	Recall10   float64 `json:"recall_10"`
	RowBytes   float64 `json:"bytes_per_row"`
}

// report is the whole run.
type report struct {
	CPU     string   `json:"cpu"`
	Cores   int      `json:"cores"`
	Level   string   `json:"level"`
	Go      string   `json:"go"`
	Commit  string   `json:"commit,omitempty"`
	Dim     int      `json:"dim"`
	Seed    uint64   `json:"seed"`
	Probes  int      `json:"probes"`
	Seconds float64  `json:"seconds"`
	Results []result `json:"results"`

	options options
	only    []string // parts of names of families
	folder  string   // for peers.json, peers.md and charts
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("peers: ")
	runtime.LockOSThread() // OpenMP keeps its threads for the one that calls
	var r report
	rows := flag.String("rows", "20000,50000", "sizes of the gallery, each a run of its own")
	variants := flag.String("variant", bench.Space, "galleries, each a run of its own: "+strings.Join(bench.Variants(), ", "))
	efs := flag.String("ef", "16,32,64,128,256,512,1024", "lengths of the graphs' lists of candidates in a search")
	only := flag.String("only", "", "only peers whose name has one of these in it")
	flag.IntVar(&r.options.m, "m", 16, "links of a row of a graph, twice as many in its lowest layer")
	flag.IntVar(&r.options.efConstruction, "efc", 200, "efConstruction of the graphs")
	flag.StringVar(&r.options.keep, "keep", "", "folder where hnswlib's graphs stay, and are taken from if they are there")
	flag.StringVar(&r.folder, "out", filepath.Join("build", "bench"), "folder for peers.json, peers.md and charts")
	flag.IntVar(&r.Dim, "dim", bench.SpaceDim, "numbers in a template")
	flag.Uint64Var(&r.Seed, "seed", 1, "seed of the gallery")
	flag.IntVar(&r.Probes, "probes", 1000, "mated probes")
	flag.Float64Var(&r.Seconds, "seconds", 1, "least time of each of three measurements")
	flag.StringVar(&r.Commit, "commit", "", "what is measured, for the report")
	flag.Parse()
	r.CPU, r.Cores, r.Level, r.Go = strings.TrimSpace(cpuid.CPU.BrandName), runtime.NumCPU(), simd.Level(), runtime.Version()
	r.only, r.options.efs = strings.Split(*only, ","), numbers("ef", *efs)
	if r.Probes < 1 || r.options.m < 2 || r.options.efConstruction < 1 {
		log.Fatalf("-probes %d, -m %d, -efc %d: out of range", r.Probes, r.options.m, r.options.efConstruction)
	}
	for variant := range strings.SplitSeq(*variants, ",") {
		for _, n := range numbers("rows", *rows) {
			if err := r.run(variant, n); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := r.table(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// numbers reads a flag's list.
func numbers(name, list string) (ns []int) {
	for field := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			log.Fatalf("-%s %q: not numbers above 0", name, list)
		}
		ns = append(ns, n)
	}
	return ns
}

// run adds the results of all families over one gallery, and writes the reports after each: some take an hour.
func (r *report) run(variant string, rows int) error {
	g, err := newGallery(variant, r.Dim, r.Seed, rows, r.Probes)
	if err != nil {
		return err
	}
	for _, f := range append(families(r.options), nativeFamilies(r.options)...) {
		in := func(part string) bool { return strings.Contains(f.name, part) }
		if !slices.ContainsFunc(r.only, in) || f.maxRows != 0 && rows > f.maxRows {
			continue
		}
		log.Printf("%s, %d rows: %s", variant, rows, f.name)
		if err := r.family(g, f); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := r.write(); err != nil {
			return err
		}
	}
	return nil
}

// newGallery enrols four photos a person of the latent variants, one of the others. Probes are the photo after these of
// some people, spread evenly.
func newGallery(variant string, dim int, seed uint64, rows, probes int) (*gallery, error) {
	made, err := bench.NewGallery(variant, dim, seed)
	if err != nil {
		return nil, err
	}
	g := &gallery{variant: variant, seed: seed, photos: 1, dim: dim, rows: rows, vectors: make([]float32, rows*dim)}
	if strings.HasPrefix(variant, "latent") {
		g.photos = 4
	}
	g.enrol(made)
	for i := range probes {
		g.probes = made.Append(g.probes, uint64(i*g.people()/probes), uint32(g.photos), 1)
	}
	g.exact = bench.NewExact(dim, min(topK, rows), g.probes)
	g.exact.Add(0, g.vectors)
	return g, nil
}

func (g *gallery) people() int { return (g.rows + g.photos - 1) / g.photos }

// enrol fills the rows.
func (g *gallery) enrol(made *bench.Gallery) {
	const step = 1024
	_ = split(g.people(), runtime.GOMAXPROCS(0), func(from, to int) error {
		photos := make([]float32, 0, step*g.dim)
		for ; from < to; from += step {
			n := min(step, to-from)
			for p := range g.photos {
				photos = made.Append(photos[:0], uint64(from), uint32(p), n)
				for i := range n {
					if row := (from+i)*g.photos + p; row < g.rows {
						copy(g.row(row), photos[i*g.dim:(i+1)*g.dim])
					}
				}
			}
		}
		return nil
	})
}

func (r *report) family(g *gallery, f family) error {
	start := time.Now()
	b, err := f.build(g)
	if err != nil {
		return err
	}
	defer b.close()
	note := buildNote{Seconds: time.Since(start).Seconds()}
	if b.note != nil {
		note = *b.note
	}
	runtime.GC()
	for _, s := range b.settings {
		line := result{Variant: g.variant, Rows: g.rows, Name: f.name, Setting: s.name, EF: s.ef, BuildS: note.Seconds, BuildNice: note.Nice,
			RowBytes: float64(b.bytes+s.extra) / float64(g.rows)}
		if s.ef > 0 {
			line.Setting = fmt.Sprintf("ef %d", s.ef)
		}
		found, err := r.rates(g, s, &line)
		if err != nil {
			return err
		}
		line.Recall1, line.Recall10 = g.recall(found, 1), g.recall(found, topK)
		r.Results = append(r.Results, line)
	}
	return nil
}

// recall is the share of the k exact best rows of each probe that is among the first k found.
func (g *gallery) recall(found []uint32, k int) float64 {
	hits, all := 0, 0
	for p := range g.count() {
		first, best := found[p*topK:p*topK+k], g.exact.Best(p)
		for _, b := range best[:min(k, len(best))] {
			all++
			if slices.Contains(first, uint32(b.Row)) {
				hits++
			}
		}
	}
	return float64(hits) / float64(all)
}

// turns is how often each number of threads is measured, one after the other; the best counts, since what else runs on the
// machine only slows.
const turns = 3

// rates measures on two threads and on one, and returns the answers.
func (r *report) rates(g *gallery, s setting, line *result) (found []uint32, err error) {
	for turn := range turns {
		answers, two, err := r.measure(g, s, 2, turn == 0)
		if err != nil {
			return nil, err
		}
		if turn == 0 {
			found = answers
		}
		_, one, err := r.measure(g, s, 1, false)
		if err != nil {
			return nil, err
		}
		line.PerSecond1, line.PerSecond2 = max(line.PerSecond1, one), max(line.PerSecond2, two)
	}
	return found, nil
}

// measure searches for at least r.Seconds and, if all, for every probe, and returns the answers and the rate.
func (r *report) measure(g *gallery, s setting, threads int, all bool) ([]uint32, float64, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
	found := make([]uint32, topK*g.count())
	start, done, first := time.Now(), 0, 0
	for all && done < g.count() || time.Since(start).Seconds() < r.Seconds {
		n := min(chunk, g.count()-first)
		if err := s.search(found[topK*first:topK*(first+n)], g.probes[first*g.dim:(first+n)*g.dim], threads); err != nil {
			return nil, 0, err
		}
		done += n
		first = (first + n) % g.count()
	}
	return found, float64(done) / time.Since(start).Seconds(), nil
}

// write leaves the report as JSON, Markdown and charts in the folder.
func (r *report) write() error {
	if err := os.MkdirAll(r.folder, 0o777); err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.folder, "peers.json"), append(data, '\n'), 0o666); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.folder, "peers.md"), []byte(r.markdown()), 0o666); err != nil {
		return err
	}
	return r.charts()
}

var header = []string{"gallery", "rows", "name", "setting", "build s", "q/s 1", "q/s 2", "recall@1", "recall@10", "B/row"}

func (l result) cells() []string {
	build := fmt.Sprintf("%.2f", l.BuildS)
	if l.BuildNice > 0 {
		build = fmt.Sprintf("(%.0f at nice %d)", l.BuildS, l.BuildNice)
	}
	return []string{l.Variant, strconv.Itoa(l.Rows), l.Name, l.Setting, build, fmt.Sprintf("%.0f", l.PerSecond1), fmt.Sprintf("%.0f", l.PerSecond2),
		fmt.Sprintf("%.3f", l.Recall1), fmt.Sprintf("%.4f", l.Recall10), fmt.Sprintf("%.0f", l.RowBytes)}
}

func (r *report) head() string {
	return fmt.Sprintf("%s, %d cores, mien's kernels %s, %s; galleries of dim %d, seed %d; %d mated probes, best %d", r.CPU, r.Cores, r.Level,
		r.Go, r.Dim, r.Seed, r.Probes, topK)
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
