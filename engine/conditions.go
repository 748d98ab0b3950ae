package engine

import "slices"

// check refuses a write that its options don't allow, as the store will be; there says that the person must be there. Errors:
// ErrPersonNotFound, ErrVersion.
func (p *personTx) check(o WriteOptions, there bool) error {
	known := p.old
	if !p.there() {
		known = nil // who is due is not there
	}
	if there && known == nil {
		return errPersonNotFound // whatever the condition is (RFC 9110, 13.2.1)
	}
	return o.If.holds(known)
}

// holds decides about a person as the store will have it, nil if there is none. Errors: ErrVersion.
func (c Condition) holds(r *personRecord) error {
	switch {
	case c.Absent && r != nil:
		return refuse(ErrVersion, "a person of this id is there, in version %d, and the request asked for a new one: use another id, or replace the person", r.version)
	case r == nil && (c.There || c.Versions != nil):
		return refuse(ErrVersion, "there is no person of this id any more: enrol anew, without a version")
	case c.Versions != nil && !slices.Contains(c.Versions, r.version):
		return refuse(ErrVersion, "the person was changed meanwhile and is in version %d: read the person, make the change to that, and send it with the new version", r.version)
	}
	return nil
}
