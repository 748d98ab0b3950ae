package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"mien/engine"
)

type galleriesCmd struct {
	Create galleryCreateCmd `cmd:"" help:"Create a gallery."`
	List   galleryListCmd   `cmd:"" help:"List the galleries."`
	Show   galleryShowCmd   `cmd:"" help:"Show one gallery."`
	Update galleryUpdateCmd `cmd:"" help:"Change a gallery's policies, gates, duplicate check or retention."`
	Move   galleryMoveCmd   `cmd:"" help:"Move a gallery to another embedding space, while it goes on being searched in the one it has."`
	Delete galleryDeleteCmd `cmd:"" help:"Delete a gallery with everyone in it."`
}

type galleryCreateCmd struct {
	remote
	policyFlags
	galleryGateFlags
	duplicateFlags
	Space      string   `help:"Embedding space (default: the server's)."`
	History    int      `help:"Keep so many replaced templates of each person, 0 to 8."`
	Filterable []string `help:"Top-level fields of metadata that searches can be filtered by, fixed from then on." placeholder:"FIELD"`
	KeepPhotos bool     `help:"Store the photos that people are enrolled with, sealed: the gallery can then be moved to another space without them; fixed from then on."`
	Days       int      `name:"retention-days" help:"Erase people so many days after they were enrolled, unless they say otherwise; 0: never."`
	Index      string   `help:"How searches are made: scan compares every template, hnsw follows a graph, auto takes the one or the other; fixed from then on." enum:"auto,scan,hnsw" default:"auto"`
	Name       string   `arg:""`
}

// Run creates the gallery; one that is there with the same settings is no error.
func (c *galleryCreateCmd) Run(ctx context.Context, out *output) error {
	spec := gallerySpec{Index: c.Index, Space: c.Space, Policy: c.policy(), Gate: c.gates(), KeepPhotos: c.KeepPhotos, RetentionDays: c.Days,
		History: c.History, Filterable: c.Filterable}
	if c.Duplicates != nil {
		spec.Duplicates = *c.Duplicates
	}
	if c.DuplicateFPIR != nil {
		spec.DuplicatePolicy = &engine.Policy{FPIR: c.DuplicateFPIR}
	}
	var g engine.Gallery
	if err := c.call(ctx, "PUT", galleryPath(c.Name), spec, &g); err != nil {
		return err
	}
	return out.print(g, galleryLine(g)+rulesLines(g))
}

// gallerySpec is the body of a gallery's PUT.
type gallerySpec struct {
	Index      string         `json:"index,omitempty"`
	Space      string         `json:"space,omitempty"`
	Policy     *engine.Policy `json:"policy,omitempty"`
	Gate       engine.Gates   `json:"gate,omitzero"`
	KeepPhotos bool           `json:"keep_photos,omitempty"`

	Duplicates      engine.DuplicateCheck `json:"duplicates,omitempty"`
	DuplicatePolicy *engine.Policy        `json:"duplicate_policy,omitempty"`
	RetentionDays   int                   `json:"retention_days,omitempty"`
	History         int                   `json:"history,omitempty"`
	Filterable      []string              `json:"filterable,omitempty"`
}

type galleryUpdateCmd struct {
	remote
	policyFlags
	galleryGateFlags
	duplicateFlags
	History  *int   `help:"Keep so many replaced templates of each person, 0 to 8."`
	NoPolicy bool   `name:"no-policy" help:"Remove the policy: each operation has its own default." xor:"policy"`
	NoGates  bool   `name:"no-gates" help:"Remove the gates that are not given."`
	Days     *int   `name:"retention-days" help:"Erase people who are enrolled from now on so many days after that; 0: never."`
	Name     string `arg:""`
}

// Run changes what was given, and nothing else of the gallery.
func (c *galleryUpdateCmd) Run(ctx context.Context, out *output) error {
	body := map[string]any{}
	if p := c.policy(); p != nil || c.NoPolicy {
		body["policy"] = p
	}
	if c.EnrolGate != nil || c.ProbeGate != nil || c.NoGates {
		gates, err := c.changedGates(ctx)
		if err != nil {
			return err
		}
		body["gate"] = gates
	}
	if c.Duplicates != nil {
		body["duplicates"] = *c.Duplicates
	}
	if c.DuplicateFPIR != nil {
		body["duplicate_policy"] = engine.Policy{FPIR: c.DuplicateFPIR}
	}
	if c.History != nil {
		body["history"] = *c.History
	}
	if c.Days != nil {
		body["retention_days"] = *c.Days
	}
	if len(body) == 0 {
		return errors.New("nothing to change: give a policy, --retention-days, --history, --enrol-gate, --probe-gate, --no-policy, --no-gates, --duplicates or --duplicate-fpir")
	}
	var g engine.Gallery
	if err := c.call(ctx, "PATCH", galleryPath(c.Name), body, &g); err != nil {
		return err
	}
	return out.print(g, galleryLine(g)+rulesLines(g))
}

