package capture

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mien/engine"
	"mien/http/dialect"
)

// Limits of sessions.
const (
	DefaultLifetime = 10 * time.Minute
	MaxLifetime     = time.Hour
	minLifetime     = time.Second

	maxStateBytes    = 512
	maxRedirectBytes = 2048
	maxDataBytes     = 4 << 10
	defaultSteps     = 2
	maxSteps         = 4

	// maxSessions is how many documents of sessions a tenant may have: half of all that it may have, so that those of other APIs have
	// the other half.
	maxSessions = engine.MaxDocuments / 2
	// sessionReserve is how many of a tenant's documents a new session leaves, for what those that are there end with.
	sessionReserve = engine.MaxDocuments / 100
)

// Spec is what a session is to be.
type Spec struct {
	ID      string // "": a random one. One that a session has is refused, for as long as that is kept
	Owner   string // as Handle was told it; "" is the native API
	Flow    Flow
	Gallery string
	Person  string // of enroll, verify and update, and of no other
	// The browser goes to RedirectURL with client_state=State at the end; with "" the page says that it can be closed. The gallery's settings
	// must have its origin.
	RedirectURL, State string
	Lifetime           time.Duration // 0 is DefaultLifetime; at most MaxLifetime
	Challenges         []string      // kinds to choose from; nil: the gallery's
	Steps              int           // challenges of a try, 1 to 4; 0: the gallery's
	Data               []byte        // the owner's own, up to 4 KiB
}

func (spec *Spec) validate() error {
	switch {
	case !spec.Flow.known():
		return dialect.BadRequest("the flow %.32q is unknown: use enroll, verify, identify, update or liveness", string(spec.Flow))
	case spec.Flow.namesPerson() != (spec.Person != ""):
		return dialect.BadRequest("a person goes with the flows enroll, verify and update, and with no other")
	case spec.Lifetime < minLifetime || spec.Lifetime > MaxLifetime:
		return dialect.BadRequest("a session lives from 1 to %d seconds", int(MaxLifetime.Seconds()))
	case len(spec.State) > maxStateBytes || !isLine(spec.State):
		return dialect.BadRequest("the state is not acceptable: use up to %d bytes of UTF-8 without control characters", maxStateBytes)
	case len(spec.Data) > maxDataBytes:
		return dialect.BadRequest("the owner's data has %d bytes: the most is %d", len(spec.Data), maxDataBytes)
	}
	return nil
}

// isLine reports whether s can be shown as a line of text.
func isLine(s string) bool { return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl) }

var errExists = &dialect.Refusal{Code: "session_exists", Detail: "there is a session of this id already, which is good once: make one of another"}

// Create makes a session of the call's tenant and answers it and its link, which is told this once. The engine's record names the call's key
// as its maker: whoever revokes that key has ended the session. Errors: a *dialect.Refusal of bad_request, session_exists, redirect_not_allowed or
// documents_full; engine.ErrGalleryNotFound, ErrID, ErrDocumentsFull, and those of every write.
func (s *Service) Create(c *dialect.Call, spec Spec) (Session, string, error) {
	if spec.Lifetime == 0 {
		spec.Lifetime = DefaultLifetime
	}
	if err := spec.validate(); err != nil {
		return Session{}, "", err
	}
	set, err := s.settings(c.Ctx, c.Key.Tenant, spec.Gallery)
	if err == nil {
		err = s.checkPerson(c.Ctx, c.Key.Tenant, &spec)
	}
	if err != nil {
		return Session{}, "", err
	}
	if err := set.allows(spec.RedirectURL); err != nil {
		return Session{}, "", err
	}
	x, text, err := newRecord(c, spec, set, s.engine.Now())
	if err != nil {
		return Session{}, "", err
	}
	if err := s.keep(c.Ctx, c.Key.Tenant, x); err != nil {
		return Session{}, "", err
	}
	return x.Session, c.BaseURL() + "/capture/?t=" + text, nil
}

// checkPerson refuses what can be nobody's id. Whether anybody of the id is there is told by the decision.
func (s *Service) checkPerson(ctx context.Context, tenant string, spec *Spec) error {
	if spec.Person == "" {
		return nil
	}
	_, err := s.engine.Person(ctx, tenant, spec.Gallery, spec.Person)
	if errors.Is(err, engine.ErrPersonNotFound) {
		return nil
	}
	return err
}

// newRecord is a session to be kept, and its link's token.
func newRecord(c *dialect.Call, spec Spec, set settings, now time.Time) (*record, string, error) {
	challenges, err := set.challengesOf(spec.Challenges)
	if err != nil {
		return nil, "", err
	}
	if spec.Steps == 0 {
		spec.Steps = set.Steps
	}
	if spec.Steps < 1 || spec.Steps > maxSteps {
		return nil, "", dialect.BadRequest("a try has from 1 to %d challenges", maxSteps)
	}
	text, sum := newSecret()
	x := &record{Token: sum, Session: Session{ID: spec.ID, Owner: spec.Owner, Flow: spec.Flow, Status: StatusPending, Gallery: spec.Gallery, Person: spec.Person,
		State: spec.State, RedirectURL: spec.RedirectURL, EventID: "evt_" + newUUID(), Created: now, Ends: now.Add(spec.Lifetime), MaxTries: set.Tries,
		Challenges: challenges, Steps: spec.Steps, Flash: set.Flash, Title: set.Name, Key: c.Key.ID, Scores: c.Key.Scores, Data: spec.Data}}
	if x.ID == "" {
		x.ID = newID()
	}
	return x, text, nil
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// newUUID is a UUID of version 4 (RFC 9562, 5.4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// keep writes a new session. Errors: errExists, engine.ErrDocumentsFull and those of every write.
func (s *Service) keep(ctx context.Context, tenant string, x *record) error {
	if s.index.full(tenant, s.engine.Now()) {
		return &dialect.Refusal{Code: "documents_full", Detail: fmt.Sprintf("the tenant has %d sessions, the most there may be: wait until some expire, a day after their end", maxSessions)}
	}
	write := func(about bool) error {
		o := engine.DocumentOptions{Audit: "capture.session.create", Note: string(x.Flow), Reserve: sessionReserve}
		_, err := s.engine.ChangeDocument(ctx, tenant, kindSession, x.ID, o, func(old *engine.Document) (*engine.Document, error) {
			if old != nil {
				return nil, errExists
			}
			return x.document(about)
		})
		return err
	}
	err := write(true)
	if errors.Is(err, engine.ErrPersonNotFound) {
		err = write(false)
	}
	if err == nil {
		s.index.put(tenant, x, s.engine.Now())
	}
	return err
}

// Cancel ends a session that has not ended, with the reason cancelled; one that is being decided is waited for, and one that is over is answered
// as it is. Errors: a *dialect.Refusal of session_not_found, the engine's.
func (s *Service) Cancel(c *dialect.Call, id string) (Session, error) {
	return s.end(c.Ctx, c.Key.Tenant, id, ending{status: StatusFail, reason: ReasonCancelled, audit: "capture.session.cancel"})
}

// redirect is where the browser goes at a session's end, "" for nowhere. What the URL's query has stays as it is.
func (x *Session) redirect() string {
	if x.RedirectURL == "" || x.State == "" {
		return x.RedirectURL
	}
	glue := "?"
	if strings.Contains(x.RedirectURL, "?") {
		glue = "&"
	}
	return x.RedirectURL + glue + "client_state=" + url.QueryEscape(x.State)
}
