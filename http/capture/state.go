package capture

import (
	"math"
	"strconv"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// Operations of the page.
const (
	opPage   = "capturePage"
	opOpen   = "captureOpen"
	opState  = "captureState"
	opCancel = "captureCancel"
)

// stateBody is what the page is told of its session.
type stateBody struct {
	Status      Status `json:"status"` // of one that has ended otherwise than by its time: over
	Flow        Flow   `json:"flow"`
	Name        string `json:"name"`
	TriesLeft   int    `json:"tries_left"`
	SecondsLeft int    `json:"seconds_left"`
	Flash       bool   `json:"flash"`
	Redirect    string `json:"redirect"` // of a session that is over
}

func (s *Service) stateBody(x *Session) stateBody {
	b := stateBody{Status: x.Status, Flow: x.Flow, Name: x.Title, TriesLeft: max(x.MaxTries-x.Tries, 0), Flash: x.Flash}
	if x.over() {
		b.Status = statusOver
	}
	if x.over() || x.Status == StatusExpired {
		b.TriesLeft, b.Redirect = 0, x.redirect()
		return b
	}
	b.SecondsLeft = max(int(math.Ceil(x.Ends.Sub(s.engine.Now()).Seconds())), 0)
	return b
}

// statusOver is what the page is told in place of success and fail: the decision is the relying party's to tell.
const statusOver Status = "over"

func seconds(d time.Duration) string { return strconv.Itoa(max(int(math.Ceil(d.Seconds())), 0)) }

// open swaps the link's token for the browser's cookie, once: of requests at the same time one does, in the store's turn. The browser that
// has the cookie may open the link again.
func (s *Service) open(c *dialect.Call, v *visit) (dialect.Answer, error) {
	if err := takesNothing(c); err != nil {
		return dialect.Answer{}, err
	}
	if v.cookie {
		return dialect.Answer{}, errLinkUnknown // the token is what opens
	}
	if v.now.Status == StatusExpired {
		return dialect.Answer{}, errExpired
	}
	if held, ok := sumOf(cookieOf(c)); ok && v.session.Cookie != nil && held == *v.session.Cookie {
		return dialect.JSON(200, s.stateBody(&v.now)), nil
	}
	text, sum := newSecret()
	x, err := s.changeRecord(c.Ctx, c.Key.Tenant, v.session.ID, "capture.session.open", "", func(x *record, now time.Time) error {
		switch {
		case x.Cookie != nil: // also of a session that is over, where it says no more than that
			return errLinkUsed
		case x.over():
			return errOver(&x.Session)
		case x.statusAt(now) == StatusExpired:
			return errExpired
		}
		x.Cookie, x.Opened, x.Status = &sum, now, StatusInProgress
		return nil
	})
	if err != nil {
		return dialect.Answer{}, err
	}
	now := s.engine.Now()
	s.index.put(c.Key.Tenant, x, now)
	a := dialect.JSON(200, s.stateBody(&x.Session))
	a.Set("Set-Cookie", cookie(c, text, &x.Session, now))
	return a, nil
}

// takesNothing refuses a body that is not an empty object.
func takesNothing(c *dialect.Call) error {
	var none struct{}
	return c.DecodeNative(&none)
}

// state tells the browser with the cookie how its session is.
func (s *Service) state(_ *dialect.Call, v *visit) (dialect.Answer, error) {
	if !v.cookie {
		return dialect.Answer{}, errLinkUnknown
	}
	return dialect.JSON(200, s.stateBody(&v.now)), nil
}

// doneBody says that a session is over, whatever was decided.
type doneBody struct {
	Done     bool   `json:"done"`
	Redirect string `json:"redirect"`
}

// cancel ends the session for the person: they gave up, or have no camera.
func (s *Service) cancel(c *dialect.Call, x *Session) (dialect.Answer, error) {
	var spec struct {
		Reason *string `json:"reason"`
	}
	if err := c.DecodeNative(&spec); err != nil {
		return dialect.Answer{}, err
	}
	reason := ReasonCancelled
	dialect.Set(&reason, spec.Reason)
	if reason != ReasonCancelled && reason != ReasonCameraUnavailable {
		return dialect.Answer{}, dialect.BadRequest("the reason must be cancelled or camera_unavailable")
	}
	now, err := s.end(c.Ctx, c.Key.Tenant, x.ID, ending{status: StatusFail, reason: reason, audit: "capture.session.cancel"})
	return dialect.JSON(200, doneBody{true, now.redirect()}), err
}

// Dialect is the service as it is served.
func (s *Service) Dialect() *dialect.Dialect {
	admin := []engine.Role{engine.RoleAdmin}
	asking := []engine.Role{engine.RoleAdmin, engine.RoleEnroller, engine.RoleMatcher}
	reading := []engine.Role{engine.RoleAdmin, engine.RoleEnroller, engine.RoleMatcher, engine.RoleAuditor}
	auditing := []engine.Role{engine.RoleAdmin, engine.RoleAuditor}
	const sessions, settings = "/v1/sessions", "/v1/galleries/{gallery}/capture"
	routes := []dialect.Route{
		{Method: "POST", Pattern: sessions, Op: "createSession", Roles: asking, Handle: s.createSession},
		{Method: "GET", Pattern: sessions, Op: "listSessions", Roles: reading, Handle: s.listSessions},
		{Method: "GET", Pattern: sessions + "/{session}", Op: "getSession", Roles: reading, Handle: s.getSession},
		{Method: "DELETE", Pattern: sessions + "/{session}", Op: "cancelSession", Roles: asking, Handle: s.cancelSession},
		{Method: "GET", Pattern: settings, Op: "getCapture", Roles: auditing, Handle: s.getSettings},
		{Method: "PUT", Pattern: settings, Op: "putCapture", Roles: admin, Handle: s.putSettings},

		s.page("POST", "open", opOpen, s.open),
		s.page("GET", "session", opState, s.state),
		s.running("cancel", opCancel, s.cancel),
	}
	routes = append(routes, s.tryRoutes()...)
	return &dialect.Dialect{
		Name:         Name,
		Routes:       append(routes, pageRoutes()...),
		Under:        []string{"/capture"},
		Authenticate: s.authenticate,
		Refuse:       refuse,
		Finish:       finishAnswer,
		Run:          s.run,
	}
}
