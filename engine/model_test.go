package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// model is the engine's specification over plain maps and float64: what every history must agree with,
// across restarts.
type model struct {
	e         *Engine
	config    Config
	rng       *rand.Rand
	galleries map[string]*modelGallery
	versions  map[string]uint64   // gallery/person, to see that versions rise
	photos    map[*float32]*Photo // of templates, by where their vectors are
}

type modelGallery struct {
	space  Space
	move   *Space // where it is being moved to, nil if it is not
	kind   string
	keep   bool // photos
	fields []string
	rules  rules
	people map[string]*modelPerson
}

type modelPerson struct {
	metadata  string
	suspended bool
	history   []string // ids
	vectors   [][]float64
	sources   []*float32 // of each vector
	next      int
	ids       []string
	moved     *modelPerson // with the templates of the space that the gallery is being moved to, and those only
}

var (
	modelGalleries = rapid.SampledFrom([]string{"a", "a.b", "z"})
	modelPeople    = rapid.SampledFrom([]string{"p", "p q", "q", "é", "p/../q", "%2F", "日本"})
	modelKinds     = rapid.SampledFrom([]string{"", indexAuto, indexScan, indexHNSW})
	modelPolicies  = rapid.SampledFrom([]Policy{{}, {FMR: new(1e-5)}, {Cosine: new(0.3)}})
	modelGates     = rapid.SampledFrom([]Gate{nil, {"sharpness": 40}, {"sharpness": 60, "liveness": 50}})
	modelJudged    = rapid.SampledFrom([]float64{0, 39.9, 40, 60, 100})
	// Mostly none, or few people would be alike.
	modelDuplicates = rapid.SampledFrom([]DuplicateCheck{"", "", "", DuplicatesWarn, DuplicatesReject})
	modelAlike      = rapid.SampledFrom([]Policy{{}, {FMR: new(1e-5)}, {Similarity: new(0.9)}})
	modelMetadata   = rapid.SampledFrom([]string{"", `{}`, `{"a":"b"}`, `{"a":"c","n":1}`, `{"a":true,"n":1.0}`, `{"deep":{"x":[1,2,3]},"a":["b"]}`})
	modelFields     = rapid.SampledFrom([][]string{nil, {"a"}, {"n", "a"}, {"deep", "é"}})
	modelValues     = rapid.SliceOfN(rapid.SampledFrom([]any{"b", "c", "1", 1.0, true, false}), 1, 3)
	modelStatuses   = rapid.SampledFrom([]Status{"", StatusActive, StatusSuspended})
)

func newModel(t *rapid.T) *model {
	m := &model{config: testConfig(vfs.NewMem()), rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 3)),
		galleries: map[string]*modelGallery{}, versions: map[string]uint64{}, photos: map[*float32]*Photo{}}
	m.config.RecallSample = 1
	m.open(t)
	return m
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		defer func() { m.e.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"":        m.settle,
			"gallery": m.createGallery, "update gallery": m.updateGallery, "delete gallery": m.deleteGallery, "put": m.put, "put again": m.put, "add": m.add,
			"move": m.startMove, "finish move": m.finishMove, "cancel move": m.cancelMove,
			"dedupe": m.dedupe, "delete job": m.deleteJob,
			"patch": m.patch, "delete": m.delete, "get": m.get, "list": m.list, "verify": m.verify, "identify": m.identify,
			"reopen": m.reopen, "flush": func(t *rapid.T) {
				if err := m.e.store.db.Flush(); err != nil {
					t.Fatal(err)
				}
			},
		})
		m.reopen(t)
	})
}

// TestModelOfPhotos is TestModel of galleries that keep photos, and are moved often.
func TestModelOfPhotos(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t)
		defer func() { m.e.Close() }()
		for _, name := range []string{"a", "a.b", "z"} {
			if _, _, err := m.e.CreateGallery(context.Background(), "t", name, GallerySpec{KeepPhotos: true}); err != nil {
				t.Fatal(err)
			}
			m.galleries[name] = &modelGallery{space: spaceA, kind: indexAuto, keep: true, people: map[string]*modelPerson{}}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": m.settle, "put": m.put, "put again": m.put, "add": m.add, "move": m.startMove, "move again": m.startMove,
			"finish move": m.finishMove, "cancel move": m.cancelMove, "delete": m.delete, "verify": m.verify, "list": m.list, "reopen": m.reopen,
		})
		m.reopen(t)
	})
}

