package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mien/engine"
	"mien/engine/transfer"
)

type exportCmd struct {
	keyStore
	Gallery string `help:"Gallery to export." required:"" short:"g"`
	Format  string `help:"ndjson or binary (default: ndjson for a file of that suffix, .jsonl or .json, else binary)." enum:"ndjson,binary," default:""`
	Seal    string `help:"File with a key, 64 hex digits, that the file is sealed with; import --seal opens it." type:"path" placeholder:"KEY"`
	File    string `arg:"" type:"path" help:"File to write; it must not be there. It holds biometric templates, in the clear without --seal."`
}

// exported is what a command says of a file that it wrote.
type exported struct {
	File      string `json:"file"`
	Gallery   string `json:"gallery"`
	Space     string `json:"space"`
	People    int    `json:"people"`
	Templates int    `json:"templates"`
}

func (c *exportCmd) format() transfer.Format {
	if c.Format != "" {
		return transfer.Format(c.Format)
	}
	if slices.Contains([]string{".ndjson", ".jsonl", ".json"}, strings.ToLower(filepath.Ext(c.File))) {
		return transfer.NDJSON
	}
	return transfer.Binary
}

// Run writes the file, whole or not at all.
func (c *exportCmd) Run(ctx context.Context, out *output) error {
	if _, err := os.Lstat(c.File); err == nil {
		return fmt.Errorf("%s is there already: remove it or name another", c.File)
	}
	f, err := os.CreateTemp(filepath.Dir(c.File), ".export-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	p := newProgress(out, "exporting", "people", -1)
	done, err := c.writeSealed(ctx, f, p)
	p.end()
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), c.File); err != nil { // never over another
		return err
	}
	done.File = c.File
	return errors.Join(syncDir(filepath.Dir(c.File)), out.print(done, fmt.Sprintf("%d people with %d templates exported to %s", done.People, done.Templates, c.File)))
}

// writeSealed is write, sealed if there is a key.
func (c *exportCmd) writeSealed(ctx context.Context, f io.Writer, p *progress) (done exported, err error) {
	key, err := keyFile(c.Seal, "key for the file")
	if err != nil {
		return done, err
	}
	if key == nil {
		return c.write(ctx, f, p)
	}
	w, err := transfer.Seal(f, key)
	if err != nil {
		return done, err
	}
	if done, err = c.write(ctx, w, p); err != nil {
		return done, err
	}
	return done, w.Close()
}

func (c *exportCmd) write(ctx context.Context, f io.Writer, p *progress) (done exported, err error) {
	err = c.run(func(e *engine.Engine) error {
		done, err = c.fromData(engine.WithActor(ctx, engine.Actor{Program: "mien export"}), e, f, p)
		return err
	}, func() error {
		done, err = c.fromServer(ctx, f, p)
		return err
	})
	return done, err
}

func (c *exportCmd) fromData(ctx context.Context, e *engine.Engine, f io.Writer, p *progress) (done exported, err error) {
	x, err := e.Export(ctx, c.tenant(), c.Gallery)
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	done = exported{Gallery: x.Gallery.Name, Space: x.Gallery.Space}
	w, err := transfer.NewWriter(f, c.format(), transfer.Header{Space: x.Gallery.Space, Dim: x.Gallery.Dim, Gallery: x.Gallery.Name,
		Created: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return done, err
	}
	p.total(int64(x.Gallery.People))
	for person, err := range x.People(ctx) {
		if err != nil {
			return done, err
		}
		if err := w.Write(&person); err != nil {
			return done, err
		}
		done.count(person, p)
	}
	return done, w.Close()
}

func (d *exported) count(person engine.PortablePerson, p *progress) {
	d.People++
	d.Templates += len(person.Templates)
	p.at(int64(d.People))
}

// fromServer copies the file as it comes and reads it meanwhile, so that one that is cut short is told.
func (c *exportCmd) fromServer(ctx context.Context, f io.Writer, p *progress) (done exported, err error) {
	client, err := c.client()
	if err != nil {
		return done, err
	}
	if c.Tenant != "" {
		return done, errors.New("--tenant goes with --data: a server exports its key's tenant")
	}
	var info engine.Gallery
	if err := client.do(ctx, "GET", galleryPath(c.Gallery), nil, &info); err != nil {
		return done, err
	}
	p.total(int64(info.People))
	err = c.stream(ctx, galleryPath(c.Gallery)+"/export?format="+string(c.format()), func(body io.Reader) error {
		done = exported{Gallery: info.Name, Space: info.Space}
		return done.copy(body, f, p)
	})
	return done, err
}

// copy copies a file as it comes and reads it meanwhile.
func (d *exported) copy(from io.Reader, to io.Writer, p *progress) error {
	r, err := transfer.NewReader(io.TeeReader(from, to), transfer.Config{})
	if err != nil {
		return err
	}
	for person, err := range r.People() {
		if err != nil {
			return fmt.Errorf("the server's file: %w", err)
		}
		d.count(person, p)
	}
	return nil
}
