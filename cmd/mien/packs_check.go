package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"mien/engine"
	"mien/extract"
	"mien/extract/pack"
)

type packsCheckCmd struct {
	packFlags
	Pack   string   `help:"Name of the pack, or its folder." default:"default"`
	Photos []string `arg:"" optional:"" type:"existingfile" help:"Photos, best several of each of some people, named person_1.jpg and so on (default: testdata/faces of a checkout)."`
}

// packReport is what a check found.
type packReport struct {
	Pack     string        `json:"pack"`
	Space    string        `json:"space"`
	Models   []modelReport `json:"models"`
	Photos   []photoReport `json:"photos"`
	Cosines  []pairReport  `json:"cosines"`
	Problems []string      `json:"problems"`
}

// modelReport is the time that a model takes for an item.
type modelReport struct {
	Role     string  `json:"role"`
	Batching string  `json:"batching"`
	ItemMs   float64 `json:"item_ms"`
}

// photoReport is what was found on a photo.
type photoReport struct {
	Photo string       `json:"photo"`
	Ms    float64      `json:"ms"` // from bytes to the last template
	Faces []faceReport `json:"faces"`
	Error string       `json:"error,omitempty"`

	template []float32 // of the largest face
}

// faceReport is a face as it is printed.
type faceReport struct {
	Box      extract.Box     `json:"box"`
	Score    float32         `json:"score"`
	Points   int             `json:"points"`
	Norm     float32         `json:"norm"` // of the embedder's output
	Pose     *extract.Pose   `json:"pose,omitempty"`
	EyesOpen *[2]float32     `json:"eyes_open,omitempty"`
	Liveness extract.Verdict `json:"liveness,omitempty"`
	LiveAt   float32         `json:"liveness_score,omitempty"`

	Quality map[string]float32 `json:"quality"` // by measure, 0 to 100, as far as the pack can tell
}

// pairReport is the cosine between the largest faces of two photos.
type pairReport struct {
	A      string   `json:"a"`
	B      string   `json:"b"`
	Cosine float64  `json:"cosine"`
	FMR    *float64 `json:"fmr,omitempty"`
}

// Run prints the report and fails if there are problems.
func (c *packsCheckCmd) Run(ctx context.Context, out *output) error {
	photos, err := c.photos()
	if err != nil {
		return err
	}
	x, err := c.load(ctx, c.folder(c.Pack))
	if err != nil {
		return err
	}
	defer x.Close()
	r := &packReport{Pack: x.Manifest().Name, Space: x.Manifest().Space, Problems: []string{}}
	for _, p := range x.Plan() {
		r.Models = append(r.Models, modelReport{p.Model, p.Batching.String(), p.PerItem.Seconds() * 1000})
	}
	for _, photo := range photos {
		if err := r.look(ctx, x, photo); err != nil {
			return err
		}
	}
	r.compare(space(x.Manifest()).Calibration)
	r.judge()
	if err := out.print(r, r.text()); err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		return fmt.Errorf("pack %q: %d problems", r.Pack, len(r.Problems))
	}
	return nil
}

func (c *packsCheckCmd) photos() ([]string, error) {
	if len(c.Photos) > 0 {
		return c.Photos, nil
	}
	photos, _ := filepath.Glob(filepath.Join("testdata", "faces", "[a-c]_*.jpg"))
	if len(photos) == 0 {
		return nil, errors.New("name some photos: there is no testdata/faces here")
	}
	return photos, nil
}

// look finds the faces of a photo. Only the end of ctx and a runtime that fails are errors.
func (r *packReport) look(ctx context.Context, x *extract.Extractor, photo string) error {
	data, err := os.ReadFile(photo)
	if err != nil {
		return err
	}
	photo = relative(photo)
	p, start := photoReport{Photo: photo}, time.Now()
	faces, err := x.Extract(ctx, data, extract.Options{Want: extract.WantTemplate | extract.WantQuality | extract.WantLiveness})
	p.Ms = time.Since(start).Seconds() * 1000
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		p.Error = err.Error()
		r.problem("%s: %v", photo, err)
	}
	largest := float32(0)
	for i, f := range faces {
		p.Faces = append(p.Faces, r.face(x.Manifest(), fmt.Sprintf("%s, face %d", photo, i+1), f))
		if area := (f.Box.X2 - f.Box.X1) * (f.Box.Y2 - f.Box.Y1); area > largest {
			largest, p.template = area, f.Template
		}
	}
	r.Photos = append(r.Photos, p)
	return nil
}

