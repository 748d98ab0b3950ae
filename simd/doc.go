// Package simd holds the kernels.
package simd
