package http

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"mien/engine"
	"mien/engine/mpc"
	"mien/extract"
	"mien/http/dialect"
)

// sentinel is a row of sentinels.
type sentinel struct {
	err    error
	code   code
	detail func(error) string // nil: engine.Detail
}

// sentence is what the client is told of err beside the code.
func (s sentinel) sentence(err error) string {
	if s.detail != nil {
		return s.detail(err)
	}
	return cmp.Or(engine.Detail(err), s.err.Error())
}

// sentinels is the one table from the errors of engine and extract to codes. The first that errors.Is decides.
// Errors of the engine carry a sentence for the client (engine.Detail); for the others detail makes one.
var sentinels = []sentinel{
	{errClientGone, codeClientGone, always("the client's side of the connection was closed before the answer was made, and the work given up: " +
		"keep it open until the answer is read; a write may or may not have happened")},
	{dialect.ErrContentType, codeUnsupported, always("the body must be JSON: send Content-Type: application/json")},
	{dialect.ErrJSON, codeBadJSON, fieldDetail},
	{dialect.ErrBase64, codeBadBase64, always("a field that must be base64 is not, or is empty")},
	{mpc.ErrUnknown, codePersonNotFound, always("nobody is enrolled with the parties under this id: enrol the person first, or check the id")},
	{mpc.ErrExists, codePersonExists, always("the person is enrolled with the parties already: delete them first")},
	{mpc.ErrNamed, codeIdempotencyMismatch, always("the idempotency key was used for another request: use a new key for each request, and the same key, method, path, query and body only to try one again")},
	{mpc.ErrGone, codeIdempotencyGone, always("the request was done, once, and the person was erased since: send it with a new key to enrol them again")},
	{mpc.ErrBudget, codeAttemptsExceeded, budgetDetail},
	{mpc.ErrLocked, codeAttemptsExceeded, budgetDetail},
	{mpc.ErrUnfinished, codePartyAway, always("it is decided, and a party has not carried it out yet: it will; the same request again, word for word, is not done again and says when it has")},
	{mpc.ErrPartyDown, codePartyAway, awayDetail},
	{mpc.ErrPending, codeOverloaded, always("another write of the person is under way: try again in a moment")},
	{mpc.ErrBusy, codeOverloaded, always("the parties are busy: try again in a moment")},
	{mpc.ErrEnvelope, codeBadEnvelope, always("an envelope does not open for this: it must be sealed for this person, operation and policy, each for its party and in their order, by what GET …/sealing says")},
	{mpc.ErrEnvelopeUsed, codeEnvelopeUsed, always("envelopes are good once and for some minutes, and not any more when a party was started anew: get …/sealing again, and seal new ones")},
	{mpc.ErrShareKey, codeDecentralisedUnconfigured, always("a party has no key to seal shares to, or not the one that is pinned here: send image or template, or have the parties' and the server's operator set it up")},
	{mpc.ErrProbe, codeTemplateUnfit, always("the parties' checks find that the shares are not of one vector of norm 1 whose numbers are within the policy's bound")},
	{mpc.ErrDiffers, codePartiesDiffer, differDetail},
	{mpc.ErrContext, codeOverloaded, always("the parties do not agree on what is asked about: people are being enrolled meanwhile; try again in a moment. Where it goes on so, and envelopes were sent, these are not of one probe: seal new ones")},
	{mpc.ErrVector, codeTemplateUnfit, always("a number of the template is beyond what the parties' policy allows: it is no embedding of a face")},
	{mpc.ErrRefused, codeTemplateUnfit, always("the parties refuse the template: it does not match itself, as a number of it is lost in rounding")},
	{mpc.ErrPolicy, codeSpaceMismatch, always("the person is enrolled with the parties under another embedding space or policy: enrol them again")},
	{mpc.ErrStorage, codeStorageFailed, always("the disk of the gateway or of a party failed: its log says how; nothing is written until it is started again")},
	{mpc.ErrClosed, codeShuttingDown, always("the server is shutting down")},
	{engine.ErrID, codeBadID, nil},
	{engine.ErrPolicy, codeBadPolicy, nil},
	{engine.ErrGate, codeBadGate, nil},
	{engine.ErrLimit, codeBadRequest, nil},
	{engine.ErrCursor, codeBadCursor, nil},
	{engine.ErrMetadata, codeBadMetadata, nil},
	{engine.ErrRetention, codeBadRetention, nil},
	{engine.ErrGallerySpec, codeBadRequest, nil},
	{engine.ErrKeySpec, codeBadRequest, nil},
	{engine.ErrGalleryExists, codeGalleryExists, nil},
	{engine.ErrGalleryNotFound, codeGalleryNotFound, nil},
	{engine.ErrPersonNotFound, codePersonNotFound, nil},
	{engine.ErrStatus, codeBadRequest, nil},
	{engine.ErrFilter, codeBadFilter, nil},
	{engine.ErrSuspended, codePersonSuspended, nil},
	{engine.ErrDuplicateCheck, codeBadRequest, nil},
	{engine.ErrDuplicate, codeDuplicate, nil},
	{engine.ErrVersion, codeVersionMismatch, nil},
	{engine.ErrMoving, codeGalleryMoving, nil},
	{engine.ErrPersonExists, codePersonExists, nil},
	{engine.ErrImportOption, codeBadRequest, nil},
	{engine.ErrImportRecord, codeBadRecord, nil},
	{engine.ErrNotMoving, codeGalleryNotMoving, nil},
	{engine.ErrMoveIncomplete, codeMoveIncomplete, nil},
	{engine.ErrJobNotFound, codeJobNotFound, nil},
	{engine.ErrJobExists, codeJobExists, nil},
	{engine.ErrJobsFull, codeJobsFull, nil},
	{engine.ErrKeyNotFound, codeKeyNotFound, always("there is no key of this id")},
	{engine.ErrKeyEnded, codeKeyEnded, nil},
	{engine.ErrKeysFull, codeKeysFull, nil},
	{engine.ErrDocumentsFull, codeDocumentsFull, nil},
	{engine.ErrKeyNarrow, codeForbidden, nil},
	{engine.ErrOnceMismatch, codeIdempotencyMismatch, nil},
	{engine.ErrOnceRunning, codeIdempotencyInProgress, nil},
	{engine.ErrOnceGone, codeIdempotencyGone, nil},
	{engine.ErrOnceFull, codeIdempotencyFull, nil},
	{engine.ErrTenantNotFound, codeTenantNotFound, nil},
	{engine.ErrNotRotating, codeNotRotating, nil},
	{engine.ErrReceipt, codeBadReceipt, nil},
	{engine.ErrGalleriesFull, codeGalleriesFull, nil},
	{engine.ErrTemplateCount, codeBadRequest, nil},
	{engine.ErrTemplatesFull, codeTemplatesFull, nil},
	{engine.ErrTemplateLength, codeTemplateLength, nil},
	{engine.ErrTemplateNotFinite, codeTemplateNotFinite, nil},
	{engine.ErrTemplateZeroNorm, codeTemplateZeroNorm, nil},
	{engine.ErrSpaceMismatch, codeSpaceMismatch, nil},
	{engine.ErrSpaceUnknown, codeSpaceUnknown, nil},
	{engine.ErrQuality, codeQualityFailed, nil},
	{engine.ErrUnjudged, codeGateChanged, nil},
	{engine.ErrPhotoSize, codeImageTooLarge, nil},
	{engine.ErrKeyMissing, codeKeyMissing, nil},
	{engine.ErrKeyUnknown, codeKeyUnknown, nil},
	{engine.ErrKeyRevoked, codeKeyRevoked, nil},
	{engine.ErrKeyExpired, codeKeyExpired, nil},
	{engine.ErrAttempts, codeAttemptsExceeded, nil},
	{engine.ErrAudit, codeAuditUnavailable, nil}, // before what it wraps
	{engine.ErrNoBackupDir, codeBackupUnconfigured, nil},
	{engine.ErrProving, codeErasureProving, nil},
	{engine.ErrBackupRunning, codeBackupRunning, nil},
	{engine.ErrStorageFull, codeStorageFull, nil},
	{engine.ErrStorageFailed, codeStorageFailed, nil},
	{engine.ErrCorrupt, codeStorageDamaged, damageDetail},
	{engine.ErrClosed, codeShuttingDown, nil},
	{engine.ErrOutcomeUnknown, codeTimeout, always("the time for this request ended while it was being written: " +
		"it may or may not have happened; with its Idempotency-Key it may be sent again, without one a PUT or a DELETE may simply be repeated, and after a POST look first")},

	{extract.ErrNotImage, codeNotAnImage, always("send a whole JPEG, PNG, BMP or WebP file; this one is of another kind or damaged")},
	{extract.ErrTruncated, codeImageTruncated, always("the image begins well and ends too early; send the whole file")},
	{extract.ErrTooManyPixels, codeImageTooLarge, pixelsDetail},
	{extract.ErrNoFace, codeNoFace, always("no face was found; send a photo of the whole face, upright, in focus and not too small: a tenth of the photo's height is enough")},
	{extract.ErrSeveralFaces, codeSeveralFaces, facesDetail},
	{extract.ErrFaceTooSmall, codeFaceTooSmall, sizeDetail},
	{extract.ErrBusy, codeOverloaded, always("too many photos are waiting; try again in a second")},
	{extract.ErrClosed, codeShuttingDown, always("the server is shutting down")},

	{context.DeadlineExceeded, codeTimeout, always("the time for this request ended before it was done; " +
		"send fewer or smaller photos at once, or try when the server is less busy")},
	{context.Canceled, codeShuttingDown, always("the server is shutting down")},
}

