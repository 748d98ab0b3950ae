package capture

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// Flow is what a session is for.
type Flow string

// The flows. The decision of each is in decide.go.
const (
	FlowEnroll   Flow = "enroll"
	FlowVerify   Flow = "verify"
	FlowIdentify Flow = "identify"
	FlowUpdate   Flow = "update"
	FlowLiveness Flow = "liveness"
)

// namesPerson reports whether a session of the flow says whom it is about.
func (f Flow) namesPerson() bool { return f == FlowEnroll || f == FlowVerify || f == FlowUpdate }

func (f Flow) known() bool { return f.namesPerson() || f == FlowIdentify || f == FlowLiveness }

// Status is how far a session is.
type Status string

// The statuses. The last three are ends.
const (
	StatusPending    Status = "pending" // nobody has opened the link
	StatusInProgress Status = "in_progress"
	StatusSuccess    Status = "success"
	StatusFail       Status = "fail"
	StatusExpired    Status = "expired"
)

// Reasons of a session that failed. They are never renamed or reused.
const (
	ReasonConflict          = "conflict"           // the face is somebody else's who is enrolled
	ReasonBelowThreshold    = "below_threshold"    // the face is not the person's
	ReasonNotEnrolled       = "not_enrolled"       // nobody of the id is enrolled, or not any more, or they are suspended
	ReasonAlreadyEnrolled   = "already_enrolled"   // somebody of the id is enrolled already
	ReasonNotFound          = "not_found"          // nobody is alike enough
	ReasonLivenessSpoof     = "liveness_spoof"     // the last try looked like an attack
	ReasonLivenessUncertain = "liveness_uncertain" // the last try could not be told from an attack
	ReasonCaptureFailed     = "capture_failed"     // the tries are used up without a good presentation
	ReasonCancelled         = "cancelled"          // by the person, or by whose session it is
	ReasonCameraUnavailable = "camera_unavailable" // the browser has none, or may not use it
)

// Session is one question that somebody answers with their face. It is kept as JSON.
type Session struct {
	ID     string `json:"id"`
	Owner  string `json:"owner,omitempty"` // "" is the native API
	Flow   Flow   `json:"flow"`
	Status Status `json:"status"`           // expired also where the end has come and nobody has noted it yet
	Reason string `json:"reason,omitempty"` // of a fail

	Gallery string `json:"gallery"`
	Person  string `json:"person,omitempty"` // whom it is about, or who was identified

	State       string `json:"state,omitempty"`
	RedirectURL string `json:"redirect_url,omitempty"`

	Score    *float64 `json:"score,omitempty"`    // as the maker's key may be told it
	EventID  string   `json:"event_id"`           // evt_ and a UUID of version 4
	Liveness string   `json:"liveness,omitempty"` // live, spoof or uncertain: of the try that ended the session

	Created   time.Time `json:"created"`
	Ends      time.Time `json:"ends"`
	Completed time.Time `json:"completed,omitzero"` // when it ended otherwise than by its time

	Tries        int  `json:"tries,omitempty"` // that failed
	MaxTries     int  `json:"max_tries"`
	Starts       int  `json:"starts,omitempty"`       // tries that were begun
	Alternatives int  `json:"alternatives,omitempty"` // challenges that were replaced by another
	Slower       bool `json:"slower,omitempty"`       // the person asked for more time

	Challenges []string `json:"challenges"` // kinds to choose from
	Steps      int      `json:"steps"`      // challenges of a try
	Flash      bool     `json:"flash,omitempty"`
	Title      string   `json:"title,omitempty"` // who asks, as the page says it

	Key    string        `json:"key"`              // id of the API key that made it
	Scores engine.Scores `json:"scores,omitempty"` // what that is told of scores
	Data   []byte        `json:"data,omitempty"`   // the owner's own
}

// over reports whether the session has ended otherwise than by its time.
func (x *Session) over() bool { return x.Status == StatusSuccess || x.Status == StatusFail }

// record is a session as it is kept.
type record struct {
	Session
	Token  digest    `json:"token"`            // of the link's
	Cookie *digest   `json:"cookie,omitempty"` // of the one browser's that opened the link
	Opened time.Time `json:"opened,omitzero"`
}

// digest is the SHA-256 of a secret of 32 random bytes.
type digest [sha256.Size]byte

func (d digest) MarshalText() ([]byte, error) { return encode(d[:]), nil }

func (d *digest) UnmarshalText(text []byte) error {
	b, err := decode(string(text))
	if err != nil || len(b) != len(d) {
		return errors.New("capture: a digest is not one")
	}
	copy(d[:], b)
	return nil
}

