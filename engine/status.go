package engine

// validate allows "" too. Errors: ErrStatus.
func (s Status) validate() error {
	if s == "" || s == StatusActive || s == StatusSuspended {
		return nil
	}
	return refuse(ErrStatus, "status %q is unknown: use %q or %q", string(s), StatusActive, StatusSuspended)
}

func statusOf(suspended bool) Status {
	if suspended {
		return StatusSuspended
	}
	return ""
}

// qualityMeasure is the measure of a photo that is kept with its template.
const qualityMeasure = "unified_score"

// quality is the score of the template's photo as records have it, 0 if it was not judged.
func (t Template) quality() uint32 {
	if t.Photo == nil {
		return 0
	}
	score, ok := t.Photo.Judged[qualityMeasure]
	if !ok || !(score >= 0 && score <= 100) {
		return 0
	}
	return recordedQuality(score)
}

// recordedQuality is a score, 0 to 100, as records have it.
func recordedQuality(score float64) uint32 { return 1 + uint32(100*score+0.5) }
