package dialecttest_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	"mien/engine"
	"mien/extract/extracttest"
	"mien/http/dialect/dialecttest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	extracttest.Close()
	os.Exit(code)
}

// api is an API that keeps people, as keys of one gallery speak it.
type api struct {
	name   string
	header []string
	// enrol and knows are requests about a person: method, path and body. knows asks whether the photo is of the person; what is answered then
	// has yes, and of nobody who is there no.
	enrol, knows func(person, photo string) (method, path, body string)
	yes, no      string
}

// apisOf are the APIs with keys for a gallery of a tenant.
func apisOf(s *dialecttest.Server, tenant, gallery string) []api {
	client := func(dialect string) string {
		return s.KeyOf(tenant, engine.KeySpec{Role: engine.RoleClient, Dialect: dialect, Galleries: []string{gallery}})
	}
	native := "/v1/galleries/" + gallery + "/people/"
	return []api{
		{"native", []string{"Authorization", "Bearer " + s.KeyOf(tenant, engine.KeySpec{Role: engine.RoleAdmin, Galleries: []string{gallery}})},
			func(p, photo string) (string, string, string) {
				return "PUT", native + p, `{"images":["` + photo + `"]}`
			},
			func(p, photo string) (string, string, string) {
				return "POST", native + p + "/verify", `{"image":"` + photo + `"}`
			}, `"match":true`, `"person_not_found"`},
		{"youverse", []string{"x-api-key", client("youverse")},
			func(p, photo string) (string, string, string) {
				return "POST", "/user_verification", fmt.Sprintf(`{"user_id":%q,"user_photo":%q,"create_if_new":true}`, p, photo)
			},
			func(p, photo string) (string, string, string) {
				return "POST", "/user_verification", fmt.Sprintf(`{"user_id":%q,"user_photo":%q,"create_if_new":false}`, p, photo)
			}, `"SUCCESS"`, `"USER_NOT_FOUND"`},
		{"auther", []string{"Api-Key", client("auther")},
			func(p, photo string) (string, string, string) {
				return "POST", "/person/face/" + p, `{"faceImage":"` + photo + `"}`
			},
			func(p, photo string) (string, string, string) {
				return "POST", "/person/verify-face/" + p, `{"faceImage":"` + photo + `"}`
			}, `"personId"`, `"NF_001"`},
	}
}

func (a api) ask(s *dialecttest.Server, request func(person, photo string) (string, string, string), person, photo string) dialecttest.Answer {
	s.T.Helper()
	method, path, body := request(person, base64.StdEncoding.EncodeToString(extracttest.Photo(s.T, photo)))
	return s.Do(method, path, []byte(body), a.header...)
}

// TestTogether: whoever one API has enrolled is known to all whose keys name the gallery, and to nobody of another gallery or tenant. FacePhi's and
// Verifik's keep no people by photos: they are not asked.
func TestTogether(t *testing.T) {
	s := dialecttest.New(t, nil)
	s.Gallery("elsewhere", engine.GallerySpec{})
	if _, _, err := s.Engine.CreateGallery(t.Context(), "rival", "people", engine.GallerySpec{}); err != nil {
		t.Fatal(err)
	}
	here := apisOf(s, "default", "people")
	strangers := append(apisOf(s, "default", "elsewhere"), apisOf(s, "rival", "people")...)
	photos := []struct{ enrolled, asked string }{{"a_1.jpg", "a_2.jpg"}, {"b_1.jpg", "b_2.jpg"}, {"c_1.jpg", "c_2.jpg"}}
	for i, by := range here {
		person := "by-" + by.name
		if a := by.ask(s, by.enrol, person, photos[i].enrolled); a.Status != 200 && a.Status != 201 {
			t.Fatalf("%s does not enrol: %d %s", by.name, a.Status, a.Body)
		}
		for _, other := range here {
			if a := other.ask(s, other.knows, person, photos[i].asked); a.Status != 200 || !strings.Contains(string(a.Body), other.yes) {
				t.Errorf("whom %s has enrolled %s does not know: %d %s", by.name, other.name, a.Status, a.Body)
			}
			if a := other.ask(s, other.knows, person, photos[(i+1)%3].asked); a.Status == 200 && strings.Contains(string(a.Body), other.yes) {
				t.Errorf("%s takes somebody else for whom %s has enrolled: %s", other.name, by.name, a.Body)
			}
		}
		for _, other := range strangers {
			if a := other.ask(s, other.knows, person, photos[i].asked); !strings.Contains(string(a.Body), other.no) {
				t.Errorf("whom %s has enrolled %s of another gallery is told of: %d %s", by.name, other.name, a.Status, a.Body)
			}
		}
	}
}
