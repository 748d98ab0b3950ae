package verifik

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"mien/engine"
	"mien/http/dialect"
)

// Statuses of a session, the document's. One that is active and past its end is expired.
const (
	statusActive    = "active"
	statusCompleted = "completed"
	statusExpired   = "expired"
	statusCancelled = "cancelled"
)

// session is one login of somebody who is not known yet. It is kept as JSON; once it has identified somebody its document is about them.
type session struct {
	ID         string    `json:"id"`
	Project    string    `json:"project"`
	Validation string    `json:"validation"` // the vendor's biometricValidation
	Login      string    `json:"login"`      // the vendor's appLogin
	Identifier string    `json:"identifier"`
	Status     string    `json:"status"`
	Key        string    `json:"key"` // id of the API key that made it
	Ends       time.Time `json:"ends"`
	// Taken is how many photos were let through to a decision, those under way included, and Failed how many were no good.
	Taken  int `json:"taken,omitempty"`
	Failed int `json:"failed,omitempty"`

	Gallery string    `json:"gallery,omitempty"` // with Person: who was identified
	Person  string    `json:"person,omitempty"`
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
}

const (
	maxIdentifierBytes = 256
	keptAfterEnd       = 24 * time.Hour // that a session can still be looked at
	maxTokenBytes      = 2048
	sessionRate        = 1 // requests a second of a session
	sessionBurst       = 20
	// sessionReserve is how many of a tenant's documents new sessions leave: for what those that are there end with, and for other dialects.
	sessionReserve = engine.MaxDocuments / 4
	audience       = "verifik.session"
)

func (x *session) documentID() string { return x.Project + "." + x.ID }

// statusAt is the session's status.
func (x *session) statusAt(now time.Time) string {
	if x.Status == statusActive && !now.Before(x.Ends) {
		return statusExpired
	}
	return x.Status
}

// validation is the status of the vendor's biometricValidation.
func (x *session) validation() string {
	switch {
	case x.Status == statusCompleted:
		return "validated"
	case x.Status == statusCancelled && x.Failed > 0:
		return "failed"
	}
	return "new"
}

// document is the session as it is kept.
func (x *session) document() (*engine.Document, error) {
	d, err := encode(x)
	d.Kind, d.ID, d.Gallery, d.Person, d.Expires = kindSession, x.documentID(), x.Gallery, x.Person, x.Ends.Add(keptAfterEnd)
	return d, err
}

func decodeSession(d *engine.Document) (*session, error) {
	x := new(session)
	return x, json.Unmarshal(d.Value, x)
}

// sessionClaims are those of a session's token.
type sessionClaims struct {
	jwt.Claims        // sub: the session
	Tenant     string `json:"tenant"`
	Project    string `json:"project"`
	Session    string `json:"livenessSession"`
}

// sessionToken makes a session's token: HS256 under a key of the tenant's.
func (s *service) sessionToken(ctx context.Context, tenant string, x *session) (string, error) {
	secret, err := s.engine.TenantSecret(ctx, tenant, secretSession)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(sessionClaims{
		Claims: jwt.Claims{Subject: x.ID, Audience: jwt.Audience{audience}, IssuedAt: jwt.NewNumericDate(x.Created), Expiry: jwt.NewNumericDate(x.Ends)},
		Tenant: tenant, Project: x.Project, Session: x.ID,
	}).Serialize()
}

// errNotOurs is of every token that is not authentic, whatever is wrong with it.
var errNotOurs = engine.ErrKeyUnknown

