package verifik

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	nethttp "net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mien/engine"
)

// newEngine is one with the gallery g of the tenant t and ann in it.
func newEngine(t testing.TB, dir string) *engine.Engine {
	t.Helper()
	space := engine.Space{ID: "s", Dim: 4, Calibration: engine.Calibration{Points: []engine.CalibrationPoint{{Cosine: 0.2, FMR: 1e-2}, {Cosine: 0.4, FMR: 1e-4}}}}
	e, err := engine.Open(engine.Config{Dir: dir, MasterKey: bytes.Repeat([]byte{7}, engine.MasterKeyBytes), Spaces: []engine.Space{space}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	if _, _, err := e.CreateGallery(t.Context(), "t", "g", engine.GallerySpec{}); err != nil {
		t.Fatal(err)
	}
	_, _, err = e.PutPerson(t.Context(), "t", "g", "ann", engine.PersonSpec{Templates: []engine.Template{{Space: "s", Vector: []float32{1, 0, 0, 0}}}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// bench is a service without a server, whose webhooks go where a test says.
type bench struct {
	*service
	t       testing.TB
	project *project
	stop    func()
	log     *bytes.Buffer
}

func newBench(t testing.TB, e *engine.Engine, url string) *bench {
	t.Helper()
	b := &bench{t: t, log: new(bytes.Buffer)}
	b.service = newService(Config{Engine: e, WebhookHTTP: true, WebhookPrivate: true, Logger: slog.New(slog.NewTextHandler(b.log, nil))})
	b.queue.delays = []time.Duration{time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond}
	now := e.Now()
	b.project = &project{ID: b.ids.next(now), Flow: b.ids.next(now), Gallery: "g", Attempts: 3, Webhook: &webhook{URL: url, Secret: bytes.Repeat([]byte{1}, 32)}}
	b.put()
	return b
}

func (b *bench) put() {
	b.t.Helper()
	_, err := b.engine.ChangeDocument(b.t.Context(), "t", kindProject, b.project.ID, engine.DocumentOptions{}, func(*engine.Document) (*engine.Document, error) { return encode(b.project) })
	if err != nil {
		b.t.Fatal(err)
	}
}

// run begins sending.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.queue.run(ctx) }()
	b.stop = sync.OnceFunc(func() { cancel(); <-done })
	b.t.Cleanup(b.stop)
}

// happen makes a session to which things happen.
func (b *bench) happen(events ...string) *session {
	b.t.Helper()
	now := b.engine.Now()
	x := &session{Project: b.project.ID, ID: b.ids.next(now), Validation: b.ids.next(now), Identifier: "ann@example.org", Status: statusActive, Created: now, Updated: now, Ends: now.Add(time.Hour)}
	_, err := b.engine.ChangeDocument(b.t.Context(), "t", kindSession, x.documentID(), engine.DocumentOptions{}, func(*engine.Document) (*engine.Document, error) { return x.document() })
	if err == nil {
		_, err = b.changeSession(b.t.Context(), "t", b.project, x.ID, "", func(x *session, _ time.Time) ([]string, error) {
			x.Status, x.Gallery, x.Person = statusCompleted, "g", "ann"
			return events, nil
		})
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return x
}

// settled waits until no delivery is pending and returns them.
func (b *bench) settled(n int) (list []*delivery) {
	b.t.Helper()
	for range 400 {
		all := b.deliveries()
		list = list[:0]
		for _, d := range all {
			if d.Status != deliveryPending {
				list = append(list, d)
			}
		}
		if len(list) == n && len(all) == n {
			return list
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.t.Fatalf("%d of %d deliveries have ended; log: %s", len(list), n, b.log)
	return nil
}

// answering is a receiver that answers the statuses in turn, and then the last for ever.
type answering struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	got      []*nethttp.Request
	bodies   [][]byte
}

func newAnswering(t testing.TB, statuses ...int) *answering {
	a := &answering{statuses: statuses}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

func (a *answering) ServeHTTP(w nethttp.ResponseWriter, r *nethttp.Request) {
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got, a.bodies = append(a.got, r), append(a.bodies, body)
	status := a.statuses[min(len(a.got), len(a.statuses))-1]
	w.Header().Set("Location", "/elsewhere")
	w.WriteHeader(status)
}

// The vector of Standard Webhooks' reference implementations.
func TestSignatureVector(t *testing.T) {
	secret, err := parseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1614265330, 0)
	w := &webhook{Secret: secret}
	const want = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := w.signatures("msg_p5jXN8AQM9LWM0D4loKWxJek", at, []byte(`{"test": 2432232314}`)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	w.Previous, w.Secret, w.Until = secret, randomBytes(32), at.Add(time.Second)
	if got := strings.Fields(w.signatures("msg_p5jXN8AQM9LWM0D4loKWxJek", at, []byte(`{"test": 2432232314}`))); len(got) != 2 || got[1] != want {
		t.Errorf("%q", got)
	}
	if got := w.signatures("msg_p5jXN8AQM9LWM0D4loKWxJek", at.Add(time.Second), nil); strings.Contains(got, " ") {
		t.Errorf("the old secret signs for ever: %s", got)
	}
}

// A receiver that fails is asked again under the same id, with a time and a signature of each attempt, until it answers a 2xx or the last
// attempt; redirects are not followed.
func TestWebhooksAreRetried(t *testing.T) {
	r := newAnswering(t, 500, 302, 204)
	b := newBench(t, newEngine(t, t.TempDir()), r.URL)
	b.run()
	b.happen(eventValidated)
	d := b.settled(1)[0]
	if d.Status != deliveryDelivered || len(d.Attempts) != 3 || d.Attempts[0].Status != 500 || d.Attempts[1].Status != 302 || d.Attempts[2].Error != "" || !d.Next.IsZero() {
		t.Errorf("%+v", d)
	}
	for i, got := range r.got {
		stamp := got.Header.Get("webhook-timestamp")
		var at int64
		if _, err := fmt.Sscan(stamp, &at); err != nil || time.Since(time.Unix(at, 0)) > time.Minute {
			t.Errorf("time %q", stamp)
		}
		if want := v1Signature(b.project.Webhook.Secret, messagePrefix+d.ID, time.Unix(at, 0), r.bodies[i]); got.Header.Get("webhook-signature") != want || got.Header.Get("webhook-id") != messagePrefix+d.ID {
			t.Errorf("%v, want %s", got.Header, want)
		}
		if got.URL.Path != "/" || got.Method != "POST" || got.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %v", got.Method, got.URL, got.Header)
		}
	}
	never := newAnswering(t, 503)
	b.project.Webhook.URL = never.URL
	b.put()
	b.happen(eventNew)
	if d := b.settled(2)[1]; d.Status != deliveryFailed || len(d.Attempts) != 4 {
		t.Errorf("%+v", d)
	}
}

// 410 ends it: that delivery, and all others until the webhook is given a URL again.
func TestWebhookGone(t *testing.T) {
	r := newAnswering(t, 410)
	b := newBench(t, newEngine(t, t.TempDir()), r.URL)
	b.happen(eventNew, eventValidated)
	b.run()
	list := b.settled(2)
	if list[0].Attempts[0].Status != 410 || list[1].Attempts[0].Error != "no webhook" || len(r.got) != 1 {
		t.Errorf("%+v %+v", list[0], list[1])
	}
	doc, err := b.engine.Document(t.Context(), "t", kindProject, b.project.ID)
	if err != nil {
		t.Fatal(err)
	}
	p, err := decodeProject(&doc)
	if err != nil || p.Webhook.sends() {
		t.Errorf("%+v %v", p.Webhook, err)
	}
	if _, err := p.apply(&projectSpec{Webhook: &webhookSpec{URL: new(r.URL)}}, b.guard, time.Now()); err == nil || p.Webhook.sends() {
		t.Errorf("a project without lives is accepted: %+v", p)
	}
	if _, err := p.applyWebhook(&projectSpec{Webhook: &webhookSpec{URL: new(r.URL)}}, b.guard, time.Now()); err != nil || !p.Webhook.sends() {
		t.Errorf("%+v %v", p.Webhook, err)
	}
}

// deliveries are all that are kept.
func (b *bench) deliveries() (list []*delivery) {
	b.t.Helper()
	docs, err := b.engine.Documents(b.t.Context(), "t", kindDelivery, 1000, "")
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range docs {
		d, err := decodeDelivery(&docs[i])
		if err != nil {
			b.t.Fatal(err)
		}
		list = append(list, d)
	}
	return list
}

// eachWasTried reports whether there are n deliveries, each with an attempt that was noted.
func (b *bench) eachWasTried(n int) bool {
	b.t.Helper()
	list := b.deliveries()
	return len(list) == n && !slices.ContainsFunc(list, func(d *delivery) bool { return len(d.Attempts) == 0 })
}

// What was not delivered when the server stopped is, once it is there again; what was about somebody who was deleted is not.
func TestWebhooksSurviveRestart(t *testing.T) {
	dir := t.TempDir()
	down := newAnswering(t, 500)
	e := newEngine(t, dir)
	b := newBench(t, e, down.URL)
	b.queue.delays = []time.Duration{time.Hour}
	b.run()
	x := b.happen(eventNew, eventValidated)
	for begun := time.Now(); !b.eachWasTried(2); time.Sleep(5 * time.Millisecond) { // and that was noted: else it is sent as if it had not been
		if time.Since(begun) > 10*time.Second {
			t.Fatal("the deliveries are never tried")
		}
	}
	b.stop()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = newEngine(t, dir)
	up := newAnswering(t, 200)
	again := newBench(t, e, up.URL)
	again.project = b.project
	again.project.Webhook.URL = up.URL
	again.put()
	for _, id := range []int{0, 1} { // as if an hour had passed
		docs, err := e.Documents(t.Context(), "t", kindDelivery, 0, "")
		if err != nil || len(docs) != 2 {
			t.Fatal(len(docs), err)
		}
		d, err := decodeDelivery(&docs[id])
		if err != nil || d.Status != deliveryPending {
			t.Fatalf("%+v %v", d, err)
		}
		d.Next = time.Now()
		if _, err := e.ChangeDocument(t.Context(), "t", kindDelivery, docs[id].ID, engine.DocumentOptions{}, func(*engine.Document) (*engine.Document, error) { return d.document() }); err != nil {
			t.Fatal(err)
		}
	}
	again.run()
	for _, d := range again.settled(2) {
		if d.Status != deliveryDelivered || d.Session != x.ID || len(d.Attempts) != 2 {
			t.Errorf("%+v", d)
		}
	}
	again.stop()
	again.happen(eventValidated)
	if err := e.DeletePerson(t.Context(), "t", "g", "ann", engine.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	again.run()
	again.settled(0)
	time.Sleep(20 * time.Millisecond)
	if len(up.got) != 2 {
		t.Errorf("%d were sent, of 2", len(up.got))
	}
}

// A project has maxLane deliveries: one more takes the place of the oldest. One is under way at a time, and 16 of all projects.
func TestQueueIsBounded(t *testing.T) {
	q := newQueue(nil, guard{}, slog.New(slog.DiscardHandler))
	now := time.Now()
	for i := range maxLane + 2 {
		q.add("t", &delivery{Project: "p", ID: fmt.Sprintf("%05d", i), Status: deliveryPending, Next: now})
	}
	q.add("t", &delivery{Project: "p", ID: "00000", Status: deliveryPending, Next: now}) // twice
	jobs, _ := q.due(now)
	if len(jobs) != 1 || !jobs[0].drop || jobs[0].id != "00000" {
		t.Errorf("%+v", jobs)
	}
	if jobs, _ := q.due(now); len(jobs) != 0 {
		t.Errorf("two at a time: %+v", jobs)
	}
	for i := range 40 {
		q.add("t", &delivery{Project: fmt.Sprint("p", i), ID: "1", Status: deliveryPending, Next: now})
	}
	if jobs, _ := q.due(now); len(jobs) != maxShare-1 {
		t.Errorf("%d jobs of one tenant at a time", len(jobs))
	}
	for i := range 40 {
		q.add(fmt.Sprint("t", i), &delivery{Project: "p", ID: "1", Status: deliveryPending, Next: now})
	}
	if jobs, _ := q.due(now); len(jobs) != maxSenders-maxShare {
		t.Errorf("%d jobs at a time", len(jobs))
	}
	other := newQueue(nil, guard{}, slog.New(slog.DiscardHandler))
	other.add("t", &delivery{Project: "p", ID: "1", Status: deliveryPending, Next: now.Add(time.Second)})
	other.add("t", &delivery{Project: "p", ID: "2", Status: deliveryDelivered})
	if jobs, wait := other.due(now); len(jobs) != 0 || wait != time.Second {
		t.Errorf("%+v %v", jobs, wait)
	}
}

// What is too much is gone from the store, the oldest first, and the rest is worked off.
func TestOldDeliveriesGo(t *testing.T) {
	b := newBench(t, newEngine(t, t.TempDir()), "https://example.org")
	b.queue.most = 20
	b.happen(slices.Repeat([]string{eventNew}, 23)...)
	first, err := b.engine.Documents(t.Context(), "t", kindDelivery, 4, "")
	if err != nil {
		t.Fatal(err)
	}
	b.project.Webhook = nil
	b.put()
	b.run()
	list := b.settled(20)
	if list[0].documentID() != first[3].ID || list[0].Attempts[0].Error != "no webhook" {
		t.Errorf("%+v, want %s", list[0], first[3].ID)
	}
}

func TestNextAttempt(t *testing.T) {
	now, total := time.Now(), time.Duration(0)
	for failed := 1; failed <= len(delays); failed++ {
		at, ok := nextAttempt(now, failed, delays, 0)
		wait := at.Sub(now)
		if !ok || wait < delays[failed-1] || wait > delays[failed-1]*11/10 {
			t.Errorf("after %d: %v", failed, wait)
		}
		total += delays[failed-1] * 11 / 10
	}
	if _, ok := nextAttempt(now, len(delays)+1, delays, 0); ok || total > keptDelivery-sendTimeout {
		t.Errorf("no end, or after the log's: %v", total)
	}
	if at, _ := nextAttempt(now, 1, delays, 10*time.Minute); at.Sub(now) != 10*time.Minute {
		t.Errorf("Retry-After: %v", at.Sub(now))
	}
	if at, _ := nextAttempt(now, 1, delays, 48*time.Hour); at.Sub(now) != maxRetryAfter {
		t.Errorf("Retry-After: %v", at.Sub(now))
	}
}

// Addresses that are not public are refused, in every spelling, and where the name resolves to one when the socket is made.
func TestGuard(t *testing.T) {
	var g guard
	for _, ip := range []string{"127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
		"224.0.0.1", "198.18.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1",
		"64:ff9b::7f00:1", "2002:7f00:1::", "2001:db8::1", "2001::1"} {
		if g.allows(netip.MustParseAddr(ip)) {
			t.Errorf("%s is allowed", ip)
		}
		if !(guard{private: true}).allows(netip.MustParseAddr(ip)) {
			t.Errorf("%s is not allowed where all are", ip)
		}
	}
	for _, ip := range []string{"1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450:4001::1"} {
		if !g.allows(netip.MustParseAddr(ip)) {
			t.Errorf("%s is not allowed", ip)
		}
	}
	for url, ok := range map[string]bool{"https://example.org/a?b=c": true, "https://example.org:8443": true, "http://example.org": false, "https://": false, "example.org": false,
		"https://u@example.org": false, "https://example.org/#x": false, "https://127.0.0.1": false, "https://[::1]:1": false, "https://localhost": false, "https://a.localhost.": false,
		"https://metadata.google.internal": false, "file:///etc/passwd": false, "https://x/" + strings.Repeat("a", 2048): false, "https:example.org": false, "https://\x00": false} {
		if err := g.checkURL(url); (err == nil) != ok {
			t.Errorf("%q: %v", url, err)
		}
	}
	r := newAnswering(t, 200)
	secret := &webhook{URL: strings.Replace(r.URL, "127.0.0.1", "localhost", 1), Secret: randomBytes(32)}
	if a, _ := send(t.Context(), g.client(), secret, &delivery{Body: []byte("{}")}, time.Now()); a.Error != "address" || a.Status != 0 {
		t.Errorf("a name of this machine: %+v", a)
	}
	secure := httptest.NewTLSServer(r)
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer secure.Close()
	secret.URL = secure.URL
	if a, _ := send(t.Context(), guard{private: true}.client(), secret, &delivery{Body: []byte("{}")}, time.Now()); a.Error != "tls" {
		t.Errorf("a certificate that nobody knows: %+v", a)
	}
	if len(r.got) != 0 {
		t.Error("something was sent")
	}
	for err, want := range map[error]string{errNotPublic: "address", context.DeadlineExceeded: "timeout", errors.New("x"): "connection"} {
		if got := reasonOf(fmt.Errorf("dial: %w", err)); got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
}

func TestIDs(t *testing.T) {
	o, now := newObjectIDs(), time.Unix(0x674de8df, 0)
	var ids []string
	for range 1000 {
		ids = append(ids, o.next(now))
	}
	if !slices.IsSorted(ids) || len(slices.Compact(ids)) != 1000 || !isObjectID(ids[0]) || !strings.HasPrefix(ids[0], "674de8df") {
		t.Errorf("%q", ids[:3])
	}
	if a, b := derivedID([]byte("k"), "ab", "c"), derivedID([]byte("k"), "a", "bc"); a == b || !isObjectID(a) {
		t.Errorf("%s %s", a, b)
	}
}

func FuzzSessionToken(f *testing.F) {
	s := newService(Config{Engine: newEngine(f, f.TempDir())})
	now := s.engine.Now()
	good, err := s.sessionToken(f.Context(), "t", &session{ID: s.ids.next(now), Project: s.ids.next(now), Created: now, Ends: now.Add(time.Hour)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiJ0In0.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := s.openToken(t.Context(), text)
		if err == nil && text != good { // base64 that ends in other unused bits is another spelling of it
			if strings.Split(text, ".")[1] != strings.Split(good, ".")[1] {
				t.Errorf("%q opens: %+v", text, claims)
			}
		}
		if err != nil && !errors.Is(err, engine.ErrKeyUnknown) && !errors.Is(err, engine.ErrKeyExpired) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func FuzzWebhookURL(f *testing.F) {
	f.Add("https://example.org/a")
	f.Add("https://[::ffff:127.0.0.1]/")
	f.Fuzz(func(t *testing.T, text string) {
		if err := (guard{}).checkURL(text); err == nil && (!strings.HasPrefix(strings.ToLower(text), "https://") || len(text) > maxURLBytes) {
			t.Errorf("%q is accepted", text)
		}
	})
}

func FuzzWebhookSecret(f *testing.F) {
	f.Add("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	f.Fuzz(func(t *testing.T, text string) {
		if b, err := parseSecret(text); err == nil && (len(b) < minSecretBytes || len(b) > maxSecretBytes || !strings.HasPrefix(text, secretPrefix)) {
			t.Errorf("%q is accepted", text)
		}
	})
}