// keptAfterEnd is how long a session can be looked at when its time is over.
const keptAfterEnd = 24 * time.Hour

// statusAt is the session's status.
func (x *Session) statusAt(now time.Time) Status {
	if !x.over() && !now.Before(x.Ends) {
		return StatusExpired
	}
	return x.Status
}

// aboutSomebody reports whether the person of the session may be there: who is to be enrolled is not.
func (x *Session) aboutSomebody() bool {
	return x.Person != "" && (x.Flow != FlowEnroll || x.Status == StatusSuccess || x.Reason == ReasonAlreadyEnrolled)
}

// document is the session as it is kept; about says that its person is there.
func (x *record) document(about bool) (*engine.Document, error) {
	value, err := json.Marshal(x)
	d := &engine.Document{Value: value, Expires: x.Ends.Add(keptAfterEnd)}
	if about && x.aboutSomebody() {
		d.Gallery, d.Person = x.Gallery, x.Person
	}
	return d, err
}

func decodeRecord(d *engine.Document) (*record, error) {
	x := new(record)
	return x, json.Unmarshal(d.Value, x)
}

var errNoSession = &dialect.Refusal{Code: "session_not_found", Detail: "there is no session of this id, or not any more"}

// record reads a session. Errors: errNoSession, the engine's.
func (s *Service) record(ctx context.Context, tenant, id string) (*record, error) {
	d, err := s.engine.Document(ctx, tenant, kindSession, id)
	if errors.Is(err, engine.ErrDocumentNotFound) || errors.Is(err, engine.ErrID) {
		err = errNoSession
	}
	if err != nil {
		return nil, err
	}
	return decodeRecord(&d)
}

// Session returns a session as it is now. Errors: a *dialect.Refusal of session_not_found, the engine's.
func (s *Service) Session(ctx context.Context, tenant, id string) (Session, error) {
	x, err := s.record(ctx, tenant, id)
	if err != nil {
		return Session{}, err
	}
	return s.asOfNow(ctx, tenant, x)
}

// asOfNow is a session whose status says so if its end has come, or that of the key that made it.
func (s *Service) asOfNow(ctx context.Context, tenant string, x *record) (Session, error) {
	now := x.Session
	if now.over() || s.locks.held(tenant, x.ID) {
		return now, nil
	}
	revoked, err := s.isRevoked(ctx, tenant, x.Key)
	if now.Status = x.statusAt(s.engine.Now()); revoked {
		now.Status = StatusExpired
	}
	return now, err
}

// isRevoked reports whether the key that made a session has been revoked: who revokes a key has revoked what was made with it.
func (s *Service) isRevoked(ctx context.Context, tenant, key string) (bool, error) {
	maker, err := s.engine.Key(ctx, tenant, key)
	if errors.Is(err, engine.ErrKeyNotFound) {
		return true, nil
	}
	return err == nil && !maker.Revoked.IsZero(), err
}

// change changes a session in one write, which is recorded as audit with the note. Errors: errNoSession, f's, the engine's.
func (s *Service) change(ctx context.Context, tenant, id, audit, note string, f func(x *Session, now time.Time) error) (Session, error) {
	x, err := s.changeRecord(ctx, tenant, id, audit, note, func(x *record, now time.Time) error { return f(&x.Session, now) })
	if err != nil {
		return Session{}, err
	}
	return x.Session, nil
}

// changeRecord is change. A session whose person is not there is about nobody: ChangeDocument finds that out, and is then asked again.
func (s *Service) changeRecord(ctx context.Context, tenant, id, audit, note string, f func(x *record, now time.Time) error) (*record, error) {
	x, err := s.changeAbout(ctx, tenant, id, engine.DocumentOptions{Audit: audit, Note: note}, true, f)
	if errors.Is(err, engine.ErrPersonNotFound) || errors.Is(err, engine.ErrGalleryNotFound) {
		return s.changeAbout(ctx, tenant, id, engine.DocumentOptions{Audit: audit, Note: note}, false, f)
	}
	return x, err
}

func (s *Service) changeAbout(ctx context.Context, tenant, id string, o engine.DocumentOptions, about bool, f func(x *record, now time.Time) error) (*record, error) {
	var x *record
	_, err := s.engine.ChangeDocument(ctx, tenant, kindSession, id, o, func(old *engine.Document) (_ *engine.Document, err error) {
		if old == nil {
			return nil, errNoSession
		}
		if x, err = decodeRecord(old); err != nil {
			return nil, err
		}
		if err := f(x, s.engine.Now()); err != nil {
			return nil, err
		}
		return x.document(about)
	})
	if err != nil {
		return nil, err
	}
	return x, nil
}
