package verifik

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/go-jose/go-jose/v4/jwt"

	"mien/engine"
	"mien/extract"
	"mien/http/dialect"
)

// validation is the document's answer.
type validation struct {
	Data      json.RawMessage `json:"data"` // a validationData
	Signature string          `json:"signature"`
	ID        string          `json:"id"`
}

type validationData struct {
	AppLogin        appLogin        `json:"appLogin"`
	LivenessSession livenessSession `json:"livenessSession"`
	Person          string          `json:"person"`
	Token           string          `json:"token"`
}

type appLogin struct {
	ID          string `json:"_id"`
	Project     string `json:"project"`
	ProjectFlow string `json:"projectFlow"`
	Client      string `json:"client"`
	Status      string `json:"status"`
	Type        string `json:"type"`
	Validation  string `json:"biometricValidation"`
	Face        string `json:"face"`
	Name        string `json:"name"`
	CreatedAt   string `json:"createdAt"`
	UpdatedAt   string `json:"updatedAt"`
}

type livenessSession struct {
	ID          string `json:"_id"`
	Identifier  string `json:"identifier"`
	Client      string `json:"client"`
	Project     string `json:"project"`
	ProjectFlow string `json:"projectFlow"`
	Status      string `json:"status"`
	ExpiresAt   string `json:"expiresAt"`
	CreatedAt   string `json:"createdAt"`
	UpdatedAt   string `json:"updatedAt"`
}

// loginClaims are those of the token that is answered.
type loginClaims struct {
	jwt.Claims            // sub: the person's id in the gallery; aud: the project; jti: the answer's id
	Client       string   `json:"client"`
	Project      string   `json:"project"`
	ProjectFlow  string   `json:"projectFlow"`
	Session      string   `json:"livenessSession"`
	AppLogin     string   `json:"appLogin"`
	Person       string   `json:"person"`
	Authenticity []string `json:"amr"` // RFC 8176
}

