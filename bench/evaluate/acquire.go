package evaluate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Acquisition counts the photos and people without a template (ISO/IEC 19795-1: failure to acquire, failure to enrol).
type Acquisition struct {
	FTA    Rate           `json:"failure_to_acquire"` // photos without a template
	FTE    Rate           `json:"failure_to_enrol"`   // people without any
	Codes  map[string]int `json:"codes"`              // failures by reason
	Failed []Failure      `json:"failed"`
}

// Failure is a photo without a template.
type Failure struct {
	Person string `json:"person"`
	File   string `json:"file"`
	Code   string `json:"code"`
}

func acquisition(photos []Photo) Acquisition {
	a := Acquisition{Codes: codes(photos), Failed: []Failure{}}
	enrolled := map[string]bool{}
	for _, p := range photos {
		enrolled[p.Person] = enrolled[p.Person] || p.Failure == ""
		if p.Failure != "" {
			a.Failed = append(a.Failed, Failure{p.Person, p.File, p.Failure})
		}
	}
	var lost int64
	for _, ok := range enrolled {
		if !ok {
			lost++
		}
	}
	a.FTA, a.FTE = newRate(int64(len(a.Failed)), int64(len(photos))), newRate(lost, int64(len(enrolled)))
	return a
}

func codes(photos []Photo) map[string]int {
	n := map[string]int{}
	for _, p := range photos {
		if p.Failure != "" {
			n[p.Failure]++
		}
	}
	return n
}

// codesText is "3 face_not_found, 1 not_an_image".
func codesText(photos []Photo) string {
	n := codes(photos)
	var parts []string
	for _, code := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%d %s", n[code], code))
	}
	return strings.Join(parts, ", ")
}
