package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `goos: linux
goarch: amd64
pkg: mien/simd
cpu: some
BenchmarkSum/DRAM-2 	10	60000000 ns/op	11000.00 MB/s
BenchmarkDotRows/dim=512/DRAM/vek-2 	10	90000000 ns/op	7400.00 MB/s
BenchmarkDotRows/dim=512/DRAM/avx2/queries=1-2 	10	61000000 ns/op	10900.00 MB/s
BenchmarkDotRows/dim=512/DRAM/avx2/queries=4-2 	10	90000000 ns/op	7600.00 MB/s
BenchmarkDotRows/dim=512/DRAM/avx2/queries=4-2 	10	70000000 ns/op	9600.00 MB/s
BenchmarkDotRows/dim=512/DRAM/avx2/queries=4-2 	10	80000000 ns/op	8600.00 MB/s
BenchmarkScanSketch/words=8/DRAM/planes=1/avx2/probes=1-2 	10	70000000 ns/op	9600.00 MB/s	6.5 ns/cmp	1.1 ‰found
BenchmarkScanSketch/words=8/DRAM/planes=1/avx2/probes=8-2 	10	70000000 ns/op	9600.00 MB/s	0.8 ns/cmp	1.1 ‰found
PASS
ok  	mien/simd	1.0s
pkg: mien/bench
BenchmarkSearch/kind=scan/rows=1000-2 	30000	33000 ns/op	0 B/op	0 allocs/op
BenchmarkSearch/kind=scan/rows=10000-2 	3000	460000.5 ns/op
PASS
ok  	mien/bench	1.0s
`

func TestReport(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "bench")
	var out strings.Builder
	if err := run(strings.NewReader(sample), &out, folder); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cores, kernels ", "DotRows/dim=512/DRAM/avx2/queries=4             70ms       9600 MB/s", "6.5 ns/cmp", "Search/kind=scan/rows=10000"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "queries=4"); n != 1 {
		t.Errorf("a benchmark that ran three times has %d lines", n)
	}
	for _, file := range []string{"bench.txt", "bench.md", "search.svg", "search.png", "passes.svg", "passes.png", "bandwidth.svg", "bandwidth.png"} {
		if info, err := os.Stat(filepath.Join(folder, file)); err != nil || info.Size() < 100 {
			t.Errorf("%s: %v", file, err)
		}
	}
	if raw, _ := os.ReadFile(filepath.Join(folder, "bench.txt")); string(raw) != sample {
		t.Errorf("bench.txt is\n%s", raw)
	}
}

// TestFailuresAreSeen: a pipe hides the exit code of go test.
func TestFailuresAreSeen(t *testing.T) {
	for _, in := range []string{"", "PASS\n", sample + "--- FAIL: BenchmarkX\n", sample + "FAIL\tmien/index [build failed]\n"} {
		if err := run(strings.NewReader(in), new(strings.Builder), t.TempDir()); err == nil {
			t.Errorf("no error for %.30q", in)
		}
	}
}
