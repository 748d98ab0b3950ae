package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mien/bench/evaluate"
	"mien/extract/pack"
)

// layOut copies pictures of testdata/faces to the names given.
func layOut(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, picture := range files {
		to := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, photoBytes(t, picture), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

var threePeople = map[string]string{
	"a/1.jpg": "a_1.jpg", "a/2.jpg": "a_2.jpg", "a/3.jpg": "a_3.jpg", "b/1.jpg": "b_1.jpg", "b/2.jpg": "b_2.jpg",
	"c/1.jpg": "c_1.jpg", "c/2.jpg": "c_2.jpg", "d/1.jpg": "noface.jpg",
}

// evaluated runs the command with --json and reads its answer.
func evaluated(t *testing.T, args ...string) evaluate.Report {
	t.Helper()
	stdout, stderr, code := mien(t, setUp(t), append([]string{"evaluate", "--json"}, args...)...)
	var r evaluate.Report
	if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil || stderr != "" {
		t.Fatalf("exit %d, %v\n%s%s", code, err, stdout, stderr)
	}
	return r
}

// TestEvaluateFolder: seven photos of three people are 21 comparisons, five of them mated.
func TestEvaluateFolder(t *testing.T) {
	folder, out := layOut(t, threePeople), filepath.Join(t.TempDir(), "out")
	r := evaluated(t, folder, "--out", out, "--set", "three people", "--face", "central")
	e := r.Recognition
	if e.Photos != 8 || e.Templates != 7 || e.People != 3 || e.Mated.N != 5 || e.NonMated.N != 16 {
		t.Errorf("%d photos, %d templates, %d people, %d mated, %d not", e.Photos, e.Templates, e.People, e.Mated.N, e.NonMated.N)
	}
	if want := (evaluate.Failure{Person: "d", File: "d/1.jpg", Code: "no_face"}); len(e.Acquisition.Failed) != 1 || e.Acquisition.Failed[0] != want {
		t.Errorf("%+v", e.Acquisition)
	}
	if e.Mated.Min < .9 || e.NonMated.Max > .3 || e.EER.Rate != 0 {
		t.Errorf("mated from %v, others to %v, EER %v", e.Mated.Min, e.NonMated.Max, e.EER.Rate)
	}
	if len(e.OpenSet) != 1 || e.OpenSet[0].Gallery != 2 || len(e.Stated) == 0 || e.Calibration != nil {
		t.Errorf("%+v, %d stated, %v", e.OpenSet, len(e.Stated), e.Calibration)
	}
	if a := r.About; a.Data != "three people" || !strings.HasPrefix(a.Space, "fr_feature-512") || a.Pack != "default" || strings.Contains(a.Command, filepath.Dir(folder)) {
		t.Errorf("%+v", a)
	}
	page, err := os.ReadFile(filepath.Join(out, evaluate.PageName))
	if err != nil || !strings.Contains(string(page), "Evaluation of three people") || strings.Contains(string(page), folder) {
		t.Errorf("page: %v", err)
	}
	for _, file := range []string{evaluate.DataName, "distributions.png"} {
		if _, err := os.Stat(filepath.Join(out, file)); err != nil {
			t.Error(err)
		}
	}
	stdout, _, code := mien(t, setUp(t), "evaluate", folder, "--out", out, "--calibration", filepath.Join(out, "c.json"))
	if _, err := os.Stat(filepath.Join(out, "c.json")); code != 1 || stdout != "" || err == nil {
		t.Errorf("a calibration of 16 comparisons: exit %d, %v, %s", code, err, stdout)
	}
}

// TestEvaluatePairs: names as person/photo, as photo alone, and beside the list; people by folder or by the list.
func TestEvaluatePairs(t *testing.T) {
	folder := layOut(t, map[string]string{"a/a1.jpg": "a_1.jpg", "a/a2.jpg": "a_2.jpg", "b/b1.jpg": "b_1.jpg", "b/b2.jpg": "b_2.jpg", "c/unused.jpg": "c_1.jpg"})
	list := filepath.Join(folder, "pairs.csv")
	write := func(text string) {
		if err := os.WriteFile(list, []byte("a,b,same,cosine\n"+text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	write("a/a1.jpg,a2.jpg,1,0.97\nb1.jpg,a1.jpg,0,0.05\nb2.jpg,a2.jpg,0,\n")
	e := evaluated(t, folder, "--pairs", list, "--out", out).Recognition
	if e.Photos != 4 || e.People != 2 || e.Mated.N != 1 || e.NonMated.N != 2 || e.Agreement == nil || e.Agreement.Pairs != 2 || e.OpenSet != nil {
		t.Errorf("%+v", e)
	}
	write("a/a1.jpg,a/a2.jpg,1,\nb/b1.jpg,a/a1.jpg,0,\nb/b2.jpg,a/a2.jpg,0,\n")
	if e := evaluated(t, "--pairs", list, "--out", out).Recognition; e.Photos != 4 || e.People != 3 || e.LowestMated[0].A != "a/a1.jpg" {
		t.Errorf("%+v", e)
	}
	for text, want := range map[string]string{
		"a1.jpg,none.jpg,1,\n":                 "there is no photo none.jpg, neither in the folder nor beside the list",
		"a1.jpg,a2.jpg,perhaps,\n":             "pairs.csv: evaluate: not a list of pairs: line 2",
		"a1.jpg,a2.jpg,1,\na1.jpg,a2.jpg,1,\n": "2 mated and 0 non-mated comparisons; both are needed",
	} {
		write(text)
		if _, stderr, code := mien(t, setUp(t), "evaluate", folder, "--pairs", list, "--out", out); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("exit %d, %q, not %q", code, stderr, want)
		}
	}
}

// TestEvaluateAttacks: a photo without a face has no answer, whatever it is of.
func TestEvaluateAttacks(t *testing.T) {
	folder := layOut(t, map[string]string{
		"live/x/1.jpg": "a_1.jpg", "live/2.jpg": "b_1.jpg", "live/3.jpg": "noface.jpg",
		"attacks/print/day/1.jpg": "a_2.jpg", "attacks/screen/1.jpg": "b_2.jpg", "attacks/screen/2.jpg": "noface.jpg",
	})
	r := evaluated(t, "--bona-fide", filepath.Join(folder, "live"), "--attacks", filepath.Join(folder, "attacks"), "--out", filepath.Join(folder, "out"))
	a := r.Attacks
	if r.Recognition != nil || a.BonaFide != 3 || a.Attacks != 3 || a.BPNRR.Count != 1 || len(a.Failed) != 2 || len(a.Points) != 4 {
		t.Fatalf("%+v", a)
	}
	for _, p := range a.Points {
		if p.Species[0].Species != "print" || p.Species[0].APCER.Of != 1 || p.Species[1].APCER.Of != 1 || p.Species[1].APNRR.Count != 1 {
			t.Errorf("%+v", p)
		}
	}
	if strict, lax := a.Points[0], a.Points[1]; strict.BPCER.Count < lax.BPCER.Count || len(lax.Verdicts) != 2 {
		t.Errorf("strict %+v, lax %+v", strict, lax)
	}
}

func TestEvaluateRefuses(t *testing.T) {
	empty, faceless, alone := t.TempDir(), layOut(t, map[string]string{"x/1.jpg": "noface.jpg"}), layOut(t, map[string]string{"x/1.jpg": "a_1.jpg", "x/2.jpg": "a_2.jpg"})
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "nothing to evaluate: name a FOLDER"},
		{[]string{empty}, "no person/photo files in"},
		{[]string{faceless}, "no photo gave a template: 1 photos, 1 no_face"},
		{[]string{alone}, "2 photos with a face, of 1 people, make 1 mated and 0 non-mated comparisons; both are needed"},
		{[]string{"--attacks", alone}, "--bona-fide and --attacks need each other"},
		{[]string{"--bona-fide", alone, "--attacks", empty}, "no species in"},
		{[]string{"--bona-fide", empty, "--attacks", alone}, "no photos in"},
		{[]string{"--bona-fide", faceless, "--attacks", alone}, "1 bona fide photos, of which 0 were judged, and 2 attacks"},
		{[]string{alone, "--fmr", "2"}, "must lie between 0 and 1, not 2"},
	} {
		if _, stderr, code := mien(t, setUp(t), append([]string{"evaluate", "--out", filepath.Join(empty, "out")}, c.args...)...); code == 0 || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit %d, %q, not %q", c.args, code, stderr, c.want)
		}
	}
}

// TestEvaluateOtherPack: a pack with neither calibration nor liveness model.
func TestEvaluateOtherPack(t *testing.T) {
	packs := filepath.Join(t.TempDir(), "models")
	env := append(setUp(t), "MIEN_PACKS="+packs, "MIEN_MODELS="+filepath.Join(packs, "mine"))
	from := spelledOut(t, func(m *pack.Manifest) {
		delete(m.Files, pack.Liveness)
		delete(m.Pipeline.Others, pack.Liveness)
	})
	if _, stderr, code := mien(t, env, "packs", "add", from); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	folder := layOut(t, threePeople)
	stdout, stderr, code := mien(t, env, "evaluate", "--json", folder, "--out", filepath.Join(folder, "out"))
	var r evaluate.Report
	if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil || r.About.Pack != "mine" || len(r.Recognition.Stated) != 0 || r.Recognition.Mated.N != 5 {
		t.Errorf("exit %d, %v, %+v\n%s", code, err, r.About, stderr)
	}
	_, stderr, code = mien(t, env, "evaluate", "--bona-fide", folder, "--attacks", folder, "--out", filepath.Join(folder, "out"))
	if code != 1 || !strings.Contains(stderr, "the pack mine has no liveness model") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
