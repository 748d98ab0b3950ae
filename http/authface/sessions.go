package authface

import (
	"context"
	"errors"
	"math"
	"strings"
	"time"

	"mien/engine"
	"mien/http/capture"
	"mien/http/dialect"
)

// flowRequest is the document's "Base Request Payload".
type flowRequest struct {
	ClientState    *string `json:"client_state"`
	RedirectURL    *string `json:"redirect_url"`
	ExternalUserID *string `json:"external_user_id"`
}

// startedBody is its "Session Response".
type startedBody struct {
	Success     bool   `json:"success"`
	ClientState string `json:"client_state"`
	BiometryURL string `json:"biometry_url"`
}

// begins is the operation that begins a session of a flow.
func (s *service) begins(flow capture.Flow) func(*dialect.Call) (dialect.Answer, error) {
	return func(c *dialect.Call) (dialect.Answer, error) {
		spec, err := specOf(c, flow)
		if err == nil {
			err = admits(c, flow)
		}
		if err != nil {
			return dialect.Answer{}, err
		}
		_, url, err := s.sessions.Create(c, spec)
		return dialect.JSON(200, startedBody{true, spec.State, url}), err
	}
}

// specOf is the session that a call asks for; who it is about is the call's person too. Errors: those of DecodeJSON, *dialect.FieldError.
func specOf(c *dialect.Call, flow capture.Flow) (capture.Spec, error) {
	var b flowRequest
	if err := c.DecodeJSON(&b); err != nil {
		return capture.Spec{}, err
	}
	state, err := clientState(b.ClientState)
	if err != nil {
		return capture.Spec{}, err
	}
	if b.RedirectURL == nil || *b.RedirectURL == "" {
		return capture.Spec{}, &dialect.FieldError{Field: "redirect_url", Want: "a URL of an origin that is registered"}
	}
	if flow != capture.FlowIdentify {
		if c.Person, err = userID(b.ExternalUserID); err != nil {
			return capture.Spec{}, err
		}
	}
	return capture.Spec{ID: sessionID(c.Gallery, state), Owner: Name, Flow: flow, Gallery: c.Gallery, Person: c.Person, State: state, RedirectURL: *b.RedirectURL}, nil
}

// clientState is a request's. Errors: *dialect.FieldError.
func clientState(s *string) (string, error) {
	if s == nil || !isUUIDv4(*s) {
		return "", &dialect.FieldError{Field: "client_state", Want: "a UUID of version 4, such as 550e8400-e29b-41d4-a716-446655440000"}
	}
	return *s, nil
}

// isUUIDv4 reports whether s is a UUID of version 4 (RFC 9562, 4 and 5.4) as text, in either case.
func isUUIDv4(s string) bool {
	if len(s) != 36 || s[14] != '4' || strings.IndexByte("89abAB", s[19]) < 0 {
		return false
	}
	for i := range len(s) {
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		if hyphen != (s[i] == '-') || !hyphen && strings.IndexByte("0123456789abcdefABCDEF", s[i]) < 0 {
			return false
		}
	}
	return true
}

// sessionID is that of the gallery's session of a client_state, in whichever case: there is one, whatever its flow.
func sessionID(gallery, state string) string {
	return Name + "." + gallery + "." + strings.ToLower(state)
}

// Refusals of sessions that could not succeed.
var (
	errUserExists    = &dialect.Refusal{Code: "person_exists", Detail: "a user of this external_user_id is enrolled already: verify them, or update their embedding"}
	errUserSuspended = &dialect.Refusal{Code: "person_suspended", Detail: "the user is suspended"}
)

// admits refuses a session whose person makes that it could not succeed: nobody should be sent to the camera for nothing. Whom it is
// about may come or go until its end, so the decision asks again. Errors: errUserExists, errUserSuspended, the engine's.
func admits(c *dialect.Call, flow capture.Flow) error {
	if flow == capture.FlowIdentify {
		return nil
	}
	p, err := c.Engine().Person(c.Ctx, c.Key.Tenant, c.Gallery, c.Person)
	if flow == capture.FlowEnroll {
		if errors.Is(err, engine.ErrPersonNotFound) {
			return nil
		}
		if err == nil {
			err = errUserExists
		}
		return err
	}
	if err == nil && p.Status == engine.StatusSuspended {
		err = errUserSuspended
	}
	return err
}

// stateBody is how the document's results begin.
type stateBody struct {
	Success bool   `json:"success"`
	State   string `json:"state"`
	Flow    string `json:"flow"`
	Status  string `json:"status"`
}

