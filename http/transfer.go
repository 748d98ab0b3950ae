package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"mien/engine"
	"mien/engine/transfer"
)

// Bounds of files of people, which have no part in those of other bodies: they are read and written a block at a time, however
// large they are.
const (
	// maxBulk is how many files may be on their way at once; one more is answered 503. An import takes some 100 MB.
	maxBulk = 2
	// bulkMemory is what each is charged to the byte budget, or a quarter of that if it is smaller.
	bulkMemory = 64 << 20
	// minBulkRate is what a client must send, or take, a second on average, besides Config.RequestTimeout once.
	minBulkRate = 64 << 10
	// bulkTimeout is when even a client that keeps the pace is cut off.
	bulkTimeout = 24 * time.Hour
	// maxImportFailures and maxImportRuns bound the answer to an import.
	maxImportFailures = 1000
	maxImportRuns     = 10_000
	// exportChunk is what an export makes at a time.
	exportChunk = 256 << 10
)

// bulkOps are the operations whose bodies, or answers, are files of people: no deadline but the pace of their client.
var bulkOps = map[string]bool{"importPeople": true, "exportPeople": true}

func (rt *route) isBulk() bool { return bulkOps[rt.op] }

// takeBulk takes a place and the memory for a file of people; the returned function gives both back. Errors: overloaded.
func (s *Server) takeBulk() (release func(), err error) {
	select {
	case s.bulk <- struct{}{}:
	default:
		return nil, fail(codeOverloaded, "%d files of people are on their way; try again when one is done", maxBulk)
	}
	n := min(bulkMemory, s.budget.max/4)
	if !s.budget.reserve(n) {
		<-s.bulk
		return nil, fail(codeOverloaded, "too many bytes of requests are in flight; try again in a second")
	}
	return sync.OnceFunc(func() {
		s.budget.release(n)
		<-s.bulk
	}), nil
}

// pace is the rule for slow clients: the time that was spent waiting for one, in all, against what it has sent or taken.
type pace struct {
	grace  time.Duration
	waited time.Duration
	bytes  int64
}

// left is how long the client may take for the next bytes.
func (p *pace) left() time.Duration {
	return p.grace + time.Duration(float64(p.bytes)/minBulkRate*float64(time.Second)) - p.waited
}

// bulkBody reads the body of a request as it comes.
type bulkBody struct {
	r    *request
	in   io.Reader
	rest int64 // of a Content-Length; −1: chunked
	pace pace
	err  error // of the client, once there is one
}

func (r *request) bulkBody() *bulkBody {
	return &bulkBody{r: r, in: r.fc.RequestBodyStream(), rest: int64(r.length), pace: pace{grace: r.server.cfg.RequestTimeout}}
}

// Read implements io.Reader. Nothing is read after the end (H3).
func (b *bulkBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.r.consumed || b.rest == 0 {
		b.r.consumed = true
		return 0, io.EOF
	}
	if err := b.r.ctx.Err(); err != nil {
		return 0, err
	}
	if b.rest > 0 {
		p = p[:min(int64(len(p)), b.rest)]
	}
	begin := time.Now()
	if err := b.r.fc.Conn().SetReadDeadline(begin.Add(max(b.pace.left(), 0))); err != nil {
		return 0, b.fail(err)
	}
	n, err := b.in.Read(p)
	b.pace.waited += time.Since(begin)
	b.pace.bytes += int64(n)
	if b.rest > 0 {
		if b.rest -= int64(n); b.rest == 0 {
			b.r.consumed = true
			return n, nil
		}
	}
	switch {
	case errors.Is(err, io.EOF) && b.rest < 0:
		b.r.consumed = true
		return n, io.EOF
	case err != nil:
		return n, b.fail(err)
	}
	return n, nil
}

