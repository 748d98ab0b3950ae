package facephi

import (
	"mien/engine"
	"mien/http/dialect"
)

// Name is that of the keys of this dialect's clients.
const Name = "facephi"

// Operations of the dialect and what it adds to the native API.
const (
	opAuthenticate = "authenticateUser"
	opTokens       = "facephiTokens"
	opKeys         = "facephiKeys"
	opChangeKeys   = "changeFacephiKeys"
)

// New is the dialect. It holds nothing: what it keeps is in the engine.
func New() *dialect.Dialect {
	return &dialect.Dialect{
		Name:     Name,
		Under:    []string{"/services"},
		Outcomes: outcomes,
		Routes: []dialect.Route{
			{Method: "POST", Pattern: "/services/authenticateUser/v2", Op: opAuthenticate, Handle: authenticate},
			{Method: "POST", Pattern: "/v1/galleries/{gallery}/facephi/tokens", Op: opTokens, Handle: makeTokens,
				Roles: []engine.Role{engine.RoleAdmin, engine.RoleEnroller, engine.RoleMatcher, engine.RoleClient}},
			{Method: "GET", Pattern: "/v1/facephi/keys", Op: opKeys, Handle: showKeys, Roles: []engine.Role{engine.RoleAdmin, engine.RoleAuditor}},
			{Method: "POST", Pattern: "/v1/facephi/keys", Op: opChangeKeys, Handle: changeKeys, Roles: []engine.Role{engine.RoleAdmin}},
		},
		Authenticate: func(c *dialect.Call) (engine.Key, error) { return c.Authenticate(c.Header("x-api-key")) },
		Refuse:       refuse,
	}
}

// refuse words what is refused or fails: the body of an answer with nothing found, and minus the status as its code.
func refuse(c *dialect.Call, f *dialect.Failure) dialect.Answer {
	status := f.Status
	switch {
	case status == 422: // of the field image
		status = 400
	case status == 409 || status > 500: // the gallery has changed, or the server can't do it now
		status = 503
	}
	a := newAnswer(c)
	a.Code, a.Log = -status, f.Detail
	switch {
	case f.Code == "key_missing":
		a.Log = "x-api-key is missing: send the API key in it"
	case f.Status == 422:
		a.Log = "image: " + f.Detail
	}
	return dialect.JSON(status, a)
}
