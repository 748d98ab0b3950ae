package youverse

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"

	"mien/engine"
	"mien/http/dialect"
)

// Name is that of keys that are for this dialect.
const Name = "youverse"

// New is the dialect. It keeps nothing.
func New() *dialect.Dialect {
	return &dialect.Dialect{
		Name: Name,
		Routes: []dialect.Route{
			{Method: "POST", Pattern: "/user_verification", Op: opVerify, Handle: verifyUser},
			{Method: "DELETE", Pattern: "/user_verification", Op: opDelete, Body: true, Handle: deleteUser},
			{Method: "POST", Pattern: "/user_verification/verify_template", Op: opTemplate, Handle: verifyTemplate},
			{Method: "POST", Pattern: "/user_verification/user_data", Op: opData, Handle: userData},
			{Method: "POST", Pattern: "/user_verification/decentralized", Op: opVerifyMPC, Handle: verifyShared},
			{Method: "DELETE", Pattern: "/user_verification/decentralized", Op: opDeleteMPC, Body: true, Handle: deleteShared},
		},
		Outcomes:     outcomes,
		Under:        []string{"/user_verification"},
		Authenticate: func(c *dialect.Call) (engine.Key, error) { return c.Authenticate(c.Header("x-api-key")) },
		Refuse:       refuse,
	}
}

// Operations. In the audit log a refusal is of one of them.
const (
	opVerify    = "youverse.verify"
	opDelete    = "youverse.delete"
	opTemplate  = "youverse.verifyTemplate"
	opData      = "youverse.userData"
	opVerifyMPC = "youverse.decentralizedVerify"
	opDeleteMPC = "youverse.decentralizedDelete"
)

// Statuses of a "Verify user response".
const (
	statusSuccess  = "SUCCESS"
	statusNew      = "NEW_USER"
	statusNotFound = "USER_NOT_FOUND"
	statusFailed   = "FAILED"
)

// The document's schemas. All their fields are required, and so are pointers: null is as if it were not there.

type verifyRequest struct {
	UserID      *string `json:"user_id"`
	UserPhoto   *string `json:"user_photo"`
	CreateIfNew *bool   `json:"create_if_new"`
}

type templateRequest struct {
	UserID   *string `json:"user_id"`
	Template *string `json:"template"`
	Version  *string `json:"template_version"`
}

type userRequest struct {
	UserID *string `json:"user_id"`
}

type verifyResponse struct {
	Status string `json:"status"`
}

type dataResponse struct {
	Template string `json:"template"`
	Version  string `json:"template_version"`
}

// The quality checks that the document says are made of a selfie, where the gallery has no gate of its own; doc.go says what they
// refuse. What a template is made of to be registered must be better than what it is compared with.
var (
	enrolChecks = engine.Gate{"unified_score": 50, "sharpness": 50, "luminance_mean": 30, "illumination_uniformity": 50, "liveness": 50}
	probeChecks = engine.Gate{"unified_score": 40, "luminance_mean": 20, "illumination_uniformity": 30, "liveness": 50}
)

// verifyUser verifies who is registered, and registers who is not if it is told to.
func verifyUser(c *dialect.Call) (dialect.Answer, error) {
	var b verifyRequest
	if err := c.DecodeJSON(&b); err != nil {
		return dialect.Answer{}, err
	}
	photo, err := b.check()
	if err != nil {
		return dialect.Answer{}, err
	}
	c.Person = *b.UserID
	status, err := tries(func() (string, error) {
		_, err := c.Engine().Person(c.Ctx, c.Key.Tenant, c.Gallery, *b.UserID)
		switch {
		case err == nil:
			return verifyPhoto(c, photo)
		case !errors.Is(err, engine.ErrPersonNotFound):
			return "", err
		case !*b.CreateIfNew:
			return statusNotFound, nil
		}
		return register(c, photo)
	})
	return dialect.JSON(200, verifyResponse{status}), err
}

// maxTries is how often a request is begun anew because its user came or went meanwhile.
const maxTries = 4

// tries asks again where the user was registered, or deleted, between the question who is there and what was then to be done.
func tries(ask func() (string, error)) (status string, err error) {
	for range maxTries {
		if status, err = ask(); !mayComeAndGo(err) {
			break
		}
	}
	return status, err
}

func verifyPhoto(c *dialect.Call, photo []byte) (status string, err error) {
	err = c.Steadily(func() error {
		t, err := c.Templates(dialect.Photo{Data: photo, Default: probeChecks})
		if err == nil {
			status, err = verify(c, t[0])
		}
		return err
	})
	return status, err
}

// verify decides by the gallery's policy.
func verify(c *dialect.Call, probe engine.Template) (string, error) {
	d, err := c.Engine().Verify(c.Ctx, c.Key.Tenant, c.Gallery, c.Person, probe, engine.Policy{})
	switch {
	case err != nil:
		return "", err
	case d.Match:
		return statusSuccess, nil
	}
	return statusFailed, nil
}

