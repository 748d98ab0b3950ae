package simd

import (
	"fmt"
	"syscall"
	"testing"
	"unsafe"
)

// guarded is a slice that ends where an unreadable page begins: a kernel that reads or writes past it dies.
func guarded[T any](t testing.TB, n int) []T {
	t.Helper()
	var zero T
	page := syscall.Getpagesize()
	bytes := n * int(unsafe.Sizeof(zero))
	pages := (bytes + page - 1) / page * page
	mem, err := syscall.Mmap(-1, 0, pages+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(mem); err != nil {
			t.Error(err)
		}
	})
	if err := syscall.Mprotect(mem[pages:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&mem[pages-bytes])), n)
}

// eachLevel runs f at every level of this machine, by name.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	for _, name := range Levels() {
		t.Run(name, func(t *testing.T) {
			useLevel(t, name)
			f(t)
		})
	}
}

func useLevel(t testing.TB, name string) {
	t.Helper()
	if err := Use(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Use(""); err != nil {
			t.Error(err)
		}
	})
}

// lengths are 0 … 4 lanes of the widest kernel + 1, and the real ones.
func lengths() (n []int) {
	for i := range 4*FloatLine + 2 {
		n = append(n, i)
	}
	return append(n, 127, 128, 129, 255, 256, 500, 512, 1024, 4095, 4096)
}

func panics(f func()) (message string) {
	defer func() { message = fmt.Sprint(recover()) }()
	f()
	return ""
}
