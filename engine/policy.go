package engine

import "cmp"

// Default policies of the operations.
const (
	defaultVerifyFMR      = 1e-4
	defaultIdentifyFPIR   = 1e-2
	defaultDuplicatesFPIR = 1e-3
)

// verifyDefault decides where neither the call nor the gallery says. It is shared, and never changed.
var verifyDefault = Policy{FMR: new(defaultVerifyFMR)}

// IsZero reports whether no field is set; encoding/json omits such a policy.
func (p Policy) IsZero() bool { return p == Policy{} }

// Validate reports whether at most one field is set and it is in its range. Errors: ErrPolicy.
func (p Policy) Validate() error {
	set := 0
	for _, f := range []struct {
		name     string
		value    *float64
		min, max float64
		open     bool // min itself is out of range
	}{
		{"fmr", p.FMR, 0, 1, true},
		{"fpir", p.FPIR, 0, 1, true},
		{"similarity", p.Similarity, 0, 1, false},
		{"cosine", p.Cosine, -1, 1, false},
	} {
		if f.value == nil {
			continue
		}
		set++
		if v := *f.value; !(v >= f.min && v <= f.max) || f.open && v == f.min {
			return refuse(ErrPolicy, "policy.%s is %v: it must be from %v (%s) to %v", f.name, v, f.min, boundWord(f.open), f.max)
		}
	}
	if set > 1 {
		return refuse(ErrPolicy, "the policy sets %d fields: set at most one of fmr, fpir, similarity and cosine", set)
	}
	return nil
}

func boundWord(open bool) string {
	if open {
		return "excluded"
	}
	return "included"
}

// or returns the first policy that states something.
func (p Policy) or(others ...Policy) Policy {
	for _, o := range others {
		if !p.IsZero() {
			break
		}
		p = o
	}
	return p
}

// threshold is the cosine at which the policy says yes when n templates are compared. REQUIRES: valid and set.
func (p Policy) threshold(c Calibration, n int) float64 {
	switch {
	case p.FMR != nil:
		return c.CosineAt(*p.FMR)
	case p.FPIR != nil:
		return c.CosineAt(fmrForFPIR(*p.FPIR, n))
	case p.Similarity != nil:
		return c.CosineAtSimilarity(*p.Similarity)
	case p.Cosine != nil:
		return *p.Cosine
	}
	panic("BUG: threshold of an empty policy")
}

// thresholdOfBest is threshold where the best of n comparisons is the one score of a person: FMR is the person's. REQUIRES: valid and
// set; n ≥ 1.
func (p Policy) thresholdOfBest(c Calibration, n int) float64 {
	if p.FMR == nil || *p.FMR >= 1 { // which everybody reaches, however many templates
		return p.threshold(c, n)
	}
	return c.CosineAt(*p.FMR / float64(n))
}

func (p Policy) equal(o Policy) bool {
	same := func(a, b *float64) bool {
		return (a == nil) == (b == nil) && cmp.Compare(deref(a), deref(b)) == 0
	}
	return same(p.FMR, o.FMR) && same(p.FPIR, o.FPIR) && same(p.Similarity, o.Similarity) && same(p.Cosine, o.Cosine)
}

func (p Policy) clone() Policy {
	dup := func(v *float64) *float64 {
		if v == nil {
			return nil
		}
		return new(*v)
	}
	return Policy{dup(p.FMR), dup(p.FPIR), dup(p.Similarity), dup(p.Cosine)}
}

func deref(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}
