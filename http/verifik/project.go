package verifik

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mien/engine"
	"mien/http/dialect"
)

// Defaults and limits of projects.
const (
	defaultMinLiveness = 0.55 // the document's
	defaultSimilarity  = 0.85 // the document's "search score"

	defaultSessionLife = 10 * time.Minute // as in the document's example
	maxSessionLife     = 24 * time.Hour
	defaultTokenLife   = time.Hour
	maxTokenLife       = 24 * time.Hour
	defaultAttempts    = 3
	maxAttempts        = 10

	maxNameBytes = 256
)

// project is what sessions are made for: a gallery, what it takes to be let in, and who is told of it. It is kept as JSON.
type project struct {
	ID             string        `json:"id"`
	Flow           string        `json:"project_flow"`
	Name           string        `json:"name,omitempty"`
	Gallery        string        `json:"gallery"`
	Policy         engine.Policy `json:"policy"`
	MinLiveness    float64       `json:"min_liveness"`
	SessionSeconds int           `json:"session_seconds"`
	TokenSeconds   int           `json:"token_seconds"`
	Attempts       int           `json:"attempts"`
	Webhook        *webhook      `json:"webhook,omitempty"`
}

// webhook is where a project's events are sent.
type webhook struct {
	URL      string    `json:"url"`
	Secret   []byte    `json:"secret"`
	Previous []byte    `json:"previous,omitempty"` // signs too, until Until
	Until    time.Time `json:"until,omitzero"`
	Disabled time.Time `json:"disabled,omitzero"` // since the receiver answered 410
}

const (
	secretPrefix    = "whsec_" // as Standard Webhooks has it
	minSecretBytes  = 24
	maxSecretBytes  = 64
	newSecretBytes  = 32
	previousSecrets = 24 * time.Hour
)

// sends reports whether events go anywhere.
func (w *webhook) sends() bool { return w != nil && w.Disabled.IsZero() }

// projectBody is a project in an answer.
type projectBody struct {
	project
	Webhook *webhookBody `json:"webhook,omitempty"`
	Issuer  string       `json:"issuer"`
	JWKS    string       `json:"jwks_uri"`
	Created time.Time    `json:"created"`
	Updated time.Time    `json:"updated"`
}

// webhookBody shows the secret where it was made, and never again.
type webhookBody struct {
	URL      string    `json:"url"`
	Secret   string    `json:"secret,omitempty"`
	Disabled time.Time `json:"disabled,omitzero"`
}

// projectSpec is a request's: what is nil is left as it is.
type projectSpec struct {
	Name           *string      `json:"name"`
	Gallery        *string      `json:"gallery"`
	Policy         *policy      `json:"policy"`
	MinLiveness    *float64     `json:"min_liveness"`
	SessionSeconds *int         `json:"session_seconds"`
	TokenSeconds   *int         `json:"token_seconds"`
	Attempts       *int         `json:"attempts"`
	Webhook        *webhookSpec `json:"webhook"`
}

type webhookSpec struct {
	URL    *string `json:"url"` // an empty one takes the webhook away
	Secret *string `json:"secret"`
	Rotate *bool   `json:"rotate_secret"`
}

// policy is an engine.Policy without a cosine, which would mean something else in another space.
type policy struct {
	FMR        *float64 `json:"fmr"`
	FPIR       *float64 `json:"fpir"`
	Similarity *float64 `json:"similarity"`
}

// apply changes p as the request says. told is the webhook's secret where it was made or given. Errors: *dialect.Refusal, engine.ErrPolicy.
func (p *project) apply(spec *projectSpec, g guard, now time.Time) (told []byte, err error) {
	dialect.Set(&p.Name, spec.Name)
	dialect.Set(&p.Gallery, spec.Gallery)
	dialect.Set(&p.MinLiveness, spec.MinLiveness)
	dialect.Set(&p.SessionSeconds, spec.SessionSeconds)
	dialect.Set(&p.TokenSeconds, spec.TokenSeconds)
	dialect.Set(&p.Attempts, spec.Attempts)
	if spec.Policy != nil {
		p.Policy = engine.Policy{FMR: spec.Policy.FMR, FPIR: spec.Policy.FPIR, Similarity: spec.Policy.Similarity}
	}
	if p.Policy.IsZero() {
		p.Policy = engine.Policy{Similarity: new(float64(defaultSimilarity))}
	}
	if err := cmp.Or(p.Policy.Validate(), p.validate()); err != nil {
		return nil, err
	}
	return p.applyWebhook(spec, g, now)
}

