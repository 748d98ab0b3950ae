package capture_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"mime/multipart"
	"net/textproto"
	"slices"
	"sync"
	"testing"
	"time"

	"mien/engine"
	"mien/extract"
	"mien/extract/extracttest"
	"mien/http"
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

// actor is somebody whose head is 68 points in space.
type actor struct {
	points   [68][3]float64
	template []float32
	liveness extract.Liveness
	r        *rand.Rand
}

var model = sync.OnceValues(func() (*extract.Face, error) {
	found, err := theExtractor.Extract(context.Background(), thePhoto, extract.Options{Select: extract.SelectOne, Want: extract.WantTemplate})
	if err != nil {
		return nil, err
	}
	return &found[0], nil
})

var (
	theExtractor *extract.Extractor
	thePhoto     []byte
)

// newActor has the points of a photo and a template of its own.
func newActor(t testing.TB, seed uint64) *actor {
	t.Helper()
	theExtractor, thePhoto = extracttest.Default(t), extracttest.Photo(t, "a_1.jpg")
	m, err := model()
	if err != nil {
		t.Fatal(err)
	}
	a := &actor{r: rand.New(rand.NewPCG(seed, 3)), liveness: extract.Liveness{Score: .99, Verdict: extract.Live}, template: make([]float32, len(m.Template))}
	a.template[seed%uint64(len(m.Template))] = 1
	eyes, chin := mid(m.Landmarks[36:48]), m.Landmarks[8]
	unit, at := math.Hypot(eyes[0]-float64(chin.X), eyes[1]-float64(chin.Y)), mid(m.Landmarks[:])
	tip := [2]float64{(float64(m.Landmarks[30].X) - at[0]) / unit, (float64(m.Landmarks[30].Y) - at[1]) / unit}
	for i, p := range m.Landmarks {
		x, y := (float64(p.X)-at[0])/unit, (float64(p.Y)-at[1])/unit
		du, dv := (x-tip[0])/.14, (y-tip[1])/.22
		a.points[i] = [3]float64{x, y, .75*math.Sqrt(max(1-x*x/.7-y*y/1.4, 0)) + .3*math.Exp(-du*du-dv*dv)}
	}
	return a
}

func mid(points []extract.Point) (m [2]float64) {
	for _, p := range points {
		m[0], m[1] = m[0]+float64(p.X)/float64(len(points)), m[1]+float64(p.Y)/float64(len(points))
	}
	return m
}

// at is the actor turned by degrees of yaw and pitch, in the middle of a frame of 320×240.
func (a *actor) at(yaw, pitch float64) *extract.Face {
	f := &extract.Face{Pose: extract.Pose{Yaw: float32(yaw), Pitch: float32(pitch)}, EyesOpen: [2]float32{1, 1}, Template: a.template, Norm: 20, Liveness: a.liveness,
		Score: 1, Box: extract.Box{X1: 110, Y1: 50, X2: 210, Y2: 190}}
	for m := range f.Quality {
		f.Quality[m] = 90
	}
	sy, cy := math.Sincos(-yaw * math.Pi / 180)
	sp, cp := math.Sincos(-pitch * math.Pi / 180)
	dx, dy := 9*a.r.Float64(), 9*a.r.Float64()
	for i, p := range a.points {
		x, z := cy*p[0]+sy*p[2], cy*p[2]-sy*p[0]
		y, z := cp*p[1]+sp*z, cp*z-sp*p[1]
		k := 100 * 5 / (5 - z)
		f.Landmarks[i] = extract.Point{X: float32(160 + dx + k*x), Y: float32(120 + dy + k*y)}
	}
	eye := func(from int) extract.Point {
		m := mid(f.Landmarks[from : from+6])
		return extract.Point{X: float32(m[0]), Y: float32(m[1])}
	}
	f.Five = [5]extract.Point{eye(36), eye(42), f.Landmarks[30], f.Landmarks[48], f.Landmarks[54]}
	return f
}

