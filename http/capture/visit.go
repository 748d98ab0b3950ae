package capture

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// cookieName is that of the browser's cookie.
const cookieName = "mien_capture"

// Rates of a session: the page looks five times a second.
const (
	sessionRate  = 8
	sessionBurst = 40
)

// visit is what is known of a request of the page.
type visit struct {
	session *record
	now     Session // as of the request
	cookie  bool    // it came with the browser's cookie, not with the link's token
}

// authenticate finds the session of a request and makes a key of it: of the role client, for this dialect, for the session's gallery alone and with
// the scores of the key that made it. Its id is the session's, so that rates and the audit log are by session. A session that is over or has
// expired is found too: the operation says so. Errors: engine.ErrKeyMissing, ErrKeyUnknown, the engine's.
func (s *Service) authenticate(c *dialect.Call) (engine.Key, error) {
	v := new(visit)
	c.State = v
	scheme, token, _ := strings.Cut(c.Header("Authorization"), " ")
	if token = strings.Trim(token, " "); !strings.EqualFold(scheme, "Bearer") {
		token, v.cookie = cookieOf(c), true
	}
	if token == "" {
		return engine.Key{}, engine.ErrKeyMissing
	}
	sum, ok := sumOf(token)
	if !ok {
		return engine.Key{}, engine.ErrKeyUnknown
	}
	at, found := s.index.find(sum, s.engine.Now())
	if !found {
		return engine.Key{}, engine.ErrKeyUnknown
	}
	err := s.visit(c.Ctx, v, at)
	if err == errNoSession { // it went with its person, its gallery or its tenant
		s.index.drop(at)
		err = engine.ErrKeyUnknown
	}
	if err == nil && !v.is(sum) { // it was opened by another browser meanwhile
		err = engine.ErrKeyUnknown
	}
	if err != nil {
		return engine.Key{}, err
	}
	x := v.session
	return engine.Key{ID: x.ID, Tenant: at.tenant, Role: engine.RoleClient, Dialect: Name, Galleries: []string{x.Gallery}, Rate: sessionRate,
		Burst: sessionBurst, Scores: x.Scores}, nil
}

func (s *Service) visit(ctx context.Context, v *visit, at place) (err error) {
	if v.session, err = s.record(ctx, at.tenant, at.id); errors.Is(err, engine.ErrTenantNotFound) {
		err = errNoSession
	}
	if err == nil {
		v.now, err = s.asOfNow(ctx, at.tenant, v.session)
	}
	return err
}

// is reports whether a secret of the kind that was sent is the session's.
func (v *visit) is(sum digest) bool {
	if v.cookie {
		return v.session.Cookie != nil && *v.session.Cookie == sum
	}
	return v.session.Token == sum
}

// cookieOf is the browser's cookie, "" for none. So it is where there are two: one of them was planted, by a page of another host of the same domain.
func cookieOf(c *dialect.Call) (found string) {
	for pair := range strings.SplitSeq(c.Header("Cookie"), ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		switch {
		case name != cookieName:
		case found != "":
			return ""
		default:
			found = value
		}
	}
	return found
}

// pageError is a refusal in the page's words, which the native API has no code for.
type pageError struct {
	status int
	body   problem
}

func (e *pageError) Error() string { return e.body.Code + ": " + e.body.Detail }

// problem is a refusal as the page is told it.
type problem struct {
	Code   string   `json:"code"`
	Detail string   `json:"detail"`
	Where  string   `json:"where,omitempty"`   // of a session that is over: where the browser goes
	Reason []string `json:"reasons,omitempty"` // what is wrong with a photo, worst first
}

// Refusals of links and sessions.
var (
	errLinkUnknown = &pageError{401, problem{Code: codeLinkUnknown, Detail: "the link is not good: ask who sent it for another"}}
	errLinkUsed    = &pageError{409, problem{Code: "link_used", Detail: "the link was opened already, in another browser or window: ask who sent it for another"}}
	errExpired     = &pageError{410, problem{Code: "session_expired", Detail: "the link's time is over: ask who sent it for another"}}
	errForeign     = &pageError{403, problem{Code: "forbidden", Detail: "the request comes from a page of another origin"}}
)

