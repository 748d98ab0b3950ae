package facephi

import "mien/http/dialect"

// outcomes is the table of doc.go. Code is serviceResultCode, serviceFacialAuthenticationResult and serviceLivenessResult.
var outcomes = []dialect.Outcome{
	{Op: opAuthenticate, Status: 200, Code: "0 3 3", Cause: "the faces match, and the probe's is live"},
	{Op: opAuthenticate, Status: 200, Code: "-100 0 0", Cause: "registeredTemplateRaw does not open, is over, or is another user's"},
	{Op: opAuthenticate, Status: 200, Code: "-101 0 0", Cause: "bestImageToken or template does not open, is over, used, another user's, or of a space that the gallery left"},
	{Op: opAuthenticate, Status: 200, Code: "-101 0 4", Cause: "ErrQuality: the best image is below the gallery's gate for probes"},
	{Op: opAuthenticate, Status: 200, Code: "-101 0 5", Cause: "ErrNoFace in the best image"},
	{Op: opAuthenticate, Status: 200, Code: "-101 0 6", Cause: "ErrFaceTooSmall in the best image"},
	{Op: opAuthenticate, Status: 200, Code: "-101 0 7", Cause: "ErrSeveralFaces in the best image"},
	{Op: opAuthenticate, Status: 200, Code: "-101 0 8", Cause: "ErrNotImage, ErrTruncated or ErrTooManyPixels of the best image"},
	{Op: opAuthenticate, Status: 200, Code: "-101 3 0", Cause: "the faces match; the gallery's models can't judge liveness"},
	{Op: opAuthenticate, Status: 200, Code: "-101 1 0", Cause: "the faces don't match, and the models can't judge liveness"},
	{Op: opAuthenticate, Status: 200, Code: "-101 3 1", Cause: "the faces match; the probe's is a spoof"},
	{Op: opAuthenticate, Status: 200, Code: "-101 1 1", Cause: "the faces don't match, and the probe's is a spoof"},
	{Op: opAuthenticate, Status: 200, Code: "-101 3 2", Cause: "the faces match; the probe's liveness is uncertain, or below the gallery's gate"},
	{Op: opAuthenticate, Status: 200, Code: "-101 1 2", Cause: "the faces don't match, and the probe's liveness is uncertain, or below the gate"},
	{Op: opAuthenticate, Status: 200, Code: "-102 1 3", Cause: "the faces don't match; the probe's is live"},
	{Op: opAuthenticate, Status: 200, Code: "-102 4 0", Cause: "image has no face that can be used, or registeredTemplateRaw is of a space that the gallery left"},
	{Op: opAuthenticate, Status: 400, Code: "-400 0 0", Cause: "a field is missing or not as documented, no JSON object, or image is no image"},
	{Op: opAuthenticate, Status: 401, Code: "-401 0 0", Cause: "ErrKeyMissing, ErrKeyUnknown, ErrKeyRevoked, ErrKeyExpired"},
	{Op: opAuthenticate, Status: 403, Code: "-403 0 0", Cause: "a key that is not for this dialect"},
	{Op: opAuthenticate, Status: 404, Code: "-404 0 0", Cause: "ErrGalleryNotFound: the key's gallery was deleted"},
	{Op: opAuthenticate, Status: 408, Code: "-408 0 0", Cause: "the body did not arrive in time"},
	{Op: opAuthenticate, Status: 413, Code: "-413 0 0", Cause: "the body is larger than the server takes"},
	{Op: opAuthenticate, Status: 415, Code: "-415 0 0", Cause: "a Content-Type that is not application/json, or a Content-Encoding"},
	{Op: opAuthenticate, Status: 429, Code: "-429 0 0", Cause: "the key's rate, or too many keys that are no good"},
	{Op: opAuthenticate, Status: 500, Code: "-500 0 0", Cause: "ErrCorrupt, and whatever is a fault of the server's"},
	{Op: opAuthenticate, Status: 503, Code: "-503 0 0", Cause: "busy, stopping, out of time, ErrStorageFailed, ErrStorageFull, ErrAudit, no models, a gallery that changes"},
	{Status: 404, Code: "-404 0 0", Cause: "an unknown path below /services"},
	{Status: 405, Code: "-405 0 0", Cause: "another method than POST"},
}
