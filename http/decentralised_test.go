package http

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mien/engine"
	"mien/engine/mpc"
	"mien/engine/mpc/mpctest"
	"mien/extract"
)

const partyPolicies = `{"policies": {"1": {"model": 1, "dim": 16, "log2_scale": 12, "cosine": 0.4, "gallery": 2},
	"2": {"model": 1, "dim": 16, "log2_scale": 7, "cosine": 0.55}}%s}`

// newPartyHarness serves a gallery "staff" with parties; budgets go into their policies, "" are wide ones.
func newPartyHarness(t *testing.T, budgets string, change func(*Config)) (*harness, *mpctest.Cluster) {
	t.Helper()
	parties := mpctest.New(t, fmt.Sprintf(partyPolicies, cmp.Or(budgets, mpctest.WideBudgets)))
	h := newHarness(t, func(c *Config) {
		c.Decentralised = &Decentralised{Gateway: parties.Gateway, Policies: map[string]uint16{testSpace.ID: 1}}
		if change != nil {
			change(c)
		}
	})
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	return h, parties
}

const apartPath = "/v1/galleries/staff/decentralised/"

func apartCall(method, path string, v []float32) call {
	c := call{method: method, path: apartPath + path}
	if v != nil {
		c.body = probeJSON(v, "")
	}
	return c
}

