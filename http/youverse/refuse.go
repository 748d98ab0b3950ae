package youverse

import (
	"fmt"

	"mien/engine"
	"mien/http/dialect"
)

// phrases are those of the statuses that are answered (RFC 9110, 15; RFC 6585, 4).
var phrases = map[int]string{
	400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict", 429: "Too Many Requests",
	500: "Internal Server Error", 503: "Service Unavailable",
}

// Messages that are the document's, or the gateway's.
const (
	messageNoToken   = "Missing Authentication Token"
	messageForbidden = "Forbidden"
	messageNoUser    = "User not registered."
	messageNoMPC     = "Decentralized matching is not available on this server: use /user_verification."
)

// said is what is answered to a problem of the native API that is not one of its request's or of a photo: a status, and a message that
// names neither people nor galleries nor what is inside.
var said = map[string]struct {
	status  int
	message string
}{
	"bad_id": {400, fmt.Sprintf("The field \"user_id\" must be 1 to %d bytes without control characters or spaces at its ends, and not . or ..", engine.MaxIDBytes)},

	"key_unknown": {401, "Check your x-api-key: it is unknown."},
	"key_revoked": {401, "Check your x-api-key: it was revoked."},
	"key_expired": {401, "Check your x-api-key: it has expired."},

	"key_missing":       {403, messageNoToken},
	"forbidden":         {403, messageForbidden},
	"gallery_not_found": {403, messageForbidden},
	"tenant_not_found":  {403, messageForbidden},

	"route_not_found":  {404, "There is nothing at this path."},
	"person_not_found": {409, messageNoUser},
	"person_suspended": {409, "The user is suspended."},
	"duplicate":        {409, "The face is registered under another user_id."},
	"space_mismatch":   {409, "The template is of another template_version than the registration."},
	"space_unknown":    {409, "The template is of another template_version than the registration."},
	"version_mismatch": {409, "The user was registered or deleted by other requests meanwhile."},
	"gate_changed":     {409, "The quality checks were changed meanwhile: send the photo again."},
	"gallery_moving":   {409, "Users are being moved to another template_version: try again later."},

	"rate_limited":      {429, "This x-api-key makes too many requests."},
	"auth_limited":      {429, "Too many requests with an x-api-key that is not valid came from this address."},
	"attempts_exceeded": {429, "There were too many face authentications of this user: try again later."},

	"decentralised_unconfigured": {405, messageNoMPC},
	"person_exists":              {409, "The user was registered or deleted by other requests meanwhile."},
	"party_away":                 {503, "A holder of shares is away: try again."},
	"parties_differ":             {503, "The holders of shares are set up differently: their operators must act."},

	"overloaded":    {503, "The server is busy: try again."},
	"shutting_down": {503, "The server is stopping: try again."},
	"timeout":       {503, "The request took too long, and may or may not have been done: try again."},
}

// asItIs are the codes of what is wrong with a request, of which the native sentence says what to do.
var asItIs = map[string]bool{
	"bad_json": true, "bad_base64": true, "bad_request": true, "unsupported_media_type": true, "body_too_large": true,
	"request_timeout": true, "client_gone": true, "not_an_image": true, "image_truncated": true, "image_too_large": true,
	"template_length": true, "template_not_finite": true, "template_zero_norm": true, "template_unfit": true,
}

// messageFailed is what is said of everything else; the log has the cause under the answer's X-Request-Id.
const messageFailed = "The request could not be processed."

// refuse words a refusal: an Error response, or of 403 the gateway's.
func refuse(_ *dialect.Call, f *dialect.Failure) dialect.Answer {
	status, message := statusOf(f)
	if status == 403 {
		return dialect.JSON(403, forbiddenResponse{message})
	}
	a := dialect.JSON(status, errorResponse{status, phrases[status], message})
	switch {
	case status == 401: // RFC 9110, 11.6.1
		a.Set("WWW-Authenticate", `ApiKey realm="user_verification"`)
	case status == 405 && f.Allow == "": // nothing is allowed where something is switched off (RFC 9110, 10.2.1)
		a.Set("Allow", "")
	}
	return a
}

func statusOf(f *dialect.Failure) (status int, message string) {
	if tag := tagOf(f.Reasons); tag != "" {
		return 400, tag
	}
	if s, ok := said[f.Code]; ok {
		return s.status, s.message
	}
	switch {
	case asItIs[f.Code]:
		return 400, f.Detail
	case f.Code == "method_not_allowed":
		return 405, f.Detail
	}
	return 500, messageFailed
}

const tagQuality = "quality_failed"

// tagOf is the tag of reasons why a photo is refused: the first that says more than that its quality is not enough; "" if there is
// none.
func tagOf(reasons []string) (tag string) {
	for _, r := range reasons {
		t, ok := dialect.TagsOf(r)
		if !ok {
			continue
		}
		if tag = t.Youverse; tag != tagQuality {
			break
		}
	}
	return tag
}
