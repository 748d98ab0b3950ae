package mpc

const (
	leastSlab = 64
	mostSlab  = 16_384 // rows: 32 MiB at 512, which is what a tenant has in reserve at most
)

// slabs are a tenant's shares in memory that does not move, each row in a slot. So a row that comes or goes is one row's work, not all rows';
// slots that are free are used again, and searched until then. One who writes must be alone.
type slabs struct {
	dim   int
	all   []Gallery // full but for the last
	slots int       // that all have rows for
	free  []int32
}

// put takes a row into a slot.
func (s *slabs) put(v ShortShare) (slot int32) {
	if n := len(s.free); n > 0 {
		slot, s.free = s.free[n-1], s.free[:n-1]
		g, i := s.at(slot)
		copy(g.Own[i*s.dim:], v.Own)
		copy(g.Next[i*s.dim:], v.Next)
		return slot
	}
	last := len(s.all) - 1
	if last < 0 || len(s.all[last].Own) == cap(s.all[last].Own) {
		rows := min(max(s.slots, leastSlab), mostSlab)
		s.all = append(s.all, Gallery{Own: NewComponents(rows * s.dim)[:0], Next: NewComponents(rows * s.dim)[:0]})
		last++
	}
	g := &s.all[last]
	g.Own, g.Next, g.Rows = append(g.Own, v.Own...), append(g.Next, v.Next...), g.Rows+1
	s.slots++
	return int32(s.slots - 1)
}

// wipe frees a slot, and overwrites what it had.
func (s *slabs) wipe(slot int32) {
	g, i := s.at(slot)
	clear(g.Own[i*s.dim : (i+1)*s.dim])
	clear(g.Next[i*s.dim : (i+1)*s.dim])
	s.free = append(s.free, slot)
}

// at is where a slot is.
func (s *slabs) at(slot int32) (g *Gallery, row int) {
	row = int(slot)
	for i := range s.all {
		if row < s.all[i].Rows {
			return &s.all[i], row
		}
		row -= s.all[i].Rows
	}
	panic("BUG: mpc: a slot that no slab has")
}

// spread says that most slots are free: then the rows are better read anew.
func (s *slabs) spread() bool { return len(s.free) > mostSlab/16 && 2*len(s.free) > s.slots }

// products sets dst to this party's parts of the products of y and the rows in some slots, in their order.
func (s *slabs) products(dst []uint16, of []int32, y Share) {
	all := make([]uint16, s.slots)
	at := 0
	for _, g := range s.all {
		g.products(all[at:at+g.Rows], y)
		at += g.Rows
	}
	for i, slot := range of {
		dst[i] = all[slot]
	}
}
