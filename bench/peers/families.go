package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"

	"github.com/coder/hnsw"
	"github.com/viterin/vek/vek32"

	"mien/bench"
	"mien/index"
)

// atOnce is how many searches of a scan of ours are in progress.
const atOnce = 16

// families are the peers in Go.
func families(o options) []family {
	var fs []family
	for _, kind := range bench.Kinds() {
		name := "mien " + kind
		if kind == "hnsw" {
			name = fmt.Sprintf("%s M%d efC%d", name, o.m, o.efConstruction)
		}
		fs = append(fs, family{name, 0, func(g *gallery) (*built, error) { return buildMien(g, kind, o) }})
	}
	return append(fs, family{"loop over vek", 0, buildVek},
		family{fmt.Sprintf("coder/hnsw M%d", o.m), 100_000, func(g *gallery) (*built, error) { return buildCoder(g, o), nil }})
}

// split calls f for a part of n on each of some goroutines.
func split(n, threads int, f func(from, to int) error) error {
	errs := make([]error, threads)
	var wg sync.WaitGroup
	for t := range threads {
		wg.Go(func() { errs[t] = f(t*n/threads, (t+1)*n/threads) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// eachProbe makes a search of a function for one probe, which offers rows to top.
func eachProbe(dim int, one func(q []float32, top *index.Top) error) func([]uint32, []float32, int) error {
	return func(found []uint32, probes []float32, threads int) error {
		return split(len(probes)/dim, threads, func(from, to int) error {
			var top index.Top
			for i := from; i < to; i++ {
				top.Reset(topK, -2)
				if err := one(probes[i*dim:(i+1)*dim], &top); err != nil {
					return err
				}
				fill(found[i*topK:(i+1)*topK], top.Hits())
			}
			return nil
		})
	}
}

// fill sets found to the labels of hits, and none where there are too few.
func fill(found []uint32, hits []index.Hit) {
	for i := range found {
		found[i] = math.MaxUint32
		if i < len(hits) {
			found[i] = hits[i].Label
		}
	}
}

func buildMien(g *gallery, kind string, o options) (*built, error) {
	x, err := bench.OpenIndex(kind, g.dim, "", bench.Graph{M: o.m, EfConstruction: o.efConstruction})
	if err != nil {
		return nil, err
	}
	labels := make([]uint32, g.rows)
	for i := range labels {
		labels[i] = uint32(i)
	}
	err = split(g.rows, runtime.GOMAXPROCS(0), func(from, to int) error {
		return x.Append(labels[from:to], g.vectors[from*g.dim:to*g.dim], make([]uint32, to-from))
	})
	if err == nil {
		err = x.Wait(context.Background())
	}
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	b := &built{bytes: x.Bytes(), close: func() { _ = x.Close() }}
	if x.Graph.M > 0 {
		for _, ef := range o.efs {
			b.settings = append(b.settings, setting{ef: ef, search: searchMien(x, g.dim, 0, ef)})
		}
		return b, nil
	}
	b.settings = []setting{{name: fmt.Sprintf("%d at once", atOnce), search: searchMien(x, g.dim, atOnce, 0)}}
	return b, nil
}

// searchMien searches with some goroutines, or one a thread. A scan takes all the cores there are, and many at once share
// passes over memory.
func searchMien(x *bench.Searcher, dim, goroutines, ef int) func([]uint32, []float32, int) error {
	return func(found []uint32, probes []float32, threads int) error {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		return split(len(probes)/dim, cmp.Or(goroutines, threads), func(from, to int) (err error) {
			hits := make([]index.Hit, 0, topK)
			for i := from; i < to && err == nil; i++ {
				hits, err = x.SearchInto(context.Background(), hits[:0], probes[i*dim:(i+1)*dim], index.Options{K: topK, EF: ef})
				fill(found[i*topK:(i+1)*topK], hits)
			}
			return err
		})
	}
}

func buildVek(g *gallery) (*built, error) {
	search := eachProbe(g.dim, func(q []float32, top *index.Top) error {
		for i := range g.rows {
			if s := vek32.Dot(q, g.row(i)); s >= top.Bound() {
				top.Offer(uint32(i), s)
			}
		}
		return nil
	})
	return &built{bytes: int64(4 * len(g.vectors)), settings: []setting{{name: "float32", search: search}}, close: func() {}}, nil
}

func buildCoder(g *gallery, o options) *built {
	before := heapBytes()
	graph := hnsw.NewGraph[uint32]()
	graph.M, graph.EfSearch = o.m, 200
	graph.Distance = func(a, b []float32) float32 { return 1 - vek32.Dot(a, b) }
	for i := range g.rows {
		graph.Add(hnsw.MakeNode(uint32(i), g.row(i)))
	}
	b := &built{bytes: int64(heapBytes()-before) + int64(4*len(g.vectors)), close: func() {}}
	for _, ef := range o.efs {
		search := eachProbe(g.dim, func(q []float32, top *index.Top) error {
			for _, n := range graph.Search(q, max(ef, topK)) {
				top.Offer(n.Key, vek32.Dot(q, n.Value))
			}
			return nil
		})
		b.settings = append(b.settings, setting{ef: ef, search: func(found []uint32, probes []float32, threads int) error {
			graph.EfSearch = ef
			return search(found, probes, threads)
		}})
	}
	return b
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
