package mpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// listing is who of a tenant can be found, in the order of rids, which is the same at all parties and at the gateway, and something about
// each: a party's slot, a gateway's user id. Immutable.
type listing[T any] struct {
	rids []ID
	gens []uint32
	of   []T
	hash [sha256.Size]byte // names the rows in their order; parties and gateway compare it
}

// change is of one person: in the listing from now on, or not.
type change[T any] struct {
	rid ID
	in  bool
	gen uint32
	of  T
}

// find is what it has of a person.
func (l *listing[T]) find(rid ID) (of T, found bool) {
	i, found := slices.BinarySearchFunc(l.rids, rid, compareIDs)
	if found {
		of = l.of[i]
	}
	return of, found
}

// with is the listing after some changes, each of another person, which it sorts. It copies 20 bytes a row and what T has, and hashes them: 2 ms for
// 100,000.
func (l *listing[T]) with(changes []change[T]) *listing[T] {
	slices.SortFunc(changes, func(a, b change[T]) int { return compareIDs(a.rid, b.rid) })
	next := &listing[T]{}
	n := len(l.rids) + len(changes)
	next.rids, next.gens, next.of = make([]ID, 0, n), make([]uint32, 0, n), make([]T, 0, n)
	at := 0
	for _, c := range changes {
		d, found := slices.BinarySearchFunc(l.rids[at:], c.rid, compareIDs)
		next.append(l, at, at+d)
		if at += d; found {
			at++
		}
		if c.in {
			next.rids, next.gens, next.of = append(next.rids, c.rid), append(next.gens, c.gen), append(next.of, c.of)
		}
	}
	next.append(l, at, len(l.rids))
	next.hash = rowsHash(next.rids, next.gens)
	return next
}

func (l *listing[T]) append(other *listing[T], from, to int) {
	l.rids, l.gens, l.of = append(l.rids, other.rids[from:to]...), append(l.gens, other.gens[from:to]...), append(l.of, other.of[from:to]...)
}

func compareIDs(a, b ID) int { return bytes.Compare(a[:], b[:]) }

func rowsHash(rids []ID, gens []uint32) [sha256.Size]byte {
	h := sha256.New()
	h.Write([]byte("mien/mpc/rows/v1"))
	var buf [20 * 64]byte
	b := buf[:0]
	for i, rid := range rids {
		if len(b) == cap(b) {
			h.Write(b)
			b = buf[:0]
		}
		b = binary.LittleEndian.AppendUint32(append(b, rid[:]...), gens[i])
	}
	h.Write(b)
	return [sha256.Size]byte(h.Sum(nil))
}
