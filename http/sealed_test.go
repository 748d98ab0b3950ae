package http

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"testing"

	"mien/engine"
	"mien/engine/mpc"
)

// sealing is what the API says to seal with: for a person, or with "" for searches.
func (h *harness) sealing(person string) *mpc.Sealing {
	h.t.Helper()
	path := "sealing"
	if person != "" {
		path = "people/" + person + "/sealing"
	}
	var s sealingBody
	if h.want(200, apartCall("GET", path, nil)).into(h.t, &s); s.Space != testSpace.ID {
		h.t.Errorf("space %q", s.Space)
	}
	return s.Sealing
}

func (h *harness) seal(person string, op mpc.SealOp, v []float32) mpc.Envelopes {
	h.t.Helper()
	e, err := h.sealing(person).Seal(op, unit(v))
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

// unit is a template of norm 1, as a client has it of a model.
func unit(v []float32) []float32 {
	square := 0.0
	for _, x := range v {
		square += float64(x) * float64(x)
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(square))
	}
	return out
}

func sealedCall(method, path string, e mpc.Envelopes) call {
	b, err := json.Marshal(map[string]any{"envelopes": e})
	if err != nil {
		panic(err)
	}
	return call{method: method, path: apartPath + path, body: b}
}

// TestDecentralisedSealed goes through a person's life by shares that the server does not see.
func TestDecentralisedSealed(t *testing.T) {
	h, _ := newPartyHarness(t, "", nil)
	h.want(200, call{method: "PATCH", path: "/v1/galleries/staff", body: []byte(`{"gate":{"enrol":{"sharpness":50}}}`)}) // as of a template, a gate knows nothing
	ada := vector(1, 16)
	var e apartEnrolled
	if h.want(200, sealedCall("PUT", "people/ada", h.seal("ada", mpc.SealEnrol, ada))).into(t, &e); e.Generation != 1 || e.Face != nil {
		t.Errorf("%+v", e)
	}
	for v, want := range map[uint64]bool{1: true, 2: false} {
		var d apartBody
		if h.want(200, sealedCall("POST", "people/ada/verify", h.seal("ada", mpc.SealVerify, near(v, 16)))).into(t, &d); d.Match != want {
			t.Errorf("%d: %+v", v, d)
		}
		if h.want(200, apartCall("POST", "people/ada/verify", near(v, 16))).into(t, &d); d.Match != want {
			t.Errorf("%d, unsealed: %+v", v, d)
		}
	}
	var found apartPeople
	if h.want(200, sealedCall("POST", "identify", h.seal("", mpc.SealIdentify, near(1, 16)))).into(t, &found); !slices.Equal(found.People, []string{"ada"}) {
		t.Errorf("found %v", found.People)
	}
	only := sealedCall("PUT", "people/ada", h.seal("ada", mpc.SealEnrol, ada))
	only.header = []string{"If-None-Match", "*"}
	h.refused(codeVersionMismatch, only)
	h.want(200, sealedCall("PUT", "people/ada", h.seal("ada", mpc.SealEnrol, vector(3, 16)))).into(t, &e)
	if e.Generation != 2 {
		t.Errorf("%+v", e)
	}
	var ops []string
	for _, r := range h.audit("?gallery=staff") {
		ops = append(ops, r.Op+" "+r.Outcome)
	}
	for op, want := range map[string]int{"decentralised.put done": 2, "decentralised.verify match": 2, "decentralised.verify no_match": 2, "decentralised.identify match": 1} {
		n := 0
		for _, have := range ops {
			if have == op {
				n++
			}
		}
		if n != want {
			t.Errorf("%d records of %q, want %d: %v", n, op, want, ops)
		}
	}
}

