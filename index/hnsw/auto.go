package hnsw

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"mien/index"
	"mien/index/scan"
	"mien/simd"
)

const (
	// DefaultAutoAt is below which Config.Auto does not think of a graph: a scan takes a millisecond or less.
	DefaultAutoAt = 500_000

	// A trial is made on so many of the gallery's rows, with so many probes, which lie at trialCosine of their mates. The
	// graph must miss trialMisses at most and take half of the scan's time, with trialGrowth for what it takes longer in
	// the whole gallery.
	trialRows, trialProbes = 20_000, 1000
	trialCosine            = 0.6
	trialMisses            = 0
	trialGrowth            = 2
	// While too much waits to be linked, the whole is compared again after trialRetry, so many times at most.
	trialRetry, trialAttempts = 20 * time.Millisecond, 100
)

// errBusy says that for too many probes the graph could not answer at all.
var errBusy = errors.New("hnsw: too much waits to be linked")

// auto is what Config.Auto has found out. The graph is off, or linked without being used, or used.
type auto struct {
	on      bool    // Config.Auto
	share   float64 // of the scan's time that the graph may take
	at      int     // rows from which the next trial is due; protected by Index.mu, as trying and why
	trying  bool
	why     string
	linking atomic.Bool // rows are to be linked
	serving atomic.Bool // searches go over the graph
}

func (a *auto) init(c Config) {
	a.on, a.at, a.share = c.Auto, c.AutoAt, 0.5
	a.why = fmt.Sprintf("there are fewer than %d templates, which a scan compares in a millisecond or so", a.at)
	if !a.on {
		a.adopt()
	}
}

// adopt has the graph used.
func (a *auto) adopt() {
	a.linking.Store(true)
	a.serving.Store(true)
}

// verdict is what a trial said of the graph that serves.
func (x *Index) verdict() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.auto.on {
		return x.auto.why
	}
	return ""
}

func (a *auto) wants() bool { return a.linking.Load() }

func (a *auto) serves() bool { return a.serving.Load() }

// servingLocked is what Status says.
func (x *Index) servingLocked() (serving, why string) {
	switch waiting := x.waiting.Load(); {
	case x.failed != nil:
		return "scan", "there was no memory for a graph"
	case !x.auto.serves():
		return "scan", x.auto.why
	case !x.Coded():
		return "scan", fmt.Sprintf("vectors of fewer than %d numbers, and galleries of up to %d templates, have no graph", scan.MinCodedDim, scan.SmallRows)
	case waiting > maxWaiting:
		return "scan", fmt.Sprintf("%d templates wait to be linked", waiting)
	case x.auto.on && x.auto.why != "":
		return "hnsw", x.auto.why
	}
	return "hnsw", "the gallery asks for it"
}

// tryLocked begins a trial in the background if one is due with so many rows.
func (x *Index) tryLocked(rows int) {
	if x.auto.on && !x.auto.trying && !x.stopped && rows >= x.auto.at && x.Coded() {
		x.auto.trying = true
		x.auto.at = 2 * rows
		x.trials.Go(x.try)
	}
}