func (m *model) open(t *rapid.T) {
	e, err := Open(m.config)
	if err != nil {
		t.Fatal(err)
	}
	m.e = e
}

func (m *model) reopen(t *rapid.T) {
	if err := errors.Join(check(m.e), m.e.Close()); err != nil {
		t.Fatal(err)
	}
	m.open(t)
	if err := check(m.e); err != nil {
		t.Fatal(err)
	}
	all, err := m.e.Galleries(context.Background(), "t")
	if err != nil || len(all) != len(m.galleries) {
		t.Fatalf("%d galleries, want %d: %v", len(all), len(m.galleries), err)
	}
	for _, g := range all {
		want := m.galleries[g.Name]
		if want == nil || g.People != len(want.people) || g.Templates != want.templates() || g.Space != want.space.ID || g.Index != want.kind || g.KeepPhotos != want.keep ||
			!rulesOf(g).equal(&want.rules) || !want.isMoving(g.Move) {
			t.Fatalf("gallery %+v differs", g)
		}
	}
}

func (g *modelGallery) templates() (n int) {
	for _, p := range g.people {
		n += len(p.vectors)
	}
	return n
}

// want checks an outcome: nil exactly when ok, else target.
func want(t *rapid.T, what string, err error, ok bool, target error) bool {
	if ok && err != nil || !ok && !errors.Is(err, target) {
		t.Fatalf("%s: %v; want success %v, else %v", what, err, ok, target)
	}
	return ok
}

func (m *model) createGallery(t *rapid.T) {
	name, space := modelGalleries.Draw(t, "gallery"), rapid.SampledFrom([]Space{spaceA, spaceB}).Draw(t, "space")
	have, kind, keep, r := m.galleries[name], modelKinds.Draw(t, "index"), rapid.Bool().Draw(t, "keep photos"), modelRules(t)
	fields := modelFields.Draw(t, "filterable")
	_, created, err := m.e.CreateGallery(context.Background(), "t", name, GallerySpec{Space: space.ID, Index: kind, Policy: r.policy, Gate: r.gate, KeepPhotos: keep,
		Duplicates: r.duplicates, DuplicatePolicy: r.duplicatePolicy, History: r.history, Filterable: fields})
	kind = cmp.Or(kind, indexAuto)
	if !want(t, "create", err, have == nil || have.space.ID == space.ID && have.kind == kind && have.keep == keep && slices.Equal(have.fields, fields) && have.rules.equal(&r), ErrGalleryExists) {
		return
	}
	if created != (have == nil) {
		t.Fatalf("created %v", created)
	}
	if created {
		m.galleries[name] = &modelGallery{space: space, kind: kind, keep: keep, fields: fields, rules: r, people: map[string]*modelPerson{}}
	}
}

func modelRules(t *rapid.T) rules {
	return rules{policy: modelPolicies.Draw(t, "policy"), gate: Gates{modelGates.Draw(t, "enrol"), modelGates.Draw(t, "probe")},
		duplicates: modelDuplicates.Draw(t, "duplicates"), duplicatePolicy: modelAlike.Draw(t, "duplicate policy"), history: rapid.IntRange(0, 3).Draw(t, "history")}
}

func rulesOf(g Gallery) *rules {
	return &rules{g.Policy, g.Gate, g.Duplicates, g.DuplicatePolicy, g.RetentionDays, g.History}
}

func (m *model) updateGallery(t *rapid.T) {
	name, r := modelGalleries.Draw(t, "gallery"), modelRules(t)
	g, change := m.galleries[name], GalleryChange{}
	var after rules
	if g != nil {
		after = g.rules
	}
	if rapid.Bool().Draw(t, "change policy") {
		change.Policy, after.policy = &r.policy, r.policy
	}
	if rapid.Bool().Draw(t, "change gate") {
		change.Gate, after.gate = &r.gate, r.gate
	}
	if rapid.Bool().Draw(t, "change duplicates") {
		change.Duplicates, after.duplicates = &r.duplicates, r.duplicates
		change.DuplicatePolicy, after.duplicatePolicy = &r.duplicatePolicy, r.duplicatePolicy
	}
	if rapid.Bool().Draw(t, "change history") {
		change.History, after.history = &r.history, r.history
	}
	got, err := m.e.UpdateGallery(context.Background(), "t", name, change)
	if !want(t, "update gallery", err, g != nil, ErrGalleryNotFound) {
		return
	}
	if g.rules = after; !rulesOf(got).equal(&after) {
		t.Fatalf("%+v, want %+v", got, after)
	}
}

