package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// goldenDir is the data folder of a store of format 1, closed after a flush and some writes more, beside a text
// of what is in it. `go test -run TestFormat1 -rewrite` writes the text anew, as it must when the API's JSON
// changes; the store itself only if its folder was removed first, which nobody may do to a released format.
const goldenDir = "testdata/format-1"

// TestFormat1: the store that an earlier version of this program wrote opens, holds what it held, and can be
// written to.
func TestFormat1(t *testing.T) {
	want, rewrite := filepath.Join(goldenDir, "want.txt"), flag.Lookup("rewrite").Value.String() == "true" // datadriven's
	tokens := goldenTokens(want)
	if _, err := os.Stat(filepath.Join(goldenDir, "store")); rewrite && err != nil {
		tokens = makeGolden(t)
	}
	mem := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, mem, goldenDir, "data"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	e := open(t, testConfig(mem))
	mustCheck(t, e)
	got := dump(t, e, tokens)
	if rewrite {
		if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(want); err != nil || got != string(text) || len(tokens) == 0 {
		t.Errorf("the golden store holds\n%s\nwant\n%s\n%v", got, text, err)
	}
	writeGolden(t, e, "after")
	e = reopen(t, e, testConfig(mem))
	mustCheck(t, e)
}

func goldenTokens(want string) (tokens []string) {
	text, _ := os.ReadFile(want)
	for line := range strings.Lines(string(text)) {
		if token, ok := strings.CutPrefix(strings.TrimSpace(line), "token "); ok {
			tokens = append(tokens, token)
		}
	}
	return tokens
}

func makeGolden(t *testing.T) (tokens []string) {
	mem, second := vfs.NewMem(), int64(0)
	c := testConfig(mem)
	c.Now = func() time.Time { second++; return time.Unix(second, 0) }
	e := open(t, c)
	tokens = writeGolden(t, e, "flushed")
	if err := e.store.db.Flush(); err != nil {
		t.Fatal(err)
	}
	tokens = append(tokens, writeGolden(t, e, "logged")...)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := vfs.Clone(mem, vfs.Default, "data", goldenDir); err != nil || !ok {
		t.Fatal(ok, err)
	}
	return tokens
}

// writeGolden uses every kind of record, under a tenant of its own.
func writeGolden(t *testing.T, e *Engine, tenant string) (tokens []string) {
	t.Helper()
	ctx := context.Background()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, spec := range map[string]GallerySpec{
		"plain": {}, "scan": {Space: spaceB.ID, Index: indexScan}, "fmr": {Policy: Policy{FMR: new(1e-5)}}, "fpir": {Policy: Policy{FPIR: new(0.02)}},
		"similarity": {Policy: Policy{Similarity: new(0.9)}}, "cosine": {Policy: Policy{Cosine: new(0.5)}}, "gone": {},
		"gate": {Gate: Gates{Gate{"unified_score": 40}, Gate{"liveness": 50}}},
	} {
		_, _, err := e.CreateGallery(ctx, tenant, name, spec)
		do(err)
	}
	put := func(gallery, id, metadata string, templates ...Template) {
		_, _, err := e.PutPerson(ctx, tenant, gallery, id, PersonSpec{Templates: templates, Metadata: json.RawMessage(metadata)})
		do(err)
	}
	put("plain", "ann", `{"n":1}`, template(1, 2, 3, 4))
	put("plain", "ann", `{"n":2,"x":["é"]}`, template(1, 0, 0, 0), template(0, 1, 0, 0))
	put("plain", "日本 / bob", "", template(0, 0, 1, 0))
	_, err := e.AddTemplate(ctx, tenant, "plain", "日本 / bob", Template{Space: spaceA.ID, Vector: []float32{0, 0, -3, 4}, Source: "image"})
	do(err)
	put("plain", "left", "", template(1, 1, 1, 1))
	do(e.DeletePerson(ctx, tenant, "plain", "left"))
	twenty := make([]float32, spaceB.Dim)
	for i := range twenty {
		twenty[i] = float32(i) - 5
	}
	put("scan", "cleo", `{}`, Template{Space: spaceB.ID, Vector: twenty, Source: "image"})
	put("gone", "x", `{}`, template(1, 0, 0, 0))
	do(e.DeleteGallery(ctx, tenant, "gone"))
	for _, spec := range []KeySpec{{Role: RoleAdmin, Operator: true, Label: "first é"}, {Role: RoleEnroller}, {Role: RoleMatcher}, {Role: RoleAuditor}} {
		_, token, err := e.CreateKey(ctx, tenant, spec)
		do(err)
		tokens = append(tokens, token)
	}
	revoked, _, err := e.CreateKey(ctx, tenant, KeySpec{Role: RoleMatcher, Label: "revoked"})
	do(err)
	do(e.RevokeKey(ctx, tenant, revoked.ID))
	return tokens
}

// dump writes down all that a store holds, as clients see it, and the templates by their vectors.
func dump(t *testing.T, e *Engine, tokens []string) string {
	t.Helper()
	var b bytes.Buffer
	line := func(what string, v any, err error) {
		t.Helper()
		text, jsonErr := json.Marshal(v)
		if err != nil || jsonErr != nil {
			t.Fatal(err, jsonErr)
		}
		fmt.Fprintf(&b, "%s %s\n", what, text)
	}
	for _, tenant := range []string{"flushed", "logged"} {
		galleries, err := e.Galleries(t.Context(), tenant)
		line("tenant "+tenant, len(galleries), err)
		for _, g := range galleries {
			line("gallery", g, nil)
			people, _, err := e.People(t.Context(), tenant, g.Name, 0, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range people {
				line("person", p, nil)
				dumpTemplates(t, &b, e, tenant, g.Name, p)
			}
		}
		keys, err := e.Keys(t.Context(), tenant)
		line("keys", len(keys), err)
		for _, k := range keys {
			line("key", k, nil)
		}
	}
	for _, token := range tokens {
		k, err := e.Authenticate(token)
		fmt.Fprintf(&b, "token %s\n", token)
		line("is key", k.ID, err)
	}
	return b.String()
}

func dumpTemplates(t *testing.T, b *bytes.Buffer, e *Engine, tenant, gallery string, p Person) {
	t.Helper()
	g, err := e.gallery(tenant, gallery)
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Templates {
		for axis := range min(g.record.Dim, 8) {
			q := make([]float32, g.record.Dim)
			q[axis] = 1
			x, err := g.mu.index.Dot(g.mu.people[p.ID].rows[i], q)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(b, " %.4f", x+0) // no −0
		}
		b.WriteString("\n")
	}
}

// TestRecordNames holds the text of JSON records: a name that changes makes stored ones unreadable.
func TestRecordNames(t *testing.T) {
	at, x := time.Unix(7, 0).UTC(), new(0.5)
	for want, record := range map[string]any{
		`{"number":1,"space":"s","dim":2,"index":"scan","created":"1970-01-01T00:00:07Z"}`: galleryRecord{Number: 1, Space: "s", Dim: 2, Index: "scan", Created: at},
		`{"number":1,"space":"s","dim":2,"index":"scan","policy":{"fmr":0.5,"fpir":0.5,"similarity":0.5,"cosine":0.5},"created":"1970-01-01T00:00:07Z"}`: galleryRecord{
			Number: 1, Space: "s", Dim: 2, Index: "scan", Policy: policyRecord{x, x, x, x}, Created: at},
		`{"number":1,"space":"s","dim":2,"index":"scan","gate":{"enrol":{"sharpness":0.5},"probe":{"liveness":1}},"created":"1970-01-01T00:00:07Z"}`: galleryRecord{
			Number: 1, Space: "s", Dim: 2, Index: "scan", Gate: recordOfGates(Gates{Gate{"sharpness": 0.5}, Gate{"liveness": 1}}), Created: at},
		`{"id":"i","tenant":"t","role":"admin","created":"1970-01-01T00:00:07Z","hash":"AQ=="}`: keyRecord{ID: "i", Tenant: "t", Role: "admin", Created: at, Hash: []byte{1}},
		`{"id":"i","tenant":"t","role":"admin","operator":true,"label":"l","created":"1970-01-01T00:00:07Z","revoked":"1970-01-01T00:00:07Z","hash":"AQ=="}`: keyRecord{
			ID: "i", Tenant: "t", Role: "admin", Operator: true, Label: "l", Created: at, Revoked: at, Hash: []byte{1}},
	} {
		if got := string(appendJSONRecord(record)); got != "\x01"+want {
			t.Errorf("%T is written as\n%q, want\n%q", record, got, want)
		}
	}
}
