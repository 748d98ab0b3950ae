package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mien/engine"
)

type encryptionCmd struct {
	Rotate encryptionRotateCmd `cmd:"" help:"Rotate the key that seals a tenant's people: old backups of the store open no more. With --root: the master key."`
}

type encryptionRotateCmd struct {
	keyStore
	Status bool `help:"Only say how far a rotation is." xor:"what"`
	Cancel bool `help:"Interrupt the rotation; it is taken up again by the next call, or the next start." xor:"what"`
	Wait   bool `help:"Wait until it is done; always so with --data." xor:"what"`
	Root   bool `help:"Rotate the master key of a stopped data folder (--data) instead: wrap the keys of all tenants by a new one, and no more by the old." xor:"what"`
	rootFlags
}

// rotationPoll is how often a rotation that is waited for is asked after.
const rotationPoll = 200 * time.Millisecond

// Run rotates the tenant's key.
func (c *encryptionRotateCmd) Run(ctx context.Context, out *output) error {
	if c.Root {
		return c.rotateRoot(ctx, out)
	}
	if c.NewMasterKey != "" {
		return errors.New("--new-master-key goes with --root")
	}
	const path = "/v1/encryption"
	var s engine.KeyStatus
	err := c.run(func(e *engine.Engine) (err error) {
		if c.Cancel {
			return errors.New("on a stopped data folder no rotation runs")
		}
		if s, err = e.KeyStatus(ctx, c.tenant()); err != nil || c.Status {
			return err
		}
		if s, err = e.RotateTenantKey(ctx, c.tenant()); err != nil {
			return err
		}
		return wait(ctx, &s, func() error { s, err = e.KeyStatus(ctx, c.tenant()); return err })
	}, func() error {
		switch {
		case c.Status:
			return c.call(ctx, "GET", path+c.query(), nil, &s)
		case c.Cancel:
			if err := c.call(ctx, "DELETE", path+"/rotate"+c.query(), nil, nil); err != nil {
				return err
			}
			return c.call(ctx, "GET", path+c.query(), nil, &s)
		}
		if err := c.call(ctx, "POST", path+"/rotate", c.body(), &s); err != nil || !c.Wait {
			return err
		}
		return wait(ctx, &s, func() error { s = engine.KeyStatus{}; return c.call(ctx, "GET", path+c.query(), nil, &s) })
	})
	if err != nil {
		return err
	}
	return out.print(s, keyStatusLine(s))
}

// wait asks again until a rotation is done.
func wait(ctx context.Context, s *engine.KeyStatus, again func() error) error {
	for s.Running {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rotationPoll):
		}
		if err := again(); err != nil {
			return err
		}
	}
	if len(s.Versions) > 1 {
		return errors.New("the rotation is not finished: old versions of the key stay; the server's log says why, and another call takes it up again")
	}
	return nil
}

func keyStatusLine(s engine.KeyStatus) string {
	line := fmt.Sprintf("version %d of %s", s.Version, s.Created.Format(time.RFC3339))
	switch {
	case s.Running:
		line += fmt.Sprintf("\trotating: %d of %d people done", s.Done, s.People)
	case len(s.Versions) > 1:
		line += fmt.Sprintf("\tnot finished: versions %v", s.Versions)
	default:
		line += "\told versions are destroyed"
	}
	if !s.Next.IsZero() {
		line += "\tnext " + s.Next.Format(time.RFC3339)
	}
	return line
}

// body names the tenant to a server.
func (c *encryptionRotateCmd) body() map[string]string {
	if c.Tenant == "" {
		return map[string]string{}
	}
	return map[string]string{"tenant": c.Tenant}
}
