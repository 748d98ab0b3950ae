package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"mien/engine"
)

type eraseCmd struct {
	remote
	masterKeyFlags
	Data    string `help:"Work on this stopped data folder instead of a server." type:"path" placeholder:"DIR"`
	Gallery string `short:"g" help:"Gallery of the person."`
	Tenant  string `help:"With a person and --data: the person's tenant (\"default\"). Without a person: erase this whole tenant; needs an operator's key."`
	Check   string `help:"Say what a receipt in this file says (- for stdin), if it is one of this store." placeholder:"FILE"`
	Person  string `arg:"" optional:"" help:"Id of the person."`
}

// Run erases, and prints the receipt.
func (c *eraseCmd) Run(ctx context.Context, out *output) error {
	var r engine.Receipt
	var err error
	switch {
	case c.Check != "" && c.Person == "" && c.Gallery == "":
		err = c.check(ctx, &r)
	case c.Check == "" && c.Person != "" && c.Gallery != "":
		err = c.person(ctx, &r)
	case c.Check == "" && c.Person == "" && c.Gallery == "" && c.Tenant != "":
		err = c.wholeTenant(ctx, &r)
	default:
		err = errors.New("say what to erase: -g GALLERY PERSON, or --tenant TENANT; or --check FILE")
	}
	if err != nil {
		return err
	}
	return out.print(r, receiptLines(r))
}

func (c *eraseCmd) store() *keyStore {
	return &keyStore{remote: c.remote, masterKeyFlags: c.masterKeyFlags, Data: c.Data, Tenant: c.Tenant}
}

func (c *eraseCmd) person(ctx context.Context, r *engine.Receipt) error {
	k := c.store()
	if c.Data == "" && c.Tenant != "" {
		return errors.New("a server erases people of the key's own tenant: leave --tenant out, or use a key of that tenant")
	}
	return k.run(func(e *engine.Engine) (err error) {
		*r, err = e.ErasePerson(ctx, k.tenant(), c.Gallery, c.Person, engine.WriteOptions{})
		return err
	}, func() error { return c.call(ctx, "POST", personPath(c.Gallery, c.Person)+"/erase", nil, r) })
}

func (c *eraseCmd) wholeTenant(ctx context.Context, r *engine.Receipt) error {
	return c.store().run(func(e *engine.Engine) (err error) {
		*r, err = e.EraseTenant(ctx, c.Tenant)
		return err
	}, func() error { return c.call(ctx, "POST", "/v1/tenants/"+url.PathEscape(c.Tenant)+"/erase", nil, r) })
}

// check takes a receipt as it was printed with --json, or its JWS alone.
func (c *eraseCmd) check(ctx context.Context, r *engine.Receipt) error {
	jws, err := readReceipt(c.Check)
	if err != nil {
		return err
	}
	return c.store().run(func(e *engine.Engine) (err error) {
		*r, err = e.VerifyReceipt(jws)
		return err
	}, func() error { return c.call(ctx, "POST", "/v1/erasure/verify", map[string]string{"jws": jws}, r) })
}

// maxReceiptFile bounds what is read for a receipt.
const maxReceiptFile = 1 << 20

func readReceipt(name string) (jws string, err error) {
	f := os.Stdin
	if name != "-" {
		if f, err = os.Open(name); err != nil {
			return "", fmt.Errorf("receipt %s: %w", name, reason(err))
		}
		defer f.Close()
	}
	b, err := io.ReadAll(io.LimitReader(f, maxReceiptFile))
	if err != nil {
		return "", fmt.Errorf("receipt %s: %w", name, reason(err))
	}
	var r engine.Receipt
	if json.Unmarshal(b, &r) == nil && r.JWS != "" {
		return r.JWS, nil
	}
	return strings.TrimSpace(string(b)), nil
}

func receiptLines(r engine.Receipt) string {
	var b strings.Builder
	what := fmt.Sprintf("person %s of gallery %s, tenant %s", r.Person, r.Gallery, r.Tenant)
	if r.Kind == engine.ReceiptTenant {
		what = fmt.Sprintf("tenant %s with %d people", r.Tenant, r.People)
	}
	fmt.Fprintf(&b, "erased %s: %d templates, %d photos, at %s, write %d\n", what, r.Templates, r.Photos, r.Time.Format(time.RFC3339), r.Sequence)
	for _, k := range r.Keys {
		id := k.ID
		if id == "" {
			id = "the tenant's"
		}
		fmt.Fprintf(&b, "key destroyed: %s (version %d of the tenant's key)\n", id, k.SealedWith)
	}
	for _, m := range r.Remains {
		until := m.Until
		if !m.Time.IsZero() {
			until = m.Time.Format("2006-01-02") + ": " + until
		}
		fmt.Fprintf(&b, "remains in %s: %s; until %s\n", m.Where, m.What, until)
	}
	return b.String() + r.JWS
}
