package auther

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"mien/engine"
	"mien/http/dialect"
)

// TestLine is the vector of the format's description.
func TestLine(t *testing.T) {
	digest := sha256.Sum256(line("https://api.example.test", "/v1/verify?x=1", []byte(`{"a":1}`), "1732227600000"))
	if got := hex.EncodeToString(digest[:]); got != "52b22780dc944920edfd5af7604574908e8be67b1519ac95033931a4a0182c6f" {
		t.Errorf("%s", got)
	}
}

// TestCodes: every code of the table has a message, every message is in the table, and every tag of photos has an order.
func TestCodes(t *testing.T) {
	used := map[string]bool{}
	for _, o := range outcomes() {
		if used[o.Code] = true; o.Code != "" && messages[o.Code] == "" {
			t.Errorf("%+v has no message", o)
		}
	}
	for code := range messages {
		if !used[code] {
			t.Errorf("%s is never told", code)
		}
	}
	for _, reason := range append(engine.ReasonCodes(), "no_face", "several_faces", "face_too_small") {
		if photoCode(&dialect.Failure{Reasons: []string{reason}}) == "" {
			t.Errorf("%s has no code", reason)
		}
	}
	if err := Gate.Validate(); err != nil {
		t.Error(err)
	}
}

// TestReplays: no request twice within the window, none older than the beginning, none more than there is room for, and one tenant
// does not take it all.
func TestReplays(t *testing.T) {
	begun := time.UnixMilli(1_000_000_000_500)
	r := newReplays(8, begun)
	n := 0
	take := func(tenant string, id int, made, now time.Time) string {
		n++
		err := r.take(tenant, sha256.Sum256([]byte(fmt.Sprint(id))), made, now)
		if err == nil {
			return ""
		}
		return err.(*dialect.Refusal).Code
	}
	want := func(code, got string) {
		t.Helper()
		if got != code {
			t.Errorf("call %d: %q, want %q", n, got, code)
		}
	}
	now := begun.Add(time.Second)
	want("bad_signature", take("t", 1, begun.Add(-time.Millisecond), now))
	want("", take("t", 1, begun, now))
	want("bad_signature", take("t", 1, begun, now))
	want("bad_signature", take("u", 1, begun, now.Add(window-time.Second)))
	for id := 2; id <= 4; id++ {
		want("", take("t", id, now, now))
	}
	want("overloaded", take("t", 5, now, now)) // half
	want("", take("u", 6, now, now))
	want("", take("u", 7, now, now))
	want("overloaded", take("u", 8, now, now))
	later := now.Add(window + 2*time.Second)
	want("", take("t", 9, later, later))
	if len(r.mu.seen) != 1 || len(r.mu.due) != 1 || len(r.mu.by) != 1 {
		t.Errorf("%d, %d, %v are left", len(r.mu.seen), len(r.mu.due), r.mu.by)
	}
	want("bad_signature", take("t", 1, begun, now)) // the clock went back
}

// FuzzSigning: what is taken for the keys of signing is stored and read again alike.
func FuzzSigning(f *testing.F) {
	f.Add(`{"public_keys": ["-----BEGIN PUBLIC KEY-----\nMA==\n-----END PUBLIC KEY-----"], "sig_input": "raw"}`)
	f.Add(`{"public_keys": []}`)
	f.Fuzz(func(t *testing.T, body string) {
		s, err := parseSigning([]byte(body))
		if err != nil {
			return
		}
		stored, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseSigning(stored); err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
			t.Errorf("%v %+v %+v", err, s, again)
		}
	})
}

// FuzzCompare: whatever the body, photos are there or a field is named, and a threshold is a percentage.
func FuzzCompare(f *testing.F) {
	for _, s := range []string{`{"targetImage": "aGk=", "sourceImage": "aGk=", "similarityThreshold": 98}`, `{"sourcetImage": "aGk=", "targetImage": "data:;base64,aGk="}`,
		`{"similarityThreshold": 1e999}`, `{"similarityThreshold": 0.5}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var b compareBody
		if json.Unmarshal([]byte(body), &b) != nil {
			return
		}
		source, target, err := b.photos()
		if err == nil && (len(source) == 0 || len(target) == 0) {
			t.Errorf("no photos of %q", body)
		}
		p, err := b.policy(&engine.Key{})
		if err == nil && (p.Validate() != nil || *p.Similarity > 0 && *p.Similarity <= 0.01) {
			t.Errorf("%q asks for %v", body, *p.Similarity)
		}
	})
}

// FuzzTarget: no byte of a body that may be signed is one of a target that may, so that a line has one reading.
func FuzzTarget(f *testing.F) {
	f.Add("/person/face/a%20b?x=1", `{"a":1}`, "1732227600000")
	f.Add("/person/face/{", "", "+732227600000")
	f.Fuzz(func(t *testing.T, target, body, at string) {
		if clean(target) && (strings.ContainsAny(target, "{[ \"<>\\^`|#]\x7f") || target[0] != '/') {
			t.Errorf("%q is clean", target)
		}
		if made, ok := timestamp(at); ok && fmt.Sprintf("%013d", made.UnixMilli()) != at {
			t.Errorf("%q is %v", at, made)
		}
		if got := string(line("b", target, []byte(body), at)); got != "b"+target+body+at {
			t.Errorf("%q", got)
		}
	})
}
