package http

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"mien/engine"
	"mien/engine/mpc"
	"mien/http/dialect"
)

// Decentralised is matching on shares that three parties hold (engine/mpc). A gallery's people there are others than those of the
// engine: who is enrolled here has no template there, and the other way round; names, keys, gates and the audit log are one.
type Decentralised struct {
	Gateway *mpc.Gateway // not closed by the server
	// Policies names the policy of each embedding space. A gallery of a space without one has no decentralised people.
	Policies map[string]uint16

	hook func(step string) // of tests
}

func (d *Decentralised) step(name string) {
	if d.hook != nil {
		d.hook(name)
	}
}

// apart is the people of a gallery whose templates nobody holds.
type apart struct {
	s       *Server
	ctx     context.Context
	tenant  string // of the key
	gallery string
	person  string // "": nobody in particular
	policy  uint16
	space   string
	request func() mpc.Request // by which it is known when it comes again
}

// group is the gallery as parties' records have it: neither name can hold a slash.
func (a *apart) group() string { return a.tenant + "/" + a.gallery }

// apart looks a gallery up. Errors: engine.ErrID, engine.ErrGalleryNotFound, the problem decentralised_unconfigured.
func (r *request) apart(gallery, person string) (*apart, error) {
	g, err := r.server.engine.Gallery(r.ctx, r.key.Tenant, gallery)
	if err == nil && person != "" {
		err = r.server.engine.CheckPerson(r.ctx, r.key.Tenant, gallery, person)
	}
	if err != nil {
		return nil, err
	}
	d := r.server.cfg.Decentralised
	if d == nil {
		return nil, fail(codeDecentralisedUnconfigured, "this server has no parties: its operator starts it with --parties, or use the gallery's own people")
	}
	policy, known := d.Policies[g.Space]
	if !known {
		return nil, fail(codeDecentralisedUnconfigured, "the parties have no policy for embedding space %q", g.Space)
	}
	return &apart{r.server, r.ctx, r.key.Tenant, gallery, person, policy, g.Space, r.again}, nil
}

// again is by what the request is known when it comes again. REQUIRES, the first time: the body was read, if there is one, and not decoded, which wipes it.
func (r *request) again() mpc.Request {
	if r.asked.Content == [32]byte{} {
		content := r.digest()
		r.asked.Content = sha256.Sum256(append([]byte(r.key.ID+"\x00"), content[:]...))
		if r.name != "" {
			r.asked.Name = sha256.Sum256([]byte(r.key.ID + "\x00" + r.name))
		}
	}
	return r.asked
}

func (a *apart) gateway() *mpc.Gateway { return a.s.cfg.Decentralised.Gateway }

// Enrolled implements dialect.Decentralised. Who was enrolled by a request like this one, whose caller was not told, is not there yet: Enrol tells it.
func (a *apart) Enrolled() (bool, error) {
	enrolled, err := a.gateway().Enrolled(a.group(), a.person)
	if err != nil || !enrolled {
		return false, err
	}
	owed, err := a.gateway().Owes(a.group(), a.person, a.request())
	return !owed, err
}

// Verify implements dialect.Decentralised.
func (a *apart) Verify(probe engine.Template) (bool, error) { return a.verify(asked{Template: probe}) }

func (a *apart) verify(q asked) (bool, error) {
	match, err := a.compare(q)
	if err != nil {
		return false, inWords(err)
	}
	return match, a.decided(engine.AuditDecentralisedVerify, match)
}

func (a *apart) compare(q asked) (bool, error) {
	if q.sealed != nil {
		return a.gateway().VerifySealed(a.ctx, a.group(), a.person, a.policy, *q.sealed)
	}
	v, err := a.s.engine.Vector(a.ctx, a.tenant, a.gallery, q.Template, false)
	if err != nil {
		return false, err
	}
	defer clear(v)
	return a.gateway().Verify(a.ctx, a.group(), a.person, a.policy, v)
}

// Enrol implements dialect.Decentralised.
func (a *apart) Enrol(t engine.Template) error {
	_, err := a.enrol(asked{Template: t}, false)
	return err
}