const codeLinkUnknown = "link_unknown"

// errOver refuses what a session that is over does not take.
func errOver(x *Session) error {
	return &pageError{409, problem{Code: "session_over", Detail: "the session is over", Where: x.redirect()}}
}

// ask is an operation of a session that is in progress.
type ask func(c *dialect.Call, x *Session) (dialect.Answer, error)

// page is an operation of the page, below /capture/api. That a link is opened again and that another origin asks is recorded; that a session
// is over is no decision on anybody.
func (s *Service) page(method, path, op string, do func(c *dialect.Call, v *visit) (dialect.Answer, error)) dialect.Route {
	return dialect.Route{Method: method, Pattern: "/capture/api/" + path, Op: op, Handle: func(c *dialect.Call) (dialect.Answer, error) {
		v := c.State.(*visit)
		c.Person = v.session.Person
		a, err := dialect.Answer{}, error(errForeign)
		if isOurs(c) {
			a, err = do(c, v)
		}
		e, ok := errors.AsType[*pageError](err)
		if !ok {
			return a, err
		}
		if e == errLinkUsed || e == errForeign {
			if err := s.engine.AuditRefusal(c.Ctx, c.Key.Tenant, op, c.Gallery, c.Person, e.body.Code); err != nil {
				return dialect.Answer{}, err
			}
		}
		return dialect.JSON(e.status, e.body), nil
	}}
}

// running is an operation of a session that is in progress in this browser. What it is given is the session as of the request: Service.change
// changes it.
func (s *Service) running(path, op string, do ask) dialect.Route {
	return s.page("POST", path, op, func(c *dialect.Call, v *visit) (dialect.Answer, error) {
		if err := v.running(); err != nil {
			return dialect.Answer{}, err
		}
		x := v.now
		return do(c, &x)
	})
}

// running refuses a session that takes nothing more, and a link's token where the browser's cookie is asked for.
func (v *visit) running() error {
	switch {
	case !v.cookie:
		return errLinkUnknown
	case v.now.Status == StatusExpired:
		return errExpired
	case v.now.over():
		return errOver(&v.now)
	}
	return nil
}

// isOurs reports whether a request was made by our own page, or by no page: SameSite=Strict keeps the cookie from the pages of other sites, this
// keeps it from those of other origins of one site. Browsers that don't say Sec-Fetch-Site say Origin with what they POST.
func isOurs(c *dialect.Call) bool {
	if site := c.Header("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin := c.Header("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	base, err := url.Parse(c.BaseURL())
	return err == nil && strings.EqualFold(base.Host, u.Host)
}

// cookie is the header field that gives the browser its cookie: for as long after the session's end as it is told what became of it.
func cookie(c *dialect.Call, value string, x *Session, now time.Time) string {
	field := cookieName + "=" + value + "; Path=/capture; HttpOnly; SameSite=Strict; Max-Age=" + seconds(x.Ends.Add(linkGrace).Sub(now))
	if b, err := url.Parse(c.BaseURL()); err == nil && b.Scheme == "http" && isLoopback(strings.ToLower(b.Hostname())) {
		return field // browsers have no camera on other pages of http, and not all take a secure cookie there
	}
	return field + "; Secure"
}

// refuse words a refusal.
func refuse(_ *dialect.Call, f *dialect.Failure) dialect.Answer {
	switch f.Code {
	case "key_missing", "key_unknown", "key_revoked", "key_expired":
		return dialect.JSON(errLinkUnknown.status, errLinkUnknown.body)
	}
	return dialect.JSON(f.Status, problem{Code: f.Code, Detail: f.Detail, Reason: f.Reasons})
}
