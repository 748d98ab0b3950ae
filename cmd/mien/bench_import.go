package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"

	"mien/bench"
	"mien/engine"
	"mien/engine/transfer"
	"mien/simd"
)

type benchImportCmd struct {
	simdFlags
	Rows    int    `help:"People in the file, with one template each." default:"200000"`
	Dim     int    `help:"Numbers in a template." default:"512"`
	Index   string `help:"Index of the gallery: scan, hnsw or auto." enum:"scan,hnsw,auto" default:"scan"`
	Format  string `help:"Form of the file: binary or ndjson." enum:"binary,ndjson" default:"binary"`
	Variant string `help:"Templates: ${bench_variants} (default: space, or isotropic where the dimension is not 512)." placeholder:"NAME"`
	Seed    uint64 `help:"Seed of the templates." default:"1"`
	Shuffle bool   `help:"People are in no order of their ids, as files of other programs may have them."`
	Dir     string `help:"Folder on the disk to measure (default: the system's for temporary files)." type:"path" placeholder:"DIR"`
}

// importReport is what an import took. Rates are of templates, times of all this process did from the first byte of the file to
// the last acknowledgement.
type importReport struct {
	Rows      int     `json:"rows"`
	Dim       int     `json:"dim"`
	Index     string  `json:"index"`
	Format    string  `json:"format"`
	Variant   string  `json:"variant"`
	Shuffled  bool    `json:"shuffled,omitempty"`
	FileBytes int64   `json:"file_bytes"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"templates_per_second"`
	// CPUMicros is user and system time of this process, over the templates; 0 where the system does not tell.
	CPUMicros float64 `json:"cpu_us_per_template"`
	// WrittenBytes is what the process has given to the disk meanwhile, without the file; 0 where the system does not tell.
	WrittenBytes int64 `json:"written_bytes,omitempty"`
	// DiskBytesPerSecond is how fast this folder takes a file of the same size that is written from end to end and synced, the mean of
	// once before and once after; OfDisk is the import's file over its seconds as a share of that.
	DiskBytesPerSecond float64 `json:"disk_bytes_per_second"`
	OfDisk             float64 `json:"of_disk"`
	Waiting            int     `json:"waiting,omitempty"` // templates that a graph has not linked yet

	CPU    string `json:"cpu"`
	Level  string `json:"level"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
	Commit string `json:"commit,omitempty"`
}

// Run makes a file of people, imports it into an empty store, prints one object and removes all.
func (c *benchImportCmd) Run(ctx context.Context, out *output) (err error) {
	if err := c.use(); err != nil {
		return err
	}
	if c.Rows < 1 || c.Dim < 2 || c.Dim > transfer.MaxDim {
		return fmt.Errorf("--rows must be more than 0, and --dim from 2 to %d", transfer.MaxDim)
	}
	if c.Variant == "" {
		if c.Variant = bench.Isotropic; c.Dim == bench.SpaceDim {
			c.Variant = bench.Space
		}
	}
	dir, err := os.MkdirTemp(c.Dir, "mien-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	r := &importReport{Rows: c.Rows, Dim: c.Dim, Index: c.Index, Format: c.Format, Variant: c.Variant, Shuffled: c.Shuffle,
		CPU: strings.TrimSpace(cpuid.CPU.BrandName), Level: simd.Level(), Cores: runtime.GOMAXPROCS(0), Go: runtime.Version()}
	if version != "development" {
		r.Commit = version
	}
	if err := c.measure(ctx, dir, r); err != nil {
		return err
	}
	return out.print(r, r.text())
}

const importSpace = "bench"

func (c *benchImportCmd) measure(ctx context.Context, dir string, r *importReport) (err error) {
	file := filepath.Join(dir, "people")
	if r.FileBytes, err = c.write(ctx, file); err != nil {
		return err
	}
	before, err := diskSpeed(dir, r.FileBytes)
	if err != nil {
		return err
	}
	if err := c.importFile(ctx, filepath.Join(dir, "data"), file, r); err != nil {
		return err
	}
	after, err := diskSpeed(dir, r.FileBytes)
	r.DiskBytesPerSecond = (before + after) / 2
	r.PerSecond, r.OfDisk = float64(r.Rows)/r.Seconds, float64(r.FileBytes)/r.Seconds/r.DiskBytesPerSecond
	return err
}

// write makes the file, and has it in the system's cache afterwards, as a file that was just copied.
func (c *benchImportCmd) write(ctx context.Context, path string) (int64, error) {
	g, err := bench.NewGallery(c.Variant, c.Dim, c.Seed)
	if err != nil {
		return 0, err
	}
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	now := time.Now().UTC().Truncate(time.Millisecond)
	w, err := transfer.NewWriter(f, transfer.Format(c.Format), transfer.Header{Space: importSpace, Dim: c.Dim, Created: now})
	if err != nil {
		return 0, err
	}
	const part = 1 << 10
	vectors := make([]float32, 0, part*c.Dim)
	for first := 0; first < c.Rows; first += part {
		vectors = g.Append(vectors[:0], uint64(first), 0, min(part, c.Rows-first))
		for i := range len(vectors) / c.Dim {
			p := engine.PortablePerson{ID: c.id(first + i), Created: now, Updated: now,
				Templates: []engine.PortableTemplate{{Number: 1, Created: now, Source: "image", Vector: vectors[i*c.Dim : (i+1)*c.Dim]}}}
			if err := w.Write(&p); err != nil {
				return 0, err
			}
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
	}
	if err := errors.Join(w.Close(), f.Sync()); err != nil {
		return 0, err
	}
	return f.Seek(0, io.SeekCurrent)
}

// id is the i-th person's: in order, or in that of a multiplication modulo 2⁶⁴, which repeats none.
func (c *benchImportCmd) id(i int) string {
	if c.Shuffle {
		return fmt.Sprintf("person-%020d", (uint64(i)+1)*0x9e3779b97f4a7c15)
	}
	return fmt.Sprintf("person-%012d", i)
}

func (c *benchImportCmd) importFile(ctx context.Context, data, file string, r *importReport) (err error) {
	e, err := engine.Open(engine.Config{Dir: data, MasterKey: make([]byte, 32), RecallSample: -1,
		Spaces: []engine.Space{{ID: importSpace, Dim: c.Dim, Calibration: undecided}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if _, _, err := e.CreateGallery(ctx, "bench", "bench", engine.GallerySpec{Index: c.Index}); err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	done := 0
	begin, cpu, written := time.Now(), processorTime(), writtenBytes()
	people, err := transfer.NewReader(f, transfer.Config{})
	if err != nil {
		return err
	}
	err = e.Import(ctx, "bench", "bench", engine.ImportOptions{Space: importSpace}, people.People(), func(results []engine.ImportResult) error {
		for _, x := range results {
			if x.Err != nil {
				return fmt.Errorf("%q: %w", x.ID, x.Err)
			}
		}
		done += len(results)
		return nil
	})
	if err == nil && done != c.Rows {
		err = fmt.Errorf("%d people were imported of %d", done, c.Rows)
	}
	r.Seconds = time.Since(begin).Seconds()
	r.CPUMicros = float64((processorTime() - cpu).Microseconds()) / float64(c.Rows)
	r.WrittenBytes = writtenBytes() - written
	if err != nil {
		return err
	}
	g, err := e.Gallery(ctx, "bench", "bench")
	if err == nil && g.IndexStatus != nil && g.IndexStatus.Graph != nil {
		r.Waiting = g.IndexStatus.Graph.Waiting
	}
	return err
}

// diskSpeed writes a file of so many bytes from end to end, a MiB at a time, syncs it, and returns the bytes a second.
func diskSpeed(dir string, size int64) (float64, error) {
	f, err := os.CreateTemp(dir, "disk-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * 7)
	}
	begin := time.Now()
	for left := size; left > 0 && err == nil; left -= int64(len(block)) {
		_, err = f.Write(block[:min(left, int64(len(block)))])
	}
	err = errors.Join(err, f.Sync())
	speed := float64(size) / time.Since(begin).Seconds()
	return speed, errors.Join(err, f.Close())
}

// writtenBytes is what this process has given to disks, 0 where the system has no /proc/self/io.
func writtenBytes() int64 {
	text, _ := os.ReadFile("/proc/self/io")
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			bytes, _ := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			return bytes
		}
	}
	return 0
}

func (r *importReport) text() string {
	const mb = 1e6
	s := fmt.Sprintf("%d templates of %d (%s, %s) into a %s gallery in %.2f s: %.0f a second, %.1f µs of processor time each\n",
		r.Rows, r.Dim, r.Variant, r.Format, r.Index, r.Seconds, r.PerSecond, r.CPUMicros)
	s += fmt.Sprintf("the file's %.0f MB went in at %.0f MB/s, %.2f of the %.0f MB/s at which this disk takes a synced file of that size", float64(r.FileBytes)/mb,
		float64(r.FileBytes)/mb/r.Seconds, r.OfDisk, r.DiskBytesPerSecond/mb)
	if r.WrittenBytes > 0 {
		s += fmt.Sprintf("; %.0f MB were written", float64(r.WrittenBytes)/mb)
	}
	if r.Waiting > 0 {
		s += fmt.Sprintf("\n%d templates wait to be linked into the graph; searches compare all meanwhile", r.Waiting)
	}
	return s + fmt.Sprintf("\n%s, %s, %d cores, %s", r.CPU, r.Level, r.Cores, r.Go)
}
