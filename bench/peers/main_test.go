package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mien/bench"
)

// TestRun: every peer answers, the exact ones exactly, and the reports hold a line for each. With the tag peers that is
// hnswlib and faiss too.
func TestRun(t *testing.T) {
	r := report{Variant: bench.Space, Dim: bench.SpaceDim, Seed: 1, Probes: 40, Seconds: 0.001}
	if err := r.run(300, ""); err != nil {
		t.Fatal(err)
	}
	for _, l := range r.Results {
		least := 0.97
		if strings.HasPrefix(l.Name, "coder/hnsw") {
			least = 0 // of 300 rows it finds most, but its entry points are random
		}
		if l.Found < least || l.Found > 1.0001 || !(l.PerSecond1 > 0 && l.PerSecond2 > 0) || l.RowBytes < 64 || l.Rows != 300 {
			t.Errorf("%+v", l)
		}
	}
	if want := 2 + 2*3; len(r.Results) < want {
		t.Errorf("%d results, not %d", len(r.Results), want)
	}
	var table bytes.Buffer
	folder := t.TempDir()
	if err := r.write(&table, folder); err != nil {
		t.Fatal(err)
	}
	checkReports(t, r, folder, table.String())
}

func checkReports(t *testing.T, r report, folder, table string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "peers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(data, &back); err != nil || len(back.Results) != len(r.Results) {
		t.Errorf("peers.json: %d results, %v", len(back.Results), err)
	}
	markdown, err := os.ReadFile(filepath.Join(folder, "peers.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range r.Results {
		if !strings.Contains(table, l.Name) || !strings.Contains(string(markdown), "| "+l.Name+" | "+l.Setting+" |") {
			t.Errorf("the reports lack %s, %s", l.Name, l.Setting)
		}
	}
}

// TestLargeGalleriesLeaveSomeOut: coder/hnsw takes part in small ones only.
func TestLargeGalleriesLeaveSomeOut(t *testing.T) {
	r := report{Variant: bench.Isotropic, Dim: 16, Seed: 1, Probes: 5, Seconds: 0}
	if err := r.run(20_001, "coder"); err != nil || len(r.Results) != 0 {
		t.Errorf("%d results, %v", len(r.Results), err)
	}
	if err := r.run(100, "coder"); err != nil || len(r.Results) != 6 {
		t.Errorf("%d results, %v", len(r.Results), err)
	}
}
