package browsertest

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// camera is a file that Chromium takes for a camera, and somebody before it who moves while the test goes on.
//
// Chromium reads the file's pictures one after the other and begins again at its end. There are few of them, and all are drawn anew before they are read again:
// so the camera shows what is before it now, and no picture twice unless this process stands still for a third of a second. Safe for concurrent use.
type camera struct {
	path string
	file *os.File

	mu    sync.Mutex
	who   []*head // before the camera; protected by mu, as all that follows
	light float64
	at    pose // how the head is turned, without its time
	to    pose
	sway  *sway
	rand  *rand.Rand
	begun time.Time
	moved time.Time // when the head was where it is
	drawn picture
}

const (
	cameraFrames = 4
	turnSpeed    = 3 // degrees for each picture; how far people turn is a multiple
)

var frameHead = []byte("FRAME\n")

// newCamera begins to film. It ends with the test.
func newCamera(t *testing.T, who ...*head) *camera {
	t.Helper()
	skipShort(t)
	c := &camera{path: filepath.Join(t.TempDir(), "camera.y4m"), light: 1, rand: rand.New(rand.NewPCG(rand.Uint64(), 1)), begun: time.Now()}
	var err error
	if c.file, err = os.Create(c.path); err != nil {
		t.Fatal(err)
	}
	c.shows(who...)
	if err := c.draw(); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second / filmRate)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := c.draw(); err != nil {
					t.Errorf("camera: %v", err)
					return
				}
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-stopped; c.file.Close() })
	return c
}

// draw writes the file's pictures of now.
func (c *camera) draw() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	steps := math.Round(time.Since(c.moved).Seconds() * filmRate) // one, where the machine has time for it
	c.moved = time.Now()
	c.at.yaw, c.at.pitch = toward(c.at.yaw, c.to.yaw, steps*turnSpeed), toward(c.at.pitch, c.to.pitch, steps*turnSpeed)
	seen := scene{who: c.who}.seen(c.at.yaw, c.at.pitch)
	head := fmt.Appendf(nil, "YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420jpeg\n", filmWidth, filmHeight, filmRate)
	if _, err := c.file.WriteAt(head, 0); err != nil {
		return err
	}
	at := int64(len(head))
	p := &c.drawn
	for i := range cameraFrames {
		t := time.Since(c.begun).Seconds() + float64(i)/filmRate
		p.take(seen, c.sway.at(t), c.light*(1+.02*(c.rand.Float64()-.5)), c.rand.Uint64()|1)
		for _, part := range [][]byte{frameHead, p.y[:], p.u[:], p.v[:]} {
			if _, err := c.file.WriteAt(part, at); err != nil {
				return err
			}
			at += int64(len(part))
		}
	}
	return nil
}

func toward(from, to, most float64) float64 {
	return from + min(max(to-from, -most), most)
}

// shows lets others sit down before the camera, in ordinary light: they look into it.
func (c *camera) shows(who ...*head) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.who, c.at, c.to, c.light, c.sway = who, pose{}, pose{}, 1, newSway(c.rand)
}

// replaces puts somebody else in the place of who is there, at once.
func (c *camera) replaces(who *head) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.who = []*head{who}
}

// lit changes the light: 1 is that of the photo.
func (c *camera) lit(light float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.light = light
}

// turns lets whoever is there turn the head: signs are those of head.turned.
func (c *camera) turns(yaw, pitch float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = pose{yaw: yaw, pitch: pitch}
}

// rehearse draws the poses on the way to each side, so that they are there when they are needed.
func (h *head) rehearse() {
	var wg sync.WaitGroup
	for yaw := -toLeft; yaw <= toRight; yaw += turnSpeed {
		wg.Go(func() { h.scene(float64(yaw), 0) })
	}
	wg.Wait()
}

// A page sees through the camera what is before it now.
func TestCamera(t *testing.T) {
	skipShort(t)
	ana, arun := person(t, "ana"), person(t, "arun")
	b := newBrowser(t, newCamera(t, ana))
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(`<!DOCTYPE html><link rel="icon" href="data:,"><title>camera</title><video autoplay muted></video>`))
	}))
	defer page.Close()
	b.open(options{Viewport: desktop, Permissions: []string{"camera"}})
	b.page("goto", page.URL)
	b.page("evaluate", `navigator.mediaDevices.getUserMedia({video: {width: {ideal: 1280}, height: {ideal: 720}}}).then((s) => { document.querySelector("video").srcObject = s; })`)
	b.until(`document.querySelector("video").videoWidth > 0`)
	for _, who := range []*head{ana, arun} {
		b.camera.shows(who)
		ahead := face(t, who.scene(0, 0).jpegOf(t))
		for _, yaw := range []float64{0, -toLeft, toRight} {
			b.camera.turns(yaw, 0)
			b.sees(fmt.Sprintf("turned by %v", yaw), func() bool {
				f := face(t, b.grab())
				return cosine(f, ahead) > .5 && (math.Abs(yaw) < 5 && math.Abs(float64(f.Pose.Yaw)) < 10 || yaw*float64(f.Pose.Yaw) > 20*20)
			})
		}
	}
	if p := b.problems(); len(p.Console)+len(p.Exceptions)+len(p.Policy) > 0 || len(p.Hosts) != 1 {
		t.Errorf("%+v", p)
	}
}

// sees waits for something to be seen.
func (b *browser) sees(what string, seen func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !seen(); {
		if time.Now().After(end) {
			b.t.Fatalf("nobody was seen %s for %v", what, patience)
		}
	}
}

// grab is a picture of the page's video.
func (b *browser) grab() []byte {
	b.t.Helper()
	var url string
	b.eval(`(() => { const v = document.querySelector("video"), c = document.createElement("canvas"); c.width = v.videoWidth; c.height = v.videoHeight;
		c.getContext("2d").drawImage(v, 0, 0); return c.toDataURL("image/jpeg", .9); })()`, &url)
	data, err := base64.StdEncoding.DecodeString(url[strings.Index(url, ",")+1:])
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}
