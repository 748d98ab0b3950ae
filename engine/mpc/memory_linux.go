package mpc

import (
	"os"
	"syscall"
	"unsafe"
)

// askHugePages asks for huge pages where v lies, which halve the time of reading it from memory (asm/int16.go). It is a
// hint: where the machine has none to give, nothing changes.
func askHugePages(v []uint16) {
	if len(v) == 0 {
		return
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 2*len(v))
	page := os.Getpagesize()
	skip := -int(uintptr(unsafe.Pointer(&b[0]))) & (page - 1)
	if n := (len(b) - skip) &^ (page - 1); n > 0 {
		_ = syscall.Madvise(b[skip:skip+n], syscall.MADV_HUGEPAGE)
	}
}
