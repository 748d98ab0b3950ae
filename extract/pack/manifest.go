package pack

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
)

// FormatVersion is the newest version of manifest.json that this program reads; it reads all before it too.
//
//	1: the first, 2026-11: one pipeline, named by a number
//	2: the pipeline spelled out, roles that may be missing, what a licence allows in a field of its own, 2026-11
const FormatVersion = 2

// ManifestName is the file that makes a folder a pack.
const ManifestName = "manifest.json"

const (
	maxManifestBytes = 1 << 20
	maxDim           = 1 << 14
	maxText          = 1 << 14 // bytes of a licence text and the like
	maxPoints        = 10_000  // of a calibration

	preprocessing1 = 1 // the one version of format 1
)

// Role is what a model does in the pack.
type Role = string

// The roles. A pack has a detector and an embedder; the others may be missing in format 2.
const (
	Detector  Role = "detector"  // picture → boxes
	Landmarks Role = "landmarks" // crop → 68 points
	Embedder  Role = "embedder"  // aligned crop → template
	Liveness  Role = "liveness"  // crop → real or spoof
	Pose      Role = "pose"      // crop → yaw, pitch, roll
	Eyes      Role = "eyes"      // crop → open or closed
)

// Roles lists the roles in the order in which a face meets them.
func Roles() []Role {
	return []Role{Detector, Landmarks, Embedder, Liveness, Pose, Eyes}
}

// File is one file of a pack and where it came from. Sums are SHA-256 in lower-case hex. A file that was taken over as
// it is, as in a pack made by hand, has no source.
type File struct {
	File         string `json:"file"`                    // a plain file name within the pack's folder
	SHA256       string `json:"sha256"`                  // of the file in the pack
	Source       string `json:"source,omitempty"`        // its path in the source package
	SourceSHA256 string `json:"source_sha256,omitempty"` // of the file as published
	Package      string `json:"package,omitempty"`       // source package, if not the manifest's
}

// weights is the sum that tells weights apart. The source's and not the file's: the edits keep the numbers, so
// templates made with differently edited copies of the same weights may meet.
func (f File) weights() string { return cmp.Or(f.SourceSHA256, f.SHA256) }

// CalibrationPoint says that a share FMR of impostor comparisons scores Cosine or more.
type CalibrationPoint struct {
	Cosine       float64 `json:"cosine"`       // [-1, 1]
	FMR          float64 `json:"fmr"`          // (0, 1]
	Extrapolated bool    `json:"extrapolated"` // not counted on the named set
}

// Manifest is what manifest.json says. It is plain data: safe for concurrent reading.
type Manifest struct {
	Format        int           `json:"format"`
	Name          string        `json:"name"`                     // in format 2 a plain name: the pack's folder
	Space         string        `json:"space"`                    // always what [Manifest.SpaceID] computes
	Dim           int           `json:"dim"`                      // elements of a template
	Preprocessing int           `json:"preprocessing,omitempty"`  // format 1: version of the pipeline
	SourcePackage string        `json:"source_package,omitempty"` // name@version
	Files         map[Role]File `json:"files"`
	Licence       string        `json:"licence"`       // what is known of the licences of code and weights
	Use           string        `json:"use,omitempty"` // format 2: what the pack may be used for, and what not
	LicenceFile   *File         `json:"licence_file,omitempty"`
	Pipeline      *Pipeline     `json:"pipeline,omitempty"` // format 2; read it by Steps

	// Calibration has two points or more, cosine rising, FMR falling. A pack of format 2 may come without: it can be
	// checked and evaluated, but decides nothing until it has one.
	Calibration       []CalibrationPoint `json:"calibration,omitempty"`
	CalibrationSource string             `json:"calibration_source,omitempty"`
}

// Steps returns the pipeline of the pack, whatever its format. The caller must not change it.
func (m *Manifest) Steps() *Pipeline {
	if m.Format == 1 {
		return version1()
	}
	return m.Pipeline
}

// Has tells whether the pack has a model for a role.
func (m *Manifest) Has(role Role) bool {
	_, ok := m.Files[role]
	return ok
}

// SpaceID names the embedding space: the embedder's source name, the dim and what decides whether templates may meet.
// Format 1: the preprocessing version and the first 12 hex digits of the embedder's source sha256. Format 2: 12 hex
// digits over the weights of embedder and landmarks and the steps between photo and template.
func (m *Manifest) SpaceID() string {
	f := m.Files[Embedder]
	source := cmp.Or(f.Source, f.File)
	name := strings.TrimSuffix(path.Base(source), path.Ext(source))
	if m.Format == 1 {
		return fmt.Sprintf("%s-%d-p%d-%.12s", name, m.Dim, m.Preprocessing, f.SourceSHA256)
	}
	return fmt.Sprintf("%s-%d-%.12s", name, m.Dim, m.Pipeline.fingerprint(m.Files))
}

// JSON returns the manifest as it stands on disk. The same manifest gives the same bytes.
func (m *Manifest) JSON() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		panic("BUG: pack: a manifest of finite numbers must encode: " + err.Error())
	}
	return b.Bytes()
}

// ParseManifest reads and checks manifest.json. Errors: ErrCorrupt; ErrFormat if a newer version of the program wrote
// it.
func ParseManifest(b []byte) (*Manifest, error) {
	m, err := decodeManifest(b)
	if err != nil {
		return nil, err
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, ManifestName, err)
	}
	return m, nil
}

