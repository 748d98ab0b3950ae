// Package http serves the native API over fasthttp: it parses, authenticates, bounds and
// translates to one call of the engine, and decides nothing about faces.
//
//	conn ─▶ listener   open connections, file descriptors             → 503 and close
//	     ─▶ TLS        handshake: time, HTTP without TLS              → close, 400
//	     ─▶ fasthttp   header: size, time, syntax                      → 431, 408, 400
//	     ─▶ admit      route, method, key, rate, role, galleries, length → 404, 405, 401, 429, 403, 413
//	     ─▶ slot       requests in flight                              → 503                       (body unread)
//	     ─▶ decode     byte budget, time, JSON | multipart | raw       → 503, 408, 413, 400, 415
//	     ─▶ extract    photos to templates, at the same time           → 422, 503
//	     ─▶ engine     one call                                        → 2xx, 404, 409, 503, 507
//
// It promises:
//
//  1. The table routes and the document openapi.json say the same; so do the table codes and the document's
//     problem codes. Tests compare them both ways and hold every request and answer of theirs against the document.
//  2. Every answer but a 2xx of the metrics and the three public routes is JSON with an X-Request-Id; every failure is a problem (RFC 9457)
//     with a stable code and a detail that says what to do. Text of an error that is in no table (errors.go) stays
//     in the log.
//  3. What is refused before its body, is refused without reading it; the client can still read why: the server
//     sends its answer and the end of the stream, then reads and drops what still comes (at most 1 s and 32 MiB).
//  4. A body that was not read to its end closes the connection, so that it is never taken for the next request.
//  5. Memory of bodies is bounded by Config.MaxBodyBytesInFlight, photos at work by the extractor; whatever is
//     full answers 503 at once with Retry-After, nothing queues here.
//  6. Shutdown answers every request that was begun. A request whose bytes were in a buffer when the answer
//     before it said "Connection: close" was not begun (RFC 9112, 9.6).
//  7. Logs hold no path but its pattern, no body, no token and nothing biometric.
//
// It refuses: JSON with unknown or repeated fields, names of another case, data behind the object or bytes that
// are no UTF-8; base64 that is not RFC 4648 standard with padding; query parameters that are unknown, repeated or
// beside a body that has options; forms with unknown fields; Content-Encoding; a path that ends in a slash, but for the capture page's.
//
// A person's entity tag is the version (conditions.go): writes of a person obey If-Match, and PUT If-None-Match: *, in the
// store's turn. A write with a condition that is not looked at is refused, not done.
//
// # Requests that come again
//
// A write may have a name, Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07; idempotency.go): sent again by the same API key with the same method,
// path, query and body it is not done again, and is answered with the same status, ETag and body, with Idempotency-Replayed: true.
// The engine keeps the answer in the write's own batch (engine/doc.go, O1 to O6), made as this key is told it. The routes, roles, rates and the length are
// looked at as with any request, and a body is compared as it was sent: a multipart form must have the same boundary. The
// proof of an erasure is not kept, only its receipt: a proof can be asked for again.
//
// It is heeded where a request is one write of the engine and a repeat would do something, or be answered as if it had failed: people, templates,
// galleries, keys, the end of a move, the begin and end of jobs. A write that does not heed it refuses it, as conditions: to begin or finish a move, to cancel a job, and to
// rotate a tenant's key may be repeated as they are; of an import the file says what was done; a backup and the erasure of a tenant leave nowhere to keep
// an answer; verify, identify and their like change nothing, and a repeat is another question, which is counted. Reads ignore it.
//
// # Photos
//
// A photo's task (input.go) is planned before it is extracted: by which models, which of its faces, and what is judged,
// which is what the gallery's gate, the request's gate and "want" ask for and no more, since each costs a model's time.
// Whether the photo passes is the engine's to decide, which is told what was judged. A gallery's gate that changes
// between the two makes the photo be judged again; gate_changed is the answer if it changes again. What the models can't judge is refused where a request asks for it
// (bad_gate), and in the gallery's own gate, of which the request knows nothing, named as the server's (measure_missing).
// reasons.go has what other vendors' APIs call the reasons.
//
// While a gallery is being moved to another space, photos that people are enrolled with are read by the models of both, and
// must be good for both. A photo that was read for one space when the switch to the other came is read again (moves.go).
//
// A gallery that keeps photos has them stored by the engine, as they were sent. No answer has a stored photo in it.
//
// # Audit
//
// The engine records what it does (package engine, Audit); here is recorded what was refused (audit.go): every request with a good key
// that is answered by a problem, a role that may not, a photo without a face and a body that is no JSON included, but for
// what was turned away because the server was busy or stopping. A refusal that can't be recorded is audit_unavailable
// instead. An export is sent as it is read from the store; it may take longer than a request, and holds one of maxExports places
// instead of one of MaxRequests.
//
// # Decentralised people
//
// Below a gallery there are people whose templates nobody holds: three parties have shares (engine/mpc). They are others than the gallery's
// own, also under the same ids: one template a person, no metadata, no listing, no scores, no policy of a request, since each of these would tell more
// than a bit, or need somebody who has what nobody has. So they have operations of their own (decentralised.go), and no flag on the others.
//
// D1  The engine decides who may ask, what ids and templates may be, and by the gallery's gates which photos pass; the parties alone decide who matches.
// D2  What was done or decided is on the tenant's audit log before it is answered, that a write was done durably.
// D3  A gallery's deletion, and a tenant's, is decided at the parties first. Parties that are away carry it out before they serve anything else. Nobody is
// enrolled in the tenant from then until the engine has deleted it (enrolments.go).
// D4  A party that is away takes away these operations and nothing else: /readyz has the parties' states and stays ready.
// D5  A client may send shares that it has sealed for the parties in the place of a photo or a template (sealed.go). Then nothing here sees either, and what there is to
// say of it the parties say. It needs no other right than a template, of whose photo nothing is known as well: gates are about photos. What to seal with says of
// nobody whether they are enrolled.
// D6  An enrolment that comes again, because a party had not carried it out, or its answer did not arrive, is the same one (engine/mpc, N16): the gateway
// is given a hash of the request and of its key, and of its Idempotency-Key if it has one. A photo is not looked at again for a name that is known. The
// same holds for registrations of dialects, which have no such header, until they were answered, and for erasures.
//
// # Keys
//
// What a key may do is decided in admit, from the table of routes: its role, and for a key that is bound to galleries the gallery
// that the path names, before anybody looks whether that is there. An operation whose path names none is refused to a bound key
// unless it is known to heed the bound (unbound, in routes.go). Another tenant's names can't be asked for: every call of the engine
// is given the key's own, but where an operator's key names one. Tests send every route another tenant's names, and names that
// nobody has, and compare the answers byte by byte.
//
// Before the role is looked at the key's token bucket is asked (rates.go), so that refusals, each of which is a record in the audit,
// are no more than requests; afterwards the tenant's share of the requests in flight (slots.go). Keys that are no
// good are counted by the client's address (failures.go). What a key is told of scores is decided when the operation is done, for
// all answers in one place (scores.go).
//
// # Files of people
//
// An import's body is read, and an export's answer made, a block at a time (transfer.go), so MaxBodyBytes and RequestTimeout don't hold
// for them. Instead maxBulk of them run at once, each charged bulkMemory; the client must keep a pace, 64 KiB a second on
// average besides one RequestTimeout or WriteTimeout, of which the time that the engine takes is not counted; and 24 hours end
// each. An import that breaks off has written the blocks before; its answer says how many people those were.
//
// # Limits
//
// The deadline of a request (Config.RequestTimeout) is that of its context. An extractor or engine that does not
// look at it is waited for: an answer that is late but right is better than work whose outcome nobody knows. The
// context also ends within about 100 ms of the end of the client's stream, so that a client that went away holds no
// place (gone.go); such a request is 499 client_gone in the log. Who half-closes a connection before the answer
// (nc -N, socat) is told client_gone, or has its answer if that was ready sooner. HTTP/1.1 and 1.0 only, with TLS
// (Config.TLS) or without.
//
// Invariants, cited in code and tests:
//
//	H1  Nothing but request.fc refers to memory of a fasthttp.RequestCtx.
//	H2  What is reserved of the byte budget is released when serve returns, and not before the operation has.
//	H3  On a body stream nothing is read after io.EOF; a Content-Length is counted, not trusted to end in io.EOF
//	    (fasthttp v1.73.0, streaming.go).
//	H4  A question goes back to its pool (match.go) wiped and when nothing holds a part of it: the engine and answers copy what
//	    they keep. After a panic nobody knows, and it does not go back.
//	H5  The context of a request (context.go) is never used again for another: what outlives its request still finds it ended.
package http
