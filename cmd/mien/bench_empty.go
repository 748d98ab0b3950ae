package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"mien/bench/load"
)

// emptyRounds is how often each of the two handlers has its turn; what else runs on a machine comes and goes.
const emptyRounds = 7

// emptyReport holds requests a second against those of a handler that does nothing, as medians of rounds. Both get the
// same requests from the same client on the same processor, of which the client takes its part: of the servers alone the
// ratio is lower.
type emptyReport struct {
	PerSecond float64      `json:"answered_per_second"`
	Empty     float64      `json:"empty_per_second"`
	Ratio     float64      `json:"ratio"` // of the two of a round
	RatioMin  float64      `json:"ratio_min"`
	RatioMax  float64      `json:"ratio_max"`
	CPU       float64      `json:"cpu_us_per_request"` // of this process, client included: what others run changes it less
	EmptyCPU  float64      `json:"empty_cpu_us_per_request"`
	Rounds    []emptyRound `json:"rounds"`
	Senders   int          `json:"concurrency"`
}

// emptyRound is requests a second of both, one straight after the other.
type emptyRound struct {
	PerSecond float64 `json:"answered_per_second"`
	Empty     float64 `json:"empty_per_second"`
	CPU       float64 `json:"cpu_us_per_request"`
	EmptyCPU  float64 `json:"empty_cpu_us_per_request"`
}

func (r emptyRound) ratio() float64 { return r.PerSecond / r.Empty }

// againstEmpty sends the same to config's server and to a handler that does nothing, by turns and in a closed loop.
func againstEmpty(ctx context.Context, config load.Config, senders []sender) (_ *emptyReport, err error) {
	ln, err := listen("127.0.0.1:0", false)
	if err != nil {
		return nil, err
	}
	stop := load.ServeEmpty(ln)
	defer func() { err = errors.Join(err, stop()) }()
	client, err := load.NewClient("http://"+ln.Addr().String(), nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	config.Rate, config.Poisson = 0, false
	config.Duration /= 2 * emptyRounds
	empty := config
	empty.Operations = to(client, senders)
	r := &emptyReport{Senders: config.Concurrency}
	for i := range emptyRounds + 1 { // the first warms up
		var round emptyRound
		if round.PerSecond, round.CPU, err = throughput(ctx, config); err != nil {
			return nil, err
		}
		if round.Empty, round.EmptyCPU, err = throughput(ctx, empty); err != nil {
			return nil, err
		}
		if i > 0 {
			r.Rounds = append(r.Rounds, round)
		}
	}
	r.sum()
	return r, nil
}

// throughput is requests a second and microseconds of processor time for each. It fails if a request does: an error may
// be quicker than an answer.
func throughput(ctx context.Context, config load.Config) (perSecond, cpuMicros float64, err error) {
	before := processorTime()
	r, err := load.Run(ctx, config)
	spent := processorTime() - before
	if err == nil && (r.All.Failed+r.All.Refused > 0 || r.All.Answered == 0) {
		err = fmt.Errorf("%d requests were answered and others not: %v", r.All.Answered, r.All.Codes)
	}
	return r.All.PerSecond, float64(spent.Microseconds()) / float64(r.All.Answered), err
}

// processorTime is what this process used, of its own and in the kernel.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("BUG: getrusage: " + err.Error())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (r *emptyReport) sum() {
	sorted := func(of func(emptyRound) float64) []float64 {
		all := make([]float64, len(r.Rounds))
		for i, round := range r.Rounds {
			all[i] = of(round)
		}
		slices.Sort(all)
		return all
	}
	middle := len(r.Rounds) / 2
	r.PerSecond = sorted(func(o emptyRound) float64 { return o.PerSecond })[middle]
	r.Empty = sorted(func(o emptyRound) float64 { return o.Empty })[middle]
	r.CPU = sorted(func(o emptyRound) float64 { return o.CPU })[middle]
	r.EmptyCPU = sorted(func(o emptyRound) float64 { return o.EmptyCPU })[middle]
	ratios := sorted(emptyRound.ratio)
	r.Ratio, r.RatioMin, r.RatioMax = ratios[middle], ratios[0], ratios[len(ratios)-1]
}

func (r *emptyReport) text() string {
	return fmt.Sprintf("%.0f requests a second, an empty handler of fasthttp %.0f: ratio %.2f (%.2f to %.2f), medians of %d rounds by turns, %d senders in a closed loop\n"+
		"processor time a request, client included: %.1f µs, of the empty handler %.1f\n",
		r.PerSecond, r.Empty, r.Ratio, r.RatioMin, r.RatioMax, len(r.Rounds), r.Senders, r.CPU, r.EmptyCPU)
}
