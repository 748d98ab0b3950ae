package capture

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// Kinds of challenges. Every try begins with the face straight ahead, which is none.
var challengeKinds = []string{"turn_left", "turn_right", "look_up", "blink", flash}

// flash shows colours, which not everybody's eyes bear: only a gallery's settings can let it be asked for.
const flash = "flash"

const (
	defaultTries = 3
	maxTries     = 5
	maxOrigins   = 32
	maxNameBytes = 128
)

// settings are a gallery's. A session is made by those that are there then.
type settings struct {
	Name       string   `json:"name"`       // who asks, as the page says it
	Origins    []string `json:"origins"`    // scheme, host and port of redirect URLs
	Challenges []string `json:"challenges"` // kinds to choose from
	Steps      int      `json:"steps"`      // challenges of a try
	Tries      int      `json:"tries"`
	Flash      bool     `json:"flash"` // may be among the challenges
}

// withDefaults completes what nobody has said.
func (t settings) withDefaults() settings {
	t.Steps, t.Tries = cmp.Or(t.Steps, defaultSteps), cmp.Or(t.Tries, defaultTries)
	if t.Origins == nil {
		t.Origins = []string{}
	}
	if t.Challenges == nil {
		t.Challenges = slices.DeleteFunc(slices.Clone(challengeKinds), func(kind string) bool { return kind == flash && !t.Flash })
	}
	return t
}

// challengesOf are the kinds of a session that asks for some, the gallery's if it does for none. Errors: *dialect.Refusal.
func (t settings) challengesOf(asked []string) ([]string, error) {
	if asked == nil {
		return t.Challenges, nil
	}
	return asked, t.checkChallenges(asked)
}

func (t settings) checkChallenges(list []string) error {
	if len(list) == 0 {
		return dialect.BadRequest("name one challenge at least, of: %s", strings.Join(challengeKinds, ", "))
	}
	for i, kind := range list {
		switch {
		case !slices.Contains(challengeKinds, kind):
			return dialect.BadRequest("the challenge %.32q is unknown: use some of %s", kind, strings.Join(challengeKinds, ", "))
		case slices.Contains(list[:i], kind):
			return dialect.BadRequest("the challenge %s is named twice", kind)
		case kind == flash && !t.Flash:
			return dialect.BadRequest("flash is not among the gallery's challenges: its settings must allow it, for not everybody's eyes bear it")
		}
	}
	return nil
}

// allows refuses a redirect URL whose origin is not registered. Errors: *dialect.Refusal.
func (t settings) allows(text string) error {
	if text == "" {
		return nil
	}
	refused := func(why string) error {
		return &dialect.Refusal{Code: "redirect_not_allowed", Detail: "the redirect URL is not allowed: " + why}
	}
	if len(text) > maxRedirectBytes || !isLine(text) || strings.ContainsAny(text, "#\\ ") {
		return refused("use an absolute URL without a fragment")
	}
	origin, err := originOf(text)
	if err != nil {
		return refused(err.Error())
	}
	if !slices.Contains(t.Origins, origin) {
		return refused("PUT /v1/galleries/{gallery}/capture registers the origins that are")
	}
	return nil
}

// originOf is an absolute URL's (RFC 6454, 4), without the port that goes without saying: https, and of this machine http too.
func originOf(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" || u.Hostname() == "" {
		return "", errors.New("it is no absolute URL")
	}
	if u.User != nil {
		return "", errors.New("it names a user")
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	if scheme != "https" && (scheme != "http" || !isLoopback(host)) {
		return "", errors.New("its scheme must be https, or http for localhost")
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return scheme + "://" + host, nil
	}
	return scheme + "://" + host + ":" + port, nil
}

// isLoopback reports whether a host, without a port, is this machine.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// keptSettings are settings as they are kept. They go with the gallery: one of the same name that was made later does not have them.
type keptSettings struct {
	settings
	Made time.Time `json:"made"` // the gallery's Created
}

