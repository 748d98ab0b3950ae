package dialect

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"mien/engine"
)

// Errors of what clients send.
var (
	// ErrContentType says that the body is stated to be something else than JSON.
	ErrContentType = errors.New("dialect: the content type is not application/json")
	// ErrJSON says that a body is no JSON object. See FieldError for one of its fields.
	ErrJSON = errors.New("dialect: the body is not a JSON object")
	// ErrBase64 says that a text is not base64, with or without a data: prefix.
	ErrBase64 = errors.New("dialect: not base64")
)

// FieldError is a field of a JSON object that is missing, or of another type or form than is documented.
type FieldError struct {
	Field string
	Want  string // "a string", "base64 of an image"
}

func (e *FieldError) Error() string { return fmt.Sprintf("the field %q must be %s", e.Field, e.Want) }

// Unwrap returns ErrJSON.
func (e *FieldError) Unwrap() error { return ErrJSON }

// DecodeJSON decodes the call's body into v, a pointer to a struct with pointers to what must be told from what is not there. Fields
// that v does not have, or has in another case, are ignored, as vendors' APIs do, and so are null ones; one that is there twice is refused. Errors: ErrContentType, ErrJSON, *FieldError, the server's.
func (c *Call) DecodeJSON(v any) error {
	body, err := c.Body()
	if err != nil {
		return err
	}
	if t := c.Header("Content-Type"); t != "" {
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" {
			return ErrContentType
		}
	}
	return decodeJSON(body, v)
}

func decodeJSON(body []byte, v any) error {
	if body = bytes.TrimSpace(body); len(body) == 0 || body[0] != '{' || !utf8.Valid(body) || !json.Valid(body) {
		return ErrJSON
	}
	return decodeInto(body, reflect.ValueOf(v).Elem(), "")
}

// decodeInto decodes an object into a struct by the names of its fields as they are written, which encoding/json does not: there a name
// in another case is as good, and of a name that is there twice the last counts. Errors: ErrJSON, also for a name twice, *FieldError.
func decodeInto(raw []byte, v reflect.Value, at string) error {
	members, err := membersOf(raw)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		value, there := members[name]
		if !there || string(value) == "null" {
			continue
		}
		err = cmp.Or(err, decodeValue(value, v.Field(i), at+name)) // the others are there for who words the refusal
	}
	return err
}

// decodeValue decodes one field's value. Errors: see decodeInto.
func decodeValue(raw []byte, v reflect.Value, at string) error {
	if v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct {
		if raw[0] != '{' {
			return &FieldError{at, "an object"}
		}
		v.Set(reflect.New(v.Type().Elem()))
		return decodeInto(raw, v.Elem(), at+".")
	}
	err := json.Unmarshal(raw, v.Addr().Interface())
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &FieldError{at, article(e.Type.Kind().String())}
	}
	if err != nil {
		return ErrJSON
	}
	return nil
}

// membersOf are an object's, by their names. REQUIRES: raw is valid JSON. Errors: ErrJSON, for a name that is there twice.
func membersOf(raw []byte) (map[string]json.RawMessage, error) {
	d, members := json.NewDecoder(bytes.NewReader(raw)), make(map[string]json.RawMessage)
	if _, err := d.Token(); err != nil { // the brace
		return nil, ErrJSON
	}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if _, twice := members[name]; err != nil || !ok || twice {
			return nil, ErrJSON
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, ErrJSON
		}
		members[name] = value
	}
	return members, nil
}

// article names a kind of Go's for people.
func article(kind string) string {
	switch {
	case kind == "bool":
		return "a boolean"
	case kind == "string":
		return "a string"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "float"), strings.HasPrefix(kind, "uint"):
		return "a number"
	}
	return "an object"
}

// BadRequest refuses what a request of a route with Roles says.
func BadRequest(format string, args ...any) error {
	return &Refusal{"bad_request", fmt.Sprintf(format, args...)}
}

