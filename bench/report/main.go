package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/perf/benchfmt"

	"mien/simd"
)

// line is one benchmark.
type line struct {
	pkg   string
	name  string
	parts []string          // of the name, after the first
	keys  map[string]string // parts of the form key=value
	value map[string]float64
	units []string // of value, in the order printed
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("report: ")
	out := flag.String("out", filepath.Join("build", "bench"), "folder for bench.txt, bench.md and the charts")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *out); err != nil {
		log.Fatal(err)
	}
}

func run(in io.Reader, stdout io.Writer, folder string) error {
	var raw bytes.Buffer
	lines, err := read(io.TeeReader(in, &raw))
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		return fmt.Errorf("no benchmark in the input:\n%s", raw.Bytes())
	}
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	fmt.Fprintln(stdout, machine())
	if err := table(stdout, lines); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "bench.txt"), raw.Bytes(), 0o666); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "bench.md"), []byte(markdown(lines)), 0o666); err != nil {
		return err
	}
	return charts(lines, folder)
}

func machine() string {
	return fmt.Sprintf("%s, %d cores, kernels %s, %s %s/%s", strings.TrimSpace(cpuid.CPU.BrandName), runtime.NumCPU(), simd.Level(),
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// read keeps the benchmarks; what else go test says is not for us, but a failure is.
func read(in io.Reader) (lines []line, err error) {
	failed := &failures{in: in}
	r := benchfmt.NewReader(failed, "stdin")
	for r.Scan() {
		if res, ok := r.Result().(*benchfmt.Result); ok {
			lines = keepBest(lines, newLine(res))
		}
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	if failed.seen() {
		return lines, fmt.Errorf("go test failed:\n%s", failed.text.String())
	}
	return lines, nil
}

// keepBest adds a line, or puts it in the place of a slower one of the same benchmark (go test's -count): what else runs
// on the machine only slows.
func keepBest(lines []line, l line) []line {
	i := slices.IndexFunc(lines, func(o line) bool { return o.pkg == l.pkg && o.name == l.name && slices.Equal(o.parts, l.parts) })
	if i < 0 {
		return append(lines, l)
	}
	if l.value["ns/op"] < lines[i].value["ns/op"] {
		lines[i] = l
	}
	return lines
}

// failures keeps what passes by: a pipe hides the exit code of go test.
type failures struct {
	in   io.Reader
	text strings.Builder
}

func (f *failures) Read(p []byte) (int, error) {
	n, err := f.in.Read(p)
	f.text.Write(p[:n])
	return n, err
}

func (f *failures) seen() bool {
	return strings.Contains("\n"+f.text.String(), "\nFAIL") || strings.Contains(f.text.String(), "--- FAIL")
}

func newLine(r *benchfmt.Result) line {
	base, parts := r.Name.Parts()
	l := line{pkg: r.GetConfig("pkg"), name: string(base), keys: map[string]string{}, value: map[string]float64{}}
	for _, p := range parts {
		part := strings.TrimPrefix(string(p), "/")
		if strings.HasPrefix(part, "-") {
			continue // GOMAXPROCS, which machine says
		}
		l.parts = append(l.parts, part)
		if key, value, ok := strings.Cut(part, "="); ok {
			l.keys[key] = value
		}
	}
	for _, v := range r.Values {
		unit, x := v.Unit, v.Value
		if v.OrigUnit != "" {
			unit, x = v.OrigUnit, v.OrigValue
		}
		l.value[unit] = x
		l.units = append(l.units, unit)
	}
	return l
}

// has says whether a part of the name is this.
func (l line) has(part string) bool { return slices.Contains(l.parts, part) }

// level is the part that names a level of simd, "" if none does.
func (l line) level() string {
	for _, p := range l.parts {
		switch p {
		case "avx512", "avx2", "neon", "generic", "vek":
			return p
		}
	}
	return ""
}

// cells are the columns: package, benchmark, time of one operation, the rest as it was printed.
func (l line) cells() []string {
	var rest strings.Builder
	for _, unit := range l.units {
		switch unit {
		case "ns/op", "B/op", "allocs/op":
		default:
			digits := 4
			if l.value[unit] >= 1e4 {
				digits = 15 // no exponent
			}
			fmt.Fprintf(&rest, "%.*g %s  ", digits, l.value[unit], unit)
		}
	}
	each := time.Duration(l.value["ns/op"]).String()
	if l.value["ns/op"] < 1000 {
		each = fmt.Sprintf("%.3gns", l.value["ns/op"])
	}
	return []string{strings.TrimPrefix(l.pkg, "mien/"), strings.Join(append([]string{l.name}, l.parts...), "/"), each, strings.TrimSpace(rest.String())}
}

var header = []string{"package", "benchmark", "one takes", "and"}

func table(w io.Writer, lines []line) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, l := range lines {
		fmt.Fprintln(t, strings.Join(l.cells(), "\t"))
	}
	return t.Flush()
}

func markdown(lines []line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n| %s |\n|%s\n", machine(), strings.Join(header, " | "), strings.Repeat("---|", len(header)))
	for _, l := range lines {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(l.cells(), " | "))
	}
	return b.String()
}
