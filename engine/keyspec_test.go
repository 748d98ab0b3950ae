package engine

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// clockedEngine has a clock that tests set.
func clockedEngine(t testing.TB) (*Engine, *time.Time) {
	now := time.Unix(1_000_000, 0).UTC()
	c := testConfig(vfs.NewMem())
	c.Now = func() time.Time { return now }
	return open(t, c), &now
}

func mustKey(t testing.TB, e *Engine, spec KeySpec) (Key, string) {
	t.Helper()
	k, token, err := e.CreateKey(t.Context(), "t", spec)
	if err != nil {
		t.Fatal(err)
	}
	return k, token
}

func TestKeySpecRefuses(t *testing.T) {
	e, now := clockedEngine(t)
	many := make([]string, MaxKeyGalleries+1)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	for name, bad := range map[string]KeySpec{
		"no role":            {},
		"galleries of none":  {Role: RoleMatcher, Galleries: []string{}},
		"all by star":        {Role: RoleMatcher, Galleries: []string{"*"}},
		"two stars":          {Role: RoleMatcher, Galleries: []string{"a**"}},
		"star within":        {Role: RoleMatcher, Galleries: []string{"a*b"}},
		"bad name":           {Role: RoleMatcher, Galleries: []string{"a b"}},
		"many galleries":     {Role: RoleMatcher, Galleries: many},
		"operator with some": {Role: RoleAdmin, Operator: true, Galleries: []string{"a"}},
		"negative rate":      {Role: RoleMatcher, Rate: -1},
		"rate too high":      {Role: RoleMatcher, Rate: MaxKeyRate + 1},
		"rate of nothing":    {Role: RoleMatcher, Rate: 1e-9},
		"burst without rate": {Role: RoleMatcher, Burst: 1},
		"negative burst":     {Role: RoleMatcher, Rate: 1, Burst: -1},
		"scores":             {Role: RoleMatcher, Scores: "some"},
		"past":               {Role: RoleMatcher, Expires: *now},
		"label":              {Role: RoleMatcher, Label: "a\x00"},
	} {
		if _, _, err := e.CreateKey(t.Context(), "t", bad); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			wantErr(t, err, ErrKeySpec)
		}
	}
	if keys, _ := e.Keys(t.Context(), "t"); len(keys) != 0 {
		t.Errorf("refused keys are there: %v", keys)
	}
}

// TestKeyExpires: at its second and no sooner, also after a restart; only who holds the secret is told.
func TestKeyExpires(t *testing.T) {
	e, now := clockedEngine(t)
	k, token := mustKey(t, e, KeySpec{Role: RoleMatcher, Expires: now.Add(10*time.Second + 500*time.Millisecond)})
	wantFormat(t, e, accessFormat)
	if !k.Expires.Equal(now.Add(10 * time.Second)) {
		t.Errorf("expires %v", k.Expires)
	}
	*now = now.Add(10*time.Second - 1)
	_, err := e.Authenticate(token)
	wantErr(t, err, nil)
	*now = now.Add(1)
	_, err = e.Authenticate(token)
	wantErr(t, err, ErrKeyExpired)
	wrong := token[:len(token)-1] + string(token[len(token)-1]^1)
	_, err = e.Authenticate(wrong)
	wantErr(t, err, ErrKeyUnknown)
}

// TestPlainKeysKeepTheFormat: only a key that may do less than its role makes the store one of format 8.
func TestPlainKeysKeepTheFormat(t *testing.T) {
	e, _ := clockedEngine(t)
	k, _ := mustKey(t, e, KeySpec{Role: RoleMatcher, Scores: ScoresExact, Label: "x"})
	if k.Scores != "" {
		t.Errorf("scores %q are stored", k.Scores)
	}
	wantFormat(t, e, auditFormat)
}

