package mpc

import (
	"context"
	"errors"
	"sync"
)

// whole says whether a party has the store that it must have (N10). It is not the one of before on a new disk, nor in a folder that was put back
// from a backup of before a refresh; one that was filled by a repair it is, whichever gateway had it repaired, and whether this one was told or not.
func (r *remote) whole(ctx context.Context, h hello) (bool, error) {
	known, err := r.g.dir.knownStore(r.index)
	if err != nil || h.state == storeRepair {
		return false, err
	}
	others, asked := r.others(ctx)
	for lost := asked && h.lost(others); lost; {
		// A refresh may be on its way. Who differs from the others after they were asked, and before they say the same again, is behind.
		before := others
		if h, err = r.hello(ctx, false); err != nil {
			return false, err
		}
		if others, asked = r.others(ctx); !asked {
			break
		}
		if lost = h.lost(others); lost && others[0].same(before[0]) && others[1].same(before[1]) {
			return false, nil
		}
	}
	if asked {
		r.suspect(h, others)
	}
	switch {
	case known == h.store:
		return true, nil
	case known == ID{}, h.state == storeFilled && asked && h.meets(others[0]) && h.meets(others[1]):
		return true, r.g.dir.setKnownStore(r.index, h.store)
	}
	return false, nil
}

// neighbours are the other two.
func (r *remote) neighbours() [2]*remote {
	return [2]*remote{r.g.remotes[(r.index+1)%Parties], r.g.remotes[(r.index+2)%Parties]}
}

// others are the HELLOs of the other two; asked is false if one is not there.
func (r *remote) others(ctx context.Context) (h [2]hello, asked bool) {
	var errs [2]error
	var wg sync.WaitGroup
	for i, o := range r.neighbours() {
		wg.Go(func() { h[i], errs[i] = o.hello(ctx, false) })
	}
	wg.Wait()
	return h, errs[0] == nil && errs[1] == nil
}

// suspect has a party looked at again that serves, and should not as it seems from here.
func (r *remote) suspect(h hello, others [2]hello) {
	for i, o := range r.neighbours() {
		if others[i].lost([2]hello{h, others[1-i]}) && o.state() == PartyReady {
			o.setState(PartyOwed)
			o.nudge()
		}
	}
}

// lost says that a store is not what those of two others are: its shares are of a version that neither has, or it has no record and no vote,
// and they have records, for which it had voted.
func (h hello) lost(others [2]hello) bool {
	fresh := h.state == storeNew && !h.voted
	return !h.meets(others[0]) && !h.meets(others[1]) || fresh && others[0].holds() && others[1].holds()
}

// meets says that two parties have shares of one version, or one of them will have, once it has carried out a refresh that the other has.
func (h hello) meets(o hello) bool {
	return h.version == o.version || h.staged != ID{} && h.staged == o.version || o.staged != ID{} && o.staged == h.version
}

func (h hello) holds() bool { return h.state == storeReady || h.state == storeFilled }

func (h hello) same(o hello) bool {
	return h.store == o.store && h.state == o.state && h.version == o.version
}

// voted reports whether this party waits for the end of any enrolment.
func (s *partyStore) voted() (bool, error) {
	err := s.each([]byte{prefixPrepared}, func(_, _ []byte) error { return errStop })
	if errors.Is(err, errStop) {
		return true, nil
	}
	return false, err
}
