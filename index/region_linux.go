package index

import "golang.org/x/sys/unix"

// adviseHuge is a wish: a kernel without large pages goes on with small ones.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
