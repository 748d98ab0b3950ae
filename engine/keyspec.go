package engine

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// KeySpec is what a new API key may do. Operator keys may make keys for every tenant; they must be admins, of all galleries.
type KeySpec struct {
	Role     Role
	Label    string // for people; up to MaxLabelBytes
	Operator bool
	// Galleries binds the key to those that are named, each by its whole name or by what it begins with and a *; nil: all of the
	// tenant, those to come included. Up to MaxKeyGalleries. A key that is bound learns nothing of other galleries, whether they are
	// there included.
	Galleries []string
	Expires   time.Time // from when on it is useless, to the second; zero: never
	// Rate is how many requests a second the key may make on average, up to MaxKeyRate, and Burst how many at once, which is a
	// second's where it is 0. Rate 0 leaves both to the server's default.
	Rate   float64
	Burst  int
	Scores Scores // "" is ScoresExact
	// Dialect is the API of another vendor that a key of the role client, and no other, is for: it must name one. Such a key is
	// bound to one gallery, by its whole name.
	Dialect string
}

// burst is Burst or its default; 0 where there is no rate.
func (s KeySpec) burst() int {
	if s.Rate == 0 {
		return 0
	}
	return cmp.Or(s.Burst, max(int(math.Ceil(s.Rate)), 1))
}

// Errors: ErrKeySpec.
func (s KeySpec) validate() error {
	if !slices.Contains([]Role{RoleAdmin, RoleEnroller, RoleMatcher, RoleAuditor, RoleClient}, s.Role) {
		return refuse(ErrKeySpec, "role %q is unknown: use admin, enroller, matcher, auditor or client", s.Role)
	}
	if s.Operator && (s.Role != RoleAdmin || s.Galleries != nil) {
		return refuse(ErrKeySpec, "an operator's key must have the role admin, and can't be bound to galleries")
	}
	if len(s.Label) > MaxLabelBytes || !utf8.ValidString(s.Label) || strings.ContainsFunc(s.Label, unicode.IsControl) {
		return refuse(ErrKeySpec, "the label is not acceptable: use up to %d bytes of UTF-8 without control characters", MaxLabelBytes)
	}
	if !slices.Contains([]Scores{"", ScoresExact, ScoresRounded, ScoresDecision}, s.Scores) {
		return refuse(ErrKeySpec, "scores %q is unknown: use exact, rounded or decision", s.Scores)
	}
	return cmp.Or(s.validateRate(), s.validateGalleries(), s.validateClient())
}

func (s KeySpec) validateClient() error {
	switch {
	case (s.Role == RoleClient) != (s.Dialect != ""):
		return refuse(ErrKeySpec, "a dialect goes with the role client, and the role client with a dialect: name both or neither")
	case s.Dialect != "" && checkName("dialect", s.Dialect) != nil:
		return refuse(ErrKeySpec, "the dialect is unknown: use the name of one that the server speaks")
	case s.Role == RoleClient && (len(s.Galleries) != 1 || strings.HasSuffix(s.Galleries[0], "*")):
		return refuse(ErrKeySpec, "a client's key is bound to one gallery: name it in galleries, whole")
	}
	return nil
}

func (s KeySpec) validateRate() error {
	if !(s.Rate >= 0 && s.Rate <= MaxKeyRate) || s.Rate > 0 && s.Rate < 1e-6 || s.Burst < 0 || s.Burst > MaxKeyRate || s.Burst > 0 && s.Rate == 0 {
		return refuse(ErrKeySpec, "the rate must be from 0.000001 to %d requests a second, and the burst, which goes with a rate, from 1 to %d", int(MaxKeyRate), int(MaxKeyRate))
	}
	return nil
}

