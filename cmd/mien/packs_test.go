package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"mien/engine"
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