// pendingBody is the result of a session that is not over.
type pendingBody struct {
	stateBody
	ExternalUserID *string `json:"external_user_id"`
}

// overBody is the result of one that is.
type overBody struct {
	stateBody
	EventID        string   `json:"event_id"`
	Result         string   `json:"result"` // success or fail
	Reason         *string  `json:"reason"`
	ExternalUserID *string  `json:"external_user_id"`
	Score          *float64 `json:"score"`
	CompletedAt    string   `json:"completed_at"`
}

var errNoSession = &dialect.Refusal{Code: "session_not_found", Detail: "there is no session of this client_state, or not any more"}

func (s *service) result(c *dialect.Call) (dialect.Answer, error) {
	var b struct {
		ClientState *string `json:"client_state"`
	}
	if err := c.DecodeJSON(&b); err != nil {
		return dialect.Answer{}, err
	}
	state, err := clientState(b.ClientState)
	if err != nil {
		return dialect.Answer{}, err
	}
	id := sessionID(c.Gallery, state)
	x, err := s.sessions.Session(c.Ctx, c.Key.Tenant, id)
	if err != nil {
		return dialect.Answer{}, err
	}
	own, err := isMaker(c, x.Key)
	if err == nil && !own {
		err = errNoSession
	}
	if err != nil {
		return dialect.Answer{}, err
	}
	if err := s.polls.take(c.Key.Tenant, id, c.Start); err != nil {
		return dialect.Answer{}, err
	}
	c.Person = x.Person
	return dialect.JSON(200, resultOf(&x)), nil
}

// maxRotations is how many rotations of a key are followed: more than fit into a session's life.
const maxRotations = 16

// isMaker reports whether the call's key made a session, or is of the same line of rotations as the key that did: a client that rotates
// its key, at once or with an overlap, goes on. Errors: the engine's.
func isMaker(c *dialect.Call, maker string) (bool, error) {
	if maker == c.Key.ID {
		return true, nil
	}
	later, err := rotatedTo(c.Ctx, c, maker, c.Key.ID)
	if later || err != nil {
		return later, err
	}
	return rotatedTo(c.Ctx, c, c.Key.ID, maker)
}

func rotatedTo(ctx context.Context, c *dialect.Call, from, to string) (bool, error) {
	for range maxRotations {
		k, err := c.Engine().Key(ctx, c.Key.Tenant, from)
		if errors.Is(err, engine.ErrKeyNotFound) {
			return false, nil
		}
		if err != nil || k.RotatedTo == to || k.RotatedTo == "" {
			return err == nil && k.RotatedTo == to, err
		}
		from = k.RotatedTo
	}
	return false, nil
}

// flowNames are the document's.
var flowNames = map[capture.Flow]string{
	capture.FlowEnroll: "enroll", capture.FlowVerify: "verify", capture.FlowIdentify: "identify", capture.FlowUpdate: "update_embedding",
}

// reasonExpired is of a session that nobody completed in its time; the others are capture's.
const reasonExpired = "expired"

// resultOf is a session as the document shows it.
func resultOf(x *capture.Session) any {
	state := stateBody{true, x.State, flowNames[x.Flow], string(x.Status)}
	user := &x.Person
	if x.Flow == capture.FlowIdentify && x.Status != capture.StatusSuccess {
		user = nil
	}
	if x.Status == capture.StatusPending || x.Status == capture.StatusInProgress {
		return pendingBody{state, user}
	}
	over := overBody{stateBody: state, EventID: x.EventID, Result: "fail", ExternalUserID: user, Score: scoreOf(x.Score), CompletedAt: stamp(x.Completed)}
	switch x.Status {
	case capture.StatusSuccess:
		over.Result = "success"
	case capture.StatusExpired:
		over.Reason, over.CompletedAt = new(reasonExpired), stamp(x.Ends)
	default:
		over.Reason = new(x.Reason)
	}
	return over
}

// scoreOf is a score to five decimals, as the document's examples have it: cut, so that none is shown as the threshold that it missed.
func scoreOf(similarity *float64) *float64 {
	if similarity == nil {
		return nil
	}
	return new(math.Floor(*similarity*1e5+1e-6) / 1e5) // what is two decimals stays so
}

// timeLayout is as in 2026-01-15 12:45:39.
const timeLayout = "2006-01-02 15:04:05"

func stamp(t time.Time) string { return t.UTC().Format(timeLayout) }
