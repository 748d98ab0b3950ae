package auther

import (
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// Name is that of keys that are for this dialect.
const Name = "auther"

// The operations.
const (
	opCreate    = "autherCreatePerson"
	opUpdate    = "autherUpdatePerson"
	opRemove    = "autherRemovePerson"
	opGet       = "autherGetPerson"
	opRecognize = "autherRecognizeFace"
	opVerify    = "autherVerifyFace"
	opCompare   = "autherCompareFace"
)

// auther is what the dialect keeps in memory: the signed requests of the last minutes. Safe for concurrent use.
type auther struct {
	replays *replays
	now     func() time.Time
}

// New returns the dialect. Signed requests that were made before it are refused.
func New() *dialect.Dialect {
	a := &auther{now: time.Now}
	a.replays = newReplays(maxReplays, a.now())
	return &dialect.Dialect{
		Name:         Name,
		Routes:       a.routes(),
		Outcomes:     outcomes(),
		Under:        []string{"/person"},
		Authenticate: a.authenticate,
		Refuse:       a.refuse,
		Finish:       a.finish,
	}
}

func (a *auther) routes() []dialect.Route {
	admin, reading := []engine.Role{engine.RoleAdmin}, []engine.Role{engine.RoleAdmin, engine.RoleAuditor}
	return []dialect.Route{
		{Method: "POST", Pattern: "/person/face/{person_id}", Op: opCreate, Handle: a.spoken(opCreate, create)},
		{Method: "PUT", Pattern: "/person/face/{person_id}", Op: opUpdate, Handle: a.spoken(opUpdate, update)},
		{Method: "DELETE", Pattern: "/person/face/{person_id}", Op: opRemove, Handle: a.spoken(opRemove, remove), Body: true},
		{Method: "GET", Pattern: "/person/face/{person_id}", Op: opGet, Handle: a.spoken(opGet, get)},
		{Method: "POST", Pattern: "/person/recognize-face", Op: opRecognize, Handle: a.spoken(opRecognize, recognize)},
		{Method: "POST", Pattern: "/person/verify-face/{person_id}", Op: opVerify, Handle: a.spoken(opVerify, verify)},
		{Method: "POST", Pattern: "/person/compare-face", Op: opCompare, Handle: a.spoken(opCompare, compare)},

		{Method: "PUT", Pattern: "/v1/auther/signing/{key}", Op: "putAutherSigning", Roles: admin, Handle: putSigning},
		{Method: "GET", Pattern: "/v1/auther/signing/{key}", Op: "getAutherSigning", Roles: reading, Handle: getSigning},
		{Method: "DELETE", Pattern: "/v1/auther/signing/{key}", Op: "deleteAutherSigning", Roles: admin, Handle: deleteSigning},
	}
}

// state is what is known of a call beside what every dialect knows.
type state struct {
	op     string
	signer *signer // of a key that must sign, once its request has shown that it can (S7)
}

var noState state

func stateOf(c *dialect.Call) *state {
	if s, ok := c.State.(*state); ok {
		return s
	}
	return &noState
}

// spoken runs an operation of the document.
func (a *auther) spoken(op string, handle func(*dialect.Call) (dialect.Answer, error)) func(*dialect.Call) (dialect.Answer, error) {
	return func(c *dialect.Call) (dialect.Answer, error) {
		s := stateOf(c)
		s.op = op
		if len(c.Params) > 0 {
			c.Person = c.Params[0]
		}
		signer, err := signerOf(c, c.Key)
		if err == nil && signer != nil {
			err = a.check(c, signer)
		}
		if err != nil {
			return dialect.Answer{}, err
		}
		s.signer = signer
		return handle(c)
	}
}

// authenticate implements dialect.Dialect.Authenticate.
func (a *auther) authenticate(c *dialect.Call) (engine.Key, error) {
	key, err := c.Authenticate(c.Header("Api-Key"))
	if err != nil || key.Dialect != Name { // which http refuses
		return key, err
	}
	c.State = new(state)
	return key, nil
}

// finish implements dialect.Dialect.Finish.
func (a *auther) finish(c *dialect.Call, answer *dialect.Answer) error {
	answer.Set("Request-Id", c.ID)
	if s := stateOf(c).signer; s != nil {
		return a.sign(c, s, answer)
	}
	return nil
}
