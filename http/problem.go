package http

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"mien/engine"
)

// code is the stable name of a kind of failure: clients branch on it, so one is never renamed or reused.
type code string

// The codes, by status; statusOf and the document's ProblemCode say the same, and a test compares them.
const (
	codeBadRequest        code = "bad_request"
	codeClientGone        code = "client_gone"
	codeBadJSON           code = "bad_json"
	codeBadBase64         code = "bad_base64"
	codeBadFrame          code = "bad_frame"
	codeBadID             code = "bad_id"
	codeBadPolicy         code = "bad_policy"
	codeBadGate           code = "bad_gate"
	codeBadCursor         code = "bad_cursor"
	codeBadMultipart      code = "bad_multipart"
	codeBadMetadata       code = "bad_metadata"
	codeBadRetention      code = "bad_retention"
	codeBadReceipt        code = "bad_receipt"
	codeBadFile           code = "bad_file"
	codeBadRecord         code = "bad_record"
	codeTemplateLength    code = "template_length"
	codeTemplateNotFinite code = "template_not_finite"
	codeTemplateZeroNorm  code = "template_zero_norm"

	codeKeyMissing code = "key_missing"
	codeKeyUnknown code = "key_unknown"
	codeKeyRevoked code = "key_revoked"
	codeKeyExpired code = "key_expired"
	codeForbidden  code = "forbidden"

	codeBadSignature code = "bad_signature"

	codeRouteNotFound    code = "route_not_found"
	codeGalleryNotFound  code = "gallery_not_found"
	codePersonNotFound   code = "person_not_found"
	codeKeyNotFound      code = "key_not_found"
	codeTenantNotFound   code = "tenant_not_found"
	codeJobNotFound      code = "job_not_found"
	codeProjectNotFound  code = "project_not_found"
	codeSessionNotFound  code = "session_not_found"
	codeMethodNotAllowed code = "method_not_allowed"

	codeRequestTimeout code = "request_timeout"
	codeGalleryExists  code = "gallery_exists"
	codeGalleriesFull  code = "galleries_full"
	codeKeyEnded       code = "key_ended"
	codeKeysFull       code = "keys_full"
	codeSpaceMismatch  code = "space_mismatch"
	codeSpaceUnknown   code = "space_unknown"
	codeGateChanged    code = "gate_changed"
	codePersonExists   code = "person_exists"
	codeTemplatesFull  code = "templates_full"

	codeGalleryMoving    code = "gallery_moving"
	codeGalleryNotMoving code = "gallery_not_moving"
	codeMoveIncomplete   code = "move_incomplete"
	codeNotRotating      code = "key_not_rotating"

	codeBadFilter          code = "bad_filter"
	codePersonSuspended    code = "person_suspended"
	codeDuplicate          code = "duplicate"
	codeErasureProving     code = "erasure_proving"
	codeBackupRunning      code = "backup_running"
	codeBackupUnconfigured code = "backup_unconfigured"
	codePublicURLUnset     code = "public_url_unset"

	codeDecentralisedUnconfigured code = "decentralised_unconfigured"
	codeTemplateUnfit             code = "template_unfit"
	codePartyAway                 code = "party_away"
	codePartiesDiffer             code = "parties_differ"
	codeBadEnvelope               code = "bad_envelope"
	codeEnvelopeUsed              code = "envelope_used"

	codeVersionMismatch code = "version_mismatch"
	codeJobExists       code = "job_exists"
	codeJobsFull        code = "jobs_full"

	codeDocumentsFull    code = "documents_full"
	codeSessionCompleted code = "session_completed"
	codeSessionCancelled code = "session_cancelled"
	codeSessionExists    code = "session_exists"
	codeRedirect         code = "redirect_not_allowed"

	codeRateLimited code = "rate_limited"
	codeAuthLimited code = "auth_limited"

	codeAttemptsExceeded code = "attempts_exceeded"

	codeIdempotencyMismatch   code = "idempotency_mismatch"
	codeIdempotencyInProgress code = "idempotency_in_progress"
	codeIdempotencyGone       code = "idempotency_answer_gone"
	codeIdempotencyFull       code = "idempotency_full"

	codeBodyTooLarge   code = "body_too_large"
	codeUnsupported    code = "unsupported_media_type"
	codeHeaderTooLarge code = "header_too_large"

	codeNotAnImage     code = "not_an_image"
	codeImageTruncated code = "image_truncated"
	codeImageTooLarge  code = "image_too_large"
	codeNoFace         code = "no_face"
	codeSeveralFaces   code = "several_faces"
	codeFaceTooSmall   code = "face_too_small"
	codeQualityFailed  code = "quality_failed"

	codeInternal         code = "internal"
	codeStorageDamaged   code = "storage_damaged"
	codeOverloaded       code = "overloaded"
	codeTimeout          code = "timeout"
	codeAuditUnavailable code = "audit_unavailable"
	codeStorageFailed    code = "storage_failed"
	codeShuttingDown     code = "shutting_down"
	codeExtractorMissing code = "extractor_missing"
	codeMeasureMissing   code = "measure_missing"
	codeStorageFull      code = "storage_full"
)

