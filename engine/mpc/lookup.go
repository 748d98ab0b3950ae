package mpc

import (
	"errors"
	"strings"
)

// errStop ends a walk that has found what it looked for.
var errStop = errors.New("mpc: found")

// Enrolled reports whether somebody is enrolled, which no party is asked for. Errors: ErrClosed, ErrCorrupt, the disk's.
func (g *Gateway) Enrolled(tenant, user string) (bool, error) {
	end, err := g.call()
	if err != nil {
		return false, err
	}
	defer end()
	_, err = g.dir.active(g.dir.subject(tenant, user))
	if errors.Is(err, ErrUnknown) {
		return false, nil
	}
	return err == nil, err
}

// Holds reports whether anybody of a tenant is enrolled, canaries among them. Errors: ErrClosed, ErrCorrupt, the disk's.
func (g *Gateway) Holds(tenant string) (bool, error) {
	return g.holds(tenant, func(string) bool { return true })
}

// HoldsPeople is Holds without canaries.
func (g *Gateway) HoldsPeople(tenant string) (bool, error) {
	return g.holds(tenant, func(user string) bool { return !strings.HasPrefix(user, canaryPrefix) })
}

func (g *Gateway) holds(tenant string, counts func(user string) bool) (bool, error) {
	end, err := g.call()
	if err != nil {
		return false, err
	}
	defer end()
	id := g.dir.tenant(tenant)
	err = g.dir.each(append([]byte{prefixEntry}, id[:]...), func(key, value []byte) error {
		e, err := g.dir.openEntry(subjectOf(key), value)
		if err == nil && e.State == stateActive && counts(e.User) {
			err = errStop
		}
		return err
	})
	if errors.Is(err, errStop) {
		return true, nil
	}
	return false, err
}

// ErasuresPending is how many erasures, of people and of tenants, are decided and not carried out by all parties.
func (g *Gateway) ErasuresPending() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, d := range g.mu.decided {
		if d.kind == decideErase || d.kind == decideEraseTenant {
			n++
		}
	}
	return n
}

// Policy is a policy that the gateway knows.
func (g *Gateway) Policy(id uint16) (p Policy, known bool) {
	p, known = g.cfg.Policies.Policies[id]
	return p, known
}
