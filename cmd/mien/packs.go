package main

import (
	"errors"
	"fmt"
	"log/slog"

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
