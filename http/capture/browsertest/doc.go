// Package browsertest tries the capture page as people meet it: mien itself serves it, Chromium shows it, and before the camera is a film.
// It has tests only.
//
//	Go test ──▶ mien serve, a relying party
//	   └──────▶ node testdata/driver.mjs ──▶ Chromium ──▶ /capture/ , camera: a file
//
// The films are made by the tests (film_test.go): people who sway a little while they look into the camera, turn their heads, hold a
// photo, sit in the dark. Who turns has one photo, a synthetic portrait of testdata/faces, that is put on an ellipsoid with a nose and
// seen from other sides (head_test.go). TestFilms holds what the films show against what package extract sees in them: turned by 24°
// and more to each side, one person, live throughout. That the model takes them for live says what that is worth against made-up video; see
// "Liveness" in package extract. Where ../shared/faces/lfw lies beside the repository, real people also turn by several photos each, one cut after the
// other.
//
// They need Chromium, Node.js 18 or later, and what make setup SETUP_FLAGS=--browser installs. Where one is missing they are
// skipped with a line that says so, but under CI=true they fail. With -short they are skipped.
package browsertest
