package http

import (
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	"mien/engine"
	"mien/extract"
)

// groupBody is the answer to a 1:N question about every face of a photo, best detection first.
type groupBody struct {
	Faces []memberBody `json:"faces"`
}

// memberBody is one face of a group: its candidates, or in the face why it does not pass the gate.
type memberBody struct {
	Face faceBody `json:"face"`
	*engine.Candidates
}

// searchGroup searches for each face of a photo. One that does not pass the gate is not searched, and does not spoil
// the others. Faces are extract.MaxFaces or MaxJudgedFaces at most, searches at once as many as there are cores.
func (r *request) searchGroup(find search, sub *subject, o engine.IdentifyOptions) (reply, error) {
	t, err := r.task(sub)
	if err != nil {
		return reply{}, err
	}
	found, err := r.extractOne(t, sub.photos[0].data)
	if err != nil {
		return reply{}, err
	}
	body := groupBody{make([]memberBody, len(found))}
	searches, ctx := errgroup.WithContext(r.ctx)
	searches.SetLimit(runtime.GOMAXPROCS(0))
	for i := range found {
		searches.Go(func() (err error) {
			body.Faces[i], err = r.searchMember(ctx, find, t, &found[i], o)
			return err
		})
	}
	return reply{status: 200, value: body}, searches.Wait()
}

func (r *request) searchMember(ctx context.Context, find search, t task, f *extract.Face, o engine.IdentifyOptions) (memberBody, error) {
	m := memberBody{Face: t.x.face(f, t.want)}
	candidates, err := find(ctx, r.key.Tenant, r.params[0], t.template(f, nil), o)
	if e, ok := errors.AsType[*engine.QualityError](err); ok {
		m.Face.Reasons = e.Reasons
		return m, nil
	}
	candidates.Candidates = orEmpty(candidates.Candidates)
	m.Candidates = &candidates
	return m, err
}
