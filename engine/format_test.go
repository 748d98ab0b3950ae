package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// goldenDir is the data folder of a store of a format, closed after a flush and some writes more, beside a text
// of what is in it. `go test -run TestFormat -rewrite` writes the texts anew, as it must when the API's JSON
// changes; a store itself only if its folder was removed first, which nobody may do to a released format.
func goldenDir(format int) string { return filepath.Join("testdata", fmt.Sprint("format-", format)) }

// TestFormats: stores that earlier versions of this program wrote open, hold what they held, and can be written to.
func TestFormats(t *testing.T) {
	for format, write := range map[int]func(*testing.T, *Engine, string) []string{1: writeGolden, moveFormat: writeMoves, photoFormat: writePhotos, keysFormat: writePhotos,
		auditFormat: writeAudit, identityFormat: writeIdentity, accessFormat: writeAccess, jobFormat: writeJobs, onceFormat: writeOnces, documentFormat: writeDocuments} {
		t.Run(fmt.Sprint(format), func(t *testing.T) { testFormat(t, format, write) })
	}
}

func testFormat(t *testing.T, format int, write func(*testing.T, *Engine, string) []string) {
	dir, rewrite := goldenDir(format), flag.Lookup("rewrite").Value.String() == "true" // datadriven's
	want := filepath.Join(dir, "want.txt")
	tokens := goldenTokens(want)
	if _, err := os.Stat(filepath.Join(dir, "store")); rewrite && err != nil {
		tokens = makeGolden(t, dir, write)
	}
	mem := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, mem, dir, "data"); err != nil || !ok {
		t.Fatal(ok, err)
	}
	c := testConfig(mem)
	c.sweepEvery = time.Hour // what the golden stores remember was long ago
	e := open(t, c)
	mustCheck(t, e)
	if _, keyed, err := e.store.get(nil, keyKeyStore); err != nil || !keyed {
		t.Error("the store has no key store", err)
	}
	wantStoredFormat(t, e, max(format, keysFormat))
	waitAllPhotos(t, e)
	got := dump(t, e, tokens)
	if rewrite {
		if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(want); err != nil || rounded(got) != rounded(string(text)) || len(tokens) == 0 {
		t.Errorf("the golden store holds\n%s\nwant\n%s\n%v", got, text, err)
	}
	write(t, e, "after")
	e = reopen(t, e, testConfig(mem))
	mustCheck(t, e)
	wantFormat(t, e, format)
}

var longNumber = regexp.MustCompile(`\b\d+\.\d{8,}(e[-+]?\d+)?`)

// rounded has rates and scores, which are computed, with six digits: logarithms differ in the last ones between processors.
func rounded(text string) string {
	return longNumber.ReplaceAllStringFunc(text, func(s string) string {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return s
		}
		return strconv.FormatFloat(f, 'g', 6, 64)
	})
}

// wantFormat: a store is of the first format that can hold what is in it, and any write leaves a record.
func wantFormat(t testing.TB, e *Engine, format int) {
	t.Helper()
	wantStoredFormat(t, e, max(format, keysFormat))
}

