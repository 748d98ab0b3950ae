package main

import (
	"fmt"
	"strings"
	"time"

	"mien/extract"
)

// providerFlags say what models run on, and how.
type providerFlags struct {
	Provider   []string          `help:"What models run on: cpu, auto (the first provider that works, else the CPU), or devices of one provider, as cuda:0,cuda:1. Providers: cuda, tensorrt, openvino, coreml, directml, webgpu." env:"MIEN_PROVIDER" default:"cpu" placeholder:"DEVICE,..."`
	Batching   map[string]string `help:"How items share runs of a model, for a model or for all: single, calls:N (up to N items of one call: both eyes of a face, its two crops for liveness) or shared:N (of all photos at work); an item is a face, an eye or a crop; what is not set is measured at the start." env:"MIEN_BATCHING" mapsep:"," placeholder:"MODEL=HOW,..."`
	BatchDelay time.Duration     `help:"How long an item waits for others to share a run; 0: not at all." env:"MIEN_BATCH_DELAY" default:"3ms"`
}

// apply sets in c what the flags say.
func (f providerFlags) apply(c *extract.Config) error {
	c.Devices, c.BatchDelay, c.Batching = f.Provider, f.BatchDelay, make(map[string]extract.Batching)
	if f.BatchDelay == 0 {
		c.BatchDelay = time.Nanosecond // Config's 0 is its default
	}
	for model, how := range f.Batching {
		b, err := extract.ParseBatching(how)
		if err != nil {
			return fmt.Errorf("--batching %s=%s: %w", model, how, err)
		}
		if model == "all" {
			model = ""
		}
		c.Batching[model] = b
	}
	return nil
}

// millis are milliseconds to three digits.
func millis(d time.Duration) string {
	return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
}

// planLine is how all models of a pack are run, in one line.
func planLine(plan []extract.StagePlan) string {
	parts := make([]string, len(plan))
	for i, p := range plan {
		parts[i] = fmt.Sprintf("%s %v", p.Model, p.Batching)
		if p.PerItem > 0 {
			parts[i] += " " + millis(p.PerItem)
		}
	}
	return strings.Join(parts, ", ")
}

// planFindings is a row for each model: device, strategy, time for an item, and what else was measured.
func planFindings(plan []extract.StagePlan) (rows []finding) {
	for _, p := range plan {
		time, tried := "as told", ""
		if p.PerItem > 0 {
			time = millis(p.PerItem) + " an item"
		}
		for _, t := range p.Tried {
			if t.Batching != p.Batching {
				tried += fmt.Sprintf("  (%v %s)", t.Batching, millis(t.PerItem))
			}
		}
		rows = append(rows, ok(p.Model, "%-8s %-10v %s%s", strings.Join(p.Devices, ","), p.Batching, time, tried))
	}
	return rows
}
