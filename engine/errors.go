package engine

import (
	"errors"
	"fmt"
)

// Errors a client can cause or must know of. What the methods return wraps one of these; its text says what is
// wrong and what to do, and is fit for a client's developer to read (see Detail).
var (
	// ErrID says that a tenant, gallery or person id is malformed.
	ErrID = errors.New("bad id")
	// ErrPolicy says that a policy sets more than one field or one out of range.
	ErrPolicy = errors.New("bad policy")
	// ErrGate says that a gate names an unknown measure or a value out of range.
	ErrGate = errors.New("bad gate")
	// ErrLimit says that a limit or top_k is out of range.
	ErrLimit = errors.New("limit out of range")
	// ErrCursor says that a cursor was not made by People.
	ErrCursor = errors.New("bad cursor")
	// ErrMetadata says that metadata is not a JSON object or is too large.
	ErrMetadata = errors.New("bad metadata")
	// ErrRetention says that a time or a consent of a person's retention is not acceptable, or past.
	ErrRetention = errors.New("bad retention")
	// ErrGallerySpec says that a gallery's index kind is unknown, or its retention out of range.
	ErrGallerySpec = errors.New("bad gallery")
	// ErrKeySpec says that a key's role, label, galleries, expiry, rate or scores are not acceptable.
	ErrKeySpec = errors.New("bad key specification")

	// ErrGalleryExists says that a gallery of this name is there with another specification.
	ErrGalleryExists = errors.New("gallery exists")
	// ErrGalleriesFull says that the store holds MaxGalleries.
	ErrGalleriesFull = errors.New("galleries full")
	// ErrGalleryNotFound says that the tenant has no such gallery.
	ErrGalleryNotFound = errors.New("gallery not found")
	// ErrPersonNotFound says that the gallery has no such person.
	ErrPersonNotFound = errors.New("person not found")
	// ErrVersion says that a person is not in the version that a write was made for. See Condition.
	ErrVersion = errors.New("version mismatch")
	// ErrStatus says that a person's status is unknown.
	ErrStatus = errors.New("bad status")
	// ErrSuspended says that a person is suspended, and so not verified.
	ErrSuspended = errors.New("person suspended")
	// ErrFilter says that a filter names an unknown status, a field that the gallery can't be filtered by, or no value.
	ErrFilter = errors.New("bad filter")
	// ErrDuplicateCheck says that a duplicate check is unknown.
	ErrDuplicateCheck = errors.New("bad duplicate check")
	// ErrDuplicate says that a face is another person's already. See DuplicateError.
	ErrDuplicate = errors.New("duplicate")
	// ErrOnceMismatch says that another request of this name was done.
	ErrOnceMismatch = errors.New("another request")
	// ErrOnceRunning says that a request of this name is being done.
	ErrOnceRunning = errors.New("request is being done")
	// ErrOnceGone says that the request was done, and that its answer is not there any more.
	ErrOnceGone = errors.New("answer is gone")
	// ErrOnceFull says that a tenant has made more requests with names than are remembered. See OnceFullError.
	ErrOnceFull = errors.New("too many requests to remember")
	// ErrOnceDone says that the request was done in the meantime: BeginOnce returns its answer.
	ErrOnceDone = errors.New("request was done")
	// ErrTenantNotFound says that there is no tenant of this name, or it was erased.
	ErrTenantNotFound = errors.New("tenant not found")
	// ErrNotRotating says that no rotation of the tenant's key is under way.
	ErrNotRotating = errors.New("key is not being rotated")
	// ErrReceipt says that a text is no erasure receipt of this store.
	ErrReceipt = errors.New("bad receipt")
	// ErrProving says that an erasure is being proved.
	ErrProving = errors.New("erasure is being proved")
	// ErrKeyNotFound says that the tenant has no such API key.
	ErrKeyNotFound = errors.New("key not found")
	// ErrKeyEnded says that a key can't be rotated: it was revoked, has expired or was rotated before.
	ErrKeyEnded = errors.New("key ended")
	// ErrKeysFull says that a tenant has MaxKeys that are in use.
	ErrKeysFull = errors.New("keys full")
	// ErrKeyNarrow says that a key may not make, or have in its place, one that may do more than itself.
	ErrKeyNarrow = errors.New("key may do less than that")
	// ErrMoving says that a gallery is being moved to another space than the one that is named.
	ErrMoving = errors.New("gallery is being moved")
	// ErrPersonExists says that a person of an import is there already, and was not to be replaced.
	ErrPersonExists = errors.New("person exists")
	// ErrImportOption says that an option of an import is unknown.
	ErrImportOption = errors.New("bad import option")
	// ErrImportRecord says that what an import says of a person, besides id, templates and metadata, is not acceptable.
	ErrImportRecord = errors.New("bad person record")
	// ErrNotMoving says that a gallery is not being moved.
	ErrNotMoving = errors.New("gallery is not being moved")
	// ErrMoveIncomplete says that people have no templates of the space that their gallery is being moved to.
	ErrMoveIncomplete = errors.New("move incomplete")

	// ErrTemplateCount says that a person was put with no template or more than MaxTemplates.
	ErrTemplateCount = errors.New("bad number of templates")
	// ErrTemplatesFull says that a person already has MaxTemplates.
	ErrTemplatesFull = errors.New("templates full")
	// ErrTemplateLength says that a vector's length is not its space's dim.
	ErrTemplateLength = errors.New("wrong template length")
	// ErrTemplateNotFinite says that a vector holds NaN or an infinity.
	ErrTemplateNotFinite = errors.New("template not finite")
	// ErrTemplateZeroNorm says that a vector is all zero.
	ErrTemplateZeroNorm = errors.New("template has zero norm")
	// ErrSpaceMismatch says that templates of different embedding spaces would have met.
	ErrSpaceMismatch = errors.New("embedding space mismatch")
	// ErrSpaceUnknown says that this server has no model for an embedding space.
	ErrSpaceUnknown = errors.New("embedding space unknown")

	// ErrJobNotFound says that the tenant has no job of this id.
	ErrJobNotFound = errors.New("job not found")
	// ErrJobExists says that a job of the kind is under way in the gallery with other settings.
	ErrJobExists = errors.New("job exists")
	// ErrJobsFull says that the tenant has as many jobs as it may.
	ErrJobsFull = errors.New("too many jobs")

	// ErrDocument says that a document is too large, past its end, or about half a person.
	ErrDocument = errors.New("bad document")
	// ErrDocumentNotFound says that the tenant has no such document.
	ErrDocumentNotFound = errors.New("document not found")
	// ErrDocumentsFull says that the tenant has MaxDocuments.
	ErrDocumentsFull = errors.New("documents full")

	// ErrQuality says that a photo does not pass a gate. See QualityError.
	ErrQuality = errors.New("photo not good enough")
	// ErrUnjudged says that a gate asks for a measure that was not judged of a photo.
	ErrUnjudged = errors.New("photo not judged")

	// ErrPhotoSize says that a photo has more bytes than are stored. See PhotoSizeError.
	ErrPhotoSize = errors.New("photo too large to be kept")
	// ErrBusy is what Config.Extract answers where it has no time now.
	ErrBusy = errors.New("extractor busy")

	// ErrKeyMissing says that no token was given.
	ErrKeyMissing = errors.New("key missing")
	// ErrKeyUnknown says that a token is malformed, unknown, or its secret is wrong.
	ErrKeyUnknown = errors.New("key unknown")
	// ErrKeyRevoked says that a token was good once; only who holds its secret is told.
	ErrKeyRevoked = errors.New("key revoked")
	// ErrKeyExpired says that a token was good until its time; only who holds its secret is told.
	ErrKeyExpired = errors.New("key expired")

	// ErrAudit says that a record of the audit log could not be written within the call's time; so its decision was not told.
	ErrAudit = errors.New("audit log unavailable")

	// ErrAttempts says that too many verifications of a person have failed. See AttemptsError.
	ErrAttempts = errors.New("attempts used up")

	// ErrStorageFull says that the disk has too little room left for writes. Reads work.
	ErrStorageFull = errors.New("storage full")
	// ErrStorageFailed says that a disk write failed: nothing is written until the server is restarted. It is also
	// the answer of a search whose index is damaged on disk and cannot be rebuilt from the store.
	ErrStorageFailed = errors.New("storage failed")
	// ErrOutcomeUnknown says that a call's context ended after its write was handed to the disk; the write may
	// or may not happen. The context's error is wrapped beside it.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrNoBackupDir says that no backup folder is configured.
	ErrNoBackupDir = errors.New("no backup folder")
	// ErrBackupRunning says that a backup is being made.
	ErrBackupRunning = errors.New("backup running")
	// ErrClosed says that the engine is closed.
	ErrClosed = errors.New("engine closed")
)

