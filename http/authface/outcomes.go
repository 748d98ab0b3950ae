package authface

import "mien/http/dialect"

// outcomes are what each operation can answer. doc.go has the same table, and tests reach every row.
var outcomes = []dialect.Outcome{
	{Op: opEnroll, Status: 200, Cause: "a session: its result says who was enrolled"},
	{Op: opEnroll, Status: 409, Code: "client_state_used", Cause: causeUsed},
	{Op: opEnroll, Status: 409, Code: "user_exists", Cause: "external_user_id is enrolled"},
	{Op: opEnroll, Status: 422, Code: "redirect_not_allowed", Cause: causeRedirect},
	{Op: opVerify, Status: 200, Cause: "a session: its result says whether it is them"},
	{Op: opVerify, Status: 404, Code: "user_not_found", Cause: causeNobody},
	{Op: opVerify, Status: 409, Code: "client_state_used", Cause: causeUsed},
	{Op: opVerify, Status: 409, Code: "user_suspended", Cause: causeSuspended},
	{Op: opVerify, Status: 422, Code: "redirect_not_allowed", Cause: causeRedirect},
	{Op: opIdentify, Status: 200, Cause: "a session: its result says who it is"},
	{Op: opIdentify, Status: 409, Code: "client_state_used", Cause: causeUsed},
	{Op: opIdentify, Status: 422, Code: "redirect_not_allowed", Cause: causeRedirect},
	{Op: opUpdate, Status: 200, Cause: "a session: its result says whether the embedding is updated"},
	{Op: opUpdate, Status: 404, Code: "user_not_found", Cause: causeNobody},
	{Op: opUpdate, Status: 409, Code: "client_state_used", Cause: causeUsed},
	{Op: opUpdate, Status: 409, Code: "user_suspended", Cause: causeSuspended},
	{Op: opUpdate, Status: 422, Code: "redirect_not_allowed", Cause: causeRedirect},
	{Op: opResult, Status: 200, Code: "pending", Cause: "nobody has opened biometry_url"},
	{Op: opResult, Status: 200, Code: "in_progress", Cause: "somebody has"},
	{Op: opResult, Status: 200, Code: "success", Cause: "enrolled, verified, identified, updated"},
	{Op: opResult, Status: 200, Code: "fail", Cause: "the reasons are below"},
	{Op: opResult, Status: 200, Code: "expired", Cause: "the session's ten minutes are over, or the key that made it was revoked"},
	{Op: opResult, Status: 404, Code: "session_not_found", Cause: "no session of this client_state was made with this key, or it is over for a day, or its user was deleted"},
	{Op: opList, Status: 200, Cause: "a page of users"},
	{Op: opGet, Status: 200, Cause: "the user"},
	{Op: opGet, Status: 404, Code: "user_not_found", Cause: causeNobody},
	{Op: opDelete, Status: 200, Cause: "was enrolled, and is erased"},
	{Op: opDelete, Status: 404, Code: "user_not_found", Cause: causeNobody},

	{Status: 400, Code: "invalid_request", Cause: "no JSON object, too large, late or of another type; a field that is missing, of another type or form"},
	{Status: 401, Code: "unauthorized", Cause: "no key, or one that is unknown, revoked or expired"},
	{Status: 403, Code: "forbidden", Cause: "a native key, another dialect's, or one whose gallery is gone"},
	{Status: 404, Code: "not_found", Cause: "a path below /biometry that is none of these"},
	{Status: 405, Code: "method_not_allowed", Cause: "another method, with Allow"},
	{Status: 429, Code: "rate_limited", Cause: "the key's rate, the session's of result, or too many bad keys from one address; with Retry-After"},
	{Status: 500, Code: "internal_error", Cause: "the disk failed or is full, a record is damaged, or something unforeseen"},
	{Status: 503, Code: "service_unavailable", Cause: "too busy, too slow, stopping, or too many sessions"},
}

// Causes that operations share.
const (
	causeUsed      = "a session of client_state is there, of whatever flow, over or not"
	causeNobody    = "external_user_id is not enrolled"
	causeSuspended = "the user is suspended"
	causeRedirect  = "redirect_url is not of a registered origin, or not acceptable"
)
