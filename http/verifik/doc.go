// Package verifik speaks Verifik's POST /v2/biometric-validations/validate: a session's photo goes in, who it is and a token that says so
// come out. Projects, sessions and webhooks, which the document takes for granted, have endpoints of the native API (openapi.json, tag
// verifik).
//
//	native key ─▶ POST /v1/verifik/projects            a gallery, thresholds, a webhook
//	native key ─▶ POST …/projects/{project}/sessions   ─▶ JWT of a session ─▶ the person's device
//	device     ─▶ POST /v2/biometric-validations/validate   JWT, photo
//	                extract: face, liveness ─▶ take an attempt ─▶ engine.Identify: gate, policy ─▶ settle the session
//	           ◀─ appLogin, livenessSession, person, token, signature
//	or browser ─▶ the session's link: the capture page, which decides the same way
//	native key ─▶ GET …/sessions/{session}             who it was, and the same answer
//	anybody    ─▶ GET /v2/clients/{tenant}/{client}/jwks.json   to verify token and signature
//	webhook    ◀─ events, signed
//
// It decides nothing about faces: liveness is a gate of the request, who it is the project's policy, both the engine's to judge.
//
// # Outcomes
//
// "any" is below the dialect's paths. The body of a refusal is {"code", "message"}, the message "STATUS:CODE" but where it is said below.
//
//	validateBiometrics  200  -                               Identify finds somebody: the first request of the session that does
//	validateBiometrics  400  bad_request                     the body is no JSON object, or cut short
//	validateBiometrics  403  liveness_session_token_missing  no bearer token, or an API key: native, or of any dialect
//	validateBiometrics  403  token_not_right                 no JWT, not HS256, not signed with the tenant's key, not a session's; an API key that is unknown
//	validateBiometrics  403  liveness_session_expired        the session's end has come
//	validateBiometrics  403  liveness_session_revoked        the API key that made the session was revoked, or the API key that is sent
//	validateBiometrics  404  biometric_validation_not_found  no such session any more: its project, the person it identified, or their gallery was deleted
//	validateBiometrics  404  person_not_found                Identify finds nobody by the project's policy, or who was found was deleted before the session could be completed
//	validateBiometrics  408  request_timeout                 the body does not arrive in http.Config.RequestTimeout
//	validateBiometrics  409  MissingParameter                image is missing, empty or no string
//	validateBiometrics  409  liveness_failed                 ErrQuality: liveness is below the project's min_liveness, or the gallery's gate
//	validateBiometrics  409  liveness_session_completed      the session has identified somebody
//	validateBiometrics  409  liveness_session_cancelled      the session was cancelled, or its attempts are used up
//	validateBiometrics  409  collection_not_configured       ErrGalleryNotFound, or the models of the gallery's space can't judge liveness
//	validateBiometrics  409  face_not_detected               ErrNoFace
//	validateBiometrics  409  multiple_faces_detected         ErrSeveralFaces
//	validateBiometrics  409  image_quality_failed            ErrFaceTooSmall; ErrQuality: the gallery's gate for probes, other than liveness
//	validateBiometrics  412  only_images_in_base64           image is not base64, or not of a JPEG, PNG, BMP or WebP file that is whole and not too large
//	validateBiometrics  413  payload_too_large               the body is larger than http.Config.MaxBodyBytes
//	validateBiometrics  415  unsupported_media_type          Content-Type is neither application/json nor missing; Content-Encoding
//	validateBiometrics  429  too_many_requests               the server's rate for keys, which counts for each session; or too many tokens from one address that are no good
//	validateBiometrics  500  internal_error                  what is in no table, and ErrCorrupt
//	validateBiometrics  503  service_unavailable             overloaded, out of time, stopping, the disk full or failed, no audit log, no extractor
//	verifikKeySet      200  -                               the tenant's keys
//	verifikKeySet      404  not_found                       no such tenant, or not its client id
//	verifikKeySet      503  service_unavailable             the disk failed, or the server stops
//	any                404  not_found                       no route has the path
//	any                405  method_not_allowed              another method, with Allow; of OPTIONS a 204
//
// # Choices
//
// The document, the vendor's page "Validate an App Login Biometric Validation", names four error scenarios and neither their statuses
// nor their bodies. Its GitBook form, a copy of which is among stored public pages (read in November 2026), with word for word the same 200,
// has three examples:
//
//	403  {"code": "liveness_session_token_missing", "message": "liveness_session_token_missing"}
//	404  {"code": "biometric_validation_not_found", "message": "404:biometric_validation_not_found"}
//	409  {"code": "liveness_failed", "message": "409:liveness_failed@0.45"}
//
// and its neighbour (github.com/Open-Verifik/verifik-documentation, docs/resources/biometric-validations/create-an-app-login-biometric-validation.mdx):
//
//	403  {"code": "token_not_right", "message": "403:token_not_right"}
//	409  {"code": "MissingParameter", "message": "missing project"}
//
// So the shape of all is {"code", "message"} with the status before the code. The page in that repository has another
// 200, which is not the document's, and 400 {"error", "message"}; it was not followed. 412 only_images_in_base64 is from the vendor's page on people.
// All other codes are ours, in that shape:
//
//   - "Session Expired: when the liveness session has expired or been completed": 403 where the token itself has ended, 409 where the
//     session has, so that a client knows whether another token would help.
//   - "Person Not Found" is 404, "Collection Issues" 409.
//   - "Liveness Failure" tells the score, in hundredths, cut, as the vendor's example does. It is not a biometric score of a comparison.
//   - What the photo lacks otherwise is 409, and what is no photo 412. Of several faces none is taken: a login is one person's.
//   - No Authorization is 403 and not 401, as in the vendor's example, whose code says that the token is missing.
//   - No 2xx but 200: the document has no 201 for this.
//
// The request: "image" may have a data: prefix (the page's examples do), line breaks, either alphabet of base64, padding or none. Other
// fields are ignored. Content-Type may be missing.
//
// The response: ids are MongoDB's ObjectIds in the example, and so they are here. client stands for the tenant, person for the person's
// id in the gallery: both are derived (HMAC-SHA-256 under a secret of the tenant's, 12 bytes), so they stay the same, and tell nothing; also
// where a person's id has 24 hexadecimal digits: who may choose an id could choose another's derived one. sub of the token is the person's id itself. projectFlow: a project
// has one. appLogin.face is an id of an identity image, which is not stored, and so of nothing; it is there because clients may read it.
// appLogin.name is "name" of the person's metadata, else the person's id, with spaces for control characters. createdAt of both objects
// is the session's, as in the example; expiresAt has whole seconds, as there. Credits are not charged: there are none.
//
// appLogin.status is "validated" always, for "pending" and "failed" are of logins that get no such answer: GET of the session shows them,
// as validation "new" and "failed".
//
// # Thresholds
//
// min_liveness is 0.55 unless the project says otherwise, above 0: a project of 0 would say that it asks for nothing, against the liveness score of package extract, from 0 to 1, in which 0.5 is where
// a photo is as much like an attack as like a live one (extract/doc.go has the error rates). "Search score" 0.85 is a similarity, which
// is calibrated: 0.85 is FMR 1e-4. It is of one comparison, and a search makes as many as the gallery has templates: among 1,000, a
// stranger finds somebody in 1 − (1 − 1e-4)^1000 = 10 % of searches. The default is the vendor's all the same; a project's policy may be
// {"fpir": 0.001}, which holds at every size, and for a gallery of more than a few dozen people should be. Suspended people are nobody.
//
// # Sessions
//
// A session is a document (engine, Documents) of kind verifik.session under "project.session". It outlives restarts, can be looked at
// until a day after its end, and once it has identified somebody it is about them, and goes with them.
//
//	V1  A session identifies one person once: of requests at the same time one completes it, in the store's turn; the others are
//	    liveness_session_completed.
//	V2  No more than the project's attempts are ever decided: one is taken before the decision, in a write of its own. A photo without a
//	    usable face, or that the server could not judge, gives it back; one lost by a crash stays taken. A photo's liveness or the wrong
//	    person costs one; when all are used up, the session is cancelled and its validation failed.
//	V3  An event is a document of the same write as what it tells of (DocumentOptions.Also): neither is there without the other.
//
// The token is a JWT (RFC 7519) that names tenant, project, session and end, HS256 under TenantSecret "verifik.session/1". Only HS256 is
// taken, whatever the header says (RFC 8725, 3.1), a key comes from nowhere but the tenant's secret, and aud must be verifik.session:
// so the token of a login, which is EdDSA under another key, is no session's, and a public key is no secret.
//
// It is a key to nothing but its session (engine.Key of role client, made by authenticate, never stored). What revokes it: the session's
// end, completion or cancellation (DELETE); the deletion of the project; the revocation of the API key that made the session, so that who
// revokes a stolen key has revoked what was made with it (its rotation and expiry do not); the erasure of the tenant. There is no other
// list to keep. Rates count for each session, so that one device can't use up another's; the audit log names the session as the key.
//
// # The capture page
//
// The answer that makes a session has its token and a link to the capture page (package capture), which are two ways into it: the token takes photos that a device
// of the client's makes, the link asks the person's browser for challenges. Whoever is to go through the page is given the link alone.
//
//	V4  The page's decision is validate's: the project's min_liveness for the photo that the page found best, an attempt that is taken before, the
//	    project's policy, the same events. It is final: a face of nobody ends the session as failed whatever attempts are left, and so does a page that
//	    ends without a decision because nobody was live. A photo below min_liveness costs an attempt and a try of the page.
//	V5  What ends one way ends the other: completion, cancellation by DELETE or by the person (validation new), attempts that are used up. A link ends with the
//	    session, or after an hour, which is the most that links live; the token goes on then. A crash between the two writes leaves the session's
//	    own as what counts: the page asks it at its decision, and of one that is completed only the person whom it identified is a success.
//	V6  The browser is told nothing of the decision. GET of the session shows it to the client's server, with the answer of validate for admins and matchers: its token
//	    is made anew each time, and ends when that of the login did.
//
// A link is of the project's gallery as it was when the session was made, whose settings (PUT /v1/galleries/{gallery}/capture) say where it may send browsers and
// which challenges there are. The flow that the page names is identify.
//
// # Token and signature
//
// The token of a login is a JWT, EdDSA (Ed25519): iss urn:mien:verifik:CLIENT, aud the project's id, sub the person's id in the gallery,
// jti the answer's id, exp, nbf, iat, amr ["face"], and client, project, projectFlow, livenessSession, appLogin, person as in the
// answer. The document's example begins with HS256; that nobody but who signed could verify. iss is no URL: by which host the server
// was reached is the client's to say. The keys are at the project's jwks_uri: public, RFC 7517, kid is RFC 7638's thumbprint. The path
// has tenant and client id; names of tenants can't be tried out, for a wrong id is answered as a wrong name.
//
// signature is a JWS with detached payload (RFC 7515, appendix F) by the same key: the payload is the value of "data", as its bytes are in the
// body, which is what JSON.stringify(body.data), jq -c .data and json.dumps(data, ensure_ascii=False, separators=(",", ":")) give.
//
// Keys are derived from TenantSecret "verifik.token/N", so there is no private key to keep; which N sign is a document. Rotation
// (POST /v1/verifik/keys/rotate) has N+1 sign and publishes N for 25 hours more, which is longer than a token can live; of more than 16
// the oldest goes. Verifiers that see an unknown kid fetch the set again.
//
// # Webhooks
//
// Events are named as the vendor's page "Supported events" has them (docs/resources/webhooks/supported-events.mdx of the same repository), with
// the "type" and "object" of its page on integration; what is not there is ours:
//
//	biometric_validation_new                    a session was made
//	biometrics_liveness_score_not_acceptable    a photo's liveness was below the threshold
//	biometric_validation_person_not_found       nobody was alike enough (ours: the page has none)
//	biometric_validation_failed                 the last attempt failed
//	biometric_validation_validated              somebody was identified
//
// They are signed as Standard Webhooks 1.0.0 says: webhook-id, webhook-timestamp, webhook-signature (v1, HMAC-SHA-256 under the project's
// secret; for 24 hours after a rotation under the one before too). No photo, template or score is in one. Any 2xx is taken for
// delivered; else it is tried again after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 h, each up to a tenth longer, and not before
// Retry-After, up to an hour; 410 disables the webhook until it is given a URL again. At least once: after a crash or a stop what was
// under way is sent again, under the same webhook-id. A project has one delivery under way, 16 are in all, so that a slow receiver delays
// its own only. The log has the last 1,000 of a project, and of four days; an endpoint that was away for more than 1,000 events has lost the
// oldest. Deliveries about somebody go with them.
//
// A URL is https, of a public address. That is looked at when it is set and, which is what counts, when a socket is about to be connected
// (guard.go): names can't be pointed elsewhere in between, redirects are not followed, no proxy is asked. What came of it is told by a
// word, never by an address or a body. http.Config.WebhookHTTP and WebhookPrivate lift that.
//
// # Threats
//
//   - A device that has the token of a session: it can try as many photos as the project's attempts, until the session's end.
//   - Who can read the store's disk: documents are sealed; ids of projects and sessions are in the clear.
//   - Not stopped: a photo of a photo that passes for live (extract/doc.go has the rates). The capture page asks for more than one photo; what it
//     does not stop is in package capture's doc.go. A receiver that replays an event it got: it has the secret.
package verifik