func TestRotateKey(t *testing.T) {
	e, now := clockedEngine(t)
	spec := KeySpec{Role: RoleMatcher, Label: "door", Galleries: []string{"b*", "a", "a"}, Expires: now.Add(100 * time.Hour), Rate: 2, Scores: ScoresDecision}
	old, token := mustKey(t, e, spec)
	if !slices.Equal(old.Galleries, []string{"a", "b*"}) || old.Burst != 2 {
		t.Errorf("%+v", old)
	}
	*now = now.Add(time.Hour)
	next, nextToken, err := e.RotateKey(t.Context(), "t", old.ID, Rotation{Overlap: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if next.RotatedFrom != old.ID || next.Role != old.Role || next.Label != old.Label || !slices.Equal(next.Galleries, old.Galleries) || next.Rate != 2 ||
		next.Burst != 2 || next.Scores != ScoresDecision || !next.Expires.Equal(now.Add(100*time.Hour)) || next.ID == old.ID {
		t.Errorf("successor %+v of %+v", next, old)
	}
	for _, tok := range []string{token, nextToken} {
		_, err := e.Authenticate(tok)
		wantErr(t, err, nil)
	}
	_, _, err = e.RotateKey(t.Context(), "t", old.ID, Rotation{})
	wantErr(t, err, ErrKeyEnded)
	*now = now.Add(time.Minute)
	_, err = e.Authenticate(token)
	wantErr(t, err, ErrKeyExpired)
	_, err = e.Authenticate(nextToken)
	wantErr(t, err, nil)

	for _, c := range []struct {
		tenant, id string
		o          Rotation
		want       error
	}{
		{"u", next.ID, Rotation{}, ErrKeyNotFound},
		{"t", "00", Rotation{}, ErrKeyNotFound},
		{"t", next.ID, Rotation{Overlap: MaxKeyOverlap + 1}, ErrKeySpec},
	} {
		_, _, err := e.RotateKey(t.Context(), c.tenant, c.id, c.o)
		wantErr(t, err, c.want)
	}

	// The last time that is allowed bounds the successor, and no overlap ends the old key at once.
	latest := now.Add(time.Hour)
	third, _, err := e.RotateKey(t.Context(), "t", next.ID, Rotation{Overlap: -1, Latest: latest})
	if err != nil || !third.Expires.Equal(latest) {
		t.Fatal(third, err)
	}
	_, err = e.Authenticate(nextToken)
	wantErr(t, err, ErrKeyExpired)
	if err := e.RevokeKey(t.Context(), "t", third.ID); err != nil {
		t.Fatal(err)
	}
	_, _, err = e.RotateKey(t.Context(), "t", third.ID, Rotation{})
	wantErr(t, err, ErrKeyEnded)
	mustCheck(t, e)
}

// TestKeysFull: the key that ended first makes room; where none has ended there is none.
func TestKeysFull(t *testing.T) {
	e, now := clockedEngine(t)
	var ended []Key
	for i := range MaxKeys {
		spec := KeySpec{Role: RoleMatcher}
		if i%500 == 7 {
			spec.Expires = now.Add(time.Duration(1000-i) * time.Second)
		}
		k, _ := mustKey(t, e, spec)
		if !spec.Expires.IsZero() {
			ended = append(ended, k)
		}
	}
	_, _, err := e.CreateKey(t.Context(), "t", KeySpec{Role: RoleMatcher})
	wantErr(t, err, ErrKeysFull)
	if _, _, err := e.CreateKey(t.Context(), "another", KeySpec{Role: RoleMatcher}); err != nil {
		t.Errorf("another tenant's keys are not counted here: %v", err)
	}
	*now = now.Add(time.Hour)
	mustKey(t, e, KeySpec{Role: RoleMatcher})
	_, err = e.Key(t.Context(), "t", ended[1].ID) // it expired before the first
	wantErr(t, err, ErrKeyNotFound)
	_, err = e.Key(t.Context(), "t", ended[0].ID)
	wantErr(t, err, nil)
	mustCheck(t, e)
}

func TestMayUse(t *testing.T) {
	for _, c := range []struct {
		galleries []string
		gallery   string
		want      bool
	}{
		{nil, "any", true},
		{[]string{"a"}, "a", true},
		{[]string{"a"}, "ab", false},
		{[]string{"a"}, "A", false},
		{[]string{"a*"}, "a", true},
		{[]string{"a*"}, "ab", true},
		{[]string{"a*"}, "b", false},
		{[]string{"a*", "b"}, "b", true},
		{[]string{"a"}, "a*", false},
		{[]string{"a"}, "", false},
	} {
		if got := (Key{Galleries: c.galleries}).MayUse(c.gallery); got != c.want {
			t.Errorf("%v may use %q: %v", c.galleries, c.gallery, got)
		}
	}
}

// TestMayMake: no key makes one that may do more than itself.
func TestMayMake(t *testing.T) {
	at := time.Unix(1000, 0)
	for _, c := range []struct {
		name string
		key  Key
		spec KeySpec
		want bool
	}{
		{"all of all", Key{}, KeySpec{}, true},
		{"an operator", Key{}, KeySpec{Operator: true}, false},
		{"an operator of one", Key{Operator: true}, KeySpec{Operator: true}, true},
		{"all of some", Key{Galleries: []string{"a*"}}, KeySpec{}, false},
		{"one of a prefix", Key{Galleries: []string{"a*"}}, KeySpec{Galleries: []string{"ab"}}, true},
		{"a longer prefix", Key{Galleries: []string{"a*"}}, KeySpec{Galleries: []string{"ab*"}}, true},
		{"a shorter prefix", Key{Galleries: []string{"ab*"}}, KeySpec{Galleries: []string{"a*"}}, false},
		{"a prefix of one", Key{Galleries: []string{"a"}}, KeySpec{Galleries: []string{"a*"}}, false},
		{"one more", Key{Galleries: []string{"a"}}, KeySpec{Galleries: []string{"a", "b"}}, false},
		{"never expiring", Key{Expires: at}, KeySpec{}, false},
		{"later", Key{Expires: at}, KeySpec{Expires: at.Add(1)}, false},
		{"as long", Key{Expires: at}, KeySpec{Expires: at}, true},
		{"without a rate", Key{Rate: 5, Burst: 9}, KeySpec{}, false},
		{"faster", Key{Rate: 5, Burst: 9}, KeySpec{Rate: 6}, false},
		{"more at once", Key{Rate: 5, Burst: 9}, KeySpec{Rate: 5, Burst: 10}, false},
		{"as fast", Key{Rate: 5, Burst: 9}, KeySpec{Rate: 5, Burst: 9}, true},
		{"exact of rounded", Key{Scores: ScoresRounded}, KeySpec{}, false},
		{"exact by name", Key{Scores: ScoresRounded}, KeySpec{Scores: ScoresExact}, false},
		{"rounded of decision", Key{Scores: ScoresDecision}, KeySpec{Scores: ScoresRounded}, false},
		{"decision of rounded", Key{Scores: ScoresRounded}, KeySpec{Scores: ScoresDecision}, true},
	} {
		err := c.key.MayMake(c.spec)
		if (err == nil) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			wantErr(t, err, ErrKeyNarrow)
		}
	}
}

func TestMayManage(t *testing.T) {
	scoped, all, operator := Key{Tenant: "t", Galleries: []string{"a*"}}, Key{Tenant: "t"}, Key{Tenant: "t", Operator: true}
	for _, c := range []struct {
		name       string
		key, other Key
		want       bool
	}{
		{"own tenant", all, all, true},
		{"another tenant", all, Key{Tenant: "u"}, false},
		{"another tenant as operator", operator, Key{Tenant: "u"}, true},
		{"an operator", all, operator, false},
		{"wider", scoped, all, false},
		{"as wide", scoped, scoped, true},
		{"elsewhere", scoped, Key{Tenant: "t", Galleries: []string{"a1", "b"}}, false},
	} {
		if got := c.key.MayManage(c.other); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestLastUsed: to the minute, in memory, kept by what replaces the key's record.
func TestLastUsed(t *testing.T) {
	e, _ := clockedEngine(t)
	k, token := mustKey(t, e, KeySpec{Role: RoleMatcher})
	if k, err := e.Key(t.Context(), "t", k.ID); err != nil || !k.LastUsed.IsZero() {
		t.Fatal(k, err)
	}
	if _, err := e.Authenticate(token); err != nil {
		t.Fatal(err)
	}
	if err := e.RevokeKey(t.Context(), "t", k.ID); err != nil {
		t.Fatal(err)
	}
	got, err := e.Key(t.Context(), "t", k.ID)
	if err != nil || time.Since(got.LastUsed) > 2*time.Minute || got.LastUsed.Second() != 0 {
		t.Errorf("last used %v, %v", got.LastUsed, err)
	}
}

func TestAuthenticateAllocatesNothing(t *testing.T) {
	e := openMem(t)
	_, token := mustKey(t, e, KeySpec{Role: RoleMatcher, Galleries: []string{"a", "b*"}, Expires: time.Now().Add(time.Hour), Rate: 5})
	if n := testing.AllocsPerRun(100, func() {
		if k, err := e.Authenticate(token); err != nil || !k.MayUse("b1") {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	e := openMem(b)
	_, token := mustKey(b, e, KeySpec{Role: RoleMatcher, Galleries: []string{"a", "b*"}, Expires: time.Now().Add(time.Hour)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Authenticate(token); err != nil {
			b.Fatal(err)
		}
	}
}
