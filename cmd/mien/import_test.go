package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mien/engine"
)

// dataSpace is of a data folder that needs no models.
var dataSpace = engine.Space{ID: "test-64", Dim: 64, Calibration: undecided}

// onFolder opens a data folder, makes it if it is not there, and runs f.
func onFolder(t *testing.T, dir string, f func(*engine.Engine)) {
	t.Helper()
	d := dataDir{path: dir}
	if err := d.create(); err != nil {
		t.Fatal(err)
	}
	e, err := d.open(engine.Config{Spaces: []engine.Space{dataSpace}})
	if err != nil {
		t.Fatal(err)
	}
	f(e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// folderOf makes a data folder with a gallery "from" of n people and an empty one, "to".
func folderOf(t *testing.T, n int) string {
	dir, rng := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	onFolder(t, dir, func(e *engine.Engine) {
		for _, name := range []string{"from", "to"} {
			if _, _, err := e.CreateGallery(t.Context(), "default", name, engine.GallerySpec{}); err != nil {
				t.Fatal(err)
			}
		}
		err := e.Import(t.Context(), "default", "from", engine.ImportOptions{Space: dataSpace.ID}, func(yield func(engine.PortablePerson, error) bool) {
			for i := range n {
				v := make([]float32, dataSpace.Dim)
				for j := range v {
					v[j] = float32(rng.NormFloat64())
				}
				p := engine.PortablePerson{ID: fmt.Sprintf("p%05d", i), Templates: []engine.PortableTemplate{{Number: 1, Source: "image", Vector: v}}}
				p.Created, p.Updated, p.Templates[0].Created = p.Created.AddDate(1999, 0, i), p.Created.AddDate(2000, 0, 0), p.Created.AddDate(1998, 0, 0)
				if !yield(p, nil) {
					return
				}
			}
		}, func([]engine.ImportResult) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
	})
	return dir
}

// runMien runs the program and returns stdout; its error has what it said on stderr.
func runMien(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(program, args...)
	var out, fault bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &fault
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, fault.String())
	}
	return out.String(), err
}

func TestExportImportOfFolder(t *testing.T) {
	const n = 3000
	dir := folderOf(t, n)
	var files [2][]byte
	for i, suffix := range []string{"ndjson", "people"} {
		file := filepath.Join(t.TempDir(), "staff."+suffix)
		out, err := runMien(t, "--json", "export", "--data", dir, "-g", "from", file)
		var done exported
		if err != nil || json.Unmarshal([]byte(out), &done) != nil || done.People != n || done.Templates != n || done.Space != dataSpace.ID {
			t.Fatalf("%s, %v", out, err)
		}
		if _, err := runMien(t, "export", "--data", dir, "-g", "from", file); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("an export over a file: %v", err)
		}
		report := filepath.Join(t.TempDir(), "report")
		out, err = runMien(t, "--json", "import", "--data", dir, "-g", "to", "--on-conflict", "skip", "--report", report, file)
		want := fmt.Sprintf(`{"people":%d,"created":%d,"replaced":0,"skipped":0,"failed":0}`, n, n)
		if i == 1 {
			want = fmt.Sprintf(`{"people":%d,"created":0,"replaced":0,"skipped":%d,"failed":0}`, n, n)
		}
		if err != nil || strings.TrimSpace(out) != want {
			t.Errorf("%s, want %s: %v", out, want, err)
		}
		lines, err := os.ReadFile(report)
		if err != nil || bytes.Count(lines, []byte("\n")) != n || !bytes.HasPrefix(lines, []byte(`{"index":0,"id":"p00000","outcome":`)) {
			t.Errorf("report of %d bytes: %.100s, %v", len(lines), lines, err)
		}
		if left, _ := filepath.Glob(file + ".progress"); len(left) > 0 {
			t.Error("the note is left")
		}
		if files[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	// What was imported is exported as what it was.
	again := filepath.Join(t.TempDir(), "again.people")
	if _, err := runMien(t, "export", "--data", dir, "-g", "to", again); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(again)
	// But for the gallery's name and the time in the header, and the trailer's hash of them.
	if body := files[1][200 : len(files[1])-64]; err != nil || !bytes.Contains(data, body) || len(data) > len(body)+264 {
		t.Errorf("%d bytes, and %d before: %v", len(data), len(files[1]), err)
	}
	// Exit code 2 for people who were refused; a file that is cut short is told, with what was done.
	_, err = runMien(t, "import", "--data", dir, "-g", "to", "--on-conflict", "fail", again)
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != exitNegative {
		t.Errorf("refusals: %v", err)
	}
	cut := filepath.Join(t.TempDir(), "cut.people")
	if err := os.WriteFile(cut, files[1][:len(files[1])/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := runMien(t, "import", "--data", dir, "-g", "to", cut); err == nil || !strings.Contains(err.Error(), "cut short") || !strings.Contains(err.Error(), "replaced") {
		t.Errorf("cut short: %v", err)
	}
	if _, err := os.Stat(cut + ".progress"); err != nil {
		t.Error(err)
	}
	if _, err := runMien(t, "import", "--data", dir, "-g", "nowhere", again); err == nil || !strings.Contains(err.Error(), "no gallery") {
		t.Error(err)
	}
}

// TestImportResumes: the note of a run that stopped anywhere has the next one do the rest, once.
func TestImportResumes(t *testing.T) {
	const n = 9000 // of 64 numbers, some 2.5 MB: three blocks
	dir := folderOf(t, n)
	for _, suffix := range []string{"ndjson", "people"} {
		file := filepath.Join(t.TempDir(), "f."+suffix)
		if _, err := runMien(t, "export", "--data", dir, "-g", "from", file); err != nil {
			t.Fatal(err)
		}
		c := &importCmd{Gallery: "to", Resume: true, File: file, Report: filepath.Join(t.TempDir(), "report")}
		c.Data = dir
		ids, done := map[string]int{}, imported{}
		for stop := range 4 {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.begin(f, &output{json: true})
			if err != nil {
				t.Fatal(err)
			}
			if stop > 1 && r.note.Offset == 0 {
				t.Error("it does not go on")
			}
			var block []engine.ImportResult
			for p, err := range r.people() {
				if err != nil {
					t.Fatal(err)
				}
				ids[p.ID]++
				if block = append(block, engine.ImportResult{ID: p.ID, Outcome: engine.ImportCreated}); len(block) == 700 {
					if err := r.addAll(block); err != nil {
						t.Fatal(err)
					}
					block = nil
					if r.note.Done.People > (stop+1)*3000 && stop < 3 {
						break
					}
				}
			}
			if err := r.addAll(block); err != nil {
				t.Fatal(err)
			}
			failed := fmt.Errorf("stopped")
			if stop == 3 {
				failed = nil
			}
			if err := r.end(failed); err != nil {
				t.Fatal(err)
			}
			done = r.note.Done
			f.Close()
		}
		twice := 0
		for _, times := range ids {
			twice += times - 1
		}
		if len(ids) != n || done.People != n || done.Created != n || twice > 3*4500 {
			t.Errorf("%s: %d people, %d of them again, %+v", suffix, len(ids), twice, done)
		}
	}
	// A note of another file is refused.
	file := filepath.Join(t.TempDir(), "g.people")
	if _, err := runMien(t, "export", "--data", dir, "-g", "from", file); err != nil {
		t.Fatal(err)
	}
	if err := writeNote(file+".progress", importNote{Version: 1, File: "another"}); err != nil {
		t.Fatal(err)
	}
	if _, err := runMien(t, "import", "--resume", "--data", dir, "-g", "to", file); err == nil || !strings.Contains(err.Error(), "another file") {
		t.Error(err)
	}
}