// Set sets dst to what a request says; nil says nothing.
func Set[T any](dst, v *T) {
	if v != nil {
		*dst = *v
	}
}

// NoQuery refuses a query, for routes with Roles that take none. Errors: *Refusal.
func (c *Call) NoQuery() error {
	if _, query, _ := strings.Cut(c.Target, "?"); query != "" {
		return BadRequest("no query is understood here")
	}
	return nil
}

// ErrCursor refuses a cursor that no list has answered.
var ErrCursor = &Refusal{"bad_cursor", `the cursor is not one this server gave: pass "next" of the page before, unchanged, or none`}

// Page reads the query of a list that a route with Roles answers: limit is from 1 to engine.MaxListLimit, the cursor as it was sent, "" for
// none. Errors: *Refusal.
func (c *Call) Page() (limit int, cursor string, err error) {
	_, query, _ := strings.Cut(c.Target, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		return 0, "", BadRequest("the query has a wrong percent escape")
	}
	for name, list := range values {
		switch {
		case name != "limit" && name != "cursor":
			return 0, "", BadRequest("unknown query parameter %.64q; known here: limit, cursor", name)
		case len(list) > 1:
			return 0, "", BadRequest("query parameter %q is given twice", name)
		}
	}
	limit = engine.DefaultListLimit
	if v := values.Get("limit"); v != "" {
		if limit, err = strconv.Atoi(v); err != nil || limit < 1 || limit > engine.MaxListLimit {
			return 0, "", BadRequest("\"limit\" must be a whole number from 1 to %d", engine.MaxListLimit)
		}
	}
	return limit, values.Get("cursor"), nil
}

// DecodeNative is DecodeJSON for routes with Roles, which take no query: as the native API has it, a field that v does not have is
// refused. Errors: *Refusal, those of DecodeJSON.
func (c *Call) DecodeNative(v any) error {
	if err := c.NoQuery(); err != nil {
		return err
	}
	if err := c.DecodeJSON(v); err != nil {
		return err
	}
	return c.refuseUnknown(v)
}

func (c *Call) refuseUnknown(v any) error {
	body, err := c.Body()
	if err != nil {
		return err
	}
	if !known(body, reflect.TypeOf(v).Elem()) {
		return &Refusal{"bad_json", "the body has a field that is not known here; GET /openapi.json has those that are"}
	}
	return nil
}

// known reports whether a struct has all fields of an object that was decoded into it.
func known(raw []byte, t reflect.Type) bool {
	members, _ := membersOf(raw)
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		value, there := members[name]
		if delete(members, name); !there || string(value) == "null" {
			continue
		}
		if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() == reflect.Struct && !known(value, f.Type.Elem()) {
			return false
		}
	}
	return len(members) == 0
}

// Unfold takes the prefix, as in data:image/jpeg;base64, and line breaks off a text that is to be base64. Errors: ErrBase64, for another prefix.
func Unfold(s string) (string, error) {
	if rest, ok := strings.CutPrefix(s, "data:"); ok {
		kind, data, found := strings.Cut(rest, ",")
		if !found || !strings.HasSuffix(kind, ";base64") {
			return "", ErrBase64
		}
		s = data
	}
	if strings.ContainsAny(s, "\r\n \t") {
		s = strings.NewReplacer("\r", "", "\n", "", " ", "", "\t", "").Replace(s)
	}
	return s, nil
}

// Base64 decodes base64 as clients send it: standard or URL-safe, with or without padding, with or without line breaks and a prefix
// as in data:image/jpeg;base64. Errors: ErrBase64, also for nothing.
func Base64(s string) ([]byte, error) {
	s, err := Unfold(s)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(s, "-_") {
		s = strings.NewReplacer("-", "+", "_", "/").Replace(s)
	}
	s = strings.TrimRight(s, "=")
	data, err := base64.RawStdEncoding.Strict().DecodeString(s)
	if err != nil || len(data) == 0 {
		return nil, ErrBase64
	}
	return data, nil
}
