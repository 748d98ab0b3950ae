package youverse_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http"
	"mien/http/youverse"
)

// template is what user_data answers.
func (c client) template(user string) (template, version string) {
	c.t.Helper()
	var data struct {
		Template string `json:"template"`
		Version  string `json:"template_version"`
	}
	c.want(200, "", "POST", pathData, fmt.Sprintf(`{"user_id":%q}`, user)).Into(c.t, &data)
	return data.Template, data.Version
}

func encoded(v []float32) string {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// axis is a template of nobody.
func axis(dim int) []float32 {
	v := make([]float32, dim)
	v[dim-1] = 1
	return v
}

// audited are the operations of the tenant's audit log about a person, oldest first, each with its outcome.
func (c client) audited(person string) string {
	c.t.Helper()
	page, err := c.Engine.Audit(c.t.Context(), "default", engine.AuditQuery{Person: person})
	if err != nil {
		c.t.Fatal(err)
	}
	var ops []string
	for _, l := range page.Records {
		var r engine.AuditRecord
		if err := json.Unmarshal(l.Record, &r); err != nil || r.Key != c.key[len("mien_"):len("mien_")+16] || r.Role != engine.RoleClient {
			c.t.Errorf("%s: %v", l.Record, err)
		}
		ops = append([]string{strings.TrimSpace(r.Op + " " + r.Outcome + " " + r.Code)}, ops...)
	}
	return strings.Join(ops, ", ")
}

// TestTemplates: what user_data hands out is what verify_template takes, and who was given it is in the audit log.
func TestTemplates(t *testing.T) {
	c := newClient(t, func(_ *http.Config, e *engine.Config) { e.Audit = "sync" }) // so that the log has the order of the calls
	c.verify(200, "NEW_USER", "ann", extracttest.Photo(t, "a_1.jpg"), true)
	c.verify(200, "NEW_USER", "bob", extracttest.Photo(t, "b_1.jpg"), true)
	ann, space := c.template("ann")
	bob, _ := c.template("bob")
	raw, err := base64.StdEncoding.DecodeString(ann)
	if err != nil || len(raw) != 4*512 || space != c.Engine.DefaultSpace().ID {
		t.Errorf("a template of %d bytes, version %s: %v", len(raw), space, err)
	}
	ask := func(status int, says, user, template, version string) {
		t.Helper()
		c.want(status, says, "POST", pathTemplate, fmt.Sprintf(`{"user_id":%q,"template":%q,"template_version":%q}`, user, template, version))
	}
	ask(200, "SUCCESS", "ann", ann, space)
	ask(200, "FAILED", "ann", bob, space)
	ask(200, "USER_NOT_FOUND", "cy", ann, space)
	ask(409, "", "ann", ann, "1.0")
	ask(409, "", "ann", ann, "")
	ask(400, "", "ann", encoded(axis(511)), space)
	ask(400, "", "ann", encoded(make([]float32, 512)), space)
	ask(400, "", "ann", encoded(append(axis(511), float32(math.NaN()))), space)
	ask(400, "", "ann", "AAAAAA", space)
	ask(400, "", "an\tn", ann, space)
	c.want(204, "", "DELETE", pathVerify, `{"user_id":"ann"}`)
	c.want(409, "User not registered.", "DELETE", pathVerify, `{"user_id":"ann"}`)
	c.want(409, "User not registered.", "POST", pathData, `{"user_id":"ann"}`)
	const want = "person.put done, template.read done, verify match, verify no_match, youverse.verifyTemplate refused space_mismatch, " +
		"youverse.verifyTemplate refused space_mismatch, youverse.verifyTemplate refused template_length, youverse.verifyTemplate refused template_zero_norm, " +
		"youverse.verifyTemplate refused template_not_finite, youverse.verifyTemplate refused template_length, person.delete done, " +
		"youverse.delete refused person_not_found, youverse.userData refused person_not_found"
	if got := c.audited("ann"); got != want {
		t.Errorf("recorded:\n%s\nwant:\n%s", got, want)
	}
}

// TestShared: who is enrolled by one API is known to the other where both are of one gallery, and to nobody else.
func TestShared(t *testing.T) {
	c := newClient(t, nil)
	c.Gallery("elsewhere", engine.GallerySpec{})
	if _, _, err := c.Engine.CreateGallery(t.Context(), "rival", "people", engine.GallerySpec{}); err != nil {
		t.Fatal(err)
	}
	other, rival := c, c
	other.key = c.Key(youverse.Name, "elsewhere")
	rival.key = c.KeyOf("rival", engine.KeySpec{Role: engine.RoleClient, Dialect: youverse.Name, Galleries: []string{"people"}})
	native := []string{"Authorization", "Bearer " + c.role(engine.RoleAdmin), "Content-Type", "image/jpeg"}

	if a := c.Do("PUT", "/v1/galleries/people/people/ann", extracttest.Photo(t, "a_1.jpg"), native...); a.Status != 201 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	c.verify(200, "SUCCESS", "ann", extracttest.Photo(t, "a_2.jpg"), false)
	c.verify(200, "NEW_USER", "bob", extracttest.Photo(t, "b_1.jpg"), true)
	if a := c.Do("POST", "/v1/galleries/people/people/bob/verify", extracttest.Photo(t, "b_2.jpg"), native...); a.Status != 200 || !strings.Contains(string(a.Body), `"match":true`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	template, space := c.template("ann")
	for _, stranger := range []client{other, rival} {
		for _, user := range []string{"ann", "bob", "nobody"} {
			stranger.verify(200, "USER_NOT_FOUND", user, extracttest.Photo(t, "a_2.jpg"), false)
			stranger.want(200, "USER_NOT_FOUND", "POST", pathTemplate, fmt.Sprintf(`{"user_id":%q,"template":%q,"template_version":%q}`, user, template, space))
			stranger.want(409, "User not registered.", "POST", pathData, fmt.Sprintf(`{"user_id":%q}`, user))
			stranger.want(409, "User not registered.", "DELETE", pathVerify, fmt.Sprintf(`{"user_id":%q}`, user))
		}
	}
	c.verify(200, "SUCCESS", "ann", extracttest.Photo(t, "a_2.jpg"), false)
	c.want(204, "", "DELETE", pathVerify, `{"user_id":"ann"}`)
	if a := c.Do("GET", "/v1/galleries/people/people/ann", nil, native[:2]...); a.Status != 404 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestRegisteredOnce: of requests at once that may register one user one does; the others verify.
func TestRegisteredOnce(t *testing.T) {
	c := newClient(t, nil)
	var mu sync.Mutex
	statuses := map[string]int{}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			photo := extracttest.Photo(t, []string{"a_1.jpg", "a_2.jpg", "a_3.jpg"}[i%3])
			a := c.call("POST", pathVerify, verifyBody("ann", photo, true))
			mu.Lock()
			defer mu.Unlock()
			statuses[strings.TrimSpace(string(a.Body))]++
		})
	}
	wg.Wait()
	if len(statuses) != 2 || statuses[`{"status":"NEW_USER"}`] != 1 || statuses[`{"status":"SUCCESS"}`] != 5 {
		t.Errorf("%v", statuses)
	}
	// A stranger's photo does not take a registration's place, whatever it asks for.
	c.verify(200, "FAILED", "ann", extracttest.Photo(t, "b_1.jpg"), true)
	c.verify(200, "SUCCESS", "ann", extracttest.Photo(t, "a_2.jpg"), true)
	p, err := c.Engine.Person(t.Context(), "default", "people", "ann")
	if err != nil || len(p.Templates) != 1 {
		t.Errorf("%+v %v", p, err)
	}
}