// openToken returns the claims of a session's token. It takes no other algorithm than HS256, and no key than the one of the tenant that
// the token names: which tenant that is, is believed once the signature holds. Errors: errNotOurs, engine.ErrKeyExpired, the engine's.
func (s *service) openToken(ctx context.Context, text string) (*sessionClaims, error) {
	if len(text) > maxTokenBytes {
		return nil, errNotOurs
	}
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		return nil, errNotOurs
	}
	var claims sessionClaims
	if err := token.UnsafeClaimsWithoutVerification(&claims); err != nil {
		return nil, errNotOurs
	}
	secret, err := s.engine.TenantSecret(ctx, claims.Tenant, secretSession)
	if errors.Is(err, engine.ErrTenantNotFound) || errors.Is(err, engine.ErrID) {
		return nil, errNotOurs
	}
	if err != nil {
		return nil, err
	}
	claims = sessionClaims{}
	if err := token.Claims(secret, &claims); err != nil {
		return nil, errNotOurs
	}
	err = claims.ValidateWithLeeway(jwt.Expected{AnyAudience: jwt.Audience{audience}, Time: s.engine.Now()}, 0)
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return nil, engine.ErrKeyExpired
	case err != nil || claims.Expiry == nil || !isObjectID(claims.Project) || !isObjectID(claims.Session):
		return nil, errNotOurs
	}
	return &claims, nil
}

// authenticate finds the session of a request's token and makes a key of it: of the role client, for this dialect, and for the gallery of
// the session's project alone. Its id is the session's, so that rates and the audit log are by session. What ends it is in doc.go.
// An API key is returned as it is, and will be refused as one that may not.
func (s *service) authenticate(c *dialect.Call) (engine.Key, error) {
	scheme, token, _ := strings.Cut(c.Header("Authorization"), " ")
	if token = strings.Trim(token, " "); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return engine.Key{}, engine.ErrKeyMissing
	}
	if strings.HasPrefix(token, "mien_") {
		k, err := c.Authenticate(token)
		if err == nil && k.Dialect == Name {
			err = engine.ErrKeyMissing // a client's key, and of no session
		}
		return k, err
	}
	claims, err := s.openToken(c.Ctx, token)
	if err != nil {
		return engine.Key{}, err
	}
	// A device of an end user holds the token: its requests, each of which may cost a photo's work and a record, are bounded.
	key := engine.Key{ID: claims.Session, Tenant: claims.Tenant, Role: engine.RoleClient, Dialect: Name, Rate: sessionRate, Burst: sessionBurst}
	v := &visit{}
	c.State = v
	if v.project, _, err = s.project(c.Ctx, key.Tenant, claims.Project); err == nil {
		v.session, err = s.session(c.Ctx, key.Tenant, claims.Project, claims.Session)
	}
	if _, refused := errors.AsType[*dialect.Refusal](err); refused {
		return key, nil // the operation says so
	}
	if err != nil {
		return engine.Key{}, err
	}
	if maker, err := s.engine.Key(c.Ctx, key.Tenant, v.session.Key); err != nil || !maker.Revoked.IsZero() {
		if err != nil && !errors.Is(err, engine.ErrKeyNotFound) {
			return engine.Key{}, err
		}
		return engine.Key{}, engine.ErrKeyRevoked
	}
	key.Galleries = []string{v.project.Gallery}
	return key, nil
}

// visit is what is known of a request with a session's token; session is nil where there is none any more.
type visit struct {
	project *project
	session *session
}

var errNoSession = &dialect.Refusal{Code: "session_not_found", Detail: "there is no session of this id in the project, or not any more"}

// session reads a session. Errors: errNoSession, the engine's.
func (s *service) session(ctx context.Context, tenant, project, id string) (*session, error) {
	if !isObjectID(project) || !isObjectID(id) {
		return nil, errNoSession
	}
	d, err := s.engine.Document(ctx, tenant, kindSession, project+"."+id)
	if errors.Is(err, engine.ErrDocumentNotFound) {
		err = errNoSession
	}
	if err != nil {
		return nil, err
	}
	return decodeSession(&d)
}