// photo makes some templates come from photos, with sharpness judged, and often liveness. passes is what the gallery's
// gate and the call's make of it.
func (m *model) photo(t *rapid.T, v *Template, gate Gate, often bool) (passes error) {
	if rapid.IntRange(0, 2).Draw(t, "photo") > 0 && !often {
		return nil
	}
	v.Photo = &Photo{Judged: map[string]float64{"sharpness": modelJudged.Draw(t, "sharpness")}, Gate: modelGates.Draw(t, "call's gate")}
	if rapid.IntRange(0, 3).Draw(t, "live") > 0 {
		v.Photo.Judged["liveness"] = modelJudged.Draw(t, "liveness")
	}
	for _, g := range []Gate{gate, v.Photo.Gate} {
		for name, least := range g {
			if value, ok := v.Photo.Judged[name]; !ok {
				return ErrUnjudged
			} else if value < least {
				passes = ErrQuality
			}
		}
	}
	return passes
}

func (m *model) deleteGallery(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "rarely") != 0 {
		return
	}
	name := modelGalleries.Draw(t, "gallery")
	want(t, "delete gallery", m.e.DeleteGallery(context.Background(), "t", name), m.galleries[name] != nil, ErrGalleryNotFound)
	delete(m.galleries, name)
}

// dedupe starts a job, of which what it finds is checked by check: that results name people who are there, on whatever comes next.
func (m *model) dedupe(t *rapid.T) {
	name := modelGalleries.Draw(t, "gallery")
	g := m.galleries[name]
	_, _, err := m.e.StartDedupe(context.Background(), "t", name, DedupeSpec{Policy: Policy{Cosine: new(0.3)}, MaxPairs: rapid.IntRange(1, 5).Draw(t, "pairs")})
	if g != nil && (errors.Is(err, ErrJobsFull) || errors.Is(err, ErrJobExists)) {
		return
	}
	want(t, "dedupe", err, g != nil, ErrGalleryNotFound)
}

func (m *model) deleteJob(t *rapid.T) {
	all, err := m.e.Jobs(context.Background(), "t")
	if err != nil || len(all) == 0 {
		return
	}
	j := rapid.SampledFrom(all).Draw(t, "job")
	if rapid.Bool().Draw(t, "cancel first") {
		_, err := m.e.CancelJob(context.Background(), "t", j.ID)
		want(t, "cancel", err, true, nil)
	}
	want(t, "delete job", m.e.DeleteJob(context.Background(), "t", j.ID), true, nil)
}

// pick draws a gallery and a person; the gallery may be absent, the person nil.
func (m *model) pick(t *rapid.T) (name, id string, g *modelGallery, p *modelPerson) {
	name, id = modelGalleries.Draw(t, "gallery"), modelPeople.Draw(t, "person")
	if g = m.galleries[name]; g != nil {
		p = g.people[id]
	}
	return name, id, g, p
}

// template is of the gallery's space, or of any where there is no gallery.
func (m *model) template(t *rapid.T, g *modelGallery) Template {
	if g == nil {
		return m.templateIn(t, spaceA)
	}
	return m.templateIn(t, g.space)
}

// templateIn is of a space. Some are drawn from few directions, so that ties and repeats happen.
func (m *model) templateIn(t *rapid.T, space Space) Template {
	if rapid.Bool().Draw(t, "axis") {
		v := make([]float32, space.Dim)
		v[rapid.IntRange(0, 3).Draw(t, "direction")] = float32(rapid.SampledFrom([]float64{1e-40, 0.5, 1, 3e38}).Draw(t, "norm"))
		return Template{Space: space.ID, Vector: v}
	}
	return randomUnit(m.rng, space)
}

func unit64(v []float32) []float64 {
	u, sum := make([]float64, len(v)), 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	for i, x := range v {
		u[i] = float64(x) / math.Sqrt(sum)
	}
	return u
}

// checkPerson compares an answer with the model.
func (m *model) checkPerson(t *rapid.T, gallery string, got Person, id string, p *modelPerson) {
	ids := []string{}
	for _, info := range got.Templates {
		ids = append(ids, info.ID)
	}
	key := gallery + "/" + id
	if history := infoIDs(got.History); !slices.Equal(history, p.history) || got.Status != statusOf(p.suspended) {
		t.Fatalf("history %q, want %q; status %q, suspended %v", history, p.history, got.Status, p.suspended)
	}
	if got.ID != id || got.Moved != (p.moved != nil) || string(got.Metadata) != p.metadata || !slices.Equal(ids, p.ids) || got.Version < m.versions[key] || got.Updated.Before(got.Created) {
		t.Fatalf("%+v, want %+v", got, p)
	}
	m.versions[key] = got.Version
}

