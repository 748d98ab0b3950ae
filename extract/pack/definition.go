package pack

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

//go:embed default.json
var defaultJSON []byte

//go:embed faceapi.json
var faceAPIJSON []byte

// Package is an npm package at a version.
type Package struct {
	Spec   string `json:"spec"`   // name@version
	SHA256 string `json:"sha256"` // of the tarball that `npm pack` fetches
}

// Definition says how a pack is made: where the models are published, the edits, and the manifest that must come out,
// sums included.
type Definition struct {
	Packages []Package        `json:"packages"` // the first is the manifest's source package
	Graphs   map[Role]Weights `json:"graphs"`   // models that are published without a graph
	Edits    map[Role][]Edit  `json:"edits"`
	Manifest Manifest         `json:"manifest"`
}

// Default returns the definition of the default pack, a fresh copy.
func Default() *Definition { return parseDefinition(defaultJSON) }

// FaceAPI returns the definition of the pack "faceapi", a fresh copy: face-api's port of dlib's recogniser, less
// accurate, for users to whom it matters more where the weights come from.
func FaceAPI() *Definition { return parseDefinition(faceAPIJSON) }

// Definitions returns the definitions of all packs that set-up makes, the default pack's first.
func Definitions() []*Definition { return []*Definition{Default(), FaceAPI()} }

func parseDefinition(b []byte) *Definition {
	d := new(Definition)
	err := strictJSON(b, d)
	if err == nil {
		err = d.Manifest.validate()
	}
	if err == nil && (len(d.Packages) == 0 || d.Packages[0].Spec != d.Manifest.SourcePackage || d.Manifest.LicenceFile == nil) {
		err = errors.New("no source package, or no licence file")
	}
	if err != nil {
		panic("BUG: pack: a definition: " + err.Error())
	}
	return d
}

// Check is Load, and an error wrapping ErrCorrupt if the pack in dir is whole but not the one that d makes, as after an
// update of the program.
func (d *Definition) Check(dir string) (*Manifest, error) {
	m, err := Load(dir)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(m.JSON(), d.Manifest.JSON()) {
		return nil, fmt.Errorf("models in %s: %w: it is not the pack %q of this program: %s", dir, ErrCorrupt, d.Manifest.Name, advice)
	}
	return m, nil
}

// Source returns the model for a role as published, from the tarball, its sha256 checked. Errors: ErrCorrupt,
// ErrMissing, or that of the file system.
func (d *Definition) Source(tarball string, role Role) ([]byte, error) {
	f, ok := d.Manifest.Files[role]
	if !ok {
		return nil, fmt.Errorf("%w: no file for role %q", ErrMissing, role)
	}
	found, err := Members(tarball, f.Source)
	if err != nil {
		return nil, err
	}
	return source(found, f)
}

func source(found map[string][]byte, f File) ([]byte, error) {
	b, ok := found[f.Source]
	if !ok {
		return nil, fmt.Errorf("%w: the tarball has no %s", ErrMissing, f.Source)
	}
	return b, checkSum(f.Source, b, f.SourceSHA256)
}

// Build makes the pack in folder dir from the tarballs, which are named by their package's spec: it checks each source,
// applies the edits, checks each result, and puts the folder in place in one rename. A pack that is there is replaced;
// for a moment in between there is none. Two builds at once both succeed and one of their equal results stays. On an
// error dir is as it was. Build does not check the tarballs' own sums: the sums of what it uses say more. It takes some
// 100 MB of memory for a second. Errors: ErrCorrupt, ErrMissing, ErrBadModel, or that of the file system.
func (d *Definition) Build(tarballs map[string]string, dir string) error {
	files, err := d.convert(tarballs)
	if err != nil {
		return fmt.Errorf("pack %q: %w", d.Manifest.Name, err)
	}
	return install(files, dir)
}

// install puts a folder of the files at dir.
func install(files map[string][]byte, dir string) error {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(parent, TempPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := writeFiles(temp, files); err != nil {
		return err
	}
	return replace(dir, temp)
}

// convert returns every file of the pack by its name, checked.
func (d *Definition) convert(tarballs map[string]string) (map[string][]byte, error) {
	found, err := d.members(tarballs)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{ManifestName: d.Manifest.JSON()}
	for role, f := range d.Manifest.Files {
		if err := d.convertFile(files, found[d.packageOf(f)], role, f); err != nil {
			return nil, fmt.Errorf("from %s: %w", d.packageOf(f), err)
		}
	}
	f := *d.Manifest.LicenceFile
	return files, d.convertFile(files, found[d.packageOf(f)], "", f)
}

// members returns what the definition needs of each tarball, by package and name.
func (d *Definition) members(tarballs map[string]string) (map[string]map[string][]byte, error) {
	found := make(map[string]map[string][]byte)
	for _, p := range d.Packages {
		var names []string
		for _, f := range d.Manifest.all() {
			if d.packageOf(f) == p.Spec {
				names = append(names, f.Source)
			}
		}
		for role, w := range d.Graphs {
			if d.packageOf(d.Manifest.Files[role]) == p.Spec {
				names = append(names, w.Index)
			}
		}
		var err error
		if found[p.Spec], err = Members(tarballs[p.Spec], names...); err != nil {
			return nil, fmt.Errorf("from %s: %w", p.Spec, err)
		}
	}
	return found, nil
}

// packageOf is the spec of the package that publishes f.
func (d *Definition) packageOf(f File) string { return cmp.Or(f.Package, d.Manifest.SourcePackage) }

func (d *Definition) convertFile(files, found map[string][]byte, role Role, f File) error {
	b, err := source(found, f)
	if err != nil {
		return err
	}
	if w, ok := d.Graphs[role]; ok {
		if b, err = w.model(found[w.Index], b); err != nil {
			return fmt.Errorf("%s: %w", f.Source, err)
		}
	}
	if edits := d.Edits[role]; len(edits) > 0 {
		if b, err = Rewrite(b, edits...); err != nil {
			return fmt.Errorf("%s: %w", f.Source, err)
		}
	}
	files[f.File] = b
	return checkSum(f.File, b, f.SHA256)
}

// replace puts the built folder temp at dir, and what was there back if that fails. A folder cannot be renamed over
// another, so the old one steps aside first; when builds race, each may have to try again.
func replace(dir, temp string) error {
	old := temp + ".old"
	defer os.RemoveAll(old)
	for range 100 {
		err := os.Rename(temp, dir)
		if err == nil {
			return syncDir(filepath.Dir(dir))
		}
		if !errors.Is(err, fs.ErrExist) {
			os.Rename(old, dir) // nothing to put back in the usual case
			return err
		}
		os.RemoveAll(old)
		if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("pack: %s is replaced by others all the time", dir)
}