func (a *apart) enrol(q asked, replace bool) (mpc.Enrolled, error) {
	with := mpc.Enrolment{Policy: a.policy, Sealed: q.sealed, Replace: replace, Request: a.request()}
	if q.sealed == nil {
		v, err := a.s.engine.Vector(a.ctx, a.tenant, a.gallery, q.Template, true)
		if err != nil {
			return mpc.Enrolled{}, err
		}
		defer clear(v)
		with.Template = v
	}
	give, err := a.beginEnrol()
	if err != nil {
		return mpc.Enrolled{}, err
	}
	defer give()
	e, err := a.gateway().Enrol(a.ctx, a.group(), a.person, with)
	if err != nil && !errors.Is(err, mpc.ErrUnfinished) || e.Told {
		return e, inWords(err)
	}
	a.s.cfg.Decentralised.step("enrolled")
	// It is decided, whether all parties have carried it out or not.
	return e, cmp.Or(a.record(engine.AuditDecentralisedPut, engine.AuditDone), err)
}

// beginEnrol makes sure that the gallery is there, and stays until give: what is decided at the parties before goes with it (D3). Errors:
// engine.ErrGalleryNotFound, ctx's.
func (a *apart) beginEnrol() (give func(), err error) {
	if give, err = a.s.enrolments.share(a.ctx, a.tenant); err != nil {
		return nil, err
	}
	if _, err := a.s.engine.Gallery(a.ctx, a.tenant, a.gallery); err != nil {
		give()
		return nil, err
	}
	return give, nil
}

// Delete implements dialect.Decentralised.
func (a *apart) Delete() error {
	_, err := a.erase()
	return err
}

func (a *apart) erase() (mpc.Erased, error) {
	e, err := a.gateway().DeleteBy(a.ctx, a.group(), a.person, a.request())
	if err == nil && e.Pending > 1 { // asked again
		err = mpc.ErrUnfinished
	}
	if err != nil && !errors.Is(err, mpc.ErrUnfinished) {
		return e, inWords(err)
	}
	// It is decided, whether the parties have carried it out or not.
	return e, cmp.Or(a.record(engine.AuditDecentralisedDelete, engine.AuditDone), err)
}

// identify finds who matches; their order means nothing.
func (a *apart) identify(q asked) ([]string, error) {
	p, _ := a.gateway().Policy(a.policy)
	if p.Gallery == 0 {
		return nil, fail(codeDecentralisedUnconfigured, "the parties' policy of the gallery's embedding space has none for identification")
	}
	people, err := a.search(q, p.Gallery)
	if err != nil {
		return nil, inWords(err)
	}
	slices.Sort(people)
	b := engine.Beside{Op: engine.AuditDecentralisedIdentify, Gallery: a.gallery, Outcome: engine.AuditNoMatch, Search: true, Found: people}
	if len(people) > 0 {
		b.Outcome = engine.AuditMatch
	}
	return people, a.s.engine.AuditBeside(a.ctx, a.tenant, b)
}

func (a *apart) search(q asked, policy uint16) ([]string, error) {
	if q.sealed != nil {
		return a.gateway().IdentifySealed(a.ctx, a.group(), policy, *q.sealed)
	}
	v, err := a.s.engine.Vector(a.ctx, a.tenant, a.gallery, q.Template, false)
	if err != nil {
		return nil, err
	}
	defer clear(v)
	return a.gateway().Identify(a.ctx, a.group(), policy, v)
}

func (a *apart) decided(op string, match bool) error {
	if match {
		return a.record(op, engine.AuditMatch)
	}
	return a.record(op, engine.AuditNoMatch)
}

// recordTimeout is what the log may take, beside the request's own time.
const recordTimeout = 5 * time.Second

// record puts what was done or decided on the audit log, before it is told. It is there also where nobody waits for the answer any more.
func (a *apart) record(op, outcome string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), recordTimeout)
	defer cancel()
	return a.s.engine.AuditBeside(ctx, a.tenant, engine.Beside{Op: op, Gallery: a.gallery, Person: a.person, Outcome: outcome})
}

// inWords says in the engine's words what it has words for.
func inWords(err error) error {
	switch {
	case errors.Is(err, mpc.ErrUnknown):
		return fmt.Errorf("%w: %w", engine.ErrPersonNotFound, err)
	case errors.Is(err, mpc.ErrExists):
		return fmt.Errorf("%w: %w", engine.ErrPersonExists, err)
	}
	return err
}

