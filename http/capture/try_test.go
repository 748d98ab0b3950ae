package capture_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"mien/engine"
	"mien/extract"
	"mien/http"
	"mien/http/capture/capturetest"
	"mien/http/dialect/dialecttest"
)

// cast finds on a frame the face that was made for it.
type cast struct {
	mu    sync.Mutex
	faces map[[32]byte]*extract.Face // nil: none is on the frame
	busy  int                        // of the next frames so many are ErrBusy
	hold  chan struct{}              // not nil: waited for
	held  chan struct{}              // told of who waits
}

func newCast() *cast { return &cast{faces: make(map[[32]byte]*extract.Face)} }

func (c *cast) Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error) {
	c.mu.Lock()
	f, known := c.faces[sha256.Sum256(data)]
	hold := c.hold
	busy := c.busy > 0
	c.busy--
	c.mu.Unlock()
	if hold != nil {
		c.held <- struct{}{}
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	switch {
	case busy:
		return nil, extract.ErrBusy
	case !known:
		return nil, errors.New("a frame that nobody has made")
	case f == nil:
		return nil, extract.ErrNoFace
	}
	g := *f
	g.Template = slices.Clone(f.Template)
	return []extract.Face{g}, nil
}

func (c *cast) Measures() []string {
	names := []string{extract.LivenessMeasure}
	for m := range extract.NumMeasures {
		names = append(names, extract.Measure(m).String())
	}
	return names
}

// actor is one whose faces are for a cast.
type actor struct{ *capturetest.Actor }

func newActor(t testing.TB, number uint64) *actor {
	t.Helper()
	return &actor{capturetest.NewStranger(t, number)}
}

func (a *actor) at(yaw, pitch float64) *extract.Face { return new(a.At(yaw, pitch)) }

func (a *actor) does(kind extract.Challenge) (faces []*extract.Face) {
	for _, f := range a.Does(kind) {
		faces = append(faces, &f)
	}
	return faces
}

// film makes a frame for each face; nil is a frame without one.
func (c *cast) film(t testing.TB, faces []*extract.Face) (frames [][]byte) {
	for _, f := range faces {
		data := capturetest.Picture(t)
		c.mu.Lock()
		c.faces[sha256.Sum256(data)] = f
		c.mu.Unlock()
		frames = append(frames, data)
	}
	return frames
}

// task is a step as the page is told it.
type task struct {
	N       int
	Kind    extract.Challenge
	Nonce   string
	Seconds int
	MinMs   int `json:"min_ms"`
	Frames  int
	Of      int
	Colours []string
}

// answered is what the page is told of a step.
type answered struct {
	Step, Again *task
	Hints       []string
	Failed      *struct {
		Reason    string
		TriesLeft int `json:"tries_left"`
		Hints     []string
	}
	Done     bool
	Redirect string
}

// page is the browser of a session.
type page struct {
	*world
	t      testing.TB
	cookie string
	x      session
	key    []byte
	last   [32]byte
	i      int
	ms     float64 // of its clock
	task   *task
	sent   [][]byte // all frames that it sent
}

// enter opens a session's link.
func (w *world) enter(t testing.TB, x session) *page {
	t.Helper()
	return &page{world: w, t: t, cookie: w.open(t, x), x: x, ms: 5000}
}

// live is a session of the flow liveness, and its page.
func (w *world) live(t testing.TB) *page {
	t.Helper()
	return w.enter(t, w.make(t, `{"gallery":"people","flow":"liveness"}`))
}

// passes lets time pass on both clocks.
func (p *page) passes(d time.Duration) {
	p.clock.advance(d)
	p.ms += float64(d.Milliseconds())
}

func (p *page) start() {
	p.t.Helper()
	var got struct {
		Session string
		Key     []byte
		Step    *task
	}
	a := p.browser(p.cookie, "POST", "start", `{"camera":{"label":"a camera","width":1280,"height":720,"frame_rate":30}}`)
	if a.Into(p.t, &got); a.Status != 200 || got.Session == "" || len(got.Key) != 32 {
		p.t.Fatalf("%d %s", a.Status, a.Body)
	}
	p.key, p.last, p.i, p.task = got.Key, [32]byte{}, 0, got.Step
	p.passes(2 * time.Second)
}

// meta is what the page says of its frames.
type meta struct {
	Step        int                     `json:"step"`
	Nonce       string                  `json:"nonce"`
	Frames      []capturetest.FrameMeta `json:"frames"`
	Alternative bool                    `json:"alternative"`
}

// describe is the meta of frames, 100 ms from one to the next, up to now.
func (p *page) describe(frames [][]byte) meta {
	m := meta{Step: p.task.N, Nonce: p.task.Nonce}
	for j, data := range frames {
		sum := sha256.Sum256(data)
		f := capturetest.FrameMeta{I: p.i, T: p.ms - 100*float64(len(frames)-j), SHA256: hex.EncodeToString(sum[:]), Colour: -1}
		if j < len(p.task.Colours) {
			f.Colour = j
		}
		m.Frames = append(m.Frames, f)
		p.i++
	}
	p.tag(&m)
	return m
}

// tag makes the tags of frames as their meta has them.
func (p *page) tag(m *meta) {
	nonce, err := base64.StdEncoding.DecodeString(m.Nonce)
	if err != nil {
		p.t.Fatal(err)
	}
	for j := range m.Frames {
		f := &m.Frames[j]
		sum, _ := hex.DecodeString(f.SHA256)
		p.last = capturetest.Tag(p.key, p.last, nonce, f.I, f.T, sum)
		f.Tag = hex.EncodeToString(p.last[:])
	}
}

// post sends a step as it is.
func (p *page) post(m any, frames [][]byte) dialecttest.Answer {
	p.t.Helper()
	kind, body := capturetest.Form(p.t, m, frames)
	return p.browser(p.cookie, "POST", "step", string(body), "Content-Type", kind)
}

// send sends frames for the task that is on, and goes on with what is answered.
func (p *page) send(frames [][]byte) answered {
	p.t.Helper()
	p.sent = append(p.sent, frames...)
	return p.read(p.post(p.describe(frames), frames))
}

func (p *page) read(a dialecttest.Answer) (got answered) {
	p.t.Helper()
	if a.Status != 200 {
		p.t.Fatalf("%d %s", a.Status, a.Body)
	}
	a.Into(p.t, &got)
	n := 0
	for _, is := range []bool{got.Step != nil, got.Again != nil, got.Failed != nil, got.Done} {
		if is {
			n++
		}
	}
	if n != 1 {
		p.t.Fatalf("%d answers in one: %s", n, a.Body)
	}
	if got.Step != nil {
		p.task = got.Step
	}
	if got.Again != nil {
		p.task = got.Again
	}
	p.passes(2 * time.Second)
	return got
}

// perform has an actor do all that is asked for, and returns how the try ended.
func (p *page) perform(c *cast, a *actor) answered {
	p.t.Helper()
	for {
		got := p.send(c.film(p.t, a.does(p.task.Kind)))
		if got.Step == nil {
			return got
		}
	}
}

// failed demands that a try has failed for a reason, and how many are left.
func (got answered) failed(t testing.TB, reason string, left int) {
	t.Helper()
	if got.Failed == nil || got.Failed.Reason != reason || got.Failed.TriesLeft != left || got.Failed.Hints == nil {
		t.Fatalf("%+v %+v, want a try that failed as %s, %d left", got, got.Failed, reason, left)
	}
}

// still is a world whose clock stands still but for what tests say: how fast the machine is changes nothing of what a try's times are.
func still(t testing.TB, change func(*http.Config, *engine.Config)) *world {
	t.Helper()
	stands, at := new(clock), time.Now()
	w := newWorld(t, func(h *http.Config, e *engine.Config) {
		e.Now = func() time.Time { return at.Add(time.Duration(stands.ahead.Load())) }
		if change != nil {
			change(h, e)
		}
	})
	w.clock = stands
	return w
}

// stage is such a world, whose frames are played by a cast.
func stage(t testing.TB) (*world, *cast) {
	t.Helper()
	c := newCast()
	return still(t, func(h *http.Config, _ *engine.Config) { h.Extractor = c }), c
}

// Whoever does what is asked for passes; each step is told when the one before was judged, and the session has nothing of it but the verdict.
func TestTryPasses(t *testing.T) {
	w, c := stage(t)
	p := w.enter(t, w.make(t, fmt.Sprintf(`{"gallery":"people","flow":"liveness","steps":4,"redirect_url":%q,"state":"s"}`, callback)))
	p.start()
	if p.task.Kind != extract.Centre || p.task.N != 0 || p.task.Of != 5 || p.task.Frames < 3 || p.task.Seconds < 10 || p.task.MinMs < 1 {
		t.Fatalf("%+v", p.task)
	}
	a, nonces := newActor(t, 1), map[string]bool{}
	for n := range 5 {
		if nonces[p.task.Nonce] || p.task.N != n {
			t.Errorf("step %d: %+v", n, p.task)
		}
		nonces[p.task.Nonce] = true
		got := p.send(c.film(t, a.does(p.task.Kind)))
		if n < 4 && got.Step == nil || n == 4 && (!got.Done || got.Redirect != callback+"?client_state=s") {
			t.Fatalf("step %d: %+v", n, got)
		}
	}
	if x := w.look(t, p.x); x.Status != "success" || x.Liveness != "live" || x.Tries != 0 {
		t.Errorf("%+v", x)
	}
	refusedWith(t, p.browser(p.cookie, "POST", "start", `{}`), 409, "session_over")
}
