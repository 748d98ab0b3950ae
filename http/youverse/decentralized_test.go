package youverse_test

import (
	"cmp"
	"context"
	"fmt"
	nethttp "net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"mien/engine"
	"mien/engine/mpc/mpctest"
	"mien/extract"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/dialect/dialecttest"
	"mien/http/youverse"
)

// newSharedClient is newClient for a server with three parties; budgets go into their policies, "" are wide ones.
func newSharedClient(t *testing.T, budgets string, change func(*http.Config, *engine.Config)) (client, *mpctest.Cluster) {
	t.Helper()
	m := extracttest.Default(t).Manifest()
	parties := mpctest.New(t, fmt.Sprintf(`{"policies": {"1": {"model": 1, "dim": %d, "log2_scale": 12, "cosine": 0.4}}%s}`, m.Dim, cmp.Or(budgets, mpctest.WideBudgets)))
	c := newClient(t, func(h *http.Config, e *engine.Config) {
		h.Decentralised = &http.Decentralised{Gateway: parties.Gateway, Policies: map[string]uint16{m.Space: 1}}
		if change != nil {
			change(h, e)
		}
	})
	return c, parties
}

// shared is POST /user_verification/decentralized.
func (c client) shared(status int, says, user string, photo []byte, create bool) dialecttest.Answer {
	c.t.Helper()
	return c.want(status, says, "POST", pathMPC, verifyBody(user, photo, create))
}

func (c client) unshare(status int, user string) dialecttest.Answer {
	c.t.Helper()
	return c.want(status, "", "DELETE", pathMPC, fmt.Sprintf(`{"user_id":%q}`, user))
}

// TestGoldenDecentralized replays the pair's requests to a server with parties.
func TestGoldenDecentralized(t *testing.T) {
	c, _ := newSharedClient(t, "", nil)
	c.golden(t, "testdata/decentralized.txt")
}

// TestDecentralized: users of the pair are registered, verified, found to be others, and deleted; those of /user_verification are others.
func TestDecentralized(t *testing.T) {
	c, parties := newSharedClient(t, "", func(_ *http.Config, e *engine.Config) { e.Audit = "sync" })
	ann, bob := extracttest.Photo(t, "a_1.jpg"), extracttest.Photo(t, "b_1.jpg")
	c.shared(200, "USER_NOT_FOUND", "ann", ann, false)
	c.shared(200, "NEW_USER", "ann", ann, true)
	c.shared(200, "SUCCESS", "ann", extracttest.Photo(t, "a_2.jpg"), true)
	c.shared(200, "FAILED", "ann", bob, true)
	c.verify(200, "USER_NOT_FOUND", "ann", ann, false)
	c.want(409, "", "POST", pathData, `{"user_id":"ann"}`) // nobody has a template to hand out
	c.verify(200, "NEW_USER", "bob", bob, true)
	c.shared(200, "USER_NOT_FOUND", "bob", bob, false)
	c.want(204, "", "DELETE", pathVerify, `{"user_id":"bob"}`)
	c.unshare(409, "bob")

	// Of another gallery nobody is there.
	c.Gallery("elsewhere", engine.GallerySpec{})
	other := c
	other.key = c.Key(youverse.Name, "elsewhere")
	other.shared(200, "USER_NOT_FOUND", "ann", ann, false)
	other.unshare(409, "bob")

	c.unshare(204, "ann")
	c.unshare(409, "ann")
	c.shared(200, "USER_NOT_FOUND", "ann", ann, false)
	const want = "decentralised.put done, decentralised.verify match, decentralised.verify no_match, youverse.userData refused person_not_found, " +
		"decentralised.delete done, youverse.decentralizedDelete refused person_not_found"
	if got := c.audited("ann"); got != want {
		t.Errorf("recorded:\n%s\nwant:\n%s", got, want)
	}
	if log := c.Log.String(); strings.Contains(log, "ann") || strings.Contains(log, c.key) {
		t.Error("the log has a user or a key in it")
	}

	parties.Away(2)
	if a := c.shared(503, "", "cy", ann, true); a.Header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	c.shared(200, "USER_NOT_FOUND", "ann", ann, false) // which no party is asked for
	parties.Start(2)
	c.shared(200, "NEW_USER", "cy", ann, true)
}