// validate answers who is before the camera, once a session. The photo is read first, so that one without a usable face costs no
// attempt; then an attempt is taken, in one write, so that requests at the same time have no more of them; then the engine decides
// about liveness, by a gate, and about who it is, by the project's policy; then the session is settled.
func (s *service) validate(c *dialect.Call) (dialect.Answer, error) {
	v, _ := c.State.(*visit)
	if v == nil || v.session == nil {
		return dialect.Answer{}, errNoSession
	}
	if err := v.session.open(v.project, s.engine.Now()); err != nil {
		return dialect.Answer{}, err
	}
	image, err := decodeImage(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	a := &attempt{s: s, c: c, project: v.project, id: v.session.ID}
	err = c.Steadily(func() error {
		photos, err := c.Templates(dialect.Photo{Data: image, Gate: engine.Gate{extract.LivenessMeasure: 100 * v.project.MinLiveness}})
		if err != nil {
			return err
		}
		return a.decide(photos[0])
	})
	if a.session != nil && a.session.Status != statusActive {
		s.endLink(c, a.session)
	}
	if err != nil {
		return dialect.Answer{}, err
	}
	answer, err := a.answer()
	return dialect.JSON(200, answer), err
}

func decodeImage(c *dialect.Call) ([]byte, error) {
	var body struct {
		Image *string `json:"image"`
	}
	if err := c.DecodeJSON(&body); err != nil {
		return nil, err
	}
	if body.Image == nil || *body.Image == "" {
		return nil, &dialect.FieldError{Field: imageField}
	}
	return dialect.Base64(*body.Image)
}

// attempt is one photo of a session.
type attempt struct {
	s       *service
	c       *dialect.Call
	project *project
	id      string // the session's

	session *session // once it is completed
	person  engine.Person
}

// decide takes an attempt, has the engine decide, and settles the session. Errors: errNoSession and those of open; errNobody,
// engine.ErrQuality, the engine's.
func (a *attempt) decide(photo engine.Template) error {
	err := a.change(a.c.Ctx, "", func(x *session, now time.Time) ([]string, error) {
		if err := x.open(a.project, now); err != nil {
			return nil, err
		}
		x.Taken++
		return nil, nil
	})
	if err != nil {
		return err
	}
	return a.settle(a.identify(photo))
}

// errNobody says that nobody of the gallery is alike.
var errNobody = &dialect.Refusal{Code: "person_not_found", Detail: "nobody of the gallery is alike enough"}

func (a *attempt) identify(photo engine.Template) error {
	found, err := a.s.engine.Identify(a.c.Ctx, a.c.Key.Tenant, a.project.Gallery, photo, engine.IdentifyOptions{Policy: a.project.Policy, TopK: 1})
	if err != nil {
		return err
	}
	if len(found.Candidates) == 0 {
		return errNobody
	}
	a.c.Person = found.Candidates[0].Person
	a.person, err = a.s.engine.Person(a.c.Ctx, a.c.Key.Tenant, a.project.Gallery, a.c.Person)
	if errors.Is(err, engine.ErrPersonNotFound) { // deleted meanwhile
		return errNobody
	}
	return err
}

// settle completes the session, or counts the failure, or gives the attempt back where nothing was decided. Errors: failed, or why the
// session can't be settled.
func (a *attempt) settle(failed error) error {
	event := eventPersonNotFound
	switch {
	case failed == nil:
		return a.complete()
	case isLiveness(failed):
		event = eventLivenessScore
	case failed != errNobody:
		// Also when the request's time is over: else it would have used up an attempt for nothing.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(a.c.Ctx), settleTimeout)
		defer cancel()
		_ = a.change(ctx, "", func(x *session, _ time.Time) ([]string, error) { // if that fails too, an attempt is lost
			x.Taken--
			return nil, nil
		})
		return failed
	}
	err := a.change(a.c.Ctx, "verifik.session.fail", func(x *session, _ time.Time) ([]string, error) {
		events := []string{event}
		if x.Failed++; x.Failed >= a.project.Attempts && x.Status == statusActive {
			x.Status = statusCancelled
			events = append(events, eventFailed)
		}
		return events, nil
	})
	if err != nil {
		return err
	}
	return failed
}

const settleTimeout = 5 * time.Second

// isLiveness reports whether liveness is what, first of all, the photo lacks.
func isLiveness(err error) bool {
	e, ok := errors.AsType[*engine.QualityError](err)
	return ok && len(e.Reasons) > 0 && e.Reasons[0].Code == reasonLiveness
}

// complete ends the session with who was identified: one request of several at the same time does.
func (a *attempt) complete() error {
	err := a.change(a.c.Ctx, "verifik.session.complete", func(x *session, now time.Time) ([]string, error) {
		switch {
		case x.Status == statusCompleted:
			return nil, errCompleted
		case x.Status == statusCancelled:
			return nil, errCancelled
		}
		x.Status, x.Gallery, x.Person = statusCompleted, a.project.Gallery, a.person.ID
		return []string{eventValidated}, nil
	})
	if errors.Is(err, engine.ErrPersonNotFound) || errors.Is(err, engine.ErrGalleryNotFound) {
		return errNobody
	}
	return err
}

func (a *attempt) change(ctx context.Context, audit string, change func(x *session, now time.Time) ([]string, error)) (err error) {
	a.session, err = a.s.changeSession(ctx, a.c.Key.Tenant, a.project, a.id, audit, change)
	return err
}

// answer is that of a completed session.
func (a *attempt) answer() (*validation, error) {
	s, x, p := a.s, a.session, a.project
	secret, err := s.engine.TenantSecret(a.c.Ctx, a.c.Key.Tenant, secretIDs)
	if err != nil {
		return nil, err
	}
	ids := namesOf(secret, x)
	key, err := s.currentKey(a.c.Ctx, a.c.Key.Tenant)
	if err != nil {
		return nil, err
	}
	now, id := x.Updated, s.ids.next(x.Updated)
	token, err := key.signClaims(loginClaims{
		Claims: jwt.Claims{Issuer: issuerOf(ids.client), Subject: x.Person, Audience: jwt.Audience{p.ID}, ID: id, IssuedAt: jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Duration(p.TokenSeconds) * time.Second))},
		Client: ids.client, Project: p.ID, ProjectFlow: p.Flow, Session: x.ID, AppLogin: x.Login, Person: ids.person, Authenticity: []string{"face"},
	})
	if err != nil {
		return nil, err
	}
	created, updated := timestamp(x.Created), timestamp(now)
	data, err := compactJSON(validationData{
		AppLogin: appLogin{x.Login, p.ID, p.Flow, ids.client, "validated", "faceLiveness", x.Validation, s.ids.next(now), nameOf(a.person), created, updated},
		LivenessSession: livenessSession{x.ID, visible(x.Identifier), ids.client, p.ID, p.Flow, x.statusAt(now), timestamp(x.Ends),
			created, updated},
		Person: ids.person, Token: token,
	})
	if err != nil {
		return nil, err
	}
	signature, err := key.signDetached(data)
	return &validation{data, signature, id}, err
}

// names are the ids that stand for names of ours.
type names struct{ client, person string }

// namesOf returns those of a session; person is "" before somebody is identified. A person's own id is never told for one, whatever its form:
// who may choose an id could choose another's derived one.
func namesOf(secret []byte, x *session) names {
	n := names{client: derivedID(secret, "client")}
	if x.Person != "" {
		n.person = derivedID(secret, "person", x.Gallery, x.Person)
	}
	return n
}

// nameOf is what the metadata says in "name", else the person's id.
func nameOf(p engine.Person) string {
	var m struct {
		Name any `json:"name"`
	}
	if json.Unmarshal(p.Metadata, &m) == nil {
		if name, ok := m.Name.(string); ok && name != "" {
			return visible(name)
		}
	}
	return visible(p.ID)
}

// visible has a space in the place of control characters and line separators: what is left is spelled the same by every encoder of JSON.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// compactJSON is v without spaces and with no character escaped that need not be: as JSON.stringify has it.
func compactJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}
