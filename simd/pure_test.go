//go:build purego

package simd

const pure = true