// face reports on a face and looks for what can't be a face's.
func (r *packReport) face(m *pack.Manifest, name string, f extract.Face) faceReport {
	report := faceReport{Box: f.Box, Score: f.Score, Points: len(f.Points()), Norm: f.Norm, Quality: qualityOf(f.Quality)}
	roll, ok := facePoints(f.Five, f.Box)
	if !ok {
		r.problem("%s: its points are not those of a face: look at the crop and the colours of the landmark model, or at the detector's adapter", name)
	}
	if m.Has(pack.Pose) {
		report.Pose = &f.Pose
		if off := math.Abs(math.Remainder(float64(f.Pose.Roll)-roll, 360)); ok && off > 20 {
			r.problem("%s: the pose model says %.0f° of roll, the line between the eyes %.0f°: look at the pose model's crop and colours", name, f.Pose.Roll, roll)
		}
	}
	if m.Has(pack.Eyes) {
		report.EyesOpen = &f.EyesOpen
	}
	if m.Has(pack.Liveness) {
		report.Liveness, report.LiveAt = f.Liveness.Verdict, f.Liveness.Score
	}
	return report
}

// qualityOf is q by name, without what the pack has no model for.
func qualityOf(q extract.Quality) map[string]float32 {
	named := make(map[string]float32)
	for m, v := range q {
		if v == v {
			named[extract.Measure(m).String()] = v
		}
	}
	return named
}

// facePoints tells the roll of the line between the eyes, in degrees clockwise, and whether the five points can be a
// face's: in the box or close to it, the eyes to the left and right, the mouth below them.
func facePoints(five [5]extract.Point, b extract.Box) (roll float64, ok bool) {
	left, right := five[0], five[1]
	dx, dy := float64(right.X-left.X), float64(right.Y-left.Y)
	mx := float64(five[3].X+five[4].X-left.X-right.X) / 2
	my := float64(five[3].Y+five[4].Y-left.Y-right.Y) / 2
	w, h := (b.X2-b.X1)/4, (b.Y2-b.Y1)/4
	for _, p := range five {
		if !(p.X > b.X1-w && p.X < b.X2+w && p.Y > b.Y1-h && p.Y < b.Y2+h) {
			return 0, false
		}
	}
	return math.Atan2(dy, dx) * 180 / math.Pi, dx*my-dy*mx > 0
}

// compare fills in the cosines.
func (r *packReport) compare(c engine.Calibration) {
	for i, a := range r.Photos {
		for _, b := range r.Photos[i+1:] {
			if a.template == nil || b.template == nil {
				continue
			}
			pair := pairReport{A: a.Photo, B: b.Photo, Cosine: cosine(a.template, b.template)}
			if len(c.Points) > 0 {
				pair.FMR = new(c.FMR(pair.Cosine))
			}
			r.Cosines = append(r.Cosines, pair)
		}
	}
}

