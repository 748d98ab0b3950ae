package http

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/valyala/fasthttp"

	"mien/engine"
)

// idempotencyKey is the header that gives a request a name (draft-ietf-httpapi-idempotency-key-header-07).
const idempotencyKey = "Idempotency-Key"

// idempotent are the operations that heed it: those that are one write of the engine, where a repeat would do something, or answer
// something else. doc.go says why no others.
var idempotent = map[string]bool{
	"putGallery": true, "patchGallery": true, "deleteGallery": true, "cancelMove": true,
	"putPerson": true, "patchPerson": true, "deletePerson": true, "erasePerson": true, "addTemplate": true,
	"createKey": true, "rotateKey": true, "revokeKey": true,
	"startDedupe": true, "deleteJob": true,
}

// atParties are the operations that heed it and are no write of the engine's: the gateway to the parties remembers them (engine/mpc, N16).
var atParties = map[string]bool{"decentralisedEnrol": true}

// TakesIdempotencyKey reports whether a request of a method and a raw path may carry an Idempotency-Key.
func TakesIdempotencyKey(method, path string) bool {
	rt, _, err := newRouter(routesOf(routes)).find(method, path, nil)
	return err == nil && (idempotent[rt.op] || atParties[rt.op])
}

// readName takes the request's name from its header, bare or as a string of structured fields (RFC 9651, 3.3.3): "7e-1" is the
// same as 7e-1. Errors: the problem bad_request.
func (r *request) readName() error {
	fields := r.fc.Request.Header.PeekAll(idempotencyKey)
	if len(fields) == 0 || r.route.dialect != nil { // it is in no vendor's API
		return nil
	}
	if !idempotent[r.route.op] && !atParties[r.route.op] {
		return fail(codeBadRequest, "%s is not supported here: this operation may be repeated as it is, or a repeat is refused; send the request without it", idempotencyKey)
	}
	name, ok := unquoteName(string(fields[0]))
	if len(fields) > 1 || !ok || len(name) < 1 || len(name) > engine.MaxOnceName || strings.ContainsFunc(name, notVisible) {
		return fail(codeBadRequest, "%s must be there once, with 1 to %d visible ASCII characters, such as a random UUID, with or without quotation marks", idempotencyKey, engine.MaxOnceName)
	}
	r.name = name
	return nil
}

func notVisible(c rune) bool { return c <= ' ' || c > '~' }

// unquoteName is what a string of structured fields says, or s itself if it begins with no quotation mark.
func unquoteName(s string) (name string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return s, true
	}
	var b strings.Builder
	for rest := s[1:]; rest != ""; rest = rest[1:] {
		switch rest[0] {
		case '"':
			return b.String(), len(rest) == 1
		case '\\':
			if rest = rest[1:]; rest == "" || rest[0] != '"' && rest[0] != '\\' {
				return "", false
			}
		}
		b.WriteByte(rest[0])
	}
	return "", false
}

// runOnce is run for a request with a name: what was answered to it before is answered again. Errors: run's, the engine's BeginOnce's, and those of
// readBody.
func (s *Server) runOnce(r *request) (reply, error) {
	if r.route.takesBody() {
		if _, err := r.readBody(); err != nil {
			return reply{}, err
		}
	}
	asked := engine.OnceRequest{Tenant: r.key.Tenant, Key: r.key.ID, Name: r.name, Content: r.digest()}
	o, kept, err := s.engine.BeginOnce(r.ctx, asked)
	if o != nil {
		rep, failed := s.runUnder(r, o)
		if !errors.Is(failed, engine.ErrOnceDone) {
			return rep, failed
		}
		// One like it came first, and its client did not wait.
		if o, kept, err = s.engine.BeginOnce(r.ctx, asked); o != nil {
			o.End()
			err = engine.ErrOnceRunning
		}
	}
	if err != nil {
		return reply{}, err
	}
	return parseKept(kept)
}

// runUnder is run while no other request has the name, and ends that also if the operation panics.
func (s *Server) runUnder(r *request, o *engine.Once) (reply, error) {
	defer o.End()
	r.once = o
	return s.run(r)
}

// digest is a hash of what the request asks for, its conditions included. REQUIRES: the body was read, if there is one.
func (r *request) digest() [sha256.Size]byte {
	h := sha256.New()
	fields := &r.fc.Request.Header
	for _, part := range [][]byte{[]byte(r.method), []byte(r.path), []byte(r.query), []byte(r.contentType), fields.Peek("If-Match"), fields.Peek("If-None-Match"), r.body} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// once is ctx for the engine's call that does the request. answer makes of what it returns what the client is told, and for a
// request with a name also what it is told when it comes again: so it depends on nothing else that the call changes. T is any where
// the call returns no value. An answer of no status is a refusal, which is not kept.
func once[T any](ctx context.Context, r *request, answer func(v T, created bool) reply) context.Context {
	if r.once == nil {
		return ctx
	}
	return r.once.Context(ctx, func(v any, created bool) ([]byte, error) {
		t, _ := v.(T)
		rep := answer(t, created)
		if rep.status == 0 {
			return nil, nil
		}
		rep.value = scoresFor(&r.key, rep.value)
		body, err := rep.marshal()
		return rep.appendKept(body), err
	})
}

// noContent is the answer of operations that return nothing.
func noContent(any, bool) reply { return reply{status: fasthttp.StatusNoContent} }

// appendKept encodes an answer: version u8, status u16, length of the entity tag u8, the tag, the body of JSON.
func (rep reply) appendKept(body []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{keptVersion}, uint16(rep.status))
	b = append(append(b, byte(len(rep.etag))), rep.etag...)
	return append(b, body...)
}

const keptVersion = 1

// parseKept is the inverse of appendKept. Errors: engine.ErrCorrupt.
func parseKept(b []byte) (reply, error) {
	if len(b) < 4 || b[0] != keptVersion || len(b) < 4+int(b[3]) {
		return reply{}, engine.ErrCorrupt
	}
	end := 4 + int(b[3])
	return reply{status: int(binary.BigEndian.Uint16(b[1:])), etag: string(b[4:end]), raw: b[end:], replayed: true}, nil
}
