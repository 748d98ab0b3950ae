package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"mien/engine"
	"mien/extract"
	"mien/extract/pack"
	"mien/http"
)

// packs are the model packs that a server has loaded, each of a space of its own; the first is the default.
type packs []*extract.Extractor

// loadPacks loads every pack that the flags name. They share the workers: all together compute on no more cores.
func (c *serveCmd) loadPacks(log *slog.Logger) (loaded packs, err error) {
	library, models := c.paths()
	of := make(map[string]string) // the folder of each space
	config := extract.Config{
		Library: library, Workers: c.Workers, Cores: extract.NewCores(c.Workers), Queue: c.Queue, MaxPixels: c.MaxPixels, Logger: log,
	}
	if err := c.apply(&config); err != nil {
		return nil, err
	}
	for _, dir := range models {
		config.Pack = dir
		x, err := extract.New(config)
		if err != nil {
			return nil, errors.Join(err, loaded.close())
		}
		loaded = append(loaded, x)
		space := x.Manifest().Space
		if of[space] != "" {
			return nil, errors.Join(sameSpace(of[space], dir, space), loaded.close())
		}
		of[space] = dir
		log.Info("models", "space", space, "devices", x.Plan()[0].Devices, "runs", planLine(x.Plan()))
	}
	return loaded, nil
}

func sameSpace(a, b, space string) error {
	return fmt.Errorf("the model packs in %s and %s are both of embedding space %s: name one of them with --models", a, b, space)
}

func (p packs) close() (err error) {
	for _, x := range p {
		err = errors.Join(err, x.Close())
	}
	return err
}

// spaces are the packs' embedding spaces as the engine knows them, in the same order.
func (p packs) spaces() []engine.Space {
	all := make([]engine.Space, len(p))
	for i, x := range p {
		all[i] = space(x.Manifest())
	}
	return all
}

// first is the default pack's; nil where there are none.
func (p packs) first() http.Extractor {
	if len(p) == 0 {
		return nil
	}
	return p[0]
}

// further are the packs but the first, by space.
func (p packs) further() map[string]http.Extractor {
	all := make(map[string]http.Extractor)
	for _, x := range p[min(1, len(p)):] {
		all[x.Manifest().Space] = x
	}
	return all
}

// sameFace is how much two packs' boxes of one face have in common at least, of what they cover together: detectors frame a face
// differently. Of several faces that have so much in common with a box, which are hardly ever two, the nearest is taken.
const sameFace = 0.3

// extract makes the template of another space of a stored photo: that of the face at box, by the pack of that space. Its errors
// are the engine's (engine.Config.Extract); what is wrong with a photo is told by its code.
func (p packs) extract(ctx context.Context, space string, image []byte, box [4]float32) ([]float32, error) {
	i := slices.IndexFunc(p, func(x *extract.Extractor) bool { return x.Manifest().Space == space })
	if i < 0 {
		return nil, fmt.Errorf("no pack of embedding space %s", space)
	}
	faces, err := p[i].Extract(ctx, image, extract.Options{Select: extract.SelectAll, Want: extract.WantTemplate})
	if err == nil {
		var face *extract.Face
		if face, err = faceAt(faces, extract.Box{X1: box[0], Y1: box[1], X2: box[2], Y2: box[3]}); err == nil {
			return face.Template, nil
		}
	}
	switch code := http.Code(err); {
	case errors.Is(err, extract.ErrBusy):
		return nil, fmt.Errorf("%w: %w", engine.ErrBusy, err)
	case code != "":
		return nil, &engine.Error{Err: err, Detail: code}
	}
	return nil, err
}

// faceAt is the face that has most in common with a box. Errors: extract.ErrNoFace.
func faceAt(faces []extract.Face, box extract.Box) (best *extract.Face, err error) {
	most := float32(sameFace)
	for i := range faces {
		if share := common(faces[i].Box, box); share >= most {
			best, most = &faces[i], share
		}
	}
	if best == nil {
		return nil, extract.ErrNoFace
	}
	return best, nil
}

// common is the area that two boxes share by what they cover together.
func common(a, b extract.Box) float32 {
	w, h := min(a.X2, b.X2)-max(a.X1, b.X1), min(a.Y2, b.Y2)-max(a.Y1, b.Y1)
	if w <= 0 || h <= 0 {
		return 0
	}
	area := func(b extract.Box) float32 { return (b.X2 - b.X1) * (b.Y2 - b.Y1) }
	return w * h / (area(a) + area(b) - w*h)
}

// space is the pack's embedding space as the engine knows it.
func space(m *pack.Manifest) engine.Space {
	return engine.Space{ID: m.Space, Dim: m.Dim, Calibration: engine.Calibration{Points: enginePoints(m.Calibration)}}
}

func enginePoints(points []pack.CalibrationPoint) (all []engine.CalibrationPoint) {
	for _, p := range points {
		all = append(all, engine.CalibrationPoint(p))
	}
	return all
}

func idsOf(spaces []engine.Space) []string {
	ids := make([]string, len(spaces))
	for i, s := range spaces {
		ids[i] = s.ID
	}
	return ids
}
