package auther

import (
	"errors"
	"slices"
	"strings"

	"mien/http/dialect"
)

// The document's codes, and those for what it has none: M_ and the status.
const (
	codeFaceExists    = "F_012"
	codeProfileExists = "CP_002"
	codeQuota         = "CP_005"
	codeBody          = "R_002"
	codeFields        = "R_003"
	codeNotFound      = "NF_001"
	codeNoMatch       = "RF_001"

	codeFaceSize = "F_011"

	codeUnauthorized = "M_401"
	codeForbidden    = "M_403"
	codeNoPath       = "M_404"
	codeNoMethod     = "M_405"
	codeInternal     = "M_500"
	codeUnavailable  = "M_503"
)

// messages are the texts of codes, word for word; %s is the person's id.
var messages = map[string]string{
	"F_001":        "Should be one face",
	"F_002":        "Most likely face doesn't exist",
	"F_003":        "Eyes are closed",
	"F_004":        "Mouth is open",
	"F_005":        "Sunglasses exists",
	"F_006":        "Brightness is bad",
	"F_007":        "Sharpness is bad",
	"F_008":        "Wrong face roll",
	"F_009":        "Wrong face pitch",
	"F_010":        "Wrong face yaw",
	codeFaceSize:   "Wrong face size when image check",
	codeFaceExists: "Face exists",

	codeProfileExists: "Customer profile already exists with id %s",
	codeQuota:         "Number of available requests exceeded",
	codeBody:          "Request body exception",
	codeFields:        "Fields validation exception",
	codeNotFound:      "Face not found in collection",
	codeNoMatch:       "No person matched",

	codeUnauthorized: "Unauthorized",
	codeForbidden:    "Forbidden",
	codeNoPath:       "Not Found",
	codeNoMethod:     "Method Not Allowed",
	codeInternal:     "Internal Server Error",
	codeUnavailable:  "Service Unavailable",
}

// errorBody is the body of every refusal.
type errorBody struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// refusal answers a code; person is who the request names.
func refusal(status int, code, person string) dialect.Answer {
	return dialect.JSON(status, errorBody{code, strings.Replace(messages[code], "%s", person, 1)})
}

// photoCodes are those of photos in the order in which one of several is told: what the face is and where first, then light, without
// which nothing else is seen well, then what covers it. A photo in the dark has no edges either, and behind sunglasses eyes count as closed.
var photoCodes = []string{"F_001", "F_002", codeFaceSize, "F_010", "F_009", "F_008", "F_006", "F_005", "F_007", "F_003", "F_004"}

// photoCode is the code of what is wrong with a photo, "" if it is something else that is wrong.
func photoCode(f *dialect.Failure) string {
	best := len(photoCodes)
	for _, reason := range f.Reasons {
		if tags, ok := dialect.TagsOf(reason); ok {
			if i := slices.Index(photoCodes, tags.Auther); i >= 0 {
				best = min(best, i)
			}
		}
	}
	if best == len(photoCodes) {
		return ""
	}
	return photoCodes[best]
}

// worded are the answers to failures of the native API by its codes; doc.go says why each.
var worded = map[string]struct {
	status int
	code   string
}{
	"key_missing":   {401, codeUnauthorized},
	"key_unknown":   {401, codeUnauthorized},
	"key_revoked":   {401, codeUnauthorized},
	"key_expired":   {401, codeUnauthorized},
	"auth_limited":  {401, codeUnauthorized},
	"bad_signature": {401, codeUnauthorized},

	"forbidden":         {403, codeForbidden},
	"gallery_not_found": {403, codeForbidden},

	"route_not_found":    {404, codeNoPath},
	"method_not_allowed": {405, codeNoMethod},

	"person_exists":     {400, codeProfileExists},
	"duplicate":         {400, codeFaceExists},
	"rate_limited":      {400, codeQuota},
	"attempts_exceeded": {400, codeQuota},

	"bad_request":            {400, codeBody},
	"bad_json":               {400, codeBody},
	"unsupported_media_type": {400, codeBody},
	"body_too_large":         {400, codeBody},
	"request_timeout":        {400, codeBody},
	"header_too_large":       {400, codeBody},
	"client_gone":            {400, codeBody}, // nobody reads it

	"bad_base64":      {400, codeFields},
	"bad_id":          {400, codeFields},
	"not_an_image":    {400, codeFields},
	"image_truncated": {400, codeFields},
	"image_too_large": {400, codeFields},

	"person_not_found": {404, codeNotFound},
	"person_suspended": {410, codeNoMatch},

	"storage_failed": {500, codeInternal}, // which 503 would ask to try again
}

// refuse implements dialect.Dialect.Refuse.
func (a *auther) refuse(c *dialect.Call, f *dialect.Failure) dialect.Answer {
	if code := photoCode(f); code != "" {
		return refusal(400, stateOf(c).photoCode(code), c.Person)
	}
	if _, field := errors.AsType[*dialect.FieldError](f.Err); field {
		return refusal(400, codeFields, c.Person)
	}
	if w, ok := worded[f.Code]; ok {
		return refusal(w.status, w.code, c.Person)
	}
	if f.Status == 503 || f.Code == "gate_changed" {
		return refusal(503, codeUnavailable, c.Person)
	}
	return refusal(500, codeInternal, c.Person)
}

// photoCode is what the operation's table has for a photo's code: an enrolment all of them, identification the face's size, the
// others none.
func (s *state) photoCode(code string) string {
	if s.op == opCreate || s.op == opUpdate || s.op == opRecognize && code == codeFaceSize {
		return code
	}
	return codeFields
}
