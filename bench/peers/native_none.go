//go:build !peers

package main

// nativeFamilies needs the tag peers, cgo and the libraries.
func nativeFamilies(options) []family { return nil }
