package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"mien/engine"
)

// TestDedupeCommand: a person under two ids is found, and a photo under the wrong id.
func TestDedupeCommand(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "data"))
	people := folder(t, map[string][]string{"Ada": {"a_1.jpg"}, "Ada again": {"a_2.jpg"}, "Bob": {"b_1.jpg", "c_1.jpg"}, "Cy": {"c_2.jpg"}})
	if out, stderr, code := s.run("enroll", "--create", "-g", "demo", people); code != 0 {
		t.Fatal(out, stderr)
	}
	out, stderr, code := s.run("dedupe", "-g", "demo", "--fmr", "1e-6")
	if code != exitNegative || !strings.Contains(out, `{"person":"Ada","other":"Ada again",`) || !strings.Contains(out, `{"person":"Bob","other":"Cy",`) {
		t.Errorf("dedupe: exit code %d\n%s%s", code, out, stderr)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var j engine.Job
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &j); err != nil || j.State != engine.JobDone || j.Pairs != 2 || j.Done != 4 {
		t.Errorf("the last line is %q: %v", lines[len(lines)-1], err)
	}
	out, stderr, code = s.run("hygiene", "--job", j.ID)
	if code != exitNegative || !strings.Contains(out, `{"kind":"mislabelled","person":"Bob","template":"2","own_cosine":`) || !strings.Contains(out, `"kind":"conflicting","person":"Ada"`) {
		t.Errorf("hygiene: exit code %d\n%s%s", code, out, stderr)
	}
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"dedupe", "-g", "demo", "--cosine", "0.999"}, 0, `"pairs":0`},
		{[]string{"dedupe", "-g", "none"}, 1, "gallery_not_found"},
		{[]string{"dedupe"}, 80, "--job ID"},
		{[]string{"dedupe", "-g", "demo", "--fmr", "1e-6", "--expected-false-pairs", "3"}, 80, "--expected-false-pairs"},
		{[]string{"jobs", "list"}, 0, "\t4 of 4 people\t2 pairs\t"},
		{[]string{"jobs", "cancel", j.ID}, 0, "\tdone\t"},
		{[]string{"jobs", "delete", j.ID}, 0, "deleted " + j.ID},
		{[]string{"jobs", "delete", j.ID}, 1, "job_not_found"},
	} {
		out, stderr, code := s.run(c.args...)
		if code != c.code || !strings.Contains(out+stderr, c.say) {
			t.Errorf("mien %s: exit code %d, %q; want %d and %q", strings.Join(c.args, " "), code, out+stderr, c.code, c.say)
		}
	}
}
