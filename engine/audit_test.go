package engine

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// records parses a tenant's whole log.
func records(t testing.TB, e *Engine, tenant string) (all []AuditRecord) {
	t.Helper()
	for _, l := range auditLog(t, e, tenant) {
		var r AuditRecord
		if err := json.Unmarshal(l.Record, &r); err != nil {
			t.Fatalf("%s: %v", l.Record, err)
		}
		all = append(all, r)
	}
	return all
}

func exported(t testing.TB, e *Engine, tenant string, after uint64) []byte {
	t.Helper()
	x, err := e.ExportAudit(context.Background(), tenant, after)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(x)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func asActor(t testing.TB, request string) context.Context {
	return WithActor(t.Context(), Actor{Tenant: "t", Key: "0011223344556677", Role: RoleAdmin, Request: request})
}

// TestAuditRecords: what is recorded of each operation.
func TestAuditRecords(t *testing.T) {
	e := openMem(t)
	ctx := asActor(t, "r-7")
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, _, err := e.CreateGallery(ctx, "t", "g", GallerySpec{Policy: Policy{FMR: new(1e-3)}})
	do(err)
	_, _, err = e.CreateGallery(ctx, "t", "g", GallerySpec{Policy: Policy{FMR: new(1e-3)}}) // changes nothing
	do(err)
	for _, id := range []string{"ann", `b"ö<`} {
		_, _, err = e.PutPerson(ctx, "t", "g", id, PersonSpec{Templates: []Template{template(1, 2, 3, 4)}})
		do(err)
	}
	_, err = e.AddTemplate(ctx, "t", "g", "ann", TemplateSpec{Templates: []Template{template(4, 3, 2, 1)}})
	do(err)
	_, err = e.PatchPerson(ctx, "t", "g", "ann", PersonPatch{Metadata: new(json.RawMessage(`{"secret":"metadata"}`))})
	do(err)
	_, err = e.UpdateGallery(ctx, "t", "g", GalleryChange{Policy: &Policy{}})
	do(err)
	_, err = e.Verify(ctx, "t", "g", "ann", template(1, 2, 3, 4), Policy{})
	do(err)
	_, err = e.Verify(ctx, "t", "g", "ann", template(-1, 2, -3, 1), Policy{Cosine: new(0.9)})
	do(err)
	_, err = e.Verify(ctx, "t", "g", "nobody", template(1, 2, 3, 4), Policy{})
	wantErr(t, err, ErrPersonNotFound)
	do(e.AuditRefusal(ctx, "t", AuditVerify, "g", "nobody", "person_not_found"))
	do(e.AuditRefusal(ctx, "t", AuditVerify, "no/name", " no id ", "bad_id"))
	_, err = e.Identify(ctx, "t", "g", template(1, 2, 3, 4), IdentifyOptions{})
	do(err)
	_, err = e.Duplicates(ctx, "t", "g", template(1, -2, 3, -4), IdentifyOptions{})
	do(err)
	_, err = e.Compare(ctx, template(1, 0, 0, 0), template(1, 0.1, 0, 0), Policy{})
	do(err)
	_, err = e.Compare(t.Context(), template(1, 0, 0, 0), template(1, 0.1, 0, 0), Policy{}) // nobody's tenant
	do(err)
	do(e.flushAudit(ctx)) // what was decided is before what is written next
	do(e.DeletePerson(ctx, "t", "g", "ann", WriteOptions{}))
	key, _, err := e.CreateKey(ctx, "t", KeySpec{Role: RoleMatcher})
	do(err)
	do(e.RevokeKey(ctx, "t", key.ID))
	do(e.RevokeKey(ctx, "t", key.ID))
	do(e.DeleteGallery(ctx, "t", "g"))
	want := `gallery.create g done fmr=0.001 []
person.put g ann done []
person.put g b"ö< done []
template.add g ann done []
person.update g ann done []
gallery.update g done []
verify g ann match fmr<1e-9 fmr=0.0001 0.4 []
verify g ann no_match fmr>=1e-1 cosine=0.9 0.9 []
verify g nobody refused person_not_found []
verify refused bad_id []
identify g match fmr<1e-9 fpir=0.01 0.25 2 [ann b"ö<]
duplicates g no_match fmr>=1e-1 fpir=0.001 0.34 0 []
compare match fmr<1e-9 fmr=0.0001 0.38 []
person.delete g ann done []
key.create KEY done [] role matcher
key.revoke KEY done []
gallery.delete g done []
`
	var b strings.Builder
	for i, r := range records(t, e, "t") {
		if r.Seq != uint64(i+1) || r.Key != "0011223344556677" || r.Role != RoleAdmin || r.Request != "r-7" || time.Since(r.Time).Abs() > time.Minute {
			t.Errorf("record %d is %+v", i, r)
		}
		threshold, candidates := "", ""
		if r.Threshold != nil {
			threshold = fmt.Sprintf("%.2g", *r.Threshold)
		}
		if r.Candidates != nil {
			candidates = fmt.Sprint(*r.Candidates)
		}
		line := fmt.Sprintln(r.Op, r.Gallery, r.Person, strings.ReplaceAll(r.Target, key.ID, "KEY"), r.Outcome, r.Code, r.Band, r.Policy, threshold, candidates, r.Found, r.Note)
		fmt.Fprintln(&b, strings.Join(strings.Fields(line), " "))
	}
	if b.String() != want {
		t.Errorf("recorded\n%swant\n%s", b.String(), want)
	}
	mustCheck(t, e)
}

func TestAuditBands(t *testing.T) {
	for fmr, want := range map[float64]string{1: "fmr>=1e-1", 0.1: "fmr>=1e-1", 0.099: "fmr<1e-1", 1e-4: "fmr<1e-3", 9.9e-6: "fmr<1e-5", 0: "fmr<1e-9", 1e-30: "fmr<1e-9",
		math.Inf(1): "fmr>=1e-1"} {
		if got := bandOf(fmr); got != want {
			t.Errorf("%v is in band %s, want %s", fmr, got, want)
		}
	}
}

// auditedEngine has a log of a few blocks.
func auditedEngine(t *testing.T) *Engine {
	t.Helper()
	e := openMem(t)
	mustGallery(t, e, "t", "g")
	mustGallery(t, e, "other", "g")
	for i := range 6 {
		if _, _, err := e.PutPerson(asActor(t, fmt.Sprint("w", i)), "t", "g", fmt.Sprint("p", i), PersonSpec{Templates: []Template{template(1, 2, 3, float32(i))}}); err != nil {
			t.Fatal(err)
		}
		for j := range 3 {
			if _, err := e.Verify(asActor(t, fmt.Sprint("v", i, j)), "t", "g", fmt.Sprint("p", i), template(1, 2, 3, 4), Policy{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.flushAudit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// TestAuditFileTampering: every way to change an exported file is noticed, and where it was says the error.
func TestAuditFileTampering(t *testing.T) {
	e := auditedEngine(t)
	file := exported(t, e, "t", 0)
	head, err := e.AuditHead(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := VerifyAudit(bytes.NewReader(file), head)
	if err != nil || sum.Records != 25 || sum.Head != head || sum.Tenant != "t" || sum.After != 0 {
		t.Fatalf("the whole file: %+v, %v; head %v", sum, err, head)
	}
	for i := 0; i < len(file); i += shorter(1, 11) {
		changed := bytes.Clone(file)
		changed[i] ^= 1
		if _, err := VerifyAudit(bytes.NewReader(changed), AuditHead{}); err == nil {
			t.Fatalf("a changed byte %d is not noticed: %.80q", i, changed[max(0, i-40):min(len(changed), i+40)])
		}
	}
	for i := 0; i < len(file); i += shorter(1, 11) {
		if _, err := VerifyAudit(bytes.NewReader(file[:i]), AuditHead{}); !errors.Is(err, ErrAuditFile) {
			t.Fatalf("cut after byte %d: %v", i, err)
		}
	}
	lines := bytes.SplitAfter(file, []byte("\n"))
	lines = lines[:len(lines)-1]
	last := len(lines) - 1
	for name, c := range map[string]struct {
		lines [][]byte
		seq   uint64
	}{
		"dropped first":   {slices.Delete(slices.Clone(lines), 1, 2), 1},
		"dropped":         {slices.Delete(slices.Clone(lines), 9, 10), 9},
		"dropped last":    {slices.Delete(slices.Clone(lines), last-1, last), 25},
		"doubled":         {slices.Insert(slices.Clone(lines), 5, lines[4]), 5},
		"swapped":         {swapped(lines, 7, 8), 7},
		"first and last":  {swapped(lines, 1, last-1), 1},
		"without trailer": {lines[:last], 26},
		"two files":       {slices.Concat(lines, lines), 0},
		"other tenant":    {replaced(lines, 0, `"tenant":"t"`, `"tenant":"other"`), 1},
		"other person":    {replaced(lines, 10, `"person":"p`, `"person":"q`), 10},
		"later start":     {append([][]byte{[]byte(strings.Replace(string(lines[0]), `"after":0`, `"after":3`, 1))}, lines[4:]...), 4},
	} {
		_, err := VerifyAudit(bytes.NewReader(bytes.Join(c.lines, nil)), AuditHead{})
		bad, ok := errors.AsType[*AuditFileError](err)
		if !ok || bad.Seq != c.seq {
			t.Errorf("%s: %v, want record %d", name, err, c.seq)
		}
	}
}

func swapped(lines [][]byte, i, j int) [][]byte {
	lines = slices.Clone(lines)
	lines[i], lines[j] = lines[j], lines[i]
	return lines
}

func replaced(lines [][]byte, i int, from, to string) [][]byte {
	lines = slices.Clone(lines)
	lines[i] = []byte(strings.Replace(string(lines[i]), from, to, 1))
	return lines
}

// TestAuditForgery: who rewrites a file with right hashes, or drops its end with the trailer mended, needs another head than the
// one that was noted down.
func TestAuditForgery(t *testing.T) {
	e := auditedEngine(t)
	noted, err := e.AuditHead(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	lines := auditLog(t, e, "t")
	forge := func(n int, change func(i int, line string) string) []byte {
		var b bytes.Buffer
		fmt.Fprintf(&b, `{"format":"mien audit v1","tenant":"t","after":0,"hash":"%v"}`+"\n", AuditHash{})
		var at AuditHead
		for i, l := range lines[:n] {
			line := change(i, string(l.Record))
			at = at.follow("t", []byte(line))
			b.Write(appendAuditLine(nil, at.Hash, []byte(line)))
		}
		fmt.Fprintf(&b, `{"end":true,"last":%d,"hash":"%v"}`+"\n", at.Seq, at.Hash)
		return b.Bytes()
	}
	same := func(_ int, line string) string { return line }
	if file := forge(len(lines), same); !bytes.Equal(file, exported(t, e, "t", 0)) {
		t.Fatalf("a file by the documented format differs from the export:\n%s", file)
	}
	rewritten := forge(len(lines), func(i int, line string) string {
		if i == 12 {
			return strings.Replace(line, `"outcome":"`, `"outcome":"no_`, 1)
		}
		return line
	})
	for name, file := range map[string][]byte{"rewritten": rewritten, "cut": forge(len(lines)-1, same)} {
		if _, err := VerifyAudit(bytes.NewReader(file), AuditHead{}); err != nil {
			t.Errorf("%s is a chain of its own, so without a head nothing is wrong: %v", name, err)
		}
		if _, err := VerifyAudit(bytes.NewReader(file), noted); !errors.Is(err, ErrAuditFile) {
			t.Errorf("%s passes for the noted head: %v", name, err)
		}
	}
	later := exported(t, e, "t", 0)
	if _, err := VerifyAudit(bytes.NewReader(later), AuditHead{3, lines[2].Hash}); err != nil {
		t.Errorf("an older head: %v", err)
	}
	if _, err := VerifyAudit(bytes.NewReader(exported(t, e, "t", 5)), AuditHead{5, lines[4].Hash}); err != nil {
		t.Errorf("the head that an export begins after: %v", err)
	}
	if _, err := VerifyAudit(bytes.NewReader(exported(t, e, "t", 5)), AuditHead{4, lines[3].Hash}); !errors.Is(err, ErrAuditFile) {
		t.Errorf("a head before the file: %v", err)
	}
}

// TestAuditStoreTampering: blocks that are changed, moved, dropped or another tenant's are damage.
func TestAuditStoreTampering(t *testing.T) {
	block := func(e *Engine, tenant string, n int) (key, value []byte) {
		i := 0
		if err := e.store.each(auditPrefix(tenant), prefixEnd(auditPrefix(tenant)), func(k, v []byte) (bool, error) {
			if i == n {
				key, value = bytes.Clone(k), bytes.Clone(v)
			}
			i++
			return true, nil
		}); err != nil || key == nil {
			t.Fatal(n, err)
		}
		return key, value
	}
	for name, tamper := range map[string]func(e *Engine) (key, value []byte){
		"flipped": func(e *Engine) ([]byte, []byte) { k, v := block(e, "t", 4); v[len(v)/2] ^= 1; return k, v },
		"moved":   func(e *Engine) ([]byte, []byte) { k, _ := block(e, "t", 4); _, v := block(e, "t", 5); return k, v },
		"foreign": func(e *Engine) ([]byte, []byte) { k, _ := block(e, "t", 0); _, v := block(e, "other", 0); return k, v },
		"dropped": func(e *Engine) ([]byte, []byte) { k, _ := block(e, "t", 4); return k, nil },
	} {
		t.Run(name, func(t *testing.T) {
			e := auditedEngine(t)
			k, v := tamper(e)
			if v == nil {
				must(e.store.db.Delete(k, nil))
			} else {
				must(e.store.db.Set(k, v, nil))
			}
			x, err := e.ExportAudit(t.Context(), "t", 0)
			if err == nil {
				_, err = io.ReadAll(x)
			}
			wantErr(t, err, ErrCorrupt)
		})
	}
}

// TestAuditExportAfter: an export can begin after any record, and pieces are the whole.
func TestAuditExportAfter(t *testing.T) {
	e := auditedEngine(t)
	whole := bytes.SplitAfter(exported(t, e, "t", 0), []byte("\n"))
	for after := range uint64(26) {
		file := exported(t, e, "t", after)
		if sum, err := VerifyAudit(bytes.NewReader(file), AuditHead{}); err != nil || sum.After != after || sum.Records != 25-after {
			t.Fatalf("after %d: %+v, %v", after, sum, err)
		}
		lines := bytes.SplitAfter(file, []byte("\n"))
		if !slices.EqualFunc(lines[1:], whole[1+after:], bytes.Equal) {
			t.Fatalf("after %d: another text", after)
		}
	}
	_, err := e.ExportAudit(t.Context(), "t", 26)
	wantErr(t, err, ErrCursor)
	if sum, err := VerifyAudit(bytes.NewReader(exported(t, e, "nobody", 0)), AuditHead{}); err != nil || sum.Records != 0 {
		t.Errorf("the log of a tenant without records: %+v, %v", sum, err)
	}
}

// TestAuditList: filters and pages.
func TestAuditList(t *testing.T) {
	e := auditedEngine(t)
	all := auditLog(t, e, "t")
	var paged []AuditLine
	for q := (AuditQuery{Limit: 4}); ; {
		page, err := e.Audit(t.Context(), "t", q)
		if err != nil || len(page.Records) > 4 {
			t.Fatal(page, err)
		}
		paged = append(paged, page.Records...)
		if q.Cursor = page.Next; q.Cursor == "" {
			break
		}
	}
	slices.Reverse(paged)
	if len(all) != 25 || fmt.Sprint(paged) != fmt.Sprint(all) {
		t.Errorf("pages have %d records, want %d, or in another order", len(paged), len(all))
	}
	var mid AuditRecord
	must(json.Unmarshal(all[12].Record, &mid))
	for name, c := range map[string]struct {
		q    AuditQuery
		want int
	}{
		"person":        {AuditQuery{Person: "p3"}, 4},
		"nobody":        {AuditQuery{Person: "p33"}, 0},
		"gallery":       {AuditQuery{Gallery: "g"}, 25},
		"other gallery": {AuditQuery{Gallery: "h"}, 0},
		"all from":      {AuditQuery{From: mid.Time.Add(-time.Hour)}, 25},
		"none from":     {AuditQuery{From: mid.Time.Add(time.Hour)}, 0},
		"none to":       {AuditQuery{To: mid.Time.Add(-time.Hour)}, 0},
		"all to":        {AuditQuery{To: mid.Time.Add(time.Hour)}, 25},
	} {
		page, err := e.Audit(t.Context(), "t", c.q)
		if err != nil || len(page.Records) != c.want {
			t.Errorf("%s: %d records, want %d: %v", name, len(page.Records), c.want, err)
		}
	}
	for _, q := range []AuditQuery{{Limit: -1}, {Limit: MaxListLimit + 1}, {Cursor: "x"}, {Cursor: "0"}, {Cursor: "01"}, {Gallery: "-"}, {Person: ".."}} {
		if _, err := e.Audit(t.Context(), "t", q); Detail(err) == "" {
			t.Errorf("%+v is not refused: %v", q, err)
		}
	}
}

// TestAuditTenants: concurrent writers and deciders of several tenants, each with a whole log of its own.
func TestAuditTenants(t *testing.T) {
	e := openMem(t)
	const tenants, rounds = 4, 60
	var wg sync.WaitGroup
	for i := range tenants {
		tenant := fmt.Sprint("t", i)
		mustGallery(t, e, tenant, "g")
		for w := range 3 {
			wg.Go(func() {
				for j := range rounds {
					id := fmt.Sprint("p", w, j%4)
					if _, _, err := e.PutPerson(context.Background(), tenant, "g", id, PersonSpec{Templates: []Template{template(1, 2, 3, 4)}}); err != nil {
						t.Error(err)
					}
					if _, err := e.Verify(context.Background(), tenant, "g", id, template(1, 2, 3, 4), Policy{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	mustCheck(t, e)
	for i := range tenants {
		if n := len(records(t, e, fmt.Sprint("t", i))); n != 1+3*rounds*2 {
			t.Errorf("tenant %d has %d records, want %d", i, n, 1+3*rounds*2)
		}
	}
}

// TestAuditCrash: in a crash image is the record of every write that was acknowledged, and none is there twice or without
// its write; with AuditSync the same holds of decisions.
func TestAuditCrash(t *testing.T) {
	rng := newRand(t)
	for range scaled(2) {
		for _, mode := range []string{AuditAsync, AuditSync} {
			auditCrashRound(t, rng, mode)
		}
	}
}

func auditCrashRound(t *testing.T, rng *rand.Rand, mode string) {
	mem := vfs.NewCrashableMem()
	c := testConfig(mem)
	c.Audit = mode
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	var acked struct {
		sync.Mutex
		requests []string
	}
	stop := new(atomic.Bool)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				write, decision, id := fmt.Sprintf("w-%d-%d", w, i), fmt.Sprintf("d-%d-%d", w, i), fmt.Sprint(w, "-", i%5)
				ctx := func(request string) context.Context { return WithActor(context.Background(), Actor{Request: request}) }
				_, _, err := e.PutPerson(ctx(write), "t", "g", id, PersonSpec{Templates: []Template{template(1, 2, 3, 4)}})
				_, err2 := e.Verify(ctx(decision), "t", "g", id, template(1, 2, 3, 4), Policy{})
				if err != nil || err2 != nil {
					t.Error(err, err2)
				}
				acked.Lock()
				if acked.requests = append(acked.requests, write); mode == AuditSync {
					acked.requests = append(acked.requests, decision)
				}
				acked.Unlock()
			}
		})
	}
	for range 4 {
		time.Sleep(time.Duration(rng.IntN(30)) * time.Millisecond)
		acked.Lock()
		want := slices.Clone(acked.requests)
		acked.Unlock()
		image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
		again, err := Open(testConfig(image))
		if err != nil {
			t.Fatal(err)
		}
		mustCheck(t, again)
		seen := map[string]int{}
		for _, r := range records(t, again, "t") {
			seen[r.Request]++
		}
		for _, request := range want {
			if seen[request] != 1 {
				t.Errorf("%s: the record of acknowledged %s is there %d times", mode, request, seen[request])
			}
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
}

// TestAuditSurvivesClose: what was decided before Close is there after it.
func TestAuditSurvivesClose(t *testing.T) {
	c := testConfig(vfs.NewMem())
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	for i := range 50 {
		if err := e.AuditRefusal(asActor(t, fmt.Sprint(i)), "t", AuditIdentify, "g", "", "no_face"); err != nil {
			t.Fatal(err)
		}
	}
	before, err := e.AuditHead(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	e = reopen(t, e, c)
	mustCheck(t, e)
	if all := records(t, e, "t"); len(all) != 51 || all[50].Request != "49" || all[50].Code != "no_face" {
		t.Errorf("%d records are left: %+v", len(all), all[len(all)-1])
	}
	if after, err := e.AuditHead(t.Context(), "t"); err != nil || after != before {
		t.Errorf("the head is %v, was %v: %v", after, before, err)
	}
}

// TestAuditFullQueue: while the disk stands still, decisions are answered until the queue is full, then refused within their time.
func TestAuditFullQueue(t *testing.T) {
	fs := newSlowSync(vfs.NewCrashableMem())
	e := open(t, testConfig(fs))
	mustGallery(t, e, "t", "g")
	if _, _, err := e.PutPerson(t.Context(), "t", "g", "a", PersonSpec{Templates: []Template{template(1, 2, 3, 4)}}); err != nil {
		t.Fatal(err)
	}
	fs.hold()
	verify := func(ctx context.Context) error {
		_, err := e.Verify(ctx, "t", "g", "a", template(1, 2, 3, 4), Policy{})
		return err
	}
	answered := 0
	for {
		brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := verify(brief)
		cancel()
		if err != nil {
			wantErr(t, err, ErrAudit)
			wantErr(t, err, context.DeadlineExceeded)
			break
		}
		if answered++; answered > maxAuditQueued+2*maxAuditBlock {
			t.Fatal("the queue has no bound")
		}
	}
	fs.release()
	if err := verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, e)
	decided := 0
	for _, r := range records(t, e, "t") {
		if r.Op == AuditVerify {
			decided++
		}
	}
	if decided != answered+1 {
		t.Errorf("%d decisions are recorded, %d were answered", decided, answered+1)
	}
}

// TestAuditSync: with AuditSync no decision is answered before its record is durable.
func TestAuditSync(t *testing.T) {
	fs := newSlowSync(vfs.NewCrashableMem())
	c := testConfig(fs)
	c.Audit = AuditSync
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	if _, _, err := e.PutPerson(t.Context(), "t", "g", "a", PersonSpec{Templates: []Template{template(1, 2, 3, 4)}}); err != nil {
		t.Fatal(err)
	}
	fs.hold()
	brief, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	d, err := e.Verify(brief, "t", "g", "a", template(1, 2, 3, 4), Policy{})
	wantErr(t, err, ErrAudit)
	if d != (Decision{}) {
		t.Errorf("the decision was told: %+v", d)
	}
	fs.release()
	if _, err := e.Verify(t.Context(), "t", "g", "a", template(1, 2, 3, 4), Policy{}); err != nil {
		t.Fatal(err)
	}
	mustCheck(t, e)
}

func TestAuditWritesOnly(t *testing.T) {
	c := testConfig(vfs.NewMem())
	c.Audit = AuditWrites
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	if _, err := e.Identify(t.Context(), "t", "g", template(1, 2, 3, 4), IdentifyOptions{}); err != nil {
		t.Fatal(err)
	}
	if all := records(t, e, "t"); len(all) != 1 {
		t.Errorf("%+v is recorded, want the gallery's creation alone", all)
	}
	c.Audit = "never"
	_, err := Open(c)
	wantErr(t, err, ErrConfig)
}

// TestAuditOnFailedDisk: searches go on, as the log can't; AuditSync ends them. The gap of a full disk is written down.
func TestAuditOnFailedDisk(t *testing.T) {
	for mode, want := range map[string]error{AuditAsync: nil, AuditSync: ErrStorageFailed} {
		c := testConfig(vfs.NewMem())
		c.Audit = mode
		e := open(t, c)
		mustGallery(t, e, "t", "g")
		e.store.fs.halt(errors.New("broken by the test"))
		_, err := e.Identify(t.Context(), "t", "g", template(1, 2, 3, 4), IdentifyOptions{})
		wantErr(t, err, want)
		if e.flushAudit(t.Context()); e.AuditLost("t") != 1 {
			t.Errorf("%s: %d records are lost, want 1", mode, e.AuditLost("t"))
		}
		if err := e.Close(); !errors.Is(err, ErrStorageFailed) {
			t.Error(err)
		}
	}
}

func TestAuditGap(t *testing.T) {
	fs := &sizedFS{FS: vfs.NewMem()}
	fs.free.Store(1 << 40)
	c := testConfig(fs)
	c.MinFreeBytes, c.diskCheckEvery = 1<<20, time.Nanosecond
	e := open(t, c)
	mustGallery(t, e, "t", "g")
	identify := func() {
		t.Helper()
		if _, err := e.Identify(t.Context(), "t", "g", template(1, 2, 3, 4), IdentifyOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := e.flushAudit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fs.free.Store(1000)
	identify()
	identify()
	fs.free.Store(1 << 40)
	identify()
	all := records(t, e, "t")
	if len(all) != 3 || all[1].Op != auditLost || all[1].Note != "2 records could not be written" || all[2].Op != AuditIdentify || e.AuditLost("t") != 2 {
		t.Errorf("recorded %+v, %d lost", all, e.AuditLost("t"))
	}
	mustCheck(t, e)
}

// TestAuditNeverHasBiometrics plants values and looks for them in an export, in every text they could have.
func TestAuditNeverHasBiometrics(t *testing.T) {
	e := openMem(t)
	ctx := asActor(t, "r")
	if _, _, err := e.CreateGallery(ctx, "t", "g", GallerySpec{KeepPhotos: true}); err != nil {
		t.Fatal(err)
	}
	photo := []byte("PLANTED PHOTO BYTES 0123456789")
	v := template(0.12345678, 0.87654321, -0.55555555, 0.33333333)
	v.Photo = &Photo{Image: photo, Box: [4]float32{77.125, 88.25, 99.5, 66.75}}
	if _, _, err := e.PutPerson(ctx, "t", "g", "a", PersonSpec{Templates: []Template{v}, Metadata: json.RawMessage(`{"PLANTED":"METADATA"}`)}); err != nil {
		t.Fatal(err)
	}
	_, token, err := e.CreateKey(ctx, "t", KeySpec{Role: RoleMatcher, Label: "PLANTED LABEL"})
	if err != nil {
		t.Fatal(err)
	}
	probe := template(0.2, 0.7, -0.5, 0.4)
	d, err := e.Verify(ctx, "t", "g", "a", probe, Policy{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.Identify(ctx, "t", "g", probe, IdentifyOptions{})
	if err != nil || len(c.Candidates) != 1 {
		t.Fatal(c, err)
	}
	file := exported(t, e, "t", 0)
	unit, _ := unitVector(spaceA, v.Vector)
	raw := appendVector(nil, unit)
	planted := []string{"PLANTED", base64.StdEncoding.EncodeToString(photo), base64.StdEncoding.EncodeToString(raw), string(raw),
		token[len(tokenPrefix)+2*keyIDBytes+1:], "77.125", "88.25", string(testKey)}
	for _, x := range []float64{d.Cosine, d.Similarity, d.FMR, c.Candidates[0].FPIR, float64(unit[0]), float64(v.Vector[0]), float64(probe.Vector[1])} {
		planted = append(planted, fmt.Sprintf("%.4f", x), fmt.Sprintf("%.4g", x))
	}
	for _, p := range planted {
		if p != "0" && p != "1" && p != "0.0000" && p != "1.0000" && bytes.Contains(file, []byte(p)) {
			t.Errorf("the export has %q:\n%s", p, file)
		}
	}
	if len(records(t, e, "t")) != 5 {
		t.Error("not everything was recorded")
	}
}

func FuzzVerifyAudit(f *testing.F) {
	f.Add([]byte(`{"format":"mien audit v1","tenant":"t","after":0,"hash":"0000000000000000000000000000000000000000000000000000000000000000"}` + "\n" +
		`{"end":true,"last":0,"hash":"0000000000000000000000000000000000000000000000000000000000000000"}` + "\n"))
	f.Add([]byte(`{"hash":"00`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sum, err := VerifyAudit(bytes.NewReader(b), AuditHead{})
		if err == nil && sum.Records > uint64(bytes.Count(b, []byte("\n"))) {
			t.Errorf("%+v of %d bytes", sum, len(b))
		}
	})
}

func FuzzAuditBlock(f *testing.F) {
	b := newAuditBlock(AuditHead{}, 1)
	b.add(&auditEntry{tenant: "t", op: AuditVerify})
	f.Add(uint64(1), b.plain)
	f.Fuzz(func(t *testing.T, first uint64, plain []byte) {
		n := 0
		if _, err := auditLines("t", first, plain, func(AuditHead, []byte) error { n++; return nil }); err == nil && n == 0 {
			t.Error("a block without a record")
		}
	})
}

// BenchmarkDecided is what a decision's record costs its caller: with one caller, and with all cores at it.
func BenchmarkDecided(b *testing.B) {
	e := openMem(b)
	mustGallery(b, e, "t", "g")
	ctx := WithActor(context.Background(), Actor{Tenant: "t", Key: "0011223344556677", Role: RoleMatcher, Request: "0123456789abcdef"})
	d := Decision{Match: true, FMR: 1e-6, Threshold: 0.38}
	p := Policy{FMR: new(1e-4)}
	one := func() {
		if err := e.decided(ctx, d.entry(&auditEntry{tenant: "t", op: AuditVerify, gallery: "g", person: "a-person"}, p)); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("caller", func(b *testing.B) { // with a queue that nobody reads meanwhile
		b.ReportAllocs()
		theirs := e.auditing
		defer func() { e.auditing = theirs }()
		e.auditing = &auditQueue{mode: AuditAsync, entries: make(chan auditEntry, 1024), now: time.Now}
		for i := 0; i < b.N; i++ {
			if i%1024 == 0 {
				b.StopTimer()
				for len(e.auditing.entries) > 0 {
					<-e.auditing.entries
				}
				b.StartTimer()
			}
			one()
		}
	})
	b.Run("flat out", func(b *testing.B) { // the writer's speed
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	})
}
