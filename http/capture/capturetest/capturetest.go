// Package capturetest plays sessions of the capture page to their end, for tests of what makes them: a stage stands for the camera and for the models that look
// at its frames, actors for the people before it. Everything else is the server's own: the page's protocol, what is asked for, how it is judged and decided.
// It is for tests only.
package capturetest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mien/engine"
	"mien/extract"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/dialect/dialecttest"
)

// Stage is the camera, the models that see on its frames whom it made them of, and the server's clock. On what is no frame of its own the
// server's own models look. Safe for concurrent use.
type Stage struct {
	http.Extractor
	begun time.Time
	ahead atomic.Int64
	mu    struct {
		sync.Mutex
		faces map[[32]byte]extract.Face
	}
}

// NewStage is an empty one.
func NewStage() *Stage {
	s := &Stage{begun: time.Now()}
	s.mu.faces = make(map[[32]byte]extract.Face)
	return s
}

// Configure gives a server, before it is made, the stage's models and clock.
func (s *Stage) Configure(h *http.Config, e *engine.Config) {
	s.Extractor = h.Extractor
	h.Extractor, e.Now = s, s.Now
}

// Now is the stage's time: it stands still but for Pass, however slow the machine is.
func (s *Stage) Now() time.Time { return s.begun.Add(time.Duration(s.ahead.Load())) }

// Pass lets time pass.
func (s *Stage) Pass(d time.Duration) { s.ahead.Add(int64(d)) }

// Extract implements http.Extractor.
func (s *Stage) Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error) {
	s.mu.Lock()
	f, known := s.mu.faces[sha256.Sum256(data)]
	s.mu.Unlock()
	if !known {
		return s.Extractor.Extract(ctx, data, o)
	}
	f.Template = slices.Clone(f.Template) // which whoever asked may overwrite
	return []extract.Face{f}, nil
}

// Measures are those of the server's own models: http asks for them.
func (s *Stage) Measures() []string {
	if m, ok := s.Extractor.(interface{ Measures() []string }); ok {
		return m.Measures()
	}
	return nil
}

