package mpc

import "sync"

// Memory of a batch's probes, hundreds of KiB, is used again: as garbage it would have the collector run all the time. It is overwritten in between.
var (
	shareRooms   sync.Pool // of *[]uint32
	payloadRooms sync.Pool // of *[Parties][]byte
)

// roomForShares is n shares of dim components, whatever is in them; free takes them back, and nothing may use them then.
func roomForShares(n, dim int) (all []Share, free func()) {
	room, _ := shareRooms.Get().(*[]uint32)
	if room == nil || cap(*room) < 2*n*dim {
		room = new(make([]uint32, 2*n*dim))
	}
	c := (*room)[:2*n*dim]
	all = make([]Share, n)
	for i := range all {
		at := c[2*i*dim:]
		all[i] = Share{at[:dim:dim], at[dim : 2*dim : 2*dim]}
	}
	return all, func() {
		clear(c)
		shareRooms.Put(room)
	}
}

// roomForPayloads is three empty messages of some bytes; free takes back what became of them.
func roomForPayloads(bytes int) (payloads *[Parties][]byte, free func()) {
	payloads, _ = payloadRooms.Get().(*[Parties][]byte)
	if payloads == nil {
		payloads = new([Parties][]byte)
	}
	for i, b := range payloads {
		if cap(b) < bytes {
			payloads[i] = make([]byte, 0, bytes)
		}
	}
	return payloads, func() {
		for i, b := range payloads {
			clear(b)
			payloads[i] = b[:0]
		}
		payloadRooms.Put(payloads)
	}
}
