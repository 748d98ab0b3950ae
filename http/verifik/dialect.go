package verifik

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"mien/engine"
	"mien/http/capture"
	"mien/http/dialect"
)

// Name is the dialect's.
const Name = "verifik"

// Kinds of documents that the dialect keeps.
const (
	kindProject  = "verifik.project"  // by its id
	kindSession  = "verifik.session"  // by project.session
	kindDelivery = "verifik.delivery" // by project.message
	kindKeys     = "verifik.keys"     // one, "token"
)

// Config is what the dialect needs. Only Engine is required.
type Config struct {
	Engine *engine.Engine
	Logger *slog.Logger // default: nothing is written

	// WebhookHTTP lets webhooks go to http: URLs, and WebhookPrivate to addresses that are not public: of this machine, its
	// networks, its cloud's metadata.
	WebhookHTTP, WebhookPrivate bool

	// Sessions makes the links by which people go through the capture page; nil: sessions have none.
	Sessions *capture.Service
}

// service is the dialect's state.
type service struct {
	engine *engine.Engine
	ids    *objectIDs
	guard  guard
	queue  *queue
	links  *capture.Service
	log    *slog.Logger
}

// New makes the dialect. Dialect.Run sends its webhooks.
func New(c Config) *dialect.Dialect {
	return newService(c).dialect()
}

func newService(c Config) *service {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &service{engine: c.Engine, ids: newObjectIDs(), guard: guard{http: c.WebhookHTTP, private: c.WebhookPrivate}, links: c.Sessions, log: c.Logger}
	s.queue = newQueue(c.Engine, s.guard, c.Logger)
	if s.links != nil {
		s.links.Handle(Name, capture.Owner{Decide: s.decidePage, Ended: s.pageEnded})
	}
	return s
}

func (s *service) dialect() *dialect.Dialect {
	admin := []engine.Role{engine.RoleAdmin}
	asking := []engine.Role{engine.RoleAdmin, engine.RoleMatcher}
	auditing := []engine.Role{engine.RoleAdmin, engine.RoleAuditor}
	reading := []engine.Role{engine.RoleAdmin, engine.RoleMatcher, engine.RoleAuditor}
	const projects, one = "/v1/verifik/projects", "/v1/verifik/projects/{project}"
	return &dialect.Dialect{
		Name: Name,
		Routes: []dialect.Route{
			{Method: "POST", Pattern: "/v2/biometric-validations/validate", Op: opValidate, Handle: s.validate},
			{Method: "GET", Pattern: "/v2/clients/{tenant}/{client}/jwks.json", Op: opKeySet, Public: true, Handle: s.keySet},

			{Method: "POST", Pattern: projects, Op: "createVerifikProject", Roles: admin, Handle: s.createProject},
			{Method: "GET", Pattern: projects, Op: "listVerifikProjects", Roles: reading, Handle: s.listProjects},
			{Method: "GET", Pattern: one, Op: "getVerifikProject", Roles: reading, Handle: s.getProject},
			{Method: "PATCH", Pattern: one, Op: "patchVerifikProject", Roles: admin, Handle: s.patchProject},
			{Method: "DELETE", Pattern: one, Op: "deleteVerifikProject", Roles: admin, Handle: s.deleteProject},
			{Method: "POST", Pattern: one + "/sessions", Op: "createVerifikSession", Roles: asking, Handle: s.createSession},
			{Method: "GET", Pattern: one + "/sessions/{session}", Op: "getVerifikSession", Roles: reading, Handle: s.getSession},
			{Method: "DELETE", Pattern: one + "/sessions/{session}", Op: "cancelVerifikSession", Roles: asking, Handle: s.cancelSession},
			{Method: "GET", Pattern: one + "/deliveries", Op: "listVerifikDeliveries", Roles: auditing, Handle: s.listDeliveries},
			{Method: "POST", Pattern: "/v1/verifik/keys/rotate", Op: "rotateVerifikKey", Roles: admin, Handle: s.rotateKey},
		},
		Outcomes:     outcomes,
		Under:        []string{"/v2/biometric-validations", "/v2/clients"},
		Authenticate: s.authenticate,
		Refuse:       refuse,
		Run:          func(ctx context.Context) { s.queue.run(ctx) },
	}
}

// Operations of the vendor's.
const (
	opValidate = "validateBiometrics"
	opKeySet   = "verifikKeySet"
)

// refusal is what a code of the native API is called here.
type refusal struct {
	status int
	code   string
}

// Refusals of which there are several causes, or that need a look at the error.
var (
	tokenMissing   = refusal{403, "liveness_session_token_missing"}
	tokenNotRight  = refusal{403, "token_not_right"}
	sessionExpired = refusal{403, "liveness_session_expired"}
	sessionRevoked = refusal{403, "liveness_session_revoked"}
	badRequest     = refusal{400, "bad_request"}
	notConfigured  = refusal{409, "collection_not_configured"}
	livenessFailed = refusal{409, "liveness_failed"}
	badQuality     = refusal{409, "image_quality_failed"}
	badImage       = refusal{412, "only_images_in_base64"}
	missing        = refusal{409, "MissingParameter"}
	internal       = refusal{500, "internal_error"}
	unavailable    = refusal{503, "service_unavailable"}
)