func (p *project) validate() error {
	switch {
	case len(p.Name) > maxNameBytes || !utf8.ValidString(p.Name) || strings.ContainsFunc(p.Name, unicode.IsControl):
		return dialect.BadRequest("the name is not acceptable: use up to %d bytes of UTF-8 without control characters", maxNameBytes)
	case p.Gallery == "":
		return dialect.BadRequest("a project needs the gallery that its people are in: name it in gallery")
	case !(p.MinLiveness > 0 && p.MinLiveness <= 1):
		return dialect.BadRequest("min_liveness is %v: it must be more than 0 and at most 1", p.MinLiveness)
	case p.SessionSeconds < 1 || p.SessionSeconds > int(maxSessionLife.Seconds()):
		return dialect.BadRequest("session_seconds is %d: it must be from 1 to %d", p.SessionSeconds, int(maxSessionLife.Seconds()))
	case p.TokenSeconds < 1 || p.TokenSeconds > int(maxTokenLife.Seconds()):
		return dialect.BadRequest("token_seconds is %d: it must be from 1 to %d", p.TokenSeconds, int(maxTokenLife.Seconds()))
	case p.Attempts < 1 || p.Attempts > maxAttempts:
		return dialect.BadRequest("attempts is %d: it must be from 1 to %d", p.Attempts, maxAttempts)
	}
	return nil
}

func (p *project) applyWebhook(spec *projectSpec, g guard, now time.Time) (told []byte, err error) {
	w := spec.Webhook
	switch {
	case w == nil:
		return nil, nil
	case w.URL != nil && *w.URL == "":
		p.Webhook = nil
		return nil, nil
	case p.Webhook == nil && w.URL == nil:
		return nil, dialect.BadRequest("a webhook needs a url; an empty one takes the webhook away")
	}
	hook := webhook{}
	if p.Webhook != nil {
		hook = *p.Webhook
	}
	if w.URL != nil {
		if err := g.checkURL(*w.URL); err != nil {
			return nil, dialect.BadRequest("webhook.url is not acceptable: %v", err)
		}
		hook.URL, hook.Disabled = *w.URL, time.Time{}
	}
	if w.Secret != nil {
		if told, err = parseSecret(*w.Secret); err != nil {
			return nil, err
		}
	} else if hook.Secret == nil || w.Rotate != nil && *w.Rotate {
		told = randomBytes(newSecretBytes)
	}
	if told != nil {
		hook.Previous, hook.Until, hook.Secret = hook.Secret, now.Add(previousSecrets).Truncate(time.Second), told
	}
	p.Webhook = &hook
	return told, nil
}

func parseSecret(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, secretPrefix))
	if err != nil || len(b) < minSecretBytes || len(b) > maxSecretBytes || !strings.HasPrefix(s, secretPrefix) {
		return nil, dialect.BadRequest("webhook.secret must be %s and base64 of %d to %d bytes; leave it out and one is made", secretPrefix, minSecretBytes, maxSecretBytes)
	}
	return b, nil
}

