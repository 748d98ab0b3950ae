package main

import (
	"cmp"
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
	Prove   bool   `help:"Then show that no file, index or answer is the person's still; reads all of the store's files. With --check: of the person whom the receipt is of. Exit code 2 if something is left."`
	Person  string `arg:"" optional:"" help:"Id of the person."`
}

// erased is a receipt with the proof, as printed.
type erased struct {
	engine.Receipt
	Proof    *engine.Proof `json:"proof,omitempty"`
	unproved error         // why there is none, if that is known here
}

// Run erases, and prints the receipt.
func (c *eraseCmd) Run(ctx context.Context, out *output) error {
	var r erased
	var err error
	switch {
	case c.Check != "" && c.Person == "" && c.Gallery == "":
		err = c.check(ctx, &r)
	case c.Check == "" && c.Person != "" && c.Gallery != "":
		err = c.person(ctx, &r)
	case c.Check == "" && c.Person == "" && c.Gallery == "" && c.Tenant != "" && !c.Prove:
		err = c.wholeTenant(ctx, &r.Receipt)
	default:
		err = errors.New("say what to erase: -g GALLERY PERSON, or --tenant TENANT; or --check FILE; --prove goes with a person or a receipt of one")
	}
	if err != nil {
		return err
	}
	if !c.Prove {
		return out.print(r.Receipt, receiptLines(r.Receipt))
	}
	return c.printProof(out, r)
}

// printProof prints a receipt and its proof, or the proof alone where the receipt was there before.
func (c *eraseCmd) printProof(out *output, r erased) error {
	if r.Proof == nil {
		if err := out.print(r.Receipt, receiptLines(r.Receipt)); err != nil {
			return err
		}
		cause := cmp.Or(r.unproved, errors.New("the server's log says why"))
		return fmt.Errorf("the person is erased, and that could not be proved: %w; prove it with --prove --check and the receipt", cause)
	}
	var v any = r
	lines := receiptLines(r.Receipt) + "\n" + proofLines(*r.Proof)
	if c.Check != "" {
		v, lines = r.Proof, proofLines(*r.Proof)
	}
	if err := out.print(v, lines); err != nil {
		return err
	}
	if !r.Proof.Passed {
		return errNegative
	}
	return nil
}

func (c *eraseCmd) store() *keyStore {
	return &keyStore{remote: c.remote, masterKeyFlags: c.masterKeyFlags, Data: c.Data, Tenant: c.Tenant}
}

func (c *eraseCmd) person(ctx context.Context, r *erased) error {
	k := c.store()
	if c.Data == "" && c.Tenant != "" {
		return errors.New("a server erases people of the key's own tenant: leave --tenant out, or use a key of that tenant")
	}
	return k.run(func(e *engine.Engine) (err error) {
		if !c.Prove {
			r.Receipt, err = e.ErasePerson(ctx, k.tenant(), c.Gallery, c.Person, engine.WriteOptions{})
			return err
		}
		var proof engine.Proof
		r.Receipt, proof, err = e.ErasePersonProved(ctx, k.tenant(), c.Gallery, c.Person, engine.WriteOptions{})
		if err == nil {
			r.Proof = &proof
		} else if r.JWS != "" { // the person is gone, and the receipt is all there is to show for it
			r.unproved, err = err, nil
		}
		return err
	}, func() error {
		var body any
		if c.Prove {
			body = map[string]bool{"prove": true}
		}
		return c.patiently(ctx, "POST", personPath(c.Gallery, c.Person)+"/erase", body, r)
	})
}

// proofPatience is how long a server may take for a proof.
const proofPatience = 11 * time.Minute

// patiently is call for what takes long.
func (c *eraseCmd) patiently(ctx context.Context, method, path string, body, out any) error {
	s, err := c.client()
	if err != nil {
		return err
	}
	s.http.Timeout = proofPatience
	return s.do(ctx, method, path, body, out)
}

func (c *eraseCmd) wholeTenant(ctx context.Context, r *engine.Receipt) error {
	return c.store().run(func(e *engine.Engine) (err error) {
		*r, err = e.EraseTenant(ctx, c.Tenant)
		return err
	}, func() error { return c.call(ctx, "POST", "/v1/tenants/"+url.PathEscape(c.Tenant)+"/erase", nil, r) })
}

// check takes a receipt as it was printed with --json, or its JWS alone.
func (c *eraseCmd) check(ctx context.Context, r *erased) error {
	jws, err := readReceipt(c.Check)
	if err != nil {
		return err
	}
	if c.Prove {
		r.Proof = new(engine.Proof)
		return c.store().run(func(e *engine.Engine) (err error) {
			*r.Proof, err = e.ProveErasure(ctx, jws)
			return err
		}, func() error {
			return c.patiently(ctx, "POST", "/v1/erasure/prove", map[string]string{"jws": jws}, r.Proof)
		})
	}
	return c.store().run(func(e *engine.Engine) (err error) {
		r.Receipt, err = e.VerifyReceipt(jws)
		return err
	}, func() error {
		return c.call(ctx, "POST", "/v1/erasure/verify", map[string]string{"jws": jws}, &r.Receipt)
	})
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

func proofLines(p engine.Proof) string {
	var b strings.Builder
	result := "nothing is left"
	if !p.Passed {
		result = "SOMETHING IS LEFT"
	}
	fmt.Fprintf(&b, "proof of the erasure of person %s of gallery %s, tenant %s (write %d): %s; %d files, %d bytes read\n",
		p.Person, p.Gallery, p.Tenant, p.Sequence, result, p.Files, p.Bytes)
	for _, c := range p.Checks {
		state := "ok"
		if !c.OK {
			state = "FAILED"
		}
		fmt.Fprintf(&b, "%s\t%s\tlooked at %d, found %d\t%s\n", c.Name, state, c.Looked, c.Found, c.What)
		if c.Note != "" {
			fmt.Fprintf(&b, "\tnote: %s\n", c.Note)
		}
		for _, where := range c.Where {
			fmt.Fprintf(&b, "\tin %s\n", where)
		}
	}
	for _, m := range p.Outside {
		fmt.Fprintf(&b, "not looked at: %s: %s; until %s\n", m.Where, m.What, m.Until)
	}
	return b.String() + p.JWS
}
