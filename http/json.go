package http

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// JSON of requests is decoded here and not by reflection, for what encoding/json does not refuse: unknown
// names behind known ones of another case, names given twice, bytes that are no UTF-8; and because a photo of
// megabytes should be decoded from base64 in place, not copied into a string first. encoding/json validates
// the syntax; below that, values are only cut apart.

// member is a name that an object may have and what takes its value.
type member struct {
	name string
	take func(value []byte, at string) error
}

// object is members of an object at one place in the body, and the pointer of each, so that they need not be made of every request.
type object struct {
	members []member
	at      []string
}

func newObject(at string, members ...member) *object {
	o := &object{members: members}
	for _, m := range members {
		o.at = append(o.at, pointer(at, m.name))
	}
	return o
}

// decodeBody decodes a body that must be one JSON object of the given members.
func decodeBody(body []byte, members []member) error {
	return decodeWhole(body, &object{members: members})
}

// decodeWhole is decodeBody for an object that was made before.
func decodeWhole(body []byte, o *object) error {
	if !utf8.Valid(body) {
		return fail(codeBadJSON, "the body is not valid UTF-8")
	}
	if !validJSON(body) {
		return fail(codeBadJSON, "%s", syntaxDetail(body))
	}
	return o.decode(bytes.Trim(body, jsonSpace), "")
}

const jsonSpace = " \t\r\n"

// longString is from how many bytes on it pays to look at a string by itself.
const longString = 64

// validJSON is json.Valid, which goes over a body byte by byte: of a photo or a template that takes longer than all else that is done
// with the request here. What stands between quotes is valid if it has neither a backslash nor a control character, which is
// found out eight bytes at a time; so such strings, if long, are left out of what json.Valid sees.
func validJSON(body []byte) bool {
	var buf [1 << 10]byte
	outline, rest := buf[:0], body
	for {
		i := bytes.IndexByte(rest, '"')
		if i < 0 {
			break
		}
		n := stringLen(rest[i:])
		if n < 0 {
			break // it does not end
		}
		if s := rest[i+1 : i+n-1]; len(s) >= longString && isPlain(s) {
			outline = append(append(outline, rest[:i+1]...), '"')
		} else {
			outline = append(outline, rest[:i+n]...)
		}
		rest = rest[i+n:]
	}
	return json.Valid(append(outline, rest...))
}

// isPlain reports whether s means itself between the quotes of a JSON string.
func isPlain(s []byte) bool {
	if bytes.IndexByte(s, '\\') >= 0 {
		return false
	}
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(s) >= 8 {
		x := binary.LittleEndian.Uint64(s)
		if (x-0x20*ones)&^x&highs != 0 { // a byte below 0x20 (Hacker's Delight, 6-1); a borrow comes from such a byte only
			return false
		}
		s = s[8:]
	}
	return !slices.ContainsFunc(s, func(c byte) bool { return c < 0x20 })
}

// syntaxDetail says where body ceases to be JSON, without repeating it.
func syntaxDetail(body []byte) string {
	var v json.RawMessage
	err := json.Unmarshal(body, &v)
	if len(bytes.Trim(body, jsonSpace)) == 0 {
		return "the body is empty; a JSON object is expected"
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("the body is not one JSON value: at byte %d: %s", s.Offset, strings.TrimPrefix(s.Error(), "json: "))
	}
	return "the body is not one JSON value"
}

// decodeObject gives each value of the object raw to its member. REQUIRES: raw is valid JSON, trimmed.
func decodeObject(raw []byte, at string, members []member) error {
	return (&object{members: members}).decode(raw, at)
}

// decode is decodeObject. REQUIRES: at is the object's own, if it has one.
func (o *object) decode(raw []byte, at string) error {
	if raw[0] != '{' {
		return wrongType(raw, at, "an object")
	}
	var seen uint64 // by index of members, which are few
	return eachMember(raw, func(name, value []byte) error {
		i := slices.IndexFunc(o.members, func(m member) bool { return m.name == string(name) })
		if i < 0 {
			return unknownMember(at, string(name), o.members)
		}
		if seen&(1<<i) != 0 {
			return fail(codeBadJSON, "%q is given twice", o.pointer(at, i))
		}
		seen |= 1 << i
		return o.members[i].take(value, o.pointer(at, i))
	})
}

