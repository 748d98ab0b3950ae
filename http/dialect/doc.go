// Package dialect is what the APIs of other vendors, which are spoken at the native API's port, have in common: what one is made of
// (Dialect), what is known of a request (Call), and what package http does for all of them (Server). Each is a package of its own
// beside this one; it knows its document's paths, fields and codes, and nothing of connections, limits or models.
//
//	http ─▶ admit: route, key, rate ─▶ Dialect.Authenticate     refusals ─▶ Dialect.Refuse
//	     ─▶ slot, deadline, watch   ─▶ Route.Handle ─▶ Call.Templates ─▶ extract
//	                                               ─▶ Call.Engine   ─▶ engine
//	     ◀─ Dialect.Finish: headers, signature
//
// It promises to a dialect:
//
//  1. All limits of the native API hold: connections, bodies, requests in flight, rates, time.
//  2. A route that asks for a key is called with a key of the role client that is for this dialect, and Call.Gallery is the one gallery
//     that the key is bound to. A key of another dialect, or of the native API, is refused as one that may not; so is a client's
//     key by the native API, but for what its own dialect adds and opens to clients (Route.Roles), and by other dialects.
//  3. Whatever is refused below the dialect's paths, by http, engine or extract, is worded by Dialect.Refuse, an unknown path and a wrong
//     method included; but for what is no request of HTTP and connections that are too many, which nobody has read a path of.
//  4. Refusals of good keys are in the audit log, as the native API's are.
//
// Which people two dialects share is decided by keys: two clients whose keys name one gallery see the same people, others never do.
package dialect
