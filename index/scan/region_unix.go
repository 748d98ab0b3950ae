//go:build unix

package scan

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const hugePage = 2 << 20

// region is memory outside the Go heap: the collector neither reads nor counts it, and pages that were never
// touched cost nothing.
type region struct {
	mapped []byte // what munmap wants back
	bytes  []byte // aligned to hugePage if huge
}

// newRegion maps size bytes, zero. huge asks for large pages: streaming is some 10 % faster, and what is
// touched is rounded up to 2 MiB.
func newRegion(size int, huge bool) (region, error) {
	room := size
	if huge {
		room += hugePage
	}
	mapped, err := unix.Mmap(-1, 0, room, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return region{}, err
	}
	r := region{mapped, mapped[:size]}
	if huge {
		skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(mapped))) & (hugePage - 1))
		r.bytes = mapped[skip : skip+size]
		adviseHuge(r.bytes)
	}
	return r, nil
}

func (r region) free() {
	if r.mapped != nil {
		_ = unix.Munmap(r.mapped) // fails only for what is not mapped
	}
}
