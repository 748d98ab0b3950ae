package mpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Policy says how vectors are encoded and when they match. Each party pins its own in a file of its own; the gateway only names one. Its
// values go into what parties compare, so parties that differ give no answer.
type Policy struct {
	Model  uint16  // number of the embedding model; records of another don't meet
	Params Params  // as 2.2
	Cosine float64 // threshold
	Check  Check
	// Gallery is another policy, of IdentifyLogScale at most: who is enrolled under this one is found by that too. 0: not at all. A
	// model's have one scale, which is that of the shares that are stored: whoever was enrolled at another must be enrolled anew, and until then
	// searches of their tenant end in ErrContext.
	Gallery uint16
}

// Policies are what a party or gateway knows.
type Policies struct {
	Policies map[uint16]Policy
	Budgets  Budgets
}

// policyFile is the form of a file of policies; see ParsePolicies.
type policyFile struct {
	Policies map[uint16]struct {
		Model    uint16  `json:"model"`
		Dim      int     `json:"dim"`
		LogScale int     `json:"log2_scale"`
		Bound    int32   `json:"bound,omitempty"`
		Cosine   float64 `json:"cosine"`
		Check    string  `json:"check,omitempty"`
		Gallery  uint16  `json:"gallery,omitempty"`
	} `json:"policies"`
	Budgets struct {
		Record   []limitFile `json:"record,omitempty"`
		Tenant   []limitFile `json:"tenant,omitempty"`
		Identify []limitFile `json:"identify,omitempty"`
	} `json:"budgets,omitzero"`
}

type limitFile struct {
	Attempts uint32 `json:"attempts"`
	Window   string `json:"window"`
}

// ParsePolicies reads a file of policies:
//
//	{"policies": {"1": {"model": 1, "dim": 512, "log2_scale": 12, "cosine": 0.41, "check": "full", "gallery": 2},
//	              "2": {"model": 1, "dim": 512, "log2_scale": 7, "cosine": 0.55}},
//	 "budgets": {"record": [{"attempts": 10, "window": "1m"}, …], "tenant": […], "identify": [{"attempts": 3, "window": "1m"}, …]}}
//
// bound is the largest that dim allows if it is left out; check is "full" (the default) or "norm"; budgets that are left out are the
// defaults. Errors: ErrConfig.
func ParsePolicies(b []byte) (*Policies, error) {
	var f policyFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("%w: policies: %w", ErrConfig, err)
	}
	out := &Policies{Policies: make(map[uint16]Policy, len(f.Policies))}
	for id, p := range f.Policies {
		params, err := NewParams(p.Dim, p.LogScale)
		if err != nil {
			return nil, fmt.Errorf("%w: policy %d: %w", ErrConfig, id, err)
		}
		if p.Bound != 0 {
			params.Bound = p.Bound
		}
		check, known := map[string]Check{"": CheckFull, "full": CheckFull, "norm": CheckNorm}[p.Check]
		if !known {
			return nil, fmt.Errorf("%w: policy %d: check %q is not full or norm", ErrConfig, id, p.Check)
		}
		out.Policies[id] = Policy{p.Model, params, p.Cosine, check, p.Gallery}
	}
	for _, l := range []struct {
		to   *[]Limit
		from []limitFile
	}{{&out.Budgets.Record, f.Budgets.Record}, {&out.Budgets.Tenant, f.Budgets.Tenant}, {&out.Budgets.Identify, f.Budgets.Identify}} {
		for _, v := range l.from {
			window, err := parseWindow(v.Window)
			if err != nil {
				return nil, err
			}
			*l.to = append(*l.to, Limit{v.Attempts, window})
		}
	}
	return out, out.validate()
}

// parseWindow reads a window: as Go writes durations, or in days, "30d". Errors: ErrConfig.
func parseWindow(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 10); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%w: budget: the window %q is no time: write it as 90s, 1m, 24h or 30d", ErrConfig, text)
	}
	return d, nil
}

// MarshalJSON is the form that ParsePolicies reads.
func (l Limit) MarshalJSON() ([]byte, error) {
	const day = 24 * time.Hour
	window := strings.TrimSuffix(strings.TrimSuffix(l.Window.String(), "0s"), "0m")
	if l.Window%day == 0 {
		window = fmt.Sprintf("%dd", l.Window/day)
	}
	return json.Marshal(limitFile{l.Attempts, window})
}

// Errors: ErrConfig.
func (p *Policies) validate() error {
	if p == nil || len(p.Policies) == 0 {
		return fmt.Errorf("%w: no policies", ErrConfig)
	}
	for id, v := range p.Policies {
		if _, err := v.Params.Threshold(v.Cosine); err != nil || id == 0 {
			return fmt.Errorf("%w: policy %d: %w", ErrConfig, id, err)
		}
		if v.Gallery == 0 {
			continue
		}
		g, known := p.Policies[v.Gallery]
		if !known || g.Params.LogScale > IdentifyLogScale || g.Params.Dim != v.Params.Dim || g.Model != v.Model || g.Gallery != 0 {
			return fmt.Errorf("%w: policy %d: its gallery, policy %d, must be one of the same model and dim, with log2_scale %d at most", ErrConfig, id, v.Gallery, IdentifyLogScale)
		}
	}
	if err := p.oneScale(); err != nil {
		return err
	}
	return p.Budgets.validate(p.searched())
}

// oneScale refuses policies by which rows of one scale would be compared at another. Errors: ErrConfig.
func (p *Policies) oneScale() error {
	scales := make(map[uint16]int)
	for id, v := range p.Policies {
		if !v.Params.short() {
			continue
		}
		if scale, is := scales[v.Model]; is && scale != v.Params.LogScale {
			return fmt.Errorf("%w: policy %d: model %d has policies for identification of log2_scale %d and %d: want one", ErrConfig, id, v.Model, scale, v.Params.LogScale)
		}
		scales[v.Model] = v.Params.LogScale
	}
	return nil
}

// searched says whether anybody can be searched for.
func (p *Policies) searched() bool {
	for _, v := range p.Policies {
		if v.Params.short() {
			return true
		}
	}
	return false
}

// counted are the budgets as they are counted: a record's of verifications alone.
func (p *Policies) counted() Budgets {
	b := p.Budgets.withDefaults()
	if p.searched() {
		b.Record = b.verifications()
	}
	return b
}

// of returns a policy of a model. Errors: ErrPolicy.
func (p *Policies) of(id, model uint16) (Policy, error) {
	v, known := p.Policies[id]
	if !known || v.Model != model {
		return v, fmt.Errorf("%w: policy %d of model %d", ErrPolicy, id, model)
	}
	return v, nil
}

// threshold is the least product that matches. REQUIRES: validate.
func (p Policy) threshold() int32 {
	t, err := p.Params.Threshold(p.Cosine)
	must(err)
	return t
}

// fits reports whether records with a head may be compared under the policy.
func (p Policy) fits(h head) bool {
	return h.model == p.Model && int(h.dim) == p.Params.Dim && int(h.logScale) == p.Params.LogScale
}

// appendTo encodes all that a policy decides, for the contexts that parties compare.
func (p Policy) appendTo(dst []byte) []byte {
	return fmt.Appendf(dst, "policy %d %d %d %d %d %x %d", p.Model, p.Params.Dim, p.Params.LogScale, p.Params.Bound, p.Check, math.Float64bits(p.Cosine), p.Gallery)
}
