package main

import (
	"context"
	"fmt"
	"strings"

	"mien/engine"
)

type galleriesCmd struct {
	Create galleryCreateCmd `cmd:"" help:"Create a gallery."`
	List   galleryListCmd   `cmd:"" help:"List the galleries."`
	Show   galleryShowCmd   `cmd:"" help:"Show one gallery."`
	Delete galleryDeleteCmd `cmd:"" help:"Delete a gallery with everyone in it."`
}

type galleryCreateCmd struct {
	remote
	policyFlags
	Space string `help:"Embedding space (default: the server's)."`
	Name  string `arg:""`
}

// Run creates the gallery; one that is there with the same settings is no error.
func (c *galleryCreateCmd) Run(ctx context.Context, out *output) error {
	body := map[string]any{}
	if c.Space != "" {
		body["space"] = c.Space
	}
	if p := c.policy(); p != nil {
		body["policy"] = p
	}
	var g engine.Gallery
	if err := c.call(ctx, "PUT", galleryPath(c.Name), body, &g); err != nil {
		return err
	}
	return out.print(g, galleryLine(g))
}

func galleryLine(g engine.Gallery) string {
	return fmt.Sprintf("%s\t%d people\t%d templates\t%s", g.Name, g.People, g.Templates, g.Space)
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

// Run shows one gallery.
func (c *galleryShowCmd) Run(ctx context.Context, out *output) error {
	var g engine.Gallery
	if err := c.call(ctx, "GET", galleryPath(c.Name), nil, &g); err != nil {
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
