package mpc

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrParams says that parameters of a policy are out of range, or such that a product could wrap.
	ErrParams = errors.New("mpc: bad parameters")
	// ErrVector says that a vector can't be encoded: its length, a component that is not finite or beyond the bound, or
	// its norm.
	ErrVector = errors.New("mpc: bad vector")
	// ErrShare says that a share has the wrong length.
	ErrShare = errors.New("mpc: bad share")
	// ErrProbe says that a check of a probe failed: it is no unit vector within the bound, its shares are not of one
	// vector, or the parties were told different things about it. There is no answer. See ProbeError.
	ErrProbe = errors.New("mpc: invalid probe")
	// ErrSID says that a session id was used before in this epoch, or is too old to tell.
	ErrSID = errors.New("mpc: session id used before")
	// ErrAborted says that a peer gave up a session.
	ErrAborted = errors.New("mpc: session aborted by a peer")
	// ErrTimeout says that a peer did not send the next round in time.
	ErrTimeout = errors.New("mpc: peer is slow")
	// ErrPeerDown says that the link to a peer has ended.
	ErrPeerDown = errors.New("mpc: peer is down")
	// ErrPeer says that the other end of a connection is not who it must be.
	ErrPeer = errors.New("mpc: peer refused")
	// ErrFrame says that a frame is malformed, too large, or not the one that is due.
	ErrFrame = errors.New("mpc: bad frame")
	// ErrResult says that the copies of a result's components differ.
	ErrResult = errors.New("mpc: results of the parties differ")
	// ErrEnvelope says that an envelope does not open: it is of another key, for another purpose, or damaged.
	ErrEnvelope = errors.New("mpc: envelope does not open")
	// ErrEnvelopeUsed says that an envelope was taken before, that its time is over, or that its party was started since.
	ErrEnvelopeUsed = errors.New("mpc: envelope is of no use any more")
	// ErrShareKey says that a party takes no envelopes, or that its key for them is not the one that is pinned.
	ErrShareKey = errors.New("mpc: no share key to seal to")
	// ErrBusy says that more sessions are open, or frames held, than a link allows.
	ErrBusy = errors.New("mpc: too many sessions")
)

// Errors of parties and of the gateway. What methods return wraps one of these.
var (
	// ErrUnknown says that nobody is enrolled under the id.
	ErrUnknown = errors.New("mpc: not enrolled")
	// ErrGeneration says that a call names another generation of a record than a party has.
	ErrGeneration = errors.New("mpc: another generation")
	// ErrBudget says that a budget of attempts is used up. See BudgetError.
	ErrBudget = errors.New("mpc: attempts used up")
	// ErrLocked says that a person is locked after rejects in a row. See LockedError.
	ErrLocked = errors.New("mpc: locked after rejects")
	// ErrPartyDown says that a party is away, or does not serve yet. See DownError.
	ErrPartyDown = errors.New("mpc: a party is away")
	// ErrDiffers says that a party is configured otherwise than the gateway, in what is asked for. See DiffersError.
	ErrDiffers = errors.New("mpc: a party is configured otherwise")
	// ErrPolicy says that a policy is unknown to a party, or does not fit.
	ErrPolicy = errors.New("mpc: unknown policy, or one that does not fit")
	// ErrContext says that parties were told different things of one session, or hold different records.
	ErrContext = errors.New("mpc: parties were told different things")
	// ErrPending says that another transaction of the record is under way.
	ErrPending = errors.New("mpc: another transaction is under way")
	// ErrExists says that somebody is enrolled already, and the call does not replace.
	ErrExists = errors.New("mpc: enrolled already")
	// ErrNamed says that another request had the name.
	ErrNamed = errors.New("mpc: another request had the name")
	// ErrGone says that a request was done, and that whom it enrolled was erased since.
	ErrGone = errors.New("mpc: done before, and erased since")
	// errAgain says that a request was done meanwhile.
	errAgain = errors.New("mpc: done before")
	// ErrRefused says that a party did not accept an enrolment, or that its own probe did not match it.
	ErrRefused = errors.New("mpc: enrolment refused")
	// ErrNotReady says that a party's store is new where it should not be: it has to be repaired.
	ErrNotReady = errors.New("mpc: the party's store must be repaired first")
	// ErrMessage says that a message is malformed.
	ErrMessage = errors.New("mpc: malformed message")
	// ErrUnfinished says that a decision is durable, and that not all parties have carried it out yet. It will be without another call.
	ErrUnfinished = errors.New("mpc: decided, not carried out everywhere yet")
	// ErrStorage says that a disk write failed: nothing is written until the process is started again.
	ErrStorage = errors.New("mpc: storage failed")
	// ErrClosed says that the gateway or party is closed.
	ErrClosed = errors.New("mpc: closed")
	// ErrInternal is what a party answers for what is no fault of the caller; its log says more.
	ErrInternal = errors.New("mpc: a party failed")
)

