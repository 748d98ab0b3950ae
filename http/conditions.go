package http

import (
	"bytes"
	"strconv"
	"strings"

	"mien/engine"
)

// conditions are the headers of a condition that an operation looks at (RFC 9110, 13.1). Every other one that comes with
// a write is refused.
var conditions = map[string][]string{
	"putGallery":   {"If-None-Match"},
	"putPerson":    {"If-Match", "If-None-Match"},
	"patchPerson":  {"If-Match"},
	"deletePerson": {"If-Match"},
	"erasePerson":  {"If-Match"},
	"addTemplate":  {"If-Match"},

	"decentralisedEnrol": {"If-None-Match"},
}

// etag is a person's entity tag: the version, which every write of the person counts up. It tells what clients write: the
// move of a gallery to another space changes none.
func etag(p engine.Person) string { return `"` + strconv.FormatUint(p.Version, 10) + `"` }

// condition is what the headers ask of the person that a write is about. Errors: the problem bad_request.
func (r *request) condition() (c engine.Condition, err error) {
	if c.Absent, err = r.ifNoneMatch(); err != nil {
		return c, err
	}
	rest := strings.Trim(string(bytes.Join(r.fc.Request.Header.PeekAll("If-Match"), []byte(","))), " \t,")
	if rest == "*" {
		c.There = true
		return c, nil
	}
	for rest != "" {
		var version uint64
		if version, rest, err = nextETag(rest); err != nil {
			return c, err
		}
		c.Versions = append(c.Versions, version)
	}
	if c.Absent && c.Versions != nil {
		return c, fail(codeBadRequest, "If-Match and If-None-Match contradict each other; send one of them")
	}
	return c, nil
}

// nextETag cuts the first entity tag off a list. One that no person's can be, as every weak one is here (If-Match compares
// strongly), is version 0, which nobody has.
func nextETag(list string) (version uint64, rest string, err error) {
	tag, weak := strings.CutPrefix(list, "W/")
	tag, opened := strings.CutPrefix(tag, `"`)
	tag, rest, closed := strings.Cut(tag, `"`)
	if rest = strings.TrimLeft(rest, " \t"); !opened || !closed || rest != "" && rest[0] != ',' {
		return 0, "", fail(codeBadRequest, `If-Match must be *, or the ETag of an answer with its quotation marks, as in "7"`)
	}
	rest = strings.TrimLeft(rest, " \t,")
	if version, err = strconv.ParseUint(tag, 10, 64); err != nil || weak || strconv.FormatUint(version, 10) != tag {
		return 0, rest, nil
	}
	return version, rest, nil
}

// ifNoneMatch reports whether the request is to be refused if its target is there (RFC 9110, 13.1.2).
func (r *request) ifNoneMatch() (bool, error) {
	switch v := string(r.fc.Request.Header.Peek("If-None-Match")); v {
	case "":
		return false, nil
	case "*":
		return true, nil
	}
	return false, fail(codeBadRequest, "If-None-Match may only be * with a write: it asks for a new one")
}
