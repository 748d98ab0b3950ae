package http

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"mien/engine"
)

// audited are the operations of the audit log by those of the document. Refusals of others are recorded under the document's name.
var audited = map[string]string{
	"createKey":     engine.AuditKeyCreate,
	"revokeKey":     engine.AuditKeyRevoke,
	"putGallery":    engine.AuditGalleryCreate,
	"patchGallery":  engine.AuditGalleryUpdate,
	"deleteGallery": engine.AuditGalleryDelete,
	"moveGallery":   engine.AuditMoveStart,
	"cancelMove":    engine.AuditMoveCancel,
	"putPerson":     engine.AuditPersonPut,
	"patchPerson":   engine.AuditPersonUpdate,
	"deletePerson":  engine.AuditPersonDelete,
	"addTemplate":   engine.AuditTemplateAdd,
	"verify":        engine.AuditVerify,
	"identify":      engine.AuditIdentify,
	"duplicates":    engine.AuditDuplicates,
	"compare":       engine.AuditCompare,

	"decentralisedVerify":   engine.AuditDecentralisedVerify,
	"decentralisedIdentify": engine.AuditDecentralisedIdentify,
	"decentralisedEnrol":    engine.AuditDecentralisedPut,
	"decentralisedDelete":   engine.AuditDecentralisedDelete,
	"decentralisedUnlock":   engine.AuditDecentralisedUnlock,
}

// auditRefusal records that a request with a good key is refused by err, and returns what is answered: err, or why it could not be
// recorded. What is turned away because the server is busy or stops is no decision on anybody, and leaves no record.
func (s *Server) auditRefusal(r *request, err error) error {
	if r.key.ID == "" || r.route == nil {
		return err
	}
	c := s.problemOf(err).code
	if c == codeOverloaded || c == codeRateLimited || c == codeShuttingDown || c == codeAuditUnavailable {
		return err
	}
	gallery, person := r.param("{gallery}"), r.param("{person}")
	if r.route.dialect != nil {
		gallery, person = r.spoken.Gallery, r.spoken.Person
	}
	ctx, cancel := context.WithDeadline(s.base, r.deadline.Add(time.Second)) // the request's own may have ended it
	defer cancel()
	failed := s.engine.AuditRefusal(engine.WithActor(ctx, r.actor()), r.key.Tenant, cmp.Or(audited[r.route.op], r.route.op),
		gallery, person, string(c))
	if failed != nil && !errors.Is(failed, engine.ErrClosed) {
		return failed
	}
	return err
}

// param is a parameter of the path by its name in the route's pattern; "" if it has none.
func (r *request) param(name string) string {
	i := 0
	for segment := range strings.SplitSeq(r.route.pattern, "/") {
		switch {
		case segment == name && i < len(r.params):
			return r.params[i]
		case strings.HasPrefix(segment, "{"):
			i++
		}
	}
	return ""
}

func (s *Server) listAudit(r *request) (reply, error) {
	var q engine.AuditQuery
	var asked string
	q.Limit = engine.DefaultListLimit
	text := func(dst *string) func(string, string) error {
		return func(v, _ string) error { *dst = v; return nil }
	}
	err := r.eachQuery([]field{
		{name: "tenant", text: text(&asked)},
		{name: "from", text: textTime(&q.From)},
		{name: "to", text: textTime(&q.To)},
		{name: "gallery", text: text(&q.Gallery)},
		{name: "person", text: text(&q.Person)},
		{name: "limit", text: textInt(&q.Limit, 1, engine.MaxListLimit)},
		{name: "cursor", text: text(&q.Cursor)},
	})
	if err != nil {
		return reply{}, err
	}
	if asked, err = r.tenant(asked); err != nil {
		return reply{}, err
	}
	page, err := s.engine.Audit(r.ctx, asked, q)
	return reply{status: 200, value: page}, err
}

func textTime(dst *time.Time) func(string, string) error {
	return func(v, at string) error {
		t, err := time.Parse(time.RFC3339, v)
		if err != nil {
			return fail(codeBadRequest, "%q must be a time as in 2026-11-30T13:00:00Z (RFC 3339)", at)
		}
		*dst = t
		return nil
	}
}

func (s *Server) auditHead(r *request) (reply, error) {
	tenant, err := r.tenantQuery()
	if err != nil {
		return reply{}, err
	}
	head, err := s.engine.AuditHead(r.ctx, tenant)
	return reply{status: 200, value: head}, err
}

// ndjsonType is the media type of lines of JSON.
const ndjsonType = "application/x-ndjson"

// maxExports is how many exports run at once: each holds a block of records in memory and a connection.
const maxExports = 4

func (s *Server) exportAudit(r *request) (reply, error) {
	var asked string
	var after uint64
	err := r.eachQuery([]field{
		{name: "tenant", text: func(v, _ string) error { asked = v; return nil }},
		{name: "after", text: textUint(&after)},
	})
	if err != nil {
		return reply{}, err
	}
	if asked, err = r.tenant(asked); err != nil {
		return reply{}, err
	}
	select {
	case s.exports <- struct{}{}:
	default:
		return reply{}, fail(codeOverloaded, "%d exports are running; try again when one is done", maxExports)
	}
	release := sync.OnceFunc(func() { <-s.exports })
	// The export goes on when the request's context has ended: until the client has taken it, or Shutdown gives up.
	x, err := s.engine.ExportAudit(s.base, asked, after)
	if err != nil {
		release()
		return reply{}, err
	}
	return reply{status: 200, stream: &exportStream{x, r.fc.Conn(), s.cfg.WriteTimeout, release}, contentType: ndjsonType}, nil
}

// exportStream is an export on its way. Each part of it may take the time that a whole answer may.
type exportStream struct {
	io.Reader
	conn    net.Conn
	timeout time.Duration
	release func()
}

// Read implements io.Reader.
func (x *exportStream) Read(p []byte) (int, error) {
	if err := x.conn.SetWriteDeadline(time.Now().Add(x.timeout)); err != nil {
		return 0, err
	}
	return x.Reader.Read(p)
}

// Close implements io.Closer; fasthttp calls it when the answer is written or its connection is gone.
func (x *exportStream) Close() error {
	x.release()
	endStream(x.conn)
	return nil
}

// endStream tells a connection that what was sent on it as it was read is over.
func endStream(nc net.Conn) {
	if c, ok := nc.(*conn); ok {
		c.setBusy(false)
	}
}

func textUint(dst *uint64) func(string, string) error {
	return func(v, at string) error {
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			return fail(codeBadRequest, "%q must be a whole number, 0 or more", at)
		}
		*dst = n
		return nil
	}
}
