// Package capture asks somebody for their face: sessions, the page that a browser opens, and what is decided at the end. The native API
// makes sessions (POST /v1/sessions), and other APIs of the server do through Service.
//
//	relying party ─▶ POST /v1/sessions                ─▶ a link, good once
//	browser       ─▶ GET  /capture/                   the page: one static file, nothing of the session
//	              ─▶ POST /capture/api/open           the link's token is swapped for a cookie
//	              ─▶ POST /capture/api/…              frames
//	                 decide: engine.PutPerson, Verify or Identify ─▶ the session's end, in one write
//	              ◀─ redirect_url?client_state=state
//	relying party ─▶ GET  /v1/sessions/{session}      how it ended
package capture