// decodeManifest is ParseManifest without a look at the sense of what it reads.
func decodeManifest(b []byte) (*Manifest, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, ManifestName, err)
	}
	if head.Format < 1 || head.Format > FormatVersion {
		return nil, fmt.Errorf("%w: %s has format %d, this program reads 1 to %d", ErrFormat, ManifestName, head.Format, FormatVersion)
	}
	m := new(Manifest)
	if err := strictJSON(b, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, ManifestName, err)
	}
	return m, nil
}

func strictJSON(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("text after the end")
	}
	return nil
}

func (m *Manifest) validate() error {
	if m.Name == "" {
		return fmt.Errorf("no name")
	}
	if m.Dim < 1 || m.Dim > maxDim {
		return fmt.Errorf("dim %d is not in 1..%d", m.Dim, maxDim)
	}
	checkFormat := m.validate2
	if m.Format == 1 {
		checkFormat = m.validate1
	}
	if err := checkFormat(); err != nil {
		return err
	}
	if err := m.validateFiles(m.Steps().roles()); err != nil {
		return err
	}
	if want := m.SpaceID(); m.Space != want {
		return fmt.Errorf("space is %q, its models and steps make %q", m.Space, want)
	}
	return validateCalibration(m.Calibration)
}

// validate1 checks what only format 1 asks for.
func (m *Manifest) validate1() error {
	switch {
	case m.Preprocessing != preprocessing1:
		return fmt.Errorf("preprocessing version %d, this program knows %d", m.Preprocessing, preprocessing1)
	case m.Pipeline != nil || m.Use != "":
		return fmt.Errorf("pipeline and use are of format 2")
	case m.LicenceFile == nil:
		return fmt.Errorf("no licence file")
	case m.Calibration == nil:
		return fmt.Errorf("no calibration")
	}
	for _, f := range m.all() {
		if f.Source == "" || f.SourceSHA256 == "" || f.Package != "" {
			return fmt.Errorf("%s: format 1 wants a source and its sum", f.File)
		}
	}
	return nil
}

// validate2 checks what only format 2 asks for.
func (m *Manifest) validate2() error {
	if !plainName.MatchString(m.Name) {
		return fmt.Errorf("name %q is not a plain name", m.Name)
	}
	if m.Preprocessing != 0 {
		return fmt.Errorf("preprocessing is of format 1")
	}
	for name, text := range map[string]string{"licence": m.Licence, "use": m.Use} {
		if text == "" || len(text) > maxText {
			return fmt.Errorf("%s: a text of %d bytes, want 1..%d: say what is known, even if that is nothing", name, len(text), maxText)
		}
	}
	if m.Pipeline == nil {
		return fmt.Errorf("no pipeline")
	}
	return m.Pipeline.validate()
}

func (m *Manifest) validateFiles(wanted []Role) error {
	for _, role := range wanted {
		if !m.Has(role) {
			return fmt.Errorf("no file for role %q", role)
		}
	}
	for role := range m.Files {
		if !slices.Contains(wanted, role) {
			return fmt.Errorf("a file for role %q, of which the pipeline says nothing", role)
		}
	}
	seen := map[string]bool{ManifestName: true}
	for _, f := range m.all() {
		if err := f.validate(); err != nil {
			return err
		}
		if seen[f.File] {
			return fmt.Errorf("file %q is named twice", f.File)
		}
		seen[f.File] = true
	}
	return nil
}

// isModel says that f is the file of a role, not the licence.
func (m *Manifest) isModel(f File) bool { return m.LicenceFile == nil || f != *m.LicenceFile }

// all lists every file but the manifest, in a fixed order.
func (m *Manifest) all() []File {
	var files []File
	for _, role := range Roles() {
		if f, ok := m.Files[role]; ok {
			files = append(files, f)
		}
	}
	if m.LicenceFile != nil {
		files = append(files, *m.LicenceFile)
	}
	return files
}

// plainName keeps a manifest from naming anything outside its folder, or a temporary of ours.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func (f File) validate() error {
	if !plainName.MatchString(f.File) {
		return fmt.Errorf("file name %q is not a plain name", f.File)
	}
	if (f.Source == "") != (f.SourceSHA256 == "") {
		return fmt.Errorf("%s: source and source_sha256 go together", f.File)
	}
	if len(f.Source) > maxText || len(f.Package) > maxText {
		return fmt.Errorf("%s: the name of its source is too long", f.File)
	}
	for _, sum := range []string{f.SHA256, f.weights()} {
		if b, err := hex.DecodeString(sum); err != nil || len(b) != 32 || strings.ToLower(sum) != sum {
			return fmt.Errorf("%s: %q is not a sha256", f.File, sum)
		}
	}
	return nil
}

func validateCalibration(points []CalibrationPoint) error {
	if points == nil {
		return nil
	}
	if len(points) < 2 || len(points) > maxPoints {
		return fmt.Errorf("%d calibration points, want 2..%d", len(points), maxPoints)
	}
	for i, p := range points {
		if !(p.Cosine >= -1 && p.Cosine <= 1 && p.FMR > 0 && p.FMR <= 1) {
			return fmt.Errorf("calibration point %d (cosine %v, fmr %v) is out of range", i, p.Cosine, p.FMR)
		}
		if i > 0 && !(p.Cosine > points[i-1].Cosine && p.FMR < points[i-1].FMR) {
			return fmt.Errorf("calibration point %d does not follow from the one before: cosine must rise and fmr fall", i)
		}
	}
	return nil
}