// Errors of Open.
var (
	// ErrConfig says that the configuration cannot be used.
	ErrConfig = errors.New("engine: bad configuration")
	// ErrMasterKey says that the master key does not open this store.
	ErrMasterKey = errors.New("engine: the master key does not open this store: give the key the store was made with")
	// ErrKeyStore says that the key store lacks keys that the store needs, or is another store's.
	ErrKeyStore = errors.New("engine: the key store (the folder keys of the data folder, if no other is named) is not this store's: put it back")
	// ErrInUse says that a running process holds the store.
	ErrInUse = errors.New("engine: the store is in use by a running process: stop it, or talk to it instead")
	// ErrFormat says that a newer version of this program wrote the store.
	ErrFormat = errors.New("engine: the store was written by a newer version: use that version or later")
	// ErrCorrupt says that the store holds what this program cannot have written. It is also the answer of calls that meet such
	// damage in an open store.
	ErrCorrupt = errors.New("engine: the store is damaged")
	// ErrHalfRestored says that a backup was being restored to the data folder when the process ended.
	ErrHalfRestored = errors.New("engine: a backup was being restored here and is not complete: restore it again")
	// ErrNotEmpty says that a folder that a backup is to be restored to holds something, which is left alone.
	ErrNotEmpty = errors.New("engine: the folder to restore to is not empty: name another, or empty it")
	// ErrNoKeys says that a backup has no keys, and no key store is named that could open it.
	ErrNoKeys = errors.New("engine: the backup was made without the key store: put the key store of its time into the folder keys of the data folder first, or name it")
	// ErrCalibration says that a calibration's points are not a falling curve.
	ErrCalibration = errors.New("engine: bad calibration")
)