func (b *bulkBody) fail(err error) error {
	b.err = fail(codeBadRequest, "the body ended early or its chunks are broken")
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		b.err = fail(codeRequestTimeout, "the body came at less than %d bytes a second; use a faster line", minBulkRate)
	}
	return b.err
}

// importBody is the answer to an import.
type importBody struct {
	People   int             `json:"people"`
	Created  int             `json:"created"`
	Replaced int             `json:"replaced"`
	Skipped  int             `json:"skipped"`
	Failed   int             `json:"failed"`
	Failures []importFailure `json:"failures,omitempty"` // the first maxImportFailures
	Outcomes []importRun     `json:"outcomes"`           // by the file's order, the first maxImportRuns
}

type importFailure struct {
	Index  int    `json:"index"` // in the file, from 0
	ID     string `json:"id"`
	Code   code   `json:"code"`
	Detail string `json:"detail"`
}

type importRun struct {
	Outcome engine.ImportOutcome `json:"outcome"`
	Count   int                  `json:"count"`
}

func (s *Server) importPeople(r *request) (reply, error) {
	var conflict string
	var config transfer.Config
	if err := r.eachQuery([]field{
		{name: "on_conflict", text: func(v, _ string) error { conflict = v; return nil }},
		{name: "trailer", text: takeTrailer(&config.Open)},
	}); err != nil {
		return reply{}, err
	}
	media, _, err := mime.ParseMediaType(r.contentType)
	if err != nil || media != transfer.NDJSONType && media != transfer.BinaryType {
		return reply{}, fail(codeUnsupported, "Content-Type %q is not understood here; send %s or %s", clip(r.contentType), transfer.NDJSONType, transfer.BinaryType)
	}
	if _, err := s.engine.Gallery(r.ctx, r.key.Tenant, r.params[0]); err != nil {
		return reply{}, err
	}
	release, err := s.takeBulk()
	if err != nil {
		return reply{}, err
	}
	defer release()
	body := r.bulkBody()
	done := importBody{Outcomes: []importRun{}}
	err = s.importFile(r, body, config, engine.OnConflict(conflict), &done)
	if body.err != nil {
		err = body.err
	}
	if err != nil {
		return reply{}, importFailed(err, done.People)
	}
	return reply{status: 200, value: done}, nil
}

func takeTrailer(open *bool) func(v, at string) error {
	return func(v, at string) error {
		if v != "required" && v != "optional" {
			return fail(codeBadRequest, `%q must be "required" or "optional"`, at)
		}
		*open = v == "optional"
		return nil
	}
}

func (s *Server) importFile(r *request, body io.Reader, c transfer.Config, conflict engine.OnConflict, done *importBody) error {
	file, err := transfer.NewReader(body, c)
	if err != nil {
		return err
	}
	o := engine.ImportOptions{Space: file.Header.Space, OnConflict: conflict}
	return s.engine.Import(r.ctx, r.key.Tenant, r.params[0], o, file.People(), func(results []engine.ImportResult) error {
		for i := range results {
			done.add(s, &results[i])
		}
		return nil
	})
}

func (b *importBody) add(s *Server, r *engine.ImportResult) {
	switch r.Outcome {
	case engine.ImportCreated:
		b.Created++
	case engine.ImportReplaced:
		b.Replaced++
	case engine.ImportSkipped:
		b.Skipped++
	case engine.ImportFailed:
		b.Failed++
		if len(b.Failures) < maxImportFailures {
			p := s.problemOf(r.Err)
			b.Failures = append(b.Failures, importFailure{b.People, r.ID, p.code, p.detail})
		}
	}
	b.People++
	if n := len(b.Outcomes); n > 0 && b.Outcomes[n-1].Outcome == r.Outcome {
		b.Outcomes[n-1].Count++
	} else if n < maxImportRuns {
		b.Outcomes = append(b.Outcomes, importRun{r.Outcome, 1})
	}
}