// TestDecentralizedTags: each of the document's tags is what a real photo is refused with.
func TestDecentralizedTags(t *testing.T) {
	c, _ := newSharedClient(t, "", nil)
	good := extracttest.Photo(t, "a_1.jpg")
	for tag, photo := range map[string][]byte{
		"face_not_found":          extracttest.Photo(t, "noface.jpg"),
		"multiple_faces":          extracttest.Photo(t, "group.jpg"),
		"brightness_failed":       extracttest.Dark(t, good),
		"light_uniformity_failed": extracttest.Shadowed(t, good, 160),
		"quality_failed":          extracttest.Blurry(t, good),
	} {
		c.shared(400, tag, "ann", photo, true)
	}
	c.shared(200, "NEW_USER", "ann", good, true)
	c.shared(400, "brightness_failed", "ann", extracttest.Dark(t, good), true)
}

// TestDecentralizedBudget: the parties count attempts, matches too.
func TestDecentralizedBudget(t *testing.T) {
	c, _ := newSharedClient(t, `, "budgets": {"record": [{"attempts": 1, "window": "1h"}]}`, nil)
	ann := extracttest.Photo(t, "a_1.jpg")
	c.shared(200, "NEW_USER", "ann", ann, true)
	c.shared(200, "SUCCESS", "ann", ann, false)
	if a := c.shared(429, "", "ann", ann, false); a.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
}

// TestDecentralizedOnce: of requests at once that may register one user one does; the others verify.
func TestDecentralizedOnce(t *testing.T) {
	c, _ := newSharedClient(t, "", nil)
	photo := extracttest.Photo(t, "a_1.jpg")
	var mu sync.Mutex
	said := map[string]int{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			a := c.call("POST", pathMPC, verifyBody("ann", photo, true))
			for a.Status == 503 { // another's registration is under way
				a = c.call("POST", pathMPC, verifyBody("ann", photo, true))
			}
			mu.Lock()
			defer mu.Unlock()
			said[strings.TrimSpace(string(a.Body))]++
		})
	}
	wg.Wait()
	if len(said) != 2 || said[`{"status":"NEW_USER"}`] != 1 || said[`{"status":"SUCCESS"}`] != 3 {
		t.Errorf("%v", said)
	}
}

// gateChanger changes the gallery's gate while photos are worked on, so that what it asks for was not judged.
type gateChanger struct {
	*extract.Extractor
	change func()
}

func (g *gateChanger) Extract(ctx context.Context, data []byte, o extract.Options) ([]extract.Face, error) {
	if g.change != nil {
		g.change()
	}
	return g.Extractor.Extract(ctx, data, o)
}

// TestDecentralizedConflict: a gate that changes twice while one photo is looked at.
func TestDecentralizedConflict(t *testing.T) {
	x := &gateChanger{Extractor: extracttest.Default(t)}
	c, _ := newSharedClient(t, "", func(h *http.Config, _ *engine.Config) { h.Extractor = x })
	gates := []engine.Gate{{"liveness": 1}, {"sharpness": 1}}
	set := func(g engine.Gate) {
		if _, err := c.Engine.UpdateGallery(t.Context(), "default", "people", engine.GalleryChange{Gate: &engine.Gates{Enrol: g, Probe: g}}); err != nil {
			t.Error(err)
		}
	}
	set(gates[1])
	n := 0
	x.change = func() { set(gates[n%2]); n++ }
	c.shared(409, "", "ann", extracttest.Photo(t, "a_1.jpg"), true)
	x.change = nil
	c.shared(200, "NEW_USER", "ann", extracttest.Photo(t, "a_1.jpg"), true)
}

// TestDecentralizedAgain: a registration whose client has no answer is answered as one when it comes again.
func TestDecentralizedAgain(t *testing.T) {
	c, parties := newSharedClient(t, "", func(_ *http.Config, e *engine.Config) { e.Audit = "sync" })
	photo := extracttest.Photo(t, "a_1.jpg")
	ctx, leave := context.WithCancel(t.Context())
	parties.Interrupt(1, leave)
	req, err := nethttp.NewRequestWithContext(ctx, "POST", c.URL+pathMPC, strings.NewReader(verifyBody("ann", photo, true)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", c.key)
	if resp, err := nethttp.DefaultClient.Do(req); err == nil {
		t.Fatal(resp.Status)
	}
	for end := time.Now().Add(time.Minute); c.audited("ann") == ""; time.Sleep(time.Millisecond) { // the server has given up
		if time.Now().After(end) {
			t.Fatal("waited for a minute")
		}
	}
	parties.Start(1)
	a := c.call("POST", pathMPC, verifyBody("ann", photo, true))
	for a.Status == 503 { // the first is still under way
		a = c.call("POST", pathMPC, verifyBody("ann", photo, true))
	}
	if !strings.Contains(string(a.Body), "NEW_USER") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	c.shared(200, "SUCCESS", "ann", photo, true)
}