// try finds out on a sample whether the graph is worth being linked; if so, it is, and used if it keeps what the sample
// has promised.
func (x *Index) try() {
	verdict, ok, err := x.pilot(x.ctx)
	if err == nil && ok {
		verdict, _, err = x.whole(x.ctx)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.auto.trying = false
	if err != nil {
		verdict = "a trial of a graph failed"
	}
	if !x.auto.serves() {
		verdict += fmt.Sprintf("; the next trial is at %d templates", x.auto.at)
	}
	x.auto.why = verdict
}

// whole links all rows, and has the graph used if it is worth it.
func (x *Index) whole(ctx context.Context) (verdict string, ok bool, err error) {
	x.enable()
	err = errBusy
	for attempts := 0; errors.Is(err, errBusy) && attempts < trialAttempts; {
		select {
		case <-ctx.Done():
			return "", false, ctx.Err()
		case <-time.After(trialRetry):
		}
		if x.waiting.Load() <= maxWaiting { // else the scan answers as yet
			attempts++
			sample := x.Sample(2 * trialProbes)
			verdict, ok, err = x.compare(ctx, x, x.mated(sample), 1)
			clear(sample)
		}
	}
	if ctx.Err() == nil && (err != nil || !ok) {
		x.disable()
	}
	x.auto.serving.Store(err == nil && ok)
	return verdict, ok, err
}

// pilot makes a graph of a sample in memory.
func (x *Index) pilot(ctx context.Context) (verdict string, ok bool, err error) {
	c := x.config
	c.Auto, c.Config = false, scan.Config{Dim: x.Dim(), FitAt: x.config.FitAt, Workers: 1}
	p, err := New(c)
	if err != nil {
		return "", false, err
	}
	defer p.Close()
	sample := x.Sample(trialRows)
	defer clear(sample)
	labels := make([]uint32, len(sample)/x.Dim())
	for i := range labels {
		labels[i] = uint32(i)
	}
	if err := p.Append(labels, sample, make([]uint32, len(labels))); err != nil {
		return "", false, err
	}
	if err := p.Wait(ctx); err != nil {
		return "", false, err
	}
	return x.compare(ctx, p, x.mated(sample[:min(len(sample), 2*trialProbes*x.Dim())]), trialGrowth)
}

// mated makes probes of half of the rows in sample, at trialCosine, in the direction of the other half: as far from
// them as another photo may be, and within the gallery's space.
func (x *Index) mated(sample []float32) (probes [][]float32) {
	dim := x.Dim()
	for i := 0; i+2 <= len(sample)/dim; i += 2 {
		v, u := sample[i*dim:(i+1)*dim], slices.Clone(sample[(i+1)*dim:(i+2)*dim])
		dot := float32(0)
		for j := range v {
			dot += v[j] * u[j]
		}
		for j := range u {
			u[j] -= dot * v[j]
		}
		simd.Normalize(u)
		for j := range u {
			u[j] = trialCosine*v[j] + float32(math.Sqrt(1-trialCosine*trialCosine))*u[j]
		}
		simd.Normalize(u)
		probes = append(probes, u)
	}
	return probes
}

// compare searches for the best of probes in g's graph and by its scan, and takes the time of the graph, and of the scan of
// all that x holds.
func (x *Index) compare(ctx context.Context, g *Index, probes [][]float32, growth float64) (verdict string, ok bool, err error) {
	defer func() {
		for _, q := range probes {
			clear(q)
		}
	}()
	misses := 0
	var graph, scans []time.Duration
	for i, q := range probes {
		took, missed, ok, err := g.tryProbe(ctx, q)
		if err != nil {
			return "", false, err
		}
		if ok {
			graph = append(graph, took)
		} else if len(graph) < i/2 {
			return "", false, errBusy
		}
		if missed {
			misses++
		}
		if i < 50 && ok {
			start := time.Now()
			if _, err := x.Index.SearchInto(ctx, nil, q, index.Options{K: 10, Threshold: -1}); err != nil {
				return "", false, err
			}
			scans = append(scans, time.Since(start))
		}
	}
	if 2*len(graph) < len(probes) {
		return "", false, errBusy
	}
	a, b := time.Duration(growth*float64(median(graph))), median(scans)
	verdict = fmt.Sprintf("of %d probes made of its own templates at cosine %v a graph missed the best one of %d, and took %v to the scan's %v",
		len(graph), trialCosine, misses, a.Round(time.Microsecond), b.Round(time.Microsecond))
	return verdict, len(probes) > 0 && misses <= trialMisses && float64(a) < x.auto.share*float64(b), nil
}

// tryProbe searches for the best of q in the graph, whether it serves or not, and by the scan; ok is false if the graph
// could not answer.
func (x *Index) tryProbe(ctx context.Context, q []float32) (took time.Duration, missed, ok bool, err error) {
	r, err := x.Read(q, index.Options{K: 1, Threshold: -1})
	if err != nil {
		return 0, false, false, err
	}
	defer r.Close()
	start := time.Now()
	found, ok, err := x.walkGraph(ctx, r, nil)
	took = time.Since(start)
	if err != nil || !ok {
		return took, false, false, err
	}
	due, err := r.Scan(ctx, nil, false)
	return took, len(due) > 0 && (len(found) == 0 || found[0].Score < due[0].Score), true, err
}

func median(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[len(d)/2]
}

// enable has all rows linked.
func (x *Index) enable() {
	x.mu.Lock()
	x.auto.linking.Store(true)
	x.mu.Unlock()
	x.Fence() // rows that were born before that are there
	_ = x.Each(func(row, _ uint32) {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.Live(row) { // if it dies from now on, Died has it
			x.enqueueLocked(row)
		}
	})
	x.mu.Lock()
	defer x.mu.Unlock()
	x.startLocked()
}

// disable forgets the graph.
func (x *Index) disable() {
	x.pausing.Lock()
	defer x.pausing.Unlock()
	x.mu.Lock()
	x.auto.linking.Store(false)
	x.mu.Unlock()
	x.stop()
	x.mu.Lock()
	dead := make([]uint32, 0, len(x.dead))
	for _, c := range x.dead {
		dead = append(dead, c.row)
	}
	x.dead, x.queue, x.missed, x.head = nil, nil, nil, 0
	x.waiting.Store(0)
	x.linked.Store(0)
	x.mu.Unlock()
	_ = x.Release(dead)
	x.dropGraph()
	x.begin()
}