// shut closes the eyes.
func shut(f *extract.Face) *extract.Face {
	f.EyesOpen = [2]float32{.01, .01}
	for _, from := range []int{36, 42} {
		y := (f.Landmarks[from].Y + f.Landmarks[from+3].Y) / 2
		for _, i := range []int{1, 2, 4, 5} {
			f.Landmarks[from+i].Y = y + (f.Landmarks[from+i].Y-y)/5
		}
	}
	return f
}

// does is what the actor shows for a challenge.
func (a *actor) does(kind extract.Challenge) []*extract.Face {
	switch kind {
	case extract.TurnLeft:
		return []*extract.Face{a.at(0, 0), a.at(-12, 0), a.at(-28, 0), a.at(-30, 0)}
	case extract.TurnRight:
		return []*extract.Face{a.at(0, 0), a.at(12, 0), a.at(28, 0), a.at(30, 0)}
	case extract.LookUp:
		return []*extract.Face{a.at(0, 0), a.at(0, 9), a.at(0, 22), a.at(1, 24)}
	case extract.Blink:
		return []*extract.Face{a.at(0, 0), shut(a.at(0, 0)), shut(a.at(1, 0)), a.at(0, 1)}
	}
	return []*extract.Face{a.at(0, 0), a.at(1, 1), a.at(2, -1)}
}

var shots struct {
	sync.Mutex
	n uint64
}

// camera is a picture like no other: blocks of random grey.
func camera(t testing.TB) []byte {
	shots.Lock()
	shots.n++
	rng := rand.New(rand.NewPCG(shots.n, 11))
	shots.Unlock()
	img := image.NewGray(image.Rect(0, 0, 320, 240))
	for y := 0; y < 240; y += 16 {
		for x := 0; x < 320; x += 16 {
			c := uint8(40 + rng.IntN(160))
			for v := range 16 {
				row := img.Pix[img.PixOffset(x, y+v):][:16]
				for u := range row {
					row[u] = c
				}
			}
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// film makes a frame for each face; nil is a frame without one.
func (c *cast) film(t testing.TB, faces []*extract.Face) (frames [][]byte) {
	for _, f := range faces {
		data := camera(t)
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

// frameMeta and meta are what the page says of its frames.
type frameMeta struct {
	I      int     `json:"i"`
	T      float64 `json:"t_ms"`
	SHA256 string  `json:"sha256"`
	Tag    string  `json:"tag"`
	Colour int     `json:"colour"`
}

type meta struct {
	Step        int         `json:"step"`
	Nonce       string      `json:"nonce"`
	Frames      []frameMeta `json:"frames"`
	Alternative bool        `json:"alternative"`
}

// describe is the meta of frames, 100 ms from one to the next, up to now.
func (p *page) describe(frames [][]byte) meta {
	m := meta{Step: p.task.N, Nonce: p.task.Nonce}
	for j, data := range frames {
		sum := sha256.Sum256(data)
		f := frameMeta{I: p.i, T: p.ms - 100*float64(len(frames)-j), SHA256: hex.EncodeToString(sum[:]), Colour: -1}
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
		b := binary.BigEndian.AppendUint32(append(p.last[:], nonce...), uint32(f.I))
		b = append(binary.BigEndian.AppendUint64(b, math.Float64bits(f.T)), sum...)
		h := hmac.New(sha256.New, p.key)
		h.Write(b)
		p.last = [32]byte(h.Sum(nil))
		f.Tag = hex.EncodeToString(p.last[:])
	}
}

// formOf is the body of a step.
func formOf(t testing.TB, m any, frames [][]byte) (contentType string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.WriteField("meta", string(text)); err != nil {
		t.Fatal(err)
	}
	for i, data := range frames {
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="frame"; filename="%d.jpg"`, i)}, "Content-Type": {"image/jpeg"}})
		if err == nil {
			_, err = part.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

// post sends a step as it is.
func (p *page) post(m any, frames [][]byte) dialecttest.Answer {
	p.t.Helper()
	kind, body := formOf(p.t, m, frames)
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
