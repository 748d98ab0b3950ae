package pack

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// published returns the tarball of the default pack from the cache where set-up keeps it.
func published(t testing.TB) string {
	t.Helper()
	return fromCache(t, Default().Packages[0])
}

func fromCache(t testing.TB, p Package) string {
	t.Helper()
	user, _ := os.UserCacheDir()
	path := filepath.Join(cmp.Or(os.Getenv("MIEN_CACHE"), filepath.Join(user, "mien")), "sha256", p.SHA256)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("the published models are not in the cache (%v): make setup SETUP_FLAGS=--sources", err)
	}
	return path
}

// The sums of the definition were made on amd64; they must come out everywhere.
func TestBuildFaceAPI(t *testing.T) {
	d, tarballs := FaceAPI(), make(map[string]string)
	for _, p := range d.Packages {
		tarballs[p.Spec] = fromCache(t, p)
	}
	dir := filepath.Join(t.TempDir(), d.Manifest.Name)
	if err := d.Build(tarballs, dir); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Check(dir); err != nil {
		t.Fatal(err)
	}
	d.Graphs[Embedder] = Weights{GraphFaceAPILandmarks, d.Graphs[Embedder].Index}
	if err := d.Build(tarballs, dir); !errors.Is(err, ErrBadModel) {
		t.Errorf("weights of another graph: %v", err)
	}
}

// unpacked keeps the published models between tests: the race detector takes seconds to unpack them.
var unpacked sync.Map // tarball → function that returns its models

func sources(t testing.TB) map[Role][]byte {
	t.Helper()
	d, tarball := Default(), published(t)
	names := make([]string, 0, len(Roles()))
	for _, role := range Roles() {
		names = append(names, d.Manifest.Files[role].Source)
	}
	load, _ := unpacked.LoadOrStore(tarball, sync.OnceValues(func() (map[string][]byte, error) {
		return Members(tarball, names...)
	}))
	found, err := load.(func() (map[string][]byte, error))()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[Role][]byte)
	for _, role := range Roles() {
		if out[role], err = source(found, d.Manifest.Files[role]); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// The sums before EditZeroTiny were first made by the onnx Python package, an independent writer of the same edits: equal sums say that ours does what it does, bit for bit.
func TestRewriteAsOnnxPython(t *testing.T) {
	d := Default()
	for role, source := range sources(t) {
		want := cmp.Or(map[Role]string{
			Landmarks: "3f3d593bf3e42e61d53df5314bccc41c0567d8fc6b863b5543a85968e122903c",
			Embedder:  "d6173ac8e1432119d98613960c14cb0fdb677dc5fe03274dc75d6209c24fe0a7",
		}[role], d.Manifest.Files[role].SHA256)
		edits := slices.DeleteFunc(slices.Clone(d.Edits[role]), func(e Edit) bool { return e == EditZeroTiny })
		out, err := Rewrite(source, edits...)
		if err != nil {
			t.Fatal(err)
		}
		if got := sumOf(out); got != want {
			t.Errorf("%s: sha256 %s, want %s", role, got, want)
		}
	}
}

func TestRewriteOfPublishedModels(t *testing.T) {
	d := Default()
	for role, source := range sources(t) {
		before := bytes.Clone(source)
		out, err := Rewrite(source, d.Edits[role]...)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := sumOf(out), d.Manifest.Files[role].SHA256; got != want {
			t.Errorf("%s: sha256 %s, want %s", role, got, want)
		}
		if !bytes.Equal(source, before) {
			t.Errorf("%s: Rewrite wrote into its input", role)
		}
		checkEdited(t, role, mustGraph(t, source), mustGraph(t, out))
	}
}

func checkEdited(t *testing.T, role Role, before, after message) {
	t.Helper()
	for name, dim := range batch(t, after) {
		if dim != batchParam {
			t.Errorf("%s: %s has batch %q", role, name, dim)
		}
	}
	was, is := operators(t, before), operators(t, after)
	if is["PRelu"] != 0 && (role == Embedder || role == Liveness) {
		t.Errorf("%s: %d PRelu left", role, is["PRelu"])
	}
	if is["Conv"] != was["Conv"] || is["Reshape"] != was["Reshape"] || is["Relu"]-was["Relu"] != was["PRelu"]-is["PRelu"] {
		t.Errorf("%s: operators %v became %v", role, was, is)
	}
}

func TestPublishedModelsAreParsedExactly(t *testing.T) {
	d := Default()
	for role, source := range sources(t) {
		if got := mustParse(t, source).append(nil); !bytes.Equal(got, source) {
			t.Errorf("%s: parse and append changed it", role)
		}
		for cut := len(source) - 1; cut > 0; cut -= 1 + len(source)/97 {
			if _, err := Rewrite(source[:cut], d.Edits[role]...); !errors.Is(err, ErrBadModel) {
				t.Errorf("%s cut to %d of %d bytes: %v", role, cut, len(source), err)
			}
		}
	}
}
