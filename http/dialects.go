package http

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"mien/engine"
	"mien/engine/mpc"
	"mien/http/auther"
	"mien/http/authface"
	"mien/http/capture"
	"mien/http/dialect"
	"mien/http/facephi"
	"mien/http/verifik"
	"mien/http/youverse"
)

// The APIs of other vendors (package dialect): their routes are beside the native ones in the router, and go the same way.

// newDialects makes the dialects that are spoken.
func newDialects(c Config) []*dialect.Dialect {
	sessions := capture.New(capture.Config{Engine: c.Engine, Logger: c.Logger, Extractor: c.Extractor, Extractors: captureExtractors(c.Extractors)})
	return []*dialect.Dialect{
		auther.New(),
		facephi.New(),
		youverse.New(),
		verifik.New(verifik.Config{Engine: c.Engine, Logger: c.Logger, WebhookHTTP: c.WebhookHTTP, WebhookPrivate: c.WebhookPrivate, Sessions: sessions}),
		sessions.Dialect(),
		authface.New(sessions),
	}
}

func captureExtractors(of map[string]Extractor) map[string]capture.Extractor {
	list := make(map[string]capture.Extractor, len(of))
	for space, x := range of {
		list[space] = x
	}
	return list
}

// allRoutes are those of the native API and of dialects.
func allRoutes(all []*dialect.Dialect) []route {
	native := nativeRoutes(nil)
	return append(native, dialectRoutes(all)...)
}

// dialectRoutes are the routes of dialects, those that are additions to the native API included.
func dialectRoutes(all []*dialect.Dialect) (list []route) {
	for _, d := range all {
		for _, rt := range d.Routes {
			r := route{operation: operation{rt.Method, rt.Pattern, rt.Op, rt.Roles, speak(d, rt)}, body: rt.Body}
			if rt.Roles == nil {
				r.dialect = d
			}
			if slices.Contains(rt.Roles, engine.RoleClient) {
				r.clientsOf = d.Name
			}
			if rt.Roles == nil && !rt.Public {
				r.roles = clients
			}
			list = append(list, r)
		}
	}
	return list
}

// speak runs an operation of a dialect.
func speak(d *dialect.Dialect, rt dialect.Route) func(*Server, *request) (reply, error) {
	return func(_ *Server, r *request) (reply, error) {
		c := r.call(d)
		c.Ctx = r.ctx
		a, err := rt.Handle(c)
		if refusal, ok := errors.AsType[*dialect.Refusal](err); ok {
			err = refusalProblem(refusal)
		}
		return reply{status: a.Status, value: a.Value, raw: a.Raw, contentType: a.ContentType, header: a.Header}, err
	}
}

// refusalProblem is the problem that a dialect's native route answers.
func refusalProblem(r *dialect.Refusal) error {
	if _, ok := codes[code(r.Code)]; !ok {
		return fmt.Errorf("http: a dialect refuses with the code %q, which is in no table: %w", r.Code, r)
	}
	return fail(code(r.Code), "%s", r.Detail)
}

// call is the request as a dialect sees it.
func (r *request) call(d *dialect.Dialect) *dialect.Call {
	if r.spoken == nil {
		r.spoken = &dialect.Call{Server: dialectServer{r}, Ctx: r.context(), ID: r.id, Method: r.method, Target: r.target, Params: r.params, Start: r.start}
	}
	c := r.spoken
	if c.Key = r.key; len(r.key.Galleries) > 0 {
		c.Gallery = r.key.Galleries[0]
	}
	return c
}

// authenticate finds a request's key. Errors: the engine's.
func (r *request) authenticate() error {
	var err error
	if d := r.route.dialect; d != nil {
		r.key, err = d.Authenticate(r.call(d))
		return err
	}
	token, err := bearer(r.fc.Request.Header.PeekAll("Authorization"))
	if err != nil {
		return err
	}
	r.key, err = r.server.engine.Authenticate(token)
	return err
}

// mayDo refuses a key whose role, dialect or galleries the route is not for. Errors: the problem forbidden.
func (r *request) mayDo() error {
	switch d := r.route.dialect; {
	case !slices.Contains(r.route.roles, r.key.Role):
		return fail(codeForbidden, "this needs a key of the role %s; this key's role is %s", roleNames(r.route.roles), r.key.Role)
	case d == nil && r.key.Role == engine.RoleClient && r.key.Dialect != r.route.clientsOf:
		return fail(codeForbidden, "of clients' keys this is for those of the dialect %s; this key's dialect is %s", r.route.clientsOf, r.key.Dialect)
	case d == nil:
		return r.route.reaches(r.key, r.params)
	case r.key.Dialect != d.Name:
		return fail(codeForbidden, "this needs a key of the dialect %s; this key's dialect is %s", d.Name, r.key.Dialect)
	}
	return nil
}

// spokenBy is the dialect in whose words the request is answered, nil for the native API: that of its route, or the one below whose paths
// it is.
func (r *request) spokenBy() *dialect.Dialect {
	if r.route != nil {
		return r.route.dialect
	}
	for _, d := range r.server.dialects {
		if slices.ContainsFunc(d.Under, func(p string) bool { return r.path == p || strings.HasPrefix(r.path, p+"/") }) {
			return d
		}
	}
	return nil
}

