package auther_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mien/extract/extracttest"
	"mien/http/dialect/dialecttest"
)

// exchange is a request as the document prints it: the names of photos are in the place of "string".
type exchange struct{ method, path, body string }

// examples are all requests of the document with a body, spaced as there, and what else there is to ask.
var examples = []exchange{
	{"POST", "/person/face/ada", "{\n  \"faceImage\": \"a_1.jpg\"\n}"},
	{"POST", "/person/face/ada", "{\n  \"faceImage\": \"a_1.jpg\"\n}"},
	{"POST", "/person/face/eve", "{\n  \"faceImage\": \"a_2.jpg\"\n}"},
	{"POST", "/person/face/eve", "{\n  \"faceImage\": \"group.jpg\"\n}"},
	{"POST", "/person/face/eve", "{\n  \"faceImage\": \"noface.jpg\"\n}"},
	{"POST", "/person/face/eve", "{\n  \"faceImage\": \"sunglasses.jpg\"\n}"},
	{"POST", "/person/face/eve", "{\n  \"faceImage\": \"string\"\n}"},
	{"POST", "/person/face/eve", "faceImage=string"},
	{"PUT", "/person/face/ada", "{\n  \"faceImage\": \"a_3.jpg\"\n}"},
	{"PUT", "/person/face/eve", "{\n  \"faceImage\": \"a_3.jpg\"\n}"},
	{"GET", "/person/face/ada", ""},
	{"GET", "/person/face/eve", ""},
	{"POST", "/person/recognize-face", "{\n \"faceImage\": \"a_2.jpg\"\n}"},
	{"POST", "/person/recognize-face", "{\n \"faceImage\": \"b_1.jpg\"\n}"},
	{"POST", "/person/recognize-face", "{\n \"faceImage\": \"small.jpg\"\n}"},
	{"POST", "/person/verify-face/ada", "{\n \"faceImage\": \"a_2.jpg\"\n}"},
	{"POST", "/person/verify-face/ada", "{\n \"faceImage\": \"b_1.jpg\"\n}"},
	{"POST", "/person/verify-face/eve", "{\n \"faceImage\": \"b_1.jpg\"\n}"},
	{"POST", "/person/compare-face", "{\n\"targetImage\": \"a_2.jpg\",\n\"sourceImage\": \"a_1.jpg\"\n}"},
	{"POST", "/person/compare-face", "{\n\"targetImage\": \"group.jpg\",\n\"sourceImage\": \"a_1.jpg\",\n\"similarityThreshold\": 98\n}"},
	{"POST", "/person/compare-face", "{\n\"targetImage\": \"b_1.jpg\",\n\"sourcetImage\": \"a_1.jpg\"\n}"},
	{"DELETE", "/person/face/ada", ""},
	{"DELETE", "/person/face/ada", ""},
	{"PATCH", "/person/face/ada", "{}"},
	{"GET", "/person/ada", ""},
}

var (
	photoName = regexp.MustCompile(`"([a-z_0-9]+\.jpg)"`)
	masks     = []struct {
		of *regexp.Regexp
		by string
	}{
		{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`), "TIME"},
		{regexp.MustCompile(`"facesMatched":9\d\.\d+`), `"facesMatched":9N.N`},
		{regexp.MustCompile(`(?m)^< Request-Id: \w+$`), "< Request-Id: ID"},
	}
)

// TestGolden replays the document's examples and holds the answers against testdata/golden.txt.
func TestGolden(t *testing.T) {
	c := newClient(newServer(t, nil))
	var b strings.Builder
	for _, x := range examples {
		var body []byte
		if x.body != "" {
			body = []byte(photoName.ReplaceAllStringFunc(x.body, func(name string) string {
				return fmt.Sprintf("%q", text(extracttest.Photo(t, strings.Trim(name, `"`))))
			}))
		}
		fmt.Fprintf(&b, "> %s %s\n", x.method, x.path)
		for line := range strings.Lines(x.body) {
			fmt.Fprintf(&b, "> %s\n", strings.TrimSuffix(line, "\n"))
		}
		b.WriteString(printed(c.ask(t, x.method, x.path, body)))
	}
	got := b.String()
	for _, m := range masks {
		got = m.of.ReplaceAllString(got, m.by)
	}
	file := filepath.Join("testdata", "golden.txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("answers differ from %s (-update writes it):\n%s", file, got)
	}
}

// printed is an answer with the header fields that the document or this dialect sets.
func printed(a dialecttest.Answer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "< %d\n", a.Status)
	for _, name := range []string{"Allow", "Content-Type", "Request-Id"} {
		if v := a.Header.Get(name); v != "" {
			fmt.Fprintf(&b, "< %s: %s\n", name, v)
		}
	}
	fmt.Fprintf(&b, "< %s\n\n", strings.TrimSuffix(string(a.Body), "\n"))
	return strings.ReplaceAll(b.String(), "< \n", "")
}
