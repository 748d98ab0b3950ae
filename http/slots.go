package http

import "sync"

// slots are the places of requests in flight, which tenants share. Where one tenant only has ever asked it may have them all. Else
// one that has some gets another while those are fewer than tenantWeight times the free ones: alone it gets eight of nine, two get
// eight of seventeen each, and who has none in flight finds a place however many the others hold, until there are more such
// tenants than free places. Nothing waits and nothing is set: the bound follows from who is there (dynamic thresholds, Choudhury
// and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). Of up to 8 places one tenant may have all. Safe for concurrent use.
type slots struct {
	max int
	mu  struct {
		sync.Mutex
		taken   int
		by      map[string]int // of tenants that have some
		first   string         // the first tenant that asked
		several bool           // another has asked since
	}
}

const tenantWeight = 8

func newSlots(most int) *slots {
	s := &slots{max: most}
	s.mu.by = make(map[string]int)
	return s
}

// take takes a place for a tenant's request; give returns it.
func (s *slots) take(tenant string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.first == "" {
		s.mu.first = tenant
	}
	s.mu.several = s.mu.several || tenant != s.mu.first
	free, own := s.max-s.mu.taken, s.mu.by[tenant]
	if free <= 0 || s.mu.several && own >= tenantWeight*free {
		return false
	}
	s.mu.taken++
	s.mu.by[tenant] = own + 1
	return true
}

func (s *slots) give(tenant string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.taken--
	if s.mu.by[tenant]--; s.mu.by[tenant] == 0 {
		delete(s.mu.by, tenant)
	}
}

// inUse is how many places are taken.
func (s *slots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.taken
}
