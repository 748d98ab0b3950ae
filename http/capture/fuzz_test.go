package capture

import (
	"encoding/json"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// FuzzRedirect: a redirect URL that is let through goes to a registered origin, as net/url reads it, before and after the state is added.
func FuzzRedirect(f *testing.F) {
	for _, s := range []string{"https://app.example.com/a?b=c", "https://app.example.com:443", "https://app.example.com@evil.example/", "https://evil.example\\@app.example.com",
		"//app.example.com", "https:app.example.com", "https://[::1]", "https://app.example.com.", "http://localhost:80/", "https://app.example.com/?", "https://APP.example.com:0443/"} {
		f.Add(s, "s")
	}
	t := settings{Origins: []string{"http://localhost", "https://app.example.com"}}
	f.Fuzz(func(tt *testing.T, text, state string) {
		if text == "" || t.allows(text) != nil {
			return
		}
		x := Session{RedirectURL: text, State: state}
		for _, s := range []string{text, x.redirect()} {
			u, err := url.Parse(s)
			if err != nil || u.User != nil || u.Fragment != "" {
				tt.Fatalf("%q: %v", s, err)
			}
			host := strings.ToLower(u.Hostname())
			if !(u.Scheme == "https" && host == "app.example.com" && (u.Port() == "" || u.Port() == "443")) && !(u.Scheme == "http" && host == "localhost" && (u.Port() == "" || u.Port() == "80")) {
				tt.Fatalf("%q is let through", s)
			}
		}
		if u, _ := url.Parse(x.redirect()); state != "" {
			if list := u.Query()["client_state"]; len(list) == 0 || list[len(list)-1] != state {
				tt.Fatalf("%q has not the state %q", x.redirect(), state)
			}
		}
	})
}

// FuzzSettings: settings that are taken are complete, within their limits, and taken again as they are.
func FuzzSettings(f *testing.F) {
	for _, s := range []string{`{}`, `{"origins":["https://a.example:443","http://[::1]:80"],"flash":true}`, `{"challenges":["blink"],"steps":4,"tries":5,"name":"ö"}`, `{"origins":[""]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var spec settingsSpec
		if json.Unmarshal(data, &spec) != nil {
			return
		}
		set, err := spec.settings()
		if err != nil {
			return
		}
		if set.Steps < 1 || set.Steps > maxSteps || set.Tries < 1 || set.Tries > maxTries || len(set.Challenges) < 1 || len(set.Origins) > maxOrigins || len(set.Name) > maxNameBytes {
			t.Fatalf("%+v", set)
		}
		again, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		spec = settingsSpec{}
		if err := json.Unmarshal(again, &spec); err != nil {
			t.Fatal(err)
		}
		same, err := spec.settings()
		if text, _ := json.Marshal(same); err != nil || string(text) != string(again) {
			t.Fatalf("%s is %s the second time: %v", again, text, err)
		}
	})
}

// FuzzSecret: of all texts only the one that a secret is written as finds it, in a cookie's field too.
func FuzzSecret(f *testing.F) {
	text, sum := newSecret()
	for _, s := range []string{text, text + "=", " " + text, "mien_capture=" + text, "a=b; mien_capture=" + text + "; c", "mien_capture", ";;=", strings.Repeat("A", 43)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, ok := sumOf(s); ok && got == sum != (s == text) {
			t.Fatalf("%q", s)
		}
		c := &dialect.Call{Server: &fakeServer{header: map[string]string{"Cookie": s}}}
		if v := cookieOf(c); v != "" && !strings.Contains(s, cookieName+"="+v) {
			t.Fatalf("%q of %q", v, s)
		}
	})
}

// FuzzRecord: what a document has is a session or an error.
func FuzzRecord(f *testing.F) {
	_, sum := newSecret()
	x := &record{Session: Session{ID: "1", Flow: FlowVerify, Person: "ada", Gallery: "g"}, Token: sum, Cookie: &sum}
	d, err := x.document(true)
	if err != nil || d.Person != "ada" {
		f.Fatal(d, err)
	}
	f.Add(d.Value)
	f.Add([]byte(`{"token":"AA"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := decodeRecord(&engine.Document{Value: data})
		if err != nil {
			return
		}
		again, err := x.document(true)
		if err != nil {
			t.Skip() // a time that JSON has no form for
		}
		if y, err := decodeRecord(again); err != nil || y.Token != x.Token || y.ID != x.ID || y.Status != x.Status {
			t.Fatalf("%+v %+v %v", x, y, err)
		}
	})
}

// TestIndex: whatever happens to sessions, those that are there are found by what they have now and no other, and the counts are right.
func TestIndex(t *testing.T) {
	i, rng, now := newIndex(), rand.New(rand.NewPCG(3, 4)), time.Now()
	i.mu.sweepAt = 8
	type had struct {
		x      *record
		tenant string
	}
	there, gone := map[place]had{}, []digest{}
	for step := range 2000 {
		tenant := string(rune('a' + rng.IntN(3)))
		at := place{tenant, string(rune('0' + rng.IntN(8)))}
		old, has := there[at]
		switch op := rng.IntN(10); {
		case op < 6:
			_, token := newSecret()
			x := &record{Session: Session{ID: at.id, Ends: now.Add(time.Duration(rng.IntN(60)) * time.Minute)}, Token: token}
			if rng.IntN(2) == 0 {
				_, cookie := newSecret()
				x.Cookie = &cookie
			}
			if has {
				gone = append(gone, old.x.Token)
			}
			i.put(tenant, x, now)
			there[at] = had{x, tenant}
		case op < 8:
			i.drop(at)
			if delete(there, at); has {
				gone = append(gone, old.x.Token)
			}
		default:
			now = now.Add(time.Duration(rng.IntN(3)) * time.Hour)
		}
		counts := map[string]int{}
		for at, h := range there {
			if !now.Before(h.x.Ends.Add(keptAfterEnd)) {
				delete(there, at) // it may be there still
				i.drop(at)
				continue
			}
			counts[h.tenant]++
			_, found := i.find(h.x.Token, now)
			if told := now.Before(h.x.Ends.Add(linkGrace)); found != told {
				t.Fatalf("step %d: %v is found: %v", step, at, found)
			}
			if h.x.Cookie != nil && found {
				if got, ok := i.find(*h.x.Cookie, now); !ok || got != at {
					t.Fatalf("step %d: the cookie of %v finds %v", step, at, got)
				}
			}
		}
		for tenant, n := range counts {
			if i.mu.count[tenant] != n {
				t.Fatalf("step %d: %d sessions of %s, counted %d", step, n, tenant, i.mu.count[tenant])
			}
		}
		for _, d := range gone[max(len(gone)-20, 0):] {
			if _, found := i.find(d, now); found {
				t.Fatalf("step %d: a session that is gone is found", step)
			}
		}
	}
	if len(i.mu.secrets) > 2*len(i.mu.sessions) || len(i.mu.sessions) != len(there) {
		t.Errorf("%d secrets of %d sessions, %d there", len(i.mu.secrets), len(i.mu.sessions), len(there))
	}
}
