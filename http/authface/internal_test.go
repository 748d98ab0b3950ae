package authface

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mien/engine"
	"mien/http/capture"
	"mien/http/dialect"
)

// TestResults: every status and reason in the document's shape, key by key.
func TestResults(t *testing.T) {
	at := time.Date(2026, 1, 15, 12, 45, 39, 999e6, time.FixedZone("", 3600))
	base := capture.Session{ID: "authface.g.s", Owner: Name, Flow: capture.FlowVerify, Gallery: "g", Person: "ann", State: "S", EventID: "evt_1", Key: "k", Liveness: "live",
		Created: at.Add(-time.Minute), Ends: at.Add(time.Hour), Completed: at, Data: []byte("x")}
	const pending, over = `{"success":true,"state":"S","flow":%q,"status":%q,"external_user_id":%s}`,
		`{"success":true,"state":"S","flow":%q,"status":%q,"event_id":"evt_1","result":%q,"reason":%s,"external_user_id":%s,"score":%s,"completed_at":%q}`
	const end, ends = "2026-01-15 11:45:39", "2026-01-15 12:45:39"
	for _, x := range []struct {
		flow   capture.Flow
		status capture.Status
		reason string
		person string
		score  float64 // 0: none
		want   string
	}{
		{capture.FlowEnroll, capture.StatusPending, "", "ann", 0, fmt.Sprintf(pending, "enroll", "pending", `"ann"`)},
		{capture.FlowUpdate, capture.StatusInProgress, "", "ann", 0, fmt.Sprintf(pending, "update_embedding", "in_progress", `"ann"`)},
		{capture.FlowIdentify, capture.StatusPending, "", "", 0, fmt.Sprintf(pending, "identify", "pending", "null")},
		{capture.FlowEnroll, capture.StatusSuccess, "", "ann", 0, fmt.Sprintf(over, "enroll", "success", "success", "null", `"ann"`, "null", end)},
		{capture.FlowVerify, capture.StatusSuccess, "", "ann", 1, fmt.Sprintf(over, "verify", "success", "success", "null", `"ann"`, "1", end)},
		{capture.FlowUpdate, capture.StatusSuccess, "", "ann", 0.9, fmt.Sprintf(over, "update_embedding", "success", "success", "null", `"ann"`, "0.9", end)},
		{capture.FlowIdentify, capture.StatusSuccess, "", "ann", 0.954329, fmt.Sprintf(over, "identify", "success", "success", "null", `"ann"`, "0.95432", end)},
		{capture.FlowVerify, capture.StatusFail, capture.ReasonBelowThreshold, "ann", 0.8499999, fmt.Sprintf(over, "verify", "fail", "fail", `"below_threshold"`, `"ann"`, "0.84999", end)},
		{capture.FlowEnroll, capture.StatusFail, capture.ReasonConflict, "ann", 0.29, fmt.Sprintf(over, "enroll", "fail", "fail", `"conflict"`, `"ann"`, "0.29", end)},
		{capture.FlowIdentify, capture.StatusFail, capture.ReasonNotFound, "", 0, fmt.Sprintf(over, "identify", "fail", "fail", `"not_found"`, "null", "null", end)},
		{capture.FlowIdentify, capture.StatusFail, capture.ReasonCancelled, "", 0, fmt.Sprintf(over, "identify", "fail", "fail", `"cancelled"`, "null", "null", end)},
		{capture.FlowVerify, capture.StatusFail, capture.ReasonLivenessSpoof, "ann", 0, fmt.Sprintf(over, "verify", "fail", "fail", `"liveness_spoof"`, `"ann"`, "null", end)},
		{capture.FlowVerify, capture.StatusExpired, "", "ann", 0, fmt.Sprintf(over, "verify", "expired", "fail", `"expired"`, `"ann"`, "null", ends)},
	} {
		s := base
		s.Flow, s.Status, s.Reason, s.Person = x.flow, x.status, x.reason, x.person
		if x.score != 0 {
			s.Score = &x.score
		}
		if got, err := json.Marshal(resultOf(&s)); err != nil || string(got) != x.want {
			t.Errorf("%v\n got %s\nwant %s", err, got, x.want)
		}
	}
	for _, r := range []string{capture.ReasonConflict, capture.ReasonBelowThreshold, capture.ReasonNotEnrolled, capture.ReasonAlreadyEnrolled, capture.ReasonNotFound,
		capture.ReasonLivenessSpoof, capture.ReasonLivenessUncertain, capture.ReasonCaptureFailed, capture.ReasonCancelled, capture.ReasonCameraUnavailable} {
		s := base
		s.Status, s.Reason = capture.StatusFail, r
		if got, ok := resultOf(&s).(overBody); !ok || *got.Reason != r {
			t.Errorf("%s is told as %+v", r, got)
		}
	}
}