func infoIDs(all []TemplateInfo) (ids []string) {
	for _, info := range all {
		ids = append(ids, info.ID)
	}
	return ids
}

// sides draws how many templates of the gallery's space a write has, and of the space that it is being moved to: one at least.
func (m *model) sides(t *rapid.T, g *modelGallery, most int) (own, next int) {
	own = rapid.IntRange(1, most).Draw(t, "templates")
	if g != nil && g.move != nil {
		next = rapid.IntRange(0, most).Draw(t, "templates of the new space")
		if next > 0 && rapid.Bool().Draw(t, "of the new space only") {
			own = 0
		}
	}
	return own, next
}

// draw makes templates, adds them to their sides' models, and says which gate refuses them. Numbers go on from p's in both, and then from the larger.
func (m *model) draw(t *rapid.T, g *modelGallery, p *modelPerson, own, next int) (templates []Template, refused error) {
	moved := &modelPerson{next: p.next}
	if p.moved != nil {
		moved.vectors, moved.ids, moved.sources, moved.history = p.moved.vectors, p.moved.ids, p.moved.sources, p.moved.history
	}
	for range own {
		v := m.template(t, g)
		p.add(v)
		templates = append(templates, v)
	}
	for range next {
		v := m.templateIn(t, *g.move)
		moved.add(v)
		templates = slices.Insert(templates, rapid.IntRange(0, len(templates)).Draw(t, "at"), v)
	}
	if p.next = max(p.next, moved.next); len(moved.vectors) > 0 {
		p.moved = moved
	}
	for i := range templates {
		refused = cmp.Or(refused, m.photo(t, &templates[i], g.enrol(), g != nil && g.keep))
		if photo := templates[i].Photo; photo != nil && rapid.IntRange(0, 3).Draw(t, "with the photo") > 0 {
			photo.Image, photo.Box = []byte(rapid.SampledFrom([]string{"x", "one", "two"}).Draw(t, "photo")), [4]float32{0, 1, 2, rapid.Float32Range(3, 9).Draw(t, "box")}
			m.photos[&templates[i].Vector[0]] = photo
		}
	}
	return templates, refused
}

func (m *model) put(t *rapid.T) {
	name, id, g, p := m.pick(t)
	spec := PersonSpec{Metadata: json.RawMessage(modelMetadata.Draw(t, "metadata"))}
	after := &modelPerson{metadata: string(spec.Metadata), next: 1}
	own, next := m.sides(t, g, 4)
	if p != nil {
		after.suspended, after.history = p.suspended, p.history
		if own > 0 {
			after.history = g.past(p)
		}
		if after.next = p.next; own == 0 {
			after.vectors, after.ids, after.sources = p.vectors, p.ids, p.sources
		}
	}
	templates, refused := m.draw(t, g, after, own, next)
	spec.Templates = templates
	if p != nil && p.moved != nil && after.moved != nil {
		after.moved.history = g.past(p.moved)
	}
	if spec.If = m.condition(t, name, id); g != nil && refused == nil {
		refused = m.fails(spec.If, name, id, p)
	}
	var alike []string
	if g != nil {
		var fresh, moved [][]float64
		if own > 0 {
			fresh = after.vectors
		}
		if after.moved != nil {
			moved = after.moved.vectors
		}
		alike, spec.EnrolOptions = g.duplicates(t, id, fresh, moved)
		refused = cmp.Or(refused, spec.rejects(g, alike))
	}
	got, created, err := m.e.PutPerson(context.Background(), "t", name, id, spec)
	target := noGallery(g)
	if g != nil {
		target = cmp.Or(refused, ErrSpaceMismatch)
	}
	if !want(t, "put", err, g != nil && refused == nil && (own > 0 || p != nil), target) {
		return
	}
	if created != (p == nil) {
		t.Fatalf("created %v", created)
	}
	g.people[id] = after
	m.checkPerson(t, name, got, id, after)
	checkAlike(t, got, alike)
}

// past is the history of a person whose templates are replaced.
func (g *modelGallery) past(p *modelPerson) []string {
	all := append(slices.Clone(p.history), p.ids...)
	return all[max(len(all)-g.rules.history, 0):]
}