// codes is the one table from a code to its status and title.
var codes = map[code]struct {
	status int
	title  string
}{
	codeBadRequest:        {400, "The request is not well formed"},
	codeClientGone:        {400, "The connection was closed before the answer"},
	codeBadJSON:           {400, "The JSON body is not as documented"},
	codeBadBase64:         {400, "A field is not base64"},
	codeBadFrame:          {400, "The body is not a frame of templates"},
	codeBadID:             {400, "An id is not allowed"},
	codeBadPolicy:         {400, "The policy is not allowed"},
	codeBadGate:           {400, "The gate is not allowed"},
	codeBadCursor:         {400, "The cursor is not one of ours"},
	codeBadMultipart:      {400, "The multipart form is not as documented"},
	codeBadMetadata:       {400, "The metadata is not allowed"},
	codeBadRetention:      {400, "The retention is not allowed"},
	codeBadReceipt:        {400, "This is no erasure receipt of this store"},
	codeBadFile:           {400, "The file of people can't be read to its end"},
	codeBadRecord:         {400, "What the file says of a person is not allowed"},
	codeTemplateLength:    {400, "The template has the wrong length"},
	codeTemplateNotFinite: {400, "The template holds NaN or infinity"},
	codeTemplateZeroNorm:  {400, "The template has no direction"},

	codeKeyMissing: {401, "An API key is needed"},
	codeKeyUnknown: {401, "The API key is unknown"},
	codeKeyRevoked: {401, "The API key was revoked"},
	codeKeyExpired: {401, "The API key has expired"},
	codeForbidden:  {403, "The API key may not do this"},

	codeBadSignature: {401, "The request is not signed as its key demands"},

	codeRouteNotFound:    {404, "There is nothing at this path"},
	codeGalleryNotFound:  {404, "The gallery does not exist"},
	codePersonNotFound:   {404, "The person does not exist"},
	codeKeyNotFound:      {404, "The API key does not exist"},
	codeTenantNotFound:   {404, "The tenant does not exist"},
	codeJobNotFound:      {404, "The job does not exist"},
	codeProjectNotFound:  {404, "The project does not exist"},
	codeSessionNotFound:  {404, "The session does not exist"},
	codeMethodNotAllowed: {405, "The method is not allowed here"},

	codeRequestTimeout: {408, "The request did not arrive in time"},
	codeGalleryExists:  {409, "The gallery is already there"},
	codeGalleriesFull:  {409, "The store has all galleries it may have"},
	codeKeyEnded:       {409, "The API key is not in use any more"},
	codeKeysFull:       {409, "The tenant has all API keys it may have"},
	codeSpaceMismatch:  {409, "The embedding spaces differ"},
	codeSpaceUnknown:   {409, "The embedding space is unknown here"},
	codePersonExists:   {409, "The person is already there"},
	codeGateChanged:    {409, "The gallery's gate changed meanwhile"},
	codeTemplatesFull:  {409, "The person has all templates it may have"},

	codeGalleryMoving:    {409, "The gallery is being moved elsewhere"},
	codeGalleryNotMoving: {409, "The gallery is not being moved"},
	codeMoveIncomplete:   {409, "People have no templates of the new space"},
	codeNotRotating:      {409, "The tenant's key is not being rotated"},

	codeBadFilter:          {400, "The filter is not allowed"},
	codePersonSuspended:    {409, "The person is suspended"},
	codeDuplicate:          {409, "The face is enrolled under another id"},
	codeErasureProving:     {409, "An erasure is being proved"},
	codeBackupRunning:      {409, "A backup is being made"},
	codeBackupUnconfigured: {409, "There is no folder for backups"},
	codePublicURLUnset:     {409, "The server does not know its public URL"},

	codeDecentralisedUnconfigured: {409, "There is no decentralised matching here"},
	codeTemplateUnfit:             {400, "The template can't be split into shares"},
	codePartyAway:                 {503, "A party is away"},
	codePartiesDiffer:             {503, "The parties are set up differently"},
	codeBadEnvelope:               {400, "An envelope is not one for this request"},
	codeEnvelopeUsed:              {409, "An envelope is of no use any more"},

	codeVersionMismatch: {412, "The person is not in the version that was stated"},
	codeJobExists:       {409, "Such a job is under way with other settings"},
	codeJobsFull:        {409, "There are all jobs that there may be"},

	codeIdempotencyMismatch:   {422, "The idempotency key is another request's"},
	codeIdempotencyInProgress: {409, "The request is being done"},
	codeIdempotencyGone:       {409, "The request was done, and its answer is gone"},
	codeIdempotencyFull:       {429, "Too many requests are remembered"},
	codeDocumentsFull:         {409, "The tenant has all documents it may have"},
	codeSessionCompleted:      {409, "The session is completed"},
	codeSessionCancelled:      {409, "The session is cancelled"},
	codeSessionExists:         {409, "The session is already there"},
	codeRedirect:              {422, "The redirect URL is not allowed"},

	codeBodyTooLarge:     {413, "The body is too large"},
	codeUnsupported:      {415, "The content type is not understood"},
	codeRateLimited:      {429, "The API key makes too many requests"},
	codeAuthLimited:      {429, "Too many keys from this address are no good"},
	codeAttemptsExceeded: {429, "There were too many attempts"},
	codeHeaderTooLarge:   {431, "The header is too large"},

	codeNotAnImage:     {422, "The bytes are no readable image"},
	codeImageTruncated: {422, "The image ends too early"},
	codeImageTooLarge:  {422, "The image is too large"},
	codeNoFace:         {422, "No face was found"},
	codeSeveralFaces:   {422, "Several faces were found"},
	codeFaceTooSmall:   {422, "The face is too small"},
	codeQualityFailed:  {422, "The photo is not good enough"},

	codeInternal:         {500, "Something went wrong on our side"},
	codeStorageDamaged:   {500, "The store is damaged"},
	codeOverloaded:       {503, "The server is busy"},
	codeTimeout:          {503, "The work took too long"},
	codeAuditUnavailable: {503, "The audit log takes no records"},
	codeStorageFailed:    {503, "The store failed"},
	codeShuttingDown:     {503, "The server is shutting down"},
	codeExtractorMissing: {503, "The server has no models for photos"},
	codeMeasureMissing:   {503, "The server's models can't judge what the gate asks for"},
	codeStorageFull:      {507, "The store is full"},
}