// TestPollsAreBounded: a bucket fills as time goes, each session has its own, and buckets that are full are forgotten.
func TestPollsAreBounded(t *testing.T) {
	p, now := newPolls(), time.Unix(1, 0)
	for i := range pollBurst {
		if err := p.take("t", "a", now); err != nil {
			t.Fatal(i, err)
		}
	}
	for _, x := range []struct {
		tenant, id string
		after      time.Duration
		refused    bool
	}{{"t", "a", 0, true}, {"u", "a", 0, false}, {"t", "b", 0, false}, {"t", "a", 999 * time.Millisecond, true}, {"t", "a", time.Second, false}, {"t", "a", time.Second, true}} {
		if err := p.take(x.tenant, x.id, now.Add(x.after)); (err == errPolled) != x.refused {
			t.Errorf("%+v: %v", x, err)
		}
	}
	for i := range 5 * firstSweep {
		if err := p.take("t", fmt.Sprint(i), now.Add(time.Duration(i)*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.mu.buckets); n > 2*firstSweep {
		t.Errorf("%d buckets are kept", n)
	}
}

// TestUnknownCodes: what nobody has thought of is a failure of ours, and its text stays inside.
func TestUnknownCodes(t *testing.T) {
	a := refuse(nil, &dialect.Failure{Status: 418, Code: "teapot", Detail: "/var/lib is short and stout"})
	if b := a.Value.(errorBody); a.Status != 500 || b.Message != messageFailed || b.Error != "internal_error" {
		t.Errorf("%d %+v", a.Status, b)
	}
	if a := refuse(nil, &dialect.Failure{Status: 409, Code: "documents_full"}); a.Status != 503 || len(a.Header) != 1 {
		t.Errorf("%+v", a)
	}
}

// body is a server that knows a body and nothing else.
type body struct {
	dialect.Server
	json []byte
}

func (b body) Body() ([]byte, error) { return b.json, nil }

func (body) Header(string) string { return "" }

// FuzzBodies: what a client may send is refused by an error that says so, or is what it says.
func FuzzBodies(f *testing.F) {
	for _, s := range []string{`{"client_state":"550e8400-e29b-41d4-a716-446655440000","redirect_url":"https://a.example","external_user_id":"u"}`,
		`{"client_state":"550E8400-E29B-41D4-A716-446655440000","redirect_url":"https://a.example"}`, `{"external_user_id":"u"}`, `{"external_user_id":["u"]}`, `[]`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, flow := range []capture.Flow{capture.FlowEnroll, capture.FlowIdentify} {
			c := &dialect.Call{Server: body{json: b}, Gallery: "g", Key: engine.Key{Tenant: "t"}}
			spec, err := specOf(c, flow)
			if err != nil {
				if !errors.Is(err, dialect.ErrJSON) {
					t.Errorf("%q: %v", b, err)
				}
				continue
			}
			if spec.ID != "authface.g."+strings.ToLower(spec.State) || len(spec.State) != 36 || spec.RedirectURL == "" || (spec.Person == "") != (flow == capture.FlowIdentify) || c.Person != spec.Person {
				t.Errorf("%q: %+v", b, spec)
			}
		}
		c := &dialect.Call{Server: body{json: b}}
		if err := whom(c); (err == nil) != (c.Person != "") || err != nil && !errors.Is(err, dialect.ErrJSON) {
			t.Errorf("%q: %q %v", b, c.Person, err)
		}
	})
}
