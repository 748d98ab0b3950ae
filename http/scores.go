package http

import (
	"math"

	"mien/engine"
)

// scored is an answer that has scores in it. What a key is told of them is decided here and applied in one place, when the
// operation is done (serve), so that no operation can forget it; an answer with scores must be scored, and a test calls every
// route and looks for numbers that shouldn't be there.
type scored interface {
	// coarse is the answer with less than exact scores.
	coarse(engine.Scores) any
}

// scoresFor is a value as the key is told it.
func scoresFor(k *engine.Key, value any) any {
	if k.Scores == "" || k.Scores == engine.ScoresExact {
		return value
	}
	if v, ok := value.(scored); ok {
		return v.coarse(k.Scores)
	}
	return value
}

// rounded is a similarity to two decimals, or nil where only the decision is told.
func rounded(s engine.Scores, similarity float64) *float64 {
	if s != engine.ScoresRounded {
		return nil
	}
	return new(math.Round(100*similarity) / 100)
}

// coarseDecision is a decision without what finds templates out. Whatever there is of faces is of the photo that was sent.
type coarseDecision struct {
	Match      bool      `json:"match"`
	Similarity *float64  `json:"similarity,omitempty"`
	Face       *faceBody `json:"face,omitempty"`
	Source     *faceBody `json:"source_face,omitempty"`
	Target     *faceBody `json:"target_face,omitempty"`
}

func (b decisionBody) coarse(s engine.Scores) any {
	return coarseDecision{Match: b.Match, Similarity: rounded(s, b.Similarity), Face: b.Face}
}

func (b comparedBody) coarse(s engine.Scores) any {
	return coarseDecision{Match: b.Match, Similarity: rounded(s, b.Similarity), Source: b.Source, Target: b.Target}
}

// coarseCandidates are candidates, best first, by name.
type coarseCandidates struct {
	Candidates []coarseCandidate `json:"candidates"`
	Searched   int               `json:"searched"`
	Face       *faceBody         `json:"face,omitempty"`
}

type coarseCandidate struct {
	Person     string        `json:"person"`
	Similarity *float64      `json:"similarity,omitempty"`
	Status     engine.Status `json:"status,omitempty"`
}

func coarseList(list []engine.Candidate, s engine.Scores) []coarseCandidate {
	var told []coarseCandidate
	for _, x := range list {
		told = append(told, coarseCandidate{x.Person, rounded(s, x.Similarity), x.Status})
	}
	return told
}

// coarse is a problem whose duplicates are named without exact scores.
func (b problemBody) coarse(s engine.Scores) any {
	return struct {
		problemBody
		Duplicates []coarseCandidate `json:"duplicates,omitempty"` // in the place of the embedded
	}{b, coarseList(b.Duplicates, s)}
}

// coarse is a person whose duplicates, of which an enrolment may warn, are named without exact scores.
func (b enrolledBody) coarse(s engine.Scores) any {
	return struct {
		enrolledBody
		Duplicates []coarseCandidate `json:"duplicates,omitempty"` // in the place of the embedded
	}{b, coarseList(b.Duplicates, s)}
}

func coarseOf(c engine.Candidates, s engine.Scores) coarseCandidates {
	return coarseCandidates{Candidates: orEmpty(coarseList(c.Candidates, s)), Searched: c.Searched}
}

func (b candidatesBody) coarse(s engine.Scores) any {
	c := coarseOf(b.Candidates, s)
	c.Face = b.Face
	return c
}

// coarseMember is a memberBody.
type coarseMember struct {
	Face faceBody `json:"face"`
	*coarseCandidates
}

func (b groupBody) coarse(s engine.Scores) any {
	faces := make([]coarseMember, len(b.Faces))
	for i, f := range b.Faces {
		faces[i].Face = f.Face
		if f.Candidates != nil {
			c := coarseOf(*f.Candidates, s)
			faces[i].coarseCandidates = &c
		}
	}
	return map[string]any{"faces": faces}
}

// ownPolicy refuses a policy to a key with less than exact scores: who may choose the threshold of every question finds the
// score that it hides by halving, in some twenty questions. Errors: the problem forbidden.
func (r *request) ownPolicy(p engine.Policy) error {
	if p.IsZero() || r.key.Scores == "" || r.key.Scores == engine.ScoresExact {
		return nil
	}
	return fail(codeForbidden, "this key is not told exact scores, so its questions go by the gallery's policy: leave the policy out")
}
