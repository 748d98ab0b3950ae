package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"mien/engine"
)

type peopleCmd struct {
	Show   personShowCmd   `cmd:"" help:"Show a person: status, metadata and what is known of the templates."`
	Update personUpdateCmd `cmd:"" help:"Suspend a person, make them active again, or replace their metadata."`
}

type personShowCmd struct {
	remote
	Gallery string `help:"Gallery of the person." required:"" short:"g"`
	Person  string `arg:""`
}

// Run shows one person.
func (c *personShowCmd) Run(ctx context.Context, out *output) error {
	var p engine.Person
	if err := c.call(ctx, "GET", personPath(c.Gallery, c.Person), nil, &p); err != nil {
		return err
	}
	return out.print(p, personText(p))
}

type personUpdateCmd struct {
	remote
	Gallery  string  `help:"Gallery of the person." required:"" short:"g"`
	Status   string  `help:"Who is suspended keeps all templates and is not matched." enum:",active,suspended" default:"" placeholder:"active|suspended"`
	Metadata *string `help:"A JSON object that replaces the metadata; null removes it." placeholder:"JSON"`
	Person   string  `arg:""`
}

// Run changes what was given.
func (c *personUpdateCmd) Run(ctx context.Context, out *output) error {
	body := map[string]any{}
	if c.Status != "" {
		body["status"] = c.Status
	}
	if c.Metadata != nil {
		if !json.Valid([]byte(*c.Metadata)) {
			return errors.New("--metadata is not JSON")
		}
		body["metadata"] = json.RawMessage(*c.Metadata)
	}
	if len(body) == 0 {
		return errors.New("nothing to change: give --status or --metadata")
	}
	var p engine.Person
	if err := c.call(ctx, "PATCH", personPath(c.Gallery, c.Person), body, &p); err != nil {
		return err
	}
	return out.print(p, personText(p))
}

func personText(p engine.Person) string {
	status := engine.StatusActive
	if p.Status != "" {
		status = p.Status
	}
	lines := []string{fmt.Sprintf("%s\t%s\tversion %d\t%d templates", p.ID, status, p.Version, len(p.Templates))}
	if p.Metadata != nil {
		lines = append(lines, "metadata: "+string(p.Metadata))
	}
	for _, t := range p.Templates {
		lines = append(lines, templateText(t))
	}
	for _, t := range p.History {
		lines = append(lines, templateText(t)+"\treplaced "+t.Replaced.Format("2006-01-02 15:04:05"))
	}
	return strings.Join(lines, "\n")
}

func templateText(t engine.TemplateInfo) string {
	text := fmt.Sprintf("template %s\t%s\t%s", t.ID, t.Source, t.Created.Format("2006-01-02 15:04:05"))
	if t.Quality != nil {
		text += fmt.Sprintf("\tquality %.1f", *t.Quality)
	}
	if t.By != "" {
		text += "\tby key " + t.By
	}
	return text
}

// filterFlags say who a search may list.
type filterFlags struct {
	Where  map[string]string `help:"List only people with this value in a field of their metadata that the gallery can be filtered by; true, false and numbers are taken as such." mapsep:"," placeholder:"FIELD=VALUE"`
	Status string            `help:"List people of this status." enum:",active,suspended,any" default:"" placeholder:"active|suspended|any"`
}

// filter is nil where nothing was given.
func (f filterFlags) filter() map[string]any {
	if f.Where == nil && f.Status == "" {
		return nil
	}
	filter := map[string]any{}
	if f.Status != "" {
		filter["status"] = f.Status
	}
	if f.Where != nil {
		metadata := map[string]any{}
		for name, text := range f.Where {
			metadata[name] = fieldValue(text)
		}
		filter["metadata"] = metadata
	}
	return filter
}

// fieldValue is a number or a boolean where the text is one, else the text.
func fieldValue(text string) any {
	var v any
	if json.Unmarshal([]byte(text), &v) == nil {
		switch v.(type) {
		case float64, bool, string:
			return v
		}
	}
	return text
}
