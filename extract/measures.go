package extract

import (
	"slices"

	"mien/extract/pack"
)

// LivenessMeasure is Liveness.Score × 100 as a measure beside those of Quality.
const LivenessMeasure = "liveness"

// MeasureOf is the inverse of String. It panics on a name that no Measure has.
func MeasureOf(name string) Measure {
	i := slices.Index(measureNames[:], name)
	if i < 0 {
		panic("BUG: extract: no measure is named " + name)
	}
	return Measure(i)
}

// Measures lists the names of what this extractor's pack can judge: those of Quality that WantQuality fills in, and
// LivenessMeasure.
func (x *Extractor) Measures() []string {
	var names []string
	for i, name := range measureNames {
		if m := Measure(i); m != EyesOpen && m != MouthClosed || x.Manifest().Has(pack.Landmarks) {
			names = append(names, name)
		}
	}
	if x.Manifest().Has(pack.Liveness) {
		names = append(names, LivenessMeasure)
	}
	return names
}