// Decentralised implements dialect.Server.
func (s dialectServer) Decentralised() (dialect.Decentralised, error) {
	a, err := s.r.apart(s.r.spoken.Gallery, s.r.spoken.Person)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// apartBody is the answer of a decentralised verification: there is no score.
type apartBody struct {
	Match bool      `json:"match"`
	Face  *faceBody `json:"face,omitempty"` // of the photo that was sent
}

func (s *Server) decentralisedVerify(r *request) (reply, error) {
	return r.withApart(false, func(a *apart, q asked, face *faceBody) (reply, error) {
		match, err := a.verify(q)
		return reply{status: 200, value: apartBody{match, face}}, err
	})
}

// apartPeople is the answer of a decentralised search: ids in order, since there is no score.
type apartPeople struct {
	People []string  `json:"people"`
	Face   *faceBody `json:"face,omitempty"`
}

func (s *Server) decentralisedIdentify(r *request) (reply, error) {
	return r.withApart(false, func(a *apart, q asked, face *faceBody) (reply, error) {
		people, err := a.identify(q)
		return reply{status: 200, value: apartPeople{orEmpty(people), face}}, err
	})
}

// apartEnrolled is who was enrolled with the parties.
type apartEnrolled struct {
	ID         string    `json:"id"`
	Generation uint32    `json:"generation"` // counts the person's templates
	Template   mpc.ID    `json:"template"`   // names the template in receipts
	Enrolled   string    `json:"enrolled"`
	Face       *faceBody `json:"face,omitempty"`
}

func (s *Server) decentralisedEnrol(r *request) (reply, error) {
	c, err := r.condition()
	if err == nil {
		_, err = r.readBody()
	}
	if err != nil {
		return reply{}, err
	}
	r.again()
	return r.withApart(true, func(a *apart, q asked, face *faceBody) (reply, error) {
		e, err := a.enrol(q, !c.Absent)
		if c.Absent && errors.Is(err, engine.ErrPersonExists) {
			err = fail(codeVersionMismatch, "the person is enrolled already, and If-None-Match says that they must not be")
		}
		return a.enrolledReply(e, face), err
	})
}

func (a *apart) enrolledReply(e mpc.Enrolled, face *faceBody) reply {
	return reply{status: 200, value: apartEnrolled{a.person, e.Generation, e.Template, e.Time.Format(timeFormat), face}, replayed: e.Told}
}

// told is the answer to an enrolment of a name that was done before, so that no photo is looked at again. done is false for another. Errors: EnrolledBy's.
func (a *apart) told() (rep reply, done bool, err error) {
	q := a.request()
	if q.Name == [32]byte{} {
		return reply{}, false, nil
	}
	e, again, err := a.gateway().EnrolledBy(a.ctx, a.group(), a.person, q)
	if err != nil || !again {
		return reply{}, err != nil, inWords(err)
	}
	if !e.Told {
		err = a.record(engine.AuditDecentralisedPut, engine.AuditDone)
	}
	return a.enrolledReply(e, nil), true, err
}

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// withApart decodes a request about one face and asks a gallery's decentralised people about it.
func (r *request) withApart(enrols bool, ask func(*apart, asked, *faceBody) (reply, error)) (reply, error) {
	sub := subject{enrols: enrols}
	var sealed *mpc.Envelopes
	if err := r.decode(append(sub.one(), field{name: "envelopes", json: takeEnvelopes(&sealed)})); err != nil {
		return reply{}, err
	}
	if err := sub.checkAsked(sealed); err != nil {
		return reply{}, err
	}
	a, err := r.apart(r.params[0], r.param("{person}"))
	if err == nil {
		err = a.expect(enrols)
	}
	if err != nil {
		return reply{}, err
	}
	if enrols {
		if rep, done, err := a.told(); done {
			return rep, err
		}
	}
	if sealed != nil {
		return ask(a, asked{sealed: sealed}, nil)
	}
	return sub.steadily(func() (reply, error) {
		t, face, err := r.apartTemplate(a, &sub)
		if err != nil {
			return reply{}, err
		}
		return ask(a, asked{Template: t}, face)
	})
}

// expect refuses what needs no photo to be refused. Errors: engine.ErrPersonNotFound.
func (a *apart) expect(enrols bool) error {
	if enrols || a.person == "" {
		return nil
	}
	enrolled, err := a.Enrolled()
	if err == nil && !enrolled {
		err = inWords(mpc.ErrUnknown)
	}
	return err
}

// apartTemplate is the template of a subject, in the gallery's space.
func (r *request) apartTemplate(a *apart, sub *subject) (t engine.Template, face *faceBody, err error) {
	if len(sub.photos) == 0 {
		return sub.templates[0], nil, nil
	}
	g, err := r.server.engine.Gallery(r.ctx, a.tenant, a.gallery)
	if err != nil {
		return t, nil, err
	}
	g.Move = nil // the parties have one template of a person
	templates, faces, err := r.resolveIn(g, sub)
	if err != nil {
		return t, nil, err
	}
	return templates[0], &faces[0], nil
}

// apartErased is how far an erasure is.
type apartErased struct {
	Pending  int           `json:"pending"` // parties that have not destroyed their shares yet
	Receipts []mpc.Receipt `json:"receipts"`
}

func (s *Server) decentralisedDelete(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	a, err := r.apart(r.params[0], r.params[1])
	if err != nil {
		return reply{}, err
	}
	e, err := a.erase()
	return reply{status: 200, value: apartErased{e.Pending, orEmpty(e.Receipts)}}, err
}

// decentralisedUnlock ends the lock that rejects in a row have put on a person. What the parties have counted stays.
func (s *Server) decentralisedUnlock(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	a, err := r.apart(r.params[0], r.params[1])
	if err == nil {
		err = a.expect(false)
	}
	if err == nil {
		err = a.gateway().Unlock(a.group(), a.person)
	}
	if err != nil {
		return reply{}, err
	}
	return reply{status: 204}, a.record(engine.AuditDecentralisedUnlock, engine.AuditDone)
}

// forget erases the decentralised people of galleries, and then has the galleries deleted; nobody is enrolled in any of the tenant's meanwhile. The erasure
// is decided when it returns, and the parties that are away carry it out when they are back, before they serve anything else.
func (s *Server) forget(ctx context.Context, tenant string, galleries func() ([]string, error), then func() error) error {
	d := s.cfg.Decentralised
	if d == nil {
		return then()
	}
	give, err := s.enrolments.alone(ctx, tenant)
	if err != nil {
		return err
	}
	defer give()
	names, err := galleries()
	for _, name := range names {
		err = errors.Join(err, s.forgetPeople(ctx, apart{tenant: tenant, gallery: name}))
	}
	if err != nil {
		return err
	}
	d.step("forgotten")
	return then()
}

// CheckCanaries has the parties tested, once for each gallery that has decentralised people (mpc.Gateway.CheckCanary). What goes wrong is logged and
// counted. Errors: ctx's.
func (s *Server) CheckCanaries(ctx context.Context) error {
	for _, tenant := range s.engine.Tenants() {
		galleries, err := s.engine.Galleries(ctx, tenant)
		if err != nil {
			s.log.Warn("canaries: galleries", "error", err)
		}
		for _, g := range galleries {
			if err := s.checkCanary(ctx, apart{s: s, ctx: ctx, tenant: tenant, gallery: g.Name}, g.Space); err != nil && ctx.Err() == nil {
				s.log.Debug("canaries: not checked", "tenant", tenant, "gallery", g.Name, "error", err)
			}
		}
	}
	return ctx.Err()
}

func (s *Server) checkCanary(ctx context.Context, of apart, space string) error {
	policy, known := s.cfg.Decentralised.Policies[space]
	if !known {
		return nil
	}
	give, err := s.enrolments.share(ctx, of.tenant)
	if err != nil {
		return err
	}
	defer give()
	people, err := of.gateway().HoldsPeople(of.group())
	if err != nil || !people {
		return err
	}
	err = of.gateway().CheckCanary(ctx, of.group(), policy)
	if errors.Is(err, mpc.ErrCanary) {
		s.canaries.failed.Add(1)
		s.log.Error("canaries: the parties gave a wrong answer: one is faulty, or cheats", "tenant", of.tenant, "gallery", of.gallery)
	}
	if err == nil || errors.Is(err, mpc.ErrCanary) {
		s.canaries.checked.Add(1)
		return nil
	}
	return err
}

func (s *Server) forgetPeople(ctx context.Context, of apart) error {
	g := s.cfg.Decentralised.Gateway
	holds, err := g.Holds(of.group())
	if err == nil && holds {
		_, err = g.DeleteTenant(ctx, of.group())
	}
	if errors.Is(err, mpc.ErrUnfinished) {
		return nil
	}
	return err
}

// galleriesOf are the names of a tenant's galleries.
func (s *Server) galleriesOf(ctx context.Context, tenant string) (names []string, err error) {
	list, err := s.engine.Galleries(ctx, tenant)
	for _, g := range list {
		names = append(names, g.Name)
	}
	return names, err
}

// parties are the states of the three, for /readyz; nil where there are none.
func (s *Server) parties() []mpc.PartyState {
	if s.cfg.Decentralised == nil {
		return nil
	}
	states := s.cfg.Decentralised.Gateway.Status()
	return states[:]
}