// problem is a refusal or a failure as the client sees it: its code and a sentence that says what to do.
type problem struct {
	code   code
	detail string
	at     string // which photo of several: a JSON pointer, or a form field and its number
	allow  string // the Allow field of a 405
	cause  error  // logged with an internal error, never shown

	reasons    []engine.Reason    // of quality_failed
	duplicates []engine.Candidate // of duplicate
	key        engine.Key         // whose request it answers: what it is told of scores
	retry      time.Duration      // of a 429: how long to wait
	policy     string             // of rate_limited: quota and window, as RateLimit-Policy has them
}

func (p *problem) Error() string { return string(p.code) + ": " + p.detail }

func (p *problem) Unwrap() error { return p.cause }

func (p *problem) status() int { return codes[p.code].status }

// fail makes a problem of a code and a formatted detail.
func fail(c code, format string, args ...any) *problem {
	return &problem{code: c, detail: fmt.Sprintf(format, args...)}
}

// problemBody is application/problem+json of RFC 9457.
type problemBody struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Code      code   `json:"code"`
	Pointer   string `json:"pointer,omitempty"`
	RequestID string `json:"request_id"`

	Reasons    []engine.Reason    `json:"reasons,omitempty"`
	Duplicates []engine.Candidate `json:"duplicates,omitempty"`
}

const problemType = "application/problem+json"

func (p *problem) body(requestID string) []byte {
	body := problemBody{
		Type: "about:blank", Title: codes[p.code].title, Status: p.status(),
		Detail: p.detail, Code: p.code, Pointer: p.at, RequestID: requestID, Reasons: p.reasons, Duplicates: p.duplicates,
	}
	b, err := json.Marshal(scoresFor(&p.key, body))
	if err != nil {
		panic("BUG: http: problem does not marshal: " + err.Error())
	}
	return append(b, '\n')
}

// write sets the response to the problem.
func (p *problem) write(resp *fasthttp.Response, requestID string) {
	resp.SetStatusCode(p.status())
	resp.Header.SetContentType(problemType)
	switch p.code {
	case codeKeyMissing:
		resp.Header.Set("WWW-Authenticate", `Bearer realm="mien"`)
	case codeKeyUnknown, codeKeyRevoked, codeKeyExpired:
		resp.Header.Set("WWW-Authenticate", `Bearer realm="mien", error="invalid_token"`)
	case codeMethodNotAllowed:
		resp.Header.Set("Allow", p.allow)
	}
	if retry := p.retryAfter(); retry > 0 {
		resp.Header.Set("Retry-After", seconds(retry))
	}
	if p.policy != "" { // of a rate what it is (draft-ietf-httpapi-ratelimit-headers-10)
		resp.Header.Set("RateLimit-Policy", `"key";q=`+p.policy)
		resp.Header.Set("RateLimit", `"key";r=0;t=`+seconds(p.retry))
	}
	resp.SetBodyRaw(p.body(requestID))
}

// seconds are whole ones, rounded up, as text.
func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// rawAnswer is the problem as the bytes of an HTTP/1.1 answer that closes the connection.
func (p *problem) rawAnswer(requestID string) []byte {
	body, retry := p.body(requestID), ""
	if p.code == codeOverloaded {
		retry = "\r\nRetry-After: 1"
	}
	return []byte("HTTP/1.1 " + strconv.Itoa(p.status()) + " " + fasthttp.StatusMessage(p.status()) +
		"\r\nContent-Type: " + problemType +
		"\r\nContent-Length: " + strconv.Itoa(len(body)) +
		retry + "\r\nX-Request-Id: " + requestID +
		"\r\nConnection: close\r\n\r\n" + string(body))
}