// refusals are by the native API's codes. What is missing is by the native status: 5xx as internal or unavailable, the rest bad_request.
var refusals = map[string]refusal{
	"key_missing": tokenMissing,
	"forbidden":   tokenMissing, // a key, and of no session
	"key_unknown": tokenNotRight,
	"key_expired": sessionExpired,
	"key_revoked": sessionRevoked,

	"route_not_found":    {404, "not_found"},
	"method_not_allowed": {405, "method_not_allowed"},
	"request_timeout":    {408, "request_timeout"},
	"body_too_large":     {413, "payload_too_large"},
	"rate_limited":       {429, "too_many_requests"},
	"auth_limited":       {429, "too_many_requests"},

	"unsupported_media_type": {415, "unsupported_media_type"},

	"session_not_found": {404, "biometric_validation_not_found"},
	"session_completed": {409, "liveness_session_completed"},
	"session_cancelled": {409, "liveness_session_cancelled"},

	"bad_base64":      badImage,
	"not_an_image":    badImage,
	"image_truncated": badImage,
	"image_too_large": badImage,
	"no_face":         {409, "face_not_detected"},
	"several_faces":   {409, "multiple_faces_detected"},
	"face_too_small":  badQuality,
	"quality_failed":  badQuality, // or livenessFailed

	"person_not_found":  {404, "person_not_found"},
	"gallery_not_found": notConfigured,
	"bad_gate":          notConfigured, // the models can't judge liveness
	"measure_missing":   notConfigured,
	"space_mismatch":    notConfigured,
	"space_unknown":     notConfigured,

	"gate_changed":      unavailable,
	"gallery_moving":    unavailable,
	"documents_full":    unavailable,
	"overloaded":        unavailable,
	"timeout":           unavailable,
	"shutting_down":     unavailable,
	"audit_unavailable": unavailable,
	"storage_failed":    unavailable,
	"storage_full":      unavailable,
	"extractor_missing": unavailable,
}

// errorBody is a refusal in the vendor's shape.
type errorBody struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// refuse words a refusal: the message is the status and the code again, of one for liveness also the score. Of a token that is missing
// the vendor's example has the code alone, and of a parameter a sentence.
func refuse(_ *dialect.Call, f *dialect.Failure) dialect.Answer {
	r, message := refusalOf(f), ""
	switch r {
	case tokenMissing:
		message = r.code
	case livenessFailed:
		message = fmt.Sprintf("%d:%s@%s", r.status, r.code, livenessOf(f.Err))
	case missing:
		message = missingMessage(f.Err)
	default:
		message = fmt.Sprintf("%d:%s", r.status, r.code)
	}
	return dialect.JSON(r.status, errorBody{r.code, message})
}

func refusalOf(f *dialect.Failure) refusal {
	if f.Code == "quality_failed" && len(f.Reasons) > 0 && f.Reasons[0] == reasonLiveness {
		return livenessFailed
	}
	if e, ok := errors.AsType[*dialect.FieldError](f.Err); ok && e.Field == imageField {
		return missing
	}
	if r, ok := refusals[f.Code]; ok {
		return r
	}
	if f.Status >= 500 {
		return internal
	}
	return badRequest
}

// imageField is the request's one field.
const imageField = "image"

func missingMessage(err error) string {
	if e, ok := errors.AsType[*dialect.FieldError](err); ok && e.Want != "" {
		return fmt.Sprintf("%q must be %s", e.Field, e.Want)
	}
	return "missing " + imageField
}

// reasonLiveness is the engine's reason of a photo whose liveness is too low.
const reasonLiveness = "liveness_failed"

// livenessOf is the score of such a photo, from 0 to 1.
func livenessOf(err error) string {
	if e, ok := errors.AsType[*engine.QualityError](err); ok {
		for _, r := range e.Reasons {
			if r.Code == reasonLiveness {
				return strconv.FormatFloat(float64(int(r.Value))/100, 'f', 2, 64) // cut: never shown as the threshold that it missed
			}
		}
	}
	return "0.00"
}

// Paging of native lists, by the ids of documents.

// page reads limit and cursor from the query.
func page(c *dialect.Call) (limit int, cursor string, err error) {
	limit, cursor, err = c.Page()
	if err == nil && cursor != "" && !isObjectID(cursor) {
		err = dialect.ErrCursor
	}
	return limit, cursor, err
}

// below lists documents of a kind whose ids begin with prefix and an object id, behind the cursor. next is the cursor of the next
// page, "" of the last.
func (s *service) below(c *dialect.Call, kind, prefix string, limit int, cursor string) (list []engine.Document, next string, err error) {
	after := prefix + cursor
	for len(list) <= limit {
		part, err := s.engine.Documents(c.Ctx, c.Key.Tenant, kind, min(limit+1-len(list), engine.MaxListLimit), after)
		if err != nil || len(part) == 0 || !strings.HasPrefix(part[0].ID, prefix) {
			return list, "", err
		}
		for _, d := range part {
			if !strings.HasPrefix(d.ID, prefix) {
				return list, "", nil
			}
			list = append(list, d)
		}
		after = part[len(part)-1].ID
	}
	list = list[:limit]
	return list, strings.TrimPrefix(list[limit-1].ID, prefix), nil
}
