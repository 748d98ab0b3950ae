package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"mien/engine"
)

type keysCmd struct {
	Create keyCreateCmd `cmd:"" help:"Create a key and print it, once."`
	List   keyListCmd   `cmd:"" help:"List the keys of a tenant, without their secrets."`
	Revoke keyRevokeCmd `cmd:"" help:"Revoke a key for good."`
}

// keyStore is where keys are kept: a stopped data folder, or a server.
type keyStore struct {
	remote
	masterKeyFlags
	Data   string `help:"Work on this stopped data folder instead of a server." type:"path" placeholder:"DIR"`
	Tenant string `help:"Tenant of the key (default: the tenant of the key in use; \"default\" with --data)."`
}

// tenant is the tenant on a data folder.
func (k *keyStore) tenant() string {
	if k.Tenant == "" {
		return "default"
	}
	return k.Tenant
}

// onData runs f on the stopped data folder.
func (k *keyStore) onData(f func(*engine.Engine) error) (err error) {
	if _, err := os.Stat(k.Data); err != nil {
		return fmt.Errorf("data folder %s: %w", k.Data, reason(err))
	}
	data := dataDir{k.Data, k.masterKeyFlags}
	if err := data.create(); err != nil {
		return err
	}
	e, err := data.open(engine.Config{})
	if err != nil {
		return err
	}
	defer func() {
		if closed := e.Close(); err == nil {
			err = closed
		}
	}()
	return f(e)
}

// query names the tenant to a server.
func (k *keyStore) query() string {
	if k.Tenant == "" {
		return ""
	}
	return "?" + url.Values{"tenant": {k.Tenant}}.Encode()
}

type keyCreateCmd struct {
	keyStore
	Role     string `help:"What the key may do: admin, enroller, matcher or auditor; must be given, or --operator." enum:"admin,enroller,matcher,auditor," default:""`
	Label    string `help:"A note for people."`
	Operator bool   `help:"The key may make keys for every tenant (role admin only)."`
}

// Run prints the new key alone on stdout.
func (c *keyCreateCmd) Run(ctx context.Context, out *output) error {
	if c.Role == "" && !c.Operator {
		return errors.New("say what the key may do: --role admin, enroller, matcher or auditor")
	}
	c.Role = cmp.Or(c.Role, string(engine.RoleAdmin))
	var made struct {
		engine.Key
		Token string `json:"token"`
	}
	create := func(e *engine.Engine) (err error) {
		made.Key, made.Token, err = e.CreateKey(ctx, c.tenant(), engine.KeySpec{Role: engine.Role(c.Role), Label: c.Label, Operator: c.Operator})
		return err
	}
	if err := c.run(create, func() error {
		body := map[string]any{"role": c.Role, "operator": c.Operator}
		for name, value := range map[string]string{"tenant": c.Tenant, "label": c.Label} {
			if value != "" {
				body[name] = value
			}
		}
		return c.call(ctx, "POST", "/v1/keys", body, &made)
	}); err != nil {
		return err
	}
	return out.print(made, made.Token)
}

// run does one or the other.
func (k *keyStore) run(onData func(*engine.Engine) error, onServer func() error) error {
	if k.Data != "" {
		return k.onData(onData)
	}
	return onServer()
}

type keyListCmd struct{ keyStore }

// Run lists the keys, oldest first.
func (c *keyListCmd) Run(ctx context.Context, out *output) error {
	var all struct {
		Keys []engine.Key `json:"keys"`
	}
	list := func(e *engine.Engine) (err error) {
		all.Keys, err = e.Keys(ctx, c.tenant())
		return err
	}
	if err := c.run(list, func() error {
		return c.call(ctx, "GET", "/v1/keys"+c.query(), nil, &all)
	}); err != nil {
		return err
	}
	lines := make([]string, len(all.Keys))
	for i, k := range all.Keys {
		lines[i] = keyLine(k)
	}
	return out.print(all, strings.Join(lines, "\n"))
}

func keyLine(k engine.Key) string {
	state := "active"
	if !k.Revoked.IsZero() {
		state = "revoked " + k.Revoked.Format("2006-01-02")
	}
	role := string(k.Role)
	if k.Operator {
		role += " (operator)"
	}
	return strings.Join([]string{k.ID, k.Tenant, role, state, k.Label}, "\t")
}

type keyRevokeCmd struct {
	keyStore
	ID string `arg:"" help:"Id of the key: the first 16 digits after mien_."`
}

// Run revokes the key.
func (c *keyRevokeCmd) Run(ctx context.Context, out *output) error {
	revoke := func(e *engine.Engine) error { return e.RevokeKey(ctx, c.tenant(), c.ID) }
	if err := c.run(revoke, func() error {
		return c.call(ctx, "DELETE", "/v1/keys/"+url.PathEscape(c.ID)+c.query(), nil, nil)
	}); err != nil {
		return err
	}
	return out.print(map[string]string{"revoked": c.ID}, "revoked "+c.ID)
}
