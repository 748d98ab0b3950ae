package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"mien/bench/evaluate"
	"mien/engine"
	"mien/extract"
	"mien/extract/pack"
)

type packsCmd struct {
	List  packsListCmd  `cmd:"" help:"List the model packs that are there."`
	Check packsCheckCmd `cmd:"" help:"Run a pack on photos and print what it finds, and what is wrong with that."`
	Add   packsAddCmd   `cmd:"" help:"Copy a folder of ONNX files and a manifest to the packs, if it loads."`

	Calibrate packsCalibrateCmd `cmd:"" help:"Give a pack the calibration that mien evaluate measured with it."`
}

// packFlags say where library and packs are.
type packFlags struct {
	Library string `help:"ONNX Runtime's shared library (default: beside the program)." env:"MIEN_LIBRARY" type:"path" placeholder:"FILE"`
	Packs   string `help:"Folder that holds the packs (default: models beside the program)." env:"MIEN_PACKS" type:"path" placeholder:"DIR"`
}

func (f packFlags) paths() (library, packs string) {
	library, models := modelFlags{Library: f.Library}.paths()
	if f.Packs == "" {
		return library, filepath.Dir(models[0])
	}
	return library, f.Packs
}

// folder is the folder of a pack: a path if there is a pack, else a name among the packs.
func (f packFlags) folder(name string) string {
	if _, err := os.Stat(filepath.Join(name, pack.ManifestName)); err == nil {
		return name
	}
	_, packs := f.paths()
	return filepath.Join(packs, name)
}

// load makes an extractor of the pack in dir and runs every model once.
func (f packFlags) load(ctx context.Context, dir string) (*extract.Extractor, error) {
	library, _ := f.paths()
	x, err := extract.New(extract.Config{Library: library, Pack: dir, Workers: 1})
	if err != nil {
		return nil, err
	}
	if err := x.SelfTest(ctx); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

type packsListCmd struct{ packFlags }

// listedPack is a pack in the list.
type listedPack struct {
	Name       string   `json:"name"`
	Dir        string   `json:"dir"`
	Space      string   `json:"space,omitempty"`
	Dim        int      `json:"dim,omitempty"`
	Roles      []string `json:"roles,omitempty"`
	Calibrated bool     `json:"calibrated"`
	Licence    string   `json:"licence,omitempty"`
	Use        string   `json:"use,omitempty"`
	Error      string   `json:"error,omitempty"`
}

// Run prints every pack, damaged ones with what is wrong, and fails if there is one.
func (c *packsListCmd) Run(out *output) error {
	_, dir := c.paths()
	found, err := pack.List(dir)
	if err != nil {
		return fmt.Errorf("packs in %s: %w", dir, reason(err))
	}
	listed, damaged := make([]listedPack, len(found)), 0
	for i, p := range found {
		listed[i] = listedOf(p)
		if p.Err != nil {
			damaged++
		}
	}
	if err := out.print(map[string]any{"packs": listed}, packTable(listed)); err != nil {
		return err
	}
	if damaged > 0 {
		return fmt.Errorf("%d of %d packs can't be used", damaged, len(found))
	}
	return nil
}

func listedOf(p pack.Installed) listedPack {
	l := listedPack{Name: filepath.Base(p.Dir), Dir: p.Dir}
	if p.Err != nil {
		l.Error = p.Err.Error()
		return l
	}
	m := p.Manifest
	l.Space, l.Dim, l.Licence, l.Use, l.Calibrated = m.Space, m.Dim, m.Licence, m.Use, len(m.Calibration) > 0
	for _, role := range pack.Roles() {
		if m.Has(role) {
			l.Roles = append(l.Roles, role)
		}
	}
	return l
}

// packTable is a line for each pack, and below it what it may be used for, or what is wrong.
func packTable(packs []listedPack) string {
	if len(packs) == 0 {
		return "no packs"
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSPACE\tDIM\tROLES\tSTATE")
	for _, p := range packs {
		state := "whole"
		switch {
		case p.Error != "":
			state = "damaged"
		case !p.Calibrated:
			state = "whole, not calibrated"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", p.Name, p.Space, p.Dim, strings.Join(p.Roles, " "), state)
	}
	w.Flush()
	for _, p := range packs {
		switch {
		case p.Error != "":
			fmt.Fprintf(&b, "\n%s: %s\n", p.Name, p.Error)
		default:
			fmt.Fprintf(&b, "\n%s: %s\n", p.Name, strings.TrimSpace(p.Licence+"\n"+p.Use))
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

type packsAddCmd struct {
	packFlags
	From string `arg:"" type:"existingdir" help:"Folder with manifest.json and the files that it names. Sums and the space may be left empty in the manifest."`
}

// Run adds the pack and says what to do next.
func (c *packsAddCmd) Run(ctx context.Context, out *output) error {
	library, dir := c.paths()
	if _, err := os.Stat(library); err != nil {
		return fmt.Errorf("ONNX Runtime's library %s: %w: %s", library, reason(err), setupAdvice)
	}
	m, err := pack.Add(c.From, dir, func(dir string) error {
		x, err := c.load(ctx, dir)
		if err != nil {
			return err
		}
		return x.Close()
	})
	if err != nil {
		return err
	}
	to := filepath.Join(dir, m.Name)
	text := fmt.Sprintf("pack %q is in %s, space %s\nnext: mien packs check --pack %s PHOTO…", m.Name, to, m.Space, m.Name)
	if len(m.Calibration) == 0 {
		text += "\nIt has no calibration, and decides nothing without: mien evaluate --calibration FILE measures one, mien packs calibrate puts it in."
	}
	return out.print(map[string]any{"name": m.Name, "dir": to, "space": m.Space, "calibrated": len(m.Calibration) > 0}, text)
}

type packsCalibrateCmd struct {
	packFlags
	Pack string `help:"Name of the pack, or its folder." required:""`
	File string `arg:"" type:"existingfile" help:"What mien evaluate --calibration wrote."`
}

// Run puts the points into the pack's manifest.
func (c *packsCalibrateCmd) Run(out *output) error {
	b, err := os.ReadFile(c.File)
	if err != nil {
		return err
	}
	var f evaluate.CalibrationFile
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("%s is not a calibration file: %w", c.File, err)
	}
	if f.Format != 1 {
		return fmt.Errorf("%s is not a calibration file of format 1", c.File)
	}
	points := make([]pack.CalibrationPoint, len(f.Points))
	for i, p := range f.Points {
		points[i] = pack.CalibrationPoint(p)
	}
	if err := (engine.Calibration{Points: enginePoints(points)}).Validate(); err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	m, err := pack.Calibrate(c.folder(c.Pack), f.Space, f.Source, points)
	if err != nil {
		return err
	}
	return out.print(map[string]any{"name": m.Name, "space": m.Space, "points": len(points)},
		fmt.Sprintf("pack %q has the calibration of %s; a running server reads it at its next start", m.Name, f.Set))
}
