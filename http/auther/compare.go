package auther

import (
	"cmp"
	"math"

	"mien/engine"
	"mien/http/dialect"
)

// defaultThreshold is the similarity, in percent, that compare-face asks for.
const defaultThreshold = 80

// compareBody is that of compare-face. The document's table misspells a field, and its samples do not.
type compareBody struct {
	Target    *string  `json:"targetImage"`
	Source    *string  `json:"sourceImage"`
	Sourcet   *string  `json:"sourcetImage"`
	Threshold *float64 `json:"similarityThreshold"`
}

// comparedBody is its answer: percent, 0 for faces that do not match.
type comparedBody struct {
	FacesMatched float64 `json:"facesMatched"`
}

// photos are source and target. Errors: *dialect.FieldError.
func (b *compareBody) photos() (source, target []byte, err error) {
	if b.Source != nil && b.Sourcet != nil && *b.Source != *b.Sourcet {
		return nil, nil, &dialect.FieldError{Field: "sourceImage", Want: "the same as sourcetImage, or alone"}
	}
	if target, err = photoField("targetImage", b.Target); err != nil {
		return nil, nil, err
	}
	source, err = photoField("sourceImage", cmp.Or(b.Source, b.Sourcet))
	return source, target, err
}

// policy is that of the threshold, in percent: 0, or more than 1 so that no share (0.8) is taken for one. Errors:
// *dialect.FieldError; the native API's forbidden, for a key that is not told exact scores: it could find them by halving.
func (b *compareBody) policy(k *engine.Key) (engine.Policy, error) {
	if b.Threshold == nil {
		return engine.Policy{Similarity: new(defaultThreshold / 100.)}, nil
	}
	if t := *b.Threshold; t != 0 && !(t > 1 && t <= 100) {
		return engine.Policy{}, &dialect.FieldError{Field: "similarityThreshold", Want: "a percentage: 0, or more than 1 and at most 100"}
	}
	if k.Scores != "" && k.Scores != engine.ScoresExact {
		return engine.Policy{}, &dialect.Refusal{Code: "forbidden", Detail: "this key is not told exact scores, and may not choose a threshold"}
	}
	return engine.Policy{Similarity: new(*b.Threshold / 100)}, nil
}

func compare(c *dialect.Call) (dialect.Answer, error) {
	var b compareBody
	if err := c.DecodeJSON(&b); err != nil {
		return dialect.Answer{}, err
	}
	source, target, err := b.photos()
	if err != nil {
		return dialect.Answer{}, err
	}
	policy, err := b.policy(&c.Key)
	if err != nil {
		return dialect.Answer{}, err
	}
	templates, err := c.Templates(dialect.Photo{Data: source}, dialect.Photo{Data: target, Largest: true})
	if err != nil {
		return dialect.Answer{}, err
	}
	d, err := c.Engine().Compare(c.Ctx, templates[0], templates[1], policy)
	if err != nil {
		return dialect.Answer{}, err
	}
	if !d.Match {
		return dialect.JSON(200, comparedBody{}), nil
	}
	return dialect.JSON(200, comparedBody{math.Round(1e6*c.Score(d.Similarity, true)) / 1e4}), nil
}