// changeSession changes a session and sends the events that change returns, of which the write has the messages. Errors: errNoSession,
// change's, the engine's.
func (s *service) changeSession(ctx context.Context, tenant string, p *project, id, audit string, change func(x *session, now time.Time) (events []string, err error)) (*session, error) {
	secret, err := s.engine.TenantSecret(ctx, tenant, secretIDs)
	if err != nil {
		return nil, err
	}
	var x *session
	var out outbox
	o := engine.DocumentOptions{Audit: audit, Also: out.documents}
	_, err = s.engine.ChangeDocument(ctx, tenant, kindSession, p.ID+"."+id, o, func(old *engine.Document) (*engine.Document, error) {
		if old == nil {
			return nil, errNoSession
		}
		var err error
		if x, err = decodeSession(old); err != nil {
			return nil, err
		}
		now := s.engine.Now()
		events, err := change(x, now)
		if err != nil {
			return nil, err
		}
		x.Updated = now
		if err := s.fill(&out, secret, p, x, events); err != nil {
			return nil, err
		}
		return x.document()
	})
	if err != nil {
		return nil, err
	}
	s.queue.take(tenant, &out)
	return x, nil
}

// sessionBody is a session in an answer of the native API.
type sessionBody struct {
	ID         string    `json:"id"`
	Project    string    `json:"project"`
	Identifier string    `json:"identifier,omitempty"`
	Status     string    `json:"status"`
	Validation string    `json:"validation"` // new, validated, failed
	Attempts   int       `json:"attempts"`   // that failed
	Person     string    `json:"person,omitempty"`
	Expires    time.Time `json:"expires"`
	Created    time.Time `json:"created"`
	Updated    time.Time `json:"updated"`
	Token      string    `json:"token,omitempty"` // told this once

	URL        string      `json:"url,omitempty"` // of the capture page; told this once
	URLExpires time.Time   `json:"url_expires,omitzero"`
	Answer     *validation `json:"answer,omitempty"` // of a session that is completed: what validate answers
}

func (s *service) sessionBody(x *session) *sessionBody {
	return &sessionBody{ID: x.ID, Project: x.Project, Identifier: x.Identifier, Status: x.statusAt(s.engine.Now()), Validation: x.validation(), Attempts: x.Failed,
		Person: x.Person, Expires: x.Ends, Created: x.Created, Updated: x.Updated}
}

func (s *service) createSession(c *dialect.Call) (dialect.Answer, error) {
	var spec struct {
		Identifier  *string `json:"identifier"`
		Seconds     *int    `json:"seconds"`
		RedirectURL *string `json:"redirect_url"`
		State       *string `json:"state"`
	}
	if err := c.DecodeNative(&spec); err != nil {
		return dialect.Answer{}, err
	}
	p, _, err := s.project(c.Ctx, c.Key.Tenant, c.Params[0])
	if err != nil {
		return dialect.Answer{}, err
	}
	seconds, identifier := p.SessionSeconds, ""
	dialect.Set(&seconds, spec.Seconds)
	dialect.Set(&identifier, spec.Identifier)
	if seconds < 1 || seconds > p.SessionSeconds {
		return dialect.Answer{}, dialect.BadRequest("seconds is %d: it must be from 1 to %d, which the project allows", seconds, p.SessionSeconds)
	}
	if len(identifier) > maxIdentifierBytes || !utf8.ValidString(identifier) || strings.ContainsFunc(identifier, unicode.IsControl) {
		return dialect.Answer{}, dialect.BadRequest("the identifier is not acceptable: use up to %d bytes of UTF-8 without control characters", maxIdentifierBytes)
	}
	now := s.engine.Now()
	x := &session{Project: p.ID, Identifier: identifier, Status: statusActive, Key: c.Key.ID, Created: now, Updated: now,
		Ends: now.Add(time.Duration(seconds) * time.Second).Truncate(time.Second)}
	for _, id := range []*string{&x.ID, &x.Validation, &x.Login} {
		*id = s.ids.next(now)
	}
	if !x.Ends.After(now) {
		x.Ends = x.Ends.Add(time.Second)
	}
	var l link
	dialect.Set(&l.redirect, spec.RedirectURL)
	dialect.Set(&l.state, spec.State)
	if err := s.makeLink(c, p, x, &l); err != nil {
		return dialect.Answer{}, err
	}
	a, err := s.begin(c, p, x, &l)
	if err != nil {
		s.endLink(c, x) // of no session
	}
	return a, err
}

