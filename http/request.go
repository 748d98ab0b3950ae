package http

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"mien/engine"
	"mien/engine/mpc"
	"mien/http/dialect"
)

// request is one request while it is answered. Its strings are copies: nothing here but fc dies with the
// fasthttp.RequestCtx (H1). Used by one goroutine.
type request struct {
	server *Server
	fc     *fasthttp.RequestCtx
	ctx    context.Context // ends at deadline, when the client is gone or when Shutdown gives up

	lazy    lazyContext // what ctx is, or is made of
	watched watched

	id          string // X-Request-Id
	method      string
	path        string // raw
	query       string // raw
	contentType string
	length      int // of the body; -1: chunked; 0: none
	start       time.Time
	deadline    time.Time

	route  *route
	params []string  // of the path, unescaped
	room   [2]string // for params
	key    engine.Key

	name string       // Idempotency-Key; "" is none
	once *engine.Once // of a request with a name, while it is done

	asked mpc.Request // by what the parties' gateway knows it when it comes again

	expected bool  // the client waits for "100 Continue"; the request is looked at again when its body comes
	code     code  // of the problem that was answered, for the log
	reserved int64 // of the byte budget
	consumed bool  // the body was read to its end

	target string        // path and query, raw
	spoken *dialect.Call // of a dialect, once somebody has asked for it
	body   []byte        // that was read, by a dialect or of a request that is hashed
}

// reply is what an operation answers when it went well.
type reply struct {
	status int
	value  any           // marshalled, unless raw is there
	raw    []byte        // not changed after
	stream io.ReadCloser // what is sent as it is read; nil: value or raw

	contentType string // of raw or stream; "" is JSON's
	etag        string // "" is none
	replayed    bool   // it was answered so before
	header      []dialect.Field
}

func (s *Server) newRequest(fc *fasthttp.RequestCtx) *request {
	h := &fc.Request.Header
	r := &request{
		server:      s,
		fc:          fc,
		method:      known(h.Method(), methods),
		contentType: known(h.ContentType(), contentTypes),
		length:      max(h.ContentLength(), -1),
		start:       time.Now(),
	}
	if h.ContentLength() < -1 { // neither Content-Length nor chunked
		r.length = 0
	}
	r.id = requestID(h.Peek("X-Request-Id"))
	r.deadline = r.start.Add(s.cfg.RequestTimeout)
	r.target = string(h.RequestURI())
	r.path, r.query = splitTarget(r.target)
	return r
}

// Strings that most requests have, which need no copies.
var (
	methods      = []string{fasthttp.MethodPost, fasthttp.MethodGet, fasthttp.MethodPut, fasthttp.MethodDelete, fasthttp.MethodPatch}
	contentTypes = []string{mediaJSON, frameType, ""}
)

// known is a copy of b, that of the list if it has one.
func known(b []byte, list []string) string {
	for _, s := range list {
		if string(b) == s {
			return s
		}
	}
	return string(b)
}

// setBusy tells the connection whether a request is on it.
func (r *request) setBusy(busy bool) {
	if c, ok := r.fc.Conn().(*conn); ok {
		c.setBusy(busy)
	}
}

// splitTarget cuts the raw path and query out of a request target in origin-form or absolute-form.
func splitTarget(target string) (path, query string) {
	if !strings.HasPrefix(target, "/") {
		if _, rest, ok := strings.Cut(target, "://"); ok {
			target = rest[max(strings.IndexAny(rest, "/?"), 0):]
		}
	}
	path, query, _ = strings.Cut(target, "?")
	return path, query
}

const maxRequestID = 64

// requestID returns the client's id if it is fit to be repeated, else a new one.
func requestID(sent []byte) string {
	if len(sent) == 0 || len(sent) > maxRequestID || slices.ContainsFunc(sent, notRequestID) {
		return newRequestID()
	}
	return string(sent)
}

func notRequestID(b byte) bool {
	return !(b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("._-", b) >= 0)
}

// newRequestID is no secret, so it need not come from crypto/rand, which takes half a microsecond.
func newRequestID() string {
	var b [8]byte
	var text [16]byte
	binary.BigEndian.PutUint64(b[:], rand.Uint64())
	hex.Encode(text[:], b[:])
	return string(text[:])
}

// admit decides everything that can be decided before the body: route, method, key, role, size. It reserves
// nothing. Errors: problems of 401, 403, 404, 405, 413 and 415.
func (s *Server) admit(r *request) error {
	var err error
	if r.route, r.params, err = s.router.find(r.method, r.path, r.room[:0]); err != nil {
		return err
	}
	if r.route.roles != nil {
		if err := s.authorize(r); err != nil {
			return err
		}
	}
	if err := r.conditional(); err != nil {
		return err
	}
	if !r.route.takesBody() {
		return nil // what comes nevertheless is left unread
	}
	if r.length > s.cfg.MaxBodyBytes && !r.route.isBulk() {
		return s.bodyTooLarge()
	}
	if r.length < 0 && bytes.Contains(append([]byte("\n"), bytes.ToLower(r.fc.Request.Header.RawHeaders())...), []byte("\ncontent-length:")) {
		return fail(codeBadRequest, "a request may not have both Content-Length and chunks") // RFC 9112, 6.1: it may be smuggling
	}
	if enc := r.fc.Request.Header.ContentEncoding(); len(enc) > 0 && string(enc) != "identity" {
		return fail(codeUnsupported, "Content-Encoding %q is not understood; send the body as it is", clip(string(enc)))
	}
	return nil
}