func (o *object) pointer(at string, i int) string {
	if o.at != nil {
		return o.at[i]
	}
	return pointer(at, o.members[i].name)
}

func unknownMember(at, name string, members []member) error {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.name
	}
	return fail(codeBadJSON, "unknown field %q; known here: %s", pointer(at, clip(name)), strings.Join(names, ", "))
}

// eachMember calls f with each name and trimmed value of an object, neither of which outlives the call. REQUIRES: raw is a
// valid JSON object.
func eachMember(raw []byte, f func(name, value []byte) error) error {
	rest := trimSpace(raw[1:])
	for rest[0] != '}' {
		n := valueLen(rest)
		name, err := unquote(rest[:n])
		if err != nil {
			return err
		}
		rest = trimSpace(rest[n:])
		rest = trimSpace(rest[1:]) // the colon
		n = valueLen(rest)
		if err := f(name, rest[:n]); err != nil {
			return err
		}
		rest = afterComma(rest[n:])
	}
	return nil
}

// eachElement calls f with the index and each trimmed value of an array. REQUIRES: raw is a valid JSON array.
func eachElement(raw []byte, f func(i int, value []byte) error) error {
	rest := trimSpace(raw[1:])
	for i := 0; rest[0] != ']'; i++ {
		n := valueLen(rest)
		if err := f(i, rest[:n]); err != nil {
			return err
		}
		rest = afterComma(rest[n:])
	}
	return nil
}

// trimSpace cuts spaces off the head: bytes.TrimLeft makes a set of them first.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

func afterComma(b []byte) []byte {
	b = trimSpace(b)
	if b[0] == ',' {
		b = trimSpace(b[1:])
	}
	return b
}

// valueLen returns the length of the value at the head of b. REQUIRES: b begins with a valid JSON value.
func valueLen(b []byte) int {
	depth, i := 0, 0
	for {
		switch b[i] {
		case '"':
			i += stringLen(b[i:])
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\r', '\n':
			i++
			continue
		default: // a number, true, false or null ends before a delimiter
			n := bytes.IndexAny(b[i:], ",]} \t\r\n")
			if n < 0 {
				return len(b)
			}
			i += n
		}
		if depth == 0 {
			return i
		}
	}
}

// stringLen returns the length of the string at the head of b, its quotes included, -1 if it does not end.
func stringLen(b []byte) int {
	i := 1
	for {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return -1
		}
		i += n
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		i++
		if slashes%2 == 0 {
			return i
		}
	}
}

// unquote returns the bytes of a JSON string: within raw if it holds no escape, else a copy.
func unquote(raw []byte) ([]byte, error) {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner, nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fail(codeBadJSON, "a string is not readable")
	}
	return []byte(s), nil
}

// escapePointer escapes a name for a JSON pointer (RFC 6901).
var escapePointer = strings.NewReplacer("~", "~0", "/", "~1")

// pointer appends a name to a JSON pointer.
func pointer(at, name string) string { return at + "/" + escapePointer.Replace(name) }

// clip shortens what a client sent before a detail repeats it.
func clip(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "…"
}

func wrongType(raw []byte, at, want string) error {
	got := "a number"
	switch raw[0] {
	case '{':
		got = "an object"
	case '[':
		got = "an array"
	case '"':
		got = "a string"
	case 't', 'f':
		got = "a boolean"
	case 'n':
		got = "null"
	}
	if at == "" {
		return fail(codeBadJSON, "the body must be %s, not %s", want, got)
	}
	return fail(codeBadJSON, "%q must be %s, not %s", at, want, got)
}

// maxText bounds strings that are names and labels: they come back in answers.
const maxText = 256

func takeString(dst *string) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] != '"' {
			return wrongType(raw, at, "a string")
		}
		s, err := unquote(raw)
		if err == nil && len(s) > maxText {
			return fail(codeBadRequest, "%q has %d bytes; %d are allowed", at, len(s), maxText)
		}
		*dst = string(s)
		return err
	}
}

