package pack

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
)

// FormatVersion is the version of manifest.json that this program writes. It reads no other.
//
//	1: the first, 2026-11
const FormatVersion = 1

// ManifestName is the file that makes a folder a pack.
const ManifestName = "manifest.json"

const (
	maxManifestBytes = 1 << 20
	maxDim           = 1 << 14
)

// Role is what a model does in the pack.
type Role = string

// The roles. A pack has a file for each.
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

// File is one file of a pack and where it came from. Sums are SHA-256 in lower-case hex.
type File struct {
	File         string `json:"file"`          // a plain file name within the pack's folder
	SHA256       string `json:"sha256"`        // of the file in the pack
	Source       string `json:"source"`        // its path in the source package
	SourceSHA256 string `json:"source_sha256"` // of the file as published
}

// CalibrationPoint says that a share FMR of impostor comparisons scores Cosine or more.
type CalibrationPoint struct {
	Cosine       float64 `json:"cosine"`       // [-1, 1]
	FMR          float64 `json:"fmr"`          // (0, 1]
	Extrapolated bool    `json:"extrapolated"` // not counted on the named set
}

// Manifest is what manifest.json says. It is plain data: safe for concurrent reading.
type Manifest struct {
	Format        int           `json:"format"`
	Name          string        `json:"name"`
	Space         string        `json:"space"`          // always what [Manifest.SpaceID] computes
	Dim           int           `json:"dim"`            // elements of a template
	Preprocessing int           `json:"preprocessing"`  // version of the steps before the embedder
	SourcePackage string        `json:"source_package"` // name@version
	Files         map[Role]File `json:"files"`
	Licence       string        `json:"licence"`
	LicenceFile   File          `json:"licence_file"`

	// Calibration has two points or more, cosine rising, FMR falling.
	Calibration       []CalibrationPoint `json:"calibration"`
	CalibrationSource string             `json:"calibration_source"`
}

// SpaceID names the embedding space: the embedder's source name, the dim, the preprocessing version and the first 12
// hex digits of the embedder's source sha256. The source's sum and not the file's: the edits keep the numbers, so
// templates made with differently edited copies of the same weights may meet.
func (m *Manifest) SpaceID() string {
	f := m.Files[Embedder]
	name := strings.TrimSuffix(path.Base(f.Source), path.Ext(f.Source))
	return fmt.Sprintf("%s-%d-p%d-%.12s", name, m.Dim, m.Preprocessing, f.SourceSHA256)
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

// ParseManifest reads and checks manifest.json. Errors: ErrCorrupt; ErrFormat if another version of the program
// wrote it.
func ParseManifest(b []byte) (*Manifest, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, ManifestName, err)
	}
	if head.Format != FormatVersion {
		return nil, fmt.Errorf("%w: %s has format %d, this program reads %d", ErrFormat, ManifestName, head.Format, FormatVersion)
	}
	m := new(Manifest)
	if err := strictJSON(b, m); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, ManifestName, err)
	}
	if err := m.validate(); err != nil {
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
	if err := m.validateFiles(); err != nil {
		return err
	}
	if want := m.SpaceID(); m.Space != want {
		return fmt.Errorf("space is %q, its embedder makes %q", m.Space, want)
	}
	return validateCalibration(m.Calibration)
}

func (m *Manifest) validateFiles() error {
	for _, role := range Roles() {
		if _, ok := m.Files[role]; !ok {
			return fmt.Errorf("no file for role %q", role)
		}
	}
	if len(m.Files) != len(Roles()) {
		return fmt.Errorf("%d files for %d roles", len(m.Files), len(Roles()))
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

// all lists every file but the manifest, in a fixed order.
func (m *Manifest) all() []File {
	var files []File
	for _, role := range Roles() {
		files = append(files, m.Files[role])
	}
	return append(files, m.LicenceFile)
}

// plainName keeps a manifest from naming anything outside its folder, or a temporary of ours.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

func (f File) validate() error {
	if !plainName.MatchString(f.File) {
		return fmt.Errorf("file name %q is not a plain name", f.File)
	}
	for _, sum := range []string{f.SHA256, f.SourceSHA256} {
		if b, err := hex.DecodeString(sum); err != nil || len(b) != 32 || strings.ToLower(sum) != sum {
			return fmt.Errorf("%s: %q is not a sha256", f.File, sum)
		}
	}
	return nil
}

func validateCalibration(points []CalibrationPoint) error {
	if len(points) < 2 {
		return fmt.Errorf("%d calibration points, want two or more", len(points))
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