// settings are a gallery's, complete. Errors: the engine's.
func (s *Service) settings(ctx context.Context, tenant, gallery string) (settings, error) {
	g, err := s.engine.Gallery(ctx, tenant, gallery)
	if err != nil {
		return settings{}, err
	}
	var t keptSettings
	d, err := s.engine.Document(ctx, tenant, kindSettings, gallery)
	if errors.Is(err, engine.ErrDocumentNotFound) {
		return settings{}.withDefaults(), nil
	}
	if err == nil {
		err = json.Unmarshal(d.Value, &t)
	}
	if err != nil {
		return settings{}, err
	}
	if !t.Made.Equal(g.Created) {
		t.settings = settings{}
	}
	return t.withDefaults(), nil
}

// settingsSpec is a request's: what is nil is the default.
type settingsSpec struct {
	Name       *string   `json:"name"`
	Origins    *[]string `json:"origins"`
	Challenges *[]string `json:"challenges"`
	Steps      *int      `json:"steps"`
	Tries      *int      `json:"tries"`
	Flash      *bool     `json:"flash"`
}

// settings are what the request says, checked. Errors: *dialect.Refusal.
func (spec *settingsSpec) settings() (settings, error) {
	var t settings
	dialect.Set(&t.Name, spec.Name)
	dialect.Set(&t.Origins, spec.Origins)
	dialect.Set(&t.Challenges, spec.Challenges)
	dialect.Set(&t.Flash, spec.Flash)
	t = t.withDefaults()
	dialect.Set(&t.Steps, spec.Steps)
	dialect.Set(&t.Tries, spec.Tries)
	switch {
	case len(t.Name) > maxNameBytes || !isLine(t.Name):
		return t, dialect.BadRequest("the name is not acceptable: use up to %d bytes of UTF-8 without control characters", maxNameBytes)
	case t.Steps < 1 || t.Steps > maxSteps:
		return t, dialect.BadRequest("steps is %d: a try has from 1 to %d challenges", t.Steps, maxSteps)
	case t.Tries < 1 || t.Tries > maxTries:
		return t, dialect.BadRequest("tries is %d: a session has from 1 to %d", t.Tries, maxTries)
	case len(t.Origins) > maxOrigins:
		return t, dialect.BadRequest("there are %d origins: the most is %d", len(t.Origins), maxOrigins)
	}
	origins := []string{}
	for _, o := range t.Origins {
		origin, err := originOf(o)
		if err != nil {
			return t, dialect.BadRequest("the origin %.100q is not acceptable: %v", o, err)
		}
		if u, err := url.Parse(o); err != nil || u.Path != "" && u.Path != "/" || strings.ContainsAny(o, "?#") {
			return t, dialect.BadRequest("the origin %.100q has more than scheme, host and port", o)
		}
		origins = append(origins, origin)
	}
	slices.Sort(origins)
	t.Origins = slices.Compact(origins)
	return t, t.checkChallenges(t.Challenges)
}

func (s *Service) getSettings(c *dialect.Call) (dialect.Answer, error) {
	if err := c.NoQuery(); err != nil {
		return dialect.Answer{}, err
	}
	t, err := s.settings(c.Ctx, c.Key.Tenant, c.Params[0])
	return dialect.JSON(200, t), err
}

func (s *Service) putSettings(c *dialect.Call) (dialect.Answer, error) {
	var spec settingsSpec
	if err := c.DecodeNative(&spec); err != nil {
		return dialect.Answer{}, err
	}
	tenant, gallery := c.Key.Tenant, c.Params[0]
	g, err := s.engine.Gallery(c.Ctx, tenant, gallery)
	if err != nil {
		return dialect.Answer{}, err
	}
	t, err := spec.settings()
	if err != nil {
		return dialect.Answer{}, err
	}
	value, err := json.Marshal(keptSettings{t, g.Created})
	if err != nil {
		return dialect.Answer{}, err
	}
	o := engine.DocumentOptions{Audit: "capture.settings.put", Note: gallery}
	_, err = s.engine.ChangeDocument(c.Ctx, tenant, kindSettings, gallery, o, func(*engine.Document) (*engine.Document, error) {
		return &engine.Document{Value: value}, nil
	})
	return dialect.JSON(200, t), err
}
