package capture_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"mien/engine"
	"mien/extract"
	"mien/http"
	"mien/http/capture/capturetest"
	"mien/http/dialect/dialecttest"
)

// scaled is a picture of a size.
func scaled(t testing.TB, width, height int) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, width, height)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// resaved is a frame that was saved again; it shows the same face.
func (c *cast) resaved(t testing.TB, data []byte, quality int) []byte {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faces[sha256.Sum256(b.Bytes())] = c.faces[sha256.Sum256(data)]
	return b.Bytes()
}

// notes are the audit log's of tries and decisions, the newest first.
func (w *world) notes(t testing.TB) (list []string) {
	t.Helper()
	all, err := w.Engine.Audit(t.Context(), "default", engine.AuditQuery{Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range all.Records {
		var r engine.AuditRecord
		if err := json.Unmarshal(line.Record, &r); err != nil {
			t.Fatal(err)
		}
		if r.Op == "capture.session.try" || r.Op == "capture.session.decide" {
			list = append(list, r.Note)
		}
	}
	return list
}

// Frames that are not those that were asked for, or not as they were taken, end the try; the session goes on with another.
func TestDamagedFrames(t *testing.T) {
	w, c := stage(t)
	a := newActor(t, 1)
	good := func() [][]byte { return c.film(t, a.does(extract.Centre)) }
	sends := func(change func(p *page, m *meta, frames [][]byte) [][]byte) func(p *page) answered {
		return func(p *page) answered {
			frames := good()
			m := p.describe(frames)
			return p.read(p.post(m, change(p, &m, frames)))
		}
	}
	retagged := func(change func(m *meta)) func(p *page) answered {
		return func(p *page) answered {
			frames, before := good(), p.last
			m := p.describe(frames)
			change(&m)
			p.last = before
			p.tag(&m)
			return p.read(p.post(m, frames))
		}
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 320, 240))); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		do     func(p *page) answered
		reason string
		note   string
	}{
		"too slow":       {func(p *page) answered { p.passes(time.Minute); return p.send(good()) }, "too_slow", "centre"},
		"too fast":       {func(p *page) answered { p.passes(-1900 * time.Millisecond); p.ms += 2000; return p.send(good()) }, "too_fast", "centre"},
		"another step":   {retagged(func(m *meta) { m.Step = 1 }), "frames_damaged", "nonce"},
		"another nonce":  {retagged(func(m *meta) { m.Nonce = "AAAAAAAAAAAAAAAAAAAAAA==" }), "frames_damaged", "nonce"},
		"no nonce":       {sends(func(p *page, m *meta, f [][]byte) [][]byte { m.Nonce = "?"; return f }), "frames_damaged", "nonce"},
		"not from 0":     {retagged(func(m *meta) { m.Frames[0].I, m.Frames[1].I, m.Frames[2].I = 1, 2, 3 }), "frames_damaged", "order"},
		"one left out":   {retagged(func(m *meta) { m.Frames[2].I = 3 }), "frames_damaged", "order"},
		"two swapped":    {sends(func(p *page, m *meta, f [][]byte) [][]byte { f[0], f[1] = f[1], f[0]; return f }), "frames_damaged", "hash"},
		"a changed byte": {sends(func(p *page, m *meta, f [][]byte) [][]byte { f[1][len(f[1])-3]++; return f }), "frames_damaged", "hash"},
		"a wrong tag":    {sends(func(p *page, m *meta, f [][]byte) [][]byte { m.Frames[1].Tag = m.Frames[0].Tag; return f }), "frames_damaged", "tag"},
		"no tag":         {sends(func(p *page, m *meta, f [][]byte) [][]byte { m.Frames[1].Tag = ""; return f }), "frames_damaged", "tag"},
		"another key":    {func(p *page) answered { p.key = bytes.Repeat([]byte{1}, 32); return p.send(good()) }, "frames_damaged", "tag"},
		"another time":   {sends(func(p *page, m *meta, f [][]byte) [][]byte { m.Frames[1].T++; return f }), "frames_damaged", "tag"},
		"back in time":   {retagged(func(m *meta) { m.Frames[2].T = m.Frames[1].T }), "frames_damaged", "times"},
		"before time":    {retagged(func(m *meta) { m.Frames[0].T = -1 }), "frames_damaged", "times"},
		"after time":     {retagged(func(m *meta) { m.Frames[2].T = 1e12 }), "frames_damaged", "times"},
		"all at once":    {retagged(func(m *meta) { m.Frames[0].T, m.Frames[1].T = m.Frames[2].T-2, m.Frames[2].T-1 }), "frames_damaged", "times"},
		"too few":        {func(p *page) answered { return p.send(good()[:2]) }, "frames_damaged", "order"},
		"too many":       {func(p *page) answered { return p.send(append(good(), good()...)) }, "frames_damaged", "order"},
		"one twice":      {func(p *page) answered { f := good(); f[2] = f[0]; return p.send(f) }, "frames_damaged", "repeated"},
		"no JPEG":        {func(p *page) answered { f := good(); f[1] = picture.Bytes(); return p.send(f) }, "frames_damaged", "picture"},
		"half a JPEG":    {func(p *page) answered { f := good(); f[1] = f[1][:len(f[1])/2]; return p.send(f) }, "frames_damaged", "picture"},
		"tiny":           {func(p *page) answered { f := good(); f[1] = scaled(t, 64, 64); return p.send(f) }, "frames_damaged", "picture"},
		"huge":           {func(p *page) answered { f := good(); f[1] = scaled(t, 1400, 300); return p.send(f) }, "frames_damaged", "picture"},
		"one before": {func(p *page) answered {
			f := good()
			if got := p.send(f); got.Step == nil {
				t.Fatalf("%+v", got)
			}
			return p.send(append(c.film(t, a.does(p.task.Kind)), f[1]))
		}, "frames_damaged", "repeated"},
		"clocks apart": {func(p *page) answered {
			p.send(good())
			p.ms += 9000
			return p.send(c.film(t, a.does(p.task.Kind)))
		}, "frames_damaged", "skew"},
		"a clock that stands": {func(p *page) answered {
			p.send(good())
			p.clock.advance(9 * time.Second)
			return p.send(c.film(t, a.does(p.task.Kind)))
		}, "frames_damaged", "skew"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.live(t)
			p.t = t
			p.start()
			x.do(p).failed(t, x.reason, 2)
			if x.note == "" {
				return
			}
			if got := w.notes(t)[0]; !strings.HasPrefix(got, x.reason+" ") || !strings.Contains(got, x.note) {
				t.Errorf("recorded as %q, want %s … %s", got, x.reason, x.note)
			}
			refusedWith(t, p.post(p.describe(good()), good()), 409, "try_missing")
		})
	}
	p := w.live(t)
	p.start()
	p.passes(time.Minute)
	p.send(good()).failed(t, "too_slow", 2)
	p.start()
	if got := p.perform(c, a); !got.Done {
		t.Errorf("the next try: %+v", got)
	}
}