// duplicates draws what an enrolment asks for, and says who is alike: nobody, if nobody looks. Where rounding would decide,
// nobody looks.
func (g *modelGallery) duplicates(t *rapid.T, id string, own, moved [][]float64) (alike []string, o EnrolOptions) {
	o = EnrolOptions{modelDuplicates.Draw(t, "duplicates"), rapid.Bool().Draw(t, "overrule")}
	if o.Duplicates.in(g.rules.duplicates, o.Overrule) == DuplicatesOff {
		return nil, o
	}
	threshold := func(templates int) float64 {
		return g.rules.duplicatePolicy.or(Policy{FPIR: new(defaultDuplicatesFPIR)}).threshold(testCurve, templates)
	}
	ofMoved := 0
	for _, p := range g.people {
		if p.moved != nil {
			ofMoved += len(p.moved.vectors)
		}
	}
	sure := true
	reaches := func(p *modelPerson, probes [][]float64, least float64) bool {
		best := math.Inf(-1)
		for _, q := range probes {
			best = max(best, p.best(q))
		}
		sure = sure && math.Abs(best-least) > modelError
		return best >= least
	}
	for other, p := range g.people {
		same := reaches(p, own, threshold(g.templates()))
		same = p.moved != nil && reaches(p.moved, moved, threshold(ofMoved)) || same
		if same && other != id {
			alike = append(alike, other)
		}
	}
	if !sure {
		return nil, EnrolOptions{DuplicatesOff, true}
	}
	slices.Sort(alike)
	return alike, o
}

// rejects is what becomes of an enrolment with these people alike.
func (o EnrolOptions) rejects(g *modelGallery, alike []string) error {
	if len(alike) > 0 && o.Duplicates.in(g.rules.duplicates, o.Overrule) == DuplicatesReject {
		return ErrDuplicate
	}
	return nil
}

func checkAlike(t *rapid.T, got Person, alike []string) {
	var named []string
	for _, c := range got.Duplicates {
		named = append(named, c.Person)
	}
	if slices.Sort(named); !slices.Equal(named, alike) {
		t.Fatalf("named %q, want %q", named, alike)
	}
}

// condition draws what a write asks of a person: mostly nothing, often what holds.
func (m *model) condition(t *rapid.T, name, id string) Condition {
	switch version := m.versions[name+"/"+id]; rapid.IntRange(0, 9).Draw(t, "condition") {
	case 0:
		return Condition{Absent: true}
	case 1:
		return Condition{There: true}
	case 2:
		return Condition{Versions: []uint64{version, version + 1}}
	case 3:
		return Condition{Versions: []uint64{version + 1}}
	}
	return Condition{}
}

// fails says what a condition makes of a person.
func (m *model) fails(c Condition, name, id string, p *modelPerson) error {
	holds := (!c.Absent || p == nil) && (!c.There || p != nil) && (c.Versions == nil || p != nil && slices.Contains(c.Versions, m.versions[name+"/"+id]))
	if holds {
		return nil
	}
	return ErrVersion
}

// orAbsent is refused for somebody who is there.
func orAbsent(refused error, g *modelGallery, p *modelPerson) error {
	if p == nil {
		return absent(g)
	}
	return refused
}

func (p *modelPerson) add(v Template) {
	p.vectors, p.ids = append(p.vectors, unit64(v.Vector)), append(p.ids, fmt.Sprint(p.next))
	p.sources = append(p.sources, &v.Vector[0])
	p.next++
}

func (m *model) add(t *rapid.T) {
	name, id, g, p := m.pick(t)
	own, next := m.sides(t, g, 1)
	after := &modelPerson{}
	if p != nil {
		*after = *p
	}
	templates, refused := m.draw(t, g, after, own, next)
	condition := m.condition(t, name, id)
	if p != nil && refused == nil {
		refused = m.fails(condition, name, id, p)
	}
	spec := TemplateSpec{Templates: templates, WriteOptions: WriteOptions{If: condition}}
	var alike []string
	if p != nil {
		var moved [][]float64
		if after.moved != nil {
			moved = after.moved.vectors
		}
		if p.moved != nil {
			moved = moved[len(p.moved.vectors):]
		}
		alike, spec.EnrolOptions = g.duplicates(t, id, after.vectors[len(p.vectors):], moved)
		refused = cmp.Or(refused, spec.rejects(g, alike))
	}
	got, err := m.e.AddTemplate(context.Background(), "t", name, id, spec)
	target := cmp.Or(refused, ErrPersonNotFound)
	if g == nil {
		target = ErrGalleryNotFound
	} else if p != nil {
		target = cmp.Or(refused, ErrTemplatesFull)
	}
	full := len(after.vectors) > MaxTemplates || after.moved != nil && len(after.moved.vectors) > MaxTemplates
	if want(t, "add", err, p != nil && refused == nil && !full, target) {
		g.people[id] = after
		m.checkPerson(t, name, got, id, after)
		checkAlike(t, got, alike)
	}
}

