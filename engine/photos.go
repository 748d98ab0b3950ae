package engine

import (
	"fmt"
)

// photoVersion leads a stored photo; the box, 4 × float32 little-endian, and the photo's bytes follow.
const photoVersion = 1

const photoHeaderBytes = 1 + 4*4

// image is the photo that a template was made of, nil if it is not known.
func (t Template) image() []byte {
	if t.Photo == nil {
		return nil
	}
	return t.Photo.Image
}

func appendPhoto(dst []byte, p *Photo) []byte {
	dst = appendVector(append(dst, photoVersion), p.Box[:])
	return append(dst, p.Image...)
}

// parsePhoto is the inverse of appendPhoto; the photo aliases b. Errors: ErrCorrupt.
func parsePhoto(b []byte) (*Photo, error) {
	if len(b) <= photoHeaderBytes || b[0] != photoVersion {
		return nil, fmt.Errorf("%w: stored photo", ErrCorrupt)
	}
	p := &Photo{Image: b[photoHeaderBytes:]}
	return p, vectorInto(p.Box[:], b[1:photoHeaderBytes])
}

func (g *gallery) photoPlace(id string, number uint32) place {
	return place{kind: kindPhoto, tenant: g.tenant, gallery: g.record.Number, person: id, number: number}
}

// setPhoto stores the photo of a template.
func (p *personTx) setPhoto(number uint32, photo *Photo) {
	plain := appendPhoto(make([]byte, 0, photoHeaderBytes+len(photo.Image)), photo)
	p.set(photoKey(p.g.record.Number, p.id, number), p.g.sealRow(p.key, p.g.photoPlace(p.id, number), plain))
	clear(plain)
}

// photo reads the stored photo of a template, sealed with key. Errors: ErrCorrupt, also if there is none; the store's.
func (g *gallery) photo(s *store, id string, key *subjectKey, number uint32) (*Photo, error) {
	sealed, found, err := s.get(nil, photoKey(g.record.Number, id, number))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%w: a template without its photo", ErrCorrupt)
	}
	plain, err := g.openRow(nil, key, g.photoPlace(id, number), sealed)
	if err != nil {
		return nil, err
	}
	return parsePhoto(plain)
}
