package mpc

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"slices"
)

// States of a record.
const (
	stateActive  = 1
	stateDeleted = 2 // a tombstone
)

// head is what a party knows of a record in the clear; it goes into what seals the shares. Little endian, recordHead:
//
//	"FSR1" · state u8 · party u8 · log2 of the scale u8 · log2 of that of the share for
//	identification u8, 0 for none · dim u16 · model u16 · generation u32 · time ms u64 · template[16] · transaction[16] ·
//	secret[16]
//
// The time is that of the enrolment, or of the erasure. The secret is the one that the template is a hash of (templateOf), of an active record: it
// proves to a peer that the gateway has decided. What is prepared has none.
type head struct {
	state, party, logScale, gallery byte
	dim, model                      uint16
	gen                             uint32
	time                            int64
	template, tx, secret            ID
}

const (
	headMagic  = "FSR1"
	recordHead = 4 + 4 + 2 + 2 + 4 + 8 + 16 + 16 + 16
)

func (h *head) appendTo(dst []byte) []byte {
	dst = append(append(dst, headMagic...), h.state, h.party, h.logScale, h.gallery)
	dst = binary.LittleEndian.AppendUint16(dst, h.dim)
	dst = binary.LittleEndian.AppendUint16(dst, h.model)
	dst = binary.LittleEndian.AppendUint32(dst, h.gen)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.time))
	dst = append(dst, h.template[:]...)
	return append(append(dst, h.tx[:]...), h.secret[:]...)
}

// parseHead is the inverse of appendTo. Errors: ErrCorrupt.
func parseHead(b []byte) (h head, err error) {
	if len(b) != recordHead || string(b[:4]) != headMagic {
		return h, fmt.Errorf("%w: record", ErrCorrupt)
	}
	h.state, h.party, h.logScale, h.gallery = b[4], b[5], b[6], b[7]
	h.dim, h.model = binary.LittleEndian.Uint16(b[8:]), binary.LittleEndian.Uint16(b[10:])
	h.gen, h.time = binary.LittleEndian.Uint32(b[12:]), int64(binary.LittleEndian.Uint64(b[16:]))
	copy(h.template[:], b[24:])
	copy(h.tx[:], b[40:])
	copy(h.secret[:], b[56:])
	if h.state != stateActive && h.state != stateDeleted || h.party >= Parties || h.dim > MaxDim || h.gallery > IdentifyLogScale || h.state == stateActive && h.dim == 0 {
		return h, fmt.Errorf("%w: record", ErrCorrupt)
	}
	return h, nil
}

// same says whether two parties have one record: all but which party's it is, and when each erased it.
func (h head) same(o head) bool {
	h.party = o.party
	if h.state == stateDeleted {
		h.time = o.time
	}
	return h == o
}

// shares are what a party holds of a template.
type shares struct {
	share   Share
	gallery ShortShare // empty where head.gallery is 0
}

// bytes encodes the shares, little endian: own u32[dim] · next u32[dim], and for identification own u16[dim] · next u16[dim].
func (s *shares) bytes() []byte {
	b := AppendShare(make([]byte, 0, 12*len(s.share.Own)), s.share)
	return appendShorts(appendShorts(b, s.gallery.Own), s.gallery.Next)
}

// parseShares is the inverse of bytes. Errors: ErrCorrupt.
func parseShares(h head, b []byte) (s shares, err error) {
	dim, size := int(h.dim), 8*int(h.dim)
	if h.gallery != 0 {
		size += 4 * dim
	}
	if len(b) != size {
		return s, fmt.Errorf("%w: shares of %d bytes", ErrCorrupt, len(b))
	}
	if s.share, err = ParseShare(b[:8*dim], dim); err != nil {
		return s, err
	}
	if size > 8*dim {
		s.gallery = ShortShare{shorts(b[8*dim : 10*dim]), shorts(b[10*dim:])}
	}
	return s, nil
}

// sealedRecord is a record as it is stored: its key, sealed by the epoch's KEK, and its shares, sealed by that key.
type sealedRecord struct {
	head   head
	key    []byte // wrappedBytes
	shares []byte
}

// place is what a record's key and shares are sealed for, so that neither opens for another person, generation, epoch or party. The
// head's secret is left out: it is not known when a record is sealed.
func place(label string, epoch uint32, s Subject, h head) []byte {
	b := append([]byte("mien/mpc/"), label...)
	b = binary.LittleEndian.AppendUint32(append(b, 0), epoch)
	b = append(append(b, s.Tenant[:]...), s.RID[:]...)
	h.secret = ID{}
	return h.appendTo(b)
}

// seal seals shares under a key of their own.
func (k *kek) seal(epoch uint32, s Subject, h head, v *shares) (sealedRecord, error) {
	key, plain := randomKey(), v.bytes()
	defer clear(key)
	defer clear(plain)
	aead, err := newAEAD(key)
	if err != nil {
		return sealedRecord{}, err
	}
	return sealedRecord{h, k.wrap(key, place("key/v1", epoch, s, h)), aead.Seal(nil, nil, plain, place("share/v1", epoch, s, h))}, nil
}

// open is the inverse of seal. Errors: ErrCorrupt.
func (k *kek) open(epoch uint32, s Subject, r sealedRecord) (v shares, err error) {
	aead, err := k.unwrap(r.key, place("key/v1", epoch, s, r.head))
	if err != nil {
		return v, err
	}
	plain, err := openShares(aead, r.shares, place("share/v1", epoch, s, r.head))
	if err != nil {
		return v, err
	}
	defer clear(plain)
	return parseShares(r.head, plain)
}

func openShares(aead cipher.AEAD, sealed, place []byte) ([]byte, error) {
	plain, err := aead.Open(nil, nil, sealed, place)
	if err != nil {
		return nil, fmt.Errorf("%w: shares do not open in their place", ErrCorrupt)
	}
	return plain, nil
}

// appendTo encodes a record that is prepared: head · key · shares.
func (r *sealedRecord) appendTo(dst []byte) []byte {
	return slices.Concat(r.head.appendTo(dst), r.key, r.shares)
}

// parsePrepared is the inverse of appendTo; the record aliases b. Errors: ErrCorrupt.
func parsePrepared(b []byte) (r sealedRecord, err error) {
	if len(b) < recordHead+wrappedBytes {
		return r, fmt.Errorf("%w: prepared record", ErrCorrupt)
	}
	if r.head, err = parseHead(b[:recordHead]); err != nil {
		return r, err
	}
	r.key, r.shares = b[recordHead:recordHead+wrappedBytes], b[recordHead+wrappedBytes:]
	return r, nil
}
