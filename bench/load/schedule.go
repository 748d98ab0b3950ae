package load

import (
	"math/rand/v2"
	"sync"
	"time"
)

// arrival is a request that is due.
type arrival struct {
	n  int           // 0, 1, …
	at time.Duration // since the start
	op int           // of Config.Operations
}

// schedule hands out arrivals in order. Safe for concurrent use.
type schedule struct {
	Config
	weights float64 // their sum

	mu   sync.Mutex // guards what follows
	rng  *rand.Rand
	n    int
	next float64 // Poisson: seconds since the start of the next arrival
}

func newSchedule(c Config) *schedule {
	s := &schedule{Config: c, rng: rand.New(rand.NewPCG(c.Seed, 0))}
	for _, o := range c.Operations {
		s.weights += o.Weight
	}
	if c.Poisson {
		s.next = s.rng.ExpFloat64() / c.Rate
	}
	return s
}

// take returns the next arrival; ok is false when the schedule is over. elapsed is the time since the start, which is
// when a sender of a closed loop comes.
func (s *schedule) take(elapsed time.Duration) (a arrival, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.Rate == 0:
		a.at = elapsed
	case s.Poisson:
		a.at = seconds(s.next)
		s.next += s.rng.ExpFloat64() / s.Rate
	default:
		a.at = seconds(float64(s.n) / s.Rate)
	}
	a.n, a.op = s.n, s.pick()
	s.n++
	return a, a.at < s.Duration
}

// pick draws an operation by the weights.
func (s *schedule) pick() int {
	left := s.rng.Float64() * s.weights
	for i, o := range s.Operations {
		if left -= o.Weight; left < 0 {
			return i
		}
	}
	return len(s.Operations) - 1
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
