package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mien/extract"
)

func TestProviderFlags(t *testing.T) {
	var c extract.Config
	f := providerFlags{Provider: []string{"cuda:0", "cuda:1"}, Batching: map[string]string{"all": "single", "embedder": "shared:16"}, BatchDelay: time.Millisecond}
	if err := f.apply(&c); err != nil {
		t.Fatal(err)
	}
	if len(c.Devices) != 2 || c.BatchDelay != time.Millisecond || c.Batching[""] != (extract.Batching{Strategy: extract.Single, Max: 1}) ||
		c.Batching["embedder"] != (extract.Batching{Strategy: extract.Shared, Max: 16}) {
		t.Errorf("%+v", c)
	}
	for given, want := range map[time.Duration]time.Duration{0: time.Nanosecond, time.Second: time.Second, -time.Second: -time.Second} {
		f.BatchDelay = given
		if err := f.apply(&c); err != nil || c.BatchDelay != want {
			t.Errorf("--batch-delay %v: %v, %v; want %v, of which New refuses what is below 0", given, c.BatchDelay, err, want)
		}
	}
	f.Batching = map[string]string{"all": "quickly"}
	if err := f.apply(&c); err == nil || !strings.Contains(err.Error(), "--batching all=quickly") {
		t.Errorf("%v, want the flag named", err)
	}
}

func TestPlanShown(t *testing.T) {
	single, four := extract.Batching{Strategy: extract.Single, Max: 1}, extract.Batching{Strategy: extract.Calls, Max: 4}
	plan := []extract.StagePlan{
		{Model: "detector", Devices: []string{"cpu"}, Batching: single, PerItem: 2100 * time.Microsecond, Tried: []extract.Trial{{Batching: single, PerItem: 2100 * time.Microsecond}, {Batching: four, PerItem: 2500 * time.Microsecond}}},
		{Model: "eyes", Devices: []string{"cpu"}, Batching: four},
	}
	if got, want := planLine(plan), "detector single 2.1 ms, eyes calls:4"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	rows := planFindings(plan)
	if len(rows) != 2 || rows[0].Found != "cpu      single     2.1 ms an item  (calls:4 2.5 ms)" || rows[1].Found != "cpu      calls:4    as told" {
		t.Errorf("%+v", rows)
	}
}

// The library of these tests knows only the CPU: doctor and serve say so, and auto makes do with it.
func TestProviderMissing(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	if out, stderr, code := mien(t, setUp(t), "doctor", "--data", data, "--provider", "cuda:0"); code != 1 || !strings.Contains(out, "can't use this provider (cuda:0)") ||
		!strings.Contains(out, "to mend: put an ONNX Runtime library that has the provider") {
		t.Errorf("exit code %d, %s%s", code, out, stderr)
	}
	if _, stderr, code := mien(t, setUp(t), "serve", "--data", data, "--listen", "127.0.0.1:0", "--provider", "cuda:0,cuda:1"); code != 1 || !strings.Contains(stderr, "can't use this provider (cuda:0)") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("a refused start made the data folder")
	}
	if out, stderr, code := mien(t, setUp(t), "doctor", "--data", data, "--provider", "auto"); code != 0 || !strings.Contains(out, "embedder    cpu      single     as told") {
		t.Errorf("exit code %d, %s%s", code, out, stderr)
	}
}
