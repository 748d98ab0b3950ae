package mpc

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Request is by what a write is known when it comes again, as its caller does not know what came of it. The zero value never is.
type Request struct {
	Content [32]byte // hash of all that the request says, and of who makes it
	Name    [32]byte // hash of the caller's own name for it, and of who that is; zero for none
}

const (
	// onceLife is how long a request is known by its name.
	onceLife = 24 * time.Hour
	// maxOnce is of how many a person's entry knows; the oldest goes.
	maxOnce = 8
)

// asked is an enrolment of a name, as a person's entry has it. After an erasure the answer is zero.
type asked struct {
	Name     ID        `json:"name"`
	Content  ID        `json:"content"`
	Gen      uint32    `json:"generation,omitempty"`
	Template ID        `json:"template"`
	Time     time.Time `json:"time"`
}

// hashed is a request's content and name under the gateway's key; zero stays zero.
func (d *directory) hashed(r Request) (content, name ID) {
	for _, h := range []struct {
		to   *ID
		from [32]byte
	}{{&content, r.Content}, {&name, r.Name}} {
		if h.from != [32]byte{} {
			copy(h.to[:], d.mac("request", string(h.from[:])))
		}
	}
	return content, name
}

// EnrolledBy is what came of a request that enrolled the person: of the same name within 24 hours, or, whether it has a name or not, the one that enrolled
// them last and whose caller was not told that. again is false for all others. Where a party has not carried it out yet it waits, as Enrol. Errors: ErrNamed, where
// another request had the name; ErrGone, where the person was erased since; ErrPending, while the caller still waits; ErrUnfinished, ErrClosed, the disk's.
func (g *Gateway) EnrolledBy(ctx context.Context, tenant, user string, r Request) (done Enrolled, again bool, err error) {
	if r == (Request{}) {
		return Enrolled{}, false, nil
	}
	end, err := g.call()
	if err != nil {
		return Enrolled{}, false, err
	}
	defer end()
	of := g.dir.subject(tenant, user)
	e, found, err := g.dir.entry(of)
	if err != nil || !found {
		return Enrolled{}, false, err
	}
	content, name := g.dir.hashed(r)
	done, again, err = g.dir.enrolledBy(of, e, content, name, g.cfg.Now())
	if err != nil || !again {
		return Enrolled{}, again, err
	}
	if !done.Told {
		owes, err := g.owes(of, content)
		if err != nil {
			return Enrolled{}, true, err
		}
		if !owes { // told meanwhile
			done.Told, again = true, name != ID{}
		}
	}
	if !again {
		return Enrolled{}, false, nil
	}
	g.mu.Lock()
	d := g.mu.decided[e.Tx]
	g.mu.Unlock()
	if d != nil && done.Generation == e.Gen {
		if err := g.await(ctx, d.done); err != nil {
			return done, true, err
		}
	}
	return done, true, g.dir.told(of, content)
}

func (d *directory) enrolledBy(of Subject, e entry, content, name ID, now time.Time) (done Enrolled, again bool, err error) {
	for _, a := range e.Asked {
		switch {
		case name == (ID{}) || a.Name != name || now.Sub(a.Time) >= onceLife:
		case a.Content != content:
			return done, true, ErrNamed
		case e.State != stateActive:
			return done, true, ErrGone
		default:
			owed, err := d.owes(of, content)
			return Enrolled{a.Gen, a.Template, a.Time, !owed}, true, err
		}
	}
	if e.State != stateActive {
		return done, false, nil
	}
	owed, err := d.owes(of, content)
	return Enrolled{e.Gen, e.Template, e.Time, false}, owed, err
}

// Owes reports whether somebody is enrolled by a request whose caller has not been told so. Errors: ErrPending, while the caller still waits; ErrClosed,
// ErrCorrupt, the disk's.
func (g *Gateway) Owes(tenant, user string, r Request) (bool, error) {
	end, err := g.call()
	if err != nil {
		return false, err
	}
	defer end()
	of := g.dir.subject(tenant, user)
	if _, err := g.dir.active(of); err != nil {
		if errors.Is(err, ErrUnknown) {
			err = nil
		}
		return false, err
	}
	content, _ := g.dir.hashed(r)
	return g.owes(of, content)
}

// owes is asked twice around the question whether the caller waits, since who waits is told, and owed no more, before that ends. Errors: Owes's.
func (g *Gateway) owes(of Subject, content ID) (owes bool, err error) {
	for range 2 {
		if owes, err = g.dir.owes(of, content); err != nil || !owes {
			return false, err
		}
		g.mu.Lock()
		waits := g.mu.busy[of]
		g.mu.Unlock()
		if waits {
			return false, ErrPending
		}
	}
	return true, nil
}

// owe notes whose caller is to be told of what is decided about a person.
func (d *directory) owe(b *pebble.Batch, of Subject, content ID) {
	if content == (ID{}) {
		remove(b, subjectKey(prefixOwed, of))
		return
	}
	set(b, subjectKey(prefixOwed, of), content[:])
}

func (d *directory) owes(of Subject, content ID) (bool, error) {
	if content == (ID{}) {
		return false, nil
	}
	v, err := d.get(subjectKey(prefixOwed, of))
	return err == nil && len(v) == len(content) && content == ID(v), err
}

// told notes that a caller is told. It is not synced: lost, the same request is told the same once more.
func (d *directory) told(of Subject, content ID) error {
	owed, err := d.owes(of, content)
	if err != nil || !owed {
		return err
	}
	if err := d.db.Delete(subjectKey(prefixOwed, of), pebble.NoSync); err != nil {
		return errors.Join(ErrStorage, err)
	}
	return nil
}

// remember is what an entry knows of requests of names once another is done.
func (t *enrolment) remember(now time.Time) []asked {
	all := slices.DeleteFunc(slices.Clone(t.asked), func(a asked) bool { return now.Sub(a.Time) >= onceLife })
	if t.name != (ID{}) {
		all = append(all, asked{t.name, t.content, t.gen, t.template, now})
	}
	return all[max(0, len(all)-maxOnce):]
}

// withoutAnswers keeps that requests were done, and not what came of them.
func withoutAnswers(all []asked) (kept []asked) {
	for _, a := range all {
		kept = append(kept, asked{Name: a.Name, Content: a.Content, Time: a.Time})
	}
	return kept
}