// settle waits until what can be made of stored photos is made, and makes the same of the model.
func (m *model) settle(t *rapid.T) {
	for name, g := range m.galleries {
		if !g.keep || g.move == nil {
			continue
		}
		failed := 0
		for _, p := range g.people {
			if p.moved != nil {
				continue
			}
			if photos := m.remake(p, *g.move); p.moved == nil && photos > 0 {
				failed++
			}
		}
		got := waitPhotos(t, m.e, "t", name)
		if !g.isMoving(got) || got.Failed != failed || len(got.Failures) != min(failed, MaxMoveFailures) {
			t.Fatalf("%q: %+v, want %d failed and %d left", name, got, failed, g.left())
		}
	}
}

// remake makes what can be made of a person's photos, and says how many there are.
func (m *model) remake(p *modelPerson, space Space) (photos int) {
	moved := &modelPerson{next: p.next}
	for i, at := range p.sources {
		photo := m.photos[at]
		if photo == nil {
			continue
		}
		photos++
		if v, err := extractTest(context.Background(), space.ID, photo.Image, photo.Box); err == nil {
			moved.vectors, moved.ids, moved.sources = append(moved.vectors, unit64(v)), append(moved.ids, p.ids[i]), append(moved.sources, at)
		}
	}
	if len(moved.vectors) > 0 {
		p.moved = moved
	}
	return photos
}

// isMoving compares what the engine says of a move.
func (g *modelGallery) isMoving(m *Move) bool {
	if m == nil || g.move == nil {
		return m == nil && g.move == nil
	}
	return m.Space == g.move.ID && m.People == len(g.people) && m.Done == len(g.people)-g.left()
}

// left is how many people have no templates of the new space.
func (g *modelGallery) left() (n int) {
	for _, p := range g.people {
		if p.moved == nil {
			n++
		}
	}
	return n
}

func (m *model) pickMove(t *rapid.T) (name string, g *modelGallery, space Space) {
	name = modelGalleries.Draw(t, "gallery")
	return name, m.galleries[name], rapid.SampledFrom([]Space{spaceA, spaceB}).Draw(t, "space")
}

func (m *model) startMove(t *rapid.T) {
	name, g, space := m.pickMove(t)
	target := error(nil)
	switch {
	case g == nil:
		target = ErrGalleryNotFound
	case g.move != nil && g.move.ID != space.ID:
		target = ErrMoving
	case g.move == nil && g.space.ID != space.ID && g.rules.policy.Cosine != nil:
		target = ErrPolicy
	}
	got, err := m.e.StartMove(context.Background(), "t", name, MoveSpec{Space: space.ID})
	if want(t, "move", err, target == nil, target) {
		if g.move == nil && g.space.ID != space.ID {
			g.move = &space
		}
		if !g.keep && !g.isMoving(got.Move) {
			t.Fatalf("%+v, want %+v", got.Move, g)
		}
	}
}

func (m *model) finishMove(t *rapid.T) {
	name, g, space := m.pickMove(t)
	drop, target := rapid.Bool().Draw(t, "drop"), error(nil)
	switch {
	case g == nil:
		target = ErrGalleryNotFound
	case g.move == nil && g.space.ID != space.ID:
		target = ErrNotMoving
	case g.move == nil:
	case g.move.ID != space.ID:
		target = ErrMoving
	case g.rules.policy.Cosine != nil:
		target = ErrPolicy
	case g.left() > 0 && !drop:
		target = ErrMoveIncomplete
	}
	_, err := m.e.FinishMove(context.Background(), "t", name, space.ID, drop)
	if !want(t, "finish move", err, target == nil, target) || g.move == nil {
		return
	}
	g.space, g.move = space, nil
	for id, p := range g.people {
		if p.moved == nil {
			delete(g.people, id)
			continue
		}
		p.vectors, p.ids, p.sources, p.history, p.moved = p.moved.vectors, p.moved.ids, p.moved.sources, p.moved.history, nil
	}
}