// importFailed says of an error, if it is one of a client, how far the import came.
func importFailed(err error, people int) error {
	for _, e := range []error{transfer.ErrFormat, transfer.ErrDamaged, transfer.ErrTruncated} {
		if errors.Is(err, e) {
			return fail(codeBadFile, "%s; of its people, the first %d are done, and some more may be: mend the file and send it again", clip(err.Error()), people)
		}
	}
	return err
}

func (s *Server) exportPeople(r *request) (reply, error) {
	format := transfer.NDJSON
	if err := r.eachQuery([]field{{name: "format", text: func(v, at string) error {
		if format = transfer.Format(v); format != transfer.NDJSON && format != transfer.Binary {
			return fail(codeBadRequest, "%q must be %q or %q", at, transfer.NDJSON, transfer.Binary)
		}
		return nil
	}}}); err != nil {
		return reply{}, err
	}
	media := transfer.NDJSONType
	if format == transfer.Binary {
		media = transfer.BinaryType
	}
	if r.method == fasthttp.MethodHead { // nothing leaves
		_, err := s.engine.Gallery(r.ctx, r.key.Tenant, r.params[0])
		return reply{status: 200, raw: []byte{}, contentType: media}, err
	}
	release, err := s.takeBulk()
	if err != nil {
		return reply{}, err
	}
	x, err := s.engine.Export(r.ctx, r.key.Tenant, r.params[0])
	if err != nil {
		release()
		return reply{}, err
	}
	stream, err := newPeopleStream(s, r, x, format, release)
	if err != nil {
		release()
		return reply{}, errors.Join(err, x.Close())
	}
	return reply{status: 200, stream: stream, contentType: media}, nil
}

// peopleStream makes a file of people as fasthttp reads it for the client. It outlives the request's handler, so its context is the
// server's; what ends it early leaves the file without its trailer.
type peopleStream struct {
	export  *engine.Export
	conn    net.Conn
	out     bytes.Buffer // made and not read
	writer  *transfer.Writer
	next    func() (engine.PortablePerson, error, bool)
	stop    func()
	cancel  context.CancelFunc
	release func()
	pace    pace
	asked   time.Time // when the client was last given something; zero: not yet
	ended   bool
}

func newPeopleStream(s *Server, r *request, x *engine.Export, f transfer.Format, release func()) (*peopleStream, error) {
	e := &peopleStream{export: x, conn: r.fc.Conn(), release: release, pace: pace{grace: s.cfg.WriteTimeout}}
	var err error
	g := x.Gallery
	e.writer, err = transfer.NewWriter(&e.out, f, transfer.Header{Space: g.Space, Dim: g.Dim, Gallery: g.Name, Created: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(s.base)
	e.cancel = cancel
	e.next, e.stop = iter.Pull2(x.People(ctx))
	return e, nil
}

// Read implements io.Reader.
func (e *peopleStream) Read(p []byte) (int, error) {
	if !e.asked.IsZero() {
		e.pace.waited += time.Since(e.asked)
	}
	for !e.ended && e.out.Len() < exportChunk {
		if err := e.more(); err != nil {
			return 0, err
		}
	}
	if e.out.Len() == 0 {
		return 0, io.EOF
	}
	n, _ := e.out.Read(p)
	e.pace.bytes += int64(n)
	e.asked = time.Now()
	return n, e.conn.SetWriteDeadline(e.asked.Add(max(e.pace.left(), 0)))
}

// more makes a person of the file, or its end.
func (e *peopleStream) more() error {
	p, err, ok := e.next()
	if err != nil {
		return fmt.Errorf("http: export: %w", err)
	}
	if !ok {
		e.ended = true
		return e.writer.Close()
	}
	return e.writer.Write(&p)
}

// Close implements io.Closer; fasthttp calls it when the answer is written or its connection is gone.
func (e *peopleStream) Close() error {
	e.cancel()
	e.stop()
	err := e.export.Close()
	clear(e.out.Bytes())
	e.release()
	endStream(e.conn)
	return err
}
