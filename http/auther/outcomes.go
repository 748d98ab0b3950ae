package auther

import "mien/http/dialect"

// rows are the outcomes of some operations that they have in common.
type rows []dialect.Outcome

// of returns the rows as those of an operation.
func (r rows) of(op string) (list rows) {
	for _, o := range r {
		o.Op = op
		list = append(list, o)
	}
	return list
}

var (
	// everyRows are those of each operation.
	everyRows = rows{
		{Status: 400, Code: codeQuota, Cause: "the key's rate is used up"},
		{Status: 401, Code: codeUnauthorized, Cause: "no good key, or a signature that is missing, wrong, old or used"},
		{Status: 403, Code: codeForbidden, Cause: "a key that is not for this dialect, or whose gallery is not there"},
		{Status: 500, Code: codeInternal, Cause: "the disk failed or is full, a record is damaged, or something unforeseen"},
		{Status: 503, Code: codeUnavailable, Cause: "too busy, too slow, stopping, or without models"},
	}
	// bodyRows are those of what has a body.
	bodyRows = rows{
		{Status: 400, Code: codeBody, Cause: "not JSON, not stated to be, too large, cut short"},
	}
	// enrolRows are those of photos to enrol.
	enrolRows = rows{
		{Status: 400, Code: codeFields, Cause: "a field is missing, of another type, not base64, no readable image; an id that is not allowed"},
		{Status: 400, Code: "F_001", Cause: "several_faces"},
		{Status: 400, Code: "F_002", Cause: "no_face, liveness_failed (of the gallery's own gate)"},
		{Status: 400, Code: "F_003", Cause: "eyes_closed"},
		{Status: 400, Code: "F_004", Cause: "mouth_open"},
		{Status: 400, Code: "F_005", Cause: "eyes_covered"},
		{Status: 400, Code: "F_006", Cause: "brightness_failed, light_uniformity_failed, contrast_failed"},
		{Status: 400, Code: "F_007", Cause: "sharpness_failed, compression_failed, quality_failed"},
		{Status: 400, Code: "F_008", Cause: "pose_roll_failed"},
		{Status: 400, Code: "F_009", Cause: "pose_pitch_failed"},
		{Status: 400, Code: "F_010", Cause: "pose_yaw_failed"},
		{Status: 400, Code: codeFaceSize, Cause: "face_too_small, head_size_failed, face_cut_off"},
		{Status: 400, Code: codeFaceExists, Cause: "duplicate: the face is another person's of the gallery"},
	}
	// probeRows are those of other photos.
	probeRows = rows{
		{Status: 400, Code: codeFields, Cause: "as of enrolment, and what is wrong with a photo"},
	}
	idRows = rows{
		{Status: 400, Code: codeFields, Cause: "an id that is not allowed"},
	}
	noMatchRows = rows{{Status: 410, Code: codeNoMatch, Cause: "no match"}}
	absentRows  = rows{{Status: 404, Code: codeNotFound, Cause: "person_not_found"}}
)

// outcomes is the table of doc.go.
func outcomes() []dialect.Outcome {
	var all rows
	for _, o := range []struct {
		op    string
		parts []rows
	}{
		{opCreate, []rows{{{Status: 200, Cause: "enrolled"}}, bodyRows, enrolRows, {{Status: 400, Code: codeProfileExists, Cause: "person_exists"}}, everyRows}},
		{opUpdate, []rows{{{Status: 200, Cause: "enrolled anew; created, metadata and retention stay"}}, bodyRows, enrolRows,
			{{Status: 400, Code: codeProfileExists, Cause: "the person was deleted and another enrolled under the id while the photo was looked at"}},
			absentRows, everyRows}},
		{opRemove, []rows{{{Status: 200, Cause: "deleted; no body"}}, {{Status: 400, Code: codeBody, Cause: "a body that is no JSON object, or too large"}}, idRows, absentRows, everyRows}},
		{opGet, []rows{{{Status: 200, Cause: "the person"}}, {{Status: 400, Code: codeBody, Cause: "a body"}}, idRows, absentRows, everyRows}},
		{opRecognize, []rows{{{Status: 200, Cause: "the most alike, from a similarity of 0.98 on"}}, bodyRows, probeRows,
			{{Status: 400, Code: codeFaceSize, Cause: "face_too_small, and of the gallery's own gate head_size_failed and face_cut_off"}}, noMatchRows, everyRows}},
		{opVerify, []rows{{{Status: 200, Cause: "match, from a similarity of 0.80 on"}}, bodyRows, probeRows, absentRows,
			{{Status: 410, Code: codeNoMatch, Cause: "no match, or person_suspended"}}, everyRows}},
		{opCompare, []rows{{{Status: 200, Cause: "similarity in percent, 0 below the threshold"}}, bodyRows, probeRows, everyRows}},
	} {
		for _, part := range o.parts {
			all = append(all, part.of(o.op)...)
		}
	}
	return append(all,
		dialect.Outcome{Status: 404, Code: codeNoPath, Cause: "a path below /person that is none of these"},
		dialect.Outcome{Status: 405, Code: codeNoMethod, Cause: "another method, with Allow"})
}
