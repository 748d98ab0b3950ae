package pack

import (
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

// Definition says how a pack is made: where the models are published, the edits, and the manifest that must come out,
// sums included.
type Definition struct {
	Package       string          `json:"package"`        // name@version on npm
	TarballSHA256 string          `json:"tarball_sha256"` // of the tarball that `npm pack` fetches
	Edits         map[Role][]Edit `json:"edits"`
	Manifest      Manifest        `json:"manifest"`
}

// Default returns the definition of the default pack, a fresh copy.
func Default() *Definition {
	d := new(Definition)
	err := strictJSON(defaultJSON, d)
	if err == nil {
		err = d.Manifest.validate()
	}
	if err != nil {
		panic("BUG: pack: default.json: " + err.Error())
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

// Build makes the pack in folder dir from the tarball: it checks each source, applies the edits, checks each result,
// and puts the folder in place in one rename. A pack that is there is replaced; for a moment in between there is none.
// Two builds at once both succeed and one of their equal results stays. On an error dir is as it was. Build does not
// check the tarball's own sum: the sums of what it uses say more. It takes some 100 MB of memory for a second.
// Errors: ErrCorrupt, ErrMissing, ErrBadModel, or that of the file system.
func (d *Definition) Build(tarball, dir string) error {
	files, err := d.convert(tarball)
	if err != nil {
		return fmt.Errorf("pack %q from %s: %w", d.Manifest.Name, d.Package, err)
	}
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
func (d *Definition) convert(tarball string) (map[string][]byte, error) {
	var names []string
	for _, f := range d.Manifest.all() {
		names = append(names, f.Source)
	}
	found, err := Members(tarball, names...)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{ManifestName: d.Manifest.JSON()}
	for _, role := range Roles() {
		if err := convertFile(files, found, d.Manifest.Files[role], d.Edits[role]); err != nil {
			return nil, err
		}
	}
	return files, convertFile(files, found, d.Manifest.LicenceFile, nil)
}

func convertFile(files, found map[string][]byte, f File, edits []Edit) error {
	b, err := source(found, f)
	if err != nil {
		return err
	}
	if len(edits) > 0 {
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
