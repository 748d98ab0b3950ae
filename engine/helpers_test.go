package engine

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var (
	long = flag.Bool("long", false, "run the random tests for minutes instead of seconds")
	seed = flag.Uint64("seed", 0, "seed of the random tests; 0 takes one from the clock")
)

// scaled is n, or a good deal more with -long.
func scaled(n int) int {
	if *long {
		return 50 * n
	}
	return n
}

// shorter is n, or less with -short.
func shorter(n, less int) int {
	if testing.Short() {
		return less
	}
	return n
}

func newRand(t testing.TB) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

var (
	testKey   = bytes.Repeat([]byte{7}, MasterKeyBytes)
	testCurve = Calibration{Points: []CalibrationPoint{
		{Cosine: 0.05, FMR: 0.3}, {Cosine: 0.2, FMR: 1e-2}, {Cosine: 0.3, FMR: 1e-3}, {Cosine: 0.38, FMR: 1e-4},
		{Cosine: 0.45, FMR: 1e-5}, {Cosine: 0.5, FMR: 1e-6, Extrapolated: true},
	}}
	spaceA = Space{ID: "a-4", Dim: 4, Calibration: testCurve}
	spaceB = Space{ID: "b-20", Dim: 20, Calibration: testCurve}
)

func testConfig(fs vfs.FS) Config {
	return Config{Dir: "data", MasterKey: testKey, Spaces: []Space{spaceA, spaceB}, FS: fs, MinFreeBytes: -1, RecallSample: -1, Extract: extractTest}
}

func open(t testing.TB, c Config) *Engine {
	t.Helper()
	e, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func openMem(t testing.TB) *Engine { return open(t, testConfig(vfs.NewMem())) }

func reopen(t testing.TB, e *Engine, c Config) *Engine {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, c)
}

func mustGallery(t testing.TB, e *Engine, tenant, name string) {
	t.Helper()
	if _, _, err := e.CreateGallery(context.Background(), tenant, name, GallerySpec{}); err != nil {
		t.Fatal(err)
	}
}

func template(v ...float32) Template {
	return Template{Space: spaceA.ID, Vector: v, Source: "template"}
}

// randomUnit is a random direction of a space.
func randomUnit(rng *rand.Rand, s Space) Template {
	v := make([]float32, s.Dim)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return Template{Space: s.ID, Vector: v, Source: "image"}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error %v, want %v", err, want)
	}
}

// check verifies a quiet engine, once its jobs have ended: memory and index hold what the store holds, and the store holds nothing
// half-written.
func check(e *Engine) error {
	if err := quietJobs(e); err != nil {
		return err
	}
	seq, _, err := e.store.get(nil, keySequence)
	if err != nil || binary.BigEndian.Uint64(seq) != e.store.seq {
		return fmt.Errorf("sequence %x, in memory %d: %v", seq, e.store.seq, err)
	}
	for tenant := range e.mu.sealers {
		if err := checkAudit(e, tenant); err != nil {
			return fmt.Errorf("audit log of %q: %w", tenant, err)
		}
	}
	people, templates, photos, due := 0, 0, 0, 0
	for _, g := range e.allGalleries() {
		if err := checkGallery(e, g); err != nil {
			return fmt.Errorf("gallery %q: %w", g.name, err)
		}
		if err := checkMove(e, g); err != nil {
			return fmt.Errorf("move of gallery %q: %w", g.name, err)
		}
		if err := checkTraits(e, g); err != nil {
			return fmt.Errorf("traits of gallery %q: %w", g.name, err)
		}
		n, err := checkPhotos(e, g)
		if err != nil {
			return fmt.Errorf("photos of gallery %q: %w", g.name, err)
		}
		for _, m := range g.mu.people {
			due += int(min(m.due, 1))
		}
		people, templates, photos = people+len(g.mu.people), templates+g.mu.templates, photos+n
	}
	if err := checkDocuments(e); err != nil {
		return err
	}
	jobKeys, err := checkJobs(e)
	if err != nil {
		return err
	}
	onceKeys, err := checkOnces(e)
	if err != nil {
		return fmt.Errorf("requests: %w", err)
	}
	for prefix, want := range map[byte]int{prefixJob: jobKeys, prefixOnce: onceKeys, prefixPerson: people, prefixTemplate: templates, prefixPhoto: photos, prefixDue: due,
		prefixGallery: len(e.mu.galleries), prefixAPIKey: len(e.mu.keys), prefixTenant: len(e.mu.sealers)} {
		n := 0
		err := e.store.each([]byte{prefix}, []byte{prefix + 1}, func(_, _ []byte) (bool, error) { n++; return true, nil })
		if err != nil || n != want {
			return fmt.Errorf("%d keys of prefix %d, want %d: %v", n, prefix, want, err)
		}
	}
	return nil
}

