package http

import (
	"errors"
	"slices"

	"mien/engine"
)

// moveGallery begins a gallery's move to another space, or finishes it.
func (s *Server) moveGallery(r *request) (reply, error) {
	var spec engine.MoveSpec
	var finish, drop bool
	err := r.decode([]field{
		{name: "space", json: takeString(&spec.Space)},
		{name: "policy", json: takePolicy(&spec.Policy)},
		{name: "finish", json: takeBool(&finish)},
		{name: "drop", json: takeBool(&drop)},
	})
	switch {
	case err != nil:
		return reply{}, err
	case spec.Space == "":
		return reply{}, fail(codeBadRequest, `give "space": the embedding space that the gallery is moved to`)
	case finish && !spec.Policy.IsZero():
		return reply{}, fail(codeBadRequest, "the policy is stated when a move begins, not when it is finished")
	case drop && !finish:
		return reply{}, fail(codeBadRequest, "drop goes with finish: it is then that people without templates of the new space are dropped")
	}
	var g engine.Gallery
	if finish {
		g, err = s.engine.FinishMove(r.ctx, r.key.Tenant, r.params[0], spec.Space, drop)
	} else if err = s.canMove(r, spec.Space); err == nil {
		g, err = s.engine.StartMove(r.ctx, r.key.Tenant, r.params[0], spec)
	}
	return reply{status: 200, value: g}, err
}

// canMove refuses to move a gallery whose gate the new space's models can't judge: then no photo could be enrolled. Errors:
// the problem bad_gate, the engine's.
func (s *Server) canMove(r *request, space string) error {
	g, err := s.engine.Gallery(r.ctx, r.key.Tenant, r.params[0])
	if err != nil {
		return err
	}
	return s.canJudge(space, g.Gate)
}

func (s *Server) cancelMove(r *request) (reply, error) {
	if err := r.noQuery(); err != nil {
		return reply{}, err
	}
	return reply{status: 204}, s.engine.CancelMove(once(r.ctx, r, noContent), r.key.Tenant, r.params[0])
}

// steadily runs what extracts the subject's photos and asks the engine about them, and once more if in between the
// gallery's move began or ended, so that the templates are of other spaces than the engine takes (engine/doc.go, M5), or
// its gate was changed, so that something was not judged.
func (s *subject) steadily(ask func() (reply, error)) (reply, error) {
	if len(s.photos) == 0 {
		return ask()
	}
	return steadily(ask)
}

func steadily(ask func() (reply, error)) (reply, error) {
	rep, err := ask()
	if !slices.ContainsFunc(unsteady, func(target error) bool { return errors.Is(err, target) }) {
		return rep, err
	}
	return ask()
}

// unsteady are the errors of a gallery that has changed while photos for it were extracted.
var unsteady = []error{engine.ErrSpaceMismatch, engine.ErrTemplateCount, engine.ErrUnjudged}

// spaceError is an error about the space that a gallery is being moved to.
type spaceError struct {
	space string
	err   error
}

func (e *spaceError) Error() string { return e.space + ": " + e.err.Error() }

func (e *spaceError) Unwrap() error { return e.err }

// inSpace says of an error that it is about the space that a gallery is being moved to; nil stays nil.
func inSpace(space string, err error) error {
	if err == nil {
		return nil
	}
	return &spaceError{space, err}
}