func (m *model) cancelMove(t *rapid.T) {
	name, g, _ := m.pickMove(t)
	target := ErrNotMoving
	if g == nil {
		target = ErrGalleryNotFound
	}
	if want(t, "cancel move", m.e.CancelMove(context.Background(), "t", name), g != nil && g.move != nil, target) {
		g.move = nil
		for _, p := range g.people {
			p.moved = nil
		}
	}
}

func (m *model) patch(t *rapid.T) {
	name, id, g, p := m.pick(t)
	metadata, status := modelMetadata.Draw(t, "metadata"), modelStatuses.Draw(t, "status")
	o := WriteOptions{If: m.condition(t, name, id)}
	refused := m.fails(o.If, name, id, p)
	got, err := m.e.PatchPerson(context.Background(), "t", name, id, PersonPatch{Metadata: new(json.RawMessage(metadata)), Status: status, WriteOptions: o})
	if want(t, "patch", err, p != nil && refused == nil, orAbsent(refused, g, p)) {
		if p.metadata = metadata; status != "" {
			p.suspended = status == StatusSuspended
		}
		m.checkPerson(t, name, got, id, p)
	}
}

func noGallery(g *modelGallery) error {
	if g == nil {
		return ErrGalleryNotFound
	}
	return nil
}

func (g *modelGallery) enrol() Gate {
	if g == nil {
		return nil
	}
	return g.rules.gate.Enrol
}

func (g *modelGallery) probe() Gate {
	if g == nil {
		return nil
	}
	return g.rules.gate.Probe
}

func absent(g *modelGallery) error {
	if g == nil {
		return ErrGalleryNotFound
	}
	return ErrPersonNotFound
}

func (m *model) delete(t *rapid.T) {
	name, id, g, p := m.pick(t)
	o := WriteOptions{If: m.condition(t, name, id)}
	refused := m.fails(o.If, name, id, p)
	if want(t, "delete", m.e.DeletePerson(context.Background(), "t", name, id, o), p != nil && refused == nil, orAbsent(refused, g, p)) {
		delete(g.people, id)
	}
}

func (m *model) get(t *rapid.T) {
	name, id, g, p := m.pick(t)
	got, err := m.e.Person(context.Background(), "t", name, id)
	if want(t, "get", err, p != nil, absent(g)) {
		m.checkPerson(t, name, got, id, p)
	}
}

