package http

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"mien/engine"
)

func TestErasureOfPerson(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	path := "/v1/galleries/staff/people/ada"
	h.want(201, call{method: "PUT", path: path, body: fmt.Appendf(nil, `{"templates":[%s]}`, templateJSON(vector(1, 16)))})
	h.refused(codeVersionMismatch, call{method: "POST", path: path + "/erase", header: []string{"If-Match", `"1"`}})
	var r engine.Receipt
	h.want(200, call{method: "POST", path: path + "/erase"}).into(t, &r)
	if r.Kind != engine.ReceiptPerson || r.Person != "ada" || r.Templates != 1 || len(r.Keys) != 1 || r.JWS == "" {
		t.Errorf("%+v", r)
	}
	h.refused(codePersonNotFound, call{method: "GET", path: path})
	h.refused(codePersonNotFound, call{method: "POST", path: path + "/erase"})

	var k engine.ReceiptKey
	h.want(200, call{method: "GET", path: "/v1/erasure/key"}).into(t, &k)
	body, err := json.Marshal(map[string]string{"jws": r.JWS})
	if err != nil || k.Curve != "Ed25519" {
		t.Fatalf("%+v, %v", k, err)
	}
	var again engine.Receipt
	h.want(200, call{method: "POST", path: "/v1/erasure/verify", body: body}).into(t, &again)
	if again.Sequence != r.Sequence || again.Person != "ada" {
		t.Errorf("%+v", again)
	}
	var p engine.Proof
	h.want(200, call{method: "POST", path: "/v1/erasure/prove", body: body}).into(t, &p)
	if !p.Passed || p.Person != "ada" || p.Files == 0 {
		t.Errorf("%+v", p)
	}
	_, stranger := h.key("other", engine.KeySpec{Role: engine.RoleAdmin})
	h.refused(codeForbidden, call{method: "POST", path: "/v1/erasure/prove", body: body, token: stranger})
	body[len(body)-5] ^= 1
	h.refused(codeBadReceipt, call{method: "POST", path: "/v1/erasure/prove", body: body})
	h.refused(codeBadReceipt, call{method: "POST", path: "/v1/erasure/verify", body: body})
}

func TestErasureIsProved(t *testing.T) {
	h := newHarness(t, nil)
	h.staff()
	var r erasedPerson
	h.want(200, call{method: "POST", path: "/v1/galleries/staff/people/ada/erase", body: []byte(`{"prove":true}`)}).into(t, &r)
	if r.Person != "ada" || r.Proof == nil || !r.Proof.Passed || r.Proof.JWS == r.JWS || len(r.Proof.Checks) != 6 {
		t.Errorf("%+v", r)
	}
	h.refused(codeBadJSON, call{method: "POST", path: "/v1/galleries/staff/people/bob/erase", body: []byte(`{"prove":1}`)})
	h.want(200, call{method: "GET", path: "/v1/galleries/staff/people/bob"})
}

func TestErasureOfTenant(t *testing.T) {
	h := newHarness(t, nil)
	var k struct{ Token string }
	h.want(201, call{method: "POST", path: "/v1/keys", body: []byte(`{"role":"admin","tenant":"acme"}`)}).into(t, &k)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff", token: k.Token})
	h.refused(codeForbidden, call{method: "POST", path: "/v1/tenants/acme/erase", token: k.Token})
	h.refused(codeTenantNotFound, call{method: "POST", path: "/v1/tenants/nobody/erase"})
	h.refused(codeForbidden, call{method: "POST", path: "/v1/tenants/default/erase"})
	var r engine.Receipt
	h.want(200, call{method: "POST", path: "/v1/tenants/acme/erase"}).into(t, &r)
	if r.Kind != engine.ReceiptTenant || r.Tenant != "acme" || len(r.Keys) != 1 {
		t.Errorf("%+v", r)
	}
	h.refused(codeKeyUnknown, call{method: "GET", path: "/v1/galleries", token: k.Token})
}

func TestRotationOfKey(t *testing.T) {
	h := newHarness(t, nil)
	h.want(201, call{method: "PUT", path: "/v1/galleries/staff"})
	var s engine.KeyStatus
	h.want(200, call{method: "GET", path: "/v1/encryption"}).into(t, &s)
	if s.Version != 1 || s.Running {
		t.Errorf("%+v", s)
	}
	h.refused(codeNotRotating, call{method: "DELETE", path: "/v1/encryption/rotate"})
	h.refused(codeTenantNotFound, call{method: "POST", path: "/v1/encryption/rotate", body: []byte(`{"tenant":"nobody"}`)})
	h.want(202, call{method: "POST", path: "/v1/encryption/rotate"}).into(t, &s)
	for range 1000 {
		if h.want(200, call{method: "GET", path: "/v1/encryption"}).into(t, &s); !s.Running {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	if s.Version != 2 || !slices.Equal(s.Versions, []uint32{2}) {
		t.Errorf("%+v", s)
	}
}
