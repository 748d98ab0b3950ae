package capture

import (
	"context"
	"crypto/sha256"
	"errors"
	"math"

	"mien/engine"
	"mien/http/dialect"
)

// decide answers the session's question: as its owner does, else as its flow says, by one call of the engine that decides. A session may be decided about again
// whose answer was lost.
func (s *Service) decide(c *dialect.Call, x Session, best dialect.Photo) (o Outcome, err error) {
	c.Person = x.Person
	if decide := s.owner(x.Owner).Decide; decide != nil {
		return decide(c, x, best)
	}
	by := map[Flow]func(*dialect.Call, Session, dialect.Photo) (Outcome, error){
		FlowEnroll: s.enroll, FlowVerify: s.verify, FlowIdentify: s.identify, FlowUpdate: s.update,
		FlowLiveness: func(*dialect.Call, Session, dialect.Photo) (Outcome, error) { return Outcome{Result: true}, nil },
	}[x.Flow]
	err = c.Steadily(func() error { o, err = by(c, x, best); return err })
	return o, err
}

func failed(reason string) Outcome { return Outcome{Reason: reason} }

// told is a similarity as the maker of a session may be told it; nil: not at all.
func told(x *Session, similarity float64) *float64 {
	switch x.Scores {
	case engine.ScoresDecision:
		return nil
	case engine.ScoresRounded:
		similarity = math.Round(100*similarity) / 100
	}
	return &similarity
}

// enroll enrols somebody new, unless anybody of the gallery is alike: the search for those and the write are one (engine, D1 to D6).
func (s *Service) enroll(c *dialect.Call, x Session, best dialect.Photo) (Outcome, error) {
	best.Enrols = true
	templates, err := c.Templates(best)
	if err != nil {
		return Outcome{}, err
	}
	spec := engine.PersonSpec{Templates: templates, EnrolOptions: engine.EnrolOptions{Duplicates: engine.DuplicatesReject},
		WriteOptions: engine.WriteOptions{If: engine.Condition{Absent: true}}}
	o, err := s.putOnce(c, &x, spec)
	if errors.Is(err, engine.ErrVersion) {
		return failed(ReasonAlreadyEnrolled), nil
	}
	return o, err
}

// verify asks whether the face is the person's.
func (s *Service) verify(c *dialect.Call, x Session, best dialect.Photo) (Outcome, error) {
	templates, err := c.Templates(best)
	if err != nil {
		return Outcome{}, err
	}
	return s.compare(c, &x, templates[0])
}

func (s *Service) compare(c *dialect.Call, x *Session, probe engine.Template) (Outcome, error) {
	d, err := s.engine.Verify(c.Ctx, c.Key.Tenant, x.Gallery, x.Person, probe, engine.Policy{})
	switch {
	case errors.Is(err, engine.ErrPersonNotFound) || errors.Is(err, engine.ErrSuspended):
		return failed(ReasonNotEnrolled), nil
	case err != nil:
		return Outcome{}, err
	}
	o := Outcome{Result: d.Match, Score: told(x, d.Similarity)}
	if !d.Match {
		o.Reason = ReasonBelowThreshold
	}
	return o, nil
}

// identify asks whose face it is.
func (s *Service) identify(c *dialect.Call, x Session, best dialect.Photo) (Outcome, error) {
	templates, err := c.Templates(best)
	if err != nil {
		return Outcome{}, err
	}
	found, err := s.engine.Identify(c.Ctx, c.Key.Tenant, x.Gallery, templates[0], engine.IdentifyOptions{TopK: 1})
	if err != nil {
		return Outcome{}, err
	}
	if len(found.Candidates) == 0 {
		return failed(ReasonNotFound), nil
	}
	who := found.Candidates[0]
	return Outcome{Result: true, Person: who.Person, Score: told(&x, who.Similarity)}, nil
}

// maxUpdates is how often an update is tried anew because the person was changed meanwhile.
const maxUpdates = 3

