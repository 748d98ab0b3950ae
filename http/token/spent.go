package token

import (
	"container/heap"
	"sync"
	"time"
)

// Use is one use of a single-use token.
type Use struct {
	ID     ID
	Issued time.Time
	Until  time.Time // it opens no more after this, and may be forgotten
}

// Spent remembers which single-use tokens were used. Spend marks one as used, atomically, and fails with ErrReplayed if
// it is already. It must fail, with ErrFull or an error of its own, if it can't remember the use until Until: a
// token whose use is not on record doesn't open. One that outlives the process, or is shared by several, makes
// single use hold there too. Safe for concurrent use.
type Spent interface {
	Spend(Use) error
}

// Memory is a bounded Spent of this process. As it can't know what was used before it began, it takes tokens that were
// issued before that second for used. Its clock doesn't go back: what was forgotten stays expired.
type Memory struct {
	capacity int
	now      func() time.Time
	begun    time.Time

	mu struct {
		sync.Mutex
		used   map[ID]struct{}
		queue  expiries // the same tokens
		latest int64    // Unix milliseconds
	}
}

// NewMemory returns a Memory of at most capacity tokens that have not expired, some 70 bytes each. now is its clock.
func NewMemory(capacity int, now func() time.Time) *Memory {
	m := &Memory{capacity: capacity, now: now, begun: now().Truncate(time.Second)}
	m.mu.used = map[ID]struct{}{}
	return m
}

// Spend implements Spent. Errors: ErrReplayed, ErrFull. It takes logarithmic time for each token that it adds or forgets.
func (m *Memory) Spend(u Use) error {
	now, until := m.now().UnixMilli(), u.Until.UnixMilli()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetLocked(now)
	_, used := m.mu.used[u.ID]
	switch {
	case used || u.Issued.Before(m.begun) || until < m.mu.latest:
		return ErrReplayed
	case len(m.mu.used) >= m.capacity:
		return ErrFull
	}
	m.mu.used[u.ID] = struct{}{}
	heap.Push(&m.mu.queue, expiry{until, u.ID})
	return nil
}

func (m *Memory) forgetLocked(now int64) {
	m.mu.latest = max(m.mu.latest, now)
	for len(m.mu.queue) > 0 && m.mu.queue[0].until < m.mu.latest {
		delete(m.mu.used, heap.Pop(&m.mu.queue).(expiry).id)
	}
}

type expiry struct {
	until int64 // Unix milliseconds
	id    ID
}

// expiries is a heap, the first to expire on top.
type expiries []expiry

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].until < e[j].until }
func (e expiries) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *expiries) Push(x any)        { *e = append(*e, x.(expiry)) }
func (e *expiries) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}
