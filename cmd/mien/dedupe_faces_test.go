package main

import (
	"encoding/json"
	"flag"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"mien/engine"
)

var (
	dedupeFaces  = flag.String("dedupe-faces", "", "folder of person/photo files: run TestDedupeRealFaces on it (make dedupe-faces)")
	dedupePeople = flag.Int("dedupe-people", 400, "how many of its people with several photos TestDedupeRealFaces takes")
)

// planted is what TestDedupeRealFaces has put into a gallery: every fifth person a second time under another id, by another
// photo, and of every eighth of the others with three photos, beside two, a photo of somebody else who is in the gallery.
type planted struct {
	twins       map[[2]string]bool // pairs of ids of one person
	mislabelled map[string]string  // whose template 3 is whose
}

// TestDedupeRealFaces is the README's: it enrols real people once, but for what is planted, and counts what a de-duplication finds of that and
// besides, and how many of the planted photos under wrong ids the hygiene report names.
func TestDedupeRealFaces(t *testing.T) {
	if *dedupeFaces == "" {
		t.Skip("skipped: no folder of real photos (make dedupe-faces FACES=DIR)")
	}
	people, _, err := findPeople(*dedupeFaces)
	if err != nil {
		t.Fatal(err)
	}
	people = slices.DeleteFunc(people, func(p someone) bool { return len(p.photos) < 2 })
	people = people[:min(len(people), *dedupePeople)]
	s := start(t, filepath.Join(t.TempDir(), "data"))
	s.want(201, "PUT", "/v1/galleries/lfw", map[string]any{}, nil)
	all := plant(t, s, people)
	for _, expected := range []float64{0.1, 1, 10, 100} {
		j := s.dedupe(map[string]any{"expected_false_pairs": expected})
		found, wrong, others, conflicts := share{trials: len(all.twins)}, 0, 0, share{trials: len(all.mislabelled)}
		for _, p := range listOf[engine.Pair](s, j.ID, "pairs") {
			switch {
			case all.twins[[2]string{p.Person, p.Other}]:
				found.hits++
			case all.mislabelled[p.Person] == p.Other || all.mislabelled[p.Other] == p.Person:
				conflicts.hits++
			default:
				if others++; expected > 1 {
					continue
				}
				t.Logf("not planted: %s and %s at cosine %.3f, FMR %.1e", p.Person, p.Other, p.Cosine, p.FMR)
			}
		}
		named, looked := share{trials: len(all.mislabelled)}, 0
		for _, f := range listOf[engine.Finding](s, j.ID, "findings") {
			switch {
			case f.Kind == engine.FindingMislabelled && f.Template == "3" && all.mislabelled[f.Person] == f.Other:
				named.hits++
			case f.Kind == engine.FindingMislabelled:
				wrong++
				t.Logf("not planted: template %s of %s looks like %s at %.3f, its own at %.3f", f.Template, f.Person, f.Other, f.Cosine, *f.Own)
			default:
				looked++
			}
		}
		t.Logf("expected_false_pairs %v: %d templates of %d people, threshold %.3f: planted twins found %v, %d pairs not planted; photos under wrong ids among the pairs %v; "+
			"named as mislabelled %v, %d others; inconsistent templates %d (%d people have a planted one)", expected, j.Hygiene.Templates, j.Done, j.Threshold, found, others, conflicts,
			named, wrong, looked, len(all.mislabelled))
		if expected == 1 && (found.rate() < .7 || named.rate() < .7 || wrong > len(all.mislabelled)/10+1) {
			t.Error("worse than published")
		}
	}
}

// plant enrols the first photo of everybody, and what is planted.
func plant(t *testing.T, s *testServer, people []someone) planted {
	all := planted{map[[2]string]bool{}, map[string]string{}}
	var mu sync.Mutex
	at := map[string]int{}
	for i, p := range people {
		at[p.id] = i
	}
	each(t, people, func(p someone) {
		i, path := at[p.id], personPath("lfw", p.id)
		if a := s.photo("PUT", path+"?select=largest", p.photos[0]); a.status != 201 {
			t.Logf("not enrolled: %s: %s", p.id, a.code)
			return
		}
		other := people[(i+1)%len(people)]
		switch {
		case i%5 == 0:
			if a := s.photo("PUT", personPath("lfw", p.id+" again")+"?select=largest", p.photos[1]); a.status != 201 {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			all.twins[[2]string{p.id, p.id + " again"}] = true
		case i%8 == 1 && len(p.photos) > 1 && len(other.photos) > 1 && (i+1)%5 != 0:
			for _, photo := range []string{p.photos[1], other.photos[1]} {
				if a := s.photo("POST", path+"/templates?select=largest", photo); a.status != 201 {
					t.Logf("not added: %s: %s", filepath.Base(photo), a.code)
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all.mislabelled[p.id] = other.id
		}
	})
	return all
}

// dedupe runs a job to its end.
func (s *testServer) dedupe(spec map[string]any) (j engine.Job) {
	s.t.Helper()
	out, err := (&jobFlags{remote: remote{Server: s.url, Key: s.token}}).client()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := out.do(s.t.Context(), "POST", galleryPath("lfw")+"/dedupe", spec, &j); err != nil {
		s.t.Fatal(err)
	}
	f := &jobFlags{Job: j.ID}
	if j, err = f.run(s.t.Context(), out, &jobReport{lines: json.NewEncoder(io.Discard)}); err != nil {
		s.t.Fatal(err)
	}
	return j
}

// listOf is the whole of a job's list.
func listOf[T any](s *testServer, id, list string) (all []T) {
	s.t.Helper()
	c, err := (&remote{Server: s.url, Key: s.token}).client()
	if err == nil {
		err = eachOf(s.t.Context(), c, id, list, func(x T) { all = append(all, x) })
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}