// TestDecentralisedCanaries: galleries that have decentralised people are tested, are told nothing of it, and take canaries along when they go.
func TestDecentralisedCanaries(t *testing.T) {
	h, parties := newPartyHarness(t, "", nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/other"})
	ada := vector(1, 16)
	h.want(200, apartCall("PUT", "people/ada", ada))
	for range 3 {
		if err := h.server.CheckCanaries(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var found apartPeople
	h.want(200, apartCall("POST", "identify", ada)).into(t, &found)
	if len(found.People) != 1 || found.People[0] != "ada" {
		t.Errorf("%v", found.People)
	}
	checked := func(n int, staff, other bool) {
		t.Helper()
		a := h.want(200, call{method: "GET", path: "/metrics"})
		for _, line := range []string{fmt.Sprintf(`mien_decentralised_canary_checks_total{tenant="default"} %d`, n), `mien_decentralised_canary_failures_total{tenant="default"} 0`} {
			if !bytes.Contains(append(a.body, 10), []byte(line+"\n")) {
				t.Errorf("want %s", line)
			}
		}
		for gallery, want := range map[string]bool{"staff": staff, "other": other} {
			if holds, err := parties.Gateway.Holds("default/" + gallery); holds != want || err != nil {
				t.Errorf("%s: %v, %v", gallery, holds, err)
			}
		}
	}
	checked(3, true, false)
	h.want(200, apartCall("DELETE", "people/ada", nil))
	if err := h.server.CheckCanaries(t.Context()); err != nil {
		t.Fatal(err)
	}
	checked(3, true, false) // nobody is left but canaries
	h.want(204, call{method: "DELETE", path: "/v1/galleries/staff"})
	checked(3, false, false)
}

// TestDecentralised goes through the life of a person whom the parties hold.
func TestDecentralised(t *testing.T) {
	h, parties := newPartyHarness(t, "", nil)
	ada, bob := vector(1, 16), vector(2, 16)
	var e apartEnrolled
	h.want(200, apartCall("PUT", "people/ada", ada)).into(t, &e)
	if e.ID != "ada" || e.Generation != 1 {
		t.Errorf("%+v", e)
	}
	h.want(200, apartCall("PUT", "people/bob", bob))
	h.refused(codePersonNotFound, call{method: "GET", path: "/v1/galleries/staff/people/ada"}) // the gallery has none of them
	h.refused(codePersonNotFound, apartCall("POST", "people/cy/verify", ada))

	match := func(person string, v []float32, want bool) {
		t.Helper()
		var d apartBody
		if h.want(200, apartCall("POST", "people/"+person+"/verify", v)).into(t, &d); d.Match != want {
			t.Errorf("%s: %+v", person, d)
		}
	}
	match("ada", near(1, 16), true)
	match("ada", bob, false)
	found := func(v []float32, want ...string) {
		t.Helper()
		var people apartPeople
		if h.want(200, apartCall("POST", "identify", v)).into(t, &people); !slices.Equal(people.People, want) {
			t.Errorf("found %v, want %v", people.People, want)
		}
	}
	found(near(2, 16), "bob")
	found(vector(9, 16))

	only := apartCall("PUT", "people/ada", bob)
	only.header = []string{"If-None-Match", "*"}
	h.refused(codeVersionMismatch, only)
	h.want(200, apartCall("PUT", "people/ada", vector(3, 16))).into(t, &e)
	if e.Generation != 2 {
		t.Errorf("%+v", e)
	}
	match("ada", ada, false)
	match("ada", vector(3, 16), true)

	var gone apartErased
	h.want(200, apartCall("DELETE", "people/ada", nil)).into(t, &gone)
	if gone.Pending != 0 || len(gone.Receipts) != mpc.Parties {
		t.Errorf("%+v", gone)
	}
	h.refused(codePersonNotFound, apartCall("DELETE", "people/ada", nil))
	h.refused(codePersonNotFound, apartCall("POST", "people/ada/verify", ada))

	var ops []string
	for _, r := range h.audit("?gallery=staff") {
		line := strings.TrimSpace(strings.Join([]string{r.Op, r.Person, r.Outcome, r.Code, strings.Join(r.Found, "+")}, " "))
		if strings.HasPrefix(r.Op, "decentralised.") {
			ops = append(ops, strings.Join(strings.Fields(line), " "))
		}
		if r.Band != "" || r.Threshold != nil {
			t.Errorf("a record has a score: %+v", r)
		}
	}
	want := []string{"decentralised.put ada done", "decentralised.put bob done", "decentralised.verify cy refused person_not_found",
		"decentralised.verify ada match", "decentralised.verify ada no_match", "decentralised.identify match bob", "decentralised.identify no_match",
		"decentralised.put ada refused version_mismatch", "decentralised.put ada done",
		"decentralised.verify ada no_match", "decentralised.verify ada match", "decentralised.delete ada done",
		"decentralised.delete ada refused person_not_found", "decentralised.verify ada refused person_not_found"}
	slices.Sort(ops) // writes are recorded at once, decisions a moment later
	slices.Sort(want)
	if !slices.Equal(ops, want) {
		t.Errorf("recorded:\n%s\nwant:\n%s", strings.Join(ops, "\n"), strings.Join(want, "\n"))
	}

	// A gallery takes its people with it, a tenant all its galleries.
	h.want(204, call{method: "DELETE", path: "/v1/galleries/staff"})
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	h.refused(codePersonNotFound, apartCall("POST", "people/bob/verify", bob))
	found(bob)
	if holds, err := parties.Gateway.Holds("default/staff"); holds || err != nil {
		t.Errorf("the parties still hold people of a gallery that is gone: %v", err)
	}
}

// TestDecentralisedTenant: who erases a tenant erases what the parties hold of it.
func TestDecentralisedTenant(t *testing.T) {
	h, parties := newPartyHarness(t, "", nil)
	if _, _, err := h.engine.CreateGallery(t.Context(), "other", "staff", engine.GallerySpec{}); err != nil {
		t.Fatal(err)
	}
	_, token := h.key("other", engine.KeySpec{Role: engine.RoleAdmin})
	c := apartCall("PUT", "people/ada", vector(1, 16))
	h.want(200, c)
	c.token = token
	h.want(200, c)
	_, operator := h.key("default", engine.KeySpec{Role: engine.RoleAdmin, Operator: true})
	h.want(200, call{method: "POST", path: "/v1/tenants/other/erase", token: operator})
	for group, want := range map[string]bool{"other/staff": false, "default/staff": true} {
		if holds, err := parties.Gateway.Holds(group); holds != want || err != nil {
			t.Errorf("%s: %v %v", group, holds, err)
		}
	}
}

// TestDecentralisedAway: without one of three parties nothing is decided, and the answer says when to ask again; what the gallery itself
// holds is not concerned. An erasure is done with two.
func TestDecentralisedAway(t *testing.T) {
	h, parties := newPartyHarness(t, "", nil)
	ada := vector(1, 16)
	h.want(200, apartCall("PUT", "people/ada", ada))
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff/people/ada", body: personJSON(ada)})
	ready := func() (s statusBody) {
		t.Helper()
		a := h.do(call{method: "GET", path: "/readyz"})
		a.into(t, &s)
		return s
	}
	parties.Away(1)
	if s := ready(); s.Parties[0] != mpc.PartyReady || s.Parties[1] != mpc.PartyAway {
		t.Errorf("%+v", s)
	}
	metrics := func(want ...string) {
		t.Helper()
		text := string(h.want(200, call{method: "GET", path: "/metrics"}).body)
		for _, line := range want {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("no %q in\n%s", line, text)
			}
		}
	}
	refreshed, err := parties.Gateway.Refreshed()
	if err != nil || time.Since(refreshed) > time.Hour {
		t.Errorf("%v %v", refreshed, err)
	}
	metrics(fmt.Sprintf(`mien_decentralised_refreshed_timestamp_seconds{tenant="default"} %d`, refreshed.Unix()), `mien_decentralised_party{tenant="default",party="1",state="away"} 1`, `mien_decentralised_party{tenant="default",party="1",state="ready"} 0`,
		`mien_decentralised_party{tenant="default",party="2",state="ready"} 1`, `mien_decentralised_erasures_pending{tenant="default"} 0`)
	for _, c := range []call{apartCall("POST", "people/ada/verify", ada), apartCall("POST", "identify", ada), apartCall("PUT", "people/bob", ada)} {
		a := h.do(c)
		if p := a.problem(t); a.status != 503 || p.Code != codePartyAway || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", c.path, a.status, a.header, a.body)
		}
	}
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/people/ada/verify", body: probeJSON(ada, "")})
	parties.Start(1)
	h.want(200, apartCall("POST", "people/ada/verify", ada))
	if s := ready(); slices.Contains(s.Parties, mpc.PartyAway) {
		t.Errorf("%+v", s)
	}
}

// TestDecentralisedLost: that a party has lost its store is told, by number, with what to do, and nobody is told to wait.
func TestDecentralisedLost(t *testing.T) {
	h, parties := newPartyHarness(t, "", nil)
	ada := vector(1, 16)
	h.want(200, apartCall("PUT", "people/ada", ada))
	parties.Lose(2)
	for _, c := range []call{apartCall("POST", "people/ada/verify", ada), apartCall("PUT", "people/bob", ada)} {
		a := h.do(c)
		if p := a.problem(t); a.status != 503 || p.Code != codePartyAway || !strings.Contains(p.Detail, "serve --repair-party 2") || a.header.Get("Retry-After") != "" {
			t.Errorf("%s: %d %v %s", c.path, a.status, a.header, a.body)
		}
	}
	if err := parties.Gateway.Repair(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	parties.Ready()
	h.want(200, apartCall("POST", "people/ada/verify", ada))
}

// TestDecentralisedDiffers: a party that has another threshold is seen in /readyz, and the answer says that somebody must do something, and not to try again.
func TestDecentralisedDiffers(t *testing.T) {
	h, parties := newPartyHarness(t, "", nil)
	ada := vector(1, 16)
	h.want(200, apartCall("PUT", "people/ada", ada))
	parties.Away(2)
	parties.StartWith(2, strings.Replace(fmt.Sprintf(partyPolicies, ""), "0.4", "0.3", 1))
	var s statusBody
	a := h.do(call{method: "GET", path: "/readyz"})
	a.into(t, &s)
	if want := []mpc.PartyState{mpc.PartyReady, mpc.PartyReady, mpc.PartyDiffers}; !slices.Equal(s.Parties, want) {
		t.Errorf("%v, want %v", s.Parties, want)
	}
	for _, c := range []call{apartCall("POST", "people/ada/verify", ada), apartCall("PUT", "people/bob", ada)} {
		a = h.do(c)
		if p := a.problem(t); a.status != 503 || p.Code != codePartiesDiffer || !strings.HasPrefix(p.Detail, "parties 2 ") || a.header.Get("Retry-After") != "" {
			t.Errorf("%s: %d %v %s", c.path, a.status, a.header, a.body)
		}
	}
	h.want(200, apartCall("POST", "identify", ada)) // by another policy
	h.want(200, apartCall("DELETE", "people/ada", nil))
}

// TestDecentralisedBudget: attempts are counted by the parties; one of a person's four is kept for the identification.
func TestDecentralisedBudget(t *testing.T) {
	h, _ := newPartyHarness(t, `, "budgets": {"record": [{"attempts": 4, "window": "1h"}], "identify": [{"attempts": 1, "window": "24h"}]}`, nil)
	ada := vector(1, 16)
	h.want(200, apartCall("PUT", "people/ada", ada))
	exceeded := func(c call) {
		t.Helper()
		a := h.do(c)
		if p := a.problem(t); a.status != 429 || p.Code != codeAttemptsExceeded || a.header.Get("Retry-After") == "" {
			t.Errorf("%d %v %s", a.status, a.header, a.body)
		}
		if s := string(a.body); strings.Contains(s, "fail") || !strings.Contains(s, "whatever came of them") { // they were all well
			t.Errorf("not so: %s", s)
		}
	}
	for range 3 {
		h.want(200, apartCall("POST", "people/ada/verify", ada))
	}
	exceeded(apartCall("POST", "people/ada/verify", ada))
	h.want(200, apartCall("POST", "identify", ada))
	exceeded(apartCall("POST", "identify", ada))
}

// TestDecentralisedLock: five rejects in a row, and then a match is not told either.
func TestDecentralisedLock(t *testing.T) {
	h, _ := newPartyHarness(t, "", nil)
	ada := vector(1, 16)
	h.want(200, apartCall("PUT", "people/ada", ada))
	for range 5 {
		h.want(200, apartCall("POST", "people/ada/verify", vector(2, 16)))
	}
	if a := h.do(apartCall("POST", "people/ada/verify", ada)); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	h.refused(codePersonNotFound, apartCall("DELETE", "people/bob/lock", nil))
	enroller := apartCall("DELETE", "people/ada/lock", nil)
	enroller.token = h.token(engine.RoleEnroller)
	h.refused(codeForbidden, enroller)
	h.want(204, apartCall("DELETE", "people/ada/lock", nil))
	var d apartBody
	if h.want(200, apartCall("POST", "people/ada/verify", ada)).into(t, &d); !d.Match {
		t.Errorf("%+v", d)
	}
	if n := len(h.auditOf("decentralised.unlock", "ada")); n != 1 {
		t.Errorf("%d records of an unlock", n)
	}
}

// TestDecentralisedPhotos: photos go the way that they go elsewhere, gates included.
func TestDecentralisedPhotos(t *testing.T) {
	x := &measuring{}
	h, _ := newPartyHarness(t, "", func(c *Config) { c.Extractor = x })
	h.want(200, call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"gate":{"enrol":{"sharpness":50},"probe":{"sharpness":20}}}`)})
	photo := func(method, path string, image string) call {
		return call{method: method, path: apartPath + path, body: []byte(image), contentType: "image/jpeg"}
	}
	x.sharpness = 30
	h.refused(codeQualityFailed, photo("PUT", "people/ada", "a"))
	x.sharpness = 60
	h.want(200, photo("PUT", "people/ada", "a"))
	x.sharpness = 30
	var d apartBody
	if h.want(200, photo("POST", "people/ada/verify", "a")).into(t, &d); !d.Match || d.Face == nil {
		t.Errorf("%+v", d)
	}
	x.sharpness = 10
	h.refused(codeQualityFailed, photo("POST", "people/ada/verify", "a"))
	h.refused(codeQualityFailed, photo("POST", "identify", "a"))
	h.refused(codePersonNotFound, photo("POST", "people/bob/verify", "a")) // before the photo is looked at
}

// measuring makes one template of every photo, and finds it so sharp.
type measuring struct{ sharpness float32 }

func (m *measuring) Extract(_ context.Context, data []byte, _ extract.Options) ([]extract.Face, error) {
	f := extract.Face{Template: vector(uint64(data[0]), 16), Score: 0.9}
	f.Quality[extract.Sharpness] = m.sharpness
	return []extract.Face{f}, nil
}

func (*measuring) Measures() []string { return []string{"sharpness"} }

// TestDecentralisedRefusals: what is not there, or does not fit.
func TestDecentralisedRefusals(t *testing.T) {
	ada := vector(1, 16)
	h := newHarness(t, nil)
	h.refused(codeGalleryNotFound, apartCall("PUT", "people/ada", ada))
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	for _, c := range []call{apartCall("PUT", "people/ada", ada), apartCall("POST", "people/ada/verify", ada), apartCall("POST", "identify", ada), apartCall("DELETE", "people/ada", nil)} {
		h.refused(codeDecentralisedUnconfigured, c)
	}
	h, _ = newPartyHarness(t, "", nil)
	h.refused(codeTemplateLength, apartCall("PUT", "people/ada", vector(1, 8)))
	h.refused(codeTemplateZeroNorm, apartCall("PUT", "people/ada", make([]float32, 16)))
	h.refused(codeSpaceMismatch, call{method: "PUT", path: apartPath + "people/ada", body: []byte(`{"template":{"space":"else","f32":"AACAPw=="}}`)})
	h.refused(codeBadRequest, call{method: "PUT", path: apartPath + "people/ada", body: []byte(`{}`)})
	h.refused(codeBadID, apartCall("PUT", "people/%01", ada))
}

// TestDecentralisedGalleryGoes: whoever is enrolled while their gallery, or tenant, is deleted is enrolled in none that is gone, whichever of both comes
// first; no party has a share of them then.
func TestDecentralisedGalleryGoes(t *testing.T) {
	ada := vector(1, 16)
	for name, end := range map[string]func(h *harness) call{
		"gallery": func(*harness) call { return call{method: "DELETE", path: "/v1/galleries/staff"} },
		"tenant": func(h *harness) call {
			_, operator := h.key("operators", engine.KeySpec{Role: engine.RoleAdmin, Operator: true})
			return call{method: "POST", path: "/v1/tenants/default/erase", token: operator}
		},
	} {
		for _, first := range []string{"forgotten", "enrolled"} {
			t.Run(name+"/"+first, func(t *testing.T) {
				h, parties := newPartyHarness(t, "", nil)
				_, token := h.key("default", engine.KeySpec{Role: engine.RoleAdmin})
				if _, _, err := h.engine.CreateGallery(t.Context(), "operators", "staff", engine.GallerySpec{}); err != nil {
					t.Fatal(err)
				}
				enrol := apartCall("PUT", "people/ada", ada)
				enrol.token = token
				erase := end(h)
				var wg sync.WaitGroup
				waits := make(chan struct{})
				h.server.enrolments.waits = sync.OnceFunc(func() { close(waits) })
				h.server.cfg.Decentralised.hook = func(step string) {
					if step != first {
						return
					}
					ended := make(chan struct{})
					wg.Go(func() { // the other one, while this one is at its step
						defer close(ended)
						if step == "forgotten" {
							if a := h.do(enrol); a.status < 400 {
								t.Errorf("enrolled in what goes: %d %s", a.status, a.body)
							}
						} else if a := h.do(erase); a.status >= 300 {
							t.Errorf("not deleted: %d %s", a.status, a.body)
						}
					})
					select {
					case <-waits:
					case <-ended:
					}
				}
				if first == "forgotten" {
					if a := h.do(erase); a.status >= 300 {
						t.Errorf("not deleted: %d %s", a.status, a.body)
					}
				} else if a := h.do(enrol); a.status != 200 {
					t.Errorf("not enrolled: %d %s", a.status, a.body)
				}
				wg.Wait()
				if holds, err := parties.Gateway.Holds("default/staff"); holds || err != nil {
					t.Errorf("somebody of what is gone is there: %v", err)
				}
				e, err := parties.Gateway.DeleteTenant(t.Context(), "default/staff")
				if err != nil || len(e.Receipts) != mpc.Parties {
					t.Fatalf("%+v, %v", e, err)
				}
				for _, r := range e.Receipts {
					if r.Records != 0 {
						t.Errorf("party %d had shares of %d people of what is gone", r.Party, r.Records)
					}
				}
				if n := len(h.server.enrolments.mu.of); n != 0 {
					t.Errorf("%d turns are left", n)
				}
			})
		}
	}
}

// TestDecentralisedAgain: an enrolment whose caller has no answer is done once, however often it is asked for, with a name and without; and an erasure.
func TestDecentralisedAgain(t *testing.T) {
	h, parties := newPartyHarness(t, "", nil)
	only := func(c call) call { c.header = append(c.header, "If-None-Match", "*"); return c }
	for name, c := range map[string]call{
		"replace":    apartCall("PUT", "people/replace", vector(1, 16)),
		"only":       only(apartCall("PUT", "people/only", vector(2, 16))),
		"named":      apartCall("PUT", "people/named", vector(3, 16)).named("n"),
		"named-only": only(apartCall("PUT", "people/named-only", vector(4, 16)).named("o")),
	} {
		h.unanswered(parties, c)
		parties.Start(1)
		var e apartEnrolled
		a := h.untilFree(c)
		if a.status != 200 {
			t.Fatalf("%s: %d %s", name, a.status, a.body)
		}
		if a.into(t, &e); e.Generation != 1 || e.ID != name || a.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s: %+v", name, e)
		}
		var again apartEnrolled
		switch a := h.do(c); name {
		case "replace": // its caller was told, and asks for another one
			if a.into(t, &again); again.Generation != 2 {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		case "only":
			if p := a.problem(t); p.Code != codeVersionMismatch {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		default:
			if a.into(t, &again); again != e || a.header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("%s: %+v, then %+v, %v", name, e, again, a.header)
			}
		}
	}
	h.refused(codeIdempotencyMismatch, apartCall("PUT", "people/named", vector(4, 16)).named("n"))
	other := apartCall("PUT", "people/named", vector(5, 16)).named("another")
	h.want(200, other)
	var e apartEnrolled
	if h.want(200, apartCall("PUT", "people/named", vector(3, 16)).named("n")).into(t, &e); e.Generation != 1 {
		t.Errorf("what was done before is done again: %+v", e)
	}
	other.token = h.token(engine.RoleEnroller) // another key's name
	if h.want(200, other).into(t, &e); e.Generation != 3 {
		t.Errorf("%+v", e)
	}
	if n := len(h.auditOf("decentralised.put", "named")); n != 4 { // when it was decided, and when its caller was told
		t.Errorf("%d records of three enrolments, one of which is told late", n)
	}
	h.want(200, apartCall("DELETE", "people/named", nil))
	h.refused(codeIdempotencyGone, apartCall("PUT", "people/named", vector(3, 16)).named("n"))
	h.want(200, apartCall("PUT", "people/named", vector(3, 16)).named("new"))
}

// TestDecentralisedErasureUnanswered: an erasure that is decided is on the audit log, though its caller has no answer; asked again, it gives the receipts.
func TestDecentralisedErasureUnanswered(t *testing.T) {
	h, parties := newPartyHarness(t, "", nil)
	h.want(200, apartCall("PUT", "people/ada", vector(1, 16)))
	ctx, leave := context.WithCancel(t.Context())
	parties.Stop(1)
	parties.Stop(2)
	parties.OnStep(func(step string) {
		if step == "erasing" {
			parties.OnStep(nil)
			leave()
		}
	})
	erase := apartCall("DELETE", "people/ada", nil)
	if resp, err := h.client.Do(h.request(erase).WithContext(ctx)); err == nil {
		t.Fatal(resp.Status)
	}
	for end := time.Now().Add(time.Minute); len(h.auditOf("decentralised.delete", "ada")) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("an erasure that is decided is not on the audit log")
		}
	}
	parties.Start(1, 2)
	var e apartErased
	if a := h.untilFree(erase); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	} else if a.into(t, &e); e.Pending != 0 || len(e.Receipts) != mpc.Parties {
		t.Errorf("%+v", e)
	}
}

// unanswered has a request that enrols be decided while party 1 stops, and its client go away.
func (h *harness) unanswered(parties *mpctest.Cluster, c call) {
	h.t.Helper()
	ctx, leave := context.WithCancel(h.t.Context())
	parties.Interrupt(1, leave)
	if resp, err := h.client.Do(h.request(c).WithContext(ctx)); err == nil {
		h.t.Fatalf("%s %s: %s", c.method, c.path, resp.Status)
	}
	person := c.path[strings.LastIndex(c.path, "/")+1:]
	for end := time.Now().Add(time.Minute); len(h.auditOf("decentralised.put", person)) == 0; time.Sleep(time.Millisecond) { // the server has given up
		if time.Now().After(end) {
			h.t.Fatal("waited for a minute")
		}
	}
}

// untilFree asks until no other write of the person is under way.
func (h *harness) untilFree(c call) (a answer) {
	h.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if a = h.do(c); a.status != 503 {
			return a
		}
	}
	h.t.Fatalf("%s %s: %d %s", c.method, c.path, a.status, a.body)
	return a
}

// auditOf is what an audit log has of an operation that was done.
func (h *harness) auditOf(op, person string) (done []engine.AuditRecord) {
	h.t.Helper()
	for _, r := range h.audit("?gallery=staff") {
		if r.Op == op && r.Person == person && r.Outcome == engine.AuditDone {
			done = append(done, r)
		}
	}
	return done
}