// Whoever does not do what is asked is asked again, three times in a try; three tries that fail end the session.
func TestTriesEnd(t *testing.T) {
	w, c := stage(t)
	a := newActor(t, 1)
	spoof, unsure := newActor(t, 1), newActor(t, 1)
	spoof.Fake()
	unsure.Judged(extract.Liveness{Score: .5, Verdict: extract.Uncertain})
	crowd := func() (list []*extract.Face) {
		for _, f := range a.does(extract.Centre) {
			f.Quality[extract.SingleFace] = 40
			list = append(list, f)
		}
		return list
	}
	stubborn := func(faces func() []*extract.Face, hint string) func(p *page) answered {
		return func(p *page) answered {
			for n := 0; ; n++ {
				before := *p.task
				got := p.send(c.film(t, faces()))
				if got.Again == nil {
					if n != 3 {
						t.Errorf("%d times again", n)
					}
					return got
				}
				if p.task.Nonce == before.Nonce || p.task.N != before.N || p.task.Kind != before.Kind || len(got.Hints) == 0 || got.Hints[0] != hint {
					t.Fatalf("%+v after %+v, want %s", got, before, hint)
				}
			}
		}
	}
	straight := func(p *page) answered { // a still picture of the actor
		p.send(c.film(t, a.does(extract.Centre)))
		hint := map[extract.Challenge]string{extract.TurnLeft: "turn_more", extract.TurnRight: "turn_more", extract.LookUp: "look_up_more", extract.Blink: "close_eyes"}[p.task.Kind]
		return stubborn(func() []*extract.Face { return a.does(extract.Centre) }, hint)(p)
	}
	for name, x := range map[string]struct {
		do           func(p *page) answered
		reason       string // of a try
		ends, passed string // the session's reason and verdict
	}{
		"does nothing":   {straight, "no_challenge", "capture_failed", ""},
		"looks aside":    {stubborn(func() []*extract.Face { return []*extract.Face{a.at(30, 0), a.at(31, 0), a.at(32, 0)} }, "look_straight"), "quality", "capture_failed", ""},
		"has no face":    {stubborn(func() []*extract.Face { return []*extract.Face{nil, nil, nil} }, "no_face"), "face_lost", "capture_failed", ""},
		"loses the face": {stubborn(func() []*extract.Face { return append(a.does(extract.Centre), nil) }, "no_face"), "face_lost", "capture_failed", ""},
		"is not alone":   {stubborn(crowd, "several_faces"), "several_people", "capture_failed", ""},
		"is a picture":   {func(p *page) answered { return p.perform(c, spoof) }, "not_live", "liveness_spoof", "spoof"},
		"may be one":     {func(p *page) answered { return p.perform(c, unsure) }, "uncertain", "liveness_uncertain", "uncertain"},
		"is two people": {func(p *page) answered {
			p.send(c.film(t, a.does(extract.Centre)))
			return p.perform(c, newActor(t, 2))
		}, "several_people", "liveness_uncertain", "uncertain"},
	} {
		t.Run(name, func(t *testing.T) {
			p := w.live(t)
			p.t = t
			for left := 2; left > 0; left-- {
				p.start()
				x.do(p).failed(t, x.reason, left)
			}
			p.start()
			if got := x.do(p); !got.Done || got.Redirect != "" {
				t.Fatalf("the third try: %+v", got)
			}
			if s := w.look(t, p.x); s.Status != "fail" || s.Reason != x.ends || s.Liveness != x.passed || s.Tries != 3 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A step is judged once: sent twice at once one of the two is refused; sent again it is answered as before; and a server that was busy has not spent it.
func TestStepOnce(t *testing.T) {
	w, c := stage(t)
	a, p := newActor(t, 1), w.live(t)
	p.start()
	frames := c.film(t, a.does(extract.Centre))
	m := p.describe(frames)

	c.mu.Lock()
	c.busy = 1
	c.mu.Unlock()
	if got := p.post(m, frames); got.Status != 503 || got.Header.Get("Retry-After") == "" {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	p.passes(90 * time.Second) // it came in time
	c.mu.Lock()
	c.busy, c.hold, c.held = 0, make(chan struct{}), make(chan struct{}, 8)
	hold := c.hold
	c.mu.Unlock()
	first := make(chan dialecttest.Answer, 1)
	go func() { first <- p.post(m, frames) }()
	<-c.held
	refusedWith(t, p.post(m, frames), 409, "step_taken")
	refusedWith(t, p.browser(p.cookie, "POST", "slower", `{}`), 409, "step_taken")
	if got := p.browser(p.cookie, "POST", "look?step=0", string(frames[0]), "Content-Type", "image/jpeg"); string(bytes.TrimSpace(got.Body)) != `{"hints":[],"ready":false}` {
		t.Errorf("a picture meanwhile: %d %s", got.Status, got.Body)
	}
	c.mu.Lock()
	c.hold = nil
	c.mu.Unlock()
	close(hold)
	got := p.read(<-first)
	if got.Step == nil || got.Step.N != 1 {
		t.Fatalf("%+v", got)
	}
	if again := p.read(p.post(m, frames)); again.Step == nil || again.Step.Nonce != got.Step.Nonce {
		t.Errorf("sent again: %+v, was %+v", again, got)
	}
	for p.task != nil { // also the last one
		frames := c.film(t, a.does(p.task.Kind))
		m := p.describe(frames)
		if got := p.read(p.post(m, frames)); got.Done {
			if p := refusedWith(t, p.post(m, frames), 409, "session_over"); p.Where != "" {
				t.Errorf("%+v", p)
			}
			break
		}
	}
}

// A new start in the middle begins from the beginning: the step before is no good any more. The eleventh ends the session.
func TestStartAnew(t *testing.T) {
	w, c := stage(t)
	a, p := newActor(t, 1), w.live(t)
	p.start()
	p.send(c.film(t, a.does(extract.Centre)))
	old := *p
	p.start()
	if p.task.N != 0 || bytes.Equal(old.key, p.key) {
		t.Errorf("%+v", p.task)
	}
	frames := c.film(t, a.does(old.task.Kind))
	p.read(p.post(old.describe(frames), frames)).failed(t, "frames_damaged", 2)
	for range 8 {
		p.start()
	}
	if got := p.browser(p.cookie, "POST", "start", `{}`); refusedWith(t, got, 409, "session_over").Where != "" {
		t.Errorf("%s", got.Body)
	}
	if x := w.look(t, p.x); x.Status != "fail" || x.Reason != "capture_failed" {
		t.Errorf("%+v", x)
	}
}

// A start while a step is judged has its own try; the step finds itself without one.
func TestStartMeanwhile(t *testing.T) {
	w, c := stage(t)
	a, p := newActor(t, 1), w.live(t)
	p.start()
	frames := c.film(t, a.does(extract.Centre))
	m := p.describe(frames)
	c.hold, c.held = make(chan struct{}), make(chan struct{}, 8)
	hold := c.hold
	late := make(chan int, 1)
	go func() { late <- p.post(m, frames).Status }()
	<-c.held
	p.start()
	c.mu.Lock()
	c.hold = nil
	c.mu.Unlock()
	close(hold)
	if status := <-late; status != 409 {
		t.Errorf("the step of the try before: %d", status)
	}
	if got := p.perform(c, a); !got.Done {
		t.Errorf("%+v", got)
	}
}

// Who can't do a challenge gets another, twice in a session; who needs more time has four times as much from then on. Both are recorded.
func TestAids(t *testing.T) {
	w, c := stage(t)
	a, p := newActor(t, 1), w.live(t)
	refusedWith(t, p.browser(p.cookie, "POST", "slower", `{}`), 409, "try_missing")
	refusedWith(t, p.browser(p.cookie, "POST", "alternative", `{}`), 409, "try_missing")
	p.start()
	refusedWith(t, p.browser(p.cookie, "POST", "alternative", `{}`), 409, "no_alternative") // there is none for the face itself
	p.send(c.film(t, a.does(extract.Centre)))
	var tried []extract.Challenge
	for range 2 {
		before := *p.task
		tried = append(tried, before.Kind)
		if got := p.read(p.browser(p.cookie, "POST", "alternative", `{}`)); got.Step == nil || slices.Contains(tried, got.Step.Kind) || got.Step.Nonce == before.Nonce || got.Step.N != 1 {
			t.Fatalf("%+v instead of %+v", got.Step, before)
		}
	}
	refusedWith(t, p.browser(p.cookie, "POST", "alternative", `{}`), 409, "no_alternative")
	before := *p.task
	for range 2 {
		if got := p.read(p.browser(p.cookie, "POST", "slower", `{}`)); got.Step == nil || got.Step.Nonce != before.Nonce || got.Step.Seconds != 4*before.Seconds {
			t.Fatalf("%+v instead of %+v", got.Step, before)
		}
	}
	p.passes(time.Duration(3*before.Seconds) * time.Second)
	if got := p.send(c.film(t, a.does(p.task.Kind))); got.Step == nil || got.Step.Seconds < 40 || slices.Contains(tried, got.Step.Kind) {
		t.Fatalf("%+v, and %v can't be done", got, tried)
	}
	p.start() // what the person can't do, and that they need time, is known in another try
	if p.task.Seconds < 240 {
		t.Errorf("%+v", p.task)
	}
	if got := p.perform(c, a); !got.Done {
		t.Fatalf("%+v", got)
	}
	notes := strings.Join(w.notes(t), "\n")
	if strings.Contains(notes, "virtual") {
		t.Errorf("a camera: %q", notes)
	}
	for _, want := range []string{"alternative " + string(tried[0]), "alternative " + string(tried[1]), "slower", "success slower alternative"} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is not recorded: %q", want, notes)
		}
	}
}

// A server that starts anew knows nothing of the try, and how many are left; frames that were seen before it, it knows.
func TestTryRestart(t *testing.T) {
	w, c := stage(t)
	a, p := newActor(t, 1), w.live(t)
	p.start()
	p.passes(time.Minute)
	p.send(c.film(t, a.does(extract.Centre))).failed(t, "too_slow", 2)
	p.start()
	first := c.film(t, a.does(extract.Centre))
	p.send(first)

	p.world = w.again(t, c)
	frames := c.film(t, a.does(p.task.Kind))
	refusedWith(t, p.post(p.describe(frames), frames), 409, "try_missing")
	p.start()
	p.passes(time.Minute)
	p.send(c.film(t, a.does(extract.Centre))).failed(t, "too_slow", 1)
	p.start()
	p.sent = nil
	if got := p.perform(c, a); !got.Done {
		t.Fatalf("%+v", got)
	}
	thief := w.again(t, c).live(t)
	thief.replay(c, a, p.sent).failed(t, "frames_damaged", 2)
}

// again is the world of a server that has started anew on the same engine.
func (w *world) again(t testing.TB, x http.Extractor) *world {
	t.Helper()
	server, err := http.New(http.Config{Engine: w.Engine, Extractor: x, AuthFailures: -1})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := errors.Join(server.Shutdown(ctx), <-served); err != nil {
			t.Error(err)
		}
	})
	next, s := *w, *w.Server
	s.URL, next.Server = "http://"+ln.Addr().String(), &s
	return &next
}

// replay sends what another session has sent, as far as it is what is asked for, and then what the face that they show does.
func (p *page) replay(c *cast, a *actor, stolen [][]byte) answered {
	p.t.Helper()
	p.start()
	if got := p.send(stolen[:3]); got.Step == nil {
		return got
	}
	return p.perform(c, a)
}

// Frames that another session has sent are told, also if they were saved again; the session's own of another try are not taken for such.
func TestReplay(t *testing.T) {
	w, c := stage(t)
	a, p := newActor(t, 1), w.live(t)
	p.start()
	if got := p.perform(c, a); !got.Done {
		t.Fatalf("%+v", got)
	}
	thief := w.live(t)
	for left := 2; left >= 0; left-- {
		var again [][]byte
		for _, data := range p.sent[:3] {
			again = append(again, c.resaved(t, data, 70+left))
		}
		got := thief.replay(c, a, again)
		if left == 0 {
			if !got.Done {
				t.Fatalf("%+v", got)
			}
			break
		}
		got.failed(t, "frames_damaged", left)
		if note := w.notes(t)[0]; !strings.Contains(note, "replay") {
			t.Errorf("recorded as %q", note)
		}
	}
	if x := w.look(t, thief.x); x.Status != "fail" || x.Reason != "liveness_spoof" || x.Liveness != "spoof" {
		t.Errorf("%+v", x)
	}
	w.clock.advance(32 * 24 * time.Hour)
	if got := w.live(t).replay(c, a, p.sent); !got.Done {
		t.Errorf("frames of a month ago: %+v, %v", got.Failed, w.notes(t)[0])
	}
}

// Bodies that no page sends are refused and cost nothing.
func TestStepForms(t *testing.T) {
	w, c := stage(t)
	p := w.live(t)
	p.start()
	frames := c.film(t, newActor(t, 1).does(extract.Centre))
	m := p.describe(frames)
	kind, good := capturetest.Form(t, m, frames)
	post := func(kind string, body []byte) (int, string) {
		a := p.browser(p.cookie, "POST", "step", string(body), "Content-Type", kind)
		return a.Status, string(a.Body)
	}
	part := func(name string, data []byte) []byte {
		return fmt.Appendf(nil, "--x\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", name, data)
	}
	end := []byte("--x--\r\n")
	const ours = "multipart/form-data; boundary=x"
	for name, x := range map[string]struct {
		kind   string
		body   []byte
		status int
	}{
		"JSON":         {"application/json", []byte(`{}`), 415},
		"no boundary":  {"multipart/form-data", good, 415},
		"cut":          {kind, good[:len(good)-10], 400},
		"nothing":      {ours, end, 400},
		"no frames":    {ours, slices.Concat(part("meta", []byte(`{"frames":[]}`)), end), 400},
		"no meta":      {ours, slices.Concat(part("frame", frames[0]), end), 400},
		"not JSON":     {ours, slices.Concat(part("meta", []byte(`{`)), part("frame", frames[0]), end), 400},
		"of more":      {ours, slices.Concat(part("meta", []byte(`{"frames":[{"i":0},{"i":1}]}`)), part("frame", frames[0]), end), 400},
		"strange part": {ours, slices.Concat(part("meta", []byte(`{"frames":[{"i":0}]}`)), part("file", frames[0]), end), 400},
		"empty frame":  {ours, slices.Concat(part("meta", []byte(`{"frames":[{"i":0}]}`)), part("frame", nil), end), 400},
		"large meta":   {ours, slices.Concat(part("meta", bytes.Repeat([]byte(" "), 9<<10)), part("frame", frames[0]), end), 400},
		"large frame":  {ours, slices.Concat(part("meta", []byte(`{"frames":[{"i":0}]}`)), part("frame", make([]byte, 2<<20+1)), end), 400},
		"large":        {ours, make([]byte, 5<<20), 413},
		"many":         {ours, slices.Concat(part("meta", []byte(`{}`)), bytes.Repeat(part("frame", frames[0]), 20), end), 400},
	} {
		if status, body := post(x.kind, x.body); status != x.status || !strings.Contains(body, `"code"`) {
			t.Errorf("%s: %d %s, want %d", name, status, body, x.status)
		}
	}
	for target, status := range map[string]int{"look": 400, "look?step=x": 400, "look?step=-1": 400, "look?step=0&x=1": 400, "look?step=0": 422, "look?step=7": 200} {
		if a := p.browser(p.cookie, "POST", target, "no picture", "Content-Type", "image/jpeg"); a.Status != status {
			t.Errorf("%s: %d %s, want %d", target, a.Status, a.Body, status)
		}
	}
	if a := p.browser(p.cookie, "POST", "look?step=0", strings.Repeat("x", 128<<10+1), "Content-Type", "image/jpeg"); a.Status != 413 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if got := p.read(p.post(m, frames)); got.Step == nil {
		t.Errorf("and then as it should be: %+v", got)
	}
}

// Colours that the face follows pass, and those that it doesn't are asked for again; frames that don't tell every colour are none.
func TestFlash(t *testing.T) {
	w, c := stage(t)
	w.native(t, 200, "PUT", "/v1/galleries/people/capture", `{"flash":true}`, nil)
	a := newActor(t, 1)
	film := func(p *page, lit float64) [][]byte {
		var faces []*extract.Face
		for _, colour := range p.task.Colours {
			var rgb [3]float64
			var v [3]int
			if _, err := fmt.Sscanf(colour, "#%2x%2x%2x", &v[0], &v[1], &v[2]); err != nil {
				t.Fatal(err)
			}
			for i := range rgb {
				rgb[i] = 100 + lit*float64(v[i])
			}
			f := a.at(0, 0)
			f.Crop = &extract.Image{W: 112, H: 112, Pix: make([]uint8, 3*112*112)}
			for i := range f.Crop.Pix {
				f.Crop.Pix[i] = uint8(rgb[i%3])
			}
			faces = append(faces, f)
		}
		return c.film(t, faces)
	}
	begin := func() *page {
		p := w.enter(t, w.make(t, `{"gallery":"people","flow":"liveness","challenges":["flash"],"steps":1}`))
		p.start()
		p.send(c.film(t, a.does(extract.Centre)))
		if p.task.Kind != extract.Flash || len(p.task.Colours) < 4 || p.task.Frames != len(p.task.Colours) || p.task.MinMs < 300*len(p.task.Colours) {
			t.Fatalf("%+v", p.task)
		}
		return p
	}
	p := begin()
	if got := p.send(film(p, 0)); got.Again == nil || len(got.Hints) == 0 || slices.Equal(got.Again.Colours, nil) {
		t.Errorf("a face that nothing lights: %+v", got)
	}
	if got := p.send(film(p, .3)); !got.Done {
		t.Errorf("%+v %+v", got, got.Failed)
	}
	p = begin()
	frames := film(p, .3)
	p.task.Colours = p.task.Colours[:2] // the others are said to be of no colour
	p.send(frames).failed(t, "frames_damaged", 2)
}

// A picture is looked at for the step that is on.
func TestLook(t *testing.T) {
	w, c := stage(t)
	a, p := newActor(t, 1), w.live(t)
	look := func(f *extract.Face) (got struct {
		Hints []string
		Ready bool
	}) {
		t.Helper()
		p.passes(time.Second)
		r := p.browser(p.cookie, "POST", fmt.Sprintf("look?step=%d", p.task.N), string(c.film(t, []*extract.Face{f})[0]), "Content-Type", "image/jpeg")
		if r.Into(t, &got); r.Status != 200 || got.Hints == nil {
			t.Fatalf("%d %s", r.Status, r.Body)
		}
		return got
	}
	p.start()
	if got := look(nil); got.Ready || !slices.Equal(got.Hints, []string{"no_face"}) {
		t.Errorf("nobody: %+v", got)
	}
	if got := look(a.at(25, 0)); got.Ready || !slices.Contains(got.Hints, "look_straight") {
		t.Errorf("looks aside: %+v", got)
	}
	if got := look(a.at(0, 0)); !got.Ready || len(got.Hints) != 0 {
		t.Errorf("good: %+v", got)
	}
	p.send(c.film(t, a.does(extract.Centre)))
	list := a.does(p.task.Kind)
	if got := look(list[0]); got.Ready || len(got.Hints) == 0 {
		t.Errorf("before %s: %+v", p.task.Kind, got)
	}
	if got := look(list[2]); !got.Ready || len(got.Hints) != 0 {
		t.Errorf("%s: %+v", p.task.Kind, got)
	}
}
