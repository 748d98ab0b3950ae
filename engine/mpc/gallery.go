package mpc

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"mien/simd"
)

// Gallery is a party's shares of the rows that a probe is compared with, over Z_2^16 at IdentifyLogScale: components of
// all rows, one after the other, Dim elements each. Nothing writes to it while it is searched. It holds 4·Dim bytes a
// row, 205 MB for 100,000 of 512. Components are best in memory of NewComponents.
type Gallery struct {
	Own, Next []uint16
	Rows      int
}

// NewComponents is memory for n elements of a Gallery's component, 0: of the heap, in huge pages where the machine has them.
func NewComponents(n int) []uint16 {
	v := make([]uint16, n)
	askHugePages(v)
	return v
}

const rowsAtOnce = 1024 // of which a worker takes the next, 2 MiB at 512

func (g Gallery) len() int { return g.Rows }

func (g Gallery) fits(dim int) bool { return len(g.Own) == g.Rows*dim && len(g.Next) == g.Rows*dim }

// products sets dst to this party's parts of the rows' products with y, as products does, modulo 2^16. All processors
// work on it, each on the next block of rows.
func (g Gallery) products(dst []uint16, y Share) {
	one := y.Short()
	both := make([]uint16, len(one.Own))
	for j := range both {
		both[j] = one.Own[j] + one.Next[j]
	}
	var next atomic.Int64
	work := func() {
		var a, b [rowsAtOnce]int32
		for {
			from := int(next.Add(rowsAtOnce)) - rowsAtOnce
			if from >= len(dst) {
				return
			}
			block := dst[from:min(from+rowsAtOnce, len(dst))]
			rowProducts(a[:len(block)], both, g.Own[from*len(both):])
			rowProducts(b[:len(block)], one.Own, g.Next[from*len(both):])
			for i := range block {
				block[i] = uint16(a[i] + b[i])
			}
		}
	}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (len(dst)-1)/rowsAtOnce+1) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}

// rowProducts leaves in the low halves of dst the products of q and rows modulo 2^16.
func rowProducts(dst []int32, q, rows []uint16) {
	simd.DotInt16Rows(dst, signed(q), signed(rows), len(q))
}

// signed is the same numbers: what is between 2^15 and 2^16 is negative, and the same modulo 2^16.
func signed(v []uint16) []int16 {
	return unsafe.Slice((*int16)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}
