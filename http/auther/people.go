package auther

import (
	"bytes"
	"errors"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// Similarities from which a face is the person's: doc.go, Thresholds.
const (
	recognizeFrom = 0.98
	verifyFrom    = 0.80
)

// personBody is a person as the document has one.
type personBody struct {
	ID      string `json:"personId"`
	Created string `json:"created"`
	Updated string `json:"updated"`
}

// timeLayout is as in 2020-09-03T16:05:08.938Z.
const timeLayout = "2006-01-02T15:04:05.000Z"

func stamp(t time.Time) string { return t.UTC().Format(timeLayout) }

func personAnswer(p engine.Person) dialect.Answer {
	return dialect.JSON(200, personBody{p.ID, stamp(p.Created), stamp(p.Updated)})
}

// faceBody is the body of all but two operations.
type faceBody struct {
	FaceImage *string `json:"faceImage"`
}

// faceImage is the photo of the call. Errors: those of DecodeJSON, *dialect.FieldError.
func faceImage(c *dialect.Call) ([]byte, error) {
	var b faceBody
	if err := c.DecodeJSON(&b); err != nil {
		return nil, err
	}
	return photoField("faceImage", b.FaceImage)
}

// photoField is the file in a field. Errors: *dialect.FieldError.
func photoField(name string, text *string) ([]byte, error) {
	if text == nil {
		return nil, &dialect.FieldError{Field: name, Want: "base64 of an image"}
	}
	data, err := dialect.Base64(*text)
	if err != nil {
		return nil, &dialect.FieldError{Field: name, Want: "base64 of an image"}
	}
	return data, nil
}

func person(c *dialect.Call) (engine.Person, error) {
	return c.Engine().Person(c.Ctx, c.Key.Tenant, c.Gallery, c.Person)
}

// errProfileExists says that somebody has the id already.
var errProfileExists = &dialect.Refusal{Code: "person_exists", Detail: "a person of this id is there already"}

func create(c *dialect.Call) (dialect.Answer, error) {
	photo, err := faceImage(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	switch _, err := person(c); { // before models run for nothing
	case err == nil:
		return dialect.Answer{}, errProfileExists
	case !errors.Is(err, engine.ErrPersonNotFound):
		return dialect.Answer{}, err
	}
	var p engine.Person
	err = c.Steadily(func() (err error) {
		p, err = put(c, photo, engine.PersonSpec{WriteOptions: engine.WriteOptions{If: engine.Condition{Absent: true}}})
		return err
	})
	if errors.Is(err, engine.ErrVersion) {
		err = errProfileExists
	}
	return personAnswer(p), err
}

// put makes the template of a photo and stores it as the call's person.
func put(c *dialect.Call, photo []byte, spec engine.PersonSpec) (engine.Person, error) {
	templates, err := c.Templates(dialect.Photo{Data: photo, Enrols: true, Gate: Gate})
	if err != nil {
		return engine.Person{}, err
	}
	spec.Templates = templates
	spec.Duplicates = engine.DuplicatesReject
	p, _, err := c.Engine().PutPerson(c.Ctx, c.Key.Tenant, c.Gallery, c.Person, spec)
	return p, err
}

// update replaces the face, and nothing else that is known of the person.
func update(c *dialect.Call) (dialect.Answer, error) {
	photo, err := faceImage(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	first, err := person(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	for p := first; ; {
		var after engine.Person
		err := c.Steadily(func() (err error) {
			after, err = put(c, photo, engine.PersonSpec{Metadata: p.Metadata, Retention: p.Retention,
				WriteOptions: engine.WriteOptions{If: engine.Condition{Versions: []uint64{p.Version}}}})
			return err
		})
		if !errors.Is(err, engine.ErrVersion) {
			return personAnswer(after), err
		}
		if p, err = person(c); err != nil { // somebody wrote the person meanwhile
			return dialect.Answer{}, err
		}
		if !p.Created.Equal(first.Created) {
			return dialect.Answer{}, errProfileExists
		}
	}
}

func remove(c *dialect.Call) (dialect.Answer, error) {
	if body, err := c.Body(); err != nil {
		return dialect.Answer{}, err
	} else if len(body) > 0 { // "no parameters": an object of none, then
		if err := c.DecodeJSON(new(struct{})); err != nil {
			return dialect.Answer{}, err
		}
		if stateOf(c).signer != nil && !bytes.Equal(bytes.Join(bytes.Fields(body), nil), []byte("{}")) {
			return dialect.Answer{}, dialect.ErrJSON // M has no method: this was signed for a POST or PUT
		}
	}
	err := c.Engine().DeletePerson(c.Ctx, c.Key.Tenant, c.Gallery, c.Person, engine.WriteOptions{})
	return dialect.Answer{Status: 200}, err
}

func get(c *dialect.Call) (dialect.Answer, error) {
	if n := c.Header("Content-Length"); n != "" && n != "0" || c.Header("Transfer-Encoding") != "" {
		return dialect.Answer{}, dialect.ErrJSON // nobody reads it
	}
	p, err := person(c)
	return personAnswer(p), err
}

// matched answers with the call's person, or that nobody matched.
func matched(c *dialect.Call, match bool) (dialect.Answer, error) {
	if !match {
		return refusal(410, codeNoMatch, ""), nil
	}
	p, err := person(c)
	if errors.Is(err, engine.ErrPersonNotFound) { // deleted since
		return refusal(410, codeNoMatch, ""), nil
	}
	return personAnswer(p), err
}

func recognize(c *dialect.Call) (dialect.Answer, error) {
	photo, err := faceImage(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	var found engine.Candidates
	err = c.Steadily(func() error {
		templates, err := c.Templates(dialect.Photo{Data: photo, Largest: true})
		if err != nil {
			return err
		}
		found, err = c.Engine().Identify(c.Ctx, c.Key.Tenant, c.Gallery, templates[0],
			engine.IdentifyOptions{TopK: 1, Policy: engine.Policy{Similarity: new(recognizeFrom)}})
		return err
	})
	if err != nil {
		return dialect.Answer{}, err
	}
	if len(found.Candidates) > 0 {
		c.Person = found.Candidates[0].Person
	}
	return matched(c, len(found.Candidates) > 0)
}

func verify(c *dialect.Call) (dialect.Answer, error) {
	photo, err := faceImage(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	if _, err := person(c); err != nil { // before models run for nothing
		return dialect.Answer{}, err
	}
	var d engine.Decision
	err = c.Steadily(func() error {
		templates, err := c.Templates(dialect.Photo{Data: photo, Largest: true})
		if err != nil {
			return err
		}
		d, err = c.Engine().Verify(c.Ctx, c.Key.Tenant, c.Gallery, c.Person, templates[0], engine.Policy{Similarity: new(verifyFrom)})
		return err
	})
	if err != nil {
		return dialect.Answer{}, err
	}
	return matched(c, d.Match)
}
