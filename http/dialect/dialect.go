package dialect

import (
	"context"
	"strconv"
	"strings"
	"time"

	"mien/engine"
	"mien/extract"
)

// Dialect is another vendor's API.
type Dialect struct {
	// Name is that of keys that are for it (engine.Key.Dialect).
	Name   string
	Routes []Route
	// Outcomes is the table of what each operation can answer, which the dialect's doc.go explains; its tests reach every row.
	Outcomes []Outcome
	// Under are the paths, without a slash at the end, below which what no route has is answered in the dialect's words.
	Under []string
	// Authenticate finds a request's key. Errors: those of engine.Authenticate, which Server.Authenticate answers; others are refused as
	// they are.
	Authenticate func(*Call) (engine.Key, error)
	// Refuse words a refusal. It must not fail.
	Refuse func(*Call, *Failure) Answer
	// Finish completes an answer or a refusal: headers, a signature. nil: nothing to do.
	Finish func(*Call, *Answer) error
	// Run is what the dialect does beside requests, until ctx ends; nil: nothing.
	Run func(ctx context.Context)
}

// Route is one operation. Those with Roles are additions to the native API that the dialect needs: they lie below /v1, are asked for with
// a native key of one of the roles, are refused in the native way and are described in openapi.json. With engine.RoleClient among
// them keys of clients of this dialect may ask too, in the native way. The others are the vendor's.
type Route struct {
	Method, Pattern string // of literal segments and {names}
	Op              string // operationId; in the audit log what a refusal is of
	Roles           []engine.Role
	Public          bool // no key is asked for
	Body            bool // a DELETE that has one; POST, PUT and PATCH have one always
	Handle          func(*Call) (Answer, error)
}

// Outcome is an answer that an operation can give.
type Outcome struct {
	Op     string // of a Route; "" is any, such as an unknown path
	Status int
	Code   string // what the body says: the document's code, status or tag; "" where there is none
	Cause  string // of the engine, extract or http
}

func (o Outcome) String() string { return strings.TrimSpace(strconv.Itoa(o.Status) + " " + o.Code) }

// Answer is what a client is sent.
type Answer struct {
	Status      int
	Value       any    // sent as JSON
	Raw         []byte // in the place of Value
	ContentType string // "" is application/json
	Header      []Field
}

// Field is a header field.
type Field struct{ Name, Value string }

// JSON is an answer of a status and a value.
func JSON(status int, value any) Answer { return Answer{Status: status, Value: value} }

// Set adds a header field to the answer.
func (a *Answer) Set(name, value string) { a.Header = append(a.Header, Field{name, value}) }

// Failure is why a request is refused, as the native API would say it.
type Failure struct {
	Status  int           // of HTTP, as the native API has it
	Code    string        // the native API's, such as "gallery_not_found"
	Detail  string        // a sentence that is fit for the client
	Reasons []string      // what is wrong with a photo, worst first: codes of engine.Reason, or Code where the photo is refused for another cause
	Allow   string        // the methods there are, of a method that is not allowed
	Retry   time.Duration // of a 429 or 503: when to try again; 0 does not say
	Err     error
}

// Refusal is an error of a dialect's own that is the problem of a code of the native API: a native route answers with it, and of the
// vendor's Dialect.Refuse words it.
type Refusal struct {
	Code   string
	Detail string
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Detail }

// Call is one request. Used by one goroutine.
type Call struct {
	Server
	Ctx    context.Context // ends at the request's deadline, or when the client is gone
	ID     string          // X-Request-Id
	Method string
	Target string   // path and query, as sent
	Params []string // of the path, unescaped, in order
	Start  time.Time

	// Key is who asks, and Gallery the one that a client's key is bound to; nothing before Authenticate, or of a public route.
	Key     engine.Key
	Gallery string
	// Person is whom the request is about, for the audit log's record of a refusal. Set by handlers.
	Person string
	// State is what the dialect itself wants to know of the request, from Authenticate to Finish.
	State any
}

// Photo is an image that templates are made of.
type Photo struct {
	Data    []byte       // whole file; not changed
	Largest bool         // take the largest of several faces; else several are refused
	Enrols  bool         // the gallery's gate for enrolment counts, not that for probes
	Gate    engine.Gate  // beside the gallery's
	Default engine.Gate  // where the gallery has none for this; what the gallery's models can't judge is left out
	Want    extract.Want // beside templates and what gates need
}

// Server is what package http does for a call.
type Server interface {
	Engine() *engine.Engine
	// Header is a field of the request, "" for none; of several the first.
	Header(name string) string
	// BaseURL is scheme and host by which the client reached the server, or which its operator says are its own.
	BaseURL() string
	// PublicURL is BaseURL where the operator says it, else "": nothing of it is the client's to choose.
	PublicURL() string
	// Body is the whole body; nil if there is none. Errors: those of the native API.
	Body() ([]byte, error)
	// Authenticate is engine.Authenticate.
	Authenticate(token string) (engine.Key, error)
	// Templates makes the template of the face of each photo for the call's gallery, photos at the same time; of photos that people
	// are enrolled with in a gallery that is being moved also those of the new space, which follow the others. What was judged is in
	// Template.Photo. Errors: those of engine and extract, of several photos the first one's.
	Templates(photos ...Photo) ([]engine.Template, error)
	// Decentralised is matching on shares for the call's gallery and person. Its people are not the gallery's own. Errors: those of a
	// gallery or an id, and the native API's decentralised_unconfigured where there are no parties.
	Decentralised() (Decentralised, error)
	// Steadily runs ask, and once more where the gallery has changed between Templates and the engine's call.
	Steadily(ask func() error) error
}

// Decentralised asks three parties, each of which holds a share of a template that tells nothing, about one person (engine/mpc). What
// is done is in the audit log. Errors beside those named: that a party is away, that budgets of attempts are used up.
type Decentralised interface {
	Enrolled() (bool, error)
	// Verify decides by the parties' policy; there is no score. Errors: engine.ErrPersonNotFound.
	Verify(probe engine.Template) (match bool, err error)
	// Enrol is for who is not enrolled. Errors: engine.ErrPersonExists.
	Enrol(t engine.Template) error
	// Delete returns when two parties have destroyed their shares at least, which makes noise of the third. Errors: engine.ErrPersonNotFound.
	Delete() error
}

// Score is a similarity as the call's key is told it: exact, to two decimals, or by the decision alone, as 1 or 0.
func (c *Call) Score(similarity float64, match bool) float64 {
	switch c.Key.Scores {
	case engine.ScoresRounded:
		return float64(int(100*similarity+0.5)) / 100
	case engine.ScoresDecision:
		if match {
			return 1
		}
		return 0
	}
	return similarity
}
