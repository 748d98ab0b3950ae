package facephi

import (
	"errors"
	"time"

	"mien/engine"
	"mien/http/dialect"
	"mien/http/token"
)

// tokensBody asks for tokens of a photo.
type tokensBody struct {
	Image  string   `json:"image"`
	UserID string   `json:"userId"`
	Tokens []string `json:"tokens"` // names of fields of madeTokens
}

// madeTokens are tokens, in fields named as those of authenticateUser that take them.
type madeTokens struct {
	Registered string               `json:"registeredTemplateRaw,omitempty"`
	BestImage  string               `json:"bestImageToken,omitempty"`
	Template   string               `json:"template,omitempty"`
	Expires    map[string]time.Time `json:"expires,omitempty"` // by field; what is not in it does not expire
}

// maker makes the tokens of one photo.
type maker struct {
	c      *dialect.Call
	sealer *token.Sealer
	photo  []byte
	user   string
	made   madeTokens
}

// makeTokens seals what vendors' widgets would have sealed.
func makeTokens(c *dialect.Call) (dialect.Answer, error) {
	c.Gallery = c.Params[0]
	var b tokensBody
	if err := c.DecodeNative(&b); err != nil {
		return dialect.Answer{}, err
	}
	m := &maker{c: c, user: b.UserID}
	var err error
	if m.photo, err = imageIn(&b.Image, "give an image"); err != nil {
		return dialect.Answer{}, err
	}
	if len(m.photo) > maxImage {
		return dialect.Answer{}, &dialect.Refusal{Code: "image_too_large", Detail: "a token holds a photo of 8 MiB at most; send a smaller one"}
	}
	if b.UserID != "" {
		if err := checkUser(b.UserID); err != nil {
			return dialect.Answer{}, err
		}
	}
	makers, err := m.wanted(b.Tokens)
	if err != nil {
		return dialect.Answer{}, err
	}
	if m.sealer, err = sealerOf(c); err != nil {
		return dialect.Answer{}, err
	}
	if _, err := c.Engine().Gallery(c.Ctx, c.Key.Tenant, c.Gallery); err != nil {
		return dialect.Answer{}, err
	}
	for _, make := range makers {
		if err := c.Steadily(make); err != nil {
			return dialect.Answer{}, err
		}
	}
	return dialect.JSON(200, m.made), nil
}

// wanted are the functions that make the tokens of these names; of none registeredTemplateRaw and bestImageToken. Errors: *dialect.Refusal.
func (m *maker) wanted(names []string) (list []func() error, err error) {
	if names == nil {
		names = []string{"registeredTemplateRaw", "bestImageToken"}
	}
	known := map[string]func() error{"registeredTemplateRaw": m.registered, "bestImageToken": m.bestImage, "template": m.template}
	for _, name := range names {
		if known[name] == nil {
			return nil, bad(`tokens must name registeredTemplateRaw, bestImageToken or template, each once`)
		}
		list = append(list, known[name])
		delete(known, name)
	}
	if len(list) == 0 {
		return nil, bad("tokens is empty: name one, or leave it out")
	}
	return list, nil
}

// registered makes the template to register, if the photo passes the gallery's gate for enrolment.
func (m *maker) registered() error {
	t, err := m.c.Templates(dialect.Photo{Data: m.photo, Enrols: true})
	if err != nil {
		return err
	}
	g, err := m.gallery()
	if err == nil {
		err = g.Gate.Enrol.Check(t[0].Photo.Judged)
	}
	if err != nil {
		return err
	}
	payload, err := token.AppendTemplate(nil, token.Template{Quality: qualityOf(t[0].Photo.Judged), Vector: t[0].Vector})
	if err != nil {
		return err
	}
	if m.user == "" {
		m.expires("registeredTemplateRaw", handOverTTL)
	}
	m.made.Registered, err = sealRegistered(m.sealer, m.c.Gallery, t[0].Space, m.user, payload)
	return err
}

// bestImage seals the photo as it is: what it shows is judged when it is used.
func (m *maker) bestImage() (err error) {
	m.made.BestImage, err = m.capture("bestImageToken", token.Claims{Type: token.TypeBestImage, Purpose: token.PurposeImage, Payload: m.photo})
	return err
}

// template makes the probe's template, if the photo passes the gallery's gate for probes. Its liveness is judged when it is used.
func (m *maker) template() error {
	g, err := m.gallery()
	if err != nil {
		return err
	}
	p, quality, err := photographed(m.c, m.photo, g.Gate.Probe)
	if err != nil {
		return err
	}
	payload, err := appendProbe(nil, p, quality)
	if err != nil {
		return err
	}
	m.made.Template, err = m.capture("template", token.Claims{Type: token.TypeProbe, Purpose: token.PurposeAuthenticate, Space: p.template.Space, Payload: payload})
	return err
}

func (m *maker) gallery() (engine.Gallery, error) {
	return m.c.Engine().Gallery(m.c.Ctx, m.c.Key.Tenant, m.c.Gallery)
}

// capture seals what is good once.
func (m *maker) capture(field string, c token.Claims) (string, error) {
	c.Audience, c.Subject, c.SingleUse, c.TTL = audience(m.c.Gallery), m.user, true, captureTTL
	m.expires(field, captureTTL)
	return seal(m.sealer, c)
}

func (m *maker) expires(field string, ttl time.Duration) {
	if m.made.Expires == nil {
		m.made.Expires = make(map[string]time.Time)
	}
	m.made.Expires[field] = m.c.Engine().Now().Add(ttl).UTC().Truncate(time.Second)
}

func showKeys(c *dialect.Call) (dialect.Answer, error) {
	if err := c.NoQuery(); err != nil {
		return dialect.Answer{}, err
	}
	v, err := versionsOf(c.Ctx, c.Engine(), c.Key.Tenant)
	return dialect.JSON(200, v), err
}

// errVersions is of a change that would leave no key, or more than there may be.
var errVersions = errors.New("facephi: versions out of range")

// changeKeys makes a new version of the tenant's key, or takes old ones away.
func changeKeys(c *dialect.Call) (dialect.Answer, error) {
	var b struct {
		New    bool   `json:"new"`
		Oldest uint32 `json:"oldest"`
	}
	if err := c.DecodeNative(&b); err != nil {
		return dialect.Answer{}, err
	}
	var v versions
	_, err := c.Engine().ChangeDocument(c.Ctx, c.Key.Tenant, keysKind, keysID, engine.DocumentOptions{Audit: "facephi.keys.change"},
		func(old *engine.Document) (_ *engine.Document, err error) {
			v = versions{1, 1}
			if old != nil {
				if v, err = parseVersions(old.Value); err != nil {
					return nil, err
				}
			}
			if err := v.change(b.New, b.Oldest); err != nil {
				return nil, err
			}
			return &engine.Document{Value: v.marshal()}, nil
		})
	if errors.Is(err, errVersions) {
		return dialect.Answer{}, bad("oldest must be from the oldest version to the newest, which GET /v1/facephi/keys shows, and at most 64 versions may open tokens: " +
			"take the oldest away first")
	}
	return dialect.JSON(200, v), err
}
