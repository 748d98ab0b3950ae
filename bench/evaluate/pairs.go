package evaluate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// ErrPairs: a list of pairs that can't be read.
var ErrPairs = errors.New("evaluate: not a list of pairs")

// NamedPair is a line of a list of pairs.
type NamedPair struct {
	A, B      string
	Same      bool
	Reference *float64 // somebody else's cosine of the pair; nil: none given
}

// ReadPairs reads comma-separated lines under a header that names the columns a, b and same (1 or 0), in any order; a column
// cosine is read too, others are left alone. Errors: ErrPairs, with the line.
func ReadPairs(in io.Reader) ([]NamedPair, error) {
	r := csv.NewReader(in)
	r.TrimLeadingSpace = true
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPairs, err)
	}
	column := map[string]int{}
	for _, name := range []string{"a", "b", "same", "cosine"} {
		if column[name] = slices.Index(head, name); column[name] < 0 && name != "cosine" {
			return nil, fmt.Errorf("%w: the first line has no column %q: %s", ErrPairs, name, strings.Join(head, ","))
		}
	}
	var pairs []NamedPair
	for {
		fields, err := r.Read()
		if err == io.EOF {
			return pairs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPairs, err)
		}
		p := NamedPair{A: fields[column["a"]], B: fields[column["b"]]}
		p.Same, err = strconv.ParseBool(fields[column["same"]])
		if i := column["cosine"]; err == nil && i >= 0 && fields[i] != "" {
			p.Reference = new(float64)
			*p.Reference, err = strconv.ParseFloat(fields[i], 64)
		}
		if err != nil {
			line, _ := r.FieldPos(0)
			return nil, fmt.Errorf("%w: line %d: %w", ErrPairs, line, err)
		}
		pairs = append(pairs, p)
	}
}
