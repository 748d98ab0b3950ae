package verifik_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"mien/extract/extracttest"
	"mien/http/dialect/dialecttest"
)

// testGolden: requests and what they are answered, as testdata/golden.txt has them; what differs from one answer to the next is masked,
// photos are named. -update writes the file.
func testGolden(t *testing.T, w *world) {
	p := w.project(t, `{"gallery":"people","attempts":2}`)
	x, done, cancelled := w.session(t, p), w.session(t, p), w.session(t, p)
	photo := func(name string) string { return b64(extracttest.Photo(t, name)) }
	accepted(t, w.validate(t, done.Token, imageBody(extracttest.Photo(t, "a_2.jpg"))))
	w.native(t, 200, "DELETE", "/v1/verifik/projects/"+p.ID+"/sessions/"+cancelled.ID, w.admin, "", nil)
	dark := b64(extracttest.Dark(t, extracttest.Photo(t, "a_1.jpg")))
	names := strings.NewReplacer(x.Token, "SESSION", done.Token, "COMPLETED", cancelled.Token, "CANCELLED", w.admin, "ADMIN", photo("a_2.jpg"), "a_2.jpg", dark, "a_1.jpg, dark",
		photo("noface.jpg"), "noface.jpg", photo("group.jpg"), "group.jpg", photo("small.jpg"), "small.jpg", photo("c_1.jpg"), "c_1.jpg")
	var b strings.Builder
	for _, c := range []struct{ name, method, path, token, body string }{
		{"no token", "POST", path, "", `{"image":"..."}`},
		{"the document's token", "POST", path, "YOUR_ACCESS_TOKEN", `{"image":"..."}`},
		{"an API key", "POST", path, w.admin, `{"image":"..."}`},
		{"the document's body", "POST", path, x.Token, `{"image":"..."}`},
		{"no image", "POST", path, x.Token, `{}`},
		{"an image that is no text", "POST", path, x.Token, `{"image":{}}`},
		{"no JSON", "POST", path, x.Token, `{"image"`},
		{"no face", "POST", path, x.Token, `{"image":"` + photo("noface.jpg") + `"}`},
		{"two faces", "POST", path, x.Token, `{"image":"` + photo("group.jpg") + `"}`},
		{"a small face", "POST", path, x.Token, `{"image":"data:image/jpeg;base64,` + photo("small.jpg") + `"}`},
		{"a stranger", "POST", path, x.Token, `{"image":"` + photo("c_1.jpg") + `"}`},
		{"whom the session is for", "POST", path, x.Token, `{"image":"` + photo("a_2.jpg") + `"}`},
		{"the same again", "POST", path, x.Token, `{"image":"` + photo("a_2.jpg") + `"}`},
		{"a completed session", "POST", path, done.Token, `{"image":"` + photo("a_2.jpg") + `"}`},
		{"a cancelled session", "POST", path, cancelled.Token, `{"image":"` + photo("a_2.jpg") + `"}`},
		{"another method", "GET", path, x.Token, ""},
		{"another path", "POST", "/v2/biometric-validations/app-login", x.Token, `{}`},
	} {
		var header []string
		if c.token != "" {
			header = []string{"Authorization", "Bearer " + c.token}
		}
		a := w.Do(c.method, c.path, []byte(c.body), header...)
		fmt.Fprintf(&b, "# %s\n%s %s\n", c.name, c.method, c.path)
		if c.token != "" {
			fmt.Fprintf(&b, "Authorization: Bearer %s\n", names.Replace(c.token))
		}
		if c.body != "" {
			fmt.Fprintf(&b, "Content-Type: application/json\n\n%s\n", names.Replace(c.body))
		}
		fmt.Fprintf(&b, "\n%d\n%s\n%s\n\n", a.Status, headers(a), masked(a.Body))
	}
	compareGolden(t, "testdata/golden.txt", b.String())
}

// headers are the answer's fields that are always the same.
func headers(a dialecttest.Answer) string {
	var lines []string
	for _, name := range []string{"Allow", "Cache-Control", "Content-Type", "Www-Authenticate", "X-Content-Type-Options"} {
		if v := a.Header.Get(name); v != "" {
			lines = append(lines, name+": "+v)
		}
	}
	return strings.Join(lines, "\n")
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if f := flag.Lookup("update"); f != nil && f.Value.String() == "true" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n\n"), strings.Split(string(want), "\n\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			t.Fatalf("%s: at\n%s\nnow it is\n%s", file, w[min(i, len(w)-1)], g[i])
		}
	}
	t.Fatalf("%s has more than there is", file)
}
