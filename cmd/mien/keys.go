package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"mien/engine"
)

type keysCmd struct {
	Create keyCreateCmd `cmd:"" help:"Create a key and print it, once."`
	Rotate keyRotateCmd `cmd:"" help:"Make a key in the place of another, which goes on for a while, and print it, once."`
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
func (k *keyStore) onData(f func(*engine.Engine) error) error {
	return k.onDataWith(engine.Config{}, f)
}

// onDataWith is onData with embedding spaces that f needs.
func (k *keyStore) onDataWith(c engine.Config, f func(*engine.Engine) error) (err error) {
	if _, err := os.Stat(k.Data); err != nil {
		return fmt.Errorf("data folder %s: %w", k.Data, reason(err))
	}
	data := dataDir{k.Data, k.masterKeyFlags}
	if err := data.create(); err != nil {
		return err
	}
	e, err := data.open(c)
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
	Role     string `help:"What the key may do: admin, enroller, matcher, auditor, or client, of another vendor's API; must be given, or --operator." enum:"admin,enroller,matcher,auditor,client," default:""`
	Label    string `help:"A note for people."`
	Operator bool   `help:"The key may make keys for every tenant (role admin only)."`

	Gallery []string      `short:"g" help:"The key is for these galleries only: names, or how names begin and a *." placeholder:"NAME"`
	Expires time.Duration `help:"How long the key is good: 720h (default: for ever)." placeholder:"TIME"`
	Rate    float64       `help:"Requests a second that the key may make (default: the server's)." placeholder:"N"`
	Burst   int           `help:"Requests at once; goes with --rate (default: those of a second)." placeholder:"N"`
	Dialect string        `help:"The vendor's API that a key of the role client speaks, in the one gallery of --gallery." placeholder:"NAME"`
	Scores  string        `help:"What answers about faces tell: exact (the default), rounded (similarity to two decimals), or decision." enum:"exact,rounded,decision," default:""`
}

// Validate is called by kong: what is not given is the default, and 0 is not that.
func (c *keyCreateCmd) Validate() error {
	if c.Expires < 0 || c.Rate < 0 || c.Burst < 0 {
		return errors.New("--expires, --rate and --burst must be more than 0")
	}
	return nil
}

// spec is what the flags ask for.
func (c *keyCreateCmd) spec() engine.KeySpec {
	s := engine.KeySpec{Role: engine.Role(c.Role), Label: c.Label, Operator: c.Operator, Galleries: c.Gallery, Rate: c.Rate, Burst: c.Burst,
		Scores: engine.Scores(c.Scores), Dialect: c.Dialect}
	if c.Expires > 0 {
		s.Expires = time.Now().Add(c.Expires)
	}
	return s
}

// body is spec as the API has it.
func (c *keyCreateCmd) body() map[string]any {
	s := c.spec()
	body := map[string]any{"role": s.Role, "operator": s.Operator}
	set := func(name string, value any, given bool) {
		if given {
			body[name] = value
		}
	}
	set("tenant", c.Tenant, c.Tenant != "")
	set("label", s.Label, s.Label != "")
	set("galleries", s.Galleries, s.Galleries != nil)
	set("expires", s.Expires.UTC().Format(time.RFC3339), !s.Expires.IsZero())
	set("rate", s.Rate, s.Rate > 0)
	set("burst", s.Burst, s.Burst > 0)
	set("scores", s.Scores, s.Scores != "")
	set("dialect", s.Dialect, s.Dialect != "")
	return body
}

// Run prints the new key alone on stdout.
func (c *keyCreateCmd) Run(ctx context.Context, out *output) error {
	if c.Role == "" && !c.Operator {
		return errors.New("say what the key may do: --role admin, enroller, matcher or auditor")
	}
	c.Role = cmp.Or(c.Role, string(engine.RoleAdmin))
	var made madeKey
	create := func(e *engine.Engine) (err error) {
		made.Key, made.Token, err = e.CreateKey(ctx, c.tenant(), c.spec())
		return err
	}
	if err := c.run(create, func() error { return c.call(ctx, "POST", "/v1/keys", c.body(), &made) }); err != nil {
		return err
	}
	return out.print(made, made.Token)
}

// madeKey is a key with its token, as the API answers it.
type madeKey struct {
	engine.Key
	Token string `json:"token"`
}

type keyRotateCmd struct {
	keyStore
	ID      string        `arg:"" help:"Id of the key: the first 16 digits after mien_."`
	Overlap time.Duration `help:"How long the old key goes on, up to 720h; 0s: not at all." default:"24h"`
}

// Run prints the new key alone on stdout.
func (c *keyRotateCmd) Run(ctx context.Context, out *output) error {
	if c.Overlap < 0 || c.Overlap%time.Second != 0 {
		return errors.New("--overlap must be whole seconds, and not less than 0")
	}
	var made madeKey
	rotate := func(e *engine.Engine) (err error) {
		made.Key, made.Token, err = e.RotateKey(ctx, c.tenant(), c.ID, engine.Rotation{Overlap: cmp.Or(c.Overlap, -1)})
		return err
	}
	body := map[string]any{"overlap_s": int(c.Overlap / time.Second)}
	if c.Tenant != "" {
		body["tenant"] = c.Tenant
	}
	if err := c.run(rotate, func() error { return c.call(ctx, "POST", "/v1/keys/"+url.PathEscape(c.ID)+"/rotate", body, &made) }); err != nil {
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
	role := string(k.Role)
	if k.Operator {
		role += " (operator)"
	}
	return strings.Join([]string{k.ID, k.Tenant, role, keyState(k), strings.Join(keyBounds(k), ", "), k.Label}, "\t")
}

func keyState(k engine.Key) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked " + k.Revoked.Format(time.DateOnly)
	case !k.Expires.IsZero() && !time.Now().Before(k.Expires):
		return "expired " + k.Expires.Format(time.DateOnly)
	case k.RotatedTo != "":
		return "rotated to " + k.RotatedTo + ", until " + k.Expires.Format(time.DateTime)
	case !k.Expires.IsZero():
		return "until " + k.Expires.Format(time.DateTime)
	}
	return "active"
}

// keyBounds says what a key may not do of what its role may.
func keyBounds(k engine.Key) (list []string) {
	if len(k.Galleries) > 0 {
		list = append(list, strings.Join(k.Galleries, " "))
	}
	if k.Rate > 0 {
		list = append(list, fmt.Sprintf("%v/s (%d at once)", k.Rate, k.Burst))
	}
	if k.Scores != "" {
		list = append(list, "scores "+string(k.Scores))
	}
	return list
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