func (m *model) list(t *rapid.T) {
	name := modelGalleries.Draw(t, "gallery")
	g, limit, cursor := m.galleries[name], rapid.IntRange(1, 4).Draw(t, "limit"), ""
	var ids, wantIDs []string
	for {
		page, next, err := m.e.People(context.Background(), "t", name, limit, cursor)
		if !want(t, "list", err, g != nil, ErrGalleryNotFound) {
			return
		}
		for _, p := range page {
			ids = append(ids, p.ID)
			m.checkPerson(t, name, p, p.ID, g.people[p.ID])
		}
		if next != "" && len(page) != limit {
			t.Fatalf("a page of %d is not the last", len(page))
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	for id := range g.people {
		wantIDs = append(wantIDs, id)
	}
	if slices.Sort(wantIDs); !slices.Equal(ids, wantIDs) {
		t.Fatalf("listed %q, want %q", ids, wantIDs)
	}
	m.listAt(t, name, limit, wantIDs)
}

func (m *model) listAt(t *rapid.T, name string, limit int, all []string) {
	offset := rapid.IntRange(0, 6).Draw(t, "offset")
	page, total, err := m.e.PeopleAt(context.Background(), "t", name, offset, limit)
	if err != nil || total != len(all) {
		t.Fatalf("%d people in all: %v, want %d", total, err, len(all))
	}
	want := all[min(offset, len(all)):min(offset+limit, len(all))]
	if !slices.EqualFunc(page, want, func(p Person, id string) bool { return p.ID == id }) {
		t.Fatalf("at %d: %+v, want %q", offset, page, want)
	}
}

func (p *modelPerson) best(q []float64) float64 {
	best := math.Inf(-1)
	for _, v := range p.vectors {
		dot := 0.0
		for i := range v {
			dot += v[i] * q[i]
		}
		best = max(best, dot)
	}
	return best
}

// modelError bounds the difference between the engine's float32 cosine and the model's: the rounding of two
// unit vectors, and of the sum (dotError in index/scan), and the 1e-6 that cosineOf rounds up near 1.
const modelError = 6e-6

func (m *model) verify(t *rapid.T) {
	name, id, g, p := m.pick(t)
	probe, threshold := m.template(t, g), rapid.Float64Range(-1, 1).Draw(t, "threshold")
	refused := m.photo(t, &probe, g.probe(), false)
	d, err := m.e.Verify(context.Background(), "t", name, id, probe, Policy{Cosine: &threshold})
	target := cmp.Or(noGallery(g), refused, absent(g))
	if p != nil && refused == nil {
		target = ErrSuspended
	}
	if !want(t, "verify", err, p != nil && refused == nil && !p.suspended, target) {
		return
	}
	exact := p.best(unit64(probe.Vector))
	if math.Abs(d.Cosine-exact) > modelError || d.Match != (d.Cosine >= threshold) || d.Threshold != threshold {
		t.Fatalf("%+v, exact cosine %v, threshold %v", d, exact, threshold)
	}
}

func (m *model) identify(t *rapid.T) {
	name := modelGalleries.Draw(t, "gallery")
	g := m.galleries[name]
	probe, threshold, k := m.template(t, g), rapid.Float64Range(-1, 1).Draw(t, "threshold"), rapid.IntRange(1, 6).Draw(t, "k")
	refused := m.photo(t, &probe, g.probe(), false)
	filter := modelFilter(t, g)
	search, fallback := m.e.Identify, StatusActive
	if rapid.IntRange(0, 3).Draw(t, "duplicates") == 0 {
		search, fallback = m.e.Duplicates, StatusAny
	}
	r, err := search(context.Background(), "t", name, probe, IdentifyOptions{Filter: filter, TopK: k, Policy: Policy{Cosine: &threshold}, Exact: rapid.Bool().Draw(t, "exact"), EF: rapid.IntRange(0, 20).Draw(t, "ef")})
	if !want(t, "identify", err, g != nil && refused == nil, cmp.Or(noGallery(g), refused)) {
		return
	}
	filter.Status = cmp.Or(filter.Status, fallback)
	some := &modelGallery{people: map[string]*modelPerson{}}
	for id, p := range g.people {
		if p.passes(filter) {
			some.people[id] = p
		}
	}
	if r.Searched != some.templates() || len(r.Candidates) > k {
		t.Fatalf("searched %d, want %d; %d candidates of %d", r.Searched, some.templates(), len(r.Candidates), k)
	}
	m.checkCandidates(t, some, r.Candidates, unit64(probe.Vector), threshold, k)
}

// modelFilter draws a filter by fields that the gallery can be filtered by; mostly none.
func modelFilter(t *rapid.T, g *modelGallery) (f Filter) {
	f.Status = rapid.SampledFrom([]Status{"", "", StatusActive, StatusSuspended, StatusAny}).Draw(t, "status")
	if g == nil {
		return f
	}
	for _, name := range g.fields {
		if rapid.IntRange(0, 2).Draw(t, "by field") == 0 {
			if f.Metadata == nil {
				f.Metadata = map[string][]any{}
			}
			f.Metadata[name] = modelValues.Draw(t, "values")
		}
	}
	return f
}

func (p *modelPerson) passes(f Filter) bool {
	if f.Status != StatusAny && p.suspended != (f.Status == StatusSuspended) {
		return false
	}
	var fields map[string]any
	_ = json.Unmarshal([]byte(p.metadata), &fields) // "" is none
	for name, values := range f.Metadata {
		v := fields[name]
		if _, list := v.([]any); list || v == nil || !slices.Contains(values, v) {
			return false
		}
	}
	return true
}

func (m *model) checkCandidates(t *rapid.T, g *modelGallery, found []Candidate, q []float64, threshold float64, k int) {
	seen := map[string]bool{}
	for i, c := range found {
		p := g.people[c.Person]
		if p == nil || c.Status != statusOf(p.suspended) || seen[c.Person] || c.Cosine < threshold || math.Abs(c.Cosine-p.best(q)) > modelError {
			t.Fatalf("candidate %+v of %+v", c, p)
		}
		if i > 0 && cmp.Or(cmp.Compare(c.Cosine, found[i-1].Cosine), cmp.Compare(found[i-1].Person, c.Person)) >= 0 {
			t.Fatalf("out of order: %+v", found)
		}
		seen[c.Person] = true
	}
	for id, p := range g.people {
		exact := p.best(q)
		if seen[id] || exact < threshold+modelError {
			continue
		}
		if len(found) < k || exact > found[len(found)-1].Cosine+modelError {
			t.Fatalf("%q with cosine %v is missing from %+v", id, exact, found)
		}
	}
}
