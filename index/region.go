package index

import "unsafe"

// SliceOf is b, which may be of a Region, as Ts. REQUIRES: T has no pointers, and b is aligned for it.
func SliceOf[T any](b []byte) []T {
	var t T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(t)))
}
