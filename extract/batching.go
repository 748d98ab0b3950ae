package extract

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Strategy says which items of a model go into one run.
type Strategy string

// The strategies.
const (
	Single Strategy = "single" // one item a run, as many runs side by side as there are cores
	Calls  Strategy = "calls"  // items of one call: both eyes of a face, its crops for liveness
	Shared Strategy = "shared" // items of whatever calls are at work
)

// Batching is how a model's items share runs.
type Batching struct {
	Strategy Strategy
	Max      int // items a run at most, 1..256; 1 for Single
}

// String is what ParseBatching reads: single, calls:8, shared:32.
func (b Batching) String() string {
	if b.Strategy == Single {
		return string(Single)
	}
	return fmt.Sprintf("%s:%d", b.Strategy, b.Max)
}

const maxBatch = 256

// ParseBatching reads "single", "calls:N" or "shared:N".
func ParseBatching(text string) (Batching, error) {
	name, number, numbered := strings.Cut(text, ":")
	b := Batching{Strategy(name), 1}
	if numbered {
		n, err := strconv.Atoi(number)
		if err != nil {
			return b, fmt.Errorf("extract: batching %q: %w", text, err)
		}
		b.Max = n
	}
	if numbered == (b.Strategy == Single) {
		return b, fmt.Errorf("extract: batching %q: want single, calls:N or shared:N", text)
	}
	return b, b.validate()
}

func (b Batching) validate() error {
	switch b.Strategy {
	case Calls, Shared:
		if b.Max >= 1 && b.Max <= maxBatch {
			return nil
		}
	case Single:
		if b.Max == 1 {
			return nil
		}
	}
	return fmt.Errorf("extract: batching %q of %d items: want single, calls or shared of 1 to %d", b.Strategy, b.Max, maxBatch)
}

// StagePlan is how one model is run.
type StagePlan struct {
	Model    string   // role
	Devices  []string // such as cpu, or cuda:0 and cuda:1
	Batching Batching
	// PerItem is the measured time for an item on all devices or cores together: the wall clock under full load divided by
	// the items. 0: the batching was set by Config and nothing was measured.
	PerItem time.Duration
	Tried   []Trial // what was measured
}

// Trial is the measured time for an item at a batching.
type Trial struct {
	Batching Batching
	PerItem  time.Duration
}