// takeStrings takes an array of 1 to most strings.
func takeStrings(dst *[]string, most int) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] != '[' {
			return wrongType(raw, at, "an array of strings")
		}
		list := []string{}
		err := eachElement(raw, func(i int, value []byte) error {
			if i >= most {
				return fail(codeBadRequest, "%q has more than %d elements", at, most)
			}
			list = append(list, "")
			return takeString(&list[i])(value, pointer(at, strconv.Itoa(i)))
		})
		if err == nil && len(list) == 0 {
			return fail(codeBadRequest, "%q is empty: name one at least, or leave it out", at)
		}
		*dst = list
		return err
	}
}

// takeTime takes a time of RFC 3339.
func takeTime(dst *time.Time) func([]byte, string) error {
	return func(raw []byte, at string) (err error) {
		var s string
		if err := takeString(&s)(raw, at); err != nil {
			return err
		}
		if *dst, err = time.Parse(time.RFC3339, s); err != nil || dst.IsZero() {
			return fail(codeBadJSON, "%q must be a time as RFC 3339 has it: 2027-01-31T12:00:00Z", at)
		}
		return nil
	}
}

func takeBool(dst *bool) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] != 't' && raw[0] != 'f' {
			return wrongType(raw, at, "true or false")
		}
		*dst = raw[0] == 't'
		return nil
	}
}

func takeInt(dst *int, lo, hi int) func([]byte, string) error {
	return func(raw []byte, at string) error {
		n, err := strconv.Atoi(string(raw))
		if err != nil || n < lo || n > hi {
			return fail(codeBadJSON, "%q must be a whole number from %d to %d", at, lo, hi)
		}
		*dst = n
		return nil
	}
}

func takeFloat(dst **float64) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
			return wrongType(raw, at, "a number")
		}
		f, err := strconv.ParseFloat(string(raw), 64)
		if err != nil {
			return fail(codeBadJSON, "%q is out of range", at)
		}
		*dst = &f
		return nil
	}
}

// takeBytes decodes base64, with a data URL's prefix if it has one, over what dst has, or into new memory where that is too small.
func takeBytes(dst *[]byte) func([]byte, string) error {
	return func(raw []byte, at string) error {
		if raw[0] != '"' {
			return wrongType(raw, at, "a string of base64")
		}
		s, err := unquote(raw)
		if err != nil {
			return err
		}
		*dst, err = decodeBase64((*dst)[:0], s, at)
		return err
	}
}

var dataPrefix, base64Mark = []byte("data:"), []byte(";base64,")

// maxDataPrefix bounds the media type of a data URL.
const maxDataPrefix = 128

var strictBase64 = base64.StdEncoding.Strict()

// decodeBase64 appends what s is base64 of to dst.
func decodeBase64(dst, s []byte, at string) ([]byte, error) {
	if bytes.HasPrefix(s, dataPrefix) {
		i := bytes.Index(s[:min(len(s), maxDataPrefix)], base64Mark)
		if i < 0 {
			return nil, fail(codeBadBase64, "%q begins as a data URL but is none of base64: data:image/jpeg;base64,…", at)
		}
		s = s[i+len(base64Mark):]
	}
	if len(s) == 0 {
		return nil, fail(codeBadBase64, "%q is empty", at)
	}
	// The decoder skips line breaks, RFC 4648 does not.
	for _, c := range []byte("\r\n") {
		if i := bytes.IndexByte(s, c); i >= 0 {
			return nil, badBase64(at, i)
		}
	}
	dst, err := strictBase64.AppendDecode(dst, s)
	if corrupt, ok := errors.AsType[base64.CorruptInputError](err); ok {
		return nil, badBase64(at, int(corrupt))
	}
	return dst, err
}

func badBase64(at string, i int) error {
	return fail(codeBadBase64, "%q is not base64 from character %d on: use the standard alphabet (A-Z a-z 0-9 + /) "+
		"with = padding and no line breaks", at, i+1)
}
