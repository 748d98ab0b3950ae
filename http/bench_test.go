package http

import (
	"bufio"
	"fmt"
	"testing"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"mien/bench/load"
	"mien/engine"
)

// The cost of the road around the engine: verify by a template of 512 numbers, against fasthttp's own cost of
// the same request (a handler that reads the body and answers as many bytes), both without sockets. With sockets:
// mien bench http --empty.
//
//	go test ./http -run '^$' -bench . -benchmem -count 10
func BenchmarkVerify(b *testing.B) {
	space := testSpace
	space.ID, space.Dim = "bench-512", 512
	e := openEngine(b, engineConfig(b.TempDir(), space))
	_, token, err := e.CreateKey(b.Context(), "default", engine.KeySpec{Role: engine.RoleMatcher})
	if err != nil {
		b.Fatal(err)
	}
	if _, _, err := e.CreateGallery(b.Context(), "default", "g", engine.GallerySpec{}); err != nil {
		b.Fatal(err)
	}
	spec := engine.PersonSpec{Templates: []engine.Template{{Space: space.ID, Vector: vector(1, 512), Source: "template"}}}
	if _, _, err := e.PutPerson(b.Context(), "default", "g", "p", spec); err != nil {
		b.Fatal(err)
	}
	body := fmt.Sprintf(`{"template":{"space":"%s","f32":"%s"},"policy":{"fmr":1e-4}}`, space.ID, b64(near(1, 512)))
	request := fmt.Appendf(nil, "POST /v1/galleries/g/people/p/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", token, len(body), body)
	binary := frame(space.ID, near(1, 512))
	framed := append(fmt.Appendf(nil, "POST /v1/galleries/g/people/p/verify?fmr=1e-4 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"+
		"Content-Type: %s\r\nContent-Length: %d\r\n\r\n", token, frameType, len(binary)), binary...)
	b.Run("mien", func(b *testing.B) { benchmarkWire(b, inMemory(b, e), request) })
	b.Run("frame", func(b *testing.B) { benchmarkWire(b, inMemory(b, e), framed) })
	b.Run("empty", func(b *testing.B) { benchmarkWire(b, emptyServer(b), request) })
}

// emptyServer reads the body and answers 100 bytes.
func emptyServer(b *testing.B) *fasthttputil.InmemoryListener {
	b.Helper()
	ln := fasthttputil.NewInmemoryListener()
	s := &fasthttp.Server{Handler: load.Empty}
	go func() { _ = s.Serve(ln) }()
	b.Cleanup(func() { _ = ln.Close() })
	return ln
}

func benchmarkWire(b *testing.B, ln *fasthttputil.InmemoryListener, request []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(request)))
	b.RunParallel(func(pb *testing.PB) {
		c, err := ln.Dial()
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		var resp fasthttp.Response
		for pb.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			if err := resp.Read(r); err != nil || resp.StatusCode() != 200 {
				b.Errorf("%v %s", err, resp.Body())
				return
			}
		}
	})
}