// register enrols somebody who must not be there yet: a photo never replaces that of a registration.
func register(c *dialect.Call, photo []byte) (string, error) {
	return statusNew, c.Steadily(func() error {
		templates, err := c.Templates(dialect.Photo{Data: photo, Enrols: true, Default: enrolChecks})
		if err != nil {
			return err
		}
		_, _, err = c.Engine().PutPerson(c.Ctx, c.Key.Tenant, c.Gallery, c.Person, engine.PersonSpec{Templates: templates,
			WriteOptions: engine.WriteOptions{If: engine.Condition{Absent: true}}})
		return err
	})
}

func verifyTemplate(c *dialect.Call) (dialect.Answer, error) {
	var b templateRequest
	if err := c.DecodeJSON(&b); err != nil {
		return dialect.Answer{}, err
	}
	t, err := b.check()
	if err != nil {
		return dialect.Answer{}, err
	}
	c.Person = *b.UserID
	status := statusNotFound // whatever is wrong with the template
	if _, err = c.Engine().Person(c.Ctx, c.Key.Tenant, c.Gallery, c.Person); err == nil {
		status, err = verify(c, t)
	}
	if errors.Is(err, engine.ErrPersonNotFound) {
		status, err = statusNotFound, nil
	}
	return dialect.JSON(200, verifyResponse{status}), err
}

// userData hands out a template, with which whoever has it can find out each score: to a key that is not told scores it is refused.
func userData(c *dialect.Call) (dialect.Answer, error) {
	id, err := userID(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	if c.Key.Scores != "" && c.Key.Scores != engine.ScoresExact {
		return dialect.Answer{}, &dialect.Refusal{Code: "forbidden", Detail: "this key is told no exact scores, and so no templates"}
	}
	t, err := c.Engine().PersonTemplate(c.Ctx, c.Key.Tenant, c.Gallery, id)
	if err != nil {
		return dialect.Answer{}, err
	}
	return dialect.JSON(200, dataResponse{encodeTemplate(t.Vector), t.Space}), nil
}

func deleteUser(c *dialect.Call) (dialect.Answer, error) {
	id, err := userID(c)
	if err != nil {
		return dialect.Answer{}, err
	}
	return dialect.Answer{Status: 204}, c.Engine().DeletePerson(c.Ctx, c.Key.Tenant, c.Gallery, id, engine.WriteOptions{})
}

// userID is that of a body that has nothing else.
func userID(c *dialect.Call) (string, error) {
	var b userRequest
	if err := c.DecodeJSON(&b); err != nil {
		return "", err
	}
	if b.UserID == nil {
		return "", &dialect.FieldError{Field: "user_id", Want: "a string"}
	}
	c.Person = *b.UserID
	return *b.UserID, nil
}

// check returns the photo. Errors: *dialect.FieldError.
func (b verifyRequest) check() ([]byte, error) {
	switch {
	case b.UserID == nil:
		return nil, &dialect.FieldError{Field: "user_id", Want: "a string"}
	case b.UserPhoto == nil:
		return nil, &dialect.FieldError{Field: "user_photo", Want: wantPhoto}
	case b.CreateIfNew == nil:
		return nil, &dialect.FieldError{Field: "create_if_new", Want: "a boolean"}
	}
	photo, err := dialect.Base64(*b.UserPhoto)
	if err != nil {
		return nil, &dialect.FieldError{Field: "user_photo", Want: wantPhoto}
	}
	return photo, nil
}

const wantPhoto = "a BMP, PNG or JPG image as a base64 string"

// check returns the template. Errors: *dialect.FieldError.
func (b templateRequest) check() (engine.Template, error) {
	t := engine.Template{Source: "template"}
	switch {
	case b.UserID == nil:
		return t, &dialect.FieldError{Field: "user_id", Want: "a string"}
	case b.Template == nil:
		return t, &dialect.FieldError{Field: "template", Want: wantTemplate}
	case b.Version == nil:
		return t, &dialect.FieldError{Field: "template_version", Want: "a string"}
	}
	var err error
	t.Space = *b.Version
	t.Vector, err = decodeTemplate(*b.Template)
	return t, err
}

const wantTemplate = "a template as user_data returns it"

// encodeTemplate is a template as this dialect has it: base64 of little-endian float32[dim], as the native API's.
func encodeTemplate(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// decodeTemplate is the inverse of encodeTemplate. Errors: *dialect.FieldError.
func decodeTemplate(s string) ([]float32, error) {
	b, err := dialect.Base64(s)
	if err != nil || len(b)%4 != 0 {
		return nil, &dialect.FieldError{Field: "template", Want: wantTemplate}
	}
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v, nil
}

// errorResponse is the document's "Error response".
type errorResponse struct {
	StatusCode int    `json:"status_code"`
	Phrase     string `json:"phrase"`
	Message    string `json:"message"`
}

// forbiddenResponse is the document's "Forbidden response", which is the gateway's.
type forbiddenResponse struct {
	Message string `json:"message"`
}
