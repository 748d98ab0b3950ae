package http

import (
	"net/url"
	"slices"
	"strings"
)

// maxSegments bounds the path: no route is longer.
const maxSegments = 8

// router finds the route of a raw path. It works on the path as sent and unescapes each segment alone, so
// that a person's id may hold a slash as %2F; literal segments match only unescaped.
type router struct {
	routes [maxSegments + 1][]*route // by the number of segments
}

func newRouter(table []route) *router {
	r := &router{}
	for _, t := range table {
		t.segments = strings.Split(t.pattern[1:], "/")
		n := len(t.segments)
		r.routes[n] = append(r.routes[n], &t)
	}
	return r
}

// find returns the route of method and rawPath with its unescaped path parameters, in order, appended to params.
// Errors: problems route_not_found, method_not_allowed, bad_id.
func (r *router) find(method, rawPath string, params []string) (*route, []string, error) {
	var room [maxSegments]string
	segments, ok := appendSegments(room[:0], rawPath)
	if !ok {
		return nil, nil, notFound(rawPath)
	}
	var allowed []*route
	for _, rt := range r.routes[len(segments)] {
		if !rt.matches(segments) {
			continue
		}
		if rt.method == method || (method == "HEAD" && rt.method == "GET") {
			params, err := rt.params(params, segments)
			return rt, params, err
		}
		allowed = append(allowed, rt)
	}
	if len(allowed) == 0 {
		return nil, nil, notFound(rawPath)
	}
	return nil, nil, notAllowed(method, allowed)
}

// appendSegments cuts a path behind its first slash. It has no more than cap(dst) segments, or ok is false.
func appendSegments(dst []string, rawPath string) (_ []string, ok bool) {
	_, rest, more := strings.Cut(rawPath, "/")
	for more {
		if len(dst) == cap(dst) {
			return nil, false
		}
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		dst = append(dst, segment)
	}
	return dst, true
}

// matches REQUIRES: as many segments as the route's.
func (rt *route) matches(segments []string) bool {
	for i, s := range rt.segments {
		if strings.HasPrefix(s, "{") {
			if segments[i] == "" {
				return false
			}
		} else if s != segments[i] {
			return false
		}
	}
	return true
}

func (rt *route) params(params, segments []string) ([]string, error) {
	for i, s := range rt.segments {
		if !strings.HasPrefix(s, "{") {
			continue
		}
		p, err := url.PathUnescape(segments[i])
		if err != nil {
			return nil, fail(codeBadID, "the %s in the path has a wrong percent escape; encode it byte by byte as %%XX",
				strings.Trim(s, "{}"))
		}
		params = append(params, p)
	}
	return params, nil
}

func notFound(rawPath string) error {
	if len(rawPath) > 1 && strings.HasSuffix(rawPath, "/") {
		return fail(codeRouteNotFound, "no route ends in a slash: leave it out, or percent-encode the id that is missing; "+
			"GET /openapi.json lists the routes")
	}
	return fail(codeRouteNotFound, "no route has this path; a slash within an id is sent as %%2F; "+
		"GET /openapi.json lists the routes")
}

func notAllowed(method string, routes []*route) error {
	var methods []string
	for _, rt := range routes {
		methods = append(methods, rt.method)
		if rt.method == "GET" {
			methods = append(methods, "HEAD")
		}
	}
	methods = append(methods, "OPTIONS")
	slices.Sort(methods)
	p := fail(codeMethodNotAllowed, "%.20s is not allowed here; these are: %s", method, strings.Join(methods, ", "))
	p.allow = strings.Join(methods, ", ")
	return p
}
