package http

import "sync"

// maxPooledBody is the largest body whose memory is used again: that of eight templates of 1,024 numbers in JSON.
const maxPooledBody = 64 << 10

// bodies are buffers of small bodies, which come and go with every request by template.
var bodies = sync.Pool{New: func() any { return new([]byte) }}

// newBody returns n bytes.
func newBody(n int) []byte {
	if n > maxPooledBody {
		return make([]byte, n)
	}
	p := bodies.Get().(*[]byte)
	if cap(*p) < n {
		*p = make([]byte, max(n, 4<<10))
	}
	return (*p)[:n]
}

// freeBody wipes a body and lets others have it. REQUIRES: nothing holds a part of it. One that newBody did not make will do.
func freeBody(b []byte) {
	clear(b)
	if 0 < cap(b) && cap(b) <= maxPooledBody {
		bodies.Put(&b)
	}
}
