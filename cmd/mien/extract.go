package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"mien/engine"
	"mien/extract"
)

type extractCmd struct {
	remote
	gateFlag
	Template bool   `help:"Print the templates too, with --json."`
	Photo    string `arg:"" type:"existingfile" help:"Photo to look at."`
}

// judgedFace is a face of an answer as far as it is printed.
type judgedFace struct {
	Box      extract.Box
	Score    float64
	Quality  map[string]float64
	Pose     *extract.Pose
	Liveness *struct {
		Score   float64
		Verdict extract.Verdict
	}
	Reasons []engine.Reason
}

// Run prints what is found out about each face, and whether it passes the gate.
func (c *extractCmd) Run(ctx context.Context, out *output) error {
	p := &probe{Want: []string{"quality", "liveness"}, Gate: c.Gate}
	if c.Template {
		p.Want = append(p.Want, "template")
	}
	var answer json.RawMessage
	if err := c.send(ctx, c.Photo, "/v1/extract", p, &answer); err != nil {
		return err
	}
	var found struct{ Faces []judgedFace }
	if err := json.Unmarshal(answer, &found); err != nil {
		return err
	}
	text := []string{fmt.Sprintf("%d faces", len(found.Faces))}
	passed := false
	for i, f := range found.Faces {
		text = append(text, fmt.Sprintf("face %d\t%s", i+1, f.text(c.Gate != nil)))
		passed = passed || len(f.Reasons) == 0
	}
	return out.answer(passed, answer, strings.Join(text, "\n"))
}

// text is the face in one line, its measures in a table below, and why it does not pass the gate.
func (f judgedFace) text(gated bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%.0f×%.0f pixels at %.0f,%.0f\tdetected %.2f", f.Box.X2-f.Box.X1, f.Box.Y2-f.Box.Y1, f.Box.X1, f.Box.Y1, f.Score)
	if f.Pose != nil {
		fmt.Fprintf(&b, "\tyaw %.0f° pitch %.0f° roll %.0f°", f.Pose.Yaw, f.Pose.Pitch, f.Pose.Roll)
	}
	if f.Liveness != nil {
		fmt.Fprintf(&b, "\tliveness %.3f %s", f.Liveness.Score, f.Liveness.Verdict)
	}
	for _, name := range inOrder(f.Quality) {
		fmt.Fprintf(&b, "\n  %-26s %5.1f", name, f.Quality[name])
	}
	for _, r := range f.Reasons {
		fmt.Fprintf(&b, "\n  %s: %v", r.Code, r)
	}
	if gated && len(f.Reasons) == 0 {
		b.WriteString("\n  passes the gate")
	}
	return b.String()
}

// inOrder lists measures in the order of the documents.
func inOrder(quality map[string]float64) []string {
	names := make([]string, 0, len(quality))
	for name := range quality {
		names = append(names, name)
	}
	all := engine.Measures()
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(slices.Index(all, a), slices.Index(all, b)), cmp.Compare(a, b))
	})
	return names
}
