package youverse

import "mien/http/dialect"

// outcomes are what each operation can answer. doc.go has the same table, and tests reach every row.
var outcomes = []dialect.Outcome{
	{Op: "", Status: 404, Cause: "a path below /user_verification that is none of these"},
	{Op: "", Status: 405, Cause: "another method, with Allow"},

	{Op: opVerify, Status: 200, Code: statusSuccess, Cause: "registered, and the photo matches"},
	{Op: opVerify, Status: 200, Code: statusFailed, Cause: "registered, and the photo does not match"},
	{Op: opVerify, Status: 200, Code: statusNew, Cause: "not registered before, create_if_new is true: now registered"},
	{Op: opVerify, Status: 200, Code: statusNotFound, Cause: "not registered, create_if_new is false; the photo is not looked at"},
	{Op: opVerify, Status: 400, Code: "face_not_found", Cause: "no_face"},
	{Op: opVerify, Status: 400, Code: "multiple_faces", Cause: "several_faces"},
	{Op: opVerify, Status: 400, Code: "brightness_failed", Cause: "brightness_failed of the gate"},
	{Op: opVerify, Status: 400, Code: "light_uniformity_failed", Cause: "light_uniformity_failed of the gate"},
	{Op: opVerify, Status: 400, Code: tagQuality, Cause: "face_too_small; every other reason of the gate, liveness_failed too"},
	{Op: opVerify, Status: 400, Cause: causeBad + "; not_an_image, image_truncated, image_too_large"},
	{Op: opVerify, Status: 401, Cause: causeKey},
	{Op: opVerify, Status: 403, Cause: causeForbidden},
	{Op: opVerify, Status: 409, Cause: "person_suspended, duplicate, version_mismatch, gate_changed"},
	{Op: opVerify, Status: 429, Cause: causeRate + ", attempts_exceeded"},
	{Op: opVerify, Status: 500, Cause: causeFailed},
	{Op: opVerify, Status: 503, Cause: causeBusy},

	{Op: opTemplate, Status: 200, Code: statusSuccess, Cause: "registered, and the template matches"},
	{Op: opTemplate, Status: 200, Code: statusFailed, Cause: "registered, and the template does not match"},
	{Op: opTemplate, Status: 200, Code: statusNotFound, Cause: "not registered"},
	{Op: opTemplate, Status: 400, Cause: causeBad + "; template_length, template_not_finite, template_zero_norm"},
	{Op: opTemplate, Status: 401, Cause: causeKey},
	{Op: opTemplate, Status: 403, Cause: causeForbidden},
	{Op: opTemplate, Status: 409, Cause: "space_mismatch: another template_version; person_suspended"},
	{Op: opTemplate, Status: 429, Cause: causeRate + ", attempts_exceeded"},
	{Op: opTemplate, Status: 500, Cause: causeFailed},
	{Op: opTemplate, Status: 503, Cause: causeBusy},

	{Op: opData, Status: 200, Cause: "registered"},
	{Op: opData, Status: 400, Cause: causeBad},
	{Op: opData, Status: 401, Cause: causeKey},
	{Op: opData, Status: 403, Cause: causeForbidden + "; the key is told no exact scores"},
	{Op: opData, Status: 409, Cause: "person_not_found"},
	{Op: opData, Status: 429, Cause: causeRate},
	{Op: opData, Status: 500, Cause: causeFailed},
	{Op: opData, Status: 503, Cause: causeBusy},

	{Op: opDelete, Status: 204, Cause: "was registered, and is deleted"},
	{Op: opDelete, Status: 400, Cause: causeBad},
	{Op: opDelete, Status: 401, Cause: causeKey},
	{Op: opDelete, Status: 403, Cause: causeForbidden},
	{Op: opDelete, Status: 409, Cause: "person_not_found"},
	{Op: opDelete, Status: 429, Cause: causeRate},
	{Op: opDelete, Status: 500, Cause: causeFailed},
	{Op: opDelete, Status: 503, Cause: causeBusy},

	{Op: opVerifyMPC, Status: 200, Code: statusSuccess, Cause: "registered, and the photo matches"},
	{Op: opVerifyMPC, Status: 200, Code: statusFailed, Cause: "registered, and the photo does not match"},
	{Op: opVerifyMPC, Status: 200, Code: statusNew, Cause: "not registered before, create_if_new is true: now registered"},
	{Op: opVerifyMPC, Status: 200, Code: statusNotFound, Cause: "not registered, create_if_new is false; the photo is not looked at"},
	{Op: opVerifyMPC, Status: 400, Code: "face_not_found", Cause: "no_face"},
	{Op: opVerifyMPC, Status: 400, Code: "multiple_faces", Cause: "several_faces"},
	{Op: opVerifyMPC, Status: 400, Code: "brightness_failed", Cause: "brightness_failed of the gate"},
	{Op: opVerifyMPC, Status: 400, Code: "light_uniformity_failed", Cause: "light_uniformity_failed of the gate"},
	{Op: opVerifyMPC, Status: 400, Code: tagQuality, Cause: "face_too_small; every other reason of the gate, liveness_failed too"},
	{Op: opVerifyMPC, Status: 400, Cause: causeBad + "; not_an_image, image_truncated, image_too_large, template_unfit"},
	{Op: opVerifyMPC, Status: 401, Cause: causeKey},
	{Op: opVerifyMPC, Status: 403, Cause: causeForbidden},
	{Op: opVerifyMPC, Status: 405, Cause: causeMPC},
	{Op: opVerifyMPC, Status: 409, Cause: "space_mismatch: registered under another model; gate_changed, person_exists"},
	{Op: opVerifyMPC, Status: 429, Cause: causeRate + "; attempts_exceeded: the budgets of the parties, and locks"},
	{Op: opVerifyMPC, Status: 500, Cause: causeFailed},
	{Op: opVerifyMPC, Status: 503, Cause: causeBusy + ", party_away, parties_differ"},

	{Op: opDeleteMPC, Status: 204, Cause: "was registered; two parties at least have destroyed their shares"},
	{Op: opDeleteMPC, Status: 400, Cause: causeBad},
	{Op: opDeleteMPC, Status: 401, Cause: causeKey},
	{Op: opDeleteMPC, Status: 403, Cause: causeForbidden},
	{Op: opDeleteMPC, Status: 405, Cause: causeMPC},
	{Op: opDeleteMPC, Status: 409, Cause: "person_not_found"},
	{Op: opDeleteMPC, Status: 429, Cause: causeRate},
	{Op: opDeleteMPC, Status: 500, Cause: causeFailed},
	{Op: opDeleteMPC, Status: 503, Cause: causeBusy + ", party_away, parties_differ"},
}

// Causes that operations share; doc.go says what is in each.
const (
	causeBad       = "BAD"
	causeKey       = "KEY"
	causeForbidden = "FORBIDDEN"
	causeRate      = "RATE"
	causeFailed    = "FAILED"
	causeBusy      = "BUSY"
	causeMPC       = "the server has no parties, or none for the gallery's model"
)
