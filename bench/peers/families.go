package main

import (
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

// atOnce is how many searches of ours are in progress.
const atOnce = 16

// families are the peers in Go.
func families() []family {
	var fs []family
	for _, kind := range bench.Kinds() {
		fs = append(fs, family{"mien " + kind, 0, func(g *gallery) (*built, error) { return buildMien(g, kind) }})
	}
	fs = append(fs, family{"loop over vek", 0, buildVek})
	for _, m := range []int{16, 32} {
		fs = append(fs, family{fmt.Sprintf("coder/hnsw M%d", m), 20_000, func(g *gallery) (*built, error) { return buildCoder(g, m), nil }})
	}
	return fs
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

// eachProbe makes a search of a function for one probe, whose answer is a label.
func eachProbe(dim int, one func(q []float32) (uint32, error)) func([]uint32, []float32, int) error {
	return func(best []uint32, probes []float32, threads int) error {
		return split(len(best), threads, func(from, to int) (err error) {
			for i := from; i < to && err == nil; i++ {
				best[i], err = one(probes[i*dim : (i+1)*dim])
			}
			return err
		})
	}
}

func buildMien(g *gallery, kind string) (*built, error) {
	x, err := bench.OpenIndex(kind, g.dim, "")
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
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	one := eachProbe(g.dim, func(q []float32) (uint32, error) {
		var room [1]index.Hit
		hits, err := x.SearchInto(context.Background(), room[:0], q, index.Options{K: 1})
		if err != nil || len(hits) == 0 {
			return math.MaxUint32, err
		}
		return hits[0].Label, nil
	})
	// A search of ours takes all the cores there are, and many at once share passes over memory.
	search := func(best []uint32, probes []float32, threads int) error {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		return one(best, probes, atOnce)
	}
	return &built{x.Bytes(), []setting{{name: fmt.Sprintf("best 1, %d at once", atOnce), search: search}}, func() { _ = x.Close() }}, nil
}

func buildVek(g *gallery) (*built, error) {
	search := eachProbe(g.dim, func(q []float32) (label uint32, err error) {
		best := float32(math.Inf(-1))
		for i := range g.rows {
			if s := vek32.Dot(q, g.row(i)); s > best {
				label, best = uint32(i), s
			}
		}
		return label, nil
	})
	return &built{int64(4 * len(g.vectors)), []setting{{name: "float32", search: search}}, func() {}}, nil
}

func buildCoder(g *gallery, m int) *built {
	before := heapBytes()
	graph := hnsw.NewGraph[uint32]()
	graph.M, graph.EfSearch = m, 200
	graph.Distance = func(a, b []float32) float32 { return 1 - vek32.Dot(a, b) }
	for i := range g.rows {
		graph.Add(hnsw.MakeNode(uint32(i), g.row(i)))
	}
	b := &built{int64(heapBytes()-before) + int64(4*len(g.vectors)), nil, func() {}}
	for _, ef := range []int{64, 256, 1024} {
		search := eachProbe(g.dim, func(q []float32) (uint32, error) {
			best, label := float32(math.Inf(-1)), uint32(math.MaxUint32)
			for _, n := range graph.Search(q, ef) {
				if s := vek32.Dot(q, n.Value); s > best {
					best, label = s, n.Key
				}
			}
			return label, nil
		})
		b.settings = append(b.settings, setting{fmt.Sprintf("ef %d", ef), 0, func(best []uint32, probes []float32, threads int) error {
			graph.EfSearch = ef
			return search(best, probes, threads)
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