// failureOf is a problem as a dialect is told it.
func failureOf(p *problem, err error) *dialect.Failure {
	f := &dialect.Failure{Status: p.status(), Code: string(p.code), Detail: p.detail, Allow: p.allow, Retry: p.retryAfter(), Err: err}
	for _, reason := range p.reasons {
		f.Reasons = append(f.Reasons, reason.Code)
	}
	if _, photo := dialect.TagsOf(f.Code); photo && len(f.Reasons) == 0 {
		f.Reasons = []string{f.Code}
	}
	return f
}

// refuse writes a refusal in the words of a dialect.
func (r *request) refuse(d *dialect.Dialect, p *problem, err error) {
	c := r.call(d)
	c.Ctx = r.server.base // the request's has ended
	f := failureOf(p, err)
	a := d.Refuse(c, f)
	resp := &r.fc.Response
	if f.Retry > 0 {
		resp.Header.Set("Retry-After", seconds(f.Retry))
	}
	if f.Allow != "" {
		resp.Header.Set("Allow", f.Allow)
	}
	if failed := r.writeSpoken(d, &a); failed != nil {
		r.server.logFailure(r, failed)
		resp.SetStatusCode(fasthttp.StatusInternalServerError)
		resp.ResetBody()
	}
}

// writeSpoken writes an answer of a dialect, which completes it.
func (r *request) writeSpoken(d *dialect.Dialect, a *dialect.Answer) error {
	if a.Raw == nil && a.Value != nil {
		raw, err := reply{value: a.Value}.marshal()
		if err != nil {
			return err
		}
		a.Raw, a.Value = raw, nil
	}
	if d.Finish != nil {
		c := r.call(d)
		c.Ctx = r.server.base // the request's has ended
		if err := d.Finish(c, a); err != nil {
			return err
		}
	}
	resp := &r.fc.Response
	resp.SetStatusCode(a.Status)
	if len(a.Raw) > 0 || a.ContentType != "" {
		resp.Header.SetContentType(cmp.Or(a.ContentType, "application/json"))
	}
	for _, f := range a.Header {
		resp.Header.Set(f.Name, f.Value)
	}
	return r.server.setBody(resp, a.Raw)
}

// dialectServer is what a dialect asks of the server.
type dialectServer struct{ r *request }

func (s dialectServer) Engine() *engine.Engine { return s.r.server.engine }

func (s dialectServer) Header(name string) string { return string(s.r.fc.Request.Header.Peek(name)) }

func (s dialectServer) PublicURL() string { return s.r.server.cfg.PublicURL }

func (s dialectServer) BaseURL() string {
	if u := s.PublicURL(); u != "" {
		return u
	}
	scheme := "http"
	if s.r.server.cfg.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + string(s.r.fc.Host())
}

// Body implements dialect.Server. The body is read once.
func (s dialectServer) Body() ([]byte, error) {
	r := s.r
	if r.body == nil && !r.consumed {
		body, err := r.readBody()
		if err != nil {
			return nil, err
		}
		r.body = body
	}
	return r.body, nil
}

func (s dialectServer) Authenticate(token string) (engine.Key, error) {
	if token == "" {
		return engine.Key{}, engine.ErrKeyMissing
	}
	return s.r.server.engine.Authenticate(token)
}

// Templates implements dialect.Server.
func (s dialectServer) Templates(photos ...dialect.Photo) ([]engine.Template, error) {
	r := s.r
	g, err := r.server.engine.Gallery(r.ctx, r.key.Tenant, r.spoken.Gallery)
	if err != nil {
		return nil, err
	}
	subjects := make([]*subject, len(photos))
	for i, p := range photos {
		subjects[i] = &subject{photos: []photo{{data: p.Data}}, enrols: p.Enrols, gate: p.Gate, fallback: p.Default, want: p.Want}
		if p.Largest {
			subjects[i].sel = "largest"
		}
	}
	found, errs := make([][]engine.Template, len(photos)), make([]error, len(photos))
	var wg sync.WaitGroup
	for i, sub := range subjects {
		wg.Go(func() { found[i], _, errs[i] = r.resolveIn(g, sub) })
	}
	wg.Wait()
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

// Steadily implements dialect.Server.
func (s dialectServer) Steadily(ask func() error) error {
	_, err := steadily(func() (reply, error) { return reply{}, ask() })
	return err
}

// runDialects begins what dialects do beside requests. What it returns ends that and waits.
func runDialects(all []*dialect.Dialect) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, d := range all {
		if d.Run != nil {
			wg.Go(func() { d.Run(ctx) })
		}
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

// retryAfter is when a request that was refused may be made again; 0 does not say.
func (p *problem) retryAfter() time.Duration {
	switch p.code {
	case codeOverloaded, codeShuttingDown, codeTimeout, codePartyAway:
		if e, ok := errors.AsType[*mpc.DownError](p); ok && len(e.Lost) > 0 {
			return 0 // until somebody has done something
		}
		if !errors.Is(p, engine.ErrOutcomeUnknown) { // what may have happened is not to be repeated unseen
			return time.Second
		}
	case codeIdempotencyInProgress:
		return time.Second
	case codeRateLimited, codeAuthLimited, codeAttemptsExceeded, codeIdempotencyFull:
		return max(p.retry, time.Second)
	}
	return 0
}
