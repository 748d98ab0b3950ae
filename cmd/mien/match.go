package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"mien/engine"
)

// policyFlags are one way to state what counts as a match.
type policyFlags struct {
	FMR        *float64 `name:"fmr" help:"Accept this false match rate." xor:"policy" placeholder:"RATE"`
	FPIR       *float64 `name:"fpir" help:"Accept this false positive rate for one search." xor:"policy" placeholder:"RATE"`
	Similarity *float64 `help:"Accept from this similarity, 0 to 1." xor:"policy" placeholder:"S"`
	Cosine     *float64 `help:"Accept from this cosine, -1 to 1." xor:"policy" placeholder:"C"`
}

func (p policyFlags) policy() *engine.Policy {
	q := engine.Policy{FMR: p.FMR, FPIR: p.FPIR, Similarity: p.Similarity, Cosine: p.Cosine}
	if q == (engine.Policy{}) {
		return nil
	}
	return &q
}

// probe is the body of the matching calls.
type probe struct {
	Image  []byte         `json:"image"`
	Select string         `json:"select,omitempty"`
	TopK   int            `json:"top_k,omitempty"`
	Exact  bool           `json:"exact,omitempty"`
	EF     *int           `json:"ef,omitempty"`
	Policy *engine.Policy `json:"policy,omitempty"`
	Gate   engine.Gate    `json:"gate,omitempty"`
	Want   []string       `json:"want,omitempty"`
	Filter map[string]any `json:"filter,omitempty"`

	Duplicates string `json:"duplicates,omitempty"` // of a template that is added
}

// selectFlag chooses among several faces.
type selectFlag struct {
	Select string `help:"Which face of a photo: one (several are an error) or largest." enum:"one,largest" default:"one"`
}

type identifyCmd struct {
	remote
	policyFlags
	gateFlag
	filterFlags
	Select  string `help:"Which face of a photo: one (several are an error), largest or all, each by itself." enum:"one,largest,all" default:"one"`
	Gallery string `help:"Gallery to search." required:"" short:"g"`
	TopK    int    `help:"How many candidates at most." default:"10"`
	Exact   bool   `help:"Compare with every template in full: slower in a large gallery; without it, the scan loses a template that belongs into the answer with a probability of at most 1e-6, and a graph as its gallery's status tells."`
	EF      *int   `name:"ef" help:"How many templates an HNSW graph keeps in sight, 1 to 16384: more find more and take longer (default: the index's own; ignored where the scan answers)." placeholder:"N"`
	Photo   string `arg:"" type:"existingfile" help:"Photo of the person who is sought."`
}

// Run prints the candidates, best first.
func (c *identifyCmd) Run(ctx context.Context, out *output) error {
	if c.TopK < 1 {
		return errors.New("--top-k must be 1 or more")
	}
	p := &probe{Select: c.Select, TopK: c.TopK, Exact: c.Exact, EF: c.EF, Policy: c.policy(), Gate: c.Gate, Filter: c.filter()}
	if c.Select == "all" {
		return c.identifyAll(ctx, out, p)
	}
	var found engine.Candidates
	if err := c.send(ctx, c.Photo, galleryPath(c.Gallery)+"/identify", p, &found); err != nil {
		return err
	}
	return out.answer(len(found.Candidates) > 0, found, candidatesText(found))
}

func candidatesText(found engine.Candidates) string {
	var text strings.Builder
	for _, f := range found.Candidates {
		fmt.Fprintf(&text, "%s\tsimilarity %.3f\tcosine %.3f\tFPIR %.1e\n", f.Person, f.Similarity, f.Cosine, f.FPIR)
	}
	fmt.Fprintf(&text, "%d people listed; threshold cosine %.3f; %d templates searched", len(found.Candidates), found.Threshold, found.Searched)
	return text.String()
}

// identifyAll prints the candidates of each face, or why it does not pass the gate.
func (c *identifyCmd) identifyAll(ctx context.Context, out *output, p *probe) error {
	var answer json.RawMessage
	if err := c.send(ctx, c.Photo, galleryPath(c.Gallery)+"/identify", p, &answer); err != nil {
		return err
	}
	var found struct {
		Faces []struct {
			Face judgedFace
			engine.Candidates
		}
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		return err
	}
	text, known := []string{fmt.Sprintf("%d faces", len(found.Faces))}, 0
	for i, f := range found.Faces {
		text = append(text, fmt.Sprintf("face %d\t%s", i+1, f.Face.text(false)))
		if len(f.Face.Reasons) == 0 {
			text = append(text, candidatesText(f.Candidates))
		}
		known += len(f.Candidates.Candidates)
	}
	return out.answer(known > 0, answer, strings.Join(text, "\n"))
}

// send posts a probe with the photo of a file.
func (r *remote) send(ctx context.Context, photo, path string, p *probe, answer any) error {
	var err error
	if p.Image, err = os.ReadFile(photo); err != nil {
		return err
	}
	if err := r.call(ctx, "POST", path, p, answer); err != nil {
		return fmt.Errorf("%s: %w", photo, err)
	}
	return nil
}

type verifyCmd struct {
	remote
	policyFlags
	gateFlag
	selectFlag
	Gallery string `help:"Gallery of the person." required:"" short:"g"`
	Person  string `arg:"" help:"Who it should be."`
	Photo   string `arg:"" type:"existingfile" help:"Photo to check."`
}

// Run prints the decision.
func (c *verifyCmd) Run(ctx context.Context, out *output) error {
	var d engine.Decision
	err := c.send(ctx, c.Photo, personPath(c.Gallery, c.Person)+"/verify", &probe{Select: c.Select, Policy: c.policy(), Gate: c.Gate}, &d)
	if err != nil {
		return err
	}
	return out.decision(d)
}

func (o *output) decision(d engine.Decision) error {
	verdict := "no match"
	if d.Match {
		verdict = "match"
	}
	return o.answer(d.Match, d, fmt.Sprintf("%s\tsimilarity %.3f\tcosine %.3f (threshold %.3f)\tFMR %.1e",
		verdict, d.Similarity, d.Cosine, d.Threshold, d.FMR))
}

type compareCmd struct {
	remote
	policyFlags
	gateFlag
	selectFlag
	Source string `arg:"" type:"existingfile" help:"One photo."`
	Target string `arg:"" type:"existingfile" help:"The other photo."`
}

// Run prints the decision.
func (c *compareCmd) Run(ctx context.Context, out *output) error {
	body := map[string]any{"select": c.Select}
	for side, file := range map[string]string{"source": c.Source, "target": c.Target} {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		body[side] = map[string][]byte{"image": data}
	}
	if p := c.policy(); p != nil {
		body["policy"] = p
	}
	if c.Gate != nil {
		body["gate"] = c.Gate
	}
	var d engine.Decision
	if err := c.call(ctx, "POST", "/v1/compare", body, &d); err != nil {
		return err
	}
	return out.decision(d)
}