// recordOf is a person's record in a gallery, with the key of its rows.
func recordOf(t testing.TB, e *Engine, g *gallery, id string) *personRecord {
	t.Helper()
	row, found, err := e.store.get(nil, personKey(g.record.Number, id))
	if err != nil || !found {
		t.Fatalf("%q is not in the store: %v", id, err)
	}
	r, err := g.openPerson(id, row)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// quietJobs waits until all jobs have ended.
func quietJobs(e *Engine) error {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Microsecond) {
		running := 0
		for _, x := range e.jobs.of("") {
			if !JobState(x.snapshot().State).ended() {
				running++
			}
		}
		if running == 0 {
			return e.store.settle(context.Background(), e.store.last.Load())
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d jobs have not ended", running)
		}
	}
}

// checkJobs verifies that each job's record and results in the store are those in memory, and that results name people who are there
// (J3), and counts their keys.
func checkJobs(e *Engine) (keys int, err error) {
	for _, x := range e.jobs.of("") {
		if e.mu.galleries[galleryName{x.g.tenant, x.g.name}] != x.g {
			return 0, fmt.Errorf("job %s is of a gallery that is gone", x.id)
		}
		sealed, _, err := e.store.get(nil, jobKey(x.g.record.Number, x.id))
		if err != nil {
			return 0, err
		}
		var r jobRecord
		plain, err := x.g.seal.open(nil, x.place(), sealed)
		if err == nil {
			err = parseJSONRecord(plain, &r)
		}
		if have := x.snapshot(); err != nil || !reflect.DeepEqual(r, have) {
			return 0, fmt.Errorf("job %s is %+v in the store and %+v in memory: %v", x.id, r, have, err)
		}
		stored := &job{id: x.id, g: x.g}
		stored.mu.results = newResults()
		for key, have := range x.mu.all {
			sealed, _, err := e.store.get(nil, resultKeyOf(x.g.record.Number, x.id, have.number))
			if err != nil {
				return 0, err
			}
			if err := stored.loadResult(have.number, sealed); err != nil || !reflect.DeepEqual(stored.mu.all[key], have) {
				return 0, fmt.Errorf("result %+v is %+v in the store: %v", have, stored.mu.all[key], err)
			}
			if x.g.mu.people[have.A] == nil || have.B != "" && x.g.mu.people[have.B] == nil {
				return 0, fmt.Errorf("result %+v names who is not there", have)
			}
		}
		if s := &stored.mu; s.pairs != x.mu.pairs || s.findings != x.mu.findings || s.mislabelled != x.mu.mislabelled || !reflect.DeepEqual(s.names, x.mu.names) {
			return 0, fmt.Errorf("counts %+v differ from %+v", s.results, x.mu.results)
		}
		keys += 1 + len(x.mu.all)
	}
	return keys, nil
}

// checkOnces verifies that the index has exactly the requests of memory's count, that each record opens, and that an answer in a row of
// its own is of a record that says so and of a person who is there; it counts their keys.
func checkOnces(e *Engine) (keys int, err error) {
	rows := make(map[string]bool)
	for tenant, sealer := range e.mu.sealers {
		n, oldest := 0, int64(0)
		err := e.store.eachOnce(tenant, func(made int64, id onceID) (bool, error) {
			r, err := e.store.onceRecord(tenant, sealer, id)
			if err != nil || r == nil || r.Made != made || len(r.Request) != sha256.Size || (r.Number == 0) == (r.Answer == nil) {
				return false, fmt.Errorf("record %+v of %d: %w", r, made, err)
			}
			if n++; n == 1 {
				oldest = made
			}
			if r.Number != 0 {
				rows[string(onceAnswerKey(r.Number, r.Person, id))] = true
			}
			return true, nil
		})
		if have := e.store.once.count(tenant); err == nil && (have.n != n || have.oldest > oldest) {
			err = fmt.Errorf("%d from %d, in memory %+v", n, oldest, have)
		}
		if err != nil {
			return 0, err
		}
		keys += 2 * n
	}
	people := make(map[string]bool)
	for _, g := range e.allGalleries() {
		for id := range g.mu.people {
			people[string(append(onceAnswerPrefix(g.record.Number), id...))] = true
		}
	}
	prefix := []byte{prefixOnce, onceAnswer}
	return keys, e.store.each(prefix, prefixEnd(prefix), func(key, _ []byte) (bool, error) {
		keys++
		if !rows[string(key)] || !people[string(key[:len(key)-1-len(onceID{})])] {
			return false, fmt.Errorf("answer %q is of no record, or of nobody", key)
		}
		return true, nil
	})
}

