package engine

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func TestGateCheck(t *testing.T) {
	judged := map[string]float64{"unified_score": 55, "luminance_mean": 12.34, "liveness": 0, "head_pose_yaw": 100}
	for _, c := range []struct {
		gate  Gate
		codes string // of the reasons, or the error
	}{
		{nil, ""},
		{Gate{}, ""},
		{Gate{"unified_score": 55}, ""},
		{Gate{"unified_score": 55.01}, "quality_failed"},
		{Gate{"liveness": 1e-9}, "liveness_failed"},
		{Gate{"head_pose_yaw": 100, "luminance_mean": 20, "liveness": 50, "unified_score": 90}, "quality_failed brightness_failed liveness_failed"},
		{Gate{"sharpness": 1, "liveness": 50}, "ErrUnjudged"},
		{Gate{"beauty": 1}, "ErrGate"},
	} {
		err := c.gate.Check(judged)
		got := ""
		if e, ok := errors.AsType[*QualityError](err); ok {
			for _, r := range e.Reasons {
				got += " " + r.Code
				if r.Least != c.gate[r.Measure] || r.Value != judged[r.Measure] || r.Advice == "" || !strings.Contains(Detail(err), r.Advice) {
					t.Errorf("%v: %+v in %q", c.gate, r, Detail(err))
				}
			}
			wantErr(t, err, ErrQuality)
		} else if errors.Is(err, ErrUnjudged) {
			got = "ErrUnjudged"
		} else if errors.Is(err, ErrGate) {
			got = "ErrGate"
		}
		if strings.TrimSpace(got) != c.codes {
			t.Errorf("%v: %v, want %q", c.gate, err, c.codes)
		}
	}
	wantErr(t, Gate{"sharpness": 1}.Check(map[string]float64{"sharpness": math.NaN()}), ErrUnjudged)
	const want = "the photo is not good enough: the face is too dark or too pale: light it from the front, evenly (luminance_mean is 12.3, at least 20 is asked for)"
	if got := Detail(Gate{"luminance_mean": 20}.Check(judged)); got != want {
		t.Errorf("%q", got)
	}
}

func TestGateValidate(t *testing.T) {
	for _, g := range []Gate{nil, {"sharpness": 1e-9}, {"liveness": 100, "unified_score": 1}} {
		if err := g.Validate(); err != nil {
			t.Errorf("%v: %v", g, err)
		}
	}
	for _, g := range []Gate{{"Sharpness": 1}, {"": 1}, {"sharpness": 0}, {"sharpness": -1}, {"sharpness": 100.1},
		{"sharpness": math.NaN()}, {"sharpness": math.Inf(1)}, {"sharpness": 10, "x": 1}} {
		err := g.Validate()
		wantErr(t, err, ErrGate)
		if Detail(err) == "" {
			t.Errorf("%v: no sentence", g)
		}
	}
	if err := (Gate{"x": 1}).Validate(); !strings.Contains(err.Error(), strings.Join(Measures(), ", ")) {
		t.Errorf("%v does not list the measures", err)
	}
}

func TestGateStricter(t *testing.T) {
	g, o := Gate{"sharpness": 10, "liveness": 50}, Gate{"sharpness": 20, "liveness": 40, "mouth_closed": 1}
	both := g.Stricter(o)
	if !(Gates{both, nil}).equal(Gates{Gate{"sharpness": 20, "liveness": 50, "mouth_closed": 1}, nil}) || len(g) != 2 || o["liveness"] != 40 {
		t.Errorf("%v of %v and %v", both, g, o)
	}
	if got := g.Stricter(nil); len(got) != 2 {
		t.Errorf("%v", got)
	}
	if got := Gate(nil).Stricter(o); len(got) != 3 {
		t.Errorf("%v", got)
	}
}

func TestReasonTable(t *testing.T) {
	names, codes := Measures(), ReasonCodes()
	slices.Sort(names)
	slices.Sort(codes)
	if len(slices.Compact(names)) != len(measures) || len(slices.Compact(codes)) != len(ReasonCodes()) {
		t.Errorf("%v, %v: something is there twice", names, codes)
	}
}

