// Package facephi is FacePhi's POST /services/authenticateUser/v2: is this living person the one whose template the client has kept? And
// what a client needs that has not the vendor's widget: tokens made of photos, by a native endpoint.
//
// Nobody is enrolled: templates are in the client's repository, sealed, and no call looks at the gallery's people. What the key's gallery
// gives is its embedding space, its policy and its gates.
//
// # Endpoints and outcomes
//
// The three numbers after the status are serviceResultCode, serviceFacialAuthenticationResult and serviceLivenessResult. All answers have
// the body of the document's example.
//
//	operation         HTTP  result facial liveness  cause
//	authenticateUser  200   0      3      3         the faces match, and the probe's is live
//	authenticateUser  200   -100   0      0         registeredTemplateRaw does not open, is over, or is another user's
//	authenticateUser  200   -101   0      0         bestImageToken or template does not open, is over, used, another user's, or of a space that the gallery left
//	authenticateUser  200   -101   0      4         ErrQuality: the best image is below the gallery's gate for probes
//	authenticateUser  200   -101   0      5         ErrNoFace in the best image
//	authenticateUser  200   -101   0      6         ErrFaceTooSmall in the best image
//	authenticateUser  200   -101   0      7         ErrSeveralFaces in the best image
//	authenticateUser  200   -101   0      8         ErrNotImage, ErrTruncated or ErrTooManyPixels of the best image
//	authenticateUser  200   -101   3      0         the faces match; the gallery's models can't judge liveness
//	authenticateUser  200   -101   1      0         the faces don't match, and the models can't judge liveness
//	authenticateUser  200   -101   3      1         the faces match; the probe's is a spoof
//	authenticateUser  200   -101   1      1         the faces don't match, and the probe's is a spoof
//	authenticateUser  200   -101   3      2         the faces match; the probe's liveness is uncertain, or below the gallery's gate
//	authenticateUser  200   -101   1      2         the faces don't match, and the probe's liveness is uncertain, or below the gate
//	authenticateUser  200   -102   1      3         the faces don't match; the probe's is live
//	authenticateUser  200   -102   4      0         image has no face that can be used, or registeredTemplateRaw is of a space that the gallery left
//	authenticateUser  400   -400   0      0         a field is missing or not as documented, no JSON object, or image is no image
//	authenticateUser  401   -401   0      0         ErrKeyMissing, ErrKeyUnknown, ErrKeyRevoked, ErrKeyExpired
//	authenticateUser  403   -403   0      0         a key that is not for this dialect
//	authenticateUser  404   -404   0      0         ErrGalleryNotFound: the key's gallery was deleted
//	authenticateUser  408   -408   0      0         the body did not arrive in time
//	authenticateUser  413   -413   0      0         the body is larger than the server takes
//	authenticateUser  415   -415   0      0         a Content-Type that is not application/json, or a Content-Encoding
//	authenticateUser  429   -429   0      0         the key's rate, or too many keys that are no good
//	authenticateUser  500   -500   0      0         ErrCorrupt, and whatever is a fault of the server's
//	authenticateUser  503   -503   0      0         busy, stopping, out of time, ErrStorageFailed, ErrStorageFull, ErrAudit, no models, a gallery that changes
//	(any)             404   -404   0      0         an unknown path below /services
//	(any)             405   -405   0      0         another method than POST
//
// POST /services/authenticateUser/v2 is authenticateUser. The native endpoints answer in the native way (openapi.json):
//
//	POST /v1/galleries/{gallery}/facephi/tokens   tokens of a photo; admin, enroller, matcher, and clients of this dialect
//	GET  /v1/facephi/keys                         the versions of the key that seals tokens
//	POST /v1/facephi/keys                         another version, or the oldest taken away
//
// # The tables that the document names and has not
//
// In its example 3 is "Positive" and 3 is "Live". Consistently with that:
//
//	Table 2  0 None (not compared)  1 Negative  3 Positive  4 NoTemplate (none to compare with)
//	Table 3  0 None (not judged)  1 Spoof  2 Uncertain  3 Live  4 BadQuality  5 FaceNotFound  6 FaceTooSmall  7 SeveralFaces  8 ImageUnreadable
//
// 2 of table 2 is free: the engine says yes or no. Spoof, Uncertain and Live are the verdicts of package extract: below .20, below .75, from
// there. A gate of the gallery for probes that asks for more liveness makes what is below it Uncertain. Only Live passes: "If there
// is a match and the liveness check is passed". The logs have these names, with ": " and a detail where there is one.
//
// # Decisions
//
// The document has no threshold. The gallery's policy decides, and without one a false match rate of 1e-4, which is a
// serviceFacialSimilarityResult of 0.85; that is the engine's calibrated similarity (0.80 is 1e-3, 0.85 is 1e-4, 0.98 is 1e-6), told as the
// key's scores allow, and 0 where nothing was compared.
//
// If several things are wrong, -100 comes before -101 before -102, the table's order.
//
// # Choices
//
// Where text and example of the document differ, the text holds, for it defines the fields:
//
//   - timestamp is YYYY-MM-DDThh:mm:ss.SSSZ, "in the format"; the example has no milliseconds.
//   - serviceResultLog of a success is the code's description, "If successful, it indicates the result code description"; the example's is empty.
//     For -100, -101 and -102 it is the description, too, with the userId in the brackets of "[XXX]"; what was wrong in particular is in the log of
//     the module, which "includes details".
//   - registeredTemplateRaw and bestImageToken are "Yes" in the column Required, but image "becomes mandatory if" the one "is not provided", and
//     template if the other is not: so each is required unless its alternative is there. If both are there the token counts, and the other
//     is not looked at. null and "" are as if not there.
//   - operationId and extraData are "String (Base64)", and neither xxxxx-xxxxx-… nor BQABAQG2gBNjuHN... of the example is that: any text passes.
//     Both are bounded, not read, and neither stored nor logged.
//   - userId: "at least two digits" is read as a length, of two characters: merchants' ids have letters. Up to 256 bytes, as ids
//     of people have.
//   - merchantReferenceId has 1 to 256 bytes, and comes back also in refusals, once the body was read.
//
// Other statuses than 200 are not in the document. They have the same body, because a client that only looks at serviceResultCode must not
// find none and take that for 0: it is minus the status. Statuses are those of the native API, but 422 of image is 400, and 409 and 507 are
// 503. x-api-key is the key as mien keys create made it. Fields that the document has not are ignored. transactionId is a UUID of version 4,
// new for each answer; X-Request-Id is what server's and audit log have.
//
// A photo without a face, or a token that does not open, is told by 200 and -101: its bestImageToken "does not match a living person".
// A registry's photo without a face gives nothing to match, -102. Several faces are refused: none is known to be meant.
//
// # Tokens
//
// They are sealed by package token (AES-256-GCM, key-committing), for the tenant and the key's gallery as the
// audience:
//
//	registeredTemplateRaw  template    subject: the userId  for ever            payload of token.AppendTemplate
//	                                   nobody               24 hours
//	bestImageToken         best image  the userId or nobody 10 minutes, once    the photo's file, as it came, up to 8 MiB
//	template               probe       the userId or nobody 10 minutes, once    u16 liveness in 1/10,000 (65,535: not judged), then as above
//
// "First Call: Establishes a unique userId": a userId is established for a template by a first call that succeeds, with a template that is
// nobody's yet or a registry's image. It answers the same template sealed for this userId, which the client keeps; from then on it opens for no
// other, -100. That the userId is unique is the client's part, as nobody keeps a list here: one that registers a userId twice has two
// templates that open. Captures may be bound to a userId, too, when they are made.
//
// Every answer of 0 has registeredTemplateRaw, sealed anew by the newest key: a client that stores what it gets has followed a
// rotation. None that failed has it.
//
// Keys are Engine.TenantSecret of "facephi.token/VERSION". POST /v1/facephi/keys {"new": true} makes a version, which seals from then on; the
// old ones open. {"oldest": 2} takes version 1 away, for good, and with it every token that it sealed: do so when clients have followed, or
// at once if the key is not to be trusted. Templates that were not followed are registered anew. Erasing the tenant ends all tokens.
// One user's token can't be revoked: the client deletes it.
//
// Single use survives restarts: it is a synced write of the engine (Documents "facephi.spent") before the token opens. Those of a minute
// share 32 documents of up to 4,096 uses; when one is full, or the tenant has all its documents, 503. Two attempts with one token at one
// time: one opens. A capture is spent last, but a failed comparison has spent it.
//
// What captures are good for: they show that a photo came through the endpoint that makes tokens in the last ten minutes, and no more than
// that. Whoever may make tokens can make one of any picture; passive liveness is what stands against it (package extract says what that
// is worth). So a client's own key may make tokens: it may send any image to be compared as it is, and one key is what the vendor's clients have;
// an enroller's in its place could change galleries. What is in a token a client can't read.
//
// A template is decided about by the liveness that its photo had, which is in it. Photos meet the gallery's gates: for enrolment when a
// registeredTemplateRaw is made, and image when it is compared; for probes when a template is made, and bestImageToken when it is compared.
//
// # Not there
//
// No bound on failed attempts for a userId (engine.ErrAttempts is of people of galleries): bound the key's rate. Tokens of the vendor's own
// widget don't open: they are sealed for the vendor.
//
// In the audit log are comparisons, as compare, and what was refused, as authenticateUser: -100, -101, and -102 without a comparison. Both name
// the userId.
package facephi
