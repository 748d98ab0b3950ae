package pack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrExists says that there is something of a pack's name already.
var ErrExists = errors.New("pack: the name is taken")

// Installed is a folder of a models folder that holds a manifest.
type Installed struct {
	Dir      string
	Manifest *Manifest // nil if Err
	Err      error     // why Load refuses it
}

// List looks at every pack in the folder models, in the order of their names. It reads every file once, as Load does.
// Errors: that of the file system; a damaged pack is in the list.
func List(models string) ([]Installed, error) {
	entries, err := os.ReadDir(models)
	if err != nil {
		return nil, err
	}
	var all []Installed
	for _, e := range entries {
		dir := filepath.Join(models, e.Name())
		if strings.HasPrefix(e.Name(), TempPrefix) {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, ManifestName)); err != nil {
			continue
		}
		m, err := Load(dir)
		all = append(all, Installed{dir, m, err})
	}
	return all, nil
}

// Add copies the pack in the folder from into the folder models, under the name that its manifest says, and returns the
// manifest as it is there. Sums and space that the manifest leaves empty are filled in; those that it gives must be right.
// The copy is put in place only if its models are [SelfContained] and try, which may load them, finds nothing wrong with it.
// Files that the manifest does not name are left behind. A source is believed only of the files that set-up makes: the space
// follows from the sums of all others themselves. Format 1 is set-up's own. Errors: ErrExists, ErrMissing, ErrCorrupt, ErrFormat, ErrBadModel,
// try's, or that of the file system; then nothing is left in models.
func Add(from, models string, try func(dir string) error) (*Manifest, error) {
	m, err := add(from, models, try)
	if err != nil {
		return nil, fmt.Errorf("add the pack in %s: %w", from, err)
	}
	return m, nil
}

func add(from, models string, try func(dir string) error) (*Manifest, error) {
	root, err := os.OpenRoot(from)
	if err != nil {
		return nil, missing(err)
	}
	defer root.Close()
	m, err := draft(root)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(models, m.Name)
	if _, err := os.Lstat(dir); err == nil {
		return nil, fmt.Errorf("%w: %s is there: delete it, or give the pack another name", ErrExists, dir)
	}
	if err := os.MkdirAll(models, 0o755); err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp(models, TempPrefix)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	if err := copyPack(temp, root, m); err != nil {
		return nil, err
	}
	if err := try(temp); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, dir); err != nil {
		return nil, err
	}
	return m, syncDir(models)
}

// draft reads a manifest that may lack sums and space, fills them in, and checks it.
func draft(root *os.Root) (*Manifest, error) {
	b, err := readAll(root, ManifestName, maxManifestBytes)
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(b)
	if err != nil {
		return nil, err
	}
	if m.Format == 1 {
		return nil, fmt.Errorf("%w: %s: only set-up makes packs of format 1: write a manifest of format 2", ErrFormat, ManifestName)
	}
	for role, f := range m.Files {
		if f, err = f.summed(root); err != nil {
			return nil, err
		}
		if f.SourceSHA256 != "" && !known(role, f) {
			return nil, fmt.Errorf("%w: %s: set-up doesn't make %s from that source: leave source and source_sha256 out", ErrCorrupt, ManifestName, f.File)
		}
		m.Files[role] = f
	}
	if m.LicenceFile != nil {
		if *m.LicenceFile, err = m.LicenceFile.summed(root); err != nil {
			return nil, err
		}
	}
	if m.Space == "" && m.Pipeline != nil {
		m.Space = m.SpaceID()
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, ManifestName, err)
	}
	if !plainName.MatchString(m.Name) {
		return nil, fmt.Errorf("%w: %s: name %q is not a plain name", ErrCorrupt, ManifestName, m.Name)
	}
	return m, nil
}

// known says that set-up makes f, for this role, from the source that it names. Of other files nobody knows whether they have
// that source's weights, so that their templates could be taken for those of another pack's space.
func known(role Role, f File) bool {
	return slices.ContainsFunc(Definitions(), func(d *Definition) bool {
		k := d.Manifest.Files[role]
		return k.SHA256 == f.SHA256 && k.SourceSHA256 == f.SourceSHA256 && k.Source == f.Source
	})
}

// summed returns f with its sum, if the manifest gives none.
func (f File) summed(root *os.Root) (File, error) {
	if f.SHA256 != "" || !plainName.MatchString(f.File) {
		return f, nil // validate says what is wrong with a name
	}
	r, err := openFile(root, f.File)
	if err != nil {
		return f, err
	}
	defer r.Close()
	f.SHA256, err = sumOfReader(r)
	return f, err
}

// copyPack fills the folder dir durably with the pack m of root, each file checked.
func copyPack(dir string, root *os.Root, m *Manifest) error {
	for _, f := range m.all() {
		b, err := readAll(root, f.File, maxModelBytes)
		if err != nil {
			return err
		}
		if err := checkSum(f.File, b, f.SHA256); err != nil {
			return err
		}
		if m.isModel(f) {
			if err := SelfContained(b); err != nil {
				return fmt.Errorf("%s: %w", f.File, err)
			}
		}
		if err := writeSynced(filepath.Join(dir, f.File), b); err != nil {
			return err
		}
	}
	return writeFiles(dir, map[string][]byte{ManifestName: m.JSON()})
}

// Calibrate replaces the calibration of the pack in folder dir, whose space must be the one that the points were measured
// in. Set-up would put back what it makes: its packs are refused. Errors: as Load's; ErrCorrupt for points that are no
// calibration or of another space.
func Calibrate(dir, space, source string, points []CalibrationPoint) (*Manifest, error) {
	m, err := Load(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range Definitions() {
		if d.Manifest.Name == m.Name {
			return nil, fmt.Errorf("pack: %q is made by set-up, which would undo this: add its files under another name, with a manifest of format 2", m.Name)
		}
	}
	if space != m.Space {
		return nil, fmt.Errorf("%w: the calibration is of space %s, the pack of %s", ErrCorrupt, space, m.Space)
	}
	m.Calibration, m.CalibrationSource = points, source
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("%w: no calibration points", ErrCorrupt)
	}
	return m, WriteFile(filepath.Join(dir, ManifestName), m.JSON())
}