// photographed is a template of a photo.
func photographed(gate Gate, judged map[string]float64) Template {
	v := template(1, 0, 0, 0)
	v.Photo = &Photo{Judged: judged, Gate: gate}
	return v
}

// TestGates: each call goes by its gate, refused photos change nothing, and templates without a photo pass.
func TestGates(t *testing.T) {
	e, ctx := openMem(t), t.Context()
	spec := GallerySpec{Gate: Gates{Enrol: Gate{"sharpness": 60}, Probe: Gate{"sharpness": 30}}}
	if _, _, err := e.CreateGallery(ctx, "t", "g", spec); err != nil {
		t.Fatal(err)
	}
	sharp := func(v float64, gate Gate) Template { return photographed(gate, map[string]float64{"sharpness": v}) }
	put := func(id string, all ...Template) error {
		_, _, err := e.PutPerson(ctx, "t", "g", id, PersonSpec{Templates: all})
		return err
	}
	identify := func(v Template) error { _, err := e.Identify(ctx, "t", "g", v, IdentifyOptions{}); return err }
	verify := func(v Template) error { _, err := e.Verify(ctx, "t", "g", "ann", v, Policy{}); return err }
	duplicates := func(v Template) error { _, err := e.Duplicates(ctx, "t", "g", v, IdentifyOptions{}); return err }
	compare := func(a, b Template) error { _, err := e.Compare(ctx, a, b, Policy{}); return err }
	add := func(v Template) error {
		_, err := e.AddTemplate(ctx, "t", "g", "ann", TemplateSpec{Templates: []Template{v}})
		return err
	}

	err := put("bob", sharp(60, nil), template(1, 0, 0, 0), sharp(59, nil))
	if q, ok := errors.AsType[*QualityError](err); !ok || q.Template != 2 || len(q.Reasons) != 1 {
		t.Errorf("%v", err)
	}
	for what, err := range map[string]error{
		"enrolling": put("ann", sharp(60, nil)), "adding": add(sharp(60, nil)), "a template": add(template(1, 0, 0, 0)),
		"identify": identify(sharp(30, nil)), "verify": verify(sharp(30, nil)), "duplicates": duplicates(sharp(30, nil)),
		"compare": compare(sharp(1, nil), sharp(0, nil)), "a call that asks for less": identify(sharp(30, Gate{"sharpness": 10})),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"enrolling": put("ann", sharp(59, nil)), "adding": add(sharp(59, nil)), "a call that asks for less": add(sharp(59, Gate{"sharpness": 1})),
		"identify": identify(sharp(29, nil)), "verify": verify(sharp(29, nil)), "duplicates": duplicates(sharp(29, nil)),
		"a call that asks for more": identify(sharp(30, Gate{"sharpness": 31})), "compare": compare(sharp(50, nil), sharp(50, Gate{"sharpness": 51})),
	} {
		if !errors.Is(err, ErrQuality) {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantErr(t, identify(photographed(nil, nil)), ErrUnjudged)
	wantErr(t, identify(sharp(50, Gate{"sharpness": -1})), ErrGate)
	if g, err := e.Gallery(ctx, "t", "g"); err != nil || g.People != 1 || g.Templates != 3 {
		t.Errorf("refused photos changed %+v, %v", g, err)
	}
	mustCheck(t, e)
}

// TestUpdateGallery: what was not named stays, what can't be changes nothing, and a restart finds what was made.
func TestUpdateGallery(t *testing.T) {
	c := testConfig(vfs.NewMem())
	e, ctx := open(t, c), t.Context()
	_, err := e.UpdateGallery(ctx, "t", "g", GalleryChange{})
	wantErr(t, err, ErrGalleryNotFound)
	mustGallery(t, e, "t", "g")
	if _, _, err := e.PutPerson(ctx, "t", "g", "ann", PersonSpec{Templates: []Template{template(1, 0, 0, 0)}}); err != nil {
		t.Fatal(err)
	}
	is := func(want string) {
		t.Helper()
		g, err := e.Gallery(ctx, "t", "g")
		got, _ := json.Marshal(map[string]any{"policy": g.Policy, "gate": g.Gate})
		if err != nil || string(got) != want || g.People != 1 {
			t.Errorf("%s (%v), want %s", got, err, want)
		}
	}
	update := func(change GalleryChange) error { _, err := e.UpdateGallery(ctx, "t", "g", change); return err }
	gate := Gate{"liveness": 50}
	steps := []struct {
		change GalleryChange
		after  string
	}{
		{GalleryChange{Policy: &Policy{Cosine: new(0.75)}}, `{"gate":{},"policy":{"cosine":0.75}}`},
		{GalleryChange{Gate: &Gates{Probe: gate}}, `{"gate":{"probe":{"liveness":50}},"policy":{"cosine":0.75}}`},
		{GalleryChange{}, `{"gate":{"probe":{"liveness":50}},"policy":{"cosine":0.75}}`},
		{GalleryChange{Gate: &Gates{Enrol: Gate{"sharpness": 20}}, Policy: &Policy{}}, `{"gate":{"enrol":{"sharpness":20}},"policy":{}}`},
	}
	for _, s := range steps {
		if err := update(s.change); err != nil {
			t.Fatal(err)
		}
		gate["liveness"] = 51 // the caller's map is not kept
		is(s.after)
		gate["liveness"] = 50
	}
	seq := e.store.seq
	wantErr(t, update(GalleryChange{Policy: &Policy{FMR: new(2.0)}}), ErrPolicy)
	wantErr(t, update(GalleryChange{Gate: &Gates{Probe: Gate{"x": 2}}, Policy: &Policy{FMR: new(0.1)}}), ErrGate)
	if err := update(steps[3].change); err != nil || e.store.seq != seq {
		t.Errorf("what changes nothing is written: sequence %d, was %d, %v", e.store.seq, seq, err)
	}
	is(steps[3].after)
	mustCheck(t, e)
	e = reopen(t, e, c)
	is(steps[3].after)
	if err := update(GalleryChange{Policy: &Policy{Cosine: new(1.0)}}); err != nil {
		t.Fatal(err)
	}
	if d, err := e.Verify(ctx, "t", "g", "ann", template(1, 0.5, 0, 0), Policy{}); err != nil || d.Match || d.Threshold != 1 {
		t.Errorf("%+v, %v: the new policy is not asked", d, err)
	}
	mustCheck(t, e)
}

// TestUpdateNotSynced: no call goes by a gate that could still be lost, and none says that it is there (W3, W4).
func TestUpdateNotSynced(t *testing.T) {
	fs := newSlowSync(vfs.NewCrashableMem())
	e := open(t, testConfig(fs))
	mustGallery(t, e, "t", "g")
	fs.hold()
	change := GalleryChange{Gate: &Gates{Probe: Gate{"sharpness": 50}}}
	acked := make(chan error, 1)
	go func() {
		_, err := e.UpdateGallery(context.Background(), "t", "g", change)
		acked <- err
	}()
	for {
		r, _, err := (&tx{store: e.store}).gallery("t", "g")
		if err != nil || !r.Gate.gates().IsZero() {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if g, err := e.Gallery(t.Context(), "t", "g"); err != nil || !g.Gate.IsZero() {
		t.Errorf("%+v, %v", g, err)
	}
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := e.UpdateGallery(brief, "t", "g", change)
	wantErr(t, err, context.DeadlineExceeded) // it is what is there already, and not yet safe
	select {
	case err := <-acked:
		t.Errorf("acknowledged before the fsync: %v", err)
	default:
	}
	fs.release()
	if err := <-acked; err != nil {
		t.Fatal(err)
	}
	if g, err := e.Gallery(t.Context(), "t", "g"); err != nil || g.Gate.Probe["sharpness"] != 50 {
		t.Errorf("%+v, %v", g, err)
	}
	mustCheck(t, e)
}
