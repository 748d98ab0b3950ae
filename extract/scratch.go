package extract

import "sync"

// Memory of one step of one photo is handed on through pools: crops on their way to a tensor, rows, sums.

// keepBytes is the largest memory that a pool keeps: a crop of 1,000×1,000 pixels.
const keepBytes = 3_000_000

var (
	imagePool  sync.Pool // of *Image
	floatPool  sync.Pool // of *[]float32
	doublePool sync.Pool // of *[]float64
	uintPool   sync.Pool // of *[]uint32
)

// borrowImage returns an image that holds what others left in it, until giveBack.
func borrowImage(w, h int) *Image {
	w, h = max(w, 0), max(h, 0)
	m, _ := imagePool.Get().(*Image)
	if m == nil || cap(m.Pix) < 3*w*h {
		return newImage(w, h)
	}
	m.W, m.H, m.Pix = w, h, m.Pix[:3*w*h]
	return m
}

func (m *Image) giveBack() {
	if cap(m.Pix) <= keepBytes {
		imagePool.Put(m)
	}
}

// poolOf is the pool for slices of T.
func poolOf[T float32 | float64 | uint32]() *sync.Pool {
	var zero T
	switch any(zero).(type) {
	case float32:
		return &floatPool
	case float64:
		return &doublePool
	}
	return &uintPool
}

// borrow returns a slice of n that holds what others left in it, until giveBack.
func borrow[T float32 | float64 | uint32](n int) *[]T {
	s, _ := poolOf[T]().Get().(*[]T)
	if s == nil || cap(*s) < n {
		return new(make([]T, n))
	}
	*s = (*s)[:n]
	return s
}

func giveBack[T float32 | float64 | uint32](s *[]T) {
	if 4*cap(*s) <= keepBytes {
		poolOf[T]().Put(s)
	}
}