func (s KeySpec) validateGalleries() error {
	if s.Galleries != nil && len(s.Galleries) == 0 || len(s.Galleries) > MaxKeyGalleries {
		return refuse(ErrKeySpec, "the key is bound to %d galleries: name from 1 to %d, or leave them out for all", len(s.Galleries), MaxKeyGalleries)
	}
	for _, p := range s.Galleries {
		if checkName("gallery", strings.TrimSuffix(p, "*")) != nil {
			return refuse(ErrKeySpec, "a key is bound to galleries by their names, or by how they begin and a *, as in staff or door-*; for all leave galleries out")
		}
	}
	return nil
}

// sortedSet is a copy in order, each once; nil of nothing.
func sortedSet(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	set := slices.Clone(list)
	slices.Sort(set)
	return slices.Compact(set)
}

// spec is what would make a key of these rights.
func (r *keyRecord) spec() KeySpec {
	return KeySpec{Role: Role(r.Role), Label: r.Label, Operator: r.Operator, Galleries: r.Galleries, Expires: r.Expires, Rate: r.Rate,
		Burst: r.Burst, Scores: Scores(r.Scores), Dialect: r.Dialect}
}

// MayUse reports whether the key is for this gallery of its tenant, which need not be there. It allocates nothing.
func (k Key) MayUse(gallery string) bool {
	return len(k.Galleries) == 0 || covered(k.Galleries, gallery)
}

// covered reports whether one of the patterns is for all that a name, or another pattern, is for.
func covered(patterns []string, name string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); p == name || ok && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// MaySee reports whether the holder of the key, an administrator or auditor, may know of another key: one of its own tenant, or
// any if it is an operator's, and for none but its own galleries.
func (k Key) MaySee(other Key) bool {
	return k.Operator || other.Tenant == k.Tenant && k.bounds(other.Galleries)
}

// MayManage reports whether the holder of the key, an administrator, may rotate and revoke a key that it may see: an operator's
// only as an operator.
func (k Key) MayManage(other Key) bool { return k.MaySee(other) && (k.Operator || !other.Operator) }

// bounds reports whether the key is for all galleries that the patterns are for.
func (k Key) bounds(patterns []string) bool {
	return len(k.Galleries) == 0 || len(patterns) > 0 && !slices.ContainsFunc(patterns, func(p string) bool { return !covered(k.Galleries, p) })
}

// MayMake refuses what a key, an administrator's, may not make: a key that may do more than itself, in galleries, time, rate or
// scores. Roles are not compared: an administrator has them all. Errors: ErrKeyNarrow.
func (k Key) MayMake(s KeySpec) error {
	switch {
	case s.Operator && !k.Operator:
		return refuse(ErrKeyNarrow, "only an operator's key may make another operator's key")
	case !k.bounds(s.Galleries):
		return refuse(ErrKeyNarrow, "this key is bound to galleries and may make keys for those only: name them in galleries")
	case !k.Expires.IsZero() && (s.Expires.IsZero() || s.Expires.After(k.Expires)):
		return refuse(ErrKeyNarrow, "this key expires at %s and may make keys that expire no later: say so in expires", k.Expires.Format(time.RFC3339))
	case k.Rate > 0 && (s.Rate == 0 || s.Rate > k.Rate || s.burst() > k.Burst):
		return refuse(ErrKeyNarrow, "this key may make %v requests a second, %d at once, and keys that may make no more: say so in rate", k.Rate, k.Burst)
	case s.Scores.exactness() > k.Scores.exactness():
		return refuse(ErrKeyNarrow, "this key's scores are %s, and it may make keys with no more exact ones: say so in scores", k.Scores)
	}
	return nil
}

// MayRotate refuses what MayMake would, had the key to make the successor of another. Errors: ErrKeyNarrow.
func (k Key) MayRotate(other Key) error {
	return k.MayMake(KeySpec{Role: other.Role, Operator: other.Operator, Galleries: other.Galleries, Expires: k.Expires, Rate: other.Rate, Burst: other.Burst,
		Scores: other.Scores})
}

// exactness orders scores; what is none of them, which no key gets, is last.
func (s Scores) exactness() int {
	return slices.Index([]Scores{ScoresDecision, ScoresRounded, ScoresExact}, cmp.Or(s, ScoresExact))
}