func wantStoredFormat(t testing.TB, e *Engine, format int) {
	t.Helper()
	if b, _, err := e.store.get(nil, keyFormat); err != nil || !bytes.Equal(b, formatBytes(uint32(format))) {
		t.Errorf("the store is of format %x, want %d: %v", b, format, err)
	}
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

func makeGolden(t *testing.T, dir string, write func(*testing.T, *Engine, string) []string) (tokens []string) {
	mem, second := vfs.NewMem(), int64(0)
	c := testConfig(mem)
	c.Now = func() time.Time { second++; return time.Unix(second, 0) }
	e := open(t, c)
	tokens = write(t, e, "flushed")
	if err := e.store.db.Flush(); err != nil {
		t.Fatal(err)
	}
	tokens = append(tokens, write(t, e, "logged")...)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if ok, err := vfs.Clone(mem, vfs.Default, "data", dir); err != nil || !ok {
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
	_, err := e.AddTemplate(ctx, tenant, "plain", "日本 / bob", TemplateSpec{Templates: []Template{Template{Space: spaceA.ID, Vector: []float32{0, 0, -3, 4}, Source: "image"}}})
	do(err)
	put("plain", "left", "", template(1, 1, 1, 1))
	do(e.DeletePerson(ctx, tenant, "plain", "left", WriteOptions{}))
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

// writeMoves is writeGolden, and leaves galleries in the middle of a move, after one and after one that was cancelled.
func writeMoves(t *testing.T, e *Engine, tenant string) (tokens []string) {
	t.Helper()
	tokens = writeGolden(t, e, tenant)
	for name, spec := range map[string]MoveSpec{"plain": {Space: spaceB.ID, Policy: Policy{FPIR: new(0.03)}}, "fmr": {Space: spaceB.ID}, "fpir": {Space: spaceB.ID}} {
		_, err := e.StartMove(t.Context(), tenant, name, spec)
		mustMove(t, err)
	}
	direction := func(axis int) Template {
		v := make([]float32, spaceB.Dim)
		v[axis] = 2
		return Template{Space: spaceB.ID, Vector: v, Source: "image"}
	}
	for name, id := range map[string]string{"plain": "dan", "fmr": "eve", "fpir": "fay"} {
		_, _, err := e.PutPerson(t.Context(), tenant, name, id, PersonSpec{Templates: []Template{template(1, 0, 0, 0), direction(2), direction(3)}})
		mustMove(t, err)
	}
	_, err := e.AddTemplate(t.Context(), tenant, "plain", "ann", TemplateSpec{Templates: []Template{direction(1)}})
	mustMove(t, err)
	_, err = e.FinishMove(t.Context(), tenant, "fmr", spaceB.ID, false)
	mustMove(t, err)
	mustMove(t, e.CancelMove(t.Context(), tenant, "fpir"))
	return tokens
}

// writePhotos is writeMoves, and leaves galleries that keep photos: one at rest, one in a move that can't go on, for its photos can't
// be used, and one after a move.
func writePhotos(t *testing.T, e *Engine, tenant string) (tokens []string) {
	t.Helper()
	tokens = writeMoves(t, e, tenant)
	for _, name := range []string{"kept", "kept-moving", "kept-moved"} {
		_, _, err := e.CreateGallery(t.Context(), tenant, name, GallerySpec{KeepPhotos: true})
		mustMove(t, err)
		putPhotos(t, e, tenant, name, "gil", "x1", "x2")
		putPhotos(t, e, tenant, name, "gil", "x3", "", "x4")
		putPhotos(t, e, tenant, name, "hal", "")
		putPhotos(t, e, tenant, name, "ivy", "x5")
		mustMove(t, e.DeletePerson(t.Context(), tenant, name, "ivy", WriteOptions{}))
	}
	putPhotos(t, e, tenant, "kept-moved", "gil", "good one", "x3", "good two")
	for _, name := range []string{"kept-moving", "kept-moved"} {
		_, err := e.StartMove(t.Context(), tenant, name, MoveSpec{Space: spaceB.ID})
		mustMove(t, err)
		waitPhotos(t, e, tenant, name)
	}
	_, err := e.FinishMove(t.Context(), tenant, "kept-moved", spaceB.ID, true)
	mustMove(t, err)
	return tokens
}

// writeAudit is writePhotos, and has decisions and refusals recorded.
func writeAudit(t *testing.T, e *Engine, tenant string) (tokens []string) {
	t.Helper()
	tokens = writePhotos(t, e, tenant)
	_, _, err := e.CreateGallery(t.Context(), tenant, "brief", GallerySpec{RetentionDays: 30_000})
	mustMove(t, err)
	end := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
	for id, r := range map[string]Retention{"jan": {}, "kim": {Expires: end}, "leo": {Consent: &Consent{"entry", "consent é", end.AddDate(-200, 0, 0), "form 7", end}}} {
		_, _, err = e.PutPerson(t.Context(), tenant, "brief", id, PersonSpec{Templates: []Template{template(1, 2, 0, 0)}, Retention: r})
		mustMove(t, err)
	}
	ctx := WithActor(t.Context(), Actor{Tenant: tenant, Key: "0123456789abcdef", Role: RoleMatcher, Request: "r-1"})
	_, err = e.Verify(ctx, tenant, "plain", "ann", template(1, 0, 0, 0), Policy{})
	mustMove(t, err)
	_, err = e.Identify(ctx, tenant, "plain", template(1, 1, 0, 0), IdentifyOptions{Policy: Policy{Cosine: new(-1.0)}})
	mustMove(t, err)
	_, err = e.Compare(ctx, template(1, 0, 0, 0), template(0, 1, 0, 0), Policy{FMR: new(1e-6)})
	mustMove(t, err)
	mustMove(t, e.AuditRefusal(ctx, tenant, AuditVerify, "plain", "日本 / bob", "no_face"))
	mustMove(t, e.flushAudit(t.Context()))
	return tokens
}

// writeIdentity is writePhotos, and uses what format 6 brought.
func writeIdentity(t *testing.T, e *Engine, tenant string) (tokens []string) {
	t.Helper()
	tokens = writePhotos(t, e, tenant)
	_, _, err := e.CreateGallery(t.Context(), tenant, "once", GallerySpec{Duplicates: DuplicatesReject, DuplicatePolicy: Policy{FPIR: new(1e-4)}})
	mustMove(t, err)
	put := func(id string) error {
		_, _, err := e.PutPerson(t.Context(), tenant, "once", id, PersonSpec{Templates: []Template{template(1, 0, 0, 0)}})
		return err
	}
	mustMove(t, put("jo"))
	actor := WithActor(t.Context(), Actor{Tenant: tenant, Key: "0123456789abcdef", Role: RoleEnroller, Request: "r-2"})
	_, _, err = e.CreateGallery(t.Context(), tenant, "past", GallerySpec{History: 2, Filterable: []string{"site", "n"}})
	mustMove(t, err)
	for i := range 4 {
		judged := Template{Space: spaceA.ID, Vector: []float32{1, float32(i), 0, 0}, Source: "image", Photo: &Photo{Judged: map[string]float64{"unified_score": 50.25}}}
		_, _, err := e.PutPerson(actor, tenant, "past", "lee", PersonSpec{Templates: []Template{judged, template(0, 0, 1, float32(i))}, Metadata: json.RawMessage(`{"site":"a","n":1}`)})
		mustMove(t, err)
	}
	_, _, err = e.PutPerson(actor, tenant, "past", "max", PersonSpec{Templates: []Template{template(0, 1, 0, 0)}})
	mustMove(t, err)
	_, err = e.PatchPerson(actor, tenant, "past", "max", PersonPatch{Status: StatusSuspended})
	mustMove(t, err)
	if err := put("kim"); !errors.Is(err, ErrDuplicate) {
		t.Fatal(err)
	}
	return tokens
}

// writeAccess is writeAudit, and makes keys that may do less than their role says, one of them rotated.
func writeAccess(t *testing.T, e *Engine, tenant string) (tokens []string) {
	t.Helper()
	tokens = writeAudit(t, e, tenant)
	far := time.Date(2120, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, spec := range []KeySpec{
		{Role: RoleAdmin, Galleries: []string{"plain", "kept*"}},
		{Role: RoleEnroller, Expires: far},
		{Role: RoleMatcher, Rate: 0.5, Burst: 7},
		{Role: RoleMatcher, Scores: ScoresDecision, Galleries: []string{"plain"}, Expires: far, Rate: 100},
	} {
		_, token, err := e.CreateKey(t.Context(), tenant, spec)
		mustMove(t, err)
		tokens = append(tokens, token)
	}
	old, _, err := e.CreateKey(t.Context(), tenant, KeySpec{Role: RoleAuditor, Label: "rotated", Scores: ScoresRounded})
	mustMove(t, err)
	_, token, err := e.RotateKey(t.Context(), tenant, old.ID, Rotation{})
	mustMove(t, err)
	return append(tokens, token)
}

// writeJobs is writeAudit, and leaves a job that was done, with results, and one that was cancelled.
func writeJobs(t *testing.T, e *Engine, tenant string) (tokens []string) {
	t.Helper()
	tokens = writeAudit(t, e, tenant)
	_, _, err := e.CreateGallery(t.Context(), tenant, "jobs", GallerySpec{})
	mustMove(t, err)
	for id, templates := range map[string][]Template{"jan": {template(1, 0, 0, 0)}, "kit": {template(1, 0.1, 0, 0), template(0, 0, 0, 1)}, "lou": {template(0, 0, 1, 0.1)}} {
		_, _, err := e.PutPerson(t.Context(), tenant, "jobs", id, PersonSpec{Templates: templates})
		mustMove(t, err)
	}
	for _, spec := range []DedupeSpec{{Policy: Policy{Cosine: new(0.05)}, MaxPairs: 7}, {ExpectedFalsePairs: 0.5}} {
		j, _, err := e.StartDedupe(t.Context(), tenant, "jobs", spec)
		mustMove(t, err)
		mustMove(t, quietJobs(e))
		_, err = e.CancelJob(t.Context(), tenant, j.ID)
		mustMove(t, err)
	}
	return tokens
}

// goldenOnces are the names of the requests that writeOnces makes.
var goldenOnces = []string{"put", "key", "gallery"}

// writeOnces is writeAudit, and makes requests that may come again.
func writeOnces(t *testing.T, e *Engine, tenant string) (tokens []string) {
	t.Helper()
	tokens = writeAudit(t, e, tenant)
	for i, call := range []func(ctx context.Context) error{
		func(ctx context.Context) error {
			_, _, err := e.PutPerson(ctx, tenant, "plain", "mia", PersonSpec{Templates: []Template{template(1, 0, 2, 0)}, Metadata: json.RawMessage(`{"é":1}`)})
			return err
		},
		func(ctx context.Context) error {
			_, token, err := e.CreateKey(ctx, tenant, KeySpec{Role: RoleMatcher, Label: "once"})
			tokens = append(tokens, token)
			return err
		},
		func(ctx context.Context) error {
			_, _, err := e.CreateGallery(ctx, tenant, "once", GallerySpec{})
			return err
		},
	} {
		_, again, err := once(t.Context(), e, goldenOnce(tenant, goldenOnces[i]), call)
		if mustMove(t, err); again {
			t.Fatal(goldenOnces[i], "was there")
		}
	}
	return tokens
}

func goldenOnce(tenant, name string) OnceRequest {
	r := onceOfKey(name, name)
	r.Tenant = tenant
	return r
}

// dumpOnces writes down what the requests of writeOnces were answered by, though they may be forgotten by now.
func dumpOnces(t *testing.T, b *bytes.Buffer, e *Engine, tenant string) {
	t.Helper()
	keys, err := e.tenantKeys(tenant)
	if err != nil { // a backup need not have the tenant
		return
	}
	for _, name := range goldenOnces {
		o := newOnce(e, keys, goldenOnce(tenant, name))
		r, err := e.store.onceRecord(tenant, keys, o.id)
		if mustMove(t, err); r == nil {
			continue
		}
		sealed := r.Answer
		if r.Number != 0 {
			sealed, err = o.ofPerson(r)
			mustMove(t, err)
		}
		answer, err := o.open(sealed)
		if mustMove(t, err); !bytes.Equal(r.Request, o.request[:]) {
			t.Errorf("%s is another request", name)
		}
		fmt.Fprintf(b, "request %s of %d about %q %q was answered %s\n", name, r.Made, r.Gallery, r.Person, answer)
	}
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
				dumpTemplates(t, &b, e, tenant, g.Name, p.ID)
				dumpPhotos(t, &b, e, tenant, g.Name, p)
			}
		}
		dumpJobs(t, line, e, tenant)
		dumpDocuments(t, line, e, tenant)
		dumpOnces(t, &b, e, tenant)
		keys, err := e.Keys(t.Context(), tenant)
		line("keys", len(keys), err)
		for _, k := range keys {
			line("key", k, nil)
		}
		for _, l := range auditLog(t, e, tenant) {
			fmt.Fprintf(&b, "audit %v %s\n", l.Hash, l.Record)
		}
	}
	for _, token := range tokens {
		k, err := e.Authenticate(token)
		fmt.Fprintf(&b, "token %s\n", token)
		line("is key", k.ID, err)
	}
	return b.String()
}

func dumpJobs(t *testing.T, line func(string, any, error), e *Engine, tenant string) {
	t.Helper()
	all, err := e.Jobs(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range all {
		line("job", j, nil)
		pairs, _, err := e.JobPairs(t.Context(), tenant, j.ID, 0, "")
		line("pairs", pairs, err)
		findings, _, err := e.JobFindings(t.Context(), tenant, j.ID, 0, "")
		line("findings", findings, err)
	}
}

func dumpTemplates(t *testing.T, b *bytes.Buffer, e *Engine, tenant, name, id string) {
	t.Helper()
	g, err := e.gallery(tenant, name)
	if err != nil {
		t.Fatal(err)
	}
	dumpRows(t, b, g, id)
	if next := g.successor.Load(); next != nil && next.version(id) != 0 {
		fmt.Fprintf(b, "in %s\n", next.record.Space)
		dumpRows(t, b, next, id)
	}
}

func dumpPhotos(t *testing.T, b *bytes.Buffer, e *Engine, tenant, name string, p Person) {
	t.Helper()
	for _, info := range p.Templates {
		if photo := storedPhoto(t, e, tenant, name, p.ID, info.ID); photo != nil {
			fmt.Fprintf(b, "photo of %s: %q at %v\n", info.ID, photo.Image, photo.Box)
		}
	}
}

func dumpRows(t *testing.T, b *bytes.Buffer, g *gallery, id string) {
	t.Helper()
	for _, row := range g.mu.people[id].rows {
		for axis := range min(g.record.Dim, 8) {
			q := make([]float32, g.record.Dim)
			q[axis] = 1
			x, err := g.mu.index.Dot(row, q)
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
		`{"number":1,"space":"s","dim":2,"index":"scan","created":"1970-01-01T00:00:07Z","move":{"number":3,"space":"n","dim":4,"policy":{"fmr":0.5}}}`: galleryRecord{
			Number: 1, Space: "s", Dim: 2, Index: "scan", Created: at, Move: &moveRecord{Number: 3, Space: "n", Dim: 4, Policy: &policyRecord{FMR: x}}},
		`{"number":1,"space":"s","dim":2,"index":"scan","created":"1970-01-01T00:00:07Z","keep_photos":true}`: galleryRecord{
			Number: 1, Space: "s", Dim: 2, Index: "scan", Created: at, KeepPhotos: true},
		`{"number":1,"space":"s","dim":2,"index":"scan","created":"1970-01-01T00:00:07Z","duplicates":"warn","duplicate_policy":{"fpir":0.5}}`: galleryRecord{
			Number: 1, Space: "s", Dim: 2, Index: "scan", Created: at, Duplicates: "warn", DuplicatePolicy: policyRecord{FPIR: x}},
		`{"number":1,"space":"s","dim":2,"index":"scan","created":"1970-01-01T00:00:07Z","history":2,"filterable":["a","b"]}`: galleryRecord{
			Number: 1, Space: "s", Dim: 2, Index: "scan", Created: at, History: 2, Filterable: []string{"a", "b"}},
		`{"kind":"dedupe","state":"failed","reason":"r","policy":{"fmr":0.5},"false_pairs":1.5,"threshold":0.4,"suspect":0.3,"own":0.2,"max_pairs":9,"min_quality":40,"templates":8,` +
			`"created":"1970-01-01T00:00:07Z","started":"1970-01-01T00:00:07Z","ended":"1970-01-01T00:00:07Z","covered":"1970-01-01T00:00:07Z","watermark":7,"after":"p","counted":6,` +
			`"people":5,"done":4,"floor":0.6,"truncated":true,"hygiene":{"people":1,"templates":2,"one_template":3,"under_1_year":4,"over_1_year":5,"over_5_years":6,"over_10_years":7,"unjudged":8}}`: jobRecord{
			Kind: "dedupe", State: "failed", Reason: "r", Policy: policyRecord{FMR: x}, FalsePairs: 1.5, Threshold: 0.4, Suspect: 0.3, Own: 0.2, MaxPairs: 9, MinQuality: 40, Templates: 8,
			Created: at, Started: at, Ended: at, Covered: at, Watermark: 7, After: "p", Counted: 6, People: 5, Done: 4, Floor: 0.6, Truncated: true,
			Hygiene: hygieneRecord{1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0}},
		`{"kind":"mislabelled","a":"p","a_at":2,"b":"q","b_at":3,"cosine":0.5,"template":1,"own":-0.5}`: resultRecord{"mislabelled", "p", 2, "q", 3, 0.5, 1, -0.5, 0},
		`{"kind":"low_quality","a":"p","a_at":2,"cosine":0,"template":1,"own":2,"quality":301}`:         resultRecord{Kind: "low_quality", A: "p", AAt: 2, Template: 1, Own: 2, Quality: 301},
		`{"kind":"pair","a":"p","a_at":2,"b":"q","b_at":3,"cosine":0.5}`:                                resultRecord{Kind: "pair", A: "p", AAt: 2, B: "q", BAt: 3, Cosine: 0.5},
		`{"id":"i","tenant":"t","role":"admin","created":"1970-01-01T00:00:07Z","hash":"AQ=="}`:         keyRecord{ID: "i", Tenant: "t", Role: "admin", Created: at, Hash: []byte{1}},
		`{"id":"i","tenant":"t","role":"admin","operator":true,"label":"l","created":"1970-01-01T00:00:07Z","revoked":"1970-01-01T00:00:07Z","hash":"AQ=="}`: keyRecord{
			ID: "i", Tenant: "t", Role: "admin", Operator: true, Label: "l", Created: at, Revoked: at, Hash: []byte{1}},
		`{"id":"i","tenant":"t","role":"admin","created":"1970-01-01T00:00:07Z","hash":"AQ==","galleries":["a","b*"],"expires":"1970-01-01T00:00:07Z","rate":0.5,"burst":2,"scores":"decision","rotated_to":"x","rotated_from":"y"}`: keyRecord{
			ID: "i", Tenant: "t", Role: "admin", Created: at, Hash: []byte{1}, Galleries: []string{"a", "b*"}, Expires: at, Rate: 0.5, Burst: 2,
			Scores: "decision", RotatedTo: "x", RotatedFrom: "y"},
	} {
		if got := string(appendJSONRecord(record)); got != "\x01"+want {
			t.Errorf("%T is written as\n%q, want\n%q", record, got, want)
		}
	}
}
