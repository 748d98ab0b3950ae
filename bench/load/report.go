package load

import (
	"maps"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// tally counts the requests of one operation.
type tally struct {
	answered, refused, waits histogram
	failed                   uint64
	codes                    map[string]int // of what was refused or failed
}

func (t *tally) add(a Answer, wait, latency time.Duration) {
	if a.Code != NotSent {
		t.waits.add(wait)
	}
	switch {
	case a.Status >= 200 && a.Status < 300:
		t.answered.add(latency)
		return
	case a.Status == fasthttp.StatusTooManyRequests || a.Status == fasthttp.StatusServiceUnavailable:
		t.refused.add(latency)
	default:
		t.failed++
	}
	t.code(a.name(), 1)
}

func (t *tally) code(name string, n int) {
	if t.codes == nil {
		t.codes = make(map[string]int)
	}
	t.codes[name] += n
}

// name is the status and the code of an answer that is no success.
func (a Answer) name() string {
	switch {
	case a.Status == 0:
		return a.Code
	case a.Code == "":
		return strconv.Itoa(a.Status)
	}
	return strconv.Itoa(a.Status) + " " + a.Code
}

func (t *tally) merge(o *tally) {
	t.answered.merge(&o.answered)
	t.refused.merge(&o.refused)
	t.waits.merge(&o.waits)
	t.failed += o.failed
	for code, n := range o.codes {
		t.code(code, n)
	}
}

// Result is what became of the requests of one operation, or of all.
type Result struct {
	Operation string         `json:"operation"` // "all" for all of them
	Answered  uint64         `json:"answered"`  // 2xx
	Refused   uint64         `json:"refused"`   // 429 and 503
	Failed    uint64         `json:"failed"`    // whatever else, and no answer
	Codes     map[string]int `json:"codes,omitempty"`
	PerSecond float64        `json:"answered_per_second"`
	Latency   Quantiles      `json:"latency"`         // of the answered, from the scheduled moment
	Refusal   Quantiles      `json:"refusal_latency"` // of the refused
	Waits     Quantiles      `json:"waits"`           // how long after its scheduled moment a request was sent
}

func (t *tally) result(name string, elapsed time.Duration) Result {
	return Result{
		Operation: name, Answered: t.answered.n, Refused: t.refused.n, Failed: t.failed, Codes: maps.Clone(t.codes),
		PerSecond: float64(t.answered.n) / elapsed.Seconds(),
		Latency:   t.answered.quantiles(), Refusal: t.refused.quantiles(), Waits: t.waits.quantiles(),
	}
}

// Report is what a Run sent and what came of it. It marshals to one JSON object.
type Report struct {
	Rate        float64  `json:"rate"` // asked for; 0: a closed loop
	Poisson     bool     `json:"poisson"`
	Concurrency int      `json:"concurrency"`
	Scheduled   float64  `json:"scheduled_seconds"`
	Elapsed     float64  `json:"elapsed_seconds"` // until the last answer
	All         Result   `json:"all"`
	Operations  []Result `json:"operations"` // in the order of Config.Operations
}

// report sums up. A schedule is over with its time, not with its last arrival: a rate is kept when PerSecond is Rate.
func (r *run) report(elapsed time.Duration) Report {
	if r.Rate > 0 {
		elapsed = max(elapsed, r.Duration)
	}
	p := Report{Rate: r.Rate, Poisson: r.Poisson, Concurrency: r.Concurrency, Scheduled: r.Duration.Seconds(), Elapsed: elapsed.Seconds()}
	var all tally
	for i := range r.tallies {
		all.merge(&r.tallies[i])
		p.Operations = append(p.Operations, r.tallies[i].result(r.Config.Operations[i].Name, elapsed))
	}
	p.All = all.result("all", elapsed)
	return p
}
