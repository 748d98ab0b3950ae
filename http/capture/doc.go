// Package capture asks somebody for their face: sessions, the page that a browser opens, and what is decided at the end. The native API
// makes sessions (POST /v1/sessions), and other APIs of the server do by Service.
//
//	relying party ─▶ POST /v1/sessions                ─▶ a link, good once
//	browser       ─▶ GET  /capture/                   the page: one static file, nothing of the session
//	              ─▶ POST /capture/api/open           the link's token is swapped for a cookie
//	              ─▶ POST /capture/api/start, look, step …   challenges and frames (try.go, chain.go)
//	                 extract.Present: live? ─▶ the flow's decision (decide.go) ─▶ the session's end, in one write
//	              ◀─ redirect_url?client_state=state
//	relying party ─▶ GET  /v1/sessions/{session}      how it ended
//
// It decides nothing about faces: whether they are live is package extract's to judge, whose they are the engine's, by the gallery's policy.
// The browser learns that the session is over, and nothing of what was decided.
//
// # Sessions
//
// A session is a document of the engine, of kind capture.session: it outlives restarts, and can be looked at until a day after its end. Frames, and all else of a
// try, are in memory only; a restart loses the try and not the session.
//
//	pending ─▶ in_progress ─▶ success, fail     and each before its end ─▶ expired
//
//	C1  A link is good in one browser: of requests at the same time that swap its token one does, in the store's turn. That browser may open it again,
//	    for a reload; to all others it is used, whatever became of the session, and so it is to who never got the answer with the cookie: they need another
//	    link. To look at the page swaps nothing, so previews burn no link.
//	C2  What is kept of tokens and cookies is their SHA-256, of 32 random bytes each. The cookie is made when the link is opened and never taken from who sends one,
//	    so nobody can be given somebody else's session by a cookie that was planted: beside another it counts for nothing, as that does; and a token is no cookie, nor a cookie a token.
//	C3  A session ends once: who ends it holds its lock (locks) and writes status, reason, score and person in one write. Of presentations at the same time
//	    one is decided about; who cancels meanwhile waits, and sees how it was.
//	C4  A session past its end is expired for everyone from that moment on, whether or not it has been noted, which is done within expiryPause. What was begun to
//	    be decided before is decided.
//	C5  A try that fails counts, in a write of its own, also for who hangs up. What could not be judged, because the server was busy or the disk failed,
//	    counts for nothing.
//	C6  What the engine has written, the session says. The write of a person and the session's end are two writes, the person first; the first is also remembered under the session's
//	    event id, in its own batch (engine, "Requests that come again"). After a crash between the two the session is in progress as before: the next live
//	    presentation finds the person written, writes nothing twice and ends the session as a success; if none comes, the session does not expire but
//	    succeeds. An owner's own Decide is asked again.
//
// What ends a session besides: DELETE; the revocation of the API key that made it, which makes it expired, so that who revokes a stolen key has revoked what
// was made with it (its rotation and expiry do not); the erasure of the tenant. A session is about its person from the moment that they are there: it goes with
// them, in the same write, and its link is unknown then. One whose person is deleted while it is being decided fails as not_enrolled.
//
// A session about somebody who is suspended fails as not_enrolled: they are not matched. To enrol an id that is there fails as already_enrolled, or as conflict where the
// face is another person's too.
//
// A tenant may have half as many sessions as documents (maxSessions), so that sessions of other APIs have the other half, and new ones leave room
// for what those that are there end with (sessionReserve).
//
// # Tries
//
// A try is a presentation: to look into the camera, and then one to four challenges that nobody can know before, drawn by crypto/rand among the session's kinds: a turn
// among them where one may be, no two alike in a row. What memory has of it is bounded, for all sessions by one number of bytes (Config.TryBytes); what is too much is
// answered 503. A try is left alone for a minute after its step's time, then its frames go; the session goes on by another start.
//
//	T1  A session has one try, and a try judges one step at a time: a second request of the same step meanwhile is refused.
//	T2  A challenge is told when the step before is judged, with a nonce and a time of its own, by the server's clock: from when it was told to the arrival of the
//	    request's header. A nonce is good for one step that is judged; the same frames again are told what was answered to them.
//	T3  What could not be judged, for the server was busy or failing, has changed nothing: the same frames may come again, and count as of when they first came.
//	T4  Frames hold in a chain of tags (chain.go) through the whole try; their times grow, and the page's clock goes as ours, within maxSkew. None comes twice in a session,
//	    nor was it, as a picture, sent in another of the tenant's in the last 30 days (seen.go): one frame may be chance, two are a replay, which is taken for a spoof.
//	T5  Each frame shows one person, the largest face, beside which nobody else is near; a step that does not show its challenge is asked for again with another nonce,
//	    three times in a try. All frames of a try are then judged together by extract.Present: of one person, live, no two the same picture.
//	T6  Frames are decoded by parts, and only where their header states a size that is asked for. They and what was found on them are overwritten when their try ends. Pictures that
//	    the page sends to be looked at (look.go) are not kept at all.
//
// A challenge that somebody can't do is replaced, twice in a session, by a movement of the head where no other is asked for and one is left; and whoever needs more time gets four times as much; both are in the records of what was decided. To begin
// anew shows other challenges, so a session has ten starts.
//
//	409  try_missing      none is under way: it was left, or the server has started anew
//	409  step_taken       the step is being judged
//	409  no_alternative   there is no other challenge, or two were replaced
//
// Why a try failed, as the page is told: too_slow, too_fast, frames_damaged, several_people, face_lost, no_challenge, quality, not_live, uncertain. The record says more in words:
// which challenge, and of damaged frames nonce, order, hash, tag, times, skew, repeated, picture or replay.
//
// What chain, times and nonces are worth: they show frames that are lost, mixed or sent again. The browser has the chain's key, so they prove nothing about it. A camera program that
// plays a recorded film gives pictures that were never sent, of which neither sums nor prints know; against it are the challenges alone.
//
// # Decisions
//
//	enroll    PutPerson, if nobody of the id is there, and nobody alike in the gallery: search and write are one (engine, D1 to D6)
//	verify    Verify
//	identify  Identify, the best
//	update    Verify; then PutPerson with the metadata and retention that are there, in the version that was read, if nobody else is alike. What is known
//	          of the templates before is kept as the gallery's History says.
//	liveness  nothing
//
// The photo is the presentation's best, and must pass the gallery's gate; one that does not costs a try. It is not kept, in a gallery that
// keeps photos neither: the page says so to the person. The policy is the gallery's. Too many failed verifications
// of the person (engine, Attempts) are answered attempts_exceeded and cost no try: the session waits.
//
// A session is told of to keys of its gallery whose role may ask for its flow, and to auditors; for others it is not there.
//
// A score is kept as the key that made the session may be told it, and told as the key that asks may be: with decision alone, none.
//
// # Settings
//
// A gallery's are a document of kind capture.settings: who asks, where browsers may be sent, challenges, tries. A session has those that were there when it was made.
// A redirect URL is absolute, https or of this machine, without user and fragment, and its scheme, host and port are registered; without settings none is
// allowed, so that no link of ours sends people anywhere its tenant's administrator did not name.
//
// # The page
//
// The page's files are embedded, and the same for everybody; none has anything of a session. Its policy (page.go) lets it load, ask and be embedded by nothing but its own
// origin, and of all that browsers can do it may use the camera. Referrer-Policy keeps the address, which begins with the token, to itself; the script
// takes that out of the address before it asks for anything.
//
// A request of the page is authenticated by the cookie: HttpOnly, SameSite=Strict, of the path /capture, until an hour after the session's end, while it is still told what became of that; and Secure, but where a page of http
// has a camera, which is this machine's own. Pages of other sites can't have it sent, those of other origins of the same site are refused by Sec-Fetch-Site or Origin. It makes a
// key of the role client, for this package and the session's gallery alone, whose id is the session's: rates and the audit log are by session.
//
// Refusals are {"code", "detail"}, in JSON. Those that the native API does not have:
//
//	401  link_unknown     no link's token and no browser's cookie; or its session went with its person or tenant, or ended more than an hour ago
//	409  link_used        the link was opened in another browser
//	410  session_expired  its time is over, or the key that made it was revoked
//	409  session_over     it has ended; "where" is where the browser goes
//	403  forbidden        a page of another origin asks
//
// # Audit
//
// capture.session.create, open, try, decide, cancel, expire, with the session's id as the target, and in the note the flow, or how it went: words, no values. Besides, the
// engine records its own decisions, with the session's id as the key. A link that is opened again, and a page of another origin that asks, are refusals.
//
// # Limits
//
// Liveness is a risk signal. It targets printed photos, screen replays and re-submitted images. It has not been certified by an accredited laboratory. It does
// not prove that images come from a physical camera: virtual cameras and modified browsers can inject video. Figures here are from our own test on 2,521
// subjects and 8 attack species, worst species shown, with 95 % bounds. Do not use it as the only barrier for high-value actions.
//
// The worst species is a video of the person on a screen: the passive part, which is the only one that it does not show by itself, takes 48 % of them (36 to 61) for
// live. The species are simulated from photos of 61 of the subjects, and of the subjects themselves 4.6 % (3.8 to 5.4) are not taken for live (extract/doc.go has all
// species, and what challenges add; nobody has attacked this page).
//
// How often somebody who sits before a fixed camera day after day is taken for a replay of themselves was not measured: no films of real people were at hand. Of
// synthetic portraits moved by one percent of the picture's height none was (seen.go, picture.go); one that does not move at all is a replay, and costs a try.
//
// Tokens that are good once, challenges told one at a time, their times and the search for frames that were seen make recorded and re-submitted material fail. What the page
// says of its camera is said by the browser, and a hint at most. Whoever has the link is who answers: send it to nobody else.
package capture
