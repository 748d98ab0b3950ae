package extract

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

const (
	// deviceBatch is the largest batch that is tried on a device.
	deviceBatch = 32
	// betterBy is what a larger batch must gain to be chosen: less is noise, and it costs memory and latency.
	betterBy = .93
	// trialTime is how long a batching is measured, beside one run that is not. The shorter of two such times counts: what
	// else the machine does only makes runs longer.
	trialTime = 8 * time.Millisecond
)

// candidates are the batchings that may suit the stage, the least batch first.
func (c *stageConfig) candidates(fixed int) []Batching {
	if fixed > 0 {
		return []Batching{c.batchingOf(fixed)}
	}
	most := deviceBatch
	if c.onCPU {
		most = c.items // of different calls none are run together
	}
	var all []Batching
	for n := 1; n <= most; n *= 2 {
		all = append(all, c.batchingOf(n))
	}
	return all
}

// batchingOf is the batching for up to n items a run. On the CPU calls don't wait for each other: there are no more of them at
// work than cores, so a call that waited would leave its core idle.
func (c *stageConfig) batchingOf(n int) Batching {
	switch {
	case !c.onCPU:
		return Batching{Shared, n}
	case n == 1:
		return Batching{Single, 1}
	}
	return Batching{Calls, n}
}

// choose measures the candidates under full load and says which to use. It stops at the first that is far behind, and
// measures twice only what is not.
func (c *stageConfig) choose(candidates []Batching) (best Trial, all []Trial, err error) {
	least := time.Duration(math.MaxInt64)
	hopeless := func(t time.Duration) bool { return float64(t) > 1.25*float64(least) }
	for _, b := range candidates {
		t, err := c.try(b)
		if err != nil && len(all) > 0 {
			break // a graph that declares any batch and was exported for one, or no memory for more
		}
		if err != nil {
			return best, nil, err
		}
		all, least = append(all, Trial{b, t}), min(least, t)
		if hopeless(t) {
			break
		}
	}
	for i := range all {
		if i > 0 && hopeless(all[i].PerItem) {
			continue
		}
		t, err := c.try(all[i].Batching)
		if err != nil {
			return best, nil, err
		}
		all[i].PerItem = min(all[i].PerItem, t)
	}
	return fastest(all), all, nil
}

// fastest is the trial with the least time for an item, or a smaller batch that is hardly slower.
func fastest(all []Trial) Trial {
	best := all[0]
	for _, t := range all[1:] {
		if float64(t.PerItem) < betterBy*float64(best.PerItem) {
			best = t
		}
	}
	return best
}

// try measures the time for an item when every lane runs full batches.
func (c *stageConfig) try(b Batching) (time.Duration, error) {
	lanes := make([]lane, c.lanes())
	for i := range lanes {
		r, err := c.newRun(b.Max)
		if err != nil {
			return 0, err
		}
		defer r.close()
		lanes[i] = lane{c.runners[i%len(c.runners)], r, b.Max}
	}
	once, err := together(lanes, 1) // loads code and grows arenas
	if err != nil {
		return 0, err
	}
	rounds := int(trialTime/max(once, 1)) + 1
	took, err := together(lanes, rounds)
	return took / time.Duration(rounds*b.Max*len(lanes)), err
}

// lane is a device with memory for a batch.
type lane struct {
	runner runner
	run    *run
	items  int
}

// together does rounds runs on each lane at once and says how long that took.
func together(lanes []lane, rounds int) (time.Duration, error) {
	errs := make([]error, len(lanes))
	var all sync.WaitGroup
	start := time.Now()
	for i, l := range lanes {
		all.Go(func() {
			for n := 0; n < rounds && errs[i] == nil; n++ {
				errs[i] = l.runner.run(l.run, l.items)
			}
		})
	}
	all.Wait()
	return time.Since(start), errors.Join(errs...)
}

// plan settles how a model is run: as told, else as measured.
func (c *stageConfig) plan(m *model, told map[string]Batching) (StagePlan, error) {
	p := StagePlan{Model: m.role}
	b, ok := told[m.role]
	if !ok {
		b, ok = told[""]
	}
	if ok {
		p.Batching = c.possible(b, m.fixed)
		return p, nil
	}
	best, all, err := c.choose(c.candidates(m.fixed))
	if err != nil {
		return p, fmt.Errorf("measure the %s model: %w", m.role, err)
	}
	p.Batching, p.PerItem, p.Tried = best.Batching, best.PerItem, all
	return p, nil
}

// possible is b as a graph made for a fixed batch and a device allow it: on a device of its own all runs are shared, for
// all its calls go through one queue.
func (c *stageConfig) possible(b Batching, fixed int) Batching {
	b.Max = cmp.Or(fixed, b.Max)
	switch {
	case !c.onCPU:
		b.Strategy = Shared
	case b.Max > 1 && b.Strategy == Single:
		b.Strategy = Calls
	}
	return b
}
