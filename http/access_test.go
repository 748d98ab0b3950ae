package http

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mien/engine"
)

var updateAccess = flag.Bool("update-access", false, "write testdata/access.txt anew")

// accessColumns are whose keys are tried: of each role, and an operator's.
var accessColumns = []struct {
	name string
	spec engine.KeySpec
}{
	{"operator", engine.KeySpec{Role: engine.RoleAdmin, Operator: true}},
	{"admin", engine.KeySpec{Role: engine.RoleAdmin}},
	{"enroller", engine.KeySpec{Role: engine.RoleEnroller}},
	{"matcher", engine.KeySpec{Role: engine.RoleMatcher}},
	{"auditor", engine.KeySpec{Role: engine.RoleAuditor}},
	{"client", engine.KeySpec{Role: engine.RoleClient, Dialect: "youverse", Galleries: []string{"staff"}}},
}

// accessStates are what is asked about: people of a gallery that is there, that is being moved, of names that nobody has, and of
// another tenant's gallery.
var accessStates = []struct {
	name, tenant, gallery, person string
}{
	{"there", "default", "staff", "ada"},
	{"moving", "default", "staff", "ada"},
	{"missing", "default", "stuff", "eda"},
	{"another's", "other", "staff", "ada"},
}

// settles is how operations that meet the work of others in the background may answer.
var settles = map[string][]int{"cancelRotation": {204, 409}}

// access is how each operation answers each key in each state, a line for each operation and state.
func (h *harness) access() []byte {
	var lines []string
	for _, state := range accessStates {
		restore := func() { h.accessState(state.name) }
		restore()
		rows := map[string][]string{}
		for _, column := range accessColumns {
			_, token := h.key(state.tenant, column.spec)
			for _, rt := range routesOf(routes) { // what dialects add they hold themselves
				if rt.roles == nil {
					continue
				}
				c := call{method: rt.method, token: token, path: strings.NewReplacer("{gallery}", state.gallery, "{person}", state.person,
					"{key}", "00112233445566aa", "{job}", "00112233445566aa", "{tenant}", "nobody").Replace(rt.pattern)}
				if rt.takesBody() {
					c.body = []byte("{}")
					if b := goodBodies[rt.op]; b != "" {
						c.body = []byte(b)
					}
				}
				a := h.do(c)
				rows[rt.op] = append(rows[rt.op], accessOf(rt.op, a.status))
				if a.status < 300 && rt.method != "GET" {
					restore()
				}
			}
		}
		for op, row := range rows {
			lines = append(lines, fmt.Sprintf("%-18s %-10s %s", op, state.name, strings.Join(row, "  ")))
		}
	}
	slices.Sort(lines)
	var names []string
	for _, c := range accessColumns {
		names = append(names, c.name)
	}
	return []byte("operation, about what, and the status for keys: " + strings.Join(names, ", ") + "\n" + strings.Join(lines, "\n") + "\n")
}

func accessOf(op string, status int) string {
	if slices.Contains(settles[op], status) {
		return "ok "
	}
	return fmt.Sprint(status)
}

// accessState makes the tenant default's gallery "staff" anew, with ada and bob, and being moved or not; the other tenant has none of the
// name.
func (h *harness) accessState(name string) {
	h.t.Helper()
	ctx := h.t.Context()
	for _, tenant := range []string{"default", "other"} {
		_ = h.engine.DeleteGallery(ctx, tenant, "staff") // there may be none
		_ = h.engine.DeleteGallery(ctx, tenant, "stuff")
	}
	if _, _, err := h.engine.CreateGallery(ctx, "default", "staff", engine.GallerySpec{}); err != nil {
		h.t.Fatal(err)
	}
	for i, id := range []string{"ada", "bob"} {
		t := engine.Template{Space: testSpace.ID, Vector: vector(uint64(i+1), 16)}
		if _, _, err := h.engine.PutPerson(ctx, "default", "staff", id, engine.PersonSpec{Templates: []engine.Template{t}}); err != nil {
			h.t.Fatal(err)
		}
	}
	if name == "moving" {
		if _, err := h.engine.StartMove(ctx, "default", "staff", engine.MoveSpec{Space: otherSpace.ID}); err != nil {
			h.t.Fatal(err)
		}
	}
}

// TestAccess holds the whole table of who may do what: a change of a role's rights, or an operation without a row, shows as a
// difference to testdata/access.txt, which somebody has looked at.
func TestAccess(t *testing.T) {
	h := newHarnessOn(t, openEngine(t, engineConfig(t.TempDir(), testSpace, otherSpace)), nil)
	if _, _, err := h.engine.CreateGallery(t.Context(), "other", "own", engine.GallerySpec{}); err != nil {
		t.Fatal(err)
	}
	got, file := h.access(), filepath.Join("testdata", "access.txt")
	if *updateAccess {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	known := strings.Split(string(want), "\n")
	for line := range strings.SplitSeq(string(got), "\n") {
		if !slices.Contains(known, line) {
			t.Errorf("not in %s: %s", file, line)
		}
	}
	for _, line := range known {
		if !strings.Contains(string(got), line) {
			t.Errorf("only in %s: %s", file, line)
		}
	}
}
