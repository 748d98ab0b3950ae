// Package auther speaks the API of Auther Check, version 6.0.0, to its clients: below /person, with an Api-Key. The document is the
// specification; where it is silent or contradicts itself, what was chosen is below, with the words that led to it.
//
// A key is one of the role client for the dialect "auther", and bound to the gallery that is the document's "collection".
//
//	POST    /person/face/{person_id}         autherCreatePerson   engine.PutPerson of who is not there
//	PUT     /person/face/{person_id}         autherUpdatePerson   engine.PutPerson of who is
//	DELETE  /person/face/{person_id}         autherRemovePerson   engine.DeletePerson
//	GET     /person/face/{person_id}         autherGetPerson      engine.Person
//	POST    /person/recognize-face           autherRecognizeFace  engine.Identify, top 1
//	POST    /person/verify-face/{person_id}  autherVerifyFace     engine.Verify
//	POST    /person/compare-face             autherCompareFace    engine.Compare
//
// # Outcomes
//
// Everything that an operation can answer, and what causes it: codes of the document, then of the native API or its reasons for a photo.
// Those without an operation are of any.
//
//	autherCreatePerson   200         enrolled
//	autherCreatePerson   400 R_002   not JSON, not stated to be, too large, cut short
//	autherCreatePerson   400 R_003   a field is missing, of another type, not base64, no readable image; an id that is not allowed
//	autherCreatePerson   400 F_001   several_faces
//	autherCreatePerson   400 F_002   no_face, liveness_failed (of the gallery's own gate)
//	autherCreatePerson   400 F_003   eyes_closed
//	autherCreatePerson   400 F_004   mouth_open
//	autherCreatePerson   400 F_005   eyes_covered
//	autherCreatePerson   400 F_006   brightness_failed, light_uniformity_failed, contrast_failed
//	autherCreatePerson   400 F_007   sharpness_failed, compression_failed, quality_failed
//	autherCreatePerson   400 F_008   pose_roll_failed
//	autherCreatePerson   400 F_009   pose_pitch_failed
//	autherCreatePerson   400 F_010   pose_yaw_failed
//	autherCreatePerson   400 F_011   face_too_small, head_size_failed, face_cut_off
//	autherCreatePerson   400 F_012   duplicate: the face is another person's of the gallery
//	autherCreatePerson   400 CP_002  person_exists
//	autherCreatePerson   400 CP_005  the key's rate is used up
//	autherCreatePerson   401 M_401   no good key, or a signature that is missing, wrong, old or used
//	autherCreatePerson   403 M_403   a key that is not for this dialect, or whose gallery is not there
//	autherCreatePerson   500 M_500   the disk failed or is full, a record is damaged, or something unforeseen
//	autherCreatePerson   503 M_503   too busy, too slow, stopping, or without models
//	autherUpdatePerson   200         enrolled anew; created, metadata and retention stay
//	autherUpdatePerson   400 R_002   not JSON, not stated to be, too large, cut short
//	autherUpdatePerson   400 R_003   a field is missing, of another type, not base64, no readable image; an id that is not allowed
//	autherUpdatePerson   400 F_001   several_faces
//	autherUpdatePerson   400 F_002   no_face, liveness_failed (of the gallery's own gate)
//	autherUpdatePerson   400 F_003   eyes_closed
//	autherUpdatePerson   400 F_004   mouth_open
//	autherUpdatePerson   400 F_005   eyes_covered
//	autherUpdatePerson   400 F_006   brightness_failed, light_uniformity_failed, contrast_failed
//	autherUpdatePerson   400 F_007   sharpness_failed, compression_failed, quality_failed
//	autherUpdatePerson   400 F_008   pose_roll_failed
//	autherUpdatePerson   400 F_009   pose_pitch_failed
//	autherUpdatePerson   400 F_010   pose_yaw_failed
//	autherUpdatePerson   400 F_011   face_too_small, head_size_failed, face_cut_off
//	autherUpdatePerson   400 F_012   duplicate: the face is another person's of the gallery
//	autherUpdatePerson   400 CP_002  the person was deleted and another enrolled under the id while the photo was looked at
//	autherUpdatePerson   404 NF_001  person_not_found
//	autherUpdatePerson   400 CP_005  the key's rate is used up
//	autherUpdatePerson   401 M_401   no good key, or a signature that is missing, wrong, old or used
//	autherUpdatePerson   403 M_403   a key that is not for this dialect, or whose gallery is not there
//	autherUpdatePerson   500 M_500   the disk failed or is full, a record is damaged, or something unforeseen
//	autherUpdatePerson   503 M_503   too busy, too slow, stopping, or without models
//	autherRemovePerson   200         deleted; no body
//	autherRemovePerson   400 R_002   a body that is no JSON object, or too large
//	autherRemovePerson   400 R_003   an id that is not allowed
//	autherRemovePerson   404 NF_001  person_not_found
//	autherRemovePerson   400 CP_005  the key's rate is used up
//	autherRemovePerson   401 M_401   no good key, or a signature that is missing, wrong, old or used
//	autherRemovePerson   403 M_403   a key that is not for this dialect, or whose gallery is not there
//	autherRemovePerson   500 M_500   the disk failed or is full, a record is damaged, or something unforeseen
//	autherRemovePerson   503 M_503   too busy, too slow, stopping, or without models
//	autherGetPerson      200         the person
//	autherGetPerson      400 R_002   a body
//	autherGetPerson      400 R_003   an id that is not allowed
//	autherGetPerson      404 NF_001  person_not_found
//	autherGetPerson      400 CP_005  the key's rate is used up
//	autherGetPerson      401 M_401   no good key, or a signature that is missing, wrong, old or used
//	autherGetPerson      403 M_403   a key that is not for this dialect, or whose gallery is not there
//	autherGetPerson      500 M_500   the disk failed or is full, a record is damaged, or something unforeseen
//	autherGetPerson      503 M_503   too busy, too slow, stopping, or without models
//	autherRecognizeFace  200         the most alike, from a similarity of 0.98 on
//	autherRecognizeFace  400 R_002   not JSON, not stated to be, too large, cut short
//	autherRecognizeFace  400 R_003   as of enrolment, and what is wrong with a photo
//	autherRecognizeFace  400 F_011   face_too_small, and of the gallery's own gate head_size_failed and face_cut_off
//	autherRecognizeFace  410 RF_001  no match
//	autherRecognizeFace  400 CP_005  the key's rate is used up
//	autherRecognizeFace  401 M_401   no good key, or a signature that is missing, wrong, old or used
//	autherRecognizeFace  403 M_403   a key that is not for this dialect, or whose gallery is not there
//	autherRecognizeFace  500 M_500   the disk failed or is full, a record is damaged, or something unforeseen
//	autherRecognizeFace  503 M_503   too busy, too slow, stopping, or without models
//	autherVerifyFace     200         match, from a similarity of 0.80 on
//	autherVerifyFace     400 R_002   not JSON, not stated to be, too large, cut short
//	autherVerifyFace     400 R_003   as of enrolment, and what is wrong with a photo
//	autherVerifyFace     404 NF_001  person_not_found
//	autherVerifyFace     410 RF_001  no match, or person_suspended
//	autherVerifyFace     400 CP_005  the key's rate is used up
//	autherVerifyFace     401 M_401   no good key, or a signature that is missing, wrong, old or used
//	autherVerifyFace     403 M_403   a key that is not for this dialect, or whose gallery is not there
//	autherVerifyFace     500 M_500   the disk failed or is full, a record is damaged, or something unforeseen
//	autherVerifyFace     503 M_503   too busy, too slow, stopping, or without models
//	autherCompareFace    200         similarity in percent, 0 below the threshold
//	autherCompareFace    400 R_002   not JSON, not stated to be, too large, cut short
//	autherCompareFace    400 R_003   as of enrolment, and what is wrong with a photo
//	autherCompareFace    400 CP_005  the key's rate is used up
//	autherCompareFace    401 M_401   no good key, or a signature that is missing, wrong, old or used
//	autherCompareFace    403 M_403   a key that is not for this dialect, or whose gallery is not there
//	autherCompareFace    500 M_500   the disk failed or is full, a record is damaged, or something unforeseen
//	autherCompareFace    503 M_503   too busy, too slow, stopping, or without models
//	-                    404 M_404   a path below /person that is none of these
//	-                    405 M_405   another method, with Allow
//
// # Thresholds
//
// A percentage is engine.Policy.Similarity in hundredths: a fixed scale over the false match rate of one comparison that the model's
// calibration gives. 98 % is 1e-6 and 80 % is 1e-3, whatever the model, and whatever policy the gallery has. A person has one template
// here; who got more of them by the native API is verified by the best. Failed verifications are counted by the gallery's policy.
//
// # Choices
//
//  1. Codes and messages are paired in the order in which both are listed. "doesn’t" is "doesn't": typography is the page's. %s is the
//     person_id that was asked for.
//  2. 401, 403 and 500 have "code": "string" and no values: they are M_ and the status, with the words of HTTP. So are 404 of other
//     paths, 405 and 503, which the document does not have.
//  3. An error has code and message. "type", which the first sample has, is in none of the others.
//  4. CP_005 "Number of available requests exceeded" is listed under 400, so a key whose rate is used up is told 400 and not 429, with
//     Retry-After: the document's clients look for the code in a 400. POST and PUT do not list it and answer it too, as nothing else
//     says it. It is also the answer where verifications of a person have failed too often.
//  5. Other refusals before a photo is looked at, native 408, 413 and 415 included, are R_002 "Request body exception": they are of the body,
//     and the document's one status for them is 400. R_003 "Fields validation exception" is of fields: missing, of another type, not base64,
//     no image, an id that is not allowed. GET and DELETE list R_002 and have "no parameters": it is for a body that one comes with, of DELETE
//     unless it is a JSON object.
//  6. F_ codes are in the tables of POST and PUT; of the others only recognize-face has one, F_011. What else is wrong with a photo is R_003 there.
//     F_001 "Should be one face" being in those two tables, recognize-face and verify-face take the largest of several faces. compare-face takes
//     "the largest face detected on the targetImage" and "the face on the sourceImage", which must be the only one.
//  7. "Image verification criteria" are named and not numbered: Gate has the numbers, and counts beside the gallery's own gate for
//     enrolment. One code is told of several: number of faces, size, pose, light, what covers the eyes, sharpness, eyes, mouth. A pack that has
//     no 68 landmarks can't judge eyes and mouth, and enrols nobody here (500).
//  8. F_012 "Face exists": enrolment asks the engine for duplicates to be rejected, by the gallery's policy for them (FPIR 1e-3 if it
//     has none).
//  9. CP_002 is in PUT's table too, where a profile has to exist. It is answered where the one that the request was about was deleted and
//     another made under its id meanwhile, so that nobody's face gets into another's profile. NF_001 of PUT comes before the photo is looked at.
//  10. PUT replaces the face; metadata, retention and status, which the native API may have set, stay.
//  11. verify-face says nothing of a face that does not match. It is 410 RF_001 "No person matched", the document's one answer to that;
//     404 NF_001 is for a person who is not there (its sample there, R_002, contradicts the table). A suspended person matches nobody.
//  12. compare-face has no answer for faces that do not match either, and lists no 410: facesMatched, "the similarity value of the
//     facesMatched images", is 0. similarityThreshold is a percentage as in "for example, 98%". A number above 0 and up to 1 is R_003: as a
//     percentage it would let nearly everybody pass, and is likely meant as a share.
//  13. A key that is told less than exact scores gets facesMatched in whole percents, or 100 or 0, and may not choose a threshold (403).
//  14. The table of compare-face has sourcetImage, its samples sourceImage: both are understood. Both at once must be the same.
//  15. DELETE answers 200 without a body. Times have milliseconds and Z. Fields that the document does not have are ignored, null is as good
//     as none, and a Content-Type is not asked for, but must be application/json if stated.
//  16. Images are base64, also with a data: prefix, line breaks, the URL-safe alphabet or no padding ("image as base64-encoded bytes").
//  17. Request-Id is the native X-Request-Id, which a request may choose.
//  18. A key whose gallery is not there is 403: of the codes of all operations none is nearer.
//
// # Signing
//
// "Double encryption RSA-2048" fixes fields and not bytes; these are ours. It is a signature: what keeps bodies secret is TLS. PUT
// /v1/auther/signing/{key} gives an API key the RSA keys of its client, and from then on it may not ask without.
//
//	request   M = base_url | uri | body | Timestamp                Signature = base64(RSASSA-PKCS1-v1_5(SHA-256, client's key, M))
//	answer    M = base_url | uri | answer's body | Timestamp       the same by the server's key, one a tenant
//
//	base_url   http.Config.PublicURL in lower case, never what a request says of its host
//	uri        path and query as sent, percent-encoding untouched
//	body       all bytes as sent, which begin with { or [; nothing if there is none
//	Timestamp  13 digits, Unix milliseconds; the answer has the request's
//
//	S1  A request of a key that must sign is refused before anything is done if its signature is missing or wrong, its Timestamp is
//	    more than five minutes off, or it was made before. All are one 401, with a Date; the reason is in our log alone.
//	S2  Order: key, form, window, body, signature, replay: who can't sign fills no memory.
//	S3  A request is remembered by the public key that verified it and M, without its method and API key, which M lacks: a GET can't come
//	    back as a DELETE, nor under another API key with the same public key. Two equal requests in one millisecond are one: a client
//	    counts the millisecond up. A public key is for one gallery: another API key's of another gallery is refused.
//	S4  What was made before the process began is refused, for what was used then is not known; until clocks that are behind have passed
//	    the begin their requests are refused too. Of a client whose clock is ahead by s, requests of the last s before a restart can come
//	    again after it, once: to close that every request would have to be written to disk.
//	S5  Memory is bounded (replays), no tenant can fill another's share, and what can't be remembered is not let through (503).
//	S6  Fixed lengths and alphabets keep parts from being shifted: a Timestamp has 13 digits, and uri has no { and no [.
//	S7  Answers to requests whose signature was right are signed, refusals too, and no others: who has the Api-Key alone gets no line
//	    signed. So a refusal before that (401, 404 of an unknown path, 405, a rate) has no Signature. HEAD is refused to a key that must
//	    sign, for its answer would be that of a DELETE. One server key signs for all API keys of a tenant.
//	S8  A key that is made in another's place by rotation must sign as that one. Where that one is forgotten meanwhile, the key is refused
//	    (500) until somebody says whether it must sign.
//	S9  Of research/security.md section 5 there is no Signature-Version, and the server's public key is told to administrators by
//	    /v1/auther/signing, not below /.well-known/, where it would be every tenant's.
//
// "sig_input": "hexdigest" is for clients that sign the hex text of M's SHA-256, which the document could be read as. Method and status are
// not signed: the document's line has no place for them.
//
// The server's private key and the clients' public ones are documents of the tenant (kind "auther.signing"), sealed by its data key.
package auther