// conditional refuses a write under a condition that is not looked at, or with a name that is not: to ignore it would overwrite what
// the client meant to protect, or do twice what it meant to do once. Reads may carry conditions; answering in full is always right.
func (r *request) conditional() error {
	if !r.route.takesBody() && r.method != fasthttp.MethodDelete || !mayBeConditional(r.fc.Request.Header.RawHeaders()) {
		return nil
	}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Unmodified-Since"} {
		if len(r.fc.Request.Header.Peek(name)) > 0 && !slices.Contains(conditions[r.route.op], name) {
			return fail(codeBadRequest, "%s is not supported here; send the request without it", name)
		}
	}
	return r.readName()
}

// mayBeConditional reports whether a name of the header begins with If- or with Ide, as Idempotency-Key: to look for four costs more than
// all other looks at it.
func mayBeConditional(raw []byte) bool {
	for at := 0; ; {
		if len(raw)-at >= 3 && raw[at]|0x20 == 'i' && (raw[at+1]|0x20 == 'f' && raw[at+2] == '-' || raw[at+1]|0x20 == 'd' && raw[at+2]|0x20 == 'e') {
			return true
		}
		n := bytes.IndexByte(raw[at:], '\n')
		if n < 0 {
			return false
		}
		at += n + 1
	}
}

func (s *Server) authorize(r *request) error {
	if err := r.authenticate(); err != nil {
		return s.failed(r, err)
	}
	if r.expected || !r.fc.Request.MayContinue() { // else it was taken when expect looked at the request
		if err := s.rates.take(&r.key, r.start); err != nil {
			return err
		}
	}
	return r.mayDo()
}

// actor is who the engine's records say made the request. REQUIRES: authorize succeeded.
func (r *request) actor() engine.Actor {
	return engine.Actor{Tenant: r.key.Tenant, Key: r.key.ID, Role: r.key.Role, Request: r.id}
}

func roleNames(roles []engine.Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return strings.Join(names, " or ")
}

func bearer(fields [][]byte) (string, error) {
	if len(fields) == 0 {
		return "", fail(codeKeyMissing, "send an API key: Authorization: Bearer mien_…")
	}
	if len(fields) > 1 {
		return "", fail(codeBadRequest, "there is more than one Authorization header")
	}
	scheme, token, _ := strings.Cut(string(fields[0]), " ")
	if token = strings.Trim(token, " "); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", fail(codeKeyMissing, "the Authorization header carries no bearer key: Authorization: Bearer mien_…")
	}
	return token, nil
}

func (s *Server) bodyTooLarge() error {
	return fail(codeBodyTooLarge, "a body may have %d bytes at most; send smaller photos, or fewer at once", s.cfg.MaxBodyBytes)
}

// firstChunk is the buffer that a body of unknown length begins with.
const firstChunk = 32 << 10

// readBody reads the whole body into memory of its own, within the byte budget and until the deadline; of a request that is hashed, once.
// Errors: problems body_too_large, overloaded, request_timeout, bad_request.
func (r *request) readBody() (body []byte, err error) {
	if r.length == 0 || r.consumed {
		return r.body, nil
	}
	if r.name != "" || atParties[r.route.op] {
		defer func() { r.body = body }()
	}
	if err := r.fc.Conn().SetReadDeadline(r.deadline); err != nil {
		return nil, r.readFailed(err)
	}
	if r.length > 0 {
		return r.readKnown()
	}
	return r.readChunked()
}

func (r *request) readKnown() ([]byte, error) {
	if err := r.reserve(r.length); err != nil {
		return nil, err
	}
	body := newBody(r.length)
	// fasthttp's stream says io.EOF for a body that is cut short too, so its length is what counts (H3).
	if _, err := io.ReadFull(r.fc.RequestBodyStream(), body); err != nil {
		return nil, r.readFailed(err)
	}
	r.consumed = true
	return body, nil
}

// readChunked doubles its buffer as the body grows. It never reads past the first io.EOF: fasthttp's stream
// would take the next request for a chunk (H3).
func (r *request) readChunked() ([]byte, error) {
	limit := r.server.cfg.MaxBodyBytes
	stream := r.fc.RequestBodyStream()
	var body []byte
	for {
		if len(body) == cap(body) {
			grown := min(max(2*cap(body), firstChunk), limit+1)
			if err := r.reserve(grown - cap(body)); err != nil {
				return nil, err
			}
			body = append(make([]byte, 0, grown), body...)
		}
		n, err := stream.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if len(body) > limit {
			return nil, r.server.bodyTooLarge()
		}
		if err == io.EOF {
			r.consumed = true
			return body, nil
		}
		if err != nil {
			return nil, r.readFailed(err)
		}
	}
}

func (r *request) reserve(n int) error {
	if !r.server.budget.reserve(int64(n)) {
		return fail(codeOverloaded, "too many bytes of requests are in flight; try again in a second")
	}
	r.reserved += int64(n)
	return nil
}

func (r *request) readFailed(err error) error {
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return fail(codeRequestTimeout, "the body did not arrive within %v; send smaller photos or use a faster line",
			r.server.cfg.RequestTimeout)
	}
	return fail(codeBadRequest, "the body ended early or its chunks are broken")
}

// unread reports whether bytes of the body may still come on the connection, so that the next request can't
// be found on it.
func (r *request) unread() bool { return r.length != 0 && !r.consumed }