// Errors of opening a store.
var (
	// ErrConfig says that the configuration cannot be used.
	ErrConfig = errors.New("mpc: bad configuration")
	// ErrRootKey says that the root key does not open the store's keys.
	ErrRootKey = errors.New("mpc: the root key does not open this store")
	// ErrOther says that a data folder is that of another party, cluster or gateway.
	ErrOther = errors.New("mpc: the data folder is another party's")
	// ErrKeyFile says that the file kek and the store don't belong together: one of them is not there, or from another time.
	ErrKeyFile = errors.New("mpc: the file kek is not that of this store")
	// ErrInUse says that a running process has the store open.
	ErrInUse = errors.New("mpc: the folder is in use by another mien, which must be stopped first")
	// ErrFormat says that a newer program wrote the store.
	ErrFormat = errors.New("mpc: the store was written by a newer version")
	// ErrCorrupt says that the store holds what this program cannot have written.
	ErrCorrupt = errors.New("mpc: the store is damaged")
)

// Failure is why a probe was refused.
type Failure uint8

const (
	// FailedContext says that the parties hold different shares of one component, or were told different contexts.
	FailedContext Failure = iota + 1
	// FailedVector says that the probe's norm is not within the tolerance, or a component beyond the bound. The gateway finds
	// it, and none of the parties.
	FailedVector
)

// String is the word of errors and logs.
func (f Failure) String() string {
	switch f {
	case FailedContext:
		return "context"
	case FailedVector:
		return "vector"
	}
	return fmt.Sprintf("failure %d", uint8(f))
}

// ProbeError is an ErrProbe with the item that failed: the first whose shares or contexts differ, or else the first whose
// vector is refused. It tells nothing of the template.
type ProbeError struct {
	Item    int
	Failure Failure
}

func (e *ProbeError) Error() string {
	return fmt.Sprintf("%v: item %d: %v", ErrProbe, e.Item, e.Failure)
}

func (e *ProbeError) Unwrap() error { return ErrProbe }

// GenerationError is an ErrGeneration with the generation of the record, or of the tombstone, that the party has.
type GenerationError struct{ Has uint32 }

// Error says what is there.
func (e *GenerationError) Error() string {
	return fmt.Sprintf("%v: a party has %d", ErrGeneration, e.Has)
}

// Unwrap returns ErrGeneration.
func (e *GenerationError) Unwrap() error { return ErrGeneration }

// BudgetError is an ErrBudget with the time until there is another attempt.
type BudgetError struct{ Retry time.Duration }

// Error says what to do.
func (e *BudgetError) Error() string {
	return fmt.Sprintf("the parties have had as many attempts as they allow, whatever came of them: the next is possible in %v", e.Retry.Round(time.Second))
}

// Unwrap returns ErrBudget.
func (e *BudgetError) Unwrap() error { return ErrBudget }

// LockedError is an ErrLocked with the time until the lock ends.
type LockedError struct{ Retry time.Duration }

// Error says what to do.
func (e *LockedError) Error() string {
	return fmt.Sprintf("too many rejects in a row: the next attempt is possible in %v", e.Retry.Round(time.Second))
}

// Unwrap returns ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

// DiffersError is an ErrDiffers that says which parties are configured otherwise than the gateway; its log says in what.
type DiffersError struct{ Parties []int }

// Error names the parties.
func (e *DiffersError) Error() string {
	return fmt.Sprintf("parties that are configured otherwise than the gateway: %v", e.Parties)
}

// Unwrap returns ErrDiffers.
func (e *DiffersError) Unwrap() error { return ErrDiffers }

// DownError is an ErrPartyDown that says which parties do not serve. It names nobody who was asked for.
type DownError struct {
	Parties []int
	Lost    []int // those of them that must be repaired: to wait is of no use
}

// Error names the parties.
func (e *DownError) Error() string { return fmt.Sprintf("parties that don't serve now: %v", e.Parties) }

// Unwrap returns ErrPartyDown.
func (e *DownError) Unwrap() error { return ErrPartyDown }
