// Command demo is a bank whose customers sign up and in by their face: a relying party of the Auth Face API, with a mien of its own.
//
//	make demo
//	go run ./cmd/demo [--mien PROGRAM] [--data DIR] [--listen HOST:PORT] [--mien-listen HOST:PORT]
//
// It starts mien on a data folder of its own and prepares it as an administrator would (mien.go): a gallery, its name and the origin that browsers may be
// sent back to, and a key that may speak Auth Face and nothing else. The bank itself is bank.go, with its one template: what an integrator writes.
//
//	browser                     bank                        mien
//	   │ POST /begin ───────────▶ │ POST /biometry/v1/… ─────▶ │
//	   │ ◀─────────── biometry_url│ ◀──────────────────────────│
//	   │ /capture/ ───────────────┼──────────────────────────▶ │   the camera
//	   │ ◀────────────────────────┼── /callback?client_state=… │
//	   │ /callback ─────────────▶ │ POST …/result ───────────▶ │   what counts
//
// What the browser brings back is worth nothing: anybody can type /callback?client_state=…. The bank asks mien, server to server, and takes a
// client_state only from the browser that it was made for.
//
// Accounts are in memory: the demo forgets them when it ends, and mien does not. It is an example to read, not a bank: it has no passwords,
// no second factor, no limit on attempts of its own.
package main
