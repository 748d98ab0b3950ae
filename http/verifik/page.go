package verifik

import (
	"context"
	"errors"
	"strings"
	"time"

	"mien/engine"
	"mien/extract"
	"mien/http/capture"
	"mien/http/dialect"
)

// The capture page is another way into a session than its token: doc.go, The capture page.

// link is that of a session's page.
type link struct {
	redirect, state string

	url  string // "": there is none
	ends time.Time
}

// linkID is the id of the capture session that a session's link is of.
func (x *session) linkID() string { return Name + "." + x.documentID() }

// makeLink makes the link of a session that is about to begin, for as long as that lives, but no longer than links do. Where the project's gallery is gone
// there is none: such a session can identify nobody. Errors: those of capture.Service.Create.
func (s *service) makeLink(c *dialect.Call, p *project, x *session, l *link) error {
	if s.links == nil {
		return nil
	}
	made, url, err := s.links.Create(c, capture.Spec{ID: x.linkID(), Owner: Name, Flow: capture.FlowIdentify, Gallery: p.Gallery, RedirectURL: l.redirect, State: l.state,
		Lifetime: min(max(x.Ends.Sub(x.Created), time.Second), capture.MaxLifetime), Data: []byte(x.documentID())})
	if errors.Is(err, engine.ErrGalleryNotFound) {
		return nil
	}
	l.url, l.ends = url, made.Ends
	return err
}

// endLink ends a session's link, if it has not ended. Where that can't be written the session is over all the same, which the page is told at its decision.
// REQUIRES: the page is not deciding in this request.
func (s *service) endLink(c *dialect.Call, x *session) {
	if s.links == nil {
		return
	}
	_, err := s.links.Cancel(c, x.linkID())
	if _, gone := errors.AsType[*dialect.Refusal](err); err != nil && !gone {
		s.log.Error("the link of a session that is over can't be ended", "error", err)
	}
}

// sessionOfPage is the session, with its project, that a capture session is of. Errors: *dialect.Refusal of one that is gone, the engine's.
func (s *service) sessionOfPage(ctx context.Context, tenant string, x *capture.Session) (*project, *session, error) {
	project, id, _ := strings.Cut(string(x.Data), ".")
	p, _, err := s.project(ctx, tenant, project)
	if err != nil {
		return nil, nil, err
	}
	own, err := s.session(ctx, tenant, project, id)
	return p, own, err
}

// decidePage decides, as validate does, by the photo that the page found best: it takes an attempt, asks the engine, and settles the session. What it decides is final.
// It implements capture.Owner.Decide.
func (s *service) decidePage(c *dialect.Call, x capture.Session, best dialect.Photo) (capture.Outcome, error) {
	p, own, err := s.sessionOfPage(c.Ctx, c.Key.Tenant, &x)
	if err == nil && p.Gallery != x.Gallery { // the project is of other people since
		err = errNoSession
	}
	a := &attempt{s: s, c: c, project: p}
	if err == nil {
		err = a.decideAgain(own, best)
	}
	_, over := errors.AsType[*dialect.Refusal](err)
	switch {
	case err == nil:
		return capture.Outcome{Result: true, Person: a.person.ID}, nil
	case err == errNobody:
		return capture.Outcome{Reason: capture.ReasonNotFound}, nil
	case over || errors.Is(err, engine.ErrKeyExpired):
		return capture.Outcome{Reason: capture.ReasonCancelled}, nil
	case isLiveness(err) && a.session != nil && a.session.Status == statusCancelled: // the attempts are used up
		return capture.Outcome{Reason: capture.ReasonLivenessUncertain}, nil
	}
	return capture.Outcome{}, err
}

// decideAgain is decide for a photo of the page; of a session that is completed it is repeat. Errors: theirs, those of photos.
func (a *attempt) decideAgain(x *session, best dialect.Photo) error {
	a.id, best.Gate = x.ID, engine.Gate{extract.LivenessMeasure: 100 * a.project.MinLiveness}
	return a.c.Steadily(func() error {
		photos, err := a.c.Templates(best)
		if err != nil {
			return err
		}
		if x.Status == statusCompleted {
			return a.repeat(photos[0], x)
		}
		return a.decide(photos[0])
	})
}

// repeat decides about a session that is completed: a crash kept the page from saying so, or it was completed by its token. It is the page's only if the face is that of
// whom it identified. Errors: errNobody, errCompleted, the engine's.
func (a *attempt) repeat(photo engine.Template, x *session) error {
	if err := a.identify(photo); err != nil {
		return err
	}
	if a.person.ID != x.Person {
		return errCompleted
	}
	return nil
}

// pageEnded has a session end with its page: who gave up, was not live, or is nobody has ended it. It implements capture.Owner.Ended.
func (s *service) pageEnded(ctx context.Context, tenant string, x capture.Session) {
	if x.Status != capture.StatusFail {
		return // a success is settled, and what is past its end is past ours
	}
	p, own, err := s.sessionOfPage(ctx, tenant, &x)
	if err != nil || own.Status != statusActive {
		return
	}
	_, err = s.changeSession(ctx, tenant, p, own.ID, "verifik.session.end", func(own *session, _ time.Time) ([]string, error) {
		if own.Status != statusActive {
			return nil, errCancelled
		}
		own.Status = statusCancelled
		switch x.Reason {
		case capture.ReasonCancelled, capture.ReasonCameraUnavailable:
			return nil, nil
		case capture.ReasonNotFound: // which has been counted
			return []string{eventFailed}, nil
		case capture.ReasonLivenessSpoof, capture.ReasonLivenessUncertain:
			own.Failed++
			return []string{eventLivenessScore, eventFailed}, nil
		}
		own.Failed++
		return []string{eventFailed}, nil
	})
	if _, over := errors.AsType[*dialect.Refusal](err); err != nil && !over {
		s.log.Error("a session whose page has ended can't be ended", "error", err)
	}
}

// answerOf is what validate answers about a session that is completed; nil where whom it identified is gone. Whoever asks again is answered the same login anew.
func (s *service) answerOf(c *dialect.Call, x *session) (*validation, error) {
	p, _, err := s.project(c.Ctx, c.Key.Tenant, x.Project)
	if err != nil {
		return nil, err
	}
	person, err := s.engine.Person(c.Ctx, c.Key.Tenant, x.Gallery, x.Person)
	if errors.Is(err, engine.ErrPersonNotFound) || errors.Is(err, engine.ErrGalleryNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return (&attempt{s: s, c: c, project: p, id: x.ID, session: x, person: person}).answer()
}
