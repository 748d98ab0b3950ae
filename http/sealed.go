package http

import (
	"fmt"

	"mien/engine"
	"mien/engine/mpc"
)

// asked is what decentralised people are compared with, or one of them is enrolled by.
type asked struct {
	engine.Template
	sealed *mpc.Envelopes // in its place: nobody sees what is in them but the parties, a share each
}

// takeEnvelopes takes the parties' envelopes, an array of base64.
func takeEnvelopes(dst **mpc.Envelopes) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] != '[' {
			return wrongType(raw, at, "an array")
		}
		all, n := new(mpc.Envelopes), 0
		err := eachElement(raw, func(i int, value []byte) error {
			if n = i + 1; n > len(all) {
				return nil
			}
			return takeBytes(&all[i])(value, fmt.Sprintf("%s/%d", at, i))
		})
		if err == nil && n != len(all) {
			err = fail(codeBadRequest, "%q has %d elements; it is one envelope for each of the %d parties, in order", at, n, len(all))
		}
		*dst = all
		return err
	}
}

// checkAsked is subject.check, where envelopes may be in the place of both.
func (s *subject) checkAsked(sealed *mpc.Envelopes) error {
	switch {
	case sealed == nil && len(s.photos) == 0 && len(s.templates) == 0:
		return fail(codeBadRequest, "give image, template or envelopes")
	case sealed == nil:
		return s.check("image", "template")
	case len(s.photos) > 0 || len(s.templates) > 0 || s.forPhotos():
		return fail(codeBadRequest, "envelopes go alone: of what is in them nothing is known here")
	}
	return nil
}

// sealingBody is what a client seals shares with.
type sealingBody struct {
	Space string `json:"space"` // whose templates are sealed
	*mpc.Sealing
}

// decentralisedSealing answers for the person that the path names, or for searches.
func (s *Server) decentralisedSealing(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	a, err := r.apart(r.params[0], r.param("{person}"))
	if err != nil {
		return reply{}, err
	}
	sealing, err := a.gateway().Sealing(a.group(), a.person, a.policy)
	return reply{status: 200, value: sealingBody{a.space, sealing}}, err
}