// update replaces the templates of the person whose face it is, unless anybody else of the gallery is alike too. What is known of those that are
// replaced is kept as the gallery's History says.
func (s *Service) update(c *dialect.Call, x Session, best dialect.Photo) (Outcome, error) {
	enrols := best
	enrols.Enrols = true
	templates, err := c.Templates(best, enrols)
	if err != nil {
		return Outcome{}, err
	}
	if done, err := s.wasDone(c.Ctx, c.Key.Tenant, &x); done || err != nil {
		return Outcome{Result: done}, err
	}
	for try := 1; ; try++ {
		o, err := s.updateOnce(c, &x, templates[0], templates[1:])
		if !errors.Is(err, engine.ErrVersion) || try == maxUpdates {
			return o, err
		}
	}
}

// updateOnce compares and replaces. The person is read before they are compared, so that who is replaced is who the face was compared with. Errors: engine.ErrVersion
// if they were changed meanwhile, the engine's.
func (s *Service) updateOnce(c *dialect.Call, x *Session, probe engine.Template, templates []engine.Template) (Outcome, error) {
	p, err := s.engine.Person(c.Ctx, c.Key.Tenant, x.Gallery, x.Person)
	if errors.Is(err, engine.ErrPersonNotFound) {
		return failed(ReasonNotEnrolled), nil
	}
	if err != nil {
		return Outcome{}, err
	}
	same, err := s.compare(c, x, probe)
	if err != nil || !same.Result {
		return same, err
	}
	o, err := s.replace(c, x, &p, templates)
	if o.Result {
		o.Score = same.Score
	}
	return o, err
}

// replace replaces the templates of the person as they were read, and nothing else of what is known of them. Errors: engine.ErrVersion, the engine's.
func (s *Service) replace(c *dialect.Call, x *Session, p *engine.Person, templates []engine.Template) (Outcome, error) {
	return s.putOnce(c, x, engine.PersonSpec{Templates: templates, Metadata: p.Metadata, Retention: p.Retention,
		EnrolOptions: engine.EnrolOptions{Duplicates: engine.DuplicatesReject}, WriteOptions: engine.WriteOptions{If: engine.Condition{Versions: []uint64{p.Version}}}})
}

// onceOf is the session's one write of a person, as the engine remembers it: in the same batch (engine, "Requests that come again").
func onceOf(tenant string, x *Session) engine.OnceRequest {
	return engine.OnceRequest{Tenant: tenant, Key: Name, Name: x.EventID, Content: sha256.Sum256([]byte(x.ID + "\x00" + string(x.Flow)))}
}

// putOnce writes the session's person, unless it has done so already, without the photo: the page has said that it is not kept, whatever the
// gallery keeps of others. Errors: engine.ErrVersion, the engine's.
func (s *Service) putOnce(c *dialect.Call, x *Session, spec engine.PersonSpec) (Outcome, error) {
	for _, t := range spec.Templates {
		if t.Photo != nil {
			t.Photo.Image = nil
		}
	}
	once, done, err := s.engine.BeginOnce(c.Ctx, onceOf(c.Key.Tenant, x))
	switch {
	case errors.Is(err, engine.ErrOnceGone): // who was written was deleted since
		return failed(ReasonNotEnrolled), nil
	case err != nil || done != nil:
		return Outcome{Result: done != nil}, err
	}
	defer once.End()
	ctx := once.Context(c.Ctx, func(any, bool) ([]byte, error) { return []byte{1}, nil })
	_, _, err = s.engine.PutPerson(ctx, c.Key.Tenant, x.Gallery, x.Person, spec)
	if alike, ok := errors.AsType[*engine.DuplicateError](err); ok && len(alike.People) > 0 {
		return Outcome{Reason: ReasonConflict, Score: told(x, alike.People[0].Similarity)}, nil
	}
	if errors.Is(err, engine.ErrPersonNotFound) { // replaced by nobody meanwhile
		return failed(ReasonNotEnrolled), nil
	}
	return Outcome{Result: err == nil}, err
}

// wasDone reports whether the engine has written the session's person.
func (s *Service) wasDone(ctx context.Context, tenant string, x *Session) (bool, error) {
	if x.Flow != FlowEnroll && x.Flow != FlowUpdate {
		return false, nil
	}
	once, done, err := s.engine.BeginOnce(ctx, onceOf(tenant, x))
	if once != nil {
		once.End()
	}
	if errors.Is(err, engine.ErrOnceGone) || errors.Is(err, engine.ErrOnceRunning) {
		return false, nil
	}
	return done != nil, err
}
