//go:build !unix

package scan

const hugePage = 2 << 20

// region is on the Go heap where there is no mmap.
type region struct{ mapped, bytes []byte }

func newRegion(size int, _ bool) (region, error) {
	b := make([]byte, size)
	return region{b, b}, nil
}

func (r region) free() {}