func secretText(b []byte) string {
	if b == nil {
		return ""
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(b)
}

func decodeProject(d *engine.Document) (*project, error) {
	p := new(project)
	return p, json.Unmarshal(d.Value, p)
}

var errNoProject = &dialect.Refusal{Code: "project_not_found", Detail: "there is no project of this id: GET /v1/verifik/projects lists them"}

// project reads a project. Errors: errNoProject, the engine's.
func (s *service) project(ctx context.Context, tenant, id string) (*project, engine.Document, error) {
	if !isObjectID(id) {
		return nil, engine.Document{}, errNoProject
	}
	d, err := s.engine.Document(ctx, tenant, kindProject, id)
	if errors.Is(err, engine.ErrDocumentNotFound) {
		err = errNoProject
	}
	if err != nil {
		return nil, d, err
	}
	p, err := decodeProject(&d)
	return p, d, err
}

// shown is a project's answer; told is the secret to be told.
func (s *service) shown(c *dialect.Call, p *project, d *engine.Document, told []byte) (*projectBody, error) {
	client, err := s.client(c.Ctx, c.Key.Tenant)
	if err != nil {
		return nil, err
	}
	b := &projectBody{project: *p, Issuer: issuerOf(client), JWKS: c.BaseURL() + keySetPath(c.Key.Tenant, client), Created: d.Created, Updated: d.Updated}
	if w := p.Webhook; w != nil {
		b.Webhook = &webhookBody{w.URL, secretText(told), w.Disabled}
	}
	return b, nil
}

func (s *service) createProject(c *dialect.Call) (dialect.Answer, error) {
	var spec projectSpec
	if err := c.DecodeNative(&spec); err != nil {
		return dialect.Answer{}, err
	}
	now := s.engine.Now()
	p := &project{ID: s.ids.next(now), Flow: s.ids.next(now), MinLiveness: defaultMinLiveness, SessionSeconds: int(defaultSessionLife.Seconds()),
		TokenSeconds: int(defaultTokenLife.Seconds()), Attempts: defaultAttempts}
	return s.writeProject(c, 201, p.ID, "verifik.project.create", &spec, func(*engine.Document) (*project, error) { return p, nil })
}

func (s *service) patchProject(c *dialect.Call) (dialect.Answer, error) {
	var spec projectSpec
	if err := c.DecodeNative(&spec); err != nil {
		return dialect.Answer{}, err
	}
	if !isObjectID(c.Params[0]) {
		return dialect.Answer{}, errNoProject
	}
	return s.writeProject(c, 200, c.Params[0], "verifik.project.update", &spec, func(old *engine.Document) (*project, error) {
		if old == nil {
			return nil, errNoProject
		}
		return decodeProject(old)
	})
}

// writeProject changes what from gives as the request says.
func (s *service) writeProject(c *dialect.Call, status int, id, op string, spec *projectSpec, from func(*engine.Document) (*project, error)) (dialect.Answer, error) {
	if spec.Gallery != nil && *spec.Gallery != "" {
		if _, err := s.engine.Gallery(c.Ctx, c.Key.Tenant, *spec.Gallery); err != nil {
			return dialect.Answer{}, err
		}
	}
	var p *project
	var told []byte
	d, err := s.engine.ChangeDocument(c.Ctx, c.Key.Tenant, kindProject, id, engine.DocumentOptions{Audit: op}, func(old *engine.Document) (_ *engine.Document, err error) {
		if p, err = from(old); err != nil {
			return nil, err
		}
		if told, err = p.apply(spec, s.guard, s.engine.Now()); err != nil {
			return nil, err
		}
		return encode(p)
	})
	if err != nil {
		return dialect.Answer{}, err
	}
	body, err := s.shown(c, p, d, told)
	return dialect.JSON(status, body), err
}

func (s *service) getProject(c *dialect.Call) (dialect.Answer, error) {
	if err := c.NoQuery(); err != nil {
		return dialect.Answer{}, err
	}
	p, d, err := s.project(c.Ctx, c.Key.Tenant, c.Params[0])
	if err != nil {
		return dialect.Answer{}, err
	}
	body, err := s.shown(c, p, &d, nil)
	return dialect.JSON(200, body), err
}

func (s *service) listProjects(c *dialect.Call) (dialect.Answer, error) {
	limit, cursor, err := page(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	list, next, err := s.below(c, kindProject, "", limit, cursor)
	if err != nil {
		return dialect.Answer{}, err
	}
	answer := struct {
		Projects []*projectBody `json:"projects"`
		Next     string         `json:"next,omitempty"`
	}{[]*projectBody{}, next}
	for i := range list {
		p, err := decodeProject(&list[i])
		if err != nil {
			return dialect.Answer{}, err
		}
		body, err := s.shown(c, p, &list[i], nil)
		if err != nil {
			return dialect.Answer{}, err
		}
		answer.Projects = append(answer.Projects, body)
	}
	return dialect.JSON(200, answer), nil
}

// deleteProject deletes a project, and then its sessions, which are of no use without it from that moment on, and the log of its
// deliveries. What an error leaves of those ends by itself.
func (s *service) deleteProject(c *dialect.Call) (dialect.Answer, error) {
	if err := c.NoQuery(); err != nil {
		return dialect.Answer{}, err
	}
	tenant, id := c.Key.Tenant, c.Params[0]
	if !isObjectID(id) {
		return dialect.Answer{}, errNoProject
	}
	_, err := s.engine.ChangeDocument(c.Ctx, tenant, kindProject, id, engine.DocumentOptions{Audit: "verifik.project.delete"}, func(old *engine.Document) (*engine.Document, error) {
		if old == nil {
			return nil, errNoProject
		}
		return nil, nil
	})
	if err != nil {
		return dialect.Answer{}, err
	}
	s.queue.forget(tenant, id)
	for _, kind := range []string{kindSession, kindDelivery} {
		if err := s.deleteBelow(c, kind, id+"."); err != nil {
			return dialect.Answer{}, err
		}
	}
	return dialect.Answer{Status: 204}, nil
}

func (s *service) deleteBelow(c *dialect.Call, kind, prefix string) error {
	for {
		list, next, err := s.below(c, kind, prefix, engine.DefaultListLimit, "")
		if err != nil {
			return err
		}
		for _, d := range list {
			if err := deleteDocument(c.Ctx, s.engine, c.Key.Tenant, kind, d.ID); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
	}
}

func deleteDocument(ctx context.Context, e *engine.Engine, tenant, kind, id string) error {
	_, err := e.ChangeDocument(ctx, tenant, kind, id, engine.DocumentOptions{}, func(*engine.Document) (*engine.Document, error) { return nil, nil })
	return err
}