func cosine(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// judge looks at all photos together.
func (r *packReport) judge() {
	faces, least := 0, 1.0
	for _, p := range r.Photos {
		faces += len(p.Faces)
		if len(p.Faces) == 0 && p.Error == "" {
			r.problem("%s: no face found", p.Photo)
		}
	}
	if faces == 0 {
		r.problem("no face on any photo: look at the detector's adapter, colours, mean and std, and score")
	}
	for _, p := range r.Cosines {
		least = min(least, p.Cosine)
	}
	if len(r.Cosines) >= 3 && least > .99 {
		r.problem("all templates are alike (cosine %.4f and more): look at the embedder's mean and std", least)
	}
	r.judgePeople()
}

// judgePeople wants photos of one person to be more alike than photos of two, where file names tell who is who.
func (r *packReport) judgePeople() {
	worst, best := pairReport{Cosine: 2}, pairReport{Cosine: -2}
	for _, p := range r.Cosines {
		a, b := personOf(p.A), personOf(p.B)
		switch {
		case a == "" || b == "":
		case a == b && p.Cosine < worst.Cosine:
			worst = p
		case a != b && p.Cosine > best.Cosine:
			best = p
		}
	}
	if worst.Cosine < best.Cosine && worst.A != "" && best.A != "" {
		r.problem("%s and %s, of one person by their names, are less alike (%.3f) than %s and %s (%.3f): look at colours and alignment, unless the photos are hard",
			worst.A, worst.B, worst.Cosine, best.A, best.B, best.Cosine)
	}
}

// personOf is what stands before the last _ of a file name, with its folder; "" without one.
func personOf(photo string) string {
	i := strings.LastIndexByte(filepath.Base(photo), '_')
	if i < 0 {
		return ""
	}
	return filepath.Join(filepath.Dir(photo), filepath.Base(photo)[:i])
}

func (r *packReport) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// maxCosines is how many photos may have their cosines printed as a table.
const maxCosines = 12

func (r *packReport) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pack %q, space %s\n\n", r.Pack, r.Space)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, m := range r.Models {
		fmt.Fprintf(w, "%s\t%.2f ms an item\t%s\n", m.Role, m.ItemMs, m.Batching)
	}
	w.Flush()
	for _, p := range r.Photos {
		fmt.Fprintf(&b, "\n%s: faces: %d, in %.0f ms\n", p.Photo, len(p.Faces), p.Ms)
		for _, f := range p.Faces {
			fmt.Fprintf(&b, "  %s\n", f.text())
		}
	}
	if n := len(r.Photos); n > 1 && n <= maxCosines {
		b.WriteString("\ncosines\n" + r.table())
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "\nproblem: %s", p)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (f faceReport) text() string {
	s := fmt.Sprintf("box %.0f,%.0f to %.0f,%.0f  score %.2f  %d points  norm %.2f", f.Box.X1, f.Box.Y1, f.Box.X2, f.Box.Y2, f.Score, f.Points, f.Norm)
	if f.Pose != nil {
		s += fmt.Sprintf("  yaw %.0f pitch %.0f roll %.0f", f.Pose.Yaw, f.Pose.Pitch, f.Pose.Roll)
	}
	if f.EyesOpen != nil {
		s += fmt.Sprintf("  eyes open %.2f %.2f", f.EyesOpen[0], f.EyesOpen[1])
	}
	if f.Liveness != "" {
		s += fmt.Sprintf("  %s %.2f", f.Liveness, f.LiveAt)
	}
	return s + f.qualityText()
}

// poor is what a measure must be below to be printed.
const poor = 50

// qualityText is the unified score and what is poor.
func (f faceReport) qualityText() string {
	unified := extract.UnifiedScore.String()
	s := fmt.Sprintf("\n    %s %.0f", unified, f.Quality[unified])
	below := ", but"
	for m := range extract.NumMeasures {
		name := extract.Measure(m).String()
		if v, ok := f.Quality[name]; ok && v < poor && name != unified {
			s += fmt.Sprintf("%s %s %.0f", below, name, v)
			below = ","
		}
	}
	return s
}

// table is the upper half of the matrix of cosines.
func (r *packReport) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	at := make(map[[2]string]float64)
	for _, p := range r.Cosines {
		at[[2]string{p.A, p.B}] = p.Cosine
	}
	for i, a := range r.Photos {
		fmt.Fprintf(w, "%s\t", filepath.Base(a.Photo))
		for j, c := range r.Photos {
			cell := ""
			if v, ok := at[[2]string{a.Photo, c.Photo}]; ok && j > i {
				cell = fmt.Sprintf("%.3f", v)
			}
			fmt.Fprintf(w, "%s\t", cell)
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	return b.String()
}
