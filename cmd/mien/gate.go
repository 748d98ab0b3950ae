package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mien/engine"
)

// gateFlag is what a call asks of its photos beside the gallery.
type gateFlag struct {
	Gate map[string]float64 `help:"What photos must reach beside the gallery's gate: measures and least values, more than 0 to 100, as in sharpness=20,liveness=50." mapsep:"," placeholder:"MEASURE=LEAST"`
}

// galleryGateFlags are the gates of a gallery.
type galleryGateFlags struct {
	EnrolGate map[string]float64 `help:"What photos must reach to enrol people with: measures and least values, more than 0 to 100, as in unified_score=40,sharpness=20." mapsep:"," placeholder:"MEASURE=LEAST"`
	ProbeGate map[string]float64 `help:"What photos must reach to be verified, identified and checked for duplicates." mapsep:"," placeholder:"MEASURE=LEAST"`
}

func (f galleryGateFlags) gates() engine.Gates {
	return engine.Gates{Enrol: f.EnrolGate, Probe: f.ProbeGate}
}

// rulesLines are a gallery's policy and gates, a line each, where it has them.
func rulesLines(g engine.Gallery) string {
	var b strings.Builder
	for _, f := range rates(g.Policy) {
		fmt.Fprintf(&b, "\npolicy: %s %v", f.name, f.value)
	}
	if len(g.Gate.Enrol) > 0 {
		fmt.Fprintf(&b, "\ngate for enrolment: %s", gateText(g.Gate.Enrol))
	}
	if len(g.Gate.Probe) > 0 {
		fmt.Fprintf(&b, "\ngate for probes: %s", gateText(g.Gate.Probe))
	}
	if g.History > 0 {
		fmt.Fprintf(&b, "\nhistory: %d replaced templates of each person", g.History)
	}
	if len(g.Filterable) > 0 {
		fmt.Fprintf(&b, "\nfilterable: %s", strings.Join(g.Filterable, ","))
	}
	if g.Duplicates != "" {
		fmt.Fprintf(&b, "\nduplicates: %s", g.Duplicates)
	}
	for _, f := range rates(g.DuplicatePolicy) {
		fmt.Fprintf(&b, "\npolicy for duplicates: %s %v", f.name, f.value)
	}
	return b.String()
}

// rate is a field of a policy that is set.
type rate struct {
	name  string
	value float64
}

func rates(p engine.Policy) (set []rate) {
	for _, f := range []struct {
		name  string
		value *float64
	}{{"fmr", p.FMR}, {"fpir", p.FPIR}, {"similarity", p.Similarity}, {"cosine", p.Cosine}} {
		if f.value != nil {
			set = append(set, rate{f.name, *f.value})
		}
	}
	return set
}

// duplicateFlags are a gallery's duplicate check.
type duplicateFlags struct {
	Duplicates    *engine.DuplicateCheck `help:"Whose face is another person's already is not enrolled (reject), enrolled and named (warn), or not looked for (off)." enum:"reject,warn,off" placeholder:"reject|warn|off"`
	DuplicateFPIR *float64               `name:"duplicate-fpir" help:"What counts as alike: the rate at which a search for a stranger returns somebody (default 1e-3)." placeholder:"RATE"`
}

// gateText is a gate as --gate takes it.
func gateText(g engine.Gate) string {
	pairs := make([]string, 0, len(g))
	for _, name := range slices.Sorted(maps.Keys(g)) {
		pairs = append(pairs, name+"="+strconv.FormatFloat(g[name], 'g', -1, 64))
	}
	return strings.Join(pairs, ",")
}
