//go:build !unix

package index

const hugePage = 2 << 20

// Region is on the Go heap where there is no mmap.
type Region struct{ mapped, Bytes []byte }

// NewRegion makes size bytes, zero.
func NewRegion(size int, _ bool) (Region, error) {
	b := make([]byte, size)
	return Region{b, b}, nil
}

// Free gives the memory back.
func (r Region) Free() {}
