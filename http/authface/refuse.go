package authface

import (
	"fmt"

	"mien/engine"
	"mien/http/dialect"
)

// errorBody is a refusal.
type errorBody struct {
	Success bool   `json:"success"`
	Error   string `json:"error"`
	Message string `json:"message"`
}

// refusal is a status with the code that goes with it.
type refusal struct {
	status int
	code   string
}

var (
	invalidRequest = refusal{400, "invalid_request"}
	unauthorized   = refusal{401, "unauthorized"}
	forbidden      = refusal{403, "forbidden"}
	rateLimited    = refusal{429, "rate_limited"}
	internal       = refusal{500, "internal_error"}
	unavailable    = refusal{503, "service_unavailable"}
)

// refusals are what is answered to problems of the native API, with a message that names nothing that is inside; "" is the native one. What is not
// here is the server's failure.
var refusals = map[string]struct {
	refusal
	message string
}{
	"bad_json":               {invalidRequest, ""},
	"bad_request":            {invalidRequest, ""},
	"unsupported_media_type": {invalidRequest, ""},
	"body_too_large":         {invalidRequest, ""},
	"header_too_large":       {invalidRequest, ""},
	"request_timeout":        {invalidRequest, ""},
	"client_gone":            {invalidRequest, ""}, // nobody reads it
	"bad_id": {invalidRequest, fmt.Sprintf("the field \"external_user_id\" must be 1 to %d bytes without control characters or spaces at its ends, and not . or ..",
		engine.MaxIDBytes)},

	"key_missing":       {unauthorized, "send an API key: Authorization: Bearer mien_…"},
	"key_unknown":       {unauthorized, "the API key is unknown"},
	"key_revoked":       {unauthorized, "the API key was revoked"},
	"key_expired":       {unauthorized, "the API key has expired"},
	"forbidden":         {forbidden, "the API key is not for this"},
	"gallery_not_found": {forbidden, "the API key is not for this"},
	"tenant_not_found":  {forbidden, "the API key is not for this"},

	"route_not_found":    {refusal{404, "not_found"}, "there is nothing at this path"},
	"session_not_found":  {refusal{404, "session_not_found"}, errNoSession.Detail},
	"person_not_found":   {refusal{404, "user_not_found"}, "no user of this external_user_id is enrolled"},
	"method_not_allowed": {refusal{405, "method_not_allowed"}, "all operations are POST"},

	"session_exists":   {refusal{409, "client_state_used"}, "there is a session of this client_state already, which is good once: make another of a new UUID"},
	"person_exists":    {refusal{409, "user_exists"}, errUserExists.Detail},
	"person_suspended": {refusal{409, "user_suspended"}, errUserSuspended.Detail},

	"redirect_not_allowed": {refusal{422, "redirect_not_allowed"}, "the redirect_url must be an absolute https URL of an origin that is registered for this API key's users, without a fragment"},

	"rate_limited": {rateLimited, ""},
	"auth_limited": {rateLimited, "too many requests with an API key that is not valid came from this address"},

	"documents_full":    {unavailable, "there are all sessions that there may be: try again later"},
	"overloaded":        {unavailable, "the server is busy: try again"},
	"shutting_down":     {unavailable, "the server is stopping: try again"},
	"timeout":           {unavailable, "the request took too long, and may or may not have been done"},
	"extractor_missing": {unavailable, "the server has no models for faces"},
}

// messageFailed is what is said of everything else; the log has the cause under the answer's X-Request-Id.
const messageFailed = "the request could not be processed"

// refuse words a refusal.
func refuse(_ *dialect.Call, f *dialect.Failure) dialect.Answer {
	r, ok := refusals[f.Code]
	if !ok {
		r.refusal, r.message = internal, messageFailed
	}
	if r.message == "" {
		r.message = f.Detail
	}
	a := dialect.JSON(r.status, errorBody{Error: r.code, Message: r.message})
	switch {
	case r.refusal == unauthorized: // RFC 9110, 11.6.1
		a.Set("WWW-Authenticate", `Bearer realm="biometry"`)
	case f.Code == "documents_full":
		a.Set("Retry-After", "60")
	}
	return a
}