// awayDetail says whether to wait, or that an operator must do something.
func awayDetail(err error) string {
	if e, ok := errors.AsType[*mpc.DownError](err); ok && len(e.Lost) > 0 {
		return fmt.Sprintf("party %d has lost its store, and nothing can be decided without it: an operator must have it filled from the other two (serve --repair-party %d)", e.Lost[0], e.Lost[0])
	}
	return "one of the three parties is away, and nothing can be decided without it: try again in a moment"
}

// differDetail says who has to do something: to try again is of no use.
func differDetail(err error) string {
	const how = "have not the cluster's name, or the policy, that this server has, so nothing is decided: an operator must make them the same (the server's log and the party's say what differs)"
	if e, ok := errors.AsType[*mpc.DiffersError](err); ok {
		return fmt.Sprintf("parties %s %s", strings.Trim(fmt.Sprint(e.Parties), "[]"), how)
	}
	return "some parties " + how
}

// budgetDetail says when the next attempt is.
func budgetDetail(err error) string {
	if e, ok := errors.AsType[*mpc.BudgetError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*mpc.LockedError](err); ok {
		return e.Error()
	}
	return "the parties have had as many attempts as they allow, whatever came of them: try again later"
}

// fieldDetail says which field of a dialect's body is not as its document has it.
func fieldDetail(err error) string {
	if e, ok := errors.AsType[*dialect.FieldError](err); ok {
		return e.Error()
	}
	return "the body must be one JSON object"
}

