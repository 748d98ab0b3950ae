package capture

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"

	"mien/engine"
)

// index finds sessions by the SHA-256 of their links' tokens and of their browsers' cookies, and counts the documents of each tenant. It follows
// the writes of documents; one that went with its person or tenant is found missing when somebody comes for it. Safe for concurrent use. A
// session takes some 300 bytes, for as long as its document is there.
type index struct {
	mu struct {
		sync.RWMutex
		secrets  map[digest]*entry
		sessions map[place]*entry
		count    map[string]int // of sessions, by tenant
		sweepAt  int            // length of sessions at which those that are gone are dropped
	}
}

// place is where a session is.
type place struct{ tenant, id string }

type entry struct {
	place
	token  digest
	cookie *digest
	ends   time.Time
	over   bool
}

// firstSweep is how many sessions are kept without a look at which are gone.
const firstSweep = 1024

func newIndex() *index {
	x := new(index)
	x.mu.secrets, x.mu.sessions, x.mu.count = make(map[digest]*entry), make(map[place]*entry), make(map[string]int)
	x.mu.sweepAt = firstSweep
	return x
}

// put notes what a session is now.
func (i *index) put(tenant string, x *record, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at := place{tenant, x.ID}
	i.dropLocked(at)
	e := &entry{place: at, token: x.Token, cookie: x.Cookie, ends: x.Ends, over: x.over() || x.Status == StatusExpired}
	i.mu.sessions[at], i.mu.secrets[x.Token] = e, e
	if x.Cookie != nil {
		i.mu.secrets[*x.Cookie] = e
	}
	if i.mu.count[tenant]++; len(i.mu.sessions) >= i.mu.sweepAt {
		i.sweepLocked(now)
	}
}

// sweepLocked drops the sessions whose documents have expired.
func (i *index) sweepLocked(now time.Time) {
	for at, e := range i.mu.sessions {
		if !now.Before(e.ends.Add(keptAfterEnd)) {
			i.dropLocked(at)
		}
	}
	i.mu.sweepAt = max(2*len(i.mu.sessions), firstSweep)
}

// end notes that a session has ended.
func (i *index) end(at place) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if e := i.mu.sessions[at]; e != nil {
		e.over = true
	}
}

// drop forgets a session.
func (i *index) drop(at place) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dropLocked(at)
}

func (i *index) dropLocked(at place) {
	e := i.mu.sessions[at]
	if e == nil {
		return
	}
	delete(i.mu.sessions, at)
	delete(i.mu.secrets, e.token)
	if e.cookie != nil {
		delete(i.mu.secrets, *e.cookie)
	}
	if i.mu.count[at.tenant]--; i.mu.count[at.tenant] == 0 {
		delete(i.mu.count, at.tenant)
	}
}

// linkGrace is how long after a session's end its link and its browser are told what became of it; then they are unknown.
const linkGrace = time.Hour

// find is where the session of a secret is.
func (i *index) find(secret digest, now time.Time) (at place, found bool) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	e := i.mu.secrets[secret]
	if e == nil || !now.Before(e.ends.Add(linkGrace)) {
		return place{}, false
	}
	return e.place, true
}

// full reports whether a tenant has all sessions that it may have, once those are dropped whose documents have expired.
func (i *index) full(tenant string, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.mu.count[tenant] >= maxSessions {
		i.sweepLocked(now)
	}
	return i.mu.count[tenant] >= maxSessions
}

// due are the sessions whose end has come and that nobody has noted as expired.
func (i *index) due(now time.Time) (list []place) {
	i.mu.RLock()
	defer i.mu.RUnlock()
	for at, e := range i.mu.sessions {
		if !e.over && !now.Before(e.ends) {
			list = append(list, at)
		}
	}
	return list
}

// load reads all sessions. What can't be read of one tenant does not keep the others from it; the first error is returned.
func (s *Service) load(ctx context.Context) (failed error) {
	for _, tenant := range s.engine.DocumentTenants() {
		if err := s.loadTenant(ctx, tenant); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

func (s *Service) loadTenant(ctx context.Context, tenant string) error {
	var failed error
	for after := ""; ; {
		list, err := s.engine.Documents(ctx, tenant, kindSession, engine.MaxListLimit, after)
		if err != nil || len(list) == 0 {
			return cmp.Or(failed, err)
		}
		for _, d := range list {
			x, err := decodeRecord(&d)
			if err != nil {
				failed = cmp.Or(failed, err)
				continue
			}
			s.index.put(tenant, x, s.engine.Now())
		}
		after = list[len(list)-1].ID
	}
}

// Secrets.

const secretBytes = 32

// newSecret is what a link or a cookie has, and what is kept of it.
func newSecret() (text string, sum digest) {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return string(encode(b[:])), sha256.Sum256(b[:])
}

// sumOf is what is kept of a secret, ok false for what can be none.
func sumOf(text string) (sum digest, ok bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(secretBytes) {
		return digest{}, false
	}
	b, err := decode(text)
	if err != nil || len(b) != secretBytes {
		return digest{}, false
	}
	return sha256.Sum256(b), true
}

func encode(b []byte) []byte { return base64.RawURLEncoding.AppendEncode(nil, b) }

func decode(text string) ([]byte, error) { return base64.RawURLEncoding.Strict().DecodeString(text) }

// locks has a lock for each session that is being ended, so that one request ends it and the others see how. Safe for concurrent use.
type locks struct {
	mu struct {
		sync.Mutex
		of map[place]*sessionLock
	}
}

type sessionLock struct {
	taken chan struct{} // of one place
	users int           // who hold it or wait
}

func newLocks() *locks {
	l := new(locks)
	l.mu.of = make(map[place]*sessionLock)
	return l
}

// lock waits for a session's lock. What it returns gives it back. Errors: ctx's.
func (l *locks) lock(ctx context.Context, tenant, id string) (unlock func(), err error) {
	at := place{tenant, id}
	l.mu.Lock()
	x := l.mu.of[at]
	if x == nil {
		x = &sessionLock{taken: make(chan struct{}, 1)}
		l.mu.of[at] = x
	}
	x.users++
	l.mu.Unlock()
	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if x.users--; x.users == 0 {
			delete(l.mu.of, at)
		}
	}
	select {
	case x.taken <- struct{}{}:
		return func() { <-x.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// held reports whether somebody is about to end a session.
func (l *locks) held(tenant, id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.of[place{tenant, id}] != nil
}
