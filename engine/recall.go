package engine

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"mien/index"
	"mien/index/hnsw"
)

// Live recall: a share of the searches that clients make, Config.RecallSample, is answered again in the background, and
// exactly, both by the index as it is at one moment, so that no change of the gallery passes for a miss (index.Check).
//
// L1  One goroutine checks for the whole engine, one search at a time, and after a check that took d it waits for
// 99 × d: checks take 1 % of the time of however many cores an exact search uses, and no more.
// L2  A search that comes while it checks or waits is not sampled. So no probe waits for its check: it is in memory,
// nowhere else, until the check has ended, and is wiped then.

const (
	// defaultRecallSample is Config.RecallSample's: at a hundred searches a second one in ten seconds, which shows within
	// a day that fewer than 1 in 2,800 hits are missed, if none is (index.UpperBound of 8,640).
	defaultRecallSample = 1.0 / 1000
	// recallPause is how often as long as a check took the checker waits afterwards (L1).
	recallPause = 99
	// sameScore is how far apart two scores of one template may be: see cosineOf.
	sameScore = 1e-6
)

// Recall counts what an index missed of searches that were checked, since the process was started.
type Recall struct {
	Checked    int64 `json:"checked"`     // searches
	Due        int64 `json:"due"`         // people whom the exact answers list
	Missed     int64 `json:"missed"`      // of those, whom the index's answers lacked; one who is as near as the last listed is not missed
	BestMissed int64 `json:"best_missed"` // searches whose best was missed
	// MissRateUpper95 is the one-sided 95 % upper bound on missed / due (Clopper and Pearson), 1 while nothing was due. It
	// takes hits as independent of each other, which those of one search are not quite.
	MissRateUpper95 float64 `json:"miss_rate_upper_95"`
}

// IndexStatus says how a gallery's searches are answered, and how well.
type IndexStatus struct {
	Serving string       `json:"serving"`         // what answers searches now: "scan" or "hnsw"
	Why     string       `json:"why"`             // a sentence
	Graph   *GraphStatus `json:"graph,omitempty"` // nil where the gallery was made with index scan
	// Recall has, by what served then, the searches that were checked. It is empty until one was.
	Recall map[string]Recall `json:"recall"`
}

// GraphStatus says how a gallery's HNSW graph does.
type GraphStatus struct {
	Linked  int `json:"linked"`  // templates in the graph, those being taken out included
	Waiting int `json:"waiting"` // templates to be linked; until then the probe is compared with each, or the scan answers
	// Rescued is how many templates lost every way to them when others were removed, and were linked again.
	Rescued int64 `json:"rescued"`
	ByGraph int64 `json:"searches_by_graph"` // since the process was started
	ByScan  int64 `json:"searches_by_scan"`  // which the scan answered: exact ones, and where the graph would not do as well
}

// recallCounts are a gallery's, by what served.
type recallCounts struct {
	sync.Mutex
	of map[string]Recall
}

// sample is a search to be answered again. q is nobody else's.
type sample struct {
	g         *gallery
	q         []float32
	topK      int
	o         index.Options
	threshold float64
}

// offer has a search checked if chance and the checker's time allow.
func (e *Engine) offer(s sample) {
	if s.o.Exact || !(rand.Float64() < e.recallSample) {
		return
	}
	select {
	case e.samples <- s:
	default: // L2
	}
}

// checkSamples runs until Close.
func (e *Engine) checkSamples() {
	for {
		select {
		case s := <-e.samples:
			pause(e.stopped, recallPause*e.checkSample(s))
		case <-e.stopped.Done():
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// checkSample answers a search again and wipes its probe. An index that turns out to be damaged is made anew, as for a
// client's call.
func (e *Engine) checkSample(s sample) (took time.Duration) {
	defer clear(s.q)
	err := e.reading(e.stopped, s.g, func() error {
		x, _, err := s.g.beginSearch()
		if err != nil {
			return err
		}
		begin := time.Now()
		found, exact, err := x.Check(e.stopped, s.q, s.o)
		took += time.Since(begin)
		if err == nil {
			s.g.recall.add(servingOf(x), missesOf(found, exact, s.topK, s.threshold))
		}
		return err
	})
	if err != nil && e.stopped.Err() == nil && !errors.Is(err, ErrGalleryNotFound) {
		e.log.Warn("a search could not be checked", "gallery", s.g.record.Number, "error", err)
	}
	return took
}

// missesOf compares the topK of an answer with those of the exact one of the same moment. Both are best first.
func missesOf(found, exact []index.Hit, topK int, threshold float64) Recall {
	r := Recall{Checked: 1}
	found, exact = found[:min(len(found), topK)], exact[:min(len(exact), topK)]
	for i, h := range exact {
		if cosineOf(h.Score) < threshold {
			break
		}
		r.Due++
		if i == 0 && !reaches(found, 1, h) {
			r.BestMissed++
		}
		has := slices.ContainsFunc(found, func(f index.Hit) bool { return f.Label == h.Label })
		if !has && !reaches(found, topK, h) {
			r.Missed++
		}
	}
	return r
}

// reaches reports whether the first n hits, if there are so many, are all as near as h.
func reaches(found []index.Hit, n int, h index.Hit) bool {
	return len(found) >= n && found[n-1].Score >= h.Score-sameScore
}

func (c *recallCounts) add(serving string, r Recall) {
	c.Lock()
	defer c.Unlock()
	if c.of == nil {
		c.of = make(map[string]Recall)
	}
	have := c.of[serving]
	c.of[serving] = Recall{Checked: have.Checked + r.Checked, Due: have.Due + r.Due, Missed: have.Missed + r.Missed,
		BestMissed: have.BestMissed + r.BestMissed}
}

// bounded are the counts with their bounds.
func (c *recallCounts) bounded() map[string]Recall {
	c.Lock()
	all := make(map[string]Recall, len(c.of))
	maps.Copy(all, c.of)
	c.Unlock()
	for serving, r := range all {
		r.MissRateUpper95 = index.UpperBound(int(r.Missed), int(r.Due))
		all[serving] = r
	}
	return all
}

// status is nil where the space is not configured: there is no index.
func (g *gallery) status() *IndexStatus {
	x := g.currentIndex()
	if x == nil {
		return nil
	}
	s := &IndexStatus{Serving: indexScan, Why: "the gallery was made with index " + g.record.Index, Recall: g.recall.bounded()}
	if graph := graphOf(x); graph.Serving != "" {
		s.Serving, s.Why = graph.Serving, graph.Why
		s.Graph = &GraphStatus{Linked: graph.Linked, Waiting: graph.Waiting, Rescued: graph.Rescued, ByGraph: graph.ByGraph, ByScan: graph.ByScan}
	}
	return s
}

// graphed is an index that may have a graph.
type graphed interface{ Status() hnsw.Status }

// graphOf is how an index's graph does, the zero Status where it can have none.
func graphOf(x searcher) hnsw.Status {
	if x, ok := x.(graphed); ok {
		return x.Status()
	}
	return hnsw.Status{}
}

func servingOf(x searcher) string { return cmp.Or(graphOf(x).Serving, indexScan) }
