package browsertest

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A page sees the film through the camera, from its start, and another one when it opens the camera again.
func TestCamera(t *testing.T) {
	skipShort(t)
	b := newBrowser(t, true)
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(`<!DOCTYPE html><link rel="icon" href="data:,"><title>camera</title><video autoplay muted></video>`))
	}))
	defer page.Close()
	b.open(options{Viewport: desktop, Permissions: []string{"camera"}})
	b.page("goto", page.URL)
	for seed, name := range []string{"ana", "arun"} {
		who := person(t, name)
		b.films(film{seed: uint64(seed), light: 1, scenes: []scene{turnsLeft(who)}})
		b.page("evaluate", `navigator.mediaDevices.getUserMedia({video: {width: {ideal: 1280}, height: {ideal: 720}}}).then((s) => { document.querySelector("video").srcObject = s; })`)
		b.until(`document.querySelector("video").videoWidth > 0`)
		for _, want := range []struct {
			what string
			yaw  func(float32) bool
		}{
			{"ahead", func(yaw float32) bool { return yaw > -10 }},
			{"to the left", func(yaw float32) bool { return yaw < -20 }},
			{"ahead again", func(yaw float32) bool { return yaw > -10 }},
		} {
			b.sees(want.what, func() bool {
				f := face(t, b.grab())
				if c := cosine(f, face(t, who.scene(0, 0).jpegOf(t))); c < .4 {
					t.Errorf("%s looks %s: another person, at %.2f", name, want.what, c)
				}
				return want.yaw(f.Pose.Yaw)
			})
		}
		b.page("evaluate", `document.querySelector("video").srcObject.getTracks()[0].stop()`)
	}
	if p := b.problems(); len(p.Console)+len(p.Exceptions)+len(p.Policy) > 0 || len(p.Hosts) != 1 {
		t.Errorf("%+v", p)
	}
}

// sees waits for something to be seen, whenever that is: the film goes round.
func (b *browser) sees(what string, seen func() bool) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); !seen(); {
		if time.Now().After(end) {
			b.t.Fatalf("nobody was seen %s for a minute", what)
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