// TestDecentralisedSealing: what to seal with is the same for the same, and tells nobody who is enrolled.
func TestDecentralisedSealing(t *testing.T) {
	h, parties := newPartyHarness(t, "", nil)
	ada, bob, search := h.sealing("ada"), h.sealing("bob"), h.sealing("")
	h.want(200, apartCall("PUT", "people/ada", vector(1, 16)))
	again := h.sealing("ada")
	again.Expires = ada.Expires
	if a, b := fmt.Sprint(*ada.Identify, ada.Person, ada.Parties), fmt.Sprint(*again.Identify, again.Person, again.Parties); a != b {
		t.Error("enrolling the person changed it")
	}
	if ada.Person == bob.Person || ada.Person == (mpc.ID{}) || search.Person != (mpc.ID{}) || ada.Tenant != search.Tenant {
		t.Errorf("%v %v %v", ada.Person, bob.Person, search.Person)
	}
	for role, want := range map[engine.Role][2]int{engine.RoleAdmin: {200, 200}, engine.RoleEnroller: {200, 403}, engine.RoleMatcher: {200, 200}, engine.RoleAuditor: {403, 403}} {
		_, token := h.key("default", engine.KeySpec{Role: role})
		for i, path := range []string{"people/ada/sealing", "sealing"} {
			c := apartCall("GET", path, nil)
			c.token = token
			h.want(want[i], c)
		}
	}
	h.refused(codeBadRequest, call{method: "GET", path: apartPath + "sealing?person=ada"})
	h.refused(codeBadID, apartCall("GET", "people/%01/sealing", nil))
	parties.Away(2)
	if a := h.do(apartCall("GET", "sealing", nil)); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestDecentralisedSealedRefusals: envelopes that are none for what they are sent for, and bodies with them that are not as documented.
func TestDecentralisedSealedRefusals(t *testing.T) {
	h, parties := newPartyHarness(t, "", nil)
	ada := vector(1, 16)
	h.want(200, apartCall("PUT", "people/ada", ada))
	verify := func(e mpc.Envelopes) call { return sealedCall("POST", "people/ada/verify", e) }
	used := h.seal("ada", mpc.SealVerify, ada)
	h.want(200, verify(used))
	h.refused(codeEnvelopeUsed, verify(used))

	swapped, cut := h.seal("ada", mpc.SealVerify, ada), h.seal("ada", mpc.SealVerify, ada)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	cut[2] = cut[2][:100]
	for _, e := range []mpc.Envelopes{swapped, cut, h.seal("bob", mpc.SealVerify, ada), h.seal("ada", mpc.SealEnrol, ada)} {
		h.refused(codeBadEnvelope, verify(e))
	}
	h.refused(codeBadEnvelope, sealedCall("PUT", "people/ada", h.seal("ada", mpc.SealVerify, ada)))
	h.refused(codeBadEnvelope, sealedCall("POST", "identify", h.seal("ada", mpc.SealVerify, ada)))
	h.refused(codePersonNotFound, sealedCall("POST", "people/bob/verify", h.seal("bob", mpc.SealVerify, ada)))
	mixed, other := h.seal("ada", mpc.SealVerify, ada), h.seal("ada", mpc.SealVerify, ada)
	mixed[1] = other[1]
	h.refused(codeTemplateUnfit, verify(mixed))

	whole, err := json.Marshal(h.seal("ada", mpc.SealVerify, ada))
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]code{
		`{"envelopes":[]}`: codeBadRequest, `{"envelopes":["AAAA","AAAA"]}`: codeBadRequest, `{"envelopes":["AAAA","AAAA","AAAA","AAAA"]}`: codeBadRequest,
		`{"envelopes":["AAAA","AAAA","AAAA"]}`: codeBadEnvelope, `{"envelopes":["AAAA","AAAA","?"]}`: codeBadBase64, `{"envelopes":"AAAA"}`: codeBadJSON,
		`{"envelopes":` + string(whole) + `,"image":"AAAA"}`: codeBadRequest, `{"envelopes":` + string(whole) + `,"select":"largest"}`: codeBadRequest, `{}`: codeBadRequest,
	} {
		h.refused(want, call{method: "POST", path: apartPath + "people/ada/verify", body: []byte(body)})
	}
	h.want(200, apartCall("POST", "people/ada/verify", ada))

	// A party that was started anew takes none from before, and one that is away takes them from nobody.
	before := h.seal("ada", mpc.SealVerify, ada)
	parties.Away(1)
	if p := h.do(verify(before)).problem(t); p.Code != codePartyAway {
		t.Errorf("%+v", p)
	}
	parties.Start(1)
	h.want(200, apartCall("POST", "people/ada/verify", ada)) // the parties are linked
	h.refused(codeEnvelopeUsed, verify(before))
	last := h.seal("ada", mpc.SealVerify, ada)
	h.want(200, verify(last))
	parties.LoseShareKey(0)
	h.want(200, apartCall("POST", "people/ada/verify", ada))
	h.refused(codeDecentralisedUnconfigured, verify(last))
	h.refused(codeDecentralisedUnconfigured, apartCall("GET", "sealing", nil))

	h = newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	h.refused(codeDecentralisedUnconfigured, apartCall("GET", "sealing", nil))
	h.refused(codeDecentralisedUnconfigured, verify(before))
}
