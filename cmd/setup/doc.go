// Command setup fetches what mien runs on and does not carry: the ONNX Runtime library and the models.
//
//	go run ./cmd/setup [--build DIR] [--platform GOOS/GOARCH] [--sources] [--browser]
//
// Both are published as npm packages, so npm fetches them, from where the user's npm configuration says. Everything is
// pinned by sha256: the tarballs, and what is taken from them. It leaves
//
//	DIR/lib/<goos>-<goarch>/libonnxruntime.so (.dylib)
//	DIR/models/NAME/                                  a folder for each pack: see package mien/extract/pack
//	DIR/playwright-core/                              with --browser: what drives a browser in tests, without a browser
//
// Tarballs are kept in CACHE/sha256/<hex>; CACHE is MIEN_CACHE, or the folder mien in the user's cache folder. A second
// run checks what is there and needs neither network nor npm. With --sources it also makes sure that the tarballs of the
// models are in the cache, for tests that compare converted models with the published ones.
//
// Nothing is ever half-installed: every file and folder is written aside, synced and renamed. Set-ups of one DIR wait
// for each other; set-ups that share a cache at worst download twice. Any failure is one line on stderr and exit code 1
// (2 for wrong use).
package main
