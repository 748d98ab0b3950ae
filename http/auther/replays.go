package auther

import (
	"crypto/sha256"
	"sync"
	"time"

	"mien/http/dialect"
)

// maxReplays is how many signed requests are remembered, some 100 bytes each: 3,000 a second for all tenants, for each of which it is at
// most the time that its Timestamp is ahead of ours and five minutes.
const maxReplays = 1 << 20

// replays are the signed requests that can't be made again. Bounded, and no tenant can fill it for others: one may have as many as are
// free, so alone it gets half and two get a third each (dynamic thresholds, as http's slots). It is package token's Memory with that
// and with milliseconds. Safe for concurrent use.
//
// It begins empty, so what was made before it began is refused. A client whose clock is ahead of ours by s seconds has requests of the
// last s seconds before a restart that can be made again after it, once each.
type replays struct {
	most  int
	begun time.Time
	mu    struct {
		sync.Mutex
		seen   map[[sha256.Size]byte]struct{}
		by     map[string]int    // of tenants that have some
		due    map[int64][]entry // by the second after which they can't be made again
		latest int64             // second; the clock does not go back
	}
}

type entry struct {
	id     [sha256.Size]byte
	tenant string
}

func newReplays(most int, begun time.Time) *replays {
	r := &replays{most: most, begun: begun.Truncate(time.Millisecond)}
	r.mu.seen, r.mu.by, r.mu.due = map[[sha256.Size]byte]struct{}{}, map[string]int{}, map[int64][]entry{}
	return r
}

// errReplaysFull says that a request can't be remembered, and so not be let through.
var errReplaysFull = &dialect.Refusal{Code: "overloaded", Detail: "too many signed requests are remembered; try again in a second"}

// take notes a request that was made at a time, and refuses one that is there. REQUIRES: it is within the window. Errors:
// *dialect.Refusal of bad_signature and overloaded.
func (r *replays) take(tenant string, id [sha256.Size]byte, made, now time.Time) error {
	end := made.Add(window).Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetLocked(now.Unix())
	_, seen := r.mu.seen[id]
	switch {
	case seen || end < r.mu.latest:
		return badSignature("the request was made before")
	case made.Before(r.begun):
		return badSignature("the request is older than this server: what was made before it began is not known")
	case r.mu.by[tenant] >= r.most-len(r.mu.seen):
		return errReplaysFull
	}
	r.mu.seen[id] = struct{}{}
	r.mu.by[tenant]++
	r.mu.due[end] = append(r.mu.due[end], entry{id, tenant})
	return nil
}

// forgetLocked drops what is due, once a second.
func (r *replays) forgetLocked(now int64) {
	if now <= r.mu.latest {
		return
	}
	r.mu.latest = now
	for second, list := range r.mu.due {
		if second >= now {
			continue
		}
		for _, e := range list {
			delete(r.mu.seen, e.id)
			if r.mu.by[e.tenant]--; r.mu.by[e.tenant] == 0 {
				delete(r.mu.by, e.tenant)
			}
		}
		delete(r.mu.due, second)
	}
}
