package dialect

// Tags are what the vendors' APIs call a reason why a photo is refused.
type Tags struct {
	Reason   string // one of engine.ReasonCodes, or the code of a problem that every photo without a usable face has
	Auther   string // "code" of its 400
	Youverse string // the tag in its message
	FacePhi  int    // serviceResultCode; 0: its document has none
}

// reasonTags is the one table of them. Each tag that the documents have for photos is there at least once; where several reasons have
// one, the first is what it means, and the others are as near as the document comes. F_012 of auther, "Face exists", is of the
// gallery, not of the photo.
var reasonTags = []Tags{
	{"several_faces", "F_001", "multiple_faces", 0},
	{"no_face", "F_002", "face_not_found", 0},
	{"eyes_closed", "F_003", "quality_failed", 0},
	{"mouth_open", "F_004", "quality_failed", 0},
	{"eyes_covered", "F_005", "quality_failed", 0},
	{"brightness_failed", "F_006", "brightness_failed", 0},
	{"light_uniformity_failed", "F_006", "light_uniformity_failed", 0},
	{"contrast_failed", "F_006", "quality_failed", 0},
	{"sharpness_failed", "F_007", "quality_failed", 0},
	{"compression_failed", "F_007", "quality_failed", 0},
	{"quality_failed", "F_007", "quality_failed", 0},
	{"pose_roll_failed", "F_008", "quality_failed", 0},
	{"pose_pitch_failed", "F_009", "quality_failed", 0},
	{"pose_yaw_failed", "F_010", "quality_failed", 0},
	{"face_too_small", "F_011", "quality_failed", 0},
	{"head_size_failed", "F_011", "quality_failed", 0},
	{"face_cut_off", "F_011", "quality_failed", 0},
	{"liveness_failed", "F_002", "quality_failed", -101}, // "Most likely face doesn't exist"
}

// TagsOf returns the tags of a reason; ok is false for what is wrong with something else than a photo.
func TagsOf(reason string) (t Tags, ok bool) {
	for _, row := range reasonTags {
		if row.Reason == reason {
			return row, true
		}
	}
	return Tags{}, false
}

// Tags returns the tags of the first of the failure's reasons; ok is false if it has none.
func (f *Failure) Tags() (t Tags, ok bool) {
	if len(f.Reasons) == 0 {
		return Tags{}, false
	}
	return TagsOf(f.Reasons[0])
}
