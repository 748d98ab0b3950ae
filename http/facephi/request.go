package facephi

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"mien/engine"
	"mien/http/dialect"
)

// Limits of texts, in bytes.
const (
	maxReference   = 256
	maxOperationID = 1024
	maxExtraData   = 64 << 10
)

// requestBody is the body of authenticateUser as it is sent.
type requestBody struct {
	UserID     *string `json:"userId"`
	Registered *string `json:"registeredTemplateRaw"`
	Image      *string `json:"image"`
	BestImage  *string `json:"bestImageToken"`
	Template   *string `json:"template"`
	Reference  *string `json:"merchantReferenceId"`
	Tracking   *struct {
		ExtraData   *string `json:"extraData"`
		OperationID *string `json:"operationId"`
	} `json:"tracking"`
}

// request is a body that was checked. Of registered and image one is there, and of bestImage and template.
type request struct {
	user, reference     string
	registered          string // token
	image               []byte // the registry's photo
	bestImage, template string // tokens
}

// decode reads and checks the call's body. Errors: *dialect.Refusal, those of DecodeJSON.
func decode(c *dialect.Call) (*request, error) {
	var b requestBody
	err := c.DecodeJSON(&b)
	if b.Reference != nil && len(*b.Reference) <= maxReference {
		c.State = *b.Reference // comes back in refusals too
	}
	if err != nil {
		return nil, err
	}
	return b.check()
}

func bad(detail string) error { return &dialect.Refusal{Code: "bad_request", Detail: detail} }

// check checks the fields in the document's order. Errors: *dialect.Refusal.
func (b *requestBody) check() (*request, error) {
	r := &request{user: text(b.UserID), reference: text(b.Reference)}
	if err := checkUser(r.user); err != nil {
		return nil, err
	}
	var err error
	if r.registered, err = tokenIn("registeredTemplateRaw", b.Registered); err != nil {
		return nil, err
	}
	if r.bestImage, err = tokenIn("bestImageToken", b.BestImage); err != nil {
		return nil, err
	}
	if r.registered == "" {
		if r.image, err = imageIn(b.Image, "image is required if registeredTemplateRaw is not provided"); err != nil {
			return nil, err
		}
	}
	if r.bestImage == "" {
		if r.template, err = tokenIn("template", b.Template); err != nil {
			return nil, err
		}
	}
	switch {
	case r.bestImage == "" && r.template == "":
		return nil, bad("template is required if bestImageToken is not provided")
	case r.reference == "":
		return nil, bad("merchantReferenceId is required")
	case len(r.reference) > maxReference:
		return nil, bad("merchantReferenceId may have 256 bytes at most")
	}
	return r, b.checkTracking()
}

// text is what a field holds; one that is not there is as an empty one.
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// checkUser refuses a userId that is no id. It is one of a person's in the audit log. Errors: *dialect.Refusal.
func checkUser(user string) error {
	switch {
	case user == "":
		return bad("userId is required")
	case utf8.RuneCountInString(user) < 2:
		return bad("userId must have at least two characters")
	case len(user) > engine.MaxIDBytes || strings.TrimSpace(user) != user || strings.ContainsFunc(user, unicode.IsControl):
		return bad("userId may have 256 bytes at most, no control characters, and no space at either end")
	}
	return nil
}

// tokenIn is a token in base64, without what may be about it. Whether it is one of ours is not asked here. Errors: *dialect.Refusal.
func tokenIn(field string, s *string) (string, error) {
	t, err := dialect.Unfold(text(s))
	if err != nil || !looksBase64(t) {
		return "", &dialect.Refusal{Code: "bad_base64", Detail: field + " must be base64"}
	}
	return t, nil
}

// looksBase64 reports whether s has nothing that base64 has not, of either alphabet. It allocates nothing.
func looksBase64(s string) bool {
	s = strings.TrimRight(s, "=")
	return len(s)%4 != 1 && !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '+' || r == '/' || r == '-' || r == '_')
	})
}

// imageIn is the file of a photo; missing is what is said if there is none. Errors: *dialect.Refusal.
func imageIn(s *string, missing string) ([]byte, error) {
	if text(s) == "" {
		return nil, bad(missing)
	}
	image, err := dialect.Base64(*s)
	if err != nil {
		return nil, &dialect.Refusal{Code: "bad_base64", Detail: "image must be base64 of a JPEG, PNG, BMP or WebP file"}
	}
	return image, nil
}

// checkTracking checks what nobody here reads.
func (b *requestBody) checkTracking() error {
	switch t := b.Tracking; {
	case t == nil:
		return nil
	case len(text(t.ExtraData)) > maxExtraData:
		return bad("tracking.extraData may have 65536 bytes at most")
	case len(text(t.OperationID)) > maxOperationID:
		return bad("tracking.operationId may have 1024 bytes at most")
	}
	return nil
}
