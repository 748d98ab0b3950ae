package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/term"

	"mien/bench/evaluate"
	"mien/extract"
	"mien/extract/pack"
)

type evaluateCmd struct {
	modelFlags
	providerFlags
	simdFlags
	Folder      string    `arg:"" optional:"" type:"existingdir" help:"Folder with a folder of photos for each person."`
	Pairs       string    `help:"CSV file of comparisons, with columns a, b and same (1 or 0): files of FOLDER, or beside the list. Default: every two photos of FOLDER." type:"existingfile" placeholder:"FILE"`
	BonaFide    string    `help:"Folder of photos of people before the camera, for attack detection." type:"existingdir" placeholder:"DIR"`
	Attacks     string    `help:"Folder with a folder for each species of attack, with photos." type:"existingdir" placeholder:"DIR"`
	Face        string    `help:"Which face of a photo of several: largest, or central (nearest to the middle, as in LFW)." enum:"largest,central" default:"largest"`
	Out         string    `help:"Folder for the report: index.html, report.json and charts." type:"path" default:"build/evaluate" placeholder:"DIR"`
	Calibration string    `help:"Write the fit of false match rates as a calibration file." type:"path" placeholder:"FILE"`
	Set         string    `help:"Name of the data in the report (default: the folder's)." placeholder:"NAME"`
	Galleries   []int     `help:"Gallery sizes of the open-set experiment, besides all people." default:"100,300,1000"`
	FMR         []float64 `name:"fmr" help:"Target false match rates." default:"1e-2,1e-3,1e-4,1e-5,1e-6"`
	DiscardFMR  float64   `name:"discard-fmr" help:"False match rate at whose threshold errors are counted as photos of low quality are discarded." default:"1e-4"`
	Seed        uint64    `help:"Seed of the draws of people." default:"1"`

	show func(stage string, done, total int) // progress; nil: nobody looks
}

// Validate is called by kong.
func (c *evaluateCmd) Validate() error {
	switch {
	case (c.BonaFide == "") != (c.Attacks == ""):
		return errors.New("--bona-fide and --attacks need each other: each error rate is worth nothing without the other")
	case c.Folder == "" && c.Pairs == "" && c.Attacks == "":
		return errors.New("nothing to evaluate: name a FOLDER of person/photo files, a list of --pairs, or --bona-fide and --attacks")
	}
	for _, f := range append(c.FMR, c.DiscardFMR) {
		if !(f > 0 && f < 1) {
			return fmt.Errorf("--fmr and --discard-fmr must lie between 0 and 1, not %g", f)
		}
	}
	return nil
}

// Run extracts, compares, and writes the report.
func (c *evaluateCmd) Run(ctx context.Context, out *output) error {
	if err := c.use(); err != nil {
		return err
	}
	c.show = func(string, int, int) {}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		c.show = stages()
	}
	r := &evaluate.Report{}
	var m *pack.Manifest
	var err error
	if c.Folder != "" || c.Pairs != "" {
		if r.Recognition, m, err = c.recognise(ctx); err != nil {
			return err
		}
	}
	if c.Attacks != "" {
		if r.Attacks, m, err = c.attacks(ctx); err != nil {
			return err
		}
	}
	r.About = c.about(m)
	if err := c.write(r); err != nil {
		return err
	}
	return out.print(r, r.Text()+"\nreport: "+filepath.Join(c.Out, evaluate.PageName))
}

// about names no folder above the data: reports are passed on.
func (c *evaluateCmd) about(m *pack.Manifest) evaluate.About {
	args := append([]string{"mien"}, os.Args[1:]...)
	for i, a := range args {
		if name, value, isFlag := strings.Cut(a, "="); isFlag && filepath.IsAbs(value) {
			args[i] = name + "=" + filepath.Base(value)
		} else if filepath.IsAbs(a) {
			args[i] = filepath.Base(a)
		}
	}
	return evaluate.About{
		Command: strings.Join(args, " "), Date: time.Now().UTC().Format(time.DateTime) + " UTC", Program: "mien " + version,
		Machine: fmt.Sprintf("%s, %d cores, %s", strings.TrimSpace(cpuid.CPU.BrandName), runtime.GOMAXPROCS(0), runtime.Version()),
		Pack:    m.Name, Space: m.Space, Data: c.set(),
	}
}

func (c *evaluateCmd) set() string {
	return filepath.Base(cmp.Or(c.Set, c.Folder, c.Pairs, c.BonaFide))
}

