//go:build peers

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mien/bench"
)

// TestKeptGraph: a graph that was kept is loaded with its note and answers as before, and what is no graph is an error.
func TestKeptGraph(t *testing.T) {
	r := small(t, 64, "hnswlib")
	g, err := newGallery(bench.Latent24, 64, 1, 1500, 50)
	if err != nil {
		t.Fatal(err)
	}
	search := func() ([]uint32, *buildNote, error) {
		b, err := buildHnswlib(g, r.options)
		if err != nil {
			return nil, nil, err
		}
		defer b.close()
		found := make([]uint32, topK*g.count())
		return found, b.note, b.settings[1].search(found, g.probes, 2)
	}
	found, note, err := search()
	if err != nil || g.recall(found, topK) < 0.9 || note == nil {
		t.Fatalf("recall@10 %v, %v", g.recall(found, topK), err)
	}
	again, kept, err := search()
	if err != nil || !slices.Equal(found, again) || *kept != *note {
		t.Errorf("loaded: %+v, not %+v; %v", kept, note, err)
	}
	names, _ := filepath.Glob(filepath.Join(r.options.keep, "*"))
	if len(names) != 2 {
		t.Fatalf("kept: %v", names)
	}
	for _, name := range names {
		if err := os.Truncate(name, 20); err != nil {
			t.Fatal(err)
		}
		if _, _, err := search(); err == nil || !strings.Contains(err.Error(), filepath.Base(r.options.keep)) {
			t.Errorf("cut short: %v", err)
		}
	}
	r.options.m++
	if _, again, err := search(); err != nil || *again == *note {
		t.Errorf("of another M: %+v, %v", again, err)
	}
}
