// Package youverse speaks the API of Youverse's User Authenticator, so that its clients can be served by mien without a change but that
// of the address and the key. Youverse and the names of its services are their owner's; this is an implementation of
// its published document.
//
//	POST   /user_verification                  user_id, user_photo, create_if_new             → status
//	DELETE /user_verification                  user_id                                        → nothing
//	POST   /user_verification/verify_template  user_id, template, template_version            → status
//	POST   /user_verification/user_data        user_id                                        → template, template_version
//	POST   /user_verification/decentralized    as /user_verification, by multi-party computation
//	DELETE /user_verification/decentralized    the same
//
// A key is made with the role client, the dialect youverse and the gallery that is its users', and is sent in x-api-key. A user is a
// person of that gallery, user_id the person's id: who is enrolled there by another API is registered here, and the other way round.
//
// # What each operation answers
//
// Statuses that say nothing in a code have none in the table; a code is the status or the tag that the body names. BAD is a body that
// is no JSON object, of another content type, too large or late, or lacks a field or has one of another type, and a user_id that the
// engine does not take (bad_json, bad_base64, bad_request, bad_id, unsupported_media_type, body_too_large, request_timeout). KEY
// is key_unknown, key_revoked, key_expired. FORBIDDEN is key_missing, forbidden (a key of another dialect or of the native
// API), gallery_not_found. RATE is rate_limited, auth_limited. FAILED is internal, storage_failed, storage_full, storage_damaged,
// audit_unavailable, extractor_missing, measure_missing: it is the operator who must do something. BUSY is
// overloaded, shutting_down, timeout: it is worth to try again.
//
//	(any)                404                          a path below /user_verification that is none of these
//	(any)                405                          another method, with Allow
//	verify               200 SUCCESS                  registered, and the photo matches
//	verify               200 FAILED                   registered, and the photo does not match
//	verify               200 NEW_USER                 not registered before, create_if_new is true: now registered
//	verify               200 USER_NOT_FOUND           not registered, create_if_new is false; the photo is not looked at
//	verify               400 face_not_found           no_face
//	verify               400 multiple_faces           several_faces
//	verify               400 brightness_failed        brightness_failed of the gate
//	verify               400 light_uniformity_failed  light_uniformity_failed of the gate
//	verify               400 quality_failed           face_too_small; every other reason of the gate, liveness_failed too
//	verify               400                          BAD; not_an_image, image_truncated, image_too_large
//	verify               401                          KEY
//	verify               403                          FORBIDDEN
//	verify               409                          person_suspended, duplicate, version_mismatch, gate_changed
//	verify               429                          RATE, attempts_exceeded
//	verify               500                          FAILED
//	verify               503                          BUSY
//	verifyTemplate       200 SUCCESS                  registered, and the template matches
//	verifyTemplate       200 FAILED                   registered, and the template does not match
//	verifyTemplate       200 USER_NOT_FOUND           not registered
//	verifyTemplate       400                          BAD; template_length, template_not_finite, template_zero_norm
//	verifyTemplate       401                          KEY
//	verifyTemplate       403                          FORBIDDEN
//	verifyTemplate       409                          space_mismatch: another template_version; person_suspended
//	verifyTemplate       429                          RATE, attempts_exceeded
//	verifyTemplate       500                          FAILED
//	verifyTemplate       503                          BUSY
//	userData             200                          registered
//	userData             400                          BAD
//	userData             401                          KEY
//	userData             403                          FORBIDDEN; the key is told no exact scores
//	userData             409                          person_not_found
//	userData             429                          RATE
//	userData             500                          FAILED
//	userData             503                          BUSY
//	delete               204                          was registered, and is deleted
//	delete               400                          BAD
//	delete               401                          KEY
//	delete               403                          FORBIDDEN
//	delete               409                          person_not_found
//	delete               429                          RATE
//	delete               500                          FAILED
//	delete               503                          BUSY
//	decentralizedVerify  200 SUCCESS                  registered, and the photo matches
//	decentralizedVerify  200 FAILED                   registered, and the photo does not match
//	decentralizedVerify  200 NEW_USER                 not registered before, create_if_new is true: now registered
//	decentralizedVerify  200 USER_NOT_FOUND           not registered, create_if_new is false; the photo is not looked at
//	decentralizedVerify  400 face_not_found           no_face
//	decentralizedVerify  400 multiple_faces           several_faces
//	decentralizedVerify  400 brightness_failed        brightness_failed of the gate
//	decentralizedVerify  400 light_uniformity_failed  light_uniformity_failed of the gate
//	decentralizedVerify  400 quality_failed           face_too_small; every other reason of the gate, liveness_failed too
//	decentralizedVerify  400                          BAD; not_an_image, image_truncated, image_too_large, template_unfit
//	decentralizedVerify  401                          KEY
//	decentralizedVerify  403                          FORBIDDEN
//	decentralizedVerify  405                          the server has no parties, or none for the gallery's model
//	decentralizedVerify  409                          space_mismatch: registered under another model; gate_changed, person_exists
//	decentralizedVerify  429                          RATE; attempts_exceeded: the budgets of the parties, and locks
//	decentralizedVerify  500                          FAILED
//	decentralizedVerify  503                          BUSY, party_away, parties_differ
//	decentralizedDelete  204                          was registered; two parties at least have destroyed their shares
//	decentralizedDelete  400                          BAD
//	decentralizedDelete  401                          KEY
//	decentralizedDelete  403                          FORBIDDEN
//	decentralizedDelete  405                          the server has no parties, or none for the gallery's model
//	decentralizedDelete  409                          person_not_found
//	decentralizedDelete  429                          RATE
//	decentralizedDelete  500                          FAILED
//	decentralizedDelete  503                          BUSY, party_away, parties_differ
//
// # The document, and where it is silent
//
//  1. Every field is required ("Required | True"); null is as if it were not there; what else a body has is ignored.
//  2. "Selfie image as BMP, PNG or JPG base 64 string": WebP, which the native API takes, passes too. Base64 may have a data: prefix,
//     line breaks, the URL-safe alphabet, and no padding.
//  3. A message that has a tag ("specific tags that can be present in the message field") is the tag and nothing else, so that both
//     clients that look for it and those that compare it find it. Of several reasons the first counts that says more than
//     quality_failed. face_too_small is quality_failed; that liveness failed is too, as the document says.
//  4. "Several quality checks are made to validate the selfie image": a gallery that has a gate decides by that. In one without,
//     photos must reach the checks of this package (enrolChecks, probeChecks), those that the gallery's models can judge. Of one
//     photo each of 1,500 people of LFW the first refuse 7.3 % (95 %: 6.1 to 8.7) and the second 4.9 % (3.9 to 6.1), 2.5 % for
//     liveness: go test ./http/youverse -run Checks -v -args -faces DIR.
//  5. "Face authentication successful" and "failed" are the engine's decision by the gallery's policy, by default a false match rate of
//     1e-4 (similarity 0.85). The document names no threshold.
//  6. create_if_new registers who is not there and nobody else: a registration is never replaced, also where several requests for a new
//     user come at once: one answers NEW_USER, the others what their photos say. To replace a photo, delete the user first.
//  7. Who is not registered and is not to be is USER_NOT_FOUND before the photo is looked at; user_photo must be base64 nevertheless.
//  8. user_data and DELETE have no status of their own for a user who is not registered, and their tables no 404: it is 409, the one
//     conflict that they can meet. 204 would hide that somebody whose user_id was mistyped is still there.
//  9. template is base64 of little-endian float32[dim], template_version the id of the gallery's embedding space; of several templates
//     that a person has it is the newest. A template of another version is 409. A template is biometric data: each that is
//     handed out is in the audit log (template.read), a key that is told no exact scores (keys create --scores) gets
//     none, and no key but one of the gallery does.
//  10. 401 has the service's shape and 403 the gateway's. So a request that has no x-api-key does not come past the gateway, "Missing
//     Authentication Token", and one whose key may not be used here neither, "Forbidden"; a key that is not good (any more) is
//     what the service says 401 of, with "Check your x-api-key". A gallery that is gone is Forbidden: its keys are for nothing.
//  11. The document lists 400, 401, 403, 405, 409, 500. What is wrong with a request is 400, where the native API has 408, 413, 415, or
//     422 too. Beside the list there are 404, for what is no operation of the document; 429 and 503, with
//     Retry-After, since 400 and 500 don't tell clients to wait. All have the shape of an Error response.
//  12. A user who is suspended is 409, of either verification: FAILED would say that it was somebody else's face.
//  13. A user of whom too many verifications have failed (--attempt-failures) is 429.
//  14. The decentralized pair is matching on shares that three parties hold (engine/mpc has who learns what): "mien serve --parties". Its
//     users are registered by it and are not those of /user_verification. The document says that signatures are hashed; these are not, they
//     are split: a hash of a face can't be compared with another photo of it. The threshold and the attempts that each user has, 10 a minute
//     and 600 in 30 days by default, are in the parties' own files, and five photos in a row that don't match lock the user for 15 minutes,
//     then twice as long. A party that is away is 503: two can't decide. Without parties the pair is 405 with an Allow that is empty, which is
//     what RFC 9110 has for something that is switched off (10.2.1); another method there has the Allow of the pair's paths. What would be
//     asked of it is then not looked at, but for its length and coding.
//  15. user_id has no restrictions in the document; here it is 1 to 256 bytes of UTF-8 without control characters or spaces at its ends.
//  16. The vendor's image is given its key as yk_x_api_key. Here keys are made (mien keys create), and that variable means nothing.
//     Of the document's Kubernetes names the service has the vendor's, youverse-authentication-api, for clients call it; the deployment
//     is mien's, for it serves the other APIs too.
package youverse
