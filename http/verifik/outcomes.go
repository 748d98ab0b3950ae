package verifik

import "mien/http/dialect"

// outcomes are all answers that the vendor's operations give. doc.go has the same table with the reasons; a test compares them, and
// another has a request for each row.
var outcomes = []dialect.Outcome{
	{Op: opValidate, Status: 200, Cause: "Identify finds somebody: the first request of the session that does"},
	{Op: opValidate, Status: 400, Code: "bad_request", Cause: "the body is no JSON object, or cut short"},
	{Op: opValidate, Status: 403, Code: "liveness_session_token_missing", Cause: "no bearer token, or an API key: native, or of any dialect"},
	{Op: opValidate, Status: 403, Code: "token_not_right", Cause: "no JWT, not HS256, not signed with the tenant's key, not a session's; an API key that is unknown"},
	{Op: opValidate, Status: 403, Code: "liveness_session_expired", Cause: "the session's end has come"},
	{Op: opValidate, Status: 403, Code: "liveness_session_revoked", Cause: "the API key that made the session was revoked, or the API key that is sent"},
	{Op: opValidate, Status: 404, Code: "biometric_validation_not_found", Cause: "no such session any more: its project, the person it identified, or their gallery was deleted"},
	{Op: opValidate, Status: 404, Code: "person_not_found", Cause: "Identify finds nobody by the project's policy, or who was found was deleted before the session could be completed"},
	{Op: opValidate, Status: 408, Code: "request_timeout", Cause: "the body does not arrive in http.Config.RequestTimeout"},
	{Op: opValidate, Status: 409, Code: "MissingParameter", Cause: "image is missing, empty or no string"},
	{Op: opValidate, Status: 409, Code: "liveness_failed", Cause: "ErrQuality: liveness is below the project's min_liveness, or the gallery's gate"},
	{Op: opValidate, Status: 409, Code: "liveness_session_completed", Cause: "the session has identified somebody"},
	{Op: opValidate, Status: 409, Code: "liveness_session_cancelled", Cause: "the session was cancelled, or its attempts are used up"},
	{Op: opValidate, Status: 409, Code: "collection_not_configured", Cause: "ErrGalleryNotFound, or the models of the gallery's space can't judge liveness"},
	{Op: opValidate, Status: 409, Code: "face_not_detected", Cause: "ErrNoFace"},
	{Op: opValidate, Status: 409, Code: "multiple_faces_detected", Cause: "ErrSeveralFaces"},
	{Op: opValidate, Status: 409, Code: "image_quality_failed", Cause: "ErrFaceTooSmall; ErrQuality: the gallery's gate for probes, other than liveness"},
	{Op: opValidate, Status: 412, Code: "only_images_in_base64", Cause: "image is not base64, or not of a JPEG, PNG, BMP or WebP file that is whole and not too large"},
	{Op: opValidate, Status: 413, Code: "payload_too_large", Cause: "the body is larger than http.Config.MaxBodyBytes"},
	{Op: opValidate, Status: 415, Code: "unsupported_media_type", Cause: "Content-Type is neither application/json nor missing; Content-Encoding"},
	{Op: opValidate, Status: 429, Code: "too_many_requests", Cause: "the server's rate for keys, which counts for each session; or too many tokens from one address that are no good"},
	{Op: opValidate, Status: 500, Code: "internal_error", Cause: "what is in no table, and ErrCorrupt"},
	{Op: opValidate, Status: 503, Code: "service_unavailable", Cause: "overloaded, out of time, stopping, the disk full or failed, no audit log, no extractor"},
	{Op: opKeySet, Status: 200, Cause: "the tenant's keys"},
	{Op: opKeySet, Status: 404, Code: "not_found", Cause: "no such tenant, or not its client id"},
	{Op: opKeySet, Status: 503, Code: "service_unavailable", Cause: "the disk failed, or the server stops"},
	{Status: 404, Code: "not_found", Cause: "no route has the path"},
	{Status: 405, Code: "method_not_allowed", Cause: "another method, with Allow; of OPTIONS a 204"},
}