// damageDetail says of damage what the engine does, where it has a sentence; the cause may name ids.
func damageDetail(err error) string {
	return cmp.Or(engine.Detail(err), "what was asked for is damaged on the server's disk; the server's log says what: its operator must restore the store from a backup")
}

func always(detail string) func(error) string { return func(error) string { return detail } }

func pixelsDetail(err error) string {
	if e, ok := errors.AsType[*extract.PixelsError](err); ok {
		return fmt.Sprintf("the image states %d×%d pixels; at most %d in all are decoded: scale it down", e.Width, e.Height, e.Max)
	}
	return "the image states too many pixels; scale it down"
}

func facesDetail(err error) string {
	const how = `crop the photo to the one that is meant, or set "select": "largest" to take the largest`
	if e, ok := errors.AsType[*extract.FacesError](err); ok {
		return fmt.Sprintf("%d faces were found and one is needed; %s", e.Found, how)
	}
	return "several faces were found and one is needed; " + how
}

func sizeDetail(err error) string {
	if e, ok := errors.AsType[*extract.SizeError](err); ok {
		return fmt.Sprintf("the face is %.0f pixels high and at least %.0f are needed; send a closer or larger photo", e.Height, e.Min)
	}
	return "the face is too small; send a closer or larger photo"
}

// problemOf returns what the client is told of err. An error that is in no table is internal, and its text
// does not leave the process.
func (s *Server) problemOf(err error) *problem {
	if e, ok := errors.AsType[*partError](err); ok {
		p := *s.problemOf(e.err)
		p.at, p.detail = e.at, e.at+": "+p.detail
		return &p
	}
	if e, ok := errors.AsType[*spaceError](err); ok {
		p := *s.problemOf(e.err)
		p.detail = fmt.Sprintf("in embedding space %q, which the gallery is being moved to: %s", e.space, p.detail)
		return &p
	}
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	for _, row := range sentinels {
		if errors.Is(err, row.err) {
			p := &problem{code: row.code, detail: row.sentence(err), cause: err}
			if e, ok := errors.AsType[*engine.AttemptsError](err); ok {
				p.retry = e.Retry
			}
			if e, ok := errors.AsType[*mpc.BudgetError](err); ok {
				p.retry = e.Retry
			}
			if e, ok := errors.AsType[*mpc.LockedError](err); ok {
				p.retry = e.Retry
			}
			if e, ok := errors.AsType[*engine.OnceFullError](err); ok {
				p.retry = e.Retry
			}
			if e, ok := errors.AsType[*engine.QualityError](err); ok {
				p.reasons = e.Reasons
			}
			if e, ok := errors.AsType[*engine.DuplicateError](err); ok {
				p.duplicates = e.People
			}
			return p
		}
	}
	return &problem{code: codeInternal, detail: "the cause is in the server's log under this request's id", cause: err}
}

// partError is an error of one of several photos or templates of a request.
type partError struct {
	at  string // where it was: a JSON pointer or a form field
	err error
}

func (e *partError) Error() string { return e.at + ": " + e.err.Error() }

func (e *partError) Unwrap() error { return e.err }

// Code is the API's name for what is wrong with a photo; "" for an error that is not about one.
func Code(err error) string {
	for _, row := range sentinels {
		if codes[row.code].status == 422 && errors.Is(err, row.err) {
			return string(row.code)
		}
	}
	return ""
}
