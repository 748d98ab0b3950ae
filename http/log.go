package http

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/valyala/fasthttp"
)

// logRequest writes the record of a request. Its path is the route's pattern, for ids name people.
func (s *Server) logRequest(r *request, resp *fasthttp.Response) {
	if !s.log.Enabled(r.context(), slog.LevelInfo) {
		return
	}
	pattern := ""
	if r.route != nil {
		pattern = r.route.pattern
	}
	status := resp.StatusCode()
	if r.code == codeClientGone {
		status = statusClientGone
	}
	now := time.Now()
	record := slog.NewRecord(now, slog.LevelInfo, "request", 0) // Logger would look up the caller for each
	record.AddAttrs(
		slog.String("method", clip(r.method)),
		slog.String("route", pattern),
		slog.Int("status", status),
		slog.String("code", string(r.code)),
		slog.Float64("ms", float64(now.Sub(r.start).Microseconds())/1000),
		slog.String("client", r.client()),
		slog.String("tenant", r.key.Tenant),
		slog.String("key", r.key.ID),
		slog.String("request_id", r.id),
		slog.Int("bytes_in", max(r.length, int(r.reserved))),
		slog.Int("bytes_out", max(resp.Header.ContentLength(), len(bodyOf(resp)))),
	)
	_ = s.log.Handler().Handle(r.context(), record) // as Logger does
}

// client is the address that the request came from.
func (r *request) client() string {
	c, ok := r.fc.Conn().(*conn)
	if !ok {
		return r.fc.RemoteIP().String()
	}
	if c.client == "" {
		c.client = r.fc.RemoteIP().String()
	}
	return c.client
}

// logFailure writes the cause of a failure of ours; a client's mistakes are in the record of the request.
func (s *Server) logFailure(r *request, err error) {
	p := s.problemOf(err)
	if p.code == codeBadSignature { // whose client is told no reason
		s.log.LogAttrs(r.context(), slog.LevelInfo, "signature refused", slog.String("request_id", r.id), slog.String("reason", p.detail))
	}
	if p.status() < fasthttp.StatusInternalServerError || p.code == codeOverloaded {
		return
	}
	s.log.LogAttrs(r.context(), slog.LevelError, "request failed",
		slog.String("request_id", r.id),
		slog.String("code", string(p.code)),
		slog.Any("error", err),
	)
}

// fastLogger takes what fasthttp says of connections, which is of no more than debugging interest: a client
// that broke off, a handshake that failed.
type fastLogger struct{ log *slog.Logger }

func (l fastLogger) Printf(format string, args ...any) {
	l.log.Debug("connection", slog.String("message", fmt.Sprintf(format, args...)))
}

// context is the request's, or the server's before it has one.
func (r *request) context() context.Context {
	if r.ctx != nil {
		return r.ctx
	}
	return r.server.base
}

// bodyOf is the body in memory; asking a stream for its body would read it.
func bodyOf(resp *fasthttp.Response) []byte {
	if resp.IsBodyStream() {
		return nil
	}
	return resp.Body()
}
