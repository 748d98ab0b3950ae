package load

import (
	"net"
	"sync"

	"github.com/valyala/fasthttp"
)

// emptyAnswer is as long as the answer of a verification.
var emptyAnswer = make([]byte, 100)

// Empty is a handler that reads the body and answers 100 bytes: the least that a server of fasthttp can do for a request.
func Empty(ctx *fasthttp.RequestCtx) {
	if len(ctx.PostBody()) == 0 {
		ctx.SetStatusCode(fasthttp.StatusBadRequest)
	}
	ctx.Response.SetBodyRaw(emptyAnswer)
}

// ServeEmpty answers on ln by Empty until stop is called, which closes ln and waits.
func ServeEmpty(ln net.Listener) (stop func() error) {
	s := &fasthttp.Server{Handler: Empty, NoDefaultServerHeader: true, CloseOnShutdown: true}
	var failed error
	var wg sync.WaitGroup
	wg.Go(func() { failed = s.Serve(ln) })
	return func() error {
		err := s.Shutdown()
		wg.Wait()
		if err == nil {
			err = failed
		}
		return err
	}
}