// begin keeps a new session, with the message that tells of it, and answers its token and its link.
func (s *service) begin(c *dialect.Call, p *project, x *session, l *link) (dialect.Answer, error) {
	secret, err := s.engine.TenantSecret(c.Ctx, c.Key.Tenant, secretIDs)
	if err != nil {
		return dialect.Answer{}, err
	}
	var out outbox
	if err := s.fill(&out, secret, p, x, []string{eventNew}); err != nil {
		return dialect.Answer{}, err
	}
	o := engine.DocumentOptions{Audit: "verifik.session.create", Also: out.documents, Reserve: sessionReserve}
	_, err = s.engine.ChangeDocument(c.Ctx, c.Key.Tenant, kindSession, x.documentID(), o, func(*engine.Document) (*engine.Document, error) { return x.document() })
	if err != nil {
		return dialect.Answer{}, err
	}
	s.queue.take(c.Key.Tenant, &out)
	body := s.sessionBody(x)
	body.URL, body.URLExpires = l.url, l.ends
	body.Token, err = s.sessionToken(c.Ctx, c.Key.Tenant, x)
	return dialect.JSON(201, body), err
}

func (s *service) getSession(c *dialect.Call) (dialect.Answer, error) {
	if err := c.NoQuery(); err != nil {
		return dialect.Answer{}, err
	}
	x, err := s.session(c.Ctx, c.Key.Tenant, c.Params[0], c.Params[1])
	if err != nil {
		return dialect.Answer{}, err
	}
	body := s.sessionBody(x)
	if x.Status == statusCompleted && c.Key.Role != engine.RoleAuditor { // who may read is not who may log in
		body.Answer, err = s.answerOf(c, x)
	}
	return dialect.JSON(200, body), err
}

// cancelSession ends a session for good; one that is cancelled already is left as it is.
func (s *service) cancelSession(c *dialect.Call) (dialect.Answer, error) {
	if err := c.NoQuery(); err != nil {
		return dialect.Answer{}, err
	}
	p, _, err := s.project(c.Ctx, c.Key.Tenant, c.Params[0])
	if err == nil && !isObjectID(c.Params[1]) {
		err = errNoSession
	}
	if err != nil {
		return dialect.Answer{}, err
	}
	x, err := s.changeSession(c.Ctx, c.Key.Tenant, p, c.Params[1], "verifik.session.cancel", func(x *session, _ time.Time) ([]string, error) {
		if x.Status == statusCompleted {
			return nil, errCompleted
		}
		x.Status = statusCancelled
		return nil, nil
	})
	if err != nil {
		return dialect.Answer{}, err
	}
	s.endLink(c, x)
	return dialect.JSON(200, s.sessionBody(x)), nil
}

// Sessions that take no photo.
var (
	errCompleted = &dialect.Refusal{Code: "session_completed", Detail: "the session has identified somebody, which it does once: make another"}
	errCancelled = &dialect.Refusal{Code: "session_cancelled", Detail: "the session was cancelled, or has taken all photos that its project allows: make another"}
)

// open refuses a session that takes no photo. Errors: errCompleted, errCancelled, engine.ErrKeyExpired.
func (x *session) open(p *project, now time.Time) error {
	switch {
	case x.Status == statusCompleted:
		return errCompleted
	case x.Status == statusCancelled || x.Taken >= p.Attempts:
		return errCancelled
	case x.statusAt(now) == statusExpired:
		return engine.ErrKeyExpired
	}
	return nil
}
