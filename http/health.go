package http

import (
	_ "embed"
	"errors"

	"mien/engine"
	"mien/engine/mpc"
)

// openapi is the document of the native API, written by hand.
//
//go:embed openapi.json
var openapi []byte

func (s *Server) document(*request) (reply, error) {
	return reply{status: 200, raw: openapi}, nil
}

// statusBody is the answer of /healthz and /readyz.
type statusBody struct {
	Status  string   `json:"status"`            // "ok", "degraded": reads work, "unavailable"
	Reasons []string `json:"reasons,omitempty"` // why it is not ok
	// Parties are the states of those of decentralised matching. One that is away takes that away and nothing else: it is no reason.
	Parties []mpc.PartyState `json:"parties,omitempty"`
}

func (s *Server) health(*request) (reply, error) {
	return reply{status: 200, value: statusBody{Status: "ok"}}, nil
}

// ready says whether this server should be sent requests. A full disk, or a damaged gallery, is no reason to take it away: searches and
// verifications work, and to lose them for the sake of writes would turn a warning into an outage. Its reasons are for
// an operator; the cause of an unusable store is in the log.
func (s *Server) ready(r *request) (reply, error) {
	var reasons []string
	if s.draining.Load() {
		reasons = append(reasons, "the server is shutting down")
	}
	if s.cfg.Extractor == nil {
		reasons = append(reasons, "the models are not loaded")
	}
	err := s.engine.Ready()
	if err != nil {
		reasons = append(reasons, s.problemOf(err).detail)
		s.logFailure(r, err)
	}
	if len(reasons) == 1 && (errors.Is(err, engine.ErrStorageFull) || errors.Is(err, engine.ErrCorrupt)) {
		return reply{status: 200, value: statusBody{"degraded", reasons, s.parties()}}, nil
	}
	if len(reasons) > 0 {
		return reply{status: 503, value: statusBody{"unavailable", reasons, s.parties()}}, nil
	}
	return reply{status: 200, value: statusBody{Status: "ok", Parties: s.parties()}}, nil
}
