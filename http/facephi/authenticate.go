package facephi

import (
	"errors"
	"maps"
	"math"

	"mien/engine"
	"mien/extract"
	"mien/http/dialect"
	"mien/http/token"
)

// ending is an attempt that is over before faces are compared: what is answered, and what the audit log says of it.
type ending struct {
	result           int
	facial, liveness int
	detail           string // of the module that could not do its part
	audit            string // code of the refusal
}

func (e *ending) Error() string { return "facephi: " + e.audit }

func otherUser(detail string) error {
	return &ending{result: resultOtherUser, detail: detail, audit: "template_refused"}
}

func notLive(liveness int, detail, audit string) error {
	return &ending{result: resultNotLive, liveness: liveness, detail: detail, audit: audit}
}

func noTemplate(detail, audit string) error {
	return &ending{result: resultNoMatch, facial: facialNoTemplate, detail: detail, audit: audit}
}

// attempt is one authentication.
type attempt struct {
	c      *dialect.Call
	r      *request
	sealer *token.Sealer

	registered engine.Template
	payload    []byte // that registered is made of, or that is made of it
	bestImage  []byte // photo; nil where the probe is a template, or not opened yet
	probe      probe
	decision   engine.Decision
	live       int // livenessLive and its like
}

// authenticate answers authenticateUser.
func authenticate(c *dialect.Call) (dialect.Answer, error) {
	r, err := decode(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	c.Person = r.user
	a := &attempt{c: c, r: r}
	if a.sealer, err = sealerOf(c); err == nil {
		err = a.run()
	}
	if e, ok := errors.AsType[*ending](err); ok {
		return a.ended(e)
	}
	if err != nil {
		return dialect.Answer{}, err
	}
	return a.decided()
}

// run compares the faces. What was captured is opened, and thereby spent, after everything else is known to be good.
// Errors: *ending, the server's, the engine's.
func (a *attempt) run() error {
	if err := a.openRegistered(); err != nil {
		return err
	}
	return a.c.Steadily(func() error {
		g, err := a.c.Engine().Gallery(a.c.Ctx, a.c.Key.Tenant, a.c.Gallery)
		if err != nil {
			return err
		}
		if err := a.makeRegistered(g); err != nil {
			return err
		}
		if err := a.openCapture(g.Space); err != nil {
			return err
		}
		if err := a.makeProbe(g); err != nil {
			return err
		}
		a.decision, err = a.c.Engine().CompareFor(a.c.Ctx, a.c.Gallery, a.r.user, a.registered, a.probe.template, g.Policy)
		return err
	})
}

// openRegistered opens the registered template, if there is one. Errors: *ending.
func (a *attempt) openRegistered() error {
	if a.r.registered == "" {
		return nil
	}
	o, err := a.sealer.Open([]byte(a.r.registered), token.Want{Type: token.TypeTemplate, Purpose: token.PurposeAuthenticate, Audience: audience(a.c.Gallery)})
	switch {
	case err != nil:
		return otherUser(whyClosed(err))
	case o.Subject != "" && o.Subject != a.r.user:
		return otherUser("it is another user's")
	}
	a.payload = o.Payload
	if a.registered, err = parseTemplate(o.Payload, o.Space); err != nil {
		return otherUser(whyClosed(err))
	}
	return nil
}

// whyClosed is what may be said of a token that does not open.
func whyClosed(err error) string {
	switch {
	case errors.Is(err, token.ErrExpired):
		return "its time is over"
	case errors.Is(err, token.ErrReplayed):
		return "it was used before"
	case errors.Is(err, token.ErrType):
		return "it is a token of another kind"
	case errors.Is(err, token.ErrEarly):
		return "it was issued in the future"
	}
	return "it is none of the tokens that were made here for this client"
}

// makeRegistered makes the registered template of the registry's photo, or holds that which was opened against the gallery.
// Errors: *ending, the server's, the engine's.
func (a *attempt) makeRegistered(g engine.Gallery) error {
	if a.r.image == nil {
		if a.registered.Space != g.Space {
			return noTemplate("registeredTemplateRaw was made by models that the gallery has left: register anew", "space_mismatch")
		}
		return nil
	}
	t, err := a.c.Templates(dialect.Photo{Data: a.r.image, Enrols: true})
	if err == nil {
		err = g.Gate.Enrol.Check(t[0].Photo.Judged)
	}
	if f, ok := faultOf(err); ok && f.liveness != livenessUnreadable {
		return noTemplate("image: "+f.said(err), f.code)
	}
	if err != nil {
		return err
	}
	a.registered = bare(t[0])
	a.payload, err = token.AppendTemplate(nil, token.Template{Quality: qualityOf(t[0].Photo.Judged), Vector: t[0].Vector})
	return err
}

// bare is a template without its photo, whose gates were checked.
func bare(t engine.Template) engine.Template {
	t.Photo = nil
	return t
}

// qualityOf is a photo's unified score for a token, if it was judged.
func qualityOf(judged map[string]float64) uint8 {
	if q, ok := judged["unified_score"]; ok && q >= 0 && q <= 100 {
		return uint8(math.Round(q))
	}
	return 255
}

// openCapture opens the best image, or the probe's template, once. Errors: *ending, the engine's.
func (a *attempt) openCapture(space string) error {
	if a.bestImage != nil || a.probe.template.Vector != nil { // before the gallery changed
		return nil
	}
	sealed, want := a.r.bestImage, token.Want{Type: token.TypeBestImage, Purpose: token.PurposeImage, Audience: audience(a.c.Gallery)}
	if sealed == "" {
		sealed, want.Type, want.Purpose, want.Space = a.r.template, token.TypeProbe, token.PurposeAuthenticate, space
	}
	o, err := a.sealer.Open([]byte(sealed), want)
	switch {
	case errors.Is(err, token.ErrFull):
		return &dialect.Refusal{Code: "overloaded", Detail: "too many captures were used in a minute; try again in a minute"}
	case errors.Is(err, token.ErrSpace):
		return notLive(livenessNone, "the template was made by models that the gallery has left: capture anew", "space_mismatch")
	case isClosed(err):
		return notLive(livenessNone, whyClosed(err), "token_refused")
	case err != nil:
		return err
	case o.Subject != "" && o.Subject != a.r.user:
		return notLive(livenessNone, "it is another user's", "token_refused")
	case want.Type == token.TypeBestImage:
		a.bestImage = o.Payload
		return nil
	}
	if a.probe, err = parseProbe(o.Payload, o.Space); err != nil {
		return notLive(livenessNone, whyClosed(err), "token_refused")
	}
	return nil
}

// isClosed tells errors about a token from those of the store that remembers uses.
func isClosed(err error) bool {
	for _, target := range []error{token.ErrDoesNotOpen, token.ErrType, token.ErrEarly, token.ErrExpired, token.ErrReplayed} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// makeProbe makes the probe's template of the best image, and says how alive it is. Errors: *ending, the server's, the engine's.
func (a *attempt) makeProbe(g engine.Gallery) error {
	if a.bestImage != nil {
		var err error
		a.probe, _, err = photographed(a.c, a.bestImage, g.Gate.Probe)
		if f, ok := faultOf(err); ok {
			return notLive(f.liveness, f.said(err), f.code)
		}
		if err != nil {
			return err
		}
	}
	a.live = livenessOf(a.probe.liveness, g.Gate.Probe[extract.LivenessMeasure])
	return nil
}

// photographed is the probe that a photo shows, with its quality, if it passes what the gate says beside liveness, which has a result
// of its own.
func photographed(c *dialect.Call, photo []byte, gate engine.Gate) (probe, uint8, error) {
	t, err := c.Templates(dialect.Photo{Data: photo, Want: extract.WantLiveness})
	if err != nil {
		return probe{}, 0, err
	}
	judged := t[0].Photo.Judged
	gate = maps.Clone(gate)
	delete(gate, extract.LivenessMeasure)
	p := probe{bare(t[0]), math.NaN()}
	if live, ok := judged[extract.LivenessMeasure]; ok {
		p.liveness = live
	}
	return p, qualityOf(judged), gate.Check(judged)
}

// livenessOf is the result for a score × 100, of which the gallery's gate asks for the least.
func livenessOf(score, least float64) int {
	if math.IsNaN(score) {
		return livenessNone
	}
	switch v := extract.VerdictOf(float32(score / 100)); {
	case v == extract.Spoof:
		return livenessSpoof
	case v == extract.Uncertain || score < least:
		return livenessUncertain
	}
	return livenessLive
}

// fault is what may be wrong with a photo.
type fault struct {
	err      error
	liveness int    // result
	code     string // of the native API
	sentence string // "": the error's own
}

var faults = []fault{
	{engine.ErrQuality, livenessBadQuality, "quality_failed", ""},
	{extract.ErrNoFace, livenessFaceNotFound, "no_face", "no face was found"},
	{extract.ErrFaceTooSmall, livenessFaceTooSmall, "face_too_small", "the face is too small to be told from others"},
	{extract.ErrSeveralFaces, livenessSeveralFaces, "several_faces", "several faces were found and one is needed"},
	{extract.ErrNotImage, livenessUnreadable, "not_an_image", "it is no readable JPEG, PNG, BMP or WebP file"},
	{extract.ErrTruncated, livenessUnreadable, "image_truncated", "the file ends too early"},
	{extract.ErrTooManyPixels, livenessUnreadable, "image_too_large", "it has more pixels than are decoded"},
}

func faultOf(err error) (fault, bool) {
	for _, f := range faults {
		if errors.Is(err, f.err) {
			return f, true
		}
	}
	return fault{}, false
}

// said is the sentence for the client.
func (f fault) said(err error) string {
	if f.sentence != "" {
		return f.sentence
	}
	if e, ok := errors.AsType[*engine.QualityError](err); ok {
		return e.Error()
	}
	return f.code
}

// decided answers when the faces were compared.
func (a *attempt) decided() (dialect.Answer, error) {
	out := newAnswer(a.c)
	out.Similarity = a.c.Score(a.decision.Similarity, a.decision.Match)
	facial := facialNegative
	if a.decision.Match {
		facial = facialPositive
	}
	out.setFacial(facial, "")
	out.setLiveness(a.live, a.livenessDetail())
	switch {
	case a.live != livenessLive:
		out.setResult(resultNotLive, "")
		return dialect.JSON(200, out), a.record("liveness_failed")
	case facial == facialNegative:
		out.setResult(resultNoMatch, "")
		return dialect.JSON(200, out), nil // the comparison is on record
	}
	out.setResult(resultAuthenticated, "")
	var err error
	out.Registered, err = sealRegistered(a.sealer, a.c.Gallery, a.registered.Space, a.r.user, a.payload)
	return dialect.JSON(200, out), err
}

func (a *attempt) livenessDetail() string {
	if a.live == livenessNone {
		return "the models of the gallery can't judge it"
	}
	return ""
}

// ended answers what ended before.
func (a *attempt) ended(e *ending) (dialect.Answer, error) {
	out := newAnswer(a.c)
	out.setResult(e.result, a.r.user)
	if e.result == resultNotLive {
		out.setLiveness(e.liveness, e.detail)
	} else {
		out.setFacial(e.facial, e.detail)
	}
	return dialect.JSON(200, out), a.record(e.audit)
}

// record has the audit log say why somebody was not authenticated. Errors: the engine's.
func (a *attempt) record(code string) error {
	return a.c.Engine().AuditRefusal(a.c.Ctx, a.c.Key.Tenant, opAuthenticate, a.c.Gallery, a.c.Person, code)
}