// changedGates are the gates given, and of the other the gallery's, for the server replaces both.
func (c *galleryUpdateCmd) changedGates(ctx context.Context) (engine.Gates, error) {
	var old engine.Gallery
	if !c.NoGates {
		if err := c.call(ctx, "GET", galleryPath(c.Name), nil, &old); err != nil {
			return engine.Gates{}, err
		}
	}
	gates := old.Gate
	if c.EnrolGate != nil {
		gates.Enrol = c.EnrolGate
	}
	if c.ProbeGate != nil {
		gates.Probe = c.ProbeGate
	}
	return gates, nil
}

func galleryLine(g engine.Gallery) string {
	line := fmt.Sprintf("%s\t%d people\t%d templates\t%s", g.Name, g.People, g.Templates, g.Space)
	if g.KeepPhotos {
		line += "\tkeeps photos"
	}
	if m := g.Move; m != nil {
		line += fmt.Sprintf("\tmoving to %s: %d of %d people done", m.Space, m.Done, m.People)
		if m.Waiting > 0 {
			line += fmt.Sprintf(", %d whose stored photos are still to be read", m.Waiting)
		}
		if m.Failed > 0 {
			line += fmt.Sprintf(", %d whose stored photos can't be used", m.Failed)
		}
	}
	return line
}

// failureLines name people whose stored photos can't be used.
func failureLines(m *engine.Move) string {
	var b strings.Builder
	if m == nil {
		return ""
	}
	for _, f := range m.Failures {
		fmt.Fprintf(&b, "\nto be enrolled again: %s (%s)", f.Person, f.Reason)
	}
	return b.String()
}

type galleryListCmd struct{ remote }

// Run lists the galleries by name.
func (c *galleryListCmd) Run(ctx context.Context, out *output) error {
	var all struct {
		Galleries []engine.Gallery `json:"galleries"`
	}
	if err := c.call(ctx, "GET", "/v1/galleries", nil, &all); err != nil {
		return err
	}
	lines := make([]string, len(all.Galleries))
	for i, g := range all.Galleries {
		lines[i] = galleryLine(g)
	}
	if len(lines) == 0 {
		lines = []string{"no galleries"}
	}
	return out.print(all, strings.Join(lines, "\n"))
}

type galleryShowCmd struct {
	remote
	Name string `arg:""`
}

// Run shows one gallery, and how its index does.
func (c *galleryShowCmd) Run(ctx context.Context, out *output) error {
	var g engine.Gallery
	if err := c.call(ctx, "GET", galleryPath(c.Name), nil, &g); err != nil {
		return err
	}
	return out.print(g, galleryLine(g)+failureLines(g.Move)+rulesLines(g)+indexLines(g.IndexStatus))
}

// indexLines says how searches are answered, and what they were seen to miss.
func indexLines(s *engine.IndexStatus) string {
	if s == nil {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\nindex %s: %s", s.Serving, s.Why)
	if g := s.Graph; g != nil {
		fmt.Fprintf(&b, "\ngraph: %d templates linked, %d waiting, %d rescued", g.Linked, g.Waiting, g.Rescued)
	}
	for _, kind := range slices.Sorted(maps.Keys(s.Recall)) {
		r := s.Recall[kind]
		fmt.Fprintf(&b, "\nsearches by %s answered again exactly: %d, %d hits due, %d missed (95 %%: at most %.2g of all), the best %d times",
			kind, r.Checked, r.Due, r.Missed, r.MissRateUpper95, r.BestMissed)
	}
	return b.String()
}

type galleryMoveCmd struct {
	remote
	policyFlags
	Space  string `help:"Embedding space to move to; the server needs its model pack beside the present one." xor:"how" required:""`
	Finish bool   `help:"Switch to it: everybody must have been enrolled again, or have got a template of it, be it of a stored photo."`
	Drop   bool   `help:"With --finish, delete who has no template of the new space."`
	Cancel bool   `help:"Stay in the present space, and delete the templates of the other." xor:"how" required:""`
	Name   string `arg:""`
}

// Run begins, finishes or cancels the move; in between, the server reads the photos that the gallery keeps, and enrolling
// everybody else again is the client's part (mien enroll).
func (c *galleryMoveCmd) Run(ctx context.Context, out *output) error {
	path := galleryPath(c.Name) + "/move"
	if c.Cancel {
		if err := c.call(ctx, "DELETE", path, nil, nil); err != nil {
			return err
		}
		return out.print(map[string]string{"cancelled": c.Name}, c.Name+" stays in its space")
	}
	body := map[string]any{"space": c.Space, "finish": c.Finish, "drop": c.Drop}
	if p := c.policy(); p != nil {
		body["policy"] = p
	}
	var g engine.Gallery
	if err := c.call(ctx, "POST", path, body, &g); err != nil {
		return err
	}
	return out.print(g, galleryLine(g))
}

type galleryDeleteCmd struct {
	remote
	Name string `arg:""`
}

// Run deletes one gallery.
func (c *galleryDeleteCmd) Run(ctx context.Context, out *output) error {
	if err := c.call(ctx, "DELETE", galleryPath(c.Name), nil, nil); err != nil {
		return err
	}
	return out.print(map[string]string{"deleted": c.Name}, "deleted "+c.Name)
}
