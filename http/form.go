package http

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxParts bounds the parts of a multipart form; no operation knows half as many fields.
const maxParts = 32

// field is one thing that an operation takes, in each of the ways that a request may carry it. A form is a
// list of fields; it is the same for JSON, for multipart and for a raw image with options in the query, so
// that an option can't be known to one of them only.
type field struct {
	name string
	// json takes the member of that name; nil: there is none. It keeps nothing of the value, whose memory is used again.
	json func(value []byte, at string) error
	// text takes a multipart field without a file, or a query parameter of a raw body; nil: there is none.
	text func(value, at string) error
	// noQuery keeps the text out of queries, which proxies write to their logs.
	noQuery bool
	// file takes a multipart part or, of the first field that has it, a raw body; nil: there is none.
	// It keeps within the body it is given.
	file func(data []byte, at string) error
	// frame takes a body of frameType, as json does; nil: there is none.
	frame func(data []byte, at string) error
	// repeat is how often the file may come; 0 is once.
	repeat int
}

// operationForm is the fields of an operation, and what is made of them: one that serves many requests makes it once.
type operationForm struct {
	fields     []field
	json       *object // of the fields; nil: not made yet
	takesFiles bool
}

func newForm(fields []field) *operationForm {
	return &operationForm{fields: fields, takesFiles: slices.ContainsFunc(fields, func(f field) bool { return f.file != nil })}
}

// object is the fields in JSON.
func (f *operationForm) object() *object {
	if f.json == nil {
		var members []member
		for _, x := range f.fields {
			if x.json != nil {
				members = append(members, member{x.name, x.json})
			}
		}
		f.json = newObject("", members...)
	}
	return f.json
}

// decode fills the fields from the request, by its Content-Type. Errors: problems unsupported_media_type,
// bad_json, bad_multipart, bad_request and those of the fields.
func (r *request) decode(fields []field) error { return r.decodeForm(newForm(fields)) }

func (r *request) decodeForm(f *operationForm) error {
	body, err := r.readBody()
	if err != nil {
		return err
	}
	if len(body) == 0 && r.contentType == "" {
		return fail(codeBadRequest, "a body is needed: application/json, multipart/form-data or an image")
	}
	media, params, err := parseMediaType(r.contentType)
	switch {
	case err != nil:
		return unsupported(r.contentType, f.takesFiles)
	case media == mediaJSON:
		defer freeBody(body)
		return r.decodeJSON(body, f)
	case media == frameType:
		defer freeBody(body)
		return r.decodeFrame(body, f.fields)
	case !f.takesFiles:
		return unsupported(r.contentType, f.takesFiles)
	case media == "multipart/form-data":
		if err := r.noQuery(); err != nil {
			return err
		}
		return decodeMultipart(body, params["boundary"], f.fields)
	case media == "application/octet-stream" || strings.HasPrefix(media, "image/"):
		return r.decodeRaw(body, f.fields)
	}
	return unsupported(r.contentType, f.takesFiles)
}

const mediaJSON = "application/json"

// parseMediaType is mime.ParseMediaType, which makes a map of what most requests have none of.
func parseMediaType(s string) (media string, params map[string]string, err error) {
	if s == mediaJSON || s == frameType {
		return s, nil, nil
	}
	return mime.ParseMediaType(s)
}

func unsupported(contentType string, takesFiles bool) error {
	if !takesFiles {
		return fail(codeUnsupported, "Content-Type %q is not understood here; send application/json", clip(contentType))
	}
	return fail(codeUnsupported, "Content-Type %q is not understood here; send application/json, multipart/form-data, "+
		"image/*, application/octet-stream or "+frameType, clip(contentType))
}

func (r *request) decodeJSON(body []byte, f *operationForm) error {
	if err := r.noQuery(); err != nil {
		return err
	}
	return decodeWhole(body, f.object())
}

// decodeRaw takes the body for the first file of the form, and the query for its options.
func (r *request) decodeRaw(body []byte, fields []field) error {
	i := slices.IndexFunc(fields, func(f field) bool { return f.file != nil })
	if !fields[i].rawBody() {
		return fail(codeUnsupported, "one image is not enough here; send application/json or multipart/form-data")
	}
	if len(body) == 0 {
		return fail(codeBadRequest, "the body is empty; an image is expected")
	}
	if err := r.eachQuery(fields); err != nil {
		return err
	}
	return fields[i].file(body, "body")
}

// rawBody reports whether the file may be a request's whole body: compare has two, and neither is the one.
func (f field) rawBody() bool { return f.name == "image" }

// inQuery reports whether the field may be in a query.
func (f field) inQuery() bool { return f.text != nil && !f.noQuery }

// noQuery refuses query parameters where the body carries the options.
func (r *request) noQuery() error {
	if r.query == "" {
		return nil
	}
	return fail(codeBadRequest, "query parameters go with a raw image body or a GET only; put the options into the body")
}