// Error is what the methods return for everything a client can cause: one of the package's errors, and a
// sentence for the client's developer that names no internals.
type Error struct {
	Err    error // ErrID, ErrPolicy, …
	Detail string
}

// Error returns the detail.
func (e *Error) Error() string { return e.Detail }

// Unwrap returns the package's error.
func (e *Error) Unwrap() error { return e.Err }

// Detail returns the sentence for the client's developer in err, or "" if err has none and its text must not
// leave the process.
func Detail(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Detail
	}
	if e, ok := errors.AsType[*SpaceMismatchError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*AttemptsError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*OnceFullError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*TemplateLengthError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*QualityError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*PhotoSizeError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*DuplicateError](err); ok {
		return e.Error()
	}
	return ""
}

// DuplicateError is an ErrDuplicate with who is alike.
type DuplicateError struct {
	People []Candidate // the most alike first, maxNamed at most
}

// Error says how many there are, and names nobody: logs may have it.
func (e *DuplicateError) Error() string {
	if len(e.People) == 1 {
		return "the face is that of a person who is enrolled under another id: use that id, or, if they are two, have an admin's key enrol with duplicates off or warn"
	}
	return fmt.Sprintf("the face is that of %d people who are enrolled under other ids: use one of those, or, if they are not the same, have an admin's key enrol with duplicates off or warn", len(e.People))
}

// Unwrap returns ErrDuplicate.
func (e *DuplicateError) Unwrap() error { return ErrDuplicate }

func refuse(err error, format string, args ...any) error {
	return &Error{Err: err, Detail: fmt.Sprintf(format, args...)}
}

// SpaceMismatchError is an ErrSpaceMismatch with both spaces.
type SpaceMismatchError struct {
	Want, Got string
	Against   string // what Want belongs to: "gallery" or "source"
}

// Error says which spaces met.
func (e *SpaceMismatchError) Error() string {
	return fmt.Sprintf("the template is of embedding space %q and the %s is of %q: make the template with the model of that space", e.Got, e.Against, e.Want)
}

// Unwrap returns ErrSpaceMismatch.
func (e *SpaceMismatchError) Unwrap() error { return ErrSpaceMismatch }

// TemplateLengthError is an ErrTemplateLength with both lengths, in numbers (not bytes).
type TemplateLengthError struct {
	Space     string
	Want, Got int
}

// Error says which length was expected.
func (e *TemplateLengthError) Error() string {
	return fmt.Sprintf("the template has %d numbers and embedding space %q has %d: send float32[%d]", e.Got, e.Space, e.Want, e.Want)
}