// checkPhotos verifies that a photo is there of every template that says so (P1), and none else, and counts them.
func checkPhotos(e *Engine, g *gallery) (n int, err error) {
	_, err = e.readPeople(g, func(id string, r *personRecord) {
		for _, t := range r.templates {
			if !t.photo {
				continue
			}
			n++
			if _, bad := g.photo(e.store, id, r.key, t.number); bad != nil || !g.record.KeepPhotos {
				err = cmp.Or(err, fmt.Errorf("template %d of %q: %w", t.number, id, bad))
			}
		}
	})
	return n, err
}

// checkAudit verifies that a log is one chain which ends where memory says.
func checkAudit(e *Engine, tenant string) error {
	if err := e.flushAudit(context.Background()); err != nil {
		return err
	}
	var at AuditHead
	prefix := auditPrefix(tenant)
	err := e.store.each(prefix, prefixEnd(prefix), func(key, sealed []byte) (bool, error) {
		first, plain, err := e.openAudit(tenant, key, sealed)
		if err != nil {
			return false, err
		}
		if at.Seq == 0 {
			at = AuditHead{first - 1, AuditHash(plain[1:auditBlockHead])}
		}
		if first != at.Seq+1 || !bytes.Equal(plain[1:auditBlockHead], at.Hash[:]) {
			return false, fmt.Errorf("a block begins with %d after %d, or another hash", first, at.Seq)
		}
		at, err = auditLines(tenant, first, plain, func(at AuditHead, line []byte) error {
			var r AuditRecord
			if err := json.Unmarshal(line, &r); err != nil || r.Seq != at.Seq {
				return fmt.Errorf("record %d is %s: %v", at.Seq, line, err)
			}
			return nil
		})
		return true, err
	})
	if have := e.store.audit.durable(tenant); err == nil && have != at {
		return fmt.Errorf("it ends with %v, in memory with %v", at, have)
	}
	return err
}

// auditLog is a tenant's whole log, oldest first.
func auditLog(t testing.TB, e *Engine, tenant string) (all []AuditLine) {
	t.Helper()
	q := AuditQuery{Limit: MaxListLimit}
	for {
		page, err := e.Audit(context.Background(), tenant, q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Records...)
		if q.Cursor = page.Next; q.Cursor == "" {
			slices.Reverse(all)
			return all
		}
	}
}

// checkTraits verifies that no template of the history is there, and that memory has everybody's traits, by row too.
func checkTraits(e *Engine, g *gallery) (err error) {
	suspended := 0
	_, err = e.readPeople(g, func(id string, r *personRecord) {
		for _, t := range r.history {
			if _, found, bad := e.store.get(nil, templateKey(g.record.Number, id, t.number)); bad != nil || found || r.has(t.number) || t.photo {
				err = cmp.Or(err, fmt.Errorf("template %d of %q is there still: %v, %v", t.number, id, found, bad))
			}
		}
		m := g.mu.people[id]
		suspended += int(bit(r.suspended))
		if want := g.traitsOf(r); !reflect.DeepEqual(m.traits, want) {
			err = cmp.Or(err, fmt.Errorf("traits of %q are %+v, want %+v", id, m.traits, want))
		}
		if c := g.mu.columns; c != nil {
			for _, row := range m.rows {
				for state, rows := range c.states {
					if is := rows[row/64]>>(row%64)&1 == 1; is != (state == int(bit(r.suspended))) {
						err = cmp.Or(err, fmt.Errorf("row %d of %q has state %d: %v", row, id, state, is))
					}
				}
				for i, v := range m.values {
					if c.values[i][row] != v {
						err = cmp.Or(err, fmt.Errorf("row %d of %q has another value of field %d", row, id, i))
					}
				}
			}
		}
	})
	if c := g.mu.columns; err == nil && (g.mu.suspended != suspended || c == nil && (suspended > 0 || len(g.mu.people) > 0 && len(g.record.Filterable) > 0)) {
		err = fmt.Errorf("%d are suspended, in memory %d; columns %v", suspended, g.mu.suspended, c != nil)
	}
	if c := g.mu.columns; err == nil && c != nil && g.mu.index != nil {
		if _, rows := c.mask(everybody); rows != g.mu.templates {
			err = fmt.Errorf("%d rows have a state, want %d", rows, g.mu.templates)
		}
	}
	return err
}

