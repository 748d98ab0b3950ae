package capture

import (
	"fmt"
	"slices"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// sessionBody is a session in an answer of the native API.
type sessionBody struct {
	ID          string    `json:"id"`
	Owner       string    `json:"owner,omitempty"`
	Gallery     string    `json:"gallery"`
	Flow        Flow      `json:"flow"`
	Status      Status    `json:"status"`
	Reason      string    `json:"reason,omitempty"`
	Person      string    `json:"person,omitempty"`
	Score       *float64  `json:"score,omitempty"`
	Liveness    string    `json:"liveness,omitempty"`
	EventID     string    `json:"event_id"`
	State       string    `json:"state,omitempty"`
	RedirectURL string    `json:"redirect_url,omitempty"`
	Challenges  []string  `json:"challenges"`
	Steps       int       `json:"steps"`
	Tries       int       `json:"tries"` // that failed
	MaxTries    int       `json:"max_tries"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"`
	Completed   time.Time `json:"completed,omitzero"`
	URL         string    `json:"url,omitempty"` // told this once
}

// bodyOf is a session as the key that asks may be told it.
func bodyOf(c *dialect.Call, x *Session) *sessionBody {
	b := &sessionBody{ID: x.ID, Owner: x.Owner, Gallery: x.Gallery, Flow: x.Flow, Status: x.Status, Reason: x.Reason, Person: x.Person, Liveness: x.Liveness, EventID: x.EventID,
		State: x.State, RedirectURL: x.RedirectURL, Challenges: x.Challenges, Steps: x.Steps, Tries: x.Tries, MaxTries: x.MaxTries, Created: x.Created, Expires: x.Ends, Completed: x.Completed}
	if x.Score != nil {
		b.Score = told(&Session{Scores: c.Key.Scores}, *x.Score)
	}
	return b
}

// rolesOf are the roles whose keys may ask for a flow, which writes people or matches them.
func rolesOf(f Flow) []engine.Role {
	switch f {
	case FlowEnroll, FlowUpdate:
		return []engine.Role{engine.RoleAdmin, engine.RoleEnroller}
	case FlowVerify, FlowIdentify:
		return []engine.Role{engine.RoleAdmin, engine.RoleMatcher}
	}
	return []engine.Role{engine.RoleAdmin, engine.RoleEnroller, engine.RoleMatcher}
}

// mayRead reports whether the call's key may be told of a session: one of its galleries, and of a flow that its role may ask for, so that who may not match people
// learns of no match by others' sessions. An auditor may of all.
func mayRead(c *dialect.Call, x *Session) bool {
	return c.Key.MayUse(x.Gallery) && (c.Key.Role == engine.RoleAuditor || slices.Contains(rolesOf(x.Flow), c.Key.Role))
}

func (s *Service) createSession(c *dialect.Call) (dialect.Answer, error) {
	var spec struct {
		Gallery     *string   `json:"gallery"`
		Flow        *string   `json:"flow"`
		Person      *string   `json:"person"`
		RedirectURL *string   `json:"redirect_url"`
		State       *string   `json:"state"`
		Seconds     *int      `json:"seconds"`
		Challenges  *[]string `json:"challenges"`
		Steps       *int      `json:"steps"`
	}
	if err := c.DecodeNative(&spec); err != nil {
		return dialect.Answer{}, err
	}
	if spec.Gallery == nil || spec.Flow == nil {
		return dialect.Answer{}, dialect.BadRequest("a session needs a gallery and a flow")
	}
	x := Spec{Gallery: *spec.Gallery, Flow: Flow(*spec.Flow)}
	if !c.Key.MayUse(x.Gallery) {
		return dialect.Answer{}, &dialect.Refusal{Code: "forbidden", Detail: "this key is bound to other galleries, which GET /v1/galleries lists: use one of those, or another key"}
	}
	if x.Flow.known() && !slices.Contains(rolesOf(x.Flow), c.Key.Role) {
		return dialect.Answer{}, &dialect.Refusal{Code: "forbidden", Detail: fmt.Sprintf("a key of the role %s may not make sessions of the flow %s", c.Key.Role, x.Flow)}
	}
	dialect.Set(&x.Person, spec.Person)
	dialect.Set(&x.RedirectURL, spec.RedirectURL)
	dialect.Set(&x.State, spec.State)
	dialect.Set(&x.Challenges, spec.Challenges)
	if spec.Seconds != nil {
		if *spec.Seconds < 1 || *spec.Seconds > int(MaxLifetime.Seconds()) {
			return dialect.Answer{}, dialect.BadRequest("seconds is %d: it must be from 1 to %d", *spec.Seconds, int(MaxLifetime.Seconds()))
		}
		x.Lifetime = time.Duration(*spec.Seconds) * time.Second
	}
	if dialect.Set(&x.Steps, spec.Steps); spec.Steps != nil && *spec.Steps == 0 {
		return dialect.Answer{}, dialect.BadRequest("a try has from 1 to %d challenges", maxSteps)
	}
	made, link, err := s.Create(c, x)
	if err != nil {
		return dialect.Answer{}, err
	}
	body := bodyOf(c, &made)
	body.URL = link
	return dialect.JSON(201, body), nil
}

// sessionOf is the session of the path; one that the key may not be told of is as one that is not there.
func (s *Service) sessionOf(c *dialect.Call) (Session, error) {
	if err := c.NoQuery(); err != nil {
		return Session{}, err
	}
	x, err := s.Session(c.Ctx, c.Key.Tenant, c.Params[0])
	if err == nil && !mayRead(c, &x) {
		err = errNoSession
	}
	return x, err
}

func (s *Service) getSession(c *dialect.Call) (dialect.Answer, error) {
	x, err := s.sessionOf(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	return dialect.JSON(200, bodyOf(c, &x)), nil
}

func (s *Service) cancelSession(c *dialect.Call) (dialect.Answer, error) {
	x, err := s.sessionOf(c)
	if err == nil {
		x, err = s.Cancel(c, x.ID)
	}
	if err != nil {
		return dialect.Answer{}, err
	}
	return dialect.JSON(200, bodyOf(c, &x)), nil
}

func (s *Service) listSessions(c *dialect.Call) (dialect.Answer, error) {
	limit, after, err := pageOf(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	list, err := s.engine.Documents(c.Ctx, c.Key.Tenant, kindSession, limit, after)
	if err != nil {
		return dialect.Answer{}, err
	}
	answer := struct {
		Sessions []*sessionBody `json:"sessions"`
		Next     string         `json:"next,omitempty"`
	}{Sessions: []*sessionBody{}}
	for _, d := range list {
		x, err := decodeRecord(&d)
		if err != nil {
			return dialect.Answer{}, err
		}
		if !mayRead(c, &x.Session) {
			continue
		}
		now, err := s.asOfNow(c.Ctx, c.Key.Tenant, x)
		if err != nil {
			return dialect.Answer{}, err
		}
		answer.Sessions = append(answer.Sessions, bodyOf(c, &now))
	}
	if len(list) > 0 {
		more, err := s.engine.Documents(c.Ctx, c.Key.Tenant, kindSession, 1, list[len(list)-1].ID)
		if err != nil {
			return dialect.Answer{}, err
		}
		if len(more) > 0 {
			answer.Next = string(encode([]byte(list[len(list)-1].ID)))
		}
	}
	return dialect.JSON(200, answer), nil
}

// pageOf reads a page's limit, and the id that it begins behind.
func pageOf(c *dialect.Call) (limit int, after string, err error) {
	limit, cursor, err := c.Page()
	if err != nil {
		return 0, "", err
	}
	id, err := decode(cursor)
	if err != nil || len(id) > engine.MaxIDBytes {
		return 0, "", dialect.ErrCursor
	}
	return limit, string(id), nil
}
