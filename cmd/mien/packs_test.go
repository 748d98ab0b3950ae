package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mien/engine"
	"mien/extract"
	"mien/extract/pack"
)

// secondPack is the default pack in another folder as if its embedder were another model's. It returns both folders and the
// second's space.
func secondPack(t testing.TB) (first, second, space string) {
	t.Helper()
	first, second = filepath.Join("..", "..", "build", "models", "default"), filepath.Join(t.TempDir(), "second")
	if err := os.CopyFS(second, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	m, err := pack.Load(first)
	if err != nil {
		t.Fatal(err)
	}
	embedder := m.Files[pack.Embedder]
	embedder.SourceSHA256 = strings.Repeat("5", len(embedder.SourceSHA256))
	m.Files[pack.Embedder] = embedder
	m.Space = m.SpaceID()
	if err := os.WriteFile(filepath.Join(second, pack.ManifestName), m.JSON(), 0o600); err != nil {
		t.Fatal(err)
	}
	return first, second, m.Space
}

// Two packs serve two spaces at once: galleries of both take photos, and photos are compared in either.
func TestServeTwoPacks(t *testing.T) {
	first, second, secondSpace := secondPack(t)
	s := start(t, filepath.Join(t.TempDir(), "data"), "--workers", "1", "--models", first, "--models", second)
	for gallery, space := range map[string]string{"first": "", "second": secondSpace} {
		var g engine.Gallery
		s.want(201, "PUT", "/v1/galleries/"+gallery, map[string]any{"space": space}, &g)
		if space != "" && g.Space != space || space == "" && g.Space == secondSpace {
			t.Errorf("%s: %+v", gallery, g)
		}
		for _, id := range []string{"a", "b"} {
			s.want(201, "PUT", "/v1/galleries/"+gallery+"/people/"+id, map[string]any{"images": [][]byte{photoBytes(t, id+"_1.jpg")}}, nil)
		}
		var found engine.Candidates
		s.want(200, "POST", "/v1/galleries/"+gallery+"/identify", map[string]any{"image": photoBytes(t, "a_2.jpg")}, &found)
		if len(found.Candidates) != 1 || found.Candidates[0].Person != "a" {
			t.Errorf("%s: %+v", gallery, found)
		}
	}
	side := map[string]any{"image": photoBytes(t, "a_1.jpg")}
	s.want(200, "POST", "/v1/compare", map[string]any{"source": side, "target": side, "space": secondSpace}, nil)
}

// A gallery is moved to another pack's space with the commands, and survives a restart on the way.
func TestMoveBetweenPacks(t *testing.T) {
	first, second, space := secondPack(t)
	data := filepath.Join(t.TempDir(), "data")
	s := start(t, data, "--workers", "1", "--models", first, "--models", second)
	people := folder(t, map[string][]string{"Ada": {"a_1.jpg"}, "Bob": {"b_1.jpg"}, "Cleo": {"c_1.jpg"}})
	run := func(code int, say string, args ...string) {
		t.Helper()
		if out, stderr, got := s.run(args...); got != code || !strings.Contains(out+stderr, say) {
			t.Errorf("mien %s: exit code %d, %q; want %d and %q", strings.Join(args, " "), got, out+stderr, code, say)
		}
	}
	run(0, `"people":3`, "enroll", "--create", "-g", "g", people)
	run(80, "missing flags", "galleries", "move", "g")
	run(0, "moving to "+space+": 0 of 3 people done", "galleries", "move", "g", "--space", space)
	run(1, "move_incomplete", "galleries", "move", "g", "--space", space, "--finish")
	run(0, `"people":2`, "enroll", "-g", "g", folder(t, map[string][]string{"Ada": {"a_1.jpg"}, "Bob": {"b_1.jpg"}}))
	run(0, "2 of 3 people done", "galleries", "show", "g")
	run(0, "Cleo\t", "identify", "-g", "g", photo("c_2.jpg"))
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s = start(t, data, "--workers", "1", "--models", first, "--models", second)
	run(0, "Ada\t", "identify", "-g", "g", photo("a_2.jpg"))
	run(0, "g\t2 people\t2 templates\t"+space, "galleries", "move", "g", "--space", space, "--finish", "--drop")
	run(0, "Ada\t", "identify", "-g", "g", photo("a_2.jpg"))
	run(exitNegative, "0 people", "identify", "-g", "g", photo("c_2.jpg"))
	run(1, "gallery_not_moving", "galleries", "move", "g", "--cancel")
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s = start(t, data, "--workers", "1", "--models", second) // the old pack is not needed any more
	run(0, "Bob\t", "identify", "-g", "g", photo("b_2.jpg"))
}

// A gallery that keeps photos is moved by the server, for the faces that were enrolled, and only them; a restart on the way doesn't
// matter, and neither does a gate that is stricter by now.
func TestMoveFromStoredPhotos(t *testing.T) {
	first, second, space := secondPack(t)
	data := filepath.Join(t.TempDir(), "data")
	s := start(t, data, "--workers", "1", "--models", first, "--models", second)
	run := func(code int, say string, args ...string) {
		t.Helper()
		if out, stderr, got := s.run(args...); got != code || !strings.Contains(out+stderr, say) {
			t.Errorf("mien %s: exit code %d, %q; want %d and %q", strings.Join(args, " "), got, out+stderr, code, say)
		}
	}
	people := folder(t, map[string][]string{"Ada": {"a_1.jpg", "a_3.jpg"}, "Bob": {"b_1.jpg"}, "Guest": {"group.jpg"}})
	run(80, "goes with --create", "enroll", "--keep-photos", "-g", "g", people)
	run(0, `"people":3`, "enroll", "--create", "--keep-photos", "--select", "largest", "-g", "g", people)
	run(0, "keeps photos", "galleries", "create", "--keep-photos", "g")
	var before, after engine.Candidates
	identify := func(found *engine.Candidates) {
		t.Helper()
		s.want(200, "POST", "/v1/galleries/g/identify", map[string]any{"image": photoBytes(t, "group.jpg"), "select": "largest"}, found)
	}
	identify(&before)
	run(0, "gate for enrolment", "galleries", "update", "g", "--enrol-gate", "unified_score=100")
	run(0, "moving to "+space, "galleries", "move", "g", "--space", space)
	if err := s.stop(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s = start(t, data, "--workers", "1", "--models", first, "--models", second)
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		var g engine.Gallery
		if s.want(200, "GET", "/v1/galleries/g", nil, &g); g.Move.Done == 3 {
			break
		}
		if time.Since(begin) > 30*time.Second || g.Move.Failed > 0 {
			t.Fatalf("%+v", g.Move)
		}
	}
	run(0, "g\t3 people\t4 templates\t"+space, "galleries", "move", "g", "--space", space, "--finish")
	identify(&after)
	if len(before.Candidates) == 0 || len(after.Candidates) == 0 || after.Candidates[0].Person != "Guest" || after.Candidates[0].Cosine < 0.999 ||
		before.Candidates[0].Person != "Guest" {
		t.Errorf("%+v before, %+v after", before, after)
	}
	run(0, "Bob\t", "identify", "-g", "g", photo("b_2.jpg"))
	run(0, "Ada\t", "identify", "-g", "g", photo("a_2.jpg"))
}

// Of a photo's faces the one that was enrolled is taken, and none if it is not among them.
func TestFaceAt(t *testing.T) {
	faces := []extract.Face{{Box: extract.Box{X1: 0, Y1: 0, X2: 10, Y2: 10}}, {Box: extract.Box{X1: 8, Y1: 0, X2: 18, Y2: 10}}}
	for want, box := range map[int]extract.Box{
		0: {X1: 1, Y1: 1, X2: 11, Y2: 11}, 1: {X1: 7, Y1: 1, X2: 15, Y2: 9}, -1: {X1: 30, Y1: 0, X2: 40, Y2: 10}, -2: {X1: 0, Y1: 0, X2: 40, Y2: 10}, -3: {},
	} {
		face, err := faceAt(faces, box)
		if want < 0 && !errors.Is(err, extract.ErrNoFace) || want >= 0 && (err != nil || face != &faces[want]) {
			t.Errorf("%d: %+v, %v", want, face, err)
		}
	}
}

// What a stored photo can't be used for is told in the engine's words: what is wrong with it by its code, being busy as such.
func TestExtractStoredPhoto(t *testing.T) {
	first, second, space := secondPack(t)
	c := serveCmd{modelFlags: modelFlags{Models: []string{first, second}}, limitFlags: limitFlags{Workers: 1, Queue: 1}}
	c.Library = strings.TrimPrefix(setUp(t)[0], "MIEN_LIBRARY=")
	all, err := c.loadPacks(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer all.close()
	faces, err := all[0].Extract(t.Context(), photoBytes(t, "group.jpg"), extract.Options{Select: extract.SelectAll})
	if err != nil || len(faces) != 2 {
		t.Fatalf("%d faces: %v", len(faces), err)
	}
	for i, f := range faces {
		v, err := all.extract(t.Context(), space, photoBytes(t, "group.jpg"), [4]float32{f.Box.X1, f.Box.Y1, f.Box.X2, f.Box.Y2})
		if err != nil || dot(v, f.Template) < 0.999 || dot(v, faces[1-i].Template) > 0.9 {
			t.Errorf("face %d: %v", i, err)
		}
	}
	for name, want := range map[string]string{"noface.jpg": "no_face", "a_1.jpg": "no_face"} {
		_, err := all.extract(t.Context(), space, photoBytes(t, name), [4]float32{-9, -9, -1, -1})
		if engine.Detail(err) != want || errors.Is(err, engine.ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := all.extract(t.Context(), space, []byte("no photo"), [4]float32{}); engine.Detail(err) != "not_an_image" {
		t.Error(err)
	}
	if _, err := all.extract(t.Context(), "none", nil, [4]float32{}); err == nil || engine.Detail(err) != "" {
		t.Error(err)
	}
}

func dot(a, b []float32) (sum float32) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// doctor checks every pack, and two of one space are refused by both commands.
func TestPacksAreChecked(t *testing.T) {
	first, second, secondSpace := secondPack(t)
	out, stderr, code := mien(t, setUp(t), "doctor", "--data", t.TempDir(), "--models", first+","+second)
	if code != 0 || !strings.Contains(out, secondSpace) || strings.Count(out, "every model runs") != 2 {
		t.Errorf("doctor: %d %s %s", code, out, stderr)
	}
	out, _, code = mien(t, setUp(t), "doctor", "--data", t.TempDir(), "--models", second, "--models", second)
	if code != 1 || !strings.Contains(out, "both of embedding space "+secondSpace) {
		t.Errorf("doctor: %d %s", code, out)
	}
	_, stderr, code = mien(t, setUp(t), "serve", "--data", filepath.Join(t.TempDir(), "data"), "--listen", "127.0.0.1:0", "--models", second, "--models", second)
	if code != 1 || !strings.Contains(stderr, "both of embedding space "+secondSpace) {
		t.Errorf("serve: %d %s", code, stderr)
	}
}
