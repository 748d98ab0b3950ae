package bench

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"mien/index"
)

// TestIndex: the exact index finds what is there and misses nothing, at a plain and at a padded dimension.
func TestIndex(t *testing.T) {
	for _, c := range []IndexConfig{
		{Rows: 3000, Probes: 50, Duration: time.Millisecond, Threshold: 0.2, TopK: 3, Concurrency: 3, Commit: "abc"},
		{Rows: 500, Dim: 100, Variant: Clustered, Probes: 700, Duration: time.Millisecond},
	} {
		stages := map[string]bool{}
		c.Progress = func(stage string, done, total int) {
			stages[stage] = true
			if done > total {
				t.Errorf("%s: %d of %d", stage, done, total)
			}
		}
		r, err := Index(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if r.Mates != c.Probes || r.ExactFound < c.Probes*9/10 || r.Found != r.ExactFound || r.IndexMisses != 0 {
			t.Errorf("found %d, exactly %d, missed %d of %d", r.Found, r.ExactFound, r.IndexMisses, r.Mates)
		}
		if r.Searches < c.Probes || !(r.P50Ms > 0 && r.P50Ms <= r.P99Ms) || !(r.PerSecond > 0) || !(r.Bytes >= float64(r.Dim)) || r.BuildSeconds < 0 {
			t.Errorf("%+v", r)
		}
		if !stages["enrolling"] || !stages["searching"] {
			t.Errorf("told of %v", stages)
		}
	}
}

// TestIndexOfGraph: what the graph was built with is in the report, and wider searches miss no more.
func TestIndexOfGraph(t *testing.T) {
	c := IndexConfig{Kind: "hnsw", Rows: 3000, Dim: 64, Variant: Latent24, Probes: 300, Duration: 1, Graph: Graph{M: 5, EfConstruction: 40, EF: 1}}
	narrow, err := Index(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	c.Graph.EF = 100
	wide, err := Index(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if wide.M != 5 || wide.EfConstruction != 40 || narrow.EF != 1 || wide.EF != 100 {
		t.Errorf("%+v", wide)
	}
	if wide.IndexMisses > 6 || narrow.IndexMisses < wide.IndexMisses || wide.Found < wide.ExactFound-6 {
		t.Errorf("missed %d with ef 1, %d with ef 100; found %d of %d", narrow.IndexMisses, wide.IndexMisses, wide.Found, wide.ExactFound)
	}
	c.Graph.M = 1
	if _, err := Index(t.Context(), c); !errors.Is(err, index.ErrConfig) {
		t.Errorf("M 1: %v", err)
	}
}

// TestReportFields holds the names that others read.
func TestReportFields(t *testing.T) {
	data, err := json.Marshal(IndexReport{Commit: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"rows", "dim", "probes", "mates", "found", "exact_found", "index_misses", "index_misses_upper_95", "p50_ms",
		"p99_ms", "probes_per_second", "build_seconds", "bytes_per_template", "level", "kind", "variant", "threshold", "top_k", "concurrency",
		"cpu", "commit", "seed", "searches", "cores", "go"} {
		if _, ok := got[name]; !ok {
			t.Errorf("there is no %q", name)
		}
	}
}

// forgetful answers as another index does, but not for some labels; those it gives as the score says.
type forgetful struct {
	searcher
	from  uint32
	score float32 // of label 0, given in their place; none if NaN
}

func (f forgetful) SearchInto(ctx context.Context, dst []index.Hit, q []float32, o index.Options) ([]index.Hit, error) {
	hits, err := f.searcher.SearchInto(ctx, dst, q, o)
	if len(hits) == 0 || hits[0].Label < f.from {
		return hits, err
	}
	if math.IsNaN(float64(f.score)) {
		return dst, err
	}
	return append(dst, index.Hit{Label: 0, Score: f.score}), err
}

// TestMissesAreCounted: the check must be able to fail.
func TestMissesAreCounted(t *testing.T) {
	for _, score := range []float32{float32(math.NaN()), 0.01} {
		m := measured(t, IndexConfig{Rows: 1000, Probes: 100, Duration: 1, Variant: Isotropic})
		m.index.searcher = forgetful{m.index.searcher, 900, score}
		if err := m.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := m.report; r.ExactFound != 100 || r.Found != 90 || r.IndexMisses != 10 || math.Abs(r.MissesUpper-0.1637) > 1e-3 {
			t.Errorf("score %v: found %d, exactly %d, missed %d, at most %v", score, r.Found, r.ExactFound, r.IndexMisses, r.MissesUpper)
		}
	}
}

// TestThreshold: what the threshold forbids is neither found nor missed.
func TestThreshold(t *testing.T) {
	r, err := Index(t.Context(), IndexConfig{Rows: 1000, Probes: 300, Duration: 1, Threshold: 0.69})
	if err != nil {
		t.Fatal(err)
	}
	if r.ExactFound < 100 || r.ExactFound > 200 || r.Found != r.ExactFound || r.IndexMisses != 0 {
		t.Errorf("found %d, exactly %d, missed %d", r.Found, r.ExactFound, r.IndexMisses)
	}
}

func measured(t testing.TB, c IndexConfig) *measurement {
	t.Helper()
	m := &measurement{IndexConfig: c.withDefaults()}
	var err error
	if m.gallery, err = NewGallery(m.Variant, m.Dim, m.Seed); err == nil {
		m.index, err = OpenIndex(m.Kind, m.Dim, t.TempDir(), m.Graph)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestIndexRefuses(t *testing.T) {
	for _, c := range []IndexConfig{{Rows: -1}, {Probes: -1}, {TopK: -1}, {Concurrency: -1}, {Duration: -1}, {Threshold: math.NaN()}} {
		if _, err := Index(t.Context(), c); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := Index(t.Context(), IndexConfig{Variant: Space, Dim: 128}); !errors.Is(err, ErrGallery) {
		t.Errorf("space at dim 128: %v", err)
	}
	if _, err := Index(t.Context(), IndexConfig{Kind: "graph"}); err == nil {
		t.Error("there is an index of an unknown kind")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Index(ctx, IndexConfig{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestQuantiles(t *testing.T) {
	times := slices.Repeat([]time.Duration{time.Millisecond}, 98)
	times = append(times, 2*time.Millisecond, 3*time.Millisecond)
	if a, b, c := quantileMs(times, 0.5), quantileMs(times, 0.99), quantileMs(times[:1], 0.99); a != 1 || b != 2 || c != 1 {
		t.Error(a, b, c)
	}
}
