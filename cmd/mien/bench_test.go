package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestBenchIndex: one object on the last line of stdout, and the text without --json.
func TestBenchIndex(t *testing.T) {
	args := []string{"bench", "index", "--rows", "2000", "--probes", "20", "--concurrency", "2", "--top", "5", "--threshold", "0.3", "--seconds", "0.01"}
	stdout, stderr, code := mien(t, nil, append(args, "--variant", "space", "--dim", "512", "--json")...)
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	var r map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); code != 0 || err != nil || stderr != "" {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	for name, want := range map[string]any{"rows": 2000.0, "dim": 512.0, "probes": 20.0, "mates": 20.0, "index_misses": 0.0, "top_k": 5.0,
		"threshold": 0.3, "concurrency": 2.0, "variant": "space", "kind": "scan"} {
		if r[name] != want {
			t.Errorf("%s: %v, not %v", name, r[name], want)
		}
	}
	if stdout, _, code := mien(t, nil, append(args, "--dim", "64", "--variant", "latent24")...); code != 0 || !strings.Contains(stdout, "2000 rows of 64 (latent24)") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	graph := []string{"--dim", "64", "--kind", "hnsw", "--ef", "90", "--m", "12", "--ef-construction", "50"}
	if stdout, _, code := mien(t, nil, append(args, graph...)...); code != 0 || !strings.HasPrefix(stdout, "hnsw (M 12, efConstruction 50, ef 90), 2000 rows of 64") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if stdout, _, code := mien(t, nil, append(args, "--dim", "64")...); code != 0 || !strings.Contains(stdout, "2000 rows of 64 (isotropic)") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

func TestBenchMisses(t *testing.T) {
	stdout, stderr, code := mien(t, nil, "bench", "misses", "--kind", "scan-sketch", "--rows", "2000", "--pairs", "4000", "--miss", "0.01", "--json")
	var r struct {
		Pairs, Lost int
		Source      string
	}
	if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil || stderr != "" {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if r.Pairs != 4000 || r.Source != "space" || r.Lost < 10 || r.Lost > 80 {
		t.Errorf("%d of %d pairs lost, some 40 were to be expected", r.Lost, r.Pairs)
	}
}

func TestBenchIndexRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"no such gallery":                   {"--dim", "64", "--variant", "space"},
		"--kind must be one of":             {"--kind", "graph"},
		"bench: configuration: -1 rows":     {"--rows=-1"},
		"no level \"mmx\" on this machine,": {"--simd", "mmx"},
	} {
		if _, stderr, code := mien(t, nil, append([]string{"bench", "index"}, args...)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}

// TestBenchImport: one object, of a file in each form and of people in no order, and the text.
func TestBenchImport(t *testing.T) {
	args := []string{"bench", "import", "--rows", "3000", "--dim", "32", "--dir", t.TempDir()}
	stdout, stderr, code := mien(t, nil, append(args, "--shuffle", "--index", "hnsw", "--json")...)
	var r importReport
	if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil || stderr != "" {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	if r.Rows != 3000 || r.Dim != 32 || r.Index != "hnsw" || r.Format != "binary" || r.Variant != "isotropic" || !r.Shuffled || r.FileBytes < 3000*4*32 ||
		r.PerSecond <= 0 || r.CPUMicros <= 0 || r.DiskBytesPerSecond <= 0 || r.OfDisk <= 0 {
		t.Errorf("%+v", r)
	}
	if stdout, _, code := mien(t, nil, append(args, "--format", "ndjson")...); code != 0 || !strings.HasPrefix(stdout, "3000 templates of 32 (isotropic, ndjson) into a scan gallery in ") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	for want, args := range map[string][]string{
		"--rows must be more than 0": {"--rows=0"},
		"no such gallery":            {"--variant", "space", "--dim", "64"},
	} {
		if _, stderr, code := mien(t, nil, append([]string{"bench", "import"}, args...)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}
