package authface

import (
	"strings"

	"mien/engine"
	"mien/http/capture"
	"mien/http/dialect"
)

// Name is that of keys that are for this dialect, and the owner of its sessions.
const Name = "authface"

// service is the dialect's state: how often each session was asked about. Safe for concurrent use.
type service struct {
	sessions *capture.Service
	polls    *polls
}

// New makes the dialect on sessions, which keeps what there is to keep and decides: what its flows ask is what the document asks.
func New(sessions *capture.Service) *dialect.Dialect {
	s := &service{sessions: sessions, polls: newPolls()}
	return &dialect.Dialect{
		Name: Name,
		Routes: []dialect.Route{
			{Method: "POST", Pattern: under + "/enroll", Op: opEnroll, Handle: s.begins(capture.FlowEnroll)},
			{Method: "POST", Pattern: under + "/verify", Op: opVerify, Handle: s.begins(capture.FlowVerify)},
			{Method: "POST", Pattern: under + "/identify", Op: opIdentify, Handle: s.begins(capture.FlowIdentify)},
			{Method: "POST", Pattern: under + "/update_embedding", Op: opUpdate, Handle: s.begins(capture.FlowUpdate)},
			{Method: "POST", Pattern: under + "/result", Op: opResult, Handle: s.result},
			{Method: "POST", Pattern: under + "/list-users", Op: opList, Handle: listUsers},
			{Method: "POST", Pattern: under + "/get-user", Op: opGet, Handle: getUser},
			{Method: "POST", Pattern: under + "/delete-user", Op: opDelete, Handle: deleteUser},
		},
		Outcomes:     outcomes,
		Under:        []string{"/biometry"},
		Authenticate: authenticate,
		Refuse:       refuse,
	}
}

const under = "/biometry/v1"

// Operations. In the audit log a refusal is of one of them.
const (
	opEnroll   = "authface.enroll"
	opVerify   = "authface.verify"
	opIdentify = "authface.identify"
	opUpdate   = "authface.updateEmbedding"
	opResult   = "authface.result"
	opList     = "authface.listUsers"
	opGet      = "authface.getUser"
	opDelete   = "authface.deleteUser"
)

// authenticate takes the key of an Authorization header, or else that of x-api-key.
func authenticate(c *dialect.Call) (engine.Key, error) {
	field := c.Header("Authorization")
	if field == "" {
		return c.Authenticate(c.Header("x-api-key"))
	}
	scheme, token, _ := strings.Cut(field, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return engine.Key{}, engine.ErrKeyMissing
	}
	return c.Authenticate(strings.Trim(token, " "))
}