// Unwrap returns ErrTemplateLength.
func (e *TemplateLengthError) Unwrap() error { return ErrTemplateLength }

// PhotoSizeError is an ErrPhotoSize with the photo's size.
type PhotoSizeError struct {
	Template int // which of the call's templates, from 0
	Bytes    int
}

// Error says which size is allowed.
func (e *PhotoSizeError) Error() string {
	return fmt.Sprintf("the photo has %d bytes, and the gallery keeps photos of at most %d: send a smaller file", e.Bytes, MaxPhotoBytes)
}

// Unwrap returns ErrPhotoSize.
func (e *PhotoSizeError) Unwrap() error { return ErrPhotoSize }

var (
	errGalleryNotFound  = &Error{ErrGalleryNotFound, "there is no gallery of this name: create it, or check the name and the key's tenant"}
	errNotMoving        = &Error{ErrNotMoving, "the gallery is not being moved to another embedding space"}
	errPersonNotFound   = &Error{ErrPersonNotFound, "there is no person of this id in the gallery"}
	errTenantNotFound   = &Error{ErrTenantNotFound, "there is no tenant of this name: it comes into being with its first key or gallery"}
	errNotRotating      = &Error{ErrNotRotating, "the tenant's key is not being rotated"}
	errPersonExists     = &Error{ErrPersonExists, "a person of this id is there already: leave it out, or import with on_conflict skip or replace"}
	errSuspended        = &Error{ErrSuspended, "the person is suspended and is not matched until somebody makes the status active again"}
	errKeyNotFound      = &Error{ErrKeyNotFound, "there is no key of this id"}
	errCursor           = &Error{ErrCursor, "the cursor is not one this server gave: pass \"next\" of the page before, unchanged, or none"}
	errOnceMismatch     = &Error{ErrOnceMismatch, "the idempotency key was used for another request: use a new key for each request, and the same key, method, path, query and body only to try one again"}
	errOnceRunning      = &Error{ErrOnceRunning, "a request with this idempotency key is being done: wait as long as Retry-After says, and send it again to have its answer"}
	errOnceGone         = &Error{ErrOnceGone, "the request was done, once, and its answer is gone: the person was deleted, the gallery deleted or moved, or the tenant's key rotated since; read what is there now"}
	errOnceDone         = &Error{ErrOnceDone, "the request was done"}
	errJobNotFound      = &Error{ErrJobNotFound, "there is no job of this id: it was deleted, or its gallery was deleted or moved to another embedding space"}
	errDocumentNotFound = &Error{ErrDocumentNotFound, "there is no such document: it has expired, was deleted, or never was"}
	errStorageFull      = &Error{ErrStorageFull, "the server's disk is nearly full: writes are refused until there is room; reads and searches work"}
	errStorageFailed    = &Error{ErrStorageFailed, "the server's disk refused a write: nothing more is written until its operator has mended it and restarted the server; searches work"}
	errNoBackupDir      = &Error{ErrNoBackupDir, "this server has no folder for backups: its operator sets one with --backup-dir"}
	errBackupRunning    = &Error{ErrBackupRunning, "a backup is being made: wait until it has ended"}
	errProving          = &Error{ErrProving, "an erasure is being proved, which reads all files of the store: try again when it is done"}
	errNoRoomToOpen     = &Error{ErrStorageFull, "the disk has no room to open the store: free some and start again"}
	errFailedToOpen     = &Error{ErrStorageFailed, "the disk failed while the store was being opened: mend it and start again"}
	errGalleryDamaged   = &Error{ErrCorrupt, "the gallery can't be read from the server's disk and answers nothing; the server's log names the file: its operator must restore the store from a backup; other galleries work"}
	errStoreDamaged     = &Error{ErrCorrupt, "a file of the store is damaged; the server's log names it: its operator must restore the store from a backup; what does not need that file works"}
	errIndexDamaged     = &Error{ErrStorageFailed, "the gallery's search index on the server's disk is damaged and could not be rebuilt: its operator must look after the disk and restart the server"}
	errOutcomeUnknown   = &Error{ErrOutcomeUnknown, "the time ran out while the write was on its way to the disk: it may or may not happen; read the record, or send the same request again"}
	errAudit            = &Error{ErrAudit, "the audit log did not take the record of this call in time, so it is not answered: try again in a second"}
	errClosed           = &Error{ErrClosed, "the server is shutting down: try again soon"}
)
