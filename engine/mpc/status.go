package mpc

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// PartyStatus is what a party says of itself to its operator. It says nothing of people.
type PartyStatus struct {
	Repairs  bool          // it is being filled from the others, or was when it ended
	Linked   [Parties]bool // which of the others it is linked with; its own is false
	Gateways int           // that are linked
	Serves   int           // those of them that let it serve: it has the store that it had, and has carried out what was decided
	Tallies  []Tally       // of what was asked for since it started, in order of operation and outcome
}

// Tally counts requests of gateways that ended alike.
type Tally struct {
	Operation string // verify, identify, enrol, commit, abort, erase, erase_tenant, holds, refresh, refresh_end, repair, hello or other
	Outcome   string // ok, or the word for why not
	Requests  uint64
	Took      time.Duration // altogether
}

var operations = map[FrameType]string{FrameVerify: "verify", FrameVerifySealed: "verify", FrameIdentify: "identify", FrameIdentifySealed: "identify",
	FramePrepare: "enrol", FramePrepareSealed: "enrol", FrameCommit: "commit", FrameAbort: "abort", FrameDelete: "erase", FrameDeleteTenant: "erase_tenant",
	FrameHolds: "holds", FrameRefresh: "refresh", FrameRefreshCommit: "refresh_end", FrameRepair: "repair", FrameHello: "hello"}

// outcomes are words for the codes of an ERROR frame, and for none.
var outcomes = [...]string{0: "ok", codeUnknown: "unknown", codeGeneration: "generation", codeBudget: "budget", codePeer: "peer", codeProbe: "probe", codeReplay: "replay",
	codePolicy: "policy", codeContext: "context", codePending: "pending", codeNotReady: "not_ready", codeMessage: "message", codeBusy: "busy", codeAborted: "aborted",
	codeInternal: "internal", codeEnvelope: "envelope", codeUsed: "envelope_used", codeShareKey: "share_key", codeExists: "exists"}

// tallies count. Safe for concurrent use.
type tallies struct {
	mu sync.Mutex
	of map[[2]string]*Tally
}

// note counts a request of a gateway that ended with err.
func (t *tallies) note(kind FrameType, err error, took time.Duration) {
	code := byte(0)
	if err != nil {
		code = codeOf(err)
	}
	key := [2]string{cmp.Or(operations[kind], "other"), outcomes[code]}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = make(map[[2]string]*Tally)
	}
	n := t.of[key]
	if n == nil {
		n = &Tally{Operation: key[0], Outcome: key[1]}
		t.of[key] = n
	}
	n.Requests++
	n.Took += took
}

func (t *tallies) all() (all []Tally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.of {
		all = append(all, *n)
	}
	slices.SortFunc(all, func(a, b Tally) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Outcome, b.Outcome))
	})
	return all
}

// Status is how the party does now.
func (p *Party) Status() PartyStatus {
	identity, _, _ := p.store.current()
	s := PartyStatus{Repairs: identity.state == storeRepair, Tallies: p.tallies.all()}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Linked[(p.cfg.Index+1)%Parties] = p.mu.next != nil && p.mu.next.Err() == nil
	s.Linked[(p.cfg.Index+2)%Parties] = p.mu.prev != nil && p.mu.prev.Err() == nil
	s.Gateways = len(p.mu.gateways)
	for _, g := range p.mu.gateways {
		if g.drained.Load() {
			s.Serves++
		}
	}
	return s
}
