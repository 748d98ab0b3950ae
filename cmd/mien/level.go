package main

import (
	"fmt"
	"strings"

	"mien/simd"
)

type simdFlags struct {
	SIMD string `name:"simd" help:"Kernels to search with: avx512, avx2, neon or generic (default: the widest this machine runs)." env:"MIEN_SIMD" placeholder:"LEVEL"`
}

// use makes the named kernels run; before anything searches.
func (f simdFlags) use() error {
	if err := simd.Use(f.SIMD); err != nil {
		return fmt.Errorf("--simd or MIEN_SIMD: %w", err)
	}
	return nil
}

// kernels says which run and which could.
func (f simdFlags) kernels() finding {
	if err := f.use(); err != nil {
		return ok("kernels", "%v", err).but("fail", "name one of them, or none")
	}
	return ok("kernels", "%s, of %s", simd.Level(), strings.Join(simd.Levels(), ", "))
}