// checkMove verifies that the person's records in a gallery and its successor differ in their templates only (M2).
func checkMove(e *Engine, g *gallery) error {
	next := g.successor.Load()
	if next == nil {
		return nil
	}
	for id := range next.mu.people {
		var records []*personRecord
		for _, g := range []*gallery{g, next} {
			sealed, found, err := e.store.get(nil, personKey(g.record.Number, id))
			if err != nil || !found {
				return fmt.Errorf("%q is not there in space %q: %v", id, g.record.Space, err)
			}
			r, err := g.openPerson(id, sealed)
			if err != nil {
				return err
			}
			r.templates, r.history, r.next, r.key = nil, nil, 0, nil
			records = append(records, r)
		}
		if a, b := records[0], records[1]; !reflect.DeepEqual(a, b) {
			return fmt.Errorf("%q is %+v and %+v", id, a, b)
		}
	}
	return nil
}

func checkGallery(e *Engine, g *gallery) error {
	if g.mu.behind != nil {
		return g.mu.behind
	}
	record, found, err := (&tx{store: e.store}).gallery(g.tenant, g.name)
	if e.mu.galleries[galleryName{g.tenant, g.name}] != g && record.Move != nil {
		record = record.moved()
	}
	if err != nil || !found || record.Number != g.record.Number || record.successor() != g.successor.Load().number() ||
		!record.rules().equal(g.rules.Load()) {
		return fmt.Errorf("the record %+v (%v, %v) is not what is in memory: %+v", record, found, err, g.rules.Load())
	}
	templates, rows := 0, map[uint32]bool{}
	for id, m := range g.mu.people {
		sealed, found, err := e.store.get(nil, personKey(g.record.Number, id))
		if err != nil || !found {
			return fmt.Errorf("%q is not in the store: %v", id, err)
		}
		r, err := g.openPerson(id, sealed)
		if err != nil {
			return err
		}
		if m.due != r.due() || m.due != 0 && (g.mu.nextDue == 0 || g.mu.nextDue > m.due) {
			return fmt.Errorf("%q is due at %d, in memory at %d, and is looked for at %d", id, r.due(), m.due, g.mu.nextDue)
		}
		if r.version != m.version || len(r.templates) != m.templates || g.mu.ids[m.label] != id {
			return fmt.Errorf("%q: version %d, in memory %d; %d templates, in memory %d", id, r.version, m.version, len(r.templates), m.templates)
		}
		templates += m.templates
		left := slices.Clone(m.rows)
		for _, t := range r.templates {
			if left, err = checkTemplate(e, g, id, r.key, left, t.number); err != nil {
				return err
			}
		}
		for _, row := range m.rows {
			if rows[row] {
				return fmt.Errorf("row %d belongs to two", row)
			}
			rows[row] = true
		}
	}
	if templates != g.mu.templates || g.mu.index != nil && (g.mu.index.Rows() != templates || len(rows) != templates) {
		return fmt.Errorf("%d templates, counted %d, rows %d", templates, g.mu.templates, g.mu.index.Rows())
	}
	return nil
}

// checkTemplate finds a template among the rows of its person, in whatever order they are, and returns the others.
func checkTemplate(e *Engine, g *gallery, id string, key *subjectKey, rows []uint32, number uint32) (left []uint32, err error) {
	sealed, found, err := e.store.get(nil, templateKey(g.record.Number, id, number))
	if err != nil || !found {
		return nil, fmt.Errorf("template %d of %q is not in the store: %v", number, id, err)
	}
	plain, err := g.openRow(nil, key, g.templatePlace(id, number), sealed)
	if err != nil {
		return nil, err
	}
	v := make([]float32, g.record.Dim)
	if err := vectorInto(v, plain); err != nil || g.mu.index == nil {
		return nil, err
	}
	for i, row := range rows {
		dot, err := g.mu.index.Dot(row, v)
		if err != nil {
			return nil, fmt.Errorf("template %d of %q: %w", number, id, err)
		}
		if math.Abs(float64(dot)-1) <= 1e-5 {
			return slices.Delete(rows, i, i+1), nil
		}
	}
	return nil, fmt.Errorf("template %d of %q: none of the rows %v is it", number, id, rows)
}

func mustCheck(t testing.TB, e *Engine) {
	t.Helper()
	if err := check(e); err != nil {
		t.Fatal(err)
	}
}
