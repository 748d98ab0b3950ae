// Package authface speaks the API of Auth Face, "Biometric Authentication API": a client begins a session, sends its user's browser to the
// session's biometry_url, where the capture page (package capture) looks at the face, and asks for the result when the browser is back at its
// redirect_url. Auth Face is its owner's name; this is an implementation of its published document.
//
//	POST /biometry/v1/enroll            client_state, redirect_url, external_user_id   authface.enroll           engine.PutPerson of who is not there, nobody alike
//	POST /biometry/v1/verify            the same                                       authface.verify           engine.Verify
//	POST /biometry/v1/identify          client_state, redirect_url                     authface.identify         engine.Identify
//	POST /biometry/v1/update_embedding  client_state, redirect_url, external_user_id   authface.updateEmbedding  engine.Verify, then engine.PutPerson, nobody else alike
//	POST /biometry/v1/result            client_state                                   authface.result           what came of it
//	POST /biometry/v1/list-users        limit, offset                                  authface.listUsers        engine.PeopleAt
//	POST /biometry/v1/get-user          external_user_id                               authface.getUser          engine.Person
//	POST /biometry/v1/delete-user       external_user_id                               authface.deleteUser       engine.DeletePerson
//
// A key is made with the role client, the dialect authface and the gallery that is its users' ("the entire biometric database"), and is sent as
// Authorization: Bearer KEY, or in x-api-key. A user is a person of that gallery, external_user_id the person's id: who is enrolled there by another
// API is enrolled here, and the other way round.
//
//	client ─▶ POST enroll           a session: pending            ─▶ biometry_url
//	browser ▶ biometry_url          in_progress: tries, liveness  ─▶ decided once: success or fail
//	browser ▶ redirect_url?client_state=…
//	client ─▶ POST result           the decision
//
// # Outcomes
//
// Everything that an operation can answer; what has no operation is of any. The code is "error", of result "status".
//
//	enroll           200                       a session: its result says who was enrolled
//	enroll           409 client_state_used     a session of client_state is there, of whatever flow, over or not
//	enroll           409 user_exists           external_user_id is enrolled
//	enroll           422 redirect_not_allowed  redirect_url is not of a registered origin, or not acceptable
//	verify           200                       a session: its result says whether it is them
//	verify           404 user_not_found        external_user_id is not enrolled
//	verify           409 client_state_used     a session of client_state is there, of whatever flow, over or not
//	verify           409 user_suspended        the user is suspended
//	verify           422 redirect_not_allowed  redirect_url is not of a registered origin, or not acceptable
//	identify         200                       a session: its result says who it is
//	identify         409 client_state_used     a session of client_state is there, of whatever flow, over or not
//	identify         422 redirect_not_allowed  redirect_url is not of a registered origin, or not acceptable
//	updateEmbedding  200                       a session: its result says whether the embedding is updated
//	updateEmbedding  404 user_not_found        external_user_id is not enrolled
//	updateEmbedding  409 client_state_used     a session of client_state is there, of whatever flow, over or not
//	updateEmbedding  409 user_suspended        the user is suspended
//	updateEmbedding  422 redirect_not_allowed  redirect_url is not of a registered origin, or not acceptable
//	result           200 pending               nobody has opened biometry_url
//	result           200 in_progress           somebody has
//	result           200 success               enrolled, verified, identified, updated
//	result           200 fail                  the reasons are below
//	result           200 expired               the session's ten minutes are over, or the key that made it was revoked
//	result           404 session_not_found     no session of this client_state was made with this key, or it is over for a day, or its user was deleted
//	listUsers        200                       a page of users
//	getUser          200                       the user
//	getUser          404 user_not_found        external_user_id is not enrolled
//	deleteUser       200                       was enrolled, and is erased
//	deleteUser       404 user_not_found        external_user_id is not enrolled
//	-                400 invalid_request       no JSON object, too large, late or of another type; a field that is missing, of another type or form
//	-                401 unauthorized          no key, or one that is unknown, revoked or expired
//	-                403 forbidden             a native key, another dialect's, or one whose gallery is gone
//	-                404 not_found             a path below /biometry that is none of these
//	-                405 method_not_allowed    another method, with Allow
//	-                429 rate_limited          the key's rate, the session's of result, or too many bad keys from one address; with Retry-After
//	-                500 internal_error        the disk failed or is full, a record is damaged, or something unforeseen
//	-                503 service_unavailable   too busy, too slow, stopping, or too many sessions
//
// A refusal's body is {"success": false, "error": CODE, "message": SENTENCE}: the document has none. Codes are stable, sentences are for people.
//
// # Results
//
// The shapes are those of the document's examples, field by field and in their order. A session that is pending or in_progress has success, state,
// flow, status and external_user_id; one that is over has all of the others too, and null where there is nothing to say: reason of a success,
// external_user_id of an identification that found nobody, score where nobody was compared. "reason" is one of
//
//	conflict            the face is that of somebody who is enrolled under another external_user_id: enroll, update_embedding
//	below_threshold     the face is not the user's: verify, update_embedding
//	not_found           nobody is alike enough, and by how much is not told: identify
//	not_enrolled        the user was deleted, or suspended, since the session began: verify, update_embedding
//	already_enrolled    somebody was enrolled under external_user_id since the session began: enroll
//	liveness_spoof      the last try looked like an attack
//	liveness_uncertain  the last try could not be told from an attack
//	capture_failed      the tries are used up without a good presentation
//	cancelled           the user gave up, or whoever runs the server ended the session
//	camera_unavailable  the user's browser has no camera, or was not let use it
//	expired             nothing was decided in the session's ten minutes, or the key that began it was revoked: the one reason of status expired
//
// # Sessions
//
//	A1  There is one session of a client_state in a gallery, whatever its flow: the store decides between requests at the same time. It is kept
//	    for a day after its end, and its client_state is refused for as long.
//	A2  A session is the key's that began it, and of the keys that it was rotated to or from: for all others of the gallery, of other galleries and
//	    tenants it is not there. Its document is of the tenant, its flow and user are never changed, its link opens once.
//	A3  A session decides once. What was decided is written with the session's end; a crash in between decides nothing else.
//	A4  Sessions outlive restarts, but for a try that is under way, which begins anew.
//	A5  Nothing of the inside is in an answer: ids of sessions, names of galleries and tenants, templates, the other person of a conflict. biometry_url
//	    has a random token.
//	A6  A deleted user's sessions go in the same write, and are not found from then on.
//
// # The document, and where it is silent
//
//  1. No header is named for a key. Authorization: Bearer is what the native API has, and x-api-key what most vendors' have; where both are
//     sent Authorization counts. 401 comes with WWW-Authenticate.
//  2. client_state is a UUID of version 4 (RFC 9562), in either case: one that differs in case is the same session. It is answered as it was
//     sent when the session began. The "Session Response" of the document shows one that begins with "qe", which no UUID does: it is refused.
//     So is "session-uuid", which stands for one.
//  3. A client_state that was used is 409 client_state_used, also for what would be the same request again: biometry_url is told once. A
//     client that lost the answer takes another UUID.
//  4. redirect_url must be https, or http of this machine, without user and fragment, and its origin (scheme, host, port) registered for the
//     gallery: PUT /v1/galleries/{gallery}/capture with a native admin's key. "redirect_url?client_state=" is joined with & where it has a
//     query.
//  5. external_user_id is "required for enroll/verify/update". It has 1 to 256 bytes of UTF-8 without control characters or spaces at its
//     ends. identify does not look at one. Other fields are ignored.
//  6. enroll of an external_user_id that is enrolled is 409 user_exists before anybody is sent to the camera, verify and update_embedding of
//     one that is not 404 user_not_found, and of one that is suspended 409 user_suspended. Whether the face is enrolled only the session can
//     say: that is reason conflict. Who comes or goes meanwhile makes the session fail: already_enrolled, not_enrolled.
//  7. "external_user_id": "external_user_123" of the conflict is the one of the request, never the other person's. The example does not say
//     whose it is. That of the other would tell whoever holds up a photo at enrolment under what name its owner is known, which is what an
//     impostor asks; whom a face is of is asked by identify, which is a key's right to ask. That there is somebody is what the flow is for,
//     and the score how alike they are.
//  8. "score represents the biometric confidence score (when applicable)", from 0 to 1. It is the similarity of mien: monotone, 0.80 where
//     one stranger in 1,000 reaches it, 0.85 one in 10,000, 0.98 one in a million. Of verify and update_embedding it is the user's, of
//     identify the best one's, of a conflict the most alike one's. Five decimals as in the examples, cut, so that none is shown as the
//     threshold that it missed. A key made with --scores rounded is told two decimals, and one with --scores decision null.
//  9. Who matches is decided by the gallery's policies, as in the native API: FMR 1e-4 by default for verify, for identify FPIR 1e-2 and for
//     duplicates 1e-3 at the gallery's size.
//  10. completed_at is UTC, "2026-01-15 12:45:39", to the second. Of an expired session it is its end. event_id is evt_ and a random UUID,
//     the session's, which GET /v1/sessions/authface.GALLERY.CLIENT_STATE has too; the audit log has that id, in lower case.
//  11. An expired session has no example. It has the fields of a failed one, with result fail and reason expired: a client that reads result
//     and reason of whatever is not pending or in_progress finds them.
//  12. "Clients should poll this endpoint": 10 requests at once and one a second for each session, beside the key's rate; then 429 with
//     Retry-After.
//  13. update_embedding: the face must be the user's as it is enrolled (below_threshold), and nobody else's (conflict). The new template
//     replaces the old ones; what is known of those, when they were made and by which key, is kept if the gallery has a history (PATCH
//     /v1/galleries/{gallery} {"history": N}): the vectors are not, which nothing may search any more. The audit log has the write always.
//  14. list-users answers {"success", "total", "limit", "offset", "users": [{"external_user_id", "status", "created_at", "updated_at"}]}, by
//     external_user_id; get-user {"success", "user"} with one of those; delete-user {"success", "external_user_id"}. The document shows no
//     answers. limit is 1 to 1,000, 100 where there is none, offset 0 to 1,000,000. What is enrolled of a face is told to nobody.
//  15. delete-user erases: templates, what is kept beside them and sessions, in one write, and the key that sealed them (engine, Keys; README
//     says when backups have forgotten them). It has no undo. "erase" of the command line does the same and gives a receipt.
//  16. All operations are POST ("All endpoints use HTTP POST methods") and answer 200. What is wrong with a request's form is 400, whatever
//     the native API has: 408, 413, 415.
//  17. "Auth Face does not store facial images": nor does this, in a gallery that keeps photos neither (keep_photos is for people who are enrolled otherwise).
//
// # Threats
//
//   - Whoever gets biometry_url first opens the session: it opens once, for one browser, and tells nothing of the user. The decision is the face's.
//   - The result comes from result and from nowhere else: client_state in redirect_url is the browser's to change, and says nothing.
//   - What liveness stops, and what not, is in package capture's doc.go.
package authface
