//go:build !peers

package main

// nativeFamilies needs the tag peers, cgo and the libraries.
func nativeFamilies() []family { return nil }
