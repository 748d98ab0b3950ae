//go:build unix

package index

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// Region is memory outside the Go heap: the collector neither reads nor counts it, and pages that were never
// touched cost nothing.
type Region struct {
	mapped []byte // what munmap wants back
	Bytes  []byte // aligned to hugePage if huge
}

// NewRegion maps size bytes, zero. huge asks for large pages: streaming is some 10 % faster, and what is
// touched is rounded up to 2 MiB.
func NewRegion(size int, huge bool) (Region, error) {
	room := size
	if huge {
		room += hugePage
	}
	mapped, err := unix.Mmap(-1, 0, room, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return Region{}, err
	}
	r := Region{mapped, mapped[:size]}
	if huge {
		skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(mapped))) & (hugePage - 1))
		r.Bytes = mapped[skip : skip+size]
		adviseHuge(r.Bytes)
	}
	return r, nil
}

// Free gives the memory back.
func (r Region) Free() {
	if r.mapped != nil {
		_ = unix.Munmap(r.mapped) // fails only for what is not mapped
	}
}