// frame is a picture on which models see the face.
func (s *Stage) frame(t testing.TB, f extract.Face) []byte {
	data := Picture(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.faces[sha256.Sum256(data)] = f
	return data
}

var pictures atomic.Uint64

// Picture is a JPEG of 320×240 like no other of the process: blocks of random grey.
func Picture(t testing.TB) []byte {
	t.Helper()
	rng := rand.New(rand.NewPCG(pictures.Add(1), 11))
	img := image.NewGray(image.Rect(0, 0, 320, 240))
	for y := 0; y < 240; y += 16 {
		for x := 0; x < 320; x += 16 {
			c := color.Gray{uint8(40 + rng.IntN(160))}
			for v := range 16 {
				for u := range 16 {
					img.SetGray(x+u, y+v, c)
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

// Actor is somebody whose head is 68 points in space, and who does what is asked for.
type Actor struct {
	points [68][3]float64
	face   extract.Face // what does not depend on how the head is held
	rng    *rand.Rand
}

// NewActor is who is on a photo of testdata/faces, as a live person: of that the template is.
func NewActor(t testing.TB, photo string) *Actor {
	t.Helper()
	who := onPhoto(t, photo)
	return newActor(t, who.Template, who.Norm, 3)
}

// NewStranger is a live person whose template is like those of no others but strangers of the same number.
func NewStranger(t testing.TB, number uint64) *Actor {
	t.Helper()
	template := make([]float32, len(onPhoto(t, headPhoto).Template))
	template[number%uint64(len(template))] = 1
	return newActor(t, template, 20, number)
}

// headPhoto is of who looks straight ahead: all actors have the head.
const headPhoto = "a_1.jpg"

var found sync.Map // of extract.Face, by the photo

func onPhoto(t testing.TB, name string) extract.Face {
	t.Helper()
	if f, ok := found.Load(name); ok {
		return f.(extract.Face)
	}
	faces, err := extracttest.Default(t).Extract(t.Context(), extracttest.Photo(t, name), extract.Options{Select: extract.SelectOne, Want: extract.WantTemplate})
	if err != nil {
		t.Fatal(err)
	}
	found.Store(name, faces[0])
	return faces[0]
}

func newActor(t testing.TB, template []float32, norm float32, seed uint64) *Actor {
	t.Helper()
	shape := onPhoto(t, headPhoto)
	a := &Actor{rng: rand.New(rand.NewPCG(seed, 3)), face: extract.Face{EyesOpen: [2]float32{1, 1}, Template: template, Norm: norm, Score: 1,
		Liveness: extract.Liveness{Score: .99, Verdict: extract.Live}, Box: extract.Box{X1: 110, Y1: 50, X2: 210, Y2: 190}}}
	for m := range a.face.Quality {
		a.face.Quality[m] = 90
	}
	eyes, chin, middle := mean(shape.Landmarks[36:48]), mean(shape.Landmarks[8:9]), mean(shape.Landmarks[:])
	unit := math.Hypot(eyes[0]-chin[0], eyes[1]-chin[1])
	along := func(p extract.Point) (x, y float64) {
		return (float64(p.X) - middle[0]) / unit, (float64(p.Y) - middle[1]) / unit
	}
	tipX, tipY := along(shape.Landmarks[30])
	for i, p := range shape.Landmarks {
		x, y := along(p)
		u, v := (x-tipX)/.14, (y-tipY)/.22
		a.points[i] = [3]float64{x, y, .75*math.Sqrt(max(1-x*x/.7-y*y/1.4, 0)) + .3*math.Exp(-u*u-v*v)}
	}
	return a
}

// Fake makes the actor a picture of somebody, which the liveness models see.
func (a *Actor) Fake() *Actor { return a.Judged(extract.Liveness{Score: .01, Verdict: extract.Spoof}) }

// Judged makes the liveness models take the actor for that.
func (a *Actor) Judged(l extract.Liveness) *Actor {
	a.face.Liveness = l
	return a
}

func mean(points []extract.Point) (m [2]float64) {
	for _, p := range points {
		m[0], m[1] = m[0]+float64(p.X)/float64(len(points)), m[1]+float64(p.Y)/float64(len(points))
	}
	return m
}

// At is the actor turned by degrees of yaw and pitch, in the middle of a frame.
func (a *Actor) At(yaw, pitch float64) extract.Face {
	f := a.face
	f.Pose = extract.Pose{Yaw: float32(yaw), Pitch: float32(pitch)}
	sy, cy := math.Sincos(-yaw * math.Pi / 180)
	sp, cp := math.Sincos(-pitch * math.Pi / 180)
	dx, dy := 9*a.rng.Float64(), 9*a.rng.Float64() // nobody holds still
	for i, p := range a.points {
		x, z := cy*p[0]+sy*p[2], cy*p[2]-sy*p[0]
		y, z := cp*p[1]+sp*z, cp*z-sp*p[1]
		k := 100 * 5 / (5 - z)
		f.Landmarks[i] = extract.Point{X: float32(160 + dx + k*x), Y: float32(120 + dy + k*y)}
	}
	eye := func(from int) extract.Point {
		m := mean(f.Landmarks[from : from+6])
		return extract.Point{X: float32(m[0]), Y: float32(m[1])}
	}
	f.Five = [5]extract.Point{eye(36), eye(42), f.Landmarks[30], f.Landmarks[48], f.Landmarks[54]}
	return f
}

// shut closes the eyes.
func shut(f extract.Face) extract.Face {
	f.EyesOpen = [2]float32{.01, .01}
	for _, from := range []int{36, 42} {
		y := (f.Landmarks[from].Y + f.Landmarks[from+3].Y) / 2
		for _, i := range []int{1, 2, 4, 5} {
			f.Landmarks[from+i].Y = y + (f.Landmarks[from+i].Y-y)/5
		}
	}
	return f
}

// Does is what the actor shows for a challenge.
func (a *Actor) Does(kind extract.Challenge) []extract.Face {
	switch kind {
	case extract.TurnLeft:
		return []extract.Face{a.At(0, 0), a.At(-12, 0), a.At(-28, 0), a.At(-30, 0)}
	case extract.TurnRight:
		return []extract.Face{a.At(0, 0), a.At(12, 0), a.At(28, 0), a.At(30, 0)}
	case extract.LookUp:
		return []extract.Face{a.At(0, 0), a.At(0, 9), a.At(0, 22), a.At(1, 24)}
	case extract.Blink:
		return []extract.Face{a.At(0, 0), shut(a.At(0, 0)), shut(a.At(1, 0)), a.At(0, 1)}
	}
	return []extract.Face{a.At(0, 0), a.At(1, 1), a.At(2, -1)}
}

// Browser has opened a session's link.
type Browser struct {
	stage  *Stage
	server *dialecttest.Server
	cookie string
}

// Open opens a link.
func (s *Stage) Open(server *dialecttest.Server, link string) *Browser {
	server.T.Helper()
	_, token, _ := strings.Cut(link, "?t=")
	a := server.Do("POST", "/capture/api/open", []byte("{}"), "Authorization", "Bearer "+token)
	if a.Status != 200 {
		server.T.Fatalf("the link does not open: %d %s", a.Status, a.Body)
	}
	cookie, _, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";")
	return &Browser{s, server, cookie}
}

// ask asks as the page does.
func (b *Browser) ask(path string, body []byte, header ...string) dialecttest.Answer {
	return b.server.Do("POST", "/capture/api/"+path, body, append([]string{"Cookie", b.cookie, "Sec-Fetch-Site", "same-origin"}, header...)...)
}

// task is a challenge as the page is told it.
type task struct {
	N     int
	Kind  extract.Challenge
	Nonce string
}

// try is one before the camera: what the page keeps of it.
type try struct {
	key  []byte
	last [32]byte
	i    int
	task *task
}

// Ended is how a try ended: with the session, or as one that failed.
type Ended struct {
	Done     bool
	Redirect string
	Failed   string // why
	Left     int    // tries
}

// Try has the actor do all that a try asks for.
func (b *Browser) Try(a *Actor) Ended {
	t := b.server.T
	t.Helper()
	var begun struct {
		Key  []byte
		Step *task
	}
	got := b.ask("start", []byte(`{}`))
	if err := json.Unmarshal(got.Body, &begun); err != nil || got.Status != 200 {
		t.Fatalf("no try begins: %d %s", got.Status, got.Body)
	}
	x := &try{key: begun.Key, task: begun.Step}
	for {
		var told struct {
			Step, Again *task
			Failed      *struct {
				Reason    string
				TriesLeft int `json:"tries_left"`
			}
			Done     bool
			Redirect string
		}
		b.stage.Pass(2 * time.Second)
		got := b.step(x, a.Does(x.task.Kind))
		if err := json.Unmarshal(got.Body, &told); err != nil || got.Status != 200 {
			t.Fatalf("%s: %d %s", x.task.Kind, got.Status, got.Body)
		}
		switch {
		case told.Failed != nil:
			return Ended{Failed: told.Failed.Reason, Left: told.Failed.TriesLeft}
		case told.Done:
			return Ended{Done: true, Redirect: told.Redirect}
		case told.Step == nil:
			t.Fatalf("%s was not shown: %s", x.task.Kind, got.Body)
		}
		x.task = told.Step
	}
}

// FrameMeta is what the page says of a frame.
type FrameMeta struct {
	I      int     `json:"i"`
	T      float64 `json:"t_ms"`
	SHA256 string  `json:"sha256"`
	Tag    string  `json:"tag"`
	Colour int     `json:"colour"`
}

// step sends the frames of faces for the task that is on.
func (b *Browser) step(x *try, faces []extract.Face) dialecttest.Answer {
	t := b.server.T
	t.Helper()
	nonce, err := base64.StdEncoding.DecodeString(x.task.Nonce)
	if err != nil {
		t.Fatal(err)
	}
	meta := struct {
		Step   int         `json:"step"`
		Nonce  string      `json:"nonce"`
		Frames []FrameMeta `json:"frames"`
	}{Step: x.task.N, Nonce: x.task.Nonce}
	var frames [][]byte
	for j, f := range faces {
		data := b.stage.frame(t, f)
		frames = append(frames, data)
		meta.Frames = append(meta.Frames, x.tagged(nonce, data, 1000+float64(b.stage.ahead.Load()/1e6)-100*float64(len(faces)-j)))
	}
	contentType, body := Form(t, meta, frames)
	return b.ask("step", body, "Content-Type", contentType)
}

// tagged is what is said of the next frame, with its tag in the chain.
func (x *try) tagged(nonce, data []byte, ms float64) FrameMeta {
	sum := sha256.Sum256(data)
	x.last = Tag(x.key, x.last, nonce, x.i, ms, sum[:])
	x.i++
	return FrameMeta{x.i - 1, ms, hex.EncodeToString(sum[:]), hex.EncodeToString(x.last[:]), -1}
}

// Tag is that of frame i of a try, taken at ms of the page's clock, whose SHA-256 is sum; last is the tag of the frame before, zero for the first.
func Tag(key []byte, last [32]byte, nonce []byte, i int, ms float64, sum []byte) [32]byte {
	text := binary.BigEndian.AppendUint32(append(last[:], nonce...), uint32(i))
	text = append(binary.BigEndian.AppendUint64(text, math.Float64bits(ms)), sum...)
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return [32]byte(h.Sum(nil))
}

// Form is the body of a step.
func Form(t testing.TB, meta any, frames [][]byte) (contentType string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	text, err := json.Marshal(meta)
	if err == nil {
		err = w.WriteField("meta", string(text))
	}
	for i, data := range frames {
		if err != nil {
			break
		}
		part, failed := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name="frame"; filename="%d.jpg"`, i)}, "Content-Type": {"image/jpeg"}})
		if err = failed; err == nil {
			_, err = part.Write(data)
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}