// write makes the report's files, and the calibration if it is asked for.
func (c *evaluateCmd) write(r *evaluate.Report) error {
	if err := r.Write(c.Out); err != nil || c.Calibration == "" {
		return err
	}
	f := r.CalibrationFile()
	if f == nil {
		return fmt.Errorf("--calibration: there are too few comparisons of different people to fit false match rates to; the report is in %s", c.Out)
	}
	return os.WriteFile(c.Calibration, f.JSON(), 0o666)
}

// recognise compares people.
func (c *evaluateCmd) recognise(ctx context.Context) (*evaluate.Recognition, *pack.Manifest, error) {
	set, files, err := selectPhotos(c.Folder, c.Pairs)
	if err != nil {
		return nil, nil, err
	}
	for m := range extract.NumMeasures {
		set.Measures = append(set.Measures, extract.Measure(m).String())
	}
	done := 0
	m, err := c.everyFace(ctx, c.providerFlags, files, c.options(extract.WantTemplate|extract.WantQuality), func(i int, f *extract.Face, code string) {
		if set.Photos[i].Failure = code; f != nil {
			set.Photos[i].Template, set.Photos[i].Quality = f.Template, f.Quality[:]
		}
		done++
		c.show("extracting", done, len(files))
	})
	if err != nil {
		return nil, nil, err
	}
	config := evaluate.Config{Targets: c.FMR, DiscardFMR: c.DiscardFMR, Galleries: c.Galleries, Seed: c.Seed, Progress: c.show}
	for _, p := range m.Calibration {
		config.Stated = append(config.Stated, evaluate.CalibrationPoint(p))
	}
	r, err := evaluate.Recognise(ctx, set, config)
	return r, m, err
}

func (c *evaluateCmd) options(want extract.Want) extract.Options {
	if c.Face == "central" {
		return extract.Options{Select: extract.SelectCentral, Want: want}
	}
	return extract.Options{Select: extract.SelectLargest, Want: want}
}

// accepting are the verdicts to take for alive: strictly, and as long as it isn't sure of an attack.
var accepting = [][]string{{string(extract.Live)}, {string(extract.Live), string(extract.Uncertain)}}

// attacks judges bona fide photos and attacks.
func (c *evaluateCmd) attacks(ctx context.Context) (*evaluate.AttackReport, *pack.Manifest, error) {
	shown, files, err := presentations(c.BonaFide, c.Attacks)
	if err != nil {
		return nil, nil, err
	}
	done := 0
	m, err := c.everyFace(ctx, c.providerFlags, files, c.options(extract.WantLiveness), func(i int, f *extract.Face, code string) {
		if shown[i].Failure = code; f != nil {
			shown[i].Score, shown[i].Verdict = f.Liveness.Score, string(f.Liveness.Verdict)
		}
		done++
		c.show("judging", done, len(files))
	})
	if err != nil {
		return nil, nil, err
	}
	if !m.Has(pack.Liveness) {
		return nil, nil, fmt.Errorf("the pack %s has no liveness model: there is nothing to evaluate on attacks", m.Name)
	}
	r, err := evaluate.Attacks(shown, accepting, []float64{0.01, 0.05})
	return r, m, err
}

// presentations lists the photos of attack detection: bona fide ones, then each species'.
func presentations(bonaFide, attacks string) (shown []evaluate.Presentation, files []string, err error) {
	folders := []string{bonaFide}
	entries, err := os.ReadDir(attacks)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if e.IsDir() {
			folders = append(folders, filepath.Join(attacks, e.Name()))
		}
	}
	if len(folders) == 1 {
		return nil, nil, fmt.Errorf("no species in %s: it must hold a folder of photos for each", attacks)
	}
	for i, folder := range folders {
		below, err := photosBelow(folder)
		if err != nil {
			return nil, nil, err
		}
		for _, file := range below {
			p := evaluate.Presentation{File: filepath.Base(file)}
			if i > 0 {
				p.Species = filepath.Base(folder)
			}
			shown, files = append(shown, p), append(files, file)
		}
	}
	return shown, files, nil
}

// photosBelow lists the photos of a folder and of those in it.
func photosBelow(folder string) (files []string, err error) {
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && isPhoto(path) {
			files = append(files, path)
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("no photos in %s (%s)", folder, strings.Join(photoTypes, " "))
	}
	return files, err
}