// eachQuery gives each parameter of the query to its field's text. Unknown and repeated ones are refused.
func (r *request) eachQuery(fields []field) error {
	if r.query == "" {
		return nil
	}
	var seen []string
	for pair := range strings.SplitSeq(r.query, "&") {
		if pair == "" {
			continue
		}
		k, v, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(v)
		if err1 != nil || err2 != nil || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return fail(codeBadRequest, "the query has a wrong percent escape")
		}
		if slices.Contains(seen, name) {
			return fail(codeBadRequest, "query parameter %q is given twice", clip(name))
		}
		seen = append(seen, name)
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name && f.inQuery() })
		if i < 0 {
			known := slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return !f.inQuery() })
			return fail(codeBadRequest, "unknown query parameter %q; known here: %s", clip(name), names(known))
		}
		if err := fields[i].text(value, name); err != nil {
			return err
		}
	}
	return nil
}

func names(fields []field) string {
	if len(fields) == 0 {
		return "none"
	}
	var b []string
	for _, f := range fields {
		if !slices.Contains(b, f.name) {
			b = append(b, f.name)
		}
	}
	return strings.Join(b, ", ")
}

// decodeMultipart takes the parts of a multipart/form-data body (RFC 7578).
func decodeMultipart(body []byte, boundary string, fields []field) error {
	if boundary == "" || len(boundary) > 70 {
		return fail(codeBadMultipart, "the Content-Type names no boundary of 1 to 70 characters; let the client make it")
	}
	form := slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return f.text == nil && f.file == nil })
	count := map[string]int{}
	if !bytes.Contains(body, []byte("--"+boundary+"--")) { // the reader would take a form cut in a part's header for its end
		return fail(codeBadMultipart, "the form is cut short: its last boundary is missing")
	}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for range maxParts {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fail(codeBadMultipart, "part %d can't be read: the form is cut short or its boundary is another", total(count)+1)
		}
		if err := takePart(part, form, count); err != nil {
			return err
		}
	}
	return fail(codeBadMultipart, "a form has at most %d parts", maxParts)
}

func total(count map[string]int) int {
	n := 0
	for _, c := range count {
		n += c
	}
	return n
}

func takePart(part *multipart.Part, form []field, count map[string]int) error {
	name := part.FormName()
	i := slices.IndexFunc(form, func(f field) bool { return f.name == name })
	if i < 0 {
		return fail(codeBadMultipart, "unknown form field %q; known here: %s", clip(name), names(form))
	}
	f := form[i]
	n := count[name]
	count[name]++
	if n >= max(f.repeat, 1) {
		return fail(codeBadMultipart, "form field %q comes more than %d times", name, max(f.repeat, 1))
	}
	switch strings.ToLower(part.Header.Get("Content-Transfer-Encoding")) {
	case "", "binary", "8bit", "7bit":
	default:
		return fail(codeBadMultipart, "form field %q has a Content-Transfer-Encoding; RFC 7578 has none, send the bytes as they are", name)
	}
	data, err := io.ReadAll(part)
	if err != nil {
		return fail(codeBadMultipart, "form field %q ends too early", name)
	}
	at := name
	if f.repeat > 1 {
		at = fmt.Sprintf("%s[%d]", name, n)
	}
	return f.takePart(data, at)
}

func (f field) takePart(data []byte, at string) error {
	if f.file != nil {
		if len(data) == 0 {
			return fail(codeBadMultipart, "form field %q is empty; an image is expected", at)
		}
		return f.file(data, at)
	}
	if !utf8.Valid(data) {
		return fail(codeBadMultipart, "form field %q is not valid UTF-8", at)
	}
	return f.text(string(data), at)
}

// Texts of options: the same checks as of their JSON, by its own takers.

func textInt(dst *int, lo, hi int) func(string, string) error {
	return func(s, at string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < lo || n > hi {
			return fail(codeBadRequest, "%q must be a whole number from %d to %d", at, lo, hi)
		}
		*dst = n
		return nil
	}
}

func textFloat(dst **float64) func(string, string) error {
	return func(s, at string) error {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fail(codeBadRequest, "%q must be a number", at)
		}
		*dst = &f
		return nil
	}
}

func textBool(dst *bool) func(string, string) error {
	return func(s, at string) error {
		if s != "true" && s != "false" {
			return fail(codeBadRequest, "%q must be true or false", at)
		}
		*dst = s == "true"
		return nil
	}
}

func textJSONObject(dst *json.RawMessage) func(string, string) error {
	return func(s, at string) error {
		raw := bytes.Trim([]byte(s), jsonSpace)
		if !json.Valid(raw) {
			return fail(codeBadJSON, "%q must be a JSON object: %s", at, syntaxDetail(raw))
		}
		return takeObject(dst)(raw, at)
	}
}

// takeObject copies an object as it is, for it outlives the body.
func takeObject(dst *json.RawMessage) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] != '{' {
			return wrongType(raw, at, "an object")
		}
		*dst = bytes.Clone(raw)
		return nil
	}
}
